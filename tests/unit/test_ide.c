/*
 * IDE disks through their registers: the PIO protocols, addressing, resets,
 * errors, and what string I/O makes of the data port.
 */
#include "tests/unit/idetest.h"
#include "tests/unit/stutter.h"

enum { SECTORS = 5000, DISK = SECTORS * 512 };

struct fixture {
	struct harness *h;
	uint8_t *disk[3];	/* primary master, read-only primary slave, secondary slave */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct conf_key key[3];
	struct conf_dev dev[2] = { { .model = "hostbridge", .pci = true },
				   { .model = "ide", .pci = true, .slot = 1, .function = 1, .nkeys = 3, .key = key } };
	static const char *const name[3] = { "hd0", "hd1", "hd3" };

	for (unsigned i = 0; i < 3; i++) {
		f->disk[i] = malloc(DISK);
		disk_pattern(f->disk[i], DISK);
		f->disk[i][8] = i;
		key[i] = (struct conf_key)KEY_DISK(name[i], harness_disk(f->disk[i], DISK, i == 1));
	}
	f->h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2 });
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
	for (unsigned i = 0; i < 3; i++)
		free(f->disk[i]);
	free(f);
	stutter_none();
	return 0;
}

#define H(state) (((struct fixture *)*(state))->h)

static void presence(void **state)
{
	struct harness *h = H(state);
	uint32_t len, flags;

	assert_true(h_region(h, false, 0x1f0, &len, &flags));
	assert_int_equal(len, 8);
	assert_true(flags & LINK_RGN_BATCH);
	assert_true(h_region(h, false, 0x376, &len, &flags));
	assert_true(flags & LINK_RGN_SHADOW);
	assert_int_equal(h_pci_read(h, 1, 1, 0, 4), 0x70108086);
	assert_int_equal(h_pci_read(h, 1, 1, 8, 4), 0x01018000);
	/* power-on signature, and a slot with nothing in it */
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	assert_int_equal(h_in(h, PRIMARY + COUNT, 1), 1);
	assert_int_equal(h_in(h, PRIMARY + LBA, 1), 1);
	assert_int_equal(h_in(h, PRIMARY + MID, 2), 0);
	assert_int_equal(h_in(h, PRIMARY + ERROR, 1), 1);
	h_out(h, SECONDARY + DEVICE, 1, 0xa0);
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), 0);
	assert_int_equal(h_in(h, SECONDARY_CONTROL, 1), 0);
	h_out(h, SECONDARY + COMMAND, 1, 0xec);
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), 0);
	h_out(h, SECONDARY + DEVICE, 1, 0xb0);
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), READY);
}

static void identify(void **state)
{
	struct harness *h = H(state);
	uint8_t id[512], sum = 0;

	ata_issue(h, PRIMARY, (struct ata){ .device = 0xa0, .command = 0xec });
	assert_true(h_line(h, 14));
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | DRQ);
	assert_false(h_line(h, 14));
	assert_int_equal(h_rep_ins(h, PRIMARY, 2, id, 256), 1);
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	assert_int_equal(word(id, 0), 0x0040);
	assert_int_equal(word(id, 1), SECTORS / (16 * 63));
	assert_int_equal(word(id, 3), 16);
	assert_int_equal(word(id, 6), 63);
	assert_int_equal(word(id, 60) | word(id, 61) << 16, SECTORS);
	assert_int_equal(word(id, 100), SECTORS);
	assert_memory_equal(id + 54, "lCaeevd si k", 12);	/* "Cleave disk", pairs swapped */
	for (unsigned i = 0; i < 512; i++)
		sum += id[i];
	assert_int_equal(sum, 0);
	/* dwords read the same */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xa0, .command = 0xec });
	assert_int_equal(h_in(h, PRIMARY, 4), word(id, 0) | word(id, 1) << 16);
	assert_int_equal(h_in(h, PRIMARY, 2), word(id, 2));
	/* a byte moves a word, and the rest is as it was: words 10 and 11 are the serial number */
	for (unsigned i = 3; i < 10; i++)
		assert_int_equal(h_in(h, PRIMARY, 2), word(id, i));
	assert_int_equal(h_in(h, PRIMARY, 1), 'L');
	assert_int_equal(h_in(h, PRIMARY, 2), 'V' << 8 | '0');
}

