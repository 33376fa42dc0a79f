/*
 * vmm/dev/hpet.h - the high precision event timer: a 64-bit counter, three comparators.
 *
 *      comparator 0   pins 20-23, or (legacy replacement) ISA IRQ0, or a message
 *      comparator 1   pins 20-23, or (legacy replacement) ISA IRQ8, or a message
 *      comparator 2   pins 20-23, or a message
 *
 * Thread: any, with vm->dev_lock held.
 */
#ifndef CLEAVE_VMM_DEV_HPET_H
#define CLEAVE_VMM_DEV_HPET_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/dev/line.h"

struct hpet;
struct timers;

#define HPET_BASE	0xfed00000ull
#define HPET_PERIOD_FS	10000000u	/* 100 MHz: a tick is 10 ns */
enum { HPET_SPAN = 0x400, HPET_TIMERS = 3 };

struct hpet_wires {	/* closures */
	const struct line_ops *line;				/* by GSI; 0 and 8 are the ISA IRQs of legacy replacement */
	void (*msi)(void *arg, uint64_t addr, uint32_t data);
	void (*legacy)(void *arg, bool on);			/* ISA IRQ0 and IRQ8 are ours, or the PIT's and the clock's again */
	void *arg;						/* of all, the line's too */
};

struct hpet *hpet_new(struct timers *, const struct hpet_wires *);	/* NULL: no memory */
void hpet_free(struct hpet *);
void hpet_reset(struct hpet *);

/* `off` below HPET_SPAN. */
uint64_t hpet_read(struct hpet *, uint64_t off, unsigned size);
void hpet_write(struct hpet *, uint64_t off, unsigned size, uint64_t value);

/* An interrupt controller's masks changed: edges that nobody could see were not timed. */
void hpet_lines_changed(struct hpet *);

#endif
