/*
 * fwcfg.c - QEMU's firmware configuration device: items by key and files by
 * name, which firmware reads byte by byte, by `rep insb`, or by DMA.
 *
 * QEMU docs/specs/fw_cfg.  Selector at 510h (word), data at 511h (byte, a batch
 * region), DMA address at 514h and 518h (big-endian; the low half starts it).
 *
 * Items are constant: every process builds them again from the configuration.
 * The state is where the guest stands in them.  The ACPI tables follow from one
 * thing more, where firmware has put the ACPI registers: it is looked up when
 * the guest selects the tables, and kept in the state, so that a successor
 * shows the same bytes.
 *
 * Knows of the other devices only their configuration: where a bootindex is
 * given, whether there is a display or a serial port.
 */
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devmodel/firmware/tables.h"
#include "devmodel/machine.h"

enum { REGION_PORTS, REGION_DMA };

enum fwcfg_key {
	KEY_SIGNATURE = 0x00, KEY_ID = 0x01, KEY_UUID = 0x02, KEY_RAM_SIZE = 0x03, KEY_NOGRAPHIC = 0x04,
	KEY_NB_CPUS = 0x05, KEY_NUMA = 0x0d, KEY_BOOT_MENU = 0x0e, KEY_MAX_CPUS = 0x0f, KEY_DIRECTORY = 0x19,
	KEY_FILE_FIRST = 0x20, KEY_FILES = 0x40,
	KEY_WRITE = 0x4000,	/* once a write channel: ignored */
	KEY_ARCH = 0x8000, KEY_ACPI_TABLES = 0x8000, KEY_SMBIOS = 0x8001, KEY_IRQ0_OVERRIDE = 0x8002, KEY_E820 = 0x8003,

	ID_TRADITIONAL = 1, ID_DMA = 2,
};

enum {
	DMA_ERROR = 1, DMA_READ = 2, DMA_SKIP = 4, DMA_SELECT = 8, DMA_WRITE = 16,
	NAME_MAX_LEN = 56,
};

static const char dma_signature[8] = "QEMU CFG";

struct fwcfg {
	uint32_t offset;	/* in the selected item; at most its size */
	uint16_t key;
	uint16_t pm_base;	/* that the ACPI tables tell; 0: nobody has selected them */
	uint32_t dma_high;	/* as the guest has it: upper half of the descriptor's address */
};

/* In the directory, as the guest reads it. */
struct fwcfg_file {
	uint32_t size;		/* big-endian */
	uint16_t select;	/* big-endian */
	uint16_t reserved;
	char name[NAME_MAX_LEN];
};

struct item {
	uint16_t key;
	uint32_t size;
	uint8_t *data;
};

enum { MAX_ITEMS = 32 + KEY_FILES };

/* Made by init(), constant afterwards. */
struct fwcfg_items {
	struct item item[MAX_ITEMS];
	unsigned nitems;
	struct fwcfg_file file[KEY_FILES];
	unsigned nfiles;
	struct { uint32_t count; struct fwcfg_file file[KEY_FILES]; } directory;
	bool dma, sercon;
	uint16_t acpi_key;	/* of the tables, 0 for none */
	uint16_t acpi_base;	/* pm_base that they were last made for */
	struct acpi acpi;
	struct smbios smbios;
};

_Static_assert(sizeof(struct fwcfg_file) == 64, "fw_cfg directory entry");

/* ---- items */

static const struct item *find(const struct fwcfg_items *f, uint16_t key)
{
	key &= (uint16_t)~KEY_WRITE;
	for (unsigned i = 0; i < f->nitems; i++)
		if (f->item[i].key == key)
			return &f->item[i];
	return NULL;
}

/* The data are copied. */
static int add(struct fwcfg_items *f, uint16_t key, const void *data, uint32_t size)
{
	uint8_t *copy;

	if (f->nitems == MAX_ITEMS)
		return -ENOSPC;
	copy = malloc(size ? size : 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, data, size);
	f->item[f->nitems++] = (struct item){ .key = key, .size = size, .data = copy };
	return 0;
}

