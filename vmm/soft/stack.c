/*
 * vmm/soft/stack.c - see stack.h.  SDM vol. 3 sections 5.8.5 (stack switching), 6.14 (64-bit mode), 7.2, 7.7 (TSS).
 */
#include "vmm/soft/stack.h"

#include "vmm/soft/mmu.h"
#include "vmm/soft/seg.h"
#include "vmm/soft/system.h"

void stack_running(struct cpu *cpu, struct stack *st)
{
	st->seg = cpu->seg[X86_SS];
	st->mask = stack_mask(cpu, &st->seg);
	st->sp = cpu->gpr[X86_RSP].q & st->mask;
	st->error = 0;
	st->inner = false;
	st->wide = cpu_code64(cpu);
	st->system = false;
}

/* SS:SP for the level, as the running TSS has them. */
static uint16_t tss_stack(struct cpu *cpu, unsigned cpl, uint32_t *sp)
{
	const struct seg *tr = &cpu->seg[X86_TR];
	bool wide = x86_attr_type(tr->attr) & X86_SYS_32;
	uint32_t at = wide ? X86_TSS32_SP0 + 8 * cpl : X86_TSS16_SP0 + 4 * cpl;

	if ((tr->attr & X86_ATTR_UNUSABLE) || at + (wide ? 6 : 4) - 1 > tr->limit)
		cpu_fault(cpu, X86_TS, seg_error(tr->selector));
	*sp = wide ? sys_ld32(cpu, tr->base + at) : sys_ld16(cpu, tr->base + at);
	return sys_ld16(cpu, tr->base + at + (wide ? 4 : 2));
}

void stack_inner(struct cpu *cpu, struct stack *st, unsigned cpl)
{
	uint32_t sp;
	uint16_t sel = tss_stack(cpu, cpl, &sp);

	st->desc = seg_check_stack(cpu, sel, cpl, X86_TS);
	seg_mark_accessed(cpu, sel, &st->desc);
	st->seg = (struct seg) { .base = st->desc.base, .limit = st->desc.limit, .attr = st->desc.attr, .selector = sel };
	st->mask = st->seg.attr & X86_ATTR_DB ? 0xffffffff : 0xffff;
	st->sp = sp & st->mask;
	st->error = seg_error(sel);
	st->inner = true;
	st->wide = false;
	st->system = true;
}

/* A stack pointer of the 64-bit TSS. */
static uint64_t tss_pointer(struct cpu *cpu, unsigned at)
{
	const struct seg *tr = &cpu->seg[X86_TR];

	if ((tr->attr & X86_ATTR_UNUSABLE) || at + 7 > tr->limit)
		cpu_fault(cpu, X86_TS, seg_error(tr->selector));
	return sys_ld64(cpu, tr->base + at);
}

void stack_long(struct cpu *cpu, struct stack *st, unsigned cpl, unsigned ist)
{
	*st = (struct stack) {
		.seg = cpu->seg[X86_SS], .mask = ~0ull, .wide = true, .inner = cpl != cpu->cpl, .system = cpl != 3, .cpl = cpl,
	};
	if (ist)
		st->sp = tss_pointer(cpu, X86_TSS64_IST1 + 8 * (ist - 1));
	else if (st->inner)
		st->sp = tss_pointer(cpu, X86_TSS64_RSP0 + 8 * cpl);
	else
		st->sp = cpu->gpr[X86_RSP].q & stack_mask(cpu, &st->seg);
	if (!cpu_canonical(cpu, st->sp))
		cpu_fault(cpu, X86_SS_FAULT, 0);
}

void stack_push(struct cpu *cpu, struct stack *st, unsigned size, uint64_t val)
{
	uint64_t sp = (st->sp - size) & st->mask, lin = st->wide ? sp : st->seg.base + sp;

	if (st->wide ? !cpu_canonical(cpu, lin) || !cpu_canonical(cpu, lin + size - 1) : !seg_allows(&st->seg, sp, size, true))
		cpu_fault(cpu, X86_SS_FAULT, st->error);
	switch (size) {
	case 2: st->system ? sys_st16(cpu, lin, val) : lin_st16(cpu, lin, val); break;
	case 4: st->system ? sys_st32(cpu, lin, val) : lin_st32(cpu, lin, val); break;
	default: st->system ? sys_st64(cpu, lin, val) : lin_st64(cpu, lin, val); break;
	}
	st->sp = sp;
}

void stack_commit(struct cpu *cpu, struct stack *st)
{
	if (st->wide) {
		if (st->inner)
			seg_set_null(cpu, X86_SS, st->cpl);
		cpu->gpr[X86_RSP].q = st->sp;
		return;
	}
	if (st->inner)
		seg_set(cpu, X86_SS, st->seg.selector, &st->desc);
	stack_set(cpu, st->sp);
}
