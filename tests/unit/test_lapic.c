/* Local APICs by the SDM: priorities, EOI, LVT, the timer's modes, x2APIC, IPIs, destinations, messages, ExtINT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/dev/lapic.h"
#include "vmm/dev/lapic_timer.h"
#include "vmm/timer.h"

enum { CPUS = 4 };
enum {	/* MMIO */
	ID = 0x20, VERSION = 0x30, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0, SVR = 0xf0, ISR = 0x100,
	TMR = 0x180, IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR_HIGH = 0x310, LVT_TIMER = 0x320, LVT_THERMAL = 0x330,
	LVT_PERF = 0x340, LINT0 = 0x350, LINT1 = 0x360, LVT_ERROR = 0x370, INITIAL = 0x380, CURRENT = 0x390, DIVIDE = 0x3e0
};
enum { MASKED = 1 << 16, PERIODIC = 1 << 17, DEADLINE = 2 << 17, LEVEL = 1 << 15, NMI = 4 << 8, EXTINT = 7 << 8 };
enum { TSC_GHZ = 2 };	/* guest TSC ticks in a ns */

static struct timers *ts;
static struct apics *apics;
static bool intr[CPUS];
static unsigned nmis[CPUS], inits[CPUS], sipis[CPUS], eois;
static uint8_t sipi_vector, eoi_vector;
static uint64_t page[CPUS];

static void on_intr(void *arg, unsigned cpu, bool level)
{
	(void)arg;
	assert_int_not_equal(level, intr[cpu]);		/* only changes are told */
	intr[cpu] = level;
}

static void on_nmi(void *arg, unsigned cpu)
{
	(void)arg;
	nmis[cpu]++;
}

static void on_init(void *arg, unsigned cpu)
{
	(void)arg;
	inits[cpu]++;
}

static void on_sipi(void *arg, unsigned cpu, uint8_t vector)
{
	(void)arg;
	sipis[cpu]++;
	sipi_vector = vector;
}

static void on_eoi(void *arg, uint8_t vector)
{
	(void)arg;
	eois++;
	eoi_vector = vector;
}

static void on_page(void *arg, unsigned cpu, uint64_t base)
{
	(void)arg;
	page[cpu] = base;
}

static uint64_t tsc_hz(void)
{
	return TSC_GHZ * 1000000000ull;
}

static uint64_t tsc(void)
{
	return timers_now(ts) * TSC_GHZ;
}

static struct lapic *cpu(unsigned n)
{
	return apics_cpu(apics, n);
}

static uint32_t rd_of(unsigned n, unsigned reg)
{
	return (uint32_t)lapic_read(cpu(n), reg, 4);
}

static void wr_of(unsigned n, unsigned reg, uint32_t value)
{
	lapic_write(cpu(n), reg, 4, value);
	for (unsigned i = 0; i < CPUS; i++)
		assert_true(lapic_check(cpu(i)));
}

static uint32_t rd(unsigned reg)
{
	return rd_of(0, reg);
}

static void wr(unsigned reg, uint32_t value)
{
	wr_of(0, reg, value);
}

static bool bit(unsigned n, unsigned set, uint8_t v)
{
	return rd_of(n, set + v / 32 * 16) >> v % 32 & 1;
}

static void enable(void)
{
	for (unsigned i = 0; i < CPUS; i++)
		wr_of(i, SVR, 0x1ff);
}

static int setup(void **state)
{
	const struct apic_wires wires = {
		.intr = on_intr, .nmi = on_nmi, .init = on_init, .sipi = on_sipi, .eoi = on_eoi, .page = on_page,
	};

	(void)state;
	memset(intr, 0, sizeof(intr));
	memset(nmis, 0, sizeof(nmis));
	memset(inits, 0, sizeof(inits));
	memset(sipis, 0, sizeof(sipis));
	eois = 0;
	ts = timers_new(NULL, NULL, NULL, NULL);
	timers_advance(ts, 1000);
	apics = apics_new(ts, CPUS, tsc_hz, &wires);
	assert_non_null(apics);
	enable();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	apics_free(apics);
	timers_free(ts);
	return 0;
}

