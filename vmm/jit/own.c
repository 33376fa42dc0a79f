/*
 * vmm/jit/own.c - instructions with registers of their own (MUL, CDQ, CMPXCHG)
 * and those of the stack, in 64-bit mode.
 */
#include "vmm/jit/translate.h"

/* ---- instructions with registers of their own */

static bool plain_bytes(struct translation *t)
{
	asm_byte(t->c, t->x.opcode);
	return true;
}

static bool lea(struct translation *t)
{
	const struct x86_insn *x = &t->x;
	unsigned to = jit_host_of[x->reg] == H_NONE ? H_RAX : jit_host_of[x->reg];
	struct encoding e = { .map = X86_MAP_1, .opcode = 0x8d, .w = x->rex & 8, .osize = x->osize };

	if (!address_fits(t))
		return false;
	if (x->opsize == 2 && to == H_RAX)
		return false;
	e.reg = to;
	if (address_is_plain(t)) {
		e.rm = address_operand(t);
	} else {
		effective(t);
		e.rm = op_mem(H_RAX, H_NONE, 0, 0);
	}
	asm_encode(t->c, &e);
	if (to == H_RAX)
		asm_store(t->c, gpr_field(x->reg), H_RAX);
	return true;
}

/* CBW, CWDE, CDQE */
static bool cbw(struct translation *t)
{
	const unsigned a = jit_host_of[X86_RAX];
	struct encoding e = { .reg = a, .rm = op_reg(a), .map = X86_MAP_0F, .opcode = t->x.opsize == 2 ? 0xbe : 0xbf,
			      .osize = t->x.opsize == 2, .rex = true };

	if (t->x.opsize == 8)
		e = (struct encoding){ .reg = a, .rm = op_reg(a), .map = X86_MAP_1, .opcode = 0x63, .w = true };
	asm_encode(t->c, &e);
	return true;
}

/* CWD, CDQ, CQO */
static bool cwd(struct translation *t)
{
	t->rdx = NO_WINDOW;
	get(t, H_RAX, X86_RAX);
	if (t->x.opsize == 2)
		get(t, H_RDX, X86_RDX);
	if (t->x.opsize != 4)
		asm_byte(t->c, t->x.opsize == 2 ? 0x66 : 0x48);
	asm_byte(t->c, 0x99);
	put(t, X86_RDX, H_RDX);
	return true;
}

static bool sahf(struct translation *t)
{
	get(t, H_RAX, X86_RAX);
	asm_byte(t->c, 0x9e);
	return true;
}

static bool lahf(struct translation *t)
{
	get(t, H_RAX, X86_RAX);
	asm_byte(t->c, 0x9f);
	put(t, X86_RAX, H_RAX);
	return true;
}

/* RAX and RDX to the guest's; of AX and DX the upper halves stay. */
static void put_results(struct translation *t, bool byte)
{
	struct encoding half = { .map = X86_MAP_1, .opcode = 0x8b, .osize = true, .reg = jit_host_of[X86_RAX], .rm = op_reg(H_RAX) };

	if (!byte && t->x.opsize != 2) {
		put(t, X86_RAX, H_RAX);
		put(t, X86_RDX, H_RDX);
		return;
	}
	asm_encode(t->c, &half);
	half.reg = jit_host_of[X86_RDX];
	half.rm = op_reg(H_RDX);
	if (!byte)
		asm_encode(t->c, &half);
}

/* MUL and IMUL of one operand: rDX:rAX, or AX. */
static bool mul(struct translation *t)
{
	struct encoding e = encoding_of(t);
	bool byte = t->row->operand[0] == OP_Eb;
	const struct x86_insn *x = &t->x;

	if (byte && !x->mem && !x->rex && x->rm >= 4)
		return false;
	if (x->mem) {
		if (!look_up_operand(t, 0))
			return false;
		settle_operand(t);
		e.rm = t->m;
	} else {
		e.rm = op_reg(reg_or_copy(t, x->rm, H_RCX));
	}
	e.reg = x->reg & 7;
	e.rex = byte;
	get(t, H_RAX, X86_RAX);
	if (x->opsize == 2 && !x->mem)
		get(t, H_RDX, X86_RDX);
	asm_encode(t->c, &e);
	t->rdx = NO_WINDOW;
	put_results(t, byte);
	return true;
}

/*
 * DIV and IDIV: rDX:rAX, or AX.  What the guest's would fault for the host's
 * does; the signal leads to the interpreter, which does it again and faults.
 */
