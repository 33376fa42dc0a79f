/*
 * vmm/x86/decode.c - the instruction decoder, and the table it decodes by.
 *
 * x86_opcodes[] is opcodes.def; index[] finds a row by map and opcode.  The
 * rows of one opcode stand together in the index's chain, and the first that
 * fits ModRM.reg and the prefix is the instruction.
 *
 * SDM vol. 2 chapter 2 (prefixes, ModRM, SIB), appendix A.
 */
#include "vmm/x86/decode.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "vmm/x86/state.h"

/* The flag letters of the table, in the combinations that occur. */
enum {
	FM_O = X86_RFLAGS_OF, FM_S = X86_RFLAGS_SF, FM_Z = X86_RFLAGS_ZF, FM_A = X86_RFLAGS_AF,
	FM_P = X86_RFLAGS_PF, FM_C = X86_RFLAGS_CF, FM_D = X86_RFLAGS_DF, FM_I = X86_RFLAGS_IF,
	FM__ = 0,
	FM_AC = FM_A | FM_C,
	FM_OC = FM_O | FM_C,
	FM_OAC = FM_O | FM_AC,
	FM_OA = FM_O | FM_A,
	FM_OS = FM_O | FM_S,
	FM_ZC = FM_Z | FM_C,
	FM_OSZ = FM_OS | FM_Z,
	FM_SZP = FM_S | FM_Z | FM_P,
	FM_SZAP = FM_SZP | FM_A,
	FM_SZAPC = FM_SZAP | FM_C,
	FM_OSZP = FM_O | FM_SZP,
	FM_OSZAP = FM_O | FM_SZAP,
	FM_OSZAPC = FM_O | FM_SZAPC,
	FM_AP = FM_A | FM_P,
	FM_SAP = FM_S | FM_AP,
	FM_OSAP = FM_OS | FM_A | FM_P,
	FM_OSAPC = FM_OSAP | FM_C,
	FM_OSZAPCDI = FM_OSZAPC | FM_D | FM_I,
};

#define _0	0		/* no property */
enum { EXT__ = -1, EXT_0, EXT_1, EXT_2, EXT_3, EXT_4, EXT_5, EXT_6, EXT_7 };
enum { PFX__ = 0, PFX_66 = 0x66, PFX_F2 = 0xf2, PFX_F3 = 0xf3, PFX_NP = X86_NO_PREFIX, PFX_NR = X86_NO_REPEAT };
enum { KIND_F = 0, KIND_P = 1, KIND_V = 0, KIND_VI = 0, KIND_VL = 0, KIND_VA = 0, KIND_VF = 0 };
enum { FOURTH_F = OP__, FOURTH_P = OP__, FOURTH_V = OP__, FOURTH_VI = OP_Ib, FOURTH_VL = OP_L, FOURTH_VA = OP__, FOURTH_VF = OP__ };

