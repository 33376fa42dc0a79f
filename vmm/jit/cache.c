/*
 * vmm/jit/cache.c - where translations live: code memory, links between them,
 * the table of branch targets.
 *
 * Code memory is shared memory without a name, mapped twice: written through one
 * mapping, executed through the other, never both.  (Of a memfd perf would want
 * the file, and ask no map of ours.)  It is a ring: units are placed one behind
 * the other, each with all that is kept of it, and when the end is reached the
 * oldest make room.
 *
 * A unit that dies is unlinked at once; its code stays until the ring comes
 * round, since it may be executing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/jit/lockstep.h"
#include "vmm/jit/unit.h"
#include "vmm/soft/mmu.h"
#include "vmm/stats.h"

enum { CODE_MAX = 32 << 10, UNIT_MAX = CODE_MAX + sizeof(struct jit_draft), JUMP_BYTES = JIT_JUMPS * sizeof(struct jit_jump) };

#define ALIGNED(n)	(((n) + 15) & ~15u)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25		/* Linux 6.1; unlike shmem's own setting it asks for nobody's leave */
#endif

/* ---- links */

static void set_jump(struct jit *j, uint32_t site, uint32_t target)
{
	uint32_t rel = target - (site + 4);

	memcpy(j->rw + site, &rel, 4);
}

static void unlink_exit(struct jit *j, struct jit_exit *e)
{
	if (!e->to)
		return;
	*e->at = e->next;
	if (e->next)
		e->next->at = e->at;
	e->to = NULL;
	set_jump(j, e->site, e->site + 4);	/* on to what stands behind: the way out */
}

void jit_link(struct jit *j, struct jit_exit *e, struct jit_unit *to)
{
	if (!e->site || e->to)
		return;
	e->to = to;
	e->next = to->incoming;
	e->at = &to->incoming;
	if (e->next)
		e->next->at = &e->next;
	to->incoming = e;
	set_jump(j, e->site, to->entry - j->rx);
	count_up(&j->stats.links, 1);
}

static void unlink_unit(struct jit *j, struct jit_unit *u)
{
	while (u->incoming)
		unlink_exit(j, u->incoming);
	for (unsigned i = 0; i < u->exits; i++)
		unlink_exit(j, &u->exit[i]);
}

/* ---- branch targets */

static void clear_slot(struct jit_jumps *t, unsigned i)
{
	t->slot[i] = (struct jit_jump){ .not_rip = i == JIT_JUMPS - 1 ? JUMP_NEVER : 0 };
}

static void clear_jumps(struct jit_jumps *t)
{
	if (t->noted > JUMPS_NOTED) {
		madvise(t->slot, JUMP_BYTES, MADV_DONTNEED);
		clear_slot(t, JIT_JUMPS - 1);
	} else {
		for (unsigned i = 0; i < t->noted; i++)
			clear_slot(t, t->note[i]);
	}
	t->noted = 0;
	t->half[0] = t->half[1] = false;
}

