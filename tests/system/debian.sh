#!/bin/bash
# debian.sh: Debian 12, installed by its own tools (scripts/mkdebian), as a whole
# machine: to systemd's login, used, restarted and switched off.
#
#	debian.sh [ide|disk|errors|uefi]...	all of them when none is named
#
# $CLEAVE_ENGINE is the engine, soft without it; $CLEAVE_WAYS names parts too.
. "$(dirname "$0")/common.sh"
. "$srcdir/tests/system/console.sh"
debian_disk root.img
machine=(-m 1G -u -o engine="${CLEAVE_ENGINE:-soft}"
	--kernel "$debian/vmlinuz" --initrd "$debian/initrd.img" --append "$(debian_append)")

# up PART WHAT: to a shell, with how long it took.
up() {
	local began=$SECONDS
	console_login
	say "$1: $2 login after $((SECONDS - began)) s"
}
root_is() { [ "$(guest 60 'findmnt -no SOURCE /')" = "$1" ] || console_fails "the root file system is not on $1"; }

# The disk is an IDE disk, and nothing of virtio is there.
ide() {
	console deb-ide "${machine[@]}" -s 1:1,ide,hd0=root.img
	up ide first
	root_is /dev/sda
	debian_well
	guest 60 'echo kept >/root/kept'
	console_send reboot
	up ide second
	[ "$(guest 60 'cat /root/kept')" = kept ] || console_fails "a file is gone after the reboot"
	debian_well
	"$ctl" --vm=deb-ide --power-button || console_fails "cleavectl --power-button"
	console_ends 0
	say "ide: no unit has failed; rebooted, and shut down by the power button"
}

# Everything is virtio: what is written survives a restart and a power-off, and the host finds it.
disk() {
	local sum host bells
	truncate -s 64M data.img
	console deb-disk "${machine[@]}" -s 3,virtio-blk,root.img -s 4,virtio-blk,data.img,ser=data -s 5,virtio-rnd \
		-s 6,virtio-console,console=unix=hvc0,port1=unix=port1,port1.name=org.example.one
	up disk first
	root_is /dev/vda
	debian_well
	sum=$(guest 900 'head -c 256M /dev/urandom >/root/data && md5sum </root/data && sync') || console_fails "256 MiB are not written"
	say "disk: 256 MiB are written: $sum"
	console_send reboot
	up disk second
	[ "$(guest 900 'md5sum </root/data')" = "$sum" ] || console_fails "256 MiB are others after the reboot"
	debian_well
	resize
	channels
	bells=$("$ctl" --vm=deb-disk --get-stats | awk '$1 == "io.doorbell" { print $2 }')
	[ "${bells:-0}" -gt 1000 ] || console_fails "kicks are not completed by the engine: ${bells:-none}"
	say "disk: $bells kicks were completed in the engine"
	console_send poweroff
	console_ends 0
	say "disk: 256 MiB are the same after a reboot; switched off from inside"
	e2fsck -fn root.img >fsck 2>&1 || { cat fsck; die "disk: the file system is damaged"; }
	host=$(debugfs -R 'cat /root/data' root.img 2>/dev/null | md5sum)
	[ "$host" = "$sum" ] || die "disk: the host finds other bytes: $host"
	say "disk: the host finds a clean file system and the same bytes"
}

sectors() { guest 60 'cat /sys/block/vdb/size'; }
# A file system grows with its disk, while it is mounted.
resize() {
	local sum
	[ "$(guest 60 'readlink -f /dev/disk/by-id/virtio-data; sectors=$(cat /sys/block/vdb/size); echo $sectors' | tr '\n' ' ')" = "/dev/vdb 131072 " ] ||
		console_fails "the second disk is another one"
	guest 200 'mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt' || console_fails "no file system on the second disk"
	"$ctl" --vm=deb-disk --resize-disk=4,192M || console_fails "cleavectl --resize-disk"
	[ "$(stat -c %s data.img)" -eq $((192 << 20)) ] || console_fails "the image has not grown"
	wait_for $((20 * console_slow)) eval '[ "$(sectors)" = 393216 ]' || console_fails "the guest sees $(sectors) sectors, not 393216"
	sum=$(guest 400 'resize2fs /dev/vdb >/dev/null 2>&1 && head -c 120M /root/data >/mnt/data && md5sum </mnt/data && umount /mnt') ||
		console_fails "the file system does not grow"
	[ "$(guest 200 'head -c 120M /root/data | md5sum')" = "$sum" ] || console_fails "the grown file system has other bytes"
	e2fsck -fn data.img >fsck 2>&1 || { cat fsck; console_fails "the grown file system is damaged"; }
	say "disk: grew from 64 to 192 MiB under its mounted file system"
}

