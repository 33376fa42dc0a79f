/*
 * portable.c - states by the names of their fields (portable.h).
 *
 * Must not know: what a field means.  Elements are stored lowest byte first, as
 * this machine has them; one of 1, 2, 4 or 8 bytes may become wider, or narrower
 * where its value allows.
 */
#include "devmodel/portable.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devmodel/machine.h"
#include "devmodel/txn.h"
#include "proto/state.pb-c.h"

static unsigned count_fields(const struct dev_ops *ops)
{
	unsigned n = 0;

	while (ops->fields && ops->fields[n].name)
		n++;
	return n;
}

static size_t without_zeros(const uint8_t *p, size_t n)
{
	while (n && !p[n - 1])
		n--;
	return n;
}

/* ---- packing */

struct packed_dev {
	Cleave__StateDevice msg;
	Cleave__StateRegion region[DEV_REGIONS], *regionp[DEV_REGIONS];
	Cleave__StateIo io[DEV_SLOTS], *iop[DEV_SLOTS];
	Cleave__StateField *field, **fieldp;
	uint8_t *values;
};

struct packed {
	Cleave__MachineState msg;
	Cleave__StateStream stream[LINK_STREAMS], *streamp[LINK_STREAMS];
	Cleave__StateDevice *devp[ARENA_MAX_DEVS];
	struct packed_dev dev[ARENA_MAX_DEVS];
};

static void pack_regions(const struct arena_dev *a, struct packed_dev *p)
{
	for (unsigned i = 0; i < DEV_REGIONS; i++) {
		const struct arena_region *g = &a->region[i];
		Cleave__StateRegion *r = &p->region[p->msg.n_region];

		if (!g->len && g->shadow == LINK_NO_SHADOW)
			continue;
		cleave__state_region__init(r);
		r->id = i;
		r->address = g->base;
		r->len = g->len;
		r->shadow = g->shadow == LINK_NO_SHADOW ? 0 : g->shadow + 1;
		r->flags = g->flags;
		p->regionp[p->msg.n_region++] = r;
	}
	p->msg.region = p->regionp;
}

static void pack_ios(const struct arena_dev *a, struct packed_dev *p)
{
	for (unsigned i = 0; i < DEV_SLOTS; i++) {
		Cleave__StateIo *o = &p->io[p->msg.n_io];

		if (!a->io[i].busy)
			continue;
		cleave__state_io__init(o);
		o->slot = i;
		o->off = a->io[i].off;
		o->n = a->io[i].n;
		o->bulk = a->io[i].bulk;
		o->op = a->io[i].op;
		o->blk = a->io[i].blk;
		p->iop[p->msg.n_io++] = o;
	}
	p->msg.io = p->iop;
}

static void gather(uint8_t *to, const uint8_t *state, const struct dev_field *f)
{
	for (unsigned i = 0; i < f->count; i++)
		memcpy(to + i * f->size, state + f->offset + i * f->stride, f->size);
}

static int pack_fields(const struct dev *d, struct packed_dev *p)
{
	unsigned n = count_fields(d->ops);
	size_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += d->ops->fields[i].size * d->ops->fields[i].count;
	p->field = calloc(n + 1, sizeof(*p->field));
	p->fieldp = calloc(n + 1, sizeof(*p->fieldp));
	p->values = malloc(bytes + 1);
	if (!p->field || !p->fieldp || !p->values)
		return -ENOMEM;
	bytes = 0;
	for (unsigned i = 0; i < n; i++) {
		const struct dev_field *f = &d->ops->fields[i];

		cleave__state_field__init(&p->field[i]);
		p->fieldp[i] = &p->field[i];
		p->field[i].name = (char *)f->name;
		p->field[i].size = f->size;
		p->field[i].spare = f->flags & DEV_FIELD_SPARE;
		p->field[i].value.data = p->values + bytes;
		p->field[i].value.len = f->size * f->count;
		gather(p->values + bytes, d->state, f);
		bytes += f->size * f->count;
	}
	p->msg.field = p->fieldp;
	p->msg.n_field = n;
	return 0;
}