/* A sector is one request of 256 elements, an interrupt for each, none after the last. */
static void read_pio(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	uint8_t got[3 * 512];
	unsigned edges = h_edges(h, 14);

	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x20, .lba = 7, .count = 3 });
	for (unsigned i = 0; i < 3; i++) {
		uint64_t before = h_requests(h);

		assert_true(h_line(h, 14));
		assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | DRQ);
		assert_false(h_line(h, 14));
		/* more is asked for than the block has: it ends where the line moves */
		assert_int_equal(h_ins(h, PRIMARY, 2, got + 512 * i, i < 2 ? 512 : 256), 256);
		assert_int_equal(h_requests(h) - before, 2);
	}
	assert_memory_equal(got, f->disk[0] + 7 * 512, sizeof(got));
	assert_false(h_line(h, 14));
	assert_int_equal(h_edges(h, 14) - edges, 3);
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	assert_int_equal(h_in(h, PRIMARY, 2), 0xffff);	/* no data left */
	assert_true(h_disk_did(h, BLK_READ, 1));
}

static void write_pio(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	uint8_t data[2 * 512];

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = i * 7;
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x30, .lba = 100, .count = 2 });
	assert_false(h_line(h, 14));		/* the first block is not announced */
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | DRQ);
	assert_int_equal(h_outs(h, PRIMARY, 4, data, 128), 128);
	assert_true(h_line(h, 14));
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | DRQ);
	h_disk_defer(h, true);
	assert_int_equal(h_outs(h, PRIMARY, 2, data + 512, 256), 256);
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), BSY);
	assert_true(h_disk_finish(h, 0));
	assert_true(h_line(h, 14));
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	assert_memory_equal(f->disk[0] + 100 * 512, data, sizeof(data));
	/* the write cache is on: a flush of its own when asked for, and one after each write when it is off */
	h_disk_defer(h, false);
	assert_true(h_disk_did(h, BLK_FLUSH, 0));
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xe7 });
	assert_true(h_disk_did(h, BLK_FLUSH, 1));
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xef, .feature = 0x82 });
	assert_true(h_disk_did(h, BLK_FLUSH, 2));
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x30, .lba = 3, .count = 1 });
	h_outs(h, PRIMARY, 2, data, 256);
	assert_true(h_disk_did(h, BLK_FLUSH, 3));
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
}

static void multiple(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	uint8_t got[20 * 512];
	unsigned edges;

	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc6, .count = 3 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | ERR);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc6, .count = 8 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	edges = h_edges(h, 14);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc4, .lba = 11, .count = 20 });
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | DRQ);
		assert_int_equal(h_rep_ins(h, PRIMARY, 2, got + i * 8 * 512, i < 2 ? 8 * 256 : 4 * 256), 1);
	}
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	assert_int_equal(h_edges(h, 14) - edges, 3);
	assert_memory_equal(got, f->disk[0] + 11 * 512, sizeof(got));
	/* off: the commands are aborted */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc6, .count = 0 });
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xc4, .lba = 11, .count = 20 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | ERR);
	assert_int_equal(h_in(h, PRIMARY + ERROR, 1), ABRT);
}

