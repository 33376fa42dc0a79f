/*
 * proto/direct.h - a machine that starts without firmware.
 *
 * The engine loads the kernel; the device model does what firmware would have
 * done before it: assigns PCI resources, routes interrupts, makes C0000h-FFFFFh
 * RAM and writes the ACPI and SMBIOS tables there.  Both know these places.
 * The device model has done all of it when it says READY, and again when it
 * has answered a reset.
 *
 * The engine's share: the memory map that it gives the kernel reserves
 * [DIRECT_AREA, DIRECT_AREA_END); the RSDP's address goes into boot_params or
 * start_info; DIRECT_ELCR is the interrupt controllers' edge/level register.
 */
#ifndef CLEAVE_PROTO_DIRECT_H
#define CLEAVE_PROTO_DIRECT_H

enum {
	DIRECT_AREA	= 0xe0000,
	DIRECT_ACPI	= 0xe0000,	/* tables */
	DIRECT_RSDP	= 0xf0000,
	DIRECT_SMBIOS	= 0xf0040,	/* entry point; the structures follow */
	DIRECT_SMBIOS_TABLES = 0xf0060,
	DIRECT_AREA_END	= 0x100000,

	DIRECT_ELCR	= 0x0c00,	/* 4D0h (low byte) and 4D1h: IRQ 10 and 11 are level */
	DIRECT_PM_BASE	= 0x600,	/* ACPI registers: PM1 at +0, PM timer at +8 */
	DIRECT_PCI_IO	= 0xc000,	/* BARs, upwards */
};
#define DIRECT_PCI_MEM	0xe0000000u	/* BARs, upwards: above all RAM below 4 GiB */

#endif
