/*
 * vmm/calls.c - the queue of the control channel.
 *
 * Owns the calls that are not answered, the first of which is in the ring.
 * Looks at the ring from a timer: a healthy device model answers while it is
 * looked at for the first time.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdlib.h>

#include "ipc/link.h"
#include "vmm/calls.h"
#include "vmm/link.h"
#include "vmm/vm.h"

#define AT_FIRST_NS	200000ll	/* the main thread stands still for so long at most, once a call */
enum { LOOK_MS = 1, LAZY_LOOK_MS = 10, LAZY_AFTER_MS = 50 };

struct call {
	struct call *next;
	unsigned kind;
	uint64_t addr, value;
	uint64_t since, expires;	/* ns; expires 0: never */
	bool sent;
	uint64_t sent_at;		/* ... to the device model that serves */
	struct link_req req;
	call_done *done;
	void *arg;
};

struct calls {
	struct vm *vm;
	struct event *timer;
	struct call *first;
};

static void drop(struct call **at)
{
	struct call *c = *at;

	*at = c->next;
	free(c);
}

/* The queue may be another when it comes back. */
static void finish(struct call **at, int err)
{
	call_done *done = (*at)->done;
	void *arg = (*at)->arg;

	drop(at);
	if (done)
		done(arg, err);
}

/* ---- the ring */

enum { NOT_YET = 1 };

/* 0, -ENXIO, NOT_YET.  While nobody serves it is as if nothing had come. */
static int try(struct calls *q, struct call *c)
{
	int64_t wait = 0;
	int ret;

	if (c->kind == LINK_REQ_NONE)
		return 0;
	if (!c->sent) {
		if (link_client_ask(q->vm->link, c->kind, c->addr, c->value, &c->req))
			return NOT_YET;
		c->sent = true;
		c->sent_at = wait_now();
		wait = AT_FIRST_NS;
	}
	ret = link_client_answer(q->vm->link, &c->req, c->sent_at, wait);
	return ret == -EAGAIN || ret == -EPIPE ? NOT_YET : ret;
}

/* Patience is over: the successor of a dead one is not asked for it either. */
static int give_up(struct calls *q, struct call *c)
{
	struct link_comp comp;

	if (!link_client_is_lost(q->vm->link))
		return -ETIMEDOUT;
	if (c->sent && link_client_withdraw(q->vm->link, q->vm->nvcpus, &c->req, &comp, NULL))
		return comp.status == LINK_OK ? 0 : -ENXIO;
	return -EPIPE;
}

/* NOT_YET, or how it ends before its turn. */
static int ends_early(struct calls *q, struct call *c, uint64_t now)
{
	if (c->kind == LINK_REQ_NONE && link_client_nobody(q->vm->link))
		return -EPIPE;
	if (c->expires && (now >= c->expires || link_client_alone(q->vm->link)))
		return give_up(q, c);
	return NOT_YET;
}

static bool one_ends(struct calls *q)
{
	uint64_t now = wait_now();
	int ret;

	if (!q->first)
		return false;
	ret = try(q, q->first);
	if (ret != NOT_YET) {
		finish(&q->first, ret);
		return true;
	}
	for (struct call **at = &q->first; *at; at = &(*at)->next) {
		ret = ends_early(q, *at, now);
		if (ret != NOT_YET) {
			finish(at, ret);
			return true;
		}
	}
	return false;
}

static void look_later(struct calls *q)
{
	unsigned ms = LOOK_MS;

	if (!q->first)
		return;
	if (wait_now() - q->first->since > LAZY_AFTER_MS * 1000000ull)
		ms = LAZY_LOOK_MS;
	event_add(q->timer, &(struct timeval){ .tv_usec = ms * 1000 });
}

static void look_now(struct calls *q)
{
	event_active(q->timer, EV_TIMEOUT, 0);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct calls *q = arg;

	(void)fd, (void)what;
	while (one_ends(q))
		;
	look_later(q);
}

/* ---- asking */

static void drop_superseded(struct calls *q)
{
	struct call **at = &q->first;

	while (*at)
		if (!(*at)->sent && !(*at)->done && ((*at)->kind == LINK_REQ_PAUSE || (*at)->kind == LINK_REQ_RESUME))
			drop(at);
		else
			at = &(*at)->next;
}

int calls_ask(struct calls *q, unsigned kind, uint64_t addr, uint64_t value, unsigned patience_ms, call_done *done, void *arg)
{
	struct call *c = calloc(1, sizeof(*c)), **at = &q->first;

	if (!c)
		return -ENOMEM;
	if (kind == LINK_REQ_PAUSE || kind == LINK_REQ_RESUME)
		drop_superseded(q);
	*c = (struct call){ .kind = kind, .addr = addr, .value = value, .since = wait_now(), .done = done, .arg = arg };
	if (patience_ms)
		c->expires = c->since + patience_ms * 1000000ull;
	while (*at)
		at = &(*at)->next;
	*at = c;
	look_now(q);
	return 0;
}

void calls_forget(struct calls *q, const void *arg)
{
	for (struct call *c = q->first; c; c = c->next)
		if (c->arg == arg)
			c->done = NULL;
}

void calls_taken_over(struct calls *q)
{
	if (q->first)
		q->first->sent_at = wait_now();
	look_now(q);
}

int calls_new(struct calls **out, struct vm *vm)
{
	struct calls *q = calloc(1, sizeof(*q));

	*out = q;
	if (!q)
		return -ENOMEM;
	q->vm = vm;
	q->timer = evtimer_new(vm->base, on_timer, q);
	return q->timer ? 0 : -ENOMEM;
}

void calls_free(struct calls *q)
{
	if (!q)
		return;
	while (q->first)
		drop(&q->first);
	if (q->timer)
		event_free(q->timer);
	free(q);
}
