/*
 * The console: ports and what the driver is told of them, bytes both ways with
 * flow control, a driver that knows one port only, and one that talks nonsense.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/stutter.h"
#include "tests/unit/virtiotest.h"

#define F_MULTIPORT	(1ull << 1)
#define F_EMERG_WRITE	(1ull << 2)

enum { DEVICE_READY, PORT_ADD, PORT_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };
enum { TO_0, FROM_0, CTRL_TO, CTRL_FROM, TO_1, FROM_1, TO_2, FROM_2, TO_3, FROM_3, NQUEUES };

static const struct conf_key keys[] = {
	KEY_STREAM("console", 0), KEY_STREAM("port1", 5), KEY("port1.name", "org.example.one"),
	KEY_STREAM("port3", -1), KEY("port3.console", "on"),
};
static const struct conf_dev devs[] = {
	{ .model = "hostbridge", .pci = true },
	{ .model = "virtio-console", .pci = true, .slot = 3, .nkeys = 5, .key = keys },
};

enum { ALL_OK = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK };

static struct vdrv v;
static uint64_t page;		/* buffers */
static uint64_t free_ram;	/* and more of them */

static void *ram(uint64_t gpa)
{
	return h_ram(v.h) + gpa;
}

static uint64_t alloc(size_t n)
{
	uint64_t at = free_ram;

	free_ram += (n + 15) & ~15ull;
	memset(ram(at), 0, n);
	return at;
}

static int setup(void **state)
{
	*state = harness_new(&(struct harness_conf){ .dev = devs, .ndevs = 2 });
	return 0;
}

static int setup_stutter(void **state)
{
	setup(state);
	stutter(harness_dev(*state, "virtio-console"));
	return 0;
}

static int teardown(void **state)
{
	harness_free(*state);
	stutter_none();
	return 0;
}

static void up(struct harness *h, uint64_t features)
{
	v = (struct vdrv){ .h = h, .slot = 3 };
	vd_start(&v, features, NQUEUES);
	free_ram = 2 << 20;
	page = alloc(65536);
}

static void tell(uint32_t port, uint16_t event, uint16_t value)
{
	struct { uint32_t port; uint16_t event, value; } m = { port, event, value };
	uint64_t at = alloc(sizeof(m));
	uint32_t head;

	memcpy(ram(at), &m, sizeof(m));
	vd_add(&v, CTRL_FROM, &(struct vbuf)VB_OUT(at, sizeof(m)), 1);
	vd_kick(&v, CTRL_FROM);
	assert_true(vd_used(&v, CTRL_FROM, &head, NULL));
}

/* Buffers for so many messages; hear() takes them in order. */
static uint64_t heard, heard_next;

static void listen(unsigned n)
{
	heard = heard_next = alloc(128 * n);
	for (unsigned i = 0; i < n; i++)
		vd_add(&v, CTRL_TO, &(struct vbuf)VB_IN(heard + 128 * i, 128), 1);
	vd_kick(&v, CTRL_TO);
}

static void hear(uint32_t port, uint16_t event, uint16_t value, const char *name)
{
	struct { uint32_t port; uint16_t event, value; } m;
	uint32_t written;
	uint32_t head;

	assert_true(vd_used(&v, CTRL_TO, &head, &written));
	assert_int_equal(written, sizeof(m) + strlen(name));
	memcpy(&m, ram(heard_next), sizeof(m));
	assert_int_equal(m.port, port);
	assert_int_equal(m.event, event);
	assert_int_equal(m.value, value);
	assert_memory_equal((char *)ram(heard_next) + sizeof(m), name, strlen(name));
	heard_next += 128;
}

static void hear_nothing(void)
{
	uint32_t head;

	assert_false(vd_used(&v, CTRL_TO, &head, NULL));
}

static void identity(void **state)
{
	struct harness *h = *state;

	assert_int_equal(h_pci_read(h, 3, 0, 0, 4), 0x10431af4);
	up(h, F_MULTIPORT);
	assert_int_equal(vd_offered(&v) & 0xff, F_MULTIPORT | F_EMERG_WRITE);
	assert_int_equal(h_read(h, v.config + 4, 4), 4);	/* ports, those of the gap included */
	assert_int_equal(h_read(h, v.common + VC_QUEUES, 2), NQUEUES);
}

