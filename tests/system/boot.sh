#!/bin/bash
# boot.sh: Debian's unmodified SeaBIOS boots GRUB, from the disk and from a CD,
# with fw_cfg's DMA on and off, and from a virtio disk.  Judged by SeaBIOS's own log from port 402h, by
# what the guest printed, by the exit status, and by the counters.
#
# engine=, options= as in common.sh; media=disk: without the CD; seconds=: for a boot.
. "$(dirname "$0")/common.sh"
need seabios "$seabios"
need grub-pc-bin /usr/lib/grub/i386-pc/boot.img
need mtools mformat
need fdisk sfdisk
need xorriso xorriso

export MKGRUB_TIMEOUT=0
"$srcdir/scripts/mkgrub" disk "$work/disk.img" || die "no disk image"
"$srcdir/scripts/mkgrub" cd "$work/cd.iso" || die "no CD image"

# boot NAME ARGS...: runs a machine to its end; console, log and counters in files named NAME.
boot() {
	local name=$1 status; shift
	limit "${seconds-120}" "$cleave" -m 64M -l bootrom,"$seabios" -l com1,stdio -l debugcon,file="$work/$name.log" \
		-o stats=true "$@" "boot-$name" </dev/null >"$work/$name.console" 2>"$work/$name.err"
	status=$?
	if [ $status -ne 0 ]; then
		tail -n 5 "$work/$name.err"; tail -n 5 "$work/$name.log"; tail -c 400 "$work/$name.console"
		die "$name: cleave ended with status $status"
	fi
	grep -q 'Sanitizer\|runtime error' "$work/$name.err" && { cat "$work/$name.err"; die "$name: a sanitizer's report"; }
	grep -q 'Hello from a file' "$work/$name.console" || die "$name: GRUB did not show its file"
	say "$name: GRUB showed its file; powered off, status 0"
}
# logged NAME PATTERN: in SeaBIOS's log.
logged() { grep -qE "$2" "$work/$1.log" || { cat "$work/$1.log"; die "$1: the firmware's log lacks '$2'"; }; say "$1: firmware: $(grep -m1 -E "$2" "$work/$1.log")"; }

for dma in on off; do
	disk=disk-dma-$dma cd=cd-dma-$dma
	boot $disk -l fwcfg,dma=$dma -s 1:1,ide,hd0="$work/disk.img",cd2="$work/cd.iso"
	logged $disk 'Found QEMU fw_cfg'
	if [ $dma = on ]; then logged $disk 'fw_cfg DMA interface supported'
	else ! grep -q 'DMA interface supported' "$work/$disk.log" || die "fw_cfg DMA is offered with dma=off"; fi
	logged $disk 'ata0-0:.*(Hard-Disk|ATA-)'
	logged $disk 'DVD/CD'
	# Our tables: SeaBIOS's own have no XSDT.
	logged $disk 'table\(50434146\)=.*via xsdt'
	logged $disk 'ACPI: parse DSDT'
	logged $disk 'Copying SMBIOS'
	logged $disk 'Booting from Hard Disk'

	[ "${media-}" != disk ] || continue
	boot $cd -l fwcfg,dma=$dma -s 1:1,ide,cd2="$work/cd.iso"
	logged $cd 'DVD/CD'
	logged $cd 'Booting from DVD/CD'
done

# From a virtio disk, which goes before an IDE disk that would boot as well.
boot virtio -s 3,virtio-blk,"$work/disk.img",ro,bootindex=0 -s 1:1,ide,hd0="$work/cd.iso",ro
logged virtio 'found virtio-blk at 00:03.0'
logged virtio 'using modern \(1.0\) virtio mode'
logged virtio 'Booting from Hard Disk'

# elements NAME: of string I/O that crossed to the daemon.
elements() { sed -n 's/^ *string requests *[0-9]*, *\([0-9]*\) elements.*/\1/p' "$work/$1.err"; }

# The same boot with DMA off reads fw_cfg by `rep insb` on top of the disk's `rep insw`.
with=$(elements disk-dma-on) without=$(elements disk-dma-off)
[ "${with:-0}" -gt 20000 ] || die "the disk's sectors did not travel as string requests: ${with:-0} elements"
[ "${without:-0}" -gt "$with" ] || die "with fw_cfg DMA off no more string elements crossed: $without, not more than $with"
say "string elements: $with with fw_cfg DMA, $without without"
