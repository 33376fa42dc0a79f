/*
 * vmm/soft/op_vec.c - MMX and SSE instructions that are more, or less, than one
 * host instruction on two operands: moves, conversions between the sets, flags,
 * parts of registers, strings; and their like on general registers.
 *
 * SDM vol. 2 under each mnemonic.
 */
#include "vmm/soft/vec.h"
#include "vmm/x86/exception.h"

/* ---- the MMX registers: MOVQ to RAX and from RDI */
__asm__(
	".pushsection .text\n"
	".balign 8\n"
	".globl mmx_get_stubs, mmx_put_stubs\n"
	"mmx_get_stubs:\n"
	".set modrm_, 0xc0\n"
	".rept 8\n"
	"	.byte 0x48, 0x0f, 0x7e, modrm_, 0xc3\n"
	"	.balign 8, 0xcc\n"
	"	.set modrm_, modrm_ + 8\n"
	".endr\n"
	"mmx_put_stubs:\n"
	".set modrm_, 0xc7\n"
	".rept 8\n"
	"	.byte 0x48, 0x0f, 0x6e, modrm_, 0xc3\n"
	"	.balign 8, 0xcc\n"
	"	.set modrm_, modrm_ + 8\n"
	".endr\n"
	".popsection\n"
);

#define SELECT_BODY(h, EXPR)								\
insn_fn *sel_##h(const struct x86_insn *x, struct insn *in)				\
{											\
	(void)x;									\
	(void)in;									\
	return EXPR;									\
}

/* Does the row's operand n have to be aligned? */
static bool aligned_operand(const struct x86_insn *x, unsigned n)
{
	enum x86_operand o = x86_opcodes[x->row].operand[n];

	return o == OP_Wx || o == OP_Mx;
}

/* ---- whole registers */

HANDLER(load16_r)
{
	SSE_BEGIN;
	XMM(in->reg) = XMM(in->rm);
	NEXT(1);
}
VEC_HANDLER(load16_a)
{
	SSE_BEGIN;
	VLOAD(16, true, XMM(in->reg));
	NEXT(1);
}
VEC_HANDLER(load16_u)
{
	SSE_BEGIN;
	VLOAD(16, false, XMM(in->reg));
	NEXT(1);
}
SELECT_BODY(vec_load16, !in->mem ? load16_r : aligned_operand(x, 1) ? VEC(load16_a) : VEC(load16_u))

HANDLER(store16_r)
{
	SSE_BEGIN;
	XMM(in->rm) = XMM(in->reg);
	NEXT(1);
}
VEC_HANDLER(store16_a)
{
	SSE_BEGIN;
	VSTORE(16, true, &XMM(in->reg));
	NEXT(1);
}
VEC_HANDLER(store16_u)
{
	SSE_BEGIN;
	VSTORE(16, false, &XMM(in->reg));
	NEXT(1);
}
SELECT_BODY(vec_store16, !in->mem ? store16_r : aligned_operand(x, 0) ? VEC(store16_a) : VEC(store16_u))

/* ---- elements: a register's stays with its neighbours, memory's has zeros above it */

