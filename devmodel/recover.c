/*
 * recover.c - the predecessor's transaction ended, its devices announced again,
 * what kills one process after another put aside (recover.h).
 *
 * Must not know: what any device's state means, processes, sockets.
 */
#include "devmodel/recover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "devmodel/txn.h"

enum {
	STRIKES_OUT = 3,
	IN_A_ROW = 1024,	/* transactions between two strikes, the devices' making included */
};

#define NUMBER_MAX (1ull << 60)	/* of a transaction, after centuries or at somebody's will: stamps must not meet again */

static int refuse(struct machine *m, const char *why)
{
	snprintf(m->error, sizeof(m->error), "the arena cannot be taken over: %s", why);
	return -EINVAL;
}

/* ---- quarantine */

static bool same_source(const struct txn_source *a, const struct txn_source *b)
{
	if (a->kind != b->kind || a->index != b->index)
		return false;
	return a->kind == TXN_REQUEST ? a->seq == b->seq : a->dev == b->dev;
}

static struct arena_strike *find_strike(struct arena_header *a, const struct txn_source *s)
{
	for (unsigned i = 0; i < ARENA_STRIKES; i++)
		if (a->strike[i].count && same_source(&a->strike[i].source, s))
			return &a->strike[i];
	return NULL;
}

/* The fewest strikes make room: what goes on killing comes back. */
static struct arena_strike *new_strike(struct arena_header *a, const struct txn_source *s)
{
	struct arena_strike *k = &a->strike[0];

	for (unsigned i = 1; i < ARENA_STRIKES; i++)
		if (a->strike[i].count < k->count)
			k = &a->strike[i];
	*k = (struct arena_strike){ .source = *s };
	return k;
}

/* Which device was at work: for requests the transaction noted it when it found out. */
static unsigned device_of(const struct arena_header *a)
{
	return a->source.kind == TXN_REQUEST ? a->at_work : a->source.dev;
}

static void put_out(struct machine *m, unsigned dev, enum txn_kind kind)
{
	static const char *const what[TXN_KINDS] = {
		[TXN_INIT] = "taking over its state", [TXN_REQUEST] = "a request", [TXN_TIMER] = "a timer",
		[TXN_INPUT] = "a byte", [TXN_IO] = "an operation that ended",
		[TXN_DOORBELL] = "a doorbell", [TXN_SIGNAL] = "an interrupt", [TXN_NET] = "a frame",
	};
	struct dev *d = &m->dev[dev];

	if (dev >= m->ndevs)
		return;
	d->a->out = 1;
	if (m->quiet)
		return;
	fprintf(stderr, "cleaved: %s: %s has killed %u device models in a row: out of service until the machine is reset\n",
		d->name, what[kind], STRIKES_OUT);
}

/* For what was under way in `where`. */
static void strike(struct machine *m, const struct arena_header *where)
{
	struct arena_strike *k = find_strike(m->arena, &where->source);

	if (!k) {
		k = new_strike(m->arena, &where->source);
		k->source.dev = device_of(where);
	}
	if (txn_number(where) - k->number > IN_A_ROW)
		k->count = 0;
	k->number = txn_number(where);
	k->count++;
	if (k->count >= STRIKES_OUT)
		put_out(m, device_of(where), where->source.kind);
}

/* What it was at has a strike more than it left behind; the copy is believed no more than any arena. */
static void blame(struct machine *m)
{
	struct arena_plan plan[ARENA_MAX_DEVS];
	const char *why;

	for (unsigned i = 0; i < m->ndevs; i++)
		plan[i] = (struct arena_plan){ .ops = m->dev[i].ops, .devfn = m->dev[i].a->devfn };
	if (arena_check(m->tried, m->arena_bytes, plan, m->ndevs, m->nrings, &why)) {
		m->tried = NULL;
		return;
	}
	memcpy(m->arena->strike, m->tried->strike, sizeof(m->arena->strike));
	if (txn_state(m->tried) != TXN_IDLE && (m->tried->ending || m->tried->word != m->arena->word))
		strike(m, m->tried);
}

/*
 * In service or not, in this process: `out` came with the arena.  Timers of a
 * device that is not would be due for ever; what was undone has armed them again.
 */
static void look_for_quarantine(struct machine *m)
{
	for (unsigned i = 0; i < m->ndevs; i++) {
		struct arena_dev *a = m->dev[i].a;

		if (!a->out)
			continue;
		m->quarantine = true;
		memset(a->lines.timer, 0, sizeof(a->lines.timer));
	}
}

bool recover_refused(const struct machine *m, const struct txn_source *s)
{
	const struct arena_strike *k = find_strike(m->arena, s);

	return k && k->count >= STRIKES_OUT;
}

void recover_reset(struct dev *d)
{
	d->a->out = 0;
}

/* ---- what the engine is told of it, for the user */

_Static_assert((int)TXN_INIT == LINK_BY_START && (int)TXN_REQUEST == LINK_BY_REQUEST && (int)TXN_NET == LINK_BY_FRAMES &&
	       (int)TXN_KINDS == LINK_CAUSES, "kinds of transactions are causes");

void recover_tell(struct dev *d)
{
	txn_event(d->m, &(struct link_event){ .kind = LINK_EV_SERVICE, .a = d->id, .b = !d->a->out });
}

