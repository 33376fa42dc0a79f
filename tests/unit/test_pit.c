/* The 8254 and port 61h, by the datasheet's waveforms, on a manual clock. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <event2/event.h>

#include "vmm/dev/pic.h"
#include "vmm/dev/pit.h"
#include "vmm/timer.h"

#define NS_PER_S	1000000000ull

enum { CONTROL = 0x43, B = 0x61 };
enum { OUT = 0x80, NULL_COUNT = 0x40 };

static struct timers *ts;
static struct pic *pic;
static struct pit *pit;
static uint64_t tick;		/* where the clock stands */

static void on_intr(void *arg, bool level)
{
	(void)arg, (void)level;
}

static int setup(void **state)
{
	(void)state;
	ts = timers_new(NULL, NULL, NULL, NULL);
	pic = pic_new(on_intr, NULL);
	pit = pit_new(ts, pic_line(pic, PIT_IRQ));
	pic_write(pic, 0x20, 0x13);	/* one controller, automatic EOI off, vectors at 8 */
	pic_write(pic, 0x21, 0x08);
	pic_write(pic, 0x21, 0x01);
	tick = 0;
	return !pit;
}

static int teardown(void **state)
{
	(void)state;
	pit_free(pit);
	pic_free(pic);
	timers_free(ts);
	return 0;
}

static void clocks(uint64_t n)
{
	tick += n;
	timers_advance(ts, (tick * PIT_TICK_DEN + PIT_TICK_NUM - 1) / PIT_TICK_NUM - timers_now(ts));
}

static void program(unsigned ch, unsigned mode, unsigned rw, bool bcd)
{
	pit_write(pit, CONTROL, ch << 6 | rw << 4 | mode << 1 | bcd);
}

static void count16(unsigned ch, uint16_t n)
{
	pit_write(pit, 0x40 + ch, n);
	pit_write(pit, 0x40 + ch, n >> 8);
}

static void start(unsigned ch, unsigned mode, uint16_t n)
{
	program(ch, mode, 3, false);
	count16(ch, n);
}

static uint8_t status(unsigned ch)
{
	pit_write(pit, CONTROL, 0xe0 | 2 << ch);
	return pit_read(pit, 0x40 + ch);
}

static unsigned out(unsigned ch)
{
	return status(ch) & OUT ? 1 : 0;
}

static uint16_t read16(unsigned ch)
{
	uint8_t low = pit_read(pit, 0x40 + ch);

	return pit_read(pit, 0x40 + ch) << 8 | low;
}

static uint16_t count(unsigned ch)
{
	pit_write(pit, CONTROL, ch << 6);
	return read16(ch);
}

static void gate2(unsigned level)
{
	pit_write(pit, B, level);
}

/* One clock at a time: OUT and count as listed, from the first clock after the write. */
static void wave(unsigned ch, const char *outs, const int *counts)
{
	for (unsigned i = 0; outs[i]; i++) {
		clocks(1);
		assert_int_equal(out(ch), outs[i] - '0');
		if (counts)
			assert_int_equal(count(ch), (uint16_t)counts[i]);
	}
}

#define COUNTS(...) ((const int[]){ __VA_ARGS__ })

/* ---- modes */

static void mode0(void **state)
{
	(void)state;
	program(1, 0, 1, false);
	assert_int_equal(out(1), 0);
	pit_write(pit, 0x41, 4);
	assert_int_equal(out(1), 0);
	wave(1, "000011", NULL);
	assert_int_equal(pit_read(pit, 0x41), 0xff);	/* goes on counting: FFFFh */
	pit_write(pit, 0x41, 2);			/* a new count: OUT low again */
	assert_int_equal(out(1), 0);
	wave(1, "001", NULL);
}

static void mode0_counts(void **state)
{
	(void)state;
	start(1, 0, 3);
	wave(1, "00011", COUNTS(3, 2, 1, 0, 0xffff));
	pit_write(pit, 0x41, 5);	/* the first of two bytes stops the count */
	assert_int_equal(out(1), 0);
	wave(1, "000", COUNTS(0xffff, 0xffff, 0xffff));
	pit_write(pit, 0x41, 0);
	wave(1, "0000011", COUNTS(5, 4, 3, 2, 1, 0, 0xffff));
}

