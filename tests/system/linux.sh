#!/bin/bash
# linux.sh: Debian's unmodified cloud kernel boots to user space: as a bzImage and
# as a PVH vmlinux without firmware, by SeaBIOS and GRUB from the disk and from a
# CD, and by OVMF and GRUB.  Judged by what init prints, by the kernel's own log, and by the
# exit status after the guest has powered itself off.  Each with memory below the
# hole under 4 GiB only, and with 6 GiB.
#
# $CLEAVE_SLOW: the build is sanitized, or so.
#
#	linux.sh [{direct|pvh|disk|cd|efi}[-6G]]...	all of them when none is named, or what $CLEAVE_WAYS names
. "$(dirname "$0")/common.sh"
need busybox-static /bin/busybox
need cpio cpio
kernel=$("$srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"
"$srcdir/scripts/mkinitramfs" "$work/initrd.img" "$("$srcdir/scripts/getkernel" modules)" || die "no initramfs"
uuid=12345678-1234-5678-9abc-def012345678
append="console=ttyS0 panic=-1 cleave.test ${CLEAVE_SLOW:+$busy}"

# boot NAME ARGS...: console and summary in files named NAME.  Linux waits for some
# ticks and then looks how many came; a host that does not let it run meanwhile
# makes it think that they do not come at all, and gets a second try.
boot() {
	local name=$1 began=$SECONDS; shift
	run "$name" "$@"
	! grep -q '8254 timer not connected' "$work/$name.log" || { echo "$name: the host is busy, once more"; run "$name" "$@"; }
	said "$name" '^cleave: init has started'
	said "$name" '^Linux .* x86_64'
	said "$name" '^cleave: arithmetic says 385$'
	said "$name" "^cleave: sha256 $(head -c 65536 /bin/busybox | sha256sum | cut -c1-16)\$"
	said "$name" '^tsc$'
	said "$name" '^flags.* tsc_known_freq '
	said "$name" '^ *[0-9]* Not affected$'
	! grep -E '^ *[0-9]+ (Vulnerable|Mitigation|Unknown)' "$work/$name.log" || fail_boot "$name" "the processor is thought to be vulnerable"
	said "$name" "^dmi product_uuid $uuid\$"
	said "$name" '^dmi sys_vendor Acme$'
	said "$name" '^cleave: powering off'
	said "$name" "^MemTotal: *$total kB"
	said "$name" '^cleave: no complaint$'
	say "$name: to user space and powered off in $((SECONDS - began)) s; the kernel does not complain"
}
run() {
	local name=$1 status; shift
	limit 1200 "$cleave" -m $memory -u -U $uuid -B 1,manufacturer=Acme -l com1,stdio -o stats=true "$@" "linux-$name" \
		</dev/null >"$work/$name.console" 2>"$work/$name.err"
	status=$?
	tr -d '\r' <"$work/$name.console" >"$work/$name.log"
	! grep -q 'Sanitizer\|runtime error' "$work/$name.err" || { cat "$work/$name.err"; fail_boot "$name" "a sanitizer's report"; }
	[ $status -eq 0 ] || fail_boot "$name" "cleave ended with status $status"
}
fail_boot() {
	tail -n 40 "$work/$1.log"; tail -n 5 "$work/$1.err"
	[ -z "${CLEAVE_KEEP-}" ] || cp "$work/$1".* "$CLEAVE_KEEP"/
	die "$1: $2"
}
said() { grep -qE "$2" "$work/$1.log" || fail_boot "$1" "the console lacks '$2'"; }
grub() {
	MKGRUB_TIMEOUT=0 MKGRUB_KERNEL=$kernel MKGRUB_INITRD=$work/initrd.img MKGRUB_APPEND=$append \
		"$srcdir/scripts/mkgrub" "$1" "$work/$1.img" || die "no image"
}

by_bios() { need seabios "$seabios"; need grub-pc-bin /usr/lib/grub/i386-pc/boot.img; grub "$@"; }
by_uefi() {
	need ovmf /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_VARS_4M.fd
	need grub-efi-amd64-bin /usr/lib/grub/x86_64-efi/linux.mod
	cp /usr/share/OVMF/OVMF_VARS_4M.fd "$work/vars.fd"
	grub "$@"
}

ways=${CLEAVE_WAYS-direct pvh disk cd efi direct-6G pvh-6G disk-6G cd-6G efi-6G}
[ $# -gt 0 ] || set -- $ways
for way; do
	case $way in
	*-6G) memory=6G total='[56][0-9]{6}' ;;
	*) memory=256M total='2[0-9]{5}' ;;
	esac
	case $way in
	direct*) boot $way --kernel "$kernel" --initrd "$work/initrd.img" --append "$append" ;;
	pvh*)
		"$srcdir/scripts/getkernel" vmlinux "$work/vmlinux" || die "no vmlinux"
		boot $way --kernel "$work/vmlinux" --initrd "$work/initrd.img" --append "$append" ;;
	disk*)
		need mtools mformat
		need fdisk sfdisk
		by_bios disk
		boot $way -l bootrom,"$seabios" -s 1:1,ide,hd0="$work/disk.img"
		said $way '^pci 0000:00:01.1 ' ;;
	cd*)
		need xorriso xorriso
		by_bios cd
		boot $way -l bootrom,"$seabios" -s 1:1,ide,cd2="$work/cd.img" ;;
	efi*)
		need mtools mformat
		need fdisk sfdisk
		by_uefi efi
		boot $way -l bootrom,/usr/share/OVMF/OVMF_CODE_4M.fd,"$work/vars.fd" -s 3,virtio-blk,path="$work/efi.img"
		said $way ' efi: EFI v2'
		said $way '^pci 0000:00:03.0 ' ;;
	*) die "no such way to boot: $way" ;;
	esac
done
