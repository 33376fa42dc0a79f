/*
 * slirp/sandbox.c - what a user-mode network stack keeps.
 *
 * The helper needs the host's network and /etc/resolv.conf, which libslirp
 * looks at again when it has changed; it starts no program and writes no file.
 */
#include "slirp/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

static const int allowed[] = {
	/* sockets */
	SYS_connect, SYS_bind, SYS_listen, SYS_accept, SYS_accept4, SYS_shutdown,
	SYS_recvfrom, SYS_recvmsg, SYS_sendto, SYS_sendmsg, SYS_read, SYS_readv,
	SYS_write, SYS_writev, SYS_getsockname, SYS_getpeername, SYS_getsockopt,
	SYS_setsockopt, SYS_ioctl, SYS_fcntl, SYS_close,
	/* waiting */
	SYS_poll, SYS_ppoll, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait,
	SYS_epoll_pwait2, SYS_clock_gettime, SYS_gettimeofday, SYS_time, SYS_timerfd_settime,
	/* memory, threads' locks, chance */
	SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise,
	SYS_futex, SYS_getrandom, SYS_sched_yield, SYS_sched_getaffinity, SYS_sysinfo, SYS_prlimit64,
	/* /etc/resolv.conf: opened for reading only, by a rule of its own */
	SYS_stat, SYS_fstat, SYS_newfstatat, SYS_lseek,
	/* ends */
	SYS_rt_sigreturn, SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_getpid, SYS_gettid,
	SYS_restart_syscall, SYS_exit, SYS_exit_group,
};

static const struct sandbox_rule rules[] = {
	/* files are only read */
	{ SYS_openat, 0, 1, { { 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY } } },
	/* sockets are the network's; the C library tries AF_UNIX for names of interfaces */
	{ SYS_socket, 0, 1, { { 0, ~0u, AF_INET } } },
	{ SYS_socket, 0, 1, { { 0, ~0u, AF_INET6 } } },
	{ SYS_socket, EAFNOSUPPORT, 1, { { 0, ~0u, AF_UNIX } } },
	/* no code but what is there */
	{ SYS_mmap, 0, 1, { { 2, PROT_EXEC, 0 } } },
	{ SYS_mprotect, 0, 1, { { 2, PROT_EXEC, 0 } } },
	/* its own end */
	{ SYS_tgkill, 0, 1, { { 0, ~0u, SANDBOX_SELF } } },
};

/* resolv.conf, and where it is a link to. */
static const char *const readable[] = { "/etc", "/run", NULL };

static const struct sandbox_limit limits[] = {
	{ RLIMIT_CORE, 0 },
	{ RLIMIT_MEMLOCK, 0 },
	{ RLIMIT_MSGQUEUE, 0 },
	{ RLIMIT_NPROC, 0 },
};

static const struct sandbox_policy policy = {
	.program = "cleave-slirp",
	.measures = SANDBOX_BIT(SANDBOX_PRIVILEGES) | SANDBOX_BIT(SANDBOX_DUMPS) | SANDBOX_BIT(SANDBOX_LIMITS) |
		    SANDBOX_BIT(SANDBOX_LANDLOCK) | SANDBOX_BIT(SANDBOX_CALLS),
	.limit = limits, .nlimits = sizeof(limits) / sizeof(limits[0]),
	.call = allowed, .ncalls = sizeof(allowed) / sizeof(allowed[0]),
	.rule = rules, .nrules = sizeof(rules) / sizeof(rules[0]),
	.readable = readable,
	.network = true,
};

int slirp_sandbox_enter(int keep)
{
	sandbox_close_others(keep, keep + 1);
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}

void slirp_sandbox_settle(struct sandbox *s)
{
	sandbox_apply(&policy, -1, s);
}
