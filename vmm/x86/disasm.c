/*
 * vmm/x86/disasm.c - the disassembler: prints what the decoder found.
 *
 * Mnemonics and operands come from opcodes.def; here are only the names that
 * depend on a size, and how each kind of operand is written.
 */
#include "vmm/x86/disasm.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "vmm/x86/state.h"

struct text {
	char *at;
	size_t room, len;
};

static void put(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->at + t->len, t->room - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += (size_t)n < t->room - t->len ? (size_t)n : t->room - t->len - 1;
}

static const char *const names8[] = {
	"al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil",
	"r8b", "r9b", "r10b", "r11b", "r12b", "r13b", "r14b", "r15b",
};
static const char *const names_high[] = { "ah", "ch", "dh", "bh" };
static const char *const names16[] = {
	"ax", "cx", "dx", "bx", "sp", "bp", "si", "di",
	"r8w", "r9w", "r10w", "r11w", "r12w", "r13w", "r14w", "r15w",
};
static const char *const names32[] = {
	"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi",
	"r8d", "r9d", "r10d", "r11d", "r12d", "r13d", "r14d", "r15d",
};
static const char *const names64[] = {
	"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
};
static const char *const seg_names[] = { "es", "cs", "ss", "ds", "fs", "gs", "?", "?" };

static const char *reg_name(const struct x86_insn *in, unsigned r, unsigned bytes)
{
	if (r == X86_REG_RIP)
		return bytes == 4 ? "eip" : "rip";
	if (bytes == 1 && !in->rex && r >= 4 && r < 8)
		return names_high[r - 4];
	return (bytes == 1 ? names8 : bytes == 2 ? names16 : bytes == 8 ? names64 : names32)[r & 15];
}

static const char *size_name(unsigned bytes)
{
	switch (bytes) {
	case 1: return "BYTE PTR ";
	case 2: return "WORD PTR ";
	case 4: return "DWORD PTR ";
	case 6: return "FWORD PTR ";
	case 8: return "QWORD PTR ";
	case 10: return "TBYTE PTR ";
	case 16: return "XMMWORD PTR ";
	case 32: return "YMMWORD PTR ";
	default: return "";
	}
}

/* ---- mnemonics that depend on a size: {operand or address size 16, 32, 64} */
static const struct { const char *name, *by_size[3]; bool address; } sized[] = {
	{ "cbw", { "cbw", "cwde", "cdqe" }, false },
	{ "cwd", { "cwd", "cdq", "cqo" }, false },
	{ "jcxz", { "jcxz", "jecxz", "jrcxz" }, true },
	{ "cmpxchg8b", { "cmpxchg8b", "cmpxchg8b", "cmpxchg16b" }, false },
};

/* Those that take a suffix where the operand size is not the code's own. */
static const char *const suffixed[] = { "pusha", "popa", "pushf", "popf", "iret", "ret", "retf", "leave", "enter" };

static bool takes_suffix(const struct x86_opcode *row)
{
	enum x86_operand o = row->operand[0];

	if (o == OP_Jz)
		return !strcmp(row->mnemonic, "call") || !strcmp(row->mnemonic, "jmp");
	if (o == OP_Iz || o == OP_sIb || (o >= OP_ES && o <= OP_GS))
		return true;
	for (size_t i = 0; i < sizeof(suffixed) / sizeof(suffixed[0]); i++)
		if (!strcmp(row->mnemonic, suffixed[i]))
			return true;
	return false;
}

/* A moffs of 64 bits. */
static bool is_absolute(const struct x86_insn *in)
{
	return in->mem && !in->has_modrm && in->adsize == 8;
}

static void put_mnemonic(struct text *t, const struct x86_insn *in, const struct x86_opcode *row, unsigned bits)
{
	const char *name = row->mnemonic, *suffix = "";

	for (size_t i = 0; i < sizeof(sized) / sizeof(sized[0]); i++)
		if (!strcmp(name, sized[i].name)) {
			name = sized[i].by_size[(sized[i].address ? in->adsize : in->opsize) / 4];
			break;
		}
	if (is_absolute(in) || (in->opsize == 8 && row->operand[1] == OP_Iv))
		name = "movabs";
	if (in->opsize * 8 != bits && takes_suffix(row))
		suffix = in->opsize == 2 ? "w" : in->opsize == 8 ? "q" : bits == 64 ? "" : "d";
	if (in->lock)
		put(t, "lock ");
	if (in->rep && row->properties & (P_REP | P_REPZ))
		put(t, in->rep == 0xf2 ? "repnz " : row->properties & P_REPZ ? "repz " : "rep ");
	put(t, "%s%s", name, suffix);
}

