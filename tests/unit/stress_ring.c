/*
 * tests/unit/stress_ring.c - the whole link under load: requests, posted writes,
 * batches, events, byte streams, kicks, and above all sleeping and waking.
 *
 *	stress_ring [processes|threads] [requests] [seed]
 *
 * Two vCPUs, an event thread, a relay and a kicker on one side, the daemon's
 * loop on the other: in another process, or (for ThreadSanitizer, which sees
 * one process only) in another thread over the same mapping.  Every message is
 * a function of its sequence number, so that the receiver knows what must be
 * in it.  Spin budgets are drawn at random, mostly none, to make sleeping races
 * frequent.  A lost wake-up shows as a wait that does not end.
 *
 * Without arguments it runs both, briefly.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/check.h"
#include "ipc/link_daemon.h"
#include "ipc/link_engine.h"

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

enum { VCPUS = 2, LIMIT_MS = 30000, STREAM_BYTES_EACH = 32 };
#define LIMIT_NS (LIMIT_MS * 1000000ll)

static uint64_t requests = 20000, seed = 1;

#define DIE(...) do { \
		fprintf(stderr, "stress_ring: " __VA_ARGS__); \
		fputc('\n', stderr); \
		_exit(1); \
	} while (0)

static uint64_t mix(uint64_t x)
{
	x = (x + seed) * 0x9e3779b97f4a7c15ull;
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	return x ^ x >> 32;
}

static uint8_t stream_byte(uint64_t pos)
{
	return (uint8_t)(mix(pos >> 3) >> (pos & 7) * 8);
}

/* ---- messages, each a function of channel and sequence number ---- */

static struct link_req request_of(unsigned n, uint64_t seq, bool last)
{
	uint64_t x = mix(seq * VCPUS + n);
	struct link_req r = { .seq = seq, .vcpu = (uint16_t)n, .count = 1, .size = (uint8_t)(1u << (x >> 60) % 3),
			      .addr = (x >> 8 & 0xffff) & ~3ull, .region = (uint16_t)(x >> 24) };
	uint64_t mask = (1ull << 8 * r.size) - 1;

	switch (last ? 0 : seq >> 8 & 3 ? x & 7 : 7) {	/* a quarter of the time posted writes only: the ring fills */
	case 0:
	case 1:
		r.kind = LINK_REQ_PIO_IN;
		break;
	case 2:
		r.kind = x >> 50 & 1 ? LINK_REQ_PIO_IN : LINK_REQ_PIO_OUT;
		r.flags = LINK_REQ_BATCH;
		r.data = seq & 1;
		r.count = 1 + (uint32_t)(x >> 32) % (LINK_PAGE / r.size);
		break;
	default:
		r.kind = x >> 50 & 1 ? LINK_REQ_MMIO_WRITE : LINK_REQ_PIO_OUT;
		r.flags = LINK_REQ_POSTED;
		r.value = mix(x) & mask;
		break;
	}
	return r;
}

static uint64_t answer_of(const struct link_req *r)
{
	bool datum = r->kind == LINK_REQ_PIO_IN && !(r->flags & LINK_REQ_BATCH);

	return datum ? mix(r->seq ^ 0x5555) & ((1ull << 8 * r->size) - 1) : 0;
}

static uint32_t done_of(const struct link_req *r)
{
	return 1 + (uint32_t)(mix(r->seq ^ 0xaaaa) % r->count);
}

static void batch_of(const struct link_req *r, uint8_t *page, size_t len)
{
	for (size_t i = 0; i < len; i++)
		page[i] = (uint8_t)(mix(r->seq * 3 + r->vcpu) + i * 7);
}

static struct link_event event_of(uint64_t seq)
{
	uint64_t x = mix(seq * 11);

	return (struct link_event){ .seq = seq, .kind = LINK_EV_IRQ, .a = x % LINK_GSIS, .b = x >> 32 & 1, .c = (uint32_t)x };
}

