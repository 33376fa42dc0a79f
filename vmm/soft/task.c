/*
 * vmm/soft/task.c - hardware task switches.
 *
 * Owns the two TSS formats and the order of a switch: everything that can be
 * checked or can fault in the old task comes first; from the commit point on
 * the new task runs, and what is wrong with its segments is its fault, raised
 * with its registers and its instruction pointer.
 *
 * SDM vol. 3 ch. 7 (7.2 TSS, 7.3 switching, table 7-1, 7.4 linking).
 */
#include <string.h>

#include "vmm/soft/mmu.h"
#include "vmm/soft/ops.h"
#include "vmm/soft/seg.h"
#include "vmm/soft/stack.h"
#include "vmm/soft/system.h"
#include "vmm/x86/control.h"

/* A task's registers as a TSS holds them. */
struct task {
	uint32_t cr3, eip, eflags, gpr[8];
	uint16_t seg[6], ldt;
	bool trap;
};

/* Where they stand, for each format; 0: not in it. */
struct tss_layout {
	uint8_t width;		/* of registers */
	uint8_t segs;		/* ES, CS, SS, DS (, FS, GS) */
	uint8_t seg_step;
	uint8_t ip, flags, gpr, seg, ldt, cr3, trap;
	uint32_t limit;		/* the least */
};

static const struct tss_layout layout16 = {
	.width = 2, .segs = 4, .seg_step = 2, .ip = X86_TSS16_IP, .flags = X86_TSS16_FLAGS, .gpr = X86_TSS16_GPR,
	.seg = X86_TSS16_SEG, .ldt = X86_TSS16_LDT, .limit = X86_TSS16_LIMIT,
};

static const struct tss_layout layout32 = {
	.width = 4, .segs = 6, .seg_step = 4, .ip = X86_TSS32_IP, .flags = X86_TSS32_FLAGS, .gpr = X86_TSS32_GPR,
	.seg = X86_TSS32_SEG, .ldt = X86_TSS32_LDT, .cr3 = X86_TSS32_CR3, .trap = X86_TSS32_TRAP, .limit = X86_TSS32_LIMIT,
};

static const struct tss_layout *layout_of(uint32_t attr)
{
	return attr & X86_SYS_32 ? &layout32 : &layout16;
}

static uint32_t read_reg(struct cpu *cpu, const struct tss_layout *l, uint64_t at)
{
	return l->width == 2 ? sys_ld16(cpu, at) : sys_ld32(cpu, at);
}

static void write_reg(struct cpu *cpu, const struct tss_layout *l, uint64_t at, uint32_t val)
{
	if (l->width == 2)
		sys_st16(cpu, at, val);
	else
		sys_st32(cpu, at, val);
}

/* ---- the new task's descriptor */

static struct x86_descriptor check_tss(struct cpu *cpu, enum task_reason why, uint16_t sel)
{
	unsigned vector = why == TASK_IRET ? X86_TS : X86_GP;
	struct x86_descriptor d;
	unsigned type;

	if ((sel & X86_SEL_TI) || seg_is_null(sel))
		cpu_fault(cpu, vector, seg_error(sel));
	d = seg_fetch(cpu, sel, vector);
	type = d.attr & (X86_ATTR_S | X86_ATTR_TYPE);
	if ((type & ~(X86_SYS_BUSY | X86_SYS_32)) != X86_SYS_TSS16 || !(type & X86_SYS_BUSY) != (why != TASK_IRET))
		cpu_fault(cpu, vector, seg_error(sel));
	if (!(d.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, seg_error(sel));
	if (d.limit < layout_of(d.attr)->limit)
		cpu_fault(cpu, X86_TS, seg_error(sel));
	return d;
}

/* ---- registers to and from a TSS */

static struct task read_task(struct cpu *cpu, const struct tss_layout *l, uint64_t base)
{
	struct task t = { 0 };

