/*
 * tests/fuzz/fuzz_virtio.c - virtio's transport, rings and disk under a hostile
 * driver: registers and configuration space of any size and order, descriptors,
 * tables and indices that say anything, operations that end late or fail,
 * resets in between.  The state check must accept what the device has made; a
 * state that was written over is refused by it or harmless; and a device that is
 * undone and run again in every transaction must look the same to a driver whose
 * buffers are not its rings.
 */
#include <stdlib.h>
#include <string.h>

#include "devmodel/virtio/core.h"
#include "tests/fuzz/program.h"
#include "tests/unit/stutter.h"

enum { SLOT = 3, RAM = 0xa0000, BAR = 0xe0000000, DISK = 300 * 512, MAX_STEPS = 200, QUEUES = 2 };
/* Where a tame driver keeps things: rings, what the device reads, what it writes. */
enum { RINGS = 0x20000, RING_STEP = 0x4000, READS = 0x30000, READS_LEN = 0x20000, WRITES = 0x60000, WRITES_LEN = 0x40000 };
enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

static uint8_t disk[2 * DISK];
static bool wild;	/* this driver's buffers may be anything: what is undone may then differ */
static int handle;

struct driver {
	uint16_t size, added[QUEUES];
	uint64_t ring[QUEUES];
};

static void put(struct harness *h, uint64_t gpa, const void *from, size_t n)
{
	if (gpa + n <= RAM)
		memcpy(h_ram(h) + gpa, from, n);
}

static void bar_write(struct harness *h, unsigned off, unsigned size, uint64_t value)
{
	if (off % 0x1000 + size <= 0x1000)
		h_write(h, BAR + off, size, size == 8 ? value : value & ((1ull << 8 * size) - 1));
}

/* A register, more often than not one that is there. */
static unsigned any_register(struct input *in)
{
	static const unsigned base[] = { 0, 0, 0, 0, 0x800, 0x1000, 0x2000, 0x3000, 0x3000, 0x3800 };

	return (base[u8(in) % 10] + u8(in) % 64) & 0x3fff;
}

/* ---- the driver */

static void start(struct harness *h, struct driver *d, struct input *in)
{
	uint64_t features = VIRTIO_F_VERSION_1 | (u8(in) & 1 ? VIRTIO_F_INDIRECT_DESC : 0) | (u8(in) & 1 ? VIRTIO_F_EVENT_IDX : 0) |
			    (u8(in) & 1 ? 0x7a00 : 0);

	bar_write(h, 20, 1, 0);
	bar_write(h, 20, 1, 3);
	for (unsigned i = 0; i < 2; i++) {
		bar_write(h, 8, 4, i);
		bar_write(h, 12, 4, features >> 32 * i);
	}
	bar_write(h, 20, 1, 11);
	d->size = 1u << u8(in) % 9;
	for (unsigned q = 0; q < QUEUES; q++) {
		d->ring[q] = wild && !(u8(in) & 3) ? u32(in) : RINGS + RING_STEP * q;
		d->added[q] = 0;
		if (!wild)
			memset(h_ram(h) + d->ring[q], 0, RING_STEP);
		bar_write(h, 22, 2, q);
		bar_write(h, 24, 2, d->size);
		bar_write(h, 26, 2, u8(in) % 4);
		bar_write(h, 32, 8, d->ring[q]);
		bar_write(h, 40, 8, d->ring[q] + 0x1000);
		bar_write(h, 48, 8, d->ring[q] + 0x2000);
		bar_write(h, 28, 2, 1);
	}
	bar_write(h, 20, 1, 15);
}

