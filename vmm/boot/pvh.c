/*
 * vmm/boot/pvh.c - ELF kernels with a PVH entry: Linux, NetBSD, FreeBSD, Xen.
 *
 * Xen, docs/misc/pvh.pandoc ("x86/HVM direct boot ABI") and
 * public/arch-x86/hvm/start_info.h, version 1.
 */
#include "vmm/boot/load.h"

#include <errno.h>
#include <string.h>

#include "proto/direct.h"
#include "vmm/x86/state.h"

#define START_MAGIC	0x336ec578u
#define START_VERSION	1u

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct start_module {
	uint64_t paddr, size, cmdline, reserved;
};

struct start_range {
	uint64_t addr, size;
	uint32_t type, reserved;
};

_Static_assert(sizeof(struct start_info) == 56, "as the ABI has it");
_Static_assert(sizeof(struct start_module) == 32, "as the ABI has it");
_Static_assert(sizeof(struct start_range) == 24, "as the ABI has it");

static int place_module(struct load *l, const struct load_module *m, struct start_module *to)
{
	uint64_t at;
	int ret = load_below(l, m->file.name, LOAD_MIB, LOAD_HIGH, m->file.size, LOAD_PAGE, &at);

	if (!ret)
		ret = load_file(l, &m->file, 0, at, m->file.size);
	if (ret)
		return ret;
	*to = (struct start_module){ .paddr = at, .size = m->file.size };
	return *m->arguments ? load_text(l, m->arguments, &to->cmdline) : 0;
}

static int place_modules(struct load *l, struct start_info *info)
{
	struct start_module *to;
	int ret;

	if (!l->nmodules)
		return 0;
	ret = load_info(l, "the list of modules", l->nmodules * sizeof(*to), &info->modlist);
	if (ret)
		return ret;
	to = load_at(l, info->modlist);
	info->nr_modules = l->nmodules;
	for (unsigned i = 0; i < l->nmodules && !ret; i++)
		ret = place_module(l, &l->module[i], &to[i]);
	return ret;
}

static int place_memmap(struct load *l, struct start_info *info)
{
	struct load_range r[LOAD_RANGES];
	struct start_range *to;
	int ret;

	info->memmap_entries = load_memmap(l, r);
	ret = load_info(l, "the memory map", info->memmap_entries * sizeof(*to), &info->memmap);
	if (ret)
		return ret;
	to = load_at(l, info->memmap);
	for (unsigned i = 0; i < info->memmap_entries; i++)
		to[i] = (struct start_range){ .addr = r[i].base, .size = r[i].len, .type = r[i].type };
	return 0;
}

static int place_info(struct load *l, uint64_t *at)
{
	struct start_info info = { .magic = START_MAGIC, .version = START_VERSION, .rsdp = DIRECT_RSDP };
	int ret = load_info(l, "the start information", sizeof(info), at);

	if (!ret)
		ret = load_text(l, l->append, &info.cmdline);
	if (!ret)
		ret = place_modules(l, &info);
	if (!ret)
		ret = place_memmap(l, &info);
	if (!ret)
		memcpy(load_at(l, *at), &info, sizeof(info));
	return ret;
}

static bool inside(const struct elf *e, uint64_t entry)
{
	for (unsigned i = 0; i < e->nsegments; i++)
		if (entry - e->segment[i].paddr < e->segment[i].memsz)
			return true;
	return false;
}

int pvh_load(struct load *l)
{
	struct elf e;
	uint64_t info;
	int ret = elf_parse(l, &e);

	if (ret)
		return ret;
	if (!e.pvh)
		return 1;
	if (!inside(&e, e.pvh_entry))
		return load_fail(l, -EINVAL, "%s: its PVH entry %#llx lies outside of what is loaded; the file is damaged",
				 l->kernel->name, (unsigned long long)e.pvh_entry);
	ret = elf_load(l, &e);
	if (!ret)
		ret = place_info(l, &info);
	if (!ret)
		ret = load_state32(l, e.pvh_entry);
	if (!ret)
		l->state->gpr[X86_RBX] = info;
	return ret;
}
