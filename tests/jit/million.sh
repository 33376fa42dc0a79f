#!/bin/sh
# A million random programs by interpreter and translator, and some in lock-step, on another seed each day.
seed=${BLOCKS_SEED:-$(date +%Y%m%d)}
echo "seed $seed"
./tests/jit/blocks --seed "$seed" --cases 1000000 && ./tests/jit/blocks --seed "$seed" --cases 50000 --lockstep
