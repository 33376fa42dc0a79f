/*
 * vmm/boot/firmware.h - firmware in the guest's memory: the boot ROM, and the
 * flash below it in which UEFI firmware keeps its variables.
 *
 * Thread: main, before any vCPU runs.
 */
#ifndef CLEAVE_VMM_BOOT_FIRMWARE_H
#define CLEAVE_VMM_BOOT_FIRMWARE_H

#include <stdbool.h>
#include <stddef.h>

struct config;
struct mem;

/* The empty store of variables that distributions put beside their image, VARS for CODE in its name; false: there is none. */
bool firmware_template(const char *rom, char *path, size_t n);

/*
 * Loads the configuration's boot ROM, and makes room for its variables, as much
 * as their file has.  The device model fills it.  -errno, `err` is for the user.
 */
int firmware_load(struct mem *, const struct config *, char *err, size_t errlen);

#endif
