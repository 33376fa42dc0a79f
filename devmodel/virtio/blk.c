/*
 * devmodel/virtio/blk.c - virtio block device (virtio 1.2, 5.2).
 *
 * A request is a chain: header, data, and one status byte at the end of what
 * the device may write.  Data move between the image and the guest's memory
 * without a copy; what the page cache can serve is done by the loop's thread
 * right after the commit, the rest by workers (backend/blk.h).
 *
 *	kicked ── take, check, record head ── commit ──► io_fill ──► file
 *	io_done ── status byte, used entry ── commit ──► driver
 *
 * State holds the heads in flight.  A successor reads these chains again and
 * repeats their operations: reads, writes, discards and flushes may be repeated
 * as long as their requests have not been given back.
 *
 * The cache is the host's page cache: without FLUSH, or with the driver's word
 * for write-through, a write ends on stable storage.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devmodel/backend/blk.h"
#include "devmodel/virtio/virtio.h"

enum { ID = 2, MAX_QUEUES = 8, QUEUE_SIZE = 256, SLOTS = DEV_IOS, SECTOR = 512, MAX_SECTOR = 4096 };
enum { STEP = 16 };			/* requests begun in one transaction: the first end while the last wait */
#define MAX_BYTES	(1ull << 30)	/* of one request */
#define MAX_RANGE	(1u << 22)	/* sectors of one discard or zeroing: 2 GiB */

#define F_SEG_MAX	(1ull << 2)
#define F_RO		(1ull << 5)
#define F_BLK_SIZE	(1ull << 6)
#define F_FLUSH		(1ull << 9)
#define F_TOPOLOGY	(1ull << 10)
#define F_CONFIG_WCE	(1ull << 11)
#define F_MQ		(1ull << 12)
#define F_DISCARD	(1ull << 13)
#define F_WRITE_ZEROES	(1ull << 14)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK, S_IOERR, S_UNSUPP };
enum { ID_BYTES = 20, RANGE_UNMAP = 1 };

struct header {
	uint32_t type, reserved;
	uint64_t sector;
};

struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

/* Device configuration (5.2.4). */
struct config {
	uint64_t capacity;
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t physical_exp, alignment;
	uint16_t min_io;
	uint32_t opt_io;
	uint8_t writeback, unused;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_alignment;
	uint32_t max_zeroes_sectors, max_zeroes_seg;
	uint8_t zeroes_may_unmap, unused2[3];
};

_Static_assert(offsetof(struct config, num_queues) == 34 && offsetof(struct config, zeroes_may_unmap) == 56 &&
	       sizeof(struct config) == 64, "virtio 5.2.4");
enum { CONFIG_SIZE = 60 };

struct vblk {
	uint64_t busy[SLOTS / 64];
	struct { uint16_t head; uint8_t queue, reserved; } slot[SLOTS];
	uint8_t write_through;		/* the driver's choice */
	uint8_t reserved[7];
};

/* A request as its chain says it; made again by a successor. */
struct request {
	struct virtq_chain chain;
	struct iovec iov[VIRTQ_SEGS];
	struct blk_io op;		/* blk NULL: the chain has become nonsense */
	bool read;			/* `chain` and `op` are this request's */
};

struct private {
	struct blk *blk;
	uint32_t sector;		/* logical block size */
	unsigned queues;
	char serial[ID_BYTES + 1];
	bool starved;			/* chains wait for a slot */
	struct request request[SLOTS];
};

/* ---- what the driver asks for */

/* A request's data: readable after the header, or writable before the status byte. */
static uint64_t data_bytes(const struct virtq_chain *c, bool in)
{
	return in ? c->write_len - 1 : c->read_len - sizeof(struct header);
}

static bool write_through(const struct dev *d)
{
	return !virtio_has(d, F_FLUSH) || ((const struct vblk *)virtio_state(d))->write_through;
}

static bool inside(const struct private *p, uint64_t sector, uint64_t bytes)
{
	uint64_t capacity = blk_size(p->blk) / SECTOR;

	return bytes % SECTOR == 0 && sector <= capacity && bytes / SECTOR <= capacity - sector;
}

static int parse_transfer(struct dev *d, struct request *r, const struct header *h)
{
	struct private *p = dev_private(d);
	bool in = h->type == T_IN;
	uint64_t n = data_bytes(&r->chain, in), got;

	if (n > MAX_BYTES || !inside(p, h->sector, n) || (!in && blk_readonly(p->blk)))
		return S_IOERR;
	r->op = (struct blk_io){ .op = in ? BLK_READ : BLK_WRITE, .off = h->sector * SECTOR, .n = n, .iov = r->iov,
				 .sync = !in && write_through(d) };
	r->op.niov = virtq_iov(d, &r->chain, in, in ? 0 : sizeof(*h), n, r->iov, VIRTQ_SEGS, &got);
	return got == n ? S_OK : S_IOERR;
}