static void mode0_gate(void **state)
{
	(void)state;
	gate2(1);
	start(2, 0, 4);
	wave(2, "00", COUNTS(4, 3));
	gate2(0);
	wave(2, "000", COUNTS(3, 3, 3));
	gate2(1);
	wave(2, "001", COUNTS(2, 1, 0));
	gate2(0);			/* written with the gate closed: loaded, not counted */
	count16(2, 3);
	wave(2, "00", COUNTS(3, 3));
	gate2(1);
	wave(2, "001", COUNTS(2, 1, 0));
}

static void mode1(void **state)
{
	(void)state;
	gate2(0);
	start(2, 1, 3);
	assert_int_equal(status(2), OUT | NULL_COUNT | 3 << 4 | 1 << 1);
	wave(2, "11", NULL);
	gate2(1);
	wave(2, "00011", COUNTS(3, 2, 1, 0, 0xffff));
	gate2(0);
	wave(2, "1", NULL);
	gate2(1);
	wave(2, "00", COUNTS(3, 2));
	gate2(0);			/* the gate's level does nothing */
	gate2(1);			/* its edge starts anew */
	wave(2, "00011", COUNTS(3, 2, 1, 0, 0xffff));
	gate2(0);
	gate2(1);
	wave(2, "0", COUNTS(3));
	count16(2, 5);			/* for the next trigger */
	assert_int_equal(status(2) & NULL_COUNT, NULL_COUNT);
	wave(2, "0011", COUNTS(2, 1, 0, 0xffff));
	gate2(0);
	gate2(1);
	wave(2, "000001", COUNTS(5, 4, 3, 2, 1, 0));
}

static void mode2(void **state)
{
	(void)state;
	program(2, 2, 3, false);
	assert_int_equal(out(2), 1);
	gate2(1);
	count16(2, 3);
	wave(2, "1101101", COUNTS(3, 2, 1, 3, 2, 1, 3));
	gate2(0);			/* OUT high at once, also in its low clock */
	wave(2, "11", NULL);
	gate2(1);			/* starts anew */
	wave(2, "110", COUNTS(3, 2, 1));
	gate2(0);
	assert_int_equal(out(2), 1);
	gate2(1);
	wave(2, "11", COUNTS(3, 2));
	count16(2, 4);			/* after this cycle */
	assert_int_equal(status(2) & NULL_COUNT, NULL_COUNT);
	wave(2, "01110", COUNTS(1, 4, 3, 2, 1));
	assert_int_equal(status(2) & NULL_COUNT, 0);
}

static void mode3_even(void **state)
{
	(void)state;
	gate2(1);
	start(2, 3, 4);
	wave(2, "1100110", COUNTS(4, 2, 4, 2, 4, 2, 4));
	gate2(0);
	assert_int_equal(out(2), 1);
	gate2(1);
	wave(2, "11001", COUNTS(4, 2, 4, 2, 4));
}

static void mode3_odd(void **state)
{
	(void)state;
	gate2(1);
	start(2, 3, 5);
	wave(2, "11100111001", COUNTS(4, 2, 0, 4, 2, 4, 2, 0, 4, 2, 4));
}

static void mode3_new_count(void **state)
{
	(void)state;
	gate2(1);
	start(2, 3, 8);
	wave(2, "11", NULL);
	count16(2, 4);			/* in the high half: the low one is new */
	wave(2, "110011001", NULL);
	start(2, 3, 8);
	wave(2, "111100", NULL);
	count16(2, 4);			/* in the low half: the high one is new */
	wave(2, "001100110", NULL);
	start(2, 3, 8);			/* two in one half: the later one counts */
	wave(2, "1", NULL);
	count16(2, 6);
	wave(2, "1", NULL);
	count16(2, 2);
	wave(2, "11010", NULL);
}

static void mode4(void **state)
{
	(void)state;
	gate2(1);
	program(2, 4, 1, false);
	assert_int_equal(out(2), 1);
	pit_write(pit, 0x42, 3);
	wave(2, "111011", NULL);
	pit_write(pit, 0x42, 3);
	wave(2, "11", NULL);
	gate2(0);
	wave(2, "11", NULL);
	gate2(1);
	wave(2, "101", NULL);
	pit_write(pit, 0x42, 3);
	wave(2, "11", NULL);
	pit_write(pit, 0x42, 2);	/* retriggers */
	wave(2, "11011", NULL);
}