static void ports(void **state)
{
	struct harness *h = *state;

	up(h, F_MULTIPORT);
	listen(20);
	hear_nothing();
	h_online(h, 5, true);
	hear_nothing();
	tell(0, DEVICE_READY, 1);
	hear(0, PORT_ADD, 1, "");
	hear(1, PORT_ADD, 1, "");
	hear(3, PORT_ADD, 1, "");
	hear_nothing();
	tell(0, PORT_READY, 1);
	hear(0, CONSOLE_PORT, 1, "");
	hear_nothing();
	tell(1, PORT_READY, 1);
	hear(1, PORT_NAME, 1, "org.example.one");
	hear(1, PORT_OPEN, 1, "");
	tell(3, PORT_READY, 1);
	hear(3, CONSOLE_PORT, 1, "");
	h_online(h, 0, true);
	hear(0, PORT_OPEN, 1, "");
	h_online(h, 5, false);
	hear(1, PORT_OPEN, 0, "");
	h_online(h, 5, false);
	hear_nothing();
	/* after a reset everything is told again */
	assert_true(vd_negotiate(&v, VIRTIO_F_VERSION_1 | F_MULTIPORT));
	for (unsigned i = 0; i < NQUEUES; i++)
		vd_queue(&v, i, VIRTIO_NO_VECTOR);
	vd_status(&v, ALL_OK);
	listen(8);
	hear_nothing();
	tell(0, DEVICE_READY, 1);
	hear(0, PORT_ADD, 1, "");
}

/* What there was no buffer for is said when there is one; of what came and went meanwhile nothing is. */
static void late_buffers(void **state)
{
	struct harness *h = *state;

	up(h, F_MULTIPORT);
	tell(0, DEVICE_READY, 1);
	tell(1, PORT_READY, 1);
	h_online(h, 5, true);
	listen(2);
	hear(0, PORT_ADD, 1, "");
	hear(1, PORT_ADD, 1, "");
	h_online(h, 5, false);
	h_online(h, 5, true);
	listen(8);
	hear(1, PORT_NAME, 1, "org.example.one");
	hear(1, PORT_OPEN, 1, "");
	hear(3, PORT_ADD, 1, "");
	hear_nothing();
}

/* n readable bytes of a pattern that begins with `first`. */
static uint64_t pattern(size_t n, unsigned first)
{
	uint64_t at = alloc(n);
	uint8_t *p = ram(at);

	for (size_t i = 0; i < n; i++)
		p[i] = (first + i) * 7 + (first + i) / 251;
	return at;
}

static void output(void **state)
{
	struct harness *h = *state;
	uint8_t got[100];
	uint32_t head;

	up(h, 0);
	memcpy(ram(page), "hello, world", 12);
	vd_add(&v, FROM_0, (struct vbuf[]){ VB_OUT(page, 5), VB_OUT(page + 5, 7) }, 2);
	vd_add(&v, FROM_0, (struct vbuf[]){ VB_OUT(page, 1) }, 1);
	vd_kick(&v, FROM_0);
	assert_int_equal(h_output(h, 0, got, sizeof(got)), 13);
	assert_memory_equal(got, "hello, worldh", 13);
	assert_true(vd_used(&v, FROM_0, &head, NULL));
	assert_true(vd_used(&v, FROM_0, &head, NULL));
	assert_false(vd_used(&v, FROM_0, &head, NULL));
}

