/*
 * Transactions: what undo restores, what the commit lets out, and that
 * publishing again changes nothing.  A device of the test's own does one of
 * everything.
 */
#include "tests/unit/coretest.h"

#include <stdlib.h>
#include <string.h>

#include "devmodel/bus/pci.h"
#include "devmodel/txn.h"
#include "ipc/link_engine.h"

static const struct conf_key keys[] = { KEY_STREAM("chr", 2) };
static const struct conf_dev machine[] = {
	{ .model = "hostbridge", .pci = true },
	{ .model = "lpc", .pci = true, .slot = 1 },
	{ .model = "piix4pm", .pci = true, .slot = 1, .function = 3 },
	{ .model = "post" },
	{ .model = "debugcon", .nkeys = 1, .key = keys },
};

static int setup(void **state)
{
	*state = harness_new(WITH(machine));
	return 0;
}

/* Changes every kind of thing that a transaction can change. */
static void do_everything(struct dev *d)
{
	memset(dev_write(d), 0x5a, d->ops->state_size);
	dev_region(d, &(struct dev_region){ .base = 0x1000, .len = 4, .id = 9, .shadow = true });
	dev_irq(d, 5, true);
	dev_timer(d, 3, 12345);
	pci_config_set8(d, 0x40, 0xaa);
	chr_put(d, 2, "hello", 5);
	chr_take(d, 2, 3);
	dev_shadow(d, 9, 1, 0x77, true);
	dma_publish(d, 0x2000, "\1\2\3\4", 4);
}

static struct txn_source source(struct dev *d)
{
	return (struct txn_source){ .kind = TXN_TIMER, .dev = d->id };
}

static void undo_restores(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "piix4pm");
	struct arena_header *a = m->arena;
	size_t first = offsetof(struct arena_header, nshadows), n = offsetof(struct arena_header, word) - first;
	size_t rest = a->off_undo - a->off_devs;
	uint8_t *before = malloc(n + rest), *base = (uint8_t *)a;

	h_input(h, 2, "abcdef", 6);
	memcpy(before, base + first, n);
	memcpy(before + n, base + a->off_devs, rest);
	assert_int_equal(txn_begin(m, source(d)), 0);
	do_everything(d);
	assert_memory_not_equal(before + n, base + a->off_devs, rest);
	assert_memory_not_equal(before, base + first, n);
	assert_int_equal(txn_state(a), TXN_ACTIVE);
	assert_int_equal(txn_undo(m), 0);
	assert_int_equal(txn_state(a), TXN_IDLE);
	assert_memory_equal(before, base + first, n);
	assert_memory_equal(before + n, base + a->off_devs, rest);
	free(before);
}

static void nothing_leaks_before_the_commit(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "piix4pm");
	struct link_event ev;
	uint32_t v;
	char c[8];

	h_input(h, 2, "abcdef", 6);
	h_drop_events(h);
	assert_int_equal(txn_begin(m, source(d)), 0);
	do_everything(d);
	assert_int_equal(link_event_room(m->link, LINK_EVENT_SLOTS), LINK_EVENT_SLOTS);
	assert_int_equal(h_output(h, 2, c, sizeof(c)), 0);
	assert_int_equal(h_ram(h)[0x2000], 0);
	txn_commit(m);
	assert_int_equal(txn_state(m->arena), TXN_COMMITTED);
	assert_int_equal(link_event_room(m->link, LINK_EVENT_SLOTS), LINK_EVENT_SLOTS);
	assert_int_equal(h_ram(h)[0x2000], 0);
	txn_publish(m);
	assert_int_equal(txn_state(m->arena), TXN_IDLE);
	h_in(h, 0x80, 1);	/* the harness takes the events */
	assert_true(h_event_of(h, LINK_EV_REGION, &ev));
	assert_int_equal(ev.addr, 0x1000);
	assert_true(h_line(h, 5));
	assert_true(h_shadow(h, 0x1001, &v));
	assert_int_equal(v, 0x77);
	assert_memory_equal(h_ram(h) + 0x2000, "\1\2\3\4", 4);
	assert_int_equal(h_output(h, 2, c, sizeof(c)), 5);
	assert_memory_equal(c, "hello", 5);
}

