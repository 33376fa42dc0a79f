/*
 * ACPI tables: the AML writer, the tables as firmware gets them through the
 * table loader, and as they stand in memory without firmware.
 *
 * `test_acpi DIRECTORY` writes the tables of some machines there, for iasl
 * (tests/unit/acpi_iasl.sh).
 */
#include "tests/unit/coretest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devmodel/firmware/acpi.h"
#include "devmodel/firmware/aml.h"
#include "devmodel/txn.h"
#include "proto/direct.h"

enum { SELECT = 0x510, DATA = 0x511, PMBA = 0x40, PMREGMISC = 0x80 };

static const struct conf_key com_keys[] = { KEY_STREAM("com1", 0) };
static const struct conf_dev machine[] = {
	{ .model = "hostbridge", .pci = true }, { .model = "lpc", .pci = true, .slot = 1 },
	{ .model = "ide", .pci = true, .slot = 1, .function = 1 }, { .model = "piix4pm", .pci = true, .slot = 1, .function = 3 },
	{ .model = "fwcfg" }, { .model = "uart", .nkeys = 1, .key = com_keys }, { .model = "i8042" }, { .model = "pvpanic" },
};

static struct harness_conf whole(bool apic, bool direct)
{
	return (struct harness_conf){ .dev = machine, .ndevs = sizeof(machine) / sizeof(machine[0]), .ram = 64 << 20,
				      .apic = apic, .hpet = apic, .direct = direct };
}

static int setup(void **state)
{
	struct harness_conf c = whole(true, false);

	*state = harness_new(&c);
	return 0;
}

/* ---- the writer */

static void aml_lengths(void **state)
{
	/* A buffer's content so that its package length crosses from one byte to two, and to three. */
	static const struct { unsigned content; uint8_t head[4]; unsigned nhead; } t[] = {
		{ 62 - 4, { 0x3f }, 1 }, { 63 - 4, { 0x41, 0x04 }, 2 }, { 0xfff - 2 - 4, { 0x4f, 0xff }, 2 },
		{ 0xfff - 1 - 4, { 0x81, 0x00, 0x01 }, 3 },
	};
	uint8_t b[8192];
	struct aml a;

	(void)state;
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		aml_begin(&a, b, sizeof(b));
		aml_scope(&a, "ABCD");
		for (unsigned n = 0; n < t[i].content; n++)
			aml_int(&a, 1);
		aml_end(&a);
		assert_false(a.failed);
		assert_int_equal(b[0], 0x10);
		assert_memory_equal(b + 1, t[i].head, t[i].nhead);
		assert_memory_equal(b + 1 + t[i].nhead, "ABCD", 4);
		assert_int_equal(a.n, 1 + t[i].nhead + 4 + t[i].content);
	}
}

static void aml_objects(void **state)
{
	static const uint8_t expected[] = {
		0x08, '\\', '_', 'S', '5', '_', 0x0c, 0x41, 0xd0, 0x0a, 0x03,
		'\\', 0x2f, 3, '_', 'S', 'B', '_', 'P', 'C', 'I', '0', 'I', 'S', 'A', '_',
		'\\', 0x2e, '_', 'S', 'B', '_', 'P', 'C', 'I', '0',
		0x00, 0x01, 0x0a, 2, 0x0b, 0, 1, 0x0c, 0, 0, 1, 0, 0x0e, 0, 0, 0, 0, 1, 0, 0, 0,
		0x11, 0x0d, 0x0a, 10, 0x47, 1, 0xf8, 3, 0xf8, 3, 1, 8, 0x79, 0,
	};
	uint8_t b[256];
	struct aml a;

	(void)state;
	aml_begin(&a, b, sizeof(b));
	aml_name(&a, "\\_S5");
	aml_eisaid(&a, "PNP0A03");
	aml_ref(&a, "\\_SB.PCI0.ISA");
	aml_ref(&a, "\\_SB.PCI0");
	aml_int(&a, 0);
	aml_int(&a, 1);
	aml_int(&a, 2);
	aml_int(&a, 0x100);
	aml_int(&a, 0x10000);
	aml_int(&a, 1ull << 32);
	aml_resources(&a);
	aml_res_io(&a, 0x3f8, 8);
	aml_end(&a);
	assert_false(a.failed);
	assert_int_equal(a.n, sizeof(expected));
	assert_memory_equal(b, expected, sizeof(expected));
}