/* No spinning, most of the time. */
static void draw_budget(struct learn *b, _Bool *may_spin, uint64_t *rng)
{
	static const uint32_t some[] = { 0, 0, 200, 2000, 20000 };

	*rng = mix(*rng);
	b->budget_ns = some[*rng % 5];
	*may_spin = *rng >> 20 & 1;
}

static void dawdle(uint64_t *rng)
{
	*rng = mix(*rng);
	if (*rng % 64 == 0)
		usleep(*rng >> 8 & 127);
	else
		for (volatile unsigned i = *rng >> 8 & 255; i; i--)
			;
}

static bool sleep_on(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, LIMIT_MS) == 1;
}

/* ---- the daemon ---- */

struct daemon {
	struct link l;
	uint64_t last[VCPUS], events, rng;
	uint32_t in, out;		/* committed stream positions */
	unsigned ended;
};

static void serve(struct daemon *d, unsigned n, const struct link_req *r)
{
	static uint8_t page[LINK_PAGE], want[LINK_PAGE];
	const struct link_req_rule rule = { VCPUS, n, d->l.features, d->last[n] };
	struct link_req expect = request_of(n, r->seq, r->seq == requests);
	struct link_comp c = { .seq = r->seq, .addr = r->addr, .kind = r->kind, .size = r->size, .count = r->count,
			       .data = r->data, .done = done_of(r), .value = answer_of(r) };
	size_t len = (size_t)r->size * r->count;
	const char *why;

	if (link_req_check(r, &rule, &why) != LINK_GOOD)
		DIE("request %llu of vCPU %u refused: %s", (unsigned long long)r->seq, n, why);
	if (memcmp(r, &expect, offsetof(struct link_req, turn)))
		DIE("request %llu of vCPU %u is damaged", (unsigned long long)r->seq, n);
	d->last[n] = r->seq;
	if (mix(r->seq * 7 + n) % 4 == 0) {
		struct link_event e = event_of(++d->events);

		while (link_event_room(&d->l, 1) < 1)	/* drained by a thread that waits for nobody */
			usleep(10);
		link_post_event(&d->l, &e);
	}
	if (r->flags & LINK_REQ_POSTED) {
		link_commit(&d->l, n, r->seq);
		link_release_req(&d->l, n);
		link_flush(&d->l, LINK_NO_CHANNEL);
		return;
	}
	if (r->flags & LINK_REQ_BATCH) {
		batch_of(r, want, len);
		if (r->kind == LINK_REQ_PIO_IN) {
			link_batch_put(&d->l, n, r->data, want, len);
		} else {
			link_batch_get(&d->l, n, r->data, page, len);
			if (memcmp(page, want, len))
				DIE("batch %llu of vCPU %u is damaged", (unsigned long long)r->seq, n);
		}
	}
	c.event_seq = d->events;
	link_release_req(&d->l, n);
	if (link_post_comp(&d->l, n, &c))
		DIE("no room for a completion");
	link_flush(&d->l, n);
	d->ended += r->seq == requests;
}

/* Sends back what comes in on stream 0. */
static void echo(struct daemon *d)
{
	uint8_t buf[509];

	for (;;) {
		ssize_t room = link_output_room(&d->l, 0, d->out), n;

		if (!room)
			room = link_output_want_room(&d->l, 0, d->out);
		n = link_input_peek(&d->l, 0, d->in, buf, room < (ssize_t)sizeof(buf) ? (size_t)room : sizeof(buf));
		if (room < 0 || n < 0)
			DIE("impossible stream position");
		if (!n)
			return;
		link_output_stage(&d->l, 0, d->out, buf, (size_t)n);
		link_output_publish(&d->l, 0, d->out += (uint32_t)n);
		link_input_give_back(&d->l, 0, d->in += (uint32_t)n);
	}
}

