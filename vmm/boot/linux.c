/*
 * vmm/boot/linux.c - Linux bzImages, by the 64-bit or the 32-bit boot protocol.
 *
 * Linux, Documentation/arch/x86/boot.rst ("The Real-Mode Kernel Header",
 * "32-bit Boot Protocol", "64-bit Boot Protocol") and zero-page.rst.  Protocol
 * 2.02 (Linux 2.4.0) or later, loaded high.
 */
#include "vmm/boot/load.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "proto/direct.h"
#include "vmm/boot/boot.h"
#include "vmm/x86/state.h"

/* The header, as offsets in the file and in boot_params alike. */
enum {
	HDR_START = 0x1f1, HDR_END_MAX = 0x290,
	HDR_SETUP_SECTS = 0x1f1, HDR_SYSSIZE = 0x1f4, HDR_VID_MODE = 0x1fa, HDR_BOOT_FLAG = 0x1fe, HDR_JUMP = 0x200,
	HDR_MAGIC = 0x202, HDR_VERSION = 0x206, HDR_LOADER = 0x210, HDR_LOADFLAGS = 0x211, HDR_CODE32 = 0x214,
	HDR_RAMDISK = 0x218, HDR_RAMDISK_SIZE = 0x21c, HDR_HEAP_END = 0x224, HDR_CMDLINE = 0x228,
	HDR_INITRD_MAX = 0x22c, HDR_RELOCATABLE = 0x234, HDR_XLOADFLAGS = 0x236, HDR_CMDLINE_SIZE = 0x238,
	HDR_SETUP_DATA = 0x250, HDR_PREF_ADDRESS = 0x258, HDR_INIT_SIZE = 0x260,
};

/* The rest of boot_params. */
enum {
	PARAMS_BYTES = 4096, PARAMS_RSDP = 0x070, PARAMS_E820_ENTRIES = 0x1e8, PARAMS_E820 = 0x2d0, E820_BYTES = 20,
};

#define MAGIC			0x53726448u	/* "HdrS" */
#define BOOT_FLAG		0xaa55u
#define LOADED_HIGH		0x01u
#define XLF_KERNEL_64		0x0001u
#define LOADER_UNDEFINED	0xffu
#define VID_MODE_NORMAL		0xffffu
#define ENTRY64			0x200u		/* behind the load address */
#define LOAD_DEFAULT		0x100000u
#define INITRD_MAX_DEFAULT	0x37ffffffu
#define CMDLINE_DEFAULT		255u
#define SETUP_RNG_SEED		9u

enum { SECTOR = 512, SETUP_SECTS_DEFAULT = 4, SEED_BYTES = 32, SETUP_DATA_HEAD = 16 };

struct image {
	unsigned version;
	bool is64;
	uint64_t offset, bytes;		/* of the protected-mode part in the file */
	uint64_t address, need;		/* where it goes, and the memory that it wants there */
	uint64_t initrd_max, cmdline_max;
};

/* Fields of the header by offset; both processors are little-endian. */
static uint32_t get(const uint8_t *p, unsigned at, unsigned size)
{
	uint32_t v = 0;

	memcpy(&v, p + at, size);
	return v;
}

static uint64_t get64(const uint8_t *p, unsigned at)
{
	uint64_t v;

	memcpy(&v, p + at, sizeof(v));
	return v;
}

static void put(uint8_t *p, unsigned at, unsigned size, uint64_t v)
{
	memcpy(p + at, &v, size);
}

/* Where the two parts of the file lie. */
static int parse_sizes(struct load *l, struct image *im)
{
	const uint8_t *h = l->head;
	uint64_t sects = h[HDR_SETUP_SECTS] ? h[HDR_SETUP_SECTS] : SETUP_SECTS_DEFAULT, said;

	im->offset = (sects + 1) * SECTOR;
	if (l->kernel->size <= im->offset)
		return load_fail(l, -EINVAL, "%s: cut short: %llu bytes, and its real-mode part alone has %llu; the file is damaged",
				 l->kernel->name, (unsigned long long)l->kernel->size, (unsigned long long)im->offset);
	im->bytes = l->kernel->size - im->offset;
	/* Below 2.04 the upper half of the field is something else's.  A signature may follow. */
	said = im->version >= 0x204 ? (uint64_t)get(h, HDR_SYSSIZE, 4) * 16 : 0;
	if (said > im->bytes + 15)
		return load_fail(l, -EINVAL, "%s: cut short: %llu bytes, its header speaks of %llu; the file is damaged",
				 l->kernel->name, (unsigned long long)l->kernel->size, (unsigned long long)(im->offset + said));
	if (said && said < im->bytes)
		im->bytes = said;
	return 0;
}

static int parse(struct load *l, struct image *im)
{
	const uint8_t *h = l->head;

	*im = (struct image){ .version = get(h, HDR_VERSION, 2) };
	if (im->version < 0x202 || !(h[HDR_LOADFLAGS] & LOADED_HIGH))
		return load_fail(l, -ENOTSUP, "%s: a zImage or a Linux before 2.4 (boot protocol %u.%02u); only bzImages of protocol 2.02 or later can be loaded",
				 l->kernel->name, im->version >> 8, im->version & 0xff);
	im->is64 = im->version >= 0x20c && get(h, HDR_XLOADFLAGS, 2) & XLF_KERNEL_64;
	im->address = im->version >= 0x20a ? get64(h, HDR_PREF_ADDRESS) : LOAD_DEFAULT;
	im->need = im->version >= 0x20a ? get(h, HDR_INIT_SIZE, 4) : 0;
	im->initrd_max = im->version >= 0x203 ? get(h, HDR_INITRD_MAX, 4) : INITRD_MAX_DEFAULT;
	im->cmdline_max = im->version >= 0x206 ? get(h, HDR_CMDLINE_SIZE, 4) : CMDLINE_DEFAULT;
	if (im->address < LOAD_MIB || im->address >= LOAD_HIGH)
		return load_fail(l, -EINVAL, "%s: wants to be loaded at %#llx, outside of RAM below 4 GiB; the file is damaged",
				 l->kernel->name, (unsigned long long)im->address);
	return parse_sizes(l, im);
}

