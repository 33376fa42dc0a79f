#!/bin/bash
# footprint.sh: what a machine with an idle stock Linux costs its host: the
# proportional set size of both processes without the guest's memory, that of
# translated code, and their processor time.  The limits are what is promised.
. "$(dirname "$0")/common.sh"
need busybox-static /bin/busybox
need cpio cpio
kernel=$("$srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"
[ -r /proc/self/smaps ] || skip "the host has no /proc/PID/smaps"

mkdir add
echo 'echo "cleave: idle"; sleep 1000' >add/idle.sh
MKINITRAMFS_ADD=add "$srcdir/scripts/mkinitramfs" initrd.img "$("$srcdir/scripts/getkernel" modules)" || die "no initramfs"
truncate -s 64M disk.img
start idle -m 512M -u --kernel "$kernel" --initrd initrd.img -l com1,stdio -s 1:1,ide,hd0=disk.img \
	--append "console=ttyS0 cleave.run=/idle.sh $busy"
wait_for 300 grep -q '^cleave: idle' idle.out || die "no idle guest: $(tail -n 20 idle.out)"
daemon=$(daemon_pid idle)
sleep 2

# The guest's memory is a file without a name, mapped by both; translated code is shared memory without one, mapped twice.
pss() { awk '/^[0-9a-f]+-/ { no = /memfd:cleave-ram|\/dev\/zero/ } /^Pss:/ && !no { sum += $2 } END { print sum + 0 }' "/proc/$1/smaps"; }
code() { awk '/^[0-9a-f]+-/ { is = /\/dev\/zero/ } /^Pss:/ && is { sum += $2 } END { print sum + 0 }' "/proc/$1/smaps"; }
ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
engine_kb=$(pss $vm_pid) daemon_kb=$(pss "$daemon")
[ "$engine_kb" -gt 0 ] && [ "$daemon_kb" -gt 0 ] || die "no numbers in /proc/PID/smaps"
if [ $((engine_kb + daemon_kb)) -lt $((32 * 1024)) ]; then ok; else bad "$((engine_kb + daemon_kb)) kB are 32 MiB and more"; fi
cache_kb=$(($("$ctl" --vm=idle --get-stats | awk '$1 == "jit.cache.size" { print $2 }') / 1024 + 4))
if [ "$(code $vm_pid)" -le $cache_kb ]; then ok; else bad "translated code takes $(code $vm_pid) kB of $cache_kb"; fi
say "Pss without the guest's memory: cleave $engine_kb kB, cleaved $daemon_kb kB; translated code $(code $vm_pid) kB of $cache_kb"

seconds=20
before=$(($(ticks $vm_pid) + $(ticks "$daemon")))
sleep $seconds
spent=$(($(ticks $vm_pid) + $(ticks "$daemon") - before))
permille=$((spent * 1000 / seconds / $(getconf CLK_TCK)))
if [ $permille -lt 20 ]; then ok; else bad "an idle guest takes $permille/1000 of a processor"; fi
say "idle: $permille/1000 of a processor"
"$ctl" --vm=idle --force-poweroff || bad "cleavectl --force-poweroff"
stopped 0
finish
