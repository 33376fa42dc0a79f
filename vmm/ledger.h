/*
 * vmm/ledger.h - what has befallen the device model, for whoever asks
 * (cleavectl --get-devmodel), whether a process serves at the time or not.
 *
 * Knows neither processes nor devices: supervise.c tells of restarts, the
 * device model itself of strikes and of devices out of service (ipc/link.h),
 * and is believed in nothing that matters.
 *
 * Threads: any.
 */
#ifndef CLEAVE_VMM_LEDGER_H
#define CLEAVE_VMM_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "ipc/link.h"

enum { LEDGER_RESTARTS = 8, LEDGER_STRIKES = 8, LEDGER_DEVICES = 64 };

struct ledger;

struct ledger_restart {
	char why[240];
	uint64_t at;			/* ms, CLOCK_MONOTONIC: when the successor served */
	uint64_t took;			/* ms without a device model */
};

struct ledger_strike {
	struct link_event event;	/* LINK_EV_STRIKE */
	uint64_t at;
	bool known;			/* the request that it names */
	struct link_req request;
};

/* All of it, the newest first. */
struct ledger_page {
	struct ledger_restart restart[LEDGER_RESTARTS];
	unsigned nrestarts;
	struct ledger_strike strike[LEDGER_STRIKES];
	unsigned nstrikes;
	uint64_t out_since[LEDGER_DEVICES];	/* by device; 0: in service */
};

struct ledger *ledger_new(void);		/* NULL: no memory */
void ledger_free(struct ledger *);

void ledger_restart(struct ledger *, const char *why, uint64_t took);
/* `request`: NULL when it names none that is known. */
void ledger_strike(struct ledger *, const struct link_event *, const struct link_req *request);
void ledger_service(struct ledger *, unsigned dev, bool in_service);
void ledger_read(struct ledger *, struct ledger_page *);
uint64_t ledger_now(void);			/* the clock of `at` */

#endif
