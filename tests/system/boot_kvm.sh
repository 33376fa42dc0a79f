#!/bin/bash
# boot_kvm.sh: boot.sh's disk on KVM, with the kernel's interrupt controllers and
# with the engine's.  A KVM that emulates takes minutes.
. "$(dirname "$0")/common.sh"
need_kvm
for chip in kernel engine; do
	engine=kvm options="-o kvm.irqchip=$chip" media=disk seconds=900 "$srcdir/tests/system/boot.sh" || exit
done
