#!/bin/sh
# Before the site starts: every database migrated, and filled where it is empty.
set -eu
said=/tmp/said
if ! python manage.py migrate_all >"$said" 2>&1; then
  cat "$said" >&2
  if grep -qE 'password authentication failed|Access denied' "$said"; then
    echo >&2 "
A database refuses the password. Its volume was made with other passwords than those in the volume 'secrets' now.
Bring that volume back, or begin anew, which deletes every database:  docker compose down --volumes"
  fi
  exit 1
fi
cat "$said"
if [ "${DEMO:-off}" = on ]; then
  python manage.py seed_demo --if-empty
else
  python manage.py collectstatic --no-input --verbosity 0
fi
