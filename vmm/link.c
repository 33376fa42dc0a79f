/*
 * vmm/link.c - the engine's end of the link to the device model.
 *
 * Owns struct link_client: the present generation's link, private copies of
 * what the daemon has not acknowledged, posted-write accounts, doorbells, and
 * the order of events.  Must not know what a request means to a guest
 * (inout.c) nor what an event does to the machine (events.c).
 *
 * Trust: every slot arrives as a private copy and passes ipc/check.h before it
 * is looked at.  Whatever an honest daemon would not do condemns this one.
 */
#include "vmm/link.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/check.h"
#include "vmm/bus.h"
#include "vmm/events.h"
#include "vmm/ledger.h"
#include "vmm/vm.h"

/* One channel's private side. */
struct channel {
	uint64_t last;			/* sequence number of the newest request */
	uint64_t committed;		/* ... and of the newest that is known to be done */
	/* Requests committed + 1 .. last, by seq % LINK_REQ_SLOTS. */
	struct link_req copy[LINK_REQ_SLOTS];
	/* A batch's bytes, and the request that they belong to. */
	uint64_t page_seq[LINK_DATA_PAGES];
	uint8_t page[LINK_DATA_PAGES][LINK_PAGE];
	/* What the last daemon answered before it died, not yet received; a batch's bytes are in its page. */
	struct link_comp saved;
	bool has_saved;
	/* A wait that was interrupted and goes on: for which request, since when (ns), in which generation. */
	uint64_t waits_for, waits_since;
	uint32_t waits_in;
	/* Newest posted write by device; read by every vCPU. */
	uint64_t posted[LINK_CLIENT_DEVICES];
};

/* Written by the drainer between `doorbell_gen` odd and even, read by vCPUs. */
struct doorbell {
	uint64_t addr, data;
	uint32_t flags;			/* enum link_doorbell_flags */
	uint32_t size;			/* 0: any */
	bool by_kernel;			/* the drainer's */
};

struct link_client {
	struct vm *vm;
	struct link_hooks hooks;
	uint64_t ram_pages;
	uint32_t generation;		/* of `link`; 0: there is none */
	struct link link;		/* of the daemon that serves, or has died */
	struct link next;		/* of its successor, until that is ready */
	struct channel *chan;		/* nvcpus + 1 */

	uint32_t lost;			/* no traffic: before accept, after a loss */
	uint32_t told;			/* hooks.lost() has been called for this generation */
	bool accepting;			/* main thread only, vCPUs parked */
	uint32_t absent;		/* an outage that not everybody waits for: see `forsaken` */
	bool forsaken[LINK_CLIENT_DEVICES];	/* written while not `absent`, vCPUs read it while so */

	pthread_mutex_t drain_lock;
	uint64_t applied;		/* events: the newest applied; written under drain_lock */

	uint32_t doorbell_gen;
	uint32_t doorbells;		/* one above the highest enabled */
	struct doorbell doorbell[LINK_DOORBELLS];

	uint64_t stat[LINK_STATS];
};

const char *const link_stat_name[LINK_STATS] = {
#define X(id, name, help) [LINK_STAT_##id] = name,
	LINK_COUNTERS(X)
#undef X
};

static void count(struct link_client *lc, enum link_stat i)
{
	__atomic_fetch_add(&lc->stat[i], 1, __ATOMIC_RELAXED);
}

uint64_t link_client_stat(const struct link_client *lc, enum link_stat i)
{
	return load_relaxed(&lc->stat[i]);
}

/* ---- life */

int link_client_new(struct link_client **out, struct vm *vm, uint64_t ram_pages, const struct link_hooks *hooks)
{
	struct link_client *lc = calloc(1, sizeof(*lc));

	if (!lc)
		return -ENOMEM;
	lc->chan = calloc(vm->nvcpus + 1, sizeof(*lc->chan));
	if (!lc->chan) {
		free(lc);
		return -ENOMEM;
	}
	lc->vm = vm;
	lc->ram_pages = ram_pages;
	lc->lost = lc->told = 1;
	if (hooks)
		lc->hooks = *hooks;
	pthread_mutex_init(&lc->drain_lock, NULL);
	*out = lc;
	return 0;
}

