/*
 * txn.c - begin, undo, commit, publish.
 *
 * Code that DMA has changed is told of before the transaction commits: to drop too
 * much does no harm, so a successor neither undoes it nor does it again.  What the
 * guest finds without being told by the engine waits until it has been dropped.
 *
 * Publishing order, and what each step must not pass:
 *	stores to guest RAM   (status bytes; used entries, then used indices)
 *	shadow words          before the interrupt and the completion
 *	other events          interrupt lines, memory map
 *	byte-ring positions
 *	acknowledgement, completion
 *	back-end operations   start once they are committed
 * Each step stores absolute values, so that all of them can be made again.
 */
#include "devmodel/txn.h"

#include <errno.h>
#include <string.h>

#include "devmodel/machine.h"

#ifdef CLEAVE_FAULTS
void (*txn_step)(const char *label);
#endif

/* Before each object in the undo log. */
struct undo {
	uint64_t off, n;	/* in the arena */
};

static void set_state(struct arena_header *a, uint64_t number, enum txn_state state)
{
	fence_compiler();
	store_relaxed(&a->word, number << 2 | state);
	fence_compiler();
}

/* Reserve what the largest transaction can emit.  The engine drains events without waiting for us. */
static int reserve(struct machine *m)
{
	for (;;) {
		int room = link_event_room(m->link, OUT_EVENTS + OUT_CODE);

		if (room >= OUT_EVENTS + OUT_CODE)
			return 0;
		if (room < 0)
			return room;
		if (!m->wait_events || !m->wait_events(m))
			return -EPIPE;
	}
}

int txn_begin(struct machine *m, struct txn_source source)
{
	struct arena_header *a = m->arena;
	int err = reserve(m);

	if (err) {
		m->lost = 1;
		return err;
	}
	TXN_STEP("begin.reserved");
	a->undo_used = 0;
	a->source = source;
	TXN_STEP("begin.source");
	a->out.event_base = a->event_seq;
	a->out.ncode = a->out.nevents = a->out.nshadows = a->out.nstores = a->out.nios = 0;
	a->out.nused = a->out.nqueues = 0;
	a->out.streams_in = a->out.streams_out = 0;
	a->out.completes = a->out.batch = 0;
	a->wrote = 0;
	m->now = 0;
	m->batch_ends = false;
	m->stat_txns++;
	set_state(a, txn_number(a) + 1, TXN_ACTIVE);
	TXN_STEP("begin.active");
	return 0;
}

void txn_save(struct machine *m, void *p, size_t n, uint64_t *stamp)
{
	struct arena_header *a = m->arena;
	uint64_t number = txn_number(a);
	struct undo *u = (struct undo *)(m->undo + a->undo_used);

	if (*stamp == number)
		return;
	*stamp = number;
	u->off = (uint8_t *)p - (uint8_t *)a;
	u->n = n;
	memcpy(u + 1, p, n);
	TXN_STEP("save.copied");
	fence_compiler();	/* the entry before its size, its size before the object changes */
	a->undo_used += sizeof(*u) + ((n + 7) & ~7ull);
	fence_compiler();
	TXN_STEP("save.noted");
}

int txn_undo(struct machine *m)
{
	struct arena_header *a = m->arena;
	uint64_t at = 0, used = a->undo_used;

	if (used > a->undo_size)
		return -EINVAL;
	while (at < used) {
		const struct undo *u = (const struct undo *)(m->undo + at);

		if (used - at < sizeof(*u) || u->n > used - at - sizeof(*u))
			return -EINVAL;
		/* Only objects are saved, never the log itself, nor the transaction's own words. */
		if (u->off > m->arena_bytes || u->n > m->arena_bytes - u->off ||
		    u->off < offsetof(struct arena_header, nshadows) ||
		    (u->off + u->n > offsetof(struct arena_header, word) && u->off < a->off_devs) ||
		    (u->off + u->n > a->off_undo))
			return -EINVAL;
		memcpy((uint8_t *)a + u->off, u + 1, u->n);
		at += sizeof(*u) + ((u->n + 7) & ~7ull);
		TXN_STEP("undo.object");
	}
	set_state(a, txn_number(a), TXN_IDLE);
	return 0;
}

void txn_renumber(struct machine *m)
{
	set_state(m->arena, 0, txn_state(m->arena));
}

void txn_abandon(struct machine *m)
{
	set_state(m->arena, txn_number(m->arena), TXN_IDLE);
}

