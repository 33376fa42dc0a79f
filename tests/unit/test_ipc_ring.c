/* tests/unit/test_ipc_ring.c - slot rings: order, wrap-around, room, and a peer that lies about its index. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "ipc/ring.h"

enum { SLOTS = 8 };

struct pair {
	struct link_ring shared;
	_Alignas(64) uint8_t slots[SLOTS][LINK_LINE];
	struct ring prod, cons;
};

static struct pair pair;

/* As if both sides had moved `start` entries already. */
static void begin(uint32_t start)
{
	memset(&pair, 0, sizeof(pair));
	ring_init(&pair.prod, &pair.shared, pair.slots, SLOTS, start);
	ring_init(&pair.cons, &pair.shared, pair.slots, SLOTS, start);
	pair.shared.prod = pair.shared.cons = start;
	for (uint32_t p = start - SLOTS; p != start; p++)
		*ring_turn(&pair.prod, p) = p + 1;
}

static int put(uint32_t tag)
{
	uint8_t line[LINK_LINE];

	memset(line, (int)(tag & 0xff), sizeof(line));
	memcpy(line, &tag, sizeof(tag));
	return ring_push(&pair.prod, line);
}

static void expect(uint32_t tag)
{
	uint8_t line[LINK_LINE];
	uint32_t got;

	assert_int_equal(ring_take(&pair.cons, line), 1);
	memcpy(&got, line, sizeof(got));
	assert_int_equal(got, tag);
	for (size_t i = sizeof(got); i < LINK_LINE - 4; i++)
		assert_int_equal(line[i], tag & 0xff);
}

static void test_empty(void **state)
{
	uint8_t line[LINK_LINE];

	(void)state;
	begin(0);
	assert_int_equal(ring_take(&pair.cons, line), 0);
	assert_int_equal(ring_pending(&pair.cons), 0);
	assert_int_equal(ring_room(&pair.prod, 1), SLOTS);
}

static void test_full(void **state)
{
	(void)state;
	begin(0);
	for (uint32_t i = 0; i < SLOTS; i++)
		assert_int_equal(put(i), 0);
	assert_int_equal(put(99), -EAGAIN);
	assert_int_equal(ring_pending(&pair.cons), SLOTS);
	expect(0);
	assert_int_equal(put(99), -EAGAIN);	/* taken, not given back */
	assert_false(ring_done(&pair.cons));	/* given back, not yet told: a quarter is two */
	expect(1);
	assert_true(ring_done(&pair.cons));
	assert_int_equal(ring_room(&pair.prod, 1), 2);
	assert_int_equal(put(8), 0);
	assert_int_equal(put(9), 0);
	assert_int_equal(put(10), -EAGAIN);
	for (uint32_t i = 2; i < 10; i++)
		expect(i);
	assert_int_equal(ring_take(&pair.cons, (uint8_t[LINK_LINE]){ 0 }), 0);
}

/* A consumer that works through a full ring always comes to a point where the producer is told. */
static void test_full_ring_drains(void **state)
{
	(void)state;
	for (uint32_t ahead = 0; ahead < SLOTS; ahead++) {
		bool told = false;

		begin(0);
		for (uint32_t i = 0; i < ahead; i++) {
			assert_int_equal(put(i), 0);
			expect(i);
			ring_done(&pair.cons);
		}
		while (!put(7))
			;
		while (ring_ready(&pair.cons)) {
			ring_take(&pair.cons, (uint8_t[LINK_LINE]){ 0 });
			told |= ring_done(&pair.cons);
		}
		assert_true(told);
		assert_true(ring_room(&pair.prod, SLOTS) > 0);
	}
}

/* Indices pass 2^32, where `turn` is 0 once. */
static void test_wrap(void **state)
{
	(void)state;
	begin(UINT32_MAX - 2 * SLOTS);
	for (uint32_t i = 0; i < 5 * SLOTS; i++) {
		assert_int_equal(put(i), 0);
		assert_int_equal(put(i + 1000), 0);
		expect(i);
		expect(i + 1000);
		ring_done(&pair.cons);
		assert_int_equal(ring_pending(&pair.cons), 0);
		assert_true(ring_check_producer(&pair.prod));
		assert_true(ring_check_consumer(&pair.cons));
	}
}

static void test_hostile_consumer(void **state)
{
	static const uint32_t lies[] = { 1, 5, 0x80000000, UINT32_MAX - SLOTS };

	(void)state;
	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		begin(0);
		for (uint32_t n = 0; n < SLOTS; n++)
			assert_int_equal(put(n), 0);
		pair.shared.cons = SLOTS + lies[i];	/* took what was never there */
		assert_int_equal(put(99), -EPROTO);
		assert_true(ring_check_producer(&pair.prod));
		assert_int_equal(put(99), -EPROTO);	/* and stays so */
	}
}

static void test_hostile_producer(void **state)
{
	(void)state;
	begin(0);
	pair.shared.prod = SLOTS + 1;
	assert_int_equal(ring_pending(&pair.cons), -EPROTO);
	pair.shared.prod = UINT32_MAX - 1;
	assert_int_equal(ring_pending(&pair.cons), -EPROTO);
	pair.shared.prod = 1;				/* promises a slot, turn not there */
	assert_int_equal(ring_pending(&pair.cons), -EPROTO);
	*ring_turn(&pair.cons, 0) = 7;
	assert_int_equal(ring_pending(&pair.cons), -EPROTO);
	assert_int_equal(ring_take(&pair.cons, (uint8_t[LINK_LINE]){ 0 }), 0);
	*ring_turn(&pair.cons, 0) = 1;
	assert_int_equal(ring_pending(&pair.cons), 1);
}

/* A producer stopped between its two stores: the slot is taken by its turn, the index is one behind. */
static void test_index_one_behind(void **state)
{
	(void)state;
	begin(0);
	put(1);
	pair.shared.prod = 0;
	expect(1);
	assert_int_equal(ring_pending(&pair.cons), 0);
	pair.shared.prod = 1;
	assert_int_equal(ring_pending(&pair.cons), 0);
	put(2);
	assert_int_equal(ring_pending(&pair.cons), 1);
}

/* More entries than are free for it: slots taken but not given back count. */
static void test_hostile_overrun(void **state)
{
	(void)state;
	begin(0);
	for (uint32_t i = 0; i < 4; i++)
		put(i);
	for (uint32_t i = 0; i < 4; i++)
		expect(i);
	*ring_turn(&pair.cons, 4) = 5;
	pair.shared.prod = 4 + SLOTS - 4;
	assert_int_equal(ring_pending(&pair.cons), SLOTS - 4);
	pair.shared.prod = 4 + SLOTS;
	assert_int_equal(ring_pending(&pair.cons), -EPROTO);
}

/* What was taken is private: a later change of the slot is not seen. */
static void test_copied_once(void **state)
{
	uint8_t line[LINK_LINE];

	(void)state;
	begin(0);
	put(0x11);
	ring_take(&pair.cons, line);
	memset(pair.slots, 0xee, sizeof(pair.slots));
	assert_int_equal(line[0], 0x11);
	assert_int_equal(line[40], 0x11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_full_ring_drains),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_hostile_consumer),
		cmocka_unit_test(test_hostile_producer),
		cmocka_unit_test(test_index_one_behind),
		cmocka_unit_test(test_hostile_overrun),
		cmocka_unit_test(test_copied_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
