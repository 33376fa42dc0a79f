/*
 * Guests that write anything to local APICs, I/O APIC, HPET, 8259As and PIT, by
 * memory, ports and MSRs, with lines, messages and time in between.  They may
 * lose interrupts; they may not keep the host busy, and what INTR promises an
 * INTA must find.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/apic.h"
#include "vmm/bus.h"
#include "vmm/dev/devs.h"
#include "vmm/dev/hpet.h"
#include "vmm/dev/ioapic.h"
#include "vmm/dev/lapic.h"
#include "vmm/irq.h"
#include "vmm/mem.h"
#include "vmm/timer.h"
#include "vmm/vm.h"
#include "vmm/x86/msr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

enum { CPUS = 2 };
#define STEP_MAX	10000000ull	/* ns */
/* In one step: PIT and clock with replays, local timers and comparators at 10 kHz each, and a few that were due. */
enum { WAKEUPS_MAX = 2 * (100 + 82) + (CPUS + HPET_TIMERS) * 101 + 32 };

static struct vm vm;
static struct vcpu cpu[CPUS];

void vcpu_wake(struct vcpu *c)
{
	if (!atomic_load(&c->intr) && !atomic_load(&c->nmi))
		abort();
}

void vm_request(struct vm *v, enum vm_request request, unsigned arg, const char *why)
{
	(void)v, (void)request, (void)arg, (void)why;
}

static void engine_a20(struct vm *v, bool on)
{
	(void)v, (void)on;
}

static void engine_nmi(struct vcpu *c)
{
	(void)c;
}

static const struct engine_ops engine = { .name = "none", .a20 = engine_a20, .inject_nmi = engine_nmi };

static void check(void)
{
	for (unsigned i = 0; i < CPUS; i++)
		if (!lapic_check(cpu[i].lapic))
			abort();
	if (!ioapic_check(vm.ioapic))
		abort();
}

static void pass(uint64_t ns)
{
	uint64_t end = timers_now(vm.timers) + ns, next;
	unsigned wakeups = 0;

	while ((next = timers_next(vm.timers)) <= end) {
		timers_advance(vm.timers, next > timers_now(vm.timers) ? next - timers_now(vm.timers) : 0);
		if (++wakeups > WAKEUPS_MAX)
			abort();
	}
	timers_advance(vm.timers, end - timers_now(vm.timers));
}

static uint64_t tsc(void)
{
	return timers_now(vm.timers) * 3;
}

static void mmio(const struct bus_handler *h, uint64_t off, unsigned size, uint64_t value, bool write)
{
	if (!h || off + size > h->len)
		return;
	if (write)
		h->write(h->dev, off, size, value);
	else
		(void)h->read(h->dev, off, size);
}

static const struct bus_handler *at(uint64_t gpa)
{
	return bus_find_mmio(vm.bus, gpa, 4).handler;
}

static void port(uint16_t n, uint8_t value)
{
	const struct bus_handler *h = bus_find_port(vm.bus, n, 1).handler;

	if (h)
		h->write(h->dev, n - h->base, 1, value);
}

static void acknowledge(struct vcpu *v)
{
	if (!irq_pending(v))
		return;
	(void)irq_acknowledge(v);
	check();
}

static void msr(struct vcpu *v, uint8_t which, uint64_t value, bool write)
{
	uint32_t index = which < 0xf0 ? 0x800u + which : which & 1 ? X86_MSR_APIC_BASE : X86_MSR_TSC_DEADLINE;

	if (index == X86_MSR_TSC_DEADLINE)
		value += tsc();
	else if (index == X86_MSR_APIC_BASE)
		value = LAPIC_BASE | (value & 0xd00);
	if (write)
		(void)apic_msr_write(v, index, value, tsc());
	else
		(void)apic_msr_read(v, index, &value);
}

static const uint8_t sizes[] = { 4, 4, 8, 4, 1, 4, 2, 4 };

