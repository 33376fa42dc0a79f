/*
 * vmm/soft/op_string.c - MOVS CMPS STOS LODS SCAS, alone and repeated.
 *
 * A repeated one works in runs: as many elements as lie in one page at source
 * and destination, inside the segment limits and short of a wrap of the
 * address, straight on host memory.  Whatever does not allow a run (device
 * memory, decoded code, a breakpoint, an element that crosses a page) goes
 * element by element.  Registers are brought up to date after each run or
 * element, so a fault finds them as the manual wants them, and events are
 * looked at there.
 *
 * The destination is ES:rDI, the source DS:rSI or its override (64-bit mode: insn.h).  Pointers and
 * counter have the address size's width.  SDM vol. 2; vol. 1 section 7.3.9.
 */
#include "vmm/soft/alu.h"
#include "vmm/soft/thread.h"

#include <string.h>

/* ---- pointers and counter */
static inline uint64_t index_get(const struct cpu *cpu, const struct insn *in, unsigned r)
{
	return in->adsize == 2 ? cpu->gpr[r].w : in->adsize == 4 ? cpu->gpr[r].d : cpu->gpr[r].q;
}

static inline void index_add(struct cpu *cpu, const struct insn *in, unsigned r, int64_t by)
{
	gpr_write(cpu, r, in->adsize, index_get(cpu, in, r) + by);
}

static inline bool backward(const struct cpu *cpu)
{
	return cpu->rflags & X86_RFLAGS_DF;
}

/* Bytes from one element to the next. */
static inline int64_t step_of(const struct cpu *cpu, unsigned size)
{
	return backward(cpu) ? -(int64_t)size : size;
}

/*
 * Elements from `off` on that lie in one page, do not wrap the address and
 * are inside `end` (the segment's rend or wend): 0 where the first is not.
 */
static uint64_t run_length(const struct cpu *cpu, const struct insn *in, unsigned seg, uint64_t end, uint64_t off, unsigned size)
{
	uint64_t lin = cpu->seg[seg].base + off, at = lin & PAGE_OFFSET;
	uint64_t top = in->adsize == 2 ? 0x10000 : in->adsize == 4 ? 0x100000000 : ~0ull, n;
	unsigned shift = __builtin_ctz(size);

	if (in->code64 && !cpu_canonical(cpu, lin))
		return 0;
	if (off + size > end || off + size > top || at + size > PAGE_BYTES)
		return 0;
	if (backward(cpu)) {
		n = (at >> shift) + 1;
		return n < (off >> shift) + 1 ? n : (off >> shift) + 1;
	}
	n = (PAGE_BYTES - at) >> shift;
	if (end > top)
		end = top;
	return n < (end - off) >> shift ? n : (end - off) >> shift;
}

/* A run: its elements, and the host address of its first one, at source and destination. */
struct run {
	uint64_t count;
	uint8_t *src, *dst;
};

/* These shorten a run to what lies in one page there; to nothing where that must go element by element. */
static void source_run(struct cpu *cpu, const struct insn *in, unsigned size, struct run *r)
{
	uint64_t off = index_get(cpu, in, X86_RSI);
	uint64_t n = run_length(cpu, in, in->seg, cpu->seg[in->seg].rend, off, size);

	r->src = n ? mmu_span_read(cpu, cpu->seg[in->seg].base + off) : NULL;
	r->count = !r->src ? 0 : n < r->count ? n : r->count;
}

/* `write`: as STOS and MOVS reach it; else as SCAS and CMPS. */
static void dest_run(struct cpu *cpu, const struct insn *in, unsigned size, bool write, struct run *r)
{
	unsigned seg = insn_es(in);
	const struct seg *es = &cpu->seg[seg];
	uint64_t off = index_get(cpu, in, X86_RDI);
	uint64_t lin = es->base + off, n = run_length(cpu, in, seg, write ? es->wend : es->rend, off, size);

	r->dst = !n ? NULL : write ? mmu_span_write(cpu, lin) : mmu_span_read(cpu, lin);
	r->count = !r->dst ? 0 : n < r->count ? n : r->count;
}

static void both_runs(struct cpu *cpu, const struct insn *in, unsigned size, bool write, struct run *r)
{
	source_run(cpu, in, size, r);
	if (r->count)
		dest_run(cpu, in, size, write, r);
}

/* ---- the work on one run; `size` is constant where these are inlined */

/* As element by element: where the destination overlaps what is still to be read, the pattern repeats. */
static inline void copy_run(const struct run *r, unsigned size, bool back)
{
	uint64_t bytes = r->count * size;
	uint8_t *src = back ? r->src - (bytes - size) : r->src, *dst = back ? r->dst - (bytes - size) : r->dst;
	uint64_t ahead = back ? (uint64_t)(src - dst) : (uint64_t)(dst - src);

	if (ahead == 0 || ahead >= bytes) {
		memmove(dst, src, bytes);
		return;
	}
	for (uint64_t i = 0; i < r->count; i++) {
		uint64_t at = (back ? r->count - 1 - i : i) * size;
		uint8_t element[8];

		memcpy(element, src + at, size);
		memcpy(dst + at, element, size);
	}
}

