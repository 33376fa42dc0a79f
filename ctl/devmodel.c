/*
 * ctl/devmodel.c - the device model's process.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ctl.h"

/* "12.345 s" */
static const char *seconds(uint64_t ms)
{
	static char text[40];

	snprintf(text, sizeof(text), "%" PRIu64 ".%03u s", ms / 1000, (unsigned)(ms % 1000));
	return text;
}

static void print_ledger(const Cleave__Devmodel *d)
{
	for (size_t i = 0; i < d->n_restart; i++)
		printf("restart     %s ago, after %" PRIu64 " ms: %s\n", seconds(d->restart[i]->ago_ms), d->restart[i]->took_ms, d->restart[i]->why);
	for (size_t i = 0; i < d->n_strike; i++) {
		const Cleave__Strike *s = d->strike[i];

		printf("strike      %" PRIu32 ", %s ago: %s%s%s\n", s->count, seconds(s->ago_ms), s->device, *s->device ? ": " : "", s->source);
	}
	for (size_t i = 0; i < d->n_quarantined; i++)
		printf("quarantined %s, for %s, until the machine is reset\n", d->quarantined[i]->device, seconds(d->quarantined[i]->for_ms));
}

static void print(const Cleave__Devmodel *d)
{
	printf("state       %s\n", d->state);
	if (d->pid)
		printf("pid         %" PRIu32 "\n", d->pid);
	printf("generation  %" PRIu32 "\n", d->generation);
	printf("age         %s\n", seconds(d->age_ms));
	printf("restarts    %" PRIu32 "\n", d->restarts);
	if (*d->why)
		printf("last end    %s\n", d->why);
	if (d->in_vain)
		printf("in vain     %" PRIu32 " in a row died while they took over\n", d->in_vain);
	if (d->upgrades)
		printf("upgrades    %" PRIu32 "\n", d->upgrades);
	if (*d->upgrade)
		printf("upgrade     %s\n", d->upgrade);
	print_ledger(d);
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

/* The engine may run in another directory. */
static bool absolute(char *to, size_t n, const char *path)
{
	size_t dir = 0;

	if (*path && *path != '/') {
		if (!getcwd(to, n))
			return false;
		dir = strlen(to);
		to[dir++] = '/';
	}
	return (size_t)snprintf(to + dir, n - dir, "%s", path) < n - dir;
}

static int upgrade_devmodel(struct ctl *c, const char *rest, const char *value)
{
	Cleave__UpgradeDevmodel u = CLEAVE__UPGRADE_DEVMODEL__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;
	char path[512] = "";

	(void)rest;
	if (value && (!*value || !absolute(path, sizeof(path), value)))
		return ctl_error(EINVAL, "--upgrade-devmodel=PATH: a path of less than %zu bytes is wanted", sizeof(path));
	u.path = path;
	q.what_case = CLEAVE__REQUEST__WHAT_UPGRADE_DEVMODEL;
	q.upgrade_devmodel = &u;
	r = ctl_call(c, &q);
	if (!r)
		return -EIO;
	if (r->what_case == CLEAVE__RESPONSE__WHAT_UPGRADED)
		printf("upgraded to %s: process %" PRIu32 ", generation %" PRIu32 ", stall %" PRIu64 " us\n", r->upgraded->path,
		       r->upgraded->pid, r->upgraded->generation, r->upgraded->stall_us);
	cleave__response__free_unpacked(r, NULL);
	return 0;
}

const struct verb devmodel_verbs[] = {
	{ "get-devmodel", TAKES_NOTHING, "the device model's process: state, generation, restarts and why", get_devmodel },
	{ "upgrade-devmodel", MAY_TAKE_VALUE, "PATH, or the file where it was found: hands the machine over to another executable", upgrade_devmodel },
	{ 0 },
};