static void aml_that_does_not_fit(void **state)
{
	uint8_t b[64];
	struct aml a;

	(void)state;
	for (unsigned max = 0; max < 12; max++) {
		memset(b, 0xcc, sizeof(b));
		aml_begin(&a, b, max);
		aml_device(&a, "A");
		aml_name(&a, "_UID");
		aml_int(&a, 0);
		aml_end(&a);
		assert_true(a.failed);
		assert_int_equal(b[max], 0xcc);
	}
	aml_begin(&a, b, sizeof(b));
	aml_device(&a, "A");
	aml_name(&a, "_UID");
	aml_int(&a, 0);
	aml_end(&a);
	assert_false(a.failed);
	assert_int_equal(a.n, 13);
	aml_end(&a);	/* of nothing */
	assert_true(a.failed);
	aml_begin(&a, b, sizeof(b));
	aml_ref(&a, "TOOLONG");
	assert_true(a.failed);
	aml_begin(&a, b, sizeof(b));
	aml_eisaid(&a, "PNP");
	assert_true(a.failed);
}

/* ---- reading as a guest does */

static uint64_t le(const void *p, unsigned n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return v;
}

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

struct file { uint32_t size; uint16_t select, reserved; char name[56]; };

/* The file's key and size; size 0 where there is none. */
static unsigned lookup(struct harness *h, const char *name, uint16_t *key)
{
	struct file f;
	uint32_t n;

	h_out(h, SELECT, 2, 0x19);
	h_rep_ins(h, DATA, 1, &n, 4);
	for (n = __builtin_bswap32(n); n; n--) {
		h_rep_ins(h, DATA, 1, &f, sizeof(f));
		if (strcmp(f.name, name))
			continue;
		*key = __builtin_bswap16(f.select);
		return __builtin_bswap32(f.size);
	}
	return 0;
}

static unsigned fetch(struct harness *h, const char *name, void *to, unsigned cap)
{
	uint16_t key = 0;
	unsigned n = lookup(h, name, &key);

	assert_true(n <= cap);
	h_out(h, SELECT, 2, key);
	if (n)
		h_rep_ins(h, DATA, 1, to, n);
	return n;
}

/* A loader of our own, into guest memory, as firmware's is: places the files, runs the commands. */
enum { RSDP_AT = 0xf5a00, TABLES_AT = 0x3fe0000 };

static uint64_t place_of(const char *name)
{
	if (!strcmp(name, ACPI_FILE_RSDP))
		return RSDP_AT;
	assert_string_equal(name, ACPI_FILE_TABLES);
	return TABLES_AT;
}

static void run(struct harness *h, const struct acpi_command *c)
{
	uint8_t *ram = h_ram(h), *p;
	uint64_t v;

	switch (c->verb) {
	case ACPI_ALLOCATE:
		assert_int_equal(place_of(c->allocate.file) % c->allocate.align, 0);
		fetch(h, c->allocate.file, ram + place_of(c->allocate.file), 0x10000);
		break;
	case ACPI_ADD_POINTER:
		p = ram + place_of(c->pointer.dest) + c->pointer.offset;
		v = le(p, c->pointer.size) + place_of(c->pointer.src);
		memcpy(p, &v, c->pointer.size);
		break;
	case ACPI_ADD_CHECKSUM:
		p = ram + place_of(c->checksum.file);
		p[c->checksum.offset] -= sum(p + c->checksum.start, c->checksum.length);
		break;
	default:
		fail_msg("command %u", c->verb);
	}
}

static void load(struct harness *h)
{
	struct acpi_command c[ACPI_COMMANDS];
	unsigned n = fetch(h, ACPI_FILE_LOADER, c, sizeof(c));

	assert_true(n && n % 128 == 0);
	for (unsigned i = 0; i < n / 128; i++)
		run(h, &c[i]);
}

