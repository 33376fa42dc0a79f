/*
 * vmm/soft/exception.c - interrupts and exceptions: from a vector to its handler.
 *
 * Owns delivery through the IVT and the IDT's gates, what is pushed, and how
 * faults during delivery combine.  Where an event comes from is engine.c's.
 *
 * SDM vol. 3 ch. 6 (6.8 to 6.15, tables 6-4, 6-5; 6.14: 64-bit mode), 20.1.4 (real mode), 20.2 and
 * 20.3 (virtual-8086 mode).  CR4.VME and PVI are not offered, so a software
 * interrupt in virtual-8086 mode always needs IOPL 3.
 */
#include "vmm/x86/exception.h"

#include <string.h>

#include "vmm/soft/mmu.h"
#include "vmm/soft/ops.h"
#include "vmm/soft/seg.h"
#include "vmm/soft/stack.h"
#include "vmm/soft/system.h"

static bool by_program(const struct event *ev)	/* a software interrupt: DPL is checked, EXT stays clear */
{
	return ev->kind == EVENT_INT_N || ev->kind == EVENT_INT3 || ev->kind == EVENT_INTO;
}

static bool has_error(const struct event *ev)
{
	return ev->kind == EVENT_EXCEPTION && x86_pushes_error(ev->vector);
}

/* Faults push RF set, so that the instruction's breakpoint does not hit again; a debug exception is as it is. */
static uint64_t flags_image(const struct cpu *cpu, const struct event *ev)
{
	uint64_t flags = cpu_flags(cpu);

	if (ev->kind == EVENT_EXCEPTION && ev->vector != X86_DB && ev->vector != X86_DF && ev->vector != X86_MC)
		flags |= X86_RFLAGS_RF;
	return flags;
}

/* ---- real mode */

static void deliver_real(struct cpu *cpu, const struct event *ev)
{
	uint32_t at = ev->vector * 4;
	struct stack st;
	uint16_t off, sel;

	if (at + 3 > cpu->idtr.limit)
		cpu_fault(cpu, X86_GP, 0);
	off = sys_ld16(cpu, cpu->idtr.base + at);
	sel = sys_ld16(cpu, cpu->idtr.base + at + 2);
	if (off > cpu->seg[X86_CS].limit)
		cpu_fault(cpu, X86_GP, 0);
	stack_running(cpu, &st);
	stack_push(cpu, &st, 2, cpu_flags(cpu));
	stack_push(cpu, &st, 2, cpu->seg[X86_CS].selector);
	stack_push(cpu, &st, 2, cpu->next_rip);
	stack_commit(cpu, &st);
	cpu->rflags &= ~(uint64_t)(X86_RFLAGS_IF | X86_RFLAGS_TF | X86_RFLAGS_AC | X86_RFLAGS_RF);
	seg_set_real(cpu, X86_CS, sel);
	cpu->next_rip = off;
	cpu_update_mode(cpu);
}

/* ---- interrupt and trap gates */

static uint32_t idt_error(const struct event *ev)
{
	return ev->vector * 8 | X86_ERR_IDT;
}

static struct x86_descriptor gate_segment(struct cpu *cpu, const struct x86_gate *g)
{
	struct x86_descriptor d;

