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
	OP_E, OP_Eb, OP_Ew, OP_Ev, OP_EvMw,
	/* ModRM.rm: memory only; M is an address, Ma a pair, Mp a far pointer, Mq 8 bytes, Ms a table register's image */
	OP_M, OP_Ma, OP_Mp, OP_Mq, OP_Ms,
	OP_Rd,				/* ModRM.rm: 32-bit register, mod ignored */
	/* ModRM.reg */
	OP_Gb, OP_Gw, OP_Gv, OP_Sw, OP_Cd, OP_Dd,
	OP_Zb, OP_Zv,			/* the opcode's low three bits */
	/* immediates, relative targets, absolute addresses, far pointer */
	OP_Ib, OP_sIb, OP_Iw, OP_Iz, OP_Iv, OP_Jb, OP_Jz, OP_Ob, OP_Ov, OP_Ap,
	/* strings: DS:rSI or override, ES:rDI */
	OP_Xb, OP_Xv, OP_Xz, OP_Yb, OP_Yv, OP_Yz,
	/* fixed */
	OP_AL, OP_rAX, OP_zAX, OP_CL, OP_DX, OP_1, OP_ES, OP_CS, OP_SS, OP_DS, OP_FS, OP_GS,
	OP_COUNT
};

enum x86_property {
	P_LOCK = 1 << 0, P_CPL0 = 1 << 1, P_IOPL = 1 << 2, P_IO = 1 << 3, P_PM = 1 << 4, P_FPU = 1 << 5,
	P_REP = 1 << 6, P_REPZ = 1 << 7, P_SPAN8 = 1 << 8, P_SPAN7 = 1 << 9, P_I64 = 1 << 10, P_DF64 = 1 << 11,
};

enum x86_treatment { T_COPY, T_MEM, T_CALL, T_COND, T_END };

/* Every mnemonic and every handler name of the table, once for each row. */
struct x86_opcode {
	const char *mnemonic, *handler;
	uint8_t map;			/* 1; 2: 0F */
	uint8_t opcode;
	int8_t ext;			/* -1: any ModRM.reg, or no ModRM */
	uint8_t prefix;			/* mandatory, or 0 */
	bool plain;			/* kind P */
	uint8_t operand[3];		/* enum x86_operand */
	uint32_t read, written, undefined;	/* X86_RFLAGS_* */
	uint16_t properties;		/* P_* */
	uint8_t treatment;		/* T_* */
};

/* The table, for whoever walks it; a row's number is its index. */
extern const struct x86_opcode x86_opcodes[];
extern const unsigned x86_opcode_rows;

enum { X86_NO_SEG = 0xff, X86_NO_REG = 0xff };

struct x86_insn {
	uint16_t row;			/* x86_opcodes[] */
	uint8_t len;
	uint8_t opcode, map;
	uint8_t opsize, adsize;		/* bytes */
	uint8_t rep;			/* the last of F2, F3; 0 */
	bool lock;
	uint8_t override;		/* enum x86_seg of the last override, or X86_NO_SEG */
	bool has_modrm, mem;		/* mem: there is a memory operand in ModRM, or a moffs */
	uint8_t mod, reg, rm;		/* ModRM's fields; without ModRM, reg is the opcode's low bits */
	uint8_t base, index, scale;	/* of the address: enum x86_gpr or X86_NO_REG; scale is a shift count */
	uint8_t seg;			/* effective segment of the memory operand, or of a string's source */
	uint8_t disp_bytes, disp_at, imm_bytes, imm_at;	/* sizes and places in the instruction; 0: none */
	int32_t disp;			/* also a relative branch's displacement */
	uint64_t imm;			/* sIb, Iz: sign-extended to 64 bits; Ap: offset; ENTER: Iw */
	uint16_t imm2;			/* Ap: selector; ENTER: Ib */
};

enum x86_decode_result {
	X86_DECODE_OK,
	X86_DECODE_SHORT,		/* more bytes are needed than there are */
	X86_DECODE_LONG,		/* beyond 15 bytes: #GP(0) */
	X86_DECODE_UD,			/* no such instruction, or LOCK where it is not allowed: #UD */
};

/* `bits` is the code size, 16 or 32.  Reads at most `avail` bytes.  out->len is valid with X86_DECODE_OK only. */
enum x86_decode_result x86_decode(const uint8_t *bytes, size_t avail, unsigned bits, struct x86_insn *out);

/* Bytes of an operand of this kind, 0 where it has no size of its own. */
unsigned x86_operand_bytes(enum x86_operand, unsigned opsize);

#endif
