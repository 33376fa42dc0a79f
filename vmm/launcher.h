/*
 * vmm/launcher.h - the processes that start others for the engine.
 *
 * An engine that runs a guest starts nothing: its sandbox forbids it
 * (vmm/sandbox.c).  A launcher is a copy of it from before there was a guest,
 * small and with one thread, that waits for
 *
 *	a program's descriptor, its arguments, the descriptors it is to have
 *
 * and makes a process of them that is the engine's own child, as child.h would.
 * There is one for each place:
 *
 *	OUTSIDE	where the engine is: the helpers of networks
 *	CELL	namespaces of their own (cell.h): device models
 *
 * It ends when the engine does.
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_LAUNCHER_H
#define CLEAVE_VMM_LAUNCHER_H

#include <stdbool.h>
#include <sys/types.h>

#include "ipc/sandbox.h"

enum launcher_place { LAUNCHER_OUTSIDE, LAUNCHER_CELL, LAUNCHER_PLACES };

/* While there is one thread, and no descriptor yet that matters.  0 or -errno. */
int launcher_start(enum launcher_place);
bool launcher_there(enum launcher_place);

/* The process that runs it, or -errno.  Descriptors stay the caller's. */
pid_t launcher_spawn(enum launcher_place, int program, char *const argv[], const int *fd, unsigned nfds);

/* How the cell's namespaces stand, and its mount namespace, for a device model to enter; -1: none. */
const struct sandbox *launcher_cell(void);
int launcher_mounts(void);

#endif
