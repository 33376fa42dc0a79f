/* The two 8259As, by the datasheet: words, priority, rotation, modes, cascade, spurious requests, ELCR. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "vmm/dev/pic.h"

enum { M = 0x20, S = 0xa0, BASE_M = 0x08, BASE_S = 0x70 };
enum { EOI = 0x20, POLL = 0x0c, READ_IRR = 0x0a, READ_ISR = 0x0b, SMM_ON = 0x68, SMM_OFF = 0x48 };

static bool intr;
static unsigned intr_changes;

static void on_intr(void *arg, bool level)
{
	(void)arg;
	assert_int_not_equal(level, intr);	/* only changes are told */
	intr = level;
	intr_changes++;
}

static void init_words(struct pic *p, uint8_t icw4_master, uint8_t icw4_slave)
{
	pic_write(p, M, 0x11);
	pic_write(p, M + 1, BASE_M);
	pic_write(p, M + 1, 0x04);
	pic_write(p, M + 1, icw4_master);
	pic_write(p, S, 0x11);
	pic_write(p, S + 1, BASE_S);
	pic_write(p, S + 1, 0x02);
	pic_write(p, S + 1, icw4_slave);
}

static struct pic *pic_with(uint8_t icw4_master, uint8_t icw4_slave)
{
	struct pic *p;

	intr = false;
	p = pic_new(on_intr, NULL);
	assert_non_null(p);
	init_words(p, icw4_master, icw4_slave);
	return p;
}

static struct pic *pic(void)
{
	return pic_with(0x01, 0x01);
}

static void raise(struct pic *p, unsigned line)
{
	pic_set_line(p, line, false);
	pic_set_line(p, line, true);
}

static uint8_t irr(struct pic *p, uint16_t base)
{
	pic_write(p, base, READ_IRR);
	return pic_read(p, base);
}

static uint8_t isr(struct pic *p, uint16_t base)
{
	pic_write(p, base, READ_ISR);
	return pic_read(p, base);
}

static void takes(struct pic *p, uint8_t vector)
{
	assert_true(intr);
	assert_int_equal(pic_acknowledge(p), vector);
}

/* ---- initialisation */

static void init_sequence(void **state)
{
	struct pic *p = pic();

	(void)state;
	assert_int_equal(pic_read(p, M + 1), 0);
	pic_write(p, M + 1, 0xa5);
	assert_int_equal(pic_read(p, M + 1), 0xa5);
	pic_write(p, S + 1, 0x5a);
	assert_int_equal(pic_read(p, S + 1), 0x5a);
	assert_int_equal(pic_read(p, M + 1), 0xa5);

	/* ICW1 clears the mask; until ICW4 has come nothing is delivered */
	raise(p, 0);
	assert_false(intr);
	pic_write(p, M, 0x11);
	assert_int_equal(pic_read(p, M + 1), 0);
	raise(p, 3);
	assert_false(intr);
	pic_write(p, M + 1, 0x27);	/* low three bits are not the vector's */
	pic_write(p, M + 1, 0x04);
	assert_false(intr);
	pic_write(p, M + 1, 0x01);
	takes(p, 0x23);
	pic_free(p);
}

static void init_without_icw3_and_icw4(void **state)
{
	struct pic *p = pic();

	(void)state;
	pic_write(p, M, 0x12);		/* single, no ICW4 */
	pic_write(p, M + 1, 0x40);
	pic_write(p, M + 1, 0xfe);	/* so this is the mask */
	assert_int_equal(pic_read(p, M + 1), 0xfe);
	raise(p, 0);
	takes(p, 0x40);

	pic_write(p, M, 0x10);		/* cascaded, no ICW4 */
	pic_write(p, M + 1, 0x48);
	pic_write(p, M + 1, 0x04);
	pic_write(p, M + 1, 0x7f);
	assert_int_equal(pic_read(p, M + 1), 0x7f);

	pic_write(p, M, 0x13);		/* single with ICW4: automatic EOI */
	pic_write(p, M + 1, 0x50);
	pic_write(p, M + 1, 0x03);
	raise(p, 5);
	takes(p, 0x55);
	assert_int_equal(isr(p, M), 0);
	pic_free(p);
}

