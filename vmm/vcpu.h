/*
 * vmm/vcpu.h - one virtual processor: its thread, its engine, its access slot.
 *
 * Fields are grouped by who writes them.  The run loop (vcpu.c) is the only
 * caller of engine->run().
 */
#ifndef CLEAVE_VMM_VCPU_H
#define CLEAVE_VMM_VCPU_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "vmm/engine.h"

struct vm;
struct inout;
struct lapic;
struct bus_handler;

/*
 * What the debugger wants of a vCPU.  The guest sees nothing of it: neither its
 * memory nor its debug registers are used.  Addresses are linear.  Written
 * while the vCPU is parked, `why`, `hit` and `pass` by the engine.
 */
enum { DEBUG_BREAKS = 64, DEBUG_WATCHES = 16 };
enum vcpu_stop { STOP_NONE, STOP_BREAK, STOP_STEP, STOP_WATCH };

struct vcpu_watch {
	uint64_t at, len;
	bool read, write;
};

struct vcpu_debug {
	bool step;		/* stop after one instruction; interrupts wait */
	bool pass;		/* the breakpoint at hand has been told of: go past it */
	unsigned nbreaks, nwatches;
	uint64_t at[DEBUG_BREAKS];
	struct vcpu_watch watch[DEBUG_WATCHES];
	enum vcpu_stop why;
	bool watched;		/* a watchpoint was hit in this instruction: at `hit` */
	uint64_t hit;
};

/*
 * Words by which an engine finds out that anything was raised: each is its own
 * until that sets all of them to `disturbed`.  The engine sets them again
 * before it reads what was raised.
 */
enum { CALM_WORDS = 4 };
struct calm {
	_Atomic uint64_t now[CALM_WORDS];
	uint64_t disturbed[CALM_WORDS];	/* set once */
};

struct vcpu {
	/* set once */
	struct vm *vm;
	unsigned id;
	const struct engine_ops *engine;
	void *engine_state;		/* the engine's own */
	struct calm *calm;		/* the engine's too; NULL: it has none */
	struct inout *inout;		/* vmm/inout.c's own: request state, slot, log, statistics */
	struct lapic *lapic;		/* vmm/apic.h; NULL: none */
	pthread_t thread;

	/*
	 * Written by any thread, read by the engine between instructions (one
	 * relaxed load each at every block's end):
	 *   kick  leave run() at the next boundary (pause, stop, map change); the
	 *         futex word on which a halted or waiting vCPU sleeps.  Counted up,
	 *         never cleared: the engine returns when it differs from kick_seen.
	 *   intr  an interrupt controller asserts INTR
	 *   nmi   an NMI is latched
	 * Written by vcpu_raise_*() alone.
	 */
	_Alignas(64) _Atomic uint32_t kick;
	_Atomic uint32_t intr;
	_Atomic uint32_t nmi;
	_Atomic uint32_t halted;	/* sleeps in HLT: whoever raises intr/nmi must vcpu_wake() */

	/* vCPU thread only */
	_Alignas(64) uint32_t kick_seen;
	struct vcpu_debug debug;
	char error[160];		/* with EXIT_ERROR */
	/* The local APIC's registers in memory, which no other processor sees; NULL: not there. Changes under vm->dev_lock. */
	const struct bus_handler *apic_page;

	/* vm->gate_lock */
	bool parked;			/* at the gate */
	bool stopped;			/* waits for a reset: halted for ever, triple fault, error */
	bool running;			/* there is a thread */

	/* counters: written by the vCPU's thread, read by any */
	_Atomic uint64_t exits[EXIT_COUNT];
	_Atomic uint64_t instructions;	/* retired until the last exit */
};

/*
 * Any thread.  What is raised is there before calm is gone: an engine that finds it gone, and sets it, finds what was
 * raised; one that looked too early finds it gone again.  Who waits for the vCPU to see it calls vcpu_kick() or _wake().
 */
static inline void vcpu_disturb(struct vcpu *v)
{
	for (unsigned i = 0; v->calm && i < CALM_WORDS; i++)
		atomic_store_explicit(&v->calm->now[i], v->calm->disturbed[i], memory_order_release);
}

static inline void vcpu_raise_kick(struct vcpu *v)
{
	atomic_fetch_add_explicit(&v->kick, 1, memory_order_seq_cst);
	vcpu_disturb(v);
}

static inline void vcpu_raise_nmi(struct vcpu *v)
{
	atomic_store_explicit(&v->nmi, 1, memory_order_seq_cst);
	vcpu_disturb(v);
}

static inline void vcpu_raise_intr(struct vcpu *v, bool level)
{
	atomic_store_explicit(&v->intr, level, memory_order_seq_cst);
	if (level)
		vcpu_disturb(v);
}

/* Any thread.  Makes run() return EXIT_KICKED soon, and wakes a sleeper. */
void vcpu_kick(struct vcpu *);
/* Any thread.  After intr or nmi was set: wakes a vCPU that sleeps in HLT, tells an engine that would not see it; else cheap. */
void vcpu_wake(struct vcpu *);

/* Main thread. */
int vcpu_start(struct vcpu *);		/* its thread, which stands at the gate first; -errno */
void vcpu_join(struct vcpu *);		/* after GATE_END */

/* vCPU's thread: sleeps until nmi, a kick, or, unless `deaf` (IF=0), intr. */
void vcpu_halt(struct vcpu *, bool deaf);
/* vCPU's thread: as vcpu_halt(, false), but for 10 ms at most. */
void vcpu_nap(struct vcpu *);
/* vCPU's thread: sleeps until a kick. */
void vcpu_doze(struct vcpu *);
/* vCPU's thread: does not run again before vcpu_release() (a reset). */
void vcpu_stop(struct vcpu *);
void vcpu_release(struct vcpu *);	/* main thread, vCPU parked */

/* exit.c: what each exit of the engine means to the VM. */
extern const char *const exit_names[EXIT_COUNT];
void exit_handle(struct vcpu *, enum vcpu_exit);

#endif
