/*
 * vmm/timer.c - one ordered list of deadlines, one timerfd.
 *
 * Owns the list and the descriptor; knows no device.  The descriptor lives in
 * the events thread's libevent base but is set from whichever thread sets a
 * timer: an earlier deadline costs one timerfd_settime(), a later one nothing
 * (the descriptor then fires early once and is set again), and the events
 * thread is woken only when something may be due.
 *
 * The VM's clock may stand still.  A wake-up that finds nothing due on a clock
 * that has not moved since the last one does not set the descriptor again;
 * timers_rearm() or the next timer_set() does.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <event2/event.h>

#include "vmm/timer.h"

#define NS_PER_S	1000000000ull
#define NEVER		UINT64_MAX

/* Callbacks of one wake-up: a timer that is always due must not starve the events thread. */
enum { TIMERS_BURST = 256 };

/* Invariant: armed timers stand in timers->head's list in the order of their deadlines, equal ones in the order of setting. */
struct timer {
	struct timers *timers;
	timer_fn *fn;
	void *arg;
	uint64_t deadline;
	bool armed;
	struct timer *next;
};

struct timers {
	struct timer *head;
	/* manual clock */
	uint64_t manual;
	/* the VM's clock */
	pthread_mutex_t *lock;
	uint64_t (*now)(void *);
	void *now_arg;
	struct event *event;
	int fd;			/* -1: manual clock */
	uint64_t fd_deadline;	/* what the descriptor is set to, NEVER when not */
	uint64_t last_wake;	/* the clock at the last wake-up */
	bool running;		/* in on_wake(): it sets the descriptor when all callbacks are done */
};

static void fd_set_deadline(struct timers *ts, uint64_t deadline, uint64_t now)
{
	uint64_t in = deadline > now ? deadline - now : 1;	/* 0 would disarm */
	struct itimerspec its = { .it_value = { .tv_sec = (time_t)(in / NS_PER_S), .tv_nsec = (long)(in % NS_PER_S) } };

	timerfd_settime(ts->fd, 0, &its, NULL);
	ts->fd_deadline = deadline;
}

/* Sets the descriptor if the first deadline is earlier than what it is set to. */
static void fd_update(struct timers *ts)
{
	if (ts->fd >= 0 && !ts->running && ts->head && ts->head->deadline < ts->fd_deadline)
		fd_set_deadline(ts, ts->head->deadline, timers_now(ts));
}

uint64_t timers_now(const struct timers *ts)
{
	return ts->fd < 0 ? ts->manual : ts->now(ts->now_arg);
}

static struct timer *take_due(struct timers *ts, uint64_t now)
{
	struct timer *t = ts->head;

	if (!t || t->deadline > now)
		return NULL;
	ts->head = t->next;
	t->armed = false;
	return t;
}

/* The descriptor fired: runs what is due. */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
	struct timers *ts = arg;
	unsigned ran = 0;
	uint64_t expirations, now;
	struct timer *t;

	(void)what;
	pthread_mutex_lock(ts->lock);
	if (read(fd, &expirations, sizeof(expirations)) < 0) {
		/* EAGAIN: set again meanwhile by another thread; what it is set to now still stands. */
		pthread_mutex_unlock(ts->lock);
		return;
	}
	ts->fd_deadline = NEVER;
	now = timers_now(ts);
	ts->running = true;
	while (ran < TIMERS_BURST && (t = take_due(ts, now))) {
		ran++;
		t->fn(t->arg, t->deadline);
	}
	ts->running = false;
	if (ran || now != ts->last_wake)
		fd_update(ts);
	ts->last_wake = now;
	pthread_mutex_unlock(ts->lock);
}

struct timers *timers_new(struct event_base *base, pthread_mutex_t *lock, uint64_t (*now)(void *), void *now_arg)
{
	struct timers *ts = calloc(1, sizeof(*ts));

	if (!ts)
		return NULL;
	ts->fd = -1;
	if (!base)
		return ts;
	ts->lock = lock;
	ts->now = now;
	ts->now_arg = now_arg;
	ts->fd_deadline = NEVER;
	ts->last_wake = NEVER;
	ts->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (ts->fd >= 0)
		ts->event = event_new(base, ts->fd, EV_READ | EV_PERSIST, on_wake, ts);
	if (!ts->event || event_add(ts->event, NULL) < 0) {
		timers_free(ts);
		return NULL;
	}
	return ts;
}

void timers_free(struct timers *ts)
{
	if (!ts)
		return;
	if (ts->event)
		event_free(ts->event);
	if (ts->fd >= 0)
		close(ts->fd);
	free(ts);
}

void timers_advance(struct timers *ts, uint64_t ns)
{
	uint64_t end = ts->manual + ns;
	struct timer *t;

	while ((t = take_due(ts, end))) {
		if (t->deadline > ts->manual)
			ts->manual = t->deadline;
		t->fn(t->arg, t->deadline);
	}
	ts->manual = end;
}

void timers_rearm(struct timers *ts)
{
	if (ts->fd < 0 || !ts->head)
		return;
	fd_set_deadline(ts, ts->head->deadline, timers_now(ts));
}

uint64_t timers_next(const struct timers *ts)
{
	return ts->head ? ts->head->deadline : NEVER;
}

struct timer *timer_new(struct timers *ts, timer_fn *fn, void *arg)
{
	struct timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->timers = ts;
	t->fn = fn;
	t->arg = arg;
	return t;
}

void timer_free(struct timer *t)
{
	if (!t)
		return;
	timer_stop(t);
	free(t);
}

void timer_set(struct timer *t, uint64_t deadline)
{
	struct timer **at;

	timer_stop(t);
	for (at = &t->timers->head; *at && (*at)->deadline <= deadline; at = &(*at)->next)
		;
	t->deadline = deadline;
	t->armed = true;
	t->next = *at;
	*at = t;
	fd_update(t->timers);
}

void timer_stop(struct timer *t)
{
	struct timer **at;

	if (!t->armed)
		return;
	for (at = &t->timers->head; *at != t; at = &(*at)->next)
		;
	*at = t->next;
	t->armed = false;
}
