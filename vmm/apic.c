/*
 * vmm/apic.c - a vCPU's local APIC, as an engine sees it.
 *
 * Owns which MSRs and CPUID bits are the APIC's.  SDM vol. 2 CPUID (leaves 01h,
 * 06h, 0Bh, 15h, 16h), vol. 3 section 10.8.6.1 (CR8), 11.4.4, 11.12.
 */
#include "vmm/apic.h"

#include "vmm/dev/lapic.h"
#include "vmm/dev/lapic_timer.h"
#include "vmm/tsc.h"
#include "vmm/vm.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/msr.h"

bool apic_has_msr(uint32_t index)
{
	return index == X86_MSR_APIC_BASE || index == X86_MSR_TSC_DEADLINE || index >> 8 == X86_MSR_X2APIC >> 8;
}

bool apic_msr_read(struct vcpu *v, uint32_t index, uint64_t *val)
{
	bool ok = true;

	if (!v->lapic)
		return false;
	pthread_mutex_lock(&v->vm->dev_lock);
	switch (index) {
	case X86_MSR_APIC_BASE:
		*val = lapic_base(v->lapic);
		break;
	case X86_MSR_TSC_DEADLINE:
		*val = lapic_deadline(v->lapic);
		break;
	default:
		ok = lapic_msr_read(v->lapic, index, val);
		break;
	}
	pthread_mutex_unlock(&v->vm->dev_lock);
	return ok;
}

bool apic_msr_write(struct vcpu *v, uint32_t index, uint64_t val, uint64_t tsc)
{
	bool ok = true;

	if (!v->lapic)
		return false;
	pthread_mutex_lock(&v->vm->dev_lock);
	switch (index) {
	case X86_MSR_APIC_BASE:
		ok = lapic_set_base(v->lapic, val);
		break;
	case X86_MSR_TSC_DEADLINE:
		lapic_set_deadline(v->lapic, val, tsc);
		break;
	default:
		ok = lapic_msr_write(v->lapic, index, val);
		break;
	}
	pthread_mutex_unlock(&v->vm->dev_lock);
	return ok;
}

void apic_tsc_moved(struct vcpu *v, uint64_t tsc)
{
	if (!v->lapic)
		return;
	pthread_mutex_lock(&v->vm->dev_lock);
	lapic_tsc_moved(v->lapic, tsc);
	pthread_mutex_unlock(&v->vm->dev_lock);
}

/* Only this thread writes it: no lock. */
uint8_t apic_cr8(const struct vcpu *v)
{
	return v->lapic ? lapic_cr8(v->lapic) : 0;
}

void apic_set_cr8(struct vcpu *v, uint8_t val)
{
	if (!v->lapic)
		return;
	pthread_mutex_lock(&v->vm->dev_lock);
	lapic_set_cr8(v->lapic, val);
	pthread_mutex_unlock(&v->vm->dev_lock);
}

/* ---- CPUID */

static void features(const struct vcpu *v, struct x86_cpuid *r)
{
	bool on = lapic_base(v->lapic) & APIC_BASE_EN;

	r->ebx = (r->ebx & 0xffff) | (v->vm->nvcpus & 0xff) << 16 | v->id << 24;
	r->ecx |= X86_FEATURE_X2APIC | X86_FEATURE_TSC_DEADLINE;
	if (on)		/* a local APIC that is switched off is not there */
		r->edx |= X86_FEATURE_APIC;
	if (v->vm->nvcpus > 1)
		r->edx |= X86_FEATURE_HTT;
}

/* Leaf 0Bh: one thread a core, all cores in one package. */
static void topology(const struct vcpu *v, uint32_t subleaf, struct x86_cpuid *r)
{
	enum { THREADS = 1, CORES = 2 };
	uint32_t bits = 0;

	while (1u << bits < v->vm->nvcpus)
		bits++;
	*r = (struct x86_cpuid){ .ecx = subleaf & 0xff, .edx = v->id };
	if (subleaf == 0) {
		r->ebx = 1;
		r->ecx |= THREADS << 8;
	} else if (subleaf == 1) {
		r->eax = bits;
		r->ebx = v->vm->nvcpus;
		r->ecx |= CORES << 8;
	}
}

/* Leaf 15h: TSC rate = crystal * EBX / EAX, in numbers small enough for 32-bit products of kHz. */
static void clock_ratio(struct x86_cpuid *r)
{
	const uint32_t max = UINT32_MAX / (LAPIC_TIMER_HZ / 1000);
	uint32_t n, d;

	tsc_ratio(tsc_hz(), LAPIC_TIMER_HZ, max, &n, &d);
	*r = (struct x86_cpuid){ .eax = d, .ebx = n, .ecx = LAPIC_TIMER_HZ };
}

void apic_cpuid(const struct vcpu *v, uint32_t leaf, uint32_t subleaf, uint32_t max, struct x86_cpuid *r)
{
	if (!v->lapic || leaf > max)
		return;
	switch (leaf) {
	case 0x01:
		features(v, r);
		break;
	case 0x06:
		r->eax |= X86_FEATURE_ARAT;
		break;
	case 0x0b:
		topology(v, subleaf, r);
		break;
	case 0x15:
		clock_ratio(r);
		break;
	case 0x16:	/* MHz: base, highest, bus */
		*r = (struct x86_cpuid){ .eax = tsc_hz() / 1000000, .ebx = tsc_hz() / 1000000, .ecx = LAPIC_TIMER_HZ / 1000000 };
		break;
	}
}
