/*
 * ipc/sandbox.c - gives up privileges: capabilities(7), namespaces(7), pivot_root(2),
 * landlock(7), seccomp(2), getrlimit(2), prctl(2).
 *
 * Knows how; what a program may keep is its own table.
 */
#include "ipc/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "config.h"

#ifdef HAVE_SECCOMP
#include <seccomp.h>
#endif

const char *const sandbox_modes[SANDBOX_MODES] = {
	[SANDBOX_ON] = "on",
	[SANDBOX_STRICT] = "strict",
	[SANDBOX_OFF] = "off",
};

/* ---- descriptors */

void sandbox_close_others(int first, int last)
{
	if (first > 3)
		syscall(SYS_close_range, 3, first - 1, 0);
	syscall(SYS_close_range, last < 2 ? 3 : last + 1, ~0u, 0);
}

/* ---- files */

/* A directory that has been removed: nothing can be made in it. */
static int enter_removed(void)
{
	char path[] = "/tmp/cleave-empty.XXXXXX";
	int ret;

	if (!mkdtemp(path))
		return -errno;
	ret = chdir(path) ? -errno : 0;
	if (rmdir(path) && !ret)
		ret = -errno;
	if (!ret && chroot("."))
		ret = -errno;
	return ret || !chdir("/") ? ret : -errno;
}

static int give_up_files(int cell)
{
	int ret;

	if (SANDBOX_SANITIZED)
		return SANDBOX_SANITIZER;
	ret = cell < 0 ? enter_removed() : setns(cell, CLONE_NEWNS) ? -errno : 0;
	return ret ? ret : SANDBOX_APPLIED;
}

/* ---- privileges */

void sandbox_bound(uint64_t keep)
{
	for (int cap = 0, now; (now = prctl(PR_CAPBSET_READ, cap, 0, 0, 0)) >= 0; cap++)
		if (now && !(keep >> cap & 1))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

static int give_up_privileges(uint64_t keep)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct now[2];

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	/* Who may not do this has none that execve could bring back: no new privileges. */
	sandbox_bound(keep);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capget, &head, now))
		return -errno;
	for (unsigned i = 0; i < 2; i++) {
		uint32_t kept = keep >> 32 * i;

		now[i].effective &= kept;
		now[i].permitted &= kept;
		now[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &head, now))
		return -errno;
	return SANDBOX_APPLIED;
}

static int give_up_dumps(void)
{
	/* The leak checker traces its own process. */
	if (SANDBOX_SANITIZED)
		return SANDBOX_SANITIZER;
	return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) ? -errno : SANDBOX_APPLIED;
}

int sandbox_limit(const struct sandbox_limit *l, unsigned n)
{
	int ret = 0;

	for (unsigned i = 0; i < n; i++) {
		struct rlimit now, r = { .rlim_cur = l[i].most, .rlim_max = l[i].most };

		if (getrlimit(l[i].resource, &now))
			return -errno;
		if (now.rlim_max < r.rlim_max)
			r.rlim_cur = r.rlim_max = now.rlim_max;
		if (setrlimit(l[i].resource, &r))
			ret = -errno;
	}
	return ret;
}

/* ---- Landlock */

/*
 * The rights that each version of the interface added, as bits: the C library's
 * headers may be older than the kernel.
 */
static const struct {
	int version;
	uint64_t files, network, scope;
} landlock_rights[] = {
	{ 1, 0x1fff, 0, 0 },
	{ 2, 1ull << 13, 0, 0 },	/* refer */
	{ 3, 1ull << 14, 0, 0 },	/* truncate */
	{ 4, 0, 3, 0 },			/* TCP: bind, connect */
	{ 5, 1ull << 15, 0, 0 },	/* ioctl on devices */
	{ 6, 0, 0, 3 },			/* abstract UNIX sockets, signals */
};

