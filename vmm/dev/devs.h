/*
 * vmm/dev/devs.h - the in-engine devices of one machine, as a whole.
 *
 * devs_new() makes them, wires them to vm->timers, the interrupt lines and
 * vm->config (memory size, local time), and puts their ports on vm->bus.
 *
 * Thread: main, before others start and after they ended, unless it says
 * otherwise.
 */
#ifndef CLEAVE_VMM_DEV_DEVS_H
#define CLEAVE_VMM_DEV_DEVS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vm;

int devs_new(struct vm *, char *err, size_t errlen);	/* -errno; `err` may stay empty */
void devs_free(struct vm *);				/* also of what devs_new() left half made */
/* Power-on state; the clock's time and CMOS stay; A20 is open.  With dev_lock held. */
void devs_reset(struct vm *);
/* The VM's clock goes on after it stood still.  With dev_lock held. */
void devs_resume(struct vm *);

/* What the device model says; any thread, without dev_lock. */
void devs_a20_kbc(struct vm *, bool on);		/* the keyboard controller's part of the A20 line */
void devs_pmbase(struct vm *, uint16_t base, bool on);	/* where the ACPI block is: the PM timer is at base + 8 */
void devs_nmi(struct vm *);				/* the chipset's NMI: waits while port 70h masks it */

#endif
