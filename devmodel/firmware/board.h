/*
 * devmodel/firmware/board.h - the machine, as its ACPI and SMBIOS tables tell it.
 *
 * All but `pm_base` follows from the configuration and does not change while
 * the machine lives.  Tables are a pure function of this struct, and their
 * size does not depend on pm_base.
 */
#ifndef CLEAVE_DEVMODEL_FIRMWARE_BOARD_H
#define CLEAVE_DEVMODEL_FIRMWARE_BOARD_H

#include <stdbool.h>
#include <stdint.h>

struct machine;

enum {
	BOARD_SCI = 9,
	BOARD_GSI_PIRQ = 16,	/* PIRQ A-D at the I/O APIC: 16-19, whatever ISA line they are routed to */
	BOARD_COMS = 4,
};

struct board {
	uint64_t ram_low, ram_high;
	unsigned vcpus;
	bool apic, hpet;
	bool com[BOARD_COMS], i8042, fwcfg, fwcfg_dma, pvpanic, display;
	uint16_t pvpanic_port;
	uint16_t pm_base;	/* of the ACPI registers */
	uint8_t uuid[16];	/* as it is written */
};

void board_read(struct board *, struct machine *);
/* Where the ACPI registers are now; before firmware has said so, where they will be without it. */
uint16_t board_pm_base(struct machine *);
/* The PIRQ, 0-3, behind pin 0-3 (INTA# is 0) of a slot. */
unsigned board_pirq(unsigned slot, unsigned pin);

#endif
