# tests/system/common.sh - sourced by the system tests: programs, small ROMs, checks.
#
# A test runs in a directory of its own, with run-time directories of its own;
# whatever it started is killed at its end.  It needs no terminal, no KVM and
# no firmware package: the ROMs are a few instructions.
#
# Tests on Debian's firmware say what passed with `say`, end with `die` at the
# first failure, and with `skip` where a package is missing.
set -u
srcdir=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
export builddir=${builddir:-$PWD}
cleave=$builddir/cleave ctl=$builddir/cleavectl
unset CLEAVED
export CLEAVE_RUNTIME_DIR
work=$(mktemp -d "${TMPDIR:-/tmp}/cleave-test.XXXXXX") || exit 99
CLEAVE_RUNTIME_DIR=$work/run
cd "$work" || exit 99
failures=0 checks=0
vm_pid=
# engine=kvm TEST: with every machine on that engine; options=... : with more of them.
if [ -n "${engine-}${options-}" ]; then
	printf '#!/bin/sh\nexec "%s" %s "$@"\n' "$cleave" "${engine:+-o engine=$engine} ${options-}" >"$work/cleave"
	chmod +x "$work/cleave"
	cleave=$work/cleave
fi

cleanup() {
	[ -n "$vm_pid" ] && kill -9 "$vm_pid" 2>/dev/null
	wait 2>/dev/null
	cd / && rm -rf "$work"
}
trap cleanup EXIT

ok() { checks=$((checks + 1)); }
bad() { checks=$((checks + 1)); failures=$((failures + 1)); echo "FAIL: $*"; }

say() { echo "ok: $*"; }
die() { echo "FAIL: $*"; exit 1; }
skip() { echo "SKIP: $*"; exit 77; }

# Built with a sanitizer; with system call filters, which a sanitizer's build has not.
sanitized() { grep -q '^SAN_FLAGS = .*-fsanitize' "$builddir/Makefile"; }
filtered() { grep -q "define HAVE_SECCOMP" "$builddir/config.h" && ! sanitized; }

