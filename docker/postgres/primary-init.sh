#!/usr/bin/env bash
# On the first boot of the primary: databases and roles, and the door through which replicas copy the log.
set -euo pipefail
{
  # Not as arguments, which every process may read.
  for file in /run/secrets/*; do echo "\set $(basename "$file")_password '$(cat "$file")'"; done
  echo '\i /etc/roles.sql'
} | psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres --dbname postgres
echo 'host replication replicator all scram-sha-256' >>"$PGDATA/pg_hba.conf"
