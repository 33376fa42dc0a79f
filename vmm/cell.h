/*
 * vmm/cell.h - the namespaces that a machine's device models live in.
 *
 * They are made once and outlive every daemon: making them takes the better
 * part of a millisecond, entering them some microseconds.  A process that does
 * nothing keeps them: the first of the PID namespace, so that a daemon is an
 * ordinary process there, which signals kill as they do elsewhere.
 *
 *	user, network, IPC, PID, UTS, cgroup	entered by the launcher, inherited by what it starts
 *	mount: an empty directory, read-only	entered by the daemon itself, once it is linked
 *
 * Thread: a process with one.
 */
#ifndef CLEAVE_VMM_CELL_H
#define CLEAVE_VMM_CELL_H

#include <stdbool.h>

#include "ipc/sandbox.h"

struct cell {
	struct sandbox state;	/* of the namespaces */
	int mount_fd;		/* the mount namespace; -1: none */
};

/* Makes them, as far as the system permits, and enters all but the mount namespace: what is forked afterwards is in them. */
void cell_make(struct cell *);

#endif
