/*
 * device.c - the calls of device.h: what a device may do inside a transaction.
 *
 * Everything here changes the arena only after txn_save(), and tells the
 * outside only through the outbox.
 */
#include "devmodel/device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "devmodel/machine.h"
#include "devmodel/txn.h"

/* ---- state and configuration */

const char *dev_name(const struct dev *d)
{
	return d->name;
}

const void *dev_state(const struct dev *d)
{
	return d->state;
}

void *dev_write(struct dev *d)
{
	txn_save(d->m, d->state, d->ops->state_size, &d->saved.state);
	return d->state;
}

uint8_t *dev_bulk(struct dev *d)
{
	return d->bulk;
}

struct machine *dev_machine(struct dev *d)
{
	return d->m;
}

void dev_set_private(struct dev *d, void *p)
{
	d->private = p;
}

void *dev_private(const struct dev *d)
{
	return d->private;
}

const uint8_t *dev_uuid(const struct dev *d)
{
	return d->m->conf.uuid;
}

static const struct conf_key *find_key(const struct dev *d, const char *key)
{
	for (unsigned i = 0; i < d->conf->nkeys; i++)
		if (!strcmp(d->conf->key[i].name, key))
			return &d->conf->key[i];
	return NULL;
}

const char *dev_conf(const struct dev *d, const char *key)
{
	const struct conf_key *k = find_key(d, key);

	return k ? k->value : NULL;
}

int dev_conf_fd(const struct dev *d, const char *key)
{
	const struct conf_key *k = find_key(d, key);

	return k ? k->fd : -1;
}

int dev_stream(const struct dev *d, const char *key)
{
	const struct conf_key *k = find_key(d, key);

	return k ? k->stream : -1;
}

void dev_error(const struct dev *d, const char *fmt, ...)
{
	struct machine *m = d->m;
	va_list ap;
	int n;

	if (m->error[0])
		return;		/* the first is the cause */
	n = snprintf(m->error, sizeof(m->error), "%s: ", d->name);
	va_start(ap, fmt);
	vsnprintf(m->error + n, sizeof(m->error) - n, fmt, ap);
	va_end(ap);
}

/* A guest can make a device talk: no more than a few lines a second. */
static bool may_log(struct machine *m)
{
	uint64_t now = machine_now(m) / 1000000000u;

	if (m->quiet)
		return false;
	if (now != m->log_second) {
		m->log_second = now;
		m->log_lines = 0;
	}
	return m->log_lines++ < 10;
}

void dev_log(const struct dev *d, const char *fmt, ...)
{
	char line[256];
	va_list ap;

	if (!may_log(d->m))
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	fprintf(stderr, "cleaved: %s: %s\n", d->name, line);
}

/* ---- regions */

static uint32_t shadow_words(struct machine *m, uint32_t n)
{
	struct arena_header *a = m->arena;
	uint32_t first = a->nshadows;

	if (n > LINK_SHADOWS - first)
		return LINK_NO_SHADOW;	/* the region is served by requests */
	txn_save(m, &a->nshadows, sizeof(a->nshadows), &m->machine_saved);
	a->nshadows += n;
	return first;
}

void dev_region(struct dev *d, const struct dev_region *r)
{
	struct arena_region *g, new = { 0 };
	struct machine *m = d->m;

	if (r->id >= DEV_REGIONS)
		return;
	d->claims |= 1u << r->id;
	g = &d->a->region[r->id];
	new.shadow = g->shadow;
	new.base = r->base;
	new.len = r->len;
	/* What lies outside the address space cannot be decoded. */
	if (r->mmio ? r->base + r->len < r->base : r->base + r->len > 0x10000)
		new.len = 0;
	if (!new.len)
		new.base = 0;
	if (r->shadow && new.len && new.shadow == LINK_NO_SHADOW)
		new.shadow = shadow_words(m, new.len);
	if (new.len)
		new.flags = (r->mmio ? LINK_RGN_MMIO : 0) | (r->batch ? LINK_RGN_BATCH : 0) | (r->posted ? LINK_RGN_POSTED : 0) |
			    (r->shadow && new.shadow != LINK_NO_SHADOW ? LINK_RGN_SHADOW : 0);
	if (g->base == new.base && g->len == new.len && g->flags == new.flags)
		return;
	txn_save(m, d->a->region, sizeof(d->a->region), &d->saved.regions);
	*g = new;
	machine_announce(d, r->id);
	m->batch_ends = true;
}

