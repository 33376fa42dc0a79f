/*
 * vmm/boot/state.c - the processor's first state when no firmware runs.
 *
 * SDM vol. 3: 3.4.5 (descriptors), 4.5 (4-level paging), 10.8.5 (entering
 * IA-32e mode: this is its result), 12.11.2.1 (default memory type).  Linux's boot protocols want the code
 * segment at 10h and the data segment at 18h; PVH and multiboot do not care.
 */
#include "vmm/boot/load.h"

#include <string.h>

#include "vmm/x86/control.h"
#include "vmm/x86/segment.h"
#include "vmm/x86/state.h"

#define MTRR_ENABLE	(1u << 11)
#define MTRR_WRITE_BACK	6u

#define PTE_PRESENT	0x01u
#define PTE_WRITE	0x02u
#define PTE_LARGE	0x80u

enum { GDT_ENTRIES = 5, TSS_LIMIT = 0x67, MAPPED_GIB = 4, TABLE_ENTRIES = 512 };

#define GDT_CODE32	0x00cf9b000000ffffull
#define GDT_CODE64	0x00af9b000000ffffull
#define GDT_DATA	0x00cf93000000ffffull
#define GDT_TSS		0x00008b0000000067ull

static void set_segments(struct x86_state *s, bool is64)
{
	const uint32_t code = 0xb | X86_ATTR_S | X86_ATTR_P | X86_ATTR_G | (is64 ? X86_ATTR_L : X86_ATTR_DB);
	const uint32_t data = 0x3 | X86_ATTR_S | X86_ATTR_P | X86_ATTR_G | X86_ATTR_DB;

	for (unsigned i = 0; i < X86_LDTR; i++)
		s->seg[i] = (struct x86_segment){ .limit = ~0u, .attr = i == X86_CS ? code : data,
						  .selector = i == X86_CS ? LOAD_CS : LOAD_DS };
	s->seg[X86_LDTR] = (struct x86_segment){ .attr = 0x2 | X86_ATTR_P };
	s->seg[X86_TR] = (struct x86_segment){ .limit = TSS_LIMIT, .attr = 0xb | X86_ATTR_P, .selector = LOAD_TR };
}

static int set_common(struct load *l, uint64_t entry, bool is64)
{
	struct x86_state *s = l->state;
	uint64_t gdt, *entries;
	int ret = load_info(l, "the descriptor table", GDT_ENTRIES * sizeof(uint64_t), &gdt);

	if (ret)
		return ret;
	entries = load_at(l, gdt);
	entries[LOAD_CS / 8] = is64 ? GDT_CODE64 : GDT_CODE32;
	entries[LOAD_DS / 8] = GDT_DATA;
	entries[LOAD_TR / 8] = GDT_TSS;
	memset(s->gpr, 0, sizeof(s->gpr));
	set_segments(s, is64);
	s->gdtr = (struct x86_table){ .base = gdt, .limit = GDT_ENTRIES * sizeof(uint64_t) - 1 };
	s->idtr = (struct x86_table){ 0 };
	s->rip = entry;
	s->rflags = 0x2;
	s->cr0 = X86_CR0_PE | X86_CR0_ET;
	s->cr2 = s->cr3 = s->cr4 = s->cr8 = 0;
	s->efer = 0;
	/* Firmware would have made RAM cacheable; devices are the page tables' to except. */
	s->mtrr_def_type = MTRR_ENABLE | MTRR_WRITE_BACK;
	s->cpl = 0;
	s->halted = s->sti_shadow = s->nmi_blocked = false;
	return 0;
}

int load_state32(struct load *l, uint64_t entry)
{
	return set_common(l, entry, false);
}

/* PML4, its one page of gigabytes, and their directories of 2 MiB pages. */
static int map_identity(struct load *l, uint64_t *root)
{
	uint64_t *pml4, *pdpt, *pd, pages;
	int ret = load_info(l, "the page tables", (2 + MAPPED_GIB) * LOAD_PAGE, &pages);

	if (ret)
		return ret;
	pml4 = load_at(l, pages);
	pdpt = pml4 + TABLE_ENTRIES;
	pd = pdpt + TABLE_ENTRIES;
	pml4[0] = (pages + LOAD_PAGE) | PTE_PRESENT | PTE_WRITE;
	for (uint64_t i = 0; i < MAPPED_GIB; i++)
		pdpt[i] = (pages + (2 + i) * LOAD_PAGE) | PTE_PRESENT | PTE_WRITE;
	for (uint64_t i = 0; i < MAPPED_GIB * TABLE_ENTRIES; i++)
		pd[i] = i << 21 | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
	*root = pages;
	return 0;
}

int load_state64(struct load *l, uint64_t entry)
{
	struct x86_state *s = l->state;
	int ret = set_common(l, entry, true);

	if (!ret)
		ret = map_identity(l, &s->cr3);
	if (ret)
		return ret;
	s->cr0 |= X86_CR0_PG;
	s->cr4 = X86_CR4_PAE;
	s->efer = X86_EFER_LME | X86_EFER_LMA;
	return 0;
}
