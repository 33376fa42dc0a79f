#!/bin/bash
# spare.sh: a device model that stands by takes over, is replaced when it dies, and ends with the machine.
. "$(dirname "$0")/common.sh"

devmodel() { "$ctl" --vm=x --get-devmodel >devmodel 2>/dev/null && grep -qE "$1" devmodel; }
spare_pid() { devmodel 'spare .*pid' && sed -n 's/^spare .*pid \([0-9]*\);.*/\1/p' devmodel; }
serving() { [ "$(daemon_pid x)" = "$1" ] && devmodel '^state *serving'; }
other_spare() { devmodel "^spare *ready, pid" && ! grep -q "^spare .*pid $1;" devmodel; }

# none is the default
start x -l bootrom,poll.rom
devmodel spare && bad "--get-devmodel: $(cat devmodel)" || ok
"$ctl" --vm=x --force-poweroff
stopped 0

truncate -s 1M disk.img
start x -l bootrom,poll.rom -s 1:1,ide,hd0=disk.img -o devmodel.spare=on
d=$(daemon_pid x)
until_true devmodel '^spare *ready, pid [0-9]+; 0 taken, 0 lost'
s=$(spare_pid)
[ "$s" != "$d" ] && ok || bad "the spare is the one that serves"

# it dies: another stands by, and who serves goes on
kill -ABRT "$s"
until_true other_spare "$s"
devmodel '^restarts *0' && devmodel "^spare lost *process $s was killed by signal 6" && serving "$d" && ok || bad "--get-devmodel: $(cat devmodel)"

# who serves dies: the spare it is
s=$(spare_pid)
kill -9 "$d"
until_true serving "$s"
until_true other_spare "$s"
devmodel '^restarts *1' && devmodel '1 taken, 1 lost' && ok || bad "--get-devmodel: $(cat devmodel)"

# again, stopped before the spare has come to stand by: whatever it has got ready is used
for i in 1 2 3 4 5; do
	d=$(daemon_pid x)
	kill -9 "$d"
	until_true eval '[ "$(daemon_pid x)" != 0 ] && ! serving $d && devmodel "^state *serving"'
done

# both at once
d=$(daemon_pid x)
until_true devmodel '^spare *ready'
kill -9 "$d" "$(spare_pid)"
until_true eval '[ "$(daemon_pid x)" != 0 ] && ! serving $d && devmodel "^state *serving"'
until_true devmodel '^spare *ready'

# a machine that stands, a disk that grows: its turn tells it
"$ctl" --vm=x --pause && ok || bad "--pause"
d=$(daemon_pid x)
kill -9 "$d"
until_true eval '! serving $d && devmodel "^state *serving"'
ctl "" --vm=x --resume
ctl "^rip" --vm=x --get-all

# the machine ends, both go
d=$(daemon_pid x)
until_true devmodel '^spare *ready'
s=$(spare_pid)
"$ctl" --vm=x --force-poweroff && ok || bad "--force-poweroff"
stopped 0
until_true gone "$d"
until_true gone "$s"
grep "AddressSanitizer\|runtime error" x.err && bad "a sanitizer's report" || ok

# the engine is killed: no orphan
start x -l bootrom,idle.rom -o devmodel.spare=on
d=$(daemon_pid x)
until_true devmodel '^spare *ready'
s=$(spare_pid)
kill -9 $vm_pid
wait $vm_pid 2>/dev/null
vm_pid=
until_true gone "$d"
until_true gone "$s"

# spares that are no good are the machine's smallest worry
export CLEAVED=$builddir/tests/system/evil_daemon
evil() {
	EVIL=$1 start x -l bootrom,spin.rom -o devmodel.spare=on
	until_true devmodel "$2"
	devmodel '^state *serving' && devmodel '^restarts *0' && ok || bad "$1: $(cat devmodel)"
	"$ctl" --vm=x --force-poweroff && ok || bad "$1: --force-poweroff"
	stopped 0
}
evil spare-die 'spare lost .*signal 11'
evil spare-refuse 'spare lost .*no more sectors'
evil spare-chatty 'spare lost .*before its turn'
evil spare-close 'spare lost .*closed its socket'
[ $(wc -l <x.err) -lt 5 ] && ok || bad "too many words: $(cat x.err)"

finish
