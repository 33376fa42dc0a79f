#!/bin/bash
# linux_user.sh: programs of the host compute the same in the guest: digests,
# ciphers and signatures of openssl, floating point and big text in perl and awk,
# compressors; and vectors.c, several at a time, with what is left of AVX2 on a
# processor that does not have it.  What they print is compared line by line.
. "$(dirname "$0")/common.sh"
need busybox-static /bin/busybox
need cpio cpio
need openssl openssl
need perl-base perl
kernel=$("$srcdir/scripts/getkernel") || skip "no kernel: install the Debian package linux-image-cloud-amd64, or set CLEAVE_KERNEL"

# Programs and the libraries that they load, where they lie on the host.
programs=()
for p in openssl perl xz gzip zstd mawk; do
	path=$(command -v "$p") && programs+=("$(readlink -f "$path")")
done
mkdir -p add/etc/ssl
for f in "${programs[@]}" $(ldd "${programs[@]}" | grep -o '/[^ ]*' | grep -v ':$' | sort -u); do
	mkdir -p "add$(dirname "$f")"
	[ -e "add$f" ] || cp -L "$f" "add$f"
done
# Providers of openssl 3 and modules of perl are not needed: built in.
${CC:-cc} -O2 -static "$srcdir/tests/system/vectors.c" -o add/usr/bin/vectors || die "vectors.c does not build"
cat >add/user.sh <<'EOF'
export LC_ALL=C OPENSSL_CONF=/dev/null PATH=/usr/bin:/bin
cd /tmp
openssl=/usr/bin/openssl perl=/usr/bin/perl
$perl -e 'my $x = 12345; for (1 .. 40000) { $x = ($x * 1103515245 + 12345) & 0x7fffffff; print pack("N", $x) }' >data
for d in md5 sha1 sha224 sha256 sha384 sha512 sha3-256 blake2b512 sm3; do
	echo "result: $d $($openssl dgst -$d <data 2>&1)"
done
key=000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f iv=0f0e0d0c0b0a09080706050403020100
for c in aes-128-cbc aes-256-ctr aes-192-ofb camellia-256-cbc chacha20 aria-256-ctr; do
	k=$key; case $c in *128*) k=${key%????????????????????????????????} ;; *192*) k=${key%????????????????} ;; esac
	$openssl enc -$c -K $k -iv $iv <data >enc 2>&1
	$openssl enc -d -$c -K $k -iv $iv <enc 2>&1 | cmp - data && back=same || back=different
	echo "result: $c $($openssl dgst -sha256 <enc) $back"
done
$openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.pem 2>/dev/null
$openssl pkey -in rsa.pem -pubout -out rsa.pub
$openssl dgst -sha256 -sign rsa.pem -out rsa.sig data
echo "result: rsa $($openssl dgst -sha256 -verify rsa.pub -signature rsa.sig data)"
for curve in prime256v1 secp384r1; do
	$openssl ecparam -name $curve -genkey -noout -out ec.pem
	$openssl ec -in ec.pem -pubout -out ec.pub 2>/dev/null
	$openssl dgst -sha256 -sign ec.pem -out ec.sig data
	echo "result: $curve $($openssl dgst -sha256 -verify ec.pub -signature ec.sig data)"
done
$openssl genpkey -algorithm ED25519 -out ed.pem
$openssl pkeyutl -sign -inkey ed.pem -rawin -in data -out ed.sig
echo "result: ed25519 $($openssl pkeyutl -verify -inkey ed.pem -rawin -in data -sigfile ed.sig)"
echo "result: prime $($openssl prime 170141183460469231731687303715884105727)"
$perl -e '
	my ($s, $x) = (0, 0.1);
	for my $i (1 .. 20000) { $x = sin($x) + cos($i) * exp(-$i / 7000) + sqrt($i) / log($i + 1); $s += atan2($x, $i) }
	printf "result: floats %.17g %.17g %.20e %a\n", $s, $x, $x / 3e200, $s;
	printf "result: edges %s %s %s %s %s\n", 9**9**9, -9**9**9, 4.9e-324 / 2, 1.7976931348623157e308, 2**53 + 1;
	my %h; $h{$_ * 7919 % 10007} = $_ for 1 .. 10000;
	my $t = join ",", map { "$_=$h{$_}" } sort { $a <=> $b } keys %h;
	my $n = () = $t =~ /(\d)\1+/g;
	printf "result: text %d %d %s\n", length $t, $n, unpack("%32C*", $t);
	printf "result: doubles %s\n", unpack "H*", pack "d<f<q<", 1/3, 1/3, -5;
' 2>&1
[ ! -x /usr/bin/mawk ] || /usr/bin/mawk 'BEGIN { for (i = 1; i < 30000; i++) { s += 1 / i; p = (p * 31 + int(s * 1000)) % 1000003 } printf "result: awk %.15f %d\n", s, p }'
echo "flags: $(grep -m 1 '^flags' /proc/cpuinfo | tr ' ' '\n' | grep -xE 'avx|avx2|fma|f16c|bmi1|bmi2|movbe|abm' | sort | tr '\n' ' ')"
for seed in 1 2 3 4; do
	/usr/bin/vectors $seed >vectors.$seed 2>&1 || echo "result: vectors $seed ended with status $?" >>vectors.$seed &
done
wait
cat vectors.*
for z in "xz -T1 -6" "gzip -9n" "zstd -q -10"; do
	set -- /usr/bin/$z		# a bare name would be busybox's own
	[ -x $1 ] || continue
	"$@" -c <data >packed
	echo "result: $1 $($openssl dgst -sha256 <packed) $($1 -dc <packed | cmp - data && echo same)"
done
EOF
MKINITRAMFS_ADD=add "$srcdir/scripts/mkinitramfs" initrd.img || die "no initramfs"

mkdir host
(cd host && sed 's#cd /tmp#cd '"$work/host"'#; s#/usr/bin/vectors#'"$work"'/add&#' ../add/user.sh >user.sh && sh user.sh 2>&1) >host.out
grep '^result:' host.out >want.host
cp want.host want.x86-64-v3
grep -v vectors want.host >want.x86-64-v1
grep '^flags:' host.out >flags.host
cp flags.host flags.x86-64-v3
echo "flags: " >flags.x86-64-v1
levels="host x86-64-v1"
grep -q 'avx2 .*fma ' flags.host && levels="host x86-64-v3 x86-64-v1"
for level in ${CLEAVE_LEVELS-$levels}; do
	limit 500 "$cleave" -m 512M -u -o cpu="$level" --kernel "$kernel" --initrd initrd.img -l com1,stdio \
		--append "console=ttyS0 quiet cleave.run=/user.sh $busy" linux-user </dev/null >out 2>err
	status=$?
	[ $status -eq 0 ] || { tail -n 20 out err; bad "$level: cleave ended with status $status"; continue; }
	tr -d '\r' <out | grep '^result:' >got
	if diff "want.$level" got; then ok; say "$level: $(wc -l <got) results are the host's"
	else bad "$level: the guest's results (>) differ from the host's (<)"; fi
	if tr -d '\r' <out | grep '^flags:' | diff "flags.$level" -; then ok
	else bad "$level: the guest's processor (>) has other extensions (<)"; fi
done
finish
