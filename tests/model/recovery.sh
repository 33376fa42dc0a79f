#!/bin/bash
# recovery.sh: spin walks through every order of steps of recovery.pml, deaths at
# each of them included, and finds nothing; and finds what is wrong with each of
# the spoilt protocols that the model's first comment lists.
#
#	recovery.sh [MACRO]	that one alone, with the steps that lead to the error
#
# KILLS (2) and UPGRADES (1) say how often the daemon may die or be replaced.
command -v spin >/dev/null || { echo "SKIP: spin is missing: install the Debian package spin"; exit 77; }
model=$(cd "$(dirname "$0")" && pwd)/recovery.pml
kills=${KILLS:-2} upgrades=${UPGRADES:-1}
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/right" "$dir/spoilt"
cd "$dir/spoilt" || exit 99

# verify OPTIMISATION KILLS UPGRADES [MACRO]: 0 there is no error, 1 there is, 2 it did not come to an end
verify() {
	rm -f pan recovery.pml.trail
	bounds="-DKILLS=$2 -DUPGRADES=$3"
	spin -a $bounds ${4:+-D$4} "$model" >log 2>&1 &&
		${CC:-gcc} "$1" -w -DSAFETY -DCOLLAPSE -DMEMLIM="${MEMLIM:-2000}" -o pan pan.c 2>>log || return 2
	./pan -w22 -m10000 -n >>log 2>&1
	[ ! -e recovery.pml.trail ] || return 1
	grep -q 'errors: 0' log && ! grep -q 'not completed\|depth too small' log || return 2
}

# With few deaths first: that is fast, and most are found.
find_out() {
	verify -O0 "$kills" 0 "$1" && verify -O0 1 "$upgrades" "$1"
}

spoilt=$(sed -n '/^ *\*\//q; s/^ \*	\([A-Z_]*\)	.*/\1/p' "$model")
[ "$(echo "$spoilt" | wc -w)" -ge 10 ] || { echo "FAIL: the model lists too few macros"; exit 1; }
if [ $# -gt 0 ]; then
	find_out "$1"
	status=$?
	[ $status -ne 1 ] || spin -k recovery.pml.trail -p $bounds -D"$1" "$model" | grep -v '^ *$'
	grep -E 'pan:1:|errors:|states, stored' log
	exit $status
fi

(cd ../right && verify -O1 "$kills" "$upgrades") &
right=$!
failures=0
for macro in $spoilt; do
	find_out "$macro"
	status=$?
	if [ $status -eq 1 ]; then echo "ok: $macro: $(sed -n 's/^pan:1: //p' log)"
	else echo "FAIL: $macro is not found out (status $status): $(tail -3 log)"; failures=$((failures + 1)); fi
done
wait $right
status=$?
if [ $status -eq 0 ]; then
	echo "ok: $(sed -n 's/^ *\([0-9e+.]*\) states, stored.*/\1/p' ../right/log) states, no error"
else
	echo "FAIL: the protocol (status $status): $(grep 'pan:1:' ../right/log || tail -5 ../right/log)"
	[ $status -ne 1 ] || (cd ../right && spin -k recovery.pml.trail -p -DKILLS="$kills" -DUPGRADES="$upgrades" "$model" | grep -v '^ *$' | tail -200)
	failures=$((failures + 1))
fi
[ $failures -eq 0 ]
