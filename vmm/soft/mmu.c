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
#include <sys/mman.h>

#include "vmm/inout.h"
#include "vmm/mem.h"
#include "vmm/soft/insn.h"
#include "vmm/soft/rehearsal.h"
#include "vmm/soft/space.h"
#include "vmm/soft/system.h"
#include "vmm/stats.h"
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

/* What comes next is not for a rehearsal. */
static void end_rehearsal(struct cpu *cpu)
{
	if (cpu->mmu.rehearsal)
		cpu_unwind(cpu, UNWIND_BLOCK);
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
	if (cpu->mmu.rehearsal && rehearsal_holds(cpu->mmu.rehearsal, m.read))
		end_rehearsal(cpu);
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
	if (!code_marked(&cpu->mmu, gpa))
		return;
	end_rehearsal(cpu);
	if (block_invalidate(cpu, gpa, len))
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

enum { FIRST = ~0u };		/* tlb_info.prev of a chain's first; 0: in none */

static struct tlb_info *info_at(struct tlb *t, uint32_t number)
{
	return &t->notes[(number - 1) / TLB_ENTRIES].info[(number - 1) % TLB_ENTRIES];
}

static uint32_t *chain_of(struct tlb *t, uint64_t gpa)
{
	uint64_t page = gpa >> PAGE_SHIFT;

	return &t->chain[(page ^ page >> TLB_BITS) % TLB_ENTRIES];
}

static void chain_add(struct tlb *t, uint32_t number)
{
	struct tlb_info *e = info_at(t, number);
	uint32_t *head = chain_of(t, e->gpa);

	e->prev = FIRST;
	e->next = *head;
	if (*head)
		info_at(t, *head)->prev = number;
	*head = number;
}

static void chain_remove(struct tlb *t, struct tlb_info *e)
{
	if (e->next)
		info_at(t, e->next)->prev = e->prev;
	if (e->prev == FIRST)
		*chain_of(t, e->gpa) = e->next;
	else
		info_at(t, e->prev)->next = e->next;
	e->prev = 0;
}

static void places_add(struct tlb_places *p, unsigned i)
{
	p->word[i / 64] |= 1ull << i % 64;
	p->top[i / 64 / 64] |= 1ull << i / 64 % 64;
}

static void places_remove(struct tlb_places *p, unsigned i)
{
	p->word[i / 64] &= ~(1ull << i % 64);
}

/* As info.lin says. */
static void set_tags(struct tlb *t, unsigned s, unsigned i)
{
	uint64_t lin = t->notes[s].info[i].lin, tag = -(lin >> PAGE_SHIFT);

	t->set[s].read[i] = (lin & (TLB_READ | TLB_NO_READ)) == TLB_READ ? tag : TLB_NEVER;
	t->set[s].write[i] = (lin & (TLB_WRITE | TLB_NO_WRITE)) == TLB_WRITE ? tag : TLB_NEVER;
}

static void drop_entry(struct tlb *t, unsigned s, unsigned i)
{
	t->notes[s].info[i].lin = 0;
	t->set[s].read[i] = t->set[s].write[i] = TLB_NEVER;
}

static unsigned entry_bits(struct cpu *cpu, uint64_t at, uint64_t gpa, const struct x86_page *page, const struct mem_page *m)
{
	unsigned bits = m->read ? 0 : TLB_READ_MMIO;

	if (page->executable)
		bits |= TLB_EXEC;
	if (page->readable)
		bits |= TLB_READ | (debug_watches(cpu, at, false) ? TLB_READ_WATCH : 0);
	if (page->writable)
		bits |= TLB_WRITE | (m->write ? 0 : m->rom ? TLB_DROP : TLB_WRITE_MMIO)
			| (m->read && m->write && m->read != m->write ? TLB_SPLIT : 0)
			| (code_marked(&cpu->mmu, gpa) ? TLB_CODE : 0) | (debug_watches(cpu, at, true) ? TLB_WRITE_WATCH : 0);
	return bits;
}

/* What `page` allows and memory offers. */
static void set_entry(struct cpu *cpu, unsigned s, uint64_t lin, const struct x86_page *page)
{
	struct mmu *mmu = &cpu->mmu;
	struct tlb *t = tlb_of(cpu);
	unsigned i = tlb_place(lin);
	struct tlb_info *e = &t->notes[s].info[i];
	uint64_t at = lin & PAGE_FRAME, gpa = page->gpa & PAGE_FRAME & mmu->a20_mask;
	struct mem_page m = mem_lookup(cpu->vcpu->vm->mem, gpa);

	places_add(&t->notes[s].used, i);
	if (page->global)
		places_remove(&t->notes[s].local, i);
	else
		places_add(&t->notes[s].local, i);
	if (e->prev && e->gpa != gpa)
		chain_remove(t, e);
	e->gpa = gpa;
	if (page->writable && !e->prev)
		chain_add(t, s * TLB_ENTRIES + i + 1);
	e->lin = at | entry_bits(cpu, at, gpa, page, &m);
	t->set[s].addend[i] = (uintptr_t)(m.read ? m.read : m.write) - at;
	set_tags(t, s, i);
	mmu->local_code |= page->executable && !page->global && at >> 63;
	mmu->global_low_code |= page->executable && page->global && !(at >> 63);
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
	count_up(&cpu->mmu.walks, 1);
}

static void fill(struct cpu *cpu, unsigned set, uint64_t lin, unsigned access)
{
	struct x86_page page;

	if (!tlb2_find(&cpu->mmu, set, lin, &page) || !grants(&page, access))
		walk(cpu, set, lin, access, &page);
	count_up(&cpu->mmu.fills, 1);
	set_entry(cpu, set, lin, &page);
}

static struct tlb_info *lookup(struct cpu *cpu, unsigned set, uint64_t lin, unsigned access)
{
	struct tlb_info *e = &tlb_of(cpu)->notes[set].info[tlb_place(lin)];
	unsigned needs = access == WRITE ? TLB_WRITE : access == FETCH ? TLB_EXEC : TLB_READ;

	if (((e->lin ^ lin) & PAGE_FRAME) || !(e->lin & needs))
		fill(cpu, set, lin, access);
	return e;
}

static void flush_word(struct tlb *t, unsigned s, struct tlb_places *from, unsigned w)
{
	uint64_t drop = from->word[w];

	t->notes[s].used.word[w] &= ~drop;
	t->notes[s].local.word[w] &= ~drop;
	for (; drop; drop &= drop - 1)
		drop_entry(t, s, w * 64 + __builtin_ctzll(drop));
}

static void flush_set(struct tlb *t, unsigned s, bool globals)
{
	struct tlb_places *from = globals ? &t->notes[s].used : &t->notes[s].local;

	for (unsigned n = 0; n < TLB_ENTRIES / 64 / 64; n++) {
		for (uint64_t words = from->top[n]; words; words &= words - 1)
			flush_word(t, s, from, n * 64 + __builtin_ctzll(words));
		from->top[n] = 0;
	}
}

static void flush_sets(struct cpu *cpu, bool globals)
{
	for (unsigned s = 0; s < MMU_SETS; s++)
		flush_set(tlb_of(cpu), s, globals);
	count_up(&cpu->mmu.flushes, 1);
}

static unsigned pcid_of(const struct cpu *cpu)
{
	return cpu->cr4 & X86_CR4_PCIDE ? cpu->cr3 & X86_CR3_PCID : 0;
}

void mmu_switch(struct cpu *cpu)
{
	flush_sets(cpu, false);
	space_enter(&cpu->mmu, pcid_of(cpu));
}

void mmu_flush(struct cpu *cpu, bool globals)
{
	if (globals)
		spaces_reset(&cpu->mmu);
	else
		space_forget(&cpu->mmu, pcid_of(cpu));
	flush_sets(cpu, globals);
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
		drop_entry(tlb_of(cpu), s, tlb_place(lin));
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

static unsigned set_of(const struct cpu *cpu, bool system)
{
	return system ? MMU_SUPERVISOR : mode_set(cpu->mode);
}

void mmu_select(struct cpu *cpu)
{
	struct tlb *t = tlb_of(cpu);

	cpu->mmu.hit = cpu->mode & MODE_CHECKED || cpu->mmu.rehearsal ? &t->none : &t->set[mode_set(cpu->mode)];
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
	struct tlb *t = tlb_of(cpu);
	uint64_t page = gpa >> PAGE_SHIFT;

	if (page >= mmu->code_pages || code_marked(mmu, gpa))
		return;
	mmu->code[page / 64] |= 1ull << page % 64;
	publish_code(cpu, page, 1);
	for (uint32_t n = *chain_of(t, gpa); n; n = info_at(t, n)->next) {
		struct tlb_info *e = info_at(t, n);

		if (e->gpa >> PAGE_SHIFT == page && (e->lin & TLB_WRITE)) {
			e->lin |= TLB_CODE;
			set_tags(t, (n - 1) / TLB_ENTRIES, (n - 1) % TLB_ENTRIES);
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

void mmu_code_pages_mark(struct cpu *cpu)
{
	for (uint64_t w = 0; w < cpu->mmu.code_pages / 64 + 1; w++)
		for (uint64_t bits = cpu->mmu.code[w]; bits; bits &= bits - 1)
			publish_code(cpu, w * 64 + __builtin_ctzll(bits), 1);
}

/* ---- held ranges: the general access */

static bool same_page(uint64_t lin, uint64_t len)
{
	return (lin & PAGE_OFFSET) + len <= PAGE_BYTES;
}

/* A page that is not memory any more has no host address: the map has changed since, and the bus is asked. */
static uint8_t *entry_host(struct cpu *cpu, unsigned set, const struct tlb_info *e, uint64_t lin, bool write)
{
	uint8_t *page;

	if (e->lin & (write ? TLB_WRITE_MMIO | TLB_DROP : TLB_READ_MMIO))
		return NULL;
	if (!write || !(e->lin & TLB_SPLIT))
		return (uint8_t *)(lin + tlb_of(cpu)->set[set].addend[tlb_place(lin)]);
	page = mem_lookup(cpu->vcpu->vm->mem, e->gpa).write;
	return page ? page + (lin & PAGE_OFFSET) : NULL;
}

static uint8_t *rehearsed(struct cpu *cpu, const struct mmu_part *part, bool write)
{
	uint8_t *at;

	if (!write)
		return rehearsal_read(cpu->mmu.rehearsal, part->host);
	if (code_marked(&cpu->mmu, part->gpa))
		end_rehearsal(cpu);
	at = rehearsal_write(cpu->mmu.rehearsal, part->host, part->len);
	if (!at)
		end_rehearsal(cpu);
	return at;
}

static void probe_part(struct cpu *cpu, unsigned set, uint64_t lin, unsigned len, bool write, struct mmu_part *part)
{
	struct tlb_info *e = lookup(cpu, set, lin, write ? WRITE : READ);

	part->gpa = e->gpa | (lin & PAGE_OFFSET);
	if (write && (e->lin & TLB_CODE) && !code_marked(&cpu->mmu, part->gpa)) {
		e->lin &= ~(uint64_t)TLB_CODE;
		set_tags(tlb_of(cpu), set, tlb_place(lin));
	}
	part->host = entry_host(cpu, set, e, lin, write);
	part->len = len;
	part->drop = write && (e->lin & TLB_DROP);
	if (cpu->mmu.rehearsal && part->host)
		part->host = rehearsed(cpu, part, write);
}

static bool watched(struct cpu *cpu, unsigned set, uint64_t lin, bool write)
{
	return tlb_of(cpu)->notes[set].info[tlb_place(lin)].lin & (write ? TLB_WRITE_WATCH : TLB_READ_WATCH);
}

static void probe(struct cpu *cpu, bool system, uint64_t lin, unsigned len, bool write, struct mmu_held *held)
{
	unsigned set = set_of(cpu, system);
	unsigned first = same_page(lin, len) ? len : PAGE_BYTES - (lin & PAGE_OFFSET);
	uint64_t second = truncate_linear(cpu, lin + first, system);

	held->lin = lin;
	held->parts = 1;
	probe_part(cpu, set, lin, first, write, &held->part[0]);
	if (first < len) {
		held->parts = 2;
		probe_part(cpu, set, second, len - first, write, &held->part[1]);
	}
	if (watched(cpu, set, lin, write))
		debug_data(cpu, lin, first, write);
	if (first < len && watched(cpu, set, second, write))
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
	if ((lin & (size - 1)) && cpu->mode & MODE_CHECKED)
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
	unsigned set = set_of(cpu, false);
	const struct tlb_set *tags = &tlb_of(cpu)->set[set];

	lin = truncate_linear(cpu, lin, false);
	if (cpu->mode & MODE_CHECKED || cpu->mmu.rehearsal)
		return NULL;
	lookup(cpu, set, lin, write ? WRITE : READ);
	return write ? tlb_hit_write(tags, lin, 1) : tlb_hit_read(tags, lin, 1);
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
	unsigned set = set_of(cpu, false);
	struct tlb_info *e;

	lin = truncate_linear(cpu, lin, false);
	e = lookup(cpu, set, lin, FETCH);	/* CR2 takes the byte that was fetched, not its page */
	lin &= PAGE_FRAME;
	*gpa = e->gpa;
	return e->lin & TLB_READ_MMIO ? NULL : (const uint8_t *)(lin + tlb_of(cpu)->set[set].addend[tlb_place(lin)]);
}

/* ---- life */

/* Leak checkers look for pointers in what malloc() gave and in what they are told of.  NULL where none runs. */
__attribute__((weak)) void __lsan_register_root_region(const void *, size_t);
__attribute__((weak)) void __lsan_unregister_root_region(const void *, size_t);

/* The two sets that everything uses have huge pages, so that the host's own TLB does not miss on each look at this one. */
void *mmu_room_new(size_t bytes)
{
	size_t size = TLB_DISTANCE + ROUND_UP(sizeof(struct tlb), PAGE_BYTES);
	uint8_t *all, *tlb, *room;

	if (bytes > TLB_DISTANCE)
		return NULL;
	all = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (all == MAP_FAILED)
		return NULL;
	tlb = (uint8_t *)ROUND_UP((uintptr_t)all + TLB_DISTANCE, HUGE_PAGE);
	room = tlb - TLB_DISTANCE;
	if (room > all)
		munmap(all, room - all);
	munmap(room + size, all + HUGE_PAGE - room);
	madvise(tlb, ROUND_UP(2 * sizeof(struct tlb_set), HUGE_PAGE), MADV_HUGEPAGE);
	if (__lsan_register_root_region)
		__lsan_register_root_region(room, TLB_DISTANCE);
	return room;
}

void mmu_room_free(void *room)
{
	if (!room)
		return;
	if (__lsan_unregister_root_region)
		__lsan_unregister_root_region(room, TLB_DISTANCE);
	munmap(room, TLB_DISTANCE + ROUND_UP(sizeof(struct tlb), PAGE_BYTES));
}

/* Fresh memory never hits: see TLB_NEVER. */
static void init_set(struct tlb_set *set)
{
	set->read[0] = set->write[0] = TLB_NEVER;
	for (unsigned i = TLB_ENTRIES - TLB_SPAN; i < TLB_ENTRIES; i++)
		set->read[i] = set->write[i] = TLB_NEVER;
}

int mmu_init(struct cpu *cpu)
{
	struct mmu *mmu = &cpu->mmu;
	struct tlb *t = tlb_of(cpu);

	mmu->code_pages = (mem_ram_bytes(cpu->vcpu->vm->mem) + (4ull << 30)) >> PAGE_SHIFT;
	mmu->code = calloc(mmu->code_pages / 64 + 1, sizeof(*mmu->code));
	if (!mmu->code || spaces_init(mmu)) {
		mmu_fini(cpu);
		return -ENOMEM;
	}
	for (unsigned s = 0; s < MMU_SETS; s++)
		init_set(&t->set[s]);
	init_set(&t->none);
	mmu->a20_mask = ~0ull;
	mmu->map_gen = mem_map_gen(cpu->vcpu->vm->mem);
	mmu_select(cpu);
	return 0;
}

void mmu_fini(struct cpu *cpu)
{
	free(cpu->mmu.code);
	spaces_fini(&cpu->mmu);
	cpu->mmu.code = NULL;
}

static bool holds(const struct tlb_places *p, unsigned i)
{
	bool held = p->word[i / 64] >> i % 64 & 1;

	assert(!held || (p->top[i / 64 / 64] >> i / 64 % 64 & 1));
	return held;
}

static void check_chain(struct tlb *t, uint32_t number)
{
	const struct tlb_info *e = info_at(t, number);

	assert(number == (e->prev == FIRST ? *chain_of(t, e->gpa) : info_at(t, e->prev)->next));
	assert(!e->next || (info_at(t, e->next)->prev == number && chain_of(t, info_at(t, e->next)->gpa) == chain_of(t, e->gpa)));
}

static void check_entry(struct cpu *cpu, unsigned s, unsigned i)
{
	struct tlb *t = tlb_of(cpu);
	const struct tlb_info *e = &t->notes[s].info[i];
	uint64_t tag = -(e->lin >> PAGE_SHIFT);

	assert(holds(&t->notes[s].used, i));
	holds(&t->notes[s].local, i);
	assert(!e->lin || tlb_place(e->lin) == i);
	assert(t->set[s].read[i] == ((e->lin & (TLB_READ | TLB_NO_READ)) == TLB_READ ? tag : TLB_NEVER));
	assert(t->set[s].write[i] == ((e->lin & (TLB_WRITE | TLB_NO_WRITE)) == TLB_WRITE ? tag : TLB_NEVER));
	assert(!(e->lin & TLB_WRITE) || e->prev);
	assert(!(e->lin & TLB_WRITE) || !code_marked(&cpu->mmu, e->gpa) || (e->lin & TLB_CODE));
	if (e->prev)
		check_chain(t, s * TLB_ENTRIES + i + 1);
}

void mmu_check(struct cpu *cpu)
{
	for (unsigned s = 0; s < MMU_SETS; s++)
		for (unsigned w = 0; w < TLB_ENTRIES / 64; w++)
			for (uint64_t used = tlb_of(cpu)->notes[s].used.word[w]; used; used &= used - 1)
				check_entry(cpu, s, w * 64 + __builtin_ctzll(used));
}
