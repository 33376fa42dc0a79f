/*
 * vmm/soft/system.h - segments, far transfers, tasks, exceptions, debug registers.
 *
 * Everything here may raise a guest fault: it then does not return (cpu_fault),
 * and has not changed a register.  Selectors, vectors and error codes are the
 * architecture's.  SDM vol. 3 ch. 3, 5, 6, 7, 17.
 */
#ifndef CLEAVE_VMM_SOFT_SYSTEM_H
#define CLEAVE_VMM_SOFT_SYSTEM_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/soft/cpu.h"

/*
 * Contract of what moves CS:rip (far_*, soft_interrupt, task_switch): called from
 * a plain handler, with cpu->rip at the instruction and cpu->next_rip after it
 * (the return address); on return CS and cpu->next_rip are the target, checked,
 * and cpu_update_mode() has been called.
 */

/* seg.c: load a data or stack segment register, with every check of the mode. */
void seg_load(struct cpu *, unsigned seg, uint16_t sel);
/* Recompute what the hit path compares (rend, wend) after base, limit or attr changed. */
void seg_update(struct cpu *, unsigned seg);
/* Everything that follows from CR0, CR4.SMAP, EFLAGS, CS, SS and CPL: code size, stack size, TLB set, interrupt window. */
void cpu_update_mode(struct cpu *);

/* far.c: direct far transfers.  `opsize` is the operand size in bytes. */
void far_jmp(struct cpu *, uint16_t sel, uint64_t off, unsigned opsize);
void far_call(struct cpu *, uint16_t sel, uint64_t off, unsigned opsize);
void far_ret(struct cpu *, unsigned opsize, uint16_t drop);
void far_iret(struct cpu *, unsigned opsize);

/* exception.c */
/*
 * From the run loop, between instructions: deliver through the IDT or IVT with
 * cpu->rip as the return address, which becomes the handler's.  Follows the
 * double-fault rules by itself.  0, or why it is not done: UNWIND_TRIPLE;
 * UNWIND_PENDING, where the stack is device memory: cpu_deliver_again() when
 * the access is done.
 */
int cpu_deliver(struct cpu *, enum event_kind, unsigned vector, uint32_t error);
int cpu_deliver_again(struct cpu *);
/* The error code of the fault that was raised last, EXT included; call once. */
uint32_t fault_error_code(struct cpu *);
/* INT n, INT3, INTO, ICEBP: from a handler.  Faults unwind. */
void soft_interrupt(struct cpu *, enum event_kind, unsigned vector);

/* task.c */
enum task_reason { TASK_JMP, TASK_CALL, TASK_INT, TASK_IRET };
void task_switch(struct cpu *, enum task_reason, uint16_t sel, bool has_error, uint32_t error);

/*
 * debug.c.  An access that matches an armed breakpoint sets bits of
 * cpu->pending_db, and the trap is taken when the instruction is done.
 */
void debug_io(struct cpu *, uint16_t port, unsigned size);	/* call after the access */
void debug_data(struct cpu *, uint64_t lin, unsigned len, bool write);
/* Is there an armed data breakpoint on this page: must accesses be shown to debug_data()? */
bool debug_watches(const struct cpu *, uint64_t page, bool write);
/* Armed data or I/O breakpoints: string batches shrink to one element. */
/* The debugger's breakpoints: is there one in these bytes of a page, by any linear address; is there one at rip? */
bool debug_break_near(const struct cpu *, uint64_t first, uint64_t len);
bool debug_break_here(const struct cpu *);
bool debug_armed_data_io(const struct cpu *);
/* Before the instruction at cpu->rip: DR6 bits of the execution breakpoints that match, or 0. */
uint64_t debug_execution(const struct cpu *);
/* #DB is delivered now: DR6 gets `bits`, DR7.GD is cleared. */
void debug_enter(struct cpu *, uint64_t bits);

/* EFLAGS by an instruction of the running privilege: which bits POPF and IRET may change. */
uint64_t eflags_writable(const struct cpu *, unsigned opsize);
/* I/O permission for `size` bytes at `port` by IOPL and the TSS's bitmap: #GP(0) where it is refused. */
void check_io(struct cpu *, uint16_t port, unsigned size);

/* op_system.c, msr.c: control registers with all that follows from a change; #GP(0) for what cannot be set. */
void cr0_write(struct cpu *, uint64_t val);
void cr3_write(struct cpu *, uint64_t val);
void cr4_write(struct cpu *, uint64_t val);
/* No privilege check.  False: #GP(0). */
bool msr_read(struct cpu *, uint32_t index, uint64_t *val);
bool msr_write(struct cpu *, uint32_t index, uint64_t val);
void msr_reset(struct cpu *);
uint64_t cpu_tsc(const struct cpu *);

#endif
