#!/bin/bash
# upgrade_long.sh: upgrade_load.sh 200 times each, to the same layout and to
# another, with disks and with a network; then with one of the device models, the
# old or the new one, killed in each upgrade.
. "$(dirname "$0")/common.sh"
export UPGRADES=${UPGRADES:-200} STORM_SECONDS=1200
load() {
	"$srcdir/tests/system/upgrade_load.sh" "$@"
	case $? in 0) ok ;; 77) exit 77 ;; *) bad "upgrade_load.sh $*, LAYOUTS=${LAYOUTS-}" ;; esac
}
LAYOUTS=same load all net
LAYOUTS=other load all
UPGRADES=$((UPGRADES / 4)) STORM_UPGRADE_KILL=1 load all
finish
