/*
 * vmm/jit/general.c - instructions that have their operands in ModRM, the
 * opcode or an immediate: the same instruction, on other registers and another
 * address.
 */
#include "vmm/jit/translate.h"

/* ---- operands in general */

/* A general register as operand. */
struct gpr_use {
	bool used, byte, high, written;
	uint8_t guest, host;
};

bool is_general(unsigned row)
{
	static sel_fn *const general[] = {
		sel_add, sel_or, sel_adc, sel_sbb, sel_and, sel_sub, sel_xor, sel_cmp, sel_test, sel_xchg, sel_mov,
		sel_movsxd, sel_movsx, sel_movzx, sel_imul, sel_inc, sel_dec, sel_neg, sel_not, sel_rol, sel_ror, sel_rcl,
		sel_rcr, sel_shl, sel_shr, sel_sar, sel_setcc, sel_cmovcc, sel_bsf, sel_bsr, sel_bswap, sel_xadd,
		sel_shld, sel_shrd, sel_bt, sel_bts, sel_btr, sel_btc, sel_popcnt, sel_crc32, sel_lzcnt, sel_tzcnt, sel_movbe, sel_movbe_st,
		sel_adcx, sel_adox, sel_andn, sel_blsr, sel_blsmsk, sel_blsi, sel_bextr, sel_bzhi, sel_pdep, sel_pext, sel_sarx,
		sel_shlx, sel_shrx, sel_rorx,
	};
	sel_fn *is = op_dispatch[row].select;

	for (size_t i = 0; i < sizeof(general) / sizeof(general[0]); i++)
		if (general[i] == is)
			return true;
	return false;
}

static bool is_gpr_reg(enum x86_operand o)
{
	return o == OP_Gb || o == OP_Gw || o == OP_Gv || o == OP_Gy;
}

bool is_gpr_rm(enum x86_operand o)
{
	return (o >= OP_E && o <= OP_EdMd) || o == OP_Rv || o == OP_R || o == OP_Zb || o == OP_Zv ||
		o == OP_AL || o == OP_rAX || o == OP_Mv;
}

static bool is_byte(enum x86_operand o)
{
	return o == OP_Gb || o == OP_Eb || o == OP_Zb || o == OP_AL;
}

bool is_compare(sel_fn *is)
{
	return is == sel_cmp || is == sel_test || is == sel_bt;
}

bool is_exchange(sel_fn *is)
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
static bool sort_operands(struct translation *t, struct gpr_use *reg, struct gpr_use *rm, struct gpr_use *vex, bool *cl)
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
		else if (o == OP_By)
			set_use(vex, t, o, t->x.vvvv, written);
		else if (o == OP_CL)
			*cl = true;
		else if (o != OP__ && o != OP_1 && !is_imm(o) && !is_gpr_rm(o))
			return false;
	}
	return true;
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

struct encoding encoding_of(const struct translation *t)
{
	const struct x86_insn *x = &t->x;
	const struct x86_opcode *row = t->row;

	return (struct encoding){
		.map = x->map, .opcode = x->opcode, .prefix = row->prefix == 0xf2 || row->prefix == 0xf3 ? row->prefix : 0,
		.osize = x->vex ? row->prefix == 0x66 : x->osize, .lock = x->lock && x->mem,
		.w = x->vex ? x->vex_w : x->rex & 8, .vex_l = x->vex_l, .vvvv = x->vvvv, .reg = x->reg & 7,
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

/* A bit string in memory, whose bit may be anywhere. */
static bool reaches_beyond(const struct translation *t)
{
	sel_fn *is = handler(t);

	return (is == sel_bt || is == sel_bts || is == sel_btr || is == sel_btc) && t->x.mem && t->row->operand[1] == OP_Gv;
}

/* An instruction on general registers and memory, all of them in ModRM or the opcode. */
bool emit_general(struct translation *t)
{
	struct gpr_use reg = { 0 }, rm = { 0 }, vex = { 0 };
	struct encoding e = encoding_of(t);
	bool cl = false, high;

	if (!is_general(t->x.row) || reaches_beyond(t) || !sort_operands(t, &reg, &rm, &vex, &cl))
		return false;
	if (vex.used && t->x.mem && jit_host_of[vex.guest] == H_NONE)
		return false;			/* no register is free for it */
	high = reg.high || rm.high;
	if (is_exchange(handler(t)) && (high || (rm.used && reg.guest == rm.guest)))
		return false;
	if (cl && (high || (reg.used && jit_host_of[reg.guest] == H_NONE)))
		return false;
	spell_out(t, &e);
	if (t->x.mem) {
		if (!look_up_operand(t, 0))
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
	if (vex.used) {
		fetch_use(t, &vex, H_RDX, false);
		e.vvvv = vex.host;
	}
	e.rex = !high && (reg.byte || rm.byte);
	if (cl)
		get(t, H_RCX, X86_RCX);
	asm_encode(t->c, &e);
	store_use(t, &reg);
	store_use(t, &rm);
	store_use(t, &vex);
	return true;
}

