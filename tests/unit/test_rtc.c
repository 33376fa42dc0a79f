/* The MC146818 by its datasheet, on a manual clock: time, modes, interrupts, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "vmm/dev/pic.h"
#include "vmm/dev/rtc.h"
#include "vmm/timer.h"

#define S		1000000000ull
#define MS		1000000ull

enum { SEC, SEC_ALARM, MIN, MIN_ALARM, HOUR, HOUR_ALARM, WEEKDAY, DAY, MONTH, YEAR, A, B, C, D, CENTURY = 0x32 };
enum { SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, BINARY = 4, H24 = 2 };
enum { IRQF = 0x80, PF = 0x40, AF = 0x20, UF = 0x10, UIP = 0x80 };

static struct timers *ts;
static struct pic *pic;
static struct rtc *rtc;
static uint64_t wall_ns;

static uint64_t wall(void)
{
	return wall_ns;
}

static void on_intr(void *arg, bool level)
{
	(void)arg, (void)level;
}

static uint8_t get(unsigned reg)
{
	rtc_write(rtc, 0x70, reg);
	return rtc_read(rtc, 0x71);
}

static void put(unsigned reg, uint8_t value)
{
	rtc_write(rtc, 0x70, reg);
	rtc_write(rtc, 0x71, value);
}

/* A clock that starts at the UTC time given, `ns` into the second. */
static void clock_at(int year, int month, int day, int h, int m, int s, uint64_t ns)
{
	struct tm tm = { .tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day, .tm_hour = h, .tm_min = m, .tm_sec = s };

	ts = timers_new(NULL, NULL, NULL, NULL);
	pic = pic_new(on_intr, NULL);
	pic_write(pic, 0xa0, 0x13);	/* the slave alone is enough here */
	pic_write(pic, 0xa1, 0x70);
	pic_write(pic, 0xa1, 0x01);
	wall_ns = (uint64_t)timegm(&tm) * S + ns;
	rtc = rtc_new(ts, pic_line(pic, RTC_IRQ), wall, 0);
	assert_non_null(rtc);
}

static void done(void)
{
	rtc_free(rtc);
	pic_free(pic);
	timers_free(ts);
}

static void pass(uint64_t ns)
{
	wall_ns += ns;
	timers_advance(ts, ns);
}

static bool irq8(void)
{
	return pic_pending(pic, RTC_IRQ);
}

/* All the time registers at once: century year month day weekday hour min sec, as read. */
static void reads(unsigned cc, unsigned yy, unsigned mm, unsigned dd, unsigned wd, unsigned h, unsigned m, unsigned s)
{
	assert_int_equal(get(CENTURY), cc);
	assert_int_equal(get(YEAR), yy);
	assert_int_equal(get(MONTH), mm);
	assert_int_equal(get(DAY), dd);
	assert_int_equal(get(WEEKDAY), wd);
	assert_int_equal(get(HOUR), h);
	assert_int_equal(get(MIN), m);
	assert_int_equal(get(SEC), s);
}

/* ---- time */

static void starts_with_the_host(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 13, 36, 59, 0);
	reads(0x20, 0x26, 0x11, 0x22, 1, 0x13, 0x36, 0x59);	/* a Sunday */
	assert_int_equal(get(A), 0x26);
	assert_int_equal(get(B), H24);
	assert_int_equal(get(C), 0);
	assert_int_equal(get(D), 0x80);
	assert_true(timers_next(ts) == UINT64_MAX);		/* an idle clock asks for no wake-up */
	pass(999999999);
	assert_int_equal(get(SEC), 0x59);
	pass(1);
	reads(0x20, 0x26, 0x11, 0x22, 1, 0x13, 0x37, 0x00);
	done();
	clock_at(2000, 1, 1, 0, 0, 0, 700 * MS);		/* the second's edge is the host's */
	reads(0x20, 0x00, 0x01, 0x01, 7, 0x00, 0x00, 0x00);
	pass(300 * MS - 1);
	assert_int_equal(get(SEC), 0);
	pass(1);
	assert_int_equal(get(SEC), 1);
	done();
}

static void local_time(void **state)
{
	(void)state;
	clock_at(2026, 1, 1, 0, 30, 0, 0);
	rtc_free(rtc);
	rtc = rtc_new(ts, pic_line(pic, RTC_IRQ), wall, -3600);
	reads(0x20, 0x25, 0x12, 0x31, 4, 0x23, 0x30, 0x00);
	rtc_free(rtc);
	rtc = rtc_new(ts, pic_line(pic, RTC_IRQ), wall, 5 * 3600 + 1800);
	reads(0x20, 0x26, 0x01, 0x01, 5, 0x06, 0x00, 0x00);
	done();
}

