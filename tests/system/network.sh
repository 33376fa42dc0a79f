#!/bin/bash
# tests/system/network.sh - networks are checked, opened, kept alive and ended; no guest uses them here.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"

# what cannot be is refused at once
refuses "did you mean slirp" -l bootrom,idle.rom -s 4,virtio-net,slurp x
refuses "want tcp|udp:[HOSTADDR]:PORT" -l bootrom,idle.rom -s 4,virtio-net,slirp,hostfwd=tcp:22 x
refuses "outside its network" -l bootrom,idle.rom -s 4,virtio-net,slirp,hostfwd=tcp::2222-10.9.9.9:22 x
refuses "want six bytes" -l bootrom,idle.rom -s 4,virtio-net,null,mac=1:2:3 x
refuses "want 68 to 65535" -l bootrom,idle.rom -s 4,virtio-net,null,mtu=5 x
refuses "no name of an interface" -l bootrom,idle.rom -s 4,virtio-net,tap,ifname=a/b x
if [ "$(id -u)" -ne 0 ] && [ -w /dev/net/tun ]; then
	refuses "ip tuntap add dev tap77 mode tap" -l bootrom,idle.rom -s 4,virtio-net,tap77 x
fi
"$cleave" -s virtio-net,help | grep -q "backend=null|slirp" && ok || bad "-s virtio-net,help"
# a program that is there is not needed for what it does not do
start none -l bootrom,idle.rom -s 4,virtio-net,null -s 5,virtio-net
"$ctl" --vm=none --force-poweroff
stopped 0

if [ ! -x "$builddir/cleave-slirp" ]; then
	refuses "libslirp-dev" -l bootrom,idle.rom -s 4,virtio-net,slirp x
	finish
fi

helper() { pgrep -P "$vm_pid" -f cleave-slirp; }
# listens PORT: somebody on this machine's loopback does.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
# A port that nobody has, most likely.
port=$((20000 + $$ % 20000))
while listens $port; do port=$((port + 1)); done

# the helper lives as long as the machine, with nothing that it does not need
start vm1 -l bootrom,idle.rom -s 4,virtio-net,slirp,hostfwd=tcp:127.0.0.1:$port-:22,hostname=guest
h=$(helper)
[ -n "$h" ] && ok || bad "no helper"
listens $port && ok || bad "nobody listens on $port"
[ "$(awk '$1 == "NoNewPrivs:" { print $2 }' "/proc/$h/status")" = 1 ] && ok || bad "the helper may gain privileges"
if filtered; then
	[ "$(awk '$1 == "Seccomp:" { print $2 }' "/proc/$h/status")" = 2 ] && ok || bad "the helper's system calls are not filtered"
fi
if [ "$(id -u)" -eq 0 ]; then
	[ "$(ls -l "/proc/$h/fd" | grep -cE 'memfd|cleave-arena')" -eq 0 ] && ok || bad "the helper has memory of the machine: $(ls -l "/proc/$h/fd")"
fi
# another machine wants the same port
refuses "another program has the port" -l bootrom,idle.rom -s 4,virtio-net,slirp,hostfwd=tcp:127.0.0.1:$port-:22 x

# killed, it is started again, and says so; the machine goes on
kill -9 "$h"
until_true grep -q "virtio-net@4:0: the network (process $h) was killed by signal 9" vm1.err
again() { local p; p=$(helper) && [ -n "$p" ] && [ "$p" != "$h" ]; }
until_true again
until_true listens $port
ctl "rip" --vm=vm1 --get-all
ctl "" --vm=vm1 --set-link=4,down
ctl "" --vm=vm1 --set-link=4:0,up
ctl_refuses "has no network card" --vm=vm1 --set-link=5,down
ctl_refuses "has no network card" --vm=vm1 --set-link=1,down
ctl_refuses "slots 0-31" --vm=vm1 --set-link=40,down
ctl_refuses "SLOT[:FUNCTION],up or down" --vm=vm1 --set-link=4,sideways
h=$(helper)
"$ctl" --vm=vm1 --force-poweroff
stopped 0
until_true gone "$h"
listens $port && bad "somebody listens on $port" || ok

# an engine that is killed takes it along
start vm1 -l bootrom,idle.rom -s 4,virtio-net,slirp -s 5,virtio-net,slirp,net=10.0.3.0/24
set -- $(helper)
[ $# -eq 2 ] && ok || bad "$# helpers, not 2"
kill -9 $vm_pid
wait $vm_pid 2>/dev/null
vm_pid=
for h; do until_true gone "$h"; done

finish
