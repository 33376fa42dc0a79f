/*
 * devmodel/ide/ide.h - what the parts of the IDE controller share: the state
 * and the transfer engine.
 *
 *	ide.c    channels and registers, resets, the operations table
 *	xfer.c   the transfer engine and the data port
 *	ata.c    the commands of disks
 *	atapi.c  the packet commands of CD-ROMs
 *	bmdma.c  the bus master
 *
 * A command moves its data through the channel's buffer of CHUNK bytes:
 *
 *	                 ┌── PH_READ ──┐ chunk full             ┌─ block given ─┐
 *	  file ──────────┴─────────────┴──► buffer ──► PH_IN ───┴───────────────┴──► guest
 *	  file ◄── PH_WRITE ─────────────── buffer ◄── PH_OUT ────────────────────── guest
 *	                                       ▲▼
 *	                                     PH_DMA ◄──► guest memory
 *
 * `pos` is where the guest stands in the buffer, `block_end` the end of the DRQ
 * block it may move before the next interrupt, `fill` the end of the chunk.
 * For PH_READ and PH_IN bytes below `fill` are not changed until `pos` has
 * reached it; for PH_OUT only bytes from `pos` on are written.  `next` and
 * `left` count what of the image is beyond the buffer.  Commands without an
 * image (IDENTIFY, packet replies) fill the buffer themselves and leave `left` 0.
 *
 * While PH_READ, PH_WRITE, PH_FLUSH or PH_ABANDON holds, a back-end operation is
 * in flight in the slot of the channel's number, and the channel is busy.
 */
#ifndef CLEAVE_DEVMODEL_IDE_IDE_H
#define CLEAVE_DEVMODEL_IDE_IDE_H

#include "devmodel/device.h"

enum { IDE_CHANNELS = 2, IDE_DRIVES = 2, SECTOR = 512, CD_SECTOR = 2048, CHUNK = 256 * SECTOR, MAX_MULTIPLE = 128 };

/* Status and error registers (ATA/ATAPI-7, 6.?: Status, Error). */
enum { ST_ERR = 0x01, ST_DRQ = 0x08, ST_DSC = 0x10, ST_DF = 0x20, ST_DRDY = 0x40, ST_BSY = 0x80, ST_READY = ST_DRDY | ST_DSC };
enum { ER_ABRT = 0x04, ER_IDNF = 0x10, ER_UNC = 0x40, ER_WP = 0x40 };
enum { CMD_DEVICE_RESET = 0x08, CMD_DIAGNOSTIC = 0x90, CMD_PACKET = 0xa0 };
enum { CTL_NIEN = 0x02, CTL_SRST = 0x04, CTL_HOB = 0x80 };
enum { DEV_DRIVE1 = 0x10, DEV_LBA = 0x40, DEV_OBSOLETE = 0xa0 };
/* Bus master registers (PIIX3 data sheet, BMICX and BMISX). */
enum { BM_CMD_START = 0x01, BM_CMD_TO_MEMORY = 0x08 };
enum { BM_ST_ACTIVE = 0x01, BM_ST_ERROR = 0x02, BM_ST_IRQ = 0x04, BM_ST_DRIVES = 0x60 };
/* Interrupt reason of packet commands, in the sector count register. */
enum { REASON_COD = 0x01, REASON_IO = 0x02 };

enum ide_kind { IDE_NONE, IDE_DISK, IDE_CD, IDE_KINDS };

enum ide_phase {
	PH_IDLE,
	PH_READ,	/* the image fills the buffer */
	PH_IN,		/* the guest reads the buffer through the data port */
	PH_OUT,		/* the guest writes the buffer through the data port */
	PH_WRITE,	/* the buffer goes to the image */
	PH_FLUSH,
	PH_DMA,		/* the bus master may move the buffer */
	PH_PACKET,	/* the guest writes a command packet */
	PH_ABANDON,	/* reset while an operation was in flight: busy until it has ended */
	PHASES
};

struct ide_regs {
	uint8_t feature, count, lba[3], device;
	uint8_t old_count, old_lba[3];	/* what the last write pushed out: the high bytes of 48-bit commands */
};

struct ide_drive {
	uint8_t kind;			/* enum ide_kind */
	uint8_t blk;			/* dev_blk() number; an empty CD drive has none */
	uint8_t medium, readonly;
	uint64_t sectors;		/* of 512 bytes, CDs too */
	struct ide_regs regs;
	uint8_t status, error;
	uint8_t irq;			/* INTRQ wants to be asserted */
	/* disks */
	uint8_t multiple;		/* sectors in a READ MULTIPLE block, 0: off */
	uint8_t heads, spt;		/* translation as the guest set it */
	uint8_t standby, write_cache, look_ahead;
	uint8_t xfer_mode;		/* SET FEATURES 03h */
	/* CD-ROMs */
	uint8_t sense_key, asc, ascq;
	uint8_t attention;		/* unit attention to be reported: ASC */
	uint8_t locked, open;
};

