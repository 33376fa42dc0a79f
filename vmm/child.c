/*
 * vmm/child.c - finds, starts and reaps a program (child.h).
 *
 * execveat(2), pidfd_open(2), close_range(2), prctl(2) PR_SET_PDEATHSIG.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/child.h"

/* ---- finding */

int child_open(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && (st.st_mode & 0111))
		return fd;
	close(fd);
	return -EACCES;
}

int child_find(const char *name, char *found, size_t len)
{
	/* from our own directory: a build tree, an installation that was moved or unpacked elsewhere */
	static const char *const near[] = { "", "../libexec/" };
	char self[4096], there[sizeof(self) + 64];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	int fd;

	self[n > 0 ? n : 0] = 0;
	slash = strrchr(self, '/');
	for (unsigned i = 0; slash && i < sizeof(near) / sizeof(near[0]); i++) {
		snprintf(there, sizeof(there), "%.*s/%s%s", (int)(slash - self), self, near[i], name);
		fd = child_open(there);
		if (fd >= 0)
			goto out;
	}
	snprintf(there, sizeof(there), CLEAVE_LIBEXECDIR "/%s", name);
	fd = child_open(there);
out:
	if (found)
		snprintf(found, len, "%s", there);
	return fd;
}

/* ---- starting */

/* Out of the way of the numbers that the child will have. */
static int aside(int fd)
{
	fd = fcntl(fd, F_DUPFD_CLOEXEC, CHILD_FD + CHILD_FDS);
	if (fd < 0)
		_exit(126);
	return fd;
}

/* It may run in the parent's memory: only async-signal-safe calls, and nothing of the parent's is written to. */
void child_become(int program, char *const argv[], const int *fd, unsigned nfds, pid_t parent)
{
	int null = open("/dev/null", O_RDWR), high[CHILD_FDS];
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(126);
	setsid();
	sigemptyset(&none);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(null, 0) < 0 || dup2(null, 1) < 0)
		_exit(126);
	program = aside(program);
	for (unsigned i = 0; i < nfds; i++)
		high[i] = aside(fd[i]);
	for (unsigned i = 0; i < nfds; i++)
		if (dup2(high[i], CHILD_FD + i) < 0)
			_exit(126);
	/* Everything above is gone at exec. */
	syscall(SYS_close_range, CHILD_FD + nfds, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
	execveat(program, "", argv, environ, AT_EMPTY_PATH);
	dprintf(2, "cleave: cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/*
 * vfork(): fork() would mark all of this process's own memory to be copied, and
 * vCPUs would pay for it, each time that a device model is succeeded.
 */
static pid_t beget(int program, char *const argv[], const int *fd, unsigned nfds)
{
	pid_t parent = getpid(), pid = vfork();

	if (pid == 0)
		child_become(program, argv, fd, nfds, parent);
	return pid < 0 ? -errno : pid;
}

int child_spawn(struct child *c, enum launcher_place place, int program, char *const argv[], const int *fd, unsigned nfds)
{
	sigset_t all, old;
	pid_t pid;

	*c = (struct child){ .pidfd = -1 };
	if (nfds > CHILD_FDS)
		return -EINVAL;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);	/* no handler of ours runs in the child */
	pid = launcher_there(place) ? launcher_spawn(place, program, argv, fd, nfds) : beget(program, argv, fd, nfds);
	sigprocmask(SIG_SETMASK, &old, NULL);
	if (pid < 0)
		return pid;
	c->pid = pid;
	c->pidfd = syscall(SYS_pidfd_open, c->pid, 0);
	return c->pidfd < 0 ? -errno : 0;
}

/* ---- ending */

int child_reap(struct child *c, int ms, bool kill_it, char *how, size_t n)
{
	struct pollfd p = { .fd = c->pidfd, .events = POLLIN };
	int status = 0;

	snprintf(how, n, "does not end");
	if (c->pid <= 0)
		return 0;
	if (c->pidfd < 0 || poll(&p, 1, ms) < 1) {
		if (!kill_it)
			return -1;
		kill(c->pid, SIGKILL);
	}
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status))
		snprintf(how, n, "was killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(how, n, "ended with status %d", WEXITSTATUS(status));
	if (c->pidfd >= 0)
		close(c->pidfd);
	*c = (struct child){ .pid = 0, .pidfd = -1 };
	return status;
}
