/*
 * vmm/outage.h - what the guest sees of each device while no device model serves.
 *
 *	stall	a vCPU that wants something of it waits
 *	ones	after a grace reads give all ones and writes are dropped, as if
 *		the device had been pulled out; what was asked before and answered
 *		so is not asked again
 *	stop	no successor is started: the machine ends
 *
 * Each device's is in its configuration (`outage=`), else `devmodel.outage=`.
 * The grace, `devmodel.grace=`, lets an ordinary takeover pass unnoticed.
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_OUTAGE_H
#define CLEAVE_VMM_OUTAGE_H

#include <stdbool.h>
#include <stddef.h>

struct vm;
struct outage;

int outage_new(struct outage **, struct vm *);	/* -ENOMEM */
void outage_free(struct outage *);

/* The device model is lost; again while it is so: nothing. */
void outage_begin(struct outage *);
/* Another serves.  What was refused meanwhile is said. */
void outage_end(struct outage *);
/* Must the machine end with its device model?  Then `title` is who wants it so. */
bool outage_stops(const struct vm *, char *title, size_t n);

#endif
