/*
 * tests/unit/test_kvm.c - the KVM engine through its table: reset state, state
 * in and out, translation, kicks, what the debugger wants.  (Devices, the map
 * and interrupts: tests/metal/any*.S; string I/O: tests/insn/string_io_kvm.c.)
 *
 * Guests are real-mode code, which a KVM that emulates runs as well.  77 where
 * there is no KVM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/metal/metal.h"
#include "vmm/inout.h"
#include "vmm/kvm/probe.h"
#include "vmm/mem.h"
#include "vmm/stats.h"
#include "vmm/x86/control.h"

static const struct engine_ops *const engine = &kvm_engine;
static bool emulates;

static int setup(void **state)
{
	*state = metal_new_on(engine);
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
	metal_enter(m, 0, METAL_LOAD);
}
#define CODE(m, ...) code(m, (const uint8_t[]) { __VA_ARGS__ }, sizeof((const uint8_t[]) { __VA_ARGS__ }))

static enum vcpu_exit run(struct metal *m)
{
	m->vcpu.kick_seen = m->vcpu.kick;
	return engine->run(&m->vcpu);
}

/* SDM vol. 3 table 9-1; what the kernel leaves to taste (x87, DR6's bits for features) apart. */
static void test_reset(void **state)
{
	struct metal *m = *state;
	struct x86_state s;

	for (unsigned i = 0; i < 2; i++) {
		CODE(m, 0xb8, 0x34, 0x12, 0xfa, 0xf4);		/* mov $1234h, %ax; cli; hlt */
		s = get(m);
		s.kernel_gs_base = 0x1234000;
		s.dr[0] = 0x4321;
		s.fpu.xmm[3][0] = 0x77;
		assert_int_equal(engine->set_state(&m->vcpu, &s), 0);
		assert_int_equal(run(m), EXIT_HLT_FOREVER);
		assert_true(get(m).halted);
		assert_int_equal(get(m).gpr[X86_RAX], 0x1234);
		engine->reset(&m->vcpu);
		s = get(m);
		assert_int_equal(s.rip, 0xfff0);
		assert_int_equal(s.rflags, 2);
		assert_int_equal(s.seg[X86_CS].selector, 0xf000);
		assert_int_equal(s.seg[X86_CS].base, 0xffff0000);
		assert_int_equal(s.seg[X86_CS].limit, 0xffff);
		assert_int_equal(s.seg[X86_TR].attr & 0x97, 0x83);	/* of 16 bits with AMD */
		assert_int_equal(s.cr0, 0x60000010);
		assert_int_equal(s.cr2 | s.cr3 | s.cr4 | s.efer, 0);
		assert_int_equal(s.gpr[X86_RAX] | s.gpr[X86_RSP], 0);
		assert_int_not_equal(s.gpr[X86_RDX], 0);		/* the processor's signature */
		assert_int_equal(s.kernel_gs_base, 0);
		assert_int_equal(s.dr[0], 0);
		assert_int_equal(s.dr[7], X86_DR7_ONES);
		assert_int_equal(s.fpu.xmm[3][0], 0);
		assert_int_equal(s.xcr0, 1);
		assert_false(s.halted);
	}
}

static void test_state_comes_back(void **state)
{
	struct metal *m = *state;
	struct x86_state s, back;

	CODE(m, 0xf4);
	s = get(m);
	for (unsigned i = 0; i < X86_GPRS; i++)
		s.gpr[i] = 0x1111111111111111ull * i;
	s.seg[X86_GS] = (struct x86_segment){ .selector = 0x5000, .base = 0x50000, .limit = 0xffff, .attr = 0x93 };
	s.gdtr = (struct x86_table){ .base = 0x800, .limit = 0x27 };
	s.cr2 = 0x1000;
	s.star = 0x0023001000000000;
	s.lstar = 0xffffffff81000000;
	s.sysenter_eip = 0xc0000000;
	s.fpu.st[0][0] = 0x55;
	s.fpu.xmm[15][15] = 0xaa;
	s.dr[3] = 0x1234;
	assert_int_equal(engine->set_state(&m->vcpu, &s), 0);
	back = get(m);
	assert_memory_equal(back.gpr, s.gpr, sizeof(s.gpr));
	assert_int_equal(back.seg[X86_GS].base, 0x50000);
	assert_int_equal(back.seg[X86_GS].selector, 0x5000);
	assert_int_equal(back.gdtr.base, 0x800);
	assert_int_equal(back.gdtr.limit, 0x27);
	assert_int_equal(back.cr2, 0x1000);
	assert_int_equal(back.star, s.star);
	assert_int_equal(back.lstar, s.lstar);
	assert_int_equal(back.sysenter_eip, s.sysenter_eip);
	assert_int_equal(back.fpu.st[0][0], 0x55);
	assert_int_equal(back.fpu.xmm[15][15], 0xaa);
	assert_int_equal(back.dr[3], 0x1234);
	/* a look does not turn the clock back */
	assert_int_equal(engine->set_state(&m->vcpu, &back), 0);
	assert_true(get(m).tsc > back.tsc);
}

