/*
 * vmm/soft/op_x87.c - the x87 FPU: the guest's instructions, run on the host's.
 *
 * While simd.h's state is live the host's x87 registers are the guest's.  An
 * instruction with register operands is then the host's own, byte for byte; one
 * with a memory operand is the host's with the operand at (%rdi).  Stubs for
 * all of them are made here, a few bytes each; a block keeps the address in
 * insn.imm, with the 11 bits of FOP above it.  Arithmetic, tags, condition
 * codes, stack faults and unmasked exceptions follow by themselves.
 *
 * The host's instruction and operand pointers are of no use to the guest, so
 * these are kept apart.  Their selectors are stored as 0, as CPUID leaf 7 says.
 *
 * SDM vol. 1 ch. 8, vol. 2 under each mnemonic.
 */
#include <string.h>

#include "vmm/soft/vec.h"
#include "vmm/x86/control.h"
#include "vmm/x86/exception.h"

/* ---- stubs */

/* [escape][reg]: operand at (%rdi); [escape][modrm - C0] */
__asm__(
	".pushsection .text\n"
	".balign 16\n"
	"x87_mem_stubs:\n"
	".set esc_, 0xd8\n"
	".rept 8\n"
	"	.set modrm_, 0x07\n"
	"	.rept 8\n"
	"		.byte esc_, modrm_, 0xc3, 0xcc\n"
	"		.set modrm_, modrm_ + 8\n"
	"	.endr\n"
	"	.set esc_, esc_ + 1\n"
	".endr\n"
	"x87_reg_stubs:\n"
	".set esc_, 0xd8\n"
	".rept 8\n"
	"	.set modrm_, 0xc0\n"
	"	.rept 64\n"
	"		.byte esc_, modrm_, 0xc3, 0xcc\n"
	"		.set modrm_, modrm_ + 1\n"
	"	.endr\n"
	"	.set esc_, esc_ + 1\n"
	".endr\n"
	".popsection\n"
);
/* FCOMI's kin, then the flags; [DB, DF][modrm - E8] */
__asm__(
	".pushsection .text\n"
	".balign 16\n"
	"x87_fcomi_stubs:\n"
	".set esc_, 0xdb\n"
	".rept 2\n"
	"	.set modrm_, 0xe8\n"
	"	.rept 16\n"
	"		.byte esc_, modrm_\n"
	"		lahf\n"
	"		seto %al\n"
	"		movzwl %ax, %eax\n"
	"		ret\n"
	"		.balign 16, 0xcc\n"
	"		.set modrm_, modrm_ + 1\n"
	"	.endr\n"
	"	.set esc_, esc_ + 4\n"
	".endr\n"
	".popsection\n"
);
/* The flags, then FCMOVcc; [DA, DB][modrm - C0] */
__asm__(
	".pushsection .text\n"
	".balign 16\n"
	"x87_fcmov_stubs:\n"
	".set esc_, 0xda\n"
	".rept 2\n"
	"	.set modrm_, 0xc0\n"
	"	.rept 32\n"
	"		movl %edi, %eax\n"
	"		sahf\n"
	"		.byte esc_, modrm_, 0xc3, 0xcc, 0xcc\n"
	"		.set modrm_, modrm_ + 1\n"
	"	.endr\n"
	"	.set esc_, esc_ + 1\n"
	".endr\n"
	".popsection\n"
);

extern const uint8_t x87_mem_stubs[8][8][4] HIDDEN, x87_reg_stubs[8][64][4] HIDDEN;
extern const uint8_t x87_fcomi_stubs[2][16][16] HIDDEN, x87_fcmov_stubs[2][32][8] HIDDEN;

typedef void mem_fn(void *);
typedef void reg_fn(void);
typedef uint32_t fcomi_fn(void);
typedef void fcmov_fn(uint32_t fl);

enum { FOP_SHIFT = 48 };

static void set_stub(struct insn *in, const void *stub, unsigned escape, unsigned modrm)
{
	in->imm = (uintptr_t)stub | (uint64_t)((escape & 7) << 8 | modrm) << FOP_SHIFT;
}

static inline void *stub_of(const struct insn *in)
{
	return (void *)(uintptr_t)(in->imm << (64 - FOP_SHIFT) >> (64 - FOP_SHIFT));
}

#define X87_BEGIN										\
	do {											\
		if (unlikely(cpu->simd.x87_slow))						\
			x87_enter(cpu, in);							\
	} while (0)

static inline void note_insn(struct cpu *cpu, const struct insn *in)
{
	cpu->simd.fip = cpu->rip + in->off;
	cpu->simd.fop = in->imm >> FOP_SHIFT;
}

/* ---- registers only */