void machine_announce(struct dev *d, unsigned region)
{
	const struct arena_region *g = &d->a->region[region];

	txn_event(d->m, &(struct link_event){
		.kind = LINK_EV_REGION, .a = g->flags, .b = d->id * DEV_REGIONS + region,
		.c = g->flags & LINK_RGN_SHADOW ? g->shadow : LINK_NO_SHADOW, .d = d->id,
		.addr = g->base, .value = g->len });
}

void dev_shadow(struct dev *d, unsigned region, unsigned off, uint32_t value, bool valid)
{
	const struct arena_region *g;

	if (region >= DEV_REGIONS)
		return;
	g = &d->a->region[region];
	if (g->shadow == LINK_NO_SHADOW || off >= g->len)
		return;
	txn_shadow(d->m, g->shadow + off, value, valid);
}

/* ---- doorbells */

bool dev_doorbells(struct dev *d, unsigned n)
{
	struct machine *m = d->m;

	if (n > LINK_DOORBELLS - m->nbells)
		return false;
	d->bell = m->nbells;
	d->nbells = n;
	for (unsigned i = 0; i < n; i++)
		m->bell[m->nbells++] = (struct machine_bell){ .dev = d->id, .seen = link_doorbell_count(m->link, d->bell + i) };
	return true;
}

void dev_doorbell(struct dev *d, unsigned n, uint64_t gpa, unsigned size)
{
	if (n >= d->nbells)
		return;
	txn_event(d->m, &(struct link_event){
		.kind = LINK_EV_DOORBELL, .a = LINK_DB_MMIO | (size ? LINK_DB_ENABLE : 0), .b = d->bell + n,
		.c = size ? size : 1, .addr = gpa });
	d->m->batch_ends = true;
}

void dev_ring(struct dev *d, unsigned n)
{
	struct machine *m = d->m;
	struct machine_bell *b = &m->bell[d->bell + n];

	if (n >= d->nbells || b->due)
		return;
	b->due = true;
	m->bells_due++;
}

/* ---- effects */

void machine_line(struct dev *d, unsigned gsi, bool level)
{
	struct machine *m = d->m;
	uint32_t bit = 1u << gsi, any = 0;

	if (gsi >= 32 || !(d->a->lines.irq & bit) == !level)
		return;
	txn_save(m, &d->a->lines, sizeof(d->a->lines), &d->saved.lines);
	d->a->lines.irq ^= bit;
	for (unsigned i = 0; i < m->ndevs; i++)
		any |= m->dev[i].a->lines.irq & bit;
	if (any == (m->arena->gsi_level & bit))
		return;		/* another device holds the line up */
	txn_save(m, &m->arena->gsi_level, sizeof(m->arena->gsi_level), &m->gsi_saved);
	m->arena->gsi_level ^= bit;
	txn_event(m, &(struct link_event){ .kind = LINK_EV_IRQ, .a = gsi, .b = level });
	m->batch_ends = true;
}

void dev_irq(struct dev *d, unsigned gsi, bool level)
{
	machine_line(d, gsi, level);
}

void dev_end_batch(struct dev *d)
{
	d->m->batch_ends = true;
}

void dev_map(struct dev *d, unsigned slot, unsigned map, uint64_t base, uint64_t len, uint64_t offset)
{
	txn_event(d->m, &(struct link_event){
		.kind = LINK_EV_MEMMAP, .a = map, .b = slot, .c = (uint32_t)offset, .d = offset >> 32, .addr = base, .value = len });
	d->m->batch_ends = true;
}

void dev_pmbase(struct dev *d, uint16_t base, bool on)
{
	txn_event(d->m, &(struct link_event){ .kind = LINK_EV_PMBASE, .addr = base, .value = on });
	d->m->batch_ends = true;
}

