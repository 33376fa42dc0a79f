/*
 * vmm/soft/op_io.c - IN, OUT, INS, OUTS.
 *
 * Owns the order of things inside one instruction: permission, operand checks,
 * the probe of the memory operand, the port, the store, the registers, and
 * what one request may carry.  doc/string-io.md is the behaviour; SDM vol. 1
 * ch. 19, vol. 2 IN, INS, OUT, OUTS, REP.  Must not know devices nor rings: a
 * port is inout_in() and inout_out().
 *
 * A handler that finds its access waiting unwinds with no register changed and
 * is run again from its start.  What it probed is then found in inout_held(),
 * so the second run cannot fault, and no check is made twice.  Data go from
 * the slot to a buffer here and from there to memory; RAX is written by IN
 * alone, when it retires (illumos 13286).
 */
#include <string.h>

#include "vmm/inout.h"
#include "vmm/soft/insn.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/ops.h"
#include "vmm/soft/system.h"
#include "vmm/x86/exception.h"

/* Opcodes 6Ch-6Fh, E4h-E7h, ECh-EFh: bit 0 is the operand's width, and below E8h the port is an immediate byte. */
static unsigned element_size(const struct insn *in)
{
	if (!(x86_opcodes[in->row].opcode & 1))
		return 1;
	return in->opsize == 2 ? 2 : 4;
}

static uint16_t port_operand(const struct cpu *cpu, const struct insn *in)
{
	return x86_opcodes[in->row].opcode < 0xe8 ? (uint8_t)in->imm : cpu->gpr[X86_RDX].w;
}

static void wait_for(struct cpu *cpu, enum io_result r)
{
	if (r == IO_WAIT)
		cpu_unwind(cpu, UNWIND_PENDING);
}

/* An access on its way, or a run of them: kept in inout_held(). */
struct run {
	uint64_t rip;
	uint64_t linear;		/* strings: of the first element */
	uint32_t n;			/* elements; 0 until all checks are made */
	uint16_t row;
	struct mmu_held held;		/* strings: all elements, in address order */
};

_Static_assert(sizeof(struct run) <= INOUT_HELD, "kept beside the request");

/*
 * What this instruction left here when it began to wait, or NULL: its checks are
 * yet to be made.  (Another vCPU may have put other code in its place meanwhile:
 * that is checked like any new instruction.)
 */
static struct run *resumed(struct cpu *cpu, uint16_t row)
{
	struct run *r = inout_held(cpu->vcpu);
	bool same = r->rip == cpu->rip && r->row == row;

	if (inout_active(cpu->vcpu)) {
		if (same && r->n)
			return r;
		if (!same)
			inout_retire(cpu->vcpu);
	}
	r->rip = cpu->rip;
	r->row = row;
	r->n = 0;
	return NULL;
}

static void finished(struct cpu *cpu, uint16_t port, unsigned size)
{
	((struct run *)inout_held(cpu->vcpu))->n = 0;
	inout_retire(cpu->vcpu);
	debug_io(cpu, port, size);
}

/* ---- IN, OUT */

static void permit(struct cpu *cpu, const struct insn *in, uint16_t port, unsigned size)
{
	if (resumed(cpu, in->row))
		return;
	check_io(cpu, port, size);
	((struct run *)inout_held(cpu->vcpu))->n = 1;
}

void op_in(struct cpu *cpu, const struct insn *in)
{
	unsigned size = element_size(in), done;
	uint16_t port = port_operand(cpu, in);
	uint32_t value = 0;

	permit(cpu, in, port, size);
	wait_for(cpu, inout_in(cpu->vcpu, port, size, 1, INOUT_NO_MEM, &value, &done));
	if (size == 1)
		cpu->gpr[X86_RAX].b[0] = (uint8_t)value;
	else
		gpr_write(cpu, X86_RAX, size, value);
	finished(cpu, port, size);
}

void op_out(struct cpu *cpu, const struct insn *in)
{
	unsigned size = element_size(in), done;
	uint16_t port = port_operand(cpu, in);
	uint32_t value = cpu->gpr[X86_RAX].d;

	permit(cpu, in, port, size);
	wait_for(cpu, inout_out(cpu->vcpu, port, size, 1, INOUT_NO_MEM, &value, &done));
	finished(cpu, port, size);
}

