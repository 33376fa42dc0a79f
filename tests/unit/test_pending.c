/*
 * Instructions and events that wait for the device model in the middle: run
 * again from their start, they must make every access once, in order, and lose
 * no interrupt that has been acknowledged.  A scripted daemon answers on
 * device memory (fakedaemon.h), which segments are pointed at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "tests/metal/metal.h"
#include "tests/unit/fakedaemon.h"
#include "vmm/inout.h"
#include "vmm/irq.h"
#include "vmm/link.h"
#include "vmm/mem.h"
#include "vmm/dev/pic.h"

struct env {
	struct metal *m;
	struct fake fake;
};

static int setup(void **state)
{
	struct env *e = test_calloc(1, sizeof(*e));

	e->m = metal_new();
	assert_int_equal(link_client_new(&e->m->vm.link, &e->m->vm, 256, NULL), 0);
	fake_start(&e->fake, &e->m->vm);
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	struct env *e = *state;

	fake_stop(&e->fake);
	link_client_free(e->m->vm.link);
	metal_free(e->m);
	test_free(e);
	return 0;
}

static struct x86_state get(struct env *e)
{
	struct x86_state s;

	soft_engine.get_state(&e->m->vcpu, &s);
	return s;
}

/* Real mode at METAL_LOAD, with one segment over the daemon's memory. */
static void enter(struct env *e, enum x86_seg seg, const void *code, size_t len)
{
	struct x86_state s;

	assert_true(mem_copy_to(e->m->vm.mem, METAL_LOAD, code, len));
	metal_enter(e->m, 0, METAL_LOAD);
	s = get(e);
	s.seg[seg].base = FAKE_MMIO;
	s.gpr[X86_RSP] = 0x100;
	assert_int_equal(soft_engine.set_state(&e->m->vcpu, &s), 0);
}
#define ENTER(e, seg, ...) enter(e, seg, (const uint8_t[]) { __VA_ARGS__ }, sizeof((const uint8_t[]) { __VA_ARGS__ }))

/* To CLI; HLT.  How often it waited. */
static unsigned finish(struct env *e)
{
	struct vcpu *v = &e->m->vcpu;
	unsigned waits = 0;

	for (;;) {
		enum vcpu_exit x;

		v->kick_seen = v->kick;
		x = soft_engine.run(v);
		if (x == EXIT_HLT_FOREVER)
			return waits;
		if (x == EXIT_KICKED)
			continue;
		assert_int_equal(x, EXIT_PENDING);
		assert_true(inout_active(v));
		waits++;
		inout_wait(v);
	}
}

static uint32_t bytes(uint64_t first, unsigned n)
{
	uint32_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= (uint32_t)fake_byte(first + i) << 8 * i;
	return v;
}

static uint16_t logged(struct env *e, unsigned at)
{
	return e->fake.log[at] | e->fake.log[at + 1] << 8;
}

static void handler(struct env *e, unsigned vector, uint16_t ip)
{
	uint16_t entry[2] = { ip, 0 };

	assert_true(mem_copy_to(e->m->vm.mem, vector * 4, entry, 4));
}

static void test_load_store(void **state)
{
	struct env *e = *state;

	/* MOV AX, [0]; MOV [2], AX; ADD [4], AX; CLI; HLT */
	ENTER(e, X86_DS, 0xa1, 0, 0, 0xa3, 2, 0, 0x01, 0x06, 4, 0, 0xfa, 0xf4);
	assert_int_equal(finish(e), 4);
	assert_int_equal(get(e).gpr[X86_RAX], bytes(0, 2));
	assert_int_equal(fake_get(&e->fake.writes), 2);
	assert_int_equal(fake_get(&e->fake.reads), 2);
	assert_int_equal(logged(e, 0), bytes(0, 2));
	assert_int_equal(logged(e, 2), (uint16_t)(bytes(2, 2) + bytes(0, 2)));
}

/* Reads that are finished are not made again while the rest of the instruction waits. */
static void test_moves(void **state)
{
	struct env *e = *state;
	struct x86_state s;

	/* MOV CX, 5; REP MOVSW; CLI; HLT, from device to device */
	ENTER(e, X86_DS, 0xb9, 5, 0, 0xf3, 0xa5, 0xfa, 0xf4);
	s = get(e);
	s.seg[X86_ES].base = FAKE_MMIO;
	s.gpr[X86_RDI] = 0x200;
	assert_int_equal(soft_engine.set_state(&e->m->vcpu, &s), 0);
	assert_int_equal(finish(e), 10);
	assert_int_equal(fake_get(&e->fake.reads), 5);
	assert_int_equal(fake_get(&e->fake.writes), 5);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(logged(e, 2 * i), bytes(2 * i, 2));
	assert_int_equal(get(e).gpr[X86_RCX], 0);
	assert_int_equal(get(e).gpr[X86_RSI], 10);
}

