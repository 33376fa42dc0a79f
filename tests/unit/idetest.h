/*
 * tests/unit/idetest.h - what the tests of the IDE controller share: a guest's
 * side of the command and packet protocols, and disks whose sectors tell their
 * own number.
 */
#ifndef CLEAVE_TESTS_IDETEST_H
#define CLEAVE_TESTS_IDETEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/devharness.h"

enum { DATA, ERROR, COUNT, LBA, MID, HIGH, DEVICE, STATUS, COMMAND = STATUS, FEATURE = ERROR };
enum { ERR = 0x01, DRQ = 0x08, DSC = 0x10, DF = 0x20, DRDY = 0x40, BSY = 0x80, READY = DRDY | DSC };
enum { ABRT = 0x04, IDNF = 0x10, UNC = 0x40 };
enum { PRIMARY = 0x1f0, PRIMARY_CONTROL = 0x3f6, SECONDARY = 0x170, SECONDARY_CONTROL = 0x376 };

struct ata {
	uint16_t feature, count;
	uint64_t lba;
	uint8_t device, command;
};

/* Each 16-byte piece holds the sector's number and its own. */
static inline void disk_pattern(uint8_t *disk, size_t n)
{
	for (size_t i = 0; i + 16 <= n; i += 16) {
		uint64_t piece[2] = { i / 512, ~(uint64_t)i };

		memcpy(disk + i, piece, 16);
	}
}

static inline void ata_issue(struct harness *h, uint16_t base, struct ata c)
{
	h_out(h, base + DEVICE, 1, c.device | (c.device & 0x40 ? c.lba >> 24 & 0x0f : 0));
	h_out(h, base + FEATURE, 1, c.feature & 0xff);
	h_out(h, base + COUNT, 1, c.count & 0xff);
	for (unsigned i = 0; i < 3; i++)
		h_out(h, base + LBA + i, 1, c.lba >> 8 * i & 0xff);
	h_out(h, base + COMMAND, 1, c.command);
}

static inline void ata_issue_ext(struct harness *h, uint16_t base, struct ata c)
{
	h_out(h, base + DEVICE, 1, c.device | 0x40);
	h_out(h, base + COUNT, 1, c.count >> 8);
	for (unsigned i = 0; i < 3; i++)
		h_out(h, base + LBA + i, 1, c.lba >> (24 + 8 * i) & 0xff);
	h_out(h, base + COUNT, 1, c.count & 0xff);
	for (unsigned i = 0; i < 3; i++)
		h_out(h, base + LBA + i, 1, c.lba >> 8 * i & 0xff);
	h_out(h, base + COMMAND, 1, c.command);
}

static inline uint16_t word(const uint8_t *p, unsigned n)
{
	return p[2 * n] | p[2 * n + 1] << 8;
}

static inline uint32_t be32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

#endif
