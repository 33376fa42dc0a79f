/*
 * vmm/dev/pit.c - the 8254 and the port that shows its third channel.
 *
 * Intel 8254 datasheet (order 231164), all six modes, binary and BCD; port 61h
 * as in Intel's 82371SB (PIIX3) datasheet, 2.5.7 (NMI status and control).
 *
 * Nothing counts: a channel is the tick at which its counting element was
 * loaded, and count and OUT are computed when somebody looks.  Only IRQ0 needs
 * a timer, and only while an edge of OUT0 could be seen: with the line masked
 * and a request latched already, another edge changes nothing and no timer is
 * set until the masks change.
 *
 * Departures: IRQ0 shows the rising edges of OUT0 as a pulse in modes 2 to 5,
 * its low phase takes no time.  A real low half wave of mode 3 would cost a
 * wake-up more each period, and all that it does is to lose a tick that the
 * guest has not taken for half a period.
 */
#include <stdbool.h>
#include <stdlib.h>

#include "vmm/dev/pit.h"
#include "vmm/dev/tick.h"
#include "vmm/timer.h"

enum { CHANNELS = 3, PORT_CONTROL = 0x43, PORT_B = 0x61 };
enum { RW_LATCH, RW_LOW, RW_HIGH, RW_BOTH };

/* Control word, bits 7-6: the channel, or a read-back command. */
#define READ_BACK		3u
#define READ_BACK_NO_COUNT	0x20	/* active low, both */
#define READ_BACK_NO_STATUS	0x10

#define STATUS_OUT	0x80
#define STATUS_NULL	0x40

#define B_GATE2		0x01
#define B_WRITABLE	0x0f	/* gate, speaker, two NMI enables */
#define B_REFRESH	0x10
#define B_OUT2		0x20
#define REFRESH_TICKS	18	/* 15.09 us */

/* IRQ0 is not raised more often than every 100 us: a count of 1 would keep the host busy for nothing. */
#define MIN_PERIOD	119u

#define NEVER		UINT64_MAX

struct channel {
	/* programmed */
	uint8_t mode;		/* 0-5 */
	uint8_t rw;
	bool bcd;
	bool gate;
	uint32_t count;		/* in force: 1 to 65536 or 10000 */

	/*
	 * The counting element.  Clocks since it was loaded: `elapsed`, and if it
	 * is running those from `start` on.  Not loaded: since the control word no
	 * count was written (modes 0, 2, 3, 4) or no trigger came (1, 5); `idle`
	 * is then what a read finds.
	 */
	bool loaded, running;
	uint64_t start;
	uint64_t elapsed;
	uint16_t idle;

	/* A count that waits: for the end of the (half) cycle, or for the trigger. 0: none. */
	uint32_t next;

	/* byte order of multi-byte accesses */
	bool write_high, read_high;
	uint8_t write_low;
	uint8_t latched;	/* bytes of the latched count still to be read */
	uint16_t latch;
	bool status_latched;
	uint8_t status;
};

struct pit {
	struct timers *timers;
	struct timer *timer;
	struct irq_line line;
	struct channel ch[CHANNELS];
	uint8_t port_b;

	/* channel 0 and its line */
	uint64_t seen;		/* edges up to this tick are dealt with */
	uint64_t shown;		/* when the last one was shown to the interrupt controller */
	bool masked, suppressed;	/* as of the last schedule() */
	struct tick_debt debt;
};

/* ---- time */

static uint64_t ticks_at(uint64_t ns)
{
	return (unsigned __int128)ns * PIT_TICK_NUM / PIT_TICK_DEN;
}

/* The first nanosecond that belongs to the tick. */
static uint64_t ns_at(uint64_t tick)
{
	return ((unsigned __int128)tick * PIT_TICK_DEN + PIT_TICK_NUM - 1) / PIT_TICK_NUM;
}

static uint64_t now_ticks(const struct pit *p)
{
	return ticks_at(timers_now(p->timers));
}

/* ---- one channel, computed */

static bool periodic(const struct channel *c)
{
	return c->mode == 2 || c->mode == 3;
}

static bool gate_triggered(const struct channel *c)
{
	return c->mode == 1 || c->mode == 5;
}

static uint64_t elapsed(const struct channel *c, uint64_t t)
{
	return c->elapsed + (c->running && t > c->start ? t - c->start : 0);
}

/* Mode 3: clocks of the high half of a wave. */
static uint32_t high_half(uint32_t count)
{
	return (count + 1) / 2;
}

