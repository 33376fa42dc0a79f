/*
 * vmm/x86/isa.c - see isa.h.  Extensions whose instructions are executed by the
 * host's own are offered where the host has them.  SDM vol. 2 CPUID.
 */
#include "vmm/x86/isa.h"

#include <cpuid.h>
#include <pthread.h>

enum reg { EAX, EBX, ECX, EDX };

/* Where the host's CPUID tells of it; leaf 0: the engine needs nothing of the host for it. */
static const struct { uint32_t leaf, subleaf; uint8_t reg, bit; } told[X86_ISAS] = {
	[X86_ISA_BASE] = { 0 },
	[X86_ISA_FPU] = { 1, 0, EDX, 0 },
	[X86_ISA_MMX] = { 1, 0, EDX, 23 },
	[X86_ISA_FXSR] = { 1, 0, EDX, 24 },
	[X86_ISA_SSE] = { 1, 0, EDX, 25 },
	[X86_ISA_SSE2] = { 1, 0, EDX, 26 },
	[X86_ISA_SSE3] = { 1, 0, ECX, 0 },
	[X86_ISA_SSSE3] = { 1, 0, ECX, 9 },
	[X86_ISA_SSE41] = { 1, 0, ECX, 19 },
	[X86_ISA_SSE42] = { 1, 0, ECX, 20 },
	[X86_ISA_POPCNT] = { 0 },
	[X86_ISA_AES] = { 1, 0, ECX, 25 },
	[X86_ISA_PCLMUL] = { 1, 0, ECX, 1 },
	[X86_ISA_SHA] = { 7, 0, EBX, 29 },
	[X86_ISA_MOVBE] = { 0 },
	[X86_ISA_ADX] = { 0 },
	[X86_ISA_RDRAND] = { 1, 0, ECX, 30 },
	[X86_ISA_RDSEED] = { 7, 0, EBX, 18 },
	[X86_ISA_XSAVE] = { 0 },
	[X86_ISA_XSAVEOPT] = { 0 },
	[X86_ISA_CLFLUSH] = { 0 },
	[X86_ISA_CLFLUSHOPT] = { 0 },
	[X86_ISA_CLWB] = { 0 },
	[X86_ISA_LZCNT] = { 0 },
	[X86_ISA_BMI1] = { 0 },
	[X86_ISA_BMI2] = { 7, 0, EBX, 8 },
};

static uint32_t offered;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void ask_host(void)
{
	for (unsigned i = 0; i < X86_ISAS; i++) {
		unsigned r[4] = { 0 };

		if (told[i].leaf && !__get_cpuid_count(told[i].leaf, told[i].subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]))
			continue;
		if (!told[i].leaf || r[told[i].reg] >> told[i].bit & 1)
			offered |= 1u << i;
	}
	offered &= ~(1u << X86_ISA_XSAVEC);
}

bool x86_isa_offered(enum x86_isa isa)
{
	pthread_once(&once, ask_host);
	return offered >> isa & 1;
}