void txn_event(struct machine *m, const struct link_event *ev)
{
	struct txn_out *o = &m->arena->out;

	if (ev->kind != LINK_EV_CODE) {
		if (o->nevents < OUT_EVENTS)
			o->event[o->nevents++] = *ev;
		else
			m->stat_overflows++;
		return;
	}
	if (o->ncode < OUT_CODE) {
		o->code[o->ncode++] = *ev;
		return;
	}
	/* Invalidating too much is harmless: join with the last. */
	struct link_event *last = &o->code[OUT_CODE - 1];
	uint64_t end = last->addr + last->value, end2 = ev->addr + ev->value;

	last->addr = ev->addr < last->addr ? ev->addr : last->addr;
	last->value = (end > end2 ? end : end2) - last->addr;
}

void txn_shadow(struct machine *m, uint32_t word, uint32_t value, bool valid)
{
	struct txn_out *o = &m->arena->out;

	for (unsigned i = 0; i < o->nshadows; i++)
		if (o->shadow[i].word == word) {
			o->shadow[i] = (struct out_shadow){ .word = word, .value = value, .valid = valid };
			return;
		}
	if (o->nshadows < OUT_SHADOWS)
		o->shadow[o->nshadows++] = (struct out_shadow){ .word = word, .value = value, .valid = valid };
	else
		m->stat_overflows++;
}

bool txn_store(struct machine *m, uint64_t gpa, const void *bytes, size_t n)
{
	struct txn_out *o = &m->arena->out;
	struct out_store *s = &o->store[o->nstores];

	if (o->nstores == OUT_STORES || n > sizeof(s->bytes) || !machine_ram(m, gpa, n))
		return false;
	s->gpa = gpa;
	s->n = n;
	memcpy(s->bytes, bytes, n);
	o->nstores++;
	return true;
}

void txn_io(struct machine *m, unsigned dev, unsigned slot)
{
	struct txn_out *o = &m->arena->out;

	if (o->nios < OUT_IOS)
		o->io[o->nios++] = (struct out_io){ .dev = dev, .slot = slot };
}

bool txn_used(struct machine *m, uint64_t gpa, uint32_t id, uint32_t len)
{
	struct txn_out *o = &m->arena->out;

	if (o->nused == OUT_USED)
		return false;
	o->used[o->nused++] = (struct out_used){ .gpa = gpa, .id = id, .len = len };
	return true;
}

bool txn_queue(struct machine *m, struct out_queue q)
{
	struct txn_out *o = &m->arena->out;
	unsigned i;

	for (i = 0; i < o->nqueues && (o->queue[i].dev != q.dev || o->queue[i].queue != q.queue); i++)
		;
	if (i == OUT_QUEUES)
		return false;
	o->queue[i] = q;
	o->nqueues += i == o->nqueues;
	return true;
}

static void publish_events(struct machine *m, const struct link_event *ev, unsigned n, uint64_t seq)
{
	for (unsigned i = 0; i < n; i++) {
		struct link_event e = ev[i];

		e.seq = seq + i;
		if (link_post_event(m->link, &e))
			m->lost = 1;	/* room was reserved: only a lying index gets here */
		TXN_STEP("publish.event");
	}
}

static void publish_stores(struct machine *m, const struct txn_out *o)
{
	for (unsigned i = 0; i < o->nstores; i++) {
		const struct out_store *s = &o->store[i];
		uint8_t *to = machine_ram(m, s->gpa, s->n);

		if (!to)
			continue;
		/* A polled word must never be seen half written. */
		if (s->n == 4 && s->gpa % 4 == 0) {
			uint32_t v;

			memcpy(&v, s->bytes, 4);
			store_release((uint32_t *)to, v);
		} else {
			memcpy(to, s->bytes, s->n);
		}
		TXN_STEP("publish.store");
	}
}

/* The driver reads the index, then the entries: they are stored the other way about. */
static void publish_queues(struct machine *m, const struct txn_out *o)
{
	for (unsigned i = 0; i < o->nused; i++) {
		uint32_t entry[2] = { o->used[i].id, o->used[i].len };
		uint8_t *to = machine_ram(m, o->used[i].gpa, sizeof(entry));

		if (to)
			memcpy(to, entry, sizeof(entry));
		TXN_STEP("publish.used");
	}
	for (unsigned i = 0; i < o->nqueues; i++) {
		uint8_t *to = machine_ram(m, o->queue[i].gpa, 2);

		if (to)
			store_release((uint16_t *)to, o->queue[i].index);	/* pairs with the driver's read barrier */
		TXN_STEP("publish.queue");
	}
}

