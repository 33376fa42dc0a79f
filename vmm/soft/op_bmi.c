/*
 * vmm/soft/op_bmi.c - LZCNT, BMI1 and BMI2: bit manipulation on general
 * registers, mostly of three operands by VEX.  SDM vol. 2 under each mnemonic.
 *
 * insn.cc is VEX.vvvv.
 */
#include "vmm/soft/thread.h"
#include "vmm/x86/exception.h"

/* VEX is no prefix in real and virtual-8086 mode. */
#define VEX_BEGIN								\
	do {									\
		cpu->insn = in;							\
		if (unlikely(!cpu->pe || cpu->v86))				\
			cpu_fault(cpu, X86_UD, 0);				\
	} while (0)

static inline uint64_t masked(uint64_t v, unsigned bits)
{
	return bits == 64 ? v : (uint32_t)v;
}

/* Of a result; CF apart.  OF is clear; AF and PF are undefined. */
static inline uint16_t result_flags(uint64_t v, unsigned bits, bool carry)
{
	return (v ? 0 : FL_ZF) | (v >> (bits - 1) & 1 ? FL_SF : 0) | (carry ? FL_CF : 0);
}

/*
 * NAME: `src` is ModRM.rm's operand and `vex` VEX.vvvv's, both of `bits` bits;
 * DEST gets the value, and FLAGS, in terms of it as `v`, the flags.
 */
