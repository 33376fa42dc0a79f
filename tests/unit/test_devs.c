/* The in-engine devices as a machine: ports on the bus, lines to the processor, A20, NMI, the PM timer's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "ipc/link.h"
#include "vmm/apic.h"
#include "vmm/bus.h"
#include "vmm/config.h"
#include "vmm/dev/devs.h"
#include "vmm/dev/hpet.h"
#include "vmm/dev/ioapic.h"
#include "vmm/dev/lapic.h"
#include "vmm/dev/pmtimer.h"
#include "vmm/events.h"
#include "vmm/irq.h"
#include "vmm/mem.h"
#include "vmm/timer.h"
#include "vmm/tsc.h"
#include "vmm/vm.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/msr.h"

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
	assert_int_equal(cmos(0x14), 0x06);
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

/* ---- with APICs */

enum { IO_MASKED = 1 << 16, IO_LEVEL = 1 << 15 };

static void lapic_out(unsigned reg, uint32_t value)
{
	cpu.apic_page->write(cpu.apic_page->dev, reg, 4, value);
}

static uint32_t lapic_in(unsigned reg)
{
	return (uint32_t)cpu.apic_page->read(cpu.apic_page->dev, reg, 4);
}

static void mmio_out(uint64_t gpa, unsigned size, uint64_t value)
{
	struct bus_owner o = bus_find_mmio(vm.bus, gpa, size);

	assert_non_null(o.handler);
	o.handler->write(o.handler->dev, gpa - o.handler->base, size, value);
}

static void redirect(unsigned pin, uint32_t low)
{
	mmio_out(IOAPIC_BASE, 4, 0x10 + 2 * pin);
	mmio_out(IOAPIC_BASE + 0x10, 4, low);
}

/* As a guest that uses APICs sets them up: 8259As masked, LINT0 too. */
static void apic_mode(void)
{
	pics();
	out(0x21, 1, 0xff);
	out(0xa1, 1, 0xff);
	lapic_out(0xf0, 0x1ff);
	lapic_out(0x350, IO_MASKED);
}

static void takes(uint8_t vector)
{
	assert_true(irq_pending(&cpu));
	assert_int_equal(irq_acknowledge(&cpu), vector);
	lapic_out(0xb0, 0);
}

static void apic_lines(void **state)
{
	(void)state;
	apic_mode();
	redirect(1, 0x31);
	redirect(2, 0x32);
	redirect(9, 0x39 | IO_LEVEL);
	redirect(17, 0x41 | IO_LEVEL);
	irq_set(&vm, 1, true);
	takes(0x31);
	irq_set(&vm, 0, true);			/* ISA IRQ0 is pin 2 */
	irq_set(&vm, 0, false);
	takes(0x32);
	irq_set(&vm, 2, true);			/* the cascade is nobody's */
	assert_false(irq_pending(&cpu));
	irq_set(&vm, 17, true);
	irq_set(&vm, 9, true);
	takes(0x41);
	takes(0x41);				/* levels: again after each EOI */
	irq_set(&vm, 17, false);
	takes(0x41);				/* that one was under way */
	takes(0x39);
	irq_set(&vm, 9, false);
	takes(0x39);
	assert_false(irq_pending(&cpu));
}

/* The 8259As' INTR into pin 0, as ExtINT: two requests are two edges, though INTR stays high (automatic EOI). */
static void extint_by_pin_0(void **state)
{
	static const uint8_t words[][2] = { { 0x20, 0x11 }, { 0x21, 0x08 }, { 0x21, 0x04 }, { 0x21, 0x03 } };

	(void)state;
	pics();
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		out(words[i][0], 1, words[i][1]);
	lapic_out(0xf0, 0x1ff);
	lapic_out(0x350, IO_MASKED);
	redirect(0, 7 << 8);
	irq_set(&vm, 4, true);
	irq_set(&vm, 9, true);
	assert_true(irq_pending(&cpu));
	assert_int_equal(irq_acknowledge(&cpu), 0x71);
	assert_true(irq_pending(&cpu));
	assert_int_equal(irq_acknowledge(&cpu), 0x0c);
	assert_false(irq_pending(&cpu));
}

