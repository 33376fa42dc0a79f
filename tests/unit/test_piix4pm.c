/*
 * Power management: where firmware puts the block, events and control, soft-off,
 * the APM ports that stand for an SMM handler.
 */
#include "tests/unit/coretest.h"

static const struct conf_dev machine[] = {
	{ .model = "hostbridge", .pci = true }, { .model = "piix4pm", .pci = true, .slot = 1, .function = 3 },
};

enum { BASE = 0x600, STS = BASE, EN = BASE + 2, CNT = BASE + 4, SECOND = 1000000000 };

static int setup(void **state)
{
	*state = harness_new(WITH(machine));
	return 0;
}

/* As SeaBIOS does it. */
static void enable(struct harness *h)
{
	h_pci_write(h, 1, 3, 0x40, 4, BASE | 1);
	h_pci_write(h, 1, 3, 0x80, 1, 1);
	h_drop_events(h);
}

static void base_address(void **state)
{
	struct harness *h = *state;
	struct link_event ev;
	uint32_t len;

	assert_int_equal(h_pci_read(h, 1, 3, 0, 4), 0x71138086);
	assert_int_equal(h_pci_read(h, 1, 3, 8, 4), 0x06800003);
	assert_int_equal(h_pci_read(h, 1, 3, 0x40, 4), 1);
	assert_int_equal(h_in(h, CNT, 2), 0xffff);
	h_drop_events(h);
	h_pci_write(h, 1, 3, 0x40, 4, BASE | 1);
	assert_false(h_region(h, false, BASE, NULL, NULL));
	h_pci_write(h, 1, 3, 0x80, 1, 1);
	assert_true(h_region(h, false, BASE, &len, NULL));
	assert_int_equal(len, 64);
	/* the engine's timer is told: where, and that it is on */
	for (int i = 0; i < 2; i++)
		assert_true(h_event_of(h, LINK_EV_PMBASE, &ev));
	assert_int_equal(ev.addr, BASE);
	assert_int_equal(ev.value, 1);
	h_pci_write(h, 1, 3, 0x40, 4, 0xb001);
	assert_false(h_region(h, false, BASE, NULL, NULL));
	assert_true(h_region(h, false, 0xb000, NULL, NULL));
	h_pci_write(h, 1, 3, 0x80, 1, 0);
	assert_false(h_region(h, false, 0xb000, NULL, NULL));
	assert_true(h_event_of(h, LINK_EV_PMBASE, &ev));
	assert_true(h_event_of(h, LINK_EV_PMBASE, &ev));
	assert_int_equal(ev.value, 0);
}

static void soft_off(void **state)
{
	struct harness *h = *state;
	struct link_event ev;

	enable(h);
	h_out(h, CNT, 2, 0x0001);
	assert_false(h_event(h, &ev));
	h_out(h, CNT, 2, 0x1400);		/* a type without the enable bit */
	assert_int_equal(h_in(h, CNT, 2), 0x1400);
	assert_false(h_event(h, &ev));
	h_out(h, CNT, 2, 0x2000);		/* S5 */
	assert_true(h_event(h, &ev));
	assert_int_equal(ev.kind, LINK_EV_POWER);
	assert_int_equal(ev.a, LINK_POWER_OFF);
	assert_false(h_event(h, &ev));
	assert_int_equal(h_in(h, CNT, 2), 0);	/* SLP_EN is write-only */
	/* by its upper byte alone */
	h_out(h, CNT + 1, 1, 0x20);
	assert_true(h_event_of(h, LINK_EV_POWER, &ev));
	/* suspending wakes at once */
	h_out(h, CNT, 2, 0x2400);
	assert_false(h_event_of(h, LINK_EV_POWER, &ev));
	assert_int_equal(h_in(h, STS, 2) & 0x8000, 0x8000);
	h_out(h, STS, 2, 0x8000);
	assert_int_equal(h_in(h, STS, 2) & 0x8000, 0);
}

