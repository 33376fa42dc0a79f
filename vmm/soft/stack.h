/*
 * vmm/soft/stack.h - a stack frame that is built before it is taken into use.
 *
 * Calls and events push on a stack, the running one or that of an inner level,
 * and only when nothing can fault any more do SS and SP change (stack_commit).
 */
#ifndef CLEAVE_VMM_SOFT_STACK_H
#define CLEAVE_VMM_SOFT_STACK_H

#include "vmm/soft/cpu.h"
#include "vmm/x86/segment.h"

struct stack {
	struct seg seg;
	uint64_t sp, mask;
	uint32_t error;		/* of the #SS where the frame does not fit */
	bool inner;		/* not the running stack: SS changes */
	bool wide;		/* 64-bit code's: no segment; an inner one makes SS null */
	bool system;		/* supervisor privilege */
	uint8_t cpl;		/* with `wide` */
	struct x86_descriptor desc;
};

void stack_running(struct cpu *, struct stack *);
/* The stack for `cpl` from the TSS, with the checks of a change to it: #TS, #SS. */
void stack_inner(struct cpu *, struct stack *, unsigned cpl);
/* Long mode: for a handler of 64-bit code at `cpl`; ist of 1 to 7, or 0: RSPn of the TSS, or the running one. */
void stack_long(struct cpu *, struct stack *, unsigned cpl, unsigned ist);
void stack_push(struct cpu *, struct stack *, unsigned size, uint64_t val);
/* SS and SP become the frame's.  Cannot fault; cpu->cpl and CS are the caller's. */
void stack_commit(struct cpu *, struct stack *);

/* far.c: CS becomes `sel` with RPL `cpl`, next_rip becomes `off`; everything has been checked. */
void cs_enter(struct cpu *, uint16_t sel, struct x86_descriptor *, unsigned cpl, uint64_t off);
/* EFLAGS bits of `mask` from `image`; the caller updates the mode. */
void flags_load(struct cpu *, uint64_t image, uint64_t mask);

#endif
