/*
 * Virtio's transport and rings, with a device of the test's own: it copies what
 * it reads of a chain to what it may write, at once or (queue 1) when a timer
 * says so.
 */
#include "tests/unit/virtiotest.h"
#include "tests/unit/stutter.h"

#include "ipc/link_engine.h"

enum { SLOT = 3, A = 0x20000, B = 0x30000, TABLE = 0x40000, MSG = 0xfee00000, OWN_F1 = 1 << 3, OWN_F2 = 1 << 5 };

struct own {
	uint16_t held[8];
	uint32_t nheld, config, negotiated, started, resets;
};

static void echo(struct dev *d, const struct virtq_chain *c)
{
	uint8_t buf[4096];
	size_t n = virtq_read(d, c, 0, buf, sizeof(buf));

	virtq_give(d, c->queue, c->head, virtq_write(d, c, 0, buf, n));
}

static void test_kicked(struct dev *d, unsigned queue)
{
	static struct virtq_chain c;

	while (virtq_take(d, queue, &c)) {
		struct own *s = virtio_write(d);

		if (queue == 0) {
			echo(d, &c);
		} else if (s->nheld < 8) {
			s->held[s->nheld++] = c.head;
			dev_timer(d, 0, dev_now(d) + 1000);
		} else {
			virtq_untake(d, queue, 1);
			break;
		}
	}
}

static void test_timer(struct dev *d, unsigned timer)
{
	static struct virtq_chain c;
	struct own *s = virtio_write(d);

	(void)timer;
	for (unsigned i = 0; i < s->nheld; i++)
		if (virtq_read_chain(d, 1, s->held[i], &c))
			echo(d, &c);
	s->nheld = 0;
	virtio_io_done(d, 0, 0);	/* what ends a reset that has waited */
}

static unsigned test_inflight(const struct dev *d)
{
	return ((const struct own *)virtio_state(d))->nheld;
}

static bool test_negotiated(struct dev *d, uint64_t features)
{
	((struct own *)virtio_write(d))->negotiated++;
	return !(features & OWN_F2);
}

static void test_started(struct dev *d)
{
	((struct own *)virtio_write(d))->started++;
}

static void test_reset(struct dev *d)
{
	((struct own *)virtio_write(d))->resets++;
}

static void test_config_read(const struct dev *d, uint8_t *config)
{
	for (unsigned i = 0; i < 12; i++)
		config[i] = 0x10 + i;
	memcpy(config + 4, &((const struct own *)virtio_state(d))->config, 4);
}

static void test_config_write(struct dev *d, unsigned off, unsigned size, uint64_t value)
{
	if (off == 4 && size == 4) {
		((struct own *)virtio_write(d))->config = value;
		virtio_config_changed(d);
	}
}

static const struct virtio_ops test_virtio = {
	.id = 63, .queues = 3, .queue_size = 256, .config_size = 12, .features = OWN_F1 | OWN_F2,
	.negotiated = test_negotiated, .started = test_started, .reset = test_reset, .inflight = test_inflight,
	.config_read = test_config_read, .config_write = test_config_write, .kicked = test_kicked, .timer = test_timer,
};
static const struct pci_ops test_pci = VIRTIO_PCI(63, 0xff0000);
static const struct dev_ops test_ops = {
	.name = "testvirtio", .summary = "", .state_version = 1,
	VIRTIO_DEVICE(&test_virtio, &test_pci, 3, sizeof(struct own)),
};

extern const struct dev_ops i440fx_ops, piix3_ops;
const struct dev_ops *const devices[] = { &i440fx_ops, &piix3_ops, &test_ops, NULL };

static const struct conf_dev machine[] = {
	{ .model = "hostbridge", .pci = true },
	{ .model = "lpc", .pci = true, .slot = 1 },
	{ .model = "testvirtio", .pci = true, .slot = SLOT },
};

static int setup(void **state)
{
	struct vdrv *v = calloc(1, sizeof(*v));

	v->h = harness_new(&(struct harness_conf){ .dev = machine, .ndevs = 3 });
	v->slot = SLOT;
	/* the pin: INTC# of the board's wiring goes to line 10 */
	for (unsigned i = 0; i < 4; i++)
		h_pci_write(v->h, 1, 0, 0x60 + i, 1, 10);
	for (unsigned i = 0; i < 256; i++)
		h_ram(v->h)[A + i] = i + 1;
	*state = v;
	return 0;
}