/* 48-bit: 300 sectors are more than one chunk of the buffer. */
static void lba48(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	uint8_t *got = malloc(300 * 512);

	ata_issue_ext(h, PRIMARY, (struct ata){ .command = 0x24, .lba = 4000, .count = 300 });
	for (unsigned i = 0; i < 300; i++) {
		assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | DRQ);
		assert_int_equal(h_rep_ins(h, PRIMARY, 2, got + i * 512, 256), 1);
	}
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	assert_memory_equal(got, f->disk[0] + 4000 * 512, 300 * 512);
	assert_true(h_disk_did(h, BLK_READ, 2));
	/* the high bytes count: sector 2^24 is not there */
	ata_issue_ext(h, PRIMARY, (struct ata){ .command = 0x24, .lba = 1 << 24, .count = 1 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | ERR);
	assert_int_equal(h_in(h, PRIMARY + ERROR, 1), IDNF);
	/* count 0 is 65536: more than there are */
	ata_issue_ext(h, PRIMARY, (struct ata){ .command = 0x24, .lba = 0, .count = 0 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | ERR);
	ata_issue_ext(h, PRIMARY, (struct ata){ .command = 0x24, .lba = 1 << 24, .count = 1 });
	/* HOB shows them, and a write to the block hides them again */
	h_out(h, PRIMARY_CONTROL, 1, 0x80);
	assert_int_equal(h_in(h, PRIMARY + LBA, 1), 1);
	assert_int_equal(h_in(h, PRIMARY + COUNT, 1), 0);
	h_out(h, PRIMARY + FEATURE, 1, 0);
	assert_int_equal(h_in(h, PRIMARY + COUNT, 1), 1);
	free(got);
}

static void addresses(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	uint8_t got[512];

	/* C 2, H 5, S 7 of 16 heads and 63 sectors */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xa5, .command = 0x20, .lba = 7 | 2 << 8, .count = 1 });
	h_rep_ins(h, PRIMARY, 2, got, 256);
	assert_memory_equal(got, f->disk[0] + ((2 * 16 + 5) * 63 + 6) * 512, 512);
	/* the same after INITIALIZE DEVICE PARAMETERS to 4 heads, 10 sectors */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xa3, .command = 0x91, .count = 10 });
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xa3, .command = 0x20, .lba = 10 | 9 << 8, .count = 1 });
	h_rep_ins(h, PRIMARY, 2, got, 256);
	assert_memory_equal(got, f->disk[0] + ((9 * 4 + 3) * 10 + 9) * 512, 512);
	/* sector 0, sector 11, head 4: not there */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xa3, .command = 0x20, .lba = 0, .count = 1 });
	assert_int_equal(h_in(h, PRIMARY + ERROR, 1), IDNF);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xa3, .command = 0x20, .lba = 11, .count = 1 });
	assert_int_equal(h_in(h, PRIMARY + ERROR, 1), IDNF);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xa4, .command = 0x20, .lba = 1, .count = 1 });
	assert_int_equal(h_in(h, PRIMARY + ERROR, 1), IDNF);
	/* the last sector is, the one after is not; count 0 is 256 */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x40, .lba = SECTORS - 1, .count = 1 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x40, .lba = SECTORS - 1, .count = 2 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | ERR);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x40, .lba = SECTORS - 256, .count = 0 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x40, .lba = SECTORS - 255, .count = 0 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | ERR);
	/* READ NATIVE MAX ADDRESS */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xf8 });
	assert_int_equal(h_in(h, PRIMARY + LBA, 1) | h_in(h, PRIMARY + MID, 1) << 8, SECTORS - 1);
}

static void slaves(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	uint8_t got[512];

	ata_issue(h, PRIMARY, (struct ata){ .device = 0xf0, .command = 0x20, .lba = 0, .count = 1 });
	h_rep_ins(h, PRIMARY, 2, got, 256);
	assert_memory_equal(got, f->disk[1], 512);
	ata_issue(h, SECONDARY, (struct ata){ .device = 0xf0, .command = 0x20, .lba = 0, .count = 1 });
	assert_true(h_line(h, 15));
	h_rep_ins(h, SECONDARY, 2, got, 256);
	assert_memory_equal(got, f->disk[2], 512);
	/* the read-only one refuses */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xf0, .command = 0x30, .lba = 0, .count = 1 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | ERR);
	assert_int_equal(h_in(h, PRIMARY + ERROR, 1) & ABRT, ABRT);
	assert_true(h_disk_did(h, BLK_WRITE, 0));
}

