/*
 * vmm/jit/thunk.c - the code that leads into translated code, out of it, and
 * from it to C and back.  One copy, at the beginning of code memory.
 */
#include <stddef.h>

#include "vmm/jit/unit.h"
#include "vmm/soft/cpu.h"
#include "vmm/x86/decode.h"

const uint8_t jit_host_of[16] = {
	[X86_RAX] = H_R9, [X86_RCX] = H_R10, [X86_RDX] = H_R11, [X86_RBX] = H_RBX,
	[X86_RSP] = H_R15, [X86_RBP] = H_RBP, [X86_RSI] = H_RSI, [X86_RDI] = H_RDI,
	[X86_R8] = H_R8, [X86_R9] = H_NONE, [X86_R10] = H_NONE, [X86_R11] = H_NONE,
	[X86_R12] = H_R12, [X86_R13] = H_R13, [X86_R14] = H_R14, [X86_R15] = H_NONE,
};

static const uint8_t callee_saved[] = { H_RBX, H_RBP, H_R12, H_R13, H_R14, H_R15 };

static void push(struct code *c, unsigned reg)
{
	asm_encode(c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0x50, .no_modrm = true, .rm = op_reg(reg) });
}

static void pop(struct code *c, unsigned reg)
{
	asm_encode(c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0x58, .no_modrm = true, .rm = op_reg(reg) });
}

static void with_imm8(struct code *c, unsigned opcode, unsigned extension, unsigned reg, uint8_t imm)
{
	asm_encode(c, &(struct encoding){ .map = X86_MAP_1, .opcode = opcode, .w = true, .reg = extension, .rm = op_reg(reg), .imm = imm, .imm_bytes = 1 });
}

static void load_guest(struct code *c)
{
	for (unsigned r = 0; r < 16; r++)
		if (jit_host_of[r] != H_NONE)
			asm_load(c, jit_host_of[r], op_gs(H_NONE, 0, offsetof(struct cpu, gpr) + 8 * r));
	/* icount to where it is counted: shl $6, %rsp; bts $63, %rsp */
	asm_load(c, H_RSP, FIELD(icount));
	with_imm8(c, 0xc1, 4, H_RSP, COUNT_SHIFT);
	asm_encode(c, &(struct encoding){ .map = X86_MAP_0F, .opcode = 0xba, .w = true, .reg = 5, .rm = op_reg(H_RSP), .imm = NO_STACK_BIT, .imm_bytes = 1 });
	asm_lea(c, H_RSP, op_mem(H_RSP, H_NONE, 0, PAGE_SHIFT_COUNT));
	/* movzx fl, %eax; add $127, %al (OF); sahf */
	asm_load16(c, H_RAX, FIELD(fl));
	asm_byte(c, 0x04), asm_byte(c, 0x7f);
	asm_byte(c, 0x9e);
}

static bool have_avx(void)
{
	return __builtin_cpu_supports("avx");
}

static struct operand vector_field(unsigned i, unsigned byte)
{
	return op_gs(H_NONE, 0, offsetof(struct cpu, simd.v) + i * sizeof(union vec) + byte);
}

/* MOVUPS or VMOVDQU; a load of 16 bytes by VEX clears what is above them. */
static void move_vectors(struct code *c, bool load, bool wide)
{
	bool avx = have_avx();

	for (unsigned i = 0; i < 16; i++)
		asm_encode(c, &(struct encoding){ .map = avx ? X86_MAP_VEX_0F : X86_MAP_0F, .prefix = avx ? 0xf3 : 0, .vex_l = wide,
						  .opcode = avx ? (load ? 0x6f : 0x7f) : (load ? 0x10 : 0x11), .reg = i,
						  .rm = vector_field(i, 0) });
}

/* By VEX, of 16 bytes; 66 is its prefix. */
static void vector_op(struct code *c, uint8_t opcode, unsigned reg, unsigned vvvv, struct operand rm)
{
	asm_encode(c, &(struct encoding){ .map = X86_MAP_VEX_0F, .osize = true, .opcode = opcode, .reg = reg, .vvvv = vvvv, .rm = rm });
}

/* RCX := 0 if the upper half of every YMM register in memory is.  Uses XMM0 and XMM1, and changes no flag. */
static void load_uppers(struct code *c)
{
	vector_op(c, 0x6f, 0, 0, vector_field(0, 16));				/* vmovdqa */
	for (unsigned i = 1; i < 16; i++)
		vector_op(c, 0xeb, 0, 0, vector_field(i, 16));			/* vpor */
	vector_op(c, 0x6d, 1, 0, op_reg(0));					/* vpunpckhqdq */
	vector_op(c, 0xeb, 0, 0, op_reg(1));
	asm_encode(c, &(struct encoding){ .map = X86_MAP_VEX_0F, .osize = true, .w = true, .opcode = 0x7e, .reg = 0, .rm = op_reg(H_RCX) });	/* vmovq */
}

static void store32(struct code *c, struct operand to, unsigned from)
{
	asm_encode(c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0x89, .reg = from, .rm = to });
}

static void vectors_are_in(struct code *c)
{
	asm_load32(c, H_RCX, FIELD(simd.sse_go));
	store32(c, FIELD(jit.sse_in), H_RCX);
	asm_load32(c, H_RCX, FIELD(simd.avx_go));
	store32(c, FIELD(jit.avx_in), H_RCX);
	asm_jmp_reg(c, H_RDX);
}

