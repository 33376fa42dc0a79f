/*
 * testdev.c - two ports for guests that are tests, each there only when asked
 * for: isa-debug-exit ends the VM with a status, pvpanic tells of a guest's
 * panic (QEMU docs/specs/pvpanic).
 */
#include <errno.h>
#include <stdlib.h>

#include "devmodel/device.h"
#include "ipc/link.h"

/* A port number from the configuration. */
static int port_key(struct dev *d, const char *key, unsigned standard, unsigned *port)
{
	const char *text = dev_conf(d, key);
	char *end;
	unsigned long v;

	*port = standard;
	if (!text)
		return 0;
	errno = 0;
	v = strtoul(text, &end, 0);
	if (errno || end == text || *end || v > 0xfff0) {
		dev_error(d, "%s=%s: a port number from 0 to 0xfff0 is wanted", key, text);
		return -EINVAL;
	}
	*port = v;
	return 0;
}

/* ---- isa-debug-exit */

static void exit_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	(void)region, (void)off, (void)size;
	dev_power(d, LINK_POWER_EXIT, (value << 1 | 1) & 0xff);
}

static uint64_t exit_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	(void)d, (void)region, (void)off, (void)size;
	return 0;
}

static int exit_init(struct dev *d, bool fresh)
{
	unsigned port;
	int err = port_key(d, "iobase", 0x501, &port);

	(void)fresh;
	if (!err)
		dev_region(d, &(struct dev_region){ .base = port, .len = 4 });
	return err;
}

static const struct dev_key exit_keys[] = {
	{ "iobase", "its port (default 0x501)", DEV_KEY_TEXT },
	{ 0 }
};

const struct dev_ops debug_exit_ops = {
	.name = "isa-debug-exit",
	.summary = "a write of V ends the VM with exit status 2V+1",
	.keys = exit_keys,
	.state_size = 8, .state_version = 1,
	.init = exit_init,
	.read = exit_read, .write = exit_write,
};

/* ---- pvpanic */

enum { PVPANIC_PANICKED = 1 };

static uint64_t pvpanic_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	(void)d, (void)region, (void)off, (void)size;
	return PVPANIC_PANICKED;	/* the events that are understood */
}

static void pvpanic_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	(void)region, (void)off, (void)size;
	if (value & PVPANIC_PANICKED)
		dev_power(d, LINK_POWER_PANIC, 0);
}

static int pvpanic_init(struct dev *d, bool fresh)
{
	unsigned port;
	int err = port_key(d, "ioport", 0x505, &port);

	(void)fresh;
	if (!err)
		dev_region(d, &(struct dev_region){ .base = port, .len = 1 });
	return err;
}

static const struct dev_key pvpanic_keys[] = {
	{ "ioport", "its port (default 0x505)", DEV_KEY_TEXT },
	{ 0 }
};

const struct dev_ops pvpanic_ops = {
	.name = "pvpanic",
	.summary = "a guest tells that it has panicked",
	.keys = pvpanic_keys,
	.state_size = 8, .state_version = 1,
	.init = pvpanic_init,
	.read = pvpanic_read, .write = pvpanic_write,
};
