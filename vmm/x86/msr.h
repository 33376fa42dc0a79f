/*
 * vmm/x86/msr.h - numbers of model-specific registers, and what may stand in
 * some.  SDM vol. 4; vol. 3 ch. 12.11, 12.12 (memory types).
 */
#ifndef CLEAVE_VMM_X86_MSR_H
#define CLEAVE_VMM_X86_MSR_H

#include <stdbool.h>
#include <stdint.h>

enum x86_msr {
	X86_MSR_P5_MC_ADDR = 0x00,
	X86_MSR_P5_MC_TYPE = 0x01,
	X86_MSR_TSC = 0x10,
	X86_MSR_PLATFORM_ID = 0x17,
	X86_MSR_APIC_BASE = 0x1b,
	X86_MSR_FEATURE_CONTROL = 0x3a,
	X86_MSR_TSC_ADJUST = 0x3b,
	X86_MSR_BIOS_UPDT_TRIG = 0x79,
	X86_MSR_BIOS_SIGN_ID = 0x8b,
	X86_MSR_PLATFORM_INFO = 0xce,
	X86_MSR_MTRRCAP = 0xfe,
	X86_MSR_ARCH_CAPABILITIES = 0x10a,
	X86_MSR_SYSENTER_CS = 0x174,
	X86_MSR_SYSENTER_ESP = 0x175,
	X86_MSR_SYSENTER_EIP = 0x176,
	X86_MSR_MCG_CAP = 0x179,
	X86_MSR_MCG_STATUS = 0x17a,
	X86_MSR_MISC_ENABLE = 0x1a0,
	X86_MSR_MTRR_PHYSBASE0 = 0x200,		/* base and mask in turn */
	X86_MSR_MTRR_FIX64K = 0x250,
	X86_MSR_MTRR_FIX16K = 0x258,		/* to 259h */
	X86_MSR_MTRR_FIX4K = 0x268,		/* to 26Fh */
	X86_MSR_PAT = 0x277,
	X86_MSR_MTRR_DEF_TYPE = 0x2ff,
	X86_MSR_TSC_DEADLINE = 0x6e0,
	X86_MSR_X2APIC = 0x800,			/* to 8FFh */
	X86_MSR_XSS = 0xda0,
	X86_MSR_EFER = 0xc0000080,
	X86_MSR_STAR = 0xc0000081,
	X86_MSR_LSTAR = 0xc0000082,
	X86_MSR_CSTAR = 0xc0000083,
	X86_MSR_SFMASK = 0xc0000084,
	X86_MSR_FS_BASE = 0xc0000100,
	X86_MSR_GS_BASE = 0xc0000101,
	X86_MSR_KERNEL_GS_BASE = 0xc0000102,
	X86_MSR_TSC_AUX = 0xc0000103,
};

/* Sets of memory types: UC WC WT WP WB, and in the PAT UC-. */
#define X86_MTRR_TYPES	0x73u
#define X86_PAT_TYPES	0xf3u

/* A register of eight of them, a byte each. */
static inline bool x86_types_valid(uint64_t val, uint32_t types)
{
	for (unsigned i = 0; i < 8; i++, val >>= 8)
		if ((val & 0xff) > 7 || !(types >> (val & 0xff) & 1))
			return false;
	return true;
}

static inline bool x86_mtrr_def_type_valid(uint64_t val)
{
	return !(val & ~0xcffull) && x86_types_valid(val & 0xff, X86_MTRR_TYPES);
}

#define X86_MISC_ENABLE_MONITOR	(1u << 18)

/* IA32_ARCH_CAPABILITIES: what a processor that speculates on nothing has no need of. */
#define X86_ARCH_CAP_RDCL_NO		(1ull << 0)
#define X86_ARCH_CAP_SKIP_L1DFL		(1ull << 3)
#define X86_ARCH_CAP_SSB_NO		(1ull << 4)
#define X86_ARCH_CAP_MDS_NO		(1ull << 5)
#define X86_ARCH_CAP_PSCHANGE_MC_NO	(1ull << 6)
#define X86_ARCH_CAP_TAA_NO		(1ull << 8)
#define X86_ARCH_CAP_SBDR_SSDP_NO	(1ull << 13)
#define X86_ARCH_CAP_FBSDP_NO		(1ull << 14)
#define X86_ARCH_CAP_PSDP_NO		(1ull << 15)
#define X86_ARCH_CAP_BHI_NO		(1ull << 20)
#define X86_ARCH_CAP_PBRSB_NO		(1ull << 24)
#define X86_ARCH_CAP_GDS_NO		(1ull << 26)
#define X86_ARCH_CAP_RFDS_NO		(1ull << 27)
#define X86_ARCH_CAP_ITS_NO		(1ull << 62)

#endif
