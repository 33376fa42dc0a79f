/*
 * devmodel/bus/pci.h - a PCI function's side of the bus (PCI Local Bus 3.0).
 *
 * A device with `.pci` is a PCI function.  The bus owns the 256 bytes of
 * configuration space (part of the function's undo-saved state, kept by the
 * bus), the write masks, BAR sizing and decoding, the command register and
 * INTx; the function states its identity once and hears of what changed.
 */
#ifndef CLEAVE_DEVMODEL_BUS_PCI_H
#define CLEAVE_DEVMODEL_BUS_PCI_H

#include "devmodel/device.h"

enum { PCI_BARS = 6 };

struct pci_bar {
	uint32_t size;		/* power of two, 0 for none */
	bool io;
	uint8_t region;		/* region id given to read/write while decoded */
	bool batch, posted;
	uint32_t fixed;		/* not a register: an address that the function always decodes (IDE compatibility mode) */
};

struct pci_ops {
	uint16_t vendor, device, subvendor, subdevice;
	uint32_t class_rev;	/* class << 8 | revision */
	uint8_t header;		/* 0x80 marks multi-function */
	uint8_t pin;		/* INTA# = 1, 0 for none */
	struct pci_bar bar[PCI_BARS];

	/* Fills device-specific registers and their write masks (0 bits are read-only), at reset. */
	void (*config_init)(struct dev *, uint8_t *config, uint8_t *wmask);
	/* After a configuration write that touched [off, off + size); the space holds the new value. */
	void (*config_written)(struct dev *, unsigned off, unsigned size);
};

const uint8_t *pci_config(const struct dev *);		/* the function's 256 bytes */
void pci_config_set8(struct dev *, unsigned off, uint8_t value);	/* the device's own change, undo-saved */
void pci_intx(struct dev *, bool level);		/* through the PIRQ router to a GSI; absolute, idempotent */
bool pci_bus_master(const struct dev *);

#endif
