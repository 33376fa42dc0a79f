/*
 * Virtio disks: every kind of request, what is refused, errors of the image,
 * many in flight, resets, sizes that change.
 */
#include "tests/unit/virtiotest.h"
#include "tests/unit/stutter.h"

#include "devmodel/backend/blk.h"
#include "devmodel/txn.h"

enum { SLOT = 3, SECTORS = 2048, DISK = SECTORS * 512, HEADER = 0x20000, DATA = 0x30000, STATUS = 0x2f000, RANGE = 0x21000 };
enum { IN = 0, OUT = 1, FLUSH = 4, GET_ID = 8, DISCARD = 11, WRITE_ZEROES = 13 };
enum { OK, IOERR, UNSUPP, NOT_WRITTEN = 0xee };
#define F_RO		(1ull << 5)
#define F_FLUSH		(1ull << 9)
#define F_WCE		(1ull << 11)
#define F_MQ		(1ull << 12)
#define F_DISCARD	(1ull << 13)
#define F_ZEROES	(1ull << 14)
#define F_USUAL		(F_FLUSH | F_WCE | F_DISCARD | F_ZEROES)

struct fixture {
	struct vdrv v;
	uint8_t *disk;
	int handle;
	struct conf_key key[4];
	struct conf_dev dev[3];		/* the machine refers to them */
};

static struct fixture *make(const struct conf_key *more, unsigned nmore, bool readonly)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->dev[0] = (struct conf_dev){ .model = "hostbridge", .pci = true };
	f->dev[1] = (struct conf_dev){ .model = "lpc", .pci = true, .slot = 1 };
	f->dev[2] = (struct conf_dev){ .model = "virtio-blk", .pci = true, .slot = SLOT, .nkeys = nmore + 1, .key = f->key };
	f->disk = malloc(2 * DISK);
	for (unsigned i = 0; i < 2 * DISK; i++)
		f->disk[i] = i / 512 * 7 + i;
	f->handle = harness_disk(f->disk, DISK, readonly);
	f->key[0] = (struct conf_key)KEY_DISK("path", f->handle);
	for (unsigned i = 0; i < nmore; i++)
		f->key[i + 1] = more[i];
	f->v = (struct vdrv){ .slot = SLOT, .h = harness_new(&(struct harness_conf){ .dev = f->dev, .ndevs = 3 }) };
	for (unsigned i = 0; i < 4; i++)
		h_pci_write(f->v.h, 1, 0, 0x60 + i, 1, 10);
	return f;
}

static int setup(void **state)
{
	*state = make(NULL, 0, false);
	return 0;
}

static int setup_stutter(void **state)
{
	setup(state);
	stutter(harness_dev(((struct fixture *)*state)->v.h, "virtio-blk"));
	return 0;
}

static int setup_readonly(void **state)
{
	*state = make((struct conf_key[]){ KEY("ser", "twenty-characters-ok") }, 1, true);
	return 0;
}

static int setup_queues(void **state)
{
	*state = make((struct conf_key[]){ KEY("queues", "4"), KEY("sectorsize", "4096") }, 2, false);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	harness_free(f->v.h);
	harness_disks_free();
	free(f->disk);
	free(f);
	stutter_none();
	return 0;
}

#define V(state) (&((struct fixture *)*(state))->v)
#define DISK_OF(state) (((struct fixture *)*(state))->disk)

static uint8_t *ram(struct vdrv *v, uint64_t gpa)
{
	return h_ram(v->h) + gpa;
}

static void header(struct vdrv *v, uint64_t at, uint32_t type, uint64_t sector)
{
	memset(ram(v, at), 0, 16);
	memcpy(ram(v, at), &type, 4);
	memcpy(ram(v, at + 8), &sector, 8);
}

/* One request with `n` bytes of data in one piece; its status, and *len of the used entry. */
static uint8_t request(struct vdrv *v, uint32_t type, uint64_t sector, uint32_t n, uint32_t *len)
{
	struct vbuf b[3] = { { HEADER, 16, false }, { DATA, n, type == IN || type == GET_ID }, { STATUS, 1, true } };
	uint32_t id, l;

	header(v, HEADER, type, sector);
	*ram(v, STATUS) = NOT_WRITTEN;
	if (!n)
		b[1] = b[2];
	vd_add(v, 0, b, n ? 3 : 2);
	vd_kick(v, 0);
	if (!vd_used(v, 0, &id, &l))
		return NOT_WRITTEN;
	if (len)
		*len = l;
	return *ram(v, STATUS);
}

