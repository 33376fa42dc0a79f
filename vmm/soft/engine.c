/*
 * vmm/soft/engine.c - the soft engine behind vmm/engine.h, and its run loop.
 *
 * Owns what happens between instructions: requests of other threads, pending
 * traps, NMI, INTR, HLT, and whether the interpreter may run freely or must
 * step.  How an event is delivered is exception.c's, how an instruction is
 * carried out the interpreter's.
 *
 * SDM vol. 3 section 6.9 and table 6-2 (priorities), 6.7.1 (NMI blocking),
 * 6.8.3 (loads of SS), 17.3.1 (debug exceptions, RF), table 9-1 (reset).
 */
#include "vmm/engine.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/apic.h"
#include "vmm/config.h"
#include "vmm/inout.h"
#include "vmm/irq.h"
#include "vmm/mem.h"
#include "vmm/jit/jit.h"
#include "vmm/jit/lockstep.h"
#include "vmm/soft/insn.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/report.h"
#include "vmm/soft/seg.h"
#include "vmm/soft/system.h"
#include "vmm/vm.h"
#include "vmm/x86/control.h"
#include "vmm/x86/cpuid.h"

enum { CHANGES = 256 };	/* a few transactions' */

/* One vCPU of this engine.  Other threads leave their wishes under `lock`, and kick. */
struct soft {
	struct cpu cpu;
	pthread_mutex_t lock;
	_Atomic bool asked;		/* there are some */
	bool a20;
	bool drop_code;			/* all of it: more changes than `change` holds */
	unsigned changes;
	struct { uint64_t gpa, len; } change[CHANGES];
};

static struct soft *soft_of(const struct vcpu *v)
{
	return v->engine_state;
}

static struct cpu *cpu_of(const struct vcpu *v)
{
	return &soft_of(v)->cpu;
}

/* ---- requests of other threads */

static void ask(struct soft *s)
{
	atomic_store_explicit(&s->asked, true, memory_order_release);
	pthread_mutex_unlock(&s->lock);
	vcpu_kick(s->cpu.vcpu);
}

static void soft_code_changed(struct vm *vm, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		struct soft *s = soft_of(&vm->vcpu[i]);

		pthread_mutex_lock(&s->lock);
		if (s->changes < CHANGES) {
			s->change[s->changes].gpa = gpa;
			s->change[s->changes++].len = len;
		} else {
			s->drop_code = true;
		}
		ask(s);
	}
}

static void soft_mark_code(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++)
		mmu_code_pages_mark(cpu_of(&vm->vcpu[i]));
}

static void soft_a20(struct vm *vm, bool on)
{
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		struct soft *s = soft_of(&vm->vcpu[i]);

		pthread_mutex_lock(&s->lock);
		s->a20 = on;
		ask(s);
	}
}

/* The generation tells which; the kick ends the running block. */
static void soft_map_changed(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vcpu_kick(&vm->vcpu[i]);
}

static void soft_inject_nmi(struct vcpu *v)
{
	vcpu_raise_nmi(v);
	vcpu_wake(v);
}

static void drop_changed(struct cpu *cpu, uint64_t gpa, uint64_t len)
{
	while (len) {
		uint64_t n = PAGE_BYTES - (gpa & PAGE_OFFSET);

		if (n > len)
			n = len;
		if (block_invalidate(cpu, gpa, n))
			mmu_code_page_drop(cpu, gpa);
		gpa += n;
		len -= n;
	}
}

static void do_asked(struct soft *s)
{
	struct cpu *cpu = &s->cpu;

	if (!atomic_load_explicit(&s->asked, memory_order_acquire))
		return;
	pthread_mutex_lock(&s->lock);
	for (unsigned i = 0; i < s->changes; i++)
		if (s->change[i].len <= 1 << 20)
			drop_changed(cpu, s->change[i].gpa, s->change[i].len);
		else
			s->drop_code = true;
	if (s->drop_code)
		block_flush(cpu);
	s->changes = 0;
	s->drop_code = false;
	mmu_set_a20(cpu, s->a20);
	atomic_store_explicit(&s->asked, false, memory_order_relaxed);
	pthread_mutex_unlock(&s->lock);
}

