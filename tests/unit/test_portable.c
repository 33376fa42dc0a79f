/* tests/unit/test_portable.c - states by the names of their fields: there and back, to other layouts, and refused by name. */
#include "tests/unit/coretest.h"

#include <stdlib.h>
#include <string.h>

#include "devmodel/portable.h"
#include "devmodel/txn.h"
#include "proto/state.pb-c.h"

static const struct conf_key com1 = KEY_STREAM("com1", 0);
static const struct conf_dev devs[] = {
	{ .model = "hostbridge", .pci = true },
	{ .model = "uart", .nkeys = 1, .key = &com1 },
	{ .model = "i8042" },
};

static int setup(void **state)
{
	*state = harness_new(WITH(devs));
	return 0;
}

static Cleave__MachineState *pack(struct harness *h)
{
	Cleave__MachineState *m;
	uint8_t *bytes;
	size_t n;

	assert_int_equal(portable_pack(harness_machine(h), &bytes, &n), 0);
	m = cleave__machine_state__unpack(NULL, n, bytes);
	assert_non_null(m);
	free(bytes);
	return m;
}

static int unpack(const Cleave__MachineState *m, void *arena, size_t size, const struct arena_plan *plan, unsigned ndevs, char err[300])
{
	size_t n = cleave__machine_state__get_packed_size(m);
	uint8_t *bytes = malloc(n);
	int ret;

	assert_non_null(bytes);
	cleave__machine_state__pack(m, bytes);
	memset(arena, 0, size);
	*err = 0;
	ret = portable_unpack(arena, size, plan, ndevs, 2, bytes, n, err, 300);
	assert_int_equal(ret, *err ? -EINVAL : 0);
	free(bytes);
	return ret;
}

/* A machine's arena is the same afterwards; `by_name`: also where no layout is said to be the same. */
static void there_and_back(struct harness *h, bool by_name)
{
	struct machine *m = harness_machine(h);
	Cleave__MachineState *msg = pack(h);
	struct arena_plan plan[ARENA_MAX_DEVS];
	uint8_t *arena = aligned_alloc(4096, m->arena_bytes);
	char err[300];
	const char *why;

	assert_int_equal(machine_plan(&m->conf, plan, err, sizeof(err)), 0);
	if (by_name)
		msg->device[1]->layout = 77;
	assert_int_equal(unpack(msg, arena, m->arena_bytes, plan, m->ndevs, err), 0);
	assert_int_equal(arena_check(arena, m->arena_bytes, plan, m->ndevs, m->nrings, &why), 0);
	for (unsigned i = 0; i < m->ndevs; i++) {
		const struct arena_dev *was = m->dev[i].a, *is = arena_dev((struct arena_header *)arena, i);

		assert_memory_equal(is, was, sizeof(*is));
		assert_memory_equal(arena + is->state_off, m->dev[i].state, is->state_size);
	}
	assert_memory_equal(((struct arena_header *)arena)->acked, m->arena->acked, sizeof(m->arena->acked));
	assert_int_equal(((struct arena_header *)arena)->event_seq, m->arena->event_seq);
	assert_int_equal(((struct arena_header *)arena)->word, m->arena->word);
	cleave__machine_state__free_unpacked(msg, NULL);
	free(arena);
}

static void a_machine(void **state)
{
	struct harness *h = *state;

	h_out(h, 0x3f9, 1, 0x0f);
	h_out(h, 0x3fa, 1, 0xc7);
	h_out(h, 0x3ff, 1, 0x5a);
	h_out(h, 0x3fc, 1, 0x10);
	h_out(h, 0x3f8, 1, 'x');	/* comes back: loopback */
	h_out(h, 0xcf8, 4, 0x80000058);
	there_and_back(h, false);
	there_and_back(h, true);
}

