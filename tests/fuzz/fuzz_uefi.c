/* Any bytes as an image of UEFI firmware: looked into without harm, and with one answer. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/unit/uefi_image.h"
#include "vmm/boot/uefi.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool smm = uefi_needs_smm(data, size);

	if (smm && !uefi_image(data, size))
		abort();
	if (uefi_needs_smm(data, size) != smm)
		abort();
	return 0;
}

/* Two whole images, cut to what there is room for: what is in them stands at their beginning. */
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static uint8_t image[UEFI_IMAGE_MAX];

	if (n > 1)
		return 0;
	uefi_image_make(image, n);
	cap = cap < sizeof(image) ? cap : sizeof(image);
	memcpy(buf, image, cap);
	return cap;
}
