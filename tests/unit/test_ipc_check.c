/*
 * tests/unit/test_ipc_check.c - the hostile-peer rule for content.  Each row
 * changes one field of an honest message and names the verdict.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "ipc/check.h"

#define VERDICT(call, want) do { \
		const char *why = NULL; \
		assert_int_equal(call, want); \
		assert_true((why != NULL) == ((want) == LINK_BAD)); \
	} while (0)

static const struct link_req_rule rule = { .nvcpus = 2, .channel = 1, .features = LINK_F_ALL, .last_seq = 41 };

static const struct link_req in = { .seq = 42, .addr = 0x1f7, .count = 1, .kind = LINK_REQ_PIO_IN, .size = 1, .vcpu = 1 };
static const struct link_req batch = { .seq = 42, .addr = 0x1f0, .count = 256, .kind = LINK_REQ_PIO_IN, .size = 2, .vcpu = 1,
				       .flags = LINK_REQ_BATCH, .data = 1 };
static const struct link_req posted = { .seq = 42, .addr = 0xe9, .value = 'x', .count = 1, .kind = LINK_REQ_PIO_OUT, .size = 1,
					.vcpu = 1, .flags = LINK_REQ_POSTED };
static const struct link_req mmio = { .seq = 42, .addr = 0xfee00ff8, .count = 1, .kind = LINK_REQ_MMIO_WRITE, .size = 8,
				      .value = UINT64_MAX, .vcpu = 1 };
static const struct link_req reset = { .seq = 42, .count = 1, .kind = LINK_REQ_RESET, .vcpu = 2 };

static void req_is(struct link_req r, enum link_verdict want)
{
	VERDICT(link_req_check(&r, &rule, &why), want);
}

static void req_under(struct link_req r, struct link_req_rule u, enum link_verdict want)
{
	VERDICT(link_req_check(&r, &u, &why), want);
}

#define BUT(base, ...) ({ struct link_req r_ = base; struct link_req *r = &r_; __VA_ARGS__; r_; })

static void test_good_requests(void **state)
{
	(void)state;
	req_is(in, LINK_GOOD);
	req_is(batch, LINK_GOOD);
	req_is(posted, LINK_GOOD);
	req_is(mmio, LINK_GOOD);
	req_is(BUT(in, r->addr = 0xffff), LINK_GOOD);
	req_is(BUT(in, r->addr = 0xfffc, r->size = 4), LINK_GOOD);
	req_is(BUT(batch, r->size = 1, r->count = LINK_PAGE), LINK_GOOD);
	req_is(BUT(batch, r->size = 4, r->count = LINK_PAGE / 4), LINK_GOOD);
	req_is(BUT(batch, r->kind = LINK_REQ_PIO_OUT, r->data = 0), LINK_GOOD);
	req_is(BUT(mmio, r->addr = UINT64_MAX - 7), LINK_GOOD);
	req_under(BUT(in, r->seq = 7), (struct link_req_rule){ 2, 1, LINK_F_ALL, 0 }, LINK_GOOD);
}

static void test_bad_requests(void **state)
{
	(void)state;
	req_is(BUT(in, r->seq = 41), LINK_BAD);
	req_is(BUT(in, r->seq = 43), LINK_BAD);
	req_is(BUT(in, r->seq = 0), LINK_BAD);
	req_under(BUT(in, r->seq = 0), (struct link_req_rule){ 2, 1, LINK_F_ALL, 0 }, LINK_BAD);
	req_is(BUT(in, r->vcpu = 0), LINK_BAD);
	req_is(BUT(in, r->kind = LINK_REQ_NONE), LINK_BAD);
	req_is(BUT(in, r->kind = LINK_REQ_KINDS), LINK_BAD);
	req_is(BUT(in, r->kind = 0xff), LINK_BAD);
	req_is(BUT(in, r->kind = LINK_REQ_RESET), LINK_BAD);	/* not on a vCPU's channel */
	req_is(BUT(in, r->size = 0), LINK_BAD);
	req_is(BUT(in, r->size = 3), LINK_BAD);
	req_is(BUT(in, r->size = 8), LINK_BAD);			/* ports are at most 4 wide */
	req_is(BUT(in, r->addr = 0x10000), LINK_BAD);
	req_is(BUT(in, r->addr = 0xffff, r->size = 2), LINK_BAD);
	req_is(BUT(in, r->addr = UINT64_MAX, r->size = 2), LINK_BAD);
	req_is(BUT(in, r->count = 0), LINK_BAD);
	req_is(BUT(in, r->count = 2), LINK_BAD);
	req_is(BUT(in, r->data = 1), LINK_BAD);
	req_is(BUT(in, r->value = 1), LINK_BAD);
	req_is(BUT(in, r->flags = LINK_REQ_POSTED), LINK_BAD);
	req_is(BUT(in, r->flags = 4), LINK_BAD);
	req_is(BUT(in, r->reserved[0] = 1), LINK_BAD);
	req_is(BUT(in, r->reserved[5] = 1), LINK_BAD);
	req_is(BUT(batch, r->count = 0), LINK_BAD);
	req_is(BUT(batch, r->count = LINK_PAGE / 2 + 1), LINK_BAD);
	req_is(BUT(batch, r->count = 0x80000001), LINK_BAD);	/* times two is small */
	req_is(BUT(batch, r->data = LINK_DATA_PAGES), LINK_BAD);
	req_is(BUT(batch, r->kind = LINK_REQ_MMIO_READ), LINK_BAD);
	req_is(BUT(batch, r->flags |= LINK_REQ_POSTED, r->kind = LINK_REQ_PIO_OUT), LINK_BAD);
	req_is(BUT(batch, r->value = 1), LINK_BAD);
	req_is(BUT(posted, r->value = 0x100), LINK_BAD);
	req_is(BUT(mmio, r->addr += 1), LINK_BAD);		/* crosses a page */
	req_is(BUT(mmio, r->addr = UINT64_MAX), LINK_BAD);	/* and the end of everything */
	req_under(batch, (struct link_req_rule){ 2, 1, LINK_F_ALL & ~LINK_F_BATCH, 41 }, LINK_BAD);
	req_under(posted, (struct link_req_rule){ 2, 1, LINK_F_ALL & ~LINK_F_POSTED, 41 }, LINK_BAD);
}

