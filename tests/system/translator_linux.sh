#!/bin/bash
# translator_linux.sh: Linux from power-on to power-off with room for a small part
# of its translated code, every block translated at once: what is there has to
# make way all the time, and the guest notices nothing.
. "$(dirname "$0")/common.sh"
need busybox-static /bin/busybox
need cpio cpio
kernel=$("$srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"
grep -qw bmi2 /proc/cpuinfo || skip "the translator needs a processor with BMI2"
"$srcdir/scripts/mkinitramfs" initrd.img "$("$srcdir/scripts/getkernel" modules)" || die "no initramfs"

# boot NAME OPTIONS...: what the machine counted is NAME.stats, what its memory was at the end of the boot NAME.kb.
boot() {
	local name=$1; shift
	limit 400 "$cleave" -m 256M -u --kernel "$kernel" --initrd initrd.img -l com1,stdio -o engine=soft -o stats.file="$name.stats" "$@" \
		--append "console=ttyS0 $busy cleave.test" "jit-$name" </dev/null >"$name.out" 2>"$name.err" ||
		{ bad "$name: status $?: $(tail -n 5 "$name.out" "$name.err")"; return; }
	for line in '^cleave: no complaint' '^cleave: powering off'; do
		if tr -d '\r' <"$name.out" | grep -q "$line"; then ok; else bad "$name: the console lacks '$line': $(tail -n 20 "$name.out")"; fi
	done
	if awk -v want="$evicted" '/translated blocks/ { gsub(/[,;]/, ""); n = $9 + 0 } END { exit !(n >= want) }' "$name.stats"; then ok
	else bad "$name: not $evicted were evicted: $(cat "$name.stats")"; fi
}
evicted=100000 boot small -o jit.cache=1M -o jit.threshold=1
evicted=0 boot whole -o jit.threshold=1
finish
