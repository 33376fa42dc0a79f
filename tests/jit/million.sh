#!/bin/sh
# A million random programs by interpreter and translator, half of them on each of two seeds, which tell how
# looks that miss branch off, and some in lock-step; on other seeds each day.
seed=${BLOCKS_SEED:-$(date +%Y%m%d)}
echo "seeds $seed and $((seed + 1))"
for s in "$seed" $((seed + 1)); do
	./tests/jit/blocks --seed "$s" --cases 500000 && ./tests/jit/blocks --seed "$s" --cases 25000 --lockstep || exit
done
