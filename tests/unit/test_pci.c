/*
 * The PCI bus, with functions of the test's own: sizing, decoding, INTx.
 */
#include "tests/unit/coretest.h"

#include <string.h>

#include "devmodel/bus/pci.h"
#include "devmodel/txn.h"

/* ---- a function with one BAR of each kind, which answers with region and offset */

enum { IO_REGION = 2, MEM_REGION = 3, FIXED_REGION = 4 };

static unsigned written_off, written_size, written_calls;

static uint64_t test_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	(void)d, (void)size;
	return region << 4 | off;
}

static void config_init(struct dev *d, uint8_t *config, uint8_t *wmask)
{
	(void)d;
	config[0x40] = 0x55;
	wmask[0x40] = 0x0f;
}

static void config_written(struct dev *d, unsigned off, unsigned size)
{
	(void)d;
	written_off = off;
	written_size = size;
	written_calls++;
}

static const struct pci_ops test_pci = {
	.vendor = 0x1234, .device = 0x5678, .subvendor = 0x9abc, .subdevice = 0xdef0, .class_rev = 0x01018a42, .pin = 1,
	.bar = {
		[0] = { .size = 16, .io = true, .region = IO_REGION, .batch = true },
		[1] = { .size = 0x1000, .region = MEM_REGION, .posted = true },
		[4] = { .size = 8, .io = true, .region = FIXED_REGION, .fixed = 0x1f0 },
	},
	.config_init = config_init, .config_written = config_written,
};

static const struct dev_ops test_ops = {
	.name = "testpci", .summary = "", .state_size = 8, .read = test_read, .pci = &test_pci,
};

/* A second function, for lines and slots: a fixed address can be one function's only. */
static const struct pci_ops other_pci = {
	.vendor = 0x1234, .device = 0x5678, .class_rev = 0x01018a42, .pin = 1,
	.bar = { [0] = { .size = 16, .io = true, .region = IO_REGION } },
};

static const struct dev_ops other_ops = {
	.name = "otherpci", .summary = "", .state_size = 8, .read = test_read, .pci = &other_pci,
};

extern const struct dev_ops i440fx_ops, piix3_ops;

/* This test's list of devices in place of the program's. */
const struct dev_ops *const devices[] = { &i440fx_ops, &piix3_ops, &test_ops, &other_ops, NULL };

static const struct conf_dev machine[] = {
	{ .model = "hostbridge", .pci = true },
	{ .model = "lpc", .pci = true, .slot = 1 },
	{ .model = "testpci", .pci = true, .slot = 3 },
	{ .model = "otherpci", .pci = true, .slot = 4, .function = 2 },
};

static int setup(void **state)
{
	*state = harness_new(WITH(machine));
	written_calls = 0;
	return 0;
}

static void header(void **state)
{
	struct harness *h = *state;

	assert_int_equal(h_pci_read(h, 3, 0, 0x00, 4), 0x56781234);
	assert_int_equal(h_pci_read(h, 3, 0, 0x08, 4), 0x01018a42);
	assert_int_equal(h_pci_read(h, 3, 0, 0x2c, 4), 0xdef09abc);
	assert_int_equal(h_pci_read(h, 3, 0, 0x3d, 1), 1);
	assert_int_equal(h_pci_read(h, 4, 2, 0x00, 4), 0x56781234);
	assert_int_equal(h_pci_read(h, 4, 0, 0x00, 4), 0xffffffff);
	/* read-only, writable, device-specific */
	h_pci_write(h, 3, 0, 0x00, 4, 0xffffffff);
	assert_int_equal(h_pci_read(h, 3, 0, 0x00, 4), 0x56781234);
	h_pci_write(h, 3, 0, 0x3c, 4, 0xffffffff);
	assert_int_equal(h_pci_read(h, 3, 0, 0x3c, 4), 0x01ff);
	h_pci_write(h, 3, 0, 0x04, 4, 0xffffffff);
	assert_int_equal(h_pci_read(h, 3, 0, 0x04, 4), 0x0547);
	h_pci_write(h, 3, 0, 0x40, 1, 0xaa);
	assert_int_equal(h_pci_read(h, 3, 0, 0x40, 1), 0x5a);
	assert_int_equal(written_off, 0x40);
	assert_int_equal(written_size, 1);
	/* bytes and words of a dword, in place */
	h_pci_write(h, 3, 0, 0x3c, 1, 0x0b);
	assert_int_equal(h_pci_read(h, 3, 0, 0x3c, 2), 0x010b);
	assert_int_equal(h_pci_read(h, 3, 0, 0x2e, 2), 0xdef0);
	/* the other function has its own space */
	assert_int_equal(h_pci_read(h, 4, 2, 0x3c, 1), 0);
}

static void sizing(void **state)
{
	struct harness *h = *state;

	assert_int_equal(h_pci_read(h, 3, 0, 0x10, 4), 1);
	assert_int_equal(h_pci_read(h, 3, 0, 0x14, 4), 0);
	for (unsigned off = 0x10; off < 0x28; off += 4)
		h_pci_write(h, 3, 0, off, 4, 0xffffffff);
	assert_int_equal(h_pci_read(h, 3, 0, 0x10, 4), 0xfffffff1);
	assert_int_equal(h_pci_read(h, 3, 0, 0x14, 4), 0xfffff000);
	assert_int_equal(h_pci_read(h, 3, 0, 0x18, 4), 0);
	assert_int_equal(h_pci_read(h, 3, 0, 0x20, 4), 0);	/* fixed: no register */
	/* what sizing leaves is not decoded, even when enabled */
	h_pci_write(h, 3, 0, 0x04, 2, 3);
	assert_false(h_region(h, true, 0xfffff000, NULL, NULL));
	assert_false(h_region(h, false, 0xfff0, NULL, NULL));
}

