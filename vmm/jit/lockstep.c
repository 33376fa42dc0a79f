/*
 * vmm/jit/lockstep.c - see lockstep.h.
 *
 * The reference is the interpreter's handlers for the instructions as the unit
 * has them, one by one, neither fused nor silenced.  Where the unit leaves
 * before the last of them the rehearsal is repeated up to there.
 */
#include "vmm/jit/lockstep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/jit/unit.h"
#include "vmm/mem.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/rehearsal.h"
#include "vmm/soft/thread.h"
#include "vmm/vm.h"
#include "vmm/x86/disasm.h"

enum { TRIES = 3 };

struct lockstep {
	struct cpu before, after, now;	/* `after`: what is wanted */
	struct rehearsal rehearsal;
	struct jit_unit *unit;
	bool armed;			/* the unit runs */
	bool live;			/* x87 and MXCSR were the guest's before */
	jmp_buf back;			/* the run loop's, during a rehearsal */
	int unwinds;			/* enum unwind by which the rehearsal ended, or 0 */
	uint8_t vector;			/* ... and its fault */
	uint32_t error;
	unsigned tries;
	uint64_t tried_at;		/* icount */
	bool *tells_time;		/* by row */
	uint64_t compared, by_interpreter, passed_over, again;
};

/* ---- a processor's state, without what the passing of a unit leaves anyway */

static void copy_state(struct cpu *to, const struct cpu *from)
{
	memcpy(to, from, offsetof(struct cpu, jit));
	memcpy(to->seg, from->seg, sizeof(to->seg));
	to->simd = from->simd;
	memcpy(&to->rflags, &from->rflags, offsetof(struct cpu, rmw) - offsetof(struct cpu, rflags));
}

static void take_state(struct cpu *cpu, struct cpu *to)
{
	bool live = cpu->simd.live;

	simd_leave(cpu);
	copy_state(to, cpu);
	if (live)
		simd_live(cpu);
}

static void put_state(struct cpu *cpu, const struct cpu *from, bool live)
{
	simd_leave(cpu);
	copy_state(cpu, from);
	if (live)
		simd_live(cpu);
}

/* ---- the interpreter's side */

/* True: the instruction is done and the next one follows. */
static bool carry_out(struct cpu *cpu, const struct insn *in)
{
	cpu->insn = NULL;
	cpu->jit.done = false;
	in->fn(cpu, in);
	if (cpu->jit.done)
		cpu->insn = NULL;
	return cpu->jit.done;
}

static void carry_out_unit(struct cpu *cpu, const struct jit_unit *u, unsigned most)
{
	unsigned k;

	for (k = 0; k < u->ops && k < most && u->op[k].insn.fn != thread_plain_end; k++) {
		bool left = !carry_out(cpu, &u->op[k].insn);

		if (left && u->op[k].again && k + 1 < most) {
			cpu->rip -= u->op[k + 1].insn.off;	/* the loop's start stands here once more */
			cpu->icount -= k + 1;
		} else if (left)
			return;
		else if (u->op[k].again)
			most = k + 1;
	}
	if (k) {
		cpu->rip += u->op[k - 1].insn.off + u->op[k - 1].insn.len;
		cpu->icount += k;
	}
}

/* On return `after` has the state, if it can be compared. */
static bool rehearse(struct cpu *cpu, struct lockstep *l, unsigned most)
{
	uintptr_t floor = cpu->stack_floor;
	bool comparable;

	memcpy(l->back, cpu->jmp, sizeof(l->back));
	cpu->stack_floor = UINTPTR_MAX;		/* no block follows */
	cpu->mmu.rehearsal = &l->rehearsal;
	mmu_select(cpu);
	l->unwinds = _setjmp(cpu->jmp);
	if (!l->unwinds)
		carry_out_unit(cpu, l->unit, most);
	cpu->mmu.rehearsal = NULL;
	mmu_select(cpu);
	memcpy(cpu->jmp, l->back, sizeof(l->back));
	cpu->stack_floor = floor;
	cpu->insn = NULL;
	cpu->blocks->link_from = NULL;
	l->vector = cpu->fault_vector;
	l->error = cpu->fault_error;
	comparable = (!l->unwinds || l->unwinds == UNWIND_FAULT) && !cpu->mid_string;
	take_state(cpu, &l->after);
	put_state(cpu, &l->before, l->live);
	l->after.stack_floor = floor;
	return comparable;
}

static bool repeatable(const struct lockstep *l, const struct jit_unit *u)
{
	for (unsigned k = 0; k < u->ops; k++)
		if (l->tells_time[u->op[k].insn.row])
			return false;
	return true;
}

/* For good. */
static void interpret(struct cpu *cpu, struct block *b)
{
	uintptr_t floor = cpu->stack_floor;

	cpu->stack_floor = UINTPTR_MAX;		/* interp_run() sets it again if this unwinds */
	b->first(cpu, b->insn);
	cpu->stack_floor = floor;
	cpu->insn = NULL;
	cpu->blocks->link_from = NULL;
}

