/* The ACPI timer: rate, width, pieces; and the function that the device model's side must agree with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "vmm/dev/pmtimer.h"
#include "vmm/timer.h"

#define S	1000000000ull

static void rate(void **state)
{
	struct timers *ts = timers_new(NULL, NULL, NULL, NULL);
	struct pmtimer *t = pmtimer_new(ts, 32);

	(void)state;
	assert_int_equal(pmtimer_read(t, 0, 4), 0);
	timers_advance(ts, 279);
	assert_int_equal(pmtimer_read(t, 0, 4), 0);
	timers_advance(ts, 1);		/* 279.37 ns a tick */
	assert_int_equal(pmtimer_read(t, 0, 4), 1);
	timers_advance(ts, S - 280);
	assert_int_equal(pmtimer_read(t, 0, 4), 3579545);
	timers_advance(ts, 86399 * S);	/* exact over a day: no drift */
	assert_int_equal(pmtimer_read(t, 0, 4), (uint32_t)(86400 * 3579545ull));
	pmtimer_free(t);
	timers_free(ts);
}

static void widths(void **state)
{
	(void)state;
	assert_int_equal(pmtimer_value(88 * S, 24), 314999960 & 0xffffff);
	assert_int_equal(pmtimer_value(88 * S, 32), 314999960);
	/* a century is no overflow of the arithmetic */
	assert_int_equal(pmtimer_value(3155760001 * S, 32), (uint32_t)(3155760001 * 3579545ull));
	assert_int_equal(pmtimer_value(3155760001 * S, 24), (3155760001 * 3579545ull) & 0xffffff);
	/* around the wrap: what readers take differences of */
	assert_int_equal((pmtimer_value(4687 * 1000000ull + 28000, 24) - pmtimer_value(4686 * 1000000ull + 28000, 24)) & 0xffffff, 3579);
}

static void pieces(void **state)
{
	struct timers *ts = timers_new(NULL, NULL, NULL, NULL);
	struct pmtimer *t = pmtimer_new(ts, 24);
	uint32_t whole;

	(void)state;
	timers_advance(ts, 4 * S);
	whole = pmtimer_read(t, 0, 4);
	assert_int_equal(whole, 14318180);
	assert_int_equal(pmtimer_read(t, 0, 1), whole & 0xff);
	assert_int_equal(pmtimer_read(t, 1, 1), whole >> 8 & 0xff);
	assert_int_equal(pmtimer_read(t, 2, 1), whole >> 16);
	assert_int_equal(pmtimer_read(t, 3, 1), 0);
	assert_int_equal(pmtimer_read(t, 0, 2), whole & 0xffff);
	assert_int_equal(pmtimer_read(t, 2, 2), whole >> 16);
	timers_advance(ts, S);		/* 24 bits have wrapped */
	assert_int_equal(pmtimer_read(t, 0, 4), 17897725 - (1 << 24));
	pmtimer_free(t);
	timers_free(ts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rate),
		cmocka_unit_test(widths),
		cmocka_unit_test(pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
