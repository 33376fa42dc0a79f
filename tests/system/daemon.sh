#!/bin/bash
# tests/system/daemon.sh - a device model that does not start, or sends nonsense.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
evil=$builddir/tests/system/evil_daemon

CLEAVED=/bin/false refuses "ended with status 1" -l bootrom,idle.rom x
CLEAVED=/bin/true refuses "makes no sense" -l bootrom,idle.rom x
CLEAVED=/nonexistent refuses "cannot use /nonexistent" -l bootrom,idle.rom x
CLEAVED=$work refuses "cannot use $work" -l bootrom,idle.rom x
echo text >plain; chmod 755 plain
CLEAVED=$work/plain refuses "device model" -l bootrom,idle.rom x
refuses "/bin/false" -o devmodel.path=/bin/false/x -l bootrom,idle.rom x

export CLEAVED=$evil
EVIL=list-junk refuses "makes no sense" -l bootrom,idle.rom x
EVIL=list-endless refuses "cannot ask the device model" -l bootrom,idle.rom x
EVIL=list-crash refuses "ended with signal" -l bootrom,idle.rom x
EVIL=exit refuses "did not start: it ended with status 3" -l bootrom,idle.rom x
EVIL=abort refuses "did not start: it was killed by signal 6" -l bootrom,idle.rom x
EVIL=close refuses "did not start" -l bootrom,idle.rom x
EVIL=junk refuses "makes no sense" -l bootrom,idle.rom x
EVIL=long refuses "makes no sense" -l bootrom,idle.rom x
EVIL=refuse refuses "no more sectors" -l bootrom,idle.rom x
grep -q "$(printf '\033')" err && bad "an escape sequence reached the terminal" || ok
EVIL=mute refuses "does not say why" -l bootrom,idle.rom x
EVIL=version refuses "speaks version 99" -l bootrom,idle.rom x
EVIL=features refuses "cannot be used" -l bootrom,idle.rom x
EVIL=fds refuses "makes no sense" -l bootrom,idle.rom x
# it is accepted, then breaks the protocol: the machine ends, if it is to, and says why
EVIL=chatty refuses "spoke on its socket" -l bootrom,spin.rom -o devmodel.outage=stop x
EVIL=ring refuses "broke the protocol" -l bootrom,spin.rom -o devmodel.outage=stop x
EVIL=event refuses "broke the protocol" -l bootrom,spin.rom -o devmodel.outage=stop x
EVIL=stream refuses "broke the protocol" -l bootrom,spin.rom -l com1,file=log -o devmodel.outage=stop x
EVIL=die refuses "was killed by signal 11" -l bootrom,spin.rom -o devmodel.outage=stop x
EVIL=leave refuses "ended with status 0" -l bootrom,spin.rom -o devmodel.outage=stop x
# it does nothing at all: the machine runs, and can be ended
EVIL=idle start x -l bootrom,spin.rom
ctl "running" --vm=x --get-all
"$ctl" --vm=x --force-poweroff && ok || bad "--force-poweroff"
stopped 0
# what a guest that polls a device is at any moment
alive='running|waits for the device model'
# no successor comes up, and a vCPU waits for an answer: the machine is there for its user all the same
devmodel() { "$ctl" --vm=x --get-devmodel >devmodel && grep -qE "$1" devmodel; }
EVIL=heir start x -l bootrom,poll.rom
until_true devmodel '^state *serving'
kill -9 "$(daemon_pid x)"
until_true devmodel '^last end .*signal 11'
devmodel '^restarts *0' && devmodel '^generation *1' && devmodel '^state *(waiting|starting)' && ok || bad "--get-devmodel: $(cat devmodel)"
ctl "^rip" --vm=x --get-all
ctl "" --vm=x --pause
ctl "paused" --vm=x --get-all
ctl "" --vm=x --resume
ctl "" --vm=x --force-reset
ctl "^counter|^instructions" --vm=x --get-stats
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1
# each lives for a while
EVIL=die start x -l bootrom,poll.rom
until_true devmodel '^restarts *[2-9]'
grep -q "was killed by signal 11.*took over" x.err && ok || bad "not said: $(cat x.err)"
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1
# each says that it is ready, and dies before it hears that it may go, or soon after
export CLEAVED=$builddir/tests/system/cleaved_faults
CLEAVE_FAULTS=ready.said start x -l bootrom,poll.rom
for i in $(seq 400); do
	[ "$(grep -c 'dies at ready.said' x.err)" -lt 5 ] && kill -0 $vm_pid 2>/dev/null || break
	kill -9 "$(daemon_pid x 2>/dev/null)" 2>/dev/null
	sleep 0.02
done
[ "$(grep -c 'dies at ready.said' x.err)" -ge 5 ] && ok || bad "none died there"
until_true devmodel '^state *serving'
grep 'cannot be taken over' x.err && bad "a successor refuses" || ok
ctl "$alive" --vm=x --get-all
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1
# each aborts while it makes the same device from its state: that one is put out of service, and the machine goes on
poisoned() {
	local label=$1 words=$2; shift 2
	CLEAVE_FAULTS=$label start x -l bootrom,poll.rom -l com1,file=log "$@"
	kill -9 "$(daemon_pid x)"
	until_true grep -q "uart: $words has killed 3 device models in a row: out of service" x.err
	until_true devmodel '^state *serving'
	devmodel '^in vain' && bad "in vain: $(cat devmodel)" || ok
	[ "$(grep -c '^cleaved: dies at' x.err)" -eq 3 ] && ok || bad "$(cat x.err)"
	grep -q '3 device models in a row have died while they took over, the last: .*signal 6' x.err && ok || bad "not said: $(cat x.err)"
	# it can be brought back by a reset
	ctl "$alive" --vm=x --get-all
	ctl "" --vm=x --force-reset
	ctl "$alive" --vm=x --get-all
	"$ctl" --vm=x --destroy && ok || bad "--destroy"
	stopped 1
}
poisoned uart! "taking over its state"
poisoned uart! "taking over its state" -o devmodel.spare=on
# where no device can be blamed, there is no end to it, but for the user
CLEAVE_FAULTS=recover.transaction! start x -l bootrom,poll.rom
kill -9 "$(daemon_pid x)"
until_true devmodel '^in vain *[3-9]'
grep -q '3 device models in a row have died while they took over' x.err && ok || bad "not said: $(cat x.err)"
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1
[ -z "$(ls run)" ] && ok || bad "left behind: $(ls run)"

finish