struct ide_busmaster {
	uint8_t command, status;
	uint8_t last;			/* the entry in hand ends the table */
	uint32_t table;
	uint32_t next;			/* address of the next entry */
	uint32_t addr, bytes;		/* rest of the entry in hand */
};

struct ide_channel {
	struct ide_drive drive[IDE_DRIVES];
	struct ide_busmaster bm;
	uint8_t selected;
	uint8_t control;
	uint8_t irq_level, shadow;	/* as told */
	/* the command in hand */
	uint8_t phase;			/* enum ide_phase */
	uint8_t active;			/* drive that has it */
	uint8_t dma, to_device, verify, flush_after;
	uint8_t command;
	uint8_t packet[12];
	uint32_t pos, block_end, fill;
	uint32_t block;			/* bytes of a DRQ block */
	uint32_t chunk;			/* bytes of the next operation at most */
	uint64_t next, left;		/* bytes */
};

struct ide_state {
	struct ide_channel channel[IDE_CHANNELS];
};

/* One channel during one transaction; `drive` is the one the command in hand is for. */
struct ide {
	struct dev *dev;
	unsigned n;
	struct ide_channel *ch;
	struct ide_drive *drive;
	uint8_t *buf;
};

static inline const struct ide_channel *ide_channel_of(const struct dev *dev, unsigned n)
{
	return &((const struct ide_state *)dev_state(dev))->channel[n];
}

/* A channel to be changed; the drive is the one in command, or when idle the selected one. */
static inline struct ide ide_channel_write(struct dev *dev, unsigned n)
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

/* The image uses the buffer: the channel is busy. */
static inline bool ide_in_flight(const struct ide_channel *ch)
{
	return ch->phase == PH_READ || ch->phase == PH_WRITE || ch->phase == PH_FLUSH || ch->phase == PH_ABANDON;
}

/* Shows the guest what follows from the state: INTRQ and the alternate status (ide.c). */
void ide_tell(struct dev *, unsigned channel);

/* ---- transfer engine (xfer.c) */

void ide_irq(struct ide *);
/* The command ended: well, or with this error register. */
void ide_complete(struct ide *);
void ide_fail(struct ide *, uint8_t error);
void ide_signature(struct ide_drive *);

/*
 * Data phases.  The image range must have been checked; `block` is the DRQ
 * block in bytes.  ide_reply() gives the guest `n` bytes that stand in the
 * buffer.
 */
struct ide_range { uint64_t off, n; uint32_t block; bool dma; };
void ide_read_image(struct ide *, struct ide_range);
void ide_write_image(struct ide *, struct ide_range);
void ide_verify_image(struct ide *, struct ide_range);
void ide_flush(struct ide *);
void ide_reply(struct ide *, uint32_t n, uint32_t block, bool dma);
/* The bus master has moved the buffer to or from memory up to `fill`. */
void ide_buffer_moved(struct ide *);
/* A reset: the command in hand, if any, has no end that the guest would see. */
void ide_abandon(struct ide *);
void ide_io_done(struct dev *, unsigned slot, int error);

/* The data port; batches as in struct dev_ops. */
uint64_t ide_data_in(struct dev *, unsigned channel, unsigned size);
void ide_data_out(struct dev *, unsigned channel, unsigned size, uint64_t value);
unsigned ide_data_batch_in(struct dev *, unsigned channel, unsigned size, void *data, unsigned n);
unsigned ide_data_batch_out(struct dev *, unsigned channel, unsigned size, const void *data, unsigned n);

/* ---- IDENTIFY data (ata.c) */
void ide_identify_string(uint8_t *to, const char *s, unsigned n);
void ide_put16(uint8_t *words, unsigned word, uint16_t value);

/* ---- commands */

void ata_command(struct ide *, uint8_t command);
void ata_power_on(struct ide_drive *);
void atapi_command(struct ide *, uint8_t command);
void atapi_packet(struct ide *);
void atapi_read_error(struct ide *);
/* Ends a packet command with sense data; key 0 ends it well. */
void atapi_end(struct ide *, uint8_t key, uint8_t asc, uint8_t ascq);

/* ---- bus master */

uint64_t bm_read(const struct ide_channel *, unsigned off, unsigned size);
void bm_write(struct ide *, unsigned off, unsigned size, uint32_t value);
void bm_run(struct ide *);		/* moves what can be moved in PH_DMA */
void bm_reset(struct ide_busmaster *);
int bm_check(const struct ide_busmaster *);

#endif