static int parse_range(struct dev *d, struct request *r, const struct header *h)
{
	struct private *p = dev_private(d);
	bool zero = h->type == T_WRITE_ZEROES;
	struct range range;

	if (!virtio_has(d, zero ? F_WRITE_ZEROES : F_DISCARD) || data_bytes(&r->chain, false) != sizeof(range))
		return S_UNSUPP;
	virtq_read(d, &r->chain, sizeof(*h), &range, sizeof(range));
	if (range.flags & ~(zero ? RANGE_UNMAP : 0u))
		return S_UNSUPP;
	if (range.sectors > MAX_RANGE || !inside(p, range.sector, (uint64_t)range.sectors * SECTOR) || blk_readonly(p->blk))
		return S_IOERR;
	r->op = (struct blk_io){ .op = !zero ? BLK_DISCARD : range.flags & RANGE_UNMAP ? BLK_ZERO_UNMAP : BLK_ZERO,
				 .off = range.sector * SECTOR, .n = (uint64_t)range.sectors * SECTOR, .sync = write_through(d) };
	return S_OK;
}

/* Fills r->op from r->chain; S_OK: an operation for the image. */
static int parse(struct dev *d, struct request *r)
{
	struct private *p = dev_private(d);
	struct header h;
	int status = S_UNSUPP;

	virtq_read(d, &r->chain, 0, &h, sizeof(h));
	if (h.type == T_IN || h.type == T_OUT)
		status = parse_transfer(d, r, &h);
	else if (h.type == T_DISCARD || h.type == T_WRITE_ZEROES)
		status = parse_range(d, r, &h);
	else if (h.type == T_FLUSH) {
		r->op = (struct blk_io){ .op = BLK_FLUSH };
		status = S_OK;
	}
	r->op.blk = p->blk;
	return status;
}

static bool whole(const struct virtq_chain *c)
{
	return c->read_len >= sizeof(struct header) && c->write_len;
}

static uint32_t request_type(struct dev *d, const struct virtq_chain *c)
{
	uint32_t type = ~0u;

	virtq_read(d, c, 0, &type, sizeof(type));
	return type;
}

/* ---- ending a request */

static void end(struct dev *d, const struct virtq_chain *c, uint8_t status, uint64_t data)
{
	virtq_write(d, c, c->write_len - 1, &status, 1);
	virtq_give(d, c->queue, c->head, data + 1);
}

static void get_id(struct dev *d, const struct virtq_chain *c)
{
	struct private *p = dev_private(d);
	uint64_t n = data_bytes(c, true);

	if (n < ID_BYTES) {
		end(d, c, S_IOERR, 0);
		return;
	}
	virtq_write(d, c, 0, p->serial, ID_BYTES);
	end(d, c, S_OK, n);
}

static void tell_error(struct dev *d, const struct blk_io *op, int error)
{
	static const char *const name[BLK_OPS] = {
		[BLK_READ] = "reading", [BLK_WRITE] = "writing", [BLK_FLUSH] = "flushing", [BLK_DISCARD] = "discarding",
		[BLK_ZERO] = "zeroing", [BLK_ZERO_UNMAP] = "zeroing",
	};

	if (op->op == BLK_FLUSH)
		dev_log(d, "flushing the image: %s; the guest sees an I/O error", strerror(-error));
	else
		dev_log(d, "%s %zu bytes at %llu of the image: %s; the guest sees an I/O error", name[op->op], op->n,
			(unsigned long long)op->off, strerror(-error));
}

static void set_busy(struct vblk *s, unsigned slot, bool on)
{
	uint64_t bit = 1ull << slot % 64;

	s->busy[slot / 64] = on ? s->busy[slot / 64] | bit : s->busy[slot / 64] & ~bit;
}

static bool is_busy(const struct vblk *s, unsigned slot)
{
	return s->busy[slot / 64] & 1ull << slot % 64;
}

/* Chains that had to wait for a slot, on any queue. */
static void look_again(struct dev *d)
{
	struct private *p = dev_private(d);

	if (!p->starved)
		return;
	p->starved = false;
	for (unsigned i = 0; i < p->queues; i++)
		dev_ring(d, i);
}

static void blk_io_done(struct dev *d, unsigned slot, int error)
{
	struct private *p = dev_private(d);
	struct request *r = &p->request[slot];

	if (!is_busy(virtio_state(d), slot))
		return;
	set_busy(virtio_write(d), slot, false);
	look_again(d);
	if (r->op.blk && r->op.op == BLK_READ)
		virtq_written(d, &r->chain, 0, r->op.n);	/* also where nobody waits for it any more */
	if (!virtio_running(d))
		return;		/* reset meanwhile */
	if (!r->op.blk) {
		virtio_broken(d, "a request in flight was overwritten");
		return;
	}
	if (error)
		tell_error(d, &r->op, error);
	end(d, &r->chain, error ? S_IOERR : S_OK, r->op.op == BLK_READ ? r->op.n : 0);
}

