/*
 * tests/unit/test_bus.c - who answers where: lookup, overlap, replacement,
 * refusal, and lookups on one thread while another changes the tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "ipc/link.h"
#include "vmm/bus.h"

static uint64_t no_read(void *dev, uint64_t off, unsigned size)
{
	(void)dev, (void)off, (void)size;
	return 0;
}

static void no_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	(void)dev, (void)off, (void)size, (void)value;
}

static struct bus_handler handler(const char *name, uint64_t base, uint32_t len, bool mmio)
{
	return (struct bus_handler){ .name = name, .base = base, .len = len, .mmio = mmio, .read = no_read, .write = no_write };
}

static struct bus_region region(uint16_t id, uint64_t base, uint64_t len, uint32_t flags)
{
	return (struct bus_region){ .base = base, .len = len, .flags = flags, .shadow = LINK_NO_SHADOW, .id = id, .dev = 7 };
}

static void add(struct bus *bus, const char *name, uint64_t base, uint32_t len, bool mmio)
{
	struct bus_handler h = handler(name, base, len, mmio);

	assert_int_equal(bus_add_handler(bus, &h), 0);
}

static void set(struct bus *bus, uint16_t id, uint64_t base, uint64_t len, uint32_t flags)
{
	struct bus_region g = region(id, base, len, flags);

	assert_int_equal(bus_set_region(bus, &g), 0);
}

/* The id of the region that answers, -1 for nobody, -2 for a handler. */
static int port_id(struct bus *bus, uint16_t port, unsigned size)
{
	struct bus_owner o = bus_find_port(bus, port, size);

	return o.handler ? -2 : o.region.len ? o.region.id : -1;
}

static int mmio_id(struct bus *bus, uint64_t gpa, unsigned size)
{
	struct bus_owner o = bus_find_mmio(bus, gpa, size);

	return o.handler ? -2 : o.region.len ? o.region.id : -1;
}

static int setup(void **state)
{
	*state = bus_new();
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	bool ok = bus_check(*state);

	bus_free(*state);
	return ok ? 0 : -1;
}

static void test_nobody(void **state)
{
	assert_int_equal(port_id(*state, 0, 1), -1);
	assert_int_equal(port_id(*state, 0xffff, 4), -1);
	assert_int_equal(mmio_id(*state, 0, 8), -1);
	assert_int_equal(mmio_id(*state, UINT64_MAX, 1), -1);
}

static void test_whole_access_or_nobody(void **state)
{
	set(*state, 3, 0x1f0, 8, LINK_RGN_BATCH);
	assert_int_equal(port_id(*state, 0x1f0, 4), 3);
	assert_int_equal(port_id(*state, 0x1f7, 1), 3);
	assert_int_equal(port_id(*state, 0x1f7, 2), -1);
	assert_int_equal(port_id(*state, 0x1ef, 2), -1);
	assert_int_equal(port_id(*state, 0x1f8, 1), -1);
	set(*state, 4, 0xfffe, 2, 0);
	assert_int_equal(port_id(*state, 0xfffe, 2), 4);
	assert_int_equal(port_id(*state, 0xffff, 2), -1);
	assert_int_equal(mmio_id(*state, 0x1f0, 1), -1);
}

static void test_region_is_copied_out(void **state)
{
	struct bus_region g = { 0x3f6, 1, LINK_RGN_SHADOW, 9, 11, 5 };
	struct bus_owner o;

	assert_int_equal(bus_set_region(*state, &g), 0);
	o = bus_find_port(*state, 0x3f6, 1);
	assert_null(o.handler);
	assert_int_equal(o.region.base, g.base);
	assert_int_equal(o.region.len, g.len);
	assert_int_equal(o.region.flags, g.flags);
	assert_int_equal(o.region.shadow, g.shadow);
	assert_int_equal(o.region.id, g.id);
	assert_int_equal(o.region.dev, g.dev);
}

static void test_handler_wins(void **state)
{
	set(*state, 1, 0x60, 8, 0);
	add(*state, "port61", 0x61, 1, false);
	assert_int_equal(port_id(*state, 0x60, 1), 1);
	assert_int_equal(port_id(*state, 0x61, 1), -2);
	assert_int_equal(port_id(*state, 0x64, 1), 1);
	set(*state, 2, 0x61, 1, 0);		/* a region no wider than the handler changes nothing */
	add(*state, "pit", 0x40, 4, false);
	set(*state, 3, 0x41, 1, 0);
	assert_int_equal(port_id(*state, 0x61, 1), -2);
	assert_int_equal(port_id(*state, 0x41, 1), -2);
	set(*state, 2, 0, 0, 0);
	bus_remove_handler(*state, "port61");
	assert_int_equal(port_id(*state, 0x61, 1), 1);
}

