#!/bin/bash
# tests/system/leaks_long.sh - leaks.sh with hundreds of deaths.
KILLS=${KILLS:-500} exec "$(dirname "$0")/leaks.sh"
