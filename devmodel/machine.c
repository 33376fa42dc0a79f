/*
 * machine.c - makes the devices, and runs the transactions that are not requests.
 *
 * Must not know: rings beyond their addresses, sockets, files.
 */
#include "devmodel/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devmodel/bus/pci.h"
#include "devmodel/firmware/direct.h"
#include "devmodel/recover.h"
#include "devmodel/txn.h"

enum {
	IO_BATCH = 32,		/* ended operations of a device in one transaction */
	HOLD_NS = 200000,	/* an interrupt is held back for at most so long */
	HOLD_TRIAL = 64,	/* one interrupt in so many is held back to find out whether it pays */
	HOLD_CREDIT = 16,
};

const struct dev_ops *device_find(const char *name)
{
	for (unsigned i = 0; devices[i]; i++)
		if (!strcmp(devices[i]->name, name))
			return devices[i];
	return NULL;
}

/* ---- configuration */

static const struct dev_key *known_key(const struct dev_ops *ops, const char *name)
{
	for (const struct dev_key *k = ops->keys; k && k->name; k++)
		if (!strcmp(k->name, name))
			return k;
	return NULL;
}

/* cleave has checked all this against our list; believe it no more than anybody. */
static int plan_dev(const struct conf_dev *c, struct arena_plan *p, char *err, size_t errlen)
{
	p->ops = device_find(c->model);
	if (!p->ops) {
		snprintf(err, errlen, "%s: no such device; `-s help` and `-l help` list them", c->model);
		return -ENODEV;
	}
	for (unsigned i = 0; i < c->nkeys; i++)
		if (!known_key(p->ops, c->key[i].name)) {
			snprintf(err, errlen, "%s: no key \"%s\"; `-%c %s,help` lists them", c->model, c->key[i].name,
				 p->ops->pci ? 's' : 'l', c->model);
			return -EINVAL;
		}
	p->devfn = ARENA_NOT_PCI;
	if (!c->pci != !p->ops->pci) {
		snprintf(err, errlen, p->ops->pci ? "%s: is a PCI device and needs a slot: -s SLOT,%s" :
			 "%s: has no PCI slot: -l %s", c->model, c->model);
		return -EINVAL;
	}
	if (!c->pci)
		return 0;
	if (c->bus || c->slot > 31 || c->function > 7) {
		snprintf(err, errlen, "%s: slot %u:%u:%u: there is bus 0 with slots 0-31 and functions 0-7",
			 c->model, c->bus, c->slot, c->function);
		return -EINVAL;
	}
	p->devfn = c->slot << 3 | c->function;
	return 0;
}

int machine_plan(const struct conf_machine *conf, struct arena_plan *plan, char *err, size_t errlen)
{
	if (conf->ndevs > ARENA_MAX_DEVS) {
		snprintf(err, errlen, "%u devices: at most %u are possible", conf->ndevs, ARENA_MAX_DEVS);
		return -E2BIG;
	}
	if (!conf->vcpus || conf->vcpus > LINK_MAX_VCPUS) {
		snprintf(err, errlen, "%u processors: 1 to %u are possible", conf->vcpus, LINK_MAX_VCPUS);
		return -EINVAL;
	}
	for (unsigned i = 0; i < conf->ndevs; i++) {
		int e = plan_dev(&conf->dev[i], &plan[i], err, errlen);

		if (e)
			return e;
		for (unsigned j = 0; j < i; j++)
			if (plan[i].devfn != ARENA_NOT_PCI && plan[j].devfn == plan[i].devfn) {
				snprintf(err, errlen, "%s and %s: both in slot %u:%u", conf->dev[j].model, conf->dev[i].model,
					 conf->dev[i].slot, conf->dev[i].function);
				return -EEXIST;
			}
	}
	return 0;
}

/* ---- making it */

static int init_dev(struct machine *m, unsigned n, const struct arena_plan *p)
{
	const struct conf_dev *c = &m->conf.dev[n];
	struct dev *d = &m->dev[n];

	*d = (struct dev){ .ops = p->ops, .m = m, .id = n, .conf = c, .is_pci = c->pci, .slot = c->slot, .function = c->function };
	d->a = arena_dev(m->arena, n);
	d->state = (uint8_t *)m->arena + d->a->state_off;
	d->bulk = (uint8_t *)m->arena + d->a->bulk_off;
	d->io = calloc(dev_io_slots(d), sizeof(*d->io));
	if (c->pci)
		snprintf(d->name, sizeof(d->name), "%s@%u:%u", c->model, c->slot, c->function);
	else
		snprintf(d->name, sizeof(d->name), "%s", c->model);
	return d->io ? 0 : -ENOMEM;
}

