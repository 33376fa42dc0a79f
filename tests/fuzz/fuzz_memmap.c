/*
 * A device model that sends any memory-map event.  After each one every page
 * that could have changed is what a plain model says: the highest slot that
 * covers it, else the map as at power-on; and no pointer leaves RAM or ROM.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/link.h"
#include "vmm/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MIB	(1ull << 20)
#define RAM	(4 * MIB)
#define ROM	(192u << 10)

static struct mem *mem;
static struct { uint64_t base, len, offset; unsigned map; } slot[MEM_SLOTS];

static void make(void)
{
	static uint8_t image[ROM];
	char path[] = "/tmp/fuzz_memmap.XXXXXX", err[200];
	int fd = mkstemp(path);

	for (unsigned i = 0; i < ROM; i++)
		image[i] = i / MEM_PAGE + 1;
	if (fd < 0 || write(fd, image, ROM) != ROM || mem_new(&mem, RAM, err, sizeof(err)) || mem_load_rom(mem, path, err, sizeof(err)))
		abort();
	close(fd);
	unlink(path);
}

static void expect(bool ok)
{
	if (!ok)
		abort();
}

/* The side reads ROM page `n` (from 1), or RAM at `offset`, or nothing. */
static void is_rom(const struct mem_page *p, unsigned n)
{
	expect(p->read && p->read[0] == n && p->read[MEM_PAGE - 1] == n);
}

static void check(uint64_t gpa)
{
	struct mem_page p = mem_lookup(mem, gpa);
	bool alias = gpa >= MIB - MEM_ROM_ALIAS && gpa < MIB, hole = gpa >= 0xa0000 && gpa < MIB;
	unsigned rom = alias ? (ROM - (MIB - gpa)) / MEM_PAGE + 1 : 0, map = LINK_MAPS;
	uint8_t *ram = mem_ram(mem) + gpa;

	for (unsigned i = 0; i < MEM_SLOTS; i++)
		if (gpa >= slot[i].base && gpa < slot[i].base + slot[i].len) {
			map = slot[i].map;
			ram = mem_ram(mem) + slot[i].offset + (gpa - slot[i].base);
		}
	if (map == LINK_MAPS && gpa >= (4ull << 30) - ROM) {
		is_rom(&p, (gpa - ((4ull << 30) - ROM)) / MEM_PAGE + 1);
		expect(!p.write && p.rom);
		return;
	}
	if (map == LINK_MAPS)
		map = gpa < RAM && !hole ? LINK_MAP_RAM : hole ? LINK_MAP_ROM_IMAGE : LINK_MAP_NONE;

	if (map == LINK_MAP_RAM || map == LINK_MAP_ROM)
		expect(p.read == ram);
	else if (map != LINK_MAP_NONE && rom)
		is_rom(&p, rom);
	else
		expect(!p.read);
	expect(map == LINK_MAP_RAM || map == LINK_MAP_READ_ROM_WRITE_RAM ? p.write == ram : !p.write);
	expect(p.rom == (map == LINK_MAP_ROM || (map == LINK_MAP_ROM_IMAGE && rom)));
}

static uint64_t place(uint8_t b)
{
	static const uint64_t at[] = { 0, 0x9f000, 0xa0000, 0xc0000, 0xe0000, 0xf0000, 0xff000, MIB, RAM - 0x1000, RAM,
		(4ull << 30) - ROM - 0x1000, (4ull << 30) - 0x1000, 4ull << 30, 1ull << 40, 0ull - 0x1000, 0xe0800 };

	return at[b % 16] + (uint64_t)(b / 16) * MEM_PAGE;
}

static void event(const uint8_t *op)
{
	unsigned n = op[0] % (MEM_SLOTS + 1), map = op[1] % (LINK_MAPS + 1);
	uint64_t base = place(op[2]), len = op[3] & 0x80 ? place(op[3]) : (uint64_t)op[3] * MEM_PAGE, offset = place(op[4]);
	bool ram = map == LINK_MAP_RAM || map == LINK_MAP_ROM || map == LINK_MAP_READ_ROM_WRITE_RAM;
	uint32_t gen = mem_map_gen(mem);
	int e = mem_set_map(mem, n, map, base, len, offset);

	if (e) {
		expect(e == -EINVAL && mem_map_gen(mem) == gen);
		return;
	}
	expect(n < MEM_SLOTS && map < LINK_MAPS && !((base | len) % MEM_PAGE) && len <= 16 * MIB && base + len <= 4ull << 30);
	expect(!ram || (offset % MEM_PAGE == 0 && offset <= RAM && len <= RAM - offset));
	slot[n].base = base;
	slot[n].len = len;
	slot[n].offset = ram ? offset : 0;
	slot[n].map = map;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!mem)
		make();
	memset(slot, 0, sizeof(slot));
	mem_reset(mem);
	for (size_t i = 0; i + 5 <= size && i < 5 * 24; i += 5)
		event(data + i);
	for (uint64_t gpa = 0x90000; gpa < MIB + 0x20000; gpa += MEM_PAGE)
		check(gpa);
	for (uint64_t gpa = RAM - 0x20000; gpa < RAM + 0x100000; gpa += MEM_PAGE)
		check(gpa);
	for (uint64_t gpa = (4ull << 30) - ROM - 0x10000; gpa < (4ull << 30); gpa += MEM_PAGE)
		check(gpa);
	return 0;
}
