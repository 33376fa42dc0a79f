/*
 * vmm/soft/seg.h - what the system files of the soft engine share about segments.
 *
 * Handlers of ordinary instructions need system.h only.
 */
#ifndef CLEAVE_VMM_SOFT_SEG_H
#define CLEAVE_VMM_SOFT_SEG_H

#include "vmm/soft/cpu.h"
#include "vmm/x86/exception.h"
#include "vmm/x86/segment.h"

bool seg_is_null(uint16_t sel);
uint32_t seg_error(uint16_t sel);		/* the error code that names it */
bool seg_allows(const struct seg *, uint64_t off, uint64_t size, bool write);

/* Where the descriptor stands; false outside its table. */
bool seg_locate(const struct cpu *, uint16_t sel, uint64_t *linear);
bool seg_find(struct cpu *, uint16_t sel, struct x86_descriptor *);
/* The same, with `vector`(sel) raised for what is outside its table. */
struct x86_descriptor seg_fetch(struct cpu *, uint16_t sel, unsigned vector);
/*
 * System descriptors have 16 bytes in long mode; d->base takes the upper half.
 * #GP(sel) where that is beyond the table.  Returns the second half.
 */
uint64_t seg_fetch_upper(struct cpu *, uint16_t sel, struct x86_descriptor *);
void seg_mark_accessed(struct cpu *, uint16_t sel, struct x86_descriptor *);

/* Checks of a load, without loading; failures raise `vector`, or #SS and #NP for what is not present. */
struct x86_descriptor seg_check_stack(struct cpu *, uint16_t sel, unsigned cpl, unsigned vector);
struct x86_descriptor seg_check_data(struct cpu *, uint16_t sel, unsigned cpl, unsigned vector);

void seg_set(struct cpu *, unsigned seg, uint16_t sel, const struct x86_descriptor *);
void seg_set_base(struct cpu *, unsigned seg, uint64_t base);
void seg_set_null(struct cpu *, unsigned seg, uint16_t sel);
void seg_set_real(struct cpu *, unsigned seg, uint16_t sel);
void seg_set_v86(struct cpu *, unsigned seg, uint16_t sel);

/* A code segment may be entered with this L and D: #GP(sel). */
void seg_check_code(struct cpu *, uint16_t sel, const struct x86_descriptor *);
/* Would `d` as CS mean 64-bit mode? */
static inline bool seg_is_code64(const struct cpu *cpu, const struct x86_descriptor *d)
{
	return cpu_long(cpu) && (d->attr & X86_ATTR_L);
}

/* The running stack: a datum `at` bytes above SP, and a new SP in the stack's width. */
uint64_t stack_mask(const struct cpu *, const struct seg *ss);
uint64_t stack_read(struct cpu *, unsigned at, unsigned size);
void stack_set(struct cpu *, uint64_t sp);

/* SGDT, SIDT, SLDT, STR, SMSW. */
static inline void check_umip(struct cpu *cpu)
{
	if ((cpu->cr4 & X86_CR4_UMIP) && cpu->cpl != 0)
		cpu_fault(cpu, X86_GP, 0);
}

static inline void need_cpl0(struct cpu *cpu)
{
	if (cpu->cpl != 0)
		cpu_fault(cpu, X86_GP, 0);
}

#endif
