/*
 * vmm/dev/ioapic.h - the I/O APIC: 24 pins, each with a redirection entry.
 *
 *      pin 0       the 8259As' INTR (ExtINT)
 *      pin 2       ISA IRQ0
 *      pins 1-15   the ISA IRQ of that number
 *      pins 16-23  GSIs of the same number
 *
 * Thread: any, with vm->dev_lock held.
 */
#ifndef CLEAVE_VMM_DEV_IOAPIC_H
#define CLEAVE_VMM_DEV_IOAPIC_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/dev/lapic.h"

struct ioapic;

#define IOAPIC_BASE	0xfec00000ull
enum { IOAPIC_SPAN = 0x1000, IOAPIC_PINS = 24, IOAPIC_PIN_EXTINT = 0, IOAPIC_PIN_IRQ0 = 2 };

struct ioapic_wires {	/* closures */
	bool (*send)(void *arg, const struct apic_message *);		/* false: nobody accepted it */
	bool (*requested)(void *arg, const struct apic_message *);	/* its vector is requested already */
	/* A redirection entry was written: what ioapic_pending() and ioapic_masked() say may have changed.  May set pins. */
	void (*changed)(void *arg);
	void *arg;
};

struct ioapic *ioapic_new(const struct ioapic_wires *);	/* NULL: no memory */
void ioapic_free(struct ioapic *);
void ioapic_reset(struct ioapic *);			/* all masked; the pins keep their levels */

void ioapic_set_pin(struct ioapic *, unsigned pin, bool asserted);
void ioapic_eoi(struct ioapic *, uint8_t vector);	/* broadcast by a local APIC */
/* Edges of this pin: still requested, so that another changes nothing; none can interrupt. */
bool ioapic_pending(const struct ioapic *, unsigned pin);
bool ioapic_masked(const struct ioapic *, unsigned pin);

/* `off` below IOAPIC_SPAN. */
uint64_t ioapic_read(struct ioapic *, uint64_t off, unsigned size);
void ioapic_write(struct ioapic *, uint64_t off, unsigned size, uint64_t value);

/* Invariants, for tests: remote IRR only where an EOI can come. */
bool ioapic_check(const struct ioapic *);

#endif
