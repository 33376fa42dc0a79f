/*
 * ipc/region.h - the link's memory: made, sealed, mapped, checked.
 *
 * Owns struct link, one process's handle: typed pointers into the mapping and
 * the private copies of everything that must not be read back.  The engine
 * creates; the daemon opens what it received and believes nothing of it: the
 * layout is computed from two numbers (vCPUs, code pages) that are range-checked
 * and must give exactly the memfd's size and every offset in the header.
 *
 *      engine                                daemon
 *      link_create()  -- fd, 3 eventfds -->  link_open()    writes its answer
 *      link_accept()  <-- "ready" ---------                 (fdpass.h carries both)
 *
 * Thread: create, open, accept and close have no other user of the handle.
 * Errors: negative errno, and a sentence with the cause in `err`.
 */
#ifndef CLEAVE_IPC_REGION_H
#define CLEAVE_IPC_REGION_H

#include <stddef.h>
#include <stdint.h>

#include "ipc/link.h"
#include "ipc/ring.h"
#include "ipc/stream.h"

enum { LINK_ERR = 160 };	/* bytes of an error text */

enum link_side { LINK_ENGINE, LINK_DAEMON };

/* The descriptors that the engine passes to the daemon, in this order. */
enum link_fd { LINK_FD_MEMORY, LINK_FD_WAKE, LINK_FD_EVENT, LINK_FD_RELAY, LINK_FD_KICK, LINK_FDS };

/* Where things lie, as in struct link_header. */
struct link_layout {
	uint64_t size, vcpus, events, streams, shadows, doorbells, code;
};

/*
 * How long to spin before sleeping: wait.c learns it from past waits.  Waits
 * that ended are counted by the logarithm of their length; see wait.h.
 */
enum { LEARN_BUCKETS = 3 };
struct learn {
	uint32_t weight[LEARN_BUCKETS];
	uint64_t ns[LEARN_BUCKETS];	/* their lengths, weighted alike */
	uint32_t waits;		/* since the last reckoning */
	uint32_t hot;		/* waits that ended before the clock was read, not yet among the weights */
	uint32_t budget_ns;	/* spin at most this long */
};

/* One vCPU's pair of rings (or the control pair), and its waiter; a thread of its own uses it. */
struct link_chan {
	_Alignas(LINK_LINE) struct ring req;
	struct ring comp;
	struct link_vcpu *shared;
	struct learn learn;
	_Bool woke_peer;		/* engine: the daemon slept when the last request was posted */
	_Bool away;			/* engine: left link_wait_comp() without the completion */
};

struct link {
	enum link_side side;
	uint32_t nvcpus;		/* vCPU channels; the control channel has the index nvcpus */
	uint32_t features;		/* agreed: engine, after link_accept() */
	uint32_t generation;
	uint64_t code_pages;
	uint64_t size;
	int fd[LINK_FDS];
	uint32_t kernel_bells;		/* engine: as in the header */

	/* shared memory */
	struct link_header *header;
	uint64_t *shadow;		/* LINK_SHADOWS */
	struct link_doorbell *doorbell;	/* LINK_DOORBELLS */
	uint8_t *code;			/* code_pages */

	/* private */
	struct link_chan *chan;		/* nvcpus + 1 */
	struct ring events;
	struct stream input[LINK_STREAMS], output[LINK_STREAMS];
	uint32_t *online[LINK_STREAMS];
	uint32_t streams_watched;	/* engine: streams that the relay has ever waited for */
	struct learn idle;		/* daemon: how long until the next request */
	uint64_t idle_since;		/* daemon: wait_now(), 0 while it has work */
	uint32_t bell_seen;		/* daemon */
	uint32_t events_wanted;		/* daemon: waits for room for so many */
	_Bool events_posted;		/* daemon: since the last flush */
	_Bool answered;			/* daemon: a completion was, too */
	_Bool woke_peer;		/* daemon: the vCPU slept when the last completion was posted */
	_Bool may_spin;			/* more than one CPU */
};

struct link_params {
	uint32_t nvcpus;		/* 1 .. LINK_MAX_VCPUS */
	uint64_t code_pages;		/* pages of guest RAM, 1 .. LINK_MAX_CODE_PAGES */
	uint32_t features;		/* offer; 0 means LINK_F_ALL */
	uint32_t generation;
};

/* The layout that these numbers give.  -EINVAL when one is out of range. */
int link_layout(uint32_t nvcpus, uint64_t code_pages, struct link_layout *);

/* Engine.  Makes and seals the memfd and the eventfds, which the handle owns. */
int link_create(struct link *, const struct link_params *, char err[LINK_ERR]);

/*
 * Daemon.  Takes ownership of the LINK_FDS descriptors, also when it fails.
 * Refused: not a memfd with the three seals (-EPERM), wrong size or layout
 * (-EINVAL), wrong magic or ABI (-EPROTONOSUPPORT), unknown feature bits
 * (-EOPNOTSUPP).  Writes offer & supported as its answer.
 */
int link_open(struct link *, const int fd[LINK_FDS], uint32_t supported, char err[LINK_ERR]);

/* Engine, once the daemon said that it is ready: reads and checks the answer.  -EPROTO. */
int link_accept(struct link *, char err[LINK_ERR]);

/*
 * Engine, between create and the descriptors' departure: the character streams
 * in `which` (a bit each) go on where the last generation's stand, bytes and
 * positions.  Its daemon is dead.  A stream whose positions cannot be starts empty.
 */
void link_adopt_streams(struct link *, const struct link *last, uint32_t which);

/* Either side: unmaps, closes.  Safe on a zeroed handle and twice. */
void link_close(struct link *);

#endif
