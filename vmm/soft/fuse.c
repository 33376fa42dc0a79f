/*
 * vmm/soft/fuse.c - what a block gains by being looked at as a whole.
 *
 * Two changes, both invisible to the guest:
 *   - A comparison or a count (CMP TEST INC DEC) and the conditional branch
 *     behind it become one handler.  The branch stays in its place for whoever
 *     jumps there: that is another block.
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
	return in->row < x86_opcode_rows && (row->operand[0] == OP_Jb || row->operand[0] == OP_Jz);
}

static sel_fn *selector(const struct insn *in)
{
	return in->row < x86_opcode_rows ? op_dispatch[in->row].select : NULL;
}

/* ---- comparison and branch; the branch is in[1], of 32-bit operand size */
#define BRANCH(cc)									\
	do {										\
		cpu->fl = fl;								\
		if (fl_cond(fl, cc))							\
			return branch_direct(cpu, in + 1, (uint32_t)(cpu->rip + in[1].disp), in->n + 2, true); \
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

#define FUSE_COMPARE_MEM(cc, op, W)							\
MEM_HANDLER(op##W##_mi_j##cc)								\
{											\
	uint##W##_t v;									\
	uint16_t fl;									\
											\
	LOAD(W, v, in->seg, ADDR_b);							\
	op##_##W(v, in->imm, &fl);							\
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
EACH_CC(FUSE_COMPARE_MEM, cmp, 8)
EACH_CC(FUSE_COMPARE_MEM, cmp, 32)
EACH_CC(FUSE_COMPARE_MEM, test, 8)
EACH_CC(FUSE_COUNT, inc, 32)
EACH_CC(FUSE_COUNT, dec, 32)

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
	{ sel_cmp, W8, F_MI, ENTRIES(cmp8_mi) },
	{ sel_cmp, W32, F_RR, ENTRIES(cmp32_rr) },
	{ sel_cmp, W32, F_RI, ENTRIES(cmp32_ri) },
	{ sel_cmp, W32, F_MI, ENTRIES(cmp32_mi) },
	{ sel_test, W8, F_RR, ENTRIES(test8_rr) },
	{ sel_test, W8, F_RI, ENTRIES(test8_ri) },
	{ sel_test, W8, F_MI, ENTRIES(test8_mi) },
	{ sel_test, W32, F_RR, ENTRIES(test32_rr) },
	{ sel_test, W32, F_RI, ENTRIES(test32_ri) },
	{ sel_inc, W32, F_RR, ENTRIES(inc32_r) },
	{ sel_dec, W32, F_RR, ENTRIES(dec32_r) },
};

static enum width insn_width(const struct insn *in)
{
	unsigned bytes = x86_operand_bytes(x86_opcodes[in->row].operand[0], in->opsize);

	return bytes == 1 ? W8 : bytes == 2 ? W16 : W32;
}

/* F_RR also for one operand.  -1: a form that is not specialised here. */
static int simple_form(const struct insn *in)
{
	bool imm = is_imm(x86_opcodes[in->row].operand[1]);

	if (!in->mem)
		return imm ? F_RI : F_RR;
	return imm && ea_form(in) == EA_B ? F_MI : -1;
}

static void fuse_branch(struct insn *in)
{
	if (selector(&in[1]) != sel_jcc || in[1].opsize != 4 || in->lock)
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
#define SILENT_RR(op, expr)	HANDLER(op##_silent_rr) { PUT_32(in->rm, expr); NEXT(1); }
#define SILENT_RI(op, expr)	HANDLER(op##_silent_ri) { PUT_32(in->rm, expr); NEXT(1); }
#define A	GET_32(in->rm)
#define B	GET_32(in->reg)
#define I	((uint32_t)in->imm)
SILENT_RR(add, A + B)
SILENT_RI(add, A + I)
SILENT_RR(sub, A - B)
SILENT_RI(sub, A - I)
SILENT_RR(and, A & B)
SILENT_RI(and, A & I)
SILENT_RR(or, A | B)
SILENT_RI(or, A | I)
SILENT_RR(xor, A ^ B)
SILENT_RI(xor, A ^ I)
SILENT_RR(inc, A + 1)
SILENT_RR(dec, A - 1)
SILENT_RI(shl, A << I)
SILENT_RI(shr, A >> I)
SILENT_RI(sar, (uint32_t)((int32_t)A >> I))
#undef A
#undef B
#undef I

/* By register and by immediate; a shift by CL is neither. */
static const struct silent {
	sel_fn *select;
	insn_fn *rr, *ri;
} silent[] = {
	{ sel_add, add_silent_rr, add_silent_ri },
	{ sel_sub, sub_silent_rr, sub_silent_ri },
	{ sel_and, and_silent_rr, and_silent_ri },
	{ sel_or, or_silent_rr, or_silent_ri },
	{ sel_xor, xor_silent_rr, xor_silent_ri },
	{ sel_inc, inc_silent_rr, NULL },
	{ sel_dec, dec_silent_rr, NULL },
	{ sel_shl, NULL, shl_silent_ri },
	{ sel_shr, NULL, shr_silent_ri },
	{ sel_sar, NULL, sar_silent_ri },
};

/* Neither faults, nor leaves the block, nor touches memory, in their register forms. */
static bool is_pure(const struct insn *in)
{
	static sel_fn *const pure[] = {
		sel_add, sel_or, sel_and, sel_sub, sel_xor, sel_cmp, sel_test, sel_inc, sel_dec, sel_neg, sel_not,
		sel_shl, sel_shr, sel_sar, sel_imul, sel_mov, sel_movzx, sel_movsx, sel_bswap, sel_cbw, sel_cwd, sel_nop,
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

	if (in->mem || insn_width(in) != W32 || x86_opcodes[in->row].operand[1] == OP_CL)
		return;
	for (size_t i = 0; i < sizeof(silent) / sizeof(silent[0]); i++) {
		insn_fn *fn = imm ? silent[i].ri : silent[i].rr;

		if (silent[i].select == selector(in) && fn) {
			in->fn = fn;
			return;
		}
	}
}

void block_optimise(struct block *b)
{
	for (unsigned i = 0; i + 1 < b->count; i++) {
		if (flags_are_dead(b, i + 1))
			silence(&b->insn[i]);
		else
			fuse_branch(&b->insn[i]);
	}
}
