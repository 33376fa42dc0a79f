/*
 * debugcon.c - the debug console of emulators: what is written to the port goes
 * to a character stream; a read of the port tells that it is there.
 *
 * Bochs' port E9h reads E9h; QEMU's isa-debugcon reads the same at 402h, and
 * SeaBIOS writes its log there when it does.  A posted region: a guest that
 * logs does not wait.  Bytes for which the stream has no room are lost, as on a
 * console that nobody reads.
 */
#include "devmodel/device.h"

enum { REGION_FIRMWARE, REGION_BOCHS };

struct debugcon {
	uint64_t lost;		/* bytes without room */
};

static uint64_t debugcon_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	(void)d, (void)region, (void)off, (void)size;
	return 0xe9;
}

static unsigned debugcon_batch_out(struct dev *d, unsigned region, uint64_t off, unsigned size, const void *data, unsigned n)
{
	size_t bytes = (size_t)n * size, put = chr_put(d, dev_stream(d, "chr"), data, bytes);

	(void)region, (void)off;
	if (put < bytes)
		((struct debugcon *)dev_write(d))->lost += bytes - put;
	return n;
}

static void debugcon_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	uint8_t byte = value;

	(void)size;
	debugcon_batch_out(d, region, off, 1, &byte, 1);
}

static int debugcon_init(struct dev *d, bool fresh)
{
	(void)fresh;
	dev_region(d, &(struct dev_region){ .base = 0x402, .len = 1, .id = REGION_FIRMWARE, .posted = true, .batch = true });
	dev_region(d, &(struct dev_region){ .base = 0xe9, .len = 1, .id = REGION_BOCHS, .posted = true, .batch = true });
	return 0;
}

static const struct dev_key keys[] = {
	{ "chr", "where the log goes: stdio, pty, file=PATH, unix=PATH (default: nowhere)", DEV_KEY_CHR },
	{ 0 }
};

const struct dev_ops debugcon_ops = {
	.name = "debugcon",
	.summary = "debug console at ports 402h and E9h",
	.keys = keys,
	.state_size = sizeof(struct debugcon), .state_version = 1,
	.init = debugcon_init,
	.read = debugcon_read, .write = debugcon_write, .batch_out = debugcon_batch_out,
};
