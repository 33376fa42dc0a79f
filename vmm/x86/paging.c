/*
 * vmm/x86/paging.c - see paging.h.  SDM vol. 3 sections 4.2 to 4.8.
 *
 * Departures that the SDM leaves to the processor: accessed bits are set only
 * once the whole translation has succeeded; PAE page-directory pointers are
 * read at each walk instead of being held in registers from the load of CR3.
 */
#include "vmm/x86/paging.h"

enum { ENTRY_P = 1, ENTRY_W = 2, ENTRY_U = 4, ENTRY_A = 0x20, ENTRY_D = 0x40, ENTRY_PS = 0x80, ENTRY_G = 0x100 };
#define ENTRY_NX	(1ull << 63)

enum { MAX_LEVELS = 5 };

struct level {
	uint8_t shift, bits;	/* of the linear address: the index */
	bool large;		/* an entry with PS set maps a page here */
	bool bare;		/* an entry without rights, A or PS (PAE's page-directory pointer) */
};

struct format {
	uint8_t entry, levels;	/* bytes of an entry */
	uint64_t root;		/* bits of CR3 that hold the table's address */
	struct level level[MAX_LEVELS];
};

#define LEVEL(at, n)	{ .shift = (at), .bits = (n) }
#define LARGE(at, n)	{ .shift = (at), .bits = (n), .large = true }
#define BARE(at, n)	{ .shift = (at), .bits = (n), .bare = true }

static const struct format formats[X86_PAGING_FORMATS] = {
	[X86_PAGING_32] = { 4, 2, 0xfffff000, { LARGE(22, 10), LEVEL(12, 10) } },
	[X86_PAGING_PAE] = { 8, 3, 0xffffffe0, { BARE(30, 2), LARGE(21, 9), LEVEL(12, 9) } },
	[X86_PAGING_4L] = { 8, 4, 0xffffffffff000, { LEVEL(39, 9), LARGE(30, 9), LARGE(21, 9), LEVEL(12, 9) } },
	[X86_PAGING_5L] = { 8, 5, 0xffffffffff000, { LEVEL(48, 9), LEVEL(39, 9), LARGE(30, 9), LARGE(21, 9), LEVEL(12, 9) } },
};

static bool maps_page(const struct x86_paging *p, const struct level *l, uint64_t entry)
{
	return l->shift == 12 || (l->large && (entry & ENTRY_PS) && (p->format != X86_PAGING_32 || p->pse));
}

/* Bits of a present entry that must be zero. */
static uint64_t reserved(const struct x86_paging *p, const struct level *l, bool leaf)
{
	uint64_t mask;

	if (p->format == X86_PAGING_32) {
		if (!p->pse)
			return 0;	/* as processors without PSE, which had no such bit in the error code */
		return leaf && l->shift > 12 ? 0x003fe000 : 0;	/* PAT, but no 36-bit physical addresses */
	}
	mask = ((1ull << 52) - 1) & ~((1ull << p->phys_bits) - 1);
	if (p->format == X86_PAGING_PAE)
		mask |= 0x7ff0000000000000;
	if (!p->nxe || l->bare)
		mask |= ENTRY_NX;
	if (l->bare)
		return mask | 0x1e6;
	if (leaf && l->shift > 12)
		return mask | (((1ull << l->shift) - 1) & ~0x1fffull);
	if (!l->large && l->shift > 12)
		mask |= ENTRY_PS;
	return mask;
}

struct walk {
	unsigned depth;		/* entries visited */
	uint64_t gpa[MAX_LEVELS], entry[MAX_LEVELS];
	uint64_t rights;	/* W and U of all levels, ANDed */
	bool nx;
	unsigned shift;		/* log2 of the page's size */
};

