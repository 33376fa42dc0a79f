/*
 * vmm/ledger.c - restarts, strikes and devices out of service, remembered.
 */
#include "vmm/ledger.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct ledger {
	pthread_mutex_t lock;
	struct ledger_page page;
};

uint64_t ledger_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

struct ledger *ledger_new(void)
{
	struct ledger *l = calloc(1, sizeof(*l));

	if (l)
		pthread_mutex_init(&l->lock, NULL);
	return l;
}

void ledger_free(struct ledger *l)
{
	if (!l)
		return;
	pthread_mutex_destroy(&l->lock);
	free(l);
}

void ledger_restart(struct ledger *l, const char *why, uint64_t took)
{
	struct ledger_page *p = &l->page;
	struct ledger_restart r = { .at = ledger_now(), .took = took };

	snprintf(r.why, sizeof(r.why), "%s", why);
	pthread_mutex_lock(&l->lock);
	memmove(p->restart + 1, p->restart, sizeof(p->restart) - sizeof(p->restart[0]));
	p->restart[0] = r;
	if (p->nrestarts < LEDGER_RESTARTS)
		p->nrestarts++;
	pthread_mutex_unlock(&l->lock);
}

static bool same_source(const struct link_event *a, const struct link_event *b)
{
	return a->a == b->a && a->b == b->b && a->c == b->c && a->value == b->value;
}

/* Each successor tells of all that it knows: only another count is news. */
void ledger_strike(struct ledger *l, const struct link_event *e, const struct link_req *request)
{
	struct ledger_strike s = { .event = *e, .at = ledger_now(), .known = request };
	struct ledger_page *p = &l->page;
	unsigned i = 0;

	if (request)
		s.request = *request;
	pthread_mutex_lock(&l->lock);
	while (i < p->nstrikes && !same_source(&p->strike[i].event, e))
		i++;
	if (i < p->nstrikes && p->strike[i].event.d == e->d)
		goto out;
	if (i < p->nstrikes && !s.known) {
		s.known = p->strike[i].known;
		s.request = p->strike[i].request;
	}
	if (i == LEDGER_STRIKES)
		i--;			/* the oldest goes */
	else if (i == p->nstrikes)
		p->nstrikes++;
	memmove(p->strike + 1, p->strike, i * sizeof(p->strike[0]));
	p->strike[0] = s;
out:
	pthread_mutex_unlock(&l->lock);
}

void ledger_service(struct ledger *l, unsigned dev, bool in_service)
{
	uint64_t *since;

	if (dev >= LEDGER_DEVICES)
		return;
	since = &l->page.out_since[dev];
	pthread_mutex_lock(&l->lock);
	if (in_service)
		*since = 0;
	else if (!*since)
		*since = ledger_now();
	pthread_mutex_unlock(&l->lock);
}

void ledger_read(struct ledger *l, struct ledger_page *p)
{
	pthread_mutex_lock(&l->lock);
	*p = l->page;
	pthread_mutex_unlock(&l->lock);
}
