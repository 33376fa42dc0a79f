/*
 * vmm/soft/op_system.c - control registers, descriptor-table registers, EFLAGS
 * by PUSHF, POPF, CLI and STI, I/O permission, HLT, CPUID and cache control.
 *
 * SDM vol. 3 section 2.5 (control registers), 5.9 (privileged instructions),
 * vol. 1 section 19.5.2 (I/O permission bitmap), vol. 2 under each mnemonic.
 */
#include "vmm/apic.h"
#include "vmm/soft/seg.h"
#include "vmm/soft/stack.h"
#include "vmm/soft/system.h"
#include "vmm/soft/thread.h"
#include "vmm/x86/control.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/msr.h"

/* ---- control registers */

enum {
	CR0_KNOWN = X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_NE | X86_CR0_WP | X86_CR0_AM,
};

/* Setting PG with EFER.LME enters long mode, clearing it leaves. */
static void switch_long_mode(struct cpu *cpu, uint64_t val)
{
	bool on = (val & X86_CR0_PG) && !(cpu->cr0 & X86_CR0_PG), off = !(val & X86_CR0_PG) && (cpu->cr0 & X86_CR0_PG);

	if (on && (cpu->efer & X86_EFER_LME)) {
		if (!(cpu->cr4 & X86_CR4_PAE) || (cpu->seg[X86_CS].attr & X86_ATTR_L))
			cpu_fault(cpu, X86_GP, 0);
		cpu->efer |= X86_EFER_LMA;
	}
	if (off && (cpu_code64(cpu) || (cpu->cr4 & X86_CR4_PCIDE)))
		cpu_fault(cpu, X86_GP, 0);
	if (off)
		cpu->efer &= ~(uint64_t)X86_EFER_LMA;
}

void cr0_write(struct cpu *cpu, uint64_t val)
{
	uint64_t old = cpu->cr0;

	if (val >> 32 || ((val & X86_CR0_PG) && !(val & X86_CR0_PE)) || ((val & X86_CR0_NW) && !(val & X86_CR0_CD)))
		cpu_fault(cpu, X86_GP, 0);
	switch_long_mode(cpu, val);
	cpu->cr0 = (val & ((uint32_t)CR0_KNOWN | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)) | X86_CR0_ET;
	if ((old ^ cpu->cr0) & (X86_CR0_PG | X86_CR0_WP | X86_CR0_PE))
		mmu_flush(cpu, true);
	cpu->recheck = true;
	cpu_update_mode(cpu);
}

void cr3_write(struct cpu *cpu, uint64_t val)
{
	uint64_t known = (cpu->cr4 & X86_CR4_PAE) ? 0xffffffe0u : 0xfffff000u, old = cpu->cr3;
	bool keep = false;

	if (cpu_long(cpu)) {
		if (cpu->cr4 & X86_CR4_PCIDE) {
			keep = val & X86_CR3_KEEP;
			val &= ~X86_CR3_KEEP;
		}
		if (val >> X86_PHYS_BITS)
			cpu_fault(cpu, X86_GP, 0);
		known = ~0ull;
	}
	cpu->cr3 = val & (known | X86_CR3_PWT | X86_CR3_PCD);
	if (!keep)
		mmu_flush(cpu, false);
	else if ((old ^ val) & X86_CR3_PCID)
		mmu_switch(cpu);
	cpu->recheck = true;
}

enum {
	CR4_TRANSLATION = X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_LA57 | X86_CR4_PCIDE | X86_CR4_SMEP | X86_CR4_SMAP,
};

void cr4_write(struct cpu *cpu, uint64_t val)
{
	uint64_t old = cpu->cr4, set = val & ~old;

	if (val & ~x86_cr4_bits(cpu->level))
		cpu_fault(cpu, X86_GP, 0);
	if (cpu_long(cpu) && (!(val & X86_CR4_PAE) || ((old ^ val) & X86_CR4_LA57)))
		cpu_fault(cpu, X86_GP, 0);
	if ((set & X86_CR4_PCIDE) && (!cpu_long(cpu) || (cpu->cr3 & X86_CR3_PCID)))
		cpu_fault(cpu, X86_GP, 0);
	cpu->cr4 = val;
	if ((old ^ val) & CR4_TRANSLATION)
		mmu_flush(cpu, true);
	cpu_update_mode(cpu);
	cpu->recheck = true;
}

static void cr8_write(struct cpu *cpu, uint64_t val)
{
	if (val & ~15ull)
		cpu_fault(cpu, X86_GP, 0);
	apic_set_cr8(cpu->vcpu, val);
	cpu->recheck = true;
}

/* A control register that does not exist is #UD before the privilege is looked at. */
static void need_cr(struct cpu *cpu, unsigned cr)
{
	if (cr == 1 || (cr > 4 && (cr != 8 || !cpu_code64(cpu))))
		cpu_fault(cpu, X86_UD, 0);
	need_cpl0(cpu);
}