/* ---- beginning one */

static int free_slot(const struct vblk *s)
{
	for (unsigned i = 0; i < SLOTS / 64; i++)
		if (~s->busy[i])
			return 64 * i + __builtin_ctzll(~s->busy[i]);
	return -1;
}

static void begin(struct dev *d, unsigned slot, struct request *r)
{
	struct vblk *s;
	int status;

	if (!whole(&r->chain)) {
		virtio_broken(d, "queue %u: a request without header or status byte", r->chain.queue);
		return;
	}
	if (request_type(d, &r->chain) == T_GET_ID) {
		get_id(d, &r->chain);
		return;
	}
	status = parse(d, r);
	if (status != S_OK) {
		end(d, &r->chain, status, 0);
		return;
	}
	s = virtio_write(d);
	set_busy(s, slot, true);
	s->slot[slot].head = r->chain.head;
	s->slot[slot].queue = r->chain.queue;
	r->read = true;
	dev_start_io(d, slot);
}

static void blk_kicked(struct dev *d, unsigned queue)
{
	struct private *p = dev_private(d);

	for (unsigned n = 0; n < STEP; n++) {
		int slot = free_slot(virtio_state(d));

		if (slot < 0) {
			p->starved = true;
			return;
		}
		p->request[slot].read = false;
		if (!virtq_take(d, queue, &p->request[slot].chain))
			return;
		begin(d, slot, &p->request[slot]);
	}
	dev_ring(d, queue);
}

/* What a predecessor had in flight is read again from its chain. */
static void recover(struct dev *d, unsigned slot, struct request *r)
{
	const struct vblk *s = virtio_state(d);

	r->op = (struct blk_io){ 0 };
	if (virtq_read_chain(d, s->slot[slot].queue, s->slot[slot].head, &r->chain) && whole(&r->chain) && parse(d, r) != S_OK)
		r->op.blk = NULL;
	r->read = true;
}

static bool blk_io_fill(struct dev *d, unsigned slot, struct blk_io *op)
{
	struct private *p = dev_private(d);
	struct request *r = &p->request[slot];

	if (!is_busy(virtio_state(d), slot))
		return false;
	if (!r->read)
		recover(d, slot, r);
	*op = r->op;
	if (!op->blk)	/* ends at once, and then is no request any more */
		*op = (struct blk_io){ .blk = p->blk, .op = BLK_READ, .buf = &r->op, .n = 0 };
	return true;
}

static unsigned blk_inflight(const struct dev *d)
{
	const struct vblk *s = virtio_state(d);
	unsigned n = 0;

	for (unsigned i = 0; i < SLOTS / 64; i++)
		n += __builtin_popcountll(s->busy[i]);
	return n;
}

/* ---- configuration */

/* A number of the configuration; 0 where it is none. */
static unsigned long number(const struct dev *d, const char *key, unsigned long standard)
{
	const char *text = dev_conf(d, key);
	char *end;
	unsigned long v = text ? strtoul(text, &end, 10) : standard;

	return text && (end == text || *end) ? 0 : v;
}

static unsigned blk_queues(const struct dev *d)
{
	unsigned long n = number(d, "queues", 1);

	return n < 1 || n > MAX_QUEUES ? 1 : n;
}

static uint64_t blk_offer(const struct dev *d)
{
	const struct private *p = dev_private(d);
	uint64_t features = F_SEG_MAX | F_BLK_SIZE | F_FLUSH | F_TOPOLOGY | F_CONFIG_WCE | (blk_queues(d) > 1 ? F_MQ : 0);

	if (!p || !p->blk)	/* a predecessor's state is checked before the image is open */
		return features | F_RO | F_DISCARD | F_WRITE_ZEROES;
	return features | (blk_readonly(p->blk) ? F_RO : F_DISCARD | F_WRITE_ZEROES);
}

static void blk_config_read(const struct dev *d, uint8_t *image)
{
	const struct private *p = dev_private(d);
	struct config c = {
		.capacity = blk_size(p->blk) / SECTOR, .seg_max = VIRTQ_SEGS - 2, .blk_size = p->sector,
		.physical_exp = p->sector < 4096 ? __builtin_ctz(4096 / p->sector) : 0, .min_io = 1,
		.writeback = !write_through(d), .num_queues = p->queues,
		.max_discard_sectors = MAX_RANGE, .max_discard_seg = 1, .discard_alignment = p->sector / SECTOR,
		.max_zeroes_sectors = MAX_RANGE, .max_zeroes_seg = 1, .zeroes_may_unmap = 1,
	};

	memcpy(image, &c, CONFIG_SIZE);
}

