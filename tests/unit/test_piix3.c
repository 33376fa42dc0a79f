/*
 * The ISA bridge: identity, routing registers, reset control beside CONFIG_ADDRESS.
 */
#include "tests/unit/coretest.h"

static const struct conf_dev machine[] = {
	{ .model = "hostbridge", .pci = true }, { .model = "lpc", .pci = true, .slot = 1 },
};

static int setup(void **state)
{
	*state = harness_new(WITH(machine));
	return 0;
}

static void identity(void **state)
{
	struct harness *h = *state;

	assert_int_equal(h_pci_read(h, 1, 0, 0, 4), 0x70008086);
	assert_int_equal(h_pci_read(h, 1, 0, 8, 4) >> 8, 0x060100);
	assert_int_equal(h_pci_read(h, 1, 0, 0x0e, 1), 0x80);	/* more functions follow */
	assert_int_equal(h_pci_read(h, 1, 0, 0x60, 4), 0x80808080);
	h_pci_write(h, 1, 0, 0x60, 4, 0xffffffff);
	assert_int_equal(h_pci_read(h, 1, 0, 0x60, 4), 0x8f8f8f8f);
	h_reset(h);
	assert_int_equal(h_pci_read(h, 1, 0, 0x60, 4), 0x80808080);
}

static void reset_control(void **state)
{
	struct harness *h = *state;
	struct link_event ev;

	h_drop_events(h);
	assert_int_equal(h_in(h, 0xcf9, 1), 0);
	h_out(h, 0xcf9, 1, 2);
	assert_int_equal(h_in(h, 0xcf9, 1), 2);
	assert_false(h_event(h, &ev));
	h_out(h, 0xcf9, 1, 6);
	assert_true(h_event(h, &ev));
	assert_int_equal(ev.kind, LINK_EV_POWER);
	assert_int_equal(ev.a, LINK_POWER_RESET);
	/* the bit must fall before it resets again */
	h_out(h, 0xcf9, 1, 6);
	assert_false(h_event(h, &ev));
	/* a dword there is CONFIG_ADDRESS */
	h_out(h, 0xcf9, 1, 0);
	h_out(h, 0xcf8, 4, 0x80000600);
	assert_false(h_event(h, &ev));
	assert_int_equal(h_in(h, 0xcf9, 1), 0);
	h_out(h, 0xcf9, 1, 2);
	h_reset(h);
	assert_int_equal(h_in(h, 0xcf9, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(identity), TEST(reset_control) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
