#!/bin/bash
# ovmf_more.sh: more of Debian's UEFI firmware than every run has time for: that
# it does not find fw_cfg where illumos 13286 is put back; that the boot order is
# the user's; that Linux reaches the variables through runtime services; and that
# they are whole whatever is killed while they are written.
. "$(dirname "$0")/common.sh"
. "$srcdir/tests/system/ovmf_common.sh"
need python3 python3
variables() { python3 "$srcdir/tests/system/ovmf_vars.py" "$@"; }

# ---- the old fault of REP INSB: fw_cfg's signature is read, and what memory gets is not it.  (Nor would IDE work.)
disk=3,virtio-blk,path=fat.img
script <<EOF
smbiosview -t 1
echo cleave: in the shell
reset -s
EOF
injected=$builddir/tests/system/cleave_13286
[ -x "$injected" ] || die "$injected is missing: make check builds it"
cp "$template" vars.fd
run sound -o stats=true -B 1,product=Found-by-signature || fail_run sound "status $?"
said sound '^ProductName: Found-by-signature$'
cleave=$injected CLEAVED=$builddir/cleaved run injected -o stats=true -B 1,product=Found-by-signature || fail_run injected "status $?"
said injected 'cleave: in the shell'
grep -q 'Found-by-signature' injected.log && fail_run injected "fw_cfg was found, with the fault put back"
say "with illumos 13286 put back the firmware does not find fw_cfg; without, it does"

# ---- the boot order: the variables know the shell only, the disk is new; then the user names the other disk.
need grub-efi-amd64-bin /usr/lib/grub/x86_64-efi/linux.mod
need fdisk sfdisk
MKGRUB_TIMEOUT=0 "$srcdir/scripts/mkgrub" efi grub.img || die "no image"
run order -s 4,virtio-blk,path=grub.img,bootindex=0 || fail_run order "status $?"
said order 'GRUB has shown its file; powering off'
say "the user's boot order comes before that of the variables; GRUB from a virtio disk, and its halt"

# ---- Linux writes a variable through the firmware's runtime services, and starts again through them.
need busybox-static /bin/busybox
need cpio cpio
kernel=$("$srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"
modules=$("$srcdir/scripts/getkernel" modules)
efivarfs=$(find "$modules/" -name 'efivarfs.ko*' | head -1)
mkdir add
case $efivarfs in
*.xz) xz -dc "$efivarfs" >add/efivarfs.ko ;;
'') ;;
*) cp "$efivarfs" add/efivarfs.ko ;;
esac
cat >add/vars.sh <<EOF
[ ! -e /efivarfs.ko ] || insmod /efivarfs.ko
mount -t efivarfs efivarfs /mnt
if [ -e /mnt/CleaveLinux-$guid ]; then
	echo "result: \$(tail -c +5 /mnt/CleaveLinux-$guid)"
else
	{ printf '\007\000\000\000'; seq -s . 1 500; } >/tmp/value
	cat /tmp/value >/mnt/CleaveLinux-$guid && echo "result: written"
	umount /mnt
	reboot -f
fi
EOF
MKINITRAMFS_ADD=add "$srcdir/scripts/mkinitramfs" initrd.img "$modules" || die "no initramfs"
MKGRUB_TIMEOUT=0 MKGRUB_KERNEL=$kernel MKGRUB_INITRD=initrd.img MKGRUB_APPEND="console=ttyS0 reboot=efi cleave.run=/vars.sh" \
	"$srcdir/scripts/mkgrub" efi linux.img || die "no image"
run linux -s 4,virtio-blk,path=linux.img,bootindex=0 || fail_run linux "status $?"
said linux '^result: written'
said linux "^result: $(seq -s . 1 500)\$"
[ "$(grep -c '^cleave: init has started' linux.log)" -eq 2 ] || fail_run linux "not two starts"
say "Linux's variable is there after it has started again; both through runtime services"

# ---- killed while it writes: the device model, which has successors; then all of the machine.
script <<EOF
setvar CleaveFixed -guid $guid
if not %lasterror% == 0x0 then
  setvar CleaveFixed -guid $guid -nv -bs =0x0123456789abcdef
  setvar CleaveStorm -guid $guid -nv -bs =0x4444
endif
setvar CleaveStorm -guid $guid
if exist fs0:\\end.txt then
  reset -s
endif
echo cleave: storm begins
for %a run (1000 9999)
  setvar CleaveStorm -guid $guid -nv -bs =0x%a
  echo cleave: stored %a
endfor
EOF
cp "$template" vars.fd
# dumped NAME VARIABLE BYTES: what the script's setvar has shown.
dumped() { grep -A1 " - $2 - " "$1.log" | grep -qE "^$3 *\$" || fail_run "$1" "$2 is lost"; }
kept() { dumped "$1" CleaveFixed 'EF CD AB 89 67 45 23 01'; dumped "$1" CleaveStorm '[0-9][0-9] [0-9][0-9]'; }
moment() { sleep "0.$((RANDOM % 900 + 100))"; }
filled=0 written=0 successors=0
for round in $(seq 6); do
	rm -f storm.raw
	keys | "$cleave" -m 256M -l bootrom,"$bootrom" -l com1,stdio -s "$disk" ovmf-storm >storm.raw 2>storm.err &
	vm_pid=$!
	wait_for 600 grep -q 'cleave: storm begins' storm.raw || { plain <storm.raw >storm.log; fail_run storm "round $round: no storm"; }
	for i in 1 2 3; do
		moment
		pid=$(daemon_pid ovmf-storm)
		[ -n "$pid" ] && kill -9 "$pid" && successors=$((successors + 1))
	done
	moment
	kill -9 "$vm_pid" || die "round $round: it has ended already: $(cat storm.err)"
	{ wait "$vm_pid"; } 2>/dev/null
	vm_pid=
	plain <storm.raw >storm.log
	[ $round -eq 1 ] || kept storm
	! sed '1,/storm begins/d' storm.log | grep -iE 'unable|error' || fail_run storm "round $round: a variable cannot be written"
	written=$((written + $(grep -c 'cleave: stored' storm.log)))
	# Every other time there is hardly room left, so that the store is copied to the spare area, erased and written anew.
	if [ $((round % 2)) -eq 1 ]; then
		if variables --fill 3000 vars.fd >/dev/null 2>list.err; then filled=$((filled + 1))
		else echo "round $round: killed while the store was written anew: $(cat list.err)"; fi
	fi
done
touch end.txt; mcopy -i fat.img end.txt ::
run end || fail_run end "status $?"
kept end
variables vars.fd >/dev/null || die "the store is not whole in the end"
[ $filled -ge 1 ] && [ $written -ge 20 ] && [ $successors -ge 6 ] ||
	die "the storm was none: $written variables written, $successors device models killed, the store filled $filled times"
say "$successors device models and six machines killed while $written variables were written, $filled times with a full store: nothing lost"
