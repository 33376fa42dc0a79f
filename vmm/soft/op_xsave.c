/*
 * vmm/soft/op_xsave.c - FXSAVE, XSAVE and their kin, MXCSR, XCR0.
 *
 * SDM vol. 1 section 10.5 (FXSAVE), ch. 13 (XSAVE), vol. 2 under each mnemonic.
 */
#include <string.h>

#include "vmm/soft/seg.h"
#include "vmm/soft/vec.h"
#include "vmm/x86/control.h"
#include "vmm/x86/cpuid.h"
#include "vmm/x86/exception.h"

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

static void load_mxcsr(struct cpu *cpu, const struct insn *in)
{
	uint32_t v = ld32(cpu, in->seg, insn_ea(cpu, in));

	if (v & ~X86_MXCSR_VALID)
		cpu_fault(cpu, X86_GP, 0);
	simd_set_mxcsr(cpu, v);
}

void op_ldmxcsr(struct cpu *cpu, const struct insn *in)
{
	sse_enter(cpu, NULL);
	load_mxcsr(cpu, in);
}

void op_vldmxcsr(struct cpu *cpu, const struct insn *in)
{
	avx_enter(cpu, NULL);
	load_mxcsr(cpu, in);
}

void op_stmxcsr(struct cpu *cpu, const struct insn *in)
{
	sse_enter(cpu, NULL);
	st32(cpu, in->seg, insn_ea(cpu, in), simd_mxcsr(cpu));
}

void op_vstmxcsr(struct cpu *cpu, const struct insn *in)
{
	avx_enter(cpu, NULL);
	st32(cpu, in->seg, insn_ea(cpu, in), simd_mxcsr(cpu));
}

/* ---- permission for XSAVE and its kin */

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

/* For XSAVES and XRSTORS: IA32_XSS is always 0, so they have no components of their own. */
static void need_supervisor(struct cpu *cpu)
{
	need_osxsave(cpu);
	need_cpl0(cpu);
	need_xsave(cpu);
}

static uint64_t requested(const struct cpu *cpu)
{
	return ((uint64_t)cpu->gpr[X86_RDX].d << 32 | cpu->gpr[X86_RAX].d) & cpu->simd.xcr0;
}

/* ---- components.  AVX's is the only extended one, so it has one place in both formats. */

struct xsave_header {
	uint64_t bv, comp, reserved[6];
};

#define COMPACT		(1ull << 63)
#define EITHER_SSE	((uint64_t)(X86_XSTATE_SSE | X86_XSTATE_AVX))	/* of the standard format: MXCSR is both's */

static bool all_zero(const void *p, size_t bytes)
{
	const uint8_t *b = p;

	return b[0] == 0 && memcmp(b, b + 1, bytes - 1) == 0;
}

/* Of the registers that the mode can name, what XSAVE puts one behind the other. */
static void get_high(const struct cpu *cpu, uint8_t high[16][16])
{
	for (unsigned i = 0; i < 16; i++)
		memcpy(high[i], cpu->simd.v[i].b + 16, 16);
}

/* Components that are not in their initial state: XINUSE. */
static uint64_t in_use(const struct cpu *cpu, const struct x86_fxsave *fx)
{
	uint8_t high[16][16];
	uint64_t use = 0;

	get_high(cpu, high);
	if (fx->fcw != X86_FCW_INIT || !all_zero(&fx->fsw, offsetof(struct x86_fxsave, mxcsr) - offsetof(struct x86_fxsave, fsw))
	    || !all_zero(fx->st, sizeof(fx->st)))
		use |= X86_XSTATE_X87;
	if (!all_zero(fx->xmm, sizeof(fx->xmm)))
		use |= X86_XSTATE_SSE;
	if (!all_zero(high, sizeof(high)))
		use |= X86_XSTATE_AVX;
	return use;
}

