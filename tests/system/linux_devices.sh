#!/bin/bash
# linux_devices.sh: a stock Linux uses its devices: it reads and writes the IDE
# disk by DMA and by PIO and reads a CD, with checksums on both sides; reboots
# itself; and shuts down when its power button is pressed.
. "$(dirname "$0")/common.sh"
need busybox-static /bin/busybox
need cpio cpio
kernel=$("$srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"

mkdir -p add
# Sectors 1 to 8 MiB are read, 8 to 12 MiB are written, the first sector tells whether it is the second boot.
cat >add/disk.sh <<'EOF'
sum() { sha256sum | cut -c1-64; }
wait_for() { n=0; while [ ! -e "$1" ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done; }
wait_for /dev/sda
wait_for /dev/sr0
dmesg | grep -E 'ata1|ata2|sda|sr0'
echo "result: way $(cat /sys/class/ata_device/dev1.0/xfer_mode)"
echo "result: disk $(dd if=/dev/sda bs=64k skip=16 count=112 2>/dev/null | sum)"
echo "result: cd $(dd if=/dev/sr0 bs=32k 2>/dev/null | sum)"
dd if=/dev/sda bs=64k skip=16 count=64 2>/dev/null | tr '\000-\377' '\001-\377\000' >/tmp/block
echo "result: wrote $(sum </tmp/block)"
dd if=/tmp/block of=/dev/sda bs=64k seek=128 conv=fsync,notrunc 2>/dev/null
echo 3 >/proc/sys/vm/drop_caches
echo "result: back $(dd if=/dev/sda bs=64k skip=128 count=64 2>/dev/null | sum)"
EOF
cat >add/reboot.sh <<'EOF'
n=0; while [ ! -e /dev/sda ] && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
boots=$(($(head -c 1 /dev/sda) + 1))
echo "result: boot $boots"
printf "$boots" | dd of=/dev/sda conv=fsync,notrunc 2>/dev/null
[ "$boots" -ge 3 ] || reboot -f
EOF
cat >add/button.sh <<'EOF'
echo "result: waiting"
sleep 100
EOF
MKINITRAMFS_ADD=add "$srcdir/scripts/mkinitramfs" initrd.img "$("$srcdir/scripts/getkernel" modules)" || die "no initramfs"
head -c 16M /dev/urandom >disk.orig
head -c 3M /dev/urandom >cd.iso
machine=(-m 256M -u --kernel "$kernel" --initrd initrd.img -l com1,stdio)

result() { tr -d '\r' <"$1.out" | sed -n "s/^result: $2 *//p"; }
sum() { sha256sum | cut -c1-64; }
same() {
	if [ -n "$2" ] && [ "$2" = "$3" ]; then ok; say "$1: $(echo "$2" | cut -c1-16)"
	else bad "$1: '$2', not '$3'"; fi
}

# disk NAME WAY PARAMETERS
disk() {
	local name=$1 way=$2 status; shift 2
	cp disk.orig "$name.img"
	limit 1200 "$cleave" "${machine[@]}" --append "console=ttyS0 cleave.run=/disk.sh $busy $*" \
		-s 1:1,ide,hd0="$name.img",cd2=cd.iso "linux-$name" </dev/null >"$name.out" 2>"$name.err"
	status=$?
	[ $status -eq 0 ] || { tail -n 30 "$name.out"; cat "$name.err"; bad "$name: status $status"; return; }
	same "$name: transfers by" "$(result "$name" way)" "$way"
	same "$name: the disk reads" "$(result "$name" disk)" "$(dd if=disk.orig bs=64k skip=16 count=112 status=none | sum)"
	same "$name: the CD reads" "$(result "$name" cd)" "$(sum <cd.iso)"
	same "$name: the disk is written" "$(dd if="$name.img" bs=64k skip=128 count=64 status=none | sum)" "$(result "$name" wrote)"
	same "$name: and read back" "$(result "$name" back)" "$(result "$name" wrote)"
	same "$name: and nothing else is" "$( (head -c 8M "$name.img"; tail -c 4M "$name.img") | sum)" "$( (head -c 8M disk.orig; tail -c 4M disk.orig) | sum)"
}
# A PIIX3 knows no Ultra DMA.
disk dma XFER_MW_DMA_2
disk pio XFER_PIO_4 libata.dma=0

# Boots three times, counted on the disk.
printf 0 >boots.img; truncate -s 1M boots.img
limit 1200 "$cleave" "${machine[@]}" --append "console=ttyS0 cleave.run=/reboot.sh $busy" -s 1:1,ide,hd0=boots.img linux-reboot \
	</dev/null >reboot.out 2>reboot.err
same "reboot: ended with status" $? 0
same "reboot: boots" "$(result reboot boot | tr '\n' ' ')" "1 2 3 "

limit 1200 "$cleave" "${machine[@]}" --append "console=ttyS0 cleave.run=/button.sh $busy" linux-button </dev/null >button.out 2>button.err &
vm_pid=$!
for ((i = 0; i < 6000; i++)); do grep -q '^result: waiting' button.out && break; sleep 0.1; done
"$ctl" --vm=linux-button --power-button || bad "cleavectl --power-button"
wait $vm_pid
same "power button: ended with status" $? 0
vm_pid=
if grep -q '^cleave: the power button' button.out; then ok; else tail -n 20 button.out; bad "the guest did not see its power button"; fi
finish
