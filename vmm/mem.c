/*
 * vmm/mem.c - the guest-physical map: RAM, the boot ROM, flash and the slots above them.
 *
 * Owns the memfds of RAM and flash, the ROM image and the directory that names, for each
 * guest page, where reads and writes go.  Knows no device and no vCPU: whoever
 * changes the map tells the engine.  PC memory layout as chipsets of the i440FX
 * family have it (Intel 82441FX datasheet, 4.1): 640 KiB, the video hole, the
 * area that PAM registers shadow, RAM, devices, flash, the boot ROM up to 4 GiB.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/link.h"
#include "vmm/mem.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u
#endif

#define MIB		(1ull << 20)
#define GIB4		(4ull << 30)
#define PAGE_SHIFT	12
#define CHUNK_SHIFT	20
#define CHUNK_PAGES	(1u << (CHUNK_SHIFT - PAGE_SHIFT))
#define SLOT_BYTES_MAX	(16 * MIB)
#define LEAVES_MAX	1024u		/* 2 KiB each */

#define VIDEO_HOLE	0xa0000ull
#define SHADOW_AREA	0xc0000ull	/* to 1 MiB: adapters' ROMs and the firmware */

/*
 * A page, or a linear chunk (page numbers of its first page), in one word:
 *
 *   63        36 35        20 19    6    5      4     3     2     1    0
 *   | RAM page  | ROM page   |   0   | rflash  drop  wram  rrom  rram  | 0 |
 *
 * (the ROM page is flash's with rflash)
 *
 * or a chunk's table: the address of CHUNK_PAGES words, bit 0 set.
 */
#define E_LEAF		(1ull << 0)
#define E_READ_RAM	(1ull << 1)
#define E_READ_ROM	(1ull << 2)
#define E_WRITE_RAM	(1ull << 3)
#define E_WRITE_DROP	(1ull << 4)
#define E_READ_FLASH	(1ull << 5)
#define E_ROM_SHIFT	20
#define E_RAM_SHIFT	36
#define E_ROM_MASK	0xffffull

_Static_assert(MEM_BYTES_MAX >> PAGE_SHIFT <= 1ull << (64 - E_RAM_SHIFT), "RAM page number fits");
_Static_assert(MEM_ROM_MAX >> PAGE_SHIFT <= E_ROM_MASK + 1, "ROM page number fits");

typedef _Atomic uint64_t entry;

struct slot {
	uint64_t base, len, offset;
	unsigned map;
};

struct mem {
	uint8_t *ram, *rom, *flash;
	uint64_t bytes, low;		/* RAM, and how much of it lies below 4 GiB */
	uint64_t rom_bytes, flash_bytes;
	int fd, flash_fd;
	uint64_t nchunks;
	entry *dir;			/* nchunks words */
	unsigned nleaves;
	_Atomic uint32_t gen;
	struct slot slot[MEM_SLOTS];	/* len 0: unused; under dev_lock */
};

static void fail(char *err, size_t errlen, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void fail(char *err, size_t errlen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, errlen, fmt, ap);
	va_end(ap);
}

/* ---- what a page is */

static uint64_t ram_entry(uint64_t offset, uint64_t sides)
{
	return offset >> PAGE_SHIFT << E_RAM_SHIFT | sides;
}

static uint64_t rom_entry(uint64_t offset, uint64_t sides)
{
	return offset >> PAGE_SHIFT << E_ROM_SHIFT | sides;
}

static uint64_t rom_base(const struct mem *m)
{
	return GIB4 - m->rom_bytes;
}

/* The boot ROM's alias below 1 MiB at `gpa`: its read side, or 0 where it does not reach. */
static uint64_t alias_entry(const struct mem *m, uint64_t gpa)
{
	uint64_t alias = m->rom_bytes < MEM_ROM_ALIAS ? m->rom_bytes : MEM_ROM_ALIAS;

	if (gpa >= MIB || gpa < MIB - alias)
		return 0;
	return rom_entry(m->rom_bytes - (MIB - gpa), E_READ_ROM);
}

static uint64_t power_on_entry(const struct mem *m, uint64_t gpa)
{
	uint64_t rom;

	if (gpa >= VIDEO_HOLE && gpa < MIB) {
		rom = alias_entry(m, gpa);
		return rom ? rom | E_WRITE_DROP : 0;
	}
	if (gpa < m->low)
		return ram_entry(gpa, E_READ_RAM | E_WRITE_RAM);
	if (gpa < mem_flash_base(m))
		return 0;
	if (gpa < rom_base(m))
		return rom_entry(gpa - mem_flash_base(m), E_READ_FLASH);
	if (gpa < GIB4)
		return rom_entry(gpa - rom_base(m), E_READ_ROM | E_WRITE_DROP);
	if (gpa - GIB4 < m->bytes - m->low)
		return ram_entry(gpa - GIB4 + m->low, E_READ_RAM | E_WRITE_RAM);
	return 0;
}

static uint64_t slot_entry(const struct mem *m, const struct slot *s, uint64_t gpa)
{
	uint64_t offset = s->offset + (gpa - s->base), rom;

	switch (s->map) {
	case LINK_MAP_RAM:
		return ram_entry(offset, E_READ_RAM | E_WRITE_RAM);
	case LINK_MAP_ROM:
		return ram_entry(offset, E_READ_RAM | E_WRITE_DROP);
	case LINK_MAP_ROM_IMAGE:
		rom = alias_entry(m, gpa);
		return rom ? rom | E_WRITE_DROP : 0;
	case LINK_MAP_READ_ROM_WRITE_RAM:
		return alias_entry(m, gpa) | ram_entry(offset, E_WRITE_RAM);
	default:
		return 0;
	}
}

static uint64_t page_entry(const struct mem *m, uint64_t gpa)
{
	for (unsigned i = MEM_SLOTS; i-- > 0;)
		if (gpa - m->slot[i].base < m->slot[i].len)
			return slot_entry(m, &m->slot[i], gpa);
	return power_on_entry(m, gpa);
}

/* ---- the directory */

static entry *leaf_of(uint64_t word)
{
	return (entry *)(uintptr_t)(word & ~E_LEAF);
}

/* The chunk's table, made from its linear word where there was none. NULL: no room. */
static entry *make_leaf(struct mem *m, uint64_t chunk)
{
	uint64_t word = atomic_load_explicit(&m->dir[chunk], memory_order_relaxed);
	entry *leaf;

	if (word & E_LEAF)
		return leaf_of(word);
	if (m->nleaves == LEAVES_MAX)
		return NULL;
	leaf = aligned_alloc(64, CHUNK_PAGES * sizeof(*leaf));
	if (!leaf)
		return NULL;
	for (unsigned i = 0; i < CHUNK_PAGES; i++)
		atomic_init(&leaf[i], power_on_entry(m, (chunk << CHUNK_SHIFT) + ((uint64_t)i << PAGE_SHIFT)));
	m->nleaves++;
	/* Pairs with the acquire in mem_lookup(): the table is filled before it is seen. */
	atomic_store_explicit(&m->dir[chunk], (uint64_t)(uintptr_t)leaf | E_LEAF, memory_order_release);
	return leaf;
}

/* Makes the pages of [base, end), which has tables, as ROM and slots now say; true if one changed. */
static bool refresh(struct mem *m, uint64_t base, uint64_t end)
{
	bool changed = false;

	for (uint64_t gpa = base; gpa < end; gpa += MEM_PAGE) {
		entry *e = leaf_of(m->dir[gpa >> CHUNK_SHIFT]) + (gpa >> PAGE_SHIFT) % CHUNK_PAGES;
		uint64_t now = page_entry(m, gpa);

		if (atomic_load_explicit(e, memory_order_relaxed) != now) {
			atomic_store_explicit(e, now, memory_order_relaxed);
			changed = true;
		}
	}
	return changed;
}

static void bump(struct mem *m)
{
	/* Pairs with the acquire in mem_map_gen(): who sees the new number sees every changed word. */
	atomic_fetch_add_explicit(&m->gen, 1, memory_order_release);
}

static bool have_leaves(struct mem *m, uint64_t base, uint64_t end)
{
	for (uint64_t chunk = base >> CHUNK_SHIFT; chunk << CHUNK_SHIFT < end; chunk++)
		if (!make_leaf(m, chunk))
			return false;
	return true;
}

