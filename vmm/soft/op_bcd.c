/*
 * vmm/soft/op_bcd.c - DAA DAS AAA AAS AAM AAD: decimal adjustment.
 *
 * 64-bit processors no longer execute these, so the flags are computed here;
 * those that the manual leaves undefined are what processors were seen to do.
 * SDM vol. 2.
 */
#include "vmm/soft/insn.h"
#include "vmm/soft/ops.h"
#include "vmm/x86/exception.h"

static uint16_t fl_szp(uint8_t v)
{
	return (v & 0x80 ? FL_SF : 0) | (v == 0 ? FL_ZF : 0) | (__builtin_parity(v) ? 0 : FL_PF);
}

static void adjust_packed(struct cpu *cpu, bool subtract)
{
	uint8_t al = cpu->gpr[X86_RAX].b[0], old = al;
	bool cf = cpu->fl & FL_CF, af = cpu->fl & FL_AF, low = (al & 15) > 9 || af, carry = false;

	if (low) {
		carry = cf || (subtract ? al < 6 : al > 0xff - 6);
		al = subtract ? al - 6 : al + 6;
	}
	if (old > 0x99 || cf) {
		al = subtract ? al - 0x60 : al + 0x60;
		carry = true;
	}
	cpu->gpr[X86_RAX].b[0] = al;
	cpu->fl = fl_szp(al) | (carry ? FL_CF : 0) | (low ? FL_AF : 0);
}

void op_daa(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	adjust_packed(cpu, false);
}

void op_das(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	adjust_packed(cpu, true);
}

static void adjust_ascii(struct cpu *cpu, int sign)
{
	uint16_t ax = cpu->gpr[X86_RAX].w;
	bool adjust = (ax & 15) > 9 || cpu->fl & FL_AF;

	if (adjust)
		ax += sign * 0x106;
	ax &= 0xff0f;
	cpu->gpr[X86_RAX].w = ax;
	cpu->fl = fl_szp(ax) | (adjust ? FL_CF | FL_AF : 0);
}

void op_aaa(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	adjust_ascii(cpu, 1);
}

void op_aas(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	adjust_ascii(cpu, -1);
}

void op_aam(struct cpu *cpu, const struct insn *in)
{
	uint8_t al = cpu->gpr[X86_RAX].b[0], base = in->imm;

	if (base == 0)
		cpu_fault(cpu, X86_DE, 0);
	cpu->gpr[X86_RAX].b[1] = al / base;
	cpu->gpr[X86_RAX].b[0] = al % base;
	cpu->fl = fl_szp(al % base);
}

void op_aad(struct cpu *cpu, const struct insn *in)
{
	uint8_t al = cpu->gpr[X86_RAX].b[0] + cpu->gpr[X86_RAX].b[1] * in->imm;

	cpu->gpr[X86_RAX].w = al;
	cpu->fl = fl_szp(al);
}
