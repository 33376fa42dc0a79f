#!/bin/bash
# kvm_nested.sh: the KVM engine on KVM's own code for SVM, in a guest of QEMU's:
# strings, bare-metal guests, GRUB and Linux, with either interrupt controllers.
. "$(dirname "$0")/common.sh"
need qemu-system-x86 qemu-system-x86_64
need busybox-static /bin/busybox
need seabios "$seabios"
need grub-pc-bin /usr/lib/grub/i386-pc/boot.img
need mtools mformat
need fdisk sfdisk
kernel=$("$srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"
MKGRUB_TIMEOUT=0 "$srcdir/scripts/mkgrub" disk "$work/disk.img" || die "no disk image"

# The inner Linux has a virtio disk: its kicks, and its interrupts as messages.
modules=$("$srcdir/scripts/getkernel" modules)
mkdir -p "$work/add/virtio"
for m in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk; do
	file=$(find "$modules" -name "$m.ko" -o -name "$m.ko.xz" -o -name "$m.ko.zst" | head -1)
	case $file in
	*.xz) xz -dc "$file" ;;
	*.zst) zstd -dcq "$file" ;;
	?*) cat "$file" ;;
	*) continue ;;
	esac >"$work/add/virtio/$m.ko"
	echo "$m" >>"$work/add/virtio/order"
done
cat >"$work/add/virtio/run" <<'EOF'
[ ! -e /virtio/order ] || while read -r m; do insmod /virtio/$m.ko; done </virtio/order
n=0; while [ ! -b /dev/vda ] && [ $n -lt 50 ]; do sleep 0.1; n=$((n + 1)); done
sha256sum </dev/vda
grep -c 'MSI.*virtio' /proc/interrupts
EOF
MKINITRAMFS_ADD=$work/add "$srcdir/scripts/mkinitramfs" "$work/initrd.img" || die "no initramfs"
sum=$(sha256sum <"$work/disk.img" | cut -d' ' -f1)
cp "$kernel" "$work/vmlinuz"

cat >"$work/all" <<'EOF'
./string_io_kvm 3 || exit
./test_kvm 'test_*points' || exit
./run_metal -k any.bin any-real.bin cli-halt.bin df-triple.bin smc.bin || exit
for chip in kernel engine; do
	kvm="-o engine=kvm -o kvm.irqchip=$chip -o stats=true -l com1,stdio"
	timeout 200 ./cleave -m 64M $kvm -l bootrom,bios-256k.bin -s 1:1,ide,hd0=disk.img grub || exit
	timeout 300 ./cleave -m 256M -u $kvm --kernel vmlinuz --initrd initrd.img -s 3,virtio-blk,disk.img,ro \
		--append "console=ttyS0 cleave.test cleave.run=/virtio/run nosoftlockup" linux || exit
	echo "passed: $chip"
done
./cleave -l bootrom,halt.rom -o stats=true auto
[ $? -eq 2 ]
EOF
(cd "$builddir" && NESTED_SECONDS=840 "$srcdir/tests/system/nested_kvm" -f "$work/all" -f "$work/disk.img" -f "$work/vmlinuz" \
	-f "$work/initrd.img" -f "$work/halt.rom" sh all) >"$work/log" 2>&1
status=$?
[ $status -ne 77 ] || skip "$(tail -1 "$work/log")"
said() { [ "$(grep -acE "$2" "$work/log")" -ge "$1" ] || { grep -av CPUID "$work/log" | tail -n 40; die "the console lacks '$2'"; }; }
said 1 '^[0-9]+ cases, 0 failed'
say "string I/O: $(grep -aE '^[0-9]+ cases' "$work/log")"
said 1 '^5 guests, 0 failed'
say "bare-metal guests: $(grep -aE '^[0-9]+ guests' "$work/log")"
for chip in kernel engine; do said 1 "^passed: $chip"; done
said 2 '^Hello from a file'
said 2 '^cleave: arithmetic says 385$'
said 4 'engine +kvm$'
said 2 "^$sum"
said 2 '^[1-9][0-9]*$'
say "GRUB and Linux, with the kernel's interrupt controllers and with ours"
said 1 'engine +(kvm|soft; not KVM: this host.s KVM emulates)'	# by the clock of an emulated machine
[ $status -eq 0 ] || die "status $status"
