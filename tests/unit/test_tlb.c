/*
 * The TLB as translated code looks at it: by displacements from struct cpu, one
 * addition and a test for zero.  What hits, what must not, and what a flush, a
 * page that gets decoded code and another privilege leave.  (Page walks are
 * test_paging's, what guests see of all this tests/metal's.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "ipc/link.h"
#include "tests/metal/metal.h"
#include "vmm/mem.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/system.h"
#include "vmm/x86/control.h"
#include "vmm/x86/segment.h"

enum { PML4 = 0x10000, PDPT = 0x11000, PD = 0x12000, PT = 0x13000, FRAMES = 0x100000 };
enum { PRESENT = 1, WRITABLE = 2, USER = 4, GLOBAL = 0x100 };

static struct metal *m;
static struct cpu *cpu;

static int setup(void **state)
{
	(void)state;
	m = metal_new();
	cpu = m->vcpu.engine_state;
	return 0;
}

/* As translated code does it. */
static void *hit(int32_t tags, unsigned set, uint64_t lin, unsigned size)
{
	uint64_t place = lin >> 12 & 0xffff, tag;
	uintptr_t addend;

	memcpy(&tag, (char *)cpu + tags + place * 8, 8);
	memcpy(&addend, (char *)cpu + tlb_addends(set) + place * 8, 8);
	return tag + ((lin + size - 1) >> 12) ? NULL : (void *)(lin + addend);
}

static void *reads(unsigned set, uint64_t lin, unsigned size)
{
	void *p = hit(tlb_read_tags(set), set, lin, size);

	assert_ptr_equal(p, tlb_hit_read(&tlb_of(cpu)->set[set], lin, size));
	return p;
}

static void *writes(unsigned set, uint64_t lin, unsigned size)
{
	void *p = hit(tlb_write_tags(set), set, lin, size);

	assert_ptr_equal(p, tlb_hit_write(&tlb_of(cpu)->set[set], lin, size));
	return p;
}

/* What hits will be flushed. */
static void check(void)
{
	mmu_check(cpu);
	for (unsigned s = 0; s < MMU_SETS; s++)
		for (unsigned i = 0; i < TLB_ENTRIES; i++) {
			const uint64_t *tags[] = { tlb_of(cpu)->set[s].read, tlb_of(cpu)->set[s].write };
			bool used = tlb_of(cpu)->notes[s].used.word[i / 64] >> i % 64 & 1;

			for (unsigned n = 0; n < 2 && !used; n++)
				assert_true(tags[n][i] == TLB_NEVER || (!tags[n][i] && i != 0 && i < TLB_ENTRIES - TLB_SPAN));
		}
}

static int teardown(void **state)
{
	(void)state;
	check();
	metal_free(m);
	return 0;
}

static void *ram(uint64_t gpa)
{
	return mem_ram(m->vm.mem) + gpa;
}

static void put(uint64_t gpa, uint64_t entry)
{
	memcpy(ram(gpa), &entry, 8);
}

/* Long mode, CPL 0.  All of the 2 MiB at each of three addresses is the one page table. */
static const uint64_t views[] = { 0, 0xffff800000000000, 0xffffffffffe00000 };

static void long_mode(void)
{
	struct x86_state s;

	for (unsigned i = 0; i < 3; i++)
		put(PML4 + (views[i] >> 39 & 511) * 8, PDPT | PRESENT | WRITABLE | USER);
	put(PDPT, PD | PRESENT | WRITABLE | USER);
	put(PDPT + 511 * 8, PD | PRESENT | WRITABLE | USER);
	put(PD, PT | PRESENT | WRITABLE | USER);
	put(PD + 511 * 8, PT | PRESENT | WRITABLE | USER);
	m->vcpu.engine->get_state(&m->vcpu, &s);
	s.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP | X86_CR0_ET;
	s.cr3 = PML4;
	s.cr4 = X86_CR4_PAE | X86_CR4_PGE;
	s.efer = X86_EFER_LME | X86_EFER_LMA;
	s.seg[X86_CS].attr = X86_ATTR_P | X86_ATTR_S | X86_TYPE_CODE | X86_TYPE_READABLE | X86_TYPE_ACCESSED | X86_ATTR_L;
	s.rip = 0;
	assert_int_equal(m->vcpu.engine->set_state(&m->vcpu, &s), 0);
}

