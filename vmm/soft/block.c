/*
 * vmm/soft/block.c - the cache of decoded blocks: building, finding, dropping.
 *
 * Owns struct block_cache.  Knows decoding and the MMU's fetch and code-page
 * marks; nothing of what instructions do (selectors and thread_* handlers are
 * only stored).  One vCPU's thread.
 *
 * A page with decoded code has a struct code_page: the list of its blocks, and
 * one bit for each 64 bytes that any was decoded from, so that stores to data
 * beside code cost a lookup and no more.
 */
#include "vmm/soft/block.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/jit/jit.h"
#include "vmm/soft/system.h"
#include "vmm/soft/thread.h"
#include "vmm/stats.h"
#include "vmm/x86/exception.h"
#include "vmm/x86/isa.h"

enum {
	BLOCK_BYTES = 240,			/* of code, so that insn.off fits */
	COLD_LIMIT = 8 << 20,			/* of host memory in blocks that are not translated, */
	COLD_MOST = 64 << 20,			/* ... for a guest that keeps coming back to more, */
	COLD_SOON = 500 << 20,			/* ... so many instructions later */
	PART_SHIFT = 3, PART_WORDS = PAGE_BYTES >> PART_SHIFT >> 6,	/* code and data may stand side by side */
};

struct code_page {
	uint64_t gpa;
	uint64_t parts[PART_WORDS];		/* a bit for each 8 bytes of which something has been decoded */
	struct block *blocks;			/* by page_next */
	struct code_page *next;
};

/* ---- from a decoded instruction to one that executes */

/* With a REX prefix SPL to DIL stand where AH to BH do. */
static uint8_t reg8_offset(const struct x86_insn *x, unsigned r)
{
	return x->rex || r < 4 ? 8 * r : 8 * (r - 4) + 1;
}

static bool byte_operand(enum x86_operand o)
{
	return o == OP_Eb || o == OP_Gb || o == OP_Zb;
}

static bool has_operand(const struct x86_opcode *row, enum x86_operand a, enum x86_operand b)
{
	return row->operand[0] == a || row->operand[0] == b || row->operand[1] == a || row->operand[1] == b;
}

static void set_registers(const struct x86_opcode *row, const struct x86_insn *x, struct insn *in)
{
	in->reg = x->reg;
	in->rm = x->rm;
	for (unsigned i = 0; i < 2; i++) {
		enum x86_operand o = row->operand[i];

		if (o == OP_Zb || o == OP_Zv)
			in->rm = x->reg;	/* as if ModRM.rm named it */
		if (o >= OP_ES && o <= OP_GS)
			in->reg = X86_ES + (o - OP_ES);
		if (byte_operand(o)) {
			if (o == OP_Gb)
				in->reg = reg8_offset(x, x->reg);
			else if (!x->mem)
				in->rm = reg8_offset(x, in->rm);
		}
	}
	if (has_operand(row, OP_Zv, OP_Zv) || has_operand(row, OP_Ob, OP_Ov))
		in->reg = X86_RAX;		/* where the other one is the accumulator */
	if (!x->has_modrm && has_operand(row, OP_AL, OP_rAX) && (is_imm(row->operand[1])))
		in->rm = X86_RAX;
}

static void set_address(const struct x86_insn *x, struct insn *in)
{
	in->index = GPR_ZERO;
	if (!x->mem)
		return;
	in->mem = 1;
	in->rm = x->base == X86_NO_REG ? GPR_ZERO : x->base == X86_REG_RIP ? GPR_RIP : x->base;
	in->index = x->index == X86_NO_REG ? GPR_ZERO : x->index;
	in->scale = x->scale;
}

static void set_immediate(const struct x86_opcode *row, const struct x86_insn *x, struct insn *in)
{
	if (row->operand[0] == OP_Ap) {
		in->far.off = x->imm;
		in->far.sel = x->imm2;
	} else {
		in->imm = x->imm | (uint64_t)x->imm2 << 16;
	}
}

static uint8_t flat_segment(unsigned seg)
{
	return seg == X86_FS ? SEG_FLAT_FS : seg == X86_GS ? SEG_FLAT_GS : seg == X86_SS ? SEG_FLAT_SS : SEG_FLAT;
}

/* Relative to the instruction that follows; `rip` is the block's start, but for a plain handler its own. */
static void set_rip_relative(const struct x86_insn *x, struct insn *in, bool plain)
{
	int64_t disp = (int64_t)in->disp + in->len + (plain ? 0 : in->off);

	if (x->base != X86_REG_RIP)
		return;
	if (disp > INT32_MAX) {
		in->index = GPR_2G;
		disp -= 1ll << 31;
	}
	in->disp = disp;
}

