/*
 * tests/metal/metal.c - see metal.h.
 *
 * Built from the engine process's own parts: memory map, bus, port machine and
 * interrupt controllers are the real ones; there is no link, so a port that
 * nobody claims reads all ones.
 */
#include "tests/metal/metal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/jit/ways.h"
#include "vmm/bus.h"
#include "vmm/dev/ioapic.h"
#include "vmm/dev/lapic.h"
#include "vmm/dev/pic.h"
#include "vmm/inout.h"
#include "vmm/irq.h"
#include "vmm/mem.h"
#include "vmm/timer.h"
#include "vmm/tsc.h"
#include "vmm/x86/cpuid.h"

static struct vcpu *watched;
static volatile sig_atomic_t timed_out;

static void on_alarm(int sig)
{
	(void)sig;
	timed_out = 1;
	if (watched)
		vcpu_kick(watched);
}

static void end(struct metal *m, enum metal_end how)
{
	m->end = how;
	m->ended = true;
	vcpu_kick(&m->vcpu);
}

static void name_check(struct metal *m, uint32_t gpa)
{
	memset(m->name, 0, sizeof(m->name));
	mem_copy_from(m->vm.mem, gpa, m->name, sizeof(m->name) - 1);
	m->checks++;
}

static void dma(struct metal *m, uint32_t gpa)
{
	mem_copy_to(m->vm.mem, gpa, &m->dma, sizeof(m->dma));
	m->vcpu.engine->code_changed(&m->vm, gpa, sizeof(m->dma));
}

static void remap(struct metal *m, unsigned map)
{
	mem_set_map(m->vm.mem, 0, map, 0xf0000, 0x10000, 0xf0000);
	m->vcpu.engine->map_changed(&m->vm);
}

static uint64_t mmio_read(void *dev, uint64_t off, unsigned size)
{
	struct metal *m = dev;
	uint64_t v = 0;

	m->accesses++;
	if (off >= 0xff0)
		m->vcpu.engine->inject_nmi(&m->vcpu);
	memcpy(&v, m->mmio + off, size);
	return v;
}

static void mmio_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	struct metal *m = dev;

	m->accesses++;
	memcpy(m->mmio + off, &value, size);
}

static uint64_t port_read(void *dev, uint64_t off, unsigned size)
{
	struct metal *m = dev;
	uint32_t n = m->accesses;

	(void)size;
	if (off + METAL_NAME == METAL_COUNT) {
		m->accesses = 0;
		return n;
	}
	return 0x11223344u >> 8 * (off & 3);
}

static void port_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	struct metal *m = dev;

	(void)size;
	switch (off + METAL_NAME) {
	case METAL_NAME: name_check(m, value); break;
	case METAL_GOT: m->got = value; break;
	case METAL_WANT: m->want = value; break;
	case METAL_FAIL: m->line = value; end(m, METAL_FAILED); break;
	case METAL_DONE: end(m, METAL_PASSED); break;
	case METAL_CHAR: if (m->output) m->output(value); break;
	case METAL_NMI: m->vcpu.engine->inject_nmi(&m->vcpu); break;
	case METAL_IRQ: irq_set_locked(&m->vm, value >> 1, value & 1); break;
	case METAL_A20: m->vcpu.engine->a20(&m->vm, value & 1); break;
	case METAL_DMA_DATA: m->dma = value; break;
	case METAL_DMA: dma(m, value); break;
	case METAL_PORT: m->port = value; break;
	case METAL_MAP: remap(m, value); break;
	case METAL_TIME: timers_advance(m->vm.timers, value); break;
	case METAL_MSI_ADDR: m->msi_addr = value; break;
	case METAL_MSI: irq_msi_locked(&m->vm, m->msi_addr, value); break;
	}
}

static uint64_t pic_port_read(void *dev, uint64_t off, unsigned size)
{
	struct metal *m = dev;

	(void)size;
	return pic_read(m->vm.pic, 0x20 + off);
}

static void pic_port_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	struct metal *m = dev;

	(void)size;
	pic_write(m->vm.pic, 0x20 + off, value);
}

static void need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "metal: cannot make %s\n", what);
	exit(99);	/* the test runner's word for a broken harness */
}

/* 64 KiB of 5Ah, which the power-on map shows at F0000h. */
static void load_rom(struct metal *m)
{
	char path[] = "/tmp/metal-rom-XXXXXX", err[160] = "", rom[4096];
	int fd = mkstemp(path);

	need(fd >= 0, path);
	memset(rom, 0x5a, sizeof(rom));
	for (unsigned i = 0; i < 16; i++)
		need(write(fd, rom, sizeof(rom)) == sizeof(rom), path);
	close(fd);
	need(mem_load_rom(m->vm.mem, path, err, sizeof(err)) == 0, err);
	unlink(path);
}

