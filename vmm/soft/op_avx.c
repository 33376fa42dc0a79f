/*
 * vmm/soft/op_avx.c - AVX, AVX2, FMA, F16C: the rows of opcodes_avx.def.
 *
 * Of a row of the kinds V.. the host executes its own instruction.  SHAPE_<operands>
 * makes from its mnemonic a stub, a function on memory slots: %rdi is where the
 * result goes, %rsi VEX.vvvv's register, %rdx ModRM.rm's register or memory
 * itself, %rcx a fourth one.  Registers are slots of the guest's state, so one
 * stub serves register and memory forms, and a handful of handlers, chosen by
 * where the operands are, serve all stubs.  A row with an immediate has 256.
 *
 * A stub stores its result last: an exception leaves the destination as it was.
 * It stores 32 bytes, since an instruction on XMM registers clears the upper
 * halves; and it leaves the host's upper halves clear, or every SSE instruction
 * would pay for them.
 *
 * What is not computation (moves, masks, gathers) is written by hand below.
 * Nothing here runs on a host without AVX: the rows are not offered (isa.c).
 *
 * SDM vol. 1 section 14, vol. 2 section 2.3 and under each mnemonic.
 */
#include "vmm/soft/vec.h"

#include "vmm/x86/exception.h"

/* Results: rFLAGS as in cpu->fl of those that set them, else nothing. */
typedef uint64_t avx_fn(void *to, const void *vvvv, const void *rm, const void *fourth);

#define V(r)		(&cpu->simd.v[r])
#define CALL_STUB(to, vvvv, rm)	((avx_fn *)(uintptr_t)in->imm)(to, vvvv, rm, NULL)

/* ---- handlers by where the operands are: in->imm is the stub */

HANDLER(vector_r)
{
	AVX_BEGIN;
	CALL_STUB(V(in->reg), V(in->cc), V(in->rm));
	NEXT(1);
}
HANDLER(vector_gpr)
{
	AVX_BEGIN;
	CALL_STUB(V(in->reg), V(in->cc), &cpu->gpr[in->rm]);
	NEXT(1);
}
/* The destination is VEX.vvvv. */
HANDLER(shift)
{
	AVX_BEGIN;
	CALL_STUB(V(in->cc), NULL, V(in->rm));
	NEXT(1);
}
HANDLER(gpr_r)
{
	AVX_BEGIN;
	CALL_STUB(&cpu->gpr[in->reg], NULL, V(in->rm));
	NEXT(1);
}
HANDLER(flags_r)
{
	AVX_BEGIN;
	cpu->fl = CALL_STUB(V(in->reg), NULL, V(in->rm));
	NEXT(1);
}

/* `p` is the operand: guest memory itself, or what has been loaded the slow way. */
#define WITH_OPERAND(BYTES, ACTION)							\
	do {										\
		if (slow) {								\
			const void *p = VHIT_READ(BYTES);			\
											\
			if (unlikely(!p))						\
				return slow(cpu, in);					\
			ACTION;								\
		} else {								\
			union vec v_;							\
			const void *p = &v_;						\
											\
			vec_load(cpu, in, &v_, BYTES, false);				\
			ACTION;								\
		}									\
	} while (0)

