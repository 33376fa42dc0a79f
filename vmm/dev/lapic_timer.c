/*
 * vmm/dev/lapic_timer.c - the local APIC's timer.
 *
 * SDM vol. 3 section 11.5.4 (APIC timer), 11.5.4.1 (TSC-deadline mode).  Knows
 * neither vectors nor registers' addresses (lapic.c).
 *
 * Departures: a periodic timer expires at most every 100 us, a smaller count
 * would only keep the host busy; with a deadline the host's clock decides, at a
 * rate that is right to some parts in a million, so an expiry may come that
 * much before the TSC has reached its deadline.
 */
#include "vmm/dev/lapic_timer.h"

#include "vmm/timer.h"

#define NS_PER_S	1000000000ull
#define MIN_PERIOD	100000u		/* ns */
#define FAR		(UINT64_MAX / 4)

static uint64_t now_ns(const struct lapic_timer *t)
{
	return timers_now(t->timers);
}

/* Divide configuration register, bits 3, 1, 0: 2, 4, 8, ... 128, 1. */
static uint64_t tick_ns(const struct lapic_timer *t)
{
	unsigned code = (t->divide & 3) | (t->divide >> 1 & 4);

	return (uint64_t)LAPIC_TIMER_TICK << (code + 1) % 8;
}

static uint64_t elapsed(const struct lapic_timer *t, uint64_t now)
{
	return t->done + (now - t->start) / tick_ns(t);
}

static uint64_t at_tick(const struct lapic_timer *t, uint64_t tick)
{
	return t->start + (tick - t->done) * tick_ns(t);
}

/* A one-shot count or a deadline that has passed is over, whoever notices it first: this thread or the host's timer. */
static void settle(struct lapic_timer *t)
{
	uint64_t now = now_ns(t);
	bool over = false;

	if (t->mode == LAPIC_ONE_SHOT && t->running && elapsed(t, now) >= t->initial) {
		t->running = false;
		over = true;
	}
	if (t->deadline && now >= t->deadline_ns) {
		t->deadline = 0;
		over = true;
	}
	if (over && !t->masked)
		t->wires.expired(t->wires.arg);
}

static uint64_t next_period(const struct lapic_timer *t)
{
	uint64_t now = now_ns(t);
	uint64_t next = at_tick(t, (elapsed(t, now) / t->initial + 1) * t->initial);

	return next > t->shown + MIN_PERIOD ? next : t->shown + MIN_PERIOD;
}

static void schedule(struct lapic_timer *t)
{
	bool counting = t->running && t->initial;

	if (!t->masked && t->mode == LAPIC_TSC_DEADLINE && t->deadline)
		timer_set(t->timer, t->deadline_ns);
	else if (!t->masked && t->mode == LAPIC_ONE_SHOT && counting)
		timer_set(t->timer, at_tick(t, t->initial));
	else if (!t->masked && t->mode == LAPIC_PERIODIC && counting && !t->wires.waits(t->wires.arg))
		timer_set(t->timer, next_period(t));
	else
		timer_stop(t->timer);
}

static void on_timer(void *arg, uint64_t deadline)
{
	struct lapic_timer *t = arg;

	(void)deadline;
	settle(t);
	if (t->mode == LAPIC_PERIODIC) {
		t->shown = now_ns(t);
		t->wires.expired(t->wires.arg);
	}
	schedule(t);
}

void lapic_timer_taken(struct lapic_timer *t)
{
	if (t->mode == LAPIC_PERIODIC)
		schedule(t);
}

/* ---- registers */

/* The ticks so far stay what they were when the rate changes. */
static void rebase(struct lapic_timer *t)
{
	uint64_t now = now_ns(t);

	t->done = elapsed(t, now);
	t->start = now;
}

void lapic_timer_set_lvt(struct lapic_timer *t, enum lapic_timer_mode mode, bool masked)
{
	settle(t);
	if (mode != t->mode && (mode == LAPIC_TSC_DEADLINE || t->mode == LAPIC_TSC_DEADLINE)) {
		t->running = false;
		t->initial = 0;
		t->deadline = 0;
	} else if (mode != t->mode && t->running) {	/* the count that is under way goes on */
		rebase(t);
		t->done %= t->initial;
	}
	t->mode = mode;
	t->masked = masked;
	schedule(t);
}

void lapic_timer_set_divide(struct lapic_timer *t, uint8_t reg)
{
	settle(t);
	rebase(t);
	t->divide = reg & 0xb;
	schedule(t);
}

void lapic_timer_set_count(struct lapic_timer *t, uint32_t count)
{
	if (t->mode == LAPIC_TSC_DEADLINE)
		return;
	t->initial = count;
	t->running = count;
	t->start = now_ns(t);
	t->done = 0;
	schedule(t);
}

uint32_t lapic_timer_initial(const struct lapic_timer *t)
{
	return t->initial;
}

uint32_t lapic_timer_current(const struct lapic_timer *t)
{
	uint64_t e;

	if (!t->running || t->mode == LAPIC_TSC_DEADLINE)
		return 0;
	e = elapsed(t, now_ns(t));
	if (t->mode == LAPIC_PERIODIC)
		return t->initial - e % t->initial;
	return e < t->initial ? t->initial - e : 0;
}

/* ---- TSC deadline */

/* When the guest's TSC, `tsc` away, gets there: rounded up. */
static uint64_t tsc_to_ns(const struct lapic_timer *t, uint64_t tsc)
{
	uint64_t hz = t->tsc_hz();
	unsigned __int128 ns = ((unsigned __int128)tsc * NS_PER_S + hz - 1) / hz;

	return ns < FAR ? (uint64_t)ns : FAR;
}

/* An expiry that is due at once does not wait for another thread. */
static void aim(struct lapic_timer *t, uint64_t now)
{
	if (t->deadline <= now) {
		t->deadline = 0;
		timer_stop(t->timer);
		if (!t->masked)
			t->wires.expired(t->wires.arg);
		return;
	}
	t->deadline_ns = now_ns(t) + tsc_to_ns(t, t->deadline - now);
	schedule(t);
}

void lapic_timer_set_deadline(struct lapic_timer *t, uint64_t tsc, uint64_t now)
{
	if (t->mode != LAPIC_TSC_DEADLINE)
		return;
	t->deadline = tsc;
	if (tsc)
		aim(t, now);
	else
		schedule(t);
}

uint64_t lapic_timer_deadline(struct lapic_timer *t)
{
	settle(t);
	return t->deadline;
}

void lapic_timer_tsc_moved(struct lapic_timer *t, uint64_t now)
{
	if (t->deadline)
		aim(t, now);
}

/* ---- life */

void lapic_timer_reset(struct lapic_timer *t)
{
	t->mode = LAPIC_ONE_SHOT;
	t->masked = true;
	t->divide = 0;
	t->running = false;
	t->initial = 0;
	t->start = t->shown = now_ns(t);
	t->done = t->deadline = 0;
	timer_stop(t->timer);
}

bool lapic_timer_init(struct lapic_timer *t, struct timers *timers, uint64_t (*tsc_hz)(void), const struct lapic_timer_wires *wires)
{
	*t = (struct lapic_timer){ .timers = timers, .tsc_hz = tsc_hz, .wires = *wires };
	t->timer = timer_new(timers, on_timer, t);
	if (!t->timer)
		return false;
	lapic_timer_reset(t);
	return true;
}

void lapic_timer_fini(struct lapic_timer *t)
{
	timer_free(t->timer);
}
