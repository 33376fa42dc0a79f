/*
 * tests/diff/diff.c - the soft engine against the host's own processor.
 *
 *   diff [--seed S] [--cases N]      run N cases; ends 1 at the first differences
 *   diff --seed S --case N           run one and print both sides
 *
 * A case is one instruction in user mode (gen.h).  On the engine it runs in a
 * machine with page tables, a GDT, an IDT and a TSS, and ends when a handler of
 * that IDT halts: vector, error code and the interrupted state are read from
 * the frame that was pushed, so delivery is under test as well.
 *
 * What is not compared, and why:
 *   - flags that the instruction's row calls undefined, when it retired;
 *   - the I/D bit of a fetch's page-fault error code: the host has NX, a
 *     machine with 32-bit page tables has not;
 *   - on hosts that are not AMD's, a segment register pushed with a 32-bit
 *     operand: Intel's write its two bytes only;
 *   - a MASKMOV that reaches beyond the segment or what is mapped: whether bytes
 *     that the mask leaves out may fault is each processor's own affair (SDM);
 *   - a VMASKMOV that reaches behind the segment: AMD's look at all of it, Intel's
 *     at what the mask names;
 *   - VEX.W where AMD's differ from the SDM: VPERMQ and VPERMPD without it, and
 *     VPINSRD and VPEXTRD with it outside of 64-bit mode;
 *   - a near CALL that fails twice: the stack's #SS or the target's #GP first;
 *   - an undefined instruction whose end is not mapped: some fetch all of it first;
 *   - x87 operands of more than 8 bytes that begin in the segment and end
 *     behind it: processors differ in which part they access first, and in
 *     whether its offset wraps;
 *   - CR2 of FXSAVE, FRSTOR and the like: AMD's access the last byte first;
 *   - x87's instruction and operand pointers, which some store only while an
 *     exception is pending;
 *   - the x87 stack's top and tags when an instruction with MMX registers
 *     faults: AMD's have made it the MMX's before;
 *   - registers after a POPA that faults: some have loaded a few (AMD's).
 */
#include <asm/prctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/diff/gen.h"
#include "tests/diff/host.h"
#include "tests/jit/ways.h"
#include "vmm/bus.h"
#include "vmm/engine.h"
#include "vmm/inout.h"
#include "vmm/mem.h"
#include "vmm/vm.h"
#include "vmm/x86/control.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/isa.h"

/* Guest-physical layout; the first 64 KiB are also at SYSTEM, for the supervisor. */
enum {
	PD = 0x1000, PT_CODE = 0x2000, PT_DATA = 0x3000, PT_SYSTEM = 0x4000, IDT = 0x5000, GDT = 0x6000,
	TSS = 0x7000, STACK = 0x9000, HANDLERS = 0x9000, CODE = 0xa000, DATA = 0x10000,
	PML4 = 0x20000, PDPT = 0x21000, PD_LOW = 0x22000, PD_SYSTEM = 0x23000, PT64_CODE = 0x24000, PT64_DATA = 0x25000,
	PT64_SYSTEM = 0x26000, TSS64 = 0x7800, IDT64 = 0xb000,
	RAM_BYTES = 0x100000, TSS_BYTES = 104,
};
#define SYSTEM 0xd7c00000u	/* where random addresses seldom fall */
enum { RING0_CODE = 0x08, RING0_DATA = 0x10, RING0_TSS = 0x18, RING0_CODE64 = 0x20 };

static struct vm vm;
static struct config config;
static struct vcpu vcpu;
static uint8_t *ram;

static void put32(uint32_t at, uint32_t v) { memcpy(ram + at, &v, 4); }
static void put64(uint32_t at, uint64_t v) { memcpy(ram + at, &v, 8); }
static uint64_t get64(uint32_t at) { uint64_t v; memcpy(&v, ram + at, 8); return v; }
static uint32_t get32(uint32_t at) { uint32_t v; memcpy(&v, ram + at, 4); return v; }

