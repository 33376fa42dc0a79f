/*
 * tests/fuzz/fuzz_dispatch.c - hostile requests against every device through
 * the dispatcher: any port, address, size, count, flag; and slots that are no
 * requests at all.  The daemon may condemn the engine; it may not crash, hang,
 * overflow its outbox, or leave a transaction open.
 *
 * Input: a program of one-byte operations with their operands.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "devmodel/dispatch.h"
#include "devmodel/txn.h"
#include "ipc/link_engine.h"
#include "tests/fuzz/program.h"
#include "tests/unit/devharness.h"

enum { MAX_STEPS = 300, RAM = 2 << 20, DISK = 64 * 512 };

static uint8_t disk[DISK], cd[16 * 2048];

/* Where the devices are. */
static const uint16_t ports[] = {
	0x80, 0xb2, 0xb3, 0xe9, 0x60, 0x64, 0x170, 0x177, 0x1f0, 0x1f2, 0x1f6, 0x1f7, 0x376, 0x3f6, 0x2f8, 0x3f8, 0x3fd, 0x3fb,
	0x402, 0x501, 0x505, 0x510, 0x511, 0x514, 0x518, 0x600, 0x604, 0xae00, 0xafe0, 0xcf8, 0xcf9, 0xcfc, 0xcfd, 0xcfe, 0xc000,
	0xc004, 0xc00c,
};

static uint64_t mask(unsigned size)
{
	return size >= 8 ? ~0ull : (1ull << 8 * size) - 1;
}

/* A request that the check passes, but for what the operand bends. */
static void make(struct link_req *r, struct input *in)
{
	uint8_t shape = u8(in);

	*r = (struct link_req){ .kind = LINK_REQ_PIO_IN + (shape & 3), .size = 1u << (shape >> 2 & 3), .count = 1,
				.region = shape & 16 ? LINK_NO_REGION : (uint16_t)(u8(in) << 2 | u8(in) % 4) };
	if (r->kind <= LINK_REQ_PIO_OUT) {
		r->size = r->size > 4 ? 4 : r->size;
		r->addr = (ports[u8(in) % (sizeof(ports) / sizeof(ports[0]))] + (shape & 32 ? u8(in) & 15 : 0)) % (0x10000 - 3);
	} else {
		r->addr = (bytes(in, 3) << 12 | (u8(in) << 3 & 0xff8)) & (shape & 32 ? ~0ull : 0xffffff);
	}
	if (r->kind == LINK_REQ_PIO_OUT || r->kind == LINK_REQ_MMIO_WRITE) {
		r->value = bytes(in, r->size) & mask(r->size);
		r->flags = shape & 64 ? LINK_REQ_POSTED : 0;
	}
	if (r->kind <= LINK_REQ_PIO_OUT && shape & 128 && !r->flags) {
		r->flags = LINK_REQ_BATCH;
		r->count = bytes(in, 2) % (LINK_PAGE / r->size) + 1;
		r->data = u8(in) & 1;
		r->value = 0;
	}
}

struct run {
	struct harness *h;
	struct machine *m;
	struct link *engine;
	uint64_t seq[2];
};

static void drain(struct run *run)
{
	struct link_event ev;
	struct link_comp c;

	for (unsigned ring = 0; ring < 2; ring++)
		while (link_take_comp(run->engine, ring, &c) > 0)
			;
	while (h_raw_event(run->h, &ev))
		;
}

/* False: the engine was condemned. */
static bool send(struct run *run, unsigned ring, const struct link_req *r)
{
	int err;

	if (link_post_req(run->engine, ring, r))
		abort();
	do
		err = dispatch_poll(run->m);
	while (err > 0);
	drain(run);
	if (txn_state(run->m->arena) != TXN_IDLE || run->m->stat_overflows)
		abort();
	if (err < 0 && (err != -EPROTO || !run->m->error[0] || !run->m->lost))
		abort();
	return !err;
}

static bool step(struct run *run, struct input *in)
{
	struct link_req r;
	unsigned ring = 0;

	switch (u8(in) % 16) {
	case 0:		/* anything at all */
		for (unsigned i = 0; i < sizeof(r); i++)
			((uint8_t *)&r)[i] = u8(in);
		if (u8(in) & 1)
			r.seq = run->seq[0] + 1, r.vcpu = 0, memset(r.reserved, 0, sizeof(r.reserved));
		break;
	case 1:
		ring = 1;
		r = (struct link_req){ .kind = LINK_REQ_RESET + u8(in) % 5, .vcpu = 1, .count = 1, .region = LINK_NO_REGION, .seq = ++run->seq[1] };
		if (r.kind == LINK_REQ_INJECT)
			r.addr = u8(in) % 3, r.value = bytes(in, 8);
		if (r.kind == LINK_REQ_RESUME)
			r.value = bytes(in, 8);
		if (r.kind == LINK_REQ_VOID)
			r.flags = LINK_REQ_POSTED, r.size = 1;
		break;
	case 2:
		h_disk_finish(run->h, u8(in) & 1 ? 0 : -EIO);
		drain(run);
		return true;
	case 3:
		h_disk_defer(run->h, u8(in) & 1);
		return true;
	case 4:
		h_sleep(run->h, bytes(in, 4));
		if (machine_timers(run->m) < 0)
			abort();
		drain(run);
		return true;
	case 5:		/* guest RAM, so that descriptors mean something */
		for (unsigned n = u8(in) % 32, at = bytes(in, 2) << 4; n && at < RAM; n--)
			h_ram(run->h)[at++] = u8(in);
		return true;
	default:
		make(&r, in);
		r.seq = run->seq[0] + 1;
		break;
	}
	if (!ring)
		run->seq[0] = r.seq;
	return send(run, ring, &r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_key ide_key[2] = { KEY_DISK("hd0", harness_disk(disk, sizeof(disk), false)), KEY_DISK("cd2", harness_disk(cd, sizeof(cd), true)) };
	struct conf_key com_key = KEY_STREAM("com1", 0), chr_key = KEY_STREAM("chr", 1);
	struct conf_dev dev[] = {
		{ .model = "hostbridge", .pci = true }, { .model = "lpc", .pci = true, .slot = 1 },
		{ .model = "ide", .pci = true, .slot = 1, .function = 1, .nkeys = 2, .key = ide_key },
		{ .model = "piix4pm", .pci = true, .slot = 1, .function = 3 },
		{ .model = "fwcfg" }, { .model = "debugcon", .nkeys = 1, .key = &chr_key }, { .model = "post" },
		{ .model = "isa-debug-exit" }, { .model = "pvpanic" }, { .model = "uart", .nkeys = 1, .key = &com_key }, { .model = "i8042" },
	};
	struct harness *h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = sizeof(dev) / sizeof(dev[0]), .ram = RAM });
	struct run run = { .h = h, .m = harness_machine(h), .engine = h_engine(h) };
	struct input in = { data, size };

	h_pci_write(h, 1, 1, 0x20, 4, 0xc001);
	h_pci_write(h, 1, 1, 0x04, 2, 5);
	h_pci_write(h, 1, 3, 0x40, 4, 0x601);
	h_pci_write(h, 1, 3, 0x80, 1, 1);
	run.seq[0] = h_requests(h);
	for (unsigned i = 0; i < MAX_STEPS && in.n; i++)
		if (!step(&run, &in))
			break;
	harness_free(h);
	harness_disks_free();
	return 0;
}
