/*
 * devices.c - the list of all devices.  Adding one touches its file and this list.
 */
#include "devmodel/device.h"

extern const struct dev_ops i440fx_ops;
extern const struct dev_ops ide_ops, uart_ops, i8042_ops;

const struct dev_ops *const devices[] = {
	&i440fx_ops,
	&ide_ops,
	&uart_ops,
	&i8042_ops,
	NULL,
};