/* The host's own REP STOS; short runs are cheaper by hand. */
#define FILL(W, suffix)								\
static inline void fill_##W(const struct run *r, uint##W##_t v, bool back)	\
{										\
	struct mmu_u##W *p = (struct mmu_u##W *)r->dst;				\
	uint64_t n = r->count;							\
										\
	if (back)								\
		p -= n - 1;							\
	if (n * sizeof(*p) >= 128) {						\
		__asm__ volatile("rep stos" suffix : "+D"(p), "+c"(n) : "a"(v) : "memory");	\
		return;								\
	}									\
	for (uint64_t i = 0; i < n; i++)					\
		p[i].v = v;							\
}
FILL(8, "b")
FILL(16, "w")
FILL(32, "l")
FILL(64, "q")

/* Elements until `stop` (ZF) is met, that one included; *last is the pair that was compared last. */
#define SCAN_RUN(W)										\
static uint64_t scan_##W(const struct run *r, uint##W##_t acc, bool stop, bool back, uint##W##_t *last)	\
{												\
	const struct mmu_u##W *p = (const struct mmu_u##W *)r->dst;				\
	uint64_t i = 0;										\
												\
	do {											\
		*last = back ? p[-(int64_t)i].v : p[i].v;					\
		i++;										\
	} while (i < r->count && (*last == acc) != stop);					\
	return i;										\
}												\
static uint64_t compare_##W(const struct run *r, bool stop, bool back, uint##W##_t *a, uint##W##_t *b)	\
{												\
	const struct mmu_u##W *s = (const struct mmu_u##W *)r->src, *d = (const struct mmu_u##W *)r->dst;	\
	uint64_t i = 0;										\
												\
	do {											\
		*a = back ? s[-(int64_t)i].v : s[i].v;						\
		*b = back ? d[-(int64_t)i].v : d[i].v;						\
		i++;										\
	} while (i < r->count && (*a == *b) != stop);						\
	return i;										\
}
SCAN_RUN(8)
SCAN_RUN(16)
SCAN_RUN(32)
SCAN_RUN(64)

/* ---- handlers */

/* Between elements: leave with rip on the instruction. */
static void leave_string(struct cpu *cpu, const struct insn *in)
{
	cpu->insn = in;
	cpu_sync_rip(cpu);
	cpu->mid_string = true;
}

/* How many a run may have: one where each is watched. */
static inline uint64_t run_limit(const struct cpu *cpu, uint64_t count)
{
	return cpu->stepping && cpu->each ? 1 : count;
}

/*
 * An instruction alone, and repeated: `find` shortens r to the next run, NAME_run_W() does it,
 * and where there is none NAME_one_W() does an element; `end` is what stops REPE
 * and REPNE before the count does.
 */
