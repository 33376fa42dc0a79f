/*
 * vmm/vm.h - one virtual machine, as the engine process holds it.
 *
 * Threads of the process:
 *   main     libevent: control server, character relay, supervisor, signals
 *   events   libevent: drains the event ring, runs the timers of in-engine
 *            devices; never waits for the device model
 *   vCPU n   vcpu.c's loop
 *
 * Locks, in the order in which they nest:
 *   state_lock   life cycle: pause, reset, destroy (main and control)
 *   dev_lock     in-engine devices, interrupt controllers, bus and memory-map
 *                changes; held for a few hundred instructions at most, never
 *                over a wait
 */
#ifndef CLEAVE_VMM_VM_H
#define CLEAVE_VMM_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/vcpu.h"

struct mem;
struct bus;
struct ledger;
struct link_client;
struct timers;
struct pic;
struct pit;
struct rtc;
struct pmtimer;
struct apics;
struct ioapic;
struct hpet;
struct devs;
struct config;
struct event;
struct event_base;
struct supervise;
struct relay;
struct control;
struct boot;
struct calls;
struct irqchip_ops;

/*
 * What the vCPU threads may do.  The main thread sets it and waits until every
 * vCPU is parked; they stand on an instruction boundary then.
 */
enum vm_gate {
	GATE_OPEN,		/* run */
	GATE_PAUSE,		/* park once no access is pending: registers can be read and set */
	GATE_STOP,		/* park at once, an access may be pending: it is about to be discarded */
	GATE_END,		/* leave the thread */
};

/* From an in-engine device, an event or a vCPU. */
enum vm_request {
	VM_REQUEST_NONE,
	VM_REQUEST_RESET,
	VM_REQUEST_POWEROFF,	/* status 0 */
	VM_REQUEST_EXIT,	/* arg: the guest's exit value */
	VM_REQUEST_PANIC,	/* the guest says that it has crashed (pvpanic) */
	VM_REQUEST_HALT,	/* HLT with interrupts off; status 2 */
	VM_REQUEST_TRIPLE_FAULT,	/* status 3 */
	VM_REQUEST_ERROR,	/* why: cause and cure; status 1 */
};

/* Exit status of the process. */
enum { STATUS_POWEROFF = 0, STATUS_ERROR = 1, STATUS_HALT = 2, STATUS_TRIPLE_FAULT = 3 };

struct vm {
	char name[64];
	const struct config *config;
	struct mem *mem;
	struct boot *boot;		/* vmm/boot/boot.h; NULL: firmware starts */
	struct bus *bus;
	const struct engine_ops *engine;	/* of every vCPU */
	void *engine_vm;		/* its own, for the whole machine */
	const struct irqchip_ops *irqchip;	/* vmm/irq.h: the engine has interrupt controllers; NULL: vmm/dev's */
	char engine_why[200];		/* engine=auto: why it is this one */
	struct link_client *link;	/* vmm/link.h */
	struct calls *calls;		/* vmm/calls.h */
	struct ledger *ledger;		/* vmm/ledger.h */
	struct timers *timers;		/* vmm/timer.h */
	pthread_mutex_t state_lock, dev_lock;

	/* in-engine devices (vmm/dev/), under dev_lock */
	struct pic *pic;
	struct pit *pit;
	struct rtc *rtc;
	struct pmtimer *pmtimer;
	struct apics *apics;		/* NULL, and no I/O APIC: x86.apic=off */
	struct ioapic *ioapic;
	struct hpet *hpet;
	struct devs *devs;		/* what joins them: vmm/dev/devs.c */

	/*
	 * One byte for each page of guest-physical memory that engines have decoded
	 * code from: the link's array, which the device model looks at after DMA.
	 * Set before a vCPU runs; NULL where there is no device model.
	 */
	uint8_t *code_bytes;
	uint64_t code_pages;

	unsigned nvcpus;
	struct vcpu *vcpu;		/* nvcpus of them */

	/* the rest is vm.c's and its neighbours'; main thread unless said otherwise */
	struct event_base *base;	/* main's */
	struct event_base *events_base;	/* the events thread's */
	struct event *link_event;	/* in it: the link's event ring */
	struct event *events_stop;
	pthread_t events_thread;
	bool events_running;
	struct supervise *supervise;
	struct relay *relay;
	struct control *control;
	struct event *debug_event;	/* a vCPU has stopped for the debugger; NULL: there is none */

	pthread_mutex_t gate_lock;	/* innermost */
	pthread_cond_t gate_moved;
	_Atomic uint32_t gate;		/* enum vm_gate; written under gate_lock */

	_Atomic int64_t clock_offset;	/* vm clock = CLOCK_MONOTONIC + offset */
	_Atomic int64_t clock_stands;	/* its value while it stands, -1 while it runs */

	pthread_mutex_t request_lock;
	struct event *request_event;
	enum vm_request request;
	unsigned request_arg;
	char request_why[240];

	bool resetting;			/* the device model has not done its part yet */
	bool paused;			/* by the user */
	bool ended;
	int status;			/* of the process, once the loop has ended */
	uint64_t resets;
};

/* ns on the VM's clock: CLOCK_MONOTONIC less the time spent paused.  Any thread. */
uint64_t vm_now(const struct vm *);

/* Any thread.  vCPUs stop at their next instruction boundary; the main thread acts upon it then.  The first holds. */
void vm_request(struct vm *, enum vm_request, unsigned arg, const char *why);

/* vCPU thread: it has stopped for the debugger.  All others stop too. */
void vm_debug_stop(struct vm *);

/*
 * Main thread from here on.  Errors: -errno, the cause and the cure in `err`.
 *
 * vm_new() makes memory, devices, vCPUs and both event bases, and starts no
 * thread.  vm_start() needs an accepted link
 * (supervise.h) and starts them.
 */
int vm_new(struct vm **, const struct config *, struct event_base *, char *err, size_t errlen);
int vm_start(struct vm *, char *err, size_t errlen);
void vm_stop(struct vm *);		/* threads end; nothing is freed */
void vm_free(struct vm *);

/*
 * Parks all vCPUs, where they can be looked at, and keeps the caller for some
 * milliseconds at most.  *since is 0 at first.  -EAGAIN: the gate is as it was,
 * to be called again soon; -ETIMEDOUT.  One that waits for a device model that
 * does not answer is in the middle of an access afterwards (inout_active()): its
 * registers must not be set.
 */
int vm_rest(struct vm *, int64_t *since);
/* Parks all vCPUs wherever they are; -ETIMEDOUT (and open again) when one does not come to rest. */
int vm_stop_all(struct vm *);
/* The gate that belongs to the VM's state: open, or shut when it is paused, has ended or waits for a request. */
void vm_unpark(struct vm *);

/*
 * Between these two every vCPU stands outside of its engine's run() and of the
 * link; a pause, a debugger's stop, a request hold as before.  -ETIMEDOUT.
 */
int vm_hold(struct vm *, enum vm_gate *was);
void vm_release(struct vm *, enum vm_gate was);
/* The events thread listens to the present link, or (`on` false) to none.  -ENOMEM. */
int vm_watch_link(struct vm *, bool on);
/* A new device model serves. */
void vm_taken_over(struct vm *);

void vm_stand(struct vm *);		/* after vm_rest(): paused from now on, vCPUs and clock stand; the device model is told */
int vm_pause(struct vm *);		/* the two together, which takes a moment; -ETIMEDOUT */
void vm_resume(struct vm *);
void vm_end(struct vm *, int status);	/* ->ended: the main loop is left */

#endif
