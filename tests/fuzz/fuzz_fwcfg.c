/*
 * tests/fuzz/fuzz_fwcfg.c - fw_cfg's descriptors in RAM that the guest writes
 * as it likes, mixed with port accesses.
 *
 * Besides not crashing: bytes of RAM outside the target of a transfer and its
 * status stay as they are.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/program.h"
#include "tests/unit/devharness.h"

enum { RAM = 1 << 20, MAX_STEPS = 100, AT = 0x8000 };

static uint8_t before[RAM];

static bool same(const uint8_t *ram, uint64_t from, uint64_t to)
{
	return from >= to || !memcmp(ram + from, before + from, to - from);
}

static void transfer(struct harness *h, struct input *in)
{
	uint8_t *ram = h_ram(h), how = u8(in);
	uint32_t control = (uint32_t)(how & 64 ? 0x19 + (how & 3) : u8(in)) << 16 | (how & 31);
	uint32_t length = how & 128 ? u32(in) : u32(in) & 0x1fff, status;
	uint64_t to = how & 32 ? u32(in) : u32(in) % RAM, end;
	uint32_t w[4] = { __builtin_bswap32(control), __builtin_bswap32(length), 0, __builtin_bswap32((uint32_t)to) };

	if (u8(in) > 250)
		w[2] = u32(in);
	memcpy(ram + AT, w, sizeof(w));
	memcpy(before, ram, RAM);
	h_out(h, 0x518, 4, __builtin_bswap32(AT));
	memcpy(&status, ram + AT, 4);
	memcpy(ram + AT, before + AT, 4);
	status = __builtin_bswap32(status);
	end = to + length;
	if (status & ~1u)
		abort();
	if (status || w[2] || !(control & 2)) {
		/* nothing may have been written; a transfer may cover its own descriptor only when it succeeds */
		if (memcmp(ram, before, RAM))
			abort();
		return;
	}
	if (end > RAM || (to < 0xc0000 && end > 0xa0000 && length) || !same(ram, 0, to) || !same(ram, end, RAM))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct conf_dev dev[] = {
		{ .model = "fwcfg" }, { .model = "hostbridge", .pci = true }, { .model = "piix4pm", .pci = true, .slot = 1, .function = 3 },
	};
	struct harness *h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 3, .ram = RAM, .apic = true });
	struct input in = { data, size };
	uint8_t b[4096];

	for (unsigned i = 0; i < MAX_STEPS && in.n; i++)
		switch (u8(&in) % 9) {
		case 0:
			h_out(h, 0x510, 2, u8(&in) << 8 | u8(&in));
			break;
		case 1:
			h_ins(h, 0x511, 1, b, (u8(&in) << 4 | 1));
			break;
		case 2:
			h_in(h, 0x510 + u8(&in) % 12, 1u << (u8(&in) % 3));
			break;
		case 3:
			h_out(h, 0x510 + u8(&in) % 12, 1, u8(&in));
			break;
		case 4:
			h_out(h, 0x514, 4, u32(&in));
			h_out(h, 0x518, 4, u32(&in));
			break;
		case 5:	/* the tables tell where these registers are; not over our own ports */
			h_pci_write(h, 1, 3, 0x40, 4, 0x1000 | (u8(&in) << 8 & 0xe000) | u8(&in));
			h_pci_write(h, 1, 3, 0x80, 1, u8(&in));
			break;
		default:
			transfer(h, &in);
		}
	harness_free(h);
	return 0;
}
