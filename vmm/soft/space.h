/*
 * vmm/soft/space.h - what is remembered of address spaces beyond the running one.
 *
 * The sets of tlb.h hold the running space's translations and the global ones,
 * so that a hit asks for no tag.  Behind them is a second level, larger and
 * tagged: a space is known by its PCID (0 where there are none), and has a stamp
 * that its entries carry.  To forget a space is to give it another stamp.
 *
 * The second level keeps what a walk has found for one set, so that rights need
 * no thought: whoever needs more than an entry grants walks again.
 *
 * A space also has a generation, for caches by linear address (mmu_gen()): it
 * is the same again when the space runs again, and another one as soon as a fetch
 * translation in it may have changed.
 *
 * One vCPU's thread.  SDM vol. 3 section 4.10.
 */
#ifndef CLEAVE_VMM_SOFT_SPACE_H
#define CLEAVE_VMM_SOFT_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/soft/tlb.h"
#include "vmm/x86/paging.h"

int spaces_init(struct mmu *);		/* 0 or -ENOMEM */
void spaces_fini(struct mmu *);

/* The space that runs from now on. */
void space_enter(struct mmu *, unsigned pcid);
/* Its translations but the global ones; the running one must be entered again. */
void space_forget(struct mmu *, unsigned pcid);
void space_forget_each(struct mmu *);
/* Everything: global translations, large pages, code.  Enter one again. */
void spaces_reset(struct mmu *);

/* Second level.  `set` is one of MMU_*.  False: it has nothing. */
bool tlb2_find(const struct mmu *, unsigned set, uint64_t lin, struct x86_page *);
void tlb2_store(struct mmu *, unsigned set, uint64_t lin, const struct x86_page *);
/* One page, of the running space and the global one. */
void tlb2_drop(struct mmu *, uint64_t lin);

/*
 * Filters: false means never since the last reset; true may be an error.
 * Was a part of the large page that maps `lin` cached?  Is there a cached
 * branch target on its page?
 */
void note_large(struct mmu *, uint64_t lin, uint64_t size);
bool may_be_large(const struct mmu *, uint64_t lin);
bool may_be_target(const struct mmu *, uint64_t lin);
/* A fetch translation on this page may have changed: what is cached by linear address goes. */
void targets_changed(struct mmu *, uint64_t lin);

#endif
