#!/bin/bash
# dma.sh: DMA over code that has been executed, by the IDE bus master and by
# fw_cfg, between the two processes: what runs next is what has come.  With it
# READ MULTIPLE and WRITE DMA, as a guest uses them.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
command -v as >/dev/null && command -v ld >/dev/null && command -v objcopy >/dev/null || skip "binutils are missing"

${CC:-cc} -E -P -x assembler-with-cpp "$srcdir/tests/system/dma.S" | as --32 -o dma.o - &&
	ld -m elf_i386 -Ttext 0 -e start -o dma.elf dma.o && objcopy -O binary -j .text dma.elf dma.rom ||
	{ echo "cannot assemble dma.S"; exit 99; }

# returns LETTER: mov $LETTER, %al; lret
returns() { printf "\\xb0$1\\xcb"; }
truncate -s 1M disk.img
for i in 1 2 3 4; do returns "$(printf ABCD | cut -c$i)" | dd of=disk.img bs=512 seek=$i conv=notrunc status=none; done
returns F >code

ends 2 -m 16M -l bootrom,dma.rom -l com1,stdio -s 1:1,ide,hd0=disk.img -f opt/code,file=code x
[ "$(cat out)" = ABCFFCD ] && ok || bad "functions returned $(cat out), not ABCFFCD"
cmp -s <(dd if=disk.img bs=512 skip=8 count=2 status=none) <(dd if=disk.img bs=512 skip=3 count=2 status=none) &&
	ok || bad "WRITE DMA left other sectors"
finish
