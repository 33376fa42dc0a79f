/*
 * tests/system/escape.c - a cleaved that tries to break out of its sandbox.
 *
 * Linked with the daemon's own main and libdevmodel_faults.a.  When the guest's
 * first request has been taken, which is in the middle of its work, it tries
 * each thing that $ESCAPE names, or all, and says on standard error for each
 *
 *	escape: NAME: got through | failed: ERROR | forbidden
 *
 * A forbidden system call would end it: the jump out of the handler is all
 * that this program does not have in common with the daemon.  With
 * ESCAPE_DIES it ends there as any other.
 *
 * $ESCAPE_DIR has a file `secret`, a listening socket `socket`, and the name of
 * an abstract one; somebody listens on port $ESCAPE_PORT; the engine's process
 * has the number $ESCAPE_ENGINE.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devmodel/sandbox.h"
#include "devmodel/txn.h"

static const char *dir;
static pid_t parent;
static sigjmp_buf back;

/* ---- attempts: 0, it got through; -1, errno says why not */

static int open_in(const char *name, int flags)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, flags | O_CLOEXEC, 0600);
	return fd < 0 ? -1 : close(fd);
}

static int read_file(void)
{
	return open_in("secret", O_RDONLY);
}

static int write_file(void)
{
	return open_in("secret", O_WRONLY);
}

static int make_file(void)
{
	return open_in("made", O_RDWR | O_CREAT | O_TRUNC);
}

static int make_dir(void)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/dir.%d", dir, (int)getpid());
	return mkdir(path, 0700) ? -1 : rmdir(path);
}

static int read_proc(void)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -1 : close(fd);
}

/* An empty root has nothing to list. */
static int list_root(void)
{
	DIR *d = opendir("/");
	struct dirent *e;
	unsigned n = 0;

	if (!d)
		return -1;
	while ((e = readdir(d)))
		n += *e->d_name != '.';
	closedir(d);
	errno = ENOENT;
	return n ? 0 : -1;
}

static int reach(int family, const void *addr, socklen_t n)
{
	int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -1;
	ret = connect(fd, addr, n);
	close(fd);
	return ret;
}

static int reach_inet(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	const char *port = getenv("ESCAPE_PORT");

	to.sin_port = htons(port ? atoi(port) : 0);
	return reach(AF_INET, &to, sizeof(to));
}

static int reach_unix(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	snprintf(to.sun_path, sizeof(to.sun_path), "%s/socket", dir);
	return reach(AF_UNIX, &to, sizeof(to));
}

static int reach_abstract(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int n = snprintf(to.sun_path + 1, sizeof(to.sun_path) - 1, "%s", dir);

	return reach(AF_UNIX, &to, offsetof(struct sockaddr_un, sun_path) + 1 + n);
}

static int bind_inet(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -1;
	ret = bind(fd, (struct sockaddr *)&at, sizeof(at)) || listen(fd, 1) ? -1 : 0;
	close(fd);
	return ret;
}

/* And lets go of it: a tracer that does not listen would hold it at its next signal. */
static int trace_parent(void)
{
	pid_t pid = parent;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL))
		return -1;
	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) || waitpid(pid, NULL, __WALL) < 0)
		return -1;
	return ptrace(PTRACE_DETACH, pid, NULL, NULL);
}

static int read_parent(void)
{
	char byte;
	struct iovec to = { &byte, 1 }, from = { (void *)&back, 1 };

	/* It has nothing at that address: a fault is as good as a byte. */
	return process_vm_readv(parent, &to, 1, &from, 1, 0) < 0 && errno != EFAULT ? -1 : 0;
}

static int signal_parent(void)
{
	return kill(parent, SIGCONT);
}

/* The first process that it sees. */
static int trace_first(void)
{
	if (ptrace(PTRACE_SEIZE, 1, NULL, NULL))
		return -1;
	return ptrace(PTRACE_INTERRUPT, 1, NULL, NULL) || waitpid(1, NULL, __WALL) < 0 ? -1 : (int)ptrace(PTRACE_DETACH, 1, NULL, NULL);
}

static int fork_it(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	return pid < 0 || waitpid(pid, NULL, 0) < 0 ? -1 : 0;
}

