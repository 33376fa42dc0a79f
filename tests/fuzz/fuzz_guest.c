/*
 * tests/fuzz/fuzz_guest.c - a guest that is nothing but hostile bytes.
 *
 * The input fills the places where a processor looks for tables (GDT, IDT,
 * page directory, TSS) and code, and says in which mode it starts.  Whatever
 * the guest does, the engine must neither crash nor hang: it is kicked out
 * after a moment, and its TLB's invariant is checked.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "tests/metal/metal.h"
#include "vmm/inout.h"
#include "vmm/mem.h"
#include "vmm/soft/mmu.h"
#include "vmm/x86/control.h"
#include "vmm/x86/cpuid.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

enum { TABLES = 0x1000, CODE = 0x8000, TSS_AT = 0x3000, DIRECTORY = 0x4000, LEVEL4 = 0x5000, LEVEL3 = 0x6000, STACK = 0x7000, SLICE_US = 200, SLICES = 3 };

static struct metal *m;

/* Beginnings of what reaches the system side; random operand bytes follow. */
static const struct { uint8_t len, bytes[5]; } dictionary[] = {
	{ 2, { 0x0f, 0x01 } }, { 2, { 0x0f, 0x00 } }, { 3, { 0x0f, 0x22, 0xc0 } }, { 3, { 0x0f, 0x22, 0xd8 } },
	{ 3, { 0x0f, 0x22, 0xe0 } }, { 3, { 0x0f, 0x23, 0xf8 } }, { 3, { 0x0f, 0x23, 0xc0 } }, { 2, { 0x8e, 0xd8 } },
	{ 2, { 0x8e, 0xd0 } }, { 1, { 0xcf } }, { 1, { 0xcb } }, { 1, { 0xea } }, { 1, { 0x9a } }, { 2, { 0xff, 0x2d } },
	{ 1, { 0xcd } }, { 1, { 0xcc } }, { 1, { 0xf1 } }, { 1, { 0x9d } }, { 1, { 0xfb } }, { 1, { 0xfa } }, { 1, { 0xf4 } },
	{ 1, { 0x17 } }, { 1, { 0x1f } }, { 2, { 0x0f, 0xb2 } }, { 2, { 0x0f, 0x02 } }, { 2, { 0x0f, 0x03 } }, { 2, { 0xf3, 0x6d } },
	{ 2, { 0xf3, 0x6f } }, { 2, { 0xf3, 0xa5 } }, { 2, { 0xf3, 0xab } }, { 1, { 0x68 } }, { 1, { 0x60 } }, { 1, { 0x61 } },
	{ 1, { 0xb8 } }, { 1, { 0xbc } }, { 1, { 0xa3 } }, { 1, { 0xa1 } }, { 2, { 0xf0, 0xff } }, { 2, { 0x0f, 0xc7 } },
	{ 1, { 0x66 } }, { 1, { 0x67 } }, { 2, { 0xe7, 0x9c } }, { 2, { 0xe7, 0xb0 } }, { 2, { 0xe7, 0xc4 } }, { 2, { 0x0f, 0x30 } },
	{ 2, { 0x0f, 0x05 } }, { 3, { 0x48, 0x0f, 0x07 } }, { 2, { 0x0f, 0x34 } }, { 3, { 0x48, 0x0f, 0x35 } },
	{ 3, { 0x0f, 0x01, 0xf8 } }, { 2, { 0x48, 0xcf } }, { 3, { 0x48, 0xff, 0x2d } }, { 3, { 0x48, 0xff, 0x1d } },
	{ 5, { 0xb9, 0x80, 0x00, 0x00, 0xc0 } }, { 5, { 0xb9, 0x81, 0x00, 0x00, 0xc0 } }, { 5, { 0xb9, 0x01, 0x01, 0x00, 0xc0 } },
	{ 4, { 0xf3, 0x48, 0x0f, 0xae } }, { 4, { 0x66, 0x0f, 0x38, 0x82 } }, { 3, { 0x0f, 0x01, 0xcb } }, { 3, { 0x0f, 0x01, 0x3d } },
	{ 2, { 0x48, 0xb8 } }, { 2, { 0x48, 0xbc } }, { 2, { 0x64, 0x48 } }, { 4, { 0x44, 0x0f, 0x22, 0xc0 } },
	{ 1, { 0xc5 } }, { 2, { 0xc5, 0xfc } }, { 3, { 0xc4, 0xe2, 0x7d } }, { 3, { 0xc4, 0xe3, 0x6d } }, { 5, { 0xc4, 0xe2, 0x6d, 0x90, 0x0c } },
	{ 2, { 0x0f, 0xae } }, { 2, { 0x0f, 0x5e } }, { 2, { 0xd8, 0xf0 } },
};

