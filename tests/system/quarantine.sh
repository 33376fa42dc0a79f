#!/bin/bash
# tests/system/quarantine.sh - a guest's request that kills the device model: the
# device that serves it is put out of service, the others and the guest go on,
# and a reset brings it back.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
[ -x "$builddir/tests/system/cleaved_faults" ] || skip "tests/system/cleaved_faults is not built: make check"
command -v as >/dev/null && command -v ld >/dev/null && command -v objcopy >/dev/null || skip "binutils are missing"
export CLEAVED=$builddir/tests/system/cleaved_faults

# assemble FILE KIND: how the device model is to die (tests/system/crashdev.c)
assemble() {
	${CC:-cc} -E -P -DKIND="$2" -x assembler-with-cpp "$srcdir/tests/system/quarantine.S" | as --32 -o q.o - &&
		ld -m elf_i386 -Ttext 0 -e start -o q.elf q.o && objcopy -O binary -j .text q.elf "$1" ||
		{ echo "cannot assemble quarantine.S"; exit 99; }
}

says() { grep -q "$1" log; }
devmodel() { "$ctl" --vm=x --get-devmodel >devmodel && grep -qE "$1" devmodel; }

assemble segv.rom 1
: >log
start x -l bootrom,segv.rom -l com1,file=log -l crash -s 3,virtio-rnd -o halt=wait
until_true says '^AB\.\.'
[ "$(grep -c . <(grep 'took over' x.err))" = 3 ] && ok || bad "not three successors: $(cat x.err)"
grep -q "crash: a request has killed 3 device models in a row: out of service until the machine is reset" x.err && ok || bad "not said: $(cat x.err)"
devmodel '^state +serving' && devmodel '^generation +4' && devmodel '^restarts +3' && ok || bad "--get-devmodel: $(cat devmodel)"
[ "$(grep -c '^restart  .* ago, after [0-9]* ms: the device model (process [0-9]*) was killed by signal 11' devmodel)" = 3 ] &&
	ok || bad "restarts: $(cat devmodel)"
devmodel '^strike +3, [0-9.]+ s ago: crash: request of vCPU 0: out 0x5c0, size 1, value 0x1$' && ok || bad "strikes: $(cat devmodel)"
devmodel '^quarantined crash, for [0-9.]+ s' && ok || bad "quarantined: $(cat devmodel)"
[ "$(grep -c '^quarantined' devmodel)" = 1 ] && ok || bad "others too: $(cat devmodel)"
# kill -9 from outside is nobody's fault, and a successor knows what is out of service
kill -9 "$(daemon_pid x)"
until_true devmodel '^generation +5'
devmodel '^quarantined crash' && ok || bad "forgotten: $(cat devmodel)"
n=$(wc -c <log)
until_true eval '[ "$(wc -c <log)" -gt '"$n"' ]'
# back after a reset; then a timer's turn
"$ctl" --vm=x --force-reset && ok || bad "--force-reset"
until_true says 'CD'
until_true says 'E'
devmodel '^strike +3, [0-9.]+ s ago: crash: timer 0$' && devmodel '^quarantined crash' && ok || bad "--get-devmodel: $(cat devmodel)"
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1
says '!' && bad "the guest says: $(cat log)" || ok

# a reset lifts it for the user as well
assemble abort.rom 2
: >log
start x -l bootrom,abort.rom -l com1,file=log -l crash -o halt=wait
until_true says '^AB'
devmodel '^quarantined' && grep -q "signal 6" devmodel && ok || bad "--get-devmodel: $(cat devmodel)"
"$ctl" --vm=x --pause --force-reset && ok || bad "--force-reset"
until_true eval '! devmodel ^quarantined'
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1

# one that hangs, and one that leaves
assemble hang.rom 3
: >log
start x -l bootrom,hang.rom -l com1,file=log -l crash -o devmodel.deadline=1
until_true says '^AB\.\.'
devmodel '^strike +3,.*value 0x3$' && grep -q "restart .*does not answer" devmodel && ok || bad "--get-devmodel: $(cat devmodel)"
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1
assemble leave.rom 5
: >log
start x -l bootrom,leave.rom -l com1,file=log -l crash
until_true says '^AB\.\.'
"$ctl" --vm=x --destroy && ok || bad "--destroy"
stopped 1

# nobody's machine has it
unset CLEAVED
refuses "unknown device crash" -l bootrom,idle.rom -l crash x
finish
