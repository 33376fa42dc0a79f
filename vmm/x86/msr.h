/*
 * vmm/x86/msr.h - numbers of model-specific registers.  SDM vol. 4.
 */
#ifndef CLEAVE_VMM_X86_MSR_H
#define CLEAVE_VMM_X86_MSR_H

enum x86_msr {
	X86_MSR_P5_MC_ADDR = 0x00,
	X86_MSR_P5_MC_TYPE = 0x01,
	X86_MSR_TSC = 0x10,
	X86_MSR_PLATFORM_ID = 0x17,
	X86_MSR_APIC_BASE = 0x1b,
	X86_MSR_BIOS_UPDT_TRIG = 0x79,
	X86_MSR_BIOS_SIGN_ID = 0x8b,
	X86_MSR_TSC_DEADLINE = 0x6e0,
	X86_MSR_X2APIC = 0x800,		/* to 8FFh */
};

#endif
