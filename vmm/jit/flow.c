/*
 * vmm/jit/flow.c - transfers of control: from unit to unit, through the table of
 * branch targets, and out to C.
 *
 * Whoever jumps elsewhere has counted its instructions.  Events are looked for
 * where a branch goes backward or may go anywhere, so within a bounded number
 * of instructions: by a word that tells, or since the table of branch targets
 * is an empty one.
 */
#include <string.h>

#include "vmm/jit/translate.h"

/* ---- ways out */

struct jit_exit *new_exit(struct translation *t, enum jit_leave why, int64_t target, unsigned op)
{
	struct jit_exit *e = &t->u->exit[t->u->exits++];

	*e = (struct jit_exit){ .from = t->u, .why = why, .target = target, .op = op };
	return e;
}

static void to_thunk(struct translation *t, uint32_t field, uint32_t thunk)
{
	uint32_t rel = thunk - (t->u->start + field + 4);

	if (t->c->at <= t->c->size)
		memcpy(t->c->bytes + field, &rel, 4);
}

void load_address(struct translation *t, bool is_exit, unsigned n)
{
	struct jit_draft *d = &t->j->draft;
	uint32_t field = asm_lea_rip(t->c, H_RAX);

	if (d->refs == DRAFT_REFS) {
		t->c->at = t->c->size + 1;	/* it is too much */
		return;
	}
	d->ref[d->refs].field = field;
	d->ref[d->refs].n = n;
	d->ref[d->refs++].is_exit = is_exit;
}

void leave_by(struct translation *t, const struct jit_exit *e)
{
	load_address(t, true, e - t->u->exit);
	to_thunk(t, asm_jmp(t->c), t->j->leave);
	asm_islands(t->c);
}

void count(struct translation *t, unsigned n)
{
	if (n)
		asm_lea(t->c, H_RSP, op_mem(H_RSP, H_NONE, 0, (int32_t)n << COUNT_SHIFT));
}

/* RCX becomes 0 where something waits for the run loop. */
static void load_calm(struct translation *t)
{
	asm_load32(t->c, H_RCX, FIELD(jit.calm.now[CALM]));
}

/*
 * RAX is a linear address: if the table knows it RDX becomes the address of its place there.
 * Returns the field of the jump that is taken if not.
 */
static uint32_t look_up_target(struct translation *t)
{
	t->rdx = NO_WINDOW;
	asm_rorx(t->c, H_RDX, H_RAX, JUMP_SHIFT);
	asm_movzx16(t->c, H_RDX, H_RDX);
	asm_load(t->c, H_RCX, op_gs(H_NONE, 0, offsetof(struct cpu, jit.calm.now[CALM_JUMPS]) + 8 * t->set));
	asm_lea(t->c, H_RDX, op_mem(H_RDX, H_RDX, 0, 0));
	asm_lea(t->c, H_RDX, op_mem(H_RCX, H_RDX, 3, 0));
	asm_load(t->c, H_RCX, op_mem(H_RDX, H_NONE, 0, 0));
	asm_lea(t->c, H_RCX, op_mem(H_RCX, H_RAX, 0, t->c->loop ? 2 : 1));
	return t->c->loop ? asm_jmp_unless_one(t->c) : asm_jmp_if_rcx(t->c);
}

static struct operand target_code(void)
{
	return op_mem(H_RDX, H_NONE, 0, offsetof(struct jit_jump, code));
}

static bool in_page(int64_t target)
{
	return target >= 0 && target < PAGE_BYTES;
}

/* RAX := the linear address. */
static void load_target(struct translation *t, int64_t target)
{
	asm_load(t->c, H_RAX, FIELD(jit.base));
	if (fits32(target)) {
		asm_lea(t->c, H_RAX, op_mem(H_RAX, H_NONE, 0, target));
	} else {
		asm_imm(t->c, H_RDX, target);
		asm_lea(t->c, H_RAX, op_mem(H_RAX, H_RDX, 0, 0));
	}
}

/* All is done but the way to `target`, which is counted from the page's start. */
void go_to(struct translation *t, int64_t target, unsigned n, bool taken)
{
	struct jit_exit *e = new_exit(t, LEAVE_BRANCH, target, taken ? n - 1 : NO_OP);
	bool inside = in_page(target);
	bool backward = inside && target <= t->page + t->off;
	uint32_t out = 0, miss;

	note_fp(t);
	settle_sp(t);
	count(t, n);
	if (inside) {
		if (backward) {
			load_calm(t);
			out = asm_jmp_unless_rcx(t->c);
		}
		e->site = t->u->start + asm_jmp(t->c);	/* to what follows, until it is linked */
		if (backward)
			asm_here(t->c, out);
		leave_by(t, e);
		return;
	}
	load_target(t, target);
	miss = look_up_target(t);
	asm_jmp_mem(t->c, target_code());
	asm_here(t->c, miss);
	leave_by(t, e);
}

/*
 * The last instruction: C carries it out, or where C has no handler that stands
 * alone the interpreter goes on with the block that begins there.
 */
bool leave_for_c(struct translation *t)
{
	note_fp(t);
	settle_sp(t);
	t->ended = true;
	if (t->row->plain || jit_is_branch(t->in)) {
		leave_by(t, new_exit(t, LEAVE_OP, 0, t->k));
		return true;
	}
	count(t, t->k);
	if (t->k)
		insn_is_last(&t->u->op[t->k - 1].insn);
	leave_by(t, new_exit(t, LEAVE_BRANCH, (int64_t)t->page + t->off, NO_OP));
	t->refused = t->k == 0;
	return true;
}

