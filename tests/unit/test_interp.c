/*
 * tests/unit/test_interp.c - what instructions one by one cannot show: the
 * block cache under stores, DMA and remapping, chained branches, strings and
 * their runs, limits, and the count of instructions.
 *
 * Guests are a few lines of assembly each, in 32-bit protected mode without
 * paging unless they say otherwise; they end at HLT with interrupts off.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "vmm/bus.h"
#include "vmm/inout.h"
#include "vmm/mem.h"
#include "vmm/soft/block.h"
#include "vmm/vm.h"

enum { BASE = 0x100000, DATA = 0x200000, STACK = 0x180000, RAM = 8 << 20 };

/* A guest's code, assembled to run at BASE.  `name` + offset is a label's place: \name - start + 0x100000. */
#define GUEST(name, text)							\
	__asm__(".pushsection .rodata\n\t.code32\n" #name "_start:\n" text "\n\thlt\n" #name "_end:\n\t.code64\n\t.popsection"); \
	extern const uint8_t name##_start[], name##_end[];

static struct vm vm;
static struct vcpu vcpu;
static struct cpu *cpu;
static uint8_t *ram;

static int machine(void **state)
{
	char err[128];

	(void)state;
	vm = (struct vm){ .nvcpus = 1, .vcpu = &vcpu, .bus = bus_new() };
	memset(&vcpu, 0, sizeof(vcpu));
	vcpu.vm = &vm;
	vcpu.engine = &soft_engine;
	pthread_mutex_init(&vm.dev_lock, NULL);
	if (mem_new(&vm.mem, RAM, err, sizeof(err)) || inout_new(&vcpu) || soft_engine.vcpu_new(&vcpu))
		return -1;
	cpu = vcpu.engine_state;
	ram = mem_ram(vm.mem);
	return 0;
}

static int machine_end(void **state)
{
	(void)state;
	soft_engine.vcpu_free(&vcpu);
	inout_free(&vcpu);
	mem_free(vm.mem);
	bus_free(vm.bus);
	return 0;
}

static struct x86_segment flat(uint16_t sel, uint32_t attr)
{
	return (struct x86_segment){ .limit = 0xffffffff, .attr = attr, .selector = sel };
}

/* Ready to run the guest from BASE, general registers 0. */
static struct x86_state start(const uint8_t *from, const uint8_t *to)
{
	struct x86_state s;

	memset(ram + BASE, 0xcc, 0x10000);
	memcpy(ram + BASE, from, to - from);
	soft_engine.code_changed(&vm, BASE, 0x10000);
	soft_engine.reset(&vcpu);
	soft_engine.get_state(&vcpu, &s);
	s.cr0 = 0x11;
	for (unsigned i = 0; i < X86_LDTR; i++)
		s.seg[i] = i == X86_CS ? flat(8, 0xc09b) : flat(16, 0xc093);
	s.rip = BASE;
	s.gpr[X86_RSP] = STACK;
	s.gpr[X86_RDX] = 0;
	return s;
}
#define START(name) start(name##_start, name##_end)

static struct x86_state run(struct x86_state s)
{
	enum vcpu_exit e;

	assert_int_equal(soft_engine.set_state(&vcpu, &s), 0);
	do {
		vcpu.kick_seen = atomic_load(&vcpu.kick);
		e = soft_engine.run(&vcpu);
	} while (e == EXIT_KICKED);
	soft_engine.get_state(&vcpu, &s);
	s.halted = e == EXIT_HLT_FOREVER;
	return s;
}

static struct x86_state halts(struct x86_state s)
{
	s = run(s);
	assert_true(s.halted);
	return s;
}

/* ---- code that changes */
GUEST(patch_ahead,
	"movb $0x42, (patch_ahead_imm - patch_ahead_start + 0x100001)\n"
	"patch_ahead_imm: movb $0x11, %al\n")

static void store_into_the_running_block(void **state)
{
	(void)state;
	assert_int_equal(halts(START(patch_ahead)).gpr[X86_RAX], 0x42);
}

GUEST(patch_loop,
	"mov $100, %ecx\n"
	"1: incl (patch_loop_imm - patch_loop_start + 0x100001)\n"
	"patch_loop_imm: mov $0, %ebx\n"
	"add %ebx, %eax\n"
	"loop 1b\n")

static void store_in_a_loop(void **state)
{
	(void)state;
	assert_int_equal(halts(START(patch_loop)).gpr[X86_RAX], 5050);
}

/* A function in the same page, called through linked branches, is rewritten from MOV EBX, 1 to INC EBX and NOPs. */
GUEST(patch_callee,
	"mov $4, %ecx\n"
	"1: call f_callee\n"
	"shl $4, %eax\n"
	"or %ebx, %eax\n"
	"movl $0x90909043, (f_callee - patch_callee_start + 0x100000)\n"
	"movb $0x90, (f_callee - patch_callee_start + 0x100004)\n"
	"loop 1b\n"
	"hlt\n"
	".balign 256\n"
	"f_callee: mov $1, %ebx\n"
	"ret\n")

static void store_into_a_linked_block(void **state)
{
	(void)state;
	assert_int_equal(halts(START(patch_callee)).gpr[X86_RAX], 0x1234);
	block_check(cpu);
}

/* REP STOSB over the instruction that follows it: NOP where there was INC. */
GUEST(patch_stos,
	"mov $(patch_stos_at - patch_stos_start + 0x100000), %edi\n"
	"mov $0x90, %al\n"
	"mov $3, %ecx\n"
	"rep stosb\n"
	"patch_stos_at: inc %edx\n"
	"inc %edx\n"
	"inc %edx\n")

static void string_store_into_the_running_block(void **state)
{
	(void)state;
	assert_int_equal(halts(START(patch_stos)).gpr[X86_RDX], 0);
}

GUEST(data_beside,
	"mov $1000, %ecx\n"
	"1: incl 0x100800\n"
	"loop 1b\n")

static void data_beside_code_drops_nothing(void **state)
{
	struct x86_state s = START(data_beside);
	uint64_t killed;
	uint32_t v;

	(void)state;
	memset(ram + BASE + 0x800, 0, 4);
	killed = cpu->blocks->killed;
	halts(s);
	memcpy(&v, ram + BASE + 0x800, 4);
	assert_int_equal(v, 1000);
	assert_true(cpu->blocks->killed - killed <= 4);	/* start() has dropped what was there before */
}

GUEST(return_imm, "return_imm_at: mov $7, %eax\n")

static void dma_into_code(void **state)
{
	struct x86_state s = START(return_imm);

	(void)state;
	assert_int_equal(halts(s).gpr[X86_RAX], 7);
	ram[BASE + 1] = 9;
	assert_int_equal(halts(s).gpr[X86_RAX], 7);	/* nobody has said so: stale code may run */
	soft_engine.code_changed(&vm, BASE + 1, 1);
	assert_int_equal(halts(s).gpr[X86_RAX], 9);
}

/* MOV EAX, imm32 with its immediate in the next page. */
static void instruction_across_pages(void **state)
{
	struct x86_state s = START(return_imm);

	(void)state;
	memcpy(ram + BASE + 0xffe, "\xb8\x01\x00\x00\x00\xf4", 6);
	s.rip = BASE + 0xffe;
	assert_int_equal(halts(s).gpr[X86_RAX], 1);
	ram[BASE + 0x1001] = 2;
	assert_int_equal(halts(s).gpr[X86_RAX], 0x20001);
	ram[BASE + 0xfff] = 3;
	assert_int_equal(halts(s).gpr[X86_RAX], 0x20003);
}

static void sixteen_and_thirty_two_bits_at_one_address(void **state)
{
	struct x86_state s = START(return_imm);

	(void)state;
	memcpy(ram + BASE, "\xb8\x34\x12\xf4\x00\xf4", 6);
	assert_int_equal(halts(s).gpr[X86_RAX], 0xf41234);
	s.seg[X86_CS].attr = 0x809b;
	assert_int_equal(halts(s).gpr[X86_RAX], 0x1234);
	s.seg[X86_CS].attr = 0xc09b;
	assert_int_equal(halts(s).gpr[X86_RAX], 0xf41234);
}

/* Half a megabyte of INC EAX is more than the cache holds. */
static void more_code_than_fits(void **state)
{
	enum { LONG = 1 << 19 };
	struct x86_state s = START(return_imm);
	uint64_t trimmed = cpu->blocks->trimmed;
	size_t room = cpu->blocks->cold;

	(void)state;
	memset(ram + DATA, 0x40, LONG);
	ram[DATA + LONG] = 0xf4;
	soft_engine.code_changed(&vm, DATA, LONG + 1);
	s.rip = DATA;
	assert_int_equal(halts(s).rip, DATA + LONG + 1);
	block_check(cpu);
	assert_true(cpu->blocks->trimmed > trimmed);
	/* it runs again at once: then there is room for it */
	while (cpu->blocks->trimmed < 8 && cpu->blocks->cold < 4 * room)
		assert_int_equal(halts(s).rip, DATA + LONG + 1);
	assert_true(cpu->blocks->cold >= 4 * room);
	trimmed = cpu->blocks->trimmed;
	assert_int_equal(halts(s).rip, DATA + LONG + 1);
	assert_int_equal(cpu->blocks->trimmed, trimmed);
	block_check(cpu);
}

/* ---- paging: two linear pages that are one physical page, then no longer */
GUEST(alias,
	"jmp . + 0x1010\n"			/* to the alias of 0x010 */
	".org alias_start + 0x15\n"
	"mov $1, %al\n")

static void put32(uint32_t at, uint32_t v)
{
	memcpy(ram + at, &v, 4);
}

static void link_does_not_survive_remapping(void **state)
{
	enum { PD = 0x300000, PT = 0x301000, LINEAR = 0x400000, OTHER = 0x110000 };
	struct x86_state s;

	(void)state;
	s = START(alias);
	memcpy(ram + BASE + 0x10, "\x90\x90\x90\x90\x90\xb0\x01\xf4", 8);
	memcpy(ram + OTHER + 0x10, "\x90\x90\x90\x90\x90\xb0\x02\xf4", 8);
	soft_engine.code_changed(&vm, OTHER, 0x1000);
	memset(ram + PD, 0, 0x2000);
	put32(PD, 0x83);			/* 4 MiB, to itself */
	put32(PD + 4, PT | 3);
	put32(PT, BASE | 3);
	put32(PT + 4, BASE | 3);
	s.cr0 |= 0x80000000u;
	s.cr3 = PD;
	s.cr4 = 0x10;
	s.rip = LINEAR;
	for (int i = 0; i < 3; i++)
		assert_int_equal(halts(s).gpr[X86_RAX] & 0xff, 1);
	put32(PT + 4, OTHER | 3);
	assert_int_equal(halts(s).gpr[X86_RAX] & 0xff, 2);
}

/* What the supervisor has run from a page of its own is not there for the user, cached or not. */
GUEST(user_fetch,
	"call supervisors\n"
	"push $0x23\n"
	"push $0x8000\n"
	"push $2\n"
	"push $0x1b\n"
	"push $(supervisors - user_fetch_start + 0x100000)\n"
	"iret\n"
	"supervisors: inc %eax\n"
	"ret\n")

static void supervisors_code_is_not_the_users(void **state)
{
	enum { PD = 0x300000, GDT = 0x302000 };
	static const uint32_t high[] = { 0, 0x00cf9b00, 0x00cf9300, 0x00cffb00, 0x00cff300 };
	struct x86_state s = START(user_fetch);

	(void)state;
	memset(ram + PD, 0, 0x1000);
	put32(PD, 0x83);
	for (unsigned i = 0; i < 5; i++) {
		put32(GDT + 8 * i, i ? 0xffff : 0);
		put32(GDT + 8 * i + 4, high[i]);
	}
	s.gdtr = (struct x86_table){ .base = GDT, .limit = 39 };
	s.cr0 |= 0x80000000u;
	s.cr3 = PD;
	s.cr4 = 0x10;
	s.idtr.limit = 0;
	s = run(s);
	assert_false(s.halted);
	assert_int_equal(s.cpl, 3);
	assert_int_equal(s.gpr[X86_RAX], 1);
	assert_int_equal(s.cr2, s.rip);
}

/* ---- limits and counts */
GUEST(runaway, "nop\nnop\nnop\nnop\njmp . + 0x1000\n")

static void fault_at(struct x86_state s, uint32_t limit, uint32_t rip, uint64_t retired)
{
	uint64_t before = soft_engine.instructions(&vcpu);

	s.seg[X86_CS].limit = limit;
	s.seg[X86_CS].attr = 0x409b;
	s.idtr.limit = 0;			/* any fault ends as a triple one */
	s = run(s);
	assert_false(s.halted);
	assert_int_equal(s.rip, rip);
	assert_int_equal(soft_engine.instructions(&vcpu) - before, retired);
}

static void code_limit(void **state)
{
	(void)state;
	fault_at(START(runaway), BASE + 0x500, BASE + 4, 4);	/* the branch's target */
	fault_at(START(runaway), BASE + 4, BASE + 4, 4);	/* the branch itself */
	fault_at(START(runaway), BASE + 1, BASE + 2, 2);	/* running on */
	fault_at(START(runaway), BASE - 1, BASE, 0);
}

GUEST(counted,
	"mov $1000, %ecx\n"
	"1: test $1, %cl\n"
	"jz 2f\n"
	"inc %eax\n"
	"2: dec %ecx\n"
	"jnz 1b\n"
	"call 3f\n"
	"hlt\n"
	"3: ret\n")

static void instructions_are_counted(void **state)
{
	struct x86_state s = START(counted);
	uint64_t before = soft_engine.instructions(&vcpu);

	(void)state;
	assert_int_equal(halts(s).gpr[X86_RAX], 500);
	assert_int_equal(soft_engine.instructions(&vcpu) - before, 1 + 1000 * 4 + 500 + 2 + 1);
}

/* ---- a block as a whole does what its instructions do one by one */
static uint32_t rng = 1;
static uint32_t rnd(uint32_t n)
{
	rng = rng * 1664525 + 1013904223;
	return (rng >> 8) % n;
}

/* One instruction on registers or on the doubleword at DATA; returns its length. */
static unsigned put_memory(uint8_t *b, unsigned reg, bool wide)
{
	uint32_t at = DATA;
	unsigned n = 0;

	b[n++] = reg << 3 | (wide ? 4 : 5);
	if (wide)
		b[n++] = 0x25;			/* as a SIB byte: rIP is not meant */
	memcpy(b + n, &at, 4);
	return n + 4;
}

static unsigned random_insn(uint8_t *b, bool wide)
{
	uint8_t reg = 0xc0 | rnd(64);
	bool mem = rnd(4) == 0;
	uint32_t imm = rnd(2) ? rnd(8) : rnd(1 << 24) * 257;
	unsigned n = 0, rex = 0;

	if (wide && rnd(4))
		b[n++] = 0x40 | (rnd(16) & ~2u), rex = 1;	/* no index */
	switch (rnd(10)) {
	case 0: case 1:				/* ALU r/m, r and r, r/m */
		b[n++] = rnd(8) << 3 | rnd(4);
		break;
	case 2:					/* ALU r/m, imm8 */
		b[n++] = rnd(2) ? 0x80 : 0x83;
		if (mem)
			n += put_memory(b + n, reg >> 3 & 7, wide);
		else
			b[n++] = reg;
		b[n++] = imm;
		return n;
	case 3:					/* INC, DEC */
		if (wide)
			b[n++] = 0xff, b[n++] = 0xc0 | rnd(16);
		else
			b[n++] = 0x40 | rnd(16);
		return n;
	case 4:					/* shifts by imm8 and 1 */
		b[n++] = rnd(2) ? 0xc1 : 0xd1;
		b[n++] = reg;
		if (b[rex] == 0xc1)
			b[n++] = imm;
		return n;
	case 5:					/* TEST */
		b[n++] = 0x84 | rnd(2);
		break;
	case 6:					/* MOV */
		b[n++] = 0x88 | rnd(4);
		break;
	case 7:					/* SETcc, CMOVcc */
		b[n++] = 0x0f;
		b[n++] = (rnd(2) ? 0x90 : 0x40) | rnd(16);
		break;
	case 8:					/* TEST r/m8, imm8 */
		b[n++] = 0xf6;
		b[n++] = 0xc0 | rnd(8);
		b[n++] = imm;
		return n;
	case 9:					/* NOP */
		b[n++] = 0x0f;
		b[n++] = 0x1f;
		b[n++] = 0;
		return n;
	}
	if (mem)
		return n + put_memory(b + n, reg >> 3 & 7, wide);
	b[n++] = reg;
	return n;
}

/* Instructions, some behind a conditional branch that may skip them, and HLT. */
static void random_program(uint8_t *b, bool wide)
{
	for (unsigned i = 0; i < 14; i++) {
		uint8_t insn[16];
		unsigned len = random_insn(insn, wide);

		if (rnd(3) == 0) {
			*b++ = 0x70 | rnd(16);
			*b++ = len;
		}
		memcpy(b, insn, len);
		b += len;
	}
	*b = 0xf4;
}

static void step_to_halt(const struct x86_state *s)
{
	assert_int_equal(soft_engine.set_state(&vcpu, s), 0);
	vcpu.kick_seen = atomic_load(&vcpu.kick);
	if (_setjmp(cpu->jmp))
		fail();
	while (cpu->idle == AWAKE)
		interp_step(cpu);
	cpu->idle = AWAKE;
}

/* Large pages, linear is physical. */
static void enter_long_mode(struct x86_state *s)
{
	enum { PML4 = 0x300000, PDPT = 0x301000, PD = 0x302000, PRESENT = 3, LARGE = 0x80 };

	memset(ram + PML4, 0, 0x3000);
	put32(PML4, PDPT | PRESENT);
	put32(PDPT, PD | PRESENT);
	for (uint32_t i = 0; i < RAM >> 21; i++)
		put32(PD + i * 8, i << 21 | LARGE | PRESENT);
	s->cr0 = 0x80000011;
	s->cr3 = PML4;
	s->cr4 = 0x20;
	s->efer = 0x500;
	s->seg[X86_CS] = flat(8, 0xa09b);
}

static void compare_blocks(bool wide)
{
	for (unsigned i = 0; i < 4000; i++) {
		struct x86_state s = START(return_imm), whole, steps;
		uint64_t data = (uint64_t)rnd(1 << 24) << 20, result, count;

		if (wide)
			enter_long_mode(&s);
		random_program(ram + BASE, wide);
		for (unsigned r = 0; r < (wide ? 16 : 8); r++)
			s.gpr[r] = (rnd(2) ? rnd(5) : rnd(1 << 24) * 251) | (wide && rnd(2) ? (uint64_t)rnd(1 << 24) * 251 << 32 : 0);
		s.rflags = 2 | (rnd(0x1000) & X86_RFLAGS_ARITH);
		memcpy(ram + DATA, &data, 8);
		count = -cpu->icount;
		whole = halts(s);
		count += cpu->icount;
		memcpy(&result, ram + DATA, 8);
		memcpy(ram + DATA, &data, 8);
		count += cpu->icount;
		step_to_halt(&s);
		assert_int_equal(count, cpu->icount);
		soft_engine.get_state(&vcpu, &steps);
		assert_memory_equal(whole.gpr, steps.gpr, sizeof(steps.gpr));
		assert_int_equal(whole.rflags, steps.rflags);
		assert_int_equal(whole.rip, steps.rip);
		assert_memory_equal(&result, ram + DATA, 8);
	}
}

static void blocks_do_what_their_instructions_do(void **state)
{
	(void)state;
	compare_blocks(false);
}

static void blocks_of_64_bit_code_do(void **state)
{
	(void)state;
	compare_blocks(true);
}

/* PUSH of up to nine registers, RSP perhaps among them, POP of as many, HLT. */
static void random_pushes(uint8_t *b)
{
	unsigned n = 2 + rnd(8);

	for (unsigned i = 0; i < 2 * n; i++) {
		unsigned r = rnd(16);

		if (i >= n && r == X86_RSP)
			r = X86_RAX;
		if (r > 7)
			*b++ = 0x41;
		*b++ = (i < n ? 0x50 : 0x58) | (r & 7);
	}
	*b = 0xf4;
}

/* MOV CR3 begins another space each time, so that each block has as many places in the jump cache as there are. */
static void blocks_of_many_spaces(void **state)
{
	struct x86_state s = START(return_imm);

	(void)state;
	memcpy(ram + BASE, "\x0f\x20\xd8\x0f\x22\xd8\xff\xc9\x75\xf6\xf4", 11);	/* mov eax, cr3; mov cr3, eax; dec ecx; jne; hlt */
	soft_engine.code_changed(&vm, BASE, 11);
	enter_long_mode(&s);
	s.gpr[X86_RCX] = 3 * JUMP_ENTRIES;
	s = halts(s);
	assert_int_equal(s.gpr[X86_RCX], 0);
	block_check(cpu);
}

static void pushes_in_a_row(void **state)
{
	enum { BYTES = 256, AT = (DATA & ~0xfffu) + 0x1000 };

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		struct x86_state s = START(return_imm), whole, steps;
		uint8_t result[BYTES];

		enter_long_mode(&s);
		random_pushes(ram + BASE);
		for (unsigned r = 0; r < 16; r++)
			s.gpr[r] = (uint64_t)rnd(1 << 24) << 32 | rnd(1 << 24);
		s.gpr[X86_RSP] = AT - 64 + rnd(128);		/* about the edge of two pages */
		memset(ram + AT - BYTES / 2, 0, BYTES);
		whole = halts(s);
		memcpy(result, ram + AT - BYTES / 2, BYTES);
		memset(ram + AT - BYTES / 2, 0, BYTES);
		step_to_halt(&s);
		soft_engine.get_state(&vcpu, &steps);
		assert_memory_equal(whole.gpr, steps.gpr, sizeof(steps.gpr));
		assert_int_equal(whole.rip, steps.rip);
		assert_memory_equal(result, ram + AT - BYTES / 2, BYTES);
	}
}

