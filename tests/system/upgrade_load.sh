#!/bin/bash
# upgrade_load.sh: a stock Linux reads one disk by PIO and one by DMA, writes and
# verifies a virtio disk and echoes what is typed on a line, and notices nothing
# while its device model is upgraded again and again: to another program, to one
# with another state layout, and back.
#
#	upgrade_load.sh [WAY]...	of storm.sh: all
#	UPGRADES=200	so many (30)
#	LAYOUTS=same	only to programs of the same layout; other: each to one of another
. "$(dirname "$0")/common.sh"
cp "$builddir/cleaved" new
layout=$builddir/tests/system/cleaved_layout2
case ${LAYOUTS-} in
same) to="$work/new $builddir/cleaved" ;;
other) to="$layout $builddir/cleaved" ;;
*) to="$work/new $builddir/cleaved $layout" ;;
esac
[ -x "$layout" ] || to=${to/ $layout/}
KILLS=${UPGRADES:-30} STORM_UPGRADE=1 STORM_UPGRADE_TO=$to "$srcdir/tests/system/storm.sh" "${@:-all}"
