/*
 * vmm/jit/unit.h - what a translation is made of, for the files of vmm/jit.
 */
#ifndef CLEAVE_VMM_JIT_UNIT_H
#define CLEAVE_VMM_JIT_UNIT_H

#include "vmm/jit/asm.h"
#include "vmm/jit/jit.h"
#include "vmm/soft/block.h"

/* One instruction as the interpreter's handler takes it, and what stands behind it of the next: the way back. */
struct jit_op {
	struct insn insn;
	insn_fn *back;
	uint32_t at;			/* in the unit: where its code begins */
	bool untreated;			/* it has no code of its own */
	bool again;			/* a branch back to a loop's start, behind which that stands once more */
};

_Static_assert(offsetof(struct jit_op, back) == sizeof(struct insn) && offsetof(struct insn, fn) == 0, "an instruction's handler goes on to the next one's");

enum jit_leave {
	LEAVE_BRANCH,		/* to `target`: everything before is done and counted */
	LEAVE_OP,		/* before instruction `op`, which C carries out */
};

enum { NO_OP = 0xffff };

/* A way out of a unit. */
struct jit_exit {
	struct jit_unit *from, *to;	/* `to`: linked */
	struct jit_exit *next, **at;	/* of those that lead there */
	int64_t target;			/* from the page's start */
	uint32_t site;			/* in code memory: where the jump's distance stands; 0: it is never linked */
	uint16_t op;			/* LEAVE_OP: it; LEAVE_BRANCH: the branch that is taken, or NO_OP */
	uint8_t why;			/* enum jit_leave */
};

/* Stands behind its code, in code memory. */
struct jit_unit {
	struct block *block;		/* NULL: dead */
	struct jit_unit *newer;
	struct jit_exit *incoming;
	uint32_t start, bytes;		/* in code memory; with this and its exits */
	uint32_t code;			/* bytes of code */
	uint16_t ops, exits;
	uint16_t slot;			/* in tables of branch targets, */
	uint8_t slots;			/* ... if it is in one; 2: and in others */
	const uint8_t *entry;		/* from the same page, base as it is; */
	const uint8_t *far;		/* with the linear address in RAX, from anywhere */
	struct jit_exit *exit;
	struct jit_op op[];
};

/* An instruction knows its number. */
static inline struct jit_unit *op_unit(struct jit_op *op)
{
	return (struct jit_unit *)((char *)(op - op->insn.n) - offsetof(struct jit_unit, op));
}

/*
 * A unit while its code is emitted; what it takes is known at the end.  Code
 * that loads the address of an op or exit of it has a distance in `field`.
 */
enum { UNIT_INSNS = 64 };		/* at most: a block's, and a loop's turns */
enum { DRAFT_EXITS = 12 * UNIT_INSNS + 4, DRAFT_REFS = 2 * DRAFT_EXITS };

struct jit_draft {
	unsigned refs;
	struct { uint32_t field; uint16_t n; bool is_exit; } ref[DRAFT_REFS];
	struct jit_exit exit[DRAFT_EXITS];
	_Alignas(struct jit_unit) uint8_t unit[sizeof(struct jit_unit) + UNIT_INSNS * sizeof(struct jit_op)];
};

/*
 * Where a branch to a linear address leads, by 16 low bits of it but for the
 * last, which tell few apart.  All zero: empty, but in the last slot, where
 * ~rip is 0 for an address that belongs there; JUMP_NEVER is ~rip of none there.
 */
struct jit_jump {
	uint64_t not_rip;		/* ~rip */
	const void *code;
};
enum { JIT_JUMPS = 1 << 16, JUMP_SHIFT = 2, JUMP_NEVER = 1 << JUMP_SHIFT, JUMPS_NOTED = 4096 };

/* A table of them.  Users have some, so that an address space that comes back finds its own again. */
struct jit_jumps {
	struct jit_jump *slot;		/* NULL: there is no such table yet */
	uint64_t gen[2];		/* of the lower and the upper half, that they were filled under */
	bool half[2];			/* there are some of it */
	uint64_t used;			/* when it was last turned to */
	unsigned noted;			/* of note[]; beyond JUMPS_NOTED all may be used */
	uint16_t note[JUMPS_NOTED];
};
/* Supervisor, user and open code have tables of their own. */
enum { JIT_TABLES = 8 };

struct jit {
	uint8_t *rw, *rx;		/* the same memory */
	void *room;			/* what both are in */
	uint32_t size, at, first;	/* next free; behind the thunks */
	uint32_t pieces;		/* up to here it is there, in huge pages if the host will */
	unsigned threshold;
	bool loop;			/* struct code's */
	struct jit_draft draft;
	struct jit_unit *oldest, *newest;
	void (*enter)(const void *code);
	uint32_t leave, leave_saved, call, fault, load_vectors;	/* thunks */
	struct jit_jumps jumps[MMU_SETS][JIT_TABLES];	/* those of a set that is not the user's: the first alone */
	struct jit_jumps *of_now[MMU_SETS];	/* for this address space */
	struct jit_jumps empty;			/* while something waits for the run loop */
	uint64_t turns;
	struct jit_stats stats;
	uint64_t *calls;		/* by row; of what is untreated */
	struct jit_record *record;	/* NULL: nothing is written down */
	struct lockstep *lockstep;	/* lockstep.h; NULL: off */
};

/*
 * RSP inside of translated code: instructions retired, the number 12, and a high
 * bit that makes it no address, so that nothing can take it for a stack.
 */
enum { COUNT_SHIFT = 6, PAGE_SHIFT_COUNT = 12, NO_STACK_BIT = 63 };

/* A field of struct cpu. */
#define FIELD(f)	op_gs(H_NONE, 0, offsetof(struct cpu, f))

/* Guest register to the host's; H_NONE: it is in memory. */
extern const uint8_t jit_host_of[16];

/* thunk.c: what leads in and out; at the beginning of code memory. */
void jit_emit_thunks(struct jit *, struct code *);
/* run.c */
bool jit_call_insn(struct cpu *, struct jit_op *);	/* called from code; false: it does not go on there */
void jit_set_return(struct jit_op *);
bool jit_is_branch(const struct insn *);		/* a transfer of control that run.c makes */
void jit_cool(struct block *);				/* its unit has gone */
/* translate.c: into `c` and j->draft.  False: it cannot be translated. */
bool jit_emit_unit(struct cpu *, struct block *, const uint8_t *bytes, struct code *c);
/* record.c: of a unit that has been placed; `bytes` are the guest's. */
void jit_record_unit(struct jit *, const struct jit_unit *, uint64_t rip, const uint8_t *bytes);
void jit_record_end(struct jit *);
/* cache.c */
/* Room for one unit in code memory, where the oldest make way; it begins at j->at. */
struct code jit_reserve(struct jit *);
/* What was emitted there, and j->draft, are a unit from now on.  NULL: it did not fit. */
struct jit_unit *jit_keep(struct jit *, const struct code *);
/* The exit jumps straight to `to` from now on. */
void jit_link(struct jit *, struct jit_exit *, struct jit_unit *to);
/* Branches of `set` to `rip` lead to the unit from now on, as long as the generation stays. */
void jit_remember(struct cpu *, unsigned set, uint64_t rip, struct jit_unit *);
/* Before code is entered: its table is that of the generations as they are.  True: something waits for the run loop. */
bool jit_look(struct cpu *, unsigned set);

#endif