void link_client_set_hooks(struct link_client *lc, const struct link_hooks *hooks)
{
	lc->hooks = *hooks;
}

void link_client_free(struct link_client *lc)
{
	if (!lc)
		return;
	lc->vm->code_bytes = NULL;
	link_close(&lc->link);
	link_close(&lc->next);
	pthread_mutex_destroy(&lc->drain_lock);
	free(lc->chan);
	free(lc);
}

bool link_client_is_lost(const struct link_client *lc)
{
	return load_acquire(&lc->lost);
}

void link_client_lost(struct link_client *lc, const char *why)
{
	store_release(&lc->lost, 1);
	if (exchange(&lc->told, 1))
		return;
	for (unsigned i = 0; i < lc->vm->nvcpus; i++)
		vcpu_kick(&lc->vm->vcpu[i]);
	if (lc->hooks.lost)
		lc->hooks.lost(lc->hooks.arg, why);
}

/* The daemon did what no honest one does. */
static int condemn(struct link_client *lc, const char *what, const char *why)
{
	char text[LINK_ERR];

	snprintf(text, sizeof(text), "the device model broke the protocol: %s: %s", what, why);
	link_client_lost(lc, text);
	return -EPIPE;
}

static int drain(struct link_client *lc);

/* The successor's from the moment that it is made. */
static struct link *newest(struct link_client *lc)
{
	return lc->next.header ? &lc->next : &lc->link;
}

int link_client_open(struct link_client *lc, uint32_t streams, char err[LINK_ERR])
{
	store_release(&lc->lost, 1);
	return link_client_open_beside(lc, streams, err);
}

int link_client_open_beside(struct link_client *lc, uint32_t streams, char err[LINK_ERR])
{
	struct link_params params = {
		.nvcpus = lc->vm->nvcpus, .code_pages = lc->ram_pages, .generation = lc->generation + 1,
	};
	struct link made, *last = newest(lc);
	int r = link_create(&made, &params, err);

	if (r)
		return r;
	if (last->header)
		link_adopt_streams(&made, last, streams);
	link_close(&lc->next);
	lc->next = made;
	if (!lc->generation)
		return 0;
	/* What it published before it died has happened; afterwards no event of its is heard. */
	pthread_mutex_lock(&lc->drain_lock);
	drain(lc);
	pthread_mutex_unlock(&lc->drain_lock);
	return 0;
}

void link_client_drop_next(struct link_client *lc)
{
	link_close(&lc->next);
}

void link_client_fds(struct link_client *lc, int fd[LINK_FDS])
{
	memcpy(fd, newest(lc)->fd, sizeof(newest(lc)->fd));
}

struct link *link_client_link(struct link_client *lc)
{
	return newest(lc);
}

uint64_t link_client_asked(const struct link_client *lc, unsigned n)
{
	return load_relaxed(&lc->chan[n].last);
}

uint64_t link_client_events(const struct link_client *lc)
{
	return load_acquire(&lc->applied);
}

uint32_t link_client_features(const struct link_client *lc)
{
	return lc->link.features;
}

/* ---- requests */

static struct link_req *copy_of(struct channel *c, uint64_t seq)
{
	return &c->copy[seq % LINK_REQ_SLOTS];
}

/* What the daemon says it has committed, as far as that can be. */
static int note_committed(struct link_client *lc, unsigned n)
{
	struct channel *c = &lc->chan[n];
	uint64_t word = link_committed(&lc->link, n);

	if (word > c->last)
		return condemn(lc, "commit", "a request that was not made");
	if (word > c->committed)
		c->committed = word;
	return 0;
}

