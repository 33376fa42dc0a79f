/*
 * vmm/tap.h - opens a tap interface.
 */
#ifndef CLEAVE_VMM_TAP_H
#define CLEAVE_VMM_TAP_H

#include <stddef.h>

enum { TAP_NAME = 16 };		/* IFNAMSIZ */

/*
 * The descriptor, non-blocking, frames behind a virtio header of 12 bytes; or
 * -errno with cause and cure in `err`.  `name`: an interface, made where it
 * does not exist; "": the kernel names it.  What it is called goes there.
 */
int tap_open(char name[TAP_NAME], char *err, size_t errlen);

#endif
