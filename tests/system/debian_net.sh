#!/bin/bash
# debian_net.sh: Debian with two virtio network cards, one on slirp and one on tap,
# in a network namespace of the test's own: addresses by DHCP, $NET_MIB MiB (100)
# each way over both with their checksums, and a login by ssh through slirp's port
# forwarding.
#
# Where no namespace can be made the card on tap is left out.
. "$(dirname "$0")/common.sh"
. "$srcdir/tests/system/console.sh"
need python3 python3
need openssh-client ssh
[ -x "$builddir/cleave-slirp" ] || skip "built without libslirp: install the Debian package libslirp-dev"
debian_disk root.img
# Everybody is root in a namespace of his own.
if [ -z "${DEBIAN_UNSHARED-}" ] && unshare -r -n true 2>/dev/null; then
	DEBIAN_UNSHARED=1 builddir=$builddir exec unshare -r -n "$srcdir/tests/system/debian_net.sh"
fi
mib=${NET_MIB:-100}
helpers=
trap 'kill $helpers 2>/dev/null; cleanup' EXIT

networks=(-s 4,virtio-net,slirp,hostfwd=tcp:127.0.0.1:2222-:22)
addresses="10.0.2.15"
ways="slirp:10.0.2.2"
tap() {
	[ -n "${DEBIAN_UNSHARED-}" ] && ip link set lo up && ip tuntap add dev clv0 mode tap &&
		ip addr add 10.9.0.1/24 dev clv0 && ip link set clv0 up
}
if tap 2>tap.err; then
	need busybox-static /bin/busybox
	printf 'start 10.9.0.50\nend 10.9.0.50\ninterface clv0\nlease_file leases\npidfile dhcp.pid\noption subnet 255.255.255.0\n' >udhcpd.conf
	: >leases
	/bin/busybox udhcpd -f udhcpd.conf >dhcp.log 2>&1 & helpers=$!
	networks+=(-s 5,virtio-net,tap,ifname=clv0)
	addresses="10.0.2.15 10.9.0.50"
	ways="slirp:10.0.2.2 tap:10.9.0.1"
else
	echo "tap is left out: $(cat tap.err)"
fi
head -c "${mib}M" /dev/urandom >blob
python3 "$srcdir/tests/system/server.py" 0.0.0.0 md5 & helpers="$helpers $!"
wait_for 20 test -e serving || die "the server does not start"

console deb-net -m 1G -u -o engine="${CLEAVE_ENGINE:-soft}" --kernel "$debian/vmlinuz" --initrd "$debian/initrd.img" \
	--append "$(debian_append)" -s 3,virtio-blk,root.img "${networks[@]}"
console_login
debian_well
guest 400 '/lib/systemd/systemd-networkd-wait-online --timeout=300' || console_fails "no addresses: $(guest 60 'networkctl status -a')"
leased=$(guest 60 'ip -4 -o addr show scope global dynamic | awk "{ sub(/\/.*/, \"\", \$4); print \$4 }" | sort')
[ "$(echo $leased)" = "$addresses" ] || console_fails "by DHCP came $(echo $leased), not $addresses"
say "DHCP: $addresses"

sum=$(guest 200 "head -c ${mib}M /dev/urandom >/root/up; md5sum </root/up | cut -c1-32")
blob=$(md5sum <blob | cut -c1-32)
for way in $ways; do
	began=$SECONDS
	[ "$(guest 1200 "md5sum </dev/tcp/${way#*:}/7000 | cut -c1-32")" = "$blob" ] || console_fails "${way%:*}: the guest reads other bytes"
	say "${way%:*}: the guest reads $mib MiB in $((SECONDS - began)) s"
	began=$SECONDS
	rm -f taken
	guest 1200 "cat /root/up >/dev/tcp/${way#*:}/7001" || console_fails "${way%:*}: the guest cannot write"
	wait_for 60 test -e taken || console_fails "${way%:*}: the server waits for more"
	[ "$(cat taken)" = "$sum" ] || console_fails "${way%:*}: the guest writes other bytes"
	say "${way%:*}: the guest writes $mib MiB in $((SECONDS - began)) s"
done

cp "$debian/id" id
chmod 600 id
in_guest() {
	limit $((200 * console_slow)) ssh -F /dev/null -q -i id -p 2222 -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null root@127.0.0.1 "$@"
}
[ "$(in_guest hostname)" = deb ] || console_fails "ssh does not come in"
[ "$(head -c 8M blob | in_guest md5sum)" = "$(head -c 8M blob | md5sum)" ] || console_fails "ssh carries other bytes"
bells=$("$ctl" --vm=deb-net --get-stats | awk '$1 == "io.doorbell" { print $2 }')
[ "${bells:-0}" -gt 1000 ] || console_fails "kicks are not completed by the engine: ${bells:-none}"
say "$bells kicks were completed in the engine"
say "ssh: a login and 8 MiB through the forwarded port"
in_guest systemctl poweroff
console_ends 0
say "switched off by ssh"
