/*
 * vmm/dev/rtc.c - the PC's clock.
 *
 * Motorola MC146818A datasheet with the 32.768 kHz time base; CMOS layout as in
 * the IBM PC/AT technical reference and as SeaBIOS reads it; century at 32h.
 *
 * Nothing ticks.  The registers hold the time of the last second's edge; on
 * every access and every wake-up settle() brings registers and flags to now,
 * also those flags that nobody has enabled.  A timer is set only for an enabled
 * interrupt whose flag is clear: a flag that is set already raises no edge, so
 * a guest that does not read register C costs nothing.
 *
 * Departures: daylight saving (DSE) is stored and not acted upon; square wave
 * and the oscillators that a PC does not have likewise; while an update is in
 * progress the time may be read, it is that before the update.
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/dev/rtc.h"
#include "vmm/dev/tick.h"
#include "vmm/timer.h"

enum {
	SEC, SEC_ALARM, MIN, MIN_ALARM, HOUR, HOUR_ALARM, WEEKDAY, DAY, MONTH, YEAR,
	REG_A, REG_B, REG_C, REG_D
};

#define A_UIP		0x80
#define A_DV_RESET	0x60	/* both bits: the divider is held */
#define A_DV_NORMAL	0x20
#define A_RS		0x0f

#define B_SET		0x80
#define B_PIE		0x40
#define B_AIE		0x20
#define B_UIE		0x10
#define B_SQWE		0x08
#define B_DM_BINARY	0x04
#define B_24H		0x02

#define C_IRQF		0x80
#define C_PF		0x40	/* the flags stand where their enables stand in B */
#define C_AF		0x20
#define C_UF		0x10
#define FLAGS		(C_PF | C_AF | C_UF)

#define D_VRT		0x80

#define HOUR_PM		0x80
#define ALARM_ANY	0xc0
#define PORT_NMI	0x80

#define CRYSTAL_HZ	32768u
#define UIP_NS		2228000ull	/* 244 us of warning, 1984 us of update */
#define HALF_SECOND	(NS_PER_S / 2)
#define DAY_SECONDS	86400u
#define NEVER		UINT64_MAX

struct rtc {
	struct timers *timers;
	struct timer *timer;
	struct irq_line line;
	uint64_t (*wall)(void);
	uint64_t skew;		/* our clock is the timers' plus this */
	uint64_t ahead;		/* wall less our clock, modulo 2^64 */

	uint64_t edge;		/* our clock at the last second's edge; the registers are of then */
	uint64_t periods;	/* periodic edges until the last settle(), counted from `edge_zero` */
	uint64_t edge_zero;	/* when the divider was at zero */
	struct tick_debt debt;
	uint64_t replay;	/* when an owed periodic interrupt comes; NEVER */

	uint8_t index;
	bool nmi_masked;
	uint8_t reg[RTC_BYTES];
};

static uint64_t clock_now(const struct rtc *r)
{
	return timers_now(r->timers) + r->skew;
}

/* ---- what the registers mean */

static unsigned decode(const struct rtc *r, uint8_t v)
{
	return r->reg[REG_B] & B_DM_BINARY ? v : (v >> 4) * 10u + (v & 15);
}

static uint8_t encode(const struct rtc *r, unsigned v)
{
	return r->reg[REG_B] & B_DM_BINARY ? v : v / 10 << 4 | v % 10;
}

