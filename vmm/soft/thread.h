/*
 * vmm/soft/thread.h - what threaded handlers are made of.
 *
 * Register operands by width, the address forms that a handler is specialised
 * for, and how it goes on: to the next instruction, to a block that follows,
 * or back to the run loop.
 *
 * A handler goes on by a call in tail position, which compilers make a jump
 * where they optimise.  Where they do not, the stack grows, and a block that
 * finds it below cpu->stack_floor goes back to the run loop instead of on.
 */
#ifndef CLEAVE_VMM_SOFT_THREAD_H
#define CLEAVE_VMM_SOFT_THREAD_H

#include "vmm/soft/block.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/ops.h"

#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

#define HANDLER(name)	static void name(struct cpu *cpu, const struct insn *in)
#define NEXT(k)		return in[k].fn(cpu, in + (k))

/*
 * A handler with memory operands is compiled twice.  The fast one makes no
 * call but its tail call, so it needs no stack frame; on a miss it hands the
 * whole instruction to its slow twin, of which `slow` is the address.  In the
 * slow one `slow` is NULL, and cpu->insn is set.
 */
#define MEM_HANDLER(name)											\
static inline __attribute__((always_inline)) void name##_body(struct cpu *, const struct insn *, insn_fn *slow);	\
static __attribute__((noinline, cold)) void name##_slow(struct cpu *cpu, const struct insn *in)			\
{														\
	cpu->insn = in;												\
	return name##_body(cpu, in, NULL);									\
}														\
static void name(struct cpu *cpu, const struct insn *in)							\
{														\
	return name##_body(cpu, in, name##_slow);								\
}														\
static inline __attribute__((always_inline)) void name##_body(struct cpu *cpu, const struct insn *in, insn_fn *slow)

/*
 * In a MEM_HANDLER, before anything changes.  A slow twin's access faults or waits by itself.
 * `hit` is hit_* or, where a linear address is at hand, flat_*.
 */
#define LOAD_BY(hit, W, to, sg, addr)							\
	do {										\
		uint64_t at_ = addr;							\
		if (slow) {								\
			const volatile struct mmu_u##W *p_ = hit##_read(cpu, sg, at_, W / 8); \
											\
			if (unlikely(!p_))						\
				return slow(cpu, in);					\
			(to) = p_->v;							\
		} else {								\
			(to) = ld##W(cpu, sg, at_);					\
		}									\
	} while (0)
#define STORE_BY(hit, W, sg, addr, val)							\
	do {										\
		uint64_t at_ = addr;							\
		if (slow) {								\
			volatile struct mmu_u##W *p_ = hit##_write(cpu, sg, at_, W / 8);	\
											\
			if (unlikely(!p_))						\
				return slow(cpu, in);					\
			p_->v = (val);							\
		} else {								\
			st##W(cpu, sg, at_, val);					\
		}									\
	} while (0)

#define LOAD(W, to, sg, addr)	LOAD_BY(hit, W, to, sg, addr)
#define STORE(W, sg, addr, val)	STORE_BY(hit, W, sg, addr, val)
/* At one of the address forms below. */
#define LOAD_EA(W, to, ea)	LOAD_BY(HIT_##ea, W, to, in->seg, ADDR_##ea)
#define STORE_EA(W, ea, val)	STORE_BY(HIT_##ea, W, in->seg, ADDR_##ea, val)
/* On the stack, by its width. */
#define LOAD_STACK(W, S, to, addr)	LOAD_BY(HIT_STACK_##S, W, to, STACK_##S, addr)
#define STORE_STACK(W, S, addr, val)	STORE_BY(HIT_STACK_##S, W, STACK_##S, addr, val)

static inline void *hit_read(struct cpu *cpu, unsigned seg, uint64_t off, unsigned size)
{
	const struct seg *s = &cpu->seg[seg];

	return likely(off + size <= s->rend) ? tlb_hit_read(cpu->mmu.hit, s->base + off, size) : NULL;
}

static inline void *hit_write(struct cpu *cpu, unsigned seg, uint64_t off, unsigned size)
{
	const struct seg *s = &cpu->seg[seg];

	return likely(off + size <= s->wend) ? tlb_hit_write(cpu->mmu.hit, s->base + off, size) : NULL;
}

/* 64-bit mode without FS and GS. */
static inline void *flat_read(struct cpu *cpu, unsigned seg, uint64_t lin, unsigned size)
{
	(void)seg;
	return tlb_hit_read(cpu->mmu.hit, lin, size);
}

static inline void *flat_write(struct cpu *cpu, unsigned seg, uint64_t lin, unsigned size)
{
	(void)seg;
	return tlb_hit_write(cpu->mmu.hit, lin, size);
}

/* ---- register operands by width: 8 by byte offset, others by number */
#define GET_8(r)	(((uint8_t *)cpu->gpr)[r])
#define GET_16(r)	(cpu->gpr[r].w)
#define GET_32(r)	(cpu->gpr[r].d)
#define GET_64(r)	(cpu->gpr[r].q)
#define PUT_8(r, v)	(((uint8_t *)cpu->gpr)[r] = (v))
#define PUT_16(r, v)	(cpu->gpr[r].w = (v))
#define PUT_32(r, v)	(cpu->gpr[r].q = (uint32_t)(v))
#define PUT_64(r, v)	(cpu->gpr[r].q = (v))

