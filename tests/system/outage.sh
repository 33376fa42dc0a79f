#!/bin/bash
# tests/system/outage.sh - what the guest sees of a device while there is no device model.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
[ -x "$builddir/tests/system/cleaved_faults" ] || skip "tests/system/cleaved_faults is not built: make check"
export CLEAVED=$builddir/tests/system/cleaved_faults CLEAVE_ABSENT=$work/absent

stat_of() { "$ctl" --vm=x --get-stats | awk -v name="$1" '$1 == name { print $2 }'; }
more() { local was; was=$(stat_of "$1"); sleep 0.2; [ "$(stat_of "$1")" -gt "$was" ]; }
serving() { "$ctl" --vm=x --get-devmodel | grep -q '^state *serving'; }
lose() { touch absent; kill -9 "$(daemon_pid x)"; }

# ones: after the grace the guest goes on without the device, and with it when it is back
start x -l bootrom,poll.rom -l i8042,outage=ones -o devmodel.grace=300
until_true more io.daemon
lose
until_true grep -q "no device model for 300 ms: .*all ones.*: i8042$" x.err
until_true more io.outage.ones
ctl "^rax.*ff$" --vm=x --get-rax
ctl "" --vm=x --pause
ctl "paused" --vm=x --get-all
ctl "" --vm=x --resume
rm absent
until_true serving
until_true more io.daemon
n=$(stat_of io.outage.ones)
grep -q "served again: $n reads were answered with all ones, 0 writes dropped" x.err && ok || bad "not said, $n: $(cat x.err)"
[ "$n" -gt 0 ] && ok || bad "none"
# a takeover within the grace is only a pause
kill -9 "$(daemon_pid x)"
until_true grep -q "took over.*" x.err
until_true serving
until_true more io.daemon
[ "$(stat_of io.outage.ones)" = "$n" ] && ok || bad "ones within the grace"
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1

# stall: it waits
start x -l bootrom,poll.rom -l com1,file=log,outage=ones -o devmodel.grace=0
until_true more io.daemon
lose
until_true grep -q "no device model for 0 ms: .*: uart$" x.err
n=$(stat_of instructions)
sleep 0.3
[ "$(stat_of instructions)" = "$n" ] && [ "$(stat_of io.outage.ones)" = 0 ] && ok || bad "the guest goes on"
rm absent
until_true more io.daemon
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1

# the default of all; writes are dropped
rom spam.rom ba f8 03 b0 48 ee eb fd			# writes to com1 for ever
start x -l bootrom,spam.rom -l com1,file=log -o devmodel.outage=ones -o devmodel.grace=0
until_true more io.daemon
lose
until_true grep -q "all ones.*hostbridge" x.err
until_true more io.outage.dropped
"$ctl" --vm=x --force-reset && ok || bad "--force-reset"
rm absent
until_true serving
until_true more io.daemon
grep -q "[1-9][0-9]* writes dropped" x.err && ok || bad "says: $(cat x.err)"
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1

# stop: of one device is enough
start x -l bootrom,poll.rom -s 3,virtio-rnd,outage=stop
d=$(daemon_pid x)
kill -9 "$d"
stopped 1
grep -q "device model (process $d) was killed by signal 9 (Killed), and virtio-rnd@3:0 has outage=stop" x.err && ok || bad "says: $(cat x.err)"

finish