static bool divide(struct translation *t)
{
	struct encoding e = encoding_of(t);
	bool byte = t->row->operand[0] == OP_Eb;
	const struct x86_insn *x = &t->x;
	unsigned size = memory_use(x).bytes;

	if (byte && !x->mem && !x->rex && x->rm >= 4)
		return false;
	if (x->mem) {
		if (!look_up_operand(t, 0))
			return false;
		asm_encode(t->c, &(struct encoding){ .map = size < 4 ? X86_MAP_0F : X86_MAP_1, .w = size == 8, .reg = H_RCX, .rm = t->m,
						     .opcode = size == 1 ? 0xb6 : size == 2 ? 0xb7 : 0x8b });
		e.rm = op_reg(H_RCX);
	} else {
		e.rm = op_reg(reg_or_copy(t, x->rm, H_RCX));
	}
	note_fp(t);			/* it may not come to what notes it later */
	load_address(t, false, t->k);
	asm_store(t->c, FIELD(jit.at), H_RAX);
	e.rex = byte;
	get(t, H_RAX, X86_RAX);
	if (!byte)
		get(t, H_RDX, X86_RDX);
	asm_encode(t->c, &e);
	t->rdx = NO_WINDOW;
	put_results(t, byte);
	return true;
}

/* CMPXCHG: the accumulator is where it must be; `reg` needs no copy but where it is in memory. */
static bool cmpxchg(struct translation *t)
{
	struct encoding e = encoding_of(t);
	const struct x86_insn *x = &t->x;
	bool byte = t->row->operand[0] == OP_Eb;

	if (byte && !x->rex && (x->reg >= 4 || (!x->mem && x->rm >= 4)))
		return false;
	if (!x->mem)
		return false;			/* rare */
	if (!look_up_operand(t, 0))
		return false;
	settle_operand(t);
	e.rm = t->m;
	e.reg = reg_or_copy(t, x->reg, H_RCX);
	e.rex = byte;
	get(t, H_RAX, X86_RAX);
	asm_encode(t->c, &e);
	put(t, X86_RAX, H_RAX);
	return true;
}

/* ---- the stack */

static bool push(struct translation *t)
{
	enum x86_operand o = t->row->operand[0];
	struct operand top;

	if (t->x.opsize != 8)
		return false;
	if (is_gpr_rm(o) && t->x.mem) {
		if (!look_up_operand(t, 0))
			return false;
		asm_load(t->c, H_RAX, t->m);
		asm_store(t->c, FIELD(jit.tmp), H_RAX);
	}
	top = look_up_at(t, X86_RSP, -8, 8, true);
	if (is_imm(o)) {
		asm_encode(t->c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0xc7, .w = true, .rm = top, .imm = t->x.imm, .imm_bytes = 4 });
	} else if (t->x.mem) {
		asm_load(t->c, H_RAX, FIELD(jit.tmp));
		asm_store(t->c, top, H_RAX);
	} else {
		asm_store(t->c, top, reg_or_copy(t, o == OP_Zv ? t->x.reg : t->x.rm, H_RAX));
	}
	t->sp -= 8;
	return true;
}

static bool pop(struct translation *t)
{
	unsigned to = t->x.reg, host;
	struct operand top;

	if (t->x.opsize != 8 || to == X86_RSP)
		return false;
	top = look_up_at(t, X86_RSP, 0, 8, false);
	host = jit_host_of[to];
	asm_load(t->c, host == H_NONE ? H_RAX : host, top);
	if (host == H_NONE)
		asm_store(t->c, gpr_field(to), H_RAX);
	t->sp += 8;
	return true;
}

static bool leave(struct translation *t)
{
	const unsigned sp = jit_host_of[X86_RSP], bp = jit_host_of[X86_RBP];
	struct operand frame;

	if (t->x.opsize != 8)
		return false;
	frame = look_up_at(t, X86_RBP, 0, 8, false);
	asm_load(t->c, H_RAX, frame);
	asm_lea(t->c, sp, op_mem(bp, H_NONE, 0, 8));
	t->sp = 0;
	asm_mov(t->c, bp, H_RAX);
	return true;
}

/* ---- all of them */

bool emit_own(struct translation *t)
{
	static const struct { sel_fn *is; emit_fn *emit; } own[] = {
		{ sel_lea, lea }, { sel_cbw, cbw }, { sel_cwd, cwd }, { sel_sahf, sahf }, { sel_lahf, lahf },
		{ sel_clc, plain_bytes }, { sel_stc, plain_bytes }, { sel_cmc, plain_bytes },
		{ sel_mul, mul }, { sel_imul1, mul }, { sel_div, divide }, { sel_idiv, divide }, { sel_cmpxchg, cmpxchg },
		{ sel_push, push }, { sel_pop, pop }, { sel_leave, leave },
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (own[i].is == handler(t))
			return own[i].emit(t);
	return false;
}
