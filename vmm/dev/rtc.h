/*
 * vmm/dev/rtc.h - the MC146818 clock and its 128 bytes of CMOS memory.
 *
 * Thread: any, with vm->dev_lock held.
 */
#ifndef CLEAVE_VMM_DEV_RTC_H
#define CLEAVE_VMM_DEV_RTC_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/dev/line.h"

struct rtc;
struct timers;

enum { RTC_IRQ = 8, RTC_BYTES = 128 };

/* What PC firmware keeps beyond the chip's own 14 registers. */
enum rtc_cmos {
	RTC_CMOS_DIAGNOSTIC = 0x0e,
	RTC_CMOS_SHUTDOWN = 0x0f,
	RTC_CMOS_FLOPPY = 0x10,		/* type of the first drive in bits 7-4, second in 3-0 */
	RTC_CMOS_EQUIPMENT = 0x14,
	RTC_CMOS_BASE_MEM = 0x15,	/* KiB, two bytes */
	RTC_CMOS_EXT_MEM = 0x17,	/* KiB from 1 MiB, two bytes; again at 30h */
	RTC_CMOS_SUM = 0x2e,		/* of 10h-2Dh, high byte first */
	RTC_CMOS_EXT_MEM2 = 0x30,
	RTC_CMOS_CENTURY = 0x32,	/* BCD */
	RTC_CMOS_MEM_16M = 0x34,	/* 64 KiB from 16 MiB, two bytes */
	RTC_CMOS_BOOT3 = 0x38,		/* third boot device in bits 7-4; bit 0: do not check floppies' signature */
	RTC_CMOS_BOOT12 = 0x3d,		/* first in bits 3-0, second in 7-4 */
	RTC_CMOS_MEM_4G = 0x5b,		/* 64 KiB from 4 GiB, three bytes */
	RTC_CMOS_CPUS = 0x5f,		/* processors, less one */
};

/*
 * `wall` says the host's time, ns since 1970 UTC; the clock starts with it,
 * `zone` seconds east, and then counts by the VM's clock.  NULL: no memory.
 */
struct rtc *rtc_new(struct timers *, struct irq_line, uint64_t (*wall)(void), int64_t zone);
void rtc_free(struct rtc *);
void rtc_reset(struct rtc *);		/* the RESET pin: interrupts off; time and memory stay */
/* The VM's clock stood still while the world went on: a battery-backed clock did not stop. */
void rtc_resync(struct rtc *);

/* Memory beyond the chip's registers (index 0Eh and up); keeps the checksum right. */
void rtc_cmos_set(struct rtc *, enum rtc_cmos, uint8_t value);
void rtc_cmos_set16(struct rtc *, enum rtc_cmos, uint16_t value);
uint8_t rtc_cmos_get(const struct rtc *, enum rtc_cmos);
/* All the bytes that tell firmware how much RAM there is: below 4 GiB and above. */
void rtc_cmos_memory(struct rtc *, uint64_t low, uint64_t high);

/* Ports 70h and 71h. */
uint8_t rtc_read(struct rtc *, uint16_t port);
void rtc_write(struct rtc *, uint16_t port, uint8_t value);
bool rtc_nmi_masked(const struct rtc *);	/* bit 7 of port 70h */

#endif
