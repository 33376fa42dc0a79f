/*
 * flash.c - the flash chip in which firmware keeps its variables: commands,
 * status, and the file behind it.
 *
 * Intel's basic command set (CFI primary command set 0001h; JEDEC JESD68,
 * Intel 28F128J3 data sheet 290667), 8 bits wide, blocks of 4 KiB.  Where this
 * chip departs from the data sheet it is the one that UEFI firmware for virtual
 * machines (OVMF's QemuFlashFvbServicesRuntimeDxe) knows:
 *
 *   - a cleared status register reads 00h and not 80h, until the next operation;
 *   - operations end at once, so the chip is never busy and nothing is suspended;
 *   - blocks cannot be locked; the lock commands succeed.
 *
 * What guests read is memory that both processes map.  In read-array mode the
 * engine serves it without asking; in any other a slot hides it, so that reads
 * come here too.
 *
 * A bit is programmed from 1 to 0 and erased, with its block, to 1.  So an
 * operation that is done again after a crash changes nothing.  The file is
 * written first, then the memory, then the transaction commits: what the
 * guest has read is in the file, and in the order in which it was programmed.
 * One operation lies in one block (an access never crosses a page), which is one
 * page of the host's page cache and one write(2), and that no signal cuts in two.  So whatever dies at
 * whatever instant, the file is as if the chip had lost its power between two
 * operations, which firmware is made for.  That is why this one device writes
 * its file itself: a worker's queue would lose the order.
 *
 * Must not know: variables, or where firmware keeps them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devmodel/machine.h"
#include "devmodel/txn.h"
#include "ipc/link.h"

enum { BLOCK = 4096, BUFFER = 64, FLASH_MAX = 16 << 20 };

/* What a read shows. */
enum view { VIEW_ARRAY, VIEW_STATUS, VIEW_ID, VIEW_QUERY, VIEWS };

/* What the next write is. */
enum phase {
	PHASE_COMMAND,
	PHASE_PROGRAM,		/* the datum */
	PHASE_ERASE,		/* the confirmation */
	PHASE_LOCK,		/* what to do with the lock */
	PHASE_COUNT,		/* of the buffer: bytes to come, less one */
	PHASE_FIRST,		/* the first byte, which says where the buffer goes */
	PHASE_DATA,
	PHASE_CONFIRM,
	PHASES
};

enum {
	CMD_CLEAR_STATUS = 0x50, CMD_CONFIRM = 0xd0,
	LOCK_SET = 0x01, LOCK_DOWN = 0x2f,

	SR_READY = 0x80, SR_ERASE_ERROR = 0x20, SR_PROGRAM_ERROR = 0x10,
	SR_SEQUENCE_ERROR = SR_ERASE_ERROR | SR_PROGRAM_ERROR,
};

struct flash {
	uint8_t view, phase;
	uint8_t status;
	uint8_t left;			/* bytes of the buffer that are to come */
	uint32_t at;			/* where the buffer goes */
	uint8_t buffer[BUFFER];		/* FFh: programs nothing */
};

/* The commands; any other is a way back to the array. */
static const struct { uint8_t view, phase; } command[256] = {
	[0x10] = { VIEW_STATUS, PHASE_PROGRAM },
	[0x20] = { VIEW_STATUS, PHASE_ERASE },
	[0x40] = { VIEW_STATUS, PHASE_PROGRAM },
	[0x60] = { VIEW_STATUS, PHASE_LOCK },
	[0x70] = { VIEW_STATUS, PHASE_COMMAND },
	[0x90] = { VIEW_ID, PHASE_COMMAND },
	[0x98] = { VIEW_QUERY, PHASE_COMMAND },
	[0xb0] = { VIEW_STATUS, PHASE_COMMAND },	/* suspend */
	[0xd0] = { VIEW_STATUS, PHASE_COMMAND },	/* resume */
	[0xe8] = { VIEW_STATUS, PHASE_COUNT },
	[0xff] = { VIEW_ARRAY, PHASE_COMMAND },
};

/* Of this process: the file, -1 where what is written stays in memory. */
struct flash_file {
	int fd;
};

/* ---- what reads show */

static void hide_array(struct dev *d, bool hide)
{
	const struct conf_machine *c = &d->m->conf;

	dev_map(d, MAP_SLOT_FLASH, LINK_MAP_NONE, c->flash_base, hide ? c->flash_bytes : 0, 0);
}

static void show(struct dev *d, uint8_t view)
{
	struct flash *s = dev_write(d);

	if ((s->view == VIEW_ARRAY) != (view == VIEW_ARRAY))
		hide_array(d, view != VIEW_ARRAY);
	s->view = view;
}

static uint8_t id_byte(uint64_t off)
{
	enum { INTEL = 0x89, I28F128J3 = 0x18 };

	switch (off & 0xff) {
	case 0: return INTEL;
	case 1: return I28F128J3;
	default: return 0;	/* blocks are not locked */
	}
}

/* Rounded up: the erase region tells the true size. */
static unsigned log2_of(uint64_t n)
{
	return n < 2 ? 0 : 64 - __builtin_clzll(n - 1);
}

