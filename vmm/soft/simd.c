/*
 * vmm/soft/simd.c - see simd.h.
 *
 * SDM vol. 1 section 8.7 (x87 exceptions), 11.5 (SSE exceptions), vol. 3 ch. 2.5
 * (EM, MP, TS, NE), 13.1 (OSFXSR, OSXMMEXCPT).
 *
 * With CR0.NE clear, too, a pending x87 exception is #MF: there is no FERR# that
 * leads to the interrupt controller.
 */
#include "vmm/soft/simd.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "vmm/jit/jit.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/thread.h"
#include "vmm/x86/control.h"
#include "vmm/x86/exception.h"

enum { IMAGE_X87 = offsetof(struct x86_fxsave, xmm) };	/* bytes that hold x87 and MXCSR */

static __thread struct cpu *live_cpu;		/* whose state is live */
static __thread struct cpu *divides;		/* whose translated code this thread runs */
static struct sigaction before;		/* what handled SIGFPE */

/* ---- live or not */

static void host_load(const struct x86_fxsave *fx)
{
	__asm__ volatile("fxrstor64 %0" :: "m"(*fx)
			 : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
			   "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory");
}

static void host_save(struct x86_fxsave *fx)
{
	__asm__ volatile("fxsave64 %0" : "=m"(*fx) :: "memory");
}

static void host_default(void)
{
	uint32_t mxcsr = X86_MXCSR_RESET;

	__asm__ volatile("fninit\n\tldmxcsr %0" :: "m"(mxcsr) : "memory");
}

static void on_sigfpe(int, siginfo_t *, void *);

static void install(void)
{
	struct sigaction sa = { .sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	sigemptyset(&sa.sa_mask);
	sigaction(SIGFPE, &sa, &before);
}

/*
 * As late as can be, in front of whatever stands there by now.  vCPU threads
 * block every signal; one that the instruction itself raises must come through.
 */
static void catch_sigfpe(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	static __thread bool done;
	sigset_t set;

	if (done)
		return;
	pthread_once(&once, install);
	sigemptyset(&set);
	sigaddset(&set, SIGFPE);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	done = true;
}

void simd_catch(struct cpu *cpu)
{
	catch_sigfpe();
	divides = cpu;
}

void simd_live(struct cpu *cpu)
{
	if (cpu->simd.live)
		return;
	catch_sigfpe();
	host_load(&cpu->simd.fx);
	live_cpu = cpu;
	cpu->simd.live = true;
	simd_update(cpu);
}

void simd_leave(struct cpu *cpu)
{
	if (!cpu->simd.live)
		return;
	host_save(&cpu->simd.fx);
	host_default();
	live_cpu = NULL;
	cpu->simd.live = false;
	simd_update(cpu);
}

static void on_sigfpe(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	struct cpu *cpu = live_cpu;
	const void *on = divides && info->si_code == FPE_INTDIV ? jit_fault_at(divides, uc->uc_mcontext.gregs[REG_RIP]) : NULL;

	if (on) {
		uc->uc_mcontext.gregs[REG_RIP] = (uintptr_t)on;
		return;
	}
	if (!cpu || info->si_code <= 0 || uc->uc_mcontext.gregs[REG_TRAPNO] != X86_XM) {	/* sent, or no guest's */
		if (before.sa_flags & SA_SIGINFO)
			before.sa_sigaction(sig, info, context);
		else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN)
			before.sa_handler(sig);
		else
			signal(sig, SIG_DFL);	/* and come again */
		return;
	}
	memcpy(&cpu->simd.fx, uc->uc_mcontext.fpregs, IMAGE_X87);
	live_cpu = NULL;
	cpu->simd.live = false;
	simd_update(cpu);
	cpu_fault(cpu, cpu->cr4 & X86_CR4_OSXMMEXCPT ? X86_XM : X86_UD, 0);
}

/* ---- permission */

