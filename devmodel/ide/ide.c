/*
 * devmodel/ide/ide.c - the IDE function of the PIIX3: channels, registers, data
 * port, and the engine that moves data between images and guest.
 *
 * Intel 82371SB (PIIX3) data sheet, "IDE Controller"; ATA/ATAPI-6: register
 * delivered command sets, protocols (PIO data-in, data-out, DMA, packet),
 * software reset.  What commands mean is in ata.c and atapi.c, the bus master
 * in bmdma.c.
 *
 * Departures from the data sheet: both channels are always decoded at their
 * compatibility addresses (IDETIM is kept, and reads as enabled from reset on,
 * but gates nothing), and timings are without effect.
 */
#include "devmodel/ide/ide.h"

#include <errno.h>
#include <string.h>

#include "devmodel/bus/pci.h"

/* Regions: two for each channel, then the bus master's BAR. */
enum { REGION_COMMAND, REGION_CONTROL, CHANNEL_REGIONS, REGION_BM = IDE_CHANNELS * CHANNEL_REGIONS };

/* The command block by offset. */
enum { REG_DATA, REG_ERROR_FEATURE, REG_COUNT, REG_LBA, REG_LBA_MID, REG_LBA_HIGH, REG_DEVICE, REG_STATUS_COMMAND, REGS };

static const struct { uint16_t command, control; uint8_t irq; } wiring[IDE_CHANNELS] = {
	{ .command = 0x1f0, .control = 0x3f6, .irq = 14 },
	{ .command = 0x170, .control = 0x376, .irq = 15 },
};

static const struct { const char *disk, *cd; } slots[IDE_CHANNELS * IDE_DRIVES] = {
	{ "hd0", "cd0" }, { "hd1", "cd1" }, { "hd2", "cd2" }, { "hd3", "cd3" },
};

static const struct ide_channel *channel_of(const struct dev *dev, unsigned n)
{
	return &((const struct ide_state *)dev_state(dev))->channel[n];
}

/* A channel to be changed; the drive is the one in command, or when idle the selected one. */
static struct ide channel_write(struct dev *dev, unsigned n)
{
	struct ide_channel *ch = &((struct ide_state *)dev_write(dev))->channel[n];

	return (struct ide){
		.dev = dev,
		.n = n,
		.ch = ch,
		.drive = &ch->drive[ch->phase == PH_IDLE ? ch->selected : ch->active],
		.buf = dev_bulk(dev) + n * CHUNK,
	};
}

/* ---- lines and status */

static bool in_flight(const struct ide_channel *ch)
{
	return ch->phase == PH_READ || ch->phase == PH_WRITE || ch->phase == PH_FLUSH || ch->phase == PH_ABANDON;
}

static uint8_t status_of(const struct ide_channel *ch)
{
	const struct ide_drive *d = &ch->drive[ch->selected];

	if (ch->drive[0].kind == IDE_NONE && ch->drive[1].kind == IDE_NONE)
		return 0x7f;	/* nobody drives the bus; DD7 is pulled down */
	if (in_flight(ch) || (ch->control & CTL_SRST))
		return ST_BSY;
	return d->kind == IDE_NONE ? 0 : d->status;
}

/* INTRQ, of the selected drive. */
static void tell_irq(struct dev *dev, unsigned n)
{
	const struct ide_channel *ch = channel_of(dev, n);
	bool level = ch->drive[ch->selected].irq && !(ch->control & CTL_NIEN);
	struct ide_channel *w;

	if (level == ch->irq_level)
		return;
	w = channel_write(dev, n).ch;
	w->irq_level = level;
	if (level)
		w->bm.status |= BM_ST_IRQ;
	dev_irq(dev, wiring[n].irq, level);
}

/* Shows what follows from the state. */
static void tell(struct dev *dev, unsigned n)
{
	const struct ide_channel *ch = channel_of(dev, n);
	uint8_t status = status_of(ch);

	tell_irq(dev, n);
	if (status != ch->shadow) {
		channel_write(dev, n).ch->shadow = status;
		dev_shadow(dev, n * CHANNEL_REGIONS + REGION_CONTROL, 0, status, true);
	}
}

void ide_irq(struct ide *u)
{
	u->drive->irq = 1;
}

/* ---- ends of commands */

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

