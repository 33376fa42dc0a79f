/*
 * devmodel/ide/ata.c - the commands of ATA disks.
 *
 * ATA/ATAPI-6, 8 "Command descriptions"; CHS translation after ATA-3, 6.3, for
 * firmware and systems that still use it.  One table of all commands; what is
 * not in it is aborted.
 */
#include "devmodel/ide/ide.h"

#include <stdio.h>
#include <string.h>

enum { HEADS = 16, SPT = 63, MAX_CYLINDERS = 16383, MAX_LBA28 = 0x0fffffff };

/* ---- addresses and geometry */

static uint32_t cylinders(const struct ide_drive *d, unsigned max)
{
	uint64_t n = d->sectors / (d->heads * d->spt);

	return n < max ? n : max;
}

static uint64_t lba48(const struct ide_regs *r)
{
	uint64_t lba = 0;

	for (unsigned i = 0; i < 3; i++)
		lba |= (uint64_t)r->lba[i] << 8 * i | (uint64_t)r->old_lba[i] << (24 + 8 * i);
	return lba;
}

static bool chs(const struct ide_drive *d, uint64_t *lba)
{
	const struct ide_regs *r = &d->regs;
	unsigned cylinder = r->lba[1] | r->lba[2] << 8, head = r->device & 0x0f, sector = r->lba[0];

	if (!sector || sector > d->spt || head >= d->heads)
		return false;
	*lba = ((uint64_t)cylinder * d->heads + head) * d->spt + sector - 1;
	return true;
}

static bool lba28(const struct ide_drive *d, uint64_t *lba)
{
	const struct ide_regs *r = &d->regs;

	if (!(r->device & DEV_LBA))
		return chs(d, lba);
	*lba = r->lba[0] | r->lba[1] << 8 | r->lba[2] << 16 | (uint64_t)(r->device & 0x0f) << 24;
	return true;
}

/* The range that the registers name, or false where the drive has no such sectors. */
static bool address(const struct ide *u, bool ext, uint64_t *lba, uint32_t *count)
{
	const struct ide_drive *d = u->drive;
	const struct ide_regs *r = &d->regs;

	if (ext) {
		*count = r->count | r->old_count << 8;
		*count = *count ? *count : 65536;
		*lba = lba48(r);
	} else {
		*count = r->count ? r->count : 256;
		if (!lba28(d, lba))
			return false;
	}
	return *lba < d->sectors && *count <= d->sectors - *lba;
}

/* ---- data commands */

enum { F_EXT = 1, F_DMA = 2, F_MULTIPLE = 4, F_FUA = 8 };

static bool range(struct ide *u, unsigned flags, struct ide_range *out)
{
	uint64_t lba;
	uint32_t count;

	if ((flags & F_MULTIPLE) && !u->drive->multiple) {
		ide_fail(u, ER_ABRT);
		return false;
	}
	if (!address(u, flags & F_EXT, &lba, &count)) {
		ide_fail(u, ER_IDNF);
		return false;
	}
	*out = (struct ide_range){
		.off = lba * SECTOR,
		.n = (uint64_t)count * SECTOR,
		.block = (flags & F_MULTIPLE ? u->drive->multiple : 1) * SECTOR,
		.dma = flags & F_DMA,
	};
	return true;
}

static void read_sectors(struct ide *u, unsigned flags)
{
	struct ide_range r;

	if (range(u, flags, &r))
		ide_read_image(u, r);
}

static void write_sectors(struct ide *u, unsigned flags)
{
	struct ide_range r;

	if (u->drive->readonly) {
		ide_fail(u, ER_ABRT | ER_WP);
		return;
	}
	if (!range(u, flags, &r))
		return;
	ide_write_image(u, r);
	if (flags & F_FUA)
		u->ch->flush_after = 1;
}

static void verify_sectors(struct ide *u, unsigned flags)
{
	struct ide_range r;

	if (range(u, flags, &r))
		ide_verify_image(u, r);
}

static void seek(struct ide *u, unsigned flags)
{
	uint64_t lba;

	(void)flags;
	if (lba28(u->drive, &lba) && lba < u->drive->sectors)
		ide_complete(u);
	else
		ide_fail(u, ER_IDNF);
}

static void flush_cache(struct ide *u, unsigned flags)
{
	(void)flags;
	if (u->drive->readonly)
		ide_complete(u);
	else
		ide_flush(u);
}

/* ---- IDENTIFY DEVICE */

void ide_put16(uint8_t *words, unsigned word, uint16_t value)
{
	words[2 * word] = value;
	words[2 * word + 1] = value >> 8;
}

/* ATA strings hold the first character of a pair in the high byte, padded with spaces. */
void ide_identify_string(uint8_t *to, const char *s, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		to[i ^ 1] = *s ? *s++ : ' ';
}

static void put_sectors(uint8_t *id, unsigned word, uint64_t n, unsigned words)
{
	for (unsigned i = 0; i < words; i++)
		ide_put16(id, word + i, n >> 16 * i);
}

