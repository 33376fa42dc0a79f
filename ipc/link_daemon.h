/*
 * ipc/link_daemon.h - what the device model does with the link.
 *
 * Thread: all of it belongs to the daemon's one loop.  -EPROTO means that the
 * engine writes nonsense: the daemon says so and ends.  Content is checked by
 * check.h.
 */
#ifndef CLEAVE_IPC_LINK_DAEMON_H
#define CLEAVE_IPC_LINK_DAEMON_H

#include "ipc/region.h"
#include "ipc/wait.h"

/* ---- requests and completions; n is the channel, nvcpus the control channel ---- */

/* 1 and a private copy of the next request, or 0.  Its slot stays taken until link_release_req(). */
static inline int link_take_req(struct link *l, unsigned n, struct link_req *r)
{
	return ring_take(&l->chan[n].req, r);
}

/* Is there one? */
static inline bool link_req_ready(const struct link *l, unsigned n)
{
	return ring_ready(&l->chan[n].req);
}

void link_wake_room(struct link *, unsigned n);

/* Everything taken from channel n is committed: its slots are free. */
static inline void link_release_req(struct link *l, unsigned n)
{
	if (ring_done(&l->chan[n].req))
		link_wake_room(l, n);
}

/* After the commit of a posted write: request `seq` of channel n and all before it have happened. */
static inline void link_commit(struct link *l, unsigned n, uint64_t seq)
{
	store_release(&l->chan[n].shared->committed, seq);	/* pairs with link_committed() */
}

/* A batch's bytes; page < LINK_DATA_PAGES, len <= LINK_PAGE: check.h has seen to both. */
static inline void link_batch_get(struct link *l, unsigned n, unsigned page, void *to, size_t len)
{
	copy_once(to, l->chan[n].shared->data[page], len);
}

static inline void link_batch_put(struct link *l, unsigned n, unsigned page, const void *from, size_t len)
{
	memcpy(l->chan[n].shared->data[page], from, len);
}

/* 0; -EAGAIN: the engine does not take its completions, which it must; -EPROTO.  Events first, link_flush() after. */
static inline int link_post_comp(struct link *l, unsigned n, const struct link_comp *c)
{
	l->answered = 1;
	return ring_push(&l->chan[n].comp, c);
}

/* ---- events ---- */

void link_wake_events(struct link *);

/*
 * Free event slots when `want` are needed, or -EPROTO.  A transaction reserves
 * before it begins.  Too few: the event thread is woken, also for events that
 * were left to a waiting vCPU.
 */
static inline int link_event_room(struct link *l, unsigned want)
{
	int room = ring_room(&l->events, want);

	if (__builtin_expect(room >= 0 && (unsigned)room < want, 0)) {
		fence_full();	/* pairs with link_events_prepare_sleep() */
		link_wake_events(l);
	}
	return room;
}

static inline int link_post_event(struct link *l, const struct link_event *e)
{
	l->events_posted = 1;
	return ring_push(&l->events, e);
}

/*
 * After posting: wakes channel n's vCPU (n <= nvcpus; LINK_NO_CHANNEL for none)
 * if it sleeps, and the event thread for events that no waiting vCPU will see
 * to: a completion posted with them names them, and who waits for it drains.
 */
#define LINK_NO_CHANNEL	0xffffffffu
void link_wake_vcpu(struct link *, unsigned n);

static inline void link_flush(struct link *l, unsigned n)
{
	uint32_t waiter = LINK_AWAY;

	fence_full();	/* pairs with link_wait_comp(), link_events_prepare_sleep() */
	if (n != LINK_NO_CHANNEL && l->answered)
		waiter = load_relaxed(&l->chan[n].shared->comp.cons_sleeps);
	if (__builtin_expect(waiter & LINK_SLEEPS, 0))
		link_wake_vcpu(l, n);
	if (l->events_posted && (waiter & LINK_AWAY))
		link_wake_events(l);
	l->events_posted = l->answered = 0;
}

/* ---- byte streams: positions are the arena's ---- */

