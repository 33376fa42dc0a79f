/*
 * test_ledger.c - what is remembered of restarts, strikes and devices out of service.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "vmm/ledger.h"

static int make(void **state)
{
	*state = ledger_new();
	return !*state;
}

static int unmake(void **state)
{
	ledger_free(*state);
	return 0;
}

static struct ledger_page page(struct ledger *l)
{
	struct ledger_page p;

	ledger_read(l, &p);
	return p;
}

static void restarts(void **state)
{
	struct ledger_page p;
	char why[16];

	for (unsigned i = 1; i <= LEDGER_RESTARTS + 3; i++) {
		snprintf(why, sizeof(why), "number %u", i);
		ledger_restart(*state, why, i);
	}
	p = page(*state);
	assert_int_equal(p.nrestarts, LEDGER_RESTARTS);
	assert_string_equal(p.restart[0].why, "number 11");
	assert_int_equal(p.restart[0].took, 11);
	assert_string_equal(p.restart[LEDGER_RESTARTS - 1].why, "number 4");
}

/* Each successor tells of all strikes again; the request is known only the first time. */
static void strikes(void **state)
{
	struct link_event e = { .kind = LINK_EV_STRIKE, .a = LINK_BY_REQUEST, .b = 3, .d = 1, .value = 77, .seq = 5 };
	struct link_event other = { .kind = LINK_EV_STRIKE, .a = LINK_BY_TIMER, .b = 3, .c = 1, .d = 1 };
	const struct link_req r = { .addr = 0x5c0 };
	struct ledger_page p;

	ledger_strike(*state, &e, &r);
	ledger_strike(*state, &other, NULL);
	e.seq = 9;
	ledger_strike(*state, &e, NULL);	/* no news */
	p = page(*state);
	assert_int_equal(p.nstrikes, 2);
	assert_int_equal(p.strike[0].event.a, LINK_BY_TIMER);
	assert_false(p.strike[0].known);
	e.d = 2;
	ledger_strike(*state, &e, NULL);
	p = page(*state);
	assert_int_equal(p.nstrikes, 2);
	assert_int_equal(p.strike[0].event.d, 2);
	assert_true(p.strike[0].known);
	assert_int_equal(p.strike[0].request.addr, 0x5c0);
	assert_int_equal(p.strike[1].event.a, LINK_BY_TIMER);
	/* as many as a hostile one likes */
	for (unsigned i = 0; i < 1000; i++) {
		other.c = i;
		other.d = 1 + i % 3;
		ledger_strike(*state, &other, NULL);
	}
	p = page(*state);
	assert_int_equal(p.nstrikes, LEDGER_STRIKES);
	assert_int_equal(p.strike[0].event.c, 999);
	assert_int_equal(p.strike[LEDGER_STRIKES - 1].event.c, 992);
}

static void service(void **state)
{
	uint64_t since;

	ledger_service(*state, 5, false);
	ledger_service(*state, LEDGER_DEVICES, false);
	ledger_service(*state, UINT16_MAX, false);
	since = page(*state).out_since[5];
	assert_true(since && since <= ledger_now());
	ledger_service(*state, 5, false);
	assert_int_equal(page(*state).out_since[5], since);
	ledger_service(*state, 5, true);
	for (unsigned i = 0; i < LEDGER_DEVICES; i++)
		assert_int_equal(page(*state).out_since[i], 0);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, make, unmake)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(restarts), TEST(strikes), TEST(service) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
