/*
 * vmm/soft/op_misc.c - flag instructions, NOP, BOUND, UD2, SALC.  SDM vol. 2.
 */
#include "vmm/soft/thread.h"
#include "vmm/x86/exception.h"

#define SIMPLE(name, action)							\
HANDLER(thread_##name) { (void)cpu; action; NEXT(1); }				\
insn_fn *sel_##name(const struct x86_insn *x, struct insn *in)			\
{										\
	(void)x;								\
	(void)in;								\
	return thread_##name;							\
}
SIMPLE(nop, )
SIMPLE(clc, cpu->fl &= ~FL_CF)
SIMPLE(stc, cpu->fl |= FL_CF)
SIMPLE(cmc, cpu->fl ^= FL_CF)
SIMPLE(cld, cpu->rflags &= ~(uint64_t)X86_RFLAGS_DF)
SIMPLE(std, cpu->rflags |= X86_RFLAGS_DF)
SIMPLE(lahf, cpu->gpr[X86_RAX].b[1] = fl_to_rflags(cpu->fl) | X86_RFLAGS_FIXED)
SIMPLE(sahf, cpu->fl = (cpu->fl & FL_OF) | (fl_from_rflags(cpu->gpr[X86_RAX].b[1]) & ~FL_OF))

void op_salc(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	cpu->gpr[X86_RAX].b[0] = cpu->fl & FL_CF ? 0xff : 0;
}

void op_bound(struct cpu *cpu, const struct insn *in)
{
	uint64_t ea = insn_ea(cpu, in);
	int32_t index, lower, upper;

	if (in->opsize == 2) {
		index = cpu->gpr[in->reg].sw;
		lower = (int16_t)ld16(cpu, in->seg, ea);
		upper = (int16_t)ld16(cpu, in->seg, ip_mask(in->adsize, ea + 2));
	} else {
		index = cpu->gpr[in->reg].sd;
		lower = (int32_t)ld32(cpu, in->seg, ea);
		upper = (int32_t)ld32(cpu, in->seg, ip_mask(in->adsize, ea + 4));
	}
	if (index < lower || index > upper)
		cpu_fault(cpu, X86_BR, 0);
}

void op_ud2(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	cpu_fault(cpu, X86_UD, 0);
}
