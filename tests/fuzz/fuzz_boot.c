/*
 * tests/fuzz/fuzz_boot.c - a kernel file of hostile bytes, with a module.
 *
 * Whatever the file says: a reason when it is refused, a state with the entry
 * in RAM when it is not, and not a byte written outside of what may be: the
 * interrupt vectors, the tables' area and the hole below it stay as they were.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/boot/boot.h"
#include "vmm/mem.h"
#include "vmm/x86/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

#define RAM_BYTES	(32ull << 20)

enum { HOLE = 0xa0000, HOLE_END = 0x100000, VECTORS = 0x400, MARK = 0x5a };

static struct mem *mem;
static int kernel_fd, module_fd;
static char kernel[40], module[40];

static void need(int ok)
{
	if (!ok)
		abort();
}

static void set_up(void)
{
	char err[256];

	need(!mem_new(&mem, RAM_BYTES, err, sizeof(err)));
	memset(mem_ram(mem), MARK, VECTORS);
	memset(mem_ram(mem) + HOLE, MARK, HOLE_END - HOLE);
	kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
	module_fd = memfd_create("module", MFD_CLOEXEC);
	need(kernel_fd >= 0 && module_fd >= 0 && write(module_fd, "module", 6) == 6);
	snprintf(kernel, sizeof(kernel), "/proc/self/fd/%d", kernel_fd);
	snprintf(module, sizeof(module), "/proc/self/fd/%d", module_fd);
}

static void unharmed(uint64_t from, uint64_t to)
{
	const uint8_t *p = mem_ram(mem) + from;

	need(*p == MARK && !memcmp(p, p + 1, to - from - 1));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct x86_state state = { 0 };
	char err[512] = "";
	struct boot *b;

	if (!mem)
		set_up();
	need(!ftruncate(kernel_fd, 0) && pwrite(kernel_fd, data, size, 0) == (ssize_t)size);
	if (boot_new(&b, kernel, size & 1 ? module : NULL, "command line", err, sizeof(err))) {
		need(*err);
		return 0;
	}
	if (boot_load(b, mem, &state, err, sizeof(err)))
		need(*err);
	else
		need(state.seg[X86_CS].selector == 0x10 && state.rflags == 2);
	unharmed(0, VECTORS);
	unharmed(HOLE, HOLE_END);
	boot_free(b);
	return 0;
}

static size_t put(uint8_t *buf, size_t at, unsigned size, uint64_t v)
{
	memcpy(buf + at, &v, size);
	return at + size;
}

static size_t seed_linux(uint8_t *buf)
{
	put(buf, 0x1f1, 1, 1);
	put(buf, 0x1f4, 4, 16);
	put(buf, 0x1fe, 2, 0xaa55);
	put(buf, 0x200, 2, 0x6aeb);
	put(buf, 0x202, 4, 0x53726448);
	put(buf, 0x206, 2, 0x20f);
	put(buf, 0x211, 1, 1);
	put(buf, 0x22c, 4, 0x7fffffff);
	put(buf, 0x236, 2, 3);
	put(buf, 0x238, 4, 2047);
	put(buf, 0x258, 8, 16 << 20);
	put(buf, 0x260, 4, 4 << 20);
	return 1024 + 257;
}

/* ELF, 64 bits, PVH: one segment, one note. */
static size_t seed_pvh(uint8_t *buf)
{
	static const uint8_t head[] = { 0x7f, 'E', 'L', 'F', 2, 1, 1 };

	memcpy(buf, head, sizeof(head));
	put(buf, 18, 2, 62);
	put(buf, 32, 8, 64);
	put(buf, 54, 2, 56);
	put(buf, 56, 2, 2);
	put(buf, 64, 4, 1), put(buf, 64 + 24, 8, 2 << 20), put(buf, 64 + 32, 8, 256), put(buf, 64 + 40, 8, 8192);
	put(buf, 120, 4, 4), put(buf, 120 + 8, 8, 192), put(buf, 120 + 32, 8, 24);
	put(buf, 192, 4, 4), put(buf, 196, 4, 8), put(buf, 200, 4, 18);
	memcpy(buf + 204, "Xen", 4);
	put(buf, 208, 8, 2 << 20);
	return 257;
}

static size_t seed_flat(uint8_t *buf)
{
	const uint32_t magic = 0x1badb002, flags = 1 << 16 | 3;
	const uint32_t field[] = { magic, flags, -(magic + flags), 1 << 20, 1 << 20, 0, (1 << 20) + 4096, (1 << 20) + 32 };

	memcpy(buf, field, sizeof(field));
	return 257;
}

/* ELF, 32 bits, multiboot. */
static size_t seed_elf32(uint8_t *buf)
{
	static const uint8_t head[] = { 0x7f, 'E', 'L', 'F', 1, 1, 1 };
	const uint32_t magic = 0x1badb002, field[] = { magic, 3, -(magic + 3) };

	memcpy(buf, head, sizeof(head));
	put(buf, 18, 2, 3);
	put(buf, 24, 4, 1 << 20);
	put(buf, 28, 4, 52);
	put(buf, 42, 2, 32);
	put(buf, 44, 2, 1);
	put(buf, 52, 4, 1), put(buf, 52 + 12, 4, 1 << 20), put(buf, 52 + 16, 4, 128), put(buf, 52 + 20, 4, 4096);
	memcpy(buf + 96, field, sizeof(field));
	return 257;
}

size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static size_t (*const seed[])(uint8_t *) = { seed_linux, seed_pvh, seed_flat, seed_elf32 };

	if (n >= sizeof(seed) / sizeof(seed[0]) || cap < 2048)
		return 0;
	memset(buf, 0, 2048);
	return seed[n](buf);
}
