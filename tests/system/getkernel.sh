#!/bin/bash
# getkernel.sh: without a kernel under /boot one comes from Debian, with its
# modules, and boots; a second time it is there.
. "$(dirname "$0")/common.sh"
command -v apt-get >/dev/null || skip "this is no Debian: no apt-get"
apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1 || skip "apt does not know linux-image-cloud-amd64: apt-get update"
unset CLEAVE_KERNEL
export CLEAVE_ROOT=$work/nowhere CLEAVE_CACHE=$work/cache

kernel=$("$srcdir/scripts/getkernel") || die "no kernel"
case $kernel in "$work"/cache/*) ok ;; *) bad "the kernel is $kernel" ;; esac
[ -d "$("$srcdir/scripts/getkernel" modules)/kernel" ] && ok || bad "no modules"
again=$(PATH=$work:$PATH; printf '#!/bin/sh\nexit 1\n' >"$work/apt-get"; chmod 755 "$work/apt-get"; "$srcdir/scripts/getkernel")
[ "$again" = "$kernel" ] && ok || bad "the second time it is '$again'"
(cd "$builddir" && CLEAVE_WAYS=direct bash "$srcdir/tests/system/linux.sh") && ok || bad "it does not boot"
finish
