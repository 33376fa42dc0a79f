/*
 * vmm/dev/lapic.c - one local APIC: its registers, priorities and local vectors.
 *
 * SDM vol. 3 chapter 11: xAPIC, x2APIC (11.12).  Owns everything of one
 * processor's APIC but the timer (lapic_timer.c); who a message is for is the
 * bus's (apics.c).  INTR, NMI, INIT and SIPI are closures: no vCPU is known.
 *
 * Departures:
 *   - At power-on the boot processor's LINT0 is ExtINT and its LINT1 NMI, both
 *     unmasked, as firmware would leave them (virtual wire): a guest that knows
 *     no APIC has its 8259As, whatever started it.
 *   - SMI is accepted and does nothing; thermal and performance entries are
 *     registers that nothing raises.
 *   - The ID register cannot be written.
 */
#include "vmm/dev/lapic.h"

#include <stdlib.h>

#include "vmm/dev/lapic_timer.h"

enum reg {	/* MMIO offset / 16, MSR - 800h */
	REG_ID = 0x02, REG_VERSION = 0x03, REG_TPR = 0x08, REG_APR = 0x09, REG_PPR = 0x0a, REG_EOI = 0x0b,
	REG_RRD = 0x0c, REG_LDR = 0x0d, REG_DFR = 0x0e, REG_SVR = 0x0f, REG_ISR = 0x10, REG_TMR = 0x18, REG_IRR = 0x20,
	REG_ESR = 0x28, REG_CMCI = 0x2f, REG_ICR = 0x30, REG_ICR_HIGH = 0x31, REG_LVT = 0x32,
	REG_TIMER_INITIAL = 0x38, REG_TIMER_CURRENT = 0x39, REG_TIMER_DIVIDE = 0x3e, REG_SELF_IPI = 0x3f,
	REGS = 0x40
};

enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVTS };
enum { VECTORS = 256, WORDS = VECTORS / 32, PINS = 2, NO_VECTOR = -1, FIRST_VECTOR = 16 };

#define VERSION		(0x14u | (LVTS - 1) << 16 | 1u << 24)	/* EOI broadcast can be suppressed */

#define SVR_ENABLE	0x100u
#define SVR_NO_BROADCAST 0x1000u
#define SVR_WRITABLE	(0xffu | SVR_ENABLE | SVR_NO_BROADCAST)

#define ENTRY_VECTOR	0xffu
#define ENTRY_DELIVERY(e) ((e) >> 8 & 7)
#define ENTRY_POLARITY	(1u << 13)
#define ENTRY_REMOTE_IRR (1u << 14)
#define ENTRY_LEVEL	(1u << 15)
#define ENTRY_MASKED	(1u << 16)
#define ENTRY_MODE(e)	((e) >> 17 & 3)

#define ICR_LOGICAL	(1u << 11)
#define ICR_ASSERT	(1u << 14)
#define ICR_LEVEL	(1u << 15)
#define ICR_SHORTHAND(v) ((v) >> 18 & 3)
#define ICR_WRITABLE	0x000ccfffu
enum { TO_DEST, TO_SELF, TO_ALL, TO_OTHERS };

#define ESR_SEND_VECTOR	0x20u
#define ESR_RECV_VECTOR	0x40u
#define ESR_REGISTER	0x80u

static const uint32_t lvt_writable[LVTS] = {
	[LVT_TIMER] = ENTRY_VECTOR | ENTRY_MASKED | 3u << 17,
	[LVT_THERMAL] = ENTRY_VECTOR | 7u << 8 | ENTRY_MASKED,
	[LVT_PERF] = ENTRY_VECTOR | 7u << 8 | ENTRY_MASKED,
	[LVT_LINT0] = ENTRY_VECTOR | 7u << 8 | ENTRY_POLARITY | ENTRY_LEVEL | ENTRY_MASKED,
	[LVT_LINT1] = ENTRY_VECTOR | 7u << 8 | ENTRY_POLARITY | ENTRY_LEVEL | ENTRY_MASKED,
	[LVT_ERROR] = ENTRY_VECTOR | ENTRY_MASKED,
};

struct lapic {
	struct apics *bus;
	const struct apic_wires *wires;
	unsigned cpu;
	struct lapic_timer timer;

