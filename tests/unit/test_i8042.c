/*
 * The keyboard controller: its commands, the keyboard's and the mouse's, the
 * translation, and keys from outside.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/stutter.h"

enum { DATA = 0x60, STATUS = 0x64, COMMAND = 0x64 };

static const struct conf_dev i8042 = { .model = "i8042" };

static int setup(void **state)
{
	*state = harness_new(&(struct harness_conf){ .dev = &i8042, .ndevs = 1 });
	return 0;
}

/* The same, by a device model that dies in every transaction. */
static int setup_stutter(void **state)
{
	setup(state);
	stutter(harness_dev(*state, "i8042"));
	return 0;
}

static int teardown(void **state)
{
	harness_free(*state);
	stutter_none();
	return 0;
}

static uint8_t status(struct harness *h)
{
	uint32_t shadow = 0;
	uint8_t value = h_in(h, STATUS, 1);

	assert_true(h_shadow(h, STATUS, &shadow));
	assert_int_equal(shadow, value);
	return value;
}

/* The next byte; -1 when there is none. */
static int next(struct harness *h)
{
	return status(h) & 1 ? (int)h_in(h, DATA, 1) : -1;
}

static int command(struct harness *h, uint8_t c)
{
	h_out(h, COMMAND, 1, c);
	return next(h);
}

static int command2(struct harness *h, uint8_t c, uint8_t data)
{
	h_out(h, COMMAND, 1, c);
	h_out(h, DATA, 1, data);
	return next(h);
}

static int kbd(struct harness *h, uint8_t c)
{
	h_out(h, DATA, 1, c);
	return next(h);
}

static void self_test(void **state)
{
	struct harness *h = *state;

	assert_int_equal(next(h), -1);
	assert_int_equal(command(h, 0xaa), 0x55);
	assert_int_equal(command(h, 0xab), 0x00);
	assert_int_equal(command(h, 0xa9), 0x00);
	assert_int_equal(status(h), 0x1c);		/* SYS, command, not inhibited */
	assert_int_equal(command2(h, 0x60, 0x61), -1);
	assert_int_equal(status(h), 0x10);
	assert_int_equal(command(h, 0x20), 0x61);
	assert_int_equal(command2(h, 0x60, 0xff), -1);
	assert_int_equal(command(h, 0x20), 0x77);
	assert_int_equal(command2(h, 0x65, 0xa5), -1);
	assert_int_equal(command(h, 0x25), 0xa5);
	assert_int_equal(command(h, 0xad), -1);
	assert_int_equal(command(h, 0xa7), -1);
	assert_int_equal(command(h, 0x20), 0x77);
	assert_int_equal(command(h, 0xae), -1);
	assert_int_equal(command(h, 0xa8), -1);
	assert_int_equal(command(h, 0x20), 0x47);
	assert_int_equal(command(h, 0xa4), 0xf1);
	assert_int_equal(command(h, 0xc0), 0xa0);
	assert_int_equal(command(h, 0xe0), 0x00);
}

static void interrupts(void **state)
{
	struct harness *h = *state;
	unsigned edges;

	command2(h, 0x60, 0x43);
	h_out(h, DATA, 1, 0xf2);
	assert_true(h_line(h, 1));
	edges = h_edges(h, 1);
	assert_int_equal(h_in(h, DATA, 1), 0xfa);
	assert_true(h_line(h, 1));			/* the next byte, by a new edge */
	assert_int_equal(h_edges(h, 1), edges + 1);
	assert_int_equal(next(h), 0xab);
	assert_int_equal(next(h), 0x41);		/* 83h, translated */
	assert_false(h_line(h, 1));
	assert_int_equal(h_in(h, DATA, 1), 0x41);	/* an empty buffer reads the last byte again */
	assert_false(h_line(h, 12));
	h_out(h, COMMAND, 1, 0xd4);
	h_out(h, DATA, 1, 0xf2);
	assert_true(h_line(h, 12));
	assert_false(h_line(h, 1));
	assert_int_equal(status(h) & 0x21, 0x21);
	assert_int_equal(next(h), 0xfa);
	assert_int_equal(next(h), 0x00);
	assert_false(h_line(h, 12));
	/* not enabled: the byte is there, the line is not */
	command2(h, 0x60, 0x40);
	h_out(h, DATA, 1, 0xee);
	assert_false(h_line(h, 1));
	command2(h, 0x60, 0x41);			/* reads the echo */
	h_out(h, DATA, 1, 0xee);
	assert_true(h_line(h, 1));
}

