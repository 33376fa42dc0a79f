/*
 * tests/unit/devharness.h - devices without an engine.
 *
 * A machine of chosen devices on a real link, of which the test plays the
 * engine: accesses are requests through the dispatcher, interrupt lines, map
 * and power events are collected as the engine would see them, shadow words
 * and streams are read from the link.  The clock is the test's, and disks are
 * memory whose operations end when the test lets them.
 *
 *	struct harness *h = harness_new(&(struct harness_conf){
 *		.dev = (const struct conf_dev[]){ { .model = "hostbridge", .pci = true } }, .ndevs = 1 });
 *	h_out(h, 0xcf8, 4, 0x80000000);
 *	assert_int_equal(h_in(h, 0xcfc, 2), 0x8086);
 *	harness_free(h);
 *
 * After every request the invariants are checked (arena IDLE, every
 * event in sequence).  A failure in the harness itself fails the cmocka test.
 *
 * With HARNESS_DEATHS=SEED in the environment the device model dies at random
 * labelled steps (devmodel/txn.h), its successors too, and whatever was under
 * way is asked again: to the test nothing has happened.  HARNESS_LOG=FILE
 * collects the labels.  tests/unit/succession.sh runs all devices' tests so.
 */
#ifndef CLEAVE_TESTS_DEVHARNESS_H
#define CLEAVE_TESTS_DEVHARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "devmodel/machine.h"

struct harness;

struct harness_conf {
	unsigned ndevs;
	const struct conf_dev *dev;
	uint64_t ram;			/* bytes, 0: 16 MiB */
	uint64_t flash_base, flash_bytes;	/* no bytes: there is none */
	unsigned vcpus;			/* 0: 1 */
	const uint8_t *uuid;		/* 16 bytes or NULL */
	bool apic, hpet, direct;	/* as the engine says */
	bool may_fail;			/* harness_new() returns a harness whose harness_error() says why */
};

struct harness *harness_new(const struct harness_conf *);
void harness_free(struct harness *);
/* The device model is gone and a successor takes over; `at_fault`: it died by its own doing. */
void h_succeed(struct harness *, bool at_fault);
/* The next successor hears of another, which has died over this copy of the arena.  It stays the caller's. */
void h_tried(struct harness *, const struct arena_header *);
/* From now on each write to this device kills the process that serves it, and so does each of its timers. */
void h_crashes(struct harness *, const char *model);
const char *harness_error(const struct harness *);	/* "" when all is well */
struct machine *harness_machine(struct harness *);
struct link *h_engine(struct harness *);		/* the engine's end of the link */
struct dev *harness_dev(struct harness *, const char *model);

/* A configuration key in one line: { KEY("bootindex", "1") }. */
#define KEY(n, v)	{ .name = (n), .value = (v), .fd = -1, .stream = -1 }
#define KEY_STREAM(n, s) { .name = (n), .value = "", .fd = -1, .stream = (s) }
#define KEY_DISK(n, d)	{ .name = (n), .value = "", .fd = (d), .stream = -1 }

/* ---- accesses, as requests of vCPU 0 */
uint64_t h_in(struct harness *, uint16_t port, unsigned size);
void h_out(struct harness *, uint16_t port, unsigned size, uint64_t value);
void h_out_posted(struct harness *, uint16_t port, unsigned size, uint64_t value);
uint64_t h_read(struct harness *, uint64_t gpa, unsigned size);
void h_write(struct harness *, uint64_t gpa, unsigned size, uint64_t value);
/* One string request of up to n elements (count * size <= 4096): elements done. */
unsigned h_ins(struct harness *, uint16_t port, unsigned size, void *to, unsigned n);
unsigned h_outs(struct harness *, uint16_t port, unsigned size, const void *from, unsigned n);
/* Requests until all n are done: number of requests. */
unsigned h_rep_ins(struct harness *, uint16_t port, unsigned size, void *to, unsigned n);
unsigned h_rep_outs(struct harness *, uint16_t port, unsigned size, const void *from, unsigned n);
bool h_unclaimed(const struct harness *);	/* the last access had no device */
uint64_t h_requests(const struct harness *);	/* so far */

/* ---- PCI configuration, by mechanism #1 (needs a host bridge in the machine) */
uint32_t h_pci_read(struct harness *, unsigned slot, unsigned function, unsigned off, unsigned size);
void h_pci_write(struct harness *, unsigned slot, unsigned function, unsigned off, unsigned size, uint32_t value);

/* ---- control */
void h_reset(struct harness *);
void h_inject(struct harness *, unsigned kind, uint64_t value);

/* ---- what the engine sees */
bool h_line(const struct harness *, unsigned gsi);
unsigned h_edges(const struct harness *, unsigned gsi);		/* rising edges so far */
/* Events other than IRQ, oldest first; false when there is none left. */
bool h_event(struct harness *, struct link_event *);
/* The next event of a kind, dropping others before it. */
bool h_event_of(struct harness *, unsigned kind, struct link_event *);
void h_drop_events(struct harness *);
unsigned h_waits(const struct harness *);		/* how often the device model has waited until they were taken */
/* The next event as it stands in the ring, unchecked: for tests that publish by themselves. */
bool h_raw_event(struct harness *, struct link_event *);
/* Is a region announced at this port or address?  Its flags and length. */
bool h_region(const struct harness *, bool mmio, uint64_t base, uint32_t *len, uint32_t *flags);
/* The shadow word behind a port: false when there is none or it is not valid. */
bool h_shadow(const struct harness *, uint16_t port, uint32_t *value);
/* Writes that the engine completed by ringing a doorbell: h_write() does so where one is announced. */
void h_kernel_bells(struct harness *);	/* from now on the kernel answers them */
unsigned h_doorbells(const struct harness *);

/* ---- time, ns */
uint64_t h_now(const struct harness *);
void h_advance(struct harness *, uint64_t ns);	/* runs what falls due on the way, in order */
void h_sleep(struct harness *, uint64_t ns);	/* the clock moves, no timer runs */
uint64_t h_deadline(struct harness *);		/* of the next timer; 0: none is armed */

/* ---- networks: a back end's descriptor is the test's; what its device wants is there, and the device hears of it */
void h_network(struct harness *, const char *model);

/* ---- guest RAM and decoded code */
uint8_t *h_ram(struct harness *);
void h_mark_code(struct harness *, uint64_t gpa, bool code);

/* ---- streams */
void h_input(struct harness *, unsigned stream, const void *bytes, size_t n);
size_t h_output(struct harness *, unsigned stream, void *to, size_t n);	/* takes what the device has sent */
void h_online(struct harness *, unsigned stream, bool online);	/* somebody comes to, or leaves, its other end */
void h_output_full(struct harness *, unsigned stream, bool full);	/* the reader takes nothing: no room */

/* ---- disks: memory; the handle goes into KEY_DISK() */
int harness_disk(void *bytes, size_t n, bool readonly);
void h_disk_defer(struct harness *, bool defer);	/* operations wait for h_disk_finish() */
unsigned h_disk_pending(const struct harness *);
bool h_disk_finish(struct harness *, int error);	/* the oldest one ends; false: none waits */
bool h_disk_did(const struct harness *, enum blk_op, unsigned n);	/* so many begun so far? */
/* The file behind a handle of harness_disk() changes its size; devices see it when they look.  Memory for it is there. */
void h_disk_resize(struct harness *, int disk, size_t n);
void harness_disks_free(void);

#endif
