/*
 * vmm/jit/jit.h - the translator: hot blocks of 64-bit guest code become host
 * code.  The guest's instruction set is the host's, so most instructions are
 * the guest's own with other registers and another address.
 *
 * What holds inside of translated code:
 *
 *	GS		struct cpu
 *	guest GPRs	twelve in host registers (translate.h), four in cpu->gpr[]
 *	guest flags	the host's arithmetic flags, always: what the translator
 *			adds between two instructions changes none of them
 *	RAX, RCX, RDX	nothing's; free between two instructions
 *	RSP		64 times the instructions retired, plus 12: a shift count
 *	x87, MXCSR	the guest's, while cpu->simd is live
 *
 * An access looks in the TLB (vmm/soft/tlb.h) inline.  What misses, and every
 * instruction without a treatment here, is carried out by the interpreter's
 * handler on cpu, as if it stood there alone: semantics exist once.
 *
 * A unit is the translation of one struct block and lives no longer than it.
 * Direct branches within a page jump from unit to unit; the rest looks in a
 * table by linear address.  Code is position-independent of the guest's linear
 * address: cpu->jit.base has the page's.
 *
 * One vCPU's thread.
 */
#ifndef CLEAVE_VMM_JIT_JIT_H
#define CLEAVE_VMM_JIT_JIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cpu;
struct block;
struct jit;
struct jit_unit;

enum { JIT_CACHE_MIN = 1 << 20, JIT_CACHE_MAX = 1 << 30 };

/* The vCPU's thread counts; jit_get_stats() and jit_get_calls() are for any. */
struct jit_stats {
	uint64_t units, bytes;		/* translated so far; of code */
	uint64_t used, size;		/* bytes of code memory: with code, dead code too; all */
	uint64_t refused;		/* blocks that cannot be */
	uint64_t evicted, killed;	/* units: for room; with their block */
	uint64_t links;
	uint64_t entries;		/* from C */
	uint64_t exit_branch, exit_op, exit_left;	/* why it came back: to C for a target, an instruction, inside of one */
	uint64_t unknown;		/* branches of the first kind whose target the table did not have */
	uint64_t calls, misses;		/* instructions carried out by the interpreter from inside; since theirs could not go on */
};

/* 0, or -ENOTSUP (the host lacks what `why` names), or -errno.  `bytes` bounds the code; blocks executed `threshold` times are hot. */
int jit_new(struct cpu *, size_t bytes, unsigned threshold, const char **why);
void jit_free(struct cpu *);

/* What is written down of each translation (record.c): of what begins at `first` to `last` into `dump` ("-": standard output). */
struct jit_records {
	const char *dump;		/* NULL: nowhere */
	uint64_t first, last;
	bool perf;			/* a map for perf, in /tmp */
};

/* Behind jit_new(), before the guest runs.  -errno: the cause is on standard error. */
int jit_record(struct cpu *, const struct jit_records *);

/* A block is new: its entries are counted, and when it is hot it is translated and runs as host code. */
void jit_watch(struct cpu *, struct block *);
/* A division of translated code has raised SIGFPE at `pc`: where its thread goes on.  NULL: it was none. */
const void *jit_fault_at(const struct cpu *, uintptr_t pc);
/* The block dies; its unit may be executing, and leaves after the instruction. */
void jit_kill(struct cpu *, struct block *);
void jit_get_stats(const struct cpu *, struct jit_stats *);
/* Adds to n[row of x86_opcodes] how often the interpreter has carried it out for code that has none of it. */
void jit_get_calls(const struct cpu *, uint64_t *n);

#endif
