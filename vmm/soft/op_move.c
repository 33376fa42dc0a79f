/*
 * vmm/soft/op_move.c - MOV MOVZX MOVSX MOVSXD LEA XCHG CMOVcc SETcc BSWAP CBW CWD XLAT.
 *
 * None of them changes a flag.  SDM vol. 2.
 */
#include "vmm/soft/forms.h"

/* ---- MOV, by the forms of forms.h */
#define MOV_REG(op, W)								\
HANDLER(mov##W##_rr) { PUT_##W(in->rm, GET_##W(in->reg)); NEXT(1); }		\
HANDLER(mov##W##_ri) { PUT_##W(in->rm, in->imm); NEXT(1); }
EACH_WIDTH(MOV_REG, mov)

#define MOV_MEM(op, W, ea)							\
MEM_HANDLER(mov##W##_rm_##ea)							\
{										\
	uint##W##_t v;								\
										\
	LOAD_EA(W, v, ea);								\
	PUT_##W(in->reg, v);							\
	NEXT(1);								\
}										\
MEM_HANDLER(mov##W##_mr_##ea)							\
{										\
	STORE_EA(W, ea, GET_##W(in->reg));					\
	NEXT(1);								\
}										\
MEM_HANDLER(mov##W##_mi_##ea)							\
{										\
	STORE_EA(W, ea, in->imm);						\
	NEXT(1);								\
}
#define MOV_MEM_WIDTH(op, W)	EACH_EA(MOV_MEM, op, W)
EACH_WIDTH(MOV_MEM_WIDTH, mov)
BINARY_TABLE(mov)

/* The accumulator and a 64-bit absolute address. */
#define MOV_ABSOLUTE(op, W)							\
MEM_HANDLER(mov##W##_load_abs)							\
{										\
	uint##W##_t v;								\
										\
	LOAD(W, v, in->seg, in->imm);						\
	PUT_##W(X86_RAX, v);							\
	NEXT(1);								\
}										\
MEM_HANDLER(mov##W##_store_abs)							\
{										\
	STORE(W, in->seg, in->imm, GET_##W(X86_RAX));				\
	NEXT(1);								\
}
EACH_WIDTH(MOV_ABSOLUTE, mov)

static insn_fn *absolute(enum width w, bool load)
{
	static insn_fn *const forms[WIDTHS][2] = {
		{ mov8_store_abs, mov8_load_abs }, { mov16_store_abs, mov16_load_abs },
		{ mov32_store_abs, mov32_load_abs }, { mov64_store_abs, mov64_load_abs },
	};

	return forms[w][load];
}

insn_fn *sel_mov(const struct x86_insn *x, struct insn *in)
{
	const struct x86_opcode *row = &x86_opcodes[x->row];

	if (x->adsize == 8 && !x->has_modrm && x->mem)
		return absolute(width_of(x), row->operand[1] == OP_Ob || row->operand[1] == OP_Ov);
	if (row->operand[1] == OP_Ob || row->operand[1] == OP_Ov)
		return mov_forms[width_of(x)][F_RM + ea_form(in)];
	return mov_forms[width_of(x)][binary_form(x, in)];
}

/* ---- MOVZX, MOVSX, MOVSXD: destination width, source width */
#define EXTEND_MEM(name, D, S, type, ea)					\
MEM_HANDLER(name##D##_##S##_m_##ea)						\
{										\
	uint##S##_t v;								\
										\
	LOAD_EA(S, v, ea);							\
	PUT_##D(in->reg, (type)v);						\
	NEXT(1);								\
}
#define EXTEND(name, D, S, type)						\
HANDLER(name##D##_##S##_r)							\
{										\
	PUT_##D(in->reg, (type)GET_##S(in->rm));				\
	NEXT(1);								\
}										\
EXTEND_MEM(name, D, S, type, b)							\
EXTEND_MEM(name, D, S, type, s)							\
EXTEND_MEM(name, D, S, type, x)							\
EXTEND_MEM(name, D, S, type, q)							\
EXTEND_MEM(name, D, S, type, t)
EXTEND(movzx, 16, 8, uint8_t)
EXTEND(movzx, 32, 8, uint8_t)
EXTEND(movzx, 64, 8, uint8_t)
EXTEND(movzx, 16, 16, uint16_t)
EXTEND(movzx, 32, 16, uint16_t)
EXTEND(movzx, 64, 16, uint16_t)
EXTEND(movsx, 16, 8, int8_t)
EXTEND(movsx, 32, 8, int8_t)
EXTEND(movsx, 64, 8, int8_t)
EXTEND(movsx, 16, 16, int16_t)
EXTEND(movsx, 32, 16, int16_t)
EXTEND(movsx, 64, 16, int16_t)
EXTEND(movsxd, 16, 32, uint16_t)
EXTEND(movsxd, 32, 32, uint32_t)
EXTEND(movsxd, 64, 32, int32_t)

#define EXTEND_ENTRIES(name, D, S)	{ name##D##_##S##_r, EA_ENTRIES(name##D##_, S, m) }
#define EXTEND_WIDTHS(name, S)	\
	{ [W16] = EXTEND_ENTRIES(name, 16, S), [W32] = EXTEND_ENTRIES(name, 32, S), [W64] = EXTEND_ENTRIES(name, 64, S) }
/* [source is a word][destination][form] */
#define EXTEND_SELECT(name)									\
insn_fn *sel_##name(const struct x86_insn *x, struct insn *in)					\
{												\
	static insn_fn *const forms[2][WIDTHS][UNARY_FORMS] = {					\
		EXTEND_WIDTHS(name, 8), EXTEND_WIDTHS(name, 16),				\
	};											\
												\
	return forms[x86_opcodes[x->row].operand[1] == OP_Ew][width_of(x)][unary_form(in)];	\
}
EXTEND_SELECT(movzx)
EXTEND_SELECT(movsx)

/* Without REX.W it is a MOV. */
insn_fn *sel_movsxd(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[WIDTHS][UNARY_FORMS] = {
		[W16] = EXTEND_ENTRIES(movsxd, 16, 32), [W32] = EXTEND_ENTRIES(movsxd, 32, 32),
		[W64] = EXTEND_ENTRIES(movsxd, 64, 32),
	};

	return forms[width_of(x)][unary_form(in)];
}

/* ---- LEA: [destination][address] */
HANDLER(lea16) { PUT_16(in->reg, insn_ea(cpu, in)); NEXT(1); }
HANDLER(lea32_b) { PUT_32(in->reg, ADDR_b); NEXT(1); }
HANDLER(lea32_s) { PUT_32(in->reg, ADDR_s); NEXT(1); }
HANDLER(lea32_x) { PUT_32(in->reg, insn_ea(cpu, in)); NEXT(1); }
HANDLER(lea32_q) { PUT_32(in->reg, ADDR_q); NEXT(1); }
HANDLER(lea32_t) { PUT_32(in->reg, ADDR_t); NEXT(1); }
HANDLER(lea64_q) { PUT_64(in->reg, ADDR_q); NEXT(1); }
HANDLER(lea64_t) { PUT_64(in->reg, ADDR_t); NEXT(1); }
HANDLER(lea64_x) { PUT_64(in->reg, insn_ea(cpu, in)); NEXT(1); }

insn_fn *sel_lea(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[WIDTHS][EA_FORMS] = {
		[W16] = { lea16, lea16, lea16, lea16, lea16 },
		[W32] = { lea32_b, lea32_s, lea32_x, lea32_q, lea32_t },
		[W64] = { NULL, NULL, lea64_x, lea64_q, lea64_t },
	};

	return forms[width_of(x)][ea_form(in)];
}

/* ---- XCHG: with memory it is locked, prefix or not */
#define XCHG(op, W)								\
HANDLER(xchg##W##_r)								\
{										\
	uint##W##_t a = GET_##W(in->rm), b = GET_##W(in->reg);			\
										\
	PUT_##W(in->rm, b);							\
	PUT_##W(in->reg, a);							\
	NEXT(1);								\
}										\
HANDLER(xchg##W##_m)								\
{										\
	struct rmw *h = &cpu->rmw;						\
	uint##W##_t old;							\
										\
	cpu->insn = in;								\
	old = rmw_ld##W(cpu, h, in->seg, insn_ea(cpu, in));			\
	if (h->host)								\
		old = __atomic_exchange_n((uint##W##_t *)h->host, GET_##W(in->reg), __ATOMIC_SEQ_CST);	\
	else									\
		rmw_st##W(cpu, h, GET_##W(in->reg));				\
	PUT_##W(in->reg, old);							\
	NEXT(1);								\
}
EACH_WIDTH(XCHG, xchg)

insn_fn *sel_xchg(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[WIDTHS][2] = {
		{ xchg8_r, xchg8_m }, { xchg16_r, xchg16_m }, { xchg32_r, xchg32_m }, { xchg64_r, xchg64_m },
	};

	return forms[width_of(x)][in->mem];
}

/* ---- CMOVcc: the source is read whatever the condition; a 32-bit destination is written in any case */
#define EACH_CC(M, ...)									\
	M(0, ##__VA_ARGS__) M(1, ##__VA_ARGS__) M(2, ##__VA_ARGS__) M(3, ##__VA_ARGS__)		\
	M(4, ##__VA_ARGS__) M(5, ##__VA_ARGS__) M(6, ##__VA_ARGS__) M(7, ##__VA_ARGS__)		\
	M(8, ##__VA_ARGS__) M(9, ##__VA_ARGS__) M(10, ##__VA_ARGS__) M(11, ##__VA_ARGS__)	\
	M(12, ##__VA_ARGS__) M(13, ##__VA_ARGS__) M(14, ##__VA_ARGS__) M(15, ##__VA_ARGS__)

#define CMOV_MEM(op, W, ea)							\
MEM_HANDLER(cmov##W##_m_##ea)							\
{										\
	uint##W##_t v;								\
										\
	LOAD_EA(W, v, ea);							\
	PUT_##W(in->reg, fl_cond(cpu->fl, in->cc) ? v : GET_##W(in->reg));	\
	NEXT(1);								\
}
#define CMOV(W)									\
HANDLER(cmov##W##_r)								\
{										\
	uint##W##_t v = GET_##W(in->rm);					\
										\
	PUT_##W(in->reg, fl_cond(cpu->fl, in->cc) ? v : GET_##W(in->reg));	\
	NEXT(1);								\
}										\
EACH_EA(CMOV_MEM, cmov, W)
CMOV(16)
CMOV(32)
CMOV(64)

insn_fn *sel_cmovcc(const struct x86_insn *x, struct insn *in)
{
	static insn_fn *const forms[WIDTHS][UNARY_FORMS] = {
		[W16] = UNARY_ENTRIES(cmov, 16), [W32] = UNARY_ENTRIES(cmov, 32), [W64] = UNARY_ENTRIES(cmov, 64),
	};

	return forms[width_of(x)][unary_form(in)];
}

/* ---- SETcc, by condition */
#define SETCC(cc)								\
HANDLER(setcc_r_##cc) { PUT_8(in->rm, fl_cond(cpu->fl, cc)); NEXT(1); }
EACH_CC(SETCC)

MEM_HANDLER(setcc_m)
{
	STORE(8, in->seg, ADDR_x, fl_cond(cpu->fl, in->cc));
	NEXT(1);
}

insn_fn *sel_setcc(const struct x86_insn *x, struct insn *in)
{
#define SETCC_ENTRY(cc)	setcc_r_##cc,
	static insn_fn *const reg[16] = { EACH_CC(SETCC_ENTRY) };

	(void)x;
	return in->mem ? setcc_m : reg[in->cc];
}

/* ---- BSWAP; of a 16-bit register it is undefined: processors clear it */
HANDLER(bswap16) { PUT_16(in->rm, 0); NEXT(1); }
HANDLER(bswap32) { PUT_32(in->rm, __builtin_bswap32(GET_32(in->rm))); NEXT(1); }
HANDLER(bswap64) { PUT_64(in->rm, __builtin_bswap64(GET_64(in->rm))); NEXT(1); }

insn_fn *sel_bswap(const struct x86_insn *x, struct insn *in)
{
	(void)in;
	return width_of(x) == W16 ? bswap16 : width_of(x) == W32 ? bswap32 : bswap64;
}

/* ---- CBW CWDE CDQE CWD CDQ CQO */
HANDLER(cbw16) { PUT_16(X86_RAX, (int8_t)cpu->gpr[X86_RAX].b[0]); NEXT(1); }
HANDLER(cbw32) { PUT_32(X86_RAX, cpu->gpr[X86_RAX].sw); NEXT(1); }
HANDLER(cbw64) { PUT_64(X86_RAX, (int64_t)cpu->gpr[X86_RAX].sd); NEXT(1); }
HANDLER(cwd16) { PUT_16(X86_RDX, cpu->gpr[X86_RAX].sw >> 15); NEXT(1); }
HANDLER(cwd32) { PUT_32(X86_RDX, cpu->gpr[X86_RAX].sd >> 31); NEXT(1); }
HANDLER(cwd64) { PUT_64(X86_RDX, (int64_t)cpu->gpr[X86_RAX].q >> 63); NEXT(1); }

insn_fn *sel_cbw(const struct x86_insn *x, struct insn *in)
{
	(void)in;
	return x->opsize == 2 ? cbw16 : x->opsize == 4 ? cbw32 : cbw64;
}

insn_fn *sel_cwd(const struct x86_insn *x, struct insn *in)
{
	(void)in;
	return x->opsize == 2 ? cwd16 : x->opsize == 4 ? cwd32 : cwd64;
}

/* ---- plain ones */
void op_xlat(struct cpu *cpu, const struct insn *in)
{
	uint64_t off = cpu->gpr[X86_RBX].q + cpu->gpr[X86_RAX].b[0];

	cpu->gpr[X86_RAX].b[0] = ld8(cpu, in->seg, ip_mask(in->adsize, off));
}
