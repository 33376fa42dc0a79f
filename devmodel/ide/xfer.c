/*
 * devmodel/ide/xfer.c - moves the data of a command between image, buffer and
 * guest; knows what state a command is in, and not what it means.
 *
 * ATA/ATAPI-6, 9.5-9.8: PIO data-in and data-out, DMA and packet protocols; the
 * diagram is in ide.h.
 */
#include "devmodel/ide/ide.h"

#include <string.h>

/* ---- ends of commands */

void ide_irq(struct ide *u)
{
	u->drive->irq = 1;
}

static void finish(struct ide *u, uint8_t status, uint8_t error)
{
	u->ch->phase = PH_IDLE;
	u->drive->status = status;
	u->drive->error = error;
}

void ide_complete(struct ide *u)
{
	finish(u, ST_READY, 0);
	ide_irq(u);
}

void ide_fail(struct ide *u, uint8_t error)
{
	finish(u, ST_READY | ST_ERR, error);
	ide_irq(u);
}

/* What a drive shows after a reset or EXECUTE DEVICE DIAGNOSTIC. */
void ide_signature(struct ide_drive *d)
{
	bool cd = d->kind == IDE_CD;

	d->regs = (struct ide_regs){ .count = 1, .lba = { 1, cd ? 0x14 : 0, cd ? 0xeb : 0 }, .device = DEV_OBSOLETE };
	d->error = 1;	/* diagnostics passed */
	d->status = d->kind == IDE_DISK ? ST_READY : 0;
	d->irq = 0;
}

/* ---- transfer engine */

static bool is_packet(const struct ide *u)
{
	return u->drive->kind == IDE_CD && u->ch->command == CMD_PACKET;
}

static struct blk *image(const struct ide *u)
{
	return dev_blk(u->dev, u->drive->blk);
}

static void submit(struct ide *u, enum ide_phase phase, enum blk_op op, uint32_t n)
{
	u->ch->phase = phase;
	blk_submit(u->dev, image(u), u->n, op, u->ch->next, (size_t)u->n * CHUNK, n);
}

static uint32_t chunk_bytes(const struct ide_channel *ch)
{
	return ch->left < ch->chunk ? ch->left : ch->chunk;
}

/*
 * The next DRQ block: the guest may move it, and for all but the first block of
 * a write it is interrupted.
 */
static void open_block(struct ide *u, enum ide_phase phase, bool irq)
{
	struct ide_channel *ch = u->ch;
	uint32_t rest = ch->fill - ch->pos, n = rest < ch->block ? rest : ch->block;

	ch->phase = phase;
	ch->block_end = ch->pos + n;
	u->drive->status = ST_READY | ST_DRQ;
	if (is_packet(u)) {
		u->drive->regs.count = phase == PH_IN ? REASON_IO : 0;
		u->drive->regs.lba[1] = n;
		u->drive->regs.lba[2] = n >> 8;
	}
	if (irq)
		ide_irq(u);
}

static void start_dma(struct ide *u)
{
	u->ch->phase = PH_DMA;
	u->ch->block_end = u->ch->fill;
	u->drive->status = ST_READY | ST_DRQ;
	bm_run(u);
}

/* The buffer starts anew with `n` bytes, none of them moved. */
static void start_buffer(struct ide_channel *ch, uint32_t n)
{
	ch->pos = ch->block_end = 0;
	ch->fill = n;
}

static void fill_more(struct ide *u)
{
	start_buffer(u->ch, 0);
	submit(u, PH_READ, BLK_READ, chunk_bytes(u->ch));
}

static void drain_more(struct ide *u, bool irq)
{
	start_buffer(u->ch, chunk_bytes(u->ch));
	if (u->ch->dma)
		start_dma(u);
	else
		open_block(u, PH_OUT, irq);
}

static void begin(struct ide *u, struct ide_range r)
{
	struct ide_channel *ch = u->ch;

	ch->next = r.off;
	ch->left = r.n;
	ch->block = r.block;
	ch->dma = r.dma;
	ch->chunk = CHUNK;
	ch->verify = ch->to_device = ch->flush_after = 0;
	u->drive->standby = 0;
}

void ide_read_image(struct ide *u, struct ide_range r)
{
	begin(u, r);
	fill_more(u);
}

void ide_verify_image(struct ide *u, struct ide_range r)
{
	begin(u, r);
	u->ch->verify = 1;
	fill_more(u);
}

void ide_write_image(struct ide *u, struct ide_range r)
{
	begin(u, r);
	u->ch->to_device = 1;
	u->ch->flush_after = !u->drive->write_cache;
	drain_more(u, false);
}

