/*
 * vmm/irq.h - interrupt lines, as the machine's devices see them.
 *
 *      GSI 0          8259A IR0,  I/O APIC pin 2
 *      GSI 1, 3-15    8259A IRn,  I/O APIC pin n
 *      GSI 16-23                  I/O APIC pin n
 *      8259A INTR     LINT0 of every local APIC, I/O APIC pin 0
 *
 * A level means "asserted", whatever the polarity of the wire.  Levels are
 * absolute: setting the level it has is no event.
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

/*
 * For timers (vmm/dev/line.h), with dev_lock held.  pending: another edge
 * changes nothing in any controller where the line is not masked; masked: it is
 * so in all of them.
 */
bool irq_line_pending(const struct vm *, unsigned gsi);
bool irq_line_masked(const struct vm *, unsigned gsi);

/*
 * Interrupt controllers that an engine has instead of vmm/dev's.  They see the
 * GSIs above, and answer at the controllers' ports and pages themselves.  With
 * dev_lock held.
 */
struct irqchip_ops {
	void (*set)(struct vm *, unsigned gsi, bool level);
	bool (*pending)(const struct vm *, unsigned gsi);	/* as irq_line_pending(); none is ever masked */
	void (*msi)(struct vm *, uint64_t addr, uint32_t data);
	void (*elcr)(struct vm *, uint16_t levels);
	void (*reset)(struct vm *);				/* power-on state; the lines keep their levels */
};

/* Which ISA lines are level-triggered, as firmware would write it.  With dev_lock held. */
void irq_set_elcr(struct vm *, uint16_t levels);
/* There are local APICs, and an I/O APIC that every GSI reaches. */
bool irq_has_apics(const struct vm *);

/* A message: `data` written to `addr`, FEExxxxxh.  Any thread; the second with dev_lock held. */
void irq_msi(struct vm *, uint64_t addr, uint32_t data);
void irq_msi_locked(struct vm *, uint64_t addr, uint32_t data);

/* For the engine: is INTR asserted for this vCPU?  One relaxed load, from vcpu->intr. */
bool irq_pending(const struct vcpu *);
/*
 * The INTA cycle: returns the vector, after which the request is in service.  The
 * local APIC's own come first, then the 8259As' (ExtINT).  Nothing there any
 * more: the spurious vector of whichever asked, IRQ7 of the 8259A.
 */
uint8_t irq_acknowledge(struct vcpu *);

/* The 8259As' INTR output; `vm` is a struct vm. With dev_lock held. */
void irq_output(void *vm, bool level);
/* INTR of one processor. With dev_lock held. */
void irq_cpu_output(void *vm, unsigned cpu, bool level);

#endif
