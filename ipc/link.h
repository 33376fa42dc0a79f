/*
 * ipc/link.h - the shared memory that joins engine and device model.
 *
 * One sealed memfd, mapped by both processes.  This header is the layout and
 * the words that each side may write; ring.h moves slots through it, wait.h
 * waits on it, region.h creates, seals and checks it.  Nothing here knows a
 * guest or a device.
 *
 *      engine (cleave)                         device model (cleaved)
 *      ---------------                         ----------------------
 *      vCPU n --- request ring n ------------> dispatch
 *             <-- completion ring n ----------
 *      events <-- event ring ----------------- outbox
 *      relay  <-- byte ring (output) --------- UART ...
 *             --- byte ring (input) ---------> UART ...
 *      reads  <-- shadow words --------------- devices
 *      writes --> code-page bytes -----------> DMA
 *      writes --> doorbell counters ---------> queues
 *
 * Trust: each side treats everything the other may write as hostile.  A slot
 * is copied out once, then checked, then used; an index is read once and the
 * distance checked against the ring's size.  A side never reads back as truth
 * what it wrote itself: it keeps a private copy of its own indices.
 *
 * There are nvcpus + 1 pairs of request and completion rings: the last is the
 * control ring, whose producer is the engine's main thread (reset, injection,
 * pause); vCPU rings carry port and memory accesses only.
 *
 * Byte order is the host's; both ends are one build's ABI, told apart by
 * LINK_ABI and the feature bits.
 */
#ifndef CLEAVE_IPC_LINK_H
#define CLEAVE_IPC_LINK_H

#include <stddef.h>
#include <stdint.h>

#define LINK_MAGIC		0x4b4e494c56454c43ull	/* "CLEVLINK" */
#define LINK_ABI		3u
#define LINK_PAGE		4096u
#define LINK_LINE		64u
#define LINK_MAX_VCPUS		64u
#define LINK_MAX_CODE_PAGES	(1u << 28)	/* 1 TiB of guest RAM */
#define LINK_GSIS		24u	/* interrupt lines */
#define LINK_REQ_SLOTS		64u	/* a vCPU's request ring */
#define LINK_COMP_SLOTS		64u	/* a vCPU's completion ring */
#define LINK_EVENT_SLOTS	2048u
#define LINK_DATA_PAGES		2u	/* a vCPU's batch buffers: one in use, one for the slot before */
#define LINK_STREAMS		32u	/* character streams, each a byte ring either way: input, output */
#define LINK_STREAM_BYTES	16384u
#define LINK_SHADOWS		256u
#define LINK_DOORBELLS		256u

/* Feature bits, engine's offer and daemon's answer; unknown bits are refused. */
#define LINK_F_BATCH		(1u << 0)
#define LINK_F_POSTED		(1u << 1)
#define LINK_F_SHADOW		(1u << 2)
#define LINK_F_DOORBELL		(1u << 3)
#define LINK_F_ALL		0xfu

/*
 * Producer and consumer words of one ring, each on a line of its own.
 * Free-running indices: entries = prod - cons, never more than the slots.
 * `prod_sleeps`/`cons_sleeps` say that the side sleeps (or is about to) on the
 * other's word, the sleeper sets and clears it (an eventfd sleeper's is cleared
 * by whoever wakes it); see wait.h for the fences that pair with them.
 *
 * A slot says itself that it is full: the producer of ring position p writes
 * `turn` = p + 1 into it last.  The consumer polls only the slot, so that a
 * message costs the transfer of one line and not of two; `prod` stays in the
 * producer's cache and serves sleeping and checking, `cons` is published now
 * and then and serves the account of room.
 */
struct link_ring {
	_Alignas(LINK_LINE) uint32_t prod;	/* written by the producer */
	uint32_t prod_sleeps;			/* producer waits for room on `cons` */
	_Alignas(LINK_LINE) uint32_t cons;	/* written by the consumer */
	uint32_t cons_sleeps;			/* consumer waits for entries on `prod`; enum link_waiter */
};