void block_decoded(const struct x86_insn *x, struct insn *in, uint32_t mode, unsigned off, unsigned n)
{
	const struct x86_opcode *row = &x86_opcodes[x->row];
	const struct op_dispatch *d = &op_dispatch[x->row];

	*in = (struct insn){
		.row = x->row, .off = off, .len = x->len, .n = n, .disp = x->disp, .seg = x->seg,
		.lock = x->lock, .code64 = !!(mode & MODE_CODE64), .stack32 = !!(mode & MODE_STACK32), .opsize = x->opsize, .adsize = x->adsize, .cc = x->vex ? x->vvvv : x->opcode & 15,
		.rep = x->rep == 0xf3 ? REP_E : x->rep == 0xf2 ? REP_NE : REP_NONE,
	};
	set_registers(row, x, in);
	set_address(x, in);
	set_immediate(row, x, in);
	if (in->code64)
		in->seg = flat_segment(x->seg);
	set_rip_relative(x, in, d->plain);
	if (!x86_isa_offered(x86_row_isa(row)))
		in->fn = thread_ud;
	else if (d->plain)
		in->fn = row->treatment == T_END ? thread_plain_end : thread_plain;
	else
		in->fn = d->select(x, in);
}

/* What stands in for bytes that are no instruction; true if `r` is such a case. */
static bool translate_bad(enum x86_decode_result r, struct insn *in, unsigned off, unsigned n)
{
	if (r == X86_DECODE_OK || r == X86_DECODE_SHORT)
		return false;
	*in = (struct insn){ .fn = r == X86_DECODE_UD ? thread_ud : thread_too_long, .off = off, .n = n, .row = NO_ROW };
	return true;
}

/* ---- building */

static unsigned code_bits(uint32_t mode)
{
	return mode & MODE_CODE64 ? 64 : mode & MODE_CODE32 ? 32 : 16;
}

/* So many bytes it takes to see that they are no instruction: a store to any of them may make it one. */
static unsigned bytes_read(const uint8_t *code, unsigned avail, unsigned bits)
{
	struct x86_insn x;
	unsigned n = 1;

	while (n < avail && x86_decode(code, n, bits, &x) == X86_DECODE_SHORT)
		n++;
	return n;
}

static size_t block_size(const struct block *b)
{
	return sizeof(*b) + (b->count + 1) * sizeof(b->insn[0]);
}

/* The pseudo-instruction: go on behind the block, or leave where it ends. */
static void add_end(struct block *b, unsigned n, insn_fn *fn)
{
	b->insn[b->count] = (struct insn){
		.fn = fn, .off = b->bytes, .disp = b->bytes, .n = n, .row = NO_ROW,
		.opsize = b->mode & MODE_CODE64 ? 8 : 4, .code64 = !!(b->mode & MODE_CODE64),
	};
}

static bool is_nop(const struct insn *in)
{
	return op_dispatch[in->row].select == sel_nop && in->fn != thread_ud;
}

/*
 * Decode into b from `code`, which has `avail` bytes.  False: the first
 * instruction needs more than that.  Those that do nothing are counted and left out.
 */
static bool decode_block(struct block *b, const uint8_t *code, unsigned avail, unsigned max)
{
	bool ended = false;
	unsigned n = 0;

	while (!ended && n < max && b->bytes < BLOCK_BYTES - X86_INSN_MAX) {
		struct insn *in = &b->insn[b->count];
		struct x86_insn x;
		enum x86_decode_result r = x86_decode(code + b->bytes, avail - b->bytes, code_bits(b->mode), &x);

		if (r == X86_DECODE_SHORT)
			break;
		if (translate_bad(r, in, b->bytes, n)) {
			b->bytes += bytes_read(code + b->bytes, avail - b->bytes, code_bits(b->mode));
			b->count++;
			n++;
			break;
		}
		block_decoded(&x, in, b->mode, b->bytes, n);
		if (insn_has_link(in) && ((b->gpa + (int64_t)in->disp) ^ b->gpa) & PAGE_FRAME)
			in->fn = branch_far(in->fn);
		b->bytes += x.len;
		n++;
		if (max == 1 || !is_nop(in))
			b->count++;
		ended = x86_opcodes[x.row].treatment == T_END;
	}
	if (n == 0)
		return false;
	if (max > 1)
		block_optimise(b);
	if (b->count)
		insn_is_last(&b->insn[b->count - 1]);
	add_end(b, n, max > 1 ? thread_follow : thread_stale);
	return true;
}

