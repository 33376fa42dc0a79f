/*
 * vmm/soft/op_sse.c - the rows of kind V: instructions that the host executes on
 * the guest's operands.
 *
 * The table opcodes_sse.def is expanded here.  A row's operands are its shape;
 * SHAPE_<operands> makes from its mnemonic a function of operand values, whose
 * body is that one host instruction, then the handlers for register and memory
 * operands, and the selector.  Immediates are part of the host's encoding: such
 * a row has 256 stubs, and the selector keeps the address of the right one.
 *
 * Results are written after the instruction is through: an exception leaves the
 * destination as it was (simd.h).
 */
#include "vmm/soft/vec.h"

/* ---- values: one host instruction each */

#define VALUE_XX(h, mn)									\
static inline vec128 do_##h(vec128 a, vec128 b)						\
{											\
	__asm__ volatile(mn " %1, %0" : "+x"(a) : "x"(b) : "memory");			\
	return a;									\
}

/* With XMM0 as third operand. */
#define VALUE_XX0(h, mn)								\
static inline vec128 do_##h(vec128 a, vec128 b, vec128 c)				\
{											\
	register vec128 mask __asm__("xmm0") = c;					\
											\
	__asm__ volatile(mn " %2, %1, %0" : "+x"(a) : "x"(b), "x"(mask) : "memory");	\
	return a;									\
}

#define VALUE_XR(h, mn)									\
static inline vec128 do_##h(vec128 a, uint64_t b, unsigned size)			\
{											\
	if (size == 8)									\
		__asm__ volatile(mn "q %1, %0" : "+x"(a) : "r"(b) : "memory");		\
	else										\
		__asm__ volatile(mn "l %1, %0" : "+x"(a) : "r"((uint32_t)b) : "memory");	\
	return a;									\
}

#define VALUE_RX(h, mn)									\
static inline uint64_t do_##h(vec128 b, unsigned size)					\
{											\
	uint64_t r = 0;									\
											\
	if (size == 8)									\
		__asm__ volatile(mn " %1, %0" : "=r"(r) : "x"(b) : "memory");		\
	else										\
		__asm__ volatile(mn " %1, %k0" : "=r"(r) : "x"(b) : "memory");		\
	return r;									\
}

typedef vec128 imm_fn(vec128 a, vec128 b);

enum { IMM_STUB = 16 };

#define STUBS(h, text)									\
__asm__(".pushsection .text\n\t.balign 16\nstubs_" #h ":\n\t.set imm_, 0\n\t.rept 256\n\t.balign 16, 0xcc\n\t"	\
	text "\n\tret\n\t.set imm_, imm_ + 1\n\t.endr\n\t.popsection");			\
extern const uint8_t stubs_##h[256 * IMM_STUB] HIDDEN;

#define KEEP_STUB(h)	in->imm = (uintptr_t)(stubs_##h + IMM_STUB * (x->imm & 0xff))
/* INSERTPS takes no element number where the source is memory; the others do not look at these bits. */
#define KEEP_STUB_SCALAR(h)	in->imm = (uintptr_t)(stubs_##h + IMM_STUB * (x->imm & (in->mem ? 0x3f : 0xff)))

static inline vec128 do_imm(const struct insn *in, vec128 a, vec128 b)
{
	return ((imm_fn *)(uintptr_t)in->imm)(a, b);
}

/* ---- handlers */

