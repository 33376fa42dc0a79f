/*
 * vmm/soft/far.c - far JMP, CALL and RET, IRET, call gates, SYSCALL and SYSENTER.
 *
 * Owns transfers between code segments that are not events (exception.c) and
 * their privilege changes; a TSS or task gate as target goes to task.c.
 * Everything is read and checked before a register changes; what a faulting
 * CALL has pushed lies below the stack pointer.
 *
 * SDM vol. 3 sections 5.8 (control transfers), 20.2 (virtual-8086 mode);
 * vol. 2 JMP, CALL, RET, IRET, SYSCALL, SYSRET, SYSENTER, SYSEXIT.
 */
#include "vmm/soft/mmu.h"
#include "vmm/soft/ops.h"
#include "vmm/soft/seg.h"
#include "vmm/soft/stack.h"
#include "vmm/soft/system.h"
#include "vmm/x86/control.h"

static bool flat_mode(const struct cpu *cpu)	/* selectors are paragraph numbers */
{
	return !cpu->pe || cpu->v86;
}

static void set_paragraph(struct cpu *cpu, unsigned seg, uint16_t sel)
{
	if (cpu->v86)
		seg_set_v86(cpu, seg, sel);
	else
		seg_set_real(cpu, seg, sel);
}

static void jump_flat(struct cpu *cpu, uint16_t sel, uint64_t off)
{
	if (off > cpu->seg[X86_CS].limit)
		cpu_fault(cpu, X86_GP, 0);
	set_paragraph(cpu, X86_CS, sel);
	cpu->next_rip = off;
	cpu_update_mode(cpu);
}

/* ---- targets in protected mode */

