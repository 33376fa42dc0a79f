/*
 * tests/insn/string_io.c - see string_io.h.
 */
#include "tests/insn/string_io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/jit/ways.h"
#include "vmm/bus.h"
#include "vmm/dev/devs.h"
#include "vmm/inout.h"
#include "vmm/irq.h"
#include "vmm/link.h"
#include "vmm/x86/control.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/exception.h"
#include "vmm/x86/flags.h"
#include "vmm/x86/segment.h"

#define CHECK(x) do { if (!(x)) { fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); abort(); } } while (0)

static struct sio *machine;	/* for the stand-ins below */

/* ---- the rest of the VMM */

void vcpu_kick(struct vcpu *v)
{
	vcpu_raise_kick(v);
	wait_wake_private((const uint32_t *)(const void *)&v->kick);
}

void vcpu_wake(struct vcpu *v)
{
	(void)v;
}

static void happen(struct sio *m)
{
	if (m->event == EV_INTR)
		vcpu_raise_intr(&m->vcpu, true);
	else if (m->event == EV_NMI)
		vcpu_raise_nmi(&m->vcpu);
	else if (m->event == EV_KICK)
		vcpu_kick(&m->vcpu);
}

/* Line 5 of the daemon's devices stands for whatever the case is about. */
void irq_set(struct vm *vm, unsigned gsi, bool level)
{
	(void)vm, (void)gsi, (void)level;
	happen(machine);
}

void irq_msi(struct vm *v, uint64_t addr, uint32_t data)
{
	(void)v, (void)addr, (void)data;
}

bool irq_pending(const struct vcpu *v)
{
	return atomic_load_explicit(&v->intr, memory_order_relaxed);
}

uint8_t irq_acknowledge(struct vcpu *v)
{
	atomic_store(&v->intr, 0);
	return SIO_INTR;
}

void vm_request(struct vm *vm, enum vm_request request, unsigned arg, const char *why)
{
	(void)vm, (void)request, (void)arg, (void)why;
}

void devs_a20_kbc(struct vm *vm, bool on) { (void)vm, (void)on; }
void devs_pmbase(struct vm *vm, uint16_t base, bool on) { (void)vm, (void)base, (void)on; }
void devs_nmi(struct vm *vm) { (void)vm; }

/* ---- the port in the engine */

static uint64_t engine_read(void *dev, uint64_t off, unsigned size)
{
	struct sio *m = dev;
	uint64_t v = 0;

	(void)off;
	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)fake_byte(m->reads * size + i) << 8 * i;
	if (++m->reads == m->event_at)
		happen(m);
	return v;
}

static void engine_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	struct sio *m = dev;

	(void)off;
	CHECK(m->nlog + size <= FAKE_LOG);
	memcpy(m->log + m->nlog, &value, size);
	m->nlog += size;
	if (++m->writes == m->event_at)
		happen(m);
}

/* ---- tables in guest memory */

enum { SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_TSS = 0x28, SEL_UCODE = 0x33, SEL_UDATA = 0x3b, SEL_CODE64 = 0x40, SEL_UCODE64 = 0x4b };

static void put64(struct sio *m, uint32_t at, uint64_t v)
{
	memcpy(m->ram + at, &v, 8);
}

static void put32(struct sio *m, uint32_t at, uint32_t v)
{
	memcpy(m->ram + at, &v, 4);
}

static void put_flat(struct sio *m, unsigned sel, unsigned type, unsigned dpl)
{
	put64(m, SIO_GDT + (sel & ~7u), 0x00cf00000000ffffull | (uint64_t)(0x90 | type | dpl << 5) << 40);
}

static void put_code64(struct sio *m, unsigned sel, unsigned dpl)
{
	put64(m, SIO_GDT + (sel & ~7u), 0x00af00000000ffffull | (uint64_t)(0x9b | dpl << 5) << 40);
}

