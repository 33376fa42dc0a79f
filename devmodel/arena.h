/*
 * devmodel/arena.h - all that a device model must not lose, in one memfd.
 *
 * The arena outlives the process: a successor maps a copy, checks it as it
 * would check a stranger's, and goes on.  So it holds no pointers, only
 * offsets from its start, and no field is believed before arena_check().
 *
 *	+---------------+  0
 *	| arena_header  |  layout version, sizes, the transaction's word and outbox
 *	+---------------+  off_devs
 *	| arena_dev [n] |  regions, timers, lines, back-end operations, PCI space
 *	+---------------+  each arena_dev's state_off, bulk_off
 *	| state, bulk   |  the devices' own
 *	+---------------+  off_undo
 *	| undo log      |  what the running transaction changed, as it was
 *	+---------------+  off_batch
 *	| batch page    |  data of a batched read, until it is published
 *	+---------------+
 *
 * What stands where is decided once, by arena_format(), from the list of
 * devices; a successor with another list or other sizes refuses the arena.
 */
#ifndef CLEAVE_DEVMODEL_ARENA_H
#define CLEAVE_DEVMODEL_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devmodel/device.h"
#include "ipc/link.h"

#define ARENA_MAGIC	0x414e455241564c43ull	/* "CLVARENA" */

enum {
	ARENA_VERSION = 3,
	ARENA_MAX_DEVS = 64,
	ARENA_RINGS = LINK_MAX_VCPUS + 1,	/* the last in use is the control ring */
	OUT_EVENTS = 896,	/* what one transaction may emit; a reset of all devices is the largest */
	OUT_CODE = 64,		/* beyond these, ranges of changed code are joined */
	OUT_SHADOWS = 128,
	ARENA_STRIKES = 8,
	OUT_STORES = 8,
	OUT_USED = 128,		/* virtqueue entries */
	OUT_QUEUES = 64,	/* virtqueues whose index moves */
	OUT_IOS = ARENA_MAX_DEVS * DEV_SLOTS,
};

struct arena_region {
	uint64_t base;
	uint32_t len;		/* 0: not claimed */
	uint32_t shadow;	/* first shadow word or LINK_NO_SHADOW; kept when the region goes */
	uint32_t flags;		/* enum link_region_flags */
	uint32_t reserved;
};

/* A back-end operation in flight. */
struct arena_io {
	uint64_t off;
	uint64_t n;
	uint32_t bulk;		/* offset in the device's bulk buffer */
	uint8_t busy;
	uint8_t op;		/* enum blk_op */
	uint8_t blk;		/* which of the device's back ends, in the order of opening */
	uint8_t reserved;
};

/*
 * What the machine keeps for a device.  Parts are saved for undo apart, so that
 * arming a timer does not copy the regions.
 */
struct arena_dev {
	char model[16];
	uint16_t devfn;		/* slot << 3 | function, or ARENA_NOT_PCI */
	uint16_t out;		/* out of service until a reset: recover.h */
	uint32_t state_version;
	uint64_t state_off, bulk_off;
	uint32_t state_size, bulk_size;

	struct arena_lines {
		uint64_t timer[DEV_TIMERS];	/* deadlines, 0: not armed */
		uint32_t irq;			/* ISA lines that the device holds up, a bit each */
		uint32_t intx;			/* its PCI interrupt pin is asserted */
	} lines;
	struct arena_region region[DEV_REGIONS];
	struct arena_io io[DEV_SLOTS];
	uint8_t pci[256];
};

#define ARENA_NOT_PCI	0xffffu

/* Positions of the character streams, committed with the state that took or gave the bytes. */
struct arena_stream {
	uint32_t taken;		/* input: consumer's position */
	uint32_t given;		/* output: producer's position */
};

enum txn_kind {
	TXN_NONE,		/* the order is enum link_cause's */
	TXN_INIT,		/* dev */
	TXN_REQUEST,		/* ring, seq */
	TXN_TIMER,		/* dev, index */
	TXN_INPUT,		/* dev, index: stream */
	TXN_IO,			/* dev, index: slot; seq: error */
	TXN_DOORBELL,		/* dev, index */
	TXN_SIGNAL,		/* dev, index: queue */
	TXN_NET,		/* dev: frames, or room for some */
	TXN_KINDS
};

/* Why the transaction runs: enough for a successor to run it again. */
struct txn_source {
	uint32_t kind;		/* enum txn_kind */
	uint16_t dev;
	uint16_t index;
	uint64_t seq;
};

/* What has killed processes, and how many in a row. */
struct arena_strike {
	struct txn_source source;
	uint64_t number;	/* of the last such transaction */
	uint32_t count;		/* 0: a free entry */
	uint32_t reserved;
};

