/*
 * devmodel/machine.h - the daemon's one virtual machine.
 *
 * Owns the devices, the arena, and the pointers into link and RAM; implements
 * the calls of device.h.  The loop, the dispatcher and back ends use it; a
 * device file never includes it (bus/ and fw_cfg, which look at other devices,
 * do).
 *
 * Thread: the loop's.
 */
#ifndef CLEAVE_DEVMODEL_MACHINE_H
#define CLEAVE_DEVMODEL_MACHINE_H

#include <signal.h>
#include <stdarg.h>

#include "devmodel/arena.h"
#include "devmodel/backend/blk.h"
#include "devmodel/backend/net.h"
#include "devmodel/device.h"
#include "ipc/link_daemon.h"

/* Configuration, as it came over the socket (or from a test). */
struct conf_key {
	const char *name, *value;
	int fd;			/* -1: none */
	int stream;		/* -1: none */
};

struct conf_dev {
	const char *model;
	bool pci;
	uint8_t bus, slot, function;
	unsigned nkeys;
	const struct conf_key *key;
};

struct conf_machine {
	const char *vm;
	uint64_t ram_bytes;
	uint64_t flash_base, flash_bytes;	/* the firmware's flash; no bytes: there is none */
	unsigned vcpus;
	uint8_t uuid[16];
	bool has_uuid;
	bool fresh;
	uint32_t generation;
	/* Not fresh: what the engine knows of the predecessor. */
	uint64_t asked[ARENA_RINGS];	/* newest request of each ring */
	uint64_t events;		/* newest event applied */
	bool at_fault;			/* it died by its own doing: its transaction may be the cause */
	bool paused;
	int64_t clock_offset;
	bool apic, hpet;	/* the engine has them */
	bool direct;		/* nobody but us sets the machine up: proto/direct.h */
	unsigned ndevs;
	const struct conf_dev *dev;
};

/* What of a device a transaction has already saved; numbers of transactions. */
struct dev_stamps {
	uint64_t state, lines, regions, io, pci;
};

enum { DEV_BLKS = 4 };

struct dev {
	const struct dev_ops *ops;
	struct machine *m;
	uint16_t id;
	bool is_pci;
	uint8_t slot, function;
	char name[40];
	const struct conf_dev *conf;
	struct arena_dev *a;
	void *state;
	uint8_t *bulk;
	struct dev_stamps saved;
	uint8_t pci_wmask[256];		/* rebuilt at init: identity, not state */
	void *private;			/* the device's own, of this process */
	bool unmade;			/* out of service when this process began: init() is still to be run */
	struct blk *blk[DEV_BLKS];	/* in the order of opening, which a successor repeats */
	unsigned nblks;
	struct net *net;
	uint32_t claims;		/* regions that it has claimed in this process, a bit each */
	unsigned bell, nbells;		/* its doorbells, numbered in the order of init() */
	struct dev_io {
		struct blk_io op;
		struct dev *dev;
		bool started;		/* by this process */
	} *io;				/* DEV_SLOTS, or ops->io_slots */
};

static inline unsigned dev_io_slots(const struct dev *d)
{
	return d->ops->io_slots ? d->ops->io_slots : DEV_SLOTS;
}

/* The request at the head of a ring, taken and checked, not yet served. */
struct dispatch_head {
	bool full;
	uint64_t seq;		/* of the last request taken */
	struct link_req req;
};

struct machine {
	struct conf_machine conf;
	struct arena_header *arena;
	const struct arena_header *tried;	/* arena_bytes, or NULL: recover.h */
	size_t arena_bytes;
	uint8_t *batch;			/* LINK_PAGE bytes, in the arena */
	uint8_t *undo;
	uint8_t *ram;
	uint8_t *flash;			/* conf.flash_bytes of them, which guests read while they are mapped */
	uint64_t ram_low, ram_high;	/* bytes below 4 GiB and from 4 GiB on */
	struct link *link;
	unsigned nrings;		/* one a vCPU, and the control ring */

	struct dev dev[ARENA_MAX_DEVS];
	unsigned ndevs;
	uint64_t stream_saved[LINK_STREAMS], machine_saved, gsi_saved;	/* stamps */

	/* Doorbells: how often each had been rung when its device was last told, and who still is to be. */
	struct machine_bell {
		uint16_t dev;
		bool due;
		uint32_t seen;
		bool held;		/* an interrupt for its queue is held back */
		int credit;		/* how often that has paid lately */
		unsigned signals;
	} bell[LINK_DOORBELLS];
	unsigned nbells, bells_due;
	bool may_hold;			/* the loop sees to machine_release() */
	unsigned held;
	uint64_t held_since;

	/* Roles that a device has taken: rebuilt at init. */
	struct dev *pci_router;
	void (*pirq_changed)(struct dev *);
	struct dev *pci_cf9;
	unsigned pci_cf9_region;

	bool unsure_of_code;		/* the predecessor may have changed code and not said so */
	struct dispatch_head head[ARENA_RINGS];
	bool live;			/* machine_go() */
	bool code_told;			/* of changed code, and not known to have dropped it: txn.c */
	bool quarantine;		/* some device is out of service */
	bool refusing;			/* the control request at hand has killed processes */

