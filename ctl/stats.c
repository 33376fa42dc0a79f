/*
 * ctl/stats.c - the machine's counters.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "ctl/ctl.h"

static int get_stats(struct ctl *c, const char *rest, const char *value)
{
	Cleave__GetStats get = CLEAVE__GET_STATS__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;

	(void)rest, (void)value;
	get.one_cpu = c->cpu_given;
	get.cpu = c->cpu;
	q.what_case = CLEAVE__REQUEST__WHAT_GET_STATS;
	q.get_stats = &get;
	r = ctl_call(c, &q);
	if (!r)
		return -EIO;
	if (r->what_case == CLEAVE__RESPONSE__WHAT_STATS)
		for (size_t i = 0; i < r->stats->n_counter; i++)
			printf("%-32s %" PRIu64 "\n", r->stats->counter[i]->name, r->stats->counter[i]->value);
	cleave__response__free_unpacked(r, NULL);
	return 0;
}

const struct verb stats_verbs[] = {
	{ "get-stats", TAKES_NOTHING, "counters of the machine, or with --cpu of one vCPU", get_stats },
	{ 0 },
};
