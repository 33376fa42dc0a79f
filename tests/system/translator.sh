#!/bin/bash
# translator.sh: hot code that is translated stays the debugger's: breakpoints in
# it, watchpoints on its data, steps through it; and what it tells of itself:
# counters, guest and host code side by side, the map for perf.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
need binutils as ld nm
grep -qw bmi2 /proc/cpuinfo || skip "the translator needs a processor with BMI2"
source=$srcdir/tests/system/translator
${CC:-cc} -E -P -x assembler-with-cpp "$source.S" | as --64 -o kernel.o - &&
	printf '%s\n' "PHDRS { all PT_LOAD; note PT_NOTE; }" "SECTIONS { . = 0x100000; .text : { *(.text) } :all" \
		".note : { *(.note.Xen) } :all :note" ".data : { *(.data) } :all" "/DISCARD/ : { *(.note.gnu*) } }" >kernel.ld &&
	ld -m elf_x86_64 --no-warn-rwx-segments -N -T kernel.ld -e start kernel.o -o kernel.elf || exit 99
at() { nm kernel.elf | awk -v name="$1" '$3 == name { print $1 }' | sed 's/^0*//'; }
stat_of() { "$ctl" --vm=x --get-stats | awk -v name="$1" '$1 == name { print $2 }'; }
more() { [ "$(stat_of "$1")" -gt "$2" ]; }
says() { if grep -qE -- "$1" gdb.out; then ok; else bad "gdb does not say \"$1\" but: $(cat gdb.out)"; fi; }
has() { if grep -qE -- "$2" "$1"; then ok; else bad "$1 lacks \"$2\": $(head -n 60 "$1")"; fi; }
machine=(-m 16M --kernel kernel.elf -l com1,stdio -o engine=soft -o stats=true)

# Off by default; in use it counts, and writes down what it is asked for and no more.
start x "${machine[@]}" -o jit.dump=dump -o jit.dump.range="$(at work)-$(at work)" -o jit.perf=true
map=/tmp/perf-$vm_pid.map
wait_for 20 more instructions 1000000 || bad "it does not run: $(cat x.out)"
for c in jit.units jit.entries jit.cache.used jit.links tlb.fills; do
	if more $c 0; then ok; else bad "$c is $(stat_of $c)"; fi
done
# Round and round without leaving: linked, and the way back known.
before=$(stat_of jit.entries) began=$(stat_of instructions)
wait_for 20 more instructions $((began + 10000000)) || bad "it does not run on"
[ $(($(stat_of jit.entries) - before)) -lt 10000 ] && ok || bad "$(($(stat_of jit.entries) - before)) entries in 10 million instructions"
"$ctl" --vm=x --force-poweroff || bad "cleavectl --force-poweroff"
stopped 0
has x.err 'translated blocks  *[1-9]'
has dump "^unit .* guest $(at work), physical $(at work), supervisor, 3 instructions"
has dump ' lea    rax,\[rdi\+rdi\*1'
has dump '; TLB: write tag'
has dump '; icount \+= [0-9]+$'
[ "$(grep -c '^unit' dump)" = 1 ] && ok || bad "other units are dumped too: $(grep '^unit' dump)"
has "$map" "^[0-9a-f]+ [0-9a-f]+ guest:$(at work)\$"
has "$map" '^[0-9a-f]+ 1000 cleave:thunks$'
rm -f "$map"
start x "${machine[@]}" -o jit=off
wait_for 20 more instructions 1000000 || bad "jit=off: it does not run: $(cat x.out)"
[ "$(stat_of jit.units)" = 0 ] && [ ! -e "/tmp/perf-$vm_pid.map" ] && ok || bad "jit=off translates"
"$ctl" --vm=x --force-poweroff || bad "cleavectl --force-poweroff"
stopped 0
refuses "jit.dump.range=20-10: want FIRST-LAST" -o jit.dump.range=20-10 "${machine[@]}" x
refuses "jit.dump: cannot write /nowhere/dump" -o jit.dump=/nowhere/dump "${machine[@]}" x

if command -v gdb >/dev/null; then
	debug() {
		local c args=()
		for c in "$@"; do args+=(-ex "$c"); done
		limit 30 gdb -nx -batch -ex "set confirm off" -ex "target remote $work/gdb" "${args[@]}" kernel.elf </dev/null >gdb.out 2>&1
	}
	start x "${machine[@]}" -G "$work/gdb"
	wait_for 20 more jit.entries 0 || bad "nothing is translated: $(cat x.out)"
	# In the middle of a unit, and where one begins; exactly once a round.
	debug 'break *stored' continue 'p *(long *)&twice == 2 * *(long *)&rounds' 'p *(long *)&rounds' continue 'p *(long *)&rounds - $2' \
		delete 'break *work' continue 'p $rdi == *(long *)&rounds' 'p $pc == (long)&work' delete \
		'p *(long *)&rounds' 'hbreak *back' continue 'p $pc == (long)&back' delete detach
	says '^\$1 = 1$'; says '^\$3 = 1$'; says '^\$4 = 1$'; says '^\$5 = 1$'; says '^\$7 = 1$'; says detached
	sleep 0.1
	# Each write is told behind the instruction that makes it; one that leaves the value is none for gdb.
	debug 'watch *(long *)&twice' continue 'p $pc == (long)&stored' 'p *(long *)&twice == 2 * *(long *)&rounds' 'p *(long *)&twice' \
		continue 'p *(long *)&twice - $3' delete 'rwatch *(long *)&limit' continue 'p $pc > (long)&back && $pc < (long)&work' \
		'p *(long *)&rounds' continue 'p *(long *)&rounds - $6' delete detach
	says 'Hardware watchpoint'; says '^\$1 = 1$'; says '^\$2 = 1$'; says '^\$4 = 2$'; says '^\$5 = 1$'; says '^\$7 = 1$'
	sleep 0.1
	# Steps through what is translated, and on at full speed.
	debug 'break *work' continue delete stepi 'p $rax == 2 * $rdi' stepi 'p $pc == (long)&stored' stepi 'p $pc == (long)&back' stepi \
		'p *(long *)&rounds == $rdi + 1' 'set *(long *)&limit = *(long *)&rounds + 1000000' detach
	says '^\$1 = 1$'; says '^\$2 = 1$'; says '^\$3 = 1$'; says '^\$4 = 1$'; says detached
	stopped 2			# halted, having counted to the limit
else
	echo "not all of it: gdb is missing: install the Debian package gdb"
fi
finish
