/*
 * test_recover.c - quarantine: a device whose register kills the process.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "devmodel/recover.h"
#include "devmodel/txn.h"
#include "tests/unit/devharness.h"

enum { KILLS = 0x505, DEBUG = 0x402 };		/* pvpanic's port, debugcon's */

static int make(void **state)
{
	static const struct conf_key chr[] = { KEY_STREAM("chr", 0) };
	static const struct conf_dev dev[] = {
		{ .model = "pvpanic" },
		{ .model = "debugcon", .nkeys = 1, .key = chr },
	};

	*state = harness_new(&(struct harness_conf){ .ndevs = 2, .dev = dev });
	h_crashes(*state, "pvpanic");
	return 0;
}

static int unmake(void **state)
{
	harness_free(*state);
	return 0;
}

static struct arena_dev *arena_of(struct harness *h)
{
	return harness_dev(h, "pvpanic")->a;
}

static unsigned generation(struct harness *h)
{
	return harness_machine(h)->arena->generation;
}

/* Three processes die of it, the fourth answers in the device's place; the others go on. */
static void three_strikes(void **state)
{
	struct harness *h = *state;
	char text[8];

	assert_int_equal(h_in(h, KILLS, 1), 1);
	h_out(h, KILLS, 1, 1);
	assert_int_equal(generation(h), 4);
	assert_true(h_unclaimed(h));
	assert_true(arena_of(h)->out);
	h_out(h, KILLS, 1, 1);		/* nobody serves it, so nobody dies */
	h_in(h, KILLS, 1);
	assert_true(h_unclaimed(h));
	assert_int_equal(generation(h), 4);
	h_out(h, DEBUG, 1, 'x');
	assert_int_equal(h_output(h, 0, text, sizeof(text)), 1);
	assert_int_equal(text[0], 'x');
}

/* It is out of service for a successor as well, whose predecessor nobody blames. */
static void outlives_a_process(void **state)
{
	struct harness *h = *state;

	h_out(h, KILLS, 1, 1);
	h_succeed(h, false);
	h_in(h, KILLS, 1);
	assert_true(h_unclaimed(h));
}

static void reset_brings_it_back(void **state)
{
	struct harness *h = *state;

	h_out(h, KILLS, 1, 1);
	h_reset(h);
	assert_false(arena_of(h)->out);
	assert_int_equal(h_in(h, KILLS, 1), 1);
	assert_false(h_unclaimed(h));
	/* not latched: another request has three strikes of its own */
	h_out(h, KILLS, 1, 1);
	assert_int_equal(generation(h), 7);
	assert_true(arena_of(h)->out);
}

/*
 * The engine condemned a daemon for its last events and has not taken them: they
 * are counted in the arena, and its successor must not go on from there.
 */
static void events_that_were_refused(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	uint64_t heard = m->arena->event_seq;

	m->arena->event_seq += 5;
	h_succeed(h, true);		/* the harness is as strict as the engine */
	assert_true(harness_machine(h)->arena->event_seq > heard);
	assert_int_equal(h_in(h, KILLS, 1), 1);
	/* in the middle of publishing */
	m = harness_machine(h);
	m->arena->out.event_base = m->arena->event_seq + 3;
	m->arena->word = (m->arena->word & ~3ull) | TXN_COMMITTED;
	h_succeed(h, true);
	assert_int_equal(h_in(h, KILLS, 1), 1);
}

/* Long before numbers wrap, and one is the number that stamps begin with, they begin again. */
static void numbers_come_to_an_end(void **state)
{
	struct harness *h = *state;

	harness_machine(h)->arena->word = 1ull << 63 | TXN_IDLE;
	h_succeed(h, false);
	assert_in_range(txn_number(harness_machine(h)->arena), 1, 1000);
	h_out(h, KILLS, 1, 1);
	assert_true(arena_of(h)->out);
}

