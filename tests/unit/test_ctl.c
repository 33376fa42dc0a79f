/*
 * tests/unit/test_ctl.c - the control tool's own parts: scan codes, numbers.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "ctl/ctl.h"
#include "ctl/keys.h"

static struct key_list list;
static char err[700];

static void expect(const char *text, size_t n, const uint64_t *codes)
{
	assert_int_equal(keys_parse(&list, text, err, sizeof(err)), 0);
	assert_int_equal(list.n, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(list.sequence[i], codes[i]);
}

#define EXPECT(text, ...) do { \
	static const uint64_t codes[] = { __VA_ARGS__ }; \
	expect(text, sizeof(codes) / sizeof(codes[0]), codes); \
} while (0)

/* IBM scan code set 2; a break code has F0h before the code, an extended one E0h before that. */
static void test_keys(void **state)
{
	(void)state;
	EXPECT("a", 0x1c, 0x1cf0);
	EXPECT("A", 0x12, 0x1c, 0x1cf0, 0x12f0);
	EXPECT("z1", 0x1a, 0x1af0, 0x16, 0x16f0);
	EXPECT("!", 0x12, 0x16, 0x16f0, 0x12f0);
	EXPECT(" \n", 0x29, 0x29f0, 0x5a, 0x5af0);
	EXPECT("<enter>", 0x5a, 0x5af0);
	EXPECT("<ENTER>", 0x5a, 0x5af0);
	EXPECT("<up>", 0x75e0, 0x75f0e0);
	EXPECT("<ctrl-alt-delete>", 0x14, 0x11, 0x71e0, 0x71f0e0, 0x11f0, 0x14f0);
	EXPECT("<ctrl-c>x", 0x14, 0x21, 0x21f0, 0x14f0, 0x22, 0x22f0);
	EXPECT("<lt>", 0x12, 0x41, 0x41f0, 0x12f0);
	EXPECT("<", 0x12, 0x41, 0x41f0, 0x12f0);		/* nothing closes it: the character */
	EXPECT("1>2", 0x16, 0x16f0, 0x12, 0x49, 0x49f0, 0x12f0, 0x1e, 0x1ef0);
	assert_int_equal(keys_parse(&list, "", err, sizeof(err)), 0);
	assert_int_equal(list.n, 0);
}

/* Every printable character has a key. */
static void test_all_characters(void **state)
{
	(void)state;
	for (int ch = ' '; ch < 0x7f; ch++) {
		char text[2] = { ch, 0 };

		if (keys_parse(&list, text, err, sizeof(err)) || (list.n != 2 && list.n != 4))
			fail_msg("%c", ch);
	}
}

static void test_refused_keys(void **state)
{
	char *text = malloc(KEY_LIST_MAX + 2);

	(void)state;
	assert_int_equal(keys_parse(&list, "<entr>", err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "did you mean enter?"));
	assert_int_equal(keys_parse(&list, "<ctrl-ctrl-ctrl-ctrl-ctrl-ctrl-ctrl-ctrl-ctrl>", err, sizeof(err)), -EINVAL);
	assert_int_equal(keys_parse(&list, "\x80", err, sizeof(err)), -EINVAL);
	memset(text, 'a', KEY_LIST_MAX + 1);
	text[KEY_LIST_MAX + 1] = 0;
	assert_int_equal(keys_parse(&list, text, err, sizeof(err)), -E2BIG);
	text[0] = '<';
	text[KEY_LIST_MAX] = '>';
	assert_int_equal(keys_parse(&list, text, err, sizeof(err)), -EINVAL);
	free(text);
}

static void test_numbers(void **state)
{
	uint64_t n;

	(void)state;
	assert_true(ctl_number("10", UINT64_MAX, &n) && n == 10);
	assert_true(ctl_number("0x10", UINT64_MAX, &n) && n == 16);
	assert_true(ctl_number("0xffffffffffffffff", UINT64_MAX, &n) && n == UINT64_MAX);
	assert_false(ctl_number("0x10000000000000000", UINT64_MAX, &n));
	assert_false(ctl_number("0x100000000", UINT32_MAX, &n));
	assert_false(ctl_number("-1", UINT64_MAX, &n));
	assert_false(ctl_number("1x", UINT64_MAX, &n));
	assert_false(ctl_number("", UINT64_MAX, &n));
	assert_false(ctl_number(NULL, UINT64_MAX, &n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_all_characters),
		cmocka_unit_test(test_refused_keys),
		cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
