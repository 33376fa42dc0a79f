/*
 * vmm/soft/fuse.c - what a block gains by being looked at as a whole.
 *
 * Knows rows and threaded handlers; nothing of how they are reached.
 */
#include "vmm/soft/thread.h"

bool insn_has_link(const struct insn *in)
{
	const struct x86_opcode *row = &x86_opcodes[in->row];

	if (in->fn == thread_follow)
		return true;
	return in->row < x86_opcode_rows && (row->operand[0] == OP_Jb || row->operand[0] == OP_Jz);
}

void block_optimise(struct block *b)
{
	(void)b;
}