const struct x86_opcode x86_opcodes[] = {
#define X(map_, op_, ext_, pfx_, kind_, mn_, h_, a_, b_, c_, r_, w_, u_, p_, t_) \
	{ .mnemonic = #mn_, .handler = #h_, .map = map_, .opcode = op_, .ext = EXT_##ext_, .prefix = PFX_##pfx_, \
	  .plain = KIND_##kind_, .operand = { OP_##a_, OP_##b_, OP_##c_, FOURTH_##kind_ }, \
	  .read = FM_##r_, .written = FM_##w_, .undefined = FM_##u_, .properties = p_, .treatment = t_ },
#include "vmm/x86/opcodes.def"
#undef X
};
#undef _0

const unsigned x86_opcode_rows = sizeof(x86_opcodes) / sizeof(x86_opcodes[0]);

enum { NO_ROW = 0xffff };

static uint16_t first_row[X86_MAPS][256];		/* rows by opcode */
static uint16_t next_row[sizeof(x86_opcodes) / sizeof(x86_opcodes[0])];
static bool has_modrm[X86_MAPS][256];
static pthread_once_t index_once = PTHREAD_ONCE_INIT;

static bool operand_in_modrm(enum x86_operand o)
{
	return o >= OP_E && o <= OP_Dd;
}

bool x86_opcode_has_modrm(const struct x86_opcode *row)
{
	return row->ext >= 0 || operand_in_modrm(row->operand[0]) || operand_in_modrm(row->operand[1]);
}

bool x86_operand_is_memory(enum x86_operand o)
{
	return o >= OP_M && o <= OP_Ms;
}

bool x86_operand_is_register(enum x86_operand o)
{
	return o >= OP_Ux && o <= OP_R;
}

bool x86_operand_is_gathered(enum x86_operand o)
{
	return o == OP_VMx || o == OP_VMqq;
}

static unsigned vex_bytes(const struct x86_opcode *row, uint8_t bytes[4])
{
	unsigned pp = row->prefix == 0x66 ? 1 : row->prefix == 0xf3 ? 2 : row->prefix == 0xf2 ? 3 : 0;

	bytes[0] = 0xc4;
	bytes[1] = 0xe0 | (row->map - X86_MAP_VEX_0F + 1);
	bytes[2] = (row->properties & P_W1 ? 0x80 : 0) | 0x78 | (row->properties & P_L1 ? 4 : 0) | pp;
	bytes[3] = row->opcode;
	return 4;
}

unsigned x86_opcode_bytes(const struct x86_opcode *row, uint8_t bytes[4])
{
	if (x86_row_is_vex(row))
		return vex_bytes(row, bytes);
	switch (row->map) {
	case X86_MAP_1:
		bytes[0] = row->opcode;
		return 1;
	case X86_MAP_0F:
		bytes[0] = 0x0f, bytes[1] = row->opcode;
		return 2;
	case X86_MAP_0F38: case X86_MAP_0F3A: case X86_MAP_0F01:
		bytes[0] = 0x0f;
		bytes[1] = row->map == X86_MAP_0F38 ? 0x38 : row->map == X86_MAP_0F3A ? 0x3a : 0x01;
		bytes[2] = row->opcode;
		return 3;
	default:
		bytes[0] = 0xd8 + row->map - X86_MAP_D8, bytes[1] = row->opcode;
		return 2;
	}
}

static void index_row(unsigned i)
{
	const struct x86_opcode *row = &x86_opcodes[i];
	unsigned span = row->properties & P_SPAN8 ? 8 : row->properties & P_SPAN7 ? 7 : 1;

	next_row[i] = NO_ROW;
	for (unsigned op = row->opcode; op < row->opcode + span; op++) {
		uint16_t *at = &first_row[row->map - 1][op];

		has_modrm[row->map - 1][op] |= x86_opcode_has_modrm(row);
		if (row->prefix && span == 1) {		/* looked at before those without */
			next_row[i] = *at;
			*at = i;
			continue;
		}
		while (*at != NO_ROW)
			at = &next_row[*at];
		*at = i;
	}
}

static void build_index(void)
{
	memset(first_row, 0xff, sizeof(first_row));
	for (unsigned i = 0; i < x86_opcode_rows; i++)
		index_row(i);
}

enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8 };

/* The bytes that are left to read. */
struct reader {
	const uint8_t *bytes;
	unsigned at, avail;
	enum x86_decode_result error;
};

static uint64_t get(struct reader *r, unsigned n)
{
	uint64_t v = 0;

	if (r->at + n > X86_INSN_MAX) {
		r->error = X86_DECODE_LONG;
		return 0;
	}
	if (r->at + n > r->avail) {
		r->error = X86_DECODE_SHORT;
		return 0;
	}
	memcpy(&v, r->bytes + r->at, n);
	r->at += n;
	return v;
}

static int64_t get_signed(struct reader *r, unsigned n)
{
	uint64_t v = get(r, n);

	return n == 1 ? (int8_t)v : n == 2 ? (int16_t)v : n == 4 ? (int32_t)v : (int64_t)v;
}

/* ES, CS, SS and DS have no base in 64-bit mode, and their prefixes no meaning. */
static void override_segment(struct x86_insn *in, unsigned seg)
{
	if (in->bits != 64 || seg >= X86_FS)
		in->override = seg;
}

/* False: not a prefix. */
static bool take_prefix(struct x86_insn *in, uint8_t byte, bool *other_ad)
{
	switch (byte) {
	case 0x26: override_segment(in, X86_ES); return true;
	case 0x2e: override_segment(in, X86_CS); return true;
	case 0x36: override_segment(in, X86_SS); return true;
	case 0x3e: override_segment(in, X86_DS); return true;
	case 0x64: override_segment(in, X86_FS); return true;
	case 0x65: override_segment(in, X86_GS); return true;
	case 0x66: in->osize = true; return true;
	case 0x67: *other_ad = true; return true;
	case 0xf0: in->lock = true; return true;
	case 0xf2: case 0xf3: in->rep = byte; return true;
	default: return false;
	}
}

