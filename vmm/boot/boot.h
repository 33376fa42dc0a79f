/*
 * vmm/boot/boot.h - direct boot: a kernel is started without firmware.
 *
 * What the file is decides the protocol:
 *
 *	Linux bzImage		64-bit boot protocol; 32-bit for a 32-bit kernel
 *	ELF with a PVH note	PVH (Xen's x86/HVM direct boot)
 *	multiboot 1		32-bit ELF, or flat by the header's addresses
 *
 * The files are opened once and read at each load, so that a reset starts the
 * same kernel and no copy of it is kept.  They are untrusted: whatever is wrong
 * with one is an error that names it.
 *
 * Thread: main, while no vCPU runs.
 */
#ifndef CLEAVE_VMM_BOOT_BOOT_H
#define CLEAVE_VMM_BOOT_BOOT_H

#include <stddef.h>
#include <stdint.h>

struct boot;
struct mem;
struct x86_state;

#define BOOT_EBDA	0x9fc00u	/* 1 KiB; conventional memory ends here */

/*
 * `initrd` is NULL, an initramfs, or for multiboot modules: FILE [ARGUMENTS],
 * separated by commas (",," is a comma).  The strings stay the caller's and
 * must live as long.  -errno, and the cause and the cure in `err`.
 */
int boot_new(struct boot **, const char *kernel, const char *initrd, const char *append, char *err, size_t errlen);
void boot_free(struct boot *);
/* Writes kernel, modules and what they are told to RAM, and sets in `state` what the protocol demands. */
int boot_load(struct boot *, struct mem *, struct x86_state *state, char *err, size_t errlen);

#endif