static void map(unsigned page, uint64_t gpa, unsigned rights)
{
	put(PT + page * 8, gpa | PRESENT | rights);
}

/* An address of the page that has this number in the table. */
static uint64_t view(unsigned n, unsigned page)
{
	return views[n] + ((uint64_t)page << 12);
}

static bool store_faults(uint64_t lin)
{
	if (_setjmp(cpu->jmp))
		return true;
	lin_st8(cpu, lin, 1);
	return false;
}

static void test_places(void **state)
{
	(void)state;
	for (unsigned s = 0; s < MMU_SETS; s++) {
		assert_ptr_equal((char *)cpu + tlb_read_tags(s), tlb_of(cpu)->set[s].read);
		assert_ptr_equal((char *)cpu + tlb_write_tags(s), tlb_of(cpu)->set[s].write);
		assert_ptr_equal((char *)cpu + tlb_addends(s), tlb_of(cpu)->set[s].addend);
	}
	assert_int_equal((uintptr_t)tlb_of(cpu) % (2 << 20), 0);
}

/* The memory of a new TLB is zero, and zero is a page's number. */
static void test_fresh(void **state)
{
	(void)state;
	for (unsigned s = 0; s < MMU_SETS; s++)
		for (unsigned page = 0; page < TLB_ENTRIES; page++) {
			assert_null(reads(s, (uint64_t)page << 12, 1));
			assert_null(writes(s, (uint64_t)page << 12, 8));
			assert_null(reads(s, -(uint64_t)(page + 1) << 12 | 0xfff, 2));
		}
	assert_null(writes(MMU_SUPERVISOR, ~0ull, 2));
	assert_null(tlb_hit_read(&tlb_of(cpu)->none, 0, 1));
	assert_null(tlb_hit_write(&tlb_of(cpu)->none, ~0ull, 2));
}

static void test_hit(void **state)
{
	const unsigned s = MMU_SUPERVISOR;

	(void)state;
	long_mode();
	map(0, FRAMES, WRITABLE);
	map(1, FRAMES + 0x1000, 0);
	map(511, FRAMES + 0x2000, WRITABLE);
	for (unsigned n = 0; n < 3; n++) {
		uint64_t lin = view(n, 0);

		lin_ld8(cpu, lin);
		assert_ptr_equal(reads(s, lin + 0xff8, 8), ram(FRAMES + 0xff8));
		assert_null(reads(s, lin + 0xff9, 8));
		assert_int_equal(writes(s, lin, 1) != NULL, n > 0);	/* at first the dirty bit is not set */
		lin_st8(cpu, lin, 0x11);
		assert_ptr_equal(writes(s, lin + 0xfff, 1), ram(FRAMES + 0xfff));
		assert_null(writes(s, lin + 0xfff, 2));
		lin_ld8(cpu, lin + 0x1000);
		assert_ptr_equal(reads(s, lin + 0x1000, 4), ram(FRAMES + 0x1000));
		assert_null(writes(s, lin + 0x1000, 4));
		assert_null(reads(s, lin + 0xffd, 4));		/* both pages are there */
		assert_null(reads(MMU_USER, lin, 1));
		assert_null(reads(s, lin ^ 1ull << 28, 1));	/* another page of this place, */
		assert_null(reads(s, lin ^ 1ull << 63, 1));	/* ... which does not exist */
	}
	lin_ld8(cpu, ~0ull);
	assert_ptr_equal(reads(s, ~0ull, 1), ram(FRAMES + 0x2fff));
	assert_null(reads(s, ~0ull, 2));			/* page 0 is cached, too */
}

static unsigned cached(unsigned n, unsigned first, unsigned pages)
{
	unsigned hits = 0;

	for (unsigned i = first; i < first + pages; i++)
		hits += reads(MMU_SUPERVISOR, view(n, i), 1) != NULL;
	return hits;
}