static unsigned decode_hour(const struct rtc *r)
{
	uint8_t v = r->reg[HOUR];

	if (r->reg[REG_B] & B_24H)
		return decode(r, v) % 24;
	return decode(r, v & ~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

static uint8_t encode_hour(const struct rtc *r, unsigned hour)
{
	if (r->reg[REG_B] & B_24H)
		return encode(r, hour);
	return encode(r, (hour + 11) % 12 + 1) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned seconds_of_day(const struct rtc *r)
{
	return decode_hour(r) * 3600 + decode(r, r->reg[MIN]) % 60 * 60 + decode(r, r->reg[SEC]) % 60;
}

/* Days since 1 March of year 0 of the Gregorian calendar: leap days end a year that begins in March. */
static uint64_t days_from_date(unsigned year, unsigned month, unsigned day)
{
	unsigned m = (month + 9) % 12, y = year - (month <= 2);

	return (uint64_t)y * 365 + y / 4 - y / 100 + y / 400 + (m * 306 + 5) / 10 + day - 1;
}

static void date_from_days(uint64_t days, unsigned *year, unsigned *month, unsigned *day)
{
	uint64_t y = (days * 10000 + 14780) / 3652425, rest, m;

	rest = days - days_from_date(y, 3, 1);
	if (days < days_from_date(y, 3, 1)) {
		y--;
		rest = days - days_from_date(y, 3, 1);
	}
	m = (rest * 100 + 52) / 3060;
	*day = rest - (m * 306 + 5) / 10 + 1;
	*month = (m + 2) % 12 + 1;
	*year = y + (*month <= 2);
}

static void put_time(struct rtc *r, unsigned seconds)
{
	r->reg[SEC] = encode(r, seconds % 60);
	r->reg[MIN] = encode(r, seconds / 60 % 60);
	r->reg[HOUR] = encode_hour(r, seconds / 3600);
}

static void put_date(struct rtc *r, uint64_t days)
{
	unsigned year, month, day, century;

	date_from_days(days, &year, &month, &day);
	century = year / 100 % 100;
	r->reg[DAY] = encode(r, day);
	r->reg[MONTH] = encode(r, month);
	r->reg[YEAR] = encode(r, year % 100);
	r->reg[RTC_CMOS_CENTURY] = century / 10 << 4 | century % 10;
}

static uint64_t get_date(const struct rtc *r)
{
	uint8_t c = r->reg[RTC_CMOS_CENTURY];
	unsigned year = (c >> 4) * 1000u + (c & 15) * 100u + decode(r, r->reg[YEAR]) % 100;
	unsigned month = (decode(r, r->reg[MONTH]) + 11) % 12 + 1;
	unsigned day = decode(r, r->reg[DAY]);

	return days_from_date(year < 4 ? year + 400 : year, month, day ? day : 1);
}

static void advance(struct rtc *r, uint64_t seconds)
{
	uint64_t total = seconds_of_day(r) + seconds, days = total / DAY_SECONDS;

	if (days) {
		r->reg[WEEKDAY] = (r->reg[WEEKDAY] + 6 + days) % 7 + 1;
		put_date(r, get_date(r) + days);
	}
	put_time(r, total % DAY_SECONDS);
}

/* ---- alarm */

static bool alarm_is(const struct rtc *r, unsigned reg, uint8_t value)
{
	return (r->reg[reg] & ALARM_ANY) == ALARM_ANY || r->reg[reg] == value;
}

/* The first of from..59 that the alarm register means, or 60. */
static unsigned alarm_sixtieth(const struct rtc *r, unsigned reg, unsigned from)
{
	while (from < 60 && !alarm_is(r, reg, encode(r, from)))
		from++;
	return from;
}

/* Seconds from the registers' time to the next one that matches, 1 to a day; 0: none does. */
static uint64_t alarm_in(const struct rtc *r)
{
	unsigned now = seconds_of_day(r), from = now + 1, first = alarm_sixtieth(r, SEC_ALARM, 0), m, s;

	if (first == 60 || alarm_sixtieth(r, MIN_ALARM, 0) == 60)
		return 0;	/* a register holds what no time is */
	for (unsigned h = from / 3600; h <= from / 3600 + 24; h++) {
		bool this_hour = h == from / 3600;

		if (!alarm_is(r, HOUR_ALARM, encode_hour(r, h % 24)))
			continue;
		m = alarm_sixtieth(r, MIN_ALARM, this_hour ? from / 60 % 60 : 0);
		s = first;
		if (this_hour && m == from / 60 % 60) {
			s = alarm_sixtieth(r, SEC_ALARM, from % 60);
			if (s == 60) {
				m = alarm_sixtieth(r, MIN_ALARM, m + 1);
				s = first;
			}
		}
		if (m < 60)
			return h * 3600 + m * 60 + s - now;
	}
	return 0;
}

/* ---- periodic interrupt */

static bool divider_held(const struct rtc *r)
{
	return (r->reg[REG_A] & A_DV_RESET) == A_DV_RESET;
}

/* In crystal cycles; 0: off. */
static unsigned period(const struct rtc *r)
{
	unsigned rs = r->reg[REG_A] & A_RS;

	if (!rs || divider_held(r))
		return 0;
	return 1u << (rs <= 2 ? rs + 6 : rs - 1);
}

/* Periodic edges since the divider was at zero. */
static uint64_t periods_at(const struct rtc *r, uint64_t now)
{
	return (unsigned __int128)(now - r->edge_zero) * CRYSTAL_HZ / NS_PER_S / period(r);
}

static uint64_t period_edge(const struct rtc *r, uint64_t n)
{
	unsigned __int128 cycles = (unsigned __int128)n * period(r);

	return r->edge_zero + (uint64_t)((cycles * NS_PER_S + CRYSTAL_HZ - 1) / CRYSTAL_HZ);
}

/* ---- registers and flags brought to now */

static bool counting(const struct rtc *r)
{
	return !(r->reg[REG_B] & B_SET) && !divider_held(r);
}

static void settle_seconds(struct rtc *r, uint64_t now)
{
	uint64_t seconds = (now - r->edge) / NS_PER_S, alarm;

	if (divider_held(r) || !seconds)
		return;
	r->edge += seconds * NS_PER_S;
	if (!counting(r))
		return;		/* SET: the update cycles do not happen */
	alarm = alarm_in(r);
	if (alarm && alarm <= seconds)
		r->reg[REG_C] |= C_AF;
	advance(r, seconds);
	r->reg[REG_C] |= C_UF;
}

static void settle_periods(struct rtc *r, uint64_t now)
{
	uint64_t n, edges;

	if (!period(r))
		return;
	n = periods_at(r, now);
	edges = n - r->periods;
	r->periods = n;
	if (r->reg[REG_B] & B_PIE) {
		if (now >= r->replay && r->debt.owed && !(r->reg[REG_C] & C_PF)) {
			r->debt.owed--;
			edges++;
		}
		if (edges)	/* one is seen, unless an earlier one still is; the others are owed */
			tick_owe(&r->debt, edges - !(r->reg[REG_C] & C_PF), CRYSTAL_HZ / period(r));
	}
	if (edges)
		r->reg[REG_C] |= C_PF;
	if (now >= r->replay)
		r->replay = NEVER;
}

static void update_line(struct rtc *r)
{
	bool irq = r->reg[REG_C] & r->reg[REG_B] & FLAGS;

	r->reg[REG_C] = (r->reg[REG_C] & FLAGS) | (irq ? C_IRQF : 0);
	line_set(&r->line, irq);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void schedule(struct rtc *r)
{
	uint8_t wanted = r->reg[REG_B] & ~r->reg[REG_C];
	uint64_t at = NEVER, alarm;

	if (wanted & B_PIE && period(r))
		at = earlier(period_edge(r, r->periods + 1), r->replay);
	if (wanted & B_UIE && counting(r))
		at = earlier(at, r->edge + NS_PER_S);
	if (wanted & B_AIE && counting(r)) {
		alarm = alarm_in(r);
		if (alarm)
			at = earlier(at, r->edge + alarm * NS_PER_S);
	}
	if (at == NEVER)
		timer_stop(r->timer);
	else
		timer_set(r->timer, at - r->skew);
}

static void settle(struct rtc *r)
{
	uint64_t now = clock_now(r);

	settle_seconds(r, now);
	settle_periods(r, now);
	update_line(r);
}

static void on_timer(void *arg, uint64_t deadline)
{
	struct rtc *r = arg;

	(void)deadline;
	settle(r);
	schedule(r);
}

/* ---- registers */

static void write_a(struct rtc *r, uint8_t value)
{
	bool was_held = divider_held(r);
	uint64_t now = clock_now(r);

	r->reg[REG_A] = value & ~A_UIP;
	if (was_held && !divider_held(r)) {	/* the first update comes half a second later */
		r->edge = r->edge_zero = now - HALF_SECOND;
	}
	tick_forgive(&r->debt);
	r->replay = NEVER;
	if (period(r))
		r->periods = periods_at(r, now);
}

static void write_b(struct rtc *r, uint8_t value)
{
	if (value & B_SET)
		value &= ~B_UIE;
	if ((value ^ r->reg[REG_B]) & B_PIE) {
		tick_forgive(&r->debt);
		r->replay = NEVER;
	}
	r->reg[REG_B] = value;
}

static uint8_t read_c(struct rtc *r)
{
	uint8_t c = r->reg[REG_C];

	r->reg[REG_C] = 0;
	if (line_masked(&r->line))	/* it polls: it knows what it does */
		tick_forgive(&r->debt);
	if (r->debt.owed && period(r))
		r->replay = clock_now(r) + (uint64_t)period(r) * NS_PER_S / CRYSTAL_HZ / 2;
	update_line(r);
	schedule(r);
	return c;
}

static uint8_t read_a(const struct rtc *r)
{
	bool uip = counting(r) && clock_now(r) - r->edge >= NS_PER_S - UIP_NS;

	return r->reg[REG_A] | (uip ? A_UIP : 0);
}

uint8_t rtc_read(struct rtc *r, uint16_t port)
{
	if (!(port & 1))
		return 0xff;	/* the index cannot be read */
	if (r->index < RTC_CMOS_DIAGNOSTIC || r->index == RTC_CMOS_CENTURY)
		settle(r);
	switch (r->index) {
	case REG_A:
		return read_a(r);
	case REG_C:
		return read_c(r);
	default:
		return r->reg[r->index];
	}
}

void rtc_write(struct rtc *r, uint16_t port, uint8_t value)
{
	if (!(port & 1)) {
		r->index = value & (RTC_BYTES - 1);
		r->nmi_masked = value & PORT_NMI;
		return;
	}
	settle(r);
	switch (r->index) {
	case REG_A:
		write_a(r, value);
		break;
	case REG_B:
		write_b(r, value);
		break;
	case REG_C:
	case REG_D:
		break;		/* read-only */
	default:
		r->reg[r->index] = value;
		break;
	}
	update_line(r);
	schedule(r);
}

bool rtc_nmi_masked(const struct rtc *r)
{
	return r->nmi_masked;
}

/* ---- memory */

static void make_sum(struct rtc *r)
{
	unsigned sum = 0;

	for (unsigned i = RTC_CMOS_FLOPPY; i < RTC_CMOS_SUM; i++)
		sum += r->reg[i];
	r->reg[RTC_CMOS_SUM] = sum >> 8;
	r->reg[RTC_CMOS_SUM + 1] = sum;
}

void rtc_cmos_set(struct rtc *r, enum rtc_cmos index, uint8_t value)
{
	if ((unsigned)index <= REG_D || (unsigned)index >= RTC_BYTES)
		return;
	r->reg[index] = value;
	make_sum(r);
}

void rtc_cmos_set16(struct rtc *r, enum rtc_cmos index, uint16_t value)
{
	rtc_cmos_set(r, index, value);
	rtc_cmos_set(r, index + 1, value >> 8);
}

uint8_t rtc_cmos_get(const struct rtc *r, enum rtc_cmos index)
{
	return r->reg[index % RTC_BYTES];
}

static uint64_t units(uint64_t bytes, uint64_t from, uint64_t unit, uint64_t max)
{
	uint64_t n = bytes > from ? (bytes - from) / unit : 0;

	return n < max ? n : max;
}

void rtc_cmos_memory(struct rtc *r, uint64_t low, uint64_t high)
{
	uint64_t above = units(high, 0, 64 << 10, 0xffffff);

	rtc_cmos_set16(r, RTC_CMOS_BASE_MEM, units(low, 0, 1 << 10, 640));
	rtc_cmos_set16(r, RTC_CMOS_EXT_MEM, units(low, 1 << 20, 1 << 10, 0xffff));
	rtc_cmos_set16(r, RTC_CMOS_EXT_MEM2, units(low, 1 << 20, 1 << 10, 0xffff));
	rtc_cmos_set16(r, RTC_CMOS_MEM_16M, units(low, 16 << 20, 64 << 10, 0xffff));
	rtc_cmos_set16(r, RTC_CMOS_MEM_4G, above);
	rtc_cmos_set(r, RTC_CMOS_MEM_4G + 2, above >> 16);
}

/* ---- life */

void rtc_resync(struct rtc *r)
{
	uint64_t behind = r->wall() - clock_now(r) - r->ahead;

	settle(r);
	if (behind < 1ull << 63) {	/* else the host's clock was set back: ours goes on */
		r->skew += behind;
		settle_seconds(r, clock_now(r));
		if (period(r))		/* of the periodic ones nothing is owed */
			r->periods = periods_at(r, clock_now(r));
		update_line(r);
	}
	schedule(r);
}

void rtc_reset(struct rtc *r)
{
	settle(r);
	r->reg[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
	r->reg[REG_C] = 0;
	r->index = 0;
	r->nmi_masked = false;
	tick_forgive(&r->debt);
	r->replay = NEVER;
	update_line(r);
	schedule(r);
}

struct rtc *rtc_new(struct timers *timers, struct irq_line line, uint64_t (*wall)(void), int64_t zone)
{
	struct rtc *r = calloc(1, sizeof(*r));
	uint64_t ns, now, seconds, days;

	if (!r)
		return NULL;
	r->timers = timers;
	r->line = line;
	r->wall = wall;
	r->timer = timer_new(timers, on_timer, r);
	if (!r->timer) {
		free(r);
		return NULL;
	}
	ns = wall();
	now = timers_now(timers);
	r->skew = NS_PER_S;		/* so that an edge may lie before the VM's clock began */
	now += r->skew;
	r->ahead = ns - now;
	r->edge = r->edge_zero = now - ns % NS_PER_S;
	r->replay = NEVER;

	seconds = ns / NS_PER_S + (uint64_t)zone;
	days = seconds / DAY_SECONDS;
	r->reg[REG_A] = A_DV_NORMAL | 6;	/* 1024 Hz, as PC firmware has it */
	r->reg[REG_B] = B_24H;
	r->reg[REG_D] = D_VRT;
	r->periods = periods_at(r, now);
	r->reg[WEEKDAY] = (days + 4) % 7 + 1;	/* 1 January 1970 was a Thursday; Sunday is 1 */
	put_date(r, days + days_from_date(1970, 1, 1));
	put_time(r, seconds % DAY_SECONDS);
	return r;
}

void rtc_free(struct rtc *r)
{
	if (!r)
		return;
	timer_free(r->timer);
	free(r);
}