/* What is not there need not be read. */
static int grant_reading(int set, const char *const *dir)
{
	enum { READ_FILE = 1 << 2 };

	for (; dir && *dir; dir++) {
		struct landlock_path_beneath_attr rule = { .allowed_access = READ_FILE, .parent_fd = open(*dir, O_PATH | O_CLOEXEC) };
		int ret = 0;

		if (rule.parent_fd < 0)
			continue;
		if (syscall(SYS_landlock_add_rule, set, LANDLOCK_RULE_PATH_BENEATH, &rule, 0))
			ret = -errno;
		close(rule.parent_fd);
		if (ret)
			return ret;
	}
	return 0;
}

/* A set that handles every right and grants next to none. */
static int give_up_landlock(const struct sandbox_policy *p)
{
	struct { uint64_t files, network, scope; } none = { 0 };
	int version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
	int fd, ret;

	/* The leak checker reads /proc. */
	if (SANDBOX_SANITIZED)
		return SANDBOX_SANITIZER;
	if (version < 0)
		return -errno;
	for (unsigned i = 0; i < sizeof(landlock_rights) / sizeof(landlock_rights[0]); i++) {
		if (landlock_rights[i].version > version)
			break;
		none.files |= landlock_rights[i].files;
		none.network |= p->network ? 0 : landlock_rights[i].network;
		none.scope |= landlock_rights[i].scope;
	}
	fd = syscall(SYS_landlock_create_ruleset, &none, size, 0);
	if (fd < 0)
		return -errno;
	ret = grant_reading(fd, p->readable);
	if (!ret && syscall(SYS_landlock_restrict_self, fd, 0))
		ret = -errno;
	close(fd);
	return ret ? ret : SANDBOX_APPLIED;
}

/* ---- system calls */

#ifdef HAVE_SECCOMP
static const struct sandbox_policy *filtered;

/*
 * The call was not made.  Says which it was, then ends by the same signal: while
 * that is blocked, as it is here, another forbidden call kills the process.
 */
static void on_forbidden(int sig, siginfo_t *info, void *context)
{
	(void)sig, (void)context;
	dprintf(STDERR_FILENO, "%s: tried system call %d, which its sandbox forbids\n", filtered->program, info->si_syscall);
	if (filtered->stopped)
		filtered->stopped(info->si_syscall);
	syscall(SYS_kexec_load, 0, 0, NULL, 0);
	_exit(128 + SIGSYS);
}

static int add_rule(scmp_filter_ctx ctx, const struct sandbox_rule *r)
{
	struct scmp_arg_cmp cmp[sizeof(r->test) / sizeof(r->test[0])];

	for (unsigned i = 0; i < r->tests; i++)
		cmp[i] = (struct scmp_arg_cmp){
			.arg = r->test[i].arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = r->test[i].mask,
			.datum_b = r->test[i].value == SANDBOX_SELF ? (uint64_t)getpid() : r->test[i].value,
		};
	return seccomp_rule_add_array(ctx, r->error ? SCMP_ACT_ERRNO(r->error) : SCMP_ACT_ALLOW, r->call, r->tests, cmp);
}

static int load_filter(const struct sandbox_policy *p)
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_TRAP);
	int ret = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS) : -ENOMEM;

	for (unsigned i = 0; i < p->ncalls && !ret; i++)
		ret = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, p->call[i], 0);
	for (unsigned i = 0; i < p->nrules && !ret; i++)
		ret = add_rule(ctx, &p->rule[i]);
	if (!ret)
		ret = seccomp_load(ctx);
	if (ctx)
		seccomp_release(ctx);
	return ret;
}

static int give_up_calls(const struct sandbox_policy *p)
{
	struct sigaction sa = { .sa_sigaction = on_forbidden, .sa_flags = SA_SIGINFO };
	int ret;

	if (SANDBOX_SANITIZED)
		return SANDBOX_SANITIZER;
	filtered = p;
	sigaction(SIGSYS, &sa, NULL);
	ret = load_filter(p);
	return ret ? ret : SANDBOX_APPLIED;
}

const char *sandbox_call_name(int call, char *buf, size_t n)
{
	char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, call);

	snprintf(buf, n, name ? "%s" : "%.0s%d", name ? name : "", call);
	free(name);
	return buf;
}
#else
static int give_up_calls(const struct sandbox_policy *p)
{
	(void)p;
	return SANDBOX_NOT_BUILT;
}

