/* Deadlines: order, replacement, the manual clock, and the descriptor in a libevent base. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>
#include <event2/event.h>
#include <event2/thread.h>

#include "vmm/timer.h"

static char fired[64];		/* letters in the order of firing */
static uint64_t fired_at;

struct mark {
	struct timers *ts;
	struct timer *t;
	char letter;
	uint64_t again;		/* set again this much after the deadline; 0: not */
};

static void on_mark(void *arg, uint64_t deadline)
{
	struct mark *m = arg;

	strncat(fired, &m->letter, 1);
	fired_at = timers_now(m->ts);
	if (m->again)
		timer_set(m->t, deadline + m->again);
}

static void mark_new(struct mark *m, struct timers *ts, char letter)
{
	*m = (struct mark){ .ts = ts, .letter = letter };
	m->t = timer_new(ts, on_mark, m);
	assert_non_null(m->t);
	fired[0] = 0;
}

static void order(void **state)
{
	struct timers *ts = timers_new(NULL, NULL, NULL, NULL);
	struct mark a, b, c;

	(void)state;
	mark_new(&a, ts, 'a');
	mark_new(&b, ts, 'b');
	mark_new(&c, ts, 'c');
	assert_int_equal(timers_now(ts), 0);
	assert_true(timers_next(ts) == UINT64_MAX);
	timer_set(c.t, 300);
	timer_set(a.t, 100);
	timer_set(b.t, 300);
	assert_int_equal(timers_next(ts), 100);
	timers_advance(ts, 99);
	assert_string_equal(fired, "");
	timers_advance(ts, 1);
	assert_string_equal(fired, "a");
	assert_int_equal(fired_at, 100);
	timers_advance(ts, 1000);
	assert_string_equal(fired, "acb");
	assert_int_equal(fired_at, 300);
	assert_int_equal(timers_now(ts), 1100);
	timer_free(a.t);
	timer_free(b.t);
	timer_free(c.t);
	timers_free(ts);
}

static void replace_and_stop(void **state)
{
	struct timers *ts = timers_new(NULL, NULL, NULL, NULL);
	struct mark a, b;

	(void)state;
	mark_new(&a, ts, 'a');
	mark_new(&b, ts, 'b');
	timer_set(a.t, 10);
	timer_set(a.t, 50);
	timer_set(b.t, 20);
	timer_stop(b.t);
	timer_stop(b.t);
	timers_advance(ts, 40);
	assert_string_equal(fired, "");
	timer_set(b.t, 5);		/* in the past */
	timers_advance(ts, 0);
	assert_string_equal(fired, "b");
	assert_int_equal(fired_at, 40);	/* the clock does not go back */
	timers_advance(ts, 10);
	assert_string_equal(fired, "ba");
	timer_set(a.t, 60);
	timer_free(a.t);		/* an armed one leaves the list */
	assert_true(timers_next(ts) == UINT64_MAX);
	timers_advance(ts, 100);
	timer_free(b.t);
	timers_free(ts);
}

static void periodic(void **state)
{
	struct timers *ts = timers_new(NULL, NULL, NULL, NULL);
	struct mark a, b;

	(void)state;
	mark_new(&a, ts, 'a');
	mark_new(&b, ts, 'b');
	a.again = 10;
	timer_set(a.t, 10);
	timer_set(b.t, 25);
	timers_advance(ts, 40);
	assert_string_equal(fired, "aabaa");
	assert_int_equal(timers_next(ts), 50);
	timer_free(a.t);
	timer_free(b.t);
	timers_free(ts);
}

/* ---- the real thing: a clock that can be stopped, over CLOCK_MONOTONIC */

static uint64_t stopped_at, behind;

static uint64_t monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t vm_clock(void *arg)
{
	(void)arg;
	return stopped_at ? stopped_at : monotonic() - behind;
}

static struct event_base *base;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void on_guard(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	*(int *)arg = 1;
	event_base_loopbreak(base);
}

