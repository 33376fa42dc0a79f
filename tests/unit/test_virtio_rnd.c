/*
 * The entropy device: every buffer comes back with random bytes, none of them
 * outside of the buffer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/stutter.h"
#include "tests/unit/virtiotest.h"

static const struct conf_dev devs[] = {
	{ .model = "hostbridge", .pci = true },
	{ .model = "virtio-rnd", .pci = true, .slot = 3 },
};

static int setup(void **state)
{
	*state = harness_new(&(struct harness_conf){ .dev = devs, .ndevs = 2 });
	return 0;
}

static int setup_stutter(void **state)
{
	setup(state);
	stutter(harness_dev(*state, "virtio-rnd"));
	return 0;
}

static int teardown(void **state)
{
	harness_free(*state);
	stutter_none();
	return 0;
}

static void identity(void **state)
{
	struct harness *h = *state;
	struct vdrv v = { .h = *state, .slot = 3 };

	assert_int_equal(h_pci_read(h, 3, 0, 0, 4), 0x10441af4);
	vd_start(&v, 0, 1);
	assert_int_equal(h_read(h, v.common + VC_QUEUES, 2), 1);
}

/* How many of the bytes are not zero. */
static unsigned live(const uint8_t *p, size_t n)
{
	unsigned live = 0;

	while (n--)
		live += *p++ != 0;
	return live;
}

static void bytes(void **state)
{
	struct vdrv v = { .h = *state, .slot = 3 };
	uint32_t written = 0;
	uint32_t head;
	uint64_t at = 2 << 20;

	vd_start(&v, 0, 1);
	head = vd_add(&v, 0, (struct vbuf[]){ VB_IN(at + 100, 500), VB_IN(at + 1000, 500) }, 2);
	vd_kick(&v, 0);
	assert_true(vd_used(&v, 0, NULL, &written));
	assert_int_equal(written, 1000);
	assert_in_range(live(h_ram(v.h) + at + 100, 500), 450, 500);
	assert_in_range(live(h_ram(v.h) + at + 1000, 500), 450, 500);
	assert_int_equal(live(h_ram(v.h) + at, 100) + live(h_ram(v.h) + at + 600, 400) + live(h_ram(v.h) + at + 1500, 500), 0);
	/* the next are others */
	memcpy(h_ram(v.h) + at, h_ram(v.h) + at + 100, 64);
	assert_int_not_equal(vd_add(&v, 0, (struct vbuf[]){ VB_IN(at + 100, 64) }, 1), head);
	vd_kick(&v, 0);
	assert_memory_not_equal(h_ram(v.h) + at, h_ram(v.h) + at + 100, 64);
}

/* More in one buffer than one call asks for, buffers that take nothing, more buffers than a transaction takes. */
static void odd_sizes(void **state)
{
	struct vdrv v = { .h = *state, .slot = 3 };
	uint32_t written = 0;
	uint32_t head;
	uint64_t at = 2 << 20;

	vd_start(&v, 0, 1);
	vd_add(&v, 0, (struct vbuf[]){ VB_IN(at, 100000) }, 1);
	vd_add(&v, 0, (struct vbuf[]){ VB_OUT(at, 100) }, 1);
	vd_kick(&v, 0);
	assert_true(vd_used(&v, 0, &head, &written));
	assert_in_range(written, 1, 100000);
	assert_in_range(live(h_ram(v.h) + at, written), written * 9 / 10, written);
	assert_int_equal(live(h_ram(v.h) + at + written, 100000 - written), 0);
	assert_true(vd_used(&v, 0, &head, &written));
	assert_int_equal(written, 0);
	for (unsigned i = 0; i < 64; i++)
		vd_add(&v, 0, (struct vbuf[]){ VB_IN(at, 8) }, 1);
	vd_kick(&v, 0);
	for (unsigned i = 0; i < 64; i++) {
		assert_true(vd_used(&v, 0, &head, &written));
		assert_int_equal(written, 8);
	}
	assert_false(vd_used(&v, 0, &head, &written));
}

#define BOTH(t) cmocka_unit_test_setup_teardown(t, setup, teardown), \
		{ #t "-stutter", t, setup_stutter, teardown, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = { BOTH(identity), BOTH(bytes), BOTH(odd_sizes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
