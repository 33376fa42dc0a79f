#!/bin/bash
# net.sh: a stock Linux on virtio-net: a DHCP lease, $NET_MIB MiB (100) each way
# with checksums against a server on this machine, and a connection from the
# host into the guest; through slirp with all offloads and with none, the helper
# killed between two transfers, and over tap in a network namespace.
. "$(dirname "$0")/common.sh"
need busybox-static /bin/busybox
need cpio cpio
need python3 python3
kernel=$("$srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"
mib=${NET_MIB:-100} seconds=${NET_SECONDS:-900}

mkdir -p add
cat >add/lease.sh <<'EOS'
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
ip link set "$interface" up
[ -z "$router" ] || ip route add default via "$router"
echo "result: lease $ip $router $dns $hostname"
EOS
chmod 755 add/lease.sh
# net.server=ADDRESS on the command line has the files, from net.port on.
cat >add/net.sh <<'EOS'
for word in $(cat /proc/cmdline); do
	case $word in net.*) eval "net_${word#net.}" ;; esac
done
sum() { sha256sum | cut -c1-64; }
echo "result: features $(cat /sys/bus/virtio/devices/virtio0/features)"
ip link set lo up
ip link set eth0 up
udhcpc -i eth0 -n -q -t 20 -T 1 -s /lease.sh || exit 1
head -c $((net_mib << 20)) /dev/urandom >/tmp/up
echo "result: up $(sum </tmp/up)"
nc "$net_server" $((net_port + 1)) </tmp/up
# Taken as it comes: it need not fit into memory.
echo "result: down $(nc "$net_server" $net_port </dev/null | sum)"
mkdir -p /www
head -c 3000000 /tmp/up >/www/file
echo "result: file $(sum </www/file)"
rm /tmp/up
httpd -p 80 -h /www
echo "result: serves"
# Until the host has it; what a helper that is killed leaves behind hears of nothing.
until timeout 5 nc "$net_server" $((net_port + 2)) </dev/null | grep -q go; do sleep 0.2; done
echo "result: again $(nc "$net_server" $net_port </dev/null | sum)"
grep -E 'virtio|eth0' /proc/interrupts /proc/net/dev
EOS
MKINITRAMFS_ADD=add "$srcdir/scripts/mkinitramfs" initrd.img "$("$srcdir/scripts/getkernel" modules)" || die "no initramfs"

head -c "${mib}M" /dev/urandom >blob
blob=$(sha256sum <blob | cut -c1-64)

server_pid= dhcp_pid= ns=
cleanup_net() {
	[ -z "$server_pid" ] || kill $server_pid 2>/dev/null
	[ -z "$dhcp_pid" ] || kill $dhcp_pid 2>/dev/null
	[ -z "$ns" ] || ip netns del "$ns" 2>/dev/null
	cleanup
}
trap cleanup_net EXIT

result() { tr -d '\r' <"$1.out" | sed -n "s/^result: $2 *//p"; }
same() {
	if [ -n "$2" ] && [ "$2" = "$3" ]; then ok; say "$1: $(echo "$2" | cut -c1-16)"
	else bad "$1: '$2', not '$3'"; fi
}
in_ns() { if [ -n "$ns" ]; then ip netns exec "$ns" "$@"; else "$@"; fi; }