static void announce_strikes(struct machine *m)
{
	for (unsigned i = 0; i < ARENA_STRIKES; i++) {
		const struct arena_strike *k = &m->arena->strike[i];
		bool request = k->source.kind == TXN_REQUEST;

		/* the arena may be anybody's: what is no strike is no news */
		if (!k->count || !k->source.kind || k->source.kind >= TXN_KINDS)
			continue;
		txn_event(m, &(struct link_event){
			.kind = LINK_EV_STRIKE, .a = k->source.kind, .b = k->source.dev < m->ndevs ? k->source.dev : LINK_NO_DEVICE,
			.c = k->source.index, .d = k->count, .value = request ? k->source.seq : 0 });
	}
}

/* ---- the transaction */

/*
 * What the engine has heard stands above what the arena says: one that is
 * behind has been written to by somebody else.
 */
static bool stream_fits(const struct machine *m, unsigned n)
{
	const struct arena_stream *s = &m->arena->stream[n];

	return stream_used_at(&m->link->input[n], s->taken) >= 0 && stream_room_at(&m->link->output[n], s->given) >= 0;
}

static int check_progress(struct machine *m)
{
	const struct conf_machine *c = &m->conf;
	struct arena_header *a = m->arena;

	for (unsigned i = 0; i < m->nrings; i++)
		if (a->acked[i] > c->asked[i])
			return refuse(m, "it acknowledges requests that nobody made");
	if (a->event_seq < c->events)
		return refuse(m, "it has fewer events than the engine has seen");
	for (unsigned i = 0; i < LINK_STREAMS; i++)
		if (!stream_fits(m, i))
			return refuse(m, "a character stream stands where it cannot");
	return 0;
}

/*
 * Events that the engine has not taken by now it never will: it took those of a
 * daemon that died, and refused those of one that it has condemned.  Going on
 * from its own count nothing seems to be missing.
 */
static void forget_events(struct machine *m)
{
	struct arena_header *a = m->arena;

	if (a->event_seq > m->conf.events)
		a->event_seq = m->conf.events;
	if (a->out.event_base > m->conf.events)
		a->out.event_base = m->conf.events;
}

/* Neither undone nor published: what it would have answered is asked again, and refused. */
static bool abandoned(struct machine *m)
{
	if (!m->tried || !m->tried->ending || !recover_refused(m, &m->arena->source))
		return false;
	txn_abandon(m);
	return true;
}

int recover_transaction(struct machine *m)
{
	struct arena_header *a = m->arena;

	if (m->tried)
		blame(m);
	if (!m->tried && txn_state(a) == TXN_ACTIVE && m->conf.at_fault)
		strike(m, a);
	/* What committed has told of its code, what begins again will; what was undone may never be done again. */
	m->unsure_of_code = m->conf.at_fault || m->tried || (txn_state(a) == TXN_ACTIVE && a->wrote);
	if (abandoned(m) && !m->quiet)
		fprintf(stderr, "cleaved: the transaction that was under way is abandoned\n");
	a->ending = 1;
	forget_events(m);
	TXN_STEP("recover.ending");
	switch (txn_state(a)) {
	case TXN_IDLE:
		break;
	case TXN_ACTIVE:
		if (txn_undo(m))
			return refuse(m, "its undo log is damaged");
		break;
	case TXN_COMMITTED:
		if (a->source.kind == TXN_REQUEST && a->source.seq > m->conf.asked[a->source.index])
			return refuse(m, "it answers a request that nobody made");
		txn_publish(m);
		break;
	}
	a->ending = 0;
	if (txn_number(a) > NUMBER_MAX)
		txn_renumber(m);
	for (unsigned i = 0; i < m->nrings; i++)
		link_commit(m->link, i, a->acked[i]);
	look_for_quarantine(m);
	TXN_STEP("recover.transaction");
	return check_progress(m);
}

/* ---- the devices */

/* A device has claimed what is its own while it was made: it knows nothing of other regions. */
static void drop_strays(struct dev *d)
{
	for (unsigned i = 0; i < DEV_REGIONS; i++) {
		struct arena_region *g = &d->a->region[i];

		if (!g->len || d->claims >> i & 1)
			continue;
		txn_save(d->m, d->a->region, sizeof(d->a->region), &d->saved.regions);
		g->base = g->len = 0;
	}
}

static void announce_regions(struct dev *d)
{
	if (!d->unmade)
		drop_strays(d);
	for (unsigned i = 0; i < DEV_REGIONS; i++)
		if (d->a->region[i].len)
			machine_announce(d, i);
}

/* Lines are absolute: the engine may have missed none, and hears all. */
static void announce_lines(struct machine *m)
{
	for (unsigned gsi = 0; gsi < LINK_GSIS; gsi++)
		txn_event(m, &(struct link_event){ .kind = LINK_EV_IRQ, .a = gsi, .b = m->arena->gsi_level >> gsi & 1 });
}

int recover_announce(struct machine *m)
{
	for (unsigned i = 0; i < m->ndevs; i++) {
		int err = txn_begin(m, (struct txn_source){ .kind = TXN_INIT, .dev = i });

		if (err)
			return err;
		if (i == 0 && m->unsure_of_code)
			txn_event(m, &(struct link_event){ .kind = LINK_EV_CODE, .value = machine_ram_end(m->conf.ram_bytes) });
		announce_regions(&m->dev[i]);
		recover_tell(&m->dev[i]);
		if (i + 1 == m->ndevs) {
			announce_lines(m);
			announce_strikes(m);
		}
		txn_end(m);
	}
	return 0;
}
