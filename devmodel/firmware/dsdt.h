/*
 * devmodel/firmware/dsdt.h - the body of the machine's DSDT.
 */
#ifndef CLEAVE_DEVMODEL_FIRMWARE_DSDT_H
#define CLEAVE_DEVMODEL_FIRMWARE_DSDT_H

#include <stddef.h>

#include "devmodel/firmware/board.h"

/* AML of at most `max` bytes: its size, or 0 where it does not fit. */
size_t dsdt_write(const struct board *, void *to, size_t max);

#endif