static int setup_stutter(void **state)
{
	setup(state);
	stutter(harness_dev(((struct vdrv *)*state)->h, "testvirtio"));
	return 0;
}

static int teardown(void **state)
{
	harness_free(((struct vdrv *)*state)->h);
	free(*state);
	stutter_none();
	return 0;
}

static const struct own *own(struct vdrv *v)
{
	return virtio_state(harness_dev(v->h, "testvirtio"));
}

static bool needs_reset(struct vdrv *v)
{
	return vd_get(v, VC_STATUS, 1) & VIRTIO_NEEDS_RESET;
}

/* A chain of 64 bytes in and out; given back well? */
static void request(struct vdrv *v, unsigned queue)
{
	memset(h_ram(v->h) + B, 0, 256);
	vd_add(v, queue, (struct vbuf[]){ { A, 64, false }, { B, 100, true } }, 2);
	vd_kick(v, queue);
}

static void echoed(struct vdrv *v, unsigned queue)
{
	uint32_t id, len;

	assert_true(vd_used(v, queue, &id, &len));
	assert_int_equal(len, 64);
	assert_memory_equal(h_ram(v->h) + A, h_ram(v->h) + B, 64);
	assert_int_equal(h_ram(v->h)[B + 64], 0);
	assert_false(vd_used(v, queue, NULL, NULL));
}

/* ---- the function */

static void identity(void **state)
{
	struct vdrv *v = *state;
	unsigned seen = 0, types = 0;

	assert_int_equal(h_pci_read(v->h, SLOT, 0, 0, 4), (0x1040u + 63) << 16 | 0x1af4);
	assert_int_equal(h_pci_read(v->h, SLOT, 0, 8, 4), 0xff000001);
	assert_true(h_pci_read(v->h, SLOT, 0, 0x2e, 2) >= 0x40);
	assert_true(h_pci_read(v->h, SLOT, 0, 6, 2) & 0x10);
	/* the list ends, in order, and each capability lies inside its BAR */
	for (unsigned at = h_pci_read(v->h, SLOT, 0, 0x34, 1); at; at = h_pci_read(v->h, SLOT, 0, at + 1, 1)) {
		assert_true(++seen < 10);
		assert_true(at >= 0x40 && at % 4 == 0);
		if (h_pci_read(v->h, SLOT, 0, at, 1) == 0x11) {
			assert_int_equal(h_pci_read(v->h, SLOT, 0, at + 2, 2), 3);	/* four vectors */
			continue;
		}
		assert_int_equal(h_pci_read(v->h, SLOT, 0, at, 1), 9);
		types |= 1u << h_pci_read(v->h, SLOT, 0, at + 3, 1);
		assert_int_equal(h_pci_read(v->h, SLOT, 0, at + 4, 1), 0);
		assert_true(h_pci_read(v->h, SLOT, 0, at + 8, 4) + h_pci_read(v->h, SLOT, 0, at + 12, 4) <= 0x4000);
	}
	assert_int_equal(types, 0x3e);
	/* a 64-bit BAR: sized in two halves */
	h_pci_write(v->h, SLOT, 0, 0x10, 4, ~0u);
	h_pci_write(v->h, SLOT, 0, 0x14, 4, ~0u);
	assert_int_equal(h_pci_read(v->h, SLOT, 0, 0x10, 4), 0xffffc00c);
	assert_int_equal(h_pci_read(v->h, SLOT, 0, 0x14, 4), 0xffffffff);
	h_pci_write(v->h, SLOT, 0, 4, 2, 2);
	assert_false(h_region(v->h, true, 0xffffffffffffc000, NULL, NULL));
}

/* The daemon is told that one of the kernel's was rung, not which. */
static void doorbells_of_the_kernel(void **state)
{
	struct vdrv *v = *state;

	vd_start(v, 0, 1);
	h_kernel_bells(v->h);
	for (unsigned i = 0; i < 2; i++) {
		request(v, 0);
		echoed(v, 0);
	}
	assert_int_equal(h_doorbells(v->h), 2);
}

static void placed_above_4g(void **state)
{
	struct vdrv *v = *state;

	v->bar = 0x12300000000;
	vd_start(v, 0, 1);
	assert_true(h_region(v->h, true, v->bar, NULL, NULL));
	request(v, 0);
	echoed(v, 0);
	assert_int_equal(h_doorbells(v->h), 1);
}

