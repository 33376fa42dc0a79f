/*
 * devmodel/ide/atapi.c - a CD-ROM and DVD-ROM drive behind the PACKET command.
 *
 * ATA/ATAPI-6, 8.21 "PACKET" and 9.8 "PACKET protocols"; SFF-8020i and MMC-3 for
 * the packets; SPC-2 for INQUIRY, sense data and mode pages.  An image is one
 * data track of 2048-byte blocks.
 *
 * A reply goes out in DRQ blocks of at most the byte count that the guest gave
 * with the command, or by the bus master where it asked for DMA.  After power-on
 * and after the tray was loaded the first command meets a unit attention.
 */
#include "devmodel/ide/ide.h"

#include <stdio.h>
#include <string.h>

enum { NOT_READY = 0x02, MEDIUM_ERROR = 0x03, ILLEGAL_REQUEST = 0x05, UNIT_ATTENTION = 0x06 };
enum { ASC_READ_ERROR = 0x11, ASC_OPCODE = 0x20, ASC_LBA = 0x21, ASC_FIELD = 0x24, ASC_CHANGED = 0x28, ASC_SAVING = 0x39,
       ASC_NO_MEDIUM = 0x3a, ASC_REMOVAL = 0x53 };
enum { CD_BLOCKS = 360000 };	/* 80 minutes; what is larger is a DVD */
enum { LEAD_OUT = 0xaa, SPEED_KB = 8467 };

/* ---- small helpers */

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static uint16_t get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static uint64_t blocks(const struct ide_drive *d)
{
	return d->sectors / (CD_SECTOR / SECTOR);
}

static bool loaded(const struct ide_drive *d)
{
	return d->medium && !d->open;
}

static void put_address(uint8_t *p, uint32_t block, bool msf)
{
	uint32_t frame = block + 150;

	if (!msf) {
		put32(p, block);
		return;
	}
	p[0] = 0;
	p[1] = frame / 75 / 60;
	p[2] = frame / 75 % 60;
	p[3] = frame % 75;
}

void atapi_end(struct ide *u, uint8_t key, uint8_t asc, uint8_t ascq)
{
	struct ide_drive *d = u->drive;

	d->sense_key = key;
	d->asc = asc;
	d->ascq = ascq;
	if (key)
		ide_fail(u, key << 4);
	else
		ide_complete(u);
	d->regs.count = REASON_IO | REASON_COD;
}

void atapi_read_error(struct ide *u)
{
	atapi_end(u, MEDIUM_ERROR, ASC_READ_ERROR, 0);
}

static void bad_field(struct ide *u)
{
	atapi_end(u, ILLEGAL_REQUEST, ASC_FIELD, 0);
}

/* DRQ blocks for `total` bytes within the guest's limit, which is even unless it covers everything. */
static uint32_t drq_block(const struct ide *u, uint64_t total)
{
	uint32_t limit = u->ch->block;

	if (limit < 2 || limit == 0xffff)
		limit = 0xfffe;
	return (limit & 1) && total > limit ? limit - 1 : limit;
}

/* The first `n` bytes of the buffer, as many as the guest has room for. */
static void reply(struct ide *u, uint32_t n, uint32_t room)
{
	if (n > room)
		n = room;
	if (n)
		ide_reply(u, n, drq_block(u, n), u->ch->dma);
	else
		atapi_end(u, 0, 0, 0);
}

static uint8_t *cleared(struct ide *u, unsigned n)
{
	memset(u->buf, 0, n);
	return u->buf;
}

/* ---- who are you */

static void identify_packet(struct ide *u)
{
	uint8_t *id = cleared(u, SECTOR);
	unsigned kind = u->drive->xfer_mode & 0xf8, bit = 0x100u << (u->drive->xfer_mode & 7);
	char serial[21];

	snprintf(serial, sizeof(serial), "CLV%05u", u->n * IDE_DRIVES + u->ch->active);
	ide_put16(id, 0, 0x85c0);		/* CD-ROM, removable, DRQ within 50 us, 12-byte packets */
	ide_identify_string(id + 20, serial, 20);
	ide_identify_string(id + 46, "1.0", 8);
	ide_identify_string(id + 54, "Cleave CD-ROM", 40);
	ide_put16(id, 49, 0x0f00);		/* LBA, DMA, IORDY */
	ide_put16(id, 50, 0x4000);
	ide_put16(id, 51, 0x0200);
	ide_put16(id, 53, 0x0006);
	ide_put16(id, 63, 0x0007 | (kind == 0x20 ? bit : 0));
	ide_put16(id, 64, 0x0003);
	for (unsigned word = 65; word <= 68; word++)
		ide_put16(id, word, 120);
	ide_put16(id, 80, 0x0070);
	ide_put16(id, 82, 0x4210);		/* NOP, DEVICE RESET, PACKET */
	ide_put16(id, 83, 0x4000);
	ide_put16(id, 84, 0x4000);
	ide_put16(id, 85, 0x4210);
	ide_put16(id, 87, 0x4000);
	ide_put16(id, 88, 0x003f | (kind == 0x40 ? bit : 0));
	ide_put16(id, 93, 0x6001);
	ide_reply(u, SECTOR, SECTOR, false);
}