static bool get_prefixes(struct reader *r, struct x86_insn *in)
{
	bool other_ad = false;

	in->override = X86_NO_SEG;
	for (;;) {
		in->opcode = get(r, 1);
		if (r->error)
			return false;
		if (take_prefix(in, in->opcode, &other_ad))
			in->rex = 0;		/* only the last one counts */
		else if (in->bits == 64 && (in->opcode & 0xf0) == 0x40)
			in->rex = in->opcode;
		else
			break;
	}
	if (in->bits == 64) {
		in->opsize = in->rex & REX_W ? 8 : in->osize ? 2 : 4;
		in->adsize = other_ad ? 4 : 8;
	} else {
		in->opsize = (in->bits == 32) != in->osize ? 4 : 2;
		in->adsize = (in->bits == 32) != other_ad ? 4 : 2;
	}
	return true;
}

/* 64-bit mode: what has a size of its own there. */
static void adjust_opsize(const struct x86_opcode *row, struct x86_insn *in)
{
	if (in->bits != 64)
		return;
	if (row->properties & P_F64 || (row->properties & P_DF64 && in->opsize == 4))
		in->opsize = 8;
}

/* The address forms of 16-bit ModRM: base, index. */
static const uint8_t modrm16[8][2] = {
	{ X86_RBX, X86_RSI }, { X86_RBX, X86_RDI }, { X86_RBP, X86_RSI }, { X86_RBP, X86_RDI },
	{ X86_RSI, X86_NO_REG }, { X86_RDI, X86_NO_REG }, { X86_RBP, X86_NO_REG }, { X86_RBX, X86_NO_REG },
};

static void get_address16(struct reader *r, struct x86_insn *in)
{
	in->base = modrm16[in->rm][0];
	in->index = modrm16[in->rm][1];
	if (in->mod == 0 && in->rm == 6) {
		in->base = X86_NO_REG;
		in->disp_bytes = 2;
	} else {
		in->disp_bytes = in->mod;		/* 0, 1 or 2 */
	}
	in->disp_at = r->at;
	if (in->disp_bytes)
		in->disp = get_signed(r, in->disp_bytes);
}

/* REX's bits R, X and B are bit 3 of a register's number. */
static unsigned rex_bit(const struct x86_insn *in, unsigned bit)
{
	return in->rex & bit ? 8 : 0;
}

/* 32-bit ModRM, and with 64-bit addresses the same with more registers and rIP.  Every vector can be an index. */
static void get_address32(struct reader *r, struct x86_insn *in, bool vector)
{
	bool sib_follows = (in->rm & 7) == X86_RSP;

	in->base = in->rm;
	if (sib_follows) {
		uint8_t sib = get(r, 1);
		unsigned index = (sib >> 3 & 7) | rex_bit(in, REX_X);

		in->base = (sib & 7) | rex_bit(in, REX_B);
		in->scale = sib >> 6;
		if (index != X86_RSP || vector)
			in->index = index;
	}
	in->disp_bytes = in->mod == 1 ? 1 : in->mod == 2 ? 4 : 0;
	if (in->mod == 0 && (in->base & 7) == X86_RBP) {
		in->base = in->bits == 64 && !sib_follows ? X86_REG_RIP : X86_NO_REG;
		in->disp_bytes = 4;
	}
	in->disp_at = r->at;
	if (in->disp_bytes)
		in->disp = get_signed(r, in->disp_bytes);
}

static void get_modrm(struct reader *r, struct x86_insn *in)
{
	uint8_t modrm = get(r, 1);

	in->has_modrm = true;
	in->mod = modrm >> 6;
	in->reg = (modrm >> 3 & 7) | rex_bit(in, REX_R);
	in->rm = (modrm & 7) | rex_bit(in, REX_B);
	in->mem = in->mod != 3;
}

static bool prefix_fits(unsigned wanted, const struct x86_insn *in)
{
	switch (wanted) {
	case 0: return true;
	case X86_NO_REPEAT: return !in->rep;
	case X86_NO_PREFIX: return !in->rep && !in->osize;
	case 0x66: return !in->rep && in->osize;	/* F3 and F2 are looked at first */
	default: return in->rep == wanted;
	}
}

