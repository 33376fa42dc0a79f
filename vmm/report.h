/*
 * vmm/report.h - the machine's counters: all of them by name, and a summary.
 *
 * Thread: main, at any time; a number that moves is read whole.
 */
#ifndef CLEAVE_VMM_REPORT_H
#define CLEAVE_VMM_REPORT_H

#include <stdint.h>
#include <stdio.h>

struct vm;

/* `cpu` < 0: the sum over all vCPUs, and what belongs to none. */
void report_each(struct vm *, int cpu, void (*each)(void *arg, const char *name, uint64_t value), void *arg);
/* What -o stats=true prints at the end. */
void report_summary(struct vm *, FILE *);

#endif
