/*
 * vmm/boot/uefi.c - looks into an image of UEFI firmware (uefi.h).
 *
 *	code image = firmware volume
 *	  file of type FV
 *	    section: LZMA			OVMF packs PEI and DXE phase into one
 *	      section: raw (padding)
 *	      section: volume of the PEI phase	<- the drivers that are looked for
 *	      section: volume of the DXE phase	<- 13 MB that need not be unpacked
 *
 * An OVMF that was built with SMM_REQUIRE has the PEI driver SmmAccessPei, which
 * stops for good where the chipset has no SMRAM that it knows.  Other builds do
 * not have it.
 *
 * UEFI Platform Initialization 1.7, volume 3: 3.2.1 (volume header), 3.2.3 (file
 * header), 3.2.4 (section header), 3.2.5.7 (GUID-defined section).  Believes no
 * length that it reads.
 */
#include "vmm/boot/uefi.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"

#ifdef HAVE_LZMA
#include <lzma.h>
#endif

enum {
	FV_SIGNATURE = 40, FV_LENGTH = 32, FV_HEADER_LENGTH = 48, FV_HEADER = 56,
	FILE_TYPE = 18, FILE_ATTRIBUTES = 19, FILE_SIZE = 20, FILE_HEADER = 24, FILE_HEADER2 = 32,
	FILE_LARGE = 1 << 0,
	FILE_TYPE_VOLUME = 0x0b,
	SECTION_TYPE = 3, SECTION_HEADER = 4, SECTION_HEADER2 = 8, SECTION_LARGE = 0xffffff,
	SECTION_GUIDED = 0x02, SECTION_VOLUME = 0x17,
	GUIDED_DATA_OFFSET = 16,		/* from the header's end */
	GUID = 16,
	DEPTH_MAX = 4, VOLUME_MAX = 256 << 20,
};

/* ABSENT is certain; CUT: it may be in what is not there yet. */
enum found { ABSENT, FOUND, CUT };

/* A GUID as it lies in memory. */
static const uint8_t smm_access_pei[GUID] = {
	0xb4, 0x75, 0x0e, 0x6c, 0xb9, 0xb0, 0xd1, 0x44, 0x82, 0x10, 0x33, 0x77, 0xd7, 0xb4, 0xe0, 0x66,
};
static const uint8_t lzma_section[GUID] = {
	0x98, 0x58, 0x4e, 0xee, 0x14, 0x39, 0x59, 0x42, 0x9d, 0x6e, 0xdc, 0x7b, 0xd7, 0x94, 0x03, 0xcf,
};

static uint64_t get(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

static size_t align(size_t at, size_t to)
{
	return (at + to - 1) & ~(to - 1);
}

static enum found look_sections(const uint8_t *p, size_t n, unsigned depth);

/* ---- LZMA */

#ifdef HAVE_LZMA
/* The PEI volume comes first and is some 900 KiB, most of it at the end empty. */
enum { STEP = 128 << 10, UNPACKED_MAX = 2 << 20, LZMA_MEMORY = 64 << 20 };

static enum found look_unpacked(lzma_stream *s, uint8_t *to, unsigned depth)
{
	enum found found = CUT;

	for (size_t have = 0; found == CUT && have < UNPACKED_MAX; have = s->next_out - to) {
		lzma_ret ret;

		s->next_out = to + have;
		s->avail_out = UNPACKED_MAX - have < STEP ? UNPACKED_MAX - have : STEP;
		ret = lzma_code(s, LZMA_RUN);
		found = look_sections(to, s->next_out - to, depth);
		if (ret != LZMA_OK || s->next_out == to + have)
			break;
	}
	return found == FOUND ? FOUND : ABSENT;
}

static enum found look_lzma(const uint8_t *p, size_t n, unsigned depth)
{
	lzma_stream s = LZMA_STREAM_INIT;
	uint8_t *to = malloc(UNPACKED_MAX);
	enum found found = ABSENT;

	s.next_in = p;
	s.avail_in = n;
	if (to && lzma_alone_decoder(&s, LZMA_MEMORY) == LZMA_OK)
		found = look_unpacked(&s, to, depth);
	lzma_end(&s);
	free(to);
	return found;
}
#else
static enum found look_lzma(const uint8_t *p, size_t n, unsigned depth)
{
	(void)p, (void)n, (void)depth;
	return ABSENT;
}
#endif

/* ---- volumes, files, sections */

static enum found look_file(const uint8_t *p, size_t header, size_t n, unsigned depth)
{
	if (!memcmp(p, smm_access_pei, GUID))
		return FOUND;
	return p[FILE_TYPE] == FILE_TYPE_VOLUME ? look_sections(p + header, n - header, depth) : ABSENT;
}

static enum found look_volume(const uint8_t *p, size_t n, unsigned depth)
{
	size_t at, length;

	if (n < FV_HEADER)
		return CUT;
	length = get(p + FV_LENGTH, 8);
	if (!uefi_image(p, n) || length > VOLUME_MAX)
		return ABSENT;
	for (at = get(p + FV_HEADER_LENGTH, 2); at < length && at + FILE_HEADER2 <= n;) {
		bool large = p[at + FILE_ATTRIBUTES] & FILE_LARGE;
		size_t header = large ? FILE_HEADER2 : FILE_HEADER;
		size_t size = large ? get(p + at + FILE_HEADER, 8) : get(p + at + FILE_SIZE, 3);
		enum found found;

		if (size < header || size > length - at)
			return ABSENT;		/* free space, all FFh */
		found = look_file(p + at, header, size < n - at ? size : n - at, depth);
		if (found == FOUND)
			return FOUND;
		at = align(at + size, 8);
	}
	return at < length ? CUT : ABSENT;
}

static enum found look_guided(const uint8_t *p, size_t header, size_t n, unsigned depth)
{
	size_t data;

	if (n < header + GUID + 2)
		return CUT;
	data = get(p + header + GUIDED_DATA_OFFSET, 2);
	if (memcmp(p + header, lzma_section, GUID) || data > n)
		return ABSENT;
	return look_lzma(p + data, n - data, depth);
}

static enum found look_sections(const uint8_t *p, size_t n, unsigned depth)
{
	if (!depth)
		return ABSENT;
	for (size_t at = 0; at + SECTION_HEADER2 <= n;) {
		size_t size = get(p + at, 3), header = SECTION_HEADER, have;
		enum found found = ABSENT;

		if (size == SECTION_LARGE) {
			size = get(p + at + SECTION_HEADER, 4);
			header = SECTION_HEADER2;
		}
		if (size < header)
			return ABSENT;
		have = size < n - at ? size : n - at;
		if (p[at + SECTION_TYPE] == SECTION_VOLUME)
			found = look_volume(p + at + header, have - header, depth - 1);
		else if (p[at + SECTION_TYPE] == SECTION_GUIDED)
			found = look_guided(p + at, header, have, depth - 1);
		/* The first volume is the one: PEI's. */
		if (found != ABSENT || p[at + SECTION_TYPE] == SECTION_VOLUME)
			return found;
		at = align(at + size, 4);
	}
	return CUT;
}

bool uefi_image(const uint8_t *image, size_t n)
{
	return n >= FV_HEADER && !memcmp(image + FV_SIGNATURE, "_FVH", 4);
}

bool uefi_needs_smm(const uint8_t *image, size_t n)
{
	return uefi_image(image, n) && look_volume(image, n, DEPTH_MAX) == FOUND;
}