static void identify_geometry(uint8_t *id, const struct ide_drive *d)
{
	uint64_t n = d->sectors / (HEADS * SPT);
	uint32_t now = cylinders(d, 65535);

	ide_put16(id, 1, n < MAX_CYLINDERS ? n : MAX_CYLINDERS);
	ide_put16(id, 3, HEADS);
	ide_put16(id, 6, SPT);
	ide_put16(id, 53, 0x0007);			/* 54-58, 64-70 and 88 are valid */
	ide_put16(id, 54, now);
	ide_put16(id, 55, d->heads);
	ide_put16(id, 56, d->spt);
	put_sectors(id, 57, (uint64_t)now * d->heads * d->spt, 2);
	put_sectors(id, 60, d->sectors < MAX_LBA28 ? d->sectors : MAX_LBA28, 2);
	put_sectors(id, 100, d->sectors, 4);
}

static void identify_modes(uint8_t *id, const struct ide_drive *d)
{
	unsigned kind = d->xfer_mode & 0xf8, bit = 0x100u << (d->xfer_mode & 7);

	ide_put16(id, 63, 0x0007 | (kind == 0x20 ? bit : 0));	/* multiword DMA 0-2, which is chosen */
	ide_put16(id, 64, 0x0003);				/* PIO 3 and 4 */
	for (unsigned word = 65; word <= 68; word++)
		ide_put16(id, word, 120);			/* ns a cycle */
	ide_put16(id, 88, 0x003f | (kind == 0x40 ? bit : 0));	/* Ultra DMA 0-5 */
}

static void identify_sets(uint8_t *id, const struct ide_drive *d)
{
	uint16_t enabled = 0x4008 | (d->write_cache ? 0x20 : 0) | (d->look_ahead ? 0x40 : 0);

	ide_put16(id, 80, 0x0070);			/* ATA-4 to ATA-6 */
	ide_put16(id, 82, 0x4068);			/* NOP, look-ahead, write cache, power management */
	ide_put16(id, 83, 0x7400);			/* FLUSH CACHE (EXT), 48-bit addresses */
	ide_put16(id, 84, 0x4040);			/* WRITE DMA FUA EXT */
	ide_put16(id, 85, enabled);
	ide_put16(id, 86, 0x3400);
	ide_put16(id, 87, 0x4040);
	ide_put16(id, 93, 0x6001);			/* reset result: 80-wire cable */
}

static void identify(struct ide *u, unsigned flags)
{
	uint8_t *id = u->buf, sum = 0;
	char serial[21];

	(void)flags;
	memset(id, 0, SECTOR);
	snprintf(serial, sizeof(serial), "CLV%05u", u->n * IDE_DRIVES + u->ch->active);
	ide_put16(id, 0, 0x0040);			/* fixed disk */
	ide_identify_string(id + 20, serial, 20);
	ide_identify_string(id + 46, "1.0", 8);
	ide_identify_string(id + 54, "Cleave disk", 40);
	ide_put16(id, 47, 0x8000 | MAX_MULTIPLE);
	ide_put16(id, 48, 0x0001);			/* 32-bit accesses of the data port */
	ide_put16(id, 49, 0x0f00);			/* LBA, DMA, IORDY */
	ide_put16(id, 50, 0x4000);
	ide_put16(id, 51, 0x0200);
	ide_put16(id, 52, 0x0200);
	ide_put16(id, 59, u->drive->multiple ? 0x0100 | u->drive->multiple : 0);
	identify_geometry(id, u->drive);
	identify_modes(id, u->drive);
	identify_sets(id, u->drive);
	ide_put16(id, 217, 1);				/* does not rotate */
	id[510] = 0xa5;
	for (unsigned i = 0; i < 511; i++)
		sum += id[i];
	id[511] = -sum;
	ide_reply(u, SECTOR, SECTOR, false);
}

/* ---- settings and the rest */

static void set_features(struct ide *u, unsigned flags)
{
	struct ide_drive *d = u->drive;

	(void)flags;
	switch (d->regs.feature) {
	case 0x02: d->write_cache = 1; break;
	case 0x82: d->write_cache = 0; break;
	case 0x55: d->look_ahead = 0; break;
	case 0xaa: d->look_ahead = 1; break;
	case 0x66: case 0xcc: break;			/* keep or revert settings at a soft reset */
	case 0x03:					/* PIO default, PIO 0-4, multiword 0-2, Ultra 0-5 */
		if (d->regs.count > 1 && !(d->regs.count >= 0x08 && d->regs.count <= 0x0c) &&
		    !(d->regs.count >= 0x20 && d->regs.count <= 0x22) &&
		    !(d->regs.count >= 0x40 && d->regs.count <= 0x45)) {
			ide_fail(u, ER_ABRT);
			return;
		}
		d->xfer_mode = d->regs.count;
		break;
	default:
		ide_fail(u, ER_ABRT);
		return;
	}
	if (d->regs.feature == 0x82 && !d->readonly)
		ide_flush(u);				/* what is cached must be on the medium first */
	else
		ide_complete(u);
}

