/*
 * vmm/calls.h - what the main thread asks of the device model, without waiting
 * for it: reset, injection, pause and resume, on the control channel, in order.
 *
 * A call outlives device models: what has not been acknowledged is asked of the
 * successor.  Whoever asked hears of the answer, or that his patience is over,
 * from the event loop; never before calls_ask() has returned.
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_CALLS_H
#define CLEAVE_VMM_CALLS_H

#include <stdint.h>

struct vm;
struct calls;

/*
 * 0: done.  -ENXIO: no device takes it.  -ETIMEDOUT: no answer so far; if one
 * comes, nobody hears of it.  -EPIPE: nobody serves, and it has not been done.
 */
typedef void call_done(void *arg, int err);

enum { CALL_FOR_EVER = 0 };

int calls_new(struct calls **, struct vm *);	/* -ENOMEM */
void calls_free(struct calls *);		/* nobody hears of what is left */

/*
 * LINK_REQ_RESET, INJECT, PAUSE or RESUME; with LINK_REQ_NONE nothing is asked:
 * it is done when all before it is, or -EPIPE as soon as no process is at work.
 * `done` may be NULL.  A PAUSE or RESUME that waits to be asked gives way to the
 * next.  -ENOMEM.
 */
int calls_ask(struct calls *, unsigned kind, uint64_t addr, uint64_t value, unsigned patience_ms, call_done *done, void *arg);
/* `arg` has gone: it hears of nothing any more. */
void calls_forget(struct calls *, const void *arg);
void calls_taken_over(struct calls *);		/* another device model serves */

#endif
