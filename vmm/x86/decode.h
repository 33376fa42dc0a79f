/*
 * vmm/x86/decode.h - from bytes to one instruction, by the table opcodes.def.
 *
 * Knows the architecture's encoding only: no processor state but the code
 * size, no memory, no VM.  SDM vol. 2 chapter 2 and appendix A.
 */
#ifndef CLEAVE_VMM_X86_DECODE_H
#define CLEAVE_VMM_X86_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/x86/flags.h"

enum { X86_INSN_MAX = 15 };

enum x86_operand {
	OP__,
	/* ModRM.rm: register or memory */
	OP_E, OP_Eb, OP_Ew, OP_Ed, OP_Ev, OP_EvMw,
	OP_Ey, OP_EdMb, OP_EdMw, OP_EdMd,	/* 32 or, with REX.W, 64 bits; a 32-bit register or 8, 16, 32 bits of memory */
	/* ModRM.rm: XMM register or memory, of 16 bytes (x aligned, u not), 8, 4, 2 or 1; MMX register or 8 or 4 bytes */
	OP_Wx, OP_Wu, OP_Wq, OP_Wd, OP_Ww, OP_Wb, OP_Qq, OP_Qd,
	OP_Wqq, OP_Wqa,			/* ModRM.rm: YMM register or memory, which must be aligned (a) or not */
	/* ModRM.rm: memory only; M is an address, Ma a pair, Mp a far pointer, Mq 8 bytes, Mqo 8 or 16, Ms a table register's image */
	OP_M, OP_Ma, OP_Mp, OP_Mb, OP_Mw, OP_Md, OP_Mq, OP_Mqo, OP_Mv, OP_My, OP_Mt, OP_Mx, OP_Mu, OP_Mqq, OP_Mqa,
	OP_VMx, OP_VMqq,		/* by a vector of indices in an XMM or YMM register */
	OP_Ms,
	/* ModRM.rm: register only; XMM, YMM, MMX, general of the operand size, or none that is looked at */
	OP_Ux, OP_Uqq, OP_Nq, OP_Rv, OP_R,
	OP_Rd,				/* ModRM.rm: 32-bit register, in 64-bit mode 64-bit; mod ignored */
	/* ModRM.reg */
	OP_Gb, OP_Gw, OP_Gv, OP_Gy, OP_Vx, OP_Vqq, OP_Pq, OP_Sw, OP_Cd, OP_Dd,
	OP_Zb, OP_Zv,			/* the opcode's low three bits */
	/* immediates, relative targets, absolute addresses, far pointer */
	OP_Ib, OP_sIb, OP_Iw, OP_Iz, OP_Iv, OP_Jb, OP_Jz, OP_Ob, OP_Ov, OP_Ap,
	/* strings: DS:rSI or override, ES:rDI */
	OP_Xb, OP_Xv, OP_Xz, OP_Yb, OP_Yv, OP_Yz,
	/* fixed */
	OP_AL, OP_rAX, OP_zAX, OP_CL, OP_DX, OP_1, OP_ES, OP_CS, OP_SS, OP_DS, OP_FS, OP_GS,
	/* the x87 stack's top and, by the low three bits of ModRM, any of it; XMM0 */
	OP_ST0, OP_STi, OP_X0,
	OP_By,				/* VEX.vvvv: general register of 32 or, with W, 64 bits */
	OP_Hx, OP_Hqq,			/* VEX.vvvv: XMM, YMM register */
	OP_L,				/* upper half of an immediate byte: a register as large as the first operand */
	OP_COUNT
};

enum x86_property {
	P_LOCK = 1 << 0, P_CPL0 = 1 << 1, P_IOPL = 1 << 2, P_IO = 1 << 3, P_PM = 1 << 4,
	P_REP = 1 << 6, P_REPZ = 1 << 7, P_SPAN8 = 1 << 8, P_SPAN7 = 1 << 9, P_I64 = 1 << 10, P_DF64 = 1 << 11,
	P_F64 = 1 << 12, P_O64 = 1 << 13, P_L1 = 1 << 14, P_LIG = 1 << 15, P_W0 = 1 << 16, P_W1 = 1 << 17,
};

/*
 * Opcode maps.  A ModRM byte that names a register is part of the opcode behind
 * D8-DF and 0F 01: there it is the opcode, in a map of its own.
 */
enum x86_map {
	X86_MAP_1 = 1, X86_MAP_0F, X86_MAP_0F38, X86_MAP_0F3A,
	X86_MAP_D8, X86_MAP_D9, X86_MAP_DA, X86_MAP_DB, X86_MAP_DC, X86_MAP_DD, X86_MAP_DE, X86_MAP_DF,
	X86_MAP_0F01,
	X86_MAP_VEX_0F, X86_MAP_VEX_0F38, X86_MAP_VEX_0F3A,
	X86_MAPS = X86_MAP_VEX_0F3A
};

