/*
 * vmm/jit/translate.c - from one block of guest instructions to host code.
 *
 * The first half puts an instruction's operands where they are here: other
 * registers, an address that has been looked up.  The second half has what
 * transfers control, the stack, and instructions with registers of their own
 * (MUL, CDQ, CMPXCHG).  Whatever neither half wants is a call to the
 * interpreter.
 *
 * Between two instructions nothing is held in RAX, RCX and RDX, so that each is
 * free to use them, and they are where implicit operands of the architecture
 * are anyway.  Guest flags are the host's throughout: only instructions that
 * change no flags stand between (LEA, SHRX, MOVZX, JRCXZ).
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/jit/unit.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/thread.h"
#include "vmm/x86/isa.h"

enum { MISSES = 4 };

struct translation {
	struct code *c;
	struct jit *j;
	struct jit_unit *u;
	uint32_t mode;
	unsigned set;			/* of the TLB */
	unsigned page;			/* the block's offset in its page */

	/* the instruction at hand */
	struct x86_insn x;
	const struct x86_opcode *row;
	const struct insn *in;
	unsigned k;			/* its number */
	unsigned off;			/* from the block's start */
	struct operand m;		/* its memory operand, once looked up */

	/* what misses in it, and where it goes on */
	struct { uint32_t field[MISSES], resume; uint8_t n; bool by_c; } miss[BLOCK_INSNS];
	/* branches that are taken: their code stands behind */
	struct { uint32_t field; int64_t target; uint8_t n; } side[BLOCK_INSNS];
	unsigned sides;
	bool ended;
	bool refused;			/* it begins with what cannot be here */
};

#define FIELD(f)	op_gs(H_NONE, 0, offsetof(struct cpu, f))

static struct operand gpr_field(unsigned guest)
{
	return op_gs(H_NONE, 0, offsetof(struct cpu, gpr) + 8 * guest);
}

static sel_fn *handler(const struct translation *t)
{
	return op_dispatch[t->x.row].select;
}

/* ---- guest registers */

/* Where a guest register is, or a copy of it in `scratch`. */
static unsigned reg_or_copy(struct translation *t, unsigned guest, unsigned scratch)
{
	if (jit_host_of[guest] != H_NONE)
		return jit_host_of[guest];
	asm_load(t->c, scratch, gpr_field(guest));
	return scratch;
}

static void get(struct translation *t, unsigned scratch, unsigned guest)
{
	if (jit_host_of[guest] != H_NONE)
		asm_mov(t->c, scratch, jit_host_of[guest]);
	else
		asm_load(t->c, scratch, gpr_field(guest));
}

static void put(struct translation *t, unsigned guest, unsigned scratch)
{
	if (jit_host_of[guest] != H_NONE)
		asm_mov(t->c, jit_host_of[guest], scratch);
	else
		asm_store(t->c, gpr_field(guest), scratch);
}

/* ---- memory */

static bool is_flat(const struct translation *t)
{
	return t->x.seg != X86_FS && t->x.seg != X86_GS;
}

static unsigned index_reg(const struct x86_insn *x)
{
	return x->index;
}

static unsigned host_or_none(unsigned guest)
{
	return guest == X86_NO_REG ? H_NONE : jit_host_of[guest];
}

/* Is each part of the address in a register, or absent? */
static bool parts_resident(const struct x86_insn *x)
{
	return x->base != X86_REG_RIP && (x->base == X86_NO_REG || host_or_none(x->base) != H_NONE) &&
		(index_reg(x) == X86_NO_REG || host_or_none(index_reg(x)) != H_NONE);
}

/* From the page's start to what an address relative to RIP means. */
static int64_t rip_offset(const struct translation *t)
{
	return (int64_t)t->page + t->off + t->x.len + t->x.disp;
}

static bool fits32(int64_t v)
{
	return v >= INT32_MIN + 64 && v <= INT32_MAX - 64;
}

/* The linear address less that of FS and GS, in the address size, into RAX; RCX is used. */
static void effective(struct translation *t)
{
	const struct x86_insn *x = &t->x;
	unsigned base = H_NONE, index = H_NONE;
	struct operand ea;

	if (x->base == X86_REG_RIP) {
		asm_load(t->c, H_RAX, FIELD(jit.base));
		asm_lea(t->c, H_RAX, op_mem(H_RAX, H_NONE, 0, rip_offset(t)));
		return;
	}
	if (x->base != X86_NO_REG)
		base = reg_or_copy(t, x->base, H_RAX);
	if (index_reg(x) != X86_NO_REG)
		index = reg_or_copy(t, index_reg(x), H_RCX);
	ea = op_mem(base, index, x->scale, x->disp);
	asm_encode(t->c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0x8d, .w = x->adsize == 8, .reg = H_RAX, .rm = ea });
}

