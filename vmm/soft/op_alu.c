/*
 * vmm/soft/op_alu.c - ADD OR ADC SBB AND SUB XOR CMP TEST INC DEC NEG NOT,
 * and the exchanges with arithmetic: XADD, CMPXCHG, CMPXCHG8B.
 *
 * SDM vol. 2; the operations themselves are alu.h.
 */
#include "vmm/soft/alu.h"
#include "vmm/soft/forms.h"
#include "vmm/x86/exception.h"

#define EACH_BINARY(M)	M(add) M(or) M(adc) M(sbb) M(and) M(sub) M(xor)
#define EACH_COMPARE(M)	M(cmp) M(test)
#define EACH_UNARY(M)	M(inc) M(dec) M(neg) M(not)

#define BINARY_WIDTH(op, W)	BINARY_REG(op, W) EACH_EA(BINARY_MEM, op, W) BINARY_LOCKED(op, W)
#define BINARY(op)		EACH_WIDTH(BINARY_WIDTH, op) BINARY_TABLE(op) LOCKED_TABLE(op)			\
insn_fn *sel_##op(const struct x86_insn *x, struct insn *in)							\
{														\
	if (in->lock)												\
		return op##_locked[width_of(x)][is_imm(x86_opcodes[x->row].operand[1]) ? F_LOCK_I : F_LOCK_R];	\
	return op##_forms[width_of(x)][binary_form(x, in)];							\
}
EACH_BINARY(BINARY)

#define COMPARE_WIDTH(op, W)	COMPARE_REG(op, W) EACH_EA(COMPARE_MEM, op, W)
#define COMPARE(op)		EACH_WIDTH(COMPARE_WIDTH, op) BINARY_TABLE(op)					\
insn_fn *sel_##op(const struct x86_insn *x, struct insn *in)							\
{														\
	return op##_forms[width_of(x)][binary_form(x, in)];							\
}
EACH_COMPARE(COMPARE)