static void icw1_forgets(void **state)
{
	struct pic *p = pic();

	(void)state;
	raise(p, 1);
	takes(p, BASE_M + 1);
	raise(p, 4);
	pic_write(p, M, 0xc3);		/* lowest: 3 */
	pic_write(p, M, SMM_ON);
	pic_write(p, M, READ_ISR);
	init_words(p, 1, 1);
	assert_int_equal(pic_read(p, M), 0);	/* status read is the IRR again; the latched edge is gone */
	assert_int_equal(isr(p, M), 0);
	assert_false(intr);
	pic_set_line(p, 4, true);	/* still high: no new edge */
	assert_false(intr);
	raise(p, 4);
	pic_write(p, M, READ_ISR);
	init_words(p, 1, 1);
	raise(p, 4);
	assert_int_equal(pic_read(p, M), 0x10);
	raise(p, 3);
	takes(p, BASE_M + 3);		/* lowest is 7 again */
	pic_free(p);
}

/* ---- requests */

static void edges_and_eoi(void **state)
{
	struct pic *p = pic();

	(void)state;
	raise(p, 1);
	assert_int_equal(irr(p, M), 0x02);
	takes(p, BASE_M + 1);
	assert_false(intr);
	assert_int_equal(irr(p, M), 0);
	assert_int_equal(isr(p, M), 0x02);
	pic_set_line(p, 1, true);	/* no edge */
	assert_int_equal(irr(p, M), 0);
	raise(p, 1);			/* an edge while in service waits */
	assert_int_equal(irr(p, M), 0x02);
	assert_false(intr);
	pic_write(p, M, EOI);
	takes(p, BASE_M + 1);
	pic_write(p, M, EOI);
	assert_int_equal(isr(p, M), 0);
	assert_false(intr);
	pic_free(p);
}

static void falling_withdraws(void **state)
{
	struct pic *p = pic();

	(void)state;
	raise(p, 5);
	assert_true(intr);
	pic_set_line(p, 5, false);
	assert_false(intr);
	assert_int_equal(irr(p, M), 0);
	assert_int_equal(pic_acknowledge(p), BASE_M + 7);	/* spurious */
	assert_int_equal(isr(p, M), 0);
	pic_free(p);
}

static void fully_nested(void **state)
{
	struct pic *p = pic();

	(void)state;
	raise(p, 6);
	takes(p, BASE_M + 6);
	raise(p, 7);
	assert_false(intr);		/* lower */
	raise(p, 3);
	takes(p, BASE_M + 3);		/* higher */
	raise(p, 4);
	assert_false(intr);
	pic_write(p, M, EOI);		/* the highest in service */
	assert_int_equal(isr(p, M), 0x40);
	takes(p, BASE_M + 4);
	pic_write(p, M, EOI);
	pic_write(p, M, EOI);
	takes(p, BASE_M + 7);
	assert_int_equal(isr(p, M), 0x80);	/* a real one, told from a spurious one */
	pic_free(p);
}

static void masks(void **state)
{
	struct pic *p = pic();

	(void)state;
	pic_write(p, M + 1, 0x02);
	assert_true(pic_masked(p, 1));
	assert_false(pic_masked(p, 0));
	raise(p, 1);
	assert_false(intr);
	assert_int_equal(irr(p, M), 0x02);	/* masks stand behind the IRR */
	assert_true(pic_pending(p, 1));
	pic_write(p, M + 1, 0);
	assert_true(intr);
	pic_write(p, M + 1, 0x02);
	assert_false(intr);
	assert_int_equal(pic_acknowledge(p), BASE_M + 7);	/* masked between INTR and INTA */
	pic_write(p, M + 1, 0x04);
	assert_true(pic_masked(p, 8));		/* through the cascade */
	assert_true(pic_masked(p, 15));
	assert_false(pic_masked(p, 1));
	pic_write(p, M + 1, 0);
	pic_write(p, S + 1, 0x01);
	assert_true(pic_masked(p, 8));
	assert_false(pic_masked(p, 9));
	pic_free(p);
}