/* Extensions of the architecture that a row may belong to: bits 24 and up of its properties. */
enum x86_isa {
	X86_ISA_BASE, X86_ISA_FPU, X86_ISA_MMX, X86_ISA_FXSR, X86_ISA_SSE, X86_ISA_SSE2, X86_ISA_SSE3, X86_ISA_SSSE3,
	X86_ISA_SSE41, X86_ISA_SSE42, X86_ISA_POPCNT, X86_ISA_AES, X86_ISA_PCLMUL, X86_ISA_SHA, X86_ISA_MOVBE,
	X86_ISA_ADX, X86_ISA_RDRAND, X86_ISA_RDSEED, X86_ISA_XSAVE, X86_ISA_XSAVEOPT, X86_ISA_XSAVEC, X86_ISA_XSAVES, X86_ISA_CLFLUSH,
	X86_ISA_CLFLUSHOPT, X86_ISA_CLWB, X86_ISA_LZCNT, X86_ISA_BMI1, X86_ISA_BMI2,
	X86_ISA_AVX, X86_ISA_AVX2, X86_ISA_FMA, X86_ISA_F16C, X86_ISA_AVX_AES, X86_ISA_AVX_PCLMUL,
	X86_ISA_VAES, X86_ISA_VPCLMUL,
	X86_ISAS
};
#define P_ISA(isa)	((uint32_t)X86_ISA_##isa << 24)

enum { X86_OPERANDS = 4 };

enum x86_treatment { T_COPY, T_MEM, T_CALL, T_COND, T_END };

/* Every mnemonic and every handler name of the table, once for each row. */
struct x86_opcode {
	const char *mnemonic, *handler;
	uint8_t map;			/* enum x86_map */
	uint8_t opcode;
	int8_t ext;			/* -1: any ModRM.reg, or no ModRM */
	uint8_t prefix;			/* mandatory; X86_NO_PREFIX, X86_NO_REPEAT; or 0: any */
	bool plain;			/* kind P */
	uint8_t operand[X86_OPERANDS];	/* enum x86_operand */
	uint32_t read, written, undefined;	/* X86_RFLAGS_* */
	uint32_t properties;		/* P_*, enum x86_isa << 24 */
	uint8_t treatment;		/* T_* */
};

/* The table, for whoever walks it; a row's number is its index. */
extern const struct x86_opcode x86_opcodes[];
extern const unsigned x86_opcode_rows;

/* Mandatory prefixes that are the absence of some: of 66, F3 and F2; of F3 and F2. */
enum { X86_NO_PREFIX = 1, X86_NO_REPEAT = 2 };

static inline bool x86_row_is_vex(const struct x86_opcode *row)
{
	return row->map >= X86_MAP_VEX_0F;
}

static inline enum x86_isa x86_row_isa(const struct x86_opcode *row)
{
	return row->properties >> 24;
}

enum { X86_NO_SEG = 0xff, X86_NO_REG = 0xff, X86_REG_RIP = 0xfe };

struct x86_insn {
	uint16_t row;			/* x86_opcodes[] */
	uint8_t len;
	uint8_t opcode, map;
	uint8_t bits;			/* of the code: 16, 32, 64 */
	uint8_t opsize, adsize;		/* bytes */
	uint8_t rex;			/* 40-4F, or 0; with VEX what it says of the same */
	bool vex, vex_l, vex_w;
	uint8_t vvvv;			/* VEX's register, not inverted */
	uint8_t rep;			/* the last of F2, F3; 0 */
	bool osize;			/* there is a 66 */
	bool lock;
	uint8_t override;		/* enum x86_seg of the last override, or X86_NO_SEG */
	bool has_modrm, mem;		/* mem: there is a memory operand in ModRM, or a moffs */
	uint8_t mod, reg, rm;		/* ModRM's fields with REX's bits; without ModRM, reg is the opcode's low bits */
	/* of the address: enum x86_gpr or X86_NO_REG, base also X86_REG_RIP; of VM operands index is a vector's; scale is a shift count */
	uint8_t base, index, scale;
	uint8_t seg;			/* effective segment of the memory operand, or of a string's source */
	uint8_t disp_bytes, disp_at, imm_bytes, imm_at;	/* sizes and places in the instruction; 0: none */
	int32_t disp;			/* also a relative branch's displacement */
	uint64_t imm;			/* sIb, Iz: sign-extended to 64 bits; Ap: offset; ENTER: Iw; a moffs of 8 bytes */
	uint16_t imm2;			/* Ap: selector; ENTER: Ib */
};

enum x86_decode_result {
	X86_DECODE_OK,
	X86_DECODE_SHORT,		/* more bytes are needed than there are */
	X86_DECODE_LONG,		/* beyond 15 bytes: #GP(0) */
	X86_DECODE_UD,			/* no such instruction, or LOCK where it is not allowed: #UD */
};

/* `bits` is the code size, 16, 32 or 64.  Reads at most `avail` bytes.  out->len is valid with X86_DECODE_OK only. */
enum x86_decode_result x86_decode(const uint8_t *bytes, size_t avail, unsigned bits, struct x86_insn *out);

/*
 * The bytes of a row's opcode without prefixes (but VEX of three bytes, which
 * names no register and says the mandatory one, W and L), behind which a ModRM
 * byte follows where the row has one that is not itself the opcode.  Returns how many.
 */
unsigned x86_opcode_bytes(const struct x86_opcode *, uint8_t bytes[4]);
bool x86_opcode_has_modrm(const struct x86_opcode *);
/* Whether operands of this kind refuse a register, or memory. */
bool x86_operand_is_memory(enum x86_operand);
bool x86_operand_is_register(enum x86_operand);
/* Whether ModRM.rm is memory by a vector of indices. */
bool x86_operand_is_gathered(enum x86_operand);

/* Bytes of an operand of this kind, 0 where it has no size of its own. */
unsigned x86_operand_bytes(enum x86_operand, unsigned opsize);

#endif