static int pack_dev(const struct dev *d, struct packed_dev *p)
{
	const struct arena_dev *a = d->a;

	cleave__state_device__init(&p->msg);
	p->msg.model = (char *)d->ops->name;
	p->msg.devfn = a->devfn;
	p->msg.layout = a->state_version;
	p->msg.out = a->out;
	p->msg.timer = (uint64_t *)a->lines.timer;
	p->msg.n_timer = DEV_TIMERS;
	p->msg.irq = a->lines.irq;
	p->msg.intx = a->lines.intx;
	p->msg.pci.data = (uint8_t *)a->pci;
	p->msg.pci.len = sizeof(a->pci);
	p->msg.raw.data = d->state;
	p->msg.raw.len = d->ops->state_size;
	p->msg.bulk_size = d->ops->bulk_size;
	p->msg.bulk.data = d->bulk;
	p->msg.bulk.len = without_zeros(d->bulk, d->ops->bulk_size);
	pack_regions(a, p);
	pack_ios(a, p);
	return pack_fields(d, p);
}

static void pack_head(const struct arena_header *a, struct packed *p)
{
	cleave__machine_state__init(&p->msg);
	p->msg.format = PORTABLE_FORMAT;
	p->msg.acked = (uint64_t *)a->acked;
	p->msg.n_acked = a->nrings;
	p->msg.events = a->event_seq;
	for (unsigned i = 0; i < LINK_STREAMS; i++) {
		cleave__state_stream__init(&p->stream[i]);
		p->stream[i].taken = a->stream[i].taken;
		p->stream[i].given = a->stream[i].given;
		p->streamp[i] = &p->stream[i];
	}
	p->msg.stream = p->streamp;
	p->msg.n_stream = LINK_STREAMS;
	p->msg.gsi_level = a->gsi_level;
	p->msg.shadows = a->nshadows;
	p->msg.transaction = txn_number(a);
	p->msg.device = p->devp;
}

int portable_pack(const struct machine *m, uint8_t **bytes, size_t *n)
{
	struct packed *p = calloc(1, sizeof(*p));
	int err = p ? 0 : -ENOMEM;

	*bytes = NULL;
	if (err)
		return err;
	pack_head(m->arena, p);
	for (unsigned i = 0; i < m->ndevs && !err; i++) {
		err = pack_dev(&m->dev[i], &p->dev[i]);
		p->devp[p->msg.n_device++] = &p->dev[i].msg;
	}
	if (!err) {
		*n = cleave__machine_state__get_packed_size(&p->msg);
		*bytes = malloc(*n);
		err = *bytes ? 0 : -ENOMEM;
	}
	if (!err)
		cleave__machine_state__pack(&p->msg, *bytes);
	for (unsigned i = 0; i < p->msg.n_device; i++) {
		free(p->dev[i].field);
		free(p->dev[i].fieldp);
		free(p->dev[i].values);
	}
	free(p);
	return err;
}

/* ---- unpacking */

/* One device's, and where to complain. */
struct unpack {
	const Cleave__StateDevice *msg;
	const struct arena_plan *plan;
	struct arena_header *arena;
	struct arena_dev *a;
	char *err;
	size_t errlen;
};

