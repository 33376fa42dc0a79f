/*
 * vmm/jit/translate.h - a unit under construction, for the files that emit its
 * instructions:
 *
 *	operand.c	guest registers; memory operands, looked up in the TLB
 *	general.c	whatever has its operands in ModRM: the same instruction on
 *			other registers and another address
 *	own.c		what names registers of its own, and the stack
 *	window.c	accesses that share a look into the TLB
 *	vector.c	x87, MMX, SSE and AVX
 *	flow.c		transfers of control, ways out
 *	translate.c	the unit, instruction by instruction
 *
 * Between two instructions nothing is held in RAX, RCX and RDX, so that each is
 * free to use them, and they are where implicit operands of the architecture
 * are anyway.  Guest flags are the host's throughout: only instructions that
 * change no flags stand between (LEA, SHRX, MOVZX, JRCXZ).
 */
#ifndef CLEAVE_VMM_JIT_TRANSLATE_H
#define CLEAVE_VMM_JIT_TRANSLATE_H

#include "vmm/jit/unit.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/thread.h"

enum { MISSES = 4 };

enum { HAVE_SSE = 1, HAVE_AVX = 2, HAVE_X87 = 4 };

/* The x87 instruction that FIP and FOP are to tell of. */
struct fp_note {
	bool any;
	uint8_t off;			/* from the block's start */
	uint16_t fop;
};

/* What a register has (window.c): a thing made, each of which has a number, plus a constant; */
struct point {
	uint16_t of;
	int32_t plus;
};

/* ... plus, `times`, what another register has. */
struct value {
	uint16_t of;
	int32_t plus;
	struct point stride;
	uint8_t times, stride_reg;
};

/* An access at a register and a displacement, or wherever ModRM says, and the window that it belongs to (window.c). */
struct access {
	int32_t disp, lo;		/* lo: from the value that it lies around */
	uint16_t of;			/* ... which is this one */
	uint8_t times;			/* a stride from there, */
	struct point stride;		/* ... which is this, if it is any */
	bool begins;			/* the window's first, as that was planned */
	uint16_t size;
	uint8_t guest, window;
	bool write;
};
enum { NO_WINDOW = 0xff, AT_OPERAND = 0xfe };

struct window {
	uint16_t of;			/* the value that it lies around */
	bool write;
	uint8_t n;
	int32_t lo, hi;
	uint8_t first, last;		/* strides from there, if there are any, */
	struct point stride;		/* ... of this much */
	uint8_t stride_reg;		/* if first and last differ: who has it where the window begins */
	struct value reg[16];		/* all of them there */
};

/* A unit stands there twice where windows are shared: as long as they hold, and with each access for itself. */
enum version { SHARING, SINGLY, VERSIONS };

/* An instruction in a version: what misses in it, how things stand there, and where it goes on, with what is known then. */
struct place {
	uint32_t field[MISSES], resume;
	uint8_t n;
	bool by_c;
	uint8_t rdx;			/* translation.rdx behind it */
	int32_t sp, sp_behind;		/* translation.sp in front of it, and behind */
	uint32_t body;			/* where its code begins, with `sp` as said */
	unsigned known, opened;		/* windows whose first access it has */
	struct fp_note fp;
};

struct translation {
	struct code *c;
	struct jit *j;
	struct jit_unit *u;
	unsigned set;			/* of the TLB */
	unsigned page;			/* the block's offset in its page */

	/* the instruction at hand */
	struct x86_insn x;
	const struct x86_opcode *row;
	const struct insn *in;
	unsigned k;			/* its number */
	unsigned off;			/* from the block's start */
	struct operand m;		/* its memory operand, once looked up */
	uint32_t start;			/* where its code begins, and what was so there */
	unsigned start_known, start_enters;

	/* the unit's instructions, as they were decoded */
	struct {
		struct x86_insn x;
		struct access access[2];
		uint8_t n, off;			/* accesses; from the block's start */
		bool again;			/* jit_op.again */
	} plan[UNIT_INSNS];
	struct window window[JIT_WINDOWS];
	unsigned windows, open, start_open;	/* open: bits, of those whose first access has been emitted */
	int32_t sp;				/* by how much the guest's RSP is above what the host's register has */
	unsigned rdx, start_rdx;		/* the window whose addend is in RDX, or NO_WINDOW */
	struct { uint32_t field; uint8_t k; } split[4 * UNIT_INSNS];	/* where it goes on singly */
	unsigned splits, start_splits;
	uint32_t singly[UNIT_INSNS + 1];	/* where each instruction stands SINGLY; behind the last: the end */
	struct { uint16_t of; uint8_t align, times; int32_t lo; struct point stride; } aligned[16];	/* found so */
	unsigned aligneds, start_aligneds;

	unsigned known;			/* HAVE_*: what is in the host's registers for sure */
	struct fp_note fp;		/* what is not yet noted */

	enum version version;
	struct place place[VERSIONS][UNIT_INSNS], *here;
	/* branches that are taken: their code stands behind */
	struct { uint32_t field; int64_t target; int32_t sp; uint8_t n; bool taken; struct fp_note fp; } side[VERSIONS * UNIT_INSNS];
	unsigned sides;
	/* where something of `class` (vector.c) may have to be brought in */
	struct { uint32_t field, back; uint8_t k, class, version; } enter[2 * VERSIONS * UNIT_INSNS];
	unsigned enters;
	bool ended;
	bool refused;			/* it begins with what cannot be here */
};