/* Answers to discarded requests; nothing is awaited on this channel. */
static int drop_stale(struct link_client *lc, unsigned n)
{
	struct channel *c = &lc->chan[n];
	struct link_comp comp;

	while (link_take_comp(&lc->link, n, &comp)) {
		if (comp.seq > c->last)
			return condemn(lc, "completion", "a request that was not made");
		count(lc, LINK_STAT_STALE);
		if (comp.seq > c->committed)
			c->committed = comp.seq;
	}
	return 0;
}

/*
 * The copy of the request after `last` must not overwrite one that is not
 * acknowledged.  A slot is given back after the commit: with room in the ring
 * and no copy free, it is answers to discarded requests that are still to come.
 */
static int need_copy(struct link_client *lc, unsigned n)
{
	struct channel *c = &lc->chan[n];
	int r;

	if (c->last - c->committed < LINK_REQ_SLOTS)
		return 0;
	r = ring_room(&lc->link.chan[n].req, 1);
	if (r <= 0)
		return r ? condemn(lc, "request ring", "impossible indices") : -EAGAIN;
	r = note_committed(lc, n);
	if (r)
		return r;
	return c->last - c->committed < LINK_REQ_SLOTS ? 0 : -EBUSY;
}

/* A data page that no unacknowledged request uses, or -1: then the others are of discarded requests. */
static int free_page(const struct channel *c)
{
	for (unsigned i = 0; i < LINK_DATA_PAGES; i++)
		if (c->page_seq[i] <= c->committed)
			return (int)i;
	return -1;
}

static int put_batch(struct link_client *lc, unsigned n, struct link_req *r, const void *batch)
{
	struct channel *c = &lc->chan[n];
	int page = free_page(c);

	if (page < 0)
		return -EBUSY;
	r->data = (uint8_t)page;
	c->page_seq[page] = c->last + 1;
	if (batch) {
		size_t len = (size_t)r->count * r->size;

		memcpy(c->page[page], batch, len);
		link_data_put(&lc->link, n, (unsigned)page, c->page[page], len);
	}
	return 0;
}

/*
 * The account of posted writes before the post: once a write has retired no
 * vCPU may miss it.  The private copy after it, while the daemon is at work.
 */
int link_client_send(struct link_client *lc, unsigned n, unsigned dev, struct link_req *r, const void *batch)
{
	struct channel *c = &lc->chan[n];
	int err;

	if (link_client_is_lost(lc))
		return -EPIPE;
	if ((ring_ready(&lc->link.chan[n].comp) && (err = drop_stale(lc, n))) || (err = need_copy(lc, n)))
		return err;
	if ((r->flags & LINK_REQ_BATCH) && (err = put_batch(lc, n, r, batch)))
		return err;
	r->seq = c->last + 1;
	r->vcpu = (uint16_t)n;
	store_relaxed(&c->last, r->seq);	/* pairs with link_client_asked(): its vCPU may be at work */
	if (r->flags & LINK_REQ_POSTED)
		store_release(&c->posted[dev], r->seq);		/* pairs with uncommitted() */
	err = link_post_req(&lc->link, n, r);
	if (__builtin_expect(!err, 1)) {
		*copy_of(c, r->seq) = *r;
		return 0;
	}
	store_relaxed(&c->last, c->last - 1);
	return err == -EAGAIN ? err : condemn(lc, "request ring", "impossible indices");
}

/* Has any vCPU posted writes to this device that it has not committed? */
static bool uncommitted(const struct link_client *lc, unsigned dev)
{
	for (unsigned n = 0; n < lc->link.nvcpus; n++) {
		uint64_t seq = load_acquire(&lc->chan[n].posted[dev]);

		if (seq && seq > link_committed(&lc->link, n))
			return true;
	}
	return false;
}