void op_mov_to_cr(struct cpu *cpu, const struct insn *in)
{
	uint64_t val = gpr_read(cpu, in->rm, cpu_code64(cpu) ? 8 : 4);

	need_cr(cpu, in->reg);
	switch (in->reg) {
	case 0: cr0_write(cpu, val); break;
	case 2: cpu->cr2 = val; break;
	case 3: cr3_write(cpu, val); break;
	case 4: cr4_write(cpu, val); break;
	default: cr8_write(cpu, val); break;
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
	case 4: val = cpu->cr4; break;
	default: val = apic_cr8(cpu->vcpu); break;
	}
	gpr_write(cpu, in->rm, cpu_code64(cpu) ? 8 : 4, val);
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
	check_umip(cpu);
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
	uint64_t ea = insn_ea(cpu, in), at = ip_mask(in->adsize, ea + 2), base;
	uint16_t limit;

	need_cpl0(cpu);
	limit = ld16(cpu, in->seg, ea);
	base = cpu_code64(cpu) ? ld64(cpu, in->seg, at) : ld32(cpu, in->seg, at);
	if (cpu_code64(cpu) && !cpu_canonical(cpu, base))
		cpu_fault(cpu, X86_GP, 0);
	table->limit = limit;
	table->base = in->opsize == 2 && !cpu_code64(cpu) ? base & 0xffffff : base;
}