/* Chains longer than the stream is, against a slow reader: held, none before its time, every byte in order. */
static void held_back(void **state)
{
	enum { LONG = 40000, SHORT = 100 };
	struct harness *h = *state;
	uint64_t at;
	uint8_t got[3001], *want;
	size_t seen = 0, n;
	unsigned used = 0;
	uint32_t head, first;

	up(h, F_MULTIPORT);
	at = pattern(LONG + SHORT, 0);
	want = ram(at);
	first = vd_add(&v, FROM_1, (struct vbuf[]){ VB_OUT(at, 30000), VB_OUT(at + 30000, LONG - 30000) }, 2);
	vd_add(&v, FROM_1, &(struct vbuf)VB_OUT(at + LONG, SHORT), 1);
	vd_kick(&v, FROM_1);
	assert_false(vd_used(&v, FROM_1, &head, NULL));
	for (unsigned turn = 0; turn < 100 && seen < LONG + SHORT; turn++) {
		n = h_output(h, 5, got, sizeof(got));
		assert_memory_equal(got, want + seen, n);
		seen += n;
		while (vd_used(&v, FROM_1, &head, NULL))
			assert_true(used++ || head == first);
		assert_true(used == 0 || seen + LINK_STREAM_BYTES >= LONG);
	}
	assert_int_equal(seen, LONG + SHORT);
	assert_int_equal(used, 2);
	assert_int_equal(h_output(h, 5, got, sizeof(got)), 0);
}

/* A reset while a chain is held: it is forgotten, and the next driver's goes its way. */
static void reset_while_held(void **state)
{
	struct harness *h = *state;
	uint8_t got[LINK_STREAM_BYTES];
	uint32_t head;

	up(h, 0);
	vd_add(&v, FROM_0, &(struct vbuf)VB_OUT(pattern(20000, 0), 20000), 1);
	vd_kick(&v, FROM_0);
	assert_true(vd_negotiate(&v, VIRTIO_F_VERSION_1));
	assert_int_equal(h_output(h, 0, got, sizeof(got)), LINK_STREAM_BYTES);
	assert_int_equal(h_output(h, 0, got, sizeof(got)), 0);
	vd_queue(&v, FROM_0, VIRTIO_NO_VECTOR);
	vd_status(&v, ALL_OK);
	memcpy(ram(page), "new", 3);
	vd_add(&v, FROM_0, &(struct vbuf)VB_OUT(page, 3), 1);
	vd_kick(&v, FROM_0);
	assert_true(vd_used(&v, FROM_0, &head, NULL));
	assert_int_equal(h_output(h, 0, got, sizeof(got)), 3);
	assert_memory_equal(got, "new", 3);
}

static void input(void **state)
{
	struct harness *h = *state;
	uint32_t written;
	uint32_t head;

	up(h, 0);
	h_input(h, 0, "early", 5);		/* waits for buffers */
	vd_add(&v, TO_0, (struct vbuf[]){ VB_IN(page, 2), VB_IN(page + 100, 1) }, 2);
	vd_add(&v, TO_0, (struct vbuf[]){ VB_IN(page + 200, 100) }, 1);
	vd_add(&v, TO_0, (struct vbuf[]){ VB_IN(page + 300, 100) }, 1);
	vd_kick(&v, TO_0);
	assert_true(vd_used(&v, TO_0, &head, &written));
	assert_int_equal(written, 3);
	assert_memory_equal(ram(page), "ea", 3);
	assert_memory_equal(ram(page + 100), "r", 2);
	assert_true(vd_used(&v, TO_0, &head, &written));
	assert_int_equal(written, 2);
	assert_memory_equal(ram(page + 200), "ly", 3);
	assert_false(vd_used(&v, TO_0, &head, &written));
	h_input(h, 0, "late", 4);
	assert_true(vd_used(&v, TO_0, &head, &written));
	assert_int_equal(written, 4);
	assert_memory_equal(ram(page + 300), "late", 5);
}

/* Nobody in the guest has the port open: input waits. */
static void closed_port(void **state)
{
	struct harness *h = *state;
	uint32_t written;
	uint32_t head;

	up(h, F_MULTIPORT);
	listen(20);
	tell(0, DEVICE_READY, 1);
	tell(1, PORT_READY, 1);
	vd_add(&v, TO_1, &(struct vbuf)VB_IN(page, 100), 1);
	vd_add(&v, TO_1, &(struct vbuf)VB_IN(page + 100, 100), 1);
	vd_kick(&v, TO_1);
	h_input(h, 5, "abc", 3);
	assert_false(vd_used(&v, TO_1, &head, &written));
	tell(1, PORT_OPEN, 1);
	assert_true(vd_used(&v, TO_1, &head, &written));
	assert_int_equal(written, 3);
	assert_memory_equal(ram(page), "abc", 4);
	tell(1, PORT_OPEN, 0);
	h_input(h, 5, "def", 3);
	assert_false(vd_used(&v, TO_1, &head, &written));
	tell(1, PORT_OPEN, 1);
	assert_true(vd_used(&v, TO_1, &head, &written));
	assert_memory_equal(ram(page + 100), "def", 4);
}

