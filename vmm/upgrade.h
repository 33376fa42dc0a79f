/*
 * vmm/upgrade.h - another executable for the device model, under a running guest.
 *
 *	serving one                     engine                     new one
 *	  |                          opens PATH, starts it -------> maps, checks itself
 *	  |                                   <-------------------- stands by
 *	  | <---- HOLD
 *	 holds between two transactions (proto/words.h)
 *	  |-----> HELD, and the guest begins to wait
 *	  |                          link, copy of the arena -----> makes the devices
 *	  |                                   <-------------------- ready, or refuses
 *	  X <---- SIGKILL, reaped
 *	                             vCPUs parked, link exchanged
 *	                             GO --------------------------> serves
 *
 * Until the SIGKILL nothing has happened: whatever is wrong with the new one, it
 * is ended, the serving one goes on, and the user is told why.  Where nobody
 * serves, because device models die, the new one is the next successor.
 * Successors are started from the executable that served last, if it has not
 * failed within its first seconds.
 *
 * Here is the new one until it stands by, and what the user is told; the rest
 * is supervise.c's.  Thread: main.
 */
#ifndef CLEAVE_VMM_UPGRADE_H
#define CLEAVE_VMM_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct back_ends;
struct daemon;
struct upgrade;
struct vm;

struct upgrade_result {
	int error;			/* 0: it serves; else negative */
	char text[900];			/* else: what differs, and the cure */
	char path[512];
	unsigned generation;
	uint64_t stall_us;		/* how long nobody served */
};

typedef void upgrade_done(void *arg, const struct upgrade_result *);

/* `path`: where the present executable was found.  `stands_by` is called when the new one does. */
int upgrade_new(struct upgrade **, const struct vm *, const struct back_ends *, const char *path, void (*stands_by)(void *arg), void *arg);
void upgrade_free(struct upgrade *);		/* what was begun is given up, nobody is told */

/*
 * To `path`, or to what is where the present executable was found, opened anew.
 * `done` is called once, perhaps before this returns; a second one is told
 * -EBUSY meanwhile.
 */
void upgrade_begin(struct upgrade *, const char *path, upgrade_done *, void *arg);
void upgrade_forget(struct upgrade *, const void *arg);		/* whoever asked has gone */
const char *upgrade_last(const struct upgrade *);	/* how the last one went, "": there was none */

/* ---- once it stands by */

/* The new one becomes the caller's, who says how it went by one of the others.  False: none stands by. */
bool upgrade_take(struct upgrade *, struct daemon *);
void upgrade_put_back(struct upgrade *, const struct daemon *);	/* it stands by as before */
bool upgrade_is_taken(const struct upgrade *);
/* It did not come to serve. */
void upgrade_refused(struct upgrade *, int error, const char *why);
/* It serves.  Its executable, which is the caller's. */
int upgrade_served(struct upgrade *, unsigned generation, uint64_t stall_us);
/* It has failed soon afterwards: successors are started from the one before again. */
void upgrade_revoke(struct upgrade *);

#endif
