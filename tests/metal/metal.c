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

#include "vmm/bus.h"
#include "vmm/dev/pic.h"
#include "vmm/inout.h"
#include "vmm/irq.h"
#include "vmm/mem.h"

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

static void intr(void *arg, bool level)
{
	struct metal *m = arg;

	atomic_store(&m->vcpu.intr, level);
	if (level)
		vcpu_wake(&m->vcpu);
}

struct metal *metal_new(void)
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
	m->vcpu.engine = &soft_engine;
	pthread_mutex_init(&m->vm.dev_lock, NULL);
	need(mem_new(&m->vm.mem, METAL_RAM, err, sizeof(err)) == 0, err);
	load_rom(m);
	mem_reset(m->vm.mem);
	m->vm.bus = bus_new();
	m->vm.pic = pic_new(intr, m);
	need(m->vm.bus && m->vm.pic, "a bus");
	ports.dev = pics.dev = mmio.dev = m;
	for (unsigned i = 0; i < sizeof(m->mmio); i++)
		m->mmio[i] = 0xa0 + i % 16;
	need(bus_add_handler(m->vm.bus, &ports) == 0 && bus_add_handler(m->vm.bus, &pics) == 0, "ports");
	need(bus_add_handler(m->vm.bus, &mmio) == 0, "device memory");
	need(inout_new(&m->vcpu) == 0 && soft_engine.vcpu_new(&m->vcpu) == 0, "a processor");
	return m;
}

void metal_free(struct metal *m)
{
	soft_engine.vcpu_free(&m->vcpu);
	inout_free(&m->vcpu);
	pic_free(m->vm.pic);
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

/* A sleep that only a wake ends; the alarm is one. */
static void halt(struct vcpu *v)
{
	while (!atomic_load(&v->intr) && !atomic_load(&v->nmi) && atomic_load(&v->kick) == v->kick_seen)
		usleep(1000);
}

enum metal_end metal_run(struct metal *m, unsigned seconds)
{
	struct itimerval t = { .it_value.tv_sec = seconds };
	struct sigaction sa = { .sa_handler = on_alarm };
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
			halt(v);
		else if (m->exit != EXIT_KICKED)
			end(m, METAL_EXITED);
	}
	setitimer(ITIMER_REAL, &(struct itimerval) { 0 }, NULL);
	watched = NULL;
	return m->end;
}