static void test_flush(void **state)
{
	(void)state;
	long_mode();
	for (unsigned i = 0; i < 512; i++)
		map(i, FRAMES + i * 0x1000, WRITABLE | (i < 100 ? GLOBAL : 0));
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 512; i++) {
			lin_st8(cpu, view(0, i), i);
			lin_ld8(cpu, view(2, i));
		}
		assert_int_equal(cached(0, 0, 512), 512);
		mmu_invlpg(cpu, view(0, 300));
		assert_null(reads(MMU_SUPERVISOR, view(0, 300), 1));
		assert_int_equal(cached(0, 0, 512), 511);
		check();
		mmu_flush(cpu, false);
		check();
		assert_int_equal(cached(0, 0, 100), 100);
		assert_int_equal(cached(2, 0, 100), 100);
		assert_int_equal(cached(0, 100, 412), 0);
		assert_int_equal(cached(2, 100, 412), 0);
		lin_ld8(cpu, view(0, 200));
		map(3, FRAMES + 3 * 0x1000, WRITABLE);		/* from global to not, in its place */
		mmu_invlpg(cpu, view(0, 3));
		lin_ld8(cpu, view(0, 3));
		mmu_flush(cpu, false);
		assert_int_equal(cached(0, 0, 512), 99);
		lin_ld8(cpu, view(0, 3));
		map(3, FRAMES + 3 * 0x1000, WRITABLE | GLOBAL);	/* ... and back */
		mmu_invlpg(cpu, view(0, 3));
		lin_ld8(cpu, view(0, 3));
		mmu_flush(cpu, false);
		assert_int_equal(cached(0, 0, 512), 100);
		mmu_flush(cpu, true);
		check();
		assert_int_equal(cached(0, 0, 512) + cached(2, 0, 512), 0);
	}
}

/* INVLPG of a page drops all that a large page has left there; another region of 2 MiB or 1 GiB is no reason to. */
static void test_large(void **state)
{
	enum { GIB = 1 << 30 };
	static const uint64_t elsewhere[] = { 3ull * GIB, 515ull * GIB, 8ull * GIB + (6 << 20), 0xffff888000000000 + GIB };

	(void)state;
	long_mode();
	map(3, FRAMES, WRITABLE);
	put(PDPT + 1 * 8, 0 | 0x80 | PRESENT | WRITABLE);		/* 1 GiB: all of RAM */
	put(PD + 2 * 8, 0 | 0x80 | PRESENT | WRITABLE);			/* 4 MiB: 2 MiB of it */
	for (unsigned i = 0; i < 8; i++) {
		lin_ld8(cpu, GIB + (i << 12));
		lin_ld8(cpu, (4 << 20) + (i << 12));
	}
	lin_ld8(cpu, view(0, 3));
	for (unsigned i = 0; i < sizeof(elsewhere) / sizeof(elsewhere[0]); i++) {
		mmu_invlpg(cpu, elsewhere[i]);
		assert_non_null(reads(MMU_SUPERVISOR, view(0, 3), 1));
		assert_non_null(reads(MMU_SUPERVISOR, GIB + 0x7000, 1));
		assert_non_null(reads(MMU_SUPERVISOR, (4 << 20) + 0x7000, 1));
	}
	mmu_invlpg(cpu, GIB + (100 << 20));
	for (unsigned i = 0; i < 8; i++)
		assert_null(reads(MMU_SUPERVISOR, GIB + (i << 12), 1));
	lin_ld8(cpu, (4 << 20) + 0x7000);
	mmu_invlpg(cpu, (4 << 20) + 0x2000);
	assert_null(reads(MMU_SUPERVISOR, (4 << 20) + 0x7000, 1));
}

static void set_mode(unsigned cpl, bool open)
{
	cpu->cpl = cpl;
	cpu->cr4 = open ? cpu->cr4 | X86_CR4_SMAP : cpu->cr4 & ~(uint64_t)X86_CR4_SMAP;
	cpu->rflags = open ? cpu->rflags | X86_RFLAGS_AC : cpu->rflags & ~(uint64_t)X86_RFLAGS_AC;
	cpu_update_mode(cpu);
}

