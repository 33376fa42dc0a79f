/*
 * tests/unit/test_decode.c - the opcode table's consistency, and the decoder
 * by hand-picked encodings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "vmm/x86/decode.h"
#include "vmm/x86/disasm.h"
#include "vmm/x86/state.h"

/* ---- the table */
static unsigned span(const struct x86_opcode *row)
{
	return row->properties & P_SPAN8 ? 8 : row->properties & P_SPAN7 ? 7 : 1;
}

static bool same_encoding(const struct x86_opcode *a, const struct x86_opcode *b)
{
	bool a_mem = false, b_mem = false, a_reg = false, b_reg = false;

	if (a->map != b->map || a->prefix != b->prefix)
		return false;
	if (!((a->properties | b->properties) & P_LIG) && ((a->properties ^ b->properties) & P_L1))
		return false;
	if ((a->properties | b->properties) & P_W0 && (a->properties | b->properties) & P_W1)
		return false;
	if ((a->properties & P_I64 && b->properties & P_O64) || (a->properties & P_O64 && b->properties & P_I64))
		return false;
	for (unsigned i = 0; i < X86_OPERANDS; i++) {
		a_mem |= x86_operand_is_memory(a->operand[i]);
		b_mem |= x86_operand_is_memory(b->operand[i]);
		a_reg |= x86_operand_is_register(a->operand[i]);
		b_reg |= x86_operand_is_register(b->operand[i]);
	}
	if ((a_mem && b_reg) || (a_reg && b_mem))
		return false;
	if (a->opcode + span(a) <= b->opcode || b->opcode + span(b) <= a->opcode)
		return false;
	return a->ext < 0 || b->ext < 0 || a->ext == b->ext;
}

static void no_encoding_twice(void **state)
{
	(void)state;
	for (unsigned i = 0; i < x86_opcode_rows; i++)
		for (unsigned j = i + 1; j < x86_opcode_rows; j++)
			if (same_encoding(&x86_opcodes[i], &x86_opcodes[j]))
				fail_msg("%s and %s share an encoding", x86_opcodes[i].mnemonic, x86_opcodes[j].mnemonic);
}

/* Bytes of the row's encoding, with a register operand where there is ModRM and `mem` is false. */
static unsigned encode(const struct x86_opcode *row, bool mem, uint8_t *b)
{
	unsigned n = 0;

	if (!x86_row_is_vex(row) && row->prefix && row->prefix != X86_NO_PREFIX && row->prefix != X86_NO_REPEAT)
		b[n++] = row->prefix;
	n += x86_opcode_bytes(row, b + n);
	b[n] = (mem ? 0x03 : 0xc3) | (row->ext > 0 ? row->ext : 0) << 3;
	memset(b + n + 1, 0, 15 - n);
	if (x86_operand_is_gathered(row->operand[1])) {		/* three registers, and a vector of indices */
		b[n - 2] ^= 2 << 3;
		b[n] = 0x04;
		b[n + 1] = 0x08;
	}
	return 16;
}

static bool refuses(const struct x86_opcode *row, bool mem)
{
	for (unsigned i = 0; i < X86_OPERANDS; i++)
		if (mem ? x86_operand_is_register(row->operand[i]) : x86_operand_is_memory(row->operand[i]))
			return true;
	return false;
}

static void every_row_is_found(void **state)
{
	(void)state;
	for (unsigned i = 0; i < x86_opcode_rows; i++) {
		unsigned found = 0;

		for (unsigned form = 0; form < 6; form++) {
			struct x86_insn in;
			uint8_t b[32];

			if (refuses(&x86_opcodes[i], form & 1))
				continue;
			encode(&x86_opcodes[i], form & 1, b);
			if (x86_decode(b, 16, 16 << form / 2, &in) == X86_DECODE_OK) {
				if (x86_opcodes[i].properties & (form >= 4 ? P_I64 : P_O64)) {
					assert_int_not_equal(in.row, i);	/* 40 is a prefix there, 63 MOVSXD */
					continue;
				}
				if (in.map == X86_MAP_0F01 && x86_opcodes[i].map == X86_MAP_0F)
					continue;				/* the same bytes but for ModRM.mod */
				assert_int_equal(in.row, i);
				found++;
			}
		}
		if (!found)
			fail_msg("row %u (%s) is never decoded", i, x86_opcodes[i].mnemonic);
	}
}