/* In place of a request of either kind of channel; it must not carry what somebody could act upon. */
static void test_void_requests(void **state)
{
	const struct link_req_rule control = { .nvcpus = 2, .channel = 2, .features = 0, .last_seq = 41 };
	struct link_req nothing = { .seq = 42, .kind = LINK_REQ_VOID, .size = 1, .count = 1, .flags = LINK_REQ_POSTED, .vcpu = 1,
				    .region = LINK_NO_REGION };

	(void)state;
	req_is(nothing, LINK_GOOD);
	req_under(BUT(nothing, r->vcpu = 2), control, LINK_GOOD);
	req_is(BUT(nothing, r->seq = 43), LINK_BAD);
	req_is(BUT(nothing, r->flags = 0), LINK_BAD);		/* nobody waits for it */
	req_is(BUT(nothing, r->flags |= LINK_REQ_BATCH), LINK_BAD);
	req_is(BUT(nothing, r->addr = 1), LINK_BAD);
	req_is(BUT(nothing, r->value = 1), LINK_BAD);
	req_is(BUT(nothing, r->count = 2), LINK_BAD);
	req_is(BUT(nothing, r->size = 2), LINK_BAD);
	req_is(BUT(nothing, r->data = 1), LINK_BAD);
	req_is(BUT(nothing, r->reserved[2] = 1), LINK_BAD);
}