/* Every day of two long stretches against the C library. */
static void calendar(void **state)
{
	static const struct { int year, days; } from[] = { { 1999, 1200 }, { 2095, 3000 } };

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		clock_at(from[i].year, 12, 1, 23, 59, 59, 0);
		for (int d = 0; d < from[i].days; d++) {
			time_t t;
			struct tm tm;

			pass(S);
			t = wall_ns / S;
			gmtime_r(&t, &tm);
#define BCD(n)	((n) / 10 % 10 << 4 | (n) % 10)
			reads(BCD((tm.tm_year + 1900) / 100), BCD(tm.tm_year % 100), BCD(tm.tm_mon + 1), BCD(tm.tm_mday),
			      tm.tm_wday + 1, BCD(tm.tm_hour), BCD(tm.tm_min), BCD(tm.tm_sec));
			pass(86399 * S);
		}
		done();
	}
}

static void binary_and_12_hours(void **state)
{
	static const struct { uint8_t mode, before, midnight; } row[] = {
		{ H24, 0x23, 0x00 },
		{ H24 | BINARY, 23, 0 },
		{ 0, 0x91, 0x12 },		/* 11 PM, 12 AM */
		{ BINARY, 0x80 | 11, 12 },
	};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		bool bin = row[i].mode & BINARY;

		clock_at(2026, 11, 22, 0, 0, 0, 0);
		put(B, SET | row[i].mode);
		put(SEC, bin ? 58 : 0x58);
		put(MIN, bin ? 59 : 0x59);
		put(HOUR, row[i].before);
		put(DAY, bin ? 31 : 0x31);
		put(MONTH, bin ? 12 : 0x12);
		put(YEAR, bin ? 99 : 0x99);
		put(WEEKDAY, 7);
		put(CENTURY, 0x20);
		put(B, row[i].mode);
		pass(S);
		assert_int_equal(get(SEC), bin ? 59 : 0x59);
		assert_int_equal(get(HOUR), row[i].before);
		pass(S);
		reads(0x21, 0, 1, 1, 1, row[i].midnight, 0, 0);
		pass(12 * 3600 * S);
		assert_int_equal(get(HOUR), row[i].mode & H24 ? (bin ? 12 : 0x12) : (bin ? 0x8c : 0x92));
		pass(3600 * S);
		assert_int_equal(get(HOUR), row[i].mode & H24 ? (bin ? 13 : 0x13) : 0x81);
		done();
	}
}

static void set_stops_updates(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 250 * MS);
	put(A, 0x20);				/* no periodic flag */
	put(B, SET | H24 | UIE);
	assert_int_equal(get(B), SET | H24);	/* SET clears UIE */
	pass(10 * S);
	assert_int_equal(get(SEC), 0);
	assert_int_equal(get(A) & UIP, 0);
	pass(749 * MS);
	assert_int_equal(get(A) & UIP, 0);
	assert_int_equal(get(C), 0);
	put(SEC, 0x30);
	put(B, H24);
	pass(MS);			/* the divider went on all the while */
	assert_int_equal(get(SEC), 0x31);
	assert_int_equal(get(C), UF);
	done();
}

static void divider_reset(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 900 * MS);
	put(A, 0x76);
	pass(5 * S);
	assert_int_equal(get(SEC), 0);
	put(A, 0x26);
	pass(500 * MS - 1);
	assert_int_equal(get(SEC), 0);
	pass(1);			/* the first update after half a second */
	assert_int_equal(get(SEC), 1);
	pass(S);
	assert_int_equal(get(SEC), 2);
	done();
}

static void update_in_progress(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 0);
	assert_int_equal(get(A), 0x26);
	pass(997771999);
	assert_int_equal(get(A), 0x26);
	pass(1);			/* 2228 us before the edge */
	assert_int_equal(get(A), 0xa6);
	pass(2227999);
	assert_int_equal(get(A), 0xa6);
	assert_int_equal(get(C), PF);
	pass(1);
	assert_int_equal(get(A), 0x26);
	assert_int_equal(get(C), UF | PF);
	put(A, 0xa6);			/* UIP is read-only */
	assert_int_equal(get(A), 0x26);
	put(C, 0xff);
	put(D, 0);
	assert_int_equal(get(C), 0);
	assert_int_equal(get(D), 0x80);
	done();
}

