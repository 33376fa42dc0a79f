/*
 * acpi.c - ACPI's fixed tables, and the loader commands that go with them
 * (acpi.h).  The DSDT is dsdt.c's.
 *
 * ACPI 6.4: 5.2.5 (RSDP), 5.2.6 (header), 5.2.7 and 5.2.8 (RSDT, XSDT), 5.2.9
 * (FADT; here of revision 3, as of ACPI 2.0, which everybody takes), 5.2.10
 * (FACS), 5.2.12 (MADT).  IA-PC HPET 1.0a, 3.2.4.  QEMU's table loader:
 * commands of 128 bytes; a pointer holds an offset until the loader adds the
 * base of the file it points into.
 */
#include "devmodel/firmware/acpi.h"

#include <errno.h>
#include <endian.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "devmodel/firmware/dsdt.h"

enum {
	HEADER = 36, LENGTH_AT = 4, CHECKSUM_AT = 9,
	RSDP_CHECKSUM = 8, RSDP_RSDT = 16, RSDP_LENGTH = 20, RSDP_XSDT = 24, RSDP_CHECKSUM2 = 32, RSDP_V1 = 20,
	PAGE = 4096,
};

/* ---- a blob that grows */

static uint8_t *extend(struct acpi *t, size_t n)
{
	uint8_t *p = t->tables + t->used;

	if (n > sizeof(t->tables) - t->used)
		return NULL;
	memset(p, 0, n);
	t->used += n;
	return p;
}

static bool align(struct acpi *t, unsigned to)
{
	return extend(t, -t->used & (to - 1)) != NULL;
}

static void put(uint8_t *p, unsigned n, uint64_t v)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = v >> 8 * i;
}

/* ---- commands */

static struct acpi_command *command(struct acpi *t, enum acpi_verb verb)
{
	struct acpi_command *c = &t->command[t->ncommands];

	if (t->ncommands == ACPI_COMMANDS)
		return NULL;
	t->ncommands++;
	memset(c, 0, sizeof(*c));
	c->verb = htole32(verb);
	return c;
}

static int allocate(struct acpi *t, const char *file, uint32_t alignment, uint8_t zone)
{
	struct acpi_command *c = command(t, ACPI_ALLOCATE);

	if (!c)
		return -ENOSPC;
	snprintf(c->allocate.file, sizeof(c->allocate.file), "%s", file);
	c->allocate.align = htole32(alignment);
	c->allocate.zone = zone;
	return 0;
}

/* The pointer of `size` bytes at `offset` in `file` leads to `to` in the tables. */
static int point(struct acpi *t, const char *file, uint8_t *blob, uint32_t offset, uint8_t size, uint32_t to)
{
	struct acpi_command *c = command(t, ACPI_ADD_POINTER);

	if (!c)
		return -ENOSPC;
	put(blob + offset, size, to);
	snprintf(c->pointer.dest, sizeof(c->pointer.dest), "%s", file);
	snprintf(c->pointer.src, sizeof(c->pointer.src), "%s", ACPI_FILE_TABLES);
	c->pointer.offset = htole32(offset);
	c->pointer.size = size;
	return 0;
}

static int checksum(struct acpi *t, const char *file, uint32_t offset, uint32_t start, uint32_t length)
{
	struct acpi_command *c = command(t, ACPI_ADD_CHECKSUM);

	if (!c)
		return -ENOSPC;
	snprintf(c->checksum.file, sizeof(c->checksum.file), "%s", file);
	c->checksum.offset = htole32(offset);
	c->checksum.start = htole32(start);
	c->checksum.length = htole32(length);
	return 0;
}

/* ---- what every table has */

/* A new table of `n` bytes, header included, or NULL; tables begin on 16 bytes. */
static uint8_t *begin(struct acpi *t, const char *signature, uint8_t revision, size_t n)
{
	uint8_t *p = align(t, 16) ? extend(t, n) : NULL;

	if (!p)
		return NULL;
	memcpy(p, signature, 4);
	put(p + LENGTH_AT, 4, n);
	p[8] = revision;
	memcpy(p + 10, "CLEAVE", 6);
	memcpy(p + 16, "CLEAVEVM", 8);
	put(p + 24, 4, 1);
	memcpy(p + 28, "CLVE", 4);
	put(p + 32, 4, 1);
	return p;
}

static uint32_t offset_of(const struct acpi *t, const uint8_t *p)
{
	return p - t->tables;
}