/*
 * A vCPU that waits for its completion applies the events that the completion
 * names, so nobody else is woken for them; unless it says that it has left.
 */
enum link_waiter {
	LINK_SLEEPS = 1u << 0,
	LINK_AWAY = 1u << 1,	/* comp.cons_sleeps only */
};

enum link_req_kind {
	LINK_REQ_NONE,
	LINK_REQ_PIO_IN,
	LINK_REQ_PIO_OUT,
	LINK_REQ_MMIO_READ,
	LINK_REQ_MMIO_WRITE,
	LINK_REQ_RESET,		/* all devices to their reset state */
	LINK_REQ_INJECT,	/* addr: enum link_inject; value: argument (keys, power button) */
	LINK_REQ_PAUSE,		/* the VM's clock stands: run no timer until RESUME */
	LINK_REQ_RESUME,	/* value: VM clock = CLOCK_MONOTONIC + value, ns, signed */
	LINK_REQ_VOID,		/* in place of one that the engine has withdrawn: acknowledged, no more; always POSTED */
	LINK_REQ_KINDS
};

enum link_inject {
	LINK_INJECT_KEY = 1,	/* value: one PS/2 set-2 scancode sequence, low byte first, zero-ended */
	LINK_INJECT_POWER_BUTTON,
	LINK_INJECT_RESIZE,	/* value: slot << 3 | function; its image has another size now */
	LINK_INJECT_LINK,	/* value: up << 8 | slot << 3 | function; the network's cable is in or out */
	LINK_INJECT_KINDS
};

#define LINK_REQ_POSTED		(1u << 0)	/* retired already: no completion is sent */
#define LINK_REQ_BATCH		(1u << 1)	/* `count` elements in data page `data` */

/* Engine -> daemon.  One cache line. */
struct link_req {
	uint64_t seq;		/* this vCPU's requests, from 1, posted ones included */
	uint64_t addr;		/* port or guest-physical address */
	uint64_t value;		/* the datum of an unbatched write */
	uint32_t count;		/* elements, 1 unless BATCH */
	uint16_t region;	/* id the daemon gave the region, or LINK_NO_REGION */
	uint8_t kind;		/* enum link_req_kind */
	uint8_t size;		/* bytes of an element: 1, 2, 4 or 8 */
	uint8_t flags;		/* LINK_REQ_* */
	uint8_t data;		/* data page index, when BATCH */
	uint16_t vcpu;
	uint32_t reserved[6];
	uint32_t turn;		/* ring.h: written last */
};

#define LINK_NO_REGION		0xffffu

enum link_status {
	LINK_OK,		/* done; `done` elements */
	LINK_UNCLAIMED,		/* no device answers: all ones, write ignored */
	LINK_STATUSES
};

/* Daemon -> engine.  One cache line; every request field is echoed. */
struct link_comp {
	uint64_t seq;
	uint64_t addr;
	uint64_t value;		/* the datum of an unbatched read */
	uint64_t event_seq;	/* apply events up to this one before consuming */
	uint32_t count;		/* as asked */
	uint32_t done;		/* elements finished, 1..count */
	uint8_t kind;
	uint8_t size;
	uint8_t status;		/* enum link_status */
	uint8_t data;		/* data page that holds a batched read */
	uint32_t reserved[4];
	uint32_t turn;		/* ring.h: written last */
};

