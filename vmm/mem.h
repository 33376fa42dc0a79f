/*
 * vmm/mem.h - guest-physical memory: RAM, the boot ROM, and what shadows what.
 *
 * RAM is one sealed memfd, mapped once by each process.  The physical map is an
 * array of slots, one for each page: where a read goes, where a write goes,
 * each a host page or NULL (MMIO: the bus answers).  The soft engine caches the
 * answer in its TLB; whoever changes the map bumps `map_gen` under vm->dev_lock,
 * and every vCPU drops its TLB and its decoded blocks of the range before its
 * next instruction.
 */
#ifndef CLEAVE_VMM_MEM_H
#define CLEAVE_VMM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct mem;

struct mem_page {		/* host addresses of the guest page's start; NULL: not memory */
	uint8_t *read;
	uint8_t *write;		/* NULL with read set: ROM, writes are dropped */
};

/* RAM of `bytes` (whole MiB), ROM image loaded below 4 GiB with its last 128 KiB at E0000h too. -errno. */
int mem_new(struct mem **, uint64_t bytes);
void mem_free(struct mem *);
int mem_load_rom(struct mem *, const char *path, char *err, size_t errlen);
void mem_reset(struct mem *);			/* map as at power-on: C0000h-FFFFFh read from ROM, writes to nowhere */

int mem_ram_fd(const struct mem *);
uint64_t mem_ram_bytes(const struct mem *);
uint8_t *mem_ram(const struct mem *);
struct mem_page mem_lookup(const struct mem *, uint64_t gpa);	/* any thread */
int mem_set_map(struct mem *, unsigned slot, unsigned map, uint64_t base, uint64_t len, uint64_t offset);	/* LINK_EV_MEMMAP */
uint32_t mem_map_gen(const struct mem *);
bool mem_copy_from(const struct mem *, uint64_t gpa, void *, size_t);	/* debuggers, control; false: not memory */
bool mem_copy_to(struct mem *, uint64_t gpa, const void *, size_t);

#endif
