/*
 * vmm/tsc.h - how fast the host's TSC, and so the guest's, counts against the
 * VM's clock.
 *
 * Measured from tsc_start() to the first tsc_hz(), and then fixed: the longer
 * between, the better.  Thread: any.
 */
#ifndef CLEAVE_VMM_TSC_H
#define CLEAVE_VMM_TSC_H

#include <stdint.h>

void tsc_start(void);		/* early; once is enough */
uint64_t tsc_hz(void);		/* may take 10 ms */

/* The fraction n/d nearest to a/b with n <= max; a, b > 0.  Neither is 0. */
void tsc_ratio(uint64_t a, uint64_t b, uint32_t max, uint32_t *n, uint32_t *d);

#endif
