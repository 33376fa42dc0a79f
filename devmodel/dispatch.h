/*
 * devmodel/dispatch.h - from a request in a ring to a device and back.
 *
 * Serves the rings in order: each ring's requests one by one, and before any
 * request that is not posted every ring's posted writes, so that nothing passes
 * a write that the guest has retired.  Each request is one transaction.
 *
 * Thread: the loop's.
 */
#ifndef CLEAVE_DEVMODEL_DISPATCH_H
#define CLEAVE_DEVMODEL_DISPATCH_H

#include "devmodel/machine.h"

/*
 * Serves what waits in the rings.  Number of requests served; -EPROTO after a
 * message in m->error: the engine broke the protocol; -EPIPE: it is gone.
 */
int dispatch_poll(struct machine *);

/* One request, already checked by link_req_check(): for dispatch_poll() and the fuzzers. */
int dispatch_serve(struct machine *, unsigned ring, const struct link_req *);

#endif