/* ---- memory; `set` is that of an index that is a vector, or NULL */
static void put_sum(struct text *t, const struct x86_insn *in, const char *set)
{
	bool any = in->base != X86_NO_REG || in->index != X86_NO_REG;
	uint64_t disp = in->adsize == 2 ? (uint16_t)in->disp : in->adsize == 4 ? (uint32_t)in->disp : (uint64_t)in->disp;

	if (!any) {
		put(t, "%s:0x%" PRIx64, seg_names[in->seg], is_absolute(in) ? in->imm : disp);
		return;
	}
	if (in->override != X86_NO_SEG)
		put(t, "%s:", seg_names[in->seg]);
	put(t, "[");
	if (in->base != X86_NO_REG)
		put(t, "%s", reg_name(in, in->base, in->adsize));
	if (in->index != X86_NO_REG) {
		put(t, "%s", in->base != X86_NO_REG ? "+" : "");
		if (set)
			put(t, "%s%u", set, in->index);
		else
			put(t, "%s", reg_name(in, in->index, in->adsize));
		if (in->adsize >= 4)
			put(t, "*%u", 1u << in->scale);
	}
	if (in->disp_bytes || in->base == X86_NO_REG)
		put(t, in->disp < 0 ? "-0x%x" : "+0x%x", in->disp < 0 ? -(uint32_t)in->disp : (uint32_t)in->disp);
	put(t, "]");
}

static void put_rm(struct text *t, const struct x86_insn *in, unsigned reg_bytes, unsigned mem_bytes)
{
	if (!in->mem) {
		put(t, "%s", reg_name(in, in->rm, reg_bytes));
		return;
	}
	put(t, "%s", size_name(mem_bytes));
	put_sum(t, in, NULL);
}

/* A vector operand: a register of the set, or memory of the operand's size. */
static void put_vector(struct text *t, const struct x86_insn *in, const char *set, unsigned reg, unsigned mem_bytes)
{
	if (mem_bytes && in->mem) {
		put(t, "%s", size_name(mem_bytes));
		put_sum(t, in, NULL);
	} else {
		put(t, "%s%u", set, reg);
	}
}

static void put_string_operand(struct text *t, const struct x86_insn *in, enum x86_operand o)
{
	bool dest = o == OP_Yb || o == OP_Yv || o == OP_Yz;

	put(t, "%s%s:[%s]", size_name(x86_operand_bytes(o, in->opsize)), dest ? "es" : seg_names[in->seg],
	    reg_name(in, dest ? X86_RDI : X86_RSI, in->adsize));
}

static void put_immediate(struct text *t, const struct x86_insn *in, enum x86_operand o, bool second)
{
	uint64_t v = second ? in->imm2 : in->imm;

	switch (x86_operand_bytes(o, in->opsize)) {
	case 1: v = (uint8_t)v; break;
	case 2: v = (uint16_t)v; break;
	case 4: v = (uint32_t)v; break;
	}
	put(t, "0x%" PRIx64, v);
}

static void put_target(struct text *t, const struct x86_insn *in, uint64_t rip)
{
	uint64_t target = rip + in->len + (int64_t)in->disp;

	put(t, "0x%" PRIx64, in->opsize == 2 ? (uint16_t)target : in->bits == 64 ? target : (uint32_t)target);
}

/* Selectors move through registers of the operand size; system instructions name 16-bit ones. */
static unsigned ew_bytes(const struct x86_opcode *row, unsigned opsize)
{
	return row->operand[0] == OP_Sw ? opsize : 2;
}