static int start_dev(struct machine *m, struct dev *d, bool fresh)
{
	int err = txn_begin(m, (struct txn_source){ .kind = TXN_INIT, .dev = d->id });

	if (err) {
		dev_error(d, "the engine does not take events: %s", strerror(-err));
		return err;
	}
	/* A state that cannot be is replaced: one device is reset, the others go on. */
	d->unmade = d->a->out;
	if (!d->unmade)
		TXN_STEP(d->ops->name);
	if (!fresh && !d->unmade && d->ops->check && d->ops->check(d, d->state)) {
		dev_log(d, "its state is damaged; it starts as after power-on");
		memset(dev_write(d), 0, d->ops->state_size);
		fresh = true;
	}
	if (d->ops->pci)
		pci_attach(d, fresh);
	if (d->ops->init && !d->unmade)
		err = d->ops->init(d, fresh);
	if (err && !m->error[0])
		dev_error(d, "%s", strerror(-err));
	txn_end(m);
	return err;
}

/* A transaction of its own, after those that made the devices. */
static int start_direct(struct machine *m)
{
	int err = txn_begin(m, (struct txn_source){ .kind = TXN_INIT, .dev = m->ndevs - 1 });

	if (err)
		return err;
	err = firmware_direct(m);
	txn_end(m);
	return err;
}

static bool overlap(const struct arena_region *a, const struct arena_region *b)
{
	return a->len && b->len && !((a->flags ^ b->flags) & LINK_RGN_MMIO) && a->base < b->base + b->len &&
	       b->base < a->base + a->len;
}

/*
 * Two of a kind at one fixed place: the second would never be heard.  Not for
 * a successor's devices, whose BARs are where the guest has put them.
 */
static int refuse_twin(const struct machine *m, const struct dev *d)
{
	for (const struct dev *other = m->dev; other < d; other++)
		for (unsigned i = 0; other->ops == d->ops && i < DEV_REGIONS * DEV_REGIONS; i++) {
			const struct arena_region *mine = &d->a->region[i % DEV_REGIONS];

			if (!overlap(mine, &other->a->region[i / DEV_REGIONS]))
				continue;
			dev_error(d, "%s %#llx is taken by %s: a machine has one of these",
				  mine->flags & LINK_RGN_MMIO ? "address" : "port", (unsigned long long)mine->base, dev_name(other));
			return -EADDRINUSE;
		}
	return 0;
}

/* A bit for each of the device's character streams. */
static uint32_t streams_of(const struct dev *d)
{
	uint32_t streams = 0;

	for (unsigned i = 0; i < d->conf->nkeys; i++)
		if (d->conf->key[i].stream >= 0)
			streams |= 1u << d->conf->key[i].stream;
	return streams;
}

int machine_init(struct machine *m, const struct conf_machine *conf, void *arena, size_t arena_bytes)
{
	struct arena_plan plan[ARENA_MAX_DEVS];
	const char *why;
	int err;

	m->conf = *conf;
	err = machine_plan(conf, plan, m->error, sizeof(m->error));
	if (err)
		return err;
	m->nrings = conf->vcpus + 1;
	m->ndevs = conf->ndevs;
	if (arena_bytes < arena_size(plan, m->ndevs)) {
		snprintf(m->error, sizeof(m->error), "the arena has %zu bytes, these devices need %zu",
			 arena_bytes, arena_size(plan, m->ndevs));
		return -ENOSPC;
	}
	m->arena = arena;
	m->arena_bytes = arena_bytes;
	if (conf->fresh)
		arena_format(arena, arena_bytes, plan, m->ndevs, m->nrings);
	else if (arena_match(arena, arena_bytes, plan, m->ndevs, m->nrings, m->error, sizeof(m->error)))
		return -EINVAL;
	else if (arena_check(arena, arena_bytes, plan, m->ndevs, m->nrings, &why)) {
		snprintf(m->error, sizeof(m->error), "the arena is damaged: %s", why);
		return -EINVAL;
	}
	m->arena->generation = conf->generation;
	m->clock_offset = conf->clock_offset;
	if (conf->paused)
		machine_pause(m, true, 0);
	m->batch = (uint8_t *)arena + m->arena->off_batch;
	m->undo = (uint8_t *)arena + m->arena->off_undo;
	m->ram_low = conf->ram_bytes < RAM_LOW_MAX ? conf->ram_bytes : RAM_LOW_MAX;
	m->ram_high = conf->ram_bytes - m->ram_low;
	m->ended_tail = &m->ended;
	m->io_batch = IO_BATCH;
	for (unsigned i = 0; i < m->ndevs; i++) {
		if (init_dev(m, i, &plan[i])) {
			snprintf(m->error, sizeof(m->error), "no memory for the devices");
			return -ENOMEM;
		}
		m->streams |= streams_of(&m->dev[i]);
	}
	err = conf->fresh ? 0 : recover_transaction(m);
	if (err)
		return err;
	for (unsigned i = 0; i < m->ndevs; i++) {
		err = start_dev(m, &m->dev[i], conf->fresh);
		if (!err && conf->fresh)
			err = refuse_twin(m, &m->dev[i]);
		if (err)
			return err;
	}
	m->timers_moved = true;
	if (!conf->fresh)
		return recover_announce(m);
	return conf->direct ? start_direct(m) : 0;
}

