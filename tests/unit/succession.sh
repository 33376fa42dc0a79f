#!/bin/bash
# tests/unit/succession.sh - every device keeps its word while its process dies.
#
# Runs the devices' unit tests with device models that die at random labelled
# steps (devmodel/txn.h), their successors too.  Every label in the source must
# have killed at least once: a step that nothing reaches proves nothing.
# SEEDS="1 2 3" sets other runs than the one of make check; more follow while a
# label is missing.
srcdir=${srcdir:-$(dirname "$0")/../..}
log=$(mktemp) out=$(mktemp)
trap 'rm -f "$log" "$out"' EXIT
failed=0 tests=

# All that use the harness, but for those which count calls or processes, publish by themselves,
# count interrupts, of which a successor may make one too many, or count frames,
# of which it may lose some.
for t in $(grep -lE '"tests/unit/(devharness|coretest|idetest|virtiotest|stutter)\.h"' "$srcdir"/tests/unit/test_*.c); do
	t=tests/unit/$(basename "$t" .c)
	case $t in
	*/test_txn | */test_recover | */test_dispatch | */test_virtio | */test_net) ;;
	*) [ -x "$t" ] && tests="$tests $t" ;;
	esac
done

run() {
	for t in $tests; do
		HARNESS_DEATHS=$1 HARNESS_LOG=$log timeout 120 "./$t" >"$out" 2>&1 && continue
		echo "FAILED: HARNESS_DEATHS=$1 $t"
		grep -E "FAILED|error:|ERROR" "$out"
		failed=1
	done
}

# main.c's are in no test of a device: tests/system/daemon.sh.
missing() {
	grep -rhoE --exclude=main.c 'TXN_STEP\("[a-z_.]+"\)' "$srcdir/devmodel" | cut -d'"' -f2 | sort -u | grep -vxFf "$log"
}

for seed in ${SEEDS:-1}; do
	run "$seed"
done
for seed in $(seq 101 110); do
	[ -n "$(missing)" ] || break
	run "$seed"
done
for label in $(missing); do
	echo "FAILED: no process died at $label"
	failed=1
done
echo "$(wc -l <"$log") deaths at $(sort -u "$log" | wc -l) steps"
exit $failed