#define STRING(name, W, find, end)						\
HANDLER(name##W)								\
{										\
	cpu->insn = in;								\
	name##_one_##W(cpu, in);						\
	NEXT(1);								\
}										\
HANDLER(rep_##name##W)								\
{										\
	uint64_t count;								\
										\
	cpu->insn = in;								\
	while ((count = index_get(cpu, in, X86_RCX)) != 0) {			\
		struct run r = { .count = run_limit(cpu, count) };		\
										\
		find;								\
		if (r.count) {							\
			name##_run_##W(cpu, in, &r);				\
		} else {							\
			name##_one_##W(cpu, in);				\
			r.count = 1;						\
		}								\
		index_add(cpu, in, X86_RCX, -(int64_t)r.count);			\
		if (end)							\
			break;							\
		if (count != r.count && cpu_event(cpu))				\
			return leave_string(cpu, in);				\
	}									\
	NEXT(1);								\
}

/* The pointers that an instruction moves, by `n` elements of `size` bytes. */
static inline void move_src(struct cpu *cpu, const struct insn *in, unsigned size, uint64_t n)
{
	index_add(cpu, in, X86_RSI, step_of(cpu, size) * (int64_t)n);
}

static inline void move_dst(struct cpu *cpu, const struct insn *in, unsigned size, uint64_t n)
{
	index_add(cpu, in, X86_RDI, step_of(cpu, size) * (int64_t)n);
}

static inline bool scan_ends(const struct cpu *cpu, const struct insn *in)
{
	return !!(cpu->fl & FL_ZF) == (in->rep == REP_NE);
}

#define STRINGS(W)									\
static inline void movs_one_##W(struct cpu *cpu, const struct insn *in)			\
{											\
	uint##W##_t v = ld##W(cpu, in->seg, index_get(cpu, in, X86_RSI));		\
											\
	st##W(cpu, insn_es(in), index_get(cpu, in, X86_RDI), v);			\
	move_src(cpu, in, W / 8, 1);							\
	move_dst(cpu, in, W / 8, 1);							\
}											\
static inline void movs_run_##W(struct cpu *cpu, const struct insn *in, struct run *r)	\
{											\
	copy_run(r, W / 8, backward(cpu));						\
	move_src(cpu, in, W / 8, r->count);						\
	move_dst(cpu, in, W / 8, r->count);						\
}											\
static inline void stos_one_##W(struct cpu *cpu, const struct insn *in)			\
{											\
	st##W(cpu, insn_es(in), index_get(cpu, in, X86_RDI), GET_##W(0));		\
	move_dst(cpu, in, W / 8, 1);							\
}											\
static inline void stos_run_##W(struct cpu *cpu, const struct insn *in, struct run *r)	\
{											\
	fill_##W(r, GET_##W(0), backward(cpu));						\
	move_dst(cpu, in, W / 8, r->count);						\
}											\
static inline void lods_one_##W(struct cpu *cpu, const struct insn *in)			\
{											\
	uint##W##_t v = ld##W(cpu, in->seg, index_get(cpu, in, X86_RSI));		\
											\
	move_src(cpu, in, W / 8, 1);							\
	PUT_##W(0, v);									\
}											\
static inline void lods_run_##W(struct cpu *cpu, const struct insn *in, struct run *r)	\
{											\
	const struct mmu_u##W *p = (const struct mmu_u##W *)r->src;			\
	int64_t last = r->count - 1;							\
											\
	PUT_##W(0, p[backward(cpu) ? -last : last].v);					\
	move_src(cpu, in, W / 8, r->count);						\
}											\
static inline void scas_one_##W(struct cpu *cpu, const struct insn *in)			\
{											\
	uint##W##_t v = ld##W(cpu, insn_es(in), index_get(cpu, in, X86_RDI));		\
											\
	cmp_##W(GET_##W(0), v, &cpu->fl);						\
	move_dst(cpu, in, W / 8, 1);							\
}											\
static inline void scas_run_##W(struct cpu *cpu, const struct insn *in, struct run *r)	\
{											\
	uint##W##_t last;								\
											\
	r->count = scan_##W(r, GET_##W(0), in->rep == REP_NE, backward(cpu), &last);	\
	cmp_##W(GET_##W(0), last, &cpu->fl);						\
	move_dst(cpu, in, W / 8, r->count);						\
}											\
static inline void cmps_one_##W(struct cpu *cpu, const struct insn *in)			\
{											\
	uint##W##_t a = ld##W(cpu, in->seg, index_get(cpu, in, X86_RSI));		\
	uint##W##_t b = ld##W(cpu, insn_es(in), index_get(cpu, in, X86_RDI));		\
											\
	cmp_##W(a, b, &cpu->fl);							\
	move_src(cpu, in, W / 8, 1);							\
	move_dst(cpu, in, W / 8, 1);							\
}											\
static inline void cmps_run_##W(struct cpu *cpu, const struct insn *in, struct run *r)	\
{											\
	uint##W##_t a, b;								\
											\
	r->count = compare_##W(r, in->rep == REP_NE, backward(cpu), &a, &b);		\
	cmp_##W(a, b, &cpu->fl);							\
	move_src(cpu, in, W / 8, r->count);						\
	move_dst(cpu, in, W / 8, r->count);						\
}											\
STRING(movs, W, both_runs(cpu, in, W / 8, true, &r), false)				\
STRING(stos, W, dest_run(cpu, in, W / 8, true, &r), false)				\
STRING(lods, W, source_run(cpu, in, W / 8, &r), false)					\
STRING(scas, W, dest_run(cpu, in, W / 8, false, &r), scan_ends(cpu, in))		\
STRING(cmps, W, both_runs(cpu, in, W / 8, false, &r), scan_ends(cpu, in))
STRINGS(8)
STRINGS(16)
STRINGS(32)
STRINGS(64)

static enum width string_width(const struct x86_insn *x)
{
	return !(x->opcode & 1) ? W8 : x->opsize == 2 ? W16 : x->opsize == 4 ? W32 : W64;
}

#define STRING_SELECT(op)									\
insn_fn *sel_##op(const struct x86_insn *x, struct insn *in)					\
{												\
	static insn_fn *const forms[2][WIDTHS] = {						\
		{ op##8, op##16, op##32, op##64 },						\
		{ rep_##op##8, rep_##op##16, rep_##op##32, rep_##op##64 },			\
	};											\
												\
	return forms[in->rep != REP_NONE][string_width(x)];					\
}
STRING_SELECT(movs)
STRING_SELECT(stos)
STRING_SELECT(lods)
STRING_SELECT(scas)
STRING_SELECT(cmps)
