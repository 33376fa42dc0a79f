/*
 * vmm/soft/op_branch.c - near JMP CALL RET Jcc JCXZ LOOPcc.
 *
 * A target beyond the CS limit, or that is not canonical, is #GP(0) on the
 * branch, before the stack or a counter changes.  `disp` of a relative branch is
 * made to count from the block's start when the block is built; where it has not
 * enough bits for that the branch is treated as an indirect one.  SDM vol. 2.
 */
#include "vmm/soft/forms.h"
#include "vmm/soft/stackptr.h"
#include "vmm/x86/exception.h"

static __attribute__((noinline, cold)) void beyond_limit(struct cpu *cpu, const struct insn *in)
{
	cpu->insn = in;
	cpu_fault(cpu, X86_GP, 0);
}

/* Can `rip` not be branched to? */
static inline bool bad_target(const struct cpu *cpu, const struct insn *in, uint64_t rip)
{
	return in->code64 ? !cpu_canonical(cpu, rip) : rip >= cpu->rip_end;
}

/* Widths of direct branches: 16, or the code's own: 32, and 64 in 64-bit mode. */
#define UNWRAPPED	((cpu->rip + (int64_t)in->disp) & cpu->ip_mask)
#define TARGET_16	((uint16_t)UNWRAPPED)
#define TARGET_32	UNWRAPPED
#define TARGET_64	UNWRAPPED
#define RETURN_RIP	((cpu->rip + in->off + in->len) & cpu->ip_mask)
#define GO(W)		return branch_direct(cpu, in, UNWRAPPED, in->n + 1, W != 16)
#define GO_TO(target)	return branch_indirect(cpu, in, target, in->n + 1)
#define TARGET_AHEAD	(UNWRAPPED + (1ull << 32))

static void relative_to_block(struct insn *in)
{
	in->disp = (uint32_t)in->disp + in->off + in->len;		/* may wrap: insn_branch_wraps() */
	in->link = NULL;
}

/* ---- Jcc, by condition and operand size */
#define JCC(cc, W)			\
HANDLER(jcc##W##_##cc)			\
{					\
	if (fl_cond(cpu->fl, cc))	\
		GO(W);			\
	NEXT(1);			\
}
#define EACH_JCC(M, ...)						\
	M(0, __VA_ARGS__) M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__)	\
	M(4, __VA_ARGS__) M(5, __VA_ARGS__) M(6, __VA_ARGS__) M(7, __VA_ARGS__)	\
	M(8, __VA_ARGS__) M(9, __VA_ARGS__) M(10, __VA_ARGS__) M(11, __VA_ARGS__)	\
	M(12, __VA_ARGS__) M(13, __VA_ARGS__) M(14, __VA_ARGS__) M(15, __VA_ARGS__)
EACH_JCC(JCC, 16)
EACH_JCC(JCC, 32)
#define JCC_ENTRY(cc, W)	jcc##W##_##cc,
HANDLER(jcc_ahead)
{
	if (fl_cond(cpu->fl, in->cc))
		GO_TO(TARGET_AHEAD);
	NEXT(1);
}

insn_fn *sel_jcc(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[2][16] = { { EACH_JCC(JCC_ENTRY, 16) }, { EACH_JCC(JCC_ENTRY, 32) } };

	relative_to_block(in);
	return insn_branch_wraps(in) ? jcc_ahead : forms[x->opsize != 2][in->cc];
}

/* ---- LOOPcc and JCXZ: the counter's width is the address size */
#define COUNT(A)	GET_##A(X86_RCX)

