/*
 * vmm/x86/cpuid.c - the processor that the soft engine is.
 *
 * One table ties each feature bit to what must be there for it: the extension
 * that its rows of opcodes.def belong to, which isa.c offers where the host has
 * what handlers use, and the control register bit that it brings.  A feature of
 * the engine itself is a row from the commit that completes it.
 *
 * Who it says it is.  The engine executes in order and speculates on nothing,
 * so none of the attacks on speculation work on the guest's processor.  The
 * in-order Atoms (family 6, model 1Ch) are what kernels have on their lists of
 * such processors: Linux leaves out every mitigation, page-table isolation and
 * retpolines among them, for GenuineIntel with this signature, and for no AMD
 * family of 64 bits.  ARCH_CAPABILITIES says the same to those that ask.  The
 * name in leaves 80000002h-4h is our own, and the hypervisor bit is set.
 *
 * SDM vol. 2 CPUID, vol. 4 IA32_ARCH_CAPABILITIES; x86-64 psABI, table 3.1.
 */
#include "vmm/x86/cpuid.h"

#include <pthread.h>
#include <string.h>

#include "vmm/x86/control.h"
#include "vmm/x86/fpu.h"
#include "vmm/x86/isa.h"

static const char brand[48] = "Cleave soft engine";

const char *const x86_level_names[X86_LEVELS] = {
	[X86_LEVEL_V1] = "x86-64-v1", [X86_LEVEL_V2] = "x86-64-v2", [X86_LEVEL_V3] = "x86-64-v3", [X86_LEVEL_ALL] = "host",
};

enum reg { EAX, EBX, ECX, EDX };

struct feature {
	uint32_t leaf;
	uint8_t reg, bit;		/* in the leaf's subleaf 0 */
	uint8_t level;			/* the lowest that tells it */
	uint8_t isa;			/* enum x86_isa, which must be offered */
	bool user;			/* the level's: programs count on it */
	uint64_t cr4;
};

#define SYSTEM(l, r, b, ...)	{ .leaf = l, .reg = r, .bit = b, .level = X86_LEVEL_V1, __VA_ARGS__ }
#define USER(lvl, l, r, b, i, ...)	{ .leaf = l, .reg = r, .bit = b, .level = X86_LEVEL_##lvl, .isa = X86_ISA_##i, .user = true, __VA_ARGS__ }

static const struct feature features[] = {
	USER(V1, 1, EDX, 0, FPU),
	SYSTEM(1, EDX, 2, .cr4 = X86_CR4_DE),
	SYSTEM(1, EDX, 3, .cr4 = X86_CR4_PSE),
	SYSTEM(1, EDX, 4, .cr4 = X86_CR4_TSD),
	SYSTEM(1, EDX, 5),				/* RDMSR, WRMSR */
	SYSTEM(1, EDX, 6, .cr4 = X86_CR4_PAE),
	SYSTEM(1, EDX, 7, .cr4 = X86_CR4_MCE),
	SYSTEM(1, EDX, 8),				/* CMPXCHG8B */
	SYSTEM(1, EDX, 11),				/* SYSENTER */
	SYSTEM(1, EDX, 12),				/* MTRR */
	SYSTEM(1, EDX, 13, .cr4 = X86_CR4_PGE),
	SYSTEM(1, EDX, 14),				/* machine check architecture, of no banks */
	SYSTEM(1, EDX, 15),				/* CMOV */
	SYSTEM(1, EDX, 16),				/* PAT */
	USER(V1, 1, EDX, 19, CLFLUSH),
	USER(V1, 1, EDX, 23, MMX),
	USER(V1, 1, EDX, 24, FXSR, .cr4 = X86_CR4_OSFXSR),
	USER(V1, 1, EDX, 25, SSE, .cr4 = X86_CR4_OSXMMEXCPT),
	USER(V1, 1, EDX, 26, SSE2),

	USER(V2, 1, ECX, 0, SSE3),
	USER(ALL, 1, ECX, 1, PCLMUL),
	SYSTEM(1, ECX, 3),				/* MONITOR, MWAIT */
	USER(V2, 1, ECX, 9, SSSE3),
	USER(V2, 1, ECX, 13, BASE),				/* CMPXCHG16B */
	SYSTEM(1, ECX, 17, .cr4 = X86_CR4_PCIDE),
	USER(V2, 1, ECX, 19, SSE41),
	USER(V2, 1, ECX, 20, SSE42),
	USER(V3, 1, ECX, 12, FMA),
	USER(V3, 1, ECX, 22, MOVBE),
	USER(V2, 1, ECX, 23, POPCNT),
	USER(ALL, 1, ECX, 25, AES),
	USER(V3, 1, ECX, 26, XSAVE, .cr4 = X86_CR4_OSXSAVE),
	USER(V3, 1, ECX, 28, AVX),
	USER(V3, 1, ECX, 29, F16C),
	USER(ALL, 1, ECX, 30, RDRAND),
	SYSTEM(1, ECX, 31),				/* there is a hypervisor */

	SYSTEM(7, EBX, 0, .cr4 = X86_CR4_FSGSBASE),
	SYSTEM(7, EBX, 1),				/* TSC_ADJUST */
	USER(V3, 7, EBX, 5, AVX2),
	USER(V3, 7, EBX, 3, BMI1),
	SYSTEM(7, EBX, 7, .cr4 = X86_CR4_SMEP),
	USER(V3, 7, EBX, 8, BMI2),
	SYSTEM(7, EBX, 9),				/* REP MOVSB is fast */
	SYSTEM(7, EBX, 10),				/* INVPCID */
	SYSTEM(7, EBX, 13),				/* x87's selectors are stored as 0 */
	USER(ALL, 7, EBX, 18, RDSEED),
	USER(ALL, 7, EBX, 19, ADX),
	SYSTEM(7, EBX, 20, .cr4 = X86_CR4_SMAP),
	USER(ALL, 7, EBX, 23, CLFLUSHOPT),
	USER(ALL, 7, EBX, 24, CLWB),
	USER(ALL, 7, EBX, 29, SHA),
	SYSTEM(7, ECX, 2, .cr4 = X86_CR4_UMIP),
	USER(ALL, 7, ECX, 9, VAES),
	USER(ALL, 7, ECX, 10, VPCLMUL),
	SYSTEM(7, ECX, 22),				/* RDPID */
	SYSTEM(7, EDX, 4),				/* short REP MOVSB is */
	SYSTEM(7, EDX, 29),				/* ARCH_CAPABILITIES */

	USER(V2, 0x80000001, ECX, 0, BASE),			/* LAHF, SAHF in 64-bit mode */
	USER(V3, 0x80000001, ECX, 5, LZCNT),
	SYSTEM(0x80000001, EDX, 11),			/* SYSCALL */
	SYSTEM(0x80000001, EDX, 20),			/* NX */
	SYSTEM(0x80000001, EDX, 26),			/* pages of 1 GiB */
	SYSTEM(0x80000001, EDX, 27),			/* RDTSCP */
	SYSTEM(0x80000001, EDX, 29),			/* long mode */
	SYSTEM(0x80000007, EDX, 8),			/* the TSC's rate never changes */
};

