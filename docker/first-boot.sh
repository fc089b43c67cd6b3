#!/usr/bin/env bash
# first-boot.sh VOLUME FILE COMMAND…, in front of the own entrypoint of a server's image, which takes the volume for a
# finished database once FILE is in it. What a first boot that was killed has left there is removed, so that it begins anew.
# A first boot carries a mark from its beginning; its last script, which is this one without arguments, takes it off.
set -euo pipefail
if [ $# = 0 ]; then exec rm "$FIRST_BOOT_MARK"; fi
volume=$1 file=$2
shift 2
export FIRST_BOOT_MARK=$volume/.first-boot
if [ -e "$FIRST_BOOT_MARK" ]; then
  echo "The first boot was not finished. It begins anew."
  find "$volume" -mindepth 1 -delete
fi
if [ ! -e "$volume/$file" ]; then touch "$FIRST_BOOT_MARK"; fi
exec docker-entrypoint.sh "$@"
