/*
 * devmodel/ide/bmdma.c - the bus master of the PIIX3's IDE function.
 *
 * Programming Interface for Bus Master IDE Controller 1.0; PIIX3 data sheet,
 * BMICX, BMISX, BMIDTPX.
 *
 * The table of physical regions is the guest's: it may point anywhere, end too
 * early, never end, or lie outside RAM.  An entry has at least two bytes, so a
 * chunk of the channel's buffer bounds the work of one transaction.  The table
 * pointer's low 16 bits wrap, as the hardware's counter does.
 *
 * A region or an entry that is no RAM is a master abort: the error bit is set,
 * the engine stops and the drive's command ends in an abort.  A table that ends
 * before the data stops the engine and leaves the drive waiting, as on hardware;
 * a table that is longer leaves it active when the drive is done.
 */
#include "devmodel/ide/ide.h"

#include <errno.h>

#include "devmodel/bus/pci.h"

enum { REG_COMMAND, REG_STATUS = 2, REG_TABLE = 4 };
#define PRD_LAST 0x80000000u

static uint32_t le32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static void stop(struct ide_busmaster *bm)
{
	bm->status &= ~BM_ST_ACTIVE;
}

static bool fetch_entry(struct ide *u)
{
	struct ide_busmaster *bm = &u->ch->bm;
	uint8_t prd[8];
	uint32_t bytes;

	if (!dma_read(u->dev, bm->next, prd, sizeof(prd)))
		return false;
	bm->next = (bm->next & 0xffff0000u) | ((bm->next + sizeof(prd)) & 0xffff);
	bytes = le32(prd + 4) & 0xfffe;
	bm->addr = le32(prd) & ~1u;
	bm->bytes = bytes ? bytes : 0x10000;
	bm->last = !!(le32(prd + 4) & PRD_LAST);
	return true;
}

/* As much of the buffer as the entry in hand has room for. */
static bool move_part(struct ide *u)
{
	struct ide_busmaster *bm = &u->ch->bm;
	uint32_t rest = u->ch->fill - u->ch->pos, n = rest < bm->bytes ? rest : bm->bytes;
	uint8_t *at = u->buf + u->ch->pos;

	if (u->ch->to_device ? !dma_read(u->dev, bm->addr, at, n) : !dma_write(u->dev, bm->addr, at, n))
		return false;
	u->ch->pos += n;
	bm->addr += n;
	bm->bytes -= n;
	return true;
}

static void abort_transfer(struct ide *u)
{
	stop(&u->ch->bm);
	u->ch->bm.status |= BM_ST_ERROR;
	if (u->drive->kind == IDE_CD)
		atapi_end(u, 0x0b, 0x4b, 0);	/* aborted command, data phase error */
	else
		ide_fail(u, ER_ABRT);
}

/* The engine and the drive must want the same direction. */
static bool may_run(const struct ide *u)
{
	const struct ide_busmaster *bm = &u->ch->bm;

	return u->ch->phase == PH_DMA && (bm->status & BM_ST_ACTIVE) &&
	       !(bm->command & BM_CMD_TO_MEMORY) == !!u->ch->to_device;
}

void bm_run(struct ide *u)
{
	struct ide_busmaster *bm = &u->ch->bm;

	if (!may_run(u))
		return;
	if (!pci_bus_master(u->dev)) {
		abort_transfer(u);
		return;
	}
	while (u->ch->pos < u->ch->fill) {
		if (!bm->bytes && bm->last) {
			stop(bm);
			return;
		}
		if ((!bm->bytes && !fetch_entry(u)) || !move_part(u)) {
			abort_transfer(u);
			return;
		}
	}
	if (!bm->bytes && bm->last)
		stop(bm);
	ide_buffer_moved(u);
}

static void command_write(struct ide *u, uint8_t value)
{
	struct ide_busmaster *bm = &u->ch->bm;
	bool start = ~bm->command & value & BM_CMD_START;

	bm->command = value & (BM_CMD_START | BM_CMD_TO_MEMORY);
	if (!(value & BM_CMD_START)) {
		stop(bm);
	} else if (start) {
		bm->status |= BM_ST_ACTIVE;
		bm->next = bm->table;
		bm->bytes = 0;
		bm->last = 0;
		bm_run(u);
	}
}

static void byte_write(struct ide *u, unsigned off, uint8_t value)
{
	struct ide_busmaster *bm = &u->ch->bm;
	unsigned shift = 8 * (off - REG_TABLE);

	switch (off) {
	case REG_COMMAND:
		command_write(u, value);
		break;
	case REG_STATUS:
		bm->status = (bm->status & ~BM_ST_DRIVES & ~(value & (BM_ST_ERROR | BM_ST_IRQ))) | (value & BM_ST_DRIVES);
		break;
	case REG_TABLE ... REG_TABLE + 3:
		bm->table = ((bm->table & ~(0xffu << shift)) | (uint32_t)value << shift) & ~3u;
		break;
	}
}

void bm_write(struct ide *u, unsigned off, unsigned size, uint32_t value)
{
	for (unsigned i = 0; i < size && off + i < 8; i++)
		byte_write(u, off + i, value >> 8 * i);
}

uint64_t bm_read(const struct ide_channel *ch, unsigned off, unsigned size)
{
	const struct ide_busmaster *bm = &ch->bm;
	uint64_t regs = bm->command | (uint64_t)bm->status << 16 | (uint64_t)bm->table << 32;

	return off < 8 ? (regs >> 8 * off) & (~0ull >> (64 - 8 * size)) : ~0ull;
}

void bm_reset(struct ide_busmaster *bm)
{
	*bm = (struct ide_busmaster){ 0 };
}

int bm_check(const struct ide_busmaster *bm)
{
	bool bad = bm->bytes > 0x10000 || bm->last > 1 || bm->table & 3 ||
		   bm->command & ~(BM_CMD_START | BM_CMD_TO_MEMORY) ||
		   bm->status & ~(BM_ST_ACTIVE | BM_ST_ERROR | BM_ST_IRQ | BM_ST_DRIVES);

	return bad ? -EINVAL : 0;
}
