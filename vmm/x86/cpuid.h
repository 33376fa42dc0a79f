/*
 * vmm/x86/cpuid.h - what CPUID tells: exactly what works.  SDM vol. 2 CPUID.
 */
#ifndef CLEAVE_VMM_X86_CPUID_H
#define CLEAVE_VMM_X86_CPUID_H

#include <stdint.h>

struct x86_cpuid {
	uint32_t eax, ebx, ecx, edx;
};

/* Family 6, model 8, stepping 1: also EDX after reset. */
#define X86_SIGNATURE	0x00000681u

/* Addresses, leaf 80000008h. */
enum { X86_PHYS_BITS = 40, X86_LINEAR_BITS = 48 };

/* Leaf 1, EDX */
#define X86_FEATURE_DE		(1u << 2)
#define X86_FEATURE_PSE		(1u << 3)
#define X86_FEATURE_TSC		(1u << 4)
#define X86_FEATURE_MSR		(1u << 5)
#define X86_FEATURE_CX8		(1u << 8)
#define X86_FEATURE_PGE		(1u << 13)
#define X86_FEATURE_CMOV	(1u << 15)

/* Those that depend on a machine's APIC are set by vmm/apic.c. */
#define X86_FEATURE_APIC	(1u << 9)
#define X86_FEATURE_HTT		(1u << 28)
/* Leaf 1, ECX */
#define X86_FEATURE_X2APIC	(1u << 21)
#define X86_FEATURE_TSC_DEADLINE (1u << 24)
/* Leaf 6, EAX */
#define X86_FEATURE_ARAT	(1u << 2)	/* the APIC timer runs in every sleep state */

struct x86_cpuid x86_cpuid(uint32_t leaf, uint32_t subleaf);

#endif