/* ---- interrupts */

static void update_ended(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 400 * MS);
	put(A, 0x20);
	put(B, H24 | UIE);
	pass(600 * MS - 1);
	assert_false(irq8());
	pass(1);
	assert_true(irq8());
	pass(3 * S);
	assert_true(timers_next(ts) == UINT64_MAX);	/* nobody read register C: no more to tell */
	assert_int_equal(get(C), IRQF | UF);
	assert_false(irq8());
	assert_int_equal(get(C), 0);
	pass(S);
	assert_true(irq8());
	put(B, H24);				/* disabled: the line falls, the flag stays */
	assert_false(irq8());
	assert_int_equal(get(C), UF);
	pass(S);
	put(B, H24 | UIE);			/* enabled with the flag set: at once */
	assert_true(irq8());
	done();
}

/* The next alarm is `in` seconds away, and no sooner. */
static void alarm_after(uint64_t in)
{
	get(C);
	pass(in * S - 1);
	assert_false(irq8());
	pass(1);
	assert_true(irq8());
	assert_int_equal(get(C) & (IRQF | AF), IRQF | AF);
}

static void alarm_to(uint8_t h, uint8_t m, uint8_t s)
{
	put(HOUR_ALARM, h);
	put(MIN_ALARM, m);
	put(SEC_ALARM, s);
}

static void alarms(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 0);
	put(B, H24 | AIE);
	alarm_to(0x12, 0x00, 0x10);
	alarm_after(10);
	alarm_after(86400);			/* the same time tomorrow */
	alarm_to(0xff, 0x00, 0x10);		/* hourly */
	alarm_after(3600);
	alarm_to(0xff, 0xff, 0x10);		/* by the minute */
	alarm_after(60);
	alarm_to(0xc0, 0xff, 0xff);		/* by the second */
	alarm_after(1);
	alarm_to(0x12, 0xff, 0x00);		/* 13:01:11 now: tomorrow at 12:00 */
	alarm_after(86400 - 3600 - 60 - 11);
	alarm_after(60);			/* 12:01 */
	alarm_to(0xff, 0x01, 0xff);
	alarm_after(1);				/* 12:01:01 */
	alarm_after(1);
	alarm_to(0xff, 0x00, 0xff);
	alarm_after(58 + 58 * 60);
	for (unsigned i = 0; i < 59; i++)
		alarm_after(1);
	alarm_after(3600 - 59);
	done();
}

static void alarms_in_12_hours_and_binary(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 0);
	put(B, SET | AIE);
	put(HOUR, 0x92);			/* 12 PM */
	alarm_to(0x12, 0x00, 0x00);		/* midnight */
	put(B, AIE);
	alarm_after(12 * 3600);
	alarm_to(0x81, 0x30, 0x00);
	alarm_after(13 * 3600 + 1800);
	put(B, SET | AIE | BINARY | H24);
	put(HOUR, 13);
	put(MIN, 30);
	alarm_to(14, 10, 59);
	put(B, AIE | BINARY | H24);
	alarm_after(40 * 60 + 59);
	done();
}

static void alarm_that_never_comes(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 0);
	put(B, H24 | AIE);
	alarm_to(0x12, 0xff, 0x7a);
	assert_true(timers_next(ts) == UINT64_MAX);
	alarm_to(0x12, 0x60, 0xff);
	assert_true(timers_next(ts) == UINT64_MAX);
	alarm_to(0x24, 0xff, 0xff);
	assert_true(timers_next(ts) == UINT64_MAX);
	pass(90000 * S);
	assert_int_equal(get(C) & AF, 0);
	done();
}

/* Polled: flags come up without an enable and without a timer. */
static void flags_without_interrupts(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 0);
	put(A, 0x20);
	get(C);
	alarm_to(0x12, 0x00, 0x02);
	pass(1500 * MS);
	assert_int_equal(get(C), UF);
	pass(S);
	assert_int_equal(get(C), UF | AF);
	pass(S / 4);
	assert_int_equal(get(C), 0);
	put(A, 0x2f);				/* 2 Hz */
	get(C);
	pass(S / 2);
	assert_int_equal(get(C) & PF, PF);
	pass(S / 4 - MS);
	assert_int_equal(get(C) & PF, 0);
	assert_true(timers_next(ts) == UINT64_MAX);
	assert_false(irq8());
	done();
}

