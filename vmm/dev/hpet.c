/*
 * vmm/dev/hpet.c - the high precision event timer.
 *
 * IA-PC HPET specification 1.0a.  The counter is the VM's clock while it runs;
 * a comparator is looked at when somebody does, and a host timer is set only for
 * a match that could be seen: enabled, and its line not masked with a request
 * latched already.
 *
 * Departures: matches of one comparator show at most every 100 us.  Of a periodic
 * one by edges those that the guest could not take come later, as tick.h says;
 * others that were late together show as one, as on a bus that was busy.
 */
#include "vmm/dev/hpet.h"

#include <stdlib.h>

#include "vmm/dev/tick.h"
#include "vmm/timer.h"

enum {
	REG_CAPABILITIES = 0x000, REG_CONFIG = 0x010, REG_STATUS = 0x020, REG_COUNTER = 0x0f0,
	REG_TIMER = 0x100, TIMER_STRIDE = 0x20,
	TIMER_CONFIG = 0x00, TIMER_COMPARATOR = 0x08, TIMER_FSB = 0x10
};

#define CAPABILITIES	((uint64_t)HPET_PERIOD_FS << 32 | 0x8086u << 16 | 1u << 15 | 1u << 13 | (HPET_TIMERS - 1) << 8 | 1u)

#define CONFIG_ENABLE	1u
#define CONFIG_LEGACY	2u

#define T_LEVEL		(1u << 1)
#define T_ENABLE	(1u << 2)
#define T_PERIODIC	(1u << 3)
#define T_CAN_PERIODIC	(1u << 4)
#define T_64BIT		(1u << 5)
#define T_SET		(1u << 6)	/* the next write of the comparator sets the accumulator */
#define T_32MODE	(1u << 8)
#define T_ROUTE(c)	((unsigned)(c) >> 9 & 31)
#define T_FSB		(1u << 14)
#define T_CAN_FSB	(1u << 15)
#define T_WRITABLE	(T_LEVEL | T_ENABLE | T_PERIODIC | T_SET | T_32MODE | 31u << 9 | T_FSB)
#define T_ROUTES	0x00f00000ull	/* pins 20-23: nothing else of the machine is there */
#define T_FIXED		(T_ROUTES << 32 | T_CAN_PERIODIC | T_64BIT | T_CAN_FSB)

#define TICK_NS		(HPET_PERIOD_FS / 1000000u)
#define MIN_PERIOD	100000u		/* ns */
#define FAR		(UINT64_MAX / 4)
#define NEVER		UINT64_MAX

struct comparator {
	struct hpet *hpet;
	struct timer *timer;
	uint64_t config;		/* as read */
	uint64_t value;			/* comparator: the next match, or the last in one-shot mode */
	uint64_t period;
	uint64_t fsb;			/* address in bits 63-32, datum below */
	uint64_t seen;			/* matches up to this count are dealt with */
	uint64_t shown;			/* ns: when the last one was */
	struct tick_debt debt;
	bool timed;			/* as of the last schedule(): a match since then was to be shown */
};

struct hpet {
	struct timers *timers;
	struct hpet_wires wires;
	uint64_t config, status;
	uint64_t count;			/* at time `start`, or for as long as it is halted */
	uint64_t start;
	struct comparator t[HPET_TIMERS];
};

static bool running(const struct hpet *h)
{
	return h->config & CONFIG_ENABLE;
}

static uint64_t counter_at(const struct hpet *h, uint64_t now)
{
	return h->count + (running(h) ? (now - h->start) / TICK_NS : 0);
}

static uint64_t counter(const struct hpet *h)
{
	return counter_at(h, timers_now(h->timers));
}

static unsigned number(const struct comparator *c)
{
	return c - c->hpet->t;
}

static bool legacy(const struct comparator *c)
{
	return c->hpet->config & CONFIG_LEGACY && number(c) < 2;
}

