/*
 * vmm/soft/space.c - see space.h.  Knows no page walk and no memory.
 */
#include "vmm/soft/space.h"

#include "vmm/soft/mmu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TLB2_BITS = 11, TLB2_WAYS = 4, TLB2_ENTRIES = TLB2_WAYS << TLB2_BITS };
enum { PCIDS = 4096, STAMPS = PAGE_BYTES, GLOBAL_STAMP = 0 };
enum { LARGE_BITS = 16, HUGE_BITS = 16, TARGET_BITS = 14 };	/* log2 of the bits in each filter: two regions that share one flush all TLBs for each other */

struct tlb2_entry {
	uint64_t tag;		/* page, and below it its space's stamp */
	uint64_t val;		/* guest-physical page, and V_*; 0: empty */
};
enum { V_READ = 1, V_WRITE = 2, V_EXEC = 4, V_USED = 8, V_SET_SHIFT = 4 };

struct space {
	uint64_t gen;		/* 0: none yet */
	uint16_t stamp;		/* 0: none yet */
};

struct filter {
	uint64_t large[(1 << LARGE_BITS) / 64];		/* 2 MiB each */
	uint64_t huge[(1 << HUGE_BITS) / 64];		/* 1 GiB each */
	uint64_t target[(1 << TARGET_BITS) / 64];	/* a page each */
	unsigned targets;				/* bits set there */
};

struct spaces {
	struct tlb2_entry entry[TLB2_ENTRIES];
	struct space space[PCIDS];
	struct filter filter;
	unsigned pcid, top;	/* the running one's; above all that have run */
	uint16_t stamps;	/* given away since the second level was emptied */
	uint16_t stamp;		/* of the running space */
	bool used;		/* not empty */
	uint64_t gens;		/* given away */
	unsigned victim;
};

/* ---- stamps and generations */

static void empty(struct spaces *s)
{
	if (s->used)
		memset(s->entry, 0, sizeof(s->entry));
	s->used = false;
	s->stamps = GLOBAL_STAMP;
	for (unsigned i = 0; i < s->top; i++)
		s->space[i].stamp = 0;
}

static uint64_t new_gen(struct mmu *mmu)
{
	return ++mmu->spaces->gens;
}

void space_enter(struct mmu *mmu, unsigned pcid)
{
	struct spaces *s = mmu->spaces;
	struct space *space = &s->space[pcid];

	if (!space->stamp) {
		if (s->stamps == STAMPS - 1)
			empty(s);
		space->stamp = ++s->stamps;
	}
	if (!space->gen)
		space->gen = new_gen(mmu);
	s->pcid = pcid;
	if (s->top <= pcid)
		s->top = pcid + 1;
	s->stamp = space->stamp;
	mmu->gen[0] = space->gen;
	if (mmu->local_code)
		mmu->gen[1] = new_gen(mmu);
	mmu->local_code = false;
}

void space_forget(struct mmu *mmu, unsigned pcid)
{
	mmu->spaces->space[pcid] = (struct space) { 0 };
}

void space_forget_each(struct mmu *mmu)
{
	memset(mmu->spaces->space, 0, mmu->spaces->top * sizeof(struct space));
}

static void forget_targets(struct mmu *mmu)
{
	struct spaces *s = mmu->spaces;

	for (unsigned i = 0; i < s->top; i++)
		s->space[i].gen = 0;
	s->space[s->pcid].gen = mmu->gen[0] = new_gen(mmu);
	mmu->gen[1] = new_gen(mmu);
	s->filter.targets = 0;
	memset(s->filter.target, 0, sizeof(s->filter.target));
}

void spaces_reset(struct mmu *mmu)
{
	struct spaces *s = mmu->spaces;

	empty(s);
	forget_targets(mmu);
	mmu->global_low_code = false;		/* the caller drops global entries, too */
	memset(&s->filter, 0, sizeof(s->filter));
}

/* ---- the second level */

/* Spaces that run the same program do not fight for the same places. */
static struct tlb2_entry *ways(const struct mmu *mmu, uint64_t lin, uint16_t stamp)
{
	uint64_t page = lin >> PAGE_SHIFT, at = page ^ page >> TLB2_BITS ^ stamp * 0x2f3u;

	return &mmu->spaces->entry[(at & ((1u << TLB2_BITS) - 1)) * TLB2_WAYS];
}

static struct tlb2_entry *find(const struct mmu *mmu, unsigned set, uint64_t lin, uint16_t stamp)
{
	struct tlb2_entry *e = ways(mmu, lin, stamp);