static int add_int(struct fwcfg_items *f, uint16_t key, uint64_t value, unsigned size)
{
	value = htole64(value);
	return add(f, key, &value, size);
}

static int add_file(struct fwcfg_items *f, const char *name, const void *data, uint32_t size)
{
	struct fwcfg_file *file = &f->file[f->nfiles];
	int err;

	if (f->nfiles == KEY_FILES || strlen(name) >= NAME_MAX_LEN)
		return -ENOSPC;
	err = add(f, KEY_FILE_FIRST + f->nfiles, data, size);
	if (err)
		return err;
	file->size = size;
	file->select = KEY_FILE_FIRST + f->nfiles++;
	snprintf(file->name, sizeof(file->name), "%s", name);
	return 0;
}

static int add_file_int(struct fwcfg_items *f, const char *name, uint64_t value)
{
	value = htole64(value);
	return add_file(f, name, &value, sizeof(value));
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct fwcfg_file *)a)->name, ((const struct fwcfg_file *)b)->name);
}

/* Sorted by name, as QEMU's is: firmware shows files in this order. */
static int add_directory(struct fwcfg_items *f)
{
	qsort(f->file, f->nfiles, sizeof(f->file[0]), by_name);
	f->directory.count = htobe32(f->nfiles);
	for (unsigned i = 0; i < f->nfiles; i++) {
		f->directory.file[i] = f->file[i];
		f->directory.file[i].size = htobe32(f->file[i].size);
		f->directory.file[i].select = htobe16(f->file[i].select);
	}
	return add(f, KEY_DIRECTORY, &f->directory, sizeof(f->directory.count) + f->nfiles * sizeof(struct fwcfg_file));
}

/* ---- what the items say */

static int add_e820(struct fwcfg_items *f, const struct machine *m)
{
	struct __attribute__((packed)) { uint64_t base, len; uint32_t type; } e[2];
	unsigned n = 0;

	enum { E820_RAM = 1 };
	e[n].base = 0;
	e[n].len = htole64(m->ram_low);
	e[n++].type = htole32(E820_RAM);
	if (m->ram_high) {
		e[n].base = htole64(1ull << 32);
		e[n].len = htole64(m->ram_high);
		e[n++].type = htole32(E820_RAM);
	}
	return add_file(f, "etc/e820", e, n * sizeof(e[0]));
}

struct boot_entry {
	unsigned long index;
	char path[96];
};

static int by_index(const void *a, const void *b)
{
	unsigned long x = ((const struct boot_entry *)a)->index, y = ((const struct boot_entry *)b)->index;

	return x < y ? -1 : x > y;
}

/* Where firmware finds the image behind a key such as "hd1.bootindex", in OpenFirmware's notation. */
static bool boot_path(const struct conf_dev *c, const char *key, char *path, size_t n)
{
	char function[8] = "";
	unsigned drive;

	if (c->function)
		snprintf(function, sizeof(function), ",%x", c->function);
	if (!strcmp(c->model, "ide") && (sscanf(key, "hd%u.", &drive) == 1 || sscanf(key, "cd%u.", &drive) == 1) && drive < 4)
		return snprintf(path, n, "/pci@i0cf8/ide@%x%s/drive@%x/disk@%x", c->slot, function, drive / 2, drive % 2) > 0;
	if (!strcmp(c->model, "virtio-blk"))
		return snprintf(path, n, "/pci@i0cf8/scsi@%x%s/disk@0,0", c->slot, function) > 0;
	if (c->pci)
		return snprintf(path, n, "/pci@i0cf8/*@%x%s", c->slot, function) > 0;
	return false;
}

