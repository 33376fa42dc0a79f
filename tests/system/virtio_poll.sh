#!/bin/bash
# virtio_poll.sh: a guest that polls a virtio disk's used ring and runs what it
# has read there runs nothing that stood there before.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
command -v ld >/dev/null && command -v objcopy >/dev/null || skip "binutils are missing"

${CC:-cc} -m32 -O2 -ffreestanding -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables -fno-toplevel-reorder \
	-mgeneral-regs-only \
	-c "$srcdir/tests/system/virtio_poll.c" -o poll.o 2>cc.err || skip "no compiler for 32-bit guests: $(head -1 cc.err)"
ld -m elf_i386 -z noexecstack --no-warn-rwx-segments -Ttext 0xf0000 --section-start=.reset=0xffff0 -e start -o poll.elf poll.o &&
	objcopy -O binary -j .text -j .rodata -j .reset --pad-to=0x100000 poll.elf poll.rom ||
	{ echo "cannot build the guest"; exit 99; }

truncate -s 1M disk.img
for i in 1 2; do printf "\\xb0$(printf AB | cut -c$i)\\xc3" | dd of=disk.img bs=512 seek=$i conv=notrunc status=none; done	# mov $LETTER, %al; ret
for jit in on off; do
	ends 2 -o jit=$jit -m 16M -l bootrom,poll.rom -l com1,stdio -s 1:1,ide -s 3,virtio-blk,disk.img x
	[ "$(cat out)" = "0 of 1000" ] && ok || bad "jit=$jit: what stood there before ran: $(cat out)"
done
finish