/* Loads the counting element with `count` on the clock after t. */
static void load(struct channel *c, uint32_t count, uint64_t start)
{
	c->count = count;
	c->loaded = true;
	c->running = c->gate || gate_triggered(c);
	c->start = start;
	c->elapsed = 0;
	c->next = 0;
}

/*
 * Takes the waiting count of a running periodic channel into force if its time
 * has come by t; always says when that was or will be (NEVER: nothing waits).
 * Mode 2 takes it at the end of the cycle, mode 3 of the half cycle.
 */
static uint64_t take_next(struct channel *c, uint64_t t)
{
	uint64_t e, at;
	uint32_t half = high_half(c->count);

	if (!c->next || !periodic(c) || !c->running)
		return NEVER;
	/* The phase that was going on when the count was written is the one that `elapsed` stood in then. */
	e = c->elapsed;
	at = c->start + (c->mode == 3 && e < half ? half : c->count) - e;
	if (at > t)
		return at;
	load(c, c->next, at);
	if (c->mode == 3 && e < half)	/* a new low half follows */
		c->elapsed = high_half(c->count);
	return at;
}

/* A waiting count needs to know its phase: makes `elapsed` the clocks into the cycle at t. */
static void mark_phase(struct channel *c, uint64_t t)
{
	if (!c->running || t <= c->start)
		return;
	c->elapsed = elapsed(c, t) % c->count;
	c->start = t;
}

static bool out(struct channel *c, uint64_t t)
{
	uint64_t e;

	take_next(c, t);
	if (!c->loaded)
		return c->mode != 0;
	e = elapsed(c, t);
	switch (c->mode) {
	case 0:
		return e >= c->count;
	case 1:
		return e >= c->count;
	case 2:
		return !c->gate || e % c->count != c->count - 1;
	case 3:
		return !c->gate || e % c->count < high_half(c->count);
	default:
		return e != c->count;	/* strobe of one clock */
	}
}

static uint16_t to_bcd(uint32_t n)
{
	return n % 10 | n / 10 % 10 << 4 | n / 100 % 10 << 8 | n / 1000 % 10 << 12;
}

static uint32_t from_bcd(uint16_t n)
{
	return (n & 15) + (n >> 4 & 15) * 10 + (n >> 8 & 15) * 100 + (n >> 12 & 15) * 1000;
}

/* The counting element as a read shows it. */
static uint16_t counter(struct channel *c, uint64_t t)
{
	uint32_t wrap = c->bcd ? 10000 : 65536, n;
	uint64_t e;

	take_next(c, t);
	if (!c->loaded)
		return c->idle;
	e = elapsed(c, t);
	if (c->mode == 2) {
		n = c->count - e % c->count;
	} else if (c->mode == 3) {	/* by twos; an odd count starts one lower in both halves */
		e %= c->count;
		if (e >= high_half(c->count))
			e -= high_half(c->count);
		n = (c->count & ~1u) - 2 * e;
	} else {
		n = (c->count + wrap - e % wrap) % wrap;
	}
	n %= wrap;
	return c->bcd ? to_bcd(n) : n;
}

/* A count was written that the counting element has not taken yet. */
static bool null_count(struct channel *c, uint64_t t)
{
	take_next(c, t);
	return !c->loaded || c->next || t < c->start;
}

/* The tick of the first rising edge of OUT after `t`, or NEVER. */
static uint64_t next_edge(struct channel *c, uint64_t t)
{
	uint64_t at = take_next(c, t), low, e;

	if (!c->loaded || !c->running)
		return NEVER;
	if (!periodic(c)) {
		at = c->start + c->count + (c->mode >= 4) - c->elapsed;
		return at > t ? at : NEVER;
	}
	if (c->mode == 3 && c->next && c->elapsed < high_half(c->count)) {
		low = c->next - high_half(c->next);
		return at + low;
	}
	e = elapsed(c, t);
	return (t > c->start ? t : c->start) + (c->count - e % c->count);
}

/* ---- programming a channel */

static void freeze(struct channel *c, uint64_t t)
{
	c->elapsed = elapsed(c, t);
	c->running = false;
}

static void write_control(struct channel *c, uint8_t value, uint64_t t)
{
	c->idle = counter(c, t);
	c->mode = value >> 1 & 7;
	if (c->mode > 5)
		c->mode -= 4;
	c->rw = value >> 4 & 3;
	c->bcd = value & 1;
	c->loaded = c->running = false;
	c->next = 0;
	c->write_high = c->read_high = false;
	c->latched = 0;
	c->status_latched = false;
}