	/* The running transaction. */
	uint64_t now;			/* read once a transaction, 0: not yet */
	bool batch_ends;
	bool timers_moved;
	uint64_t next_timer;		/* earliest deadline, 0: none */
	struct blk_io *ended, **ended_tail;	/* operations that ended while being started */
	unsigned io_batch;		/* ended operations in one transaction, at most */
	unsigned ios;			/* operations started and not yet ended */

	/* Supplied by the loop or a test: a monotonic clock, ns.  The VM's is ahead by an offset, and stands when paused. */
	uint64_t (*clock)(void *);
	void *clock_arg;
	bool paused;
	uint64_t paused_at;
	int64_t clock_offset;
	/* No room in the event ring: wait for the engine a little; false when it is gone. */
	bool (*wait_events)(struct machine *);

	char error[512];		/* dev_error(), for the reply */
	uint64_t log_second;
	unsigned log_lines;
	bool quiet;			/* tests, fuzzers: dev_log() says nothing */
	uint32_t streams;		/* that some device has */
	uint32_t online;		/* those that somebody was at the end of when it was last looked */
	uint32_t wants_room;		/* streams whose transmitter waits for room */
	bool streams_due;		/* look at the streams without a bell */
	void *host;			/* the loop's */
	uint64_t stat_txns, stat_overflows;
	volatile sig_atomic_t lost;	/* the engine broke the protocol or went away */
};

#define RAM_LOW_MAX	0xe0000000ull	/* RAM above it continues at 4 GiB */

/* The first guest-physical address above all RAM: as many pages have a code byte. */
static inline uint64_t machine_ram_end(uint64_t ram_bytes)
{
	return ram_bytes <= RAM_LOW_MAX ? ram_bytes : (1ull << 32) + ram_bytes - RAM_LOW_MAX;
}

/*
 * Makes the machine: memory, link, clock and wait_events() are set by the caller
 * before.  `arena` is arena_size() bytes, zeroed where conf->fresh.
 * 0, or -errno with the cause in m->error.
 */
int machine_plan(const struct conf_machine *, struct arena_plan *plan, char *err, size_t errlen);
int machine_init(struct machine *, const struct conf_machine *, void *arena, size_t arena_bytes);
/*
 * The engine has accepted this process, nobody else serves: what reaches beyond
 * arena and link begins, operations in flight and what networks are told.
 */
void machine_go(struct machine *);
void machine_fini(struct machine *);		/* frees what the devices made; the arena stays as it is */
void machine_reset(struct machine *);		/* inside a transaction */
bool machine_inject(struct machine *, unsigned kind, uint64_t value);	/* inside a transaction; false: nobody takes it */
void machine_pause(struct machine *, bool pause, int64_t offset);	/* resuming: VM clock = clock + offset */

/* Transactions whose source is not a request. */
uint64_t machine_now(struct machine *);		/* VM clock */
uint64_t machine_next_timer(struct machine *);	/* earliest deadline, 0: none */
int machine_timers(struct machine *);		/* runs what is due; number run, or -errno */
int machine_input(struct machine *, unsigned stream);	/* bytes came, or room: tells the devices of the stream */
void machine_kicked(struct machine *);	/* the kernel has answered one of the doorbells that are its own */
int machine_doorbells(struct machine *, bool look);	/* tells the devices of doorbells, new ones too if `look`; number told, or -errno */
int machine_release(struct machine *);		/* interrupts held back: those whose time has come; number or -errno */
uint64_t machine_held_until(const struct machine *);	/* by m->clock; 0: none is held */
void machine_published(struct machine *);	/* from txn_end(): interrupts for the used indices just shown */
int machine_net(struct dev *);			/* its network has what net_want() asked for */
int machine_reap(struct machine *);		/* back-end operations that have ended; number, or -errno */
void machine_start_io(struct dev *, unsigned slot);	/* a committed operation; from publishing, or a successor */
/* Tells the engine of a region as it stands; inside a transaction. */
void machine_announce(struct dev *, unsigned region);

/* Guest RAM at [gpa, gpa + n), or NULL where any byte is something else. */
uint8_t *machine_ram(const struct machine *, uint64_t gpa, size_t n);

/* Accesses, as the dispatcher makes them; inside a transaction, checked against the region. */
uint64_t machine_read(struct dev *, unsigned region, uint64_t off, unsigned size);
void machine_write(struct dev *, unsigned region, uint64_t off, unsigned size, uint64_t value);
/* Who answers at [addr, addr + size)?  The device, with *region and *off. */
struct dev *machine_find(struct machine *, bool mmio, uint64_t addr, unsigned size, unsigned *region, uint64_t *off);
struct dev *machine_dev(struct machine *, const char *model);	/* the first of a model, or NULL */
struct dev *machine_pci(struct machine *, unsigned bus, unsigned devfn);

/* A line as all devices together drive it. */
void machine_line(struct dev *, unsigned gsi, bool level);

#endif