static void follow_map(struct cpu *cpu)
{
	uint32_t gen = mem_map_gen(cpu->vcpu->vm->mem);

	if (gen == cpu->mmu.map_gen)
		return;
	cpu->mmu.map_gen = gen;
	mmu_flush(cpu, true);
	block_flush(cpu);
}

/* ---- between instructions */

#define GO_ON EXIT_COUNT

static enum vcpu_exit deliver(struct cpu *cpu, int why)
{
	if (why == UNWIND_PENDING)
		return EXIT_PENDING;
	if (inout_active(cpu->vcpu))
		inout_retire(cpu->vcpu);
	return why == UNWIND_TRIPLE ? EXIT_TRIPLE_FAULT : GO_ON;
}

static enum vcpu_exit take_debug(struct cpu *cpu, uint64_t bits)
{
	cpu->pending_db = 0;
	debug_enter(cpu, bits);
	return deliver(cpu, cpu_deliver(cpu, EVENT_EXCEPTION, X86_DB, 0));
}

static enum vcpu_exit take_fault(struct cpu *cpu)
{
	uint32_t error = fault_error_code(cpu);

	cpu->alone = cpu->resume = false;
	if (inout_active(cpu->vcpu))
		inout_retire(cpu->vcpu);
	if (cpu->fault_vector == X86_DB)
		return take_debug(cpu, cpu->pending_db);
	if (!cpu->entered)
		cpu->pending_db = 0;	/* an instruction that faults has not been done; a new task's T bit stays */
	return deliver(cpu, cpu_deliver(cpu, EVENT_EXCEPTION, cpu->fault_vector, error));
}

/* The instruction or event that was under way is left unretired; nothing of it has happened. */
static enum vcpu_exit unwound(struct cpu *cpu, int why)
{
	switch (why) {
	case UNWIND_FAULT:
		return take_fault(cpu);
	case UNWIND_TRIPLE:
		return EXIT_TRIPLE_FAULT;
	case UNWIND_ERROR:
		return EXIT_ERROR;
	}
	if (cpu->resume)
		cpu->rflags |= X86_RFLAGS_RF;
	cpu->resume = false;
	cpu->pending_db = 0;
	return why == UNWIND_PENDING ? EXIT_PENDING : GO_ON;
}

static bool kicked(const struct vcpu *v)
{
	return atomic_load_explicit(&v->kick, memory_order_relaxed) != v->kick_seen;
}

static bool nmi_waits(const struct vcpu *v)
{
	return atomic_load_explicit(&v->nmi, memory_order_relaxed);
}

static bool debug_on(const struct cpu *cpu)
{
	return cpu->dr[7] & X86_DR7_ENABLED;
}

static bool no_event(const struct cpu *cpu)
{
	return !cpu->pending_db && !nmi_waits(cpu->vcpu) && !irq_pending(cpu->vcpu);
}

/* At most one event, the most urgent: SDM vol. 3 table 6-2. */
static enum vcpu_exit take_event(struct cpu *cpu)
{
	struct vcpu *v = cpu->vcpu;
	bool after_ss = cpu->shadow & SHADOW_SS;

	if (cpu->pending_db && !after_ss) {
		cpu->idle = AWAKE;
		return take_debug(cpu, cpu->pending_db);
	}
	if (nmi_waits(v) && !cpu->nmi_blocked && !after_ss) {
		atomic_store(&v->nmi, 0);
		cpu->idle = AWAKE;
		cpu->nmi_blocked = true;
		return deliver(cpu, cpu_deliver(cpu, EVENT_NMI, X86_NMI, 0));
	}
	if ((v->debug.step || v->debug.pass) && cpu->idle == AWAKE)
		return GO_ON;		/* the debugger's step is the program's next instruction */
	if (irq_pending(v) && (cpu->rflags & X86_RFLAGS_IF) && !cpu->shadow) {
		cpu->idle = AWAKE;
		return deliver(cpu, cpu_deliver(cpu, EVENT_EXTERNAL, irq_acknowledge(v), 0));
	}
	return GO_ON;
}

