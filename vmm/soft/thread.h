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

/* In a MEM_HANDLER, before anything changes.  A slow twin's access faults or waits by itself. */
#define LOAD(W, to, sg, addr)								\
	do {										\
		uint64_t at_ = addr;							\
		if (slow) {								\
			const volatile struct mmu_u##W *p_ = hit_read(cpu, sg, at_, W / 8); \
											\
			if (unlikely(!p_))						\
				return slow(cpu, in);					\
			(to) = p_->v;							\
		} else {								\
			(to) = ld##W(cpu, sg, at_);					\
		}									\
	} while (0)
#define STORE(W, sg, addr, val)								\
	do {										\
		uint64_t at_ = addr;							\
		if (slow) {								\
			volatile struct mmu_u##W *p_ = hit_write(cpu, sg, at_, W / 8);	\
											\
			if (unlikely(!p_))						\
				return slow(cpu, in);					\
			p_->v = (val);							\
		} else {								\
			st##W(cpu, sg, at_, val);					\
		}									\
	} while (0)

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

/* ---- register operands by width: 8 by byte offset, others by number */
#define GET_8(r)	(((uint8_t *)cpu->gpr)[r])
#define GET_16(r)	(cpu->gpr[r].w)
#define GET_32(r)	(cpu->gpr[r].d)
#define PUT_8(r, v)	(((uint8_t *)cpu->gpr)[r] = (v))
#define PUT_16(r, v)	(cpu->gpr[r].w = (v))
#define PUT_32(r, v)	(cpu->gpr[r].q = (uint32_t)(v))

/* ---- address forms: base + disp, with index, anything (16-bit) */
enum ea_form { EA_B, EA_S, EA_X, EA_FORMS };

#define ADDR_b	((uint32_t)(cpu->gpr[in->rm].d + in->disp))
#define ADDR_s	((uint32_t)(cpu->gpr[in->rm].d + (cpu->gpr[in->index].d << in->scale) + in->disp))
#define ADDR_x	insn_ea(cpu, in)

static inline enum ea_form ea_form(const struct insn *in)
{
	return in->adsize != 4 ? EA_X : in->index == GPR_ZERO ? EA_B : EA_S;
}

enum width { W8, W16, W32, WIDTHS };

/* Of the first operand, which decides an instruction's. */
static inline enum width width_of(const struct x86_insn *x)
{
	switch (x86_operand_bytes(x86_opcodes[x->row].operand[0], x->opsize)) {
	case 1: return W8;
	case 2: return W16;
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
 * where the operand size asks for that; `wide` is false in this case.  A link
 * stands for a distance, so a target that wraps never takes it.
 */
static inline void branch_direct(struct cpu *cpu, const struct insn *in, uint32_t rip, unsigned done, bool wide)
{
	struct block *b = in->link;

	if (likely(b != NULL) && (wide || likely(rip <= 0xffff)) && block_may_run(cpu, b, rip)) {
		cpu->rip = rip;
		cpu->icount += done;
		return enter_block(cpu, b);
	}
	return branch_slow(cpu, in, rip, done);
}

/* An indirect one: `rip` is masked to the operand size, but unchecked. */
static inline void branch_indirect(struct cpu *cpu, const struct insn *in, uint64_t rip, unsigned done)
{
	uint64_t lin = (uint32_t)(cpu->seg[X86_CS].base + rip);
	struct jump_entry *e = jump_entry(cpu->blocks, lin);

	if (likely(e->lin == lin) && likely(e->gen == cpu->mmu.gen) && likely(e->block->mode == cpu->mode)
	    && block_may_run(cpu, e->block, rip)) {
		cpu->rip = rip;
		cpu->icount += done;
		return enter_block(cpu, e->block);
	}
	return branch_slow(cpu, in, rip, done);
}

#endif
