/*
 * vmm/soft/rehearsal.h - execution that does not count: while cpu->mmu.rehearsal
 * is set no access hits the TLB, and stores go to copies of the pages.
 *
 * What cannot be taken back ends it by cpu_unwind(UNWIND_BLOCK): device memory,
 * a store to decoded code, a walk of page tables that are among the copies.
 * One vCPU's thread; the MMU's slow paths call here.
 */
#ifndef CLEAVE_VMM_SOFT_REHEARSAL_H
#define CLEAVE_VMM_SOFT_REHEARSAL_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/soft/tlb.h"

enum { REHEARSED_PAGES = 16, LINE_SHIFT = 6 };

struct rehearsed_page {
	uint8_t *host;				/* where it stands */
	uint64_t lines;				/* a bit for each 64 bytes that were stored to */
	_Alignas(64) uint8_t before[PAGE_BYTES];/* as it was when the first store came */
	_Alignas(64) uint8_t copy[PAGE_BYTES];	/* aligned as the page is, for CMPXCHG16B */
};

struct rehearsal {
	unsigned pages;
	struct rehearsed_page page[REHEARSED_PAGES];
};

/* Where `len` bytes of one page are to be read, or written (NULL: too many pages). */
uint8_t *rehearsal_read(struct rehearsal *, uint8_t *host);
uint8_t *rehearsal_write(struct rehearsal *, uint8_t *host, unsigned len);
bool rehearsal_holds(const struct rehearsal *, const uint8_t *host);
/* Once more from the beginning: the copies are as the pages were. */
void rehearsal_again(struct rehearsal *);
/* The first line that is not as rehearsed, or NULL. */
const uint8_t *rehearsal_differs(const struct rehearsal *, const struct rehearsed_page **);
/* Every line that was stored to, as it was. */
void rehearsal_undo(const struct rehearsal *);

#endif
