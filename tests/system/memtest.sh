#!/bin/bash
# memtest.sh: Memtest86+, started directly, makes one pass over 32 MiB and finds
# no error.  It talks on the serial port, and never ends by itself.
. "$(dirname "$0")/common.sh"
memtest=$("$srcdir/scripts/getkernel" memtest) || skip "no Memtest86+: install the Debian package memtest86+"

"$cleave" -m 32M --kernel "$memtest" --append "console=ttyS0" -l com1,file=console memtest </dev/null 2>err &
vm_pid=$!
# Its screen's fields, without the cursor movements between them.
fields() { sed 's/\x1b\[[0-9;?]*[A-Za-z]/\n/g' console 2>/dev/null | grep -a "$1" | tail -n 1; }
end=$((SECONDS + ${CLEAVE_MEMTEST_SECONDS:-1500}))
while [ $SECONDS -lt $end ] && kill -0 $vm_pid 2>/dev/null; do
	fields 'Errors:' | grep -qE 'Errors: *[1-9]' && break
	fields 'Pass:' | grep -qE 'Pass: *[1-9]' && break
	sleep 1
done
seen=$(fields 'Errors:')
if [[ $seen =~ Pass:\ *[1-9][0-9]*\ .*Errors:\ *0\  ]]; then ok; say "one pass in $SECONDS s: $seen"
else cat err; bad "Memtest86+ says: $seen; $(fields 'Test')"; fi
"$ctl" --vm=memtest --force-poweroff || bad "cleavectl --force-poweroff"
wait $vm_pid || bad "cleave ended with status $?"
vm_pid=
finish
