/*
 * The IDE bus master: transfers through tables of physical regions, and tables
 * that a guest should not have made.
 */
#include "tests/unit/idetest.h"
#include "tests/unit/stutter.h"

enum { SECTORS = 5000, DISK = SECTORS * 512, BLOCKS = 200, BM = 0xc000, TABLE = 0x10000, BUFFER = 0x100000 };

struct fixture {
	struct harness *h;
	uint8_t *disk, *cd;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct conf_key key[2];
	struct conf_dev dev[2] = { { .model = "hostbridge", .pci = true },
				   { .model = "ide", .pci = true, .slot = 1, .function = 1, .nkeys = 2, .key = key } };

	f->disk = malloc(DISK);
	f->cd = malloc(BLOCKS * 2048);
	disk_pattern(f->disk, DISK);
	disk_pattern(f->cd, BLOCKS * 2048);
	key[0] = (struct conf_key)KEY_DISK("hd0", harness_disk(f->disk, DISK, false));
	key[1] = (struct conf_key)KEY_DISK("cd2", harness_disk(f->cd, BLOCKS * 2048, true));
	f->h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2 });
	h_pci_write(f->h, 1, 1, 0x20, 4, BM);
	h_pci_write(f->h, 1, 1, 4, 2, 5);	/* I/O and bus master */
	*state = f;
	return 0;
}

/* The same, by a device model that dies in every transaction. */
static int setup_stutter(void **state)
{
	setup(state);
	stutter(harness_dev(((struct fixture *)*state)->h, "ide"));
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	harness_free(f->h);
	harness_disks_free();
	free(f->disk);
	free(f->cd);
	free(f);
	stutter_none();
	return 0;
}

#define H(state) (((struct fixture *)*(state))->h)

static void prd(struct harness *h, unsigned n, uint32_t addr, uint32_t bytes, bool last)
{
	uint32_t entry[2] = { addr, bytes | (last ? 0x80000000u : 0) };

	memcpy(h_ram(h) + TABLE + 8 * n, entry, 8);
}

static void start(struct harness *h, uint16_t bm, bool to_memory)
{
	h_out(h, bm + 4, 4, TABLE);
	h_out(h, bm + 2, 1, 0x06);
	h_out(h, bm, 1, to_memory ? 0x08 : 0);
	h_out(h, bm, 1, to_memory ? 0x09 : 0x01);
}

static void registers(void **state)
{
	struct harness *h = H(state);

	assert_int_equal(h_pci_read(h, 1, 1, 0x20, 4), BM | 1);
	h_out(h, BM + 4, 4, 0x12345677);
	assert_int_equal(h_in(h, BM + 4, 4), 0x12345674);
	h_out(h, BM + 12, 2, 0xabcd);
	h_out(h, BM + 15, 1, 0x5a);
	assert_int_equal(h_in(h, BM + 12, 4), 0x5a00abcc);
	assert_int_equal(h_in(h, BM + 4, 4), 0x12345674);
	h_out(h, BM + 2, 1, 0x60);
	assert_int_equal(h_in(h, BM + 2, 1), 0x60);
	assert_int_equal(h_in(h, BM, 4), 0x00600000);
}

/* 300 sectors are more than a chunk; the regions do not fall on sectors. */
static void read_dma(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	unsigned edges = h_edges(h, 14);

	prd(h, 0, BUFFER, 0x10, false);
	prd(h, 1, BUFFER + 0x20, 0, false);		/* 64 KiB */
	prd(h, 2, BUFFER + 0x10020, 0x8000, false);
	prd(h, 3, BUFFER + 0x18020, 300 * 512 - 0x18010 - 6, false);
	prd(h, 4, BUFFER + 0x30000, 6, true);
	ata_issue_ext(h, PRIMARY, (struct ata){ .command = 0x25, .lba = 1234, .count = 300 });
	assert_int_equal(h_in(h, PRIMARY_CONTROL, 1) & (BSY | DRQ), DRQ);
	assert_int_equal(h_edges(h, 14), edges);
	start(h, BM, true);
	assert_true(h_line(h, 14));
	assert_int_equal(h_edges(h, 14), edges + 1);
	assert_int_equal(h_in(h, BM + 2, 1), 0x04);	/* interrupt, not active: the table and the data end together */
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	assert_memory_equal(h_ram(h) + BUFFER, f->disk + 1234 * 512, 0x10);
	assert_memory_equal(h_ram(h) + BUFFER + 0x20, f->disk + 1234 * 512 + 0x10, 300 * 512 - 0x10 - 6);
	assert_memory_equal(h_ram(h) + BUFFER + 0x30000, f->disk + 1534 * 512 - 6, 6);
	h_out(h, BM, 1, 0);
	h_out(h, BM + 2, 1, 0x04);
	assert_int_equal(h_in(h, BM + 2, 1), 0);
}

