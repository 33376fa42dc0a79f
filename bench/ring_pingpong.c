/*
 * bench/ring_pingpong.c - the floor under every device access: one 64-byte
 * message with payload to another process and one back, both sides spinning,
 * no device, no check, no wake-up.
 *
 *	ring_pingpong [rounds] [samples]
 *
 * Three lines, measured in turns round by round:
 *	ring_pingpong	ipc/ring.h: the slot itself says that it is full
 *	ring_by_index	the textbook ring: the consumer polls the producer's index
 *	link_pingpong	the link as used: fences, sleep flags, learnt waiting
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "bench/measure.h"
#include "ipc/link_daemon.h"
#include "ipc/link_engine.h"

enum { SLOTS = 64, WARM_UP = 1000 };

struct half {
	struct link_ring words;
	_Alignas(LINK_LINE) uint8_t slot[SLOTS][LINK_LINE];
};

struct shared {
	struct half there, back;
	struct half index_there, index_back;
};

struct message {
	uint64_t seq, payload[6];
	uint32_t spare, turn;
};

/* ---- the slot's own turn */

struct ends {
	struct ring out, in;
};

static void turn_send(struct ends *e, const struct message *m)
{
	ring_push(&e->out, m);
}

static void turn_receive(struct ends *e, struct message *m)
{
	while (!ring_take(&e->in, m))
		cpu_relax();
	ring_done(&e->in);
}

/* ---- the textbook's indices */

static void index_send(struct ends *e, const struct message *m)
{
	while (ring_room(&e->out, 1) < 1)
		cpu_relax();
	memcpy(ring_at(&e->out, e->out.pos), m, LINK_LINE);
	store_release(&e->out.shared->prod, ++e->out.pos);
}

static void index_receive(struct ends *e, struct message *m)
{
	while (load_acquire(&e->in.shared->prod) == e->in.pos)
		cpu_relax();
	copy_line_once(m, ring_at(&e->in, e->in.pos++));
	ring_done(&e->in);
}

static struct ends turn, by_index;
static struct link link_here;

static void connect_ends(struct ends *e, struct half *out, struct half *in)
{
	ring_init(&e->out, &out->words, out->slot, SLOTS, 0);
	ring_init(&e->in, &in->words, in->slot, SLOTS, 0);
}

/* ---- the far side: answers on whichever road a message comes */

static void fill(struct message *m, uint64_t seq)
{
	m->seq = seq;
	for (int i = 0; i < 6; i++)
		m->payload[i] = seq + (uint64_t)i;
}

static unsigned answer_link(struct link *l)
{
	struct link_req r;
	unsigned answered = 0;

	while (link_take_req(l, 0, &r)) {
		struct link_comp c = { .seq = r.seq, .addr = r.addr, .value = r.value, .count = 1, .done = 1, .kind = r.kind,
				       .size = r.size };

		link_release_req(l, 0);
		link_post_comp(l, 0, &c);
		link_flush(l, 0);
		answered++;
	}
	return answered;
}

static void far_side(struct link *l, unsigned rounds, unsigned samples)
{
	struct message m;
	uint64_t n = samples + WARM_UP;

	while (rounds--) {
		for (uint64_t i = 0; i < n; i++) {
			turn_receive(&turn, &m);
			turn_send(&turn, &m);
		}
		for (uint64_t i = 0; i < n; i++) {
			index_receive(&by_index, &m);
			index_send(&by_index, &m);
		}
		for (uint64_t i = 0; i < n; i += answer_link(l))
			while (!link_daemon_spin(l, UINT64_MAX))
				;
	}
}

/* ---- this side */

static void check(uint64_t got, uint64_t want)
{
	if (got != want) {
		fprintf(stderr, "ring_pingpong: answer %llu to %llu\n", (unsigned long long)got, (unsigned long long)want);
		exit(1);
	}
}

static void round_of(struct measure *m, struct ends *e, void (*send)(struct ends *, const struct message *),
		     void (*receive)(struct ends *, struct message *), unsigned samples)
{
	for (unsigned i = 0; i < samples + WARM_UP; i++) {
		struct message out = { 0 }, in;
		uint64_t t;

		fill(&out, i);
		t = ticks();
		send(e, &out);
		receive(e, &in);
		t = ticks() - t;
		check(in.payload[5], i + 5);
		if (i >= WARM_UP)
			measure_add(m, t);
	}
}

static void round_of_link(struct measure *m, unsigned samples)
{
	static uint64_t seq = 1;

	for (unsigned i = 0; i < samples + WARM_UP; i++, seq++) {
		struct link_req r = { .seq = seq, .addr = i, .value = seq, .count = 1, .kind = LINK_REQ_MMIO_READ, .size = 8 };
		struct link_comp c = { 0 };
		uint64_t t = ticks();

		link_post_req(&link_here, 0, &r);
		link_wait_comp(&link_here, 0, NULL, 0, -1);
		link_take_comp(&link_here, 0, &c);
		t = ticks() - t;
		check(c.value, seq);
		if (i >= WARM_UP)
			measure_add(m, t);
	}
}

static void fail(const char *why)
{
	fprintf(stderr, "ring_pingpong: %s\n", why);
	exit(1);
}

static pid_t start_far_side(struct shared *s, unsigned rounds, unsigned samples)
{
	pid_t parent = getpid(), pid = fork();
	struct link l;
	char err[LINK_ERR];

	if (pid < 0)
		fail("cannot fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || link_open(&l, link_here.fd, LINK_F_ALL, err))
		_exit(1);
	measure_pin(1);
	connect_ends(&turn, &s->back, &s->there);
	connect_ends(&by_index, &s->index_back, &s->index_there);
	far_side(&l, rounds, samples);
	_exit(0);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 9, samples = argc > 2 ? (unsigned)atoi(argv[2]) : 20000;
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const struct link_params p = { .nvcpus = 1, .code_pages = 1 };
	struct measure raw, textbook, whole;
	char err[LINK_ERR];

	if (!rounds || !samples)
		fail("rounds and samples are numbers from 1 on");
	if (s == MAP_FAILED || link_create(&link_here, &p, err))
		fail("no shared memory");
	if (wait_cpus() < 2)
		fail("two processes that spin need two CPUs");
	measure_begin(&raw, "ring_pingpong", rounds, samples);
	measure_begin(&textbook, "ring_by_index", rounds, samples);
	measure_begin(&whole, "link_pingpong", rounds, samples);
	start_far_side(s, rounds, samples);
	measure_pin(0);
	connect_ends(&turn, &s->there, &s->back);
	connect_ends(&by_index, &s->index_there, &s->index_back);
	for (unsigned r = 0; r < rounds; r++) {
		round_of(&raw, &turn, turn_send, turn_receive, samples);
		round_of(&textbook, &by_index, index_send, index_receive, samples);
		round_of_link(&whole, samples);
	}
	measure_end(&raw, stdout);
	measure_end(&textbook, stdout);
	measure_end(&whole, stdout);
	return 0;
}
