-- The account by which this site reads the old system's database: no row can be changed by it and no table made.
-- Run once, as root, on MySQL or MariaDB, in a session that has been told the password:
--   (echo "SET @legacy_app_password = '...';"; cat roles.sql) | mysql

-- CREATE USER takes no variable, so the statement is put together first. Without a password it is no statement at all.
SET @create_account = CONCAT('CREATE USER legacy_app IDENTIFIED BY ', QUOTE(@legacy_app_password));
PREPARE create_account FROM @create_account;
EXECUTE create_account;
DEALLOCATE PREPARE create_account;
SET @create_account = NULL, @legacy_app_password = NULL;

GRANT SELECT ON legacy.* TO legacy_app;
