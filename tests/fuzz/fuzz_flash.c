/*
 * tests/fuzz/fuzz_flash.c - the flash chip under a hostile guest: accesses of any
 * size, order and place, resets.  Its file and its memory are always the same;
 * a byte changes only by losing bits or, with all of its block, to FFh; the slot
 * that hides the array is there exactly while reads show something else; and
 * being undone and run again in every transaction must not show.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/fuzz/program.h"
#include "tests/unit/stutter.h"

enum { BLOCK = 4096, BLOCKS = 2, BYTES = BLOCKS * BLOCK, MAX_STEPS = 120 };
#define BASE 0xfff00000ull

static uint8_t before[BYTES], kept[BYTES];
static bool hidden;

static void need(bool ok)
{
	if (!ok)
		abort();
}

/* Somewhere near the last place, mostly. */
static uint64_t place(struct input *in, unsigned size)
{
	static const uint16_t at[] = { 0, 1, 0x10, 0x2a, 60, 64, 128, BLOCK - 8, BLOCK, BLOCK + 63, BYTES - 64, BYTES - 1 };
	uint64_t off = at[u8(in) % (sizeof(at) / sizeof(at[0]))] + u8(in) % 64u;

	return BASE + (off % BYTES & ~(uint64_t)(size - 1));
}

static uint8_t command(struct input *in)
{
	static const uint8_t of_note[] = { 0x10, 0x40, 0x20, 0xd0, 0x50, 0x60, 0x70, 0x90, 0x98, 0xe8, 0xff, 0x01 };
	uint8_t b = u8(in);

	return b < 200 ? of_note[b % sizeof(of_note)] : b;
}

static void check(struct harness *h, int fd)
{
	const uint8_t *array = harness_machine(h)->flash;
	struct dev *d = harness_dev(h, "flash");
	struct link_event ev;

	while (h_event(h, &ev))
		if (ev.kind == LINK_EV_MEMMAP) {
			need(ev.addr == BASE && ev.a == LINK_MAP_NONE && (!ev.value || ev.value == BYTES));
			hidden = ev.value;
		}
	if (!hidden)
		need(h_read(h, BASE + 9, 1) == array[9]);
	need(!d->ops->check(d, dev_state(d)));
	if (!memcmp(before, array, BYTES))
		return;
	for (unsigned b = 0; b < BYTES; b += BLOCK) {
		bool erased = true, lost = true;

		for (unsigned i = b; i < b + BLOCK; i++) {
			erased &= array[i] == 0xff;
			lost &= (array[i] & before[i]) == array[i];
		}
		need(erased || lost);
	}
	need(pread(fd, kept, BYTES, 0) == BYTES);
	need(!memcmp(kept, array, BYTES));
	memcpy(before, array, BYTES);
}

/* The whole of a program, or of a write to the buffer, so that more than errors come about. */
static void operation(struct harness *h, struct input *in)
{
	uint64_t at = place(in, 1);
	unsigned n = u8(in) % 66;

	h_write(h, at, 1, n & 1 ? 0x40 : 0xe8);
	if (n & 1) {
		h_write(h, at, 1, u8(in));
		return;
	}
	h_write(h, at, 1, n);
	for (unsigned i = 0; i <= n; i++)
		h_write(h, (at & ~63ull) + (at + i) % 64, 1, u8(in));
	h_write(h, at, 1, 0xd0);
}

static void step(struct harness *h, struct input *in)
{
	uint8_t what = u8(in);
	unsigned size = 1u << (what & 0x80 ? what >> 4 & 3 : 0);
	uint64_t at, value;

	switch (what % 8) {
	case 0: case 1: case 2: case 3:
		at = place(in, size);
		value = command(in);
		for (unsigned i = 1; i < size; i++)
			value |= (uint64_t)u8(in) << 8 * i;
		h_write(h, at, size, value);
		break;
	case 4: case 5:
		see_value(h_read(h, place(in, size), size));
		break;
	case 6:
		operation(h, in);
		break;
	case 7:
		if (what < 16)
			h_reset(h);
		break;
	}
}

bool fuzz_program(struct input in, bool stuttering)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	const struct conf_key key = KEY_DISK("vars", fd);
	const struct conf_dev dev = { .model = "flash", .nkeys = 1, .key = &key };
	struct harness *h;

	memset(before, 0xff, sizeof(before));
	need(pwrite(fd, before, BYTES, 0) == BYTES);
	h = harness_new(&(struct harness_conf){ .dev = &dev, .ndevs = 1, .ram = 2 << 20, .flash_base = BASE, .flash_bytes = BYTES });
	hidden = false;
	if (stuttering)
		stutter(harness_dev(h, "flash"));
	for (unsigned i = 0; in.n && i < MAX_STEPS; i++) {
		step(h, &in);
		check(h, fd);
	}
	see(before, BYTES);
	harness_free(h);
	stutter_none();
	close(fd);
	return true;
}