#define ELEMENT(name, store_name, BYTES, FIELD)						\
HANDLER(name##_r)									\
{											\
	SSE_BEGIN;									\
	cpu->simd.v[in->reg].FIELD[0] = cpu->simd.v[in->rm].FIELD[0];			\
	NEXT(1);									\
}											\
VEC_HANDLER(name##_m)									\
{											\
	SSE_BEGIN;									\
	VLOAD(BYTES, false, XMM(in->reg));						\
	NEXT(1);									\
}											\
HANDLER(name##_st_r)									\
{											\
	SSE_BEGIN;									\
	cpu->simd.v[in->rm].FIELD[0] = cpu->simd.v[in->reg].FIELD[0];			\
	NEXT(1);									\
}											\
VEC_HANDLER(name##_st_m)								\
{											\
	SSE_BEGIN;									\
	VSTORE(BYTES, false, &XMM(in->reg));						\
	NEXT(1);									\
}											\
SELECT_BODY(name, in->mem ? VEC(name##_m) : name##_r)					\
SELECT_BODY(store_name, in->mem ? VEC(name##_st_m) : name##_st_r)
ELEMENT(vec_movss, vec_movss_st, 4, d)
ELEMENT(vec_movsd, vec_movsd_st, 8, q)

/* MOVQ clears the upper half in either form. */
HANDLER(movq_r)
{
	SSE_BEGIN;
	XMM(in->reg) = (vec128){ XMM(in->rm)[0], 0 };
	NEXT(1);
}
HANDLER(movq_st_r)
{
	SSE_BEGIN;
	XMM(in->rm) = (vec128){ XMM(in->reg)[0], 0 };
	NEXT(1);
}
SELECT_BODY(vec_movq, in->mem ? VEC(vec_movsd_m) : movq_r)
SELECT_BODY(vec_movq_st, in->mem ? VEC(vec_movsd_st_m) : movq_st_r)

#define HALF(name, store_name, I)							\
VEC_HANDLER(name##_m)									\
{											\
	vec128 v;									\
											\
	SSE_BEGIN;									\
	VLOAD(8, false, v);								\
	XMM(in->reg)[I] = v[0];								\
	NEXT(1);									\
}											\
VEC_HANDLER(store_name##_m)								\
{											\
	SSE_BEGIN;									\
	VSTORE(8, false, &cpu->simd.v[in->reg].q[I]);					\
	NEXT(1);									\
}											\
SELECT_BODY(name, VEC(name##_m))							\
SELECT_BODY(store_name, VEC(store_name##_m))
HALF(vec_load_lo, vec_store_lo, 0)
HALF(vec_load_hi, vec_store_hi, 1)

/* ---- general registers */

#define FROM_GPR(W, BYTES, FIELD)							\
HANDLER(from_gpr##W##_r)								\
{											\
	SSE_BEGIN;									\
	XMM(in->reg) = (vec128){ cpu->gpr[in->rm].FIELD, 0 };				\
	NEXT(1);									\
}											\
VEC_HANDLER(from_gpr##W##_m)								\
{											\
	SSE_BEGIN;									\
	VLOAD(BYTES, false, XMM(in->reg));						\
	NEXT(1);									\
}											\
HANDLER(to_gpr##W##_r)									\
{											\
	SSE_BEGIN;									\
	cpu->gpr[in->rm].q = cpu->simd.v[in->reg].FIELD[0];				\
	NEXT(1);									\
}											\
VEC_HANDLER(to_gpr##W##_m)								\
{											\
	SSE_BEGIN;									\
	VSTORE(BYTES, false, &XMM(in->reg));						\
	NEXT(1);									\
}											\
HANDLER(mmx_from_gpr##W##_r)								\
{											\
	MMX_BEGIN;									\
	mmx_put(in->reg, cpu->gpr[in->rm].FIELD);					\
	NEXT(1);									\
}											\
VEC_HANDLER(mmx_from_gpr##W##_m)							\
{											\
	vec128 v;									\
											\
	MMX_BEGIN;									\
	VLOAD(BYTES, false, v);								\
	mmx_put(in->reg, v[0]);								\
	NEXT(1);									\
}											\
HANDLER(mmx_to_gpr##W##_r)								\
{											\
	MMX_BEGIN;									\
	cpu->gpr[in->rm].q = (uint##W##_t)mmx_get(in->reg);				\
	NEXT(1);									\
}
FROM_GPR(32, 4, d)
FROM_GPR(64, 8, q)
#define BY_WIDTH(name)	(in->opsize == 8 ? in->mem ? VEC(name##64_m) : name##64_r : in->mem ? VEC(name##32_m) : name##32_r)
SELECT_BODY(vec_from_gpr, BY_WIDTH(from_gpr))
SELECT_BODY(vec_to_gpr, BY_WIDTH(to_gpr))
SELECT_BODY(mmx_from_gpr, BY_WIDTH(mmx_from_gpr))

/*
 * A store from an MMX register that faults must not have made the x87 stack
 * MMX's: the register is read from the image in memory, and touched when the
 * store is done.
 */
static uint64_t mmx_peek(unsigned r)
{
	struct x86_fxsave fx;
	uint64_t v;

	__asm__ volatile("fxsave64 %0" : "=m"(fx) :: "memory");
	memcpy(&v, fx.st[(r - X86_FSW_TOP(fx.fsw)) & 7], 8);
	return v;
}

#define MMX_STORE(name, BYTES)								\
VEC_HANDLER(name)									\
{											\
	uint64_t v;									\
											\
	MMX_BEGIN;									\
	if (slow) {									\
		void *p = VHIT_WRITE(BYTES);					\
											\
		if (unlikely(!p))							\
			return slow(cpu, in);						\
		v = mmx_get(in->reg);							\
		memcpy(p, &v, BYTES);							\
	} else {									\
		v = mmx_peek(in->reg & 7);						\
		vec_store(cpu, in, &v, BYTES, false);					\
		mmx_get(in->reg);							\
	}										\
	NEXT(1);									\
}
MMX_STORE(mmx_to_gpr32_m, 4)
MMX_STORE(mmx_to_gpr64_m, 8)
SELECT_BODY(mmx_to_gpr, BY_WIDTH(mmx_to_gpr))

HANDLER(mmx_movq_r)
{
	MMX_BEGIN;
	mmx_put(in->reg, mmx_get(in->rm));
	NEXT(1);
}
HANDLER(mmx_movq_st_r)
{
	MMX_BEGIN;
	mmx_put(in->rm, mmx_get(in->reg));
	NEXT(1);
}
SELECT_BODY(mmx_movq, in->mem ? VEC(mmx_from_gpr64_m) : mmx_movq_r)
SELECT_BODY(mmx_movq_st, in->mem ? VEC(mmx_to_gpr64_m) : mmx_movq_st_r)

void op_emms(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	mmx_enter(cpu, NULL);
	__asm__ volatile("emms");
}

void op_movnti(struct cpu *cpu, const struct insn *in)
{
	if (in->opsize == 8)
		st64(cpu, in->seg, insn_ea(cpu, in), cpu->gpr[in->reg].q);
	else
		st32(cpu, in->seg, insn_ea(cpu, in), cpu->gpr[in->reg].d);
}

/* All bytes are probed, whatever the mask: nothing is half done. */
void vec_store_bytes(struct cpu *cpu, const struct insn *in, const uint8_t *data, const uint8_t *mask, unsigned bytes)
{
	uint64_t at = ip_mask(in->adsize, cpu->gpr[X86_RDI].q);
	struct mmu_held held;

	mmu_probe_write(cpu, mmu_linear(cpu, in->seg, at, bytes, true), bytes, &held);
	for (unsigned i = 0; i < bytes; i++)
		if (mask[i] >> 7)
			st8(cpu, in->seg, at + i, data[i]);
}

void op_maskmovdqu(struct cpu *cpu, const struct insn *in)
{
	sse_enter(cpu, NULL);
	vec_store_bytes(cpu, in, cpu->simd.v[in->reg].b, cpu->simd.v[in->rm].b, 16);
}

void op_maskmovq(struct cpu *cpu, const struct insn *in)
{
	uint64_t data, mask;

	mmx_enter(cpu, NULL);
	data = mmx_peek(in->reg & 7);
	mask = mmx_peek(in->rm & 7);
	vec_store_bytes(cpu, in, (uint8_t *)&data, (uint8_t *)&mask, 8);
	mmx_get(in->reg);
}

/* ---- between the sets.  MMX operands go through XMM instructions that do the same. */

HANDLER(movq2dq_r)
{
	SSE_BEGIN;
	MMX_BEGIN;
	XMM(in->reg) = (vec128){ mmx_get(in->rm), 0 };
	NEXT(1);
}
SELECT_BODY(movq2dq, movq2dq_r)

HANDLER(movdq2q_r)
{
	SSE_BEGIN;
	MMX_BEGIN;
	mmx_put(in->reg, XMM(in->rm)[0]);
	NEXT(1);
}
SELECT_BODY(movdq2q, movdq2q_r)

#define HOST(mn, a)	({ vec128 r_, a_ = (a); __asm__ volatile(mn " %1, %0" : "=x"(r_) : "x"(a_) : "memory"); r_; })

#define TO_MMX(name, mn, BYTES, ALIGNED, MASK)						\
HANDLER(name##_r)									\
{											\
	vec128 v;									\
											\
	SSE_BEGIN;									\
	MMX_BEGIN;									\
	v = HOST(mn, MASK(XMM(in->rm)));						\
	mmx_put(in->reg, v[0]);								\
	NEXT(1);									\
}											\
VEC_HANDLER(name##_m)									\
{											\
	vec128 v;									\
											\
	SSE_BEGIN;									\
	MMX_BEGIN;									\
	VLOAD(BYTES, ALIGNED, v);							\
	v = HOST(mn, v);								\
	mmx_put(in->reg, v[0]);								\
	NEXT(1);									\
}											\
SELECT_BODY(name, in->mem ? VEC(name##_m) : name##_r)
#define LOW(v)	((vec128){ (v)[0], 0 })
#define ALL(v)	(v)
TO_MMX(cvtps2pi, "cvtps2dq", 8, false, LOW)
TO_MMX(cvttps2pi, "cvttps2dq", 8, false, LOW)
TO_MMX(cvtpd2pi, "cvtpd2dq", 16, true, ALL)
TO_MMX(cvttpd2pi, "cvttpd2dq", 16, true, ALL)

HANDLER(cvtpi2ps_r)
{
	vec128 v;
	uint64_t m;

	SSE_BEGIN;
	MMX_BEGIN;
	m = mmx_peek(in->rm & 7);
	v = HOST("cvtdq2ps", ((vec128){ m, 0 }));
	mmx_get(in->rm);
	XMM(in->reg)[0] = v[0];
	NEXT(1);
}
/* From memory nothing happens to the x87 stack: AMD's processors; Intel's manual has it otherwise. */
VEC_HANDLER(cvtpi2ps_m)
{
	vec128 v;

	SSE_BEGIN;
	VLOAD(8, false, v);
	v = HOST("cvtdq2ps", v);
	XMM(in->reg)[0] = v[0];
	NEXT(1);
}
SELECT_BODY(cvtpi2ps, in->mem ? VEC(cvtpi2ps_m) : cvtpi2ps_r)

HANDLER(cvtpi2pd_r)
{
	SSE_BEGIN;
	MMX_BEGIN;
	XMM(in->reg) = HOST("cvtdq2pd", ((vec128){ mmx_get(in->rm), 0 }));
	NEXT(1);
}
VEC_HANDLER(cvtpi2pd_m)
{
	vec128 v;

	SSE_BEGIN;
	VLOAD(8, false, v);
	XMM(in->reg) = HOST("cvtdq2pd", v);
	NEXT(1);
}
SELECT_BODY(cvtpi2pd, in->mem ? VEC(cvtpi2pd_m) : cvtpi2pd_r)

/* ---- flags */

#define FLAGS_XX(name, mn, BYTES, ALIGNED)						\
static inline uint16_t name##_flags(vec128 a, vec128 b)					\
{											\
	uint16_t f;									\
											\
	__asm__ volatile(mn " %2, %1\n\tlahf\n\tseto %%al" : "=&a"(f) : "x"(a), "x"(b) : "cc", "memory");	\
	return f;									\
}											\
HANDLER(name##_r)									\
{											\
	SSE_BEGIN;									\
	cpu->fl = name##_flags(XMM(in->reg), XMM(in->rm));				\
	NEXT(1);									\
}											\
VEC_HANDLER(name##_m)									\
{											\
	vec128 v;									\
											\
	SSE_BEGIN;									\
	VLOAD(BYTES, ALIGNED, v);							\
	cpu->fl = name##_flags(XMM(in->reg), v);					\
	NEXT(1);									\
}											\
SELECT_BODY(name, in->mem ? VEC(name##_m) : name##_r)
FLAGS_XX(ucomiss, "ucomiss", 4, false)
FLAGS_XX(ucomisd, "ucomisd", 8, false)
FLAGS_XX(comiss, "comiss", 4, false)
FLAGS_XX(comisd, "comisd", 8, false)
FLAGS_XX(ptest, "ptest", 16, true)

/* ---- parts of registers */

#define EXTRACT(name, BYTES, FIELD, COUNT)						\
HANDLER(name##_r)									\
{											\
	SSE_BEGIN;									\
	cpu->gpr[in->rm].q = cpu->simd.v[in->reg].FIELD[in->imm & (COUNT - 1)];		\
	NEXT(1);									\
}											\
VEC_HANDLER(name##_m)									\
{											\
	SSE_BEGIN;									\
	VSTORE(BYTES, false, &cpu->simd.v[in->reg].FIELD[in->imm & (COUNT - 1)]);	\
	NEXT(1);									\
}
EXTRACT(extract8, 1, b, 16)
EXTRACT(extract16, 2, w, 8)
EXTRACT(extract32, 4, d, 4)
EXTRACT(extract64, 8, q, 2)
SELECT_BODY(pextrb, in->mem ? VEC(extract8_m) : extract8_r)
SELECT_BODY(pextrw, in->mem ? VEC(extract16_m) : extract16_r)
SELECT_BODY(pextrd, BY_WIDTH(extract))
SELECT_BODY(extractps, in->mem ? VEC(extract32_m) : extract32_r)

#define INSERT(name, BYTES, FIELD, COUNT)						\
HANDLER(name##_r)									\
{											\
	SSE_BEGIN;									\
	cpu->simd.v[in->reg].FIELD[in->imm & (COUNT - 1)] = cpu->gpr[in->rm].q;		\
	NEXT(1);									\
}											\
VEC_HANDLER(name##_m)									\
{											\
	vec128 v;									\
											\
	SSE_BEGIN;									\
	VLOAD(BYTES, false, v);								\
	cpu->simd.v[in->reg].FIELD[in->imm & (COUNT - 1)] = v[0];			\
	NEXT(1);									\
}
INSERT(insert8, 1, b, 16)
INSERT(insert16, 2, w, 8)
INSERT(insert32, 4, d, 4)
INSERT(insert64, 8, q, 2)
SELECT_BODY(pinsrb, in->mem ? VEC(insert8_m) : insert8_r)
SELECT_BODY(pinsrw, in->mem ? VEC(insert16_m) : insert16_r)
SELECT_BODY(pinsrd, BY_WIDTH(insert))

HANDLER(extract16_gy)
{
	SSE_BEGIN;
	cpu->gpr[in->reg].q = cpu->simd.v[in->rm].w[in->imm & 7];
	NEXT(1);
}
SELECT_BODY(pextrw_r, extract16_gy)

static uint64_t with_word(uint64_t v, unsigned n, uint16_t w)
{
	return (v & ~(0xffffull << 16 * n)) | (uint64_t)w << 16 * n;
}

HANDLER(mmx_pinsrw_r)
{
	MMX_BEGIN;
	mmx_put(in->reg, with_word(mmx_get(in->reg), in->imm & 3, cpu->gpr[in->rm].w));
	NEXT(1);
}
VEC_HANDLER(mmx_pinsrw_m)
{
	vec128 v;

	MMX_BEGIN;
	VLOAD(2, false, v);
	mmx_put(in->reg, with_word(mmx_get(in->reg), in->imm & 3, v[0]));
	NEXT(1);
}
SELECT_BODY(mmx_pinsrw, in->mem ? VEC(mmx_pinsrw_m) : mmx_pinsrw_r)

HANDLER(mmx_pextrw_r)
{
	MMX_BEGIN;
	cpu->gpr[in->reg].q = (uint16_t)(mmx_get(in->rm) >> 16 * (in->imm & 3));
	NEXT(1);
}
SELECT_BODY(mmx_pextrw, mmx_pextrw_r)

HANDLER(mmx_pmovmskb_r)
{
	uint64_t v, mask = 0;

	MMX_BEGIN;
	v = mmx_get(in->rm);
	for (unsigned i = 0; i < 8; i++)
		mask |= (v >> (8 * i + 7) & 1) << i;
	cpu->gpr[in->reg].q = mask;
	NEXT(1);
}
SELECT_BODY(mmx_pmovmskb, mmx_pmovmskb_r)

static uint64_t shuffle_words(uint64_t v, unsigned how)
{
	uint64_t r = 0;

	for (unsigned i = 0; i < 4; i++)
		r |= (v >> 16 * (how >> 2 * i & 3) & 0xffff) << 16 * i;
	return r;
}

/* Two operands as one, shifted right by bytes. */
static uint64_t align_right(uint64_t a, uint64_t b, unsigned bytes)
{
	return bytes >= 16 ? 0 : (uint64_t)(((unsigned __int128)a << 64 | b) >> 8 * bytes);
}

#define MMX_WITH_IMM(name, EXPR)							\
HANDLER(name##_r)									\
{											\
	uint64_t b;									\
											\
	MMX_BEGIN;									\
	b = mmx_get(in->rm);								\
	mmx_put(in->reg, EXPR);								\
	NEXT(1);									\
}											\
VEC_HANDLER(name##_m)									\
{											\
	vec128 v;									\
	uint64_t b;									\
											\
	MMX_BEGIN;									\
	VLOAD(8, false, v);								\
	b = v[0];									\
	mmx_put(in->reg, EXPR);								\
	NEXT(1);									\
}											\
SELECT_BODY(name, in->mem ? VEC(name##_m) : name##_r)
MMX_WITH_IMM(pshufw, shuffle_words(b, in->imm))
MMX_WITH_IMM(mmx_palignr, align_right(mmx_get(in->reg), b, in->imm))

/* ---- string comparison: lengths come in and index, mask and flags go out */

struct string_out {
	uint16_t fl;
	uint32_t index;
};

typedef vec128 string_fn(vec128 a, vec128 b, int64_t a_len, int64_t b_len, struct string_out *);

enum { STRING_STUB = 32 };

#define STRING_STUBS(mn)									\
__asm__(".pushsection .text\n\t.balign 32\nstubs_" #mn ":\n\t.set imm_, 0\n\t.rept 256\n\t.balign 32, 0xcc\n\t"	\
	"movl %edi, %eax\n\tmovq %rdx, %r8\n\tmovl %esi, %edx\n\t"			\
	#mn " $imm_, %xmm1, %xmm0\n\tlahf\n\tseto %al\n\tmovw %ax, (%r8)\n\tmovl %ecx, 4(%r8)\n\tret\n\t"	\
	".set imm_, imm_ + 1\n\t.endr\n\t.popsection");					\
extern const uint8_t stubs_##mn[256 * STRING_STUB] HIDDEN;
STRING_STUBS(pcmpestrm)
STRING_STUBS(pcmpestri)
STRING_STUBS(pcmpistrm)
STRING_STUBS(pcmpistri)

/* Only whether it is beyond 16 matters, so 32 bits will do for 64. */
static int64_t string_length(const struct insn *in, const union reg *r)
{
	int64_t n = in->opsize == 8 ? (int64_t)r->q : r->sd;

	return n > 64 ? 64 : n < -64 ? -64 : n;
}

static inline vec128 compare_strings(struct cpu *cpu, const struct insn *in, vec128 b, struct string_out *out)
{
	return ((string_fn *)(uintptr_t)in->imm)(XMM(in->reg), b, string_length(in, &cpu->gpr[X86_RAX]),
						 string_length(in, &cpu->gpr[X86_RDX]), out);
}

#define STRING_FORMS(name, BEGIN, RESULT)						\
HANDLER(name##_r)									\
{											\
	struct string_out out;								\
	vec128 r;									\
											\
	BEGIN;										\
	r = compare_strings(cpu, in, XMM(in->rm), &out);				\
	(void)r;									\
	cpu->fl = out.fl;								\
	RESULT;										\
	NEXT(1);									\
}											\
VEC_HANDLER(name##_m)									\
{											\
	struct string_out out;								\
	vec128 r;									\
											\
	BEGIN;										\
	VLOAD(16, false, r);								\
	r = compare_strings(cpu, in, r, &out);						\
	(void)r;									\
	cpu->fl = out.fl;								\
	RESULT;										\
	NEXT(1);									\
}
STRING_FORMS(string_mask, SSE_BEGIN, XMM(0) = r)
STRING_FORMS(string_index, SSE_BEGIN, cpu->gpr[X86_RCX].q = out.index)
STRING_FORMS(vstring_mask, AVX_BEGIN, cpu->simd.v[0] = (union vec){ .x = r })
STRING_FORMS(vstring_index, AVX_BEGIN, cpu->gpr[X86_RCX].q = out.index)

#define STRING_SELECT(h, mn, name)							\
insn_fn *sel_##h(const struct x86_insn *x, struct insn *in)				\
{											\
	in->imm = (uintptr_t)(stubs_##mn + STRING_STUB * (x->imm & 0xff));		\
	return in->mem ? VEC(name##_m) : name##_r;						\
}
STRING_SELECT(pcmpestrm, pcmpestrm, string_mask)
STRING_SELECT(pcmpestri, pcmpestri, string_index)
STRING_SELECT(pcmpistrm, pcmpistrm, string_mask)
STRING_SELECT(pcmpistri, pcmpistri, string_index)
STRING_SELECT(vpcmpestrm, pcmpestrm, vstring_mask)
STRING_SELECT(vpcmpestri, pcmpestri, vstring_index)
STRING_SELECT(vpcmpistrm, pcmpistrm, vstring_mask)
STRING_SELECT(vpcmpistri, pcmpistri, vstring_index)

/* ---- general registers alone */

#define COUNT_BITS(W)									\
static void popcnt##W##_done(struct cpu *cpu, const struct insn *in, uint##W##_t v)	\
{											\
	cpu->fl = v ? 0 : FL_ZF;							\
	gpr_write(cpu, in->reg, W / 8, (unsigned)__builtin_popcountll(v));		\
}											\
READ_HANDLERS(popcnt, W)
COUNT_BITS(16)
COUNT_BITS(32)
COUNT_BITS(64)
#define BY_OPSIZE(name, form)								\
	(in->opsize == 2 ? name##16_##form : in->opsize == 4 ? name##32_##form : name##64_##form)
SELECT_BODY(popcnt, in->mem ? BY_OPSIZE(popcnt, m) : BY_OPSIZE(popcnt, r))

#define SWAP_BYTES(W)									\
MEM_HANDLER(movbe##W##_m)								\
{											\
	uint##W##_t v;									\
											\
	LOAD(W, v, in->seg, insn_ea(cpu, in));						\
	gpr_write(cpu, in->reg, W / 8, __builtin_bswap##W(v));				\
	NEXT(1);									\
}											\
MEM_HANDLER(movbe##W##_st)								\
{											\
	STORE(W, in->seg, insn_ea(cpu, in), __builtin_bswap##W((uint##W##_t)cpu->gpr[in->reg].q));	\
	NEXT(1);									\
}
SWAP_BYTES(16)
SWAP_BYTES(32)
SWAP_BYTES(64)
SELECT_BODY(movbe, BY_OPSIZE(movbe, m))
SELECT_BODY(movbe_st, BY_OPSIZE(movbe, st))

/* ADCX and ADOX: an addition whose only carry is CF, or OF. */
#define ADD_CARRY(name, FLAG)								\
static void name##_done(struct cpu *cpu, const struct insn *in, uint64_t v)		\
{											\
	unsigned __int128 sum = cpu->fl & FLAG ? 1 : 0;					\
	unsigned bits = in->opsize == 8 ? 64 : 32;					\
											\
	sum += bits == 64 ? v : (uint32_t)v;						\
	sum += bits == 64 ? cpu->gpr[in->reg].q : cpu->gpr[in->reg].d;			\
	cpu->fl = (cpu->fl & ~FLAG) | (sum >> bits & 1 ? FLAG : 0);			\
	cpu->gpr[in->reg].q = bits == 64 ? (uint64_t)sum : (uint32_t)sum;		\
}											\
HANDLER(name##_r)									\
{											\
	name##_done(cpu, in, cpu->gpr[in->rm].q);					\
	NEXT(1);									\
}											\
MEM_HANDLER(name##32_m)									\
{											\
	uint32_t v;									\
											\
	LOAD(32, v, in->seg, insn_ea(cpu, in));						\
	name##_done(cpu, in, v);							\
	NEXT(1);									\
}											\
MEM_HANDLER(name##64_m)									\
{											\
	uint64_t v;									\
											\
	LOAD(64, v, in->seg, insn_ea(cpu, in));						\
	name##_done(cpu, in, v);							\
	NEXT(1);									\
}											\
SELECT_BODY(name, !in->mem ? name##_r : in->opsize == 8 ? name##64_m : name##32_m)
ADD_CARRY(adcx, FL_CF)
ADD_CARRY(adox, FL_OF)

#define CHECKSUM(W, mn, operands)							\
static void crc32_##W##_done(struct cpu *cpu, const struct insn *in, uint64_t v)		\
{											\
	uint64_t crc = cpu->gpr[in->reg].d;						\
											\
	__asm__(mn " " operands : "+r"(crc) : "r"(v));					\
	cpu->gpr[in->reg].q = (uint32_t)crc;						\
}											\
READ_HANDLERS(crc32_, W)
CHECKSUM(8, "crc32b", "%b1, %k0")
CHECKSUM(16, "crc32w", "%w1, %k0")
CHECKSUM(32, "crc32l", "%k1, %k0")
CHECKSUM(64, "crc32q", "%1, %0")

insn_fn *sel_crc32(const struct x86_insn *x, struct insn *in)
{
	if (!(x->opcode & 1))
		return in->mem ? crc32_8_m : crc32_8_r;
	return in->mem ? BY_OPSIZE(crc32_, m) : BY_OPSIZE(crc32_, r);
}

#define RANDOM(name, mn)								\
void op_##name(struct cpu *cpu, const struct insn *in)					\
{											\
	uint64_t v;									\
	bool ok;									\
											\
	__asm__ volatile(mn " %0" : "=r"(v), "=@ccc"(ok));				\
	cpu->fl = ok ? FL_CF : 0;							\
	gpr_write(cpu, in->rm, in->opsize, ok ? v : 0);					\
}
RANDOM(rdrand, "rdrand")
RANDOM(rdseed, "rdseed")

/* ---- fences and caches */

/* Memory is shared with the device model: the guest's fence is the host's. */
void op_mfence(struct cpu *cpu, const struct insn *in)
{
	(void)cpu;
	(void)in;
	__asm__ volatile("mfence" ::: "memory");
}

/* No cache to flush, but the faults of a byte's load. */
void op_clflush(struct cpu *cpu, const struct insn *in)
{
	struct mmu_held held;

	mmu_probe_read(cpu, mmu_linear(cpu, in->seg, insn_ea(cpu, in), 1, false), 1, &held);
}
