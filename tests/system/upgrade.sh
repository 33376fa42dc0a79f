#!/bin/bash
# upgrade.sh: another executable for the device model, under a running guest
# (cleavectl --upgrade-devmodel): many times, refused ones, at bad moments.
#
#	UPGRADES=200	so many in a row (20)
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
need python3 python3
upgrades=${UPGRADES:-20}

upgrade() { ctl "^upgraded to .*generation" --vm=x "--upgrade-devmodel${1:+=$1}"; }
# refused WORDS PATH: the present one goes on, and serves: the guest is not stopped.
refused() {
	local pid
	pid=$(daemon_pid x)
	ctl_refuses "$1" --vm=x --upgrade-devmodel="$2"
	grep -q "goes on with" err && ok || bad "does not say what goes on: $(cat err)"
	[ "$(daemon_pid x)" = "$pid" ] && ok || bad "process $(daemon_pid x) serves, not $pid"
	serves
}
accesses() { "$ctl" --vm=x --get-stats | awk '$1 == "io.daemon" { print $2 }'; }
more_accesses() { [ "$(accesses)" -gt "$1" ]; }
serves() { if [ -S com1 ]; then echoes && ok || bad "no echo"; else until_true more_accesses "$(accesses)"; fi; }
# echo.rom: each byte comes back with one added.
echoes() {
	python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect("com1"); s.settimeout(10); s.sendall(b"HAL"); got = b""
while len(got) < 3: got += s.recv(3)
sys.exit(got != b"IBM")'
}
devmodel() { "$ctl" --vm=x --get-devmodel | grep -qE "$1"; }

# percentile P FILE: of the numbers in it, one a line.
percentile() { sort -n "$2" | awk -v p="$1" '{ v[NR] = $1 } END { i = int(NR * p / 100 + 0.999); print v[i < 1 ? 1 : i] }'; }

# No descriptor of the engine is left over (the one before an upgrade is kept for a while).
fds() { ls "/proc/$vm_pid/fd" | wc -l; }
as_before() { [ "$(fds)" -le $((before + 1)) ]; }

cp "$builddir/cleaved" new
start x -l bootrom,poll.rom
serves
before=$(fds)

# ---- again and again, to the file where it was found, and to another
for i in $(seq "$upgrades"); do
	upgrade "$([ $((i % 2)) = 0 ] || echo new)"
	sed -n 's/.*stall \([0-9]*\) us/\1/p' out >>stalls
done
say "$(wc -l <stalls) upgrades of an idle machine: stall p50 $(percentile 50 stalls), p99 $(percentile 99 stalls) us"
devmodel "^generation *$((upgrades + 1))\$" && devmodel "^upgrades *$upgrades\$" && devmodel '^restarts *0$' && ok || bad "--get-devmodel: $("$ctl" --vm=x --get-devmodel)"
devmodel '^upgrade .*device model upgraded to .*stall [0-9]+ us$' && ok || bad "no record: $("$ctl" --vm=x --get-devmodel)"
serves

# ---- refused
echo text >plain
refused "Permission denied" plain
chmod 755 plain
refused "cannot be executed" plain
refused "No such file" missing
refused "Permission denied" "$work"
refused "ended with status 0 before it stood by" /bin/true
refused "ended with status 1" /bin/false

# What is no device model, or a bad one: evil_daemon does what its name says.
for name in spare-die spare-refuse spare-chatty turn-die turn-junk turn-again turn-hang spare-hang version refuse die; do
	cp "$builddir/tests/system/evil_daemon" $name
done
refused "was killed by signal 11 (Segmentation fault) before it stood by" spare-die
refused "no more sectors" spare-refuse
refused "was killed by signal 11" turn-die
refused "makes no sense" turn-junk
refused "makes no sense" turn-again
refused "no more sectors" refuse
refused "speaks version 99" version
refused "not ready after 1 s" turn-hang
[ "$("$ctl" --vm=x --get-devmodel | sed -n 's/^generation *//p')" = $((upgrades + 1)) ] && ok || bad "a refused one is counted"
until_true as_before || ls -l "/proc/$vm_pid/fd"

