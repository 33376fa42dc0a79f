/*
 * vmm/soft/mmu.h - guest memory as instruction handlers see it.
 *
 *   ld8..ld64, st8..st64	(segment, offset): segment check, translation, access
 *   lin_ld*, lin_st*		linear, at the running privilege
 *   sys_ld*, sys_st*		linear, at supervisor privilege whatever the CPL
 *				(descriptor tables, TSS, interrupt stacks)
 *   rmw_ld*, rmw_st*		read, then write the same operand
 *   mmu_span_*			host bytes of a run inside one page, for string moves
 *   mmu_held_*			a range probed now and accessed later (INS)
 *
 * A hit is a dozen instructions without a call.  Whatever is not plain RAM in
 * one page, watched or a fault goes to mmu.c.  An access that faults does not
 * return (cpu_fault); nor does one that waits for a device (cpu_unwind): the
 * handler is run again from its start, so it must not have changed a register.
 *
 * An aligned access of up to 8 bytes is one host access: RAM is shared with
 * another process.
 */
#ifndef CLEAVE_VMM_SOFT_MMU_H
#define CLEAVE_VMM_SOFT_MMU_H

#include "vmm/soft/cpu.h"

/* ---- slow paths (mmu.c) */
uint64_t mmu_ld_slow(struct cpu *, unsigned seg, uint64_t off, unsigned size);
void mmu_st_slow(struct cpu *, unsigned seg, uint64_t off, unsigned size, uint64_t val);
uint64_t mmu_lin_ld_slow(struct cpu *, uint64_t lin, unsigned size, bool system);
void mmu_lin_st_slow(struct cpu *, uint64_t lin, unsigned size, uint64_t val, bool system);

/* The linear address of an operand, checked against its segment's type and limit for `size` bytes (seg.c). */
uint64_t mmu_linear(struct cpu *, unsigned seg, uint64_t off, uint64_t size, bool write);

/* #AC where an access of `size` bytes is misaligned and that is checked now. */
void mmu_check_alignment(struct cpu *, uint64_t lin, unsigned size);
/* Raise whatever a supervisor's write to the range would raise, at most a page. */
void mmu_probe_system(struct cpu *, uint64_t lin, unsigned len);

/* ---- hit path */
struct mmu_u8 { uint8_t v; } __attribute__((packed, may_alias));
struct mmu_u16 { uint16_t v; } __attribute__((packed, may_alias));
struct mmu_u32 { uint32_t v; } __attribute__((packed, may_alias));
struct mmu_u64 { uint64_t v; } __attribute__((packed, may_alias));

static inline struct tlb *tlb_of(struct cpu *cpu)
{
	return (struct tlb *)((char *)cpu + TLB_DISTANCE);
}

static inline unsigned tlb_place(uint64_t lin)
{
	return lin >> PAGE_SHIFT & (TLB_ENTRIES - 1);
}

static inline void *tlb_host(const struct tlb_set *set, uint64_t lin)
{
	void *p = (void *)(lin + set->addend[tlb_place(lin)]);

	if (!p)
		__builtin_unreachable();	/* saves the callers a test */
	return p;
}

static inline bool tlb_tag_hits(uint64_t tag, uint64_t lin, unsigned size)
{
	return __builtin_expect(tag + ((lin + size - 1) >> PAGE_SHIFT) == 0, 1);
}

static inline void *tlb_hit_read(const struct tlb_set *set, uint64_t lin, unsigned size)
{
	return tlb_tag_hits(set->read[tlb_place(lin)], lin, size) ? tlb_host(set, lin) : NULL;
}

static inline void *tlb_hit_write(const struct tlb_set *set, uint64_t lin, unsigned size)
{
	return tlb_tag_hits(set->write[tlb_place(lin)], lin, size) ? tlb_host(set, lin) : NULL;
}

