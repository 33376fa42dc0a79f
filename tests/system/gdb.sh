#!/bin/bash
# gdb.sh: Debian's gdb debugs a small ROM guest: breakpoint, step, registers,
# memory, watchpoint, interrupt, detach, waiting at the start.  With watch_points=no
# without the watchpoint: a KVM that emulates has none.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
need gdb gdb

# F000:0000: mov ax,1234h; mov [500h],ax; inc bx; nop; jmp to inc
rom loop.rom b8 34 12 a3 00 05 43 90 eb fc

# debug NAME COMMANDS...: prints what gdb says.
debug() {
	local at=$1 c args=(); shift
	for c in "$@"; do args+=(-ex "$c"); done
	limit 15 gdb -nx -batch -ex "set confirm off" -ex "target remote $at" "${args[@]}" </dev/null >gdb.out 2>&1
}
says() { if grep -qE -- "$1" gdb.out; then ok; else bad "gdb does not say \"$1\" but: $(cat gdb.out)"; fi; }

watch=('watch *(short*)0x500' 'set $eip=0' 'set *(short*)0x500=0' 'continue' 'x/i $pc' 'delete')
[ "${watch_points-}" != no ] || watch=()
start one -m 16M -l bootrom,loop.rom -G "w$work/gdb"
debug "$work/gdb" 'p/x $eip' 'p/x $cs' 'break *0xf0006' 'continue' 'p/x $eax' 'x/1hx 0x500' 'stepi' 'p/x $eip' 'set $ebx=0x55' \
	'p/x $ebx' 'set *(short*)0x600=0x4321' 'x/1hx 0x600' 'hbreak *0xf0007' 'delete 1' 'continue' 'p/x $eip' 'x/2bx 0xf0006' 'delete' \
	"${watch[@]}" \
	'set $ymm3.v8_int32[6]=0x5566' 'set $xmm3.v4_int32[1]=0x7788' 'p/x $ymm3.v8_int32' 'detach'
says '= 0xfff0$'; says '= 0xf000$'; says '= 0x1234$'; says '0x500:.*0x1234'; says '= 0x7$'; says '= 0x55$'
says '0x600:.*0x4321'; says '0xf0006:.*0x43.*0x90'; says '= .0x0, 0x7788, 0x0, 0x0, 0x0, 0x0, 0x5566, 0x0.$'; says detached
[ "${watch_points-}" = no ] || { says 'Hardware watchpoint'; says 'Old value = 0'; says 'New value = 4660'; }
# It runs on after the detach; an interrupt stops it; kill ends it.
debug "$work/gdb" 'p/x $bx' 'python import threading, os, signal; threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()' \
	'continue' 'p/x $cs' 'kill'
says SIGINT; says '= 0xf000$'
stopped 0
refuses "want [w][ADDRESS:]PORT" -l bootrom,loop.rom -G nonsense x
finish
