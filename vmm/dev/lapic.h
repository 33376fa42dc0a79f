/*
 * vmm/dev/lapic.h - the local APICs of one machine, one for each processor, and
 * the bus between them: who a message is for.
 *
 *      8259A INTR ---> LINT0 \
 *      chipset NMI --> LINT1  \
 *      timer, error ---------- LVT --\
 *      I/O APIC, MSI, IPIs -- message -> IRR -> (PPR) -> INTR of the processor
 *                                          \-> ISR -> EOI -> I/O APIC
 *
 * Thread: any, with vm->dev_lock held, unless it says otherwise.
 */
#ifndef CLEAVE_VMM_DEV_LAPIC_H
#define CLEAVE_VMM_DEV_LAPIC_H

#include <stdbool.h>
#include <stdint.h>

struct apics;
struct lapic;
struct timers;

#define LAPIC_BASE	0xfee00000ull
enum { LAPIC_SPAN = 0x1000, LAPIC_MAX = 255 };

/* IA32_APIC_BASE */
#define APIC_BASE_BSP	(1u << 8)
#define APIC_BASE_EXTD	(1u << 10)
#define APIC_BASE_EN	(1u << 11)

enum apic_delivery {	/* as bits 10-8 of an ICR, LVT entry, redirection entry or MSI datum */
	APIC_FIXED, APIC_LOWEST, APIC_SMI, APIC_RESERVED, APIC_NMI, APIC_INIT, APIC_SIPI, APIC_EXTINT
};

#define APIC_ALL	UINT32_MAX	/* a destination; 8-bit senders say FFh for it (apic_dest8()) */

struct apic_message {
	uint32_t dest;
	bool logical;
	bool level;		/* level-triggered: its EOI is broadcast */
	uint8_t delivery;	/* enum apic_delivery */
	uint8_t vector;
};

static inline uint32_t apic_dest8(uint8_t dest, bool logical)
{
	return dest == 0xff && !logical ? APIC_ALL : dest;
}

struct apic_wires {	/* closures */
	void (*intr)(void *arg, unsigned cpu, bool level);	/* INTR changed; it starts low */
	void (*nmi)(void *arg, unsigned cpu);
	void (*init)(void *arg, unsigned cpu);
	void (*sipi)(void *arg, unsigned cpu, uint8_t vector);
	void (*eoi)(void *arg, uint8_t vector);			/* of a level-triggered interrupt: to the I/O APICs */
	void (*page)(void *arg, unsigned cpu, uint64_t base);	/* where its registers are; 0: not in memory (off, x2APIC) */
	void *arg;
};

/* tsc_hz: see lapic_timer_init().  `cpus` of 1 to LAPIC_MAX; processor n has APIC ID n, 0 is the boot processor.  NULL: no memory. */
struct apics *apics_new(struct timers *, unsigned cpus, uint64_t (*tsc_hz)(void), const struct apic_wires *);
void apics_free(struct apics *);
void apics_reset(struct apics *);		/* power-on state; lines keep their levels */
struct lapic *apics_cpu(struct apics *, unsigned cpu);

/* False: nobody accepts it.  `cpu`: every processor but it hears it, for IPIs to all but oneself. */
bool apics_send(struct apics *, const struct apic_message *);
bool apics_send_but(struct apics *, const struct apic_message *, unsigned cpu);
/* A write of `data` to `addr`, which is in FEExxxxxh; elsewhere it is nobody's. */
bool apics_msi(struct apics *, uint64_t addr, uint32_t data);
/* Would this message find its vector requested already, wherever it goes? */
bool apics_requested(const struct apics *, const struct apic_message *);
void apics_lint(struct apics *, unsigned pin, bool level);	/* 0: the 8259As' INTR, 1: NMI */

/* ---- one local APIC */

enum { LAPIC_EXTINT = -1 };
/* The INTA cycle: a vector, now in service, or LAPIC_EXTINT: the 8259As are to be asked. */
int lapic_acknowledge(struct lapic *);

/* Registers in memory: `off` below LAPIC_SPAN. */
uint64_t lapic_read(struct lapic *, uint64_t off, unsigned size);
void lapic_write(struct lapic *, uint64_t off, unsigned size, uint64_t value);

/* 800h-8FFh.  False: #GP. */
bool lapic_msr_read(struct lapic *, uint32_t msr, uint64_t *value);
bool lapic_msr_write(struct lapic *, uint32_t msr, uint64_t value);
uint64_t lapic_base(const struct lapic *);		/* IA32_APIC_BASE */
bool lapic_set_base(struct lapic *, uint64_t value);
uint64_t lapic_deadline(struct lapic *);		/* IA32_TSC_DEADLINE; tsc: the guest's, now */
void lapic_set_deadline(struct lapic *, uint64_t value, uint64_t tsc);
void lapic_tsc_moved(struct lapic *, uint64_t tsc);
uint8_t lapic_cr8(const struct lapic *);
void lapic_set_cr8(struct lapic *, uint8_t value);

/* For the bus. */
bool lapic_addressed(const struct lapic *, uint32_t dest, bool logical);
bool lapic_takes(struct lapic *, unsigned delivery, uint8_t vector, bool level);	/* false: not accepted */
bool lapic_requested(const struct lapic *, uint8_t vector);
uint8_t lapic_priority(const struct lapic *);		/* PPR: the lowest takes a lowest-priority message */
bool lapic_enabled(const struct lapic *);		/* takes fixed interrupts */
void lapic_lint(struct lapic *, unsigned pin, bool level);
struct lapic *lapic_new(struct apics *, unsigned cpu, struct timers *, uint64_t (*tsc_hz)(void), const struct apic_wires *);
void lapic_free(struct lapic *);
void lapic_reset(struct lapic *);

/* Invariants, for tests: INTR is what the registers say. */
bool lapic_check(const struct lapic *);

#endif