static int add_bootorder(struct dev *d, struct fwcfg_items *f)
{
	enum { MAX_BOOT = 32 };
	const struct conf_machine *conf = &d->m->conf;
	struct boot_entry entry[MAX_BOOT];
	char text[MAX_BOOT * sizeof(entry[0].path)];
	unsigned n = 0, len = 0;

	for (unsigned i = 0; i < conf->ndevs; i++)
		for (unsigned k = 0; k < conf->dev[i].nkeys && n < MAX_BOOT; k++) {
			const struct conf_key *key = &conf->dev[i].key[k];
			const char *dot = strrchr(key->name, '.');
			char *end;

			if (strcmp(dot ? dot + 1 : key->name, "bootindex"))
				continue;
			entry[n].index = strtoul(key->value, &end, 10);
			if (end == key->value || *end) {
				dev_error(d, "%s: %s=%s: a number is wanted, 0 or 1 for the first to boot",
					  conf->dev[i].model, key->name, key->value);
				return -EINVAL;
			}
			if (boot_path(&conf->dev[i], key->name, entry[n].path, sizeof(entry[n].path)))
				n++;
		}
	if (!n)
		return 0;
	qsort(entry, n, sizeof(entry[0]), by_index);
	for (unsigned i = 0; i < n; i++)
		len += snprintf(text + len, sizeof(text) - len, "%s%s", i ? "\n" : "", entry[i].path);
	return add_file(f, "bootorder", text, len + 1);
}

/* A key that may override a number. */
static int number(struct dev *d, const char *key, uint64_t standard, uint64_t max, uint64_t *value)
{
	const char *text = dev_conf(d, key);
	char *end;

	*value = standard;
	if (!text)
		return 0;
	errno = 0;
	*value = strtoull(text, &end, 0);
	if (errno || end == text || *end || *value > max) {
		dev_error(d, "%s=%s: a number up to %llu is wanted", key, text, (unsigned long long)max);
		return -EINVAL;
	}
	return 0;
}

static int add_sercon_port(struct fwcfg_items *f, uint16_t port)
{
	f->sercon = true;
	return add_file_int(f, "etc/sercon-port", port);
}

/*
 * Without a display firmware's and GRUB's screen goes to the first serial port
 * that leads somewhere; with none it stays mute.
 */
static int add_sercon(struct dev *d, struct fwcfg_items *f)
{
	static const struct { const char *key; uint16_t port; } com[] = {
		{ "com1", 0x3f8 }, { "com2", 0x2f8 }, { "com3", 0x3e8 }, { "com4", 0x2e8 },
	};
	const struct conf_machine *conf = &d->m->conf;
	const char *wish = dev_conf(d, "sercon");

	if (wish && !strcmp(wish, "off"))
		return 0;
	if (wish && strcmp(wish, "auto")) {
		for (unsigned p = 0; p < sizeof(com) / sizeof(com[0]); p++)
			if (!strcmp(wish, com[p].key))
				return add_sercon_port(f, com[p].port);
		dev_error(d, "sercon=%s: auto, off or com1 to com4 is wanted", wish);
		return -EINVAL;
	}
	for (unsigned p = 0; p < sizeof(com) / sizeof(com[0]); p++)
		for (unsigned i = 0; i < conf->ndevs; i++)
			for (unsigned k = 0; k < conf->dev[i].nkeys; k++)
				if (!strcmp(conf->dev[i].key[k].name, com[p].key) && conf->dev[i].key[k].stream >= 0)
					return add_sercon_port(f, com[p].port);
	return 0;
}

static int add_legacy(struct dev *d, struct fwcfg_items *f, uint64_t menu)
{
	const struct conf_machine *conf = &d->m->conf;
	int err = 0;

	err = err ? err : add(f, KEY_SIGNATURE, "QEMU", 4);
	err = err ? err : add_int(f, KEY_ID, ID_TRADITIONAL | (f->dma ? ID_DMA : 0), 4);
	err = err ? err : add(f, KEY_UUID, conf->uuid, 16);
	err = err ? err : add_int(f, KEY_RAM_SIZE, conf->ram_bytes, 8);
	/* Firmware takes "no graphics" for a wish to use the first serial port. */
	err = err ? err : add_int(f, KEY_NOGRAPHIC, f->sercon, 2);
	err = err ? err : add_int(f, KEY_NB_CPUS, conf->vcpus, 2);
	err = err ? err : add_int(f, KEY_NUMA, 0, 8);
	err = err ? err : add_int(f, KEY_BOOT_MENU, menu, 2);
	err = err ? err : add_int(f, KEY_MAX_CPUS, conf->vcpus, 2);
	err = err ? err : add_int(f, KEY_ACPI_TABLES, 0, 2);
	err = err ? err : add_int(f, KEY_SMBIOS, 0, 2);
	err = err ? err : add_int(f, KEY_IRQ0_OVERRIDE, 1, 4);
	err = err ? err : add_int(f, KEY_E820, 0, 4);
	return err;
}

