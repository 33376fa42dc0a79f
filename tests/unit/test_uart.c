/*
 * The serial ports: interrupts and their priorities, FIFOs, flow control by the
 * stream, loopback, and the shadowed line status.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/stutter.h"

enum { COM1 = 0x3f8, COM2 = 0x2f8, COM3 = 0x3e8 };
enum { DATA, IER, IIR, FCR = IIR, LCR, MCR, LSR, MSR, SCR };

static const struct conf_key keys[] = { KEY_STREAM("com1", 0), KEY_STREAM("com2", -1), KEY_STREAM("com3", 1) };
static const struct conf_dev uart = { .model = "uart", .nkeys = 3, .key = keys };

static int setup(void **state)
{
	*state = harness_new(&(struct harness_conf){ .dev = &uart, .ndevs = 1 });
	return 0;
}

/* The same, by a device model that dies in every transaction. */
static int setup_stutter(void **state)
{
	setup(state);
	stutter(harness_dev(*state, "uart"));
	return 0;
}

static int teardown(void **state)
{
	harness_free(*state);
	stutter_none();
	return 0;
}

static void out(struct harness *h, unsigned reg, uint8_t value) { h_out(h, COM1 + reg, 1, value); }
static uint8_t in(struct harness *h, unsigned reg) { return h_in(h, COM1 + reg, 1); }

static void ports(void **state)
{
	struct harness *h = *state;
	uint32_t len, flags;

	assert_true(h_region(h, false, COM1, &len, &flags));
	assert_int_equal(len, 8);
	assert_true(flags & LINK_RGN_SHADOW);
	assert_false(flags & (LINK_RGN_POSTED | LINK_RGN_BATCH));
	assert_true(h_region(h, false, COM3, NULL, NULL));
	assert_false(h_region(h, false, 0x2e8, NULL, NULL));	/* com4 was not asked for */
	h_in(h, 0x2e8, 1);
	assert_true(h_unclaimed(h));
}

static void registers(void **state)
{
	struct harness *h = *state;

	assert_int_equal(in(h, LSR), 0x60);
	assert_int_equal(in(h, MSR), 0xb0);
	assert_int_equal(in(h, IIR), 0x01);
	out(h, LCR, 0x83);
	h_out(h, COM1, 2, 0x0180);	/* divisor, as one word */
	assert_int_equal(in(h, DATA), 0x80);
	assert_int_equal(in(h, IER), 0x01);
	out(h, LCR, 0x03);
	assert_int_equal(in(h, IER), 0);
	out(h, IER, 0xff);
	assert_int_equal(in(h, IER), 0x0f);
	out(h, SCR, 0xa5);
	assert_int_equal(in(h, SCR), 0xa5);
	out(h, MCR, 0xff);
	assert_int_equal(in(h, MCR), 0x1f);
	out(h, FCR, 0xc1);
	assert_int_equal(in(h, IIR) & 0xc0, 0xc0);
	out(h, FCR, 0x00);
	assert_int_equal(in(h, IIR) & 0xc0, 0x00);
}

static void output(void **state)
{
	struct harness *h = *state;
	char text[16];

	for (const char *s = "Cleave"; *s; s++)
		out(h, DATA, *s);
	assert_int_equal(h_output(h, 0, text, sizeof(text)), 6);
	assert_memory_equal(text, "Cleave", 6);
	/* a port that is connected to nothing swallows */
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(h_in(h, COM2 + LSR, 1), 0x60);
		h_out(h, COM2, 1, 'x');
	}
	assert_int_equal(h_output(h, 0, text, sizeof(text)), 0);
}

/* Without room THRE stays clear, nothing is lost, and the transmitter interrupts when there is room again. */
static void flow_control(void **state)
{
	struct harness *h = *state;
	char text[32];
	uint32_t lsr;

	out(h, FCR, 0x01);
	out(h, IER, 0x02);
	assert_true(h_line(h, 4));
	assert_int_equal(in(h, IIR), 0xc2);
	assert_false(h_line(h, 4));
	h_output_full(h, 0, true);
	for (unsigned i = 0; i < 16; i++) {
		out(h, DATA, 'a' + i);
		assert_int_equal(in(h, LSR), 0x00);
	}
	assert_true(h_shadow(h, COM1 + LSR, &lsr));
	assert_int_equal(lsr, 0x00);
	assert_false(h_line(h, 4));
	out(h, DATA, '!');		/* no room in the FIFO: lost, as on hardware */
	h_output_full(h, 0, false);
	assert_true(h_line(h, 4));
	assert_int_equal(in(h, IIR), 0xc2);
	assert_int_equal(in(h, LSR), 0x60);
	assert_int_equal(h_output(h, 0, text, sizeof(text)), 16);
	assert_memory_equal(text, "abcdefghijklmnop", 16);
	/* cleared while waiting */
	h_output_full(h, 0, true);
	out(h, DATA, 'x');
	out(h, FCR, 0x05);
	assert_int_equal(in(h, LSR), 0x60);
	h_output_full(h, 0, false);
	assert_int_equal(h_output(h, 0, text, sizeof(text)), 0);
}

