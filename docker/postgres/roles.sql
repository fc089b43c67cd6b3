-- The databases of the primary and who may do what in them. Run once, as the superuser, on a new server (15 or newer):
--   psql -v ON_ERROR_STOP=1 -v blog_owner_password=... (one for each role below) -d postgres -f roles.sql
--
-- For each database an owner that makes and changes its tables, and an application that only reads and writes rows.
-- What the application may do is said before there is any table, so that it holds for those of later migrations too.
-- docs/privileges.md lists what each role may do, and what was tried and refused.

-- A statement that fails is written to the server's log as it stands, and these hold passwords.
SET log_statement = none;
SET log_min_error_statement = panic;
SET log_min_duration_statement = -1;

CREATE ROLE blog_owner LOGIN PASSWORD :'blog_owner_password';
CREATE ROLE blog_app LOGIN PASSWORD :'blog_app_password';
CREATE ROLE blog_reader LOGIN PASSWORD :'blog_reader_password';
CREATE ROLE users_owner LOGIN PASSWORD :'users_owner_password';
CREATE ROLE users_app LOGIN PASSWORD :'users_app_password';
CREATE ROLE users_reader LOGIN PASSWORD :'users_reader_password';
CREATE ROLE analytics_owner LOGIN PASSWORD :'analytics_owner_password';
CREATE ROLE analytics_app LOGIN PASSWORD :'analytics_app_password';
CREATE ROLE analytics_maintenance LOGIN PASSWORD :'analytics_maintenance_password';

-- For the replicas. A session may switch this off again, so it is the privileges below that decide: a role that could
-- write would do so on the primary. This only makes the error come earlier.
ALTER ROLE blog_reader SET default_transaction_read_only = on;
ALTER ROLE users_reader SET default_transaction_read_only = on;

-- A web process that hangs in the middle of a transaction holds its locks, and keeps VACUUM from its work.
ALTER ROLE blog_app SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE users_app SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE analytics_app SET idle_in_transaction_session_timeout = '60s';

-- Looks at the servers' health, at what a WAL receiver does among other things, and at no row of ours.
CREATE ROLE probe LOGIN PASSWORD :'probe_password';
GRANT pg_read_all_stats TO probe;

-- Copies the server's log. It is a member of nothing, and no database lets it in.
CREATE ROLE replicator REPLICATION LOGIN PASSWORD :'replicator_password';

CREATE DATABASE blog OWNER blog_owner;
CREATE DATABASE users OWNER users_owner;
CREATE DATABASE analytics OWNER analytics_owner;

-- By default everybody may connect to every database and make temporary tables there. (template0 lets nobody in.)
REVOKE ALL ON DATABASE blog, users, analytics, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE blog TO blog_app, blog_reader, probe;
GRANT CONNECT ON DATABASE users TO users_app, users_reader, probe;
GRANT CONNECT ON DATABASE analytics TO analytics_app, analytics_maintenance, probe;

\connect blog
-- Whoever owns the schema may make tables in it, and drop those of others.
ALTER SCHEMA public OWNER TO blog_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
-- By default everybody, a reader too, may fill the disk with large objects.
REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO blog_app, blog_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE blog_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO blog_app;
ALTER DEFAULT PRIVILEGES FOR ROLE blog_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO blog_app;
ALTER DEFAULT PRIVILEGES FOR ROLE blog_owner IN SCHEMA public GRANT SELECT ON TABLES TO blog_reader;

\connect users
ALTER SCHEMA public OWNER TO users_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO users_app, users_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE users_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO users_app;
ALTER DEFAULT PRIVILEGES FOR ROLE users_owner IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO users_app;
ALTER DEFAULT PRIVILEGES FOR ROLE users_owner IN SCHEMA public GRANT SELECT ON TABLES TO users_reader;

\connect analytics
ALTER SCHEMA public OWNER TO analytics_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO analytics_app, analytics_maintenance;
-- What has happened is never changed by the site: it adds events and counts them. To mend or erase is maintenance.
ALTER DEFAULT PRIVILEGES FOR ROLE analytics_owner IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO analytics_app;
ALTER DEFAULT PRIVILEGES FOR ROLE analytics_owner IN SCHEMA public
  GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO analytics_maintenance;
ALTER DEFAULT PRIVILEGES FOR ROLE analytics_owner IN SCHEMA public
  GRANT USAGE, SELECT ON SEQUENCES TO analytics_app, analytics_maintenance;
