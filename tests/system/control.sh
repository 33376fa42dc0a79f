#!/bin/bash
# tests/system/control.sh - cleavectl on a running machine.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"

[ -z "$("$ctl")" ] && ok || bad "lists machines where there are none"
start vm1 -l bootrom,idle.rom -m 16M
ctl "^vm1 +$vm_pid$"
ctl "^pid	$vm_pid$" --vm=vm1 --get-info
until_true sh -c "$ctl --vm=vm1 --get-all | grep -q halted"
ctl "^rip\[0\].*0x000000000000000[0-9a-f]$" --vm=vm1 --get-all
ctl "^cs desc\[0\].*0x00000000000f0000/0x0000ffff/" --vm=vm1 --get-all
ctl "^cr0\[0\].*0x0000000060000010$" --vm vm1 --cpu 0 --get-cr0

# registers
ctl "" --vm=vm1 --set-rbx=0x12345678
ctl "^rbx\[0\].*0x0000000012345678$" --vm=vm1 --get-rbx
ctl "" --vm=vm1 --set-dr0=0xff00 --set-cr2=0x1000
ctl "0x000000000000ff00" --vm=vm1 --get-dr0
ctl "0x0000000000001000" --vm=vm1 --get-cr2
ctl "" --vm=vm1 --set-desc-gs --desc-base=0x5000 --desc-limit=0xfff --desc-access=0x93
ctl "^gs desc\[0\].*0x0000000000005000/0x00000fff/0x00000093$" --vm=vm1 --get-desc-gs
ctl "" --vm=vm1 --set-desc-gdtr --desc-base=0x800 --desc-limit=0x27
ctl "^gdtr desc\[0\].*0x0000000000000800/0x00000027/" --vm=vm1 --get-desc-gdtr
ctl "" --vm=vm1 --set-fs=0x33
ctl "0x0000000000000033" --vm=vm1 --get-fs
ctl "" --vm=vm1 --set-r15=0x123456789abcdef0 --set-kernel_gs_base=0xffff888000000000 --set-lstar=0xffffffff81000000 --set-sfmask=0x47700
ctl "0x123456789abcdef0" --vm=vm1 --get-r15
ctl "0xffff888000000000" --vm=vm1 --get-kernel_gs_base
ctl "0xffffffff81000000" --vm=vm1 --get-lstar
ctl "^pat\[0\].*0x0007040600070406$" --vm=vm1 --get-all
ctl "" --vm=vm1 --set-mtrr_def_type=0xc06
ctl "0x0000000000000c06" --vm=vm1 --get-mtrr_def_type
ctl_refuses "no processor can be in that state" --vm=vm1 --set-efer=0x400		# LMA without paging
ctl_refuses "no processor can be in that state" --vm=vm1 --set-lstar=0x800000000000
ctl_refuses "no processor can be in that state" --vm=vm1 --set-xcr0=4
ctl_refuses "no processor can be in that state" --vm=vm1 --set-cr4=0x8000000
ctl_refuses "no processor can be in that state" --vm=vm1 --set-rflags=0x8002
ctl_refuses "no processor can be in that state" --vm=vm1 --set-cr3=0x10000000000
ctl_refuses "no processor can be in that state" --vm=vm1 --set-pat=2
ctl_refuses "no processor can be in that state" --vm=vm1 --set-mtrr_def_type=2
ctl_refuses "did you mean rax" --vm=vm1 --get-raxx
ctl_refuses "did you mean" --vm=vm1 --set-cr9=1
ctl_refuses "no processor can be in that state" --vm=vm1 --set-cr0=0x80000000
ctl_refuses "has 16 bits" --vm=vm1 --set-cs=0x10000
ctl_refuses "wants some of" --vm=vm1 --set-desc-cs
ctl_refuses "want a number" --vm=vm1 --set-rax=abc
ctl_refuses "there is no vCPU 1" --vm=vm1 --cpu=1 --get-all
ctl "0x0000000060000010" --vm=vm1 --get-cr0

# pause: a paused machine's clock stands; twice is once
ctl "" --vm=vm1 --pause
ctl "" --vm=vm1 --pause
ctl "paused" --vm=vm1 --get-all
a=$("$ctl" --vm=vm1 --get-stats | awk '$1 == "clock.ns" { print $2 }')
sleep 0.1
b=$("$ctl" --vm=vm1 --get-stats | awk '$1 == "clock.ns" { print $2 }')
[ -n "$a" ] && [ "$a" = "$b" ] && ok || bad "the clock of a paused machine goes: $a $b"
ctl "" --vm=vm1 --resume
c=$("$ctl" --vm=vm1 --get-stats | awk '$1 == "clock.ns" { print $2 }')
[ "$c" -gt "$b" ] && ok || bad "the clock stands after --resume: $b $c"

# reset in place: back to the ROM's first instruction, registers forgotten, the process stays
ctl "" --vm=vm1 --force-reset
until_true sh -c "$ctl --vm=vm1 --get-stats | grep -q '^resets *1$'"
ctl "^rbx\[0\].*0x0000000000000000$" --vm=vm1 --get-rbx
ctl "^pid	$vm_pid$" --vm=vm1 --get-info
# a paused machine that is reset stays paused
ctl "" --vm=vm1 --pause --force-reset
until_true sh -c "$ctl --vm=vm1 --get-stats | grep -q '^resets *2$'"
ctl "paused" --vm=vm1 --get-all
ctl "0x000000000000fff0" --vm=vm1 --get-rip
ctl "" --vm=vm1 --resume

# counters, keys, buttons
ctl "^instructions " --vm=vm1 --get-stats
ctl "^exit.hlt " --vm=vm1 --cpu=0 --get-stats
ctl "" --vm=vm1 --send-keys='hello<enter><ctrl-alt-delete>'
ctl_refuses "no key <entr>" --vm=vm1 --send-keys='<entr>'
ctl "" --vm=vm1 --power-button

# what is no control message ends the connection, not the machine
if command -v socat >/dev/null; then
	printf '\377\377\377\377junk' | limit 5 socat - UNIX-CONNECT:run/vm1/control >/dev/null 2>&1
	printf '\4\0\0\0junk' | limit 5 socat - UNIX-CONNECT:run/vm1/control >/dev/null 2>&1
	ctl "^vm" --vm=vm1 --get-info
fi

# an NMI wakes a vCPU that is halted with interrupts off
"$ctl" --vm=vm1 --force-poweroff
stopped 0
# vector 2 set to F000:0020, where it spins; cli; hlt
rom nmi.rom 31 c0 8e d8 c7 06 08 00 20 00 c7 06 0a 00 00 f0 fa f4 eb fd 90 90 90 90 90 90 90 90 90 90 90 90 eb fe
start vm2 -l bootrom,nmi.rom -o halt=wait
until_true sh -c "$ctl --vm=vm2 --get-all | grep -q halted"
ctl "" --vm=vm2 --inject-nmi
until_true sh -c "$ctl --vm=vm2 --get-rip | grep -q 0x0000000000000020"
ctl "running" --vm=vm2 --get-all
"$ctl" --vm=vm2 --destroy
stopped 1

finish