void machine_go(struct machine *m)
{
	m->live = true;
	for (unsigned i = 0; i < m->ndevs; i++) {
		struct dev *d = &m->dev[i];

		if (d->net)
			net_go(d->net);
		for (unsigned s = 0; s < dev_io_slots(d); s++)
			machine_start_io(d, s);
	}
}

void machine_fini(struct machine *m)
{
	for (unsigned i = 0; i < m->ndevs; i++) {
		if (m->dev[i].ops && m->dev[i].ops->fini)
			m->dev[i].ops->fini(&m->dev[i]);
		net_free(m->dev[i].net);
		m->dev[i].net = NULL;
		free(m->dev[i].io);
		m->dev[i].io = NULL;
	}
}

/* Was out of service all this process's life: made now, from nothing.  One that cannot be stays out. */
static bool make_late(struct dev *d)
{
	if (!d->unmade)
		return true;
	memset(dev_write(d), 0, d->ops->state_size);
	if (d->ops->init && d->ops->init(d, true)) {
		dev_log(d, "out of service: %s", d->m->error);
		d->m->error[0] = 0;
		d->a->out = 1;
		return false;
	}
	d->unmade = false;
	return true;
}

void machine_reset(struct machine *m)
{
	for (unsigned i = 0; i < m->ndevs; i++) {
		struct dev *d = &m->dev[i];
		bool out = d->a->out;

		m->arena->at_work = i;
		if (out && m->refusing)
			continue;
		recover_reset(d);
		if (d->ops->pci)
			pci_reset_function(d);
		if (make_late(d) && d->ops->reset)
			d->ops->reset(d);
		if (out)
			recover_tell(d);
	}
	/* It went well when the machine was made, and depends on nothing that has changed since. */
	if (m->conf.direct)
		firmware_direct(m);
}

static bool resize(struct machine *m, uint64_t devfn)
{
	struct dev *d = machine_pci(m, 0, devfn);

	return d && !d->a->out && d->ops->resized && d->ops->resized(d);
}

static bool set_link(struct machine *m, uint64_t value)
{
	struct dev *d = machine_pci(m, 0, value & 0xff);

	if (!d || d->a->out || !d->ops->set_link)
		return false;
	d->ops->set_link(d, value >> 8 & 1);
	return true;
}

bool machine_inject(struct machine *m, unsigned kind, uint64_t value)
{
	bool taken = false;

	if (kind == LINK_INJECT_RESIZE)
		return resize(m, value);
	if (kind == LINK_INJECT_LINK)
		return set_link(m, value);
	for (unsigned i = 0; i < m->ndevs; i++) {
		m->arena->at_work = i;
		if (!m->dev[i].ops->inject || m->dev[i].a->out)
			continue;
		m->dev[i].ops->inject(&m->dev[i], kind, value);
		taken = true;
	}
	return taken;
}

/* ---- time */

uint64_t machine_now(struct machine *m)
{
	return m->paused ? m->paused_at : m->clock(m->clock_arg) + (uint64_t)m->clock_offset;
}

void machine_pause(struct machine *m, bool pause, int64_t offset)
{
	if (pause) {
		m->paused_at = machine_now(m);
		m->paused = true;
	} else {
		m->paused = false;
		m->clock_offset = offset;
	}
}

