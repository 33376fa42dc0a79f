/*
 * tests/diff/gen.h - random instructions from the opcode table.
 *
 * Knows the encoding (vmm/x86/decode.h) and the areas of host.h; knows no
 * engine.  The same seed and case give the same case, always.
 */
#ifndef CLEAVE_TESTS_DIFF_GEN_H
#define CLEAVE_TESTS_DIFF_GEN_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/diff/host.h"
#include "vmm/x86/decode.h"

struct gen_case {
	enum host_mode mode;
	unsigned row;			/* x86_opcodes[] that was drawn; the bytes may decode to another */
	uint8_t bytes[X86_INSN_MAX + 1];
	unsigned len;			/* as encoded */
	uint32_t at;			/* offset in the code page */
	uint64_t gpr[16];		/* the first eight, of 32 bits, but in 64-bit mode */
	uint32_t rflags;
	struct x86_fxsave fpu;
	uint8_t ymm_high[16][16];
};

unsigned gen_bits(enum host_mode);
/* Rows that user mode on a host cannot show: privileged state, the host's own descriptor tables, time. */
bool gen_skipped(const struct x86_opcode *);
/* Where the memory operand in ModRM is, in the data segment. */
uint64_t gen_ea(const struct gen_case *, const struct x86_insn *);
/* Fills `data` (HOST_DATA_BYTES) too. */
void gen_case(uint64_t seed, uint64_t number, unsigned modes, struct gen_case *, uint8_t *data);

#endif
