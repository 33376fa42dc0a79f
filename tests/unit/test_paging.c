/*
 * The page walk over hand-built tables: every format, right, reserved bit and
 * error code; accessed and dirty bits; entries that change under the walk.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "vmm/x86/paging.h"

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX (1ull << 63)
#define ROOT 0x1000u

/* 64 KiB of physical memory, and a trap for the walk: the entry at `race` becomes `race_to` before it is updated. */
static uint8_t ram[0x10000];
static uint64_t race, race_to;
static unsigned updates;

static uint64_t get(uint64_t gpa, unsigned size)
{
	uint64_t v = 0;

	assert_true(gpa + size <= sizeof(ram));
	memcpy(&v, ram + gpa, size);
	return v;
}

static void put(uint64_t gpa, unsigned size, uint64_t v)
{
	assert_true(gpa + size <= sizeof(ram));
	memcpy(ram + gpa, &v, size);
}

static uint64_t read_entry(void *ctx, uint64_t gpa, unsigned size)
{
	assert_ptr_equal(ctx, ram);
	assert_int_equal(gpa % size, 0);
	return get(gpa, size);
}

static bool update_entry(void *ctx, uint64_t gpa, unsigned size, uint64_t old, uint64_t val)
{
	assert_ptr_equal(ctx, ram);
	if (gpa == race) {
		race = ~0ull;
		put(gpa, size, race_to);
	}
	if (get(gpa, size) != old)
		return false;
	put(gpa, size, val);
	updates++;
	return true;
}

static struct x86_paging setup(enum x86_paging_format f)
{
	memset(ram, 0, sizeof(ram));
	race = ~0ull;
	updates = 0;
	return (struct x86_paging) {
		.format = f, .cr3 = ROOT, .phys_bits = 40, .read = read_entry, .update = update_entry, .ctx = ram,
	};
}

static struct x86_page ok(const struct x86_paging *p, uint64_t linear, unsigned access)
{
	struct x86_page page;
	uint32_t error = ~0u;

	if (!x86_walk(p, linear, access, &page, &error))
		fail_msg("#PF(%#x)", error);
	return page;
}

static uint32_t fault(const struct x86_paging *p, uint64_t linear, unsigned access)
{
	struct x86_page page;
	uint32_t error = ~0u;

	assert_false(x86_walk(p, linear, access, &page, &error));
	return error;
}

static void test_off(void **state)
{
	struct x86_paging p = setup(X86_PAGING_NONE);
	struct x86_page page = ok(&p, 0xfee00123, X86_ACCESS_WRITE | X86_ACCESS_USER);

	(void)state;
	assert_int_equal(page.gpa, 0xfee00123);
	assert_true(page.writable && page.user && page.executable && !page.global);
}

/* Linear 00403xxx: directory entry 1, table entry 3. */
#define LIN32 0x00403abcu
#define PDE (ROOT + 4)
#define PTE (0x2000 + 12)

static struct x86_paging two_levels(uint32_t pde, uint32_t pte)
{
	struct x86_paging p = setup(X86_PAGING_32);

	put(PDE, 4, 0x2000 | pde);
	put(PTE, 4, 0x5000 | pte);
	return p;
}

static void test_32_present(void **state)
{
	struct x86_paging p = two_levels(0, P);

	(void)state;
	assert_int_equal(fault(&p, LIN32, 0), 0);
	assert_int_equal(fault(&p, LIN32, X86_ACCESS_WRITE), X86_PF_W);
	assert_int_equal(fault(&p, LIN32, X86_ACCESS_USER | X86_ACCESS_FETCH), X86_PF_U);	/* no I bit without NX */
	p = two_levels(P, 0);
	assert_int_equal(fault(&p, LIN32, X86_ACCESS_WRITE | X86_ACCESS_USER), X86_PF_W | X86_PF_U);
	p = two_levels(P, P);
	assert_int_equal(ok(&p, LIN32, 0).gpa, 0x5abc);
	assert_int_equal(ok(&p, LIN32, 0).size, 4096);
	assert_int_equal(fault(&p, LIN32 + 0x1000, 0), 0);
}

