/* The I/O APIC by its datasheet: registers, edges, levels with remote IRR and EOI, masks, destinations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/dev/ioapic.h"

enum { SELECT = 0x00, WINDOW = 0x10, EOI = 0x40 };
enum { LOGICAL = 1 << 11, REMOTE_IRR = 1 << 14, LEVEL = 1 << 15, MASKED = 1 << 16, LOW_POLARITY = 1 << 13 };

static struct ioapic *io;
static struct apic_message last;
static unsigned sent, changes;
static bool accept_it, requested;

static bool on_send(void *arg, const struct apic_message *m)
{
	(void)arg;
	last = *m;
	sent++;
	return accept_it;
}

static bool on_requested(void *arg, const struct apic_message *m)
{
	(void)arg;
	last = *m;
	return requested;
}

static void on_changed(void *arg)
{
	(void)arg;
	changes++;
}

static int setup(void **state)
{
	const struct ioapic_wires wires = { .send = on_send, .requested = on_requested, .changed = on_changed };

	(void)state;
	sent = changes = 0;
	accept_it = true;
	requested = false;
	io = ioapic_new(&wires);
	return !io;
}

static int teardown(void **state)
{
	(void)state;
	ioapic_free(io);
	return 0;
}

static uint32_t rd(unsigned reg)
{
	ioapic_write(io, SELECT, 4, reg);
	return (uint32_t)ioapic_read(io, WINDOW, 4);
}

static void wr(unsigned reg, uint32_t value)
{
	ioapic_write(io, SELECT, 1, reg);
	ioapic_write(io, WINDOW, 4, value);
	assert_true(ioapic_check(io));
}

static void entry(unsigned pin, uint32_t high, uint32_t low)
{
	wr(0x11 + 2 * pin, high << 24);
	wr(0x10 + 2 * pin, low);
}

static uint32_t low(unsigned pin)
{
	return rd(0x10 + 2 * pin);
}

static void pulse(unsigned pin)
{
	ioapic_set_pin(io, pin, true);
	ioapic_set_pin(io, pin, false);
}

static void registers(void **state)
{
	(void)state;
	assert_int_equal(rd(1), 0x00170020);
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		assert_int_equal(low(pin), MASKED);
	wr(0, 0xffffffff);
	assert_int_equal(rd(0), 0x0f000000);
	assert_int_equal(rd(2), 0x0f000000);
	wr(1, 0);
	assert_int_equal(rd(1), 0x00170020);
	wr(0x10, 0xffffffff);
	assert_int_equal(rd(0x10), 0x0001afff);		/* delivery status and remote IRR are not the guest's */
	wr(0x11, 0xffffffff);
	assert_int_equal(rd(0x11), 0xff000000);
	assert_int_equal(rd(0x40), 0);
	wr(0x40, 0);
	assert_int_equal(rd(0xff), 0);
	assert_int_equal(rd(0x3f), 0);
	assert_int_equal(ioapic_read(io, SELECT, 4), 0x3f);
	ioapic_write(io, SELECT, 4, 1);
	assert_int_equal(ioapic_read(io, WINDOW, 1), 0x20);
	assert_int_equal(ioapic_read(io, WINDOW + 2, 1), 0x17);
	assert_int_equal(ioapic_read(io, 0x20, 4), 0);
	ioapic_write(io, SELECT, 4, 0x14);
	ioapic_write(io, WINDOW, 1, 0);			/* too narrow */
	assert_int_equal(low(2), MASKED);
	ioapic_reset(io);
	assert_int_equal(rd(0x11), 0);
}

static void edges(void **state)
{
	(void)state;
	pulse(4);
	assert_int_equal(sent, 0);
	entry(4, 3, 0x34);
	assert_int_equal(sent, 0);			/* an edge on a masked pin is lost */
	ioapic_set_pin(io, 4, true);
	assert_int_equal(sent, 1);
	assert_int_equal(last.dest, 3);
	assert_int_equal(last.vector, 0x34);
	assert_int_equal(last.delivery, APIC_FIXED);
	assert_false(last.level);
	assert_false(last.logical);
	assert_int_equal(low(4) & REMOTE_IRR, 0);
	ioapic_set_pin(io, 4, true);
	assert_int_equal(sent, 1);
	ioapic_set_pin(io, 4, false);
	assert_int_equal(sent, 1);
	pulse(4);
	assert_int_equal(sent, 2);
	ioapic_set_pin(io, 4, true);
	entry(4, 3, 0x34 | MASKED);
	entry(4, 3, 0x34);
	assert_int_equal(sent, 3);			/* high, but no edge */
	ioapic_eoi(io, 0x34);
	assert_int_equal(sent, 3);
	ioapic_set_pin(io, IOAPIC_PINS, true);		/* no such pin */
	assert_int_equal(sent, 3);
}

