/* See program.h.  SDM vol. 2 chapter 2. */
#include "tests/jit/program.h"

#include <string.h>

#include "tests/random.h"
#include "vmm/x86/control.h"
#include "vmm/x86/decode.h"
#include "vmm/x86/flags.h"
#include "vmm/x86/isa.h"

static uint64_t value(void)
{
	static const uint64_t edge[] = {
		0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, 0x80000000, 0xffffffff,
		0x100000000, 0x7fffffffffffffff, 0x8000000000000000, ~0ull, ~0ull - 1, 31, 32, 63, 64, 16,
	};

	return chance(40) ? edge[below(sizeof(edge) / sizeof(edge[0]))] : chance(30) ? (uint64_t)(int32_t)next() : next();
}

/* ---- which rows */

static bool is_one_of(const char *name, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(name, *list))
			return true;
	return false;
}

/* What changes the machine beyond a round, tells the time or what waits for events. */
static bool skipped(const struct x86_opcode *row)
{
	static const char *const names[] = {
		"hlt", "iret", "syscall", "sysret", "sysenter", "sysexit", "rdtsc", "rdtscp", "rdrand", "rdseed", "in", "out", "ins",
		"outs", "monitor", "mwait", "retf", "sti", "popf", "xsetbv", "xgetbv", "wbinvd", "invd", "clts", "lmsw", "xrstor",
		"xrstors", "fxrstor", "frstor", "fldenv", "fldcw", "ldmxcsr", "vldmxcsr", "rsm", "swapgs", NULL
	};
	static const char *const handlers[] = { "jmp_far", "call_far", "ret_far", "mov_to_cr", "mov_to_dr", "lgdt", "lidt", "lldt", "ltr", NULL };

	return !x86_isa_offered(x86_row_isa(row)) || row->properties & (P_I64 | P_CPL0) || is_one_of(row->mnemonic, names)
		|| is_one_of(row->handler, handlers) || (row->map == 1 && (row->opcode == 0x62 || row->opcode == 0xc4 || row->opcode == 0xc5));
}

static bool is_flow(const struct x86_opcode *row)
{
	for (unsigned i = 0; i < X86_OPERANDS; i++)
		if (row->operand[i] == OP_Jb || row->operand[i] == OP_Jz || row->operand[i] == OP_Ap)
			return true;
	return !strcmp(row->mnemonic, "ret") || (row->map == 1 && row->opcode == 0xff && row->ext >= 2 && row->ext <= 5);
}

static unsigned some_row(void)
{
	bool base = chance(60);

	for (;;) {
		unsigned r = below(x86_opcode_rows);
		const struct x86_opcode *row = &x86_opcodes[r];

		if (!skipped(row) && !is_flow(row) && (!base || (row->map <= X86_MAP_0F && x86_row_isa(row) == X86_ISA_BASE)))
			return r;
	}
}

/* ---- bytes */

static struct program *p;
static unsigned at;			/* in the window: where the next byte goes */

static uint8_t *window(unsigned off)
{
	return p->image + WORLD_WINDOW + off;
}

static void put(uint64_t v, unsigned n)
{
	for (; n; n--, v >>= 8)
		*window(at++) = v;
}

static void put_bytes(const uint8_t *b, unsigned n)
{
	memcpy(window(at), b, n);
	at += n;
}
#define PUT(...)	put_bytes((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* Registers that mostly hold addresses, and stay as they are. */
static bool is_pointer(unsigned r)
{
	return r == 4 || r == 5 || r == 6 || r == 7 || r == 11 || r == 12 || r == 15;
}

static unsigned pointer(void)
{
	static const uint8_t all[] = { 5, 6, 7, 11, 12, 15, 5, 6, 12, 4 };

	return all[below(sizeof(all))];
}

static unsigned some_reg(void)
{
	unsigned r = below(16);

	return is_pointer(r) && chance(85) ? below(16) : r;
}

