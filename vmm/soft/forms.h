/*
 * vmm/soft/forms.h - threaded handlers generated from the pure functions of
 * alu.h: one for each operand form, width and address form.
 *
 * A form's name says destination and source: r register, m memory, i immediate.
 * The register destination of "rr" and "ri" is in->rm, that of "rm" in->reg.
 */
#ifndef CLEAVE_VMM_SOFT_FORMS_H
#define CLEAVE_VMM_SOFT_FORMS_H

#include "vmm/soft/thread.h"

enum binary_form { F_RR, F_RI, F_RM, F_MR = F_RM + EA_FORMS, F_MI = F_MR + EA_FORMS, BINARY_FORMS = F_MI + EA_FORMS };
enum unary_form { F_R, F_M, UNARY_FORMS = F_M + EA_FORMS };
enum locked_form { F_LOCK_R, F_LOCK_I, LOCKED_FORMS };

/* Memory, replaced by EXPR of its old value `v`; nothing is changed before the store is done.  In a MEM_HANDLER. */
#define RMW(W, ea, EXPR)								\
	do {										\
		uint64_t at_ = ADDR_##ea;						\
		uint##W##_t v;								\
											\
		if (slow) {								\
			volatile struct mmu_u##W *p_ = HIT_##ea##_write(cpu, in->seg, at_, W / 8);	\
											\
			if (unlikely(!p_))						\
				return slow(cpu, in);					\
			v = p_->v;							\
			p_->v = EXPR;							\
		} else {								\
			struct rmw *h_ = &cpu->rmw;						\
											\
			v = rmw_ld##W(cpu, h_, in->seg, at_);				\
			v = EXPR;							\
			rmw_st##W(cpu, h_, v);						\
		}									\
	} while (0)

/* The same in a handler that is compiled once. */
#define RMW_SLOW(W, addr, EXPR)								\
	do {										\
		struct rmw *h_ = &cpu->rmw;						\
		uint##W##_t v = rmw_ld##W(cpu, h_, in->seg, addr);			\
											\
		v = EXPR;								\
		rmw_st##W(cpu, h_, v);							\
	} while (0)