/* NAMEW_r and NAMEW_m, which read ModRM.rm: NAMEW_done(cpu, in, value) is what is done with it. */
#define READ_HANDLERS(name, W)							\
HANDLER(name##W##_r)								\
{										\
	name##W##_done(cpu, in, GET_##W(in->rm));				\
	NEXT(1);								\
}										\
MEM_HANDLER(name##W##_m)							\
{										\
	uint##W##_t v;								\
										\
	LOAD(W, v, in->seg, insn_ea(cpu, in));					\
	name##W##_done(cpu, in, v);						\
	NEXT(1);								\
}

/*
 * ---- address forms: base + disp and with index, of 32 bits in a segment (b, s)
 * and of 64 bits without one (q, t); anything (x: 16 bits, FS, GS, 32 bits in
 * 64-bit mode).
 */
enum ea_form { EA_B, EA_S, EA_X, EA_Q, EA_T, EA_FORMS };

#define ADDR_b	((uint32_t)(cpu->gpr[in->rm].d + in->disp))
#define ADDR_s	((uint32_t)(cpu->gpr[in->rm].d + (cpu->gpr[in->index].d << in->scale) + in->disp))
#define ADDR_x	insn_ea(cpu, in)
#define ADDR_q	(cpu->gpr[in->rm].q + (int64_t)in->disp)
#define ADDR_t	(cpu->gpr[in->rm].q + (cpu->gpr[in->index].q << in->scale) + (int64_t)in->disp)

#define HIT_b_read	hit_read
#define HIT_s_read	hit_read
#define HIT_x_read	hit_read
#define HIT_q_read	flat_read
#define HIT_t_read	flat_read
#define HIT_b_write	hit_write
#define HIT_s_write	hit_write
#define HIT_x_write	hit_write
#define HIT_q_write	flat_write
#define HIT_t_write	flat_write
#define HIT_STACK_16_read	hit_read
#define HIT_STACK_32_read	hit_read
#define HIT_STACK_64_read	flat_read
#define HIT_STACK_16_write	hit_write
#define HIT_STACK_32_write	hit_write
#define HIT_STACK_64_write	flat_write

static inline enum ea_form ea_form(const struct insn *in)
{
	if (in->code64)
		return in->adsize != 8 || in->seg > SEG_FLAT_SS ? EA_X : in->index == GPR_ZERO ? EA_Q : EA_T;
	return in->adsize != 4 ? EA_X : in->index == GPR_ZERO ? EA_B : EA_S;
}

enum width { W8, W16, W32, W64, WIDTHS };

/* Of the first operand, which decides an instruction's. */
static inline enum width width_of(const struct x86_insn *x)
{
	switch (x86_operand_bytes(x86_opcodes[x->row].operand[0], x->opsize)) {
	case 1: return W8;
	case 2: return W16;
	case 8: return W64;
	default: return W32;
	}
}

/* ---- going on */

/* Continue at `rip`, `done` instructions of this block retired: in `b` if it is what stands there and may run. */
static inline void enter_block(struct cpu *cpu, struct block *b)
{
	cpu->block = b;
	return b->insn[0].fn(cpu, b->insn);
}

static inline uintptr_t stack_pointer(void)
{
	uintptr_t sp;

	__asm__("movq %%rsp, %0" : "=r"(sp));
	return sp;
}

static inline bool block_may_run(const struct cpu *cpu, const struct block *b, uint64_t rip)
{
	return likely(rip + b->bytes <= cpu->rip_end) && likely(!cpu_event(cpu)) && likely(stack_pointer() >= cpu->stack_floor);
}

/*
 * A direct branch.  `rip` is its target, not yet checked nor wrapped to 16 bits
 * where the operand size asks for that, but to the code's own width; `wide` is false in this case.  A link
 * stands for a distance, so a target that wraps never takes it.
 */
static inline void branch_direct(struct cpu *cpu, const struct insn *in, uint64_t rip, unsigned done, bool wide)
{
	struct block *b = in->link;

	if (likely(b != NULL) && (wide || likely(rip <= 0xffff)) && block_may_run(cpu, b, rip)) {
		cpu->rip = rip;
		cpu->icount += done;
		return enter_block(cpu, b);
	}
	return branch_slow(cpu, in, rip, done);
}

/* The block at `rip`, if the jump cache knows it. */
static inline struct block *jump_block(struct cpu *cpu, uint64_t rip)
{
	uint64_t lin = cpu_code_linear(cpu, rip), gen = mmu_gen(cpu, lin);
	struct jump_entry *e = jump_entry(cpu->blocks, lin, gen);

	return likely(e->lin == lin) && likely(e->gen == gen) && likely(e->block->mode == cpu->mode) ? e->block : NULL;
}

/* An indirect one: `rip` is masked to the operand size, but unchecked. */
static inline void branch_indirect(struct cpu *cpu, const struct insn *in, uint64_t rip, unsigned done)
{
	struct block *b = jump_block(cpu, rip);

	if (likely(b != NULL) && block_may_run(cpu, b, rip)) {
		cpu->rip = rip;
		cpu->icount += done;
		return enter_block(cpu, b);
	}
	return branch_slow(cpu, in, rip, done);
}

#endif
