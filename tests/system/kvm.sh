#!/bin/bash
# tests/system/kvm.sh - the KVM engine: what is said where it is not to be had,
# and the tests of a machine's life and of its control on it.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"

refuses "did you mean" -o engine=kmv -l bootrom,halt.rom x

# auto starts anywhere, and says what it took
start vm1 -l bootrom,idle.rom -m 16M
"$ctl" --vm=vm1 --get-info >info
if grep -q '^engine	kvm$' info; then grep -q '^no kvm' info && bad "both: $(cat info)" || ok
elif grep -q '^engine	soft$' info; then grep -q '^no kvm	.' info && ok || bad "does not say why it is not KVM: $(cat info)"
else bad "says: $(cat info)"; fi
"$ctl" --vm=vm1 --force-poweroff
stopped 0
start vm1 -o engine=soft -l bootrom,idle.rom -m 16M
"$ctl" --vm=vm1 --get-info | grep -q '^no kvm' && bad "nobody asked for KVM" || ok
"$ctl" --vm=vm1 --force-poweroff
stopped 0

# without the right, and where the device is something else
if [ "$(id -u)" = 0 ] && command -v setpriv unshare >/dev/null; then
	chmod 755 "$work" && mkdir -m 700 nobody && chown 65534:65534 nobody
	if [ -e /dev/kvm ] && ! setpriv --reuid=65534 --regid=65534 --clear-groups sh -c '[ -w /dev/kvm ]' &&
		setpriv --reuid=65534 --regid=65534 --clear-groups sh -c "[ -x '$builddir/cleave' ]"; then
		CLEAVE_RUNTIME_DIR=$work/nobody limit 30 setpriv --reuid=65534 --regid=65534 --clear-groups \
			"$builddir/cleave" -o engine=kvm -l bootrom,halt.rom x >out 2>err </dev/null
		grep -q "add the user to the group kvm" err && ok || bad "without permission: $(cat err)"
		CLEAVE_RUNTIME_DIR=$work/nobody limit 30 setpriv --reuid=65534 --regid=65534 --clear-groups \
			"$builddir/cleave" -o engine=auto -o stats=true -l bootrom,halt.rom x >out 2>err </dev/null
		[ $? -eq 2 ] && grep -q "soft; not KVM: .*group kvm" err && ok || bad "auto without permission: $(cat err)"
	fi
	if [ -e /dev/kvm ] && unshare -m true 2>/dev/null; then
		limit 30 unshare -m sh -c 'mount --bind /dev/null /dev/kvm && exec "$@"' sh "$cleave" -o engine=kvm -l bootrom,halt.rom x >out 2>err </dev/null
		grep -q "not the kernel's KVM device" err && ok || bad "with /dev/null in its place: $(cat err)"
	fi
fi
[ -e /dev/kvm ] || refuses "there is no /dev/kvm: load the module" -o engine=kvm -l bootrom,halt.rom x
[ "$failures" -eq 0 ] || finish

need_kvm
start vm1 -o engine=kvm -l bootrom,idle.rom -m 16M
ctl '^engine	kvm$' --vm=vm1 --get-info
"$ctl" --vm=vm1 --force-poweroff
stopped 0

for chip in kernel engine; do
	for test in life control; do
		if engine=kvm options="-o kvm.irqchip=$chip" "$srcdir/tests/system/$test.sh" >"$test.out" 2>&1; then ok
		else bad "$test.sh with kvm.irqchip=$chip: $(tail -5 "$test.out")"; fi
	done
done
if command -v gdb >/dev/null; then
	if engine=kvm watch_points=no "$srcdir/tests/system/gdb.sh" >gdb.log 2>&1; then ok; else bad "gdb.sh: $(tail -20 gdb.log)"; fi
fi
finish