/* Flags that a later instruction overwrites are still seen by the fault in between. */
GUEST(fault_between,
	"sub %eax, %eax\n"
	"sub $1, %eax\n"
	"mov 0x700000, %ebx\n"
	"xor %eax, %eax\n")

static void flags_at_a_fault(void **state)
{
	struct x86_state s = START(fault_between);

	(void)state;
	s.seg[X86_DS].limit = 0x6fffff;
	s.idtr.limit = 0;
	s = run(s);
	assert_false(s.halted);
	assert_int_equal(s.rip, BASE + 5);
	assert_int_equal(s.rflags & X86_RFLAGS_ARITH, X86_RFLAGS_CF | X86_RFLAGS_AF | X86_RFLAGS_SF | X86_RFLAGS_PF);
}

/* ---- strings against a model that goes element by element */
struct string_case {
	unsigned size;
	bool back;
	uint32_t si, di, count;
};

static void model_movs(uint8_t *m, const struct string_case *c)
{
	int32_t step = c->back ? -(int32_t)c->size : (int32_t)c->size;

	for (uint32_t i = 0, s = c->si, d = c->di; i < c->count; i++, s += step, d += step)
		memmove(m + d, m + s, c->size);
}

static void fill_data(uint8_t *m)
{
	for (unsigned i = 0; i < 0x8000; i++)
		m[i] = i * 7 + (i >> 8);
}

