/*
 * vmm/soft/seg.c - segment registers: loading, checking, asking about.
 *
 * Owns the base parts of segment registers and what is precomputed from them
 * (struct seg's rend and wend, cpu->mode).  Far transfers are in far.c.
 *
 * SDM vol. 3 sections 3.4 (descriptors), 5.2 to 5.10 (protection), 20.1
 * (real mode), 20.2 (virtual-8086 mode); vol. 2 MOV, POP, LDS.., LAR, LSL,
 * VERR, VERW, ARPL.
 */
#include "vmm/soft/seg.h"

#include "vmm/soft/mmu.h"
#include "vmm/soft/ops.h"
#include "vmm/soft/system.h"
#include "vmm/x86/control.h"

/* ---- what follows from a segment register */

#define WRAP	(1ull << 32)

void seg_update(struct cpu *cpu, unsigned seg)
{
	struct seg *s = &cpu->seg[seg];
	uint64_t end = (uint64_t)s->limit + 1;

	if (seg == X86_FS || seg == X86_GS)
		cpu->seg[seg == X86_FS ? SEG_FLAT_FS : SEG_FLAT_GS].base = s->base;
	if (s->base >= WRAP)			/* the slow path truncates it */
		end = 0;
	else if (end > WRAP - s->base)
		end = WRAP - s->base;
	s->rend = s->wend = 0;
	if ((s->attr & X86_ATTR_UNUSABLE) || x86_attr_is_expand_down(s->attr))
		return;
	if (x86_attr_is_readable(s->attr))
		s->rend = end;
	if (x86_attr_is_writable(s->attr))
		s->wend = end;
}

void cpu_update_mode(struct cpu *cpu)
{
	const struct seg *cs = &cpu->seg[X86_CS];

	cpu->pe = cpu->cr0 & X86_CR0_PE;
	cpu->v86 = cpu->pe && (cpu->rflags & X86_RFLAGS_VM);
	if (!cpu->pe)
		cpu->cpl = 0;
	else if (cpu->v86)
		cpu->cpl = 3;
	/* Where software cannot see a difference there is none, so that blocks are shared. */
	if (cpu_long(cpu) && (cs->attr & X86_ATTR_L))
		cpu->mode = MODE_CODE64;
	else
		cpu->mode = (cs->attr & X86_ATTR_DB ? MODE_CODE32 : 0) | (cpu->seg[X86_SS].attr & X86_ATTR_DB ? MODE_STACK32 : 0);
	if (cpu->cpl == 3)
		cpu->mode |= MODE_USER | (cpu->cr0 & X86_CR0_AM && cpu->rflags & X86_RFLAGS_AC ? MODE_CHECKED : 0);
	else if (cpu->cr4 & X86_CR4_SMAP && cpu->rflags & X86_RFLAGS_AC)
		cpu->mode |= MODE_OPEN;
	if (cpu_code64(cpu)) {
		cpu->rip_end = cpu->ip_mask = ~0ull;
		cpu->code_base = 0;
	} else {
		cpu->rip_end = (uint64_t)cs->limit + 1;		/* 16-bit code in a larger segment may run past 64 KiB */
		cpu->ip_mask = 0xffffffff;
		cpu->code_base = cs->base;
	}
	cpu->intr_mask = cpu->rflags & X86_RFLAGS_IF ? ~0u : 0;
	mmu_select(cpu);
	simd_update(cpu);
}

static bool in_limit(const struct seg *s, uint64_t off, uint64_t size)
{
	uint64_t last = off + size - 1;

	if (!x86_attr_is_expand_down(s->attr))
		return last <= s->limit;
	return off > s->limit && last <= (s->attr & X86_ATTR_DB ? 0xffffffffull : 0xffffull);
}

bool seg_allows(const struct seg *s, uint64_t off, uint64_t size, bool write)
{
	if (s->attr & X86_ATTR_UNUSABLE)
		return false;
	if (!(write ? x86_attr_is_writable(s->attr) : x86_attr_is_readable(s->attr)))
		return false;
	return in_limit(s, off, size);
}