/* The first 2 MiB, and the edges: sio_phys() knows it too. */
static void put_long_tables(struct sio *m)
{
	put_code64(m, SEL_CODE64, 0);
	put_code64(m, SEL_UCODE64, 3);
	put64(m, SIO_PML4, SIO_PDPT | 7);
	put64(m, SIO_PDPT, SIO_PD64 | 7);
	put64(m, SIO_PDPT + 8 * 3, SIO_EDGE_PD | 7);
	put64(m, SIO_PD64, SIO_PT64 | 7);
	for (unsigned i = 0; i < 512; i++)
		put64(m, SIO_PT64 + 8 * i, i << 12 | 7);
	put64(m, SIO_PT64, (SIO_BASE + SIO_BOTTOM) | 7);
	for (unsigned i = 255; i <= 511; i += i == 255 ? 1 : 255)
		put64(m, SIO_PML4 + 8 * i, SIO_EDGE_PDPT | 7);
	for (unsigned i = 0; i <= 511; i += 511) {
		put64(m, SIO_EDGE_PDPT + 8 * i, SIO_EDGE_PD | 7);
		put64(m, SIO_EDGE_PD + 8 * i, SIO_EDGE_PT | 7);
		put64(m, SIO_EDGE_PT + 8 * i, (SIO_BASE + (i ? SIO_TOP : SIO_BOTTOM)) | 7);
	}
	put64(m, SIO_EDGE_PD + 8 * (FAKE_MMIO >> 21 & 511), (FAKE_MMIO & ~0x1fffffull) | 0x87);
	for (unsigned v = 0; v < 256; v++)
		put64(m, SIO_IDT64 + 16 * v, 0x8e00ull << 32 | SEL_CODE64 << 16 | (SIO_HANDLERS + v));
	put64(m, SIO_TSS64 + 4, SIO_STACK0);
	put32(m, SIO_TSS64 + 100, 104u << 16);
	m->ram[SIO_TSS64 + 104 + 8192] = 0xff;
}

static void put_tables(struct sio *m)
{
	put_flat(m, SEL_CODE, 0xb, 0);
	put_flat(m, SEL_DATA, 0x3, 0);
	put_flat(m, SEL_UCODE, 0xb, 3);
	put_flat(m, SEL_UDATA, 0x3, 3);
	for (unsigned v = 0; v < 256; v++) {
		uint32_t to = SIO_HANDLERS + v;

		put64(m, SIO_IDT + 8 * v, (uint64_t)(to >> 16) << 48 | 0x8e00ull << 32 | SEL_CODE << 16 | (to & 0xffff));
		put32(m, 4 * v, to);			/* 0000:handler */
		m->ram[to] = 0xf4;			/* HLT */
	}
	put32(m, SIO_TSS + 4, SIO_STACK0);
	put32(m, SIO_TSS + 8, SEL_DATA);
	put32(m, SIO_TSS + 100, 104u << 16);
	m->ram[SIO_TSS + 104 + 8192] = 0xff;
	put32(m, SIO_DIR, SIO_PT | 7);
	for (unsigned i = 0; i < 1024; i++)
		put32(m, SIO_PT + 4 * i, i << 12 | 7);
	put32(m, SIO_DIR + 4 * (FAKE_MMIO >> 22), (uint32_t)(FAKE_MMIO & 0xffc00000) | 0x87);
	put_long_tables(m);
	for (unsigned i = 0; i < SIO_WINDOW; i++)
		m->ram[SIO_BASE + i] = (uint8_t)(0x5a ^ i ^ i >> 8 ^ i * 37);
}

/* ---- life */

static void new_processor(struct sio *m, const struct engine_ops *engine)
{
	char err[300] = "";

	m->config.cpus = 1;
	m->config.cpu = X86_LEVEL_ALL;
	m->config.strict_msr = true;
	m->config.irqchip = IRQCHIP_ENGINE;
	jit_way(&m->config);
	m->vm.config = &m->config;
	m->vcpu.vm = &m->vm;
	if (engine->vm_new(&m->vm, err, sizeof(err))) {
		printf("skipped: %s\n", err);
		exit(77);
	}
	CHECK(!inout_new(&m->vcpu));
	CHECK(!engine->vcpu_new(&m->vcpu));
	m->vm.engine = m->vcpu.engine = engine;
}

struct sio *sio_new(void)
{
	return sio_new_on(&soft_engine);
}

struct sio *sio_new_on(const struct engine_ops *engine)
{
	struct sio *m = aligned_alloc(64, (sizeof(*m) + 63) & ~(size_t)63);
	struct bus_handler h = { .name = "port", .base = SIO_ENGINE, .len = 4, .read = engine_read, .write = engine_write, .dev = m };
	char err[200] = "";