static inline struct operand gpr_field(unsigned guest)
{
	return op_gs(H_NONE, 0, offsetof(struct cpu, gpr) + 8 * guest);
}

static inline sel_fn *handler(const struct translation *t)
{
	return op_dispatch[t->x.row].select;
}

/* A displacement, with room for an operand's size, a page, and what RSP has moved by. */
static inline bool fits32(int64_t v)
{
	return v >= INT32_MIN + 16384 && v <= INT32_MAX - 16384;
}

/*
 * Emit the instruction at hand.  False: not this one, or not in this form;
 * what has been emitted of it is taken back, and the interpreter is called.
 */
typedef bool emit_fn(struct translation *);
emit_fn emit_general, emit_own, emit_vector, emit_flow;

/* ---- operand.c: guest registers */
unsigned reg_or_copy(struct translation *, unsigned guest, unsigned scratch);	/* where it is, or a copy of it */
void get(struct translation *, unsigned scratch, unsigned guest);
void put(struct translation *, unsigned guest, unsigned scratch);

/* ---- operand.c: the stack pointer, which pushes and pops move in mind alone */
void settle_sp(struct translation *);			/* the host's register has it */
void unsettle_sp(struct translation *, int32_t sp);	/* translation.sp is to be so again */
bool may_move_sp(const struct translation *);		/* can the instruction at hand do with it as it is? */

/* By how much a guest register is above the host's. */
static inline int32_t in_mind(const struct translation *t, unsigned guest)
{
	return guest == X86_RSP ? t->sp : 0;
}

/* ---- operand.c: memory */
/* The operand in ModRM, where that is memory and accessed; `bytes` 0: there is none. */
struct memory_use {
	unsigned bytes;
	bool write;
};
struct memory_use memory_use(const struct x86_insn *);
/*
 * That operand of the instruction at hand, into t->m, which names RDX and may name RAX.
 * Where it is not plain memory in one page the instruction is left.  Uses all
 * three scratch registers.  `align`: a power of two that a misaligned address
 * fails, or 0.  False: not an address for here.
 */
bool look_up_operand(struct translation *, unsigned align);
/* A slot of the stack or a frame; `guest` is a register that the host has too. */
struct operand look_up_at(struct translation *, unsigned guest, int32_t disp, unsigned size, bool write);
void settle_operand(struct translation *);		/* so that t->m names RDX alone */
void effective(struct translation *);			/* RAX := the address without its segment; RCX is used */
bool address_fits(const struct translation *);		/* can effective() do it? */
bool address_is_plain(const struct translation *);	/* one operand of LEA says it */
struct operand address_operand(const struct translation *);
/*
 * The TLB's answer for `size` bytes at a host register and a displacement: RDX
 * becomes the addend.  Returns the field of the jump that is taken if there is none.
 */
uint32_t look_up(struct translation *, unsigned reg, int32_t disp, unsigned size, bool write);
uint32_t look_up_page(struct translation *, unsigned first, bool write, bool one);	/* by page numbers: of the first byte there; of the last, plus `one`, in RAX */
void note_miss(struct translation *, uint32_t jump);	/* a jump that is taken where the instruction cannot go on */

/* ---- window.c */
void plan_windows(struct translation *, unsigned n);
/* Of the instruction at hand; NULL: nobody followed it. */
const struct access *tracked_access(const struct translation *, unsigned guest, int32_t disp, unsigned size);
bool is_shared(const struct translation *, const struct access *);	/* its window has others */
bool known_aligned(const struct translation *, const struct access *, unsigned align);
void note_aligned(struct translation *, const struct access *, unsigned align);
bool look_in_window(struct translation *, const struct access *);	/* RDX becomes the addend */
void load_addend(struct translation *, unsigned window);	/* into RDX */

/* ---- general.c */
bool is_general(unsigned row);				/* emitted there */
bool is_compare(sel_fn *);				/* changes no operand */
bool is_exchange(sel_fn *);				/* changes both */
struct encoding encoding_of(const struct translation *);
bool is_gpr_rm(enum x86_operand);			/* ModRM.rm or an opcode's register, as a general register */

/* ---- vector.c */
bool is_vector_row(const struct x86_opcode *);
bool is_vector_memory(enum x86_operand);
void note_fp(struct translation *);			/* what has not been noted; RAX is used */
void resume_with(struct translation *, unsigned k);	/* behind instruction k, which C has carried out */
void emit_enters(struct translation *);

/* ---- flow.c */
void emit_sides(struct translation *);
void go_to(struct translation *, int64_t target, unsigned n, bool taken);	/* `n` instructions are done, the last a branch that is taken */
void leave_by(struct translation *, const struct jit_exit *);
struct jit_exit *new_exit(struct translation *, enum jit_leave, int64_t target, unsigned op);
bool leave_for_c(struct translation *);
void count(struct translation *, unsigned n);
void load_address(struct translation *, bool is_exit, unsigned n);	/* RAX := where op or exit n of the unit will stand */
void call_thunk(struct translation *, uint32_t thunk);	/* RDX is used */
void by_interpreter(struct translation *);

#endif