	uint64_t base;			/* IA32_APIC_BASE */
	uint32_t isr[WORDS], irr[WORDS], tmr[WORDS];
	uint32_t ldr, dfr, svr;
	uint64_t icr;
	uint32_t lvt[LVTS];
	uint32_t esr, errors;		/* as last latched; since then */
	uint8_t tpr;
	bool pin[PINS];
	bool extint;			/* an ExtINT message came and was not acknowledged */
	bool out;			/* INTR as told last */
};

static bool hardware_on(const struct lapic *l)
{
	return l->base & APIC_BASE_EN;
}

static bool x2apic(const struct lapic *l)
{
	return l->base & APIC_BASE_EXTD;
}

bool lapic_enabled(const struct lapic *l)
{
	return hardware_on(l) && l->svr & SVR_ENABLE;
}

/* ---- sets of vectors */

static bool test(const uint32_t *set, uint8_t v)
{
	return set[v / 32] >> v % 32 & 1;
}

static void add(uint32_t *set, uint8_t v)
{
	set[v / 32] |= 1u << v % 32;
}

static void take(uint32_t *set, uint8_t v)
{
	set[v / 32] &= ~(1u << v % 32);
}

static int highest(const uint32_t *set)
{
	for (int i = WORDS - 1; i >= 0; i--)
		if (set[i])
			return i * 32 + 31 - __builtin_clz(set[i]);
	return NO_VECTOR;
}

/* ---- priorities, INTR */

uint8_t lapic_priority(const struct lapic *l)
{
	int serving = highest(l->isr);
	unsigned class = serving == NO_VECTOR ? 0 : serving & 0xf0;

	return (l->tpr & 0xf0u) >= class ? l->tpr : class;
}

/* The vector that the processor is asked to take, or NO_VECTOR. */
static int deliverable(const struct lapic *l)
{
	int v = highest(l->irr);

	return v != NO_VECTOR && (v & 0xf0) > (lapic_priority(l) & 0xf0) ? v : NO_VECTOR;
}

/* Do the 8259As reach the processor by LINT0?  Switched off, the pin is INTR itself. */
static bool extint_open(const struct lapic *l)
{
	uint32_t e = l->lvt[LVT_LINT0];

	return !hardware_on(l) || (!(e & ENTRY_MASKED) && ENTRY_DELIVERY(e) == APIC_EXTINT);
}

static bool extint_waits(const struct lapic *l)
{
	return l->extint || (l->pin[0] && extint_open(l));
}

static bool asks(const struct lapic *l)
{
	return extint_waits(l) || (hardware_on(l) && deliverable(l) != NO_VECTOR);
}

static void update(struct lapic *l)
{
	bool out = asks(l);

	if (out == l->out)
		return;
	l->out = out;
	l->wires->intr(l->wires->arg, l->cpu, out);
}

/*
 * Between "asks" and the INTA only a line of the 8259As can fall: where they are
 * open, nothing deliverable means that they have to say what is spurious.
 */
int lapic_acknowledge(struct lapic *l)
{
	int v = hardware_on(l) ? deliverable(l) : NO_VECTOR;
	bool extint = v == NO_VECTOR && (l->extint || extint_open(l));

	if (v != NO_VECTOR) {
		take(l->irr, v);
		add(l->isr, v);
		if (v == (int)(l->lvt[LVT_TIMER] & ENTRY_VECTOR))
			lapic_timer_taken(&l->timer);
	}
	if (extint)
		l->extint = false;
	update(l);
	if (extint)
		return LAPIC_EXTINT;
	return v != NO_VECTOR ? v : (int)(l->svr & ENTRY_VECTOR);
}

/* ---- accepting */

static void error(struct lapic *l, uint32_t bit);

static void accept_vector(struct lapic *l, uint8_t vector, bool level)
{
	if (vector < FIRST_VECTOR) {
		error(l, ESR_RECV_VECTOR);
		return;
	}
	add(l->irr, vector);
	if (level)
		add(l->tmr, vector);
	else
		take(l->tmr, vector);
	update(l);
}

static void error(struct lapic *l, uint32_t bit)
{
	uint32_t e = l->lvt[LVT_ERROR];

	l->errors |= bit;
	/* An error entry with a vector that cannot be would be an error for ever. */
	if (!(e & ENTRY_MASKED) && (e & ENTRY_VECTOR) >= FIRST_VECTOR)
		accept_vector(l, e & ENTRY_VECTOR, false);
}