static void level_triggered(void **state)
{
	struct pic *p = pic();

	(void)state;
	pic_write(p, 0x4d0, 0xff);
	assert_int_equal(pic_read(p, 0x4d0), 0xf8);	/* 0, 1, 2 are edges */
	pic_write(p, 0x4d1, 0xff);
	assert_int_equal(pic_read(p, 0x4d1), 0xde);	/* so are 8 and 13 */
	pic_set_line(p, 5, true);
	takes(p, BASE_M + 5);
	assert_int_equal(irr(p, M), 0x20);
	pic_write(p, M, EOI);
	takes(p, BASE_M + 5);		/* still high: again */
	pic_set_line(p, 5, false);
	assert_int_equal(irr(p, M), 0);
	pic_write(p, M, EOI);
	assert_false(intr);
	pic_set_line(p, 11, true);
	takes(p, BASE_S + 3);
	pic_write(p, S, EOI);
	pic_write(p, M, EOI);
	takes(p, BASE_S + 3);
	pic_set_line(p, 11, false);
	pic_write(p, S, EOI);
	pic_write(p, M, EOI);
	assert_false(intr);
	/* LTIM in ICW1 means nothing here */
	pic_write(p, 0x4d0, 0);
	pic_write(p, M, 0x19);
	pic_write(p, M + 1, BASE_M);
	pic_write(p, M + 1, 0x04);
	pic_write(p, M + 1, 0x01);
	raise(p, 5);
	takes(p, BASE_M + 5);
	pic_write(p, M, EOI);
	assert_false(intr);
	pic_free(p);
}

static void cascade(void **state)
{
	struct pic *p = pic();

	(void)state;
	raise(p, 12);
	assert_int_equal(irr(p, M), 0x04);
	assert_int_equal(irr(p, S), 0x10);
	takes(p, BASE_S + 4);
	assert_int_equal(isr(p, M), 0x04);
	assert_int_equal(isr(p, S), 0x10);
	raise(p, 3);			/* lower than the cascade */
	assert_false(intr);
	raise(p, 1);			/* higher */
	takes(p, BASE_M + 1);
	pic_write(p, M, EOI);
	raise(p, 9);			/* higher on the slave, but the master has 2 in service */
	assert_false(intr);
	pic_write(p, S, EOI);
	assert_false(intr);
	pic_write(p, M, EOI);
	takes(p, BASE_S + 1);		/* the second request made its edge on IR2 */
	pic_write(p, S, EOI);
	pic_write(p, M, EOI);
	takes(p, BASE_M + 3);
	pic_free(p);
}

/* Two requests wait on the slave: the one taken first must not swallow the other's edge on IR2. */
static void cascade_keeps_both(void **state)
{
	struct pic *p = pic();

	(void)state;
	raise(p, 14);
	raise(p, 8);
	takes(p, BASE_S + 0);
	pic_write(p, M, EOI);		/* master first: the slave still has 0 in service */
	assert_false(intr);
	pic_write(p, S, EOI);
	takes(p, BASE_S + 6);
	pic_write(p, S, EOI);
	pic_write(p, M, EOI);
	assert_false(intr);
	assert_int_equal(irr(p, S), 0);
	pic_free(p);

	p = pic_with(0x01, 0x03);	/* automatic EOI: INT would stay high if it did not fall after each INTA */
	raise(p, 14);
	raise(p, 8);
	takes(p, BASE_S + 0);
	pic_write(p, M, EOI);
	takes(p, BASE_S + 6);
	pic_free(p);
}

/* The slave's request falls before the INTA: IR2 falls with it, and the master's own level 7 answers. */
static void withdrawn_on_slave(void **state)
{
	struct pic *p = pic();

	(void)state;
	pic_write(p, S + 1, 0xff);
	pic_set_line(p, 2, true);	/* the cascade is no line */
	assert_false(intr);
	pic_write(p, S + 1, 0x00);
	raise(p, 10);
	assert_true(intr);
	pic_set_line(p, 10, false);
	assert_false(intr);
	assert_int_equal(pic_acknowledge(p), BASE_M + 7);
	assert_int_equal(isr(p, M), 0);
	assert_int_equal(isr(p, S), 0);
	pic_free(p);
}

/* ---- ends of interrupt, rotation */

static void specific_eoi(void **state)
{
	struct pic *p = pic();

	(void)state;
	raise(p, 5);
	takes(p, BASE_M + 5);
	raise(p, 2 + 1);
	takes(p, BASE_M + 3);
	pic_write(p, M, 0x65);
	assert_int_equal(isr(p, M), 0x08);
	pic_write(p, M, 0x40);		/* no operation */
	assert_int_equal(isr(p, M), 0x08);
	pic_write(p, M, 0x63);
	assert_int_equal(isr(p, M), 0);
	pic_write(p, M, EOI);		/* with nothing in service */
	assert_int_equal(isr(p, M), 0);
	pic_free(p);
}

