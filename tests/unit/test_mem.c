/* The guest-physical map: RAM layout, boot ROM placement, slots, refusals. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/link.h"
#include "vmm/mem.h"

#define MIB	(1ull << 20)
#define KIB	(1ull << 10)
#define GIB4	(4ull << 30)

static char err[512];

static struct mem *ram(uint64_t bytes)
{
	struct mem *m;

	assert_int_equal(mem_new(&m, bytes, err, sizeof(err)), 0);
	return m;
}

/* A ROM file of `n` bytes whose page k is filled with byte k + 1. */
static void rom_file(char *path, size_t n)
{
	uint8_t *image = malloc(n + 1);
	int fd;

	strcpy(path, "test_mem.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	for (size_t i = 0; i < n; i++)
		image[i] = (uint8_t)(i / MEM_PAGE + 1);
	assert_int_equal(write(fd, image, n), (ssize_t)n);
	close(fd);
	free(image);
}

static struct mem *ram_rom(uint64_t bytes, size_t rom)
{
	struct mem *m = ram(bytes);
	char path[32];

	rom_file(path, rom);
	assert_int_equal(mem_load_rom(m, path, err, sizeof(err)), 0);
	unlink(path);
	return m;
}

static void is_ram(struct mem *m, uint64_t gpa, uint64_t offset)
{
	struct mem_page p = mem_lookup(m, gpa);

	assert_ptr_equal(p.read, mem_ram(m) + offset);
	assert_ptr_equal(p.write, mem_ram(m) + offset);
	assert_false(p.rom);
}

static void is_nothing(struct mem *m, uint64_t gpa)
{
	struct mem_page p = mem_lookup(m, gpa);

	assert_null(p.read);
	assert_null(p.write);
	assert_false(p.rom);
}

/* Reads the page `fill` of a rom_file(), drops writes. */
static void is_rom(struct mem *m, uint64_t gpa, unsigned fill)
{
	struct mem_page p = mem_lookup(m, gpa);

	assert_non_null(p.read);
	assert_int_equal(p.read[0], fill & 0xff);
	assert_int_equal(p.read[MEM_PAGE - 1], fill & 0xff);
	assert_null(p.write);
	assert_true(p.rom);
}

static void pc_layout(void **state)
{
	struct mem *m = ram_rom(64 * MIB, 256 * KIB);

	(void)state;
	assert_int_equal(mem_ram_bytes(m), 64 * MIB);
	is_ram(m, 0, 0);
	is_ram(m, 0x9f000, 0x9f000);
	is_nothing(m, 0xa0000);
	is_nothing(m, 0xbf000);
	is_nothing(m, 0xc0000);
	is_nothing(m, 0xdf000);
	is_rom(m, 0xe0000, 33);		/* the image's last 32 pages */
	is_rom(m, 0xff000, 64);
	is_ram(m, 0x100000, 0x100000);
	is_ram(m, 64 * MIB - MEM_PAGE, 64 * MIB - MEM_PAGE);
	is_nothing(m, 64 * MIB);
	is_nothing(m, GIB4 - 256 * KIB - MEM_PAGE);
	is_rom(m, GIB4 - 256 * KIB, 1);
	is_rom(m, GIB4 - MEM_PAGE, 64);
	is_nothing(m, GIB4);
	is_nothing(m, UINT64_MAX);
	is_nothing(m, 1ull << 52);
	mem_free(m);
}

static void rom_sizes(void **state)
{
	struct mem *m = ram_rom(1 * MIB, 64 * KIB);

	(void)state;
	is_nothing(m, 0xe0000);		/* 64 KiB have no byte for E0000h */
	is_nothing(m, 0xef000);
	is_rom(m, 0xf0000, 1);
	is_rom(m, GIB4 - 64 * KIB, 1);
	is_nothing(m, GIB4 - 64 * KIB - MEM_PAGE);
	mem_free(m);

	m = ram_rom(1 * MIB, 3 * MIB);	/* whole chunks: no table of its own */
	is_nothing(m, GIB4 - 3 * MIB - MEM_PAGE);
	is_rom(m, GIB4 - 3 * MIB, 1);
	is_rom(m, GIB4 - 2 * MIB + 5 * MEM_PAGE, 256 + 6);
	is_rom(m, GIB4 - MEM_PAGE, 768);
	is_rom(m, 0xe0000, 768 - 31);
	mem_free(m);

	m = ram_rom(1 * MIB, MEM_ROM_MAX);
	is_nothing(m, GIB4 - MEM_ROM_MAX - MEM_PAGE);
	is_rom(m, GIB4 - MEM_ROM_MAX, 1);
	is_rom(m, 0xff000, 4096);
	mem_free(m);
}

/* RAM that does not fit below the hole goes on at 4 GiB.  Only address space is taken. */
static void high_ram(void **state)
{
	struct mem *m;

	(void)state;
	if (mem_new(&m, 4096 * MIB, err, sizeof(err)) == -ENOMEM)
		skip();		/* a small host */
	is_ram(m, MEM_LOW_MAX - MEM_PAGE, MEM_LOW_MAX - MEM_PAGE);
	is_nothing(m, MEM_LOW_MAX);
	assert_int_equal(mem_ram_end(m), GIB4 + mem_ram_bytes(m) - MEM_LOW_MAX);
	is_nothing(m, GIB4 - MEM_PAGE);
	is_ram(m, GIB4, MEM_LOW_MAX);
	is_ram(m, GIB4 + 512 * MIB - MEM_PAGE, 4096 * MIB - MEM_PAGE);
	is_nothing(m, GIB4 + 512 * MIB);
	mem_free(m);
}

static void fd_is_sealed(void **state)
{
	struct mem *m = ram(2 * MIB);
	int fd = mem_ram_fd(m);
	struct stat st;
	uint8_t *other;

	(void)state;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 2 * MIB);
	assert_int_equal(ftruncate(fd, MIB), -1);
	assert_int_equal(ftruncate(fd, 3 * MIB), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	other = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(other, MAP_FAILED);
	mem_ram(m)[0x1234] = 0x5a;
	assert_int_equal(other[0x1234], 0x5a);
	munmap(other, 2 * MIB);
	mem_free(m);
}

/* As SeaBIOS does it: read from ROM, write to RAM; then RAM; then locked. */
static void pam_steps(void **state)
{
	struct mem *m = ram_rom(16 * MIB, 128 * KIB);
	struct mem_page p;
	uint32_t gen = mem_map_gen(m);

	(void)state;
	is_rom(m, 0xf0000, 17);
	assert_int_equal(mem_set_map(m, 0, LINK_MAP_READ_ROM_WRITE_RAM, 0xf0000, 0x10000, 0xf0000), 0);
	assert_int_not_equal(mem_map_gen(m), gen);
	p = mem_lookup(m, 0xf1000);
	assert_int_equal(p.read[0], 18);
	assert_ptr_equal(p.write, mem_ram(m) + 0xf1000);
	is_rom(m, 0xef000, 16);

	gen = mem_map_gen(m);
	assert_int_equal(mem_set_map(m, 0, LINK_MAP_RAM, 0xf0000, 0x10000, 0xf0000), 0);
	assert_int_not_equal(mem_map_gen(m), gen);
	is_ram(m, 0xf0000, 0xf0000);
	is_ram(m, 0xff000, 0xff000);

	gen = mem_map_gen(m);		/* said twice: nothing to flush */
	assert_int_equal(mem_set_map(m, 0, LINK_MAP_RAM, 0xf0000, 0x10000, 0xf0000), 0);
	assert_int_equal(mem_map_gen(m), gen);

	assert_int_equal(mem_set_map(m, 0, LINK_MAP_ROM, 0xf0000, 0x10000, 0xf0000), 0);
	p = mem_lookup(m, 0xf3000);
	assert_ptr_equal(p.read, mem_ram(m) + 0xf3000);
	assert_null(p.write);
	assert_true(p.rom);

	assert_int_equal(mem_set_map(m, 0, LINK_MAP_ROM_IMAGE, 0xf0000, 0x10000, 0), 0);
	is_rom(m, 0xf0000, 17);
	mem_free(m);
}

/* Where no ROM lies, "ROM image" is nobody's, and write-only RAM leaves reads to the bus. */
static void pam_without_rom(void **state)
{
	struct mem *m = ram_rom(16 * MIB, 128 * KIB);
	struct mem_page p;

	(void)state;
	assert_int_equal(mem_set_map(m, 1, LINK_MAP_ROM_IMAGE, 0xc0000, 0x4000, 0), 0);
	is_nothing(m, 0xc0000);
	assert_int_equal(mem_set_map(m, 1, LINK_MAP_READ_ROM_WRITE_RAM, 0xc0000, 0x4000, 0xc0000), 0);
	p = mem_lookup(m, 0xc3000);
	assert_null(p.read);
	assert_ptr_equal(p.write, mem_ram(m) + 0xc3000);
	assert_false(p.rom);
	is_nothing(m, 0xc4000);
	assert_int_equal(mem_set_map(m, 2, LINK_MAP_ROM_IMAGE, 0x100000, 0x1000, 0), 0);
	is_nothing(m, 0x100000);	/* the alias ends at 1 MiB */
	assert_int_equal(mem_set_map(m, 3, LINK_MAP_NONE, 0x200000, 0x2000, 0), 0);
	is_ram(m, 0x1ff000, 0x1ff000);
	is_nothing(m, 0x200000);
	is_nothing(m, 0x201000);
	is_ram(m, 0x202000, 0x202000);
	mem_free(m);
}

static void slots_move_and_overlap(void **state)
{
	struct mem *m = ram_rom(16 * MIB, 128 * KIB);
	uint32_t gen;

	(void)state;
	assert_int_equal(mem_set_map(m, 4, LINK_MAP_RAM, 0xa0000, 0x20000, 0xa0000), 0);
	assert_int_equal(mem_set_map(m, 2, LINK_MAP_NONE, 0xa8000, 0x10000, 0), 0);
	is_ram(m, 0xa8000, 0xa8000);	/* slot 4 over slot 2 */
	assert_int_equal(mem_set_map(m, 5, LINK_MAP_NONE, 0xa8000, 0x1000, 0), 0);
	is_nothing(m, 0xa8000);
	is_ram(m, 0xa9000, 0xa9000);
	assert_int_equal(mem_set_map(m, 4, LINK_MAP_RAM, 0xc0000, 0x1000, 0x5000), 0);
	is_nothing(m, 0xa9000);
	is_nothing(m, 0xa0000);
	is_ram(m, 0xc0000, 0x5000);	/* any RAM may stand behind */
	assert_int_equal(mem_set_map(m, 4, 0, 0, 0, 0), 0);
	is_nothing(m, 0xc0000);
	/* over the end of RAM, and across a chunk's border */
	assert_int_equal(mem_set_map(m, 6, LINK_MAP_RAM, 16 * MIB - 0x2000, 0x4000, 0), 0);
	is_ram(m, 16 * MIB - 0x3000, 16 * MIB - 0x3000);
	is_ram(m, 16 * MIB - 0x2000, 0);
	is_ram(m, 16 * MIB + 0x1000, 0x3000);
	is_nothing(m, 16 * MIB + 0x2000);

	gen = mem_map_gen(m);
	mem_ram(m)[0x4000] = 0x77;
	mem_reset(m);
	assert_int_not_equal(mem_map_gen(m), gen);
	is_nothing(m, 0xa9000);
	is_rom(m, 0xf0000, 17);
	is_ram(m, 16 * MIB - 0x2000, 16 * MIB - 0x2000);
	is_nothing(m, 16 * MIB);
	assert_int_equal(mem_ram(m)[0x4000], 0x77);
	gen = mem_map_gen(m);
	mem_reset(m);
	assert_int_equal(mem_map_gen(m), gen);
	mem_free(m);
}

static void bad_slots(void **state)
{
	static const struct {
		unsigned slot, map;
		uint64_t base, len, offset;
	} bad[] = {
		{ MEM_SLOTS, LINK_MAP_RAM, 0xc0000, 0x1000, 0 },
		{ UINT_MAX, LINK_MAP_RAM, 0xc0000, 0x1000, 0 },
		{ 0, LINK_MAPS, 0xc0000, 0x1000, 0 },
		{ 0, LINK_MAP_RAM, 0xc0001, 0x1000, 0 },
		{ 0, LINK_MAP_RAM, 0xc0000, 0x1001, 0 },
		{ 0, LINK_MAP_RAM, 0xc0000, 0x1000, 1 },
		{ 0, LINK_MAP_RAM, 0xc0000, 0x1000, 16 * MIB },
		{ 0, LINK_MAP_RAM, 0xc0000, 0x2000, 16 * MIB - 0x1000 },
		{ 0, LINK_MAP_ROM, 0xc0000, 0x1000, 0ull - 0x1000 },
		{ 0, LINK_MAP_READ_ROM_WRITE_RAM, 0xc0000, 0x1000, 16 * MIB },
		{ 0, LINK_MAP_NONE, 0, 16 * MIB + 0x1000, 0 },
		{ 0, LINK_MAP_NONE, GIB4 - 0x1000, 0x2000, 0 },
		{ 0, LINK_MAP_NONE, 0ull - 0x1000, 0x1000, 0 },
		{ 0, LINK_MAP_NONE, 0ull - 0x1000, 0x2000, 0 },
		{ 0, LINK_MAP_NONE, 0, 0ull - 0x1000, 0 },
	};
	struct mem *m = ram_rom(16 * MIB, 128 * KIB);
	uint32_t gen = mem_map_gen(m);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(mem_set_map(m, bad[i].slot, bad[i].map, bad[i].base, bad[i].len, bad[i].offset), -EINVAL);
	assert_int_equal(mem_map_gen(m), gen);
	is_nothing(m, 0xc0000);
	mem_free(m);
}

/* OVMF's sizes: flash lies below the ROM, is read here and written through the bus; a slot hides it. */
static void flash(void **state)
{
	enum { CODE = 3653632, VARS = 540672 };
	struct mem *m = ram_rom(16 * MIB, CODE);
	uint64_t base = GIB4 - 4 * MIB, end = base + VARS;
	struct mem_page p;
	uint8_t *other;

	(void)state;
	assert_int_equal(mem_flash_fd(m), -1);
	assert_int_equal(mem_flash_base(m), end);
	is_nothing(m, end - MEM_PAGE);
	assert_int_equal(mem_add_flash(m, VARS, err, sizeof(err)), 0);
	assert_int_equal(mem_flash_base(m), base);
	assert_int_equal(mem_flash_bytes(m), VARS);
	other = mmap(NULL, VARS, PROT_READ | PROT_WRITE, MAP_SHARED, mem_flash_fd(m), 0);
	assert_ptr_not_equal(other, MAP_FAILED);
	other[0] = 0x11;
	other[VARS - 1] = 0x22;
	is_nothing(m, base - MEM_PAGE);
	p = mem_lookup(m, base);
	assert_int_equal(p.read[0], 0x11);
	assert_null(p.write);
	assert_false(p.rom);
	p = mem_lookup(m, end - MEM_PAGE);
	assert_int_equal(p.read[MEM_PAGE - 1], 0x22);
	is_rom(m, end, 1);
	is_rom(m, 0xff000, CODE / MEM_PAGE);

	assert_int_equal(mem_set_map(m, 16, LINK_MAP_NONE, base, VARS, 0), 0);
	is_nothing(m, base);
	is_nothing(m, end - MEM_PAGE);
	is_rom(m, end, 1);
	assert_int_equal(mem_set_map(m, 16, LINK_MAP_NONE, base, 0, 0), 0);
	assert_int_equal(mem_lookup(m, base).read[0], 0x11);
	assert_int_equal(mem_set_map(m, 16, LINK_MAP_NONE, base, VARS, 0), 0);
	mem_reset(m);
	assert_int_equal(mem_lookup(m, base).read[0], 0x11);

	assert_int_equal(ftruncate(mem_flash_fd(m), 0), -1);	/* sealed */
	assert_int_equal(mem_add_flash(m, VARS, err, sizeof(err)), -EINVAL);	/* there is one */
	munmap(other, VARS);
	mem_free(m);
}

/* Neither begins where a chunk of the directory does. */
static void flash_in_the_middle(void **state)
{
	struct mem *m = ram_rom(1 * MIB, 1 * MIB);
	uint64_t base = GIB4 - MIB - 128 * KIB;

	(void)state;
	assert_int_equal(mem_add_flash(m, 128 * KIB, err, sizeof(err)), 0);
	is_nothing(m, base - MEM_PAGE);
	assert_non_null(mem_lookup(m, base).read);
	assert_ptr_equal(mem_lookup(m, GIB4 - MIB - MEM_PAGE).read, mem_lookup(m, base).read + 128 * KIB - MEM_PAGE);
	is_rom(m, GIB4 - MIB, 1);
	mem_free(m);
}

static void bad_flash(void **state)
{
	struct mem *m = ram(1 * MIB), *with = ram_rom(1 * MIB, 64 * KIB);

	(void)state;
	assert_int_equal(mem_add_flash(m, MEM_PAGE, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "boot ROM"));
	assert_int_equal(mem_add_flash(with, 0, err, sizeof(err)), -EINVAL);
	assert_int_equal(mem_add_flash(with, MEM_PAGE + 1, err, sizeof(err)), -EINVAL);
	assert_int_equal(mem_add_flash(with, MEM_ROM_MAX, err, sizeof(err)), -EINVAL);
	assert_int_equal(mem_flash_bytes(with), 0);
	assert_int_equal(mem_add_flash(with, MEM_ROM_MAX - 64 * KIB, err, sizeof(err)), 0);
	assert_non_null(mem_lookup(with, GIB4 - MEM_ROM_MAX).read);
	mem_free(m);
	mem_free(with);
}

/* A device model that moves a slot through all of the address space runs out of tables, not of our memory. */
static void tables_are_bounded(void **state)
{
	struct mem *m = ram(1 * MIB);
	int e = 0;

	(void)state;
	for (uint64_t base = 0; base < GIB4 && !e; base += MIB)
		e = mem_set_map(m, 0, LINK_MAP_RAM, base, MEM_PAGE, 0);
	assert_int_equal(e, -ENOSPC);
	mem_reset(m);
	is_ram(m, 0, 0);
	assert_int_equal(mem_set_map(m, 0, LINK_MAP_RAM, 0xa0000, MEM_PAGE, 0), 0);
	mem_free(m);
}

static void copies(void **state)
{
	struct mem *m = ram_rom(1 * MIB, 128 * KIB);
	uint8_t out[6000], in[6000];

	(void)state;
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7);
	assert_true(mem_copy_to(m, 0x1f00, out, sizeof(out)));
	assert_memory_equal(mem_ram(m) + 0x1f00, out, sizeof(out));
	assert_true(mem_copy_from(m, 0x1f00, in, sizeof(in)));
	assert_memory_equal(in, out, sizeof(out));
	assert_true(mem_copy_from(m, 0xe0fff, in, 2));
	assert_int_equal(in[0], 1);
	assert_int_equal(in[1], 2);
	assert_false(mem_copy_to(m, 0xe0000, out, 1));
	assert_false(mem_copy_from(m, 0x9ffff, in, 2));
	assert_false(mem_copy_from(m, UINT64_MAX, in, 2));
	assert_true(mem_copy_from(m, 0xa0000, in, 0));
	mem_free(m);
}

