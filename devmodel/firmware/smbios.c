/*
 * smbios.c - SMBIOS structures (smbios.h).
 *
 * DSP0134 3.x: 5.2.1 (entry point), 6.1 (structures and their strings), 7.1
 * BIOS, 7.2 system, 7.3 board, 7.4 chassis, 7.5 processor, 7.17 memory array,
 * 7.18 memory device, 7.20 mapped address, 7.33 boot, 7.45 end of table.
 */
#include "devmodel/firmware/smbios.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "config.h"

const struct smbios_default smbios_default[SMBIOS_STRINGS] = {
	[SMBIOS_BIOS_VENDOR] = { "bios.vendor", "Cleave" },
	[SMBIOS_BIOS_VERSION] = { "bios.version", PACKAGE_VERSION },
	[SMBIOS_BIOS_DATE] = { "bios.release_date", "01/01/2026" },
	[SMBIOS_SYSTEM_MANUFACTURER] = { "system.manufacturer", "Cleave" },
	[SMBIOS_SYSTEM_PRODUCT] = { "system.product_name", "Cleave virtual machine" },
	[SMBIOS_SYSTEM_VERSION] = { "system.version", PACKAGE_VERSION },
	[SMBIOS_SYSTEM_SERIAL] = { "system.serial_number", NULL },
	[SMBIOS_SYSTEM_SKU] = { "system.sku", NULL },
	[SMBIOS_SYSTEM_FAMILY] = { "system.family_name", "Virtual machine" },
	[SMBIOS_BOARD_MANUFACTURER] = { "board.manufacturer", NULL },
	[SMBIOS_BOARD_PRODUCT] = { "board.product_name", NULL },
	[SMBIOS_BOARD_VERSION] = { "board.version", NULL },
	[SMBIOS_BOARD_SERIAL] = { "board.serial_number", NULL },
	[SMBIOS_BOARD_ASSET] = { "board.asset_tag", NULL },
	[SMBIOS_BOARD_LOCATION] = { "board.location", NULL },
	[SMBIOS_CHASSIS_MANUFACTURER] = { "chassis.manufacturer", "Cleave" },
	[SMBIOS_CHASSIS_VERSION] = { "chassis.version", PACKAGE_VERSION },
	[SMBIOS_CHASSIS_SERIAL] = { "chassis.serial_number", NULL },
	[SMBIOS_CHASSIS_ASSET] = { "chassis.asset_tag", NULL },
	[SMBIOS_CHASSIS_SKU] = { "chassis.sku", NULL },
};

enum {
	TYPE_BIOS = 0, TYPE_SYSTEM = 1, TYPE_BOARD = 2, TYPE_CHASSIS = 3, TYPE_PROCESSOR = 4, TYPE_MEMORY_ARRAY = 16,
	TYPE_MEMORY = 17, TYPE_MAPPED = 19, TYPE_BOOT = 32, TYPE_END = 127,
	/* Handles: the type in the high byte, a count in the low. */
	HANDLE = 0x100, NO_HANDLE = 0xfffe,
};

/* The structure being written: its fixed part has `len` bytes, its strings follow. */
struct writer {
	struct smbios *t;
	const char *const *string;
	uint8_t *p;
	unsigned strings, nstructures, largest, at;
	bool full;
};

static void put(uint8_t *p, unsigned n, uint64_t v)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = v >> 8 * i;
}

static uint8_t *begin(struct writer *w, uint8_t type, unsigned index, uint8_t len)
{
	static uint8_t nowhere[256];

	w->at = w->t->size;
	w->strings = 0;
	if (w->full || len > sizeof(w->t->tables) - w->t->size) {
		w->full = true;
		w->p = nowhere;
		return w->p;
	}
	w->p = w->t->tables + w->t->size;
	w->t->size += len;
	memset(w->p, 0, len);
	w->p[0] = type;
	w->p[1] = len;
	put(w->p + 2, 2, type * HANDLE + index);
	return w->p;
}

/* The number of the string in the structure; 0 for none. */
static uint8_t text(struct writer *w, const char *s)
{
	size_t n = s ? strlen(s) + 1 : 0;

	if (n <= 1)
		return 0;
	if (w->full || n > sizeof(w->t->tables) - w->t->size) {
		w->full = true;
		return 0;
	}
	memcpy(w->t->tables + w->t->size, s, n);
	w->t->size += n;
	return ++w->strings;
}

static uint8_t user_text(struct writer *w, enum smbios_string n)
{
	return text(w, w->string[n] ? w->string[n] : smbios_default[n].value);
}

/* Two zeros end a structure without strings, one a list of strings. */
static void end(struct writer *w)
{
	unsigned zeros = w->strings ? 1 : 2;

	if (w->full || zeros > sizeof(w->t->tables) - w->t->size) {
		w->full = true;
		return;
	}
	memset(w->t->tables + w->t->size, 0, zeros);
	w->t->size += zeros;
	w->nstructures++;
	if (w->t->size - w->at > w->largest)
		w->largest = w->t->size - w->at;
}