bool lapic_takes(struct lapic *l, unsigned delivery, uint8_t vector, bool level)
{
	if (!hardware_on(l))
		return false;
	switch (delivery) {
	case APIC_FIXED:
	case APIC_LOWEST:
		if (!lapic_enabled(l))
			return false;
		accept_vector(l, vector, level);
		return true;
	case APIC_NMI:
		l->wires->nmi(l->wires->arg, l->cpu);
		return true;
	case APIC_INIT:
		l->wires->init(l->wires->arg, l->cpu);
		return true;
	case APIC_SIPI:
		l->wires->sipi(l->wires->arg, l->cpu, vector);
		return true;
	case APIC_EXTINT:
		l->extint = true;
		update(l);
		return true;
	default:
		return delivery == APIC_SMI;
	}
}

bool lapic_requested(const struct lapic *l, uint8_t vector)
{
	return test(l->irr, vector);
}

/* ---- local vectors */

/* An LVT entry's interrupt has happened: the timer, a LINT pin that rose or (level) is high. */
static void raise_local(struct lapic *l, unsigned which)
{
	uint32_t e = l->lvt[which];
	bool level = e & ENTRY_LEVEL;

	if (e & ENTRY_MASKED)
		return;
	switch (ENTRY_DELIVERY(e)) {
	case APIC_FIXED:
		if (level)
			l->lvt[which] |= ENTRY_REMOTE_IRR;
		accept_vector(l, e & ENTRY_VECTOR, level);
		break;
	case APIC_NMI:
		l->wires->nmi(l->wires->arg, l->cpu);
		break;
	case APIC_INIT:
		l->wires->init(l->wires->arg, l->cpu);
		break;
	default:	/* ExtINT follows the pin: extint_waits() */
		break;
	}
}

/* A LINT entry that is fixed and level-triggered asks for as long as its pin is high, once between EOIs. */
static void raise_level(struct lapic *l, unsigned pin)
{
	uint32_t e = l->lvt[LVT_LINT0 + pin];

	if (l->pin[pin] && e & ENTRY_LEVEL && !(e & ENTRY_REMOTE_IRR) && ENTRY_DELIVERY(e) == APIC_FIXED)
		raise_local(l, LVT_LINT0 + pin);
}

void lapic_lint(struct lapic *l, unsigned pin, bool level)
{
	bool rises = level && !l->pin[pin];
	uint32_t e = l->lvt[LVT_LINT0 + pin];

	l->pin[pin] = level;
	if (!hardware_on(l)) {
		if (pin == 1 && rises)
			l->wires->nmi(l->wires->arg, l->cpu);
	} else if (e & ENTRY_LEVEL && ENTRY_DELIVERY(e) == APIC_FIXED) {
		raise_level(l, pin);
	} else if (rises) {
		raise_local(l, LVT_LINT0 + pin);
	}
	update(l);
}

static void on_timer_expired(void *arg)
{
	struct lapic *l = arg;

	if (!(l->lvt[LVT_TIMER] & ENTRY_MASKED))
		accept_vector(l, l->lvt[LVT_TIMER] & ENTRY_VECTOR, false);
}

static bool timer_waits(void *arg)
{
	const struct lapic *l = arg;

	return test(l->irr, l->lvt[LVT_TIMER] & ENTRY_VECTOR);
}

static void write_lvt(struct lapic *l, unsigned which, uint32_t value)
{
	uint32_t kept = l->lvt[which] & ENTRY_REMOTE_IRR;

	if (!(value & ENTRY_LEVEL))
		kept = 0;
	if (!(l->svr & SVR_ENABLE))
		value |= ENTRY_MASKED;
	l->lvt[which] = (value & lvt_writable[which]) | kept;
	if (which == LVT_TIMER)
		lapic_timer_set_lvt(&l->timer, ENTRY_MODE(value), value & ENTRY_MASKED);
	else if (which == LVT_LINT0 || which == LVT_LINT1)
		raise_level(l, which - LVT_LINT0);
	update(l);
}

/* Software disable masks every entry; what is requested already stays so. */
static void write_svr(struct lapic *l, uint32_t value)
{
	l->svr = value & SVR_WRITABLE;
	if (l->svr & SVR_ENABLE)
		return;
	for (unsigned i = 0; i < LVTS; i++)
		write_lvt(l, i, l->lvt[i]);
}

/* ---- EOI */