static uint32_t data_at(void)
{
	static const uint8_t slots[] = {
		SLOT_DATA, SLOT_DATA, SLOT_DATA + 1, SLOT_DATA + 1, SLOT_DATA + 2, SLOT_DATA2, SLOT_STACK, SLOT_DATA, SLOT_DATA + 1, SLOT_DATA2,
	};
	uint32_t slot = slots[below(sizeof(slots))], off = below(PAGE);

	if (chance(4))
		slot = chance(25) ? SLOT_CODE + below(2) : SLOT_STACK + below(SLOT_FUEL - SLOT_STACK);
	if (chance(15))
		off = chance(50) ? below(32) : PAGE - 1 - below(40);
	else if (chance(50))
		off &= ~31u;
	return slot * PAGE + off;
}

static bool has(const struct x86_opcode *row, enum x86_operand o)
{
	for (unsigned i = 0; i < X86_OPERANDS; i++)
		if (row->operand[i] == o)
			return true;
	return false;
}

static bool any_operand(const struct x86_opcode *row, bool (*is)(enum x86_operand))
{
	for (unsigned i = 0; i < X86_OPERANDS; i++)
		if (is(row->operand[i]))
			return true;
	return false;
}

/* What a ModRM byte says: registers with their fourth bits. */
struct modrm {
	uint8_t reg, rm, mod, base, index, scale;
	bool sib, rip;
	int32_t disp;
};

static struct modrm some_operand(const struct x86_opcode *row)
{
	struct modrm m = { .reg = row->ext >= 0 ? (unsigned)row->ext : some_reg() };
	bool memory = any_operand(row, x86_operand_is_memory), reg = any_operand(row, x86_operand_is_register);

	m.mod = reg ? 3 : memory || chance(55) ? below(3) : 3;
	if (m.mod == 3) {
		m.rm = some_reg();
		return m;
	}
	m.base = chance(92) ? pointer() : below(16);
	m.sib = chance(30) || (m.base & 7) == 4 || x86_operand_is_gathered(row->operand[1]);
	m.index = chance(60) ? 9 : below(16);		/* R9 is small */
	if (!chance(50))
		m.index = 4;				/* none */
	m.scale = below(4);
	m.disp = m.mod == 1 ? (int8_t)next() : (int32_t)below(512) - 256;
	if (chance(12)) {
		m.mod = 0;
		m.sib = false;
		m.rip = true;
	} else if (m.mod == 0 && (m.base & 7) == 5) {
		m.mod = 1;
	}
	return m;
}

static void put_modrm(const struct modrm *m, unsigned *disp_at)
{
	*disp_at = 0;
	if (m->mod == 3) {
		put(0xc0 | (m->reg & 7) << 3 | (m->rm & 7), 1);
		return;
	}
	put(m->mod << 6 | (m->reg & 7) << 3 | (m->rip ? 5 : m->sib ? 4 : m->base & 7), 1);
	if (m->sib && !m->rip)
		put(m->scale << 6 | (m->index & 7) << 3 | (m->base & 7), 1);
	if (m->rip) {
		*disp_at = at;
		put(0, 4);
	} else if (m->mod) {
		put(m->disp, m->mod == 1 ? 1 : 4);
	}
}

static void put_immediates(const struct x86_opcode *row, unsigned opsize, unsigned adsize)
{
	for (unsigned i = 0; i < X86_OPERANDS; i++) {
		switch (row->operand[i]) {
		case OP_L: case OP_Ib: case OP_sIb: put(chance(40) ? below(70) : next(), 1); break;
		case OP_Iw: put(below(256), 2); break;
		case OP_Iz: put(value(), opsize == 8 ? 4 : opsize); break;
		case OP_Iv: put(value(), opsize); break;
		case OP_Ob: case OP_Ov: put((chance(70) ? WORLD_W1 : next()) + data_at(), adsize); break;
		default: break;
		}
	}
}

static unsigned operand_size(const struct x86_opcode *row, bool op66, unsigned rex)
{
	unsigned opsize = rex & 8 ? 8 : op66 ? 2 : 4;

	return row->properties & P_F64 || (row->properties & P_DF64 && opsize == 4) ? 8 : opsize;
}