static bool fixed(unsigned n, uint8_t vector, bool level)
{
	return apics_send(apics, &(struct apic_message){ .dest = n, .vector = vector, .level = level });
}

static void takes_of(unsigned n, uint8_t vector)
{
	assert_true(intr[n]);
	assert_int_equal(lapic_acknowledge(cpu(n)), vector);
	assert_true(bit(n, ISR, vector));
	assert_false(bit(n, IRR, vector));
}

static void takes(uint8_t vector)
{
	takes_of(0, vector);
}

/* ---- registers */

static void power_on(void **state)
{
	(void)state;
	apics_reset(apics);
	assert_int_equal(lapic_base(cpu(0)), 0xfee00900);
	assert_int_equal(lapic_base(cpu(1)), 0xfee00800);
	assert_int_equal(page[0], 0xfee00000);
	assert_int_equal(rd(SVR), 0xff);
	assert_int_equal(rd(DFR), 0xffffffff);
	assert_int_equal(rd(VERSION), 0x01050014);
	assert_int_equal(rd_of(3, ID), 3 << 24);
	for (unsigned reg = LVT_TIMER; reg <= LVT_ERROR; reg += 16) {
		bool wired = reg == LINT0 || reg == LINT1;	/* virtual wire */

		assert_int_equal(rd_of(1, reg), MASKED);
		assert_int_equal(rd(reg), !wired ? MASKED : reg == LINT0 ? EXTINT : NMI);
	}
	assert_int_equal(timers_next(ts), UINT64_MAX);
	assert_false(fixed(0, 0x40, false));		/* disabled by software */
	assert_false(intr[0]);
}

static void widths(void **state)
{
	(void)state;
	assert_int_equal(lapic_read(cpu(2), ID + 3, 1), 2);
	assert_int_equal(lapic_read(cpu(0), VERSION, 1), 0x14);
	assert_int_equal(lapic_read(cpu(0), VERSION, 8), 0x01050014);
	assert_int_equal(lapic_read(cpu(0), VERSION + 4, 4), 0);
	lapic_write(cpu(0), TPR + 4, 4, 0x50);
	assert_int_equal(rd(TPR), 0);
	wr(LVT_TIMER, 0xffffffff);
	assert_int_equal(rd(LVT_TIMER), 0x000700ff);
	wr(LINT0, 0xffffffff);
	assert_int_equal(rd(LINT0), 0x0001a7ff);
	wr(LVT_ERROR, 0xffffffff);
	assert_int_equal(rd(LVT_ERROR), 0x000100ff);
	wr(ID, 0x55000000);
	assert_int_equal(rd(ID), 0);
}

static void software_disable_masks(void **state)
{
	(void)state;
	wr(LVT_TIMER, 0x30 | PERIODIC);
	wr(SVR, 0xff);
	assert_int_equal(rd(LVT_TIMER), 0x30 | PERIODIC | MASKED);
	wr(LVT_TIMER, 0x30);
	assert_int_equal(rd(LVT_TIMER), 0x30 | MASKED);
	wr(SVR, 0x1ff);
	assert_int_equal(rd(LVT_TIMER), 0x30 | MASKED);
	wr(LVT_TIMER, 0x30);
	assert_int_equal(rd(LVT_TIMER), 0x30);
}

/* ---- priorities */

static void nesting(void **state)
{
	(void)state;
	fixed(0, 0x41, false);
	fixed(0, 0x62, false);
	takes(0x62);
	assert_int_equal(rd(PPR), 0x60);
	assert_false(intr[0]);			/* 41h waits for its class */
	fixed(0, 0x6f, false);
	assert_false(intr[0]);			/* the same class does not nest */
	fixed(0, 0x71, false);
	takes(0x71);
	wr(EOI, 0);
	assert_false(bit(0, ISR, 0x71));
	assert_true(bit(0, ISR, 0x62));
	assert_false(intr[0]);
	wr(EOI, 0);
	takes(0x6f);
	wr(EOI, 0);
	takes(0x41);
	wr(EOI, 0);
	assert_int_equal(rd(PPR), 0);
	assert_int_equal(eois, 0);		/* edges are nobody else's affair */
	wr(EOI, 0);				/* one too many */
	assert_false(intr[0]);
}

