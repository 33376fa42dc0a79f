/*
 * vmm/inout.h - one vCPU's access to a port or to device memory.
 *
 *   NONE --no in-engine handler--> PENDING --valid completion--> DONE --re-run consumes--> NONE
 *                                     |                            |
 *                                     +-- reset / discard ---------+--> NONE
 *
 * An engine asks for an access; the answer is IO_OK (done, the data are in the
 * caller's buffer) or IO_WAIT (leave the instruction unretired, return
 * EXIT_PENDING; run the same instruction again when the vCPU is entered next).
 * The data of a completion live in the vCPU's private slot until the re-run
 * takes them: they never pass through a guest register (illumos 13286).
 *
 * An instruction that makes several accesses (a MOVS between devices, a load
 * that crosses pages) numbers them by the order in which it asks; the log keeps
 * finished reads until inout_retire(), so that the re-run makes no access twice.
 * RAM is stored to only after every device access of the instruction is done.
 *
 * Thread: the vCPU's own, unless it says otherwise.
 */
#ifndef CLEAVE_VMM_INOUT_H
#define CLEAVE_VMM_INOUT_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;
struct vcpu_stats;

enum io_result { IO_OK, IO_WAIT };
enum io_state { IO_NONE, IO_PENDING, IO_DONE };

enum {
	INOUT_LOG = 64,		/* device accesses of one instruction; further ones read all ones and write nothing */
	INOUT_HELD = 256,	/* bytes for the engine beside them */
};

#define INOUT_NO_MEM	UINT64_MAX	/* `linear` of IN and OUT */

/*
 * The order in which an access finds its answer: the log (a re-run), a handler
 * in the engine, a shadow register, nobody, a doorbell, a posted write; else a
 * request.
 *
 * `count` elements of `size` bytes (1, 2, 4) at one port, to or from `data`
 * (at most a page, and at most inout_batch_limit()).  `linear` is the memory
 * operand's linear address, or INOUT_NO_MEM; it is part of the request's
 * identity.  *done: elements finished, at least one, possibly fewer than `count`.
 */
enum io_result inout_in(struct vcpu *, uint16_t port, unsigned size, unsigned count, uint64_t linear, void *data, unsigned *done);
enum io_result inout_out(struct vcpu *, uint16_t port, unsigned size, unsigned count, uint64_t linear, const void *data, unsigned *done);

/* How many elements one request to this port may carry: 1 unless its device declares it batchable. */
unsigned inout_batch_limit(struct vcpu *, uint16_t port, unsigned size, bool in);

/* Device memory.  `size` 1, 2, 4 or 8, not crossing a page. */
enum io_result inout_mmio_read(struct vcpu *, uint64_t gpa, unsigned size, uint64_t *value);
enum io_result inout_mmio_write(struct vcpu *, uint64_t gpa, unsigned size, uint64_t value);

/* True while this instruction has made or awaits a device access: the engine takes no interrupt, NMI or #DB. */
bool inout_active(const struct vcpu *);
/* The instruction is run again from its start (after IO_WAIT that is so already). */
void inout_rerun(struct vcpu *);
/* The instruction (or REP element) has retired or faulted: forget its accesses. */
void inout_retire(struct vcpu *);
/* Reset or destroy: forget the request too; a completion that still comes is stale and is dropped. Counted.  vCPU stopped. */
void inout_discard(struct vcpu *);

/*
 * INOUT_HELD bytes, aligned, for what the engine must find again when it runs
 * the instruction again (the translation that an INS probed).  The engine's own;
 * only inout_discard() zeroes them.
 */
void *inout_held(struct vcpu *);

/* ---- the vCPU's loop, after EXIT_PENDING */

enum inout_wait {
	INOUT_READY,		/* run the engine again */
	INOUT_KICKED,		/* vcpu->kick differs from kick_seen; the request stays */
	INOUT_LOST,		/* no device model: the request stays, and is posted again to a successor.  Not so where
				 * the device is not waited for: then its answer is all ones (READY) */
	INOUT_WAITS
};

/* Spins, then sleeps, until the completion of the pending request is in the slot. */
enum inout_wait inout_wait(struct vcpu *);
enum io_state inout_state(const struct vcpu *);

/* Any thread may read them (vmm/stats.h). */
struct vcpu_stats *inout_stats(struct vcpu *);

int inout_new(struct vcpu *);		/* vcpu->inout; 0 or -ENOMEM */
void inout_free(struct vcpu *);

#endif
