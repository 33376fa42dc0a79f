/*
 * ipc/wait.h - spin, then sleep; and waking whoever sleeps.
 *
 * Owns the waiting protocol of every word in link.h and the learnt spin budget.
 *
 * Every sleep and every wake-up is the same pair of full fences:
 *
 *      sleeper                          waker
 *      A. x_sleeps = 1                  C. entry (turn, prod, cons, bell)
 *      -- fence_full() --------------- -- fence_full() --
 *      B. look again for an entry       D. x_sleeps ?  then wake
 *
 * A before B and C before D: the sleeper sees the entry, or the waker sees the
 * flag.  A futex sleeper compares the ring word in the kernel, an eventfd
 * sleeper finds the count there: a wake-up between B and the sleep is not lost.
 *
 * An eventfd sleeper's flag is taken down by whoever wakes it, so that one sleep
 * costs one write; the count stays until the sleeper comes back.  A futex
 * sleeper's flag is its own: a waker that was late for the wait before could
 * take down the flag of this one, wake nobody, and leave it to sleep.
 *
 *      who sleeps                  flag                 on                  woken by
 *      vCPU, for its completion    comp.cons_sleeps     futex comp.prod     daemon, link_flush()
 *      vCPU, for request room      req.prod_sleeps      futex req.cons      daemon, link_release_req()
 *        (both: and its kick word)
 *      daemon, for anything        header.daemon_sleeps eventfd WAKE        engine, link_bell()
 *      engine's event thread       events.cons_sleeps   eventfd EVENT       daemon, link_flush()
 *      daemon, for event room      events.prod_sleeps   eventfd WAKE        engine, link_release_events()
 *      engine's relay, for output  output.cons_sleeps   eventfd RELAY       daemon, link_output_publish()
 *      engine's relay, for room    input.prod_sleeps    eventfd RELAY       daemon, link_input_give_back()
 *      daemon, for output room     output.prod_sleeps   header.bell, WAKE   engine, link_output_take()
 *
 * The budget (struct learn): waits are counted by length, old ones fade; the
 * budget is the edge (none, 64 us, 128 us) at which spinning that long and then
 * paying for a sleep would have cost least in total, at most WAIT_SPIN_MAX_NS.
 * A guest that polls spins; one that waits for a disk sleeps at once.  No edge
 * is finer than a sleep's cost, or two sides that have begun to sleep could
 * never find back into step.  Where this process may use only one CPU nobody
 * spins.
 */
#ifndef CLEAVE_IPC_WAIT_H
#define CLEAVE_IPC_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/region.h"

enum {
	WAIT_SPIN_MAX_NS = 131072,	/* the longest budget */
	WAIT_SLEEP_NS = 60000,		/* what a sleep and its wake-up cost beyond the wait itself */
};

uint64_t wait_now(void);	/* CLOCK_MONOTONIC, ns */

/* CPUs that the calling thread may run on. */
unsigned wait_cpus(void);

void learn_init(struct learn *);
void learn_note(struct learn *, uint64_t ns);	/* a wait of this length has ended */

/* A wait that ended before the clock was read.  The hot path: reckoned with the next wait that was longer. */
static inline void learn_hot(struct learn *b)
{
	b->hot++;
}

/*
 * Sleeps until *word != value or *kick != kick_value (kick may be NULL), or
 * until `timeout_ns` (relative; < 0: for ever) has passed.  May return early.
 * `word` is shared with the other process, `kick` belongs to this one: whoever
 * changes it calls wait_wake_private() afterwards.  0, -ETIMEDOUT, -EAGAIN when
 * a word had changed already, -EINTR.
 */
int wait_futex(const uint32_t *word, uint32_t value, const uint32_t *kick, uint32_t kick_value, int64_t timeout_ns);
void wait_wake_shared(const uint32_t *word);
void wait_wake_private(const uint32_t *word);

#endif