/* The same map, IDT and stack for long mode. */
static void build_tables64(void)
{
	enum { P = 1, W = 2, U = 4 };

	put64(PML4, PDPT | P | W | U);
	put64(PDPT, PD_LOW | P | W | U);
	put64(PDPT + (SYSTEM >> 30) * 8, PD_SYSTEM | P | W);
	put64(PD_LOW + (HOST_CODE >> 21 & 511) * 8, PT64_CODE | P | W | U);
	put64(PD_LOW + (HOST_DATA >> 21 & 511) * 8, PT64_DATA | P | W | U);
	put64(PD_SYSTEM + (SYSTEM >> 21 & 511) * 8, PT64_SYSTEM | P | W);
	put64(PT64_CODE + (HOST_CODE >> 12 & 511) * 8, CODE | P | W | U);
	for (uint32_t i = 0; i < HOST_DATA_BYTES / 4096; i++)
		put64(PT64_DATA + ((HOST_DATA >> 12 & 511) + i) * 8, (DATA + i * 4096) | P | W | U);
	for (uint32_t i = 0; i < 16; i++)
		put64(PT64_SYSTEM + i * 8, i * 4096 | P | W);
	for (uint32_t v = 0; v < 256; v++) {
		uint32_t to = SYSTEM + HANDLERS + v, dpl = v == 3 || v == 4 ? 3 : 0;

		put32(IDT64 + v * 16, RING0_CODE64 << 16 | (to & 0xffff));
		put32(IDT64 + v * 16 + 4, (to & 0xffff0000) | 0x8e00 | dpl << 13);
	}
	put32(GDT + RING0_CODE64, 0x0000ffff);
	put32(GDT + RING0_CODE64 + 4, 0x00af9b00);
	put64(TSS64 + 4, SYSTEM + STACK);
	put32(TSS64 + 100, TSS_BYTES << 16);
}

static void build_tables(void)
{
	enum { P = 1, W = 2, U = 4 };

	put32(PD + (HOST_CODE >> 22) * 4, PT_CODE | P | W | U);
	put32(PD + (HOST_DATA >> 22) * 4, PT_DATA | P | W | U);
	put32(PD + (SYSTEM >> 22) * 4, PT_SYSTEM | P | W);
	put32(PT_CODE + (HOST_CODE >> 12 & 1023) * 4, CODE | P | W | U);
	for (uint32_t i = 0; i < HOST_DATA_BYTES / 4096; i++)
		put32(PT_DATA + ((HOST_DATA >> 12 & 1023) + i) * 4, (DATA + i * 4096) | P | W | U);
	for (uint32_t i = 0; i < 16; i++)
		put32(PT_SYSTEM + i * 4, i * 4096 | P | W);
	memset(ram + HANDLERS, 0xf4, 4096);
	for (uint32_t v = 0; v < 256; v++) {
		uint32_t to = SYSTEM + HANDLERS + v, dpl = v == 3 || v == 4 ? 3 : 0;

		put32(IDT + v * 8, RING0_CODE << 16 | (to & 0xffff));
		put32(IDT + v * 8 + 4, (to & 0xffff0000) | 0x8e00 | dpl << 13);
	}
	put32(GDT + RING0_CODE, 0x0000ffff);
	put32(GDT + RING0_CODE + 4, 0x00cf9b00);
	put32(GDT + RING0_DATA, 0x0000ffff);
	put32(GDT + RING0_DATA + 4, 0x00cf9300);
	put32(TSS + 4, SYSTEM + STACK);
	put32(TSS + 8, RING0_DATA);
	put32(TSS + 100, TSS_BYTES << 16);	/* no I/O bitmap: every port is refused, as to a process */
}

static int build_machine(void)
{
	vm.nvcpus = 1;
	vm.vcpu = &vcpu;
	vcpu.vm = &vm;
	vcpu.engine = &soft_engine;
	config.cpu = X86_LEVEL_ALL;
	jit_way(&config);
	vm.config = &config;
	pthread_mutex_init(&vm.dev_lock, NULL);
	pthread_mutex_init(&vm.state_lock, NULL);
	if (mem_new(&vm.mem, RAM_BYTES, NULL, 0) || !(vm.bus = bus_new()) || inout_new(&vcpu) || soft_engine.vcpu_new(&vcpu))
		return -1;
	soft_engine.reset(&vcpu);
	ram = mem_ram(vm.mem);
	build_tables();
	build_tables64();
	return 0;
}

static struct x86_segment segment(uint16_t selector, uint64_t base, uint32_t limit, uint32_t attr)
{
	return (struct x86_segment){ .selector = selector, .base = base, .limit = limit, .attr = attr };
}

