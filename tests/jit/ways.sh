#!/bin/sh
# The tests of the soft engine once more by the interpreter alone, and in lock-step;
# `make check` runs them translated.
status=0
run() {
	echo "jit=$*"
	env "jit=$@" >ways.$$ 2>&1 || { tail -n 40 ways.$$; status=1; }
	rm -f ways.$$
}
for way in off lockstep; do
	run $way tests/metal/run_metal
	run $way tests/unit/test_engine
done
run off tests/unit/test_tlb
run off tests/diff/diff --seed 2 --cases 3000
exit $status
