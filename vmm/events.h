/*
 * vmm/events.h - what the device model tells the machine.
 *
 * Thread: any, without dev_lock, one at a time and in order (vmm/link.c sees
 * to both).
 */
#ifndef CLEAVE_VMM_EVENTS_H
#define CLEAVE_VMM_EVENTS_H

#include "ipc/link.h"

struct vm;

/* Applies one event whose form has been checked.  NULL, or why no honest daemon would send it. */
const char *event_apply(struct vm *, const struct link_event *);

#endif
