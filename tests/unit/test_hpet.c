/* The HPET by its specification: counter, one-shot and periodic, 32 bits, levels, routes, messages, legacy replacement. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/dev/hpet.h"
#include "vmm/timer.h"

enum { CAP = 0x00, CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0 };
#define T_CONFIG(n)	(0x100 + 0x20 * (n))
#define T_CMP(n)	(0x108 + 0x20 * (n))
#define T_FSB_ROUTE(n)	(0x110 + 0x20 * (n))
enum { ENABLE = 1, LEGACY = 2 };
enum { LEVEL = 2, INT = 4, PERIODIC = 8, SET = 0x40, NARROW = 0x100, FSB = 0x4000 };
#define ROUTE(n) ((n) << 9)
#define FIXED 0x00f0000000008030ull

enum { LINES = 24, TICK = 10 };

static struct timers *ts;
static struct hpet *hpet;
static bool line[LINES], masked, pending;
static unsigned rises[LINES], msis, legacies;
static bool legacy;
static uint64_t msi_addr;
static uint32_t msi_data;

static void on_set(void *arg, unsigned gsi, bool level)
{
	(void)arg;
	assert_true(gsi < LINES);
	rises[gsi] += level && !line[gsi];
	line[gsi] = level;
}

static bool on_pending(void *arg, unsigned gsi)
{
	(void)arg, (void)gsi;
	return pending;
}

static bool on_masked(void *arg, unsigned gsi)
{
	(void)arg, (void)gsi;
	return masked;
}

static void on_msi(void *arg, uint64_t addr, uint32_t data)
{
	(void)arg;
	msis++;
	msi_addr = addr;
	msi_data = data;
}

static void on_legacy(void *arg, bool on)
{
	(void)arg;
	assert_int_not_equal(on, legacy);
	legacy = on;
	legacies++;
}

static int setup(void **state)
{
	static const struct line_ops ops = { .set = on_set, .pending = on_pending, .masked = on_masked };
	const struct hpet_wires wires = { .line = &ops, .msi = on_msi, .legacy = on_legacy };

	(void)state;
	memset(line, 0, sizeof(line));
	memset(rises, 0, sizeof(rises));
	msis = legacies = 0;
	legacy = masked = pending = false;
	ts = timers_new(NULL, NULL, NULL, NULL);
	timers_advance(ts, 12345670);
	hpet = hpet_new(ts, &wires);
	return !hpet;
}

static int teardown(void **state)
{
	(void)state;
	hpet_free(hpet);
	timers_free(ts);
	return 0;
}

static uint64_t rd(unsigned reg)
{
	return hpet_read(hpet, reg, 8);
}

static void wr(unsigned reg, uint64_t value)
{
	hpet_write(hpet, reg, 8, value);
}

static void ticks(uint64_t n)
{
	timers_advance(ts, n * TICK);
}

static void capabilities(void **state)
{
	(void)state;
	assert_int_equal(rd(CAP), (uint64_t)HPET_PERIOD_FS << 32 | 0x8086a201);
	assert_int_equal(hpet_read(hpet, CAP + 4, 4), HPET_PERIOD_FS);
	wr(CAP, 0);
	assert_int_equal(hpet_read(hpet, CAP, 4), 0x8086a201);
	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		assert_int_equal(rd(T_CONFIG(i)), FIXED);
		assert_int_equal(rd(T_CMP(i)), UINT64_MAX);
		wr(T_CONFIG(i), UINT64_MAX);
		assert_int_equal(rd(T_CONFIG(i)), FIXED | 0x7f4e);
		wr(T_CONFIG(i), 0);
	}
	assert_int_equal(rd(T_CONFIG(HPET_TIMERS)), 0);
	wr(T_CMP(HPET_TIMERS), 5);
	assert_int_equal(rd(0x08), 0);
	assert_int_equal(timers_next(ts), UINT64_MAX);
}

static void counter(void **state)
{
	(void)state;
	ticks(100);
	assert_int_equal(rd(COUNTER), 0);		/* halted */
	wr(COUNTER, 0x1fffffff0ull);
	wr(CONFIG, ENABLE);
	ticks(0x20);
	assert_int_equal(rd(COUNTER), 0x200000010ull);
	assert_int_equal(hpet_read(hpet, COUNTER, 4), 0x10);
	assert_int_equal(hpet_read(hpet, COUNTER + 4, 4), 2);
	wr(CONFIG, 0);
	ticks(100);
	assert_int_equal(rd(COUNTER), 0x200000010ull);	/* it stands */
	hpet_write(hpet, COUNTER + 4, 4, 7);
	assert_int_equal(rd(COUNTER), 0x700000010ull);
	wr(CONFIG, ENABLE);
	ticks(1);
	assert_int_equal(rd(COUNTER), 0x700000011ull);
}