static void negotiation(void **state)
{
	struct vdrv *v = *state;
	uint64_t offer = OWN_F1 | OWN_F2 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_VERSION_1;

	vd_map(v);
	assert_int_equal(vd_offered(v), offer);
	vd_set(v, VC_DEVICE_SELECT, 4, 2);
	assert_int_equal(vd_get(v, VC_DEVICE, 4), 0);
	assert_false(vd_negotiate(v, OWN_F1));				/* a legacy driver */
	assert_false(vd_negotiate(v, VIRTIO_F_VERSION_1 | 1));		/* not offered */
	assert_int_equal(own(v)->negotiated, 0);
	assert_false(vd_negotiate(v, VIRTIO_F_VERSION_1 | OWN_F2));	/* the device's choice */
	assert_int_equal(own(v)->negotiated, 1);
	/* who goes on all the same gets no DRIVER_OK */
	vd_status(v, 15);
	assert_int_equal(vd_get(v, VC_STATUS, 1), 3);
	assert_int_equal(own(v)->started, 0);
	assert_true(vd_negotiate(v, VIRTIO_F_VERSION_1 | OWN_F1));
	/* settled: later writes are without effect, bits do not go one by one */
	vd_set(v, VC_DRIVER_SELECT, 4, 0);
	vd_set(v, VC_DRIVER, 4, 0);
	assert_int_equal(vd_get(v, VC_DRIVER, 4), OWN_F1);
	vd_status(v, VIRTIO_DRIVER_OK);
	assert_int_equal(vd_get(v, VC_STATUS, 1), 15);
	assert_int_equal(own(v)->started, 1);
	vd_status(v, 0);
	assert_int_equal(vd_get(v, VC_STATUS, 1), 0);
	assert_int_equal(vd_get(v, VC_DRIVER, 4), 0);
}

static void queue_registers(void **state)
{
	struct vdrv *v = *state;

	vd_map(v);
	assert_int_equal(vd_get(v, VC_QUEUES, 2), 3);
	vd_set(v, VC_SELECT, 2, 3);
	assert_int_equal(vd_get(v, VC_SIZE, 2), 0);
	vd_set(v, VC_SELECT, 2, 1);
	assert_int_equal(vd_get(v, VC_SIZE, 2), 256);
	for (unsigned bad = 0; bad < 5; bad++)
		vd_set(v, VC_SIZE, 2, (uint16_t[]){ 0, 3, 257, 512, 0xffff }[bad]);
	assert_int_equal(vd_get(v, VC_SIZE, 2), 256);
	vd_set(v, VC_VECTOR, 2, 4);
	assert_int_equal(vd_get(v, VC_VECTOR, 2), 0xffff);
	vd_set(v, VC_VECTOR, 2, 3);
	assert_int_equal(vd_get(v, VC_VECTOR, 2), 3);
	vd_set(v, VC_ENABLE, 2, 1);
	assert_int_equal(vd_get(v, VC_ENABLE, 2), 0);	/* not before FEATURES_OK */
	v->size = 8;
	vd_start(v, 0, 2);
	vd_set(v, VC_DESC, 8, 0x5000);
	assert_int_equal(vd_get(v, VC_DESC, 8), VD_RINGS + VD_RING_STEP);
	vd_set(v, VC_SIZE, 2, 4);
	assert_int_equal(vd_get(v, VC_SIZE, 2), 8);
}

static void device_configuration(void **state)
{
	struct vdrv *v = *state;
	uint8_t before;

	vd_start(v, 0, 1);
	assert_int_equal(h_read(v->h, v->config, 4), 0x13121110);
	assert_int_equal(h_read(v->h, v->config + 9, 2), 0x1a19);
	assert_int_equal(h_read(v->h, v->config + 8, 8), 0x1b1a1918);
	before = vd_get(v, VC_GENERATION, 1);
	h_write(v->h, v->config + 4, 4, 0x55667788);
	assert_int_equal(h_read(v->h, v->config + 4, 4), 0x55667788);
	assert_int_not_equal(vd_get(v, VC_GENERATION, 1), before);
	assert_true(h_line(v->h, 10));
	assert_int_equal(h_read(v->h, v->isr, 1), 2);
	assert_false(h_line(v->h, 10));
	h_write(v->h, v->config + 12, 4, 1);		/* outside */
}