static void mode5(void **state)
{
	(void)state;
	gate2(0);
	start(2, 5, 3);
	wave(2, "11", NULL);
	gate2(1);
	wave(2, "111011", COUNTS(3, 2, 1, 0, 0xffff, 0xfffe));
	gate2(0);
	gate2(1);
	wave(2, "11", NULL);
	gate2(0);
	gate2(1);
	wave(2, "11101", NULL);
}

static void modes_6_and_7(void **state)
{
	(void)state;
	start(1, 6, 3);
	assert_int_equal(status(1) >> 1 & 7, 2);
	wave(1, "110110", NULL);
	start(1, 7, 4);
	assert_int_equal(status(1) >> 1 & 7, 3);
	wave(1, "11001", NULL);
}

/* ---- counts and commands */

static void full_counts(void **state)
{
	(void)state;
	start(1, 2, 0);			/* 65536 */
	clocks(1);
	assert_int_equal(count(1), 0);
	clocks(1);
	assert_int_equal(count(1), 0xffff);
	clocks(65534);
	assert_int_equal(count(1), 1);
	assert_int_equal(out(1), 0);
	clocks(1);
	assert_int_equal(count(1), 0);
	start(1, 3, 0);
	clocks(2);
	assert_int_equal(count(1), 0xfffe);
	clocks(32767);
	assert_int_equal(count(1), 0);
	assert_int_equal(out(1), 0);
}

static void bcd(void **state)
{
	(void)state;
	program(1, 0, 3, true);
	count16(1, 0x1000);
	clocks(1);
	assert_int_equal(count(1), 0x1000);
	clocks(1);
	assert_int_equal(count(1), 0x0999);
	clocks(998);
	assert_int_equal(out(1), 0);
	clocks(1);
	assert_int_equal(out(1), 1);
	clocks(1);
	assert_int_equal(count(1), 0x9999);
	program(1, 2, 3, true);
	count16(1, 0);			/* 10000 */
	clocks(2);
	assert_int_equal(count(1), 0x9999);
	clocks(9998);
	assert_int_equal(out(1), 0);
	assert_int_equal(status(1) & 1, 1);
}

static void byte_access(void **state)
{
	(void)state;
	program(1, 2, 1, false);	/* low byte only: the high one is zero */
	pit_write(pit, 0x41, 0x80);
	clocks(1);
	assert_int_equal(pit_read(pit, 0x41), 0x80);
	assert_int_equal(pit_read(pit, 0x41), 0x80);
	program(1, 2, 2, false);	/* high byte only */
	pit_write(pit, 0x41, 0x12);
	clocks(1);
	assert_int_equal(pit_read(pit, 0x41), 0x12);
	clocks(1);
	assert_int_equal(pit_read(pit, 0x41), 0x11);
	program(1, 2, 3, false);
	count16(1, 0x1234);
	clocks(1);
	assert_int_equal(pit_read(pit, 0x41), 0x34);
	assert_int_equal(pit_read(pit, 0x41), 0x12);
	pit_write(pit, 0x41, 0x55);	/* half a count ... */
	program(1, 2, 3, false);	/* ... is forgotten with the control word */
	count16(1, 0x0102);
	clocks(1);
	assert_int_equal(count(1), 0x0102);
	assert_int_equal(pit_read(pit, CONTROL), 0xff);
}

static void latch(void **state)
{
	(void)state;
	start(1, 2, 1000);
	clocks(1);
	pit_write(pit, CONTROL, 1 << 6);
	clocks(10);
	pit_write(pit, CONTROL, 1 << 6);	/* the first latch holds */
	assert_int_equal(read16(1), 1000);
	assert_int_equal(read16(1), 990);	/* live again */
	pit_write(pit, CONTROL, 1 << 6);
	clocks(10);
	assert_int_equal(pit_read(pit, 0x41), 990 & 0xff);
	clocks(700);
	assert_int_equal(pit_read(pit, 0x41), 990 >> 8);
	pit_write(pit, CONTROL, 1 << 6);
	program(1, 2, 3, false);		/* a control word drops the latch */
	count16(1, 500);
	clocks(1);
	assert_int_equal(read16(1), 500);
	program(1, 2, 2, false);
	pit_write(pit, 0x41, 2);
	clocks(1);
	pit_write(pit, CONTROL, 1 << 6);
	clocks(1);
	assert_int_equal(pit_read(pit, 0x41), 2);	/* one byte is all of it */
	assert_int_equal(pit_read(pit, 0x41), 1);
}