#define BIT_OPERATION(name, DEST, VALUE, FLAGS)							\
static inline void name##_do(struct cpu *cpu, const struct insn *in, uint64_t src, unsigned bits)	\
{												\
	uint64_t vex = masked(cpu->gpr[in->cc].q, bits), v;					\
												\
	(void)vex;										\
	v = masked(VALUE, bits);								\
	FLAGS;											\
	cpu->gpr[DEST].q = v;									\
}												\
HANDLER(name##32_r)										\
{												\
	VEX_BEGIN;										\
	name##_do(cpu, in, cpu->gpr[in->rm].d, 32);						\
	NEXT(1);										\
}												\
HANDLER(name##64_r)										\
{												\
	VEX_BEGIN;										\
	name##_do(cpu, in, cpu->gpr[in->rm].q, 64);						\
	NEXT(1);										\
}												\
MEM_HANDLER(name##32_m)										\
{												\
	uint32_t src;										\
												\
	VEX_BEGIN;										\
	LOAD(32, src, in->seg, insn_ea(cpu, in));						\
	name##_do(cpu, in, src, 32);								\
	NEXT(1);										\
}												\
MEM_HANDLER(name##64_m)										\
{												\
	uint64_t src;										\
												\
	VEX_BEGIN;										\
	LOAD(64, src, in->seg, insn_ea(cpu, in));						\
	name##_do(cpu, in, src, 64);								\
	NEXT(1);										\
}												\
insn_fn *sel_##name(const struct x86_insn *x, struct insn *in)					\
{												\
	(void)x;										\
	if (in->opsize == 8)									\
		return in->mem ? name##64_m : name##64_r;					\
	return in->mem ? name##32_m : name##32_r;						\
}

#define FLAGS_OF(CARRY)	cpu->fl = result_flags(v, bits, CARRY)
#define NO_FLAGS	do { } while (0)

static uint64_t extract_bits(uint64_t src, unsigned start, unsigned len)
{
	src = start > 63 ? 0 : src >> start;
	return len > 63 ? src : src & ((1ull << len) - 1);
}

static uint64_t zero_above(uint64_t src, unsigned from)
{
	return from > 63 ? src : src & ((1ull << from) - 1);
}

static uint64_t rotate_right(uint64_t v, unsigned n, unsigned bits)
{
	n &= bits - 1;
	return n ? v >> n | v << (bits - n) : v;
}

static uint64_t shift_arithmetic(uint64_t v, unsigned n, unsigned bits)
{
	return bits == 64 ? (uint64_t)((int64_t)v >> (n & 63)) : (uint32_t)((int32_t)v >> (n & 31));
}

static uint64_t deposit(uint64_t v, uint64_t mask)
{
	__asm__("pdepq %1, %0, %0" : "+r"(v) : "r"(mask));
	return v;
}

static uint64_t gather(uint64_t v, uint64_t mask)
{
	__asm__("pextq %1, %0, %0" : "+r"(v) : "r"(mask));
	return v;
}

BIT_OPERATION(andn, in->reg, ~vex & src, FLAGS_OF(false))
BIT_OPERATION(blsr, in->cc, src & (src - 1), FLAGS_OF(src == 0))
BIT_OPERATION(blsmsk, in->cc, src ^ (src - 1), FLAGS_OF(src == 0))
BIT_OPERATION(blsi, in->cc, src & -src, FLAGS_OF(src != 0))
BIT_OPERATION(bextr, in->reg, extract_bits(src, vex & 0xff, vex >> 8 & 0xff), FLAGS_OF(false))
BIT_OPERATION(bzhi, in->reg, zero_above(src, vex & 0xff), FLAGS_OF((vex & 0xff) >= bits))
BIT_OPERATION(pdep, in->reg, deposit(vex, src), NO_FLAGS)
BIT_OPERATION(pext, in->reg, gather(vex, src), NO_FLAGS)
BIT_OPERATION(sarx, in->reg, shift_arithmetic(src, vex, bits), NO_FLAGS)
BIT_OPERATION(shlx, in->reg, src << (vex & (bits - 1)), NO_FLAGS)
BIT_OPERATION(shrx, in->reg, src >> (vex & (bits - 1)), NO_FLAGS)
BIT_OPERATION(rorx, in->reg, rotate_right(src, in->imm, bits), NO_FLAGS)

/* The lower half first: where both halves go to one register it has the upper one. */
static uint64_t multiply(struct cpu *cpu, const struct insn *in, uint64_t src, unsigned bits)
{
	unsigned __int128 product = (unsigned __int128)src * masked(cpu->gpr[X86_RDX].q, bits);

	cpu->gpr[in->cc].q = masked((uint64_t)product, bits);
	return (uint64_t)(product >> bits);
}
BIT_OPERATION(mulx, in->reg, multiply(cpu, in, src, bits), NO_FLAGS)

/* ---- LZCNT, TZCNT: no VEX, and 16 bits too */

#define COUNT_ZEROS(name, W, COUNT)								\
static inline void name##W##_do(struct cpu *cpu, const struct insn *in, uint##W##_t v)		\
{												\
	unsigned n = v ? COUNT : W;								\
												\
	cpu->fl = (n ? 0 : FL_ZF) | (v ? 0 : FL_CF);						\
	gpr_write(cpu, in->reg, W / 8, n);							\
}												\
HANDLER(name##W##_r)										\
{												\
	name##W##_do(cpu, in, cpu->gpr[in->rm].q);						\
	NEXT(1);										\
}												\
MEM_HANDLER(name##W##_m)									\
{												\
	uint##W##_t v;										\
												\
	LOAD(W, v, in->seg, insn_ea(cpu, in));							\
	name##W##_do(cpu, in, v);								\
	NEXT(1);										\
}
#define SELECT_COUNT(name)									\
insn_fn *sel_##name(const struct x86_insn *x, struct insn *in)					\
{												\
	(void)x;										\
	if (in->opsize == 8)									\
		return in->mem ? name##64_m : name##64_r;					\
	if (in->opsize == 4)									\
		return in->mem ? name##32_m : name##32_r;					\
	return in->mem ? name##16_m : name##16_r;						\
}
COUNT_ZEROS(lzcnt, 16, (unsigned)__builtin_clz(v) - 16)
COUNT_ZEROS(lzcnt, 32, (unsigned)__builtin_clz(v))
COUNT_ZEROS(lzcnt, 64, (unsigned)__builtin_clzll(v))
COUNT_ZEROS(tzcnt, 16, (unsigned)__builtin_ctz(v))
COUNT_ZEROS(tzcnt, 32, (unsigned)__builtin_ctz(v))
COUNT_ZEROS(tzcnt, 64, (unsigned)__builtin_ctzll(v))
SELECT_COUNT(lzcnt)
SELECT_COUNT(tzcnt)
