/*
 * devmodel/recover.h - how a successor takes over from a process that died.
 *
 *	arena: IDLE       nothing was under way
 *	       ACTIVE     it never happened: undone; whoever caused it asks again
 *	       COMMITTED  it happened: published again, each step idempotent
 *
 * then the devices are made from their states, tell the new link what they
 * claim and drive, and the back-end operations that were in flight start again.
 *
 * A transaction in which processes die by their own fault, three in a row, is
 * quarantined: its request is answered by nobody, its timer or byte dropped,
 * and the device is out of service until the guest's next reset.
 *
 * So it is with what kills successors while they take over: making a device
 * from its state is a transaction, and so is what is undone or published first.
 * Such a process has worked on a copy that is nobody's; the next one gets it
 * beside the arena (machine.tried), for no more than to read what killed it.
 *
 * Thread: the loop's.
 */
#ifndef CLEAVE_DEVMODEL_RECOVER_H
#define CLEAVE_DEVMODEL_RECOVER_H

#include "devmodel/machine.h"

/* Before the devices are made.  0; -EINVAL with m->error set: this arena is no honest predecessor's. */
int recover_transaction(struct machine *);
/* After: regions and interrupt lines are announced.  0 or -EPIPE. */
int recover_announce(struct machine *);

/* Is the transaction that is about to run quarantined?  Then it does nothing. */
bool recover_refused(const struct machine *, const struct txn_source *);
/* `d` has come to a reset: it is in service again. */
void recover_reset(struct dev *d);
/* The engine hears whether `d` is in service; inside a transaction. */
void recover_tell(struct dev *d);

#endif