static void apic_timer_idle(void **state)
{
	(void)state;
	apic_mode();
	redirect(2, 0x32);
	out(0x43, 1, 0x34);
	out(0x40, 1, 0x9c);			/* 11932: 100 Hz */
	out(0x40, 1, 0x2e);
	takes(0x32);				/* OUT rose */
	timers_advance(vm.timers, 1000);	/* the count is loaded on the next clock */
	for (unsigned i = 0; i < 5; i++) {
		timers_advance(vm.timers, 10000200);
		takes(0x32);
	}
	redirect(2, 0x32 | IO_MASKED);
	timers_advance(vm.timers, 1000000000);
	assert_true(timers_next(vm.timers) == UINT64_MAX);	/* nobody would hear it */
	assert_false(irq_pending(&cpu));
	redirect(2, 0x32);
	assert_true(timers_next(vm.timers) != UINT64_MAX);
	timers_advance(vm.timers, 10000200);
	takes(0x32);
}

static void hpet_replaces(void **state)
{
	unsigned ticks = 0;

	(void)state;
	apic_mode();
	redirect(2, 0x32);
	redirect(8, 0x38);
	out(0x43, 1, 0x34);
	out(0x40, 1, 0x9c);
	out(0x40, 1, 0x2e);
	takes(0x32);
	mmio_out(HPET_BASE + 0x10, 8, 3);
	timers_advance(vm.timers, 1000000000);
	assert_true(timers_next(vm.timers) == UINT64_MAX);	/* the PIT is heard no more */
	out(0x43, 1, 0x34);					/* programmed anew, it is not either */
	out(0x40, 1, 0x9c);
	out(0x40, 1, 0x2e);
	timers_advance(vm.timers, 1000);
	assert_false(irq_pending(&cpu));
	mmio_out(HPET_BASE + 0x100, 4, 0x4c);			/* 1 kHz */
	mmio_out(HPET_BASE + 0x108, 8, 200000000);
	mmio_out(HPET_BASE + 0x108, 8, 100000);
	while (ticks < 5) {
		timers_advance(vm.timers, 1000000);
		if (!irq_pending(&cpu))
			continue;
		takes(0x32);
		ticks++;
	}
	mmio_out(HPET_BASE + 0x100, 4, 0);
	mmio_out(HPET_BASE + 0x10, 8, 1);
	takes(0x32);						/* the PIT again, and its OUT is high */
	timers_advance(vm.timers, 20000000);
	takes(0x32);
}

static void hpet_message(void **state)
{
	(void)state;
	apic_mode();
	mmio_out(HPET_BASE + 0x110, 8, 0xfee00000ull << 32 | 0x77);
	mmio_out(HPET_BASE + 0x100, 4, 0x4004);
	mmio_out(HPET_BASE + 0x108, 8, 100);
	mmio_out(HPET_BASE + 0x10, 8, 1);
	timers_advance(vm.timers, 1000);
	takes(0x77);
}

static void message_event(void **state)
{
	struct link_event e = { .kind = LINK_EV_MSI, .addr = 0xfee00000, .value = 0x55 };

	(void)state;
	apic_mode();
	assert_null(event_apply(&vm, &e));
	takes(0x55);
	e.addr = 0x1000;			/* the guest's own mistake */
	assert_null(event_apply(&vm, &e));
	assert_false(irq_pending(&cpu));
}

static void nmi_by_lint1(void **state)
{
	(void)state;
	lapic_out(0xf0, 0x1ff);
	lapic_out(0x360, IO_MASKED);
	devs_nmi(&vm);
	assert_int_equal(nmis, 0);
	lapic_out(0x360, 4 << 8);
	devs_nmi(&vm);
	devs_nmi(&vm);
	assert_int_equal(nmis, 2);
}

static void apic_msrs(void **state)
{
	uint64_t v;

	(void)state;
	assert_true(apic_has_msr(X86_MSR_APIC_BASE) && apic_has_msr(0x6e0) && apic_has_msr(0x800) && apic_has_msr(0x8ff));
	assert_false(apic_has_msr(0x7ff) || apic_has_msr(0x900) || apic_has_msr(X86_MSR_TSC));
	assert_true(apic_msr_read(&cpu, X86_MSR_APIC_BASE, &v));
	assert_int_equal(v, 0xfee00900);
	assert_int_equal(cpu.apic_page->base, 0xfee00000);
	apic_set_cr8(&cpu, 5);
	assert_int_equal(lapic_in(0x80), 0x50);
	assert_int_equal(apic_cr8(&cpu), 5);
	assert_true(apic_msr_write(&cpu, X86_MSR_APIC_BASE, 0xfee00d00, 0));
	assert_null(cpu.apic_page);
	assert_true(apic_msr_write(&cpu, 0x80f, 0x1ff, 0));
	assert_true(apic_msr_write(&cpu, 0x832, 2 << 17 | 0x66, 0));
	assert_true(apic_msr_write(&cpu, X86_MSR_TSC_DEADLINE, 5, 10));
	assert_true(irq_pending(&cpu));
	assert_true(apic_msr_write(&cpu, X86_MSR_TSC_DEADLINE, 50000, 10));
	assert_true(apic_msr_read(&cpu, X86_MSR_TSC_DEADLINE, &v));
	assert_int_equal(v, 50000);
	apic_tsc_moved(&cpu, 60000);
	assert_true(apic_msr_read(&cpu, X86_MSR_TSC_DEADLINE, &v));
	assert_int_equal(v, 0);
	assert_false(apic_msr_write(&cpu, X86_MSR_APIC_BASE, 0xfee00900, 0));
	devs_reset(&vm);
	assert_non_null(cpu.apic_page);
	assert_false(irq_pending(&cpu));
}

