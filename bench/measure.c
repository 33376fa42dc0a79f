/* bench/measure.c - calibration, percentiles, the line that bench/run reads (measure.h). */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/measure.h"

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double ticks_per_ns(void)
{
	static double rate;

	if (!rate) {
		uint64_t ns = now_ns(), t = ticks(), n, end;

		do
			n = now_ns();
		while (n - ns < 20000000);
		end = ticks();
		rate = (double)(end - t) / (double)(n - ns);
	}
	return rate;
}

uint64_t ticks_overhead(void)
{
	static uint64_t least;

	if (!least) {
		least = UINT64_MAX;
		for (int i = 0; i < 10000; i++) {
			uint64_t t = ticks(), d = ticks() - t;

			least = d < least ? d : least;
		}
	}
	return least;
}

void measure_begin(struct measure *m, const char *name, unsigned rounds, unsigned samples)
{
	*m = (struct measure){ .name = name, .rounds = rounds, .samples = samples };
	m->tick = malloc(sizeof(*m->tick) * rounds * samples);
	if (!m->tick) {
		fprintf(stderr, "%s: no memory for %u x %u samples\n", name, rounds, samples);
		exit(1);
	}
	memset(m->tick, 0, sizeof(*m->tick) * rounds * samples);	/* no page fault while measuring */
	ticks_per_ns();
	ticks_overhead();
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double to_ns(double tick)
{
	double over = (double)ticks_overhead();

	return tick > over ? (tick - over) / ticks_per_ns() : 0;
}

/* Of the middle half: finer than a median where the clock ticks coarsely, and as deaf to what is rare. */
static double middle(const uint32_t *sorted, unsigned n)
{
	uint64_t sum = 0;

	for (unsigned i = n / 4; i < n - n / 4; i++)
		sum += sorted[i];
	return (double)sum / (n - n / 4 - n / 4);
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

void measure_end(struct measure *m, FILE *out)
{
	unsigned rounds = (unsigned)(m->added / m->samples);
	uint32_t *p50 = calloc(rounds + 1u, sizeof(*p50)), *p99 = calloc(rounds + 1u, sizeof(*p99)), least = UINT32_MAX;
	double *mid = calloc(rounds + 1u, sizeof(*mid));

	for (unsigned r = 0; p50 && p99 && mid && r < rounds; r++) {
		uint32_t *s = m->tick + (size_t)r * m->samples;

		qsort(s, m->samples, sizeof(*s), by_value);
		p50[r] = s[m->samples / 2];
		p99[r] = s[(uint64_t)m->samples * 99 / 100];
		mid[r] = middle(s, m->samples);
		least = s[0] < least ? s[0] : least;
	}
	if (p50 && p99 && mid && rounds) {
		qsort(mid, rounds, sizeof(*mid), by_size);
		qsort(p50, rounds, sizeof(*p50), by_value);
		qsort(p99, rounds, sizeof(*p99), by_value);
		fprintf(out, "%s p50_ns=%.1f p99_ns=%.1f p50_low=%.1f p50_high=%.1f p99_low=%.1f p99_high=%.1f min_ns=%.1f mid_ns=%.1f samples=%llu\n",
			m->name, to_ns(p50[rounds / 2]), to_ns(p99[rounds / 2]), to_ns(p50[0]), to_ns(p50[rounds - 1]),
			to_ns(p99[0]), to_ns(p99[rounds - 1]), to_ns(least), to_ns(mid[rounds / 2]), (unsigned long long)m->added);
	}
	free(p50);
	free(p99);
	free(mid);
	free(m->tick);
	m->tick = NULL;
}

int measure_pin(unsigned n)
{
	cpu_set_t may, one;

	if (sched_getaffinity(0, sizeof(may), &may))
		return -1;
	CPU_ZERO(&one);
	for (int c = 0; c < CPU_SETSIZE; c++) {
		if (!CPU_ISSET(c, &may) || n--)
			continue;
		CPU_SET(c, &one);
		return sched_setaffinity(0, sizeof(one), &one);
	}
	return -1;
}
