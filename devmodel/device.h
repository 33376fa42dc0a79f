/*
 * devmodel/device.h - what a device is, and all that it may do.
 *
 * A device is one file: its state (plain old data, no pointers, in the arena),
 * its operations table, its configuration keys.  devices.c lists them all.
 *
 * Everything that changes device state is a transaction (txn.h): a request, a
 * posted write, a timer, input bytes, a finished back-end operation, a reset.
 * Inside one a device
 *
 *   - reads its state through the const pointer dev_state(),
 *   - changes it only through dev_write(), which saves the state on the first
 *     call of the transaction so that a successor process can undo it,
 *   - lets effects out only by the calls below; they stand in the outbox and
 *     reach the guest after the one store that commits the transaction,
 *   - never blocks, never keeps a pointer into the state across transactions,
 *     and keeps nothing in its own memory that the state could not rebuild.
 *
 * Bulk buffers (sector data) are separate from the state: they are not saved
 * for undo, so bytes below an index that is committed are not overwritten
 * until that index is given back by a later transaction.
 *
 * Thread: every function here runs on the loop's thread only.  Workers do file
 * I/O and see neither devices nor arena.
 */
#ifndef CLEAVE_DEVMODEL_DEVICE_H
#define CLEAVE_DEVMODEL_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dev;
struct blk_io;		/* backend/blk.h */
struct machine;		/* the daemon's one VM: devices, arena, link */

enum { DEV_TIMERS = 8, DEV_REGIONS = 16, DEV_SLOTS = 4, DEV_IOS = 128 };

/*
 * A configuration key, for `-s DEVICE,help` and for refusing unknown ones.
 *
 * The type says who acts on the value.  `cleave` opens what PATH, ROM, CHR
 * and NET name and passes a descriptor or a stream number; a path never reaches this
 * process.  An option of one image is a key "IMAGE.OPTION" ("hd0.bootindex");
 * on the command line `hd0=disk.img,bootindex=1,hd1=...` means the image before
 * it.  `ro`, `direct` and `nocache` of an image are cleave's own, seen here only
 * as the descriptor's flags.
 */
enum dev_key_type {
	DEV_KEY_TEXT,		/* as it stands: dev_conf() */
	DEV_KEY_PATH,		/* an image, read-write unless `ro`: dev_conf_fd(), blk_open() */
	DEV_KEY_ROM,		/* a file that is only read (a CD image): the same */
	DEV_KEY_CHR,		/* a character stream: dev_stream() */
	DEV_KEY_NET,		/* a network (backend/net.h): dev_conf() is its kind, dev_conf_fd() its descriptor */
	DEV_KEY_TYPES
};

struct dev_key {
	const char *name;	/* "hd0", "serial", ...; NULL ends the list */
	const char *help;	/* one line: values and default */
	enum dev_key_type type;
};

/*
 * `cleaved --list-devices` is how `cleave` knows what there is.  One line for a
 * device, then one for each of its keys; fields end in a tab, the last at the
 * end of the line:
 *
 *	NAME <tab> pci|lpc[,implied[=SLOT:FUNC]] <tab> summary
 *	NAME KEY <tab> text|path|rom|chr|net <tab> help
 *
 * `pci` devices are for -s, `lpc` ones for -l.  `-l NAME,VALUE` without a key
 * means the device's first key; `-l KEY,VALUE` also finds the one lpc device
 * that has that key (com1 of the serial ports).  cleave adds the implied
 * devices to every configuration where the user has not named them.
 */

/*
 * One port or memory region.  `id` is the device's own small number, given
 * back in every access; offsets are from the region's start.
 */
struct dev_region {
	uint64_t base;		/* port or guest-physical address */
	uint32_t len;
	uint8_t id;		/* < DEV_REGIONS */
	bool mmio;
	bool batch;		/* string I/O may carry many elements: batch_in / batch_out are called */
	bool posted;		/* writes retire in the guest without waiting */
	bool shadow;		/* reserve `len` shadow words for it: dev_shadow() */
};

/*
 * What a state consists of, for a program that lays it out otherwise
 * (portable.h): `count` elements of `size` bytes, `stride` apart.  A name stays
 * what it is, and means the same, in every version of the device.
 */
enum dev_field_flags {
	DEV_FIELD_SPARE = 1,	/* a version that does not know it can do without */
	DEV_FIELD_NEW = 2,	/* a version that did not have it left zeros, as far as this one is concerned */
};

struct dev_field {
	const char *name;	/* NULL ends the list */
	uint16_t offset, size, count, stride;
	unsigned flags;
};

