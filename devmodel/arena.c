/*
 * arena.c - lays out the arena and checks one that came from elsewhere.
 *
 * Must not know: what a device's state means, transactions beyond their area.
 */
#include "devmodel/arena.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "devmodel/txn.h"

static uint64_t align(uint64_t n, uint64_t to)
{
	return (n + to - 1) & ~(to - 1);
}

/* An undo entry is a head of 16 bytes and the object, rounded up. */
static uint64_t undo_room(uint64_t n)
{
	return 16 + align(n, 8);
}

/* Every object can be in the log once: with room for all of them it never fills. */
static uint64_t undo_size(const struct arena_plan *plan, unsigned ndevs)
{
	uint64_t n = LINK_STREAMS * undo_room(sizeof(struct arena_stream)) + undo_room(64);

	for (unsigned i = 0; i < ndevs; i++) {
		n += undo_room(plan[i].ops->state_size);
		n += undo_room(sizeof(struct arena_lines));
		n += undo_room(sizeof(((struct arena_dev *)0)->region));
		n += undo_room(sizeof(((struct arena_dev *)0)->io));
		n += undo_room(sizeof(((struct arena_dev *)0)->pci));
	}
	return align(n, 64);
}

struct layout {
	uint64_t devs, undo, undo_size, batch, size;
	struct { uint64_t state, bulk; } dev[ARENA_MAX_DEVS];
};

static void lay_out(struct layout *l, const struct arena_plan *plan, unsigned ndevs)
{
	uint64_t at = align(sizeof(struct arena_header), 64);

	l->devs = at;
	at = align(at + ndevs * sizeof(struct arena_dev), 64);
	for (unsigned i = 0; i < ndevs; i++) {
		l->dev[i].state = at;
		at = align(at + plan[i].ops->state_size, 64);
	}
	l->undo = at;
	l->undo_size = undo_size(plan, ndevs);
	at = align(at + l->undo_size, LINK_PAGE);
	l->batch = at;
	at += LINK_PAGE;
	for (unsigned i = 0; i < ndevs; i++) {
		l->dev[i].bulk = at;
		at = align(at + plan[i].ops->bulk_size, LINK_PAGE);
	}
	l->size = at;
}

size_t arena_size(const struct arena_plan *plan, unsigned ndevs)
{
	struct layout l;

	lay_out(&l, plan, ndevs);
	return l.size;
}

void arena_format(void *mem, size_t size, const struct arena_plan *plan, unsigned ndevs, unsigned nrings)
{
	struct arena_header *a = mem;
	struct layout l;

	lay_out(&l, plan, ndevs);
	a->version = ARENA_VERSION;
	a->header_size = sizeof(*a);
	a->size = size;
	a->ndevs = ndevs;
	a->nrings = nrings;
	a->off_devs = l.devs;
	a->off_undo = l.undo;
	a->undo_size = l.undo_size;
	a->off_batch = l.batch;
	for (unsigned i = 0; i < ndevs; i++) {
		struct arena_dev *d = arena_dev(a, i);

		strncpy(d->model, plan[i].ops->name, sizeof(d->model) - 1);
		d->devfn = plan[i].devfn;
		d->state_version = plan[i].ops->state_version;
		d->state_size = plan[i].ops->state_size;
		d->bulk_size = plan[i].ops->bulk_size;
		d->state_off = l.dev[i].state;
		d->bulk_off = l.dev[i].bulk;
		for (unsigned r = 0; r < DEV_REGIONS; r++)
			d->region[r].shadow = LINK_NO_SHADOW;
	}
	a->magic = ARENA_MAGIC;
}

static const char *check_header(const struct arena_header *a, size_t size, const struct layout *l, unsigned ndevs, unsigned nrings)
{
	if (a->magic != ARENA_MAGIC)
		return "magic";
	if (a->version != ARENA_VERSION || a->header_size != sizeof(*a))
		return "layout version";
	if (a->size != size || a->ndevs != ndevs || a->nrings != nrings)
		return "size or number of devices";
	if (a->off_devs != l->devs || a->off_undo != l->undo || a->undo_size != l->undo_size || a->off_batch != l->batch)
		return "offsets";
	if (a->nshadows > LINK_SHADOWS)
		return "shadow words";
	if (txn_state(a) > TXN_COMMITTED || a->undo_used > a->undo_size || a->undo_used % 8)
		return "transaction";
	if (a->source.kind >= TXN_KINDS)
		return "transaction source";
	if (a->source.kind == TXN_REQUEST ? a->source.index >= nrings : a->source.kind && a->source.dev >= ndevs)
		return "transaction source";
	return NULL;
}

static const char *check_out(const struct arena_header *a, unsigned ndevs, unsigned nrings)
{
	const struct txn_out *o = &a->out;

	if (o->ncode > OUT_CODE || o->nevents > OUT_EVENTS || o->nshadows > OUT_SHADOWS)
		return "outbox counts";
	if (o->nstores > OUT_STORES || o->nios > OUT_IOS || o->nused > OUT_USED || o->nqueues > OUT_QUEUES)
		return "outbox counts";
	for (unsigned i = 0; i < o->nshadows; i++)
		if (o->shadow[i].word >= LINK_SHADOWS)
			return "outbox shadow word";
	for (unsigned i = 0; i < o->nstores; i++)
		if (o->store[i].n > sizeof(o->store[i].bytes))
			return "outbox store";
	for (unsigned i = 0; i < o->nqueues; i++)
		if (o->queue[i].dev >= ndevs || o->queue[i].gpa % 2)
			return "outbox queue";
	for (unsigned i = 0; i < o->nios; i++)
		if (o->io[i].dev >= ndevs || o->io[i].slot >= DEV_IOS)
			return "outbox operation";
	if (o->completes && (a->source.kind != TXN_REQUEST || a->source.index >= nrings))
		return "outbox completion";
	if (o->batch && (o->comp.data >= LINK_DATA_PAGES || !o->comp.size || o->comp.size > 8 ||
			 o->comp.done > LINK_PAGE / o->comp.size))
		return "outbox batch";
	return NULL;
}

