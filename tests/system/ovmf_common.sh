# tests/system/ovmf_common.sh - sourced by the tests on Debian's OVMF, after common.sh.
code=/usr/share/OVMF/OVMF_CODE_4M.fd template=/usr/share/OVMF/OVMF_VARS_4M.fd
need ovmf "$code" "$template"
need mtools mformat mcopy
bootrom=$code,vars.fd disk=1:1,ide,hd0=fat.img guid=8d5ab1c2-6d3a-4f0e-9a51-1c0de5e9f001

# script: standard input becomes fat.img's startup.nsh, which OVMF's shell runs.
truncate -s 4M fat.img
mformat -i fat.img -T 8192 -h 16 -s 63 ::
script() { { echo "@echo -off"; cat; } >startup.nsh; mcopy -o -i fat.img startup.nsh ::; }

# Keys, for those five seconds in which the shell waits for one; until nobody takes them.
keys() { for i in $(seq 1200); do echo || return; sleep 0.5; done 2>/dev/null; }

# run NAME ARGS...: $bootrom, the script on $disk; text in NAME.log, its status is the result.
run() {
	local name=$1; shift
	keys | limit 600 "$cleave" -m 256M -u -l bootrom,"$bootrom" -l com1,stdio -s "$disk" "$@" \
		"ovmf-$name" 2>"$name.err" | plain >"$name.log"
	return ${PIPESTATUS[1]}
}
plain() { tr -d '\r' | sed 's/\x1b\[[0-9;=]*[A-Za-z]//g'; }
fail_run() { tail -n 40 "$1.log"; tail -n 5 "$1.err"; die "$1: $2"; }
said() { grep -qE "$2" "$1.log" || fail_run "$1" "the console lacks '$2'"; }