/* Each byte of a state is in its table, but for what lies between members. */
static void tables_are_whole(void **state)
{
	struct harness *h = *state;
	static const struct { const char *model; unsigned padding; } known[] = { { "uart", 4 } };

	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		const struct dev_ops *ops = harness_dev(h, known[i].model)->ops;
		uint8_t *seen = calloc(1, ops->state_size);
		unsigned left = 0;

		for (const struct dev_field *f = ops->fields; f->name; f++)
			for (unsigned e = 0; e < f->count; e++)
				for (unsigned b = 0; b < f->size; b++) {
					size_t at = f->offset + e * f->stride + b;

					assert_true(at < ops->state_size);
					if (seen[at]++)
						fail_msg("%s: field %s lies over another", ops->name, f->name);
				}
		for (size_t b = 0; b < ops->state_size; b++)
			left += !seen[b];
		if (left != known[i].padding)
			fail_msg("%s: %u bytes are in no field, not %u", ops->name, left, known[i].padding);
		free(seen);
	}
	/* Who has a table is checked here. */
	for (unsigned i = 0; devices[i]; i++) {
		bool listed = !devices[i]->fields;

		for (unsigned k = 0; k < sizeof(known) / sizeof(known[0]); k++)
			listed |= !strcmp(known[k].model, devices[i]->name);
		if (!listed)
			fail_msg("%s has a table and is not checked", devices[i]->name);
	}
}

/* ---- another version of a device */

struct toy {
	uint32_t wide;
	uint8_t narrow;
	uint16_t list[3];
	uint8_t added;
};

static const struct dev_field toy_fields[] = {
	DEV_FIELD(struct toy, wide),
	DEV_FIELD(struct toy, narrow),
	{ .name = "list", .offset = offsetof(struct toy, list), .size = 2, .count = 3, .stride = 2 },
	{ .name = "added", .offset = offsetof(struct toy, added), .size = 1, .count = 1, .flags = DEV_FIELD_NEW },
	{ 0 }
};

static const struct dev_ops toy_ops = { .name = "toy", .state_size = sizeof(struct toy), .state_version = 2, .fields = toy_fields };

static uint8_t wide[] = { 7 }, narrow[] = { 0xff, 0, 0, 0, 0, 0, 0, 0 }, list[] = { 1, 2, 3 };

struct told {
	Cleave__StateField field[6], *fieldp[6];
	unsigned n;
};

static Cleave__StateField *tell(struct told *t, const char *name, unsigned size, uint8_t *bytes, unsigned n)
{
	Cleave__StateField *f = &t->field[t->n];

	cleave__state_field__init(f);
	f->name = (char *)name;
	f->size = size;
	f->value.data = bytes;
	f->value.len = n;
	t->fieldp[t->n++] = f;
	return f;
}

static void tell_all(struct told *t)
{
	t->n = 0;
	tell(t, "wide", 1, wide, 1);		/* it was narrower */
	tell(t, "narrow", 8, narrow, 8);	/* it was wider */
	tell(t, "list", 1, list, 3);
}

/* 0 and the toy, or why not. */
static const char *take_toy(const struct told *t, struct toy *toy)
{
	static _Alignas(64) uint8_t arena[1 << 20];
	static char err[300];
	Cleave__MachineState m = CLEAVE__MACHINE_STATE__INIT;
	Cleave__StateDevice d = CLEAVE__STATE_DEVICE__INIT, *dp = &d;
	const struct arena_plan plan = { .ops = &toy_ops, .devfn = 3 << 3 };
	uint64_t acked[2] = { 5, 6 };

	m.format = PORTABLE_FORMAT;
	m.acked = acked;
	m.n_acked = 2;
	m.device = &dp;
	m.n_device = 1;
	d.model = (char *)"toy";
	d.devfn = 3 << 3;
	d.layout = 1;
	d.field = (Cleave__StateField **)t->fieldp;
	d.n_field = t->n;
	assert_true(arena_size(&plan, 1) <= sizeof(arena));
	if (unpack(&m, arena, sizeof(arena), &plan, 1, err))
		return err;
	memcpy(toy, arena + arena_dev((struct arena_header *)arena, 0)->state_off, sizeof(*toy));
	return NULL;
}

static void refuses_toy(const struct told *t, const char *word)
{
	struct toy toy;
	const char *why = take_toy(t, &toy);

	assert_non_null(why);
	if (!strstr(why, word) || !strstr(why, "device slot 3 toy"))
		fail_msg("not \"%s\" but: %s", word, why);
}