static uint8_t query_byte(const struct dev *d, uint64_t off)
{
	uint64_t bytes = d->m->conf.flash_bytes, blocks = bytes / BLOCK - 1;
	const uint8_t table[] = {
		[0x10] = 'Q', 'R', 'Y',
		[0x13] = 0x01, 0x00, 0x31, 0x00,	/* command set 0001h, its table at 31h */
		[0x1b] = 0x45, 0x55,			/* 4.5 to 5.5 V, nothing to program with */
		[0x1f] = 1, 1, 1,			/* 2^n us for a byte, a buffer; 2^n ms for a block: at once */
		[0x23] = 1, 1, 1,			/* at most 2^n times that */
		[0x27] = log2_of(bytes),
		[0x28] = 0x00, 0x00,			/* 8 bits wide */
		[0x2a] = log2_of(BUFFER), 0x00,
		[0x2c] = 1,				/* one region of equal blocks: their number less one, size / 256 */
		[0x2d] = blocks & 0xff, blocks >> 8, BLOCK / 256 & 0xff, BLOCK / 256 >> 8,
		[0x31] = 'P', 'R', 'I', '1', '0',	/* no optional commands */
		[0x3f] = 0,
	};

	return (off & 0xff) < sizeof(table) ? table[off & 0xff] : 0;
}

static uint8_t byte_at(const struct dev *d, uint64_t off)
{
	const struct flash *s = dev_state(d);

	switch (s->view) {
	case VIEW_STATUS: return s->status;
	case VIEW_ID: return id_byte(off);
	case VIEW_QUERY: return query_byte(d, off);
	default: return d->m->flash[off];
	}
}

static uint64_t flash_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	uint64_t v = 0;

	(void)region;
	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)byte_at(d, off + i) << 8 * i;
	return v;
}

/* ---- operations */

static int write_file(int fd, const uint8_t *from, size_t n, uint64_t off)
{
	while (n) {
		ssize_t done = pwrite(fd, from, n, off);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return done < 0 ? -errno : -EIO;
		from += done;
		off += done;
		n -= done;
	}
	return 0;
}

/* The array at [off, off + n), within one block, becomes `bytes`.  `failure`: the status bit that says that it does not. */
static void store(struct dev *d, uint64_t off, const uint8_t *bytes, size_t n, uint8_t failure)
{
	const struct flash_file *file = dev_private(d);
	struct flash *s = dev_write(d);
	int err = file->fd < 0 ? 0 : write_file(file->fd, bytes, n, off);

	TXN_STEP("flash.file");
	s->status |= SR_READY | (err ? failure : 0);
	if (err)
		dev_log(d, "the firmware's variables cannot be written to their file: %s", strerror(-err));
	else
		memcpy(d->m->flash + off, bytes, n);
}

static void program(struct dev *d, uint64_t off, const uint8_t *bytes, size_t n)
{
	uint8_t new[BUFFER];

	for (size_t i = 0; i < n; i++)
		new[i] = d->m->flash[off + i] & bytes[i];
	store(d, off, new, n, SR_PROGRAM_ERROR);
}

static void erase(struct dev *d, uint64_t off)
{
	uint8_t new[BLOCK];

	memset(new, 0xff, sizeof(new));
	store(d, off & ~(uint64_t)(BLOCK - 1), new, sizeof(new), SR_ERASE_ERROR);
}

static void sequence_error(struct flash *s)
{
	s->status |= SR_READY | SR_SEQUENCE_ERROR;
	s->phase = PHASE_COMMAND;
}

/* ---- writes */

static void take_command(struct dev *d, uint8_t c)
{
	struct flash *s = dev_write(d);

	if (c == CMD_CLEAR_STATUS) {
		s->status = 0;
		return;
	}
	s->phase = command[c].phase;
	show(d, command[c].view);
	if (s->phase == PHASE_COUNT)
		s->status |= SR_READY;	/* there is a buffer */
}

static void take_program(struct dev *d, uint64_t off, unsigned size, uint64_t value)
{
	struct flash *s = dev_write(d);

	program(d, off, (const uint8_t *)&value, size);
	s->phase = PHASE_COMMAND;
}

static void take_erase(struct dev *d, uint64_t off, uint8_t c)
{
	struct flash *s = dev_write(d);

	if (c != CMD_CONFIRM) {
		sequence_error(s);
		return;
	}
	erase(d, off);
	s->phase = PHASE_COMMAND;
}

static void take_lock(struct dev *d, uint8_t c)
{
	struct flash *s = dev_write(d);

	if (c != LOCK_SET && c != LOCK_DOWN && c != CMD_CONFIRM) {
		sequence_error(s);
		return;
	}
	s->status |= SR_READY;
	s->phase = PHASE_COMMAND;
}

static void take_count(struct dev *d, uint8_t count)
{
	struct flash *s = dev_write(d);

	if (count >= BUFFER) {
		sequence_error(s);
		return;
	}
	s->left = count + 1;
	s->phase = PHASE_FIRST;
}