/* All of it can be done through configuration space. */
static void window(void **state)
{
	struct vdrv *v = *state;
	const unsigned cap = 0x98;

	vd_start(v, 0, 1);
	h_pci_write(v->h, SLOT, 0, cap + 8, 4, VC_STATUS);
	h_pci_write(v->h, SLOT, 0, cap + 12, 4, 1);
	assert_int_equal(h_pci_read(v->h, SLOT, 0, cap + 16, 4) & 0xff, 15);
	h_pci_write(v->h, SLOT, 0, cap + 16, 4, 0);
	assert_int_equal(vd_get(v, VC_STATUS, 1), 0);
	/* what it cannot reach is left alone */
	h_pci_write(v->h, SLOT, 0, cap + 16, 4, 0x12345678);
	for (unsigned i = 0; i < 4; i++) {
		h_pci_write(v->h, SLOT, 0, cap + 4, 1, i == 0);
		h_pci_write(v->h, SLOT, 0, cap + 8, 4, (uint32_t[]){ 0, 0x3fff, 0xfffffffe, 2 }[i]);
		h_pci_write(v->h, SLOT, 0, cap + 12, 4, (uint32_t[]){ 4, 2, 4, 3 }[i]);
		assert_int_equal(h_pci_read(v->h, SLOT, 0, cap + 16, 4), 0x12345678);
	}
}

/* ---- chains */

static void a_chain_comes_back(void **state)
{
	struct vdrv *v = *state;
	uint64_t before;

	vd_start(v, 0, 1);
	before = h_requests(v->h);
	request(v, 0);
	assert_int_equal(h_requests(v->h), before);	/* the engine completed the kick */
	assert_int_equal(h_doorbells(v->h), 1);
	echoed(v, 0);
	assert_true(h_line(v->h, 10));
	assert_true(h_pci_read(v->h, SLOT, 0, 6, 2) & 8);
	assert_int_equal(h_read(v->h, v->isr, 1), 1);
	assert_false(h_line(v->h, 10));
	assert_int_equal(h_read(v->h, v->isr, 1), 0);
	/* the pin can be silenced, and speaks again */
	h_pci_write(v->h, SLOT, 0, 4, 2, 0x406);
	request(v, 0);
	assert_false(h_line(v->h, 10));
	h_pci_write(v->h, SLOT, 0, 4, 2, 6);
	assert_true(h_line(v->h, 10));
	echoed(v, 0);
}

/* A write of another size is no doorbell of the engine's; it counts all the same. */
static void odd_kicks(void **state)
{
	struct vdrv *v = *state;

	vd_start(v, 0, 1);
	vd_add(v, 0, (struct vbuf[]){ { A, 64, false }, { B, 64, true } }, 2);
	h_write(v->h, v->q[0].bell, 4, 0);
	assert_int_equal(h_doorbells(v->h), 0);
	echoed(v, 0);
	h_write(v->h, v->notify + v->notify_step * 3, 2, 3);	/* no such queue */
	h_write(v->h, v->notify + v->notify_step * 2, 2, 2);	/* not enabled */
	assert_false(needs_reset(v));
}

static void many_at_once(void **state)
{
	struct vdrv *v = *state;
	uint32_t id, len;

	vd_start(v, 0, 1);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 256; i++)
			vd_add(v, 0, (struct vbuf[]){ { B, 16, true } }, 1);
		vd_kick(v, 0);
		for (unsigned i = 0; i < 256; i++) {
			assert_true(vd_used(v, 0, &id, &len));
			assert_int_equal(id, i);
			assert_int_equal(len, 0);
		}
	}
	assert_false(vd_used(v, 0, NULL, NULL));
	/* put there before DRIVER_OK: seen without a kick */
	vd_map(v);
	assert_true(vd_negotiate(v, VIRTIO_F_VERSION_1));
	vd_queue(v, 0, 0xffff);
	vd_add(v, 0, (struct vbuf[]){ { A, 64, false }, { B, 64, true } }, 2);
	vd_status(v, 15);
	echoed(v, 0);
}

static void held_chains(void **state)
{
	struct vdrv *v = *state;

	vd_start(v, 0, 2);
	request(v, 1);
	assert_false(vd_used(v, 1, NULL, NULL));
	h_advance(v->h, 1000);
	echoed(v, 1);
	/* more than the device can hold: the rest waits for a kick */
	for (unsigned i = 0; i < 10; i++)
		request(v, 1);
	h_advance(v->h, 1000);
	for (unsigned i = 0; i < 8; i++)
		assert_true(vd_used(v, 1, NULL, NULL));
	assert_false(vd_used(v, 1, NULL, NULL));
	vd_kick(v, 1);
	h_advance(v->h, 1000);
	assert_true(vd_used(v, 1, NULL, NULL));
	assert_true(vd_used(v, 1, NULL, NULL));
}