static void task_priority(void **state)
{
	(void)state;
	wr(LINT0, MASKED);
	wr(TPR, 0x4f);
	assert_int_equal(rd(PPR), 0x4f);
	fixed(0, 0x4f, false);
	assert_false(intr[0]);
	assert_true(bit(0, IRR, 0x4f));
	wr(TPR, 0x3f);
	assert_true(intr[0]);
	wr(TPR, 0x40);
	assert_false(intr[0]);
	assert_int_equal(lapic_acknowledge(cpu(0)), 0xff);	/* too late: spurious, nothing in service */
	assert_true(bit(0, IRR, 0x4f));
	lapic_set_cr8(cpu(0), 3);
	assert_int_equal(rd(TPR), 0x30);
	assert_int_equal(lapic_cr8(cpu(0)), 3);
	takes(0x4f);
	assert_int_equal(rd(PPR), 0x40);
	wr(TPR, 0x45);				/* equal classes: TPR's own low half */
	assert_int_equal(rd(PPR), 0x45);
}

static void level_and_broadcast(void **state)
{
	(void)state;
	fixed(0, 0x50, true);
	assert_true(bit(0, TMR, 0x50));
	takes(0x50);
	wr(EOI, 0);
	assert_int_equal(eois, 1);
	assert_int_equal(eoi_vector, 0x50);
	fixed(0, 0x50, false);			/* the same vector as an edge */
	assert_false(bit(0, TMR, 0x50));
	takes(0x50);
	wr(EOI, 0);
	assert_int_equal(eois, 1);
	wr(SVR, 0x11ff);			/* broadcast suppressed */
	fixed(0, 0x50, true);
	takes(0x50);
	wr(EOI, 0);
	assert_int_equal(eois, 1);
}

/* ---- errors */

static void errors(void **state)
{
	(void)state;
	assert_true(fixed(0, 0x0f, false));	/* received illegal vector */
	assert_int_equal(rd(ESR), 0);		/* latched by a write */
	wr(ESR, 0);
	assert_int_equal(rd(ESR), 0x40);
	wr(ESR, 0);
	assert_int_equal(rd(ESR), 0);
	wr(ICR, 0x05);				/* send illegal vector */
	wr(ESR, 0);
	assert_int_equal(rd(ESR), 0x20);
	wr(LVT_ERROR, 0xe3);
	wr(0x40, 1);				/* illegal register */
	takes(0xe3);
	wr(EOI, 0);
	(void)rd(0x3f0);
	wr(ESR, 0);
	assert_int_equal(rd(ESR), 0x80);
	wr(LVT_ERROR, 0x03);			/* an error's own vector that cannot be: no end of errors otherwise */
	wr(0x40, 1);
	assert_false(bit(0, IRR, 3));
}

/* ---- timer */

static void one_shot(void **state)
{
	(void)state;
	wr(LVT_TIMER, 0x31);
	assert_int_equal(timers_next(ts), UINT64_MAX);
	wr(DIVIDE, 0xb);			/* by 1: 40 ns */
	wr(INITIAL, 1000);
	assert_int_equal(timers_next(ts), 1000 + 40000);
	timers_advance(ts, 10000);
	assert_int_equal(rd(CURRENT), 750);
	timers_advance(ts, 29999);
	assert_false(intr[0]);
	timers_advance(ts, 1);
	takes(0x31);
	assert_int_equal(rd(CURRENT), 0);
	assert_int_equal(rd(INITIAL), 1000);
	assert_int_equal(timers_next(ts), UINT64_MAX);
	wr(EOI, 0);
	wr(INITIAL, 10);
	wr(INITIAL, 0);				/* stops it */
	assert_int_equal(timers_next(ts), UINT64_MAX);
	timers_advance(ts, 100000);
	assert_false(intr[0]);
}