const char *sandbox_call_name(int call, char *buf, size_t n)
{
	snprintf(buf, n, "%d", call);
	return buf;
}
#endif

/* ---- all of it */

static int take(const struct sandbox_policy *p, enum sandbox_measure m, int cell)
{
	int ret;

	switch (m) {
	case SANDBOX_FILES:
		return give_up_files(cell);
	case SANDBOX_PRIVILEGES:
		return give_up_privileges(p->capabilities);
	case SANDBOX_DUMPS:
		return give_up_dumps();
	case SANDBOX_LIMITS:
		ret = sandbox_limit(p->limit, p->nlimits);
		return ret ? ret : SANDBOX_APPLIED;
	case SANDBOX_LANDLOCK:
		return give_up_landlock(p);
	case SANDBOX_CALLS:
		return give_up_calls(p);
	default:
		return SANDBOX_NONE;
	}
}

void sandbox_apply(const struct sandbox_policy *p, int cell, struct sandbox *s)
{
	for (enum sandbox_measure m = SANDBOX_FILES; m < SANDBOX_MEASURES; m++)
		if (p->measures & SANDBOX_BIT(m)) {
			if (m != SANDBOX_FILES && cell >= 0)
				close(cell), cell = -1;
			s->state[m] = take(p, m, cell);
		}
}

/* ---- words */

int sandbox_print(const struct sandbox *s, char *buf, size_t n)
{
	size_t used = 0;

	for (unsigned m = 0; m < SANDBOX_MEASURES && used < n; m++)
		used += snprintf(buf + used, n - used, "%s%d", m ? " " : "", s->state[m]);
	return used < n ? 0 : -EMSGSIZE;
}

void sandbox_scan(struct sandbox *s, const char *text)
{
	char *end;

	*s = (struct sandbox){ { 0 } };
	for (unsigned m = 0; m < SANDBOX_MEASURES; m++, text = end) {
		s->state[m] = strtol(text, &end, 10);
		if (end == text)
			return;
	}
}

const char *sandbox_name(enum sandbox_measure m)
{
	static const char *const name[SANDBOX_MEASURES] = {
		[SANDBOX_USERS] = "user namespace",
		[SANDBOX_PROCESSES] = "PID namespace",
		[SANDBOX_NETWORK] = "network namespace",
		[SANDBOX_IPC] = "IPC namespace",
		[SANDBOX_FILES] = "empty file system",
		[SANDBOX_PRIVILEGES] = "no privileges",
		[SANDBOX_DUMPS] = "no core dumps",
		[SANDBOX_LIMITS] = "resource limits",
		[SANDBOX_LANDLOCK] = "Landlock",
		[SANDBOX_CALLS] = "system calls",
	};

	return m < SANDBOX_MEASURES ? name[m] : "?";
}

const char *sandbox_words(int32_t state, char *buf, size_t n)
{
	const char *why = state == SANDBOX_NOT_BUILT ? "this build has no libseccomp (Debian package libseccomp-dev)" :
			  state == SANDBOX_SANITIZER ? "a sanitizer's build" :
			  state == SANDBOX_SWITCHED_OFF ? "-o sandbox=off" :
			  state < 0 && state > -4096 ? strerror(-state) : "?";

	if (state > 0)
		snprintf(buf, n, "applied");
	else
		snprintf(buf, n, "not applied: %s", why);
	return buf;
}

bool sandbox_complete(const struct sandbox *s, char *buf, size_t n)
{
	size_t used = 0;
	char words[160];

	*buf = 0;
	for (enum sandbox_measure m = 0; m < SANDBOX_MEASURES; m++) {
		if (s->state[m] >= 0)
			continue;
		sandbox_words(s->state[m], words, sizeof(words));
		used += snprintf(buf + used, n - used, "%s%s (%s)", used ? ", " : "", sandbox_name(m), words + strlen("not applied: "));
		if (used >= n)
			break;
	}
	return !*buf;
}