#define REG_FORM(h, BEGIN, ACTION)							\
HANDLER(h##_r)										\
{											\
	BEGIN;										\
	ACTION;										\
	NEXT(1);									\
}
#define MEM_FORM(h, BEGIN, BYTES, ALIGNED, ACTION)					\
VEC_HANDLER(h##_m)									\
{											\
	vec128 src;									\
											\
	BEGIN;										\
	VLOAD(BYTES, ALIGNED, src);							\
	ACTION;										\
	NEXT(1);									\
}
#define SELECT(h, EXTRA)								\
insn_fn *sel_##h(const struct x86_insn *x, struct insn *in)				\
{											\
	(void)x;									\
	EXTRA;										\
	return in->mem ? VEC(h##_m) : h##_r;							\
}
#define SELECT_R(h, EXTRA)								\
insn_fn *sel_##h(const struct x86_insn *x, struct insn *in)				\
{											\
	(void)x;									\
	(void)in;									\
	EXTRA;										\
	return h##_r;									\
}

/* XMM, XMM or memory */
#define SHAPE_XX(h, mn, BYTES, ALIGNED)							\
VALUE_XX(h, mn)										\
REG_FORM(h, SSE_BEGIN, XMM(in->reg) = do_##h(XMM(in->reg), XMM(in->rm)))		\
MEM_FORM(h, SSE_BEGIN, BYTES, ALIGNED, XMM(in->reg) = do_##h(XMM(in->reg), src))	\
SELECT(h, )
#define SHAPE_Vx_Wx__(h, mn, map, op)	SHAPE_XX(h, mn, 16, true)
#define SHAPE_Vx_Wu__(h, mn, map, op)	SHAPE_XX(h, mn, 16, false)
#define SHAPE_Vx_Wq__(h, mn, map, op)	SHAPE_XX(h, mn, 8, false)
#define SHAPE_Vx_Wd__(h, mn, map, op)	SHAPE_XX(h, mn, 4, false)
#define SHAPE_Vx_Ww__(h, mn, map, op)	SHAPE_XX(h, mn, 2, false)

#define SHAPE_Vx_Ux__(h, mn, map, op)								\
VALUE_XX(h, mn)										\
REG_FORM(h, SSE_BEGIN, XMM(in->reg) = do_##h(XMM(in->reg), XMM(in->rm)))		\
SELECT_R(h, )

#define SHAPE_XX0(h, mn, ALIGNED)							\
VALUE_XX0(h, mn)									\
REG_FORM(h, SSE_BEGIN, XMM(in->reg) = do_##h(XMM(in->reg), XMM(in->rm), XMM(0)))	\
MEM_FORM(h, SSE_BEGIN, 16, ALIGNED, XMM(in->reg) = do_##h(XMM(in->reg), src, XMM(0)))	\
SELECT(h, )
#define SHAPE_Vx_Wx_X0(h, mn, map, op)	SHAPE_XX0(h, mn, true)
#define SHAPE_Vx_Wu_X0(h, mn, map, op)	SHAPE_XX0(h, mn, false)

/* and an immediate */
#define SHAPE_XXI(h, mn, BYTES, ALIGNED, KEEP)						\
STUBS(h, mn " $imm_, %xmm1, %xmm0")							\
REG_FORM(h, SSE_BEGIN, XMM(in->reg) = do_imm(in, XMM(in->reg), XMM(in->rm)))		\
MEM_FORM(h, SSE_BEGIN, BYTES, ALIGNED, XMM(in->reg) = do_imm(in, XMM(in->reg), src))	\
SELECT(h, KEEP(h))
#define SHAPE_Vx_Wx_Ib(h, mn, map, op)	SHAPE_XXI(h, mn, 16, true, KEEP_STUB)
#define SHAPE_Vx_Wu_Ib(h, mn, map, op)	SHAPE_XXI(h, mn, 16, false, KEEP_STUB)
#define SHAPE_Vx_Wq_Ib(h, mn, map, op)	SHAPE_XXI(h, mn, 8, false, KEEP_STUB)
#define SHAPE_Vx_Wd_Ib(h, mn, map, op)	SHAPE_XXI(h, mn, 4, false, KEEP_STUB_SCALAR)

/* Shifts by an immediate: the destination is ModRM.rm. */
#define SHAPE_Ux_Ib__(h, mn, map, op)								\
STUBS(h, mn " $imm_, %xmm0")								\
REG_FORM(h, SSE_BEGIN, XMM(in->rm) = do_imm(in, XMM(in->rm), XMM(in->rm)))		\
SELECT_R(h, KEEP_STUB(h))

/* to and from general registers */
#define SHAPE_Vx_Ey__(h, mn, map, op)								\
VALUE_XR(h, mn)										\
REG_FORM(h, SSE_BEGIN, XMM(in->reg) = do_##h(XMM(in->reg), cpu->gpr[in->rm].q, in->opsize))	\
MEM_FORM(h##_32, SSE_BEGIN, 4, false, XMM(in->reg) = do_##h(XMM(in->reg), src[0], 4))	\
MEM_FORM(h##_64, SSE_BEGIN, 8, false, XMM(in->reg) = do_##h(XMM(in->reg), src[0], 8))	\
insn_fn *sel_##h(const struct x86_insn *x, struct insn *in)				\
{											\
	(void)x;									\
	return !in->mem ? h##_r : in->opsize == 8 ? VEC(h##_64_m) : VEC(h##_32_m);		\
}

#define SHAPE_RX(h, mn, BYTES)								\
VALUE_RX(h, mn)										\
REG_FORM(h, SSE_BEGIN, cpu->gpr[in->reg].q = do_##h(XMM(in->rm), in->opsize))		\
MEM_FORM(h, SSE_BEGIN, BYTES, false, cpu->gpr[in->reg].q = do_##h(src, in->opsize))	\
SELECT(h, )
#define SHAPE_Gy_Wd__(h, mn, map, op)	SHAPE_RX(h, mn, 4)
#define SHAPE_Gy_Wq__(h, mn, map, op)	SHAPE_RX(h, mn, 8)

#define SHAPE_Gy_Ux__(h, mn, map, op)								\
VALUE_RX(h, mn)										\
REG_FORM(h, SSE_BEGIN, cpu->gpr[in->reg].q = do_##h(XMM(in->rm), 4))			\
SELECT_R(h, )

/*
 * MMX: the registers are the host's, as with x87 (op_x87.c), so a row has a stub
 * for each pair of them, and for each with memory at (%rdi).
 */
typedef void mmx_fn(const void *memory);

#define ESCAPE_2	"0x0f, "
#define ESCAPE_3	"0x0f, 0x38, "
#define MMX_STUBS(h, map, op)								\
__asm__(".pushsection .text\n\t.balign 8\nmmx_stubs_" #h ":\n\t.set modrm_, 0xc0\n\t.rept 64\n\t"			\
	".byte " ESCAPE_##map #op ", modrm_, 0xc3\n\t.balign 8, 0xcc\n\t.set modrm_, modrm_ + 1\n\t.endr\n\t"	\
	".set modrm_, 0x07\n\t.rept 8\n\t"						\
	".byte " ESCAPE_##map #op ", modrm_, 0xc3\n\t.balign 8, 0xcc\n\t.set modrm_, modrm_ + 8\n\t.endr\n\t.popsection");	\
extern const uint8_t mmx_stubs_##h[72][8] HIDDEN;

#define MMX_KEEP_STUB(h)								\
	in->imm = (uintptr_t)mmx_stubs_##h[in->mem ? 64 + (in->reg & 7) : (in->reg & 7) * 8 + (in->rm & 7)]

HANDLER(mmx_r)
{
	MMX_BEGIN;
	((mmx_fn *)(uintptr_t)in->imm)(NULL);
	NEXT(1);
}
#define MMX_MEMORY(BYTES)								\
VEC_HANDLER(mmx_m##BYTES)								\
{											\
	vec128 src;									\
											\
	MMX_BEGIN;									\
	VLOAD(BYTES, false, src);							\
	((mmx_fn *)(uintptr_t)in->imm)(&src);						\
	NEXT(1);									\
}
MMX_MEMORY(4)
MMX_MEMORY(8)

#define SHAPE_MM(h, map, op, BYTES)							\
MMX_STUBS(h, map, op)									\
insn_fn *sel_##h(const struct x86_insn *x, struct insn *in)				\
{											\
	(void)x;									\
	MMX_KEEP_STUB(h);								\
	return in->mem ? VEC(mmx_m##BYTES) : mmx_r;						\
}
#define SHAPE_Pq_Qq__(h, mn, map, op)	SHAPE_MM(h, map, op, 8)
#define SHAPE_Pq_Qd__(h, mn, map, op)	SHAPE_MM(h, map, op, 4)

/* With an immediate an XMM instruction does the same on the lower half. */
#define SHAPE_Nq_Ib__(h, mn, map, op)							\
STUBS(h, mn " $imm_, %xmm0")								\
REG_FORM(h, MMX_BEGIN, mmx_put(in->rm, do_imm(in, (vec128){ mmx_get(in->rm), 0 }, (vec128){ 0 })[0]))	\
SELECT_R(h, KEEP_STUB(h))

#define GENERATE_P(h, mn, a, b, c, map, op)
#define GENERATE_F(h, mn, a, b, c, map, op)
#define GENERATE_V(h, mn, a, b, c, map, op)	SHAPE_##a##_##b##_##c(h, mn, map, op)
#define X(map, op, ext, pfx, kind, mn, h, a, b, c, r, w, u, p, t) GENERATE_##kind(h, #mn, a, b, c, map, op)
#include "vmm/x86/opcodes_sse.def"
#undef X
