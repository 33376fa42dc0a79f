/*
 * vmm/tsc.c - the rate of the TSC.
 *
 * Owns the two moments that it is measured between.  CLOCK_MONOTONIC is the
 * VM's clock, so it is what counts here, steered or not.
 */
#include "vmm/tsc.h"

#include <pthread.h>
#include <time.h>
#include <x86intrin.h>

#define NS_PER_S	1000000000ull
#define BASELINE	10000000u	/* ns: two readings, some 20 ns off each, make some parts in a million */
#define TRIES		8

struct moment {
	uint64_t ns, tsc;
};

static pthread_once_t started = PTHREAD_ONCE_INIT, measured = PTHREAD_ONCE_INIT;
static struct moment origin;
static uint64_t rate;

/* The clock and the TSC together: of some readings the one that took least time. */
static struct moment look(void)
{
	struct moment best = { 0 };
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < TRIES; i++) {
		struct timespec t;
		uint64_t before = __rdtsc(), after;

		clock_gettime(CLOCK_MONOTONIC, &t);
		after = __rdtsc();
		if (after - before >= least)
			continue;
		least = after - before;
		best.ns = (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
		best.tsc = before + least / 2;
	}
	return best;
}

static void start(void)
{
	origin = look();
}

void tsc_start(void)
{
	pthread_once(&started, start);
}

static void measure(void)
{
	struct moment now;

	tsc_start();
	for (now = look(); now.ns < origin.ns + BASELINE; now = look()) {
		struct timespec rest = { .tv_nsec = (long)(origin.ns + BASELINE - now.ns) };

		clock_nanosleep(CLOCK_MONOTONIC, 0, &rest, NULL);
	}
	rate = (uint64_t)((unsigned __int128)(now.tsc - origin.tsc) * NS_PER_S / (now.ns - origin.ns));
}

uint64_t tsc_hz(void)
{
	pthread_once(&measured, measure);
	return rate;
}

/* Continued fraction: each convergent is the best of its size. */
void tsc_ratio(uint64_t a, uint64_t b, uint32_t max, uint32_t *n, uint32_t *d)
{
	uint64_t n0 = 0, n1 = 1, d0 = 1, d1 = 0;

	while (b) {
		uint64_t q = a / b, r = a % b;
		unsigned __int128 n2 = (unsigned __int128)q * n1 + n0, d2 = (unsigned __int128)q * d1 + d0;

		if (n2 > max || d2 > max)
			break;
		n0 = n1, n1 = (uint64_t)n2;
		d0 = d1, d1 = (uint64_t)d2;
		a = b;
		b = r;
	}
	*n = n1 ? (uint32_t)n1 : 1;
	*d = d1 ? (uint32_t)d1 : 1;
}