#define LOOP(name, W, A, EXTRA)							\
HANDLER(name##W##_##A)								\
{										\
	uint##A##_t count = COUNT(A) - 1;					\
	bool taken = count != 0 EXTRA;						\
										\
	if (unlikely(taken && bad_target(cpu, in, TARGET_##W)))			\
		return beyond_limit(cpu, in);					\
	PUT_##A(X86_RCX, count);						\
	if (taken)								\
		GO(W);								\
	NEXT(1);								\
}
#define JCXZ(name, W, A, EXTRA)							\
HANDLER(name##W##_##A)								\
{										\
	if (COUNT(A) == 0)							\
		GO(W);								\
	NEXT(1);								\
}
#define EACH_LOOP(M, name, EXTRA)	\
	M(name, 16, 16, EXTRA) M(name, 16, 32, EXTRA) M(name, 32, 16, EXTRA) M(name, 32, 32, EXTRA) M(name, 32, 64, EXTRA)
#define LOOP_SELECT(name)									\
insn_fn *sel_##name(const struct x86_insn *x, struct insn *in)					\
{												\
	static insn_fn *const forms[2][3] = {							\
		{ name##16_16, name##16_32 }, { name##32_16, name##32_32, name##32_64 },	\
	};											\
												\
	relative_to_block(in);									\
	return forms[x->opsize != 2][x->adsize / 4];						\
}
EACH_LOOP(LOOP, loop, )
EACH_LOOP(LOOP, loope, && (cpu->fl & FL_ZF))
EACH_LOOP(LOOP, loopne, && !(cpu->fl & FL_ZF))
EACH_LOOP(JCXZ, jcxz, )
LOOP_SELECT(loop)
LOOP_SELECT(loope)
LOOP_SELECT(loopne)
LOOP_SELECT(jcxz)

/* ---- JMP, CALL: direct */
HANDLER(jmp16) { GO(16); }
HANDLER(jmp32) { GO(32); }
HANDLER(jmp_ahead) { GO_TO(TARGET_AHEAD); }

insn_fn *sel_jmp(const struct x86_insn *x, struct insn *in)
{
	relative_to_block(in);
	return insn_branch_wraps(in) ? jmp_ahead : x->opsize != 2 ? jmp32 : jmp16;
}

/* [operand size][stack size] */
#define CALL(W, S)							\
MEM_HANDLER(call##W##_##S)						\
{									\
	if (unlikely(bad_target(cpu, in, TARGET_##W)))			\
		return beyond_limit(cpu, in);				\
	STORE_STACK(W, S, SP_##S(-(W / 8)), RETURN_RIP);		\
	ADD_SP_##S(-(W / 8));						\
	GO(W);								\
}
CALL(16, 16)
CALL(16, 32)
CALL(32, 16)
CALL(32, 32)
CALL(64, 64)

#define CALL_TO(W, S, target)						\
	do {								\
		if (unlikely(bad_target(cpu, in, target)))		\
			return beyond_limit(cpu, in);			\
		STORE_STACK(W, S, SP_##S(-(W / 8)), RETURN_RIP);	\
		ADD_SP_##S(-(W / 8));					\
		GO_TO(target);						\
	} while (0)

MEM_HANDLER(call_ahead)
{
	CALL_TO(64, 64, TARGET_AHEAD);
}

/* Between pages: a page may be mapped elsewhere, and the jump cache knows. */
HANDLER(jmp_far) { GO_TO(UNWRAPPED); }
MEM_HANDLER(call_far)
{
	CALL_TO(64, 64, UNWRAPPED);
}

insn_fn *branch_far(insn_fn *fn)
{
	return fn == jmp32 ? jmp_far : fn == call64_64 ? call_far : fn;
}

insn_fn *sel_call(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[2][2] = { { call16_16, call16_32 }, { call32_16, call32_32 } };

	relative_to_block(in);
	if (x->opsize == 8)
		return insn_branch_wraps(in) ? call_ahead : call64_64;
	return forms[x->opsize == 4][in->stack32];
}

/* ---- JMP, CALL: indirect */
#define JMP_IND(W)							\
HANDLER(jmp##W##_r) { GO_TO(GET_##W(in->rm)); }				\
MEM_HANDLER(jmp##W##_m)							\
{									\
	uint##W##_t target;						\
									\
	LOAD(W, target, in->seg, ADDR_x);				\
	GO_TO(target);							\
}
JMP_IND(16)
JMP_IND(32)
JMP_IND(64)

insn_fn *sel_jmp_ind(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[3][2] = { { jmp16_r, jmp16_m }, { jmp32_r, jmp32_m }, { jmp64_r, jmp64_m } };

	return forms[x->opsize / 4][in->mem];
}

#define CALL_IND(W, S)							\
MEM_HANDLER(call##W##_##S##_r)						\
{									\
	uint##W##_t target = GET_##W(in->rm);				\
									\
	CALL_TO(W, S, target);						\
}									\
MEM_HANDLER(call##W##_##S##_m)						\
{									\
	uint##W##_t target;						\
									\
	LOAD(W, target, in->seg, ADDR_x);				\
	CALL_TO(W, S, target);						\
}
CALL_IND(16, 16)
CALL_IND(16, 32)
CALL_IND(32, 16)
CALL_IND(32, 32)
CALL_IND(64, 64)

insn_fn *sel_call_ind(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[2][2][2] = {
		{ { call16_16_r, call16_16_m }, { call16_32_r, call16_32_m } },
		{ { call32_16_r, call32_16_m }, { call32_32_r, call32_32_m } },
	};

	if (x->opsize == 8)
		return in->mem ? call64_64_m : call64_64_r;
	return forms[x->opsize == 4][in->stack32][in->mem];
}

/* ---- RET; the immediate, 0 where there is none, is dropped from the stack */
#define RET(W, S)							\
MEM_HANDLER(ret##W##_##S)						\
{									\
	uint##W##_t target;						\
									\
	LOAD_STACK(W, S, target, SP_##S(0));				\
	if (unlikely(bad_target(cpu, in, target)))			\
		return beyond_limit(cpu, in);				\
	ADD_SP_##S(W / 8 + in->imm);					\
	GO_TO(target);							\
}
RET(16, 16)
RET(16, 32)
RET(32, 16)
RET(32, 32)
RET(64, 64)

insn_fn *sel_ret(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[2][2] = { { ret16_16, ret16_32 }, { ret32_16, ret32_32 } };

	return x->opsize == 8 ? ret64_64 : forms[x->opsize == 4][in->stack32];
}
