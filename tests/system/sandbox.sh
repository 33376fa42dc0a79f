#!/bin/bash
# sandbox.sh: a device model that tries to break out of its sandbox, started as
# any other; each layer of it alone; and that all of what it tries works once
# there is none.
. "${srcdir:-$(dirname "$0")/../..}/tests/system/common.sh"
escape=$builddir/tests/system/cleaved_escape
[ -x "$escape" ] || skip "tests/system/cleaved_escape is not built: make check"
need python3 python3

# the hooks are not in what is installed
grep -qa "CLEAVE_SANDBOX_ONLY\|ESCAPE_DIR" "$builddir/cleaved" && bad "test hooks in cleaved" || ok

export ESCAPE_DIR=$work/dir ESCAPE_PORT
mkdir -m 755 "$ESCAPE_DIR"
echo secret >"$ESCAPE_DIR/secret"
python3 - "$ESCAPE_DIR" >port <<'EOF' &
import os, select, socket, sys
d = sys.argv[1]
inet, unix, abstract = (socket.socket(f) for f in (socket.AF_INET, socket.AF_UNIX, socket.AF_UNIX))
inet.bind(("127.0.0.1", 0))
unix.bind(d + "/socket")
os.chmod(d + "/socket", 0o777)
abstract.bind("\0" + d)
for s in inet, unix, abstract:
    s.listen(64)
print(inet.getsockname()[1], flush=True)
while os.path.exists(d):
    for s in select.select((inet, unix, abstract), (), (), 1)[0]:
        s.accept()[0].close()
EOF
listener=$!
trap 'kill $listener 2>/dev/null; cleanup' EXIT
wait_for 10 test -s port
ESCAPE_PORT=$(cat port)

# the engine's number: it becomes the program
printf '#!/bin/sh\nESCAPE_ENGINE=$$ exec "%s" "$@"\n' "$cleave" >cleave-numbered
chmod +x cleave-numbered
cleave=$work/cleave-numbered

# attempts FILE ARGS...: what became of each, in FILE
attempts() {
	local file=$1; shift
	CLEAVED=$escape start escape -l bootrom,poll.rom "$@" || return
	wait_for 20 grep -q "^escape: done" escape.err || bad "not all was tried: $(cat escape.err)"
	sed -n 's/^escape: //p' escape.err >"$file"
	cp escape.err "$file.err"
	"$ctl" --vm=escape --get-sandbox >"$file.sandbox"
	"$ctl" --vm=escape --destroy
	stopped 1
}
# through FILE NAME... and held FILE NAME...: these got through, or did not.
through() {
	local file=$1 name; shift
	for name; do grep -q "^$name: got through" "$file" && ok || bad "$file: $name was to get through: $(grep "^$name:" "$file")"; done
}
held() {
	local file=$1 name; shift
	for name; do grep -qE "^$name: (failed|forbidden)" "$file" && ok || bad "$file: $name was to fail: $(grep "^$name:" "$file")"; done
}
files="read-file write-file make-file make-dir read-proc list-root"
sockets="inet inet-listen unix abstract"
people="ptrace read-parent signal"
programs="fork fork-raw exec exec-call"
memory="exec-memory make-executable"
rest="message-queue userfaultfd io-uring keyring mount root"

# with none, everything works: whoever fails below fails by the sandbox
attempts none -o sandbox=off
through none $files $sockets $people $programs $memory message-queue
grep -q "^sandbox *off" none.sandbox && ok || bad "--get-sandbox: $(cat none.sandbox)"
[ "$(id -u)" -ne 0 ] || through none root

# the engine, its launchers and the keeper of the namespaces: what /proc says of them
status() { awk -v field="$2:" '$1 == field { print $2 }' "/proc/$1/status"; }
if filtered; then
	start engine -l bootrom,poll.rom
	[ "$(status "$vm_pid" Seccomp)" = 2 ] && [ "$(status "$vm_pid" NoNewPrivs)" = 1 ] && ok || bad "the engine is not filtered"
	for p in $(pgrep -P "$vm_pid"); do
		[ "$(status "$p" NoNewPrivs)" = 1 ] && ok || bad "$(cat "/proc/$p/comm") may gain privileges"
	done
	d=$(daemon_pid engine)
	[ "$(status "$d" CapBnd)$(status "$d" CapPrm)" = 00000000000000000000000000000000 ] && ok || bad "capabilities: $(grep Cap "/proc/$d/status")"
	others=$(pgrep -P "$vm_pid")
	kill -9 "$vm_pid"
	wait "$vm_pid" 2>/dev/null
	for p in $others; do until_true gone "$p"; done
	vm_pid=
fi

# a spare has one too, and a helper
start spare -l bootrom,poll.rom -o devmodel.spare=on
both() { "$ctl" --vm=spare --get-sandbox >sandbox && [ "$(grep -c "^  Landlock" sandbox)" -ge 2 ] && grep -q "^cleaved (spare) *[0-9]" sandbox; }
until_true both
"$ctl" --vm=spare --destroy
stopped 1

