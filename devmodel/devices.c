/*
 * devices.c - the list of all devices.  Adding one touches its file and this list.
 */
#include "devmodel/device.h"

extern const struct dev_ops i440fx_ops;

const struct dev_ops *const devices[] = {
	&i440fx_ops,
	NULL,
};
