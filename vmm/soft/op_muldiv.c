/*
 * vmm/soft/op_muldiv.c - MUL IMUL DIV IDIV, AAM (a division, too).
 *
 * Products take their flags from the host's multiplication.  Quotients that do
 * not fit, and division by 0, are #DE before anything changes; the flags, which
 * are undefined behind a division, are what the host's makes of them.  SDM vol. 2.
 */
#include "vmm/soft/alu.h"
#include "vmm/soft/forms.h"
#include "vmm/x86/exception.h"

/* CF and OF say whether the product fits; the others are undefined, and AMD's processors keep them. */
static inline uint16_t fl_product(uint16_t old, uint16_t f)
{
	return (old & ~(FL_CF | FL_OF)) | (f & (FL_CF | FL_OF));
}

/* ---- IMUL with a register destination: two or three operands */
#define IMUL_PURE(W)									\
static inline uint##W##_t imul_##W(uint##W##_t a, uint##W##_t b, uint16_t *fl)		\
{											\
	uint16_t f;									\
											\
	__asm__("imul" ALU_SUFFIX_##W " %2, %1\n\t" ALU_FLAGS : "=&a"(f), "+&r"(a) : "r"(b) : "cc");	\
	*fl = fl_product(*fl, f);							\
	return a;									\
}
IMUL_PURE(16)
IMUL_PURE(32)
IMUL_PURE(64)

/* b: the destination itself, or the immediate */
#define IMUL(W, name, B)								\
HANDLER(imul##W##_##name##_r)								\
{											\
	uint16_t fl = cpu->fl;								\
											\
	PUT_##W(in->reg, imul_##W(GET_##W(in->rm), B, &fl));				\
	cpu->fl = fl;									\
	NEXT(1);									\
}											\
MEM_HANDLER(imul##W##_##name##_m)							\
{											\
	uint16_t fl = cpu->fl;								\
	uint##W##_t v;									\
											\
	LOAD(W, v, in->seg, ADDR_x);							\
	PUT_##W(in->reg, imul_##W(v, B, &fl));						\
	cpu->fl = fl;									\
	NEXT(1);									\
}
IMUL(16, two, GET_16(in->reg))
IMUL(32, two, GET_32(in->reg))
IMUL(64, two, GET_64(in->reg))
IMUL(16, three, in->imm)
IMUL(32, three, in->imm)
IMUL(64, three, in->imm)

insn_fn *sel_imul(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[WIDTHS][2][2] = {	/* [width][three][mem] */
		[W16] = { { imul16_two_r, imul16_two_m }, { imul16_three_r, imul16_three_m } },
		[W32] = { { imul32_two_r, imul32_two_m }, { imul32_three_r, imul32_three_m } },
		[W64] = { { imul64_two_r, imul64_two_m }, { imul64_three_r, imul64_three_m } },
	};

	return forms[width_of(x)][x86_opcodes[x->row].operand[2] != OP__][in->mem];
}

/* ---- one operand: the accumulator is the other */
#define MUL8(name, insn)								\
static inline void name##_8(struct cpu *cpu, uint8_t v)					\
{											\
	uint16_t ax = cpu->gpr[X86_RAX].b[0], f;					\
											\
	__asm__(insn "b %2\n\tmovw %%ax, %1\n\t" ALU_FLAGS : "=&a"(f), "=&r"(ax) : "q"(v), "0"(ax) : "cc");	\
	cpu->gpr[X86_RAX].w = ax;							\
	cpu->fl = fl_product(cpu->fl, f);						\
}
MUL8(mul, "mul")
MUL8(imul1, "imul")

#define MUL_WIDE(name, insn, W)								\
static inline void name##_##W(struct cpu *cpu, uint##W##_t v)				\
{											\
	uint##W##_t lo, hi;								\
	uint16_t f;									\
											\
	__asm__(insn ALU_SUFFIX_##W " %3\n\tmov %%" MUL_ACC_##W ", %1\n\t" ALU_FLAGS	\
		: "=&a"(f), "=&r"(lo), "=&d"(hi) : "r"(v), "0"(GET_##W(X86_RAX)) : "cc");	\
	PUT_##W(X86_RAX, lo);								\
	PUT_##W(X86_RDX, hi);								\
	cpu->fl = fl_product(cpu->fl, f);						\
}
#define MUL_ACC_16	"ax"
#define MUL_ACC_32	"eax"
#define MUL_ACC_64	"rax"
MUL_WIDE(mul, "mul", 16)
MUL_WIDE(mul, "mul", 32)
MUL_WIDE(mul, "mul", 64)
MUL_WIDE(imul1, "imul", 16)
MUL_WIDE(imul1, "imul", 32)
MUL_WIDE(imul1, "imul", 64)

/* The host's own instruction on RDX:RAX, or AX, once it is known not to fault. */
#define HOST_DIVIDE(op, suffix, W)								\
static inline void host_##op##_##W(struct cpu *cpu, uint##W##_t v)				\
{												\
	uint64_t lo = cpu->gpr[X86_RAX].q, hi = cpu->gpr[X86_RDX].q, a = cpu->fl;		\
												\
	__asm__("addb $127, %%al\n\tsahf\n\tmovq %2, %%rax\n\t" #op suffix " %3\n\t"		\
		"movq %%rax, %2\n\tlahf\n\tseto %%al"						\
		: "+&a"(a), "+&d"(hi), "+&r"(lo) : "r"(v) : "cc");				\
	cpu->fl = a;										\
	PUT_RESULT_##W(lo, hi);									\
}
#define PUT_RESULT_8(lo, hi)	PUT_16(X86_RAX, lo)
#define PUT_RESULT_16(lo, hi)	do { PUT_16(X86_RAX, lo); PUT_16(X86_RDX, hi); } while (0)
#define PUT_RESULT_32(lo, hi)	do { PUT_32(X86_RAX, lo); PUT_32(X86_RDX, hi); } while (0)
#define PUT_RESULT_64(lo, hi)	do { PUT_64(X86_RAX, lo); PUT_64(X86_RDX, hi); } while (0)
HOST_DIVIDE(div, "b", 8)
HOST_DIVIDE(div, "w", 16)
HOST_DIVIDE(div, "l", 32)
HOST_DIVIDE(div, "q", 64)
HOST_DIVIDE(idiv, "b", 8)
HOST_DIVIDE(idiv, "w", 16)
HOST_DIVIDE(idiv, "l", 32)
HOST_DIVIDE(idiv, "q", 64)

/* Does the quotient fit? */
static inline bool div_fits_8(struct cpu *cpu, uint8_t v)
{
	return v && cpu->gpr[X86_RAX].w >> 8 < v;
}

static inline bool div_fits_16(struct cpu *cpu, uint16_t v)
{
	return v && GET_16(X86_RDX) < v;
}

static inline bool div_fits_32(struct cpu *cpu, uint32_t v)
{
	return v && GET_32(X86_RDX) < v;
}

static inline bool div_fits_64(struct cpu *cpu, uint64_t v)
{
	return v && GET_64(X86_RDX) < v;
}

static inline bool idiv_fits_8(struct cpu *cpu, uint8_t v)
{
	int n = cpu->gpr[X86_RAX].sw, d = (int8_t)v;

	return d && n / d == (int8_t)(n / d);
}

static inline bool idiv_fits_16(struct cpu *cpu, uint16_t v)
{
	int64_t n = (int32_t)((uint32_t)GET_16(X86_RDX) << 16 | GET_16(X86_RAX)), d = (int16_t)v;

	return d && n / d == (int16_t)(n / d);
}

static inline bool idiv_fits_32(struct cpu *cpu, uint32_t v)
{
	int64_t n = (int64_t)((uint64_t)GET_32(X86_RDX) << 32 | GET_32(X86_RAX)), d = (int32_t)v;

	return d && !(d == -1 && n == INT64_MIN) && n / d == (int32_t)(n / d);
}

/* The quotient of the magnitudes fits 64 bits and, with its sign, 63. */
static inline bool idiv_fits_64(struct cpu *cpu, uint64_t v)
{
	uint64_t hi = GET_64(X86_RDX), d = v >> 63 ? -v : v;
	bool minus = hi >> 63, negative = minus != v >> 63;
	unsigned __int128 n = (unsigned __int128)hi << 64 | GET_64(X86_RAX);

	if (minus)
		n = -n;
	if (d == 0 || (uint64_t)(n >> 64) >= d)
		return false;
	return (uint64_t)(n / d) <= (uint64_t)INT64_MAX + negative;
}

/* False: #DE. */
#define DIVIDE(op, W)							\
static inline bool op##_##W(struct cpu *cpu, uint##W##_t v)		\
{									\
	if (!op##_fits_##W(cpu, v))					\
		return false;						\
	host_##op##_##W(cpu, v);					\
	return true;							\
}
EACH_WIDTH(DIVIDE, div)
EACH_WIDTH(DIVIDE, idiv)

#define MUL_FORMS(op, W)								\
HANDLER(op##W##_r)									\
{											\
	op##_##W(cpu, GET_##W(in->rm));							\
	NEXT(1);									\
}											\
MEM_HANDLER(op##W##_m)									\
{											\
	uint##W##_t v;									\
											\
	LOAD(W, v, in->seg, ADDR_x);							\
	op##_##W(cpu, v);								\
	NEXT(1);									\
}

static __attribute__((noinline, cold)) void divide_error(struct cpu *cpu, const struct insn *in)
{
	cpu->insn = in;
	cpu_fault(cpu, X86_DE, 0);
}

#define DIV_FORMS(op, W)								\
HANDLER(op##W##_r)									\
{											\
	if (unlikely(!op##_##W(cpu, GET_##W(in->rm))))					\
		return divide_error(cpu, in);						\
	NEXT(1);									\
}											\
MEM_HANDLER(op##W##_m)									\
{											\
	uint##W##_t v;									\
											\
	LOAD(W, v, in->seg, ADDR_x);							\
	if (unlikely(!op##_##W(cpu, v)))						\
		return divide_error(cpu, in);						\
	NEXT(1);									\
}

#define ACC_SELECT(op, FORMS)								\
EACH_WIDTH(FORMS, op)									\
insn_fn *sel_##op(const struct x86_insn *x, struct insn *in)				\
{											\
	static insn_fn *const forms[WIDTHS][2] = {					\
		{ op##8_r, op##8_m }, { op##16_r, op##16_m }, { op##32_r, op##32_m },	\
		{ op##64_r, op##64_m },							\
	};										\
											\
	return forms[width_of(x)][in->mem];						\
}
ACC_SELECT(mul, MUL_FORMS)
ACC_SELECT(imul1, MUL_FORMS)
ACC_SELECT(div, DIV_FORMS)
ACC_SELECT(idiv, DIV_FORMS)
