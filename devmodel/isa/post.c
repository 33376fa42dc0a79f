/*
 * post.c - port 80h: the power-on self test's progress code, which a card with
 * two digits would show.  Software also writes it to pass a microsecond.
 *
 * The code reads back from a shadow word; writes are posted.
 */
#include "devmodel/device.h"

struct post {
	uint8_t code;
	uint8_t pad[7];
};

static uint64_t post_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	(void)region, (void)off, (void)size;
	return ((const struct post *)dev_state(d))->code;
}

static void set(struct dev *d, uint8_t code)
{
	((struct post *)dev_write(d))->code = code;
	dev_shadow(d, 0, 0, code, true);
}

static void post_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	(void)region, (void)off, (void)size;
	set(d, value);
}

static void post_reset(struct dev *d)
{
	set(d, 0);
}

static int post_init(struct dev *d, bool fresh)
{
	dev_region(d, &(struct dev_region){ .base = 0x80, .len = 1, .posted = true, .shadow = true });
	set(d, fresh ? 0 : ((const struct post *)dev_state(d))->code);
	return 0;
}

const struct dev_ops post_ops = {
	.name = "post",
	.summary = "progress code at port 80h",
	.implied = "",
	.state_size = sizeof(struct post), .state_version = 1,
	.init = post_init, .reset = post_reset,
	.read = post_read, .write = post_write,
};