static void indirect(void **state)
{
	struct vdrv *v = *state;

	vd_start(v, VIRTIO_F_INDIRECT_DESC, 1);
	vd_desc(v, TABLE, 0, A, 20, VD_NEXT, 2);
	vd_desc(v, TABLE, 2, A + 20, 44, VD_NEXT, 1);
	vd_desc(v, TABLE, 1, B, 100, VD_WRITE, 0);
	vd_desc(v, v->q[0].desc, 5, TABLE, 48, VD_INDIRECT, 0);
	vd_avail(v, 0, 5);
	vd_kick(v, 0);
	echoed(v, 0);
}

static void decoded_code(void **state)
{
	struct vdrv *v = *state;
	struct link_event ev;

	vd_start(v, 0, 1);
	request(v, 0);
	assert_false(h_event_of(v->h, LINK_EV_CODE, &ev));
	echoed(v, 0);
	h_mark_code(v->h, B, true);
	request(v, 0);
	assert_true(h_event_of(v->h, LINK_EV_CODE, &ev));
	assert_int_equal(ev.addr, B);
	assert_int_equal(ev.value, 64);
}

/* ---- what breaks a ring */

/* Descriptors and a head, as a hostile driver would have them. */
static const struct broken {
	const char *what;
	struct { uint64_t gpa; uint32_t len; uint16_t flags, next; } d[3], t[3];
	uint16_t head, jump;
	uint64_t features;
} broken[] = {
	{ .what = "the head", .head = 8 },
	{ .what = "the next", .d = { { A, 1, VD_NEXT, 8 } } },
	{ .what = "a loop", .d = { { A, 1, VD_NEXT, 1 }, { A, 1, VD_NEXT, 0 } } },
	{ .what = "a loop of nothing", .d = { { A, 0, VD_NEXT, 0 } } },
	{ .what = "beyond RAM", .d = { { 16 << 20, 1, 0, 0 } } },
	{ .what = "across the end of RAM", .d = { { (16 << 20) - 4, 8, VD_WRITE, 0 } } },
	{ .what = "a length that wraps", .d = { { ~0ull - 7, 16, 0, 0 } } },
	{ .what = "the display's memory", .d = { { 0x9fff0, 0x20, 0, 0 } } },
	{ .what = "wrong order", .d = { { A, 1, VD_WRITE | VD_NEXT, 1 }, { A, 1, 0, 0 } } },
	{ .what = "the index", .d = { { A, 1, 0, 0 } }, .jump = 9 },
	{ .what = "indirect uninvited", .d = { { TABLE, 16, VD_INDIRECT, 0 } }, .t = { { A, 1, 0, 0 } } },
	{ .what = "indirect and next", .d = { { TABLE, 16, VD_INDIRECT | VD_NEXT, 1 } }, .features = VIRTIO_F_INDIRECT_DESC },
	{ .what = "indirect in indirect", .d = { { TABLE, 32, VD_INDIRECT, 0 } },
	  .t = { { TABLE, 16, VD_INDIRECT, 0 } }, .features = VIRTIO_F_INDIRECT_DESC },
	{ .what = "a table's length", .d = { { TABLE, 17, VD_INDIRECT, 0 } }, .features = VIRTIO_F_INDIRECT_DESC },
	{ .what = "no table", .d = { { TABLE, 0, VD_INDIRECT, 0 } }, .features = VIRTIO_F_INDIRECT_DESC },
	{ .what = "a table too long", .d = { { TABLE, 16 * 257, VD_INDIRECT, 0 } }, .features = VIRTIO_F_INDIRECT_DESC },
	{ .what = "a table elsewhere", .d = { { 1ull << 40, 16, VD_INDIRECT, 0 } }, .features = VIRTIO_F_INDIRECT_DESC },
	{ .what = "a table's next", .d = { { TABLE, 16, VD_INDIRECT, 0 } }, .t = { { A, 1, VD_NEXT, 1 } },
	  .features = VIRTIO_F_INDIRECT_DESC },
};

