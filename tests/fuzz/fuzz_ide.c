/*
 * tests/fuzz/fuzz_ide.c - the IDE controller under a hostile guest: register
 * accesses of any size and order, string I/O, packets, tables of physical
 * regions in RAM that the guest scribbles on, operations that end late or fail,
 * resets.  The state check of crash recovery must accept what the device itself
 * has made, and a device that is undone and run again in every transaction must
 * look the same to the guest as one that is not.  State that was written over, as
 * by a predecessor gone wrong, is either refused by the check or harmless.
 *
 * Input: a program of one-byte operations with their operands.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "devmodel/ide/ide.h"
#include "tests/fuzz/program.h"
#include "tests/unit/stutter.h"

enum { DISK_SECTORS = 700, CD_BLOCKS = 40, BM = 0xc000, TABLE = 0x10000, MAX_STEPS = 400,
       RAM = 512 << 10 };

static uint8_t disk[DISK_SECTORS * 512], cd[CD_BLOCKS * 2048];

static bool overlaps;	/* DMA over its own table: memory is not undone, so the second run may differ */

static void out(struct harness *h, uint16_t port, unsigned size, uint32_t value)
{
	h_out(h, port, size, value & (~0u >> (32 - 8 * size)));
}

static const uint16_t bases[] = { 0x1f0, 0x170, 0x3f6, 0x376, BM, BM + 8 };

/* A register of those; a table pointer of the guest's own only now and then. */
static uint16_t any_port(struct input *in)
{
	uint16_t base = bases[u8(in) % 6], off = u8(in) % 8;

	if (base >= BM && u8(in) % 16)
		off &= 2;
	overlaps |= base >= BM && off != 0 && off != 2;
	return base + off;
}

/* Commands that do something are rare among 256 values. */
static const uint8_t command_codes[] = {
	0x20, 0x24, 0x25, 0x29, 0x30, 0x34, 0x35, 0x39, 0x3d, 0x40, 0x42, 0x90, 0x91, 0xa0, 0xa0, 0xa0, 0xa1, 0xc4, 0xc5,
	0xc6, 0xc8, 0xca, 0xce, 0xe5, 0xe7, 0xec, 0xef, 0xf8, 0x08,
};
static const uint8_t packets[] = { 0x00, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x42, 0x43, 0x46, 0x4a, 0x51, 0x5a, 0xa8, 0xbe };

static void send_packet(struct harness *h, struct input *in)
{
	uint16_t base = u8(in) & 1 ? 0x170 : 0x1f0;
	uint8_t packet[12] = { packets[u8(in) % sizeof(packets)] };

	for (unsigned i = 1; i < 10; i++)
		packet[i] = u8(in) & (i < 5 ? 0x13 : 0xff);
	h_out(h, base + 1, 1, u8(in) & 1);
	out(h, base + 4, 2, u32(in));
	h_out(h, base + 7, 1, 0xa0);
	h_rep_outs(h, base, 2, packet, 6);
}

static void make_table(struct harness *h, struct input *in)
{
	unsigned n = u8(in) % 16 + 1;

	for (unsigned i = 0; i < n; i++) {
		uint32_t addr = u32(in), prd[2] = { u8(in) & 3 ? addr & (RAM - 1) : addr, u32(in) & 0x8000ffff };

		overlaps |= (prd[0] & ~1u) < TABLE + 0x10000 && (prd[0] & ~1u) + 0x10000 > TABLE;
		memcpy(h_ram(h) + TABLE + 8 * i, prd, 8);
	}
	h_out(h, (u8(in) & 1 ? BM + 8 : BM) + 4, 4, TABLE);
}

static void string_io(struct harness *h, struct input *in)
{
	uint8_t data[4096];
	uint16_t port = u8(in) & 3 ? bases[u8(in) & 1] : any_port(in);
	unsigned size = 1u << (u8(in) % 3), n = (u8(in) | u8(in) << 8) % (4096 / size) + 1;

	memset(data, u8(in), sizeof(data));
	overlaps |= port >= BM && size > 1;
	if (u8(in) & 1) {
		n = h_ins(h, port, size, data, n);
		see(data, (size_t)n * size);
	} else {
		n = h_outs(h, port, size, data, n);
	}
	see_value(n);
}