static int refuse(const struct unpack *u, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int refuse(const struct unpack *u, const char *fmt, ...)
{
	char name[64], why[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	arena_name_dev(name, sizeof(name), u->plan);
	snprintf(u->err, u->errlen, "%s: %s", name, why);
	return -EINVAL;
}

static uint64_t element(const uint8_t *from, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, from, size);
	return v;
}

static bool number(unsigned size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

/* A name is the other side's text. */
static const char *shown(const char *name, char to[60])
{
	size_t i = 0;

	for (; name[i] && i < 59; i++)
		to[i] = name[i] < ' ' || name[i] > '~' ? '?' : name[i];
	to[i] = 0;
	return to;
}

static int take_field(const struct unpack *u, const struct dev_field *f, const Cleave__StateField *m)
{
	uint8_t *to = (uint8_t *)u->arena + u->a->state_off + f->offset;
	bool same = m->size == f->size;
	size_t n = m->size ? m->value.len / m->size : 0;

	if (!m->size || m->value.len % m->size || (!same && (!number(m->size) || !number(f->size))))
		return refuse(u, "field \"%s\" has elements of %u bytes, and %u here", f->name, m->size, f->size);
	if (n > f->count || (n < f->count && !(f->flags & DEV_FIELD_NEW)))
		return refuse(u, "field \"%s\" has %zu elements, and %u here", f->name, n, f->count);
	for (size_t i = 0; i < n; i++) {
		const uint8_t *from = m->value.data + i * m->size;

		if (same) {
			memcpy(to + i * f->stride, from, f->size);
			continue;
		}
		if (f->size < m->size && element(from, m->size) >> (8 * f->size))
			return refuse(u, "field \"%s\": %#llx does not fit into %u bytes", f->name, (unsigned long long)element(from, m->size), f->size);
		memcpy(to + i * f->stride, &(uint64_t){ element(from, m->size) }, f->size);
	}
	return 0;
}

static const Cleave__StateField *told(const Cleave__StateDevice *m, const char *name)
{
	for (size_t i = 0; i < m->n_field; i++)
		if (!strcmp(m->field[i]->name, name))
			return m->field[i];
	return NULL;
}

static bool knows(const struct dev_ops *ops, const char *name)
{
	for (const struct dev_field *f = ops->fields; f && f->name; f++)
		if (!strcmp(f->name, name))
			return true;
	return false;
}

static int take_fields(const struct unpack *u)
{
	const Cleave__StateDevice *m = u->msg;
	const struct dev_ops *ops = u->plan->ops;
	char text[60];
	int err = 0;

	if (!m->n_field || !ops->fields)
		return refuse(u, "state layout %u with %zu bytes, this binary knows %u with %zu, and there is no portable form of it", m->layout,
			      m->raw.len, ops->state_version, ops->state_size);
	for (size_t i = 0; i < m->n_field; i++)
		if (!m->field[i]->spare && !knows(ops, m->field[i]->name))
			return refuse(u, "state layout %u has a field \"%s\", which layout %u of this binary does not know: take a version that has it", m->layout,
				      shown(m->field[i]->name, text), ops->state_version);
	for (const struct dev_field *f = ops->fields; f->name && !err; f++) {
		const Cleave__StateField *field = told(m, f->name);

		if (field)
			err = take_field(u, f, field);
		else if (!(f->flags & DEV_FIELD_NEW))
			err = refuse(u, "layout %u of this binary needs a field \"%s\", which state layout %u does not have: take a version between", ops->state_version,
				     f->name, m->layout);
	}
	return err;
}

static int take_state(const struct unpack *u)
{
	const Cleave__StateDevice *m = u->msg;
	const struct dev_ops *ops = u->plan->ops;

	if (m->bulk_size != ops->bulk_size || m->bulk.len > ops->bulk_size)
		return refuse(u, "buffers of %u bytes, and %zu here", m->bulk_size, ops->bulk_size);
	if (m->bulk.len)
		memcpy((uint8_t *)u->arena + u->a->bulk_off, m->bulk.data, m->bulk.len);
	if (m->layout != ops->state_version || m->raw.len != ops->state_size)
		return take_fields(u);
	if (m->raw.len)
		memcpy((uint8_t *)u->arena + u->a->state_off, m->raw.data, m->raw.len);
	return 0;
}

static int take_regions(const struct unpack *u)
{
	for (size_t i = 0; i < u->msg->n_region; i++) {
		const Cleave__StateRegion *r = u->msg->region[i];

		if (r->id >= DEV_REGIONS || r->shadow > LINK_SHADOWS)
			return refuse(u, "region %u does not exist", r->id);
		u->a->region[r->id] = (struct arena_region){
			.base = r->address, .len = r->len, .shadow = r->shadow ? r->shadow - 1 : LINK_NO_SHADOW, .flags = r->flags,
		};
	}
	return 0;
}

static int take_ios(const struct unpack *u)
{
	for (size_t i = 0; i < u->msg->n_io; i++) {
		const Cleave__StateIo *o = u->msg->io[i];

		if (o->slot >= DEV_SLOTS || o->op >= BLK_OPS || o->blk >= DEV_BLKS)
			return refuse(u, "operation %u does not exist", o->slot);
		u->a->io[o->slot] = (struct arena_io){ .off = o->off, .n = o->n, .bulk = o->bulk, .busy = 1, .op = o->op, .blk = o->blk };
	}
	return 0;
}

static int take_dev(const struct unpack *u)
{
	const Cleave__StateDevice *m = u->msg;
	char text[60];
	int err;

	if (strcmp(m->model, u->plan->ops->name) || m->devfn != u->plan->devfn)
		return refuse(u, "there is the state of a %s in its place", shown(m->model, text));
	if (m->n_timer > DEV_TIMERS || m->pci.len > sizeof(u->a->pci))
		return refuse(u, "%zu timers and %zu bytes of configuration space", m->n_timer, m->pci.len);
	u->a->out = m->out;
	if (m->n_timer)
		memcpy(u->a->lines.timer, m->timer, m->n_timer * sizeof(m->timer[0]));
	u->a->lines.irq = m->irq;
	u->a->lines.intx = m->intx;
	if (m->pci.len)
		memcpy(u->a->pci, m->pci.data, m->pci.len);
	err = take_regions(u);
	if (!err)
		err = take_ios(u);
	return err ? err : take_state(u);
}

static int take_head(struct arena_header *a, const Cleave__MachineState *m, char *err, size_t errlen)
{
	if (m->format != PORTABLE_FORMAT || m->n_acked != a->nrings || m->n_device != a->ndevs || m->n_stream > LINK_STREAMS ||
	    m->transaction >> 62) {
		snprintf(err, errlen, "form %u of the devices' state, of %zu devices and %zu rings; this binary knows form %d, and has %u and %u",
			 m->format, m->n_device, m->n_acked, PORTABLE_FORMAT, a->ndevs, a->nrings);
		return -EINVAL;
	}
	memcpy(a->acked, m->acked, m->n_acked * sizeof(a->acked[0]));
	a->event_seq = m->events;
	for (size_t i = 0; i < m->n_stream; i++)
		a->stream[i] = (struct arena_stream){ .taken = m->stream[i]->taken, .given = m->stream[i]->given };
	a->gsi_level = m->gsi_level;
	a->nshadows = m->shadows;
	a->word = m->transaction << 2 | TXN_IDLE;
	return 0;
}

int portable_unpack(void *arena, size_t size, const struct arena_plan *plan, unsigned ndevs, unsigned nrings, const uint8_t *bytes, size_t n,
		    char *err, size_t errlen)
{
	Cleave__MachineState *m = cleave__machine_state__unpack(NULL, n, bytes);
	int ret;

	if (!m) {
		snprintf(err, errlen, "the devices' state is in no form that this binary knows");
		return -EINVAL;
	}
	arena_format(arena, size, plan, ndevs, nrings);
	ret = take_head(arena, m, err, errlen);
	for (unsigned i = 0; i < ndevs && !ret; i++)
		ret = take_dev(&(struct unpack){ .msg = m->device[i], .plan = &plan[i], .arena = arena, .a = arena_dev(arena, i),
						 .err = err, .errlen = errlen });
	cleave__machine_state__free_unpacked(m, NULL);
	return ret;
}
