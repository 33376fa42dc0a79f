/*
 * test_recover.c - quarantine: a device whose register kills the process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "devmodel/recover.h"
#include "tests/unit/devharness.h"

enum { KILLS = 0x505, DEBUG = 0x402 };		/* pvpanic's port, debugcon's */

static int make(void **state)
{
	static const struct conf_key chr[] = { KEY_STREAM("chr", 0) };
	static const struct conf_dev dev[] = {
		{ .model = "pvpanic" },
		{ .model = "debugcon", .nkeys = 1, .key = chr },
	};

	*state = harness_new(&(struct harness_conf){ .ndevs = 2, .dev = dev });
	h_crashes(*state, "pvpanic");
	return 0;
}

static int unmake(void **state)
{
	harness_free(*state);
	return 0;
}

static struct arena_dev *arena_of(struct harness *h)
{
	return harness_dev(h, "pvpanic")->a;
}

static unsigned generation(struct harness *h)
{
	return harness_machine(h)->arena->generation;
}

/* Three processes die of it, the fourth answers in the device's place; the others go on. */
static void three_strikes(void **state)
{
	struct harness *h = *state;
	char text[8];

	assert_int_equal(h_in(h, KILLS, 1), 1);
	h_out(h, KILLS, 1, 1);
	assert_int_equal(generation(h), 4);
	assert_true(h_unclaimed(h));
	assert_true(arena_of(h)->out);
	h_out(h, KILLS, 1, 1);		/* nobody serves it, so nobody dies */
	h_in(h, KILLS, 1);
	assert_true(h_unclaimed(h));
	assert_int_equal(generation(h), 4);
	h_out(h, DEBUG, 1, 'x');
	assert_int_equal(h_output(h, 0, text, sizeof(text)), 1);
	assert_int_equal(text[0], 'x');
}

/* It is out of service for a successor as well, whose predecessor nobody blames. */
static void outlives_a_process(void **state)
{
	struct harness *h = *state;

	h_out(h, KILLS, 1, 1);
	h_succeed(h, false);
	h_in(h, KILLS, 1);
	assert_true(h_unclaimed(h));
}

static void reset_brings_it_back(void **state)
{
	struct harness *h = *state;

	h_out(h, KILLS, 1, 1);
	h_reset(h);
	assert_false(arena_of(h)->out);
	assert_int_equal(h_in(h, KILLS, 1), 1);
	assert_false(h_unclaimed(h));
	/* not latched: another request has three strikes of its own */
	h_out(h, KILLS, 1, 1);
	assert_int_equal(generation(h), 7);
	assert_true(arena_of(h)->out);
}

/* The engine hears of each strike, and who is out of service, from every successor: for its user. */
static void the_engine_is_told(void **state)
{
	struct harness *h = *state;
	unsigned dev = harness_dev(h, "pvpanic")->id;
	struct link_event e;

	h_drop_events(h);
	h_out(h, KILLS, 1, 1);
	for (unsigned n = 1; n <= 3; n++) {
		if (n == 3) {
			assert_true(h_event_of(h, LINK_EV_SERVICE, &e));
			assert_int_equal(e.a, dev);
			assert_int_equal(e.b, 0);
		}
		assert_true(h_event_of(h, LINK_EV_STRIKE, &e));
		assert_int_equal(e.a, LINK_BY_REQUEST);
		assert_int_equal(e.b, dev);
		assert_int_equal(e.c, 0);
		assert_int_equal(e.d, n);
		assert_int_equal(e.value, h_requests(h));
	}
	h_succeed(h, false);
	assert_true(h_event_of(h, LINK_EV_STRIKE, &e));
	assert_int_equal(e.d, 3);
	h_drop_events(h);
	h_reset(h);
	assert_true(h_event_of(h, LINK_EV_SERVICE, &e));
	assert_int_equal(e.a, dev);
	assert_int_equal(e.b, 1);
}

/* A posted write is dropped. */
static void posted(void **state)
{
	struct harness *h = *state;

	h_out_posted(h, KILLS, 1, 1);
	assert_int_equal(generation(h), 4);
	assert_true(arena_of(h)->out);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, make, unmake)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(three_strikes), TEST(outlives_a_process), TEST(reset_brings_it_back), TEST(posted), TEST(the_engine_is_told) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