static void read_back(void **state)
{
	(void)state;
	start(1, 2, 0x1234);
	assert_int_equal(status(1), OUT | NULL_COUNT | 3 << 4 | 2 << 1);
	clocks(1);
	assert_int_equal(status(1), OUT | 3 << 4 | 2 << 1);
	gate2(1);
	program(2, 0, 1, false);
	pit_write(pit, 0x42, 9);
	clocks(1);
	pit_write(pit, CONTROL, 0xc0 | 2 << 1 | 2 << 2);	/* count and status of 1 and 2 */
	clocks(15);
	pit_write(pit, CONTROL, 0xc0 | 2 << 1 | 2 << 2);	/* again: the first holds */
	assert_int_equal(pit_read(pit, 0x41), OUT | 3 << 4 | 2 << 1);
	assert_int_equal(read16(1), 0x1233);
	assert_int_equal(pit_read(pit, 0x42), 1 << 4);
	assert_int_equal(pit_read(pit, 0x42), 9);
	assert_int_equal(pit_read(pit, 0x42), 0xfa);
	pit_write(pit, CONTROL, 0xd0 | 2 << 1);			/* count only */
	assert_int_equal(read16(1), 0x1233 - 15);
	pit_write(pit, CONTROL, 0xf0 | 2 << 1);			/* neither */
	clocks(1);
	assert_int_equal(read16(1), 0x1233 - 16);
}

/* ---- port 61h */

static void port61(void **state)
{
	uint8_t before;

	(void)state;
	pit_write(pit, B, 0xff);
	assert_int_equal(pit_read(pit, B) & 0xcf, 0x0f);
	pit_write(pit, B, 0x00);
	assert_int_equal(pit_read(pit, B) & 0xcf, 0);
	start(2, 0, 10);
	pit_write(pit, B, 1);
	assert_int_equal(pit_read(pit, B) & 0x20, 0);
	clocks(11);
	assert_int_equal(pit_read(pit, B) & 0x20, 0x20);
	before = pit_read(pit, B) & 0x10;	/* toggles every 15 us */
	clocks(18);
	assert_int_not_equal(pit_read(pit, B) & 0x10, before);
	clocks(18);
	assert_int_equal(pit_read(pit, B) & 0x10, before);
}

/* Firmware measures the processor's clock so. */
static void calibration_loop(void **state)
{
	uint64_t waited = 0;

	(void)state;
	pit_write(pit, B, (pit_read(pit, B) & ~2) | 1);
	program(2, 0, 3, false);
	count16(2, 0x1000);
	while (!(pit_read(pit, B) & 0x20)) {
		clocks(1);
		assert_true(++waited < 0x2000);
	}
	assert_int_equal(waited, 0x1001);
}

/* ---- IRQ0 */

static bool irq0(void)
{
	return pic_pending(pic, 0);
}

/* Takes the interrupt and ends it. */
static void serve(void)
{
	assert_true(irq0());
	assert_int_equal(pic_acknowledge(pic), 8);
	pic_write(pic, 0x20, 0x20);
}

static void ticks_come(void **state)
{
	(void)state;
	start(0, 2, 1000);
	assert_true(irq0());		/* OUT rose with the control word */
	serve();
	clocks(1000);
	assert_false(irq0());
	clocks(1);
	serve();
	for (unsigned i = 0; i < 50; i++) {
		clocks(999);
		assert_false(irq0());
		clocks(1);
		serve();
	}
	start(0, 3, 0);			/* as firmware has it: 18.2 Hz */
	clocks(1);
	assert_false(irq0());
	clocks(65535);
	assert_false(irq0());
	clocks(1);
	serve();
	clocks(65536);
	serve();
}

static void one_shots(void **state)
{
	(void)state;
	start(0, 0, 1000);
	clocks(1000);
	assert_false(irq0());
	clocks(1);
	serve();
	clocks(200000);
	assert_false(irq0());
	assert_true(timers_next(ts) == UINT64_MAX);
	count16(0, 500);		/* without a control word */
	clocks(501);
	serve();
	count16(0, 500);
	clocks(200);
	count16(0, 500);		/* put off */
	clocks(500);
	assert_false(irq0());
	clocks(1);
	serve();
	start(0, 4, 100);
	assert_false(irq0());		/* OUT was high and is high */
	clocks(101);
	assert_false(irq0());
	clocks(1);
	serve();
	clocks(200000);
	assert_false(irq0());
}