bool lockstep_begin(struct cpu *cpu, struct jit_unit *u)
{
	struct lockstep *l = cpu->jit.j->lockstep;

	l->unit = u;
	l->live = cpu->simd.live;
	l->rehearsal.pages = 0;
	take_state(cpu, &l->before);
	if (!repeatable(l, u) || !rehearse(cpu, l, u->ops)) {
		l->by_interpreter++;
		interpret(cpu, u->block);
		return false;
	}
	l->armed = true;
	return true;
}

/* ---- comparison */

struct difference {
	const char *what;
	uint64_t want, got;
};

static bool differ(struct difference *d, const char *what, uint64_t want, uint64_t got)
{
	*d = (struct difference){ what, want, got };
	return want != got;
}

static bool different_simd(const struct simd *want, const struct simd *got, struct difference *d)
{
	static const char *const names[] = {
		"xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
		"xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
	};
	static const char *const st[] = { "st0", "st1", "st2", "st3", "st4", "st5", "st6", "st7" };

	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 4; k++)
			if (differ(d, names[i], want->v[i].q[k], got->v[i].q[k]))
				return true;
	for (unsigned i = 0; i < 8; i++) {
		uint64_t a, b;

		memcpy(&a, want->fx.st[i], 8);
		memcpy(&b, got->fx.st[i], 8);
		if (memcmp(want->fx.st[i], got->fx.st[i], 10)) {
			*d = (struct difference){ st[i], a, b };
			return true;
		}
	}
	return differ(d, "x87 control", want->fx.fcw, got->fx.fcw) || differ(d, "x87 status", want->fx.fsw, got->fx.fsw)
		|| differ(d, "x87 tags", want->fx.ftw, got->fx.ftw) || differ(d, "mxcsr", want->fx.mxcsr, got->fx.mxcsr)
		|| differ(d, "x87 ip", want->fip, got->fip) || differ(d, "x87 dp", want->fdp, got->fdp)
		|| differ(d, "x87 opcode", want->fop, got->fop);
}

static const char *const gpr_names[] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
};

static bool different_state(const struct cpu *want, const struct cpu *got, struct difference *d)
{
	static const char *const segments[SEG_SLOTS] = {
		"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr", "flat", "flat ss", "flat fs", "flat gs",
	};

	for (unsigned i = 0; i < X86_GPRS; i++)
		if (differ(d, gpr_names[i], want->gpr[i].q, got->gpr[i].q))
			return true;
	for (unsigned i = 0; i < SEG_SLOTS; i++)
		if (differ(d, segments[i], want->seg[i].selector, got->seg[i].selector)
		    || differ(d, segments[i], want->seg[i].base, got->seg[i].base))
			return true;
	return differ(d, "rip", want->rip, got->rip) || differ(d, "instructions", want->icount, got->icount)
		|| differ(d, "rflags", cpu_flags(want), cpu_flags(got)) || differ(d, "mode", want->mode, got->mode)
		|| differ(d, "cr2", want->cr2, got->cr2) || differ(d, "shadow", want->shadow, got->shadow)
		|| differ(d, "kernel gs base", want->kernel_gs_base, got->kernel_gs_base)
		|| different_simd(&want->simd, &got->simd, d);
}

static bool different_memory(const struct lockstep *l, struct difference *d)
{
	const struct rehearsed_page *p;
	const uint8_t *at = rehearsal_differs(&l->rehearsal, &p);

	if (!at)
		return false;
	while (*at == p->copy[at - p->host])
		at++;
	*d = (struct difference){ "stored byte", p->copy[at - p->host], *at };
	return true;
}

/* ---- a difference */

static void print_block(struct cpu *cpu, const struct lockstep *l)
{
	const struct block *b = l->unit->block;
	struct mem_page m;

	if (!b)
		return;
	m = mem_lookup(cpu->vcpu->vm->mem, b->gpa & PAGE_FRAME);
	for (unsigned k = 0; m.read && k < l->unit->ops; k++) {
		const struct insn *in = &l->unit->op[k].insn;
		const uint8_t *bytes = m.read + (b->gpa & PAGE_OFFSET) + in->off;
		char text[X86_TEXT_MAX] = "?";
		struct x86_insn x;

		if (x86_decode(bytes, in->len, 64, &x) == X86_DECODE_OK)
			x86_disassemble(&x, l->before.rip + in->off, 64, text, sizeof(text));
		fprintf(stderr, "  %16" PRIx64 "  %s\n", l->before.rip + in->off, text);
	}
}

static void print_state(const char *who, const struct cpu *s)
{
	fprintf(stderr, "  %s: rip %" PRIx64 " rflags %" PRIx64 " instructions %" PRIu64, who, s->rip, cpu_flags(s), s->icount);
	for (unsigned i = 0; i < X86_GPRS; i++)
		fprintf(stderr, "%s%-3s %016" PRIx64, i % 4 ? "  " : "\n    ", gpr_names[i], s->gpr[i].q);
	fputc('\n', stderr);
}