#define MMU_ACCESSORS(bits)										\
static inline uint##bits##_t lin_ld##bits(struct cpu *cpu, uint64_t lin)				\
{													\
	const volatile struct mmu_u##bits *p = tlb_hit_read(cpu->mmu.hit, lin, bits / 8);		\
													\
	return p ? p->v : (uint##bits##_t)mmu_lin_ld_slow(cpu, lin, bits / 8, false);			\
}													\
static inline void lin_st##bits(struct cpu *cpu, uint64_t lin, uint##bits##_t val)			\
{													\
	volatile struct mmu_u##bits *p = tlb_hit_write(cpu->mmu.hit, lin, bits / 8);			\
													\
	if (p)												\
		p->v = val;										\
	else												\
		mmu_lin_st_slow(cpu, lin, bits / 8, val, false);					\
}													\
static inline uint##bits##_t sys_ld##bits(struct cpu *cpu, uint64_t lin)				\
{													\
	const volatile struct mmu_u##bits *p = tlb_hit_read(&tlb_of(cpu)->set[MMU_SUPERVISOR], lin, bits / 8); \
													\
	return p ? p->v : (uint##bits##_t)mmu_lin_ld_slow(cpu, lin, bits / 8, true);			\
}													\
static inline void sys_st##bits(struct cpu *cpu, uint64_t lin, uint##bits##_t val)			\
{													\
	volatile struct mmu_u##bits *p = tlb_hit_write(&tlb_of(cpu)->set[MMU_SUPERVISOR], lin, bits / 8);	\
													\
	if (p)												\
		p->v = val;										\
	else												\
		mmu_lin_st_slow(cpu, lin, bits / 8, val, true);						\
}													\
static inline uint##bits##_t ld##bits(struct cpu *cpu, unsigned seg, uint64_t off)			\
{													\
	const struct seg *s = &cpu->seg[seg];							\
													\
	if (__builtin_expect(off + bits / 8 <= s->rend, 1)) {					\
		const volatile struct mmu_u##bits *p = tlb_hit_read(cpu->mmu.hit, s->base + off, bits / 8); \
													\
		if (p)											\
			return p->v;									\
	}												\
	return (uint##bits##_t)mmu_ld_slow(cpu, seg, off, bits / 8);					\
}													\
static inline void st##bits(struct cpu *cpu, unsigned seg, uint64_t off, uint##bits##_t val)		\
{													\
	const struct seg *s = &cpu->seg[seg];							\
													\
	if (__builtin_expect(off + bits / 8 <= s->wend, 1)) {					\
		volatile struct mmu_u##bits *p = tlb_hit_write(cpu->mmu.hit, s->base + off, bits / 8);	\
													\
		if (p) {										\
			p->v = val;									\
			return;										\
		}											\
	}												\
	mmu_st_slow(cpu, seg, off, bits / 8, val);							\
}
MMU_ACCESSORS(8)
MMU_ACCESSORS(16)
MMU_ACCESSORS(32)
MMU_ACCESSORS(64)
#undef MMU_ACCESSORS

/* What is cached of a linear address is good for as long as this is the same. */
static inline uint64_t mmu_gen(const struct cpu *cpu, uint64_t lin)
{
	return cpu->mmu.gen[lin >> 63];
}
/* A branch target on this page is about to be cached, with mmu_gen() as it is then. */
void mmu_note_target(struct mmu *, uint64_t lin);

/* ---- ranges whose translation is held: struct mmu_held */

/*
 * Probe [lin, lin + len) for reading or writing at the running privilege: every
 * fault that the access could raise is raised here, A and D are set, and the
 * translation is kept in *held, which stays usable whatever becomes of the
 * page tables.  len is 1 to 4096.
 */
void mmu_probe_read(struct cpu *, uint64_t lin, unsigned len, struct mmu_held *held);
void mmu_probe_write(struct cpu *, uint64_t lin, unsigned len, struct mmu_held *held);
/* Device memory in the range: the access may wait. */
bool mmu_held_is_mmio(const struct mmu_held *);
/* Access a held range.  At most 8 bytes where it is device memory, which goes first; may unwind to wait for it. */
void mmu_held_load(struct cpu *, const struct mmu_held *, void *data);
void mmu_held_store(struct cpu *, const struct mmu_held *, const void *data);
/* The caller is about to change host bytes of the range itself. */
void mmu_held_touch(struct cpu *, const struct mmu_held *);

/* ---- read-modify-write */
uint64_t mmu_rmw_slow(struct cpu *, struct rmw *, unsigned seg, uint64_t off, unsigned size);
void mmu_rmw_store(struct cpu *, const struct rmw *, uint64_t val);

#define MMU_RMW(bits)											\
static inline uint##bits##_t rmw_ld##bits(struct cpu *cpu, struct rmw *h, unsigned seg, uint64_t off)	\
{													\
	const struct seg *s = &cpu->seg[seg];							\
													\
	if (__builtin_expect(off + bits / 8 <= s->wend, 1)) {		\
		volatile struct mmu_u##bits *p = tlb_hit_write(cpu->mmu.hit, s->base + off, bits / 8);	\
													\
		if (p) {										\
			h->host = (void *)p;								\
			return p->v;									\
		}											\
	}												\
	return (uint##bits##_t)mmu_rmw_slow(cpu, h, seg, off, bits / 8);				\
}													\
static inline void rmw_st##bits(struct cpu *cpu, const struct rmw *h, uint##bits##_t val)		\
{													\
	if (__builtin_expect(h->host != NULL, 1))							\
		((volatile struct mmu_u##bits *)h->host)->v = val;					\
	else												\
		mmu_rmw_store(cpu, h, val);								\
}
MMU_RMW(8)
MMU_RMW(16)
MMU_RMW(32)
MMU_RMW(64)
#undef MMU_RMW

/*
 * Host address of linear `lin`, for a run of bytes up to the end of its page,
 * or NULL where an access must go one at a time (device memory, ROM, decoded
 * code, a breakpoint).  Fills the TLB, so it may raise the access's #PF.
 */
uint8_t *mmu_span_read(struct cpu *, uint64_t lin);
uint8_t *mmu_span_write(struct cpu *, uint64_t lin);

/*
 * The page that holds code at `lin`, at the running privilege: its host bytes
 * (page start) and guest-physical address.  #PF where it may not be fetched.
 * NULL: device memory, from which no code runs.
 */
const uint8_t *mmu_fetch_page(struct cpu *, uint64_t lin, uint64_t *gpa);

/*
 * The block cache is about to decode from the page: from now on stores to it are told
 * (block_invalidate), here and in the device model's DMA.  Or it holds no code of it any more.
 */
void mmu_code_page_add(struct cpu *, uint64_t gpa);
void mmu_code_page_drop(struct cpu *, uint64_t gpa);
void mmu_code_pages_mark(struct cpu *);		/* vm->code_bytes is another memory */

/* ---- control */

/* Zeroed room for `bytes` that begin with a struct cpu, and for its translations.  NULL: no memory. */
void *mmu_room_new(size_t bytes);
void mmu_room_free(void *);

/* 0 or -errno; the rest cannot fail.  The CPU stands in a room. */
int mmu_init(struct cpu *);
void mmu_fini(struct cpu *);
void mmu_select(struct cpu *);				/* cpu->mode is another */
void mmu_flush(struct cpu *, bool globals);		/* the running space: false; CR0, CR4, map, A20: true */
void mmu_switch(struct cpu *);				/* CR3 holds another PCID, whose translations stay */
void mmu_forget(struct cpu *, unsigned pcid);		/* INVPCID: all of one space, */
void mmu_forget_each(struct cpu *);			/* of all spaces; not the global ones */
void mmu_invlpg(struct cpu *, uint64_t lin);
void mmu_set_a20(struct cpu *, bool on);
bool mmu_translate(struct cpu *, uint64_t lin, uint64_t *gpa);	/* debugger's: no rights, no A/D */
void mmu_check(struct cpu *);				/* the invariant of tlb.h, asserted: tests */

#endif
