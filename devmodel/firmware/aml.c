/*
 * aml.c - writes ACPI machine language (aml.h).
 *
 * ACPI 6.4: 20.2.1 (prefixes), 20.2.2 (names), 20.2.3 (data), 20.2.4 (package
 * length), 20.2.5 (terms); 6.4.2 and 6.4.3 (small and large resource items).
 */
#include "devmodel/firmware/aml.h"

#include <string.h>

enum {
	OP_NAME = 0x08, OP_BYTE = 0x0a, OP_WORD = 0x0b, OP_DWORD = 0x0c, OP_STRING = 0x0d, OP_QWORD = 0x0e,
	OP_SCOPE = 0x10, OP_BUFFER = 0x11, OP_PACKAGE = 0x12, OP_METHOD = 0x14,
	OP_DUAL = 0x2e, OP_MULTI = 0x2f, OP_ROOT = 0x5c, OP_EXT = 0x5b,
	OP_CREATE_DWORD_FIELD = 0x8a, OP_IF = 0xa0,
	EXT_REGION = 0x80, EXT_FIELD = 0x81, EXT_DEVICE = 0x82,

	SERIALIZED = 0x08,
	FIELD_BYTE_ACC = 0x01,

	RES_IRQ = 0x22, RES_IO = 0x47, RES_END = 0x79,
	RES_MEMORY32 = 0x86, RES_DWORD_SPACE = 0x87, RES_WORD_SPACE = 0x88, RES_INTERRUPT = 0x89,
	RES_QWORD_SPACE = 0x8a,
	RES_DECODE16 = 1,
	SPACE_MEMORY = 0, SPACE_IO = 1, SPACE_BUS = 2,
	SPACE_FIXED = 0x0c,		/* first and last are fixed; produced for what lies behind */
	IO_ENTIRE = 3, MEMORY_WRITABLE = 1, MEMORY_CACHEABLE = 2,
	INT_CONSUMER = 1, INT_SHARED = 8,	/* level and active high are zeros */
};

/* ---- bytes */

static void bytes(struct aml *a, const void *from, size_t n)
{
	if (a->failed || n > a->max - a->n) {
		a->failed = true;
		return;
	}
	memcpy(a->to + a->n, from, n);
	a->n += n;
}

/* Little-endian. */
static void put(struct aml *a, uint64_t v, unsigned n)
{
	uint8_t b[8];

	for (unsigned i = 0; i < n; i++)
		b[i] = v >> 8 * i;
	bytes(a, b, n);
}

static void insert(struct aml *a, size_t at, const uint8_t *from, size_t n)
{
	if (a->failed || n > a->max - a->n) {
		a->failed = true;
		return;
	}
	memmove(a->to + at + n, a->to + at, a->n - at);
	memcpy(a->to + at, from, n);
	a->n += n;
}

void aml_begin(struct aml *a, void *to, size_t max)
{
	*a = (struct aml){ .to = to, .max = max };
}

/* ---- names */

static void segment(struct aml *a, const char *s, size_t n)
{
	char seg[4];

	for (size_t i = 0; i < 4; i++)
		seg[i] = i < n ? s[i] : '_';
	if (n > 4)
		a->failed = true;
	bytes(a, seg, 4);
}

/* "\\_SB.PCI0.LNKA": segments shorter than four letters are filled up. */
static void path(struct aml *a, const char *s)
{
	unsigned n = 1;

	if (*s == '\\') {
		put(a, OP_ROOT, 1);
		s++;
	}
	for (const char *dot = s; (dot = strchr(dot, '.')); dot++)
		n++;
	if (n == 2)
		put(a, OP_DUAL, 1);
	else if (n > 2)
		put(a, n << 8 | OP_MULTI, 2);
	for (; n; n--) {
		size_t len = strcspn(s, ".");

		segment(a, s, len);
		s += len + (s[len] == '.');
	}
}

void aml_ref(struct aml *a, const char *s)
{
	path(a, s);
}

void aml_name(struct aml *a, const char *s)
{
	put(a, OP_NAME, 1);
	path(a, s);
}

/* ---- lists */

static void begin_list(struct aml *a, bool resources)
{
	if (a->depth == AML_DEPTH) {
		a->failed = true;
		return;
	}
	a->open[a->depth].at = a->n;
	a->open[a->depth++].resources = resources;
}

void aml_scope(struct aml *a, const char *s)
{
	put(a, OP_SCOPE, 1);
	begin_list(a, false);
	path(a, s);
}

void aml_device(struct aml *a, const char *name)
{
	put(a, EXT_DEVICE << 8 | OP_EXT, 2);
	begin_list(a, false);
	path(a, name);
}

void aml_method(struct aml *a, const char *name, unsigned args, bool serialized)
{
	put(a, OP_METHOD, 1);
	begin_list(a, false);
	path(a, name);
	put(a, args | (serialized ? SERIALIZED : 0), 1);
}

void aml_if(struct aml *a)
{
	put(a, OP_IF, 1);
	begin_list(a, false);
}

void aml_package(struct aml *a, unsigned elements)
{
	put(a, OP_PACKAGE, 1);
	begin_list(a, false);
	put(a, elements, 1);
}

void aml_resources(struct aml *a)
{
	put(a, OP_BUFFER, 1);
	begin_list(a, true);
}

void aml_field(struct aml *a, const char *region)
{
	put(a, EXT_FIELD << 8 | OP_EXT, 2);
	begin_list(a, false);
	path(a, region);
	put(a, FIELD_BYTE_ACC, 1);
}