static void test_handlers_do_not_overlap(void **state)
{
	struct bus_handler h = handler("b", 0x23, 4, false), m = handler("m", 0x23, 4, true);

	add(*state, "a", 0x20, 4, false);
	assert_int_equal(bus_add_handler(*state, &h), -EEXIST);
	assert_int_equal(bus_add_handler(*state, &m), 0);
	h.base = 0x24;
	assert_int_equal(bus_add_handler(*state, &h), 0);
}

static void test_remove_takes_every_range(void **state)
{
	add(*state, "pic", 0x20, 2, false);
	add(*state, "pic", 0xa0, 2, false);
	add(*state, "pit", 0x40, 4, false);
	bus_remove_handler(*state, "pic");
	assert_int_equal(port_id(*state, 0x20, 1), -1);
	assert_int_equal(port_id(*state, 0xa1, 1), -1);
	assert_int_equal(port_id(*state, 0x40, 1), -2);
}

static void test_handler_table_is_bounded(void **state)
{
	struct bus_handler h = handler("x", 0x8000, 1, false);

	for (unsigned i = 0; i < BUS_HANDLERS; i++)
		add(*state, "h", 0x1000 + i, 1, false);
	assert_int_equal(bus_add_handler(*state, &h), -ENOSPC);
}

static void test_shorter_region_wins(void **state)
{
	set(*state, 1, 0xcf8, 8, 0);
	set(*state, 9, 0xcf9, 1, 0);
	assert_int_equal(port_id(*state, 0xcf8, 4), 1);
	assert_int_equal(port_id(*state, 0xcf9, 1), 9);
	assert_int_equal(port_id(*state, 0xcf9, 2), -1);
	assert_int_equal(port_id(*state, 0xcfa, 2), 1);
	set(*state, 5, 0xcf9, 1, 0);
	assert_int_equal(port_id(*state, 0xcf9, 1), 5);
	set(*state, 5, 0, 0, 0);
	set(*state, 9, 0, 0, 0);
	assert_int_equal(port_id(*state, 0xcf9, 1), 1);
}

static void test_move_region(void **state)
{
	set(*state, 2, 0xc000, 16, 0);
	set(*state, 2, 0xd000, 16, 0);
	assert_int_equal(port_id(*state, 0xc000, 1), -1);
	assert_int_equal(port_id(*state, 0xd00c, 4), 2);
	set(*state, 2, 0xfe000000, 0x1000, LINK_RGN_MMIO);	/* from ports to memory */
	assert_int_equal(port_id(*state, 0xd000, 1), -1);
	assert_int_equal(mmio_id(*state, 0xfe000ff8, 8), 2);
	assert_int_equal(mmio_id(*state, 0xfe000ffc, 8), -1);
}

static void test_mmio_to_the_end(void **state)
{
	set(*state, 1, UINT64_MAX - 0xfff, 0x1000, LINK_RGN_MMIO);
	set(*state, 2, 0, UINT64_MAX, LINK_RGN_MMIO);
	add(*state, "hpet", 0xfed00000, 0x400, true);
	assert_int_equal(mmio_id(*state, UINT64_MAX, 1), 1);
	assert_int_equal(mmio_id(*state, UINT64_MAX - 0x1000, 1), 2);
	assert_int_equal(mmio_id(*state, 0, 8), 2);
	assert_int_equal(mmio_id(*state, 0xfed003f8, 8), -2);
	assert_int_equal(mmio_id(*state, 0xfed003fc, 8), -1);
	assert_int_equal(mmio_id(*state, 0xfed00400, 8), 2);
}

