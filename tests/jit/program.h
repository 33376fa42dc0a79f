/*
 * tests/jit/program.h - random programs for the window of world.h, and the
 * states in which they are entered.
 *
 * A program is a list of instructions of the whole table, with branches among
 * them.  What goes back takes fuel (SLOT_FUEL), so that it ends.
 */
#ifndef CLEAVE_TESTS_JIT_PROGRAM_H
#define CLEAVE_TESTS_JIT_PROGRAM_H

#include "tests/jit/world.h"

enum { PROGRAM_INSNS = 64 };

struct program {
	uint8_t image[WORLD_END];	/* of physical memory */
	unsigned insns;
	struct { uint16_t at; uint8_t len; } insn[PROGRAM_INSNS];	/* offset in the window */
	unsigned rounds;
	uint32_t patched, patch;	/* behind the processor's back: offset, four bytes */
};

/* Random case `number` of `seed`.  `drawn` counts by row. */
void program_make(struct program *, uint64_t seed, uint64_t number, unsigned *drawn);
static inline struct round *program_round(struct program *p, unsigned i)
{
	return (struct round *)(p->image + WORLD_ROUNDS) + i;
}

#endif
