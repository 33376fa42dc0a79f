/*
 * vmm/soft/msr.c - RDMSR, WRMSR, RDTSC.
 *
 * Only what CPUID promises exists; everything else is #GP(0), as on a
 * processor without it.  SDM vol. 3 section 17.17 (TSC), vol. 4.
 */
#include "vmm/x86/msr.h"

#include <x86intrin.h>

#include "vmm/apic.h"
#include "vmm/soft/ops.h"
#include "vmm/soft/seg.h"
#include "vmm/soft/system.h"
#include "vmm/x86/control.h"

uint64_t cpu_tsc(const struct cpu *cpu)
{
	return __rdtsc() + cpu->tsc_offset;
}

bool msr_read(struct cpu *cpu, uint32_t index, uint64_t *val)
{
	if (apic_has_msr(index))
		return apic_msr_read(cpu->vcpu, index, val);
	switch (index) {
	case X86_MSR_TSC:
		*val = cpu_tsc(cpu);
		return true;
	case X86_MSR_P5_MC_ADDR:
	case X86_MSR_P5_MC_TYPE:
	case X86_MSR_PLATFORM_ID:
	case X86_MSR_BIOS_SIGN_ID:	/* no microcode update is loaded */
		*val = 0;
		return true;
	default:
		return false;
	}
}

bool msr_write(struct cpu *cpu, uint32_t index, uint64_t val)
{
	if (apic_has_msr(index))
		return apic_msr_write(cpu->vcpu, index, val, cpu_tsc(cpu));
	switch (index) {
	case X86_MSR_TSC:
		cpu->tsc_offset = val - __rdtsc();
		apic_tsc_moved(cpu->vcpu, val);
		return true;
	case X86_MSR_P5_MC_ADDR:
	case X86_MSR_P5_MC_TYPE:
	case X86_MSR_BIOS_SIGN_ID:
	case X86_MSR_BIOS_UPDT_TRIG:
		return true;
	default:
		return false;
	}
}

static void set_edx_eax(struct cpu *cpu, uint64_t val)
{
	cpu->gpr[X86_RAX].q = (uint32_t)val;
	cpu->gpr[X86_RDX].q = val >> 32;
}

void op_rdmsr(struct cpu *cpu, const struct insn *in)
{
	uint64_t val;

	(void)in;
	need_cpl0(cpu);
	if (!msr_read(cpu, cpu->gpr[X86_RCX].d, &val))
		cpu_fault(cpu, X86_GP, 0);
	set_edx_eax(cpu, val);
}

void op_wrmsr(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	need_cpl0(cpu);
	if (!msr_write(cpu, cpu->gpr[X86_RCX].d, (uint64_t)cpu->gpr[X86_RDX].d << 32 | cpu->gpr[X86_RAX].d))
		cpu_fault(cpu, X86_GP, 0);
}

void op_rdtsc(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	if ((cpu->cr4 & X86_CR4_TSD) && cpu->cpl != 0)
		cpu_fault(cpu, X86_GP, 0);
	set_edx_eax(cpu, cpu_tsc(cpu));
}
