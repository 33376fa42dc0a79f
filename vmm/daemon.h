/*
 * vmm/daemon.h - one device-model process: started, heard, ended.
 *
 * Which process serves, and when another takes its place, is supervise.h's;
 * what it is told, introduce.h's.  child.h is how it is made.
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_DAEMON_H
#define CLEAVE_VMM_DAEMON_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ipc/sandbox.h"
#include "vmm/child.h"

enum { DAEMON_READY_MS = 15000 };	/* it is given so long to be ready */

struct daemon {
	struct child child;
	int sock;		/* -1: nothing is heard of it */
	struct event *ended, *spoke;
	bool killed;		/* by us: its own doing */
	struct sandbox sandbox;	/* as it says */
	bool outside;		/* ended by a SIGKILL that was not ours, before it was ready */
};

#define DAEMON_NONE ((struct daemon){ .child.pidfd = -1, .sock = -1 })

int daemon_spawn(struct daemon *, int program);		/* 0 or -errno */
/* Calls `ended` once when it has ended, `spoke` while there is something to read.  -ENOMEM. */
int daemon_watch(struct daemon *, struct event_base *, event_callback_fn ended, event_callback_fn spoke, void *arg);
void daemon_unwatch(struct daemon *);
/* Closes the socket: nothing is heard of it any more.  It is still to be reaped. */
void daemon_drop(struct daemon *);
void daemon_kill(struct daemon *);		/* `ended` follows */
void daemon_discard(struct daemon *);		/* drops, kills and reaps it */

/*
 * Its answer: 0, it is ready; 1, it stands by; -ECANCELED, it refuses; -ESTALE,
 * it refuses the arena, but would take the devices' state in its portable form; else
 * -errno.  `err` is for the user.  What has ended instead has been reaped.
 */
int daemon_reply(struct daemon *, int ms, char *err, size_t errlen);
/* The same of the message alone; `sandbox` is what it says of that.  Any bytes will do. */
int daemon_judge(const uint8_t *frame, size_t n, struct sandbox *, char *err, size_t errlen);
/* Its socket was closed before it was ready: reaps it. */
void daemon_ended_early(struct daemon *, char *err, size_t errlen);
/* Was it its own doing that it ended with this status? */
bool daemon_at_fault(const struct daemon *, int status);

#endif