static void apic_cpuids(void **state)
{
	struct x86_cpuid r = { .ebx = 0x0000ab00 };

	(void)state;
	apic_cpuid(&cpu, 1, 0, 0x16, &r);
	assert_int_equal(r.ebx, 0x0001ab00);
	assert_int_equal(r.edx, X86_FEATURE_APIC);
	assert_int_equal(r.ecx, X86_FEATURE_X2APIC | X86_FEATURE_TSC_DEADLINE);
	assert_true(apic_msr_write(&cpu, X86_MSR_APIC_BASE, 0xfee00100, 0));
	r = (struct x86_cpuid){ 0 };
	apic_cpuid(&cpu, 1, 0, 0x16, &r);
	assert_int_equal(r.edx, 0);			/* switched off, it is not there */
	r = (struct x86_cpuid){ 0 };
	apic_cpuid(&cpu, 6, 0, 5, &r);			/* beyond the last leaf */
	assert_int_equal(r.eax, 0);
	apic_cpuid(&cpu, 6, 0, 0x16, &r);
	assert_int_equal(r.eax, X86_FEATURE_ARAT);
	apic_cpuid(&cpu, 0x0b, 0, 0x16, &r);
	assert_int_equal(r.eax, 0);
	assert_int_equal(r.ebx, 1);
	assert_int_equal(r.ecx, 0x100);
	apic_cpuid(&cpu, 0x0b, 1, 0x16, &r);
	assert_int_equal(r.ebx, 1);
	assert_int_equal(r.ecx, 0x201);
	apic_cpuid(&cpu, 0x0b, 2, 0x16, &r);
	assert_int_equal(r.ebx, 0);
	assert_int_equal(r.ecx, 2);
	apic_cpuid(&cpu, 0x15, 0, 0x16, &r);
	assert_int_equal(r.ecx, 25000000);
	assert_true(r.eax && r.ebx);
	apic_cpuid(&cpu, 0x16, 0, 0x16, &r);
	assert_int_equal(r.eax, tsc_hz() / 1000000);
	assert_int_equal(r.ecx, 25);
}

/* x86.apic=off: a machine of the 8259As alone. */
static void without_apics(void **state)
{
	struct config config = { .apic = false };
	struct x86_cpuid r = { 0 };
	char err[200] = "";
	uint64_t v;

	(void)state;
	devs_free(&vm);
	vm.config = &config;
	bus_free(vm.bus);
	vm.bus = bus_new();
	assert_int_equal(devs_new(&vm, err, sizeof(err)), 0);
	assert_null(cpu.apic_page);
	assert_null(bus_find_mmio(vm.bus, IOAPIC_BASE, 4).handler);
	assert_false(apic_msr_read(&cpu, X86_MSR_APIC_BASE, &v));
	assert_false(apic_msr_write(&cpu, X86_MSR_APIC_BASE, 0xfee00900, 0));
	apic_set_cr8(&cpu, 5);
	assert_int_equal(apic_cr8(&cpu), 0);
	apic_cpuid(&cpu, 1, 0, 0x16, &r);
	assert_int_equal(r.edx | r.ecx, 0);
	pics();
	irq_set(&vm, 4, true);
	assert_true(irq_pending(&cpu));
	assert_int_equal(irq_acknowledge(&cpu), 0x0c);
	irq_msi(&vm, 0xfee00000, 0x40);
	assert_false(irq_pending(&cpu));
	devs_nmi(&vm);
	assert_int_equal(nmis, 1);
	devs_reset(&vm);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ports), T(words), T(cmos_content), T(lines), T(timer_interrupt), T(gate_a20), T(fast_reset), T(nmi), T(pm_timer),
		T(apic_lines), T(extint_by_pin_0), T(apic_timer_idle), T(hpet_replaces), T(hpet_message), T(message_event),
		T(nmi_by_lint1), T(apic_msrs), T(apic_cpuids), T(without_apics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
