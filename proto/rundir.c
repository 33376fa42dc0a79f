/*
 * proto/rundir.c - run-time directories of machines.  Knows nothing of what is
 * said over the sockets in them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/rundir.h"

static int base(char *path, size_t n, char *err, size_t errlen)
{
	const char *set = getenv("CLEAVE_RUNTIME_DIR"), *xdg = getenv("XDG_RUNTIME_DIR");
	int len;

	if (set && *set)
		len = snprintf(path, n, "%s", set);
	else if (geteuid() == 0)
		len = snprintf(path, n, "/run/cleave");
	else if (xdg && *xdg)
		len = snprintf(path, n, "%s/cleave", xdg);
	else
		len = snprintf(path, n, "/tmp/cleave-%u", (unsigned)geteuid());
	if (len < (int)n)
		return 0;
	snprintf(err, errlen, "the run-time directory's name is too long (CLEAVE_RUNTIME_DIR, XDG_RUNTIME_DIR)");
	return -ENAMETOOLONG;
}

/* Ours alone: a directory that another user could write to, or swap, is no place for a control socket.  `shut`: bits that must be 0. */
static int make_private(const char *path, mode_t shut, char *err, size_t errlen)
{
	struct stat st;
	int ret;

	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		ret = -errno;
		snprintf(err, errlen, "cannot make %s: %s", path, strerror(errno));
		return ret;
	}
	if (lstat(path, &st) < 0) {
		ret = -errno;
		snprintf(err, errlen, "cannot use %s: %s", path, strerror(errno));
		return ret;
	}
	if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & shut)) {
		snprintf(err, errlen, "cannot use %s: not a directory of this user's own, closed to others (mode %o)", path, 0777 & ~shut);
		return -EPERM;
	}
	return 0;
}

int rundir_path(const char *name, char *path, size_t n, char *err, size_t errlen)
{
	char top[RUNDIR_PATH];
	int ret = base(top, sizeof(top), err, errlen);

	if (ret)
		return ret;
	if (!*name || strchr(name, '/') || *name == '.') {
		snprintf(err, errlen, "%.60s is no name for a machine", name);
		return -EINVAL;
	}
	if (snprintf(path, n, "%s/%s", top, name) < (int)n)
		return 0;
	snprintf(err, errlen, "the run-time directory's name is too long: %.80s...", top);
	return -ENAMETOOLONG;
}

int rundir_file(const char *dir, const char *file, char *path, size_t n, char *err, size_t errlen)
{
	if (snprintf(path, n, "%s/%s", dir, file) < (int)n)
		return 0;
	snprintf(err, errlen, "%.80s...: a socket's name may have %zu bytes: choose a shorter name or CLEAVE_RUNTIME_DIR", dir, n - 1);
	return -ENAMETOOLONG;
}

static pid_t read_pid(int fd)
{
	char text[16] = "";

	return pread(fd, text, sizeof(text) - 1, 0) > 0 ? atoi(text) : 0;
}

/*
 * The file may be removed by its last owner between our open and our lock: then
 * we hold the lock of a file that nobody else will find, and must look again.
 */
static int take_lock(const char *path, pid_t *holder)
{
	for (;;) {
		int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		struct stat a, b;
		int ret;

		if (fd < 0)
			return -errno;
		if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
			ret = errno == EWOULDBLOCK ? -EBUSY : -errno;
			*holder = read_pid(fd);
			close(fd);
			return ret;
		}
		if (!fstat(fd, &a) && !stat(path, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev)
			return fd;
		close(fd);
	}
}

/* What a machine makes in its directory: the lock, sockets, links to ptys. */
static bool ours(int dir, const char *name)
{
	char target[16] = "";
	struct stat st;

	if (!strcmp(name, "lock"))
		return true;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	return S_ISSOCK(st.st_mode) ||
	       (S_ISLNK(st.st_mode) && readlinkat(dir, name, target, sizeof(target) - 1) > 0 && !strncmp(target, "/dev/pts/", 9));
}

