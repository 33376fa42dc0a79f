/*
 * tests/fuzz/fuzz_event.c - what a hostile daemon may announce.
 *
 * The input is a series of events.  Those that pass must be consecutive and
 * must not name anything outside of its range.
 */
#include <stdlib.h>
#include <string.h>

#include "ipc/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

#define MUST(c) do { if (!(c)) abort(); } while (0)

static void harmless(const struct link_event *e)
{
	unsigned __int128 end = (unsigned __int128)e->addr + e->value, all = (unsigned __int128)1 << 64;

	switch (e->kind) {
	case LINK_EV_IRQ:
		MUST(e->a < LINK_GSIS && e->b <= 1);
		break;
	case LINK_EV_MSI:
		MUST(e->addr >= 0xfee00000 && e->addr <= 0xfeefffff && e->value <= UINT32_MAX);
		break;
	case LINK_EV_REGION:
		MUST(e->b < LINK_NO_REGION);
		MUST(end <= (e->a & LINK_RGN_MMIO ? all - 1 : 0x10000));
		if (e->a & LINK_RGN_SHADOW)
			MUST((unsigned __int128)e->c + e->value <= LINK_SHADOWS);
		break;
	case LINK_EV_MEMMAP:
		MUST(e->a < LINK_MAPS && end < all && !((e->addr | e->value | e->c) & 0xfff));
		break;
	case LINK_EV_PMBASE:
		MUST(e->addr + 64 <= 0x10000 && e->value <= 1);
		break;
	case LINK_EV_A20:
		MUST(e->a <= 1);
		break;
	case LINK_EV_CODE:
		MUST(e->value && end < all);
		break;
	case LINK_EV_POWER:
		MUST(e->a >= 1 && e->a <= 4);
		break;
	case LINK_EV_DOORBELL:
		MUST(e->b < LINK_DOORBELLS && e->c <= 8 && __builtin_popcount(e->c) == 1);
		MUST((unsigned __int128)e->addr + e->c < all);
		break;
	case LINK_EV_NMI:
		break;
	case LINK_EV_STRIKE:
		MUST(e->a >= 1 && e->a < LINK_CAUSES && e->b <= LINK_NO_DEVICE && e->d);
		break;
	case LINK_EV_SERVICE:
		MUST(e->a < LINK_NO_DEVICE && e->b <= 1);
		break;
	default:
		abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t last = 0;

	for (size_t at = 0; at + sizeof(struct link_event) <= size; at += sizeof(struct link_event)) {
		const char *why = NULL;
		struct link_event e;
		enum link_verdict v;

		memcpy(&e, data + at, sizeof(e));
		if (e.seq > 64)
			last = e.seq - 1;	/* else nothing but the first would ever be looked at */
		v = link_event_check(&e, last, &why);
		if (v == LINK_GOOD) {
			MUST(e.seq == last + 1);
			harmless(&e);
			last = e.seq;
		} else {
			MUST(v == LINK_STALE ? e.seq <= last : why && *why);
		}
	}
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const struct link_event seeds[] = {
		{ .seq = 1, .kind = LINK_EV_IRQ, .a = 14, .b = 1 },
		{ .seq = 2, .kind = LINK_EV_REGION, .a = LINK_RGN_BATCH, .b = 3, .addr = 0x1f0, .value = 8 },
		{ .seq = 3, .kind = LINK_EV_REGION, .a = LINK_RGN_SHADOW, .b = 4, .c = 16, .addr = 0x3f6, .value = 1 },
		{ .seq = 4, .kind = LINK_EV_MEMMAP, .a = LINK_MAP_RAM, .addr = 0xe0000, .value = 0x10000 },
		{ .seq = 5, .kind = LINK_EV_PMBASE, .addr = 0x600, .value = 1 },
		{ .seq = 6, .kind = LINK_EV_CODE, .addr = 0x7c00, .value = 512 },
		{ .seq = 7, .kind = LINK_EV_POWER, .a = LINK_POWER_RESET },
		{ .seq = 8, .kind = LINK_EV_DOORBELL, .a = 7, .b = 1, .c = 2, .addr = 0xfebf0000, .value = 1 },
		{ .seq = 9, .kind = LINK_EV_MSI, .addr = 0xfee01000, .value = 0x31 },
		{ .seq = 10, .kind = LINK_EV_A20, .a = 1 },
	};

	if (cap < sizeof(seeds))
		return 0;
	if (n == 0)
		memcpy(buf, seeds, sizeof(seeds));
	else if (n <= sizeof(seeds) / sizeof(seeds[0]))
		memcpy(buf, &seeds[n - 1], sizeof(seeds[0]));
	else
		return 0;
	return n ? sizeof(seeds[0]) : sizeof(seeds);
}