static void bad_sizes(void **state)
{
	struct rlimit old, low = { 0 };
	struct mem *m;

	(void)state;
	assert_int_equal(mem_new(&m, 0, err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "MiB"));
	assert_null(m);
	assert_int_equal(mem_new(&m, MIB + 4096, err, sizeof(err)), -EINVAL);
	assert_int_equal(mem_new(&m, MEM_BYTES_MAX + MIB, err, sizeof(err)), -EINVAL);

	/* no memory: the address space is limited (a sanitizer needs all of its own) */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	low = old;
	low.rlim_cur = 64 * MIB;
	assert_int_equal(setrlimit(RLIMIT_AS, &low), 0);
	assert_int_equal(mem_new(&m, 512 * MIB, err, sizeof(err)), -ENOMEM);
	assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
	assert_null(m);
	assert_non_null(strstr(err, "512M"));
	assert_non_null(strstr(err, "-m"));
#else
	(void)old, (void)low;
#endif
}

static void bad_roms(void **state)
{
	static const size_t sizes[] = { 0, 1, 65535, 65537, 100000, MEM_ROM_MAX + MEM_ROM_UNIT };
	struct mem *m = ram_rom(1 * MIB, 64 * KIB);
	char path[32];

	(void)state;
	assert_int_equal(mem_load_rom(m, "test_mem.none", err, sizeof(err)), -ENOENT);
	assert_non_null(strstr(err, "test_mem.none"));
	assert_non_null(strstr(err, "seabios"));
	assert_int_equal(mem_load_rom(m, ".", err, sizeof(err)), -EINVAL);
	assert_non_null(strstr(err, "regular file"));
	assert_int_equal(mem_load_rom(m, "/dev/zero", err, sizeof(err)), -EINVAL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		rom_file(path, sizes[i]);
		err[0] = 0;
		assert_int_equal(mem_load_rom(m, path, err, sizeof(err)), -EINVAL);
		assert_non_null(strstr(err, "multiple of 4 KiB"));
		assert_non_null(strstr(err, path));
		unlink(path);
	}
	if (geteuid() != 0) {
		rom_file(path, 65536);
		chmod(path, 0);
		assert_int_equal(mem_load_rom(m, path, err, sizeof(err)), -EACCES);
		assert_non_null(strstr(err, "readable"));
		unlink(path);
	}
	is_rom(m, 0xf0000, 1);		/* what was loaded before stays */
	mem_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pc_layout),
		cmocka_unit_test(rom_sizes),
		cmocka_unit_test(high_ram),
		cmocka_unit_test(fd_is_sealed),
		cmocka_unit_test(pam_steps),
		cmocka_unit_test(pam_without_rom),
		cmocka_unit_test(slots_move_and_overlap),
		cmocka_unit_test(bad_slots),
		cmocka_unit_test(flash),
		cmocka_unit_test(flash_in_the_middle),
		cmocka_unit_test(bad_flash),
		cmocka_unit_test(tables_are_bounded),
		cmocka_unit_test(copies),
		cmocka_unit_test(bad_sizes),
		cmocka_unit_test(bad_roms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
