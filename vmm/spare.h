/*
 * vmm/spare.h - a device-model process that stands by (-o devmodel.spare=on).
 *
 *	NONE --spare_keep--> DUE --back-off--> STARTING --"I stand by"--> READY
 *	                      ^                   |                         |
 *	                      +---- reaped ---- ENDING <-- closed its socket
 *
 * It has been started and has given up its privileges, knows the machine and
 * has its memory mapped; what is left to do when another dies is its turn
 * (introduce.h).  It holds no link and no arena, so nothing that goes wrong
 * with it reaches the guest: it is replaced, after a while that grows.
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_SPARE_H
#define CLEAVE_VMM_SPARE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct back_ends;
struct daemon;
struct sandbox;
struct vm;
struct spare;

enum spare_state { SPARE_NONE, SPARE_DUE, SPARE_ENDING, SPARE_STARTING, SPARE_READY };

struct spare_info {
	enum spare_state state;
	pid_t pid;			/* 0: there is no process */
	unsigned taken, lost;		/* came to their turn; ended while they waited */
	char why[240];			/* the last that was lost */
};

/* `back_ends` are open before the first spare_keep(), and stay.  -ENOMEM. */
int spare_new(struct spare **, struct vm *, const struct back_ends *);
void spare_free(struct spare *);	/* ends the process; NULL is fine */

/* From now on one stands by, of this executable, which stays the caller's: soon, not at once.  One of another is ended. */
void spare_keep(struct spare *, int program);
/* The process is the caller's from now on: it may still have to say that it stands by.  False: there is none. */
bool spare_take(struct spare *, struct daemon *);
/* There is none any more, until spare_keep(). */
void spare_end(struct spare *);

/* Its process and what it says of its sandbox, once it stands by.  0: none does. */
pid_t spare_sandbox(const struct spare *, const struct sandbox **);
void spare_info(const struct spare *, struct spare_info *);

#endif