static bool operands_fit(const struct x86_opcode *row, const struct x86_insn *in)
{
	for (unsigned i = 0; i < X86_OPERANDS; i++) {
		enum x86_operand o = row->operand[i];

		if (in->mem ? x86_operand_is_register(o) : x86_operand_is_memory(o))
			return false;
	}
	return true;
}

static bool has_vvvv(const struct x86_opcode *row)
{
	for (unsigned i = 0; i < X86_OPERANDS; i++)
		if (row->operand[i] == OP_By || row->operand[i] == OP_Hx || row->operand[i] == OP_Hqq)
			return true;
	return false;
}

static bool vex_fits(const struct x86_opcode *row, const struct x86_insn *in)
{
	uint32_t p = row->properties;

	if (!(p & P_LIG) && in->vex_l != !!(p & P_L1))
		return false;
	if ((p & P_W0 && in->vex_w) || (p & P_W1 && !in->vex_w))
		return false;
	return !in->vvvv || has_vvvv(row);	/* what names no register says so */
}

static bool exists(const struct x86_opcode *row, const struct x86_insn *in)
{
	if (in->vex && !vex_fits(row, in))
		return false;
	return !(row->properties & (in->bits == 64 ? P_I64 : P_O64));
}

/*
 * The row of the instruction.  64-bit mode's gaps are found where nothing else
 * is: such an instruction is fetched to its end before it is refused.
 */
static const struct x86_opcode *find_row(const struct x86_insn *in)
{
	const struct x86_opcode *gap = NULL;
	unsigned i = first_row[in->map - 1][in->opcode];

	/* 90 with REX.B is XCHG r8, rAX like its neighbours. */
	if (in->map == X86_MAP_1 && in->opcode == 0x90 && in->rex & REX_B)
		i = first_row[in->map - 1][0x91];
	for (; i != NO_ROW; i = next_row[i]) {
		const struct x86_opcode *row = &x86_opcodes[i];

		if ((row->ext >= 0 && row->ext != (in->reg & 7)) || !prefix_fits(row->prefix, in) || !operands_fit(row, in))
			continue;
		if (exists(row, in))
			return row;
		gap = row;
	}
	return gap;
}

static void get_far_pointer(struct reader *r, struct x86_insn *in)
{
	in->imm_at = r->at;
	in->imm_bytes = in->opsize + 2;
	in->imm = get(r, in->opsize);
	in->imm2 = get(r, 2);
}

static void get_moffs(struct reader *r, struct x86_insn *in)
{
	in->mem = true;
	in->disp_at = r->at;
	in->disp_bytes = in->adsize;
	in->imm = get(r, in->adsize);
	in->disp = (int32_t)in->imm;
}

static void get_relative(struct reader *r, struct x86_insn *in, unsigned n)
{
	in->disp_at = r->at;
	in->disp_bytes = n;
	in->disp = get_signed(r, n);
}

static void get_immediate(struct reader *r, struct x86_insn *in, unsigned n, bool sign)
{
	if (in->imm_bytes) {			/* the second one: ENTER */
		in->imm2 = get(r, n);
		in->imm_bytes += n;
		return;
	}
	in->imm_at = r->at;
	in->imm_bytes = n;
	in->imm = sign ? (uint64_t)get_signed(r, n) : get(r, n);
}

static void get_operand(struct reader *r, struct x86_insn *in, enum x86_operand o)
{
	switch (o) {
	case OP_Ib: get_immediate(r, in, 1, false); break;
	case OP_L: get_immediate(r, in, 1, false); in->imm &= in->bits == 64 ? 0xff : 0x7f; break;
	case OP_sIb: get_immediate(r, in, 1, true); break;
	case OP_Iw: get_immediate(r, in, 2, false); break;
	case OP_Iz: get_immediate(r, in, in->opsize == 8 ? 4 : in->opsize, true); break;
	case OP_Iv: get_immediate(r, in, in->opsize, true); break;
	case OP_Jb: get_relative(r, in, 1); break;
	case OP_Jz: get_relative(r, in, in->opsize == 8 ? 4 : in->opsize); break;
	case OP_Ob: case OP_Ov: get_moffs(r, in); break;
	case OP_Ap: get_far_pointer(r, in); break;
	case OP_Rd: in->mem = false; break;
	case OP_Zb: case OP_Zv: in->reg = (in->opcode & 7) | rex_bit(in, REX_B); break;
	/* There are eight of these; REX's bit says nothing. */
	case OP_Sw: case OP_Pq: in->reg &= 7; break;
	case OP_Qq: case OP_Qd: case OP_Nq: case OP_STi: in->rm &= 7; break;
	default: break;
	}
}