/* ---- the structures */

static void add_bios(struct writer *w)
{
	enum { NO_CHARACTERISTICS = 1 << 3, VIRTUAL_MACHINE = 1 << 4, ACPI = 1 << 0 };
	uint8_t *p = begin(w, TYPE_BIOS, 0, 0x18);

	p[4] = user_text(w, SMBIOS_BIOS_VENDOR);
	p[5] = user_text(w, SMBIOS_BIOS_VERSION);
	put(p + 6, 2, 0xe000);
	p[8] = user_text(w, SMBIOS_BIOS_DATE);
	p[9] = 1;				/* 128 KiB of ROM */
	put(p + 0x0a, 8, NO_CHARACTERISTICS);
	p[0x12] = ACPI;
	p[0x13] = VIRTUAL_MACHINE;
	p[0x14] = p[0x15] = p[0x16] = p[0x17] = 0xff;
	end(w);
}

static void add_system(struct writer *w, const struct board *b)
{
	enum { WAKE_POWER_SWITCH = 6 };
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	uint8_t *p = begin(w, TYPE_SYSTEM, 0, 0x1b);

	p[4] = user_text(w, SMBIOS_SYSTEM_MANUFACTURER);
	p[5] = user_text(w, SMBIOS_SYSTEM_PRODUCT);
	p[6] = user_text(w, SMBIOS_SYSTEM_VERSION);
	p[7] = user_text(w, SMBIOS_SYSTEM_SERIAL);
	/* The first three fields are little-endian (7.2.1). */
	for (unsigned i = 0; i < 16; i++)
		p[8 + i] = b->uuid[order[i]];
	p[0x18] = WAKE_POWER_SWITCH;
	p[0x19] = user_text(w, SMBIOS_SYSTEM_SKU);
	p[0x1a] = user_text(w, SMBIOS_SYSTEM_FAMILY);
	end(w);
}

/* Only where the user has said something of it. */
static void add_board(struct writer *w)
{
	enum { HOSTING = 1, MOTHERBOARD = 10 };
	bool wanted = false;
	uint8_t *p;

	for (unsigned i = SMBIOS_BOARD_MANUFACTURER; i <= SMBIOS_BOARD_LOCATION; i++)
		wanted |= w->string[i] != NULL;
	if (!wanted)
		return;
	p = begin(w, TYPE_BOARD, 0, 0x0f);
	p[4] = user_text(w, SMBIOS_BOARD_MANUFACTURER);
	p[5] = user_text(w, SMBIOS_BOARD_PRODUCT);
	p[6] = user_text(w, SMBIOS_BOARD_VERSION);
	p[7] = user_text(w, SMBIOS_BOARD_SERIAL);
	p[8] = user_text(w, SMBIOS_BOARD_ASSET);
	p[9] = HOSTING;
	p[0x0a] = user_text(w, SMBIOS_BOARD_LOCATION);
	put(p + 0x0b, 2, TYPE_CHASSIS * HANDLE);
	p[0x0d] = MOTHERBOARD;
	end(w);
}

static void add_chassis(struct writer *w)
{
	enum { OTHER = 1, SAFE = 3, NO_SECURITY = 3 };
	uint8_t *p = begin(w, TYPE_CHASSIS, 0, 0x16);

	p[4] = user_text(w, SMBIOS_CHASSIS_MANUFACTURER);
	p[5] = OTHER;
	p[6] = user_text(w, SMBIOS_CHASSIS_VERSION);
	p[7] = user_text(w, SMBIOS_CHASSIS_SERIAL);
	p[8] = user_text(w, SMBIOS_CHASSIS_ASSET);
	p[9] = p[0x0a] = p[0x0b] = SAFE;
	p[0x0c] = NO_SECURITY;
	p[0x15] = user_text(w, SMBIOS_CHASSIS_SKU);
	end(w);
}

static void add_processor(struct writer *w, const struct board *b)
{
	enum { CENTRAL = 3, FAMILY_OTHER = 1, ENABLED = 0x41, UPGRADE_OTHER = 1, NO_CACHE = 0xffff, CAN_64BIT = 1 << 2 };
	uint8_t *p = begin(w, TYPE_PROCESSOR, 0, 0x2a), n = b->vcpus < 0xff ? b->vcpus : 0xff;

	p[4] = text(w, "CPU 0");
	p[5] = CENTRAL;
	p[6] = FAMILY_OTHER;
	p[7] = text(w, "Cleave");
	p[0x18] = ENABLED;
	p[0x19] = UPGRADE_OTHER;
	put(p + 0x1a, 2, NO_CACHE);
	put(p + 0x1c, 2, NO_CACHE);
	put(p + 0x1e, 2, NO_CACHE);
	p[0x23] = p[0x24] = p[0x25] = n;
	put(p + 0x26, 2, CAN_64BIT);
	put(p + 0x28, 2, FAMILY_OTHER);
	end(w);
}