static void inquiry(struct ide *u, const uint8_t *p)
{
	uint8_t *r = cleared(u, 36);

	if (p[1] & 1) {			/* no vital product data */
		bad_field(u);
		return;
	}
	r[0] = 0x05;			/* CD-ROM */
	r[1] = 0x80;			/* removable */
	r[3] = 0x21;			/* ATAPI, response format 1 */
	r[4] = 36 - 5;
	memcpy(r + 8, "CLEAVE  CD-ROM          1.0 ", 28);
	reply(u, 36, get16(p + 3));
}

static void request_sense(struct ide *u, const uint8_t *p)
{
	struct ide_drive *d = u->drive;
	uint8_t *r = cleared(u, 18);

	if (!d->sense_key && d->attention) {
		d->sense_key = UNIT_ATTENTION;
		d->asc = d->attention;
		d->attention = 0;
	}
	r[0] = 0x70;
	r[2] = d->sense_key;
	r[7] = 10;
	r[12] = d->asc;
	r[13] = d->ascq;
	reply(u, 18, p[4]);		/* its good end clears them */
}

/* ---- the medium */

static void read_capacity(struct ide *u, const uint8_t *p)
{
	uint8_t *r = cleared(u, 8);

	(void)p;
	put32(r, blocks(u->drive) - 1);
	put32(r + 4, CD_SECTOR);
	reply(u, 8, 8);
}

static bool in_range(struct ide *u, uint32_t block, uint64_t n)
{
	if (block <= blocks(u->drive) && n <= blocks(u->drive) - block)
		return true;
	atapi_end(u, ILLEGAL_REQUEST, ASC_LBA, 0);
	return false;
}

static void read_blocks(struct ide *u, uint32_t block, uint32_t n)
{
	uint64_t bytes = (uint64_t)n * CD_SECTOR;

	if (!in_range(u, block, n))
		return;
	if (n)
		ide_read_image(u, (struct ide_range){ .off = (uint64_t)block * CD_SECTOR, .n = bytes,
						      .block = drq_block(u, bytes), .dma = u->ch->dma });
	else
		atapi_end(u, 0, 0, 0);
}

static void read10(struct ide *u, const uint8_t *p)
{
	read_blocks(u, get32(p + 2), get16(p + 7));
}

static void read12(struct ide *u, const uint8_t *p)
{
	read_blocks(u, get32(p + 2), get32(p + 6));
}

/* READ CD gives the user data of mode-1 sectors: what a raw image has. */
static void read_cd(struct ide *u, const uint8_t *p)
{
	unsigned type = p[1] >> 2 & 7;

	if (!(p[9] & 0xf8) && !(p[10] & 7))
		atapi_end(u, 0, 0, 0);			/* no part of a sector is wanted */
	else if ((p[9] & 0xf8) == 0x10 && !(p[10] & 7) && (type == 0 || type == 2))
		read_blocks(u, get32(p + 2), p[6] << 16 | get16(p + 7));
	else
		bad_field(u);
}

static void seek10(struct ide *u, const uint8_t *p)
{
	if (in_range(u, get32(p + 2), 1))
		atapi_end(u, 0, 0, 0);
}

static void verify10(struct ide *u, const uint8_t *p)
{
	if (in_range(u, get32(p + 2), get16(p + 7)))
		atapi_end(u, 0, 0, 0);
}

static uint8_t *toc_entry(uint8_t *p, uint8_t track, uint32_t block, bool msf)
{
	p[1] = 0x14;			/* data track */
	p[2] = track;
	put_address(p + 4, block, msf);
	return p + 8;
}

static uint8_t *toc_point(uint8_t *p, uint8_t point, uint8_t min, uint8_t sec, uint8_t frame)
{
	const uint8_t entry[11] = { 1, 0x14, 0, point, 0, 0, 0, 0, min, sec, frame };

	memcpy(p, entry, sizeof(entry));
	return p + sizeof(entry);
}