static void dividers(void **state)
{
	static const struct { uint8_t reg, by; } table[] = {
		{ 0x0, 2 }, { 0x1, 4 }, { 0x2, 8 }, { 0x3, 16 }, { 0x8, 32 }, { 0x9, 64 }, { 0xa, 128 }, { 0xb, 1 },
	};

	(void)state;
	wr(LVT_TIMER, 0x31 | MASKED);
	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		wr(DIVIDE, table[i].reg | 0xf4);
		assert_int_equal(rd(DIVIDE), table[i].reg);
		wr(INITIAL, 100);
		timers_advance(ts, 40 * table[i].by * 10);
		assert_int_equal(rd(CURRENT), 90);
	}
	wr(DIVIDE, 0);				/* in mid-count: what is left is left */
	assert_int_equal(rd(CURRENT), 90);
	timers_advance(ts, 800);
	assert_int_equal(rd(CURRENT), 80);
}

static void periodic(void **state)
{
	(void)state;
	wr(LVT_TIMER, 0x31 | PERIODIC);
	wr(DIVIDE, 0xb);
	wr(INITIAL, 25000);			/* 1 ms */
	for (unsigned i = 0; i < 5; i++) {
		timers_advance(ts, 999999);
		assert_false(intr[0]);
		timers_advance(ts, 1);
		takes(0x31);
		wr(EOI, 0);
	}
	timers_advance(ts, 250000);
	assert_int_equal(rd(CURRENT), 18750);
	timers_advance(ts, 750000);
	assert_true(intr[0]);
	assert_int_equal(timers_next(ts), UINT64_MAX);	/* not taken: another one would not be seen */
	timers_advance(ts, 10500000);
	takes(0x31);
	assert_int_equal(timers_next(ts) - timers_now(ts), 500000);	/* in step */
}

static void periodic_floor(void **state)
{
	unsigned n = 0;

	(void)state;
	wr(LVT_TIMER, 0x31 | PERIODIC);
	wr(DIVIDE, 0xb);
	wr(INITIAL, 1);				/* 25 MHz */
	for (unsigned i = 0; i < 1000; i++) {	/* 10 ms */
		timers_advance(ts, 10000);
		if (intr[0]) {
			lapic_acknowledge(cpu(0));
			wr(EOI, 0);
			n++;
		}
	}
	assert_in_range(n, 90, 101);
}

static void masked_timer(void **state)
{
	(void)state;
	wr(DIVIDE, 0xb);
	wr(LVT_TIMER, 0x31 | MASKED);
	wr(INITIAL, 1000);
	assert_int_equal(timers_next(ts), UINT64_MAX);
	wr(LVT_TIMER, 0x31);
	assert_int_equal(timers_next(ts), 41000);
	wr(LVT_TIMER, 0x31 | MASKED);
	timers_advance(ts, 50000);
	wr(LVT_TIMER, 0x31);			/* it passed unheard */
	assert_false(intr[0]);
	assert_int_equal(timers_next(ts), UINT64_MAX);
	wr(LVT_TIMER, 0x31 | PERIODIC | MASKED);
	wr(INITIAL, 25000);
	assert_int_equal(timers_next(ts), UINT64_MAX);
	timers_advance(ts, 2500000);
	assert_int_equal(rd(CURRENT), 12500);
	wr(LVT_TIMER, 0x31 | PERIODIC);
	assert_int_equal(timers_next(ts) - timers_now(ts), 500000);
}

