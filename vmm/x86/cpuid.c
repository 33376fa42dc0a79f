/*
 * vmm/x86/cpuid.c - the processor that the soft engine is.
 *
 * The vendor is the host's, so that guests meet a name they know and the code
 * paths that go with it; family and features are a Pentium-class processor's.
 * A feature is set here in the commit that completes it.
 */
#include "vmm/x86/cpuid.h"

#include <cpuid.h>
#include <pthread.h>
#include <string.h>

static const char brand[48] = "Cleave soft engine";

/* The host's is asked for once: on a virtual machine the instruction is an exit of microseconds. */
static struct x86_cpuid host;
static pthread_once_t host_once = PTHREAD_ONCE_INIT;

static void ask_host(void)
{
	__cpuid(0, host.eax, host.ebx, host.ecx, host.edx);
}

static struct x86_cpuid vendor(uint32_t max_leaf)
{
	pthread_once(&host_once, ask_host);
	return (struct x86_cpuid) { .eax = max_leaf, .ebx = host.ebx, .ecx = host.ecx, .edx = host.edx };
}

static struct x86_cpuid brand_part(unsigned part)
{
	struct x86_cpuid r;

	memcpy(&r, brand + part * sizeof(r), sizeof(r));
	return r;
}

struct x86_cpuid x86_cpuid(uint32_t leaf, uint32_t subleaf)
{
	(void)subleaf;
	switch (leaf) {
	case 0:
		return vendor(1);
	case 0x80000000:
		return (struct x86_cpuid) { .eax = 0x80000004 };
	case 0x80000001:
		return (struct x86_cpuid) { 0 };
	case 0x80000002: case 0x80000003: case 0x80000004:
		return brand_part(leaf - 0x80000002);
	case 1:
	default:	/* beyond the last leaf: the last basic one */
		return (struct x86_cpuid) {
			.eax = X86_SIGNATURE,
			.edx = X86_FEATURE_DE | X86_FEATURE_PSE | X86_FEATURE_TSC | X86_FEATURE_MSR | X86_FEATURE_CX8
				| X86_FEATURE_PGE | X86_FEATURE_CMOV,
		};
	}
}