/* ---- strings */

/* What the instruction says; a copy, for a store may overwrite the instruction and with it the block. */
struct form {
	bool input, rep, down, wide;	/* wide: linear addresses of 64 bits */
	uint8_t size, adsize, seg, reg;
	uint16_t port, row;
};

static struct form form_of(const struct cpu *cpu, const struct insn *in, bool input)
{
	return (struct form){
		.input = input, .rep = in->rep != REP_NONE, .down = cpu->rflags & X86_RFLAGS_DF,
		.size = (uint8_t)element_size(in), .adsize = in->adsize, .seg = input ? insn_es(in) : in->seg, .wide = in->code64,
		.reg = input ? X86_RDI : X86_RSI, .port = cpu->gpr[X86_RDX].w, .row = in->row,
	};
}

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Elements from the first to the page's edge, none of them crossing it. */
static uint64_t fit_page(const struct form *f, uint64_t linear)
{
	uint64_t at = linear & PAGE_OFFSET;

	if (!f->down)
		return (PAGE_BYTES - at) / f->size;
	return at + f->size <= PAGE_BYTES ? at / f->size + 1 : 0;
}

/* Elements whose offsets neither leave the segment nor wrap; 0 where the segment needs a closer look each time. */
static uint64_t fit_segment(const struct cpu *cpu, const struct form *f, uint64_t off)
{
	const struct seg *s = &cpu->seg[f->seg];
	uint64_t end = f->input ? s->wend : s->rend;

	if (f->adsize < 8)
		end = least(end, 1ull << f->adsize * 8);
	if (off >= end)
		return 0;
	return f->down ? off / f->size + 1 : (end - off) / f->size;
}

/* How many elements may go as one request; at least one, which the caller has checked. */
static uint32_t batch_size(struct cpu *cpu, const struct form *f, uint64_t off, uint64_t linear)
{
	uint64_t n;

	if (!f->rep || (cpu->rflags & X86_RFLAGS_TF) || debug_armed_data_io(cpu))
		return 1;
	n = inout_batch_limit(cpu->vcpu, f->port, f->size, f->input);
	if (n == 1)
		return 1;
	n = least(n, gpr_read(cpu, X86_RCX, f->adsize));
	n = least(n, fit_page(f, linear));
	n = least(n, fit_segment(cpu, f, off));
	return n ? (uint32_t)n : 1;
}

static void probe(struct cpu *cpu, const struct form *f, struct run *r, uint32_t n)
{
	uint64_t low = r->linear - (f->down ? (uint64_t)(n - 1) * f->size : 0);

	if (f->input)
		mmu_probe_write(cpu, low, n * f->size, &r->held);
	else
		mmu_probe_read(cpu, low, n * f->size, &r->held);
}

/* Data breakpoints: the probe found them, but its run of the instruction ended in a wait. */
static void watch(struct cpu *cpu, const struct form *f, const struct run *r)
{
	uint64_t lin = r->held.lin;

	for (unsigned i = 0; i < r->held.parts; lin += r->held.part[i++].len)
		debug_data(cpu, f->wide ? lin : (uint32_t)lin, r->held.part[i].len, f->input);
}

/* Every check and every fault of the elements that go next, before any effect. */
static struct run *find_run(struct cpu *cpu, const struct form *f)
{
	struct run *r = resumed(cpu, f->row);
	uint64_t off;
	uint32_t n;

	if (r) {
		watch(cpu, f, r);
		return r;
	}
	r = inout_held(cpu->vcpu);
	check_io(cpu, f->port, f->size);
	off = gpr_read(cpu, f->reg, f->adsize);
	r->linear = mmu_linear(cpu, f->seg, off, f->size, f->input);
	mmu_check_alignment(cpu, r->linear, f->size);
	n = batch_size(cpu, f, off, r->linear);
	if (n > 1 && f->down)
		probe(cpu, f, r, 1);		/* CR2 is the first element's */
	probe(cpu, f, r, n);
	if (n > 1 && mmu_held_is_mmio(&r->held))
		probe(cpu, f, r, n = 1);
	r->n = n;
	return r;
}