struct out_shadow {
	uint32_t word;
	uint32_t value;
	uint32_t valid;
};

/* A few bytes of guest RAM that reveal what the transaction did. */
struct out_store {
	uint64_t gpa;
	uint32_t n;
	uint8_t bytes[20];
};

/* An entry of a used ring, and then the index that shows it. */
struct out_used {
	uint64_t gpa;
	uint32_t id, len;
};

struct out_queue {
	uint64_t gpa;		/* of the used index */
	uint16_t index;
	uint16_t dev, queue;
	uint16_t reserved;
};

struct out_io {
	uint16_t dev, slot;
};

/* The outbox: counts first, on the line that every transaction touches. */
struct txn_out {
	uint64_t event_base;	/* sequence number before this transaction's first event */
	uint32_t ncode, nevents, nshadows, nstores, nused, nqueues, nios;
	uint32_t streams_in, streams_out;	/* a bit for each stream whose position moved */
	uint8_t completes;	/* `comp` goes to ring source.index */
	uint8_t batch;		/* ... with comp.done elements from the batch page */
	struct link_comp comp;
	struct link_event code[OUT_CODE];	/* LINK_EV_CODE: told of before the commit, and none from then on */
	struct link_event event[OUT_EVENTS];
	struct out_shadow shadow[OUT_SHADOWS];
	struct out_store store[OUT_STORES];
	struct out_used used[OUT_USED];
	struct out_queue queue[OUT_QUEUES];
	struct out_io io[OUT_IOS];
};

struct arena_header {
	uint64_t magic;
	uint32_t version;
	uint32_t header_size;
	uint64_t size;
	uint32_t ndevs, nrings;
	uint32_t generation;
	uint32_t nshadows;	/* words given out so far */
	uint64_t off_devs, off_undo, undo_size, off_batch;

	/* What was done: a successor takes these, never ring indices, for true. */
	_Alignas(64) uint64_t acked[ARENA_RINGS];
	uint64_t event_seq;
	struct arena_stream stream[LINK_STREAMS];
	uint32_t gsi_level;	/* what the engine was told last, a bit a line */
	uint32_t reserved;
	struct arena_strike strike[ARENA_STRIKES];	/* recover.c's */

	/* The transaction.  `word` is number << 2 | state: the commit is its one store. */
	_Alignas(64) uint64_t word;
	uint64_t undo_used;
	struct txn_source source;
	uint32_t at_work;	/* TXN_REQUEST: the device that serves it */
	uint16_t ending;	/* a successor is about to undo or to publish it */
	uint16_t wrote;		/* guest memory, before it was committed */
	struct txn_out out;
};

_Static_assert(sizeof(struct arena_region) == 24, "arena layout");
_Static_assert(sizeof(struct arena_io) == 24, "arena layout");
_Static_assert(sizeof(struct arena_lines) == 72, "arena layout");
_Static_assert(sizeof(struct out_store) == 32, "arena layout");
_Static_assert(sizeof(struct out_used) == 16, "arena layout");
_Static_assert(sizeof(struct out_queue) == 16, "arena layout");
_Static_assert(sizeof(struct txn_source) == 16, "arena layout");
_Static_assert(offsetof(struct arena_header, word) % 64 == 0, "arena layout");

/* One device to be placed. */
struct arena_plan {
	const struct dev_ops *ops;
	uint16_t devfn;
};

/* Bytes that these devices need, whole pages. */
size_t arena_size(const struct arena_plan *, unsigned ndevs);

/* Lays out zeroed memory of at least arena_size() bytes. */
void arena_format(void *mem, size_t size, const struct arena_plan *, unsigned ndevs, unsigned nrings);

/* "device slot 3 virtio-blk", for messages. */
void arena_name_dev(char *to, size_t n, const struct arena_plan *);

/*
 * Was it laid out as arena_format() of this program would?  Looks only at what
 * does not change while an arena is in use.  0; -EINVAL and in `err` what differs.
 */
int arena_match(const void *mem, size_t size, const struct arena_plan *, unsigned ndevs, unsigned nrings, char *err, size_t errlen);

/*
 * Is this memory, which anybody may have written, an arena for these devices?
 * 0, or -EINVAL with *why naming the field.  After this the layout can be
 * trusted; what devices make of their state is for dev_ops.check().
 */
int arena_check(const void *mem, size_t size, const struct arena_plan *, unsigned ndevs, unsigned nrings, const char **why);

static inline struct arena_dev *arena_dev(struct arena_header *a, unsigned n)
{
	return (struct arena_dev *)((uint8_t *)a + a->off_devs) + n;
}

#endif
