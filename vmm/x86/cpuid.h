/*
 * vmm/x86/cpuid.h - what CPUID tells: exactly what works.  SDM vol. 2 CPUID.
 *
 * What a vCPU's local APIC and the state of its registers decide (APIC, OSXSAVE,
 * the size of what XCR0 has enabled, and their like) is not here.
 */
#ifndef CLEAVE_VMM_X86_CPUID_H
#define CLEAVE_VMM_X86_CPUID_H

#include <stdbool.h>
#include <stdint.h>

struct x86_cpuid {
	uint32_t eax, ebx, ecx, edx;
};

/*
 * How much of what works is told: instructions of a level of the x86-64 psABI,
 * or all of them.  System features are always there.
 */
enum x86_level { X86_LEVEL_V1, X86_LEVEL_V2, X86_LEVEL_V3, X86_LEVEL_ALL, X86_LEVELS };

extern const char *const x86_level_names[X86_LEVELS];	/* of -o cpu= */

/* Family 6, model 1Ch, stepping 10: also EDX after reset. */
#define X86_SIGNATURE	0x000106cau

/* Addresses, leaf 80000008h. */
enum { X86_PHYS_BITS = 40, X86_LINEAR_BITS = 48 };

/* Leaf 1, ECX: IA32_MISC_ENABLE may take it away */
#define X86_FEATURE_MONITOR	(1u << 3)
/* Leaf 1, ECX: CR4.OSXSAVE, and so the caller's */
#define X86_FEATURE_OSXSAVE	(1u << 27)

/* Those that depend on a machine's APIC are set by vmm/apic.c. */
#define X86_FEATURE_APIC	(1u << 9)
#define X86_FEATURE_HTT		(1u << 28)
/* Leaf 1, ECX */
#define X86_FEATURE_X2APIC	(1u << 21)
#define X86_FEATURE_TSC_DEADLINE (1u << 24)
/* Leaf 6, EAX */
#define X86_FEATURE_ARAT	(1u << 2)	/* the APIC timer runs in every sleep state */

struct x86_cpuid x86_cpuid(enum x86_level, uint32_t leaf, uint32_t subleaf);
/*
 * For an engine whose processor is another: the feature bits of a leaf that
 * exist up to a level, system features too, or only those that it must have.
 */
struct x86_cpuid x86_level_features(enum x86_level, uint32_t leaf, bool must);
/* The highest level of which nothing is missing here, or -1. */
int x86_level_complete(void);
/* CR4 and XCR0 bits that belong to what is told. */
uint64_t x86_cr4_bits(enum x86_level);
uint64_t x86_xcr0_bits(enum x86_level);
/* Of the XSAVE area with these components. */
uint32_t x86_xsave_bytes(uint64_t xcr0);

#endif
