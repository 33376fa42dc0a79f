/*
 * vmm/engine.h - the only thing that the rest of the VMM knows of an engine.
 *
 * An engine runs one vCPU on the calling thread until something outside the
 * processor must be done.  soft/ and kvm/ each export one table.
 *
 * Who has the interrupt controllers: vmm/dev's, unless the engine's vm_new()
 * sets vm->irqchip (vmm/irq.h); then INTR, HLT and the local APIC are the
 * engine's, and run() returns EXIT_HLT never.
 */
#ifndef CLEAVE_VMM_ENGINE_H
#define CLEAVE_VMM_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "vmm/x86/state.h"

struct vm;
struct vcpu;

enum vcpu_exit {
	EXIT_KICKED,		/* vcpu->kick was set: pause, stop, events */
	EXIT_PENDING,		/* an access waits for the device model (vmm/inout.h); run again to resume it */
	EXIT_HLT,		/* halted, interrupts may wake it */
	EXIT_HLT_FOREVER,	/* halted with IF=0: only NMI, SMI, INIT */
	EXIT_MWAIT,		/* idle, for a short time at most: interrupts end it */
	EXIT_TRIPLE_FAULT,
	EXIT_ERROR,		/* engine failure; vcpu->error says why */
	EXIT_DEBUG,		/* stopped for the debugger: vcpu->debug.why */
	EXIT_COUNT
};

struct engine_doorbell {
	uint64_t addr, data;
	unsigned size;			/* 0: any */
	bool mmio, match;		/* match: only writes of `data` */
	int fd;				/* an eventfd */
};

struct engine_ops {
	const char *name;
	int (*vm_new)(struct vm *, char *err, size_t errlen);	/* before vCPUs and devices; -errno, and what -o settings it cannot do */
	void (*vm_free)(struct vm *);			/* after them; NULL: nothing to free */
	int (*vcpu_new)(struct vcpu *);			/* 0 or -errno */
	void (*vcpu_free)(struct vcpu *);
	void (*reset)(struct vcpu *);			/* SDM vol. 3 table 9-1, power-up state */
	enum vcpu_exit (*run)(struct vcpu *);		/* vCPU's thread; no lock held */

	/* vCPU stopped on an instruction boundary with no access pending; control thread. */
	void (*get_state)(struct vcpu *, struct x86_state *);
	int (*set_state)(struct vcpu *, const struct x86_state *);	/* -EINVAL: a state that no processor can hold */
	int (*translate)(struct vcpu *, uint64_t linear, uint64_t *gpa);	/* -EFAULT: not mapped */
	int (*debug_changed)(struct vcpu *);		/* vcpu->debug has other breakpoints or watchpoints; -ENOSPC: too many */
	void (*inject_nmi)(struct vcpu *);		/* any thread */
	/*
	 * Any thread, also in a signal handler: kick, intr or nmi has changed, and
	 * run() is to look at it.  NULL: it looks between instructions.
	 */
	void (*poke)(struct vcpu *);

	/* Any thread; effective before the vCPU enters another block. */
	void (*code_changed)(struct vm *, uint64_t gpa, uint64_t len);
	/*
	 * vm->code_bytes is another memory: the pages of decoded code are to be marked
	 * there too.  Every vCPU is parked.  NULL: there are none.
	 */
	void (*mark_code)(struct vm *);
	void (*map_changed)(struct vm *);
	void (*a20)(struct vm *, bool on);
	/*
	 * The kernel is to answer writes of this doorbell by itself, counting up
	 * `fd`, or no longer to.  -errno: it cannot.  Any thread.  NULL: no kernel.
	 */
	int (*doorbell)(struct vm *, const struct engine_doorbell *, bool on);
	uint64_t (*instructions)(const struct vcpu *);	/* retired, for statistics; 0: not counted */
	/* Counters of its own, of one vCPU or with cpu < 0 of all; and what a reader wants of them.  Any thread.  NULL: none. */
	void (*report)(struct vm *, int cpu, void (*each)(void *arg, const char *name, uint64_t value), void *arg);
	void (*summary)(struct vm *, FILE *);
};

/*
 * engine.c: the engine that vm->config asks for is made for this machine:
 * vm->engine, and with `auto` vm->engine_why.  -errno, and the cause and the
 * cure in `err`.
 */
int engine_choose(struct vm *, char *err, size_t errlen);

extern const struct engine_ops soft_engine;
extern const struct engine_ops kvm_engine;

#endif
