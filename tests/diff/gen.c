/* See gen.h.  SDM vol. 2 chapter 2: prefixes, ModRM, SIB; appendix A: operand notation. */
#include "tests/diff/gen.h"

#include <string.h>

#include "tests/random.h"
#include "vmm/x86/isa.h"

/* Values that arithmetic goes wrong at, and any others. */
static uint32_t value(void)
{
	static const uint32_t edge[] = {
		0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000,
		0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff, 31, 32, 16, 15, 0x0a, 0x99, 0x9a,
	};
	uint32_t v = chance(40) ? edge[below(sizeof(edge) / sizeof(edge[0]))] : (uint32_t)next();

	return chance(10) ? v << below(32) : v;
}

static uint64_t value64(void)
{
	static const uint64_t edge[] = {
		0x7fffffffffffffff, 0x8000000000000000, ~0ull, ~0ull - 1, 0x100000000, 0xffffffff00000000, 63, 64,
	};
	uint64_t v = chance(40) ? value() : chance(40) ? edge[below(sizeof(edge) / sizeof(edge[0]))] : next();

	return chance(10) ? (uint64_t)(int32_t)value() : v;
}

unsigned gen_bits(enum host_mode m)
{
	return m == HOST_16 ? 16 : m == HOST_32 ? 32 : 64;
}

bool gen_skipped(const struct x86_opcode *row)
{
	static const char *const names[] = {
		"int", "int1",	/* a host that is itself a guest may report INT1 at the instruction */
		"cpuid", "rdrand", "rdseed", "xsave", "xsaveopt", "xsavec", "xrstor", "xgetbv", "xsetbv", "rdtsc", "rdtscp", "rdpid", "rdpmc",
		"rdfsbase", "rdgsbase", "wrfsbase", "wrgsbase", "syscall", "sysenter", "sysexit", "sysret",
		"iret", "retf", "lds", "les", "lss", "lfs", "lgs", "lar", "lsl", "verr", "verw",
		"sldt", "str", "smsw", "sgdt", "sidt", "hlt",	/* emulated, or blocked by UMIP, at the host's choice */
	};
	static const char *const handlers[] = { "pop_seg", "mov_to_seg", "call_far", "jmp_far", "call_far_mem", "jmp_far_mem", "int3" };

	if (!x86_isa_offered(x86_row_isa(row)))
		return true;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(row->mnemonic, names[i]))
			return strcmp(row->mnemonic, "hlt") != 0;
	for (unsigned i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		if (!strcmp(row->handler, handlers[i]))
			return true;
	return false;
}

/* In 64-bit mode these bytes begin longer encodings, which the host may have; IN and OUT are as in the others. */
static bool skipped_in_64(const struct x86_opcode *row)
{
	return row->map == 1 && (row->opcode == 0x62 || row->opcode == 0xc4 || row->opcode == 0xc5);
}

static bool is_string(const struct x86_opcode *row)
{
	return row->properties & (P_REP | P_REPZ);
}

static bool has_operand(const struct x86_opcode *row, enum x86_operand op)
{
	for (unsigned i = 0; i < X86_OPERANDS; i++)
		if (row->operand[i] == op)
			return true;
	return false;
}

static bool memory_only(const struct x86_opcode *row)
{
	for (unsigned i = 0; i < X86_OPERANDS; i++)
		if (x86_operand_is_memory(row->operand[i]))
			return true;
	return false;
}

static bool register_only(const struct x86_opcode *row)
{
	for (unsigned i = 0; i < X86_OPERANDS; i++)
		if (x86_operand_is_register(row->operand[i]))
			return true;
	return false;
}

static bool is_gather(const struct x86_opcode *row)
{
	return x86_operand_is_gathered(row->operand[1]);
}

struct bytes {
	uint8_t *at;
	unsigned n;
};

static void put(struct bytes *b, uint64_t v, unsigned n)
{
	for (; n && b->n < X86_INSN_MAX + 1; n--, v >>= 8)
		b->at[b->n++] = v;
}

