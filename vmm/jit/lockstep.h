/*
 * vmm/jit/lockstep.h - translated code beside the interpreter, unit by unit.
 *
 * Before a unit runs the interpreter carries out its instructions, as a
 * rehearsal (vmm/soft/rehearsal.h).  Then the unit runs, linked to nothing, and
 * has to arrive at the same registers, flags, x87 and vector state, bytes where
 * the interpreter has stored, or at the same fault.  The first difference ends the machine.
 *
 * What cannot be rehearsed runs once, by the interpreter: device memory, stores
 * to code, instructions that tell the time.  What leaves to C anyway is not run
 * twice either.
 *
 * Another process stores to guest memory, too: a difference counts if it comes
 * again when both sides are run again.
 */
#ifndef CLEAVE_VMM_JIT_LOCKSTEP_H
#define CLEAVE_VMM_JIT_LOCKSTEP_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct jit_unit;
struct insn;
struct lockstep;

int lockstep_new(struct cpu *);		/* 0 or -ENOMEM; there is a translator */
void lockstep_free(struct lockstep *);

/* The unit is about to run at cpu->rip.  False: its instructions have been carried out. */
bool lockstep_begin(struct cpu *, struct jit_unit *);
/* It has run, up to the instruction `in` which comes next, if not NULL.  May unwind. */
void lockstep_end(struct cpu *, const struct insn *in);
/* It unwinds: `why` is one of enum unwind, rip and the rest of the state are exact. */
void lockstep_unwinds(struct cpu *, int why);

#endif
