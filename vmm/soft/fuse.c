/*
 * vmm/soft/fuse.c - what a block gains by being looked at as a whole.
 *
 * Three changes, all invisible to the guest:
 *   - A comparison, a count or another operation and the conditional branch
 *     behind it become one handler.  The branch stays in its place for whoever
 *     jumps there: that is another block.
 *   - So do pushes, and pops, that stand in a row (op_stack.c).
 *   - An operation on registers whose flags the next ones overwrite, before
 *     anything can fault, leave the block or read them, does not compute them.
 * Blocks of one instruction (MODE_STEP) are never changed.
 *
 * Knows rows, selectors and operand forms; nothing of how blocks are reached.
 */
#include "vmm/soft/alu.h"
#include "vmm/soft/forms.h"

bool insn_has_link(const struct insn *in)
{
	const struct x86_opcode *row = &x86_opcodes[in->row];

	if (in->fn == thread_follow)
		return true;
	return in->row < x86_opcode_rows && (row->operand[0] == OP_Jb || row->operand[0] == OP_Jz) && !insn_branch_wraps(in);
}

static sel_fn *selector(const struct insn *in)
{
	return in->row < x86_opcode_rows ? op_dispatch[in->row].select : NULL;
}

/* ---- comparison and branch; the branch is in[1], of the code's own width, not of 16 bits */
#define BRANCH(cc)									\
	do {										\
		cpu->fl = fl;								\
		if (fl_cond(fl, cc))							\
			return branch_direct(cpu, in + 1, (cpu->rip + (int64_t)in[1].disp) & cpu->ip_mask, in[1].n + 1, true); \
		NEXT(2);								\
	} while (0)

