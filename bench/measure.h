/*
 * bench/measure.h - short times, measured and summed up.
 *
 * Owns the clock (the processor's time-stamp counter, calibrated against
 * CLOCK_MONOTONIC) and the samples of one measurement.  Knows nothing of what
 * is measured.
 *
 *	struct measure m;
 *	measure_begin(&m, "ring_pingpong", rounds, samples);
 *	for each round, for each sample: t = ticks(); work; measure_add(&m, ticks() - t);
 *	measure_end(&m, stdout);
 *
 * prints one line:
 *
 *	NAME p50_ns=A p99_ns=B p50_low=.. p50_high=.. p99_low=.. p99_high=.. min_ns=.. mid_ns=C samples=N
 *
 * p50 and p99 are the medians over the rounds, low and high the rounds'
 * extremes.  C is the mean of the middle half of a round's samples, and of those
 * the median over the rounds.  What the clock itself costs is taken off each sample.
 */
#ifndef CLEAVE_BENCH_MEASURE_H
#define CLEAVE_BENCH_MEASURE_H

#include <stdint.h>
#include <stdio.h>
#include <x86intrin.h>

struct measure {
	const char *name;
	unsigned rounds, samples;	/* a round is `samples` samples */
	uint64_t added;
	uint32_t *tick;			/* rounds * samples */
};

/* Neither earlier nor later instructions pass it. */
static inline uint64_t ticks(void)
{
	uint64_t t;

	_mm_lfence();
	t = __rdtsc();
	_mm_lfence();
	return t;
}

double ticks_per_ns(void);		/* calibrated at the first call, 20 ms */
uint64_t ticks_overhead(void);		/* of two ticks() with nothing between */

void measure_begin(struct measure *, const char *name, unsigned rounds, unsigned samples);	/* exits without memory */

static inline void measure_add(struct measure *m, uint64_t t)
{
	if (m->added < (uint64_t)m->rounds * m->samples)
		m->tick[m->added++] = t > UINT32_MAX ? UINT32_MAX : (uint32_t)t;
}

void measure_end(struct measure *, FILE *);

/* Binds the calling thread to the n-th CPU that it may use; with fewer CPUs than that it does nothing and returns -1. */
int measure_pin(unsigned n);

#endif
