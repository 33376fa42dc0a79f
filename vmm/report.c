/*
 * vmm/report.c - gathers the counters of the machine's parts.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "ipc/link.h"
#include "vmm/inout.h"
#include "vmm/link.h"
#include "vmm/relay.h"
#include "vmm/report.h"
#include "vmm/stats.h"
#include "vmm/vm.h"

/* The caller frees it: too large for a stack. */
static struct vcpu_stats *gather(struct vm *vm, int cpu)
{
	struct vcpu_stats *sum = calloc(1, sizeof(*sum));

	for (unsigned i = 0; sum && i < vm->nvcpus; i++)
		if (cpu < 0 || (unsigned)cpu == i)
			stats_sum(sum, inout_stats(&vm->vcpu[i]));
	return sum;
}

static uint64_t instructions(struct vm *vm, int cpu)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < vm->nvcpus; i++)
		if (cpu < 0 || (unsigned)cpu == i)
			n += atomic_load_explicit(&vm->vcpu[i].instructions, memory_order_relaxed);
	return n;
}

static uint64_t exits(struct vm *vm, int cpu, unsigned exit)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < vm->nvcpus; i++)
		if (cpu < 0 || (unsigned)cpu == i)
			n += atomic_load_explicit(&vm->vcpu[i].exits[exit], memory_order_relaxed);
	return n;
}

static void each_stream(struct vm *vm, void (*each)(void *, const char *, uint64_t), void *arg)
{
	struct relay_count count;
	const char *name;
	char text[80];

	for (unsigned i = 0; vm->relay && i < LINK_STREAMS; i++) {
		if (!relay_stats(vm->relay, i, &name, &count))
			continue;
		snprintf(text, sizeof(text), "relay.%s.in", name);
		each(arg, text, count.in);
		snprintf(text, sizeof(text), "relay.%s.out", name);
		each(arg, text, count.out);
		snprintf(text, sizeof(text), "relay.%s.dropped", name);
		each(arg, text, count.dropped);
	}
}

void report_each(struct vm *vm, int cpu, void (*each)(void *arg, const char *name, uint64_t value), void *arg)
{
	struct vcpu_stats *s = gather(vm, cpu);
	char text[40];

	each(arg, "instructions", instructions(vm, cpu));
	for (unsigned i = 0; i < EXIT_COUNT; i++) {
		snprintf(text, sizeof(text), "exit.%s", exit_names[i]);
		each(arg, text, exits(vm, cpu, i));
	}
	for (unsigned i = 0; s && i < STATS; i++)
		each(arg, stat_info[i].name, s->n[i]);
	if (s) {
		each(arg, "roundtrip.p50.ns", stats_ns(hist_percentile(&s->single, 500)));
		each(arg, "roundtrip.p99.ns", stats_ns(hist_percentile(&s->single, 990)));
		each(arg, "roundtrip.batch.p50.ns", stats_ns(hist_percentile(&s->batch, 500)));
		each(arg, "roundtrip.batch.p99.ns", stats_ns(hist_percentile(&s->batch, 990)));
	}
	free(s);
	if (vm->engine->report)
		vm->engine->report(vm, cpu, each, arg);
	if (cpu >= 0)
		return;
	for (unsigned i = 0; i < LINK_STATS; i++)
		each(arg, link_stat_name[i], link_client_stat(vm->link, i));
	each(arg, "resets", vm->resets);
	each(arg, "clock.ns", vm_now(vm));
	each_stream(vm, each, arg);
}

void report_summary(struct vm *vm, FILE *f)
{
	struct vcpu_stats *s = gather(vm, -1);
	uint64_t requests, elements;

	if (!s)
		return;
	requests = s->n[STAT_STR_REQUESTS];
	elements = s->n[STAT_STR_ELEMENTS];
	fprintf(f, "cleave: %s: summary\n", vm->name);
	fprintf(f, "  engine               %s%s%s\n", vm->engine->name, *vm->engine_why ? "; not KVM: " : "", vm->engine_why);
	fprintf(f, "  instructions         %" PRIu64 " in %.3f s\n", instructions(vm, -1), vm_now(vm) / 1e9);
	fprintf(f, "  string requests      %" PRIu64 ", %" PRIu64 " elements, %.1f elements a request\n",
		requests, elements, requests ? (double)elements / requests : 0.0);
	fprintf(f, "  accesses completed   in the engine %" PRIu64 ", by shadow register %" PRIu64 ", by the daemon %" PRIu64
		", posted %" PRIu64 ", unclaimed %" PRIu64 "\n",
		s->n[STAT_IO_ENGINE], s->n[STAT_IO_SHADOW], s->n[STAT_IO_DAEMON] + requests, s->n[STAT_IO_POSTED],
		s->n[STAT_IO_UNCLAIMED]);
	fprintf(f, "  round trip           p50 %" PRIu64 " ns, p99 %" PRIu64 " ns (%" PRIu64 " single accesses)\n",
		stats_ns(hist_percentile(&s->single, 500)), stats_ns(hist_percentile(&s->single, 990)), s->single.n);
	if (s->batch.n)
		fprintf(f, "  round trip, batches  p50 %" PRIu64 " ns, p99 %" PRIu64 " ns (%" PRIu64 " requests)\n",
			stats_ns(hist_percentile(&s->batch, 500)), stats_ns(hist_percentile(&s->batch, 990)), s->batch.n);
	if (vm->engine->summary)
		vm->engine->summary(vm, f);
	free(s);
}