/* A code segment that is jumped to or called without a change of privilege. */
static void check_same_level(struct cpu *cpu, uint16_t sel, const struct x86_descriptor *d, bool use_rpl)
{
	unsigned dpl = x86_attr_dpl(d->attr);

	seg_check_code(cpu, sel, d);
	if (x86_attr_is_conforming(d->attr)) {
		if (dpl > cpu->cpl)
			cpu_fault(cpu, X86_GP, seg_error(sel));
	} else if (dpl != cpu->cpl || (use_rpl && (sel & X86_SEL_RPL) > cpu->cpl)) {
		cpu_fault(cpu, X86_GP, seg_error(sel));
	}
	if (!(d->attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, seg_error(sel));
}

static void check_offset(struct cpu *cpu, const struct x86_descriptor *d, uint64_t off)
{
	if (seg_is_code64(cpu, d) ? !cpu_canonical(cpu, off) : off > d->limit)
		cpu_fault(cpu, X86_GP, 0);
}

void cs_enter(struct cpu *cpu, uint16_t sel, struct x86_descriptor *d, unsigned cpl, uint64_t off)
{
	seg_mark_accessed(cpu, sel, d);
	cpu->cpl = cpl;
	seg_set(cpu, X86_CS, (sel & ~X86_SEL_RPL) | cpl, d);
	cpu->next_rip = off;
	cpu_update_mode(cpu);
}

static void check_gate(struct cpu *cpu, uint16_t sel, const struct x86_descriptor *d)
{
	unsigned dpl = x86_attr_dpl(d->attr);

	if (dpl < cpu->cpl || dpl < (sel & X86_SEL_RPL))
		cpu_fault(cpu, X86_GP, seg_error(sel));
	if (!(d->attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, seg_error(sel));
}

static void to_task(struct cpu *cpu, enum task_reason why, uint16_t sel, const struct x86_descriptor *d)
{
	unsigned dpl = x86_attr_dpl(d->attr);

	if (x86_attr_type(d->attr) == X86_SYS_TASK_GATE) {
		check_gate(cpu, sel, d);
		sel = x86_gate(d->raw).sel;
	} else if (dpl < cpu->cpl || dpl < (sel & X86_SEL_RPL)) {
		cpu_fault(cpu, X86_GP, seg_error(sel));
	}
	task_switch(cpu, why, sel, false, 0);
}

/* The code segment that a call gate names. */
static struct x86_descriptor gate_target(struct cpu *cpu, const struct x86_gate *g)
{
	struct x86_descriptor d;

	if (seg_is_null(g->sel))
		cpu_fault(cpu, X86_GP, 0);
	d = seg_fetch(cpu, g->sel, X86_GP);
	if (!x86_attr_is_code(d.attr) || x86_attr_dpl(d.attr) > cpu->cpl)
		cpu_fault(cpu, X86_GP, seg_error(g->sel));
	return d;
}

/* ---- JMP */

static void jump_gate(struct cpu *cpu, uint16_t sel, const struct x86_descriptor *gd)
{
	struct x86_gate g = x86_gate(gd->raw);
	struct x86_descriptor d;

	check_gate(cpu, sel, gd);
	d = gate_target(cpu, &g);
	check_same_level(cpu, g.sel, &d, false);
	check_offset(cpu, &d, g.offset);
	cs_enter(cpu, g.sel, &d, cpu->cpl, g.offset);
}

static void call_gate(struct cpu *, uint16_t sel, const struct x86_descriptor *);

/* ---- call gates of long mode: 16 bytes, only to 64-bit code */

static struct x86_gate fetch_gate64(struct cpu *cpu, uint16_t sel, const struct x86_descriptor *gd)
{
	struct x86_descriptor d = *gd;
	uint64_t high;

	check_gate(cpu, sel, gd);
	high = seg_fetch_upper(cpu, sel, &d);
	if (high >> 40 & (X86_ATTR_S | X86_ATTR_TYPE))		/* so that it is no descriptor by itself */
		cpu_fault(cpu, X86_GP, seg_error(sel));
	return x86_gate64(gd->raw, high);
}

static struct x86_descriptor gate_target64(struct cpu *cpu, const struct x86_gate *g)
{
	struct x86_descriptor d = gate_target(cpu, g);

	if ((d.attr & (X86_ATTR_L | X86_ATTR_DB)) != X86_ATTR_L)
		cpu_fault(cpu, X86_GP, seg_error(g->sel));
	return d;
}

static void jump_gate64(struct cpu *cpu, uint16_t sel, const struct x86_descriptor *gd)
{
	struct x86_gate g = fetch_gate64(cpu, sel, gd);
	struct x86_descriptor d = gate_target64(cpu, &g);

	check_same_level(cpu, g.sel, &d, false);
	check_offset(cpu, &d, g.offset);
	cs_enter(cpu, g.sel, &d, cpu->cpl, g.offset);
}

static void call_gate64(struct cpu *cpu, uint16_t sel, const struct x86_descriptor *gd)
{
	struct x86_gate g = fetch_gate64(cpu, sel, gd);
	struct x86_descriptor d = gate_target64(cpu, &g);
	unsigned cpl = x86_attr_is_conforming(d.attr) ? cpu->cpl : x86_attr_dpl(d.attr);
	struct stack st;

	if (!(d.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, seg_error(g.sel));
	stack_long(cpu, &st, cpl, 0);
	check_offset(cpu, &d, g.offset);
	if (st.inner) {
		stack_push(cpu, &st, 8, cpu->seg[X86_SS].selector);
		stack_push(cpu, &st, 8, cpu->gpr[X86_RSP].q);
	}
	stack_push(cpu, &st, 8, cpu->seg[X86_CS].selector);
	stack_push(cpu, &st, 8, cpu->next_rip);
	seg_mark_accessed(cpu, g.sel, &d);
	stack_commit(cpu, &st);
	cs_enter(cpu, g.sel, &d, cpl, g.offset);
}

static void to_system64(struct cpu *cpu, enum task_reason why, uint16_t sel, const struct x86_descriptor *d)
{
	if (x86_attr_type(d->attr) != X86_SYS_CALL32)
		cpu_fault(cpu, X86_GP, seg_error(sel));
	if (why == TASK_JMP)
		jump_gate64(cpu, sel, d);
	else
		call_gate64(cpu, sel, d);
}

/* What is not a code segment. */
static void to_system(struct cpu *cpu, enum task_reason why, uint16_t sel, const struct x86_descriptor *d)
{
	if (d->attr & X86_ATTR_S)
		cpu_fault(cpu, X86_GP, seg_error(sel));
	if (cpu_long(cpu)) {
		to_system64(cpu, why, sel, d);
		return;
	}
	switch (x86_attr_type(d->attr)) {
	case X86_SYS_TSS16:
	case X86_SYS_TSS32:
	case X86_SYS_TASK_GATE:
		to_task(cpu, why, sel, d);
		break;
	case X86_SYS_CALL16:
	case X86_SYS_CALL32:
		if (why == TASK_JMP)
			jump_gate(cpu, sel, d);
		else
			call_gate(cpu, sel, d);
		break;
	default:
		cpu_fault(cpu, X86_GP, seg_error(sel));
	}
}

void far_jmp(struct cpu *cpu, uint16_t sel, uint64_t off, unsigned opsize)
{
	struct x86_descriptor d;

	off = ip_mask(opsize, off);
	if (flat_mode(cpu)) {
		jump_flat(cpu, sel, off);
		return;
	}
	if (seg_is_null(sel))
		cpu_fault(cpu, X86_GP, 0);
	d = seg_fetch(cpu, sel, X86_GP);
	if (!x86_attr_is_code(d.attr)) {
		to_system(cpu, TASK_JMP, sel, &d);
		return;
	}
	check_same_level(cpu, sel, &d, true);
	check_offset(cpu, &d, off);
	cs_enter(cpu, sel, &d, cpu->cpl, off);
}

/* ---- CALL */

static void push_return(struct cpu *cpu, struct stack *st, unsigned size)
{
	stack_push(cpu, st, size, cpu->seg[X86_CS].selector);
	stack_push(cpu, st, size, cpu->next_rip);
}

/* Through a gate to a more privileged level: a new stack, with the parameters copied to it. */
static void call_inner(struct cpu *cpu, const struct x86_gate *g, struct x86_descriptor *d)
{
	unsigned size = g->attr & X86_SYS_32 ? 4 : 2, cpl = x86_attr_dpl(d->attr);
	uint32_t param[31];
	struct stack st;

	for (unsigned i = 0; i < g->params; i++)
		param[i] = stack_read(cpu, i * size, size);
	stack_inner(cpu, &st, cpl);
	check_offset(cpu, d, g->offset);
	stack_push(cpu, &st, size, cpu->seg[X86_SS].selector);
	stack_push(cpu, &st, size, cpu->gpr[X86_RSP].d);
	for (unsigned i = g->params; i-- > 0; )
		stack_push(cpu, &st, size, param[i]);
	push_return(cpu, &st, size);
	seg_mark_accessed(cpu, g->sel, d);
	stack_commit(cpu, &st);
	cs_enter(cpu, g->sel, d, cpl, g->offset);
}

static void call_gate(struct cpu *cpu, uint16_t sel, const struct x86_descriptor *gd)
{
	struct x86_gate g = x86_gate(gd->raw);
	struct x86_descriptor d;
	struct stack st;

	check_gate(cpu, sel, gd);
	d = gate_target(cpu, &g);
	if (!(d.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, seg_error(g.sel));
	if (!x86_attr_is_conforming(d.attr) && x86_attr_dpl(d.attr) < cpu->cpl) {
		call_inner(cpu, &g, &d);
		return;
	}
	check_offset(cpu, &d, g.offset);
	stack_running(cpu, &st);
	push_return(cpu, &st, g.attr & X86_SYS_32 ? 4 : 2);
	seg_mark_accessed(cpu, g.sel, &d);
	stack_commit(cpu, &st);
	cs_enter(cpu, g.sel, &d, cpu->cpl, g.offset);
}

void far_call(struct cpu *cpu, uint16_t sel, uint64_t off, unsigned opsize)
{
	struct x86_descriptor d;
	struct stack st;

	off = ip_mask(opsize, off);
	if (flat_mode(cpu)) {
		if (off > cpu->seg[X86_CS].limit)
			cpu_fault(cpu, X86_GP, 0);
		stack_running(cpu, &st);
		push_return(cpu, &st, opsize);
		stack_commit(cpu, &st);
		jump_flat(cpu, sel, off);
		return;
	}
	if (seg_is_null(sel))
		cpu_fault(cpu, X86_GP, 0);
	d = seg_fetch(cpu, sel, X86_GP);
	if (!x86_attr_is_code(d.attr)) {
		to_system(cpu, TASK_CALL, sel, &d);
		return;
	}
	check_same_level(cpu, sel, &d, true);
	check_offset(cpu, &d, off);
	stack_running(cpu, &st);
	push_return(cpu, &st, opsize);
	seg_mark_accessed(cpu, sel, &d);
	stack_commit(cpu, &st);
	cs_enter(cpu, sel, &d, cpu->cpl, off);
}

/* ---- RET and IRET in protected mode */

/* The code segment returned to; its RPL is the new CPL. */
static struct x86_descriptor check_return(struct cpu *cpu, uint16_t sel, uint64_t off)
{
	struct x86_descriptor d;
	unsigned rpl = sel & X86_SEL_RPL, dpl;

	if (seg_is_null(sel))
		cpu_fault(cpu, X86_GP, 0);
	d = seg_fetch(cpu, sel, X86_GP);
	dpl = x86_attr_dpl(d.attr);
	if (!x86_attr_is_code(d.attr) || rpl < cpu->cpl || (x86_attr_is_conforming(d.attr) ? dpl > rpl : dpl != rpl))
		cpu_fault(cpu, X86_GP, seg_error(sel));
	if (!(d.attr & X86_ATTR_P))
		cpu_fault(cpu, X86_NP, seg_error(sel));
	seg_check_code(cpu, sel, &d);
	check_offset(cpu, &d, off);
	return d;
}

/* Data segments that the outer level may not use become null. */
static void revoke_segments(struct cpu *cpu)
{
	static const uint8_t regs[] = { X86_ES, X86_DS, X86_FS, X86_GS };

	for (unsigned i = 0; i < sizeof(regs); i++) {
		uint32_t attr = cpu->seg[regs[i]].attr;

		if (!(attr & X86_ATTR_UNUSABLE) && x86_attr_dpl(attr) < cpu->cpl && !x86_attr_is_conforming(attr))
			seg_set_null(cpu, regs[i], 0);
	}
}

/* The stack returned to.  64-bit code of an inner level has none: its selector is null. */
static struct x86_descriptor check_return_stack(struct cpu *cpu, uint16_t sel, unsigned cpl, const struct x86_descriptor *cs)
{
	struct x86_descriptor null = { .attr = X86_ATTR_UNUSABLE };

	if (!seg_is_null(sel) || !seg_is_code64(cpu, cs) || cpl == 3)
		return seg_check_stack(cpu, sel, cpl, X86_GP);
	if ((sel & X86_SEL_RPL) != cpl)
		cpu_fault(cpu, X86_GP, 0);
	return null;
}

/* With SP and SS from `at` bytes above SP: to a less privileged level, or by 64-bit code's IRET to any. */
static void return_stack(struct cpu *cpu, uint16_t sel, struct x86_descriptor *cs, uint64_t off,
			 unsigned size, unsigned at, uint16_t drop)
{
	unsigned cpl = sel & X86_SEL_RPL;
	bool outer = cpl > cpu->cpl;
	uint64_t sp = stack_read(cpu, at, size);
	uint16_t ss_sel = stack_read(cpu, at + size, 2);
	struct x86_descriptor ss;

	ss = check_return_stack(cpu, ss_sel, cpl, cs);
	seg_mark_accessed(cpu, sel, cs);
	seg_mark_accessed(cpu, ss_sel, &ss);
	cs_enter(cpu, sel, cs, cpl, off);
	seg_set(cpu, X86_SS, ss_sel, &ss);
	stack_set(cpu, sp + drop);
	if (outer)
		revoke_segments(cpu);
	cpu_update_mode(cpu);
}

static void return_same(struct cpu *cpu, uint16_t sel, struct x86_descriptor *cs, uint64_t off, unsigned bytes)
{
	seg_mark_accessed(cpu, sel, cs);
	stack_set(cpu, cpu->gpr[X86_RSP].q + bytes);
	cs_enter(cpu, sel, cs, cpu->cpl, off);
}

void far_ret(struct cpu *cpu, unsigned opsize, uint16_t drop)
{
	uint64_t off = stack_read(cpu, 0, opsize);
	uint16_t sel = stack_read(cpu, opsize, opsize);
	struct x86_descriptor d;

	if (flat_mode(cpu)) {
		jump_flat(cpu, sel, off);
		stack_set(cpu, cpu->gpr[X86_RSP].q + 2 * opsize + drop);
		return;
	}
	d = check_return(cpu, sel, off);
	if ((sel & X86_SEL_RPL) > cpu->cpl)
		return_stack(cpu, sel, &d, off, opsize, 2 * opsize + drop, drop);
	else
		return_same(cpu, sel, &d, off, 2 * opsize + drop);
}

uint64_t eflags_writable(const struct cpu *cpu, unsigned opsize)
{
	uint64_t mask = X86_RFLAGS_ARITH | X86_RFLAGS_TF | X86_RFLAGS_DF | X86_RFLAGS_NT;
	unsigned iopl = cpu->rflags >> 12 & 3;

	if (opsize > 2)
		mask |= X86_RFLAGS_AC | X86_RFLAGS_ID;
	if (cpu->cpl == 0)
		mask |= X86_RFLAGS_IOPL;
	if (cpu->cpl <= iopl)
		mask |= X86_RFLAGS_IF;
	return mask;
}

void flags_load(struct cpu *cpu, uint64_t image, uint64_t mask)
{
	cpu_set_flags(cpu, (cpu_flags(cpu) & ~mask) | (image & mask));
	if (image & mask & (X86_RFLAGS_TF | X86_RFLAGS_RF))
		cpu->recheck = true;
}

/* CR0.PE with EFLAGS.NT: back to the task that the link names. */
static void iret_task(struct cpu *cpu)
{
	uint16_t link = sys_ld16(cpu, cpu->seg[X86_TR].base);

	task_switch(cpu, TASK_IRET, link, false, 0);
}

/* To virtual-8086 mode: nine doublewords. */
static void iret_to_v86(struct cpu *cpu, uint64_t off, uint16_t sel, uint64_t image)
{
	static const uint8_t order[] = { X86_SS, X86_ES, X86_DS, X86_FS, X86_GS };
	uint16_t sels[5];
	uint32_t sp = stack_read(cpu, 12, 4);

	for (unsigned i = 0; i < 5; i++)
		sels[i] = stack_read(cpu, 16 + 4 * i, 4);
	if (off > 0xffff)
		cpu_fault(cpu, X86_GP, 0);
	flags_load(cpu, image, eflags_writable(cpu, 4) | X86_RFLAGS_RF | X86_RFLAGS_VM | X86_RFLAGS_VIF | X86_RFLAGS_VIP);
	seg_set_v86(cpu, X86_CS, sel);
	for (unsigned i = 0; i < 5; i++)
		seg_set_v86(cpu, order[i], sels[i]);
	cpu->gpr[X86_RSP].q = sp;
	cpu->next_rip = off;
	cpu_update_mode(cpu);
}

static void iret_flat(struct cpu *cpu, unsigned opsize)
{
	uint64_t off, image, mask;
	uint16_t sel;

	if (cpu->v86 && (cpu->rflags & X86_RFLAGS_IOPL) != X86_RFLAGS_IOPL)
		cpu_fault(cpu, X86_GP, 0);
	off = stack_read(cpu, 0, opsize);
	sel = stack_read(cpu, opsize, opsize);
	image = stack_read(cpu, 2 * opsize, opsize);
	mask = eflags_writable(cpu, opsize) | (opsize > 2 ? X86_RFLAGS_RF : 0);
	jump_flat(cpu, sel, off);
	stack_set(cpu, cpu->gpr[X86_RSP].q + 3 * opsize);
	flags_load(cpu, image, mask);
	cpu_update_mode(cpu);
}

static void iret_protected(struct cpu *cpu, unsigned opsize)
{
	uint64_t off = stack_read(cpu, 0, opsize);
	uint16_t sel = stack_read(cpu, opsize, opsize);
	uint64_t image = stack_read(cpu, 2 * opsize, opsize);
	uint64_t mask = eflags_writable(cpu, opsize);
	struct x86_descriptor d;

	if (opsize > 2) {
		mask |= X86_RFLAGS_RF;
		if (cpu->cpl == 0 && (image & X86_RFLAGS_VM) && !cpu_long(cpu)) {
			iret_to_v86(cpu, off, sel, image);
			return;
		}
		if (cpu->cpl == 0)
			mask |= X86_RFLAGS_VIF | X86_RFLAGS_VIP;
	}
	d = check_return(cpu, sel, off);
	if ((sel & X86_SEL_RPL) > cpu->cpl || cpu_code64(cpu))
		return_stack(cpu, sel, &d, off, opsize, 3 * opsize, 0);
	else
		return_same(cpu, sel, &d, off, 3 * opsize);
	flags_load(cpu, image, mask);
	cpu_update_mode(cpu);
}

void far_iret(struct cpu *cpu, unsigned opsize)
{
	if (flat_mode(cpu))
		iret_flat(cpu, opsize);
	else if ((cpu->rflags & X86_RFLAGS_NT) && cpu_long(cpu))
		cpu_fault(cpu, X86_GP, 0);
	else if (cpu->rflags & X86_RFLAGS_NT)
		iret_task(cpu);
	else
		iret_protected(cpu, opsize);
	cpu->nmi_blocked = false;
}

/* ---- SYSCALL, SYSENTER and back: flat segments that no descriptor is read for */

enum {
	FLAT_CODE = X86_ATTR_P | X86_ATTR_S | X86_TYPE_CODE | X86_TYPE_READABLE | X86_TYPE_ACCESSED | X86_ATTR_G,
	FLAT_STACK = X86_ATTR_P | X86_ATTR_S | X86_TYPE_WRITABLE | X86_TYPE_ACCESSED | X86_ATTR_G | X86_ATTR_DB,
};

/* CS:off and SS at `cpl`; `bits` is CS's L or D.  The caller sets RSP. */
static void enter_flat(struct cpu *cpu, unsigned cpl, uint16_t cs, uint16_t ss, uint32_t bits, uint64_t off)
{
	struct x86_descriptor code = { .limit = 0xffffffff, .attr = FLAT_CODE | bits | cpl << 5 };
	struct x86_descriptor stack = { .limit = 0xffffffff, .attr = FLAT_STACK | cpl << 5 };

	cpu->cpl = cpl;
	seg_set(cpu, X86_CS, (cs & ~X86_SEL_RPL) | cpl, &code);
	seg_set(cpu, X86_SS, (ss & ~X86_SEL_RPL) | cpl, &stack);
	cpu->next_rip = off;
	cpu_update_mode(cpu);
}

/* As Intel's: in 64-bit mode only. */
static void need_syscall(struct cpu *cpu)
{
	if (!cpu_code64(cpu) || !(cpu->efer & X86_EFER_SCE))
		cpu_fault(cpu, X86_UD, 0);
}

void op_syscall(struct cpu *cpu, const struct insn *in)
{
	uint16_t cs = cpu->star >> 32;

	(void)in;
	need_syscall(cpu);
	cpu->gpr[X86_RCX].q = cpu->next_rip;
	cpu->gpr[X86_R11].q = cpu_flags(cpu) & ~(uint64_t)X86_RFLAGS_RF;
	cpu_set_flags(cpu, cpu_flags(cpu) & ~(cpu->sfmask | X86_RFLAGS_RF));
	cpu->entered = !(cpu->rflags & X86_RFLAGS_TF);
	enter_flat(cpu, 0, cs, cs + 8, X86_ATTR_L, cpu->lstar);
}

enum { SYSRET_FLAGS = 0x3c7fd7 };	/* all but RF and VM */

void op_sysret(struct cpu *cpu, const struct insn *in)
{
	uint16_t base = cpu->star >> 48;
	bool wide = in->opsize == 8;

	need_syscall(cpu);
	need_cpl0(cpu);
	if (wide && !cpu_canonical(cpu, cpu->gpr[X86_RCX].q))
		cpu_fault(cpu, X86_GP, 0);
	flags_load(cpu, cpu->gpr[X86_R11].q, SYSRET_FLAGS | X86_RFLAGS_RF);
	cpu->rflags &= ~(uint64_t)X86_RFLAGS_RF;
	if (wide)
		enter_flat(cpu, 3, base + 16, base + 8, X86_ATTR_L, cpu->gpr[X86_RCX].q);
	else
		enter_flat(cpu, 3, base, base + 8, X86_ATTR_DB, cpu->gpr[X86_RCX].d);
}

void op_sysenter(struct cpu *cpu, const struct insn *in)
{
	uint16_t cs = cpu->sysenter_cs;

	(void)in;
	if (!cpu->pe || !(cs & ~X86_SEL_RPL))
		cpu_fault(cpu, X86_GP, 0);
	cpu->rflags &= ~(uint64_t)(X86_RFLAGS_VM | X86_RFLAGS_IF | X86_RFLAGS_RF);
	enter_flat(cpu, 0, cs, cs + 8, cpu_long(cpu) ? X86_ATTR_L : X86_ATTR_DB,
		   cpu_long(cpu) ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip);
	cpu->gpr[X86_RSP].q = cpu_long(cpu) ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
}

void op_sysexit(struct cpu *cpu, const struct insn *in)
{
	uint16_t cs = cpu->sysenter_cs;
	uint64_t ip = cpu->gpr[X86_RDX].q, sp = cpu->gpr[X86_RCX].q;

	if (!cpu->pe || cpu->cpl != 0 || !(cs & ~X86_SEL_RPL))
		cpu_fault(cpu, X86_GP, 0);
	if (in->opsize == 8) {
		if (!cpu_canonical(cpu, ip) || !cpu_canonical(cpu, sp))
			cpu_fault(cpu, X86_GP, 0);
		enter_flat(cpu, 3, cs + 32, cs + 40, X86_ATTR_L, ip);
		cpu->gpr[X86_RSP].q = sp;
	} else {
		enter_flat(cpu, 3, cs + 16, cs + 24, X86_ATTR_DB, (uint32_t)ip);
		cpu->gpr[X86_RSP].q = (uint32_t)sp;
	}
}

/* ---- handlers */

void op_jmp_far(struct cpu *cpu, const struct insn *in)
{
	far_jmp(cpu, in->far.sel, in->far.off, in->opsize);
}

void op_call_far(struct cpu *cpu, const struct insn *in)
{
	far_call(cpu, in->far.sel, in->far.off, in->opsize);
}

static uint16_t far_operand(struct cpu *cpu, const struct insn *in, uint64_t *off)
{
	uint64_t ea = insn_ea(cpu, in);

	*off = in->opsize == 2 ? ld16(cpu, in->seg, ea) : in->opsize == 4 ? ld32(cpu, in->seg, ea) : ld64(cpu, in->seg, ea);
	return ld16(cpu, in->seg, ip_mask(in->adsize, ea + in->opsize));
}

void op_jmp_far_mem(struct cpu *cpu, const struct insn *in)
{
	uint64_t off;
	uint16_t sel = far_operand(cpu, in, &off);

	far_jmp(cpu, sel, off, in->opsize);
}

void op_call_far_mem(struct cpu *cpu, const struct insn *in)
{
	uint64_t off;
	uint16_t sel = far_operand(cpu, in, &off);

	far_call(cpu, sel, off, in->opsize);
}

void op_ret_far(struct cpu *cpu, const struct insn *in)
{
	far_ret(cpu, in->opsize, in->imm);
}

void op_iret(struct cpu *cpu, const struct insn *in)
{
	far_iret(cpu, in->opsize);
}