# run NAME ADDRESS-OF-THE-SERVER FETCH KERNEL-PARAMETERS NETWORK...: FETCH is the URL by which the host reaches the guest.
run() {
	local name=$1 address=$2 fetch=$3 params=$4 i; shift 4
	rm -f go taken
	: >"$name.out"
	vm_name=$name
	in_ns timeout "$seconds" "$cleave" -m 512M -u --kernel "$kernel" --initrd initrd.img -l com1,stdio \
		--append "console=ttyS0 quiet $busy cleave.run=/net.sh net.server=$address net.port=$port net.mib=$mib $params" \
		"$@" "net-$name" </dev/null >"$name.out" 2>"$name.err" &
	vm_pid=$!
	for ((i = 0; i < seconds * 5; i++)); do
		grep -q '^result: serves' "$name.out" && break
		kill -0 $vm_pid 2>/dev/null || break
		sleep 0.2
	done
	if [ "$fetch" = restart ]; then
		kill -9 "$(pgrep -P "$("$ctl" --vm="net-$name" --get-info | awk '$1 == "pid" { print $2 }')" -f cleave-slirp)"
		wait_for 20 grep -q "another is started" "$name.err" && ok || bad "$name: $(cat "$name.err")"
		sleep 1
	elif grep -q '^result: serves' "$name.out"; then
		in_ns python3 -c 'import hashlib,sys,urllib.request as u; print(hashlib.sha256(u.urlopen(sys.argv[1], timeout=30).read()).hexdigest())' "$fetch" >fetched
		same "$name: the host reads from the guest" "$(cat fetched)" "$(result "$name" file)"
	fi
	: >go
	wait $vm_pid
	same "$name: ended with status" $? 0
	vm_pid=
	same "$name: the guest reads" "$(result "$name" down)" "$blob"
	same "$name: the guest writes" "$(cat taken 2>/dev/null)" "$(result "$name" up)"
	same "$name: and reads again" "$(result "$name" again)" "$blob"
	[ "$failures" -eq 0 ] || { cat "$name.err"; tail -n 30 "$name.out"; exit 1; }
}

# Four ports that nobody has, most likely.
port=$((20000 + $$ % 10000 * 4))
if [ -x "$builddir/cleave-slirp" ]; then
	python3 "$srcdir/tests/system/server.py" 127.0.0.1 sha256 $port 2>/dev/null & server_pid=$!
	forward=$((port + 3))
	slirp=slirp,hostname=guest,hostfwd=tcp:127.0.0.1:$forward-:80
	run slirp 10.0.2.2 "http://127.0.0.1:$forward/file" "" -s "4,virtio-net,$slirp"
	same "slirp: the lease" "$(result slirp lease)" "10.0.2.15 10.0.2.2 10.0.2.3 guest"
	run plain 10.0.2.2 "http://127.0.0.1:$forward/file" "virtio_net.csum=0 virtio_net.gso=0" -s "4,virtio-net,$slirp,mac=52:54:00:00:00:01"
	run restart 10.0.2.2 restart "" -s "4,virtio-net,$slirp"
	kill $server_pid
	server_pid=
else
	echo "slirp is left out: no cleave-slirp (Debian package libslirp-dev)"
fi

ns=cleave-test-$$
if ! { [ -e /dev/net/tun ] && command -v ip >/dev/null && ip netns add "$ns" && ip -n "$ns" tuntap add dev clv0 mode tap; } 2>/dev/null; then
	ip netns del "$ns" 2>/dev/null
	ns=
	[ $checks -gt 0 ] || skip "neither slirp (libslirp-dev) nor a network namespace with tap (root, iproute2)"
	echo "tap is left out: no network namespace can be made, or no /dev/net/tun"
	finish
fi
ip -n "$ns" addr add 10.9.0.1/24 dev clv0
ip -n "$ns" link set clv0 up
printf 'start 10.9.0.50\nend 10.9.0.50\ninterface clv0\nlease_file leases\npidfile dhcp.pid\noption subnet 255.255.255.0\noption router 10.9.0.1\n' >udhcpd.conf
touch leases
ip netns exec "$ns" /bin/busybox udhcpd -f udhcpd.conf >/dev/null 2>&1 & dhcp_pid=$!
ip netns exec "$ns" python3 "$srcdir/tests/system/server.py" 10.9.0.1 sha256 $port 2>/dev/null & server_pid=$!
run tap 10.9.0.1 http://10.9.0.50/file "" -s 4,virtio-net,tap,ifname=clv0
same "tap: the lease" "$(result tap lease | sed 's/ *$//')" "10.9.0.50 10.9.0.1"
finish
