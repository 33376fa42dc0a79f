/*
 * vmm/x86/disasm.h - one instruction as text, in Intel syntax as GNU objdump
 * has it (-M intel).
 */
#ifndef CLEAVE_VMM_X86_DISASM_H
#define CLEAVE_VMM_X86_DISASM_H

#include "vmm/x86/decode.h"

enum { X86_TEXT_MAX = 96 };

/*
 * `rip` is the instruction's offset, for the targets of branches; `bits` the
 * code size it was decoded for.  Writes at most `len` bytes with the final 0
 * and returns the text's length.
 */
size_t x86_disassemble(const struct x86_insn *, uint64_t rip, unsigned bits, char *text, size_t len);

#endif