static void write_count(struct channel *c, uint16_t raw, uint64_t t)
{
	uint32_t count = c->bcd ? from_bcd(raw) : raw;

	if (!count)
		count = c->bcd ? 10000 : 65536;
	if (gate_triggered(c)) {
		c->next = count;	/* for the next trigger */
	} else if (periodic(c) && c->loaded) {
		take_next(c, t);
		mark_phase(c, t);
		c->next = count;
	} else {
		load(c, count, t + 1);
	}
}

static void write_data(struct channel *c, uint8_t value, uint64_t t)
{
	switch (c->rw) {
	case RW_LOW:
		write_count(c, value, t);
		return;
	case RW_HIGH:
		write_count(c, (uint16_t)value << 8, t);
		return;
	case RW_BOTH:
		if (!c->write_high) {
			c->write_low = value;
			if (c->mode == 0 && c->loaded) {	/* the first byte stops the count and takes OUT low */
				c->idle = counter(c, t);
				c->loaded = c->running = false;
			}
		} else {
			write_count(c, (uint16_t)value << 8 | c->write_low, t);
		}
		c->write_high = !c->write_high;
		return;
	default:
		return;		/* never programmed */
	}
}

static uint8_t read_data(struct channel *c, uint64_t t)
{
	uint16_t n;
	bool high;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	n = c->latched ? c->latch : counter(c, t);
	if (c->latched)
		c->latched--;
	high = c->rw == RW_HIGH || (c->rw == RW_BOTH && c->read_high);
	if (c->rw == RW_BOTH)
		c->read_high = !c->read_high;
	return high ? n >> 8 : n;
}

static void latch_count(struct channel *c, uint64_t t)
{
	if (c->latched)
		return;		/* the first one holds until it is read */
	c->latch = counter(c, t);
	/* between the two bytes of a read only the second is still to come */
	c->latched = c->rw == RW_BOTH && !c->read_high ? 2 : 1;
}

static void latch_status(struct channel *c, uint64_t t)
{
	if (c->status_latched)
		return;
	c->status = (out(c, t) ? STATUS_OUT : 0) | (null_count(c, t) ? STATUS_NULL : 0) |
		    c->rw << 4 | c->mode << 1 | c->bcd;
	c->status_latched = true;
}

static void set_gate(struct channel *c, bool gate, uint64_t t)
{
	if (gate == c->gate)
		return;
	take_next(c, t);
	c->gate = gate;
	if (gate_triggered(c)) {
		if (gate && (c->next || c->loaded))
			load(c, c->next ? c->next : c->count, t + 1);
	} else if (!c->loaded) {
		return;
	} else if (!gate) {
		freeze(c, t);
	} else if (periodic(c)) {
		load(c, c->next ? c->next : c->count, t + 1);
	} else {
		c->running = true;
		c->start = t > c->start ? t : c->start;
	}
}

/* ---- IRQ0 */

static uint64_t rate(const struct channel *c)
{
	return periodic(c) ? NS_PER_S * PIT_TICK_NUM / PIT_TICK_DEN / c->count : 0;
}

/* Sets the timer for the next edge that can be seen, or for a replay half way to it. */
static void schedule(struct pit *p)
{
	struct channel *c = &p->ch[0];
	uint64_t edge = next_edge(c, p->seen), replay = p->shown + (c->count + 1) / 2;

	p->masked = line_masked(&p->line);
	p->suppressed = p->masked && line_pending(&p->line);
	if (edge == NEVER || p->suppressed) {
		timer_stop(p->timer);
		return;
	}
	if (p->debt.owed && replay <= p->seen)	/* not taken yet: the next tick is soon enough */
		replay = line_pending(&p->line) ? edge : p->seen + MIN_PERIOD;
	if (p->debt.owed && replay < edge)
		edge = replay;
	if (periodic(c) && c->count < MIN_PERIOD)
		edge = p->seen + MIN_PERIOD;
	timer_set(p->timer, ns_at(edge));
}

static void show_edge(struct pit *p)
{
	line_set(&p->line, false);
	line_set(&p->line, true);
	p->shown = p->seen;
}