/* What was undone is the timer as it was armed: it must not be due again. */
static void timer(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "pvpanic");

	assert_int_equal(txn_begin(m, (struct txn_source){ .kind = TXN_TIMER, .dev = d->id, .index = 2 }), 0);
	dev_timer(d, 2, h_now(h) + 1000);
	txn_end(m);
	h_advance(h, 2000);
	assert_int_equal(generation(h), 4);
	assert_true(arena_of(h)->out);
	assert_int_equal(h_deadline(h), 0);
	h_in(h, KILLS, 1);
	assert_true(h_unclaimed(h));
	h_reset(h);
	assert_false(arena_of(h)->out);
}

/* The engine hears of each strike, and who is out of service, from every successor: for its user. */
static void the_engine_is_told(void **state)
{
	struct harness *h = *state;
	unsigned dev = harness_dev(h, "pvpanic")->id;
	struct link_event e;

	h_drop_events(h);
	h_out(h, KILLS, 1, 1);
	for (unsigned n = 1; n <= 3; n++) {
		if (n == 3) {
			assert_true(h_event_of(h, LINK_EV_SERVICE, &e));
			assert_int_equal(e.a, dev);
			assert_int_equal(e.b, 0);
		}
		assert_true(h_event_of(h, LINK_EV_STRIKE, &e));
		assert_int_equal(e.a, LINK_BY_REQUEST);
		assert_int_equal(e.b, dev);
		assert_int_equal(e.c, 0);
		assert_int_equal(e.d, n);
		assert_int_equal(e.value, h_requests(h));
	}
	h_succeed(h, false);
	assert_true(h_event_of(h, LINK_EV_STRIKE, &e));
	assert_int_equal(e.d, 3);
	h_drop_events(h);
	h_reset(h);
	assert_true(h_event_of(h, LINK_EV_SERVICE, &e));
	assert_int_equal(e.a, dev);
	assert_int_equal(e.b, 1);
}

/* A posted write is dropped. */
static void posted(void **state)
{
	struct harness *h = *state;

	h_out_posted(h, KILLS, 1, 1);
	assert_int_equal(generation(h), 4);
	assert_true(arena_of(h)->out);
}

/* ---- successors that died while they took over */

static struct arena_header *copy(struct harness *h)
{
	const struct machine *m = harness_machine(h);
	void *to = malloc(m->arena_bytes);

	assert_non_null(to);
	return memcpy(to, m->arena, m->arena_bytes);
}

/* A successor follows one that died over `tried`. */
static void after(struct harness *h, struct arena_header *tried)
{
	h_tried(h, tried);
	h_succeed(h, false);
	free(tried);
}

/* One that died while it made the device. */
static struct arena_header *died_making(struct harness *h, unsigned dev)
{
	struct arena_header *a = copy(h);

	a->word = (txn_number(a) + 1 + dev) << 2 | TXN_ACTIVE;
	a->source = (struct txn_source){ .kind = TXN_INIT, .dev = dev };
	return a;
}

/* A transaction that can be neither undone nor published, and one that died over it. */
static struct arena_header *died_ending(struct harness *h, enum txn_state state)
{
	struct arena_header *a = harness_machine(h)->arena, *tried;

	a->word = (txn_number(a) + 1) << 2 | state;
	a->source = (struct txn_source){ .kind = TXN_REQUEST, .seq = h_requests(h) + 1000 };
	a->at_work = harness_dev(h, "pvpanic")->id;
	memset(&a->out, 0, offsetof(struct txn_out, comp));
	a->out.event_base = a->event_seq;
	a->undo_used = 8;
	tried = copy(h);
	tried->ending = 1;
	return tried;
}

/* Three that died of the same device, and the fourth does without it; nobody has looked at its state. */
static void three_successors(void **state)
{
	struct harness *h = *state;

	for (unsigned i = 0; i < 3; i++) {
		assert_false(arena_of(h)->out);
		after(h, died_making(h, 0));
	}
	assert_true(arena_of(h)->out);
	assert_true(harness_dev(h, "pvpanic")->unmade);
	assert_false(harness_dev(h, "debugcon")->unmade);
	h_in(h, KILLS, 1);
	assert_true(h_unclaimed(h));
	h_reset(h);
	assert_false(arena_of(h)->out);
	assert_int_equal(h_in(h, KILLS, 1), 1);
}