	memset(m, 0, sizeof(*m));
	machine = m;
	pthread_mutex_init(&m->vm.dev_lock, NULL);
	m->vm.nvcpus = 1;
	m->vm.vcpu = &m->vcpu;
	m->vm.bus = bus_new();
	CHECK(!bus_add_handler(m->vm.bus, &h));
	CHECK(!mem_new(&m->vm.mem, SIO_RAM, err, sizeof(err)));
	m->ram = mem_ram(m->vm.mem);
	put_tables(m);
	m->pristine = malloc(SIO_RAM);
	memcpy(m->pristine, m->ram, SIO_RAM);
	new_processor(m, engine);
	CHECK(!link_client_new(&m->vm.link, &m->vm, SIO_RAM / LINK_PAGE, NULL));
	fake_start(&m->fake, &m->vm);
	return m;
}

void sio_free(struct sio *m)
{
	fake_stop(&m->fake);
	link_client_free(m->vm.link);
	m->vcpu.engine->vcpu_free(&m->vcpu);
	if (m->vm.engine->vm_free)
		m->vm.engine->vm_free(&m->vm);
	inout_free(&m->vcpu);
	mem_free(m->vm.mem);
	bus_free(m->vm.bus);
	free(m->pristine);
	free(m);
}

/* ---- preparing */

bool sio_is_64bit(const struct sio_case *c)
{
	return c->mode == LONG || c->mode == USER64;
}

static bool long_mode(const struct sio_case *c)
{
	return c->mode >= COMPAT16;
}

static bool wide(const struct sio_case *c)
{
	return c->mode == PROT32 || c->mode == USER32 || c->mode == BITMAP32 || c->mode == COMPAT32;
}

static bool user(const struct sio_case *c)
{
	return c->mode >= USER32 && c->mode != LONG;
}

static bool paged(const struct sio_case *c)
{
	return user(c) || long_mode(c);
}

uint64_t sio_off(uint64_t linear)
{
	return linear - SIO_BASE;
}

/* Of the operand's segment. */
static uint64_t base_of(const struct sio_case *c)
{
	if (c->seg == X86_SS && !c->input)
		return 0;
	return sio_is_64bit(c) && (c->input || c->seg < X86_FS) ? 0 : SIO_BASE;
}

static uint64_t address_mask(const struct sio_case *c)
{
	return c->a32 ? 0xffffffff : sio_is_64bit(c) ? ~0ull : 0xffff;
}

/* Where a linear address leads, or ~0: as put_tables() has it. */
static uint64_t phys(const struct sio_case *c, uint64_t lin)
{
	uint64_t page = lin & ~0xfffull;

	if (!sio_is_64bit(c))
		return (uint32_t)lin;
	if (page == 0xfffff000 || page == SIO_LOW_END - 0x1000 || page == ~0xfffull)
		return SIO_BASE + SIO_TOP + (lin & 0xfff);
	if (!page || page == SIO_HIGH)
		return SIO_BASE + SIO_BOTTOM + (lin & 0xfff);
	return lin < 2 << 20 ? lin : ~0ull;
}

static uint32_t limit_of(const struct sio_case *c)
{
	return c->limit ? c->limit : wide(c) ? 0xffffffff : 0xffff;
}

