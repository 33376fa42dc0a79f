/*
 * ipc/fdpass.h - bounded frames with descriptors over a SEQPACKET pair.
 *
 * Owns nothing but the calls.  Received descriptors are close-on-exec; a frame
 * or a descriptor list that does not fit is an error, and everything that came
 * with it is closed: nothing leaks.
 */
#ifndef CLEAVE_IPC_FDPASS_H
#define CLEAVE_IPC_FDPASS_H

#include <stddef.h>
#include <sys/types.h>

enum { FDPASS_MAX = 64 };	/* descriptors in a frame */

/* A connected pair, close-on-exec.  0 or -errno. */
int fdpass_pair(int sv[2]);

/* One frame of 1..n bytes with nfds <= FDPASS_MAX descriptors, which stay the caller's.  0 or -errno (-EPIPE: peer gone). */
int fdpass_send(int sock, const void *buf, size_t n, const int *fds, unsigned nfds);

/*
 * One frame of at most `cap` bytes and `maxfds` descriptors, which become the
 * caller's.  Bytes received, 0 when the peer is gone, -EMSGSIZE for a frame too
 * long, -E2BIG for too many descriptors, -EAGAIN after timeout_ms (< 0: for ever).
 */
ssize_t fdpass_recv(int sock, void *buf, size_t cap, int *fds, unsigned maxfds, unsigned *nfds, int timeout_ms);

#endif
