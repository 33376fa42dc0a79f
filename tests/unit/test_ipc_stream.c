/* tests/unit/test_ipc_stream.c - byte rings: wrap, partial writes, committed positions, impossible positions. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <errno.h>
#include <string.h>
#include <cmocka.h>

#include "ipc/stream.h"

enum { SIZE = 16 };

static struct link_ring shared;
static uint8_t bytes[SIZE + 8];		/* the last eight may not change */
static struct stream w, r;

static void begin(uint32_t start)
{
	memset(bytes, 0xaa, sizeof(bytes));
	shared = (struct link_ring){ .prod = start, .cons = start };
	stream_init(&w, &shared, bytes, SIZE, start);
	stream_init(&r, &shared, bytes, SIZE, start);
}

static void check_fence(void)
{
	for (int i = SIZE; i < SIZE + 8; i++)
		assert_int_equal(bytes[i], 0xaa);
}

static void test_fill_and_empty(void **state)
{
	char got[32];

	(void)state;
	begin(0);
	assert_int_equal(stream_peek(&r, got, sizeof(got)), 0);
	assert_int_equal(stream_put(&w, "0123456789abcdefXYZ", 19), SIZE);
	assert_int_equal(stream_put(&w, "Q", 1), 0);
	assert_int_equal(stream_used(&r), SIZE);
	assert_int_equal(stream_peek(&r, got, sizeof(got)), SIZE);
	assert_memory_equal(got, "0123456789abcdef", SIZE);
	assert_int_equal(stream_room(&w), 0);	/* looked at, not taken */
	stream_take(&r, 5);
	assert_int_equal(stream_room(&w), 5);
	assert_int_equal(stream_put(&w, "XYZ", 3), 3);
	assert_int_equal(stream_peek(&r, got, sizeof(got)), 14);
	assert_memory_equal(got, "56789abcdefXYZ", 14);
	check_fence();
}

/* Every offset in the buffer and every length, over the end of the positions too. */
static void test_wrap(void **state)
{
	(void)state;
	begin(UINT32_MAX - 100);
	for (unsigned round = 0; round < 400; round++) {
		uint8_t in[SIZE], out[SIZE];
		size_t n = 1 + round % SIZE;

		for (size_t i = 0; i < n; i++)
			in[i] = (uint8_t)(round + i);
		assert_int_equal(stream_put(&w, in, n), n);
		assert_int_equal(stream_peek(&r, out, sizeof(out)), n);
		assert_memory_equal(in, out, n);
		stream_take(&r, n);
		check_fence();
	}
	assert_true(w.pos < 10000);	/* the position did pass 2^32 */
}

/* Staged bytes are not seen before they are published; publishing twice is publishing once. */
static void test_stage_publish(void **state)
{
	char got[SIZE];

	(void)state;
	begin(10);
	stream_stage(&w, 10, "abc", 3);
	stream_stage(&w, 13, "defghij", 7);
	assert_int_equal(stream_used(&r), 0);
	stream_publish(&w, 20);
	stream_publish(&w, 20);
	assert_int_equal(stream_copy(&r, 10, got, sizeof(got)), 10);
	assert_memory_equal(got, "abcdefghij", 10);
	assert_int_equal(stream_copy(&r, 15, got, 3), 3);
	assert_memory_equal(got, "fgh", 3);
	stream_give_back(&r, 20);
	stream_give_back(&r, 20);
	assert_int_equal(stream_room_at(&w, 20), SIZE);
	assert_int_equal(stream_room_at(&w, 26), SIZE - 6);
}

static void test_hostile(void **state)
{
	char got[SIZE];

	(void)state;
	begin(0);
	shared.prod = SIZE + 1;
	assert_int_equal(stream_used(&r), -EPROTO);
	assert_int_equal(stream_peek(&r, got, sizeof(got)), -EPROTO);
	shared.prod = UINT32_MAX;	/* went back */
	assert_int_equal(stream_peek(&r, got, sizeof(got)), -EPROTO);
	begin(0);
	shared.cons = 1;		/* took what was never written */
	assert_int_equal(stream_room(&w), -EPROTO);
	assert_int_equal(stream_put(&w, "a", 1), -EPROTO);
	shared.cons = (uint32_t)-SIZE - 1;
	assert_int_equal(stream_room(&w), -EPROTO);
	shared.cons = (uint32_t)-SIZE;
	assert_int_equal(stream_room(&w), 0);
	assert_int_equal(bytes[0], 0xaa);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill_and_empty),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_stage_publish),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