/*
 * Removes them, and nothing else, whatever the directory turns out to be: its
 * name came from the user.
 */
static void remove_files(const char *path, const char *but)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d && (e = readdir(d)))
		if ((!but || strcmp(e->d_name, but)) && ours(fd, e->d_name))
			unlinkat(fd, e->d_name, 0);
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
}

/* A directory with anything else in it is not one of ours to take. */
static bool foreign(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	bool found = !d;

	while (d && !found && (e = readdir(d)))
		found = strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && !ours(fd, e->d_name);
	if (d)
		closedir(d);
	else if (fd >= 0)
		close(fd);
	return found;
}

int rundir_take(struct rundir *r, const char *name, char *err, size_t errlen)
{
	char lock[RUNDIR_PATH + 8], top[RUNDIR_PATH], pid[16];
	pid_t holder = 0;
	int ret;

	r->lock = -1;
	ret = base(top, sizeof(top), err, errlen);
	if (!ret)
		ret = rundir_path(name, r->path, sizeof(r->path), err, errlen);
	if (!ret)
		ret = make_private(top, 0022, err, errlen);
	do {	/* again when the last owner removes the directory under us */
		if (!ret)
			ret = make_private(r->path, 0077, err, errlen);
		if (!ret && foreign(r->path)) {
			snprintf(err, errlen, "cannot use %s: it holds files that are no machine's", r->path);
			ret = -EPERM;
		}
		if (ret)
			return ret;
		snprintf(lock, sizeof(lock), "%s/lock", r->path);
		ret = take_lock(lock, &holder);
	} while (ret == -ENOENT && !(ret = 0));
	if (ret < 0) {
		if (ret == -EBUSY)
			snprintf(err, errlen, "a machine named %s runs already (process %d); see cleavectl --vm=%s", name, holder, name);
		else
			snprintf(err, errlen, "cannot lock %s: %s", lock, strerror(-ret));
		return ret;
	}
	r->lock = ret;
	remove_files(r->path, "lock");
	ret = snprintf(pid, sizeof(pid), "%d\n", getpid());
	if (ftruncate(r->lock, 0) < 0 || pwrite(r->lock, pid, ret, 0) != ret) {
		ret = -errno;
		snprintf(err, errlen, "cannot write %s: %s", lock, strerror(errno));
		rundir_release(r);
		return ret;
	}
	return 0;
}

void rundir_release(struct rundir *r)
{
	if (r->lock < 0)
		return;
	remove_files(r->path, NULL);
	rmdir(r->path);
	close(r->lock);
	r->lock = -1;
}

pid_t rundir_owner(const char *dir)
{
	char lock[RUNDIR_PATH + 300];
	pid_t pid = 0;
	int fd;

	snprintf(lock, sizeof(lock), "%s/lock", dir);
	fd = open(lock, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return 0;
	if (flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		pid = read_pid(fd);
	close(fd);
	return pid;
}

int rundir_each(void (*each)(void *arg, const char *name, pid_t pid), void *arg, char *err, size_t errlen)
{
	char top[RUNDIR_PATH], dir[RUNDIR_PATH + 260];
	struct dirent *e;
	int n = base(top, sizeof(top), err, errlen);
	DIR *d;

	if (n)
		return n;
	d = opendir(top);
	if (!d && errno == ENOENT)
		return 0;
	if (!d) {
		snprintf(err, errlen, "cannot read %s: %s", top, strerror(errno));
		return -errno;
	}
	while ((e = readdir(d))) {
		pid_t pid;

		if (e->d_name[0] == '.')
			continue;
		snprintf(dir, sizeof(dir), "%s/%s", top, e->d_name);
		pid = rundir_owner(dir);
		if (!pid)
			continue;
		each(arg, e->d_name, pid);
		n++;
	}
	closedir(d);
	return n;
}

