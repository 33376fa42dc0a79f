/*
 * vmm/dev/pit.h - the 8254 interval timer and port 61h.
 *
 *      channel 0   gate high          OUT -> IRQ0
 *      channel 1   gate high          OUT -> refresh, long gone; it counts
 *      channel 2   gate: port 61h/0   OUT -> port 61h/5
 *
 * Thread: any, with vm->dev_lock held.
 */
#ifndef CLEAVE_VMM_DEV_PIT_H
#define CLEAVE_VMM_DEV_PIT_H

#include <stdint.h>

#include "vmm/dev/line.h"

struct pit;
struct timers;

/* 14.31818 MHz (315/22) / 12: a tick is 88000/105 ns. */
#define PIT_TICK_NUM	105u
#define PIT_TICK_DEN	88000u

enum { PIT_IRQ = 0 };

struct pit *pit_new(struct timers *, struct irq_line);	/* NULL: no memory */
void pit_free(struct pit *);
void pit_reset(struct pit *);

/* Ports 40h-43h and 61h. */
uint8_t pit_read(struct pit *, uint16_t port);
void pit_write(struct pit *, uint16_t port, uint8_t value);

/* The interrupt controller's masks changed: ticks that nobody could see were not timed. */
void pit_lines_changed(struct pit *);

#endif