static uint8_t effective_segment(const struct x86_insn *in)
{
	if (in->override != X86_NO_SEG)
		return in->override;
	return in->mem && (in->base == X86_RBP || in->base == X86_RSP) ? X86_SS : X86_DS;
}

static bool lock_allowed(const struct x86_opcode *row, const struct x86_insn *in)
{
	return row->properties & P_LOCK && in->mem;
}

/* 0F, 0F 38 and 0F 3A. */
static void get_escapes(struct reader *r, struct x86_insn *in)
{
	if (in->opcode != 0x0f)
		return;
	in->map = X86_MAP_0F;
	in->opcode = get(r, 1);
	if (r->error || (in->opcode != 0x38 && in->opcode != 0x3a))
		return;
	in->map = in->opcode == 0x38 ? X86_MAP_0F38 : X86_MAP_0F3A;
	in->opcode = get(r, 1);
}

/* C5 and C4: outside of 64-bit mode only where LDS and LES would name a register. */
static bool is_vex(const struct reader *r, const struct x86_insn *in)
{
	return (in->opcode & 0xfe) == 0xc4 && (in->bits == 64 || (r->at < r->avail && r->bytes[r->at] >= 0xc0));
}

/* It stands for a mandatory prefix, the escape and REX, which may not stand before it. */
static bool get_vex(struct reader *r, struct x86_insn *in)
{
	static const uint8_t repeats[] = { 0, 0, 0xf3, 0xf2 };
	bool three = in->opcode == 0xc4, w;
	uint8_t first, last, map;

	if (in->rep || in->osize || in->lock || in->rex)
		return false;
	first = get(r, 1);
	last = three ? get(r, 1) : first;
	map = three ? first & 0x1f : 1;
	w = three && last >> 7;
	in->opcode = get(r, 1);
	if (r->error || map < 1 || map > 3)
		return false;
	in->vex = true;
	in->vex_l = last >> 2 & 1;
	in->vex_w = w;
	in->vvvv = ~last >> 3 & 15;
	in->osize = (last & 3) == 1;
	in->rep = repeats[last & 3];
	in->map = X86_MAP_VEX_0F + map - 1;
	if (in->bits == 64)
		in->rex = 0x40 | (w ? REX_W : 0) | (first & 0x80 ? 0 : REX_R) | (three ? ~first >> 5 & 3 : 0);
	in->opsize = in->bits == 64 && w ? 8 : 4;
	return true;
}

/* The map of `in`'s register forms, or 0. */
static unsigned register_map(const struct x86_insn *in)
{
	if (in->map == X86_MAP_1 && in->opcode >= 0xd8 && in->opcode <= 0xdf)
		return X86_MAP_D8 + in->opcode - 0xd8;
	return in->map == X86_MAP_0F && in->opcode == 0x01 ? X86_MAP_0F01 : 0;
}

static bool needs_modrm(const struct x86_insn *in)
{
	return has_modrm[in->map - 1][in->opcode] || register_map(in);
}

static void modrm_as_opcode(struct x86_insn *in, uint8_t modrm)
{
	unsigned map = register_map(in);

	if (!map || in->mem || first_row[map - 1][modrm] == NO_ROW)
		return;
	in->map = map;
	in->opcode = modrm;
}

static void get_address(struct reader *r, struct x86_insn *in, bool vector)
{
	if (!in->has_modrm || !in->mem)
		return;
	if (in->adsize == 2)
		get_address16(r, in);
	else
		get_address32(r, in, vector);
}

static bool is_gather(const struct x86_opcode *row)
{
	return x86_operand_is_gathered(row->operand[1]);
}

/* There is a vector of indices, and it, the mask and the destination are different registers. */
static bool gather_allowed(const struct x86_insn *in)
{
	return in->adsize != 2 && (in->rm & 7) == X86_RSP
		&& in->reg != in->index && in->reg != in->vvvv && in->index != in->vvvv;
}

