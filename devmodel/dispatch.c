/*
 * dispatch.c - validates requests, finds the device, runs the transaction.
 *
 * Must not know: what any device does, how the loop waits.
 */
#include "devmodel/dispatch.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "devmodel/recover.h"
#include "devmodel/txn.h"
#include "ipc/check.h"

/* ---- accesses */

struct access {
	struct dev *dev;	/* NULL: nobody answers */
	unsigned region;
	uint64_t off;
	bool batch;		/* the region takes more than one element */
};

/*
 * The region named in the request, if it (still) covers the address; else
 * whoever does: another vCPU may have moved it between lookup and now.
 */
static struct access find(struct machine *m, const struct link_req *r)
{
	bool mmio = r->kind == LINK_REQ_MMIO_READ || r->kind == LINK_REQ_MMIO_WRITE;
	unsigned n = r->region / DEV_REGIONS, region = r->region % DEV_REGIONS;
	struct access a = { 0 };

	if (n < m->ndevs) {
		const struct arena_region *g = &m->dev[n].a->region[region];

		if (g->len >= r->size && !(g->flags & LINK_RGN_MMIO) == !mmio && r->addr >= g->base && r->addr - g->base <= g->len - r->size)
			a = (struct access){ .dev = &m->dev[n], .region = region, .off = r->addr - g->base };
	}
	if (!a.dev)
		a.dev = machine_find(m, mmio, r->addr, r->size, &a.region, &a.off);
	if (__builtin_expect(m->quarantine, 0) && a.dev && a.dev->a->out)
		a.dev = NULL;
	m->arena->at_work = a.dev ? a.dev->id : ARENA_MAX_DEVS;
	if (a.dev)
		a.batch = a.dev->a->region[a.region].flags & LINK_RGN_BATCH;
	return a;
}

static uint64_t load(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p, size);
	return v;
}

static unsigned clamp(unsigned done, unsigned count)
{
	return done < 1 ? 1 : done > count ? count : done;
}

static unsigned read_elements(struct machine *m, const struct access *a, const struct link_req *r)
{
	unsigned n = a->batch ? r->count : 1, done = 0;
	uint8_t *to = m->batch;

	if (a->batch && a->dev->ops->batch_in)
		return clamp(a->dev->ops->batch_in(a->dev, a->region, a->off, r->size, to, n), n);
	do {
		uint64_t v = machine_read(a->dev, a->region, a->off, r->size);

		memcpy(to + (size_t)done * r->size, &v, r->size);
	} while (++done < n && !m->batch_ends);
	return done;
}

static unsigned write_elements(struct machine *m, const struct access *a, const struct link_req *r, const uint8_t *from)
{
	unsigned n = a->batch ? r->count : 1, done = 0;

	if (a->batch && a->dev->ops->batch_out)
		return clamp(a->dev->ops->batch_out(a->dev, a->region, a->off, r->size, from, n), n);
	do
		machine_write(a->dev, a->region, a->off, r->size, load(from + (size_t)done * r->size, r->size));
	while (++done < n && !m->batch_ends);
	return done;
}

static void serve_batch(struct machine *m, unsigned ring, const struct link_req *r, const struct access *a, struct link_comp *c)
{
	size_t bytes = (size_t)r->count * r->size;

	if (r->kind == LINK_REQ_PIO_IN) {
		if (a->dev)
			c->done = read_elements(m, a, r);
		else
			memset(m->batch, 0xff, bytes);
		m->arena->out.batch = 1;
	} else if (a->dev) {
		uint8_t data[LINK_PAGE];

		/* The guest's engine can still write the page: look at it once. */
		link_batch_get(m->link, ring, r->data, data, bytes);
		c->done = write_elements(m, a, r, data);
	}
}

static void serve_access(struct machine *m, unsigned ring, const struct link_req *r, struct link_comp *c)
{
	struct access a = find(m, r);

	if (!a.dev) {
		c->status = LINK_UNCLAIMED;
		c->value = r->kind == LINK_REQ_PIO_OUT || r->kind == LINK_REQ_MMIO_WRITE ? 0 : ~0ull >> (64 - 8 * r->size);
	}
	if (r->flags & LINK_REQ_BATCH) {
		c->value = 0;
		serve_batch(m, ring, r, &a, c);
	} else if (a.dev) {
		if (r->kind == LINK_REQ_PIO_IN || r->kind == LINK_REQ_MMIO_READ)
			c->value = machine_read(a.dev, a.region, a.off, r->size);
		else
			machine_write(a.dev, a.region, a.off, r->size, r->value);
	}
}

/* ---- control */

static void serve_control(struct machine *m, const struct link_req *r, struct link_comp *c)
{
	switch (r->kind) {
	case LINK_REQ_RESET:
		m->refusing = m->quarantine && recover_refused(m, &m->arena->source);
		machine_reset(m);
		break;
	case LINK_REQ_INJECT:
		if (!machine_inject(m, r->addr, r->value))
			c->status = LINK_UNCLAIMED;
		break;
	case LINK_REQ_PAUSE:
		machine_pause(m, true, 0);
		break;
	case LINK_REQ_RESUME:
		machine_pause(m, false, (int64_t)r->value);
		break;
	case LINK_REQ_VOID:	/* its sequence number is acknowledged, as any other's */
		break;
	}
}

