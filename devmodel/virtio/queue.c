/*
 * devmodel/virtio/queue.c - split virtqueues (virtio 1.2, 2.7): chains out of
 * the available ring, used entries back, and who wants to be told.
 *
 * Everything in guest memory is hostile.  Each word is read once; a chain has
 * at most as many descriptors as its table, which has at most VIRTQ_SEGS; what
 * lies outside RAM, loops, nests or has its parts in the wrong order ends in
 * virtio_broken().
 *
 * Must not know: devices, the transport's registers.
 */
#include <errno.h>
#include <string.h>

#include "devmodel/txn.h"
#include "devmodel/virtio/core.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };
enum { AVAIL_NO_INTERRUPT = 1 };
enum { AVAIL_IDX = 2, AVAIL_RING = 4, USED_IDX = 2, USED_RING = 4 };

struct desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

_Static_assert(sizeof(struct desc) == 16, "virtio 2.7.5");
_Static_assert(sizeof(struct virtio) == 32 && sizeof(struct virtq) == 40, "arena layout");
_Static_assert(OUT_USED >= 2 * VIRTQ_OPEN, "a transaction has room for open chains");

/* ---- memory of the rings */

static bool placed(const struct dev *d, uint64_t gpa, uint64_t bytes, unsigned align)
{
	return gpa % align == 0 && machine_ram(d->m, gpa, bytes);
}

bool virtq_placed(const struct dev *d, const struct virtq *q)
{
	return q->size && q->size <= d->ops->virtio->queue_size && !(q->size & (q->size - 1)) &&
	       placed(d, q->desc, virtq_desc_bytes(q->size), 16) && placed(d, q->avail, virtq_avail_bytes(q->size), 2) &&
	       placed(d, q->used, virtq_used_bytes(q->size), 4);
}

/* A word of a ring that virtq_placed() has seen. */
static uint16_t *word(const struct dev *d, uint64_t gpa)
{
	return (uint16_t *)machine_ram(d->m, gpa, 2);
}

static uint16_t avail_index(const struct dev *d, const struct virtq *q)
{
	return load_acquire(word(d, q->avail + AVAIL_IDX));	/* pairs with the driver's write barrier */
}

static uint64_t used_event(const struct virtq *q)
{
	return q->avail + AVAIL_RING + 2ull * q->size;
}

static uint64_t avail_event(const struct virtq *q)
{
	return q->used + USED_RING + 8ull * q->size;
}

static bool live(const struct dev *d, unsigned queue)
{
	return virtio_running(d) && queue < virtio_queues(d) && virtq_of(d, queue)->enabled;
}

/* ---- chains */

/* One descriptor's buffer joins the chain; what is wrong with it, or NULL. */
static const char *add_segment(const struct dev *d, struct virtq_chain *c, const struct desc *e)
{
	unsigned n = c->nread + c->nwrite;

	if (!e->len)
		return NULL;
	if (!(e->flags & DESC_WRITE) && c->nwrite)
		return "a readable buffer follows a writable one";
	if (n == VIRTQ_SEGS)
		return "a chain has too many buffers";
	if (!machine_ram(d->m, e->addr, e->len))
		return "a buffer is not in RAM";
	c->seg[n] = (struct virtq_seg){ .gpa = e->addr, .len = e->len };
	if (e->flags & DESC_WRITE) {
		c->nwrite++;
		c->write_len += e->len;
	} else {
		c->nread++;
		c->read_len += e->len;
	}
	return NULL;
}

/* A descriptor table: `n` entries at `from`, which is guest memory: each entry is read once. */
struct table {
	const struct desc *from;
	unsigned n;
	bool indirect;
};

static const char *walk(const struct dev *d, struct virtq_chain *c, const struct table *t, unsigned at, struct desc *last)
{
	const char *why;

	for (unsigned steps = 0; steps < t->n; steps++) {
		if (at >= t->n)
			return "a descriptor is out of range";
		copy_once(last, &t->from[at], sizeof(*last));
		if (last->flags & DESC_INDIRECT)
			return t->indirect ? "an indirect table has an indirect descriptor" : NULL;
		why = add_segment(d, c, last);
		if (why || !(last->flags & DESC_NEXT))
			return why;
		at = last->next;
	}
	return "descriptors form a loop";
}

