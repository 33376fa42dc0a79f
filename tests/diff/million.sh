#!/bin/sh
# A million differential cases, on another seed each day: seeds that fail are worth keeping.
seed=${DIFF_SEED:-$(date +%Y%m%d)}
echo "seed $seed"
exec ./tests/diff/diff --seed "$seed" --cases 1000000