#define UNARY_WIDTH(op, W)	UNARY_REG(op, W) EACH_EA(UNARY_MEM, op, W) UNARY_LOCKED(op, W)
#define UNARY(op)		EACH_WIDTH(UNARY_WIDTH, op) UNARY_TABLE(op)					\
insn_fn *sel_##op(const struct x86_insn *x, struct insn *in)							\
{														\
	static insn_fn *const locked[WIDTHS] = { op##8_locked, op##16_locked, op##32_locked, op##64_locked };			\
														\
	return in->lock ? locked[width_of(x)] : op##_forms[width_of(x)][unary_form(in)];			\
}
EACH_UNARY(UNARY)

/* ---- XADD: the sum goes to the destination, its old value to the register */
#define XADD(W)										\
HANDLER(xadd##W##_r)									\
{											\
	uint##W##_t old = GET_##W(in->rm), add = GET_##W(in->reg);			\
	uint16_t fl;									\
	uint##W##_t sum = add_##W(old, add, &fl);					\
											\
	PUT_##W(in->reg, old);								\
	PUT_##W(in->rm, sum);								\
	cpu->fl = fl;									\
	NEXT(1);									\
}											\
HANDLER(xadd##W##_m)									\
{											\
	uint##W##_t add = GET_##W(in->reg), old;					\
	uint16_t fl = cpu->fl;								\
											\
	cpu->insn = in;									\
	RMW_LOCKED(W, ADDR_x, (old = v, add_##W(v, add, &fl)));				\
	PUT_##W(in->reg, old);								\
	cpu->fl = fl;									\
	NEXT(1);									\
}
XADD(8)
XADD(16)
XADD(32)
XADD(64)

insn_fn *sel_xadd(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[WIDTHS][2] = {
		{ xadd8_r, xadd8_m }, { xadd16_r, xadd16_m }, { xadd32_r, xadd32_m }, { xadd64_r, xadd64_m },
	};

	return forms[width_of(x)][in->mem];
}

/*
 * CMPXCHG writes the destination in any case (with its old value where it
 * differs), so the memory form always is a locked read-modify-write.
 */
#define CMPXCHG(W)									\
HANDLER(cmpxchg##W##_r)									\
{											\
	uint##W##_t old = GET_##W(in->rm), acc = GET_##W(0);				\
	uint16_t fl;									\
											\
	cmp_##W(acc, old, &fl);								\
	if (fl & FL_ZF)									\
		PUT_##W(in->rm, GET_##W(in->reg));					\
	else										\
		PUT_##W(0, old);							\
	cpu->fl = fl;									\
	NEXT(1);									\
}											\
HANDLER(cmpxchg##W##_m)									\
{											\
	uint##W##_t acc = GET_##W(0), old;						\
	uint16_t fl = cpu->fl;								\
											\
	cpu->insn = in;									\
	RMW_LOCKED(W, ADDR_x, (old = v, v == acc ? GET_##W(in->reg) : v));		\
	cmp_##W(acc, old, &fl);								\
	if (!(fl & FL_ZF))								\
		PUT_##W(0, old);							\
	cpu->fl = fl;									\
	NEXT(1);									\
}
CMPXCHG(8)
CMPXCHG(16)
CMPXCHG(32)
CMPXCHG(64)

insn_fn *sel_cmpxchg(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[WIDTHS][2] = {
		{ cmpxchg8_r, cmpxchg8_m }, { cmpxchg16_r, cmpxchg16_m }, { cmpxchg32_r, cmpxchg32_m },
		{ cmpxchg64_r, cmpxchg64_m },
	};

	return forms[width_of(x)][in->mem];
}

/* One host access: the operand is aligned and so within a page. */
static bool exchange16(void *host, uint64_t old[2], const uint64_t new[2])
{
	bool equal;

	__asm__ volatile("lock cmpxchg16b %1" : "=@ccz"(equal), "+m"(*(unsigned __int128 *)host), "+a"(old[0]), "+d"(old[1])
			 : "b"(new[0]), "c"(new[1]) : "memory");
	return equal;
}

static void cmpxchg16b(struct cpu *cpu, const struct insn *in)
{
	uint64_t old[2] = { cpu->gpr[X86_RAX].q, cpu->gpr[X86_RDX].q };
	const uint64_t new[2] = { cpu->gpr[X86_RBX].q, cpu->gpr[X86_RCX].q };
	uint64_t lin = mmu_linear(cpu, in->seg, insn_ea(cpu, in), 16, true), was[2];
	struct mmu_held held;
	bool equal;

	if (lin & 15)
		cpu_fault(cpu, X86_GP, 0);
	mmu_probe_write(cpu, lin, 16, &held);
	mmu_held_load(cpu, &held, was);
	equal = was[0] == old[0] && was[1] == old[1];
	if (held.part[0].host) {
		mmu_held_touch(cpu, &held);
		equal = exchange16(held.part[0].host, old, new);
	} else {
		mmu_held_store(cpu, &held, equal ? new : was);
		old[0] = was[0], old[1] = was[1];
	}
	if (equal) {
		cpu->fl |= FL_ZF;
		return;
	}
	cpu->fl &= ~FL_ZF;
	cpu->gpr[X86_RAX].q = old[0];
	cpu->gpr[X86_RDX].q = old[1];
}

void op_cmpxchg8b(struct cpu *cpu, const struct insn *in)
{
	uint64_t expected = (uint64_t)cpu->gpr[X86_RDX].d << 32 | cpu->gpr[X86_RAX].d;
	uint64_t desired = (uint64_t)cpu->gpr[X86_RCX].d << 32 | cpu->gpr[X86_RBX].d;
	uint64_t old;
	uint16_t fl = 0;

	if (in->opsize == 8) {
		cmpxchg16b(cpu, in);
		return;
	}
	RMW_LOCKED(64, insn_ea(cpu, in), (old = v, v == expected ? desired : v));
	(void)fl;
	if (old == expected) {
		cpu->fl |= FL_ZF;
		return;
	}
	cpu->fl &= ~FL_ZF;
	gpr_write(cpu, X86_RAX, 4, (uint32_t)old);
	gpr_write(cpu, X86_RDX, 4, old >> 32);
}
