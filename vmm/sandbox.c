/*
 * vmm/sandbox.c - what is known of the sandboxes of a machine's processes (sandbox.h).
 */
#include "vmm/sandbox.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/launcher.h"
#include "vmm/netback.h"
#include "vmm/relay.h"
#include "vmm/supervise.h"
#include "vmm/vm.h"

static enum sandbox_mode mode;
static struct sandbox own;

/* ---- the engine's own: doc/sandbox.md says what each call is for */

static const int allowed[] = {
	/* descriptors that it has */
	SYS_read, SYS_readv, SYS_pread64, SYS_preadv, SYS_preadv2, SYS_write, SYS_writev, SYS_pwrite64, SYS_pwritev, SYS_close, SYS_close_range,
	SYS_lseek, SYS_fstat, SYS_fcntl, SYS_ftruncate, SYS_fallocate, SYS_fsync, SYS_fdatasync, SYS_flock, SYS_dup, SYS_getdents64,
	/* sockets: of the control tool, the debugger, consoles, device models */
	SYS_accept, SYS_accept4, SYS_recvfrom, SYS_recvmsg, SYS_sendto, SYS_sendmsg, SYS_shutdown,
	SYS_getsockopt, SYS_setsockopt, SYS_getsockname, SYS_getpeername,
	/* what a successor is given */
	SYS_memfd_create, SYS_eventfd2, SYS_pidfd_open, SYS_wait4, SYS_waitid,
	/* waiting */
	SYS_poll, SYS_ppoll, SYS_select, SYS_pselect6, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2,
	SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime, SYS_futex, SYS_futex_waitv,
	SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_time, SYS_clock_nanosleep, SYS_nanosleep, SYS_sched_yield, SYS_restart_syscall,
	/* memory */
	SYS_brk, SYS_munmap, SYS_mremap, SYS_madvise, SYS_msync,
	/* threads and their signals */
	SYS_set_robust_list, SYS_rseq, SYS_sched_getaffinity, SYS_gettid, SYS_getpid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid,
	SYS_rt_sigprocmask, SYS_rt_sigaction, SYS_rt_sigreturn, SYS_sigaltstack, SYS_sysinfo, SYS_uname, SYS_getrandom, SYS_getrusage, SYS_times,
	/* files are looked for, and its own are removed */
	SYS_stat, SYS_lstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs, SYS_access, SYS_faccessat, SYS_faccessat2, SYS_readlink, SYS_readlinkat,
	SYS_unlink, SYS_unlinkat, SYS_rmdir,
	/* the end */
	SYS_exit, SYS_exit_group,
};

#define THREAD (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD)

static const struct sandbox_rule rules[] = {
	/* files are only read: executables for an upgrade, /proc/PID/status, the time zone */
	{ SYS_openat, 0, 1, { { 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY } } },
	{ SYS_openat, EACCES, 1, { { 2, O_ACCMODE, O_WRONLY } } },
	{ SYS_openat, EACCES, 1, { { 2, O_ACCMODE, O_RDWR } } },
	/* code is translated into memory that was made for it before the guest ran; threads are no processes */
	{ SYS_mmap, 0, 1, { { 2, PROT_EXEC, 0 } } },
	{ SYS_mprotect, 0, 1, { { 2, PROT_EXEC, 0 } } },
	{ SYS_clone, 0, 1, { { 0, THREAD | CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC, THREAD } } },
	{ SYS_clone3, ENOSYS, 0, { { 0 } } },
	{ SYS_arch_prctl, 0, 1, { { 0, ~0u, ARCH_SET_GS } } },
	/* the pair of which a new device model gets one end */
	{ SYS_socketpair, 0, 1, { { 0, ~0u, AF_UNIX } } },
	/* the KVM; the terminal, but for what would type into it */
	{ SYS_ioctl, 0, 1, { { 1, 0xff00, 0xae00 } } },
	{ SYS_ioctl, 0, 1, { { 1, ~0u, TCGETS } } },
	{ SYS_ioctl, 0, 1, { { 1, ~0u, TCSETS } } },
	{ SYS_ioctl, 0, 1, { { 1, ~0u, TCSETSW } } },
	{ SYS_ioctl, 0, 1, { { 1, ~0u, TCSETSF } } },
	{ SYS_ioctl, 0, 1, { { 1, ~0u, FIONREAD } } },
	{ SYS_ioctl, 0, 1, { { 1, ~0u, FIONBIO } } },
	/* signals: its own threads, the end of a device model, of one that was stopped too */
	{ SYS_tgkill, 0, 1, { { 0, ~0u, SANDBOX_SELF } } },
	{ SYS_kill, 0, 1, { { 1, ~0u, SIGKILL } } },
	{ SYS_kill, 0, 1, { { 1, ~0u, SIGCONT } } },
	{ SYS_kill, 0, 1, { { 1, ~0u, 0 } } },
	{ SYS_prlimit64, 0, 1, { { 0, ~0u, 0 } } },
	/* a thread's name is for the debugger */
	{ SYS_prctl, 0, 1, { { 0, ~0u, 15 /* PR_SET_NAME */ } } },
};