bool link_client_shadow(const struct link_client *lc, unsigned dev, unsigned word, uint32_t *value)
{
	return (lc->link.features & LINK_F_SHADOW) && !link_client_is_lost(lc) && !uncommitted(lc, dev) &&
	       link_shadow_read(&lc->link, word, value);
}

/*
 * What the answer promises: its events have been applied, its bytes are here.
 * A daemon that is lost by now has acknowledged it, and no successor will answer
 * again: so its events are drained whether it lives or not.
 */
static int finish(struct link_client *lc, unsigned n, const struct link_req *asked, const struct link_comp *c, void *batch)
{
	if (c->event_seq > load_acquire(&lc->applied)) {
		int err;

		pthread_mutex_lock(&lc->drain_lock);
		err = drain(lc);
		pthread_mutex_unlock(&lc->drain_lock);
		if (err)
			return err;
		if (c->event_seq > load_acquire(&lc->applied))
			return condemn(lc, "completion", "it names an event that was not sent");
	}
	if ((asked->flags & LINK_REQ_BATCH) && asked->kind == LINK_REQ_PIO_IN && c->status == LINK_OK)
		link_data_get(&lc->link, n, asked->data, batch, (size_t)c->done * asked->size);
	return 1;
}

/* Its events have been applied, it is acknowledged: salvage() saw to it. */
static bool take_saved(struct channel *c, const struct link_req *asked, struct link_comp *comp, void *batch)
{
	c->has_saved = false;
	if (c->saved.seq != asked->seq)
		return false;	/* it was discarded meanwhile */
	*comp = c->saved;
	if (batch && asked->flags & LINK_REQ_BATCH && asked->kind == LINK_REQ_PIO_IN)
		memcpy(batch, c->page[asked->data], (size_t)comp->done * asked->size);
	return true;
}

int link_client_receive(struct link_client *lc, unsigned n, const struct link_req *asked, struct link_comp *comp,
			void *batch)
{
	struct channel *c = &lc->chan[n];
	const char *why;
	int err;

	if (link_client_is_lost(lc))
		return -EPIPE;
	if (__builtin_expect(c->has_saved, 0) && take_saved(c, asked, comp, batch))
		return 1;
	while (link_take_comp(&lc->link, n, comp)) {
		switch (link_comp_check(comp, asked, &why)) {
		case LINK_GOOD:
			err = finish(lc, n, asked, comp, batch);
			if (err == 1)	/* else it is condemned */
				c->committed = asked->seq;
			return err;
		case LINK_STALE:
			count(lc, LINK_STAT_STALE);
			continue;
		case LINK_BAD:
			return condemn(lc, "completion", why);
		}
	}
	return 0;
}

void link_client_forsake(struct link_client *lc, const bool dev[LINK_CLIENT_DEVICES])
{
	if (lc->absent || !link_client_is_lost(lc))
		return;
	memcpy(lc->forsaken, dev, sizeof(lc->forsaken));
	store_release(&lc->absent, 1);		/* pairs with link_client_forsaken() */
	for (unsigned i = 0; i < lc->vm->nvcpus; i++)
		vcpu_kick(&lc->vm->vcpu[i]);
}

bool link_client_forsaken(const struct link_client *lc, unsigned dev)
{
	return load_acquire(&lc->absent) && dev < LINK_CLIENT_DEVICES && lc->forsaken[dev];
}

static void salvage(struct link_client *lc, unsigned n);

/* Its sequence number stays, so that nothing seems to be missing; whoever served it before it died did so for nobody. */
int link_client_withdraw(struct link_client *lc, unsigned n, const struct link_req *asked, struct link_comp *comp, void *batch)
{
	struct channel *c = &lc->chan[n];

	/* What it published before it died has happened, and what answers name counts only then. */
	pthread_mutex_lock(&lc->drain_lock);
	drain(lc);
	pthread_mutex_unlock(&lc->drain_lock);
	salvage(lc, n);
	if (c->has_saved && take_saved(c, asked, comp, batch))
		return 1;
	*copy_of(c, asked->seq) = (struct link_req){
		.seq = asked->seq, .kind = LINK_REQ_VOID, .size = 1, .count = 1, .flags = LINK_REQ_POSTED,
		.vcpu = (uint16_t)n, .region = LINK_NO_REGION,
	};
	return 0;
}

