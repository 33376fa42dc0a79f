/*
 * vmm/control_parts.h - what the files of the control server share.
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_CONTROL_PARTS_H
#define CLEAVE_VMM_CONTROL_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/control.pb-c.h"

struct vm;

/* An answer under construction. */
struct answer {
	Cleave__Response r;
	char text[400];
	bool again;		/* not yet: the same message is to be looked at again soon */
};

/* It is an error: an errno value of either sign, and cause and cure.  Returns `error`. */
int control_refuse(struct answer *, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Its bytes, which the caller frees; 0 and NULL: no memory. */
size_t control_pack(const Cleave__Response *, uint8_t **to);

/* --get-devmodel */
size_t control_devmodel(struct vm *, struct answer *, uint8_t **reply);

#endif
