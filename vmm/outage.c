/*
 * vmm/outage.c - the outage policy of devices.
 *
 * Owns the grace.  Knows neither processes nor why there is no device model
 * (supervise.c), nor how an access goes without (inout.c).
 */
#include <errno.h>
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/config.h"
#include "vmm/inout.h"
#include "vmm/link.h"
#include "vmm/outage.h"
#include "vmm/stats.h"
#include "vmm/vm.h"

struct outage {
	struct vm *vm;
	struct event *grace;
	bool lasts;		/* there is no device model */
	bool forsaken;		/* ... and the grace is over */
	uint64_t ones, dropped;	/* by all vCPUs, before it began */
};

static uint64_t count(const struct vm *vm, enum vcpu_stat what)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < vm->nvcpus; i++)
		n += stat_get(inout_stats(&vm->vcpu[i]), what);
	return n;
}

/* A device's number is its place in the configuration, which the device model was told in this order. */
static bool which(const struct vm *vm, bool dev[LINK_CLIENT_DEVICES], char *names, size_t n)
{
	const struct config *c = vm->config;
	bool any = false;
	size_t at = 0;

	*names = 0;
	for (unsigned i = 0; i < c->ndevices && i < LINK_CLIENT_DEVICES; i++) {
		char title[80];

		dev[i] = c->device[i].outage == OUTAGE_ONES;
		if (!dev[i])
			continue;
		if (at < n)
			at += snprintf(names + at, n - at, "%s%s", any ? ", " : "", config_device_name(&c->device[i], title, sizeof(title)));
		any = true;
	}
	return any;
}

static void on_grace(evutil_socket_t fd, short what, void *arg)
{
	bool dev[LINK_CLIENT_DEVICES] = { 0 };
	struct outage *o = arg;
	struct vm *vm = o->vm;
	char names[400];

	(void)fd, (void)what;
	if (!o->lasts || vm->ended || !which(vm, dev, names, sizeof(names)))
		return;
	o->forsaken = true;
	o->ones = count(vm, STAT_IO_ONES);
	o->dropped = count(vm, STAT_IO_DROPPED);
	fprintf(stderr, "cleave: %s: no device model for %u ms: until there is one reads give all ones and writes are dropped: %s\n",
		vm->name, vm->config->grace, names);
	link_client_forsake(vm->link, dev);
}

void outage_begin(struct outage *o)
{
	unsigned ms = o->vm->config->grace;

	if (o->lasts)
		return;
	o->lasts = true;
	event_add(o->grace, &(struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 });
}

void outage_end(struct outage *o)
{
	struct vm *vm = o->vm;

	event_del(o->grace);
	o->lasts = false;
	if (!o->forsaken)
		return;
	o->forsaken = false;
	fprintf(stderr, "cleave: %s: devices are served again: %" PRIu64 " reads were answered with all ones, %" PRIu64 " writes dropped\n",
		vm->name, count(vm, STAT_IO_ONES) - o->ones, count(vm, STAT_IO_DROPPED) - o->dropped);
}

bool outage_stops(const struct vm *vm, char *title, size_t n)
{
	const struct config *c = vm->config;

	if (c->outage == OUTAGE_STOP) {
		snprintf(title, n, "the machine");
		return true;
	}
	for (unsigned i = 0; i < c->ndevices; i++)
		if (c->device[i].outage == OUTAGE_STOP) {
			config_device_name(&c->device[i], title, n);
			return true;
		}
	return false;
}

int outage_new(struct outage **out, struct vm *vm)
{
	struct outage *o = calloc(1, sizeof(*o));

	*out = o;
	if (!o)
		return -ENOMEM;
	o->vm = vm;
	o->grace = evtimer_new(vm->base, on_grace, o);
	return o->grace ? 0 : -ENOMEM;
}

void outage_free(struct outage *o)
{
	if (!o)
		return;
	if (o->grace)
		event_free(o->grace);
	free(o);
}