/* Writing THR lowers the line before it rises again: the 8259 needs the edge. */
static void transmitter_interrupt(void **state)
{
	struct harness *h = *state;
	unsigned edges;

	out(h, IER, 0x02);
	edges = h_edges(h, 4);
	out(h, DATA, 'a');
	assert_true(h_line(h, 4));
	assert_int_equal(h_edges(h, 4), edges + 1);
	assert_int_equal(in(h, IIR), 0x02);
	assert_false(h_line(h, 4));
	assert_int_equal(in(h, IIR), 0x01);
	out(h, IER, 0x00);
	out(h, IER, 0x02);		/* enabling it again on an empty transmitter */
	assert_true(h_line(h, 4));
}

static void input_without_fifo(void **state)
{
	struct harness *h = *state;
	uint32_t lsr;

	out(h, IER, 0x01);
	h_input(h, 0, "xyz", 3);
	assert_true(h_line(h, 4));
	assert_int_equal(in(h, IIR), 0x04);
	assert_true(h_shadow(h, COM1 + LSR, &lsr));
	assert_int_equal(lsr, 0x61);
	for (const char *s = "xyz"; *s; s++) {
		assert_int_equal(in(h, LSR), 0x61);	/* never an overrun: the stream keeps the rest */
		assert_int_equal(in(h, DATA), *s);
	}
	assert_false(h_line(h, 4));
	assert_int_equal(in(h, LSR), 0x60);
}

static void trigger_and_timeout(void **state)
{
	struct harness *h = *state;
	const uint64_t four_chars = 12ull * 40 * 1000000000 / 115200;

	out(h, LCR, 0x80);
	out(h, DATA, 12);
	out(h, LCR, 0x03);
	out(h, FCR, 0x81);		/* eight */
	out(h, IER, 0x01);
	h_input(h, 0, "1234567", 7);
	assert_false(h_line(h, 4));
	h_advance(h, four_chars - 1000);
	assert_false(h_line(h, 4));
	h_advance(h, 1000);
	assert_true(h_line(h, 4));
	assert_int_equal(in(h, IIR), 0xcc);
	assert_int_equal(in(h, DATA), '1');
	assert_false(h_line(h, 4));
	/* six wait; two more reach the trigger */
	h_input(h, 0, "89", 2);
	assert_true(h_line(h, 4));
	assert_int_equal(in(h, IIR), 0xc4);
	in(h, DATA);
	assert_int_equal(in(h, IIR), 0xc1);
	h_advance(h, four_chars);
	assert_int_equal(in(h, IIR), 0xcc);
	while (in(h, LSR) & 1)
		in(h, DATA);
	assert_false(h_line(h, 4));
	assert_int_equal(h_deadline(h), 0);
}

/* More than a FIFO: sixteen at a time, in order. */
static void long_input(void **state)
{
	struct harness *h = *state;
	uint8_t sent[100];

	for (unsigned i = 0; i < sizeof(sent); i++)
		sent[i] = i;
	out(h, FCR, 0xc1);
	h_input(h, 0, sent, sizeof(sent));
	for (unsigned i = 0; i < sizeof(sent); i++) {
		assert_int_equal(in(h, LSR), 0x61);
		assert_int_equal(in(h, DATA), i);
	}
	assert_int_equal(in(h, LSR), 0x60);
	/* clearing the FIFO drops only what it holds */
	h_input(h, 0, sent, 20);
	out(h, FCR, 0xc3);
	assert_int_equal(in(h, DATA), 16);
}