static void a20_and_reset(void **state)
{
	struct harness *h = *state;
	struct link_event ev;

	assert_true(h_event_of(h, LINK_EV_A20, &ev));
	assert_int_equal(ev.a, 1);
	h_drop_events(h);
	assert_int_equal(command(h, 0xd0) & 3, 3);
	assert_int_equal(command2(h, 0xd1, 0xdd), -1);
	assert_true(h_event_of(h, LINK_EV_A20, &ev));
	assert_int_equal(ev.a, 0);
	assert_int_equal(command(h, 0xd0) & 3, 1);
	command(h, 0xdf);
	assert_true(h_event_of(h, LINK_EV_A20, &ev));
	assert_int_equal(ev.a, 1);
	command(h, 0xdd);
	assert_true(h_event_of(h, LINK_EV_A20, &ev));
	assert_int_equal(ev.a, 0);
	command(h, 0xff);				/* pulses nothing */
	assert_false(h_event(h, &ev));
	command(h, 0xfe);
	assert_true(h_event_of(h, LINK_EV_POWER, &ev));
	assert_int_equal(ev.a, LINK_POWER_RESET);
	assert_false(h_event(h, &ev));
	command2(h, 0xd1, 0xde);			/* reset line low, A20 high */
	assert_true(h_event_of(h, LINK_EV_A20, &ev));
	assert_true(h_event_of(h, LINK_EV_POWER, &ev));
	assert_int_equal(ev.a, LINK_POWER_RESET);
	/* the machine's reset opens A20 */
	command(h, 0xdd);
	h_drop_events(h);
	h_reset(h);
	assert_true(h_event_of(h, LINK_EV_A20, &ev));
	assert_int_equal(ev.a, 1);
}

static void keyboard_commands(void **state)
{
	struct harness *h = *state;

	command2(h, 0x60, 0x01);			/* no translation */
	assert_int_equal(kbd(h, 0xff), 0xfa);
	assert_int_equal(next(h), 0xaa);
	assert_int_equal(kbd(h, 0xee), 0xee);
	assert_int_equal(kbd(h, 0xed), 0xfa);
	assert_int_equal(kbd(h, 0x02), 0xfa);
	assert_int_equal(kbd(h, 0xf3), 0xfa);
	assert_int_equal(kbd(h, 0x00), 0xfa);
	assert_int_equal(kbd(h, 0xf2), 0xfa);
	assert_int_equal(next(h), 0xab);
	assert_int_equal(next(h), 0x83);
	assert_int_equal(kbd(h, 0xfe), 0x83);		/* the last byte again */
	assert_int_equal(kbd(h, 0xf0), 0xfa);
	assert_int_equal(kbd(h, 0x00), 0xfa);
	assert_int_equal(next(h), 0x02);
	assert_int_equal(kbd(h, 0xf0), 0xfa);
	assert_int_equal(kbd(h, 0x03), 0xfe);
	assert_int_equal(kbd(h, 0x12), 0xfe);		/* no command */
	assert_int_equal(kbd(h, 0xed), 0xfa);
	assert_int_equal(kbd(h, 0xf2), 0xfa);		/* a command in place of the LEDs */
	assert_int_equal(next(h), 0xab);
	assert_int_equal(next(h), 0x83);
	assert_int_equal(kbd(h, 0x02), 0xfe);
	assert_int_equal(next(h), -1);
}

#define A_MAKE_BREAK 0x1cf01cull	/* 1C, F0 1C */

static void keys(void **state)
{
	struct harness *h = *state;

	command2(h, 0x60, 0x41);
	h_inject(h, LINK_INJECT_KEY, A_MAKE_BREAK);
	assert_true(h_line(h, 1));
	assert_int_equal(next(h), 0x1e);
	assert_int_equal(next(h), 0x9e);
	assert_int_equal(next(h), -1);
	h_inject(h, LINK_INJECT_KEY, 0x75f0e075e0);	/* up: E0 75 E0 F0 75 */
	assert_int_equal(next(h), 0xe0);
	assert_int_equal(next(h), 0x48);
	assert_int_equal(next(h), 0xe0);
	assert_int_equal(next(h), 0xc8);
	h_inject(h, LINK_INJECT_KEY, 0x83f083);		/* F7 */
	assert_int_equal(next(h), 0x41);
	assert_int_equal(next(h), 0xc1);
	command2(h, 0x60, 0x01);
	h_inject(h, LINK_INJECT_KEY, A_MAKE_BREAK);
	assert_int_equal(next(h), 0x1c);
	assert_int_equal(next(h), 0xf0);
	assert_int_equal(next(h), 0x1c);
	/* scancode set 1 without the controller's help */
	kbd(h, 0xf0);
	kbd(h, 0x01);
	h_inject(h, LINK_INJECT_KEY, A_MAKE_BREAK);
	assert_int_equal(next(h), 0x1e);
	assert_int_equal(next(h), 0x9e);
	/* a power button is no key */
	h_inject(h, LINK_INJECT_POWER_BUTTON, A_MAKE_BREAK);
	assert_int_equal(next(h), -1);
}

