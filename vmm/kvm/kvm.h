/*
 * vmm/kvm/kvm.h - the KVM engine's own structures.  Nothing outside of
 * vmm/kvm/ includes it, tests of it apart.
 *
 * One machine has one struct kvm_vm (vm->engine_vm) and, for each vCPU, one
 * struct kvm_cpu (vcpu->engine_state).  Linux, Documentation/virt/kvm/api.rst.
 *
 * What userspace owes the kernel between two KVM_RUNs:
 *
 *      open        the exit's data are not all there yet (an access waits for
 *                  the device model); `done` elements or bytes are
 *      unfinished  the data are there, the kernel has not taken them: it does
 *                  so at the start of the next KVM_RUN.  Until then registers
 *                  are neither read nor set.
 */
#ifndef CLEAVE_VMM_KVM_H
#define CLEAVE_VMM_KVM_H

#include <linux/kvm.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/vcpu.h"

struct vm;

int kvm_ioctl(int fd, unsigned long request, unsigned long value);
#define KVM_IOCTL(fd, request, pointer)	kvm_ioctl(fd, request, (unsigned long)(uintptr_t)(pointer))

/* ---- memory slots: slots.c */

enum { KVM_SLOTS = 512, KVM_A20 = 1 << 20 };

struct kvm_slot {
	uint64_t gpa, len;		/* len 0: free */
	uint8_t *host;
	bool readonly;
};

struct kvm_vm {
	struct vm *vm;
	int dev, fd;			/* /dev/kvm, the machine */
	bool chip;			/* interrupt controllers are the kernel's */
	_Atomic bool a20;
	/* the vCPU's thread, or main while it is parked */
	bool slots_valid, slots_a20;
	uint32_t map_gen;
	struct kvm_slot slot[KVM_SLOTS];
	struct kvm_cpuid2 *cpuid;	/* what the guest is told */
	struct kvm_irqchip chips[3];	/* at power-on */
	struct kvm_msr_list *msrs;	/* what belongs to a vCPU's state */
};

/* Makes the kernel's slots what the map says now; -errno with vcpu->error set. */
int kvm_slots_follow(struct kvm_vm *, struct vcpu *);

/* ---- one vCPU */

struct kvm_cpu {
	struct vcpu *vcpu;
	struct kvm_vm *kvm;
	int fd;
	struct kvm_run *run;
	size_t run_bytes;
	_Atomic pid_t in_run;		/* thread that is in KVM_RUN, or about to be; 0: none */
	bool open, unfinished;
	unsigned done, asked;
	bool halted;			/* without the kernel's controllers: since KVM_EXIT_HLT */
	struct timer *watch;		/* with them */
	_Atomic bool look;		/* at whether it sleeps for ever */
	bool ready;			/* run->ready_for_interrupt_injection and ->if_flag hold */
	uint64_t tsc_read;		/* as get_state() gave it */
	struct kvm_guest_debug debug;	/* as the kernel has it */
	struct kvm_power_on *power_on;
};

static inline struct kvm_cpu *kvm_cpu_of(const struct vcpu *v)
{
	return v->engine_state;
}

/* ---- interrupt controllers of the kernel: chip.c */

int kvm_chip_new(struct kvm_vm *, char *err, size_t errlen);	/* -errno; kvm->chip when they are made */

/* ---- exits: exits.c */

/* Fills in what the guest's access wants; false: it waits for the device model (k->open). */
bool kvm_serve(struct kvm_cpu *);

/* ---- state: state.c */

bool kvm_is_halted(const struct kvm_cpu *);

int kvm_power_on_new(struct kvm_cpu *);		/* remembers the state of a new vCPU; -errno with vcpu->error */
void kvm_power_on_free(struct kvm_cpu *);
void kvm_reset(struct vcpu *);
void kvm_get_state(struct vcpu *, struct x86_state *);
int kvm_set_state(struct vcpu *, const struct x86_state *);
int kvm_translate(struct vcpu *, uint64_t linear, uint64_t *gpa);

/* ---- the debugger: debug.c */

int kvm_debug_changed(struct vcpu *);
int kvm_debug_apply(struct kvm_cpu *);		/* before the guest is entered */
bool kvm_debug_stops(struct kvm_cpu *);		/* KVM_EXIT_DEBUG: vcpu->debug.why is set; false: only a step of ours */

/* ---- CPUID: cpuid.c */

int kvm_cpuid_new(struct kvm_vm *, char *err, size_t errlen);
int kvm_cpuid_set(struct kvm_cpu *);

#endif
