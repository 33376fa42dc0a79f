/* The in-engine devices as a machine: ports on the bus, lines to the processor, A20, NMI, the PM timer's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/bus.h"
#include "vmm/dev/devs.h"
#include "vmm/dev/pmtimer.h"
#include "vmm/irq.h"
#include "vmm/mem.h"
#include "vmm/timer.h"
#include "vmm/vm.h"

/* ---- a machine without engine, link and threads */

static unsigned wakes, resets, nmis, a20_changes;
static bool a20;
static struct vm vm;
static struct vcpu cpu;

void vcpu_wake(struct vcpu *c)
{
	assert_ptr_equal(c, &cpu);
	wakes++;
}

void vm_request(struct vm *v, enum vm_request request, unsigned arg, const char *why)
{
	(void)arg;
	assert_ptr_equal(v, &vm);
	assert_int_equal(request, VM_REQUEST_RESET);
	assert_non_null(why);
	resets++;
}

static void engine_a20(struct vm *v, bool on)
{
	(void)v;
	a20 = on;
	a20_changes++;
}

static void engine_nmi(struct vcpu *c)
{
	(void)c;
	nmis++;
}

static const struct engine_ops engine = { .name = "none", .a20 = engine_a20, .inject_nmi = engine_nmi };

static int setup(void **state)
{
	char err[200] = "";

	(void)state;
	memset(&vm, 0, sizeof(vm));
	memset(&cpu, 0, sizeof(cpu));
	wakes = resets = nmis = a20_changes = 0;
	a20 = true;
	cpu.vm = &vm;
	cpu.engine = &engine;
	vm.vcpu = &cpu;
	vm.nvcpus = 1;
	pthread_mutex_init(&vm.dev_lock, NULL);
	vm.bus = bus_new();
	vm.timers = timers_new(NULL, NULL, NULL, NULL);
	return mem_new(&vm.mem, 32 << 20, err, sizeof(err)) || devs_new(&vm, err, sizeof(err));
}

static int teardown(void **state)
{
	(void)state;
	devs_free(&vm);
	mem_free(vm.mem);
	timers_free(vm.timers);
	bus_free(vm.bus);
	pthread_mutex_destroy(&vm.dev_lock);
	return 0;
}

static uint64_t in(uint16_t port, unsigned size)
{
	struct bus_owner o = bus_find_port(vm.bus, port, size);

	assert_non_null(o.handler);
	return o.handler->read(o.handler->dev, port - o.handler->base, size);
}

static void out(uint16_t port, unsigned size, uint64_t value)
{
	struct bus_owner o = bus_find_port(vm.bus, port, size);

	assert_non_null(o.handler);
	o.handler->write(o.handler->dev, port - o.handler->base, size, value);
}

static bool claimed(uint16_t port, unsigned size)
{
	return bus_find_port(vm.bus, port, size).handler;
}