static void end_of_interrupt(struct lapic *l)
{
	int v = highest(l->isr);

	if (v == NO_VECTOR)
		return;
	take(l->isr, v);
	update(l);
	if (!test(l->tmr, v))
		return;
	for (unsigned pin = 0; pin < PINS; pin++) {
		uint32_t *e = &l->lvt[LVT_LINT0 + pin];

		if (!(*e & ENTRY_REMOTE_IRR) || (*e & ENTRY_VECTOR) != (uint32_t)v)
			continue;
		*e &= ~ENTRY_REMOTE_IRR;
		raise_level(l, pin);
	}
	if (!(l->svr & SVR_NO_BROADCAST))
		l->wires->eoi(l->wires->arg, v);
}

/* ---- interprocessor interrupts */

static void send_to_self(struct lapic *l, uint8_t vector)
{
	if (vector < FIRST_VECTOR)
		error(l, ESR_SEND_VECTOR);
	else
		(void)lapic_takes(l, APIC_FIXED, vector, false);
}

static void send_ipi(struct lapic *l)
{
	uint32_t low = (uint32_t)l->icr;
	unsigned delivery = ENTRY_DELIVERY(low), to = ICR_SHORTHAND(low);
	struct apic_message m = {
		.dest = x2apic(l) ? l->icr >> 32 : apic_dest8(l->icr >> 56, low & ICR_LOGICAL),
		.logical = low & ICR_LOGICAL, .delivery = delivery, .vector = low & ENTRY_VECTOR,
	};

	if (delivery == APIC_INIT && low & ICR_LEVEL && !(low & ICR_ASSERT))
		return;		/* INIT level de-assert: arbitration IDs of old buses */
	if ((delivery == APIC_FIXED || delivery == APIC_LOWEST) && m.vector < FIRST_VECTOR) {
		error(l, ESR_SEND_VECTOR);
		return;
	}
	if (to == TO_SELF) {
		if (delivery == APIC_FIXED)	/* anything else to oneself is not allowed */
			send_to_self(l, m.vector);
		return;
	}
	if (to != TO_DEST) {
		m.dest = APIC_ALL;
		m.logical = false;
	}
	if (to == TO_OTHERS)
		apics_send_but(l->bus, &m, l->cpu);
	else
		apics_send(l->bus, &m);
}

/* ---- who is meant */

static uint32_t x2apic_ldr(const struct lapic *l)
{
	return l->cpu >> 4 << 16 | 1u << (l->cpu & 15);
}

static bool logically_addressed(const struct lapic *l, uint32_t dest)
{
	uint8_t mine = l->ldr >> 24;

	if (x2apic(l))
		return dest >> 16 == l->cpu >> 4 && dest & x2apic_ldr(l) & 0xffff;
	if (l->dfr >> 28 == 0)	/* clusters of four */
		return (dest >> 4 == mine >> 4u || (dest & 0xf0) == 0xf0) && dest & mine & 15;
	return dest & mine;
}

bool lapic_addressed(const struct lapic *l, uint32_t dest, bool logical)
{
	if (dest == APIC_ALL)
		return true;
	return logical ? logically_addressed(l, dest) : dest == l->cpu;
}

/* ---- registers */

static uint32_t read_reg(struct lapic *l, unsigned reg)
{
	switch (reg) {
	case REG_ID:
		return x2apic(l) ? l->cpu : l->cpu << 24;
	case REG_VERSION:
		return VERSION;
	case REG_TPR:
		return l->tpr;
	case REG_APR:
	case REG_PPR:
		return lapic_priority(l);
	case REG_EOI:
	case REG_RRD:
		return 0;
	case REG_LDR:
		return x2apic(l) ? x2apic_ldr(l) : l->ldr;
	case REG_DFR:
		return l->dfr;
	case REG_SVR:
		return l->svr;
	case REG_ISR ... REG_ISR + WORDS - 1:
		return l->isr[reg - REG_ISR];
	case REG_TMR ... REG_TMR + WORDS - 1:
		return l->tmr[reg - REG_TMR];
	case REG_IRR ... REG_IRR + WORDS - 1:
		return l->irr[reg - REG_IRR];
	case REG_ESR:
		return l->esr;
	case REG_ICR:
		return (uint32_t)l->icr;
	case REG_ICR_HIGH:
		return l->icr >> 32;
	case REG_LVT ... REG_LVT + LVTS - 1:
		return l->lvt[reg - REG_LVT];
	case REG_TIMER_INITIAL:
		return lapic_timer_initial(&l->timer);
	case REG_TIMER_CURRENT:
		return lapic_timer_current(&l->timer);
	case REG_TIMER_DIVIDE:
		return l->timer.divide;
	default:
		error(l, ESR_REGISTER);
		return 0;
	}
}