/* Rising edges of OUT0 in (p->seen, t]. */
static uint64_t count_edges(struct pit *p, uint64_t t)
{
	struct channel *c = &p->ch[0];
	uint64_t edges = 0, edge;

	while ((edge = next_edge(c, p->seen)) <= t) {
		uint64_t more = periodic(c) && !c->next ? (t - edge) / c->count : 0;

		edges += 1 + more;
		p->seen = edge + more * c->count;
	}
	p->seen = t;
	return edges;
}

/* Shows channel 0's edges up to now to the interrupt controller; `replay`: an owed one may be shown too. */
static void catch_up(struct pit *p, bool replay)
{
	struct channel *c = &p->ch[0];
	uint64_t edges = count_edges(p, now_ticks(p));

	if (p->suppressed)
		return;		/* the request was latched all the while */
	if (p->masked || !periodic(c)) {
		if (edges)
			show_edge(p);
		return;
	}
	tick_owe(&p->debt, edges, rate(c));
	if (p->debt.owed && (edges || replay) && !line_pending(&p->line)) {
		p->debt.owed--;
		show_edge(p);
	}
}

static void on_timer(void *arg, uint64_t deadline)
{
	struct pit *p = arg;

	(void)deadline;
	catch_up(p, true);
	schedule(p);
}

void pit_lines_changed(struct pit *p)
{
	catch_up(p, false);
	if (line_masked(&p->line))
		tick_forgive(&p->debt);
	schedule(p);
}

/* ---- ports */

static void read_back(struct pit *p, uint8_t value, uint64_t t)
{
	for (unsigned i = 0; i < CHANNELS; i++) {
		if (!(value & 2u << i))
			continue;
		if (!(value & READ_BACK_NO_COUNT))
			latch_count(&p->ch[i], t);
		if (!(value & READ_BACK_NO_STATUS))
			latch_status(&p->ch[i], t);
	}
}

/* Channel 0 was programmed: its line follows OUT, and nothing is owed. */
static void program_channel0(struct pit *p, uint64_t t)
{
	p->seen = t;
	tick_forgive(&p->debt);
	line_set(&p->line, out(&p->ch[0], t));
	schedule(p);
}

void pit_write(struct pit *p, uint16_t port, uint8_t value)
{
	uint64_t t = now_ticks(p);
	unsigned n = port == PORT_CONTROL ? value >> 6 : port & 3u;

	if (port == PORT_B) {
		p->port_b = value & B_WRITABLE;
		set_gate(&p->ch[2], value & B_GATE2, t);
		return;
	}
	if (n == 0 || n == READ_BACK)	/* before anything looks at channel 0 later than its line has */
		catch_up(p, false);
	if (n == READ_BACK) {
		read_back(p, value, t);
		return;
	}
	if (port == PORT_CONTROL && (value >> 4 & 3) == RW_LATCH) {
		latch_count(&p->ch[n], t);
		return;
	}
	if (port == PORT_CONTROL)
		write_control(&p->ch[n], value, t);
	else
		write_data(&p->ch[n], value, t);
	if (n == 0)
		program_channel0(p, t);
}

uint8_t pit_read(struct pit *p, uint16_t port)
{
	uint64_t t = now_ticks(p);

	if (port == PORT_B)
		return p->port_b | (t / REFRESH_TICKS % 2 ? B_REFRESH : 0) | (out(&p->ch[2], t) ? B_OUT2 : 0);
	if (port == PORT_CONTROL)
		return 0xff;	/* not readable */
	if (!(port & 3))
		catch_up(p, false);
	return read_data(&p->ch[port & 3], t);
}

/* ---- life */

/* The chip has no reset pin; firmware that finds it so has just been powered on. */
void pit_reset(struct pit *p)
{
	for (unsigned i = 0; i < CHANNELS; i++)
		p->ch[i] = (struct channel){ .gate = i != 2, .mode = 3, .rw = RW_BOTH, .count = 65536 };
	p->port_b = 0;
	p->seen = p->shown = now_ticks(p);
	p->masked = p->suppressed = false;
	p->debt = (struct tick_debt){ 0 };
	line_set(&p->line, false);
	timer_stop(p->timer);
}

struct pit *pit_new(struct timers *timers, struct irq_line line)
{
	struct pit *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->timers = timers;
	p->line = line;
	p->timer = timer_new(timers, on_timer, p);
	if (!p->timer) {
		free(p);
		return NULL;
	}
	pit_reset(p);
	return p;
}

void pit_free(struct pit *p)
{
	if (!p)
		return;
	timer_free(p->timer);
	free(p);
}