/* All 32 bits of the base are stored with either operand size, as processors do. */
static void store_table(struct cpu *cpu, const struct insn *in, const struct x86_table *table)
{
	uint64_t ea = insn_ea(cpu, in), at = ip_mask(in->adsize, ea + 2);

	check_umip(cpu);
	st16(cpu, in->seg, ea, table->limit);
	if (cpu_code64(cpu))
		st64(cpu, in->seg, at, table->base);
	else
		st32(cpu, in->seg, at, table->base);
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
	stack_set(cpu, cpu->gpr[X86_RSP].q + in->opsize);
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

/*
 * No interrupt before the instruction that follows, so that STI; RET and STI; HLT
 * are safe.  If one waits, that instruction is the run loop's to step; else the
 * block goes on, and `shadow` tells the run loop, should that instruction come back to it.
 */
HANDLER(thread_sti)
{
	cpu->insn = in;
	need_iopl(cpu);
	if (cpu->rflags & X86_RFLAGS_IF)
		NEXT(1);
	cpu->rflags |= X86_RFLAGS_IF;
	cpu->intr_mask = ~0u;
	cpu->shadow = SHADOW_STI;
	if (!in->last && !cpu_event(cpu))
		NEXT(1);
	cpu->shadow |= SHADOW_NEW;
	cpu->recheck = true;
	cpu->rip = (cpu->rip + in->off + in->len) & cpu->ip_mask;
	cpu->icount += in->n + 1u;
}

void insn_is_last(struct insn *in)
{
	if (in->row != NO_ROW && op_dispatch[in->row].select == sel_sti)
		in->last = true;
}

insn_fn *sel_sti(const struct x86_insn *x, struct insn *in)
{
	(void)x;
	(void)in;
	return thread_sti;
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
	cpu->idle = IN_HLT;
	cpu->recheck = true;
}

/*
 * Nobody tells this processor of other agents' stores.  So MWAIT sleeps as HLT
 * does, but for a short time only, which it may: it ends "for other reasons" too.
 */
static void need_monitor(struct cpu *cpu, const struct insn *in)
{
	if (cpu->cpl || !(cpu->misc_enable & X86_MISC_ENABLE_MONITOR))
		cpu_fault(cpu, X86_UD, 0);
	if (gpr_read(cpu, X86_RCX, in->code64 ? 8 : 4))		/* extensions: none */
		cpu_fault(cpu, X86_GP, 0);
}

void op_monitor(struct cpu *cpu, const struct insn *in)
{
	struct mmu_held line;

	need_monitor(cpu, in);
	mmu_probe_read(cpu, mmu_linear(cpu, in->seg, gpr_read(cpu, X86_RAX, in->adsize), 1, false), 1, &line);
	cpu->monitoring = true;
}

void op_mwait(struct cpu *cpu, const struct insn *in)
{
	need_monitor(cpu, in);
	if (cpu->monitoring)
		cpu->idle = IN_MWAIT;
	cpu->monitoring = false;
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

enum { INVPCID_ADDRESS, INVPCID_ONE, INVPCID_ALL_GLOBAL, INVPCID_ALL };

/* One address of another space than the running one is dropped with all of that. */
void op_invpcid(struct cpu *cpu, const struct insn *in)
{
	uint64_t ea = insn_ea(cpu, in), type = gpr_read(cpu, in->reg, cpu_code64(cpu) ? 8 : 4), pcid, linear;

	if (!cpu->pe || cpu->v86)
		cpu_fault(cpu, cpu->v86 ? X86_GP : X86_UD, 0);
	need_cpl0(cpu);
	pcid = ld64(cpu, in->seg, ea);
	linear = ld64(cpu, in->seg, ip_mask(in->adsize, ea + 8));
	if (type > INVPCID_ALL || pcid >> 12)
		cpu_fault(cpu, X86_GP, 0);
	if (type <= INVPCID_ONE && pcid && !(cpu->cr4 & X86_CR4_PCIDE))
		cpu_fault(cpu, X86_GP, 0);
	if (type == INVPCID_ADDRESS && !cpu_canonical(cpu, linear))
		cpu_fault(cpu, X86_GP, 0);
	if (type == INVPCID_ALL_GLOBAL)
		mmu_flush(cpu, true);
	else if (type == INVPCID_ALL)
		mmu_forget_each(cpu);
	else if (type == INVPCID_ADDRESS && (!(cpu->cr4 & X86_CR4_PCIDE) || pcid == (cpu->cr3 & X86_CR3_PCID)))
		mmu_invlpg(cpu, linear);
	else
		mmu_forget(cpu, pcid);
}

/* ---- SMAP, FS and GS */

static void set_ac(struct cpu *cpu, bool on)
{
	if (cpu->cpl != 0)
		cpu_fault(cpu, X86_UD, 0);
	cpu->rflags = on ? cpu->rflags | X86_RFLAGS_AC : cpu->rflags & ~(uint64_t)X86_RFLAGS_AC;
	cpu_update_mode(cpu);
}

void op_stac(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	set_ac(cpu, true);
}

void op_clac(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	set_ac(cpu, false);
}

void op_swapgs(struct cpu *cpu, const struct insn *in)
{
	uint64_t base = cpu->seg[X86_GS].base;

	(void)in;
	if (!cpu_code64(cpu))
		cpu_fault(cpu, X86_UD, 0);
	need_cpl0(cpu);
	seg_set_base(cpu, X86_GS, cpu->kernel_gs_base);
	cpu->kernel_gs_base = base;
}

static void need_fsgsbase(struct cpu *cpu)
{
	if (!cpu_code64(cpu) || !(cpu->cr4 & X86_CR4_FSGSBASE))
		cpu_fault(cpu, X86_UD, 0);
}

static void read_base(struct cpu *cpu, const struct insn *in, unsigned seg)
{
	need_fsgsbase(cpu);
	gpr_write(cpu, in->rm, in->opsize == 8 ? 8 : 4, cpu->seg[seg].base);
}

static void write_base(struct cpu *cpu, const struct insn *in, unsigned seg)
{
	uint64_t val = gpr_read(cpu, in->rm, in->opsize == 8 ? 8 : 4);

	need_fsgsbase(cpu);
	if (!cpu_canonical(cpu, val))
		cpu_fault(cpu, X86_GP, 0);
	seg_set_base(cpu, seg, val);
}

void op_rdfsbase(struct cpu *cpu, const struct insn *in)
{
	read_base(cpu, in, X86_FS);
}

void op_rdgsbase(struct cpu *cpu, const struct insn *in)
{
	read_base(cpu, in, X86_GS);
}

void op_wrfsbase(struct cpu *cpu, const struct insn *in)
{
	write_base(cpu, in, X86_FS);
}

void op_wrgsbase(struct cpu *cpu, const struct insn *in)
{
	write_base(cpu, in, X86_GS);
}

void op_cpuid(struct cpu *cpu, const struct insn *in)
{
	uint32_t leaf = cpu->gpr[X86_RAX].d, subleaf = cpu->gpr[X86_RCX].d;
	struct x86_cpuid r = x86_cpuid(cpu->level, leaf, subleaf);

	(void)in;
	apic_cpuid(cpu->vcpu, leaf, subleaf, x86_cpuid(cpu->level, 0, 0).eax, &r);
	if (leaf == 1 && !(cpu->misc_enable & X86_MISC_ENABLE_MONITOR))
		r.ecx &= ~X86_FEATURE_MONITOR;
	if (leaf == 1 && (cpu->cr4 & X86_CR4_OSXSAVE))
		r.ecx |= X86_FEATURE_OSXSAVE;
	if (leaf == 0xd && subleaf < 2 && r.eax)
		r.ebx = x86_xsave_bytes(cpu->simd.xcr0);
	cpu->gpr[X86_RAX].q = r.eax;
	cpu->gpr[X86_RBX].q = r.ebx;
	cpu->gpr[X86_RCX].q = r.ecx;
	cpu->gpr[X86_RDX].q = r.edx;
}
