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

/*
 * A MEM_HANDLER with one more twin, name_flat, for the plain addresses of 64-bit
 * code: VEC() chooses.  In its body `flat` tells, at compile time.
 */
#define VEC_HANDLER(name)											\
static inline __attribute__((always_inline)) void name##_body(struct cpu *, const struct insn *, insn_fn *slow, bool flat);	\
static __attribute__((noinline, cold)) void name##_slow(struct cpu *cpu, const struct insn *in)			\
{														\
	cpu->insn = in;												\
	return name##_body(cpu, in, NULL, false);								\
}														\
static void name(struct cpu *cpu, const struct insn *in)							\
{														\
	return name##_body(cpu, in, name##_slow, false);							\
}														\
static void name##_flat(struct cpu *cpu, const struct insn *in)							\
{														\
	return name##_body(cpu, in, name##_slow, true);								\
}														\
static inline __attribute__((always_inline)) void name##_body(struct cpu *cpu, const struct insn *in, insn_fn *slow, bool flat)

#define VEC(name)	(vec_flat(in) ? name##_flat : name)

static inline bool vec_flat(const struct insn *in)
{
	return ea_form(in) == EA_Q || ea_form(in) == EA_T;
}

/* In a VEC_HANDLER: the operand's host address, or NULL. */
#define VHIT_READ(BYTES)	(flat ? flat_read(cpu, in->seg, ADDR_t, BYTES) : hit_read(cpu, in->seg, ADDR_x, BYTES))
#define VHIT_WRITE(BYTES)	(flat ? flat_write(cpu, in->seg, ADDR_t, BYTES) : hit_write(cpu, in->seg, ADDR_x, BYTES))

/* Of BYTES, zero-extended to a vector; a misaligned host address is a misaligned linear one. */
#define VLOAD(BYTES, ALIGNED, to)						\
	do {									\
		vec128 v_ = { 0 };						\
										\
		if (slow) {							\
			const void *p_ = VHIT_READ(BYTES);			\
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
			void *p_ = VHIT_WRITE(BYTES);				\
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
