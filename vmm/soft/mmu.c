/*
 * vmm/soft/mmu.c - the software MMU: filling the TLB, and whatever misses it.
 *
 * Owns translation, the TLB's invariant (tlb.h; its second level and PCIDs are
 * space.c's), the marks of pages that hold decoded code, and accesses that are more than one host access: over a page
 * boundary, to device memory, ROM, code or watched pages.  Knows no instruction
 * and no segment.
 *
 * SDM vol. 3 ch. 4 (paging, TLBs: 4.10), 6.15 #AC and #PF, 17.2 (data breakpoints).
 */
#include "vmm/soft/mmu.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/inout.h"
#include "vmm/mem.h"
#include "vmm/soft/insn.h"
#include "vmm/soft/space.h"
#include "vmm/soft/system.h"
#include "vmm/vm.h"
#include "vmm/x86/control.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/exception.h"
#include "vmm/x86/paging.h"

enum { READ = 0, WRITE = X86_ACCESS_WRITE, FETCH = X86_ACCESS_FETCH };

/* Addresses of descriptor tables, TSS and their like (`system`) are 64 bits wide in compatibility mode too. */
static uint64_t truncate_linear(const struct cpu *cpu, uint64_t lin, bool system)
{
	return (system ? cpu_long(cpu) : cpu_code64(cpu)) ? lin : (uint32_t)lin;
}

/* ---- the page walk's view of physical memory */

static uint64_t walk_read(void *ctx, uint64_t gpa, unsigned size)
{
	struct cpu *cpu = ctx;
	struct mem_page m;

	gpa &= cpu->mmu.a20_mask;
	m = mem_lookup(cpu->vcpu->vm->mem, gpa & PAGE_FRAME);
	if (!m.read)
		return ~0ull;
	if (size == 4)
		return __atomic_load_n((uint32_t *)(m.read + (gpa & PAGE_OFFSET)), __ATOMIC_RELAXED);
	return __atomic_load_n((uint64_t *)(m.read + (gpa & PAGE_OFFSET)), __ATOMIC_RELAXED);
}

static bool code_marked(const struct mmu *mmu, uint64_t gpa)
{
	uint64_t page = gpa >> PAGE_SHIFT;

	return page < mmu->code_pages && mmu->code[page / 64] >> page % 64 & 1;
}

/* Bytes of a page with decoded code change. */
static void code_store(struct cpu *cpu, uint64_t gpa, unsigned len)
{
	if (code_marked(&cpu->mmu, gpa) && block_invalidate(cpu, gpa, len))
		mmu_code_page_drop(cpu, gpa);
}