/* ---- interrupt controllers: the real ones, wired as the machine's are */

static uint64_t lapic_page_read(void *dev, uint64_t off, unsigned size)
{
	return lapic_read(dev, off, size);
}

static void lapic_page_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	lapic_write(dev, off, size, value);
}

static uint64_t ioapic_mmio_read(void *dev, uint64_t off, unsigned size)
{
	return ioapic_read(dev, off, size);
}

static void ioapic_mmio_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	ioapic_write(dev, off, size, value);
}

static void on_nmi(void *arg, unsigned cpu)
{
	struct vcpu *v = &((struct vm *)arg)->vcpu[cpu];

	v->engine->inject_nmi(v);
}

static void on_init(void *arg, unsigned cpu)
{
	(void)arg, (void)cpu;
}

static void on_sipi(void *arg, unsigned cpu, uint8_t vector)
{
	(void)arg, (void)cpu, (void)vector;
}

static void on_eoi(void *arg, uint8_t vector)
{
	struct vm *vm = arg;

	ioapic_eoi(vm->ioapic, vector);
}

static void on_page(void *arg, unsigned cpu, uint64_t base)
{
	struct vm *vm = arg;
	struct metal *m = (struct metal *)((char *)vm - offsetof(struct metal, vm));

	(void)cpu;
	m->apic_page.base = base;
	m->vcpu.apic_page = base ? &m->apic_page : NULL;
}

static bool on_send(void *arg, const struct apic_message *msg)
{
	return apics_send(((struct vm *)arg)->apics, msg);
}

static bool on_requested(void *arg, const struct apic_message *msg)
{
	return apics_requested(((struct vm *)arg)->apics, msg);
}

static void on_changed(void *arg)
{
	(void)arg;
}

static void new_controllers(struct metal *m)
{
	const struct apic_wires local = {
		.intr = irq_cpu_output, .nmi = on_nmi, .init = on_init, .sipi = on_sipi, .eoi = on_eoi, .page = on_page, .arg = &m->vm,
	};
	const struct ioapic_wires io = { .send = on_send, .requested = on_requested, .changed = on_changed, .arg = &m->vm };
	struct bus_handler h = {
		.name = "ioapic", .base = IOAPIC_BASE, .len = IOAPIC_SPAN, .mmio = true,
		.read = ioapic_mmio_read, .write = ioapic_mmio_write,
	};

	tsc_start();
	m->vm.timers = timers_new(NULL, NULL, NULL, NULL);
	need(m->vm.timers, "a clock");
	m->vm.pic = pic_new(irq_output, &m->vm);
	m->apic_page = (struct bus_handler){
		.name = "lapic", .len = LAPIC_SPAN, .mmio = true, .read = lapic_page_read, .write = lapic_page_write,
	};
	m->vm.apics = apics_new(m->vm.timers, 1, tsc_hz, &local);
	m->vm.ioapic = h.dev = ioapic_new(&io);
	need(m->vm.pic && m->vm.apics && m->vm.ioapic, "interrupt controllers");
	m->vcpu.lapic = m->apic_page.dev = apics_cpu(m->vm.apics, 0);
	need(bus_add_handler(m->vm.bus, &h) == 0, "an I/O APIC's place");
}

static void new_processor(struct metal *m, const struct engine_ops *engine)
{
	char err[300] = "";

	m->config.cpus = 1;
	m->config.cpu = X86_LEVEL_ALL;
	m->config.strict_msr = m->config.apic = true;
	m->config.irqchip = IRQCHIP_ENGINE;
	jit_way(&m->config);
	m->vm.config = &m->config;
	if (engine->vm_new(&m->vm, err, sizeof(err))) {
		printf("metal: skipped: %s\n", err);
		exit(77);
	}
	need(inout_new(&m->vcpu) == 0 && engine->vcpu_new(&m->vcpu) == 0, "a processor");
	m->vm.engine = m->vcpu.engine = engine;
}

struct metal *metal_new(void)
{
	return metal_new_on(&soft_engine);
}