/* A kernel below its preferred address moves itself there, so there it is put at once. */
static int place_kernel(struct load *l, struct image *im)
{
	int ret;

	if (im->need < im->bytes)
		im->need = im->bytes;
	ret = load_claim(l, l->kernel, im->address, im->need);
	return ret ? ret : load_file(l, l->kernel, im->offset, im->address, im->bytes);
}

static int place_initrd(struct load *l, const struct image *im, uint8_t *params)
{
	const struct boot_file *f = &l->module[0].file;
	uint64_t at;
	int ret;

	if (!l->nmodules)
		return 0;
	ret = load_below(l, f->name, LOAD_MIB, im->initrd_max + 1, f->size, LOAD_PAGE, &at);
	if (!ret)
		ret = load_file(l, f, 0, at, f->size);
	if (ret)
		return ret;
	put(params, HDR_RAMDISK, 4, at);
	put(params, HDR_RAMDISK_SIZE, 4, f->size);
	return 0;
}

static int place_cmdline(struct load *l, const struct image *im, uint8_t *params)
{
	size_t n = strlen(l->append);
	uint64_t at;
	int ret;

	if (n > im->cmdline_max)
		return load_fail(l, -E2BIG, "the command line has %zu characters, this kernel takes %llu; make it shorter",
				 n, (unsigned long long)im->cmdline_max);
	ret = load_text(l, l->append, &at);
	if (!ret)
		put(params, HDR_CMDLINE, 4, at);
	return ret;
}

/* Entropy for the kernel's random numbers, which a machine just made has none of. */
static int place_seed(struct load *l, const struct image *im, uint8_t *params)
{
	uint8_t *data;
	uint64_t at;
	int ret;

	if (im->version < 0x209)
		return 0;
	ret = load_info(l, "the random seed", SETUP_DATA_HEAD + SEED_BYTES, &at);
	if (ret)
		return ret;
	data = load_at(l, at);
	put(data, 8, 4, SETUP_RNG_SEED);
	put(data, 12, 4, SEED_BYTES);
	if (getrandom(data + SETUP_DATA_HEAD, SEED_BYTES, 0) != SEED_BYTES)
		return load_fail(l, -EIO, "this host gives no random numbers: %s", strerror(errno));
	put(params, HDR_SETUP_DATA, 8, at);
	return 0;
}

static void fill_e820(struct load *l, uint8_t *params)
{
	struct load_range r[LOAD_RANGES];
	unsigned n = load_memmap(l, r);

	for (unsigned i = 0; i < n; i++) {
		uint8_t *e = params + PARAMS_E820 + i * E820_BYTES;

		put(e, 0, 8, r[i].base);
		put(e, 8, 8, r[i].len);
		put(e, 16, 4, r[i].type);
	}
	params[PARAMS_E820_ENTRIES] = n;
}

static void fill_header(const struct load *l, const struct image *im, uint8_t *params)
{
	unsigned end = HDR_MAGIC + l->head[HDR_JUMP + 1];	/* the jump goes over the header */

	memcpy(params + HDR_START, l->head + HDR_START, (end < HDR_END_MAX ? end : HDR_END_MAX) - HDR_START);
	params[HDR_LOADER] = LOADER_UNDEFINED;
	put(params, HDR_VID_MODE, 2, VID_MODE_NORMAL);
	put(params, HDR_CODE32, 4, im->address);
	/* Both protocols start behind the code that would use them. */
	put(params, HDR_HEAP_END, 2, 0);
	put(params, HDR_RAMDISK, 4, 0);
	put(params, HDR_RAMDISK_SIZE, 4, 0);
	if (im->version >= 0x209)
		put(params, HDR_SETUP_DATA, 8, 0);
	put(params, PARAMS_RSDP, 8, DIRECT_RSDP);
}

static int start(struct load *l, const struct image *im, uint64_t params)
{
	int ret = im->is64 ? load_state64(l, im->address + ENTRY64) : load_state32(l, im->address);

	if (!ret)
		l->state->gpr[X86_RSI] = params;
	return ret;
}

int linux_load(struct load *l)
{
	struct image im;
	uint64_t at;
	uint8_t *params;
	int ret;

	if (get(l->head, HDR_MAGIC, 4) != MAGIC || get(l->head, HDR_BOOT_FLAG, 2) != BOOT_FLAG)
		return 1;
	if (l->nmodules > 1)
		return load_fail(l, -EINVAL, "%s: Linux takes one initramfs, not %u", l->kernel->name, l->nmodules);
	ret = parse(l, &im);
	if (!ret)
		ret = place_kernel(l, &im);
	if (!ret)
		ret = load_info(l, "the boot parameters", PARAMS_BYTES, &at);
	if (ret)
		return ret;
	params = load_at(l, at);
	fill_header(l, &im, params);
	fill_e820(l, params);
	ret = place_initrd(l, &im, params);
	if (!ret)
		ret = place_cmdline(l, &im, params);
	if (!ret)
		ret = place_seed(l, &im, params);
	return ret ? ret : start(l, &im, at);
}
