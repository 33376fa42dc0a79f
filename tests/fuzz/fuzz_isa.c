/*
 * tests/fuzz/fuzz_isa.c - serial ports and keyboard controller under a hostile
 * guest: accesses of any size and order, input, full outputs, timers, keys,
 * resets.  Their state checks must accept what they have made, and being undone
 * and run again in every transaction must not show.
 */
#include <stdint.h>
#include <stdlib.h>

#include "tests/unit/stutter.h"

enum { MAX_STEPS = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

struct input { const uint8_t *p; size_t n; };

/* What the guest and the far end of the line have seen, as a number. */
static uint64_t seen;

static void see(uint64_t value)
{
	for (unsigned i = 0; i < 8; i++)
		seen = (seen ^ (value >> 8 * i & 0xff)) * 0x100000001b3ull;
}

static uint8_t u8(struct input *in)
{
	if (!in->n)
		return 0;
	in->n--;
	return *in->p++;
}

static uint16_t port(struct input *in)
{
	static const uint16_t base[] = { 0x3f8, 0x2f8, 0x60, 0x64 };
	uint8_t which = u8(in) % 4;

	return base[which] + (which < 2 ? u8(in) % 8 : 0);
}

static void step(struct harness *h, struct input *in, bool *full)
{
	uint8_t bytes[64];
	uint16_t at;
	uint64_t key = 0;

	switch (u8(in) % 10) {
	case 0: case 1: case 2:
		at = port(in);
		h_out(h, at, 1, u8(in));
		break;
	case 3: case 4:
		see(h_in(h, port(in), 1));
		break;
	case 5:
		at = port(in);
		h_out(h, at, 2u << (u8(in) % 2), u8(in) << 8 | u8(in));
		see(h_in(h, at, 1u << (u8(in) % 3)));
		break;
	case 6:
		for (unsigned i = 0; i < sizeof(bytes); i++)
			bytes[i] = i;
		h_input(h, 0, bytes, u8(in) % 8);
		break;
	case 7:
		for (unsigned i = u8(in) % 9; i; i--)
			key = key << 8 | u8(in);
		h_inject(h, LINK_INJECT_KEY, key);
		break;
	case 8:
		if (*full)
			h_output_full(h, 0, *full = false);
		else if (u8(in) & 1)
			h_output_full(h, 0, *full = true);
		else
			for (size_t i = 0, n = h_output(h, 0, bytes, sizeof(bytes)); i < n; i++)
				see(bytes[i]);
		break;
	case 9:
		if (u8(in) < 8)
			h_reset(h);
		else
			h_advance(h, (uint64_t)u8(in) << 16);
		break;
	}
	h_drop_events(h);
}

static uint64_t run(struct input in, bool stuttering)
{
	static const struct conf_key keys[] = { KEY_STREAM("com1", 0), KEY_STREAM("com2", -1) };
	static const struct conf_dev dev[2] = { { .model = "uart", .nkeys = 2, .key = keys }, { .model = "i8042" } };
	struct harness *h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2, .ram = 2 << 20 });
	struct dev *uart = harness_dev(h, "uart"), *kbd = harness_dev(h, "i8042");
	bool full = false;

	seen = 0xcbf29ce484222325ull;
	if (stuttering) {
		stutter(uart);
		stutter(kbd);
	}
	for (unsigned i = 0; in.n && i < MAX_STEPS; i++) {
		step(h, &in, &full);
		for (unsigned gsi = 0; gsi < 16; gsi++)
			see(h_edges(h, gsi));
		if (uart->ops->check(uart, dev_state(uart)) || kbd->ops->check(kbd, dev_state(kbd)))
			abort();
	}
	harness_free(h);
	stutter_none();
	return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint64_t once = run(in, false);

	/* The comparison doubles the cost: one input in four. */
	if (size && data[size / 2] % 4 == 0 && run(in, true) != once)
		abort();
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	uint32_t x = 0x9e3779b9u * (n + 1);

	if (n >= 16)
		return 0;
	for (size_t i = 0; i < cap; i++) {
		x = x * 1664525 + 1013904223;
		buf[i] = x >> 24;
	}
	return cap;
}
