/*
 * devmodel/firmware/aml.h - writes ACPI machine language (ACPI 6.4, chapter 20;
 * resource descriptors: 6.4).
 *
 * AML is a prefix notation, so a program is written from left to right: an
 * opcode, then its operands.  What holds a list (a scope, a device, a method, a
 * package, a resource template) is opened and ended by aml_end(), which inserts
 * its length.
 *
 *	aml_device(a, "RTC");
 *		aml_name(a, "_HID"); aml_eisaid(a, "PNP0B00");
 *		aml_name(a, "_CRS"); aml_resources(a);
 *			aml_res_io(a, 0x70, 2);
 *		aml_end(a);
 *	aml_end(a);
 *
 * The memory is the caller's.  What does not fit is not written, and `failed`
 * says so in the end.  Nothing here knows what is described.
 */
#ifndef CLEAVE_DEVMODEL_FIRMWARE_AML_H
#define CLEAVE_DEVMODEL_FIRMWARE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AML_DEPTH = 16 };

struct aml {
	uint8_t *to;
	size_t n, max;
	bool failed;
	unsigned depth;
	struct { size_t at; bool resources; } open[AML_DEPTH];
};

/* Opcodes that take operands, and the one-byte objects; 5Bxxh are extended. */
enum aml_op {
	AML_STORE = 0x70, AML_AND = 0x7b, AML_OR = 0x7d,
	AML_LLESS = 0x95, AML_RETURN = 0xa4,
	AML_LOCAL0 = 0x60, AML_ARG0 = 0x68,
	AML_ZERO = 0x00, AML_ONE = 0x01,
};

enum aml_space { AML_SYSTEM_MEMORY, AML_SYSTEM_IO, AML_PCI_CONFIG };

void aml_begin(struct aml *, void *to, size_t max);

/* Lists, each closed by aml_end(). */
void aml_scope(struct aml *, const char *path);
void aml_device(struct aml *, const char *name);
void aml_method(struct aml *, const char *name, unsigned args, bool serialized);
void aml_if(struct aml *);		/* the condition is the first thing inside */
void aml_package(struct aml *, unsigned elements);
void aml_resources(struct aml *);	/* a buffer; ends with its end tag */
void aml_field(struct aml *, const char *region);	/* of bytes; its units by aml_unit() */
void aml_end(struct aml *);

/* Objects. */
void aml_name(struct aml *, const char *name);		/* Name(name, what is written next) */
void aml_ref(struct aml *, const char *path);
void aml_op(struct aml *, enum aml_op);
void aml_int(struct aml *, uint64_t);
void aml_string(struct aml *, const char *);
void aml_eisaid(struct aml *, const char *id);		/* "PNP0A03" */
void aml_region(struct aml *, const char *name, enum aml_space, uint64_t offset, uint64_t len);
void aml_unit(struct aml *, const char *name, unsigned bits);
void aml_dword_field(struct aml *, enum aml_op buffer, const char *name_or_null, unsigned offset, const char *field);

/* Resource descriptors; their size does not depend on the values. */
void aml_res_io(struct aml *, uint16_t base, uint8_t len);
void aml_res_irq(struct aml *, unsigned irq);			/* an ISA line: edge, high, not shared */
void aml_res_gsi(struct aml *, const uint8_t *gsi, unsigned n);	/* any of these: level, high, shared */
void aml_res_memory(struct aml *, uint32_t base, uint32_t len, bool writable);
void aml_res_buses(struct aml *, uint16_t first, uint16_t last);	/* windows of a bridge */
void aml_res_ports(struct aml *, uint16_t first, uint16_t last);
void aml_res_window(struct aml *, uint32_t first, uint32_t last, bool cacheable);
void aml_res_window64(struct aml *, uint64_t first, uint64_t last);

#endif
