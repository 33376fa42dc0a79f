/*
 * vmm/child.h - the programs that the engine runs beside itself: the device
 * model, network helpers.
 *
 * A child is made by execveat from a descriptor held since the start, so that
 * a package upgrade does not swap it; it gets a session of its own (the
 * terminal's signals are the engine's), stderr, the descriptors that it is
 * given and no other; the kernel kills it when the engine dies.
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_CHILD_H
#define CLEAVE_VMM_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "vmm/launcher.h"

enum { CHILD_FD = 3, CHILD_FDS = 4 };	/* the first one's number in the child; at most so many */

struct child {
	pid_t pid;		/* 0: none */
	int pidfd;		/* readable when it has ended; -1: none */
};

/* An executable file's descriptor, or -errno. */
int child_open(const char *path);
/* The program `name` beside this one, else where it was installed; `found` (NULL will do) is its path. */
int child_find(const char *name, char *found, size_t n);

/* 0 or -errno.  `fd`s stay the caller's.  By the place's launcher (launcher.h), where there is one. */
int child_spawn(struct child *, enum launcher_place, int program, char *const argv[], const int *fd, unsigned nfds);

/* In a new process: becomes the program.  `parent` is what getppid() is to be, or the one that wanted it has gone. */
_Noreturn void child_become(int program, char *const argv[], const int *fd, unsigned nfds, pid_t parent);

/*
 * Waits so long for it to end, with `kill_it` kills it then.  Afterwards there
 * is none, and `how` says how it ended.  The status, as of wait(2), 0 where
 * there was none; -1: it has not ended.
 */
int child_reap(struct child *, int ms, bool kill_it, char *how, size_t n);

#endif
