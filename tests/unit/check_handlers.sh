#!/bin/sh
# Every handler has a row in a table, every row a handler, and no handler stands twice.
set -e
lib=${1:-libvmm.a}
command -v nm >/dev/null || exit 77
command -v cpp >/dev/null || exit 77
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

printf '#define X(map, op, ext, pfx, kind, mn, h, ...) ROW kind h;\n#include "vmm/x86/opcodes.def"\n' |
	cpp -P -I"${srcdir:-.}" | tr ';' '\n' | sed -n 's/^ *ROW \([FPV][A-Z]*\) \([a-z0-9_]*\)$/\1 \2/p' |
	sed 's/^P /op_/; s/^[FV][A-Z]* /sel_/' | sort -u >"$tmp/rows"
nm "$lib" 2>/dev/null | sed -n 's/^[0-9a-f]* T \(op_[a-z0-9_]*\|sel_[a-z0-9_]*\)$/\1/p' | sort >"$tmp/handlers"

[ -s "$tmp/rows" ] && [ -s "$tmp/handlers" ] || { echo "found no rows or no handlers"; exit 1; }
if ! diff "$tmp/rows" "$tmp/handlers" >"$tmp/diff"; then
	echo "rows (<) and handlers (>) differ:"
	cat "$tmp/diff"
	exit 1
fi
echo "$(wc -l <"$tmp/rows") handlers"