static void publishing_again_changes_nothing(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "piix4pm");
	struct arena_header *a = m->arena;
	struct link_event first[64], again[64];
	unsigned n = 0, n2 = 0;
	uint64_t word, seq;
	char c[8];

	h_input(h, 2, "abcdef", 6);
	assert_int_equal(txn_begin(m, source(d)), 0);
	do_everything(d);
	txn_commit(m);
	word = a->word;
	txn_publish(m);
	seq = a->event_seq;
	while (n < 64 && h_raw_event(h, &first[n]))
		n++;
	assert_true(n >= 2);
	/* died just before IDLE: the successor publishes the same outbox */
	a->word = word;
	txn_publish(m);
	assert_int_equal(a->event_seq, seq);
	while (n2 < 64 && h_raw_event(h, &again[n2]))
		n2++;
	assert_int_equal(n2, n);
	for (unsigned i = 0; i < n; i++) {
		/* same numbers: the engine drops them */
		assert_int_equal(again[i].seq, first[i].seq);
		assert_memory_equal(&again[i], &first[i], offsetof(struct link_event, turn));
	}
	assert_memory_equal(h_ram(h) + 0x2000, "\1\2\3\4", 4);
	assert_int_equal(h_output(h, 2, c, sizeof(c)), 5);
	assert_int_equal(h_output(h, 2, c, sizeof(c)), 0);
}

static void state_is_saved_once(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "post");
	uint64_t used;
	uint8_t was = *(const uint8_t *)dev_state(d);

	assert_int_equal(txn_begin(m, source(d)), 0);
	*(uint8_t *)dev_write(d) = 1;
	used = m->arena->undo_used;
	assert_true(used > 0);
	*(uint8_t *)dev_write(d) = 2;
	assert_int_equal(m->arena->undo_used, used);
	assert_int_equal(txn_undo(m), 0);
	assert_int_equal(*(const uint8_t *)dev_state(d), was);
	/* and again in the next transaction */
	assert_int_equal(txn_begin(m, source(d)), 0);
	assert_int_equal(m->arena->undo_used, 0);
	*(uint8_t *)dev_write(d) = 3;
	assert_int_equal(m->arena->undo_used, used);
	txn_end(m);
	assert_int_equal(*(const uint8_t *)dev_state(d), 3);
}

static void a_damaged_log_is_refused(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "post");
	struct arena_header *a = m->arena;
	uint64_t *entry = (uint64_t *)m->undo, off, n;

	assert_int_equal(txn_begin(m, source(d)), 0);
	dev_write(d);
	off = entry[0];
	n = entry[1];
	entry[0] = m->arena_bytes - 2;
	assert_int_equal(txn_undo(m), -22);
	entry[0] = 0;			/* the header's sizes */
	assert_int_equal(txn_undo(m), -22);
	entry[0] = offsetof(struct arena_header, word);
	assert_int_equal(txn_undo(m), -22);
	entry[0] = a->off_undo;
	assert_int_equal(txn_undo(m), -22);
	entry[0] = off;
	entry[1] = ~0ull;
	assert_int_equal(txn_undo(m), -22);
	entry[1] = n;
	/* entries that are good, the last of which runs over the end of the log */
	n = (a->undo_size / 2 - 16) & ~7ull;
	entry[0] = a->off_devs;
	entry[1] = n;
	entry += 2 + n / 8;
	entry[0] = a->off_devs;
	entry[1] = a->undo_size + 8 - (16 + n) - 16;
	a->undo_used = a->undo_size + 8;
	assert_true(a->off_devs + entry[1] <= a->off_undo);
	assert_int_equal(txn_undo(m), -22);
	entry = (uint64_t *)m->undo;
	entry[0] = off;
	entry[1] = n = 8;
	a->undo_used = 16 + ((n + 7) & ~7ull);
	assert_int_equal(txn_undo(m), 0);
}