/* Walks from the RSDP, checking everything on the way; the table, or NULL. */
static const uint8_t *table(struct harness *h, uint64_t rsdp, const char *signature)
{
	const uint8_t *ram = h_ram(h), *p = ram + rsdp, *xsdt, *found = NULL;

	assert_memory_equal(p, "RSD PTR ", 8);
	assert_int_equal(p[15], 2);
	assert_int_equal(sum(p, 20), 0);
	assert_int_equal(le(p + 20, 4), 36);
	assert_int_equal(sum(p, 36), 0);
	xsdt = ram + le(p + 24, 8);
	assert_memory_equal(xsdt, "XSDT", 4);
	assert_int_equal(sum(xsdt, le(xsdt + 4, 4)), 0);
	assert_memory_equal(ram + le(p + 16, 4), "RSDT", 4);
	for (unsigned at = 36; at < le(xsdt + 4, 4); at += 8) {
		uint64_t there = le(xsdt + at, 8);
		const uint8_t *rsdt = ram + le(p + 16, 4);

		assert_true(there && there < 64 << 20);
		assert_int_equal(le(rsdt + 36 + (at - 36) / 2, 4), there);
		assert_int_equal(sum(ram + there, le(ram + there + 4, 4)), 0);
		if (!memcmp(ram + there, signature, 4))
			found = ram + there;
	}
	return found;
}

static const uint8_t *dsdt(struct harness *h, uint64_t rsdp)
{
	const uint8_t *ram = h_ram(h), *fadt = table(h, rsdp, "FACP"), *p;

	assert_non_null(fadt);
	p = ram + le(fadt + 40, 4);
	assert_memory_equal(p, "DSDT", 4);
	assert_int_equal(sum(p, le(p + 4, 4)), 0);
	assert_int_equal(le(fadt + 140, 8), le(fadt + 40, 4));
	return p;
}

static const uint8_t *find(const uint8_t *t, const void *what, size_t n)
{
	return memmem(t, le(t + 4, 4), what, n);
}

static void set_pm_base(struct harness *h, uint16_t base)
{
	h_pci_write(h, 1, 3, PMBA, 4, base | 1);
	h_pci_write(h, 1, 3, PMREGMISC, 1, 1);
}

/* ---- through the loader */

static void fadt_follows_the_machine(void **state)
{
	struct harness *h = *state;
	const uint8_t *p;

	set_pm_base(h, 0xb000);
	load(h);
	p = table(h, RSDP_AT, "FACP");
	assert_int_equal(p[8], 3);
	assert_int_equal(le(p + 46, 2), 9);
	assert_int_equal(le(p + 48, 4), 0xb2);
	assert_int_equal(le(p + 56, 4), 0xb000);
	assert_int_equal(le(p + 64, 4), 0xb004);
	assert_int_equal(le(p + 76, 4), 0xb008);
	assert_int_equal(le(p + 148 + 4, 8), 0xb000);
	assert_int_equal(le(p + 172 + 4, 8), 0xb004);
	assert_int_equal(le(p + 208 + 4, 8), 0xb008);
	assert_int_equal(p[208 + 1], 32);
	assert_int_equal(le(p + 109, 2), 7);	/* legacy devices, 8042, no display */
	assert_int_equal(le(p + 116 + 4, 8), 0xcf9);
	assert_int_equal(p[128], 6);
	assert_memory_equal(h_ram(h) + le(p + 36, 4), "FACS", 4);
	assert_int_equal(le(p + 36, 4) % 64, 0);
	/* the ports are in the DSDT too: the board's */
	assert_non_null(find(dsdt(h, RSDP_AT), "\x47\x01\x00\xb0\x00\xb0\x01\x40", 8));
	assert_non_null(find(dsdt(h, RSDP_AT), "_HID\x0c\x41\xd0\x05\x01", 9));	/* PNP0501 */
}

