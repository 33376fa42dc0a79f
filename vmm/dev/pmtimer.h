/*
 * vmm/dev/pmtimer.h - the ACPI power management timer.
 *
 * The device model's power management function owns the block of ports and
 * says where it is (LINK_EV_PMBASE); the timer at base + 8 is read so often
 * that it lives here.  It is the VM's clock and nothing else, so the device
 * model computes the same value for the overflow status:
 *
 *      ticks = vm_now * 3579545 / 10^9, bit 23 or 31 its top
 *
 * Thread: any, with vm->dev_lock held.
 */
#ifndef CLEAVE_VMM_DEV_PMTIMER_H
#define CLEAVE_VMM_DEV_PMTIMER_H

#include <stdint.h>

struct timers;

#define PMTIMER_HZ	3579545u

enum { PMTIMER_OFFSET = 8, PMTIMER_PORTS = 4 };

/* `bits` is 24 (PIIX4) or 32 (TMR_VAL_EXT). */
static inline uint32_t pmtimer_value(uint64_t vm_ns, unsigned bits)
{
	uint64_t ticks = (uint64_t)((unsigned __int128)vm_ns * PMTIMER_HZ / 1000000000u);

	return (uint32_t)(bits == 32 ? ticks : ticks & 0xffffff);
}

struct pmtimer *pmtimer_new(struct timers *, unsigned bits);	/* NULL: no memory */
void pmtimer_free(struct pmtimer *);
uint32_t pmtimer_read(const struct pmtimer *, unsigned off, unsigned size);	/* off + size <= 4; writes do nothing */

#endif