/* Input: bytes wait at committed position `pos`; copy; give back after the commit. */
ssize_t link_input_peek(struct link *, unsigned stream, uint32_t pos, void *to, size_t n);
void link_input_give_back(struct link *, unsigned stream, uint32_t pos);
/* Output: room at `pos`, bytes written ahead of the published position, and published after the commit. */
ssize_t link_output_room(struct link *, unsigned stream, uint32_t pos);
void link_output_stage(struct link *, unsigned stream, uint32_t pos, const void *from, size_t n);
void link_output_publish(struct link *, unsigned stream, uint32_t pos);
/* Asks for the bell once bytes are taken from this stream; returns the room after asking, as link_output_room(). */
ssize_t link_output_want_room(struct link *, unsigned stream, uint32_t pos);
/* Is somebody at the stream's end on the host?  A change rings the bell. */
static inline bool link_stream_is_online(const struct link *l, unsigned stream)
{
	return load_relaxed(l->online[stream]) == 1;
}

/* ---- words ---- */

/* After the commit, before the completion. */
static inline void link_shadow_write(struct link *l, unsigned word, uint32_t value, bool valid)
{
	store_release(&l->shadow[word], value | (valid ? LINK_SHADOW_VALID : 0));	/* pairs with link_shadow_read() */
}

/* Has the bell moved?  Takes note of it. */
static inline bool link_bell_moved(struct link *l)
{
	uint32_t bell = load_acquire(&l->header->bell);	/* pairs with link_ring_bell() */

	if (bell == l->bell_seen)
		return false;
	l->bell_seen = bell;
	return true;
}

/* Are all vCPUs at work, as far as they say?  One that sleeps would wait for an interrupt that is held back. */
static inline bool link_vcpus_run(const struct link *l)
{
	for (unsigned n = 0; n < l->nvcpus; n++)
		if (load_relaxed(&l->chan[n].shared->activity) != LINK_RUNS)
			return false;
	return true;
}

/* Announces that interrupts are held back; false: a vCPU has gone to sleep, send them now. */
static inline bool link_hold(struct link *l)
{
	store_relaxed(&l->header->holds, 1);
	fence_full();	/* pairs with link_activity() */
	return link_vcpus_run(l);
}

static inline void link_unhold(struct link *l)
{
	store_relaxed(&l->header->holds, 0);
}

/* KICK is readable: may it have been this one? */
static inline bool link_doorbell_is_kernels(const struct link *l, unsigned n)
{
	return load_acquire(&l->doorbell[n].by_kernel);
}

static inline bool link_kernel_bells(const struct link *l)
{
	return load_relaxed(&l->header->kernel_bells);
}

static inline uint32_t link_doorbell_count(const struct link *l, unsigned n)
{
	return load_acquire(&l->doorbell[n].count);
}

/*
 * DMA: write the bytes, link_dma_fence() once, then link_code_test() for each
 * page written; a page that tests true needs a LINK_EV_CODE before whatever
 * reveals the DMA, and an empty ring of events (link_event_room()) before what
 * reveals it in memory.
 */
static inline void link_dma_fence(void)
{
	fence_full();	/* pairs with link_code_mark() */
}

static inline bool link_code_test(const struct link *l, uint64_t page)
{
	return page < l->code_pages && load_relaxed(&l->code[page]) != 0;
}

/* ---- the loop's sleep ---- */

/*
 *	for (;;) {
 *		do all work;  event_base_loop(base, EVLOOP_NONBLOCK) now and then;
 *		if (link_daemon_spin(l, next_timer_ns)) continue;
 *		if (!link_daemon_prepare_sleep(l, &err)) continue;
 *		event_base_loop(base, EVLOOP_ONCE);		// fd[LINK_FD_WAKE]: EV_READ | EV_PERSIST
 *		link_daemon_finish_sleep(l);
 *	}
 */

/* Work came: a request on any channel, or the bell moved (which this takes note of). */
bool link_daemon_work(struct link *);
/* Spins up to the learnt budget, at most `limit_ns`; true when work came. */
bool link_daemon_spin(struct link *, uint64_t limit_ns);
/* Announces the sleep and looks again: true = sleep now, false = there is work (*err 0) or -EPROTO. */
bool link_daemon_prepare_sleep(struct link *, int *err);
/* Awake: withdraws the announcement, empties the eventfd. */
void link_daemon_finish_sleep(struct link *);
/* Before a sleep while a transaction lacks event room: room for `want` is work then.  0 withdraws it. */
void link_event_want_room(struct link *, unsigned want);

#endif