/* Its content is complete; `listed`: in RSDT and XSDT. */
static int finish(struct acpi *t, const uint8_t *p, bool listed)
{
	uint32_t at = offset_of(t, p);

	if (listed && t->ntables == ACPI_TABLES)
		return -ENOSPC;
	if (listed)
		t->table[t->ntables++] = at;
	return checksum(t, ACPI_FILE_TABLES, at + CHECKSUM_AT, at, t->used - at);
}

/* ---- FACS and FADT */

static int add_facs(struct acpi *t, uint32_t *at)
{
	enum { SIZE = 64, VERSION = 1 };
	uint8_t *p = align(t, 64) ? extend(t, SIZE) : NULL;

	if (!p)
		return -ENOSPC;
	*at = offset_of(t, p);
	memcpy(p, "FACS", 4);
	put(p + LENGTH_AT, 4, SIZE);
	p[32] = VERSION;
	return 0;		/* it has no checksum */
}

static int add_dsdt(struct acpi *t, const struct board *b, uint32_t *at)
{
	uint8_t *p = begin(t, "DSDT", 2, HEADER);
	size_t n = p ? dsdt_write(b, p + HEADER, sizeof(t->tables) - t->used) : 0;

	if (!n)
		return -ENOSPC;
	t->used += n;
	put(p + LENGTH_AT, 4, HEADER + n);
	*at = offset_of(t, p);
	return finish(t, p, false);
}

/* Generic address structure: a block of I/O ports. */
static void ports(uint8_t *p, uint16_t base, unsigned bytes, unsigned access)
{
	enum { SPACE_IO = 1 };

	p[0] = SPACE_IO;
	p[1] = 8 * bytes;
	p[3] = access;		/* 1 byte, 2 word, 3 dword */
	put(p + 4, 8, base);
}

enum {
	FADT_SIZE = 244, FADT_FACS = 36, FADT_DSDT = 40, FADT_X_DSDT = 140,

	SMI_PORT = 0xb2, ACPI_ON = 0xf1, ACPI_OFF = 0xf0,
	GPE_BASE = 0xafe0, GPE_LEN = 4,
	RESET_PORT = 0xcf9, RESET_VALUE = 0x06,
	PM1_EVT_LEN = 4, PM1_CNT = 4, PM1_CNT_LEN = 2, PM_TMR = 8, PM_TMR_LEN = 4,
	RTC_CENTURY = 0x32,
	NO_C2 = 0xfff, NO_C3 = 0xfff,
	BOOT_LEGACY = 1 << 0, BOOT_8042 = 1 << 1, BOOT_NO_VGA = 1 << 2,
	/* The power button and the clock's alarm are fixed hardware: their bits are zeros. */
	WBINVD = 1 << 0, PROC_C1 = 1 << 2, NO_SLEEP_BUTTON = 1 << 5, RESET_REG = 1 << 10,
};

static void fill_fadt(uint8_t *p, const struct board *b)
{
	p[45] = 1;				/* profile: desktop */
	put(p + 46, 2, BOARD_SCI);
	put(p + 48, 4, SMI_PORT);
	p[52] = ACPI_ON;
	p[53] = ACPI_OFF;
	put(p + 56, 4, b->pm_base);
	put(p + 64, 4, b->pm_base + PM1_CNT);
	put(p + 76, 4, b->pm_base + PM_TMR);
	put(p + 80, 4, GPE_BASE);
	p[88] = PM1_EVT_LEN;
	p[89] = PM1_CNT_LEN;
	p[91] = PM_TMR_LEN;
	p[92] = GPE_LEN;
	put(p + 96, 2, NO_C2);
	put(p + 98, 2, NO_C3);
	p[108] = RTC_CENTURY;
	put(p + 109, 2, BOOT_LEGACY | (b->i8042 ? BOOT_8042 : 0) | (b->display ? 0 : BOOT_NO_VGA));
	put(p + 112, 4, WBINVD | PROC_C1 | NO_SLEEP_BUTTON | RESET_REG);
	ports(p + 116, RESET_PORT, 1, 1);
	p[128] = RESET_VALUE;
	ports(p + 148, b->pm_base, PM1_EVT_LEN, 2);
	ports(p + 172, b->pm_base + PM1_CNT, PM1_CNT_LEN, 2);
	ports(p + 208, b->pm_base + PM_TMR, PM_TMR_LEN, 3);
	ports(p + 220, GPE_BASE, GPE_LEN, 1);
}