static void tables_move_with_pm_base(void **state)
{
	struct harness *h = *state;
	uint8_t before[ACPI_TABLES_MAX], b[ACPI_TABLES_MAX];
	uint16_t key, key2;
	unsigned n;

	/* firmware has said nothing: the base without firmware */
	load(h);
	assert_int_equal(le(table(h, RSDP_AT, "FACP") + 56, 4), DIRECT_PM_BASE);
	set_pm_base(h, 0x600);
	n = fetch(h, ACPI_FILE_TABLES, before, sizeof(before));
	/* what is selected does not change under the reader */
	lookup(h, ACPI_FILE_TABLES, &key);
	h_out(h, SELECT, 2, key);
	h_rep_ins(h, DATA, 1, b, 100);
	set_pm_base(h, 0xb000);
	h_rep_ins(h, DATA, 1, b + 100, n - 100);
	assert_memory_equal(b, before, n);
	/* selected again, of the same size; and back */
	assert_int_equal(fetch(h, ACPI_FILE_TABLES, b, sizeof(b)), n);
	assert_memory_not_equal(b, before, n);
	assert_int_equal(lookup(h, ACPI_FILE_TABLES, &key2), n);
	assert_int_equal(key, key2);
	set_pm_base(h, 0x600);
	fetch(h, ACPI_FILE_TABLES, b, sizeof(b));
	assert_memory_equal(b, before, n);
	/* the register block is off again: as before firmware */
	h_pci_write(h, 1, 3, PMBA, 4, 0xb001);
	h_pci_write(h, 1, 3, PMREGMISC, 1, 0);
	fetch(h, ACPI_FILE_TABLES, b, sizeof(b));
	assert_memory_equal(b, before, n);
}

/* A process that takes over shows the bytes that the guest began to read. */
static void successor_shows_the_same(void **state)
{
	struct harness *h = *state;
	uint8_t before[ACPI_TABLES_MAX], after[ACPI_TABLES_MAX];
	unsigned n;
	uint16_t key;

	set_pm_base(h, 0xb000);
	n = fetch(h, ACPI_FILE_TABLES, before, sizeof(before));
	lookup(h, ACPI_FILE_TABLES, &key);
	h_out(h, SELECT, 2, key);
	set_pm_base(h, 0x600);	/* selected before this */
	h_succeed(h, false);
	h_rep_ins(h, DATA, 1, after, n);
	assert_memory_equal(after, before, n);
}

static void sleep_states(void **state)
{
	/* Name(\_S5, Package(4) { 0, 0, 0, 0 }), the first thing in the table: GRUB's parser wants it plain. */
	static const uint8_t s5[] = { 0x08, '\\', '_', 'S', '5', '_', 0x12, 0x06, 4, 0, 0, 0, 0 };
	static const uint8_t s4[] = { 0x08, '\\', '_', 'S', '4', '_', 0x12, 0x08, 4, 0x0a, 2, 0x0a, 2, 0, 0 };
	struct harness *h = *state;

	load(h);
	assert_memory_equal(dsdt(h, RSDP_AT) + 36, s5, sizeof(s5));
	assert_non_null(find(dsdt(h, RSDP_AT), s4, sizeof(s4)));
	assert_null(find(dsdt(h, RSDP_AT), "_S3_", 4));
}

static void interrupts(void **state)
{
	static const uint8_t irq0[] = { 2, 10, 0, 0, 2, 0, 0, 0, 0, 0 }, irq9[] = { 2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0 };
	static const uint8_t ioapic[] = { 1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0 }, lapic[] = { 0, 8, 0, 0, 1, 0, 0, 0 };
	static const uint8_t nmi[] = { 4, 6, 0xff, 0, 0, 1 };
	struct harness *h = *state;
	struct harness_conf c = whole(false, false);
	const uint8_t *p;

	load(h);
	p = table(h, RSDP_AT, "APIC");
	assert_non_null(p);
	assert_int_equal(le(p + 36, 4), 0xfee00000);
	assert_int_equal(le(p + 40, 4), 1);
	assert_memory_equal(p + 44, lapic, sizeof(lapic));
	assert_non_null(find(p, ioapic, sizeof(ioapic)));
	assert_non_null(find(p, irq0, sizeof(irq0)));
	assert_non_null(find(p, irq9, sizeof(irq9)));
	assert_non_null(find(p, nmi, sizeof(nmi)));
	assert_int_equal(le(p + 4, 4), 44 + 8 + 12 + 20 + 6);
	p = table(h, RSDP_AT, "HPET");
	assert_non_null(p);
	assert_int_equal(le(p + 36, 4), 0x8086a201);
	assert_int_equal(le(p + 44, 8), 0xfed00000);
	/* without them nothing tells of them */
	h = harness_new(&c);
	load(h);
	assert_null(table(h, RSDP_AT, "APIC"));
	assert_null(table(h, RSDP_AT, "HPET"));
	assert_null(find(dsdt(h, RSDP_AT), "GSIA", 4));
	assert_null(find(dsdt(h, RSDP_AT), "HPET", 4));
	assert_non_null(find(dsdt(h, RSDP_AT), "LNKA", 4));
	harness_free(h);
}

