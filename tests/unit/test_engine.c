/*
 * The soft engine through its table: reset state, state in and out, states
 * that cannot be, translation for debuggers, kicks, NMI, HLT and what other
 * threads ask for.  (What instructions do is tests/metal's.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "tests/metal/metal.h"
#include "vmm/irq.h"
#include "vmm/mem.h"
#include "vmm/soft/mmu.h"
#include "vmm/x86/control.h"
#include "vmm/x86/cpuid.h"

static const struct engine_ops *const engine = &soft_engine;

static int setup(void **state)
{
	*state = metal_new();
	return 0;
}

static int teardown(void **state)
{
	metal_free(*state);
	return 0;
}

static struct x86_state get(struct metal *m)
{
	struct x86_state s;

	engine->get_state(&m->vcpu, &s);
	return s;
}

static void code(struct metal *m, const void *bytes, size_t len)
{
	assert_true(mem_copy_to(m->vm.mem, METAL_LOAD, bytes, len));
	engine->code_changed(&m->vm, METAL_LOAD, len);
	metal_enter(m, 0, METAL_LOAD);
}
#define CODE(m, ...) code(m, (const uint8_t[]) { __VA_ARGS__ }, sizeof((const uint8_t[]) { __VA_ARGS__ }))

static enum vcpu_exit run(struct metal *m)
{
	m->vcpu.kick_seen = m->vcpu.kick;
	return engine->run(&m->vcpu);
}

/* SDM vol. 3 table 9-1 */
static void test_reset(void **state)
{
	struct metal *m = *state;
	struct x86_state s;

	CODE(m, 0xfa, 0xf4);
	run(m);
	engine->reset(&m->vcpu);
	s = get(m);
	assert_int_equal(s.rip, 0xfff0);
	assert_int_equal(s.rflags, 2);
	assert_int_equal(s.seg[X86_CS].selector, 0xf000);
	assert_int_equal(s.seg[X86_CS].base, 0xffff0000);
	assert_int_equal(s.seg[X86_CS].limit, 0xffff);
	assert_int_equal(s.seg[X86_SS].attr, 0x93);
	assert_int_equal(s.seg[X86_TR].attr, 0x8b);
	assert_int_equal(s.seg[X86_LDTR].attr, 0x82);
	assert_int_equal(s.cr0, 0x60000010);
	assert_int_equal(s.cr2 | s.cr3 | s.cr4 | s.efer, 0);
	assert_int_equal(s.gpr[X86_RDX], X86_SIGNATURE);
	assert_int_equal(s.gpr[X86_RAX] | s.gpr[X86_RSP], 0);
	assert_int_equal(s.gdtr.limit, 0xffff);
	assert_int_equal(s.idtr.limit, 0xffff);
	assert_int_equal(s.dr[6], 0xffff0ff0);
	assert_int_equal(s.dr[7], 0x400);
	assert_false(s.halted || s.sti_shadow || s.nmi_blocked);
}

static struct x86_state some_state(struct metal *m)
{
	struct x86_state s = get(m);

	for (unsigned i = 0; i <= X86_RDI; i++)
		s.gpr[i] = 0x11111111u * i;
	for (unsigned i = 0; i < X86_SEGS; i++)
		s.seg[i] = (struct x86_segment) { .base = i << 20, .limit = 0xffff + i, .attr = 0x40f3, .selector = i * 8 + 3 };
	s.seg[X86_FS] = (struct x86_segment) { .selector = 3, .attr = X86_ATTR_UNUSABLE };
	s.rip = 0x1234;
	s.rflags = 0x246c2 | X86_RFLAGS_AC | X86_RFLAGS_CF;
	s.rflags &= ~(uint64_t)X86_RFLAGS_VM;
	s.gdtr = (struct x86_table) { 0x1000, 0x7f };
	s.idtr = (struct x86_table) { 0x2000, 0x7ff };
	s.cr0 = 0x80000011;
	s.cr2 = 0xdead0000;
	s.cr3 = 0x5000;
	s.cr4 = X86_CR4_PSE;
	s.dr[0] = 0x4444;
	s.dr[7] = 0x401;
	s.fpu.mxcsr = 0x1fa0;
	memset(s.fpu.xmm, 0x33, sizeof(s.fpu.xmm));
	memset(s.ymm_high, 0x44, sizeof(s.ymm_high));
	s.xcr0 = 3;
	s.cpl = 3;
	s.halted = s.sti_shadow = s.nmi_blocked = true;
	return s;
}

