/*
 * vmm/boot/firmware.h - firmware in the guest's memory: the boot ROM, and the
 * flash below it in which UEFI firmware keeps its variables.
 *
 * Thread: main, before any vCPU runs.
 */
#ifndef CLEAVE_VMM_BOOT_FIRMWARE_H
#define CLEAVE_VMM_BOOT_FIRMWARE_H

#include <stddef.h>

struct config;
struct mem;

/*
 * Before the configuration is resolved: a boot ROM without variables gets those
 * of the empty store that lies beside it, if one does; they are only read.
 */
int firmware_default_vars(struct config *);

/*
 * Loads the configuration's boot ROM, and makes room for its variables, as much
 * as their file has.  The device model fills it.  -errno, `err` is for the user.
 */
int firmware_load(struct mem *, const struct config *, char *err, size_t errlen);

#endif