static void every_size_of_machine(void **state)
{
	(void)state;
	for (unsigned n = 1; n <= LINK_MAX_VCPUS; n += 21) {
		struct harness_conf c = whole(true, false);
		struct harness *h;
		const uint8_t *p;

		c.vcpus = n;
		h = harness_new(&c);
		load(h);
		p = table(h, RSDP_AT, "APIC");
		assert_int_equal(le(p + 4, 4), 44 + 8 * n + 12 + 20 + 6);
		assert_int_equal(p[44 + 8 * (n - 1) + 3], n - 1);
		assert_int_equal(p[44 + 8 * n], 1);
		harness_free(h);
	}
}

static void switched_off(void **state)
{
	const struct conf_key keys[] = { KEY("acpi", "off") };
	struct conf_dev dev[8];
	struct harness_conf c = whole(true, false);
	struct harness *h;
	uint16_t key;

	(void)state;
	memcpy(dev, machine, sizeof(dev));
	dev[4].key = keys;
	dev[4].nkeys = 1;
	c.dev = dev;
	h = harness_new(&c);
	assert_int_equal(lookup(h, ACPI_FILE_LOADER, &key), 0);
	assert_int_equal(lookup(h, ACPI_FILE_TABLES, &key), 0);
	harness_free(h);
	/* nor where there is no power management to describe */
	c.ndevs = 3;
	c.dev = (const struct conf_dev[]){ machine[0], machine[1], machine[4] };
	h = harness_new(&c);
	assert_int_equal(lookup(h, ACPI_FILE_LOADER, &key), 0);
	harness_free(h);
}

/* ---- without firmware */

static void check_direct(struct harness *h)
{
	struct link_event ev;
	unsigned ram = 0, pmbase = 0;

	assert_int_equal(le(table(h, DIRECT_RSDP, "FACP") + 56, 4), DIRECT_PM_BASE);
	assert_non_null(table(h, DIRECT_RSDP, "APIC"));
	dsdt(h, DIRECT_RSDP);
	assert_memory_equal(h_ram(h) + DIRECT_SMBIOS, "_SM_", 4);
	assert_int_equal(le(h_ram(h) + DIRECT_SMBIOS + 0x18, 4), DIRECT_SMBIOS_TABLES);
	while (h_event(h, &ev)) {
		if (ev.kind == LINK_EV_MEMMAP && ev.a == LINK_MAP_RAM)
			ram += ev.value;
		if (ev.kind == LINK_EV_PMBASE && ev.value)
			pmbase = ev.addr;
	}
	assert_int_equal(ram, 0x40000);
	assert_int_equal(pmbase, DIRECT_PM_BASE);
	assert_int_equal(h_pci_read(h, 1, 0, 0x60, 4), 0x0b0b0a0a);
	assert_int_equal(h_pci_read(h, 1, 1, 0x20, 4), DIRECT_PCI_IO | 1);
	assert_int_equal(h_pci_read(h, 1, 1, 4, 2), 5);
	assert_int_equal(h_pci_read(h, 1, 3, PMBA, 4), DIRECT_PM_BASE | 1);
	assert_int_equal(h_pci_read(h, 1, 3, 0x3c, 1), 9);
	assert_true(h_region(h, false, DIRECT_PM_BASE, NULL, NULL));
	assert_true(h_region(h, false, DIRECT_PCI_IO, NULL, NULL));
}