static void put_insn(const struct x86_opcode *row)
{
	struct modrm m = some_operand(row);
	bool vex = x86_row_is_vex(row), modrm = x86_opcode_has_modrm(row), string = row->properties & (P_REP | P_REPZ);
	bool op66 = !vex && chance(row->prefix ? 2 : 15), ad67 = chance(4);
	unsigned low = modrm ? 0 : some_reg(), rex, n, disp_at = 0, before;
	uint8_t opcode[4];

	rex = (chance(40) ? 8 : 0) | (m.reg >> 3 & 1) << 2 | (modrm && m.mod != 3 && m.sib && !m.rip ? (m.index >> 3 & 1) << 1 : 0);
	rex |= modrm ? (m.mod == 3 ? m.rm >> 3 & 1 : m.rip ? 0 : m.base >> 3) : low >> 3;
	rex = rex || chance(20) ? 0x40 | rex : 0;
	if (op66)
		put(0x66, 1);
	if (ad67)
		put(0x67, 1);
	if (chance(5))
		put(chance(50) ? 0x64 : chance(50) ? 0x65 : 0x2e, 1);
	if (row->properties & P_LOCK && modrm && m.mod != 3 && chance(20))
		put(0xf0, 1);
	if (!vex && row->prefix > X86_NO_REPEAT)
		put(row->prefix, 1);
	else if (string && chance(60))
		put(chance(50) ? 0xf3 : 0xf2, 1);
	n = x86_opcode_bytes(row, opcode);
	if (vex) {
		unsigned vvvv = has(row, OP_By) || has(row, OP_Hx) || has(row, OP_Hqq) ? some_reg() : 0;

		put(opcode[0], 1);
		put(opcode[1] ^ (rex & 7) << 5, 1);
		put(opcode[2] ^ vvvv << 3 ^ (!(row->properties & (P_W0 | P_W1)) && rex & 8 ? 0x80 : 0), 1);
	} else {
		if (rex)
			put(rex, 1);
		put_bytes(opcode, n - 1);
	}
	put(row->opcode + (row->properties & P_SPAN8 ? low & 7 : row->properties & P_SPAN7 ? low % 7 : 0), 1);
	if (modrm)
		put_modrm(&m, &disp_at);
	put_immediates(row, operand_size(row, op66, rex), ad67 ? 4 : 8);
	if (disp_at) {
		uint32_t disp = (chance(96) ? data_at() : SLOT_CODE * PAGE + below(PAGE)) - at;

		before = at, at = disp_at;
		put(disp, 4);
		at = before;
	}
}

/* ---- the program's shape */

/* Branches whose target is chosen when all is there. */
static struct { uint16_t field; uint8_t size, from; bool back; } branch[PROGRAM_INSNS * 2];
static unsigned branches;

static void begin(void)
{
	p->insn[p->insns].at = at;
}

static void end(void)
{
	p->insn[p->insns].len = at - p->insn[p->insns].at;
	p->insns++;
}

static void put_target(unsigned size, bool back)
{
	branch[branches].field = at;
	branch[branches].size = size;
	branch[branches].from = p->insns;
	branch[branches++].back = back;
	put(0, size);
}

static uint32_t fuel(void)
{
	return SLOT_FUEL * PAGE + 64;
}

/* dec dword [fuel]; js: the end, where INT3 stands */
static void put_fuel(void)
{
	PUT(0xff, 0x0d);
	put(fuel() - (at + 4), 4);
	PUT(0x0f, 0x88);
	put_target(4, false);
	branch[branches - 1].from = PROGRAM_INSNS;	/* the last one */
}

/* A table of addresses of instructions stands in the fuel page. */
static uint32_t table(void)
{
	return SLOT_FUEL * PAGE + 1024 + 8 * below(64);
}