static void note_miss(struct translation *t, uint32_t field)
{
	t->miss[t->k].field[t->miss[t->k].n++] = field;
}

/*
 * The TLB's answer for `size` bytes at `at` (a register and a displacement):
 * RDX becomes the addend, or the instruction is left.  RAX and RCX are used.
 */
static void look_up(struct translation *t, unsigned reg, int32_t disp, unsigned size, bool write)
{
	struct code *c = t->c;

	if (disp) {
		asm_lea(c, H_RDX, op_mem(reg, H_NONE, 0, disp));
		asm_shrx(c, H_RDX, H_RDX, H_RSP);
	} else {
		asm_shrx(c, H_RDX, reg, H_RSP);
	}
	if (size == 1) {
		asm_mov(c, H_RAX, H_RDX);
	} else {
		asm_lea(c, H_RAX, op_mem(reg, H_NONE, 0, disp + (int32_t)size - 1));
		asm_shrx(c, H_RAX, H_RAX, H_RSP);
	}
	asm_movzx16(c, H_RDX, H_RDX);
	asm_load(c, H_RCX, op_gs(H_RDX, 3, write ? tlb_write_tags(t->set) : tlb_read_tags(t->set)));
	asm_lea(c, H_RCX, op_mem(H_RCX, H_RAX, 0, 0));
	asm_load(c, H_RDX, op_gs(H_RDX, 3, tlb_addends(t->set)));
	asm_byte(c, 0xe3), asm_byte(c, 5);		/* jrcxz over */
	note_miss(t, asm_jmp(c));
}

/* A guest stack slot or frame, by a resident register. */
static struct operand look_up_at(struct translation *t, unsigned guest, int32_t disp, unsigned size, bool write)
{
	look_up(t, jit_host_of[guest], disp, size, write);
	return op_mem(H_RDX, jit_host_of[guest], 0, disp);
}

/* The instruction's own memory operand, into t->m, which may name RAX and RDX.  False: not here. */
static bool look_up_operand(struct translation *t, unsigned size, bool write)
{
	const struct x86_insn *x = &t->x;
	bool resident = parts_resident(x);

	if (!size || !x->has_modrm || !fits32(x->disp) || (x->base == X86_REG_RIP && (x->adsize != 8 || !fits32(rip_offset(t)))))
		return false;
	if (is_flat(t) && x->adsize == 8 && resident && index_reg(x) == X86_NO_REG && x->base != X86_NO_REG) {
		t->m = look_up_at(t, x->base, x->disp, size, write);
		return true;
	}
	effective(t);
	if (!is_flat(t)) {
		asm_load(t->c, H_RCX, op_gs(H_NONE, 0, offsetof(struct cpu, seg[0].base) +
					    (x->seg == X86_FS ? SEG_FLAT_FS : SEG_FLAT_GS) * sizeof(struct seg)));
		asm_lea(t->c, H_RAX, op_mem(H_RAX, H_RCX, 0, 0));
	}
	if (is_flat(t) && x->adsize == 8 && resident) {
		look_up(t, H_RAX, 0, size, write);
		if (x->base != X86_NO_REG)
			asm_lea(t->c, H_RDX, op_mem(H_RDX, jit_host_of[x->base], 0, 0));
		t->m = op_mem(H_RDX, host_or_none(index_reg(x)), x->scale, x->disp);
		return true;
	}
	asm_store(t->c, FIELD(jit.tmp), H_RAX);
	look_up(t, H_RAX, 0, size, write);
	asm_load(t->c, H_RAX, FIELD(jit.tmp));
	t->m = op_mem(H_RDX, H_RAX, 0, 0);
	return true;
}

/* So that it names RDX alone, and no REX with it. */
static void settle_operand(struct translation *t)
{
	if (t->m.base == H_RDX && t->m.index == H_NONE && t->m.disp == 0)
		return;
	asm_lea(t->c, H_RDX, t->m);
	t->m = op_mem(H_RDX, H_NONE, 0, 0);
}

/* ---- operands in general */

enum { DEST = 1, SOURCE = 2 };

/* A general register as operand. */
struct gpr_use {
	bool used, byte, high, written;
	uint8_t guest, host;
};

