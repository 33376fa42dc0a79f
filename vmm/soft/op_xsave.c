/*
 * vmm/soft/op_xsave.c - FXSAVE, XSAVE and their kin, MXCSR, XCR0.
 *
 * SDM vol. 1 section 10.5 (FXSAVE), ch. 13 (XSAVE), vol. 2 under each mnemonic.
 */
#include <string.h>

#include "vmm/soft/seg.h"
#include "vmm/soft/vec.h"
#include "vmm/x86/control.h"
#include "vmm/x86/exception.h"

#define XSTATE_KNOWN	((uint64_t)(X86_XSTATE_X87 | X86_XSTATE_SSE))

static bool long_mode(const struct cpu *cpu)
{
	return cpu->mode & MODE_CODE64;
}

/* XMM registers that the mode can name. */
static unsigned xmm_registers(const struct cpu *cpu)
{
	return long_mode(cpu) ? 16 : 8;
}

/* ---- the legacy region in its forms: with REX.W pointers are 64 bits, else 32 and a selector */

static void make_image(struct cpu *cpu, const struct insn *in, struct x86_fxsave *fx)
{
	simd_image(cpu, fx);
	if (in->opsize != 8) {
		fx->fip = (uint32_t)fx->fip;
		fx->fdp = (uint32_t)fx->fdp;
	}
}

static void take_x87(struct cpu *cpu, const struct insn *in, struct x86_fxsave *fx)
{
	if (in->opsize != 8) {
		fx->fip = (uint32_t)fx->fip;
		fx->fdp = (uint32_t)fx->fdp;
	}
	simd_load_x87(cpu, fx);
}

static uint64_t area(struct cpu *cpu, const struct insn *in, unsigned align, unsigned bytes, bool write)
{
	uint64_t lin = mmu_linear(cpu, in->seg, insn_ea(cpu, in), bytes, write);

	if (lin & (align - 1))
		cpu_fault(cpu, X86_GP, 0);
	return lin;
}

/* An area in device memory is none: stores vanish, loads are all ones. */
static void put(struct cpu *cpu, uint64_t lin, const void *from, unsigned bytes)
{
	struct mmu_held held;

	mmu_probe_write(cpu, lin, bytes, &held);
	if (!mmu_held_is_mmio(&held))
		mmu_held_store(cpu, &held, from);
}

static void get(struct cpu *cpu, uint64_t lin, void *to, unsigned bytes)
{
	struct mmu_held held;

	mmu_probe_read(cpu, lin, bytes, &held);
	if (mmu_held_is_mmio(&held))
		memset(to, 0xff, bytes);
	else
		mmu_held_load(cpu, &held, to);
}

void op_fxsave(struct cpu *cpu, const struct insn *in)
{
	struct x86_fxsave fx;
	uint64_t lin;

	simd_check_nm(cpu);
	lin = area(cpu, in, 16, sizeof(fx), true);
	make_image(cpu, in, &fx);
	put(cpu, lin, &fx, offsetof(struct x86_fxsave, xmm) + 16 * xmm_registers(cpu));
}

void op_fxrstor(struct cpu *cpu, const struct insn *in)
{
	struct x86_fxsave fx;

	simd_check_nm(cpu);
	get(cpu, area(cpu, in, 16, sizeof(fx), false), &fx, sizeof(fx));
	if (fx.mxcsr & ~X86_MXCSR_VALID)
		cpu_fault(cpu, X86_GP, 0);
	take_x87(cpu, in, &fx);
	simd_set_mxcsr(cpu, fx.mxcsr);
	for (unsigned i = 0; i < xmm_registers(cpu); i++)
		memcpy(cpu->simd.v[i].b, fx.xmm[i], 16);
}

/* ---- MXCSR */

void op_ldmxcsr(struct cpu *cpu, const struct insn *in)
{
	uint32_t v;

	sse_enter(cpu, NULL);
	v = ld32(cpu, in->seg, insn_ea(cpu, in));
	if (v & ~X86_MXCSR_VALID)
		cpu_fault(cpu, X86_GP, 0);
	simd_set_mxcsr(cpu, v);
}

void op_stmxcsr(struct cpu *cpu, const struct insn *in)
{
	sse_enter(cpu, NULL);
	st32(cpu, in->seg, insn_ea(cpu, in), simd_mxcsr(cpu));
}

/* ---- XSAVE, XRSTOR in the standard format */

static void need_osxsave(struct cpu *cpu)
{
	if (!(cpu->cr4 & X86_CR4_OSXSAVE))
		cpu_fault(cpu, X86_UD, 0);
}