static bool walk_update(void *ctx, uint64_t gpa, unsigned size, uint64_t old, uint64_t val)
{
	struct cpu *cpu = ctx;
	struct mem_page m;
	uint32_t old32 = old;

	gpa &= cpu->mmu.a20_mask;
	m = mem_lookup(cpu->vcpu->vm->mem, gpa & PAGE_FRAME);
	if (!m.write)
		return true;	/* tables in ROM: the write goes nowhere */
	code_store(cpu, gpa, size);
	if (size == 4)
		return __atomic_compare_exchange_n((uint32_t *)(m.write + (gpa & PAGE_OFFSET)), &old32, (uint32_t)val, false,
						   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	return __atomic_compare_exchange_n((uint64_t *)(m.write + (gpa & PAGE_OFFSET)), &old, val, false,
					   __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static enum x86_paging_format format_of(const struct cpu *cpu)
{
	if (!(cpu->cr0 & X86_CR0_PG))
		return X86_PAGING_NONE;
	if (cpu_long(cpu))
		return cpu->cr4 & X86_CR4_LA57 ? X86_PAGING_5L : X86_PAGING_4L;
	return cpu->cr4 & X86_CR4_PAE ? X86_PAGING_PAE : X86_PAGING_32;
}

static struct x86_paging paging_of(struct cpu *cpu)
{
	return (struct x86_paging) {
		.format = format_of(cpu),
		.cr3 = cpu->cr3,
		.wp = cpu->cr0 & X86_CR0_WP,
		.pse = cpu->cr4 & X86_CR4_PSE,
		.pge = cpu->cr4 & X86_CR4_PGE,
		.nxe = cpu->efer & X86_EFER_NXE,
		.smep = cpu->cr4 & X86_CR4_SMEP,
		.smap = cpu->cr4 & X86_CR4_SMAP,
		.phys_bits = X86_PHYS_BITS,
		.read = walk_read,
		.update = walk_update,
		.ctx = cpu,
	};
}

bool mmu_translate(struct cpu *cpu, uint64_t lin, uint64_t *gpa)
{
	struct x86_paging p = paging_of(cpu);
	struct x86_page page;
	uint32_t error;

	lin = truncate_linear(cpu, lin, true);
	if (!cpu_canonical(cpu, lin) || !x86_walk(&p, lin, X86_ACCESS_LOOK, &page, &error))
		return false;
	*gpa = page.gpa & cpu->mmu.a20_mask;
	return true;
}

/* ---- filling and dropping entries */

static void drop_entry(struct tlb_set *set, unsigned i)
{
	set->e[i].read = set->e[i].write = set->e[i].exec = TLB_EMPTY;
}

/* Tags of an entry for what `page` allows and memory offers. */
static void set_entry(struct cpu *cpu, struct tlb_set *set, uint64_t lin, const struct x86_page *page)
{
	struct mmu *mmu = &cpu->mmu;
	struct tlb_entry *e = tlb_at(set->e, lin);
	unsigned i = e - set->e;
	uint64_t at = lin & PAGE_FRAME, gpa = page->gpa & PAGE_FRAME & mmu->a20_mask;
	struct mem_page m = mem_lookup(cpu->vcpu->vm->mem, gpa);
	uint8_t *host = m.read ? m.read : m.write;

	set->used[i / 64] |= 1ull << i % 64;
	set->local[i / 64] &= ~(1ull << i % 64);
	set->local[i / 64] |= (uint64_t)!page->global << i % 64;
	set->info[i] = (struct tlb_info) { .gpa = gpa, .write = m.write };
	e->addend = (uintptr_t)host - at;
	e->read = e->write = TLB_EMPTY;
	if (page->readable)
		e->read = at | (m.read ? 0 : TLB_MMIO) | (debug_watches(cpu, at, false) ? TLB_WATCH : 0);
	mmu->local_code |= page->executable && !page->global && at >> 63;
	mmu->global_low_code |= page->executable && page->global && !(at >> 63);
	e->exec = page->executable ? at | (m.read ? 0 : TLB_MMIO) : TLB_EMPTY;
	if (page->writable)
		e->write = at | (m.write ? 0 : m.rom ? TLB_DROP : TLB_MMIO) | (m.write && m.write != host ? TLB_SPLIT : 0)
			| (code_marked(mmu, gpa) ? TLB_CODE : 0) | (debug_watches(cpu, at, true) ? TLB_WATCH : 0);
}

static _Noreturn void page_fault(struct cpu *cpu, uint64_t lin, uint32_t error)
{
	cpu->cr2 = lin;
	cpu_fault(cpu, X86_PF, error);
}

static bool grants(const struct x86_page *page, unsigned access)
{
	return access == WRITE ? page->writable : access == FETCH ? page->executable : page->readable;
}

static void walk(struct cpu *cpu, unsigned set, uint64_t lin, unsigned access, struct x86_page *page)
{
	static const unsigned privilege[MMU_SETS] = { [MMU_USER] = X86_ACCESS_USER, [MMU_OPEN] = X86_ACCESS_OPEN };
	struct x86_paging p = paging_of(cpu);
	uint32_t error;

	if (!cpu_canonical(cpu, lin))
		cpu_fault(cpu, X86_GP, 0);
	if (!x86_walk(&p, lin, access | privilege[set], page, &error))
		page_fault(cpu, lin, error);
	if (page->size > PAGE_BYTES)
		note_large(&cpu->mmu, lin, page->size);
	if (p.format != X86_PAGING_NONE)
		tlb2_store(&cpu->mmu, set, lin, page);
	cpu->mmu.walks++;
}

static void fill(struct cpu *cpu, struct tlb_set *set, uint64_t lin, unsigned access)
{
	unsigned s = set - cpu->mmu.set;
	struct x86_page page;

	if (!tlb2_find(&cpu->mmu, s, lin, &page) || !grants(&page, access))
		walk(cpu, s, lin, access, &page);
	cpu->mmu.fills++;
	set_entry(cpu, set, lin, &page);
}

static bool tag_holds(uint64_t tag, uint64_t lin)
{
	return !((tag ^ lin) & PAGE_FRAME) && !(tag & TLB_INVALID);
}

static struct tlb_entry *lookup(struct cpu *cpu, struct tlb_set *set, uint64_t lin, unsigned access)
{
	struct tlb_entry *e = tlb_at(set->e, lin);
	uint64_t tag = access == WRITE ? e->write : access == FETCH ? e->exec : e->read;

	if (!tag_holds(tag, lin))
		fill(cpu, set, lin, access);
	return e;
}

static void flush_set(struct tlb_set *set, bool globals)
{
	for (unsigned w = 0; w < TLB_ENTRIES / 64; w++) {
		uint64_t drop = globals ? set->used[w] : set->local[w];

		set->used[w] &= ~drop;
		set->local[w] = 0;
		for (; drop; drop &= drop - 1)
			drop_entry(set, w * 64 + __builtin_ctzll(drop));
	}
}

static void flush_sets(struct mmu *mmu, bool globals)
{
	for (unsigned s = 0; s < MMU_SETS; s++)
		flush_set(&mmu->set[s], globals);
	mmu->flushes++;
}

static unsigned pcid_of(const struct cpu *cpu)
{
	return cpu->cr4 & X86_CR4_PCIDE ? cpu->cr3 & X86_CR3_PCID : 0;
}

void mmu_switch(struct cpu *cpu)
{
	flush_sets(&cpu->mmu, false);
	space_enter(&cpu->mmu, pcid_of(cpu));
}

void mmu_flush(struct cpu *cpu, bool globals)
{
	if (globals)
		spaces_reset(&cpu->mmu);
	else
		space_forget(&cpu->mmu, pcid_of(cpu));
	flush_sets(&cpu->mmu, globals);
	space_enter(&cpu->mmu, pcid_of(cpu));
}

void mmu_forget(struct cpu *cpu, unsigned pcid)
{
	if (pcid == pcid_of(cpu))
		mmu_flush(cpu, false);
	else
		space_forget(&cpu->mmu, pcid);
}

void mmu_forget_each(struct cpu *cpu)
{
	space_forget_each(&cpu->mmu);
	mmu_flush(cpu, false);
}

void mmu_invlpg(struct cpu *cpu, uint64_t lin)
{
	struct mmu *mmu = &cpu->mmu;

	lin = truncate_linear(cpu, lin, false);
	if (may_be_large(mmu, lin)) {
		mmu_flush(cpu, true);
		return;
	}
	for (unsigned s = 0; s < MMU_SETS; s++)
		drop_entry(&mmu->set[s], tlb_at(mmu->set[s].e, lin) - mmu->set[s].e);
	tlb2_drop(mmu, lin);
	if (may_be_target(mmu, lin))
		targets_changed(mmu, lin);
}

void mmu_set_a20(struct cpu *cpu, bool on)
{
	uint64_t mask = on ? ~0ull : ~(1ull << 20);

	if (mask == cpu->mmu.a20_mask)
		return;
	cpu->mmu.a20_mask = mask;
	mmu_flush(cpu, true);
}

static struct tlb_set *set_of(struct cpu *cpu, bool system)
{
	return &cpu->mmu.set[system ? MMU_SUPERVISOR : mode_set(cpu->mode)];
}

void mmu_select(struct cpu *cpu)
{
	struct mmu *mmu = &cpu->mmu;

	mmu->hit = cpu->mode & MODE_CHECKED ? mmu->none : set_of(cpu, false)->e;
}

/* ---- pages with decoded code */

/* The link's byte for the page, which the device model's DMA looks at. */
static void publish_code(struct cpu *cpu, uint64_t page, uint8_t mark)
{
	struct vm *vm = cpu->vcpu->vm;

	if (vm->code_bytes && page < vm->code_pages)
		__atomic_store_n(&vm->code_bytes[page], mark, __ATOMIC_SEQ_CST);
}

void mmu_code_page_add(struct cpu *cpu, uint64_t gpa)
{
	struct mmu *mmu = &cpu->mmu;
	uint64_t page = gpa >> PAGE_SHIFT;

	if (page >= mmu->code_pages || code_marked(mmu, gpa))
		return;
	mmu->code[page / 64] |= 1ull << page % 64;
	publish_code(cpu, page, 1);
	for (unsigned s = 0; s < MMU_SETS; s++) {
		struct tlb_set *set = &mmu->set[s];

		for (unsigned w = 0; w < TLB_ENTRIES / 64; w++)
			for (uint64_t bits = set->used[w]; bits; bits &= bits - 1) {
				unsigned i = w * 64 + __builtin_ctzll(bits);

				if (set->info[i].gpa >> PAGE_SHIFT == page && !(set->e[i].write & TLB_INVALID))
					set->e[i].write |= TLB_CODE;
			}
	}
}

/* Entries keep TLB_CODE until their next store finds the mark gone. */
void mmu_code_page_drop(struct cpu *cpu, uint64_t gpa)
{
	uint64_t page = gpa >> PAGE_SHIFT;

	if (page >= cpu->mmu.code_pages)
		return;
	cpu->mmu.code[page / 64] &= ~(1ull << page % 64);
	publish_code(cpu, page, 0);
}

/* ---- held ranges: the general access */

static bool same_page(uint64_t lin, uint64_t len)
{
	return (lin & PAGE_OFFSET) + len <= PAGE_BYTES;
}

static uint8_t *entry_host(const struct tlb_set *set, const struct tlb_entry *e, uint64_t lin, bool write)
{
	if ((write ? e->write : e->read) & (TLB_MMIO | TLB_DROP))
		return NULL;
	if (write && (e->write & TLB_SPLIT))
		return set->info[e - set->e].write + (lin & PAGE_OFFSET);
	return (uint8_t *)(lin + e->addend);
}

static void probe_part(struct cpu *cpu, struct tlb_set *set, uint64_t lin, unsigned len, bool write, struct mmu_part *part)
{
	struct tlb_entry *e = lookup(cpu, set, lin, write ? WRITE : READ);

	part->gpa = set->info[e - set->e].gpa | (lin & PAGE_OFFSET);
	if (write && (e->write & TLB_CODE) && !code_marked(&cpu->mmu, part->gpa))
		e->write &= ~(uint64_t)TLB_CODE;
	part->host = entry_host(set, e, lin, write);
	part->len = len;
	part->drop = write && (e->write & TLB_DROP);
}

static bool watched(struct tlb_set *set, uint64_t lin, bool write)
{
	const struct tlb_entry *e = tlb_at(set->e, lin);

	return (write ? e->write : e->read) & TLB_WATCH;
}

static void probe(struct cpu *cpu, bool system, uint64_t lin, unsigned len, bool write, struct mmu_held *held)
{
	struct tlb_set *set = set_of(cpu, system);
	unsigned first = same_page(lin, len) ? len : PAGE_BYTES - (lin & PAGE_OFFSET);
	uint64_t second = truncate_linear(cpu, lin + first, system);

	held->lin = lin;
	held->parts = 1;
	probe_part(cpu, set, lin, first, write, &held->part[0]);
	if (first < len) {
		held->parts = 2;
		probe_part(cpu, set, second, len - first, write, &held->part[1]);
	}
	if (watched(set, lin, write))
		debug_data(cpu, lin, first, write);
	if (first < len && watched(set, second, write))
		debug_data(cpu, second, len - first, write);
}

void mmu_probe_read(struct cpu *cpu, uint64_t lin, unsigned len, struct mmu_held *held)
{
	probe(cpu, false, truncate_linear(cpu, lin, false), len, false, held);
}

void mmu_probe_write(struct cpu *cpu, uint64_t lin, unsigned len, struct mmu_held *held)
{
	probe(cpu, false, truncate_linear(cpu, lin, false), len, true, held);
}

void mmu_probe_system(struct cpu *cpu, uint64_t lin, unsigned len)
{
	struct mmu_held held;

	probe(cpu, true, truncate_linear(cpu, lin, true), len, true, &held);
}

static bool part_is_mmio(const struct mmu_part *p)
{
	return !p->host && !p->drop;
}

bool mmu_held_is_mmio(const struct mmu_held *held)
{
	return part_is_mmio(&held->part[0]) || (held->parts == 2 && part_is_mmio(&held->part[1]));
}

/* One access if len is a size that a bus knows, else the largest naturally aligned one that starts at gpa. */
static unsigned mmio_chunk(uint64_t gpa, unsigned len)
{
	unsigned n = 8;

	while (n > len || (n < len && (gpa & (n - 1))))
		n /= 2;
	return n;
}

/*
 * An instruction that touches device memory runs on its own, so that its
 * accesses can be told from those of its neighbours and retire with it.
 */
static void run_alone(struct cpu *cpu)
{
	if (cpu->stepping)
		return;
	cpu->alone = true;
	cpu_unwind(cpu, UNWIND_BLOCK);
}

static void mmio_load(struct cpu *cpu, uint64_t gpa, unsigned len, uint8_t *data)
{
	run_alone(cpu);
	while (len) {
		unsigned n = mmio_chunk(gpa, len);
		uint64_t v = 0;

		if (inout_mmio_read(cpu->vcpu, gpa, n, &v) == IO_WAIT)
			cpu_unwind(cpu, UNWIND_PENDING);
		memcpy(data, &v, n);
		data += n, gpa += n, len -= n;
	}
}

static void mmio_store(struct cpu *cpu, uint64_t gpa, unsigned len, const uint8_t *data)
{
	run_alone(cpu);
	while (len) {
		unsigned n = mmio_chunk(gpa, len);
		uint64_t v = 0;

		memcpy(&v, data, n);
		if (inout_mmio_write(cpu->vcpu, gpa, n, v) == IO_WAIT)
			cpu_unwind(cpu, UNWIND_PENDING);
		data += n, gpa += n, len -= n;
	}
}

/* One host access where it is one: 1, 2, 4 or 8 bytes. */
static void host_copy(void *to, const void *from, unsigned len)
{
	switch (len) {
	case 1: ((volatile struct mmu_u8 *)to)->v = ((const volatile struct mmu_u8 *)from)->v; break;
	case 2: ((volatile struct mmu_u16 *)to)->v = ((const volatile struct mmu_u16 *)from)->v; break;
	case 4: ((volatile struct mmu_u32 *)to)->v = ((const volatile struct mmu_u32 *)from)->v; break;
	case 8: ((volatile struct mmu_u64 *)to)->v = ((const volatile struct mmu_u64 *)from)->v; break;
	default: memcpy(to, from, len);
	}
}

void mmu_held_load(struct cpu *cpu, const struct mmu_held *held, void *data)
{
	uint8_t *to = data;

	for (unsigned i = 0; i < held->parts; to += held->part[i++].len) {
		const struct mmu_part *p = &held->part[i];

		if (p->host)
			host_copy(to, p->host, p->len);
		else
			mmio_load(cpu, p->gpa, p->len, to);
	}
}

void mmu_held_store(struct cpu *cpu, const struct mmu_held *held, const void *data)
{
	const uint8_t *from = data;

	for (unsigned i = 0; i < held->parts; from += held->part[i++].len)
		if (part_is_mmio(&held->part[i]))
			mmio_store(cpu, held->part[i].gpa, held->part[i].len, from);
	from = data;
	for (unsigned i = 0; i < held->parts; from += held->part[i++].len) {
		const struct mmu_part *p = &held->part[i];

		if (!p->host)
			continue;
		code_store(cpu, p->gpa, p->len);
		host_copy(p->host, from, p->len);
	}
}

void mmu_held_touch(struct cpu *cpu, const struct mmu_held *held)
{
	for (unsigned i = 0; i < held->parts; i++)
		code_store(cpu, held->part[i].gpa, held->part[i].len);
}

/* ---- what the inlined hit falls back to */

void mmu_check_alignment(struct cpu *cpu, uint64_t lin, unsigned size)
{
	if ((lin & (size - 1)) && cpu->mmu.hit == cpu->mmu.none)
		cpu_fault(cpu, X86_AC, 0);
}

uint64_t mmu_lin_ld_slow(struct cpu *cpu, uint64_t lin, unsigned size, bool system)
{
	struct mmu_held held;
	uint64_t val = 0;

	lin = truncate_linear(cpu, lin, system);
	if (!system)
		mmu_check_alignment(cpu, lin, size);
	probe(cpu, system, lin, size, false, &held);
	mmu_held_load(cpu, &held, &val);
	return val;
}

void mmu_lin_st_slow(struct cpu *cpu, uint64_t lin, unsigned size, uint64_t val, bool system)
{
	struct mmu_held held;

	lin = truncate_linear(cpu, lin, system);
	if (!system)
		mmu_check_alignment(cpu, lin, size);
	probe(cpu, system, lin, size, true, &held);
	mmu_held_store(cpu, &held, &val);
}

uint64_t mmu_ld_slow(struct cpu *cpu, unsigned seg, uint64_t off, unsigned size)
{
	return mmu_lin_ld_slow(cpu, mmu_linear(cpu, seg, off, size, false), size, false);
}

void mmu_st_slow(struct cpu *cpu, unsigned seg, uint64_t off, unsigned size, uint64_t val)
{
	mmu_lin_st_slow(cpu, mmu_linear(cpu, seg, off, size, true), size, val, false);
}

/*
 * Read for modification.  Where both sides are one run of RAM the caller may
 * use the host's own atomic operation even if there is code or a breakpoint on
 * the page: those are dealt with now, since the store will certainly follow.
 */
uint64_t mmu_rmw_slow(struct cpu *cpu, struct rmw *h, unsigned seg, uint64_t off, unsigned size)
{
	uint64_t lin = mmu_linear(cpu, seg, off, size, true), val = 0;
	struct mmu_held from;

	mmu_check_alignment(cpu, lin, size);
	h->host = NULL;
	mmu_probe_write(cpu, lin, size, &h->held);
	mmu_probe_read(cpu, lin, size, &from);
	mmu_held_load(cpu, &from, &val);
	if (h->held.parts == 1 && h->held.part[0].host && h->held.part[0].host == from.part[0].host) {
		code_store(cpu, h->held.part[0].gpa, size);
		h->host = h->held.part[0].host;
	}
	return val;
}

void mmu_rmw_store(struct cpu *cpu, const struct rmw *h, uint64_t val)
{
	mmu_held_store(cpu, &h->held, &val);
}

static uint8_t *span(struct cpu *cpu, uint64_t lin, bool write)
{
	struct tlb_set *set = set_of(cpu, false);
	struct tlb_entry *e;

	lin = truncate_linear(cpu, lin, false);
	if (cpu->mmu.hit == cpu->mmu.none)
		return NULL;
	e = lookup(cpu, set, lin, write ? WRITE : READ);
	if ((write ? e->write : e->read) != (lin & PAGE_FRAME))
		return NULL;
	return (uint8_t *)(lin + e->addend);
}

uint8_t *mmu_span_read(struct cpu *cpu, uint64_t lin)
{
	return span(cpu, lin, false);
}

uint8_t *mmu_span_write(struct cpu *cpu, uint64_t lin)
{
	return span(cpu, lin, true);
}

const uint8_t *mmu_fetch_page(struct cpu *cpu, uint64_t lin, uint64_t *gpa)
{
	struct tlb_set *set = set_of(cpu, false);
	struct tlb_entry *e;

	lin = truncate_linear(cpu, lin, false);
	e = lookup(cpu, set, lin, FETCH);	/* CR2 takes the byte that was fetched, not its page */
	lin &= PAGE_FRAME;
	*gpa = set->info[e - set->e].gpa;
	return e->exec & TLB_MMIO ? NULL : (const uint8_t *)(lin + e->addend);
}

/* ---- life */

int mmu_init(struct cpu *cpu)
{
	struct mmu *mmu = &cpu->mmu;

	mmu->code_pages = (mem_ram_bytes(cpu->vcpu->vm->mem) + (4ull << 30)) >> PAGE_SHIFT;
	mmu->set = calloc(MMU_SETS, sizeof(*mmu->set));
	mmu->none = malloc(TLB_ENTRIES * sizeof(*mmu->none));
	mmu->code = calloc(mmu->code_pages / 64 + 1, sizeof(*mmu->code));
	if (!mmu->set || !mmu->none || !mmu->code || spaces_init(mmu)) {
		mmu_fini(cpu);
		return -ENOMEM;
	}
	for (unsigned s = 0; s < MMU_SETS; s++)
		for (unsigned i = 0; i < TLB_ENTRIES; i++)
			drop_entry(&mmu->set[s], i);
	memset(mmu->none, 0xff, TLB_ENTRIES * sizeof(*mmu->none));
	mmu->a20_mask = ~0ull;
	mmu->map_gen = mem_map_gen(cpu->vcpu->vm->mem);
	mmu_select(cpu);
	return 0;
}

void mmu_fini(struct cpu *cpu)
{
	free(cpu->mmu.set);
	free(cpu->mmu.none);
	free(cpu->mmu.code);
	spaces_fini(&cpu->mmu);
	cpu->mmu.set = NULL;
	cpu->mmu.none = NULL;
	cpu->mmu.code = NULL;
}

void mmu_check(struct cpu *cpu)
{
	for (unsigned s = 0; s < MMU_SETS; s++) {
		const struct tlb_set *set = &cpu->mmu.set[s];

		for (unsigned i = 0; i < TLB_ENTRIES; i++) {
			const struct tlb_entry *e = &set->e[i];

			if (e->read == TLB_EMPTY && e->write == TLB_EMPTY && e->exec == TLB_EMPTY)
				continue;
			assert(set->used[i / 64] >> i % 64 & 1);
			assert(e->write == TLB_EMPTY || !((e->read ^ e->write) & PAGE_FRAME));
			assert(!code_marked(&cpu->mmu, set->info[i].gpa) || (e->write & (TLB_CODE | TLB_INVALID)));
		}
	}
}