/* Down to the leaf, or false with the error code's P and RSVD bits. */
static bool descend(const struct x86_paging *p, const struct format *f, uint64_t linear, struct walk *w, uint32_t *error)
{
	uint64_t table = p->cr3 & f->root;

	w->rights = ENTRY_W | ENTRY_U;
	w->nx = false;
	for (w->depth = 0; w->depth < f->levels; ) {
		const struct level *l = &f->level[w->depth];
		uint64_t gpa = table + (linear >> l->shift & ((1u << l->bits) - 1)) * f->entry;
		uint64_t entry = p->read(p->ctx, gpa, f->entry);
		bool leaf = maps_page(p, l, entry);

		if (!(entry & ENTRY_P)) {
			*error = 0;
			return false;
		}
		if (entry & reserved(p, l, leaf)) {
			*error = X86_PF_P | X86_PF_RSVD;
			return false;
		}
		w->gpa[w->depth] = gpa;
		w->entry[w->depth++] = entry;
		if (!l->bare) {
			w->rights &= entry;
			w->nx |= f->entry == 8 && p->nxe && entry & ENTRY_NX;
		}
		if (leaf) {
			w->shift = l->shift;
			return true;
		}
		table = entry & (f->entry == 4 ? 0xfffff000ull : 0xffffffffff000ull);
	}
	return false;	/* the last level is a leaf */
}

/* SMAP: the supervisor's data accesses to a user's page. */
static bool kept_out(const struct x86_paging *p, const struct walk *w, unsigned access)
{
	return p->smap && !(access & (X86_ACCESS_USER | X86_ACCESS_OPEN)) && (w->rights & ENTRY_U);
}

static bool allowed(const struct x86_paging *p, const struct walk *w, unsigned access)
{
	bool user = access & X86_ACCESS_USER;

	if (user && !(w->rights & ENTRY_U))
		return false;
	if ((access & X86_ACCESS_WRITE) && !(w->rights & ENTRY_W) && (user || p->wp))
		return false;
	if (access & X86_ACCESS_FETCH)
		return !w->nx && !(p->smep && !user && (w->rights & ENTRY_U));
	return !kept_out(p, w, access);
}

/* Set A on the way and D at the leaf.  False: an entry has changed under us, walk again. */
static bool mark(const struct x86_paging *p, const struct format *f, struct walk *w, unsigned access)
{
	for (unsigned i = 0; i < w->depth; i++) {
		uint64_t want = ENTRY_A;

		if (f->level[i].bare)
			continue;
		if (i == w->depth - 1 && (access & X86_ACCESS_WRITE))
			want |= ENTRY_D;
		if ((w->entry[i] & want) == want)
			continue;
		if (!p->update(p->ctx, w->gpa[i], f->entry, w->entry[i], w->entry[i] | want))
			return false;
		w->entry[i] |= want;
	}
	return true;
}

static uint32_t access_bits(const struct x86_paging *p, unsigned access)
{
	uint32_t bits = access & (X86_PF_W | X86_PF_U);

	if ((access & X86_ACCESS_FETCH) && ((p->nxe && p->format != X86_PAGING_32) || p->smep))
		bits |= X86_PF_I;
	return bits;
}

static void describe(const struct x86_paging *p, const struct walk *w, uint64_t linear, unsigned access, struct x86_page *page)
{
	uint64_t leaf = w->entry[w->depth - 1], size = 1ull << w->shift;
	uint64_t frame = leaf & (p->format == X86_PAGING_32 ? 0xfffff000ull : 0xffffffffff000ull);
	bool user = access & X86_ACCESS_USER, readable = !kept_out(p, w, access) && (!user || (w->rights & ENTRY_U));

	*page = (struct x86_page) {
		.gpa = (frame & ~(size - 1)) | (linear & (size - 1)),
		.size = size,
		.readable = readable,
		.writable = readable && (leaf & ENTRY_D) && ((w->rights & ENTRY_W) || (!user && !p->wp)),
		.user = w->rights & ENTRY_U,
		.global = p->pge && (leaf & ENTRY_G),
		.executable = !w->nx && !(p->smep && !user && (w->rights & ENTRY_U)),
	};
}

bool x86_walk(const struct x86_paging *p, uint64_t linear, unsigned access, struct x86_page *page, uint32_t *error)
{
	const struct format *f = &formats[p->format];
	struct walk w;

	if (p->format == X86_PAGING_NONE) {
		*page = (struct x86_page) { .gpa = linear, .readable = true, .writable = true, .user = true, .executable = true };
		return true;
	}
	do {
		if (!descend(p, f, linear, &w, error)) {
			*error |= access_bits(p, access);
			return false;
		}
		if (access & X86_ACCESS_LOOK)
			break;
		if (!allowed(p, &w, access)) {
			*error = X86_PF_P | access_bits(p, access);
			return false;
		}
	} while (!mark(p, f, &w, access));
	describe(p, &w, linear, access, page);
	return true;
}