/* What the daemon tells the engine.  Absolute, sequenced from 1; the engine drops what it has seen. */
enum link_event_kind {
	LINK_EV_NONE,
	LINK_EV_IRQ,		/* a: GSI, b: level 0/1 */
	LINK_EV_MSI,		/* addr: address, value: data */
	LINK_EV_REGION,		/* a: enum link_region_flags, b: region id, c: shadow word or LINK_NO_SHADOW,
				 * d: device id, addr: base, value: length (0 removes the region) */
	LINK_EV_MEMMAP,		/* a: enum link_map, b: slot, addr: base, value: length, c|d<<32: offset in the backing */
	LINK_EV_PMBASE,		/* addr: base of the ACPI PM block, value: 0 off, 1 on (PM timer at base + 8) */
	LINK_EV_A20,		/* a: level, from the keyboard controller */
	LINK_EV_CODE,		/* addr, value: guest-physical range changed by DMA */
	LINK_EV_POWER,		/* a: enum link_power, b: argument */
	LINK_EV_DOORBELL,	/* a: enum link_doorbell_flags, b: doorbell, c: size, addr, value: data match */
	LINK_EV_NMI,
	LINK_EV_STRIKE,		/* killed a process, d times in a row: a: enum link_cause, b: device id or LINK_NO_DEVICE,
				 * c: vCPU, timer, stream, slot or queue, value: a request's sequence number */
	LINK_EV_SERVICE,	/* a: device id, b: 1 in service, 0 out of it until a reset */
	LINK_EV_KINDS
};

/* What a transaction is for. */
enum link_cause {
	LINK_BY_NOBODY,
	LINK_BY_START,		/* a device is made from its state */
	LINK_BY_REQUEST,
	LINK_BY_TIMER,
	LINK_BY_INPUT,
	LINK_BY_IO,		/* operations that ended */
	LINK_BY_DOORBELL,
	LINK_BY_SIGNAL,		/* an interrupt that was held back */
	LINK_BY_FRAMES,
	LINK_CAUSES
};

#define LINK_NO_DEVICE		0xffffu

enum link_region_flags {
	LINK_RGN_MMIO = 1u << 0,	/* else ports */
	LINK_RGN_BATCH = 1u << 1,	/* string I/O may carry more than one element */
	LINK_RGN_POSTED = 1u << 2,	/* writes retire without waiting */
	LINK_RGN_SHADOW = 1u << 3,	/* shadow words from `c`, one a byte of the region */
};

enum link_map {
	LINK_MAP_NONE,		/* nobody answers here: falls through to regions */
	LINK_MAP_RAM,		/* read and write guest RAM */
	LINK_MAP_ROM,		/* read RAM, writes dropped */
	LINK_MAP_ROM_IMAGE,	/* read the boot ROM image below 1 MiB alias, writes dropped */
	LINK_MAP_READ_ROM_WRITE_RAM,	/* PAM: reads from the boot ROM image, writes to RAM */
	LINK_MAPS
};

enum link_power {
	LINK_POWER_OFF = 1,
	LINK_POWER_RESET,
	LINK_POWER_EXIT,	/* b: exit status (isa-debug-exit) */
	LINK_POWER_PANIC,	/* pvpanic */
};

enum link_doorbell_flags { LINK_DB_ENABLE = 1u << 0, LINK_DB_MMIO = 1u << 1, LINK_DB_MATCH = 1u << 2 };

#define LINK_NO_SHADOW		0xffffffffu

struct link_event {
	uint64_t seq;
	uint64_t addr;
	uint64_t value;
	uint32_t kind;		/* enum link_event_kind */
	uint32_t a, b, c, d;
	uint32_t reserved[4];
	uint32_t turn;		/* ring.h: written last */
};

/* A shadow register: value in the low 32 bits, LINK_SHADOW_VALID while a read is free of side effects. */
#define LINK_SHADOW_VALID	(1ull << 32)

/* What a vCPU says of itself; 0 where the engine does not know. */
enum link_activity { LINK_RUNS = 1, LINK_HALTED };

struct link_vcpu {
	struct link_ring req, comp;
	/* Highest sequence number committed by the daemon, posted writes included. */
	_Alignas(LINK_LINE) uint64_t committed;
	/* Engine: enum link_activity.  An interrupt that can wait a little waits for LINK_HALTED. */
	_Alignas(LINK_LINE) uint32_t activity;
	_Alignas(LINK_LINE) struct link_req req_slot[LINK_REQ_SLOTS];
	_Alignas(LINK_LINE) struct link_comp comp_slot[LINK_COMP_SLOTS];
	_Alignas(LINK_PAGE) uint8_t data[LINK_DATA_PAGES][LINK_PAGE];
};

