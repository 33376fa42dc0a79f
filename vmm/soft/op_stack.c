/*
 * vmm/soft/op_stack.c - PUSH POP PUSHA POPA ENTER LEAVE.
 *
 * The width of the stack pointer is SS.B's, not the address size's; a 16-bit
 * one wraps and keeps the upper half of ESP.  SDM vol. 1 chapter 6, vol. 2.
 */
#include "vmm/soft/forms.h"
#include "vmm/soft/stackptr.h"

/* ---- PUSH: [operand size][stack size] */
#define PUSH(W, S)								\
MEM_HANDLER(push##W##_##S##_r)							\
{										\
	uint##W##_t v = GET_##W(in->rm);					\
										\
	STORE(W, X86_SS, SP_##S(-(W / 8)), v);					\
	ADD_SP_##S(-(W / 8));							\
	NEXT(1);								\
}										\
MEM_HANDLER(push##W##_##S##_i)							\
{										\
	STORE(W, X86_SS, SP_##S(-(W / 8)), in->imm);				\
	ADD_SP_##S(-(W / 8));							\
	NEXT(1);								\
}										\
MEM_HANDLER(push##W##_##S##_m)							\
{										\
	uint##W##_t v;								\
										\
	LOAD(W, v, in->seg, ADDR_x);						\
	STORE(W, X86_SS, SP_##S(-(W / 8)), v);					\
	ADD_SP_##S(-(W / 8));							\
	NEXT(1);								\
}										\
MEM_HANDLER(pop##W##_##S##_r)							\
{										\
	uint##W##_t v;								\
										\
	LOAD(W, v, X86_SS, SP_##S(0));						\
	ADD_SP_##S(W / 8);							\
	PUT_##W(in->rm, v);		/* last: POP ESP loads it */		\
	NEXT(1);								\
}										\
MEM_HANDLER(leave##W##_##S)							\
{										\
	uint##W##_t v;								\
										\
	LOAD(W, v, X86_SS, BP_##S);						\
	SET_SP_##S(BP_##S + W / 8);						\
	PUT_##W(X86_RBP, v);							\
	NEXT(1);								\
}
PUSH(16, 16)
PUSH(16, 32)
PUSH(32, 16)
PUSH(32, 32)

enum push_form { PUSH_R, PUSH_I, PUSH_M, PUSH_FORMS };

insn_fn *sel_push(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[2][2][PUSH_FORMS] = {
		{ { push16_16_r, push16_16_i, push16_16_m }, { push16_32_r, push16_32_i, push16_32_m } },
		{ { push32_16_r, push32_16_i, push32_16_m }, { push32_32_r, push32_32_i, push32_32_m } },
	};
	enum push_form form = is_imm(x86_opcodes[x->row].operand[0]) ? PUSH_I : in->mem ? PUSH_M : PUSH_R;

	return forms[x->opsize == 4][in->stack32][form];
}

insn_fn *sel_pop(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[2][2] = { { pop16_16_r, pop16_32_r }, { pop32_16_r, pop32_32_r } };

	return forms[x->opsize == 4][in->stack32];
}

insn_fn *sel_leave(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[2][2] = { { leave16_16, leave16_32 }, { leave32_16, leave32_32 } };

	return forms[x->opsize == 4][in->stack32];
}

/* ---- plain handlers */
static uint64_t load(struct cpu *cpu, uint64_t off, unsigned size)
{
	return size == 2 ? ld16(cpu, X86_SS, off) : ld32(cpu, X86_SS, off);
}

static void store(struct cpu *cpu, uint64_t off, unsigned size, uint64_t v)
{
	if (size == 2)
		st16(cpu, X86_SS, off, v);
	else
		st32(cpu, X86_SS, off, v);
}

/* The address is computed with the stack pointer as it is after the pop. */
void op_pop_mem(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->opsize;
	uint64_t v = load(cpu, stack_at(cpu, in, 0), size), ea = insn_ea(cpu, in);

	if (!in->mem) {
		stack_add(cpu, in, size);
		gpr_write(cpu, in->rm, size, v);
		return;
	}
	if (in->rm == X86_RSP)
		ea = ip_mask(in->adsize, ea + size);
	if (size == 2)
		st16(cpu, in->seg, ea, v);
	else
		st32(cpu, in->seg, ea, v);
	stack_add(cpu, in, size);
}

void op_pusha(struct cpu *cpu, const struct insn *in)
{
	for (int r = 0; r < 8; r++)		/* rSP is pushed as it was */
		store(cpu, stack_at(cpu, in, -(r + 1) * in->opsize), in->opsize, gpr_read(cpu, r, in->opsize));
	stack_add(cpu, in, -8 * in->opsize);
}

void op_popa(struct cpu *cpu, const struct insn *in)
{
	uint64_t v[8];

	for (int i = 0; i < 8; i++)
		v[7 - i] = load(cpu, stack_at(cpu, in, i * in->opsize), in->opsize);
	stack_add(cpu, in, 8 * in->opsize);
	for (int r = 0; r < 8; r++)
		if (r != X86_RSP)
			gpr_write(cpu, r, in->opsize, v[r]);
}

/* SDM's ENTER: copies the display of `level` - 1 outer frames, then checks that the new frame is there. */
void op_enter(struct cpu *cpu, const struct insn *in)
{
	int size = in->opsize, level = in->imm >> 16 & 31, at = -size;
	uint64_t frame = stack_at(cpu, in, at), bp = cpu->gpr[X86_RBP].q;
	uint16_t bytes = in->imm;
	struct mmu_held top;

	store(cpu, frame, size, gpr_read(cpu, X86_RBP, size));
	for (int i = 1; i < level; i++) {
		at -= size;
		store(cpu, stack_at(cpu, in, at), size, load(cpu, stack_mask(in, bp - i * size), size));
	}
	if (level) {
		at -= size;
		store(cpu, stack_at(cpu, in, at), size, in->stack32 || size == 2 ? frame : (cpu->gpr[X86_RSP].d & 0xffff0000) | frame);
	}
	at -= bytes;
	mmu_probe_write(cpu, mmu_linear(cpu, X86_SS, stack_at(cpu, in, at), size, true), size, &top);
	stack_add(cpu, in, at);
	gpr_write(cpu, X86_RBP, size, in->stack32 || size == 2 ? frame : (cpu->gpr[X86_RSP].d & 0xffff0000) | frame);
}