static int add_fadt(struct acpi *t, const struct board *b, uint32_t facs, uint32_t dsdt)
{
	uint8_t *p = begin(t, "FACP", 3, FADT_SIZE);
	uint32_t at;
	int err;

	if (!p)
		return -ENOSPC;
	at = offset_of(t, p);
	fill_fadt(p, b);
	err = point(t, ACPI_FILE_TABLES, t->tables, at + FADT_FACS, 4, facs);
	err = err ? err : point(t, ACPI_FILE_TABLES, t->tables, at + FADT_DSDT, 4, dsdt);
	err = err ? err : point(t, ACPI_FILE_TABLES, t->tables, at + FADT_X_DSDT, 8, dsdt);
	return err ? err : finish(t, p, true);
}

/* ---- interrupts and timers that the engine has */

enum {
	LAPIC_BASE = 0xfee00000, IOAPIC_BASE = 0xfec00000, HPET_BASE = 0xfed00000,
	MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_NMI = 4,
	PCAT_COMPAT = 1, LAPIC_ENABLED = 1, ALL_PROCESSORS = 0xff, LINT1 = 1,
	AS_THE_BUS = 0, HIGH_LEVEL = 0x0d,
};

static bool add_override(struct acpi *t, uint8_t irq, uint32_t gsi, uint16_t flags)
{
	uint8_t *p = extend(t, 10);

	if (!p)
		return false;
	p[0] = MADT_OVERRIDE;
	p[1] = 10;
	p[3] = irq;
	put(p + 4, 4, gsi);
	put(p + 8, 2, flags);
	return true;
}

static bool add_lapics(struct acpi *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint8_t *p = extend(t, 8);

		if (!p)
			return false;
		p[0] = MADT_LAPIC;
		p[1] = 8;
		p[2] = p[3] = i;
		put(p + 4, 4, LAPIC_ENABLED);
	}
	return true;
}

static bool add_ioapic(struct acpi *t)
{
	uint8_t *p = extend(t, 12);

	if (!p)
		return false;
	p[0] = MADT_IOAPIC;
	p[1] = 12;
	put(p + 4, 4, IOAPIC_BASE);
	return true;
}

/* The NMI comes in at LINT1 everywhere. */
static bool add_lapic_nmi(struct acpi *t)
{
	uint8_t *p = extend(t, 6);

	if (!p)
		return false;
	p[0] = MADT_LAPIC_NMI;
	p[1] = 6;
	p[2] = ALL_PROCESSORS;
	p[5] = LINT1;
	return true;
}

static int add_madt(struct acpi *t, const struct board *b)
{
	uint8_t *p = begin(t, "APIC", 3, HEADER + 8);

	if (!p)
		return -ENOSPC;
	put(p + 36, 4, LAPIC_BASE);
	put(p + 40, 4, PCAT_COMPAT);
	if (!add_lapics(t, b->vcpus) || !add_ioapic(t) || !add_override(t, 0, 2, AS_THE_BUS) ||
	    !add_override(t, BOARD_SCI, BOARD_SCI, HIGH_LEVEL) || !add_lapic_nmi(t))
		return -ENOSPC;
	put(p + LENGTH_AT, 4, t->used - offset_of(t, p));
	return finish(t, p, true);
}

static int add_hpet(struct acpi *t)
{
	/* Revision 1, three 64-bit timers, legacy replacement, Intel: as its capability register. */
	enum { SIZE = 56, MIN_TICK = 100 };
	const uint32_t block_id = 0x8086a201;
	uint8_t *p = begin(t, "HPET", 1, SIZE);

	if (!p)
		return -ENOSPC;
	put(p + 36, 4, block_id);
	put(p + 41, 1, 64);		/* address: in memory, 64 bits */
	put(p + 44, 8, HPET_BASE);
	put(p + 53, 2, MIN_TICK);
	return finish(t, p, true);
}

/* ---- roots */

static int add_root(struct acpi *t, const char *signature, unsigned size, uint32_t *at)
{
	uint8_t *p = begin(t, signature, 1, HEADER + size * t->ntables);

	if (!p)
		return -ENOSPC;
	*at = offset_of(t, p);
	for (unsigned i = 0; i < t->ntables; i++) {
		int err = point(t, ACPI_FILE_TABLES, t->tables, *at + HEADER + size * i, size, t->table[i]);

		if (err)
			return err;
	}
	return finish(t, p, false);
}