enum { FEATURES = sizeof(features) / sizeof(features[0]) };

/* ---- what works here: found out once; on a virtual machine each CPUID is an exit of microseconds */

static bool works[FEATURES];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void add_bit(struct x86_cpuid *r, enum reg reg, unsigned bit)
{
	*(reg == EAX ? &r->eax : reg == EBX ? &r->ebx : reg == ECX ? &r->ecx : &r->edx) |= 1u << bit;
}

static void find_out(void)
{
	for (unsigned i = 0; i < FEATURES; i++)
		works[i] = x86_isa_offered(features[i].isa);
}

static bool told(unsigned i, enum x86_level level)
{
	return works[i] && features[i].level <= level;
}

static struct x86_cpuid leaf_features(enum x86_level level, uint32_t leaf)
{
	struct x86_cpuid r = { 0 };

	pthread_once(&once, find_out);
	for (unsigned i = 0; i < FEATURES; i++)
		if (features[i].leaf == leaf && told(i, level))
			add_bit(&r, features[i].reg, features[i].bit);
	return r;
}

/* Of an instruction set's level each feature is a must; the system's are what a processor has. */
struct x86_cpuid x86_level_features(enum x86_level level, uint32_t leaf, bool must)
{
	struct x86_cpuid r = { 0 };

	for (unsigned i = 0; i < FEATURES; i++) {
		const struct feature *f = &features[i];

		if (f->leaf == leaf && f->level <= level && (!must || f->user))
			add_bit(&r, f->reg, f->bit);
	}
	return r;
}

uint64_t x86_cr4_bits(enum x86_level level)
{
	uint64_t bits = 0;

	pthread_once(&once, find_out);
	for (unsigned i = 0; i < FEATURES; i++)
		if (told(i, level))
			bits |= features[i].cr4;
	return bits;
}

int x86_level_complete(void)
{
	int level = X86_LEVEL_V3;

	pthread_once(&once, find_out);
	for (unsigned i = 0; i < FEATURES; i++)
		if (!works[i] && features[i].level <= level)
			level = features[i].level - 1;
	return level;
}

uint64_t x86_xcr0_bits(enum x86_level level)
{
	const uint32_t avx = 1u << 28;

	if (!(x86_cr4_bits(level) & X86_CR4_OSXSAVE))
		return 0;
	return X86_XSTATE_X87 | X86_XSTATE_SSE | (leaf_features(level, 1).ecx & avx ? X86_XSTATE_AVX : 0);
}

uint32_t x86_xsave_bytes(uint64_t xcr0)
{
	return xcr0 & X86_XSTATE_AVX ? X86_XSAVE_AVX + X86_XSAVE_AVX_BYTES : X86_XSAVE_EXTENDED;
}