static int add_files(struct dev *d, struct fwcfg_items *f, uint64_t menu, uint64_t wait)
{
	int err = add_e820(f, d->m);

	err = err ? err : add_bootorder(d, f);
	err = err ? err : add_sercon(d, f);
	err = err ? err : add_file_int(f, "etc/show-boot-menu", menu);
	err = err ? err : add_file_int(f, "etc/max-cpus", d->m->conf.vcpus);
	if (wait != UINT64_MAX)
		err = err ? err : add_file_int(f, "etc/boot-fail-wait", wait);
	return err;
}

/* ---- tables */

static const struct item *find_file(const struct fwcfg_items *f, const char *name)
{
	for (unsigned i = 0; i < f->nfiles; i++)
		if (!strcmp(f->file[i].name, name))
			return find(f, f->file[i].select);
	return NULL;
}

static int add_acpi(struct dev *d, struct fwcfg_items *f)
{
	const struct fwcfg *s = dev_state(d);
	int err;

	if (!tables_wanted(d))
		return 0;
	f->acpi_base = s->pm_base ? s->pm_base : board_pm_base(d->m);
	err = tables_acpi(&f->acpi, d, f->acpi_base);
	err = err ? err : add_file(f, ACPI_FILE_RSDP, f->acpi.rsdp, sizeof(f->acpi.rsdp));
	err = err ? err : add_file(f, ACPI_FILE_TABLES, f->acpi.tables, f->acpi.size);
	err = err ? err : add_file(f, ACPI_FILE_LOADER, f->acpi.command, f->acpi.ncommands * sizeof(f->acpi.command[0]));
	if (!err)
		f->acpi_key = find_file(f, ACPI_FILE_TABLES)->key;
	return err;
}

/* The guest selects the tables: they tell the machine as it is now. */
static void refresh_acpi(struct dev *d)
{
	struct fwcfg_items *f = dev_private(d);
	const struct item *it = find(f, f->acpi_key);
	uint16_t base = board_pm_base(d->m);

	((struct fwcfg *)dev_write(d))->pm_base = base;
	if (base == f->acpi_base)
		return;
	/* Of the same size, whatever the base is. */
	if (tables_acpi(&f->acpi, d, base) || f->acpi.size != it->size)
		return;
	memcpy(it->data, f->acpi.tables, it->size);
	f->acpi_base = base;
}

static int add_smbios(struct dev *d, struct fwcfg_items *f)
{
	int err = tables_smbios(&f->smbios, d);

	err = err ? err : add_file(f, SMBIOS_FILE_ANCHOR, f->smbios.anchor, sizeof(f->smbios.anchor));
	return err ? err : add_file(f, SMBIOS_FILE_TABLES, f->smbios.tables, f->smbios.size);
}

/* The user's own: name=opt/...,string=TEXT or file=PATH. */
static int add_user_file(struct dev *d, struct fwcfg_items *f, unsigned n)
{
	enum { MAX_USER_FILE = 16 << 20 };
	char key[32];
	const char *name, *text;
	struct stat st;
	uint8_t *data;
	int fd, err;

	snprintf(key, sizeof(key), "file%u.name", n);
	name = dev_conf(d, key);
	if (!name)
		return 0;
	snprintf(key, sizeof(key), "file%u.string", n);
	text = dev_conf(d, key);
	if (text)
		return add_file(f, name, text, strlen(text));
	snprintf(key, sizeof(key), "file%u", n);
	fd = dev_conf_fd(d, key);
	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > MAX_USER_FILE) {
		dev_error(d, "%s (%s): string= or a file of at most 16 MiB is wanted", key, name);
		return -EINVAL;
	}
	data = malloc(st.st_size + 1);
	err = !data || pread(fd, data, st.st_size, 0) != st.st_size ? -EIO : add_file(f, name, data, st.st_size);
	free(data);
	close(fd);
	return err;
}

