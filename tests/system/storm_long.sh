#!/bin/bash
# storm_long.sh: storm.sh in all its ways, 500 deaths each, some again with a
# spare: at least 2,000 in all.
# $KILLS and $SEED set others.
export KILLS=${KILLS:-500} SEED=${SEED:-2} STORM_MIB=64 STORM_SECONDS=1200
exec "$(dirname "$0")/storm.sh" pio dma virtio net boot spare=on pio virtio net