# A login on hvc0, a byte channel by its name, random numbers by their device.
channels() {
	guest 60 'systemctl start --no-block serial-getty@hvc0; cat /sys/class/misc/hw_random/rng_current; head -c 64 /dev/hwrng | wc -c' >rng
	[ "$(tr '\n' ' ' <rng)" = "virtio_rng.0 64 " ] || { cat rng; console_fails "no random numbers by virtio"; }
	python3 - hvc0 port1 "$console_slow" <<'EOF_PY' >channels || { cat channels; console_fails "the consoles of virtio"; }
import socket, sys
slow = int(sys.argv[3])

def connect(path):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(120 * slow)
    s.connect(path)
    return s

def until(s, what):
    got = b""
    while what not in got:
        more = s.recv(4096)
        if not more:
            sys.exit(f"closed after {got!r}")
        got += more
    return got

hvc = connect(sys.argv[1])
hvc.sendall(b"\r")
until(hvc, b"login: ")
hvc.sendall(b"root\r")
until(hvc, b"Password: ")
hvc.sendall(b"cleave\r")
until(hvc, b"root@deb")
port = connect(sys.argv[2])
# The guest sends back what it reads, one more than asked for would be a byte lost or doubled.
hvc.sendall(b"exec 5<>/dev/virtio-ports/org.example.one; head -c 100000 <&5 | tr a-y b-z >&5\r")
port.sendall(b"ay" * 50000)
got = b""
while len(got) < 100000:
    got += port.recv(65536)
assert got == b"bz" * 50000, "other bytes came back"
EOF_PY
	say "disk: a login on hvc0, 100000 bytes each way by a named port, random numbers"
}

# A host's disk that is full, and an image of which a part is gone: errors in the guest and in the log, the machine goes on.
errors() {
	local data=/dev/vdb short=/dev/vdc
	mkdir -p small
	trap 'kill -9 $vm_pid 2>/dev/null; wait; umount "$work/small" 2>/dev/null; cleanup' EXIT
	mount -t tmpfs -o size=16m none small || skip "no tmpfs can be mounted: neither root nor a user namespace"
	truncate -s 64M small/full.img short.img
	console deb-errors "${machine[@]}" -s 3,virtio-blk,root.img -s 4,virtio-blk,small/full.img -s 5,virtio-blk,short.img
	up errors first
	guest 60 'head -c 32M /dev/urandom >/root/data; md5sum </root/data' >sum
	guest 200 "dd if=/root/data of=$data bs=1M oflag=direct conv=notrunc 2>&1" >out && console_fails "32 MiB fit into 16"
	grep -q 'Input/output error' out || { cat out; console_fails "dd says something else"; }
	grep -q 'virtio-blk@4:0: writing .*No space left on device' deb-errors.err || console_fails "the log does not have the full disk"
	[ "$(guest 60 "dmesg | grep -c 'I/O error, dev vdb'")" -gt 0 ] || console_fails "the kernel does not have the full disk"
	say "errors: a full disk of the host: I/O errors in the guest and in the log"
	mount -o remount,size=64m small
	guest 200 "dd if=/root/data of=$data bs=1M oflag=direct conv=notrunc,fsync 2>&1; dd if=$data bs=1M count=32 iflag=direct 2>/dev/null | md5sum" >out
	grep -qxF "$(cat sum)" out || { cat out; console_fails "with room the disk does not work"; }
	say "errors: with room again the disk works"

	truncate -s 16M short.img
	guest 200 "dd if=$short of=/dev/null bs=1M iflag=direct 2>&1" >out && console_fails "what is gone can be read"
	grep -q 'Input/output error' out || { cat out; console_fails "dd says something else"; }
	grep -q '^16+0 records in' out || { cat out; console_fails "not what there is can be read"; }
	grep -q 'virtio-blk@5:0: reading .*the guest sees an I/O error' deb-errors.err || console_fails "the log does not have the read error"
	[ "$(guest 60 "dmesg | grep -c 'I/O error, dev vdc'")" -gt 0 ] || console_fails "the kernel does not have the read error"
	truncate -s 64M short.img
	guest 200 "dd if=$short of=/dev/null bs=1M iflag=direct 2>&1" >out || { cat out; console_fails "the disk does not read again"; }
	say "errors: a read error: I/O errors in the guest and in the log, and the disk works again"
	[ "$(guest 60 'systemctl is-system-running')" = running ] || console_fails "systemd is not well"
	console_send poweroff
	console_ends 0
}

# As an installed machine starts: UEFI firmware, GRUB from the system partition of a virtio disk, its kernel.
uefi() {
	need ovmf /usr/share/OVMF/OVMF_CODE_4M.fd
	need grub-efi-amd64-bin /usr/lib/grub/x86_64-efi/linux.mod
	MKGRUB_TIMEOUT=0 MKGRUB_KERNEL=$debian/vmlinuz MKGRUB_INITRD=$debian/initrd.img MKGRUB_APPEND=$(debian_append) \
		"$srcdir/scripts/mkgrub" efi esp.img || die "no image"
	cp /usr/share/OVMF/OVMF_VARS_4M.fd vars.fd
	console deb-uefi -m 1G -u -o engine="${CLEAVE_ENGINE:-soft}" -l bootrom,/usr/share/OVMF/OVMF_CODE_4M.fd,vars.fd \
		-s 3,virtio-blk,esp.img -s 4,virtio-blk,root.img -s 5,virtio-rnd
	up uefi first
	root_is /dev/vdb
	debian_well
	guest 60 'test -d /sys/firmware/efi/efivars && dmesg | grep -q "EFI v2"' || console_fails "the kernel was not started by UEFI"
	"$ctl" --vm=deb-uefi --power-button || console_fails "cleavectl --power-button"
	console_ends 0
	say "uefi: OVMF, GRUB, Debian; shut down by the power button"
}

[ $# -gt 0 ] || set -- ${CLEAVE_WAYS:-ide disk errors uefi}
for part; do
	case $part in
	# Mounts of its own.
	errors) [ -z "${DEBIAN_UNSHARED-}" ] && unshare -r -m true 2>/dev/null && { DEBIAN_UNSHARED=1 builddir=$builddir unshare -r -m "$srcdir/tests/system/debian.sh" errors || die "errors"; continue; } ;;
	esac
	"$part"
done