/* ---- requests */

static void read_and_write(void **state)
{
	struct vdrv *v = V(state);
	uint32_t len;

	vd_start(v, F_USUAL, 1);
	assert_int_equal(request(v, IN, 5, 8 * 512, &len), OK);
	assert_int_equal(len, 8 * 512 + 1);
	assert_memory_equal(ram(v, DATA), DISK_OF(state) + 5 * 512, 8 * 512);
	memset(ram(v, DATA), 0x5a, 1024);
	assert_int_equal(request(v, OUT, 7, 1024, &len), OK);
	assert_int_equal(len, 1);
	assert_memory_equal(ram(v, DATA), DISK_OF(state) + 7 * 512, 1024);
	assert_int_equal(DISK_OF(state)[9 * 512], (uint8_t)(9 * 7));
	assert_int_equal(DISK_OF(state)[7 * 512 - 1], (uint8_t)(6 * 7 + 511));
	assert_int_equal(request(v, FLUSH, 0, 0, NULL), OK);
	assert_true(h_disk_did(v->h, BLK_FLUSH, 1));
	/* nothing is a request too */
	assert_int_equal(request(v, IN, SECTORS, 0, NULL), OK);
	assert_true(h_line(v->h, 10));
}

/* Header, data and status in pieces of any size, as the standard wants it. */
static void any_layout(void **state)
{
	struct vdrv *v = V(state);
	uint32_t len;

	vd_start(v, F_USUAL, 1);
	header(v, HEADER, IN, 3);
	vd_add(v, 0, (struct vbuf[]){ { HEADER, 3, false }, { HEADER + 3, 13, false }, { DATA, 100, true }, { DATA + 4096, 412, true },
				      { DATA + 8192, 513, true } }, 5);
	vd_kick(v, 0);
	assert_true(vd_used(v, 0, NULL, &len));
	assert_int_equal(len, 1025);
	assert_memory_equal(ram(v, DATA), DISK_OF(state) + 3 * 512, 100);
	assert_memory_equal(ram(v, DATA + 4096), DISK_OF(state) + 3 * 512 + 100, 412);
	assert_memory_equal(ram(v, DATA + 8192), DISK_OF(state) + 4 * 512, 512);
	assert_int_equal(*ram(v, DATA + 8192 + 512), OK);
	/* header and data in one */
	header(v, HEADER, OUT, 9);
	memset(ram(v, HEADER + 16), 0x77, 512);
	*ram(v, STATUS) = NOT_WRITTEN;
	vd_add(v, 0, (struct vbuf[]){ { HEADER, 528, false }, { STATUS, 1, true } }, 2);
	vd_kick(v, 0);
	assert_int_equal(*ram(v, STATUS), OK);
	assert_memory_equal(ram(v, HEADER + 16), DISK_OF(state) + 9 * 512, 512);
	/* a table with more pieces than the ring has descriptors */
	vd_start(v, F_USUAL | VIRTIO_F_INDIRECT_DESC, 1);
	header(v, HEADER, IN, 0);
	vd_desc(v, 0x40000, 0, HEADER, 16, VD_NEXT, 1);
	for (unsigned i = 1; i <= 254; i++)
		vd_desc(v, 0x40000, i, 0x50000 + 1024 * i, 512, VD_WRITE | VD_NEXT, i + 1);
	vd_desc(v, 0x40000, 255, STATUS, 1, VD_WRITE, 0);
	vd_desc(v, v->q[0].desc, 0, 0x40000, 16 * 256, VD_INDIRECT, 0);
	vd_avail(v, 0, 0);
	vd_kick(v, 0);
	assert_true(vd_used(v, 0, NULL, &len));
	assert_int_equal(len, 254 * 512 + 1);
	for (unsigned i = 1; i <= 254; i++)
		assert_memory_equal(ram(v, 0x50000 + 1024 * i), DISK_OF(state) + 512 * (i - 1), 512);
}

static uint8_t range_request(struct vdrv *v, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	memcpy(ram(v, DATA), &sector, 8);
	memcpy(ram(v, DATA + 8), &sectors, 4);
	memcpy(ram(v, DATA + 12), &flags, 4);
	return request(v, type, 0, 16, NULL);
}

