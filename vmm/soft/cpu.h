/*
 * vmm/soft/cpu.h - one processor, as the soft engine holds it while it runs.
 *
 * Owns the layout that every handler (op_*.c), the software MMU and the system
 * code share.  Knows the architecture (vmm/x86), not the machine around it.
 *
 * Where an instruction stands.  `rip` is the offset of the block that executes;
 * `insn` is the decoded instruction in it that may fault, or NULL when `rip`
 * is itself exact.  cpu_sync_rip() folds the second into the first; whatever
 * unwinds has done that, so outside of a threaded handler `rip` is exact.
 *
 * Precise state.  cpu_fault() and cpu_unwind() do not return: they jump to the
 * run loop (cpu->jmp), and nothing is rolled back there.  A handler therefore
 * does everything that may fault before it changes a register, a flag or memory.
 *
 * Arithmetic flags are kept as the host's own LAHF and SETO give them, in `fl`
 * (enum below), apart from the rest of RFLAGS; cpu_flags() joins the two.
 *
 * Everything is 64 bits wide and there are 16 registers, so that 64-bit mode
 * adds rows and files, not fields.
 */
#ifndef CLEAVE_VMM_SOFT_CPU_H
#define CLEAVE_VMM_SOFT_CPU_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/vcpu.h"
#include "vmm/x86/control.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/flags.h"
#include "vmm/x86/state.h"
#include "vmm/soft/simd.h"
#include "vmm/soft/tlb.h"

struct insn;
struct block;
struct block_cache;

union reg {
	uint64_t q;
	uint32_t d;
	uint16_t w;
	uint8_t b[8];		/* b[0] AL.., b[1] AH.. */
	int32_t sd;
	int16_t sw;
};

/*
 * gpr[] has more registers than software sees: one that is always zero, for an
 * address without base or index; `rip`, for an address relative to it; and one
 * that is 2 GiB, an index for those so far ahead that a displacement from the
 * block's start has not enough bits.
 */
enum { GPR_ZERO = X86_GPRS, GPR_2G, GPR_SLOTS, GPR_RIP = GPR_SLOTS };

/*
 * A segment register with what the hit path compares: an access of n bytes at
 * `off` is inside and allowed if off + n <= rend (reads) or wend (writes).
 * Both are 0 where closer inspection is needed: null, not present or wrong
 * type, expand-down; and they end where base + off would wrap at 4 GiB.
 * seg_update() keeps them.
 */
struct seg {
	uint64_t base;
	uint64_t rend, wend;
	uint32_t limit;		/* in bytes, G applied */
	uint32_t attr;		/* X86_ATTR_* */
	uint16_t selector;
};

/*
 * In 64-bit mode ES, CS, SS and DS have neither base nor limit.  Its blocks
 * name these instead: always base 0, and readable and writable everywhere.
 * SEG_FLAT_SS faults as SS does.  SEG_FLAT_FS and _GS have the base of FS and
 * GS and no limit; seg_update() keeps them.
 */
enum { SEG_FLAT = X86_SEGS, SEG_FLAT_SS, SEG_FLAT_FS, SEG_FLAT_GS, SEG_SLOTS };

/* cpu->mode: what decoding depends on, and whose pages its accesses may touch; part of a block's key. */
enum {
	MODE_CODE32 = 1 << 0,	/* CS.D */
	MODE_CODE64 = 1 << 1,	/* EFER.LMA and CS.L; neither CODE32 nor STACK32 then */
	MODE_STACK32 = 1 << 2,	/* SS.B */
	MODE_USER = 1 << 3,	/* CPL 3 */
	MODE_STEP = 1 << 4,	/* a block of one instruction, never fused: TF, interrupt shadow, breakpoints */
	MODE_OPEN = 1 << 5,	/* SMAP is on and EFLAGS.AC lifts it */
	MODE_CHECKED = 1 << 6,	/* alignment is checked: each access is looked at, none hits */
};

/* The set of translations that an ordinary access looks at, unless MODE_CHECKED. */
static inline unsigned mode_set(uint32_t mode)
{
	return mode & MODE_USER ? MMU_USER : mode & MODE_OPEN ? MMU_OPEN : MMU_SUPERVISOR;
}

/* cpu->shadow: after STI, or a load of SS.  SHADOW_NEW until the instruction that casts it is done. */
enum { SHADOW_STI = 1, SHADOW_SS = 2, SHADOW_NEW = 4 };

/* Memory types, which mean nothing here: kept for software that reads back what it has set.  SDM vol. 3 section 11.11. */
enum { MTRR_FIXED = 11, MTRR_VARIABLE = 8 };
struct mtrr {
	uint64_t def_type;
	uint64_t fixed[MTRR_FIXED];
	struct { uint64_t base, mask; } variable[MTRR_VARIABLE];
};

