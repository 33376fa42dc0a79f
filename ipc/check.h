/*
 * ipc/check.h - the hostile-peer rule for content: is a slot, already copied
 * out, something that an honest peer could have sent?
 *
 * Pure functions over private copies; no shared memory, no state.  Indices are
 * ring.h's matter, the memory's shape region.c's.
 */
#ifndef CLEAVE_IPC_CHECK_H
#define CLEAVE_IPC_CHECK_H

#include <stdint.h>

#include "ipc/link.h"

enum link_verdict {
	LINK_GOOD,
	LINK_STALE,	/* an answer to what is no longer asked: drop it silently */
	LINK_BAD,	/* the peer is broken or hostile: condemn it */
};

struct link_req_rule {
	uint32_t nvcpus;	/* channel == nvcpus: the control channel */
	uint32_t channel;
	uint32_t features;	/* agreed */
	uint64_t last_seq;	/* of this channel's previous request; 0 before the first of a generation */
};

/*
 * All three: *why is a constant phrase when the verdict is LINK_BAD.
 *
 * Daemon: sequence rises by one; kind fits the channel; size, address, count
 * and data page in range and free of overflow; only known flags, and only those
 * agreed on; a write's value no wider than its size; spare fields zero.
 * POSTED and BATCH exclude each other; only writes are posted; only ports batch.
 * VOID goes through any channel, and carries nothing.
 */
enum link_verdict link_req_check(const struct link_req *, const struct link_req_rule *, const char **why);

/*
 * Engine: `asked` is the private copy of the one request that awaits its
 * completion.  An older sequence number is stale; everything else must echo.
 */
enum link_verdict link_comp_check(const struct link_comp *, const struct link_req *asked, const char **why);

/* Engine: sequence at or below `last_seq` is stale, a gap is bad; arguments in range for the kind. */
enum link_verdict link_event_check(const struct link_event *, uint64_t last_seq, const char **why);

const char *link_req_name(unsigned kind);
const char *link_event_name(unsigned kind);

#endif
