/*
 * vmm/soft/op_system.c - control registers, descriptor-table registers, EFLAGS
 * by PUSHF, POPF, CLI and STI, I/O permission, HLT, CPUID and cache control.
 *
 * SDM vol. 3 section 2.5 (control registers), 5.9 (privileged instructions),
 * vol. 1 section 19.5.2 (I/O permission bitmap), vol. 2 under each mnemonic.
 */
#include "vmm/apic.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/ops.h"
#include "vmm/soft/seg.h"
#include "vmm/soft/stack.h"
#include "vmm/soft/system.h"
#include "vmm/x86/control.h"
#include "vmm/x86/cpuid.h"

/* ---- control registers */

enum {
	CR0_KNOWN = X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM,
	CR4_KNOWN = X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT,
};

void cr0_write(struct cpu *cpu, uint64_t val)
{
	uint64_t old = cpu->cr0;

	if (((val & X86_CR0_PG) && !(val & X86_CR0_PE)) || ((val & X86_CR0_NW) && !(val & X86_CR0_CD)))
		cpu_fault(cpu, X86_GP, 0);
	cpu->cr0 = (val & ((uint32_t)CR0_KNOWN | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)) | X86_CR0_ET;
	if ((old ^ cpu->cr0) & (X86_CR0_PG | X86_CR0_WP | X86_CR0_PE))
		mmu_flush(cpu, true);
	cpu->recheck = true;
	cpu_update_mode(cpu);
}

void cr3_write(struct cpu *cpu, uint64_t val)
{
	cpu->cr3 = val & (0xfffff000u | X86_CR3_PWT | X86_CR3_PCD);
	mmu_flush(cpu, false);
	cpu->recheck = true;
}

void cr4_write(struct cpu *cpu, uint64_t val)
{
	uint64_t old = cpu->cr4;

	if (val & ~(uint64_t)CR4_KNOWN)
		cpu_fault(cpu, X86_GP, 0);
	cpu->cr4 = val;
	if ((old ^ val) & (X86_CR4_PSE | X86_CR4_PGE))
		mmu_flush(cpu, true);
	simd_update(cpu);
	cpu->recheck = true;
}

/* A control register that does not exist is #UD before the privilege is looked at. */
static void need_cr(struct cpu *cpu, unsigned cr)
{
	if (cr > 4 || cr == 1)
		cpu_fault(cpu, X86_UD, 0);
	need_cpl0(cpu);
}

void op_mov_to_cr(struct cpu *cpu, const struct insn *in)
{
	uint64_t val = cpu->gpr[in->rm].d;

	need_cr(cpu, in->reg);
	switch (in->reg) {
	case 0: cr0_write(cpu, val); break;
	case 2: cpu->cr2 = val; break;
	case 3: cr3_write(cpu, val); break;
	case 4: cr4_write(cpu, val); break;
	}
}

void op_mov_from_cr(struct cpu *cpu, const struct insn *in)
{
	uint64_t val;

	need_cr(cpu, in->reg);
	switch (in->reg) {
	case 0: val = cpu->cr0; break;
	case 2: val = cpu->cr2; break;
	case 3: val = cpu->cr3; break;
	default: val = cpu->cr4; break;
	}
	gpr_write(cpu, in->rm, 4, val);
}

/* The low four bits; PE can be set but not cleared. */
void op_lmsw(struct cpu *cpu, const struct insn *in)
{
	uint16_t val;

	need_cpl0(cpu);
	val = in->mem ? ld16(cpu, in->seg, insn_ea(cpu, in)) : cpu->gpr[in->rm].w;
	cr0_write(cpu, (cpu->cr0 & ~(uint64_t)(X86_CR0_MP | X86_CR0_EM | X86_CR0_TS)) | (val & 0xf));
}

void op_smsw(struct cpu *cpu, const struct insn *in)
{
	if (in->mem)
		st16(cpu, in->seg, insn_ea(cpu, in), cpu->cr0);
	else
		gpr_write(cpu, in->rm, in->opsize, cpu->cr0);
}

void op_clts(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	need_cpl0(cpu);
	cpu->cr0 &= ~(uint64_t)X86_CR0_TS;
	simd_update(cpu);
}

/* ---- GDTR, IDTR */

static void load_table(struct cpu *cpu, const struct insn *in, struct x86_table *table)
{
	uint64_t ea = insn_ea(cpu, in), mask = in->adsize == 2 ? 0xffff : 0xffffffff;
	uint16_t limit;
	uint32_t base;

	need_cpl0(cpu);
	limit = ld16(cpu, in->seg, ea);
	base = ld32(cpu, in->seg, (ea + 2) & mask);
	table->limit = limit;
	table->base = in->opsize == 2 ? base & 0xffffff : base;
}

