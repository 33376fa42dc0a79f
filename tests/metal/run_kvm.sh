#!/bin/sh
# run_kvm.sh: the bare-metal guests on KVM that every KVM can run, one that
# emulates instructions included.  The others ask for the processor's exact
# behaviour: run_metal -k IMAGE tells what a host's KVM makes of one.
guests="tests/metal/any.bin tests/metal/any-real.bin tests/metal/cli-halt.bin tests/metal/df-triple.bin"
exec tests/metal/run_metal -k $guests