static void ide_io_done(struct dev *dev, unsigned slot, int error)
{
	struct ide u;

	if (slot >= IDE_CHANNELS || !in_flight(channel_of(dev, slot)))
		return;
	u = channel_write(dev, slot);
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
	tell(dev, slot);
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

static uint64_t data_in(struct dev *dev, unsigned n, unsigned size)
{
	uint64_t value = 0;
	uint32_t have;
	struct ide u;

	if (!data_ready(channel_of(dev, n), false))
		return ~0ull >> (64 - 8 * size);
	u = channel_write(dev, n);
	have = u.ch->block_end - u.ch->pos;
	memcpy(&value, u.buf + u.ch->pos, have < size ? have : size);
	u.ch->pos += have < data_step(size) ? have : data_step(size);
	if (u.ch->pos == u.ch->block_end) {
		block_moved(&u);
		tell(dev, n);
	}
	return value;
}

static unsigned data_batch_in(struct dev *dev, unsigned n, unsigned size, void *data, unsigned count)
{
	const struct ide_channel *ch = channel_of(dev, n);
	uint32_t fits;
	struct ide u;

	fits = data_ready(ch, false) && size > 1 ? (ch->block_end - ch->pos) / size : 0;
	if (!fits) {
		uint64_t value = data_in(dev, n, size);

		memcpy(data, &value, size);
		return 1;
	}
	if (count > fits)
		count = fits;
	u = channel_write(dev, n);
	memcpy(data, u.buf + ch->pos, (size_t)count * size);
	u.ch->pos += count * size;
	if (ch->pos == ch->block_end) {
		block_moved(&u);
		tell(dev, n);
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

static void data_out(struct dev *dev, unsigned n, unsigned size, uint64_t value)
{
	uint32_t room;
	struct ide u;

	if (!data_ready(channel_of(dev, n), true))
		return;
	u = channel_write(dev, n);
	if (u.ch->phase == PH_PACKET) {
		packet_out(&u, &value, data_step(size));
		tell(dev, n);
		return;
	}
	room = u.ch->block_end - u.ch->pos;
	if (room > data_step(size))
		room = data_step(size);
	memcpy(u.buf + u.ch->pos, &value, room);
	u.ch->pos += room;
	if (u.ch->pos == u.ch->block_end) {
		block_moved(&u);
		tell(dev, n);
	}
}

static unsigned data_batch_out(struct dev *dev, unsigned n, unsigned size, const void *data, unsigned count)
{
	const struct ide_channel *ch = channel_of(dev, n);
	uint32_t fits;
	struct ide u;

	fits = data_ready(ch, true) && ch->phase == PH_OUT && size > 1 ? (ch->block_end - ch->pos) / size : 0;
	if (!fits) {
		uint64_t value = 0;

		memcpy(&value, data, size);
		data_out(dev, n, size, value);
		return 1;
	}
	if (count > fits)
		count = fits;
	u = channel_write(dev, n);
	memcpy(u.buf + ch->pos, data, (size_t)count * size);
	u.ch->pos += count * size;
	if (ch->pos == ch->block_end) {
		block_moved(&u);
		tell(dev, n);
	}
	return count;
}

/* ---- resets */

/*
 * The channel drops what it was doing.  An operation in flight uses the buffer
 * until it ends, so the channel stays busy for as long; whole sectors that the
 * guest has handed over are still written, as a drive's cache would.
 */
static void drop_command(struct ide *u)
{
	struct ide_channel *ch = u->ch;
	uint32_t whole = ch->phase == PH_OUT ? ch->pos / SECTOR * SECTOR : 0;

	if (in_flight(ch))
		ch->phase = PH_ABANDON;
	else if (whole)
		submit(u, PH_ABANDON, BLK_WRITE, whole);
	else
		ch->phase = PH_IDLE;
}

static void software_reset(struct ide *u)
{
	drop_command(u);
	u->ch->selected = 0;
	for (unsigned i = 0; i < IDE_DRIVES; i++) {
		ide_signature(&u->ch->drive[i]);
		u->ch->drive[i].open = u->ch->drive[i].standby = 0;
	}
}

/* EXECUTE DEVICE DIAGNOSTIC: both drives, whichever is selected. */
static void diagnostic(struct ide *u)
{
	drop_command(u);
	u->ch->selected = 0;
	for (unsigned i = 0; i < IDE_DRIVES; i++)
		ide_signature(&u->ch->drive[i]);
	u->ch->drive[0].irq = u->ch->drive[0].kind != IDE_NONE;
}

/* DEVICE RESET is the one command that a busy packet device takes. */
static void device_reset(struct ide *u)
{
	if (u->ch->phase != PH_IDLE && u->ch->active == u->ch->selected)
		drop_command(u);
	ide_signature(&u->ch->drive[u->ch->selected]);
}

/* ---- registers */

static bool empty(const struct ide_channel *ch)
{
	return ch->drive[0].kind == IDE_NONE && ch->drive[1].kind == IDE_NONE;
}

static uint8_t command_reg_read(struct dev *dev, unsigned n, unsigned reg)
{
	const struct ide_channel *ch = channel_of(dev, n);
	const struct ide_drive *d = &ch->drive[ch->selected];
	bool old = ch->control & CTL_HOB;

	if (reg == REG_STATUS_COMMAND) {
		uint8_t status = status_of(ch);

		if (d->irq) {
			channel_write(dev, n).ch->drive[ch->selected].irq = 0;
			tell(dev, n);
		}
		return status;
	}
	if (empty(ch))
		return 0xff;
	if (d->kind == IDE_NONE)
		return 0;
	switch (reg) {
	case REG_ERROR_FEATURE:
		return d->error;
	case REG_COUNT:
		return old ? d->regs.old_count : d->regs.count;
	case REG_LBA: case REG_LBA_MID: case REG_LBA_HIGH:
		return old ? d->regs.old_lba[reg - REG_LBA] : d->regs.lba[reg - REG_LBA];
	case REG_DEVICE:
		return d->regs.device;
	}
	return 0xff;
}

static void run_command(struct dev *dev, unsigned n, uint8_t command)
{
	const struct ide_channel *ch = channel_of(dev, n);
	uint8_t kind = ch->drive[ch->selected].kind;
	struct ide u;

	if (ch->control & CTL_SRST)
		return;
	u = channel_write(dev, n);
	if (command == CMD_DEVICE_RESET && kind == IDE_CD) {
		device_reset(&u);
		return;
	}
	if (in_flight(ch))
		return;		/* busy: commands are not heard */
	if (command == CMD_DIAGNOSTIC) {
		diagnostic(&u);
		return;
	}
	if (kind == IDE_NONE)
		return;
	if (ch->phase != PH_IDLE)
		u.drive->status = ST_READY;	/* the command before loses its data */
	u.ch->phase = PH_IDLE;
	u.ch->active = ch->selected;
	u.ch->command = command;
	u.drive = &u.ch->drive[ch->selected];
	u.drive->irq = 0;
	tell_irq(dev, n);	/* the line falls, so that this command's interrupt is an edge */
	u.drive->status = ST_READY;
	u.drive->error = 0;
	kind == IDE_CD ? atapi_command(&u, command) : ata_command(&u, command);
}

/* The registers of both drives listen to every write. */
static void regs_write(struct ide_regs *r, unsigned reg, uint8_t value)
{
	switch (reg) {
	case REG_ERROR_FEATURE:
		r->feature = value;
		break;
	case REG_COUNT:
		r->old_count = r->count;
		r->count = value;
		break;
	case REG_LBA: case REG_LBA_MID: case REG_LBA_HIGH:
		r->old_lba[reg - REG_LBA] = r->lba[reg - REG_LBA];
		r->lba[reg - REG_LBA] = value;
		break;
	case REG_DEVICE:
		r->device = value;
		break;
	}
}

static void command_reg_write(struct dev *dev, unsigned n, unsigned reg, uint8_t value)
{
	struct ide u = channel_write(dev, n);

	u.ch->control &= ~CTL_HOB;
	if (reg == REG_STATUS_COMMAND) {
		run_command(dev, n, value);
	} else if (!in_flight(u.ch)) {
		for (unsigned i = 0; i < IDE_DRIVES; i++)
			regs_write(&u.ch->drive[i].regs, reg, value);
		if (reg == REG_DEVICE)
			u.ch->selected = !!(value & DEV_DRIVE1);
	}
	tell(dev, n);
}

static void control_write(struct dev *dev, unsigned n, uint8_t value)
{
	struct ide u = channel_write(dev, n);
	bool reset = ~u.ch->control & value & CTL_SRST;

	u.ch->control = value & (CTL_NIEN | CTL_SRST | CTL_HOB);
	if (reset)
		software_reset(&u);
	tell(dev, n);
}

/* ---- accesses */

static uint64_t ide_reg_read(struct dev *dev, unsigned region, uint64_t off, unsigned size)
{
	unsigned n = region / CHANNEL_REGIONS;
	uint64_t value = 0;

	if (region == REGION_BM)
		return bm_read(channel_of(dev, off / 8 % IDE_CHANNELS), off % 8, size);
	if (region % CHANNEL_REGIONS == REGION_CONTROL)
		return status_of(channel_of(dev, n));
	if (off == REG_DATA)
		return data_in(dev, n, size);
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)command_reg_read(dev, n, off + i) << 8 * i;
	return value;
}

static void ide_reg_write(struct dev *dev, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	unsigned n = region / CHANNEL_REGIONS;

	if (region == REGION_BM) {
		struct ide u = channel_write(dev, off / 8 % IDE_CHANNELS);

		bm_write(&u, off % 8, size, value);
		tell(dev, u.n);
	} else if (region % CHANNEL_REGIONS == REGION_CONTROL) {
		control_write(dev, n, value);
	} else if (off == REG_DATA) {
		data_out(dev, n, size, value);
	} else {
		for (unsigned i = 0; i < size; i++)
			command_reg_write(dev, n, off + i, value >> 8 * i);
	}
}

static unsigned ide_batch_in(struct dev *dev, unsigned region, uint64_t off, unsigned size, void *data, unsigned n)
{
	uint64_t value;

	if (region < REGION_BM && region % CHANNEL_REGIONS == REGION_COMMAND && off == REG_DATA)
		return data_batch_in(dev, region / CHANNEL_REGIONS, size, data, n);
	value = ide_reg_read(dev, region, off, size);
	memcpy(data, &value, size);
	return 1;
}

static unsigned ide_batch_out(struct dev *dev, unsigned region, uint64_t off, unsigned size, const void *data, unsigned n)
{
	uint64_t value = 0;

	if (region < REGION_BM && region % CHANNEL_REGIONS == REGION_COMMAND && off == REG_DATA)
		return data_batch_out(dev, region / CHANNEL_REGIONS, size, data, n);
	memcpy(&value, data, size);
	ide_reg_write(dev, region, off, size, value);
	return 1;
}

/* ---- life */

static void channel_reset(struct dev *dev, unsigned n)
{
	struct ide u = channel_write(dev, n);

	u.ch->control = 0;
	bm_reset(&u.ch->bm);
	software_reset(&u);
	for (unsigned i = 0; i < IDE_DRIVES; i++)
		ata_power_on(&u.ch->drive[i]);
	u.ch->shadow = ~status_of(u.ch);
	tell(dev, n);
}

static void ide_reset(struct dev *dev)
{
	for (unsigned n = 0; n < IDE_CHANNELS; n++)
		channel_reset(dev, n);
}

/* Opens one image and makes its drive; `blks` counts the images, in an order that every start repeats. */
static int attach(struct dev *dev, struct ide_drive *d, const char *key, enum ide_kind kind, unsigned *blks)
{
	struct blk *blk;

	d->kind = kind;
	if (kind == IDE_CD && dev_conf_fd(dev, key) < 0)
		return 0;	/* an empty drive */
	blk = blk_open(dev, key);
	if (!blk)
		return -EINVAL;
	d->blk = (*blks)++;
	d->medium = 1;
	d->sectors = blk_size(blk) / SECTOR;
	d->readonly = kind == IDE_CD || blk_readonly(blk);
	if (!d->sectors || (kind == IDE_CD && d->sectors < CD_SECTOR / SECTOR)) {
		dev_error(dev, "%s: the image is empty", key);
		return -EINVAL;
	}
	return 0;
}

static int attach_all(struct dev *dev, struct ide_state *s)
{
	unsigned blks = 0;

	for (unsigned i = 0; i < IDE_CHANNELS * IDE_DRIVES; i++) {
		struct ide_drive *d = &s->channel[i / IDE_DRIVES].drive[i % IDE_DRIVES];
		bool disk = dev_conf(dev, slots[i].disk), cd = dev_conf(dev, slots[i].cd);
		int error = 0;

		d->kind = IDE_NONE;
		d->medium = 0;
		if (disk && cd) {
			dev_error(dev, "%s and %s are the same place: give one of them another number", slots[i].disk, slots[i].cd);
			return -EINVAL;
		}
		if (disk)
			error = attach(dev, d, slots[i].disk, IDE_DISK, &blks);
		else if (cd)
			error = attach(dev, d, slots[i].cd, IDE_CD, &blks);
		if (error)
			return error;
	}
	return 0;
}

static int ide_init(struct dev *dev, bool fresh)
{
	int error = attach_all(dev, dev_write(dev));

	if (error)
		return error;
	for (unsigned n = 0; n < IDE_CHANNELS; n++) {
		dev_region(dev, &(struct dev_region){ .base = wiring[n].command, .len = REGS, .batch = true,
						      .id = n * CHANNEL_REGIONS + REGION_COMMAND });
		dev_region(dev, &(struct dev_region){ .base = wiring[n].control, .len = 1, .shadow = true,
						      .id = n * CHANNEL_REGIONS + REGION_CONTROL });
		if (!fresh) {
			channel_write(dev, n).ch->shadow = ~status_of(channel_of(dev, n));
			tell(dev, n);
		}
	}
	if (fresh)
		ide_reset(dev);
	return 0;
}

static int drive_check(const struct ide_drive *d)
{
	bool bad = d->kind >= IDE_KINDS || d->medium > 1 || d->readonly > 1 || d->irq > 1 || d->multiple > MAX_MULTIPLE ||
		   d->heads < 1 || d->heads > 16 || !d->spt || d->standby > 1 || d->write_cache > 1 || d->look_ahead > 1 ||
		   d->locked > 1 || d->open > 1 || (d->multiple & (d->multiple - 1));

	return bad ? -EINVAL : 0;
}

/* Nothing that the transfer engine adds up may leave the buffer. */
static int channel_check(const struct ide_channel *ch)
{
	bool bad = ch->selected >= IDE_DRIVES || ch->active >= IDE_DRIVES || ch->phase >= PHASES || ch->irq_level > 1 ||
		   ch->dma > 1 || ch->to_device > 1 || ch->verify > 1 || ch->flush_after > 1 || ch->fill > CHUNK ||
		   ch->pos > ch->fill || ch->block_end > ch->fill || ch->pos > ch->block_end || ch->chunk > CHUNK ||
		   ch->next > INT64_MAX || ch->left > INT64_MAX - ch->next || ch->control & ~(CTL_NIEN | CTL_SRST | CTL_HOB);

	if (ch->phase == PH_PACKET)
		bad = ch->pos >= sizeof(ch->packet);
	if ((ch->phase == PH_IN || ch->phase == PH_OUT) && (!ch->block || ch->pos == ch->block_end))
		bad = true;
	if (ch->phase != PH_IDLE && ch->drive[ch->active].kind == IDE_NONE)
		bad = true;
	return bad ? -EINVAL : 0;
}

static int ide_check(const struct dev *dev, const void *state)
{
	const struct ide_state *s = state;
	int error = 0;

	(void)dev;
	for (unsigned n = 0; n < IDE_CHANNELS && !error; n++) {
		error = channel_check(&s->channel[n]);
		for (unsigned i = 0; i < IDE_DRIVES && !error; i++)
			error = drive_check(&s->channel[n].drive[i]);
		if (!error)
			error = bm_check(&s->channel[n].bm);
	}
	return error;
}

static void ide_config_init(struct dev *dev, uint8_t *config, uint8_t *wmask)
{
	(void)dev;
	/* IDETIM: decode enabled; SIDETIM.  Kept for whoever reads them back. */
	config[0x41] = config[0x43] = 0x80;
	memset(wmask + 0x40, 0xff, 5);
}

static const struct pci_ops ide_pci = {
	.vendor = 0x8086,
	.device = 0x7010,
	.subvendor = 0x1af4,
	.subdevice = 0x1100,
	.class_rev = 0x01018000,	/* mass storage, IDE, bus master, both channels in compatibility mode */
	.bar[4] = { .size = 16, .io = true, .region = REGION_BM },
	.config_init = ide_config_init,
};

#define DRIVE_KEYS(n, place) \
	{ "hd" #n, "raw disk image: " place, DEV_KEY_PATH }, \
	{ "hd" #n ".bootindex", "place in the boot order, from 0 (default: none)", DEV_KEY_TEXT }, \
	{ "cd" #n, "CD image, or nothing for an empty drive: " place, DEV_KEY_ROM }, \
	{ "cd" #n ".bootindex", "place in the boot order, from 0 (default: none)", DEV_KEY_TEXT }

static const struct dev_key ide_keys[] = {
	DRIVE_KEYS(0, "primary master"),
	DRIVE_KEYS(1, "primary slave"),
	DRIVE_KEYS(2, "secondary master"),
	DRIVE_KEYS(3, "secondary slave"),
	{ 0 }
};

const struct dev_ops ide_ops = {
	.name = "ide",
	.summary = "PIIX3 IDE controller: disks and CD-ROMs",
	.keys = ide_keys,
	.state_size = sizeof(struct ide_state),
	.bulk_size = IDE_CHANNELS * CHUNK,
	.state_version = 1,
	.init = ide_init,
	.reset = ide_reset,
	.check = ide_check,
	.read = ide_reg_read,
	.write = ide_reg_write,
	.batch_in = ide_batch_in,
	.batch_out = ide_batch_out,
	.io_done = ide_io_done,
	.pci = &ide_pci,
};
