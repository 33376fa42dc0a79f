/*
 * devmodel/firmware/tables.h - a machine's tables, as the fw_cfg device's keys
 * want them.
 */
#ifndef CLEAVE_DEVMODEL_FIRMWARE_TABLES_H
#define CLEAVE_DEVMODEL_FIRMWARE_TABLES_H

#include "devmodel/device.h"
#include "devmodel/firmware/acpi.h"
#include "devmodel/firmware/smbios.h"

/* `fwcfg` is the fw_cfg device.  Errors are told by dev_error(). */
bool tables_wanted(struct dev *fwcfg);				/* ACPI: its key is not off, and the machine can do it */
int tables_acpi(struct acpi *, struct dev *fwcfg, uint16_t pm_base);
int tables_smbios(struct smbios *, struct dev *fwcfg);

/* The keys that tables_smbios() and tables_wanted() look at, for the device's list. */
#define TABLES_KEYS											\
	{ "acpi", "on: ACPI tables; off: none (default on)", DEV_KEY_TEXT },				\
	{ "bios.vendor", "SMBIOS type 0: vendor", DEV_KEY_TEXT },					\
	{ "bios.version", "SMBIOS type 0: version", DEV_KEY_TEXT },					\
	{ "bios.release_date", "SMBIOS type 0: date, mm/dd/yyyy", DEV_KEY_TEXT },			\
	{ "system.manufacturer", "SMBIOS type 1: manufacturer", DEV_KEY_TEXT },				\
	{ "system.product_name", "SMBIOS type 1: product", DEV_KEY_TEXT },				\
	{ "system.version", "SMBIOS type 1: version", DEV_KEY_TEXT },					\
	{ "system.serial_number", "SMBIOS type 1: serial number", DEV_KEY_TEXT },			\
	{ "system.sku", "SMBIOS type 1: SKU number", DEV_KEY_TEXT },					\
	{ "system.family_name", "SMBIOS type 1: family", DEV_KEY_TEXT },				\
	{ "board.manufacturer", "SMBIOS type 2: manufacturer", DEV_KEY_TEXT },				\
	{ "board.product_name", "SMBIOS type 2: product", DEV_KEY_TEXT },				\
	{ "board.version", "SMBIOS type 2: version", DEV_KEY_TEXT },					\
	{ "board.serial_number", "SMBIOS type 2: serial number", DEV_KEY_TEXT },			\
	{ "board.asset_tag", "SMBIOS type 2: asset tag", DEV_KEY_TEXT },				\
	{ "board.location", "SMBIOS type 2: location in chassis", DEV_KEY_TEXT },			\
	{ "chassis.manufacturer", "SMBIOS type 3: manufacturer", DEV_KEY_TEXT },			\
	{ "chassis.version", "SMBIOS type 3: version", DEV_KEY_TEXT },					\
	{ "chassis.serial_number", "SMBIOS type 3: serial number", DEV_KEY_TEXT },			\
	{ "chassis.asset_tag", "SMBIOS type 3: asset tag", DEV_KEY_TEXT },				\
	{ "chassis.sku", "SMBIOS type 3: SKU number", DEV_KEY_TEXT }

#endif