static void descriptor(struct harness *h, struct input *in, uint64_t at, unsigned n)
{
	uint16_t flags = u8(in) & 7, next = u8(in) & 15 ? n + 1 : u8(in);
	uint32_t len = u8(in) & 3 ? 512u * (u8(in) % 4) + u8(in) % 17 : u32(in);
	uint64_t gpa = flags & WRITE ? WRITES + u32(in) % WRITES_LEN : READS + (u32(in) & ~15u) % READS_LEN;

	if (wild && !(u8(in) & 7))
		gpa = bytes(in, 8);
	else if (gpa + len > (flags & WRITE ? WRITES + WRITES_LEN : READS + READS_LEN))
		len = 16;
	if (flags & INDIRECT && u8(in) & 3)
		flags = INDIRECT;
	put(h, at, &gpa, 8);
	put(h, at + 8, &len, 4);
	put(h, at + 12, &flags, 2);
	put(h, at + 14, &next, 2);
}

/* Headers that ask for something, and tables, where readable buffers are. */
static void fill_reads(struct harness *h, struct input *in)
{
	static const uint32_t type[] = { 0, 0, 1, 1, 4, 8, 11, 13, 2, 0x80000000 };
	uint64_t at = READS + (u32(in) & ~15u) % (READS_LEN - 512), sector = u8(in) & 7 ? u8(in) : bytes(in, 8);
	unsigned n = u8(in) % 20;

	if (u8(in) & 1) {
		put(h, at, &type[u8(in) % 10], 4);
		put(h, at + 8, &sector, 8);
		put(h, at + 16, &sector, 8);
		put(h, at + 24, (uint32_t[]){ u8(in), u8(in) & 1 }, 8);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		descriptor(h, in, at + 16 * i, i);
}

/* A request as an honest driver makes it: others rarely get far. */
static void request(struct harness *h, struct driver *d, struct input *in, unsigned q)
{
	uint64_t header = READS + 16 * u8(in), data = WRITES + 512 * u8(in), status = WRITES + 0x38000 + u8(in);
	uint32_t type = u8(in) & 3 ? u8(in) & 1 : u8(in) % 14, n = 512 * (u8(in) % 9);
	uint16_t head = d->added[q] % d->size;
	struct { uint64_t gpa; uint32_t len; uint16_t flags, next; } e[3] = {
		{ header, 16, NEXT, (head + 1) % d->size }, { type ? READS + 0x10000 : data, n, NEXT | (type ? 0 : WRITE), (head + 2) % d->size },
		{ status, 1, WRITE, 0 } };

	put(h, header, &type, 4);
	put(h, header + 8, &(uint64_t){ u8(in) }, 8);
	for (unsigned i = 0; i < 3; i++)
		put(h, d->ring[q] + 16 * ((head + i) % d->size), &e[i], 16);
}

static void offer(struct harness *h, struct driver *d, struct input *in)
{
	unsigned q = u8(in) % QUEUES, n = u8(in) % 4 + 1;
	uint16_t head = u8(in) & 15 ? d->added[q] % d->size : u8(in);

	if (!d->size)
		return;
	if (u8(in) & 1)
		request(h, d, in, q);
	else
		for (unsigned i = 0; i < n; i++)
			descriptor(h, in, d->ring[q] + 16 * ((head + i) % d->size), (head + i) % d->size);
	put(h, d->ring[q] + 0x1000 + 4 + 2 * (d->added[q] % d->size), &head, 2);
	d->added[q] += u8(in) & 31 ? 1 : u8(in);
	put(h, d->ring[q] + 0x1000 + 2, &d->added[q], 2);
}

/* Bytes of a hostile predecessor's state, if the check lets them pass. */
static void scribble(struct harness *h, struct input *in)
{
	struct dev *d = harness_dev(h, "virtio-blk");
	size_t n = d->ops->state_size;
	uint8_t *was = malloc(n);

	memcpy(was, d->state, n);
	for (unsigned i = u8(in) % 4 + 1; i; i--)
		((uint8_t *)d->state)[bytes(in, 2) % n] = u8(in);
	/* The operations in flight are the machine's record too. */
	if (d->ops->check(d, d->state) || d->ops->virtio->inflight(d) != h_disk_pending(h))
		memcpy(d->state, was, n);
	free(was);
}

/* A tame driver's rings stay where they are. */
static bool moves_rings(unsigned off)
{
	return !wild && off < 64 && off >= 24;
}

static void step(struct harness *h, struct driver *d, struct input *in)
{
	unsigned reg = any_register(in), size = 1u << u8(in) % 4, at;

	switch (u8(in) % 16) {
	case 0:
		if (!moves_rings(reg))
			bar_write(h, reg, size, bytes(in, 8));
		break;
	case 1:
		if (!moves_rings(reg))
			bar_write(h, reg, size, u8(in));
		break;
	case 2:
		if (reg % 0x1000 + size <= 0x1000)
			see_value(h_read(h, BAR + reg, size));
		break;
	case 3:
		at = 0x40 + u8(in) % 0x70 / 4 * 4;
		if (wild || at < 0x98)		/* the window reaches every register */
			h_pci_write(h, SLOT, 0, at, 4, u8(in) & 1 ? u32(in) : u8(in));
		break;
	case 4:
		see_value(h_pci_read(h, SLOT, 0, u8(in) & 0xfc, 4));
		break;
	case 5:
		start(h, d, in);
		break;
	case 6: case 7: case 8: case 9:
		offer(h, d, in);
		break;
	case 10: case 11:
		bar_write(h, 0x2000 + 4 * (u8(in) % 3), 2, 0);
		break;
	case 12:
		fill_reads(h, in);
		break;
	case 13:
		h_disk_finish(h, u8(in) & 3 ? 0 : -5);
		break;
	case 14:
		h_disk_defer(h, u8(in) & 1);
		break;
	case 15:
		if (u8(in) < 32) {
			h_disk_resize(h, handle, DISK + 512 * u8(in));
			h_inject(h, LINK_INJECT_RESIZE, SLOT << 3);
		} else if (wild && u8(in) < 64) {
			scribble(h, in);
		} else if (u8(in) < 16) {
			while (h_disk_finish(h, 0))
				;
			h_reset(h);
			h_pci_write(h, SLOT, 0, 0x10, 4, BAR);
			h_pci_write(h, SLOT, 0, 0x04, 2, 6);
		}
		break;
	}
}

bool fuzz_program(struct input in, bool stuttering)
{
	struct conf_key key[2] = { KEY_DISK("path", handle = harness_disk(disk, DISK, false)), KEY("queues", "2") };
	struct conf_dev dev[2] = { { .model = "hostbridge", .pci = true },
				   { .model = "virtio-blk", .pci = true, .slot = SLOT, .nkeys = 2, .key = key } };
	struct harness *h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2, .ram = RAM });
	struct dev *blk = harness_dev(h, "virtio-blk");
	struct driver d = { 0 };

	for (size_t i = 0; i < sizeof(disk); i++)
		disk[i] = i / 512 + i;
	h_pci_write(h, SLOT, 0, 0x10, 4, BAR);
	h_pci_write(h, SLOT, 0, 0x04, 2, 6);
	wild = u8(&in) & 1;
	harness_machine(h)->io_batch = 1;	/* as when it stutters: how many end together shows in the index last signalled */
	if (stuttering)
		stutter(blk);
	start(h, &d, &in);
	for (unsigned i = 0; in.n && i < MAX_STEPS; i++) {
		step(h, &d, &in);
		see_value(h_edges(h, 10));
		h_drop_events(h);
		if (blk->ops->check(blk, dev_state(blk)))
			abort();	/* a successor would refuse what we have made */
	}
	while (h_disk_finish(h, 0))
		;
	see(dev_state(blk), blk->ops->state_size);
	see(disk, sizeof(disk));
	see(h_ram(h), RAM);
	harness_free(h);
	harness_disks_free();
	stutter_none();
	return !wild;
}