static int add_rsdp(struct acpi *t, uint32_t rsdt, uint32_t xsdt)
{
	int err;

	memset(t->rsdp, 0, sizeof(t->rsdp));
	memcpy(t->rsdp, "RSD PTR ", 8);
	memcpy(t->rsdp + 9, "CLEAVE", 6);
	t->rsdp[15] = 2;
	put(t->rsdp + RSDP_LENGTH, 4, ACPI_RSDP_SIZE);
	err = point(t, ACPI_FILE_RSDP, t->rsdp, RSDP_RSDT, 4, rsdt);
	err = err ? err : point(t, ACPI_FILE_RSDP, t->rsdp, RSDP_XSDT, 8, xsdt);
	err = err ? err : checksum(t, ACPI_FILE_RSDP, RSDP_CHECKSUM, 0, RSDP_V1);
	return err ? err : checksum(t, ACPI_FILE_RSDP, RSDP_CHECKSUM2, 0, ACPI_RSDP_SIZE);
}

int acpi_build(struct acpi *t, const struct board *b)
{
	uint32_t facs = 0, dsdt = 0, rsdt = 0, xsdt = 0;
	int err;

	t->used = t->ntables = t->ncommands = 0;
	err = allocate(t, ACPI_FILE_RSDP, 16, ACPI_ZONE_FSEG);
	err = err ? err : allocate(t, ACPI_FILE_TABLES, 64, ACPI_ZONE_HIGH);
	err = err ? err : add_facs(t, &facs);
	err = err ? err : add_dsdt(t, b, &dsdt);
	err = err ? err : add_fadt(t, b, facs, dsdt);
	if (b->apic)
		err = err ? err : add_madt(t, b);
	if (b->hpet)
		err = err ? err : add_hpet(t);
	err = err ? err : add_root(t, "RSDT", 4, &rsdt);
	err = err ? err : add_root(t, "XSDT", 8, &xsdt);
	err = err ? err : add_rsdp(t, rsdt, xsdt);
	if (!err && !align(t, PAGE))
		err = -ENOSPC;
	t->size = t->used;
	return err;
}

/* ---- placing without firmware */

struct file { const char *name; uint8_t *bytes; uint32_t size; uint64_t base; };

static const struct file *by_name(const struct file file[2], const char *name)
{
	return !strcmp(file[0].name, name) ? &file[0] : !strcmp(file[1].name, name) ? &file[1] : NULL;
}

static bool inside(const struct file *f, uint32_t offset, uint32_t n)
{
	return f && offset <= f->size && n <= f->size - offset;
}

static int run_pointer(const struct file file[2], const struct acpi_command *c)
{
	const struct file *dest = by_name(file, c->pointer.dest), *src = by_name(file, c->pointer.src);
	uint32_t at = le32toh(c->pointer.offset);
	uint64_t v = 0;

	if (c->pointer.size > 8 || !inside(dest, at, c->pointer.size) || !src)
		return -ERANGE;
	for (unsigned i = 0; i < c->pointer.size; i++)
		v |= (uint64_t)dest->bytes[at + i] << 8 * i;
	put(dest->bytes + at, c->pointer.size, v + src->base);
	return 0;
}

static int run_checksum(const struct file file[2], const struct acpi_command *c)
{
	const struct file *f = by_name(file, c->checksum.file);
	uint32_t at = le32toh(c->checksum.offset), start = le32toh(c->checksum.start), n = le32toh(c->checksum.length);
	uint8_t sum = 0;

	if (!inside(f, at, 1) || !inside(f, start, n))
		return -ERANGE;
	for (uint32_t i = 0; i < n; i++)
		sum += f->bytes[start + i];
	f->bytes[at] -= sum;
	return 0;
}

int acpi_place(struct acpi *t, uint64_t rsdp, uint64_t tables)
{
	const struct file file[2] = {
		{ ACPI_FILE_RSDP, t->rsdp, sizeof(t->rsdp), rsdp }, { ACPI_FILE_TABLES, t->tables, t->size, tables },
	};
	int err = 0;

	for (unsigned i = 0; i < t->ncommands && !err; i++) {
		const struct acpi_command *c = &t->command[i];
		uint32_t verb = le32toh(c->verb);

		if (verb == ACPI_ADD_POINTER)
			err = run_pointer(file, c);
		else if (verb == ACPI_ADD_CHECKSUM)
			err = run_checksum(file, c);
	}
	return err;
}
