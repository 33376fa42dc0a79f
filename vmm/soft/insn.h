/*
 * vmm/soft/insn.h - decoded instructions, blocks of them, and the two kinds of
 * handler that execute them.
 *
 * A plain handler, op_<mnemonic>(), is an ordinary function that carries out
 * one instruction.  When it is called cpu->rip is exact and cpu->next_rip is
 * the offset of the following instruction (wrapped to the IP's width); a
 * transfer of control stores its target, already checked against the CS limit,
 * in cpu->next_rip.  On return, rip becomes next_rip.  A REP string that is
 * left between elements sets next_rip = rip.  If its row in opcodes.def says
 * END, the block ends there and the run loop looks at cpu->recheck, events and
 * the block cache afresh; otherwise execution continues with the next decoded
 * instruction, so a handler that changes the mode, a mapping or the flow needs
 * END.
 *
 * A threaded handler (insn_fn) is a plain one's fast sibling: specialised by
 * operand form and size when the block is built (forms.h), it ends by calling
 * the next one's, as a tail call where the compiler makes these.  There rip is
 * the block's and cpu->insn must be set before anything that may fault.
 */
#ifndef CLEAVE_VMM_SOFT_INSN_H
#define CLEAVE_VMM_SOFT_INSN_H

#include <stdint.h>

#include "vmm/soft/cpu.h"

typedef void insn_fn(struct cpu *, const struct insn *);
typedef void op_fn(struct cpu *, const struct insn *);

enum insn_rep { REP_NONE, REP_E, REP_NE };	/* F3 (REP, REPE), F2 (REPNE) */

struct insn {
	insn_fn *fn;
	union {
		uint64_t imm;		/* sign-extended where the manual says so; ENTER: Iw | Ib << 16; a 64-bit moffs */
		struct {
			uint32_t off;	/* Ap: far pointer */
			uint16_t sel;
		} far;
		struct block *link;	/* direct branches: target, once known */
		bool last;		/* STI: insn_is_last() */
	};
	int32_t disp;		/* of the memory operand, from `rip` if that is its base; of a relative branch, from the block's start */
	uint16_t row;		/* x86_opcodes[] */
	uint8_t off;		/* from the block's start */
	uint8_t len;
	/*
	 * Register operands: a number into gpr[], but the byte offset from gpr
	 * for byte-sized ones (AH is 1).  `rm` is ModRM.rm's register where
	 * `mem` is 0, and the base register of the address where it is 1 (GPR_RIP too).
	 * `reg` is ModRM.reg or the register in the opcode's low bits; a
	 * segment, control or debug register's number where the operand is one.
	 */
	uint8_t reg;
	uint8_t rm;
	uint8_t index;		/* of the address; GPR_ZERO: none */
	uint8_t scale : 2, mem : 1, lock : 1, rep : 2, stack32 : 1, code64 : 1;	/* stack32: SS.B; code64: 64-bit mode */
	uint8_t seg;		/* of the memory operand, overrides applied; DS or its override for strings; 64-bit mode: SEG_FLAT.. */
	uint8_t opsize : 4, adsize : 4;	/* in bytes: 2, 4 (8) */
	uint8_t n;		/* instructions before this one in the block */
	uint8_t cc;		/* condition, from the opcode; VEX: vvvv */
};

_Static_assert(sizeof(struct insn) == 32, "half a cache line");

enum { BLOCK_INSNS = 32 };		/* at most, in a block */
enum { NO_ROW = 0xffff };		/* insn.row of what stands behind them */

/* Offset of the memory operand in its segment, in the width of the address size. */
static inline uint64_t insn_ea(const struct cpu *cpu, const struct insn *in)
{
	uint64_t ea = cpu->gpr[in->rm].q + (cpu->gpr[in->index].q << in->scale) + (int64_t)in->disp;

	return in->adsize == 4 ? (uint32_t)ea : in->adsize == 2 ? (uint16_t)ea : ea;
}

/*
 * A direct branch of 64-bit code to a target so far ahead that its distance from
 * the block's start has wrapped: none goes back beyond what its own displacement can say.
 */
static inline bool insn_branch_wraps(const struct insn *in)
{
	return in->code64 && in->disp < INT32_MIN + in->off + in->len;
}

/* Registers by number and width (2, 4, 8), for plain handlers. 32-bit writes clear the upper half. */
static inline uint64_t gpr_read(const struct cpu *cpu, unsigned r, unsigned size)
{
	return size == 2 ? cpu->gpr[r].w : size == 4 ? cpu->gpr[r].d : cpu->gpr[r].q;
}

static inline void gpr_write(struct cpu *cpu, unsigned r, unsigned size, uint64_t v)
{
	if (size == 2)
		cpu->gpr[r].w = v;
	else
		cpu->gpr[r].q = size == 4 ? (uint32_t)v : v;
}

/* Segments that an instruction implies: the stack's, and that of a string's destination. */
static inline unsigned insn_ss(const struct insn *in)
{
	return in->code64 ? SEG_FLAT_SS : X86_SS;
}

static inline unsigned insn_es(const struct insn *in)
{
	return in->code64 ? SEG_FLAT : X86_ES;
}

/* The IP's width for a near transfer of this operand size. */
static inline uint64_t ip_mask(unsigned opsize, uint64_t ip)
{
	return opsize == 2 ? (uint16_t)ip : opsize == 4 ? (uint32_t)ip : ip;
}

/*
 * block.c: the cache of decoded blocks, one for each vCPU, keyed by
 * guest-physical address and MODE_*.  vCPU thread only.
 */
int block_cache_new(struct cpu *);		/* 0 or -errno */
void block_cache_free(struct cpu *);
void block_flush(struct cpu *);			/* drop everything; the running block stops after its instruction */
/*
 * Memory [gpa, gpa + len), within one page, changes or has changed.  Drops the
 * page's blocks if one of them was decoded from these bytes; the block that is
 * executing then stops after the current instruction.  True if no decoded code
 * is left on the page: the caller may clear its mark.
 */
bool block_invalidate(struct cpu *, uint64_t gpa, uint64_t len);

#endif
