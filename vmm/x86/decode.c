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
	FM_OSAP = FM_OS | FM_A | FM_P,
	FM_OSAPC = FM_OSAP | FM_C,
	FM_OSZAPCDI = FM_OSZAPC | FM_D | FM_I,
};

#define _0	0		/* no property */
enum { EXT__ = -1, EXT_0, EXT_1, EXT_2, EXT_3, EXT_4, EXT_5, EXT_6, EXT_7 };
enum { PFX__ = 0, PFX_66 = 0x66, PFX_F2 = 0xf2, PFX_F3 = 0xf3 };
enum { KIND_F = 0, KIND_P = 1 };

const struct x86_opcode x86_opcodes[] = {
#define X(map_, op_, ext_, pfx_, kind_, mn_, h_, a_, b_, c_, r_, w_, u_, p_, t_) \
	{ .mnemonic = #mn_, .handler = #h_, .map = map_, .opcode = op_, .ext = EXT_##ext_, .prefix = PFX_##pfx_, \
	  .plain = KIND_##kind_, .operand = { OP_##a_, OP_##b_, OP_##c_ }, \
	  .read = FM_##r_, .written = FM_##w_, .undefined = FM_##u_, .properties = p_, .treatment = t_ },
#include "vmm/x86/opcodes.def"
#undef X
};
#undef _0

const unsigned x86_opcode_rows = sizeof(x86_opcodes) / sizeof(x86_opcodes[0]);

enum { MAPS = 2, NO_ROW = 0xffff };

static uint16_t first_row[MAPS][256];			/* rows by opcode */
static uint16_t next_row[sizeof(x86_opcodes) / sizeof(x86_opcodes[0])];
static bool has_modrm[MAPS][256];
static pthread_once_t index_once = PTHREAD_ONCE_INIT;

static bool operand_in_modrm(enum x86_operand o)
{
	return o >= OP_E && o <= OP_Dd;
}

static bool row_has_modrm(const struct x86_opcode *row)
{
	return row->ext >= 0 || operand_in_modrm(row->operand[0]) || operand_in_modrm(row->operand[1]);
}

static void index_row(unsigned i)
{
	const struct x86_opcode *row = &x86_opcodes[i];
	unsigned span = row->properties & P_SPAN8 ? 8 : row->properties & P_SPAN7 ? 7 : 1;

	next_row[i] = NO_ROW;
	for (unsigned op = row->opcode; op < row->opcode + span; op++) {
		uint16_t *at = &first_row[row->map - 1][op];

		has_modrm[row->map - 1][op] |= row_has_modrm(row);
		if (row->prefix) {			/* looked at before those without */
			assert(span == 1);
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

	return n == 1 ? (int8_t)v : n == 2 ? (int16_t)v : (int32_t)v;
}

static bool get_prefixes(struct reader *r, unsigned bits, struct x86_insn *in)
{
	bool other_op = false, other_ad = false;

	in->override = X86_NO_SEG;
	for (;;) {
		in->opcode = get(r, 1);
		if (r->error)
			return false;
		switch (in->opcode) {
		case 0x26: in->override = X86_ES; continue;
		case 0x2e: in->override = X86_CS; continue;
		case 0x36: in->override = X86_SS; continue;
		case 0x3e: in->override = X86_DS; continue;
		case 0x64: in->override = X86_FS; continue;
		case 0x65: in->override = X86_GS; continue;
		case 0x66: other_op = true; continue;
		case 0x67: other_ad = true; continue;
		case 0xf0: in->lock = true; continue;
		case 0xf2: case 0xf3: in->rep = in->opcode; continue;
		}
		break;
	}
	in->opsize = (bits == 32) != other_op ? 4 : 2;
	in->adsize = (bits == 32) != other_ad ? 4 : 2;
	return true;
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

static void get_address32(struct reader *r, struct x86_insn *in)
{
	in->base = in->rm;
	if (in->rm == X86_RSP) {
		uint8_t sib = get(r, 1);

		in->base = sib & 7;
		in->scale = sib >> 6;
		if ((sib >> 3 & 7) != X86_RSP)
			in->index = sib >> 3 & 7;
	}
	in->disp_bytes = in->mod == 1 ? 1 : in->mod == 2 ? 4 : 0;
	if (in->mod == 0 && in->base == X86_RBP) {
		in->base = X86_NO_REG;
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
	in->reg = modrm >> 3 & 7;
	in->rm = modrm & 7;
	in->mem = in->mod != 3;
}

static const struct x86_opcode *find_row(const struct x86_insn *in)
{
	unsigned i = first_row[in->map - 1][in->opcode];

	for (; i != NO_ROW; i = next_row[i]) {
		const struct x86_opcode *row = &x86_opcodes[i];

		if (row->ext >= 0 && row->ext != in->reg)
			continue;
		if (row->prefix && row->prefix != in->rep && !(row->prefix == 0x66 && in->opsize == 2))
			continue;
		return row;
	}
	return NULL;
}

/* Which register forms an operand kind refuses. */
static bool operand_fits(enum x86_operand o, const struct x86_insn *in)
{
	return !(o >= OP_M && o <= OP_Ms) || in->mem;
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
	in->disp = (int32_t)get(r, in->adsize);
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
	case OP_sIb: get_immediate(r, in, 1, true); break;
	case OP_Iw: get_immediate(r, in, 2, false); break;
	case OP_Iz: case OP_Iv: get_immediate(r, in, in->opsize, true); break;
	case OP_Jb: get_relative(r, in, 1); break;
	case OP_Jz: get_relative(r, in, in->opsize); break;
	case OP_Ob: case OP_Ov: get_moffs(r, in); break;
	case OP_Ap: get_far_pointer(r, in); break;
	case OP_Rd: in->mem = false; break;
	case OP_Zb: case OP_Zv: in->reg = in->opcode & 7; break;
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

enum x86_decode_result x86_decode(const uint8_t *bytes, size_t avail, unsigned bits, struct x86_insn *in)
{
	struct reader r = { .bytes = bytes, .avail = avail < X86_INSN_MAX ? avail : X86_INSN_MAX };
	const struct x86_opcode *row;

	pthread_once(&index_once, build_index);
	*in = (struct x86_insn){ .map = 1, .base = X86_NO_REG, .index = X86_NO_REG };
	if (!get_prefixes(&r, bits, in))
		return r.error;
	if (in->opcode == 0x0f) {
		in->map = 2;
		in->opcode = get(&r, 1);
		if (r.error)
			return r.error;
	}
	if (first_row[in->map - 1][in->opcode] == NO_ROW)
		return X86_DECODE_UD;
	if (has_modrm[in->map - 1][in->opcode]) {
		get_modrm(&r, in);
		if (r.error)
			return r.error;
	}
	row = find_row(in);
	if (!row)
		return X86_DECODE_UD;
	in->row = row - x86_opcodes;
	for (unsigned i = 0; i < 3; i++)
		if (!operand_fits(row->operand[i], in))
			return X86_DECODE_UD;
	if (row->operand[0] == OP_Rd || row->operand[1] == OP_Rd)
		in->mem = false;
	if (in->has_modrm && in->mem) {
		if (in->adsize == 2)
			get_address16(&r, in);
		else
			get_address32(&r, in);
	}
	for (unsigned i = 0; i < 3; i++)
		get_operand(&r, in, row->operand[i]);
	if (r.error)
		return r.error;
	if (in->lock && !lock_allowed(row, in))
		return X86_DECODE_UD;
	in->seg = effective_segment(in);
	in->len = r.at;
	return X86_DECODE_OK;
}

unsigned x86_operand_bytes(enum x86_operand o, unsigned opsize)
{
	switch (o) {
	case OP_Eb: case OP_Gb: case OP_Zb: case OP_Ib: case OP_Ob: case OP_Xb: case OP_Yb: case OP_AL: case OP_CL:
		return 1;
	case OP_Ew: case OP_Gw: case OP_Iw: case OP_Sw: case OP_DX:
		return 2;
	case OP_Ev: case OP_Gv: case OP_Zv: case OP_sIb: case OP_Iz: case OP_Iv: case OP_Ov: case OP_Xv: case OP_Yv:
	case OP_rAX: case OP_EvMw:
		return opsize;
	case OP_Xz: case OP_Yz: case OP_zAX:
		return opsize > 4 ? 4 : opsize;
	case OP_Rd: case OP_Cd: case OP_Dd:
		return 4;
	case OP_Ma:
		return 2 * opsize;
	case OP_Mp:
		return opsize + 2;
	case OP_Mq:
		return 8;
	case OP_Ms:
		return 6;
	default:
		return 0;
	}
}
