/*
 * vmm/x86/fpu.h - x87, SSE and extended state: images in memory, control bits.
 *
 * SDM vol. 1 ch. 8 (x87), 10.5 (FXSAVE), 11.6 (MXCSR), 13 (XSAVE).
 */
#ifndef CLEAVE_VMM_X86_FPU_H
#define CLEAVE_VMM_X86_FPU_H

#include <stddef.h>
#include <stdint.h>

/* FXSAVE's image in its 64-bit form; registers in stack order. */
struct x86_fxsave {
	uint16_t fcw, fsw;
	uint8_t ftw;			/* a bit for each physical register that is not empty */
	uint8_t reserved;
	uint16_t fop;			/* 11 bits of the last instruction that was not a control one */
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[8][16];
	uint8_t xmm[16][16];
	uint8_t rest[96];
} __attribute__((aligned(16)));

_Static_assert(sizeof(struct x86_fxsave) == 512, "FXSAVE area");
_Static_assert(offsetof(struct x86_fxsave, st) == 32 && offsetof(struct x86_fxsave, xmm) == 160, "FXSAVE area");

#define X86_FCW_RESET	0x0040u
#define X86_FCW_INIT	0x037fu
#define X86_FCW_MASKS	0x003fu
#define X86_FCW_VALID	0x1f3fu
#define X86_FCW_RESERVED 0x0040u	/* always set */
#define X86_FSW_ES	0x0080u
#define X86_FSW_B	0x8000u		/* as ES */
#define X86_FSW_TOP(sw)	((sw) >> 11 & 7)

#define X86_MXCSR_RESET	0x1f80u
#define X86_MXCSR_MASKS	0x1f80u
#define X86_MXCSR_VALID	0xffffu

/* XCR0, XSTATE_BV */
#define X86_XSTATE_X87	1u
#define X86_XSTATE_SSE	2u
#define X86_XSTATE_AVX	4u

enum {
	X86_XSAVE_HEADER = 512, X86_XSAVE_EXTENDED = 576,
	X86_XSAVE_AVX = X86_XSAVE_EXTENDED, X86_XSAVE_AVX_BYTES = 256,	/* the upper halves of YMM registers */
};

#endif
