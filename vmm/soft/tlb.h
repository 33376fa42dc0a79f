/*
 * vmm/soft/tlb.h - what a memory access looks at: translations.
 *
 * Types and places only; mmu.h has the accessors, mmu.c keeps the invariants.
 * A set caches translations for one privilege: supervisor and user accesses
 * hit different sets, so that a hit needs no privilege check.  A page's place is
 * the low bits of its number.
 *
 * A tag is minus the number of a page, so that an access of `size` bytes hits if
 *
 *	tag[place of lin] + ((lin + size - 1) >> 12) == 0
 *
 * and is then at lin + addend[place]: one addition and a test that needs no flags
 * for presence, rights, that it is plain RAM, that nobody wants to know, and
 * that it stays in the page.
 *
 * Invariant: a tag hits only where the access may go straight to memory, as
 * TLB_NO_READ and TLB_NO_WRITE say; what stands in its way is in `info`, where
 * the slow path looks.
 *
 * The sets stand at a constant distance from struct cpu, in the same room:
 * translated code reaches them, as it reaches registers, by a displacement.
 */
#ifndef CLEAVE_VMM_SOFT_TLB_H
#define CLEAVE_VMM_SOFT_TLB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TLB_BITS = 16, TLB_ENTRIES = 1 << TLB_BITS };
enum { PAGE_SHIFT = 12, PAGE_BYTES = 1 << PAGE_SHIFT };
#define PAGE_OFFSET	((uint64_t)PAGE_BYTES - 1)
#define PAGE_FRAME	(~PAGE_OFFSET)
enum { HUGE_PAGE = 2 << 20 };		/* the host's */
#define ROUND_UP(n, to)	(((n) + (to) - 1) & ~((size_t)(to) - 1))

/*
 * Never sums to 0 with a page's number, nor to 1 with the next one's, which is 0
 * for the last page (vmm/jit/operand.c).  Nor does 0 itself, which fresh memory
 * has, but in the first place and the last TLB_SPAN: for page 0, and for what
 * begins so far below the end of all addresses and goes on in page 0.
 */
#define TLB_NEVER	2ull
enum { TLB_SPAN = 8 };		/* pages at most from the first byte to the last of what is asked for at once */

/* info.lin, below the page: what is granted, and what a straight access would miss. */
enum {
	TLB_READ = 1 << 0,
	TLB_WRITE = 1 << 1,
	TLB_EXEC = 1 << 2,
	TLB_READ_MMIO = 1 << 3,		/* not memory: the bus answers */
	TLB_WRITE_MMIO = 1 << 4,
	TLB_READ_WATCH = 1 << 5,	/* a data breakpoint on the page */
	TLB_WRITE_WATCH = 1 << 6,
	TLB_DROP = 1 << 7,		/* ROM: a write goes nowhere */
	TLB_CODE = 1 << 8,		/* decoded code on the page: a write must be told to the block cache */
	TLB_SPLIT = 1 << 9,		/* writes go to another host page than reads (PAM) */
	TLB_NO_READ = TLB_READ_MMIO | TLB_READ_WATCH,
	/* who may write may read as well: translated code asks once for accesses of both kinds */
	TLB_NO_WRITE = TLB_NO_READ | TLB_WRITE_MMIO | TLB_WRITE_WATCH | TLB_DROP | TLB_CODE | TLB_SPLIT,
};

/* What only the slow path wants to know; same place. */
struct tlb_info {
	uint64_t lin;		/* page, and TLB_*; 0: nothing */
	uint64_t gpa;		/* page */
	uint32_t prev, next;	/* in a chain of struct tlb; stays there though nothing is cached any more */
};

/* The arrays are apart by some lines of the host's cache, so that a place in them is not one set of it. */
struct tlb_set {
	uint64_t read[TLB_ENTRIES + 8 * 5];	/* tags */
	uint64_t write[TLB_ENTRIES + 8 * 5];
	uintptr_t addend[TLB_ENTRIES + 8 * 5];	/* host address less linear address */
};

/* A set of places.  `top` has a bit for each word that may not be 0, so that going through it takes what it holds. */
struct tlb_places {
	uint64_t top[TLB_ENTRIES / 64 / 64];
	uint64_t word[TLB_ENTRIES / 64];
};

struct tlb_notes {
	struct tlb_info info[TLB_ENTRIES];
	struct tlb_places used;		/* entries to clear on a flush, */
	struct tlb_places local;	/* ... of one that leaves the global ones */
};

/* MMU_OPEN: the supervisor's where SMAP is on and EFLAGS.AC lifts it. */
enum { MMU_SUPERVISOR, MMU_USER, MMU_OPEN, MMU_SETS };

struct tlb {
	struct tlb_set set[MMU_SETS];
	struct tlb_set none;		/* never hits */
	struct tlb_notes notes[MMU_SETS];
	uint32_t chain[TLB_ENTRIES];	/* by guest page: entries that grant writes, as set * TLB_ENTRIES + place + 1; 0: end */
};

/*
 * In a room, struct cpu comes first, and struct tlb this far behind it, where a
 * huge page of the host begins.  What the room does not use it does not take.
 */
enum { TLB_DISTANCE = 64 << 10 };

/* From struct cpu to the arrays of a set. */
static inline int32_t tlb_read_tags(unsigned set)
{
	return TLB_DISTANCE + offsetof(struct tlb, set[0].read) + set * sizeof(struct tlb_set);
}

static inline int32_t tlb_write_tags(unsigned set)
{
	return TLB_DISTANCE + offsetof(struct tlb, set[0].write) + set * sizeof(struct tlb_set);
}

static inline int32_t tlb_addends(unsigned set)
{
	return TLB_DISTANCE + offsetof(struct tlb, set[0].addend) + set * sizeof(struct tlb_set);
}

/* A range whose translation is held: at most two pages. */
struct mmu_part {
	uint64_t gpa;
	uint8_t *host;		/* NULL: device memory, or ROM that drops writes (`drop`) */
	uint16_t len;
	bool drop;
};

struct mmu_held {
	uint64_t lin;
	unsigned parts;
	struct mmu_part part[2];
};

/* A read-modify-write under way: between rmw_ld and rmw_st. */
struct rmw {
	void *host;		/* plain RAM: LOCK is a host atomic on it.  NULL: as `held` says */
	struct mmu_held held;
};

struct mmu {
	struct tlb_set *hit;		/* what an ordinary access looks at: the mode's set, or none */
	struct rehearsal *rehearsal;	/* rehearsal.h; NULL: what is executed counts */
	uint64_t a20_mask;		/* ANDed to every physical address */
	uint64_t *code;			/* a bit for each guest-physical page that has decoded code */
	uint64_t code_pages;		/* bits in it */
	uint32_t map_gen;		/* mem_map_gen() that the cache was filled under */
	struct spaces *spaces;		/* space.h */
	/*
	 * Generations for caches by linear address, of the lower and the upper half: another
	 * one whenever a fetch translation there may be another.  Kernels live in the upper
	 * half, in global pages, which a change of CR3 leaves.
	 */
	uint64_t gen[2];
	bool local_code;		/* code has been fetched in the upper half that is not global, */
	bool global_low_code;		/* ... in the lower half that is */
	uint64_t walks, fills, flushes;	/* statistics: fills from the second level are those without a walk */
};

#endif
