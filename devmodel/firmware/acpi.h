/*
 * devmodel/firmware/acpi.h - the machine's ACPI tables.
 *
 * Two blobs, the RSDP and all other tables, and the commands that place them:
 * QEMU's table loader, which firmware runs (fw_cfg's etc/table-loader), and
 * which acpi_place() runs where there is no firmware.
 *
 *	RSDP --> RSDT, XSDT --> FADT --> FACS, DSDT
 *				MADT (with an APIC)
 *				HPET (with one)
 */
#ifndef CLEAVE_DEVMODEL_FIRMWARE_ACPI_H
#define CLEAVE_DEVMODEL_FIRMWARE_ACPI_H

#include <stddef.h>
#include <stdint.h>

#include "devmodel/firmware/board.h"

#define ACPI_FILE_RSDP		"etc/acpi/rsdp"
#define ACPI_FILE_TABLES	"etc/acpi/tables"
#define ACPI_FILE_LOADER	"etc/table-loader"

enum { ACPI_RSDP_SIZE = 36, ACPI_TABLES_MAX = 32768, ACPI_COMMANDS = 32, ACPI_TABLES = 8 };

/* One command, as firmware reads it: 128 bytes, little-endian. */
enum acpi_verb { ACPI_ALLOCATE = 1, ACPI_ADD_POINTER = 2, ACPI_ADD_CHECKSUM = 3 };
enum { ACPI_ZONE_HIGH = 1, ACPI_ZONE_FSEG = 2, ACPI_FILE_NAME = 56 };

struct acpi_command {
	uint32_t verb;
	union {
		struct __attribute__((packed)) {
			char file[ACPI_FILE_NAME];
			uint32_t align;
			uint8_t zone;
		} allocate;
		struct __attribute__((packed)) {
			char dest[ACPI_FILE_NAME], src[ACPI_FILE_NAME];
			uint32_t offset;	/* in dest, of a pointer that holds an offset in src */
			uint8_t size;
		} pointer;
		struct __attribute__((packed)) {
			char file[ACPI_FILE_NAME];
			uint32_t offset, start, length;
		} checksum;
		uint8_t pad[124];
	};
};

_Static_assert(sizeof(struct acpi_command) == 128, "table loader command");

struct acpi {
	uint8_t rsdp[ACPI_RSDP_SIZE];
	uint8_t tables[ACPI_TABLES_MAX];
	uint32_t size;			/* of tables: whole pages */
	struct acpi_command command[ACPI_COMMANDS];
	unsigned ncommands;

	/* private: while it is made */
	uint32_t used;
	uint32_t table[ACPI_TABLES];	/* what RSDT and XSDT list */
	unsigned ntables;
};

/* Tables, without addresses or checksums, and commands.  -ENOSPC: they do not fit. */
int acpi_build(struct acpi *, const struct board *);
/* Runs the commands on the blobs, for these addresses.  -ERANGE: a command lies outside them. */
int acpi_place(struct acpi *, uint64_t rsdp, uint64_t tables);

#endif