/* FLAGS, CS, IP on a stack of device memory: each is written once. */
static void test_software_interrupt(void **state)
{
	struct env *e = *state;

	ENTER(e, X86_SS, 0xcd, 0x40);			/* INT 40h */
	handler(e, 0x40, METAL_LOAD + 0x100);
	mem_copy_to(e->m->vm.mem, METAL_LOAD + 0x100, "\xfa\xf4", 2);
	assert_int_equal(finish(e), 3);
	assert_int_equal(fake_get(&e->fake.writes), 3);
	assert_int_equal(logged(e, 0), 2);
	assert_int_equal(logged(e, 2), 0);
	assert_int_equal(logged(e, 4), METAL_LOAD + 2);
	assert_int_equal(get(e).gpr[X86_RSP], 0x100 - 6);
	assert_int_equal(get(e).rip, METAL_LOAD + 0x102);
}

static void test_fault(void **state)
{
	struct env *e = *state;

	ENTER(e, X86_SS, 0x0f, 0x0b);			/* UD2 */
	handler(e, 6, METAL_LOAD + 0x100);
	mem_copy_to(e->m->vm.mem, METAL_LOAD + 0x100, "\xfa\xf4", 2);
	assert_int_equal(finish(e), 3);
	assert_int_equal(fake_get(&e->fake.writes), 3);
	assert_int_equal(logged(e, 4), METAL_LOAD);
}

/* Acknowledged before the frame is pushed: it must come through, once. */
static void test_external_interrupt(void **state)
{
	struct env *e = *state;
	static const uint8_t init[] = { 0x11, 0x20, 0x04, 0x01 };

	for (unsigned i = 0; i < 4; i++)
		pic_write(e->m->vm.pic, i ? 0x21 : 0x20, init[i]);
	pic_write(e->m->vm.pic, 0x21, 0);
	ENTER(e, X86_SS, 0xfb, 0x90, 0x90, 0xfa, 0xf4);	/* STI; NOP; NOP; CLI; HLT */
	handler(e, 0x23, METAL_LOAD + 0x100);
	mem_copy_to(e->m->vm.mem, METAL_LOAD + 0x100, "\x40\xf4", 2);	/* INC AX; HLT */
	irq_set(&e->m->vm, 3, true);
	irq_set(&e->m->vm, 3, false);
	irq_set(&e->m->vm, 3, true);
	assert_int_equal(finish(e), 3);
	assert_int_equal(fake_get(&e->fake.writes), 3);
	assert_int_equal(logged(e, 0) & 0x200, 0x200);
	assert_int_equal(logged(e, 4), METAL_LOAD + 2);
	assert_int_equal(get(e).gpr[X86_RAX], 1);
	assert_int_equal(get(e).rip, METAL_LOAD + 0x102);
}

/* IRET pops from there; an NMI that comes while it waits is taken after it. */
static void test_nmi_while_waiting(void **state)
{
	struct env *e = *state;
	struct vcpu *v = &e->m->vcpu;

	/* POP AX; NOP; CLI; HLT */
	ENTER(e, X86_SS, 0x58, 0x90, 0xfa, 0xf4);
	handler(e, 2, METAL_LOAD + 0x100);
	mem_copy_to(e->m->vm.mem, METAL_LOAD + 0x100, "\xf4", 1);
	v->kick_seen = v->kick;
	assert_int_equal(soft_engine.run(v), EXIT_PENDING);
	soft_engine.inject_nmi(v);
	assert_int_equal(get(e).rip, METAL_LOAD);	/* on the boundary, nothing has happened */
	assert_int_equal(get(e).gpr[X86_RSP], 0x100);
	inout_wait(v);
	assert_int_equal(finish(e), 3);
	assert_int_equal(get(e).gpr[X86_RAX], bytes(0, 2));
	assert_int_equal(fake_get(&e->fake.reads), 1);
	assert_int_equal(logged(e, 4), METAL_LOAD + 1);	/* the NMI's return address: after the POP */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_load_store), T(test_moves), T(test_software_interrupt), T(test_fault), T(test_external_interrupt),
		T(test_nmi_while_waiting),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