/* A count written while the channel runs takes over at the end of the (half) cycle. */
static void new_rate(void **state)
{
	(void)state;
	start(0, 2, 1000);
	serve();
	clocks(501);
	count16(0, 300);
	clocks(499);
	assert_false(irq0());
	clocks(1);
	serve();
	clocks(299);
	assert_false(irq0());
	clocks(1);
	serve();
	clocks(300);
	serve();

	start(0, 3, 1000);
	clocks(1 + 200);
	count16(0, 400);		/* in the high half: 300 to its end, then a low half of 200 */
	clocks(499);
	assert_false(irq0());
	clocks(1);
	serve();
	clocks(399);
	assert_false(irq0());
	clocks(1);
	serve();
}

/* A half cycle longer than the clock is old: arithmetic must not reach below its zero. */
static void new_rate_early(void **state)
{
	(void)state;
	start(0, 3, 8);
	serve();
	clocks(2);
	count16(0, 60000);		/* the high half ends at 5; then a low half of 30000 */
	clocks(30002);
	assert_false(irq0());
	clocks(1);
	serve();
	clocks(59999);
	assert_false(irq0());
	clocks(1);
	serve();
}

/* With IRQ0 masked one request is latched, and then no timer is set until it could matter. */
static void masked_is_idle(void **state)
{
	(void)state;
	pic_write(pic, 0x21, 0x01);
	start(0, 2, 1193);
	clocks(2000);
	assert_true(irq0());
	assert_true(timers_next(ts) == UINT64_MAX);
	clocks(1000000);
	assert_int_equal(count(0), 1193 - (1002000 - 1) % 1193);	/* it counts all the same */
	pic_write(pic, 0x21, 0x00);
	pit_lines_changed(pit);
	serve();			/* the one that was latched */
	assert_false(irq0());
	assert_true(timers_next(ts) != UINT64_MAX);
	clocks(1193 - (1002000 - 1) % 1193 - 1);
	assert_false(irq0());		/* nothing is owed for the time behind the mask */
	clocks(1);
	serve();
	clocks(1192);
	assert_false(irq0());
	clocks(1);
	serve();

	pic_write(pic, 0x21, 0x01);
	clocks(5000);
	assert_true(irq0());
	pic_write(pic, 0x20, 0x13);	/* a new beginning forgets the latched request, and those before it */
	pit_lines_changed(pit);
	assert_false(irq0());
	clocks(1193);
	assert_true(irq0());
}

/* Ticks that the guest could not take in time come later, at no more than twice the rate. */
static void replays(void **state)
{
	unsigned got = 0;

	(void)state;
	start(0, 2, 10000);
	serve();
	clocks(50001);			/* five ticks; the guest was not there */
	assert_true(irq0());
	serve();
	got = 1;
	for (unsigned i = 0; i < 40; i++) {	/* quarter periods */
		clocks(2500);
		if (irq0()) {
			serve();
			got++;
			assert_true(got <= 1 + (i + 2) / 2);
		}
	}
	assert_int_equal(got, 5 + 10);
	for (unsigned i = 0; i < 4; i++) {
		clocks(9999);
		assert_false(irq0());
		clocks(1);
		serve();
	}
}

/* The host comes back after an hour: one second's worth is owed, no more. */
static void replays_are_bounded(void **state)
{
	unsigned got = 0;

	(void)state;
	start(0, 2, 11932);		/* 100 Hz, near enough */
	serve();
	timers_advance(ts, 3600 * NS_PER_S);
	tick = timers_now(ts) * PIT_TICK_NUM / PIT_TICK_DEN;
	for (unsigned i = 0; i < 3000; i++) {
		if (irq0()) {
			serve();
			got++;
		}
		clocks(1193);
	}
	assert_in_range(got, 399, 402);	/* three seconds' 300 ticks, and 100 owed */
}

static void programming_forgives(void **state)
{
	(void)state;
	start(0, 2, 10000);
	serve();
	clocks(50001);
	start(0, 2, 10000);		/* OUT stays high: the pending request stays too */
	serve();
	clocks(9000);
	assert_false(irq0());
	clocks(1001);
	serve();
	clocks(9000);
	assert_false(irq0());
	clocks(1000);
	serve();
}