static void one_shot(void **state)
{
	(void)state;
	wr(T_CONFIG(2), INT | ROUTE(21));
	wr(T_CMP(2), 500);
	assert_int_equal(timers_next(ts), UINT64_MAX);	/* the counter is halted */
	wr(CONFIG, ENABLE);
	assert_int_equal(timers_next(ts) - timers_now(ts), 5000);
	ticks(499);
	assert_false(line[21]);
	ticks(1);
	assert_int_equal(rises[21], 1);
	assert_int_equal(rd(STATUS), 0);		/* an edge leaves none */
	ticks(1000000);
	assert_int_equal(rises[21], 1);
	wr(T_CMP(2), 500);				/* past: not before the counter wraps */
	ticks(1000000);
	assert_int_equal(rises[21], 1);
	wr(T_CMP(2), rd(COUNTER) + 10);
	ticks(10);
	assert_int_equal(rises[21], 2);			/* another edge, though nobody took the first */
	wr(T_CMP(2), rd(COUNTER) + 10);
	wr(T_CONFIG(2), ROUTE(21));
	assert_int_equal(timers_next(ts), UINT64_MAX);
	ticks(20);
	assert_int_equal(rises[21], 2);
}

static void narrow(void **state)
{
	(void)state;
	wr(COUNTER, 0xfffffffff0ull);
	wr(T_CONFIG(0), INT | NARROW | ROUTE(20));
	wr(T_CMP(0), 0xaaaaaaaa00000010ull);
	assert_int_equal(rd(T_CMP(0)), 0x10);
	wr(CONFIG, ENABLE);
	ticks(0x1f);
	assert_int_equal(rises[20], 0);
	ticks(1);
	assert_int_equal(rises[20], 1);
	assert_int_equal(timers_next(ts) - timers_now(ts), (1ull << 32) * TICK);	/* a wrap later again */
	ticks(1ull << 32);
	assert_int_equal(rises[20], 2);
}

static void narrow_periodic(void **state)
{
	(void)state;
	wr(T_CONFIG(0), NARROW | PERIODIC | SET | ROUTE(20));
	wr(T_CMP(0), 1000);
	wr(T_CMP(0), 1ull << 40 | 100);			/* 100 */
	wr(CONFIG, ENABLE);
	ticks(1350);
	assert_int_equal(rd(T_CMP(0)), 1400);
}

/* Written past a comparator, the counter has not met it. */
static void counter_jumps(void **state)
{
	(void)state;
	wr(T_CONFIG(0), INT | ROUTE(20));
	wr(T_CMP(0), 500);
	wr(CONFIG, ENABLE);
	ticks(100);
	wr(COUNTER, 1000);
	ticks(100);
	assert_int_equal(rises[20], 0);
	wr(COUNTER, 450);
	assert_int_equal(rises[20], 0);
	ticks(50);
	assert_int_equal(rises[20], 1);
}

static void wide_wrap(void **state)
{
	(void)state;
	wr(COUNTER, UINT64_MAX - 9);
	wr(T_CONFIG(0), INT | ROUTE(20));
	wr(T_CMP(0), 5);
	wr(CONFIG, ENABLE);
	ticks(14);
	assert_int_equal(rises[20], 0);
	ticks(1);
	assert_int_equal(rises[20], 1);
}

