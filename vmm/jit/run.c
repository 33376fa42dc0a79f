/*
 * vmm/jit/run.c - from C into translated code and back: entering, what an exit
 * asks for, instructions that the interpreter carries out.
 *
 * Knows nothing of encodings.  Transfers of control that code does not make by
 * itself are made here, precisely: a fault leaves the instruction undone.
 */
#include <asm/prctl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/jit/lockstep.h"
#include "vmm/jit/unit.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/thread.h"
#include "vmm/stats.h"
#include "vmm/x86/exception.h"

enum { SIGNAL_STACK = 32 << 10 };

/* GS is the thread's, and nothing else of this program uses it. */
static __thread const struct cpu *gs_of;

/*
 * RSP is no stack inside of code: what handles a signal needs one.  The C library's own
 * signals cannot be blocked and do not ask for it: nobody may pthread_cancel() a vCPU's
 * thread, or change the process's user while there is one.
 */
static void give_signal_stack(void)
{
	static __thread _Alignas(16) char room[SIGNAL_STACK];
	const stack_t ours = { .ss_sp = room, .ss_size = sizeof(room) };
	stack_t now;

	if (sigaltstack(NULL, &now) == 0 && (now.ss_flags & SS_DISABLE))
		sigaltstack(&ours, NULL);
}

static void set_gs(struct cpu *cpu)
{
	if (gs_of == cpu)
		return;
	if (!gs_of)
		give_signal_stack();
	if (syscall(SYS_arch_prctl, ARCH_SET_GS, cpu) < 0)
		abort();		/* cannot fail for an address that we have */
	gs_of = cpu;
	simd_catch(cpu);
}

const void *jit_fault_at(const struct cpu *cpu, uintptr_t pc)
{
	const struct jit *j = cpu->jit.j;

	return j && pc - (uintptr_t)j->rx < j->size ? j->rx + j->fault : NULL;
}

static uint64_t block_rip(const struct cpu *cpu, const struct jit_unit *u)
{
	return cpu->jit.base + (u->block->gpa & PAGE_OFFSET);
}

/* ---- instructions by the interpreter */

static void come_back(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	cpu->jit.done = true;
}

static void count_call(struct jit *j, const struct jit_op *op)
{
	count_up(&j->stats.calls, 1);
	if (op->untreated)
		count_up(&j->calls[op->insn.row], 1);
	else
		count_up(&j->stats.misses, 1);
}

bool jit_call_insn(struct cpu *cpu, struct jit_op *op)
{
	const struct insn *in = &op->insn;
	struct jit_unit *u = op_unit(op);

	count_call(cpu->jit.j, op);
	cpu->rip = block_rip(cpu, u);
	cpu->insn = NULL;
	cpu->jit.done = false;
	in->fn(cpu, in);
	if (!cpu->jit.done)
		return false;
	cpu->insn = NULL;
	if (!cpu->recheck && u->block)
		return true;
	cpu->rip += in->off + in->len;
	cpu->icount += in->n + 1u;
	return false;
}

void jit_set_return(struct jit_op *op)
{
	op->back = come_back;
}

/* ---- transfers of control, in 64-bit mode */

static void check_target(struct cpu *cpu, uint64_t target)
{
	if (!cpu_canonical(cpu, target))
		cpu_fault(cpu, X86_GP, 0);
}

static uint64_t indirect_target(struct cpu *cpu, const struct insn *in)
{
	return in->mem ? ld64(cpu, in->seg, insn_ea(cpu, in)) : cpu->gpr[in->rm].q;
}

static void call_to(struct cpu *cpu, const struct insn *in, uint64_t target)
{
	uint64_t *sp = &cpu->gpr[X86_RSP].q;

	check_target(cpu, target);
	st64(cpu, SEG_FLAT_SS, *sp - 8, cpu->rip + in->off + in->len);
	*sp -= 8;
}

/* Where the branch goes; it is done but for rip. */
static uint64_t branch(struct cpu *cpu, const struct insn *in)
{
	sel_fn *is = op_dispatch[in->row].select;
	uint64_t target, *sp = &cpu->gpr[X86_RSP].q;

	if (is == sel_ret) {
		target = ld64(cpu, SEG_FLAT_SS, *sp);
		check_target(cpu, target);
		*sp += 8 + in->imm;
	} else if (is == sel_call) {
		target = cpu->rip + (int64_t)in->disp;
		call_to(cpu, in, target);
	} else {
		target = indirect_target(cpu, in);
		if (is == sel_call_ind)
			call_to(cpu, in, target);
		else
			check_target(cpu, target);
	}
	return target;
}

bool jit_is_branch(const struct insn *in)
{
	sel_fn *is = op_dispatch[in->row].select;

	return is && (is == sel_ret || is == sel_jmp_ind || is == sel_call_ind || (is == sel_call && !insn_branch_wraps(in))) && in->opsize == 8;
}