/* VEX is no prefix in real and virtual-8086 mode. */
static bool avx_enabled(const struct cpu *cpu)
{
	const uint64_t state = X86_XSTATE_SSE | X86_XSTATE_AVX;

	return cpu->pe && !cpu->v86 && cpu->cr4 & X86_CR4_OSXSAVE && (cpu->simd.xcr0 & state) == state;
}

void simd_update(struct cpu *cpu)
{
	struct simd *s = &cpu->simd;
	bool off = cpu->cr0 & (X86_CR0_EM | X86_CR0_TS);
	uint8_t cold = s->live ? 0 : SIMD_COLD;
	bool masked = (simd_mxcsr(cpu) & X86_MXCSR_MASKS) == X86_MXCSR_MASKS;

	s->x87_slow = (off ? SIMD_DENIED : 0) | cold | (s->unmasked ? SIMD_UNMASKED : 0);
	s->sse_slow = (off || !(cpu->cr4 & X86_CR4_OSFXSR) ? SIMD_DENIED : 0) | cold;
	s->avx_slow = (cpu->cr0 & X86_CR0_TS || !avx_enabled(cpu) ? SIMD_DENIED : 0) | cold;
	s->x87_go = !s->x87_slow;
	s->sse_go = !s->sse_slow && masked;
	s->avx_go = !s->avx_slow && masked;
}

static uint16_t live_status(void)
{
	uint16_t sw;

	__asm__ volatile("fnstsw %0" : "=a"(sw));
	return sw;
}

static void check_pending(struct cpu *cpu)
{
	if (cpu->simd.unmasked && live_status() & X86_FSW_ES)
		cpu_fault(cpu, X86_MF, 0);
}

void x87_enter(struct cpu *cpu, const struct insn *in)
{
	cpu->insn = in;
	if (cpu->cr0 & (X86_CR0_EM | X86_CR0_TS))
		cpu_fault(cpu, X86_NM, 0);
	simd_live(cpu);
	check_pending(cpu);
}

void mmx_enter(struct cpu *cpu, const struct insn *in)
{
	cpu->insn = in;
	if (cpu->cr0 & X86_CR0_EM)
		cpu_fault(cpu, X86_UD, 0);
	x87_enter(cpu, in);
}

void sse_enter(struct cpu *cpu, const struct insn *in)
{
	cpu->insn = in;
	if (cpu->cr0 & X86_CR0_EM || !(cpu->cr4 & X86_CR4_OSFXSR))
		cpu_fault(cpu, X86_UD, 0);
	if (cpu->cr0 & X86_CR0_TS)
		cpu_fault(cpu, X86_NM, 0);
	simd_live(cpu);
}

void avx_enter(struct cpu *cpu, const struct insn *in)
{
	cpu->insn = in;
	if (!avx_enabled(cpu))
		cpu_fault(cpu, X86_UD, 0);
	if (cpu->cr0 & X86_CR0_TS)
		cpu_fault(cpu, X86_NM, 0);
	simd_live(cpu);
}

void simd_check_nm(struct cpu *cpu)
{
	if (cpu->cr0 & (X86_CR0_EM | X86_CR0_TS))
		cpu_fault(cpu, X86_NM, 0);
}

void x87_control_changed(struct cpu *cpu)
{
	uint16_t cw;

	__asm__ volatile("fnstcw %0" : "=m"(cw));
	cpu->simd.unmasked = ~cw & X86_FCW_MASKS;
	simd_update(cpu);
}

/* ---- images */

void simd_image(struct cpu *cpu, struct x86_fxsave *out)
{
	struct simd *s = &cpu->simd;

	if (s->live)
		host_save(&s->fx);
	simd_get(cpu, out);
}

void simd_get(const struct cpu *cpu, struct x86_fxsave *out)
{
	const struct simd *s = &cpu->simd;

	memset(out, 0, sizeof(*out));
	memcpy(out, &s->fx, IMAGE_X87);
	out->reserved = 0;
	out->fop = s->fop;
	out->fip = s->fip;
	out->fdp = s->fdp;
	out->mxcsr_mask = X86_MXCSR_VALID;
	for (unsigned i = 0; i < 8; i++)
		memset(out->st[i] + 10, 0, 6);
	for (unsigned i = 0; i < 16; i++)
		memcpy(out->xmm[i], s->v[i].b, 16);
}