/* A relative target or a pointer to code: mostly in the code page, at an INT3; never in the data area, which only the host protects from execution. */
static uint32_t code_target(const struct gen_case *c)
{
	uint32_t t;

	if (chance(85))
		t = chance(50) ? below(c->at - 64) : c->at + 64 + below(HOST_CODE_BYTES - c->at - 64);
	else
		t = 0x30000000 + below(0x30000000) - HOST_CODE;
	return host_code_base(c->mode) ? t : HOST_CODE + t;
}

/* The three-byte VEX of the row, with random registers, W and sometimes what must not be. */
static uint8_t put_vex(struct bytes *b, const struct gen_case *c, const struct x86_opcode *row, const uint8_t opcode[4])
{
	bool is64 = c->mode == HOST_64, named = has_operand(row, OP_By) || has_operand(row, OP_Hx) || has_operand(row, OP_Hqq);
	uint8_t regs = is64 ? below(8) << 5 : 0, vvvv = named || chance(3) ? below(16) : 0, last = opcode[2] ^ vvvv << 3;

	if (!(row->properties & (P_W0 | P_W1)) || chance(3))
		last ^= chance(50) ? 0x80 : 0;
	if (chance(row->properties & P_LIG ? 30 : 3))
		last ^= 4;
	if (opcode[1] == 0xe1 && !(regs & 0x60) && !(last & 0x80) && chance(50)) {
		put(b, 0xc5, 1);			/* the short form */
		put(b, last ^ (regs | 0x80), 1);
		return is64 ? 0x40 | regs >> 5 : 0;
	}
	put(b, opcode[0], 1);
	put(b, (opcode[1] ^ regs) & 0xff, 1);
	put(b, last, 1);
	return is64 ? 0x40 | regs >> 5 | (last & 0x80 ? 8 : 0) : 0;
}

