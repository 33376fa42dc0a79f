/*
 * devmodel/virtio/virtio.h - how a virtio device is written (virtio 1.2).
 *
 *      pci.c     the transport: capabilities, registers, MSI-X, doorbells, reset
 *      queue.c   split rings: chains out of the available ring, used entries back
 *      blk.c ... the devices: one file, one struct virtio_ops, one struct dev_ops
 *
 * A device file says what it is in a struct virtio_ops and fills its dev_ops by
 * VIRTIO_DEVICE(), which puts the transport's functions in all the places that
 * are the transport's; the transport calls the device.
 *
 *	static const struct virtio_ops rnd_virtio = {
 *		.id = 4, .queues = 1, .queue_size = 64, .kicked = rnd_kicked,
 *	};
 *	static const struct pci_ops rnd_pci = VIRTIO_PCI(4, 0x00ff00);
 *	const struct dev_ops virtio_rnd_ops = {
 *		.name = "virtio-rnd", .summary = "...", .keys = keys, .state_version = 1,
 *		VIRTIO_DEVICE(&rnd_virtio, &rnd_pci, 1, 0),
 *	};
 *
 * The rules of device.h hold: every call below runs inside a transaction, state
 * changes after virtio_write(), effects leave by the outbox.  What that means for
 * a queue:
 *
 *	driver               device, one transaction                      after the commit
 *	avail ring ──────► virtq_take() ── does it ── virtq_give() ─────► used entries, used
 *	                        └── keeps the head in its state                index, interrupt
 *	                            ... back end ... io_done(): virtq_give()
 *
 * - A chain that virtq_take() gave belongs to the device until virtq_give().
 *   Only then may its buffers be read or written, by this thread or a worker.
 *   Nothing in a buffer is shown to the driver before the used index, so writing
 *   into it before the commit is allowed.
 * - virtq_take() advances the queue in the state: undone, the chain is taken
 *   again.  A device that gives a chain back in the same transaction needs to
 *   record nothing.  One that keeps it records (queue, head) in its state; a
 *   successor finds the head there, reads the chain again by virtq_read_chain()
 *   and repeats the operation, which must be idempotent.  Segments and host
 *   pointers belong to this process and are never in the state.
 * - Used entries, used index and interrupt leave together when the transaction
 *   has committed; whether the driver wants the interrupt (event index, flags)
 *   is the transport's matter.
 * - Code that the engine has decoded from a buffer is invalidated before the
 *   used index: virtq_write() sees to it, virtq_written() is for a buffer that
 *   somebody else (a worker's preadv) has filled.
 * - The driver is hostile.  A ring or chain that breaks the rules ends in
 *   virtio_broken(): DEVICE_NEEDS_RESET, a log line that says why, and silence
 *   until the driver resets the device.
 *
 * Thread: the loop's.
 */
#ifndef CLEAVE_DEVMODEL_VIRTIO_VIRTIO_H
#define CLEAVE_DEVMODEL_VIRTIO_VIRTIO_H

#include <sys/uio.h>

#include "devmodel/bus/msix.h"
#include "devmodel/bus/pci.h"
#include "devmodel/device.h"

enum {
	VIRTIO_QUEUES = 64,	/* of one device at most: each has a vector and a doorbell */
	VIRTIO_CONFIG = 256,	/* bytes of device configuration at most */
	VIRTQ_MAX = 256,	/* entries of a queue */
	VIRTQ_SEGS = 256,	/* segments of a chain, those of an indirect table included */
	VIRTQ_OPEN = 32,	/* chains that may be taken and given back in one transaction beside each other */
};

/* Feature bits of the transport and the rings (6), offered by the core; devices use bits 0-23 and 50 on. */
#define VIRTIO_F_INDIRECT_DESC	(1ull << 28)
#define VIRTIO_F_EVENT_IDX	(1ull << 29)
#define VIRTIO_F_VERSION_1	(1ull << 32)

/* Device status (2.1). */
enum {
	VIRTIO_ACKNOWLEDGE = 1, VIRTIO_DRIVER = 2, VIRTIO_DRIVER_OK = 4, VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64, VIRTIO_FAILED = 128,
};

struct virtio_ops {
	uint16_t id;		/* device type (5): 1 network, 2 block, 3 console, 4 entropy */
	uint8_t queues;		/* at most; nqueues() may say fewer */
	uint16_t queue_size;	/* offered for each: a power of two, at most VIRTQ_MAX */
	uint16_t config_size;	/* bytes of device configuration */
	uint64_t features;	/* offered always */