void ide_flush(struct ide *u)
{
	submit(u, PH_FLUSH, BLK_FLUSH, 0);
}

void ide_reply(struct ide *u, uint32_t n, uint32_t block, bool dma)
{
	begin(u, (struct ide_range){ .block = block, .dma = dma });
	start_buffer(u->ch, n);
	if (dma)
		start_dma(u);
	else
		open_block(u, PH_IN, true);
}

/* The guest has all that was asked for. */
static void end_of_data(struct ide *u)
{
	if (is_packet(u))
		atapi_end(u, 0, 0, 0);
	else if (u->ch->dma)
		ide_complete(u);
	else
		finish(u, ST_READY, 0);	/* PIO data-in ends without an interrupt */
}

void ide_buffer_moved(struct ide *u)
{
	struct ide_channel *ch = u->ch;

	if (ch->to_device)
		submit(u, PH_WRITE, BLK_WRITE, ch->fill);
	else if (ch->left)
		fill_more(u);
	else
		end_of_data(u);
}

/* The guest has moved a whole DRQ block through the data port. */
static void block_moved(struct ide *u)
{
	if (u->ch->pos < u->ch->fill)
		open_block(u, u->ch->phase, true);
	else
		ide_buffer_moved(u);
}

static void read_done(struct ide *u)
{
	struct ide_channel *ch = u->ch;
	uint32_t n = chunk_bytes(ch);

	ch->next += n;
	ch->left -= n;
	ch->fill = n;
	if (ch->verify)
		ch->left ? fill_more(u) : ide_complete(u);
	else if (ch->dma)
		start_dma(u);
	else
		open_block(u, PH_IN, true);
}

static void write_done(struct ide *u)
{
	struct ide_channel *ch = u->ch;

	ch->next += ch->fill;
	ch->left -= ch->fill;
	if (ch->left)
		drain_more(u, true);
	else if (ch->flush_after)
		ide_flush(u);
	else
		ide_complete(u);
}

/* Where a disk's command failed: the first sector not done, in the addressing that the guest used. */
static void report_place(struct ide *u)
{
	uint64_t lba = u->ch->next / SECTOR;
	struct ide_regs *r = &u->drive->regs;

	if (!(r->device & DEV_LBA))
		return;
	for (unsigned i = 0; i < 3; i++) {
		r->lba[i] = lba >> 8 * i;
		r->old_lba[i] = lba >> (24 + 8 * i);
	}
	r->device = (r->device & 0xf0) | (lba >> 24 & 0x0f);
}

/*
 * A large read that fails is tried again block by block, so that the guest gets
 * what is readable and learns which sector is not.
 */
static void read_failed(struct ide *u)
{
	struct ide_channel *ch = u->ch;

	uint32_t smallest = u->drive->kind == IDE_CD ? CD_SECTOR : ch->block;

	if (ch->chunk > smallest) {
		ch->chunk = smallest;
		fill_more(u);
	} else if (u->drive->kind == IDE_CD) {
		atapi_read_error(u);
	} else {
		report_place(u);
		ide_fail(u, ER_UNC);
	}
}

static void flush_or_write_failed(struct ide *u)
{
	if (u->ch->phase == PH_WRITE)
		report_place(u);
	finish(u, ST_READY | ST_ERR | ST_DF, ER_ABRT);
	ide_irq(u);
}

/* The operation that a reset left in flight is over: the drive can say that it is ready. */
static void abandon_done(struct ide *u)
{
	u->ch->phase = PH_IDLE;
}

void ide_io_done(struct dev *dev, unsigned slot, int error)
{
	struct ide u;

	if (slot >= IDE_CHANNELS || !ide_in_flight(ide_channel_of(dev, slot)))
		return;
	u = ide_channel_write(dev, slot);
	if (error)
		dev_log(dev, "channel %u: image I/O at byte %llu: %s", slot, (unsigned long long)u.ch->next, strerror(-error));
	switch (u.ch->phase) {
	case PH_READ:
		error ? read_failed(&u) : read_done(&u);
		break;
	case PH_WRITE:
		error ? flush_or_write_failed(&u) : write_done(&u);
		break;
	case PH_FLUSH:
		error ? flush_or_write_failed(&u) : ide_complete(&u);
		break;
	case PH_ABANDON:
		abandon_done(&u);
		break;
	}
	ide_tell(dev, slot);
}

