/*
 * vmm/apic.h - what an engine asks of its vCPU's local APIC: MSRs, CR8, CPUID.
 *
 * The registers in memory need no call: inout finds them by vcpu->apic_page.
 * A vCPU without a local APIC (vcpu->lapic NULL) has none of this: no MSR, no
 * CPUID bit, a CR8 that keeps nothing.
 *
 * Thread: the vCPU's own, or any while it is parked.  Takes vm->dev_lock.
 */
#ifndef CLEAVE_VMM_APIC_H
#define CLEAVE_VMM_APIC_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;
struct x86_cpuid;

/* IA32_APIC_BASE, IA32_TSC_DEADLINE, 800h-8FFh. */
bool apic_has_msr(uint32_t index);
/* Of those.  `tsc` is the guest's, now.  False: #GP. */
bool apic_msr_read(struct vcpu *, uint32_t index, uint64_t *val);
bool apic_msr_write(struct vcpu *, uint32_t index, uint64_t val, uint64_t tsc);
/* The guest has moved its TSC to `tsc`: a deadline is nearer or farther now. */
void apic_tsc_moved(struct vcpu *, uint64_t tsc);

/* CR8, the upper half of the task priority: 0 to 15. */
uint8_t apic_cr8(const struct vcpu *);
void apic_set_cr8(struct vcpu *, uint8_t val);

/* Leaves 1, 6, 0Bh, 15h and 16h: what of them the APIC and its clock decide is put into *r; `max` is leaf 0's EAX. */
void apic_cpuid(const struct vcpu *, uint32_t leaf, uint32_t subleaf, uint32_t max, struct x86_cpuid *r);

#endif