static void write_reg(struct lapic *l, unsigned reg, uint32_t value)
{
	switch (reg) {
	case REG_TPR:
		l->tpr = value;
		update(l);
		break;
	case REG_EOI:
		end_of_interrupt(l);
		break;
	case REG_LDR:
		l->ldr = value & 0xff000000;
		break;
	case REG_DFR:
		l->dfr = value | 0x0fffffff;
		break;
	case REG_SVR:
		write_svr(l, value);
		break;
	case REG_ESR:
		l->esr = l->errors;
		l->errors = 0;
		break;
	case REG_ICR:
		l->icr = (l->icr & ~(uint64_t)UINT32_MAX) | (value & ICR_WRITABLE);
		send_ipi(l);
		break;
	case REG_ICR_HIGH:
		l->icr = (uint32_t)l->icr | (uint64_t)(value & 0xff000000) << 32;
		break;
	case REG_LVT ... REG_LVT + LVTS - 1:
		write_lvt(l, reg - REG_LVT, value);
		break;
	case REG_TIMER_INITIAL:
		lapic_timer_set_count(&l->timer, value);
		break;
	case REG_TIMER_DIVIDE:
		lapic_timer_set_divide(&l->timer, value);
		break;
	case REG_ID:
	case REG_VERSION:
	case REG_APR:
	case REG_PPR:
	case REG_RRD:
	case REG_ISR ... REG_ISR + 3 * WORDS - 1:
	case REG_TIMER_CURRENT:
		break;		/* read-only */
	default:
		error(l, ESR_REGISTER);
		break;
	}
}

/* Registers are 32 bits wide at multiples of 16; the bytes between read as zeros. */
uint64_t lapic_read(struct lapic *l, uint64_t off, unsigned size)
{
	uint64_t value;

	if ((off & 15) >= 4)
		return 0;
	value = off >> 4 < REGS ? read_reg(l, off >> 4) : 0;
	value >>= (off & 3) * 8;
	return size < 8 ? value & ((1ull << size * 8) - 1) : value;
}

/* Narrower writes are undefined: they write the whole register, zero-extended, as processors seem to. */
void lapic_write(struct lapic *l, uint64_t off, unsigned size, uint64_t value)
{
	(void)size;
	if (!(off & 15) && off >> 4 < REGS && off >> 4 != REG_SELF_IPI)
		write_reg(l, off >> 4, (uint32_t)value);
}

/* ---- MSRs */

/* Bits that may be written, or 0 and `exists` false for what #GPs. */
static bool x2apic_writable(unsigned reg, uint64_t *bits)
{
	switch (reg) {
	case REG_TPR:
	case REG_SELF_IPI:
		*bits = 0xff;
		return true;
	case REG_EOI:
	case REG_ESR:
		*bits = 0;
		return true;
	case REG_SVR:
		*bits = SVR_WRITABLE;
		return true;
	case REG_ICR:
		*bits = (uint64_t)UINT32_MAX << 32 | ICR_WRITABLE;
		return true;
	case REG_LVT ... REG_LVT + LVTS - 1:	/* the read-only bits may be written back */
		*bits = lvt_writable[reg - REG_LVT] | 1u << 12 | ENTRY_REMOTE_IRR;
		return true;
	case REG_TIMER_INITIAL:
		*bits = UINT32_MAX;
		return true;
	case REG_TIMER_DIVIDE:
		*bits = 0xb;
		return true;
	default:
		return false;
	}
}

static bool x2apic_readable(unsigned reg)
{
	switch (reg) {
	case REG_ID:
	case REG_VERSION:
	case REG_TPR:
	case REG_PPR:
	case REG_LDR:
	case REG_SVR:
	case REG_ISR ... REG_ISR + 3 * WORDS - 1:
	case REG_ESR:
	case REG_ICR:
	case REG_LVT ... REG_LVT + LVTS - 1:
	case REG_TIMER_INITIAL:
	case REG_TIMER_CURRENT:
	case REG_TIMER_DIVIDE:
		return true;
	default:
		return false;
	}
}

bool lapic_msr_read(struct lapic *l, uint32_t msr, uint64_t *value)
{
	unsigned reg = msr - 0x800;

	if (!x2apic(l) || !x2apic_readable(reg))
		return false;
	*value = reg == REG_ICR ? l->icr : read_reg(l, reg);
	return true;
}