/*
 * What the guest wrote into an MSI-X table may be any address; only the
 * interrupt window is answered for.  One message twice in a transaction is one.
 */
void dev_msi(struct dev *d, uint64_t addr, uint32_t data)
{
	const struct txn_out *o = &d->m->arena->out;
	const struct link_event *last = o->nevents ? &o->event[o->nevents - 1] : NULL;

	if (addr >> 20 != 0xfee || addr % 4)
		return;
	if (last && last->kind == LINK_EV_MSI && last->addr == addr && last->value == data)
		return;
	txn_event(d->m, &(struct link_event){ .kind = LINK_EV_MSI, .addr = addr, .value = data });
	d->m->batch_ends = true;
}

void dev_a20(struct dev *d, bool level)
{
	txn_event(d->m, &(struct link_event){ .kind = LINK_EV_A20, .a = level });
	d->m->batch_ends = true;
}

void dev_nmi(struct dev *d)
{
	txn_event(d->m, &(struct link_event){ .kind = LINK_EV_NMI });
	d->m->batch_ends = true;
}

void dev_power(struct dev *d, unsigned what, uint32_t arg)
{
	txn_event(d->m, &(struct link_event){ .kind = LINK_EV_POWER, .a = what, .b = arg });
	d->m->batch_ends = true;
}

/* ---- time */

uint64_t dev_now(const struct dev *d)
{
	struct machine *m = d->m;

	if (!m->now)
		m->now = machine_now(m);
	return m->now;
}

void dev_timer(struct dev *d, unsigned timer, uint64_t deadline)
{
	struct machine *m = d->m;

	if (timer >= DEV_TIMERS || d->a->lines.timer[timer] == deadline)
		return;
	txn_save(m, &d->a->lines, sizeof(d->a->lines), &d->saved.lines);
	d->a->lines.timer[timer] = deadline;
	m->timers_moved = true;
}

/* ---- guest memory */

bool dma_read(struct dev *d, uint64_t gpa, void *to, size_t n)
{
	const uint8_t *from = machine_ram(d->m, gpa, n);

	if (!from)
		return false;
	copy_once(to, from, n);
	return true;
}

/*
 * Has the engine decoded code from these pages?  It marks a page, fences, then
 * reads the bytes; we have stored the bytes, fence, then look at the mark: one
 * of the two sees the other.
 */
void dma_written(struct dev *d, uint64_t gpa, uint64_t n)
{
	struct machine *m = d->m;
	uint64_t first = gpa / LINK_PAGE, last = (gpa + n - 1) / LINK_PAGE;

	link_dma_fence();
	for (uint64_t page = first; page <= last; page++)
		if (link_code_test(m->link, page)) {
			txn_event(m, &(struct link_event){ .kind = LINK_EV_CODE, .addr = gpa, .value = n });
			return;
		}
}

bool dma_write(struct dev *d, uint64_t gpa, const void *from, size_t n)
{
	uint8_t *to = machine_ram(d->m, gpa, n);

	if (!to)
		return false;
	if (!n)
		return true;
	d->m->arena->wrote = 1;
	fence_compiler();	/* it says so before the first byte: recover_transaction() */
	memcpy(to, from, n);
	TXN_STEP("dma.written");
	dma_written(d, gpa, n);
	return true;
}

bool dma_publish(struct dev *d, uint64_t gpa, const void *from, size_t n)
{
	return txn_store(d->m, gpa, from, n);
}

/* ---- character streams */

static struct arena_stream *stream_save(struct machine *m, unsigned stream)
{
	struct arena_stream *s = &m->arena->stream[stream];

	txn_save(m, s, sizeof(*s), &m->stream_saved[stream]);
	return s;
}

static bool no_stream(int stream)
{
	return stream < 0 || stream >= (int)LINK_STREAMS;
}

/* The engine's index is nonsense: the loop will see it and end. */
static size_t checked(struct machine *m, ssize_t n)
{
	if (n < 0)
		m->lost = 1;
	return n < 0 ? 0 : (size_t)n;
}