static void flags_are_plausible(void **state)
{
	(void)state;
	for (unsigned i = 0; i < x86_opcode_rows; i++) {
		const struct x86_opcode *row = &x86_opcodes[i];

		if (row->undefined & ~X86_RFLAGS_ARITH)
			fail_msg("%s leaves a system flag undefined", row->mnemonic);
		if (row->properties & P_LOCK && row->treatment == T_END)
			fail_msg("%s is a transfer and takes LOCK", row->mnemonic);
	}
}

/* ---- encodings */
struct vector {
	unsigned bits;
	const char *bytes;		/* hexadecimal */
	const char *text;		/* NULL: no such instruction */
};

static const struct vector vectors[] = {
	{ 32, "0000", "add    BYTE PTR [eax],al" },
	{ 16, "0000", "add    BYTE PTR [bx+si],al" },
	{ 32, "83c0ff", "add    eax,0xffffffff" },
	{ 16, "83c0ff", "add    ax,0xffff" },
	{ 32, "6683c0ff", "add    ax,0xffff" },
	{ 32, "67668b4e10", "mov    cx,WORD PTR [bp+0x10]" },
	{ 32, "8b442408", "mov    eax,DWORD PTR [esp+0x8]" },
	{ 32, "8b048d00100000", "mov    eax,DWORD PTR [ecx*4+0x1000]" },
	{ 32, "8b0500100000", "mov    eax,DWORD PTR ds:0x1000" },
	{ 32, "8b0425ffffffff", "mov    eax,DWORD PTR ds:0xffffffff" },
	{ 16, "8b0e3412", "mov    cx,WORD PTR ds:0x1234" },
	{ 16, "8b4efe", "mov    cx,WORD PTR [bp-0x2]" },
	{ 32, "a112345678", "mov    eax,ds:0x78563412" },
	{ 32, "67a11234", "mov    eax,ds:0x3412" },
	{ 32, "2e3e8b00", "mov    eax,DWORD PTR ds:[eax]" },	/* the last override wins */
	{ 32, "f3f2a6", "repnz cmps BYTE PTR ds:[esi],BYTE PTR es:[edi]" },
	{ 32, "f390", "pause" },
	{ 32, "90", "nop" },
	{ 32, "f00118", "lock add DWORD PTR [eax],ebx" },
	{ 32, "f001c3", NULL },		/* LOCK without memory */
	{ 32, "f08b00", NULL },		/* LOCK of a load */
	{ 32, "f03900", NULL },		/* LOCK of a comparison */
	{ 32, "f00fa300", NULL },	/* LOCK of a bit test */
	{ 32, "f00fab00", "lock bts DWORD PTR [eax],eax" },
	{ 32, "8cc8", "mov    eax,cs" },
	{ 32, "8ec8", NULL },		/* no load of CS */
	{ 32, "8cf0", NULL },		/* no sixth segment register */
	{ 32, "8dc0", NULL },		/* no address of a register */
	{ 32, "0f20c0", "mov    eax,cr0" },
	{ 32, "0f2000", "mov    eax,cr0" },	/* mod is ignored */
	{ 32, "0f0b", "ud2" },
	{ 32, "0fff", NULL },
	{ 32, "fec8", "dec    al" },
	{ 32, "fef0", NULL },
	{ 32, "ffff", NULL },
	{ 32, "c8100001", "enter  0x10,0x1" },
	{ 32, "ea785634121000", "jmp    0x10:0x12345678" },
	{ 16, "ea34121000", "jmp    0x10:0x1234" },
	{ 32, "ebfe", "jmp    0x1000" },
	{ 16, "e8fdff", "call   0x1000" },
	{ 32, "66ebfd", "jmp    0x1000" },
	{ 32, "66e9fcff", "jmpw   0x1000" },
	{ 32, "660fa0", "pushw  fs" },
	{ 32, "0f84fa0f0000", "je     0x2000" },
	{ 32, "e3fe", "jecxz  0x1000" },
	{ 32, "67e3fd", "jcxz   0x1000" },
	{ 32, "d0e0", "shl    al,1" },
	{ 32, "d1f0", "shl    eax,1" },		/* /6 */
	{ 32, "f6c801", "test   al,0x1" },	/* /1 */
	{ 32, "82c001", "add    al,0x1" },
	{ 32, "d6", "salc" },
	{ 32, "f1", "int1" },
	{ 32, "0fa4c105", "shld   ecx,eax,0x5" },
	{ 32, "69c310000000", "imul   eax,ebx,0x10" },
	{ 32, "0fc708", "cmpxchg8b QWORD PTR [eax]" },
	{ 32, "0fc7c8", NULL },
	{ 32, "0fc8", "bswap  eax" },
	{ 32, "91", "xchg   ecx,eax" },
	{ 16, "6698", "cwde" },
	{ 32, "6d", "ins    DWORD PTR es:[edi],dx" },
	{ 32, "f36f", "rep outs dx,DWORD PTR ds:[esi]" },
	{ 32, "64ac", "lods   al,BYTE PTR fs:[esi]" },
	{ 32, "0f1f440000", "nop    DWORD PTR [eax+eax*1+0x0]" },
	{ 32, "666666666666666666666666666690", "nop" },
	{ 32, "d8c1", "fadd   st,st(1)" },
	{ 32, "d900", "fld    DWORD PTR [eax]" },
	{ 32, "db28", "fld    TBYTE PTR [eax]" },
	{ 32, "dee9", "fsubp  st(1),st" },
	{ 32, "dfe0", "fnstsw" },
	{ 32, "dbff", NULL },		/* behind FCOMI */
	{ 32, "d908", NULL },		/* D9 /1 has no memory form */
	{ 32, "0f58c1", "addps  xmm0,xmm1" },
	{ 32, "660f58c1", "addpd  xmm0,xmm1" },
	{ 32, "f30f5800", "addss  xmm0,DWORD PTR [eax]" },
	{ 32, "f20f5800", "addsd  xmm0,QWORD PTR [eax]" },
	{ 32, "66f20f5800", "addsd  xmm0,QWORD PTR [eax]" },	/* F2 outdoes 66 */
	{ 32, "f30f14c1", NULL },	/* no UNPCKL with F3 */
	{ 32, "0f12c1", "movhlps xmm0,xmm1" },
	{ 32, "0f1201", "movlps xmm0,QWORD PTR [ecx]" },
	{ 32, "660f12c1", NULL },	/* MOVLPD has no register form */
	{ 32, "0ffcc1", "paddb  mm0,mm1" },
	{ 16, "660f6f04", "movdqa xmm0,XMMWORD PTR [si]" },
	{ 32, "660f3a0fc105", "palignr xmm0,xmm1,0x5" },
	{ 32, "660f38dcc1", "aesenc xmm0,xmm1" },
	{ 32, "f20f38f0c1", "crc32  eax,cl" },
	{ 32, "0f38f000", "movbe  eax,DWORD PTR [eax]" },
	{ 32, "f30fb8c1", "popcnt eax,ecx" },
	{ 32, "0faef0", "mfence" },
	{ 32, "0fae00", "fxsave [eax]" },
	{ 32, "0f01d0", "xgetbv" },
	{ 32, "c4e278f2c1", "andn   eax,eax,ecx" },
	{ 32, "c4e278f208", "andn   ecx,eax,DWORD PTR [eax]" },
	{ 32, "c4e27cf2c1", NULL },	/* L */
	{ 32, "c400", "les    eax,FWORD PTR [eax]" },
	{ 32, "c4e37bf0c105", "rorx   eax,ecx,0x5" },
	{ 32, "c4e373f0c105", NULL },	/* vvvv names a register */
	{ 16, "c4e33bf0c105", NULL },	/* nor may the bit that is of no use outside of 64-bit mode */
	{ 32, "c4e238f2c1", "andn   eax,eax,ecx" },
	{ 32, "66c4e278f2c1", NULL },	/* 66 before VEX */
	{ 32, "f30fbdc1", "lzcnt  eax,ecx" },
	{ 64, "c442b0f2c1", "andn   r8,r9,r9" },
	{ 64, "c5f8f2c1", NULL },
	{ 64, "c5e858cb", "vaddps xmm1,xmm2,xmm3" },
	{ 64, "c44134588c9d00100000", "vaddps ymm9,ymm9,YMMWORD PTR [r13+rbx*4+0x1000]" },
	{ 32, "c5ec58cb", "vaddps ymm1,ymm2,ymm3" },
	{ 32, "c5ea5808", "vaddss xmm1,xmm2,DWORD PTR [eax]" },
	{ 32, "c5ee5808", "vaddss xmm1,xmm2,DWORD PTR [eax]" },		/* any length */
	{ 32, "c5e810cb", NULL },					/* VMOVUPS names no second source */
	{ 32, "c5f810cb", "vmovups xmm1,xmm3" },
	{ 32, "c5ea10cb", "vmovss xmm1,xmm2,xmm3" },
	{ 32, "c5fa1008", "vmovss xmm1,DWORD PTR [eax]" },
	{ 32, "c5ea1008", NULL },
	{ 32, "c5f877", "vzeroupper" },
	{ 32, "c5fc77", "vzeroall" },
	{ 32, "c4e37d19c101", "vextractf128 xmm1,ymm0,0x1" },
	{ 32, "c4e37919c101", NULL },					/* of 256 bits only */
	{ 32, "c4e3fd19c101", NULL },					/* W */
	{ 64, "c4e3694acb40", "vblendvps xmm1,xmm2,xmm3,xmm4" },
	{ 64, "c4e36d4acbc0", "vblendvps ymm1,ymm2,ymm3,ymm12" },
	{ 32, "c4e36d4acbc0", "vblendvps ymm1,ymm2,ymm3,ymm4" },	/* eight registers */
	{ 64, "c4e26998cb", "vfmadd132ps xmm1,xmm2,xmm3" },
	{ 64, "c4e2e998cb", "vfmadd132pd xmm1,xmm2,xmm3" },
	{ 64, "c4e2ed98cb", "vfmadd132pd ymm1,ymm2,ymm3" },
	{ 64, "c4e269900c98", "vpgatherdd xmm1,DWORD PTR [rax+xmm3*4],xmm2" },
	{ 64, "c4e2ed900ca0", "vpgatherdq ymm1,QWORD PTR [rax+xmm4*4],ymm2" },	/* index 4 is one */
	{ 64, "c4e2ed910ca0", "vpgatherqq ymm1,QWORD PTR [rax+ymm4*4],ymm2" },
	{ 64, "c4e26d910c98", "vpgatherqd xmm1,DWORD PTR [rax+ymm3*4],xmm2" },
	{ 64, "c4e271900c98", NULL },					/* destination and mask */
	{ 64, "c4e269900c88", NULL },					/* destination and index */
	{ 64, "c4e269900c90", NULL },					/* mask and index */
	{ 64, "c4e2699008", NULL },					/* no SIB */
	{ 64, "c4e26990cb", NULL },					/* no memory */
	{ 16, "c4e269900c", NULL },
	{ 32, "f2c5e858cb", NULL },
	{ 64, "40c5e858cb", NULL },
	{ 64, "f0c5e85808", NULL },
	{ 64, "c4e071c4c801", NULL },					/* no such map */
	/* 64-bit mode */
	{ 64, "4889d8", "mov    rax,rbx" },
	{ 64, "4d89f7", "mov    r15,r14" },
	{ 64, "88c4", "mov    ah,al" },
	{ 64, "4088c4", "mov    spl,al" },
	{ 64, "4488c4", "mov    spl,r8b" },
	{ 64, "8b0510000000", "mov    eax,DWORD PTR [rip+0x10]" },
	{ 64, "67488b05f0ffffff", "mov    rax,QWORD PTR [eip-0x10]" },
	{ 64, "8b042500000080", "mov    eax,DWORD PTR ds:0xffffffff80000000" },
	{ 64, "67428b0420", "mov    eax,DWORD PTR [eax+r12d*1]" },
	{ 64, "498b4424f8", "mov    rax,QWORD PTR [r12-0x8]" },
	{ 64, "418b4500", "mov    eax,DWORD PTR [r13+0x0]" },
	{ 64, "65488b042500000000", "mov    rax,QWORD PTR gs:0x0" },
	{ 64, "3e8b00", "mov    eax,DWORD PTR [rax]" },		/* no DS */
	{ 64, "48b8efcdab8967452301", "movabs rax,0x123456789abcdef" },
	{ 64, "48c7c0ffffffff", "mov    rax,0xffffffffffffffff" },
	{ 64, "48a18877665544332211", "movabs rax,ds:0x1122334455667788" },
	{ 64, "4863c1", "movsxd rax,ecx" },
	{ 64, "50", "push   rax" },
	{ 64, "4157", "push   r15" },
	{ 64, "6650", "push   ax" },
	{ 64, "6aff", "push   0xffffffffffffffff" },
	{ 64, "e8fbffffff", "call   0x1000" },
	{ 64, "66e8faffffff", "call   0x1000" },	/* the operand size stays 64 */
	{ 64, "41ffe3", "jmp    r11" },
	{ 64, "c3", "ret" },
	{ 64, "4898", "cdqe" },
	{ 64, "4899", "cqo" },
	{ 64, "e3fe", "jrcxz  0x1000" },
	{ 64, "67e3fd", "jecxz  0x1000" },
	{ 64, "f348ab", "rep stos QWORD PTR es:[rdi],rax" },
	{ 64, "490fc8", "bswap  r8" },
	{ 64, "4990", "xchg   r8,rax" },
	{ 64, "4890", "nop" },				/* REX.B decides */
	{ 64, "f390", "pause" },
	{ 64, "f04c0fc708", "lock cmpxchg16b XMMWORD PTR [rax]" },
	{ 64, "480fc300", "movnti QWORD PTR [rax],rax" },
	{ 64, "440f20c0", "mov    rax,cr8" },
	{ 64, "48c1e03f", "shl    rax,0x3f" },
	{ 64, "486690", "nop" },			/* REX before a legacy prefix is no REX */
	{ 64, "06", NULL },
	{ 64, "60", NULL },
	{ 64, "9a000000000000", NULL },
	{ 64, "27", NULL },
	{ 64, "82c001", NULL },
	{ 64, "ce", NULL },
};

