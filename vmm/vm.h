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
#include <stdbool.h>
#include <stdint.h>

#include "vmm/vcpu.h"

struct mem;
struct bus;
struct link_client;
struct timers;
struct pic;
struct pit;
struct rtc;
struct pmtimer;
struct config;

struct vm {
	char name[64];
	const struct config *config;
	struct mem *mem;
	struct bus *bus;
	struct link_client *link;	/* vmm/link.h */
	struct timers *timers;		/* vmm/timer.h */
	pthread_mutex_t state_lock, dev_lock;

	/* in-engine devices (vmm/dev/), under dev_lock */
	struct pic *pic;
	struct pit *pit;
	struct rtc *rtc;
	struct pmtimer *pmtimer;

	/*
	 * One byte for each page of guest-physical memory that engines have decoded
	 * code from: the link's array, which the device model looks at after DMA.
	 * Set before a vCPU runs; NULL where there is no device model.
	 */
	uint8_t *code_bytes;
	uint64_t code_pages;

	unsigned nvcpus;
	struct vcpu *vcpu;		/* nvcpus of them */
};

/* ns on the VM's clock: CLOCK_MONOTONIC less the time spent paused.  Any thread. */
uint64_t vm_now(const struct vm *);

/* From an in-engine device or an event; any thread.  Acted upon by the main thread, the vCPUs stopped first. */
enum vm_request { VM_REQUEST_RESET, VM_REQUEST_POWEROFF, VM_REQUEST_EXIT, VM_REQUEST_PANIC };
void vm_request(struct vm *, enum vm_request, unsigned arg, const char *why);

#endif