uint64_t machine_next_timer(struct machine *m)
{
	uint64_t next = 0;

	if (!m->timers_moved)
		return m->next_timer;
	for (unsigned i = 0; i < m->ndevs; i++)
		for (unsigned t = 0; t < DEV_TIMERS; t++) {
			uint64_t at = m->dev[i].a->lines.timer[t];

			if (at && (!next || at < next))
				next = at;
		}
	m->timers_moved = false;
	m->next_timer = next;
	return next;
}

static int run_timer(struct dev *d, unsigned timer)
{
	struct machine *m = d->m;
	int err = txn_begin(m, (struct txn_source){ .kind = TXN_TIMER, .dev = d->id, .index = timer });

	if (err)
		return err;
	dev_timer(d, timer, 0);
	if (d->ops->timer)
		d->ops->timer(d, timer);
	txn_end(m);
	return machine_reap(m) < 0 ? -EPIPE : 0;
}

/* The earliest timer that is due, so that timers run in the order of their deadlines. */
static struct dev *due(struct machine *m, uint64_t now, unsigned *timer)
{
	uint64_t best = now + 1;
	struct dev *found = NULL;

	for (unsigned i = 0; i < m->ndevs; i++)
		for (unsigned t = 0; t < DEV_TIMERS; t++) {
			uint64_t at = m->dev[i].a->lines.timer[t];

			if (at && at < best) {
				best = at;
				found = &m->dev[i];
				*timer = t;
			}
		}
	return found;
}

int machine_timers(struct machine *m)
{
	uint64_t now = machine_now(m), next = machine_next_timer(m);
	unsigned timer;
	struct dev *d;
	int n = 0;

	if (m->paused || !next || next > now)
		return 0;
	/* A device that always rearms in the past must not hold the loop. */
	while (n < 64 && (d = due(m, now, &timer))) {
		int err = run_timer(d, timer);

		if (err)
			return err;
		n++;
	}
	return n;
}

/* ---- character input */

int machine_input(struct machine *m, unsigned stream)
{
	int n = 0;

	for (unsigned i = 0; i < m->ndevs; i++) {
		struct dev *d = &m->dev[i];
		int err;

		if (!d->ops->input || !(streams_of(d) >> stream & 1) || d->a->out)
			continue;
		err = txn_begin(m, (struct txn_source){ .kind = TXN_INPUT, .dev = i, .index = stream });
		if (err)
			return err;
		d->ops->input(d, stream);
		txn_end(m);
		n++;
	}
	return n;
}

/* ---- networks */

int machine_net(struct dev *d)
{
	int err = txn_begin(d->m, (struct txn_source){ .kind = TXN_NET, .dev = d->id });

	if (err)
		return err;
	if (d->ops->net_ready && !d->a->out)
		d->ops->net_ready(d);
	txn_end(d->m);
	return 0;
}

/* ---- back-end operations */

/* What the operation in this slot is, from the state that has been committed. */
static bool fill_io(struct dev *d, unsigned slot, struct blk_io *op)
{
	const struct arena_io *a;

	if (d->ops->io_fill)
		return d->ops->io_fill(d, slot, op);
	a = &d->a->io[slot];
	if (!a->busy || a->blk >= d->nblks)
		return false;
	*op = (struct blk_io){ .blk = d->blk[a->blk], .op = a->op, .off = a->off, .buf = d->bulk + a->bulk, .n = a->n };
	return true;
}

void machine_start_io(struct dev *d, unsigned slot)
{
	struct machine *m = d->m;
	struct dev_io *io;

	/* A successor publishes before it opens the images, and begins what is in flight when it is accepted. */
	if (!m->live || slot >= dev_io_slots(d) || !d->nblks)
		return;
	io = &d->io[slot];
	if (io->started || !fill_io(d, slot, &io->op))
		return;
	TXN_STEP("io.starting");
	io->dev = d;
	io->started = true;
	m->ios++;
	if (blk_start(&io->op)) {
		io->op.next = NULL;
		*m->ended_tail = &io->op;
		m->ended_tail = &io->op.next;
	}
}

static void ended(struct dev *d, unsigned slot, int error)
{
	if (!d->ops->io_fill) {
		txn_save(d->m, d->a->io, sizeof(d->a->io), &d->saved.io);
		d->a->io[slot].busy = 0;
	}
	if (d->ops->io_done && !d->a->out)
		d->ops->io_done(d, slot, error);
}

