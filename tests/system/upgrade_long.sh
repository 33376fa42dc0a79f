#!/bin/bash
# upgrade_long.sh: upgrade_load.sh 200 times each, with a network too; then with
# one of the device models, the old or the new one, killed in each upgrade.
. "$(dirname "$0")/common.sh"
export UPGRADES=${UPGRADES:-200} STORM_SECONDS=1200
for ways in "all" "net"; do
	"$srcdir/tests/system/upgrade_load.sh" "$ways"
	case $? in 0) ok ;; 77) exit 77 ;; *) bad "upgrade_load.sh $ways" ;; esac
done
STORM_UPGRADE_KILL=1 UPGRADES=$((UPGRADES / 4)) "$srcdir/tests/system/upgrade_load.sh" all && ok || bad "with kills"
finish