static uint8_t *full_toc(const struct ide *u, uint8_t *p)
{
	uint8_t out[4];

	put_address(out, blocks(u->drive), true);
	p = toc_point(p, 0xa0, 1, 0, 0);
	p = toc_point(p, 0xa1, 1, 0, 0);
	p = toc_point(p, 0xa2, out[1], out[2], out[3]);
	return toc_point(p, 1, 0, 2, 0);
}

static void read_toc(struct ide *u, const uint8_t *p)
{
	unsigned format = p[2] & 0x0f ? p[2] & 0x0f : p[9] >> 6;
	bool msf = p[1] & 2;
	uint8_t *r = cleared(u, 64), *end = r + 4;

	if (format > 2 || (format == 0 && p[6] > 1 && p[6] != LEAD_OUT)) {
		bad_field(u);
		return;
	}
	if (format == 0 && p[6] != LEAD_OUT)
		end = toc_entry(end, 1, 0, msf);
	if (format == 0)
		end = toc_entry(end, LEAD_OUT, blocks(u->drive), msf);
	else if (format == 1)
		end = toc_entry(end, 1, 0, msf);	/* first track of the last session */
	else
		end = full_toc(u, end);
	put16(r, end - r - 2);
	r[2] = r[3] = 1;
	reply(u, end - r, get16(p + 7));
}

static void read_subchannel(struct ide *u, const uint8_t *p)
{
	uint8_t *r = cleared(u, 4);

	if (p[2] & 0x40) {
		bad_field(u);
		return;
	}
	r[1] = 0x15;			/* no audio status */
	reply(u, 4, get16(p + 7));
}

static void disc_information(struct ide *u, const uint8_t *p)
{
	uint8_t *r = cleared(u, 34);

	put16(r, 32);
	r[2] = 0x0e;			/* last session and disc complete */
	r[3] = r[4] = r[5] = r[6] = 1;	/* first track, sessions, tracks of the last session */
	r[7] = 0x20;			/* unrestricted use */
	reply(u, 34, get16(p + 7));
}

/* ---- tray and state */

static void test_unit_ready(struct ide *u, const uint8_t *p)
{
	(void)p;
	atapi_end(u, 0, 0, 0);
}

static void start_stop(struct ide *u, const uint8_t *p)
{
	struct ide_drive *d = u->drive;
	bool eject = p[4] & 2, start = p[4] & 1;

	if (eject && !start && d->locked) {
		atapi_end(u, d->medium ? ILLEGAL_REQUEST : NOT_READY, ASC_REMOVAL, 2);
		return;
	}
	if (eject) {
		if (d->open && start && d->medium)
			d->attention = ASC_CHANGED;
		d->open = !start;
	}
	atapi_end(u, 0, 0, 0);
}

static void prevent_removal(struct ide *u, const uint8_t *p)
{
	u->drive->locked = p[4] & 1;
	atapi_end(u, 0, 0, 0);
}

/* Media events only, polled only. */
static void event_status(struct ide *u, const uint8_t *p)
{
	const struct ide_drive *d = u->drive;
	uint8_t *r = cleared(u, 8);

	if (!(p[1] & 1)) {
		bad_field(u);
		return;
	}
	r[3] = 0x10;			/* classes there are */
	if (!(p[4] & 0x10)) {
		put16(r, 2);
		r[2] = 0x80;		/* none of those asked for */
		reply(u, 4, get16(p + 7));
		return;
	}
	put16(r, 6);
	r[2] = 4;
	r[4] = d->attention == ASC_CHANGED ? 2 : 0;	/* new medium */
	r[5] = (d->open ? 1 : 0) | (loaded(d) ? 2 : 0);
	reply(u, 8, get16(p + 7));
}

static void mechanism_status(struct ide *u, const uint8_t *p)
{
	uint8_t *r = cleared(u, 8);

	r[1] = u->drive->open ? 0x10 : 0;
	reply(u, 8, get16(p + 8));
}

/* ---- features and mode pages */

static uint16_t profile(const struct ide_drive *d)
{
	if (!loaded(d))
		return 0;
	return blocks(d) > CD_BLOCKS ? 0x0010 : 0x0008;
}

enum { ALWAYS, WITH_MEDIUM, WITH_CD, WITH_DVD };

