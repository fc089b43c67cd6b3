#!/usr/bin/env bash
# In front of the image's own entrypoint: a replica that cannot follow the primary clones it, then follows it.
# SLOT is the name of the replica's slot, by which the primary keeps the log that it still needs.
set -euo pipefail
source='host=primary port=5432 user=replicator connect_timeout=5'
PGPASSFILE=/var/lib/postgresql/pgpass
export PGPASSFILE
printf 'primary:5432:*:replicator:%s\n' "$(cat /run/secrets/replicator)" >"$PGPASSFILE"
chown postgres: "$PGPASSFILE"
chmod 0600 "$PGPASSFILE"

ask() { gosu postgres psql --no-psqlrc --quiet --tuples-only --no-align "$source replication=true" --command "$1"; }
give_up() { echo >&2 "$1"; exit 1; }

clone() {
  # A clone that was interrupted, and the slot of one that is gone, are of no use to anybody.
  rm -rf "$PGDATA.new"
  ask "DROP_REPLICATION_SLOT $SLOT" 2>/dev/null || true
  install --directory --owner=postgres --mode=0700 "$(dirname "$PGDATA")" "$PGDATA.new"
  gosu postgres pg_basebackup --pgdata "$PGDATA.new" --dbname "$source" --write-recovery-conf \
    --create-slot --slot "$SLOT" --checkpoint=fast
  rm -rf "$PGDATA"
  mv "$PGDATA.new" "$PGDATA"
}

# Without a primary a replica that has data starts all the same, and serves what it has.
if ! theirs=$(ask IDENTIFY_SYSTEM 2>&1); then
  echo >&2 "$theirs"
  case $theirs in *'password authentication failed'*)
    give_up "The primary refuses this replica's password. Its volume was made with other passwords than those in the volume
'secrets' now. Bring that volume back, or begin anew, which deletes every database:
  docker compose --profile '*' down --volumes" ;;
  esac
  theirs=
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  clone
elif [ -n "$theirs" ] && [ -e "$PGDATA/standby.signal" ]; then
  ours=$(gosu postgres pg_controldata "$PGDATA" | sed -n 's/^Database system identifier: *//p')
  [ "${theirs%%|*}" = "$ours" ] || give_up \
    "This replica is a copy of another primary (system $ours, and the primary is ${theirs%%|*}), so it cannot follow it.
Remove this replica's volume, and it clones the primary anew; or begin anew, which deletes every database:
  docker compose --profile '*' down --volumes"
  # type|position|timeline, without a position when the primary no longer keeps what this replica lacks.
  if [[ $(ask "READ_REPLICATION_SLOT $SLOT") != physical\|?*\|* ]]; then
    echo >&2 "The primary no longer keeps the log for the slot $SLOT, so this replica clones it anew."
    clone
  fi
fi
exec docker-entrypoint.sh "$@" -c "primary_conninfo=$source passfile=$PGPASSFILE" -c "primary_slot_name=$SLOT"
