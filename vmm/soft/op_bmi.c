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

/*
 * The host's own instruction between the guest's flags, so that undefined ones
 * are what this processor makes of them.
 */
#define WITH_FLAGS(insn)	"addb $127, %%al\n\tsahf\n\t" insn "\n\tlahf\n\tseto %%al"
#define FLAGGED(name, insn32, insn64)									\
static inline uint64_t host_##name(uint16_t *fl, uint64_t src, uint64_t vex, unsigned bits)		\
{													\
	uint16_t f = *fl;										\
	uint64_t v;											\
													\
	if (bits == 64)											\
		__asm__(WITH_FLAGS(insn64) : "+&a"(f), "=&r"(v) : "r"(src), "r"(vex) : "cc");		\
	else												\
		__asm__(WITH_FLAGS(insn32) : "+&a"(f), "=&r"(v) : "r"(src), "r"(vex) : "cc");		\
	*fl = f;											\
	return v;											\
}
FLAGGED(andn, "andnl %k2, %k3, %k1", "andnq %2, %3, %1")
FLAGGED(blsr, "blsrl %k2, %k1", "blsrq %2, %1")
FLAGGED(blsmsk, "blsmskl %k2, %k1", "blsmskq %2, %1")
FLAGGED(blsi, "blsil %k2, %k1", "blsiq %2, %1")
FLAGGED(bextr, "bextrl %k3, %k2, %k1", "bextrq %3, %2, %1")
FLAGGED(bzhi, "bzhil %k3, %k2, %k1", "bzhiq %3, %2, %1")
#undef FLAGGED

/*
 * NAME: `src` is ModRM.rm's operand and `vex` VEX.vvvv's, both of `bits` bits;
 * DEST gets the value.
 */
#define BIT_OPERATION(name, DEST, VALUE)							\
static inline void name##_do(struct cpu *cpu, const struct insn *in, uint64_t src, unsigned bits)	\
{												\
	uint64_t vex = masked(cpu->gpr[in->cc].q, bits), v;					\
												\
	(void)vex;										\
	v = masked(VALUE, bits);								\
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

#define BY_HOST(name)	host_##name(&cpu->fl, src, vex, bits)
BIT_OPERATION(andn, in->reg, BY_HOST(andn))
BIT_OPERATION(blsr, in->cc, BY_HOST(blsr))
BIT_OPERATION(blsmsk, in->cc, BY_HOST(blsmsk))
BIT_OPERATION(blsi, in->cc, BY_HOST(blsi))
BIT_OPERATION(bextr, in->reg, BY_HOST(bextr))
BIT_OPERATION(bzhi, in->reg, BY_HOST(bzhi))
BIT_OPERATION(pdep, in->reg, deposit(vex, src))
BIT_OPERATION(pext, in->reg, gather(vex, src))
BIT_OPERATION(sarx, in->reg, shift_arithmetic(src, vex, bits))
BIT_OPERATION(shlx, in->reg, src << (vex & (bits - 1)))
BIT_OPERATION(shrx, in->reg, src >> (vex & (bits - 1)))
BIT_OPERATION(rorx, in->reg, rotate_right(src, in->imm, bits))

/* The lower half first: where both halves go to one register it has the upper one. */
static uint64_t multiply(struct cpu *cpu, const struct insn *in, uint64_t src, unsigned bits)
{
	unsigned __int128 product = (unsigned __int128)src * masked(cpu->gpr[X86_RDX].q, bits);

	cpu->gpr[in->cc].q = masked((uint64_t)product, bits);
	return (uint64_t)(product >> bits);
}
BIT_OPERATION(mulx, in->reg, multiply(cpu, in, src, bits))

/* ---- LZCNT, TZCNT: no VEX, and 16 bits too */

#define COUNT_ZEROS(name, W, HOST)								\
static inline void name##W##_done(struct cpu *cpu, const struct insn *in, uint##W##_t v)	\
{												\
	uint16_t f = cpu->fl;									\
	uint##W##_t n;										\
												\
	__asm__(WITH_FLAGS(HOST " %2, %1") : "+&a"(f), "=&r"(n) : "r"(v) : "cc");		\
	cpu->fl = f;										\
	gpr_write(cpu, in->reg, W / 8, n);							\
}												\
READ_HANDLERS(name, W)
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
COUNT_ZEROS(lzcnt, 16, "lzcntw")
COUNT_ZEROS(lzcnt, 32, "lzcntl")
COUNT_ZEROS(lzcnt, 64, "lzcntq")
COUNT_ZEROS(tzcnt, 16, "tzcntw")
COUNT_ZEROS(tzcnt, 32, "tzcntl")
COUNT_ZEROS(tzcnt, 64, "tzcntq")
SELECT_COUNT(lzcnt)
SELECT_COUNT(tzcnt)