static void direct(void **state)
{
	struct harness_conf c = whole(true, true);
	struct harness *h = harness_new(&c);

	(void)state;
	check_direct(h);
	/* a reset does it again, whatever the guest did */
	memset(h_ram(h) + DIRECT_AREA, 0xcc, DIRECT_AREA_END - DIRECT_AREA);
	set_pm_base(h, 0xb000);
	h_pci_write(h, 1, 1, 4, 2, 0);
	h_drop_events(h);
	h_mark_code(h, DIRECT_RSDP, true);
	h_reset(h);
	check_direct(h);
	harness_free(h);
	/* where the tables cannot be, it is said */
	c.ram = 512 << 10;
	c.may_fail = true;
	h = harness_new(&c);
	assert_non_null(strstr(harness_error(h), "ACPI"));
	harness_free(h);
}

/* ---- for iasl */

static int dump_one(const char *dir, const char *name, const uint8_t *p)
{
	char path[600];
	FILE *f;
	int ok;

	snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	f = fopen(path, "wb");
	if (!f)
		return 1;
	ok = fwrite(p, 1, le(p + 4, 4), f) == le(p + 4, 4);
	return fclose(f) || !ok;
}

static int dump(const char *dir)
{
	static const char *const names[] = { "FACP", "APIC", "HPET", "RSDT", "XSDT" };
	int err = 0;

	for (unsigned apic = 0; apic < 2; apic++) {
		struct harness_conf c = whole(apic, true);
		struct harness *h;
		char name[32];

		c.vcpus = apic ? 4 : 1;
		c.ram = 256 << 20;
		h = harness_new(&c);
		snprintf(name, sizeof(name), "DSDT-%u", apic);
		err |= dump_one(dir, name, dsdt(h, DIRECT_RSDP));
		for (unsigned i = 0; i < 3; i++) {
			const uint8_t *p = table(h, DIRECT_RSDP, names[i]);

			snprintf(name, sizeof(name), "%s-%u", names[i], apic);
			err |= p ? dump_one(dir, name, p) : 0;
		}
		if (apic) {
			err |= dump_one(dir, "RSDT", h_ram(h) + le(h_ram(h) + DIRECT_RSDP + 16, 4));
			err |= dump_one(dir, "XSDT", h_ram(h) + le(h_ram(h) + DIRECT_RSDP + 24, 8));
			err |= dump_one(dir, "FACS", h_ram(h) + le(table(h, DIRECT_RSDP, "FACP") + 36, 4));
		}
		harness_free(h);
	}
	return err;
}

/* Room for 64-bit BARs: from the first GiB above RAM. */
static void window_above_memory(void **state)
{
	static const struct { uint64_t ram, high; } t[] = { { 64ull << 20, 4 }, { 6ull << 30, 7 }, { (4ull << 30) + (1 << 20), 5 } };

	(void)state;
	for (unsigned i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		static const uint8_t head[] = { 0x8a, 0x2b, 0x00, 0x00, 0x0c };
		struct harness_conf c = whole(true, false);
		static uint8_t tables[65536];
		const uint8_t *p;
		struct harness *h;

		c.ram = t[i].ram;
		h = harness_new(&c);
		fetch(h, ACPI_FILE_TABLES, tables, sizeof(tables));
		p = memmem(tables, sizeof(tables), head, sizeof(head));
		assert_non_null(p);
		assert_int_equal(le(p + 14, 8), t[i].high << 30);
		assert_int_equal(le(p + 22, 8), (1ull << 40) - 1);
		assert_int_equal(le(p + 38, 8), (1ull << 40) - (t[i].high << 30));
		harness_free(h);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(aml_lengths), cmocka_unit_test(aml_objects), cmocka_unit_test(aml_that_does_not_fit),
		TEST(fadt_follows_the_machine), TEST(tables_move_with_pm_base), TEST(successor_shows_the_same),
		TEST(sleep_states), TEST(interrupts), cmocka_unit_test(every_size_of_machine),
		cmocka_unit_test(switched_off), cmocka_unit_test(direct),
		cmocka_unit_test(window_above_memory),
	};

	if (argc > 1)
		return dump(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
