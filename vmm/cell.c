/*
 * vmm/cell.c - makes namespaces and enters them (cell.h).
 *
 * clone(2), user_namespaces(7), pid_namespaces(7), pivot_root(2), setns(2) with a pidfd.
 */
#include "vmm/cell.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/fdpass.h"

/* In the order in which they are asked for: without the first, the others take root's rights. */
static const struct {
	uint64_t flag;
	enum sandbox_measure measure;	/* MEASURES: not worth a line */
} spaces[] = {
	{ CLONE_NEWUSER, SANDBOX_USERS },
	{ CLONE_NEWPID, SANDBOX_PROCESSES },
	{ CLONE_NEWNET, SANDBOX_NETWORK },
	{ CLONE_NEWIPC, SANDBOX_IPC },
	{ CLONE_NEWNS, SANDBOX_FILES },
	{ CLONE_NEWUTS, SANDBOX_MEASURES },
	{ CLONE_NEWCGROUP, SANDBOX_MEASURES },
};
enum { SPACES = sizeof(spaces) / sizeof(spaces[0]) };

static pid_t clone_into(uint64_t flags)
{
	return syscall(SYS_clone, flags | SIGCHLD, 0, NULL, NULL, 0);
}

/* ---- the keeper's side */

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ret = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/* This user is root in there, and nobody else is anybody. */
static int map_users(uid_t uid, gid_t gid)
{
	char line[40];
	int ret = put("/proc/self/setgroups", "deny");

	snprintf(line, sizeof(line), "0 %u 1", uid);
	if (!ret || ret == -ENOENT)
		ret = put("/proc/self/uid_map", line);
	snprintf(line, sizeof(line), "0 %u 1", gid);
	return ret ? ret : put("/proc/self/gid_map", line);
}

/* Something must be mounted over to be left: any directory does. */
static int empty_root(void)
{
	const unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("none", "/tmp", "tmpfs", flags, "size=4k,nr_inodes=4,mode=555") || chdir("/tmp") ||
	    syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/") ||
	    mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY | flags, "size=4k,nr_inodes=4,mode=555"))
		return -errno;
	return 0;
}

/* Ends with the process that made it, and ends with it whatever is in its PID namespace. */
static void keep(void)
{
	static const struct sandbox_policy policy = {
		.program = "cleave-cell",
		.measures = SANDBOX_BIT(SANDBOX_PRIVILEGES) | SANDBOX_BIT(SANDBOX_DUMPS) | SANDBOX_BIT(SANDBOX_LANDLOCK),
	};
	struct sandbox s = { { 0 } };

	syscall(SYS_close_range, 0, ~0u, 0);
	signal(SIGCHLD, SIG_IGN);
	prctl(PR_SET_NAME, "cleave-cell");
	sandbox_apply(&policy, -1, &s);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

/* Says how it went, the users, then the files, and waits until it has been looked at. */
static void keeper(uint64_t flags, uid_t uid, gid_t gid, int sock)
{
	int ret[2] = { 0 };
	char none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);

	if (flags & CLONE_NEWUSER)
		ret[0] = map_users(uid, gid);
	if (flags & CLONE_NEWNS)
		ret[1] = empty_root();
	if (write(sock, ret, sizeof(ret)) != sizeof(ret) || read(sock, &none, 1))
		_exit(1);
	keep();
}

/* ---- the other side */

/* What of them can be had, one after the other: errors into `state`. */
static uint64_t permitted(struct sandbox *state)
{
	uint64_t good = 0;

	for (unsigned i = 0; i < SPACES; i++) {
		pid_t pid = clone_into(good | spaces[i].flag);

		if (!pid)
			_exit(0);
		if (pid > 0) {
			waitpid(pid, NULL, 0);
			good |= spaces[i].flag;
		} else if (spaces[i].measure < SANDBOX_MEASURES) {
			state->state[spaces[i].measure] = -errno;
		}
	}
	return good;
}

/* It does nothing more before `*sock` is closed. */
static int start_keeper(uint64_t flags, pid_t *pid, int *sock, int ret[2])
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int sv[2], error = fdpass_pair(sv);

	if (error)
		return error;
	*pid = clone_into(flags);
	if (!*pid) {
		close(sv[0]);
		keeper(flags, uid, gid, sv[1]);
	}
	error = *pid < 0 ? -errno : 0;
	close(sv[1]);
	*sock = sv[0];
	if (!error && read(sv[0], ret, 2 * sizeof(*ret)) != 2 * sizeof(*ret))
		error = -ECHILD;
	if (error)
		close(sv[0]);
	return error;
}

/* The keeper's namespaces become ours, but for its mounts. */
static int enter(struct cell *c, pid_t pid, uint64_t flags)
{
	int fd = syscall(SYS_pidfd_open, pid, 0), ret = 0;
	char path[40];

	if (fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", pid);
	if (flags & CLONE_NEWNS)
		c->mount_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (setns(fd, flags & ~(uint64_t)CLONE_NEWNS))
		ret = -errno;
	close(fd);
	return ret;
}

static void note(struct cell *c, uint64_t flags, int error)
{
	for (unsigned i = 0; i < SPACES; i++)
		if (spaces[i].measure < SANDBOX_MEASURES && (flags & spaces[i].flag))
			c->state.state[spaces[i].measure] = error ? error : SANDBOX_APPLIED;
}

void cell_make(struct cell *c)
{
	uint64_t flags;
	pid_t pid = -1;
	int said[2] = { 0 }, sock = -1, ret;

	*c = (struct cell){ .mount_fd = -1 };
	ret = 0;
	flags = 0;
	for (unsigned i = 0; i < SPACES; i++)
		flags |= spaces[i].flag;
	if (start_keeper(flags, &pid, &sock, said) < 0) {	/* not all at once: which, then? */
		flags = permitted(&c->state);
		ret = flags ? start_keeper(flags, &pid, &sock, said) : -EPERM;
	}
	if (ret)
		sock = -1;
	else if (said[0])	/* nobody in there is anybody: not even the one who is to enter */
		ret = said[0];
	if (!ret)
		ret = enter(c, pid, flags);
	if (sock >= 0)
		close(sock);
	note(c, flags, ret);
	c->state.state[SANDBOX_FILES] = said[1] ? said[1] : c->state.state[SANDBOX_FILES];
	if ((ret || said[1]) && c->mount_fd >= 0) {
		close(c->mount_fd);
		c->mount_fd = -1;
	}
	if (ret && pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}