/* As the host's segments are: flat 32-bit ones, or 64 KiB 16-bit ones from the LDT. */
static void user_segments(struct x86_state *s, enum host_mode mode)
{
	const uint32_t user = X86_ATTR_S | X86_ATTR_DPL | X86_ATTR_P;

	if (mode == HOST_64) {
		s->seg[X86_CS] = segment(0x33, 0, 0xffffffff, user | 0xb | X86_ATTR_L | X86_ATTR_G);
		for (int i = X86_ES; i <= X86_DS; i++)
			if (i != X86_CS)
				s->seg[i] = segment(0x2b, 0, 0xffffffff, user | 0x3 | X86_ATTR_DB | X86_ATTR_G);
	} else if (mode == HOST_32) {
		s->seg[X86_CS] = segment(0x23, 0, 0xffffffff, user | 0xb | X86_ATTR_DB | X86_ATTR_G);
		for (int i = X86_ES; i <= X86_DS; i++)
			if (i != X86_CS)
				s->seg[i] = segment(0x2b, 0, 0xffffffff, user | 0x3 | X86_ATTR_DB | X86_ATTR_G);
	} else {
		s->seg[X86_CS] = segment(0x07, HOST_CODE, 0xffff, user | 0xb);
		for (int i = X86_ES; i <= X86_DS; i++)
			if (i != X86_CS)
				s->seg[i] = segment(0x0f, HOST_DATA, 0xffff, user | 0x3);
	}
	s->seg[X86_FS] = s->seg[X86_GS] = s->seg[X86_LDTR] = segment(0, 0, 0, X86_ATTR_UNUSABLE);
	s->seg[X86_TR] = segment(RING0_TSS, SYSTEM + (mode == HOST_64 ? TSS64 : TSS), TSS_BYTES - 1, 0xb | X86_ATTR_P);
}

static uint32_t first_ip(const struct gen_case *c)
{
	return (host_code_base(c->mode) ? 0 : HOST_CODE) + c->at;
}

/* The code page around the instruction: INT3s. */
static void place(const struct gen_case *c, uint8_t *page)
{
	unsigned n = c->len;

	memset(page, 0xcc, HOST_CODE_BYTES);
	if (c->at + n > HOST_CODE_BYTES)
		n = HOST_CODE_BYTES - c->at;
	memcpy(page + c->at, c->bytes, n);
}

static void start_state(const struct gen_case *c, struct x86_state *s)
{
	bool is64 = c->mode == HOST_64;

	soft_engine.get_state(&vcpu, s);
	memcpy(s->gpr, c->gpr, sizeof(s->gpr));
	s->rip = first_ip(c);
	s->rflags = c->rflags;
	s->cr0 = 0x80050033;		/* PG AM WP NE ET MP PE, as Linux has it */
	s->cr3 = is64 ? PML4 : PD;
	s->cr4 = (is64 ? X86_CR4_PAE : 0) | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
	s->xcr0 = x86_xcr0_bits(X86_LEVEL_ALL);
	s->efer = is64 ? X86_EFER_LMA | X86_EFER_LME : 0;
	s->fpu = c->fpu;
	memcpy(s->ymm_high, c->ymm_high, sizeof(s->ymm_high));
	s->cr2 = 0;
	s->cpl = 3;
	s->halted = s->sti_shadow = false;
	s->gdtr = (struct x86_table){ SYSTEM + GDT, 0x27 };
	s->idtr = is64 ? (struct x86_table){ SYSTEM + IDT64, 0xfff } : (struct x86_table){ SYSTEM + IDT, 0x7ff };
	user_segments(s, c->mode);
}

/* The frame that delivery pushed. */
static bool read_frame(const struct gen_case *c, const struct x86_state *s, struct host_cpu *out, char why[160])
{
	bool has_error = out->vector == 8 || (out->vector >= 10 && out->vector <= 14) || out->vector == 17;
	uint32_t n = c->mode == HOST_64 ? 8 : 4, frame = (uint32_t)s->gpr[X86_RSP] - SYSTEM;

	if (frame > STACK - (has_error ? 6 : 5) * n) {
		snprintf(why, 160, "frame at %#x", frame);
		return false;
	}
	if (has_error) {
		out->error = get32(frame);
		frame += n;
	}
	for (int i = 0; i < 16; i++)
		out->gpr[i] = n == 8 ? s->gpr[i] : i < 8 ? (uint32_t)s->gpr[i] : 0;
	out->rip = n == 8 ? get64(frame) : get32(frame);
	out->rflags = get32(frame + 2 * n);
	out->gpr[4] = n == 8 ? get64(frame + 3 * n) : get32(frame + 3 * n);
	out->cr2 = s->cr2;
	out->fpu = s->fpu;
	memcpy(out->ymm_high, s->ymm_high, sizeof(out->ymm_high));
	return true;
}

