/*
 * vmm/soft/report.h - the soft engine's counters, for vmm/engine.h.
 */
#ifndef CLEAVE_VMM_SOFT_REPORT_H
#define CLEAVE_VMM_SOFT_REPORT_H

#include <stdint.h>
#include <stdio.h>

struct vm;

void soft_report(struct vm *, int cpu, void (*each)(void *arg, const char *name, uint64_t value), void *arg);
void soft_summary(struct vm *, FILE *);

#endif