static void test_impossible_states_change_nothing(void **state)
{
	struct metal *m = *state;
	struct x86_state s;

	CODE(m, 0xf4);
	s = get(m);
	s.gpr[X86_RAX] = 0x77;
	s.cr0 = X86_CR0_PG;
	assert_int_equal(engine->set_state(&m->vcpu, &s), -EINVAL);
	s.cr0 = get(m).cr0;
	s.efer = 1ull << 40;			/* the kernel's to refuse */
	assert_int_equal(engine->set_state(&m->vcpu, &s), -EINVAL);
	assert_int_equal(get(m).gpr[X86_RAX], 0);
	assert_int_equal(get(m).efer, 0);
	assert_int_equal(run(m), EXIT_HLT_FOREVER);
}

/* 64-bit mode: a KVM that emulates has no other paging. */
static void test_translate(void **state)
{
	const uint64_t entry[] = { 0x6000 | 3, 0x7000 | 3, 0xd000 | 3, 0x9000 | 3 };
	const uint32_t at[] = { 0x5000, 0x6000, 0x7000, 0xd000 + 8 * 3 };
	struct metal *m = *state;
	struct x86_state s;
	uint64_t gpa;

	CODE(m, 0xf4);
	assert_int_equal(engine->translate(&m->vcpu, 0x12345, &gpa), 0);
	assert_int_equal(gpa, 0x12345);
	for (unsigned i = 0; i < 4; i++)
		assert_true(mem_copy_to(m->vm.mem, at[i], &entry[i], 8));
	s = get(m);
	s.cr0 |= X86_CR0_PE | X86_CR0_PG;
	s.cr3 = 0x5000;
	s.cr4 = X86_CR4_PAE;
	s.efer = X86_EFER_LME | X86_EFER_LMA;
	s.seg[X86_CS].attr = 0xa09b;
	assert_int_equal(engine->set_state(&m->vcpu, &s), 0);
	assert_int_equal(engine->translate(&m->vcpu, 0x3456, &gpa), 0);
	assert_int_equal(gpa, 0x9456);
	assert_int_equal(engine->translate(&m->vcpu, 0x4456, &gpa), -EFAULT);
	assert_int_equal(engine->translate(&m->vcpu, 0x100000003456, &gpa), -EFAULT);
}

static void *kick_later(void *arg)
{
	usleep(20000);
	vcpu_kick(arg);
	return NULL;
}

static void test_a_kick_ends_a_loop(void **state)
{
	struct metal *m = *state;
	pthread_t t;

	CODE(m, 0xeb, 0xfe);
	for (unsigned i = 0; i < 3; i++) {
		m->vcpu.kick_seen = m->vcpu.kick;
		assert_int_equal(pthread_create(&t, NULL, kick_later, &m->vcpu), 0);
		assert_int_equal(engine->run(&m->vcpu), EXIT_KICKED);
		pthread_join(t, NULL);
		assert_int_equal(get(m).rip, METAL_LOAD);
	}
	/* one that came before */
	vcpu_kick(&m->vcpu);
	assert_int_equal(engine->run(&m->vcpu), EXIT_KICKED);
}

