/*
 * vmm/soft/msr.c - RDMSR, WRMSR, and the time-stamp counter.
 *
 * What CPUID promises exists, and what system software touches without asking;
 * everything else is #GP(0), or zero where the user wants it so.  Memory types
 * (MTRR, PAT) are kept but mean nothing.
 *
 * SDM vol. 3 section 11.11 (MTRR), 11.12 (PAT), 17.17 (TSC), vol. 4.
 */
#include "vmm/x86/msr.h"

#include <x86intrin.h>

#include "vmm/apic.h"
#include "vmm/config.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/ops.h"
#include "vmm/soft/seg.h"
#include "vmm/soft/system.h"
#include "vmm/vm.h"

#define ARCH_CAPABILITIES	(X86_ARCH_CAP_RDCL_NO | X86_ARCH_CAP_SKIP_L1DFL | X86_ARCH_CAP_SSB_NO | X86_ARCH_CAP_MDS_NO \
	| X86_ARCH_CAP_PSCHANGE_MC_NO | X86_ARCH_CAP_TAA_NO | X86_ARCH_CAP_SBDR_SSDP_NO | X86_ARCH_CAP_FBSDP_NO \
	| X86_ARCH_CAP_PSDP_NO | X86_ARCH_CAP_BHI_NO | X86_ARCH_CAP_PBRSB_NO | X86_ARCH_CAP_GDS_NO | X86_ARCH_CAP_RFDS_NO \
	| X86_ARCH_CAP_ITS_NO)

enum { MTRR_CAP = MTRR_VARIABLE | 1 << 8 | 1 << 10 };		/* fixed ranges, write-combining */
#define PHYS_MASK	((1ull << X86_PHYS_BITS) - 1)

/* ---- the time-stamp counter */

uint64_t cpu_tsc(const struct cpu *cpu)
{
	return __rdtsc() + cpu->tsc_offset;
}

static void move_tsc(struct cpu *cpu, uint64_t by)
{
	cpu->tsc_offset += by;
	cpu->tsc_adjust += by;
	apic_tsc_moved(cpu->vcpu, cpu_tsc(cpu));
}

/* ---- memory types */

static uint64_t *fixed_mtrr(struct cpu *cpu, uint32_t index)
{
	if (index == X86_MSR_MTRR_FIX64K)
		return &cpu->mtrr.fixed[0];
	if (index >= X86_MSR_MTRR_FIX16K && index < X86_MSR_MTRR_FIX16K + 2)
		return &cpu->mtrr.fixed[1 + index - X86_MSR_MTRR_FIX16K];
	if (index >= X86_MSR_MTRR_FIX4K && index < X86_MSR_MTRR_FIX4K + 8)
		return &cpu->mtrr.fixed[3 + index - X86_MSR_MTRR_FIX4K];
	return NULL;
}

static uint64_t *variable_mtrr(struct cpu *cpu, uint32_t index)
{
	uint32_t n = index - X86_MSR_MTRR_PHYSBASE0;

	if (n >= 2 * MTRR_VARIABLE)
		return NULL;
	return n % 2 ? &cpu->mtrr.variable[n / 2].mask : &cpu->mtrr.variable[n / 2].base;
}

static bool write_variable_mtrr(uint64_t *to, uint32_t index, uint64_t val)
{
	bool mask = index & 1;

	if (val & ~PHYS_MASK || (val & (mask ? 0x7ffu : 0xf00u)))
		return false;
	if (!mask && (!x86_types_valid(val & 0xff, X86_MTRR_TYPES)))
		return false;
	*to = val;
	return true;
}

/* ---- registers that are kept as they are written */