/* The image's x87, with what a processor makes of reserved bits and of ES. */
static void set_x87(struct simd *s, const struct x86_fxsave *fx)
{
	uint32_t mxcsr = s->fx.mxcsr;

	memcpy(&s->fx, fx, IMAGE_X87);
	s->fx.mxcsr = mxcsr;
	s->fx.fcw = (fx->fcw & X86_FCW_VALID) | X86_FCW_RESERVED;
	s->fx.fsw &= ~(X86_FSW_ES | X86_FSW_B);
	if (fx->fsw & ~fx->fcw & X86_FCW_MASKS)
		s->fx.fsw |= X86_FSW_ES | X86_FSW_B;
	s->fop = fx->fop & 0x7ff;
	s->fip = fx->fip;
	s->fdp = fx->fdp;
	s->unmasked = ~fx->fcw & X86_FCW_MASKS;
}

void simd_load_x87(struct cpu *cpu, const struct x86_fxsave *fx)
{
	simd_leave(cpu);
	set_x87(&cpu->simd, fx);
	simd_update(cpu);
}

void simd_set(struct cpu *cpu, const struct x86_fxsave *fx)
{
	simd_load_x87(cpu, fx);
	cpu->simd.fx.mxcsr = fx->mxcsr & X86_MXCSR_VALID;
	for (unsigned i = 0; i < 16; i++)
		memcpy(cpu->simd.v[i].b, fx->xmm[i], 16);
}

uint32_t simd_mxcsr(struct cpu *cpu)
{
	uint32_t v = cpu->simd.fx.mxcsr;

	if (cpu->simd.live)
		__asm__ volatile("stmxcsr %0" : "=m"(v));
	return v;
}

void simd_set_mxcsr(struct cpu *cpu, uint32_t v)
{
	cpu->simd.fx.mxcsr = v;
	if (cpu->simd.live)
		__asm__ volatile("ldmxcsr %0" :: "m"(v) : "memory");
	simd_update(cpu);
}

void simd_reset(struct cpu *cpu)
{
	simd_leave(cpu);
	memset(&cpu->simd, 0, sizeof(cpu->simd));
	cpu->simd.fx.fcw = X86_FCW_RESET;
	cpu->simd.fx.ftw = 0xff;		/* +0.0, all of them valid */
	cpu->simd.fx.mxcsr = X86_MXCSR_RESET;
	cpu->simd.unmasked = true;
	cpu->simd.xcr0 = X86_XSTATE_X87;
	simd_update(cpu);
}

/* ---- operands */

static uint64_t vec_linear(struct cpu *cpu, const struct insn *in, unsigned size, bool aligned, bool write)
{
	uint64_t ea = insn_ea(cpu, in), lin;

	if (aligned && ((cpu->seg[in->seg].base + ea) & (size - 1)))
		cpu_fault(cpu, X86_GP, 0);	/* before the segment's limit is looked at */
	lin = mmu_linear(cpu, in->seg, ea, size, write);
	if (size <= 8)
		mmu_check_alignment(cpu, lin, size);
	return lin;
}

void vec_load(struct cpu *cpu, const struct insn *in, void *to, unsigned size, bool aligned)
{
	uint64_t lin = vec_linear(cpu, in, size, aligned, false);
	struct mmu_held held;

	mmu_probe_read(cpu, lin, size, &held);
	mmu_held_load(cpu, &held, to);
}

void vec_probe_store(struct cpu *cpu, const struct insn *in, unsigned size, bool aligned, struct mmu_held *held)
{
	mmu_probe_write(cpu, vec_linear(cpu, in, size, aligned, true), size, held);
}

void vec_store(struct cpu *cpu, const struct insn *in, const void *from, unsigned size, bool aligned)
{
	struct mmu_held held;

	vec_probe_store(cpu, in, size, aligned, &held);
	mmu_held_store(cpu, &held, from);
}