	if (seg_is_null(g->sel))
		cpu_fault(cpu, X86_GP, 0);
	d = seg_fetch(cpu, g->sel, X86_GP);
	if (!x86_attr_is_code(d.attr) || x86_attr_dpl(d.attr) > cpu->cpl)
		cpu_fault(cpu, X86_GP, seg_error(g->sel));
	if (!(d.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, seg_error(g->sel));
	return d;
}

static void push_frame(struct cpu *cpu, const struct event *ev, struct stack *st, unsigned size)
{
	if (cpu->v86) {
		stack_push(cpu, st, size, cpu->seg[X86_GS].selector);
		stack_push(cpu, st, size, cpu->seg[X86_FS].selector);
		stack_push(cpu, st, size, cpu->seg[X86_DS].selector);
		stack_push(cpu, st, size, cpu->seg[X86_ES].selector);
	}
	if (st->inner) {
		stack_push(cpu, st, size, cpu->seg[X86_SS].selector);
		stack_push(cpu, st, size, cpu->gpr[X86_RSP].d);
	}
	stack_push(cpu, st, size, flags_image(cpu, ev));
	stack_push(cpu, st, size, cpu->seg[X86_CS].selector);
	stack_push(cpu, st, size, cpu->next_rip);
	if (has_error(ev))
		stack_push(cpu, st, size, ev->error);
}

static void drop_v86_segments(struct cpu *cpu)
{
	seg_set_null(cpu, X86_ES, 0);
	seg_set_null(cpu, X86_DS, 0);
	seg_set_null(cpu, X86_FS, 0);
	seg_set_null(cpu, X86_GS, 0);
}

static void deliver_gate(struct cpu *cpu, const struct event *ev, const struct x86_gate *g)
{
	struct x86_descriptor cs = gate_segment(cpu, g);
	bool inner = !x86_attr_is_conforming(cs.attr) && x86_attr_dpl(cs.attr) < cpu->cpl;
	unsigned cpl = inner ? x86_attr_dpl(cs.attr) : cpu->cpl;
	uint64_t clear = X86_RFLAGS_TF | X86_RFLAGS_NT | X86_RFLAGS_RF | X86_RFLAGS_VM;
	struct stack st;

	if (cpu->v86 && (!inner || cpl != 0))
		cpu_fault(cpu, X86_GP, seg_error(g->sel));
	if (inner)
		stack_inner(cpu, &st, cpl);
	else
		stack_running(cpu, &st);
	if (g->offset > cs.limit)
		cpu_fault(cpu, X86_GP, 0);
	push_frame(cpu, ev, &st, g->attr & X86_SYS_32 ? 4 : 2);
	seg_mark_accessed(cpu, g->sel, &cs);

	if (cpu->v86)
		drop_v86_segments(cpu);
	stack_commit(cpu, &st);
	if (!(g->attr & 1))	/* an interrupt gate */
		clear |= X86_RFLAGS_IF;
	cpu->rflags &= ~clear;
	cs_enter(cpu, g->sel, &cs, cpl, g->offset);
}

/* ---- long mode: gates of 16 bytes, to 64-bit code, on an aligned stack */

static void deliver_gate64(struct cpu *cpu, const struct event *ev, const struct x86_gate *g)
{
	struct x86_descriptor cs = gate_segment(cpu, g);
	unsigned cpl = x86_attr_is_conforming(cs.attr) ? cpu->cpl : x86_attr_dpl(cs.attr);
	uint64_t clear = X86_RFLAGS_TF | X86_RFLAGS_NT | X86_RFLAGS_RF | X86_RFLAGS_VM;
	struct stack st;

	if ((cs.attr & (X86_ATTR_L | X86_ATTR_DB)) != X86_ATTR_L)
		cpu_fault(cpu, X86_GP, seg_error(g->sel));
	stack_long(cpu, &st, cpl, g->ist);
	if (!cpu_canonical(cpu, g->offset))
		cpu_fault(cpu, X86_GP, 0);
	st.sp &= ~15ull;
	stack_push(cpu, &st, 8, cpu->seg[X86_SS].selector);
	stack_push(cpu, &st, 8, cpu->gpr[X86_RSP].q);
	stack_push(cpu, &st, 8, flags_image(cpu, ev));
	stack_push(cpu, &st, 8, cpu->seg[X86_CS].selector);
	stack_push(cpu, &st, 8, cpu->next_rip);
	if (has_error(ev))
		stack_push(cpu, &st, 8, ev->error);
	seg_mark_accessed(cpu, g->sel, &cs);
	stack_commit(cpu, &st);
	if (!(g->attr & 1))	/* an interrupt gate */
		clear |= X86_RFLAGS_IF;
	cpu->rflags &= ~clear;
	cs_enter(cpu, g->sel, &cs, cpl, g->offset);
}

static void deliver_long(struct cpu *cpu, const struct event *ev)
{
	uint64_t at = cpu->idtr.base + ev->vector * 16u;
	struct x86_gate g;
	unsigned type;

	if (ev->vector * 16u + 15 > cpu->idtr.limit)
		cpu_fault(cpu, X86_GP, idt_error(ev));
	g = x86_gate64(sys_ld64(cpu, at), sys_ld64(cpu, at + 8));
	type = g.attr & (X86_ATTR_S | X86_ATTR_TYPE);
	if ((type != X86_SYS_INT32 && type != X86_SYS_TRAP32) || (by_program(ev) && x86_attr_dpl(g.attr) < cpu->cpl))
		cpu_fault(cpu, X86_GP, idt_error(ev));
	if (!(g.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, idt_error(ev));
	deliver_gate64(cpu, ev, &g);
}

static void deliver_protected(struct cpu *cpu, const struct event *ev)
{
	struct x86_gate g;

	if (ev->vector * 8u + 7 > cpu->idtr.limit)
		cpu_fault(cpu, X86_GP, idt_error(ev));
	g = x86_gate(sys_ld64(cpu, cpu->idtr.base + ev->vector * 8u));
	switch (g.attr & (X86_ATTR_S | X86_ATTR_TYPE)) {
	case X86_SYS_TASK_GATE: case X86_SYS_INT16: case X86_SYS_TRAP16: case X86_SYS_INT32: case X86_SYS_TRAP32:
		break;
	default:
		cpu_fault(cpu, X86_GP, idt_error(ev));
	}
	if (by_program(ev) && x86_attr_dpl(g.attr) < cpu->cpl)
		cpu_fault(cpu, X86_GP, idt_error(ev));
	if (!(g.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, idt_error(ev));
	if (x86_attr_type(g.attr) == X86_SYS_TASK_GATE)
		task_switch(cpu, TASK_INT, g.sel, has_error(ev), ev->error);
	else
		deliver_gate(cpu, ev, &g);
}

/* With cpu->next_rip as the return address.  EXT in the error codes of faults: cpu->ext. */
static void deliver(struct cpu *cpu, const struct event *ev)
{
	cpu->ext = !by_program(ev);
	if (cpu_long(cpu))
		deliver_long(cpu, ev);
	else if (cpu->pe)
		deliver_protected(cpu, ev);
	else
		deliver_real(cpu, ev);
	cpu->ext = false;
	cpu->entered = true;
	cpu->shadow = 0;
	cpu->recheck = true;
}

void soft_interrupt(struct cpu *cpu, enum event_kind kind, unsigned vector)
{
	struct event ev = { .kind = kind, .vector = vector };

	deliver(cpu, &ev);
}

/* ---- from the run loop */

uint32_t fault_error_code(struct cpu *cpu)
{
	uint32_t error = cpu->fault_error;

	switch (cpu->fault_vector) {
	case X86_TS: case X86_NP: case X86_SS_FAULT: case X86_GP:
		if (cpu->ext)
			error |= X86_ERR_EXT;
	}
	cpu->ext = false;
	return error;
}

/* A fault came up while cpu->event was delivered: which event is due now?  False: shutdown. */
static bool combine(struct cpu *cpu)
{
	enum x86_fault_class first = X86_BENIGN, second = x86_fault_class(cpu->fault_vector);
	uint32_t error = fault_error_code(cpu);
	bool twice;

	if (cpu->event.kind == EVENT_EXCEPTION)
		first = x86_fault_class(cpu->event.vector);
	if (first == X86_DOUBLE_FAULT)
		return false;
	twice = (first == X86_CONTRIBUTORY && second == X86_CONTRIBUTORY)
		|| (first == X86_PAGE_FAULT && (second == X86_CONTRIBUTORY || second == X86_PAGE_FAULT));
	cpu->event = (struct event) {
		.kind = EVENT_EXCEPTION,
		.vector = twice ? X86_DF : cpu->fault_vector,
		.error = twice ? 0 : error,
	};
	return true;
}

/* Faults and waits inside jump here instead of to the run loop. */
static int attempt(struct cpu *cpu)
{
	int why;

	for (;;) {
		why = _setjmp(cpu->jmp);
		if (why == 0) {
			cpu->insn = NULL;
			cpu->stepping = true;
			cpu->next_rip = cpu->rip;
			deliver(cpu, &cpu->event);
			cpu->rip = cpu->next_rip;
			cpu->stepping = cpu->recheck = false;
			cpu->event.kind = EVENT_NONE;
			return 0;
		}
		if (why != UNWIND_FAULT)
			return why;
		if (!combine(cpu))
			return UNWIND_TRIPLE;
	}
}

int cpu_deliver_again(struct cpu *cpu)
{
	jmp_buf outer;
	int why;

	memcpy(&outer, &cpu->jmp, sizeof(outer));
	why = attempt(cpu);
	memcpy(&cpu->jmp, &outer, sizeof(outer));
	return why;
}

int cpu_deliver(struct cpu *cpu, enum event_kind kind, unsigned vector, uint32_t error)
{
	cpu->event = (struct event) { .kind = kind, .vector = vector, .error = error };
	return cpu_deliver_again(cpu);
}

/* ---- handlers */

void op_int(struct cpu *cpu, const struct insn *in)
{
	if (cpu->v86 && (cpu->rflags & X86_RFLAGS_IOPL) != X86_RFLAGS_IOPL)
		cpu_fault(cpu, X86_GP, 0);
	soft_interrupt(cpu, EVENT_INT_N, in->imm & 0xff);
}

void op_int3(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	soft_interrupt(cpu, EVENT_INT3, X86_BP);
}

void op_into(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	if (cpu->fl & FL_OF)
		soft_interrupt(cpu, EVENT_INTO, X86_OF);
}

void op_int1(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	soft_interrupt(cpu, EVENT_ICEBP, X86_DB);
}
