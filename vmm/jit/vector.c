/*
 * vmm/jit/vector.c - x87, MMX, SSE and AVX: the host's own, on registers of the
 * same numbers.
 *
 * x87 with MMX and MXCSR are in the host's registers while cpu->simd is live
 * (vmm/soft/simd.h).  Vector registers join them when a unit first asks, and go
 * back to cpu->simd.v when code is left for C; `known` says at each point of a
 * unit what is sure to be there.  Where it may not be, or the guest may not use
 * it, or has unmasked an exception, the interpreter takes the instruction, and
 * the unit goes on if that has made all well.
 *
 * FIP and FOP are noted where somebody may ask: before the unit is left, not
 * behind each instruction.  SDM vol. 1 chapters 8 to 14.
 */
#include <string.h>

#include "vmm/jit/translate.h"

static bool is_mmx(enum x86_operand o)
{
	return o == OP_Pq || o == OP_Qq || o == OP_Qd || o == OP_Nq;
}

static bool is_vector_reg(enum x86_operand o)
{
	return o == OP_Vx || o == OP_Vqq || o == OP_Pq;
}

static bool is_vector_rm(enum x86_operand o)
{
	return (o >= OP_Wx && o <= OP_Wqa) || o == OP_Ux || o == OP_Uqq || o == OP_Nq;
}

/* Memory as an operand of its own size. */
static bool is_memory(enum x86_operand o)
{
	return x86_operand_is_memory(o) && !x86_operand_is_gathered(o);
}

bool is_vector_row(const struct x86_opcode *row)
{
	for (unsigned i = 0; i < X86_OPERANDS; i++)
		if (is_vector_reg(row->operand[i]) || is_vector_rm(row->operand[i]))
			return true;
	return false;
}

bool is_vector_memory(enum x86_operand o)
{
	return is_vector_rm(o) || is_memory(o);
}

/* ---- what must be there */

static const struct { unsigned bit; size_t in, go; } classes[] = {
	{ HAVE_SSE, offsetof(struct cpu, jit.sse_in), offsetof(struct cpu, simd.sse_go) },
	{ HAVE_AVX, offsetof(struct cpu, jit.avx_in), offsetof(struct cpu, simd.avx_go) },
	{ HAVE_X87, offsetof(struct cpu, simd.x87_go), offsetof(struct cpu, simd.x87_go) },
};

/* Jumps out of line where a word of struct cpu is 0. */
static uint32_t jump_if_zero(struct translation *t, size_t word)
{
	asm_load32(t->c, H_RCX, op_gs(H_NONE, 0, word));
	return asm_jmp_unless_rcx(t->c);
}

/* From here on these are there. */
static void need(struct translation *t, unsigned have)
{
	for (unsigned i = 0; i < 3; i++) {
		if (!(have & classes[i].bit) || (t->known & classes[i].bit))
			continue;
		t->enter[t->enters].field = jump_if_zero(t, classes[i].in);
		t->enter[t->enters].back = t->c->at;
		t->enter[t->enters].k = t->k;
		t->enter[t->enters].version = t->version;
		t->enter[t->enters++].class = i;
		t->known |= classes[i].bit;
		t->rdx = NO_WINDOW;
	}
}

void resume_with(struct translation *t, unsigned k)
{
	const struct place *p = &t->place[t->version][k];
	unsigned known = p->known;
	uint32_t out[3];
	unsigned n = 0;

	for (unsigned i = 0; i < 3; i++)
		if (known & classes[i].bit)
			out[n++] = jump_if_zero(t, classes[i].go);
	if (known & (HAVE_SSE | HAVE_AVX))
		call_thunk(t, t->j->load_vectors);
	unsettle_sp(t, p->sp_behind);
	if (p->rdx != NO_WINDOW && !p->opened)
		load_addend(t, p->rdx);
	asm_target(t->c, asm_jmp(t->c), p->opened ? t->singly[k + 1] : p->resume);
	if (!n)
		return;
	while (n--)
		asm_here(t->c, out[n]);
	t->sp = 0;
	count(t, k + 1);
	leave_by(t, new_exit(t, LEAVE_BRANCH, (int64_t)t->page + t->u->op[k].insn.off + t->u->op[k].insn.len, NO_OP));
}

void emit_enters(struct translation *t)
{
	for (unsigned i = 0; i < t->enters; i++) {
		unsigned class = t->enter[i].class;

		t->k = t->enter[i].k;
		t->version = t->enter[i].version;
		t->fp = t->place[t->version][t->k].fp;
		t->sp = t->place[t->version][t->k].sp;
		asm_here(t->c, t->enter[i].field);
		if (classes[class].bit != HAVE_X87) {
			uint32_t slow = jump_if_zero(t, classes[class].go);

			call_thunk(t, t->j->load_vectors);
			asm_target(t->c, asm_jmp(t->c), t->enter[i].back);
			asm_here(t->c, slow);
		}
		by_interpreter(t);
		resume_with(t, t->k);
	}
}

/* ---- x87 */

void note_fp(struct translation *t)
{
	if (!t->fp.any)
		return;
	asm_load(t->c, H_RAX, FIELD(jit.base));
	asm_lea(t->c, H_RAX, op_mem(H_RAX, H_NONE, 0, t->page + t->fp.off));
	asm_store(t->c, FIELD(simd.fip), H_RAX);
	asm_encode(t->c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0xc7, .osize = true, .rm = FIELD(simd.fop),
					     .imm = t->fp.fop, .imm_bytes = 2 });
	t->fp.any = false;
}