static struct irq_line line(const struct comparator *c)
{
	unsigned gsi = legacy(c) ? number(c) * 8 : T_ROUTE(c->config);

	return (struct irq_line){ .ops = c->hpet->wires.line, .arg = c->hpet->wires.arg, .number = gsi };
}

static bool routed(const struct comparator *c)
{
	return legacy(c) || T_ROUTES >> T_ROUTE(c->config) & 1;
}

static bool by_level(const struct comparator *c)
{
	return c->config & T_LEVEL && !(c->config & T_FSB);
}

/* ---- matches */

static bool narrow(const struct comparator *c)
{
	return c->config & T_32MODE;
}

/* Ticks from c->seen to the first match after it.  What has been missed comes again when the counter wraps. */
static uint64_t next_match(const struct comparator *c)
{
	if (narrow(c))
		return (uint64_t)(uint32_t)(c->value - c->seen - 1) + 1;
	return c->value != c->seen ? c->value - c->seen : NEVER;
}

static bool periodic(const struct comparator *c)
{
	return c->config & T_PERIODIC && c->period;
}

/* How many matches fall into (seen, now]; a periodic comparator goes on to the next. */
static uint64_t pass(struct comparator *c, uint64_t now)
{
	uint64_t match = next_match(c), passed = now - c->seen, matches = match <= passed;

	if (matches && periodic(c)) {
		matches += (passed - match) / c->period;
		c->value += matches * c->period;
	}
	if (narrow(c))
		c->value = (uint32_t)c->value;
	c->seen = now;
	return matches;
}

static bool enabled(const struct comparator *c)
{
	return c->config & T_ENABLE && running(c->hpet);
}

static void show(struct comparator *c)
{
	struct irq_line l = line(c);

	c->shown = timers_now(c->hpet->timers);
	if (c->config & T_FSB) {
		c->hpet->wires.msi(c->hpet->wires.arg, c->fsb >> 32, (uint32_t)c->fsb);
	} else if (routed(c)) {
		if (!by_level(c))
			line_set(&l, false);
		line_set(&l, true);
	}
}

/* A match that the guest has not taken is owed: edges of a line that tells whether it has. */
static bool owes(const struct comparator *c)
{
	return periodic(c) && !by_level(c) && !(c->config & T_FSB);
}

/* Brings one comparator to now; `replay`: an owed match may be shown too. */
static void settle(struct comparator *c, bool replay)
{
	uint64_t matches = pass(c, counter(c->hpet));
	struct irq_line l = line(c);

	if (matches && by_level(c))
		c->hpet->status |= 1u << number(c);
	if (!enabled(c) || !c->timed || !owes(c) || line_masked(&l)) {
		tick_forgive(&c->debt);
		if (enabled(c) && c->timed && matches)
			show(c);
		return;
	}
	tick_owe(&c->debt, matches, NS_PER_S / TICK_NS / c->period);
	if (c->debt.owed && (matches || replay) && !line_pending(&l)) {
		c->debt.owed--;
		show(c);
	}
}

/* Another match would change nothing that anybody sees: the line is masked, and has latched what it can. */
static bool unseen(const struct comparator *c)
{
	struct irq_line l = line(c);

	if (c->config & T_FSB)
		return false;
	if (!routed(c) || (by_level(c) && c->hpet->status >> number(c) & 1))
		return true;
	return line_masked(&l) && line_pending(&l);
}

/* Instead of `at`, the next match: half way to it where one is owed, or soon where that has passed. */
static uint64_t sooner(const struct comparator *c, uint64_t at)
{
	uint64_t now = timers_now(c->hpet->timers), replay = c->shown + c->period * TICK_NS / 2;
	struct irq_line l = line(c);

	if (!c->debt.owed)
		return at;
	if (replay <= now)	/* not taken yet: the next match is soon enough */
		replay = line_pending(&l) ? at : now + MIN_PERIOD;
	return replay < at ? replay : at;
}

