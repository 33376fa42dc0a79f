#!/bin/bash
# debian.sh: Debian 12, installed by its own tools (scripts/mkdebian), as a whole
# machine: to systemd's login, used, restarted and switched off.
#
#	debian.sh [ide]...	all of them when none is named
. "$(dirname "$0")/common.sh"
. "$srcdir/tests/system/console.sh"
debian_disk root.img
machine=(-m 1G -u --kernel "$debian/vmlinuz" --initrd "$debian/initrd.img" --append "$(debian_append)")

# up NAME WHAT: to a shell, with how long it took.
up() {
	local began=$SECONDS
	console_login
	say "$1: $2 login after $((SECONDS - began)) s"
}

# The disk is an IDE disk, and nothing of virtio is there.
ide() {
	console deb-ide "${machine[@]}" -s 1:1,ide,hd0=root.img
	up ide "first"
	debian_well
	[ "$(guest 60 'findmnt -no SOURCE /')" = /dev/sda ] || console_fails "the root is elsewhere"
	say "ide: systemd runs, no unit has failed"
	guest 60 'echo kept >/root/kept'
	console_send reboot
	up ide "second"
	[ "$(guest 60 'cat /root/kept')" = kept ] || console_fails "a file is gone after the reboot"
	debian_well
	"$ctl" --vm=deb-ide --power-button || console_fails "cleavectl --power-button"
	console_ends 0
	say "ide: rebooted, and shut down by the power button"
}

[ $# -gt 0 ] || set -- ide
for part; do "$part"; done