static bool run_engine(const struct gen_case *c, const uint8_t *data, struct host_cpu *out, char why[160])
{
	struct x86_state s;
	enum vcpu_exit exit;

	memcpy(ram + DATA, data, HOST_DATA_BYTES);
	place(c, ram + CODE);
	soft_engine.code_changed(&vm, CODE, HOST_CODE_BYTES);
	soft_engine.code_changed(&vm, DATA, HOST_DATA_BYTES);
	start_state(c, &s);
	if (soft_engine.set_state(&vcpu, &s)) {
		snprintf(why, 160, "set_state refused");
		return false;
	}
	do {
		exit = soft_engine.run(&vcpu);
		if (exit == EXIT_KICKED)
			vcpu.kick_seen = vcpu.kick;
	} while (exit == EXIT_KICKED);
	soft_engine.get_state(&vcpu, &s);
	if (exit != EXIT_HLT_FOREVER || s.cpl != 0 || s.rip - 1 - SYSTEM - HANDLERS > 255) {
		snprintf(why, 160, "exit %d at %#llx", exit, (unsigned long long)s.rip);
		return false;
	}
	memset(out, 0, sizeof(*out));
	out->vector = s.rip - 1 - SYSTEM - HANDLERS;
	return read_frame(c, &s, out, why);
}

/* GS leads translated code to the guest's registers; to the instruction its base is 0. */
static bool host_run_without_gs(enum host_mode mode, struct host_cpu *out)
{
	unsigned long base = 0;
	bool back;

	syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
	syscall(SYS_arch_prctl, ARCH_SET_GS, 0);
	back = host_run(mode, out);
	syscall(SYS_arch_prctl, ARCH_SET_GS, base);
	return back;
}

static bool run_host(const struct gen_case *c, const uint8_t *data, struct host_cpu *out, char why[160])
{
	memcpy(host_data(), data, HOST_DATA_BYTES);
	place(c, host_code());
	memset(out, 0, sizeof(*out));
	memcpy(out->gpr, c->gpr, sizeof(out->gpr));
	out->rip = first_ip(c);
	out->rflags = c->rflags;
	out->fpu = c->fpu;
	memcpy(out->ymm_high, c->ymm_high, sizeof(out->ymm_high));
	if (!host_run_without_gs(c->mode, out)) {
		snprintf(why, 160, "the host did not come back");
		return false;
	}
	for (int i = 0; i < 16 && c->mode != HOST_64; i++)
		out->gpr[i] = i < 8 ? (uint32_t)out->gpr[i] : 0;
	if (c->mode != HOST_64) {
		out->rip = (uint32_t)out->rip;
		out->cr2 = (uint32_t)out->cr2;
	}
	return true;
}

/* Flags and results that are not defined; see the top.  Returns the flags to compare. */
static uint32_t compared_flags(const struct gen_case *c, const struct x86_insn *in, const struct host_cpu *h)
{
	uint32_t mask = 0x254fd7;	/* arithmetic, TF IF DF, NT, RF, AC, ID */

	if (in && h->rip != first_ip(c))	/* it retired; the vector may be the next one's */
		mask &= ~x86_opcodes[in->row].undefined;
	return mask;
}

/* Instruction and operand pointers, and what processors differ in, of a state in memory: made equal. */
static void blank(uint32_t at, uint32_t bytes)
{
	for (; bytes--; at++)
		if (at < HOST_DATA_BYTES)
			host_data()[at] = ram[DATA + at] = 0;
}

static void blank_pointers(const struct gen_case *c, const struct x86_insn *in)
{
	const char *handler = x86_opcodes[in->row].handler;
	uint64_t at = gen_ea(c, in) - (host_data_base(c->mode) ? 0 : HOST_DATA);

	if (!strcmp(handler, "x87_fnstenv") || !strcmp(handler, "x87_fnsave"))
		blank(at + (in->opsize == 2 ? 6 : 12), in->opsize == 2 ? 8 : 16);
	if (!strncmp(handler, "fxsave", 6) || !strncmp(handler, "xsave", 5))
		blank(at + 6, 18), blank(at + 28, 4);	/* and MXCSR's mask */
}