/* The next operation that has ended, of this device or (NULL) any; it stays where it is when it is another's. */
static struct dev_io *next_ended(struct machine *m, const struct dev *d)
{
	struct blk_io *op = m->ended ? m->ended : blk_reap();
	struct dev_io *io;

	if (!op)
		return NULL;
	io = (struct dev_io *)((char *)op - offsetof(struct dev_io, op));
	if (m->ended) {
		if (d && io->dev != d)
			return NULL;
		m->ended = op->next;
		if (!m->ended)
			m->ended_tail = &m->ended;
	} else if (d && io->dev != d) {
		op->next = NULL;
		m->ended = op;
		m->ended_tail = &op->next;
		return NULL;
	}
	io->started = false;
	m->ios--;
	return io;
}

/*
 * One transaction for what has ended, several operations where the device keeps
 * them itself: if it is undone, all of them are in flight again.
 */
static int io_ended(struct machine *m, struct dev_io *io)
{
	struct dev *d = io->dev;
	unsigned n = 0, slot = io - d->io;
	int err;

	TXN_STEP("io.ended");
	err = txn_begin(m, (struct txn_source){ .kind = TXN_IO, .dev = d->id, .index = slot,
						    .seq = (uint64_t)(int64_t)io->op.error });

	if (err)
		return err;
	do
		ended(d, io - d->io, io->op.error);
	while (d->ops->io_fill && ++n < m->io_batch && m->ios && (io = next_ended(m, d)));
	txn_end(m);
	return 0;
}

int machine_reap(struct machine *m)
{
	struct dev_io *io;
	int n = 0;

	while (m->ios && (io = next_ended(m, NULL))) {
		int err = io_ended(m, io);

		if (err)
			return err;
		n++;
	}
	return n;
}

/* ---- doorbells and used rings */

static int tell_bell(struct machine *m, unsigned n)
{
	struct dev *d = &m->dev[m->bell[n].dev];
	int err = txn_begin(m, (struct txn_source){ .kind = TXN_DOORBELL, .dev = d->id, .index = n - d->bell });

	if (err)
		return err;
	m->bell[n].due = false;
	m->bells_due--;
	if (!d->a->out)
		d->ops->doorbell(d, n - d->bell);
	txn_end(m);
	return 0;
}

static void bell_is_due(struct machine *m, struct machine_bell *b)
{
	m->bells_due += !b->due;
	b->due = true;
}

void machine_kicked(struct machine *m)
{
	for (unsigned n = 0; n < m->nbells; n++)
		if (link_doorbell_is_kernels(m->link, n))
			bell_is_due(m, &m->bell[n]);
}

static void look_at_bells(struct machine *m)
{
	for (unsigned n = 0; n < m->nbells; n++) {
		struct machine_bell *b = &m->bell[n];
		uint32_t count = link_doorbell_count(m->link, n);

		if (count == b->seen)
			continue;
		b->seen = count;
		bell_is_due(m, b);
	}
}

/* Each that is due once: one that is due again at once waits for its turn. */
int machine_doorbells(struct machine *m, bool look)
{
	int n = 0;

	if (look)
		look_at_bells(m);
	for (unsigned i = 0; i < m->nbells && m->bells_due; i++) {
		int err = m->bell[i].due ? tell_bell(m, i) : 0;

		if (err)
			return err;
		n++;
	}
	return n;
}

/* ---- interrupts of queues */

static int signal_queue(struct machine *m, struct dev *d, unsigned queue)
{
	int err = txn_begin(m, (struct txn_source){ .kind = TXN_SIGNAL, .dev = d->id, .index = queue });

	if (err)
		return err;
	d->ops->signal(d, queue);
	txn_end(m);
	return 0;
}

/*
 * A guest whose processor is at work loses more by an interrupt for each
 * request than by hearing of several a little later.  So interrupts are held
 * back while every vCPU runs, until one halts or HOLD_NS have passed; but only
 * of queues where that has brought requests together before, and now and then
 * of others to find out.
 */
static bool worth_holding(struct machine_bell *b)
{
	return b->credit > 0 || ++b->signals % HOLD_TRIAL == 0;
}

