#!/usr/bin/env bash
# On the first boot of the primary: databases and roles, and the door through which replicas copy the log.
set -euo pipefail
passwords=()
for file in /run/secrets/*; do
  passwords+=(--set "$(basename "$file")_password=$(cat "$file")")
done
psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username postgres --dbname postgres "${passwords[@]}" --file /etc/roles.sql
echo 'host replication replicator all scram-sha-256' >>"$PGDATA/pg_hba.conf"
