/*
 * vmm/soft/stack.c - see stack.h.  SDM vol. 3 sections 5.8.5 (stack switching), 7.2 (TSS).
 */
#include "vmm/soft/stack.h"

#include "vmm/soft/mmu.h"
#include "vmm/soft/seg.h"
#include "vmm/soft/system.h"

void stack_running(struct cpu *cpu, struct stack *st)
{
	st->seg = cpu->seg[X86_SS];
	st->mask = stack_mask(&st->seg);
	st->sp = cpu->gpr[X86_RSP].d & st->mask;
	st->error = 0;
	st->inner = false;
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
	st->mask = stack_mask(&st->seg);
	st->sp = sp & st->mask;
	st->error = seg_error(sel);
	st->inner = true;
}

void stack_push(struct cpu *cpu, struct stack *st, unsigned size, uint32_t val)
{
	uint64_t sp = (st->sp - size) & st->mask, lin = st->seg.base + sp;

	if (!seg_allows(&st->seg, sp, size, true))
		cpu_fault(cpu, X86_SS_FAULT, st->error);
	if (st->inner)
		size == 2 ? sys_st16(cpu, lin, val) : sys_st32(cpu, lin, val);
	else
		size == 2 ? lin_st16(cpu, lin, val) : lin_st32(cpu, lin, val);
	st->sp = sp;
}

void stack_commit(struct cpu *cpu, struct stack *st)
{
	if (st->inner)
		seg_set(cpu, X86_SS, st->seg.selector, &st->desc);
	stack_set(cpu, st->sp);
}
