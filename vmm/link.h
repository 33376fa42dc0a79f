/*
 * vmm/link.h - the engine's client of the link to the device model.
 *
 * Owns the link's memory (ipc/region.h), every request that is not yet
 * acknowledged (a private copy, so that it can be posted again to a successor;
 * discarded ones too: they are served before the reset that discarded them, and
 * their answers are dropped),
 * the account of posted writes, and the order of events.  ipc/ moves the
 * slots; vmm/inout.c says what to ask; vmm/events.c applies what is told.
 *
 * One generation is one link with one daemon:
 *
 *   link_client_open() -> descriptors to the new daemon -> it says "ready" ->
 *   link_client_accept() -> traffic -> lost (it died, or wrote nonsense)
 *
 * and the next link_client_open() begins another: the old link stays, for vCPUs
 * that run on without devices, until its successor is accepted.  Accept needs
 * every vCPU outside of inout_wait() and engine->run().
 *
 * A daemon that breaks the protocol is condemned: its link answers nothing any
 * more, waiters come back with INOUT_LOST, and hooks->lost() tells the
 * supervisor.  The VM keeps its pending requests.
 *
 * Threads: channel n belongs to vCPU n's thread, the control channel to the
 * main thread; draining events may be done by any thread, without dev_lock.
 */
#ifndef CLEAVE_VMM_LINK_H
#define CLEAVE_VMM_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/region.h"
#include "ipc/link_engine.h"

struct vm;
struct link_client;

enum { LINK_CLIENT_DEVICES = 256 };	/* device ids are below this */

struct link_hooks {
	/* Once a generation, on whichever thread noticed.  Must not block nor call the link. */
	void (*lost)(void *arg, const char *why);
	/* Is the daemon's process no more?  Asked on the main thread; NULL: nobody knows, nor cares for a successor. */
	bool (*gone)(void *arg);
	/* A vCPU has waited for deadline_ns: is it to be replaced?  Any vCPU's thread; NULL: never. */
	bool (*overdue)(void *arg);
	int64_t deadline_ns;
	void *arg;
};

/* Counters of the link, as --get-stats prints them. */
#define LINK_COUNTERS(X) \
	X(GENERATIONS,	"link.generations", "device-model processes so far") \
	X(EVENTS,	"link.events",	"events applied") \
	X(EVENTS_STALE,	"link.events_stale", "events seen before, dropped") \
	X(STALE,	"link.stale",	"completions of discarded requests, dropped") \
	X(IRQS,		"link.irqs",	"interrupt line changes") \
	X(REMAPS,	"link.remaps",	"region and memory-map changes") \
	X(CODE,		"link.code",	"invalidations of decoded code by DMA") \
	X(CONTROL,	"link.control",	"requests on the control channel")

enum link_stat {
#define X(id, name, help) LINK_STAT_##id,
	LINK_COUNTERS(X)
#undef X
	LINK_STATS
};

extern const char *const link_stat_name[LINK_STATS];

/* vm->nvcpus channels and a control channel; code bytes for `ram_pages` guest pages.  -ENOMEM. */
int link_client_new(struct link_client **, struct vm *, uint64_t ram_pages, const struct link_hooks *);
/* Before the first generation. */
void link_client_set_hooks(struct link_client *, const struct link_hooks *);
void link_client_free(struct link_client *);	/* NULL is fine */

/* ---- a generation: main thread */

/*
 * Makes the link for the next daemon.  The last one, if there was one, is dead:
 * what it published is applied, and the character streams in `streams` (a bit
 * each) go on in the new link from now on.  -errno, `err` says why.
 */
int link_client_open(struct link_client *, uint32_t streams, char err[LINK_ERR]);
/*
 * The same while the last daemon holds between two transactions (proto/words.h):
 * it is not lost, and either the next one is accepted, or this one goes on and
 * the next one's link is dropped.
 */
int link_client_open_beside(struct link_client *, uint32_t streams, char err[LINK_ERR]);
void link_client_drop_next(struct link_client *);
/* How far it got, for its successor: the newest request of channel n, the newest event applied. */
uint64_t link_client_asked(const struct link_client *, unsigned n);
uint64_t link_client_events(const struct link_client *);
/* The LINK_FDS descriptors to send to the daemon; they stay the client's. */
void link_client_fds(struct link_client *, int fd[LINK_FDS]);
/*
 * The daemon is ready: its link takes the place of the last one, whose regions
 * and doorbells are forgotten (vm->code_bytes is the new link's, marked anew);
 * its answer is checked, what it announced is applied, what was unacknowledged
 * is posted again.
 */
