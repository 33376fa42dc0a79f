/*
 * vmm/image.h - opens disk and CD images on behalf of the device model.
 *
 * A path ends here: the device model gets the descriptor.  The file is locked
 * (flock, exclusive unless read-only) through that descriptor's description, so
 * the lock lives exactly as long as somebody can write through it.
 */
#ifndef CLEAVE_VMM_IMAGE_H
#define CLEAVE_VMM_IMAGE_H

#include <stddef.h>

struct config_key;

/* The descriptor, or -errno with cause and cure in `err`. */
int image_open(const struct config_key *, char *err, size_t errlen);

#endif