/* The run-time directory and an executable to upgrade to may be another user's. */
static const struct sandbox_policy policy = {
	.program = "cleave",
	.measures = SANDBOX_BIT(SANDBOX_PRIVILEGES) | SANDBOX_BIT(SANDBOX_CALLS),
	.capabilities = 1ull << CAP_DAC_OVERRIDE | 1ull << CAP_DAC_READ_SEARCH,
	.call = allowed, .ncalls = sizeof(allowed) / sizeof(allowed[0]),
	.rule = rules, .nrules = sizeof(rules) / sizeof(rules[0]),
	.stopped = relay_emergency,
};

int vmm_sandbox_enter(char *err, size_t errlen)
{
	if (mode == SANDBOX_OFF)
		return 0;
	sandbox_apply(&policy, -1, &own);
	return vmm_sandbox_judge("cleave", &own, err, errlen);
}

/* ---- all of them */

static bool has_helpers(const struct config *c)
{
	for (unsigned i = 0; i < c->ndevices; i++)
		for (unsigned k = 0; k < c->device[i].nkeys; k++)
			if (c->device[i].key[k].type == KEY_NET && netback_has_helper(c->device[i].key[k].value))
				return true;
	return false;
}

int vmm_sandbox_choose(const struct config *c, char *err, size_t errlen)
{
	int ret = 0;

	mode = c->sandbox;
	if (mode == SANDBOX_OFF || SANDBOX_SANITIZED)
		return 0;
	if (has_helpers(c))
		ret = launcher_start(LAUNCHER_OUTSIDE);
	if (!ret)
		ret = launcher_start(LAUNCHER_CELL);
	if (ret)
		snprintf(err, errlen, "what starts device models cannot be started itself: %s (-o sandbox=off does without)", strerror(-ret));
	return ret;
}

enum sandbox_mode vmm_sandbox_mode(void)
{
	return mode;
}

int vmm_sandbox_judge(const char *program, const struct sandbox *s, char *err, size_t errlen)
{
	char missing[400];

	if (mode != SANDBOX_STRICT || sandbox_complete(s, missing, sizeof(missing)))
		return 0;
	snprintf(err, errlen, "the sandbox of %s is not complete: %s; -o sandbox=on starts without", program, missing);
	return -EPERM;
}

void vmm_sandbox_each(struct vm *vm, sandbox_each_fn *each, void *arg)
{
	each(arg, "cleave", getpid(), &own);
	if (vm->supervise)
		supervise_sandboxes(vm->supervise, each, arg);
}

static void log_one(void *arg, const char *program, pid_t pid, const struct sandbox *s)
{
	const struct vm *vm = arg;
	char missing[400];

	(void)pid;
	if (!sandbox_complete(s, missing, sizeof(missing)))
		fprintf(stderr, "cleave: %s: the sandbox of %s is not complete: %s\n", vm->name, program, missing);
}

void vmm_sandbox_log(struct vm *vm)
{
	if (mode != SANDBOX_OFF)
		vmm_sandbox_each(vm, log_one, vm);
}