/*
 * Comes back to RDX: the vectors come in, and it is said for which classes of instructions they are there.  RCX is used, and no flag.
 *
 * Upper halves that are zero are better not loaded: a processor knows of a register
 * that VEX has cleared, and lets an SSE instruction, which keeps the upper half,
 * wait for what the register was before where it does not know.
 */
static void emit_load_vectors(struct code *c)
{
	uint32_t wide;

	if (!have_avx()) {
		move_vectors(c, true, false);
		vectors_are_in(c);
		return;
	}
	load_uppers(c);
	wide = asm_jmp_if_rcx(c);
	move_vectors(c, true, false);
	vectors_are_in(c);
	asm_here(c, wide);
	move_vectors(c, true, true);
	vectors_are_in(c);
}

/* They go back, if they are there.  RCX and flags are used. */
static void save_vectors(struct code *c)
{
	uint32_t none;

	asm_load32(c, H_RCX, FIELD(jit.sse_in));
	/* or avx_in, %ecx */
	asm_encode(c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0x0b, .reg = H_RCX, .rm = FIELD(jit.avx_in) });
	none = asm_jcc(c, 4);
	move_vectors(c, false, have_avx());
	if (have_avx())
		asm_byte(c, 0xc5), asm_byte(c, 0xf8), asm_byte(c, 0x77);	/* vzeroupper */
	asm_imm(c, H_RCX, 0);
	store32(c, FIELD(jit.sse_in), H_RCX);
	store32(c, FIELD(jit.avx_in), H_RCX);
	asm_here(c, none);
}

static void save_guest(struct code *c)
{
	/* lahf; seto %al; mov %ax, fl */
	asm_byte(c, 0x9f);
	asm_byte(c, 0x0f), asm_byte(c, 0x90), asm_byte(c, 0xc0);
	asm_encode(c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0x89, .osize = true, .reg = H_RAX, .rm = FIELD(fl) });
	/* icount: shl; shr */
	asm_mov(c, H_RAX, H_RSP);
	with_imm8(c, 0xc1, 4, H_RAX, 63 - NO_STACK_BIT + 1);
	with_imm8(c, 0xc1, 5, H_RAX, 63 - NO_STACK_BIT + 1 + COUNT_SHIFT);
	asm_store(c, FIELD(icount), H_RAX);
	for (unsigned r = 0; r < 16; r++)
		if (jit_host_of[r] != H_NONE)
			asm_store(c, op_gs(H_NONE, 0, offsetof(struct cpu, gpr) + 8 * r), jit_host_of[r]);
	save_vectors(c);
}

static void go_back(struct code *c)
{
	asm_load(c, H_RSP, FIELD(jit.host_sp));
	asm_lea(c, H_RSP, op_mem(H_RSP, H_NONE, 0, 8));
	for (unsigned i = sizeof(callee_saved); i--;)
		pop(c, callee_saved[i]);
	asm_byte(c, 0xc3);
}

/* void enter(const void *code) */
static void emit_enter(struct code *c)
{
	for (unsigned i = 0; i < sizeof(callee_saved); i++)
		push(c, callee_saved[i]);
	asm_lea(c, H_RSP, op_mem(H_RSP, H_NONE, 0, -8));	/* as it must be aligned for a call */
	asm_store(c, FIELD(jit.host_sp), H_RSP);
	asm_mov(c, H_RDX, H_RDI);
	load_guest(c);
	asm_jmp_reg(c, H_RDX);
}

/*
 * With RAX at a struct jit_op: the interpreter's handler carries it out.  Comes
 * back to RDX, or leaves for good.
 */
static void emit_call(struct jit *j, struct code *c)
{
	uint32_t left;

	asm_store(c, FIELD(jit.back), H_RDX);
	asm_mov(c, H_RDX, H_RAX);
	save_guest(c);
	asm_load(c, H_RSP, FIELD(jit.host_sp));
	asm_load(c, H_RDI, FIELD(jit.self));
	asm_mov(c, H_RSI, H_RDX);
	asm_encode(c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0xff, .reg = 2, .rm = FIELD(jit.call_insn) });
	asm_byte(c, 0x84), asm_byte(c, 0xc0);				/* test %al, %al */
	left = asm_jcc(c, 4);
	load_guest(c);
	asm_jmp_mem(c, FIELD(jit.back));
	asm_here(c, left);
	asm_imm(c, H_RAX, 0);
	asm_target(c, asm_jmp(c), j->leave_saved);
}

/*
 * Where a division that faults goes on: the interpreter's faults too, and nobody comes
 * back.  Nor if it does not fault, since another thread has changed the divisor: `recheck` leaves behind it.
 */
static void emit_fault(struct jit *j, struct code *c)
{
	uint32_t back;

	asm_encode(c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0xc6, .rm = FIELD(recheck), .imm = true, .imm_bytes = 1 });
	asm_load(c, H_RAX, FIELD(jit.at));
	back = asm_lea_rip(c, H_RDX);
	asm_target(c, asm_jmp(c), j->call);
	asm_here(c, back);
	asm_byte(c, 0x0f), asm_byte(c, 0x0b);		/* ud2 */
}

void jit_emit_thunks(struct jit *j, struct code *c)
{
	emit_enter(c);
	/* jmp with RAX at a struct jit_exit; or NULL, and all is saved */
	j->leave = c->at;
	asm_store(c, FIELD(jit.exit), H_RAX);
	save_guest(c);
	go_back(c);
	j->leave_saved = c->at;
	asm_store(c, FIELD(jit.exit), H_RAX);
	go_back(c);
	j->call = c->at;
	emit_call(j, c);
	j->fault = c->at;
	emit_fault(j, c);
	j->load_vectors = c->at;
	emit_load_vectors(c);
}