static void fp_done(struct translation *t, unsigned escape, unsigned modrm)
{
	t->fp.any = true;
	t->fp.off = t->off;
	t->fp.fop = (escape & 7) << 8 | modrm;
}

static bool x87_registers(struct translation *t)
{
	const struct x86_insn *x = &t->x;

	need(t, HAVE_X87);
	asm_byte(t->c, 0xd8 + x->map - X86_MAP_D8);
	asm_byte(t->c, x->opcode);
	fp_done(t, x->map - X86_MAP_D8, x->opcode);
	return true;
}

static bool x87_memory(struct translation *t)
{
	const struct x86_insn *x = &t->x;
	struct encoding e = encoding_of(t);

	if (!address_fits(t))
		return false;
	need(t, HAVE_X87);
	effective(t);
	asm_store(t->c, FIELD(jit.ea), H_RAX);
	if (!look_up_operand(t, 0))
		return false;
	e.rm = t->m;
	e.prefix = e.osize = 0;
	asm_encode(t->c, &e);
	asm_load(t->c, H_RAX, FIELD(jit.ea));
	asm_store(t->c, FIELD(simd.fdp), H_RAX);
	fp_done(t, x->opcode - 0xd8, x->mod << 6 | (x->reg & 7) << 3 | (x->rm & 7));
	return true;
}

/* ---- vectors */

/* Moves that are told from others by their names: those with an aligned operand. */
static unsigned alignment(const struct translation *t, enum x86_operand o)
{
	if (x86_row_is_vex(t->row) && handler(t) != sel_avx_load && handler(t) != sel_avx_store)
		return 0;
	return o == OP_Wx || o == OP_Mx ? 16 : o == OP_Wqa || o == OP_Mqa ? 32 : 0;
}

static bool with_registers_of_its_own(const struct translation *t)
{
	return strstr(t->row->mnemonic, "pcmpestr") != NULL;
}

static bool vector(struct translation *t)
{
	const struct x86_insn *x = &t->x;
	struct encoding e = encoding_of(t);
	int gpr_out = -1;			/* a general register that is written, */
	unsigned gpr_copy = H_RAX;		/* ... and where, if the host has none for it */
	unsigned have = x->vex ? HAVE_AVX : HAVE_SSE, vectors = 0, mmx = 0;

	if (t->row->plain || with_registers_of_its_own(t))
		return false;
	e.reg = x->reg;
	e.rm = op_reg(x->rm);
	for (unsigned i = 0; i < X86_OPERANDS; i++) {
		mmx += is_mmx(t->row->operand[i]);
		vectors += (is_vector_reg(t->row->operand[i]) || is_vector_rm(t->row->operand[i])) && !is_mmx(t->row->operand[i]);
	}
	need(t, (vectors || x->vex ? have : 0) | (mmx ? HAVE_X87 : 0));
	for (unsigned i = 0; i < X86_OPERANDS; i++) {
		enum x86_operand o = t->row->operand[i];

		if (x->mem && (is_gpr_rm(o) || is_vector_memory(o))) {
			if (!look_up_operand(t, alignment(t, o)))
				return false;
			e.rm = t->m;
		} else if (o == OP_Pq) {
			e.reg = x->reg & 7;
		} else if (is_mmx(o)) {
			e.rm = op_reg(x->rm & 7);
		} else if (is_gpr_rm(o)) {
			e.rm = op_reg(i == 0 && jit_host_of[x->rm] == H_NONE ? gpr_copy : reg_or_copy(t, x->rm, H_RAX));
			gpr_out = i == 0 ? x->rm : gpr_out;
		} else if (o == OP_Gy || o == OP_Gv) {
			gpr_out = x->reg;
			gpr_copy = H_RCX;
			e.reg = jit_host_of[x->reg] == H_NONE ? gpr_copy : jit_host_of[x->reg];
		} else if (!is_vector_reg(o) && !is_vector_rm(o) && o != OP_Hx && o != OP_Hqq && o != OP_Ib && o != OP_L &&
			   o != OP_X0 && o != OP__) {
			return false;
		}
	}
	asm_encode(t->c, &e);
	if (gpr_out >= 0 && jit_host_of[gpr_out] == H_NONE)
		put(t, gpr_out, gpr_copy);
	if (strstr(t->row->mnemonic, "pcmpistri"))
		put(t, X86_RCX, H_RCX);
	return true;
}

static bool vzero(struct translation *t)
{
	need(t, HAVE_AVX);
	asm_byte(t->c, 0xc5), asm_byte(t->c, t->x.vex_l ? 0xfc : 0xf8), asm_byte(t->c, 0x77);
	return true;
}

static bool fence(struct translation *t)
{
	asm_byte(t->c, 0x0f), asm_byte(t->c, 0xae), asm_byte(t->c, 0xc0 | (t->x.reg & 7) << 3);
	return true;
}

bool emit_vector(struct translation *t)
{
	sel_fn *is = handler(t);
	op_fn *plain = op_dispatch[t->x.row].plain;

	if (plain == op_vzeroupper || plain == op_vzeroall)
		return vzero(t);
	if (plain == op_mfence)
		return fence(t);
	if (is == sel_x87_reg || is == sel_x87_fcomi || is == sel_x87_fcmov)
		return x87_registers(t);
	if (is == sel_x87_load || is == sel_x87_store)
		return x87_memory(t);
	return is_vector_row(t->row) && vector(t);
}
