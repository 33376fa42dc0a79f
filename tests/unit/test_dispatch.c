/*
 * The dispatcher: order between rings, batches, moved regions, reset with
 * operations in flight, requests that break the protocol.
 */
#include "tests/unit/coretest.h"

#include <errno.h>
#include <string.h>

#include "devmodel/dispatch.h"
#include "devmodel/txn.h"
#include "ipc/link_engine.h"

/* ---- a device that writes down what happens to it */

enum { PLAIN, BATCH, PER_ELEMENT, POSTED };

struct probe {
	uint32_t accesses, irq_at;
	uint8_t next;
};

static char order[256];

static void note(char c)
{
	size_t n = strlen(order);

	if (n + 1 < sizeof(order))
		order[n] = c, order[n + 1] = 0;
}

static uint64_t probe_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	struct probe *p = dev_write(d);

	(void)off, (void)size;
	p->accesses++;
	if (p->accesses == p->irq_at)
		dev_irq(d, 5, true);
	note(region == PLAIN ? 'r' : 'e');
	return 0x1122334455667700ull + p->next++;
}

static void probe_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	struct probe *p = dev_write(d);

	(void)off, (void)size;
	p->accesses++;
	note(region == POSTED ? 'p' : 'w');
	if (value == 0xee)
		dev_irq(d, 5, true);
}

static unsigned probe_batch_in(struct dev *d, unsigned region, uint64_t off, unsigned size, void *data, unsigned n)
{
	struct probe *p = dev_write(d);

	(void)off;
	if (region == PER_ELEMENT) {
		uint64_t v = probe_read(d, region, off, size);

		memcpy(data, &v, size);
		return 0;	/* a bug: at least one is done */
	}
	for (unsigned i = 0; i < n * size; i++)
		((uint8_t *)data)[i] = p->next++;
	p->accesses++;
	return n > 10 ? 10 : n + 5;	/* a short one, and a bug: more than were asked for */
}

static void probe_timer(struct dev *d, unsigned timer)
{
	note('0' + timer);
	if (timer == 2)
		dev_timer(d, 4, dev_now(d));	/* at once: after those that were due before */
}

static void probe_reset(struct dev *d)
{
	memset(dev_write(d), 0, sizeof(struct probe));
	note('R');
}

static int probe_init(struct dev *d, bool fresh)
{
	(void)fresh;
	dev_region(d, &(struct dev_region){ .base = 0x100, .len = 8, .id = PLAIN });
	dev_region(d, &(struct dev_region){ .base = 0x110, .len = 4, .id = BATCH, .batch = true });
	dev_region(d, &(struct dev_region){ .base = 0x120, .len = 4, .id = PER_ELEMENT, .batch = true });
	dev_region(d, &(struct dev_region){ .base = 0x130, .len = 4, .id = POSTED, .posted = true });
	dev_region(d, &(struct dev_region){ .base = 0xfed00000, .len = 0xffc, .id = 4, .mmio = true });
	return blk_open(d, "disk") ? 0 : -EINVAL;
}

static const struct dev_key keys[] = { { .name = "disk" }, { 0 } };
static const struct dev_ops probe_ops = {
	.name = "probe", .keys = keys, .state_size = sizeof(struct probe), .bulk_size = 4096,
	.init = probe_init, .reset = probe_reset, .read = probe_read, .write = probe_write, .batch_in = probe_batch_in, .timer = probe_timer,
};
/* The same, without its own batches. */
static const struct dev_ops slow_ops = {
	.name = "slow", .keys = keys, .state_size = sizeof(struct probe), .bulk_size = 4096,
	.init = probe_init, .reset = probe_reset, .read = probe_read, .write = probe_write,
};
const struct dev_ops *const devices[] = { &probe_ops, &slow_ops, NULL };

static uint8_t disk[4096];

static struct harness *make(const char *model, unsigned vcpus)
{
	struct conf_key key = KEY_DISK("disk", harness_disk(disk, sizeof(disk), false));
	struct conf_dev dev = { .model = model, .nkeys = 1, .key = &key };
	struct harness *h = harness_new(&(struct harness_conf){ .dev = &dev, .ndevs = 1, .vcpus = vcpus });

	order[0] = 0;
	return h;
}

static void drop(struct harness *h)
{
	harness_free(h);
	harness_disks_free();
}

static const struct probe *probe(struct harness *h)
{
	return dev_state(&harness_machine(h)->dev[0]);
}

/* ---- tests */