/* ---- leaves */

enum { XSAVE_FEATURES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3 };	/* XSAVEOPT, XSAVEC, XGETBV of 1, XSAVES */

enum { BASIC_MAX = 0x16, EXTENDED_MAX = 0x80000008 };

static struct x86_cpuid text(uint32_t eax, const char s[12], bool vendor)
{
	struct x86_cpuid r = { .eax = eax };
	uint32_t part[3];

	memcpy(part, s, sizeof(part));
	r.ebx = part[0];
	r.ecx = vendor ? part[2] : part[1];	/* a vendor's is in EBX, EDX, ECX */
	r.edx = vendor ? part[1] : part[2];
	return r;
}

static struct x86_cpuid brand_part(unsigned part)
{
	struct x86_cpuid r;

	memcpy(&r, brand + part * sizeof(r), sizeof(r));
	return r;
}

/* Leaf 4: type, level, bytes of a line, ways, sets.  What a guest tunes itself by; nothing is cached here. */
static struct x86_cpuid cache(uint32_t n)
{
	static const struct { uint8_t type, level, ways; uint16_t sets; } caches[] = {
		{ 1, 1, 8, 64 }, { 2, 1, 8, 64 }, { 3, 2, 8, 1024 },
	};

	if (n >= sizeof(caches) / sizeof(caches[0]))
		return (struct x86_cpuid) { 0 };
	return (struct x86_cpuid) {
		.eax = caches[n].type | caches[n].level << 5 | 1 << 8,
		.ebx = 63 | (caches[n].ways - 1u) << 22,
		.ecx = caches[n].sets - 1u,
	};
}

/* The extended state area.  Both formats are as large, since there is one extended component. */
static struct x86_cpuid xsave(enum x86_level level, uint32_t subleaf)
{
	uint64_t xcr0 = x86_xcr0_bits(level);

	if (!xcr0)
		return (struct x86_cpuid) { 0 };
	switch (subleaf) {
	case 0:
		return (struct x86_cpuid) { .eax = xcr0, .ebx = X86_XSAVE_EXTENDED, .ecx = x86_xsave_bytes(xcr0) };
	case 1:
		return (struct x86_cpuid) { .eax = XSAVE_FEATURES, .ebx = X86_XSAVE_EXTENDED };
	case 2:
		if (xcr0 & X86_XSTATE_AVX)
			return (struct x86_cpuid) { .eax = X86_XSAVE_AVX_BYTES, .ebx = X86_XSAVE_AVX };
	}
	return (struct x86_cpuid) { 0 };
}

static struct x86_cpuid basic(enum x86_level level, uint32_t leaf, uint32_t subleaf)
{
	struct x86_cpuid r = { 0 };

	switch (leaf) {
	case 0:
		return text(BASIC_MAX, "GenuineIntel", true);
	case 1:
		r = leaf_features(level, 1);
		r.eax = X86_SIGNATURE;
		r.ebx = 8 << 8;				/* CLFLUSH: 64 bytes */
		return r;
	case 2:
		return (struct x86_cpuid) { .eax = 0x00ff01 };	/* one round; caches: see leaf 4 */
	case 4:
		return cache(subleaf);
	case 5:
		/* Lines of 64 bytes; no C-state is to be had by MWAIT, so that kernels idle in HLT. */
		return (struct x86_cpuid) { .eax = 64, .ebx = 64, .ecx = 1 };
	case 7:
		return subleaf ? r : leaf_features(level, 7);
	case 0xd:
		return xsave(level, subleaf);
	}
	return r;
}

static struct x86_cpuid extended(enum x86_level level, uint32_t leaf)
{
	struct x86_cpuid r = { 0 };

	switch (leaf) {
	case 0x80000000:
		return (struct x86_cpuid) { .eax = EXTENDED_MAX };
	case 0x80000001: case 0x80000007:
		return leaf_features(level, leaf);
	case 0x80000002: case 0x80000003: case 0x80000004:
		return brand_part(leaf - 0x80000002);
	case 0x80000006:
		return (struct x86_cpuid) { .ecx = 64 | 6 << 12 | 512 << 16 };	/* second-level cache: line, ways, KiB */
	case 0x80000008:
		return (struct x86_cpuid) { .eax = X86_PHYS_BITS | X86_LINEAR_BITS << 8 };
	}
	return r;
}

struct x86_cpuid x86_cpuid(enum x86_level level, uint32_t leaf, uint32_t subleaf)
{
	if (leaf == 0x40000000)
		return text(leaf, "CleaveCleave", false);
	if (leaf >> 16 == 0x8000 && leaf <= EXTENDED_MAX)
		return extended(level, leaf);
	if (leaf <= BASIC_MAX)
		return basic(level, leaf, subleaf);
	return basic(level, BASIC_MAX, subleaf);	/* as Intel's: the last basic one */
}
