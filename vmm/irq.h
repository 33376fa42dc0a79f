/*
 * vmm/irq.h - interrupt lines, as the machine's devices see them.
 *
 * A line is a GSI (0-15: ISA lines to the two 8259As; later the I/O APIC's).
 * Levels are absolute: setting the level it has is no event.
 *
 * Thread: any; the interrupt controllers are behind vm->dev_lock, which these
 * take themselves (the *_locked forms are for callers that hold it).
 */
#ifndef CLEAVE_VMM_IRQ_H
#define CLEAVE_VMM_IRQ_H

#include <stdbool.h>
#include <stdint.h>

struct vm;
struct vcpu;

enum { IRQ_LINES = 24 };

void irq_set(struct vm *, unsigned gsi, bool level);
void irq_set_locked(struct vm *, unsigned gsi, bool level);

/* For the engine: is INTR asserted for this vCPU?  One relaxed load, from vcpu->intr. */
bool irq_pending(const struct vcpu *);
/* The INTA cycle: returns the vector, after which the request is in service. Spurious: the controller's IRQ7 vector. */
uint8_t irq_acknowledge(struct vcpu *);

/* The controllers' INTR output; `vm` is a struct vm. With dev_lock held. */
void irq_output(void *vm, bool level);

#endif
