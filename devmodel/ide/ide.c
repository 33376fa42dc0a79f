/*
 * devmodel/ide/ide.c - the IDE function of the PIIX3: its channels' registers,
 * interrupt lines and resets, its place on the bus, its drives.
 *
 * Intel 82371SB (PIIX3) data sheet, "IDE Controller"; ATA/ATAPI-6: I/O registers,
 * software reset, EXECUTE DEVICE DIAGNOSTIC and DEVICE RESET.
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

/* ---- lines and status */

static bool empty(const struct ide_channel *ch)
{
	return ch->drive[0].kind == IDE_NONE && ch->drive[1].kind == IDE_NONE;
}

static uint8_t status_of(const struct ide_channel *ch)
{
	const struct ide_drive *d = &ch->drive[ch->selected];

	if (empty(ch))
		return 0x7f;	/* nobody drives the bus; DD7 is pulled down */
	if (ide_in_flight(ch) || (ch->control & CTL_SRST))
		return ST_BSY;
	return d->kind == IDE_NONE ? 0 : d->status;
}

/* INTRQ, of the selected drive. */
static void tell_irq(struct dev *dev, unsigned n)
{
	const struct ide_channel *ch = ide_channel_of(dev, n);
	bool level = ch->drive[ch->selected].irq && !(ch->control & CTL_NIEN);
	struct ide_channel *w;

	if (level == ch->irq_level)
		return;
	w = ide_channel_write(dev, n).ch;
	w->irq_level = level;
	if (level)
		w->bm.status |= BM_ST_IRQ;
	dev_irq(dev, wiring[n].irq, level);
}

/* Shows what follows from the state. */
void ide_tell(struct dev *dev, unsigned n)
{
	const struct ide_channel *ch = ide_channel_of(dev, n);
	uint8_t status = status_of(ch);

	tell_irq(dev, n);
	if (status != ch->shadow) {
		ide_channel_write(dev, n).ch->shadow = status;
		dev_shadow(dev, n * CHANNEL_REGIONS + REGION_CONTROL, 0, status, true);
	}
}

/* ---- resets */

static void software_reset(struct ide *u)
{
	ide_abandon(u);
	u->ch->selected = 0;
	for (unsigned i = 0; i < IDE_DRIVES; i++) {
		ide_signature(&u->ch->drive[i]);
		u->ch->drive[i].standby = 0;
	}
}

/* EXECUTE DEVICE DIAGNOSTIC: both drives, whichever is selected. */
static void diagnostic(struct ide *u)
{
	ide_abandon(u);
	u->ch->selected = 0;
	for (unsigned i = 0; i < IDE_DRIVES; i++)
		ide_signature(&u->ch->drive[i]);
	u->ch->drive[0].irq = u->ch->drive[0].kind != IDE_NONE;
}

/* DEVICE RESET is the one command that a busy packet device takes. */
static void device_reset(struct ide *u)
{
	if (u->ch->phase != PH_IDLE && u->ch->active == u->ch->selected)
		ide_abandon(u);
	ide_signature(&u->ch->drive[u->ch->selected]);
}

/* ---- registers */