	for (unsigned i = 0; i < TLB2_WAYS; i++)
		if (e[i].tag == ((lin & PAGE_FRAME) | stamp) && (e[i].val & V_USED) && (e[i].val >> V_SET_SHIFT & 3) == set)
			return &e[i];
	return NULL;
}

bool tlb2_find(const struct mmu *mmu, unsigned set, uint64_t lin, struct x86_page *page)
{
	const struct tlb2_entry *e = find(mmu, set, lin, mmu->spaces->stamp);
	bool global = !e;

	if (!e)
		e = find(mmu, set, lin, GLOBAL_STAMP);
	if (!e)
		return false;
	*page = (struct x86_page) {
		.gpa = (e->val & PAGE_FRAME) | (lin & PAGE_OFFSET),
		.readable = e->val & V_READ, .writable = e->val & V_WRITE, .executable = e->val & V_EXEC, .global = global,
	};
	return true;
}

void tlb2_store(struct mmu *mmu, unsigned set, uint64_t lin, const struct x86_page *page)
{
	struct spaces *s = mmu->spaces;
	uint16_t stamp = page->global ? GLOBAL_STAMP : s->stamp;
	struct tlb2_entry *e = find(mmu, set, lin, stamp), *way = ways(mmu, lin, stamp);

	for (unsigned i = 0; !e && i < TLB2_WAYS; i++)
		if (!(way[i].val & V_USED))
			e = &way[i];
	if (!e)
		e = &way[s->victim++ % TLB2_WAYS];
	e->tag = (lin & PAGE_FRAME) | stamp;
	e->val = (page->gpa & PAGE_FRAME) | (page->readable ? V_READ : 0) | (page->writable ? V_WRITE : 0)
		| (page->executable ? V_EXEC : 0) | V_USED | set << V_SET_SHIFT;
	s->used = true;
}

void tlb2_drop(struct mmu *mmu, uint64_t lin)
{
	for (unsigned set = 0; set < MMU_SETS; set++) {
		struct tlb2_entry *e;

		if ((e = find(mmu, set, lin, mmu->spaces->stamp)))
			e->val = 0;
		if ((e = find(mmu, set, lin, GLOBAL_STAMP)))
			e->val = 0;
	}
}

/* ---- filters */

static void set_bit(uint64_t *filter, unsigned log2, uint64_t n)
{
	n = (n ^ n >> log2) & ((1u << log2) - 1);
	filter[n / 64] |= 1ull << n % 64;
}

static bool get_bit(const uint64_t *filter, unsigned log2, uint64_t n)
{
	n = (n ^ n >> log2) & ((1u << log2) - 1);
	return filter[n / 64] >> n % 64 & 1;
}

void note_large(struct mmu *mmu, uint64_t lin, uint64_t size)
{
	struct filter *f = &mmu->spaces->filter;

	if (size > 4 << 20)
		set_bit(f->huge, HUGE_BITS, lin >> 30);
	else
		for (uint64_t at = lin & ~(size - 1), end = at + size; at != end; at += 2 << 20)
			set_bit(f->large, LARGE_BITS, at >> 21);
}

bool may_be_large(const struct mmu *mmu, uint64_t lin)
{
	const struct filter *f = &mmu->spaces->filter;

	return get_bit(f->large, LARGE_BITS, lin >> 21) || get_bit(f->huge, HUGE_BITS, lin >> 30);
}

void mmu_note_target(struct mmu *mmu, uint64_t lin)
{
	struct filter *f = &mmu->spaces->filter;

	if (get_bit(f->target, TARGET_BITS, lin >> PAGE_SHIFT))
		return;
	if (++f->targets > 1 << (TARGET_BITS - 2))
		forget_targets(mmu);		/* too full to tell much */
	set_bit(f->target, TARGET_BITS, lin >> PAGE_SHIFT);
}

bool may_be_target(const struct mmu *mmu, uint64_t lin)
{
	return get_bit(mmu->spaces->filter.target, TARGET_BITS, lin >> PAGE_SHIFT);
}

void targets_changed(struct mmu *mmu, uint64_t lin)
{
	struct spaces *s = mmu->spaces;

	if (lin >> 63)
		mmu->gen[1] = new_gen(mmu);
	else if (mmu->global_low_code)
		forget_targets(mmu);
	else
		s->space[s->pcid].gen = mmu->gen[0] = new_gen(mmu);
}

/* ---- life */

int spaces_init(struct mmu *mmu)
{
	mmu->spaces = calloc(1, sizeof(*mmu->spaces));
	if (!mmu->spaces)
		return -ENOMEM;
	forget_targets(mmu);
	space_enter(mmu, 0);
	return 0;
}

void spaces_fini(struct mmu *mmu)
{
	free(mmu->spaces);
	mmu->spaces = NULL;
}
