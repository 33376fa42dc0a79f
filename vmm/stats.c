/*
 * vmm/stats.c - names, sums and percentiles of the counters.
 *
 * Owns the scale from TSC ticks to nanoseconds.  Must not know what is counted.
 */
#include "vmm/stats.h"

#include <time.h>

const struct stat_info stat_info[STATS] = {
#define X(id, name, help) [STAT_##id] = { name, help },
	VCPU_COUNTERS(X)
#undef X
};

static void hist_sum(struct histogram *sum, const struct histogram *one)
{
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		uint64_t n = __atomic_load_n(&one->bucket[i], __ATOMIC_RELAXED);

		sum->bucket[i] += n;
		sum->n += n;
	}
}

void stats_sum(struct vcpu_stats *sum, const struct vcpu_stats *one)
{
	for (unsigned i = 0; i < STATS; i++)
		sum->n[i] += stat_get(one, i);
	hist_sum(&sum->single, &one->single);
	hist_sum(&sum->batch, &one->batch);
}

/* The middle of a bucket: hist_index()'s inverse. */
static uint64_t bucket_ticks(unsigned i)
{
	unsigned shift = i >> HIST_SUB;
	uint64_t low;

	if (shift <= 1)
		return i;
	shift--;
	low = (uint64_t)((i & ((1u << HIST_SUB) - 1)) | 1u << HIST_SUB) << shift;
	return low + (1ull << shift) / 2;
}

uint64_t hist_percentile(const struct histogram *h, unsigned permille)
{
	uint64_t total = 0, below = 0;

	for (unsigned i = 0; i < HIST_BUCKETS; i++)
		total += __atomic_load_n(&h->bucket[i], __ATOMIC_RELAXED);
	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		below += __atomic_load_n(&h->bucket[i], __ATOMIC_RELAXED);
		if (below && below * 1000 >= total * permille)
			return bucket_ticks(i);
	}
	return 0;
}

static struct {
	uint64_t ticks, ns;
} origin;

static uint64_t monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

void stats_clock_start(void)
{
	if (origin.ticks)
		return;
	origin.ns = monotonic();
	origin.ticks = stats_ticks();
}

uint64_t stats_ns(uint64_t ticks)
{
	uint64_t t, ns;

	stats_clock_start();
	do {	/* a rate from less than 2 ms would be guesswork */
		ns = monotonic() - origin.ns;
		t = stats_ticks() - origin.ticks;
	} while (ns < 2000000);
	return (uint64_t)((double)ticks * (double)ns / (double)t + 0.5);
}
