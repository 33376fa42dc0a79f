/*
 * tests/unit/uefi_image.h - makes a small image of UEFI firmware, in the shape of
 * OVMF's: a volume, in it a compressed volume of PEI drivers.
 */
#ifndef CLEAVE_TESTS_UEFI_IMAGE_H
#define CLEAVE_TESTS_UEFI_IMAGE_H

#include <lzma.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { UEFI_IMAGE_MAX = 65536, UEFI_VOLUME = 32768 };

static const uint8_t uefi_smm_access[16] = {
	0xb4, 0x75, 0x0e, 0x6c, 0xb9, 0xb0, 0xd1, 0x44, 0x82, 0x10, 0x33, 0x77, 0xd7, 0xb4, 0xe0, 0x66,
};

static inline void uefi_put(uint8_t *p, uint64_t v, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		p[i] = v >> 8 * i;
}

/* A volume's header, and empty space behind it; returns where its first file goes. */
static inline size_t uefi_volume(uint8_t *p, size_t n)
{
	memset(p, 0xff, n);
	memset(p, 0, 72);
	uefi_put(p + 32, n, 8);
	memcpy(p + 40, "_FVH", 4);
	uefi_put(p + 48, 72, 2);
	return 72;
}

/* A file of this name and type with `n` bytes behind the header; returns its size. */
static inline size_t uefi_file(uint8_t *p, const uint8_t name[16], uint8_t type, size_t n)
{
	memcpy(p, name, 16);
	memset(p + 16, 0, 8);
	p[18] = type;
	uefi_put(p + 20, 24 + n, 3);
	return 24 + n;
}

static inline size_t uefi_pack(uint8_t *to, size_t cap, const uint8_t *from, size_t n)
{
	lzma_stream s = LZMA_STREAM_INIT;
	lzma_options_lzma o;

	lzma_lzma_preset(&o, 0);
	o.dict_size = 1 << 16;
	s.next_in = from;
	s.avail_in = n;
	s.next_out = to;
	s.avail_out = cap;
	if (lzma_alone_encoder(&s, &o) != LZMA_OK || lzma_code(&s, LZMA_FINISH) != LZMA_STREAM_END)
		abort();
	lzma_end(&s);
	return cap - s.avail_out;
}

/* UEFI_IMAGE_MAX bytes; with or without the driver that needs SMM. */
static inline void uefi_image_make(uint8_t *to, bool smm)
{
	static const uint8_t lzma_guid[16] = {
		0x98, 0x58, 0x4e, 0xee, 0x14, 0x39, 0x59, 0x42, 0x9d, 0x6e, 0xdc, 0x7b, 0xd7, 0x94, 0x03, 0xcf,
	}, other[16] = { 1, 2, 3 };
	static uint8_t inner[128 + UEFI_VOLUME];
	uint8_t *pei = inner + 128;
	size_t at, section, packed;

	memset(inner, 0, sizeof(inner));
	uefi_put(inner, 124, 3);		/* raw */
	inner[3] = 0x19;
	uefi_put(inner + 124, 4 + UEFI_VOLUME, 3);
	inner[127] = 0x17;			/* volume */
	at = uefi_volume(pei, UEFI_VOLUME);
	at += uefi_file(pei + at, other, 6, 40);
	at = (at + 7) & ~7ul;
	uefi_file(pei + at, smm ? uefi_smm_access : other, 6, 33);

	at = uefi_volume(to, UEFI_IMAGE_MAX);
	section = at + 24;
	packed = uefi_pack(to + section + 24, 16384, inner, sizeof(inner));
	uefi_file(to + at, other, 0x0b, 24 + packed);
	uefi_put(to + section, 24 + packed, 3);
	to[section + 3] = 2;			/* defined by a GUID */
	memcpy(to + section + 4, lzma_guid, 16);
	uefi_put(to + section + 20, 24, 2);
	uefi_put(to + section + 22, 1, 2);
}

#endif
