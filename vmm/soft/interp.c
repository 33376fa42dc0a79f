/*
 * vmm/soft/interp.c - the run loop's inner half: finding a block and running
 * it, leaving it, and the handlers that are no instruction's own.
 *
 * Owns rip's bookkeeping (cpu.h says what it means where).  Knows nothing of
 * why an event waits or how a fault is delivered: that is engine.c's.
 */
#include "vmm/soft/thread.h"

#include "vmm/jit/lockstep.h"
#include "vmm/x86/exception.h"

#define DISPATCH_P(h)	{ .plain = op_##h }
#define DISPATCH_F(h)	{ .select = sel_##h }
#define DISPATCH_V(h)	DISPATCH_F(h)
#define DISPATCH_VI(h)	DISPATCH_F(h)
#define DISPATCH_VL(h)	DISPATCH_F(h)
#define DISPATCH_VA(h)	DISPATCH_F(h)
#define DISPATCH_VF(h)	DISPATCH_F(h)
const struct op_dispatch op_dispatch[] = {
#define X(map, op, ext, pfx, kind, mn, h, a, b, c, r, w, u, p, t) DISPATCH_##kind(h),
#include "vmm/x86/opcodes.def"
#undef X
};

/* ---- unwinding */

void cpu_sync_rip(struct cpu *cpu)
{
	if (!cpu->insn)
		return;
	cpu->rip += cpu->insn->off;
	cpu->icount += cpu->insn->n;
	cpu->insn = NULL;
}

_Noreturn void cpu_unwind(struct cpu *cpu, enum unwind why)
{
	cpu_sync_rip(cpu);
	if (cpu->stepping)
		cpu->stepping = cpu->recheck = false;
	cpu->blocks->link_from = NULL;
	lockstep_unwinds(cpu, why);
	longjmp(cpu->jmp, why);
}

_Noreturn void cpu_fault(struct cpu *cpu, unsigned vector, uint32_t error_code)
{
	cpu->fault_vector = vector;
	cpu->fault_error = error_code;
	cpu_unwind(cpu, UNWIND_FAULT);
}

/* ---- near transfers */

static void check_target(struct cpu *cpu, uint64_t target)
{
	if (cpu->mode & MODE_CODE64 ? !cpu_canonical(cpu, target) : target > cpu->seg[X86_CS].limit)
		cpu_fault(cpu, X86_GP, 0);
}

/* Direct branches between pages are not linked: a page may be mapped elsewhere.  The jump cache knows. */
void branch_slow(struct cpu *cpu, const struct insn *in, uint64_t rip, unsigned done)
{
	struct block *b = NULL;
	bool other_page;

	rip = ip_mask(in->opsize, rip);
	other_page = (rip ^ cpu->rip) & PAGE_FRAME;
	if (other_page)
		b = jump_block(cpu, rip);
	if (b && block_may_run(cpu, b, rip)) {
		cpu->rip = rip;
		cpu->icount += done;
		return enter_block(cpu, b);
	}
	cpu->insn = in;
	check_target(cpu, rip);
	cpu->insn = NULL;
	cpu->rip = rip;
	cpu->icount += done;
	if (!other_page && insn_has_link(in))
		cpu->blocks->link_from = in;
}

/* ---- handlers of no instruction */

/* Carry out `in` by its plain handler.  True: it neither transferred control nor repeats. */
bool interp_plain(struct cpu *cpu, const struct insn *in)
{
	uint64_t block_rip = cpu->rip, next = (block_rip + in->off + in->len) & cpu->ip_mask;

	cpu->insn = NULL;
	cpu->icount += in->n;		/* as in cpu_sync_rip(): exact if the handler unwinds */
	cpu->rip = block_rip + in->off;
	cpu->next_rip = next;
	op_dispatch[in->row].plain(cpu, in);
	if (cpu->next_rip == cpu->rip && cpu->next_rip != next)
		return false;
	cpu->icount++;
	return cpu->next_rip == next;
}

void thread_plain(struct cpu *cpu, const struct insn *in)
{
	if (!interp_plain(cpu, in)) {
		cpu->rip = cpu->next_rip;
		return;
	}
	cpu->rip -= in->off;
	cpu->icount -= in->n + 1;
	NEXT(1);
}

