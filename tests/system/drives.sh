#!/bin/bash
# drives.sh: GRUB's own ATA, ATAPI and keyboard drivers against our devices, so
# without the firmware: it lists and reads disk and CD, writes a file that the
# host then finds in the image, and hears keys from cleavectl.  Meanwhile the
# image is refused to a second machine.
. "$(dirname "$0")/common.sh"
need seabios "$seabios"
need grub-pc-bin /usr/lib/grub/i386-pc/pata.mod
need grub-common grub-mkimage grub-editenv
need mtools mcopy
need fdisk sfdisk
need xorriso xorriso

disk=$work/disk.img cd=$work/cd.iso out=$work/console
"$srcdir/scripts/mkgrub" disk "$disk" || die "no disk image"
"$srcdir/scripts/mkgrub" cd "$cd" || die "no CD image"
grub-editenv "$work/env" create || die "no environment block"
mcopy -i "$disk@@1M" "$work/env" ::/env || die "no environment block on the disk"

cat >"$work/early.cfg" <<'END'
serial --unit=0 --speed=115200
terminal_output serial
ls
cat (ata0,msdos1)/hello.txt
cat (ata2)/hello.txt
set answer=written
save_env -f (ata0,msdos1)/env answer
terminal_input at_keyboard
echo waiting
read line
echo heard=$line
sleep 1
halt
END
grub-mkimage -O i386-pc -o "$work/core.img" -p /nowhere -c "$work/early.cfg" \
	serial terminal echo cat halt read sleep ls minicmd loadenv part_msdos fat iso9660 ata pata scsi at_keyboard || die "no core image"
dd if="$work/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none

"$cleave" -m 64M -l bootrom,"$seabios" -l com1,stdio -s 1:1,ide,hd0="$disk",cd2="$cd" drives </dev/null >"$out" 2>"$work/err" &
vm=$!
vm_pid=$vm
wait_for 60 grep -q waiting "$out" || { tail -c 1000 "$out"; cat "$work/err"; die "GRUB does not wait for a line"; }
grep -qF '(ata0) (ata0,msdos1) (ata2)' "$out" || die "GRUB's ATA driver lists: $(grep -aF '(' "$out" | head -n 3)"
[ "$(grep -c 'Hello from a file' "$out")" -eq 2 ] || die "GRUB did not read its file from both disk and CD"
say "GRUB's ATA driver found and read disk and CD"

"$cleave" -m 16M -l bootrom,"$seabios" -s 1:1,ide,hd0="$disk" second </dev/null >"$work/second" 2>&1
[ $? -eq 1 ] || die "a second machine on the same image did not end with status 1"
grep -q 'in use' "$work/second" || { cat "$work/second"; die "the second machine does not say that the image is in use"; }
say "the image is refused to a second machine"

"$ctl" --vm=drives --send-keys='Keys 42!<enter>' || die "cleavectl --send-keys failed"
wait_for 20 grep -q 'heard=Keys 42!' "$out" || die "keys came as: $(tail -c 100 "$out")"
say "keys from cleavectl arrive"

wait_for 20 eval "! kill -0 $vm" || die "the machine did not power off"
vm_pid=
wait $vm || die "cleave ended with status $?"
mcopy -o -i "$disk@@1M" ::/env "$work/env" && grub-editenv "$work/env" list | grep -qx 'answer=written' ||
	die "what GRUB wrote is not in the image: $(grub-editenv "$work/env" list)"
say "what GRUB wrote through its ATA driver is in the image"
