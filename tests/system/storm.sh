#!/bin/bash
# storm.sh: the device model is killed again and again, 1 to 100 ms after each
# successor is ready, and a stock Linux notices nothing: its disks read and write
# what they should, a TCP connection goes on, of what is typed on a line and
# echoed no letter is lost or doubled, and its log has no complaint.
#
#	storm.sh [pio|dma|virtio|net|boot|all|spare=on|spare=off]...	$KILLS (40) for each way
#
# With spare=on the ways that follow have a spare that takes over, and one kill
# in four takes that too.  None is named: pio spare=on virtio, half of the kills each.
# storm_long.sh is all of them, at length.  SEED= sets other times.  With
# STORM_UPGRADE=1 nobody is killed: the device model is upgraded, as often
# (upgrade_load.sh).
. "$(dirname "$0")/common.sh"
need busybox-static /bin/busybox
need cpio cpio
need python3 python3
kernel=$("$srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"
[ -z "${STORM_DAEMON-}" ] || export CLEAVED=$STORM_DAEMON	# another device model
[ -z "${STORM_UPGRADE-}" ] || export STORM_UPGRADE=$ctl
[ $# -gt 0 ] || { KILLS=$((${KILLS:-40} / 2)); set -- pio spare=on virtio; }
kills=${KILLS:-40} seconds=${STORM_SECONDS:-600}

mkdir -p add
# The other end of ttyS1 types lines that are to come back, and stop.
cat >add/storm.sh <<'EOS'
for word in $(cat /proc/cmdline); do
	case $word in storm.*) eval "storm_${word#storm.}" ;; esac
done
sum() { sha256sum | cut -c1-64; }
exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo clocal 115200
(while read -r line <&3 && [ "$line" != stop ]; do echo "$line" >&3; done; : >/tmp/stop) &
[ $storm_way != net ] || { ip link set eth0 up; ip addr add 10.0.2.15/24 dev eth0; }
echo "result: ready"
n=0
until [ -e /tmp/stop ] && [ $n -gt 0 ]; do
	echo 3 >/proc/sys/vm/drop_caches
	case $storm_way in
	pio | dma)
		echo "result: read $(sum </dev/sda)" ;;
	all)		# which of them is sda is by chance
		echo "result: read" $( (sum </dev/sda; sum </dev/sdb) | sort) ;;
	esac
	case $storm_way in
	virtio | all)
		head -c 4194304 /dev/urandom >/tmp/block
		dd if=/tmp/block of=/dev/vda bs=64k seek=$((n % 2 * 64)) conv=fsync,notrunc 2>/dev/null
		echo 3 >/proc/sys/vm/drop_caches
		back=$(dd if=/dev/vda bs=64k skip=$((n % 2 * 64)) count=64 2>/dev/null | sum)
		[ "$back" = "$(sum </tmp/block)" ] && echo "result: same $n" || echo "result: differs $n"
		echo "result: all $(sum </dev/vda)" ;;
	net)
		echo "result: down $(nc 10.0.2.2 7000 </dev/null | sum)"
		head -c 4194304 /dev/urandom >/tmp/block
		echo "result: up $(sum </tmp/block)"
		nc 10.0.2.2 7001 </tmp/block ;;
	esac
	n=$((n + 1))
done
echo "result: rounds $n"
dmesg | grep -i -E 'ata[0-9].*(error|exception|timeout|reset|failed)|I/O error|vd[a-c].*(timeout|reset)|virtio.*(fail|error|broken)|overrun|NETDEV WATCHDOG|lockup|hung|lost' | grep -v 'ommand line' | sed 's/^/complaint: /'
[ ! -e /dev/sda ] || echo "result: mode $(sort -u /sys/class/ata_device/dev?.0/xfer_mode | tr '\n' ' ')"
EOS
MKINITRAMFS_ADD=add "$srcdir/scripts/mkinitramfs" initrd.img "$("$srcdir/scripts/getkernel" modules)" || die "no initramfs"

server_pid=
cleanup_storm() {
	[ -z "$server_pid" ] || kill $server_pid 2>/dev/null
	cleanup
}
trap cleanup_storm EXIT

results() { tr -d '\r' <"$name.out" | sed -n "s/^result: $1 //p"; }
# every WHAT VALUE: there is one at least, and all are this one.
every() {
	local n
	n=$(results "$1" | wc -l)
	if [ "$n" -gt 0 ] && [ "$(results "$1" | sort -u)" = "$2" ]; then ok; say "$name: $1 $n times: $(echo "$2" | cut -c1-16)"
	else bad "$name: $1: $(results "$1" | sort | uniq -c), not $2"; fi
}