	/* As in struct dev_ops; `own` is the device's own state, zeroed when fresh. */
	int (*init)(struct dev *, bool fresh);
	void (*fini)(struct dev *);
	int (*check)(const struct dev *, const void *own);

	/* Of this instance, by its configuration: more feature bits, number of queues.  The same in every process. */
	uint64_t (*offer)(const struct dev *);
	unsigned (*nqueues)(const struct dev *);

	/*
	 * The driver has chosen (a subset of the offer, VERSION_1 among them).
	 * False refuses it: FEATURES_OK stays clear.
	 */
	bool (*negotiated)(struct dev *, uint64_t features);
	/* DRIVER_OK was set: queues are live from here on.  Kicks come by themselves. */
	void (*started)(struct dev *);
	/*
	 * Back to the state after init(fresh), back ends stay.  Runs when the driver
	 * (or the machine) resets and nothing is in flight any more: while inflight()
	 * says how many chains a worker still uses, the driver reads a status that is
	 * not yet 0 and virtq_take() gives nothing.
	 */
	void (*reset)(struct dev *);
	unsigned (*inflight)(const struct dev *);	/* NULL: none, ever */

	/* Device configuration; [off, off + size) lies inside config_size.  Writes are NULL for devices without any. */
	void (*config_read)(const struct dev *, uint8_t *config);	/* fills all of it */
	void (*config_write)(struct dev *, unsigned off, unsigned size, uint64_t value);

	/*
	 * The driver may have put chains into the queue: take them until virtq_take()
	 * gives none.  That arms the next kick.  Called again by itself when the
	 * transaction was full.  Only while DRIVER_OK.
	 */
	void (*kicked)(struct dev *, unsigned queue);

	/* As in struct dev_ops. */
	void (*timer)(struct dev *, unsigned timer);
	void (*input)(struct dev *, unsigned stream);
	bool (*resized)(struct dev *);
	void (*io_done)(struct dev *, unsigned slot, int error);
};

/* ---- the core's state: at the start of the device's, plain data, checked by the core */

struct virtq {
	uint64_t desc, avail, used;	/* guest-physical, in RAM and aligned once enabled */
	uint16_t size;
	uint16_t vector;		/* MSI-X, or VIRTIO_NO_VECTOR */
	uint16_t taken;			/* next entry of the available ring */
	uint16_t given;			/* used index */
	uint16_t signalled;		/* used index at the last interrupt, or nearer */
	uint8_t enabled;
	uint8_t reserved[5];
};

struct virtio {
	uint64_t features;		/* the driver's */
	uint64_t notify;		/* where the engine looks for kicks, 0: nowhere */
	uint32_t device_select, driver_select;	/* feature words */
	uint16_t queue_select;
	uint16_t config_vector;
	uint8_t status;
	uint8_t isr;
	uint8_t generation;
	uint8_t resetting;		/* reset was asked for, chains are still in flight */
};

#define VIRTIO_NO_VECTOR	0xffffu

/* Bytes of arena state of a device with so many queues at most: core, queues, vectors, its own. */
#define VIRTIO_STATE(queues, own) \
	(sizeof(struct virtio) + (queues) * sizeof(struct virtq) + MSIX_STATE((queues) + 1) + (own))

#define VIRTIO_DEVICE(virtio_, pci_, queues_, own_)						\
	.virtio = (virtio_), .pci = (pci_), .state_size = VIRTIO_STATE(queues_, own_),		\
	.init = virtio_init, .fini = virtio_fini, .reset = virtio_reset, .check = virtio_check,	\
	.read = virtio_pci_read, .write = virtio_pci_write, .doorbell = virtio_doorbell,	\
	.published = virtio_published, .signal = virtio_signal, .timer = virtio_timer, .input = virtio_input,		\
	.resized = virtio_resized, .io_done = virtio_io_done

/* `class` is the 24-bit class code: 018000h block, 020000h network, 078000h console, 00ff00h entropy. */
#define VIRTIO_PCI(id, class)									\
	{ .vendor = 0x1af4, .device = 0x1040 + (id), .subvendor = 0x1af4, .subdevice = 0x1100,	\
	  .class_rev = (class) << 8 | 1, .pin = 1,						\
	  .bar = { [0] = { .size = VIRTIO_BAR_SIZE, .mem64 = true, .prefetch = true, .region = 0 } }, \
	  .config_init = virtio_config_init, .config_written = virtio_config_written,		\
	  .config_reading = virtio_config_reading }

