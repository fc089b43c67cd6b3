#!/usr/bin/env bash
# On the first boot of the old system's server, after its tables and rows: the site may look, and nothing else.
set -euo pipefail
MYSQL_PWD=$(cat /run/secrets/root)
export MYSQL_PWD
{ echo "SET @legacy_app_password = '$(cat /run/secrets/legacy_app)';"; cat /etc/roles.sql; } | mysql --user=root