static void broken_rings(void **state)
{
	struct vdrv *v = *state;

	v->size = 8;
	for (unsigned i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		const struct broken *b = &broken[i];

		vd_start(v, b->features, 1);
		for (unsigned n = 0; n < 3; n++) {
			vd_desc(v, v->q[0].desc, n, b->d[n].gpa, b->d[n].len, b->d[n].flags, b->d[n].next);
			vd_desc(v, TABLE, n, b->t[n].gpa, b->t[n].len, b->t[n].flags, b->t[n].next);
		}
		v->q[0].added += b->jump ? b->jump - 1 : 0;
		vd_avail(v, 0, b->head);
		vd_kick(v, 0);
		if (!needs_reset(v) || vd_used(v, 0, NULL, NULL))
			fail_msg("%s: not refused", b->what);
		assert_int_equal(h_read(v->h, v->isr, 1), 2);
		/* silent until it is reset */
		request(v, 0);
		assert_false(vd_used(v, 0, NULL, NULL));
		vd_start(v, 0, 1);
		request(v, 0);
		echoed(v, 0);
	}
}

static void bad_places(void **state)
{
	static const uint64_t place[][3] = {
		{ 16 << 20, 0x102000, 0x103000 }, { 0x100008, 0x102000, 0x103000 }, { 0x100000, 0x102001, 0x103000 },
		{ 0x100000, 0x102000, 0x103002 }, { 0x100000, (16 << 20) - 8, 0x103000 }, { 0x100000, 0x102000, ~7ull },
	};
	struct vdrv *v = *state;

	for (unsigned i = 0; i < sizeof(place) / sizeof(place[0]); i++) {
		vd_map(v);
		assert_true(vd_negotiate(v, VIRTIO_F_VERSION_1));
		for (unsigned r = 0; r < 3; r++)
			vd_set(v, VC_DESC + 8 * r, 8, place[i][r]);
		vd_set(v, VC_ENABLE, 2, 1);
		assert_int_equal(vd_get(v, VC_ENABLE, 2), 0);
		assert_true(needs_reset(v));
	}
	vd_start(v, 0, 1);
	assert_false(needs_reset(v));
}

/* ---- who wants to be told */

static void interrupt_flag(void **state)
{
	struct vdrv *v = *state;

	vd_start(v, 0, 1);
	*vd_word(v, v->q[0].avail) = 1;
	request(v, 0);
	echoed(v, 0);
	assert_false(h_line(v->h, 10));
	*vd_word(v, v->q[0].avail) = 0;
	request(v, 0);
	assert_true(h_line(v->h, 10));
}

static void event_index(void **state)
{
	struct vdrv *v = *state;
	uint16_t *used_event, *avail_event;

	vd_start(v, VIRTIO_F_EVENT_IDX, 1);
	used_event = vd_word(v, v->q[0].avail + 4 + 2 * 256);
	avail_event = vd_word(v, v->q[0].used + 4 + 8 * 256);
	/* after the third, not before */
	*used_event = 2;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(*avail_event, i);	/* kick me at the next */
		assert_false(h_line(v->h, 10));
		request(v, 0);
		echoed(v, 0);
	}
	assert_true(h_line(v->h, 10));
	h_read(v->h, v->isr, 1);
	/* once only, however many follow */
	for (unsigned i = 0; i < 700; i++) {
		request(v, 0);
		echoed(v, 0);
	}
	assert_false(h_line(v->h, 10));
	/* around the end of the index */
	for (unsigned i = 703; i < 65534; i++)
		request(v, 0);
	v->q[0].seen = 65534;
	*used_event = 65535;
	request(v, 0);
	assert_false(h_line(v->h, 10));
	request(v, 0);
	assert_true(h_line(v->h, 10));
}