static void rep_movs_as_by_element(void **state)
{
	static const uint8_t op[][4] = { [1] = "\xf3\xa4\xf4", [2] = "\x66\xf3\xa5\xf4", [4] = "\xf3\xa5\xf4" };
	static uint8_t model[0x8000];
	struct x86_state s = START(return_imm);

	(void)state;
	for (unsigned i = 0; i < 3000; i++) {
		struct string_case c = { .size = 1u << rnd(3), .back = rnd(2), .count = rnd(rnd(4) ? 40 : 1500) };
		struct x86_state e;
		int32_t moved;

		c.si = 0x3000 + rnd(0x1000);
		c.di = rnd(2) ? 0x3000 + rnd(0x1000) : c.si + rnd(33) - 16;
		fill_data(model);
		memcpy(ram + DATA, model, sizeof(model));
		model_movs(model, &c);
		memcpy(ram + BASE, op[c.size], 4);
		soft_engine.code_changed(&vm, BASE, 4);
		s.gpr[X86_RSI] = DATA + c.si;
		s.gpr[X86_RDI] = DATA + c.di;
		s.gpr[X86_RCX] = c.count;
		s.rflags = c.back ? 0x402 : 2;
		e = halts(s);
		moved = (int32_t)(c.count * c.size) * (c.back ? -1 : 1);
		assert_int_equal(e.gpr[X86_RSI], s.gpr[X86_RSI] + moved);
		assert_int_equal(e.gpr[X86_RDI], s.gpr[X86_RDI] + moved);
		assert_int_equal(e.gpr[X86_RCX], 0);
		assert_memory_equal(ram + DATA, model, sizeof(model));
	}
}

