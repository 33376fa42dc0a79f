#!/bin/bash
# linux.sh: Debian's unmodified cloud kernel boots to user space: as a bzImage and
# as a PVH vmlinux without firmware, and by SeaBIOS and GRUB from the disk and
# from a CD.  Judged by what init prints, by the kernel's own log, and by the
# exit status after the guest has powered itself off.
#
#	linux.sh [direct|pvh|disk|cd]...	all of them when none is named
. "$(dirname "$0")/lib.sh"
[ -x /bin/busybox ] || skip "/bin/busybox is missing: install the Debian package busybox-static"
command -v cpio >/dev/null || skip "cpio is missing: install the Debian package cpio"
kernel=$("$top_srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"
"$top_srcdir/scripts/mkinitramfs" "$scratch/initrd.img" "$("$top_srcdir/scripts/getkernel" modules)" || die "no initramfs"
append="console=ttyS0 cleave.test nosoftlockup"

# boot NAME ARGS...: console and summary in files named NAME.
boot() {
	local name=$1 status began=$SECONDS; shift
	timeout "$(limit 300)" "$cleave" -m 256M -u -l com1,stdio -o stats=true "$@" "linux-$name" \
		</dev/null >"$scratch/$name.console" 2>"$scratch/$name.err"
	status=$?
	tr -d '\r' <"$scratch/$name.console" >"$scratch/$name.log"
	[ $status -eq 0 ] || fail_boot "$name" "cleave ended with status $status"
	said "$name" '^cleave: init has started'
	said "$name" '^Linux .* x86_64'
	said "$name" '^cleave: arithmetic says 385$'
	said "$name" "^cleave: sha256 $(head -c 65536 /bin/busybox | sha256sum | cut -c1-16)\$"
	said "$name" '^cleave: powering off'
	said "$name" '^cleave: no complaint$'
	ok "$name: to user space and powered off in $((SECONDS - began)) s; the kernel does not complain"
}
fail_boot() {
	tail -n 40 "$scratch/$1.log"; tail -n 5 "$scratch/$1.err"
	[ -z "${CLEAVE_KEEP-}" ] || cp "$scratch/$1".* "$CLEAVE_KEEP"/
	die "$1: $2"
}
said() { grep -qE "$2" "$scratch/$1.log" || fail_boot "$1" "the console lacks '$2'"; }
need_tool() { command -v "$1" >/dev/null || [ -x "/sbin/$1" ] || skip "$1 is missing: install the Debian package $2"; }
grub() {
	need_file "$rom" seabios
	need_file /usr/lib/grub/i386-pc/boot.img grub-pc-bin
	MKGRUB_TIMEOUT=0 MKGRUB_KERNEL=$kernel MKGRUB_INITRD=$scratch/initrd.img MKGRUB_APPEND=$append \
		"$top_srcdir/scripts/mkgrub" "$1" "$scratch/$1.img" || die "no image"
}

[ $# -gt 0 ] || set -- direct pvh disk cd
for way; do
	case $way in
	direct) boot direct --kernel "$kernel" --initrd "$scratch/initrd.img" --append "$append" ;;
	pvh)
		"$top_srcdir/scripts/getkernel" vmlinux "$scratch/vmlinux" || die "no vmlinux"
		boot pvh --kernel "$scratch/vmlinux" --initrd "$scratch/initrd.img" --append "$append" ;;
	disk)
		need_tool mformat mtools; need_tool sfdisk fdisk
		grub disk
		boot disk -l bootrom,"$rom" -s 1:1,ide,hd0="$scratch/disk.img"
		said disk '^pci 0000:00:01.1 ' ;;
	cd)
		need_tool xorriso xorriso
		grub cd
		boot cd -l bootrom,"$rom" -s 1:1,ide,cd2="$scratch/cd.img" ;;
	*) die "no such way to boot: $way" ;;
	esac
done
