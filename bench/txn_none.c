/*
 * bench/txn_none.c - txn.h without transactions, to measure what they cost.
 *
 * Stands in for devmodel/txn.c in bench/cleaved_bare: no undo log, no word, no
 * acknowledgement, no room reserved; an effect happens when a device asks for
 * it, the answer and the used index when it is done.  A machine runs with it as
 * long as its device model does not die: no successor could make sense of what
 * it leaves.
 */
#include "devmodel/txn.h"

#include <errno.h>
#include <string.h>

#include "devmodel/machine.h"

int txn_begin(struct machine *m, struct txn_source source)
{
	struct txn_out *o = &m->arena->out;

	m->arena->source = source;
	m->arena->word += 4;	/* its number, which devices stamp */
	o->nios = o->nqueues = 0;
	o->streams_in = o->streams_out = 0;
	o->completes = o->batch = 0;
	m->now = 0;
	m->batch_ends = false;
	return 0;
}

void txn_save(struct machine *m, void *p, size_t n, uint64_t *stamp)
{
	(void)m, (void)p, (void)n, (void)stamp;
}

int txn_undo(struct machine *m)
{
	(void)m;
	return -EINVAL;
}

void txn_renumber(struct machine *m)
{
	(void)m;
}

void txn_abandon(struct machine *m)
{
	(void)m;
}

/* The engine drains events without waiting for us. */
void txn_event(struct machine *m, const struct link_event *ev)
{
	struct link_event e = *ev;

	while (link_event_room(m->link, 1) == 0)
		if (!m->wait_events || !m->wait_events(m))
			break;
	e.seq = ++m->arena->event_seq;
	if (link_post_event(m->link, &e))
		m->lost = 1;
}

void txn_shadow(struct machine *m, uint32_t word, uint32_t value, bool valid)
{
	link_shadow_write(m->link, word, value, valid);
}

bool txn_store(struct machine *m, uint64_t gpa, const void *bytes, size_t n)
{
	uint8_t *to = machine_ram(m, gpa, n);

	if (to)
		memcpy(to, bytes, n);
	return to;
}

void txn_io(struct machine *m, unsigned dev, unsigned slot)
{
	struct txn_out *o = &m->arena->out;

	if (o->nios < OUT_IOS)
		o->io[o->nios++] = (struct out_io){ .dev = dev, .slot = slot };
}

bool txn_used(struct machine *m, uint64_t gpa, uint32_t id, uint32_t len)
{
	uint32_t entry[2] = { id, len };
	uint8_t *to = machine_ram(m, gpa, sizeof(entry));

	if (to)
		memcpy(to, entry, sizeof(entry));
	return to;
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

static void show_queues(struct machine *m)
{
	const struct txn_out *o = &m->arena->out;

	for (unsigned i = 0; i < o->nqueues; i++) {
		uint8_t *to = machine_ram(m, o->queue[i].gpa, 2);

		if (to)
			store_release((uint16_t *)to, o->queue[i].index);
	}
}

static void show_streams(struct machine *m)
{
	for (uint32_t out = m->arena->out.streams_out; out; out &= out - 1)
		link_output_publish(m->link, __builtin_ctz(out), m->arena->stream[__builtin_ctz(out)].given);
	for (uint32_t in = m->arena->out.streams_in; in; in &= in - 1)
		link_input_give_back(m->link, __builtin_ctz(in), m->arena->stream[__builtin_ctz(in)].taken);
}

static void answer(struct machine *m, unsigned ring)
{
	struct txn_out *o = &m->arena->out;

	if (!o->completes) {
		link_commit(m->link, ring, m->arena->source.seq);
		return;
	}
	if (o->batch)
		link_batch_put(m->link, ring, o->comp.data, m->batch, (size_t)o->comp.done * o->comp.size);
	o->comp.event_seq = m->arena->event_seq;
	if (link_post_comp(m->link, ring, &o->comp))
		m->lost = 1;
}

void txn_commit(struct machine *m)
{
	(void)m;
}

void txn_publish(struct machine *m)
{
	const struct txn_out *o = &m->arena->out;
	unsigned ring = LINK_NO_CHANNEL;

	if (o->nqueues)
		show_queues(m);
	if (o->streams_in | o->streams_out)
		show_streams(m);
	if (m->arena->source.kind == TXN_REQUEST)
		answer(m, ring = m->arena->source.index);
	link_flush(m->link, ring);
	for (unsigned i = 0; i < o->nios; i++)
		machine_start_io(&m->dev[o->io[i].dev], o->io[i].slot);
}

void txn_end(struct machine *m)
{
	txn_publish(m);
	if (m->arena->out.nqueues)
		machine_published(m);
}