/* ---- for device files */

const void *virtio_state(const struct dev *);	/* the device's own: `own` bytes */
void *virtio_write(struct dev *);		/* the same, saved for undo */
bool virtio_has(const struct dev *, uint64_t features);	/* all of them negotiated */
bool virtio_running(const struct dev *);	/* DRIVER_OK, not broken, not being reset */
/* A field of the configuration has changed: generation, and the interrupt. */
void virtio_config_changed(struct dev *);
/* The driver broke the rules: DEVICE_NEEDS_RESET and a log line. */
void virtio_broken(struct dev *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A piece of guest RAM; all of it is RAM. */
struct virtq_seg {
	uint64_t gpa;
	uint32_t len;		/* not 0 */
};

/* A chain: readable segments (driver to device) come first, then writable ones. */
struct virtq_chain {
	uint16_t queue, head;
	uint16_t nread, nwrite;		/* segments: seg[0, nread), seg[nread, nread + nwrite) */
	uint64_t read_len, write_len;	/* bytes */
	struct virtq_seg seg[VIRTQ_SEGS];
};

/*
 * The next chain of a live queue.  False: none now, and kicks are asked for; or
 * this transaction is full (kicked() runs again); or the queue is not live, or
 * its ring is broken.
 */
bool virtq_take(struct dev *, unsigned queue, struct virtq_chain *);
/* The last `n` chains taken in this transaction go back unused: they are taken again. */
void virtq_untake(struct dev *, unsigned queue, unsigned n);
/* Are there chains to be taken?  Asks for a kick where there are none. */
bool virtq_ready(struct dev *, unsigned queue);
/* The chain at a head that the device holds, again.  False: the driver has changed it into nonsense. */
bool virtq_read_chain(struct dev *, unsigned queue, uint16_t head, struct virtq_chain *);
/* The device is done with it: `written` bytes of the writable part, from its start. */
void virtq_give(struct dev *, unsigned queue, uint16_t head, uint32_t written);
/* Used entries that this transaction still has room for. */
unsigned virtq_room(const struct dev *);

/* Small things: up to n bytes at `off` of the readable (writable) part; bytes copied. */
size_t virtq_read(struct dev *, const struct virtq_chain *, uint64_t off, void *to, size_t n);
size_t virtq_write(struct dev *, const struct virtq_chain *, uint64_t off, const void *from, size_t n);

/*
 * Large things, for readv(2) and its like, now or from a worker: the host's
 * view of [off, off + n) of the readable (writable) part.  Number of pieces, at
 * most `max`, and the bytes they cover.  Valid in this process while the device
 * owns the chain.
 */
unsigned virtq_iov(struct dev *, const struct virtq_chain *, bool writable, uint64_t off, uint64_t n,
		   struct iovec *, unsigned max, uint64_t *bytes);
/* [off, off + n) of the writable part have been written through virtq_iov(). */
void virtq_written(struct dev *, const struct virtq_chain *, uint64_t off, uint64_t n);

/* ---- the transport, for VIRTIO_DEVICE() and VIRTIO_PCI() */

enum { VIRTIO_BAR_SIZE = 0x4000 };

int virtio_init(struct dev *, bool fresh);
void virtio_fini(struct dev *);
void virtio_reset(struct dev *);
int virtio_check(const struct dev *, const void *state);
uint64_t virtio_pci_read(struct dev *, unsigned region, uint64_t off, unsigned size);
void virtio_pci_write(struct dev *, unsigned region, uint64_t off, unsigned size, uint64_t value);
void virtio_doorbell(struct dev *, unsigned queue);
unsigned virtio_published(struct dev *, unsigned queue);
void virtio_signal(struct dev *, unsigned queue);
void virtio_timer(struct dev *, unsigned timer);
void virtio_input(struct dev *, unsigned stream);
bool virtio_resized(struct dev *);
void virtio_io_done(struct dev *, unsigned slot, int error);
void virtio_config_init(struct dev *, uint8_t *config, uint8_t *wmask);
void virtio_config_written(struct dev *, unsigned off, unsigned size);
void virtio_config_reading(struct dev *, unsigned off, unsigned size);

#endif