#define FUSE_COMPARE_REG(cc, op, W)							\
HANDLER(op##W##_rr_j##cc)								\
{											\
	uint16_t fl;									\
											\
	op##_##W(GET_##W(in->rm), GET_##W(in->reg), &fl);				\
	BRANCH(cc);									\
}											\
HANDLER(op##W##_ri_j##cc)								\
{											\
	uint16_t fl;									\
											\
	op##_##W(GET_##W(in->rm), in->imm, &fl);					\
	BRANCH(cc);									\
}

#define FUSE_COMPARE_MEM(cc, op, W, ea)							\
MEM_HANDLER(op##W##_mi_##ea##_j##cc)								\
{											\
	uint##W##_t v;									\
	uint16_t fl;									\
											\
	LOAD_EA(W, v, ea);								\
	op##_##W(v, in->imm, &fl);							\
	BRANCH(cc);									\
}

/* With a register, either way. */
#define FUSE_COMPARE_BOTH(cc, op, W, ea)						\
MEM_HANDLER(op##W##_mr_##ea##_j##cc)								\
{											\
	uint##W##_t v;									\
	uint16_t fl;									\
											\
	LOAD_EA(W, v, ea);								\
	op##_##W(v, GET_##W(in->reg), &fl);						\
	BRANCH(cc);									\
}											\
MEM_HANDLER(op##W##_rm_##ea##_j##cc)								\
{											\
	uint##W##_t v;									\
	uint16_t fl;									\
											\
	LOAD_EA(W, v, ea);								\
	op##_##W(GET_##W(in->reg), v, &fl);						\
	BRANCH(cc);									\
}

#define FUSE_BINARY(cc, op, W)								\
HANDLER(op##W##_rr_j##cc)								\
{											\
	uint16_t fl;									\
	uint##W##_t v = op##_##W(GET_##W(in->rm), GET_##W(in->reg), &fl);		\
											\
	PUT_##W(in->rm, v);								\
	BRANCH(cc);									\
}											\
HANDLER(op##W##_ri_j##cc)								\
{											\
	uint16_t fl;									\
	uint##W##_t v = op##_##W(GET_##W(in->rm), in->imm, &fl);			\
											\
	PUT_##W(in->rm, v);								\
	BRANCH(cc);									\
}

#define FUSE_COUNT(cc, op, W)								\
HANDLER(op##W##_r_j##cc)								\
{											\
	uint16_t fl = cpu->fl;								\
	uint##W##_t v = op##_##W(GET_##W(in->rm), &fl);					\
											\
	PUT_##W(in->rm, v);								\
	BRANCH(cc);									\
}

#define EACH_CC(M, ...)									\
	M(0, __VA_ARGS__) M(1, __VA_ARGS__) M(2, __VA_ARGS__) M(3, __VA_ARGS__)		\
	M(4, __VA_ARGS__) M(5, __VA_ARGS__) M(6, __VA_ARGS__) M(7, __VA_ARGS__)		\
	M(8, __VA_ARGS__) M(9, __VA_ARGS__) M(10, __VA_ARGS__) M(11, __VA_ARGS__)	\
	M(12, __VA_ARGS__) M(13, __VA_ARGS__) M(14, __VA_ARGS__) M(15, __VA_ARGS__)

EACH_CC(FUSE_COMPARE_REG, cmp, 8)
EACH_CC(FUSE_COMPARE_REG, cmp, 32)
EACH_CC(FUSE_COMPARE_REG, test, 8)
EACH_CC(FUSE_COMPARE_REG, test, 32)
EACH_CC(FUSE_COMPARE_MEM, cmp, 8, b)
EACH_CC(FUSE_COMPARE_MEM, cmp, 8, q)
EACH_CC(FUSE_COMPARE_MEM, cmp, 32, b)
EACH_CC(FUSE_COMPARE_MEM, cmp, 32, q)
EACH_CC(FUSE_COMPARE_MEM, test, 8, b)
EACH_CC(FUSE_COMPARE_MEM, test, 8, q)
EACH_CC(FUSE_COMPARE_REG, cmp, 64)
EACH_CC(FUSE_COMPARE_REG, test, 64)
EACH_CC(FUSE_COMPARE_MEM, cmp, 64, q)
EACH_CC(FUSE_COMPARE_BOTH, cmp, 32, q)
EACH_CC(FUSE_COMPARE_BOTH, cmp, 64, q)
EACH_CC(FUSE_BINARY, add, 32)
EACH_CC(FUSE_BINARY, add, 64)
EACH_CC(FUSE_BINARY, sub, 32)
EACH_CC(FUSE_BINARY, sub, 64)
EACH_CC(FUSE_BINARY, and, 32)
EACH_CC(FUSE_BINARY, and, 64)
EACH_CC(FUSE_BINARY, or, 32)
EACH_CC(FUSE_BINARY, or, 64)
EACH_CC(FUSE_COUNT, inc, 32)
EACH_CC(FUSE_COUNT, dec, 32)
EACH_CC(FUSE_COUNT, inc, 64)
EACH_CC(FUSE_COUNT, dec, 64)

#define ENTRY(cc, name)	name##_j##cc,
#define ENTRIES(name)	{ EACH_CC(ENTRY, name) }

/* What a first instruction must be; `form` as in forms.h, memory only as base and displacement. */
static const struct fused {
	sel_fn *select;
	enum width width;
	unsigned form;
	insn_fn *fn[16];
} fused[] = {
	{ sel_cmp, W8, F_RR, ENTRIES(cmp8_rr) },
	{ sel_cmp, W8, F_RI, ENTRIES(cmp8_ri) },
	{ sel_cmp, W8, F_MI + EA_B, ENTRIES(cmp8_mi_b) },
	{ sel_cmp, W8, F_MI + EA_Q, ENTRIES(cmp8_mi_q) },
	{ sel_cmp, W32, F_RR, ENTRIES(cmp32_rr) },
	{ sel_cmp, W32, F_RI, ENTRIES(cmp32_ri) },
	{ sel_cmp, W32, F_MI + EA_B, ENTRIES(cmp32_mi_b) },
	{ sel_cmp, W32, F_MI + EA_Q, ENTRIES(cmp32_mi_q) },
	{ sel_cmp, W64, F_RR, ENTRIES(cmp64_rr) },
	{ sel_cmp, W64, F_RI, ENTRIES(cmp64_ri) },
	{ sel_cmp, W64, F_MI + EA_Q, ENTRIES(cmp64_mi_q) },
	{ sel_cmp, W32, F_MR + EA_Q, ENTRIES(cmp32_mr_q) },
	{ sel_cmp, W32, F_RM + EA_Q, ENTRIES(cmp32_rm_q) },
	{ sel_cmp, W64, F_MR + EA_Q, ENTRIES(cmp64_mr_q) },
	{ sel_cmp, W64, F_RM + EA_Q, ENTRIES(cmp64_rm_q) },
	{ sel_test, W8, F_RR, ENTRIES(test8_rr) },
	{ sel_test, W8, F_RI, ENTRIES(test8_ri) },
	{ sel_test, W8, F_MI + EA_B, ENTRIES(test8_mi_b) },
	{ sel_test, W8, F_MI + EA_Q, ENTRIES(test8_mi_q) },
	{ sel_test, W32, F_RR, ENTRIES(test32_rr) },
	{ sel_test, W32, F_RI, ENTRIES(test32_ri) },
	{ sel_test, W64, F_RR, ENTRIES(test64_rr) },
	{ sel_test, W64, F_RI, ENTRIES(test64_ri) },
#define BINARY_FUSED(op)				\
	{ sel_##op, W32, F_RR, ENTRIES(op##32_rr) },	\
	{ sel_##op, W32, F_RI, ENTRIES(op##32_ri) },	\
	{ sel_##op, W64, F_RR, ENTRIES(op##64_rr) },	\
	{ sel_##op, W64, F_RI, ENTRIES(op##64_ri) },
	BINARY_FUSED(add)
	BINARY_FUSED(sub)
	BINARY_FUSED(and)
	BINARY_FUSED(or)
	{ sel_inc, W64, F_RR, ENTRIES(inc64_r) },
	{ sel_dec, W64, F_RR, ENTRIES(dec64_r) },
	{ sel_inc, W32, F_RR, ENTRIES(inc32_r) },
	{ sel_dec, W32, F_RR, ENTRIES(dec32_r) },
};

static enum width insn_width(const struct insn *in)
{
	unsigned bytes = x86_operand_bytes(x86_opcodes[in->row].operand[0], in->opsize);

	return bytes == 1 ? W8 : bytes == 2 ? W16 : bytes == 8 ? W64 : W32;
}

/* F_RR also for one operand.  -1: a form that is not specialised here. */
static int simple_form(const struct insn *in)
{
	const struct x86_opcode *row = &x86_opcodes[in->row];
	bool imm = is_imm(row->operand[1]);

	if (!in->mem)
		return imm ? F_RI : F_RR;
	if (ea_form(in) != EA_B && ea_form(in) != EA_Q)
		return -1;
	return (imm ? F_MI : is_modrm_reg(row->operand[0]) ? F_RM : F_MR) + (int)ea_form(in);
}

static void fuse_branch(struct insn *in)
{
	if (selector(&in[1]) != sel_jcc || in[1].opsize == 2 || !insn_has_link(&in[1]) || in->lock)
		return;
	for (size_t i = 0; i < sizeof(fused) / sizeof(fused[0]); i++) {
		const struct fused *f = &fused[i];

		if (f->select == selector(in) && f->width == insn_width(in) && (int)f->form == simple_form(in)) {
			in->fn = f->fn[in[1].cc];
			return;
		}
	}
}

/* ---- flags that nobody sees */
#define SILENT_RR(op, W, expr)	HANDLER(op##W##_silent_rr) { PUT_##W(in->rm, expr); NEXT(1); }
#define SILENT_RI(op, W, expr)	HANDLER(op##W##_silent_ri) { PUT_##W(in->rm, expr); NEXT(1); }
#define A(W)	GET_##W(in->rm)
#define B(W)	GET_##W(in->reg)
#define I(W)	((uint##W##_t)in->imm)
#define SILENT(W)					\
SILENT_RR(add, W, A(W) + B(W))				\
SILENT_RI(add, W, A(W) + I(W))				\
SILENT_RR(sub, W, A(W) - B(W))				\
SILENT_RI(sub, W, A(W) - I(W))				\
SILENT_RR(and, W, A(W) & B(W))				\
SILENT_RI(and, W, A(W) & I(W))				\
SILENT_RR(or, W, A(W) | B(W))				\
SILENT_RI(or, W, A(W) | I(W))				\
SILENT_RR(xor, W, A(W) ^ B(W))				\
SILENT_RI(xor, W, A(W) ^ I(W))				\
SILENT_RR(inc, W, A(W) + 1)				\
SILENT_RR(dec, W, A(W) - 1)				\
SILENT_RI(shl, W, A(W) << I(W))				\
SILENT_RI(shr, W, A(W) >> I(W))				\
SILENT_RI(sar, W, (uint##W##_t)((int##W##_t)A(W) >> I(W)))
SILENT(32)
SILENT(64)
#undef A
#undef B
#undef I

/* By register and by immediate, 32 and 64 bits; a shift by CL is neither. */
static const struct silent {
	sel_fn *select;
	insn_fn *rr[2], *ri[2];
} silent[] = {
#define RR(op)	{ op##32_silent_rr, op##64_silent_rr }
#define RI(op)	{ op##32_silent_ri, op##64_silent_ri }
	{ sel_add, RR(add), RI(add) },
	{ sel_sub, RR(sub), RI(sub) },
	{ sel_and, RR(and), RI(and) },
	{ sel_or, RR(or), RI(or) },
	{ sel_xor, RR(xor), RI(xor) },
	{ sel_inc, .rr = RR(inc) },
	{ sel_dec, .rr = RR(dec) },
	{ sel_shl, .ri = RI(shl) },
	{ sel_shr, .ri = RI(shr) },
	{ sel_sar, .ri = RI(sar) },
};

/* Neither faults, nor leaves the block, nor touches memory, in their register forms. */
static bool is_pure(const struct insn *in)
{
	static sel_fn *const pure[] = {
		sel_add, sel_or, sel_and, sel_sub, sel_xor, sel_cmp, sel_test, sel_inc, sel_dec, sel_neg, sel_not,
		sel_shl, sel_shr, sel_sar, sel_imul, sel_mov, sel_movzx, sel_movsx, sel_movsxd, sel_bswap, sel_cbw, sel_cwd, sel_nop,
	};
	sel_fn *s = selector(in);

	if (s == sel_lea)
		return true;
	if (in->mem || !s)
		return false;
	for (size_t i = 0; i < sizeof(pure) / sizeof(pure[0]); i++)
		if (pure[i] == s)
			return true;
	return false;
}

/* Does what follows overwrite every arithmetic flag before one can be seen? */
static bool flags_are_dead(const struct block *b, unsigned from)
{
	for (unsigned i = from; i < b->count; i++) {
		const struct insn *in = &b->insn[i];
		const struct x86_opcode *row;

		if (!is_pure(in))
			return false;
		row = &x86_opcodes[in->row];
		if (row->read & X86_RFLAGS_ARITH)
			return false;
		if ((row->written & X86_RFLAGS_ARITH) == X86_RFLAGS_ARITH)
			return true;
	}
	return false;
}

static void silence(struct insn *in)
{
	bool imm = is_imm(x86_opcodes[in->row].operand[1]) || x86_opcodes[in->row].operand[1] == OP_1;

	if (in->mem || insn_width(in) < W32 || x86_opcodes[in->row].operand[1] == OP_CL)
		return;
	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++) {
		insn_fn *fn = (imm ? silent[i].ri : silent[i].rr)[insn_width(in) == W64];

		if (silent[i].select == selector(in) && fn) {
			in->fn = fn;
			return;
		}
	}
}

void block_optimise(struct block *b)
{
	for (unsigned i = 0; i + 1 < b->count; i++) {
		stack_optimise(&b->insn[i], b->count - i);
		if (flags_are_dead(b, i + 1))
			silence(&b->insn[i]);
		else
			fuse_branch(&b->insn[i]);
	}
}
