/*
 * vmm/dev/devs.c - the in-engine devices as one machine has them.
 *
 * Owns the table of their ports, the wires between them and to the processor,
 * and what the CMOS tells firmware about the machine.  A device here has byte
 * registers on an ISA bus: a wider access is split into bytes, low first.  Those
 * in memory (I/O APIC, HPET, and each processor's local APIC) see it whole.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "vmm/bus.h"
#include "vmm/config.h"
#include "vmm/dev/devs.h"
#include "vmm/dev/hpet.h"
#include "vmm/dev/ioapic.h"
#include "vmm/dev/lapic.h"
#include "vmm/dev/pic.h"
#include "vmm/dev/pit.h"
#include "vmm/dev/pmtimer.h"
#include "vmm/dev/port92.h"
#include "vmm/dev/rtc.h"
#include "vmm/dev/tick.h"
#include "vmm/irq.h"
#include "vmm/mem.h"
#include "vmm/timer.h"
#include "vmm/tsc.h"
#include "vmm/vm.h"

enum { PM_TIMER_BITS = 24 };

/* CMOS boot order, as PC firmware reads it where fw_cfg says nothing. */
enum { BOOT_HARD_DISK = 2, BOOT_CDROM = 3, BOOT_NETWORK = 4, BOOT_NO_FLOPPY_CHECK = 1 };

/* ---- ports */

static uint8_t read_pic(struct vm *vm, uint16_t port)
{
	return pic_read(vm->pic, port);
}

static void write_pic(struct vm *vm, uint16_t port, uint8_t value)
{
	pic_write(vm->pic, port, value);
}

static uint8_t read_pit(struct vm *vm, uint16_t port)
{
	return pit_read(vm->pit, port);
}

static void write_pit(struct vm *vm, uint16_t port, uint8_t value)
{
	pit_write(vm->pit, port, value);
}

static uint8_t read_rtc(struct vm *vm, uint16_t port)
{
	return rtc_read(vm->rtc, port);
}

static void deliver_nmi(struct vm *vm);

static void write_rtc(struct vm *vm, uint16_t port, uint8_t value)
{
	rtc_write(vm->rtc, port, value);
	deliver_nmi(vm);
}

struct port_row {
	const char *name;
	uint16_t base, len;
	uint8_t (*read)(struct vm *, uint16_t port);
	void (*write)(struct vm *, uint16_t port, uint8_t value);
	bool controller;		/* an interrupt controller's: the engine may have its own */
};

static uint8_t read_port92(struct vm *, uint16_t);
static void write_port92(struct vm *, uint16_t, uint8_t);

static const struct port_row rows[] = {
	{ "pic", 0x20, 2, read_pic, write_pic, true },
	{ "pic", 0xa0, 2, read_pic, write_pic, true },
	{ "elcr", 0x4d0, 2, read_pic, write_pic, true },
	{ "pit", 0x40, 4, read_pit, write_pit, false },
	{ "port61", 0x61, 1, read_pit, write_pit, false },
	{ "rtc", 0x70, 2, read_rtc, write_rtc, false },
	{ "port92", 0x92, 1, read_port92, write_port92, false },
};

enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

struct devs {
	struct port92 *port92;
	bool nmi;			/* latched while masked */
	/* ISA IRQ0 and IRQ8: as the PIT and the clock drive them, and whether the HPET has them instead */
	bool pit_line, rtc_line, hpet_lines;
	struct bus_handler *apic_page;	/* of each processor */
	struct placed {
		struct vm *vm;
		const struct port_row *row;
	} placed[ROWS];
};

static uint8_t read_port92(struct vm *vm, uint16_t port)
{
	(void)port;
	return port92_read(vm->devs->port92);
}

static void write_port92(struct vm *vm, uint16_t port, uint8_t value)
{
	(void)port;
	port92_write(vm->devs->port92, value);
}

static uint64_t on_read(void *dev, uint64_t off, unsigned size)
{
	const struct placed *p = dev;
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)p->row->read(p->vm, p->row->base + off + i) << 8 * i;
	return value;
}

static void on_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	const struct placed *p = dev;

	for (unsigned i = 0; i < size; i++)
		p->row->write(p->vm, p->row->base + off + i, value >> 8 * i);
}