static void ranges(void **state)
{
	struct vdrv *v = V(state);

	vd_start(v, F_USUAL, 1);
	assert_int_equal(range_request(v, DISCARD, 10, 4, 0), OK);
	assert_true(h_disk_did(v->h, BLK_DISCARD, 1));
	assert_int_equal(range_request(v, WRITE_ZEROES, 20, 2, 0), OK);
	assert_true(h_disk_did(v->h, BLK_ZERO, 1));
	assert_int_equal(range_request(v, WRITE_ZEROES, 22, 2, 1), OK);
	assert_true(h_disk_did(v->h, BLK_ZERO_UNMAP, 1));
	for (unsigned i = 20 * 512; i < 24 * 512; i++)
		assert_int_equal(DISK_OF(state)[i], 0);
	assert_int_equal(DISK_OF(state)[24 * 512], (uint8_t)(24 * 7));
	assert_int_equal(range_request(v, DISCARD, 10, 4, 1), UNSUPP);	/* unmap is not a discard's */
	assert_int_equal(range_request(v, WRITE_ZEROES, 10, 4, 2), UNSUPP);
	assert_int_equal(range_request(v, WRITE_ZEROES, SECTORS - 1, 2, 0), IOERR);
	assert_int_equal(range_request(v, DISCARD, ~0ull, 2, 0), IOERR);
	assert_int_equal(range_request(v, DISCARD, 0, ~0u, 0), IOERR);
	assert_int_equal(request(v, DISCARD, 0, 15, NULL), UNSUPP);
	assert_int_equal(request(v, DISCARD, 0, 32, NULL), UNSUPP);	/* one range at a time, as we say */
	/* not negotiated */
	vd_start(v, 0, 1);
	assert_int_equal(range_request(v, DISCARD, 10, 4, 0), UNSUPP);
	assert_int_equal(range_request(v, WRITE_ZEROES, 10, 4, 0), UNSUPP);
}

static void refused(void **state)
{
	struct vdrv *v = V(state);
	uint32_t len;

	vd_start(v, F_USUAL, 1);
	assert_int_equal(request(v, IN, SECTORS, 512, &len), IOERR);
	assert_int_equal(len, 1);
	assert_int_equal(request(v, OUT, SECTORS - 1, 1024, NULL), IOERR);
	assert_int_equal(request(v, IN, 1ull << 63, 512, NULL), IOERR);
	assert_int_equal(request(v, IN, ~0ull / 512, 512, NULL), IOERR);
	assert_int_equal(request(v, IN, 0, 511, NULL), IOERR);
	assert_int_equal(request(v, OUT, 0, 513, NULL), IOERR);
	assert_int_equal(request(v, 2, 0, 512, NULL), UNSUPP);
	assert_int_equal(request(v, ~0u, 0, 0, NULL), UNSUPP);
	assert_true(h_disk_did(v->h, BLK_READ, 0));
	assert_true(h_disk_did(v->h, BLK_WRITE, 0));
	/* no header; no status byte: nowhere to say so */
	for (unsigned i = 0; i < 2; i++) {
		vd_start(v, F_USUAL, 1);
		header(v, HEADER, IN, 0);
		vd_add(v, 0, i ? (struct vbuf[]){ { HEADER, 15, false }, { STATUS, 1, true } } :
				 (struct vbuf[]){ { HEADER, 16, false }, { DATA, 512, false } }, 2);
		vd_kick(v, 0);
		assert_true(vd_get(v, VC_STATUS, 1) & VIRTIO_NEEDS_RESET);
		assert_false(vd_used(v, 0, NULL, NULL));
	}
}

static void read_only(void **state)
{
	struct vdrv *v = V(state);

	vd_map(v);
	assert_int_equal(vd_offered(v) & (F_RO | F_DISCARD | F_ZEROES), F_RO);
	vd_start(v, F_RO | F_FLUSH, 1);
	assert_int_equal(request(v, OUT, 0, 512, NULL), IOERR);
	assert_int_equal(request(v, IN, 0, 512, NULL), OK);
	assert_int_equal(request(v, FLUSH, 0, 0, NULL), OK);
	assert_int_equal(request(v, GET_ID, 0, 20, NULL), OK);
	assert_memory_equal(ram(v, DATA), "twenty-characters-ok", 20);
	assert_int_equal(request(v, GET_ID, 0, 19, NULL), IOERR);
	assert_true(h_disk_did(v->h, BLK_WRITE, 0));
}

