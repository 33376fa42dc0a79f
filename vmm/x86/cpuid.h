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

/* Leaf 1, EDX */
#define X86_FEATURE_DE		(1u << 2)
#define X86_FEATURE_PSE		(1u << 3)
#define X86_FEATURE_TSC		(1u << 4)
#define X86_FEATURE_MSR		(1u << 5)
#define X86_FEATURE_CX8		(1u << 8)
#define X86_FEATURE_PGE		(1u << 13)
#define X86_FEATURE_CMOV	(1u << 15)

struct x86_cpuid x86_cpuid(uint32_t leaf, uint32_t subleaf);

#endif
