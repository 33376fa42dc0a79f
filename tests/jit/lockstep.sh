#!/bin/sh
# Random programs with translator and interpreter in lock-step.
exec ./tests/jit/blocks --cases 1500 --lockstep
