#!/usr/bin/env bash
# On the first boot of the old system's server, after its tables and rows: the site may look, and nothing else.
MYSQL_PWD=$(cat /run/secrets/root) mysql --user=root <<SQL
CREATE USER 'legacy_app'@'%' IDENTIFIED BY '$(cat /run/secrets/legacy_app)';
GRANT SELECT ON legacy.* TO 'legacy_app'@'%';
SQL