/* Data travel in element order; in memory a run downwards lies the other way round. */
static void to_other_order(const struct form *f, void *data, unsigned n)
{
	uint8_t *a = data, *b = a + (size_t)(n - 1) * f->size, t[4];

	if (!f->down)
		return;
	for (; a < b; a += f->size, b -= f->size) {
		memcpy(t, a, f->size);
		memcpy(a, b, f->size);
		memcpy(b, t, f->size);
	}
}

/* The part of a run that holds its first `done` elements. */
static struct mmu_held held_part(const struct form *f, const struct run *r, unsigned done)
{
	struct mmu_held h = r->held;
	unsigned skip = f->down ? (r->n - done) * f->size : 0;

	if (done == r->n)
		return h;
	h.lin += skip;
	h.part[0].gpa += skip;
	if (h.part[0].host)
		h.part[0].host += skip;
	h.part[0].len = (uint16_t)(done * f->size);
	return h;
}

#ifdef CLEAVE_INJECT_13286
/* The old fault, for the test that must notice it: the value goes to RAX, and memory gets what RAX held. */
static void inject_13286(struct cpu *cpu, const struct form *f, void *data, unsigned n)
{
	uint8_t *p = data;
	uint64_t stale;

	for (; n--; p += f->size) {
		stale = cpu->gpr[X86_RAX].q;
		memcpy(&cpu->gpr[X86_RAX], p, f->size);
		memcpy(p, &stale, f->size);
	}
}
#else
static void inject_13286(struct cpu *cpu, const struct form *f, void *data, unsigned n)
{
	(void)cpu, (void)f, (void)data, (void)n;
}
#endif

static unsigned ins_run(struct cpu *cpu, const struct form *f)
{
	struct run *r = find_run(cpu, f);
	uint8_t data[PAGE_BYTES];
	struct mmu_held held;
	unsigned done;

	wait_for(cpu, inout_in(cpu->vcpu, f->port, f->size, r->n, r->linear, data, &done));
	inject_13286(cpu, f, data, done);
	to_other_order(f, data, done);
	held = held_part(f, r, done);
	mmu_held_store(cpu, &held, data);	/* device memory may make it wait */
	return done;
}

static unsigned outs_run(struct cpu *cpu, const struct form *f)
{
	struct run *r = find_run(cpu, f);
	uint8_t data[PAGE_BYTES];
	unsigned done;

	mmu_held_load(cpu, &r->held, data);	/* run again, the bytes were sent before: what is read now is not used */
	to_other_order(f, data, r->n);
	wait_for(cpu, inout_out(cpu->vcpu, f->port, f->size, r->n, r->linear, data, &done));
	return done;
}

static void retire(struct cpu *cpu, const struct form *f, unsigned done)
{
	uint64_t by = (uint64_t)done * f->size, at = gpr_read(cpu, f->reg, f->adsize);

	gpr_write(cpu, f->reg, f->adsize, f->down ? at - by : at + by);
	if (f->rep)
		gpr_write(cpu, X86_RCX, f->adsize, gpr_read(cpu, X86_RCX, f->adsize) - done);
	finished(cpu, f->port, f->size);
}

static bool look_at_events(const struct cpu *cpu)
{
	return cpu->stepping || cpu->recheck || cpu->pending_db || cpu_event(cpu);
}

static void string_io(struct cpu *cpu, const struct form *f)
{
	if (f->rep && !gpr_read(cpu, X86_RCX, f->adsize)) {
		check_io(cpu, f->port, f->size);
		return;
	}
	do {
		retire(cpu, f, f->input ? ins_run(cpu, f) : outs_run(cpu, f));
		if (!f->rep || !gpr_read(cpu, X86_RCX, f->adsize))
			return;
	} while (!look_at_events(cpu));
	cpu->next_rip = cpu->rip;
	cpu->mid_string = true;
}

void op_ins(struct cpu *cpu, const struct insn *in)
{
	struct form f = form_of(cpu, in, true);

	string_io(cpu, &f);
}

void op_outs(struct cpu *cpu, const struct insn *in)
{
	struct form f = form_of(cpu, in, false);

	string_io(cpu, &f);
}