/* nIEN keeps the line down; the interrupt is pending and comes when it is allowed. */
static void interrupt_enable(void **state)
{
	struct harness *h = H(state);
	uint32_t shadow;

	h_out(h, PRIMARY_CONTROL, 1, 0x02);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x20, .lba = 0, .count = 1 });
	assert_false(h_line(h, 14));
	assert_true(h_shadow(h, PRIMARY_CONTROL, &shadow));
	assert_int_equal(shadow, READY | DRQ);
	assert_int_equal(h_in(h, PRIMARY_CONTROL, 1), READY | DRQ);	/* does not clear it */
	h_out(h, PRIMARY_CONTROL, 1, 0);
	assert_true(h_line(h, 14));
	h_in(h, PRIMARY_CONTROL, 1);
	assert_true(h_line(h, 14));
	/* the other drive has none */
	h_out(h, PRIMARY + DEVICE, 1, 0xf0);
	assert_false(h_line(h, 14));
	h_out(h, PRIMARY + DEVICE, 1, 0xe0);
	assert_true(h_line(h, 14));
	/* a command that is not awaited by reading the status still gives an edge */
	{
		unsigned edges = h_edges(h, 14);

		h_out(h, PRIMARY + COMMAND, 1, 0x91);
		assert_int_equal(h_edges(h, 14), edges + 1);
	}
}

static void busy(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	uint8_t got[512];
	uint32_t shadow;

	h_disk_defer(h, true);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x20, .lba = 5, .count = 1 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), BSY);
	assert_true(h_shadow(h, PRIMARY_CONTROL, &shadow));
	assert_int_equal(shadow, BSY);
	/* registers and commands are not heard */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xf0, .command = 0x20, .lba = 9, .count = 2 });
	h_out(h, PRIMARY + COMMAND, 1, 0xec);
	assert_int_equal(h_disk_pending(h), 1);
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), BSY);
	assert_int_equal(h_in(h, PRIMARY, 2), 0xffff);
	assert_true(h_disk_finish(h, 0));
	assert_true(h_line(h, 14));
	h_rep_ins(h, PRIMARY, 2, got, 256);
	assert_memory_equal(got, f->disk[0] + 5 * 512, 512);
}

/* A reset does not free the buffer while the image still uses it. */
static void reset_in_flight(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	uint8_t got[512];

	h_disk_defer(h, true);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xf0, .command = 0x20, .lba = 5, .count = 1 });
	h_out(h, PRIMARY_CONTROL, 1, 0x04);
	h_out(h, PRIMARY_CONTROL, 1, 0x00);
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), BSY);
	assert_true(h_disk_finish(h, 0));
	assert_false(h_line(h, 14));
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	assert_int_equal(h_in(h, PRIMARY + ERROR, 1), 1);
	assert_int_equal(h_in(h, PRIMARY + DEVICE, 1) & 0x10, 0);
	h_disk_defer(h, false);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x20, .lba = 6, .count = 1 });
	h_rep_ins(h, PRIMARY, 2, got, 256);
	assert_memory_equal(got, f->disk[0] + 6 * 512, 512);
}

/* Whole sectors that the guest has handed over reach the disk even if it resets the drive. */
static void reset_while_writing(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	uint8_t data[1024];

	memset(data, 0x5a, sizeof(data));
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x30, .lba = 50, .count = 4 });
	h_rep_outs(h, PRIMARY, 2, data, 256 + 100);
	h_out(h, PRIMARY_CONTROL, 1, 0x04);
	h_out(h, PRIMARY_CONTROL, 1, 0x00);
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	assert_memory_equal(f->disk[0] + 50 * 512, data, 512);
	assert_int_equal(f->disk[0][51 * 512], 51);
}

/* A chunk that fails is read again block by block: good sectors arrive, the bad one is named. */
static void read_errors(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	uint8_t got[512];

	h_disk_defer(h, true);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x20, .lba = 30, .count = 4 });
	assert_true(h_disk_finish(h, -5));
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), BSY);
	assert_true(h_disk_finish(h, 0));
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | DRQ);
	h_rep_ins(h, PRIMARY, 2, got, 256);
	assert_memory_equal(got, f->disk[0] + 30 * 512, 512);
	assert_true(h_disk_finish(h, -5));
	assert_true(h_line(h, 14));
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | ERR);
	assert_int_equal(h_in(h, PRIMARY + ERROR, 1), UNC);
	assert_int_equal(h_in(h, PRIMARY + LBA, 1), 31);
	/* a write that fails */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x30, .lba = 40, .count = 1 });
	h_rep_outs(h, PRIMARY, 2, got, 256);
	assert_true(h_disk_finish(h, -28));
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | ERR | DF);
	assert_int_equal(h_in(h, PRIMARY + LBA, 1), 40);
	assert_true(h_line(h, 14) == false);
}