bool lapic_msr_write(struct lapic *l, uint32_t msr, uint64_t value)
{
	unsigned reg = msr - 0x800;
	uint64_t bits;

	if (!x2apic(l) || !x2apic_writable(reg, &bits) || value & ~bits)
		return false;
	if (reg == REG_SELF_IPI) {
		send_to_self(l, value);
	} else if (reg == REG_ICR) {
		l->icr = value;
		send_ipi(l);
	} else {
		write_reg(l, reg, (uint32_t)value);
	}
	return true;
}

uint64_t lapic_deadline(struct lapic *l)
{
	return lapic_timer_deadline(&l->timer);
}

void lapic_set_deadline(struct lapic *l, uint64_t value, uint64_t tsc)
{
	lapic_timer_set_deadline(&l->timer, value, tsc);
}

void lapic_tsc_moved(struct lapic *l, uint64_t tsc)
{
	lapic_timer_tsc_moved(&l->timer, tsc);
}

uint8_t lapic_cr8(const struct lapic *l)
{
	return l->tpr >> 4;
}

void lapic_set_cr8(struct lapic *l, uint8_t value)
{
	l->tpr = value << 4;
	update(l);
}

/* ---- IA32_APIC_BASE, life */

static void clear_registers(struct lapic *l)
{
	for (unsigned i = 0; i < WORDS; i++)
		l->isr[i] = l->irr[i] = l->tmr[i] = 0;
	for (unsigned i = 0; i < LVTS; i++)
		l->lvt[i] = ENTRY_MASKED;
	l->ldr = l->esr = l->errors = 0;
	l->dfr = UINT32_MAX;
	l->svr = 0xff;
	l->icr = 0;
	l->tpr = 0;
	l->extint = false;
	lapic_timer_reset(&l->timer);
}

static void tell_page(struct lapic *l)
{
	uint64_t page = hardware_on(l) && !x2apic(l) ? l->base & ~(uint64_t)(LAPIC_SPAN - 1) : 0;

	l->wires->page(l->wires->arg, l->cpu, page);
}

uint64_t lapic_base(const struct lapic *l)
{
	return l->base;
}

/* SDM vol. 3 figure 11-27: off -> xAPIC -> x2APIC -> off; no other way. */
static bool may_become(const struct lapic *l, uint64_t value)
{
	bool en = value & APIC_BASE_EN, extd = value & APIC_BASE_EXTD;

	if (extd && (!en || !hardware_on(l)))
		return false;
	return !(x2apic(l) && en && !extd);
}

bool lapic_set_base(struct lapic *l, uint64_t value)
{
	const uint64_t known = APIC_BASE_BSP | APIC_BASE_EXTD | APIC_BASE_EN | 0xffffffffff000ull;

	if (value & ~known || !may_become(l, value))
		return false;
	if ((value & APIC_BASE_EXTD) != (l->base & APIC_BASE_EXTD))
		l->icr = 0;
	l->base = value;
	if (!hardware_on(l))
		clear_registers(l);
	tell_page(l);
	update(l);
	return true;
}

void lapic_reset(struct lapic *l)
{
	l->base = LAPIC_BASE | APIC_BASE_EN | (l->cpu ? 0 : APIC_BASE_BSP);
	clear_registers(l);
	if (!l->cpu) {
		l->lvt[LVT_LINT0] = APIC_EXTINT << 8;
		l->lvt[LVT_LINT1] = APIC_NMI << 8;
	}
	tell_page(l);
	update(l);
}

struct lapic *lapic_new(struct apics *bus, unsigned cpu, struct timers *timers, uint64_t (*tsc_hz)(void), const struct apic_wires *wires)
{
	struct lapic *l = calloc(1, sizeof(*l));
	struct lapic_timer_wires t = { .expired = on_timer_expired, .waits = timer_waits, .arg = l };

	if (!l)
		return NULL;
	l->bus = bus;
	l->cpu = cpu;
	l->wires = wires;
	if (!lapic_timer_init(&l->timer, timers, tsc_hz, &t)) {
		free(l);
		return NULL;
	}
	lapic_reset(l);
	return l;
}

void lapic_free(struct lapic *l)
{
	if (!l)
		return;
	lapic_timer_fini(&l->timer);
	free(l);
}

bool lapic_check(const struct lapic *l)
{
	for (unsigned v = 0; v < FIRST_VECTOR; v++)
		if (test(l->irr, v) || test(l->isr, v))
			return false;
	return l->out == asks(l);
}
