/*
 * The CD-ROM drive: the packet protocol with its interrupt reasons and byte
 * counts, reads, sense data, the tray, and replies that firmware and systems
 * look at.
 */
#include "tests/unit/idetest.h"
#include "tests/unit/stutter.h"

enum { BLOCKS = 200, CD = BLOCKS * 2048 };

struct fixture {
	struct harness *h;
	uint8_t *image;
};

/* The CD is the secondary master; the primary slave is an empty drive. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct conf_key key[2] = { KEY("cd1", "") };
	struct conf_dev dev = { .model = "ide", .pci = true, .slot = 1, .function = 1, .nkeys = 2, .key = key };

	f->image = malloc(CD);
	disk_pattern(f->image, CD);
	key[1] = (struct conf_key)KEY_DISK("cd2", harness_disk(f->image, CD, true));
	f->h = harness_new(&(struct harness_conf){ .dev = &dev, .ndevs = 1 });
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
	free(f->image);
	free(f);
	stutter_none();
	return 0;
}

#define H(state) (((struct fixture *)*(state))->h)

static void send_packet(struct harness *h, uint16_t base, uint16_t limit, const uint8_t *packet)
{
	h_out(h, base + FEATURE, 1, 0);
	h_out(h, base + MID, 1, limit & 0xff);
	h_out(h, base + HIGH, 1, limit >> 8);
	h_out(h, base + COMMAND, 1, 0xa0);
	assert_false(h_line(h, base == PRIMARY ? 14 : 15));
	assert_int_equal(h_in(h, base + STATUS, 1), READY | DRQ);
	assert_int_equal(h_in(h, base + COUNT, 1), 0x01);	/* command, to the drive */
	h_rep_outs(h, base, 2, packet, 6);
}

/* The whole protocol: bytes that came, or -(sense key << 16 | ASC << 8 | ASCQ). */
static int packet(struct harness *h, uint16_t base, uint16_t limit, const uint8_t *packet_bytes, uint8_t *data, unsigned max)
{
	unsigned line = base == PRIMARY ? 14 : 15, got = 0;
	bool odd = false;
	uint8_t status;

	send_packet(h, base, limit, packet_bytes);
	for (;;) {
		unsigned n;

		assert_true(h_line(h, line));
		status = h_in(h, base + STATUS, 1);
		assert_false(h_line(h, line));
		if (!(status & DRQ))
			break;
		assert_int_equal(h_in(h, base + COUNT, 1), 0x02);	/* data, to the guest */
		n = h_in(h, base + MID, 1) | h_in(h, base + HIGH, 1) << 8;
		assert_in_range(n, 1, limit ? limit : 0xfffe);
		assert_in_range(got + n, 1, max);
		assert_false(odd);			/* only the last block may be */
		odd = n & 1;
		h_rep_ins(h, base, 2, data + got, (n + 1) / 2);
		got += n;
	}
	assert_int_equal(h_in(h, base + COUNT, 1), 0x03);		/* status */
	if (status & ERR) {
		uint8_t sense[18], request[12] = { 0x03, 0, 0, 0, 18 };

		assert_int_equal(packet(h, base, 18, request, sense, 18), 18);
		assert_int_equal(sense[0], 0x70);
		return -(sense[2] << 16 | sense[12] << 8 | sense[13]);
	}
	return got;
}

static int command(struct harness *h, const uint8_t *p, uint8_t *data, unsigned max)
{
	return packet(h, SECONDARY, 0xfffe, p, data, max);
}

#define CMD(...) ((const uint8_t[12]){ __VA_ARGS__ })

static void ready(struct harness *h)
{
	assert_int_equal(command(h, CMD(0x00), NULL, 0), -0x062900);	/* the unit attention of power-on */
	assert_int_equal(command(h, CMD(0x00), NULL, 0), 0);
}

static void signature(void **state)
{
	struct harness *h = H(state);
	uint8_t id[512];
	unsigned edges;

	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), 0);
	assert_int_equal(h_in(h, SECONDARY + MID, 1) | h_in(h, SECONDARY + HIGH, 1) << 8, 0xeb14);
	/* IDENTIFY DEVICE is for disks */
	ata_issue(h, SECONDARY, (struct ata){ .device = 0xa0, .command = 0xec });
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), READY | ERR);
	assert_int_equal(h_in(h, SECONDARY + ERROR, 1), ABRT);
	assert_int_equal(h_in(h, SECONDARY + MID, 1) | h_in(h, SECONDARY + HIGH, 1) << 8, 0xeb14);
	/* IDENTIFY PACKET DEVICE is a data-in command: one interrupt */
	edges = h_edges(h, 15);
	ata_issue(h, SECONDARY, (struct ata){ .device = 0xa0, .command = 0xa1 });
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), READY | DRQ);
	h_rep_ins(h, SECONDARY, 2, id, 256);
	assert_int_equal(h_edges(h, 15), edges + 1);
	assert_int_equal(word(id, 0), 0x85c0);
	/* DEVICE RESET gives the signature back */
	ata_issue(h, SECONDARY, (struct ata){ .device = 0xa0, .command = 0x08, .lba = 0x123456 });
	assert_int_equal(h_in(h, SECONDARY + MID, 1) | h_in(h, SECONDARY + HIGH, 1) << 8, 0xeb14);
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), 0);
	/* a disk command on a CD */
	ata_issue(h, SECONDARY, (struct ata){ .device = 0xe0, .command = 0x30, .count = 1 });
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), READY | ERR);
}