static void put_flow(void)
{
	bool back = chance(45);
	unsigned how = below(12);

	/* one with its fuel: nothing leads between them */
	begin();
	if (how >= 7 || back) {
		put_fuel();
		back = true;
	}
	switch (how) {
	case 0: case 1: case 2:
		PUT(0x0f, 0x80 | below(16));
		put_target(4, back);
		break;
	case 3: case 4:
		PUT(0x70 | below(16));
		put_target(1, back);
		break;
	case 5:
		PUT(chance(50) ? 0xe9 : 0xe8);
		put_target(4, back);
		break;
	case 6:
		PUT(chance(50) ? 0xeb : 0xe0 | below(4));	/* JMP, LOOPcc, JrCXZ */
		put_target(1, back);
		break;
	case 7:
		PUT(0xe8);
		put_target(4, true);
		break;
	case 8: case 9:
		if (chance(80))
			PUT(0xc3);
		else
			PUT(0xc2, 8 * below(4), 0);
		break;
	case 10:			/* jmp, call [rip + table] */
		PUT(0xff, chance(50) ? 0x25 : 0x15);
		put(table() - (at + 4), 4);
		break;
	default:			/* mov rax, [rip + table]; jmp, call rax */
		PUT(0x48, 0x8b, 0x05);
		put(table() - (at + 4), 4);
		PUT(0xff, chance(50) ? 0xe0 : 0xd0);
	}
	end();
}

/* Stores to the program itself: bytes of one instruction over another, or any. */
static void put_self_store(void)
{
	unsigned from = below(p->insns), to = below(p->insns);
	uint32_t off = p->insn[to].at, what;

	memcpy(&what, window(p->insn[from].at), 4);
	if (p->insn[from].len < p->insn[to].len || p->insn[from].len < 4 || chance(15)) {
		off += below(p->insn[to].len);
		what = value();
		begin();
		PUT(0xc6, 0x05);			/* mov byte [rip + ..], imm8 */
		put(off - (at + 5), 4);
		put(what, 1);
	} else {
		begin();
		PUT(0xc7, 0x05);
		put(off - (at + 8), 4);
		put(what, 4);
	}
	end();
}

/* lea pointer, [rip + data]; or a new small count in RCX */
static void put_aim(void)
{
	unsigned r = pointer();

	begin();
	if (chance(70)) {
		PUT(0x48 | (r >> 3) << 2, 0x8d, 0x05 | (r & 7) << 3);
		put(data_at() - (at + 4), 4);
	} else {
		PUT(0xb9);
		put(below(20), 4);
	}
	end();
}

/* ADD of a 64-bit register. */
static void put_add(unsigned to, unsigned by)
{
	begin();
	PUT(0x48 | (by >> 3) << 2 | to >> 3, 0x01, 0xc0 | (by & 7) << 3 | (to & 7));
	end();
}

/* A store, a comparison or a load of 1 to 8 bytes, or 16 that are to be aligned, at [base + index + disp]. */
static void put_step_access(unsigned base, unsigned index, unsigned disp)
{
	static const struct { uint8_t prefix, w, escape, opcode; } op[] = {
		{ 0, 0, 0, 0x88 }, { 0, 0, 0, 0x89 }, { 0, 8, 0, 0x01 }, { 0, 0, 0, 0x38 }, { 0, 8, 0, 0x3b }, { 0, 0, 0, 0x8a },
		{ 0x66, 0, 0, 0x31 }, { 0x66, 0, 0x0f, 0x6f }, { 0x66, 0, 0x0f, 0x7f }, { 0, 0, 0x0f, 0x28 }, { 0, 0, 0x0f, 0x29 }, { 0, 0, 0x0f, 0x11 },
	};
	unsigned i = below(sizeof(op) / sizeof(op[0]));

	begin();
	if (op[i].prefix)
		PUT(op[i].prefix);
	PUT(0x40 | op[i].w | (index >> 3) << 1 | base >> 3);
	if (op[i].escape)
		PUT(op[i].escape);
	PUT(op[i].opcode, 0x44 | below(4) << 3, (index & 7) << 3 | (base & 7), disp);
	end();
}

/* RDI becomes what the base is, or some steps more, and is used too. */
static void put_copy(unsigned base, unsigned step)
{
	begin();
	PUT(0x48 | (base >> 3) << 2, 0x89, 0xc7 | (base & 7) << 3);
	end();
	if (chance(60))
		put_add(7, chance(50) ? step : 14);
	put_step_access(7, 4, 16 * below(8));
}

