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

#include "vmm/x86/segment.h"
#include "vmm/x86/exception.h"

struct cpu;
struct x86_descriptor;

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
/* Everything that follows from CR0, EFLAGS.VM, CS and CPL: code size, stack size, TLB set, interrupt window. */
void cpu_update_mode(struct cpu *);

/* far.c: direct far transfers.  `opsize` is the operand size in bytes. */
void far_jmp(struct cpu *, uint16_t sel, uint64_t off, unsigned opsize);
void far_call(struct cpu *, uint16_t sel, uint64_t off, unsigned opsize);
void far_ret(struct cpu *, unsigned opsize, uint16_t drop);
void far_iret(struct cpu *, unsigned opsize);

/* exception.c */
enum event_kind { EVENT_EXTERNAL, EVENT_NMI, EVENT_EXCEPTION, EVENT_INT_N, EVENT_INT3, EVENT_INTO, EVENT_ICEBP };
/*
 * From the run loop, between instructions: deliver through the IDT or IVT with
 * cpu->rip as the return address, which becomes the handler's.  Follows the
 * double-fault rules by itself; false on a triple fault.
 */
bool cpu_deliver(struct cpu *, enum event_kind, unsigned vector, uint32_t error);
/* INT n, INT3, INTO, ICEBP: from a handler.  Faults unwind. */
void soft_interrupt(struct cpu *, enum event_kind, unsigned vector);

/* task.c */
enum task_reason { TASK_JMP, TASK_CALL, TASK_INT, TASK_IRET };
void task_switch(struct cpu *, enum task_reason, uint16_t sel, bool has_error, uint32_t error);

/* debug.c */
/* True where DR7 enables an I/O breakpoint that overlaps: sets the pending #DB. Call after the access. */
void debug_io(struct cpu *, uint16_t port, unsigned size);
/* The same for data: called by the MMU for pages that debug_watches() names. */
void debug_data(struct cpu *, uint64_t lin, unsigned len, bool write);
bool debug_watches(const struct cpu *, uint64_t page, bool write);
/* Armed data or I/O breakpoints: string batches shrink to one element. */
bool debug_armed_data_io(const struct cpu *);

/* EFLAGS by an instruction of the running privilege: which bits POPF and IRET may change. */
uint64_t eflags_writable(const struct cpu *, unsigned opsize);
/* I/O permission for `size` bytes at `port`: #GP(0) where it is refused. */
void check_io(struct cpu *, uint16_t port, unsigned size);

#endif
