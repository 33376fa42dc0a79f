/*
 * vmm/mem.h - guest-physical memory: RAM, the boot ROM, flash, and what shadows what.
 *
 * RAM is one sealed memfd, mapped once by each process:
 *
 *      RAM offset 0 .......... low            low .......... bytes
 *      at         0 .......... low            4 GiB ........ 4 GiB + bytes - low
 *
 * with low = min(bytes, MEM_LOW_MAX); between low and 4 GiB are devices, flash
 * and the boot ROM.  Flash is a second sealed memfd, which the device model
 * fills and programs: guests read it here, their writes go to the bus.  On top of that power-on map lie slots (LINK_EV_MEMMAP), each one
 * range with a meaning of its own; where two overlap the higher slot number
 * wins.
 *
 * A lookup is one or two atomic loads: a directory of 1 MiB chunks, an entry
 * either linear or a table of 256 pages; one 64-bit word names the read and the
 * write side of a page, so that no reader sees half of a change.  Changes are
 * made under vm->dev_lock; map_gen moves after the last changed word, and only
 * if one did change.  Who loads map_gen (acquire) before he looks up and finds
 * it unmoved at his next instruction boundary holds nothing stale: every vCPU
 * drops its TLB and the decoded blocks of the range when it has moved.
 */
#ifndef CLEAVE_VMM_MEM_H
#define CLEAVE_VMM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mem;

#define MEM_PAGE	4096u
#define MEM_LOW_MAX	0xe0000000ull		/* RAM below the PCI hole: 3.5 GiB */
#define MEM_BYTES_MAX	(64ull << 30)
#define MEM_ROM_MAX	(16u << 20)		/* the boot ROM ends at 4 GiB */
#define MEM_ROM_UNIT	(64u << 10)		/* and is a multiple of this, alone or with the flash below it */
#define MEM_ROM_ALIAS	(128u << 10)		/* its last bytes are seen below 1 MiB too */
enum { MEM_SLOTS = 32 };

/*
 * Host addresses of the guest page's start.  The sides stand alone: read NULL,
 * reads go to the bus; write NULL, writes go to the bus, or nowhere when `rom`.
 */
struct mem_page {
	uint8_t *read;
	uint8_t *write;
	bool rom;		/* writes are dropped */
};

/* RAM of `bytes` (whole MiB, at most MEM_BYTES_MAX).  -errno, and the cause and the cure in `err`. */
int mem_new(struct mem **, uint64_t bytes, char *err, size_t errlen);
void mem_free(struct mem *);
/* The boot ROM: a regular file of whole pages, mapped to end at 4 GiB, its last 128 KiB at E0000h too. */
int mem_load_rom(struct mem *, const char *path, char *err, size_t errlen);
/* Flash of `bytes`, whole pages, that ends where the boot ROM begins: once, after mem_load_rom(). */
int mem_add_flash(struct mem *, uint64_t bytes, char *err, size_t errlen);
void mem_reset(struct mem *);			/* map as at power-on: no slots; RAM and flash keep their content */

int mem_ram_fd(const struct mem *);
uint64_t mem_ram_bytes(const struct mem *);
uint64_t mem_ram_end(const struct mem *);	/* the first address above all RAM */
uint8_t *mem_ram(const struct mem *);
const uint8_t *mem_rom(const struct mem *, uint64_t *bytes);	/* NULL, and no bytes: there is none */
int mem_flash_fd(const struct mem *);		/* -1: there is none */
uint64_t mem_flash_bytes(const struct mem *);
uint64_t mem_flash_base(const struct mem *);
struct mem_page mem_lookup(const struct mem *, uint64_t gpa);	/* any thread */
/* The run of pages from `gpa` on that continue one another on both sides, up to `end`: its length; *page is its first. */
uint64_t mem_run(const struct mem *, uint64_t gpa, uint64_t end, struct mem_page *page);
/*
 * LINK_EV_MEMMAP: slot `slot` means `map` (enum link_map) for [base, base + len),
 * whole pages, at most 16 MiB; it forgets the range that it had; len 0 removes
 * it.  `offset` is the RAM offset behind `base` (RAM, ROM, the write side of
 * READ_ROM_WRITE_RAM).  "ROM image" is the boot ROM's alias: below 1 MiB the
 * image as it lies before FFFFFh, so that the chipset need not know its size;
 * pages that the alias does not reach are nobody's.
 * -EINVAL: bad slot, kind or range; -ENOSPC: too many separate chunks.
 */
int mem_set_map(struct mem *, unsigned slot, unsigned map, uint64_t base, uint64_t len, uint64_t offset);
uint32_t mem_map_gen(const struct mem *);
bool mem_copy_from(const struct mem *, uint64_t gpa, void *, size_t);	/* debuggers, control; false: not memory */
bool mem_copy_to(struct mem *, uint64_t gpa, const void *, size_t);

#endif