/*
 * The channel drops what it was doing.  An operation in flight uses the buffer
 * until it ends, so the channel stays busy for as long; whole sectors that the
 * guest has handed over are still written, as a drive's cache would.
 */
void ide_abandon(struct ide *u)
{
	struct ide_channel *ch = u->ch;
	uint32_t whole = ch->phase == PH_OUT ? ch->pos / SECTOR * SECTOR : 0;

	if (ide_in_flight(ch))
		ch->phase = blk_busy(u->dev, u->n) ? PH_ABANDON : PH_IDLE;
	else if (whole)
		submit(u, PH_ABANDON, BLK_WRITE, whole);
	else
		ch->phase = PH_IDLE;
}

/* ---- data port */

/* Has the selected drive data to move in this direction? */
static bool data_ready(const struct ide_channel *ch, bool out)
{
	if (ch->active != ch->selected || (ch->control & CTL_SRST))
		return false;
	return out ? ch->phase == PH_OUT || ch->phase == PH_PACKET : ch->phase == PH_IN;
}

/* The drive sees no byte enables: every access moves a whole word. */
static unsigned data_step(unsigned size)
{
	return size < 2 ? 2 : size;
}

uint64_t ide_data_in(struct dev *dev, unsigned n, unsigned size)
{
	uint64_t value = 0;
	uint32_t have;
	struct ide u;

	if (!data_ready(ide_channel_of(dev, n), false))
		return ~0ull >> (64 - 8 * size);
	u = ide_channel_write(dev, n);
	have = u.ch->block_end - u.ch->pos;
	memcpy(&value, u.buf + u.ch->pos, have < size ? have : size);
	u.ch->pos += have < data_step(size) ? have : data_step(size);
	if (u.ch->pos == u.ch->block_end) {
		block_moved(&u);
		ide_tell(dev, n);
	}
	return value;
}

unsigned ide_data_batch_in(struct dev *dev, unsigned n, unsigned size, void *data, unsigned count)
{
	const struct ide_channel *ch = ide_channel_of(dev, n);
	uint32_t fits;
	struct ide u;

	fits = data_ready(ch, false) && size > 1 ? (ch->block_end - ch->pos) / size : 0;
	if (!fits) {
		uint64_t value = ide_data_in(dev, n, size);

		memcpy(data, &value, size);
		return 1;
	}
	if (count > fits)
		count = fits;
	u = ide_channel_write(dev, n);
	memcpy(data, u.buf + ch->pos, (size_t)count * size);
	u.ch->pos += count * size;
	if (ch->pos == ch->block_end) {
		block_moved(&u);
		ide_tell(dev, n);
	}
	return count;
}

static void packet_out(struct ide *u, const void *data, uint32_t n)
{
	struct ide_channel *ch = u->ch;
	uint32_t room = sizeof(ch->packet) - ch->pos;

	memcpy(ch->packet + ch->pos, data, n < room ? n : room);
	ch->pos += n < room ? n : room;
	if (ch->pos == sizeof(ch->packet))
		atapi_packet(u);
}

void ide_data_out(struct dev *dev, unsigned n, unsigned size, uint64_t value)
{
	uint32_t room;
	struct ide u;

	if (!data_ready(ide_channel_of(dev, n), true))
		return;
	u = ide_channel_write(dev, n);
	if (u.ch->phase == PH_PACKET) {
		packet_out(&u, &value, data_step(size));
		ide_tell(dev, n);
		return;
	}
	room = u.ch->block_end - u.ch->pos;
	if (room > data_step(size))
		room = data_step(size);
	memcpy(u.buf + u.ch->pos, &value, room);
	u.ch->pos += room;
	if (u.ch->pos == u.ch->block_end) {
		block_moved(&u);
		ide_tell(dev, n);
	}
}

unsigned ide_data_batch_out(struct dev *dev, unsigned n, unsigned size, const void *data, unsigned count)
{
	const struct ide_channel *ch = ide_channel_of(dev, n);
	uint32_t fits;
	struct ide u;

	fits = data_ready(ch, true) && ch->phase == PH_OUT && size > 1 ? (ch->block_end - ch->pos) / size : 0;
	if (!fits) {
		uint64_t value = 0;

		memcpy(&value, data, size);
		ide_data_out(dev, n, size, value);
		return 1;
	}
	if (count > fits)
		count = fits;
	u = ide_channel_write(dev, n);
	memcpy(u.buf + ch->pos, data, (size_t)count * size);
	u.ch->pos += count * size;
	if (ch->pos == ch->block_end) {
		block_moved(&u);
		ide_tell(dev, n);
	}
	return count;
}

