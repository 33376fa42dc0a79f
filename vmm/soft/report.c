/*
 * vmm/soft/report.c - gathers what the soft engine counts: TLB, decoded blocks,
 * translator.
 *
 * Reads other threads' counters, each whole, though not all of one moment.
 */
#include "vmm/soft/report.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/jit/jit.h"
#include "vmm/soft/block.h"
#include "vmm/stats.h"
#include "vmm/vm.h"

struct counters {
	struct { uint64_t walks, fills, flushes; } tlb;
	struct { uint64_t built, killed, flushes, trims; } block;
	struct jit_stats jit;
};

#define COUNTER(f)	offsetof(struct counters, f) / sizeof(uint64_t)
static const struct { const char *name; size_t at; } counter[] = {
	{ "tlb.fills", COUNTER(tlb.fills) },
	{ "tlb.walks", COUNTER(tlb.walks) },
	{ "tlb.flushes", COUNTER(tlb.flushes) },
	{ "block.built", COUNTER(block.built) },
	{ "block.killed", COUNTER(block.killed) },
	{ "block.flushes", COUNTER(block.flushes) },
	{ "block.trims", COUNTER(block.trims) },
	{ "jit.units", COUNTER(jit.units) },
	{ "jit.units.refused", COUNTER(jit.refused) },
	{ "jit.units.evicted", COUNTER(jit.evicted) },
	{ "jit.units.killed", COUNTER(jit.killed) },
	{ "jit.code.bytes", COUNTER(jit.bytes) },
	{ "jit.cache.used", COUNTER(jit.used) },
	{ "jit.cache.size", COUNTER(jit.size) },
	{ "jit.links", COUNTER(jit.links) },
	{ "jit.entries", COUNTER(jit.entries) },
	{ "jit.exit.branch", COUNTER(jit.exit_branch) },
	{ "jit.exit.branch.unknown", COUNTER(jit.unknown) },
	{ "jit.exit.op", COUNTER(jit.exit_op) },
	{ "jit.exit.left", COUNTER(jit.exit_left) },
	{ "jit.calls", COUNTER(jit.calls) },
	{ "jit.calls.missed", COUNTER(jit.misses) },
};
#undef COUNTER

static struct counters one(const struct cpu *cpu)
{
	struct counters c = {
		.tlb = { count_get(&cpu->mmu.walks), count_get(&cpu->mmu.fills), count_get(&cpu->mmu.flushes) },
		.block = { count_get(&cpu->blocks->built), count_get(&cpu->blocks->killed), count_get(&cpu->blocks->flushed),
			   count_get(&cpu->blocks->trimmed) },
	};

	jit_get_stats(cpu, &c.jit);
	return c;
}

static bool wanted(int cpu, unsigned i)
{
	return cpu < 0 || (unsigned)cpu == i;
}

static struct counters gather(struct vm *vm, int cpu)
{
	struct counters sum = { 0 };

	for (unsigned i = 0; i < vm->nvcpus; i++) {
		struct counters c;

		if (!wanted(cpu, i))
			continue;
		c = one(vm->vcpu[i].engine_state);
		for (size_t n = 0; n < sizeof(sum) / sizeof(uint64_t); n++)
			((uint64_t *)&sum)[n] += ((uint64_t *)&c)[n];
	}
	return sum;
}

/* ---- what is most called, by mnemonic */

enum { MOST = 10 };

struct called {
	const char *mnemonic;
	uint64_t n;
};

static int by_calls(const void *a, const void *b)
{
	const struct called *x = a, *y = b;

	return x->n < y->n ? 1 : x->n > y->n ? -1 : 0;
}

static unsigned merge_rows(const uint64_t *n, struct called *to)
{
	unsigned count = 0, k;

	for (unsigned i = 0; i < x86_opcode_rows; i++) {
		if (!n[i])
			continue;
		for (k = 0; k < count && strcmp(to[k].mnemonic, x86_opcodes[i].mnemonic); k++)
			;
		if (k == count)
			to[count++] = (struct called){ .mnemonic = x86_opcodes[i].mnemonic };
		to[k].n += n[i];
	}
	return count;
}

/* The caller has room for MOST. */
static unsigned most_called(struct vm *vm, int cpu, struct called *most)
{
	uint64_t *n = calloc(x86_opcode_rows, sizeof(*n));
	struct called *all = calloc(x86_opcode_rows, sizeof(*all));
	unsigned count = 0;

	for (unsigned i = 0; n && all && i < vm->nvcpus; i++)
		if (wanted(cpu, i))
			jit_get_calls(vm->vcpu[i].engine_state, n);
	if (n && all) {
		count = merge_rows(n, all);
		qsort(all, count, sizeof(*all), by_calls);
	}
	if (count > MOST)
		count = MOST;
	for (unsigned i = 0; i < count; i++)
		most[i] = all[i];
	free(n);
	free(all);
	return count;
}

/* ---- vmm/engine.h */

void soft_report(struct vm *vm, int cpu, void (*each)(void *arg, const char *name, uint64_t value), void *arg)
{
	struct counters c = gather(vm, cpu);
	struct called most[MOST];
	unsigned n = most_called(vm, cpu, most);
	char name[40];

	for (size_t i = 0; i < sizeof(counter) / sizeof(counter[0]); i++)
		each(arg, counter[i].name, ((uint64_t *)&c)[counter[i].at]);
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "jit.calls.%s", most[i].mnemonic);
		each(arg, name, most[i].n);
	}
}

void soft_summary(struct vm *vm, FILE *f)
{
	struct counters c = gather(vm, -1);
	struct called most[MOST];
	unsigned n = most_called(vm, -1, most);

	fprintf(f, "  TLB                  %" PRIu64 " misses, %" PRIu64 " of them walks; %" PRIu64 " flushes\n",
		c.tlb.fills, c.tlb.walks, c.tlb.flushes);
	fprintf(f, "  decoded blocks       %" PRIu64 ", dropped %" PRIu64 "\n", c.block.built, c.block.killed);
	if (!c.jit.size)
		return;
	fprintf(f, "  translated blocks    %" PRIu64 ", refused %" PRIu64 ", dropped %" PRIu64 ", evicted %" PRIu64 "; %" PRIu64 " links\n",
		c.jit.units, c.jit.refused, c.jit.killed, c.jit.evicted, c.jit.links);
	fprintf(f, "  their code           %" PRIu64 " bytes; of the cache's %" PRIu64 " KiB %" PRIu64 " in use\n",
		c.jit.bytes, c.jit.size >> 10, c.jit.used >> 10);
	fprintf(f, "  entered              %" PRIu64 " times; left for a target %" PRIu64 " (%" PRIu64 " unknown), an instruction %" PRIu64
		", inside of one %" PRIu64 "\n", c.jit.entries, c.jit.exit_branch, c.jit.unknown, c.jit.exit_op, c.jit.exit_left);
	fprintf(f, "  by the interpreter   %" PRIu64 " instructions of translated code, missed %" PRIu64, c.jit.calls, c.jit.misses);
	for (unsigned i = 0; i < n; i++)
		fprintf(f, "%s %s %" PRIu64, i ? "," : "; without code", most[i].mnemonic, most[i].n);
	fputc('\n', f);
}
