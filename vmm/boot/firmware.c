/*
 * vmm/boot/firmware.c - boot ROM and room for variables (firmware.h).
 *
 * Does not know the flash chip: devmodel/ does.
 */
#include "vmm/boot/firmware.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/boot/uefi.h"
#include "vmm/config.h"
#include "vmm/mem.h"

enum { FLASH_BLOCK = 4096 };

/* The file for variables that the user named, or NULL. */
static const char *vars_path(const struct config *c)
{
	for (unsigned i = 0; i < c->ndevices; i++)
		for (unsigned k = 0; k < c->device[i].nkeys && !strcmp(c->device[i].type->name, "flash"); k++)
			if (!strcmp(c->device[i].key[k].name, "vars"))
				return c->device[i].key[k].value;
	return NULL;
}

bool firmware_template(const char *rom, char *path, size_t n)
{
	const char *code = strstr(rom, "CODE"), *rest = code ? code + 4 : NULL;
	const char *dot = rest ? strchr(rest, '.') : NULL;

	if (!dot)
		return false;
	snprintf(path, n, "%.*sVARS%.*s.fd", (int)(code - rom), rom, (int)(dot - rest), rest);
	return !access(path, R_OK);
}

static int vars_missing(const char *rom, const char *vars, int error, char *err, size_t errlen)
{
	char from[4096];

	if (error == ENOENT && firmware_template(rom, from, sizeof(from)))
		snprintf(err, errlen, "variables of the boot ROM: there is no %s; an empty store is made by: cp %s %s", vars, from, vars);
	else
		snprintf(err, errlen, "variables of the boot ROM: %s: %s", vars, strerror(error));
	return -error;
}

/* Both together are what the firmware was built as: a mixture of builds does not come out even. */
static int check_vars(const char *rom, uint64_t rom_bytes, const char *vars, const struct stat *st, char *err, size_t errlen)
{
	if (!S_ISREG(st->st_mode)) {
		snprintf(err, errlen, "variables of the boot ROM: %s is no regular file", vars);
		return -EINVAL;
	}
	if (st->st_size > 0 && st->st_size % FLASH_BLOCK == 0 && (st->st_size + rom_bytes) % MEM_ROM_UNIT == 0)
		return 0;
	snprintf(err, errlen, "variables of the boot ROM: %s has %lld bytes, which %s with its %llu cannot go with: "
		 "take the VARS file of the same build", vars, (long long)st->st_size, rom, (unsigned long long)rom_bytes);
	return -EINVAL;
}

static int flash_size(const struct mem *m, const struct config *c, uint64_t *bytes, char *err, size_t errlen)
{
	const char *vars = vars_path(c);
	uint64_t rom_bytes;
	struct stat st;

	mem_rom(m, &rom_bytes);
	if (!vars)
		return 0;
	if (stat(vars, &st))
		return vars_missing(c->bootrom, vars, errno, err, errlen);
	*bytes = st.st_size;
	return check_vars(c->bootrom, rom_bytes, vars, &st, err, errlen);
}

/* It would stop without a word. */
static int refuse_smm(const struct mem *m, const char *rom, char *err, size_t errlen)
{
	uint64_t n;
	const uint8_t *image = mem_rom(m, &n);

	if (!uefi_needs_smm(image, n))
		return 0;
	snprintf(err, errlen, "boot ROM %s: this build keeps its variables in system management mode, which this machine does not have; "
		 "take the one without (OVMF_CODE_4M.fd in place of OVMF_CODE_4M.secboot.fd)", rom);
	return -ENOTSUP;
}

int firmware_load(struct mem *m, const struct config *c, char *err, size_t errlen)
{
	uint64_t bytes = 0;
	int ret = mem_load_rom(m, c->bootrom, err, errlen);

	if (!ret)
		ret = refuse_smm(m, c->bootrom, err, errlen);
	if (!ret)
		ret = flash_size(m, c, &bytes, err, errlen);
	return ret || !bytes ? ret : mem_add_flash(m, bytes, err, errlen);
}