static void schedule(struct comparator *c)
{
	uint64_t match = next_match(c), ticks, at;
	struct hpet *h = c->hpet;

	c->timed = enabled(c) && !unseen(c);
	if (!c->timed || match > FAR) {
		timer_stop(c->timer);
		return;
	}
	ticks = c->seen - h->count + match;
	at = ticks < FAR / TICK_NS ? h->start + ticks * TICK_NS : FAR;
	at = sooner(c, at);
	timer_set(c->timer, at > c->shown + MIN_PERIOD || !c->shown ? at : c->shown + MIN_PERIOD);
}

static void on_timer(void *arg, uint64_t deadline)
{
	struct comparator *c = arg;

	(void)deadline;
	settle(c, true);
	schedule(c);
}

static void settle_all(struct hpet *h)
{
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		settle(&h->t[i], false);
}

static void schedule_all(struct hpet *h)
{
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		schedule(&h->t[i]);
}

void hpet_lines_changed(struct hpet *h)
{
	settle_all(h);
	schedule_all(h);
}

/* ---- registers */

/* The line of a comparator that no longer asks, or asks elsewhere, falls. */
static void drop_line(struct comparator *c)
{
	struct irq_line l = line(c);

	if (routed(c) && !(c->config & T_FSB))
		line_set(&l, false);
}

static void raise_line(struct comparator *c)
{
	struct irq_line l = line(c);

	if (routed(c) && by_level(c) && enabled(c) && c->hpet->status >> number(c) & 1)
		line_set(&l, true);
}

/* The counter goes on from here; every comparator has seen at least this much. */
static void rebase(struct hpet *h)
{
	uint64_t now = timers_now(h->timers);

	h->count = counter_at(h, now);
	h->start = now;
	settle_all(h);
}

static void write_config(struct hpet *h, uint64_t value)
{
	bool was = running(h), was_legacy = h->config & CONFIG_LEGACY;

	rebase(h);
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		if (h->t[i].config & T_ENABLE)
			drop_line(&h->t[i]);
	h->config = value & (CONFIG_ENABLE | CONFIG_LEGACY);
	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		tick_forgive(&h->t[i].debt);
		if (running(h) != was)
			h->t[i].shown = 0;
	}
	if (was_legacy != !!(h->config & CONFIG_LEGACY))
		h->wires.legacy(h->wires.arg, !was_legacy);
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		raise_line(&h->t[i]);
}

static void write_status(struct hpet *h, uint64_t ones)
{
	uint64_t cleared = h->status & ones;

	h->status &= ~cleared;
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		if (cleared >> i & 1)
			drop_line(&h->t[i]);
}

static void write_timer_config(struct comparator *c, uint64_t value)
{
	bool was_level = by_level(c);

	if (c->config & T_ENABLE)
		drop_line(c);
	c->config = (value & T_WRITABLE) | T_FIXED;
	if (narrow(c)) {
		c->value = (uint32_t)c->value;
		c->period = (uint32_t)c->period;
	}
	if (was_level && !by_level(c))
		c->hpet->status &= ~(uint64_t)(1u << number(c));
	c->shown = 0;
	tick_forgive(&c->debt);
	raise_line(c);
}

/* Periodic: a plain write is the period; with T_SET it is the accumulator, and the period until the next write. */
static void write_comparator(struct comparator *c, uint64_t value)
{
	if (narrow(c))
		value = (uint32_t)value;
	if (!(c->config & T_PERIODIC) || c->config & T_SET)
		c->value = value;
	if (c->config & T_PERIODIC)
		c->period = value;
	c->config &= ~(uint64_t)T_SET;
	c->shown = 0;
	tick_forgive(&c->debt);
}