static void test_state_round_trip(void **state)
{
	struct metal *m = *state;
	struct x86_state in = some_state(m), out;

	assert_int_equal(engine->set_state(&m->vcpu, &in), 0);
	out = get(m);
	assert_true(out.tsc >= in.tsc);
	out.tsc = in.tsc;
	assert_memory_equal(in.gpr, out.gpr, sizeof(in.gpr));
	assert_memory_equal(in.dr, out.dr, sizeof(in.dr));
	for (unsigned i = 0; i < X86_SEGS; i++) {
		assert_int_equal(in.seg[i].base, out.seg[i].base);
		assert_int_equal(in.seg[i].limit, out.seg[i].limit);
		assert_int_equal(in.seg[i].attr, out.seg[i].attr);
		assert_int_equal(in.seg[i].selector, out.seg[i].selector);
	}
	assert_int_equal(in.rip, out.rip);
	assert_int_equal(in.rflags, out.rflags);
	assert_int_equal(in.gdtr.base, out.gdtr.base);
	assert_int_equal(in.idtr.limit, out.idtr.limit);
	assert_int_equal(in.cr0, out.cr0);
	assert_int_equal(in.cr2, out.cr2);
	assert_int_equal(in.cr3, out.cr3);
	assert_int_equal(in.cr4, out.cr4);
	assert_int_equal(in.cpl, out.cpl);
	assert_int_equal(out.fpu.mxcsr, in.fpu.mxcsr);
	assert_memory_equal(in.fpu.xmm, out.fpu.xmm, sizeof(in.fpu.xmm));
	assert_memory_equal(in.ymm_high, out.ymm_high, sizeof(in.ymm_high));
	assert_int_equal(in.xcr0, out.xcr0);
	assert_true(out.halted && out.sti_shadow && out.nmi_blocked);
}

static void to_long(struct x86_state *s)
{
	s->cr0 |= X86_CR0_PG | X86_CR0_PE;
	s->cr4 = X86_CR4_PAE;
	s->efer = X86_EFER_LME | X86_EFER_LMA;
	s->seg[X86_CS].attr = (s->seg[X86_CS].attr & ~X86_ATTR_DB) | X86_ATTR_L;
}

#define IMPOSSIBLE(m, change) do {						\
	struct x86_state s = some_state(m), before = get(m), after;		\
	change;									\
	assert_int_equal(engine->set_state(&(m)->vcpu, &s), -EINVAL);		\
	after = get(m);								\
	before.tsc = after.tsc = 0;						\
	assert_memory_equal(before.gpr, after.gpr, sizeof(before.gpr));		\
	assert_int_equal(before.rip, after.rip);				\
} while (0)

static void test_impossible_states(void **state)
{
	struct metal *m = *state;

	IMPOSSIBLE(m, s.cr0 = X86_CR0_PG);
	IMPOSSIBLE(m, s.cr0 = X86_CR0_PE | X86_CR0_NW);
	IMPOSSIBLE(m, s.cr4 = 1u << 31);
	IMPOSSIBLE(m, s.cr4 = X86_CR4_PAE | X86_CR4_LA57);
	IMPOSSIBLE(m, s.cr4 = X86_CR4_PAE | X86_CR4_PCIDE);
	IMPOSSIBLE(m, s.efer = X86_EFER_LME);			/* paging is on */
	IMPOSSIBLE(m, s.efer = X86_EFER_LMA);
	IMPOSSIBLE(m, s.efer = 1 << 12);
	IMPOSSIBLE(m, s.rip = 1ull << 32);
	IMPOSSIBLE(m, s.seg[X86_DS].base = 1ull << 32);
	IMPOSSIBLE(m, (to_long(&s), s.cr4 = 0));
	IMPOSSIBLE(m, (to_long(&s), s.cr3 = 1ull << 40));
	IMPOSSIBLE(m, (to_long(&s), s.seg[X86_FS].base = 1ull << 47));
	IMPOSSIBLE(m, (to_long(&s), s.seg[X86_CS].attr |= X86_ATTR_DB));
	IMPOSSIBLE(m, s.lstar = 1ull << 63);
	IMPOSSIBLE(m, s.cr0 |= 1ull << 32);
	IMPOSSIBLE(m, s.rflags |= 1 << 15);
	IMPOSSIBLE(m, (s.cpl = 0, s.rflags |= X86_RFLAGS_VM));
	IMPOSSIBLE(m, (s.cr0 = 0x10, s.rflags |= X86_RFLAGS_VM));
	IMPOSSIBLE(m, s.cpl = 4);
	IMPOSSIBLE(m, s.xcr0 = 5);				/* AVX without SSE */
	IMPOSSIBLE(m, s.xcr0 = 1ull << 62);
}