static void rep_stos_as_by_element(void **state)
{
	static const uint8_t op[][4] = { [1] = "\xf3\xaa\xf4", [2] = "\x66\xf3\xab\xf4", [4] = "\xf3\xab\xf4" };
	static uint8_t model[0x8000];
	struct x86_state s = START(return_imm);
	uint32_t v = 0x44332211;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		struct string_case c = { .size = 1u << rnd(3), .back = rnd(2), .count = rnd(rnd(2) ? 40 : 1500) };
		int32_t step = c.back ? -(int32_t)c.size : (int32_t)c.size;

		c.di = 0x3000 + rnd(0x1000);
		fill_data(model);
		memcpy(ram + DATA, model, sizeof(model));
		for (uint32_t n = 0, d = c.di; n < c.count; n++, d += step)
			memcpy(model + d, &v, c.size);
		memcpy(ram + BASE, op[c.size], 4);
		soft_engine.code_changed(&vm, BASE, 4);
		s.gpr[X86_RAX] = v;
		s.gpr[X86_RDI] = DATA + c.di;
		s.gpr[X86_RCX] = c.count;
		s.rflags = c.back ? 0x402 : 2;
		assert_int_equal(halts(s).gpr[X86_RDI], DATA + c.di + (int32_t)c.count * step);
		assert_memory_equal(ram + DATA, model, sizeof(model));
	}
}

