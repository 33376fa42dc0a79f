/*
 * vmm/image.c - disk and CD images: opened with the flags asked for, and locked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/image.h"

/* Who holds a lock on this file, from /proc/locks; 0 when that cannot be told. */
static int lock_holder(const struct stat *st)
{
	unsigned major, minor;
	unsigned long inode;
	FILE *f = fopen("/proc/locks", "re");
	int pid, holder = 0;
	char line[200];

	while (f && !holder && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*d: FLOCK %*s %*s %d %x:%x:%lu", &pid, &major, &minor, &inode) == 4 &&
		    inode == st->st_ino && major == major(st->st_dev) && minor == minor(st->st_dev))
			holder = pid;
	if (f)
		fclose(f);
	return holder;
}

static void process_name(int pid, char *to, size_t n)
{
	char path[40];
	FILE *f;

	*to = 0;
	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	f = fopen(path, "re");
	if (f && fgets(to, n, f))
		to[strcspn(to, "\n")] = 0;
	if (f)
		fclose(f);
}

/* False for a process that has ended, its parent having looked or not. */
static bool runs(int pid)
{
	char path[40], line[400], *state;
	FILE *f;
	bool yes = false;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	if (f && fgets(line, sizeof(line), f) && (state = strrchr(line, ')')))
		yes = !strchr("ZX", state[2]);
	if (f)
		fclose(f);
	return yes;
}

/*
 * Takes the lock.  One that a killed machine held ends with its device model,
 * which shares it and dies a moment after: that moment is waited for.
 */
static int lock_image(int fd, bool ro, const struct stat *st)
{
	const struct timespec moment = { .tv_nsec = 10000000 };

	for (int tries = 0; flock(fd, (ro ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0; tries++) {
		int holder = errno == EWOULDBLOCK ? lock_holder(st) : 0;

		if (errno != EWOULDBLOCK || tries == 500 || (holder > 0 && runs(holder)))
			return errno == EWOULDBLOCK ? -EBUSY : -errno;
		nanosleep(&moment, NULL);
	}
	return 0;
}

static int locked(const struct config_key *k, const struct stat *st, char *err, size_t errlen)
{
	int pid = lock_holder(st);
	char name[32];

	if (pid > 0) {
		process_name(pid, name, sizeof(name));
		snprintf(err, errlen, "%s: %s is in use by process %d%s%s%s; sharing it needs %s.ro on both sides",
			 k->name, k->value, pid, *name ? " (" : "", name, *name ? ")" : "", k->name);
	} else {
		snprintf(err, errlen, "%s: %s is in use by another process; sharing it needs %s.ro on both sides",
			 k->name, k->value, k->name);
	}
	return -EBUSY;
}

static const char *cure(const struct config_key *k, int error)
{
	if ((error == EACCES || error == EROFS || error == EPERM) && !k->ro)
		return " (read-only would be ,ro)";
	if (error == EINVAL && k->nocache)
		return " (does its file system have O_DIRECT? without: no nocache)";
	return "";
}

int image_open(const struct config_key *k, char *err, size_t errlen)
{
	int flags = (k->ro ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	struct stat st;
	int fd, ret;

	flags |= (k->nocache ? O_DIRECT : 0) | (k->direct ? O_SYNC : 0);
	fd = open(k->value, flags);
	if (fd < 0 || fstat(fd, &st) < 0) {
		ret = -errno;
		snprintf(err, errlen, "%s: cannot open %s: %s%s", k->name, k->value, strerror(errno), cure(k, errno));
	} else if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
		ret = -EINVAL;
		snprintf(err, errlen, "%s: %s is neither a file nor a block device", k->name, k->value);
	} else if ((ret = lock_image(fd, k->ro, &st))) {
		if (ret == -EBUSY)
			locked(k, &st, err, errlen);
		else
			snprintf(err, errlen, "%s: cannot lock %s: %s", k->name, k->value, strerror(-ret));
	} else {
		fcntl(fd, F_SETFL, flags & (O_DIRECT | O_SYNC));	/* O_NONBLOCK was for opening a FIFO by mistake */
		return fd;
	}
	if (fd >= 0)
		close(fd);
	return ret;
}