/*
 * How long the daemon may still take, -1 for ever.  Whoever kicks a vCPU ends
 * its wait, which must not begin anew for all that; the clock is read from the
 * first kick on only.
 */
static int64_t patience(const struct link_client *lc, const struct channel *c)
{
	int64_t left = lc->hooks.deadline_ns;

	if (!lc->hooks.overdue)
		return -1;
	if (c->waits_for == c->last && c->waits_in == lc->generation)
		left -= (int64_t)(wait_now() - c->waits_since);
	return left > 0 ? left : 0;
}

static void note_interruption(const struct link_client *lc, struct channel *c)
{
	if (c->waits_for == c->last && c->waits_in == lc->generation)
		return;
	c->waits_for = c->last;
	c->waits_in = lc->generation;
	c->waits_since = wait_now();
}

enum wait_result link_client_wait_comp(struct link_client *lc, unsigned n, const uint32_t *kick, uint32_t seen)
{
	struct channel *c = &lc->chan[n];
	enum wait_result r;

	if (link_client_is_lost(lc))
		return WAIT_BROKEN;
	r = link_wait_comp(&lc->link, n, kick, seen, patience(lc, c));
	if (r == WAIT_BROKEN)
		condemn(lc, "completion ring", "impossible indices");
	if (r == WAIT_KICKED)
		note_interruption(lc, c);
	if (r == WAIT_TIMEOUT && lc->hooks.overdue(lc->hooks.arg))
		link_client_lost(lc, "the device model does not answer");
	else if (r == WAIT_TIMEOUT)
		c->waits_for = 0;	/* a debugger holds it: from now on again */
	return r;
}

enum wait_result link_client_wait_room(struct link_client *lc, unsigned n, const uint32_t *kick, uint32_t seen)
{
	enum wait_result r;

	if (link_client_is_lost(lc))
		return WAIT_BROKEN;
	r = link_wait_room(&lc->link, n, kick, seen, -1);
	if (r == WAIT_BROKEN)
		condemn(lc, "request ring", "impossible indices");
	return r;
}

/* ---- the control channel */

int link_client_ask(struct link_client *lc, unsigned kind, uint64_t addr, uint64_t value, struct link_req *r)
{
	int err;

	*r = (struct link_req){ .kind = (uint8_t)kind, .addr = addr, .value = value, .count = 1, .size = 8, .region = LINK_NO_REGION };
	err = link_client_send(lc, lc->vm->nvcpus, 0, r, NULL);
	if (!err)
		count(lc, LINK_STAT_CONTROL);
	return err == -EBUSY ? -EAGAIN : err;
}

int link_client_answer(struct link_client *lc, const struct link_req *r, uint64_t since, int64_t wait_ns)
{
	unsigned n = lc->vm->nvcpus;
	struct link_comp comp;
	int got = link_client_receive(lc, n, r, &comp, NULL);

	if (!got && wait_ns && link_wait_comp(&lc->link, n, NULL, 0, wait_ns) == WAIT_BROKEN)
		return condemn(lc, "completion ring", "impossible indices");
	if (!got && wait_ns)
		got = link_client_receive(lc, n, r, &comp, NULL);
	if (got == 1)
		return comp.status == LINK_UNCLAIMED ? -ENXIO : 0;
	if (!got && lc->hooks.overdue && wait_now() - since > (uint64_t)lc->hooks.deadline_ns && lc->hooks.overdue(lc->hooks.arg))
		link_client_lost(lc, "the device model does not answer");
	return got ? got : -EAGAIN;
}