static const char *walk_indirect(const struct dev *d, struct virtq_chain *c, const struct desc *e)
{
	struct table t = { .n = e->len / sizeof(struct desc), .indirect = true };
	struct desc last;

	if (!virtio_has(d, VIRTIO_F_INDIRECT_DESC))
		return "an indirect descriptor, which was not negotiated";
	if (e->flags & (DESC_NEXT | DESC_WRITE))
		return "an indirect descriptor that continues or is writable";
	if (!e->len || e->len % sizeof(struct desc) || t.n > VIRTQ_SEGS)
		return "an indirect table of impossible length";
	t.from = (const struct desc *)machine_ram(d->m, e->addr, e->len);
	return t.from ? walk(d, c, &t, 0, &last) : "an indirect table is not in RAM";
}

static const char *read_chain(const struct dev *d, unsigned queue, uint16_t head, struct virtq_chain *c)
{
	const struct virtq *q = virtq_of(d, queue);
	struct table t = { .n = q->size };
	struct desc last;
	const char *why;

	c->queue = queue;
	c->head = head;
	c->nread = c->nwrite = 0;
	c->read_len = c->write_len = 0;
	if (head >= q->size)
		return "a chain starts at a descriptor out of range";
	t.from = (const struct desc *)machine_ram(d->m, q->desc, virtq_desc_bytes(q->size));
	why = walk(d, c, &t, head, &last);
	return why || !(last.flags & DESC_INDIRECT) ? why : walk_indirect(d, c, &last);
}

bool virtq_read_chain(struct dev *d, unsigned queue, uint16_t head, struct virtq_chain *c)
{
	return queue < virtio_queues(d) && virtq_of(d, queue)->enabled && !read_chain(d, queue, head, c);
}

/* ---- the available ring */

/* Chains that wait; 0 after the next kick was asked for; -1: the ring is broken. */
static int waiting(struct dev *d, unsigned queue)
{
	const struct virtq *q = virtq_of(d, queue);
	uint16_t n = avail_index(d, q) - q->taken;

	if (!n && virtio_has(d, VIRTIO_F_EVENT_IDX)) {
		store_relaxed(word(d, avail_event(q)), q->taken);
		fence_full();	/* pairs with the driver's, between its index and its look at this word */
		n = avail_index(d, q) - q->taken;
	}
	if (n <= q->size)
		return n;
	virtio_broken(d, "queue %u: the available index jumped by %u", queue, n);
	return -1;
}

bool virtq_ready(struct dev *d, unsigned queue)
{
	return live(d, queue) && waiting(d, queue) > 0;
}

unsigned virtq_room(const struct dev *d)
{
	return OUT_USED - d->m->arena->out.nused;
}

bool virtq_take(struct dev *d, unsigned queue, struct virtq_chain *c)
{
	const struct virtq *q;
	const char *why;
	uint16_t head;

	if (!live(d, queue))
		return false;
	if (virtq_room(d) < VIRTQ_OPEN || d->m->arena->out.nqueues >= OUT_QUEUES - 1) {
		dev_ring(d, queue);
		return false;
	}
	if (waiting(d, queue) <= 0)
		return false;
	q = virtq_of(d, queue);
	head = load_relaxed(word(d, q->avail + AVAIL_RING + 2ull * (q->taken % q->size)));
	why = read_chain(d, queue, head, c);
	if (why) {
		virtio_broken(d, "queue %u: %s", queue, why);
		return false;
	}
	virtq_of_write(d, queue)->taken++;
	return true;
}

void virtq_untake(struct dev *d, unsigned queue, unsigned n)
{
	if (n && queue < virtio_queues(d))
		virtq_of_write(d, queue)->taken -= n;
}

/* ---- the used ring */

void virtq_give(struct dev *d, unsigned queue, uint16_t head, uint32_t written)
{
	struct virtq *q;

	if (!live(d, queue))
		return;		/* reset or broken meanwhile */
	q = virtq_of_write(d, queue);
	if (!txn_used(d->m, q->used + USED_RING + 8ull * (q->given % q->size), head, written)) {
		virtio_broken(d, "queue %u: a transaction gave back too much", queue);
		return;
	}
	q->given++;
	/* No driver waits for an index that all its buffers have passed. */
	if ((uint16_t)(q->given - q->signalled) > q->size)
		q->signalled = q->given - q->size;
	txn_queue(d->m, (struct out_queue){ .gpa = q->used + USED_IDX, .index = q->given, .dev = d->id, .queue = queue });
}

