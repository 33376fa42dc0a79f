/*
 * devices.c - the list of all devices.  Adding one touches its file and this list.
 */
#include "devmodel/device.h"

extern const struct dev_ops i440fx_ops, piix3_ops, piix4pm_ops, flash_ops;
extern const struct dev_ops fwcfg_ops, debugcon_ops, post_ops, debug_exit_ops, pvpanic_ops;
extern const struct dev_ops ide_ops, uart_ops, i8042_ops;
extern const struct dev_ops virtio_blk_ops, virtio_net_ops, virtio_console_ops, virtio_rnd_ops;
#ifdef CLEAVE_FAULTS
extern const struct dev_ops crash_ops;
#endif

const struct dev_ops *const devices[] = {
	&i440fx_ops,
	&piix3_ops,
	&piix4pm_ops,
	&flash_ops,
	&fwcfg_ops,
	&debugcon_ops,
	&post_ops,
	&debug_exit_ops,
	&pvpanic_ops,
	&ide_ops,
	&uart_ops,
	&i8042_ops,
	&virtio_blk_ops,
	&virtio_net_ops,
	&virtio_console_ops,
	&virtio_rnd_ops,
#ifdef CLEAVE_FAULTS
	&crash_ops,		/* tests/system/crashdev.c */
#endif
	NULL,
};