uint64_t mmu_linear(struct cpu *cpu, unsigned seg, uint64_t off, uint64_t size, bool write)
{
	const struct seg *s = &cpu->seg[seg];
	uint64_t lin = s->base + off;

	if (seg >= SEG_FLAT) {
		if (!cpu_canonical(cpu, lin) || !cpu_canonical(cpu, lin + size - 1))
			cpu_fault(cpu, seg == SEG_FLAT_SS ? X86_SS_FAULT : X86_GP, 0);
		return lin;
	}
	if (!seg_allows(s, off, size, write))
		cpu_fault(cpu, seg == X86_SS ? X86_SS_FAULT : X86_GP, 0);
	return lin;
}

/* ---- descriptors */

bool seg_is_null(uint16_t sel)
{
	return !(sel & ~X86_SEL_RPL);
}

uint32_t seg_error(uint16_t sel)
{
	return sel & ~X86_SEL_RPL;
}

bool seg_locate(const struct cpu *cpu, uint16_t sel, uint64_t *linear)
{
	uint32_t off = sel & X86_SEL_INDEX;

	if (sel & X86_SEL_TI) {
		const struct seg *ldt = &cpu->seg[X86_LDTR];

		*linear = ldt->base + off;
		return !(ldt->attr & X86_ATTR_UNUSABLE) && off + 7 <= ldt->limit;
	}
	*linear = cpu->gdtr.base + off;
	return off + 7 <= cpu->gdtr.limit;
}

bool seg_find(struct cpu *cpu, uint16_t sel, struct x86_descriptor *d)
{
	uint64_t linear;

	if (!seg_locate(cpu, sel, &linear))
		return false;
	*d = x86_descriptor(sys_ld64(cpu, linear));
	return true;
}

struct x86_descriptor seg_fetch(struct cpu *cpu, uint16_t sel, unsigned vector)
{
	struct x86_descriptor d;

	if (!seg_find(cpu, sel, &d))
		cpu_fault(cpu, vector, seg_error(sel));
	return d;
}

uint64_t seg_fetch_upper(struct cpu *cpu, uint16_t sel, struct x86_descriptor *d)
{
	uint64_t linear, high;

	if ((sel & X86_SEL_INDEX) == X86_SEL_INDEX || !seg_locate(cpu, sel + 8, &linear))
		cpu_fault(cpu, X86_GP, seg_error(sel));
	high = sys_ld64(cpu, linear);
	d->base |= high << 32;
	return high;
}

void seg_check_code(struct cpu *cpu, uint16_t sel, const struct x86_descriptor *d)
{
	if (seg_is_code64(cpu, d) && (d->attr & X86_ATTR_DB))
		cpu_fault(cpu, X86_GP, seg_error(sel));
}

void seg_mark_accessed(struct cpu *cpu, uint16_t sel, struct x86_descriptor *d)
{
	uint64_t linear;

	if (!(d->attr & X86_ATTR_S) || (d->attr & X86_TYPE_ACCESSED) || !seg_locate(cpu, sel, &linear))
		return;
	d->attr |= X86_TYPE_ACCESSED;
	sys_st8(cpu, linear + 5, d->attr & 0xff);
}

void seg_set(struct cpu *cpu, unsigned seg, uint16_t sel, const struct x86_descriptor *d)
{
	cpu->seg[seg].selector = sel;
	cpu->seg[seg].base = d->base;
	cpu->seg[seg].limit = d->limit;
	cpu->seg[seg].attr = d->attr;
	seg_update(cpu, seg);
}

void seg_set_base(struct cpu *cpu, unsigned seg, uint64_t base)
{
	cpu->seg[seg].base = base;
	seg_update(cpu, seg);
}