/* No row: what is known of its length is fetched all the same. */
static enum x86_decode_result refuse(struct reader *r, struct x86_insn *in)
{
	get_address(r, in, false);
	return r->error ? r->error : X86_DECODE_UD;
}

enum x86_decode_result x86_decode(const uint8_t *bytes, size_t avail, unsigned bits, struct x86_insn *in)
{
	struct reader r = { .bytes = bytes, .avail = avail < X86_INSN_MAX ? avail : X86_INSN_MAX };
	const struct x86_opcode *row;

	pthread_once(&index_once, build_index);
	*in = (struct x86_insn){ .map = X86_MAP_1, .bits = bits, .base = X86_NO_REG, .index = X86_NO_REG };
	if (!get_prefixes(&r, in))
		return r.error;
	if (is_vex(&r, in)) {
		if (!get_vex(&r, in))
			return r.error ? r.error : X86_DECODE_UD;
	} else {
		get_escapes(&r, in);
	}
	if (r.error)
		return r.error;
	if (needs_modrm(in)) {
		get_modrm(&r, in);
		if (r.error)
			return r.error;
		modrm_as_opcode(in, bytes[r.at - 1]);
	}
	row = find_row(in);
	if (!row)
		return refuse(&r, in);
	in->row = row - x86_opcodes;
	adjust_opsize(row, in);
	if (row->operand[0] == OP_Rd || row->operand[1] == OP_Rd)
		in->mem = false;
	get_address(&r, in, is_gather(row));
	for (unsigned i = 0; i < X86_OPERANDS; i++)
		get_operand(&r, in, row->operand[i]);
	if (r.error)
		return r.error;
	if (!exists(row, in) || (in->lock && !lock_allowed(row, in)))
		return X86_DECODE_UD;
	if (bits != 64)
		in->vvvv &= 7;			/* eight registers; but what names none must have all four bits */
	if (is_gather(row) && !gather_allowed(in))
		return X86_DECODE_UD;
	in->seg = effective_segment(in);
	in->len = r.at;
	return X86_DECODE_OK;
}

unsigned x86_operand_bytes(enum x86_operand o, unsigned opsize)
{
	switch (o) {
	case OP_Eb: case OP_Gb: case OP_Zb: case OP_Ib: case OP_Ob: case OP_Xb: case OP_Yb: case OP_AL: case OP_CL:
	case OP_Mb: case OP_EdMb: case OP_Wb:
		return 1;
	case OP_Ew: case OP_Gw: case OP_Iw: case OP_Sw: case OP_DX: case OP_Mw: case OP_EdMw: case OP_Ww:
		return 2;
	case OP_Ed:
		return 4;
	case OP_Ev: case OP_Gv: case OP_Zv: case OP_sIb: case OP_Iz: case OP_Iv: case OP_Ov: case OP_Xv: case OP_Yv:
	case OP_rAX: case OP_EvMw: case OP_Mv: case OP_Rv:
		return opsize;
	case OP_Xz: case OP_Yz: case OP_zAX:
		return opsize > 4 ? 4 : opsize;
	case OP_Rd: case OP_Cd: case OP_Dd: case OP_Md: case OP_Wd: case OP_Qd: case OP_EdMd:
		return 4;
	case OP_Ey: case OP_Gy: case OP_My: case OP_By:
		return opsize == 8 ? 8 : 4;
	case OP_Wx: case OP_Wu: case OP_Mx: case OP_Mu: case OP_Vx: case OP_Ux: case OP_X0:
	case OP_Hx:
		return 16;
	case OP_Wqq: case OP_Wqa: case OP_Mqq: case OP_Mqa: case OP_Vqq: case OP_Uqq: case OP_Hqq:
		return 32;
	case OP_Mt: case OP_ST0: case OP_STi:
		return 10;
	case OP_Ma:
		return 2 * opsize;
	case OP_Mp:
		return opsize + 2;
	case OP_Mqo:
		return opsize == 8 ? 16 : 8;	/* CMPXCHG8B and, with REX.W, CMPXCHG16B */
	case OP_Mq: case OP_Wq: case OP_Qq: case OP_Pq: case OP_Nq:
		return 8;
	case OP_Ms:
		return 6;
	default:
		return 0;
	}
}
