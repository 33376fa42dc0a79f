/*
 * slirp/sandbox.h - what a user-mode network stack keeps: sockets.
 */
#ifndef CLEAVE_SLIRP_SANDBOX_H
#define CLEAVE_SLIRP_SANDBOX_H

#include "ipc/sandbox.h"

/*
 * Before anything hostile is read: no new privileges, no descriptors but 0-2,
 * `keep` and the one after it.  -errno.
 */
int slirp_sandbox_enter(int keep);

/* When everything is open: the rest. */
void slirp_sandbox_settle(struct sandbox *);

#endif