/* All 32 bits of the base are stored with either operand size, as processors do. */
static void store_table(struct cpu *cpu, const struct insn *in, const struct x86_table *table)
{
	uint64_t ea = insn_ea(cpu, in), mask = in->adsize == 2 ? 0xffff : 0xffffffff;

	st16(cpu, in->seg, ea, table->limit);
	st32(cpu, in->seg, (ea + 2) & mask, table->base);
}

void op_lgdt(struct cpu *cpu, const struct insn *in)
{
	load_table(cpu, in, &cpu->gdtr);
}

void op_lidt(struct cpu *cpu, const struct insn *in)
{
	load_table(cpu, in, &cpu->idtr);
}

void op_sgdt(struct cpu *cpu, const struct insn *in)
{
	store_table(cpu, in, &cpu->gdtr);
}

void op_sidt(struct cpu *cpu, const struct insn *in)
{
	store_table(cpu, in, &cpu->idtr);
}

/* ---- EFLAGS */

static unsigned iopl(const struct cpu *cpu)
{
	return cpu->rflags >> 12 & 3;
}

static void need_iopl3_in_v86(struct cpu *cpu)
{
	if (cpu->v86 && iopl(cpu) != 3)
		cpu_fault(cpu, X86_GP, 0);
}

void op_pushf(struct cpu *cpu, const struct insn *in)
{
	struct stack st;

	need_iopl3_in_v86(cpu);
	stack_running(cpu, &st);
	stack_push(cpu, &st, in->opsize, cpu_flags(cpu) & ~(uint64_t)(X86_RFLAGS_RF | X86_RFLAGS_VM));
	stack_commit(cpu, &st);
}

void op_popf(struct cpu *cpu, const struct insn *in)
{
	uint64_t image;

	need_iopl3_in_v86(cpu);
	image = stack_read(cpu, 0, in->opsize);
	stack_set(cpu, cpu->gpr[X86_RSP].d + in->opsize);
	flags_load(cpu, image, eflags_writable(cpu, in->opsize));
	cpu_update_mode(cpu);
}

static void need_iopl(struct cpu *cpu)
{
	if (cpu->cpl > iopl(cpu))
		cpu_fault(cpu, X86_GP, 0);
}

void op_cli(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	need_iopl(cpu);
	cpu->rflags &= ~(uint64_t)X86_RFLAGS_IF;
	cpu->intr_mask = 0;
}

/* No interrupt before the instruction that follows, so that STI; RET and STI; HLT are safe. */
void op_sti(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	need_iopl(cpu);
	if (cpu->rflags & X86_RFLAGS_IF)
		return;
	cpu->rflags |= X86_RFLAGS_IF;
	cpu->intr_mask = ~0u;
	cpu->shadow = SHADOW_STI | SHADOW_NEW;
	cpu->recheck = true;
}

/* ---- I/O permission */

void check_io(struct cpu *cpu, uint16_t port, unsigned size)
{
	const struct seg *tr = &cpu->seg[X86_TR];
	uint32_t at, mask = (1u << size) - 1;

	if (!cpu->pe || (!cpu->v86 && cpu->cpl <= iopl(cpu)))
		return;
	if ((tr->attr & X86_ATTR_UNUSABLE) || !(x86_attr_type(tr->attr) & X86_SYS_32) || tr->limit < X86_TSS32_LIMIT)
		cpu_fault(cpu, X86_GP, 0);
	at = sys_ld16(cpu, tr->base + X86_TSS32_IOMAP) + port / 8u;
	if (at + 1 > tr->limit)		/* two bytes are read, always */
		cpu_fault(cpu, X86_GP, 0);
	if (sys_ld16(cpu, tr->base + at) >> (port & 7) & mask)
		cpu_fault(cpu, X86_GP, 0);
}

/* ---- the rest */

void op_hlt(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	need_cpl0(cpu);
	cpu->halted = true;
	cpu->recheck = true;
}

void op_invlpg(struct cpu *cpu, const struct insn *in)
{
	need_cpl0(cpu);
	mmu_invlpg(cpu, cpu->seg[in->seg].base + insn_ea(cpu, in));
}

/* There are no caches to write back or to lose. */
void op_invd(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	need_cpl0(cpu);
}

void op_wbinvd(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	need_cpl0(cpu);
}

void op_cpuid(struct cpu *cpu, const struct insn *in)
{
	uint32_t leaf = cpu->gpr[X86_RAX].d, subleaf = cpu->gpr[X86_RCX].d;
	struct x86_cpuid r = x86_cpuid(leaf, subleaf);

	(void)in;
	apic_cpuid(cpu->vcpu, leaf, subleaf, x86_cpuid(0, 0).eax, &r);
	cpu->gpr[X86_RAX].q = r.eax;
	cpu->gpr[X86_RBX].q = r.ebx;
	cpu->gpr[X86_RCX].q = r.ecx;
	cpu->gpr[X86_RDX].q = r.edx;
}