/* The count, SI and DI after a fault are those of the elements that were done. */
static void rep_movs_stops_at_the_limit(void **state)
{
	struct x86_state s = START(return_imm);

	(void)state;
	memcpy(ram + BASE, "\xf3\xa5\xf4", 3);
	s.seg[X86_ES] = (struct x86_segment){ .limit = DATA + 0x1003, .attr = 0x4093, .selector = 16 };
	s.idtr.limit = 0;
	s.gpr[X86_RSI] = DATA + 0x4000;
	s.gpr[X86_RDI] = DATA + 0x800;
	s.gpr[X86_RCX] = 0x1000;
	s = run(s);
	assert_false(s.halted);
	assert_int_equal(s.rip, BASE);
	assert_int_equal(s.gpr[X86_RDI], DATA + 0x1004);
	assert_int_equal(s.gpr[X86_RSI], DATA + 0x4804);
	assert_int_equal(s.gpr[X86_RCX], 0x1000 - 0x201);
}

/* 16-bit addresses wrap inside the repetition, in the middle of a page, and upper halves stay. */
static void rep_stos_wraps_sixteen_bits(void **state)
{
	struct x86_state s = START(return_imm);

	(void)state;
	memcpy(ram + BASE, "\x67\xf3\xaa\xf4", 4);
	memset(ram, 0, 0x20000);
	s.seg[X86_ES].base = 0x100;
	s.gpr[X86_RAX] = 0x5a;
	s.gpr[X86_RDI] = 0x1234fff8;
	s.gpr[X86_RCX] = 0xabcd0010;
	s = halts(s);
	assert_int_equal(s.gpr[X86_RDI], 0x12340008);
	assert_int_equal(s.gpr[X86_RCX], 0xabcd0000);
	assert_int_equal(ram[0x100f7], 0);
	assert_int_equal(ram[0x100f8], 0x5a);
	assert_int_equal(ram[0x100ff], 0x5a);
	assert_int_equal(ram[0x10100], 0);
	assert_int_equal(ram[0xff], 0);
	assert_int_equal(ram[0x100], 0x5a);
	assert_int_equal(ram[0x107], 0x5a);
	assert_int_equal(ram[0x108], 0);
}