static void rates(void **state)
{
	static const unsigned hz[16] = { 0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2 };

	(void)state;
	for (unsigned rs = 1; rs < 16; rs++) {
		uint64_t period = S / hz[rs];
		unsigned n = 0;

		clock_at(2026, 11, 22, 12, 0, 0, 0);
		put(A, 0x20 | rs);
		put(B, H24 | PIE);
		get(C);
		for (uint64_t t = 0; t < S; t += period / 4) {
			pass(period / 4);
			if (irq8()) {
				assert_int_equal(get(C) & (IRQF | PF), IRQF | PF);
				n++;
			}
		}
		assert_in_range(n, hz[rs] - 1, hz[rs] + 1);
		done();
	}
	clock_at(2026, 11, 22, 12, 0, 0, 0);
	put(A, 0x20);
	put(B, H24 | PIE);
	assert_true(timers_next(ts) == UINT64_MAX);	/* rate 0: none */
	done();
}

static void periodic_phase(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 0);
	put(A, 0x2e);				/* 4 Hz, in step with the seconds */
	put(B, H24 | PIE | UIE);
	pass(250 * MS - 1);
	assert_false(irq8());
	pass(1);
	assert_int_equal(get(C), IRQF | PF);
	pass(500 * MS);
	assert_int_equal(get(C), IRQF | PF);
	/* one was owed; it comes half a period later */
	pass(125 * MS - 1);
	assert_false(irq8());
	pass(1);
	assert_int_equal(get(C), IRQF | PF);
	pass(125 * MS);
	assert_int_equal(get(C), IRQF | PF | UF);
	pass(250 * MS - 1);
	assert_false(irq8());
	pass(1);
	assert_true(irq8());
	done();
}

static void replays_are_bounded(void **state)
{
	unsigned n = 0;

	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 0);
	put(A, 0x2a);				/* 64 Hz */
	put(B, H24 | PIE);
	pass(3600 * S);
	assert_true(irq8());
	for (unsigned i = 0; i < 4 * 64 * 4; i++) {
		if (irq8()) {
			n++;
			get(C);
		}
		pass(S / 256);
	}
	assert_in_range(n, 4 * 64 + 62, 4 * 64 + 66);	/* four seconds of them, and one second's worth */

	pass(10 * S);
	pic_write(pic, 0xa1, 0x01);		/* masked: it polls, nothing is owed */
	get(C);
	pass(S / 128 + 1);
	assert_int_equal(get(C) & PF, 0);
	done();
}

static void reset(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 0);
	put(B, H24 | PIE | AIE | UIE | 8);
	put(0x40, 0x99);
	rtc_write(rtc, 0x70, 0xc0);
	pass(2 * S);
	assert_true(irq8());
	rtc_reset(rtc);
	assert_false(irq8());
	assert_false(rtc_nmi_masked(rtc));
	assert_true(timers_next(ts) == UINT64_MAX);
	assert_int_equal(get(B), H24);
	assert_int_equal(get(C), 0);
	assert_int_equal(get(SEC), 2);
	assert_int_equal(get(0x40), 0x99);
	done();
}

/* The VM's clock stood still for a minute and a half; the world did not. */
static void resync(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 23, 59, 0, 100 * MS);
	put(SEC, 0x30);				/* the guest's clock is half a minute fast, and stays so */
	put(B, H24 | AIE);
	alarm_to(0x00, 0x00, 0x15);
	wall_ns += 90 * S;
	rtc_resync(rtc);
	reads(0x20, 0x26, 0x11, 0x23, 2, 0x00, 0x01, 0x00);
	assert_true(irq8());
	assert_int_equal(get(C), IRQF | AF | UF);
	pass(900 * MS);
	assert_int_equal(get(SEC), 0x01);
	wall_ns -= 3600 * S;			/* the host was set back: we go on */
	rtc_resync(rtc);
	pass(S);
	reads(0x20, 0x26, 0x11, 0x23, 2, 0x00, 0x01, 0x02);
	done();
}

/* ---- memory */

static unsigned sum(void)
{
	unsigned n = 0;

	for (unsigned i = 0x10; i < 0x2e; i++)
		n += get(i);
	return n & 0xffff;
}