static struct link_comp completion_of(const struct link_req *r)
{
	return (struct link_comp){ .seq = r->seq, .addr = r->addr, .count = r->count, .done = r->count,
				   .kind = r->kind, .size = r->size, .data = r->data, .status = LINK_OK };
}

int dispatch_serve(struct machine *m, unsigned ring, const struct link_req *r)
{
	struct link_comp *c = &m->arena->out.comp;
	int err = txn_begin(m, (struct txn_source){ .kind = TXN_REQUEST, .index = ring, .seq = r->seq });

	if (err)
		return err;
	*c = completion_of(r);
	if (r->kind < LINK_REQ_RESET)
		serve_access(m, ring, r, c);
	else
		serve_control(m, r, c);
	m->arena->out.completes = !(r->flags & LINK_REQ_POSTED);
	txn_end(m);
	return 0;
}

/* ---- rings */

static int broken(struct machine *m, unsigned ring, const char *why)
{
	snprintf(m->error, sizeof(m->error), "the engine broke the protocol in ring %u: %s", ring, why);
	m->lost = 1;
	return -EPROTO;
}

/*
 * The engine had no use for the answer that it got, or has not seen it yet.
 * There is no other, so this one says that nobody answers; where the right one
 * has been published again, it is ahead in the ring, and this one stale.
 */
static void answer_again(struct machine *m, unsigned ring)
{
	struct link_comp c = completion_of(&m->head[ring].req);

	c.status = LINK_UNCLAIMED;
	c.event_seq = m->arena->event_seq;
	if (link_post_comp(m->link, ring, &c))
		m->lost = 1;
	link_flush(m->link, ring);
}

/* Posted again to a successor: it has happened. */
static bool done_before(struct machine *m, unsigned ring)
{
	if (__builtin_expect(m->head[ring].seq > m->arena->acked[ring], 1))
		return false;
	if (!(m->head[ring].req.flags & LINK_REQ_POSTED))
		answer_again(m, ring);
	link_release_req(m->link, ring);
	return true;
}

/* Fills the ring's head with its next request.  1, 0 for none, -EPROTO. */
static int fill(struct machine *m, unsigned ring)
{
	struct dispatch_head *h = &m->head[ring];
	struct link_req_rule rule = { .nvcpus = m->nrings - 1, .channel = ring, .features = m->link->features, .last_seq = h->seq };
	const char *why = "";

	if (h->full)
		return 1;
	do {
		if (!link_take_req(m->link, ring, &h->req))
			return 0;
		if (link_req_check(&h->req, &rule, &why) != LINK_GOOD)
			return broken(m, ring, why);
		if (!h->seq && h->req.seq > m->arena->acked[ring] + 1)
			return broken(m, ring, "a request is missing");
		rule.last_seq = h->seq = h->req.seq;
	} while (done_before(m, ring));
	h->full = true;
	TXN_STEP("request.taken");
	return 1;
}

/* The head is served; its slot is free. */
static int serve_head(struct machine *m, unsigned ring)
{
	struct dispatch_head *h = &m->head[ring];
	int err = dispatch_serve(m, ring, &h->req);

	if (err)
		return err;
	h->full = false;
	link_release_req(m->link, ring);
	TXN_STEP("request.released");
	if (m->ios) {
		err = machine_reap(m);
		if (err < 0)
			return err;
	}
	return m->lost ? -EPROTO : 0;
}

static int drain_posted(struct machine *m)
{
	int n = 0, got, err;

	for (unsigned ring = 0; ring < m->nrings; ring++)
		while ((got = fill(m, ring)) && (got < 0 || m->head[ring].req.flags & LINK_REQ_POSTED)) {
			err = got < 0 ? got : serve_head(m, ring);
			if (err)
				return err;
			n++;
		}
	return n;
}

/*
 * A reset waits for the operations in flight: their buffers are the devices'.
 * The vCPUs stand still meanwhile; machine_reap() goes on.
 */
static bool must_wait(const struct machine *m, const struct link_req *r)
{
	return r->kind == LINK_REQ_RESET && m->ios;
}

int dispatch_poll(struct machine *m)
{
	int served = 0, got, err;

	for (unsigned ring = 0; ring < m->nrings; ring++) {
		got = fill(m, ring);
		if (got < 0)
			return got;
		if (!got)
			continue;
		if (!(m->head[ring].req.flags & LINK_REQ_POSTED)) {
			err = drain_posted(m);
			if (err < 0)
				return err;
			served += err;
			if (must_wait(m, &m->head[ring].req))
				continue;
		}
		err = serve_head(m, ring);
		if (err)
			return err;
		served++;
	}
	return served;
}