/* Bytes of a hostile predecessor's state, if the check lets them pass; init makes drives anew. */
static void scribble(struct harness *h, struct input *in)
{
	struct ide_state *s = harness_dev(h, "ide")->state, was = *s;
	uint8_t value = u8(in), n = u8(in) % 4 + 1;

	overlaps = true;
	for (unsigned i = 0; i < n; i++)
		((uint8_t *)s)[(u8(in) << 8 | u8(in)) % sizeof(*s)] = value;
	for (unsigned i = 0; i < IDE_CHANNELS * IDE_DRIVES; i++) {
		struct ide_drive *d = &s->channel[i / 2].drive[i % 2], *w = &was.channel[i / 2].drive[i % 2];

		d->kind = w->kind;
		d->blk = w->blk;
		d->medium = w->medium;
		d->readonly = w->readonly;
		d->sectors = w->sectors;
	}
	for (unsigned i = 0; i < IDE_CHANNELS; i++) {
		struct ide_channel *ch = &s->channel[i];

		/* What lies beyond the image is the back end's to refuse: the harness has none. */
		if (ch->next + ch->left > ch->drive[ch->active & 1].sectors * SECTOR)
			*s = was;
	}
	if (harness_dev(h, "ide")->ops->check(harness_dev(h, "ide"), s))
		*s = was;
}

static void step(struct harness *h, struct input *in)
{
	unsigned size;
	uint16_t base;

	switch (u8(in) % 13) {
	case 0: case 1:
		base = any_port(in);
		h_out(h, base, 1, u8(in));
		break;
	case 2:
		base = any_port(in);
		size = base >= BM ? 1 : 1u << (u8(in) % 3);
		out(h, base, size, u32(in));
		break;
	case 3:
		base = any_port(in);
		see_value(h_in(h, base, 1u << (u8(in) % 3)));
		break;
	case 4: case 5:
		base = bases[u8(in) & 1];
		h_out(h, base + 6, 1, 0xa0 | (u8(in) & 0x50));
		h_out(h, base + 2, 1, u8(in));
		h_out(h, base + 3, 1, u8(in));
		h_out(h, base + 4, 1, u8(in) & 3);
		h_out(h, base + 7, 1, command_codes[u8(in) % sizeof(command_codes)]);
		break;
	case 6: case 7:
		string_io(h, in);
		break;
	case 8:
		send_packet(h, in);
		break;
	case 9:
		make_table(h, in);
		break;
	case 10:
		h_disk_finish(h, u8(in) & 1 ? 0 : -5);
		break;
	case 12:
		if (u8(in) % 4 == 0)
			scribble(h, in);
		break;
	case 11:
		if (u8(in) < 16)
			while (h_disk_finish(h, 0))
				;
		else
			h_disk_defer(h, u8(in) & 1);
		break;
	}
}

/* What a guest sees of the program in all. */
bool fuzz_program(struct input in, bool stuttering)
{
	struct conf_key key[3] = { KEY_DISK("hd0", harness_disk(disk, sizeof(disk), false)), KEY("cd1", ""),
				   KEY_DISK("cd2", harness_disk(cd, sizeof(cd), true)) };
	struct conf_dev dev[2] = { { .model = "hostbridge", .pci = true },
				   { .model = "ide", .pci = true, .slot = 1, .function = 1, .nkeys = 3, .key = key } };
	struct harness *h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2, .ram = RAM });
	struct dev *ide = harness_dev(h, "ide");

	overlaps = false;
	for (size_t i = 0; i < sizeof(disk); i++)
		disk[i] = i / 512 + i;
	h_pci_write(h, 1, 1, 0x20, 4, BM);
	h_pci_write(h, 1, 1, 4, 2, 5);
	h_out(h, BM + 4, 4, TABLE);
	h_out(h, BM + 12, 4, TABLE);
	if (stuttering)
		stutter(ide);
	for (unsigned i = 0; in.n && i < MAX_STEPS; i++) {
		step(h, &in);
		see_value(h_edges(h, 14) << 16 | h_edges(h, 15));
		if (ide->ops->check(ide, dev_state(ide)))
			abort();	/* a successor would refuse what we have made */
	}
	while (h_disk_finish(h, 0))
		;
	see(dev_state(ide), ide->ops->state_size);
	see(disk, sizeof(disk));
	see(h_ram(h), RAM);
	harness_free(h);
	harness_disks_free();
	stutter_none();
	return !overlaps;
}
