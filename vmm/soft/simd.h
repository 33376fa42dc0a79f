/*
 * vmm/soft/simd.h - where the guest's x87, MMX, SSE and AVX state is, and who
 * may touch it.
 *
 * Vector registers live in cpu->simd.v, whole: the upper halves that AVX adds
 * are no host register's, and the host's own are clear between instructions.  While the state is `live`, the x87
 * stack with its control, status and tag words and MXCSR live in the host
 * processor's own: a guest's x87 instruction is the host's, run on the same
 * registers, and an SSE instruction runs under the guest's rounding and masks.
 * Nothing else of the engine computes in floating point, so nothing disturbs
 * them.  simd_leave() puts them back into `fx`; it is called whenever the run
 * loop is left.
 *
 * An SSE exception that the guest has unmasked is a SIGFPE here, at an
 * instruction whose result has not been stored: the handler makes it the
 * guest's #XM.  An x87 one waits, as the architecture has it, and is looked for
 * before the next waiting instruction.
 *
 * One vCPU's thread; at most one vCPU of a thread is live.
 */
#ifndef CLEAVE_VMM_SOFT_SIMD_H
#define CLEAVE_VMM_SOFT_SIMD_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/x86/fpu.h"
#include "vmm/x86/state.h"

struct cpu;
struct insn;
struct mmu_held;

typedef long long vec128 __attribute__((vector_size(16)));

union vec {
	uint8_t b[32];
	uint16_t w[16];
	uint32_t d[8];
	uint64_t q[4];
	vec128 x;
};

/* Why an instruction must ask before it executes: simd.x87_slow, sse_slow, avx_slow. */
enum { SIMD_DENIED = 1, SIMD_COLD = 2, SIMD_UNMASKED = 4 };

struct simd {
	union vec v[16];
	struct x86_fxsave fx;		/* x87 and MXCSR while not live; its xmm[], fop, fip, fdp are not used */
	uint64_t fip, fdp;
	uint16_t fop;
	uint8_t x87_slow, sse_slow, avx_slow;	/* 0: go ahead; simd_update() keeps them */
	uint32_t sse_go, avx_go, x87_go;	/* for translated code: not slow, and nothing unmasked; simd_update() too */
	bool live;
	bool unmasked;			/* x87 exceptions are: one may be pending */
	uint64_t xcr0;			/* simd_update() */
};

/*
 * May the instruction execute?  #UD, #NM and #MF are raised here; then the
 * state is live.  Call before anything else that faults, if `slow` says so.
 * The instruction becomes cpu->insn: NULL from a plain handler.
 */
void x87_enter(struct cpu *, const struct insn *);
void mmx_enter(struct cpu *, const struct insn *);
void sse_enter(struct cpu *, const struct insn *);
void avx_enter(struct cpu *, const struct insn *);
/* #UD and #NM only, and not live: FXSAVE and its kin. */
void simd_check_nm(struct cpu *);

/* This thread runs translated code of `cpu`: SIGFPE of its divisions is led back there. */
void simd_catch(struct cpu *);
void simd_live(struct cpu *);
void simd_leave(struct cpu *);
/* CR0, CR4, XCR0, virtual-8086 mode, x87's masks or liveness changed. */
void simd_update(struct cpu *);
/* The x87 control word has been loaded, natively. */
void x87_control_changed(struct cpu *);

void simd_reset(struct cpu *);
/* FINIT's part: what INIT leaves alone is not touched. */
void simd_get(const struct cpu *, struct x86_fxsave *);
void simd_set(struct cpu *, const struct x86_fxsave *);
/* Current image; the state may be live and stays it. */
void simd_image(struct cpu *, struct x86_fxsave *);
/* Replace x87 by the image's.  Not live afterwards. */
void simd_load_x87(struct cpu *, const struct x86_fxsave *);
uint32_t simd_mxcsr(struct cpu *);
void simd_set_mxcsr(struct cpu *, uint32_t);

/* Vector operands the slow way: segment, alignment (#GP(0)), every fault. */
void vec_load(struct cpu *, const struct insn *, void *to, unsigned size, bool aligned);
void vec_store(struct cpu *, const struct insn *, const void *from, unsigned size, bool aligned);
void vec_probe_store(struct cpu *, const struct insn *, unsigned size, bool aligned, struct mmu_held *);

#endif