/* REP STOSB and HLT, which the processor stands before. */
static struct x86_state rep_stosb(uint32_t to, uint32_t n)
{
	struct x86_state s = START(return_imm);

	memcpy(ram + BASE, "\xf3\xaa\xf4", 3);
	s.gpr[X86_RDI] = to;
	s.gpr[X86_RCX] = n;
	assert_int_equal(soft_engine.set_state(&vcpu, &s), 0);
	vcpu.kick_seen = atomic_load(&vcpu.kick);
	return s;
}

/* Where each is watched stepping executes one element at a time, with rip on the instruction until the last. */
static void step_through_a_string(void **state)
{
	(void)state;
	rep_stosb(DATA, 3);
	cpu->each = true;
	if (_setjmp(cpu->jmp))
		fail();
	for (unsigned left = 3; left > 0; left--) {
		assert_int_equal(cpu->gpr[X86_RCX].d, left);
		assert_int_equal(cpu->rip, BASE);
		interp_step(cpu);
		assert_int_equal(cpu->mid_string, left > 1);
	}
	assert_int_equal(cpu->rip, BASE + 2);
	assert_int_equal(cpu->gpr[X86_RDI].d, DATA + 3);
}

/* RF alone, which IRET has set after a fault in the string or an event between its elements, watches nothing: it goes on by pages. */
static void resumed_string_goes_by_runs(void **state)
{
	struct x86_state s = rep_stosb(DATA + 0x800, 0x1000);

	(void)state;
	if (_setjmp(cpu->jmp))
		fail();
	cpu->each = false;
	interp_step(cpu);
	assert_int_equal(cpu->gpr[X86_RCX].d, 0x800);
	assert_int_equal(cpu->rip, BASE);
	interp_step(cpu);
	assert_int_equal(cpu->gpr[X86_RCX].d, 0);
	assert_int_equal(cpu->rip, BASE + 2);
	cpu->each = true;
	s.rflags |= X86_RFLAGS_RF;
	s = halts(s);
	assert_int_equal(s.gpr[X86_RDI], DATA + 0x1800);
	assert_int_equal(s.rflags & X86_RFLAGS_RF, 0);
	assert_false(cpu->each);
}