static void sizes(void **state)
{
	struct harness *h = make("probe", 1);

	(void)state;
	assert_int_equal(h_in(h, 0x100, 1), 0x00);
	assert_int_equal(h_in(h, 0x100, 2), 0x7701);
	assert_int_equal(h_in(h, 0x104, 4), 0x55667702);
	assert_int_equal(h_read(h, 0xfed00ff0, 8), 0x1122334455667703ull);
	/* partly outside: nobody's */
	assert_int_equal(h_in(h, 0x106, 4), 0xffffffff);
	assert_true(h_unclaimed(h));
	assert_int_equal(h_read(h, 0xfed00ff8, 8), ~0ull);
	assert_int_equal(probe(h)->accesses, 4);
	drop(h);
}

static void batches(void **state)
{
	struct harness *h = make("probe", 1);
	uint8_t b[64];

	(void)state;
	assert_int_equal(h_ins(h, 0x110, 2, b, 32), 10);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(b[i], i);
	assert_int_equal(h_ins(h, 0x110, 1, b, 4), 4);	/* not nine */
	assert_int_equal(h_ins(h, 0x120, 1, b, 4), 1);	/* not none */
	/* where it is not declared one element goes at a time */
	assert_int_equal(h_ins(h, 0x100, 1, b, 8), 1);
	assert_int_equal(h_outs(h, 0x100, 1, b, 8), 1);
	/* nobody there: all ones, all done */
	assert_int_equal(h_ins(h, 0x999, 2, b, 16), 16);
	assert_true(h_unclaimed(h));
	assert_int_equal(b[31], 0xff);
	assert_int_equal(h_outs(h, 0x999, 2, b, 16), 16);
	drop(h);
}

static void an_interrupt_ends_the_batch(void **state)
{
	struct harness *h = make("slow", 1);
	struct machine *m = harness_machine(h);
	uint8_t b[64] = { 1, 2, 3, 0xee, 5, 6 };

	(void)state;
	assert_int_equal(txn_begin(m, (struct txn_source){ .kind = TXN_TIMER }), 0);
	((struct probe *)dev_write(&m->dev[0]))->irq_at = 3;
	txn_end(m);
	assert_int_equal(h_ins(h, 0x110, 1, b + 32, 8), 3);
	assert_true(h_line(h, 5));
	assert_int_equal(h_ins(h, 0x110, 1, b + 32, 8), 8);	/* the line does not move again */
	h_reset(h);
	assert_int_equal(txn_begin(m, (struct txn_source){ .kind = TXN_TIMER }), 0);
	dev_irq(&m->dev[0], 5, false);
	txn_end(m);
	assert_int_equal(h_outs(h, 0x110, 1, b, 6), 4);
	drop(h);
}

static void post(struct harness *h, unsigned ring, unsigned kind, uint64_t addr, uint64_t value, unsigned flags, uint64_t seq)
{
	struct link_req r = { .kind = kind, .addr = addr, .value = value, .size = kind < LINK_REQ_RESET ? 1 : 0, .count = 1,
			      .flags = flags, .vcpu = ring, .region = LINK_NO_REGION, .seq = seq };

	assert_int_equal(link_post_req(h_engine(h), ring, &r), 0);
}

static void posted_writes_go_first(void **state)
{
	struct harness *h = make("probe", 3);
	struct link_comp c;

	(void)state;
	/* vCPU 0 reads; the others' posted writes were retired before */
	post(h, 0, LINK_REQ_PIO_IN, 0x100, 0, 0, 1);
	post(h, 1, LINK_REQ_PIO_OUT, 0x130, 1, LINK_REQ_POSTED, 1);
	post(h, 1, LINK_REQ_PIO_OUT, 0x130, 2, LINK_REQ_POSTED, 2);
	post(h, 2, LINK_REQ_PIO_OUT, 0x130, 3, LINK_REQ_POSTED, 1);
	post(h, 2, LINK_REQ_PIO_OUT, 0x100, 4, 0, 2);	/* waits for its turn */
	while (dispatch_poll(harness_machine(h)) > 0)
		;
	assert_string_equal(order, "ppprw");
	assert_int_equal(link_committed(h_engine(h), 1), 2);
	assert_int_equal(link_take_comp(h_engine(h), 0, &c), 1);
	assert_int_equal(link_take_comp(h_engine(h), 2, &c), 1);
	assert_int_equal(c.seq, 2);
	/* a reset too comes after them */
	order[0] = 0;
	post(h, 3, LINK_REQ_RESET, 0, 0, 0, 1);
	post(h, 0, LINK_REQ_PIO_OUT, 0x130, 1, LINK_REQ_POSTED, 2);
	while (dispatch_poll(harness_machine(h)) > 0)
		;
	assert_string_equal(order, "pR");
	drop(h);
}

