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
	STORE_STACK(W, S, SP_##S(-(W / 8)), v);				\
	ADD_SP_##S(-(W / 8));							\
	NEXT(1);								\
}										\
MEM_HANDLER(push##W##_##S##_i)							\
{										\
	STORE_STACK(W, S, SP_##S(-(W / 8)), in->imm);			\
	ADD_SP_##S(-(W / 8));							\
	NEXT(1);								\
}										\
MEM_HANDLER(push##W##_##S##_m)							\
{										\
	uint##W##_t v;								\
										\
	LOAD(W, v, in->seg, ADDR_x);						\
	STORE_STACK(W, S, SP_##S(-(W / 8)), v);				\
	ADD_SP_##S(-(W / 8));							\
	NEXT(1);								\
}										\
MEM_HANDLER(pop##W##_##S##_r)							\
{										\
	uint##W##_t v;								\
										\
	LOAD_STACK(W, S, v, SP_##S(0));						\
	ADD_SP_##S(W / 8);							\
	PUT_##W(in->rm, v);		/* last: POP ESP loads it */		\
	NEXT(1);								\
}										\
MEM_HANDLER(leave##W##_##S)							\
{										\
	uint##W##_t v;								\
										\
	LOAD_STACK(W, S, v, BP_##S);						\
	SET_SP_##S(BP_##S + W / 8);						\
	PUT_##W(X86_RBP, v);							\
	NEXT(1);								\
}
PUSH(16, 16)
PUSH(16, 32)
PUSH(32, 16)
PUSH(32, 32)
PUSH(16, 64)
PUSH(64, 64)

enum push_form { PUSH_R, PUSH_I, PUSH_M, PUSH_FORMS };

/* By operand size: 2, 4, 8; stack width.  32-bit operands do not exist on a 64-bit stack. */
insn_fn *sel_push(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[3][STACKS][PUSH_FORMS] = {
		{ { push16_16_r, push16_16_i, push16_16_m }, { push16_32_r, push16_32_i, push16_32_m },
		  { push16_64_r, push16_64_i, push16_64_m } },
		{ { push32_16_r, push32_16_i, push32_16_m }, { push32_32_r, push32_32_i, push32_32_m } },
		{ [STACK64] = { push64_64_r, push64_64_i, push64_64_m } },
	};
	enum push_form form = is_imm(x86_opcodes[x->row].operand[0]) ? PUSH_I : in->mem ? PUSH_M : PUSH_R;

	return forms[x->opsize / 4][stack_width(in)][form];
}

insn_fn *sel_pop(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[3][STACKS] = {
		{ pop16_16_r, pop16_32_r, pop16_64_r }, { pop32_16_r, pop32_32_r }, { [STACK64] = pop64_64_r },
	};

	return forms[x->opsize / 4][stack_width(in)];
}

insn_fn *sel_leave(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[3][STACKS] = {
		{ leave16_16, leave16_32, leave16_64 }, { leave32_16, leave32_32 }, { [STACK64] = leave64_64 },
	};

	return forms[x->opsize / 4][stack_width(in)];
}

/*
 * ---- runs of 64-bit PUSH or POP of registers, as functions begin and end with:
 * at once where all of them lie in one page of plain memory, else one by one.
 */
#define RUN(K)									\
HANDLER(push_run##K)								\
{										\
	uint64_t sp = SP_64(-8 * K);						\
	volatile struct mmu_u64 *p = flat_write(cpu, SEG_FLAT_SS, sp, 8 * K);	\
										\
	if (unlikely(!p))							\
		return push64_64_r(cpu, in);					\
	for (unsigned i = 0; i < K; i++)					\
		p[K - 1 - i].v = GET_64(in[i].rm);				\
	SET_SP_64(sp);								\
	NEXT(K);								\
}										\
HANDLER(pop_run##K)								\
{										\
	const volatile struct mmu_u64 *p = flat_read(cpu, SEG_FLAT_SS, SP_64(0), 8 * K);	\
										\
	if (unlikely(!p))							\
		return pop64_64_r(cpu, in);					\
	for (unsigned i = 0; i < K; i++)					\
		PUT_64(in[i].rm, p[i].v);					\
	ADD_SP_64(8 * K);							\
	NEXT(K);								\
}
RUN(2)
RUN(3)
RUN(4)
RUN(5)
RUN(6)
enum { RUN_MAX = 6 };

/* How many of `room` instructions are the same as this one, but for the register; RSP is none that moves along. */
static unsigned run_of(const struct insn *in, insn_fn *fn, unsigned room)
{
	unsigned n = 0;

	while (n < room && n < RUN_MAX && in[n].fn == fn && in[n].rm != X86_RSP)
		n++;
	return n;
}

void stack_optimise(struct insn *in, unsigned room)
{
	static insn_fn *const pushes[] = { [2] = push_run2, push_run3, push_run4, push_run5, push_run6 };
	static insn_fn *const pops[] = { [2] = pop_run2, pop_run3, pop_run4, pop_run5, pop_run6 };
	unsigned n;

	if ((n = run_of(in, push64_64_r, room)) > 1)
		in->fn = pushes[n];
	else if ((n = run_of(in, pop64_64_r, room)) > 1)
		in->fn = pops[n];
}

/* ---- plain handlers */
static uint64_t load(struct cpu *cpu, unsigned seg, uint64_t off, unsigned size)
{
	return size == 2 ? ld16(cpu, seg, off) : size == 4 ? ld32(cpu, seg, off) : ld64(cpu, seg, off);
}

static void store(struct cpu *cpu, unsigned seg, uint64_t off, unsigned size, uint64_t v)
{
	if (size == 2)
		st16(cpu, seg, off, v);
	else if (size == 4)
		st32(cpu, seg, off, v);
	else
		st64(cpu, seg, off, v);
}

/* The address is computed with the stack pointer as it is after the pop. */
void op_pop_mem(struct cpu *cpu, const struct insn *in)
{
	unsigned size = in->opsize;
	uint64_t v = load(cpu, insn_ss(in), stack_at(cpu, in, 0), size), ea = insn_ea(cpu, in);

	if (!in->mem) {
		stack_add(cpu, in, size);
		gpr_write(cpu, in->rm, size, v);
		return;
	}
	if (in->rm == X86_RSP)
		ea = ip_mask(in->adsize, ea + size);
	store(cpu, in->seg, ea, size, v);
	stack_add(cpu, in, size);
}

void op_pusha(struct cpu *cpu, const struct insn *in)
{
	for (int r = 0; r < 8; r++)		/* rSP is pushed as it was */
		store(cpu, X86_SS, stack_at(cpu, in, -(r + 1) * in->opsize), in->opsize, gpr_read(cpu, r, in->opsize));
	stack_add(cpu, in, -8 * in->opsize);
}

void op_popa(struct cpu *cpu, const struct insn *in)
{
	uint64_t v[8];

	for (int i = 0; i < 8; i++)
		v[7 - i] = load(cpu, X86_SS, stack_at(cpu, in, i * in->opsize), in->opsize);
	stack_add(cpu, in, 8 * in->opsize);
	for (int r = 0; r < 8; r++)
		if (r != X86_RSP)
			gpr_write(cpu, r, in->opsize, v[r]);
}

/* rBP becomes the frame's address, as far as the operand size reaches. */
static uint64_t frame_pointer(const struct cpu *cpu, const struct insn *in, uint64_t frame)
{
	if (in->code64 || in->stack32 || in->opsize == 2)
		return frame;
	return (cpu->gpr[X86_RSP].d & 0xffff0000) | frame;
}

/* SDM's ENTER: copies the display of `level` - 1 outer frames, then checks that the new frame is there. */
void op_enter(struct cpu *cpu, const struct insn *in)
{
	int size = in->opsize, level = in->imm >> 16 & 31, at = -size;
	unsigned ss = insn_ss(in);
	uint64_t frame = stack_at(cpu, in, at), bp = cpu->gpr[X86_RBP].q;
	uint16_t bytes = in->imm;
	struct mmu_held top;

	store(cpu, ss, frame, size, gpr_read(cpu, X86_RBP, size));
	for (int i = 1; i < level; i++) {
		at -= size;
		store(cpu, ss, stack_at(cpu, in, at), size, load(cpu, ss, stack_mask(in, bp - i * size), size));
	}
	if (level) {
		at -= size;
		store(cpu, ss, stack_at(cpu, in, at), size, frame_pointer(cpu, in, frame));
	}
	at -= bytes;
	mmu_probe_write(cpu, mmu_linear(cpu, ss, stack_at(cpu, in, at), size, true), size, &top);
	frame = frame_pointer(cpu, in, frame);
	stack_add(cpu, in, at);
	gpr_write(cpu, X86_RBP, size, frame);
}