static void *daemon_main(void *arg)
{
	struct daemon *d = arg;
	uint32_t total = (uint32_t)(requests * STREAM_BYTES_EACH);
	struct link_req r;
	int err;

	while (d->ended < VCPUS || d->out != total) {
		for (unsigned n = 0; n < VCPUS; n++)
			while (link_take_req(&d->l, n, &r))
				serve(d, n, &r);
		echo(d);
		dawdle(&d->rng);
		draw_budget(&d->l.idle, &d->l.may_spin, &d->rng);
		if (link_daemon_spin(&d->l, 1000000))
			continue;
		if (!link_daemon_prepare_sleep(&d->l, &err)) {
			if (err)
				DIE("the daemon sees impossible indices");
			continue;
		}
		if (d->ended < VCPUS || d->out != total) {
			if (!sleep_on(d->l.fd[LINK_FD_WAKE]))
				DIE("the daemon was not woken: ended %u, echoed %u of %u", d->ended, d->out, total);
		}
		link_daemon_finish_sleep(&d->l);
	}
	return NULL;
}

/* ---- the engine ---- */

static struct link e;
static pthread_mutex_t drain_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t applied;			/* under drain_lock */
static uint32_t kick[VCPUS];
static uint32_t over;				/* vCPUs that have ended */

static uint64_t drain(void)
{
	struct link_event ev, want;
	const char *why;
	uint64_t now;

	pthread_mutex_lock(&drain_lock);
	while (link_take_event(&e, &ev)) {
		want = event_of(applied + 1);
		if (link_event_check(&ev, applied, &why) != LINK_GOOD)
			DIE("event %llu refused: %s", (unsigned long long)ev.seq, why);
		if (memcmp(&ev, &want, offsetof(struct link_event, turn)))
			DIE("event %llu is damaged", (unsigned long long)ev.seq);
		applied++;
	}
	link_release_events(&e);
	now = applied;
	pthread_mutex_unlock(&drain_lock);
	return now;
}

static void *event_main(void *arg)
{
	uint64_t count;
	bool quiet;
	int err;

	(void)arg;
	while (load_acquire(&over) < VCPUS) {
		struct pollfd p = { .fd = e.fd[LINK_FD_EVENT], .events = POLLIN };

		do {
			drain();
			pthread_mutex_lock(&drain_lock);
			quiet = link_events_prepare_sleep(&e, &err);
			pthread_mutex_unlock(&drain_lock);
			if (err)
				DIE("the event thread sees impossible indices");
		} while (!quiet);
		if (poll(&p, 1, 100) == 1 && read(p.fd, &count, sizeof(count)) < 0)
			DIE("eventfd: %s", strerror(errno));
		link_events_finish_sleep(&e);
	}
	return NULL;
}

static void check_completion(unsigned n, const struct link_req *r, const struct link_comp *c, uint64_t posted)
{
	static __thread uint8_t page[LINK_PAGE], want[LINK_PAGE];
	size_t len = (size_t)r->size * r->count;
	const char *why;

	if (link_comp_check(c, r, &why) != LINK_GOOD)
		DIE("completion %llu of vCPU %u refused: %s", (unsigned long long)c->seq, n, why);
	if (c->value != answer_of(r) || c->done != done_of(r))
		DIE("completion %llu of vCPU %u is damaged", (unsigned long long)c->seq, n);
	if (link_committed(&e, n) < posted)
		DIE("request %llu passed posted write %llu", (unsigned long long)r->seq, (unsigned long long)posted);
	if (drain() < c->event_seq)
		DIE("completion %llu of vCPU %u came before its events", (unsigned long long)c->seq, n);
	if ((r->flags & LINK_REQ_BATCH) && r->kind == LINK_REQ_PIO_IN) {
		link_data_get(&e, n, r->data, page, len);
		batch_of(r, want, len);
		if (memcmp(page, want, len))
			DIE("batch %llu of vCPU %u came back damaged", (unsigned long long)r->seq, n);
	}
}