/* Runs the base until `n` letters stand in fired[] or `ms` have passed; true: the letters came. */
static int run_until(size_t n, int ms)
{
	struct timeval tv = { ms / 1000, ms % 1000 * 1000 };
	int late = 0;
	struct event *guard = evtimer_new(base, on_guard, &late);

	evtimer_add(guard, &tv);
	while (strlen(fired) < n && !late)
		event_base_loop(base, EVLOOP_ONCE);
	event_free(guard);
	return strlen(fired) >= n;
}

static void real_clock(void **state)
{
	struct timers *ts = timers_new(base, &lock, vm_clock, NULL);
	struct mark a, b;
	uint64_t start;

	(void)state;
	mark_new(&a, ts, 'a');
	mark_new(&b, ts, 'b');
	start = timers_now(ts);
	timer_set(a.t, start + 3000000);
	timer_set(b.t, start + 1000000);	/* earlier: the descriptor moves */
	assert_true(run_until(2, 10000));
	assert_string_equal(fired, "ba");
	assert_true(fired_at >= start + 3000000);

	fired[0] = 0;				/* stopped: the early wake-up goes on to the next one */
	start = timers_now(ts);
	timer_set(a.t, start + 1000000);
	timer_set(b.t, start + 2000000);
	timer_stop(a.t);
	assert_true(run_until(1, 10000));
	assert_string_equal(fired, "b");

	fired[0] = 0;				/* before the one that the descriptor is set to */
	timer_set(a.t, start + 3600000000000);
	timer_set(b.t, timers_now(ts) + 1000000);
	assert_true(run_until(1, 10000));
	assert_string_equal(fired, "b");

	fired[0] = 0;				/* in the past */
	timer_set(a.t, 1);
	assert_true(run_until(1, 10000));
	timer_free(a.t);
	timer_free(b.t);
	timers_free(ts);
}

/* While the clock stands nothing fires and nobody spins; then timers_rearm(). */
static void stopped_clock(void **state)
{
	struct timers *ts = timers_new(base, &lock, vm_clock, NULL);
	struct mark a;
	unsigned turns = 0;
	int late = 0;
	struct event *guard = evtimer_new(base, on_guard, &late);
	struct timeval tv = { 0, 30000 };

	(void)state;
	mark_new(&a, ts, 'a');
	timer_set(a.t, timers_now(ts) + 1000000);
	stopped_at = timers_now(ts);
	evtimer_add(guard, &tv);
	do {
		event_base_loop(base, EVLOOP_ONCE);
		turns++;
	} while (!late);
	assert_string_equal(fired, "");
	assert_in_range(turns, 1, 8);
	behind = monotonic() - stopped_at;
	stopped_at = 0;
	timers_rearm(ts);
	assert_true(run_until(1, 10000));
	event_free(guard);
	timer_free(a.t);
	timers_free(ts);
}

static struct timers *shared;
static struct mark shared_mark;

static void *set_from_elsewhere(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&lock);
	timer_set(shared_mark.t, timers_now(shared) + 1000000);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* A vCPU's thread sets a timer while the events thread sleeps in its base. */
static void set_by_another_thread(void **state)
{
	pthread_t thread;

	(void)state;
	shared = timers_new(base, &lock, vm_clock, NULL);
	mark_new(&shared_mark, shared, 's');
	assert_int_equal(pthread_create(&thread, NULL, set_from_elsewhere, NULL), 0);
	assert_true(run_until(1, 10000));
	pthread_join(thread, NULL);
	timer_free(shared_mark.t);
	timers_free(shared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order),
		cmocka_unit_test(replace_and_stop),
		cmocka_unit_test(periodic),
		cmocka_unit_test(real_clock),
		cmocka_unit_test(stopped_clock),
		cmocka_unit_test(set_by_another_thread),
	};
	int failed;

	base = event_base_new();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	event_base_free(base);
	return failed;
}