static int fork_raw(void)
{
	pid_t pid = syscall(SYS_fork);

	if (!pid)
		_exit(0);
	return pid < 0 || waitpid(pid, NULL, 0) < 0 ? -1 : 0;
}

/* In a child, so that this process goes on; one that cannot have a child cannot become another either. */
static int exec_it(void)
{
	char *argv[] = { (char *)"true", NULL };
	int status = 0;
	pid_t pid = vfork();

	if (!pid) {
		execve("/bin/true", argv, argv + 1);
		_exit(errno);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -1;
	errno = WEXITSTATUS(status);
	return status ? -1 : 0;
}

/* The call itself: what becomes another program never comes back. */
static int exec_nothing(void)
{
	return syscall(SYS_execve, "", NULL, NULL) && errno != ENOENT ? -1 : 0;
}

static int mount_it(void)
{
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) && unshare(CLONE_NEWNS))
		return -1;
	return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int run_code(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? -1 : munmap(p, 4096);
}

static int make_executable(void)
{
	static char page[8192] __attribute__((aligned(4096)));

	return mprotect(page, 4096, PROT_READ | PROT_EXEC) || mprotect(page, 4096, PROT_READ | PROT_WRITE) ? -1 : 0;
}

static int message_queue(void)
{
	int q = msgget(IPC_PRIVATE, 0600);

	return q < 0 ? -1 : msgctl(q, IPC_RMID, NULL);
}

static int userfault(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */);

	return fd < 0 ? -1 : close(fd);
}

static int io_uring(void)
{
	uint8_t params[120] = { 0 };
	int fd = syscall(SYS_io_uring_setup, 1, params);

	return fd < 0 ? -1 : close(fd);
}

static int keys(void)
{
	return syscall(SYS_keyctl, 0 /* KEYCTL_GET_KEYRING_ID */, -3, 1) < 0 ? -1 : 0;
}

static int change_root(void)
{
	return syscall(SYS_setresuid, 0, 0, 0) ? -1 : 0;
}

static const struct attempt {
	const char *name;
	int (*try)(void);
} attempts[] = {
	{ "read-file", read_file }, { "write-file", write_file }, { "make-file", make_file }, { "make-dir", make_dir },
	{ "read-proc", read_proc }, { "list-root", list_root },
	{ "inet", reach_inet }, { "inet-listen", bind_inet }, { "unix", reach_unix }, { "abstract", reach_abstract },
	{ "ptrace", trace_parent }, { "ptrace-first", trace_first }, { "read-parent", read_parent }, { "signal", signal_parent },
	{ "fork", fork_it }, { "fork-raw", fork_raw }, { "exec", exec_it }, { "exec-call", exec_nothing },
	{ "exec-memory", run_code }, { "make-executable", make_executable },
	{ "message-queue", message_queue }, { "userfaultfd", userfault }, { "io-uring", io_uring }, { "keyring", keys },
	{ "root", change_root }, { "mount", mount_it },		/* the last: it changes what the process sees */
};

/* ---- the hook */

static void on_stopped(int call)
{
	(void)call;
	siglongjmp(back, 1);
}

static void try_one(const struct attempt *a)
{
	if (!getenv("ESCAPE_DIES"))
		devmodel_sandbox_stopped = on_stopped;
	errno = 0;
	if (sigsetjmp(back, 1))
		dprintf(STDERR_FILENO, "escape: %s: forbidden\n", a->name);
	else if (!a->try())
		dprintf(STDERR_FILENO, "escape: %s: got through\n", a->name);
	else
		dprintf(STDERR_FILENO, "escape: %s: failed: %s\n", a->name, strerror(errno));
}

static void at_step(const char *at)
{
	const char *name = getenv("ESCAPE");

	if (strcmp(at, "request.taken"))
		return;
	txn_step = NULL;
	for (unsigned i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++)
		if (!name || !strcmp(name, attempts[i].name))
			try_one(&attempts[i]);
	dprintf(STDERR_FILENO, "escape: done\n");
}

__attribute__((constructor)) static void choose(void)
{
	const char *engine = getenv("ESCAPE_ENGINE");

	dir = getenv("ESCAPE_DIR");
	parent = engine ? atoi(engine) : getppid();
	if (dir)
		txn_step = at_step;
}
