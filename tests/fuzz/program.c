/*
 * tests/fuzz/program.c - see program.h.
 */
#include "tests/fuzz/program.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

/* All that has been seen, as a number: FNV-1a on words. */
static uint64_t seen;

void see(const void *bytes, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i += 8) {
		memcpy(&v, (const uint8_t *)bytes + i, n - i < 8 ? n - i : 8);
		seen = (seen ^ v) * 0x100000001b3ull;
		seen ^= seen >> 29;
	}
}

void see_value(uint64_t value)
{
	see(&value, sizeof(value));
}

static bool run(struct input in, bool stuttering)
{
	seen = 0xcbf29ce484222325ull;
	return fuzz_program(in, stuttering);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	bool same = run(in, false);
	uint64_t once = seen;

	/* The comparison doubles the cost: one input in four. */
	if (size && data[size / 2] % 4 == 0 && run(in, true) && same && seen != once)
		abort();
	return 0;
}

/* Long inputs, so that sequences get somewhere. */
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