/* Whatever grants writes to a page does not hit from when it has decoded code, and nothing else is touched. */
static void test_code(void **state)
{
	const uint64_t code = FRAMES + 0x5000;

	(void)state;
	long_mode();
	map(5, code, WRITABLE | USER);
	map(6, code, WRITABLE | USER);
	map(7, FRAMES + 0x7000, WRITABLE | USER);
	for (unsigned round = 0; round < 2; round++) {
		lin_st8(cpu, view(0, 5), 1);
		lin_st8(cpu, view(1, 6), 1);
		lin_st8(cpu, view(0, 7), 1);
		set_mode(0, true);
		lin_st8(cpu, view(0, 6), 1);
		set_mode(3, false);
		lin_st8(cpu, view(0, 5), 1);
		set_mode(0, false);
		assert_ptr_equal(writes(MMU_SUPERVISOR, view(1, 6), 1), ram(code));
		assert_ptr_equal(writes(MMU_OPEN, view(0, 6), 1), ram(code));
		assert_ptr_equal(writes(MMU_USER, view(0, 5), 1), ram(code));
		mmu_code_page_add(cpu, code);
		check();
		assert_null(writes(MMU_SUPERVISOR, view(0, 5), 1));
		assert_null(writes(MMU_SUPERVISOR, view(1, 6), 1));
		assert_null(writes(MMU_OPEN, view(0, 6), 1));
		assert_null(writes(MMU_USER, view(0, 5), 1));
		assert_ptr_equal(reads(MMU_USER, view(0, 5), 1), ram(code));
		assert_ptr_equal(writes(MMU_SUPERVISOR, view(0, 7), 1), ram(FRAMES + 0x7000));
		mmu_code_page_drop(cpu, code);
		lin_st8(cpu, view(0, 5), 1);			/* finds the mark gone */
		assert_ptr_equal(writes(MMU_SUPERVISOR, view(0, 5), 1), ram(code));
		assert_null(writes(MMU_SUPERVISOR, view(1, 6), 1));
		if (!round)
			mmu_flush(cpu, true);
	}
}

/* One place after another of the same page, and one page after another in the same place. */
static void test_chains(void **state)
{
	(void)state;
	long_mode();
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned i = 0; i < 64; i++)
			map(i, FRAMES + ((i * round) % 7) * 0x1000, i % 3 ? WRITABLE : 0);
		mmu_flush(cpu, round & 1);
		for (unsigned i = 0; i < 64; i++)
			i % 3 ? lin_st8(cpu, view(0, i), 1) : (void)lin_ld8(cpu, view(0, i));
		check();
		mmu_code_page_add(cpu, FRAMES + 0x3000);
		check();
		for (unsigned i = 0; i < 64; i++)
			assert_int_equal(writes(MMU_SUPERVISOR, view(0, i), 1) != NULL, i % 3 && (i * round) % 7 != 3);
		mmu_code_page_drop(cpu, FRAMES + 0x3000);
	}
}

/* Reads from the boot ROM, writes to RAM: the slow path's, and each to its place. */
static void test_split(void **state)
{
	(void)state;
	long_mode();
	assert_int_equal(mem_set_map(m->vm.mem, 0, LINK_MAP_READ_ROM_WRITE_RAM, 0xf0000, 0x10000, 0xf0000), 0);
	map(9, 0xf0000, WRITABLE);
	lin_st8(cpu, view(0, 9), 0x77);
	assert_int_equal(lin_ld8(cpu, view(0, 9)), 0x5a);
	assert_non_null(reads(MMU_SUPERVISOR, view(0, 9), 1));
	assert_null(writes(MMU_SUPERVISOR, view(0, 9), 1));
	lin_st8(cpu, view(0, 9) + 1, 0x78);
	assert_memory_equal(ram(0xf0000), "\x77\x78", 2);
}

static void test_rights(void **state)
{
	(void)state;
	long_mode();
	map(1, FRAMES, USER);
	cpu->cr4 |= X86_CR4_SMAP;
	set_mode(3, false);
	lin_ld8(cpu, view(0, 1));
	assert_true(store_faults(view(0, 1)));
	assert_non_null(reads(MMU_USER, view(0, 1), 1));
	assert_null(writes(MMU_USER, view(0, 1), 1));
	set_mode(0, true);
	lin_ld8(cpu, view(0, 1));
	assert_non_null(reads(MMU_OPEN, view(0, 1), 1));
	assert_null(reads(MMU_SUPERVISOR, view(0, 1), 1));
	/* armed alignment checks: whatever is cached, nothing hits */
	set_mode(3, false);
	assert_ptr_equal(cpu->mmu.hit, &tlb_of(cpu)->set[mode_set(cpu->mode)]);
	cpu->cr0 |= X86_CR0_AM;
	cpu->rflags |= X86_RFLAGS_AC;
	cpu_update_mode(cpu);
	assert_null(tlb_hit_read(cpu->mmu.hit, view(0, 1), 1));
	lin_ld8(cpu, view(0, 1) + 1);
	assert_null(tlb_hit_read(cpu->mmu.hit, view(0, 1), 1));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_places), T(test_fresh), T(test_hit), T(test_flush), T(test_large), T(test_code), T(test_chains), T(test_split), T(test_rights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