static bool is_gpr_reg(enum x86_operand o)
{
	return o == OP_Gb || o == OP_Gw || o == OP_Gv || o == OP_Gy;
}

static bool is_gpr_rm(enum x86_operand o)
{
	return (o >= OP_E && o <= OP_EdMd) || o == OP_Rv || o == OP_R || o == OP_Zb || o == OP_Zv ||
		o == OP_AL || o == OP_rAX;
}

static bool is_byte(enum x86_operand o)
{
	return o == OP_Gb || o == OP_Eb || o == OP_Zb || o == OP_AL;
}

static bool is_compare(sel_fn *is)
{
	return is == sel_cmp || is == sel_test || is == sel_bt;
}

static bool is_exchange(sel_fn *is)
{
	return is == sel_xchg || is == sel_xadd;
}

static void set_use(struct gpr_use *g, const struct translation *t, enum x86_operand o, unsigned guest, bool written)
{
	g->used = true;
	g->byte = is_byte(o);
	g->high = g->byte && !t->x.rex && guest >= 4 && o != OP_AL;
	g->guest = g->high ? guest - 4 : guest;
	g->written |= written;
}

/* False: there is an operand that is none of these. */
static bool sort_operands(struct translation *t, struct gpr_use *reg, struct gpr_use *rm, bool *cl)
{
	bool exchange = is_exchange(handler(t));

	for (unsigned i = 0; i < X86_OPERANDS; i++) {
		enum x86_operand o = t->row->operand[i];
		bool written = (i == 0 && !is_compare(handler(t))) || exchange;

		if (is_gpr_reg(o))
			set_use(reg, t, o, t->x.reg, written);
		else if (o == OP_AL || o == OP_rAX)
			set_use(t->row->operand[0] == OP_Zv ? reg : rm, t, o, X86_RAX, written);
		else if (o == OP_Zb || o == OP_Zv)
			set_use(rm, t, o, t->x.reg, written);
		else if (is_gpr_rm(o) && !t->x.mem)
			set_use(rm, t, o, t->x.rm, written);
		else if (o == OP_CL)
			*cl = true;
		else if (o != OP__ && o != OP_1 && !is_imm(o) && !is_gpr_rm(o))
			return false;
	}
	return true;
}

static bool writes_memory(const struct translation *t)
{
	return is_gpr_rm(t->row->operand[0]) && !is_compare(handler(t));
}

static unsigned memory_size(const struct translation *t)
{
	for (unsigned i = 0; i < 2; i++)
		if (is_gpr_rm(t->row->operand[i]))
			return x86_operand_bytes(t->row->operand[i], t->x.opsize);
	return 0;
}

/* The same operation with a ModRM byte, where the guest's names the accumulator by its opcode. */
static void spell_out(const struct translation *t, struct encoding *e)
{
	unsigned op = t->x.opcode;

	e->no_modrm = t->row->operand[0] == OP_Zb || t->row->operand[0] == OP_Zv;
	if (e->no_modrm)
		e->opcode &= ~7;
	if (handler(t) == sel_xchg && e->no_modrm) {
		e->no_modrm = false;
		e->opcode = 0x87;
	} else if (t->x.has_modrm || e->no_modrm) {
		return;
	} else if (op == 0xa8 || op == 0xa9) {
		e->opcode = op + 0x4e;				/* F6, F7 /0 */
		e->reg = 0;
	} else {
		e->opcode = 0x80 | (op & 1);
		e->reg = op >> 3 & 7;
	}
}

static struct encoding encoding_of(const struct translation *t)
{
	const struct x86_insn *x = &t->x;

	return (struct encoding){
		.map = x->map, .opcode = x->opcode, .prefix = t->row->prefix == 0xf2 || t->row->prefix == 0xf3 ? t->row->prefix : 0,
		.osize = x->osize, .lock = x->lock && x->mem, .w = x->rex & 8, .reg = x->reg & 7,
		.imm = x->imm, .imm_bytes = x->imm_bytes,
	};
}

/* A copy in a scratch register, if it must be one.  `high`: some operand is AH, CH, DH or BH, so no REX may stand. */
static void fetch_use(struct translation *t, struct gpr_use *g, unsigned scratch, bool high)
{
	g->host = jit_host_of[g->guest];
	if (g->host != H_NONE && !high)
		return;
	get(t, scratch, g->guest);
	g->host = scratch;
}

static void store_use(struct translation *t, const struct gpr_use *g)
{
	if (g->used && g->written && g->host != jit_host_of[g->guest])
		put(t, g->guest, g->host);
}

