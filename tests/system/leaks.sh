#!/bin/bash
# tests/system/leaks.sh - device models die KILLS times, and the engine keeps
# nothing of them: no descriptor, mapping, thread or child, and no memory that
# grows with their number; nor has a successor more than its predecessors.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
kills=${KILLS:-40}

fds() { ls "/proc/$1/fd" | wc -l; }
maps() { wc -l <"/proc/$1/maps"; }
threads() { ls "/proc/$1/task" | wc -l; }
children() { cat /proc/"$1"/task/*/children | wc -w; }
rss() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$1/status"; }
generation() { "$ctl" --vm=x --get-devmodel | awk '$1 == "generation" { print $2 }'; }
serves() { [ "$(generation)" = "$1" ] && "$ctl" --vm=x --get-devmodel | grep -q '^state *serving'; }

# kill_some N: one after another, each when it serves
kill_some() {
	local i next
	for i in $(seq "$1"); do
		next=$(($(generation) + 1))
		kill -9 "$(daemon_pid x)"
		wait_for 20 serves $next || die "no successor after $i deaths: $(tail -3 x.err)"
	done
}

# measure FILE: what engine and device model have
measure() {
	local d
	"$ctl" --vm=x --get-stats >/dev/null	# whatever is late has been done
	d=$(daemon_pid x)
	{
		echo "engine's descriptors $(fds $vm_pid)"
		echo "engine's mappings $(maps $vm_pid)"
		echo "engine's threads $(threads $vm_pid)"
		echo "engine's children $(children $vm_pid)"
		echo "device model's descriptors $(fds "$d")"
		echo "device model's mappings $(maps "$d")"
		echo "device model's threads $(threads "$d")"
	} >"$1"
	rss $vm_pid >"$1.rss"
}

# trial NAME ARGS...: what a machine of these options has after a few deaths it has after many
trial() {
	local what=$1 grown; shift
	start x -l bootrom,poll.rom -m 16M "$@"
	kill_some 5
	measure before
	kill_some "$kills"
	measure after
	# A sanitizer's allocator keeps for a while what is freed, and maps as it likes.
	sanitized && sed -i /mappings/d before after
	cmp -s before after && ok || bad "$what: $(diff before after)"
	# the allocator may take its time; a page for each would be seen
	grown=$(($(cat after.rss) - $(cat before.rss)))
	sanitized || [ $grown -lt $((1024 + 2 * kills)) ] && ok || bad "$what: $grown KiB more after $kills deaths"
	say "$what: $kills deaths, $grown KiB"
	"$ctl" --vm=x --destroy && ok || bad "--destroy"
	stopped 1
}

truncate -s 1M disk.img other.img
trial "by itself" -l com1,file=log -s 3,virtio-blk,disk.img -s 4,virtio-net,slirp -s 1:1,ide,hd0=other.img
trial "with a spare" -l com1,file=log -s 3,virtio-rnd -o devmodel.spare=on
finish