static void odds_and_ends(void **state)
{
	struct harness *h = H(state);
	static const uint8_t fine[] = { 0x10, 0x1f, 0x70, 0x91, 0x94, 0x95, 0xe0, 0xe1, 0xe2, 0xe3, 0xe7, 0xea };
	static const uint8_t none[] = { 0x00, 0x08, 0xa0, 0xa1, 0xb0, 0xde, 0xf5, 0x50, 0xff };

	for (unsigned i = 0; i < sizeof(fine); i++) {
		ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = fine[i], .count = 63 });
		assert_true(h_line(h, 14));
		assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	}
	for (unsigned i = 0; i < sizeof(none); i++) {
		ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = none[i], .count = 1 });
		assert_true(h_line(h, 14));
		assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | ERR);
		assert_int_equal(h_in(h, PRIMARY + ERROR, 1), ABRT);
	}
	/* power modes */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xe0 });
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xe5 });
	assert_int_equal(h_in(h, PRIMARY + COUNT, 1), 0x00);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0x40, .count = 1 });
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xe5 });
	assert_int_equal(h_in(h, PRIMARY + COUNT, 1), 0xff);
	/* transfer modes */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xef, .feature = 0x03, .count = 0x22 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY);
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xe0, .command = 0xef, .feature = 0x03, .count = 0x47 });
	assert_int_equal(h_in(h, PRIMARY + STATUS, 1), READY | ERR);
	/* the diagnostic selects drive 0 and shows its signature */
	ata_issue(h, PRIMARY, (struct ata){ .device = 0xf0, .command = 0x90, .lba = 0x123456, .count = 9 });
	assert_true(h_line(h, 14));
	assert_int_equal(h_in(h, PRIMARY + ERROR, 1), 1);
	assert_int_equal(h_in(h, PRIMARY + COUNT, 2), 0x0101);
	assert_int_equal(h_in(h, PRIMARY + DEVICE, 1) & 0x10, 0);
}

static void same_place_twice(void **state)
{
	struct conf_key key[2] = { KEY_DISK("hd0", 1), KEY_DISK("cd0", 1) };
	struct conf_dev dev = { .model = "ide", .pci = true, .slot = 1, .function = 1, .nkeys = 2, .key = key };
	struct harness *h;

	(void)state;
	h = harness_new(&(struct harness_conf){ .dev = &dev, .ndevs = 1, .may_fail = true });
	assert_non_null(strstr(harness_error(h), "hd0 and cd0"));
	harness_free(h);
	h = harness_new(&(struct harness_conf){ .dev = &(struct conf_dev){ .model = "ide", .pci = true, .slot = 1,
		.nkeys = 1, .key = key }, .ndevs = 1, .may_fail = true });
	assert_non_null(strstr(harness_error(h), "hd0"));
	harness_free(h);
}

/* The ports of both channels are fixed. */
static void two_controllers(void **state)
{
	struct conf_dev dev[2] = { { .model = "ide", .pci = true, .slot = 1, .function = 1 }, { .model = "ide", .pci = true, .slot = 3 } };
	struct harness *h;

	(void)state;
	h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2, .may_fail = true });
	assert_non_null(strstr(harness_error(h), "0x1f0 is taken by ide@1:1"));
	harness_free(h);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown), \
	{ #f " in a stutter", f, setup_stutter, teardown, NULL }
	const struct CMUnitTest tests[] = {
		T(presence), T(identify), T(read_pio), T(write_pio), T(multiple), T(lba48), T(addresses), T(slaves),
		T(interrupt_enable), T(busy), T(reset_in_flight), T(reset_while_writing), T(read_errors), T(odds_and_ends),
		cmocka_unit_test(same_place_twice), cmocka_unit_test(two_controllers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
