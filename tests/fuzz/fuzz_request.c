/*
 * tests/fuzz/fuzz_request.c - what a hostile engine may post.
 *
 * A request that link_req_check() lets pass must be harmless to everything
 * behind it; the harmless properties are computed here in another way and the
 * target aborts where they do not hold.  The slots go through a real ring whose
 * indices the input chooses too.
 */
#include <stdlib.h>
#include <string.h>

#include "ipc/check.h"
#include "ipc/ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

enum { SLOTS = 8 };

struct input {
	uint32_t prod, cons, nvcpus, channel, features, pad;
	uint64_t last_seq;
	struct link_req r;
};

#define MUST(c) do { if (!(c)) abort(); } while (0)

static void harmless(const struct link_req *r, const struct link_req_rule *rule)
{
	unsigned __int128 bytes = (unsigned __int128)r->count * r->size, end = (unsigned __int128)r->addr + r->size;
	bool port = r->kind == LINK_REQ_PIO_IN || r->kind == LINK_REQ_PIO_OUT;

	MUST(r->seq && r->count && r->vcpu == rule->channel);
	if (r->kind == LINK_REQ_VOID) {
		MUST(r->flags == LINK_REQ_POSTED && !r->addr && !r->value);
		return;
	}
	if (rule->channel == rule->nvcpus) {
		MUST(r->kind >= LINK_REQ_RESET && r->kind <= LINK_REQ_RESUME);
		return;
	}
	MUST(r->kind >= LINK_REQ_PIO_IN && r->kind <= LINK_REQ_MMIO_WRITE);
	MUST(__builtin_popcount(r->size) == 1 && r->size <= 8);
	MUST(bytes <= LINK_PAGE && r->data < LINK_DATA_PAGES);
	MUST(end <= (port ? 0x10000 : (unsigned __int128)1 << 64));
	MUST(port || r->addr / LINK_PAGE == (r->addr + r->size - 1) / LINK_PAGE);
	MUST(r->count == 1 || (port && r->flags == LINK_REQ_BATCH));
	if (r->flags & LINK_REQ_POSTED)
		MUST(r->kind != LINK_REQ_PIO_IN && r->kind != LINK_REQ_MMIO_READ && r->count == 1);
	MUST(r->size == 8 || !(r->value >> 8 * r->size));
}

static void through_ring(const struct input *in)
{
	static struct link_ring shared;
	static _Alignas(64) uint8_t slots[SLOTS][LINK_LINE];
	struct link_req out;
	struct ring prod, cons;

	memset(&shared, 0, sizeof(shared));
	memset(slots, 0, sizeof(slots));
	ring_init(&prod, &shared, slots, SLOTS, 0);
	ring_init(&cons, &shared, slots, SLOTS, 0);
	shared.cons = in->cons;
	for (int i = 0; i < SLOTS + 2; i++)
		ring_push(&prod, &in->r);
	shared.prod = in->prod;
	for (int i = 0; i < 2 * SLOTS; i++) {
		int n = ring_pending(&cons);

		MUST(n == -EPROTO || (n >= 0 && n <= SLOTS));
		if (ring_take(&cons, &out))
			ring_done(&cons);
		MUST(ring_check_producer(&prod) && ring_check_consumer(&cons));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { 0 };
	struct link_req_rule rule;
	const char *why = NULL;

	memcpy(&in, data, size < sizeof(in) ? size : sizeof(in));
	rule = (struct link_req_rule){ .nvcpus = 1 + in.nvcpus % LINK_MAX_VCPUS, .features = in.features, .last_seq = in.last_seq };
	rule.channel = in.channel % (rule.nvcpus + 1);
	if (link_req_check(&in.r, &rule, &why) == LINK_GOOD)
		harmless(&in.r, &rule);
	else
		MUST(why && *why);
	through_ring(&in);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const struct input seeds[] = {
		{ .features = LINK_F_ALL, .last_seq = 41, .r = { .seq = 42, .addr = 0x1f0, .count = 256, .size = 2,
		  .kind = LINK_REQ_PIO_IN, .flags = LINK_REQ_BATCH, .data = 1 } },
		{ .features = LINK_F_ALL, .last_seq = 41, .r = { .seq = 42, .addr = 0xe9, .value = 'x', .count = 1, .size = 1,
		  .kind = LINK_REQ_PIO_OUT, .flags = LINK_REQ_POSTED } },
		{ .features = LINK_F_ALL, .r = { .seq = 1, .addr = 0xfebf0ff8, .count = 1, .size = 8, .kind = LINK_REQ_MMIO_READ } },
		{ .channel = 1, .r = { .seq = 1, .addr = LINK_INJECT_KEY, .value = 0x1c, .count = 1, .vcpu = 1, .kind = LINK_REQ_INJECT } },
	};

	if (n >= sizeof(seeds) / sizeof(seeds[0]) || cap < sizeof(seeds[0]))
		return 0;
	memcpy(buf, &seeds[n], sizeof(seeds[0]));
	return sizeof(seeds[0]);
}