static uint64_t late_clock;

static uint64_t late_now(void *arg)
{
	(void)arg;
	return late_clock;
}

/* The events thread is late: whoever looks at the counter beyond an edge must not lose the edge. */
static void reads_keep_edges(void **state)
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	struct event_base *base = event_base_new();
	struct timers *late = timers_new(base, &lock, late_now, NULL);
	struct pit *other;

	(void)state;
	late_clock = 0;
	other = pit_new(late, pic_line(pic, PIT_IRQ));
	pit_write(other, CONTROL, 0x34);
	pit_write(other, 0x40, 1000 & 0xff);
	pit_write(other, 0x40, 1000 >> 8);
	serve();
	late_clock = 600 * 88000ull / 105 + 1;
	pit_write(other, 0x40, 500 & 0xff);	/* from 1001 on */
	pit_write(other, 0x40, 500 >> 8);
	late_clock = 1200 * 88000ull / 105 + 1;
	assert_false(irq0());
	assert_int_equal(pit_read(other, 0x40), (500 - 199) & 0xff);
	serve();
	late_clock = 1499 * 88000ull / 105 + 1;
	(void)pit_read(other, 0x40);
	assert_false(irq0());
	late_clock = 1501 * 88000ull / 105 + 1;
	(void)pit_read(other, 0x40);
	serve();
	pit_free(other);
	timers_free(late);
	event_base_free(base);
}

/* A count of 1 or 2 is a legal program; the host must survive it. */
static void fastest(void **state)
{
	uint64_t wakeups = 0, last;

	(void)state;
	start(0, 3, 2);
	for (last = timers_next(ts); timers_now(ts) < NS_PER_S / 100; last = timers_next(ts)) {
		assert_true(last != UINT64_MAX);
		timers_advance(ts, last - timers_now(ts));
		if (irq0())
			serve();
		wakeups++;
	}
	assert_true(wakeups < 150);
	assert_true(wakeups > 50);
}

static void reset(void **state)
{
	(void)state;
	start(0, 2, 1000);
	pit_write(pit, B, 3);
	pit_reset(pit);
	assert_true(timers_next(ts) == UINT64_MAX);
	assert_int_equal(pit_read(pit, B) & 0x0f, 0);
	clocks(100000);
	assert_int_equal(status(0) & NULL_COUNT, NULL_COUNT);
}

/* Any bytes at any time: no trap, no endless loop, the counter stays in its range. */
static void random_walk(void **state)
{
	uint32_t seed = 7;

	(void)state;
	for (unsigned i = 0; i < 300000; i++) {
		seed = seed * 1664525 + 1013904223;
		switch (seed >> 29) {
		case 0 ... 3:
			pit_write(pit, 0x40 + (seed >> 8 & 3), seed >> 16);
			break;
		case 4:
			(void)pit_read(pit, 0x40 + (seed >> 8 & 3));
			break;
		case 5:
			pit_write(pit, B, seed >> 16);
			break;
		case 6:
			clocks(seed >> 8 & 0xff);
			break;
		default:
			if (irq0() && seed >> 8 & 1)
				pic_acknowledge(pic), pic_write(pic, 0x20, 0x20);
			else if (!(seed >> 8 & 0xf0))
				pic_write(pic, 0x21, seed >> 16 & 1), pit_lines_changed(pit);
			break;
		}
	}
	for (unsigned ch = 0; ch < 3; ch++) {
		program(ch, 2, 3, true);
		gate2(0);
		gate2(1);
		count16(ch, 0x42);
		clocks(1);
		assert_int_equal(count(ch), 0x42);
	}
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(mode0), T(mode0_counts), T(mode0_gate), T(mode1), T(mode2), T(mode3_even), T(mode3_odd),
		T(mode3_new_count), T(mode4), T(mode5), T(modes_6_and_7), T(full_counts), T(bcd), T(byte_access),
		T(latch), T(read_back), T(port61), T(calibration_loop), T(ticks_come), T(one_shots), T(new_rate), T(new_rate_early),
		T(masked_is_idle), T(replays), T(replays_are_bounded), T(programming_forgives), T(reads_keep_edges),
		T(fastest), T(reset), T(random_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
