/*
 * tests/random.h - random numbers that are the same for a seed everywhere:
 * splitmix64, a stream for each file that includes this.  Not for secrets.
 *
 * Thread: one a file.
 */
#ifndef CLEAVE_TESTS_RANDOM_H
#define CLEAVE_TESTS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

static uint64_t state;		/* set it to the seed */

static inline uint64_t next(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static inline uint32_t below(uint32_t n)
{
	return next() % n;
}

static inline bool chance(unsigned percent)
{
	return below(100) < percent;
}

#endif