/* As in_use(), for those to whom MXCSR is a part of SSE's. */
static uint64_t in_use_mxcsr(const struct cpu *cpu, const struct x86_fxsave *fx)
{
	return in_use(cpu, fx) | (fx->mxcsr != X86_MXCSR_RESET ? X86_XSTATE_SSE : 0);
}

/* Where everything that it may access has been probed. */
static uint64_t writable_area(struct cpu *cpu, const struct insn *in, uint64_t components)
{
	uint64_t lin = area(cpu, in, 64, x86_xsave_bytes(components), true);
	struct mmu_held held;

	mmu_probe_write(cpu, lin, x86_xsave_bytes(components), &held);
	return lin;
}

static void save_components(struct cpu *cpu, uint64_t lin, const struct x86_fxsave *fx, uint64_t which, bool mxcsr)
{
	uint8_t high[16][16];

	if (which & X86_XSTATE_X87) {
		put(cpu, lin, fx, offsetof(struct x86_fxsave, mxcsr));
		put(cpu, lin + offsetof(struct x86_fxsave, st), fx->st, sizeof(fx->st));
	}
	if (mxcsr)
		put(cpu, lin + offsetof(struct x86_fxsave, mxcsr), &fx->mxcsr, 8);
	if (which & X86_XSTATE_SSE)
		put(cpu, lin + offsetof(struct x86_fxsave, xmm), fx->xmm, 16 * xmm_registers(cpu));
	if (which & X86_XSTATE_AVX) {
		get_high(cpu, high);
		put(cpu, lin + X86_XSAVE_AVX, high, 16 * xmm_registers(cpu));
	}
}

/* XSAVE and XSAVEOPT, which leaves out what is in its initial state. */
static void save_standard(struct cpu *cpu, const struct insn *in, bool optimise)
{
	uint64_t want, use, lin, bv;
	struct x86_fxsave fx;

	need_xsave(cpu);
	want = requested(cpu);
	lin = writable_area(cpu, in, want);
	make_image(cpu, in, &fx);
	use = in_use(cpu, &fx);
	get(cpu, lin + X86_XSAVE_HEADER, &bv, sizeof(bv));
	bv = (bv & ~want) | (want & use);
	save_components(cpu, lin, &fx, optimise ? want & use : want, want & EITHER_SSE);
	put(cpu, lin + X86_XSAVE_HEADER, &bv, sizeof(bv));
}

static void save_compact(struct cpu *cpu, const struct insn *in)
{
	uint64_t want = requested(cpu), lin = writable_area(cpu, in, want), header[2];
	struct x86_fxsave fx;

	make_image(cpu, in, &fx);
	header[0] = want & in_use_mxcsr(cpu, &fx);
	header[1] = want | COMPACT;
	save_components(cpu, lin, &fx, header[0], header[0] & X86_XSTATE_SSE);
	put(cpu, lin + X86_XSAVE_HEADER, header, sizeof(header));
}

void op_xsave(struct cpu *cpu, const struct insn *in)
{
	save_standard(cpu, in, false);
}

void op_xsaveopt(struct cpu *cpu, const struct insn *in)
{
	save_standard(cpu, in, true);
}

void op_xsavec(struct cpu *cpu, const struct insn *in)
{
	need_xsave(cpu);
	save_compact(cpu, in);
}

void op_xsaves(struct cpu *cpu, const struct insn *in)
{
	need_supervisor(cpu);
	save_compact(cpu, in);
}

static bool header_valid(const struct cpu *cpu, const struct xsave_header *h)
{
	uint64_t xcr0 = cpu->simd.xcr0;

	if (!(h->comp & COMPACT))
		return !(h->bv & ~xcr0) && !h->comp && !h->reserved[0];
	return !(h->comp & ~COMPACT & ~xcr0) && !(h->bv & ~h->comp) && !(h->bv & COMPACT)
		&& all_zero(h->reserved, sizeof(h->reserved));
}

static void restore_x87(struct cpu *cpu, const struct insn *in, struct x86_fxsave *fx, bool initial)
{
	struct x86_fxsave init = { .fcw = X86_FCW_INIT };

	take_x87(cpu, in, initial ? &init : fx);
}