	t.eip = read_reg(cpu, l, base + l->ip);
	t.eflags = read_reg(cpu, l, base + l->flags);
	for (unsigned i = 0; i < 8; i++) {
		t.gpr[i] = read_reg(cpu, l, base + l->gpr + i * l->width);
		if (l->width == 2)
			t.gpr[i] |= 0xffff0000;	/* undefined; what the 386 and its successors do */
	}
	for (unsigned i = 0; i < l->segs; i++)
		t.seg[i] = sys_ld16(cpu, base + l->seg + i * l->seg_step);
	t.ldt = sys_ld16(cpu, base + l->ldt);
	if (l->cr3)
		t.cr3 = sys_ld32(cpu, base + l->cr3);
	if (l->trap)
		t.trap = sys_ld16(cpu, base + l->trap) & 1;
	return t;
}

static void save_task(struct cpu *cpu, const struct tss_layout *l, uint64_t base, uint64_t eflags)
{
	write_reg(cpu, l, base + l->ip, cpu->next_rip);
	write_reg(cpu, l, base + l->flags, eflags);
	for (unsigned i = 0; i < 8; i++)
		write_reg(cpu, l, base + l->gpr + i * l->width, cpu->gpr[i].d);
	for (unsigned i = 0; i < l->segs; i++)
		sys_st16(cpu, base + l->seg + i * l->seg_step, cpu->seg[i].selector);
}

/* ---- busy bits */

static void set_busy(struct cpu *cpu, uint16_t sel, bool busy)
{
	uint64_t at;
	uint8_t access;

	if (!seg_locate(cpu, sel, &at))
		return;
	access = sys_ld8(cpu, at + 5);
	sys_st8(cpu, at + 5, busy ? access | X86_SYS_BUSY : access & ~X86_SYS_BUSY);
}

static void probe_busy(struct cpu *cpu, uint16_t sel)
{
	uint64_t at;

	if (seg_locate(cpu, sel, &at))
		mmu_probe_system(cpu, at + 5, 1);
}

/* ---- loading the new task's segments: faults are the new task's */

static void load_ldt(struct cpu *cpu, uint16_t sel)
{
	struct x86_descriptor d;

	if (seg_is_null(sel))
		return;
	if (sel & X86_SEL_TI)
		cpu_fault(cpu, X86_TS, seg_error(sel));
	d = seg_fetch(cpu, sel, X86_TS);
	if ((d.attr & (X86_ATTR_S | X86_ATTR_TYPE)) != X86_SYS_LDT || !(d.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_TS, seg_error(sel));
	seg_set(cpu, X86_LDTR, sel, &d);
}

static void load_cs(struct cpu *cpu, uint16_t sel)
{
	struct x86_descriptor d;
	unsigned rpl = sel & X86_SEL_RPL, dpl;

	if (seg_is_null(sel))
		cpu_fault(cpu, X86_TS, 0);
	d = seg_fetch(cpu, sel, X86_TS);
	dpl = x86_attr_dpl(d.attr);
	if (!x86_attr_is_code(d.attr) || (x86_attr_is_conforming(d.attr) ? dpl > rpl : dpl != rpl))
		cpu_fault(cpu, X86_TS, seg_error(sel));
	if (!(d.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, seg_error(sel));
	seg_mark_accessed(cpu, sel, &d);
	seg_set(cpu, X86_CS, sel, &d);
}

static void load_ss(struct cpu *cpu, uint16_t sel)
{
	struct x86_descriptor d = seg_check_stack(cpu, sel, cpu->cpl, X86_TS);

	seg_mark_accessed(cpu, sel, &d);
	seg_set(cpu, X86_SS, sel, &d);
	cpu_update_mode(cpu);
}

static void load_data(struct cpu *cpu, unsigned seg, uint16_t sel)
{
	struct x86_descriptor d;

	if (seg_is_null(sel))
		return;
	d = seg_check_data(cpu, sel, cpu->cpl, X86_TS);
	seg_mark_accessed(cpu, sel, &d);
	seg_set(cpu, seg, sel, &d);
}

static void load_segments(struct cpu *cpu, const struct task *t)
{
	static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };

	load_ldt(cpu, t->ldt);
	if (cpu->v86) {
		for (unsigned i = 0; i < 6; i++)
			seg_set_v86(cpu, i, t->seg[i]);
	} else {
		load_ss(cpu, t->seg[X86_SS]);
		load_cs(cpu, t->seg[X86_CS]);
		for (unsigned i = 0; i < sizeof(data); i++)
			load_data(cpu, data[i], t->seg[data[i]]);
	}
	cpu_update_mode(cpu);
	if (t->eip > cpu->seg[X86_CS].limit)
		cpu_fault(cpu, X86_GP, 0);
}

/* The commit point: nothing here faults.  Segment registers have their selectors and are unusable as yet. */
static void enter_task(struct cpu *cpu, const struct task *t, const struct tss_layout *l)
{
	for (unsigned i = 0; i < 8; i++)
		cpu->gpr[i].q = t->gpr[i];
	for (unsigned i = 0; i < 6; i++)
		seg_set_null(cpu, i, t->seg[i]);
	seg_set_null(cpu, X86_LDTR, t->ldt);
	cpu->rip = cpu->next_rip = t->eip;
	cpu_set_flags(cpu, t->eflags & (l->width == 2 ? 0xffff : 0x3f7fd7));
	cpu->cpl = t->seg[X86_CS] & X86_SEL_RPL;
	cpu->cr0 |= X86_CR0_TS;
	cpu->dr[7] &= ~(uint64_t)0x155;		/* L0-L3, LE */
	if (l->cr3 && (cpu->cr0 & X86_CR0_PG))
		cr3_write(cpu, t->cr3);
	cpu_update_mode(cpu);
	cpu->entered = true;
	cpu->shadow = 0;
	cpu->recheck = true;
	if (t->trap)
		cpu->pending_db |= X86_DR6_BT;
}

static void push_error(struct cpu *cpu, const struct tss_layout *l, uint32_t error)
{
	struct stack st;

	stack_running(cpu, &st);
	stack_push(cpu, &st, l->width, error);
	stack_commit(cpu, &st);
}

void task_switch(struct cpu *cpu, enum task_reason why, uint16_t sel, bool has_error, uint32_t error)
{
	struct x86_descriptor d = check_tss(cpu, why, sel);
	const struct tss_layout *from = layout_of(cpu->seg[X86_TR].attr), *to = layout_of(d.attr);
	const struct seg old = cpu->seg[X86_TR];
	bool nested = why == TASK_CALL || why == TASK_INT;
	uint64_t eflags = cpu_flags(cpu);
	struct task t;

	if ((old.attr & X86_ATTR_UNUSABLE) || old.limit < from->limit)
		cpu_fault(cpu, X86_TS, seg_error(old.selector));
	if (why == TASK_INT && cpu->event.kind == EVENT_EXCEPTION && cpu->event.vector != X86_DB)
		eflags |= X86_RFLAGS_RF;
	if (why == TASK_IRET)
		eflags &= ~(uint64_t)X86_RFLAGS_NT;

	/* in the old task */
	t = read_task(cpu, to, d.base);
	mmu_probe_system(cpu, d.base, to->limit + 1);
	mmu_probe_system(cpu, old.base, from->limit + 1);
	probe_busy(cpu, sel);
	probe_busy(cpu, old.selector);
	save_task(cpu, from, old.base, eflags);
	if (!nested)
		set_busy(cpu, old.selector, false);
	if (why != TASK_IRET)
		set_busy(cpu, sel, true);
	if (nested) {
		sys_st16(cpu, d.base, old.selector);
		t.eflags |= X86_RFLAGS_NT;
	}

	/* in the new one */
	d.attr |= X86_SYS_BUSY;
	seg_set(cpu, X86_TR, sel & ~X86_SEL_RPL, &d);
	enter_task(cpu, &t, to);
	load_segments(cpu, &t);
	if (has_error)
		push_error(cpu, to, error);
}
