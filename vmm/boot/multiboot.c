/*
 * vmm/boot/multiboot.c - multiboot 1 kernels: 32-bit ELF, or flat by their header.
 *
 * Multiboot Specification 0.6.96, chapter 3.  Offers memory size and map,
 * command line, modules and the loader's name; no video mode and no drives.
 */
#include "vmm/boot/load.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/boot/boot.h"
#include "vmm/x86/state.h"

#define HEADER_MAGIC	0x1badb002u
#define LOADER_MAGIC	0x2badb002u	/* in EAX */

#define HEADER_VIDEO	(1u << 2)	/* in the lower half, what one does not know must be refused */
#define HEADER_KNOWN	0x0007u
#define HEADER_ADDRESSES (1u << 16)

#define INFO_MEMORY	(1u << 0)
#define INFO_CMDLINE	(1u << 2)
#define INFO_MODULES	(1u << 3)
#define INFO_MEMMAP	(1u << 6)
#define INFO_LOADER	(1u << 9)

struct header {
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr, drives_length, drives_addr, config_table, loader_name, apm_table;
	uint32_t vbe[4];
};

struct module {
	uint32_t start, end, string, reserved;
};

struct range {
	uint32_t size;		/* of what follows */
	uint64_t base, len;
	uint32_t type;
} __attribute__((packed));

_Static_assert(sizeof(struct info) == 88, "as the specification has it");
_Static_assert(sizeof(struct module) == 16, "as the specification has it");
_Static_assert(sizeof(struct range) == 24, "as the specification has it");

/* The header in the file's first 8 KiB; false: there is none. */
static bool find_header(const struct load *l, struct header *h, uint64_t *offset)
{
	uint64_t n = l->kernel->size < LOAD_HEAD ? l->kernel->size : LOAD_HEAD;

	*h = (struct header){ 0 };
	for (uint64_t at = 0; at + 12 <= n; at += 4) {
		memcpy(h, l->head + at, n - at < sizeof(*h) ? n - at : sizeof(*h));
		if (h->magic == HEADER_MAGIC && h->magic + h->flags + h->checksum == 0) {
			*offset = at;
			return true;
		}
	}
	return false;
}

static int damaged(struct load *l, const char *what)
{
	return load_fail(l, -EINVAL, "%s: its multiboot header says that %s; the file is damaged", l->kernel->name, what);
}

/* What the header's own addresses say; `end` is where the modules may begin. */
static int load_flat(struct load *l, const struct header *h, uint64_t header_at, uint64_t *entry, uint64_t *end)
{
	uint64_t before = (uint64_t)h->header_addr - h->load_addr, offset = header_at - before, bytes, memory;
	int ret;

	if (h->header_addr < h->load_addr || before > header_at)
		return damaged(l, "it is loaded from before its first byte");
	bytes = l->kernel->size - offset;
	if (h->load_end_addr) {
		if (h->load_end_addr < h->load_addr || h->load_end_addr - h->load_addr > bytes)
			return damaged(l, "it is longer than it is");
		bytes = h->load_end_addr - h->load_addr;
	}
	memory = bytes;
	if (h->bss_end_addr) {
		if (h->bss_end_addr < h->load_addr || h->bss_end_addr - h->load_addr < bytes)
			return damaged(l, "its data end before they are loaded");
		memory = h->bss_end_addr - h->load_addr;
	}
	if (h->entry_addr < h->load_addr || h->entry_addr - h->load_addr >= memory)
		return damaged(l, "it is entered outside of what is loaded");
	ret = load_claim(l, l->kernel, h->load_addr, memory);
	if (!ret)
		ret = load_file(l, l->kernel, offset, h->load_addr, bytes);
	if (!ret)
		load_zero(l, h->load_addr + bytes, memory - bytes);
	*entry = h->entry_addr;
	*end = h->load_addr + memory;
	return ret;
}

static int load_elf(struct load *l, uint64_t *entry, uint64_t *end)
{
	struct elf e;
	int ret = elf_parse(l, &e);

	if (ret)
		return ret < 0 ? ret : damaged(l, "it is an ELF file, and it is none");
	if (e.is64)
		return load_fail(l, -ENOTSUP, "%s: a 64-bit ELF file whose multiboot header has no addresses; multiboot 1 starts 32-bit ones",
				 l->kernel->name);
	ret = elf_load(l, &e);
	*entry = e.entry;
	*end = 0;
	for (unsigned i = 0; i < e.nsegments; i++)
		if (e.segment[i].paddr + e.segment[i].memsz > *end)
			*end = e.segment[i].paddr + e.segment[i].memsz;
	return ret;
}