static void publish_streams(struct machine *m, const struct txn_out *o)
{
	for (uint32_t out = o->streams_out; out; out &= out - 1)
		link_output_publish(m->link, __builtin_ctz(out), m->arena->stream[__builtin_ctz(out)].given);
	TXN_STEP("publish.stream");
	for (uint32_t in = o->streams_in; in; in &= in - 1)
		link_input_give_back(m->link, __builtin_ctz(in), m->arena->stream[__builtin_ctz(in)].taken);
}

static void publish_completion(struct machine *m, unsigned ring)
{
	const struct txn_out *o = &m->arena->out;
	struct link_comp comp = o->comp;

	if (o->batch)
		link_batch_put(m->link, ring, comp.data, m->batch, (size_t)comp.done * comp.size);
	TXN_STEP("publish.batch");
	comp.event_seq = o->event_base + o->nevents;
	if (link_post_comp(m->link, ring, &comp))
		m->lost = 1;	/* the engine does not take its completions */
}

static void publish_request(struct machine *m)
{
	struct arena_header *a = m->arena;
	unsigned ring = a->source.index;

	a->acked[ring] = a->source.seq;
	TXN_STEP("publish.acked");
	if (a->out.completes)
		publish_completion(m, ring);
	else
		link_commit(m->link, ring, a->source.seq);
	TXN_STEP("publish.completion");
	link_flush(m->link, ring);
}

/*
 * Guests poll memory and shadow words: what reveals the DMA there must not be seen before
 * the engine has dropped the code.  Before the machine goes nobody takes events, and
 * recover_announce() has told of all code if any can have changed.
 */
static void settle(struct machine *m)
{
	uint64_t until = m->link->may_spin ? wait_now() + WAIT_SPIN_MAX_NS : 0;
	int room;

	link_flush(m->link, LINK_NO_CHANNEL);
	while ((room = link_event_room(m->link, LINK_EVENT_SLOTS)) < (int)LINK_EVENT_SLOTS) {
		if (room < 0) {
			m->lost = 1;
			break;
		}
		if (wait_now() < until)
			cpu_relax();
		else if (!m->wait_events || !m->wait_events(m))
			break;
	}
	m->code_told = false;
}

static void tell_code(struct machine *m)
{
	struct arena_header *a = m->arena;
	struct txn_out *o = &a->out;

	o->event_base += o->ncode;
	a->event_seq = o->event_base;		/* before they are seen: the engine's count is never above ours */
	fence_compiler();
	publish_events(m, o->code, o->ncode, o->event_base - o->ncode + 1);
	TXN_STEP("commit.code");
	o->ncode = 0;
	m->code_told = true;
}

void txn_commit(struct machine *m)
{
	const struct txn_out *o = &m->arena->out;

	if (o->ncode)
		tell_code(m);
	if (m->code_told && m->live && (o->nstores || o->nqueues || o->nshadows)) {
		settle(m);
		TXN_STEP("commit.settled");
	}
	TXN_STEP("commit.before");
	set_state(m->arena, txn_number(m->arena), TXN_COMMITTED);
	TXN_STEP("commit.after");
}

void txn_publish(struct machine *m)
{
	struct arena_header *a = m->arena;
	const struct txn_out *o = &a->out;

	if (o->nstores)
		publish_stores(m, o);
	if (o->nqueues)
		publish_queues(m, o);
	for (unsigned i = 0; i < o->nshadows; i++)
		link_shadow_write(m->link, o->shadow[i].word, o->shadow[i].value, o->shadow[i].valid);
	TXN_STEP("publish.shadows");
	if (o->nevents)
		publish_events(m, o->event, o->nevents, o->event_base + 1);
	TXN_STEP("publish.events");
	a->event_seq = o->event_base + o->nevents;
	TXN_STEP("publish.event_seq");
	if (o->streams_in | o->streams_out)
		publish_streams(m, o);
	if (a->source.kind == TXN_REQUEST)
		publish_request(m);
	else
		link_flush(m->link, LINK_NO_CHANNEL);
	for (unsigned i = 0; i < o->nios; i++)
		machine_start_io(&m->dev[o->io[i].dev], o->io[i].slot);
	TXN_STEP("publish.ios");
	set_state(a, txn_number(a), TXN_IDLE);
	TXN_STEP("publish.idle");
}

void txn_end(struct machine *m)
{
	txn_commit(m);
	txn_publish(m);
	if (m->arena->out.nqueues)
		machine_published(m);
}