static void encode(struct sio *m, const struct sio_case *c)
{
	static const uint8_t override[] = { 0, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	uint8_t *p = m->code;

	if (c->a32 != wide(c))
		*p++ = 0x67;
	if (c->size > 1 && (c->size == 4) != (wide(c) || sio_is_64bit(c)))
		*p++ = 0x66;
	if (c->seg)
		*p++ = override[c->seg];
	if (c->rep)
		*p++ = 0xf3;
	if (c->rex_w && sio_is_64bit(c))
		*p++ = 0x48;
	*p++ = (uint8_t)((c->input ? 0x6c : 0x6e) | (c->size > 1));
	m->code_len = (unsigned)(p - m->code);
	*p++ = 0xf4;
	memcpy(m->ram + SIO_CODE, m->code, (size_t)(p - m->code));
}

static struct x86_segment segment(const struct sio_case *c, uint32_t base, uint32_t limit, unsigned type, uint16_t pm_sel)
{
	uint32_t attr = X86_ATTR_P | X86_ATTR_S | type | X86_TYPE_ACCESSED;

	if (user(c))
		attr |= X86_ATTR_DPL;
	if (wide(c))
		attr |= X86_ATTR_DB;
	if (c->mode == V86)
		attr = X86_ATTR_P | X86_ATTR_S | X86_ATTR_DPL | 3;
	if (limit > 0xfffff)
		attr |= X86_ATTR_G;
	return (struct x86_segment){ base, limit, attr, c->mode == REAL || c->mode == V86 ? (uint16_t)(base >> 4) : pm_sel };
}

static void set_segments(struct x86_state *s, const struct sio_case *c)
{
	uint32_t flat = wide(c) ? 0xffffffff : 0xffff;
	uint16_t code = user(c) ? SEL_UCODE : SEL_CODE, data = user(c) ? SEL_UDATA : SEL_DATA;

	for (unsigned i = 0; i < X86_LDTR; i++)
		s->seg[i] = segment(c, SIO_BASE, limit_of(c), X86_TYPE_WRITABLE, data);
	s->seg[X86_CS] = segment(c, 0, flat, X86_TYPE_CODE | X86_TYPE_READABLE, code);
	s->seg[X86_SS] = segment(c, 0, flat, X86_TYPE_WRITABLE, data);
	if (c->seg == X86_SS)
		s->seg[X86_SS] = segment(c, 0, c->limit ? c->limit : flat, X86_TYPE_WRITABLE, data);
	s->seg[X86_LDTR] = (struct x86_segment){ .limit = 0xffff, .attr = X86_ATTR_P | X86_SYS_LDT };
	s->seg[X86_TR] = (struct x86_segment){ long_mode(c) ? SIO_TSS64 : SIO_TSS, 104 + 8192, X86_ATTR_P | X86_SYS_TSS32_BUSY, SEL_TSS };
	if (!sio_is_64bit(c))
		return;
	/* What 64-bit code does not look at. */
	s->seg[X86_CS].selector = user(c) ? SEL_UCODE64 : SEL_CODE64;
	s->seg[X86_CS].attr = (s->seg[X86_CS].attr & ~X86_ATTR_DB) | X86_ATTR_L;
	s->seg[X86_ES] = (struct x86_segment){ .attr = X86_ATTR_UNUSABLE };
	s->seg[X86_DS] = (struct x86_segment){ 0x7000, 0xf, X86_ATTR_P | X86_ATTR_S | X86_ATTR_DPL | X86_TYPE_CODE, SEL_UCODE };
	s->seg[X86_FS].limit = s->seg[X86_GS].limit = 0xf;
}

static uint64_t operand_register(const struct sio_case *c, uint64_t v, uint64_t upper)
{
	uint64_t mask = address_mask(c);

	return (v & mask) | (upper & ~mask & (sio_is_64bit(c) ? ~0ull : 0xffffffff));
}

static struct x86_state start_state(const struct sio_case *c)
{
	struct x86_state s = {
		.gpr = { 0xcafebabe, 0, 0x5eed0000u | c->port, 0xb0b0b0b0, SIO_STACK, 0xbbbbbbbb, 0x51515151, 0xd1d1d1d1 },
		.rip = SIO_CODE, .gdtr = { SIO_GDT, 0x7f }, .idtr = { SIO_IDT, 0x7ff }, .cr0 = X86_CR0_ET,
		.rflags = 2 | X86_RFLAGS_CF | X86_RFLAGS_ZF, .cr4 = c->cr4,
	};

	s.gpr[X86_RCX] = c->rep ? operand_register(c, c->count, 0xc1c1c1c1c1c1c1c1) : 0xc1c1c1c1;
	s.gpr[c->input ? X86_RDI : X86_RSI] = operand_register(c, SIO_BASE + c->off - base_of(c), 0xfeedfeedfeedfeed);
	if (sio_is_64bit(c)) {
		s.gpr[X86_RAX] |= 0xdeadbeefull << 32;
		s.gpr[X86_RDX] |= 0xdeadbeefull << 32;
		for (unsigned i = X86_R8; i < X86_GPRS; i++)
			s.gpr[i] = 0x0101010101010101 * i;
	}
	s.dr[0] = c->dr0;
	s.dr[6] = X86_DR6_ONES;
	s.dr[7] = X86_DR7_ONES | c->dr7;
	set_segments(&s, c);
	if (c->mode == REAL)
		s.idtr = (struct x86_table){ 0, 0x3ff };
	else
		s.cr0 |= X86_CR0_PE;
	if (paged(c)) {
		s.cr0 |= X86_CR0_PG | X86_CR0_WP;
		s.cr4 |= X86_CR4_PSE;
		s.cr3 = SIO_DIR;
		s.cpl = user(c) ? 3 : 0;
	}
	if (long_mode(c)) {
		s.cr4 |= X86_CR4_PAE;
		s.cr3 = SIO_PML4;
		s.efer = X86_EFER_LME | X86_EFER_LMA;
		s.idtr = (struct x86_table){ SIO_IDT64, 0xfff };
	}
	if (c->mode == USER32 || c->mode == COMPAT16 || c->mode == USER64)
		s.rflags |= X86_RFLAGS_IOPL;
	if (c->mode == V86)
		s.rflags |= X86_RFLAGS_VM | X86_RFLAGS_IOPL;
	if (c->down)
		s.rflags |= X86_RFLAGS_DF;
	if (c->event == EV_INTR)
		s.rflags |= X86_RFLAGS_IF;
	if (c->event == EV_TF)
		s.rflags |= X86_RFLAGS_TF;
	return s;
}

static void restore_memory(struct sio *m, const struct sio_case *c)
{
	memcpy(m->ram, m->pristine, SIO_CODE + 0x1000);
	memcpy(m->ram + SIO_BASE, m->pristine + SIO_BASE, SIO_WINDOW);
	if (long_mode(c))
		memcpy(m->ram + SIO_LONG, m->pristine + SIO_LONG, SIO_LONG_END - SIO_LONG);
	encode(m, c);
	if (c->bad_page && long_mode(c))
		put64(m, SIO_PT64 + 8 * (c->bad_page >> 12), (c->bad_page & ~0xfffu) | (c->read_only ? 5 : 6));
	else if (c->bad_page)
		put32(m, SIO_PT + 4 * (c->bad_page >> 12), (c->bad_page & ~0xfffu) | (c->read_only ? 5 : 6));
	/* the interpreter's decoded blocks of the code page */
	m->vcpu.engine->code_changed(&m->vm, SIO_CODE, 4096);
}

bool sio_prepare(struct sio *m, const struct sio_case *c)
{
	inout_discard(&m->vcpu);
	restore_memory(m, c);
	m->start = start_state(c);
	m->reads = m->writes = m->nlog = m->waits = m->events = 0;
	m->event = c->event;
	m->event_at = c->event == EV_TF || c->event == EV_NONE ? 0 : c->event_at;
	atomic_store(&m->vcpu.intr, 0);
	atomic_store(&m->vcpu.nmi, 0);
	fake_forget(&m->fake);
	store_release(&m->fake.raise_at, m->event_at);
	store_release(&m->fake.most, c->most);
	m->vcpu.kick_seen = atomic_load(&m->vcpu.kick);
	return !m->vcpu.engine->set_state(&m->vcpu, &m->start);
}

/* ---- running */

/* Where a handler halted: the vector, and the frame it was entered with. */
static void read_frame(struct sio *m, const struct x86_state *s)
{
	unsigned word = s->efer & X86_EFER_LMA ? 8 : s->cr0 & X86_CR0_PE ? 4 : 2;
	bool small = !(s->efer & X86_EFER_LMA) && !(s->seg[X86_SS].attr & X86_ATTR_DB);
	uint64_t sp = small ? (uint16_t)s->gpr[X86_RSP] : s->gpr[X86_RSP];
	struct sio_state *g = &m->got;

	g->vector = (int)(s->rip - 1 - SIO_HANDLERS);
	if (word > 2 && x86_pushes_error((unsigned)g->vector)) {
		memcpy(&g->error, m->ram + sp, word);
		sp += word;
	}
	g->rip = m->rflags = 0;
	memcpy(&g->rip, m->ram + sp, word);
	memcpy(&m->rflags, m->ram + sp + 2 * word, word);
}

static void look(struct sio *m)
{
	struct sio_state *g = &m->got;
	struct x86_state s;

	m->vcpu.engine->get_state(&m->vcpu, &s);
	memcpy(g->gpr, s.gpr, sizeof(g->gpr));
	g->gpr[X86_RSP] = SIO_STACK;
	g->vector = -1;
	g->error = 0;
	g->rip = s.rip;
	g->cr2 = s.cr2;
	m->rflags = s.rflags;
	if (s.rip > SIO_HANDLERS && s.rip <= SIO_HANDLERS + 256) {
		read_frame(m, &s);
	} else if (s.rip == SIO_CODE + m->code_len + 1) {
		g->rip = s.rip - 1;			/* its own HLT */
		CHECK(s.gpr[X86_RSP] == SIO_STACK);
	}
	/* at CPL 3 the HLT behind the instruction is refused: the instruction has retired */
	if (g->vector == X86_GP && g->rip == SIO_CODE + m->code_len)
		g->vector = -1;
	memcpy(g->window, m->ram + SIO_BASE, SIO_WINDOW);
}

/* As vcpu.c: a kick is seen by run() unless an access must be finished first. */
static enum vcpu_exit run_once(struct sio *m)
{
	enum vcpu_exit e = m->vcpu.engine->run(&m->vcpu);
	uint32_t kick = atomic_load(&m->vcpu.kick), seen = m->vcpu.kick_seen;
	enum inout_wait w;

	if (e != EXIT_PENDING)
		return e;
	m->waits++;
	do {
		m->vcpu.kick_seen = atomic_load(&m->vcpu.kick);
		w = inout_wait(&m->vcpu);
	} while (w == INOUT_KICKED);
	CHECK(w == INOUT_READY);
	/* a kick during the wait is still to be acted upon */
	m->vcpu.kick_seen = kick == atomic_load(&m->vcpu.kick) ? seen : seen - 1;
	return e;
}

enum vcpu_exit sio_run(struct sio *m)
{
	enum vcpu_exit e;

	m->vcpu.kick_seen = atomic_load(&m->vcpu.kick);
	while ((e = run_once(m)) == EXIT_PENDING || (e == EXIT_KICKED && m->event != EV_KICK))
		if (e == EXIT_KICKED)	/* only that code or the map has changed */
			m->vcpu.kick_seen = atomic_load(&m->vcpu.kick);
	look(m);
	return e;
}

void sio_resume(struct sio *m)
{
	struct x86_state s = m->start;

	memcpy(s.gpr, m->got.gpr, sizeof(s.gpr));
	s.rip = m->got.rip;
	s.rflags = m->rflags;
	CHECK(!m->vcpu.engine->set_state(&m->vcpu, &s));
}

uint64_t sio_reads(struct sio *m, const struct sio_case *c)
{
	return c->port == SIO_ENGINE ? m->reads : fake_get(c->port == FAKE_PLAIN ? &m->fake.plain_reads : &m->fake.reads);
}

uint64_t sio_writes(struct sio *m, const struct sio_case *c)
{
	return c->port == SIO_ENGINE ? m->writes : fake_get(&m->fake.writes);
}

/* ---- the model */

static void move(const struct sio_case *c, uint64_t *reg, int64_t by)
{
	uint64_t v = (*reg + (uint64_t)by) & address_mask(c);

	*reg = c->a32 || sio_is_64bit(c) ? v : (*reg & 0xffff0000) | v;
}

static bool canonical(uint64_t a)
{
	return a < SIO_LOW_END || a >= SIO_HIGH;
}

/* The page fault of one element, or false. */
static bool page_fault(const struct sio_case *c, uint64_t lin, struct sio_state *s)
{
	for (uint64_t i = 0; i < c->size; i++) {
		bool bad = c->bad_page && ((lin + i) & ~0xfffull) == c->bad_page && !(c->read_only && !c->input);

		if (!bad && phys(c, lin + i) != ~0ull)
			continue;
		s->cr2 = i ? (lin + i) & ~0xfffull : lin;
		s->error = (bad && c->read_only ? 1 : 0) | (c->input ? 2 : 0) | (user(c) ? 4 : 0);
		return true;
	}
	return false;
}

/* The fault of one element's memory operand, or -1. */
static int operand_fault(const struct sio_case *c, uint64_t off, struct sio_state *s)
{
	uint64_t lin = base_of(c) + off;

	s->error = 0;
	if (sio_is_64bit(c) && !(canonical(lin) && canonical(lin + c->size - 1)))
		return X86_GP;
	if (!sio_is_64bit(c) && off + c->size - 1 > limit_of(c))
		return c->seg == X86_SS ? X86_SS_FAULT : X86_GP;
	return page_fault(c, lin, s) ? X86_PF : -1;
}

static void model_element(const struct sio_case *c, struct sio_state *s, uint64_t off)
{
	for (unsigned b = 0; c->input && b < c->size; b++)
		s->window[phys(c, base_of(c) + off + b) - SIO_BASE] =
			c->port == SIO_NOBODY ? 0xff : fake_byte((uint64_t)s->done * c->size + b);
}

void sio_model(const struct sio *m, const struct sio_case *c, uint32_t most, struct sio_state *s)
{
	unsigned reg = c->input ? X86_RDI : X86_RSI;
	int64_t by = c->down ? -(int64_t)c->size : c->size;

	*s = (struct sio_state){ .vector = -1, .rip = SIO_CODE, .cr2 = 0 };
	memcpy(s->gpr, m->start.gpr, sizeof(s->gpr));
	memcpy(s->window, m->pristine + SIO_BASE, SIO_WINDOW);
	for (;;) {
		uint64_t off = s->gpr[reg] & address_mask(c);

		if (c->rep ? !(s->gpr[X86_RCX] & address_mask(c)) : s->done)
			break;
		if (s->done == most)
			return;
		s->vector = operand_fault(c, off, s);
		if (s->vector >= 0)
			return;
		model_element(c, s, off);
		move(c, &s->gpr[reg], by);
		if (c->rep)
			move(c, &s->gpr[X86_RCX], -1);
		s->done++;
	}
	s->rip = SIO_CODE + m->code_len;
}

/* ---- comparing */

static const char *const mode_name[] = { "real", "prot16", "prot32", "user32", "bitmap32", "v86", "compat16", "compat32", "long", "user64" };
static const char *const event_name[] = { "none", "INTR", "NMI", "TF", "kick" };

static void print_case(const struct sio_case *c)
{
	fprintf(stderr, "  %s %s%s size %u, a%u, %s, port %#x, off %#llx, count %llu, limit %#x, bad page %#x%s, event %s at %u, most %u\n",
		mode_name[c->mode], c->rep ? "rep " : "", c->input ? "ins" : "outs", c->size, c->a32 ? 32 : sio_is_64bit(c) ? 64 : 16,
		c->down ? "down" : "up", c->port, (unsigned long long)c->off, (unsigned long long)c->count, limit_of(c), c->bad_page, c->read_only ? " (read-only)" : "",
		event_name[c->event], c->event_at, c->most);
}

static bool differ(const struct sio_case *c, const char *what, uint64_t want, uint64_t got)
{
	fprintf(stderr, "%s: wanted %#llx, got %#llx\n", what, (unsigned long long)want, (unsigned long long)got);
	print_case(c);
	return false;
}

static bool compare_memory(struct sio *m, const struct sio_case *c, const struct sio_state *want)
{
	for (unsigned i = 0; memcmp(m->ram + SIO_BASE, want->window, SIO_WINDOW); i++)
		if (m->ram[SIO_BASE + i] != want->window[i]) {
			fprintf(stderr, "at offset %#x ", i);
			return differ(c, "memory", want->window[i], m->ram[SIO_BASE + i]);
		}
	/* nothing else of RAM was touched but the tables, the stacks and the instruction */
	if (memcmp(m->ram + SIO_CODE + 16, m->pristine + SIO_CODE + 16, SIO_BASE - SIO_CODE - 16) ||
	    memcmp(m->ram + SIO_BASE + SIO_WINDOW, m->pristine + SIO_BASE + SIO_WINDOW, SIO_LONG - SIO_BASE - SIO_WINDOW) ||
	    memcmp(m->ram + SIO_LONG_END, m->pristine + SIO_LONG_END, SIO_RAM - SIO_LONG_END))
		return differ(c, "memory elsewhere", 0, 1);
	return true;
}

static bool compare(struct sio *m, const struct sio_case *c, const struct sio_state *want)
{
	static const char *const name[] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
		"R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15" };
	const struct sio_state *g = &m->got;
	uint64_t seen = c->input ? sio_reads(m, c) : sio_writes(m, c);

	for (unsigned i = 0; i < X86_GPRS; i++)
		if (g->gpr[i] != want->gpr[i])
			return differ(c, name[i], want->gpr[i], g->gpr[i]);
	if (c->port != SIO_NOBODY && seen != want->done)
		return differ(c, "accesses that the device saw", want->done, seen);
	return compare_memory(m, c, want);
}