static void add_memory(struct writer *w, const struct board *b)
{
	enum { SYSTEM_BOARD = 3, SYSTEM_MEMORY = 3, ECC_NONE = 3, IN_EXTENDED = 0x7fff, EXTENDED = 0x80000000,
	       DIMM = 9, TYPE_RAM = 7, DETAIL_OTHER = 1 << 1 };
	uint64_t bytes = b->ram_low + b->ram_high, kib = bytes >> 10, mib = bytes >> 20;
	uint8_t *p = begin(w, TYPE_MEMORY_ARRAY, 0, 0x17);

	p[4] = SYSTEM_BOARD;
	p[5] = SYSTEM_MEMORY;
	p[6] = ECC_NONE;
	put(p + 7, 4, kib < EXTENDED ? kib : EXTENDED);
	put(p + 0x0b, 2, NO_HANDLE);
	put(p + 0x0d, 2, 1);
	put(p + 0x0f, 8, kib < EXTENDED ? 0 : bytes);
	end(w);

	p = begin(w, TYPE_MEMORY, 0, 0x28);
	put(p + 4, 2, TYPE_MEMORY_ARRAY * HANDLE);
	put(p + 6, 2, NO_HANDLE);
	put(p + 8, 2, 0xffff);			/* widths unknown */
	put(p + 0x0a, 2, 0xffff);
	put(p + 0x0c, 2, mib < IN_EXTENDED ? mib : IN_EXTENDED);
	p[0x0e] = DIMM;
	p[0x10] = text(w, "DIMM 0");
	p[0x12] = TYPE_RAM;
	put(p + 0x13, 2, DETAIL_OTHER);
	p[0x17] = text(w, "Cleave");
	put(p + 0x1c, 4, mib < IN_EXTENDED ? 0 : mib);
	end(w);
}

static void add_mapped(struct writer *w, unsigned index, uint64_t base, uint64_t bytes)
{
	const uint32_t extended = 0xffffffff;
	bool high = base + bytes > 1ull << 32;
	uint8_t *p;

	if (!bytes)
		return;
	p = begin(w, TYPE_MAPPED, index, 0x1f);
	put(p + 4, 4, high ? extended : base >> 10);
	put(p + 8, 4, high ? extended : ((base + bytes) >> 10) - 1);
	put(p + 0x0c, 2, TYPE_MEMORY_ARRAY * HANDLE);
	p[0x0e] = 1;
	put(p + 0x0f, 8, high ? base : 0);
	put(p + 0x17, 8, high ? base + bytes - 1 : 0);
	end(w);
}

/* ---- the whole */

static bool printable(const char *s)
{
	for (; *s; s++)
		if (*s < ' ' || *s > '~')
			return false;
	return true;
}

static uint8_t sum(const uint8_t *p, unsigned n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

static void fill_anchor(struct smbios *t, const struct writer *w)
{
	uint8_t *p = t->anchor;

	memset(p, 0, sizeof(t->anchor));
	memcpy(p, "_SM_", 4);
	p[5] = SMBIOS_ANCHOR_SIZE;
	p[6] = 2;
	p[7] = 8;
	put(p + 8, 2, w->largest);
	memcpy(p + 0x10, "_DMI_", 5);
	put(p + 0x16, 2, t->size);
	put(p + 0x1c, 2, w->nstructures);
	p[0x1e] = 0x28;		/* 2.8 */
	smbios_place(t, 0);
}

void smbios_place(struct smbios *t, uint32_t tables)
{
	uint8_t *p = t->anchor;

	put(p + 0x18, 4, tables);
	p[4] = p[0x15] = 0;
	p[0x15] = -sum(p + 0x10, 15);
	p[4] = -sum(p, SMBIOS_ANCHOR_SIZE);
}

int smbios_build(struct smbios *t, const struct board *b, const char *const string[SMBIOS_STRINGS], enum smbios_string *bad)
{
	struct writer w = { .t = t, .string = string };

	for (unsigned i = 0; i < SMBIOS_STRINGS; i++)
		if (string[i] && (strlen(string[i]) > SMBIOS_STRING_MAX || !printable(string[i]))) {
			*bad = i;
			return -EINVAL;
		}
	t->size = 0;
	add_bios(&w);
	add_system(&w, b);
	add_board(&w);
	add_chassis(&w);
	add_processor(&w, b);
	add_memory(&w, b);
	add_mapped(&w, 0, 0, b->ram_low);
	add_mapped(&w, 1, 1ull << 32, b->ram_high);
	begin(&w, TYPE_BOOT, 0, 0x0b);	/* status 0: no error */
	end(&w);
	begin(&w, TYPE_END, 0, 4);
	end(&w);
	if (w.full)
		return -ENOSPC;
	fill_anchor(t, &w);
	return 0;
}