/* An instruction on general registers and memory, all of them in ModRM or the opcode. */
static bool rewrite(struct translation *t)
{
	struct gpr_use reg = { 0 }, rm = { 0 };
	struct encoding e = encoding_of(t);
	bool cl = false, high;

	if (!sort_operands(t, &reg, &rm, &cl) || t->x.map > X86_MAP_0F3A)
		return false;
	high = reg.high || rm.high;
	if (is_exchange(handler(t)) && (high || (rm.used && reg.guest == rm.guest)))
		return false;
	if (cl && (high || (reg.used && jit_host_of[reg.guest] == H_NONE)))
		return false;
	spell_out(t, &e);
	if (t->x.mem) {
		if (!look_up_operand(t, memory_size(t), writes_memory(t)))
			return false;
		if (high)
			settle_operand(t);
		e.rm = t->m;
	} else {
		fetch_use(t, &rm, H_RAX, high);
		e.rm = op_reg(rm.high ? rm.host + 4 : rm.host);
	}
	if (reg.used) {
		fetch_use(t, &reg, H_RCX, high);
		e.reg = reg.high ? reg.host + 4 : reg.host;
	}
	e.rex = !high && (reg.byte || rm.byte);
	if (cl)
		get(t, H_RCX, X86_RCX);
	asm_encode(t->c, &e);
	store_use(t, &reg);
	store_use(t, &rm);
	return true;
}

/* ---- instructions with registers of their own */

static bool plain_bytes(struct translation *t)
{
	asm_byte(t->c, t->x.opcode);
	return true;
}

static bool lea(struct translation *t)
{
	const struct x86_insn *x = &t->x;
	unsigned to = jit_host_of[x->reg] == H_NONE ? H_RAX : jit_host_of[x->reg];
	struct encoding e = { .map = X86_MAP_1, .opcode = 0x8d, .w = x->rex & 8, .osize = x->osize };

	if (!fits32(x->disp) || (x->base == X86_REG_RIP && (x->adsize != 8 || !fits32(rip_offset(t)))))
		return false;
	if (x->opsize == 2 && to == H_RAX)
		return false;
	e.reg = to;
	if (parts_resident(x) && x->adsize == 8) {
		e.rm = op_mem(host_or_none(x->base), host_or_none(x->index), x->scale, x->disp);
	} else {
		effective(t);
		e.rm = op_mem(H_RAX, H_NONE, 0, 0);
	}
	asm_encode(t->c, &e);
	if (to == H_RAX)
		asm_store(t->c, gpr_field(x->reg), H_RAX);
	return true;
}

/* CBW, CWDE, CDQE */
static bool cbw(struct translation *t)
{
	const unsigned a = jit_host_of[X86_RAX];
	struct encoding e = { .reg = a, .rm = op_reg(a), .map = X86_MAP_0F, .opcode = t->x.opsize == 2 ? 0xbe : 0xbf,
			      .osize = t->x.opsize == 2, .rex = true };

	if (t->x.opsize == 8)
		e = (struct encoding){ .reg = a, .rm = op_reg(a), .map = X86_MAP_1, .opcode = 0x63, .w = true };
	asm_encode(t->c, &e);
	return true;
}

/* CWD, CDQ, CQO */
static bool cwd(struct translation *t)
{
	get(t, H_RAX, X86_RAX);
	if (t->x.opsize == 2)
		get(t, H_RDX, X86_RDX);
	if (t->x.opsize != 4)
		asm_byte(t->c, t->x.opsize == 2 ? 0x66 : 0x48);
	asm_byte(t->c, 0x99);
	put(t, X86_RDX, H_RDX);
	return true;
}

static bool sahf(struct translation *t)
{
	get(t, H_RAX, X86_RAX);
	asm_byte(t->c, 0x9e);
	return true;
}

static bool lahf(struct translation *t)
{
	get(t, H_RAX, X86_RAX);
	asm_byte(t->c, 0x9f);
	put(t, X86_RAX, H_RAX);
	return true;
}

