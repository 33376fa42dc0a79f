/*
 * The small ISA devices: debug console, POST port, isa-debug-exit, pvpanic.
 */
#include "tests/unit/coretest.h"

#include <string.h>

static const struct conf_key chr[] = { KEY_STREAM("chr", 3) };
static const struct conf_dev machine[] = {
	{ .model = "debugcon", .nkeys = 1, .key = chr }, { .model = "post" }, { .model = "isa-debug-exit" }, { .model = "pvpanic" },
};

static int setup(void **state)
{
	*state = harness_new(WITH(machine));
	return 0;
}

static void debug_console(void **state)
{
	struct harness *h = *state;
	char text[64];
	uint32_t flags;

	assert_int_equal(h_in(h, 0x402, 1), 0xe9);
	assert_int_equal(h_in(h, 0xe9, 1), 0xe9);
	assert_true(h_region(h, false, 0x402, NULL, &flags));
	assert_int_equal(flags, LINK_RGN_POSTED | LINK_RGN_BATCH);
	h_out_posted(h, 0x402, 1, 'S');
	h_out(h, 0xe9, 1, 'e');
	assert_int_equal(h_outs(h, 0x402, 1, "aBIOS\n", 6), 6);
	assert_int_equal(h_output(h, 3, text, sizeof(text)), 8);
	assert_memory_equal(text, "SeaBIOS\n", 8);
	assert_int_equal(h_output(h, 3, text, sizeof(text)), 0);
	/* nobody takes it: it is lost, the guest goes on */
	h_output_full(h, 3, true);
	h_out(h, 0x402, 1, 'x');
	assert_int_equal(h_outs(h, 0x402, 1, "xxxxxx", 6), 6);
	h_output_full(h, 3, false);
	h_out(h, 0x402, 1, 'y');
	assert_int_equal(h_output(h, 3, text, sizeof(text)), 1);
	assert_int_equal(text[0], 'y');
}

static void without_a_stream(void **state)
{
	static const struct conf_dev mute = { .model = "debugcon" };
	struct harness *h = harness_new(&(struct harness_conf){ .dev = &mute, .ndevs = 1 });

	(void)state;
	h_out(h, 0x402, 1, 'x');
	assert_int_equal(h_in(h, 0x402, 1), 0xe9);
	harness_free(h);
}

static void post_code(void **state)
{
	struct harness *h = *state;
	uint32_t v;

	assert_true(h_shadow(h, 0x80, &v));
	assert_int_equal(v, 0);
	h_out_posted(h, 0x80, 1, 0x5a);
	assert_int_equal(h_in(h, 0x80, 1), 0x5a);
	assert_true(h_shadow(h, 0x80, &v));
	assert_int_equal(v, 0x5a);
	h_reset(h);
	assert_int_equal(h_in(h, 0x80, 1), 0);
	assert_true(h_shadow(h, 0x80, &v));
	assert_int_equal(v, 0);
}

static void debug_exit(void **state)
{
	struct harness *h = *state;
	struct link_event ev;

	h_drop_events(h);
	assert_int_equal(h_in(h, 0x501, 1), 0);
	h_out(h, 0x501, 4, 0x10);
	assert_true(h_event(h, &ev));
	assert_int_equal(ev.kind, LINK_EV_POWER);
	assert_int_equal(ev.a, LINK_POWER_EXIT);
	assert_int_equal(ev.b, 0x21);
}

static void panic(void **state)
{
	struct harness *h = *state;
	struct link_event ev;

	h_drop_events(h);
	assert_int_equal(h_in(h, 0x505, 1), 1);
	h_out(h, 0x505, 1, 2);
	assert_false(h_event(h, &ev));
	h_out(h, 0x505, 1, 1);
	assert_true(h_event(h, &ev));
	assert_int_equal(ev.a, LINK_POWER_PANIC);
}

static void elsewhere(void **state)
{
	static const struct conf_key key[] = { KEY("iobase", "0xf4") }, bad[] = { KEY("iobase", "70000") };
	struct conf_dev dev = { .model = "isa-debug-exit", .nkeys = 1, .key = key };
	struct harness *h = harness_new(&(struct harness_conf){ .dev = &dev, .ndevs = 1 });

	(void)state;
	assert_true(h_region(h, false, 0xf4, NULL, NULL));
	assert_false(h_region(h, false, 0x501, NULL, NULL));
	harness_free(h);
	dev.key = bad;
	h = harness_new(&(struct harness_conf){ .dev = &dev, .ndevs = 1, .may_fail = true });
	assert_non_null(strstr(harness_error(h), "port number"));
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(debug_console), TEST(post_code), TEST(debug_exit), TEST(panic),
		cmocka_unit_test(without_a_stream), cmocka_unit_test(elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