/* Rights of both levels, WP and privilege: the whole truth table. */
static void test_32_rights(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 128; i++) {
		unsigned pde = P | (i & 1 ? W : 0) | (i & 2 ? U : 0), pte = P | (i & 4 ? W : 0) | (i & 8 ? U : 0);
		unsigned access = (i & 16 ? X86_ACCESS_WRITE : 0) | (i & 32 ? X86_ACCESS_USER : 0);
		struct x86_paging p = two_levels(pde, pte);
		bool user = i & 32, write = i & 16, may_write = pde & pte & W, may_user = pde & pte & U;
		bool allowed;

		p.wp = i & 64;
		allowed = user ? may_user && (!write || may_write) : !write || may_write || !p.wp;
		if (allowed)
			assert_int_equal(ok(&p, LIN32, access).gpa, 0x5abc);
		else
			assert_int_equal(fault(&p, LIN32, access), X86_PF_P | access);
		assert_int_equal(get(PTE, 4), 0x5000 | pte | (allowed ? A : 0) | (allowed && write ? D : 0));
		assert_int_equal(get(PDE, 4), 0x2000 | pde | (allowed ? A : 0));
	}
}

/* A clean page is not called writable, so that its first write comes back to set D. */
static void test_32_dirty(void **state)
{
	struct x86_paging p = two_levels(P | W | U, P | W | U);

	(void)state;
	assert_false(ok(&p, LIN32, 0).writable);
	assert_true(ok(&p, LIN32, X86_ACCESS_WRITE).writable);
	assert_true(ok(&p, LIN32, 0).writable);
	p = two_levels(P | U, P | W | U | D);
	assert_true(ok(&p, LIN32, 0).writable);			/* the supervisor, WP clear */
	assert_false(ok(&p, LIN32, X86_ACCESS_USER).writable);
	p.wp = true;
	assert_false(ok(&p, LIN32, 0).writable);
}

static void test_32_accessed_once(void **state)
{
	struct x86_paging p = two_levels(P | W | A, P | W | A | D);

	(void)state;
	ok(&p, LIN32, X86_ACCESS_WRITE);
	assert_int_equal(updates, 0);
}

static void test_32_large(void **state)
{
	struct x86_paging p = setup(X86_PAGING_32);
	struct x86_page page;

	(void)state;
	p.pse = true;
	put(PDE, 4, 0x00c00000 | P | W | U | PS);
	page = ok(&p, 0x00512345, X86_ACCESS_WRITE);
	assert_int_equal(page.gpa, 0x00d12345);
	assert_int_equal(page.size, 4 << 20);
	assert_int_equal(get(PDE, 4), 0x00c00000 | P | W | U | PS | A | D);
	put(PDE, 4, 0x00c00000 | P | W | PS | 1u << 12);	/* PAT */
	assert_int_equal(ok(&p, 0x00512345, 0).gpa, 0x00d12345);
	for (unsigned bit = 13; bit <= 21; bit++) {
		put(PDE, 4, 0x00c00000 | P | W | PS | 1u << bit);
		assert_int_equal(fault(&p, 0x00512345, 0), X86_PF_P | X86_PF_RSVD);
	}
	/* without CR4.PSE the bit means nothing, and nothing is reserved */
	p = two_levels(P | PS, P | PS);
	assert_int_equal(ok(&p, LIN32, 0).gpa, 0x5abc);
	p = two_levels(P, P | PS);
	p.pse = true;
	assert_int_equal(ok(&p, LIN32, 0).gpa, 0x5abc);		/* in a PTE it is PAT */
	put(PDE, 4, 0x00c02000 | PS);
	assert_int_equal(fault(&p, LIN32, 0), 0);		/* not present: nothing is reserved */
}

static void test_32_global(void **state)
{
	struct x86_paging p = two_levels(P | G, P);

	(void)state;
	p.pge = true;
	assert_false(ok(&p, LIN32, 0).global);			/* the leaf's bit counts */
	p = two_levels(P, P | G);
	assert_false(ok(&p, LIN32, 0).global);
	p.pge = true;
	assert_true(ok(&p, LIN32, 0).global);
}