static void deadline(void **state)
{
	(void)state;
	lapic_set_deadline(cpu(0), tsc() + 100, tsc());		/* another mode: ignored */
	assert_int_equal(lapic_deadline(cpu(0)), 0);
	wr(LVT_TIMER, 0x32 | DEADLINE);
	wr(INITIAL, 100);					/* likewise */
	assert_int_equal(rd(INITIAL), 0);
	lapic_set_deadline(cpu(0), tsc() + 2000001, tsc());
	assert_int_equal(lapic_deadline(cpu(0)), tsc() + 2000001);
	assert_int_equal(timers_next(ts) - timers_now(ts), 1000001);	/* rounded up: never early */
	assert_int_equal(rd(CURRENT), 0);
	timers_advance(ts, 1000000);
	assert_false(intr[0]);
	timers_advance(ts, 1);
	takes(0x32);
	assert_int_equal(lapic_deadline(cpu(0)), 0);		/* disarmed by its expiry */
	wr(EOI, 0);
	lapic_set_deadline(cpu(0), tsc() - 5, tsc());		/* past: at once */
	takes(0x32);
	wr(EOI, 0);
	lapic_set_deadline(cpu(0), tsc() + 5000, tsc());
	lapic_set_deadline(cpu(0), 0, tsc());			/* disarmed */
	assert_int_equal(timers_next(ts), UINT64_MAX);
	lapic_set_deadline(cpu(0), UINT64_MAX, tsc());		/* for ever */
	assert_true(timers_next(ts) > 1ull << 60);
	lapic_tsc_moved(cpu(0), UINT64_MAX - 2000);		/* the guest sets its TSC */
	assert_int_equal(timers_next(ts) - timers_now(ts), 1000);
	wr(LVT_TIMER, 0x32);					/* leaving the mode disarms */
	assert_int_equal(timers_next(ts), UINT64_MAX);
	wr(LVT_TIMER, 0x32 | DEADLINE);
	assert_int_equal(lapic_deadline(cpu(0)), 0);
	wr(LVT_TIMER, 0x32 | DEADLINE | MASKED);
	lapic_set_deadline(cpu(0), tsc() + 2000, tsc());
	assert_int_equal(timers_next(ts), UINT64_MAX);
	timers_advance(ts, 1001);
	assert_int_equal(lapic_deadline(cpu(0)), 0);
	wr(LVT_TIMER, 0x32 | DEADLINE);
	assert_false(intr[0]);
}

/* ---- local pins */

static void extint(void **state)
{
	(void)state;
	wr(LINT0, EXTINT);
	wr(TPR, 0xff);				/* the 8259As do not know priorities */
	apics_lint(apics, 0, true);
	assert_true(intr[0]);
	assert_false(intr[1]);			/* masked there */
	assert_int_equal(lapic_acknowledge(cpu(0)), LAPIC_EXTINT);
	assert_true(intr[0]);			/* for as long as the pin is high */
	wr(TPR, 0);
	fixed(0, 0x33, false);
	takes(0x33);				/* the APIC's own first */
	assert_int_equal(lapic_acknowledge(cpu(0)), LAPIC_EXTINT);
	wr(LINT0, EXTINT | MASKED);
	assert_false(intr[0]);
	wr(LINT0, EXTINT);
	assert_true(intr[0]);
	apics_lint(apics, 0, false);
	assert_false(intr[0]);
	assert_true(apics_send(apics, &(struct apic_message){ .dest = 1, .delivery = APIC_EXTINT }));
	assert_int_equal(lapic_acknowledge(cpu(0)), LAPIC_EXTINT);	/* it fell too late: they say what is spurious */
	assert_true(intr[1]);			/* as a message: until it is acknowledged */
	assert_int_equal(lapic_acknowledge(cpu(1)), LAPIC_EXTINT);
	assert_false(intr[1]);
}

static void extint_before_setup(void **state)
{
	(void)state;
	apics_reset(apics);
	apics_lint(apics, 0, true);
	assert_true(intr[0]);
	assert_false(intr[1]);
	assert_int_equal(lapic_acknowledge(cpu(0)), LAPIC_EXTINT);
}