#define MEMORY_FORMS(BYTES)								\
VEC_HANDLER(vector_m##BYTES)								\
{											\
	AVX_BEGIN;									\
	WITH_OPERAND(BYTES, CALL_STUB(V(in->reg), V(in->cc), p));			\
	NEXT(1);									\
}											\
VEC_HANDLER(gpr_m##BYTES)								\
{											\
	AVX_BEGIN;									\
	WITH_OPERAND(BYTES, CALL_STUB(&cpu->gpr[in->reg], NULL, p));			\
	NEXT(1);									\
}											\
VEC_HANDLER(flags_m##BYTES)								\
{											\
	AVX_BEGIN;									\
	WITH_OPERAND(BYTES, cpu->fl = CALL_STUB(V(in->reg), NULL, p));			\
	NEXT(1);									\
}
MEMORY_FORMS(1)
MEMORY_FORMS(2)
MEMORY_FORMS(4)
MEMORY_FORMS(8)
MEMORY_FORMS(16)
MEMORY_FORMS(32)

#define BY_BYTES(name, twin)	{ name##_m1##twin, name##_m2##twin, name##_m4##twin, name##_m8##twin, name##_m16##twin, name##_m32##twin }
#define MEMORY_TABLE(name)	static insn_fn *const name##_m[2][6] = { BY_BYTES(name, ), BY_BYTES(name, _flat) };
MEMORY_TABLE(vector)
MEMORY_TABLE(gpr)
MEMORY_TABLE(flags)

/* ModRM.rm's operand. */
static enum x86_operand rm_operand(const struct x86_insn *x)
{
	const struct x86_opcode *row = &x86_opcodes[x->row];
	unsigned i = 0;

	while (i < X86_OPERANDS - 1 && (row->operand[i] < OP_E || row->operand[i] > OP_R))
		i++;
	return row->operand[i];
}

static unsigned rm_bytes(const struct x86_insn *x)
{
	return x86_operand_bytes(rm_operand(x), x->opsize);
}

static insn_fn *by_bytes(const struct x86_insn *x, const struct insn *in, insn_fn *const forms[2][6])
{
	return forms[vec_flat(in)][__builtin_ctz(rm_bytes(x))];
}

static insn_fn *form_vector(const struct x86_insn *x, struct insn *in)
{
	enum x86_operand o = rm_operand(x);

	if (in->mem)
		return by_bytes(x, in, vector_m);
	return o == OP_Ey || o == OP_EdMb || o == OP_EdMw ? vector_gpr : vector_r;
}

static insn_fn *form_gpr(const struct x86_insn *x, struct insn *in)
{
	return in->mem ? by_bytes(x, in, gpr_m) : gpr_r;
}

static insn_fn *form_flags(const struct x86_insn *x, struct insn *in)
{
	return in->mem ? by_bytes(x, in, flags_m) : flags_r;
}

static insn_fn *form_shift(const struct x86_insn *x, struct insn *in)
{
	(void)x;
	(void)in;
	return shift;
}

/* The destination is ModRM.rm. */
static insn_fn *form_store(const struct x86_insn *x, struct insn *in)
{
	in->reg = x->rm;
	in->rm = x->reg;
	return vector_r;
}

/* ---- stubs */

enum { IMM_STUB = 24 };

#define STUB(h, text)									\
__asm__(".pushsection .text\n\t.balign 16, 0xcc\nstub_" #h ":\n\t" text "\n\t.popsection");	\
extern const uint8_t stub_##h[] HIDDEN;

/* .org, too, refuses a text that is longer than its room. */
#define STUBS(h, text)									\
__asm__(".pushsection .text\n\t.balign 16, 0xcc\nstub_" #h ":\n\t.set imm_, 0\n\t.rept 256\n\t"	\
	text "\n\t.set imm_, imm_ + 1\n\t.org stub_" #h " + 24 * imm_, 0xcc\n\t.endr\n\t.popsection");	\
extern const uint8_t stub_##h[256][IMM_STUB] HIDDEN;

#define SELECT(h, form)									\
insn_fn *sel_##h(const struct x86_insn *x, struct insn *in)				\
{											\
	in->imm = (uintptr_t)stub_##h;							\
	return form(x, in);								\
}
#define SELECT_IMM(h, form)								\
insn_fn *sel_##h(const struct x86_insn *x, struct insn *in)				\
{											\
	in->imm = (uintptr_t)stub_##h[x->imm & 0xff];					\
	return form(x, in);								\
}

#define ROW(h, form, text)	STUB(h, text) SELECT(h, form)
#define ROW_IMM(h, form, text)	STUBS(h, text) SELECT_IMM(h, form)

/* Their parts, for XMM and YMM. */
#define VVVV_x	"vmovdqu (%rsi), %xmm0\n\t"
#define VVVV_y	"vmovdqu (%rsi), %ymm0\n\t"
#define RM_x	"vmovdqu (%rdx), %xmm1\n\t"
#define RM_y	"vmovdqu (%rdx), %ymm1\n\t"
#define END_x	"\n\tvmovdqu %ymm0, (%rdi)\n\tret"
#define END_y	"\n\tvmovdqu %ymm0, (%rdi)\n\tvzeroupper\n\tret"
#define END_GPR	"\n\tmovq %rax, (%rdi)\n\tret"
#define R_x	"%xmm"
#define R_y	"%ymm"

/* Two sources, of which the second may be memory, or is a register. */
#define THREE(h, mn, l)		ROW(h, form_vector, VVVV_##l mn " (%rdx), " R_##l "0, " R_##l "0" END_##l)
#define THREE_R(h, mn, form)	ROW(h, form, VVVV_x RM_x mn " %xmm1, %xmm0, %xmm0" END_x)
#define THREE_IMM(h, mn, l)	ROW_IMM(h, form_vector, VVVV_##l mn " $imm_, (%rdx), " R_##l "0, " R_##l "0" END_##l)
#define THREE_R_IMM(h, mn)	ROW_IMM(h, form_vector, VVVV_x RM_x mn " $imm_, %xmm1, %xmm0, %xmm0" END_x)
#define SHAPE_Vx_Hx_Wu(h, mn)		THREE(h, mn, x)
#define SHAPE_Vx_Hx_Wd(h, mn)		THREE(h, mn, x)
#define SHAPE_Vx_Hx_Wq(h, mn)		THREE(h, mn, x)
#define SHAPE_Vx_Hx_Mq(h, mn)		THREE(h, mn, x)
#define SHAPE_Vqq_Hqq_Wqq(h, mn)	THREE(h, mn, y)
#define SHAPE_Vqq_Hqq_Wu(h, mn)		THREE(h, mn, y)
#define SHAPE_Vx_Hx_Ux(h, mn)		THREE_R(h, mn, form_vector)
#define SHAPE_Ux_Hx_Vx(h, mn)		THREE_R(h, mn, form_store)
#define SHAPE_VI_Vx_Hx_Wu(h, mn)	THREE_IMM(h, mn, x)
#define SHAPE_VI_Vx_Hx_Wd(h, mn)	THREE_IMM(h, mn, x)
#define SHAPE_VI_Vx_Hx_Wq(h, mn)	THREE_IMM(h, mn, x)
#define SHAPE_VI_Vx_Hx_Md(h, mn)	THREE_IMM(h, mn, x)
#define SHAPE_VI_Vx_Hx_EdMb(h, mn)	THREE_IMM(h, mn, x)
#define SHAPE_VI_Vx_Hx_EdMw(h, mn)	THREE_IMM(h, mn, x)
#define SHAPE_VI_Vqq_Hqq_Wqq(h, mn)	THREE_IMM(h, mn, y)
#define SHAPE_VI_Vqq_Hqq_Wu(h, mn)	THREE_IMM(h, mn, y)
#define SHAPE_VI_Vx_Hx_Ux(h, mn)	THREE_R_IMM(h, mn)

/* The destination is a source too. */
#define ADDEND(h, mn, l)										\
	ROW(h, form_vector, "vmovdqu (%rdi), " R_##l "0\n\tvmovdqu (%rsi), " R_##l "1\n\t"		\
	    mn " (%rdx), " R_##l "1, " R_##l "0" END_##l)
#define SHAPE_VA_Vx_Hx_Wu(h, mn)	ADDEND(h, mn, x)
#define SHAPE_VA_Vx_Hx_Wd(h, mn)	ADDEND(h, mn, x)
#define SHAPE_VA_Vx_Hx_Wq(h, mn)	ADDEND(h, mn, x)
#define SHAPE_VA_Vqq_Hqq_Wqq(h, mn)	ADDEND(h, mn, y)

/* One source: as large as the destination, or by way of a register where its size would have to be spelled. */
#define TWO(h, mn, l)		ROW(h, form_vector, mn " (%rdx), " R_##l "0" END_##l)
#define TWO_R(h, mn, l, from)	ROW(h, form_vector, RM_##from mn " " R_##from "1, " R_##l "0" END_##from)
#define TWO_IMM(h, mn, l)	ROW_IMM(h, form_vector, mn " $imm_, (%rdx), " R_##l "0" END_##l)
#define SHAPE_Vx_Wu__(h, mn)		TWO_R(h, mn, x, x)
#define SHAPE_Vx_Wqq__(h, mn)		TWO_R(h, mn, x, y)
#define SHAPE_Vqq_Wqq__(h, mn)		TWO(h, mn, y)
#define SHAPE_Vqq_Wu__(h, mn)		TWO(h, mn, y)
#define SHAPE_Vqq_Wq__(h, mn)		TWO(h, mn, y)
#define SHAPE_Vqq_Wd__(h, mn)		TWO(h, mn, y)
#define SHAPE_Vqq_Ww__(h, mn)		TWO(h, mn, y)
#define SHAPE_Vqq_Wb__(h, mn)		TWO(h, mn, y)
#define SHAPE_Vqq_Mu__(h, mn)		TWO(h, mn, y)
#define SHAPE_Vqq_Mq__(h, mn)		TWO(h, mn, y)
#define SHAPE_Vqq_Md__(h, mn)		TWO(h, mn, y)
#define SHAPE_Vqq_Ux__(h, mn)		TWO(h, mn, y)
#define SHAPE_Vx_Wq__(h, mn)		TWO(h, mn, x)
#define SHAPE_Vx_Wd__(h, mn)		TWO(h, mn, x)
#define SHAPE_Vx_Ww__(h, mn)		TWO(h, mn, x)
#define SHAPE_Vx_Wb__(h, mn)		TWO(h, mn, x)
#define SHAPE_Vx_Md__(h, mn)		TWO(h, mn, x)
#define SHAPE_Vx_Ux__(h, mn)		TWO(h, mn, x)
#define SHAPE_Vx_Wu_Ib(h, mn)		TWO_IMM(h, mn, x)
#define SHAPE_Vqq_Wqq_Ib(h, mn)		TWO_IMM(h, mn, y)

/* Shifts by an immediate. */
#define SHIFT(h, mn, l)		ROW_IMM(h, form_shift, RM_##l mn " $imm_, " R_##l "1, " R_##l "0" END_##l)
#define SHAPE_Hx_Ux_Ib(h, mn)		SHIFT(h, mn, x)
#define SHAPE_Hqq_Uqq_Ib(h, mn)		SHIFT(h, mn, y)

/* To general registers. */
#define SHAPE_Gy_Ux__(h, mn)		ROW(h, form_gpr, RM_x mn " %xmm1, %eax" END_GPR)
#define SHAPE_Gy_Uqq__(h, mn)		ROW(h, form_gpr, RM_y mn " %ymm1, %eax\n\tvzeroupper" END_GPR)
#define SHAPE_Gy_Ux_Ib(h, mn)		ROW_IMM(h, form_gpr, RM_x mn " $imm_, %xmm1, %eax" END_GPR)

/* By VEX.W: of 32 or 64 bits. */
#define SELECT_W(h, form, STUB_32, STUB_64)						\
insn_fn *sel_##h(const struct x86_insn *x, struct insn *in)				\
{											\
	in->imm = x->opsize == 8 ? (uintptr_t)STUB_64 : (uintptr_t)STUB_32;		\
	return form(x, in);								\
}
#define TO_INTEGER(h, mn)								\
	STUB(h##_32, mn " (%rdx), %eax" END_GPR) STUB(h##_64, mn " (%rdx), %rax" END_GPR)	\
	SELECT_W(h, form_gpr, stub_##h##_32, stub_##h##_64)
#define SHAPE_Gy_Wd__(h, mn)		TO_INTEGER(h, mn)
#define SHAPE_Gy_Wq__(h, mn)		TO_INTEGER(h, mn)
#define SHAPE_Vx_Hx_Ey(h, mn)								\
	STUB(h##_32, VVVV_x mn "l (%rdx), %xmm0, %xmm0" END_x)				\
	STUB(h##_64, VVVV_x mn "q (%rdx), %xmm0, %xmm0" END_x)				\
	SELECT_W(h, form_vector, stub_##h##_32, stub_##h##_64)
#define SHAPE_VI_Vx_Hx_Ey(h, mn)							\
	STUBS(h##_32, VVVV_x "vpinsrd $imm_, (%rdx), %xmm0, %xmm0" END_x)		\
	STUBS(h##_64, VVVV_x "vpinsrq $imm_, (%rdx), %xmm0, %xmm0" END_x)		\
	SELECT_W(h, form_vector, stub_##h##_32[x->imm & 0xff], stub_##h##_64[x->imm & 0xff])

/* Flags: as LAHF and SETO give them. */
#define FLAGS(h, mn, l, END)								\
	ROW(h, form_flags, "vmovdqu (%rdi), " R_##l "0\n\t" mn " (%rdx), " R_##l "0\n\tlahf\n\tseto %al\n\t" END "ret")
#define SHAPE_VF_Vx_Wd__(h, mn)		FLAGS(h, mn, x, "")
#define SHAPE_VF_Vx_Wq__(h, mn)		FLAGS(h, mn, x, "")
#define SHAPE_VF_Vx_Wu__(h, mn)		FLAGS(h, mn, x, "")
#define SHAPE_VF_Vqq_Wqq__(h, mn)	FLAGS(h, mn, y, "vzeroupper\n\t")

/* A fourth register, named by the immediate: handlers of its own, since in->imm has its number. */
#define SELECTED(h, mn, l, BYTES)							\
STUB(h, VVVV_##l "vmovdqu (%rcx), " R_##l "1\n\t" mn " " R_##l "1, (%rdx), " R_##l "0, " R_##l "0" END_##l)	\
HANDLER(h##_r)										\
{											\
	AVX_BEGIN;									\
	((avx_fn *)(uintptr_t)stub_##h)(V(in->reg), V(in->cc), V(in->rm), V(in->imm >> 4));	\
	NEXT(1);									\
}											\
VEC_HANDLER(h##_m)									\
{											\
	AVX_BEGIN;									\
	WITH_OPERAND(BYTES, ((avx_fn *)(uintptr_t)stub_##h)(V(in->reg), V(in->cc), p, V(in->imm >> 4)));	\
	NEXT(1);									\
}											\
insn_fn *sel_##h(const struct x86_insn *x, struct insn *in)				\
{											\
	(void)x;									\
	return in->mem ? VEC(h##_m) : h##_r;							\
}
#define SHAPE_VL_Vx_Hx_Wu(h, mn)	SELECTED(h, mn, x, 16)
#define SHAPE_VL_Vqq_Hqq_Wqq(h, mn)	SELECTED(h, mn, y, 32)

/* To memory, which must be known to be there before the exceptions of the conversion are. */
#define CONVERT_STORE(BYTES)								\
VEC_HANDLER(convert_store##BYTES)							\
{											\
	union vec v;									\
											\
	AVX_BEGIN;									\
	if (slow) {									\
		void *p = VHIT_WRITE(BYTES);				\
											\
		if (unlikely(!p))							\
			return slow(cpu, in);						\
		CALL_STUB(&v, NULL, V(in->reg));					\
		memcpy(p, &v, BYTES);							\
	} else {									\
		struct mmu_held held;							\
											\
		vec_probe_store(cpu, in, BYTES, false, &held);				\
		CALL_STUB(&v, NULL, V(in->reg));					\
		mmu_held_store(cpu, &held, &v);						\
	}										\
	NEXT(1);									\
}
CONVERT_STORE(8)
CONVERT_STORE(16)

static insn_fn *form_convert(const struct x86_insn *x, struct insn *in)
{
	return !in->mem ? form_store(x, in) : rm_bytes(x) == 8 ? VEC(convert_store8) : VEC(convert_store16);
}
#define SHAPE_Wq_Vx_Ib(h, mn)		ROW_IMM(h, form_convert, RM_x mn " $imm_, %xmm1, %xmm0" END_x)
#define SHAPE_Wu_Vqq_Ib(h, mn)		ROW_IMM(h, form_convert, RM_y mn " $imm_, %ymm1, %xmm0" END_y)

/* ---- moves: what is not written of a register is cleared */

static inline void set_low(union vec *to, const void *from, unsigned bytes)
{
	union vec v = { .q = { 0 } };

	memcpy(&v, from, bytes);
	*to = v;
}

#define MOVES(BYTES)									\
HANDLER(move##BYTES##_load)								\
{											\
	AVX_BEGIN;									\
	set_low(V(in->reg), V(in->rm), BYTES);						\
	NEXT(1);									\
}											\
HANDLER(move##BYTES##_store)								\
{											\
	AVX_BEGIN;									\
	set_low(V(in->rm), V(in->reg), BYTES);						\
	NEXT(1);									\
}
MOVES(8)
MOVES(16)
MOVES(32)

#define MOVE_MEMORY(name, BYTES, ALIGNED)						\
VEC_HANDLER(load##name)									\
{											\
	AVX_BEGIN;									\
	if (slow) {									\
		const void *p = VHIT_READ(BYTES);			\
											\
		if (unlikely(!p || ((ALIGNED) && ((uintptr_t)p & ((BYTES) - 1)))))	\
			return slow(cpu, in);						\
		set_low(V(in->reg), p, BYTES);						\
	} else {									\
		union vec v;								\
											\
		vec_load(cpu, in, &v, BYTES, ALIGNED);					\
		set_low(V(in->reg), &v, BYTES);						\
	}										\
	NEXT(1);									\
}											\
VEC_HANDLER(store##name)								\
{											\
	AVX_BEGIN;									\
	VSTORE(BYTES, ALIGNED, V(in->reg)->b);						\
	NEXT(1);									\
}
MOVE_MEMORY(4, 4, false)
MOVE_MEMORY(8, 8, false)
MOVE_MEMORY(16, 16, false)
MOVE_MEMORY(32, 32, false)
MOVE_MEMORY(16_aligned, 16, true)
MOVE_MEMORY(32_aligned, 32, true)

VEC_HANDLER(store_hi)
{
	AVX_BEGIN;
	VSTORE(8, false, &V(in->reg)->q[1]);
	NEXT(1);
}

static bool rm_aligned(const struct x86_insn *x)
{
	enum x86_operand o = rm_operand(x);

	return o == OP_Wx || o == OP_Mx || o == OP_Wqa || o == OP_Mqa;
}

#define BY_SIZE(name)									\
	switch (rm_bytes(x)) {								\
	case 4: return VEC(name##4);							\
	case 8: return VEC(name##8);							\
	case 16: return rm_aligned(x) ? VEC(name##16_aligned) : VEC(name##16);			\
	default: return rm_aligned(x) ? VEC(name##32_aligned) : VEC(name##32);			\
	}

insn_fn *sel_avx_load(const struct x86_insn *x, struct insn *in)
{
	if (!in->mem)
		return rm_bytes(x) == 8 ? move8_load : rm_bytes(x) == 16 ? move16_load : move32_load;
	BY_SIZE(load)
}

insn_fn *sel_avx_store(const struct x86_insn *x, struct insn *in)
{
	if (!in->mem)
		return rm_bytes(x) == 8 ? move8_store : rm_bytes(x) == 16 ? move16_store : move32_store;
	BY_SIZE(store)
}

insn_fn *sel_avx_store_hi(const struct x86_insn *x, struct insn *in)
{
	(void)x;
	return VEC(store_hi);
}

HANDLER(from_gpr32)
{
	AVX_BEGIN;
	*V(in->reg) = (union vec){ .q = { cpu->gpr[in->rm].d } };
	NEXT(1);
}
HANDLER(from_gpr64)
{
	AVX_BEGIN;
	*V(in->reg) = (union vec){ .q = { cpu->gpr[in->rm].q } };
	NEXT(1);
}
insn_fn *sel_avx_from_gpr(const struct x86_insn *x, struct insn *in)
{
	if (in->mem)
		return x->opsize == 8 ? VEC(load8) : VEC(load4);
	return x->opsize == 8 ? from_gpr64 : from_gpr32;
}

/* ---- parts of registers */

#define PART(name, BYTES, PLACE)							\
HANDLER(name##_r)									\
{											\
	AVX_BEGIN;									\
	cpu->gpr[in->rm].q = V(in->reg)->PLACE;						\
	NEXT(1);									\
}											\
VEC_HANDLER(name##_m)									\
{											\
	AVX_BEGIN;									\
	VSTORE(BYTES, false, &V(in->reg)->PLACE);					\
	NEXT(1);									\
}
PART(low32, 4, d[0])
PART(low64, 8, q[0])
PART(extract8, 1, b[in->imm & 15])
PART(extract16, 2, w[in->imm & 7])
PART(extract32, 4, d[in->imm & 3])
PART(extract64, 8, q[in->imm & 1])

#define SELECT_PART(h, EXPR32, EXPR64)							\
insn_fn *sel_##h(const struct x86_insn *x, struct insn *in)				\
{											\
	if (x->opsize == 8)								\
		return in->mem ? VEC(EXPR64##_m) : EXPR64##_r;				\
	return in->mem ? VEC(EXPR32##_m) : EXPR32##_r;					\
}
SELECT_PART(avx_to_gpr, low32, low64)
SELECT_PART(vpextrb, extract8, extract8)
SELECT_PART(vpextrw_m, extract16, extract16)
SELECT_PART(vpextrd, extract32, extract64)
SELECT_PART(vextractps, extract32, extract32)

HANDLER(extract128_r)
{
	AVX_BEGIN;
	set_low(V(in->rm), &V(in->reg)->q[2 * (in->imm & 1)], 16);
	NEXT(1);
}
VEC_HANDLER(extract128_m)
{
	AVX_BEGIN;
	VSTORE(16, false, &V(in->reg)->q[2 * (in->imm & 1)]);
	NEXT(1);
}
insn_fn *sel_vextract128(const struct x86_insn *x, struct insn *in)
{
	(void)x;
	return in->mem ? VEC(extract128_m) : extract128_r;
}

static void zero(struct cpu *cpu, const struct insn *in, unsigned from)
{
	avx_enter(cpu, NULL);
	for (unsigned i = 0; i < (in->code64 ? 16 : 8); i++)
		memset(V(i)->b + from, 0, sizeof(union vec) - from);
}

void op_vzeroupper(struct cpu *cpu, const struct insn *in)
{
	zero(cpu, in, 16);
}

void op_vzeroall(struct cpu *cpu, const struct insn *in)
{
	zero(cpu, in, 0);
}

/* ---- memory by a mask: elements whose mask has its top bit set */

static unsigned row_bytes(const struct insn *in)
{
	return x86_opcodes[in->row].properties & P_L1 ? 32 : 16;
}

static bool masked_in(const union vec *mask, unsigned i, unsigned size)
{
	return mask->b[i * size + size - 1] >> 7;
}

static void load_element(struct cpu *cpu, const struct insn *in, union vec *to, unsigned i, unsigned size, uint64_t ea)
{
	if (size == 4)
		to->d[i] = ld32(cpu, in->seg, ea);
	else
		to->q[i] = ld64(cpu, in->seg, ea);
}

static void load_masked(struct cpu *cpu, const struct insn *in, unsigned size)
{
	union vec v = { .q = { 0 } };

	avx_enter(cpu, NULL);
	for (unsigned i = 0; i < row_bytes(in) / size; i++)
		if (masked_in(V(in->cc), i, size))
			load_element(cpu, in, &v, i, size, insn_ea(cpu, in) + i * size);
	*V(in->reg) = v;
}

void op_load_masked32(struct cpu *cpu, const struct insn *in)
{
	load_masked(cpu, in, 4);
}

void op_load_masked64(struct cpu *cpu, const struct insn *in)
{
	load_masked(cpu, in, 8);
}

/* Where something may fault or be a device's: everything is probed before anything is stored, and devices go first. */
static void store_masked_slow(struct cpu *cpu, const struct insn *in, unsigned size)
{
	const union vec *v = V(in->reg), *mask = V(in->cc);
	unsigned n = row_bytes(in) / size;
	struct mmu_held held[8];

	for (unsigned i = 0; i < n; i++)
		if (masked_in(mask, i, size))
			mmu_probe_write(cpu, mmu_linear(cpu, in->seg, insn_ea(cpu, in) + i * size, size, true), size, &held[i]);
	for (int device = 1; device >= 0; device--)
		for (unsigned i = 0; i < n; i++)
			if (masked_in(mask, i, size) && mmu_held_is_mmio(&held[i]) == device)
				mmu_held_store(cpu, &held[i], v->b + i * size);
}

static void store_masked(struct cpu *cpu, const struct insn *in, unsigned size)
{
	uint8_t *to;

	avx_enter(cpu, NULL);
	to = hit_write(cpu, in->seg, insn_ea(cpu, in), row_bytes(in));
	if (!to)
		return store_masked_slow(cpu, in, size);
	for (unsigned i = 0; i < row_bytes(in) / size; i++)
		if (masked_in(V(in->cc), i, size))
			memcpy(to + i * size, V(in->reg)->b + i * size, size);
}

void op_store_masked32(struct cpu *cpu, const struct insn *in)
{
	store_masked(cpu, in, 4);
}

void op_store_masked64(struct cpu *cpu, const struct insn *in)
{
	store_masked(cpu, in, 8);
}

void op_vmaskmovdqu(struct cpu *cpu, const struct insn *in)
{
	avx_enter(cpu, NULL);
	vec_store_bytes(cpu, in, V(in->reg)->b, V(in->rm)->b, 16);
}

/* ---- gathers */

struct gather {
	unsigned n, size, index_size;	/* elements; bytes of one, and of an index */
	union vec to, mask;
};

static uint64_t gather_ea(const struct cpu *cpu, const struct insn *in, const struct gather *g, unsigned i)
{
	const union vec *v = V(in->index);
	int64_t index = g->index_size == 4 ? (int32_t)v->d[i] : (int64_t)v->q[i];

	return ip_mask(in->adsize, cpu->gpr[in->rm].q + ((uint64_t)index << in->scale) + (int64_t)in->disp);
}

static void clear_mask(struct gather *g, unsigned i)
{
	if (g->size == 4)
		g->mask.d[i] = 0;
	else
		g->mask.q[i] = 0;
}

/*
 * An element that may fault.  For a fault the ones before it are done: their
 * values and masks are in the registers, and the instruction goes on with this
 * one.  For a wait none is: it begins anew, and takes from the log what devices
 * have answered.
 */
static void gather_slow(struct cpu *cpu, const struct insn *in, struct gather *g, unsigned i, uint64_t ea)
{
	const union vec to = *V(in->reg), mask = *V(in->cc);
	struct mmu_held held;
	uint64_t lin;

	*V(in->reg) = g->to;
	*V(in->cc) = g->mask;
	lin = mmu_linear(cpu, in->seg, ea, g->size, false);
	mmu_check_alignment(cpu, lin, g->size);
	mmu_probe_read(cpu, lin, g->size, &held);
	*V(in->reg) = to;
	*V(in->cc) = mask;
	mmu_held_load(cpu, &held, g->to.b + i * g->size);
}

static void gather_element(struct cpu *cpu, const struct insn *in, struct gather *g, unsigned i)
{
	uint64_t ea = gather_ea(cpu, in, g, i);
	const void *p = hit_read(cpu, in->seg, ea, g->size);

	if (p)
		memcpy(g->to.b + i * g->size, p, g->size);
	else
		gather_slow(cpu, in, g, i, ea);
}

/* Rows: an even opcode has indices of 32 bits, W elements of 64. */
void op_gather(struct cpu *cpu, const struct insn *in)
{
	const struct x86_opcode *row = &x86_opcodes[in->row];
	struct gather g = { .size = row->properties & P_W1 ? 8 : 4, .index_size = row->opcode & 1 ? 8 : 4 };

	avx_enter(cpu, NULL);
	g.n = row_bytes(in) / (g.size > g.index_size ? g.size : g.index_size);
	g.to = *V(in->reg);
	g.mask = *V(in->cc);
	for (unsigned i = 0; i < g.n; i++) {
		if (masked_in(&g.mask, i, g.size))
			gather_element(cpu, in, &g, i);
		clear_mask(&g, i);
	}
	set_low(V(in->reg), &g.to, g.n * g.size);
	*V(in->cc) = (union vec){ .q = { 0 } };
}

/* ---- the rows */

#define GENERATE_P(h, mn, a, b, c)
#define GENERATE_F(h, mn, a, b, c)
#define GENERATE_V(h, mn, a, b, c)	SHAPE_##a##_##b##_##c(h, mn)
#define GENERATE_VI(h, mn, a, b, c)	SHAPE_VI_##a##_##b##_##c(h, mn)
#define GENERATE_VL(h, mn, a, b, c)	SHAPE_VL_##a##_##b##_##c(h, mn)
#define GENERATE_VA(h, mn, a, b, c)	SHAPE_VA_##a##_##b##_##c(h, mn)
#define GENERATE_VF(h, mn, a, b, c)	SHAPE_VF_##a##_##b##_##c(h, mn)
#define X(map, op, ext, pfx, kind, mn, h, a, b, c, r, w, u, p, t) GENERATE_##kind(h, #mn, a, b, c)
#include "vmm/x86/opcodes_avx.def"
#undef X