static void reading(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	uint8_t *got = malloc(100 * 2048), capacity[8];

	ready(h);
	assert_int_equal(command(h, CMD(0x25), capacity, 8), 8);
	assert_int_equal(be32(capacity), BLOCKS - 1);
	assert_int_equal(be32(capacity + 4), 2048);
	/* block by block as SeaBIOS does, with an odd limit, and with the largest one over two chunks */
	assert_int_equal(packet(h, SECONDARY, 2048, CMD(0x28, 0, 0, 0, 0, 17, 0, 0, 3), got, 3 * 2048), 3 * 2048);
	assert_memory_equal(got, f->image + 17 * 2048, 3 * 2048);
	assert_int_equal(packet(h, SECONDARY, 1001, CMD(0x28, 0, 0, 0, 0, 18, 0, 0, 1), got, 2048), 2048);
	assert_memory_equal(got, f->image + 18 * 2048, 2048);
	assert_int_equal(packet(h, SECONDARY, 0xffff, CMD(0xa8, 0, 0, 0, 0, 1, 0, 0, 0, 100), got, 100 * 2048), 100 * 2048);
	assert_memory_equal(got, f->image + 2048, 100 * 2048);
	assert_int_equal(packet(h, SECONDARY, 1, CMD(0x28, 0, 0, 0, 0, 18, 0, 0, 0), got, 0), 0);
	/* READ CD, user data */
	assert_int_equal(command(h, CMD(0xbe, 0, 0, 0, 0, 9, 0, 0, 2, 0x10), got, 4096), 4096);
	assert_memory_equal(got, f->image + 9 * 2048, 4096);
	assert_int_equal(command(h, CMD(0xbe, 0, 0, 0, 0, 9, 0, 0, 2, 0xf8), got, 8192), -0x052400);
	/* beyond the end */
	assert_int_equal(command(h, CMD(0x28, 0, 0, 0, 0, BLOCKS - 1, 0, 0, 1), got, 2048), 2048);
	assert_int_equal(command(h, CMD(0x28, 0, 0, 0, 0, BLOCKS - 1, 0, 0, 2), got, 4096), -0x052100);
	assert_int_equal(command(h, CMD(0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1), got, 4096), -0x052100);
	/* unknown packet */
	assert_int_equal(command(h, CMD(0x2a, 0, 0, 0, 0, 0, 0, 0, 1), got, 0), -0x052000);
	free(got);
}

static void read_error(void **state)
{
	struct fixture *f = *state;
	struct harness *h = f->h;
	uint8_t got[2048], sense[18];

	ready(h);
	h_disk_defer(h, true);
	send_packet(h, SECONDARY, 2048, CMD(0x28, 0, 0, 0, 0, 4, 0, 0, 2));
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), BSY);
	assert_true(h_disk_finish(h, -5));
	assert_true(h_disk_finish(h, 0));
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), READY | DRQ);
	h_rep_ins(h, SECONDARY, 2, got, 1024);
	assert_memory_equal(got, f->image + 4 * 2048, 2048);
	assert_true(h_disk_finish(h, -5));
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), READY | ERR);
	assert_int_equal(h_in(h, SECONDARY + ERROR, 1) >> 4, 3);
	assert_int_equal(command(h, CMD(0x03, 0, 0, 0, 18), sense, 18), 18);
	assert_int_equal(sense[2], 3);
	assert_int_equal(sense[12], 0x11);
	/* sense data are told once */
	assert_int_equal(command(h, CMD(0x03, 0, 0, 0, 18), sense, 18), 18);
	assert_int_equal(sense[2], 0);
}

static void no_medium(void **state)
{
	struct harness *h = H(state);
	uint8_t data[64];

	h_out(h, PRIMARY + DEVICE, 1, 0xb0);
	assert_int_equal(packet(h, PRIMARY, 0xfffe, CMD(0x12, 0, 0, 0, 36), data, 36), 36);
	assert_int_equal(data[0], 5);
	assert_int_equal(packet(h, PRIMARY, 0xfffe, CMD(0x00), NULL, 0), -0x062900);
	assert_int_equal(packet(h, PRIMARY, 0xfffe, CMD(0x00), NULL, 0), -0x023a01);
	assert_int_equal(packet(h, PRIMARY, 0xfffe, CMD(0x28, 0, 0, 0, 0, 0, 0, 0, 1), data, 0), -0x023a01);
}