static void post(unsigned n, const struct link_req *r)
{
	uint64_t end = wait_now() + LIMIT_NS;	/* kicks may not hide a lost wake-up */
	uint8_t page[LINK_PAGE];

	if (r->flags & LINK_REQ_BATCH && r->kind == LINK_REQ_PIO_OUT) {
		batch_of(r, page, (size_t)r->size * r->count);
		link_data_put(&e, n, r->data, page, (size_t)r->size * r->count);
	}
	for (;;) {
		int err = link_post_req(&e, n, r);
		uint32_t seen = load_acquire(&kick[n]);
		enum wait_result w;

		if (!err)
			return;
		if (err != -EAGAIN)
			DIE("vCPU %u sees impossible indices", n);
		w = link_wait_room(&e, n, &kick[n], seen, LIMIT_NS);
		if ((w != WAIT_READY && w != WAIT_KICKED) || wait_now() > end)
			DIE("vCPU %u got no room: %d", n, w);
	}
}

static void *vcpu_main(void *arg)
{
	unsigned n = (unsigned)(uintptr_t)arg;
	struct link_chan *ch = &e.chan[n];
	uint64_t rng = n + 100, posted = 0, end;
	uint32_t seen = 0;
	_Bool spins;

	for (uint64_t seq = 1; seq <= requests; seq++) {
		struct link_req r = request_of(n, seq, seq == requests);
		struct link_comp c;
		enum wait_result w;

		post(n, &r);
		if (r.flags & LINK_REQ_POSTED) {
			posted = seq;
			continue;
		}
		draw_budget(&ch->learn, &spins, &rng);
		end = wait_now() + LIMIT_NS;
		while ((w = link_wait_comp(&e, n, &kick[n], seen, LIMIT_NS)) == WAIT_KICKED && wait_now() < end)
			seen = load_acquire(&kick[n]);
		if (w != WAIT_READY)
			DIE("vCPU %u waits for %llu: %s", n, (unsigned long long)seq, w == WAIT_BROKEN ? "broken" : "not woken");
		if (!link_take_comp(&e, n, &c))
			DIE("vCPU %u was told of a completion that is not there", n);
		check_completion(n, &r, &c, posted);
		dawdle(&rng);
	}
	fetch_add(&over, 1);
	return NULL;
}

static void *kicker_main(void *arg)
{
	(void)arg;
	while (load_acquire(&over) < VCPUS) {
		fetch_add(&kick[0], 1);		/* the other vCPU has no second chance */
		wait_wake_private(&kick[0]);
		usleep(300);
	}
	return NULL;
}

static void *relay_main(void *arg)
{
	uint64_t total = requests * STREAM_BYTES_EACH, sent = 0, got = 0, count;
	uint8_t buf[701];
	int err;

	(void)arg;
	while (got < total) {
		ssize_t n = 0, put = 0;

		/* The second half when no request wakes the daemon by chance. */
		while (sent >= total / 2 && load_acquire(&over) < VCPUS)
			usleep(1000);
		for (; n < (ssize_t)sizeof(buf) && sent + (uint64_t)n < total; n++)
			buf[n] = stream_byte(sent + (uint64_t)n);
		if (n)
			put = link_input_put(&e, 0, buf, (size_t)n);
		sent += put > 0 ? (uint64_t)put : 0;
		n = link_output_peek(&e, 0, buf, sizeof(buf));
		if (put < 0 || n < 0)
			DIE("the relay sees impossible positions");
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != stream_byte(got + (uint64_t)i))
				DIE("byte %llu came back damaged", (unsigned long long)got + (uint64_t)i);
		if (n)
			link_output_take(&e, 0, (size_t)n);
		got += (uint64_t)n;
		if (n || put || got == total)
			continue;
		if (link_relay_prepare_sleep(&e, 1, sent < total, &err)) {
			if (!sleep_on(e.fd[LINK_FD_RELAY]))
				DIE("the relay was not woken: sent %llu, got %llu of %llu", (unsigned long long)sent,
				    (unsigned long long)got, (unsigned long long)total);
			if (read(e.fd[LINK_FD_RELAY], &count, sizeof(count)) < 0)
				DIE("eventfd: %s", strerror(errno));
		}
		link_relay_finish_sleep(&e);
		if (err)
			DIE("the relay sees impossible positions");
	}
	return NULL;
}

