/*
 * vmm/soft/stackptr.h - the stack pointer in the width that SS.B gives it.
 */
#ifndef CLEAVE_VMM_SOFT_STACKPTR_H
#define CLEAVE_VMM_SOFT_STACKPTR_H

#include "vmm/soft/insn.h"

/* For handlers specialised by stack size. */
#define SP_16(by)	((uint16_t)(cpu->gpr[X86_RSP].w + (by)))
#define SP_32(by)	((uint32_t)(cpu->gpr[X86_RSP].d + (by)))
#define SP_64(by)	(cpu->gpr[X86_RSP].q + (by))
#define BP_16		(cpu->gpr[X86_RBP].w)
#define BP_32		(cpu->gpr[X86_RBP].d)
#define BP_64		(cpu->gpr[X86_RBP].q)
#define SET_SP_16(to)	(cpu->gpr[X86_RSP].w = (to))
#define SET_SP_32(to)	(cpu->gpr[X86_RSP].q = (uint32_t)(to))
#define SET_SP_64(to)	(cpu->gpr[X86_RSP].q = (to))
#define ADD_SP_16(by)	SET_SP_16(SP_16(by))
#define ADD_SP_32(by)	SET_SP_32(SP_32(by))
#define ADD_SP_64(by)	SET_SP_64(SP_64(by))
#define STACK_16	X86_SS
#define STACK_32	X86_SS
#define STACK_64	SEG_FLAT_SS

enum stack_width { STACK16, STACK32, STACK64, STACKS };

static inline enum stack_width stack_width(const struct insn *in)
{
	return in->code64 ? STACK64 : in->stack32 ? STACK32 : STACK16;
}

/* For the others. */
static inline uint64_t stack_mask(const struct insn *in, uint64_t off)
{
	return in->code64 ? off : in->stack32 ? (uint32_t)off : (uint16_t)off;
}

/* Offset in SS, `d` bytes from the top. */
static inline uint64_t stack_at(const struct cpu *cpu, const struct insn *in, int64_t d)
{
	return stack_mask(in, cpu->gpr[X86_RSP].q + d);
}

static inline void stack_add(struct cpu *cpu, const struct insn *in, int64_t d)
{
	if (in->code64)
		cpu->gpr[X86_RSP].q += d;
	else if (in->stack32)
		cpu->gpr[X86_RSP].q = (uint32_t)(cpu->gpr[X86_RSP].d + d);
	else
		cpu->gpr[X86_RSP].w += d;
}

#endif