static void encode(struct gen_case *c, const struct x86_opcode *row, bool *op66, bool *ad67)
{
	/* FS last: in 64-bit mode it is the process's own thread pointer */
	static const uint8_t segments[] = { 0x26, 0x2e, 0x36, 0x3e, 0x65, 0x64 };
	bool is64 = c->mode == HOST_64;
	bool vex = x86_row_is_vex(row);
	uint8_t rex = is64 && chance(vex ? 2 : 60) ? 0x40 | below(16) : 0;
	struct bytes b = { c->bytes, 0 };
	uint8_t opcode[4];
	unsigned opsize, adsize, escapes = x86_opcode_bytes(row, opcode);
	/* Where F2 and F3 are not ignored: TZCNT and the like; LOOPE and LOOPNE, which take it for their own on AMD's. */
	bool no_rep = (row->map == 2 && row->opcode >= 0xb8 && row->opcode <= 0xbd)
		|| (row->map == 1 && (row->opcode == 0x90 || row->opcode == 0xe0 || row->opcode == 0xe1));

	*op66 = chance(vex ? 2 : 25) && !(is64 && row->properties & P_F64);	/* AMD's branch to 16 bits then, Intel's ignore it */
	*ad67 = chance(is_string(row) ? 8 : 15);
	if (*op66)
		put(&b, 0x66, 1);
	if (*ad67)
		put(&b, 0x67, 1);
	if (chance(12))
		put(&b, segments[chance(90) ? below(4) : 4 + below(is64 ? 1 : 2)], 1);
	if (chance(row->properties & P_LOCK ? 20 : 1) && !(row->map == 2 && row->opcode >= 0x20 && row->opcode <= 0x23))	/* AMD's LOCK MOV CR0 is CR8 */
		put(&b, 0xf0, 1);
	if (vex || row->prefix == X86_NO_PREFIX || row->prefix == X86_NO_REPEAT)
		;
	else if (row->prefix)
		put(&b, row->prefix, 1);
	else if (is_string(row) ? chance(60) : !no_rep && row->map == 1 && chance(3))
		put(&b, chance(50) ? 0xf3 : 0xf2, 1);
	if (rex)
		put(&b, rex, 1);
	opsize = (c->mode == HOST_16) == *op66 ? 4 : 2;
	adsize = (c->mode == HOST_16) == *ad67 ? 4 : 2;
	if (is64) {
		opsize = rex & 8 ? 8 : *op66 ? 2 : 4;
		if (row->properties & P_F64 || (row->properties & P_DF64 && opsize == 4))
			opsize = 8;
		adsize = *ad67 ? 4 : 8;
	}

	if (vex)
		rex = put_vex(&b, c, row, opcode);
	else
		for (unsigned i = 0; i + 1 < escapes; i++)
			put(&b, opcode[i], 1);
	put(&b, row->opcode + (row->properties & P_SPAN8 ? below(8) : row->properties & P_SPAN7 ? below(7) : 0), 1);
	if (x86_opcode_has_modrm(row)) {
		/* With a register, 0F 01 is another set of instructions, and 62 a longer prefix. */
		bool never = row->opcode == (row->map == 2 ? 0x01 : 0x62);
		unsigned mod = register_only(row) ? 3 : memory_only(row) ? (!never && chance(3) ? 3 : below(3)) : below(4);
		unsigned rm = is_gather(row) && chance(97) ? 4 : below(8), reg = row->ext >= 0 ? (unsigned)row->ext : below(8);

		put(&b, mod << 6 | reg << 3 | rm, 1);
		if (mod != 3 && adsize >= 4) {
			unsigned base = rm;

			if (rm == 4) {
				base = below(8);
				put(&b, below(4) << 6 | below(8) << 3 | base, 1);
			}
			if (mod == 1)
				put(&b, next(), 1);
			else if (mod == 2 || (mod == 0 && base == 5))
				put(&b, chance(50) ? (uint64_t)HOST_DATA + below(HOST_DATA_BYTES) : value(), 4);
		} else if (mod != 3) {
			if (mod == 1)
				put(&b, next(), 1);
			else if (mod == 2 || (mod == 0 && rm == 6))
				put(&b, next(), 2);
		}
	}
	for (unsigned i = 0; i < X86_OPERANDS; i++) {
		uint32_t end;

		switch (row->operand[i]) {
		case OP_L: put(&b, next(), 1); break;
		case OP_Ib: case OP_sIb: put(&b, chance(50) ? value() : next(), 1); break;
		case OP_Iw: put(&b, row->opcode == 0xc8 || row->opcode == 0xc2 ? below(chance(90) ? 256 : 65536) : value(), 2); break;
		case OP_Iz: put(&b, value(), opsize == 8 ? 4 : opsize); break;
		case OP_Iv: put(&b, value64(), opsize); break;
		case OP_Ob: case OP_Ov: put(&b, host_data_base(c->mode) ? next() : HOST_DATA + below(HOST_DATA_BYTES), adsize); break;
		case OP_Ap: put(&b, next(), opsize); put(&b, next(), 2); break;
		case OP_Jb:
			/* Not back into the instruction: that could loop. */
			put(&b, chance(50) ? below(128) : 0x80 + below(96), 1);
			break;
		case OP_Jz:
			if (opsize == 8)
				opsize = 4;
			end = c->at + b.n + opsize + (host_code_base(c->mode) ? 0 : HOST_CODE);
			put(&b, code_target(c) - end, opsize);
			break;
		default: break;
		}
	}
	c->len = b.n;
}

static uint32_t data_offset(void)
{
	switch (below(12)) {
	case 0: return HOST_DATA_BYTES - 1 - below(8);	/* at the limit, or the end of what is mapped */
	case 1: return below(8);
	case 2: return 0x1000 * (1 + below(14)) - below(8);	/* over a page's end */
	default: return 64 + below(HOST_DATA_BYTES - 4096);
	}
}

/* rIP-relative: the displacement in the bytes. */
static void aim_rip(struct gen_case *c, const struct x86_insn *in, uint32_t target)
{
	uint32_t disp = target - (HOST_CODE + c->at + in->len);

	memcpy(c->bytes + in->disp_at, &disp, 4);
}

/* Registers such that the memory operand lies in the data area, where the addressing form leaves the freedom. */
static void aim(struct gen_case *c, const struct x86_insn *in)
{
	uint64_t target = data_offset() + (host_data_base(c->mode) ? 0 : HOST_DATA);
	uint64_t other = 0;

	if (in->base == X86_REG_RIP) {
		aim_rip(c, in, target);
		return;
	}
	if (in->index != X86_NO_REG)
		other = c->gpr[in->index] << in->scale;
	if (in->base != X86_NO_REG && in->base != in->index)
		c->gpr[in->base] = target - other - in->disp;
	else if (in->base == X86_NO_REG && in->index != X86_NO_REG && in->scale == 0)
		c->gpr[in->index] = target - in->disp;
}