/* A loop that goes through data by a register's steps. */
static void put_walk(void)
{
	static const uint64_t steps[] = {
		0, 1, 2, 3, 8, 16, 24, 64, 100, 585, 700, 1365, 4095, 4096, 0x2492492492492493, 0x2000000000000000, ~0ull, -64ull,
	};
	static const uint8_t by[] = { 8, 13, 14, 10 };
	const unsigned counter = 8, base = chance(50) ? 12 : 6, step = by[1 + below(3)];
	unsigned index = chance(50) ? 4 : 13, moves = index == 4 ? base : index, start, accesses = 1 + below(4);

	/* what comes behind these pages is not theirs */
	static const uint8_t last[] = { SLOT_DATA + 2, SLOT_DATA + 2, SLOT_DATA2, SLOT_STACK };
	uint32_t data = chance(40) ? data_at() : last[below(4)] * PAGE + PAGE - 16 * (1 + below(200));

	if (index == step)
		index = 4, moves = base;
	begin();
	PUT(0x48 | (base >> 3) << 2, 0x8d, 0x05 | (base & 7) << 3);
	put(data - (at + 4), 4);
	end();
	begin();
	PUT(0x49, 0xb8 | (step & 7));
	put(chance(90) ? steps[below(sizeof(steps) / sizeof(steps[0]))] : value(), 8);
	PUT(0x41, 0xb8 | counter % 8);
	put(1 + below(30), 4);
	PUT(0x45, 0x31, 0xed);				/* xor r13d, r13d */
	if (step == 13)
		PUT(0x49, 0xc7, 0xc5), put(below(200), 4);
	end();
	start = at;
	for (unsigned i = 0; i < accesses; i++) {
		put_step_access(base, index, chance(60) ? 16 * below(8) : below(128));
		if (i == 0 || chance(20))
			put_add(moves, chance(75) ? step : 13 + below(2));
		if (chance(15))
			put_copy(base, step);
		if (chance(10)) {				/* bt [base + disp], eax: the interpreter's */
			begin();
			PUT(0x40 | base >> 3, 0x0f, 0xa3, 0x44, 0x20 | (base & 7), 16 * below(8));
			end();
		}
		if (chance(10)) {				/* mov step or r14, imm32 */
			begin();
			PUT(0x49, 0xc7, 0xc0 | (chance(50) ? step & 7 : 6));
			put(chance(50) ? 16 : below(5000), 4);
			end();
		}
	}
	if (chance(15)) {
		begin();
		PUT(0x49, 0x83, 0xc0 | (step & 7), 8);	/* add step, 8 */
		end();
	}
	begin();
	put_fuel();
	PUT(0x41, 0xff, 0xc8 | counter % 8, 0x0f, 0x85);	/* dec; jnz */
	put(start - (at + 4), 4);
	end();
}

/* Many short instructions in a row. */
static void put_run(void)
{
	unsigned how = below(3), n = PROGRAM_INSNS - p->insns - 8;

	for (n = n < 28 ? n : 4 + below(25); n; n--) {
		begin();
		if (how == 0) {
			PUT(0x70 | (chance(80) ? 0 : below(16)));	/* JO mostly, which goes on */
			put_target(1, false);
		} else if (how == 1) {
			PUT(0x0f, 0xae, 0xe8);				/* LFENCE */
		} else {
			PUT(0xf8 | below(2));				/* CLC, STC */
		}
		end();
	}
}

static void put_one(unsigned *drawn)
{
	unsigned what = below(100), r;

	if (what < 4 && p->insns + 32 < PROGRAM_INSNS) {
		put_walk();
	} else if (what < 5 && p->insns + 12 < PROGRAM_INSNS) {
		put_run();
	} else if (what < 18) {
		put_flow();
	} else if (what < 23) {
		put_aim();
	} else if (what < 25 && p->insns > 3) {
		put_self_store();
	} else {
		r = some_row();
		drawn[r]++;
		begin();
		put_insn(&x86_opcodes[r]);
		end();
	}
}