static void write_dma(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;

	for (unsigned i = 0; i < 8 * 512; i++)
		h_ram(h)[BUFFER + i] = i * 3;
	prd(h, 0, BUFFER, 8 * 512, true);
	/* the engine first, the command after it */
	start(h, BM, false);
	assert_int_equal(h_in(h, BM + 2, 1), 0x01);
	h_disk_defer(h, true);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xca, .lba = 77, .count = 8 });
	assert_false(h_line(h, 14));
	assert_int_equal(h_in(h, PRIMARY_CONTROL, 1), BSY);
	assert_true(h_disk_finish(h, 0));
	assert_true(h_line(h, 14));
	assert_int_equal(h_in(h, BM + 2, 1), 0x04);
	assert_memory_equal(f->disk + 77 * 512, h_ram(h) + BUFFER, 8 * 512);
	assert_true(h_disk_did(h, BLK_FLUSH, 0));
	/* FUA: on the medium before the command ends */
	h_disk_defer(h, false);
	start(h, BM, false);
	ata_issue_ext(h, PRIMARY, (struct ata){ .command = 0x3d, .lba = 99, .count = 8 });
	assert_true(h_disk_did(h, BLK_FLUSH, 1));
	assert_memory_equal(f->disk + 99 * 512, h_ram(h) + BUFFER, 8 * 512);
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
}

static void long_table(void **state)
{
	struct harness *h = H(state);

	prd(h, 0, BUFFER, 4096, true);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc8, .lba = 0, .count = 1 });
	start(h, BM, true);
	assert_int_equal(h_in(h, BM + 2, 1), 0x05);	/* done, and the table had more */
	h_out(h, BM, 1, 0);
	assert_int_equal(h_in(h, BM + 2, 1), 0x04);
}

/* The drive waits; a second table gets the rest, or a reset ends it. */
static void short_table(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;

	prd(h, 0, BUFFER, 512 + 100, true);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc8, .lba = 5, .count = 2 });
	start(h, BM, true);
	assert_false(h_line(h, 14));
	assert_int_equal(h_in(h, BM + 2, 1), 0x00);
	assert_int_equal(h_in(h, PRIMARY_CONTROL, 1), READY | DRQ);
	prd(h, 0, BUFFER + 512 + 100, 412, true);
	start(h, BM, true);
	assert_true(h_line(h, 14));
	assert_memory_equal(h_ram(h) + BUFFER, f->disk + 5 * 512, 1024);
	prd(h, 0, BUFFER, 2, true);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc8, .lba = 5, .count = 2 });
	start(h, BM, true);
	h_out(h, PRIMARY_CONTROL, 1, 4);
	h_out(h, PRIMARY_CONTROL, 1, 0);
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
}

static void expect_abort(struct harness *h)
{
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc8, .lba = 5, .count = 2 });
	start(h, BM, true);
	assert_int_equal(h_in(h, BM + 2, 1), 0x06);
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | ERR);
	assert_int_equal(h_in(h, PRIMARY + ERROR, 1), ABRT);
	h_out(h, BM, 1, 0);
}

static void hostile_tables(void **state)
{
	struct harness *h = H(state);
	uint8_t before[64];

	prd(h, 0, 0xfff00000, 1024, true);		/* no RAM */
	expect_abort(h);
	prd(h, 0, (16 << 20) - 512, 1024, true);	/* half of it */
	memset(h_ram(h) + (16 << 20) - 512, 0x77, 512);
	expect_abort(h);
	prd(h, 0, 0xfffffffe, 0, true);			/* wraps */
	expect_abort(h);
	/* the table itself lies outside */
	memcpy(before, h_ram(h) + BUFFER, sizeof(before));
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc8, .lba = 5, .count = 2 });
	h_out(h, BM + 4, 4, 0xfffffffc);
	h_out(h, BM + 2, 1, 0x06);
	h_out(h, BM, 1, 0x09);
	assert_int_equal(h_in(h, BM + 2, 1), 0x06);
	h_out(h, BM, 1, 0);
	/* a table that never ends, of the smallest entries */
	for (unsigned i = 0; i < 8192; i++)
		prd(h, i, BUFFER, 2, false);
	ata_issue_ext(h, PRIMARY, (struct ata){ .command = 0x25, .lba = 0, .count = 256 });
	start(h, BM, true);
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	h_out(h, BM, 1, 0);
	/* bus mastering is off */
	h_pci_write(h, 1, 1, 4, 2, 1);
	prd(h, 0, BUFFER, 1024, true);
	expect_abort(h);
}