/* MUL and IMUL of one operand: rDX:rAX, or AX. */
static bool mul(struct translation *t)
{
	struct encoding e = encoding_of(t);
	bool byte = t->row->operand[0] == OP_Eb;
	const struct x86_insn *x = &t->x;

	if (byte && !x->mem && !x->rex && x->rm >= 4)
		return false;
	if (x->mem) {
		if (!look_up_operand(t, memory_size(t), false))
			return false;
		settle_operand(t);
		e.rm = t->m;
	} else {
		e.rm = op_reg(reg_or_copy(t, x->rm, H_RCX));
	}
	e.reg = x->reg & 7;
	e.rex = byte;
	get(t, H_RAX, X86_RAX);
	if (x->opsize == 2 && !x->mem)
		get(t, H_RDX, X86_RDX);
	asm_encode(t->c, &e);
	if (byte || x->opsize == 2) {
		/* the upper halves stay */
		asm_encode(t->c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0x8b, .osize = true,
						     .reg = jit_host_of[X86_RAX], .rm = op_reg(H_RAX) });
		if (!byte)
			asm_encode(t->c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0x8b, .osize = true,
							     .reg = jit_host_of[X86_RDX], .rm = op_reg(H_RDX) });
		return true;
	}
	put(t, X86_RAX, H_RAX);
	put(t, X86_RDX, H_RDX);
	return true;
}

/* CMPXCHG: the accumulator is where it must be; `reg` needs no copy but where it is in memory. */
static bool cmpxchg(struct translation *t)
{
	struct encoding e = encoding_of(t);
	const struct x86_insn *x = &t->x;
	bool byte = t->row->operand[0] == OP_Eb;

	if (byte && !x->rex && (x->reg >= 4 || (!x->mem && x->rm >= 4)))
		return false;
	if (!x->mem)
		return false;			/* rare */
	if (!look_up_operand(t, memory_size(t), true))
		return false;
	settle_operand(t);
	e.rm = t->m;
	e.reg = reg_or_copy(t, x->reg, H_RCX);
	e.rex = byte;
	get(t, H_RAX, X86_RAX);
	asm_encode(t->c, &e);
	put(t, X86_RAX, H_RAX);
	return true;
}

/* ---- the stack */

static void add_sp(struct translation *t, int32_t n)
{
	unsigned sp = jit_host_of[X86_RSP];

	asm_lea(t->c, sp, op_mem(sp, H_NONE, 0, n));
}

static bool push(struct translation *t)
{
	enum x86_operand o = t->row->operand[0];
	struct operand top;

	if (t->x.opsize != 8)
		return false;
	if (is_gpr_rm(o) && t->x.mem) {
		if (!look_up_operand(t, 8, false))
			return false;
		asm_load(t->c, H_RAX, t->m);
		asm_store(t->c, FIELD(jit.tmp), H_RAX);
	}
	top = look_up_at(t, X86_RSP, -8, 8, true);
	if (is_imm(o)) {
		asm_encode(t->c, &(struct encoding){ .map = X86_MAP_1, .opcode = 0xc7, .w = true, .rm = top, .imm = t->x.imm, .imm_bytes = 4 });
	} else if (t->x.mem) {
		asm_load(t->c, H_RAX, FIELD(jit.tmp));
		asm_store(t->c, top, H_RAX);
	} else {
		asm_store(t->c, top, reg_or_copy(t, o == OP_Zv ? t->x.reg : t->x.rm, H_RAX));
	}
	add_sp(t, -8);
	return true;
}

static bool pop(struct translation *t)
{
	unsigned to = t->x.reg, host;
	struct operand top;

	if (t->x.opsize != 8 || to == X86_RSP)
		return false;
	top = look_up_at(t, X86_RSP, 0, 8, false);
	host = jit_host_of[to];
	asm_load(t->c, host == H_NONE ? H_RAX : host, top);
	if (host == H_NONE)
		asm_store(t->c, gpr_field(to), H_RAX);
	add_sp(t, 8);
	return true;
}

static bool leave(struct translation *t)
{
	const unsigned sp = jit_host_of[X86_RSP], bp = jit_host_of[X86_RBP];
	struct operand frame;

	if (t->x.opsize != 8)
		return false;
	frame = look_up_at(t, X86_RBP, 0, 8, false);
	asm_load(t->c, H_RAX, frame);
	asm_lea(t->c, sp, op_mem(bp, H_NONE, 0, 8));
	asm_mov(t->c, bp, H_RAX);
	return true;
}

/* ---- ways out */

static struct jit_exit *new_exit(struct translation *t, enum jit_leave why, int64_t target, unsigned op)
{
	struct jit_exit *e = &t->u->exit[t->u->exits++];

	*e = (struct jit_exit){ .from = t->u, .why = why, .target = target, .op = op };
	return e;
}

