# lib.sh: what the system tests share.  Sourced; bash.
#
# A test runs in the build tree.  It makes a scratch directory, a runtime
# directory of its own (so no VM of the user's is seen), and ends every process
# that it started.  `skip WHY` ends it with 77; `die WHAT` with 1.
set -u
top_srcdir=${top_srcdir:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
top_builddir=$(cd "${top_builddir:-.}" && pwd)
cleave=$top_builddir/cleave
cleavectl=$top_builddir/cleavectl
rom=/usr/share/seabios/bios-256k.bin

scratch=$(mktemp -d "${TMPDIR:-/tmp}/cleave-test.XXXXXX")
export XDG_RUNTIME_DIR=$scratch/run CLEAVE_RUNTIME_DIR=$scratch/run
mkdir -m 700 "$scratch/run"
started=()
cleanup() {
	local p
	for p in ${started[@]+"${started[@]}"}; do kill -9 "$p" 2>/dev/null; done
	wait 2>/dev/null
	rm -rf "$scratch"
}
trap cleanup EXIT

die() { echo "FAIL: $*" >&2; exit 1; }
skip() { echo "SKIP: $*"; exit 77; }
ok() { echo "ok: $*"; }
need_file() { [ -r "$1" ] || skip "$1 is missing: install the Debian package $2"; }
# Slower builds get more time: sanitizers, a loaded machine.
limit() { echo $((${1} * ${CLEAVE_TEST_SLOWDOWN:-1})); }

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
	local end=$((SECONDS + $(limit "$1"))); shift
	until "$@" 2>/dev/null; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}
