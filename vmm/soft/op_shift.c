/*
 * vmm/soft/op_shift.c - ROL ROR RCL RCR SHL SHR SAR SHLD SHRD.
 *
 * The count is masked to five bits, six for a 64-bit operand; a count of 0 changes neither operand nor
 * flags, though memory is still accessed for writing.  SDM vol. 2.
 */
#include "vmm/soft/alu.h"
#include "vmm/soft/forms.h"

enum shift_form { S_RI, S_RC, S_MI, S_MC, SHIFT_FORMS };

#define COUNT_MASK(W)	(W == 64 ? 63 : 31)
#define COUNT_CL(W)	(cpu->gpr[X86_RCX].b[0] & COUNT_MASK(W))
#define COUNT_IMM(W)	(in->imm & COUNT_MASK(W))

/* An immediate count of 0 is chosen when the block is built: see sel_shift(). */
#define SHIFT(op, W)								\
HANDLER(op##W##_ri)								\
{										\
	uint16_t fl = cpu->fl;							\
	uint##W##_t v = op##_##W(GET_##W(in->rm), in->imm, &fl);		\
										\
	PUT_##W(in->rm, v);							\
	cpu->fl = fl;								\
	NEXT(1);								\
}										\
HANDLER(op##W##_rc)								\
{										\
	unsigned n = COUNT_CL(W);							\
	uint16_t fl = cpu->fl;							\
	uint##W##_t v = GET_##W(in->rm);					\
										\
	if (n)									\
		v = op##_##W(v, n, &fl);					\
	PUT_##W(in->rm, v);							\
	cpu->fl = fl;								\
	NEXT(1);								\
}										\
MEM_HANDLER(op##W##_mi)								\
{										\
	uint16_t fl = cpu->fl;							\
	unsigned n = in->imm;							\
										\
	RMW(W, x, n ? op##_##W(v, n, &fl) : v);				\
	cpu->fl = fl;								\
	NEXT(1);								\
}										\
MEM_HANDLER(op##W##_mc)								\
{										\
	uint16_t fl = cpu->fl;							\
	unsigned n = COUNT_CL(W);							\
										\
	RMW(W, x, n ? op##_##W(v, n, &fl) : v);				\
	cpu->fl = fl;								\
	NEXT(1);								\
}

HANDLER(shift_nothing)
{
	(void)cpu;
	NEXT(1);
}

HANDLER(shift_nothing32)		/* clears the upper half */
{
	PUT_32(in->rm, GET_32(in->rm));
	NEXT(1);
}

static insn_fn *sel_shift(insn_fn *const (*forms)[SHIFT_FORMS], const struct x86_insn *x, struct insn *in)
{
	const struct x86_opcode *row = &x86_opcodes[x->row];
	enum width w = width_of(x);

	if (row->operand[1] == OP_CL)
		return forms[w][in->mem ? S_MC : S_RC];
	in->imm = row->operand[1] == OP_1 ? 1 : in->imm & (w == W64 ? 63 : 31);
	if (in->imm == 0 && !in->mem)
		return w == W32 ? shift_nothing32 : shift_nothing;
	return forms[w][in->mem ? S_MI : S_RI];
}

#define SHIFT_ENTRIES(op, W)	{ op##W##_ri, op##W##_rc, op##W##_mi, op##W##_mc }
#define SHIFT_ALL(op)									\
EACH_WIDTH(SHIFT, op)									\
insn_fn *sel_##op(const struct x86_insn *x, struct insn *in)				\
{											\
	static insn_fn *const forms[WIDTHS][SHIFT_FORMS] = {				\
		SHIFT_ENTRIES(op, 8), SHIFT_ENTRIES(op, 16), SHIFT_ENTRIES(op, 32), SHIFT_ENTRIES(op, 64),	\
	};										\
											\
	return sel_shift(forms, x, in);							\
}
SHIFT_ALL(rol)
SHIFT_ALL(ror)
SHIFT_ALL(rcl)
SHIFT_ALL(rcr)
SHIFT_ALL(shl)
SHIFT_ALL(shr)
SHIFT_ALL(sar)

/* ---- SHLD, SHRD: rm is shifted, reg's bits come in */
#define DOUBLE(op, W)								\
static inline uint##W##_t op##W(uint##W##_t v, uint##W##_t from, unsigned n, uint16_t *fl)	\
{										\
	return n ? op##_##W(v, from, n, fl) : v;				\
}										\
HANDLER(op##W##_ri)								\
{										\
	uint16_t fl = cpu->fl;							\
	uint##W##_t v = op##W(GET_##W(in->rm), GET_##W(in->reg), COUNT_IMM(W), &fl);	\
										\
	PUT_##W(in->rm, v);							\
	cpu->fl = fl;								\
	NEXT(1);								\
}										\
HANDLER(op##W##_rc)								\
{										\
	uint16_t fl = cpu->fl;							\
	uint##W##_t v = op##W(GET_##W(in->rm), GET_##W(in->reg), COUNT_CL(W), &fl);	\
										\
	PUT_##W(in->rm, v);							\
	cpu->fl = fl;								\
	NEXT(1);								\
}										\
MEM_HANDLER(op##W##_mi)								\
{										\
	uint16_t fl = cpu->fl;							\
										\
	RMW(W, x, op##W(v, GET_##W(in->reg), COUNT_IMM(W), &fl));		\
	cpu->fl = fl;								\
	NEXT(1);								\
}										\
MEM_HANDLER(op##W##_mc)								\
{										\
	uint16_t fl = cpu->fl;							\
										\
	RMW(W, x, op##W(v, GET_##W(in->reg), COUNT_CL(W), &fl));		\
	cpu->fl = fl;								\
	NEXT(1);								\
}
#define DOUBLE_ALL(op)									\
DOUBLE(op, 16) DOUBLE(op, 32) DOUBLE(op, 64)						\
insn_fn *sel_##op(const struct x86_insn *x, struct insn *in)				\
{											\
	static insn_fn *const forms[WIDTHS][SHIFT_FORMS] = {				\
		[W16] = SHIFT_ENTRIES(op, 16), [W32] = SHIFT_ENTRIES(op, 32), [W64] = SHIFT_ENTRIES(op, 64),	\
	};										\
	bool cl = x86_opcodes[x->row].operand[2] == OP_CL;				\
											\
	return forms[width_of(x)][in->mem ? (cl ? S_MC : S_MI) : (cl ? S_RC : S_RI)];	\
}
DOUBLE_ALL(shld)
DOUBLE_ALL(shrd)