static enum vcpu_exit stop(struct cpu *cpu, enum vcpu_stop why)
{
	cpu->vcpu->debug.why = why;
	return EXIT_DEBUG;
}

static bool debug_stops(const struct vcpu_debug *d)
{
	return !d->step && !d->pass;
}

static enum vcpu_exit boundary(struct cpu *cpu)
{
	enum vcpu_exit e;

	/* What has begun an access is finished before anything else, a pause included. */
	if (inout_active(cpu->vcpu))
		inout_rerun(cpu->vcpu);
	if (cpu->event.kind != EVENT_NONE)
		return deliver(cpu, cpu_deliver_again(cpu));
	if (inout_active(cpu->vcpu)) {
		cpu->alone = true;
		return GO_ON;
	}
	if (kicked(cpu->vcpu))
		return EXIT_KICKED;
	if (!no_event(cpu)) {
		e = take_event(cpu);
		if (e != GO_ON)
			return e;
	}
	if (cpu->idle == IN_HLT)
		return cpu->rflags & X86_RFLAGS_IF ? EXIT_HLT : EXIT_HLT_FOREVER;
	if (cpu->idle == IN_MWAIT) {
		cpu->idle = AWAKE;
		return EXIT_MWAIT;
	}
	if (debug_on(cpu) && !(cpu->rflags & X86_RFLAGS_RF) && debug_execution(cpu))
		return take_debug(cpu, debug_execution(cpu));
	if (cpu->vcpu->debug.nbreaks && debug_stops(&cpu->vcpu->debug) && debug_break_here(cpu)) {
		cpu->vcpu->debug.pass = true;
		return stop(cpu, STOP_BREAK);
	}
	return GO_ON;
}

/* An instruction is done, or has faulted and its handler is entered. */
static enum vcpu_exit debug_after(struct cpu *cpu)
{
	struct vcpu_debug *d = &cpu->vcpu->debug;

	d->pass = false;
	if (d->watched)
		return stop(cpu, STOP_WATCH);
	return d->step ? stop(cpu, STOP_STEP) : GO_ON;
}

/* ---- running */

/* Something is looked at behind each instruction, and each element of a repeated string. */
static bool each_is_watched(const struct cpu *cpu)
{
	return cpu->shadow || (cpu->rflags & X86_RFLAGS_TF) || debug_on(cpu)
		|| cpu->vcpu->debug.step || cpu->vcpu->debug.pass || cpu->vcpu->debug.nwatches || cpu->at_break;
}

static bool must_step(const struct cpu *cpu)
{
	return each_is_watched(cpu) || cpu->alone || (cpu->rflags & X86_RFLAGS_RF)
		|| nmi_waits(cpu->vcpu);	/* blocked: the free run would stop for it each time */
}

/* Between elements of a repeated string an event is taken with RF set: the instruction's breakpoint has been seen. */
static void leave_instruction(struct cpu *cpu)
{
	if (cpu->mid_string)
		cpu->rflags |= X86_RFLAGS_RF;
	cpu->mid_string = false;
	cpu->shadow = cpu->shadow & SHADOW_NEW ? cpu->shadow & ~SHADOW_NEW : 0;
}

static void step(struct cpu *cpu)
{
	bool tf = cpu->rflags & X86_RFLAGS_TF;

	cpu->each = each_is_watched(cpu);
	cpu->resume = cpu->rflags & X86_RFLAGS_RF;	/* for one instruction */
	cpu->rflags &= ~(uint64_t)X86_RFLAGS_RF;
	cpu->entered = false;
	cpu->at_break = cpu->vcpu->debug.watched = false;
	interp_step(cpu);
	if (tf && !cpu->entered)
		cpu->pending_db |= X86_DR6_BS;
	cpu->resume = cpu->alone = false;
	leave_instruction(cpu);
	if (inout_active(cpu->vcpu))
		inout_retire(cpu->vcpu);
}

