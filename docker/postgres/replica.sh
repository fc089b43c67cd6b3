#!/usr/bin/env bash
# In front of the image's own entrypoint: a replica that has no data yet clones the primary, then follows it.
# SLOT is the name of the replica's slot, by which the primary keeps the log that it still needs.
set -euo pipefail
source='host=primary port=5432 user=replicator'
PGPASSFILE=/var/lib/postgresql/pgpass
export PGPASSFILE
printf 'primary:5432:*:replicator:%s\n' "$(cat /run/secrets/replicator)" >"$PGPASSFILE"
chown postgres: "$PGPASSFILE"
chmod 0600 "$PGPASSFILE"

ask() { gosu postgres psql --no-psqlrc --quiet --tuples-only --no-align "$source replication=true" --command "$1"; }

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # A clone that was interrupted, and the slot of one whose volume was deleted, are of no use to anybody.
  rm -rf "$PGDATA.new"
  ask "DROP_REPLICATION_SLOT $SLOT" 2>/dev/null || true
  install --directory --owner=postgres --mode=0700 "$(dirname "$PGDATA")" "$PGDATA.new"
  gosu postgres pg_basebackup --pgdata "$PGDATA.new" --dbname "$source" --write-recovery-conf \
    --create-slot --slot "$SLOT" --checkpoint=fast
  rm -rf "$PGDATA"
  mv "$PGDATA.new" "$PGDATA"
fi

theirs=$(ask IDENTIFY_SYSTEM | cut -d '|' -f 1) || true
ours=$(gosu postgres pg_controldata "$PGDATA" | sed -n 's/^Database system identifier: *//p')
if [ -n "$theirs" ] && [ "$theirs" != "$ours" ]; then
  echo >&2 "This replica is a copy of another primary (system $ours, and the primary is $theirs), so it cannot follow it.
Remove this replica's volume, and it clones the primary anew; or begin anew:  docker compose down --volumes"
  exit 1
fi
exec docker-entrypoint.sh "$@" -c "primary_conninfo=$source passfile=$PGPASSFILE" -c "primary_slot_name=$SLOT"