# need PACKAGE FILE...: files, or programs (also those in /sbin), of a Debian package.
need() {
	local package=$1 file; shift
	for file in "$@"; do
		case $file in
		/*) [ -r "$file" ] ;;
		*) command -v "$file" >/dev/null || [ -x "/sbin/$file" ] ;;
		esac || skip "$file is missing: install the Debian package $package"
	done
}
# For Linux on a host that may be busy: neither watchdogs nor a count of ticks.
busy="nosoftlockup no_timer_check"
seabios=/usr/share/seabios/bios-256k.bin

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	local end=$((SECONDS + $1)); shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

finish() {
	echo "$((checks - failures)) of $checks checks passed"
	[ "$failures" -eq 0 ] && [ "$checks" -gt 0 ]
	exit
}

# rom FILE HEX...: a 64 KiB ROM that runs these bytes at F000:0000 after reset.
rom() {
	local file=$1 byte; shift
	truncate -s 0 "$file"; truncate -s 64K "$file"
	for byte in "$@"; do printf "\\x$byte"; done | dd of="$file" conv=notrunc status=none
	printf '\xea\x00\x00\x00\xf0' | dd of="$file" bs=1 seek=65520 conv=notrunc status=none
}
rom idle.rom b0 ff e6 21 e6 a1 fb f4 eb fd		# all interrupts masked; sti; hlt; jmp to hlt
rom halt.rom fa f4					# cli; hlt
rom spin.rom eb fe					# jmp .
rom triple.rom 2e 0f 01 1e 10 00 0f 20 c0 0c 01 0f 22 c0 8e d8 00 00 00 00 00 00	# lidt of limit 0; protected mode; a selector of nothing
rom exit.rom ba 01 05 b0 03 ee eb fe			# out 501h, 3
# lidt of limit 0; reads and writes an MSR that there is none; out 501h, 3
rom msr.rom 2e 0f 01 1e 1a 00 66 b9 78 56 34 12 0f 32 0f 30 ba 01 05 b0 03 ee eb fe 90 90 00 00 00 00 00 00
rom mwait.rom 66 31 c0 66 31 c9 66 31 d2 0f 01 c8 0f 01 c9 ba 01 05 b0 03 ee eb fe	# monitor; mwait, which nothing ends; as above
rom panic.rom ba 05 05 b0 01 ee eb fe			# out 505h, 1
# counts in CMOS 40h at each start, resets by CF9h until it has counted to three, then cli; hlt
rom reset.rom b0 40 e6 70 e4 71 fe c0 88 c3 b0 40 e6 70 88 d8 e6 71 3c 03 74 08 ba f9 0c b0 06 ee eb fe fa f4
# writes "Hi\r\n" to com1, then cli; hlt
rom hi.rom ba f8 03 b0 48 ee b0 69 ee b0 0d ee b0 0a ee fa f4
rom poll.rom e4 60 eb fc				# in al, 60h: the device model's, with no shadow register
# echoes what com1 receives, with one added
rom echo.rom ba fd 03 ec a8 01 74 fb ba f8 03 ec fe c0 ee eb ef

# need_kvm: or the test is skipped, with what cleave says.
need_kvm() {
	limit 20 "$cleave" -o engine=kvm -m 16M -l bootrom,halt.rom kvm </dev/null >out 2>err
	[ $? -eq 2 ] || skip "no KVM: $(tail -1 err)"
}

# limit SECONDS COMMAND...
limit() { timeout -k 2 "$@"; }

# refuses WORDS ARGS...: cleave ends with status 1 and says WORDS, without a sanitizer's report.
refuses() {
	local words=$1 status; shift
	limit 30 "$cleave" "$@" </dev/null >out 2>err
	status=$?
	if [ $status -ne 1 ]; then bad "cleave $*: status $status, not 1: $(head -3 err)"
	elif ! grep -qF -- "$words" err; then bad "cleave $*: does not say \"$words\" but: $(head -3 err)"
	elif grep -q "Sanitizer\|runtime error" err; then bad "cleave $*: $(grep -m1 "Sanitizer\|runtime error" err)"
	else ok; fi
}

# ends STATUS ARGS...: cleave ends by itself with this status.
ends() {
	local want=$1 status; shift
	limit 30 "$cleave" "$@" </dev/null >out 2>err
	status=$?
	if [ $status -eq "$want" ]; then ok; else bad "cleave $*: status $status, not $want: $(head -3 err)"; fi
}

# start NAME ARGS...: in the background; returns when its control socket answers.
start() {
	local name=$1 i; shift
	vm_name=$name
	"$cleave" "$@" "$name" </dev/null >"$name.out" 2>"$name.err" &
	vm_pid=$!
	for i in $(seq 200); do
		"$ctl" --vm="$name" --get-info >/dev/null 2>&1 && return 0
		kill -0 $vm_pid 2>/dev/null || break
		sleep 0.05
	done
	bad "$name does not start: $(cat "$name.err")"
	return 1
}

# stopped STATUS: the machine in the background ends with it, soon.
stopped() {
	local want=$1 status i
	for i in $(seq 400); do kill -0 $vm_pid 2>/dev/null || break; sleep 0.05; done
	kill -9 $vm_pid 2>/dev/null && bad "it does not end"
	wait $vm_pid 2>/dev/null
	status=$?
	vm_pid=
	if [ $status -eq "$want" ]; then ok; else bad "status $status, not $want: $(head -40 "$vm_name.err")"; fi
}

# until_true COMMAND...: within ten seconds.
until_true() {
	local i
	for i in $(seq 200); do "$@" >/dev/null 2>&1 && { ok; return 0; }; sleep 0.05; done
	bad "never: $*"
	return 1
}

# ctl WORDS ARGS...: cleavectl succeeds and prints WORDS.
ctl() {
	local words=$1; shift
	if ! limit 30 "$ctl" "$@" >out 2>err; then bad "cleavectl $*: $(cat err)"
	elif [ -n "$words" ] && ! grep -qE -- "$words" out; then bad "cleavectl $*: does not print \"$words\" but: $(head -3 out)"
	else ok; fi
}

ctl_refuses() {
	local words=$1; shift
	if limit 30 "$ctl" "$@" >out 2>err; then bad "cleavectl $*: succeeds"
	elif ! grep -qF -- "$words" err; then bad "cleavectl $*: does not say \"$words\" but: $(head -3 err)"
	else ok; fi
}

# Nothing while there is none: kill 0 would be the test's own end.
daemon_pid() { "$ctl" --vm="$1" --get-info | awk '$1 == "cleaved" && $2 > 0 { print $2 }'; }
gone() { ! kill -0 "$1" 2>/dev/null || grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }
