/*
 * vmm/boot/load.c - files, places in RAM and the memory map for direct boot.
 *
 * Knows no boot protocol.  Memory map of a PC as firmware would report it:
 * conventional memory up to the EBDA, the area that adapters and firmware have
 * below 1 MiB, RAM on both sides of the hole below 4 GiB.
 */
#include "vmm/boot/load.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proto/direct.h"
#include "vmm/boot/boot.h"

#define BDA_END		0x500u		/* interrupt vectors and the BIOS data area */

int load_fail(struct load *l, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(l->err, l->errlen, fmt, ap);
	va_end(ap);
	return error;
}

/* ---- places */

/* The usable range that holds `at`, as [start, end); false: none does. */
static bool usable(const struct load *l, uint64_t at, uint64_t *start, uint64_t *end)
{
	bool conventional = at < LOAD_MIB;

	*start = conventional ? BDA_END : LOAD_MIB;
	*end = conventional ? BOOT_EBDA : l->low;
	return at >= *start && at < *end;
}

static const struct load_claim *collides(const struct load *l, uint64_t base, uint64_t len)
{
	for (unsigned i = 0; i < l->nclaims; i++)
		if (base < l->claim[i].base + l->claim[i].len && l->claim[i].base < base + len)
			return &l->claim[i];
	return NULL;
}

static int take(struct load *l, uint64_t base, uint64_t len)
{
	if (l->nclaims == LOAD_CLAIMS)
		return load_fail(l, -E2BIG, "%s: too many pieces to load", l->kernel->name);
	l->claim[l->nclaims++] = (struct load_claim){ .base = base, .len = len };
	return 0;
}

static unsigned long long mib(uint64_t bytes)
{
	return (bytes + LOAD_MIB - 1) / LOAD_MIB;
}

int load_claim(struct load *l, const struct boot_file *f, uint64_t base, uint64_t len)
{
	uint64_t start, end;

	if (!len)
		return 0;
	if (base >= LOAD_MIB && base < LOAD_HIGH && len < LOAD_HIGH && base + len > l->low)
		return load_fail(l, -ENOMEM, "%s: needs RAM from %lluM to %lluM, the machine has %lluM there; give more with -m",
				 f->name, (unsigned long long)(base / LOAD_MIB), mib(base + len), (unsigned long long)(l->low / LOAD_MIB));
	if (!usable(l, base, &start, &end) || len > end - base)
		return load_fail(l, -EINVAL, "%s: wants to lie at %#llx, %llu bytes, where a PC has no free RAM; is the file damaged?",
				 f->name, (unsigned long long)base, (unsigned long long)len);
	if (collides(l, base, len))
		return load_fail(l, -EINVAL, "%s: two of its pieces lie at %#llx; the file is damaged",
				 f->name, (unsigned long long)base);
	return take(l, base, len);
}

static int no_room(struct load *l, const char *what, uint64_t len)
{
	return load_fail(l, -ENOMEM, "%s: %llu bytes find no room beside the kernel in %lluM of memory; give more with -m",
			 what, (unsigned long long)len, (unsigned long long)(l->low / LOAD_MIB));
}

int load_below(struct load *l, const char *what, uint64_t min, uint64_t max, uint64_t len, uint64_t align, uint64_t *at)
{
	const struct load_claim *c;
	uint64_t base;

	if (max > l->low && min >= LOAD_MIB)
		max = l->low;
	while (len && max >= len && max - len >= min) {
		base = (max - len) & ~(align - 1);
		if (base < min)
			break;
		c = collides(l, base, len);
		if (!c) {
			*at = base;
			return take(l, base, len);
		}
		max = c->base;
	}
	return no_room(l, what, len);
}

int load_above(struct load *l, const char *what, uint64_t min, uint64_t max, uint64_t len, uint64_t align, uint64_t *at)
{
	const struct load_claim *c;

	if (max > l->low && min >= LOAD_MIB)
		max = l->low;
	while (len && min < max) {
		min = (min + align - 1) & ~(align - 1);
		if (min > max || len > max - min)
			break;
		c = collides(l, min, len);
		if (!c) {
			*at = min;
			return take(l, min, len);
		}
		min = c->base + c->len;
	}
	return no_room(l, what, len);
}

int load_info(struct load *l, const char *what, uint64_t len, uint64_t *at)
{
	/* Not the first page: an address of 0 would mean "none". */
	int ret = load_above(l, what, LOAD_PAGE, BOOT_EBDA, len, len >= LOAD_PAGE ? LOAD_PAGE : 16, at);

	if (!ret)
		memset(load_at(l, *at), 0, len);
	return ret;
}

int load_text(struct load *l, const char *text, uint64_t *at)
{
	int ret = load_info(l, "the command line", strlen(text) + 1, at);

	if (!ret)
		memcpy(load_at(l, *at), text, strlen(text) + 1);
	return ret;
}

void *load_at(struct load *l, uint64_t gpa)
{
	return l->ram + gpa;
}

/* ---- bytes */

int load_read(struct load *l, const struct boot_file *f, uint64_t off, void *to, uint64_t n)
{
	uint8_t *p = to;
	ssize_t got;

	if (off > f->size || n > f->size - off)
		return load_fail(l, -EINVAL, "%s: cut short: %llu bytes, but something lies at %llu to %llu; the file is damaged",
				 f->name, (unsigned long long)f->size, (unsigned long long)off, (unsigned long long)(off + n));
	while (n) {
		got = pread(f->fd, p, n > 1u << 30 ? 1u << 30 : n, (off_t)off);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return load_fail(l, got < 0 ? -errno : -EIO, "%s: cannot read it: %s", f->name,
					 got < 0 ? strerror(errno) : "it has become shorter");
		p += got;
		off += (uint64_t)got;
		n -= (uint64_t)got;
	}
	return 0;
}

int load_file(struct load *l, const struct boot_file *f, uint64_t off, uint64_t gpa, uint64_t n)
{
	return n ? load_read(l, f, off, load_at(l, gpa), n) : 0;
}

/* Whole pages are given back to the host, where they read zero. */
void load_zero(struct load *l, uint64_t gpa, uint64_t n)
{
	uint64_t first = (gpa + LOAD_PAGE - 1) & ~(uint64_t)(LOAD_PAGE - 1), last = (gpa + n) & ~(uint64_t)(LOAD_PAGE - 1);

	if (first >= last || madvise(l->ram + first, last - first, MADV_REMOVE) < 0) {
		memset(l->ram + gpa, 0, n);
		return;
	}
	memset(l->ram + gpa, 0, first - gpa);
	memset(l->ram + last, 0, gpa + n - last);
}

/* ---- the memory map */

unsigned load_memmap(const struct load *l, struct load_range r[LOAD_RANGES])
{
	unsigned n = 0;

	r[n++] = (struct load_range){ 0, BOOT_EBDA, LOAD_RAM };
	r[n++] = (struct load_range){ BOOT_EBDA, 0xa0000 - BOOT_EBDA, LOAD_RESERVED };
	r[n++] = (struct load_range){ DIRECT_AREA, DIRECT_AREA_END - DIRECT_AREA, LOAD_RESERVED };
	if (l->low > LOAD_MIB)
		r[n++] = (struct load_range){ LOAD_MIB, l->low - LOAD_MIB, LOAD_RAM };
	if (l->high)
		r[n++] = (struct load_range){ LOAD_HIGH, l->high, LOAD_RAM };
	return n;
}
