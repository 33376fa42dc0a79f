/*
 * ctl/disks.c - a running machine's disks.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"

/* 1000, 64K, 10G: a whole number of bytes, KiB ... TiB. */
static bool parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	unsigned shift = 0;
	const char *unit;
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (end == text || errno || *text == '-')
		return false;
	if (*end) {
		unit = strchr(units, *end & ~0x20);
		if (!unit || end[1])
			return false;
		shift = 10 * (unit - units + 1);
	}
	if (!n || n > (uint64_t)INT64_MAX >> shift)
		return false;
	*bytes = (uint64_t)n << shift;
	return true;
}

/* SLOT[:FUNC][,SIZE] */
static bool parse_disk(const char *text, Cleave__ResizeDisk *to)
{
	if (!ctl_slot(&text, &to->slot, &to->function))
		return false;
	return !*text || parse_size(text + 1, &to->bytes);
}

static int resize(struct ctl *c, const char *rest, const char *value)
{
	Cleave__ResizeDisk d = CLEAVE__RESIZE_DISK__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;

	(void)rest;
	if (!parse_disk(value, &d))
		return ctl_error(EINVAL, "--resize-disk=%s: SLOT[:FUNCTION][,SIZE] is wanted, as in 3,20G", value);
	q.what_case = CLEAVE__REQUEST__WHAT_RESIZE_DISK;
	q.resize_disk = &d;
	r = ctl_call(c, &q);
	if (!r)
		return -EIO;
	cleave__response__free_unpacked(r, NULL);
	return 0;
}

const struct verb disk_verbs[] = {
	{ "resize-disk", TAKES_VALUE, "SLOT[:FUNC][,SIZE]: tells the guest of a virtio disk's new size, after growing its file to SIZE", resize },
	{ 0 },
};
