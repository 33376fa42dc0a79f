#!/bin/bash
# lockstep.sh: whole boots with translator and interpreter in lock-step, where the
# first difference ends the machine: SeaBIOS with GRUB, OVMF to its shell, Linux
# from its first instruction to a shell's work and off again.  Long.
. "$(dirname "$0")/common.sh"
need busybox-static /bin/busybox
need cpio cpio
kernel=$("$srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"
"$srcdir/scripts/mkinitramfs" "$work/initrd.img" "$("$srcdir/scripts/getkernel" modules)" || die "no initramfs"

limit 1200 "$cleave" -o engine=soft -o jit.lockstep=on -m 512M -u -l com1,stdio --kernel "$kernel" --initrd "$work/initrd.img" \
	--append "console=ttyS0 panic=-1 cleave.test $busy" lockstep-linux </dev/null >linux.log 2>linux.err
status=$?
[ $status -eq 0 ] || { tail -n 40 linux.err; tail -n 5 linux.log; die "Linux: cleave ended with status $status"; }
grep -q 'cleave: powering off' linux.log || die "Linux did not come to its end"
units=$(sed -n 's/^cleave: lock-step: \([0-9]*\) units compared.*/\1/p' linux.err)
[ "${units:-0}" -gt 1000000 ] || die "only ${units:-no} units were compared: $(tail -n 1 linux.err)"
say "Linux: $units units compared"

for test in boot ovmf; do
	options="-o engine=soft -o jit.lockstep=on" media=disk seconds=600 "$srcdir/tests/system/$test.sh" >$test.log 2>&1
	status=$?
	[ $status -ne 77 ] || { tail -n 1 $test.log; continue; }
	[ $status -eq 0 ] || { cat $test.log; die "$test.sh in lock-step"; }
	say "$test.sh passes in lock-step"
done
