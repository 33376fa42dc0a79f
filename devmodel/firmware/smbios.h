/*
 * devmodel/firmware/smbios.h - the machine's SMBIOS structures.
 *
 * DMTF DSP0134, entry point of version 2.8: what firmware of every age takes.
 * The strings are the user's where there are any: fw_cfg keys such as
 * "system.serial".
 */
#ifndef CLEAVE_DEVMODEL_FIRMWARE_SMBIOS_H
#define CLEAVE_DEVMODEL_FIRMWARE_SMBIOS_H

#include <stddef.h>
#include <stdint.h>

#include "devmodel/firmware/board.h"

#define SMBIOS_FILE_ANCHOR	"etc/smbios/smbios-anchor"
#define SMBIOS_FILE_TABLES	"etc/smbios/smbios-tables"

enum smbios_string {
	SMBIOS_BIOS_VENDOR, SMBIOS_BIOS_VERSION, SMBIOS_BIOS_DATE,
	SMBIOS_SYSTEM_MANUFACTURER, SMBIOS_SYSTEM_PRODUCT, SMBIOS_SYSTEM_VERSION, SMBIOS_SYSTEM_SERIAL,
	SMBIOS_SYSTEM_SKU, SMBIOS_SYSTEM_FAMILY,
	SMBIOS_BOARD_MANUFACTURER, SMBIOS_BOARD_PRODUCT, SMBIOS_BOARD_VERSION, SMBIOS_BOARD_SERIAL,
	SMBIOS_BOARD_ASSET, SMBIOS_BOARD_LOCATION,
	SMBIOS_CHASSIS_MANUFACTURER, SMBIOS_CHASSIS_VERSION, SMBIOS_CHASSIS_SERIAL, SMBIOS_CHASSIS_ASSET,
	SMBIOS_CHASSIS_SKU,
	SMBIOS_STRINGS
};

/* Key and, where nobody says otherwise, value (NULL: none) of each string. */
extern const struct smbios_default { const char *key, *value; } smbios_default[SMBIOS_STRINGS];

enum { SMBIOS_ANCHOR_SIZE = 31, SMBIOS_TABLES_MAX = 4096, SMBIOS_STRING_MAX = 96 };

struct smbios {
	uint8_t anchor[SMBIOS_ANCHOR_SIZE];
	uint8_t tables[SMBIOS_TABLES_MAX];
	uint32_t size;
};

/*
 * string[n] NULL: the default.  -EINVAL: one is too long or not printable ASCII,
 * and *bad says which; -ENOSPC: all together are too long.  Firmware
 * fills in where the tables are and sums the entry point up; smbios_place() does so without firmware.
 */
int smbios_build(struct smbios *, const struct board *, const char *const string[SMBIOS_STRINGS], enum smbios_string *bad);
void smbios_place(struct smbios *, uint32_t tables);

#endif