uint64_t gen_ea(const struct gen_case *c, const struct x86_insn *in)
{
	uint64_t ea = (int64_t)in->disp;

	if (in->base == X86_REG_RIP)
		ea += HOST_CODE + c->at + in->len;
	else if (in->base != X86_NO_REG)
		ea += c->gpr[in->base];
	if (in->index != X86_NO_REG)
		ea += c->gpr[in->index] << in->scale;
	return in->adsize == 2 ? (uint16_t)ea : in->adsize == 4 ? (uint32_t)ea : ea;
}

/* ---- floating point */

static uint64_t mantissa(void)
{
	switch (below(6)) {
	case 0: return 0;
	case 1: return ~0ull;
	case 2: return 1ull << below(64);
	case 3: return ~0ull << below(64);
	default: return next();
	}
}

/* Sign and exponent around everything that is special, of a format with so many bits of exponent. */
static uint32_t exponent(unsigned bits)
{
	uint32_t max = (1u << bits) - 1, bias = max >> 1, e;

	switch (below(12)) {
	case 0: e = 0; break;
	case 1: e = max; break;
	case 2: e = 1 + below(3); break;
	case 3: e = max - 1 - below(3); break;
	case 4: e = next() & max; break;
	default: e = bias - 70 + below(140); break;
	}
	return (e & max) | (chance(50) ? 1u << bits : 0);
}

static void put_real(uint8_t *to)
{
	uint64_t m = mantissa();
	uint16_t e = exponent(15);

	if (chance(90) && (e & 0x7fff))
		m |= 1ull << 63;		/* else an unnormal */
	memcpy(to, &m, 8);
	memcpy(to + 8, &e, 2);
}

/* Eight bytes as two singles, a double, or anything. */
static uint64_t vector_word(void)
{
	uint64_t lo, hi;

	switch (below(4)) {
	case 0:
		return next();
	case 1:
		lo = exponent(8) << 23 | (mantissa() >> 41);
		hi = exponent(8) << 23 | (mantissa() >> 41);
		return lo | hi << 32;
	case 2:
		return (uint64_t)exponent(11) << 52 | mantissa() >> 12;
	default:
		return value() | (uint64_t)value() << 32;
	}
}

static void fpu_state(struct gen_case *c, uint8_t *data)
{
	struct x86_fxsave *f = &c->fpu;

	memset(f, 0, sizeof(*f));
	f->fcw = 0x037f & ~(chance(30) ? (uint16_t)(next() & 0x33f) : 0);
	f->fcw |= chance(50) ? below(4) << 10 : 0;
	f->fsw = (below(8) << 11) | (chance(50) ? next() & 0x4700 : 0) | (chance(30) ? next() & 0x7f & f->fcw : 0);
	if (chance(3))
		f->fsw |= next() & 0x3f;
	if (f->fsw & ~f->fcw & X86_FCW_MASKS)
		f->fsw |= 0x8080;
	f->ftw = chance(60) ? 0xff : next();
	f->mxcsr = X86_MXCSR_RESET | (chance(50) ? below(4) << 13 : 0) | (chance(20) ? 0x8000 : 0) | (chance(20) ? 0x40 : 0)
		| (chance(30) ? next() & 0x3f : 0);
	if (chance(25))
		f->mxcsr &= ~(next() & 0x1f80);
	for (unsigned i = 0; i < 8; i++)
		put_real(f->st[i]);
	for (unsigned i = 0; i < 16; i++)
		for (unsigned j = 0; j < 16; j += 8) {
			uint64_t v = i < 8 || c->mode == HOST_64 ? vector_word() : 0;

			memcpy(f->xmm[i] + j, &v, 8);
			v = i < 8 || c->mode == HOST_64 ? vector_word() : 0;
			memcpy(c->ymm_high[i] + j, &v, 8);
		}
	/* Memory operands worth computing with: all over the data. */
	for (unsigned at = below(64); at + 16 <= HOST_DATA_BYTES; at += 16 + below(512)) {
		uint64_t v = vector_word();

		if (chance(30))
			put_real(data + at);
		else
			memcpy(data + at, &v, 8);
	}
}