static unsigned from_hex(const char *s, uint8_t *b)
{
	unsigned n = 0, v;

	for (; sscanf(s, "%2x", &v) == 1; s += 2)
		b[n++] = v;
	return n;
}

static void vectors_decode(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		const struct vector *v = &vectors[i];
		char text[X86_TEXT_MAX];
		struct x86_insn in;
		uint8_t b[16];
		unsigned n = from_hex(v->bytes, b);
		enum x86_decode_result r = x86_decode(b, n, v->bits, &in);

		if (!v->text) {
			if (r != X86_DECODE_UD)
				fail_msg("%s decodes", v->bytes);
			continue;
		}
		if (r != X86_DECODE_OK || in.len != n)
			fail_msg("%s: result %d, length %u", v->bytes, r, in.len);
		x86_disassemble(&in, 0x1000, v->bits, text, sizeof(text));
		assert_string_equal(text, v->text);
	}
}

static void sixteen_bytes_are_too_many(void **state)
{
	uint8_t b[32];
	struct x86_insn in;

	(void)state;
	memset(b, 0x2e, sizeof(b));
	assert_int_equal(x86_decode(b, 32, 32, &in), X86_DECODE_LONG);
	b[15] = 0x90;
	assert_int_equal(x86_decode(b, 32, 32, &in), X86_DECODE_LONG);
	b[14] = 0x90;
	assert_int_equal(x86_decode(b, 32, 32, &in), X86_DECODE_OK);
	b[13] = 0x04;				/* ADD AL, imm8 ends at 15 */
	assert_int_equal(x86_decode(b, 32, 32, &in), X86_DECODE_OK);
	b[14] = 0x04;
	b[13] = 0x2e;				/* its immediate is the sixteenth byte */
	assert_int_equal(x86_decode(b, 32, 32, &in), X86_DECODE_LONG);
	assert_int_equal(x86_decode(b, 14, 32, &in), X86_DECODE_SHORT);
}