static void priorities(void **state)
{
	struct harness *h = *state;

	out(h, MCR, 0x10);		/* loopback */
	out(h, IER, 0x0f);
	out(h, DATA, 'a');
	out(h, DATA, 'b');		/* overrun */
	out(h, MCR, 0x12);		/* CTS moves */
	assert_int_equal(in(h, IIR), 0x06);
	assert_int_equal(in(h, LSR), 0x63);
	assert_int_equal(in(h, LSR), 0x61);
	assert_int_equal(in(h, IIR), 0x04);
	assert_int_equal(in(h, DATA), 'b');	/* without FIFO the newer one stays */
	assert_int_equal(in(h, IIR), 0x02);
	assert_int_equal(in(h, IIR), 0x00);
	assert_int_equal(in(h, MSR), 0x1b);
	assert_int_equal(in(h, IIR), 0x01);
	assert_false(h_line(h, 4));
}

static void loopback(void **state)
{
	struct harness *h = *state;
	uint32_t lsr;
	char text[4];

	out(h, FCR, 0x01);
	out(h, MCR, 0x10);
	in(h, MSR);
	assert_int_equal(in(h, MSR), 0x00);
	out(h, MCR, 0x1a);		/* RTS and OUT2 come back as CTS and DCD */
	assert_int_equal(in(h, MSR), 0x99);
	assert_int_equal(in(h, MSR), 0x90);
	out(h, MCR, 0x1e);		/* RI rises: nothing; falls: TERI */
	assert_int_equal(in(h, MSR), 0xd0);
	out(h, MCR, 0x1a);
	assert_int_equal(in(h, MSR), 0x94);
	for (unsigned i = 0; i < 16; i++)
		out(h, DATA, i);
	assert_int_equal(h_output(h, 0, text, sizeof(text)), 0);
	h_input(h, 0, "q", 1);		/* the line is cut off */
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(in(h, DATA), i);
	/* overrun with FIFO: the newest is lost; no shadow while the error stands */
	for (unsigned i = 0; i < 17; i++)
		out(h, DATA, i);
	assert_false(h_shadow(h, COM1 + LSR, &lsr));
	assert_int_equal(in(h, LSR), 0x63);
	assert_true(h_shadow(h, COM1 + LSR, &lsr));
	out(h, FCR, 0x03);
	/* a break is a zero with a mark, told when it comes to the top */
	out(h, DATA, 'k');
	out(h, LCR, 0x43);
	assert_int_equal(in(h, LSR), 0xe1);
	assert_int_equal(in(h, DATA), 'k');
	assert_int_equal(in(h, LSR), 0xf1);
	assert_int_equal(in(h, DATA), 0);
	assert_int_equal(in(h, LSR), 0x60);
	out(h, MCR, 0x0b);
	assert_int_equal(in(h, DATA), 'q');
}

/* COM1 and COM3 hold one line. */
static void shared_line(void **state)
{
	struct harness *h = *state;

	out(h, IER, 0x01);
	h_out(h, COM3 + IER, 1, 0x01);
	h_input(h, 0, "a", 1);
	h_input(h, 1, "b", 1);
	assert_true(h_line(h, 4));
	assert_int_equal(in(h, DATA), 'a');
	assert_true(h_line(h, 4));
	assert_int_equal(h_in(h, COM3, 1), 'b');
	assert_false(h_line(h, 4));
	h_out(h, COM2 + IER, 1, 0x02);
	assert_true(h_line(h, 3));
	h_reset(h);
	assert_false(h_line(h, 3));
}

static void reset(void **state)
{
	struct harness *h = *state;
	uint32_t lsr;

	out(h, FCR, 0xc1);
	out(h, IER, 0x0f);
	out(h, MCR, 0x1f);
	out(h, DATA, 'a');
	h_reset(h);
	assert_false(h_line(h, 4));
	assert_int_equal(in(h, IER), 0);
	assert_int_equal(in(h, MCR), 0);
	assert_int_equal(in(h, IIR), 0x01);
	assert_int_equal(in(h, LSR), 0x60);
	assert_true(h_shadow(h, COM1 + LSR, &lsr));
	assert_int_equal(lsr, 0x60);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown), \
	{ #f " in a stutter", f, setup_stutter, teardown, NULL }
	const struct CMUnitTest tests[] = {
		T(ports), T(registers), T(output), T(flow_control), T(transmitter_interrupt), T(input_without_fifo),
		T(trigger_and_timeout), T(long_input), T(priorities), T(loopback), T(shared_line), T(reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