size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	uint32_t r = n * 2654435761u + 1;
	size_t at = 0;

	if (n >= 32 || cap < 1024)
		return 0;
	buf[at++] = 0x80 | n;
	while (at < 1000) {
		unsigned pick = (r = r * 1664525 + 1013904223) >> 16, operands = r >> 29;

		pick %= sizeof(dictionary) / sizeof(dictionary[0]);
		memcpy(buf + at, dictionary[pick].bytes, dictionary[pick].len);
		at += dictionary[pick].len;
		while (operands-- && at < 1000)
			buf[at++] = (r = r * 1664525 + 1013904223) >> 24;
	}
	return at;
}

static void on_alarm(int sig)
{
	(void)sig;
	vcpu_kick(&m->vcpu);
}

static void slice(unsigned us)
{
	setitimer(ITIMER_REAL, &(struct itimerval) { .it_value.tv_usec = us }, NULL);
}

static void start(void)
{
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK };

	m = metal_new();
	sigaction(SIGALRM, &sa, NULL);
}

/* Repeats the input over a region, so that small inputs reach everything. */
static void fill(uint64_t gpa, size_t len, const uint8_t *data, size_t size)
{
	for (size_t at = 0; at < len; at += size)
		mem_copy_to(m->vm.mem, gpa + at, data, size < len - at ? size : len - at);
}

/* Flat segments that work and an identity map, so that the guest comes further than its first fetch. */
static void good_tables(void)
{
	static const uint64_t gdt[] = {
		0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff,
		0x0000890030000067, 0x00009b000000ffff, 0x000093000000ffff,
		0x00af9b000000ffff, 0x00affb000000ffff, 0x0000890030000067, 0,
	};
	static const uint64_t level4 = LEVEL3 + 7, level3 = 0x87;	/* a page of 1 GiB */
	static const uint32_t tss[] = { 0, STACK, 0x10 }, large = 0x87;

	mem_copy_to(m->vm.mem, TABLES, gdt, sizeof(gdt));
	mem_copy_to(m->vm.mem, TSS_AT, tss, sizeof(tss));
	mem_copy_to(m->vm.mem, DIRECTORY, &large, sizeof(large));
	mem_copy_to(m->vm.mem, LEVEL4, &level4, sizeof(level4));
	mem_copy_to(m->vm.mem, LEVEL3, &level3, sizeof(level3));
}

/* Gates of long mode, into the code, on the running stack or IST1. */
static void good_gates(void)
{
	for (unsigned v = 0; v < 32; v++) {
		uint64_t gate[2] = { (CODE + 64 * v) | 0x400000 | (uint64_t)(0xee00 | (v == 8)) << 32, 0 };

		mem_copy_to(m->vm.mem, TABLES + 0x800 + v * 16, gate, sizeof(gate));
	}
	mem_copy_to(m->vm.mem, TSS_AT + 36, &(uint64_t) { STACK - 0x100 }, 8);
}

static struct x86_segment segment(uint16_t sel, uint32_t attr, bool big)
{
	return (struct x86_segment) { .selector = sel, .limit = big ? 0xffffffff : 0xffff, .attr = attr | (big ? 0xc000 : 0) };
}