static int map_jumps(struct jit_jumps *t)
{
	void *room = mmap(NULL, JUMP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		return -errno;
	t->slot = room;
	clear_slot(t, JIT_JUMPS - 1);
	return 0;
}

/* What is in it is of these generations. */
static bool is_of(const struct cpu *cpu, const struct jit_jumps *t)
{
	for (unsigned h = 0; h < 2; h++)
		if (t->half[h] && t->gen[h] != cpu->mmu.gen[h])
			return false;
	return true;
}

/* Of the user's: that of this address space, or the one that has not been used for longest. */
static struct jit_jumps *choose(struct cpu *cpu)
{
	struct jit_jumps *table = cpu->jit.j->jumps[MMU_USER], *oldest = table;

	for (unsigned i = 0; i < JIT_TABLES; i++) {
		if (table[i].slot && table[i].gen[0] == cpu->mmu.gen[0])
			return &table[i];
		if (!table[i].slot)
			return map_jumps(&table[i]) ? oldest : &table[i];
		if (table[i].used < oldest->used)
			oldest = &table[i];
	}
	return oldest;
}

/* The table of `set` for the generations as they are. */
static struct jit_jumps *follow(struct cpu *cpu, unsigned set)
{
	struct jit_jumps *t = cpu->jit.j->of_now[set];

	if (t->gen[0] == cpu->mmu.gen[0] && t->gen[1] == cpu->mmu.gen[1])
		return t;
	if (set == MMU_USER)
		t = choose(cpu);
	if (!is_of(cpu, t))
		clear_jumps(t);
	for (unsigned h = 0; h < 2; h++)
		t->gen[h] = cpu->mmu.gen[h];
	t->used = ++cpu->jit.j->turns;
	cpu->jit.j->of_now[set] = t;
	return t;
}

/* Nothing needs to be set where nobody was disturbed; else it is set before cpu_look() reads what was raised. */
bool jit_look(struct cpu *cpu, unsigned set)
{
	uint64_t table = (uintptr_t)follow(cpu, set)->slot;
	_Atomic uint64_t *now = cpu->jit.calm.now;

	if (atomic_load_explicit(&now[CALM_JUMPS + set], memory_order_relaxed) == table &&
	    atomic_load_explicit(&now[CALM], memory_order_relaxed))
		return cpu_event(cpu);
	atomic_store_explicit(&now[CALM_JUMPS + set], table, memory_order_relaxed);
	return cpu_look(cpu);
}

void jit_remember(struct cpu *cpu, unsigned set, uint64_t rip, struct jit_unit *u)
{
	unsigned i = rip >> JUMP_SHIFT & (JIT_JUMPS - 1);
	struct jit_jumps *t;

	mmu_note_target(&cpu->mmu, rip);
	t = follow(cpu, set);
	if (!t->slot[i].code) {
		if (t->noted < JUMPS_NOTED)
			t->note[t->noted] = i;
		if (t->noted <= JUMPS_NOTED)
			t->noted++;
	}
	t->slot[i] = (struct jit_jump){ .not_rip = ~rip, .code = u->far };
	t->half[rip >> 63] = true;
	if (!u->slots || u->slot != i)
		u->slots += u->slots < 2;
	u->slot = i;
}

/* All linear addresses that lead here agree in their offset in the page. */
static void forget_in(struct jit_jumps *t, const struct jit_unit *u)
{
	unsigned first = u->slot, step = JIT_JUMPS;

	if (u->slots > 1) {
		first = (u->block->gpa & PAGE_OFFSET) >> JUMP_SHIFT;
		step = PAGE_BYTES >> JUMP_SHIFT;
	}
	for (unsigned i = first; i < JIT_JUMPS; i += step)
		if (t->slot[i].code == u->far)
			clear_slot(t, i);	/* it stays noted */
}

static void forget_target(struct jit *j, const struct jit_unit *u)
{
	struct jit_jumps *table = j->jumps[mode_set(u->block->mode)];

	for (unsigned i = 0; i < JIT_TABLES && table[i].slot && u->slots; i++)
		forget_in(&table[i], u);
}

/* ---- life of units */

static void retire(struct jit *j, struct jit_unit *u)
{
	unlink_unit(j, u);
	forget_target(j, u);
	u->block->unit = NULL;
	u->block = NULL;
}

void jit_kill(struct cpu *cpu, struct block *b)
{
	struct jit *j = cpu->jit.j;

	if (!b->unit)
		return;
	retire(j, b->unit);
	count_up(&j->stats.killed, 1);
}

static void evict(struct jit *j)
{
	struct jit_unit *u = j->oldest;

	if (u->block) {
		jit_cool(u->block);
		retire(j, u);
		count_up(&j->stats.evicted, 1);
	}
	count_up(&j->stats.used, -(uint64_t)u->bytes);
	j->oldest = u->newer;
	if (!j->oldest)
		j->newest = NULL;
}

static bool overlaps(const struct jit_unit *u, uint32_t at, uint32_t bytes)
{
	return u->start < at + bytes && at < u->start + u->bytes;
}

/* `bytes` in one piece: behind the newest, or at the beginning. */
static void make_room(struct jit *j, uint32_t bytes)
{
	if (j->at + bytes > j->size) {
		while (j->oldest && j->oldest->start >= j->at)
			evict(j);
		j->at = j->first;
	}
	while (j->oldest && overlaps(j->oldest, j->at, bytes))
		evict(j);
}

/*
 * Pieces of code memory that are about to be used, each in one page of the host's if
 * it has one for us: what is hot is spread over all of it.
 */
static void take_pieces(struct jit *j, uint32_t end)
{
	for (; j->pieces < end && j->pieces + HUGE_PAGE <= j->size; j->pieces += HUGE_PAGE) {
		madvise(j->rw + j->pieces, HUGE_PAGE, MADV_COLLAPSE);
		madvise(j->rx + j->pieces, HUGE_PAGE, MADV_COLLAPSE);
	}
}

struct code jit_reserve(struct jit *j)
{
	make_room(j, UNIT_MAX);
	take_pieces(j, j->at + UNIT_MAX);
	return (struct code){ .bytes = j->rw + j->at, .size = CODE_MAX, .loop = j->loop };
}

/* What the draft takes in code memory besides the code. */
static uint32_t ops_bytes(const struct jit_unit *u)
{
	return sizeof(*u) + u->ops * sizeof(u->op[0]);
}

static uint32_t exits_bytes(const struct jit_unit *u)
{
	return u->exits * sizeof(u->exit[0]);
}

static void set_addresses(struct jit *j, const struct jit_unit *u)
{
	const struct jit_draft *d = &j->draft;

	for (unsigned i = 0; i < d->refs; i++) {
		const void *to = d->ref[i].is_exit ? (const void *)&u->exit[d->ref[i].n] : &u->op[d->ref[i].n];
		uint32_t at = u->start + d->ref[i].field;
		int32_t rel = (intptr_t)to - (intptr_t)(j->rx + at + 4);

		memcpy(j->rw + at, &rel, 4);
	}
}

static void append(struct jit *j, struct jit_unit *u)
{
	j->at += u->bytes;
	if (j->newest)
		j->newest->newer = u;
	else
		j->oldest = u;
	j->newest = u;
	count_up(&j->stats.units, 1);
	count_up(&j->stats.bytes, u->code);
	count_up(&j->stats.used, u->bytes);
}

struct jit_unit *jit_keep(struct jit *j, const struct code *c)
{
	const struct jit_unit *draft = (const struct jit_unit *)j->draft.unit;
	uint32_t code = ALIGNED(c->at);
	struct jit_unit *u = (struct jit_unit *)(c->bytes + code);

	if (c->at > c->size)
		return NULL;
	memset(c->bytes + c->at, 0xcc, code - c->at);		/* INT3 */
	memcpy(u, draft, ops_bytes(draft));
	u->exit = (struct jit_exit *)((char *)u + ops_bytes(u));
	memcpy(u->exit, draft->exit, exits_bytes(u));
	for (unsigned i = 0; i < u->exits; i++)
		u->exit[i].from = u;
	u->code = c->at;
	u->bytes = ALIGNED(code + ops_bytes(u) + exits_bytes(u));
	set_addresses(j, u);
	append(j, u);
	return u;
}

/* ---- code memory */

/* Side by side: code names what stands behind it by a distance.  mremap(2): shared memory of which 0 bytes are moved is mapped once more. */
static int map_code(struct jit *j, size_t bytes)
{
	size_t distance = ROUND_UP(bytes, HUGE_PAGE);
	uint8_t *room = mmap(NULL, 2 * distance + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (room == MAP_FAILED)
		return -errno;
	j->room = room;
	j->size = bytes;
	j->rw = (uint8_t *)ROUND_UP((uintptr_t)room, HUGE_PAGE);
	j->rx = j->rw + distance;
	if (mmap(j->rw, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED ||
	    mremap(j->rw, 0, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, j->rx) == MAP_FAILED || mprotect(j->rx, bytes, PROT_READ | PROT_EXEC))
		return -errno;
	return 0;
}

int jit_new(struct cpu *cpu, size_t bytes, unsigned threshold, const char **why)
{
	struct jit *j = calloc(1, sizeof(*j));
	struct code c;
	int err;

	*why = NULL;
	if (!j)
		return -ENOMEM;
	cpu->jit.j = j;
	j->threshold = threshold;
	j->loop = __builtin_cpu_is("amd");
	j->room = MAP_FAILED;
	if (!__builtin_cpu_supports("bmi2")) {
		*why = "the processor has no BMI2";
		err = -ENOTSUP;
		goto fail;
	}
	j->calls = calloc(x86_opcode_rows, sizeof(*j->calls));
	err = j->calls ? map_code(j, bytes) : -ENOMEM;
	for (unsigned i = 0; i < MMU_SETS && !err; i++) {
		err = map_jumps(&j->jumps[i][0]);
		j->of_now[i] = &j->jumps[i][0];
	}
	err = err ? err : map_jumps(&j->empty);
	if (err)
		goto fail;
	c = (struct code){ .bytes = j->rw, .size = PAGE_BYTES };
	jit_emit_thunks(j, &c);
	j->first = j->at = PAGE_BYTES;
	j->stats.size = j->size - j->first;
	j->enter = (void (*)(const void *))(uintptr_t)j->rx;
	cpu->jit.self = cpu;
	cpu->jit.low4 = 15;
	cpu->jit.low5 = 31;
	cpu->jit.call_insn = jit_call_insn;
	for (unsigned i = 0; i < MMU_SETS; i++)
		cpu->jit.calm.disturbed[CALM_JUMPS + i] = (uintptr_t)j->empty.slot;
	return 0;
fail:
	jit_free(cpu);
	return err;
}

void jit_free(struct cpu *cpu)
{
	struct jit *j = cpu->jit.j;

	if (!j)
		return;
	while (j->oldest)
		evict(j);
	for (unsigned set = 0; set < MMU_SETS; set++)
		for (unsigned i = 0; i < JIT_TABLES; i++)
			if (j->jumps[set][i].slot)
				munmap(j->jumps[set][i].slot, JUMP_BYTES);
	if (j->empty.slot)
		munmap(j->empty.slot, JUMP_BYTES);
	if (j->room != MAP_FAILED)
		munmap(j->room, 2 * ROUND_UP((size_t)j->size, HUGE_PAGE) + HUGE_PAGE);
	jit_record_end(j);
	free(j->calls);
	lockstep_free(j->lockstep);
	free(j);
	cpu->jit.j = NULL;
}

void jit_get_stats(const struct cpu *cpu, struct jit_stats *out)
{
	const struct jit *j = cpu->jit.j;
	uint64_t *to = (uint64_t *)out;
	const uint64_t *from;

	*out = (struct jit_stats){ 0 };
	if (!j)
		return;
	from = (const uint64_t *)&j->stats;
	for (unsigned i = 0; i < sizeof(*out) / sizeof(*to); i++)
		to[i] = count_get(&from[i]);
}

void jit_get_calls(const struct cpu *cpu, uint64_t *n)
{
	const struct jit *j = cpu->jit.j;

	for (unsigned i = 0; j && i < x86_opcode_rows; i++)
		n[i] += count_get(&j->calls[i]);
}