static void test_look(void **state)
{
	struct x86_paging p = two_levels(P, P);

	(void)state;
	assert_int_equal(ok(&p, LIN32, X86_ACCESS_LOOK | X86_ACCESS_USER | X86_ACCESS_WRITE).gpa, 0x5abc);
	assert_int_equal(updates, 0);
	assert_int_equal(fault(&p, LIN32 + 0x1000, X86_ACCESS_LOOK), 0);
}

/* Another processor changes an entry between the read and the update: the walk starts over. */
static void test_race(void **state)
{
	struct x86_paging p = two_levels(P | W, P | W);

	(void)state;
	race = PTE;
	race_to = 0x6000 | P | W;
	assert_int_equal(ok(&p, LIN32, X86_ACCESS_WRITE).gpa, 0x6abc);
	assert_int_equal(get(PTE, 4), 0x6000 | P | W | A | D);
	p = two_levels(P | W, P | W);
	race = PTE;
	race_to = 0;
	assert_int_equal(fault(&p, LIN32, X86_ACCESS_WRITE), X86_PF_W);
}

/* PAE, linear C0601xxx: pointer 3, directory entry 3, table entry 1. */
#define LINPAE 0xc0601def

static struct x86_paging pae(uint64_t pdpte, uint64_t pde, uint64_t pte)
{
	struct x86_paging p = setup(X86_PAGING_PAE);

	p.cr3 = ROOT + 0x20 + 3;	/* 32-byte aligned; low bits are not part of the address */
	put(ROOT + 0x20 + 24, 8, pdpte | 0x2000);
	put(0x2000 + 24, 8, pde | 0x3000);
	put(0x3000 + 8, 8, pte | 0x7000);
	return p;
}

static void test_pae(void **state)
{
	struct x86_paging p = pae(P, P | W | U, P | W | U | 1ull << 39);

	(void)state;
	assert_int_equal(ok(&p, LINPAE, X86_ACCESS_USER | X86_ACCESS_WRITE).gpa, 0x8000007def);
	assert_int_equal(get(ROOT + 0x20 + 24, 8), 0x2000 | P);		/* no A bit, no rights there */
	p = pae(P, P | W, P | W | 1ull << 40);				/* beyond phys_bits */
	assert_int_equal(fault(&p, LINPAE, 0), X86_PF_P | X86_PF_RSVD);
	p = pae(P | W, P | W, P);
	assert_int_equal(fault(&p, LINPAE, 0), X86_PF_P | X86_PF_RSVD);
	p = pae(P, P | NX, P);
	assert_int_equal(fault(&p, LINPAE, 0), X86_PF_P | X86_PF_RSVD);	/* EFER.NXE clear */
	p = pae(P, P | NX, P);
	p.nxe = true;
	assert_false(ok(&p, LINPAE, 0).executable);
	assert_int_equal(fault(&p, LINPAE, X86_ACCESS_FETCH), X86_PF_P | X86_PF_I);
	p = pae(P, P | PS | W, 0);
	assert_int_equal(fault(&p, LINPAE, 0), X86_PF_P | X86_PF_RSVD);
	p = setup(X86_PAGING_PAE);
	put(ROOT + 24, 8, 0x2000 | P);
	put(0x2000 + 24, 8, 0x40200000 | P | PS);
	assert_int_equal(ok(&p, LINPAE, 0).gpa, 0x40201def);
	assert_int_equal(ok(&p, LINPAE, 0).size, 2 << 20);
}

/* Four levels, every index 1 but the top one, 511. */
#define LIN4 (0xffffull << 48 | 511ull << 39 | 1ull << 30 | 1ull << 21 | 1ull << 12 | 0x123)