static void tray(void **state)
{
	struct harness *h = H(state);
	uint8_t ev[8];

	ready(h);
	assert_int_equal(command(h, CMD(0x1e, 0, 0, 0, 1), NULL, 0), 0);	/* locked */
	assert_int_equal(command(h, CMD(0x1b, 0, 0, 0, 2), NULL, 0), -0x055302);
	assert_int_equal(command(h, CMD(0x1e, 0, 0, 0, 0), NULL, 0), 0);
	assert_int_equal(command(h, CMD(0x1b, 0, 0, 0, 2), NULL, 0), 0);	/* out */
	assert_int_equal(command(h, CMD(0x00), NULL, 0), -0x023a02);
	assert_int_equal(command(h, CMD(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), ev, 8), 8);
	assert_int_equal(ev[5], 1);
	assert_int_equal(command(h, CMD(0x1b, 0, 0, 0, 3), NULL, 0), 0);	/* in */
	assert_int_equal(command(h, CMD(0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), ev, 8), 8);
	assert_int_equal(ev[4], 2);
	assert_int_equal(ev[5], 2);
	assert_int_equal(command(h, CMD(0x00), NULL, 0), -0x062800);	/* another disc, maybe */
	assert_int_equal(command(h, CMD(0x00), NULL, 0), 0);
}

static void table_of_contents(void **state)
{
	struct harness *h = H(state);
	uint8_t toc[64];

	ready(h);
	assert_int_equal(command(h, CMD(0x43, 0, 0, 0, 0, 0, 0, 0, 64), toc, 64), 20);
	assert_int_equal(toc[1], 18);
	assert_int_equal(toc[6], 1);
	assert_int_equal(toc[14], 0xaa);
	assert_int_equal(be32(toc + 16), BLOCKS);
	assert_int_equal(command(h, CMD(0x43, 2, 0, 0, 0, 0, 0xaa, 0, 64), toc, 64), 12);
	assert_memory_equal(toc + 8, "\0\0\4\62", 4);	/* 350 frames are 4 s 50 */
	assert_int_equal(command(h, CMD(0x43, 0, 1, 0, 0, 0, 0, 0, 64), toc, 64), 12);
	assert_int_equal(command(h, CMD(0x43, 0, 2, 0, 0, 0, 0, 0, 64), toc, 64), 48);
	/* only as much as there is room for */
	assert_int_equal(command(h, CMD(0x43, 0, 0, 0, 0, 0, 0, 0, 4), toc, 4), 4);
	assert_int_equal(command(h, CMD(0x43, 0, 0, 0, 0, 0, 0, 0, 0), toc, 0), 0);
	assert_int_equal(command(h, CMD(0x43, 0, 5, 0, 0, 0, 0, 0, 64), toc, 0), -0x052400);
}

static void modes_and_features(void **state)
{
	struct harness *h = H(state);
	uint8_t r[256];
	int n;

	ready(h);
	n = command(h, CMD(0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 255), r, 255);
	assert_int_equal(n, 8 + 20);
	assert_int_equal(r[1], n - 2);
	assert_int_equal(r[8], 0x2a);
	n = command(h, CMD(0x1a, 0, 0x3f, 0, 255), r, 255);
	assert_int_equal(n, 4 + 8 + 8 + 16 + 20);
	assert_int_equal(r[0], n - 1);
	assert_int_equal(command(h, CMD(0x5a, 0, 0x05, 0, 0, 0, 0, 0, 255), r, 0), -0x052400);
	assert_int_equal(command(h, CMD(0x5a, 0, 0xea, 0, 0, 0, 0, 0, 255), r, 0), -0x053900);
	n = command(h, CMD(0x46, 0, 0, 0, 0, 0, 0, 0, 255), r, 255);
	assert_in_range(n, 40, 255);
	assert_int_equal(be32(r), n - 4);
	assert_int_equal(r[7], 0x08);
	assert_int_equal(command(h, CMD(0x46, 2, 0, 3, 0, 0, 0, 0, 255), r, 255), 8 + 8);
	assert_int_equal(r[9], 3);
	assert_int_equal(command(h, CMD(0x51, 0, 0, 0, 0, 0, 0, 0, 255), r, 255), 34);
	assert_int_equal(command(h, CMD(0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8), r, 8), 8);
	assert_int_equal(command(h, CMD(0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8), r, 0), -0x052400);
	assert_int_equal(command(h, CMD(0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8), r, 8), 4);
}

static void soft_reset_in_packet(void **state)
{
	struct harness *h = H(state);

	h_out(h, SECONDARY + COMMAND, 1, 0xa0);
	h_out(h, SECONDARY, 2, 0x1234);
	h_out(h, SECONDARY_CONTROL, 1, 0x06);
	assert_int_equal(h_in(h, SECONDARY_CONTROL, 1), BSY);
	h_out(h, SECONDARY_CONTROL, 1, 0x00);
	assert_int_equal(h_in(h, SECONDARY + STATUS, 1), 0);
	ready(h);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown), \
	{ #f " in a stutter", f, setup_stutter, teardown, NULL }
	const struct CMUnitTest tests[] = {
		T(signature), T(reading), T(read_error), T(no_medium), T(tray), T(table_of_contents),
		T(modes_and_features), T(soft_reset_in_packet),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
