/*
 * vmm/dev/tick.h - periodic interrupts on a host that may be late.
 *
 * The PIT and the RTC count time from the clock, so a late wake-up never bends
 * time itself; but a guest that counts interrupts loses what it was not given.
 * Policy, for both:
 *
 *   - a tick that falls due while the one before still waits in the controller
 *     is owed, not lost;
 *   - owed ticks are replayed between the regular ones, so that the guest sees
 *     at most twice the programmed rate while it catches up;
 *   - at most one second's worth is owed, the rest is dropped: a guest that was
 *     away for an hour is not flooded;
 *   - a guest that masks the line or programs the timer anew is owed nothing.
 */
#ifndef CLEAVE_VMM_DEV_TICK_H
#define CLEAVE_VMM_DEV_TICK_H

#include <stdint.h>

#define NS_PER_S	1000000000ull

struct tick_debt {
	uint64_t owed;
	uint64_t dropped;	/* statistics */
};

static inline void tick_owe(struct tick_debt *d, uint64_t ticks, uint64_t per_second)
{
	uint64_t limit = per_second ? per_second : 1;

	d->owed += ticks;
	if (d->owed > limit) {
		d->dropped += d->owed - limit;
		d->owed = limit;
	}
}

static inline void tick_forgive(struct tick_debt *d)
{
	d->dropped += d->owed;
	d->owed = 0;
}

#endif
