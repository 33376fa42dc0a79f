/*
 * loop.c - polls, spins, sleeps (loop.h).
 *
 * Must not know: what a request is, what a device does.
 */
#include "devmodel/loop.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devmodel/dispatch.h"
#include "devmodel/portable.h"
#include "ipc/fdpass.h"
#include "proto/words.h"

enum {
	ROUNDS_UNTIMED = 64,		/* rounds of requests between two looks at the clock */
	LOOK_NS = 1000000,		/* how often libevent is asked while requests come */
	HOLD_NS = 100000000,		/* a moment without operations in flight is waited for so long */
	SPIN_WITH_IO_NS = 20000,	/* the end of a back-end operation, a frame, a kick by the kernel are not seen while spinning */
};

struct loop {
	struct machine *m;
	struct event_base *base;
	struct event *wake, *kick, *word, *ended, *due;
	struct watch_net {
		struct loop *loop;
		struct dev *dev;
		struct event *readable, *writable;
		unsigned watched;	/* enum net_wants */
	} net[ARENA_MAX_DEVS];
	bool nets;		/* there are some */
	int sock;
	bool engine_gone;
	uint64_t hold_by;	/* asked to hold, at this time at the latest; 0: not asked */
	uint32_t bell;		/* as last acted upon */
	uint64_t looked;	/* at libevent, ns */
	unsigned rounds;
};

static uint64_t monotonic(void *arg)
{
	(void)arg;
	return wait_now();
}

/* ---- libevent's side */

/*
 * A callback empties its eventfd, even where somebody else has done what it
 * stands for: one that stays readable would keep libevent in its loop for ever.
 */
static void empty(int fd)
{
	uint64_t count;

	while (read(fd, &count, sizeof(count)) < 0 && errno == EINTR)
		;
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	(void)what, (void)arg;
	empty(fd);
}

/* -1: no word, the engine has gone or talks nonsense.  *fd: what came with it, or -1. */
static int hear(struct loop *l, int *fd, int timeout_ms)
{
	unsigned nfds = 0;
	uint8_t word;

	*fd = -1;
	return fdpass_recv(l->sock, &word, 1, fd, 1, &nfds, timeout_ms) == 1 ? word : -1;
}

static int say(struct loop *l, uint8_t word)
{
	return fdpass_send(l->sock, &word, 1, NULL, 0);
}

static void on_word(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	int with;

	(void)fd, (void)what;
	if (hear(l, &with, 0) == WORD_HOLD)
		l->hold_by = wait_now() + HOLD_NS;
	else
		l->engine_gone = true;
	if (with >= 0)
		close(with);
}

static void on_kick(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;

	(void)what;
	empty(fd);
	machine_kicked(l->m);
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;

	(void)what;
	empty(fd);
	machine_reap(l->m);
}

/* The timers themselves run from the loop. */
static void on_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
}

static bool add_event(struct loop *l, struct event **ev, int fd, short what, event_callback_fn fn)
{
	*ev = event_new(l->base, fd, what, fn, l);
	return *ev && (fd < 0 || !event_add(*ev, NULL));
}

/*
 * The engine has not drained its events.  Its thread for them waits for nobody,
 * so this ends soon, or the engine has.
 */
static bool wait_events(struct machine *m)
{
	struct loop *l = m->host;
	struct pollfd p = { .fd = l->sock, .events = POLLRDHUP };	/* a word may wait */
	int n = poll(&p, 1, 1);

	return n == 0 || (n < 0 && errno == EINTR);
}

struct loop *loop_new(struct machine *m, int sock)
{
	struct loop *l = calloc(1, sizeof(*l));
	struct event_config *c = event_config_new();

	if (!l || !c)
		goto fail;
	*l = (struct loop){ .m = m, .sock = sock };
	event_config_set_flag(c, EVENT_BASE_FLAG_PRECISE_TIMER | EVENT_BASE_FLAG_NOLOCK);
	l->base = event_base_new_with_config(c);
	if (!l->base ||
	    !add_event(l, &l->wake, m->link->fd[LINK_FD_WAKE], EV_READ | EV_PERSIST, on_wake) ||
	    !add_event(l, &l->kick, m->link->fd[LINK_FD_KICK], EV_READ | EV_PERSIST, on_kick) ||
	    !add_event(l, &l->word, sock, EV_READ | EV_PERSIST, on_word) ||
	    !add_event(l, &l->due, -1, 0, on_due))
		goto fail;
	event_config_free(c);
	m->clock = monotonic;
	m->clock_arg = NULL;
	m->wait_events = wait_events;
	m->may_hold = m->link && m->link->may_spin;
	m->host = l;
	return l;
fail:
	if (c)
		event_config_free(c);
	if (l)
		loop_free(l);
	return NULL;
}

