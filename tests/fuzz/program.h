/*
 * tests/fuzz/program.h - fuzz targets whose input is a program: one-byte
 * operations with their operands.
 *
 * Reading is all that a target needs that includes no more.  One that links
 * program.c defines fuzz_program() and nothing else: program.c runs it, one input
 * in four a second time with devices that are undone and run again in every
 * transaction, and the two must look the same.
 */
#ifndef CLEAVE_TESTS_FUZZ_PROGRAM_H
#define CLEAVE_TESTS_FUZZ_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct input { const uint8_t *p; size_t n; };

/* Zeros follow the last byte. */
static inline uint8_t u8(struct input *in)
{
	if (!in->n)
		return 0;
	in->n--;
	return *in->p++;
}

static inline uint64_t bytes(struct input *in, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | u8(in);
	return v;
}

static inline uint32_t u32(struct input *in)
{
	return (uint32_t)bytes(in, 4);
}

/* ---- program.c */

/* The target: runs the program, and sees what the guest sees.  False: a second run may differ. */
bool fuzz_program(struct input, bool stuttering);
void see(const void *bytes, size_t n);
void see_value(uint64_t);

#endif