/* FXSAVE, FXRSTOR, and x87's environment and state. */
static bool is_image(const struct x86_insn *in)
{
	const struct x86_opcode *row = &x86_opcodes[in->row];

	return row->operand[0] == OP_M && (x86_row_isa(row) == X86_ISA_FPU || x86_row_isa(row) == X86_ISA_FXSR);
}

/* An x87 operand of more than 8 bytes, partly behind the data: see the top. */
static bool reaches_out(const struct gen_case *c, const struct x86_insn *in)
{
	const struct x86_opcode *row = &x86_opcodes[in->row];
	uint64_t ea = gen_ea(c, in), at = ea - (host_data_base(c->mode) ? 0 : HOST_DATA);
	bool wraps = c->mode != HOST_64 && ea + 512 > UINT32_MAX;

	return in->mem && (is_image(in) || row->operand[0] == OP_Mt)
		&& (wraps || (at < HOST_DATA_BYTES && at > HOST_DATA_BYTES - 512));
}

/* An instruction with an MMX register, among others, that faults: see the top. */
static bool tags_may_differ(const struct host_cpu *h, const struct x86_insn *in)
{
	const struct x86_opcode *row = in ? &x86_opcodes[in->row] : NULL;

	return row && h->vector != 3 && (row->operand[0] == OP_Pq || row->operand[1] == OP_Qq || row->operand[1] == OP_Nq
					 || row->operand[1] == OP_Pq);
}

static bool amds_vex_w(const struct gen_case *c, const struct x86_insn *in)
{
	const char *drawn = x86_opcodes[c->row].mnemonic;

	if (strcmp(host_vendor(), "AuthenticAMD"))
		return false;
	if (!in)
		return !strcmp(drawn, "vpermq") || !strcmp(drawn, "vpermpd");
	return c->mode != HOST_64 && in->vex_w && (!strcmp(drawn, "vpinsrd") || !strcmp(drawn, "vpextrd"));
}

static bool same_fpu(const struct x86_insn *in, const struct host_cpu *h, const struct host_cpu *e, char why[160])
{
	const struct x86_fxsave *a = &e->fpu, *b = &h->fpu;

	if (tags_may_differ(h, in))
		return true;
	if (a->fcw != b->fcw || a->fsw != b->fsw || a->ftw != b->ftw)
		return snprintf(why, 160, "x87 control %#x status %#x tags %#x, host %#x %#x %#x", a->fcw, a->fsw, a->ftw,
				b->fcw, b->fsw, b->ftw), false;
	for (unsigned i = 0; i < 8; i++)
		if (memcmp(a->st[i], b->st[i], 10)) {
			uint64_t am, bm;
			uint16_t ae, be;

			memcpy(&am, a->st[i], 8), memcpy(&ae, a->st[i] + 8, 2);
			memcpy(&bm, b->st[i], 8), memcpy(&be, b->st[i] + 8, 2);
			return snprintf(why, 160, "st%u is %04x:%016llx, host %04x:%016llx", i, ae, (unsigned long long)am,
					be, (unsigned long long)bm), false;
		}
	if ((a->mxcsr ^ b->mxcsr) & X86_MXCSR_VALID)
		return snprintf(why, 160, "mxcsr %#x, host %#x", a->mxcsr, b->mxcsr), false;
	for (unsigned i = 0; i < 16; i++)
		if (memcmp(a->xmm[i], b->xmm[i], 16)) {
			uint64_t v[4];

			memcpy(v, a->xmm[i], 16), memcpy(v + 2, b->xmm[i], 16);
			return snprintf(why, 160, "xmm%u is %016llx:%016llx, host %016llx:%016llx", i, (unsigned long long)v[1],
					(unsigned long long)v[0], (unsigned long long)v[3], (unsigned long long)v[2]), false;
		}
	for (unsigned i = 0; x86_isa_offered(X86_ISA_AVX) && i < 16; i++)
		if (memcmp(e->ymm_high[i], h->ymm_high[i], 16)) {
			uint64_t v[4];

			memcpy(v, e->ymm_high[i], 16), memcpy(v + 2, h->ymm_high[i], 16);
			return snprintf(why, 160, "ymm%u's upper half is %016llx:%016llx, host %016llx:%016llx", i,
					(unsigned long long)v[1], (unsigned long long)v[0], (unsigned long long)v[3],
					(unsigned long long)v[2]), false;
		}
	return true;
}