/* All of the directory from nothing: before any vCPU runs. */
static int build(struct mem *m)
{
	for (uint64_t c = 0; c < m->nchunks; c++) {
		uint64_t word = atomic_load_explicit(&m->dir[c], memory_order_relaxed);

		if (word & E_LEAF)
			refresh(m, c << CHUNK_SHIFT, (c + 1) << CHUNK_SHIFT);
		else
			atomic_store_explicit(&m->dir[c], power_on_entry(m, c << CHUNK_SHIFT), memory_order_relaxed);
	}
	if (!make_leaf(m, 0))
		return -ENOMEM;
	if (rom_base(m) % MIB && !make_leaf(m, rom_base(m) >> CHUNK_SHIFT))
		return -ENOMEM;
	if (mem_flash_base(m) % MIB && !make_leaf(m, mem_flash_base(m) >> CHUNK_SHIFT))
		return -ENOMEM;
	bump(m);
	return 0;
}

/* ---- life */

static int make_fd(const char *name, uint64_t bytes)
{
	int fd, e;

	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)		/* before Linux 6.3 */
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)bytes) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		e = -errno;
		close(fd);
		return e;
	}
	return fd;
}

/* More than the host has is no mistake: what the guest does not touch costs nothing. */
static int check_size(uint64_t bytes, char *err, size_t errlen)
{
	if (!bytes || bytes % MIB || bytes > MEM_BYTES_MAX) {
		fail(err, errlen, "guest memory of %llu bytes: give whole MiB, from 1M to %lluM",
		     (unsigned long long)bytes, (unsigned long long)(MEM_BYTES_MAX / MIB));
		return -EINVAL;
	}
	return 0;
}

