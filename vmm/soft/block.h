/*
 * vmm/soft/block.h - a decoded block, and how a branch finds one.
 *
 * A block is up to BLOCK_INSNS instructions that follow each other inside one
 * page.  A conditional branch that is not taken continues in the block; what
 * always transfers control ends it.  After the last comes a pseudo-instruction
 * that goes on to the block that follows.
 *
 * Who points at a block: the bucket of its key, its page's list, the jump
 * cache's slots of its linear addresses, and `link` of direct branches in blocks
 * of the same page.  A block that dies is taken out of all of them at once, and
 * its instructions are overwritten by one that returns to the run loop; its
 * memory is freed when none is executing.
 *
 * An instruction that crosses a page is a block of its own that is in none of
 * these: its bytes are compared each time it is to run (struct lone).
 */
#ifndef CLEAVE_VMM_SOFT_BLOCK_H
#define CLEAVE_VMM_SOFT_BLOCK_H

#include "vmm/soft/insn.h"
#include "vmm/x86/decode.h"

struct block {
	uint32_t mode;			/* MODE_* it was decoded for */
	uint16_t bytes;			/* of code */
	bool dead;
	uint8_t count;			/* entries of insn[], without the pseudo-instruction; NOPs have none */
	uint64_t gpa;
	uint32_t jumps;			/* its first slot in the jump cache; JUMP_END: none */
	struct block *bucket_next, *page_next;
	struct jit_unit *unit;		/* vmm/jit: its translation; it keeps these three */
	insn_fn *first;			/* what insn[0].fn was */
	uint32_t heat;
	struct insn insn[];
};

enum { JUMP_BITS = 16, JUMP_ENTRIES = 1 << JUMP_BITS, JUMP_END = JUMP_ENTRIES };

/* By linear address and generation (mmu_gen()), so that each address space finds its own again. */
struct jump_entry {
	uint64_t lin, gen;		/* gen 0: empty */
	struct block *block;
	uint32_t next, prev;		/* of the same block, which may have one in each address space; JUMP_END: none */
};

/* An instruction that crosses a page, and its bytes; where these are, as long as `gen` is mmu_gen() of `lin`. */
struct lone {
	_Alignas(struct block) uint8_t block[sizeof(struct block) + 2 * sizeof(struct insn)];
	uint8_t bytes[X86_INSN_MAX];
	bool used;
	uint64_t lin, gen;
	const uint8_t *part[2];
};

struct code_page;
enum { LONE_BLOCKS = 64, BUCKET_BITS = 17, BLOCK_BUCKETS = 1 << BUCKET_BITS, PAGE_BUCKETS = 4096 };

struct block_cache {
	struct jump_entry jump[JUMP_ENTRIES];
	struct block *bucket[BLOCK_BUCKETS];
	struct code_page *page[PAGE_BUCKETS];
	struct block *dead;		/* by bucket_next; freed by block_reap() */
	struct block *scratch;		/* where a block grows */
	struct lone lone[LONE_BLOCKS];	/* by linear address */
	struct block *brk;		/* stands where a breakpoint of the debugger may be */
	const struct insn *link_from;	/* the direct branch that has just been taken, for its link */
	size_t bytes, limit;		/* held by blocks; beyond it the cold ones go, */
	size_t cold;			/* ... which may be so many bytes */
	uint64_t trimmed_at;		/* icount */
	uint64_t built, killed, flushed, trimmed;	/* statistics */
};

static inline struct jump_entry *jump_entry(struct block_cache *c, uint64_t lin, uint64_t gen)
{
	return &c->jump[(lin ^ lin >> JUMP_BITS ^ gen) & (JUMP_ENTRIES - 1)];
}

/* The block to run at cpu->rip; may raise the fetch's fault.  `step`: of one instruction. */
struct block *block_find(struct cpu *, bool step);
void block_reap(struct cpu *);
/* The invariant at the top, asserted: tests. */
void block_check(struct cpu *);

/* interp.c: the branch's own checks (#GP beyond the limit), then back to the run loop. */
void branch_slow(struct cpu *, const struct insn *, uint64_t rip, unsigned done);

/* interp.c: handlers that block building needs. */
insn_fn thread_plain, thread_plain_end, thread_follow, thread_stale, thread_break, thread_ud, thread_too_long;

/* op_system.c: events may be looked for before the instruction behind this one. */
void insn_is_last(struct insn *);
/* One decoded instruction as it executes outside of a block; `n` stand before it. */
void block_decoded(const struct x86_insn *, struct insn *, uint32_t mode, unsigned off, unsigned n);
/* interp.c: carries out `in` by its plain handler; rip is the block's.  Then rip is its own and next_rip the next one's. */
bool interp_plain(struct cpu *, const struct insn *);

/* fuse.c: merge instructions that stand together and drop flags that nobody reads. */
void block_optimise(struct block *);
/* op_stack.c: the same for pushes and pops; `room` instructions stand at `in`, those behind it as they were. */
void stack_optimise(struct insn *in, unsigned room);
/* op_branch.c: the handler for a target in another page than the block's, which is not linked. */
insn_fn *branch_far(insn_fn *);
/* Does `link` hold a block, rather than an immediate? */
bool insn_has_link(const struct insn *);

#endif