void thread_plain_end(struct cpu *cpu, const struct insn *in)
{
	struct block *b;

	interp_plain(cpu, in);
	cpu->rip = cpu->next_rip;
	b = jump_block(cpu, cpu->rip);
	if (b && block_may_run(cpu, b, cpu->rip))
		return enter_block(cpu, b);
}

/* Behind a block's last instruction. */
void thread_follow(struct cpu *cpu, const struct insn *in)
{
	return branch_direct(cpu, in, (cpu->rip + in->disp) & cpu->ip_mask, in->n, true);
}

/*
 * Leave behind the last instruction that was carried out: the block ends here, or
 * its code has changed, which goes for NOPs before this one as well.
 */
void thread_stale(struct cpu *cpu, const struct insn *in)
{
	if (in != cpu->block->insn) {
		cpu->rip = (cpu->rip + in[-1].off + in[-1].len) & cpu->ip_mask;
		cpu->icount += in[-1].n + 1u;
	}
	cpu->insn = NULL;
}

void thread_break(struct cpu *cpu, const struct insn *in)
{
	thread_stale(cpu, in);
	cpu->at_break = cpu->recheck = true;
}

void thread_ud(struct cpu *cpu, const struct insn *in)
{
	cpu->insn = in;
	cpu_fault(cpu, X86_UD, 0);
}

void thread_too_long(struct cpu *cpu, const struct insn *in)
{
	cpu->insn = in;
	cpu_fault(cpu, X86_GP, 0);
}

/* ---- the loop */

static bool fits(const struct cpu *cpu, const struct block *b)
{
	return cpu->mode & MODE_CODE64 || cpu->rip + b->bytes <= cpu->rip_end;
}

/* Near the CS limit instructions go one by one, and the one that crosses it faults. */
static struct block *next_block(struct cpu *cpu, bool step)
{
	struct block *b;

	cpu->insn = NULL;
	if (cpu->mode & MODE_CODE64 ? !cpu_canonical(cpu, cpu->rip) : cpu->rip >= cpu->rip_end)
		cpu_fault(cpu, X86_GP, 0);
	b = block_find(cpu, step);
	if (!fits(cpu, b) && !step)
		b = block_find(cpu, true);
	if (!fits(cpu, b))
		cpu_fault(cpu, X86_GP, 0);
	return b;
}

/* The direct branch that led here goes straight to `b` from now on, if both stand in one page. */
static void link_branch(struct cpu *cpu, struct block *from, struct block *b)
{
	struct insn *in = (struct insn *)cpu->blocks->link_from;

	cpu->blocks->link_from = NULL;
	if (!in || from->dead || b->dead || from->mode != b->mode || ((from->gpa ^ b->gpa) & PAGE_FRAME))
		return;
	if (from->gpa + (int64_t)in->disp != b->gpa)
		return;			/* another mapping of the same page */
	in->link = b;
}

enum { STACK_ROOM = 64 << 10 };

void interp_run(struct cpu *cpu)
{
	struct block *from = NULL;

	cpu->stack_floor = stack_pointer() - STACK_ROOM;
	cpu->mid_string = false;
	while (!cpu_event(cpu)) {
		struct block *b = next_block(cpu, false);

		if (from)
			link_branch(cpu, from, b);
		block_reap(cpu);
		cpu->block = b;
		b->insn[0].fn(cpu, b->insn);
		from = cpu->block;
	}
	cpu->recheck = false;
	cpu->insn = NULL;
	cpu->blocks->link_from = NULL;
}

void interp_step(struct cpu *cpu)
{
	struct block *b = next_block(cpu, true);

	cpu->mid_string = false;
	block_reap(cpu);
	cpu->stepping = cpu->recheck = true;	/* nothing chains, strings stop after a run */
	cpu->block = b;
	b->insn[0].fn(cpu, b->insn);
	cpu->stepping = cpu->recheck = false;
	cpu->insn = NULL;
	cpu->blocks->link_from = NULL;
}