static int place_ports(struct vm *vm)
{
	int e = 0;

	for (unsigned i = 0; i < ROWS && !e; i++) {
		const struct port_row *row = &rows[i];
		struct placed *p = &vm->devs->placed[i];
		struct bus_handler h = {
			.name = row->name, .base = row->base, .len = row->len, .read = on_read, .write = on_write, .dev = p,
		};

		if (row->controller && vm->irqchip)
			continue;
		*p = (struct placed){ .vm = vm, .row = row };
		e = bus_add_handler(vm->bus, &h);
	}
	return e;
}

/* ---- wires */

static void on_masks_changed(void *arg)
{
	struct vm *vm = arg;

	if (vm->pit)
		pit_lines_changed(vm->pit);
	if (vm->hpet)
		hpet_lines_changed(vm->hpet);
}

/* The lines of the PIT and the clock: nobody hears them while the HPET has replaced both. */
static bool *own_line(struct vm *vm, unsigned irq)
{
	return irq == PIT_IRQ ? &vm->devs->pit_line : &vm->devs->rtc_line;
}

static void own_set(void *arg, unsigned irq, bool level)
{
	struct vm *vm = arg;

	*own_line(vm, irq) = level;
	if (!vm->devs->hpet_lines)
		irq_set_locked(vm, irq, level);
}

static bool own_pending(void *arg, unsigned irq)
{
	const struct vm *vm = arg;

	return vm->devs->hpet_lines || irq_line_pending(vm, irq);
}

static bool own_masked(void *arg, unsigned irq)
{
	const struct vm *vm = arg;

	return vm->devs->hpet_lines || irq_line_masked(vm, irq);
}

static struct irq_line own(struct vm *vm, unsigned irq)
{
	static const struct line_ops ops = { .set = own_set, .pending = own_pending, .masked = own_masked };

	return (struct irq_line){ .ops = &ops, .arg = vm, .number = irq };
}

static void gsi_set(void *vm, unsigned gsi, bool level)
{
	irq_set_locked(vm, gsi, level);
}

static bool gsi_pending(void *vm, unsigned gsi)
{
	return irq_line_pending(vm, gsi);
}

static bool gsi_masked(void *vm, unsigned gsi)
{
	return irq_line_masked(vm, gsi);
}

static const struct line_ops gsi_ops = { .set = gsi_set, .pending = gsi_pending, .masked = gsi_masked };

static void on_hpet_msi(void *vm, uint64_t addr, uint32_t data)
{
	irq_msi_locked(vm, addr, data);
}

static void on_hpet_legacy(void *arg, bool on)
{
	struct vm *vm = arg;

	vm->devs->hpet_lines = on;
	irq_set_locked(vm, PIT_IRQ, !on && vm->devs->pit_line);
	irq_set_locked(vm, RTC_IRQ, !on && vm->devs->rtc_line);
	if (vm->pit)
		pit_lines_changed(vm->pit);
}

static void on_a20(void *arg, bool on)
{
	struct vm *vm = arg;

	if (vm->vcpu && vm->vcpu[0].engine)
		vm->vcpu[0].engine->a20(vm, on);
}

static void on_fast_reset(void *arg)
{
	vm_request(arg, VM_REQUEST_RESET, 0, "the guest wrote the reset bit of port 92h");
}

static void deliver_nmi(struct vm *vm)
{
	if (!vm->devs->nmi || rtc_nmi_masked(vm->rtc))
		return;
	vm->devs->nmi = false;
	if (!vm->apics) {
		vm->vcpu[0].engine->inject_nmi(&vm->vcpu[0]);
		return;
	}
	apics_lint(vm->apics, 1, true);		/* an edge */
	apics_lint(vm->apics, 1, false);
}

void devs_nmi(struct vm *vm)
{
	pthread_mutex_lock(&vm->dev_lock);
	vm->devs->nmi = true;
	deliver_nmi(vm);
	pthread_mutex_unlock(&vm->dev_lock);
}

void devs_a20_kbc(struct vm *vm, bool on)
{
	pthread_mutex_lock(&vm->dev_lock);
	port92_kbc_a20(vm->devs->port92, on);
	pthread_mutex_unlock(&vm->dev_lock);
}

/* ---- the PM timer */

static uint64_t read_pmtimer(void *dev, uint64_t off, unsigned size)
{
	return pmtimer_read(dev, off, size);
}

static void write_pmtimer(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	(void)dev, (void)off, (void)size, (void)value;
}

