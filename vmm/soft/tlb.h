/*
 * vmm/soft/tlb.h - what a memory access looks at: translations.
 *
 * Types only, for struct cpu to embed as `mmu`; mmu.h has the accessors,
 * mmu.c keeps the invariants.  A set caches translations for one
 * privilege: supervisor and user accesses hit different sets, so that a hit
 * needs no privilege check.  `hit` is the set that an ordinary access of the
 * running privilege looks at; it is `none`, in which nothing ever hits, while
 * every access must be looked at (alignment checking armed).
 *
 * Invariant: a tag is either the page's linear address, exactly (the access
 * may go straight to `addend` + linear), or has bits set below the page size
 * (TLB_*), which no page-aligned compare matches: the slow path looks closer.
 */
#ifndef CLEAVE_VMM_SOFT_TLB_H
#define CLEAVE_VMM_SOFT_TLB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TLB_BITS = 10, TLB_ENTRIES = 1 << TLB_BITS };
enum { PAGE_SHIFT = 12, PAGE_BYTES = 1 << PAGE_SHIFT };
#define PAGE_OFFSET	((uint64_t)PAGE_BYTES - 1)
#define PAGE_FRAME	(~PAGE_OFFSET)

/* Reasons for a tag not to hit; several may be set. */
#define TLB_INVALID	0x001u	/* nothing cached */
#define TLB_MMIO	0x002u	/* not memory: the bus answers */
#define TLB_DROP	0x004u	/* ROM: a write goes nowhere */
#define TLB_CODE	0x008u	/* decoded code on the page: a write must be told to the block cache */
#define TLB_WATCH	0x010u	/* a data breakpoint on the page */
#define TLB_SPLIT	0x020u	/* reads and writes go to different host pages (PAM): see info.write */
#define TLB_EMPTY	(~0ull)

struct tlb_entry {
	uint64_t read, write, exec;	/* tags */
	uintptr_t addend;		/* host address less linear address */
};

/* What only the slow path wants to know; same index. */
struct tlb_info {
	uint64_t gpa;		/* of the page */
	uint8_t *write;		/* host page for writes where it differs from that for reads */
};

struct tlb_set {
	struct tlb_entry e[TLB_ENTRIES];
	struct tlb_info info[TLB_ENTRIES];
	uint64_t used[TLB_ENTRIES / 64];	/* entries to clear on a flush, */
	uint64_t local[TLB_ENTRIES / 64];	/* ... of one that leaves the global ones */
};

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

/* MMU_OPEN: the supervisor's where SMAP is on and EFLAGS.AC lifts it. */
enum { MMU_SUPERVISOR, MMU_USER, MMU_OPEN, MMU_SETS };

struct mmu {
	struct tlb_entry *hit;		/* set[].e or none */
	struct tlb_set *set;		/* MMU_SETS of them */
	struct tlb_entry *none;		/* never hits */
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

_Static_assert(sizeof(struct tlb_entry) == 32, "index by shift");
_Static_assert(offsetof(struct tlb_entry, addend) == 24, "known to translators");

#endif