/* A port without anything at its end, and one that there is not: what is sent is gone, nothing is held. */
static void nobody(void **state)
{
	uint32_t head;

	up(*state, F_MULTIPORT);
	for (unsigned q = FROM_2; q <= FROM_3; q += 2) {
		for (unsigned i = 0; i < 60; i++)
			vd_add(&v, q, &(struct vbuf)VB_OUT(page, 60000), 1);
		vd_kick(&v, q);
		for (unsigned i = 0; i < 60; i++)
			assert_true(vd_used(&v, q, &head, NULL));
	}
}

static void emergency(void **state)
{
	struct harness *h = *state;
	uint8_t got[8];

	v = (struct vdrv){ .h = h, .slot = 3 };
	vd_map(&v);
	h_write(h, v.config + 8, 4, 'A');	/* no driver needed */
	h_write(h, v.config + 8, 4, 'B');
	h_write(h, v.config + 4, 4, 'C');
	assert_int_equal(h_output(h, 0, got, sizeof(got)), 2);
	assert_memory_equal(got, "AB", 2);
}

static bool broken(void)
{
	return h_read(v.h, v.common + VC_STATUS, 1) & VIRTIO_NEEDS_RESET;
}

static void nonsense(void **state)
{
	struct harness *h = *state;
	uint32_t written;
	uint32_t head;

	up(h, F_MULTIPORT);
	listen(1);
	tell(~0u, PORT_OPEN, 1);
	tell(2, PORT_READY, 1);
	tell(16, PORT_OPEN, 1);
	tell(1, 77, 1);
	tell(0, PORT_REMOVE, 1);
	vd_add(&v, CTRL_FROM, &(struct vbuf)VB_OUT(page, 7), 1);	/* too short */
	vd_kick(&v, CTRL_FROM);
	assert_true(vd_used(&v, CTRL_FROM, &head, &written));
	hear_nothing();
	/* a buffer that a message does not fit into gets its beginning */
	tell(0, DEVICE_READY, 1);
	hear(0, PORT_ADD, 1, "");
	vd_add(&v, CTRL_TO, &(struct vbuf)VB_IN(page, 4), 1);
	vd_kick(&v, CTRL_TO);
	assert_true(vd_used(&v, CTRL_TO, &head, &written));
	assert_int_equal(written, 4);
	assert_false(broken());
	/* a chain that is taken away while it is being sent */
	vd_add(&v, FROM_1, &(struct vbuf)VB_OUT(page, 60000), 1);
	vd_kick(&v, FROM_1);
	memset(ram(v.q[FROM_1].desc), 0xff, 16);
	assert_false(broken());
	h_output(h, 5, (uint8_t[1000]){ 0 }, 1000);
	assert_true(broken());
}

static void bad_configuration(void **state)
{
	char longname[80] = "";
	const struct conf_key bad[][2] = {
		{ KEY_STREAM("port1", 0), KEY("port1.console", "yes") },
		{ KEY_STREAM("port1", 0), KEY("port1.name", longname) },
	};
	struct conf_dev dev[2] = { devs[0], devs[1] };

	(void)state;
	memset(longname, 'x', sizeof(longname) - 1);
	for (unsigned i = 0; i < 2; i++) {
		struct harness *h;

		dev[1].nkeys = 2;
		dev[1].key = bad[i];
		h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2, .may_fail = true });
		assert_non_null(strstr(harness_error(h), bad[i][1].name));
		harness_free(h);
	}
}

#define BOTH(t) cmocka_unit_test_setup_teardown(t, setup, teardown), \
		{ #t "-stutter", t, setup_stutter, teardown, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(identity), BOTH(ports), BOTH(late_buffers), BOTH(output), BOTH(held_back), BOTH(reset_while_held),
		BOTH(input), BOTH(closed_port), BOTH(nobody), BOTH(emergency), BOTH(nonsense),
		cmocka_unit_test(bad_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
