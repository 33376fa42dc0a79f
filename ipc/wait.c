/*
 * ipc/wait.c - spinning, sleeping, waking (wait.h has the protocol).
 *
 * Owns every sleep and every wake-up of the link, for both sides.
 * futex(2), futex_waitv: Linux 5.16, with a fallback for kernels and sandboxes
 * without it; eventfd(2).
 */
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ipc/link_daemon.h"
#include "ipc/link_engine.h"
#include "ipc/wait.h"

#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

enum {
	POLLS_UNTIMED = 64,	/* looks before the clock is read at all */
	POLLS_TIMED = 16,	/* looks between two readings of the clock */
	FALLBACK_NS = 1000000,	/* without futex_waitv: how late a kick may be seen */
	LEARN_EVERY = 32,	/* waits between two reckonings */
	LEARN_UNIT = 64,	/* weight of one wait */
	LEARN_HOT_MAX = 4 * LEARN_EVERY,	/* hot ones count at most so many: what was long ago fades */
	LEARN_FIRST_NS = 65536,	/* edge of the first bucket; doubles with each */
	LEARN_START_NS = 65536,	/* budget before anything is known */
};

_Static_assert((LEARN_FIRST_NS << (LEARN_BUCKETS - 2)) == WAIT_SPIN_MAX_NS, "the last bucket holds what nobody spins for");

uint64_t wait_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

unsigned wait_cpus(void)
{
	cpu_set_t set;

	if (!sched_getaffinity(0, sizeof(set), &set))
		return (unsigned)CPU_COUNT(&set);
	return (unsigned)sysconf(_SC_NPROCESSORS_ONLN);	/* more CPUs than the set holds */
}

/* ---- the learnt budget ---- */

void learn_init(struct learn *b)
{
	memset(b, 0, sizeof(*b));
	b->budget_ns = LEARN_START_NS;
}

/*
 * cost(k): spin up to edge k.  A wait in a bucket up to k costs its length, one
 * beyond costs the edge and a sleep.  k = -1 is no spinning at all.
 */
static uint32_t cheapest(const struct learn *b)
{
	uint64_t beyond = 0, within = 0, best, edge = LEARN_FIRST_NS;
	uint32_t budget = 0;

	for (int i = 0; i < LEARN_BUCKETS; i++)
		beyond += b->weight[i];
	best = beyond * WAIT_SLEEP_NS;
	for (int k = 0; k < LEARN_BUCKETS - 1; k++, edge *= 2) {
		uint64_t cost;

		within += b->ns[k];
		beyond -= b->weight[k];
		cost = within + beyond * (edge + WAIT_SLEEP_NS);
		if (cost < best) {
			best = cost;
			budget = (uint32_t)edge;
		}
	}
	return budget;
}

void learn_note(struct learn *b, uint64_t ns)
{
	uint64_t edges = ns / LEARN_FIRST_NS;
	int bucket = edges ? 64 - __builtin_clzll(edges) : 0;

	b->weight[0] += (b->hot < LEARN_HOT_MAX ? b->hot : LEARN_HOT_MAX) * LEARN_UNIT;
	b->hot = 0;
	if (bucket >= LEARN_BUCKETS - 1)
		bucket = LEARN_BUCKETS - 1;	/* nobody spins for it, however long it is */
	else
		b->ns[bucket] += ns * LEARN_UNIT;
	b->weight[bucket] += LEARN_UNIT;
	if (++b->waits < LEARN_EVERY)
		return;
	b->waits = 0;
	b->budget_ns = cheapest(b);
	for (int i = 0; i < LEARN_BUCKETS; i++) {
		b->weight[i] -= b->weight[i] / 4;
		b->ns[i] -= b->ns[i] / 4;
	}
}

/*
 * The first edge is no finer than this because a wait that slept says little of
 * how long it would have taken: with a budget of a few hundred ns, an answer
 * that once took a few us would be slept for, woken for, and so be slow again
 * for ever.  Answers in time cost the same under any budget.
 */

/* What the wait would have been had nobody slept: the rest is no reason to sleep again. */
static void note_wait(struct learn *b, uint64_t ns, unsigned sleeps)
{
	uint64_t wakeups = (uint64_t)sleeps * WAIT_SLEEP_NS;

	learn_note(b, ns > wakeups ? ns - wakeups : 0);
}

/* ---- futexes ---- */