static void pics(void)
{
	static const uint8_t words[][2] = {
		{ 0x20, 0x11 }, { 0x21, 0x08 }, { 0x21, 0x04 }, { 0x21, 0x01 },
		{ 0xa0, 0x11 }, { 0xa1, 0x70 }, { 0xa1, 0x02 }, { 0xa1, 0x01 },
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		out(words[i][0], 1, words[i][1]);
}

static void ports(void **state)
{
	static const uint16_t mine[] = { 0x20, 0x21, 0x40, 0x41, 0x42, 0x43, 0x61, 0x70, 0x71, 0x92, 0xa0, 0xa1, 0x4d0, 0x4d1 };
	static const uint16_t others[] = { 0x1f, 0x22, 0x3f, 0x44, 0x60, 0x62, 0x64, 0x6f, 0x72, 0x80, 0x91, 0x93, 0xa2, 0x4d2, 0xcf9 };

	(void)state;
	for (unsigned i = 0; i < sizeof(mine) / sizeof(mine[0]); i++)
		assert_true(claimed(mine[i], 1));
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(claimed(others[i], 1));
}

/* A word at a byte device is two bytes, low first: `out 70h, ax` writes index and datum. */
static void words(void **state)
{
	(void)state;
	out(0x70, 2, 0x5a40);
	out(0x70, 1, 0x40);
	assert_int_equal(in(0x71, 1), 0x5a);
	assert_int_equal(in(0x70, 2), 0x5aff);
	out(0x4d0, 2, 0xffff);
	assert_int_equal(in(0x4d0, 2), 0xdef8);
}

static uint8_t cmos(uint8_t index)
{
	out(0x70, 1, index);
	return in(0x71, 1);
}

static void cmos_content(void **state)
{
	(void)state;
	assert_int_equal(cmos(0x15) | cmos(0x16) << 8, 640);
	assert_int_equal(cmos(0x30) | cmos(0x31) << 8, 31 * 1024);
	assert_int_equal(cmos(0x34) | cmos(0x35) << 8, 16 * 16);
	assert_int_equal(cmos(0x3d), 0x32);
	assert_int_equal(cmos(0x38), 0x41);
	assert_int_equal(cmos(0x5f), 0);
	assert_int_equal(cmos(0x10), 0);
}

static void lines(void **state)
{
	(void)state;
	pics();
	assert_false(irq_pending(&cpu));
	irq_set(&vm, 4, true);
	assert_true(irq_pending(&cpu));
	assert_int_equal(wakes, 1);
	irq_set(&vm, 4, true);
	assert_int_equal(wakes, 1);
	assert_int_equal(irq_acknowledge(&cpu), 0x0c);
	assert_false(irq_pending(&cpu));
	irq_set(&vm, 4, false);
	irq_set(&vm, 17, true);			/* no controller has it */
	irq_set(&vm, UINT32_MAX, true);
	out(0x20, 1, 0x20);
	assert_false(irq_pending(&cpu));
	assert_int_equal(wakes, 1);
	pthread_mutex_lock(&vm.dev_lock);
	irq_set_locked(&vm, 9, true);
	pthread_mutex_unlock(&vm.dev_lock);
	assert_int_equal(irq_acknowledge(&cpu), 0x71);
	assert_int_equal(irq_acknowledge(&cpu), 0x0f);	/* spurious */
}

/* A halted guest is woken by the timer; a guest that masks it costs nothing. */
static void timer_interrupt(void **state)
{
	(void)state;
	pics();
	assert_true(timers_next(vm.timers) == UINT64_MAX);
	out(0x43, 1, 0x34);
	out(0x40, 1, 0);
	out(0x40, 1, 0);
	assert_true(irq_pending(&cpu));
	irq_acknowledge(&cpu);
	out(0x20, 1, 0x20);
	wakes = 0;
	timers_advance(vm.timers, 54926300);
	assert_true(irq_pending(&cpu));
	assert_int_equal(wakes, 1);
	assert_int_equal(irq_acknowledge(&cpu), 0x08);
	out(0x20, 1, 0x20);
	out(0x21, 1, 0x01);
	timers_advance(vm.timers, 1000000000);
	assert_true(timers_next(vm.timers) == UINT64_MAX);
	assert_int_equal(wakes, 1);
	out(0x21, 1, 0x00);
	assert_true(irq_pending(&cpu));
	assert_true(timers_next(vm.timers) != UINT64_MAX);
}

static void gate_a20(void **state)
{
	(void)state;
	assert_int_equal(in(0x92, 1), 0);
	devs_a20_kbc(&vm, true);
	assert_int_equal(a20_changes, 0);	/* it is open from the start */
	devs_a20_kbc(&vm, false);
	assert_false(a20);
	out(0x92, 1, 0x02);
	assert_true(a20);
	assert_int_equal(in(0x92, 1), 0x02);
	devs_a20_kbc(&vm, true);
	out(0x92, 1, 0x00);
	assert_true(a20);			/* either holds it open */
	devs_a20_kbc(&vm, false);
	assert_false(a20);
	devs_reset(&vm);
	assert_true(a20);
}

static void fast_reset(void **state)
{
	(void)state;
	out(0x92, 1, 0xfe);
	assert_int_equal(resets, 0);
	assert_int_equal(in(0x92, 1), 0x02);
	out(0x92, 1, 0x03);
	assert_int_equal(resets, 1);
	out(0x92, 1, 0x03);			/* a level does nothing */
	assert_int_equal(resets, 1);
	out(0x92, 1, 0x02);
	out(0x92, 1, 0x03);
	assert_int_equal(resets, 2);
}

static void nmi(void **state)
{
	(void)state;
	devs_nmi(&vm);
	assert_int_equal(nmis, 1);
	out(0x70, 1, 0x8f);
	devs_nmi(&vm);
	devs_nmi(&vm);
	assert_int_equal(nmis, 1);
	out(0x71, 1, 0);
	assert_int_equal(nmis, 1);
	out(0x70, 1, 0x0f);			/* one waited */
	assert_int_equal(nmis, 2);
	out(0x70, 1, 0x0f);
	assert_int_equal(nmis, 2);
	out(0x70, 1, 0x8f);
	devs_nmi(&vm);
	devs_reset(&vm);
	out(0x70, 1, 0x0f);
	assert_int_equal(nmis, 2);
}

static void pm_timer(void **state)
{
	(void)state;
	assert_false(claimed(0xb008, 4));
	timers_advance(vm.timers, 2000000000);
	devs_pmbase(&vm, 0xb000, true);
	assert_int_equal(in(0xb008, 4), 7159090);
	assert_int_equal(in(0xb009, 1), 7159090 >> 8 & 0xff);
	out(0xb008, 4, 0);
	assert_int_equal(in(0xb008, 4), 7159090);
	assert_false(claimed(0xb004, 4));
	assert_false(claimed(0xb00c, 4));
	devs_pmbase(&vm, 0x600, true);
	assert_false(claimed(0xb008, 4));
	assert_true(claimed(0x608, 4));
	devs_pmbase(&vm, 0x38, true);		/* on the PIT: that stays where it is */
	out(0x43, 1, 0x34);
	assert_false(claimed(0x608, 4));
	devs_pmbase(&vm, 0xfffc, true);		/* beyond the last port */
	devs_pmbase(&vm, 0x600, true);
	devs_pmbase(&vm, 0x600, false);
	assert_false(claimed(0x608, 4));
	devs_pmbase(&vm, 0x600, true);
	devs_reset(&vm);
	assert_false(claimed(0x608, 4));
	assert_true(bus_check(vm.bus));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ports), T(words), T(cmos_content), T(lines), T(timer_interrupt), T(gate_a20), T(fast_reset), T(nmi), T(pm_timer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
