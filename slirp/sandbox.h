/*
 * slirp/sandbox.h - gives up what a user-mode network stack does not need.
 */
#ifndef CLEAVE_SLIRP_SANDBOX_H
#define CLEAVE_SLIRP_SANDBOX_H

/*
 * Before anything hostile is read: no new privileges, no core dump or debugger,
 * no descriptors but 0-2, `keep` and the one after it.  -errno.
 */
int sandbox_enter(int keep);

/* When everything is open: only the system calls that sockets need.  -errno. */
int sandbox_filter(void);

#endif