# What the guest wrote to virtio.img.
verified() {
	[ -z "$(results differs)" ] && [ -n "$(results same)" ] && ok || bad "$name: the guest reads other than it wrote"
	[ "$(results all | tail -1)" = "$(sha256sum <virtio.img | cut -c1-64)" ] && ok || bad "$name: the host finds other than the guest"
	say "$name: written and verified $(results same | wc -l) times"
}

# run ARGS...: one machine to its end, in the storm.
run() {
	local status
	rm -f "$name.com2"
	vm_name=$name
	"$cleave" -m 256M $spare -u -l com1,stdio -l com2,unix="$name.com2" "$@" "$name" </dev/null >"$name.out" 2>"$name.err" &
	vm_pid=$!
	limit "$seconds" python3 "$srcdir/tests/system/storm.py" "$name" "$kills" $vm_pid >"$name.storm"
	status=$?
	[ $status -ne 124 ] || kill -9 $vm_pid
	[ $status -eq 0 ] && ok || bad "$name: $(cat "$name.storm") (status $status)"
	wait $vm_pid
	status=$?
	vm_pid=
	[ -z "${STORM_LOG-}" ] || cp "$name.err" "$STORM_LOG/"
	say "$name: $(head -1 "$name.storm"), $(grep -c 'took over' "$name.err") successors"
	[ $status -eq 0 ] && ok || { tail -n 20 "$name.out"; grep -v "took over" "$name.err" | tail; bad "$name: status $status"; }
	if grep '^complaint:' "$name.out"; then bad "$name: the kernel complains"; else ok; fi
	if [ -n "$spare" ]; then grep -q 'a spare device model is lost' "$name.err" && ok || bad "$name: no spare was killed"; fi
	if grep -v 'by signal 9' "$name.err" | grep 'took over\|refuse\|damaged\|Sanitizer\|runtime error'; then bad "$name: not by kill -9"; else ok; fi
}
direct() { run --kernel "$kernel" --initrd initrd.img --append "console=ttyS0 quiet nosoftlockup cleave.run=/storm.sh storm.way=$way $*" "${args[@]}"; }

spare=
for way; do
	name=storm-$way${spare:+-spare}
	case $way in
	spare=on) spare="-o devmodel.spare=on" ;;
	spare=off) spare= ;;
	pio | dma)
		head -c "${STORM_MIB:-16}M" /dev/urandom >"$way.img"
		args=(-s 1:1,ide,hd0="$way.img")
		if [ $way = pio ]; then direct libata.dma=0; else direct; fi
		results mode | grep -q $([ $way = pio ] && echo PIO || echo DMA) && ok || bad "$name: by $(results mode)"
		every read "$(sha256sum <"$way.img" | cut -c1-64)" ;;
	all)
		for i in a b virtio; do head -c 8M /dev/urandom >$i.img; done
		args=(-s 1:1,ide,hd0=a.img,hd1=b.img -s 3,virtio-blk,virtio.img)
		direct libata.force=1.01:pio4
		results mode | grep PIO | grep -q DMA && ok || bad "$name: by $(results mode)"
		every read "$(echo $(sha256sum a.img b.img | cut -c1-64 | sort))"
		verified ;;
	virtio)
		head -c 16M /dev/urandom >virtio.img
		args=(-s 3,virtio-blk,virtio.img)
		direct
		verified ;;
	net)
		[ -x "$builddir/cleave-slirp" ] || { echo "net is left out: no cleave-slirp (Debian package libslirp-dev)"; continue; }
		head -c 8M /dev/urandom >blob
		python3 "$srcdir/tests/system/server.py" 127.0.0.1 sha256 2>server.err & server_pid=$!
		wait_for 20 test -e serving
		args=(-s 4,virtio-net,slirp)
		direct
		kill $server_pid
		server_pid=
		every down "$(sha256sum <blob | cut -c1-64)"
		[ "$(cat taken)" = "$(results up | tail -1)" ] && ok || bad "$name: the host took other than the guest sent"
		[ ! -s server.err ] && ok || bad "$name: $(cat server.err)" ;;
	boot)
		need seabios "$seabios"
		need grub-pc-bin /usr/lib/grub/i386-pc/boot.img
		need mtools mformat
		need fdisk sfdisk
		MKGRUB_TIMEOUT=0 MKGRUB_KERNEL=$kernel MKGRUB_INITRD=initrd.img MKGRUB_APPEND="console=ttyS0 nosoftlockup cleave.run=/storm.sh storm.way=boot" \
			"$srcdir/scripts/mkgrub" disk boot.img || die "no image"
		run -l bootrom,"$seabios" -s 1:1,ide,hd0=boot.img
		[ "$(results rounds)" ] && ok || bad "$name: no shell" ;;
	*) die "no such way: $way" ;;
	esac
done
finish