static void serial_number(void **state)
{
	struct vdrv *v = V(state);

	vd_start(v, 0, 1);
	memset(ram(v, DATA), 0xff, 30);
	assert_int_equal(request(v, GET_ID, 0, 30, NULL), OK);
	assert_memory_equal(ram(v, DATA), "virtio-blk@3:0\0\0\0\0\0\0\xff", 21);
}

/* ---- configuration */

static void configuration(void **state)
{
	struct vdrv *v = V(state);

	vd_start(v, F_USUAL, 1);
	assert_int_equal(h_read(v->h, v->config, 8), SECTORS);
	assert_int_equal(h_read(v->h, v->config + 12, 4), 254);
	assert_int_equal(h_read(v->h, v->config + 20, 4), 512);
	assert_int_equal(h_read(v->h, v->config + 24, 1), 3);		/* eight of them in a page */
	assert_int_equal(h_read(v->h, v->config + 34, 2), 1);
	assert_int_equal(h_read(v->h, v->config + 40, 4), 1);
	assert_int_equal(vd_get(v, VC_QUEUES, 2), 1);
}

static void queues(void **state)
{
	struct vdrv *v = V(state);

	vd_map(v);
	assert_true(vd_offered(v) & F_MQ);
	vd_start(v, F_USUAL | F_MQ, 4);
	assert_int_equal(vd_get(v, VC_QUEUES, 2), 4);
	assert_int_equal(h_read(v->h, v->config + 34, 2), 4);
	assert_int_equal(h_read(v->h, v->config + 20, 4), 4096);
	assert_int_equal(h_read(v->h, v->config + 24, 1), 0);
	for (unsigned q = 0; q < 4; q++) {
		header(v, HEADER + 32 * q, IN, 8 * q);
		vd_add(v, q, (struct vbuf[]){ { HEADER + 32 * q, 16, false }, { DATA + 4096 * q, 4096, true }, { STATUS + q, 1, true } }, 3);
	}
	for (unsigned q = 4; q--;)
		vd_kick(v, q);
	for (unsigned q = 0; q < 4; q++) {
		assert_true(vd_used(v, q, NULL, NULL));
		assert_memory_equal(ram(v, DATA + 4096 * q), DISK_OF(state) + 4096 * q, 4096);
	}
}

/* Write-back as long as the driver can and does flush. */
static void write_through(void **state)
{
	struct vdrv *v = V(state);
	const struct dev *d = harness_dev(v->h, "virtio-blk");

	h_disk_defer(v->h, true);
	for (unsigned i = 0; i < 4; i++) {
		vd_start(v, i == 0 ? 0 : i == 1 ? F_FLUSH : F_FLUSH | F_WCE, 1);
		assert_int_equal(h_read(v->h, v->config + 32, 1), i > 0);
		if (i == 2)
			h_write(v->h, v->config + 32, 1, 0);
		request(v, OUT, 0, 512, NULL);
		assert_int_equal(d->io[0].op.sync, i == 0 || i == 2);
		while (h_disk_finish(v->h, 0))
			;
	}
}

static void resized(void **state)
{
	struct fixture *f = *state;
	struct vdrv *v = &f->v;

	vd_start(v, F_USUAL, 1);
	assert_int_equal(request(v, IN, SECTORS, 512, NULL), IOERR);
	h_read(v->h, v->isr, 1);
	h_disk_resize(v->h, f->handle, DISK);
	h_inject(v->h, LINK_INJECT_RESIZE, SLOT << 3);		/* as it was */
	assert_int_equal(h_read(v->h, v->isr, 1) & 2, 0);	/* a successor may interrupt for a queue */
	h_disk_resize(v->h, f->handle, 2 * DISK);
	h_inject(v->h, LINK_INJECT_RESIZE, (SLOT + 1) << 3);	/* somebody else's */
	assert_int_equal(h_read(v->h, v->isr, 1) & 2, 0);
	h_inject(v->h, LINK_INJECT_RESIZE, SLOT << 3);
	assert_int_equal(h_read(v->h, v->isr, 1) & 2, 2);
	assert_int_equal(h_read(v->h, v->config, 8), 2 * SECTORS);
	assert_int_equal(request(v, IN, SECTORS, 512, NULL), OK);
	assert_memory_equal(ram(v, DATA), DISK_OF(state) + DISK, 512);
}

/* ---- operations that take their time */