/* ---- reading */

/* Up to n bytes from where the guest stands; beyond the end there are zeros. */
static uint32_t take(struct dev *d, const struct fwcfg *s, const uint8_t **data, uint32_t n)
{
	const struct item *it = find(dev_private(d), s->key);
	uint32_t left = it && s->offset < it->size ? it->size - s->offset : 0;

	*data = left ? it->data + s->offset : NULL;
	return n < left ? n : left;
}

static void advance(struct dev *d, uint32_t n)
{
	if (n)
		((struct fwcfg *)dev_write(d))->offset += n;
}

static void select_item(struct dev *d, uint16_t key)
{
	const struct fwcfg_items *f = dev_private(d);
	struct fwcfg *s = dev_write(d);

	s->key = key;
	s->offset = 0;
	if (f->acpi_key && (key & ~KEY_WRITE) == f->acpi_key)
		refresh_acpi(d);
}

static unsigned fwcfg_batch_in(struct dev *d, unsigned region, uint64_t off, unsigned size, void *data, unsigned n)
{
	size_t bytes = (size_t)n * size;
	const uint8_t *from;
	uint32_t have;

	memset(data, 0, bytes);
	if (region != REGION_PORTS || off != 1 || size != 1)
		return n;
	have = take(d, dev_state(d), &from, bytes);
	if (have)
		memcpy(data, from, have);
	advance(d, have);
	return n;
}

static uint64_t fwcfg_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	uint8_t byte;
	uint64_t v = 0;

	if (region == REGION_DMA) {
		memcpy(&v, dma_signature + off, size);
		return v;
	}
	if (off != 1 || size != 1)
		return 0;	/* the selector is write-only */
	fwcfg_batch_in(d, region, off, size, &byte, 1);
	return byte;
}

/* ---- DMA */

struct dma_access {		/* big-endian, in guest RAM */
	uint32_t control, length;
	uint64_t address;
};

static bool dma_zeros(struct dev *d, uint64_t gpa, uint32_t n)
{
	static const uint8_t zeros[4096];

	while (n) {
		uint32_t part = n < sizeof(zeros) ? n : sizeof(zeros);

		if (!dma_write(d, gpa, zeros, part))
			return false;
		gpa += part;
		n -= part;
	}
	return true;
}

static bool dma_transfer(struct dev *d, uint64_t gpa, uint32_t n)
{
	const uint8_t *data;
	uint32_t have = take(d, dev_state(d), &data, n);

	if (!machine_ram(d->m, gpa, n))
		return false;	/* all of it or nothing */
	if (have && !dma_write(d, gpa, data, have))
		return false;
	advance(d, have);
	return dma_zeros(d, gpa + have, n - have);
}

static uint32_t dma_run(struct dev *d, uint32_t control, uint32_t length, uint64_t address)
{
	const uint8_t *data;

	if (control & DMA_SELECT)
		select_item(d, control >> 16);
	if (control & DMA_READ)
		return dma_transfer(d, address, length) ? 0 : DMA_ERROR;
	if (control & DMA_WRITE)
		return DMA_ERROR;	/* no item can be written */
	if (control & DMA_SKIP)
		advance(d, take(d, dev_state(d), &data, length));
	return 0;
}

static void dma_start(struct dev *d, uint32_t low)
{
	struct fwcfg *s = dev_write(d);
	uint64_t at = (uint64_t)s->dma_high << 32 | low;
	struct dma_access a;
	uint32_t result = DMA_ERROR;

	s->dma_high = 0;
	if (dma_read(d, at, &a, sizeof(a)))
		result = dma_run(d, be32toh(a.control), be32toh(a.length), be64toh(a.address));
	result = htobe32(result);
	dma_publish(d, at, &result, sizeof(result));
}

