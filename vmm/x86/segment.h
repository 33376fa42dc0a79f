/*
 * vmm/x86/segment.h - selectors, descriptors, gates, TSS layouts.
 *
 * Pure functions of their bits; SDM vol. 3 ch. 3.4, 3.5, 5.8, 7.2.
 */
#ifndef CLEAVE_VMM_X86_SEGMENT_H
#define CLEAVE_VMM_X86_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/x86/state.h"

#define X86_SEL_RPL	3u
#define X86_SEL_TI	4u
#define X86_SEL_INDEX	0xfff8u

/* S = 0 */
enum x86_system_type {
	X86_SYS_TSS16 = 1, X86_SYS_LDT = 2, X86_SYS_TSS16_BUSY = 3, X86_SYS_CALL16 = 4, X86_SYS_TASK_GATE = 5,
	X86_SYS_INT16 = 6, X86_SYS_TRAP16 = 7, X86_SYS_TSS32 = 9, X86_SYS_TSS32_BUSY = 11, X86_SYS_CALL32 = 12,
	X86_SYS_INT32 = 14, X86_SYS_TRAP32 = 15,
};
#define X86_SYS_BUSY	2u	/* the bit between an available and a busy TSS */
#define X86_SYS_32	8u

/* S = 1 */
#define X86_TYPE_ACCESSED	1u
#define X86_TYPE_WRITABLE	2u	/* data */
#define X86_TYPE_READABLE	2u	/* code */
#define X86_TYPE_EXPAND_DOWN	4u	/* data */
#define X86_TYPE_CONFORMING	4u	/* code */
#define X86_TYPE_CODE		8u

/* A descriptor of 8 bytes, unpacked. */
struct x86_descriptor {
	uint64_t raw;
	uint64_t base;		/* of 64 bits in long mode's system descriptors, which are of 16 bytes */
	uint32_t limit;		/* G applied */
	uint32_t attr;		/* X86_ATTR_* */
};

static inline unsigned x86_attr_type(uint32_t attr)
{
	return attr & X86_ATTR_TYPE;
}

static inline unsigned x86_attr_dpl(uint32_t attr)
{
	return attr >> 5 & 3;
}

static inline bool x86_attr_is_code(uint32_t attr)
{
	return (attr & (X86_ATTR_S | X86_TYPE_CODE)) == (X86_ATTR_S | X86_TYPE_CODE);
}

static inline bool x86_attr_is_data(uint32_t attr)
{
	return (attr & (X86_ATTR_S | X86_TYPE_CODE)) == X86_ATTR_S;
}

static inline bool x86_attr_is_conforming(uint32_t attr)
{
	return (attr & (X86_ATTR_S | X86_TYPE_CODE | X86_TYPE_CONFORMING)) == (X86_ATTR_S | X86_TYPE_CODE | X86_TYPE_CONFORMING);
}

static inline bool x86_attr_is_readable(uint32_t attr)
{
	return (attr & X86_ATTR_S) && (!(attr & X86_TYPE_CODE) || (attr & X86_TYPE_READABLE));
}

static inline bool x86_attr_is_writable(uint32_t attr)
{
	return (attr & (X86_ATTR_S | X86_TYPE_CODE | X86_TYPE_WRITABLE)) == (X86_ATTR_S | X86_TYPE_WRITABLE);
}

static inline bool x86_attr_is_expand_down(uint32_t attr)
{
	return (attr & (X86_ATTR_S | X86_TYPE_CODE | X86_TYPE_EXPAND_DOWN)) == (X86_ATTR_S | X86_TYPE_EXPAND_DOWN);
}

static inline struct x86_descriptor x86_descriptor(uint64_t raw)
{
	struct x86_descriptor d = { .raw = raw };

	d.base = (raw >> 16 & 0xffffff) | (raw >> 32 & 0xff000000);
	d.limit = (raw & 0xffff) | (raw >> 32 & 0xf0000);
	d.attr = raw >> 40 & 0xf0ff;
	if (d.attr & X86_ATTR_G)
		d.limit = d.limit << 12 | 0xfff;
	return d;
}

/* A call, interrupt, trap or task gate. */
struct x86_gate {
	uint64_t offset;
	uint32_t attr;
	uint16_t sel;
	uint8_t params;		/* of a call gate, in words of its size */
	uint8_t ist;		/* of an interrupt or trap gate in long mode */
};

static inline struct x86_gate x86_gate(uint64_t raw)
{
	struct x86_gate g = {
		.offset = raw & 0xffff,
		.attr = raw >> 40 & 0xff,
		.sel = raw >> 16 & 0xffff,
		.params = raw >> 32 & 0x1f,
	};

	if (g.attr & X86_SYS_32)
		g.offset |= raw >> 32 & 0xffff0000;
	return g;
}

/* Long mode's, of 16 bytes. */
static inline struct x86_gate x86_gate64(uint64_t low, uint64_t high)
{
	return (struct x86_gate) {
		.offset = (low & 0xffff) | (low >> 32 & 0xffff0000) | high << 32,
		.attr = low >> 40 & 0xff,
		.sel = low >> 16 & 0xffff,
		.ist = low >> 32 & 7,
	};
}

/* TSS layouts: offsets of what is not a plain run (SDM vol. 3 fig. 7-2, 7-10). */
enum {
	X86_TSS16_SP0 = 2, X86_TSS16_IP = 14, X86_TSS16_FLAGS = 16, X86_TSS16_GPR = 18, X86_TSS16_SEG = 34,
	X86_TSS16_LDT = 42, X86_TSS16_LIMIT = 43,
	X86_TSS32_SP0 = 4, X86_TSS32_CR3 = 28, X86_TSS32_IP = 32, X86_TSS32_FLAGS = 36, X86_TSS32_GPR = 40,
	X86_TSS32_SEG = 72, X86_TSS32_LDT = 96, X86_TSS32_TRAP = 100, X86_TSS32_IOMAP = 102, X86_TSS32_LIMIT = 103,
	X86_TSS64_RSP0 = 4, X86_TSS64_IST1 = 36,
};

#endif