static void another_layout(void **state)
{
	struct toy toy;
	struct told t;

	(void)state;
	tell_all(&t);
	assert_null(take_toy(&t, &toy));
	assert_int_equal(toy.wide, 7);
	assert_int_equal(toy.narrow, 255);
	assert_int_equal(toy.list[0], 1);
	assert_int_equal(toy.list[2], 3);
	assert_int_equal(toy.added, 0);		/* new: nobody told */

	tell(&t, "gone", 1, wide, 1)->spare = true;
	assert_null(take_toy(&t, &toy));
	t.field[3].spare = false;
	refuses_toy(&t, "\"gone\"");
}

static void refused(void **state)
{
	static uint8_t large[8] = { 0, 1 };
	struct told t;

	(void)state;
	tell_all(&t);
	t.n--;
	refuses_toy(&t, "needs a field \"list\"");
	tell_all(&t);
	t.field[1].value.data = large;
	refuses_toy(&t, "\"narrow\": 0x100 does not fit");
	tell_all(&t);
	t.field[2].value.len = 2;
	refuses_toy(&t, "\"list\" has 2 elements, and 3 here");
	tell_all(&t);
	t.field[0].size = 3;
	t.field[0].value.len = 3;
	t.field[0].value.data = list;
	refuses_toy(&t, "\"wide\" has elements of 3 bytes");
	tell_all(&t);
	t.field[0].size = 0;
	refuses_toy(&t, "\"wide\" has elements of 0 bytes");
	t.n = 0;
	refuses_toy(&t, "there is no portable form");
	tell_all(&t);
	tell(&t, "\033[2J", 1, wide, 1);
	refuses_toy(&t, "\"?[2J\"");
}

static void refuses_machine(struct harness *h, const Cleave__MachineState *msg, const char *word)
{
	struct machine *m = harness_machine(h);
	struct arena_plan plan[ARENA_MAX_DEVS];
	uint8_t *arena = aligned_alloc(4096, m->arena_bytes);
	char err[300];

	assert_int_equal(machine_plan(&m->conf, plan, err, sizeof(err)), 0);
	assert_int_equal(unpack(msg, arena, m->arena_bytes, plan, m->ndevs, err), -EINVAL);
	if (!strstr(err, word))
		fail_msg("not \"%s\" but: %s", word, err);
	free(arena);
}

static void out_of_bounds(void **state)
{
	static const uint32_t beyond[] = { DEV_REGIONS, 0x7fffffff, ~0u };
	Cleave__MachineState *m = pack(*state);
	Cleave__StateIo io = CLEAVE__STATE_IO__INIT, *iop = &io;
	Cleave__StateDevice *uart = m->device[1];
	static uint64_t timers[DEV_TIMERS + 1];
	static uint8_t bytes[257];

	assert_true(uart->n_region > 0);
	for (unsigned i = 0; i < 3; i++) {
		uart->region[0]->id = beyond[i];
		refuses_machine(*state, m, "device uart: region");
	}
	uart->region[0]->id = 0;
	uart->io = &iop;
	uart->n_io = 1;
	io.slot = DEV_SLOTS;
	refuses_machine(*state, m, "device uart: operation");
	io.slot = 0;
	io.blk = 4;
	refuses_machine(*state, m, "device uart: operation");
	uart->io = NULL;
	uart->n_io = 0;
	uart->bulk.data = bytes;
	uart->bulk.len = 1;
	refuses_machine(*state, m, "device uart: buffers");
	uart->bulk.len = 0;
	uart->bulk.data = NULL;
	free(uart->timer);
	uart->timer = timers;
	uart->n_timer = DEV_TIMERS + 1;
	refuses_machine(*state, m, "device uart: 9 timers");
	uart->timer = NULL;
	uart->n_timer = 0;
	m->device[0]->devfn++;
	refuses_machine(*state, m, "the state of a hostbridge in its place");
	m->n_acked--;
	refuses_machine(*state, m, "1 rings");
	cleave__machine_state__free_unpacked(m, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_machine), TEST(tables_are_whole),
		TEST(out_of_bounds), cmocka_unit_test(another_layout), cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