/* Of the code's width; sometimes one that is not canonical. */
static uint64_t wide_target(const struct gen_case *c)
{
	return code_target(c) | (c->mode == HOST_64 && chance(8) ? 1ull << (47 + below(16)) : 0);
}

static void stack_word(struct gen_case *c, uint8_t *data, uint64_t v)
{
	uint64_t at = c->gpr[4] - (host_data_base(c->mode) ? 0 : HOST_DATA);

	if (at <= HOST_DATA_BYTES - 8)
		memcpy(data + at, &v, c->mode == HOST_64 ? 8 : 4);
}

/* 16 and 32-bit code sees half of the registers' bits. */
static void narrow(struct gen_case *c)
{
	for (int i = 0; i < 16; i++)
		c->gpr[i] = i < 8 ? (uint32_t)c->gpr[i] : 0;
}

/* Bits of rCX that the address size does not count in. */
static uint64_t unused_bits(const struct gen_case *c, const struct x86_insn *in)
{
	if (in->adsize == 2)
		return value() & 0xffff0000;
	return c->mode == HOST_64 && in->adsize == 4 ? next() << 32 : 0;
}

/* ---- vectors of indices, masks */

static void set_vector(struct gen_case *c, unsigned reg, unsigned i, unsigned size, uint64_t v)
{
	uint8_t *half = i * size < 16 ? c->fpu.xmm[reg] : c->ymm_high[reg];

	memcpy(half + i * size % 16, &v, size);
}

/* Indices that reach the data, seldom behind it; and a mask of which some elements are set. */
static void aim_gather(struct gen_case *c, const struct x86_insn *in, uint32_t base)
{
	const struct x86_opcode *row = &x86_opcodes[in->row];
	unsigned isize = row->opcode & 1 ? 8 : 4, esize = row->properties & P_W1 ? 8 : 4;
	uint64_t from = base + 0x8000 - (int64_t)in->disp;

	if (in->base != X86_NO_REG)
		c->gpr[in->base] = from;
	for (unsigned i = 0; i < 32 / isize; i++) {
		int64_t at = chance(85) ? (int64_t)below(HOST_DATA_BYTES) - 0x8000 : (int64_t)data_offset() - 0x8000;

		if (in->base == X86_NO_REG)
			at += from;
		set_vector(c, in->index, i, isize, chance(97) ? (uint64_t)(at >> in->scale) : next());
	}
	for (unsigned i = 0; i < 32 / esize; i++)
		set_vector(c, in->vvvv, i, esize, chance(65) ? ~0ull : next());
}

static bool is_masked(const struct x86_opcode *row)
{
	return strstr(row->handler, "_masked");
}

/* The last elements may lie behind the data, where some mask has left them out. */
static void aim_masked(struct gen_case *c, const struct x86_insn *in, uint32_t base)
{
	unsigned n = in->vex_l ? 32 : 16, size = strstr(x86_opcodes[in->row].handler, "64") ? 8 : 4;
	uint64_t ea = chance(70) ? base + HOST_DATA_BYTES - n + size * below(n / size) : base + data_offset();
	bool short_mask = chance(50);

	if (in->base != X86_NO_REG && in->index == X86_NO_REG && in->base != X86_REG_RIP)
		c->gpr[in->base] = ea - in->disp;
	for (unsigned i = 0; i < n / size; i++)
		set_vector(c, in->vvvv, i, size, short_mask && i >= n / size / 2 ? next() >> 1 & 0x7fffffff7fffffff : next());
}

