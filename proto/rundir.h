/*
 * proto/rundir.h - the directory of each running machine, by which programs find it.
 *
 *	BASE/NAME/		mode 0700
 *	BASE/NAME/lock		locked (flock) by its cleave for as long as that lives; holds its process id
 *	BASE/NAME/control	the control socket
 *	BASE/NAME/com1 ...	links to ptys
 *
 * BASE is $CLEAVE_RUNTIME_DIR, or /run/cleave for root, or
 * $XDG_RUNTIME_DIR/cleave, or /tmp/cleave-UID.  A directory whose lock nobody
 * holds was left behind by a killed machine and is taken over; one that holds
 * anything else than a machine's files is refused, and never touched.
 *
 * Errors: -errno, the cause and the cure in `err`.
 */
#ifndef CLEAVE_PROTO_RUNDIR_H
#define CLEAVE_PROTO_RUNDIR_H

#include <stddef.h>
#include <sys/types.h>

enum { RUNDIR_PATH = 200 };		/* so that a socket's name still fits behind it is checked, not hoped */

struct rundir {
	char path[RUNDIR_PATH];
	int lock;			/* -1: not ours */
};

/* The engine's: makes it and takes the lock.  -EBUSY: a machine of this name runs. */
int rundir_take(struct rundir *, const char *name, char *err, size_t errlen);
void rundir_release(struct rundir *);	/* removes it */

/* Anyone's: where the machine `name` would be. */
int rundir_path(const char *name, char *path, size_t n, char *err, size_t errlen);
/* BASE/NAME/FILE as a socket address needs it.  -ENAMETOOLONG. */
int rundir_file(const char *dir, const char *file, char *path, size_t n, char *err, size_t errlen);

/* The machine's process, or 0 when nobody holds the directory's lock. */
pid_t rundir_owner(const char *dir);

/* Calls for every machine that runs.  The number of them, or -errno. */
int rundir_each(void (*each)(void *arg, const char *name, pid_t pid), void *arg, char *err, size_t errlen);

#endif