/* The instruction that ends the unit, carried out here. */
static void do_op(struct cpu *cpu, const struct jit_unit *u, unsigned op)
{
	const struct insn *in = &u->op[op].insn;

	cpu->rip = block_rip(cpu, u);
	if (jit_is_branch(in)) {
		uint64_t target;

		cpu->insn = in;
		target = branch(cpu, in);
		cpu->insn = NULL;
		cpu->rip = target;
		cpu->icount += in->n + 1u;
	} else {
		lockstep_end(cpu, in);
		interp_plain(cpu, in);
		cpu->rip = cpu->next_rip;
	}
}

/* ---- the loop */

static void leave_by(struct cpu *cpu, const struct jit_exit *e)
{
	struct jit *j = cpu->jit.j;

	if (e->why == LEAVE_OP) {
		count_up(&j->stats.exit_op, 1);
		do_op(cpu, e->from, e->op);
		return;
	}
	count_up(&j->stats.exit_branch, 1);
	cpu->rip = cpu->jit.base + e->target;
	if (e->op != NO_OP && !cpu_canonical(cpu, cpu->rip)) {		/* the branch faults */
		const struct insn *in = &e->from->op[e->op].insn;

		cpu->rip = block_rip(cpu, e->from) + in->off;
		cpu->icount--;
		cpu_fault(cpu, X86_GP, 0);
	}
}

static void learn(struct cpu *cpu, uint64_t rip, struct jit_unit *u)
{
	count_up(&cpu->jit.j->stats.unknown, 1);
	jit_remember(cpu, mode_set(cpu->mode), rip, u);
}

/* What stands at rip and may be run here, by whichever way `e` has come. */
static struct block *follow(struct cpu *cpu, struct jit_exit *e)
{
	uint64_t rip = cpu->rip;
	struct block *b;

	if (!(cpu->mode & MODE_CODE64) || (cpu->mode & MODE_CHECKED))
		return NULL;
	b = block_find(cpu, false);
	if (!b->unit)
		return NULL;
	if (!e->from->block || cpu->jit.j->lockstep)
		return b;
	if (e->site && b->mode == e->from->block->mode && !((b->gpa ^ e->from->block->gpa) & PAGE_FRAME))
		jit_link(cpu->jit.j, e, b->unit);
	else if (!e->site && (e->why == LEAVE_BRANCH || jit_is_branch(&e->from->op[e->op].insn)))
		learn(cpu, rip, b->unit);
	return b;
}

static void jit_run(struct cpu *cpu, struct block *b)
{
	struct jit *j = cpu->jit.j;

	set_gs(cpu);
	for (;;) {
		struct jit_exit *e;

		cpu->insn = NULL;
		if (jit_look(cpu, mode_set(cpu->mode)))
			break;
		cpu->jit.base = cpu->rip - (b->gpa & PAGE_OFFSET);
		count_up(&j->stats.entries, 1);
		if (j->lockstep && !lockstep_begin(cpu, b->unit))
			break;
		j->enter(b->unit->entry);
		e = cpu->jit.exit;
		if (e)
			leave_by(cpu, e);
		else
			count_up(&j->stats.exit_left, 1);
		lockstep_end(cpu, NULL);
		if (!e)
			break;
		if (cpu_event(cpu))
			break;
		b = follow(cpu, e);
		if (!b)
			break;
	}
	cpu->insn = NULL;
	cpu->blocks->link_from = NULL;
}

/* ---- from cold to hot */

static void enter_unit(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	jit_run(cpu, cpu->block);
}

static bool translate(struct cpu *cpu, struct block *b)
{
	struct jit *j = cpu->jit.j;
	const uint8_t *page;
	uint64_t gpa;
	struct code c;

	page = mmu_fetch_page(cpu, cpu_code_linear(cpu, cpu->rip), &gpa);
	if (!page || ((gpa ^ b->gpa) & PAGE_FRAME) || b->dead)
		return false;		/* the page stands elsewhere by now, or the walk has set A in these bytes */
	c = jit_reserve(j);
	if (jit_emit_unit(cpu, b, page + (b->gpa & PAGE_OFFSET), &c))
		b->unit = jit_keep(j, &c);
	if (!b->unit) {
		count_up(&j->stats.refused, 1);
		return false;
	}
	if (j->record)
		jit_record_unit(j, b->unit, cpu->rip, page + (b->gpa & PAGE_OFFSET));
	return true;
}

static void heat_up(struct cpu *cpu, const struct insn *in)
{
	struct block *b = cpu->block;
	bool hot = ++b->heat >= cpu->jit.j->threshold, translated;

	if (hot) {
		cpu->insn = NULL;		/* rip is exact, and the page may be gone */
		translated = translate(cpu, b);
		if (!b->dead)
			b->insn[0].fn = translated ? enter_unit : b->first;
	}
	return b->insn[0].fn == heat_up ? b->first(cpu, in) : b->insn[0].fn(cpu, in);
}

void jit_watch(struct cpu *cpu, struct block *b)
{
	const uint32_t wanted = MODE_CODE64, never = MODE_STEP | MODE_CHECKED;

	if (!cpu->jit.j || (b->mode & (wanted | never)) != wanted || !b->count)
		return;
	b->heat = 0;
	b->first = b->insn[0].fn;
	b->insn[0].fn = heat_up;
}

void jit_cool(struct block *b)
{
	b->heat = 0;
	b->insn[0].fn = heat_up;
}