void loop_free(struct loop *l)
{
	struct event *ev[] = { l->wake, l->kick, l->word, l->ended, l->due };

	for (unsigned i = 0; i < sizeof(ev) / sizeof(ev[0]); i++)
		if (ev[i])
			event_free(ev[i]);
	for (unsigned i = 0; i < ARENA_MAX_DEVS; i++) {
		if (l->net[i].readable)
			event_free(l->net[i].readable);
		if (l->net[i].writable)
			event_free(l->net[i].writable);
	}
	if (l->base)
		event_base_free(l->base);
	free(l);
}

/* ---- networks: watched for what their devices want, which changes all the time */

static void on_net(evutil_socket_t fd, short what, void *arg)
{
	struct watch_net *w = arg;

	(void)fd, (void)what;
	if (!w->loop->m->lost && !w->loop->m->paused)
		machine_net(w->dev);
}

static bool watch_net(struct loop *l, struct watch_net *w, struct dev *d)
{
	w->loop = l;
	w->dev = d;
	if (!w->readable)
		w->readable = event_new(l->base, net_fd(d->net), EV_READ | EV_PERSIST, on_net, w);
	if (!w->writable)
		w->writable = event_new(l->base, net_fd(d->net), EV_WRITE | EV_PERSIST, on_net, w);
	return w->readable && w->writable;
}

static void watch_for(struct event *ev, bool on)
{
	if (on)
		event_add(ev, NULL);
	else
		event_del(ev);
}

/* Before libevent is asked.  A machine that stands takes no frames, nor does a device that is out of service. */
static void update_nets(struct loop *l)
{
	struct machine *m = l->m;

	for (unsigned i = 0; i < m->ndevs; i++) {
		struct net *net = m->dev[i].net;
		struct watch_net *w = &l->net[i];
		unsigned want, changed;

		if (!net || net_fd(net) < 0 || !watch_net(l, w, &m->dev[i]))
			continue;
		want = m->paused || m->dev[i].a->out ? 0 : net_wants(net);
		changed = want ^ w->watched;
		if (changed & NET_READ)
			watch_for(w->readable, want & NET_READ);
		if (changed & NET_WRITE)
			watch_for(w->writable, want & NET_WRITE);
		w->watched = want;
		l->nets = true;
	}
}

/* Back ends exist once the devices do. */
static int watch_back_ends(struct loop *l)
{
	int fd = -1;

	for (unsigned i = 0; i < l->m->ndevs; i++)
		if (l->m->dev[i].nblks)
			fd = blk_eventfd();
	if (fd >= 0 && !add_event(l, &l->ended, fd, EV_READ | EV_PERSIST, on_ended))
		return -ENOMEM;
	return 0;
}

/* ---- what is not a request */

/* Bytes for a device, room for one that waits for it, or somebody came or went at the other end. */
static int streams(struct loop *l)
{
	struct machine *m = l->m;

	m->streams_due = false;
	for (uint32_t left = m->streams; left; left &= left - 1) {
		unsigned i = __builtin_ctz(left);
		ssize_t used = stream_used_at(&m->link->input[i], m->arena->stream[i].taken);
		uint32_t online = link_stream_is_online(m->link, i) ? 1u << i : 0;
		int err = 0;

		if (used < 0)
			return -EPROTO;
		if (used || m->wants_room & 1u << i || online != (m->online & 1u << i))
			err = machine_input(m, i);
		m->online = (m->online & ~(1u << i)) | online;
		if (err < 0)
			return err;
	}
	return 0;
}

/* What the bell stands for, or was left over from the last time. */
static int bells(struct loop *l)
{
	struct machine *m = l->m;
	bool rung = l->bell != m->link->bell_seen;
	int err = 0;

	l->bell = m->link->bell_seen;
	if (rung || m->streams_due)
		err = streams(l);
	if (!err && m->nbells) {
		err = machine_doorbells(m, rung);
		if (err >= 0 && m->ios)
			err = machine_reap(m);
		if (err >= 0 && m->held)
			err = machine_release(m);
	}
	return err < 0 ? err : 0;
}

/* Time-bound work: timers that are due, libevent's descriptors now and then. */
static int look(struct loop *l)
{
	uint64_t now = wait_now();
	int err = machine_timers(l->m);

	l->rounds = 0;
	if (now - l->looked >= LOOK_NS) {
		l->looked = now;
		update_nets(l);
		event_base_loop(l->base, EVLOOP_NONBLOCK | EVLOOP_ONCE);
	}
	return err < 0 ? err : 0;
}

/* ns until the next timer; UINT64_MAX for none. */
static uint64_t until_timer(struct machine *m)
{
	uint64_t next = machine_next_timer(m), now;

	if (!next || m->paused)
		return UINT64_MAX;
	now = machine_now(m);
	return next > now ? next - now : 0;
}

/* ns until interrupts that are held back go out; UINT64_MAX for none. */
static uint64_t until_release(const struct machine *m)
{
	uint64_t at = machine_held_until(m), now;

	if (!at)
		return UINT64_MAX;
	now = wait_now();
	return at > now ? at - now : 0;
}