/* Operands that make the instruction do something. */
static void steer(struct gen_case *c, uint8_t *data, const struct x86_insn *in, uint32_t base)
{
	const struct x86_opcode *row = &x86_opcodes[c->row];

	if (is_string(row)) {
		c->gpr[6] = base + data_offset();
		c->gpr[7] = base + data_offset();
		if (chance(90))
			c->gpr[1] = chance(50) ? below(24) : below(24) | unused_bits(c, in);
		else if (in->adsize >= 4)
			c->gpr[1] = below(3000);
	}
	if (in->mem && in->has_modrm && is_gather(&x86_opcodes[in->row]))
		aim_gather(c, in, base);
	else if (in->mem && in->has_modrm && chance(95))
		aim(c, in);
	if (is_masked(&x86_opcodes[in->row]) && chance(50))
		aim_masked(c, in, base);
	if (!strcmp(row->mnemonic, "xlat"))
		c->gpr[3] = base + data_offset();
	if (!strcmp(row->mnemonic, "bt") || !strcmp(row->mnemonic, "bts") || !strcmp(row->mnemonic, "btr") || !strcmp(row->mnemonic, "btc"))
		if (in->mem && in->reg != in->base && in->reg != in->index && in->reg != 4 && chance(90))
			c->gpr[in->reg] = (int64_t)below(2048) - 1024;
	if (!strcmp(row->mnemonic, "div") || !strcmp(row->mnemonic, "idiv"))
		if (chance(70))		/* else nearly all of them overflow */
			c->gpr[2] = chance(50) ? 0 : in->opsize == 8 ? (uint64_t)((int64_t)c->gpr[0] >> 63) : (uint32_t)((int32_t)c->gpr[0] >> 31);
	if (!strcmp(row->mnemonic, "ret"))
		stack_word(c, data, wide_target(c));
	if (!strcmp(row->mnemonic, "popf"))
		stack_word(c, data, next() & ~(X86_RFLAGS_TF | X86_RFLAGS_AC));
	if (!strcmp(row->handler, "call_rm") || !strcmp(row->handler, "jmp_rm")
	    || (row->map == 1 && row->opcode == 0xff && (row->ext == 2 || row->ext == 4))) {
		if (!in->mem) {
			c->gpr[in->rm] = wide_target(c);
		} else if (in->mem) {
			uint64_t ea = gen_ea(c, in) - base, t = wide_target(c);

			if (ea <= HOST_DATA_BYTES - 8)
				memcpy(data + ea, &t, c->mode == HOST_64 ? 8 : 4);
		}
	}
}

void gen_case(uint64_t seed, uint64_t number, unsigned modes, struct gen_case *c, uint8_t *data)
{
	const struct x86_opcode *row;
	struct x86_insn in;
	bool op66, ad67;
	uint32_t base;

	state = seed * 0xd1342543de82ef95ull + number;
	memset(c, 0, sizeof(*c));
	for (unsigned i = 0; i < HOST_DATA_BYTES; i += 4096) {	/* a cheap fill, other in each page */
		uint64_t x = next();

		for (unsigned j = 0; j < 4096; j += 8, x = x * 6364136223846793005ull + 1442695040888963407ull)
			memcpy(data + i + j, &x, 8);
	}
	do
		c->mode = below(HOST_MODES);
	while (!(modes & 1u << c->mode));
	base = host_data_base(c->mode) ? 0 : HOST_DATA;
	do
		c->row = below(x86_opcode_rows);
	while (gen_skipped(&x86_opcodes[c->row]) || (c->mode == HOST_64 && skipped_in_64(&x86_opcodes[c->row])));
	row = &x86_opcodes[c->row];

	c->at = chance(5) ? HOST_CODE_BYTES - 1 - below(16) : 256 + below(HOST_CODE_BYTES - 1024);
	if (c->at > HOST_CODE_BYTES - 128 && has_operand(row, OP_Jz))
		c->at = 256;
	encode(c, row, &op66, &ad67);

	for (int i = 0; i < (c->mode == HOST_64 ? 16 : 8); i++)
		c->gpr[i] = c->mode == HOST_64 ? value64() : value();
	c->gpr[4] = base + (chance(90) ? 0x4000 + below(0x4000) : data_offset());
	if (!strcmp(row->mnemonic, "leave") || chance(20))
		c->gpr[5] = base + data_offset();
	fpu_state(c, data);
	c->rflags = 0x202 | (next() & (X86_RFLAGS_ARITH | (chance(30) ? X86_RFLAGS_DF : 0)));

	if (x86_decode(c->bytes, c->len, gen_bits(c->mode), &in) != X86_DECODE_OK)
		return;
	steer(c, data, &in, base);
	if (c->mode != HOST_64)
		narrow(c);
}