/* 20.2.4: up to 63 in one byte; else a count of further bytes, and four bits here.  `own`: it counts itself. */
static unsigned package_length(uint8_t *to, size_t len, bool own)
{
	unsigned more = 0;

	if (len + own <= 0x3f) {
		to[0] = len + own;
		return 1;
	}
	do
		more++;
	while (more < 3 && (len + (own ? 1 + more : 0)) >> (4 + 8 * more));
	len += own ? 1 + more : 0;
	to[0] = more << 6 | (len & 15);
	for (unsigned i = 0; i < more; i++)
		to[1 + i] = len >> (4 + 8 * i);
	return 1 + more;
}

static unsigned integer(uint8_t *to, uint64_t v)
{
	unsigned n = v <= 0xff ? 1 : v <= 0xffff ? 2 : v <= 0xffffffff ? 4 : 8;

	if (v <= 1) {
		to[0] = v;	/* ZeroOp, OneOp */
		return 1;
	}
	to[0] = n == 1 ? OP_BYTE : n == 2 ? OP_WORD : n == 4 ? OP_DWORD : OP_QWORD;
	for (unsigned i = 0; i < n; i++)
		to[1 + i] = v >> 8 * i;
	return 1 + n;
}

void aml_end(struct aml *a)
{
	uint8_t head[16];
	size_t at;

	if (!a->depth) {
		a->failed = true;
		return;
	}
	at = a->open[--a->depth].at;
	if (a->open[a->depth].resources) {
		put(a, RES_END, 2);	/* its checksum of zero means that there is none */
		insert(a, at, head, integer(head, a->n - at));
	}
	insert(a, at, head, package_length(head, a->n - at, true));
}

/* ---- objects */

void aml_op(struct aml *a, enum aml_op op)
{
	put(a, op, 1);
}

void aml_int(struct aml *a, uint64_t v)
{
	uint8_t b[9];

	bytes(a, b, integer(b, v));
}

void aml_string(struct aml *a, const char *s)
{
	put(a, OP_STRING, 1);
	bytes(a, s, strlen(s) + 1);
}

/* Three letters of five bits, four hexadecimal digits; big-endian in a dword. */
void aml_eisaid(struct aml *a, const char *id)
{
	uint32_t v = 0;

	if (strlen(id) != 7) {
		a->failed = true;
		return;
	}
	for (unsigned i = 0; i < 3; i++)
		v = v << 5 | (id[i] - '@');
	for (unsigned i = 3; i < 7; i++)
		v = v << 4 | (id[i] <= '9' ? id[i] - '0' : id[i] - 'A' + 10);
	put(a, OP_DWORD, 1);
	put(a, __builtin_bswap32(v), 4);
}

void aml_region(struct aml *a, const char *name, enum aml_space space, uint64_t offset, uint64_t len)
{
	put(a, EXT_REGION << 8 | OP_EXT, 2);
	path(a, name);
	put(a, space, 1);
	aml_int(a, offset);
	aml_int(a, len);
}

void aml_unit(struct aml *a, const char *name, unsigned bits)
{
	uint8_t len[4];

	segment(a, name, strlen(name));
	bytes(a, len, package_length(len, bits, false));
}

void aml_dword_field(struct aml *a, enum aml_op buffer, const char *name, unsigned offset, const char *field)
{
	put(a, OP_CREATE_DWORD_FIELD, 1);
	if (name)
		path(a, name);
	else
		aml_op(a, buffer);
	aml_int(a, offset);
	path(a, field);
}

/* ---- resource descriptors */

void aml_res_io(struct aml *a, uint16_t base, uint8_t len)
{
	put(a, RES_DECODE16 << 8 | RES_IO, 2);
	put(a, base, 2);
	put(a, base, 2);
	put(a, len << 8 | 1, 2);
}

void aml_res_irq(struct aml *a, unsigned irq)
{
	put(a, RES_IRQ, 1);
	put(a, 1u << irq, 2);
}

void aml_res_gsi(struct aml *a, const uint8_t *gsi, unsigned n)
{
	put(a, RES_INTERRUPT, 1);
	put(a, 2 + 4 * n, 2);
	put(a, n << 8 | INT_CONSUMER | INT_SHARED, 2);
	for (unsigned i = 0; i < n; i++)
		put(a, gsi[i], 4);
}

void aml_res_memory(struct aml *a, uint32_t base, uint32_t len, bool writable)
{
	put(a, RES_MEMORY32, 1);
	put(a, 9, 2);
	put(a, writable, 1);
	put(a, base, 4);
	put(a, len, 4);
}

/* Word (2), dword (4) or qword (8) address space: granularity, first, last, translation, length. */
static void window(struct aml *a, unsigned width, unsigned type, unsigned specific, uint64_t first, uint64_t last)
{
	put(a, width == 2 ? RES_WORD_SPACE : width == 4 ? RES_DWORD_SPACE : RES_QWORD_SPACE, 1);
	put(a, 3 + 5 * width, 2);
	put(a, specific << 16 | SPACE_FIXED << 8 | type, 3);
	put(a, 0, width);
	put(a, first, width);
	put(a, last, width);
	put(a, 0, width);
	put(a, last - first + 1, width);
}

void aml_res_buses(struct aml *a, uint16_t first, uint16_t last)
{
	window(a, 2, SPACE_BUS, 0, first, last);
}

void aml_res_ports(struct aml *a, uint16_t first, uint16_t last)
{
	window(a, 2, SPACE_IO, IO_ENTIRE, first, last);
}

void aml_res_window(struct aml *a, uint32_t first, uint32_t last, bool cacheable)
{
	window(a, 4, SPACE_MEMORY, MEMORY_WRITABLE | (cacheable ? MEMORY_CACHEABLE : 0), first, last);
}

void aml_res_window64(struct aml *a, uint64_t first, uint64_t last)
{
	window(a, 8, SPACE_MEMORY, MEMORY_WRITABLE, first, last);
}