/* It takes a sequence number's place, in a vCPU's ring and in the control ring; no device is asked, nothing is answered. */
static void a_void_is_acknowledged(void **state)
{
	struct harness *h = make("probe", 1);
	struct machine *m = harness_machine(h);
	struct link_comp c;

	(void)state;
	for (unsigned ring = 0; ring < m->nrings; ring++) {
		struct link_req r = { .kind = LINK_REQ_VOID, .size = 1, .count = 1, .flags = LINK_REQ_POSTED, .vcpu = ring, .seq = 1,
				      .region = LINK_NO_REGION };

		assert_int_equal(link_post_req(h_engine(h), ring, &r), 0);
		assert_int_equal(dispatch_poll(m), 1);
		assert_int_equal(m->arena->acked[ring], 1);
		assert_int_equal(link_committed(h_engine(h), ring), 1);
		assert_int_equal(link_take_comp(h_engine(h), ring, &c), 0);
	}
	assert_int_equal(probe(h)->accesses, 0);
	drop(h);
}

/* The answer was of no use to the engine: a vCPU that waits gets another, the device is not asked again. */
static void what_has_happened_is_answered_without_a_value(void **state)
{
	struct harness *h = make("probe", 1);
	struct link_comp c;

	(void)state;
	h_in(h, 0x100, 1);
	h_out_posted(h, 0x130, 1, 5);
	h_succeed(h, false);
	post(h, 0, LINK_REQ_PIO_IN, 0x100, 0, 0, 1);
	post(h, 0, LINK_REQ_PIO_OUT, 0x130, 5, LINK_REQ_POSTED, 2);
	assert_int_equal(dispatch_poll(harness_machine(h)), 0);
	assert_int_equal(link_take_comp(h_engine(h), 0, &c), 1);
	assert_int_equal(c.seq, 1);
	assert_int_equal(c.kind, LINK_REQ_PIO_IN);
	assert_int_equal(c.status, LINK_UNCLAIMED);
	assert_int_equal(link_take_comp(h_engine(h), 0, &c), 0);
	assert_int_equal(probe(h)->accesses, 2);
	drop(h);
}

static void a_moved_region_is_found(void **state)
{
	struct harness *h = make("probe", 1);
	struct machine *m = harness_machine(h);
	struct link_req r = { .kind = LINK_REQ_PIO_IN, .addr = 0x200, .size = 1, .count = 1, .seq = 1 };
	struct link_comp c;

	(void)state;
	assert_int_equal(txn_begin(m, (struct txn_source){ .kind = TXN_TIMER }), 0);
	dev_region(&m->dev[0], &(struct dev_region){ .base = 0x200, .len = 8, .id = PLAIN });
	txn_end(m);
	/* the engine still names another region, or none, or one that does not exist */
	for (unsigned i = 0; i < 3; i++) {
		r.region = i == 0 ? BATCH : i == 1 ? LINK_NO_REGION : 0x3000;
		assert_int_equal(dispatch_serve(m, 0, &r), 0);
		r.seq++;
		assert_int_equal(link_take_comp(h_engine(h), 0, &c), 1);
		assert_int_equal(c.status, LINK_OK);
	}
	/* a region that the access runs out of is not the one */
	r.addr = 0x206;
	r.size = 4;
	r.region = PLAIN;
	assert_int_equal(dispatch_serve(m, 0, &r), 0);
	assert_int_equal(link_take_comp(h_engine(h), 0, &c), 1);
	assert_int_equal(c.status, LINK_UNCLAIMED);
	/* the old place is empty */
	r.seq++;
	r.size = 1;
	r.addr = 0x100;
	r.region = PLAIN;
	assert_int_equal(dispatch_serve(m, 0, &r), 0);
	assert_int_equal(link_take_comp(h_engine(h), 0, &c), 1);
	assert_int_equal(c.status, LINK_UNCLAIMED);
	drop(h);
}

