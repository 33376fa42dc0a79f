#!/bin/bash
# tests/system/streams.sh - character streams: standard input and output, file, UNIX and TCP socket, pty.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"

# a file
ends 2 -l bootrom,hi.rom -l com1,file=log x
[ "$(cat log)" = "$(printf 'Hi\r\n')" ] && ok || bad "file: $(cat log)"
# the log ports
rom debug.rom ba 02 04 b0 44 ee e6 e9 fa f4
ends 2 -l bootrom,debug.rom -l debugcon,file=log x
[ "$(cat log)" = DD ] && ok || bad "debugcon: $(cat log)"

# standard input from a pipe, output to a pipe; 40 KB are more than the ring holds
head -c 40000 /dev/zero | tr '\0' a >in
(cat in; sleep 1000) 2>/dev/null | "$cleave" -l bootrom,echo.rom -l com1,stdio vm1 2>vm1.err >vm1.out &
all=$!
until_true sh -c "[ \$(wc -c <vm1.out) -ge 40000 ]"
[ "$(tr -d b <vm1.out | wc -c)" -eq 0 ] && ok || bad "stdio: other bytes came back"
"$ctl" --vm=vm1 --destroy
pkill -P $$ sleep 2>/dev/null
kill $(jobs -p) 2>/dev/null
wait 2>/dev/null

# a guest that sends more than ring and pipe hold to a reader who comes late: held back, then all of it
rom flood.rom bb 04 00 b9 00 00 ba fd 03 ec a8 20 74 fb ba f8 03 b0 78 ee e2 f0 4b 75 ea fa f4
(limit 60 "$cleave" -l bootrom,flood.rom -l com1,stdio flood 2>err; echo $? >status) </dev/null | (sleep 1; wc -c) >count
[ "$(cat count status | tr '\n' ' ')" = "262144 2 " ] && ok || bad "a slow reader: bytes and status $(cat count status | tr '\n' ' ')"

if command -v socat >/dev/null; then
	# a UNIX socket: clients come and go, one at a time
	start vm2 -l bootrom,echo.rom -l com1,unix=com1.sock -l com2,tcp=127.0.0.1:0
	for i in 1 2 3; do
		got=$( (printf abc; sleep 0.5) | limit 10 socat -t 0.2 - UNIX-CONNECT:com1.sock)
		[ "$got" = bcd ] && ok || bad "UNIX socket, client $i: \"$got\""
	done
	"$ctl" --vm=vm2 --destroy
	stopped 1
	[ ! -e com1.sock ] && ok || bad "the socket stays"

	# a pty, found by its link
	start vm3 -l bootrom,echo.rom -l com1,pty
	[ -c run/vm3/com1 ] && ok || bad "no link to the pty"
	grep -q "com1 is /dev/pts/" vm3.err && ok || bad "the pty's name is not told: $(cat vm3.err)"
	for i in 1 2; do
		got=$( (sleep 0.5; printf xyz; sleep 0.5) | limit 10 socat -t 0.2 - run/vm3/com1,rawer)
		[ "$got" = 'yz{' ] && ok || bad "pty, client $i: \"$got\""
	done
	"$ctl" --vm=vm3 --destroy
	stopped 1
fi

finish