static bool hold(struct machine *m, struct dev *d, unsigned queue)
{
	struct machine_bell *b = &m->bell[d->bell + queue];

	if (b->held)
		return true;
	if (!m->may_hold || queue >= d->nbells || !link_vcpus_run(m->link) || !worth_holding(b))
		return false;
	if (!m->held && !link_hold(m->link)) {
		link_unhold(m->link);
		return false;
	}
	if (!m->held)
		m->held_since = m->clock(m->clock_arg);
	b->held = true;
	m->held++;
	return true;
}

static void learn(struct machine_bell *b, unsigned together)
{
	if (together > 1 && b->credit < HOLD_CREDIT)
		b->credit += 2;
	else if (together == 1 && b->credit > 0)
		b->credit--;
}

uint64_t machine_held_until(const struct machine *m)
{
	return m->held ? m->held_since + HOLD_NS : 0;
}

int machine_release(struct machine *m)
{
	int n = 0;

	if (!m->held || (link_vcpus_run(m->link) && m->clock(m->clock_arg) < machine_held_until(m)))
		return 0;
	link_unhold(m->link);
	m->held = 0;
	for (unsigned i = 0; i < m->nbells; i++) {
		struct machine_bell *b = &m->bell[i];
		struct dev *d = &m->dev[b->dev];
		unsigned wanted;
		int err;

		if (!b->held)
			continue;
		b->held = false;
		wanted = d->ops->published(d, i - d->bell);
		learn(b, wanted);
		err = wanted ? signal_queue(m, d, i - d->bell) : 0;
		if (err)
			return err;
		n++;
	}
	return n;
}

/*
 * A used index has been shown: only now can be asked whether the driver wants
 * to hear of it, for it may have gone to sleep meanwhile.  A successor that
 * finds no trace of this interrupts once too often.
 */
void machine_published(struct machine *m)
{
	struct out_queue queue[OUT_QUEUES];
	unsigned n = m->arena->out.nqueues;

	memcpy(queue, m->arena->out.queue, n * sizeof(queue[0]));
	for (unsigned i = 0; i < n; i++) {
		struct dev *d = &m->dev[queue[i].dev];

		TXN_STEP("publish.signal");
		if (d->ops->published && d->ops->published(d, queue[i].queue) && !hold(m, d, queue[i].queue) &&
		    signal_queue(m, d, queue[i].queue))
			return;
	}
}

/* ---- looking things up */

uint8_t *machine_ram(const struct machine *m, uint64_t gpa, size_t n)
{
	const uint64_t hole = 0xa0000, hole_end = 0xc0000, high = 1ull << 32;

	if (gpa < m->ram_low) {
		if (n > m->ram_low - gpa || (gpa < hole_end && gpa + n > hole))
			return NULL;	/* A0000h-BFFFFh is the display's, not RAM's */
		return m->ram + gpa;
	}
	if (gpa < high || gpa - high >= m->ram_high || n > m->ram_high - (gpa - high))
		return NULL;
	return m->ram + m->ram_low + (gpa - high);
}

struct dev *machine_dev(struct machine *m, const char *model)
{
	for (unsigned i = 0; i < m->ndevs; i++)
		if (!strcmp(m->dev[i].ops->name, model))
			return &m->dev[i];
	return NULL;
}

struct dev *machine_pci(struct machine *m, unsigned bus, unsigned devfn)
{
	for (unsigned i = 0; i < m->ndevs && !bus; i++)
		if (m->dev[i].ops->pci && m->dev[i].a->devfn == devfn)
			return &m->dev[i];
	return NULL;
}

struct dev *machine_find(struct machine *m, bool mmio, uint64_t addr, unsigned size, unsigned *region, uint64_t *off)
{
	for (unsigned i = 0; i < m->ndevs; i++)
		for (unsigned r = 0; r < DEV_REGIONS; r++) {
			const struct arena_region *g = &m->dev[i].a->region[r];

			if (g->len < size || !(g->flags & LINK_RGN_MMIO) != !mmio)
				continue;
			if (addr < g->base || addr - g->base > g->len - size)
				continue;
			*region = r;
			*off = addr - g->base;
			return &m->dev[i];
		}
	return NULL;
}

uint64_t machine_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	static const uint64_t mask[] = { [1] = 0xff, [2] = 0xffff, [4] = 0xffffffff, [8] = ~0ull };

	return d->ops->read ? d->ops->read(d, region, off, size) & mask[size] : mask[size];
}

void machine_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	if (d->ops->write)
		d->ops->write(d, region, off, size, value);
}
