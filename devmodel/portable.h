/*
 * devmodel/portable.h - the state of all devices in a form that does not show
 * this program's memory layout (proto/state.proto).
 *
 * A device model that holds packs it for a successor whose layout is another;
 * where layouts are the same the arena is copied as it is.  The arena that comes
 * of it is checked like any other.
 *
 * A device's fields table says what its state consists of (device.h).  A device
 * without one can be handed over only to a program of the same state layout.
 */
#ifndef CLEAVE_DEVMODEL_PORTABLE_H
#define CLEAVE_DEVMODEL_PORTABLE_H

#include <stddef.h>
#include <stdint.h>

#include "devmodel/arena.h"

struct machine;

enum { PORTABLE_FORMAT = 1, PORTABLE_MAX = 64 << 20 };		/* bytes that are read at most */

/* Between two transactions.  *bytes is the caller's to free.  0 or -errno. */
int portable_pack(const struct machine *, uint8_t **bytes, size_t *n);

/*
 * Any bytes will do.  Lays out the zeroed arena and fills it.  0, or -EINVAL and
 * in `err` the device and the field that cannot be taken over.
 */
int portable_unpack(void *arena, size_t size, const struct arena_plan *, unsigned ndevs, unsigned nrings, const uint8_t *bytes, size_t n,
		    char *err, size_t errlen);

#endif