static void test_control_requests(void **state)
{
	const struct link_req_rule control = { .nvcpus = 2, .channel = 2, .features = LINK_F_ALL, .last_seq = 41 };

	(void)state;
	req_under(reset, control, LINK_GOOD);
	req_under(BUT(reset, r->kind = LINK_REQ_PAUSE), control, LINK_GOOD);
	req_under(BUT(reset, r->kind = LINK_REQ_RESUME, r->value = UINT64_MAX), control, LINK_GOOD);
	req_under(BUT(reset, r->kind = LINK_REQ_INJECT, r->addr = LINK_INJECT_KEY, r->value = 0x1c), control, LINK_GOOD);
	req_under(BUT(reset, r->kind = LINK_REQ_INJECT, r->addr = 0), control, LINK_BAD);
	req_under(BUT(reset, r->kind = LINK_REQ_INJECT, r->addr = LINK_INJECT_KINDS), control, LINK_BAD);
	req_under(BUT(reset, r->kind = LINK_REQ_KINDS), control, LINK_BAD);
	req_under(BUT(reset, r->flags = LINK_REQ_POSTED), control, LINK_BAD);
	req_under(BUT(reset, r->count = 0), control, LINK_BAD);
	req_under(BUT(in, r->vcpu = 2), control, LINK_BAD);
	req_under(BUT(reset, r->vcpu = 1), control, LINK_BAD);
}

static struct link_comp answer_to(const struct link_req *r)
{
	return (struct link_comp){ .seq = r->seq, .addr = r->addr, .count = r->count, .done = r->count, .kind = r->kind,
				   .size = r->size, .data = r->data };
}

static void comp_is(struct link_comp c, const struct link_req *asked, enum link_verdict want)
{
	VERDICT(link_comp_check(&c, asked, &why), want);
}

#define COMP(asked, ...) ({ struct link_comp c_ = answer_to(&asked); struct link_comp *c = &c_; __VA_ARGS__; c_; })

static void test_completions(void **state)
{
	(void)state;
	comp_is(COMP(in, c->value = 0xff), &in, LINK_GOOD);
	comp_is(COMP(in, c->status = LINK_UNCLAIMED), &in, LINK_GOOD);
	comp_is(COMP(batch, c->done = 1), &batch, LINK_GOOD);
	comp_is(COMP(batch, c->done = 256), &batch, LINK_GOOD);
	comp_is(COMP(mmio, c->value = 0), &mmio, LINK_GOOD);
	comp_is(COMP(reset, c->value = 0), &reset, LINK_GOOD);

	comp_is(COMP(in, c->seq = 41), &in, LINK_STALE);
	comp_is(COMP(in, c->seq = 1, c->kind = 0xff), &in, LINK_STALE);

	comp_is(COMP(in, c->seq = 43), &in, LINK_BAD);
	comp_is(COMP(in, c->kind = LINK_REQ_PIO_OUT), &in, LINK_BAD);
	comp_is(COMP(in, c->addr++), &in, LINK_BAD);
	comp_is(COMP(in, c->addr += 1ull << 40), &in, LINK_BAD);
	comp_is(COMP(in, c->size = 2), &in, LINK_BAD);
	comp_is(COMP(in, c->count = 2), &in, LINK_BAD);
	comp_is(COMP(in, c->done = 0), &in, LINK_BAD);
	comp_is(COMP(in, c->done = 2), &in, LINK_BAD);
	comp_is(COMP(batch, c->done = 257), &batch, LINK_BAD);
	comp_is(COMP(batch, c->done = 0), &batch, LINK_BAD);
	comp_is(COMP(batch, c->data = 0), &batch, LINK_BAD);
	comp_is(COMP(in, c->status = LINK_STATUSES), &in, LINK_BAD);
	comp_is(COMP(in, c->value = 0x100), &in, LINK_BAD);
	comp_is(COMP(in, c->reserved[3] = 1), &in, LINK_BAD);
	comp_is(COMP(posted, c->value = 0), &posted, LINK_BAD);
}

static void event_is(struct link_event e, enum link_verdict want)
{
	e.seq += 10;
	VERDICT(link_event_check(&e, 9, &why), want);
}

#define EV(...) ((struct link_event){ __VA_ARGS__ })