static void test_4_levels(void **state)
{
	struct x86_paging p = setup(X86_PAGING_4L);

	(void)state;
	put(ROOT + 511 * 8, 8, 0x2000 | P | W | U);
	put(0x2008, 8, 0x3000 | P | W | U);
	put(0x3008, 8, 0x4000 | P | W | U);
	put(0x4008, 8, 0x9000 | P | W | U);
	assert_int_equal(ok(&p, LIN4, X86_ACCESS_WRITE).gpa, 0x9123);
	put(0x3008, 8, 0x4000 | P | U);
	assert_int_equal(fault(&p, LIN4, X86_ACCESS_WRITE | X86_ACCESS_USER), X86_PF_P | X86_PF_W | X86_PF_U);
	put(0x3008, 8, 0x600000 | P | U | PS);
	assert_int_equal(ok(&p, LIN4, 0).gpa, 0x601123);
	put(0x2008, 8, 0xc0000000 | P | U | PS);
	assert_int_equal(ok(&p, LIN4, 0).gpa, 0xc0201123);
	assert_int_equal(ok(&p, LIN4, 0).size, 1 << 30);
	put(0x2008, 8, 0xc0002000 | P | U | PS);
	assert_int_equal(fault(&p, LIN4, 0), X86_PF_P | X86_PF_RSVD);
	put(ROOT + 511 * 8, 8, 0x2000 | P | W | U | PS);
	assert_int_equal(fault(&p, LIN4, 0), X86_PF_P | X86_PF_RSVD);
	p.smep = true;
	put(ROOT + 511 * 8, 8, 0x2000 | P | W | U);
	put(0x2008, 8, 0xc0000000 | P | U | PS);
	assert_int_equal(fault(&p, LIN4, X86_ACCESS_FETCH), X86_PF_P | X86_PF_I);
	assert_int_equal(ok(&p, LIN4, X86_ACCESS_FETCH | X86_ACCESS_USER).gpa, 0xc0201123);
}

/* SMAP: the supervisor's data accesses to what is the user's at every level. */
static void test_smap(void **state)
{
	struct x86_paging p = setup(X86_PAGING_4L);
	struct x86_page page;

	(void)state;
	put(ROOT + 511 * 8, 8, 0x2000 | P | W | U);
	put(0x2008, 8, 0x3000 | P | W | U);
	put(0x3008, 8, 0x4000 | P | W | U);
	put(0x4008, 8, 0x9000 | P | W | U | D);
	p.smap = p.wp = true;
	assert_int_equal(fault(&p, LIN4, 0), X86_PF_P);
	assert_int_equal(fault(&p, LIN4, X86_ACCESS_WRITE), X86_PF_P | X86_PF_W);
	assert_int_equal(get(0x4008, 8) & A, 0);
	page = ok(&p, LIN4, X86_ACCESS_OPEN | X86_ACCESS_WRITE);
	assert_true(page.readable && page.writable && page.user);
	page = ok(&p, LIN4, X86_ACCESS_USER);
	assert_true(page.readable && page.writable);
	page = ok(&p, LIN4, X86_ACCESS_FETCH);		/* SMEP's affair; the page's data stays out of reach */
	assert_true(page.executable);
	assert_false(page.readable || page.writable);
	put(0x4008, 8, 0x9000 | P | W);
	page = ok(&p, LIN4, 0);
	assert_true(page.readable && !page.user);
	put(0x4008, 8, 0x9000 | P | W | U);
	put(0x2008, 8, 0x3000 | P | W);			/* the supervisor's by an upper level */
	assert_int_equal(ok(&p, LIN4, X86_ACCESS_WRITE).gpa, 0x9123);
}

static void test_5_levels(void **state)
{
	struct x86_paging p = setup(X86_PAGING_5L);

	(void)state;
	put(ROOT + 16, 8, 0x2000 | P);
	put(0x2000, 8, 0x3000 | P);
	put(0x3000, 8, 0x80000000 | P | PS);
	assert_int_equal(ok(&p, 2ull << 48 | 0x777, 0).gpa, 0x80000777);
	assert_int_equal(fault(&p, 3ull << 48, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_32_present),
		cmocka_unit_test(test_32_rights),
		cmocka_unit_test(test_32_dirty),
		cmocka_unit_test(test_32_accessed_once),
		cmocka_unit_test(test_32_large),
		cmocka_unit_test(test_32_global),
		cmocka_unit_test(test_look),
		cmocka_unit_test(test_race),
		cmocka_unit_test(test_pae),
		cmocka_unit_test(test_4_levels),
		cmocka_unit_test(test_smap),
		cmocka_unit_test(test_5_levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