static void a_shared_line_is_an_or(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *x = harness_dev(h, "post"), *y = harness_dev(h, "debugcon");

	assert_int_equal(txn_begin(m, source(x)), 0);
	dev_irq(x, 7, true);
	dev_irq(y, 7, true);
	dev_irq(x, 7, false);
	txn_end(m);
	h_in(h, 0x80, 1);
	assert_true(h_line(h, 7));
	assert_int_equal(h_edges(h, 7), 1);
	assert_int_equal(txn_begin(m, source(x)), 0);
	dev_irq(y, 7, false);
	/* a pulse in one transaction is an edge */
	dev_irq(x, 7, true);
	dev_irq(x, 7, false);
	txn_end(m);
	h_in(h, 0x80, 1);
	assert_false(h_line(h, 7));
	assert_int_equal(h_edges(h, 7), 2);
}

static void code_before_what_reveals_it(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "post");
	struct link_event ev;

	h_mark_code(h, 0x5000, true);
	h_drop_events(h);
	assert_int_equal(txn_begin(m, source(d)), 0);
	dev_power(d, LINK_POWER_RESET, 0);		/* any event that reveals */
	assert_true(dma_write(d, 0x4ffe, "abcd", 4));	/* ends in the marked page */
	assert_true(dma_write(d, 0x3000, "abcd", 4));	/* no code here */
	txn_end(m);
	assert_true(h_raw_event(h, &ev));
	assert_int_equal(ev.kind, LINK_EV_CODE);
	assert_int_equal(ev.addr, 0x4ffe);
	assert_int_equal(ev.value, 4);
	assert_true(h_raw_event(h, &ev));
	assert_int_equal(ev.kind, LINK_EV_POWER);
	assert_false(h_raw_event(h, &ev));
}

static void many_code_ranges_are_joined(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "post");
	uint64_t low = ~0ull, high = 0;
	struct link_event ev;
	unsigned n = 0;

	for (unsigned i = 0; i < 1024; i++)
		h_mark_code(h, 0x100000 + i * 4096, true);
	assert_int_equal(txn_begin(m, source(d)), 0);
	for (unsigned i = 0; i < 1000; i++)
		assert_true(dma_write(d, 0x100000 + (i * 7 % 1000) * 4096, "x", 1));
	txn_end(m);
	assert_int_equal(m->stat_overflows, 0);
	while (h_raw_event(h, &ev)) {
		assert_int_equal(ev.kind, LINK_EV_CODE);
		low = ev.addr < low ? ev.addr : low;
		high = ev.addr + ev.value > high ? ev.addr + ev.value : high;
		n++;
	}
	assert_true(n <= OUT_CODE);
	assert_int_equal(low, 0x100000);
	assert_int_equal(high, 0x100000 + 999 * 4096 + 1);
}

static void dma_stays_in_ram(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "post");
	uint64_t ram = m->conf.ram_bytes;
	uint8_t b[16];

	assert_int_equal(txn_begin(m, source(d)), 0);
	assert_true(dma_read(d, ram - 16, b, 16));
	assert_false(dma_read(d, ram - 15, b, 16));
	assert_false(dma_read(d, ram, b, 1));
	assert_false(dma_read(d, ~0ull, b, 16));
	assert_false(dma_read(d, 1ull << 32, b, 1));
	assert_true(dma_read(d, 0x9fff0, b, 16));
	assert_false(dma_write(d, 0x9fff1, b, 16));	/* reaches into the display's window */
	assert_false(dma_write(d, 0xbffff, b, 1));
	assert_true(dma_write(d, 0xc0000, b, 16));
	txn_end(m);
}