HANDLER(x87_reg)
{
	X87_BEGIN;
	note_insn(cpu, in);
	((reg_fn *)stub_of(in))();
	NEXT(1);
}

insn_fn *sel_x87_reg(const struct x86_insn *x, struct insn *in)
{
	set_stub(in, x87_reg_stubs[x->map - X86_MAP_D8][x->opcode - 0xc0], x->map - X86_MAP_D8, x->opcode);
	return x87_reg;
}

HANDLER(x87_fcomi)
{
	X87_BEGIN;
	note_insn(cpu, in);
	cpu->fl = ((fcomi_fn *)stub_of(in))();
	NEXT(1);
}

insn_fn *sel_x87_fcomi(const struct x86_insn *x, struct insn *in)
{
	set_stub(in, x87_fcomi_stubs[x->map == X86_MAP_DF][x->opcode - 0xe8], x->map - X86_MAP_D8, x->opcode);
	return x87_fcomi;
}

HANDLER(x87_fcmov)
{
	X87_BEGIN;
	note_insn(cpu, in);
	((fcmov_fn *)stub_of(in))(cpu->fl);
	NEXT(1);
}

insn_fn *sel_x87_fcmov(const struct x86_insn *x, struct insn *in)
{
	set_stub(in, x87_fcmov_stubs[x->map == X86_MAP_DB][x->opcode - 0xc0], x->map - X86_MAP_D8, x->opcode);
	return x87_fcmov;
}

/* ---- memory: the host accesses guest memory itself, where it is plain memory in one page */

static inline void note_operand(struct cpu *cpu, const struct insn *in, uint64_t ea)
{
	note_insn(cpu, in);
	cpu->simd.fdp = ea;
}

