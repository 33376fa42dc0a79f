#!/bin/bash
# gdb_linux.sh: Debian's gdb debugs a stock Linux by the names of its functions:
# from the first instruction on, with breakpoints before there are page tables;
# and attached while it runs.  Untouched by all that, the guest ends as ever.
. "$(dirname "$0")/common.sh"
need gdb gdb
need busybox-static /bin/busybox
need cpio cpio
need binutils as ld
kernel=$("$srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"
"$srcdir/scripts/mksymbols" symbols "$cleave" || die "no symbols"

mkdir add
cat >add/loop.sh <<'END'
echo "cleave: looping"
while [ ! -e /tmp/end ]; do echo tick >/tmp/tick; n=$((n + 1)); [ $((n % 100)) -ne 0 ] || echo "cleave: round $n"; done
END
MKINITRAMFS_ADD=add "$srcdir/scripts/mkinitramfs" initrd.img || die "no initramfs"
machine=(-m 256M -u --kernel "$kernel" --initrd initrd.img -l com1,stdio)

# debug COMMAND...: what gdb says is in gdb.out.
debug() {
	local c args=()
	for c in "$@"; do args+=(-ex "$c"); done
	limit 300 gdb -nx -batch -ex "set confirm off" -ex "set remotetimeout 30" -ex "target remote $work/gdb" "${args[@]}" symbols </dev/null >gdb.out 2>&1
}
says() { if grep -qE -- "$1" gdb.out; then ok; else bad "gdb does not say \"$1\" but: $(cat gdb.out)"; fi; }
interrupt_after() { echo "python import threading, os, signal; threading.Timer($1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()"; }

start one "${machine[@]}" -G "w$work/gdb" --append "console=ttyS0 nokaslr $busy cleave.test"
debug 'break start_kernel' continue 'bt 2' 'p/x $cr0 & 0x80000001' 'p/x $efer & 0x500' 'x/s &linux_banner' delete \
	'break ksys_write if $rdi == 1 && *(char *)$rsi == 99' continue bt 'p/x $cs' 'x/5cb $rsi' 'set *(char *)$rsi = 75' 'stepi' 'x/i $pc' \
	'hbreak vfs_write' 'delete 2' continue 'bt 2' delete \
	'watch *(long *)&jiffies' continue 'p $rip > (long)&_text && $rip < (long)&_etext' delete \
	'break __x64_sys_reboot' continue 'p $xmm0' 'p $st0' 'p/x $k_gs_base' delete detach
says 'Breakpoint 1, .* in start_kernel \(\)'
says '#1 .* in secondary_startup_64'
says '^\$1 = 0x80000001$'; says '^\$2 = 0x500$'
says '^0xf.*:.*"Linux version [1-9]'
says 'Breakpoint 2, .* in ksys_write \(\)'
says '#1 .* in (do_syscall_64|__x64_sys_write) \(\)'
says '#2 .* in (entry_SYSCALL_64_after_hwframe|do_syscall_64) \(\)'
says '^\$3 = 0x10$'
says "99 'c'.*108 'l'.*101 'e'"
says '=> .*<ksys_write\+[1-9]'
says 'Breakpoint 3, .* in vfs_write \(\)'
says 'Hardware watchpoint 4'; says '^New value = '; says '^\$4 = 1$'
says 'Breakpoint 5, .* in __x64_sys_reboot \(\)'
says 'v4_float'; says '^\$6 = '; says '^\$7 = 0x'
says detached
stopped 0
tr -d '\r' <one.out >one.log
# The byte that gdb wrote is the one that was printed.
for line in '^Kleave: init has started' '^cleave: no complaint$' '^cleave: powering off'; do
	if grep -qE "$line" one.log; then ok; else bad "the console lacks '$line': $(tail -n 20 one.log)"; fi
done

start two "${machine[@]}" -G "$work/gdb" --append "console=ttyS0 nokaslr $busy cleave.run=/loop.sh"
wait_for 60 grep -q 'Linux version' two.out || bad "no kernel: $(tail -n 20 two.out)"
# Attached to a kernel that is booting; and to one that runs programs.
debug 'p $rip > 0xffffffff80000000' 'break do_sys_openat2' continue 'bt 1' delete detach
says '^\$1 = (0|1)$'; says 'Breakpoint 1, .* in do_sys_openat2 \(\)'; says detached
wait_for 60 grep -q 'cleave: looping' two.out || bad "it does not go on: $(tail -n 20 two.out)"
debug "$(interrupt_after 2)" continue 'info threads' 'break ksys_write' continue stepi stepi 'p/d $rip - (long)&ksys_write' delete kill
says SIGINT; says 'Thread 1'; says 'Breakpoint 1, .* in ksys_write \(\)'; says '^\$1 = [1-9]'
stopped 0
finish