static int map_ram(struct mem *m, char *err, size_t errlen)
{
	void *p;
	int e;

	m->fd = make_fd("cleave-ram", m->bytes);
	p = m->fd < 0 ? MAP_FAILED : mmap(NULL, m->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	if (p == MAP_FAILED) {
		e = m->fd < 0 ? m->fd : -errno;
		fail(err, errlen, "cannot get %lluM of guest memory: %s; give less with -m, or raise the limit (ulimit -v)",
		     (unsigned long long)(m->bytes / MIB), strerror(-e));
		return e;
	}
	m->ram = p;
	madvise(p, m->bytes, MADV_DONTDUMP);	/* a core file is about us, not about the guest */
	return 0;
}

int mem_new(struct mem **out, uint64_t bytes, char *err, size_t errlen)
{
	struct mem *m;
	int e;

	*out = NULL;
	e = check_size(bytes, err, errlen);
	if (e)
		return e;
	m = calloc(1, sizeof(*m));
	if (!m)
		goto no_memory;
	m->fd = m->flash_fd = -1;
	m->bytes = bytes;
	m->low = bytes < MEM_LOW_MAX ? bytes : MEM_LOW_MAX;
	m->nchunks = (GIB4 + (m->bytes - m->low)) >> CHUNK_SHIFT;
	m->dir = calloc(m->nchunks, sizeof(*m->dir));
	if (!m->dir)
		goto no_memory;
	e = map_ram(m, err, errlen);
	if (e) {
		mem_free(m);
		return e;
	}
	if (build(m))
		goto no_memory;
	*out = m;
	return 0;

no_memory:
	fail(err, errlen, "no memory for the guest's memory map; free some, or raise the limit (ulimit -v)");
	mem_free(m);
	return -ENOMEM;
}

void mem_free(struct mem *m)
{
	if (!m)
		return;
	for (uint64_t c = 0; m->dir && c < m->nchunks; c++)
		if (m->dir[c] & E_LEAF)
			free((void *)leaf_of(m->dir[c]));
	free((void *)m->dir);
	if (m->ram)
		munmap(m->ram, m->bytes);
	if (m->rom)
		munmap(m->rom, m->rom_bytes);
	if (m->flash)
		munmap(m->flash, m->flash_bytes);
	if (m->fd >= 0)
		close(m->fd);
	if (m->flash_fd >= 0)
		close(m->flash_fd);
	free(m);
}

/* ---- the boot ROM */

static int rom_errno(const char *path, int e, char *err, size_t errlen)
{
	const char *cure = "is the file system in order?";

	if (e == ENOENT || e == ENOTDIR)
		cure = "check the path (Debian's package seabios has /usr/share/seabios/bios-256k.bin)";
	else if (e == EACCES)
		cure = "make it readable for this user";
	else if (e == ENOMEM)
		cure = "free some memory, or raise the limit (ulimit -v)";
	fail(err, errlen, "boot ROM %s: %s; %s", path, strerror(e), cure);
	return -e;
}

static int rom_check(const char *path, const struct stat *st, char *err, size_t errlen)
{
	if (!S_ISREG(st->st_mode)) {
		fail(err, errlen, "boot ROM %s: not a regular file; name the file that holds the image", path);
		return -EINVAL;
	}
	if (st->st_size <= 0 || st->st_size % MEM_PAGE || st->st_size > MEM_ROM_MAX) {
		fail(err, errlen, "boot ROM %s: %lld bytes; an image is a multiple of 4 KiB, at most 16 MiB: is it whole, and is it a boot ROM?",
		     path, (long long)st->st_size);
		return -EINVAL;
	}
	return 0;
}

static int rom_read(int fd, uint8_t *to, size_t n)
{
	ssize_t got;

	for (size_t at = 0; at < n; at += (size_t)got) {
		got = read(fd, to + at, n - at);
		if (got < 0 && errno == EINTR)
			got = 0;
		else if (got <= 0)
			return got < 0 ? errno : EIO;	/* EIO: the file shrank */
	}
	return 0;
}

int mem_load_rom(struct mem *m, const char *path, char *err, size_t errlen)
{
	struct stat st;
	uint8_t *image;
	int fd, e;

	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return rom_errno(path, errno, err, errlen);
	e = fstat(fd, &st) < 0 ? rom_errno(path, errno, err, errlen) : rom_check(path, &st, err, errlen);
	if (e)
		goto out;
	image = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (image == MAP_FAILED) {
		e = rom_errno(path, errno, err, errlen);
		goto out;
	}
	e = rom_read(fd, image, (size_t)st.st_size);
	if (e) {
		munmap(image, (size_t)st.st_size);
		e = rom_errno(path, e, err, errlen);
		goto out;
	}
	mprotect(image, (size_t)st.st_size, PROT_READ);
	if (m->rom)
		munmap(m->rom, m->rom_bytes);
	m->rom = image;
	m->rom_bytes = (uint64_t)st.st_size;
	e = build(m);
	if (e)
		rom_errno(path, -e, err, errlen);
out:
	close(fd);
	return e;
}

/* ---- flash */

int mem_add_flash(struct mem *m, uint64_t bytes, char *err, size_t errlen)
{
	void *p;
	int e;

	if (m->flash || !m->rom || !bytes || bytes % MEM_PAGE || bytes > MEM_ROM_MAX - m->rom_bytes) {
		fail(err, errlen, "flash of %llu bytes: whole pages are possible, below a boot ROM and together with it at most 16 MiB",
		     (unsigned long long)bytes);
		return -EINVAL;
	}
	m->flash_fd = make_fd("cleave-flash", bytes);
	p = m->flash_fd < 0 ? MAP_FAILED : mmap(NULL, bytes, PROT_READ, MAP_SHARED, m->flash_fd, 0);
	e = m->flash_fd < 0 ? m->flash_fd : p == MAP_FAILED ? -errno : 0;
	if (!e) {
		m->flash = p;
		m->flash_bytes = bytes;
		e = build(m);
	}
	if (e)
		fail(err, errlen, "no memory for %llu bytes of flash: %s; free some, or raise the limit (ulimit -v)",
		     (unsigned long long)bytes, strerror(-e));
	return e;
}

int mem_flash_fd(const struct mem *m)
{
	return m->flash_fd;
}

uint64_t mem_flash_bytes(const struct mem *m)
{
	return m->flash_bytes;
}

uint64_t mem_flash_base(const struct mem *m)
{
	return rom_base(m) - m->flash_bytes;
}

/* ---- changes */

int mem_set_map(struct mem *m, unsigned slot, unsigned map, uint64_t base, uint64_t len, uint64_t offset)
{
	bool ram = map == LINK_MAP_RAM || map == LINK_MAP_ROM || map == LINK_MAP_READ_ROM_WRITE_RAM;
	uint64_t end = m->nchunks << CHUNK_SHIFT;
	struct slot *s, old;
	bool changed;

	if (slot >= MEM_SLOTS || map >= LINK_MAPS || (base | len) % MEM_PAGE)
		return -EINVAL;
	if (len > SLOT_BYTES_MAX || base > end || len > end - base)
		return -EINVAL;
	if (ram && (offset % MEM_PAGE || offset > m->bytes || len > m->bytes - offset))
		return -EINVAL;
	if (!have_leaves(m, base, base + len))
		return -ENOSPC;

	s = &m->slot[slot];
	old = *s;
	*s = (struct slot){ .base = base, .len = len, .offset = ram ? offset : 0, .map = map };
	changed = refresh(m, old.base, old.base + old.len);
	changed |= refresh(m, base, base + len);
	if (changed)
		bump(m);
	return 0;
}

void mem_reset(struct mem *m)
{
	bool changed = false;

	for (unsigned i = 0; i < MEM_SLOTS; i++) {
		struct slot old = m->slot[i];

		m->slot[i].len = 0;
		changed |= refresh(m, old.base, old.base + old.len);
	}
	if (changed)
		bump(m);
}

/* ---- looking */

int mem_ram_fd(const struct mem *m)
{
	return m->fd;
}

uint64_t mem_ram_bytes(const struct mem *m)
{
	return m->bytes;
}

uint64_t mem_ram_end(const struct mem *m)
{
	return m->bytes == m->low ? m->bytes : GIB4 + (m->bytes - m->low);
}

uint8_t *mem_ram(const struct mem *m)
{
	return m->ram;
}

const uint8_t *mem_rom(const struct mem *m, uint64_t *bytes)
{
	*bytes = m->rom_bytes;
	return m->rom;
}

uint32_t mem_map_gen(const struct mem *m)
{
	return atomic_load_explicit(&m->gen, memory_order_acquire);
}

struct mem_page mem_lookup(const struct mem *m, uint64_t gpa)
{
	uint64_t chunk = gpa >> CHUNK_SHIFT, page = (gpa >> PAGE_SHIFT) % CHUNK_PAGES, word;
	struct mem_page p = { 0 };
	uint64_t rom;
	uint8_t *ram;

	if (chunk >= m->nchunks)
		return p;
	word = atomic_load_explicit(&m->dir[chunk], memory_order_acquire);
	if (word & E_LEAF) {
		word = atomic_load_explicit(&leaf_of(word)[page], memory_order_relaxed);
		page = 0;
	}
	ram = m->ram + (((word >> E_RAM_SHIFT) + page) << PAGE_SHIFT);
	rom = ((word >> E_ROM_SHIFT & E_ROM_MASK) + page) << PAGE_SHIFT;
	if (word & E_READ_RAM)
		p.read = ram;
	else if (word & E_READ_ROM)
		p.read = m->rom + rom;
	else if (word & E_READ_FLASH)
		p.read = m->flash + rom;
	if (word & E_WRITE_RAM)
		p.write = ram;
	p.rom = word & E_WRITE_DROP;
	return p;
}

static bool continues(const struct mem_page *first, const struct mem_page *p, uint64_t distance)
{
	return p->read == (first->read ? first->read + distance : NULL) &&
		p->write == (first->write ? first->write + distance : NULL) && p->rom == first->rom;
}

/* A linear chunk continues like its first page. */
uint64_t mem_run(const struct mem *m, uint64_t gpa, uint64_t end, struct mem_page *page)
{
	struct mem_page p = *page = mem_lookup(m, gpa);
	uint64_t at = gpa;

	while (at < end && continues(page, &p, at - gpa)) {
		uint64_t chunk = at >> CHUNK_SHIFT;
		bool linear = chunk >= m->nchunks || !(atomic_load_explicit(&m->dir[chunk], memory_order_relaxed) & E_LEAF);

		at += linear ? MIB - at % MIB : MEM_PAGE;
		p = mem_lookup(m, at);
	}
	return (at < end ? at : end) - gpa;
}

/* Calls for each page piece; false as soon as a page has no such side (earlier pieces are done). */
static bool copy(const struct mem *m, uint64_t gpa, uint8_t *buf, size_t n, bool to)
{
	while (n) {
		size_t in = gpa % MEM_PAGE, part = MEM_PAGE - in < n ? MEM_PAGE - in : n;
		struct mem_page p = mem_lookup(m, gpa);

		if (to ? !p.write : !p.read)
			return false;
		if (to)
			memcpy(p.write + in, buf, part);
		else
			memcpy(buf, p.read + in, part);
		gpa += part;
		buf += part;
		n -= part;
	}
	return true;
}

bool mem_copy_from(const struct mem *m, uint64_t gpa, void *to, size_t n)
{
	return copy(m, gpa, to, n, false);
}

bool mem_copy_to(struct mem *m, uint64_t gpa, const void *from, size_t n)
{
	return copy(m, gpa, (uint8_t *)from, n, true);
}