/* Those of `which` that `present` has, the rest of `which` as it is initially. */
static void restore_vectors(struct cpu *cpu, const struct x86_fxsave *fx, const uint8_t high[16][16], uint64_t which, uint64_t present)
{
	static const uint8_t zero[16];

	for (unsigned i = 0; i < xmm_registers(cpu); i++) {
		if (which & X86_XSTATE_SSE)
			memcpy(cpu->simd.v[i].b, present & X86_XSTATE_SSE ? fx->xmm[i] : zero, 16);
		if (which & X86_XSTATE_AVX)
			memcpy(cpu->simd.v[i].b + 16, present & X86_XSTATE_AVX ? high[i] : zero, 16);
	}
}

/* XRSTOR and XRSTORS, which takes the compacted format only. */
static void restore(struct cpu *cpu, const struct insn *in, bool compact_only)
{
	uint64_t want = requested(cpu), lin = area(cpu, in, 64, X86_XSAVE_EXTENDED, false);
	struct xsave_header header;
	struct x86_fxsave fx;
	uint8_t high[16][16];
	bool compact, mxcsr;

	get(cpu, lin, &fx, sizeof(fx));
	get(cpu, lin + X86_XSAVE_HEADER, &header, sizeof(header));
	compact = header.comp & COMPACT;
	if (!header_valid(cpu, &header) || (compact_only && !compact))
		cpu_fault(cpu, X86_GP, 0);
	if (want & header.bv & X86_XSTATE_AVX) {
		area(cpu, in, 64, x86_xsave_bytes(want), false);
		get(cpu, lin + X86_XSAVE_AVX, high, sizeof(high));
	}
	mxcsr = want & (compact ? X86_XSTATE_SSE : EITHER_SSE);
	if (compact && !(header.bv & X86_XSTATE_SSE))
		fx.mxcsr = X86_MXCSR_RESET;
	if (mxcsr && fx.mxcsr & ~X86_MXCSR_VALID)
		cpu_fault(cpu, X86_GP, 0);
	if (want & X86_XSTATE_X87)
		restore_x87(cpu, in, &fx, !(header.bv & X86_XSTATE_X87));
	if (mxcsr)
		simd_set_mxcsr(cpu, fx.mxcsr);
	restore_vectors(cpu, &fx, high, want, header.bv);
}

void op_xrstor(struct cpu *cpu, const struct insn *in)
{
	need_xsave(cpu);
	restore(cpu, in, false);
}

void op_xrstors(struct cpu *cpu, const struct insn *in)
{
	need_supervisor(cpu);
	restore(cpu, in, true);
}

/* ---- XCR0 */

/* ECX 1: what of it is in use. */
void op_xgetbv(struct cpu *cpu, const struct insn *in)
{
	uint64_t v = cpu->simd.xcr0;
	struct x86_fxsave fx;

	(void)in;
	need_osxsave(cpu);
	if (cpu->gpr[X86_RCX].d > 1)
		cpu_fault(cpu, X86_GP, 0);
	if (cpu->gpr[X86_RCX].d == 1) {
		simd_image(cpu, &fx);
		v &= in_use_mxcsr(cpu, &fx);
	}
	cpu->gpr[X86_RAX].q = (uint32_t)v;
	cpu->gpr[X86_RDX].q = v >> 32;
}

void op_xsetbv(struct cpu *cpu, const struct insn *in)
{
	uint64_t v = (uint64_t)cpu->gpr[X86_RDX].d << 32 | cpu->gpr[X86_RAX].d;

	(void)in;
	need_osxsave(cpu);
	need_cpl0(cpu);
	if (cpu->gpr[X86_RCX].d || v & ~x86_xcr0_bits(cpu->level) || !(v & X86_XSTATE_X87)
	    || (v & EITHER_SSE) == X86_XSTATE_AVX)
		cpu_fault(cpu, X86_GP, 0);
	cpu->simd.xcr0 = v;
	simd_update(cpu);
}
