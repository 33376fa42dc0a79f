/*
 * vmm/soft/alu.h - arithmetic and logic as pure functions, [operation]_[width].
 *
 * Each is the host's own instruction on the operands, followed by LAHF and SETO
 * for the flags (vmm/x86/flags.h), so that undefined flags are what this
 * processor makes of them.  *fl goes in with the old flags and comes out with
 * the new ones.
 */
#ifndef CLEAVE_VMM_SOFT_ALU_H
#define CLEAVE_VMM_SOFT_ALU_H

#include <stdint.h>

#include "vmm/x86/flags.h"

#define ALU_SUFFIX_8	"b"
#define ALU_SUFFIX_16	"w"
#define ALU_SUFFIX_32	"l"
#define ALU_SUFFIX_64	"q"
#define ALU_FLAGS	"lahf\n\tseto %%al"

/* a = a op b */
#define ALU_BINARY(name, insn, W)									\
static inline uint##W##_t name##_##W(uint##W##_t a, uint##W##_t b, uint16_t *fl)			\
{													\
	uint16_t f;											\
													\
	__asm__(insn ALU_SUFFIX_##W " %2, %1\n\t" ALU_FLAGS : "=&a"(f), "+&q"(a) : "q"(b) : "cc");	\
	*fl = f;											\
	return a;											\
}

/* The same with the carry flag going in. */
#define ALU_CARRY(name, insn, W)									\
static inline uint##W##_t name##_##W(uint##W##_t a, uint##W##_t b, uint16_t *fl)			\
{													\
	uint16_t f;											\
													\
	__asm__("btl $8, %k3\n\t" insn ALU_SUFFIX_##W " %2, %1\n\t" ALU_FLAGS				\
		: "=&a"(f), "+&q"(a) : "q"(b), "r"((uint32_t)*fl) : "cc");				\
	*fl = f;											\
	return a;											\
}

/* Flags only. */
#define ALU_COMPARE(name, insn, W)									\
static inline void name##_##W(uint##W##_t a, uint##W##_t b, uint16_t *fl)				\
{													\
	uint16_t f;											\
													\
	__asm__(insn ALU_SUFFIX_##W " %2, %1\n\t" ALU_FLAGS : "=&a"(f) : "q"(a), "q"(b) : "cc");	\
	*fl = f;											\
}

/* a = op a; INC and DEC keep CF. */
#define ALU_UNARY(name, insn, W, kept)									\
static inline uint##W##_t name##_##W(uint##W##_t a, uint16_t *fl)					\
{													\
	uint16_t f;											\
													\
	__asm__(insn ALU_SUFFIX_##W " %1\n\t" ALU_FLAGS : "=&a"(f), "+&q"(a) : : "cc");			\
	*fl = (f & ~(kept)) | (*fl & (kept));								\
	return a;											\
}

#define ALU_WIDTH(W)				\
ALU_BINARY(add, "add", W)			\
ALU_BINARY(or, "or", W)				\
ALU_CARRY(adc, "adc", W)			\
ALU_CARRY(sbb, "sbb", W)			\
ALU_BINARY(and, "and", W)			\
ALU_BINARY(sub, "sub", W)			\
ALU_BINARY(xor, "xor", W)			\
ALU_COMPARE(cmp, "cmp", W)			\
ALU_COMPARE(test, "test", W)			\
ALU_UNARY(inc, "inc", W, FL_CF)			\
ALU_UNARY(dec, "dec", W, FL_CF)			\
ALU_UNARY(neg, "neg", W, 0)			\
static inline uint##W##_t not_##W(uint##W##_t a, uint16_t *fl) { (void)fl; return ~a; }

ALU_WIDTH(8)
ALU_WIDTH(16)
ALU_WIDTH(32)
ALU_WIDTH(64)

/*
 * Shifts and rotates by `n`, already masked to five bits (six for 64-bit operands) and not 0.  Rotates
 * change only CF and OF.
 */
#define ALU_SHIFT(name, insn, W, changed)								\
static inline uint##W##_t name##_##W(uint##W##_t a, uint8_t n, uint16_t *fl)				\
{													\
	uint16_t f;											\
													\
	__asm__(insn ALU_SUFFIX_##W " %%cl, %1\n\t" ALU_FLAGS : "=&a"(f), "+&q"(a) : "c"(n) : "cc");	\
	*fl = (f & (changed)) | (*fl & ~(changed));							\
	return a;											\
}

#define ALU_ROTATE_CARRY(name, insn, W)									\
static inline uint##W##_t name##_##W(uint##W##_t a, uint8_t n, uint16_t *fl)				\
{													\
	uint16_t f;											\
													\
	__asm__("btl $8, %k3\n\t" insn ALU_SUFFIX_##W " %%cl, %1\n\t" ALU_FLAGS				\
		: "=&a"(f), "+&q"(a) : "c"(n), "r"((uint32_t)*fl) : "cc");				\
	*fl = (f & (FL_CF | FL_OF)) | (*fl & ~(FL_CF | FL_OF));						\
	return a;											\
}

#define ALU_SHIFT_WIDTH(W)			\
ALU_SHIFT(rol, "rol", W, FL_CF | FL_OF)		\
ALU_SHIFT(ror, "ror", W, FL_CF | FL_OF)		\
ALU_ROTATE_CARRY(rcl, "rcl", W)			\
ALU_ROTATE_CARRY(rcr, "rcr", W)			\
ALU_SHIFT(shl, "shl", W, FL_ALL)		\
ALU_SHIFT(shr, "shr", W, FL_ALL)		\
ALU_SHIFT(sar, "sar", W, FL_ALL)

ALU_SHIFT_WIDTH(8)
ALU_SHIFT_WIDTH(16)
ALU_SHIFT_WIDTH(32)
ALU_SHIFT_WIDTH(64)

/* a shifted by n with bits from b; counts above 16 of 16-bit operands are undefined: the host decides. */
#define ALU_DOUBLE(name, W)										\
static inline uint##W##_t name##_##W(uint##W##_t a, uint##W##_t b, uint8_t n, uint16_t *fl)		\
{													\
	uint16_t f;											\
													\
	__asm__(#name ALU_SUFFIX_##W " %%cl, %2, %1\n\t" ALU_FLAGS					\
		: "=&a"(f), "+&r"(a) : "r"(b), "c"(n) : "cc");						\
	*fl = f;											\
	return a;											\
}

ALU_DOUBLE(shld, 16)
ALU_DOUBLE(shld, 32)
ALU_DOUBLE(shld, 64)
ALU_DOUBLE(shrd, 16)
ALU_DOUBLE(shrd, 32)
ALU_DOUBLE(shrd, 64)

#endif