int link_client_accept(struct link_client *, char err[LINK_ERR]);
/*
 * No daemon serves, nor will soon: from now until the next accept nobody waits
 * for these devices.  Wakes vCPUs.
 */
void link_client_forsake(struct link_client *, const bool dev[LINK_CLIENT_DEVICES]);
/* The daemon is gone (the supervisor saw it end).  Any thread. */
void link_client_lost(struct link_client *, const char *why);
bool link_client_is_lost(const struct link_client *);	/* any thread; true before the first accept too */
/* For the relay's streams: the newest; it moves when it is accepted. */
struct link *link_client_link(struct link_client *);
uint64_t link_client_stat(const struct link_client *, enum link_stat);

/*
 * The control channel, for calls.c: LINK_REQ_RESET, INJECT, PAUSE or RESUME.
 * Asked: 0 with *r filled in, -EAGAIN: no room yet, -EPIPE: nobody serves.
 * Answered, waiting for at most so long: 0, -ENXIO where no device took it,
 * -EAGAIN: not yet, -EPIPE: not by this daemon; it is asked of its successor.
 * What it caused has been applied then.  `since`: when it was asked; a daemon
 * that does not answer until the deadline is lost.  One at a time.
 */
int link_client_ask(struct link_client *, unsigned kind, uint64_t addr, uint64_t value, struct link_req *r);
int link_client_answer(struct link_client *, const struct link_req *r, uint64_t since, int64_t wait_ns);
bool link_client_nobody(const struct link_client *);	/* no process is at work, for all that is known */
bool link_client_alone(const struct link_client *);	/* ... and nobody sees to it that one comes */

/* ---- requests: channel n's thread (vmm/inout.c) */

/*
 * While no request of this channel is awaited.  Fills in seq, vcpu and, for a
 * batch, the data page; `dev` is whose account a posted write goes to.  0;
 * -EAGAIN: no room in the ring; -EBUSY: an answer to a discarded request must
 * come first; -EPIPE: no daemon.
 */
int link_client_send(struct link_client *, unsigned n, unsigned dev, struct link_req *, const void *batch);
/*
 * The completion of `asked`, checked, its events applied; a batched read's
 * bytes go to `batch`.  1, 0: not yet, -EPIPE: none, or condemned just now.
 */
int link_client_receive(struct link_client *, unsigned n, const struct link_req *asked, struct link_comp *, void *batch);
/* Nobody waits for this device at present. */
bool link_client_forsaken(const struct link_client *, unsigned dev);
/*
 * The request that was sent last is awaited no more, while no daemon serves: a
 * successor is not asked, and what it may still answer is dropped.  1: the dead
 * daemon has answered it, as link_client_receive().
 */
int link_client_withdraw(struct link_client *, unsigned n, const struct link_req *asked, struct link_comp *, void *batch);
enum wait_result link_client_wait_comp(struct link_client *, unsigned n, const uint32_t *kick, uint32_t seen);
enum wait_result link_client_wait_room(struct link_client *, unsigned n, const uint32_t *kick, uint32_t seen);

/*
 * A shadow register of device `dev`; false: it must be asked for, as it must
 * while any vCPU has posted writes to this device that are not committed.  Any
 * vCPU thread; word < LINK_SHADOWS.
 */
bool link_client_shadow(const struct link_client *, unsigned dev, unsigned word, uint32_t *value);
uint32_t link_client_features(const struct link_client *);
/* vCPU n sleeps in HLT, or has woken: the device model may time interrupts by it. */
void link_client_halted(struct link_client *, unsigned n, bool halted);

/* Rings the doorbell that this write is for, if there is one. */
bool link_client_doorbell(struct link_client *, bool mmio, uint64_t addr, unsigned size, uint64_t value);

/* ---- events */

/* Applies what has come.  Any thread without dev_lock; one at a time.  0 or -EPIPE. */
int link_client_drain(struct link_client *);
/* The events thread: fd[LINK_FD_EVENT] is readable (edge-triggered, never read), or before its first sleep. */
void link_client_on_event(struct link_client *);

#endif