struct metal *metal_new_on(const struct engine_ops *engine)
{
	char err[160] = "";
	struct metal *m = aligned_alloc(64, (sizeof(*m) + 63) & ~(size_t)63);
	struct bus_handler ports = {
		.name = "metal", .base = METAL_NAME, 
		.len = METAL_PORTS_END - METAL_NAME, .read = port_read, .write = port_write,
	};
	struct bus_handler mmio = {
		.name = "metal mmio", .base = METAL_MMIO, .len = sizeof(m->mmio), .mmio = true,
		.read = mmio_read, .write = mmio_write,
	};
	struct bus_handler pics = { .name = "pic", .base = 0x20, .len = 2, .read = pic_port_read, .write = pic_port_write };

	need(m, "a machine");
	memset(m, 0, sizeof(*m));
	m->vm.nvcpus = 1;
	m->vm.vcpu = &m->vcpu;
	m->vcpu.vm = &m->vm;
	pthread_mutex_init(&m->vm.dev_lock, NULL);
	need(mem_new(&m->vm.mem, METAL_RAM, err, sizeof(err)) == 0, err);
	load_rom(m);
	mem_reset(m->vm.mem);
	m->vm.bus = bus_new();
	need(m->vm.bus, "a bus");
	new_controllers(m);
	ports.dev = pics.dev = mmio.dev = m;
	for (unsigned i = 0; i < sizeof(m->mmio); i++)
		m->mmio[i] = 0xa0 + i % 16;
	need(bus_add_handler(m->vm.bus, &ports) == 0 && bus_add_handler(m->vm.bus, &pics) == 0, "ports");
	need(bus_add_handler(m->vm.bus, &mmio) == 0, "device memory");
	new_processor(m, engine);
	return m;
}

void metal_free(struct metal *m)
{
	m->vcpu.engine->vcpu_free(&m->vcpu);
	if (m->vm.engine->vm_free)
		m->vm.engine->vm_free(&m->vm);
	inout_free(&m->vcpu);
	ioapic_free(m->vm.ioapic);
	apics_free(m->vm.apics);
	pic_free(m->vm.pic);
	timers_free(m->vm.timers);
	bus_free(m->vm.bus);
	mem_free(m->vm.mem);
	free(m);
}

bool metal_load(struct metal *m, const char *path, uint64_t gpa)
{
	uint8_t buf[4096];
	FILE *f = fopen(path, "rb");
	size_t n;
	bool ok = f;

	while (ok && (n = fread(buf, 1, sizeof(buf), f)) > 0) {
		ok = mem_copy_to(m->vm.mem, gpa, buf, n);
		gpa += n;
	}
	if (f)
		fclose(f);
	return ok;
}

void metal_enter(struct metal *m, uint16_t cs, uint16_t ip)
{
	struct x86_state s;

	m->vcpu.engine->reset(&m->vcpu);
	m->vcpu.engine->get_state(&m->vcpu, &s);
	s.seg[X86_CS].selector = cs;
	s.seg[X86_CS].base = cs * 16;
	s.rip = ip;
	need(m->vcpu.engine->set_state(&m->vcpu, &s) == 0, "a state");
}

static void to_deadline(struct metal *m)
{
	uint64_t next = timers_next(m->vm.timers), now = timers_now(m->vm.timers);

	if (next != UINT64_MAX)
		timers_advance(m->vm.timers, next > now ? next - now : 0);
}

/* To the next deadline, if there is one: else a sleep that only a wake ends; the alarm is one. */
static void halt(struct metal *m)
{
	struct vcpu *v = &m->vcpu;

	to_deadline(m);
	while (!atomic_load(&v->intr) && !atomic_load(&v->nmi) && atomic_load(&v->kick) == v->kick_seen)
		usleep(1000);
}

enum metal_end metal_run(struct metal *m, unsigned seconds)
{
	struct itimerval t = { .it_value.tv_sec = seconds };
	struct sigaction sa = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK };
	struct vcpu *v = &m->vcpu;

	timed_out = 0;
	watched = v;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &t, NULL);
	m->ended = false;
	while (!m->ended) {
		v->kick_seen = atomic_load(&v->kick);
		if (timed_out) {
			end(m, METAL_TIMEOUT);
			break;
		}
		m->exit = v->engine->run(v);
		if (m->ended)
			break;
		if (m->exit == EXIT_HLT)
			halt(m);
		else if (m->exit == EXIT_MWAIT)
			to_deadline(m);
		else if (m->exit != EXIT_KICKED)
			end(m, METAL_EXITED);
	}
	setitimer(ITIMER_REAL, &(struct itimerval) { 0 }, NULL);
	watched = NULL;
	return m->end;
}