/* Interrupts for a guest at work are held back for a while, where that brings several together. */
static void held_interrupts(void **state)
{
	struct vdrv *v = *state;
	struct machine *m = harness_machine(v->h);
	struct link *engine = h_engine(v->h);
	unsigned n = 0;

	m->may_hold = true;
	vd_start(v, 0, 1);
	for (unsigned i = 0; i < 200; i++) {		/* nothing is known of the vCPU */
		request(v, 0);
		assert_int_equal(h_read(v->h, v->isr, 1), 1);
	}
	link_activity(engine, 0, LINK_RUNS);
	do {						/* a trial comes */
		request(v, 0);
		assert_true(++n < 200);
	} while (h_read(v->h, v->isr, 1));
	assert_int_equal(m->held, 1);
	request(v, 0);
	assert_false(h_line(v->h, 10));
	assert_int_equal(machine_release(m), 0);
	h_sleep(v->h, 200000);
	assert_int_equal(machine_release(m), 1);
	assert_int_equal(h_read(v->h, v->isr, 1), 1);
	assert_int_equal(machine_held_until(m), 0);
	/* it paid: at once held back, and let go when the vCPU halts */
	request(v, 0);
	assert_int_equal(h_read(v->h, v->isr, 1), 0);
	assert_true(m->held);
	link_bell_moved(m->link);
	link_activity(engine, 0, LINK_HALTED);
	assert_true(link_bell_moved(m->link));
	assert_int_equal(machine_release(m), 1);
	assert_int_equal(h_read(v->h, v->isr, 1), 1);
	/* nobody is made to wait who sleeps */
	request(v, 0);
	assert_int_equal(h_read(v->h, v->isr, 1), 1);
	link_bell_moved(m->link);
	link_activity(engine, 0, LINK_HALTED);
	assert_false(link_bell_moved(m->link));
	link_activity(engine, 0, LINK_RUNS);
	/* one at a time: that does not pay, and it stops */
	for (n = 0; n < 4; n++) {
		request(v, 0);
		h_sleep(v->h, 200000);
		machine_release(m);
		assert_int_equal(h_read(v->h, v->isr, 1), 1);
	}
	request(v, 0);
	assert_int_equal(h_read(v->h, v->isr, 1), 1);
	/* a driver that looks by itself is not interrupted after all */
	do
		request(v, 0);
	while (h_read(v->h, v->isr, 1));
	*vd_word(v, v->q[0].avail) = 1;
	h_sleep(v->h, 200000);
	machine_release(m);
	assert_int_equal(h_read(v->h, v->isr, 1), 0);
}

static void msix(void **state)
{
	struct vdrv *v = *state;

	vd_start(v, 0, 0);
	vd_msix(v, true, false);
	for (unsigned i = 0; i < 4; i++)
		vd_vector(v, i, MSG + 0x1000 * i, 0x40 + i, false);
	assert_int_equal(h_read(v->h, v->bar + VD_TABLE + 16 * 2, 8), MSG + 0x2000);
	vd_map(v);
	assert_true(vd_negotiate(v, VIRTIO_F_VERSION_1));
	vd_set(v, VC_CONFIG_VECTOR, 2, 0);
	vd_queue(v, 0, 2);
	vd_queue(v, 1, 0xffff);
	vd_status(v, 15);
	h_drop_events(v->h);
	request(v, 0);
	echoed(v, 0);
	assert_int_equal(vd_message(v), 0x42);
	assert_false(h_line(v->h, 10));
	assert_int_equal(h_read(v->h, v->isr, 1), 0);
	h_write(v->h, v->config + 4, 4, 1);
	assert_int_equal(vd_message(v), 0x40);
	request(v, 1);					/* no vector */
	h_advance(v->h, 1000);
	echoed(v, 1);
	assert_int_equal(vd_message(v), -1);
	/* masked: remembered once */
	vd_vector(v, 2, MSG + 0x2000, 0x52, true);
	request(v, 0);
	request(v, 0);
	assert_int_equal(vd_message(v), -1);
	assert_int_equal(h_read(v->h, v->bar + VD_PBA, 8), 4);
	h_write(v->h, v->bar + VD_PBA, 8, 0);		/* read-only */
	vd_msix(v, true, true);
	h_write(v->h, v->bar + VD_TABLE + 44, 4, 0);	/* unmasked, but the function is not */
	assert_int_equal(vd_message(v), -1);
	vd_msix(v, true, false);
	assert_int_equal(vd_message(v), 0x52);
	assert_int_equal(vd_message(v), -1);
	assert_int_equal(h_read(v->h, v->bar + VD_PBA, 4), 0);
	/* what is no interrupt message goes nowhere */
	vd_vector(v, 2, 0x1000, 0x42, false);
	request(v, 0);
	vd_vector(v, 2, MSG + 2, 0x42, false);
	request(v, 0);
	vd_vector(v, 2, 0x1fee00000, 0x42, false);
	request(v, 0);
	assert_int_equal(vd_message(v), -1);
	/* off: the pin */
	vd_msix(v, false, false);
	request(v, 0);
	assert_true(h_line(v->h, 10));
	assert_int_equal(vd_message(v), -1);
	/* odd accesses to the table */
	assert_int_equal(h_read(v->h, v->bar + VD_TABLE, 2), 0);
	h_write(v->h, v->bar + VD_TABLE + 2, 2, 0xffff);
	h_write(v->h, v->bar + VD_TABLE + 16 * 4, 8, ~0ull);
	assert_int_equal(h_read(v->h, v->bar + VD_TABLE, 4), MSG);
}

