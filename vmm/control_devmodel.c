/*
 * vmm/control_devmodel.c - the answer to --get-devmodel: who serves, what has
 * befallen those that did, and which devices are out of service.
 *
 * Puts into words what supervise.h and ledger.h know; knows no device but by
 * its name in the configuration.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "ipc/check.h"
#include "vmm/config.h"
#include "vmm/control_parts.h"
#include "vmm/ledger.h"
#include "vmm/supervise.h"
#include "vmm/vm.h"

/* All that the message points to. */
struct words {
	Cleave__Devmodel d;
	struct supervise_info info;
	struct ledger_page page;
	Cleave__Restart restart[LEDGER_RESTARTS], *restartp[LEDGER_RESTARTS];
	Cleave__Strike strike[LEDGER_STRIKES], *strikep[LEDGER_STRIKES];
	char source[LEDGER_STRIKES][120], struck[LEDGER_STRIKES][80];
	Cleave__Quarantined out[LEDGER_DEVICES], *outp[LEDGER_DEVICES];
	char name[LEDGER_DEVICES][80];
};

/* As the daemon numbers them: in the order of the configuration.  "": it has said nonsense. */
static void device_name(const struct vm *vm, unsigned dev, char *to, size_t n)
{
	*to = 0;
	if (vm->config && dev < vm->config->ndevices)
		config_device_name(&vm->config->device[dev], to, n);
}

static void request_source(const struct vm *vm, const struct ledger_strike *s, char *to, size_t n)
{
	const struct link_req *r = &s->request;
	bool write = r->kind == LINK_REQ_PIO_OUT || r->kind == LINK_REQ_MMIO_WRITE;
	char who[40];

	if (s->event.c == vm->nvcpus)
		snprintf(who, sizeof(who), "control request");
	else
		snprintf(who, sizeof(who), "request of vCPU %" PRIu32, s->event.c);
	if (!s->known)
		snprintf(to, n, "%s", who);
	else if (r->kind >= LINK_REQ_RESET)
		snprintf(to, n, "%s: %s", who, link_req_name(r->kind));
	else if (r->flags & LINK_REQ_BATCH)
		snprintf(to, n, "%s: %s %#" PRIx64 ", %" PRIu32 " elements of size %u", who, link_req_name(r->kind), r->addr, r->count, r->size);
	else if (write)
		snprintf(to, n, "%s: %s %#" PRIx64 ", size %u, value %#" PRIx64, who, link_req_name(r->kind), r->addr, r->size, r->value);
	else
		snprintf(to, n, "%s: %s %#" PRIx64 ", size %u", who, link_req_name(r->kind), r->addr, r->size);
}

static void source(const struct vm *vm, const struct ledger_strike *s, char *to, size_t n)
{
	static const char *const what[LINK_CAUSES] = {
		[LINK_BY_NOBODY] = "nobody", [LINK_BY_START] = "taking over its state", [LINK_BY_TIMER] = "timer",
		[LINK_BY_INPUT] = "input of stream", [LINK_BY_IO] = "end of operation", [LINK_BY_DOORBELL] = "doorbell",
		[LINK_BY_SIGNAL] = "interrupt of queue", [LINK_BY_FRAMES] = "frames",
	};
	unsigned cause = s->event.a < LINK_CAUSES ? s->event.a : LINK_BY_NOBODY;

	if (cause == LINK_BY_REQUEST)
		request_source(vm, s, to, n);
	else if (cause == LINK_BY_START || cause == LINK_BY_FRAMES)
		snprintf(to, n, "%s", what[cause]);
	else
		snprintf(to, n, "%s %" PRIu32, what[cause], s->event.c);
}

static void fill_restarts(struct words *w, uint64_t now)
{
	for (unsigned i = 0; i < w->page.nrestarts; i++) {
		struct ledger_restart *r = &w->page.restart[i];

		cleave__restart__init(&w->restart[i]);
		w->restart[i].why = r->why;
		w->restart[i].ago_ms = now - r->at;
		w->restart[i].took_ms = r->took;
		w->restartp[i] = &w->restart[i];
	}
	w->d.restart = w->restartp;
	w->d.n_restart = w->page.nrestarts;
}

static void fill_strikes(const struct vm *vm, struct words *w, uint64_t now)
{
	for (unsigned i = 0; i < w->page.nstrikes; i++) {
		const struct ledger_strike *s = &w->page.strike[i];

		cleave__strike__init(&w->strike[i]);
		source(vm, s, w->source[i], sizeof(w->source[i]));
		device_name(vm, s->event.b, w->struck[i], sizeof(w->struck[i]));
		w->strike[i].source = w->source[i];
		w->strike[i].device = w->struck[i];
		w->strike[i].count = s->event.d;
		w->strike[i].ago_ms = now - s->at;
		w->strikep[i] = &w->strike[i];
	}
	w->d.strike = w->strikep;
	w->d.n_strike = w->page.nstrikes;
}

static void fill_out(const struct vm *vm, struct words *w, uint64_t now)
{
	size_t n = 0;

	for (unsigned dev = 0; dev < LEDGER_DEVICES; dev++) {
		uint64_t since = w->page.out_since[dev];
		Cleave__Quarantined *q = &w->out[n];

		if (!since || dev >= (vm->config ? vm->config->ndevices : 0))
			continue;
		cleave__quarantined__init(q);
		device_name(vm, dev, w->name[n], sizeof(w->name[n]));
		q->device = w->name[n];
		q->for_ms = now - since;
		w->outp[n++] = q;
	}
	w->d.quarantined = w->outp;
	w->d.n_quarantined = n;
}

static void fill_process(const struct vm *vm, struct words *w)
{
	static const char *const state[] = {
		[SUPERVISE_NONE] = "none", [SUPERVISE_SERVING] = "serving", [SUPERVISE_WAITING] = "waiting", [SUPERVISE_STARTING] = "starting",
	};
	static const char *const spare[] = {
		[SPARE_NONE] = "", [SPARE_DUE] = "due", [SPARE_ENDING] = "ending", [SPARE_STARTING] = "starting", [SPARE_READY] = "ready",
	};
	struct supervise_info *info = &w->info;
	Cleave__Devmodel *d = &w->d;

	if (vm->supervise)
		supervise_info(vm->supervise, info);
	d->state = (char *)state[info->state];
	d->pid = info->pid > 0 ? info->pid : 0;
	d->generation = info->generation;
	d->age_ms = info->age_ms;
	d->restarts = info->restarts;
	d->why = info->why;
	d->spare = (char *)spare[info->spare.state];
	d->spare_pid = info->spare.pid;
	d->spares_taken = info->spare.taken;
	d->spares_lost = info->spare.lost;
	d->spare_why = info->spare.why;
	d->in_vain = info->in_vain;
	d->upgrades = info->upgrades;
	d->upgrade = (char *)(info->upgrade ? info->upgrade : "");
}

size_t control_devmodel(struct vm *vm, struct answer *a, uint8_t **reply)
{
	struct words *w = calloc(1, sizeof(*w));
	uint64_t now = ledger_now();
	size_t n;

	if (!w) {
		control_refuse(a, ENOMEM, "out of memory");
		return control_pack(&a->r, reply);
	}
	cleave__devmodel__init(&w->d);
	ledger_read(vm->ledger, &w->page);
	fill_process(vm, w);
	fill_restarts(w, now);
	fill_strikes(vm, w, now);
	fill_out(vm, w, now);
	a->r.what_case = CLEAVE__RESPONSE__WHAT_DEVMODEL;
	a->r.devmodel = &w->d;
	n = control_pack(&a->r, reply);
	free(w);
	return n;
}