/* The same as one host atomic; device memory and pages with decoded code go the slow way. */
#define RMW_LOCKED(W, addr, EXPR)							\
	do {										\
		struct rmw *h_ = &cpu->rmw;						\
		uint##W##_t v = rmw_ld##W(cpu, h_, in->seg, addr);			\
		const uint16_t before_ = fl;						\
											\
		if (h_->host) {								\
			uint##W##_t old_ = v;						\
			do {								\
				fl = before_;						\
				v = old_;						\
				v = EXPR;						\
			} while (!__atomic_compare_exchange_n((uint##W##_t *)h_->host, &old_, v, false, \
							      __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)); \
		} else {								\
			v = EXPR;							\
			rmw_st##W(cpu, h_, v);						\
		}									\
	} while (0)

/* ---- op a, b with a result */
#define BINARY_REG(op, W)								\
HANDLER(op##W##_rr)									\
{											\
	uint16_t fl = cpu->fl;								\
	uint##W##_t v = op##_##W(GET_##W(in->rm), GET_##W(in->reg), &fl);		\
											\
	PUT_##W(in->rm, v);								\
	cpu->fl = fl;									\
	NEXT(1);									\
}											\
HANDLER(op##W##_ri)									\
{											\
	uint16_t fl = cpu->fl;								\
	uint##W##_t v = op##_##W(GET_##W(in->rm), in->imm, &fl);			\
											\
	PUT_##W(in->rm, v);								\
	cpu->fl = fl;									\
	NEXT(1);									\
}

#define BINARY_MEM(op, W, ea)								\
MEM_HANDLER(op##W##_rm_##ea)								\
{											\
	uint16_t fl = cpu->fl;								\
	uint##W##_t v;									\
											\
	LOAD_EA(W, v, ea);							\
	v = op##_##W(GET_##W(in->reg), v, &fl);						\
	PUT_##W(in->reg, v);								\
	cpu->fl = fl;									\
	NEXT(1);									\
}											\
MEM_HANDLER(op##W##_mr_##ea)								\
{											\
	uint16_t fl = cpu->fl;								\
											\
	RMW(W, ea, op##_##W(v, GET_##W(in->reg), &fl));				\
	cpu->fl = fl;									\
	NEXT(1);									\
}											\
MEM_HANDLER(op##W##_mi_##ea)								\
{											\
	uint16_t fl = cpu->fl;								\
											\
	RMW(W, ea, op##_##W(v, in->imm, &fl));					\
	cpu->fl = fl;									\
	NEXT(1);									\
}

#define BINARY_LOCKED(op, W)								\
HANDLER(op##W##_locked_r)								\
{											\
	uint16_t fl = cpu->fl;								\
											\
	cpu->insn = in;									\
	RMW_LOCKED(W, ADDR_x, op##_##W(v, GET_##W(in->reg), &fl));			\
	cpu->fl = fl;									\
	NEXT(1);									\
}											\
HANDLER(op##W##_locked_i)								\
{											\
	uint16_t fl = cpu->fl;								\
											\
	cpu->insn = in;									\
	RMW_LOCKED(W, ADDR_x, op##_##W(v, in->imm, &fl));				\
	cpu->fl = fl;									\
	NEXT(1);									\
}

/* ---- op a, b for the flags alone; "mr" has the memory first */
#define COMPARE_REG(op, W)								\
HANDLER(op##W##_rr)									\
{											\
	uint16_t fl;									\
											\
	op##_##W(GET_##W(in->rm), GET_##W(in->reg), &fl);				\
	cpu->fl = fl;									\
	NEXT(1);									\
}											\
HANDLER(op##W##_ri)									\
{											\
	uint16_t fl;									\
											\
	op##_##W(GET_##W(in->rm), in->imm, &fl);					\
	cpu->fl = fl;									\
	NEXT(1);									\
}

#define COMPARE_MEM(op, W, ea)								\
MEM_HANDLER(op##W##_rm_##ea)								\
{											\
	uint##W##_t v;									\
	uint16_t fl;									\
											\
	LOAD_EA(W, v, ea);							\
	op##_##W(GET_##W(in->reg), v, &fl);						\
	cpu->fl = fl;									\
	NEXT(1);									\
}											\
MEM_HANDLER(op##W##_mr_##ea)								\
{											\
	uint##W##_t v;									\
	uint16_t fl;									\
											\
	LOAD_EA(W, v, ea);							\
	op##_##W(v, GET_##W(in->reg), &fl);						\
	cpu->fl = fl;									\
	NEXT(1);									\
}											\
MEM_HANDLER(op##W##_mi_##ea)								\
{											\
	uint##W##_t v;									\
	uint16_t fl;									\
											\
	LOAD_EA(W, v, ea);							\
	op##_##W(v, in->imm, &fl);							\
	cpu->fl = fl;									\
	NEXT(1);									\
}

/* ---- op a */
#define UNARY_REG(op, W)								\
HANDLER(op##W##_r)									\
{											\
	uint16_t fl = cpu->fl;								\
	uint##W##_t v = op##_##W(GET_##W(in->rm), &fl);					\
											\
	PUT_##W(in->rm, v);								\
	cpu->fl = fl;									\
	NEXT(1);									\
}

#define UNARY_MEM(op, W, ea)								\
MEM_HANDLER(op##W##_m_##ea)									\
{											\
	uint16_t fl = cpu->fl;								\
											\
	RMW(W, ea, op##_##W(v, &fl));						\
	cpu->fl = fl;									\
	NEXT(1);									\
}

#define UNARY_LOCKED(op, W)								\
HANDLER(op##W##_locked)									\
{											\
	uint16_t fl = cpu->fl;								\
											\
	cpu->insn = in;									\
	RMW_LOCKED(W, ADDR_x, op##_##W(v, &fl));					\
	cpu->fl = fl;									\
	NEXT(1);									\
}

#define EACH_EA(M, op, W)	M(op, W, b) M(op, W, s) M(op, W, x) M(op, W, q) M(op, W, t)
#define EACH_WIDTH(M, op)	M(op, 8) M(op, 16) M(op, 32) M(op, 64)

/* ---- tables: [width][form] */
#define EA_ENTRIES(op, W, form)	\
	op##W##_##form##_b, op##W##_##form##_s, op##W##_##form##_x, op##W##_##form##_q, op##W##_##form##_t
#define BINARY_ENTRIES(op, W)	{ op##W##_rr, op##W##_ri, EA_ENTRIES(op, W, rm), EA_ENTRIES(op, W, mr), EA_ENTRIES(op, W, mi) }
#define BINARY_TABLE(op)								\
static insn_fn *const op##_forms[WIDTHS][BINARY_FORMS] = {				\
	[W8] = BINARY_ENTRIES(op, 8), [W16] = BINARY_ENTRIES(op, 16), [W32] = BINARY_ENTRIES(op, 32),	\
	[W64] = BINARY_ENTRIES(op, 64),							\
};
#define LOCKED_TABLE(op)								\
static insn_fn *const op##_locked[WIDTHS][LOCKED_FORMS] = {				\
	[W8] = { op##8_locked_r, op##8_locked_i },					\
	[W16] = { op##16_locked_r, op##16_locked_i },					\
	[W32] = { op##32_locked_r, op##32_locked_i },					\
	[W64] = { op##64_locked_r, op##64_locked_i },					\
};
#define UNARY_ENTRIES(op, W)	{ op##W##_r, EA_ENTRIES(op, W, m) }
#define UNARY_TABLE(op)									\
static insn_fn *const op##_forms[WIDTHS][UNARY_FORMS] = {				\
	[W8] = UNARY_ENTRIES(op, 8), [W16] = UNARY_ENTRIES(op, 16), [W32] = UNARY_ENTRIES(op, 32),	\
	[W64] = UNARY_ENTRIES(op, 64),							\
};

/* The form of a two-operand instruction.  Register to register always has the destination in rm. */
static inline enum binary_form binary_form(const struct x86_insn *x, struct insn *in)
{
	const struct x86_opcode *row = &x86_opcodes[x->row];
	bool to_reg = is_modrm_reg(row->operand[0]);

	if (is_imm(row->operand[1]))
		return in->mem ? F_MI + ea_form(in) : F_RI;
	if (in->mem)
		return (to_reg ? F_RM : F_MR) + ea_form(in);
	if (to_reg) {
		uint8_t rm = in->rm;

		in->rm = in->reg;
		in->reg = rm;
	}
	return F_RR;
}

static inline enum unary_form unary_form(const struct insn *in)
{
	return in->mem ? F_M + ea_form(in) : F_R;
}

#endif
