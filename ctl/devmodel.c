/*
 * ctl/devmodel.c - the device model's process.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "ctl/ctl.h"

static void print(const Cleave__Devmodel *d)
{
	printf("state       %s\n", d->state);
	if (d->pid)
		printf("pid         %" PRIu32 "\n", d->pid);
	printf("generation  %" PRIu32 "\n", d->generation);
	printf("age         %" PRIu64 ".%03u s\n", d->age_ms / 1000, (unsigned)(d->age_ms % 1000));
	printf("restarts    %" PRIu32 "\n", d->restarts);
	if (*d->why)
		printf("last end    %s\n", d->why);
	if (!*d->spare)
		return;
	printf("spare       %s", d->spare);
	if (d->spare_pid)
		printf(", pid %" PRIu32, d->spare_pid);
	printf("; %" PRIu32 " taken, %" PRIu32 " lost\n", d->spares_taken, d->spares_lost);
	if (*d->spare_why)
		printf("spare lost  %s\n", d->spare_why);
}

static int get_devmodel(struct ctl *c, const char *rest, const char *value)
{
	Cleave__GetDevmodel get = CLEAVE__GET_DEVMODEL__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;

	(void)rest, (void)value;
	q.what_case = CLEAVE__REQUEST__WHAT_GET_DEVMODEL;
	q.get_devmodel = &get;
	r = ctl_call(c, &q);
	if (!r)
		return -EIO;
	if (r->what_case == CLEAVE__RESPONSE__WHAT_DEVMODEL)
		print(r->devmodel);
	cleave__response__free_unpacked(r, NULL);
	return 0;
}

const struct verb devmodel_verbs[] = {
	{ "get-devmodel", TAKES_NOTHING, "the device model's process: state, generation, restarts and why", get_devmodel },
	{ 0 },
};