/* "NAME ARGUMENTS", as boot loaders give it. */
static int place_line(struct load *l, const struct boot_file *f, const char *arguments, uint32_t *to)
{
	const char *slash = strrchr(f->name, '/'), *name = slash ? slash + 1 : f->name;
	size_t n = strlen(name) + 1 + strlen(arguments) + 1;
	uint64_t at;
	int ret = load_info(l, "the command line", n, &at);

	if (!ret)
		snprintf(load_at(l, at), n, "%s%s%s", name, *arguments ? " " : "", arguments);
	*to = (uint32_t)at;
	return ret;
}

static int place_modules(struct load *l, struct info *info, uint64_t min)
{
	struct module *to;
	uint64_t list;
	int ret;

	info->flags |= INFO_MODULES;
	if (!l->nmodules)
		return 0;
	ret = load_info(l, "the list of modules", l->nmodules * sizeof(*to), &list);
	if (ret)
		return ret;
	info->mods_count = l->nmodules;
	info->mods_addr = (uint32_t)list;
	to = load_at(l, list);
	for (unsigned i = 0; i < l->nmodules && !ret; i++) {
		const struct load_module *m = &l->module[i];
		uint64_t at;

		ret = load_above(l, m->file.name, min, LOAD_HIGH, m->file.size, LOAD_PAGE, &at);
		if (!ret)
			ret = load_file(l, &m->file, 0, at, m->file.size);
		if (!ret)
			ret = place_line(l, &m->file, m->arguments, &to[i].string);
		if (ret)
			break;
		to[i].start = (uint32_t)at;
		to[i].end = (uint32_t)(at + m->file.size);
	}
	return ret;
}

static int place_memmap(struct load *l, struct info *info)
{
	struct load_range r[LOAD_RANGES];
	unsigned n = load_memmap(l, r);
	struct range *to;
	uint64_t at;
	int ret = load_info(l, "the memory map", n * sizeof(*to), &at);

	if (ret)
		return ret;
	to = load_at(l, at);
	for (unsigned i = 0; i < n; i++)
		to[i] = (struct range){ .size = sizeof(*to) - sizeof(to->size), .base = r[i].base, .len = r[i].len, .type = r[i].type };
	info->flags |= INFO_MEMORY | INFO_MEMMAP;
	info->mem_lower = BOOT_EBDA / 1024;
	info->mem_upper = (uint32_t)(l->low > LOAD_MIB ? (l->low - LOAD_MIB) / 1024 : 0);
	info->mmap_addr = (uint32_t)at;
	info->mmap_length = n * sizeof(*to);
	return 0;
}

static int place_info(struct load *l, uint64_t end, uint64_t *at)
{
	struct info info = { .flags = INFO_CMDLINE | INFO_LOADER };
	uint64_t name = 0;
	int ret = load_info(l, "the multiboot information", sizeof(info), at);

	if (!ret)
		ret = place_line(l, l->kernel, l->append, &info.cmdline);
	if (!ret)
		ret = load_text(l, "cleave", &name);
	info.loader_name = (uint32_t)name;
	if (!ret)
		ret = place_modules(l, &info, end < LOAD_MIB ? LOAD_MIB : end);
	if (!ret)
		ret = place_memmap(l, &info);
	if (!ret)
		memcpy(load_at(l, *at), &info, sizeof(info));
	return ret;
}

int multiboot_load(struct load *l)
{
	struct header h;
	uint64_t at, info, entry = 0, end = 0;
	int ret;

	if (!find_header(l, &h, &at))
		return 1;
	if (h.flags & 0xffff & ~HEADER_KNOWN)
		return load_fail(l, -ENOTSUP, "%s: its multiboot header demands what is not offered (flags %#x)", l->kernel->name, h.flags);
	if (h.flags & HEADER_VIDEO)
		return load_fail(l, -ENOTSUP, "%s: its multiboot header demands a video mode; this machine has no display", l->kernel->name);
	ret = h.flags & HEADER_ADDRESSES ? load_flat(l, &h, at, &entry, &end) : load_elf(l, &entry, &end);
	if (!ret)
		ret = place_info(l, end, &info);
	if (!ret)
		ret = load_state32(l, entry);
	if (ret)
		return ret;
	l->state->gpr[X86_RAX] = LOADER_MAGIC;
	l->state->gpr[X86_RBX] = info;
	return 0;
}