/* An event that waits stops a repeated string between runs. */
static void event_stops_a_string(void **state)
{
	struct x86_state s = rep_stosb(DATA + 0x800, 0x3000);

	(void)state;
	if (_setjmp(cpu->jmp))
		fail();
	cpu->recheck = false;
	interp_run(cpu);
	assert_int_equal(cpu->gpr[X86_RCX].d, 0);
	assert_int_equal(soft_engine.set_state(&vcpu, &s), 0);
	cpu->idle = AWAKE;
	cpu->recheck = true;
	interp_run(cpu);			/* at once */
	assert_int_equal(cpu->gpr[X86_RCX].d, 0x3000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_into_the_running_block),
		cmocka_unit_test(store_in_a_loop),
		cmocka_unit_test(store_into_a_linked_block),
		cmocka_unit_test(string_store_into_the_running_block),
		cmocka_unit_test(data_beside_code_drops_nothing),
		cmocka_unit_test(dma_into_code),
		cmocka_unit_test(instruction_across_pages),
		cmocka_unit_test(sixteen_and_thirty_two_bits_at_one_address),
		cmocka_unit_test(more_code_than_fits),
		cmocka_unit_test(link_does_not_survive_remapping),
		cmocka_unit_test(supervisors_code_is_not_the_users),
		cmocka_unit_test(code_limit),
		cmocka_unit_test(instructions_are_counted),
		cmocka_unit_test(blocks_do_what_their_instructions_do),
		cmocka_unit_test(blocks_of_64_bit_code_do),
		cmocka_unit_test(blocks_of_many_spaces),
		cmocka_unit_test(pushes_in_a_row),
		cmocka_unit_test(flags_at_a_fault),
		cmocka_unit_test(rep_movs_as_by_element),
		cmocka_unit_test(rep_stos_as_by_element),
		cmocka_unit_test(rep_movs_stops_at_the_limit),
		cmocka_unit_test(rep_stos_wraps_sixteen_bits),
		cmocka_unit_test(step_through_a_string),
		cmocka_unit_test(resumed_string_goes_by_runs),
		cmocka_unit_test(event_stops_a_string),
	};

	return cmocka_run_group_tests_name("interp", tests, machine, machine_end);
}