static void set_targets(void)
{
	for (unsigned i = 0; i < branches; i++) {
		unsigned from = branch[i].from, to = p->insns - 1;
		int32_t rel;

		if (from < PROGRAM_INSNS)
			to = branch[i].back ? (chance(60) ? below(from + 1) : below(p->insns)) : from + 1 + below(p->insns - from - 1);
		rel = p->insn[to].at - (branch[i].field + branch[i].size);
		if (branch[i].size == 1 && rel != (int8_t)rel)
			rel = p->insn[from + 1].at - (branch[i].field + 1);
		if (chance(1))
			rel += below(4);
		memcpy(window(branch[i].field), &rel, branch[i].size);
	}
}

static void make_code(unsigned *drawn)
{
	unsigned n = 2 + below(chance(50) ? 30 : 12), first = chance(25) ? PAGE * (1 + below(2)) - below(150) : below(3) * PAGE + below(PAGE - 600);

	at = first;
	branches = p->insns = 0;
	while (p->insns < n)
		put_one(drawn);
	begin();
	put(0xcc, 1);
	end();
	set_targets();
}

/* ---- memory and rounds */

static void fill(uint32_t from, uint32_t bytes)
{
	uint64_t x = next();

	for (uint32_t i = 0; i < bytes; i += 8, x = x * 6364136223846793005ull + 1442695040888963407ull)
		memcpy(window(from + i), &x, 8);
}

static uint64_t insn_address(uint64_t base)
{
	return base + p->insn[below(p->insns)].at + (chance(99) ? 0 : 1);
}

/* A table and a stack of places in the program, for what goes where memory says. */
static void make_targets(uint64_t base)
{
	uint32_t amount = 20 + below(40);

	memcpy(window(fuel()), &amount, 4);
	for (unsigned i = 0; i < 72; i++) {
		uint64_t v = insn_address(base);

		memcpy(window(SLOT_FUEL * PAGE + 1024 + 8 * i), &v, 8);
	}
	for (unsigned i = 0; i < PAGE; i += 8) {
		uint64_t v = insn_address(base);

		if (chance(95))
			memcpy(window(SLOT_STACK * PAGE + i), &v, 8);
	}
}

/* The first spare page is as the program's first, but for a bit. */
static void make_spares(void)
{
	memcpy(window(SLOTS * PAGE), window(p->insn[0].at & ~(PAGE - 1)), PAGE);
	memcpy(window((SLOTS + 1) * PAGE), window(SLOTS * PAGE), PAGE);
	*window((SLOTS + 1) * PAGE + p->insn[p->insns / 2].at % PAGE) ^= 1 << below(8);
}

static uint64_t data_address(uint64_t base)
{
	if (chance(2))
		return next();
	return (chance(96) ? base : WORLD_W1) + data_at();
}

/* One of 0, infinity, NaN, denormals, or something between. */
static void make_fpu(struct x86_fxsave *f)
{
	f->fcw = chance(80) ? 0x37f : 0x37f & ~(next() & 0x33f);
	f->fsw = below(8) << 11;
	f->ftw = chance(60) ? 0xff : next();
	f->mxcsr = 0x1f80 | (chance(40) ? next() & 0xe07f : 0);
	if (chance(8))
		f->mxcsr &= ~(next() & 0x1f80);
	for (unsigned i = 0; i < 8; i++) {
		uint64_t m = next() | 1ull << 63;
		uint16_t e = chance(20) ? next() : 0x3ff0 + below(32);

		memcpy(f->st[i], &m, 8);
		memcpy(f->st[i] + 8, &e, 2);
	}
	for (unsigned i = 0; i < 16; i++)
		for (unsigned k = 0; k < 16; k += 8) {
			uint64_t v = chance(30) ? value() : chance(50) ? 0x3ff0000000000000 ^ next() >> 8 : 0x3f8000003f800000 ^ (next() & 0x80ffffff80ffffff);

			memcpy(f->xmm[i] + k, &v, 8);
		}
}

