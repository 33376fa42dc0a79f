#!/bin/bash
# direct.sh: small kernels start without firmware by each protocol, are told
# their command line and module, and a reset loads them again.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
command -v as >/dev/null && command -v ld >/dev/null && command -v objcopy >/dev/null || { echo "SKIP: binutils are missing"; exit 77; }
source=$(cd "$OLDPWD" && cd "$(dirname "$BASH_SOURCE")" && pwd)/direct.S

# kernel NAME BASE DEFINES...
kernel() {
	local name=$1 base=$2; shift 2
	${CC:-cc} -E -P -x assembler-with-cpp "$@" "$source" | as --32 -o "$name.o" - &&
		printf '%s\n' "PHDRS { all PT_LOAD; note PT_NOTE; }" "SECTIONS { . = $base;" \
			".text : { *(.text) } :all" ".note : { *(.note.Xen) } :all :note" ".bss : { *(.bss) } :all" \
			"/DISCARD/ : { *(.note.gnu*) *(.comment) *(.eh_frame) } }" >"$name.ld" &&
		ld -m elf_i386 --no-warn-rwx-segments -N -T "$name.ld" -e start "$name.o" -o "$name.elf" &&
		objcopy -O binary -j .text "$name.elf" "$name.bin" || { echo "cannot assemble $name"; exit 99; }
}
kernel pvh 0x100000 -DPVH -DFLAT=0
kernel elf 0x100000 -DMULTIBOOT -DFLAT=0
kernel flat 0x100000 -DFLAT=1
kernel linux $((0x100000 - 0x400)) -DLINUX -DFLAT=0
printf 'a module\0' >module

# boots NAME FILE SAYS: status 2 is HLT with interrupts off.
boots() {
	local name=$1 file=$2 says=$3 status; shift 3
	timeout 30 "$cleave" -m 16M --kernel "$file" --initrd module --append "one two" -l com1,stdio "$@" "direct-$name" \
		</dev/null >"$name.out" 2>"$name.err"
	status=$?
	if [ $status = 2 ] && [ "$(tr -d '\r' <"$name.out")" = "$says, a module, data
$says, a module, data
done" ]; then ok; else bad "$name: status $status, said: $(cat "$name.out" "$name.err")"; fi
}
boots pvh pvh.elf "pvh: one two"
boots elf elf.elf "multiboot: elf.elf one two"
boots flat flat.bin "multiboot: flat.bin one two"
boots linux linux.bin "linux: one two"
# A hole in the memory map below 4 GiB, and RAM above it.
boots high pvh.elf "pvh: one two" -m 5G
boots most pvh.elf "pvh: one two" -m 64G	# untouched memory costs nothing, and the host need not have it

refuses "cannot open the kernel" --kernel nowhere x
refuses "cannot open the initramfs" --kernel linux.bin --initrd nowhere x
refuses "with one of them" --kernel linux.bin -l bootrom,idle.rom x
refuses "belongs to a kernel" --append text -l bootrom,idle.rom x
refuses "belongs to a kernel" --initrd module -l bootrom,idle.rom x
truncate -s 1100 linux.bin
refuses "cut short" --kernel linux.bin x
refuses "no kernel" --kernel idle.rom x
truncate -s 100M big
refuses "no room" -m 16M --kernel elf.elf --initrd big x
finish