static void destinations(void **state)
{
	(void)state;
	entry(5, 0xff, 0x35);
	pulse(5);
	assert_int_equal(last.dest, APIC_ALL);
	entry(5, 0xff, 0x35 | LOGICAL | 1 << 8);
	pulse(5);
	assert_int_equal(last.dest, 0xff);
	assert_true(last.logical);
	assert_int_equal(last.delivery, APIC_LOWEST);
	entry(5, 0, 7 << 8 | LEVEL);			/* ExtINT knows no EOI: an edge */
	pulse(5);
	assert_int_equal(last.delivery, APIC_EXTINT);
	assert_false(last.level);
	assert_int_equal(low(5) & REMOTE_IRR, 0);
	pulse(5);
	assert_int_equal(sent, 4);
}

static void levels(void **state)
{
	(void)state;
	entry(9, 1, 0x39 | LEVEL | LOW_POLARITY);
	ioapic_set_pin(io, 9, true);
	assert_int_equal(sent, 1);
	assert_true(last.level);
	assert_int_equal(low(9), 0x39 | LEVEL | LOW_POLARITY | REMOTE_IRR);
	ioapic_set_pin(io, 9, false);
	ioapic_set_pin(io, 9, true);
	assert_int_equal(sent, 1);			/* once until the EOI */
	ioapic_eoi(io, 0x38);
	assert_int_equal(low(9) & REMOTE_IRR, REMOTE_IRR);
	ioapic_eoi(io, 0x39);				/* still asserted: again */
	assert_int_equal(sent, 2);
	assert_int_equal(low(9) & REMOTE_IRR, REMOTE_IRR);
	ioapic_set_pin(io, 9, false);
	ioapic_write(io, EOI, 4, 0x39);			/* the register does the same */
	assert_int_equal(sent, 2);
	assert_int_equal(low(9) & REMOTE_IRR, 0);
}

static void levels_and_masks(void **state)
{
	(void)state;
	ioapic_set_pin(io, 9, true);
	entry(9, 1, 0x39 | LEVEL | MASKED);
	assert_int_equal(sent, 0);
	entry(9, 1, 0x39 | LEVEL);			/* unmasked: it waits no longer */
	assert_int_equal(sent, 1);
	entry(9, 1, 0x39 | LEVEL | MASKED);
	assert_int_equal(low(9) & REMOTE_IRR, REMOTE_IRR);
	ioapic_eoi(io, 0x39);				/* heard while masked */
	assert_int_equal(low(9) & REMOTE_IRR, 0);
	assert_int_equal(sent, 1);
	entry(9, 1, 0x39 | LEVEL);
	assert_int_equal(sent, 2);
	entry(9, 1, 0x39);				/* to edge: the old way to clear remote IRR */
	assert_int_equal(low(9), 0x39);
	entry(9, 1, 0x39 | LEVEL);
	assert_int_equal(sent, 3);
	accept_it = false;				/* nobody takes it: nothing will end it */
	ioapic_eoi(io, 0x39);
	assert_int_equal(sent, 4);
	assert_int_equal(low(9) & REMOTE_IRR, 0);
}

static void shared_vector(void **state)
{
	(void)state;
	entry(10, 0, 0x50 | LEVEL);
	entry(11, 0, 0x50 | LEVEL);
	ioapic_set_pin(io, 10, true);
	ioapic_set_pin(io, 11, true);
	assert_int_equal(sent, 2);
	ioapic_set_pin(io, 10, false);
	ioapic_eoi(io, 0x50);
	assert_int_equal(sent, 3);
	assert_int_equal(low(10) & REMOTE_IRR, 0);
	assert_int_equal(low(11) & REMOTE_IRR, REMOTE_IRR);
}

static void for_timers(void **state)
{
	unsigned before;

	(void)state;
	assert_true(ioapic_masked(io, 2));
	entry(2, 0, 0x30);
	assert_false(ioapic_masked(io, 2));
	assert_false(ioapic_pending(io, 2));
	requested = true;
	assert_true(ioapic_pending(io, 2));
	assert_int_equal(last.vector, 0x30);
	entry(2, 0, 0x30 | LEVEL);
	assert_false(ioapic_pending(io, 2));
	ioapic_set_pin(io, 2, true);
	assert_true(ioapic_pending(io, 2));
	entry(3, 0, 4 << 8);				/* an NMI does not wait in a register */
	assert_false(ioapic_pending(io, 3));
	before = changes;
	entry(4, 0, 0x31);
	assert_int_equal(changes, before + 2);
	pulse(4);
	wr(0, 0);
	assert_int_equal(changes, before + 2);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(registers), T(edges), T(destinations), T(levels), T(levels_and_masks), T(shared_vector), T(for_timers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