#define X87_LOAD(BYTES)										\
VEC_HANDLER(x87_load##BYTES)									\
{												\
	uint64_t ea = flat ? ADDR_t : ADDR_x;							\
	uint8_t operand[16];									\
	void *p = operand;									\
												\
	X87_BEGIN;										\
	if (slow) {										\
		p = VHIT_READ(BYTES);								\
		if (unlikely(!p))								\
			return slow(cpu, in);							\
	} else {										\
		vec_load(cpu, in, operand, BYTES, false);					\
	}											\
	note_operand(cpu, in, ea);								\
	((mem_fn *)stub_of(in))(p);								\
	NEXT(1);										\
}
X87_LOAD(2)
X87_LOAD(4)
X87_LOAD(8)
X87_LOAD(10)

/*
 * The operand is stored after the instruction has popped, so its range is
 * probed before.  Where it is device memory the store may wait and the
 * instruction begin again: then it must find the stack as it was.
 */
static void store_slow(struct cpu *cpu, const struct insn *in, unsigned bytes)
{
	struct x86_fxsave was, is;
	uint8_t operand[16];
	struct mmu_held held;
	uint64_t lin = mmu_linear(cpu, in->seg, insn_ea(cpu, in), bytes, true);
	uint16_t sw, cw;

	if (bytes <= 8)
		mmu_check_alignment(cpu, lin, bytes);
	mmu_probe_write(cpu, lin, bytes, &held);
	__asm__ volatile("fxsave64 %0" : "=m"(was) :: "memory");
	((mem_fn *)stub_of(in))(operand);
	__asm__ volatile("fxsave64 %0" : "=m"(is) :: "memory");
	sw = is.fsw & ~was.fsw;
	cw = is.fcw;
	if ((sw & ~cw & X86_FCW_MASKS & ~0x20u) || (was.fsw & ~cw & X86_FCW_MASKS))
		return;			/* an unmasked exception but precision's: nothing has been stored */
	if (mmu_held_is_mmio(&held)) {
		__asm__ volatile("fxrstor64 %0" :: "m"(was) : "memory");
		mmu_held_store(cpu, &held, operand);
		__asm__ volatile("fxrstor64 %0" :: "m"(is) : "memory");
	} else {
		mmu_held_store(cpu, &held, operand);
	}
}

#define X87_STORE(BYTES)									\
VEC_HANDLER(x87_store##BYTES)									\
{												\
	uint64_t ea = flat ? ADDR_t : ADDR_x;							\
												\
	X87_BEGIN;										\
	if (slow) {										\
		void *p = VHIT_WRITE(BYTES);							\
												\
		if (unlikely(!p))								\
			return slow(cpu, in);							\
		((mem_fn *)stub_of(in))(p);							\
	} else {										\
		store_slow(cpu, in, BYTES);							\
	}											\
	note_operand(cpu, in, ea);								\
	NEXT(1);										\
}
X87_STORE(2)
X87_STORE(4)
X87_STORE(8)
X87_STORE(10)

static unsigned mem_bytes(const struct x86_insn *x, struct insn *in)
{
	set_stub(in, x87_mem_stubs[x->opcode - 0xd8][x->reg & 7], x->opcode - 0xd8,
		 x->mod << 6 | (x->reg & 7) << 3 | (x->rm & 7));
	return x86_operand_bytes(x86_opcodes[x->row].operand[0], x->opsize);
}

insn_fn *sel_x87_load(const struct x86_insn *x, struct insn *in)
{
	switch (mem_bytes(x, in)) {
	case 2: return VEC(x87_load2);
	case 4: return VEC(x87_load4);
	case 8: return VEC(x87_load8);
	default: return VEC(x87_load10);
	}
}

insn_fn *sel_x87_store(const struct x86_insn *x, struct insn *in)
{
	switch (mem_bytes(x, in)) {
	case 2: return VEC(x87_store2);
	case 4: return VEC(x87_store4);
	case 8: return VEC(x87_store8);
	default: return VEC(x87_store10);
	}
}

/* ---- control: plain handlers.  Those without a wait do not look for a pending exception. */

static void begin_no_wait(struct cpu *cpu)
{
	simd_check_nm(cpu);
	simd_live(cpu);
}

static void begin_wait(struct cpu *cpu)
{
	if (cpu->simd.x87_slow)
		x87_enter(cpu, NULL);
}

/* FNENI, FNDISI and FNSETPM of older FPUs. */
void op_x87_nop(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	simd_check_nm(cpu);
}

void op_x87_fninit(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	begin_no_wait(cpu);
	__asm__ volatile("fninit");
	cpu->simd.fip = cpu->simd.fdp = cpu->simd.fop = 0;
	x87_control_changed(cpu);
}

void op_x87_fnclex(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	begin_no_wait(cpu);
	__asm__ volatile("fnclex");
}

void op_x87_fnstsw_ax(struct cpu *cpu, const struct insn *in)
{
	uint16_t sw;

	(void)in;
	begin_no_wait(cpu);
	__asm__ volatile("fnstsw %0" : "=a"(sw));
	cpu->gpr[X86_RAX].w = sw;
}

void op_x87_fnstsw(struct cpu *cpu, const struct insn *in)
{
	uint16_t sw;

	begin_no_wait(cpu);
	__asm__ volatile("fnstsw %0" : "=a"(sw));
	st16(cpu, in->seg, insn_ea(cpu, in), sw);
}

void op_x87_fnstcw(struct cpu *cpu, const struct insn *in)
{
	uint16_t cw;

	begin_no_wait(cpu);
	__asm__ volatile("fnstcw %0" : "=m"(cw));
	st16(cpu, in->seg, insn_ea(cpu, in), cw);
}

void op_x87_fldcw(struct cpu *cpu, const struct insn *in)
{
	uint16_t cw;

	begin_wait(cpu);
	cw = ld16(cpu, in->seg, insn_ea(cpu, in));
	__asm__ volatile("fldcw %0" :: "m"(cw));
	x87_control_changed(cpu);
}

/* ---- environments: SDM vol. 1 figures 8-9 to 8-12 */

struct env32 {
	uint32_t cw, sw, tw, ip, cs_op, dp, ds;
};

static bool real_format(const struct cpu *cpu)
{
	return !cpu->pe || cpu->v86;
}

/* Bytes of the environment in memory. */
static unsigned env_bytes(const struct insn *in)
{
	return in->opsize == 2 ? 14 : 28;
}

static void put_env(const struct cpu *cpu, const struct insn *in, const struct env32 *e, uint8_t *out)
{
	const struct simd *s = &cpu->simd;
	uint32_t ip = s->fip, dp = s->fdp;

	if (in->opsize == 2) {
		uint16_t w[7] = { e->cw, e->sw, e->tw, ip, 0, dp, 0 };

		if (real_format(cpu)) {
			w[4] = (ip >> 4 & 0xf000) | s->fop;
			w[6] = dp >> 4 & 0xf000;
		}
		memcpy(out, w, sizeof(w));
	} else {
		struct env32 d = { e->cw | 0xffff0000, e->sw | 0xffff0000, e->tw | 0xffff0000, ip, (uint32_t)s->fop << 16, dp, 0xffff0000 };

		if (real_format(cpu)) {
			d.ip = (ip & 0xffff) | 0xffff0000;
			d.cs_op = (ip >> 4 & 0x0ffff000) | s->fop;
			d.dp = (dp & 0xffff) | 0xffff0000;
			d.ds = dp >> 4 & 0x0ffff000;
		}
		memcpy(out, &d, sizeof(d));
	}
}

static struct env32 get_env(struct cpu *cpu, const struct insn *in, const uint8_t *from)
{
	struct simd *s = &cpu->simd;
	struct env32 e = { 0 };

	if (in->opsize == 2) {
		uint16_t w[7];

		memcpy(w, from, sizeof(w));
		e.cw = w[0], e.sw = w[1], e.tw = w[2];
		s->fip = w[3];
		s->fdp = w[5];
		if (real_format(cpu)) {
			s->fip |= (w[4] & 0xf000) << 4;
			s->fdp |= (w[6] & 0xf000) << 4;
			s->fop = w[4] & 0x7ff;
		}
	} else {
		struct env32 d;

		memcpy(&d, from, sizeof(d));
		e.cw = (uint16_t)d.cw, e.sw = (uint16_t)d.sw, e.tw = (uint16_t)d.tw;
		if (real_format(cpu)) {
			s->fip = (d.ip & 0xffff) | (d.cs_op & 0x0ffff000) << 4;
			s->fdp = (d.dp & 0xffff) | (d.ds & 0x0ffff000) << 4;
			s->fop = d.cs_op & 0x7ff;
		} else {
			s->fip = d.ip;
			s->fdp = d.dp;
			s->fop = d.cs_op >> 16 & 0x7ff;
		}
	}
	return e;
}

/* An image in device memory is none: nobody keeps an FPU's state in a device. */
static void probe_store(struct cpu *cpu, const struct insn *in, unsigned bytes, struct mmu_held *held)
{
	mmu_probe_write(cpu, mmu_linear(cpu, in->seg, insn_ea(cpu, in), bytes, true), bytes, held);
}

void op_x87_fnstenv(struct cpu *cpu, const struct insn *in)
{
	struct mmu_held held;
	struct env32 e;
	uint8_t image[28];

	begin_no_wait(cpu);
	probe_store(cpu, in, env_bytes(in), &held);
	__asm__ volatile("fnstenv %0" : "=m"(e));	/* and masks everything */
	put_env(cpu, in, &e, image);
	if (!mmu_held_is_mmio(&held))
		mmu_held_store(cpu, &held, image);
	x87_control_changed(cpu);
}

void op_x87_fnsave(struct cpu *cpu, const struct insn *in)
{
	struct { struct env32 e; uint8_t st[80]; } __attribute__((packed)) host;
	unsigned env = env_bytes(in);
	struct mmu_held held;
	uint8_t image[108];

	begin_no_wait(cpu);
	probe_store(cpu, in, env + 80, &held);
	if (mmu_held_is_mmio(&held))
		return;
	__asm__ volatile("fnsave %0" : "=m"(host) :: "memory");
	struct env32 e = host.e;

	put_env(cpu, in, &e, image);
	memcpy(image + env, host.st, 80);
	mmu_held_store(cpu, &held, image);
	cpu->simd.fip = cpu->simd.fdp = cpu->simd.fop = 0;
	x87_control_changed(cpu);
}

static void load_image(struct cpu *cpu, const struct insn *in, uint8_t *image, unsigned bytes)
{
	struct mmu_held held;

	mmu_probe_read(cpu, mmu_linear(cpu, in->seg, insn_ea(cpu, in), bytes, false), bytes, &held);
	if (mmu_held_is_mmio(&held))
		memset(image, 0xff, bytes);
	else
		mmu_held_load(cpu, &held, image);
}

void op_x87_fldenv(struct cpu *cpu, const struct insn *in)
{
	uint8_t image[28];
	struct env32 e;

	begin_wait(cpu);
	load_image(cpu, in, image, env_bytes(in));
	e = get_env(cpu, in, image);
	__asm__ volatile("fldenv %0" :: "m"(e));
	x87_control_changed(cpu);
}

void op_x87_frstor(struct cpu *cpu, const struct insn *in)
{
	struct { struct env32 e; uint8_t st[80]; } __attribute__((packed)) host;
	unsigned env = env_bytes(in);
	uint8_t image[108];

	begin_wait(cpu);
	load_image(cpu, in, image, env + 80);
	host.e = get_env(cpu, in, image);
	memcpy(host.st, image + env, 80);
	__asm__ volatile("frstor %0" :: "m"(host));
	x87_control_changed(cpu);
}

void op_fwait(struct cpu *cpu, const struct insn *in)
{
	(void)in;
	if ((cpu->cr0 & (X86_CR0_MP | X86_CR0_TS)) == (X86_CR0_MP | X86_CR0_TS))
		cpu_fault(cpu, X86_NM, 0);
	if (cpu->simd.unmasked && !(cpu->cr0 & (X86_CR0_EM | X86_CR0_TS)))
		begin_wait(cpu);
}
