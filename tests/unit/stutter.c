/*
 * tests/unit/stutter.c - every operation of a device twice, with an undo between.
 */
#include "tests/unit/stutter.h"

#include <stdlib.h>
#include <string.h>

#include "devmodel/txn.h"

enum { MAX_DEVS = 4 };

static struct stuttering {
	struct dev *dev;
	const struct dev_ops *real;
	struct dev_ops ops;
} devs[MAX_DEVS];

static const struct dev_ops *real(const struct dev *d)
{
	for (unsigned i = 0; i < MAX_DEVS; i++)
		if (devs[i].dev == d)
			return devs[i].real;
	abort();
}

/* Death and succession: the state is as before the transaction, and its source runs again. */
static void die(struct dev *d)
{
	struct machine *m = d->m;
	struct txn_source source = m->arena->source;

	if (txn_undo(m) || txn_begin(m, source))
		abort();
}

static uint64_t twice_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	real(d)->read(d, region, off, size);
	die(d);
	return real(d)->read(d, region, off, size);
}

static void twice_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	real(d)->write(d, region, off, size, value);
	die(d);
	real(d)->write(d, region, off, size, value);
}

static unsigned twice_in(struct dev *d, unsigned region, uint64_t off, unsigned size, void *data, unsigned n)
{
	real(d)->batch_in(d, region, off, size, data, n);
	die(d);
	return real(d)->batch_in(d, region, off, size, data, n);
}

static unsigned twice_out(struct dev *d, unsigned region, uint64_t off, unsigned size, const void *data, unsigned n)
{
	real(d)->batch_out(d, region, off, size, data, n);
	die(d);
	return real(d)->batch_out(d, region, off, size, data, n);
}

static void twice_timer(struct dev *d, unsigned timer)
{
	uint64_t armed = d->a->lines.timer[timer];

	real(d)->timer(d, timer);
	die(d);
	/* What the machine does before it calls: the timer has fired. */
	if (d->a->lines.timer[timer] != armed) {
		txn_save(d->m, &d->a->lines, sizeof(d->a->lines), &d->saved.lines);
		d->a->lines.timer[timer] = armed;
	}
	real(d)->timer(d, timer);
}

static void twice_input(struct dev *d, unsigned stream)
{
	real(d)->input(d, stream);
	die(d);
	real(d)->input(d, stream);
}

static void twice_io_done(struct dev *d, unsigned slot, int error)
{
	real(d)->io_done(d, slot, error);
	die(d);
	txn_save(d->m, d->a->io, sizeof(d->a->io), &d->saved.io);
	if (!d->ops->io_fill)
		d->a->io[slot].busy = 0;
	real(d)->io_done(d, slot, error);
}

static void twice_doorbell(struct dev *d, unsigned n)
{
	real(d)->doorbell(d, n);
	die(d);
	real(d)->doorbell(d, n);
}

static void twice_signal(struct dev *d, unsigned n)
{
	real(d)->signal(d, n);
	die(d);
	real(d)->signal(d, n);
}

static void twice_inject(struct dev *d, unsigned kind, uint64_t value)
{
	real(d)->inject(d, kind, value);
	die(d);
	real(d)->inject(d, kind, value);
}

void stutter_none(void)
{
	memset(devs, 0, sizeof(devs));
}

void stutter(struct dev *d)
{
	struct stuttering *s = devs;

	while (s < devs + MAX_DEVS && s->dev && s->dev != d)
		s++;
	if (s == devs + MAX_DEVS)
		abort();
	s->dev = d;
	s->real = d->ops;
	s->ops = *d->ops;
	s->ops.read = d->ops->read ? twice_read : NULL;
	s->ops.write = d->ops->write ? twice_write : NULL;
	s->ops.batch_in = d->ops->batch_in ? twice_in : NULL;
	s->ops.batch_out = d->ops->batch_out ? twice_out : NULL;
	s->ops.timer = d->ops->timer ? twice_timer : NULL;
	s->ops.input = d->ops->input ? twice_input : NULL;
	s->ops.io_done = d->ops->io_done ? twice_io_done : NULL;
	s->ops.doorbell = d->ops->doorbell ? twice_doorbell : NULL;
	s->ops.signal = d->ops->signal ? twice_signal : NULL;
	s->ops.inject = d->ops->inject ? twice_inject : NULL;
	d->ops = &s->ops;
	d->m->io_batch = 1;	/* die() undoes the whole transaction */
}
