/*
 * The host bridge: configuration ports, shadow RAM, SMRAM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/devharness.h"

static const struct conf_dev bridge = { .model = "hostbridge", .pci = true };

static int setup(void **state)
{
	*state = harness_new(&(struct harness_conf){ .dev = &bridge, .ndevs = 1 });
	return 0;
}

static int teardown(void **state)
{
	harness_free(*state);
	return 0;
}

static void identity(void **state)
{
	struct harness *h = *state;

	assert_int_equal(h_pci_read(h, 0, 0, 0, 4), 0x12378086);
	assert_int_equal(h_pci_read(h, 0, 0, 0x2c, 4), 0x11001af4);
	assert_int_equal(h_pci_read(h, 0, 0, 8, 4), 0x06000002);
	assert_int_equal(h_pci_read(h, 0, 0, 2, 2), 0x1237);
	assert_int_equal(h_pci_read(h, 0, 0, 1, 1), 0x80);
	/* nobody in another slot, function or bus, and none without the enable bit */
	assert_int_equal(h_pci_read(h, 3, 0, 0, 4), 0xffffffff);
	assert_int_equal(h_pci_read(h, 0, 1, 0, 4), 0xffffffff);
	h_out(h, 0xcf8, 4, 0x80010000);
	assert_int_equal(h_in(h, 0xcfc, 4), 0xffffffff);
	h_out(h, 0xcf8, 4, 0);
	assert_int_equal(h_in(h, 0xcfc, 4), 0xffffffff);
	/* identity is read-only */
	h_pci_write(h, 0, 0, 0, 4, 0);
	assert_int_equal(h_pci_read(h, 0, 0, 0, 4), 0x12378086);
}

static void address_register(void **state)
{
	struct harness *h = *state;

	h_out(h, 0xcf8, 4, 0xffffffff);
	assert_int_equal(h_in(h, 0xcf8, 4), 0x80fffffc);
	/* bytes and words there are not CONFIG_ADDRESS */
	h_out(h, 0xcf8, 1, 0);
	h_out(h, 0xcfa, 2, 0);
	assert_int_equal(h_in(h, 0xcf8, 4), 0x80fffffc);
	assert_int_equal(h_in(h, 0xcf8, 1), 0xff);
	assert_int_equal(h_in(h, 0xcf9, 1), 0xff);
}

static void pam(void **state)
{
	static const uint32_t map[4] = { LINK_MAP_ROM_IMAGE, LINK_MAP_ROM, LINK_MAP_READ_ROM_WRITE_RAM, LINK_MAP_RAM };
	struct harness *h = *state;
	struct link_event ev;

	/* At power-on every area reads the ROM. */
	for (unsigned i = 0; i < 13; i++) {
		assert_true(h_event_of(h, LINK_EV_MEMMAP, &ev));
		assert_int_equal(ev.a, LINK_MAP_ROM_IMAGE);
		assert_int_equal(ev.b, i);
		assert_int_equal(ev.addr, 0xc0000 + i * 0x4000);
		assert_int_equal(ev.value, i == 12 ? 0x10000 : 0x4000);
	}
	for (unsigned attr = 3; attr; attr--) {
		h_pci_write(h, 0, 0, 0x59, 1, attr << 4);
		assert_true(h_event_of(h, LINK_EV_MEMMAP, &ev));
		assert_int_equal(ev.a, map[attr]);
		assert_int_equal(ev.addr, 0xf0000);
		assert_int_equal(ev.c, 0xf0000);
		assert_false(h_event(h, &ev));
	}
	/* a dword covers four registers, two areas each; only what changes is told */
	h_pci_write(h, 0, 0, 0x5c, 4, 0x33333333);
	for (unsigned i = 4; i < 12; i++) {
		assert_true(h_event_of(h, LINK_EV_MEMMAP, &ev));
		assert_int_equal(ev.addr, 0xc0000 + i * 0x4000);
		assert_int_equal(ev.a, LINK_MAP_RAM);
	}
	assert_false(h_event(h, &ev));
	h_pci_write(h, 0, 0, 0x5c, 4, 0x33333331);
	assert_true(h_event_of(h, LINK_EV_MEMMAP, &ev));
	assert_int_equal(ev.addr, 0xd0000);
	assert_int_equal(ev.a, LINK_MAP_ROM);
	assert_false(h_event(h, &ev));
	assert_int_equal(h_pci_read(h, 0, 0, 0x5c, 4), 0x33333331);
}

static void reset_gives_the_rom_back(void **state)
{
	struct harness *h = *state;
	struct link_event ev;

	h_pci_write(h, 0, 0, 0x59, 1, 0x30);
	h_drop_events(h);
	h_reset(h);
	assert_true(h_event_of(h, LINK_EV_MEMMAP, &ev));
	assert_int_equal(ev.addr, 0xf0000);
	assert_int_equal(ev.a, LINK_MAP_ROM_IMAGE);
	assert_false(h_event_of(h, LINK_EV_MEMMAP, &ev));
	assert_int_equal(h_pci_read(h, 0, 0, 0x59, 1), 0);
}

static void smram_never_opens(void **state)
{
	struct harness *h = *state;
	struct link_event ev;

	h_drop_events(h);
	assert_int_equal(h_pci_read(h, 0, 0, 0x72, 1), 0x02);
	h_pci_write(h, 0, 0, 0x72, 1, 0x4a);
	assert_int_equal(h_pci_read(h, 0, 0, 0x72, 1), 0x4a);
	assert_false(h_event(h, &ev));
	/* locked, it stands still */
	h_pci_write(h, 0, 0, 0x72, 1, 0x5a);
	assert_int_equal(h_pci_read(h, 0, 0, 0x72, 1), 0x1a);
	h_pci_write(h, 0, 0, 0x72, 1, 0x42);
	assert_int_equal(h_pci_read(h, 0, 0, 0x72, 1), 0x1a);
	h_reset(h);
	assert_int_equal(h_pci_read(h, 0, 0, 0x72, 1), 0x02);
	h_pci_write(h, 0, 0, 0x72, 1, 0x4a);	/* the lock is gone */
	assert_int_equal(h_pci_read(h, 0, 0, 0x72, 1), 0x4a);
	assert_false(h_event_of(h, LINK_EV_MEMMAP, &ev));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(identity, setup, teardown),
		cmocka_unit_test_setup_teardown(address_register, setup, teardown),
		cmocka_unit_test_setup_teardown(pam, setup, teardown),
		cmocka_unit_test_setup_teardown(reset_gives_the_rom_back, setup, teardown),
		cmocka_unit_test_setup_teardown(smram_never_opens, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
