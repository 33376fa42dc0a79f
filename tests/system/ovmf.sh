#!/bin/bash
# ovmf.sh: Debian's UEFI firmware to its shell.  It finds fw_cfg by REP INSB, takes
# SMBIOS and its settings from there with DMA and without, resets the machine in
# place, and powers it off; its variables outlive both.  Then what cannot work.
. "$(dirname "$0")/common.sh"
. "$srcdir/tests/system/ovmf_common.sh"

script <<EOF
setvar CleaveKept -guid $guid
if %lasterror% == 0x0 then
  echo cleave: kept
  smbiosview -t 1
  reset -s
else
  setvar CleaveKept -guid $guid -nv -bs =0x1de5e9f0deadbeef
  echo cleave: the first time
  reset
endif
EOF

# string_io NAME REQUESTS ELEMENTS: what the summary counts.
string_io() { sed -n 's/^  string requests *\([0-9]*\), \([0-9]*\) elements.*/\1 \2/p' "$1.err"; }

# kept NAME ARGS...: it ends powered off, with the variable there and the product's name told.
kept() {
	local name=$1; shift
	run "$name" -o stats=true -B 1,product=Probed-by-$name "$@" || fail_run "$name" "status $?"
	said "$name" '^cleave: kept'
	said "$name" '^EF BE AD DE F0 E9 E5 1D'
	said "$name" "^ProductName: Probed-by-$name\$"
}

cp "$template" vars.fd
kept dma
said dma '^cleave: the first time'
grep -c '^UEFI Interactive Shell' dma.log | grep -qx 2 || fail_run dma "not two starts of the shell"
# With DMA all that goes by REP INSB is the signature: each of its drivers asks for those four bytes.
read -r requests elements < <(string_io dma)
[ "$requests" -ge 20 ] && [ "$elements" -ge $((requests * 4)) ] || die "fw_cfg was probed by $requests requests of $elements bytes together"
say "OVMF to its shell, reset in place and again, powered off; fw_cfg probed by REP INSB in $requests requests"

kept strings -l fwcfg,dma=off
grep -q 'first time' strings.log && fail_run strings "the variable was not there"
read -r requests elements < <(string_io strings)
[ "$elements" -ge 4000 ] || die "$elements bytes of fw_cfg by REP INSB without DMA"
say "another process has the variable; $elements bytes of fw_cfg by REP INSB"

# What it writes is gone with the machine where the file is only read, as the empty store is.
sum=$(cksum <vars.fd)
script <<EOF
setvar CleaveGone -guid $guid
echo cleave: %lasterror%
setvar CleaveGone -guid $guid -nv -bs =0x1234
setvar CleaveGone -guid $guid
reset -s
EOF
gone() {
	run "$1" || fail_run "$1" "status $?"
	said "$1" '^cleave: 0x0*[1-9A-F]'
	said "$1" '^34 12'
	grep -q "variables end with the machine" "$1.err" || fail_run "$1" "no warning"
	[ "$(cksum <vars.fd)" = "$sum" ] || die "$1: the file was written"
}
bootrom=$code,vars.fd,ro gone read-only
bootrom=$code gone template
say "variables of a file that is only read end with the machine; without one the empty store is taken"

# What cannot work.
refuses "cp $template none.fd" -l bootrom,"$code",none.fd x
refuses "system management mode" -l bootrom,/usr/share/OVMF/OVMF_CODE_4M.secboot.fd,vars.fd x
cp /usr/share/OVMF/OVMF_CODE_4M.secboot.fd hidden.fd
refuses "system management mode" -l bootrom,hidden.fd,vars.fd x
refuses "take the VARS file of the same build" -l bootrom,"$code",/usr/share/OVMF/OVMF_VARS.fd x
truncate -s 540000 odd.fd
refuses "take the VARS file of the same build" -l bootrom,"$code",odd.fd x
refuses "no regular file" -l bootrom,"$code",/dev x
start one -m 64M -l bootrom,"$code",vars.fd
refuses "in use by process" -l bootrom,"$code",vars.fd x
"$ctl" --vm=one --force-poweroff
stopped 0
finish