static void lint_modes(void **state)
{
	(void)state;
	wr(LINT1, NMI);
	apics_lint(apics, 1, true);
	apics_lint(apics, 1, true);
	assert_int_equal(nmis[0], 1);
	assert_int_equal(nmis[1], 0);
	apics_lint(apics, 1, false);
	wr(LINT1, 0x45);			/* fixed, edge */
	apics_lint(apics, 1, true);
	takes(0x45);
	wr(EOI, 0);
	assert_false(intr[0]);
	apics_lint(apics, 1, false);
	wr(LINT1, 0x46 | LEVEL);
	apics_lint(apics, 1, true);
	assert_int_equal(rd(LINT1), 0x46 | LEVEL | 1 << 14);
	takes(0x46);
	wr(EOI, 0);				/* still high: again */
	takes(0x46);
	apics_lint(apics, 1, false);
	wr(EOI, 0);
	assert_false(intr[0]);
	assert_int_equal(rd(LINT1), 0x46 | LEVEL);
}

/* ---- IPIs and destinations */

static void ipi(unsigned from, uint32_t dest, uint32_t low)
{
	wr_of(from, ICR_HIGH, dest << 24);
	wr_of(from, ICR, low);
	assert_int_equal(rd_of(from, ICR) & 1 << 12, 0);	/* delivered */
}

static unsigned heard(uint8_t vector)	/* a bit for each processor; and they forget it */
{
	unsigned mask = 0;

	for (unsigned i = 0; i < CPUS; i++) {
		if (!bit(i, IRR, vector))
			continue;
		mask |= 1u << i;
		takes_of(i, vector);
		wr_of(i, EOI, 0);
	}
	return mask;
}

static void ipis(void **state)
{
	(void)state;
	ipi(1, 2, 0x80);
	assert_int_equal(heard(0x80), 4);
	ipi(1, 0xff, 0x80);
	assert_int_equal(heard(0x80), 15);
	ipi(1, 0, 0x80 | 1 << 18);		/* self */
	assert_int_equal(heard(0x80), 2);
	ipi(1, 0, 0x80 | 2 << 18);		/* all */
	assert_int_equal(heard(0x80), 15);
	ipi(1, 0, 0x80 | 3 << 18);		/* the others */
	assert_int_equal(heard(0x80), 13);
	ipi(1, 9, 0x80);			/* nobody */
	assert_int_equal(heard(0x80), 0);
	ipi(0, 0, 0xc4500);			/* as firmware starts the others */
	ipi(0, 0, 0xc8500);			/* de-assert: old buses */
	ipi(0, 0, 0xc4609);
	for (unsigned i = 0; i < CPUS; i++) {
		assert_int_equal(inits[i], i > 0);
		assert_int_equal(sipis[i], i > 0);
	}
	assert_int_equal(sipi_vector, 9);
	ipi(0, 3, NMI);
	assert_int_equal(nmis[3], 1);
	ipi(0, 0, NMI | 1 << 18);		/* to oneself only fixed ones */
	assert_int_equal(nmis[0], 0);
}

static void logical(void **state)
{
	(void)state;
	for (unsigned i = 0; i < CPUS; i++) {
		wr_of(i, LDR, 1u << (24 + i) | 0xffff);
		assert_int_equal(rd_of(i, LDR), 1u << (24 + i));
	}
	ipi(0, 0x0a, 0x80 | 1 << 11);
	assert_int_equal(heard(0x80), 10);
	ipi(0, 0xff, 0x80 | 1 << 11);
	assert_int_equal(heard(0x80), 15);
	for (unsigned i = 0; i < CPUS; i++) {	/* clusters: 0 and 1 in the first, 2 and 3 in the second */
		wr_of(i, DFR, 0x0fffffff);
		wr_of(i, LDR, (i / 2 << 4 | 1u << i % 2) << 24);
	}
	ipi(0, 0x13, 0x80 | 1 << 11);
	assert_int_equal(heard(0x80), 12);
	ipi(0, 0x02, 0x80 | 1 << 11);
	assert_int_equal(heard(0x80), 2);
	ipi(0, 0xf1, 0x80 | 1 << 11);
	assert_int_equal(heard(0x80), 5);
}