/* Two of one device and two of another: neither is it. */
static void not_the_same(void **state)
{
	struct harness *h = *state;

	for (unsigned i = 0; i < 4; i++)
		after(h, died_making(h, i & 1));
	assert_false(arena_of(h)->out);
	assert_false(harness_dev(h, "debugcon")->a->out);
}

/* It is given up with the third. */
static void cannot_be_ended(void **state)
{
	static const enum txn_state how[] = { TXN_ACTIVE, TXN_COMMITTED };
	struct harness *h = *state;

	for (unsigned n = 0; n < 2; n++) {
		struct arena_header *tried = died_ending(h, how[n]);

		tried->strike[0] = (struct arena_strike){ .source = tried->source, .number = txn_number(tried), .count = 2 };
		after(h, tried);
		assert_true(arena_of(h)->out);
		assert_int_equal(txn_state(harness_machine(h)->arena), TXN_IDLE);
		h_reset(h);
		assert_false(arena_of(h)->out);
	}
}

/* One that died before it came to the transaction says nothing about that, nor does a copy that is damaged. */
static void no_evidence(void **state)
{
	struct harness *h = *state;

	for (unsigned i = 0; i < 4; i++) {
		struct arena_header *a = harness_machine(h)->arena, *tried = died_ending(h, TXN_ACTIVE);

		a->undo_used = 0;
		tried->ending = 0;
		after(h, tried);
		tried = died_making(h, 0);
		tried->source.dev = 77;
		after(h, tried);
	}
	assert_false(arena_of(h)->out);
}

/* ---- decoded code */

/* What a transaction wrote to guest memory before it was undone may never be written again: nobody else would say so. */
static void code_is_forgotten(void **state)
{
	static const struct { enum txn_state state; bool wrote, at_fault, forgotten; } table[] = {
		{ TXN_IDLE, true, false, false }, { TXN_ACTIVE, false, false, false }, { TXN_ACTIVE, true, false, true },
		{ TXN_ACTIVE, false, true, true }, { TXN_IDLE, false, true, true },
	};
	struct harness *h = *state;

	for (unsigned i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct arena_header *a = harness_machine(h)->arena;
		struct link_event e;

		a->word = (txn_number(a) + 1) << 2 | table[i].state;
		a->source = (struct txn_source){ .kind = TXN_TIMER, .index = i };
		a->undo_used = 0;
		a->wrote = table[i].wrote;
		h_drop_events(h);
		h_succeed(h, table[i].at_fault);
		assert_int_equal(h_event_of(h, LINK_EV_CODE, &e), table[i].forgotten);
		if (!table[i].forgotten)
			continue;
		assert_int_equal(e.addr, 0);
		assert_true(e.value >= harness_machine(h)->conf.ram_bytes);
	}
}

/* Only what is written inside of the transaction counts. */
static void writing_is_noted(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);

	for (unsigned write = 0; write < 2; write++) {
		txn_begin(m, (struct txn_source){ .kind = TXN_TIMER });
		if (write)
			dma_write(harness_dev(h, "pvpanic"), 0x1000, "x", 1);
		assert_int_equal(m->arena->wrote, write);
		txn_end(m);
	}
	txn_begin(m, (struct txn_source){ .kind = TXN_TIMER });
	assert_int_equal(m->arena->wrote, 0);
	txn_end(m);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, make, unmake)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(three_strikes), TEST(outlives_a_process), TEST(reset_brings_it_back), TEST(posted), TEST(timer), TEST(events_that_were_refused), TEST(numbers_come_to_an_end), TEST(the_engine_is_told),
		TEST(three_successors), TEST(not_the_same), TEST(cannot_be_ended), TEST(no_evidence),
		TEST(code_is_forgotten), TEST(writing_is_noted) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