bool link_client_nobody(const struct link_client *lc)
{
	return link_client_is_lost(lc) && (!lc->hooks.gone || lc->hooks.gone(lc->hooks.arg));
}

bool link_client_alone(const struct link_client *lc)
{
	return link_client_is_lost(lc) && !lc->hooks.gone;
}

/* ---- doorbells */

static int tell_kernel(struct link_client *lc, const struct doorbell *d, bool on)
{
	const struct engine_ops *engine = lc->vm->vcpu[0].engine;
	const struct engine_doorbell b = {
		.addr = d->addr, .data = d->data, .size = d->size, .mmio = d->flags & LINK_DB_MMIO, .match = d->flags & LINK_DB_MATCH,
		.fd = lc->link.fd[LINK_FD_KICK],
	};

	return engine && engine->doorbell ? engine->doorbell(lc->vm, &b, on) : -ENOTSUP;
}

/*
 * Where an engine can: then its vCPU does not even leave the guest.  Where it
 * cannot, the write comes here.  At either change it is rung once: the kernel may
 * have told a daemon that no longer listened.
 */
static void leave_to_kernel(struct link_client *lc, unsigned n)
{
	struct doorbell *d = &lc->doorbell[n];

	d->by_kernel = (d->flags & LINK_DB_ENABLE) && !tell_kernel(lc, d, true);
	if (!d->by_kernel)
		return;
	link_doorbell_by_kernel(&lc->link, n, true);
	link_doorbell_ring(&lc->link, n);
}

static void keep_from_kernel(struct link_client *lc, unsigned n)
{
	struct doorbell *d = &lc->doorbell[n];

	if (!d->by_kernel)
		return;
	tell_kernel(lc, d, false);
	d->by_kernel = false;
	link_doorbell_by_kernel(&lc->link, n, false);
	link_doorbell_ring(&lc->link, n);
}

static const char *set_doorbell(struct link_client *lc, const struct link_event *e)
{
	struct doorbell *d;
	uint32_t top = LINK_DOORBELLS;

	if (e->b >= LINK_DOORBELLS)
		return "no such doorbell";
	d = &lc->doorbell[e->b];
	keep_from_kernel(lc, e->b);
	store_release(&lc->doorbell_gen, lc->doorbell_gen + 1);	/* odd; pairs with link_client_doorbell() */
	store_release(&d->addr, e->addr);
	store_release(&d->data, e->value);
	store_release(&d->size, e->c);
	store_release(&d->flags, e->a);
	while (top && !(lc->doorbell[top - 1].flags & LINK_DB_ENABLE))
		top--;
	store_release(&lc->doorbells, top);
	store_release(&lc->doorbell_gen, lc->doorbell_gen + 1);
	leave_to_kernel(lc, e->b);
	return NULL;
}

static bool doorbell_matches(const struct doorbell *d, bool mmio, uint64_t addr, unsigned size, uint64_t value)
{
	uint32_t flags = load_acquire(&d->flags), want = load_acquire(&d->size);

	return (flags & LINK_DB_ENABLE) && !(flags & LINK_DB_MMIO) == !mmio && load_acquire(&d->addr) == addr &&
	       (!want || want == size) && (!(flags & LINK_DB_MATCH) || load_acquire(&d->data) == value);
}

bool link_client_doorbell(struct link_client *lc, bool mmio, uint64_t addr, unsigned size, uint64_t value)
{
	uint32_t gen, i, top;

	if (!load_relaxed(&lc->doorbells) || link_client_is_lost(lc))
		return false;
	do {
		while ((gen = load_acquire(&lc->doorbell_gen)) & 1)
			cpu_relax();
		top = load_acquire(&lc->doorbells);
		for (i = 0; i < top; i++)
			if (doorbell_matches(&lc->doorbell[i], mmio, addr, size, value))
				break;
	} while (load_acquire(&lc->doorbell_gen) != gen);
	if (i == top)
		return false;
	link_doorbell_ring(&lc->link, i);
	return true;
}