/* An interrupt or exception under delivery; EVENT_NONE between. */
enum event_kind {
	EVENT_NONE, EVENT_EXTERNAL, EVENT_NMI, EVENT_EXCEPTION, EVENT_INT_N, EVENT_INT3, EVENT_INTO, EVENT_ICEBP
};

struct event {
	uint8_t kind;		/* enum event_kind */
	uint8_t vector;
	uint32_t error;
};

/* Why the run loop is jumped to. */
enum unwind {
	UNWIND_FAULT = 1,	/* cpu->fault_*: deliver it */
	UNWIND_PENDING,		/* an access waits for the device model: EXIT_PENDING, rip at the instruction */
	UNWIND_BLOCK,		/* look at events, then look the block up again at rip */
	UNWIND_TRIPLE,
	UNWIND_ERROR,		/* vcpu->error */
};

/* MWAIT's ends by itself as well. */
enum idle { AWAKE, IN_HLT, IN_MWAIT };

struct jit;
struct jit_jump;
struct jit_op;
struct jit_exit;

enum { JIT_WINDOWS = 8 };
enum { CALM, CALM_JUMPS };		/* words of struct calm; of CALM_JUMPS one for each set */
_Static_assert(CALM_JUMPS + MMU_SETS <= CALM_WORDS, "words");

/* What translated code reaches from GS, besides registers and the TLB (vmm/jit/jit.h). */
struct cpu_jit {
	uint64_t base;				/* rip of the first byte of the page whose code runs */
	uint64_t tmp, ea;			/* of one instruction */
	uint32_t sse_in, avx_in;		/* the vectors are in the host's registers, and such instructions may use them */
	uint64_t low4, low5;			/* masks */
	const void *code;			/* ... of one branch */
	uint64_t window[JIT_WINDOWS];		/* addends, of one unit */
	/* now: 1; for each set of the TLB the table of branch targets, of this address space.  Disturbed: 0; empty tables. */
	struct calm calm;
	struct jit_exit *exit;			/* by which code was left; NULL: by an instruction that leaves by itself */
	uint64_t host_sp;			/* of who has entered code: aligned for a call */
	const void *back;			/* into code, from an instruction that was called */
	struct cpu *self;
	bool (*call_insn)(struct cpu *, struct jit_op *);
	struct jit_op *at;			/* of the division that is under way */
	bool done;				/* the instruction that was called has come to its end */
	struct jit *j;				/* NULL: no translator */
};

struct cpu {
	/* hot: registers first, so that a byte offset from here is a register operand */
	union {
		union reg gpr[GPR_SLOTS + 1];
		struct {
			union reg gpr_[GPR_SLOTS];
			uint64_t rip;
		};
	};
	const struct insn *insn;
	uint16_t fl;		/* FL_*: the six arithmetic flags */
	bool recheck;		/* leave at this block's end and look at everything again */
	uint32_t intr_mask;	/* ~0 where an asserted INTR would be taken (IF=1), else 0 */
	uint64_t rip_end;	/* a block at `rip` may run if rip + its bytes <= this: the CS limit, plus one; ~0 in 64-bit mode */
	uint64_t code_base;	/* `rip` is at linear (code_base + rip) & ip_mask: CS's base and 32 bits, or 0 and 64 */
	uint64_t ip_mask;
	struct vcpu *vcpu;
	uint64_t icount;	/* instructions retired */
	struct block *block;	/* executing */
	uintptr_t stack_floor;	/* of the host's stack: vmm/soft/thread.h */
	struct cpu_jit jit;
	struct seg seg[SEG_SLOTS];
	struct mmu mmu;
	struct simd simd;

	/* system state; whoever changes what MODE_*, cpl, rip_end or intr_mask follow from calls cpu_update_mode() */
	uint64_t rflags;	/* all but the arithmetic flags, which are 0 here */
	uint64_t cr0, cr2, cr3, cr4, efer;
	uint64_t dr[8];
	struct x86_table gdtr, idtr;
	uint64_t tsc_offset;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t star, lstar, cstar, sfmask, kernel_gs_base;
	enum x86_level level;	/* what CPUID tells */
	uint64_t tsc_aux, tsc_adjust, pat, misc_enable;
	struct mtrr mtrr;
	uint32_t mode;		/* MODE_* of the code that runs, without MODE_STEP */
	uint8_t cpl;
	bool pe, v86;		/* CR0.PE; CR0.PE and EFLAGS.VM */
	uint8_t shadow;		/* SHADOW_*: no event before the next instruction is done */
	bool nmi_blocked;
	uint8_t idle;		/* enum idle */
	bool monitoring;	/* MONITOR has been executed, and no MWAIT since */
	bool mid_string;	/* the last instruction is a repeated string, left between two elements: RF in a pushed image */
	bool stepping;		/* one instruction, or a run of a string's elements, then back to the run loop */
	bool each;		/* ... and a run is one element */

