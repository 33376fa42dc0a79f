/*
 * tests/unit/coretest.h - cmocka and the harness, for the tests of the daemon's core.
 */
#ifndef CLEAVE_TESTS_CORETEST_H
#define CLEAVE_TESTS_CORETEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/devharness.h"

#define WITH(dev_array) (&(struct harness_conf){ .dev = (dev_array), .ndevs = sizeof(dev_array) / sizeof((dev_array)[0]) })
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static inline int teardown(void **state)
{
	harness_free(*state);
	return 0;
}

#endif