static struct code_page **page_slot(struct block_cache *c, uint64_t gpa)
{
	uint64_t page = gpa & PAGE_FRAME;
	struct code_page **at = &c->page[(page >> PAGE_SHIFT) & (PAGE_BUCKETS - 1)];

	while (*at && (*at)->gpa != page)
		at = &(*at)->next;
	return at;
}

/* The parts of word `w` that [gpa, gpa + len), within a page, touches. */
static uint64_t part_mask(uint64_t gpa, uint64_t len, unsigned w)
{
	unsigned first = (gpa & PAGE_OFFSET) >> PART_SHIFT, last = ((gpa + len - 1) & PAGE_OFFSET) >> PART_SHIFT;

	return (w == first / 64 ? ~0ull << first % 64 : ~0ull) & (w == last / 64 ? ~0ull >> (63 - last % 64) : ~0ull);
}

static unsigned part_word(uint64_t gpa)
{
	return (gpa & PAGE_OFFSET) >> PART_SHIFT >> 6;
}

static void add_parts(struct code_page *page, const struct block *b)
{
	for (unsigned w = part_word(b->gpa); w <= part_word(b->gpa + b->bytes - 1); w++)
		page->parts[w] |= part_mask(b->gpa, b->bytes, w);
}

static bool has_parts(const struct code_page *page, uint64_t gpa, uint64_t len)
{
	for (unsigned w = part_word(gpa); w <= part_word(gpa + len - 1); w++)
		if (page->parts[w] & part_mask(gpa, len, w))
			return true;
	return false;
}

static struct block **bucket_of(struct block_cache *c, uint64_t gpa, uint32_t mode)
{
	return &c->bucket[(gpa ^ (uint64_t)mode << 40) * 0x9e3779b97f4a7c15 >> (64 - BUCKET_BITS)];
}

static _Noreturn void no_memory(struct cpu *cpu)
{
	strcpy(cpu->vcpu->error, "no memory for decoded code");
	cpu_unwind(cpu, UNWIND_ERROR);
}

static void insert_block(struct cpu *cpu, struct block *b)
{
	struct block_cache *c = cpu->blocks;
	struct block **bucket = bucket_of(c, b->gpa, b->mode);
	struct code_page **slot = page_slot(c, b->gpa);

	if (!*slot) {
		*slot = calloc(1, sizeof(**slot));
		if (!*slot) {
			free(b);
			no_memory(cpu);
		}
		(*slot)->gpa = b->gpa & PAGE_FRAME;
	}
	add_parts(*slot, b);
	b->page_next = (*slot)->blocks;
	(*slot)->blocks = b;
	b->bucket_next = *bucket;
	*bucket = b;
	c->bytes += block_size(b);
	count_up(&c->built, 1);
}

static void make_room(struct cpu *);

static struct block *build_block(struct cpu *cpu, uint64_t gpa, const uint8_t *page, uint32_t mode)
{
	struct block_cache *c = cpu->blocks;
	unsigned at = gpa & PAGE_OFFSET;
	struct block *b;

	if (c->bytes > c->limit)
		make_room(cpu);
	mmu_code_page_add(cpu, gpa & PAGE_FRAME);	/* before the bytes are read: no store is missed */
	*c->scratch = (struct block){ .mode = mode, .gpa = gpa, .jumps = JUMP_END };
	if (!decode_block(c->scratch, page + at, PAGE_BYTES - at, mode & MODE_STEP ? 1 : BLOCK_INSNS))
		return NULL;
	if (debug_break_near(cpu, gpa + 1, c->scratch->bytes - 1)) {	/* what follows is looked up, and found to be one */
		*c->scratch = (struct block){ .mode = mode, .gpa = gpa, .jumps = JUMP_END };
		decode_block(c->scratch, page + at, PAGE_BYTES - at, 1);
	}
	b = malloc(block_size(c->scratch));
	if (!b)
		no_memory(cpu);
	memcpy(b, c->scratch, block_size(c->scratch));
	insert_block(cpu, b);
	jit_watch(cpu, b);
	return b;
}

static struct lone *lone_at(struct block_cache *c, uint64_t lin)
{
	return &c->lone[(lin >> 4 ^ lin >> PAGE_SHIFT) % LONE_BLOCKS];
}