static void need_xsave(struct cpu *cpu)
{
	need_osxsave(cpu);
	if (cpu->cr0 & X86_CR0_TS)
		cpu_fault(cpu, X86_NM, 0);
}

static uint64_t requested(const struct cpu *cpu)
{
	return ((uint64_t)cpu->gpr[X86_RDX].d << 32 | cpu->gpr[X86_RAX].d) & cpu->simd.xcr0;
}

struct xsave_header {
	uint64_t bv, comp, reserved[6];
};

void op_xsave(struct cpu *cpu, const struct insn *in)
{
	uint64_t want, lin, bv;
	struct x86_fxsave fx;
	struct mmu_held held;

	need_xsave(cpu);
	want = requested(cpu);
	lin = area(cpu, in, 64, X86_XSAVE_EXTENDED, true);
	mmu_probe_write(cpu, lin, X86_XSAVE_EXTENDED, &held);	/* all faults first */
	make_image(cpu, in, &fx);
	get(cpu, lin + X86_XSAVE_HEADER, &bv, sizeof(bv));
	if (want & X86_XSTATE_X87)
		put(cpu, lin, &fx, offsetof(struct x86_fxsave, mxcsr));
	if (want & (X86_XSTATE_SSE | X86_XSTATE_AVX))
		put(cpu, lin + offsetof(struct x86_fxsave, mxcsr), &fx.mxcsr, 8);
	if (want & X86_XSTATE_X87)
		put(cpu, lin + offsetof(struct x86_fxsave, st), fx.st, sizeof(fx.st));
	if (want & X86_XSTATE_SSE)
		put(cpu, lin + offsetof(struct x86_fxsave, xmm), fx.xmm, 16 * xmm_registers(cpu));
	bv = (bv & ~want) | want;		/* always in use */
	put(cpu, lin + X86_XSAVE_HEADER, &bv, sizeof(bv));
}

/* May leave out what has not changed; this one leaves out nothing. */
void op_xsaveopt(struct cpu *cpu, const struct insn *in)
{
	op_xsave(cpu, in);
}

void op_xrstor(struct cpu *cpu, const struct insn *in)
{
	static const struct x86_fxsave initial = { .fcw = X86_FCW_INIT };
	struct xsave_header header;
	struct x86_fxsave fx;
	uint64_t want, lin;

	need_xsave(cpu);
	want = requested(cpu);
	lin = area(cpu, in, 64, X86_XSAVE_EXTENDED, false);
	get(cpu, lin, &fx, sizeof(fx));
	get(cpu, lin + X86_XSAVE_HEADER, &header, sizeof(header));
	if (header.bv & ~cpu->simd.xcr0 || header.comp || header.reserved[0])
		cpu_fault(cpu, X86_GP, 0);
	if (want & (X86_XSTATE_SSE | X86_XSTATE_AVX) && fx.mxcsr & ~X86_MXCSR_VALID)
		cpu_fault(cpu, X86_GP, 0);
	if (want & X86_XSTATE_X87) {
		if (!(header.bv & X86_XSTATE_X87))
			memcpy(&fx, &initial, offsetof(struct x86_fxsave, mxcsr)), memset(fx.st, 0, sizeof(fx.st));
		take_x87(cpu, in, &fx);
	}
	if (want & (X86_XSTATE_SSE | X86_XSTATE_AVX))
		simd_set_mxcsr(cpu, fx.mxcsr);
	if (want & X86_XSTATE_SSE)
		for (unsigned i = 0; i < xmm_registers(cpu); i++) {
			if (header.bv & X86_XSTATE_SSE)
				memcpy(cpu->simd.v[i].b, fx.xmm[i], 16);
			else
				memset(cpu->simd.v[i].b, 0, 16);
		}
}

/* ---- XCR0 */

void op_xgetbv(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	need_osxsave(cpu);
	if (cpu->gpr[X86_RCX].d)
		cpu_fault(cpu, X86_GP, 0);
	cpu->gpr[X86_RAX].q = (uint32_t)cpu->simd.xcr0;
	cpu->gpr[X86_RDX].q = cpu->simd.xcr0 >> 32;
}

void op_xsetbv(struct cpu *cpu, const struct insn *in)
{
	uint64_t v = (uint64_t)cpu->gpr[X86_RDX].d << 32 | cpu->gpr[X86_RAX].d;

	(void)in;
	need_osxsave(cpu);
	need_cpl0(cpu);
	if (cpu->gpr[X86_RCX].d || v & ~XSTATE_KNOWN || !(v & X86_XSTATE_X87))
		cpu_fault(cpu, X86_GP, 0);
	cpu->simd.xcr0 = v;
}