static void lowest(void **state)
{
	struct apic_message m = { .dest = APIC_ALL, .delivery = APIC_LOWEST, .vector = 0x90 };
	unsigned all = 0;

	(void)state;
	wr_of(0, TPR, 0x20);
	wr_of(1, TPR, 0x10);
	wr_of(2, TPR, 0x20);
	wr_of(3, TPR, 0x30);
	assert_true(apics_send(apics, &m));
	assert_int_equal(heard(0x90), 2);
	for (unsigned i = 0; i < CPUS; i++)
		wr_of(i, TPR, 0);
	for (unsigned i = 0; i < CPUS; i++) {
		unsigned one;

		assert_true(apics_send(apics, &m));
		one = heard(0x90);
		assert_int_equal(one & (one - 1), 0);
		all |= one;
	}
	assert_int_equal(all, 15);		/* in turn */
	wr_of(1, SVR, 0xff);
	for (unsigned i = 0; i < 2 * CPUS; i++) {
		assert_true(apics_send(apics, &m));
		assert_int_equal(heard(0x90) & 2, 0);
	}
}

static void msi(void **state)
{
	(void)state;
	assert_true(apics_msi(apics, 0xfee02000, 0x0060));
	assert_int_equal(heard(0x60), 4);
	assert_true(apics_msi(apics, 0xfee01000, 0xc061));	/* level, assert */
	assert_true(bit(1, TMR, 0x61));
	assert_int_equal(heard(0x61), 2);
	assert_false(apics_msi(apics, 0xfee01000, 0x8061));	/* level, de-assert */
	assert_int_equal(heard(0x61), 0);
	assert_true(apics_msi(apics, 0xfeeff000, 0x0400));
	for (unsigned i = 0; i < CPUS; i++)
		assert_int_equal(nmis[i], 1);
	wr_of(3, LDR, 0x08000000);
	assert_true(apics_msi(apics, 0xfee0800c, 0x0162));	/* logical, lowest priority */
	assert_int_equal(heard(0x62), 8);
	assert_false(apics_msi(apics, 0xfed02000, 0x0060));	/* that would be memory */
	assert_false(apics_msi(apics, 0x1fee02000, 0x0060));
	assert_int_equal(heard(0x60), 0);
}

static void requested(void **state)
{
	struct apic_message m = { .dest = 1, .vector = 0x70 };

	(void)state;
	assert_false(apics_requested(apics, &m));
	apics_send(apics, &m);
	assert_true(apics_requested(apics, &m));
	m.dest = APIC_ALL;
	assert_false(apics_requested(apics, &m));
}

/* ---- x2APIC, IA32_APIC_BASE */

static uint64_t x_rd(unsigned n, uint32_t msr)
{
	uint64_t v = 0xdead;

	assert_true(lapic_msr_read(cpu(n), msr, &v));
	return v;
}

static void base_transitions(void **state)
{
	const uint64_t xapic = 0xfee00900, x2 = 0xfee00d00, off = 0xfee00100;
	uint64_t v;

	(void)state;
	assert_false(lapic_msr_read(cpu(0), 0x802, &v));	/* #GP in xAPIC mode */
	assert_false(lapic_msr_write(cpu(0), 0x80b, 0));
	assert_false(lapic_set_base(cpu(0), xapic | 1));	/* reserved */
	assert_false(lapic_set_base(cpu(0), off | APIC_BASE_EXTD));
	assert_true(lapic_set_base(cpu(0), 0xfd000900));	/* elsewhere */
	assert_int_equal(page[0], 0xfd000000);
	assert_true(lapic_set_base(cpu(0), x2));
	assert_int_equal(page[0], 0);				/* not in memory any more */
	assert_int_equal(lapic_base(cpu(0)), x2);
	assert_false(lapic_set_base(cpu(0), xapic));
	assert_true(lapic_set_base(cpu(0), x2));
	wr(TPR, 0x20);
	assert_true(lapic_set_base(cpu(0), off));
	assert_int_equal(lapic_cr8(cpu(0)), 0);			/* switched off: forgotten */
	assert_false(lapic_set_base(cpu(0), x2));
	assert_false(fixed(0, 0x40, false));
	apics_lint(apics, 0, true);				/* the pin is INTR */
	assert_true(intr[0]);
	assert_int_equal(lapic_acknowledge(cpu(0)), LAPIC_EXTINT);
	apics_lint(apics, 0, false);
	apics_lint(apics, 1, true);
	assert_int_equal(nmis[0], 1);
	assert_true(lapic_set_base(cpu(0), xapic));
	assert_int_equal(page[0], 0xfee00000);
	assert_int_equal(rd(SVR), 0xff);
}

