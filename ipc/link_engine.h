/*
 * ipc/link_engine.h - what the engine does with the link.
 *
 * Requests and completions of channel n belong to vCPU n's thread (channel
 * nvcpus to the main thread); events to whoever holds the lock that guards
 * their draining; streams to the relay's thread; shadow words, doorbells and
 * code bytes to any thread.
 *
 * -EPROTO from any of these means that the daemon writes nonsense: the caller
 * condemns the link, never the VM.  Content is checked by check.h.
 */
#ifndef CLEAVE_IPC_LINK_ENGINE_H
#define CLEAVE_IPC_LINK_ENGINE_H

#include "ipc/region.h"
#include "ipc/wait.h"

/* ---- requests and completions ---- */

void link_wake_daemon(struct link *);

/*
 * Posts, and wakes the daemon if it sleeps.  0; -EAGAIN when the ring is full
 * (link_wait_room()); -EPROTO.  A batch is in its data page before.
 */
static inline int link_post_req(struct link *l, unsigned n, const struct link_req *r)
{
	struct link_chan *c = &l->chan[n];
	int err = ring_push(&c->req, r);

	if (__builtin_expect(err, 0))
		return err;
	fence_full();	/* pairs with link_daemon_prepare_sleep() */
	if (__builtin_expect(load_relaxed(&l->header->daemon_sleeps) != 0, 0)) {
		c->woke_peer = 1;
		link_wake_daemon(l);
	}
	return 0;
}

/* 1 and a private copy of the next completion, or 0.  Its slot is given back; a batched read's page is not the slot. */
static inline int link_take_comp(struct link *l, unsigned n, struct link_comp *c)
{
	struct ring *r = &l->chan[n].comp;

	if (!ring_take(r, c))
		return 0;
	ring_done(r);	/* nobody sleeps for room here: completions never outnumber requests */
	return 1;
}

enum wait_result {
	WAIT_READY,	/* link_take_comp() gives one; there is room */
	WAIT_KICKED,	/* *kick != seen */
	WAIT_TIMEOUT,
	WAIT_BROKEN,	/* impossible indices: condemn the daemon */
};

/*
 * Waits for the next completion of channel n: spins for the learnt budget,
 * then sleeps.  `kick` (private to this process, NULL for none) ends the wait
 * when it differs from `seen`; whoever counts it up calls wait_wake_private().
 * Whoever gets WAIT_READY applies the completion's events at once: the event
 * thread is not woken for them.  Do not dawdle between posting and this.
 * timeout_ns < 0 waits for ever.  With timeout 0 it only looks.
 */
enum wait_result link_wait_comp(struct link *, unsigned n, const uint32_t *kick, uint32_t seen, int64_t timeout_ns);
/* The same for a free request slot. */
enum wait_result link_wait_room(struct link *, unsigned n, const uint32_t *kick, uint32_t seen, int64_t timeout_ns);

/* Highest posted request that the daemon has committed (completions imply their own). */
static inline uint64_t link_committed(const struct link *l, unsigned n)
{
	return load_acquire(&l->chan[n].shared->committed);	/* pairs with link_commit() */
}

/* A batch's bytes; page < LINK_DATA_PAGES, n <= LINK_PAGE.  Copied in before posting, out once after the completion. */
static inline void link_data_put(struct link *l, unsigned n, unsigned page, const void *from, size_t len)
{
	memcpy(l->chan[n].shared->data[page], from, len);
}

static inline void link_data_get(struct link *l, unsigned n, unsigned page, void *to, size_t len)
{
	copy_once(to, l->chan[n].shared->data[page], len);
}

/* ---- events: under the drainer's lock ---- */

static inline int link_take_event(struct link *l, struct link_event *e)
{
	return ring_take(&l->events, e);
}

/* After applying what was taken; tells a daemon that waits for room. */
void link_release_events(struct link *);

/*
 * The event thread waits on fd[LINK_FD_EVENT], added to libevent with
 * EV_READ | EV_ET | EV_PERSIST and never read: the daemon could make a read
 * block.  In the callback:
 *	do {
 *		link_events_finish_sleep(l);
 *		while (link_take_event(l, &e)) apply(&e);
 *		link_release_events(l);
 *	} while (!link_events_prepare_sleep(l));
 * Once before the first sleep too.  prepare: true = may sleep, false = look
 * again.  *err is 0 or -EPROTO.
 */
bool link_events_prepare_sleep(struct link *, int *err);
void link_events_finish_sleep(struct link *);

/* ---- byte streams: the relay's thread ---- */

/* Bytes taken (possibly fewer), 0 when full, -EPROTO.  Wakes the daemon. */
ssize_t link_input_put(struct link *, unsigned stream, const void *from, size_t n);
ssize_t link_input_room(struct link *, unsigned stream);
/* Copies bytes that the device sent, then takes them: only what the host has accepted. */
ssize_t link_output_peek(struct link *, unsigned stream, void *to, size_t n);
void link_output_take(struct link *, unsigned stream, size_t n);
/* Somebody is, or is no longer, at the stream's end on the host. */
void link_stream_online(struct link *, unsigned stream, bool online);

/*
 * As for events, with fd[LINK_FD_RELAY].  `want_output`, `want_room`: bit n for
 * each stream whose output (input room) this thread would act upon.
 */
bool link_relay_prepare_sleep(struct link *, uint32_t want_output, uint32_t want_room, int *err);
void link_relay_finish_sleep(struct link *);

/* ---- words: any thread ---- */

/* A shadow register's value; false while it must be asked for.  `word` < LINK_SHADOWS. */
static inline bool link_shadow_read(const struct link *l, unsigned word, uint32_t *value)
{
	uint64_t w = load_acquire(&l->shadow[word]);	/* pairs with link_shadow_write() */

	*value = (uint32_t)w;
	return w & LINK_SHADOW_VALID;
}

/* Counts a doorbell up and wakes the daemon.  `n` < LINK_DOORBELLS. */
void link_doorbell_ring(struct link *, unsigned n);

/* The kernel answers doorbell `n` from now on, or no longer: each in turn.  One thread at a time. */
void link_doorbell_by_kernel(struct link *, unsigned n, bool on);

/* For work that is no request: who sleeps is woken. */
void link_ring_bell(struct link *);

/* vCPU n goes to sleep in HLT, or has woken. */
static inline void link_activity(struct link *l, unsigned n, enum link_activity a)
{
	store_relaxed(&l->chan[n].shared->activity, a);
	if (a != LINK_HALTED)
		return;
	fence_full();	/* pairs with link_hold() */
	if (load_relaxed(&l->header->holds))
		link_ring_bell(l);
}

/*
 * Guest page `page` (< code_pages) will be decoded from: call before reading
 * its bytes.  The fence pairs with the one in link_code_test(): the daemon sees
 * the mark, or the decoder sees the DMA's bytes.
 */
static inline void link_code_mark(struct link *l, uint64_t page)
{
	if (load_relaxed(&l->code[page]))
		return;
	store_relaxed(&l->code[page], 1);
	fence_full();
}

/* No code of this page is kept any more. */
static inline void link_code_clear(struct link *l, uint64_t page)
{
	store_relaxed(&l->code[page], 0);
}

#endif
