/*
 * vmm/jit/asm.h - an assembler for what the translator emits: x86-64, one
 * instruction a call, into a buffer that is copied to where it runs.
 *
 * Knows encodings (SDM vol. 2 chapter 2), nothing of guests.  A buffer that is
 * full swallows what follows and says so at the end.
 */
#ifndef CLEAVE_VMM_JIT_ASM_H
#define CLEAVE_VMM_JIT_ASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum host_reg {
	H_RAX, H_RCX, H_RDX, H_RBX, H_RSP, H_RBP, H_RSI, H_RDI, H_R8, H_R9, H_R10, H_R11, H_R12, H_R13, H_R14, H_R15,
	H_NONE = 0xff
};

/* What ModRM.rm and SIB say: a register, or memory, relative to GS if `gs`. */
struct operand {
	bool mem, gs;
	uint8_t reg;
	uint8_t base, index, scale;	/* H_NONE: none; RSP is no index */
	int32_t disp;
};

static inline struct operand op_reg(unsigned reg)
{
	return (struct operand){ .reg = reg };
}

static inline struct operand op_mem(unsigned base, unsigned index, unsigned scale, int32_t disp)
{
	return (struct operand){ .mem = true, .base = base, .index = index, .scale = scale, .disp = disp };
}

/* At an offset from where GS points: struct cpu. */
static inline struct operand op_gs(unsigned index, unsigned scale, int32_t disp)
{
	return (struct operand){ .mem = true, .gs = true, .base = H_NONE, .index = index, .scale = scale, .disp = disp };
}

struct encoding {
	uint8_t map;		/* enum x86_map, without those whose opcode is a ModRM byte */
	uint8_t opcode;
	uint8_t prefix;		/* F2, F3 or 0 */
	bool osize, lock, w;
	bool rex;		/* there is one, whatever it says: SPL to DIL */
	bool no_modrm;		/* the register's low bits are in the opcode: `rm` names it */
	bool vex_l;
	uint8_t vvvv;		/* VEX */
	uint8_t reg;
	struct operand rm;
	uint8_t imm_bytes;
	uint64_t imm;
};

/*
 * `at` counts on when `bytes` is full.
 *
 * Branches that are hardly ever taken are to fall through, since a processor
 * follows one or two taken ones a cycle.  JRCXZ and LOOP change no flag but
 * reach 127 bytes, so each leads to an island, a jump to anywhere.  Some islands
 * stand in front of all code, others where no code comes by, or are jumped over
 * before it is too late.
 */
enum { ASM_NEARS = 512 };

struct code {
	uint8_t *bytes;
	uint32_t at, size;
	bool loop;				/* LOOP is one operation, not microcode */
	uint32_t front;				/* where islands stand in front of all code, */
	uint8_t fronts, taken;			/* ... so many; in use */
	uint16_t nears, placed;
	struct { uint32_t at, island; bool direct; } near[ASM_NEARS];	/* fields of 8 bits, of 32, or 0; direct: it needs none */
};

void asm_encode(struct code *, const struct encoding *);
void asm_byte(struct code *, uint8_t);
void asm_u32(struct code *, uint32_t);
void asm_u64(struct code *, uint64_t);

/* ---- what glue is made of; none of these changes a flag */
void asm_mov(struct code *, unsigned to, unsigned from);		/* 64 bits */
void asm_mov32(struct code *, unsigned to, unsigned from);
void asm_load(struct code *, unsigned to, struct operand from);		/* 64 bits */
void asm_load32(struct code *, unsigned to, struct operand from);
void asm_load16(struct code *, unsigned to, struct operand from);	/* zero-extended */
void asm_store(struct code *, struct operand to, unsigned from);
void asm_lea(struct code *, unsigned to, struct operand from);
void asm_imm(struct code *, unsigned to, uint64_t);			/* in the shortest form */
void asm_movzx16(struct code *, unsigned to, unsigned from);
void asm_shrx(struct code *, unsigned to, unsigned from, unsigned count);
void asm_rorx(struct code *, unsigned to, unsigned from, unsigned count);	/* count: a number */
/*
 * Before what may emit a few bytes, up to ASM_ROOM of them by asm_byte() and
 * asm_jcc(), which look after no branch's reach.
 */
enum { ASM_ROOM = 40 };
void asm_room(struct code *);
/* Branches over a distance that is not yet known: what asm_here() wants. */
uint32_t asm_jmp(struct code *);
uint32_t asm_jmp_unless_rcx(struct code *);	/* taken where RCX is 0, and no flag is changed; */
uint32_t asm_jmp_if_rcx(struct code *);		/* where it is not, and it is the rarer case; */
uint32_t asm_jmp_unless_one(struct code *);	/* where it is not 1, and RCX is used: only with code.loop */
uint32_t asm_jcc(struct code *, unsigned cc);
uint32_t asm_lea_rip(struct code *, unsigned to);			/* the same, of an address */
void asm_here(struct code *, uint32_t field);
void asm_target(struct code *, uint32_t field, uint32_t target);
void asm_front(struct code *, unsigned islands);
void asm_islands(struct code *);		/* nothing comes by here */
void asm_back_to(struct code *, uint32_t at);	/* what stands behind is not wanted */
void asm_jmp_mem(struct code *, struct operand);
void asm_jmp_reg(struct code *, unsigned);

#endif