static void to_thunk(struct translation *t, uint32_t field, uint32_t thunk)
{
	uint32_t rel = thunk - (t->u->start + field + 4);

	if (t->c->at <= t->c->size)
		memcpy(t->c->bytes + field, &rel, 4);
}

static void leave_by(struct translation *t, const struct jit_exit *e)
{
	asm_imm(t->c, H_RAX, (uintptr_t)e);
	to_thunk(t, asm_jmp(t->c), t->j->leave);
}

static void count(struct translation *t, unsigned n, unsigned scratch)
{
	if (!n)
		return;
	asm_load(t->c, scratch, FIELD(icount));
	asm_lea(t->c, scratch, op_mem(scratch, H_NONE, 0, n));
	asm_store(t->c, FIELD(icount), scratch);
}

/* RCX becomes 0 where something waits for the run loop. */
static void load_calm(struct translation *t)
{
	asm_load(t->c, H_RCX, FIELD(jit.calm));
	asm_load32(t->c, H_RCX, op_mem(H_RCX, H_NONE, 0, 0));
}

/*
 * RAX is a linear address: if the table knows it RDX becomes its place there.
 * Returns the field of the jump that is taken if not.
 */
static uint32_t look_up_target(struct translation *t)
{
	int32_t table = (uintptr_t)t->j->jumps[t->set].slot;
	uint32_t miss;

	asm_movzx16(t->c, H_RDX, H_RAX);
	asm_lea(t->c, H_RDX, op_mem(H_RDX, H_RDX, 0, 0));
	asm_load(t->c, H_RCX, op_mem(H_NONE, H_RDX, 3, table));
	asm_lea(t->c, H_RCX, op_mem(H_RCX, H_RAX, 0, 1));
	asm_byte(t->c, 0xe3), asm_byte(t->c, 5);
	miss = asm_jmp(t->c);
	return miss;
}

static struct operand target_code(const struct translation *t)
{
	return op_mem(H_NONE, H_RDX, 3, (int32_t)(uintptr_t)t->j->jumps[t->set].slot + (int32_t)offsetof(struct jit_jump, code));
}

/* All is done but the way to `target`, which is counted from the page's start. */
static void go_to(struct translation *t, int64_t target, unsigned n)
{
	struct jit_exit *e = new_exit(t, LEAVE_BRANCH, target, 0);
	bool inside = target >= 0 && target < PAGE_BYTES;
	bool backward = inside && target <= t->page + t->off;
	uint32_t out = 0, miss;

	count(t, n, H_RAX);
	if (inside) {
		if (backward) {
			load_calm(t);
			out = asm_jrcxz(t->c);
		}
		e->site = t->u->start + asm_jmp(t->c);	/* to what follows, until it is linked */
		if (backward)
			asm_here8(t->c, out);
		leave_by(t, e);
		return;
	}
	load_calm(t);
	out = asm_jrcxz(t->c);
	asm_load(t->c, H_RAX, FIELD(jit.base));
	if (fits32(target)) {
		asm_lea(t->c, H_RAX, op_mem(H_RAX, H_NONE, 0, target));
	} else {
		asm_imm(t->c, H_RDX, target);
		asm_lea(t->c, H_RAX, op_mem(H_RAX, H_RDX, 0, 0));
	}
	miss = look_up_target(t);
	asm_jmp_mem(t->c, target_code(t));
	asm_here(t->c, miss);
	asm_here8(t->c, out);
	leave_by(t, e);
}

/*
 * The last instruction: C carries it out, or where C has no handler that stands
 * alone the interpreter goes on with the block that begins there.
 */
static bool leave_for_c(struct translation *t)
{
	if (!t->row->plain && !jit_is_branch(t->in)) {
		count(t, t->k, H_RAX);
		leave_by(t, new_exit(t, LEAVE_BRANCH, (int64_t)t->page + t->off, 0));
		t->refused = t->k == 0;
		t->ended = true;
		return true;
	}
	leave_by(t, new_exit(t, LEAVE_OP, 0, t->k));
	t->ended = true;
	return true;
}

static bool jcc(struct translation *t)
{
	int64_t target = (int64_t)t->page + t->off + t->x.len + t->x.disp;

	t->side[t->sides].field = asm_jcc(t->c, t->x.opcode & 15);
	t->side[t->sides].target = target;
	t->side[t->sides++].n = t->in->n + 1;
	return true;
}

static bool jmp(struct translation *t)
{
	go_to(t, (int64_t)t->page + t->off + t->x.len + t->x.disp, t->in->n + 1);
	t->ended = true;
	return true;
}