static enum vcpu_exit execute(struct cpu *cpu)
{
	if (must_step(cpu)) {
		step(cpu);
		return debug_after(cpu);
	}
	cpu->entered = false;
	interp_run(cpu);
	leave_instruction(cpu);
	return GO_ON;
}

static enum vcpu_exit soft_run(struct vcpu *v)
{
	struct cpu *cpu = cpu_of(v);
	enum vcpu_exit e;
	int why;

	do_asked(soft_of(v));
	follow_map(cpu);
	why = _setjmp(cpu->jmp);
	e = why ? unwound(cpu, why) : GO_ON;
	if (why == UNWIND_FAULT && e == GO_ON)
		e = debug_after(cpu);
	while (e == GO_ON) {
		e = boundary(cpu);
		if (e == GO_ON)
			e = execute(cpu);
	}
	simd_leave(cpu);
	return e;
}

/* ---- state */

static void reset_segment(struct cpu *cpu, unsigned seg, uint16_t sel, uint32_t base, uint32_t attr)
{
	cpu->seg[seg] = (struct seg) { .selector = sel, .base = base, .limit = 0xffff, .attr = attr };
	seg_update(cpu, seg);
}

static void soft_reset(struct vcpu *v)
{
	struct cpu *cpu = cpu_of(v);
	const uint32_t data = X86_ATTR_P | X86_ATTR_S | X86_TYPE_WRITABLE | X86_TYPE_ACCESSED;

	for (unsigned i = 0; i < GPR_SLOTS; i++)
		cpu->gpr[i].q = 0;
	cpu->gpr[GPR_2G].q = 1ull << 31;
	cpu->gpr[X86_RDX].q = X86_SIGNATURE;
	cpu->rip = 0xfff0;
	cpu->insn = NULL;
	cpu_set_flags(cpu, 0);
	for (unsigned i = SEG_FLAT; i < SEG_SLOTS; i++)
		cpu->seg[i] = (struct seg) { .rend = ~0ull, .wend = ~0ull };
	for (unsigned i = 0; i < X86_LDTR; i++)
		reset_segment(cpu, i, 0, 0, data);
	reset_segment(cpu, X86_CS, 0xf000, 0xffff0000, data);
	reset_segment(cpu, X86_LDTR, 0, 0, X86_ATTR_P | X86_SYS_LDT);
	reset_segment(cpu, X86_TR, 0, 0, X86_ATTR_P | X86_SYS_TSS32_BUSY);
	cpu->gdtr = cpu->idtr = (struct x86_table) { .limit = 0xffff };
	cpu->cr0 = X86_CR0_ET | X86_CR0_CD | X86_CR0_NW;
	cpu->cr2 = cpu->cr3 = cpu->cr4 = cpu->efer = 0;
	for (unsigned i = 0; i < 8; i++)
		cpu->dr[i] = 0;
	cpu->dr[6] = X86_DR6_ONES;
	cpu->dr[7] = X86_DR7_ONES;
	msr_reset(cpu);
	cpu->shadow = 0;
	cpu->nmi_blocked = cpu->monitoring = cpu->ext = cpu->resume = cpu->alone = cpu->entered = false;
	cpu->idle = AWAKE;
	cpu->pending_db = 0;
	cpu->event.kind = EVENT_NONE;
	simd_reset(cpu);
	cpu_update_mode(cpu);
	mmu_flush(cpu, true);
	block_flush(cpu);
}