void devs_pmbase(struct vm *vm, uint16_t base, bool on)
{
	struct bus_handler h = {
		.name = "pmtimer", .base = (uint64_t)base + PMTIMER_OFFSET, .len = PMTIMER_PORTS,
		.read = read_pmtimer, .write = write_pmtimer, .dev = vm->pmtimer,
	};

	pthread_mutex_lock(&vm->dev_lock);
	bus_remove_handler(vm->bus, h.name);
	if (on)		/* refused where another device is: the guest put it there */
		(void)bus_add_handler(vm->bus, &h);
	pthread_mutex_unlock(&vm->dev_lock);
}

/* ---- local APICs, I/O APIC, HPET */

static void on_apic_nmi(void *arg, unsigned cpu)
{
	struct vcpu *v = &((struct vm *)arg)->vcpu[cpu];

	v->engine->inject_nmi(v);
}

/* Engines start and restart no single processor yet. */
static void on_apic_init(void *vm, unsigned cpu)
{
	(void)vm, (void)cpu;
}

static void on_apic_sipi(void *vm, unsigned cpu, uint8_t vector)
{
	(void)vm, (void)cpu, (void)vector;
}

static void on_apic_eoi(void *arg, uint8_t vector)
{
	struct vm *vm = arg;

	if (vm->ioapic)
		ioapic_eoi(vm->ioapic, vector);
}

static void on_apic_page(void *arg, unsigned cpu, uint64_t base)
{
	struct vm *vm = arg;
	struct bus_handler *page = &vm->devs->apic_page[cpu];

	page->base = base;
	vm->vcpu[cpu].apic_page = base ? page : NULL;
}

static bool on_ioapic_send(void *arg, const struct apic_message *m)
{
	return apics_send(((struct vm *)arg)->apics, m);
}

static bool on_ioapic_requested(void *arg, const struct apic_message *m)
{
	return apics_requested(((struct vm *)arg)->apics, m);
}

static uint64_t read_lapic(void *dev, uint64_t off, unsigned size)
{
	return lapic_read(dev, off, size);
}

static void write_lapic(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	lapic_write(dev, off, size, value);
}

static uint64_t read_ioapic(void *dev, uint64_t off, unsigned size)
{
	return ioapic_read(dev, off, size);
}

static void write_ioapic(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	ioapic_write(dev, off, size, value);
}

static uint64_t read_hpet(void *dev, uint64_t off, unsigned size)
{
	return hpet_read(dev, off, size);
}

static void write_hpet(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	hpet_write(dev, off, size, value);
}

static int new_local_apics(struct vm *vm)
{
	const struct apic_wires wires = {
		.intr = irq_cpu_output, .nmi = on_apic_nmi, .init = on_apic_init, .sipi = on_apic_sipi,
		.eoi = on_apic_eoi, .page = on_apic_page, .arg = vm,
	};

	vm->devs->apic_page = calloc(vm->nvcpus, sizeof(vm->devs->apic_page[0]));
	if (!vm->devs->apic_page)
		return -ENOMEM;
	vm->apics = apics_new(vm->timers, vm->nvcpus, tsc_hz, &wires);
	if (!vm->apics)
		return -ENOMEM;
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		struct bus_handler *page = &vm->devs->apic_page[i];

		vm->vcpu[i].lapic = apics_cpu(vm->apics, i);
		page->name = "lapic";
		page->len = LAPIC_SPAN;
		page->mmio = true;
		page->read = read_lapic;
		page->write = write_lapic;
		page->dev = vm->vcpu[i].lapic;
	}
	return 0;
}

static int new_apics(struct vm *vm)
{
	const struct ioapic_wires wires = {
		.send = on_ioapic_send, .requested = on_ioapic_requested, .changed = on_masks_changed, .arg = vm,
	};
	struct bus_handler h = {
		.name = "ioapic", .base = IOAPIC_BASE, .len = IOAPIC_SPAN, .mmio = true, .read = read_ioapic, .write = write_ioapic,
	};
	int e = new_local_apics(vm);

	if (e)
		return e;
	vm->ioapic = h.dev = ioapic_new(&wires);
	return h.dev ? bus_add_handler(vm->bus, &h) : -ENOMEM;
}

static int new_hpet(struct vm *vm)
{
	const struct hpet_wires wires = { .line = &gsi_ops, .msi = on_hpet_msi, .legacy = on_hpet_legacy, .arg = vm };
	struct bus_handler h = {
		.name = "hpet", .base = HPET_BASE, .len = HPET_SPAN, .mmio = true, .read = read_hpet, .write = write_hpet,
	};

	vm->hpet = h.dev = hpet_new(vm->timers, &wires);
	return h.dev ? bus_add_handler(vm->bus, &h) : -ENOMEM;
}