static void set_multiple(struct ide *u, unsigned flags)
{
	uint8_t n = u->drive->regs.count;

	(void)flags;
	if (n > MAX_MULTIPLE || (n & (n - 1))) {
		ide_fail(u, ER_ABRT);
		return;
	}
	u->drive->multiple = n;
	ide_complete(u);
}

static void set_geometry(struct ide *u, unsigned flags)
{
	(void)flags;
	if (!u->drive->regs.count) {
		ide_fail(u, ER_ABRT);
		return;
	}
	u->drive->heads = (u->drive->regs.device & 0x0f) + 1;
	u->drive->spt = u->drive->regs.count;
	ide_complete(u);
}

static void recalibrate(struct ide *u, unsigned flags)
{
	(void)flags;
	ide_complete(u);
}

static void native_max(struct ide *u, unsigned flags)
{
	struct ide_regs *r = &u->drive->regs;
	uint64_t max = u->drive->sectors - 1;

	if (!(flags & F_EXT) && max >= MAX_LBA28)
		max = MAX_LBA28 - 1;
	for (unsigned i = 0; i < 3; i++) {
		r->lba[i] = max >> 8 * i;
		if (flags & F_EXT)
			r->old_lba[i] = max >> (24 + 8 * i);
	}
	if (!(flags & F_EXT))
		r->device = (r->device & 0xf0) | (max >> 24 & 0x0f);
	ide_complete(u);
}

enum { POWER_ACTIVE, POWER_STANDBY };

static void set_power(struct ide *u, unsigned state)
{
	u->drive->standby = state == POWER_STANDBY;
	ide_complete(u);
}

static void check_power(struct ide *u, unsigned flags)
{
	(void)flags;
	u->drive->regs.count = u->drive->standby ? 0x00 : 0xff;
	ide_complete(u);
}

/* ---- the table */

static const struct { void (*run)(struct ide *, unsigned arg); unsigned arg; } commands[256] = {
	[0x10 ... 0x1f] = { recalibrate, 0 },
	[0x20] = { read_sectors, 0 }, [0x21] = { read_sectors, 0 },
	[0x24] = { read_sectors, F_EXT },
	[0x25] = { read_sectors, F_EXT | F_DMA },
	[0x27] = { native_max, F_EXT },
	[0x29] = { read_sectors, F_EXT | F_MULTIPLE },
	[0x30] = { write_sectors, 0 }, [0x31] = { write_sectors, 0 },
	[0x34] = { write_sectors, F_EXT },
	[0x35] = { write_sectors, F_EXT | F_DMA },
	[0x39] = { write_sectors, F_EXT | F_MULTIPLE },
	[0x3d] = { write_sectors, F_EXT | F_DMA | F_FUA },
	[0x40] = { verify_sectors, 0 }, [0x41] = { verify_sectors, 0 },
	[0x42] = { verify_sectors, F_EXT },
	[0x70 ... 0x7f] = { seek, 0 },
	[0x91] = { set_geometry, 0 },
	[0x94] = { set_power, POWER_STANDBY }, [0x95] = { set_power, POWER_ACTIVE },
	[0x96] = { set_power, POWER_STANDBY }, [0x97] = { set_power, POWER_ACTIVE },
	[0x98] = { check_power, 0 }, [0x99] = { set_power, POWER_STANDBY },
	[0xc4] = { read_sectors, F_MULTIPLE },
	[0xc5] = { write_sectors, F_MULTIPLE },
	[0xc6] = { set_multiple, 0 },
	[0xc8] = { read_sectors, F_DMA }, [0xc9] = { read_sectors, F_DMA },
	[0xca] = { write_sectors, F_DMA }, [0xcb] = { write_sectors, F_DMA },
	[0xce] = { write_sectors, F_EXT | F_MULTIPLE | F_FUA },
	[0xe0] = { set_power, POWER_STANDBY }, [0xe1] = { set_power, POWER_ACTIVE },
	[0xe2] = { set_power, POWER_STANDBY }, [0xe3] = { set_power, POWER_ACTIVE },
	[0xe5] = { check_power, 0 }, [0xe6] = { set_power, POWER_STANDBY },
	[0xe7] = { flush_cache, 0 }, [0xea] = { flush_cache, 0 },
	[0xec] = { identify, 0 },
	[0xef] = { set_features, 0 },
	[0xf8] = { native_max, 0 },
};

void ata_command(struct ide *u, uint8_t command)
{
	if (commands[command].run)
		commands[command].run(u, commands[command].arg);
	else
		ide_fail(u, ER_ABRT);	/* NOP too: that is what it does */
}

void ata_power_on(struct ide_drive *d)
{
	d->heads = HEADS;
	d->spt = SPT;
	d->multiple = 16;
	d->write_cache = d->look_ahead = 1;
	d->xfer_mode = 0;
	d->locked = d->open = 0;
	d->sense_key = d->asc = d->ascq = 0;
	d->attention = d->kind == IDE_CD ? 0x29 : 0;	/* power on or reset occurred */
}
