/*
 * vmm/regs.h - a processor's registers by name, for the control server.
 */
#ifndef CLEAVE_VMM_REGS_H
#define CLEAVE_VMM_REGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/x86/state.h"

/* In the order in which they are shown.  Widths are in bytes, for printing and for refusing what does not fit. */
struct reg_row {
	const char *name;
	uint16_t offset;	/* in struct x86_state */
	uint8_t width;
};

struct desc_row {
	const char *name;
	uint16_t offset;
	bool table;		/* struct x86_table: no access rights */
};

extern const struct reg_row reg_table[];	/* NULL name ends it */
extern const struct desc_row desc_table[];

const struct reg_row *reg_find(const char *name);
const struct desc_row *desc_find(const char *name);
uint64_t reg_get(const struct x86_state *, const struct reg_row *);
int reg_set(struct x86_state *, const struct reg_row *, uint64_t value);	/* -ERANGE: does not fit */

/* "" or the list of near names, for an error message. */
const char *reg_hint(const char *name, char *to, size_t n);
const char *desc_hint(const char *name, char *to, size_t n);

#endif