static void decoding(void **state)
{
	struct harness *h = *state;
	uint32_t len, flags;

	h_pci_write(h, 3, 0, 0x10, 4, 0xc001);
	h_pci_write(h, 3, 0, 0x14, 4, 0xe0000000);
	assert_false(h_region(h, false, 0xc000, NULL, NULL));
	h_pci_write(h, 3, 0, 0x04, 2, 1);
	assert_true(h_region(h, false, 0xc000, &len, &flags));
	assert_int_equal(len, 16);
	assert_int_equal(flags, LINK_RGN_BATCH);
	assert_false(h_region(h, true, 0xe0000000, NULL, NULL));
	h_pci_write(h, 3, 0, 0x04, 2, 3);
	assert_true(h_region(h, true, 0xe0000000, &len, &flags));
	assert_int_equal(len, 0x1000);
	assert_int_equal(flags, LINK_RGN_MMIO | LINK_RGN_POSTED);
	assert_int_equal(h_in(h, 0xc005, 1), IO_REGION << 4 | 5);
	assert_int_equal(h_read(h, 0xe0000008, 4), MEM_REGION << 4 | 8);
	/* an access that runs over the end is nobody's */
	assert_int_equal(h_in(h, 0xc00f, 2), 0xffff);
	assert_true(h_unclaimed(h));
	/* moved, a byte at a time: it answers only at the new place */
	h_pci_write(h, 3, 0, 0x11, 1, 0xd0);
	assert_int_equal(h_in(h, 0xd005, 1), IO_REGION << 4 | 5);
	assert_int_equal(h_in(h, 0xc005, 1), 0xff);
	assert_false(h_region(h, false, 0xc000, NULL, NULL));
	/* switched off */
	h_pci_write(h, 3, 0, 0x04, 2, 0);
	assert_int_equal(h_in(h, 0xd005, 1), 0xff);
	assert_int_equal(h_read(h, 0xe0000008, 4), 0xffffffff);
	/* a fixed address does not ask the command register */
	assert_int_equal(h_in(h, 0x1f3, 1), FIXED_REGION << 4 | 3);
}

static void reset_unmaps(void **state)
{
	struct harness *h = *state;

	h_pci_write(h, 3, 0, 0x10, 4, 0xc001);
	h_pci_write(h, 3, 0, 0x04, 2, 7);
	h_pci_write(h, 3, 0, 0x40, 1, 0xff);
	assert_true(pci_bus_master(harness_dev(h, "testpci")));
	h_reset(h);
	assert_false(pci_bus_master(harness_dev(h, "testpci")));
	assert_false(h_region(h, false, 0xc000, NULL, NULL));
	assert_true(h_region(h, false, 0x1f0, NULL, NULL));
	assert_int_equal(h_pci_read(h, 3, 0, 0x04, 2), 0);
	assert_int_equal(h_pci_read(h, 3, 0, 0x10, 4), 1);
	assert_int_equal(h_pci_read(h, 3, 0, 0x40, 1), 0x55);
}

static void set_intx(struct harness *h, struct dev *d, bool level)
{
	struct machine *m = harness_machine(h);

	assert_int_equal(txn_begin(m, (struct txn_source){ .kind = TXN_TIMER, .dev = d->id }), 0);
	pci_intx(d, level);
	txn_end(m);
	h_in(h, 0xcf8, 4);	/* takes the events */
}

static void interrupts(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *x = machine_pci(m, 0, 3 << 3), *y = machine_pci(m, 0, 4 << 3 | 2);

	/* INTA# of slot 3 is PIRQC, of slot 4 PIRQD */
	set_intx(h, x, true);
	assert_int_equal(pci_pirq_levels(m), 4);
	for (unsigned gsi = 0; gsi < 16; gsi++)
		assert_false(h_line(h, gsi));	/* not routed yet */
	/* the I/O APIC sees it nevertheless */
	for (unsigned pirq = 0; pirq < 4; pirq++)
		assert_int_equal(h_line(h, 16 + pirq), pirq == 2);
	h_pci_write(h, 1, 0, 0x62, 1, 11);
	assert_true(h_line(h, 11));
	h_pci_write(h, 1, 0, 0x63, 1, 11);
	set_intx(h, y, true);
	set_intx(h, x, false);
	assert_true(h_line(h, 11));		/* the other holds it */
	assert_false(h_line(h, 18));
	assert_true(h_line(h, 19));
	h_pci_write(h, 1, 0, 0x63, 1, 10);
	assert_false(h_line(h, 11));
	assert_true(h_line(h, 10));
	h_pci_write(h, 1, 0, 0x63, 1, 0x80 | 10);
	assert_false(h_line(h, 10));
	/* lines that no PIRQ can have */
	h_pci_write(h, 1, 0, 0x63, 1, 8);
	assert_false(h_line(h, 8));
	h_pci_write(h, 1, 0, 0x63, 1, 10);
	assert_true(h_line(h, 10));
	h_reset(h);
	assert_false(h_line(h, 10));
	assert_false(h_line(h, 19));
	assert_int_equal(pci_pirq_levels(m), 0);
}

static void slots_are_checked(void **state)
{
	static const struct conf_dev twice[] = {
		{ .model = "testpci", .pci = true, .slot = 3 }, { .model = "otherpci", .pci = true, .slot = 3 },
	};
	struct harness_conf c = { .dev = twice, .ndevs = 2, .may_fail = true };
	struct harness *h = harness_new(&c);

	(void)state;
	assert_non_null(strstr(harness_error(h), "both in slot 3:0"));
	harness_free(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(header), TEST(sizing), TEST(decoding), TEST(reset_unmaps), TEST(interrupts), TEST(slots_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
