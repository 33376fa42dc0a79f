/*
 * vmm/x86/isa.c - see isa.h.  Extensions whose instructions are executed by the
 * host's own are offered where the host has them.  SDM vol. 2 CPUID.
 */
#include "vmm/x86/isa.h"

#include <cpuid.h>
#include <pthread.h>

#include "vmm/x86/fpu.h"

enum reg { EAX, EBX, ECX, EDX };

#define HOST(l, s, r, b)	{ .leaf = (l), .subleaf = (s), .reg = (r), .bit = (b) }
#define HOST_YMM(l, s, r, b)	{ .leaf = (l), .subleaf = (s), .reg = (r), .bit = (b), .avx = true }

/* Where the host's CPUID tells of it; leaf 0: the engine needs nothing of the host for it.  avx: and its kernel has to keep YMM registers. */
static const struct { uint32_t leaf, subleaf; uint8_t reg, bit; bool avx; } told[X86_ISAS] = {
	[X86_ISA_BASE] = { 0 },
	[X86_ISA_FPU] = HOST(1, 0, EDX, 0),
	[X86_ISA_MMX] = HOST(1, 0, EDX, 23),
	[X86_ISA_FXSR] = HOST(1, 0, EDX, 24),
	[X86_ISA_SSE] = HOST(1, 0, EDX, 25),
	[X86_ISA_SSE2] = HOST(1, 0, EDX, 26),
	[X86_ISA_SSE3] = HOST(1, 0, ECX, 0),
	[X86_ISA_SSSE3] = HOST(1, 0, ECX, 9),
	[X86_ISA_SSE41] = HOST(1, 0, ECX, 19),
	[X86_ISA_SSE42] = HOST(1, 0, ECX, 20),
	[X86_ISA_POPCNT] = { 0 },
	[X86_ISA_AES] = HOST(1, 0, ECX, 25),
	[X86_ISA_PCLMUL] = HOST(1, 0, ECX, 1),
	[X86_ISA_SHA] = HOST(7, 0, EBX, 29),
	[X86_ISA_MOVBE] = { 0 },
	[X86_ISA_ADX] = { 0 },
	[X86_ISA_RDRAND] = HOST(1, 0, ECX, 30),
	[X86_ISA_RDSEED] = HOST(7, 0, EBX, 18),
	[X86_ISA_XSAVE] = { 0 },
	[X86_ISA_XSAVEOPT] = { 0 },
	[X86_ISA_XSAVEC] = { 0 },
	[X86_ISA_XSAVES] = { 0 },
	[X86_ISA_CLFLUSH] = { 0 },
	[X86_ISA_CLFLUSHOPT] = { 0 },
	[X86_ISA_CLWB] = { 0 },
	[X86_ISA_LZCNT] = { 0 },
	[X86_ISA_BMI1] = { 0 },
	[X86_ISA_BMI2] = HOST(7, 0, EBX, 8),
	[X86_ISA_AVX] = HOST_YMM(1, 0, ECX, 28),
	[X86_ISA_AVX2] = HOST_YMM(7, 0, EBX, 5),
	[X86_ISA_FMA] = HOST_YMM(1, 0, ECX, 12),
	[X86_ISA_F16C] = HOST_YMM(1, 0, ECX, 29),
	[X86_ISA_AVX_AES] = HOST_YMM(1, 0, ECX, 25),
	[X86_ISA_AVX_PCLMUL] = HOST_YMM(1, 0, ECX, 1),
	[X86_ISA_VAES] = HOST_YMM(7, 0, ECX, 9),
	[X86_ISA_VPCLMUL] = HOST_YMM(7, 0, ECX, 10),
};

static uint64_t offered;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* AVX, and XCR0 has its state. */
static bool host_keeps_ymm(void)
{
	const uint32_t osxsave = 1u << 27, avx = 1u << 28, ymm = X86_XSTATE_SSE | X86_XSTATE_AVX;
	unsigned r[4], low, high;

	if (!__get_cpuid(1, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) || ~r[ECX] & (osxsave | avx))
		return false;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (low & ymm) == ymm;
}

static void ask_host(void)
{
	bool ymm = host_keeps_ymm();

	for (unsigned i = 0; i < X86_ISAS; i++) {
		unsigned r[4] = { 0 };

		if (told[i].leaf && !__get_cpuid_count(told[i].leaf, told[i].subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]))
			continue;
		if ((!told[i].leaf || r[told[i].reg] >> told[i].bit & 1) && (ymm || !told[i].avx))
			offered |= 1ull << i;
	}
}

bool x86_isa_offered(enum x86_isa isa)
{
	pthread_once(&once, ask_host);
	return offered >> isa & 1;
}