static void rotation(void **state)
{
	struct pic *p = pic();

	(void)state;
	pic_write(p, M, 0xc4);		/* lowest: 4; highest: 5 */
	raise(p, 4);
	raise(p, 3);
	raise(p, 6);
	takes(p, BASE_M + 6);
	raise(p, 0);
	assert_false(intr);		/* 0 is below 6 now */
	pic_write(p, M, 0xa0);		/* rotate on non-specific EOI: lowest 6 */
	takes(p, BASE_M + 0);		/* 7, 0, 1 ... */
	pic_write(p, M, 0xe3);		/* rotate on specific EOI of 3, not in service: lowest 3 */
	assert_int_equal(isr(p, M), 0x01);
	takes(p, BASE_M + 4);		/* 4 is the highest now */
	pic_write(p, M, EOI);
	assert_int_equal(isr(p, M), 0x01);	/* non-specific: the highest in the rotated order */
	pic_write(p, M, EOI);
	takes(p, BASE_M + 3);
	pic_free(p);
}

static void automatic_eoi(void **state)
{
	struct pic *p = pic_with(0x03, 0x01);

	(void)state;
	raise(p, 4);
	raise(p, 5);
	takes(p, BASE_M + 4);
	assert_int_equal(isr(p, M), 0);
	takes(p, BASE_M + 5);
	assert_false(intr);
	pic_write(p, M, 0x80);		/* rotate in automatic EOI */
	raise(p, 4);
	raise(p, 5);
	takes(p, BASE_M + 4);
	raise(p, 4);
	takes(p, BASE_M + 5);		/* 4 went to the end */
	takes(p, BASE_M + 4);
	pic_write(p, M, 0x00);		/* ... no longer */
	raise(p, 4);
	takes(p, BASE_M + 4);
	raise(p, 4);
	raise(p, 5);
	takes(p, BASE_M + 5);		/* the order stays: lowest is still 4 */
	pic_free(p);
}

/* ---- special modes */

static void special_mask(void **state)
{
	struct pic *p = pic();

	(void)state;
	raise(p, 3);
	takes(p, BASE_M + 3);
	raise(p, 6);
	assert_false(intr);
	pic_write(p, M + 1, 0x08);	/* its own level */
	assert_false(intr);
	pic_write(p, M, SMM_ON);
	takes(p, BASE_M + 6);		/* lower levels get through */
	pic_write(p, M, 0x08);		/* ESMM clear: mode stays */
	pic_write(p, M, EOI);		/* the non-specific one passes over the masked level */
	assert_int_equal(isr(p, M), 0x08);
	pic_write(p, M, EOI);
	assert_int_equal(isr(p, M), 0x08);
	raise(p, 6);
	assert_true(intr);
	pic_write(p, M, SMM_OFF);
	assert_false(intr);
	pic_write(p, M, 0x63);
	takes(p, BASE_M + 6);
	pic_free(p);
}

static void special_fully_nested(void **state)
{
	struct pic *p = pic_with(0x11, 0x01);

	(void)state;
	raise(p, 12);
	takes(p, BASE_S + 4);
	raise(p, 9);
	takes(p, BASE_S + 1);		/* the slave interrupts itself */
	raise(p, 10);
	assert_false(intr);		/* but not below what it has in service */
	raise(p, 3);
	assert_false(intr);		/* and the master's lower levels wait */
	pic_write(p, S, EOI);
	takes(p, BASE_S + 2);
	pic_write(p, S, EOI);
	assert_int_equal(isr(p, S), 0x10);
	pic_write(p, S, EOI);
	assert_int_equal(isr(p, S), 0);
	pic_write(p, M, EOI);
	takes(p, BASE_M + 3);
	pic_free(p);
}

static void poll(void **state)
{
	struct pic *p = pic();

	(void)state;
	pic_write(p, M, POLL);
	assert_int_equal(pic_read(p, M), 0);		/* nothing */
	assert_int_equal(pic_read(p, M), 0);		/* the IRR again */
	raise(p, 4);
	pic_write(p, M, POLL);
	assert_int_equal(pic_read(p, M), 0x84);
	assert_false(intr);				/* it was the acknowledge */
	assert_int_equal(isr(p, M), 0x10);
	pic_write(p, M, EOI);
	raise(p, 6);
	pic_write(p, M, POLL);
	assert_int_equal(pic_read(p, M + 1), 0x86);	/* either port */
	pic_write(p, M, EOI);
	raise(p, 13);
	pic_write(p, M, POLL);
	assert_int_equal(pic_read(p, M), 0x82);		/* the slave is polled on its own */
	assert_int_equal(isr(p, S), 0);
	pic_write(p, S, POLL);
	assert_int_equal(pic_read(p, S), 0x85);
	assert_int_equal(isr(p, S), 0x20);
	pic_write(p, S, EOI);
	pic_write(p, M, EOI);
	assert_false(intr);
	pic_free(p);
}

