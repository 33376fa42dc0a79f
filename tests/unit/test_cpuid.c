/*
 * CPUID: levels contain each other, what is told has rows and CR4 bits, leaves
 * that kernels read without asking, the end of both ranges.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "vmm/x86/control.h"
#include "vmm/x86/cpuid.h"

static const uint32_t feature_leaves[] = { 1, 7, 0x80000001, 0x80000007 };

static void test_vendor(void **state)
{
	struct x86_cpuid r = x86_cpuid(X86_LEVEL_ALL, 0, 0);
	char name[13] = "";

	(void)state;
	memcpy(name, &r.ebx, 4);
	memcpy(name + 4, &r.edx, 4);
	memcpy(name + 8, &r.ecx, 4);
	assert_string_equal(name, "GenuineIntel");
	assert_true(r.eax >= 0x16);
	assert_int_equal(x86_cpuid(X86_LEVEL_ALL, 1, 0).eax, X86_SIGNATURE);
}

static void test_levels_grow(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(feature_leaves) / sizeof(feature_leaves[0]); i++)
		for (unsigned l = X86_LEVEL_V1; l < X86_LEVEL_ALL; l++) {
			struct x86_cpuid low = x86_cpuid(l, feature_leaves[i], 0), high = x86_cpuid(l + 1, feature_leaves[i], 0);

			if (feature_leaves[i] != 1)
				assert_int_equal(low.ebx & ~high.ebx, 0);
			assert_int_equal(low.ecx & ~high.ecx, 0);
			assert_int_equal(low.edx & ~high.edx, 0);
			assert_int_equal(x86_cr4_bits(l) & ~x86_cr4_bits(l + 1), 0);
		}
}

static void test_level_1(void **state)
{
	struct x86_cpuid r = x86_cpuid(X86_LEVEL_V1, 1, 0);

	(void)state;
	assert_true(x86_level_complete() >= X86_LEVEL_V1);
	assert_int_equal(r.edx & 0x07808111, 0x07808111);	/* SSE2 SSE FXSR MMX CMOV CX8 TSC FPU */
	assert_int_equal(r.ecx & 0x7ad83201, 0);		/* nothing of the higher levels, nor AES, RDRAND.. */
	assert_int_equal(x86_cr4_bits(X86_LEVEL_V1) & X86_CR4_OSXSAVE, 0);
	assert_int_equal(x86_cpuid(X86_LEVEL_V1, 0xd, 0).eax, 0);
}

/* A level that is complete has all that the psABI names. */
static void test_level_2(void **state)
{
	struct x86_cpuid r = x86_cpuid(X86_LEVEL_V2, 1, 0);

	(void)state;
	if (x86_level_complete() < X86_LEVEL_V2)
		skip();
	assert_int_equal(r.ecx & 0x00982201, 0x00982201);	/* POPCNT SSE4.2 SSE4.1 CX16 SSSE3 SSE3 */
	assert_int_equal(x86_cpuid(X86_LEVEL_V2, 0x80000001, 0).ecx & 1, 1);
}

static void test_level_3(void **state)
{
	struct x86_cpuid r = x86_cpuid(X86_LEVEL_V3, 1, 0);
	bool all = (r.ecx & 0x34401000) == 0x34401000		/* F16C AVX XSAVE MOVBE FMA */
		&& (x86_cpuid(X86_LEVEL_V3, 7, 0).ebx & 0x128) == 0x128	/* BMI2 AVX2 BMI1 */
		&& (x86_cpuid(X86_LEVEL_V3, 0x80000001, 0).ecx & 0x20);	/* LZCNT */

	(void)state;
	assert_int_equal(all, x86_level_complete() >= X86_LEVEL_V3);
}

/* Leaf 0Dh has what XCR0 may have, and XCR0 what leaf 1 tells. */
static void test_extended_state(void **state)
{
	(void)state;
	assert_int_equal(x86_xcr0_bits(X86_LEVEL_V1), 0);
	for (unsigned l = 0; l < X86_LEVELS; l++) {
		uint32_t features = x86_cpuid(l, 1, 0).ecx, avx2 = x86_cpuid(l, 7, 0).ebx >> 5 & 1;
		bool xsave = features >> 26 & 1, avx = features >> 28 & 1;
		struct x86_cpuid main = x86_cpuid(l, 0xd, 0), more = x86_cpuid(l, 0xd, 1), ymm = x86_cpuid(l, 0xd, 2);

		assert_int_equal(x86_xcr0_bits(l), xsave ? avx ? 7 : 3 : 0);
		assert_int_equal(!!(x86_cr4_bits(l) & X86_CR4_OSXSAVE), xsave);
		assert_int_equal(main.eax, x86_xcr0_bits(l));
		assert_int_equal(main.ecx, !xsave ? 0 : avx ? 832 : 576);
		assert_int_equal(more.eax, xsave ? 0xf : 0);
		assert_int_equal(ymm.eax, avx ? 256 : 0);
		assert_int_equal(ymm.ebx, avx ? 576 : 0);
		assert_true(avx || !(avx2 || features & (1 << 12 | 1 << 29)));	/* FMA F16C */
	}
}

static void test_system(void **state)
{
	(void)state;
	for (unsigned l = 0; l < X86_LEVELS; l++) {
		assert_int_equal(x86_cpuid(l, 0x80000001, 0).edx & 0x2c100800, 0x2c100800);
		assert_int_equal(x86_cpuid(l, 1, 0).ecx >> 31, 1);
		assert_int_equal(x86_cpuid(l, 1, 0).ecx & (1 << 5), 0);			/* VMX */
		assert_int_equal(x86_cpuid(l, 1, 0).ecx & 1 << 3, 1 << 3);		/* MONITOR, but no C-states */
		assert_int_equal(x86_cpuid(l, 5, 0).edx, 0);
		assert_int_equal(x86_cpuid(l, 0x80000001, 0).ecx & 4, 0);		/* SVM */
		assert_int_equal(x86_cpuid(l, 7, 0).edx >> 29 & 1, 1);
		assert_true(x86_cr4_bits(l) & X86_CR4_SMAP);
		assert_false(x86_cr4_bits(l) & (X86_CR4_LA57 | X86_CR4_VME | 1u << 13));
	}
}

static void test_ends(void **state)
{
	struct x86_cpuid last = x86_cpuid(X86_LEVEL_ALL, x86_cpuid(X86_LEVEL_ALL, 0, 0).eax, 0), r;

	(void)state;
	r = x86_cpuid(X86_LEVEL_ALL, 0x1000, 0);
	assert_memory_equal(&r, &last, sizeof(r));
	r = x86_cpuid(X86_LEVEL_ALL, 0x8fffffff, 0);
	assert_memory_equal(&r, &last, sizeof(r));
	r = x86_cpuid(X86_LEVEL_ALL, 7, 1);
	assert_int_equal(r.eax | r.ebx | r.ecx | r.edx, 0);
	for (unsigned n = 0; n < 8; n++)
		if (!(x86_cpuid(X86_LEVEL_ALL, 4, n).eax & 31))
			return;
	fail_msg("leaf 4 has no end");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vendor), cmocka_unit_test(test_levels_grow), cmocka_unit_test(test_level_1),
		cmocka_unit_test(test_level_2), cmocka_unit_test(test_level_3), cmocka_unit_test(test_extended_state), cmocka_unit_test(test_system),
		cmocka_unit_test(test_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
