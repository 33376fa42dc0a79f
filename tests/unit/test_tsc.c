/* The TSC's rate as a fraction small enough for CPUID leaf 15h; the measurement itself only for sense. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "vmm/tsc.h"

static void exact(void **state)
{
	uint32_t n, d;

	(void)state;
	tsc_ratio(2400000000u, 25000000, 171798, &n, &d);
	assert_int_equal(n, 96);
	assert_int_equal(d, 1);
	tsc_ratio(1, 1, 1, &n, &d);
	assert_int_equal(n, 1);
	assert_int_equal(d, 1);
	tsc_ratio(7, 3, 7, &n, &d);
	assert_int_equal(n, 7);
	assert_int_equal(d, 3);
}

static void near(void **state)
{
	const uint64_t crystal = 25000000;

	(void)state;
	for (uint64_t hz = 800000000; hz < 6000000000ull; hz += 12345677) {
		uint32_t n, d;
		uint64_t got;

		tsc_ratio(hz, crystal, 171798, &n, &d);
		assert_in_range(n, 1, 171798);
		assert_in_range(d, 1, 171798);
		assert_true(crystal / 1000 * n <= UINT32_MAX);		/* as Linux multiplies */
		got = crystal * n / d;
		assert_in_range(got, hz - hz / 1000000, hz + hz / 1000000);
	}
}

static void extremes(void **state)
{
	uint32_t n, d;

	(void)state;
	tsc_ratio(1000000, 1, 100, &n, &d);	/* beyond any fraction of that size */
	assert_true(n && d && n <= 100 && d <= 100);
	tsc_ratio(1, UINT64_MAX, 100, &n, &d);
	assert_true(n && d && n <= 100 && d <= 100);
}

static void measured(void **state)
{
	uint64_t hz;

	(void)state;
	tsc_start();
	hz = tsc_hz();
	assert_in_range(hz, 100000000, 20000000000ull);
	assert_int_equal(tsc_hz(), hz);		/* fixed from then on */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exact), cmocka_unit_test(near), cmocka_unit_test(extremes), cmocka_unit_test(measured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