/* RAM goes on at 4 GiB; its last page has a code byte like any other. */
static void dma_above_4g(void **state)
{
	const uint64_t high = 1ull << 32, more = 2560ull << 20, last = (high + more) / LINK_PAGE - 1;
	struct harness *h = harness_new(&(struct harness_conf){ .dev = machine, .ndevs = 5, .ram = RAM_LOW_MAX + more });
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "post");
	struct link_event ev;
	uint8_t b[16] = "";

	(void)state;
	link_code_mark(h_engine(h), last);
	assert_int_equal(txn_begin(m, source(d)), 0);
	assert_true(dma_write(d, RAM_LOW_MAX - 16, "below the hole.", 16));
	assert_false(dma_read(d, RAM_LOW_MAX - 8, b, 16));
	assert_false(dma_write(d, RAM_LOW_MAX, b, 1));
	assert_false(dma_read(d, high - 8, b, 16));
	assert_true(dma_write(d, high, "above the hole.", 16));
	assert_true(dma_write(d, high + more - 16, "at the far end.", 16));
	assert_false(dma_write(d, high + more - 15, b, 16));
	assert_true(dma_read(d, high, b, 16));
	txn_end(m);
	assert_string_equal((char *)b, "above the hole.");
	assert_memory_equal(h_ram(h) + RAM_LOW_MAX - 16, "below the hole.", 16);
	assert_memory_equal(h_ram(h) + RAM_LOW_MAX + more - 16, "at the far end.", 16);
	assert_true(h_raw_event(h, &ev));
	assert_int_equal(ev.kind, LINK_EV_CODE);
	assert_int_equal(ev.addr, high + more - 16);
	harness_free(h);
}

static void arena_check_refuses(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct arena_plan plan[ARENA_MAX_DEVS];
	struct arena_header *a = m->arena;
	char err[128];
	const char *why;

	assert_int_equal(machine_plan(&m->conf, plan, err, sizeof(err)), 0);
#define CHECKED() arena_check(a, m->arena_bytes, plan, m->ndevs, m->nrings, &why)
#define REFUSES(field, value) do {			\
		typeof(field) was = field;		\
		field = (value);			\
		assert_int_equal(CHECKED(), -22);	\
		assert_non_null(why);			\
		field = was;				\
		assert_int_equal(CHECKED(), 0);		\
	} while (0)
	assert_int_equal(CHECKED(), 0);
	REFUSES(a->magic, 0);
	REFUSES(a->version, ARENA_VERSION + 1);
	REFUSES(a->size, 4096);
	REFUSES(a->ndevs, 60);
	REFUSES(a->nrings, 9);
	REFUSES(a->off_undo, a->off_undo + 64);
	REFUSES(a->undo_size, ~0ull);
	REFUSES(a->undo_used, a->undo_size + 8);
	REFUSES(a->undo_used, 3);
	REFUSES(a->word, 3);
	REFUSES(a->nshadows, LINK_SHADOWS + 1);
	REFUSES(a->source.kind, TXN_KINDS);
	a->word |= TXN_COMMITTED;
	REFUSES(a->out.nevents, OUT_EVENTS + 1);
	REFUSES(a->out.ncode, OUT_CODE + 1);
	REFUSES(a->out.nshadows, OUT_SHADOWS + 1);
	REFUSES(a->out.nstores, OUT_STORES + 1);
	REFUSES(a->out.nios, OUT_IOS + 1);
	a->word &= ~3ull;
	REFUSES(arena_dev(a, 1)->state_off, 0);
	REFUSES(arena_dev(a, 1)->state_version, 77);
	REFUSES(arena_dev(a, 1)->devfn, 0);
	REFUSES(arena_dev(a, 0)->region[0].base, 0xffff);
	REFUSES(arena_dev(a, 3)->region[0].shadow, LINK_SHADOWS);
	arena_dev(a, 0)->io[0].busy = 1;
	REFUSES(arena_dev(a, 0)->io[0].n, 1);
	REFUSES(arena_dev(a, 0)->io[0].op, 9);
	assert_int_equal(arena_check(a, 4096, plan, m->ndevs, m->nrings, &why), -22);
}

