/*
 * devmodel/sandbox.c - what a device model keeps.
 *
 * What arrives over the socket is all that this process will ever have: it
 * opens nothing, connects to nobody, starts nothing.  doc/sandbox.md says what
 * each call is for.
 */
#include "devmodel/sandbox.h"

#include <errno.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static const int allowed[] = {
	/* descriptors that it has */
	SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_preadv2, SYS_write, SYS_writev, SYS_pwrite64, SYS_pwritev, SYS_pwritev2,
	SYS_close, SYS_fcntl, SYS_lseek,
	SYS_fstat, SYS_fstatfs, SYS_ftruncate, SYS_fallocate, SYS_fdatasync, SYS_fsync,
	SYS_recvmsg, SYS_sendmsg, SYS_recvfrom, SYS_sendto,
	/* waiting */
	SYS_poll, SYS_ppoll, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2,
	SYS_eventfd2, SYS_pipe2, SYS_timerfd_create, SYS_timerfd_settime, SYS_futex, SYS_futex_waitv,
	SYS_clock_gettime, SYS_gettimeofday, SYS_time, SYS_clock_nanosleep, SYS_nanosleep, SYS_sched_yield, SYS_restart_syscall,
	/* memory */
	SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise,
	/* workers */
	SYS_set_robust_list, SYS_rseq, SYS_sched_getaffinity, SYS_gettid, SYS_getpid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid,
	SYS_rt_sigprocmask, SYS_rt_sigreturn,
	SYS_sysinfo, SYS_getrandom,
	/* the end */
	SYS_exit, SYS_exit_group,
};

#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

static const struct sandbox_rule rules[] = {
	/* memory is never executable, and threads are no processes */
	{ SYS_mmap, 0, 1, { { 2, PROT_EXEC, 0 } } },
	{ SYS_mprotect, 0, 1, { { 2, PROT_EXEC, 0 } } },
	{ SYS_clone, 0, 1, { { 0, THREAD | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC, THREAD } } },
	/* images and taps */
	{ SYS_ioctl, 0, 1, { { 1, ~0u, BLKGETSIZE64 } } },
	{ SYS_ioctl, 0, 1, { { 1, ~0u, BLKSSZGET } } },
	{ SYS_ioctl, 0, 1, { { 1, ~0u, BLKDISCARD } } },
	{ SYS_ioctl, 0, 1, { { 1, ~0u, BLKZEROOUT } } },
	{ SYS_ioctl, 0, 1, { { 1, ~0u, TUNSETOFFLOAD } } },
	/* of a descriptor: there is no name to look up */
	{ SYS_newfstatat, 0, 1, { { 3, ~0u, 0x1000 /* AT_EMPTY_PATH */ } } },
	{ SYS_statx, 0, 1, { { 2, 0x1000, 0x1000 } } },
	/* its own end, by abort() and RLIMIT_NPROC */
	{ SYS_tgkill, 0, 1, { { 0, ~0u, SANDBOX_SELF } } },
	{ SYS_prlimit64, 0, 1, { { 0, ~0u, 0 } } },
	/* the C library asks and goes on without: threads by clone(), processors by their mask */
	{ SYS_clone3, ENOSYS, 0, { { 0 } } },
	{ SYS_openat, EACCES, 0, { { 0 } } },
	{ SYS_open, EACCES, 0, { { 0 } } },
	{ SYS_access, EACCES, 0, { { 0 } } },
	{ SYS_faccessat, EACCES, 0, { { 0 } } },
	{ SYS_faccessat2, EACCES, 0, { { 0 } } },
	{ SYS_readlink, EACCES, 0, { { 0 } } },
	{ SYS_readlinkat, EACCES, 0, { { 0 } } },
	{ SYS_rt_sigaction, EPERM, 0, { { 0 } } },
	{ SYS_prctl, EPERM, 0, { { 0 } } },
	{ SYS_ioctl, ENOTTY, 1, { { 1, ~0u, 0x5401 /* TCGETS */ } } },
};

/* Descriptors: what one message can bring, and its own. */
static const struct sandbox_limit limits[] = {
	{ RLIMIT_NOFILE, 256 },
	{ RLIMIT_CORE, 0 },
	{ RLIMIT_MEMLOCK, 0 },
	{ RLIMIT_MSGQUEUE, 0 },
};

static uint32_t *last_words;

#ifdef CLEAVE_FAULTS
void (*devmodel_sandbox_stopped)(int call);
#endif

static void on_stopped(int call)
{
#ifdef CLEAVE_FAULTS
	if (devmodel_sandbox_stopped)
		devmodel_sandbox_stopped(call);
#endif
	if (last_words)
		*last_words = (uint32_t)call + 1;
}

static struct sandbox_policy policy = {
	.program = "cleaved",
	.measures = SANDBOX_BIT(SANDBOX_FILES) | SANDBOX_BIT(SANDBOX_PRIVILEGES) | SANDBOX_BIT(SANDBOX_DUMPS) |
		    SANDBOX_BIT(SANDBOX_LIMITS) | SANDBOX_BIT(SANDBOX_LANDLOCK) | SANDBOX_BIT(SANDBOX_CALLS),
	.limit = limits, .nlimits = sizeof(limits) / sizeof(limits[0]),
	.call = allowed, .ncalls = sizeof(allowed) / sizeof(allowed[0]),
	.rule = rules, .nrules = sizeof(rules) / sizeof(rules[0]),
	.stopped = on_stopped,
};

/* A test lets one measure stand alone. */
static unsigned measures(void)
{
#ifdef CLEAVE_FAULTS
	const char *only = getenv("CLEAVE_SANDBOX_ONLY");

	if (only)
		return strtoul(only, NULL, 0);
#endif
	return policy.measures;
}

int devmodel_sandbox_enter(int sock, int cell, bool on, struct sandbox *s)
{
	*s = (struct sandbox){ { 0 } };
	policy.measures = on ? measures() : 0;
	sandbox_close_others(sock, cell < 0 ? sock : cell);
	/* An engine that is dead already shows as the end of the socket. */
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	sandbox_apply(&policy, cell, s);
	return 0;
}

void devmodel_sandbox_settle(void)
{
	static const struct sandbox_limit threads = { RLIMIT_NPROC, 0 };

	if (!SANDBOX_SANITIZED && policy.measures & SANDBOX_BIT(SANDBOX_LIMITS))
		sandbox_limit(&threads, 1);
}

void devmodel_sandbox_last_words(uint32_t *at)
{
	last_words = at;
}