static _Noreturn void stop_here(struct cpu *cpu, struct lockstep *l, const struct difference *d)
{
	fprintf(stderr, "cleave: lock-step: %s differs: interpreter %#" PRIx64 ", translation %#" PRIx64 "; block at %#" PRIx64
		", guest-physical %#" PRIx64 "\n", d->what, d->want, d->got, l->before.rip, l->unit->block ? l->unit->block->gpa : 0);
	print_block(cpu, l);
	print_state("before     ", &l->before);
	print_state("interpreter", &l->after);
	print_state("translation", &l->now);
	snprintf(cpu->vcpu->error, sizeof(cpu->vcpu->error), "lock-step: %s differs in the block at %#" PRIx64, d->what, l->before.rip);
	cpu_unwind(cpu, UNWIND_ERROR);
}

/* As if it had not run; the run loop comes here again. */
static _Noreturn void try_again(struct cpu *cpu, struct lockstep *l)
{
	l->again++;
	rehearsal_undo(&l->rehearsal);
	put_state(cpu, &l->before, l->live);
	cpu_unwind(cpu, UNWIND_BLOCK);
}

static void found(struct cpu *cpu, struct lockstep *l, const struct difference *d)
{
	if (l->tried_at != l->before.icount)
		l->tries = 0;
	l->tried_at = l->before.icount;
	if (++l->tries < TRIES)
		try_again(cpu, l);
	stop_here(cpu, l, d);
}

/* The unit has left after `n` instructions, earlier than the rehearsal: that is repeated up to there. */
static bool shorten(struct cpu *cpu, struct lockstep *l, unsigned n)
{
	bool live = cpu->simd.live, comparable;

	rehearsal_again(&l->rehearsal);
	put_state(cpu, &l->before, l->live);
	comparable = rehearse(cpu, l, n);
	put_state(cpu, &l->now, live);
	return comparable;
}

static void compare(struct cpu *cpu, struct lockstep *l, int unwinds)
{
	struct difference d;
	uint64_t n;
	bool early;

	l->armed = false;
	take_state(cpu, &l->now);
	n = l->now.icount - l->before.icount;
	early = !unwinds && (l->unwinds || n < l->after.icount - l->before.icount);
	if (cpu->mid_string || (early && !shorten(cpu, l, n))) {
		l->passed_over++;
		return;
	}
	l->compared++;
	if (differ(&d, "the way it unwinds", l->unwinds, unwinds)
	    || (unwinds && (differ(&d, "the fault's vector", l->vector, cpu->fault_vector)
			    || differ(&d, "the fault's error code", l->error, cpu->fault_error)))
	    || different_state(&l->after, &l->now, &d) || different_memory(l, &d))
		found(cpu, l, &d);
}

void lockstep_end(struct cpu *cpu, const struct insn *in)
{
	struct lockstep *l = cpu->jit.j->lockstep;

	if (!l || !l->armed)
		return;
	if (in) {
		cpu->rip += in->off;
		cpu->icount += in->n;
	}
	compare(cpu, l, 0);
	if (in) {
		cpu->rip -= in->off;
		cpu->icount -= in->n;
	}
}

void lockstep_unwinds(struct cpu *cpu, int why)
{
	struct lockstep *l = cpu->jit.j ? cpu->jit.j->lockstep : NULL;

	if (!l || !l->armed || why == UNWIND_ERROR)
		return;
	if (why == UNWIND_FAULT) {
		compare(cpu, l, why);
	} else {
		l->armed = false;
		l->passed_over++;
	}
}

/* ---- life */

int lockstep_new(struct cpu *cpu)
{
	static const char *const once[] = { "rdtsc", "rdtscp", "rdmsr", "rdrand", "rdseed" };
	struct lockstep *l = aligned_alloc(64, (sizeof(*l) + 63) & ~(size_t)63);

	if (!l)
		return -ENOMEM;
	memset(l, 0, sizeof(*l));
	l->tells_time = calloc(x86_opcode_rows, sizeof(bool));
	if (!l->tells_time) {
		free(l);
		return -ENOMEM;
	}
	for (unsigned r = 0; r < x86_opcode_rows; r++)
		for (size_t i = 0; i < sizeof(once) / sizeof(once[0]); i++)
			l->tells_time[r] |= !strcmp(x86_opcodes[r].mnemonic, once[i]);
	cpu->jit.j->lockstep = l;
	return 0;
}

void lockstep_free(struct lockstep *l)
{
	if (!l)
		return;
	fprintf(stderr, "cleave: lock-step: %" PRIu64 " units compared, %" PRIu64 " run by the interpreter, %" PRIu64 " passed over, %"
		PRIu64 " repeated\n", l->compared, l->by_interpreter, l->passed_over, l->again);
	free(l->tells_time);
	free(l);
}