/* ns until it holds, whatever is still in flight; UINT64_MAX: it was not asked to. */
static uint64_t until_hold(const struct loop *l)
{
	uint64_t now;

	if (!l->hold_by)
		return UINT64_MAX;
	now = wait_now();
	return l->hold_by > now ? l->hold_by - now : 0;
}

static uint64_t until_due(const struct loop *l)
{
	uint64_t timer = until_timer(l->m), release = until_release(l->m), hold = until_hold(l);
	uint64_t first = timer < release ? timer : release;

	return first < hold ? first : hold;
}

static int sleep_once(struct loop *l)
{
	struct machine *m = l->m;
	uint64_t wait = until_due(l);
	int err = 0;

	if (!wait || !link_daemon_prepare_sleep(m->link, &err))
		return err;
	if (wait != UINT64_MAX) {
		struct timeval tv = { .tv_sec = wait / 1000000000u, .tv_usec = (wait % 1000000000u + 999) / 1000 };

		event_add(l->due, &tv);
	} else {
		event_del(l->due);
	}
	update_nets(l);
	event_base_loop(l->base, EVLOOP_ONCE);
	link_daemon_finish_sleep(m->link);
	return 0;
}

/* Nothing in the rings: all else, then wait. */
static int idle(struct loop *l)
{
	struct machine *m = l->m;
	uint64_t limit;
	int err;

	/* A guest that is at it asks again at once: look for that before anything that takes time. */
	if (link_daemon_spin(m->link, 0))
		return 0;
	err = bells(l);
	if (err)
		return err;
	if (m->ios) {
		err = machine_reap(m);
		if (err < 0)
			return err;
	}
	limit = until_timer(m);
	if (!limit)
		return look(l);
	if (m->bells_due || m->streams_due)
		return ++l->rounds >= ROUNDS_UNTIMED ? look(l) : 0;
	if ((m->ios || l->nets || link_kernel_bells(m->link)) && limit > SPIN_WITH_IO_NS)
		limit = SPIN_WITH_IO_NS;
	if (limit > until_release(m))
		limit = until_release(m);
	if (link_daemon_spin(m->link, limit))
		return 0;
	return sleep_once(l);
}

static int failed(struct machine *m, int err)
{
	if (!m->error[0])
		snprintf(m->error, sizeof(m->error), "%s", err == -EPROTO ? "the engine broke the protocol" : strerror(-err));
	return err;
}

/*
 * The engine has gone: what its guest has retired still happens, the last line
 * on a log port above all.  At most what the rings hold: nobody posts any more.
 */
static void last_requests(struct machine *m)
{
	for (unsigned i = 0; i < LINK_REQ_SLOTS && !m->lost; i++)
		if (dispatch_poll(m) <= 0)
			return;
}

/* What cannot be written is missing to whoever reads it. */
static bool pack(struct loop *l, int fd)
{
	uint8_t *bytes;
	size_t n = 0, done = 0;
	ssize_t w = 1;

	if (portable_pack(l->m, &bytes, &n))
		n = 0;
	for (; done < n && w > 0; done += w > 0 ? w : 0)
		w = pwrite(fd, bytes + done, n - done, done);
	free(bytes);
	return !say(l, WORD_PACKED);
}

/*
 * Between two transactions.  Whoever takes over what stands in arena and link
 * now begins operations in flight again, once this process has gone.  False:
 * there is nothing left to do here, not even what the rings hold.
 */
static bool hold(struct loop *l)
{
	bool held;
	int word, with;

	if (l->m->ios && wait_now() < l->hold_by)
		return true;
	l->hold_by = 0;
	l->bell = l->m->link->bell_seen - 1;
	held = !say(l, l->m->ios ? WORD_HELD_BUSY : WORD_HELD);
	while (held && (word = hear(l, &with, -1)) != WORD_GO) {
		held = word == WORD_PACK && with >= 0 && pack(l, with);
		if (with >= 0)
			close(with);
	}
	return held;
}

int loop_run(struct loop *l)
{
	struct machine *m = l->m;
	int err = watch_back_ends(l), n;

	l->bell = m->link->bell_seen - 1;
	while (!err && !l->engine_gone) {
		n = dispatch_poll(m);
		if (n <= 0)
			err = n < 0 ? n : idle(l);
		else if (link_bell_moved(m->link) || l->bell != m->link->bell_seen || m->bells_due || m->held)
			err = bells(l);
		if (n > 0 && !err && ++l->rounds >= ROUNDS_UNTIMED)
			err = look(l);
		if (m->lost && !err)
			err = -EPROTO;
		if (l->hold_by && !err && !hold(l))
			return 0;
	}
	if (!l->engine_gone)
		return failed(m, err);
	last_requests(m);
	return 0;
}
