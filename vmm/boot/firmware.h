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
 * Loads the configuration's boot ROM, and makes room for its variables: as much
 * as their file has, or, where UEFI firmware has none, what its image lacks to
 * whole megabytes.  The device model fills it.  -errno, `err` is for the user.
 */
int firmware_load(struct mem *, const struct config *, char *err, size_t errlen);

#endif