static void wrong_direction(void **state)
{
	struct harness *h = H(state);

	prd(h, 0, BUFFER, 512, true);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc8, .lba = 5, .count = 1 });
	start(h, BM, false);
	assert_false(h_line(h, 14));
	assert_int_equal(h_in(h, BM + 2, 1), 0x01);
	h_out(h, BM, 1, 0);
	start(h, BM, true);
	assert_true(h_line(h, 14));
}

/* DMA over code that has been executed: the engine hears of it. */
static void over_code(void **state)
{
	struct harness *h = H(state);
	struct link_event ev;

	h_mark_code(h, BUFFER, true);
	h_drop_events(h);
	prd(h, 0, BUFFER, 512, true);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc8, .lba = 5, .count = 1 });
	start(h, BM, true);
	do
		assert_true(h_event_of(h, LINK_EV_CODE, &ev));
	while (ev.addr == 0 && getenv("HARNESS_DEATHS"));	/* a successor may tell of all */
	assert_int_equal(ev.addr, BUFFER);
	assert_int_equal(ev.value, 512);
	for (unsigned i = 0; i < 16; i++)
		prd(h, i, BUFFER + i * 512, 512, i == 15);
	for (unsigned i = 0; i < 200; i++) {		/* much to die at: succession.sh */
		h_drop_events(h);
		ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc8, .lba = i, .count = 16 });
		start(h, BM, true);
		assert_true(h_event_of(h, LINK_EV_CODE, &ev));
	}
}

/* What tells of the end comes in another transaction than the code: it waits all the same. */
static void code_in_the_middle(void **state)
{
	struct harness *h = H(state);
	static const uint8_t packets[2][12] = { { 0x00 }, { 0x28, 0, 0, 0, 0, 11, 0, 0, 150 } };
	unsigned waits;

	for (unsigned i = 0; i < 5; i++)
		prd(h, i, BUFFER + i * 65536, i < 4 ? 0 : 150 * 2048 - 4 * 65536, i == 4);
	h_mark_code(h, BUFFER + 3 * 65536, true);
	h_drop_events(h);
	for (unsigned i = 0; i < 2; i++) {
		h_out(h, SECONDARY + FEATURE, 1, 1);
		h_out(h, SECONDARY + COMMAND, 1, 0xa0);
		h_rep_outs(h, SECONDARY, 2, packets[i], 6);
	}
	waits = h_waits(h);
	start(h, BM + 8, true);
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), READY);
	if (!getenv("HARNESS_DEATHS"))
		assert_int_equal(h_waits(h), waits + 1);
}

static void packet_dma(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	static const uint8_t packets[2][12] = { { 0x00 }, { 0x28, 0, 0, 0, 0, 11, 0, 0, 70 } };

	prd(h, 0, BUFFER, 0, false);
	prd(h, 1, BUFFER + 65536, 0, false);
	prd(h, 2, BUFFER + 131072, 70 * 2048 - 131072, true);
	for (unsigned i = 0; i < 2; i++) {
		h_out(h, SECONDARY + FEATURE, 1, 1);
		h_out(h, SECONDARY + COMMAND, 1, 0xa0);
		h_rep_outs(h, SECONDARY, 2, packets[i], 6);
	}
	start(h, BM + 8, true);
	assert_true(h_line(h, 15));
	assert_int_equal(h_in(h, BM + 10, 1), 0x04);
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), READY);
	assert_int_equal(h_in(h, SECONDARY + COUNT, 1), 3);
	assert_memory_equal(h_ram(h) + BUFFER, f->cd + 11 * 2048, 70 * 2048);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown), \
	{ #f " in a stutter", f, setup_stutter, teardown, NULL }
	const struct CMUnitTest tests[] = {
		T(registers), T(read_dma), T(write_dma), T(long_table), T(short_table), T(hostile_tables),
		T(wrong_direction), T(over_code), T(packet_dma), cmocka_unit_test_setup_teardown(code_in_the_middle, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
