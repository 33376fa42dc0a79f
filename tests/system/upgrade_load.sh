#!/bin/bash
# upgrade_load.sh: a stock Linux reads one disk by PIO and one by DMA, writes and
# verifies a virtio disk and echoes what is typed on a line, and notices nothing
# while its device model is upgraded again and again, each time to the other of
# two programs; then to one of another state layout and back.
#
#	UPGRADES=200	so many each time (25)
. "$(dirname "$0")/common.sh"
cp "$builddir/cleaved" new
layout=$builddir/tests/system/cleaved_layout2
export KILLS=${UPGRADES:-25} STORM_UPGRADE=1
storm() {
	"$srcdir/tests/system/storm.sh" "$@"
	case $? in 0) ok ;; 77) exit 77 ;; *) bad "storm.sh $*" ;; esac
}
STORM_UPGRADE_TO="$work/new $builddir/cleaved" storm "${@:-all}"
[ ! -x "$layout" ] || STORM_UPGRADE_TO="$layout $builddir/cleaved" storm "${@:-all}"
finish
