/*
 * ipc/ring.h - single-producer single-consumer rings of 64-byte slots.
 *
 * Owns one side's private view of a ring (struct ring) and the inline hot path.
 * Knows slots only as 64 bytes whose last word is `turn`.
 *
 *   producer                                consumer
 *   --------                                --------
 *   room? pos - cons_seen < slots           slot[pos].turn == pos + 1 ?   (acquire)
 *   slot[pos] = the first 60 bytes          copy the slot out, once
 *   slot[pos].turn = pos + 1   (release)    pos++
 *   prod = ++pos               (release)    ... when done with it:
 *                                           cons = pos, now and then      (release)
 *
 * Pairs: turn release/acquire hands the slot over; cons release/acquire gives
 * it back.  prod is not read on the hot path: a consumer reads it before it
 * sleeps (wait.h) and to catch a producer that lies.
 *
 * Invariant, private to each side (ring_check_*): producer 0 <= pos - seen <=
 * slots; consumer shown <= done <= pos, pos - shown <= slots.
 *
 * Hostile peer: an index that would make more entries than slots, or an index
 * that promises a slot whose turn has not come, is -EPROTO; the caller condemns
 * the link.  Own indices are never read back.
 *
 * Threads: one producer, one consumer; a struct ring belongs to one of them
 * (or to whoever holds the lock that its owner names).
 */
#ifndef CLEAVE_IPC_RING_H
#define CLEAVE_IPC_RING_H

#include <errno.h>
#include <stdbool.h>

#include "ipc/barrier.h"
#include "ipc/link.h"

struct ring {
	struct link_ring *shared;
	uint8_t *slot;		/* slots * 64 bytes, shared */
	uint32_t slots;		/* power of two */
	uint32_t pos;		/* next slot to write or to read */
	uint32_t seen;		/* producer: the consumer's index when last looked at */
	uint32_t done;		/* consumer: slots below are given back ... */
	uint32_t shown;		/* ... and below this the producer was told */
};

/* Both sides start at position `start` (0 but in tests), the ring empty. */
static inline void ring_init(struct ring *r, struct link_ring *shared, void *slot, uint32_t slots, uint32_t start)
{
	*r = (struct ring){ .shared = shared, .slot = slot, .slots = slots,
			    .pos = start, .seen = start, .done = start, .shown = start };
}

static inline uint8_t *ring_at(const struct ring *r, uint32_t pos)
{
	return r->slot + (size_t)(pos & (r->slots - 1)) * LINK_LINE;
}

static inline uint32_t *ring_turn(const struct ring *r, uint32_t pos)
{
	return (uint32_t *)(void *)(ring_at(r, pos) + LINK_LINE - sizeof(uint32_t));
}

/* Producer: free slots; looks at the shared index only when fewer than `want` are known.  -EPROTO. */
static inline int ring_room(struct ring *r, uint32_t want)
{
	uint32_t used = r->pos - r->seen;

	if (__builtin_expect(r->slots - used >= want, 1))
		return (int)(r->slots - used);
	r->seen = load_acquire(&r->shared->cons);	/* pairs with ring_show() */
	used = r->pos - r->seen;
	if (used > r->slots) {
		r->seen = r->pos - r->slots;		/* keep the invariant: full */
		return -EPROTO;
	}
	return (int)(r->slots - used);
}

/*
 * Producer: hands 64 bytes over (the caller's `turn` is ignored).  0, -EAGAIN
 * when full, -EPROTO.  Does not wake anybody: see wait.h.
 */
static inline int ring_push(struct ring *r, const void *line)
{
	int room = ring_room(r, 1);

	if (__builtin_expect(room <= 0, 0))
		return room ? room : -EAGAIN;
	memcpy(ring_at(r, r->pos), line, LINK_LINE - sizeof(uint32_t));
	store_release(ring_turn(r, r->pos), r->pos + 1);	/* pairs with ring_ready() */
	r->pos++;
	store_release(&r->shared->prod, r->pos);		/* pairs with ring_pending() */
	return 0;
}

/* Consumer: is the next slot full?  The one poll of the hot path. */
static inline bool ring_ready(const struct ring *r)
{
	return load_acquire(ring_turn(r, r->pos)) == r->pos + 1;
}

/* Consumer: copies the next slot out.  1, or 0 when the ring is empty.  The slot stays ours until ring_done(). */
static inline int ring_take(struct ring *r, void *line)
{
	if (!ring_ready(r))
		return 0;
	copy_line_once(line, ring_at(r, r->pos));
	r->pos++;
	return 1;
}

/*
 * Consumer: entries as the producer's index has it; -EPROTO when that cannot be.
 * Not for the hot path.  The index may be one behind us: its producer stands
 * between the two stores of ring_push(), and we took the slot by its turn.
 */
static inline int ring_pending(const struct ring *r)
{
	uint32_t n = load_acquire(&r->shared->prod) - r->pos;

	if (n == UINT32_MAX)
		return 0;
	if (n > r->slots - (r->pos - r->done))
		return -EPROTO;
	if (n && !ring_ready(r))	/* turn was stored before prod */
		return -EPROTO;
	return (int)n;
}

/* Consumer: tells the producer what has been given back. */
static inline void ring_show(struct ring *r)
{
	r->shown = r->done;
	store_release(&r->shared->cons, r->done);	/* pairs with ring_room() */
}

/*
 * Consumer: is finished with everything taken so far.  The producer is told
 * after each quarter of the ring, which spares the line's transfer and cannot
 * starve it: a ring that looks full holds more entries than a quarter.
 * Returns true when it was told; the caller then wakes a producer that waits
 * for room (wait.h).
 */
static inline bool ring_done(struct ring *r)
{
	r->done = r->pos;
	if (__builtin_expect(r->done - r->shown < r->slots / 4, 1))
		return false;
	ring_show(r);
	return true;
}

/* The invariants, for tests and debug builds. */
static inline bool ring_check_producer(const struct ring *r)
{
	return r->slots && !(r->slots & (r->slots - 1)) && r->pos - r->seen <= r->slots;
}

static inline bool ring_check_consumer(const struct ring *r)
{
	return r->slots && !(r->slots & (r->slots - 1)) && r->pos - r->shown <= r->slots &&
	       r->done - r->shown <= r->pos - r->shown;
}

#endif
