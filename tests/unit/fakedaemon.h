/*
 * tests/unit/fakedaemon.h - a device model of a few lines, on a thread of the
 * test, behind a real link: what the engine's side is tested against.
 *
 * Its devices (ports):
 *   FIFO    1f0h, 4 bytes, batched.  Reads give fake_byte(0), fake_byte(1)...;
 *           what is written is logged.  Every element counts.
 *   PLAIN   2f8h, 8 bytes, not batched, otherwise the same, with a sequence of its own.
 *   POSTED  3c0h, 4 bytes; writes are posted and logged
 *   SHADOW  3f6h, 1 byte, of the posted device; the word holds the last value written to POSTED
 *   FWCFG   511h, 1 byte, batched: reads give Q E M U over and over
 *   MMIO    FEDC0000h, 4096 bytes: reads give fake_byte(), writes are logged
 *
 * Counters are read with fake_get(); so is `writes` before the log is looked at.
 */
#ifndef CLEAVE_TESTS_FAKEDAEMON_H
#define CLEAVE_TESTS_FAKEDAEMON_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "ipc/link_daemon.h"
#include "vmm/vm.h"

enum { FAKE_FIFO = 0x1f0, FAKE_PLAIN = 0x2f8, FAKE_POSTED = 0x3c0, FAKE_SHADOW = 0x3f6, FAKE_FWCFG = 0x511 };
#define FAKE_MMIO	0xfedc0000ull
enum { FAKE_LOG = 65536 };

struct fake;
/* Called before a completion is posted: may change it, or post events.  False: post none. */
typedef bool fake_twist(struct fake *, const struct link_req *, struct link_comp *);

struct fake {
	struct link link;
	pthread_t thread;
	uint32_t stop;
	uint64_t events;		/* the newest event's sequence number */

	/* rules: set with store_release() */
	uint32_t hold;			/* answer nothing while it is set */
	uint32_t most;			/* elements of a batch that are done at once, 0: all */
	uint32_t lie;			/* added to what it says it has committed */
	/* The element (of all reads and writes) with this number, from 1, raises line 5 and ends its batch; 0: none. */
	uint64_t raise_at;
	fake_twist *twist;

	/* what the devices saw */
	uint64_t reads, writes;		/* elements of FIFO, PLAIN and MMIO; writes of POSTED */
	uint64_t requests, resets;
	uint64_t plain_reads;
	uint32_t nlog;
	uint8_t log[FAKE_LOG];		/* bytes written, in order */
};

/* The device's byte number i: no run of it looks like another. */
uint8_t fake_byte(uint64_t i);

/* Makes vm->link's next generation, with this daemon on the other end; its regions are announced and applied. */
void fake_start(struct fake *, struct vm *);
void fake_kill(struct fake *);		/* the process is gone, whatever it was doing */
void fake_stop(struct fake *);		/* fake_kill(), and frees */
/* One request on the control channel, waited for: 0, -ENXIO, -ETIMEDOUT, -EPIPE. */
int fake_control(struct vm *, unsigned kind, uint64_t addr, uint64_t value, int64_t timeout_ns);
void fake_event(struct fake *, struct link_event);	/* from twist(); numbers it */
uint64_t fake_get(const uint64_t *);
/* As if nothing had been read or written, and no rule; no request is in flight. */
void fake_forget(struct fake *);

#endif