static void periodic(void **state)
{
	(void)state;
	wr(CONFIG, ENABLE);
	wr(T_CONFIG(0), INT | PERIODIC | SET | ROUTE(22));
	wr(T_CMP(0), 150000);				/* the first */
	assert_int_equal(rd(T_CONFIG(0)) & SET, 0);
	wr(T_CMP(0), 100000);				/* the period: 1 ms */
	assert_int_equal(rd(T_CMP(0)), 150000);
	ticks(149999);
	assert_int_equal(rises[22], 0);
	ticks(1);
	assert_int_equal(rises[22], 1);
	assert_int_equal(rd(T_CMP(0)), 250000);
	for (unsigned i = 2; i < 10; i++) {
		ticks(99999);
		assert_int_equal(rises[22], i - 1);
		ticks(1);
		assert_int_equal(rises[22], i);
	}
	wr(T_CONFIG(0), PERIODIC | ROUTE(22));		/* silent, it goes on */
	ticks(1000000);
	assert_int_equal(rd(T_CMP(0)), 150000 + 100000 * 19);
	assert_int_equal(rises[22], 9);
}

static void periodic_floor(void **state)
{
	(void)state;
	wr(CONFIG, ENABLE);
	wr(T_CONFIG(0), INT | PERIODIC | SET | ROUTE(22));
	wr(T_CMP(0), 1);
	wr(T_CMP(0), 1);				/* 100 MHz */
	ticks(1000000);					/* 10 ms */
	assert_in_range(rises[22], 90, 102);
	wr(T_CONFIG(0), INT | PERIODIC | SET | ROUTE(22));
	wr(T_CMP(0), 0);				/* no period at all */
	assert_int_equal(timers_next(ts), UINT64_MAX);
}

/* Ticks that the guest could not take in time come later, at no more than twice the rate. */
static void replays(void **state)
{
	unsigned before;

	(void)state;
	wr(CONFIG, ENABLE);
	wr(T_CONFIG(0), INT | PERIODIC | SET | ROUTE(22));
	wr(T_CMP(0), 100000);
	wr(T_CMP(0), 100000);
	ticks(100001);
	pending = true;
	ticks(400000);
	assert_int_equal(rises[22], 1);			/* five are due, one has been seen */
	pending = false;
	for (unsigned i = 0; i < 40; i++) {		/* quarter periods */
		before = rises[22];
		ticks(25000);
		assert_true(rises[22] - before <= 1);
	}
	assert_int_equal(rises[22], 1 + 4 + 10);
	ticks(100000);
	assert_int_equal(rises[22], 1 + 4 + 11);

	pending = true;
	ticks(400000);
	masked = true;
	hpet_lines_changed(hpet);
	masked = pending = false;
	hpet_lines_changed(hpet);
	before = rises[22];
	ticks(1000000);
	assert_int_equal(rises[22] - before, 10);	/* nothing is owed for the time behind the mask */

	pending = true;
	ticks(400000);
	pending = false;
	wr(T_CONFIG(0), INT | PERIODIC | ROUTE(22));
	before = rises[22];
	ticks(1000000);
	assert_int_equal(rises[22] - before, 10);	/* nor since before it was programmed */
}

static void levels(void **state)
{
	(void)state;
	wr(CONFIG, ENABLE);
	wr(T_CONFIG(1), INT | LEVEL | PERIODIC | SET | ROUTE(23));
	wr(T_CMP(1), 100000);
	ticks(100000);
	assert_true(line[23]);
	assert_int_equal(rd(STATUS), 2);
	assert_int_equal(timers_next(ts), UINT64_MAX);	/* high: more would not be seen */
	ticks(1050000);
	wr(STATUS, 5);
	assert_true(line[23]);
	wr(STATUS, 2);
	assert_false(line[23]);
	assert_int_equal(rd(STATUS), 0);
	assert_int_equal(timers_next(ts) - timers_now(ts), 500000);
	ticks(50000);
	assert_true(line[23]);
	wr(T_CONFIG(1), LEVEL | PERIODIC | ROUTE(23));	/* disabled: the line falls, the status stays */
	assert_false(line[23]);
	assert_int_equal(rd(STATUS), 2);
	wr(T_CONFIG(1), INT | LEVEL | PERIODIC | ROUTE(23));
	assert_true(line[23]);
	hpet_write(hpet, STATUS + 4, 4, 0);		/* the other half clears nothing */
	assert_true(line[23]);
	hpet_write(hpet, STATUS, 4, 2);
	assert_false(line[23]);
	wr(T_CONFIG(1), LEVEL | PERIODIC | ROUTE(23));
	ticks(100000);
	assert_int_equal(rd(STATUS), 2);		/* by polling */
	assert_false(line[23]);
}