static void memory_bytes(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 0);
	for (unsigned i = 0x0e; i < 0x80; i++)
		if (i != CENTURY)
			put(i, i * 3);
	for (unsigned i = 0x0e; i < 0x80; i++)
		if (i != CENTURY)
			assert_int_equal(get(i), i * 3 & 0xff);
	put(0xc0, 0x12);			/* bit 7 is the NMI mask */
	assert_int_equal(get(0x40), 0x12);
	assert_int_equal(rtc_read(rtc, 0x70), 0xff);
	rtc_write(rtc, 0x70, 0x8f);
	assert_true(rtc_nmi_masked(rtc));
	rtc_write(rtc, 0x70, 0x0f);
	assert_false(rtc_nmi_masked(rtc));
	done();
}

static void ram_sizes(void **state)
{
	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 0);
	rtc_cmos_memory(rtc, 64ull << 20, 0);
	assert_int_equal(get(0x15) | get(0x16) << 8, 640);
	assert_int_equal(get(0x17) | get(0x18) << 8, 63 * 1024);
	assert_int_equal(get(0x30) | get(0x31) << 8, 63 * 1024);
	assert_int_equal(get(0x34) | get(0x35) << 8, 48 * 16);
	assert_int_equal(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, 0);
	assert_int_equal(get(0x2e) << 8 | get(0x2f), sum());
	rtc_cmos_memory(rtc, 0xe0000000, 5ull << 30);
	assert_int_equal(get(0x17) | get(0x18) << 8, 0xffff);
	assert_int_equal(get(0x34) | get(0x35) << 8, (0xe0000000 - (16 << 20)) >> 16);
	assert_int_equal(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, (5ull << 30) >> 16);
	rtc_cmos_memory(rtc, 5ull << 30, 0);
	assert_int_equal(get(0x34) | get(0x35) << 8, 0xffff);
	rtc_cmos_memory(rtc, 1 << 20, 0);
	assert_int_equal(get(0x17) | get(0x18) << 8, 0);
	assert_int_equal(get(0x34) | get(0x35) << 8, 0);
	rtc_cmos_set(rtc, RTC_CMOS_EQUIPMENT, 0x2f);
	rtc_cmos_set16(rtc, RTC_CMOS_BASE_MEM, 639);
	assert_int_equal(get(0x14), 0x2f);
	assert_int_equal(rtc_cmos_get(rtc, RTC_CMOS_BASE_MEM), 639 & 0xff);
	assert_int_equal(get(0x2e) << 8 | get(0x2f), sum());
	rtc_cmos_set(rtc, (enum rtc_cmos)0x0b, 0xff);	/* the chip's registers are not memory */
	rtc_cmos_set(rtc, (enum rtc_cmos)0x80, 0xff);
	assert_int_equal(get(B), H24);
	done();
}

/* Registers that hold no time at all, and any write at any moment. */
static void random_walk(void **state)
{
	uint32_t seed = 3;

	(void)state;
	clock_at(2026, 11, 22, 12, 0, 0, 0);
	for (unsigned i = 0; i < 100000; i++) {
		seed = seed * 1664525 + 1013904223;
		switch (seed >> 30) {
		case 0:
			put(seed >> 8 & (seed & 0x80 ? 15 : 63), seed >> 16);
			break;
		case 1:
			(void)get(seed >> 8 & 15);
			break;
		default:
			pass((uint64_t)(seed >> 8 & 0xffff) << (seed & 15));
			break;
		}
	}
	put(A, 0x26);
	put(B, SET | H24);
	put(SEC, 0x59), put(MIN, 0x59), put(HOUR, 0x23), put(DAY, 0x28), put(MONTH, 0x02), put(YEAR, 0x00), put(CENTURY, 0x20);
	put(WEEKDAY, 2);
	put(B, H24);
	pass(S);
	reads(0x20, 0x00, 0x02, 0x29, 3, 0, 0, 0);
	done();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_with_the_host),
		cmocka_unit_test(local_time),
		cmocka_unit_test(calendar),
		cmocka_unit_test(binary_and_12_hours),
		cmocka_unit_test(set_stops_updates),
		cmocka_unit_test(divider_reset),
		cmocka_unit_test(update_in_progress),
		cmocka_unit_test(update_ended),
		cmocka_unit_test(alarms),
		cmocka_unit_test(alarms_in_12_hours_and_binary),
		cmocka_unit_test(alarm_that_never_comes),
		cmocka_unit_test(flags_without_interrupts),
		cmocka_unit_test(rates),
		cmocka_unit_test(periodic_phase),
		cmocka_unit_test(replays_are_bounded),
		cmocka_unit_test(reset),
		cmocka_unit_test(resync),
		cmocka_unit_test(memory_bytes),
		cmocka_unit_test(ram_sizes),
		cmocka_unit_test(random_walk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