/* There is no stack to call on: RDX has the way back. */
void call_thunk(struct translation *t, uint32_t thunk)
{
	uint32_t back = asm_lea_rip(t->c, H_RDX);

	t->rdx = NO_WINDOW;
	to_thunk(t, asm_jmp(t->c), thunk);
	asm_here(t->c, back);
}

void by_interpreter(struct translation *t)
{
	note_fp(t);
	settle_sp(t);
	load_address(t, false, t->k);
	call_thunk(t, t->j->call);
}

/* A loop that stands here once more goes on if the branch is taken, and is left if not. */
static bool jcc(struct translation *t)
{
	bool again = t->plan[t->k].again;

	t->side[t->sides].field = asm_jcc(t->c, (t->x.opcode & 15) ^ again);
	t->side[t->sides].target = (int64_t)t->page + t->off + t->x.len + (again ? 0 : t->x.disp);
	t->side[t->sides].taken = !again;
	t->side[t->sides].fp = t->fp;
	t->side[t->sides].sp = t->sp;
	t->side[t->sides++].n = t->in->n + 1;
	return true;
}

static bool jmp(struct translation *t)
{
	go_to(t, (int64_t)t->page + t->off + t->x.len + t->x.disp, t->in->n + 1, true);
	t->ended = true;
	return true;
}

/* RAX := the address behind the instruction. */
static void return_address(struct translation *t)
{
	asm_load(t->c, H_RAX, FIELD(jit.base));
	asm_lea(t->c, H_RAX, op_mem(H_RAX, H_NONE, 0, t->page + t->off + t->x.len));
}

static void push_return(struct translation *t)
{
	struct operand top = look_up_at(t, X86_RSP, -8, 8, true);

	return_address(t);
	asm_store(t->c, top, H_RAX);
	t->sp -= 8;
}

/* RDX has a place in the table of targets: the return address is pushed, and it is time to go there.  RAX is still to be loaded. */
static void push_for(struct translation *t)
{
	asm_load(t->c, H_RDX, target_code());
	asm_store(t->c, FIELD(jit.code), H_RDX);
	push_return(t);
	settle_sp(t);
	count(t, t->in->n + 1);
}

static bool call(struct translation *t)
{
	int64_t target = (int64_t)t->page + t->off + t->x.len + t->x.disp;

	if (!jit_is_branch(t->in))
		return leave_for_c(t);
	t->here->by_c = true;
	t->ended = true;
	if (in_page(target)) {
		push_return(t);
		go_to(t, target, t->in->n + 1, true);
		return true;
	}
	/* where it is not known C looks whether it may be before anything is pushed */
	load_target(t, target);
	note_miss(t, look_up_target(t));
	push_for(t);
	load_target(t, target);
	asm_jmp_mem(t->c, FIELD(jit.code));
	asm_islands(t->c);
	return true;
}

static bool ret(struct translation *t)
{
	struct operand top;

	if (!jit_is_branch(t->in) || t->x.imm > INT16_MAX)
		return leave_for_c(t);
	t->here->by_c = true;
	top = look_up_at(t, X86_RSP, 0, 8, false);
	asm_load(t->c, H_RAX, top);
	note_miss(t, look_up_target(t));
	t->sp += 8 + (int32_t)t->x.imm;
	settle_sp(t);
	count(t, t->in->n + 1);
	asm_jmp_mem(t->c, target_code());
	asm_islands(t->c);
	t->ended = true;
	return true;
}

/* JMP and CALL to where a register or memory says. */
static bool go_indirect(struct translation *t)
{
	bool is_call = handler(t) == sel_call_ind;

	if (!jit_is_branch(t->in))
		return leave_for_c(t);
	t->here->by_c = true;
	if (t->x.mem) {
		if (!look_up_operand(t, 0))
			return leave_for_c(t);
		asm_load(t->c, H_RAX, t->m);
	} else {
		get(t, H_RAX, t->x.rm);
	}
	if (is_call)
		asm_store(t->c, FIELD(jit.tmp), H_RAX);
	note_miss(t, look_up_target(t));
	if (!is_call) {
		settle_sp(t);
		count(t, t->in->n + 1);
		asm_jmp_mem(t->c, target_code());
	} else {
		push_for(t);
		asm_load(t->c, H_RAX, FIELD(jit.tmp));
		asm_jmp_mem(t->c, FIELD(jit.code));
	}
	asm_islands(t->c);
	t->ended = true;
	return true;
}

/* ---- all of them */

void emit_sides(struct translation *t)
{
	for (unsigned i = 0; i < t->sides; i++) {
		asm_here(t->c, t->side[i].field);
		t->fp = t->side[i].fp;
		t->sp = t->side[i].sp;
		go_to(t, t->side[i].target, t->side[i].n, t->side[i].taken);
	}
}

bool emit_flow(struct translation *t)
{
	sel_fn *is = handler(t);

	if (is == sel_jcc)
		return jcc(t);
	note_fp(t);
	if (is == sel_jmp)
		return jmp(t);
	if (is == sel_call)
		return call(t);
	if (is == sel_ret)
		return ret(t);
	if (is == sel_jmp_ind || is == sel_call_ind)
		return go_indirect(t);
	return leave_for_c(t);
}
