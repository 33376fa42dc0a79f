#!/bin/bash
# faults.sh: the device model dies at each of its labelled steps (devmodel/txn.h),
# while a stock Linux reads one disk by PIO and one by DMA, writes and verifies a
# virtio disk, and echoes what is typed on a line: storm.sh with a daemon that
# kills itself.  Most steps must have killed; the devices' unit tests
# (succession.sh) come to all of them.
. "$(dirname "$0")/common.sh"
[ -x "$builddir/tests/system/cleaved_faults" ] || skip "tests/system/cleaved_faults is not built: make check"
export STORM_DAEMON=$builddir/tests/system/cleaved_faults KILLS=${KILLS:-300} STORM_SECONDS=${STORM_SECONDS:-900} STORM_LOG=$work/log
CLEAVE_FAULTS=$(grep -rhoE 'TXN_STEP\("[a-z_.]+"\)' "$srcdir/devmodel" | cut -d'"' -f2 | sort -u)
export CLEAVE_FAULTS
mkdir "$work/log"
"$srcdir/tests/system/storm.sh" all
status=$?
[ $status -ne 77 ] || exit 77
[ $status -eq 0 ] && ok || bad "storm.sh: status $status"
sed -n 's/^cleaved: dies at //p' "$work/log/"*.err | sort | uniq -c
for label in $CLEAVE_FAULTS; do
	grep -q "^cleaved: dies at $label\$" "$work/log/"*.err || echo "no process died at $label"
done
[ "$(sed -n 's/^cleaved: dies at //p' "$work/log/"*.err | sort -u | wc -l)" -ge 20 ] && ok || bad "too few steps were come to"
finish