static void regions(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "post");
	struct link_event ev;

	h_drop_events(h);
	assert_int_equal(txn_begin(m, source(d)), 0);
	dev_region(d, &(struct dev_region){ .base = 0x80, .len = 1, .posted = true, .shadow = true });	/* as it is */
	dev_region(d, &(struct dev_region){ .base = 0xfffe, .len = 4, .id = 5 });
	dev_region(d, &(struct dev_region){ .base = ~0ull - 2, .len = 4, .id = 6, .mmio = true });
	dev_region(d, &(struct dev_region){ .base = 0x300, .len = 1, .id = DEV_REGIONS });
	txn_end(m);
	assert_false(h_raw_event(h, &ev));
	/* shadow words are given once and kept */
	assert_int_equal(txn_begin(m, source(d)), 0);
	dev_region(d, &(struct dev_region){ .base = 0, .len = 0, .id = 0 });
	dev_region(d, &(struct dev_region){ .base = 0x84, .len = 1, .shadow = true });
	/* too many for what is left: the region is there without */
	dev_region(d, &(struct dev_region){ .base = 0x1000, .len = LINK_SHADOWS, .id = 7, .shadow = true });
	txn_end(m);
	assert_true(h_raw_event(h, &ev));
	assert_int_equal(ev.value, 0);
	assert_true(h_raw_event(h, &ev));
	assert_int_equal(ev.a, LINK_RGN_SHADOW);
	assert_int_equal(ev.c, 0);
	assert_true(h_raw_event(h, &ev));
	assert_int_equal(ev.addr, 0x1000);
	assert_int_equal(ev.a, 0);
	assert_int_equal(m->arena->nshadows, 1);
}

static void timers_in_order(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "post");

	assert_int_equal(h_deadline(h), 0);
	assert_int_equal(txn_begin(m, source(d)), 0);
	dev_timer(d, 0, h_now(h) + 300);
	dev_timer(d, 5, h_now(h) + 100);
	txn_end(m);
	assert_int_equal(h_deadline(h), h_now(h) + 100);
	h_advance(h, 99);
	assert_int_equal(h_deadline(h), h_now(h) + 1);
	h_advance(h, 1);
	assert_int_equal(h_deadline(h), h_now(h) + 200);
	h_advance(h, 1000);
	assert_int_equal(h_deadline(h), 0);
}

static void paused_clock_stands(void **state)
{
	struct harness *h = *state;
	struct machine *m = harness_machine(h);
	struct dev *d = harness_dev(h, "post");
	uint64_t now;

	assert_int_equal(txn_begin(m, source(d)), 0);
	now = dev_now(d);
	dev_timer(d, 0, now + 1000);
	txn_end(m);
	assert_int_equal(txn_begin(m, source(d)), 0);
	dev_timer(d, 1, now);
	txn_end(m);
	machine_pause(m, true, 0);
	h_sleep(h, 5000);
	assert_int_equal(machine_now(m), now);
	assert_int_equal(machine_timers(m), 0);
	machine_pause(m, false, -5000);
	assert_int_equal(machine_now(m), now);
	assert_int_equal(machine_timers(m), 1);
	h_sleep(h, 1000);
	assert_int_equal(machine_timers(m), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(undo_restores), TEST(nothing_leaks_before_the_commit), TEST(publishing_again_changes_nothing),
		TEST(state_is_saved_once), TEST(a_damaged_log_is_refused), TEST(a_shared_line_is_an_or),
		TEST(code_before_what_reveals_it), TEST(many_code_ranges_are_joined), TEST(dma_stays_in_ram), cmocka_unit_test(dma_above_4g),
		TEST(arena_check_refuses), TEST(regions), TEST(timers_in_order), TEST(paused_clock_stands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