static void default_segments(void **state)
{
	static const struct { const char *bytes; unsigned bits, seg; } cases[] = {
		{ "8b00", 32, X86_DS }, { "8b4500", 32, X86_SS }, { "8b0424", 32, X86_SS },
		{ "8b042d00000000", 32, X86_DS },	/* EBP as index */
		{ "8b4600", 16, X86_SS }, { "8b060000", 16, X86_DS }, { "8b02", 16, X86_SS },
		{ "268b4500", 32, X86_ES },
		{ "268b4500", 64, X86_SS }, { "64268b4500", 64, X86_FS }, { "418b4500", 64, X86_DS }, { "418b0424", 64, X86_DS },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct x86_insn in;
		uint8_t b[16];

		assert_int_equal(x86_decode(b, from_hex(cases[i].bytes, b), cases[i].bits, &in), X86_DECODE_OK);
		assert_int_equal(in.seg, cases[i].seg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_encoding_twice),
		cmocka_unit_test(every_row_is_found),
		cmocka_unit_test(flags_are_plausible),
		cmocka_unit_test(vectors_decode),
		cmocka_unit_test(sixteen_bytes_are_too_many),
		cmocka_unit_test(default_segments),
	};

	return cmocka_run_group_tests_name("decode", tests, NULL, NULL);
}