void seg_set_null(struct cpu *cpu, unsigned seg, uint16_t sel)
{
	cpu->seg[seg] = (struct seg) { .selector = sel, .attr = X86_ATTR_UNUSABLE };
	seg_update(cpu, seg);
}

/*
 * Real mode changes selector, base and type, and keeps limit and size: hence
 * "unreal" segments.  A null selector left over from protected mode has no
 * limit to keep.
 */
void seg_set_real(struct cpu *cpu, unsigned seg, uint16_t sel)
{
	struct seg *s = &cpu->seg[seg];

	if (s->attr & X86_ATTR_UNUSABLE)
		s->limit = 0xffff;
	s->selector = sel;
	s->base = (uint32_t)sel << 4;
	s->attr = (s->attr & (X86_ATTR_DB | X86_ATTR_G | X86_ATTR_AVL)) | X86_ATTR_P | X86_ATTR_S
		| X86_TYPE_WRITABLE | X86_TYPE_ACCESSED;
	seg_update(cpu, seg);
}

void seg_set_v86(struct cpu *cpu, unsigned seg, uint16_t sel)
{
	cpu->seg[seg] = (struct seg) {
		.selector = sel,
		.base = (uint32_t)sel << 4,
		.limit = 0xffff,
		.attr = X86_ATTR_P | X86_ATTR_S | X86_ATTR_DPL | X86_TYPE_WRITABLE | X86_TYPE_ACCESSED,
	};
	seg_update(cpu, seg);
}

/* ---- loading, protected mode */

struct x86_descriptor seg_check_stack(struct cpu *cpu, uint16_t sel, unsigned cpl, unsigned vector)
{
	struct x86_descriptor d;

	if (seg_is_null(sel))
		cpu_fault(cpu, vector, 0);
	d = seg_fetch(cpu, sel, vector);
	if ((sel & X86_SEL_RPL) != cpl || !x86_attr_is_writable(d.attr) || x86_attr_dpl(d.attr) != cpl)
		cpu_fault(cpu, vector, seg_error(sel));
	if (!(d.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_SS_FAULT, seg_error(sel));
	return d;
}

struct x86_descriptor seg_check_data(struct cpu *cpu, uint16_t sel, unsigned cpl, unsigned vector)
{
	struct x86_descriptor d = seg_fetch(cpu, sel, vector);
	unsigned rpl = sel & X86_SEL_RPL, dpl = x86_attr_dpl(d.attr);

