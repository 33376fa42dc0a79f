/*
 * vmm/soft/vec.h - what handlers of MMX, SSE and AVX instructions are made of.
 *
 * As with thread.h's LOAD and STORE, a fast handler's operand is plain memory
 * in one page, and whatever else there is goes to the slow twin.
 */
#ifndef CLEAVE_VMM_SOFT_VEC_H
#define CLEAVE_VMM_SOFT_VEC_H

#include <string.h>

#include "vmm/soft/thread.h"

#define XMM(r)	(cpu->simd.v[r].x)

/* insn is set for the sake of exceptions: simd.h. */
#define SSE_BEGIN								\
	do {									\
		cpu->insn = in;							\
		if (unlikely(cpu->simd.sse_slow))				\
			sse_enter(cpu, in);					\
	} while (0)

#define AVX_BEGIN								\
	do {									\
		cpu->insn = in;							\
		if (unlikely(cpu->simd.avx_slow))				\
			avx_enter(cpu, in);					\
	} while (0)

#define MMX_BEGIN								\
	do {									\
		cpu->insn = in;							\
		if (unlikely(cpu->simd.x87_slow))				\
			mmx_enter(cpu, in);					\
	} while (0)

/* Of BYTES, zero-extended to a vector; a misaligned host address is a misaligned linear one. */
#define VLOAD(BYTES, ALIGNED, to)						\
	do {									\
		vec128 v_ = { 0 };						\
										\
		if (slow) {							\
			const void *p_ = hit_read(cpu, in->seg, insn_ea(cpu, in), BYTES);	\
										\
			if (unlikely(!p_ || ((ALIGNED) && ((uintptr_t)p_ & ((BYTES) - 1)))))	\
				return slow(cpu, in);				\
			memcpy(&v_, p_, BYTES);					\
		} else {							\
			vec_load(cpu, in, &v_, BYTES, ALIGNED);			\
		}								\
		(to) = v_;							\
	} while (0)

#define VSTORE(BYTES, ALIGNED, from)						\
	do {									\
		if (slow) {							\
			void *p_ = hit_write(cpu, in->seg, insn_ea(cpu, in), BYTES);	\
										\
			if (unlikely(!p_ || ((ALIGNED) && ((uintptr_t)p_ & ((BYTES) - 1)))))	\
				return slow(cpu, in);				\
			memcpy(p_, from, BYTES);				\
		} else {							\
			vec_store(cpu, in, from, BYTES, ALIGNED);		\
		}								\
	} while (0)

/* MASKMOVDQU: the bytes whose mask has its top bit set, to DS:rDI. */
void vec_store_bytes(struct cpu *, const struct insn *, const uint8_t *data, const uint8_t *mask, unsigned bytes);

/* The guest's MMX registers, which are the host's; state live.  Both make the x87 stack MMX's, as on the guest. */
#define HIDDEN __attribute__((visibility("hidden")))
extern const uint8_t mmx_get_stubs[8][8] HIDDEN, mmx_put_stubs[8][8] HIDDEN;

static inline uint64_t mmx_get(unsigned r)
{
	return ((uint64_t (*)(void))mmx_get_stubs[r & 7])();
}

static inline void mmx_put(unsigned r, uint64_t v)
{
	((void (*)(uint64_t))mmx_put_stubs[r & 7])(v);
}

#endif