/* A member that is one element, or an array of them; the same member of each of `n` structs at `array`. */
#define DEV_FIELD(type, member) \
	{ .name = #member, .offset = offsetof(type, member), .size = sizeof(((type *)0)->member), .count = 1 }
#define DEV_FIELD_EACH(type, array, n, elem, member, ...) \
	{ .name = #array "." #member, .offset = offsetof(type, array) + offsetof(elem, member), .size = sizeof(((elem *)0)->member), \
	  .count = (n), .stride = sizeof(elem), __VA_ARGS__ }

struct dev_ops {
	const char *name;	/* as in `-s slot,NAME` */
	const char *summary;	/* one line for `-s help` */
	const struct dev_key *keys;
	const char *implied;	/* every machine has one: its "SLOT:FUNC", or "" where it has none; NULL: only when asked for */
	size_t state_size;	/* hot state: saved for undo; keep it within a few hundred bytes */
	size_t bulk_size;	/* bulk buffers, never saved */
	uint32_t state_version;	/* counts its layouts */
	const struct dev_field *fields;	/* all of the state; NULL: only a program of the same layout can take it over */

	/*
	 * Once, before any guest access, inside a transaction.  `fresh`: the state
	 * is zeroed and the device makes it; else it is a predecessor's, already
	 * checked.  Claims regions, opens back ends by handle.  Returns 0 or
	 * -errno after dev_error().
	 */
	int (*init)(struct dev *, bool fresh);
	void (*fini)(struct dev *);	/* frees dev_private(); also after an init() that failed */
	void (*reset)(struct dev *);	/* power-on state; back ends stay; regions that firmware moved go back */
	int (*check)(const struct dev *, const void *state);	/* 0, or -EINVAL: hostile state */

	/* `size` is 1, 2, 4 or 8 and the access lies inside the region. */
	uint64_t (*read)(struct dev *, unsigned region, uint64_t off, unsigned size);
	void (*write)(struct dev *, unsigned region, uint64_t off, unsigned size, uint64_t value);

	/*
	 * String I/O on a batch region: up to n elements of `size` bytes at one
	 * port; returns how many were done, at least one.  Ends at the element
	 * that moves an interrupt line or the memory map.  NULL: read/write is
	 * called for each element.
	 */
	unsigned (*batch_in)(struct dev *, unsigned region, uint64_t off, unsigned size, void *data, unsigned n);
	unsigned (*batch_out)(struct dev *, unsigned region, uint64_t off, unsigned size, const void *data, unsigned n);

	void (*timer)(struct dev *, unsigned timer);
	void (*input)(struct dev *, unsigned stream);	/* bytes wait in the stream, room came in its output, chr_online() changed */
	void (*net_ready)(struct dev *);	/* what net_want() asked for is there */
	void (*doorbell)(struct dev *, unsigned n);	/* the guest has rung dev_doorbell() n, once or more often */
	/*
	 * Outside of a transaction, after one that published the used index of queue
	 * n: how many entries does the driver want to be interrupted for?  If any,
	 * signal() runs in its own, now or a little later.
	 */
	unsigned (*published)(struct dev *, unsigned n);
	void (*signal)(struct dev *, unsigned n);
	void (*io_done)(struct dev *, unsigned slot, int error);	/* back-end operation in `slot` ended; 0 or -errno */
	/*
	 * A device that records its operations in its own state: it has slots 0 to
	 * `io_slots` - 1 (at most DEV_IOS) in place of blk_submit()'s, starts one by
	 * dev_start_io(), and is asked after the commit what the operation is.  Memory
	 * that it names stays as it is until io_done().  False: there is none.
	 */
	unsigned io_slots;
	bool (*io_fill)(struct dev *, unsigned slot, struct blk_io *);
	void (*inject)(struct dev *, unsigned kind, uint64_t value);	/* keys, the power button: enum link_inject */
	void (*set_link)(struct dev *, bool up);	/* the network's cable is in or out */
	bool (*resized)(struct dev *);	/* an image may have another size: look; true when the guest can be told */

	/* PCI configuration space beyond the common header; NULL for none.  See bus/pci.h. */
	const struct pci_ops *pci;
	/* Behind virtio's transport, which is then what the functions above are.  See virtio/virtio.h. */
	const struct virtio_ops *virtio;
};

/* A device's place: `struct dev` belongs to the machine; a device file never looks inside. */
const char *dev_name(const struct dev *);		/* "ide@1:1", for messages */
const void *dev_state(const struct dev *);		/* valid in this transaction only */
void *dev_write(struct dev *);				/* the same memory, saved for undo */
uint8_t *dev_bulk(struct dev *);			/* bulk_size bytes */
struct machine *dev_machine(struct dev *);
/* What init() of each process makes again: opened back ends, tables. NULL at first; fini() frees it. */
void dev_set_private(struct dev *, void *);
void *dev_private(const struct dev *);
const uint8_t *dev_uuid(const struct dev *);		/* the machine's, 16 bytes */
const char *dev_conf(const struct dev *, const char *key);	/* NULL when absent */
int dev_conf_fd(const struct dev *, const char *key);		/* descriptor passed for the key's path, or -1 */
void dev_error(const struct dev *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void dev_log(const struct dev *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Regions: claim or move; len 0 removes.  Takes effect before the access that asked for it retires. */
void dev_region(struct dev *, const struct dev_region *);

/*
 * Doorbells: writes of `size` bytes at an address that the engine completes by
 * itself; the device hears of them by doorbell(), some time later, many as one.
 * init() asks for n numbers, 0 to n - 1 of the device; size 0 takes one down.
 */
bool dev_doorbells(struct dev *, unsigned n);		/* false: the machine has no more */
void dev_doorbell(struct dev *, unsigned n, uint64_t gpa, unsigned size);
/* Call doorbell() for n soon, without a ring: work was left over.  Not remembered in the arena. */
void dev_ring(struct dev *, unsigned n);

/* Effects, all through the outbox. */
void dev_irq(struct dev *, unsigned gsi, bool level);	/* absolute level of an ISA line 0-15, or PIRQ 16-19; idempotent */
void dev_shadow(struct dev *, unsigned region, unsigned off, uint32_t value, bool valid);
void dev_end_batch(struct dev *);			/* this element ends the batch (irq and memory map do by themselves) */
/* Slots are given out here; where two cover one page the higher wins. */
enum dev_map_slot { MAP_SLOT_PAM = 0 /* 13 of them */, MAP_SLOT_FLASH = 16 };
void dev_map(struct dev *, unsigned slot, unsigned map, uint64_t base, uint64_t len, uint64_t offset);	/* enum link_map */
void dev_pmbase(struct dev *, uint16_t base, bool on);
void dev_a20(struct dev *, bool level);
void dev_nmi(struct dev *);
void dev_msi(struct dev *, uint64_t addr, uint32_t data);	/* what is no interrupt message goes nowhere */
void dev_power(struct dev *, unsigned what, uint32_t arg);	/* enum link_power */

/* Time: ns on the VM's monotonic clock, which stands while the VM is paused. */
uint64_t dev_now(const struct dev *);
void dev_timer(struct dev *, unsigned timer, uint64_t deadline);	/* 0 disarms; kept in the arena, survives the process */

/*
 * Guest memory.  dma_*() copies and bounds-checks; returns false when any byte
 * is not RAM (nothing is copied then).  Code pages are invalidated before
 * anything that reveals the DMA.
 */
bool dma_read(struct dev *, uint64_t gpa, void *to, size_t n);
bool dma_write(struct dev *, uint64_t gpa, const void *from, size_t n);
/* [gpa, gpa + n), which is RAM, has been written by other means. */
void dma_written(struct dev *, uint64_t gpa, uint64_t n);
/*
 * A few bytes (at most 20, a handful of calls a transaction) that tell the
 * guest that something is done: stored after the commit, after the data and
 * their invalidations.  An aligned dword is stored whole.
 */
bool dma_publish(struct dev *, uint64_t gpa, const void *from, size_t n);

/* Character streams: `stream` is the number that the configuration gave, -1 for none. */
size_t chr_peek(struct dev *, int stream, void *to, size_t n);	/* bytes waiting, not taken */
void chr_take(struct dev *, int stream, size_t n);		/* n <= what chr_peek() gave; commits with the state */
size_t chr_room(struct dev *, int stream);
size_t chr_put(struct dev *, int stream, const void *from, size_t n);
void chr_want_room(struct dev *, int stream, bool want);	/* call input() when the reader has taken bytes */
bool chr_online(const struct dev *, int stream);		/* somebody is at its end on the host; input() tells of a change */
int dev_stream(const struct dev *, const char *key);		/* stream behind a key such as "com1" */

/*
 * Block back end (backend/blk.c).  An operation reads or writes `n` bytes at
 * `off` from or to the device's bulk buffer at `bulk`; it is recorded in the
 * arena with the transaction, done after the commit, and ends in io_done()
 * for `slot`, always in a later transaction.
 */
enum blk_op {
	BLK_READ, BLK_WRITE, BLK_FLUSH,
	BLK_DISCARD,		/* the bytes may become anything; their room is given back */
	BLK_ZERO,		/* reads as zeros afterwards, room stays allocated where that can be */
	BLK_ZERO_UNMAP,		/* the same, room may be given back */
	BLK_OPS
};
struct blk;
struct blk *blk_open(struct dev *, const char *key);	/* NULL after dev_error() */
struct blk *dev_blk(const struct dev *, unsigned n);	/* the n-th image that this device opened, or NULL: state holds numbers */
uint64_t blk_size(const struct blk *);			/* bytes, whole 512-byte sectors */
bool blk_readonly(const struct blk *);
void blk_submit(struct dev *, struct blk *, unsigned slot, enum blk_op, uint64_t off, size_t bulk, size_t n);
bool blk_busy(const struct dev *, unsigned slot);
void dev_start_io(struct dev *, unsigned slot);		/* of a device with io_fill() */

/* Network back end (backend/net.h): the device's one, freed with the device. */
struct net *net_open(struct dev *, const char *key);	/* without such a key: "null"; NULL after dev_error() */

/* The list of all devices (devices.c), NULL-ended. */
extern const struct dev_ops *const devices[];
const struct dev_ops *device_find(const char *name);

#endif