/* A virtqueue kick or the like, completed in the engine: counted up there, read by the daemon. */
struct link_doorbell {
	_Alignas(LINK_LINE) uint32_t count;
	/*
	 * Engine: the kernel answers its writes by itself and counts up the eventfd
	 * KICK, which all of these share: any of them may have been rung then.
	 */
	uint32_t by_kernel;
};

/* A byte ring: free-running 32-bit positions in a power-of-two buffer. */
struct link_stream {
	struct link_ring ring;
	_Alignas(LINK_LINE) uint32_t online;	/* input, engine: 1 while somebody is at the stream's other end */
	_Alignas(LINK_LINE) uint8_t bytes[LINK_STREAM_BYTES];
};

struct link_header {
	uint64_t magic;		/* LINK_MAGIC, written last by the engine */
	uint32_t abi;
	uint32_t features;	/* engine's offer */
	uint32_t answer;	/* daemon's answer, a subset */
	uint32_t generation;
	uint32_t nvcpus;
	uint32_t forbidden;	/* daemon, dying: the number of the system call that its sandbox stopped, + 1; 0: none */
	uint64_t size;		/* of the memfd */
	/* Where things lie, from the memfd's start; link_layout() computes them, a reader compares. */
	uint64_t off_vcpus;	/* struct link_vcpu[nvcpus + 1] */
	uint64_t off_events;	/* struct link_events */
	uint64_t off_streams;	/* struct link_stream[LINK_STREAMS][2]: [0] input to the daemon, [1] output */
	uint64_t off_shadows;	/* uint64_t[LINK_SHADOWS] */
	uint64_t off_doorbells;	/* struct link_doorbell[LINK_DOORBELLS] */
	uint64_t off_code;	/* uint8_t[code_pages] */
	uint64_t code_pages;	/* bytes in the code-page map: guest-physical pages of RAM */
	/*
	 * The daemon sleeps on an eventfd for any vCPU's request, doorbell or
	 * byte; it says so here.  A spinning daemon polls the request slots and
	 * `bell`, which counts up with work that is not a request.
	 */
	_Alignas(LINK_LINE) uint32_t bell;	/* engine: doorbell, input bytes, room in an output stream, who is at its end */
	_Alignas(LINK_LINE) uint32_t daemon_sleeps;	/* daemon sets; whoever wakes it clears, once */
	uint32_t kernel_bells;	/* engine: doorbells with `by_kernel` set: who spins does not see them */
	uint32_t holds;		/* daemon: it holds interrupts back: a vCPU that halts rings the bell */
};

struct link_events {
	struct link_ring ring;	/* its consumer sleeps on an eventfd: libevent must see it */
	_Alignas(LINK_LINE) struct link_event slot[LINK_EVENT_SLOTS];
};

_Static_assert(sizeof(struct link_req) == 64, "one line a request");
_Static_assert(sizeof(struct link_comp) == 64, "one line a completion");
_Static_assert(sizeof(struct link_event) == 64, "one line an event");
_Static_assert(sizeof(struct link_ring) == 128, "producer and consumer apart");
_Static_assert(offsetof(struct link_req, turn) == 60, "the last word of the line");
_Static_assert(offsetof(struct link_comp, turn) == 60, "the last word of the line");
_Static_assert(offsetof(struct link_event, turn) == 60, "the last word of the line");
_Static_assert(offsetof(struct link_req, region) == 28, "ABI 3");
_Static_assert(offsetof(struct link_comp, kind) == 40, "ABI 3");
_Static_assert(offsetof(struct link_event, kind) == 24, "ABI 3");
_Static_assert(offsetof(struct link_vcpu, data) % LINK_PAGE == 0, "batches start on a page");

#endif