static void put_operand(struct text *t, const struct x86_insn *in, const struct x86_opcode *row, unsigned n, uint64_t rip)
{
	enum x86_operand o = row->operand[n];
	unsigned bytes = x86_operand_bytes(o, in->opsize);

	switch (o) {
	case OP_Eb: case OP_Ed: case OP_Ev: put_rm(t, in, bytes, bytes); break;
	case OP_Ew: put_rm(t, in, ew_bytes(row, in->opsize), 2); break;
	case OP_EvMw: put_rm(t, in, bytes, 2); break;
	case OP_E: put_rm(t, in, 4, 0); break;
	case OP_M: case OP_Ms: put_rm(t, in, 4, o == OP_M && !strcmp(row->mnemonic, "invlpg") ? 1 : 0); break;
	case OP_Ma: case OP_Mp: case OP_Mq: case OP_Mqo: case OP_Mb: case OP_Mw: case OP_Md: case OP_Mt: case OP_Mx: case OP_Mu:
	case OP_Mqq: case OP_Mqa: case OP_Mv: case OP_My: case OP_Rv:
		put_rm(t, in, bytes, bytes);
		break;
	case OP_Ey: put_rm(t, in, bytes, bytes); break;
	case OP_EdMb: case OP_EdMw: case OP_EdMd: put_rm(t, in, 4, bytes); break;
	case OP_Gy: put(t, "%s", reg_name(in, in->reg, bytes)); break;
	case OP_Vx: put_vector(t, in, "xmm", in->reg, 0); break;
	case OP_Vqq: put_vector(t, in, "ymm", in->reg, 0); break;
	case OP_Hx: put_vector(t, in, "xmm", in->vvvv, 0); break;
	case OP_Hqq: put_vector(t, in, "ymm", in->vvvv, 0); break;
	case OP_L: put_vector(t, in, row->operand[0] == OP_Vqq ? "ymm" : "xmm", in->imm >> 4 & 15, 0); break;
	case OP_VMx: case OP_VMqq: put(t, "%s", size_name(row->properties & P_W1 ? 8 : 4)); put_sum(t, in, o == OP_VMx ? "xmm" : "ymm"); break;
	case OP_Pq: put_vector(t, in, "mm", in->reg, 0); break;
	case OP_Wx: case OP_Wu: case OP_Wq: case OP_Wd: case OP_Ww: case OP_Wb: case OP_Ux: put_vector(t, in, "xmm", in->rm, bytes); break;
	case OP_Wqq: case OP_Wqa: case OP_Uqq: put_vector(t, in, "ymm", in->rm, bytes); break;
	case OP_Qq: case OP_Qd: case OP_Nq: put_vector(t, in, "mm", in->rm, bytes); break;
	case OP_By: put(t, "%s", reg_name(in, in->vvvv, bytes)); break;
	case OP_ST0: put(t, "st"); break;
	case OP_STi: put(t, "st(%u)", in->rm); break;
	case OP_X0: put(t, "xmm0"); break;
	case OP_Rd: put(t, "%s", reg_name(in, in->rm, in->bits == 64 ? 8 : 4)); break;
	case OP_Gb: case OP_Gw: case OP_Gv: case OP_Zb: case OP_Zv: put(t, "%s", reg_name(in, in->reg, bytes)); break;
	case OP_Sw: put(t, "%s", seg_names[in->reg]); break;
	case OP_Cd: put(t, "cr%u", in->reg); break;
	case OP_Dd: put(t, "dr%u", in->reg); break;
	case OP_Ib: case OP_sIb: case OP_Iw: case OP_Iz: case OP_Iv:
		put_immediate(t, in, o, n > 0 && row->operand[n - 1] == OP_Iw);
		break;
	case OP_Jb: case OP_Jz: put_target(t, in, rip); break;
	case OP_Ob: case OP_Ov: put_sum(t, in, NULL); break;
	case OP_Ap: put(t, "0x%x:0x%" PRIx64, in->imm2, in->imm); break;
	case OP_Xb: case OP_Xv: case OP_Xz: case OP_Yb: case OP_Yv: case OP_Yz: put_string_operand(t, in, o); break;
	case OP_AL: put(t, "al"); break;
	case OP_rAX: case OP_zAX: put(t, "%s", reg_name(in, X86_RAX, bytes)); break;
	case OP_CL: put(t, "cl"); break;
	case OP_DX: put(t, "dx"); break;
	case OP_1: put(t, "1"); break;
	case OP_ES: case OP_CS: case OP_SS: case OP_DS: case OP_FS: case OP_GS:
		put(t, "%s", seg_names[o - OP_ES]);
		break;
	case OP_R: case OP__: case OP_COUNT: break;
	}
}

size_t x86_disassemble(const struct x86_insn *in, uint64_t rip, unsigned bits, char *text, size_t len)
{
	const struct x86_opcode *row = &x86_opcodes[in->row];
	struct text t = { .at = text, .room = len };

	if (len == 0)
		return 0;
	text[0] = 0;
	put_mnemonic(&t, in, row, bits);
	if (!strcmp(row->mnemonic, "xlat"))
		put(&t, " BYTE PTR %s:[%s]", seg_names[in->seg], reg_name(in, X86_RBX, in->adsize));
	if (row->operand[0] != OP__ && row->operand[0] != OP_R) {
		while (t.len < 6 && t.len + 1 < t.room)
			put(&t, " ");
		put(&t, " ");
	}
	for (unsigned n = 0; n < X86_OPERANDS && row->operand[n] != OP__; n++) {
		if (n)
			put(&t, ",");
		put_operand(&t, in, row, n, rip);
	}
	return t.len;
}