static void test_events(void **state)
{
	(void)state;
	event_is(EV(.kind = LINK_EV_IRQ, .a = 15, .b = 1), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_IRQ, .a = 15, .b = 1, .seq = -1ull), LINK_STALE);
	event_is(EV(.kind = 0xffff, .seq = -9ull), LINK_STALE);
	event_is(EV(.kind = LINK_EV_IRQ, .a = 15, .b = 1, .seq = 1), LINK_BAD);
	event_is(EV(.kind = LINK_EV_IRQ, .a = LINK_GSIS), LINK_BAD);
	event_is(EV(.kind = LINK_EV_IRQ, .b = 2), LINK_BAD);
	event_is(EV(.kind = LINK_EV_NONE), LINK_BAD);
	event_is(EV(.kind = LINK_EV_KINDS), LINK_BAD);
	event_is(EV(.kind = UINT32_MAX), LINK_BAD);
	event_is(EV(.kind = LINK_EV_NMI), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_NMI, .reserved = { 0, 0, 0, 1 }), LINK_BAD);
	event_is(EV(.kind = LINK_EV_STRIKE, .a = LINK_BY_REQUEST, .b = 3, .d = 1, .value = 77), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_STRIKE, .a = LINK_BY_TIMER, .b = LINK_NO_DEVICE, .c = 5, .d = 3), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_STRIKE, .a = LINK_BY_NOBODY, .d = 1), LINK_BAD);
	event_is(EV(.kind = LINK_EV_STRIKE, .a = LINK_CAUSES, .d = 1), LINK_BAD);
	event_is(EV(.kind = LINK_EV_STRIKE, .a = LINK_BY_IO), LINK_BAD);
	event_is(EV(.kind = LINK_EV_STRIKE, .a = LINK_BY_IO, .d = 1, .b = LINK_NO_DEVICE + 1), LINK_BAD);
	event_is(EV(.kind = LINK_EV_STRIKE, .a = LINK_BY_IO, .d = 1, .c = 0x10000), LINK_BAD);
	event_is(EV(.kind = LINK_EV_STRIKE, .a = LINK_BY_IO, .d = 1, .value = 1), LINK_BAD);
	event_is(EV(.kind = LINK_EV_SERVICE, .a = 63, .b = 1), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_SERVICE, .a = LINK_NO_DEVICE), LINK_BAD);
	event_is(EV(.kind = LINK_EV_SERVICE, .b = 2), LINK_BAD);
	event_is(EV(.kind = LINK_EV_MSI, .addr = 0xfee01000, .value = 0x4041), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_MSI, .addr = 0xfed01000), LINK_BAD);
	event_is(EV(.kind = LINK_EV_MSI, .addr = 0x1fee01000), LINK_BAD);
	event_is(EV(.kind = LINK_EV_MSI, .addr = 0xfee01000, .value = 1ull << 32), LINK_BAD);
	event_is(EV(.kind = LINK_EV_REGION, .addr = 0x1f0, .value = 8, .c = LINK_NO_SHADOW), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_REGION, .addr = 0xfff8, .value = 8), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_REGION, .addr = 0xfff9, .value = 8), LINK_BAD);
	event_is(EV(.kind = LINK_EV_REGION, .addr = UINT64_MAX, .value = 8), LINK_BAD);
	event_is(EV(.kind = LINK_EV_REGION, .a = LINK_RGN_MMIO, .addr = 0xe0000000, .value = 0x1000), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_REGION, .a = LINK_RGN_MMIO, .addr = UINT64_MAX, .value = 0x1000), LINK_BAD);
	event_is(EV(.kind = LINK_EV_REGION, .a = LINK_RGN_MMIO | LINK_RGN_BATCH, .value = 0x1000), LINK_BAD);
	event_is(EV(.kind = LINK_EV_REGION, .a = 0x10, .value = 1), LINK_BAD);
	event_is(EV(.kind = LINK_EV_REGION, .b = LINK_NO_REGION, .value = 1), LINK_BAD);
	event_is(EV(.kind = LINK_EV_REGION, .a = LINK_RGN_SHADOW, .value = 8, .c = LINK_SHADOWS - 8), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_REGION, .a = LINK_RGN_SHADOW, .value = 8, .c = LINK_SHADOWS - 7), LINK_BAD);
	event_is(EV(.kind = LINK_EV_REGION, .a = LINK_RGN_SHADOW, .value = 8, .c = LINK_NO_SHADOW), LINK_BAD);
	event_is(EV(.kind = LINK_EV_MEMMAP, .a = LINK_MAP_ROM, .addr = 0xe0000, .value = 0x20000), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_MEMMAP, .a = LINK_MAPS, .addr = 0xe0000, .value = 0x20000), LINK_BAD);
	event_is(EV(.kind = LINK_EV_MEMMAP, .a = LINK_MAP_ROM, .addr = 0xe0001, .value = 0x20000), LINK_BAD);
	event_is(EV(.kind = LINK_EV_MEMMAP, .a = LINK_MAP_ROM, .addr = 0xe0000, .value = 0x20001), LINK_BAD);
	event_is(EV(.kind = LINK_EV_MEMMAP, .a = LINK_MAP_ROM, .addr = 0xe0000, .value = 0x20000, .c = 5), LINK_BAD);
	event_is(EV(.kind = LINK_EV_MEMMAP, .addr = ~0xfffull, .value = 0x2000), LINK_BAD);
	event_is(EV(.kind = LINK_EV_PMBASE, .addr = 0x600, .value = 1), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_PMBASE, .addr = 0xfff0, .value = 1), LINK_BAD);
	event_is(EV(.kind = LINK_EV_PMBASE, .addr = 0x600, .value = 2), LINK_BAD);
	event_is(EV(.kind = LINK_EV_A20, .a = 1), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_A20, .a = 2), LINK_BAD);
	event_is(EV(.kind = LINK_EV_CODE, .addr = 0x7c00, .value = 512), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_CODE, .addr = 0x7c00), LINK_BAD);
	event_is(EV(.kind = LINK_EV_CODE, .addr = 2, .value = UINT64_MAX), LINK_BAD);
	event_is(EV(.kind = LINK_EV_POWER, .a = LINK_POWER_OFF), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_POWER), LINK_BAD);
	event_is(EV(.kind = LINK_EV_POWER, .a = LINK_POWER_PANIC + 1), LINK_BAD);
	event_is(EV(.kind = LINK_EV_DOORBELL, .a = 7, .b = 255, .c = 2, .addr = 0xfebf0000, .value = 0xffff), LINK_GOOD);
	event_is(EV(.kind = LINK_EV_DOORBELL, .a = 7, .b = 255, .c = 2, .addr = 0xfebf0000, .value = 0x10000), LINK_BAD);
	event_is(EV(.kind = LINK_EV_DOORBELL, .a = 8, .b = 0, .c = 2), LINK_BAD);
	event_is(EV(.kind = LINK_EV_DOORBELL, .b = LINK_DOORBELLS, .c = 2), LINK_BAD);
	event_is(EV(.kind = LINK_EV_DOORBELL, .c = 3), LINK_BAD);
	event_is(EV(.kind = LINK_EV_DOORBELL, .c = 2, .addr = 0xffff), LINK_BAD);
	event_is(EV(.kind = LINK_EV_DOORBELL, .a = LINK_DB_MMIO, .c = 2, .addr = UINT64_MAX), LINK_BAD);
}

/* No kind is without a rule or a name. */
static void test_every_kind(void **state)
{
	(void)state;
	for (unsigned k = 0; k < LINK_REQ_KINDS; k++)
		assert_string_not_equal(link_req_name(k), "unknown");
	for (unsigned k = 0; k < LINK_EV_KINDS; k++)
		assert_string_not_equal(link_event_name(k), "unknown");
	assert_string_equal(link_req_name(0xff), "unknown");
	assert_string_equal(link_event_name(UINT32_MAX), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_requests),
		cmocka_unit_test(test_bad_requests),
		cmocka_unit_test(test_void_requests), cmocka_unit_test(test_control_requests),
		cmocka_unit_test(test_completions),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_every_kind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