	/* plain handlers: the following instruction; a transfer sets it (vmm/soft/insn.h) */
	uint64_t next_rip;

	/* with UNWIND_FAULT */
	uint8_t fault_vector;
	uint32_t fault_error;

	uint64_t pending_db;	/* DR6 bits of a trap that is due at this instruction's end */

	/* engine.c and exception.c: the instruction or event under way */
	struct event event;
	bool ext;		/* it is an event outside the program: EXT in the error codes of its faults */
	bool resume;		/* RF was set before it */
	bool entered;		/* it entered a handler or a task: no single-step trap follows */
	bool at_break;		/* a block of thread_break() was met: there may be a breakpoint of the debugger */
	bool alone;		/* it touches device memory and must be run on its own */

	struct rmw rmw;		/* of the handler that runs; not a local of it, so that it can end in a tail call */
	struct block_cache *blocks;
	jmp_buf jmp;		/* _setjmp() in the run loop, before anything here is called */
};

/* As the guest sees them.  rip is exact only outside of threaded handlers: see the top. */
static inline uint64_t cpu_flags(const struct cpu *cpu)
{
	return cpu->rflags | fl_to_rflags(cpu->fl) | X86_RFLAGS_FIXED;
}

/* Any flags; the caller has masked what may not change and calls cpu_update_mode() if IF, TF, VM or AC moved. */
static inline void cpu_set_flags(struct cpu *cpu, uint64_t rflags)
{
	cpu->fl = fl_from_rflags(rflags);
	cpu->rflags = rflags & ~(X86_RFLAGS_ARITH | X86_RFLAGS_FIXED);
}

/* Is this a linear address that exists in 64-bit mode? */
static inline bool cpu_canonical(const struct cpu *cpu, uint64_t lin)
{
	unsigned unused = cpu->cr4 & 1u << 12 ? 7 : 16;		/* CR4.LA57 */

	return (uint64_t)((int64_t)(lin << unused) >> unused) == lin;
}

/* Where `rip` stands. */
static inline uint64_t cpu_code_linear(const struct cpu *cpu, uint64_t rip)
{
	return (cpu->code_base + rip) & cpu->ip_mask;
}

static inline bool cpu_long(const struct cpu *cpu)	/* 64-bit or compatibility mode */
{
	return cpu->efer & X86_EFER_LMA;
}

static inline bool cpu_code64(const struct cpu *cpu)
{
	return cpu->mode & MODE_CODE64;
}

/* Raise a guest fault at the current instruction.  error_code only matters for vectors that push one. */
_Noreturn void cpu_fault(struct cpu *, unsigned vector, uint32_t error_code);
_Noreturn void cpu_unwind(struct cpu *, enum unwind);
void cpu_sync_rip(struct cpu *);

/* Must the run loop be asked before more is executed?  Looked at by every block's end and between string elements. */
static inline bool cpu_event(const struct cpu *cpu)
{
	struct vcpu *v = cpu->vcpu;

	return ((atomic_load_explicit(&v->kick, memory_order_relaxed) ^ v->kick_seen)
		| (atomic_load_explicit(&v->intr, memory_order_relaxed) & cpu->intr_mask)
		| atomic_load_explicit(&v->nmi, memory_order_relaxed)
		| cpu->recheck) != 0;
}

/*
 * Takes note of all that was raised so far: from now on jit.calm is disturbed as soon as another thread raises anything.
 * What the guest itself opens, above all INTR by IF, is told by cpu_event() alone.
 */
static inline bool cpu_look(struct cpu *cpu)
{
	atomic_exchange_explicit(&cpu->jit.calm.now[CALM], 1, memory_order_seq_cst);
	return cpu_event(cpu);
}

/*
 * interp.c: both run at rip, on cpu->jmp that the caller has set.
 *
 * interp_run() executes until cpu_event() or cpu->recheck (which it clears) at
 * a boundary.  interp_step() executes one instruction, or one run of a repeated
 * string's elements (`each`: one element), whatever events wait.  Neither looks at TF, the interrupt
 * shadow or DR7: the run loop steps where these matter.
 */
void interp_run(struct cpu *);
void interp_step(struct cpu *);

#endif