/* ---- life */

static uint64_t wall(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Seconds east of UTC that the clock is to show. */
static int64_t zone(const struct vm *vm)
{
	time_t now = time(NULL);
	struct tm tm;

	if (!vm->config || !vm->config->rtc_localtime || !localtime_r(&now, &tm))
		return 0;
	return tm.tm_gmtoff;
}

static void fill_cmos(struct vm *vm)
{
	uint64_t bytes = mem_ram_bytes(vm->mem), low = bytes < MEM_LOW_MAX ? bytes : MEM_LOW_MAX;

	rtc_cmos_memory(vm->rtc, low, bytes - low);
	rtc_cmos_set(vm->rtc, RTC_CMOS_FLOPPY, 0);		/* no drives */
	rtc_cmos_set(vm->rtc, RTC_CMOS_EQUIPMENT, 0x06);	/* coprocessor, pointing device; no drives, display by its own BIOS */
	rtc_cmos_set(vm->rtc, RTC_CMOS_BOOT12, BOOT_CDROM << 4 | BOOT_HARD_DISK);
	rtc_cmos_set(vm->rtc, RTC_CMOS_BOOT3, BOOT_NETWORK << 4 | BOOT_NO_FLOPPY_CHECK);
	rtc_cmos_set(vm->rtc, RTC_CMOS_CPUS, vm->nvcpus ? vm->nvcpus - 1 : 0);
}

static int new_controllers(struct vm *vm)
{
	vm->pic = pic_new(irq_output, vm);
	if (!vm->pic)
		return -ENOMEM;
	return !vm->config || vm->config->apic ? new_apics(vm) : 0;
}

int devs_new(struct vm *vm, char *err, size_t errlen)
{
	const struct port92_wires wires = { .a20 = on_a20, .reset = on_fast_reset, .arg = vm };
	int e = 0;

	(void)err, (void)errlen;
	vm->devs = calloc(1, sizeof(*vm->devs));
	if (!vm->devs)
		return -ENOMEM;
	if (!vm->irqchip)
		e = new_controllers(vm);
	if (!e)
		e = new_hpet(vm);
	if (e)
		return e;
	vm->devs->port92 = port92_new(&wires);
	vm->pit = pit_new(vm->timers, own(vm, PIT_IRQ));
	vm->rtc = rtc_new(vm->timers, own(vm, RTC_IRQ), wall, zone(vm));
	vm->pmtimer = pmtimer_new(vm->timers, PM_TIMER_BITS);
	if (!vm->devs->port92 || !vm->pit || !vm->rtc || !vm->pmtimer)
		return -ENOMEM;
	if (vm->pic)
		pic_watch(vm->pic, on_masks_changed, vm);
	fill_cmos(vm);
	return place_ports(vm);
}

void devs_free(struct vm *vm)
{
	pmtimer_free(vm->pmtimer);
	rtc_free(vm->rtc);
	pit_free(vm->pit);
	hpet_free(vm->hpet);
	ioapic_free(vm->ioapic);
	apics_free(vm->apics);
	pic_free(vm->pic);
	for (unsigned i = 0; vm->vcpu && i < vm->nvcpus; i++) {
		vm->vcpu[i].apic_page = NULL;
		vm->vcpu[i].lapic = NULL;
	}
	if (vm->devs) {
		port92_free(vm->devs->port92);
		free(vm->devs->apic_page);
	}
	free(vm->devs);
	vm->pmtimer = NULL;
	vm->rtc = NULL;
	vm->pit = NULL;
	vm->hpet = NULL;
	vm->ioapic = NULL;
	vm->apics = NULL;
	vm->pic = NULL;
	vm->devs = NULL;
}

void devs_reset(struct vm *vm)
{
	if (vm->irqchip)
		vm->irqchip->reset(vm);
	if (vm->pic)
		pic_reset(vm->pic);
	if (vm->apics)
		apics_reset(vm->apics);
	if (vm->ioapic)
		ioapic_reset(vm->ioapic);
	hpet_reset(vm->hpet);
	pit_reset(vm->pit);
	rtc_reset(vm->rtc);
	port92_reset(vm->devs->port92);
	vm->devs->nmi = false;
	bus_remove_handler(vm->bus, "pmtimer");	/* until the device model says where again */
}

void devs_resume(struct vm *vm)
{
	rtc_resync(vm->rtc);
	timers_rearm(vm->timers);
}