static void fwcfg_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	if (region == REGION_PORTS) {
		if (size == 2)
			select_item(d, value);
		return;
	}
	if (size == 4 && off == 0)
		((struct fwcfg *)dev_write(d))->dma_high = be32toh(value);
	else if (size == 4 && off == 4)
		dma_start(d, be32toh(value));
}

/* ---- life */

static void fwcfg_reset(struct dev *d)
{
	memset(dev_write(d), 0, sizeof(struct fwcfg));
}

static int fwcfg_check(const struct dev *d, const void *state)
{
	(void)d, (void)state;
	return 0;	/* take() bounds whatever stands there */
}

/* A key that is on unless it says otherwise. */
static int on_off(struct dev *d, const char *key, bool *on)
{
	const char *text = dev_conf(d, key);

	*on = !text || !strcmp(text, "on");
	if (!*on && strcmp(text, "off")) {
		dev_error(d, "%s=%s: on or off is wanted", key, text);
		return -EINVAL;
	}
	return 0;
}

static int build(struct dev *d, struct fwcfg_items *f)
{
	uint64_t menu, wait;
	bool acpi;
	int err;

	err = on_off(d, "dma", &f->dma);
	err = err ? err : on_off(d, "acpi", &acpi);
	err = err ? err : number(d, "bootmenu", 0, 1, &menu);
	err = err ? err : number(d, "failwait", UINT64_MAX, UINT32_MAX, &wait);
	err = err ? err : add_files(d, f, menu, wait);
	err = err ? err : add_legacy(d, f, menu);
	err = err ? err : add_smbios(d, f);
	err = err ? err : add_acpi(d, f);
	for (unsigned i = 0; i < 8 && !err; i++)
		err = add_user_file(d, f, i);
	return err ? err : add_directory(f);
}

static int fwcfg_init(struct dev *d, bool fresh)
{
	struct fwcfg_items *f = calloc(1, sizeof(*f));
	int err;

	(void)fresh;
	if (!f)
		return -ENOMEM;
	dev_set_private(d, f);
	err = build(d, f);
	if (err)
		return err;
	dev_region(d, &(struct dev_region){ .base = 0x510, .len = 2, .id = REGION_PORTS, .batch = true });
	if (f->dma)
		dev_region(d, &(struct dev_region){ .base = 0x514, .len = 8, .id = REGION_DMA });
	return 0;
}

static void fwcfg_fini(struct dev *d)
{
	struct fwcfg_items *f = dev_private(d);

	for (unsigned i = 0; f && i < f->nitems; i++)
		free(f->item[i].data);
	free(f);
}

#define USER_FILE(n)								\
	{ "file" n, "a user's file: its content", DEV_KEY_ROM },		\
	{ "file" n ".name", "its name, such as opt/org.example/greeting", DEV_KEY_TEXT },	\
	{ "file" n ".string", "its content as text, in place of a file", DEV_KEY_TEXT }

static const struct dev_key keys[] = {
	{ "dma", "on: offer DMA at 514h; off: firmware reads by rep insb (default on)", DEV_KEY_TEXT },
	{ "sercon", "firmware's console: auto (the first serial port in use), off, com1 to com4 (default auto)", DEV_KEY_TEXT },
	{ "bootmenu", "1: firmware offers its boot menu; 0: it does not (default 0)", DEV_KEY_TEXT },
	{ "failwait", "milliseconds that firmware waits when nothing boots (default: firmware's own)", DEV_KEY_TEXT },
	TABLES_KEYS,
	USER_FILE("0"), USER_FILE("1"), USER_FILE("2"), USER_FILE("3"),
	USER_FILE("4"), USER_FILE("5"), USER_FILE("6"), USER_FILE("7"),
	{ 0 }
};

const struct dev_ops fwcfg_ops = {
	.name = "fwcfg",
	.summary = "firmware configuration at ports 510h-51Bh",
	.keys = keys, .implied = "",
	.state_size = sizeof(struct fwcfg), .state_version = 1,
	.init = fwcfg_init, .fini = fwcfg_fini, .reset = fwcfg_reset, .check = fwcfg_check,
	.read = fwcfg_read, .write = fwcfg_write, .batch_in = fwcfg_batch_in,
};