void link_client_halted(struct link_client *lc, unsigned n, bool halted)
{
	if (!link_client_is_lost(lc))
		link_activity(&lc->link, n, halted ? LINK_HALTED : LINK_RUNS);
}

/* ---- events: under drain_lock */

/*
 * The request that it names is told of too, where its copy is here: a successor
 * tells of it before it is accepted, when no vCPU makes another.
 */
static const char *note_strike(struct link_client *lc, const struct link_event *e)
{
	const struct channel *c = e->c <= lc->vm->nvcpus ? &lc->chan[e->c] : NULL;
	bool known = lc->accepting && e->a == LINK_BY_REQUEST && c && e->value > c->committed && e->value <= c->last;

	if (lc->vm->ledger)
		ledger_strike(lc->vm->ledger, e, known ? &c->copy[e->value % LINK_REQ_SLOTS] : NULL);
	return NULL;
}

static const char *apply(struct link_client *lc, const struct link_event *e)
{
	switch (e->kind) {
	case LINK_EV_DOORBELL:
		return set_doorbell(lc, e);
	case LINK_EV_STRIKE:
		return note_strike(lc, e);
	case LINK_EV_IRQ:
		count(lc, LINK_STAT_IRQS);
		break;
	case LINK_EV_REGION:
	case LINK_EV_MEMMAP:
		count(lc, LINK_STAT_REMAPS);
		break;
	case LINK_EV_CODE:
		count(lc, LINK_STAT_CODE);
		break;
	}
	return event_apply(lc->vm, e);
}

static int take_event(struct link_client *lc, const struct link_event *e)
{
	const char *why;

	switch (link_event_check(e, lc->applied, &why)) {
	case LINK_BAD:
		return condemn(lc, "event", why);
	case LINK_STALE:
		count(lc, LINK_STAT_EVENTS_STALE);
		return 0;
	case LINK_GOOD:
		break;
	}
	why = apply(lc, e);
	if (why)
		return condemn(lc, "event", why);
	count(lc, LINK_STAT_EVENTS);
	store_release(&lc->applied, e->seq);		/* pairs with finish() */
	return 0;
}

/* As many as can be there: one who goes on to write while he is read must not keep the reader, who may be anybody. */
static int drain(struct link_client *lc)
{
	unsigned most = LINK_EVENT_SLOTS;
	struct link_event e;
	int err = 0;

	while (!err && most-- && link_take_event(&lc->link, &e))
		err = take_event(lc, &e);
	link_release_events(&lc->link);
	return err;
}

int link_client_drain(struct link_client *lc)
{
	int err = -EPIPE;

	pthread_mutex_lock(&lc->drain_lock);
	if (!link_client_is_lost(lc))
		err = drain(lc);
	pthread_mutex_unlock(&lc->drain_lock);
	return err;
}

enum { FLOOD = 16, FLOOD_US = 100 };		/* rounds without an end */

void link_client_on_event(struct link_client *lc)
{
	bool more = true;
	int err = 0;

	for (unsigned round = 1; more; round++) {
		pthread_mutex_lock(&lc->drain_lock);
		more = !link_client_is_lost(lc);
		if (more) {
			link_events_finish_sleep(&lc->link);
			err = drain(lc);
			more = !err && !link_events_prepare_sleep(&lc->link, &err) && !err;
		}
		pthread_mutex_unlock(&lc->drain_lock);
		if (more && !(round % FLOOD))
			usleep(FLOOD_US);	/* others want the lock, too */
	}
	if (err == -EPROTO)
		condemn(lc, "event ring", "impossible indices");
}

/* ---- a new generation's start: every vCPU is parked */

