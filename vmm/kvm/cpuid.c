/*
 * vmm/kvm/cpuid.c - what CPUID tells the guest: what the kernel supports, less
 * what -o cpu= leaves out, and what this machine decides.
 *
 * A level of the psABI leaves only the features that vmm/x86/cpuid.c knows for
 * it; `host` passes all that the kernel offers, nested virtualization apart.
 * With interrupt controllers of our own there is neither x2APIC nor the TSC
 * deadline, nor what the kernel offers by its local APIC.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/config.h"
#include "vmm/kvm/kvm.h"
#include "vmm/vm.h"
#include "vmm/x86/cpuid.h"

enum { ENTRIES = 256, LEAF_KVM = 0x40000000 };

#define FEATURE_VMX	(1u << 5)	/* leaf 1, ECX */
#define FEATURE_SVM	(1u << 2)	/* leaf 80000001h, ECX */
#define FEATURE_HYPERVISOR (1u << 31)	/* leaf 1, ECX */

static int ask(const struct kvm_vm *kvm, struct kvm_cpuid2 **out)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof(*c) + ENTRIES * sizeof(c->entries[0]));
	int ret;

	*out = c;
	if (!c)
		return -ENOMEM;
	c->nent = ENTRIES;
	ret = KVM_IOCTL(kvm->dev, KVM_GET_SUPPORTED_CPUID, c);
	return ret < 0 ? ret : 0;
}

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *c, uint32_t leaf)
{
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf && !c->entries[i].index)
			return &c->entries[i];
	return NULL;
}

/* Every feature of the level is there. */
static bool has_level(struct kvm_cpuid2 *c, unsigned level)
{
	static const uint32_t leaves[] = { 1, 7, 0x80000001 };

	for (unsigned i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++) {
		struct x86_cpuid need = x86_level_features(level, leaves[i], true);
		const struct kvm_cpuid_entry2 *e = find(c, leaves[i]);

		if (!e || (need.eax & ~e->eax) || (need.ebx & ~e->ebx) || (need.ecx & ~e->ecx) || (need.edx & ~e->edx))
			return false;
	}
	return true;
}

static void limit(struct kvm_cpuid_entry2 *e, unsigned level)
{
	struct x86_cpuid may = x86_level_features(level, e->function, false);

	if (e->function == 1) {		/* the machine's, not the processor's */
		may.ecx |= X86_FEATURE_X2APIC | X86_FEATURE_TSC_DEADLINE;
		may.edx |= X86_FEATURE_APIC;
	}
	e->ebx &= may.ebx;
	e->ecx &= may.ecx;
	e->edx &= may.edx;
}

static void apply_level(struct kvm_cpuid2 *c, unsigned level)
{
	for (unsigned i = 0; i < c->nent; i++) {
		struct kvm_cpuid_entry2 *e = &c->entries[i];
		uint32_t ebx = e->ebx;

		if (e->function != 1 && e->function != 7 && e->function != 0x80000001)
			continue;
		if (e->index) {		/* leaf 7 has more subleaves; none of a level's */
			e->eax = e->ebx = e->ecx = e->edx = 0;
			continue;
		}
		limit(e, level);
		if (e->function != 7)
			e->ebx = ebx;	/* no features */
	}
}

static void without_kernel_apic(struct kvm_cpuid2 *c)
{
	struct kvm_cpuid_entry2 *e = find(c, 1);
	unsigned n = 0;

	if (e)
		e->ecx &= ~(X86_FEATURE_X2APIC | X86_FEATURE_TSC_DEADLINE);
	for (unsigned i = 0; i < c->nent; i++)
		if (c->entries[i].function >> 8 != LEAF_KVM >> 8)
			c->entries[n++] = c->entries[i];
	c->nent = n;
}

/* One processor of one thread. */
static void shape(const struct kvm_vm *kvm, struct kvm_cpuid2 *c)
{
	const struct vm *vm = kvm->vm;
	struct kvm_cpuid_entry2 *e = find(c, 1);

	if (e) {
		e->ebx = (e->ebx & 0xff00) | (vm->nvcpus & 0xff) << 16;
		e->ecx = (e->ecx & ~FEATURE_VMX) | FEATURE_HYPERVISOR;
		e->edx &= ~X86_FEATURE_HTT;
		if (!kvm->chip && !vm->config->apic)
			e->edx &= ~X86_FEATURE_APIC;
	}
	e = find(c, 0x80000001);
	if (e)
		e->ecx &= ~FEATURE_SVM;
	e = find(c, 0x80000008);
	if (e)
		e->ecx = 0;		/* cores, and the bits of an APIC ID that count them */
}

int kvm_cpuid_new(struct kvm_vm *kvm, char *err, size_t errlen)
{
	unsigned level = kvm->vm->config->cpu;
	int ret = ask(kvm, &kvm->cpuid);

	if (ret) {
		snprintf(err, errlen, "KVM does not say what its processor is: %s", strerror(-ret));
		return ret;
	}
	if (level < X86_LEVEL_ALL && !has_level(kvm->cpuid, level)) {
		snprintf(err, errlen, "cpu=%s: KVM does not offer all of it on this host; take cpu=%s", x86_level_names[level],
			 x86_level_names[X86_LEVEL_ALL]);
		return -ENOTSUP;
	}
	if (level < X86_LEVEL_ALL)
		apply_level(kvm->cpuid, level);
	if (!kvm->chip)
		without_kernel_apic(kvm->cpuid);
	shape(kvm, kvm->cpuid);
	return 0;
}

int kvm_cpuid_set(struct kvm_cpu *k)
{
	struct kvm_cpuid2 *c = k->kvm->cpuid;
	struct kvm_cpuid_entry2 *e = find(c, 1);

	if (e)
		e->ebx = (e->ebx & 0xffffff) | k->vcpu->id << 24;
	e = find(c, 0xb);
	if (e)
		e->edx = k->vcpu->id;
	return KVM_IOCTL(k->fd, KVM_SET_CPUID2, c);
}