/* ---- resets */

/* Buffers are the device's until it has given them back. */
static void reset_waits(void **state)
{
	struct vdrv *v = *state;

	vd_start(v, 0, 2);
	request(v, 1);
	vd_status(v, 0);
	assert_int_equal(vd_get(v, VC_STATUS, 1), 15);
	vd_status(v, 1);				/* not listened to meanwhile */
	request(v, 0);
	assert_false(vd_used(v, 0, NULL, NULL));
	h_advance(v->h, 1000);
	assert_int_equal(vd_get(v, VC_STATUS, 1), 0);
	assert_false(vd_used(v, 1, NULL, NULL));
	vd_set(v, VC_SELECT, 2, 1);
	assert_int_equal(vd_get(v, VC_ENABLE, 2), 0);
	vd_start(v, 0, 1);
	request(v, 0);
	echoed(v, 0);
}

static void doorbells_follow(void **state)
{
	struct vdrv *v = *state;
	uint64_t bell;

	vd_start(v, 0, 1);
	bell = v->q[0].bell;
	/* the BAR moves, and so does the doorbell */
	v->bar = 0xd0000000;
	vd_map(v);
	h_write(v->h, bell, 2, 0);
	assert_true(h_unclaimed(v->h));
	assert_int_equal(h_doorbells(v->h), 0);
	v->q[0].bell = v->notify;
	request(v, 0);
	assert_int_equal(h_doorbells(v->h), 1);
	echoed(v, 0);
	/* nobody answers after memory decoding is switched off, or the machine is reset */
	h_pci_write(v->h, SLOT, 0, 4, 2, 0);
	h_write(v->h, v->notify, 2, 0);
	assert_true(h_unclaimed(v->h));
	h_pci_write(v->h, SLOT, 0, 4, 2, 6);
	request(v, 0);
	assert_int_equal(h_doorbells(v->h), 2);
	h_reset(v->h);
	h_write(v->h, v->notify, 2, 0);
	assert_true(h_unclaimed(v->h));
	assert_int_equal(h_doorbells(v->h), 2);
	assert_int_equal(h_pci_read(v->h, SLOT, 0, VD_MSIX + 2, 2), 3);
	vd_map(v);
	assert_int_equal(vd_get(v, VC_STATUS, 1), 0);
}

static void hostile_state(void **state)
{
	struct vdrv *v = *state;
	struct dev *d = harness_dev(v->h, "testvirtio");
	struct virtio *s = d->state;
	struct virtq *q = (struct virtq *)(s + 1);

	vd_start(v, 0, 1);
#define REFUSES(field, value) do {					\
		typeof(field) was = field;				\
		field = (value);					\
		assert_int_not_equal(d->ops->check(d, s), 0);		\
		field = was;						\
		assert_int_equal(d->ops->check(d, s), 0);		\
	} while (0)
	REFUSES(s->features, 1);
	REFUSES(s->resetting, 2);
	REFUSES(s->isr, 4);
	REFUSES(s->config_vector, 4);
	REFUSES(q->size, 0);
	REFUSES(q->size, 3);
	REFUSES(q->size, 512);
	REFUSES(q->enabled, 2);
	REFUSES(q->vector, 4);
	REFUSES(q->desc, 16 << 20);
	REFUSES(q->avail, 1);
	REFUSES(q->used, ~3ull);
	REFUSES(q->given, 1);
	REFUSES(((struct msix_vector *)(q + 3))->control, 2);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define S(f) { #f ", dying in every transaction", f, setup_stutter, teardown, NULL }
	const struct CMUnitTest tests[] = {
		T(identity), T(placed_above_4g), T(negotiation), T(queue_registers), T(device_configuration), T(window),
		T(a_chain_comes_back), T(odd_kicks), T(many_at_once), T(held_chains), T(indirect), T(decoded_code),
		T(broken_rings), T(bad_places), T(interrupt_flag), T(event_index), T(held_interrupts), T(msix), T(reset_waits), T(doorbells_follow), T(doorbells_of_the_kernel),
		T(hostile_state),
		S(queue_registers), S(a_chain_comes_back), S(many_at_once), S(held_chains), S(broken_rings), S(event_index),
		S(msix), S(reset_waits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
