/*
 * slirp/stack.h - the network behind the cable: libslirp on libevent.
 *
 * A turn of the loop: stack_prepare() registers the descriptors and the time
 * that libslirp wants to wait for, event_base_loop() waits once, stack_turn()
 * lets it work.  libslirp tells fd events apart finer than libevent does
 * (urgent data, hang-ups), so libevent wakes and poll(2) says what happened.
 */
#ifndef CLEAVE_SLIRP_STACK_H
#define CLEAVE_SLIRP_STACK_H

#include <stddef.h>
#include <stdint.h>

#include "proto/slirpconf.h"

struct event_base;
struct stack;

struct stack_ops {
	void (*output)(void *arg, const uint8_t *frame, size_t n);	/* a frame for the guest */
	void *arg;
};

/* -errno with cause and cure in `err`. */
int stack_new(struct stack **, struct event_base *, const struct slirp_conf *, const struct stack_ops *, char *err, size_t errlen);
void stack_free(struct stack *);

void stack_input(struct stack *, const uint8_t *frame, size_t n);
/* `hold`: take nothing from the host's connections, as the guest is behind. */
void stack_prepare(struct stack *, bool hold);
void stack_turn(struct stack *);

#endif