static uint64_t *plain(struct cpu *cpu, uint32_t index)
{
	switch (index) {
	case X86_MSR_SYSENTER_CS: return &cpu->sysenter_cs;
	case X86_MSR_SYSENTER_ESP: return &cpu->sysenter_esp;
	case X86_MSR_SYSENTER_EIP: return &cpu->sysenter_eip;
	case X86_MSR_STAR: return &cpu->star;
	case X86_MSR_LSTAR: return &cpu->lstar;
	case X86_MSR_CSTAR: return &cpu->cstar;
	case X86_MSR_SFMASK: return &cpu->sfmask;
	case X86_MSR_KERNEL_GS_BASE: return &cpu->kernel_gs_base;
	case X86_MSR_TSC_AUX: return &cpu->tsc_aux;
	case X86_MSR_MISC_ENABLE: return &cpu->misc_enable;
	case X86_MSR_PAT: return &cpu->pat;
	case X86_MSR_MTRR_DEF_TYPE: return &cpu->mtrr.def_type;
	default: return NULL;
	}
}

/* May `val` be written to one of those? */
static bool plain_valid(const struct cpu *cpu, uint32_t index, uint64_t val)
{
	switch (index) {
	case X86_MSR_SYSENTER_ESP: case X86_MSR_SYSENTER_EIP: case X86_MSR_LSTAR: case X86_MSR_CSTAR: case X86_MSR_KERNEL_GS_BASE:
		return cpu_canonical(cpu, val);
	case X86_MSR_SYSENTER_CS: case X86_MSR_SFMASK: case X86_MSR_TSC_AUX:
		return !(val >> 32);
	case X86_MSR_PAT:
		return x86_types_valid(val, X86_PAT_TYPES);
	case X86_MSR_MTRR_DEF_TYPE:
		return x86_mtrr_def_type_valid(val);
	default:
		return true;
	}
}

/* ---- EFER */

static bool efer_write(struct cpu *cpu, uint64_t val)
{
	if (val & ~(uint64_t)(X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE))
		return false;
	if ((cpu->cr0 & X86_CR0_PG) && ((cpu->efer ^ val) & X86_EFER_LME))
		return false;
	val = (val & ~(uint64_t)X86_EFER_LMA) | (cpu->efer & X86_EFER_LMA);
	if ((cpu->efer ^ val) & X86_EFER_NXE)
		mmu_flush(cpu, true);
	cpu->efer = val;
	cpu->recheck = true;
	return true;
}

/* ---- all of them */

bool msr_read(struct cpu *cpu, uint32_t index, uint64_t *val)
{
	const uint64_t *reg = plain(cpu, index);

	if (!reg)
		reg = fixed_mtrr(cpu, index);
	if (!reg)
		reg = variable_mtrr(cpu, index);
	if (reg) {
		*val = *reg;
		return true;
	}
	if (apic_has_msr(index))
		return apic_msr_read(cpu->vcpu, index, val);
	switch (index) {
	case X86_MSR_TSC: *val = cpu_tsc(cpu); return true;
	case X86_MSR_TSC_ADJUST: *val = cpu->tsc_adjust; return true;
	case X86_MSR_EFER: *val = cpu->efer; return true;
	case X86_MSR_FS_BASE: *val = cpu->seg[X86_FS].base; return true;
	case X86_MSR_GS_BASE: *val = cpu->seg[X86_GS].base; return true;
	case X86_MSR_MTRRCAP: *val = MTRR_CAP; return true;
	case X86_MSR_ARCH_CAPABILITIES: *val = ARCH_CAPABILITIES; return true;
	case X86_MSR_FEATURE_CONTROL: *val = 1; return true;		/* locked: no virtualisation */
	case X86_MSR_P5_MC_ADDR:
	case X86_MSR_P5_MC_TYPE:
	case X86_MSR_PLATFORM_ID:
	case X86_MSR_PLATFORM_INFO:
	case X86_MSR_MCG_CAP:		/* no banks */
	case X86_MSR_MCG_STATUS:
	case X86_MSR_BIOS_SIGN_ID:	/* no microcode update is loaded */
	case X86_MSR_XSS:		/* no supervisor state */
		*val = 0;
		return true;
	default:
		return false;
	}
}