static void soft_get_state(struct vcpu *v, struct x86_state *s)
{
	const struct cpu *cpu = cpu_of(v);

	*s = (struct x86_state) {
		.rip = cpu->rip, .rflags = cpu_flags(cpu), .gdtr = cpu->gdtr, .idtr = cpu->idtr,
		.cr0 = cpu->cr0, .cr2 = cpu->cr2, .cr3 = cpu->cr3, .cr4 = cpu->cr4, .cr8 = apic_cr8(v), .efer = cpu->efer,
		.tsc = cpu_tsc(cpu),
		.sysenter_cs = cpu->sysenter_cs, .sysenter_esp = cpu->sysenter_esp, .sysenter_eip = cpu->sysenter_eip,
		.star = cpu->star, .lstar = cpu->lstar, .cstar = cpu->cstar, .sfmask = cpu->sfmask,
		.kernel_gs_base = cpu->kernel_gs_base, .tsc_aux = cpu->tsc_aux, .pat = cpu->pat,
		.mtrr_def_type = cpu->mtrr.def_type,
		.halted = cpu->idle == IN_HLT, .sti_shadow = cpu->shadow, .nmi_blocked = cpu->nmi_blocked, .cpl = cpu->cpl,
	};
	simd_get(cpu, &s->fpu);
	for (unsigned i = 0; i < 16; i++)
		memcpy(s->ymm_high[i], cpu->simd.v[i].b + 16, 16);
	s->xcr0 = cpu->simd.xcr0;
	for (unsigned i = 0; i < X86_GPRS; i++)
		s->gpr[i] = cpu->gpr[i].q;
	for (unsigned i = 0; i < 8; i++)
		s->dr[i] = cpu->dr[i];
	for (unsigned i = 0; i < X86_SEGS; i++)
		s->seg[i] = (struct x86_segment) {
			.base = cpu->seg[i].base, .limit = cpu->seg[i].limit,
			.attr = cpu->seg[i].attr, .selector = cpu->seg[i].selector,
		};
}

enum { EFER_BITS = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE };

static int soft_set_state(struct vcpu *v, const struct x86_state *s)
{
	struct cpu *cpu = cpu_of(v);
	const struct x86_limits limits = {
		.cr4 = x86_cr4_bits(cpu->level), .efer = EFER_BITS, .xcr0 = x86_xcr0_bits(cpu->level) | X86_XSTATE_X87,
		.phys_bits = X86_PHYS_BITS,
	};

	if (!x86_state_possible(s, &limits))
		return -EINVAL;
	for (unsigned i = 0; i < X86_GPRS; i++)
		cpu->gpr[i].q = s->gpr[i];
	for (unsigned i = 0; i < 8; i++)
		cpu->dr[i] = i < 4 ? s->dr[i] : (uint32_t)s->dr[i];
	for (unsigned i = 0; i < X86_SEGS; i++) {
		cpu->seg[i] = (struct seg) {
			.base = s->seg[i].base, .limit = s->seg[i].limit,
			.attr = s->seg[i].attr, .selector = s->seg[i].selector,
		};
		seg_update(cpu, i);
	}
	cpu->rip = s->rip;
	cpu_set_flags(cpu, s->rflags);
	cpu->gdtr = s->gdtr;
	cpu->idtr = s->idtr;
	cpu->cr0 = s->cr0 | X86_CR0_ET;
	cpu->cr2 = s->cr2;
	cpu->cr3 = s->cr3;
	cpu->cr4 = s->cr4;
	apic_set_cr8(v, s->cr8);
	cpu->efer = s->efer;
	cpu->star = s->star;
	cpu->lstar = s->lstar;
	cpu->cstar = s->cstar;
	cpu->sfmask = s->sfmask;
	cpu->kernel_gs_base = s->kernel_gs_base;
	cpu->tsc_aux = s->tsc_aux;
	cpu->pat = s->pat;
	cpu->mtrr.def_type = s->mtrr_def_type;
	simd_set(cpu, &s->fpu);
	for (unsigned i = 0; i < 16; i++)
		memcpy(cpu->simd.v[i].b + 16, s->ymm_high[i], 16);
	cpu->simd.xcr0 = s->xcr0;
	cpu->sysenter_cs = s->sysenter_cs;
	cpu->sysenter_esp = s->sysenter_esp;
	cpu->sysenter_eip = s->sysenter_eip;
	cpu->tsc_offset += s->tsc - cpu_tsc(cpu);
	cpu->idle = s->halted ? IN_HLT : AWAKE;
	cpu->shadow = s->sti_shadow ? SHADOW_STI : 0;
	cpu->nmi_blocked = s->nmi_blocked;
	cpu->cpl = s->cpl;
	cpu->pending_db = 0;
	cpu->event.kind = EVENT_NONE;
	cpu_update_mode(cpu);
	mmu_flush(cpu, true);
	return 0;
}