# ---- two at once, and one that hangs is killed
"$ctl" --vm=x --upgrade-devmodel=spare-hang >hang.out 2>&1 & hang=$!
until_true eval "[ \"\$(pgrep -P $vm_pid -n)\" != \"$(daemon_pid x)\" ]"
ctl_refuses "an upgrade to $work/spare-hang is under way" --vm=x --upgrade-devmodel
kill -9 "$(pgrep -P $vm_pid -n)"
wait $hang && bad "a hanging one succeeds" || ok
grep -q "was killed by signal 9 (Killed) before it stood by" hang.out && ok || bad "$(cat hang.out)"
serves

# ---- a machine that stands
ctl "" --vm=x --pause
upgrade new
ctl "paused" --vm=x --get-all
ctl "" --vm=x --resume
serves
# and one that is reset right after
upgrade
ctl "" --vm=x --force-reset
serves

# ---- what served last is what is started after a death, though the file is another by now
upgrade new
cp plain other && mv other new
restarts=$("$ctl" --vm=x --get-devmodel | sed -n 's/^restarts *//p')
kill -9 "$(daemon_pid x)"
until_true devmodel "^restarts *$((restarts + 1))\$"
serves
refused "cannot be executed" new

# ---- one that fails as soon as it serves: the machine returns to the one before
cp "$builddir/cleaved" new
upgrade new
upgrade die
until_true devmodel "upgrade of the device model to $work/die revoked"
until_true devmodel "^state *serving"
serves
[ "$(readlink "/proc/$(daemon_pid x)/exe")" = "$work/new" ] && ok || bad "$(readlink "/proc/$(daemon_pid x)/exe") serves"
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1

# ---- another layout of the serial ports' state: by the names of its fields, up and down
layout=$builddir/tests/system/cleaved_layout
if [ -x "${layout}2" ]; then
	start x -l bootrom,echo.rom -l com1,unix=com1
	until_true test -S com1
	serves
	upgrade "${layout}2"
	serves
	upgrade "$builddir/cleaved"
	serves
	refused "device uart: layout 4 of this binary needs a field \"port.sent\", which state layout 1 does not have" "${layout}4"
	upgrade "${layout}3"
	refused "device uart: state layout 3 has a field \"port.sent\", which layout 1 of this binary does not know" "$builddir/cleaved"
	upgrade "${layout}4"
	upgrade "${layout}2"
	upgrade "$builddir/cleaved"
	serves
	# one that fails soon cannot be succeeded by the one before: its successor is its like
	upgrade "${layout}2"
	kill -SEGV "$(daemon_pid x)"
	until_true devmodel '^restarts *1$'
	serves
	[ "$(readlink "/proc/$(daemon_pid x)/exe")" = "${layout}2" ] && ok || bad "$(readlink "/proc/$(daemon_pid x)/exe") serves"
	"$ctl" --vm=x --destroy && ok || bad "--destroy"
	stopped 1
fi

# ---- nobody serves, as successors do not come up: the upgrade is the cure
export CLEAVED=$builddir/tests/system/cleaved_faults CLEAVE_ABSENT=$work/absent
if [ -x "$CLEAVED" ]; then
	start x -l bootrom,poll.rom
	serves
	touch absent
	kill -9 "$(daemon_pid x)"
	until_true devmodel "^state *starting"
	refused=$(cp "$builddir/tests/system/evil_daemon" turn-die; "$ctl" --vm=x --upgrade-devmodel=turn-die 2>&1)
	case $refused in *"killed by signal 11"*"goes on with $CLEAVED") ok ;; *) bad "$refused" ;; esac
	upgrade "$builddir/cleaved"
	devmodel "^state *serving" && devmodel "^upgrades *1\$" && ok || bad "$("$ctl" --vm=x --get-devmodel)"
	serves
	rm absent
	"$ctl" --vm=x --destroy && ok || bad "--destroy"
	stopped 1
fi
[ -z "$(ls run)" ] && ok || bad "left behind: $(ls run)"
finish
