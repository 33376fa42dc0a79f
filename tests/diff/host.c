/* See host.h.  Linux: modify_ldt(2), sigreturn(2), <asm/ucontext.h> on the stack segment's restoring. */
#include "tests/diff/host.h"

#include <asm/ldt.h>
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "vmm/x86/isa.h"

#ifndef UC_STRICT_RESTORE_SS
#define UC_SIGCONTEXT_SS	0x2
#define UC_STRICT_RESTORE_SS	0x4
#endif

enum { LDT_CODE16, LDT_DATA16 };
#define LDT_SELECTOR(n)	((n) << 3 | 7)
enum { USER_CS32 = 0x23, USER_DS = 0x2b, USER_CS64 = 0x33 };

static unsigned modes;
/* raise() is declared a leaf: what the handler shares with its caller must be volatile. */
static struct host_cpu *volatile running;
static struct { uint16_t cs, ss, ds; } selectors[HOST_MODES] = {
	[HOST_16] = { LDT_SELECTOR(LDT_CODE16), LDT_SELECTOR(LDT_DATA16), LDT_SELECTOR(LDT_DATA16) },
	[HOST_32] = { USER_CS32, USER_DS, USER_DS },
	[HOST_64] = { USER_CS64, USER_DS, USER_DS },
};
static volatile enum { IDLE, ENTER, RUNNING } phase;
static volatile enum host_mode mode;
static ucontext_t back;
static struct x86_fxsave back_fpu;
static uint8_t back_ymm_high[16][16];
static volatile bool timed_out;

static const int greg_of[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

/* NT and ID are what sigreturn does not bring back: no case may leave them to the next.  With AC the handler itself would fault. */
static void clear_sticky_flags(void)
{
	__asm__ volatile("pushfq; andq $~0x244000, (%%rsp); popfq" ::: "memory", "cc");
}

/*
 * The frame's x87, SSE and AVX state.  Behind the first two stand an XSAVE header,
 * whose first word says which components are not in their initial state, and AVX's.
 */
static void set_fpu(ucontext_t *uc, const struct x86_fxsave *fx, const uint8_t ymm_high[16][16])
{
	uint8_t *frame = (uint8_t *)uc->uc_mcontext.fpregs;
	uint64_t present;

	memcpy(frame, fx, offsetof(struct x86_fxsave, rest));
	memcpy(&present, frame + X86_XSAVE_HEADER, sizeof(present));
	present |= X86_XSTATE_X87 | X86_XSTATE_SSE;
	if (x86_isa_offered(X86_ISA_AVX)) {
		memcpy(frame + X86_XSAVE_AVX, ymm_high, X86_XSAVE_AVX_BYTES);
		present |= X86_XSTATE_AVX;
	}
	memcpy(frame + X86_XSAVE_HEADER, &present, sizeof(present));
}

static void get_fpu(const ucontext_t *uc, struct x86_fxsave *fx, uint8_t ymm_high[16][16])
{
	const uint8_t *frame = (const uint8_t *)uc->uc_mcontext.fpregs;
	uint64_t present;

	memcpy(fx, frame, sizeof(*fx));
	memcpy(&present, frame + X86_XSAVE_HEADER, sizeof(present));
	memset(ymm_high, 0, X86_XSAVE_AVX_BYTES);
	if (x86_isa_offered(X86_ISA_AVX) && present & X86_XSTATE_AVX)
		memcpy(ymm_high, frame + X86_XSAVE_AVX, X86_XSAVE_AVX_BYTES);
}

static void load_data_segments(uint16_t ds)
{
	__asm__ volatile("movw %0, %%ds; movw %0, %%es" :: "r"(ds));
}

/*
 * SIGUSR1 enters: its frame is kept as the way back and rewritten to the
 * guest's state.  Any fault leaves: the guest's state is read and the frame
 * that was kept goes back to where SIGUSR1 was raised.
 */
static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;

	if (phase == ENTER && sig == SIGUSR1) {
		memcpy(back.uc_mcontext.gregs, g, sizeof(back.uc_mcontext.gregs));
		back.uc_flags = uc->uc_flags;
		get_fpu(uc, &back_fpu, back_ymm_high);
		set_fpu(uc, &running->fpu, running->ymm_high);
		for (int i = 0; i < 16; i++)
			g[greg_of[i]] = running->gpr[i];
		g[REG_RIP] = running->rip;
		g[REG_EFL] = running->rflags;
		g[REG_CSGSFS] = (g[REG_CSGSFS] & 0x0000ffffffff0000ll) | selectors[mode].cs
			| (greg_t)((uint64_t)selectors[mode].ss << 48);
		uc->uc_flags |= UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
		load_data_segments(selectors[mode].ds);
		phase = RUNNING;
		return;
	}
	load_data_segments(USER_DS);
	clear_sticky_flags();
	if (phase != RUNNING) {
		if (sig == SIGALRM)
			return;
		signal(sig, SIG_DFL);		/* our own fault: die of it */
		return;
	}
	if (sig == SIGALRM) {
		timed_out = true;
	} else {
		for (int i = 0; i < 16; i++)
			running->gpr[i] = g[greg_of[i]];
		running->rip = g[REG_RIP];
		running->rflags = g[REG_EFL];
		running->vector = g[REG_TRAPNO];
		running->error = g[REG_ERR];
		running->cr2 = g[REG_CR2];
		get_fpu(uc, &running->fpu, running->ymm_high);
	}
	(void)info;
	memcpy(g, back.uc_mcontext.gregs, sizeof(back.uc_mcontext.gregs));
	uc->uc_flags = back.uc_flags;
	set_fpu(uc, &back_fpu, back_ymm_high);
	phase = IDLE;
}

