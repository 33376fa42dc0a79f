/* UEFI images: which need system management mode; what is cut or damaged is no reason to refuse. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/uefi_image.h"
#include "vmm/boot/uefi.h"

static uint8_t image[UEFI_IMAGE_MAX];

static void made(void **state)
{
	(void)state;
	uefi_image_make(image, false);
	assert_true(uefi_image(image, sizeof(image)));
	assert_false(uefi_needs_smm(image, sizeof(image)));
	uefi_image_make(image, true);
	assert_true(uefi_needs_smm(image, sizeof(image)));
}

static void no_firmware_volume(void **state)
{
	(void)state;
	memset(image, 0, sizeof(image));
	assert_false(uefi_image(image, sizeof(image)));
	assert_false(uefi_needs_smm(image, sizeof(image)));
	memcpy(image + 40, "_FVH", 4);
	assert_false(uefi_image(image, 44));
	assert_false(uefi_needs_smm(image, sizeof(image)));
}

static void cut_short(void **state)
{
	unsigned found = 0;

	(void)state;
	uefi_image_make(image, true);
	for (size_t n = 0; n < 2000; n++) {
		uint8_t *part = malloc(n ? n : 1);	/* a sanitizer sees a read beyond it */

		memcpy(part, image, n);
		found += uefi_needs_smm(part, n);
		free(part);
	}
	assert_true(found > 0 && found < 1900);
}

/* Debian's own, where they are installed. */
static bool file_needs_smm(const char *path, bool *there)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *p;
	bool yes;

	*there = fd >= 0;
	if (fd < 0)
		return false;
	assert_int_equal(fstat(fd, &st), 0);
	p = mmap(NULL, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_true(uefi_image(p, st.st_size));
	yes = uefi_needs_smm(p, st.st_size);
	munmap(p, st.st_size);
	close(fd);
	return yes;
}

static void debian(void **state)
{
	static const struct { const char *path; bool smm; } file[] = {
		{ "/usr/share/OVMF/OVMF_CODE_4M.fd", false }, { "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", true },
		{ "/usr/share/OVMF/OVMF_CODE.fd", false }, { "/usr/share/OVMF/OVMF_CODE.secboot.fd", true },
		{ "/usr/share/OVMF/OVMF_CODE_4M.ms.fd", true }, { "/usr/share/ovmf/OVMF.fd", false },
	};
	bool there;

	(void)state;
	for (unsigned i = 0; i < sizeof(file) / sizeof(file[0]); i++) {
		bool smm = file_needs_smm(file[i].path, &there);

		if (there && smm != file[i].smm)
			fail_msg("%s: %s SMM", file[i].path, smm ? "needs" : "does not need");
		if (!there)
			printf("%s is not installed (package ovmf)\n", file[i].path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(made), cmocka_unit_test(no_firmware_volume), cmocka_unit_test(cut_short), cmocka_unit_test(debian),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
