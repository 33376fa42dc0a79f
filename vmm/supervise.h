/*
 * vmm/supervise.h - the device-model process: found, started, watched, ended.
 *
 * One daemon is one generation:
 *
 *	cleave                                   cleaved
 *	link, arena, socket pair
 *	fork, exec ----------------------------> argv: cleaved --socket=3
 *	DaemonConfig + descriptors ------------> maps, makes its devices
 *	  (RAM, link, arena, images, networks)
 *	<---------------------------- DaemonReply ready, or the error for the user
 *	     ... the link carries the rest; the socket only says who is alive ...
 *	close ---------------------------------> end of file: finishes its I/O, exits
 *
 * child.h is how the process is made.  A daemon that dies or breaks the protocol is reported through
 * link_client_lost(), with a sentence that says what happened.
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_SUPERVISE_H
#define CLEAVE_VMM_SUPERVISE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct vm;
struct supervise;

/* The daemon's executable: `path`, else $CLEAVED, else beside this program, else where it is installed.  fd or -errno. */
int supervise_find(const char *path, char *err, size_t errlen);

/* `daemon_fd` becomes its own. */
int supervise_new(struct supervise **, struct vm *, int daemon_fd);
void supervise_free(struct supervise *);	/* ends the daemon first */

/* Opens the images, starts a daemon and waits until it is ready.  -errno, `err` is for the user. */
int supervise_start(struct supervise *, char *err, size_t errlen);
/* Lets the daemon finish its I/O, kills it if that takes longer than a few seconds. */
void supervise_stop(struct supervise *);
/* Lets the image file of this PCI function grow to `bytes`; -errno and `err` for the user. */
int supervise_grow(struct supervise *, unsigned slot, unsigned func, uint64_t bytes, char *err, size_t errlen);
pid_t supervise_pid(const struct supervise *);	/* 0: none */

/* A daemon's answer to its configuration: 0 when it is ready, else -errno and a printable `err`.  Any bytes will do. */
int supervise_judge(const uint8_t *frame, size_t n, char *err, size_t errlen);

#endif