static bool same(const struct gen_case *c, const struct x86_insn *in, const struct host_cpu *h, const struct host_cpu *e, char why[160])
{
	uint32_t mask = compared_flags(c, in, h);
	const char *handler = in ? x86_opcodes[in->row].handler : "";

	if (in && in->opsize >= 4 && !strcmp(handler, "push_seg") && strcmp(host_vendor(), "AuthenticAMD"))
		return true;
	if ((h->vector == 12 || h->vector == 14) && e->vector == 13 && !strcmp(x86_opcodes[in ? in->row : 0].mnemonic, "call"))
		return true;

	if (!strncmp(handler, "maskmov", 7) && (h->rip == first_ip(c) || e->rip == first_ip(c)))
		return true;

	if (strstr(handler, "_masked") && (h->vector == 12 || h->vector == 13) && e->vector == 3)
		return true;

	if (amds_vex_w(c, in))
		return true;

	if (in && reaches_out(c, in))
		return true;

	if (e->vector == 6 && h->vector == 14 && h->error & 0x10)
		return true;

	if (h->vector != e->vector)
		return snprintf(why, 160, "vector %u, host %u", e->vector, h->vector), false;
	if (h->vector == 14) {
		uint32_t m = h->cr2 == h->rip + (c->mode == HOST_16 ? HOST_CODE : 0) || h->error & 0x10 ? ~0x10u : ~0u;

		if (h->cr2 - SYSTEM < 0x10000)
			m &= ~1u;	/* present here, to the supervisor */

		if ((h->cr2 != (c->mode == HOST_64 ? e->cr2 : (uint32_t)e->cr2) && !(in && is_image(in))) || ((h->error ^ e->error) & m))
			return snprintf(why, 160, "cr2 %#llx error %#x, host %#llx %#x", (unsigned long long)e->cr2, e->error,
					(unsigned long long)h->cr2, h->error), false;
	} else if (h->error != e->error) {
		return snprintf(why, 160, "error code %#x, host %#x", e->error, h->error), false;
	}
	if (h->rip != e->rip)
		return snprintf(why, 160, "eip %#llx, host %#llx", (unsigned long long)e->rip, (unsigned long long)h->rip), false;
	for (int i = 0; i < 16; i++)
		if (h->gpr[i] != e->gpr[i] && !(h->rip == first_ip(c) && !strcmp(handler, "popa")))
			return snprintf(why, 160, "register %d is %#llx, host %#llx", i, (unsigned long long)e->gpr[i], (unsigned long long)h->gpr[i]), false;
	if ((h->rflags ^ e->rflags) & mask)
		return snprintf(why, 160, "eflags %#llx, host %#llx, differ in %#llx", (unsigned long long)e->rflags,
				(unsigned long long)h->rflags, (unsigned long long)((h->rflags ^ e->rflags) & mask)), false;
	if (!same_fpu(in, h, e, why))
		return false;
	if (in && in->mem && in->has_modrm)
		blank_pointers(c, in);
	if (memcmp(host_data(), ram + DATA, HOST_DATA_BYTES))
		for (unsigned i = 0; i < HOST_DATA_BYTES; i++)
			if (host_data()[i] != ram[DATA + i])
				return snprintf(why, 160, "data+%#x is %#x, host %#x", i, ram[DATA + i], host_data()[i]), false;
	if (memcmp(host_code(), ram + CODE, HOST_CODE_BYTES))
		return snprintf(why, 160, "the code page differs"), false;
	return true;
}

