#!/bin/bash
# virtio_blk.sh: a stock Linux uses virtio disks: by MSI-X and by the pin, one
# queue and several, sectors of 512 and 4096 bytes, O_DIRECT images, read-only
# ones, discard, a disk that grows; booted directly and by SeaBIOS and
# GRUB from such a disk; and while the device model is killed.  What it read and
# wrote is compared on the host.
#
#	virtio_blk.sh [direct|grub|killed]...	all of them when none is named
. "$(dirname "$0")/common.sh"
need busybox-static /bin/busybox
need cpio cpio
kernel=$("$srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"

mkdir -p add
# Of each disk: 1 to 8 MiB are read, 8 to 12 MiB written; then the last is waited for to grow.
cat >add/virtio.sh <<'EOF_SH'
sum() { sha256sum | cut -c1-64; }
grep -E 'virtio.*(req|config)|virtio[0-9]$' /proc/interrupts | tr -s ' ' | sed 's/^/irq: /'
for d in vda vdb; do
	q=/sys/block/$d/queue
	echo "result: $d is $(cat /sys/block/$d/serial) $(cat $q/logical_block_size) $(cat /sys/block/$d/ro) $(cat $q/write_cache)"
	echo "result: $d reads $(dd if=/dev/$d bs=64k skip=16 count=112 2>/dev/null | sum)"
	dd if=/dev/$d bs=64k skip=16 count=64 2>/dev/null | tr '\000-\377' '\001-\377\000' >/tmp/block
	if [ "$(cat /sys/block/$d/ro)" = 1 ]; then continue; fi
	echo "result: $d wrote $(sum </tmp/block)"
	dd if=/tmp/block of=/dev/$d bs=64k seek=128 conv=fsync,notrunc 2>/dev/null
	echo 3 >/proc/sys/vm/drop_caches
	echo "result: $d back $(dd if=/dev/$d bs=64k skip=128 count=64 2>/dev/null | sum)"
	echo "result: $d direct $(dd if=/dev/$d bs=512k skip=16 count=8 iflag=direct 2>/dev/null | sum)"
	blkdiscard -o 13631488 -l 1048576 /dev/$d && echo "result: $d discards"
	echo "result: $d zeroes $(cat $q/write_zeroes_max_bytes)"
done
dd if=/tmp/block of=/dev/vdc bs=64k 2>/dev/null && echo "result: vdc is written to"
echo "result: vdc is $(cat /sys/block/vdc/ro) $(dd if=/dev/vdc bs=64k 2>/dev/null | sum)"
echo "result: waiting"
n=0
while [ "$(cat /sys/block/vda/size)" = 32768 ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n + 1)); done
echo "result: vda grew $(cat /sys/block/vda/size)"
dd if=/tmp/block of=/dev/vda bs=64k seek=256 conv=fsync,notrunc 2>/dev/null
dmesg | grep -i -E 'I/O error|vd[a-c].*(timeout|reset)|virtio.*(fail|error|broken)' | sed 's/^/complaint: /'
EOF_SH
cat >add/killed.sh <<'EOF_SH'
sum() { sha256sum | cut -c1-64; }
dd if=/dev/vda of=/tmp/block bs=64k count=112 2>/dev/null
echo "result: begun $(sum </tmp/block)"
i=0
while [ $i -lt 8 ]; do
	tr '\000-\377' '\001-\377\000' </tmp/block >/tmp/next
	mv /tmp/next /tmp/block
	dd if=/tmp/block of=/dev/vda bs=64k seek=128 conv=fsync,notrunc 2>/dev/null
	echo 3 >/proc/sys/vm/drop_caches
	[ "$(dd if=/dev/vda bs=64k skip=128 count=112 2>/dev/null | sum)" = "$(sum </tmp/block)" ] && i=$((i + 1)) || i=99
	echo "result: round $i"
done
echo "result: ended $(sum </tmp/block)"
dmesg | grep -i -E 'I/O error|vda.*(timeout|reset)|virtio.*(fail|broken)' | sed 's/^/complaint: /'
EOF_SH
MKINITRAMFS_ADD=add "$srcdir/scripts/mkinitramfs" initrd.img "$("$srcdir/scripts/getkernel" modules)" || die "no initramfs"
head -c 16M /dev/urandom >data.orig
append="console=ttyS0 cleave.run=/virtio.sh $busy"

result() { tr -d '\r' <"$1.out" | sed -n "s/^result: $2 *//p"; }
sum() { sha256sum | cut -c1-64; }
same() {
	if [ -n "$2" ] && [ "$2" = "$3" ]; then ok; say "$1: $(echo "$2" | cut -c1-60)"
	else bad "$1: '$2', not '$3'"; fi
}
piece() { dd if="$1" bs=64k skip="$2" count="$3" status=none | sum; }

# disk NAME DISK IMAGE IS: what the guest says of it, and what is in the image.
disk() {
	local name=$1 d=$2 image=$3
	same "$name: $d is" "$(result "$name" "$d is")" "$4"
	same "$name: $d reads" "$(result "$name" "$d reads")" "$(piece data.orig 16 112)"
	same "$name: $d reads what it wrote" "$(result "$name" "$d back")" "$(result "$name" "$d wrote")"
	same "$name: past the guest's cache" "$(result "$name" "$d direct")" "$(result "$name" "$d wrote")"
	same "$name: the host finds it" "$(piece "$image" 128 64)" "$(result "$name" "$d wrote")"
	same "$name: the rest is as it was" "$(dd if="$image" bs=1M count=8 status=none | sum)" "$(dd if=data.orig bs=1M count=8 status=none | sum)"
	# A hole, in every file system that tests run on.
	same "$name: discarded" "$(dd if="$image" bs=1M skip=13 count=1 status=none | sum)" "$(head -c 1M /dev/zero | sum)"
	same "$name: behind that" "$(dd if="$image" bs=1M skip=14 count=2 status=none | sum)" "$(dd if=data.orig bs=1M skip=14 count=2 status=none | sum)"
	same "$name: zeroing at most" "$(result "$name" "$d zeroes")" 2147483648
}

