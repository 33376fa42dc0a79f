/*
 * vmm/stats.h - what a vCPU counts, and how long its device accesses take.
 *
 * A counter is one line of the list below; names are as --get-stats prints
 * them.  Each struct has one writer, the vCPU's thread; readers on any thread
 * see each number whole, though not all of one moment.
 */
#ifndef CLEAVE_VMM_STATS_H
#define CLEAVE_VMM_STATS_H

#include <stdint.h>

/* X(identifier, name, help) */
#define VCPU_COUNTERS(X) \
	X(IO_ENGINE,	"io.engine",	"accesses completed by a device in the engine") \
	X(IO_SHADOW,	"io.shadow",	"reads completed from a shadow register") \
	X(IO_DOORBELL,	"io.doorbell",	"writes completed by ringing a doorbell") \
	X(IO_UNCLAIMED,	"io.unclaimed",	"accesses that no device answers") \
	X(IO_DAEMON,	"io.daemon",	"single accesses completed by the device model") \
	X(IO_POSTED,	"io.posted",	"writes handed to the device model without waiting") \
	X(IO_ONES,	"io.outage.ones", "reads answered with all ones while there was no device model") \
	X(IO_DROPPED,	"io.outage.dropped", "writes dropped while there was none") \
	X(IO_BATCH,	"io.batch",	"requests that carried more than one element") \
	X(STR_REQUESTS,	"string.requests", "string I/O requests completed by the device model") \
	X(STR_ELEMENTS,	"string.elements", "elements that these carried") \
	X(STR_SHORT,	"string.short",	"string requests of which the device did a part") \
	X(STR_ENGINE,	"string.engine", "string elements completed without the device model") \
	X(FULL,		"wait.full",	"waits for room in the request ring") \
	X(DISCARDED,	"io.discarded",	"requests discarded by a reset or a changed instruction") \
	X(LOG_FULL,	"log.full",	"accesses refused because one instruction made too many")

enum vcpu_stat {
#define X(id, name, help) STAT_##id,
	VCPU_COUNTERS(X)
#undef X
	STATS
};

/*
 * A histogram of TSC ticks: 8 buckets for each power of two, so a percentile
 * is within 1/8 of the true value.
 */
enum { HIST_SUB = 3, HIST_BUCKETS = (64 - HIST_SUB + 1) << HIST_SUB };

struct histogram {
	uint64_t n;
	uint64_t bucket[HIST_BUCKETS];
};

struct vcpu_stats {
	uint64_t n[STATS];
	uint64_t last;			/* the latest round trip, in ticks */
	struct histogram single;	/* round trips of single accesses: from posting to the value in the slot */
	struct histogram batch;		/* ... and of requests with more than one element */
};

struct stat_info {
	const char *name, *help;
};

extern const struct stat_info stat_info[STATS];

/* A counter of one thread's that any may read. */
static inline void count_up(uint64_t *n, uint64_t by)
{
	__atomic_store_n(n, *n + by, __ATOMIC_RELAXED);
}

static inline uint64_t count_get(const uint64_t *n)
{
	return __atomic_load_n(n, __ATOMIC_RELAXED);
}

static inline void stat_add(struct vcpu_stats *s, enum vcpu_stat i, uint64_t by)
{
	count_up(&s->n[i], by);
}

static inline uint64_t stat_get(const struct vcpu_stats *s, enum vcpu_stat i)
{
	return count_get(&s->n[i]);
}

static inline uint64_t stats_ticks(void)
{
	return __builtin_ia32_rdtsc();
}

static inline unsigned hist_index(uint64_t ticks)
{
	unsigned shift;

	if (ticks < 1u << HIST_SUB)
		return (unsigned)ticks;
	shift = 63 - __builtin_clzll(ticks) - HIST_SUB;
	return (shift << HIST_SUB) + (unsigned)(ticks >> shift);
}

static inline void hist_add(struct histogram *h, uint64_t ticks)
{
	uint64_t *b = &h->bucket[hist_index(ticks)];

	count_up(b, 1);
	count_up(&h->n, 1);
}

/* *sum += *one; `sum` is the caller's own. */
void stats_sum(struct vcpu_stats *sum, const struct vcpu_stats *one);
/* Ticks below which `permille` of the values lie (the bucket's middle); 0 when there are none. */
uint64_t hist_percentile(const struct histogram *, unsigned permille);
/* The TSC's rate, learnt against CLOCK_MONOTONIC since the first call: the earlier that is, the better. */
void stats_clock_start(void);
uint64_t stats_ns(uint64_t ticks);

#endif