static void x2apic(void **state)
{
	uint64_t v;

	(void)state;
	for (unsigned i = 0; i < CPUS; i++)
		assert_true(lapic_set_base(cpu(i), lapic_base(cpu(i)) | APIC_BASE_EXTD));
	assert_int_equal(x_rd(3, 0x802), 3);
	assert_int_equal(x_rd(3, 0x80d), 8);
	assert_int_equal(x_rd(0, 0x803), 0x01050014);
	assert_true(lapic_msr_write(cpu(0), 0x830, 2ull << 32 | 0x80));
	assert_int_equal(x_rd(0, 0x830), 2ull << 32 | 0x80);
	assert_int_equal(heard(0x80), 4);
	assert_true(lapic_msr_write(cpu(0), 0x830, (uint64_t)UINT32_MAX << 32 | 0x80));
	assert_int_equal(heard(0x80), 15);
	assert_true(lapic_msr_write(cpu(0), 0x830, 0xffull << 32 | 0x80));	/* processor 255 */
	assert_int_equal(heard(0x80), 0);
	assert_true(lapic_msr_write(cpu(0), 0x830, 5ull << 32 | 0x880));	/* logical, cluster 0 */
	assert_int_equal(heard(0x80), 5);
	assert_true(lapic_msr_write(cpu(0), 0x830, 0x10005ull << 32 | 0x880));	/* cluster 1 */
	assert_int_equal(heard(0x80), 0);
	assert_true(lapic_msr_write(cpu(0), 0x83f, 0x81));	/* self IPI */
	assert_int_equal(heard(0x81), 1);
	assert_true(lapic_msr_write(cpu(0), 0x80b, 0));
	assert_true(apics_msi(apics, 0xfeeff000, 0x0060));	/* 8-bit senders reach all */
	assert_int_equal(heard(0x60), 15);

	static const struct { uint32_t msr; uint64_t bad; } refused[] = {
		{ 0x802, 0 }, { 0x803, 0 }, { 0x808, 0x100 }, { 0x80a, 0 }, { 0x80b, 1 }, { 0x80d, 0 }, { 0x80e, 0 },
		{ 0x80f, 0x200 }, { 0x810, 0 }, { 0x828, 1 }, { 0x82f, 0 }, { 0x830, 1 << 20 }, { 0x831, 0 },
		{ 0x832, 1 << 19 }, { 0x835, 1 << 11 }, { 0x837, 0x100 }, { 0x838, 1ull << 32 }, { 0x839, 0 }, { 0x83e, 4 },
		{ 0x83f, 0x100 }, { 0x840, 0 }, { 0x8ff, 0 },
	};
	for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		assert_false(lapic_msr_write(cpu(0), refused[i].msr, refused[i].bad));
	static const uint32_t unreadable[] = { 0x800, 0x809, 0x80b, 0x80e, 0x82f, 0x831, 0x83f, 0x840, 0x8ff };
	for (unsigned i = 0; i < sizeof(unreadable) / sizeof(unreadable[0]); i++)
		assert_false(lapic_msr_read(cpu(0), unreadable[i], &v));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(power_on), T(widths), T(software_disable_masks),
		T(nesting), T(task_priority), T(level_and_broadcast), T(errors),
		T(one_shot), T(dividers), T(periodic), T(periodic_floor), T(masked_timer), T(deadline),
		T(extint), T(extint_before_setup), T(lint_modes),
		T(ipis), T(logical), T(lowest), T(msi), T(requested),
		T(base_transitions), T(x2apic),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