static bool compare_log(struct sio *m, const struct sio_case *c, const struct sio_state *want)
{
	const uint8_t *log = c->port == SIO_ENGINE ? m->log : m->fake.log;
	uint32_t n = c->port == SIO_ENGINE ? m->nlog : m->fake.nlog;
	uint64_t off = m->start.gpr[X86_RSI] & address_mask(c);

	if (c->input || c->port == SIO_NOBODY)
		return true;
	if (n != want->done * c->size)
		return differ(c, "bytes that the device was given", want->done * c->size, n);
	for (uint32_t i = 0; i < want->done; i++, off += c->down ? -(uint64_t)c->size : c->size)
		for (unsigned b = 0; b < c->size; b++)
			if (log[i * c->size + b] != m->pristine[phys(c, base_of(c) + (off & address_mask(c)) + b)])
				return differ(c, "datum written, element", i, i);
	return true;
}

/* What an event between elements must look like from outside. */
static bool check_event(struct sio *m, const struct sio_case *c, enum vcpu_exit e)
{
	static const int vector[] = { [EV_INTR] = SIO_INTR, [EV_NMI] = X86_NMI, [EV_TF] = X86_DB, [EV_KICK] = -1 };
	uint32_t done = c->event == EV_TF ? m->events + 1 : c->event_at, total = m->model.done;
	struct sio_state want;
	bool mid;

	sio_model(m, c, done, &want);
	mid = c->rep && want.rip == SIO_CODE;
	if (c->event == EV_KICK && e != EXIT_KICKED)
		return differ(c, "exit at a kick", EXIT_KICKED, e);
	if (m->got.vector != vector[c->event])
		return differ(c, "vector of the event", (uint64_t)vector[c->event], (uint64_t)m->got.vector);
	if (m->got.rip != (mid ? SIO_CODE : SIO_CODE + m->code_len))
		return differ(c, "rIP at the event", mid ? SIO_CODE : SIO_CODE + m->code_len, m->got.rip);
	if (c->mode != REAL && c->event != EV_KICK && !(m->rflags & X86_RFLAGS_RF) != !mid)
		return differ(c, "RF in the image", mid, !!(m->rflags & X86_RFLAGS_RF));
	if (done > total)
		return differ(c, "elements at the event", total, done);
	m->events++;
	return compare(m, c, &want);
}