static void no_smm(void **state)
{
	struct harness *h = *state;
	struct link_event ev;

	enable(h);
	/* firmware looks here to see whether the handler is installed */
	assert_int_equal(h_pci_read(h, 1, 3, 0x58, 4) & 1u << 25, 1u << 25);
	h_pci_write(h, 1, 3, 0x58, 4, 0);
	assert_int_equal(h_pci_read(h, 1, 3, 0x58, 4), 1u << 25);
	h_pci_write(h, 1, 3, 0x58, 4, 0x00800001);
	assert_int_equal(h_pci_read(h, 1, 3, 0x58, 4), 0x02800001);
	/* firmware that installs one all the same waits for its status to fall */
	h_out(h, 0xb3, 1, 1);
	assert_int_equal(h_in(h, 0xb3, 1), 1);
	h_out(h, 0xb2, 1, 0);
	assert_int_equal(h_in(h, 0xb3, 1), 0);
	/* ACPI on and off, as the handler would */
	h_out(h, 0xb2, 1, 0xf1);
	assert_int_equal(h_in(h, 0xb2, 1), 0xf1);
	assert_int_equal(h_in(h, CNT, 2), 1);
	h_out(h, 0xb2, 1, 0xf0);
	assert_int_equal(h_in(h, CNT, 2), 0);
	assert_false(h_event_of(h, LINK_EV_POWER, &ev));
}

static void power_button(void **state)
{
	struct harness *h = *state;

	enable(h);
	h_inject(h, LINK_INJECT_KEY, 0x1c);
	assert_int_equal(h_in(h, STS, 2), 0);
	h_inject(h, LINK_INJECT_POWER_BUTTON, 0);
	assert_int_equal(h_in(h, STS, 2), 0x100);
	assert_false(h_line(h, 9));
	h_out(h, EN, 2, 0x100);
	assert_false(h_line(h, 9));
	h_out(h, CNT, 2, 1);
	assert_true(h_line(h, 9));
	h_out(h, STS, 2, 0);		/* zeros clear nothing */
	assert_true(h_line(h, 9));
	h_out(h, STS + 1, 1, 1);	/* by its byte */
	assert_false(h_line(h, 9));
	assert_int_equal(h_in(h, STS, 2), 0);
	h_inject(h, LINK_INJECT_POWER_BUTTON, 0);
	assert_true(h_line(h, 9));
	h_out(h, EN, 2, 0);
	assert_false(h_line(h, 9));
	h_reset(h);
	assert_int_equal(h_in(h, 0xb2, 1), 0);
}

static void timer_overflow(void **state)
{
	struct harness *h = *state;
	uint64_t until;

	enable(h);
	h_out(h, STS, 2, 1);
	assert_int_equal(h_in(h, STS, 2), 0);
	assert_int_equal(h_deadline(h), 0);
	h_out(h, EN, 2, 1);
	h_out(h, CNT, 2, 1);
	/* bit 23 changes every 2.34 s */
	until = h_deadline(h);
	assert_in_range(until - h_now(h), 1, 2343485000);
	h_advance(h, until - h_now(h) - 1);
	assert_false(h_line(h, 9));
	h_advance(h, 1);
	assert_true(h_line(h, 9));
	assert_int_equal(h_in(h, STS, 2), 1);
	assert_int_equal(h_deadline(h), 0);
	h_out(h, STS, 2, 1);
	assert_false(h_line(h, 9));
	assert_in_range(h_deadline(h) - until, 2343484000, 2343488000);
	/* status without enable: it is only seen when it is looked at */
	h_out(h, EN, 2, 0);
	assert_int_equal(h_deadline(h), 0);
	h_sleep(h, 3ull * SECOND);
	assert_int_equal(h_in(h, STS, 2), 1);
	assert_false(h_line(h, 9));
}

static void widths(void **state)
{
	struct harness *h = *state;

	enable(h);
	h_out(h, EN, 2, 0x521);
	assert_int_equal(h_in(h, EN, 2), 0x521);
	assert_int_equal(h_in(h, EN + 1, 1), 0x05);
	assert_int_equal(h_in(h, BASE, 4), 0x05210000);
	h_out(h, EN, 1, 0);
	assert_int_equal(h_in(h, EN, 2), 0x500);
	h_out(h, EN, 2, 0xffff);
	assert_int_equal(h_in(h, EN, 2), 0x521);	/* reserved bits stay zero */
	/* registers that only keep what is written */
	h_out(h, BASE + 0x10, 4, 0x12345678);
	assert_int_equal(h_in(h, BASE + 0x10, 4), 0x12345678);
	h_out(h, BASE + 0x34, 1, 0xab);
	assert_int_equal(h_in(h, BASE + 0x34, 4), 0xab);
	/* QEMU's general purpose events */
	h_out(h, 0xafe0, 4, 0xffffffff);
	assert_int_equal(h_in(h, 0xafe0, 4), 0xffff0000);
	assert_int_equal(h_in(h, 0xafe2, 2), 0xffff);
	assert_int_equal(h_in(h, 0xae00, 4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(base_address), TEST(soft_off), TEST(no_smm), TEST(power_button), TEST(timer_overflow), TEST(widths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
