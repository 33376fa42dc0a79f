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
	bool mem64;		/* takes this BAR and the next, whose entry stays empty */
	bool prefetch;
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
	/* After a configuration write that touched [off, off + size); the space holds the new value, BARs are decoded. */
	void (*config_written)(struct dev *, unsigned off, unsigned size);
	/* Before a read of [off, off + size): registers that are computed when looked at.  NULL for none. */
	void (*config_reading)(struct dev *, unsigned off, unsigned size);
};

const uint8_t *pci_config(const struct dev *);		/* the function's 256 bytes */
void pci_config_set8(struct dev *, unsigned off, uint8_t value);	/* the device's own change, undo-saved */
void pci_intx(struct dev *, bool level);		/* through the PIRQ router to a GSI; absolute, idempotent */
bool pci_bus_master(const struct dev *);
uint64_t pci_bar(const struct dev *, unsigned bar);	/* where it is decoded now, 0: nowhere */
/* For config_init(): the capability at `at` becomes the first of the list. */
void pci_capability(uint8_t *config, unsigned at, uint8_t id);

/* For the machine: a function joins the bus before its init(); power-on values of its space. */
void pci_attach(struct dev *, bool fresh);
void pci_reset_function(struct dev *);

/*
 * For the host bridge: configuration mechanism #1 (PCI 3.0, 3.2.2.3.2).  `addr`
 * is the CONFIG_ADDRESS register, `off` 0-3 the byte of CONFIG_DATA.
 */
uint32_t pci_config_read(struct machine *, uint32_t addr, unsigned off, unsigned size);
void pci_config_write(struct machine *, uint32_t addr, unsigned off, unsigned size, uint32_t value);

/*
 * For the ISA bridge: PIRQ A-D as levels.  The router is told of each change
 * and drives the lines; pci_pirq_levels() has a bit for each asserted PIRQ.
 */
unsigned pci_pirq_levels(struct machine *);
void pci_set_router(struct dev *, void (*changed)(struct dev *router));

/*
 * Only dword accesses at CF8h are CONFIG_ADDRESS; a byte at CF9h passes through
 * to the bridge's reset control, which is called with this region and offset 0.
 */
void pci_set_cf9(struct dev *, unsigned region);
uint8_t pci_cf9_read(struct machine *);
void pci_cf9_write(struct machine *, uint8_t value);

#endif
