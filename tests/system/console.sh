# tests/system/console.sh - sourced after common.sh: a guest driven over its serial
# console, as somebody at a terminal would, and Debian (scripts/mkdebian) in it.
#
# The machine runs in the background with its console on a pair of files; what is
# expected is looked for in what came since the last line that was sent.  Each wait
# has a limit and says in time what it is that does not come.  $CLEAVE_SLOW is a
# factor on the limits, for builds with sanitizers.
#
#	console deb ARGS...		starts the machine; its screen is ./deb.con
#	console_login
#	guest 60 'uname -r'		runs a command; its output is printed, its status returned
#	console_ends 0			the machine ends by itself with this status
console_slow=${CLEAVE_SLOW:-1}
console_name= console_mark=0 console_number=0 console_gone=

# console NAME ARGS...: files NAME.con, NAME.err; messages in front of each line of a failed test.
console() {
	console_name=$1; shift
	console_mark=0 console_gone=
	rm -f "$console_name.in"
	mkfifo "$console_name.in" || die "no fifo"
	: >"$console_name.con"
	"$cleave" "$@" -l com1,stdio "$console_name" <"$console_name.in" >"$console_name.con" 2>"$console_name.err" &
	vm_pid=$!
	exec 7>"$console_name.in"
}

# What came since the last line that was sent.
console_news() { tail -c +$((console_mark + 1)) "$console_name.con" | tr -d '\r'; }

console_fails() {
	echo "--- the console's last lines:"; tr -d '\r' <"$console_name.con" | tail -n 40
	echo "--- cleave said:"; tail -n 10 "$console_name.err"
	[ -z "${CLEAVE_KEEP-}" ] || cp "$console_name".con "$console_name".err "$CLEAVE_KEEP"/
	die "$console_name: $*"
}

# console_expect SECONDS REGEX: a line that matches has come, or comes in time.
console_expect() {
	local end=$((SECONDS + $1 * console_slow))
	until console_news | grep -qE -- "$2"; do
		[ $SECONDS -lt $end ] || console_fails "'$2' does not come in $(($1 * console_slow)) s"
		kill -0 "$vm_pid" 2>/dev/null || console_fails "ended while '$2' was waited for"
		sleep 0.1
	done
}

# console_send LINE: without waiting.
console_send() {
	console_mark=$(stat -c %s "$console_name.con")
	printf '%s\n' "$1" >&7
}

# console_login [SECONDS]: from power-on, or from a reboot, to a quiet root shell.
console_login() {
	console_expect "${1:-400}" '^deb login: '
	console_send root
	console_expect 120 '^Password: '
	console_send cleave
	console_expect 120 'root@deb.*# $'
	# Behind this the screen has what commands print, and nothing else.
	console_send 'stty -echo cols 200; export PS1= PROMPT_COMMAND= TERM=dumb PAGER=cat SYSTEMD_COLORS=0; dmesg -n 1; printf "\e[?2004l"; echo quiet=$((40 + 2))'
	console_expect 120 'quiet=42$'
}

# guest SECONDS COMMAND: on the console.
guest() {
	console_number=$((console_number + 1))
	console_send "$2; status=\$?; echo; echo =$console_number=\$status"
	console_expect "$1" "^=$console_number=[0-9]+\$" >&2
	# The line's end of the command before may come now.
	console_news | sed "/^=$console_number=/,\$d" | sed '/./,$!d' | sed '${/^$/d}'
	return "$(console_news | sed -n "s/^=$console_number=//p")"
}

# console_ends STATUS [SECONDS]
console_ends() {
	local status end=$((SECONDS + ${2:-200} * console_slow))
	while kill -0 "$vm_pid" 2>/dev/null; do
		[ $SECONDS -lt $end ] || console_fails "does not end"
		sleep 0.1
	done
	wait "$vm_pid"; status=$?
	vm_pid=
	exec 7>&-
	[ $status -eq "$1" ] || console_fails "ended with status $status, not $1"
	! grep -q "Sanitizer\|runtime error" "$console_name.err" || console_fails "$(grep -m1 "Sanitizer\|runtime error" "$console_name.err")"
}

# A Debian disk of one's own: debian_disk FILE.  Sets $debian, where mkdebian keeps things.
debian_disk() {
	need mmdebstrap mmdebstrap
	need e2fsprogs mke2fs
	need openssh-client ssh-keygen ssh
	# In a namespace where everybody is root the image cannot be made, so who made the namespace did.
	debian=${debian:-$("$srcdir/scripts/mkdebian")} || skip "no Debian image: scripts/mkdebian needs a mirror of Debian 12"
	export debian
	cp --sparse=always "$debian/debian.img" "$1"
}

# Linux's command line for it.  The kernel's timer check is for machines of silicon,
# and those that have their host to themselves.
debian_append() {
	echo "root=LABEL=root console=ttyS0 quiet no_timer_check"
}

# debian_well: no unit has failed, the kernel has nothing to complain about.
debian_well() {
	local state
	state=$(guest 400 'systemctl is-system-running --wait')
	[ "$state" = running ] || { guest 60 'systemctl --failed; journalctl -b -p err'; console_fails "systemd says: $state"; }
	guest 60 'dmesg | grep -iE "WARNING:|BUG:|Oops|Call Trace|soft lockup|detected stall|I/O error|blocked for more"' >complaints
	[ ! -s complaints ] || { cat complaints; console_fails "the kernel complains"; }
}
