#!/bin/bash
# upgrade.sh: another executable for the device model, under a running guest
# (cleavectl --upgrade-devmodel): many times, refused ones, at bad moments.
#
#	UPGRADES=200	so many in a row (20)
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
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
serves() { until_true more_accesses "$(accesses)"; }
devmodel() { "$ctl" --vm=x --get-devmodel | grep -qE "$1"; }

# percentile P FILE: of the numbers in it, one a line.
percentile() { sort -n "$2" | awk -v p="$1" '{ v[NR] = $1 } END { i = int(NR * p / 100 + 0.999); print v[i < 1 ? 1 : i] }'; }

cp "$builddir/cleaved" new
start x -l bootrom,poll.rom
serves

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

# ---- what served last is what is started after a death, though the file is another by now
upgrade new
cp plain other && mv other new
kill -9 "$(daemon_pid x)"
until_true devmodel '^restarts *1$'
serves
refused "cannot be executed" new
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1
finish