static bool at_event(const struct sio *m, const struct sio_case *c, enum vcpu_exit e)
{
	switch (c->event) {
	case EV_INTR: return m->got.vector == SIO_INTR;
	case EV_NMI: return m->got.vector == X86_NMI;
	case EV_TF: return m->got.vector == X86_DB;
	case EV_KICK: return e == EXIT_KICKED;
	default: return false;
	}
}

static bool compare_end(struct sio *m, const struct sio_case *c)
{
	const uint32_t loose = X86_RFLAGS_RF | (c->mode == REAL ? 0xffff0000u : 0);
	struct sio_state *want = &m->model;

	if (m->got.vector != want->vector)
		return differ(c, "vector", (uint64_t)want->vector, (uint64_t)m->got.vector);
	if (m->got.rip != want->rip)
		return differ(c, "rIP", want->rip, m->got.rip);
	if (m->got.error != want->error && m->got.vector >= 0)
		return differ(c, "error code", want->error, m->got.error);
	if (want->vector == X86_PF && m->got.cr2 != want->cr2)
		return differ(c, "CR2", want->cr2, m->got.cr2);
	if ((m->rflags ^ m->start.rflags) & ~loose)
		return differ(c, "rFLAGS", m->start.rflags, m->rflags);
	return compare(m, c, want) && compare_log(m, c, want);
}

/* TF traps after each element, and so does not end in the HLT behind. */
static uint32_t expected_events(const struct sio *m, const struct sio_case *c)
{
	if (c->event == EV_TF)
		return m->model.done;
	return c->event != EV_NONE && c->event_at <= m->model.done;
}

bool sio_check(struct sio *m, const struct sio_case *c)
{
	uint32_t expected;
	enum vcpu_exit e;

	CHECK(sio_prepare(m, c));
	sio_model(m, c, UINT32_MAX, &m->model);
	expected = expected_events(m, c);
	for (e = sio_run(m); m->events < expected && at_event(m, c, e); e = sio_run(m)) {
		if (!check_event(m, c, e))
			return false;
		if (c->event == EV_TF && m->got.rip != SIO_CODE) {
			m->got.vector = -1;
			break;
		}
		if (e != EXIT_KICKED)
			sio_resume(m);
	}
	if (m->events != expected)
		return differ(c, "events", expected, m->events);
	return compare_end(m, c);
}