static void keys_wait(void **state)
{
	struct harness *h = *state;
	unsigned n = 0;

	command2(h, 0x60, 0x41);
	command(h, 0xad);
	h_inject(h, LINK_INJECT_KEY, A_MAKE_BREAK);
	assert_int_equal(next(h), -1);
	h_out(h, COMMAND, 1, 0xae);
	assert_int_equal(status(h) & 1, 1);
	/* replies go before keys that wait */
	h_out(h, DATA, 1, 0xee);
	assert_int_equal(next(h), 0x1e);
	assert_int_equal(next(h), 0xee);
	assert_int_equal(next(h), 0x9e);
	/* told to be still */
	assert_int_equal(kbd(h, 0xf5), 0xfa);
	h_inject(h, LINK_INJECT_KEY, A_MAKE_BREAK);
	assert_int_equal(next(h), -1);
	assert_int_equal(kbd(h, 0xf4), 0xfa);
	/* a full buffer loses whole keys */
	for (unsigned i = 0; i < 100; i++)
		h_inject(h, LINK_INJECT_KEY, A_MAKE_BREAK);
	for (int byte; (byte = next(h)) >= 0; n++)
		assert_int_equal(byte, n % 2 ? 0x9e : 0x1e);
	assert_int_equal(n % 2, 0);
	assert_in_range(n, 40, 200);
}

static int mouse(struct harness *h, uint8_t c)
{
	h_out(h, COMMAND, 1, 0xd4);
	h_out(h, DATA, 1, c);
	return next(h);
}

static void mouse_commands(void **state)
{
	struct harness *h = *state;
	static const uint8_t knock[] = { 200, 100, 80 };

	assert_int_equal(mouse(h, 0xff), 0xfa);
	assert_int_equal(next(h), 0xaa);
	assert_int_equal(next(h), 0x00);
	assert_int_equal(mouse(h, 0xf2), 0xfa);
	assert_int_equal(next(h), 0x00);
	assert_int_equal(mouse(h, 0xe8), 0xfa);
	assert_int_equal(mouse(h, 0x03), 0xfa);
	assert_int_equal(mouse(h, 0xf4), 0xfa);
	assert_int_equal(mouse(h, 0xe7), 0xfa);
	assert_int_equal(mouse(h, 0xe9), 0xfa);
	assert_int_equal(next(h), 0x30);
	assert_int_equal(next(h), 3);
	assert_int_equal(next(h), 100);
	assert_int_equal(mouse(h, 0xeb), 0xfa);
	assert_int_equal(next(h), 0x08);
	assert_int_equal(next(h), 0);
	assert_int_equal(next(h), 0);
	assert_int_equal(next(h), -1);
	assert_int_equal(mouse(h, 0x11), 0xfe);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(mouse(h, 0xf3), 0xfa);
		assert_int_equal(mouse(h, knock[i]), 0xfa);
	}
	assert_int_equal(mouse(h, 0xf2), 0xfa);
	assert_int_equal(next(h), 0x03);
	/* wrap mode echoes until it is left */
	assert_int_equal(mouse(h, 0xee), 0xfa);
	assert_int_equal(mouse(h, 0xf2), 0xf2);
	assert_int_equal(mouse(h, 0xec), 0xfa);
	assert_int_equal(mouse(h, 0xf2), 0xfa);
	assert_int_equal(next(h), 0x03);
}

/* D2h and D3h put a byte into the buffer as if a device had sent it. */
static void from_nowhere(void **state)
{
	struct harness *h = *state;

	command2(h, 0x60, 0x43);
	h_out(h, COMMAND, 1, 0xd2);
	h_out(h, DATA, 1, 0x5a);
	assert_true(h_line(h, 1));
	assert_int_equal(status(h) & 0x21, 0x01);
	assert_int_equal(next(h), 0x5a);
	h_out(h, COMMAND, 1, 0xd3);
	h_out(h, DATA, 1, 0xa5);
	assert_true(h_line(h, 12));
	assert_int_equal(status(h) & 0x21, 0x21);
	assert_int_equal(next(h), 0xa5);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown), \
	{ #f " in a stutter", f, setup_stutter, teardown, NULL }
	const struct CMUnitTest tests[] = {
		T(self_test), T(interrupts), T(a20_and_reset), T(keyboard_commands), T(keys), T(keys_wait),
		T(mouse_commands), T(from_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