static int make_segment(unsigned entry, uint32_t base, bool code)
{
	struct user_desc d = {
		.entry_number = entry, .base_addr = base, .limit = 0xffff,
		.contents = code ? MODIFY_LDT_CONTENTS_CODE : MODIFY_LDT_CONTENTS_DATA, .useable = 1,
	};

	return syscall(SYS_modify_ldt, 1, &d, sizeof(d));
}

static void *map_at(uint32_t at, size_t bytes, int prot)
{
	void *p = mmap((void *)(uintptr_t)at, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

int host_init(void)
{
	static const int signals[] = { SIGUSR1, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS, SIGALRM };
	static uint8_t stack_bytes[256 * 1024];
	stack_t stack = { .ss_sp = stack_bytes, .ss_size = sizeof(stack_bytes) };
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };

	if (!map_at(HOST_CODE, HOST_CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC)
	    || !map_at(HOST_DATA, HOST_DATA_BYTES, PROT_READ | PROT_WRITE)) {
		fprintf(stderr, "host: cannot map the test areas: %s\n", strerror(errno));
		return -1;
	}
	if (sigaltstack(&stack, NULL))
		return -1;
	sigemptyset(&action.sa_mask);
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], &action, NULL))
			return -1;

	modes = 1u << HOST_64 | 1u << HOST_32;
	if (make_segment(LDT_CODE16, HOST_CODE, true) || make_segment(LDT_DATA16, HOST_DATA, false))
		fprintf(stderr, "host: modify_ldt: %s: no 16-bit reference here\n", strerror(errno));
	else
		modes |= 1u << HOST_16;
	return 0;
}

unsigned host_modes(void) { return modes; }
uint8_t *host_code(void) { return (uint8_t *)(uintptr_t)HOST_CODE; }
uint8_t *host_data(void) { return (uint8_t *)(uintptr_t)HOST_DATA; }
uint32_t host_code_base(enum host_mode m) { return m == HOST_16 ? HOST_CODE : 0; }
uint32_t host_data_base(enum host_mode m) { return m == HOST_16 ? HOST_DATA : 0; }

const char *host_vendor(void)
{
	static char name[13];
	unsigned max, r[3];

	if (!name[0] && __get_cpuid(0, &max, &r[0], &r[2], &r[1]))
		memcpy(name, r, 12);
	return name;
}

bool host_run(enum host_mode m, struct host_cpu *cpu)
{
	/* Armed once for many runs, each of them microseconds; a tick outside of a run is ignored. */
	const struct itimerval limit = { .it_value = { .tv_sec = 1 } };
	static unsigned runs;

	if (runs++ % 1024 == 0)
		setitimer(ITIMER_REAL, &limit, NULL);
	mode = m;
	running = cpu;
	timed_out = false;
	phase = ENTER;
	raise(SIGUSR1);
	phase = IDLE;
	return !timed_out;
}