static void test_translate(void **state)
{
	struct metal *m = *state;
	struct x86_state s = get(m);
	uint32_t pde = 0x00800087, out;
	uint64_t gpa;

	assert_int_equal(engine->translate(&m->vcpu, 0x12345, &gpa), 0);
	assert_int_equal(gpa, 0x12345);
	mem_copy_to(m->vm.mem, 0x5004, &pde, 4);
	s.cr0 = X86_CR0_PE | X86_CR0_PG;
	s.cr3 = 0x5000;
	s.cr4 = X86_CR4_PSE;
	assert_int_equal(engine->set_state(&m->vcpu, &s), 0);
	assert_int_equal(engine->translate(&m->vcpu, 0x412345, &gpa), 0);
	assert_int_equal(gpa, 0x812345);
	assert_int_equal(engine->translate(&m->vcpu, 0x12345, &gpa), -EFAULT);
	mem_copy_from(m->vm.mem, 0x5004, &out, 4);
	assert_int_equal(out, pde);			/* a debugger leaves no A bit */
}

static void test_kick(void **state)
{
	struct metal *m = *state;

	CODE(m, 0xeb, 0xfe);				/* JMP . */
	m->vcpu.kick_seen = m->vcpu.kick;
	vcpu_kick(&m->vcpu);
	assert_int_equal(engine->run(&m->vcpu), EXIT_KICKED);
	assert_int_equal(get(m).rip, METAL_LOAD);
}

static void test_halt(void **state)
{
	struct metal *m = *state;
	uint64_t before;

	CODE(m, 0xfb, 0xf4, 0xfa, 0xf4);		/* STI; HLT; CLI; HLT */
	before = engine->instructions(&m->vcpu);
	assert_int_equal(run(m), EXIT_HLT);
	assert_int_equal(engine->instructions(&m->vcpu) - before, 2);
	assert_true(get(m).halted);
	assert_int_equal(run(m), EXIT_HLT);		/* nothing has woken it */
	assert_int_equal(get(m).rip, METAL_LOAD + 2);
	/* an NMI does; its handler is at 0:0600h */
	assert_true(mem_copy_to(m->vm.mem, 2 * 4, (uint8_t[]) { 0x00, 0x06, 0, 0 }, 4));
	assert_true(mem_copy_to(m->vm.mem, 0x600, (uint8_t[]) { 0x40, 0xcf }, 2));	/* INC AX; IRET */
	engine->inject_nmi(&m->vcpu);
	assert_int_equal(run(m), EXIT_HLT_FOREVER);
	assert_int_equal(get(m).gpr[X86_RAX], 1);
	assert_int_equal(get(m).rip, METAL_LOAD + 4);
	assert_int_equal(m->vcpu.nmi, 0);
	assert_false(get(m).nmi_blocked);
}

static void test_triple_fault(void **state)
{
	struct metal *m = *state;
	struct x86_state s;

	CODE(m, 0x0f, 0x0b);
	s = get(m);
	s.idtr.limit = 0;
	assert_int_equal(engine->set_state(&m->vcpu, &s), 0);
	assert_int_equal(run(m), EXIT_TRIPLE_FAULT);
	assert_int_equal(get(m).rip, METAL_LOAD);
}

/* Marks for DMA: set while code of the page is decoded, and a whole-memory change drops it. */
static void test_code_marks(void **state)
{
	struct metal *m = *state;
	static uint8_t marks[256];

	memset(marks, 0, sizeof(marks));
	m->vm.code_bytes = marks;
	m->vm.code_pages = sizeof(marks);
	CODE(m, 0xa2, 0x00, 0x05, 0xfa, 0xf4);		/* MOV [500h], AL; CLI; HLT */
	assert_int_equal(marks[METAL_LOAD >> 12], 0);
	run(m);
	assert_int_equal(marks[METAL_LOAD >> 12], 1);
	assert_int_equal(marks[0], 0);
	mmu_check(m->vcpu.engine_state);
	/* another memory for the marks */
	memset(marks, 0, sizeof(marks));
	engine->mark_code(&m->vm);
	assert_int_equal(marks[METAL_LOAD >> 12], 1);
	assert_int_equal(marks[0], 0);
	engine->code_changed(&m->vm, 0, METAL_RAM);
	run(m);
	assert_int_equal(marks[METAL_LOAD >> 12], 0);
	engine->mark_code(&m->vm);
	assert_int_equal(marks[METAL_LOAD >> 12], 0);
	m->vm.code_bytes = NULL;
}

/* More changes than the engine keeps apart: it must not lose one. */
static void test_many_changes(void **state)
{
	struct metal *m = *state;

	struct x86_state s;

	CODE(m, 0xb0, 0x11, 0xfa, 0xf4);		/* MOV AL, 11h; CLI; HLT */
	s = get(m);
	run(m);
	for (unsigned i = 0; i < 100; i++)
		engine->code_changed(&m->vm, 0x100000 + i * 64, 64);
	assert_true(mem_copy_to(m->vm.mem, METAL_LOAD + 1, "\x22", 1));
	engine->code_changed(&m->vm, METAL_LOAD + 1, 1);
	assert_int_equal(engine->set_state(&m->vcpu, &s), 0);
	run(m);
	assert_int_equal(get(m).gpr[X86_RAX], 0x22);
}