static void protected_mode(struct x86_state *s, bool paging, bool user, bool big)
{
	s->cr0 |= X86_CR0_PE | (paging ? X86_CR0_PG : 0);
	s->cr4 = X86_CR4_PSE | X86_CR4_DE;
	s->cr3 = DIRECTORY;
	s->cpl = user ? 3 : 0;
	s->gdtr = (struct x86_table) { .base = TABLES, .limit = 0x7ff };
	s->idtr = (struct x86_table) { .base = TABLES + 0x800, .limit = 0x7ff };
	for (unsigned i = 0; i < X86_LDTR; i++)
		s->seg[i] = segment(user ? 0x23 : 0x10, user ? 0xf3 : 0x93, big);
	s->seg[X86_CS] = segment(user ? 0x1b : 0x08, user ? 0xfb : 0x9b, big);
	s->seg[X86_TR] = (struct x86_segment) { .selector = 0x28, .base = TSS_AT, .limit = 0x67, .attr = 0x8b };
}

static void long_mode(struct x86_state *s, bool user, bool code64)
{
	protected_mode(s, true, user, true);
	s->cr4 = X86_CR4_PAE | X86_CR4_FSGSBASE | X86_CR4_SMAP | X86_CR4_PGE;
	s->cr3 = LEVEL4;
	s->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_SCE | X86_EFER_NXE;
	s->seg[X86_TR].selector = 0x50;
	s->star = 0x0018004000000000;
	s->lstar = CODE + 0x100;
	s->kernel_gs_base = TABLES;
	if (!code64)
		return;
	s->seg[X86_CS].selector = user ? 0x4b : 0x40;
	s->seg[X86_CS].attr = (s->seg[X86_CS].attr & ~X86_ATTR_DB) | X86_ATTR_L;
}

static void enter(uint8_t mode)
{
	struct x86_state s;

	m->vcpu.engine->reset(&m->vcpu);
	m->vcpu.engine->get_state(&m->vcpu, &s);
	s.seg[X86_CS].selector = 0;
	s.seg[X86_CS].base = 0;
	if (mode & 1)
		protected_mode(&s, mode & 2, mode & 4, mode & 8);
	else if (mode & 2)
		long_mode(&s, mode & 4, mode & 8);
	s.rip = CODE;
	s.gpr[X86_RSP] = STACK;
	if (mode & 0x10)
		s.rflags |= X86_RFLAGS_TF;
	if (mode & 0x20)
		s.rflags |= X86_RFLAGS_IF | X86_RFLAGS_IOPL;
	if (mode & 0x40) {
		s.dr[0] = CODE + 16;
		s.dr[1] = STACK - 8;
		s.dr[7] = 0x00f0040f;
	}
	if (mode & 0x80) {
		s.cr4 |= X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
		s.xcr0 = x86_xcr0_bits(X86_LEVEL_ALL);
		s.fpu.mxcsr = 0;			/* every exception is raised */
	}
	if (m->vcpu.engine->set_state(&m->vcpu, &s))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!m)
		start();
	if (size < 2)
		return 0;
	memset(mem_ram(m->vm.mem), 0, 1 << 20);
	m->vcpu.engine->code_changed(&m->vm, 0, METAL_RAM);
	fill(TABLES, 0x6000, data + 1, size - 1);
	fill(CODE, 0x4000, data + 1, size - 1);
	if (data[0] & 0x80)
		good_tables();
	if ((data[0] & 0x83) == 0x82)
		good_gates();
	enter(data[0]);
	for (unsigned i = 0; i < SLICES; i++) {
		enum vcpu_exit e;

		m->vcpu.kick_seen = m->vcpu.kick;
		slice(SLICE_US);
		e = m->vcpu.engine->run(&m->vcpu);
		slice(0);
		mmu_check(m->vcpu.engine_state);
		if (e == EXIT_TRIPLE_FAULT || e == EXIT_HLT_FOREVER || e == EXIT_ERROR)
			break;
		m->vcpu.engine->inject_nmi(&m->vcpu);
	}
	inout_discard(&m->vcpu);
	return 0;
}
