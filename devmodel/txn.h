/*
 * devmodel/txn.h - transactions over the arena.
 *
 *	IDLE --begin--> ACTIVE --commit--> COMMITTED --publish--> IDLE
 *	                  |                 one store
 *	                  +--undo--> IDLE
 *
 * ACTIVE: the undo log holds, for every object changed so far, the bytes that
 * it had.  COMMITTED: the outbox is complete, and publishing it, once or again,
 * shows the guest the transaction's effects.  A process that dies leaves every
 * store it made, and no store it did not make: so compiler barriers order the
 * steps, and the partner of each is the successor's read of `word`.
 *
 * Knows the arena and the machine's link; knows no device and no request.
 */
#ifndef CLEAVE_DEVMODEL_TXN_H
#define CLEAVE_DEVMODEL_TXN_H

#include "devmodel/arena.h"

struct machine;

/*
 * The labelled steps: what a test may kill the process at.  Only the build with
 * CLEAVE_FAULTS has them; txn_step is called after the step of that name.
 */
#ifdef CLEAVE_FAULTS
extern void (*txn_step)(const char *label);
#define TXN_STEP(label) do { if (txn_step) txn_step(label); } while (0)
#else
#define TXN_STEP(label) ((void)0)
#endif

enum txn_state { TXN_IDLE, TXN_ACTIVE, TXN_COMMITTED };

static inline enum txn_state txn_state(const struct arena_header *a) { return a->word & 3; }
static inline uint64_t txn_number(const struct arena_header *a) { return a->word >> 2; }

/*
 * Waits for room for whatever a transaction may emit, then begins.  -EPIPE:
 * the engine is gone or does not take its events; nothing has begun.
 */
int txn_begin(struct machine *, struct txn_source);

/*
 * Called before [p, p + n), which lies in the arena, is changed.  `stamp` is
 * the object's own: it is saved once a transaction.
 */
void txn_save(struct machine *, void *p, size_t n, uint64_t *stamp);

/* Commits, publishes and is IDLE again.  Wakes whoever waits for the effects. */
void txn_end(struct machine *);

/* The parts, for tests and for a successor. */
void txn_commit(struct machine *);
void txn_publish(struct machine *);	/* COMMITTED -> IDLE; may be run again from COMMITTED */
int txn_undo(struct machine *);		/* ACTIVE -> IDLE; -EINVAL: the log is not one of ours */
void txn_renumber(struct machine *);	/* IDLE: numbers begin again, which needs a process without stamps */
void txn_abandon(struct machine *);	/* -> IDLE, neither undone nor published */

/* What stands in the outbox, for the calls of device.h. */
void txn_event(struct machine *, const struct link_event *);
void txn_shadow(struct machine *, uint32_t word, uint32_t value, bool valid);
bool txn_store(struct machine *, uint64_t gpa, const void *bytes, size_t n);
void txn_io(struct machine *, unsigned dev, unsigned slot);
/*
 * A used ring: an entry, and where the index comes to stand, which a later call
 * for the same queue replaces.  `gpa` is RAM, seen to by the caller.
 */
bool txn_used(struct machine *, uint64_t gpa, uint32_t id, uint32_t len);
bool txn_queue(struct machine *, struct out_queue);

#endif