static int soft_translate(struct vcpu *v, uint64_t linear, uint64_t *gpa)
{
	return mmu_translate(cpu_of(v), linear, gpa) ? 0 : -EFAULT;
}

static int soft_debug_changed(struct vcpu *v)
{
	mmu_flush(cpu_of(v), true);
	block_flush(cpu_of(v));
	return 0;
}

static uint64_t soft_instructions(const struct vcpu *v)
{
	return cpu_of(v)->icount;
}

/* ---- life */

/* A level is wanted whole or not at all. */
static int soft_vm_new(struct vm *vm, char *err, size_t errlen)
{
	unsigned level = vm->config->cpu;
	int highest = x86_level_complete();

	if (level >= X86_LEVEL_ALL || (int)level <= highest)
		return 0;
	snprintf(err, errlen, "cpu=%s: some of its instructions do not work here; take cpu=%s", x86_level_names[level],
		 x86_level_names[highest < 0 ? X86_LEVEL_ALL : highest]);
	return -ENOTSUP;
}

static void soft_vcpu_free(struct vcpu *v)
{
	struct soft *s = soft_of(v);

	if (!s)
		return;
	block_cache_free(&s->cpu);
	jit_free(&s->cpu);
	mmu_fini(&s->cpu);
	pthread_mutex_destroy(&s->lock);
	mmu_room_free(s);
	v->calm = NULL;
	v->engine_state = NULL;
}

/* Without one the interpreter does it all, and the log says why. */
static int translator_new(struct cpu *cpu, const struct config *c)
{
	const char *why;
	int err = jit_new(cpu, c->jit_cache, c->jit_threshold, &why);

	if (!err && c->jit_lockstep)
		err = lockstep_new(cpu);
	if (!err)
		return jit_record(cpu, &(struct jit_records){ .dump = c->jit_dump, .first = c->jit_dump_range[0],
							      .last = c->jit_dump_range[1], .perf = c->jit_perf });
	if (err != -ENOTSUP)
		return err;
	fprintf(stderr, "cleave: no translation of hot code: %s\n", why);
	return 0;
}

static int soft_vcpu_new(struct vcpu *v)
{
	struct soft *s = mmu_room_new(sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	*s = (struct soft) { .a20 = true, .cpu.vcpu = v, .cpu.level = v->vm->config ? v->vm->config->cpu : X86_LEVEL_ALL };
	pthread_mutex_init(&s->lock, NULL);
	v->engine_state = s;
	v->calm = &s->cpu.jit.calm;
	err = mmu_init(&s->cpu);
	if (!err)
		err = block_cache_new(&s->cpu);
	if (!err && v->vm->config && v->vm->config->jit)
		err = translator_new(&s->cpu, v->vm->config);
	if (err) {
		soft_vcpu_free(v);
		return err;
	}
	soft_reset(v);
	return 0;
}

const struct engine_ops soft_engine = {
	.name = "soft",
	.vm_new = soft_vm_new,
	.vcpu_new = soft_vcpu_new,
	.vcpu_free = soft_vcpu_free,
	.reset = soft_reset,
	.run = soft_run,
	.get_state = soft_get_state,
	.set_state = soft_set_state,
	.translate = soft_translate,
	.debug_changed = soft_debug_changed,
	.inject_nmi = soft_inject_nmi,
	.code_changed = soft_code_changed,
	.mark_code = soft_mark_code,
	.map_changed = soft_map_changed,
	.a20 = soft_a20,
	.instructions = soft_instructions,
	.report = soft_report,
	.summary = soft_summary,
};