static void engine_main(void)
{
	pthread_t t[VCPUS + 3];
	uint64_t events;

	pthread_create(&t[0], NULL, event_main, NULL);
	pthread_create(&t[1], NULL, relay_main, NULL);
	pthread_create(&t[2], NULL, kicker_main, NULL);
	for (unsigned n = 0; n < VCPUS; n++)
		pthread_create(&t[3 + n], NULL, vcpu_main, (void *)(uintptr_t)n);
	for (unsigned i = 0; i < VCPUS + 3; i++)
		pthread_join(t[i], NULL);
	events = drain();
	printf("  %llu requests on each of %u vCPUs, %llu events, %llu bytes each way\n", (unsigned long long)requests,
	       VCPUS, (unsigned long long)events, (unsigned long long)requests * STREAM_BYTES_EACH);
}

/* ---- two processes, or two threads over one mapping ---- */

static void open_daemon(struct daemon *d)
{
	char err[LINK_ERR];
	int fd[LINK_FDS];

	memset(d, 0, sizeof(*d));
	for (int i = 0; i < LINK_FDS; i++)
		fd[i] = dup(e.fd[i]);
	if (link_open(&d->l, fd, LINK_F_ALL, err))
		DIE("%s", err);
	d->rng = seed;
}

static void begin(void)
{
	const struct link_params p = { .nvcpus = VCPUS, .code_pages = 1024 };
	char err[LINK_ERR];

	if (link_create(&e, &p, err))
		DIE("%s", err);
	applied = over = 0;
	memset(kick, 0, sizeof(kick));
}

static void run_processes(void)
{
	static struct daemon d;
	pid_t pid;
	int status;

	printf("two processes:\n");
	fflush(stdout);
	begin();
	pid = fork();
	if (pid < 0)
		DIE("fork: %s", strerror(errno));
	if (!pid) {
		open_daemon(&d);
		daemon_main(&d);
		_exit(0);
	}
	engine_main();
	if (waitpid(pid, &status, 0) != pid || status)
		DIE("the daemon ended with status %#x", status);
	link_close(&e);
}

static void move(void *pointer, ptrdiff_t by)
{
	uint8_t **p = pointer;

	*p += by;
}

/* The daemon's handle over the engine's mapping: ThreadSanitizer tells memory by its address. */
static void move_handle(struct link *d)
{
	ptrdiff_t by = (uint8_t *)e.header - (uint8_t *)d->header;

	move(&d->header, by);
	move(&d->shadow, by);
	move(&d->doorbell, by);
	move(&d->code, by);
	for (unsigned n = 0; n <= VCPUS; n++) {
		struct link_chan *c = &d->chan[n];

		move(&c->shared, by);
		move(&c->req.shared, by);
		move(&c->req.slot, by);
		move(&c->comp.shared, by);
		move(&c->comp.slot, by);
	}
	move(&d->events.shared, by);
	move(&d->events.slot, by);
	for (unsigned n = 0; n < LINK_STREAMS; n++) {
		move(&d->input[n].shared, by);
		move(&d->input[n].bytes, by);
		move(&d->output[n].shared, by);
		move(&d->output[n].bytes, by);
	}
}

static void run_threads(void)
{
	static struct daemon d;
	struct link_header *own;
	pthread_t t;

	printf("two threads:\n");
	begin();
	open_daemon(&d);
	own = d.l.header;
	move_handle(&d.l);
	pthread_create(&t, NULL, daemon_main, &d);
	engine_main();
	pthread_join(t, NULL);
	d.l.header = own;
	link_close(&d.l);
	link_close(&e);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "both";

	if (argc > 2)
		requests = strtoull(argv[2], NULL, 0);
	if (argc > 3)
		seed = strtoull(argv[3], NULL, 0);
#ifdef UNDER_TSAN
	if (argc < 2)
		mode = "threads";
#endif
	if (strcmp(mode, "threads"))
		run_processes();
	if (strcmp(mode, "processes"))
		run_threads();
	return 0;
}
