#!/bin/bash
# tests/system/bad_input.sh - what cannot work is refused with its cause, and with status 1.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"

# firmware
refuses "nothing to start: --kernel PATH" x
refuses "/nonexistent.rom" -l bootrom,/nonexistent.rom x
truncate -s 1000 odd.rom
refuses "odd.rom" -l bootrom,odd.rom x
truncate -s 0 empty.rom
refuses "empty.rom" -l bootrom,empty.rom x
truncate -s 64M huge.rom
refuses "huge.rom" -l bootrom,huge.rom x
refuses "/dev" -l bootrom,/dev x

# memory
refuses "memory" -m 1000T -l bootrom,idle.rom x
refuses "whole megabytes" -m 1K -l bootrom,idle.rom x
refuses "processors" -c 2 -l bootrom,idle.rom x

# devices, keys, slots
refuses "not a PCI slot" -s 40,ide x
refuses "did you mean ide" -s 1:1,ied x
refuses "did you mean hd0" -s 1:1,ide,hd=a x
refuses "-s help lists" -s 1:1 x
refuses "did you mean com1" -l com,stdio x
refuses "taken by ide" -s 1:1,ide -s 1:1,ide x
refuses "did you mean" -o memory.sise=3M x
refuses "goes with -l" -s 3,uart x

# images
refuses "/nonexistent.img" -l bootrom,idle.rom -s 1:1,ide,hd0=/nonexistent.img x
mkdir dir
refuses "neither a file nor a block device" -l bootrom,idle.rom -s 1:1,ide,hd0=dir,ro x
refuses "neither a file nor a block device" -l bootrom,idle.rom -s 1:1,ide,hd0=/dev/null x
truncate -s 1M disk.img
truncate -s 0 none.img
refuses "hd0" -l bootrom,idle.rom -s 1:1,ide,hd0=none.img x
if [ "$(id -u)" -ne 0 ]; then
	chmod 0 disk.img
	refuses "Permission denied" -l bootrom,idle.rom -s 1:1,ide,hd0=disk.img x
	chmod 600 disk.img
fi
# the same image twice in one machine, then in two
refuses "in use" -l bootrom,idle.rom -s 1:1,ide,hd0=disk.img,hd1=disk.img x
start one -l bootrom,idle.rom -s 1:1,ide,hd0=disk.img
refuses "in use by process" -l bootrom,idle.rom -s 1:1,ide,hd0=disk.img x
refuses "in use by process" -l bootrom,idle.rom -s 1:1,ide,hd0=disk.img,ro x
"$ctl" --vm=one --destroy
stopped 1
ends 2 -l bootrom,halt.rom -s 1:1,ide,hd0=disk.img,ro,hd1=disk.img,ro x

# character streams
refuses "want stdio" -l bootrom,idle.rom -l com1,tty x
refuses "/nonexistent/log" -l bootrom,idle.rom -l com1,file=/nonexistent/log x
refuses "cannot open unix=" -l bootrom,idle.rom -l com1,unix=/nonexistent/s x

# the control socket
ctl_refuses "no machine named nobody" --vm=nobody --get-all
mkdir -p run/dead; : >run/dead/control
ctl_refuses "no machine named dead" --vm=dead --get-all
ctl_refuses "which machine" --get-all
ctl_refuses "what is to be done" --vm=x
ctl_refuses "did you mean get-all" --vm=x --get_all
ctl_refuses "takes no value" --vm=x --pause=1
ctl_refuses "wants a value" --vm=x --set-rax
ctl_refuses "begins with --" pause
CLEAVE_RUNTIME_DIR=/proc/nothing refuses "cannot make /proc/nothing" -l bootrom,idle.rom x

finish