	if (!x86_attr_is_readable(d.attr))
		cpu_fault(cpu, vector, seg_error(sel));
	if (!x86_attr_is_conforming(d.attr) && (rpl > dpl || cpl > dpl))
		cpu_fault(cpu, vector, seg_error(sel));
	if (!(d.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, seg_error(sel));
	return d;
}

static bool null_stack_allowed(const struct cpu *cpu, uint16_t sel)
{
	return cpu_code64(cpu) && cpu->cpl != 3 && (sel & X86_SEL_RPL) == cpu->cpl;
}

void seg_load(struct cpu *cpu, unsigned seg, uint16_t sel)
{
	struct x86_descriptor d;

	if (!cpu->pe) {
		seg_set_real(cpu, seg, sel);
	} else if (cpu->v86) {
		seg_set_v86(cpu, seg, sel);
	} else if (seg_is_null(sel) && (seg != X86_SS || null_stack_allowed(cpu, sel))) {
		seg_set_null(cpu, seg, sel);
	} else {
		d = seg == X86_SS ? seg_check_stack(cpu, sel, cpu->cpl, X86_GP) : seg_check_data(cpu, sel, cpu->cpl, X86_GP);
		seg_mark_accessed(cpu, sel, &d);
		seg_set(cpu, seg, sel, &d);
	}
	if (seg == X86_SS)
		cpu_update_mode(cpu);
}

/* ---- the stack, for handlers here and in the other system files */

uint64_t stack_mask(const struct cpu *cpu, const struct seg *ss)
{
	return cpu_code64(cpu) ? ~0ull : ss->attr & X86_ATTR_DB ? 0xffffffff : 0xffff;
}

uint64_t stack_read(struct cpu *cpu, unsigned at, unsigned size)
{
	uint64_t off = (cpu->gpr[X86_RSP].q + at) & stack_mask(cpu, &cpu->seg[X86_SS]);
	unsigned ss = cpu_code64(cpu) ? SEG_FLAT_SS : X86_SS;

	return size == 2 ? ld16(cpu, ss, off) : size == 4 ? ld32(cpu, ss, off) : ld64(cpu, ss, off);
}

void stack_set(struct cpu *cpu, uint64_t sp)
{
	if (cpu_code64(cpu))
		cpu->gpr[X86_RSP].q = sp;
	else if (cpu->seg[X86_SS].attr & X86_ATTR_DB)
		cpu->gpr[X86_RSP].q = (uint32_t)sp;
	else
		cpu->gpr[X86_RSP].w = sp;
}

/* ---- handlers */

/* After a load of SS no event is taken before the next instruction is done, so that it can load SP. */
static void shadow_ss(struct cpu *cpu)
{
	cpu->shadow = SHADOW_SS | SHADOW_NEW;
	cpu->recheck = true;
}

static uint16_t source16(struct cpu *cpu, const struct insn *in)
{
	return in->mem ? ld16(cpu, in->seg, insn_ea(cpu, in)) : cpu->gpr[in->rm].w;
}

void op_mov_to_seg(struct cpu *cpu, const struct insn *in)
{
	seg_load(cpu, in->reg, source16(cpu, in));
	if (in->reg == X86_SS)
		shadow_ss(cpu);
}

/* The register or 16 bits of memory. */
static void store_selector(struct cpu *cpu, const struct insn *in, uint16_t sel)
{
	if (in->mem)
		st16(cpu, in->seg, insn_ea(cpu, in), sel);
	else
		gpr_write(cpu, in->rm, in->opsize, sel);
}

void op_mov_from_seg(struct cpu *cpu, const struct insn *in)
{
	store_selector(cpu, in, cpu->seg[in->reg].selector);
}

/* A 32-bit push writes the selector zero-extended, as the SDM has it first and AMD's do (Intel's write two bytes). */
void op_push_seg(struct cpu *cpu, const struct insn *in)
{
	uint64_t sp = (cpu->gpr[X86_RSP].q - in->opsize) & stack_mask(cpu, &cpu->seg[X86_SS]);

	if (in->opsize == 8)
		st64(cpu, SEG_FLAT_SS, sp, cpu->seg[in->reg].selector);
	else if (in->opsize == 4)
		st32(cpu, X86_SS, sp, cpu->seg[in->reg].selector);
	else
		st16(cpu, cpu_code64(cpu) ? SEG_FLAT_SS : X86_SS, sp, cpu->seg[in->reg].selector);
	stack_set(cpu, sp);
}

void op_pop_seg(struct cpu *cpu, const struct insn *in)
{
	uint64_t mask = stack_mask(cpu, &cpu->seg[X86_SS]);
	uint64_t sp = (cpu->gpr[X86_RSP].q + in->opsize) & mask;
	uint16_t sel = stack_read(cpu, 0, 2);

	if (in->reg == X86_SS) {
		/* The width of the stack that was popped from decides how SP moves. */
		seg_load(cpu, X86_SS, sel);
		if (mask == 0xffff)
			cpu->gpr[X86_RSP].w = sp;
		else
			cpu->gpr[X86_RSP].q = sp;
		shadow_ss(cpu);
		return;
	}
	seg_load(cpu, in->reg, sel);
	stack_set(cpu, sp);
}

static unsigned far_ptr_segment(const struct insn *in)
{
	switch (x86_opcodes[in->row].opcode) {
	case 0xc4: return X86_ES;
	case 0xc5: return X86_DS;
	case 0xb2: return X86_SS;
	case 0xb4: return X86_FS;
	default: return X86_GS;
	}
}

void op_load_far_ptr(struct cpu *cpu, const struct insn *in)
{
	uint64_t ea = insn_ea(cpu, in);
	uint64_t off = in->opsize == 2 ? ld16(cpu, in->seg, ea) : in->opsize == 4 ? ld32(cpu, in->seg, ea) : ld64(cpu, in->seg, ea);
	uint16_t sel = ld16(cpu, in->seg, ip_mask(in->adsize, ea + in->opsize));

	seg_load(cpu, far_ptr_segment(in), sel);
	gpr_write(cpu, in->reg, in->opsize, off);
}

/* ---- asking about a selector: ZF says whether the answer is yes */

static void need_protected(struct cpu *cpu)
{
	if (!cpu->pe || cpu->v86)
		cpu_fault(cpu, X86_UD, 0);
}

static void set_zf(struct cpu *cpu, bool zf)
{
	cpu->fl = zf ? cpu->fl | FL_ZF : cpu->fl & ~(uint32_t)FL_ZF;
}

/* Visible at this privilege and RPL; system descriptors of the types in `system` only. */
static bool visible(struct cpu *cpu, uint16_t sel, uint32_t system, struct x86_descriptor *d)
{
	unsigned dpl;

	if (seg_is_null(sel) || !seg_find(cpu, sel, d))
		return false;
	dpl = x86_attr_dpl(d->attr);
	if (!(d->attr & X86_ATTR_S) && !(system >> x86_attr_type(d->attr) & 1))
		return false;
	return x86_attr_is_conforming(d->attr) || (cpu->cpl <= dpl && (sel & X86_SEL_RPL) <= dpl);
}

/* The types that LSL and LAR know; in long mode those of 16 bits and the task gate are none. */
enum {
	LONG_TYPES = 1 << X86_SYS_LDT | 1 << X86_SYS_TSS32 | 1 << X86_SYS_TSS32_BUSY | 1 << X86_SYS_CALL32,
	LSL_TYPES = 1 << X86_SYS_TSS16 | 1 << X86_SYS_LDT | 1 << X86_SYS_TSS16_BUSY | 1 << X86_SYS_TSS32 | 1 << X86_SYS_TSS32_BUSY,
	LAR_TYPES = LSL_TYPES | 1 << X86_SYS_CALL16 | 1 << X86_SYS_TASK_GATE | 1 << X86_SYS_CALL32,
};

void op_lar(struct cpu *cpu, const struct insn *in)
{
	struct x86_descriptor d;
	uint16_t sel;
	bool ok;

	need_protected(cpu);
	sel = source16(cpu, in);
	ok = visible(cpu, sel, LAR_TYPES & (cpu_long(cpu) ? LONG_TYPES : ~0), &d);
	if (ok)
		gpr_write(cpu, in->reg, in->opsize, d.raw >> 32 & (in->opsize == 2 ? 0xff00 : 0xffff00));
	set_zf(cpu, ok);
}

void op_lsl(struct cpu *cpu, const struct insn *in)
{
	struct x86_descriptor d;
	uint16_t sel;
	bool ok;

	need_protected(cpu);
	sel = source16(cpu, in);
	ok = visible(cpu, sel, LSL_TYPES & (cpu_long(cpu) ? LONG_TYPES : ~0), &d);
	if (ok)
		gpr_write(cpu, in->reg, in->opsize, d.limit);
	set_zf(cpu, ok);
}

void op_verr(struct cpu *cpu, const struct insn *in)
{
	struct x86_descriptor d;
	uint16_t sel;

	need_protected(cpu);
	sel = source16(cpu, in);
	set_zf(cpu, visible(cpu, sel, 0, &d) && x86_attr_is_readable(d.attr));
}

void op_verw(struct cpu *cpu, const struct insn *in)
{
	struct x86_descriptor d;
	uint16_t sel;

	need_protected(cpu);
	sel = source16(cpu, in);
	set_zf(cpu, visible(cpu, sel, 0, &d) && x86_attr_is_writable(d.attr));
}

void op_arpl(struct cpu *cpu, const struct insn *in)
{
	uint16_t dst, src;
	bool raise;

	need_protected(cpu);
	src = cpu->gpr[in->reg].w;
	dst = in->mem ? ld16(cpu, in->seg, insn_ea(cpu, in)) : cpu->gpr[in->rm].w;	/* written only to raise it */
	raise = (dst & X86_SEL_RPL) < (src & X86_SEL_RPL);
	if (raise)
		dst = (dst & ~X86_SEL_RPL) | (src & X86_SEL_RPL);
	if (in->mem && raise)
		st16(cpu, in->seg, insn_ea(cpu, in), dst);
	else if (raise)
		cpu->gpr[in->rm].w = dst;
	set_zf(cpu, raise);
}

void op_sldt(struct cpu *cpu, const struct insn *in)
{
	need_protected(cpu);
	check_umip(cpu);
	store_selector(cpu, in, cpu->seg[X86_LDTR].selector);
}

void op_str(struct cpu *cpu, const struct insn *in)
{
	need_protected(cpu);
	check_umip(cpu);
	store_selector(cpu, in, cpu->seg[X86_TR].selector);
}

/* In long mode the base's upper half, which must make it canonical. */
static void fetch_long_base(struct cpu *cpu, uint16_t sel, struct x86_descriptor *d)
{
	if (!cpu_long(cpu))
		return;
	seg_fetch_upper(cpu, sel, d);
	if (!cpu_canonical(cpu, d->base))
		cpu_fault(cpu, X86_GP, seg_error(sel));
}

/* An LDT's descriptor lives in the GDT. */
static struct x86_descriptor fetch_gdt(struct cpu *cpu, uint16_t sel)
{
	if (sel & X86_SEL_TI)
		cpu_fault(cpu, X86_GP, seg_error(sel));
	return seg_fetch(cpu, sel, X86_GP);
}

void op_lldt(struct cpu *cpu, const struct insn *in)
{
	struct x86_descriptor d;
	uint16_t sel;

	need_protected(cpu);
	need_cpl0(cpu);
	sel = source16(cpu, in);
	if (seg_is_null(sel)) {
		seg_set_null(cpu, X86_LDTR, sel);
		return;
	}
	d = fetch_gdt(cpu, sel);
	if ((d.attr & (X86_ATTR_S | X86_ATTR_TYPE)) != X86_SYS_LDT)
		cpu_fault(cpu, X86_GP, seg_error(sel));
	if (!(d.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, seg_error(sel));
	fetch_long_base(cpu, sel, &d);
	seg_set(cpu, X86_LDTR, sel, &d);
}

void op_ltr(struct cpu *cpu, const struct insn *in)
{
	struct x86_descriptor d;
	uint16_t sel;
	uint64_t linear;
	unsigned type;

	need_protected(cpu);
	need_cpl0(cpu);
	sel = source16(cpu, in);
	if (seg_is_null(sel))
		cpu_fault(cpu, X86_GP, 0);
	d = fetch_gdt(cpu, sel);
	type = d.attr & (X86_ATTR_S | X86_ATTR_TYPE);
	if (type != X86_SYS_TSS32 && (type != X86_SYS_TSS16 || cpu_long(cpu)))
		cpu_fault(cpu, X86_GP, seg_error(sel));
	if (!(d.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, seg_error(sel));
	fetch_long_base(cpu, sel, &d);
	d.attr |= X86_SYS_BUSY;
	seg_locate(cpu, sel, &linear);
	sys_st8(cpu, linear + 5, d.attr & 0xff);
	seg_set(cpu, X86_TR, sel, &d);
}
