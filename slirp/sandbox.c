/*
 * slirp/sandbox.c - gives up privileges: prctl(2), close_range(2), seccomp(2).
 *
 * The helper needs the host's network and /etc/resolv.conf, which libslirp
 * looks at again when it has changed; it starts no program and writes no file.
 */
#include "slirp/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "config.h"

int sandbox_enter(int keep)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
		return -errno;
	if (keep > 3)
		syscall(SYS_close_range, 3, keep - 1, 0);
	syscall(SYS_close_range, keep + 2, ~0u, 0);
	return 0;
}

/* A sanitizer's run-time makes calls of its own. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#undef HAVE_SECCOMP
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#undef HAVE_SECCOMP
#endif
#endif

#ifdef HAVE_SECCOMP
#include <seccomp.h>

static const int allowed[] = {
	/* sockets */
	SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen), SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(shutdown),
	SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(read), SCMP_SYS(readv),
	SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt), SCMP_SYS(ioctl), SCMP_SYS(fcntl), SCMP_SYS(close),
	/* waiting */
	SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2), SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time), SCMP_SYS(timerfd_settime),
	/* memory, threads' locks, chance */
	SCMP_SYS(brk), SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(mprotect),
	SCMP_SYS(futex), SCMP_SYS(getrandom), SCMP_SYS(sched_yield), SCMP_SYS(sched_getaffinity), SCMP_SYS(sysinfo), SCMP_SYS(prlimit64),
	/* /etc/resolv.conf: opened for reading only, by a rule of its own */
	SCMP_SYS(stat), SCMP_SYS(fstat), SCMP_SYS(newfstatat), SCMP_SYS(lseek),
	/* ends */
	SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(getpid), SCMP_SYS(gettid),
	SCMP_SYS(tgkill), SCMP_SYS(restart_syscall), SCMP_SYS(exit), SCMP_SYS(exit_group),
};

/* One call under a condition on one of its arguments. */
static const struct special {
	int call;
	uint32_t action;
	struct scmp_arg_cmp when;
} special[] = {
	/* files are only read */
	{ SCMP_SYS(openat), SCMP_ACT_ALLOW,
	  { .arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = O_ACCMODE | O_CREAT | O_TRUNC, .datum_b = O_RDONLY } },
	/* sockets are the network's; the C library tries AF_UNIX for names of interfaces */
	{ SCMP_SYS(socket), SCMP_ACT_ALLOW, { .arg = 0, .op = SCMP_CMP_EQ, .datum_a = AF_INET } },
	{ SCMP_SYS(socket), SCMP_ACT_ALLOW, { .arg = 0, .op = SCMP_CMP_EQ, .datum_a = AF_INET6 } },
	{ SCMP_SYS(socket), SCMP_ACT_ERRNO(EAFNOSUPPORT), { .arg = 0, .op = SCMP_CMP_LT, .datum_a = AF_INET } },
};

int sandbox_filter(void)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int ret = ctx ? 0 : -ENOMEM;

	for (unsigned i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0);
	for (unsigned i = 0; i < sizeof(special) / sizeof(special[0]) && !ret; i++)
		ret = seccomp_rule_add_array(ctx, special[i].action, special[i].call, 1, &special[i].when);
	if (!ret)
		ret = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return ret;
}
#else
int sandbox_filter(void)
{
	return 0;
}
#endif