static int futex_one(const uint32_t *word, uint32_t value, int64_t timeout_ns)
{
	struct timespec t = { .tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000 };

	return syscall(SYS_futex, word, FUTEX_WAIT, value, timeout_ns < 0 ? NULL : &t, NULL, 0) ? -errno : 0;
}

/* Two words where the kernel cannot wait for two: look at the second every FALLBACK_NS. */
static int futex_poll(const uint32_t *word, uint32_t value, int64_t timeout_ns)
{
	int64_t slice = timeout_ns < 0 || timeout_ns > FALLBACK_NS ? FALLBACK_NS : timeout_ns;
	int err = futex_one(word, value, slice);

	return err == -ETIMEDOUT && slice != timeout_ns ? 0 : err;
}

static int futex_two(const uint32_t *word, uint32_t value, const uint32_t *kick, uint32_t kick_value, int64_t timeout_ns)
{
	struct futex_waitv w[2] = {
		{ .val = value, .uaddr = (uintptr_t)word, .flags = FUTEX_32 },
		{ .val = kick_value, .uaddr = (uintptr_t)kick, .flags = FUTEX_32 | FUTEX_PRIVATE_FLAG },
	};
	struct timespec until = { 0 };

	if (timeout_ns >= 0) {
		uint64_t end = wait_now() + (uint64_t)timeout_ns;

		until.tv_sec = (time_t)(end / 1000000000u);
		until.tv_nsec = (long)(end % 1000000000u);
	}
	return syscall(SYS_futex_waitv, w, 2, 0, timeout_ns < 0 ? NULL : &until, CLOCK_MONOTONIC) < 0 ? -errno : 0;
}

int wait_futex(const uint32_t *word, uint32_t value, const uint32_t *kick, uint32_t kick_value, int64_t timeout_ns)
{
	int err;

	if (!kick)
		return futex_one(word, value, timeout_ns);
	if (load_acquire(kick) != kick_value)
		return -EAGAIN;
	err = futex_two(word, value, kick, kick_value, timeout_ns);
	if (err == -ENOSYS || err == -EPERM)	/* an old kernel; a seccomp filter that does not know the call */
		err = futex_poll(word, value, timeout_ns);
	return err;
}