static void one(const uint8_t *op)
{
	struct vcpu *v = &cpu[op[0] >> 7];
	uint32_t value = op[2] | op[3] << 8 | op[4] << 16 | (uint32_t)op[5] << 24;
	unsigned size = sizes[op[0] >> 4 & 7];
	static const uint16_t ports[] = { 0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1, 0x40, 0x43 };

	switch (op[0] & 15) {
	case 0 ... 2:
		mmio(v->apic_page, (op[1] & 63) << 4, size, value, true);
		break;
	case 3:
		mmio(v->apic_page, (op[1] & 63) << 4, size, value, false);
		break;
	case 4:
	case 5:		/* select a register, write it */
		mmio(at(IOAPIC_BASE), 0, 1, 0x10 + op[1] % 48, true);
		mmio(at(IOAPIC_BASE), 0x10, 4, value & ~(op[1] & 1 ? 0 : 0xe0000), true);
		break;
	case 6:
		mmio(at(IOAPIC_BASE), op[1] & 0x7f, size, value, op[2] & 1);
		break;
	case 7:
	case 8:
		mmio(at(HPET_BASE), (op[1] & 63) * 8, size, value, true);
		break;
	case 9:
		mmio(at(HPET_BASE), op[1] * 4, size, value, false);
		break;
	case 10:
		msr(v, op[1], value, op[0] & 0x40);
		break;
	case 11:
		port(ports[op[1] % 8], op[2]);
		break;
	case 12:
		irq_set(&vm, op[1] % 26, op[2] & 1);
		break;
	case 13:
		irq_msi(&vm, LAPIC_BASE + (value & 0x3fffff), op[1] << 8 | op[5]);
		break;
	case 14:
		pass((uint64_t)(op[1] << 8 | op[2]) * (STEP_MAX / 65536));
		break;
	default:
		acknowledge(v);
		if (op[1] & 1)
			mmio(v->apic_page, 0xb0, 4, 0, true);
		port(op[1] & 2 ? 0x20 : 0xa0, 0x20);
		break;
	}
}

/* Timers as fast as they go, which random bytes rarely program. */
static const uint8_t seeds[][6 * 8] = {
	{	/* comparator 0 by pin 20 */
		4, 40, 0x45, 0, 0, 0,		7, 0x20, 0x4c, 0x28, 0, 0,	7, 0x21, 1, 0, 0, 0,
		7, 2, 1, 0, 0, 0,		14, 0xff, 0xff, 0, 0, 0,
	},
	{	/* the local timer, periodic, taken twice */
		0, 0x0f, 0xff, 1, 0, 0,		0, 0x32, 0x40, 0, 2, 0,		0, 0x3e, 0x0b, 0, 0, 0,
		0, 0x38, 1, 0, 0, 0,		14, 0xff, 0xff, 0, 0, 0,	15, 1, 0, 0, 0, 0,
		14, 0xff, 0xff, 0, 0, 0,	15, 1, 0, 0, 0, 0,
	},
	{	/* a level that nobody clears */
		0, 0x0f, 0xff, 1, 0, 0,		4, 18, 0x39, 0x80, 0, 0,	12, 9, 1, 0, 0, 0,
		15, 1, 0, 0, 0, 0,		15, 1, 0, 0, 0, 0,
	},
};

size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	if (n >= sizeof(seeds) / sizeof(seeds[0]) || cap < sizeof(seeds[0]))
		return 0;
	memcpy(buf, seeds[n], sizeof(seeds[0]));
	return sizeof(seeds[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char err[200] = "";

	memset(&vm, 0, sizeof(vm));
	memset(cpu, 0, sizeof(cpu));
	vm.vcpu = cpu;
	vm.nvcpus = CPUS;
	for (unsigned i = 0; i < CPUS; i++) {
		cpu[i].vm = &vm;
		cpu[i].id = i;
		cpu[i].engine = &engine;
	}
	pthread_mutex_init(&vm.dev_lock, NULL);
	vm.bus = bus_new();
	vm.timers = timers_new(NULL, NULL, NULL, NULL);
	if (mem_new(&vm.mem, 1 << 20, err, sizeof(err)) || devs_new(&vm, err, sizeof(err)))
		abort();
	for (size_t i = 0; i + 6 <= size; i += 6) {
		one(data + i);
		check();
	}
	devs_reset(&vm);
	check();
	devs_free(&vm);
	mem_free(vm.mem);
	timers_free(vm.timers);
	bus_free(vm.bus);
	pthread_mutex_destroy(&vm.dev_lock);
	return 0;
}