/* RAX := the address behind the instruction. */
static void return_address(struct translation *t)
{
	asm_load(t->c, H_RAX, FIELD(jit.base));
	asm_lea(t->c, H_RAX, op_mem(H_RAX, H_NONE, 0, t->page + t->off + t->x.len));
}

static void push_return(struct translation *t)
{
	struct operand top = look_up_at(t, X86_RSP, -8, 8, true);

	return_address(t);
	asm_store(t->c, top, H_RAX);
	add_sp(t, -8);
}

static bool call(struct translation *t)
{
	if (!jit_is_branch(t->in))
		return leave_for_c(t);
	t->miss[t->k].by_c = true;
	push_return(t);
	go_to(t, (int64_t)t->page + t->off + t->x.len + t->x.disp, t->in->n + 1);
	t->ended = true;
	return true;
}

static void miss_if_events(struct translation *t)
{
	load_calm(t);
	/* jrcxz reaches 127 bytes: over a jump */
	asm_byte(t->c, 0xe3), asm_byte(t->c, 2);
	asm_byte(t->c, 0xeb), asm_byte(t->c, 5);
	note_miss(t, asm_jmp(t->c));
}

static bool ret(struct translation *t)
{
	struct operand top;

	if (!jit_is_branch(t->in) || t->x.imm > INT16_MAX)
		return leave_for_c(t);
	t->miss[t->k].by_c = true;
	miss_if_events(t);
	top = look_up_at(t, X86_RSP, 0, 8, false);
	asm_load(t->c, H_RAX, top);
	note_miss(t, look_up_target(t));
	add_sp(t, 8 + (int32_t)t->x.imm);
	count(t, t->in->n + 1, H_RCX);
	asm_jmp_mem(t->c, target_code(t));
	t->ended = true;
	return true;
}

/* JMP and CALL to where a register or memory says. */
static bool go_indirect(struct translation *t)
{
	bool is_call = handler(t) == sel_call_ind;

	if (!jit_is_branch(t->in))
		return leave_for_c(t);
	t->miss[t->k].by_c = true;
	miss_if_events(t);
	if (t->x.mem) {
		if (!look_up_operand(t, 8, false))
			return leave_for_c(t);
		asm_load(t->c, H_RAX, t->m);
	} else {
		get(t, H_RAX, t->x.rm);
	}
	if (is_call)
		asm_store(t->c, FIELD(jit.tmp), H_RAX);
	note_miss(t, look_up_target(t));
	if (!is_call) {
		count(t, t->in->n + 1, H_RCX);
		asm_jmp_mem(t->c, target_code(t));
	} else {
		asm_load(t->c, H_RDX, target_code(t));
		asm_store(t->c, FIELD(jit.code), H_RDX);
		push_return(t);
		count(t, t->in->n + 1, H_RCX);
		asm_load(t->c, H_RAX, FIELD(jit.tmp));
		asm_jmp_mem(t->c, FIELD(jit.code));
	}
	t->ended = true;
	return true;
}

/* ---- one instruction */

static bool special(struct translation *t, bool *done)
{
	static const struct { sel_fn *is; bool (*emit)(struct translation *); } own[] = {
		{ sel_lea, lea }, { sel_cbw, cbw }, { sel_cwd, cwd }, { sel_sahf, sahf }, { sel_lahf, lahf },
		{ sel_clc, plain_bytes }, { sel_stc, plain_bytes }, { sel_cmc, plain_bytes },
		{ sel_mul, mul }, { sel_imul1, mul }, { sel_cmpxchg, cmpxchg },
		{ sel_push, push }, { sel_pop, pop }, { sel_leave, leave },
		{ sel_jcc, jcc }, { sel_jmp, jmp }, { sel_call, call }, { sel_ret, ret },
		{ sel_jmp_ind, go_indirect }, { sel_call_ind, go_indirect },
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		if (own[i].is == handler(t)) {
			*done = own[i].emit(t);
			return true;
		}
	}
	return false;
}