/* The block of one instruction whose bytes these are; it is in no list and not found again but by its bytes. */
static struct block *lone_block(struct lone *l, const uint8_t *bytes, uint32_t mode)
{
	struct block *b = (struct block *)l->block;

	mode |= MODE_STEP;
	if (l->used && b->mode == mode && memcmp(l->bytes, bytes, X86_INSN_MAX) == 0)
		return b;
	memcpy(l->bytes, bytes, X86_INSN_MAX);
	*b = (struct block){ .mode = mode, .gpa = ~0ull, .jumps = JUMP_END };
	l->used = decode_block(b, l->bytes, X86_INSN_MAX, 1);
	l->gen = 0;
	return b;
}

static const uint8_t all_ones[X86_INSN_MAX] = { [0 ... X86_INSN_MAX - 1] = 0xff };

/* The instruction at rip crosses into the next page. */
static struct block *crossing_block(struct cpu *cpu, uint64_t lin, const uint8_t *page, uint32_t mode)
{
	struct lone *l = lone_at(cpu->blocks, lin);
	unsigned first = PAGE_BYTES - (lin & PAGE_OFFSET);
	uint64_t next = (lin + first) & cpu->ip_mask, gpa;
	uint8_t bytes[X86_INSN_MAX];
	const uint8_t *second;
	struct block *b;

	memcpy(bytes, page + (lin & PAGE_OFFSET), first);
	second = mmu_fetch_page(cpu, next, &gpa);
	memcpy(bytes + first, second ? second : all_ones, X86_INSN_MAX - first);
	b = lone_block(l, bytes, mode);
	if (second && !((lin ^ next) >> 63)) {
		mmu_note_target(&cpu->mmu, lin);
		mmu_note_target(&cpu->mmu, next);
		mmu_note_target(&cpu->mmu, lin);	/* again: that one may have begun another generation, which knew of none */
		l->lin = lin;
		l->gen = mmu_gen(cpu, lin);
		l->part[0] = page + (lin & PAGE_OFFSET);
		l->part[1] = second;
	}
	return b;
}

/* The same, if it is where it was and what it was, without a look at the MMU. */
static struct block *crossed_before(struct cpu *cpu, uint64_t lin, uint32_t mode)
{
	struct lone *l = lone_at(cpu->blocks, lin);
	struct block *b = (struct block *)l->block;
	unsigned first = PAGE_BYTES - (lin & PAGE_OFFSET);

	if (l->lin != lin || l->gen != mmu_gen(cpu, lin) || first >= X86_INSN_MAX || b->mode != (mode | MODE_STEP))
		return NULL;
	return memcmp(l->bytes, l->part[0], first) || memcmp(l->bytes + first, l->part[1], X86_INSN_MAX - first) ? NULL : b;
}

/* ---- finding */

static struct block *lookup(struct block_cache *c, uint64_t gpa, uint32_t mode)
{
	struct block *b = *bucket_of(c, gpa, mode);

	while (b && (b->gpa != gpa || b->mode != mode))
		b = b->bucket_next;
	return b;
}

static void forget_jumps(struct block_cache *c, struct block *b)
{
	while (b->jumps != JUMP_END) {
		struct jump_entry *e = &c->jump[b->jumps];

		b->jumps = e->next;
		*e = (struct jump_entry){ 0 };
	}
}

static void forget_jump(struct block_cache *c, struct jump_entry *e)
{
	*(e->prev == JUMP_END ? &e->block->jumps : &c->jump[e->prev].next) = e->next;
	if (e->next != JUMP_END)
		c->jump[e->next].prev = e->prev;
	*e = (struct jump_entry){ 0 };
}

static void remember_jump(struct cpu *cpu, struct block *b, uint64_t lin)
{
	struct block_cache *c = cpu->blocks;
	struct jump_entry *e;

	mmu_note_target(&cpu->mmu, lin);
	e = jump_entry(c, lin, mmu_gen(cpu, lin));
	if (e->block)
		forget_jump(c, e);
	*e = (struct jump_entry){ .lin = lin, .gen = mmu_gen(cpu, lin), .block = b, .next = b->jumps, .prev = JUMP_END };
	if (e->next != JUMP_END)
		c->jump[e->next].prev = e - c->jump;
	b->jumps = e - c->jump;
}

/* In place of the code where a breakpoint may be; in no list. */
static struct block *break_block(struct cpu *cpu, uint32_t mode)
{
	struct block *b = cpu->blocks->brk;