static uint64_t read_timer(const struct comparator *c, unsigned reg)
{
	switch (reg) {
	case TIMER_CONFIG:
		return c->config;
	case TIMER_COMPARATOR:
		return c->value;
	case TIMER_FSB:
		return c->fsb;
	default:
		return 0;
	}
}

static uint64_t read_reg(struct hpet *h, unsigned reg)
{
	switch (reg) {
	case REG_CAPABILITIES:
		return CAPABILITIES;
	case REG_CONFIG:
		return h->config;
	case REG_STATUS:
		settle_all(h);
		return h->status;
	case REG_COUNTER:
		return counter(h);
	}
	if (reg < REG_TIMER || (reg - REG_TIMER) / TIMER_STRIDE >= HPET_TIMERS)
		return 0;
	settle_all(h);
	return read_timer(&h->t[(reg - REG_TIMER) / TIMER_STRIDE], reg % TIMER_STRIDE);
}

static void write_timer(struct comparator *c, unsigned reg, uint64_t value)
{
	switch (reg) {
	case TIMER_CONFIG:
		write_timer_config(c, value);
		break;
	case TIMER_COMPARATOR:
		write_comparator(c, value);
		break;
	case TIMER_FSB:
		c->fsb = value;
		break;
	}
}

static void write_counter(struct hpet *h, uint64_t value)
{
	h->count = value;
	h->start = timers_now(h->timers);
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		h->t[i].seen = value;
}

static void write_reg(struct hpet *h, unsigned reg, uint64_t value)
{
	settle_all(h);
	if (reg == REG_CONFIG)
		write_config(h, value);
	else if (reg == REG_STATUS)
		write_status(h, value);
	else if (reg == REG_COUNTER)
		write_counter(h, value);
	else if (reg >= REG_TIMER && (reg - REG_TIMER) / TIMER_STRIDE < HPET_TIMERS)
		write_timer(&h->t[(reg - REG_TIMER) / TIMER_STRIDE], reg % TIMER_STRIDE, value);
	schedule_all(h);
}

static uint64_t mask(unsigned size)
{
	return size < 8 ? (1ull << size * 8) - 1 : UINT64_MAX;
}

uint64_t hpet_read(struct hpet *h, uint64_t off, unsigned size)
{
	return read_reg(h, off & ~7ull) >> (off & 7) * 8 & mask(size);
}

/* Half a register is written into what the other half holds; one-to-clear bits stay out of it. */
void hpet_write(struct hpet *h, uint64_t off, unsigned size, uint64_t value)
{
	unsigned reg = off & ~7ull, shift = (off & 7) * 8;
	uint64_t bits = mask(size) << shift;

	value = value << shift & bits;
	if (reg != REG_STATUS)
		value |= read_reg(h, reg) & ~bits;
	write_reg(h, reg, value);
}

/* ---- life */

void hpet_reset(struct hpet *h)
{
	bool was_legacy = h->config & CONFIG_LEGACY;

	for (unsigned i = 0; i < HPET_TIMERS; i++)
		if (h->t[i].config & T_ENABLE)
			drop_line(&h->t[i]);
	h->config = h->status = h->count = 0;
	h->start = timers_now(h->timers);
	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		struct comparator *c = &h->t[i];

		timer_stop(c->timer);
		*c = (struct comparator){ .hpet = h, .timer = c->timer, .config = T_FIXED, .value = UINT64_MAX };
	}
	if (was_legacy)
		h->wires.legacy(h->wires.arg, false);
}

struct hpet *hpet_new(struct timers *timers, const struct hpet_wires *wires)
{
	struct hpet *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->timers = timers;
	h->wires = *wires;
	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		h->t[i].timer = timer_new(timers, on_timer, &h->t[i]);
		if (!h->t[i].timer) {
			hpet_free(h);
			return NULL;
		}
	}
	hpet_reset(h);
	return h;
}

void hpet_free(struct hpet *h)
{
	if (!h)
		return;
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		timer_free(h->t[i].timer);
	free(h);
}
