/*
 * vmm/x86/paging.h - the page walk, as architecture.
 *
 * Knows entries, rights and page-fault error codes; memory is reached through
 * the caller's two functions, so that an engine, a debugger and a unit test
 * walk by the same code.  Each format is a row of levels: 2-level with 4 MiB
 * pages (SDM vol. 3 ch. 4.3), PAE (4.4) and 4/5-level (4.5) paging.
 */
#ifndef CLEAVE_VMM_X86_PAGING_H
#define CLEAVE_VMM_X86_PAGING_H

#include <stdbool.h>
#include <stdint.h>

enum x86_paging_format { X86_PAGING_NONE, X86_PAGING_32, X86_PAGING_PAE, X86_PAGING_4L, X86_PAGING_5L, X86_PAGING_FORMATS };

/* Page-fault error code (SDM vol. 3 fig. 4-12). */
#define X86_PF_P	0x01u	/* a protection violation; else not present */
#define X86_PF_W	0x02u
#define X86_PF_U	0x04u
#define X86_PF_RSVD	0x08u
#define X86_PF_I	0x10u

/* What the access is. */
#define X86_ACCESS_READ		0u
#define X86_ACCESS_WRITE	X86_PF_W
#define X86_ACCESS_USER		X86_PF_U
#define X86_ACCESS_FETCH	X86_PF_I
#define X86_ACCESS_OPEN		0x200u	/* a supervisor's that SMAP does not stop: explicit, with EFLAGS.AC set */
#define X86_ACCESS_LOOK		0x100u	/* a debugger's: no rights are checked, A and D are left alone */

struct x86_paging {
	enum x86_paging_format format;
	uint64_t cr3;
	bool wp, pse, pge, nxe, smep, smap;
	uint8_t phys_bits;		/* 32 to 52 */
	/* Physical memory, for the caller's `ctx`.  Entries are naturally aligned; `size` is 4 or 8. */
	uint64_t (*read)(void *ctx, uint64_t gpa, unsigned size);
	bool (*update)(void *ctx, uint64_t gpa, unsigned size, uint64_t old, uint64_t val);	/* atomic; false: it was not `old` */
	void *ctx;
};

struct x86_page {
	uint64_t gpa;			/* of the linear address asked for */
	uint64_t size;			/* of the page that maps it: 4 KiB, 2, 4 MiB, 1 GiB; 0 with paging off */
	bool readable;			/* for the privilege that asked, as the next two */
	bool writable;			/* WP considered; D is set or the access was a write */
	bool executable;
	bool user, global;
};

/*
 * Translate.  True: *page is filled and A (and, for a write, D) are set in the
 * guest's entries.  False: *error is the error code of the #PF.
 * page->writable is false while D is clear, so that the first write walks again.
 */
bool x86_walk(const struct x86_paging *, uint64_t linear, unsigned access, struct x86_page *page, uint32_t *error);

#endif