# all of it
if filtered; then
	attempts all
	held all $files $sockets $people ptrace-first $programs $memory $rest
	grep -q "forbidden" all && ok || bad "the filter stopped nothing"
fi
cat all.sandbox 2>/dev/null

# layers FILE BITS: of the measures only these (ipc/sandbox.h)
layer() { CLEAVE_SANDBOX_ONLY=$2 attempts "$1"; }
applied() { grep -q "^  $2  *applied" "$1.sandbox"; }
if filtered; then
	layer calls 0x200
	held calls $files $sockets $people $programs $memory $rest
fi
layer landlock 0x100
if applied landlock Landlock; then
	held landlock $files exec ptrace ptrace-first read-parent mount
	grep -q "inet: failed" landlock || echo "this kernel's Landlock does not know TCP"
	through landlock fork exec-memory
else
	echo "no Landlock: $(grep Landlock landlock.sandbox)"
fi
if ! sanitized; then
	layer files 0x10
	if applied files "empty file system"; then
		held files read-file write-file read-proc list-root exec unix
		through files fork exec-memory
	else
		echo "no empty root: $(grep "empty file" files.sandbox)"
	fi
fi

# the cell alone: it is there, and so are root's rights in it
layer cell 0
if applied cell "network namespace"; then held cell inet abstract; fi
if applied cell "PID namespace"; then held cell ptrace read-parent signal; fi
through cell fork exec-memory

# a forbidden call ends it, and the log, the cause of the restart and its successor's trace say so
if filtered; then
	CLEAVED=$escape ESCAPE_DIES=1 ESCAPE=exec-call start dies -l bootrom,poll.rom
	said() { "$ctl" --vm=dies --get-devmodel | grep -q "last end.*tried system call execve, which its sandbox forbids"; }
	until_true said
	grep -q "^cleaved: tried system call 59, which its sandbox forbids" dies.err && ok || bad "not in the log: $(head -5 dies.err)"
	"$ctl" --vm=dies --destroy
	stopped 1
fi

# where there are no namespaces to be had it runs without, and says so; strict does not
if unshare -U -r true 2>/dev/null; then
	printf '#!/bin/sh\nexec unshare -U -r sh -c "for f in /proc/sys/user/max_*_namespaces; do echo 0 >\\$f; done; exec \\"\\$@\\"" sh "%s" "$@"\n' \
		"$cleave" >cleave-poor
	chmod +x cleave-poor
	rich=$cleave cleave=$work/cleave-poor
	attempts poor
	! filtered || held poor $files $sockets $people ptrace-first $programs $memory $rest
	grep -q "^  network namespace  *not applied: " poor.sandbox && ok || bad "--get-sandbox: $(cat poor.sandbox)"
	grep -q "sandbox of cleaved is not complete: .*user namespace" poor.err && ok || bad "not in the log: $(cat poor.err)"
	refuses "the sandbox of cleaved is not complete: " -o sandbox=strict -l bootrom,idle.rom x
	cleave=$rich
fi

# strict starts where everything can be had; otherwise it says what cannot
if ! grep -q "not applied" all.sandbox 2>/dev/null && filtered; then
	start strict -o sandbox=strict -l bootrom,idle.rom
	ctl "^sandbox *strict" --vm=strict --get-sandbox
	"$ctl" --vm=strict --destroy
	stopped 1
else
	refuses "is not complete: " -o sandbox=strict -l bootrom,idle.rom x
fi

# the same for a user without privileges
if [ "$(id -u)" -eq 0 ] && command -v setpriv >/dev/null; then
	mkdir -m 711 user && mkdir user/run && cp "$builddir/cleave" "$builddir/cleavectl" "$escape" user && chmod 711 "$work"
	cp *.rom user && chmod 644 user/*.rom && chown nobody user/run && chmod 700 user/run
	printf '#!/bin/sh\nESCAPE_ENGINE=$$ exec setpriv --reuid=nobody --regid=nogroup --clear-groups "%s/user/${0##*/}" "$@"\n' "$work" >cleave-user
	mkdir wrap
	for p in cleave cleavectl; do cp cleave-user wrap/$p && chmod 755 wrap/$p; done
	cleave=$work/wrap/cleave ctl=$work/wrap/cleavectl escape=$work/user/cleaved_escape CLEAVE_RUNTIME_DIR=$work/user/run
	cd user
	attempts ../user-none -o sandbox=off
	cd ..
	through user-none read-file read-proc inet unix abstract fork exec exec-memory
	cd user
	attempts ../user-all
	cd ..
	! filtered || held user-all $files $sockets $people ptrace-first $programs $memory $rest
	cat user-all.sandbox
fi
finish