	*b = (struct block){ .mode = mode, .gpa = ~0ull, .jumps = JUMP_END };
	memset(b->insn, 0, sizeof(b->insn[0]));
	b->insn[0].fn = thread_break;
	return b;
}

struct block *block_find(struct cpu *cpu, bool step)
{
	struct block_cache *c = cpu->blocks;
	uint64_t lin = cpu_code_linear(cpu, cpu->rip), gpa;
	uint32_t mode = cpu->mode | (step ? MODE_STEP : 0);
	struct block *b = step ? NULL : jump_block(cpu, cpu->rip);
	const uint8_t *page;

	if (!b && (step || !debug_break_near(cpu, lin, 1)))
		b = crossed_before(cpu, lin, mode);
	if (b)
		return b;
	page = mmu_fetch_page(cpu, lin, &gpa);
	if (!step && debug_break_near(cpu, lin, 1))
		return break_block(cpu, mode);
	if (!page)
		return lone_block(lone_at(c, lin), all_ones, mode);
	gpa = (gpa & PAGE_FRAME) | (lin & PAGE_OFFSET);
	b = lookup(c, gpa, mode);
	if (!b)
		b = build_block(cpu, gpa, page, mode);
	if (!b)
		return crossing_block(cpu, lin, page, mode);
	if (!step)
		remember_jump(cpu, b, lin);
	return b;
}

/* ---- dropping */

static void unlist(struct block **at, struct block *b)
{
	while (*at != b)
		at = &(*at)->bucket_next;
	*at = b->bucket_next;
}

/* Out of everything but its page's list, which the caller walks. */
static void kill_block(struct cpu *cpu, struct block *b)
{
	struct block_cache *c = cpu->blocks;

	jit_kill(cpu, b);
	unlist(bucket_of(c, b->gpa, b->mode), b);
	forget_jumps(c, b);
	for (unsigned i = 0; i <= b->count; i++)
		b->insn[i].fn = thread_stale;
	b->dead = true;
	b->bucket_next = c->dead;
	c->dead = b;
	c->bytes -= block_size(b);
	count_up(&c->killed, 1);
}

/* A direct branch's link shares its room with an immediate, so only branches are looked at. */
static void drop_links(struct block *b)
{
	for (unsigned i = 0; i <= b->count; i++)
		if (insn_has_link(&b->insn[i]) && b->insn[i].link && b->insn[i].link->dead)
			b->insn[i].link = NULL;
}

static bool overlaps(const struct block *b, uint64_t gpa, uint64_t len)
{
	return b->gpa < gpa + len && gpa < b->gpa + b->bytes;
}

static bool is_cold(const struct block *b, uint64_t gpa, uint64_t len)
{
	(void)gpa, (void)len;
	return !b->unit;
}

/* Of the page's blocks those that are meant die; no link leads to them. */
static void kill_some(struct cpu *cpu, struct code_page *page, bool (*meant)(const struct block *, uint64_t, uint64_t), uint64_t gpa, uint64_t len)
{
	struct block **at = &page->blocks;
	bool killed = false;

	memset(page->parts, 0, sizeof(page->parts));
	while (*at) {
		struct block *b = *at;

		if (meant(b, gpa, len)) {
			*at = b->page_next;
			kill_block(cpu, b);
			killed = true;
		} else {
			add_parts(page, b);
			at = &b->page_next;
		}
	}
	for (struct block *b = page->blocks; b && killed; b = b->page_next)
		drop_links(b);
}

bool block_invalidate(struct cpu *cpu, uint64_t gpa, uint64_t len)
{
	struct block_cache *c = cpu->blocks;
	struct code_page **slot = page_slot(c, gpa), *page = *slot;

	if (!page)
		return true;
	if (!has_parts(page, gpa, len))
		return false;
	kill_some(cpu, page, overlaps, gpa, len);
	if (page->blocks)
		return false;
	*slot = page->next;
	free(page);
	return true;
}

static void drop_page(struct cpu *cpu, struct code_page *page)
{
	for (struct block *b = page->blocks; b; b = b->page_next)
		kill_block(cpu, b);
	mmu_code_page_drop(cpu, page->gpa);
	free(page);
}