static const struct feature {
	uint16_t code;
	uint8_t version, when, n, data[8];
} features[] = {
	{ .code = 0x0000, .n = 8, .data = { 0x00, 0x10, 0, 0, 0x00, 0x08, 0, 0 } },	/* profiles: DVD-ROM, CD-ROM */
	{ .code = 0x0001, .version = 2, .n = 8, .data = { 0, 0, 0, 2, 1 } },		/* core: ATAPI */
	{ .code = 0x0003, .n = 4, .data = { 0x29 } },					/* a tray that locks and ejects */
	{ .code = 0x0010, .when = WITH_MEDIUM, .n = 8, .data = { 0, 0, 0x08, 0, 0, 1, 1 } },	/* random reading, by 2048 */
	{ .code = 0x001e, .version = 2, .when = WITH_CD, .n = 4 },			/* reads CDs */
	{ .code = 0x001f, .version = 1, .when = WITH_DVD, .n = 4 },			/* reads DVDs */
	{ .code = 0x0100, .n = 0 },							/* power management */
	{ .code = 0x0105, .n = 0 },							/* timeouts */
};

static bool current(const struct feature *f, uint16_t now)
{
	return f->when == ALWAYS || (f->when == WITH_MEDIUM && now) || (f->when == WITH_CD && now == 0x0008) ||
	       (f->when == WITH_DVD && now == 0x0010);
}

static uint8_t *put_feature(uint8_t *p, const struct feature *f, uint16_t now)
{
	put16(p, f->code);
	p[2] = f->version << 2 | (f->when == ALWAYS ? 2 : 0) | (current(f, now) ? 1 : 0);
	p[3] = f->n;
	memcpy(p + 4, f->data, f->n);
	for (unsigned i = 0; f->code == 0 && i < f->n; i += 4)
		p[4 + i + 2] = now && get16(p + 4 + i) == now;
	return p + 4 + f->n;
}

static void get_configuration(struct ide *u, const uint8_t *p)
{
	uint8_t *r = cleared(u, 256), *end = r + 8;
	uint16_t first = get16(p + 2), now = profile(u->drive);
	unsigned type = p[1] & 3;

	if (type == 3) {
		bad_field(u);
		return;
	}
	for (unsigned i = 0; i < sizeof(features) / sizeof(features[0]); i++) {
		const struct feature *f = &features[i];

		if (type == 2 ? f->code == first : f->code >= first && (type == 0 || current(f, now)))
			end = put_feature(end, f, now);
	}
	put32(r, end - r - 4);
	put16(r + 6, now);
	reply(u, end - r, get16(p + 7));
}

static const struct mode_page { uint8_t n, data[20]; } mode_pages[] = {
	{ 8, { 0x01, 6, 0, 5 } },						/* read error recovery */
	{ 8, { 0x0d, 6, 0, 0, 0, 60, 0, 75 } },				/* CD: seconds, frames */
	{ 16, { 0x0e, 14, 0x04, 0, 0, 0, 0, 75, 1, 0xff, 2, 0xff } },		/* audio */
	{ 20, { 0x2a, 18, 0x08, 0, 0x70, 0x60, 0x29, 0, SPEED_KB >> 8, SPEED_KB & 0xff, 0, 2, 0, 128,
		SPEED_KB >> 8, SPEED_KB & 0xff } },				/* capabilities */
};

static uint8_t *put_page(uint8_t *to, const struct mode_page *page, const struct ide_drive *d, bool changeable)
{
	memcpy(to, page->data, page->n);
	if (changeable)
		memset(to + 2, 0, page->n - 2);
	else if (to[0] == 0x2a)
		to[6] |= d->locked ? 2 : 0;
	return to + page->n;
}

/* The pages asked for, behind a header of `header` bytes that the caller fills; their end, or NULL. */
static uint8_t *mode_sense(struct ide *u, const uint8_t *p, unsigned header)
{
	unsigned control = p[2] >> 6, code = p[2] & 0x3f;
	uint8_t *r = cleared(u, 128), *end = r + header;

	if (control == 3) {
		atapi_end(u, ILLEGAL_REQUEST, ASC_SAVING, 0);
		return NULL;
	}
	for (unsigned i = 0; i < sizeof(mode_pages) / sizeof(mode_pages[0]); i++)
		if (code == 0x3f || code == mode_pages[i].data[0])
			end = put_page(end, &mode_pages[i], u->drive, control == 1);
	if (end != r + header)
		return end;
	bad_field(u);
	return NULL;
}

static uint8_t medium_type(const struct ide_drive *d)
{
	return d->open ? 0x71 : d->medium ? 0x01 : 0x70;
}

static void mode_sense6(struct ide *u, const uint8_t *p)
{
	uint8_t *end = mode_sense(u, p, 4);

	if (!end)
		return;
	u->buf[0] = end - u->buf - 1;
	u->buf[1] = medium_type(u->drive);
	reply(u, end - u->buf, p[4]);
}

