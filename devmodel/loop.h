/*
 * devmodel/loop.h - the daemon's one loop.
 *
 * While requests come it polls the rings; when they stop it spins as long as
 * experience says that it pays, then sleeps in libevent until a request, a
 * timer, a back end or the end of the engine.  An idle machine costs nothing.
 */
#ifndef CLEAVE_DEVMODEL_LOOP_H
#define CLEAVE_DEVMODEL_LOOP_H

#include "devmodel/machine.h"

struct loop;

/* Takes over the machine's clock and waits; `sock` tells by its end that the engine is gone.  NULL: no memory. */
struct loop *loop_new(struct machine *, int sock);
/* 0: the engine is gone.  -errno: m->error says what happened. */
int loop_run(struct loop *);
void loop_free(struct loop *);

#endif