static void blk_config_write(struct dev *d, unsigned off, unsigned size, uint64_t value)
{
	if (off == offsetof(struct config, writeback) && size == 1 && virtio_has(d, F_CONFIG_WCE))
		((struct vblk *)virtio_write(d))->write_through = !(value & 1);
}

static void blk_reset(struct dev *d)
{
	struct vblk *s = virtio_write(d);

	s->write_through = 0;
}

/* The image itself is state of this process; the driver hears that the capacity has changed. */
static bool blk_file_resized(struct dev *d)
{
	struct private *p = dev_private(d);
	uint64_t old = blk_size(p->blk);
	const char *why = blk_resized(p->blk);

	if (why || blk_size(p->blk) % p->sector) {
		dev_log(d, "the image's new size cannot be used: %s", why ? why : "it is not a multiple of the sector size");
		return false;
	}
	if (blk_size(p->blk) != old)
		virtio_config_changed(d);
	return true;
}

/* ---- life */

static const char *bad_key(const struct dev *d)
{
	unsigned long sector = number(d, "sectorsize", SECTOR), queues = number(d, "queues", 1);

	if (sector < SECTOR || sector > MAX_SECTOR || sector & (sector - 1))
		return "sectorsize: 512, 1024, 2048 or 4096";
	if (!queues || queues > MAX_QUEUES)
		return "queues: 1 to 8";
	if (dev_conf(d, "ser") && strlen(dev_conf(d, "ser")) > ID_BYTES)
		return "ser: at most 20 characters";
	return NULL;
}

/* A serial number that stays the same as long as the disk stays in its slot. */
static void set_serial(struct dev *d, struct private *p)
{
	const char *given = dev_conf(d, "ser");

	snprintf(p->serial, sizeof(p->serial), "%s", given ? given : dev_name(d));
}

static int blk_init(struct dev *d, bool fresh)
{
	struct private *p = calloc(1, sizeof(*p));
	const char *why = bad_key(d);

	(void)fresh;
	dev_set_private(d, p);
	if (!p)
		return -ENOMEM;
	if (why) {
		dev_error(d, "%s", why);
		return -EINVAL;
	}
	p->blk = blk_open(d, "path");
	if (!p->blk)
		return -EINVAL;
	p->sector = number(d, "sectorsize", SECTOR);
	p->queues = blk_queues(d);
	set_serial(d, p);
	if (blk_size(p->blk) % p->sector || !blk_size(p->blk)) {
		dev_error(d, "path: the image's size is not a multiple of %u bytes, or nothing: choose another sectorsize, or pad it",
			  p->sector);
		return -EINVAL;
	}
	return 0;
}

static void blk_fini(struct dev *d)
{
	free(dev_private(d));
}

static int blk_check(const struct dev *d, const void *own)
{
	const struct vblk *s = own;

	if (s->write_through > 1)
		return -EINVAL;
	for (unsigned i = 0; i < SLOTS; i++)
		if (is_busy(s, i) && (s->slot[i].head >= QUEUE_SIZE || s->slot[i].queue >= blk_queues(d)))
			return -EINVAL;
	return 0;
}

static const struct virtio_ops blk_virtio = {
	.id = ID, .queues = MAX_QUEUES, .queue_size = QUEUE_SIZE, .config_size = CONFIG_SIZE,
	.init = blk_init, .fini = blk_fini, .check = blk_check, .offer = blk_offer, .nqueues = blk_queues,
	.reset = blk_reset, .inflight = blk_inflight,
	.config_read = blk_config_read, .config_write = blk_config_write,
	.kicked = blk_kicked, .resized = blk_file_resized, .io_done = blk_io_done,
};

static const struct pci_ops blk_pci = VIRTIO_PCI(ID, 0x018000);

static const struct dev_key blk_keys[] = {
	{ "path", "raw disk image or block device", DEV_KEY_PATH },
	{ "bootindex", "place in the boot order, from 0 (default: none)", DEV_KEY_TEXT },
	{ "sectorsize", "logical block size that the guest sees: 512 (default) to 4096", DEV_KEY_TEXT },
	{ "ser", "serial number, at most 20 characters (default: the device's name)", DEV_KEY_TEXT },
	{ "queues", "request queues, 1 (default) to 8", DEV_KEY_TEXT },
	{ 0 }
};

const struct dev_ops virtio_blk_ops = {
	.name = "virtio-blk", .summary = "virtio disk", .keys = blk_keys, .state_version = 1,
	.io_slots = SLOTS, .io_fill = blk_io_fill,
	VIRTIO_DEVICE(&blk_virtio, &blk_pci, MAX_QUEUES, sizeof(struct vblk)),
};