static void mode_sense10(struct ide *u, const uint8_t *p)
{
	uint8_t *end = mode_sense(u, p, 8);

	if (!end)
		return;
	put16(u->buf, end - u->buf - 2);
	u->buf[2] = medium_type(u->drive);
	reply(u, end - u->buf, get16(p + 7));
}

/* ---- the table */

enum { MEDIUM = 1, NO_ATTENTION = 2 };

static const struct { void (*run)(struct ide *, const uint8_t *packet); uint8_t flags; } packets[256] = {
	[0x00] = { test_unit_ready, MEDIUM },
	[0x01] = { test_unit_ready, MEDIUM },		/* REZERO UNIT */
	[0x03] = { request_sense, NO_ATTENTION },
	[0x12] = { inquiry, NO_ATTENTION },
	[0x1a] = { mode_sense6, 0 },
	[0x1b] = { start_stop, 0 },
	[0x1e] = { prevent_removal, 0 },
	[0x25] = { read_capacity, MEDIUM },
	[0x28] = { read10, MEDIUM },
	[0x2b] = { seek10, MEDIUM },
	[0x2f] = { verify10, MEDIUM },
	[0x35] = { test_unit_ready, 0 },			/* SYNCHRONIZE CACHE: nothing to write */
	[0x42] = { read_subchannel, MEDIUM },
	[0x43] = { read_toc, MEDIUM },
	[0x46] = { get_configuration, NO_ATTENTION },
	[0x4a] = { event_status, NO_ATTENTION },
	[0x4e] = { test_unit_ready, MEDIUM },		/* STOP PLAY/SCAN */
	[0x51] = { disc_information, MEDIUM },
	[0x5a] = { mode_sense10, 0 },
	[0xa8] = { read12, MEDIUM },
	[0xbb] = { test_unit_ready, 0 },			/* SET CD SPEED */
	[0xbd] = { mechanism_status, 0 },
	[0xbe] = { read_cd, MEDIUM },
};

void atapi_packet(struct ide *u)
{
	const uint8_t *p = u->ch->packet;
	struct ide_drive *d = u->drive;
	uint8_t flags = packets[p[0]].flags, attention = d->attention;

	if (attention && !(flags & NO_ATTENTION)) {
		d->attention = 0;
		atapi_end(u, UNIT_ATTENTION, attention, 0);
	} else if (!packets[p[0]].run) {
		atapi_end(u, ILLEGAL_REQUEST, ASC_OPCODE, 0);
	} else if ((flags & MEDIUM) && !loaded(d)) {
		atapi_end(u, NOT_READY, ASC_NO_MEDIUM, d->open ? 2 : 1);
	} else {
		packets[p[0]].run(u, p);
	}
}

/* ---- ATA commands of packet devices */

/* The packet is asked for without an interrupt, as word 0 of IDENTIFY says. */
static void accept_packet(struct ide *u)
{
	const struct ide_regs *r = &u->drive->regs;

	u->ch->dma = r->feature & 1;
	u->ch->block = r->lba[1] | r->lba[2] << 8;
	u->ch->phase = PH_PACKET;
	u->ch->pos = 0;
	u->ch->block_end = u->ch->fill = sizeof(u->ch->packet);
	u->drive->regs.count = REASON_COD;
	u->drive->status = ST_READY | ST_DRQ;
}

/* Disk commands show by the signature that this is no disk. */
static void not_a_disk(struct ide *u)
{
	ide_signature(u->drive);
	ide_fail(u, ER_ABRT);
}

void atapi_command(struct ide *u, uint8_t command)
{
	switch (command) {
	case CMD_PACKET:
		accept_packet(u);
		break;
	case 0xa1:
		identify_packet(u);
		break;
	case 0x20: case 0xec:
		not_a_disk(u);
		break;
	case 0xe5: case 0x98:
		u->drive->regs.count = 0xff;
		ide_complete(u);
		break;
	case 0xe0: case 0xe1: case 0xe2: case 0xe3: case 0x94: case 0x95: case 0x96: case 0x97:
		ide_complete(u);
		break;
	case 0xef:			/* transfer mode */
		if (u->drive->regs.feature == 0x03)
			u->drive->xfer_mode = u->drive->regs.count;
		if (u->drive->regs.feature == 0x03 || u->drive->regs.feature == 0x66 || u->drive->regs.feature == 0xcc)
			ide_complete(u);
		else
			ide_fail(u, ER_ABRT);
		break;
	default:
		ide_fail(u, ER_ABRT);
	}
}