static void make_round(struct round *r, uint64_t base, bool user)
{
	memset(r, 0, sizeof(*r));
	r->cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_FSGSBASE | X86_CR4_PCIDE
		| (chance(94) ? X86_CR4_OSXSAVE : 0) | (chance(40) ? X86_CR4_SMAP : 0);
	r->cr0 = 0x80050033 | (chance(5) ? X86_CR0_TS : 0);
	if (chance(4))
		r->cr0 ^= X86_CR0_EM | X86_CR0_MP;
	r->cr3 = (chance(70) ? WORLD_ROOT_A : WORLD_ROOT_B);
	r->cr3 |= r->cr3 == WORLD_ROOT_A ? 1 + below(2) : 3;
	if (chance(60))
		r->cr3 |= 1ull << 63;
	r->rip = base + p->insn[chance(75) ? 0 : below(p->insns)].at;
	r->cs = user ? 0x23 : 0x08;
	r->ss = user ? 0x1b : 0x10;
	r->rflags = 2 | (next() & X86_RFLAGS_ARITH) | (chance(10) ? X86_RFLAGS_DF : 0) | (chance(50) ? X86_RFLAGS_AC : 0);
	if (user && chance(90))
		r->rflags &= ~(uint64_t)X86_RFLAGS_AC;	/* CR0.AM is set */
	if (chance(3))
		r->rflags |= chance(50) ? X86_RFLAGS_TF : X86_RFLAGS_RF;
	r->rsp = base + SLOT_STACK * PAGE + (chance(85) ? 1024 + 8 * below(256) : below(PAGE));
	for (unsigned i = 0; i < 16; i++)
		r->gpr[i] = is_pointer(i) ? data_address(base) : value();
	r->gpr[9] = below(16);
	if (chance(80))
		r->gpr[1] = below(40);
	r->fs_base = chance(80) ? below(64) : base;
	r->gs_base = chance(80) ? (uint64_t)below(64) << 3 : WORLD_W2;
	make_fpu(&r->fx);
}

/* A page of the program shows another physical page from this round on, or one of its data may not be what it was. */
static void remap(struct round *r)
{
	bool code = chance(60);
	unsigned slot = code ? p->insn[0].at / PAGE : SLOT_STACK + below(SLOT_FUEL - SLOT_STACK);
	unsigned to = chance(50) ? SLOTS + below(SPARE_PAGES) : below(SLOT_STACK);
	uint64_t table = chance(70) ? WORLD_PT_W : WORLD_PT_K, entry;

	memcpy(&entry, p->image + table + slot * 8, 8);
	r->pte = WORLD_SYS + table + slot * 8;
	r->pte_value = code ? (entry & ~0xff000ull) | (WORLD_WINDOW + to * PAGE) : entry ^ 1ull << below(3);
	r->flush = 1;
}

static uint64_t base_of_round(bool user)
{
	return user || chance(30) ? (chance(70) ? WORLD_W1 : WORLD_W2) : WORLD_WK;
}

void program_make(struct program *to, uint64_t seed, uint64_t number, unsigned *drawn)
{
	p = to;
	state = seed * 0xd1342543de82ef95ull + number;
	world_tables(p->image);
	memset(window(0), 0xcc, SLOT_STACK * PAGE);
	fill(SLOT_STACK * PAGE, (SLOTS + SPARE_PAGES - SLOT_STACK) * PAGE);
	make_code(drawn);
	make_spares();
	p->rounds = 1 + below(ROUNDS);
	p->patched = 0;
	for (unsigned i = 0; i < p->rounds; i++) {
		bool user = chance(60);
		uint64_t base = base_of_round(user);
		struct round *r = program_round(p, i);

		if (i == 0)
			make_targets(base);
		make_round(r, base, user);
		if (i && chance(15))
			remap(r);
		if (i && chance(20)) {
			unsigned k = below(p->insns);

			r->port = i;
			p->patched = p->insn[k].at + below(p->insn[k].len);
			p->patch = next();
		}
	}
}