static const char *check_dev(const struct arena_dev *d, const struct arena_plan *p, uint64_t state, uint64_t bulk)
{
	char name[sizeof(d->model)] = "";

	strncpy(name, p->ops->name, sizeof(name) - 1);
	if (memcmp(d->model, name, sizeof(name)) || d->devfn != p->devfn)
		return "device";
	if (d->state_version != p->ops->state_version || d->state_size != p->ops->state_size || d->bulk_size != p->ops->bulk_size)
		return "device's state version or size";
	if (d->state_off != state || d->bulk_off != bulk)
		return "device's offsets";
	for (unsigned r = 0; r < DEV_REGIONS; r++) {
		const struct arena_region *g = &d->region[r];

		if (g->base + g->len < g->base || (!(g->flags & LINK_RGN_MMIO) && g->len && g->base + g->len > 0x10000))
			return "device's regions";
		if (g->shadow != LINK_NO_SHADOW && (g->shadow >= LINK_SHADOWS || g->len > LINK_SHADOWS - g->shadow))
			return "device's shadow words";
	}
	for (unsigned i = 0; i < DEV_SLOTS; i++) {
		const struct arena_io *io = &d->io[i];

		if (!io->busy)
			continue;
		if (io->op > BLK_FLUSH || io->blk >= 4 || io->bulk > d->bulk_size || io->n > d->bulk_size - io->bulk)
			return "device's operations";
	}
	return NULL;
}

void arena_name_dev(char *to, size_t n, const struct arena_plan *p)
{
	if (p->devfn == ARENA_NOT_PCI)
		snprintf(to, n, "device %s", p->ops->name);
	else if (p->devfn & 7)
		snprintf(to, n, "device slot %u:%u %s", p->devfn >> 3, p->devfn & 7, p->ops->name);
	else
		snprintf(to, n, "device slot %u %s", p->devfn >> 3, p->ops->name);
}

static int match_dev(const struct arena_dev *d, const struct arena_plan *p, char *err, size_t errlen)
{
	char name[64], model[sizeof(d->model)] = "";

	strncpy(model, p->ops->name, sizeof(model) - 1);
	arena_name_dev(name, sizeof(name), p);
	if (memcmp(d->model, model, sizeof(model)) || d->devfn != p->devfn)
		snprintf(err, errlen, "%s: the state is another device's", name);
	else if (d->state_version != p->ops->state_version)
		snprintf(err, errlen, "%s: state layout %u, this binary knows %u", name, d->state_version, p->ops->state_version);
	else if (d->state_size != p->ops->state_size || d->bulk_size != p->ops->bulk_size)
		snprintf(err, errlen, "%s: state layout %u has %u and %u bytes, this binary's %zu and %zu", name, d->state_version,
			 d->state_size, d->bulk_size, p->ops->state_size, p->ops->bulk_size);
	else
		return 0;
	return -EINVAL;
}

int arena_match(const void *mem, size_t size, const struct arena_plan *plan, unsigned ndevs, unsigned nrings, char *err, size_t errlen)
{
	const struct arena_header *a = mem;
	struct layout l;
	int ret = 0;

	lay_out(&l, plan, ndevs);
	if (size < sizeof(*a) || a->magic != ARENA_MAGIC) {
		snprintf(err, errlen, "the arena is no arena");
		return -EINVAL;
	}
	if (a->version != ARENA_VERSION || a->header_size != sizeof(*a)) {
		snprintf(err, errlen, "arena layout %u with a head of %u bytes, this binary knows %u with %zu", a->version, a->header_size,
			 ARENA_VERSION, sizeof(*a));
		return -EINVAL;
	}
	if (a->ndevs != ndevs || a->nrings != nrings || a->off_devs != l.devs || size < l.devs + ndevs * sizeof(struct arena_dev)) {
		snprintf(err, errlen, "the arena is for %u devices and %u processors, not %u and %u", a->ndevs, a->nrings - 1, ndevs, nrings - 1);
		return -EINVAL;
	}
	for (unsigned i = 0; i < ndevs && !ret; i++)
		ret = match_dev((const struct arena_dev *)((const uint8_t *)mem + l.devs) + i, &plan[i], err, errlen);
	return ret;
}

int arena_check(const void *mem, size_t size, const struct arena_plan *plan, unsigned ndevs, unsigned nrings, const char **why)
{
	const struct arena_header *a = mem;
	struct layout l;

	lay_out(&l, plan, ndevs);
	*why = "size";
	if (size < l.size)
		return -EINVAL;
	*why = check_header(a, size, &l, ndevs, nrings);
	if (!*why && txn_state(a) == TXN_COMMITTED)	/* else it is nobody's */
		*why = check_out(a, ndevs, nrings);
	for (unsigned i = 0; i < ndevs && !*why; i++)
		*why = check_dev((const struct arena_dev *)((const uint8_t *)mem + l.devs) + i, &plan[i],
				 l.dev[i].state, l.dev[i].bulk);
	return *why ? -EINVAL : 0;
}