static void test_nonsense_is_refused(void **state)
{
	static const struct bus_region bad[] = {
		{ 0xffff, 2, 0, LINK_NO_SHADOW, 1, 0 },			/* past the last port */
		{ 0x10000, 1, 0, LINK_NO_SHADOW, 1, 0 },
		{ UINT64_MAX, 2, LINK_RGN_MMIO, LINK_NO_SHADOW, 1, 0 },	/* wraps */
		{ 0x100, 1, 0, LINK_NO_SHADOW, BUS_REGIONS, 0 },	/* id */
		{ 0x100, 2, LINK_RGN_SHADOW, LINK_SHADOWS - 1, 1, 0 },	/* shadow words */
		{ 0x100, 1, LINK_RGN_SHADOW, LINK_NO_SHADOW, 1, 0 },
		{ 0, LINK_SHADOWS + 1, LINK_RGN_SHADOW | LINK_RGN_MMIO, 0, 1, 0 },
	};
	struct bus_handler h = handler("h", 0xffff, 2, false);

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(bus_set_region(*state, &bad[i]), -EINVAL);
	assert_int_equal(bus_add_handler(*state, &h), -EINVAL);
	h.len = 0;
	assert_int_equal(bus_add_handler(*state, &h), -EINVAL);
	assert_int_equal(port_id(*state, 0x100, 1), -1);
}

static void test_drop_regions(void **state)
{
	add(*state, "pic", 0x20, 2, false);
	set(*state, 1, 0x1f0, 8, 0);
	set(*state, 2, 0xfe000000, 0x1000, LINK_RGN_MMIO);
	bus_drop_regions(*state);
	assert_int_equal(port_id(*state, 0x1f0, 1), -1);
	assert_int_equal(mmio_id(*state, 0xfe000000, 4), -1);
	assert_int_equal(port_id(*state, 0x20, 1), -2);
}

/* Tables and owners agree after any sequence of changes. */
static void test_random_changes(void **state)
{
	srandom(13286);
	for (unsigned i = 0; i < 300; i++) {
		bool mmio = random() & 1;
		uint64_t base = random() % 200, len = random() % 24;

		set(*state, random() % 12, base, len, mmio ? LINK_RGN_MMIO : 0);
		if (i % 16 == 0) {
			struct bus_handler h = handler(random() & 1 ? "a" : "b", random() % 200, 1 + random() % 4, mmio);

			bus_remove_handler(*state, h.name);
			bus_add_handler(*state, &h);
		}
		assert_true(bus_check(*state));
	}
}

struct race {
	struct bus *bus;
	int stop;
	unsigned long wrong, looked;
};

static void *lookups(void *arg)
{
	struct race *r = arg;

	while (!__atomic_load_n(&r->stop, __ATOMIC_RELAXED)) {
		struct bus_owner p = bus_find_port(r->bus, 0x105, 1), m = bus_find_mmio(r->bus, 0x105, 1);

		/* the port is always somebody's; each answer is one region's, whole */
		bool wide = p.region.len == 16 && p.region.id == 1 && p.region.dev == 1;
		bool narrow = p.region.len == 8 && p.region.id == 2 && p.region.dev == 2;

		if (p.handler || (!wide && !narrow))
			r->wrong++;
		if (m.handler || (m.region.len && m.region.base + m.region.len != 0x110))
			r->wrong++;
		r->looked++;
	}
	return NULL;
}

static void test_lookup_during_changes(void **state)
{
	struct race r = { .bus = *state };
	struct bus_region wide = { 0x100, 16, 0, LINK_NO_SHADOW, 1, 1 }, narrow = { 0x100, 8, 0, LINK_NO_SHADOW, 2, 2 };
	pthread_t thread;

	assert_int_equal(bus_set_region(r.bus, &wide), 0);
	assert_int_equal(pthread_create(&thread, NULL, lookups, &r), 0);
	for (unsigned i = 0; i < 2000; i++) {
		narrow.len = i & 1 ? 8 : 0;
		assert_int_equal(bus_set_region(r.bus, &narrow), 0);
		set(r.bus, 3, 0x100 + i % 6, 0x10 - i % 6, LINK_RGN_MMIO);
	}
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	assert_int_equal(r.wrong, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_nobody), T(test_whole_access_or_nobody), T(test_region_is_copied_out), T(test_handler_wins),
		T(test_handlers_do_not_overlap), T(test_remove_takes_every_range), T(test_handler_table_is_bounded),
		T(test_shorter_region_wins), T(test_move_region), T(test_mmio_to_the_end), T(test_nonsense_is_refused),
		T(test_drop_regions), T(test_random_changes), T(test_lookup_during_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
