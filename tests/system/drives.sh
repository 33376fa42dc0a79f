#!/bin/bash
# drives.sh: GRUB's own ATA, ATAPI and keyboard drivers against our devices, so
# without the firmware: it lists and reads disk and CD, writes a file that the
# host then finds in the image, and hears keys from cleavectl.  Meanwhile the
# image is refused to a second machine.
. "$(dirname "$0")/lib.sh"
need_file "$rom" seabios
need_file /usr/lib/grub/i386-pc/pata.mod grub-pc-bin
for tool in grub-mkimage:grub-common grub-editenv:grub-common mcopy:mtools xorriso:xorriso; do
	command -v "${tool%:*}" >/dev/null || skip "${tool%:*} is missing: install the Debian package ${tool#*:}"
done
command -v sfdisk >/dev/null || [ -x /sbin/sfdisk ] || skip "sfdisk is missing: install the Debian package fdisk"

disk=$scratch/disk.img cd=$scratch/cd.iso out=$scratch/console
"$top_srcdir/scripts/mkgrub" disk "$disk" || die "no disk image"
"$top_srcdir/scripts/mkgrub" cd "$cd" || die "no CD image"
grub-editenv "$scratch/env" create || die "no environment block"
mcopy -i "$disk@@1M" "$scratch/env" ::/env || die "no environment block on the disk"

cat >"$scratch/early.cfg" <<'END'
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
grub-mkimage -O i386-pc -o "$scratch/core.img" -p /nowhere -c "$scratch/early.cfg" \
	serial terminal echo cat halt read sleep ls minicmd loadenv part_msdos fat iso9660 ata pata scsi at_keyboard || die "no core image"
dd if="$scratch/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none

"$cleave" -m 64M -l bootrom,"$rom" -l com1,stdio -s 1:1,ide,hd0="$disk",cd2="$cd" drives </dev/null >"$out" 2>"$scratch/err" &
vm=$!
started+=($vm)
wait_for 60 grep -q waiting "$out" || { tail -c 1000 "$out"; cat "$scratch/err"; die "GRUB does not wait for a line"; }
grep -qF '(ata0) (ata0,msdos1) (ata2)' "$out" || die "GRUB's ATA driver lists: $(grep -aF '(' "$out" | head -n 3)"
[ "$(grep -c 'Hello from a file' "$out")" -eq 2 ] || die "GRUB did not read its file from both disk and CD"
ok "GRUB's ATA driver found and read disk and CD"

"$cleave" -m 16M -l bootrom,"$rom" -s 1:1,ide,hd0="$disk" second </dev/null >"$scratch/second" 2>&1
[ $? -eq 1 ] || die "a second machine on the same image did not end with status 1"
grep -q 'in use' "$scratch/second" || { cat "$scratch/second"; die "the second machine does not say that the image is in use"; }
ok "the image is refused to a second machine"

"$cleavectl" --vm=drives --send-keys='Keys 42!<enter>' || die "cleavectl --send-keys failed"
wait_for 20 grep -q 'heard=Keys 42!' "$out" || die "keys came as: $(tail -c 100 "$out")"
ok "keys from cleavectl arrive"

wait_for 20 eval "! kill -0 $vm" || die "the machine did not power off"
wait $vm || die "cleave ended with status $?"
mcopy -o -i "$disk@@1M" ::/env "$scratch/env" && grub-editenv "$scratch/env" list | grep -qx 'answer=written' ||
	die "what GRUB wrote is not in the image: $(grub-editenv "$scratch/env" list)"
ok "what GRUB wrote through its ATA driver is in the image"
