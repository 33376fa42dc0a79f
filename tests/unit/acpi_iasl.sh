#!/bin/bash
# acpi_iasl.sh: ACPICA's compiler reads our tables, and what it makes of them compiles again
# without an error, a warning or a remark.
command -v iasl >/dev/null || { echo "SKIP: iasl is missing: install the Debian package acpica-tools"; exit 77; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
"${top_builddir:-.}/tests/unit/test_acpi" "$dir" || { echo "FAIL: test_acpi wrote no tables"; exit 1; }
cd "$dir" || exit 1
fail=0 n=0
for t in *.dat; do
	n=$((n + 1))
	iasl -d "$t" >"$t.log" 2>&1 || { echo "FAIL: $t cannot be disassembled"; cat "$t.log"; fail=1; continue; }
	grep -iE 'warning|error|invalid|unknown' "$t.log" | grep -v 'Errors, 0' && { echo "FAIL: $t: disassembler complains"; fail=1; }
	grep -niE 'warning|error|invalid|unknown ' "${t%.dat}.dsl" && { echo "FAIL: $t: the disassembly complains"; fail=1; }
	case $t in DSDT*) ;; *) continue ;; esac
	iasl -f "${t%.dat}.dsl" >"$t.log2" 2>&1
	grep -q '0 Errors, 0 Warnings, 0 Remarks' "$t.log2" || { echo "FAIL: $t compiles with complaints"; cat "$t.log2"; fail=1; }
done
[ $n -ge 9 ] || { echo "FAIL: only $n tables"; fail=1; }
[ $fail = 0 ] && echo "ok: $n tables"
exit $fail