/* Is `event` one of the indices from `from` to just before `to`? (2.7.7.2) */
static bool passed(uint16_t event, uint16_t to, uint16_t from)
{
	return (uint16_t)(to - event - 1) < (uint16_t)(to - from);
}

unsigned virtio_published(struct dev *d, unsigned queue)
{
	const struct virtq *q;
	uint16_t n;

	if (!live(d, queue))
		return 0;
	q = virtq_of(d, queue);
	n = q->given - q->signalled;
	fence_full();	/* pairs with the driver's, between its wish and its look at the used index */
	if (virtio_has(d, VIRTIO_F_EVENT_IDX))
		return passed(load_relaxed(word(d, used_event(q))), q->given, q->signalled) ? n : 0;
	return load_relaxed(word(d, q->avail)) & AVAIL_NO_INTERRUPT ? 0 : n;
}

void virtio_signal(struct dev *d, unsigned queue)
{
	if (!live(d, queue))
		return;
	virtq_of_write(d, queue)->signalled = virtq_of(d, queue)->given;
	virtio_interrupt(d, queue);
}

/* ---- data */

/*
 * Walks [off, off + n) of one part of the chain: `piece` gets each range in
 * turn, with its place in the whole.  Bytes that the part has there.
 */
struct cursor {
	const struct virtq_seg *seg, *end;
	uint64_t skip, left;
};

static struct cursor start(const struct virtq_chain *c, bool writable, uint64_t off, uint64_t n)
{
	const struct virtq_seg *seg = c->seg + (writable ? c->nread : 0);
	uint64_t len = writable ? c->write_len : c->read_len;

	return (struct cursor){
		.seg = seg, .end = seg + (writable ? c->nwrite : c->nread),
		.skip = off, .left = off >= len ? 0 : n < len - off ? n : len - off,
	};
}

/* The next piece; false at the end. */
static bool next(struct cursor *u, struct virtq_seg *piece)
{
	while (u->left && u->seg < u->end && u->skip >= u->seg->len)
		u->skip -= u->seg++->len;
	if (!u->left || u->seg == u->end)
		return false;
	piece->gpa = u->seg->gpa + u->skip;
	piece->len = u->seg->len - u->skip;
	if (piece->len > u->left)
		piece->len = u->left;
	u->left -= piece->len;
	u->skip += piece->len;
	return true;
}

size_t virtq_read(struct dev *d, const struct virtq_chain *c, uint64_t off, void *to, size_t n)
{
	struct cursor u = start(c, false, off, n);
	struct virtq_seg s;
	size_t done = 0;

	for (; next(&u, &s) && dma_read(d, s.gpa, (uint8_t *)to + done, s.len); done += s.len)
		;
	return done;
}

size_t virtq_write(struct dev *d, const struct virtq_chain *c, uint64_t off, const void *from, size_t n)
{
	struct cursor u = start(c, true, off, n);
	struct virtq_seg s;
	size_t done = 0;

	for (; next(&u, &s) && dma_write(d, s.gpa, (const uint8_t *)from + done, s.len); done += s.len)
		;
	return done;
}

unsigned virtq_iov(struct dev *d, const struct virtq_chain *c, bool writable, uint64_t off, uint64_t n,
		   struct iovec *iov, unsigned max, uint64_t *bytes)
{
	struct cursor u = start(c, writable, off, n);
	struct virtq_seg s;
	unsigned i = 0;

	*bytes = 0;
	while (i < max && next(&u, &s)) {
		iov[i++] = (struct iovec){ .iov_base = machine_ram(d->m, s.gpa, s.len), .iov_len = s.len };
		*bytes += s.len;
	}
	return i;
}

void virtq_written(struct dev *d, const struct virtq_chain *c, uint64_t off, uint64_t n)
{
	struct cursor u = start(c, true, off, n);
	struct virtq_seg s;

	while (next(&u, &s))
		dma_written(d, s.gpa, s.len);
}