static void print_case(uint64_t seed, uint64_t number, const struct gen_case *c)
{
	static const char *const name[] = {
		"ax", "cx", "dx", "bx", "sp", "bp", "si", "di", "8", "9", "10", "11", "12", "13", "14", "15",
	};
	unsigned bits = gen_bits(c->mode);

	printf("case %llu seed %llu: %u-bit, %s:", (unsigned long long)number, (unsigned long long)seed, bits,
	       x86_opcodes[c->row].mnemonic);
	for (unsigned i = 0; i < c->len; i++)
		printf(" %02x", c->bytes[i]);
	printf("\n   ip %08x flags %08x", first_ip(c), c->rflags);
	for (unsigned i = 0; i < (bits == 64 ? 16 : 8); i++)
		printf("%sr%s %0*llx", i % 4 == 0 ? "\n   " : " ", name[i], bits == 64 ? 16 : 8, (unsigned long long)c->gpr[i]);
	printf("\n   fcw %04x fsw %04x ftw %02x mxcsr %04x\n", c->fpu.fcw, c->fpu.fsw, c->fpu.ftw, c->fpu.mxcsr);
}

static void print_state(const char *who, const struct host_cpu *s, enum host_mode mode)
{
	printf("   %s: vector %u error %#x cr2 %llx ip %llx flags %llx", who, s->vector, s->error,
	       (unsigned long long)s->cr2, (unsigned long long)s->rip, (unsigned long long)s->rflags);
	for (int i = 0; i < (mode == HOST_64 ? 16 : 8); i++)
		printf("%s%0*llx", i % 8 == 0 ? "\n      " : " ", mode == HOST_64 ? 16 : 8, (unsigned long long)s->gpr[i]);
	printf("\n");
}

/*
 * The host must not touch the process's own memory in the guest's name: 64-bit
 * code reaches all of it, and a sanitizer's begins below 4 GiB.  The engine has
 * run first and tells where the instruction goes.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const uint64_t own_memory = 0x60000000;
#else
static const uint64_t own_memory = 1ull << 32;
#endif

static bool host_may_run(const struct host_cpu *e)
{
	return e->vector != 14 || e->cr2 < own_memory;
}

int main(int argc, char **argv)
{
	uint64_t seed = 1, cases = 10000, only = UINT64_MAX, differences = 0, left_out = 0, drawn = 0;
	uint8_t *data = malloc(HOST_DATA_BYTES);
	unsigned *per_row = calloc(x86_opcode_rows, sizeof(*per_row)), covered = 0, offered = 0;

	for (int i = 1; i + 1 < argc; i += 2) {
		uint64_t v = strtoull(argv[i + 1], NULL, 0);

		if (!strcmp(argv[i], "--seed"))
			seed = v;
		else if (!strcmp(argv[i], "--cases"))
			cases = v;
		else if (!strcmp(argv[i], "--case"))
			only = v;
		else
			return fprintf(stderr, "usage: diff [--seed S] [--cases N | --case N]\n"), 2;
	}
	if (!data || !per_row || host_init() || build_machine()) {
		fprintf(stderr, "diff: cannot set up\n");
		return 1;
	}
	for (uint64_t n = only == UINT64_MAX ? 0 : only; n < (only == UINT64_MAX ? cases : only + 1); n++) {
		struct gen_case c;
		struct host_cpu h, e;
		struct x86_insn in;
		char why[160];
		bool ok, decoded;

		gen_case(seed, n, host_modes(), &c, data);
		per_row[c.row]++;
		drawn++;
		decoded = x86_decode(c.bytes, c.len, gen_bits(c.mode), &in) == X86_DECODE_OK;
		if (decoded && gen_skipped(&x86_opcodes[in.row]))
			continue;
		ok = run_engine(&c, data, &e, why);
		if (ok && !host_may_run(&e)) {
			left_out++;
			continue;
		}
		if (ok)
			ok = run_host(&c, data, &h, why) && same(&c, decoded ? &in : NULL, &h, &e, why);
		if (!ok || only != UINT64_MAX) {
			print_case(seed, n, &c);
			print_state("engine", &e, c.mode);
			print_state("host", &h, c.mode);
			if (!ok)
				printf("   DIFFERENT: %s\n", why);
		}
		if (!ok && ++differences == 20)
			break;
	}
	for (unsigned r = 0; r < x86_opcode_rows; r++)
		if (!gen_skipped(&x86_opcodes[r])) {
			offered++;
			covered += per_row[r] > 0;
		}
	printf("diff: host %s, seed %llu: %llu cases, %llu left out, %u of %u rows (%u rows are not for user mode), %llu differences\n",
	       host_vendor(), (unsigned long long)seed, (unsigned long long)drawn, (unsigned long long)left_out, covered, offered,
	       x86_opcode_rows - offered, (unsigned long long)differences);
	free(data);
	free(per_row);
	return differences != 0;
}