static void take_data(struct dev *d, uint64_t off, unsigned size, uint64_t value)
{
	struct flash *s = dev_write(d);

	if (s->phase == PHASE_FIRST) {
		s->at = off & ~(uint64_t)(BUFFER - 1);
		memset(s->buffer, 0xff, sizeof(s->buffer));
		s->phase = PHASE_DATA;
	}
	if (off < s->at || off - s->at > BUFFER - size || size > s->left) {
		sequence_error(s);
		return;
	}
	memcpy(s->buffer + (off - s->at), &value, size);
	s->left -= size;
	if (!s->left)
		s->phase = PHASE_CONFIRM;
}

static void take_confirm(struct dev *d, uint8_t c)
{
	struct flash *s = dev_write(d);

	if (c != CMD_CONFIRM) {
		sequence_error(s);
		return;
	}
	program(d, s->at, s->buffer, BUFFER);
	s->phase = PHASE_COMMAND;
}

static void flash_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	const struct flash *s = dev_state(d);

	(void)region;
	switch (s->phase) {
	case PHASE_PROGRAM: take_program(d, off, size, value); break;
	case PHASE_ERASE: take_erase(d, off, value); break;
	case PHASE_LOCK: take_lock(d, value); break;
	case PHASE_COUNT: take_count(d, value); break;
	case PHASE_FIRST:
	case PHASE_DATA: take_data(d, off, size, value); break;
	case PHASE_CONFIRM: take_confirm(d, value); break;
	default: take_command(d, value); break;
	}
}

/* ---- life */

static void flash_reset(struct dev *d)
{
	struct flash *s = dev_write(d);

	if (!d->m->flash)
		return;
	show(d, VIEW_ARRAY);
	s->phase = PHASE_COMMAND;
	s->status = SR_READY;
}

static int flash_check(const struct dev *d, const void *state)
{
	const struct flash *s = state;
	uint64_t bytes = d->m->conf.flash_bytes;

	if (s->view >= VIEWS || s->phase >= PHASES || s->left > BUFFER)
		return -EINVAL;
	return s->at % BUFFER || (s->at && s->at > bytes - BUFFER) ? -EINVAL : 0;
}

static int load(struct dev *d, int fd)
{
	uint64_t bytes = d->m->conf.flash_bytes;
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if ((uint64_t)st.st_size != bytes) {
		dev_error(d, "vars: the file has changed its size meanwhile");
		return -EINVAL;
	}
	for (uint64_t at = 0; at < bytes;) {
		ssize_t n = pread(fd, d->m->flash + at, bytes - at, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			dev_error(d, "vars: cannot be read: %s", n < 0 ? strerror(errno) : "the file is shorter than it was");
			return -EIO;
		}
		at += n;
	}
	return 0;
}

/* What stands in the flash at power-on, and where it is kept. */
static int attach(struct dev *d, struct flash_file *file, bool fresh)
{
	int fd = dev_conf_fd(d, "vars"), err = 0;

	if (fd < 0 && fresh)
		memset(d->m->flash, 0xff, d->m->conf.flash_bytes);
	else if (fresh)
		err = load(d, fd);
	if (fd >= 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY)
		file->fd = fd;
	else if (fd >= 0 && fresh && !err)
		dev_log(d, "firmware's variables end with the machine: their file is only read (-l bootrom,CODE,VARS names one that keeps them)");
	return err;
}

static int flash_init(struct dev *d, bool fresh)
{
	const struct conf_machine *c = &d->m->conf;
	struct flash_file *file;
	int err;

	if (!d->m->flash && dev_conf(d, "vars")) {
		dev_error(d, "variables go with a boot ROM: -l bootrom,CODE,VARS");
		return -EINVAL;
	}
	if (!d->m->flash)
		return 0;
	if (c->flash_bytes > FLASH_MAX || c->flash_bytes % BLOCK || c->flash_base % BLOCK) {
		dev_error(d, "flash of %llu bytes: whole blocks of %d, at most 16 MiB, are possible", (unsigned long long)c->flash_bytes, BLOCK);
		return -EINVAL;
	}
	file = malloc(sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->fd = -1;
	dev_set_private(d, file);
	err = attach(d, file, fresh);
	dev_region(d, &(struct dev_region){ .base = c->flash_base, .len = c->flash_bytes, .mmio = true });
	if (fresh)
		((struct flash *)dev_write(d))->status = SR_READY;
	/* A state that was damaged has been made anew: the engine may have another one in mind. */
	hide_array(d, ((const struct flash *)dev_state(d))->view != VIEW_ARRAY);
	return err;
}

static void flash_fini(struct dev *d)
{
	free(dev_private(d));
}

static const struct dev_key keys[] = {
	{ "vars", "a file for firmware's variables; with ro it is only read at the start", DEV_KEY_PATH },
	{ 0 }
};

const struct dev_ops flash_ops = {
	.name = "flash",
	.summary = "firmware's flash, below the boot ROM",
	.keys = keys, .implied = "",
	.state_size = sizeof(struct flash), .state_version = 1,
	.init = flash_init, .fini = flash_fini, .reset = flash_reset, .check = flash_check,
	.read = flash_read, .write = flash_write,
};
