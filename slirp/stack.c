/*
 * slirp/stack.c - libslirp's callbacks, descriptors and timers (stack.h).
 */
#include "slirp/stack.h"

#include <errno.h>
#include <event2/event.h>
#include <poll.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COMPLAINTS = 20 };	/* what a guest can make libslirp say */

/* One descriptor, by its number. */
struct watch {
	struct event *ev;
	short what;		/* registered: EV_READ, EV_WRITE */
	uint32_t round;		/* in which it was asked for last */
};

struct stack {
	Slirp *slirp;
	struct event_base *base;
	struct stack_ops ops;
	struct event *due;
	struct watch *watch;
	size_t nwatch;
	struct pollfd *poll;	/* of this turn */
	int npoll;
	size_t poll_size;
	uint32_t round;
	bool hold;
	unsigned complaints;
};

struct timer {
	struct stack *stack;
	struct event *ev;
	SlirpTimerId id;
	void *opaque;
};

static int64_t now_ns(void *opaque)
{
	struct timespec t;

	(void)opaque;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

/* ---- callbacks */

static ssize_t on_packet(const void *buf, size_t len, void *opaque)
{
	struct stack *s = opaque;

	s->ops.output(s->ops.arg, buf, len);
	return len;
}

static void on_guest_error(const char *msg, void *opaque)
{
	struct stack *s = opaque;

	if (s->complaints++ < COMPLAINTS)
		fprintf(stderr, "cleave-slirp: the guest: %s\n", msg);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct timer *t = arg;

	(void)fd, (void)what;
	slirp_handle_timer(t->stack->slirp, t->id, t->opaque);
}

static void *timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
	struct stack *s = opaque;
	struct timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	*t = (struct timer){ .stack = s, .id = id, .opaque = cb_opaque };
	t->ev = evtimer_new(s->base, on_timer, t);
	return t;
}

static void timer_free(void *timer, void *opaque)
{
	struct timer *t = timer;

	(void)opaque;
	if (t && t->ev)
		event_free(t->ev);
	free(t);
}

static struct timeval from_ms(int64_t ms)
{
	return (struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque)
{
	struct timer *t = timer;
	int64_t ms = expire_ms - now_ns(opaque) / 1000000;
	struct timeval tv = from_ms(ms > 0 ? ms : 0);

	if (t && t->ev)
		event_add(t->ev, &tv);
}

/* ---- descriptors */

static void on_fd(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;	/* the loop goes round: stack_turn() looks */
}

static struct watch *watch_of(struct stack *s, int fd)
{
	struct watch *w;
	size_t n;