static void messages(void **state)
{
	(void)state;
	wr(T_FSB_ROUTE(1), 0xfee01000ull << 32 | 0x4123);
	wr(T_CONFIG(1), INT | FSB | ROUTE(21));
	wr(T_CMP(1), 10);
	wr(CONFIG, ENABLE);
	ticks(10);
	assert_int_equal(msis, 1);
	assert_int_equal(msi_addr, 0xfee01000);
	assert_int_equal(msi_data, 0x4123);
	assert_int_equal(rises[21], 0);
	assert_int_equal(rd(T_FSB_ROUTE(1)), 0xfee01000ull << 32 | 0x4123);
}

static void legacy_replacement(void **state)
{
	(void)state;
	wr(T_CONFIG(0), INT | ROUTE(20));
	wr(T_CMP(0), 10);
	wr(T_CONFIG(1), INT | ROUTE(21));
	wr(T_CMP(1), 20);
	wr(T_CONFIG(2), INT | ROUTE(22));
	wr(T_CMP(2), 30);
	wr(CONFIG, ENABLE | LEGACY);
	assert_true(legacy);
	ticks(30);
	assert_int_equal(rises[0], 1);
	assert_int_equal(rises[8], 1);
	assert_int_equal(rises[20] + rises[21], 0);
	assert_int_equal(rises[22], 1);			/* the third is not replaced */
	wr(CONFIG, ENABLE | LEGACY);
	assert_int_equal(legacies, 1);
	wr(CONFIG, ENABLE);
	assert_false(legacy);
	assert_false(line[0]);
	assert_false(line[8]);
	wr(CONFIG, LEGACY);
	hpet_reset(hpet);
	assert_false(legacy);
	assert_int_equal(rd(CONFIG), 0);
}

/* A pin that it does not say it can reach. */
static void bad_route(void **state)
{
	(void)state;
	wr(T_CONFIG(0), INT | ROUTE(31));
	wr(T_CMP(0), 10);
	wr(CONFIG, ENABLE);
	assert_int_equal(timers_next(ts), UINT64_MAX);
	wr(T_CONFIG(0), INT | ROUTE(4));
	ticks(20);
	for (unsigned i = 0; i < LINES; i++)
		assert_int_equal(rises[i], 0);
}

static void unseen(void **state)
{
	(void)state;
	masked = true;
	wr(CONFIG, ENABLE);
	wr(T_CONFIG(0), INT | PERIODIC | SET | ROUTE(20));
	wr(T_CMP(0), 100000);
	assert_int_not_equal(timers_next(ts), UINT64_MAX);	/* masked, but an edge would be latched */
	ticks(100000);
	assert_int_equal(rises[20], 1);
	pending = true;
	hpet_lines_changed(hpet);
	assert_int_equal(timers_next(ts), UINT64_MAX);
	ticks(1050000);
	masked = pending = false;
	hpet_lines_changed(hpet);
	assert_int_equal(rises[20], 1);			/* what passed meanwhile passed */
	assert_int_equal(timers_next(ts) - timers_now(ts), 500000);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(capabilities), T(counter), T(one_shot), T(narrow), T(narrow_periodic), T(counter_jumps), T(wide_wrap), T(periodic), T(periodic_floor), T(replays), T(levels),
		T(messages), T(legacy_replacement), T(bad_route), T(unseen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