void wait_wake_shared(const uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void wait_wake_private(const uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

static void ring_eventfd(int fd)
{
	uint64_t one = 1;
	ssize_t n;

	do
		n = write(fd, &one, sizeof(one));	/* EAGAIN: the count is full, so it is readable */
	while (n < 0 && errno == EINTR);
}

/* ---- engine: waiting for a word of the daemon ---- */

/* One thing to wait for, behind a ring. */
struct goal {
	int (*there)(struct ring *);	/* > 0 yes, 0 no, -EPROTO; the careful look */
	struct ring *ring;
	uint32_t *flag;			/* says that we sleep */
	const uint32_t *word;		/* moves when it comes ... */
	uint32_t value;			/* ... away from this */
};

static int comp_there(struct ring *r)
{
	return ring_pending(r);
}

static int room_there(struct ring *r)
{
	return ring_room(r, 1);
}

static bool kicked(const uint32_t *kick, uint32_t seen)
{
	return kick && load_acquire(kick) != seen;
}

/* Announce, fence, look again, sleep; until it is there. */
static enum wait_result sleep_for(const struct goal *g, const uint32_t *kick, uint32_t seen, int64_t timeout_ns)
{
	uint64_t start = timeout_ns > 0 ? wait_now() : 0;
	enum wait_result res;
	int64_t left = timeout_ns;

	for (;;) {
		int there;

		store_relaxed(g->flag, 1);
		fence_full();	/* pairs with link_flush(), link_wake_room() */
		there = g->there(g->ring);
		if (there || kicked(kick, seen)) {
			res = there > 0 ? WAIT_READY : there < 0 ? WAIT_BROKEN : WAIT_KICKED;
			break;
		}
		if (timeout_ns > 0)
			left = timeout_ns - (int64_t)(wait_now() - start);
		if (timeout_ns >= 0 && left <= 0) {
			res = WAIT_TIMEOUT;
			break;
		}
		wait_futex(g->word, g->value, kick, seen, left);
	}
	store_relaxed(g->flag, 0);
	return res;
}

/* Spin for the budget.  WAIT_TIMEOUT: not there yet. */
static enum wait_result spin_for_comp(struct link_chan *c, const uint32_t *kick, uint32_t seen, uint64_t *start)
{
	for (unsigned i = 0; i < POLLS_UNTIMED; i++) {
		if (ring_ready(&c->comp))
			return WAIT_READY;
		if (kicked(kick, seen))
			return WAIT_KICKED;
		cpu_relax();
	}
	*start = wait_now();
	do {
		for (unsigned i = 0; i < POLLS_TIMED; i++) {
			if (ring_ready(&c->comp))
				return WAIT_READY;
			cpu_relax();
		}
		if (kicked(kick, seen))
			return WAIT_KICKED;
	} while (wait_now() - *start < c->learn.budget_ns);
	return WAIT_TIMEOUT;
}

/* This thread waits, and will apply what its completion names. */
static void come_back(struct link_chan *c)
{
	c->away = 0;
	store_relaxed(&c->shared->comp.cons_sleeps, 0);
}

/* It leaves without its completion: the event thread looks after events from now on, and after those just posted. */
static void go_away(struct link *l, struct link_chan *c)
{
	c->away = 1;
	store_relaxed(&c->shared->comp.cons_sleeps, LINK_AWAY);
	fence_full();	/* pairs with link_flush() */
	ring_eventfd(l->fd[LINK_FD_EVENT]);
}

enum wait_result link_wait_comp(struct link *l, unsigned n, const uint32_t *kick, uint32_t seen, int64_t timeout_ns)
{
	struct link_chan *c = &l->chan[n];
	uint64_t start = 0;
	enum wait_result res;
	unsigned sleeps = c->woke_peer;

	if (c->away)
		come_back(c);
	if (ring_ready(&c->comp))
		res = WAIT_READY;
	else if (l->may_spin && timeout_ns)
		res = spin_for_comp(c, kick, seen, &start);
	else
		res = WAIT_TIMEOUT;
	if (res == WAIT_TIMEOUT) {
		struct goal g = { comp_there, &c->comp, &c->shared->comp.cons_sleeps, &c->shared->comp.prod, c->comp.pos };

		if (!start && timeout_ns)
			start = wait_now();
		res = sleep_for(&g, kick, seen, timeout_ns);
		sleeps++;
	}
	if (__builtin_expect(res == WAIT_READY && !start && !sleeps, 1)) {
		learn_hot(&c->learn);
	} else if (res == WAIT_READY) {
		note_wait(&c->learn, start ? wait_now() - start : 0, sleeps);
		c->woke_peer = 0;
	} else if (res == WAIT_KICKED || (res == WAIT_TIMEOUT && timeout_ns)) {
		go_away(l, c);
	}
	return res;
}

enum wait_result link_wait_room(struct link *l, unsigned n, const uint32_t *kick, uint32_t seen, int64_t timeout_ns)
{
	struct link_chan *c = &l->chan[n];
	struct goal g = { room_there, &c->req, &c->shared->req.prod_sleeps, &c->shared->req.cons, 0 };
	int room = 0;

	for (unsigned i = 0; i < POLLS_UNTIMED && !room; i++) {
		room = ring_room(&c->req, 1);
		if (!room && kicked(kick, seen))
			return WAIT_KICKED;
		if (!l->may_spin || !timeout_ns)
			break;
		cpu_relax();
	}
	if (room)
		return room > 0 ? WAIT_READY : WAIT_BROKEN;
	g.value = c->req.seen;
	return sleep_for(&g, kick, seen, timeout_ns);
}

/* ---- engine: waking the daemon ---- */

void link_wake_daemon(struct link *l)
{
	if (exchange(&l->header->daemon_sleeps, 0))
		ring_eventfd(l->fd[LINK_FD_WAKE]);
}

/* Work that is no request. */
void link_ring_bell(struct link *l)
{
	fetch_add(&l->header->bell, 1);	/* a full fence: pairs with link_daemon_prepare_sleep() */
	if (load_relaxed(&l->header->daemon_sleeps))
		link_wake_daemon(l);
}

/* `flag` is an eventfd sleeper's: take it down; true when it was up.  After a full fence. */
static bool claim(uint32_t *flag)
{
	return load_relaxed(flag) && exchange(flag, 0);
}

void link_doorbell_ring(struct link *l, unsigned n)
{
	fetch_add(&l->doorbell[n].count, 1);
	link_ring_bell(l);
}

void link_doorbell_by_kernel(struct link *l, unsigned n, bool on)
{
	store_release(&l->doorbell[n].by_kernel, on);	/* pairs with link_doorbell_is_kernels() */
	l->kernel_bells += on ? 1 : -1;
	store_relaxed(&l->header->kernel_bells, l->kernel_bells);
}

/* ---- engine: events ---- */

void link_release_events(struct link *l)
{
	struct ring *r = &l->events;

	r->done = r->pos;
	if (r->done == r->shown)
		return;
	ring_show(r);
	fence_full();	/* pairs with link_daemon_prepare_sleep() */
	if (claim(&r->shared->prod_sleeps))
		link_ring_bell(l);
}

bool link_events_prepare_sleep(struct link *l, int *err)
{
	int pending;

	store_relaxed(&l->events.shared->cons_sleeps, 1);
	fence_full();	/* pairs with link_flush() */
	pending = ring_pending(&l->events);
	*err = pending < 0 ? pending : 0;
	if (!pending)
		return true;
	store_relaxed(&l->events.shared->cons_sleeps, 0);
	return false;
}

void link_events_finish_sleep(struct link *l)
{
	store_relaxed(&l->events.shared->cons_sleeps, 0);
}

/* ---- engine: streams ---- */

ssize_t link_input_put(struct link *l, unsigned stream, const void *from, size_t n)
{
	ssize_t put = stream_put(&l->input[stream], from, n);

	if (put > 0)
		link_ring_bell(l);
	return put;
}

ssize_t link_input_room(struct link *l, unsigned stream)
{
	return stream_room(&l->input[stream]);
}

ssize_t link_output_peek(struct link *l, unsigned stream, void *to, size_t n)
{
	return stream_peek(&l->output[stream], to, n);
}

void link_output_take(struct link *l, unsigned stream, size_t n)
{
	stream_take(&l->output[stream], n);
	fence_full();	/* pairs with link_output_want_room() */
	if (claim(&l->output[stream].shared->prod_sleeps))
		link_ring_bell(l);
}

void link_stream_online(struct link *l, unsigned stream, bool online)
{
	store_relaxed(l->online[stream], online);
	link_ring_bell(l);
}

bool link_relay_prepare_sleep(struct link *l, uint32_t want_output, uint32_t want_room, int *err)
{
	ssize_t found = 0;

	l->streams_watched |= want_output | want_room;
	for (unsigned n = 0; n < LINK_STREAMS; n++) {
		if (!(l->streams_watched >> n & 1))	/* pages of streams without use stay untouched */
			continue;
		store_relaxed(&l->output[n].shared->cons_sleeps, want_output >> n & 1);
		store_relaxed(&l->input[n].shared->prod_sleeps, want_room >> n & 1);
	}
	fence_full();	/* pairs with link_output_publish(), link_input_give_back() */
	for (unsigned n = 0; n < LINK_STREAMS && !found; n++) {
		if (want_output >> n & 1)
			found = stream_used(&l->output[n]);
		if (!found && want_room >> n & 1)
			found = stream_room(&l->input[n]);
	}
	*err = found < 0 ? (int)found : 0;
	if (!found)
		return true;
	link_relay_finish_sleep(l);
	return false;
}

void link_relay_finish_sleep(struct link *l)
{
	for (unsigned n = 0; n < LINK_STREAMS; n++) {
		if (!(l->streams_watched >> n & 1))
			continue;
		store_relaxed(&l->output[n].shared->cons_sleeps, 0);
		store_relaxed(&l->input[n].shared->prod_sleeps, 0);
	}
}

/* ---- daemon: waking the engine ---- */

void link_wake_vcpu(struct link *l, unsigned n)
{
	l->woke_peer = 1;
	wait_wake_shared(&l->chan[n].shared->comp.prod);
}

void link_wake_events(struct link *l)
{
	if (claim(&l->events.shared->cons_sleeps))
		ring_eventfd(l->fd[LINK_FD_EVENT]);
}

void link_wake_room(struct link *l, unsigned n)
{
	struct link_ring *r = &l->chan[n].shared->req;

	fence_full();	/* pairs with link_wait_room() */
	if (load_relaxed(&r->prod_sleeps))
		wait_wake_shared(&r->cons);
}

/* ---- daemon: streams ---- */

ssize_t link_input_peek(struct link *l, unsigned stream, uint32_t pos, void *to, size_t n)
{
	return stream_copy(&l->input[stream], pos, to, n);
}

void link_input_give_back(struct link *l, unsigned stream, uint32_t pos)
{
	stream_give_back(&l->input[stream], pos);
	fence_full();	/* pairs with link_relay_prepare_sleep() */
	if (claim(&l->input[stream].shared->prod_sleeps))
		ring_eventfd(l->fd[LINK_FD_RELAY]);
}

ssize_t link_output_room(struct link *l, unsigned stream, uint32_t pos)
{
	return stream_room_at(&l->output[stream], pos);
}

void link_output_stage(struct link *l, unsigned stream, uint32_t pos, const void *from, size_t n)
{
	stream_stage(&l->output[stream], pos, from, n);
}

void link_output_publish(struct link *l, unsigned stream, uint32_t pos)
{
	stream_publish(&l->output[stream], pos);
	fence_full();	/* pairs with link_relay_prepare_sleep() */
	if (claim(&l->output[stream].shared->cons_sleeps))
		ring_eventfd(l->fd[LINK_FD_RELAY]);
}

ssize_t link_output_want_room(struct link *l, unsigned stream, uint32_t pos)
{
	store_relaxed(&l->output[stream].shared->prod_sleeps, 1);
	fence_full();	/* pairs with link_output_take() */
	return stream_room_at(&l->output[stream], pos);
}

/* ---- daemon: its own sleep ---- */

bool link_daemon_work(struct link *l)
{
	if (link_bell_moved(l))
		return true;
	for (unsigned n = 0; n <= l->nvcpus; n++)
		if (link_req_ready(l, n))
			return true;
	return false;
}

static void work_came(struct link *l, unsigned sleeps)
{
	uint64_t since = l->idle_since;

	if (__builtin_expect(!since && !sleeps && !l->woke_peer, 1)) {
		learn_hot(&l->idle);
		return;
	}
	note_wait(&l->idle, since ? wait_now() - since : 0, sleeps + l->woke_peer);
	l->idle_since = 0;
	l->woke_peer = 0;
}

bool link_daemon_spin(struct link *l, uint64_t limit_ns)
{
	uint64_t budget = l->idle.budget_ns < limit_ns ? l->idle.budget_ns : limit_ns;
	uint64_t start;

	for (unsigned i = 0; i < POLLS_UNTIMED; i++) {
		if (link_daemon_work(l)) {
			work_came(l, 0);
			return true;
		}
		if (!l->may_spin)
			return false;
		cpu_relax();
	}
	start = wait_now();
	if (!l->idle_since)
		l->idle_since = start;
	do {
		for (unsigned i = 0; i < POLLS_TIMED; i++) {
			if (link_daemon_work(l)) {
				work_came(l, 0);
				return true;
			}
			cpu_relax();
		}
	} while (wait_now() - start < budget);
	return false;
}

/* The careful look: indices too. */
static int daemon_pending(struct link *l)
{
	int found = link_daemon_work(l);

	for (unsigned n = 0; n <= l->nvcpus && !found; n++)
		found = ring_pending(&l->chan[n].req);
	if (!found && l->events_wanted) {
		found = ring_room(&l->events, l->events_wanted);
		if (found > 0 && (unsigned)found < l->events_wanted)
			found = 0;
	}
	return found;
}

bool link_daemon_prepare_sleep(struct link *l, int *err)
{
	int found;

	if (!l->idle_since)
		l->idle_since = wait_now();
	if (l->events_wanted)
		store_relaxed(&l->events.shared->prod_sleeps, 1);
	store_relaxed(&l->header->daemon_sleeps, 1);
	fence_full();	/* pairs with link_post_req(), link_ring_bell(), link_release_events() */
	found = daemon_pending(l);
	*err = found < 0 ? found : 0;
	if (!found)
		return true;
	store_relaxed(&l->header->daemon_sleeps, 0);
	work_came(l, 0);
	return false;
}

void link_daemon_finish_sleep(struct link *l)
{
	uint64_t count;
	ssize_t n;

	store_relaxed(&l->header->daemon_sleeps, 0);
	n = read(l->fd[LINK_FD_WAKE], &count, sizeof(count));
	if (n == (ssize_t)sizeof(count))	/* else a timer or a back end woke us: still idle */
		work_came(l, 1);
}

void link_event_want_room(struct link *l, unsigned want)
{
	l->events_wanted = want;
	if (!want)
		store_relaxed(&l->events.shared->prod_sleeps, 0);
}