static void reset_waits_for_operations(void **state)
{
	struct harness *h = make("probe", 1);
	struct machine *m = harness_machine(h);
	struct dev *d = &m->dev[0];

	(void)state;
	h_disk_defer(h, true);
	assert_int_equal(txn_begin(m, (struct txn_source){ .kind = TXN_TIMER }), 0);
	blk_submit(d, d->blk[0], 1, BLK_READ, 0, 0, 512);
	assert_int_equal(h_disk_pending(h), 0);		/* not before the commit */
	txn_end(m);
	assert_int_equal(h_disk_pending(h), 1);
	assert_true(blk_busy(d, 1));
	post(h, 1, LINK_REQ_RESET, 0, 0, 0, 1);
	assert_int_equal(dispatch_poll(m), 0);
	assert_int_equal(dispatch_poll(m), 0);
	assert_string_equal(order, "");
	assert_true(h_disk_finish(h, 0));
	assert_false(blk_busy(d, 1));
	assert_int_equal(dispatch_poll(m), 1);
	assert_string_equal(order, "R");
	drop(h);
}

static void timers_run_in_order(void **state)
{
	struct harness *h = make("probe", 1);
	struct machine *m = harness_machine(h);
	struct dev *d = &m->dev[0];

	(void)state;
	assert_int_equal(txn_begin(m, (struct txn_source){ .kind = TXN_TIMER }), 0);
	dev_timer(d, 1, h_now(h) + 300);
	dev_timer(d, 2, h_now(h) + 100);
	dev_timer(d, 3, h_now(h) + 200);
	dev_timer(d, 5, h_now(h) + 2000);
	txn_end(m);
	h_sleep(h, 1000);	/* late for all of them */
	assert_int_equal(machine_timers(m), 4);
	assert_string_equal(order, "2314");
	assert_int_equal(machine_timers(m), 0);
	assert_int_equal(h_deadline(h), h_now(h) + 1000);
	drop(h);
}

static void nonsense_ends_the_daemon(void **state)
{
	static const struct link_req bad[] = {
		{ .kind = LINK_REQ_PIO_IN, .addr = 0x100, .size = 3, .count = 1, .seq = 1 },
		{ .kind = LINK_REQ_PIO_IN, .addr = 0x100, .size = 1, .count = 1, .seq = 0 },
		{ .kind = LINK_REQ_PIO_IN, .addr = 0x10000, .size = 1, .count = 1, .seq = 1 },
		{ .kind = LINK_REQ_PIO_IN, .addr = 0x110, .size = 2, .count = 2049, .seq = 1, .flags = LINK_REQ_BATCH },
		{ .kind = LINK_REQ_PIO_IN, .addr = 0x110, .size = 1, .count = 4, .seq = 1, .flags = LINK_REQ_BATCH, .data = 7 },
		{ .kind = LINK_REQ_RESET, .count = 1, .seq = 1 },	/* in a vCPU's ring */
		{ .kind = LINK_REQ_KINDS, .size = 1, .count = 1, .seq = 1 },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct harness *h = make("probe", 1);

		assert_int_equal(link_post_req(h_engine(h), 0, &bad[i]), 0);
		assert_int_equal(dispatch_poll(harness_machine(h)), -EPROTO);
		assert_non_null(strstr(harness_machine(h)->error, "ring 0"));
		assert_int_equal(probe(h)->accesses, 0);
		drop(h);
	}
}

static void engine_that_takes_no_events(void **state)
{
	struct harness *h = make("probe", 1);
	struct machine *m = harness_machine(h);
	int err = 0, n = 0;

	(void)state;
	m->wait_events = NULL;	/* nobody to wait for */
	while (!err && n < 5000) {
		err = txn_begin(m, (struct txn_source){ .kind = TXN_TIMER });
		if (err)
			break;
		dev_irq(&m->dev[0], 5, ++n & 1);
		txn_end(m);
	}
	assert_int_equal(err, -EPIPE);
	assert_int_equal(txn_state(m->arena), TXN_IDLE);
	assert_true(m->lost);
	drop(h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes), cmocka_unit_test(batches), cmocka_unit_test(an_interrupt_ends_the_batch),
		cmocka_unit_test(posted_writes_go_first), cmocka_unit_test(a_void_is_acknowledged),
		cmocka_unit_test(what_has_happened_is_answered_without_a_value),
		cmocka_unit_test(a_moved_region_is_found),
		cmocka_unit_test(reset_waits_for_operations), cmocka_unit_test(timers_run_in_order), cmocka_unit_test(nonsense_ends_the_daemon),
		cmocka_unit_test(engine_that_takes_no_events),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