/* Posted writes are done once they are committed; whatever else there is must have been answered. */
static void pass_posted(struct link_client *lc, unsigned n)
{
	struct channel *c = &lc->chan[n];
	uint64_t word = link_committed(&lc->link, n);

	while (c->committed < c->last && c->committed < word && (copy_of(c, c->committed + 1)->flags & LINK_REQ_POSTED))
		c->committed++;
}

/*
 * What the last daemon acknowledged and this channel has not received.  The
 * newest request's answer is kept: whoever waits for it takes it as any other.
 */
static void salvage(struct link_client *lc, unsigned n)
{
	struct channel *c = &lc->chan[n];
	struct link_comp comp;
	const char *why;

	while (link_take_comp(&lc->link, n, &comp)) {
		const struct link_req *r = copy_of(c, comp.seq);

		if (comp.seq <= c->committed || comp.seq > c->last || link_comp_check(&comp, r, &why) != LINK_GOOD ||
		    comp.event_seq > load_acquire(&lc->applied))
			continue;	/* asked again */
		c->committed = comp.seq;
		c->saved = comp;
		c->has_saved = comp.seq == c->last;
		if ((r->flags & LINK_REQ_BATCH) && r->kind == LINK_REQ_PIO_IN && comp.status == LINK_OK)
			link_data_get(&lc->link, n, r->data, c->page[r->data], (size_t)comp.done * r->size);
	}
	pass_posted(lc, n);
}

/* The successor tells its regions and doorbells anew; code decoded so far stays, and is marked in its link. */
static void replace_link(struct link_client *lc)
{
	struct vm *vm = lc->vm;

	for (unsigned n = 0; lc->generation && n <= vm->nvcpus; n++)
		salvage(lc, n);
	pthread_mutex_lock(&lc->drain_lock);
	for (unsigned i = 0; i < lc->doorbells; i++)
		keep_from_kernel(lc, i);
	link_close(&lc->link);
	lc->link = lc->next;
	memset(&lc->next, 0, sizeof(lc->next));
	store_relaxed(&lc->doorbells, 0);
	memset(lc->doorbell, 0, sizeof(lc->doorbell));
	pthread_mutex_unlock(&lc->drain_lock);
	pthread_mutex_lock(&vm->dev_lock);
	bus_drop_regions(vm->bus);
	pthread_mutex_unlock(&vm->dev_lock);
	vm->code_bytes = lc->link.code;
	vm->code_pages = lc->link.code_pages;
	if (lc->generation++ && vm->vcpu[0].engine->mark_code)
		vm->vcpu[0].engine->mark_code(vm);
	count(lc, LINK_STAT_GENERATIONS);
}

/* What the predecessor did not acknowledge, in order, with the sequence numbers it had. */
static int post_again(struct link_client *lc, unsigned n)
{
	struct channel *c = &lc->chan[n];

	for (uint64_t seq = c->committed + 1; seq <= c->last; seq++) {
		const struct link_req *r = copy_of(c, seq);

		if ((r->flags & LINK_REQ_BATCH) && r->kind == LINK_REQ_PIO_OUT)
			link_data_put(&lc->link, n, r->data, c->page[r->data], (size_t)r->count * r->size);
		if (link_post_req(&lc->link, n, r))
			return -EPROTO;
	}
	return 0;
}

int link_client_accept(struct link_client *lc, char err[LINK_ERR])
{
	int r = link_accept(&lc->next, err);

	if (r)
		return r;
	replace_link(lc);
	store_release(&lc->absent, 0);
	store_release(&lc->told, 0);
	store_release(&lc->lost, 0);
	/* From here on it is the one that serves: what is wrong with it condemns it. */
	lc->accepting = true;
	r = link_client_drain(lc);
	lc->accepting = false;
	if (r)
		return 0;
	for (unsigned n = 0; n <= lc->vm->nvcpus; n++)
		if (post_again(lc, n)) {
			condemn(lc, "request ring", "it is not the daemon's to write to");
			return 0;
		}
	return 0;
}