bool msr_write(struct cpu *cpu, uint32_t index, uint64_t val)
{
	uint64_t *reg = plain(cpu, index);

	if (reg) {
		if (!plain_valid(cpu, index, val))
			return false;
		*reg = val;
		return true;
	}
	reg = variable_mtrr(cpu, index);
	if (reg)
		return write_variable_mtrr(reg, index, val);
	reg = fixed_mtrr(cpu, index);
	if (reg) {
		if (!x86_types_valid(val, X86_MTRR_TYPES))
			return false;
		*reg = val;
		return true;
	}
	if (apic_has_msr(index))
		return apic_msr_write(cpu->vcpu, index, val, cpu_tsc(cpu));
	switch (index) {
	case X86_MSR_TSC: move_tsc(cpu, val - cpu_tsc(cpu)); return true;
	case X86_MSR_TSC_ADJUST: move_tsc(cpu, val - cpu->tsc_adjust); return true;
	case X86_MSR_EFER: return efer_write(cpu, val);
	case X86_MSR_FS_BASE:
	case X86_MSR_GS_BASE:
		if (!cpu_canonical(cpu, val))
			return false;
		seg_set_base(cpu, index == X86_MSR_FS_BASE ? X86_FS : X86_GS, val);
		return true;
	case X86_MSR_P5_MC_ADDR:
	case X86_MSR_P5_MC_TYPE:
	case X86_MSR_BIOS_SIGN_ID:
	case X86_MSR_BIOS_UPDT_TRIG:
		return true;
	case X86_MSR_MCG_STATUS:
	case X86_MSR_XSS:
		return val == 0;
	default:
		return false;
	}
}

void msr_reset(struct cpu *cpu)
{
	cpu->star = cpu->lstar = cpu->cstar = cpu->sfmask = cpu->kernel_gs_base = cpu->tsc_aux = 0;
	cpu->sysenter_cs = cpu->sysenter_esp = cpu->sysenter_eip = 0;
	cpu->pat = 0x0007040600070406;
	cpu->misc_enable = 1 | 3 << 11 | X86_MISC_ENABLE_MONITOR;	/* fast strings; neither BTS nor PEBS */
	cpu->mtrr = (struct mtrr) { 0 };
	cpu->tsc_offset = -__rdtsc();
	cpu->tsc_adjust = 0;
}

/* ---- handlers */

static void set_edx_eax(struct cpu *cpu, uint64_t val)
{
	cpu->gpr[X86_RAX].q = (uint32_t)val;
	cpu->gpr[X86_RDX].q = val >> 32;
}

/* #GP(0), but for a register that is none where the user wants those ignored (-w). */
static void refuse(struct cpu *cpu, uint32_t index)
{
	const struct config *c = cpu->vcpu->vm->config;
	uint64_t val;

	if (!c || c->strict_msr || msr_read(cpu, index, &val))
		cpu_fault(cpu, X86_GP, 0);
}

void op_rdmsr(struct cpu *cpu, const struct insn *in)
{
	uint64_t val = 0;

	(void)in;
	need_cpl0(cpu);
	if (!msr_read(cpu, cpu->gpr[X86_RCX].d, &val))
		refuse(cpu, cpu->gpr[X86_RCX].d);
	set_edx_eax(cpu, val);
}

void op_wrmsr(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	need_cpl0(cpu);
	if (!msr_write(cpu, cpu->gpr[X86_RCX].d, (uint64_t)cpu->gpr[X86_RDX].d << 32 | cpu->gpr[X86_RAX].d))
		refuse(cpu, cpu->gpr[X86_RCX].d);
}

static void need_tsc(struct cpu *cpu)
{
	if ((cpu->cr4 & X86_CR4_TSD) && cpu->cpl != 0)
		cpu_fault(cpu, X86_GP, 0);
}

void op_rdtsc(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	need_tsc(cpu);
	set_edx_eax(cpu, cpu_tsc(cpu));
}

void op_rdtscp(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	need_tsc(cpu);
	set_edx_eax(cpu, cpu_tsc(cpu));
	cpu->gpr[X86_RCX].q = cpu->tsc_aux;
}

void op_rdpid(struct cpu *cpu, const struct insn *in)
{
	cpu->gpr[in->rm].q = cpu->tsc_aux;
}