/* By the general scheme. */
static bool is_general(const struct translation *t)
{
	static sel_fn *const general[] = {
		sel_add, sel_or, sel_adc, sel_sbb, sel_and, sel_sub, sel_xor, sel_cmp, sel_test, sel_xchg, sel_mov,
		sel_movsxd, sel_movsx, sel_movzx, sel_imul, sel_inc, sel_dec, sel_neg, sel_not, sel_rol, sel_ror, sel_rcl,
		sel_rcr, sel_shl, sel_shr, sel_sar, sel_setcc, sel_cmovcc, sel_bsf, sel_bsr, sel_bswap, sel_xadd,
		sel_shld, sel_shrd, sel_bt, sel_bts, sel_btr, sel_btc,
	};
	sel_fn *is = handler(t);
	bool bits = is == sel_bt || is == sel_bts || is == sel_btr || is == sel_btc;

	if (bits && t->x.mem && t->row->operand[1] == OP_Gv)
		return false;		/* reaches beyond the operand */
	for (size_t i = 0; i < sizeof(general) / sizeof(general[0]); i++)
		if (general[i] == is)
			return true;
	return false;
}

static void by_interpreter(struct translation *t)
{
	asm_imm(t->c, H_RAX, (uintptr_t)&t->u->op[t->k]);
	to_thunk(t, asm_call(t->c), t->j->call);
}

static void emit_insn(struct translation *t)
{
	uint32_t at = t->c->at;
	bool done = false;

	if (handler(t) == sel_nop)
		return;
	if (handler(t) && x86_isa_offered(x86_row_isa(t->row)))
		if (!special(t, &done) && is_general(t))
			done = rewrite(t);
	if (!done) {
		t->c->at = at;			/* what it began is not wanted */
		t->miss[t->k].n = 0;
		if (t->row->treatment == T_END || t->row->treatment == T_COND)
			leave_for_c(t);
		else
			by_interpreter(t);
	}
	t->miss[t->k].resume = t->c->at;
}

/* ---- a unit */

static void emit_misses(struct translation *t)
{
	for (unsigned k = 0; k < t->u->ops; k++) {
		if (!t->miss[k].n)
			continue;
		for (unsigned i = 0; i < t->miss[k].n; i++)
			asm_here(t->c, t->miss[k].field[i]);
		t->k = k;
		if (t->miss[k].by_c) {
			leave_by(t, new_exit(t, LEAVE_OP, 0, k));
		} else {
			by_interpreter(t);
			asm_target(t->c, asm_jmp(t->c), t->miss[k].resume);
		}
	}
}

static void emit_sides(struct translation *t)
{
	for (unsigned i = 0; i < t->sides; i++) {
		asm_here(t->c, t->side[i].field);
		go_to(t, t->side[i].target, t->side[i].n);
	}
}

static struct jit_unit *new_unit(struct jit *j, struct block *b, unsigned n)
{
	size_t ops = sizeof(struct jit_unit) + n * sizeof(struct jit_op);
	struct jit_unit *u = calloc(1, ops + (2 * n + 2) * sizeof(struct jit_exit));

	if (!u)
		return NULL;
	u->block = b;
	u->ops = n;
	u->exit = (struct jit_exit *)((char *)u + ops);
	u->start = j->at;
	return u;
}

struct jit_unit *jit_emit_unit(struct cpu *cpu, struct block *b, const uint8_t *bytes, struct code *c)
{
	unsigned n = b->insn[b->count].n;
	struct translation t = { .c = c, .j = cpu->jit.j, .mode = b->mode, .set = mode_set(b->mode), .page = b->gpa & PAGE_OFFSET };
	uint32_t entry;

	t.u = new_unit(t.j, b, n);
	if (!t.u)
		return NULL;
	/* with the address in RAX: the page's into base */
	asm_lea(c, H_RAX, op_mem(H_RAX, H_NONE, 0, -(int32_t)t.page));
	asm_store(c, FIELD(jit.base), H_RAX);
	entry = c->at;
	for (t.k = 0; t.k < n && !t.ended; t.k++) {
		struct jit_op *op = &t.u->op[t.k];

		if (x86_decode(bytes + t.off, b->bytes - t.off, 64, &t.x) != X86_DECODE_OK)
			break;			/* what is no instruction ends a block, and faults in the interpreter */
		t.row = &x86_opcodes[t.x.row];
		block_decoded(&t.x, &op->insn[0], b->mode, t.off, t.k);
		jit_set_return(op);
		op->unit = t.u;
		t.in = &op->insn[0];
		emit_insn(&t);
		t.off += t.x.len;
	}
	if (t.k == 0 || t.refused) {
		free(t.u);
		return NULL;
	}
	if (!t.ended)
		go_to(&t, (int64_t)t.page + t.off, t.k);
	t.u->ops = t.k;
	emit_sides(&t);
	emit_misses(&t);
	t.u->far = t.j->rx + t.u->start;
	t.u->entry = t.u->far + entry;
	return t.u;
}