void block_flush(struct cpu *cpu)
{
	struct block_cache *c = cpu->blocks;

	for (unsigned i = 0; i < PAGE_BUCKETS; i++) {
		while (c->page[i]) {
			struct code_page *page = c->page[i];

			c->page[i] = page->next;
			drop_page(cpu, page);
		}
	}
	for (unsigned i = 0; i < LONE_BLOCKS; i++) {
		c->lone[i].used = false;
		c->lone[i].gen = 0;
	}
	c->limit = c->cold;
	count_up(&c->flushed, 1);
}

/*
 * All that is not translated is dropped, most of which ran once.  What is stays:
 * the translator's own room bounds it.  Where it is full again soon the guest's
 * own working set does not fit, so there is more room from then on.
 */
static void make_room(struct cpu *cpu)
{
	struct block_cache *c = cpu->blocks;

	for (unsigned i = 0; i < PAGE_BUCKETS; i++) {
		struct code_page **at = &c->page[i], *page;

		while ((page = *at)) {
			kill_some(cpu, page, is_cold, 0, 0);
			if (page->blocks) {
				at = &page->next;
				continue;
			}
			*at = page->next;
			mmu_code_page_drop(cpu, page->gpa);
			free(page);
		}
	}
	if (c->trimmed && cpu->icount - c->trimmed_at < COLD_SOON && c->cold < COLD_MOST)
		c->cold *= 2;
	c->trimmed_at = cpu->icount;
	c->limit = c->bytes + c->cold;
	count_up(&c->trimmed, 1);
}

/* No block executes: the run loop. */
void block_reap(struct cpu *cpu)
{
	struct block_cache *c = cpu->blocks;

	while (c->dead) {
		struct block *b = c->dead;

		c->dead = b->bucket_next;
		*b = (struct block){ .dead = true, .gpa = ~0ull, .jumps = JUMP_END };	/* for block_check() */
		free(b);
	}
}

/* ---- the invariant */

static void check_block(struct block_cache *c, const struct code_page *page, struct block *b)
{
	assert(!b->dead && (b->gpa & PAGE_FRAME) == page->gpa);
	for (unsigned w = part_word(b->gpa); w <= part_word(b->gpa + b->bytes - 1); w++)
		assert(!(part_mask(b->gpa, b->bytes, w) & ~page->parts[w]));
	assert(lookup(c, b->gpa, b->mode));
	for (uint32_t j = b->jumps, prev = JUMP_END; j != JUMP_END; prev = j, j = c->jump[j].next)
		assert(c->jump[j].block == b && c->jump[j].prev == prev);
	for (unsigned i = 0; i <= b->count; i++) {
		const struct insn *in = &b->insn[i];

		assert(in->fn != thread_stale || (i == b->count && (b->mode & MODE_STEP)));
		assert(in->n >= i && in->off <= b->bytes);
		if (insn_has_link(in) && in->link)
			assert(!in->link->dead && (in->link->gpa & PAGE_FRAME) == page->gpa &&
			       b->gpa + (int64_t)in->disp == in->link->gpa);
	}
}

void block_check(struct cpu *cpu)
{
	struct block_cache *c = cpu->blocks;
	size_t bytes = 0;

	for (unsigned i = 0; i < PAGE_BUCKETS; i++)
		for (struct code_page *page = c->page[i]; page; page = page->next)
			for (struct block *b = page->blocks; b; b = b->page_next) {
				check_block(c, page, b);
				bytes += block_size(b);
			}
	assert(bytes == c->bytes);
	for (unsigned i = 0; i < JUMP_ENTRIES; i++)
		assert(!c->jump[i].block || (!c->jump[i].block->dead && !((c->jump[i].lin ^ c->jump[i].block->gpa) & PAGE_OFFSET)));
}

int block_cache_new(struct cpu *cpu)
{
	struct block_cache *c = calloc(1, sizeof(*c));
	size_t room = sizeof(struct block) + (BLOCK_INSNS + 1) * sizeof(struct insn);

	if (!c)
		return -ENOMEM;
	c->limit = c->cold = COLD_LIMIT;
	c->scratch = calloc(1, room);
	c->brk = calloc(1, room);
	if (!c->scratch || !c->brk) {
		free(c->scratch);
		free(c->brk);
		free(c);
		return -ENOMEM;
	}
	cpu->blocks = c;
	return 0;
}

void block_cache_free(struct cpu *cpu)
{
	if (!cpu->blocks)
		return;
	block_flush(cpu);
	block_reap(cpu);
	free(cpu->blocks->scratch);
	free(cpu->blocks->brk);
	free(cpu->blocks);
	cpu->blocks = NULL;
}
