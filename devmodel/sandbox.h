/*
 * devmodel/sandbox.h - what a device model keeps: the descriptors that it is sent.
 */
#ifndef CLEAVE_DEVMODEL_SANDBOX_H
#define CLEAVE_DEVMODEL_SANDBOX_H

#include <stdint.h>

#include "ipc/sandbox.h"

/*
 * Before anything hostile is read: no descriptors but 0-2 and `sock`, no new
 * privileges, and this process ends when the one that started it does; then, if
 * it is on, the rest of the sandbox, as far as it can be had.  `cell` is the
 * mount namespace to enter, or -1.  -errno.
 */
int devmodel_sandbox_enter(int sock, int cell, bool on, struct sandbox *);

/* Every thread is there: no more of them. */
void devmodel_sandbox_settle(void);

/* Where the number of a forbidden system call is left, plus one. */
void devmodel_sandbox_last_words(uint32_t *at);

#ifdef CLEAVE_FAULTS
/* A test's, called before a forbidden call ends this process: need not return. */
extern void (*devmodel_sandbox_stopped)(int call);
#endif

#endif