	if (fd < 0)
		return NULL;
	if ((size_t)fd < s->nwatch)
		return &s->watch[fd];
	n = (size_t)fd + 64;
	w = realloc(s->watch, n * sizeof(*w));
	if (!w)
		return NULL;
	memset(w + s->nwatch, 0, (n - s->nwatch) * sizeof(*w));
	s->watch = w;
	s->nwatch = n;
	return &w[fd];
}

static void forget(struct watch *w)
{
	if (w->ev)
		event_free(w->ev);
	*w = (struct watch){ 0 };
}

/* A descriptor is about to be closed: its number may come back as another's. */
static void on_unregister(int fd, void *opaque)
{
	struct stack *s = opaque;

	if (fd >= 0 && (size_t)fd < s->nwatch)
		forget(&s->watch[fd]);
}

static void on_register(int fd, void *opaque)
{
	(void)fd, (void)opaque;
}

static void on_notify(void *opaque)
{
	(void)opaque;		/* one thread: the loop is on its way */
}

static void watch_fd(struct stack *s, int fd, short what)
{
	struct watch *w = watch_of(s, fd);

	if (!w)
		return;
	w->round = s->round;
	if (w->what == what)
		return;
	if (w->ev)
		event_free(w->ev);
	w->what = what;
	w->ev = what ? event_new(s->base, fd, what | EV_PERSIST, on_fd, NULL) : NULL;
	if (w->ev)
		event_add(w->ev, NULL);
}

static const struct { int slirp; short poll; short event; } event_map[] = {
	{ SLIRP_POLL_IN, POLLIN, EV_READ },
	{ SLIRP_POLL_OUT, POLLOUT, EV_WRITE },
	{ SLIRP_POLL_PRI, POLLPRI, EV_READ },
	{ SLIRP_POLL_ERR, POLLERR, 0 },
	{ SLIRP_POLL_HUP, POLLHUP, 0 },
};

enum { EVENTS = sizeof(event_map) / sizeof(event_map[0]) };

static int add_poll(int fd, int events, void *opaque)
{
	struct stack *s = opaque;
	short what = 0, want = 0;

	if ((size_t)s->npoll == s->poll_size) {
		size_t n = s->poll_size + 64;
		struct pollfd *p = realloc(s->poll, n * sizeof(*p));

		if (!p)
			return -1;
		s->poll = p;
		s->poll_size = n;
	}
	if (s->hold)
		events &= ~(SLIRP_POLL_IN | SLIRP_POLL_PRI);
	for (unsigned i = 0; i < EVENTS; i++)
		if (events & event_map[i].slirp) {
			want |= event_map[i].poll;
			what |= event_map[i].event;
		}
	watch_fd(s, fd, what);
	/* Only what was asked for is heard of: a hang-up that nobody waits for would be reported for ever. */
	s->poll[s->npoll] = (struct pollfd){ .fd = what ? fd : -1, .events = want };
	return s->npoll++;
}

static int get_revents(int idx, void *opaque)
{
	const struct stack *s = opaque;
	int got = 0;

	if (idx < 0 || idx >= s->npoll)
		return 0;
	for (unsigned i = 0; i < EVENTS; i++)
		if (s->poll[idx].revents & event_map[i].poll)
			got |= event_map[i].slirp;
	return got;
}

static void on_due(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what, (void)arg;
}

void stack_prepare(struct stack *s, bool hold)
{
	uint32_t ms = UINT32_MAX;

	s->hold = hold;
	s->npoll = 0;
	s->round++;
	slirp_pollfds_fill(s->slirp, &ms, add_poll, s);
	for (size_t fd = 0; fd < s->nwatch; fd++)
		if (s->watch[fd].ev && s->watch[fd].round != s->round)
			forget(&s->watch[fd]);
	if (ms != UINT32_MAX) {
		struct timeval tv = from_ms(ms);

		event_add(s->due, &tv);
	} else {
		event_del(s->due);
	}
}

void stack_turn(struct stack *s)
{
	int n = s->npoll ? poll(s->poll, s->npoll, 0) : 0;

	slirp_pollfds_poll(s->slirp, n < 0, get_revents, s);
}

void stack_input(struct stack *s, const uint8_t *frame, size_t n)
{
	slirp_input(s->slirp, frame, n);
}

/* ---- life */

static int forward(struct stack *s, const struct slirp_conf *c, char *err, size_t errlen)
{
	for (unsigned i = 0; i < c->nforwards; i++) {
		const struct slirp_forward *f = &c->forward[i];
		bool six = f->host.sa.sa_family == AF_INET6;
		union slirp_address guest = f->guest;
		socklen_t n = six ? sizeof(f->host.in6) : sizeof(f->host.in);

		if (!six && !guest.in.sin_addr.s_addr)
			guest.in.sin_addr = c->guest;
		if (!slirp_add_hostxfwd(s->slirp, &f->host.sa, n, &guest.sa, n, (f->udp ? SLIRP_HOSTFWD_UDP : 0) | (six ? SLIRP_HOSTFWD_V6ONLY : 0)))
			continue;
		snprintf(err, errlen, "hostfwd=%s: cannot listen there: %s%s", f->text, strerror(errno),
			 errno == EADDRINUSE ? " (another program has the port: choose another)" :
			 errno == EACCES ? " (ports below 1024 are root's)" : "");
		return -errno ? -errno : -EIO;
	}
	return 0;
}

static const SlirpCb callbacks = {
	.send_packet = on_packet, .guest_error = on_guest_error, .clock_get_ns = now_ns,
	.timer_new_opaque = timer_new, .timer_free = timer_free, .timer_mod = timer_mod,
	.register_poll_fd = on_register, .unregister_poll_fd = on_unregister, .notify = on_notify,
};

static Slirp *start(struct stack *s, const struct slirp_conf *c)
{
	const SlirpConfig config = {
		.version = 4, .restricted = c->restricted, .in_enabled = true,
		.vnetwork = c->net, .vnetmask = c->mask, .vhost = c->host, .vdhcp_start = c->guest, .vnameserver = c->dns,
		.in6_enabled = c->ipv6, .vprefix_addr6 = c->prefix6, .vprefix_len = 64, .vhost6 = c->host6, .vnameserver6 = c->dns6,
		.vhostname = *c->hostname ? c->hostname : NULL, .vdomainname = *c->domain ? c->domain : NULL,
		.if_mtu = c->mtu, .if_mru = c->mtu, .disable_host_loopback = c->no_loopback,
	};

	return slirp_new(&config, &callbacks, s);
}

int stack_new(struct stack **out, struct event_base *base, const struct slirp_conf *c, const struct stack_ops *ops, char *err, size_t errlen)
{
	struct stack *s = calloc(1, sizeof(*s));
	int ret = -ENOMEM;

	*out = s;
	snprintf(err, errlen, "out of memory");
	if (!s)
		return ret;
	s->base = base;
	s->ops = *ops;
	s->due = evtimer_new(base, on_due, NULL);
	s->slirp = s->due ? start(s, c) : NULL;
	if (s->slirp)
		ret = forward(s, c, err, errlen);
	if (ret) {
		stack_free(s);
		*out = NULL;
	}
	return ret;
}

void stack_free(struct stack *s)
{
	if (s->slirp)
		slirp_cleanup(s->slirp);
	for (size_t fd = 0; fd < s->nwatch; fd++)
		forget(&s->watch[fd]);
	if (s->due)
		event_free(s->due);
	free(s->watch);
	free(s->poll);
	free(s);
}