# run NAME IRQ ARGS...: vda is named in ARGS' first place; the machine to its end.
run() {
	local name=$1 irq=$2 status; shift 2
	cp data.orig "$name.b.img"
	cp data.orig "$name.c.img"
	"$cleave" -m 256M -u -l com1,stdio -o stats=true "$@" \
		-s 5,virtio-blk,"$name.b.img",sectorsize=4096,queues=4,direct,ser=second -s 6,virtio-blk,"$name.c.img",ro \
		"vblk-$name" </dev/null >"$name.out" 2>"$name.err" &
	vm_pid=$!
	if wait_for 300 grep -q '^result: waiting' "$name.out"; then
		"$ctl" --vm="vblk-$name" --resize-disk="$disk_slot,24M" || bad "$name: cleavectl --resize-disk"
		"$ctl" --vm="vblk-$name" --get-stats >"$name.stats" || bad "$name: cleavectl --get-stats"
	fi
	wait $vm_pid
	status=$?
	vm_pid=
	[ $status -eq 0 ] || { tail -n 30 "$name.out"; cat "$name.err"; bad "$name: status $status"; return; }
	grep -q "$irq" "$name.out" && ok || { grep irq: "$name.out"; bad "$name: interrupts are not by '$irq'"; }
	disk "$name" vdb "$name.b.img" "second 4096 0 write back"
	same "$name: vdc is" "$(result "$name" "vdc is")" "1 $(sum <data.orig)"
	same "$name: vdc on the host" "$(sum <"$name.c.img")" "$(sum <data.orig)"
	[ -z "$(result "$name" "vdc is written to")" ] && ok || bad "$name: a read-only disk is written to"
	if grep '^complaint:' "$name.out"; then bad "$name: the kernel complains"; else ok; fi
	[ "$(awk '$1 == "io.doorbell" { print $2 }' "$name.stats")" -gt 50 ] && ok || bad "$name: kicks are not completed by the engine"
}

# The device model dies while the disk is at work: nobody in the guest notices.
killed() {
	local n=0 pid status
	cp data.orig killed.img
	"$cleave" -m 256M -u -l com1,stdio --kernel "$kernel" --initrd initrd.img --append "${append/virtio.sh/killed.sh}" \
		-s 3,virtio-blk,killed.img,queues=2 vblk-killed </dev/null >killed.out 2>killed.err &
	vm_pid=$!
	wait_for 300 grep -q '^result: begun' killed.out
	while kill -0 $vm_pid 2>/dev/null && ! grep -q '^result: ended' killed.out && [ $n -lt 100 ]; do
		pid=$(daemon_pid vblk-killed)
		[ "${pid:-0}" -gt 0 ] && kill -9 "$pid" 2>/dev/null && n=$((n + 1))
		sleep 0.$((RANDOM % 3))$((RANDOM % 10))
	done
	wait $vm_pid
	status=$?
	vm_pid=
	[ $status -eq 0 ] || { tail -n 30 killed.out; cat killed.err; bad "killed: status $status"; return; }
	[ $n -ge 5 ] && ok || bad "killed: only $n times"
	same "killed: rounds" "$(result killed round | tail -n 1)" 8
	same "killed: the host finds it" "$(piece killed.img 128 112)" "$(result killed ended)"
	same "killed: the rest is as it was" "$(piece killed.img 0 128)" "$(piece data.orig 0 128)"
	if grep '^complaint:' killed.out; then bad "killed: the kernel complains"; else ok; fi
	say "killed: $n times"
}

[ $# -gt 0 ] || set -- direct grub killed
for way; do
	disk_slot=3
	case $way in
	direct)
		cp data.orig direct.img
		run direct 'virtio0-req' --kernel "$kernel" --initrd initrd.img --append "$append" -s 3,virtio-blk,direct.img,ser=first
		disk direct vda direct.img "first 512 0 write back"
		same "direct: vda grew" "$(result direct 'vda grew')" 49152
		same "direct: beyond the old end" "$(piece direct.img 256 64)" "$(result direct 'vdb wrote')" ;;
	grub)
		need seabios "$seabios"
		need grub-pc-bin /usr/lib/grub/i386-pc/boot.img
		need mtools mformat
		need fdisk sfdisk
		MKGRUB_TIMEOUT=0 MKGRUB_KERNEL=$kernel MKGRUB_INITRD=initrd.img MKGRUB_APPEND="$append pci=nomsi" \
			"$srcdir/scripts/mkgrub" disk boot.img || die "no image"
		cp data.orig grub.img
		disk_slot=4
		# GRUB's disk comes after the others, so that it is none of those that are looked at.
		run grub 'IO-APIC.*virtio0' -l bootrom,"$seabios" -s 4,virtio-blk,grub.img,ser=first,bootindex=5 -s 9,virtio-blk,boot.img,bootindex=0
		disk grub vda grub.img "first 512 0 write back"
		same "grub: vda grew" "$(result grub 'vda grew')" 49152 ;;
	killed) killed ;;
	*) die "no such way: $way" ;;
	esac
done
finish
