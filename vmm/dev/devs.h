/*
 * vmm/dev/devs.h - the in-engine devices of one machine, as a whole.
 *
 * devs_new() makes them, wires them to vm->timers, the interrupt lines and
 * vm->config (memory size, local time), and puts their ports on vm->bus.
 *
 * Thread: main, before others start and after they ended; devs_reset() with
 * vm->dev_lock held.
 */
#ifndef CLEAVE_VMM_DEV_DEVS_H
#define CLEAVE_VMM_DEV_DEVS_H

#include <stddef.h>

struct vm;

int devs_new(struct vm *, char *err, size_t errlen);	/* -errno; `err` may stay empty */
void devs_free(struct vm *);				/* also of what devs_new() left half made */
void devs_reset(struct vm *);				/* power-on state; the clock's time and CMOS stay */

#endif
