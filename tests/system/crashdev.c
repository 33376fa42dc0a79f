/*
 * tests/system/crashdev.c - a device that kills its process when the guest asks
 * for it: what quarantine is tried on.
 *
 * In libdevmodel_faults.a and what is linked with it, tests alone; the daemon
 * that is installed does not have it.
 *
 *	5C0h write	1: a null pointer; 2: abort(); 3: an endless loop; 4: a
 *			timer is armed that does 1; 5: exit()
 *	5C0h read	43h
 *	5C1h		a byte that a reset clears
 */
#include <signal.h>
#include <stdlib.h>

#include "devmodel/device.h"

enum { BASE = 0x5c0, CRASH_DEREFERENCE = 1, CRASH_ABORT, CRASH_HANG, CRASH_TIMER, CRASH_EXIT };

struct crash_state {
	uint8_t scratch;
};

/* By the signal itself, also where a sanitizer would catch it. */
static void die_of(int signal_)
{
	signal(signal_, SIG_DFL);
	raise(signal_);
}

static void crash_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	(void)region, (void)size;
	if (off) {
		((struct crash_state *)dev_write(d))->scratch = value;
		return;
	}
	switch (value) {
	case CRASH_DEREFERENCE:
		die_of(SIGSEGV);
		break;
	case CRASH_ABORT:
		die_of(SIGABRT);
		break;
	case CRASH_HANG:
		for (volatile bool forever = true; forever;)
			;
		break;
	case CRASH_TIMER:
		dev_timer(d, 0, dev_now(d) + 1000000);
		break;
	case CRASH_EXIT:
		_Exit(3);
	}
}

static uint64_t crash_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	(void)region, (void)size;
	return off ? ((const struct crash_state *)dev_state(d))->scratch : 0x43;
}

static void crash_timer(struct dev *d, unsigned timer)
{
	(void)d, (void)timer;
	die_of(SIGSEGV);
}

static void crash_reset(struct dev *d)
{
	((struct crash_state *)dev_write(d))->scratch = 0;
}

static int crash_init(struct dev *d, bool fresh)
{
	(void)fresh;
	dev_region(d, &(struct dev_region){ .base = BASE, .len = 2 });
	return 0;
}

const struct dev_ops crash_ops = {
	.name = "crash",
	.summary = "kills the device model, for tests",
	.state_size = sizeof(struct crash_state),
	.state_version = 1,
	.init = crash_init,
	.reset = crash_reset,
	.read = crash_read,
	.write = crash_write,
	.timer = crash_timer,
};
