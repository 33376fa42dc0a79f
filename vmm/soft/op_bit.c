/*
 * vmm/soft/op_bit.c - BT BTS BTR BTC BSF BSR.
 *
 * With a register as bit offset, a memory operand is a bit string: the offset
 * is signed and moves the address.  SDM vol. 2, vol. 1 section 3.1.1.9.
 */
#include "vmm/soft/alu.h"
#include "vmm/soft/forms.h"

/* Only CF changes: ZF must not, the others are undefined and processors keep them. */
static inline uint16_t fl_bit(uint16_t fl, uint64_t v, unsigned n)
{
	return (fl & ~FL_CF) | ((v >> n & 1) ? FL_CF : 0);
}

static inline uint64_t do_bts(uint64_t v, unsigned n) { return v | 1ull << n; }
static inline uint64_t do_btr(uint64_t v, unsigned n) { return v & ~(1ull << n); }
static inline uint64_t do_btc(uint64_t v, unsigned n) { return v ^ 1ull << n; }

/* The word of a bit string that holds the bit. */
#define WORD_16(offset)	(((int16_t)(offset) >> 4) * 2)
#define WORD_32(offset)	(((int32_t)(offset) >> 5) * 4)
#define WORD_64(offset)	(((int64_t)(offset) >> 6) * 8)
#define STRING_EA(W)	ip_mask(in->adsize, insn_ea(cpu, in) + (int64_t)WORD_##W(GET_##W(in->reg)))

#define BIT_TEST_REG(op, W, name, N)							\
HANDLER(op##W##_##name)									\
{											\
	cpu->fl = fl_bit(cpu->fl, GET_##W(in->rm), (N) & (W - 1));			\
	NEXT(1);									\
}
#define BIT_CHANGE_REG(op, W, name, N)							\
HANDLER(op##W##_##name)									\
{											\
	unsigned n = (N) & (W - 1);							\
	uint##W##_t v = GET_##W(in->rm);						\
											\
	cpu->fl = fl_bit(cpu->fl, v, n);						\
	PUT_##W(in->rm, do_##op(v, n));							\
	NEXT(1);									\
}
#define BIT_TEST_MEM(op, W, name, N, EA)						\
MEM_HANDLER(op##W##_##name)								\
{											\
	unsigned n = (N) & (W - 1);							\
	uint##W##_t v;									\
											\
	LOAD(W, v, in->seg, EA);							\
	cpu->fl = fl_bit(cpu->fl, v, n);						\
	NEXT(1);									\
}
#define BIT_CHANGE_MEM(op, W, name, N, EA)						\
HANDLER(op##W##_##name)									\
{											\
	unsigned n = (N) & (W - 1);							\
	uint16_t fl = cpu->fl;								\
											\
	cpu->insn = in;									\
	if (in->lock)									\
		RMW_LOCKED(W, EA, (fl = fl_bit(fl, v, n), do_##op(v, n)));		\
	else										\
		RMW_SLOW(W, EA, (fl = fl_bit(fl, v, n), do_##op(v, n)));		\
	cpu->fl = fl;									\
	NEXT(1);									\
}
#define BIT_WIDTH(op, W, REG, MEM)							\
REG(op, W, rr, GET_##W(in->reg))							\
REG(op, W, ri, in->imm)									\
MEM(op, W, mr, GET_##W(in->reg), STRING_EA(W))						\
MEM(op, W, mi, in->imm, ADDR_x)

#define BIT(op, REG, MEM)									\
BIT_WIDTH(op, 16, REG, MEM)								\
BIT_WIDTH(op, 32, REG, MEM)								\
BIT_WIDTH(op, 64, REG, MEM)								\
insn_fn *sel_##op(const struct x86_insn *x, struct insn *in)				\
{											\
	static insn_fn *const forms[WIDTHS][2][2] = {	/* [width][mem][imm] */		\
		[W16] = { { op##16_rr, op##16_ri }, { op##16_mr, op##16_mi } },			\
		[W32] = { { op##32_rr, op##32_ri }, { op##32_mr, op##32_mi } },		\
		[W64] = { { op##64_rr, op##64_ri }, { op##64_mr, op##64_mi } },		\
	};										\
											\
	return forms[width_of(x)][in->mem][is_imm(x86_opcodes[x->row].operand[1])];	\
}
BIT(bt, BIT_TEST_REG, BIT_TEST_MEM)
BIT(bts, BIT_CHANGE_REG, BIT_CHANGE_MEM)
BIT(btr, BIT_CHANGE_REG, BIT_CHANGE_MEM)
BIT(btc, BIT_CHANGE_REG, BIT_CHANGE_MEM)

/* ---- BSF, BSR: of 0 the destination stays, on AMD's and, undocumented, Intel's processors */
#define SCAN_PURE(op, W)								\
static inline uint##W##_t op##_##W(uint##W##_t v, uint16_t *fl)				\
{											\
	uint##W##_t r = 0;								\
	uint16_t f;									\
											\
	__asm__(#op ALU_SUFFIX_##W " %2, %1\n\t" ALU_FLAGS : "=&a"(f), "+&r"(r) : "r"(v) : "cc");	\
	*fl = f;									\
	return r;									\
}
#define SCAN(op, W)									\
SCAN_PURE(op, W)									\
HANDLER(op##W##_r)									\
{											\
	uint##W##_t v = GET_##W(in->rm), r = op##_##W(v, &cpu->fl);			\
											\
	if (v)										\
		PUT_##W(in->reg, r);							\
	NEXT(1);									\
}											\
MEM_HANDLER(op##W##_m)									\
{											\
	uint##W##_t v, r;								\
											\
	LOAD(W, v, in->seg, ADDR_x);							\
	r = op##_##W(v, &cpu->fl);							\
	if (v)										\
		PUT_##W(in->reg, r);							\
	NEXT(1);									\
}
#define SCAN_ALL(op)									\
SCAN(op, 16) SCAN(op, 32) SCAN(op, 64)							\
insn_fn *sel_##op(const struct x86_insn *x, struct insn *in)				\
{											\
	static insn_fn *const forms[WIDTHS][2] = {					\
		[W16] = { op##16_r, op##16_m }, [W32] = { op##32_r, op##32_m }, [W64] = { op##64_r, op##64_m },	\
	};										\
											\
	return forms[width_of(x)][in->mem];						\
}
SCAN_ALL(bsf)
SCAN_ALL(bsr)
