#!/bin/bash
# recovery.sh: spin walks through every order of steps of recovery.pml, deaths at
# each of them included, and finds nothing; and finds what is wrong with each of
# the spoilt protocols that the model's first comment lists.
#
#	recovery.sh [MACRO]	that one alone, with the steps that lead to the error
#
# KILLS=3 lets the daemon die once more: two minutes and 2 GB.
command -v spin >/dev/null || { echo "SKIP: spin is missing: install the Debian package spin"; exit 77; }
model=$(cd "$(dirname "$0")" && pwd)/recovery.pml
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 99

# verify OPTIMISATION MACRO...: 0 there is no error, 1 there is, 2 it did not come to an end
verify() {
	local level=$1; shift
	rm -f pan recovery.pml.trail
	spin -a -DKILLS="${KILLS:-2}" "${@/#/-D}" "$model" >log 2>&1 &&
		${CC:-gcc} "$level" -w -DSAFETY -DCOLLAPSE -DMEMLIM="${MEMLIM:-1000}" -o pan pan.c 2>>log || return 2
	timeout "${TEST_SECONDS:-300}" ./pan -w22 -m10000 -n >>log 2>&1
	grep -q 'Search not completed\|max search depth too small\|memory limit' log && ! [ -e recovery.pml.trail ] && return 2
	[ -e recovery.pml.trail ] && return 1
	grep -q 'errors: 0' log || return 2
}

spoilt=$(sed -n '/^ *\*\//q; s/^ \*	\([A-Z_]*\)	.*/\1/p' "$model")
[ "$(echo "$spoilt" | wc -w)" -ge 10 ] || { echo "FAIL: the model lists too few macros"; exit 1; }
if [ $# -gt 0 ]; then
	verify -O1 "$1"
	status=$?
	[ $status -ne 1 ] || spin -k recovery.pml.trail -p -D"$1" -DKILLS="${KILLS:-2}" "$model" | grep -v '^ *$'
	grep -E 'pan:1:|errors:|states, stored' log
	exit $status
fi

failures=0
verify -O2
status=$?
if [ $status -eq 0 ]; then echo "ok: $(sed -n 's/^ *\([0-9e+.]*\) states, stored.*/\1/p' log) states, no error"
else echo "FAIL: the protocol (status $status): $(grep 'pan:1:' log || tail -5 log); steps: spin -k TRAIL -p"; failures=1; fi
for macro in $spoilt; do
	verify -O0 "$macro"
	status=$?
	if [ $status -eq 1 ]; then echo "ok: $macro: $(sed -n 's/^pan:1: //p' log)"
	else echo "FAIL: $macro is not found out (status $status): $(tail -3 log)"; failures=$((failures + 1)); fi
done
[ $failures -eq 0 ]