static unsigned watched;

static void on_change(void *arg)
{
	(void)arg;
	watched++;
}

static void watcher(void **state)
{
	struct pic *p = pic();

	(void)state;
	pic_watch(p, on_change, NULL);
	watched = 0;
	pic_write(p, M, EOI);
	pic_write(p, M, READ_ISR);
	pic_set_line(p, 1, true);
	assert_int_equal(watched, 0);
	pic_write(p, M + 1, 1);
	assert_int_equal(watched, 1);
	pic_write(p, S, 0x11);
	assert_int_equal(watched, 2);
	pic_write(p, 0x4d1, 0);
	assert_int_equal(watched, 3);
	pic_free(p);
}

static void reset(void **state)
{
	struct pic *p = pic();

	(void)state;
	pic_write(p, 0x4d0, 0xf8);
	pic_set_line(p, 4, true);
	takes(p, BASE_M + 4);
	pic_write(p, M + 1, 0x55);
	pic_set_line(p, 5, true);
	pic_reset(p);
	assert_false(intr);
	assert_int_equal(pic_read(p, 0x4d0), 0);
	assert_int_equal(pic_read(p, M + 1), 0);
	assert_int_equal(isr(p, M), 0);
	init_words(p, 1, 1);
	pic_set_line(p, 5, true);	/* the line was high all the time */
	assert_false(intr);
	pic_set_line(p, 99, true);	/* no such line */
	assert_false(intr);
	pic_free(p);
}

/* Nothing that is written or raised may break the chips: INTR agrees with what an INTA finds. */
static void random_walk(void **state)
{
	static const uint16_t ports[] = { M, M + 1, S, S + 1, 0x4d0, 0x4d1 };
	struct pic *p = pic();
	uint32_t seed = 1, acks = 0;

	(void)state;
	for (unsigned i = 0; i < 200000; i++) {
		uint8_t asked;

		seed = seed * 1664525 + 1013904223;
		switch (seed >> 28) {
		case 0 ... 4:
			pic_write(p, ports[(seed >> 8) % 6], seed >> 16);
			break;
		case 5 ... 11:
			pic_set_line(p, seed >> 8 & 15, seed >> 16 & 1);
			break;
		case 12:
			(void)pic_read(p, ports[(seed >> 8) % 6]);
			break;
		default:
			if (!intr)
				break;
			pic_write(p, M, 0x08);	/* no poll pending */
			pic_write(p, S, 0x08);
			asked = irr(p, M) | irr(p, S);
			acks++;
			assert_true(asked & 1u << (pic_acknowledge(p) & 7));
			break;
		}
	}
	assert_true(acks > 1000);
	init_words(p, 1, 1);
	pic_write(p, 0x4d0, 0);
	pic_write(p, 0x4d1, 0);
	assert_false(intr);
	raise(p, 15);
	takes(p, BASE_S + 7);
	pic_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_sequence),
		cmocka_unit_test(init_without_icw3_and_icw4),
		cmocka_unit_test(icw1_forgets),
		cmocka_unit_test(edges_and_eoi),
		cmocka_unit_test(falling_withdraws),
		cmocka_unit_test(fully_nested),
		cmocka_unit_test(masks),
		cmocka_unit_test(level_triggered),
		cmocka_unit_test(cascade),
		cmocka_unit_test(cascade_keeps_both),
		cmocka_unit_test(withdrawn_on_slave),
		cmocka_unit_test(specific_eoi),
		cmocka_unit_test(rotation),
		cmocka_unit_test(automatic_eoi),
		cmocka_unit_test(special_mask),
		cmocka_unit_test(special_fully_nested),
		cmocka_unit_test(poll),
		cmocka_unit_test(watcher),
		cmocka_unit_test(reset),
		cmocka_unit_test(random_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
