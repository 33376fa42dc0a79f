/*
 * tests/fuzz/fuzz_completion.c - what a hostile daemon may answer.
 *
 * The first part of the input is an honest request, the second the answer.  A
 * completion that passes must not let the engine read or count beyond what it
 * asked for.
 */
#include <stdlib.h>
#include <string.h>

#include "ipc/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

struct input {
	struct link_req asked;
	struct link_comp c;
};

#define MUST(c) do { if (!(c)) abort(); } while (0)

/* Only requests that an honest engine makes have answers. */
static int honest(struct link_req *r)
{
	struct link_req_rule rule = { .nvcpus = 1, .channel = r->vcpu & 1, .features = LINK_F_ALL };
	const char *why;

	r->vcpu &= 1;
	memset(r->reserved, 0, sizeof(r->reserved));
	return link_req_check(r, &rule, &why) == LINK_GOOD;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { 0 };
	const char *why = NULL;

	memcpy(&in, data, size < sizeof(in) ? size : sizeof(in));
	if (!honest(&in.asked))
		return 0;
	switch (link_comp_check(&in.c, &in.asked, &why)) {
	case LINK_GOOD:
		MUST(in.c.seq == in.asked.seq && in.c.addr == in.asked.addr && in.c.kind == in.asked.kind);
		MUST(in.c.size == in.asked.size && in.c.count == in.asked.count && in.c.data == in.asked.data);
		MUST(in.c.done >= 1 && in.c.done <= in.asked.count && in.c.status <= LINK_UNCLAIMED);
		MUST(!(in.asked.flags & LINK_REQ_POSTED));
		if (in.asked.kind == LINK_REQ_PIO_IN && !(in.asked.flags & LINK_REQ_BATCH))
			MUST(!(in.c.value >> 8 * in.asked.size));
		break;
	case LINK_STALE:
		MUST(in.c.seq < in.asked.seq);
		break;
	case LINK_BAD:
		MUST(why && *why);
		break;
	}
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const struct input seeds[] = {
		{ { .seq = 42, .addr = 0x1f0, .count = 256, .size = 2, .kind = LINK_REQ_PIO_IN, .flags = LINK_REQ_BATCH, .data = 1 },
		  { .seq = 42, .addr = 0x1f0, .count = 256, .done = 256, .size = 2, .kind = LINK_REQ_PIO_IN, .data = 1, .event_seq = 5 } },
		{ { .seq = 7, .addr = 0x1f7, .count = 1, .size = 1, .kind = LINK_REQ_PIO_IN },
		  { .seq = 7, .addr = 0x1f7, .count = 1, .done = 1, .size = 1, .kind = LINK_REQ_PIO_IN, .value = 0x50 } },
		{ { .seq = 9, .addr = 0xfebf0000, .count = 1, .size = 8, .kind = LINK_REQ_MMIO_WRITE, .value = 1 },
		  { .seq = 8, .addr = 0xfebf0000, .count = 1, .done = 1, .size = 8, .kind = LINK_REQ_MMIO_WRITE } },
	};

	if (n >= sizeof(seeds) / sizeof(seeds[0]) || cap < sizeof(seeds[0]))
		return 0;
	memcpy(buf, &seeds[n], sizeof(seeds[0]));
	return sizeof(seeds[0]);
}
