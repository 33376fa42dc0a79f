/*
 * vmm/boot/uefi.h - what can be told of UEFI firmware by looking into its image.
 */
#ifndef CLEAVE_VMM_BOOT_UEFI_H
#define CLEAVE_VMM_BOOT_UEFI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* It begins with a firmware volume. */
bool uefi_image(const uint8_t *image, size_t n);

/*
 * Was it built to run only where there is system management mode?  True when
 * that is certain; false too for what cannot be looked into (another
 * compression, or this program was built without liblzma).
 */
bool uefi_needs_smm(const uint8_t *image, size_t n);

#endif
