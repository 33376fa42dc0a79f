#!/bin/bash
# tests/system/answerable.sh - a machine whose device model hangs, or is gone and
# does not come back, is there for its user: each request is answered, or refused
# with the reason, and none holds up another connection's.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
[ -x "$builddir/tests/system/cleaved_faults" ] || skip "tests/system/cleaved_faults is not built: make check"
export CLEAVED=$builddir/tests/system/cleaved_faults CLEAVE_ABSENT=$work/absent

stat_of() { "$ctl" --vm=x --get-stats | awk -v name="$1" '$1 == name { print $2 }'; }
more() { local was; was=$(stat_of "$1"); sleep 0.2; [ "$(stat_of "$1")" -gt "$was" ]; }
# meanwhile WORDS ARGS...: cleavectl with these waits; others are served before it has its answer, which says WORDS.
meanwhile() {
	local words=$1 slow; shift
	"$ctl" --vm=x "$@" >slow.out 2>&1 & slow=$!
	sleep 0.1
	"$ctl" --vm=x --get-all --get-devmodel --get-stats >others 2>&1 && ok || bad "$*: meanwhile: $(cat others)"
	kill -0 $slow 2>/dev/null && ok || bad "$*: others waited for it, or it has not: $(cat slow.out)"
	wait $slow && bad "$*: succeeds"
	grep -q ^condition others && grep -q "^state " others && grep -q ^instructions others && ok || bad "$*: meanwhile: $(cat others)"
	grep -qF -- "$words" slow.out && ok || bad "$*: does not say \"$words\" but: $(cat slow.out)"
}
# remote PACKET WORDS: the debugger's stub answers it so.
remote() {
	timeout 20 python3 - "$1" >gdb.out <<'EOF'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("gdb.sock")
s.sendall(b"+$%s#%02x" % (sys.argv[1].encode(), sum(sys.argv[1].encode()) % 256))
data = b""
while b"#" not in data:
    data += s.recv(4096)
print(data.decode())
EOF
	grep -qE "$2" gdb.out && ok || bad "gdb: $1: $(cat gdb.out)"
}

# it hangs, and nobody replaces it; the guest waits for it in an access
start x -l bootrom,poll.rom -s 3,virtio-net,null -o devmodel.deadline=0 -G "$work/gdb.sock"
until_true more io.daemon
d=$(daemon_pid x)
kill -STOP "$d"
until_true eval '"$ctl" --vm=x --get-all | grep -q "waits for the device model"'
ctl "^rip" --vm=x --get-rip
ctl_refuses "its registers can be looked at" --vm=x --set-rax=1
meanwhile "does not answer, and may still be at work" --pause
ctl "paused" --vm=x --get-all
remote mffff0,4 '\$ea0000'
ctl "" --vm=x --resume
meanwhile "has not answered within" --set-link=3,down
meanwhile "has not answered within" --send-keys=abc
meanwhile "has not answered within" --power-button
ctl "" --vm=x --force-reset
ctl "^rip" --vm=x --get-all
kill -CONT "$d"
until_true more io.daemon
[ "$(stat_of resets)" = 1 ] && ok || bad "not reset"
ctl "running" --vm=x --get-all
# what it answers is what it is asked now, not what it was asked then
ctl_refuses "no network card" --vm=x --set-link=4,down
ctl "" --vm=x --set-link=3,up
ctl "" --vm=x --pause
ctl "" --vm=x --resume
until_true more io.daemon
# one that hangs does not hold up the machine's end
kill -STOP "$d"
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1

# a hang is noticed in a pause and in a reset too, when no processor waits; and however often somebody looks
start x -l bootrom,idle.rom -o devmodel.deadline=1
d=$(daemon_pid x)
kill -STOP "$d"
ctl "" --vm=x --force-reset
until_true eval 'grep -q "does not answer; process $(daemon_pid x) took over" x.err'
until_true eval '[ "$(stat_of resets)" = 1 ]'
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1
start x -l bootrom,poll.rom -o devmodel.deadline=1
until_true more io.daemon
kill -STOP "$(daemon_pid x)"
for i in $(seq 200); do "$ctl" --vm=x --get-stats >/dev/null; sleep 0.02; grep -q "does not answer" x.err && break; done
grep -q "does not answer.*took over" x.err && ok || bad "not noticed while somebody looks: $(cat x.err)"
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1

# it is gone, and its successor does not come
start x -l bootrom,poll.rom -s 3,virtio-net,null -G "$work/gdb.sock"
until_true more io.daemon
touch absent
kill -9 "$(daemon_pid x)"
until_true eval '"$ctl" --vm=x --get-all | grep -q "waits for the device model"'
ctl_refuses "its registers can be looked at" --vm=x --set-rax=1
meanwhile "there is no device model" --set-link=3,down
meanwhile "there is no device model" --send-keys=abc
ctl "" --vm=x --resume
ctl "^instructions" --vm=x --get-stats
ctl "" --vm=x --force-reset
ctl "" --vm=x --force-reset
remote mffff0,4 '\$ea0000'
rm absent
until_true more io.daemon
[ "$(stat_of resets)" = 1 ] && ok || bad "not reset once: $(stat_of resets)"
# what was refused has not been done by the successor
grep -q "abc" x.out && bad "typed" || ok
touch absent
kill -9 "$(daemon_pid x)"
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1

finish
