#!/bin/bash
# tests/system/life.sh - how machines end, and that their death stops no successor.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"

# exit status
ends 2 -l bootrom,halt.rom x
grep -q "halted with interrupts off" err && ok || bad "halt: $(cat err)"
ends 3 -l bootrom,triple.rom x
grep -q "triple fault" err && ok || bad "triple fault: $(cat err)"
ends 7 -l bootrom,exit.rom -l isa-debug-exit x
if [ "${engine-}" != kvm ]; then	# one that emulates knows neither MONITOR nor the limit of real mode's table
	ends 7 -l bootrom,mwait.rom -l isa-debug-exit x
	ends 3 -l bootrom,msr.rom -l isa-debug-exit x		# a fault without a handler
fi
ends 7 -w -l bootrom,msr.rom -l isa-debug-exit x
ends 1 -l bootrom,panic.rom -l pvpanic x
grep -q "crashed" err && ok || bad "panic: $(cat err)"
# the same two when they mean a reset: the third start ends it
rom triples.rom b0 40 e6 70 e4 71 fe c0 88 c3 b0 40 e6 70 88 d8 e6 71 3c 03 74 10 2e 0f 01 1e 00 01 0f 20 c0 0c 01 0f 22 c0 8e d8 fa f4
ends 2 -l bootrom,triples.rom -o triple_fault=reset x
rom halts.rom b0 40 e6 70 e4 71 fe c0 88 c3 b0 40 e6 70 88 d8 e6 71 3c 03 74 02 fa f4 ba 01 05 b0 03 ee eb fe
ends 7 -l bootrom,halts.rom -l isa-debug-exit -o halt=reset x
# a guest that resets goes on in place: the third start halts
ends 2 -l bootrom,reset.rom -o stats=true x
grep -q "summary" err && ok || bad "no summary: $(cat err)"
ends 2 -l bootrom,hi.rom -l com1,stdio x
[ "$(cat out)" = "$(printf 'Hi\r\n')" ] && ok || bad "com1 printed: $(cat out)"
[ -z "$(ls run)" ] && ok || bad "left behind: $(ls run)"

# the control tool ends it
start vm1 -l bootrom,idle.rom
"$ctl" --vm=vm1 --force-poweroff && ok || bad "--force-poweroff"
stopped 0
start vm1 -l bootrom,spin.rom
"$ctl" --vm=vm1 --destroy && ok || bad "--destroy"
stopped 1
# a signal ends it
for sig in TERM INT HUP; do
	start vm1 -l bootrom,idle.rom
	kill -$sig $vm_pid
	stopped 0
done

# a second one of the same name is refused, and the first goes on
start vm1 -l bootrom,idle.rom
refuses "runs already (process $vm_pid)" -l bootrom,halt.rom vm1
"$ctl" --vm=vm1 --get-info >/dev/null && ok || bad "the first has gone"

# kill -9 of the device model: another takes over, and the machine goes on
d=$(daemon_pid vm1)
kill -9 "$d"
until_true eval '[ "$(daemon_pid vm1)" != "$d" ] && [ "$(daemon_pid vm1)" -gt 0 ]'
grep -q "device model (process $d) was killed by signal 9.*process $(daemon_pid vm1) took over" vm1.err && ok || bad "says: $(cat vm1.err)"
"$ctl" --vm=vm1 --force-poweroff && ok || bad "--force-poweroff"
stopped 0

# unless it is to stop: the engine says so, ends, and leaves nothing
start vm1 -l bootrom,idle.rom -o devmodel.outage=stop
d=$(daemon_pid vm1)
kill -9 "$d"
stopped 1
grep -q "device model (process $d) was killed by signal 9" vm1.err && ok || bad "says: $(cat vm1.err)"
[ -z "$(ls run)" ] && ok || bad "left behind: $(ls run)"

# the same while a vCPU waits for it in an access
start vm1 -l bootrom,poll.rom -o devmodel.outage=stop
d=$(daemon_pid vm1)
kill -9 "$d"
stopped 1

# one that hangs is replaced, after its deadline
start vm1 -l bootrom,poll.rom -o devmodel.deadline=1
d=$(daemon_pid vm1)
kill -STOP "$d"
until_true eval 'grep -q "does not answer; process $(daemon_pid vm1) took over" vm1.err'
"$ctl" --vm=vm1 --force-poweroff && ok || bad "--force-poweroff"
stopped 0

# kill -9 of the engine: the device model goes too, and the name, the disk and the directory are free
truncate -s 1M disk.img
start vm1 -l bootrom,idle.rom -s 1:1,ide,hd0=disk.img -l com1,unix=com1.sock
d=$(daemon_pid vm1)
kill -9 $vm_pid
wait $vm_pid 2>/dev/null
vm_pid=
until_true gone "$d"
[ -e run/vm1/control ] && ok || bad "no stale directory to take over"
[ -z "$("$ctl")" ] && ok || bad "a dead machine is listed: $("$ctl")"
ctl_refuses "no machine named vm1" --vm=vm1 --get-all
start vm1 -l bootrom,idle.rom -s 1:1,ide,hd0=disk.img -l com1,unix=com1.sock
"$ctl" --vm=vm1 --force-poweroff
stopped 0

# a stopped device model does not answer: the machine can be looked at all the same
start vm1 -l bootrom,poll.rom
d=$(daemon_pid vm1)
kill -STOP "$d"
sleep 0.2
ctl "waits for the device model" --vm=vm1 --get-all
kill -CONT "$d"
ctl "rip" --vm=vm1 --get-all
"$ctl" --vm=vm1 --force-poweroff
stopped 0

finish