static uint64_t rung(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* mov $123h, %dx; mov $55h, %al; out; out; mov $66h, %al; out; cli; hlt */
static void test_the_kernel_answers_doorbells(void **state)
{
	struct metal *m = *state;
	struct engine_doorbell d = { .addr = 0x123, .size = 1, .fd = eventfd(0, EFD_NONBLOCK) }, match = d, wide = d;
	const struct vcpu_stats *s = inout_stats(&m->vcpu);
	const uint8_t guest[] = { 0xba, 0x23, 0x01, 0xb0, 0x55, 0xee, 0xee, 0xb0, 0x66, 0xee, 0xfa, 0xf4 };
	uint64_t here;

	match.match = true;
	match.data = 0x66;
	wide.size = 2;
	for (unsigned i = 0; i < 4; i++) {
		static const unsigned rings[] = { 3, 1, 0, 0 };
		const struct engine_doorbell *const bells[] = { &d, &match, &wide, NULL };

		if (bells[i])
			assert_int_equal(engine->doorbell(&m->vm, bells[i], true), 0);
		code(m, guest, sizeof(guest));
		here = stat_get(s, STAT_IO_UNCLAIMED);
		assert_int_equal(run(m), EXIT_HLT_FOREVER);
		assert_int_equal(rung(d.fd), rings[i]);
		assert_int_equal(stat_get(s, STAT_IO_UNCLAIMED) - here, 3 - rings[i]);
		if (bells[i])
			assert_int_equal(engine->doorbell(&m->vm, bells[i], false), 0);
	}
	assert_int_not_equal(engine->doorbell(&m->vm, &d, false), 0);
	close(d.fd);
}

/* ---- the debugger: 8000h: nop; nop; inc (500h); nop; nop; jmp 8000h */

static void loop(struct metal *m)
{
	CODE(m, 0x90, 0x90, 0xfe, 0x06, 0x00, 0x05, 0x90, 0x90, 0xeb, 0xf6);
	memset(&m->vcpu.debug, 0, sizeof(m->vcpu.debug));
}

static void stops_at(struct metal *m, enum vcpu_stop why, uint64_t rip)
{
	m->vcpu.debug.why = STOP_NONE;
	assert_int_equal(run(m), EXIT_DEBUG);
	assert_int_equal(m->vcpu.debug.why, why);
	assert_int_equal(get(m).rip, rip);
}

static void test_steps(void **state)
{
	static const uint64_t rips[] = { 0x8001, 0x8002, 0x8006, 0x8007, 0x8008, 0x8000, 0x8001 };
	struct metal *m = *state;

	loop(m);
	m->vcpu.debug.step = true;
	for (unsigned i = 0; i < sizeof(rips) / sizeof(rips[0]); i++)
		stops_at(m, STOP_STEP, rips[i]);
	assert_int_equal(get(m).rflags & 0x100, 0);		/* TF is not the guest's */
}

static void test_breakpoints(void **state)
{
	struct metal *m = *state;
	struct vcpu_debug *d = &m->vcpu.debug;

	loop(m);
	d->at[d->nbreaks++] = 0x8002;
	d->at[d->nbreaks++] = 0x8007;
	assert_int_equal(engine->debug_changed(&m->vcpu), 0);
	for (unsigned i = 0; i < 2; i++) {
		stops_at(m, STOP_BREAK, 0x8002);
		stops_at(m, STOP_BREAK, 0x8007);
	}
	/* more than the processor has */
	for (unsigned i = 0; i < 6; i++)
		d->at[d->nbreaks++] = 0x9000 + i;
	d->at[d->nbreaks++] = 0x8006;
	assert_int_equal(engine->debug_changed(&m->vcpu), 0);
	stops_at(m, STOP_BREAK, 0x8002);
	stops_at(m, STOP_BREAK, 0x8006);
	stops_at(m, STOP_BREAK, 0x8007);
	d->nbreaks = 0;
	d->pass = false;
	d->step = true;
	stops_at(m, STOP_STEP, 0x8008);
	/* the guest's memory and its debug registers are its own */
	assert_int_equal(get(m).dr[0] | get(m).dr[1], 0);
	assert_int_equal(get(m).dr[7], X86_DR7_ONES);
}

static void test_watchpoints(void **state)
{
	struct metal *m = *state;
	struct vcpu_debug *d = &m->vcpu.debug;

	loop(m);
	d->watch[d->nwatches++] = (struct vcpu_watch){ .at = 0x4f0, .len = 33, .write = true };	/* in five pieces */
	assert_int_equal(engine->debug_changed(&m->vcpu), -ENOSPC);
	d->watch[0].len = 17;									/* 8, 8, 1 */
	assert_int_equal(engine->debug_changed(&m->vcpu), 0);
	if (emulates)
		skip();			/* watches nothing */
	stops_at(m, STOP_WATCH, 0x8006);
	assert_int_equal(d->hit, 0x500);
	d->at[d->nbreaks++] = 0x8000;
	d->at[d->nbreaks++] = 0x8001;
	assert_int_equal(engine->debug_changed(&m->vcpu), 0);
	stops_at(m, STOP_BREAK, 0x8000);
	stops_at(m, STOP_BREAK, 0x8001);
	stops_at(m, STOP_WATCH, 0x8006);
}

/* An argument: a pattern of tests to leave out.  (QEMU's emulated SVM knows no debug registers.) */
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_impossible_states_change_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_translate, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_kick_ends_a_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_kernel_answers_doorbells, setup, teardown),
		cmocka_unit_test_setup_teardown(test_steps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_breakpoints, setup, teardown),
		cmocka_unit_test_setup_teardown(test_watchpoints, setup, teardown),
	};
	char why[200];

	metal_free(metal_new_on(engine));	/* or skipped */
	if (argc > 1)
		cmocka_set_skip_filter(argv[1]);
	emulates = kvm_probe(&kvm_linux, KVM_PROBE_SPEED, why, sizeof(why));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