static uint8_t command_reg_read(struct dev *dev, unsigned n, unsigned reg)
{
	const struct ide_channel *ch = ide_channel_of(dev, n);
	const struct ide_drive *d = &ch->drive[ch->selected];
	bool old = ch->control & CTL_HOB;

	if (reg == REG_STATUS_COMMAND) {
		uint8_t status = status_of(ch);

		if (d->irq) {
			ide_channel_write(dev, n).ch->drive[ch->selected].irq = 0;
			ide_tell(dev, n);
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
	const struct ide_channel *ch = ide_channel_of(dev, n);
	uint8_t kind = ch->drive[ch->selected].kind;
	struct ide u;

	if (ch->control & CTL_SRST)
		return;
	u = ide_channel_write(dev, n);
	if (command == CMD_DEVICE_RESET && kind == IDE_CD) {
		device_reset(&u);
		return;
	}
	if (ide_in_flight(ch))
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
	struct ide u = ide_channel_write(dev, n);

	u.ch->control &= ~CTL_HOB;
	if (reg == REG_STATUS_COMMAND) {
		run_command(dev, n, value);
	} else if (!ide_in_flight(u.ch)) {
		for (unsigned i = 0; i < IDE_DRIVES; i++)
			regs_write(&u.ch->drive[i].regs, reg, value);
		if (reg == REG_DEVICE)
			u.ch->selected = !!(value & DEV_DRIVE1);
	}
	ide_tell(dev, n);
}

static void control_write(struct dev *dev, unsigned n, uint8_t value)
{
	struct ide u = ide_channel_write(dev, n);
	bool reset = ~u.ch->control & value & CTL_SRST;

	u.ch->control = value & (CTL_NIEN | CTL_SRST | CTL_HOB);
	if (reset)
		software_reset(&u);
	ide_tell(dev, n);
}

/* ---- accesses */

static uint64_t ide_reg_read(struct dev *dev, unsigned region, uint64_t off, unsigned size)
{
	unsigned n = region / CHANNEL_REGIONS;
	uint64_t value = 0;

	if (region == REGION_BM)
		return bm_read(ide_channel_of(dev, off / 8 % IDE_CHANNELS), off % 8, size);
	if (region % CHANNEL_REGIONS == REGION_CONTROL)
		return status_of(ide_channel_of(dev, n));
	if (off == REG_DATA)
		return ide_data_in(dev, n, size);
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)command_reg_read(dev, n, off + i) << 8 * i;
	return value;
}

static void ide_reg_write(struct dev *dev, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	unsigned n = region / CHANNEL_REGIONS;

	if (region == REGION_BM) {
		struct ide u = ide_channel_write(dev, off / 8 % IDE_CHANNELS);

		bm_write(&u, off % 8, size, value);
		ide_tell(dev, u.n);
	} else if (region % CHANNEL_REGIONS == REGION_CONTROL) {
		control_write(dev, n, value);
	} else if (off == REG_DATA) {
		ide_data_out(dev, n, size, value);
	} else {
		for (unsigned i = 0; i < size; i++)
			command_reg_write(dev, n, off + i, value >> 8 * i);
	}
}

static unsigned ide_batch_in(struct dev *dev, unsigned region, uint64_t off, unsigned size, void *data, unsigned n)
{
	uint64_t value;

	if (region < REGION_BM && region % CHANNEL_REGIONS == REGION_COMMAND && off == REG_DATA)
		return ide_data_batch_in(dev, region / CHANNEL_REGIONS, size, data, n);
	value = ide_reg_read(dev, region, off, size);
	memcpy(data, &value, size);
	return 1;
}

static unsigned ide_batch_out(struct dev *dev, unsigned region, uint64_t off, unsigned size, const void *data, unsigned n)
{
	uint64_t value = 0;

	if (region < REGION_BM && region % CHANNEL_REGIONS == REGION_COMMAND && off == REG_DATA)
		return ide_data_batch_out(dev, region / CHANNEL_REGIONS, size, data, n);
	memcpy(&value, data, size);
	ide_reg_write(dev, region, off, size, value);
	return 1;
}

/* ---- life */

static void channel_reset(struct dev *dev, unsigned n)
{
	struct ide u = ide_channel_write(dev, n);

	u.ch->control = 0;
	bm_reset(&u.ch->bm);
	software_reset(&u);
	for (unsigned i = 0; i < IDE_DRIVES; i++)
		ata_power_on(&u.ch->drive[i]);
	u.ch->shadow = ~status_of(u.ch);
	ide_tell(dev, n);
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
			ide_channel_write(dev, n).ch->shadow = ~status_of(ide_channel_of(dev, n));
			ide_tell(dev, n);
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

/* Nothing that the transfer engine adds up may leave the buffer, and all that it takes apart must shrink. */
static bool bad_transfer(const struct ide_channel *ch)
{
	unsigned unit = ch->drive[ch->active].kind == IDE_CD ? CD_SECTOR : SECTOR;

	if (ch->fill > CHUNK || ch->pos > ch->block_end || ch->block_end > ch->fill || ch->chunk > CHUNK ||
	    ch->next > INT64_MAX || ch->left > INT64_MAX - ch->next)
		return true;
	switch (ch->phase) {
	case PH_IDLE: case PH_ABANDON: case PH_FLUSH:
		return false;
	case PH_PACKET:
		return ch->fill != sizeof(ch->packet) || ch->pos >= ch->fill;
	case PH_IN: case PH_OUT:
		if (!ch->block || ch->pos == ch->block_end)
			return true;
		break;
	case PH_WRITE:
		if (!ch->to_device)
			return true;
		break;
	}
	if (ch->to_device && (ch->fill > ch->left || ch->fill % SECTOR || !ch->fill))
		return true;
	return !ch->block || !ch->chunk || ch->chunk % unit || ch->left % unit || ch->next % unit;
}

static int channel_check(const struct ide_channel *ch)
{
	bool bad = ch->selected >= IDE_DRIVES || ch->active >= IDE_DRIVES || ch->phase >= PHASES || ch->irq_level > 1 ||
		   ch->dma > 1 || ch->to_device > 1 || ch->verify > 1 || ch->flush_after > 1 ||
		   ch->control & ~(CTL_NIEN | CTL_SRST | CTL_HOB);

	if (bad || bad_transfer(ch) || (ch->phase != PH_IDLE && ch->drive[ch->active].kind == IDE_NONE))
		return -EINVAL;
	return 0;
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