static void add_read(struct vdrv *v, unsigned i)
{
	header(v, 0x200000 + 32 * i, IN, i);
	*ram(v, 0x210000 + i) = NOT_WRITTEN;
	vd_add(v, 0, (struct vbuf[]){ { 0x200000 + 32 * i, 16, false }, { 0x220000 + 512 * i, 512, true }, { 0x210000 + i, 1, true } }, 3);
}

static void many_in_flight(void **state)
{
	enum { FIRST = 80, N = 160 };
	struct vdrv *v = V(state);
	unsigned done = 0;

	h_disk_defer(v->h, true);
	vd_start(v, F_USUAL, 1);
	/* more than there are slots, in two batches: a ring has room for 85 chains of three */
	for (unsigned i = 0; i < FIRST; i++)
		add_read(v, i);
	vd_kick(v, 0);
	assert_int_equal(h_disk_pending(v->h), FIRST);
	for (unsigned i = 0; i < FIRST / 2; i++, done++)
		h_disk_finish(v->h, 0);
	while (vd_used(v, 0, NULL, NULL))
		done--;
	assert_int_equal(done, 0);
	for (unsigned i = FIRST; i < FIRST + 40; i++)
		add_read(v, i);
	vd_kick(v, 0);
	assert_int_equal(h_disk_pending(v->h), 80);
	while (h_disk_finish(v->h, 0))
		done++;
	assert_int_equal(done, 80);
	for (unsigned i = 0; i < 120; i++) {
		assert_int_equal(*ram(v, 0x210000 + i), OK);
		assert_memory_equal(ram(v, 0x220000 + 512 * i), DISK_OF(state) + 512 * i, 512);
	}
}

/* Chains of one descriptor fill every slot; the rest waits, and is not forgotten. */
static void no_slot_left(void **state)
{
	struct vdrv *v = V(state);
	unsigned n = 0;

	h_disk_defer(v->h, true);
	vd_start(v, F_USUAL | VIRTIO_F_INDIRECT_DESC, 1);
	for (unsigned i = 0; i < 256; i++) {
		uint64_t table = 0x300000 + 64 * i;

		header(v, 0x200000 + 32 * i, IN, i);
		vd_desc(v, table, 0, 0x200000 + 32 * i, 16, VD_NEXT, 1);
		vd_desc(v, table, 1, 0x220000 + 512 * i, 512, VD_NEXT | VD_WRITE, 2);
		vd_desc(v, table, 2, 0x210000 + i, 1, VD_WRITE, 0);
		vd_desc(v, v->q[0].desc, i, table, 48, VD_INDIRECT, 0);
		vd_avail(v, 0, i);
	}
	vd_kick(v, 0);
	assert_int_equal(h_disk_pending(v->h), DEV_IOS);
	while (h_disk_finish(v->h, 0))
		n++;
	assert_int_equal(n, 256);
	for (n = 0; vd_used(v, 0, NULL, NULL); n++)
		;
	assert_int_equal(n, 256);
	for (unsigned i = 0; i < 256; i++)
		assert_memory_equal(ram(v, 0x220000 + 512 * i), DISK_OF(state) + 512 * i, 512);
}

static void image_errors(void **state)
{
	static const int error[] = { -5, -28, -30 };
	struct vdrv *v = V(state);

	vd_start(v, F_USUAL, 1);
	h_disk_defer(v->h, true);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(request(v, i == 1 ? OUT : IN, 1, 512, NULL), NOT_WRITTEN);
		h_disk_finish(v->h, error[i]);
		assert_true(vd_used(v, 0, NULL, NULL));
		assert_int_equal(*ram(v, STATUS), IOERR);
	}
	assert_int_equal(request(v, FLUSH, 0, 0, NULL), NOT_WRITTEN);
	h_disk_finish(v->h, -5);
	assert_int_equal(*ram(v, STATUS), IOERR);
}

/* The driver's memory is the worker's until the operation has ended. */
static void reset_in_flight(void **state)
{
	struct vdrv *v = V(state);

	vd_start(v, F_USUAL, 1);
	h_disk_defer(v->h, true);
	request(v, IN, 1, 512, NULL);
	request(v, IN, 2, 512, NULL);
	vd_status(v, 0);
	assert_int_not_equal(vd_get(v, VC_STATUS, 1), 0);
	h_disk_finish(v->h, 0);
	assert_int_not_equal(vd_get(v, VC_STATUS, 1), 0);
	h_disk_finish(v->h, 0);
	assert_int_equal(vd_get(v, VC_STATUS, 1), 0);
	assert_int_equal(*ram(v, STATUS), NOT_WRITTEN);
	assert_false(vd_used(v, 0, NULL, NULL));
	h_disk_defer(v->h, false);
	vd_start(v, F_USUAL, 1);
	assert_int_equal(request(v, IN, 1, 512, NULL), OK);
}

