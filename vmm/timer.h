/*
 * vmm/timer.h - deadlines of the in-engine devices.
 *
 * Thread: callbacks run on the events thread with vm->dev_lock held; set and
 * stop are called with it held.  Deadlines are ns on the VM's clock (vm_now),
 * which stands still while the VM is paused, and so do these.  Unit tests
 * supply a clock of their own with timers_advance().
 */
#ifndef CLEAVE_VMM_TIMER_H
#define CLEAVE_VMM_TIMER_H

#include <pthread.h>
#include <stdint.h>

struct timers;
struct event_base;
struct timer;

typedef void timer_fn(void *arg, uint64_t deadline);

/*
 * `lock` (vm->dev_lock) is taken around callbacks.  base NULL: a manual clock
 * for tests, which starts at 0 and moves by timers_advance(); the other
 * arguments are not used then.  NULL: no descriptor or memory left.
 */
struct timers *timers_new(struct event_base *base, pthread_mutex_t *lock, uint64_t (*now)(void *), void *now_arg);
void timers_free(struct timers *);		/* the base must not be running */
uint64_t timers_now(const struct timers *);
void timers_advance(struct timers *, uint64_t ns);	/* manual clock only: runs what falls due, in order */

struct timer *timer_new(struct timers *, timer_fn *, void *arg);
void timer_free(struct timer *);
void timer_set(struct timer *, uint64_t deadline);	/* replaces an earlier deadline; one in the past fires at once */
void timer_stop(struct timer *);
/* The earliest deadline, UINT64_MAX for none: an idle machine has none (tests ask). */
uint64_t timers_next(const struct timers *);
/* The clock stood still (pause ended): look at every deadline again. Any thread with dev_lock. */
void timers_rearm(struct timers *);

#endif
