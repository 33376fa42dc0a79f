/*
 * vmm/dev/pmtimer.c - the ACPI timer: a read of the clock.
 *
 * ACPI specification 4.8.2.1 (power management timer), Intel 82371AB (PIIX4)
 * datasheet, PMTMR.  Knows neither its port nor the bus (devs.c).
 */
#include <stdlib.h>

#include "vmm/dev/pmtimer.h"
#include "vmm/timer.h"

struct pmtimer {
	struct timers *timers;
	unsigned bits;
};

uint32_t pmtimer_read(const struct pmtimer *t, unsigned off, unsigned size)
{
	uint32_t value = pmtimer_value(timers_now(t->timers), t->bits) >> off % 4 * 8;

	return size < 4 ? value & ((1u << size * 8) - 1) : value;
}

struct pmtimer *pmtimer_new(struct timers *timers, unsigned bits)
{
	struct pmtimer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->timers = timers;
	t->bits = bits;
	return t;
}

void pmtimer_free(struct pmtimer *t)
{
	free(t);
}
