/*
 * vmm/boot/boot.c - opens the files of a direct boot and finds their protocol.
 */
#include "vmm/boot/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/boot/load.h"
#include "vmm/mem.h"
#include "vmm/x86/state.h"

struct boot {
	struct boot_file kernel;
	struct load_module module[LOAD_MODULES];
	unsigned nmodules;
	const char *append;
	char *list;			/* the modules' names and arguments */
	const char *initrd;
};

/* ---- opening */

static int open_file(struct boot_file *f, const char *what, const char *name, char *err, size_t errlen)
{
	struct stat st;
	int e;

	f->name = name;
	f->fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (f->fd < 0 || fstat(f->fd, &st) < 0) {
		e = errno;
		snprintf(err, errlen, "cannot open the %s %s: %s", what, name, strerror(e));
		return -e;
	}
	if (!S_ISREG(st.st_mode) || !st.st_size) {
		snprintf(err, errlen, "the %s %s is %s", what, name, S_ISREG(st.st_mode) ? "empty" : "not a regular file");
		return -EINVAL;
	}
	f->size = (uint64_t)st.st_size;
	return 0;
}

/* The next item of a list with commas, ",," being one comma, cut off in place. */
static char *next_item(char **rest)
{
	char *item = *rest, *from = item, *to = item;

	while (*from && (*from != ',' || from[1] == ',')) {
		from += *from == ',';
		*to++ = *from++;
	}
	*rest = *from ? from + 1 : NULL;
	*to = 0;
	return item;
}

static int open_modules(struct boot *b, char *err, size_t errlen)
{
	char *rest = b->list;
	int ret = 0;

	while (rest && !ret) {
		char *name = next_item(&rest), *arguments = name + strcspn(name, " ");
		struct load_module *m = &b->module[b->nmodules];

		if (b->nmodules == LOAD_MODULES) {
			snprintf(err, errlen, "more than %d modules", LOAD_MODULES);
			return -E2BIG;
		}
		if (*arguments)
			*arguments++ = 0;
		m->arguments = arguments;
		b->nmodules++;
		ret = open_file(&m->file, "module", name, err, errlen);
	}
	return ret;
}

/* A file of that very name is the one that is meant, whatever commas and blanks it has. */
static int open_initrd(struct boot *b, char *err, size_t errlen)
{
	if (!strpbrk(b->initrd, ", ") || !access(b->initrd, F_OK)) {
		b->module[0].arguments = "";
		b->nmodules = 1;
		return open_file(&b->module[0].file, "initramfs", b->initrd, err, errlen);
	}
	b->list = strdup(b->initrd);
	return b->list ? open_modules(b, err, errlen) : -ENOMEM;
}

int boot_new(struct boot **out, const char *kernel, const char *initrd, const char *append, char *err, size_t errlen)
{
	struct boot *b = calloc(1, sizeof(*b));
	int ret;

	*out = NULL;
	if (!b)
		return -ENOMEM;
	b->kernel.fd = -1;
	for (unsigned i = 0; i < LOAD_MODULES; i++)
		b->module[i].file.fd = -1;
	b->append = append ? append : "";
	b->initrd = initrd;
	ret = open_file(&b->kernel, "kernel", kernel, err, errlen);
	if (!ret && initrd)
		ret = open_initrd(b, err, errlen);
	if (ret)
		boot_free(b);
	else
		*out = b;
	return ret;
}

void boot_free(struct boot *b)
{
	if (!b)
		return;
	if (b->kernel.fd >= 0)
		close(b->kernel.fd);
	for (unsigned i = 0; i < LOAD_MODULES; i++)
		if (b->module[i].file.fd >= 0)
			close(b->module[i].file.fd);
	free(b->list);
	free(b);
}

/* ---- loading */

static int (*const protocol[])(struct load *) = { linux_load, pvh_load, multiboot_load };

static int unknown(struct load *l)
{
	static const struct { const char *magic; unsigned n; const char *what; } packed[] = {
		{ "\x1f\x8b", 2, "gzip" }, { "\xfd" "7zXZ", 5, "xz" }, { "BZh", 3, "bzip2" },
		{ "\x28\xb5\x2f\xfd", 4, "zstd" }, { "\x04\x22\x4d\x18", 4, "lz4" },
	};

	for (unsigned i = 0; i < sizeof(packed) / sizeof(packed[0]); i++)
		if (!memcmp(l->head, packed[i].magic, packed[i].n))
			return load_fail(l, -ENOEXEC, "%s: is compressed with %s; unpack it first", l->kernel->name, packed[i].what);
	if (!memcmp(l->head, "\x7f" "ELF", 4))
		return load_fail(l, -ENOEXEC, "%s: an ELF file with neither a PVH entry nor a multiboot header; for Linux give the bzImage, or set CONFIG_PVH",
				 l->kernel->name);
	return load_fail(l, -ENOEXEC, "%s: no kernel that can be started directly: want a Linux bzImage, an ELF file with a PVH entry, or multiboot 1",
			 l->kernel->name);
}

/* What firmware leaves for those who look: the EBDA's segment and the size of conventional memory. */
static void fill_bda(struct load *l)
{
	const uint16_t ebda = BOOT_EBDA >> 4, kib = BOOT_EBDA >> 10;

	memcpy(load_at(l, 0x40e), &ebda, sizeof(ebda));
	memcpy(load_at(l, 0x413), &kib, sizeof(kib));
	*(uint8_t *)load_at(l, BOOT_EBDA) = 1;		/* its size, KiB */
}

static void begin(struct load *l, const struct boot *b, struct mem *mem, struct x86_state *state, char *err, size_t errlen)
{
	uint64_t bytes = mem_ram_bytes(mem);

	memset(l, 0, sizeof(*l));
	l->mem = mem;
	l->ram = mem_ram(mem);
	l->low = bytes < MEM_LOW_MAX ? bytes : MEM_LOW_MAX;
	l->high = bytes - l->low;
	l->state = state;
	l->kernel = &b->kernel;
	l->module = b->module;
	l->nmodules = b->nmodules;
	l->append = b->append;
	l->err = err;
	l->errlen = errlen;
}

int boot_load(struct boot *b, struct mem *mem, struct x86_state *state, char *err, size_t errlen)
{
	struct load *l = malloc(sizeof(*l));
	int ret;

	if (!l)
		return -ENOMEM;
	begin(l, b, mem, state, err, errlen);
	ret = load_read(l, l->kernel, 0, l->head, l->kernel->size < LOAD_HEAD ? l->kernel->size : LOAD_HEAD);
	if (!ret)
		ret = 1;
	for (unsigned i = 0; ret == 1 && i < sizeof(protocol) / sizeof(protocol[0]); i++)
		ret = protocol[i](l);
	if (ret == 1)
		ret = unknown(l);
	if (!ret)
		fill_bda(l);
	free(l);
	return ret;
}
