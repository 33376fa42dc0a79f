/*
 * A guest that writes anything to the interrupt controllers, the interval timer
 * and the clock at any time.  It may get nonsense; it may not keep the host busy
 * (wake-ups are bounded by what the fastest honest program asks for), and what
 * INTR promises an INTA must find.
 */
#include <stdint.h>
#include <stdlib.h>

#include "vmm/dev/pic.h"
#include "vmm/dev/pit.h"
#include "vmm/dev/rtc.h"
#include "vmm/timer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STEP_MAX	10000000ull	/* ns */
/* In one step: the timer at 10 kHz, the clock at 8192 Hz, each with as many replays, and a few seconds' edges. */
enum { WAKEUPS_MAX = 2 * (100 + 82) + 16 };

static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71 };

enum { PORTS = sizeof(ports) / sizeof(ports[0]) };

static struct timers *ts;
static struct pic *pic;
static struct pit *pit;
static struct rtc *rtc;
static bool intr;

static void on_intr(void *arg, bool level)
{
	(void)arg;
	if (level == intr)
		abort();
	intr = level;
}

static void on_change(void *arg)
{
	(void)arg;
	pit_lines_changed(pit);
}

static uint64_t wall(void)
{
	return 1700000000123456789ull;
}

static void out(uint16_t port, uint8_t value)
{
	if (port >= 0x70 && port <= 0x71)
		rtc_write(rtc, port, value);
	else if (port >= 0x40 && port <= 0x61)
		pit_write(pit, port, value);
	else
		pic_write(pic, port, value);
}

static uint8_t in(uint16_t port)
{
	if (port >= 0x70 && port <= 0x71)
		return rtc_read(rtc, port);
	if (port >= 0x40 && port <= 0x61)
		return pit_read(pit, port);
	return pic_read(pic, port);
}

static void pass(uint64_t ns)
{
	uint64_t end = timers_now(ts) + ns, next;
	unsigned wakeups = 0;

	while ((next = timers_next(ts)) <= end) {
		timers_advance(ts, next > timers_now(ts) ? next - timers_now(ts) : 0);
		if (++wakeups > WAKEUPS_MAX)
			abort();
	}
	timers_advance(ts, end - timers_now(ts));
}

static uint8_t requested(uint16_t base)
{
	pic_write(pic, base, 0x08);	/* no poll waits */
	pic_write(pic, base, 0x0a);
	return pic_read(pic, base);
}

static void acknowledge(void)
{
	uint8_t asked;

	if (!intr)
		return;
	asked = requested(0x20) | requested(0xa0);
	if (!(asked & 1u << (pic_acknowledge(pic) & 7)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	intr = false;
	ts = timers_new(NULL, NULL, NULL, NULL);
	pic = pic_new(on_intr, NULL);
	pit = pit_new(ts, pic_line(pic, PIT_IRQ));
	rtc = rtc_new(ts, pic_line(pic, RTC_IRQ), wall, 3600);
	pic_watch(pic, on_change, NULL);
	for (size_t i = 0; i + 3 <= size; i += 3) {
		const uint8_t *op = data + i;

		switch (op[0] % 8) {
		case 0 ... 3:
			out(ports[op[1] % PORTS], op[2]);
			break;
		case 4:
			(void)in(ports[op[1] % PORTS]);
			break;
		case 5:
			pic_set_line(pic, 3 + op[1] % 5, op[2] & 1);
			break;
		case 6:
			pass((uint64_t)(op[1] << 8 | op[2]) * (STEP_MAX / 65536));
			break;
		default:
			acknowledge();
			out(op[1] & 1 ? 0x20 : 0xa0, 0x20);
			break;
		}
	}
	rtc_free(rtc);
	pit_free(pit);
	pic_free(pic);
	timers_free(ts);
	return 0;
}
