/*
 * tests/fuzz/fuzz_isa.c - serial ports and keyboard controller under a hostile
 * guest: accesses of any size and order, input, full outputs, timers, keys,
 * resets.  Their state checks must accept what they have made, and being undone
 * and run again in every transaction must not show.
 */
#include <stdint.h>
#include <stdlib.h>

#include "tests/fuzz/program.h"
#include "tests/unit/stutter.h"

enum { MAX_STEPS = 1000 };

static uint16_t port(struct input *in)
{
	static const uint16_t base[] = { 0x3f8, 0x2f8, 0x60, 0x64 };
	uint8_t which = u8(in) % 4;

	return base[which] + (which < 2 ? u8(in) % 8 : 0);
}

static void step(struct harness *h, struct input *in, bool *full)
{
	uint8_t buf[64];
	uint16_t at;
	uint64_t key = 0;

	switch (u8(in) % 10) {
	case 0: case 1: case 2:
		at = port(in);
		h_out(h, at, 1, u8(in));
		break;
	case 3: case 4:
		see_value(h_in(h, port(in), 1));
		break;
	case 5:
		at = port(in);
		h_out(h, at, 2u << (u8(in) % 2), u8(in) << 8 | u8(in));
		see_value(h_in(h, at, 1u << (u8(in) % 3)));
		break;
	case 6:
		for (unsigned i = 0; i < sizeof(buf); i++)
			buf[i] = i;
		h_input(h, 0, buf, u8(in) % 8);
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
			for (size_t i = 0, n = h_output(h, 0, buf, sizeof(buf)); i < n; i++)
				see_value(buf[i]);
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

bool fuzz_program(struct input in, bool stuttering)
{
	static const struct conf_key keys[] = { KEY_STREAM("com1", 0), KEY_STREAM("com2", -1) };
	static const struct conf_dev dev[2] = { { .model = "uart", .nkeys = 2, .key = keys }, { .model = "i8042" } };
	struct harness *h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2, .ram = 2 << 20 });
	struct dev *uart = harness_dev(h, "uart"), *kbd = harness_dev(h, "i8042");
	bool full = false;

	if (stuttering) {
		stutter(uart);
		stutter(kbd);
	}
	for (unsigned i = 0; in.n && i < MAX_STEPS; i++) {
		step(h, &in, &full);
		for (unsigned gsi = 0; gsi < 16; gsi++)
			see_value(h_edges(h, gsi));
		if (uart->ops->check(uart, dev_state(uart)) || kbd->ops->check(kbd, dev_state(kbd)))
			abort();
	}
	harness_free(h);
	stutter_none();
	return true;
}