static void test_a20(void **state)
{
	struct metal *m = *state;

	assert_true(mem_copy_to(m->vm.mem, 0x500, "\x11", 1));
	assert_true(mem_copy_to(m->vm.mem, 0x100500, "\x22", 1));
	/* MOV AX, FFFFh; MOV DS, AX; MOV AL, [0510h]; CLI; HLT */
	CODE(m, 0xb8, 0xff, 0xff, 0x8e, 0xd8, 0xa0, 0x10, 0x05, 0xfa, 0xf4);
	run(m);
	assert_int_equal(get(m).gpr[X86_RAX] & 0xff, 0x22);
	engine->a20(&m->vm, false);
	metal_enter(m, 0, METAL_LOAD);
	run(m);
	assert_int_equal(get(m).gpr[X86_RAX] & 0xff, 0x11);
	engine->a20(&m->vm, true);
	metal_enter(m, 0, METAL_LOAD);
	run(m);
	assert_int_equal(get(m).gpr[X86_RAX] & 0xff, 0x22);
}

static struct cpu *cpu_of(struct metal *m)
{
	return m->vcpu.engine_state;
}

/* Whatever is raised, and whoever does it, calm is gone until the engine looks. */
static void test_calm(void **state)
{
	struct metal *m = *state;
	struct cpu *cpu = cpu_of(m);

#define ALARMS(statement) do {							\
		m->vcpu.kick_seen = m->vcpu.kick;				\
		cpu_look(cpu);							\
		assert_int_equal(cpu->jit.calm.now[CALM], 1);				\
		statement;							\
		assert_int_equal(cpu->jit.calm.now[CALM], 0);				\
		assert_true(cpu_look(cpu));					\
		assert_int_equal(cpu->jit.calm.now[CALM], 1);				\
	} while (0)
	cpu->intr_mask = ~0u;
	ALARMS(vcpu_kick(&m->vcpu));
	ALARMS(engine->code_changed(&m->vm, METAL_LOAD, 1));
	ALARMS(engine->map_changed(&m->vm));
	ALARMS(engine->a20(&m->vm, true));
	ALARMS(irq_cpu_output(&m->vm, 0, true));
	irq_cpu_output(&m->vm, 0, false);
	ALARMS(engine->inject_nmi(&m->vcpu));
#undef ALARMS
}

static uint32_t mode_with(struct metal *m, unsigned cpl, uint64_t cr0, uint64_t cr4, uint64_t rflags)
{
	struct x86_state s = get(m);

	s.cr0 = X86_CR0_ET | X86_CR0_PE | cr0;
	s.cr4 = cr4;
	s.rflags = X86_RFLAGS_FIXED | rflags;
	s.cpl = cpl;
	assert_int_equal(engine->set_state(&m->vcpu, &s), 0);
	return cpu_of(m)->mode & (MODE_USER | MODE_OPEN | MODE_CHECKED);
}

static void test_mode(void **state)
{
	struct metal *m = *state;

	cpu_of(m)->level = X86_LEVEL_V3;
	assert_int_equal(mode_with(m, 0, X86_CR0_AM, 0, X86_RFLAGS_AC), 0);
	assert_int_equal(mode_with(m, 0, 0, X86_CR4_SMAP, 0), 0);
	assert_int_equal(mode_with(m, 0, X86_CR0_AM, X86_CR4_SMAP, X86_RFLAGS_AC), MODE_OPEN);
	assert_int_equal(mode_with(m, 3, 0, X86_CR4_SMAP, X86_RFLAGS_AC), MODE_USER);
	assert_int_equal(mode_with(m, 3, X86_CR0_AM, 0, 0), MODE_USER);
	assert_int_equal(mode_with(m, 3, X86_CR0_AM, X86_CR4_SMAP, X86_RFLAGS_AC), MODE_USER | MODE_CHECKED);
	assert_int_equal(mode_set(MODE_CODE64), MMU_SUPERVISOR);
	assert_int_equal(mode_set(MODE_CODE64 | MODE_OPEN), MMU_OPEN);
	assert_int_equal(mode_set(MODE_CODE64 | MODE_USER), MMU_USER);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_reset), T(test_state_round_trip), T(test_impossible_states), T(test_translate), T(test_kick),
		T(test_halt), T(test_triple_fault), T(test_code_marks), T(test_many_changes), T(test_a20),
		T(test_calm), T(test_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