size_t chr_peek(struct dev *d, int stream, void *to, size_t n)
{
	struct machine *m = d->m;

	if (no_stream(stream))
		return 0;
	return checked(m, link_input_peek(m->link, stream, m->arena->stream[stream].taken, to, n));
}

void chr_take(struct dev *d, int stream, size_t n)
{
	struct machine *m = d->m;

	if (no_stream(stream) || !n)
		return;
	stream_save(m, stream)->taken += n;
	m->arena->out.streams_in |= 1u << stream;
}

size_t chr_room(struct dev *d, int stream)
{
	struct machine *m = d->m;

	if (no_stream(stream))
		return 0;
	return checked(m, link_output_room(m->link, stream, m->arena->stream[stream].given));
}

size_t chr_put(struct dev *d, int stream, const void *from, size_t n)
{
	size_t room = chr_room(d, stream);
	struct machine *m = d->m;
	struct arena_stream *s;

	if (n > room)
		n = room;
	if (!n)
		return 0;
	s = stream_save(m, stream);
	/* Beyond the published position the bytes are nobody's until the commit. */
	link_output_stage(m->link, stream, s->given, from, n);
	TXN_STEP("stream.staged");
	s->given += n;
	m->arena->out.streams_out |= 1u << stream;
	return n;
}

bool chr_online(const struct dev *d, int stream)
{
	return !no_stream(stream) && link_stream_is_online(d->m->link, stream);
}

/* Forgotten by a crash: init() of a transmitter that has bytes left asks again. */
void chr_want_room(struct dev *d, int stream, bool want)
{
	struct machine *m = d->m;

	if (no_stream(stream))
		return;
	m->wants_room &= ~(1u << stream);
	if (!want)
		return;
	m->wants_room |= 1u << stream;
	if (checked(m, link_output_want_room(m->link, stream, m->arena->stream[stream].given)))
		m->streams_due = true;	/* the reader was quicker */
}

/* ---- block back end */

struct blk *blk_open(struct dev *d, const char *key)
{
	const char *why = "no image was given";
	int fd = dev_conf_fd(d, key);
	struct blk *b;

	if (fd < 0 || d->nblks == DEV_BLKS) {
		dev_error(d, "%s: no image was opened for this key", key);
		return NULL;
	}
	b = blk_new(fd, &why);
	if (!b) {
		dev_error(d, "%s: %s", key, why);
		return NULL;
	}
	d->blk[d->nblks++] = b;
	return b;
}

struct blk *dev_blk(const struct dev *d, unsigned n)
{
	return n < d->nblks ? d->blk[n] : NULL;
}

void blk_submit(struct dev *d, struct blk *b, unsigned slot, enum blk_op op, uint64_t off, size_t bulk, size_t n)
{
	struct arena_io *io;
	unsigned i;

	for (i = 0; i < d->nblks && d->blk[i] != b; i++)
		;
	/* Our own bugs, each of them; no guest may reach them. */
	if (slot >= DEV_SLOTS || i == d->nblks || d->a->io[slot].busy ||
	    bulk > d->ops->bulk_size || n > d->ops->bulk_size - bulk) {
		dev_log(d, "operation on slot %u refused", slot);
		return;
	}
	txn_save(d->m, d->a->io, sizeof(d->a->io), &d->saved.io);
	io = &d->a->io[slot];
	*io = (struct arena_io){ .off = off, .n = n, .bulk = bulk, .busy = 1, .op = op, .blk = i };
	txn_io(d->m, d->id, slot);
}

void dev_start_io(struct dev *d, unsigned slot)
{
	txn_io(d->m, d->id, slot);
}

bool blk_busy(const struct dev *d, unsigned slot)
{
	return slot < DEV_SLOTS && d->a->io[slot].busy;
}

/* ---- network back end */

struct net *net_open(struct dev *d, const char *key)
{
	const char *kind = dev_conf(d, key), *why;

	d->net = net_new(kind ? kind : "null", dev_conf_fd(d, key), d->m->conf.generation, &why);
	if (!d->net)
		dev_error(d, "%s: %s", key, why);
	return d->net;
}
