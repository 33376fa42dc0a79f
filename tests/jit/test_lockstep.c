/*
 * Lock-step finds what is wrong: a program runs once and is translated, its
 * translation is spoilt, and the second time the machine must end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/jit/world.h"
#include "vmm/engine.h"
#include "vmm/jit/unit.h"
#include "vmm/soft/cpu.h"
#include "vmm/x86/control.h"

static const uint32_t mark = 0x11223344;
static unsigned spoilt;

/* The mark in translated code becomes another number. */
static void spoil(struct world *w, uint32_t port)
{
	struct jit *j = ((struct cpu *)w->vcpu.engine_state)->jit.j;

	(void)port;
	for (const struct jit_unit *u = j->oldest; u; u = u->newer)
		for (uint32_t i = u->start; i + 4 <= u->start + u->code; i++)
			if (!memcmp(j->rw + i, &mark, 4)) {
				j->rw[i] ^= 0x80;
				spoilt++;
			}
}

static void put_round(uint8_t *image, unsigned i, bool tell)
{
	struct round *r = (struct round *)(image + WORLD_ROUNDS) + i;

	*r = world_round(WORLD_W1, true);
	r->rsp = WORLD_W1 + (SLOT_STACK + 1) * PAGE;
	r->port = tell;
}

static enum vcpu_exit run(const uint8_t *code, unsigned len, bool spoils, char why[160])
{
	static uint8_t image[WORLD_END];
	struct world *w = world_new(true, true);
	struct x86_state end;
	enum vcpu_exit exit;

	assert_non_null(w);
	memset(image, 0, sizeof(image));
	world_tables(image);
	memset(image + WORLD_WINDOW, 0xcc, PAGE);
	memcpy(image + WORLD_WINDOW, code, len);
	put_round(image, 0, false);
	put_round(image, 1, spoils);
	w->patch = spoil;
	spoilt = 0;
	exit = world_run(w, image, 2, &end);
	strcpy(why, w->vcpu.error);
	if (exit == EXIT_HLT_FOREVER)
		assert_int_equal(((struct round *)(w->ram + WORLD_ROUNDS))[1].vector, 3);
	world_free(w);
	return exit;
}

static void expect(const uint8_t *code, unsigned len, const char *what)
{
	char why[160];

	assert_int_equal(run(code, len, false, why), EXIT_HLT_FOREVER);
	assert_int_equal(run(code, len, true, why), EXIT_ERROR);
	assert_int_equal(spoilt, 1);
	assert_non_null(strstr(why, what));
}
#define EXPECT(what, ...) expect((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }), what)

static void test_register(void **state)
{
	(void)state;
	EXPECT("rax differs", 0xb8, 0x44, 0x33, 0x22, 0x11);				/* mov eax, mark */
	EXPECT("r15 differs", 0x41, 0xbf, 0x44, 0x33, 0x22, 0x11);
}

static void test_flags(void **state)
{
	(void)state;
	/* xor eax, eax; cmp eax, mark: what is spoilt is a bit of the result's low byte, so PF */
	EXPECT("rflags differs", 0x31, 0xc0, 0x3d, 0x44, 0x33, 0x22, 0x11);
}

static void test_memory(void **state)
{
	(void)state;
	EXPECT("stored byte differs", 0xc7, 0x44, 0x24, 0xf0, 0x44, 0x33, 0x22, 0x11);	/* mov dword [rsp - 16], mark */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_register), cmocka_unit_test(test_flags), cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