/* Another process takes over: it has the state and nothing else, and starts what is in flight. */
static void succeed(struct dev *d)
{
	d->ops->fini(d);
	dev_set_private(d, NULL);
	d->nblks = d->nbells = 0;
	d->m->nbells = 0;
	assert_int_equal(d->ops->check(d, dev_state(d)), 0);
	assert_int_equal(txn_begin(d->m, (struct txn_source){ .kind = TXN_INIT, .dev = d->id }), 0);
	assert_int_equal(d->ops->init(d, false), 0);
	txn_end(d->m);
	assert_true(d->ops->io_fill(d, 0, &d->io[0].op));	/* in place of the one that waits */
}

/* It reads the chain again. */
static void chains_are_read_again(void **state)
{
	struct vdrv *v = V(state);
	struct dev *d = harness_dev(v->h, "virtio-blk");
	struct blk_io op;

	vd_start(v, F_USUAL, 1);
	h_disk_defer(v->h, true);
	request(v, OUT, 4, 1024, NULL);
	succeed(d);
	op = d->io[0].op;
	assert_int_equal(op.op, BLK_WRITE);
	assert_int_equal(op.off, 4 * 512);
	assert_int_equal(op.n, 1024);
	assert_ptr_equal(op.iov[0].iov_base, ram(v, DATA));
	assert_false(d->ops->io_fill(d, 1, &op));
	memset(ram(v, DATA), 0x21, 1024);
	h_disk_finish(v->h, 0);
	assert_true(vd_used(v, 0, NULL, NULL));
	assert_int_equal(*ram(v, STATUS), OK);
}

/* What the driver has made of it meanwhile may be nonsense. */
static void overwritten_in_flight(void **state)
{
	struct vdrv *v = V(state);
	struct dev *d = harness_dev(v->h, "virtio-blk");
	struct blk_io op;

	vd_start(v, F_USUAL, 1);
	h_disk_defer(v->h, true);
	request(v, OUT, 4, 1024, NULL);
	vd_desc(v, v->q[0].desc, 1, 1ull << 40, 1024, VD_NEXT, 2);
	succeed(d);
	op = d->io[0].op;
	assert_int_equal(op.n, 0);
	h_disk_finish(v->h, 0);
	assert_true(vd_get(v, VC_STATUS, 1) & VIRTIO_NEEDS_RESET);
}

static void bad_keys(void **state)
{
	static const struct { const char *key, *value, *why; } bad[] = {
		{ "sectorsize", "513", "sectorsize" }, { "sectorsize", "8192", "sectorsize" }, { "queues", "0", "queues" },
		{ "queues", "9", "queues" }, { "queues", "x", "queues" }, { "ser", "this is rather too long", "ser" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		static uint8_t bytes[4096];
		struct conf_key key[2] = { KEY_DISK("path", harness_disk(bytes, sizeof(bytes), false)), KEY(bad[i].key, bad[i].value) };
		struct conf_dev dev = { .model = "virtio-blk", .pci = true, .slot = 3, .nkeys = 2, .key = key };
		struct harness *h = harness_new(&(struct harness_conf){ .dev = &dev, .ndevs = 1, .may_fail = true });

		assert_non_null(strstr(harness_error(h), bad[i].why));
		harness_free(h);
	}
	harness_disks_free();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define S(f) { #f ", dying in every transaction", f, setup_stutter, teardown, NULL }
	const struct CMUnitTest tests[] = {
		T(read_and_write), T(any_layout), T(ranges), T(refused), T(serial_number), T(configuration), T(write_through), T(resized),
		T(many_in_flight), T(no_slot_left), T(image_errors), T(reset_in_flight), T(chains_are_read_again),
		T(overwritten_in_flight), cmocka_unit_test(bad_keys),
		cmocka_unit_test_setup_teardown(read_only, setup_readonly, teardown),
		cmocka_unit_test_setup_teardown(queues, setup_queues, teardown),
		S(read_and_write), S(any_layout), S(ranges), S(refused), S(write_through), S(many_in_flight), S(no_slot_left),
		S(image_errors), S(reset_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
