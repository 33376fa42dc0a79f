/*
 * direct.c - sets the machine up for a kernel that is started without firmware
 * (direct.h).
 *
 * Works as firmware does, through configuration space, so that devices hear of
 * it in the usual way; the tables are written by DMA.
 *
 * 82441FX: 3.2.18 (PAM).  82371SB: 2.2.4 (PIRQRC).  82371AB: 7.1 (PMBA, SMBBA).
 * PCI 3.0: 6.2.5.1 (BARs).
 */
#include "devmodel/firmware/direct.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "devmodel/bus/pci.h"
#include "devmodel/firmware/acpi.h"
#include "devmodel/firmware/tables.h"
#include "devmodel/machine.h"
#include "proto/direct.h"

enum {
	CFG_COMMAND = 0x04, CFG_BAR0 = 0x10, CFG_INT_LINE = 0x3c,
	COMMAND_IO = 1, COMMAND_MEMORY = 2, COMMAND_MASTER = 4,
	PAM0 = 0x59, PAM6 = 0x5f, PIRQRC = 0x60,
	PMBA = 0x40, PMREGMISC = 0x80, SMBBA = 0x90, SMBHSTCFG = 0xd2,
	SMB_BASE = 0x700,
};

static const uint8_t pirq_line[4] = { 10, 10, 11, 11 };

static void set(struct dev *d, unsigned off, unsigned size, uint32_t v)
{
	pci_config_write(d->m, 1u << 31 | d->a->devfn << 8 | (off & 0xfc), off & 3, size, v);
}

/* ---- resources */

struct space { uint64_t next, end; };

static uint64_t take(struct space *s, uint32_t size)
{
	uint64_t base = (s->next + size - 1) & ~(uint64_t)(size - 1);

	if (base + size > s->end)
		return 0;
	s->next = base + size;
	return base;
}

static int assign_bars(struct dev *d, struct space *io, struct space *memory)
{
	uint16_t command = COMMAND_MASTER;

	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *b = &d->ops->pci->bar[i];
		uint64_t base;

		if (!b->size)
			continue;
		command |= b->io ? COMMAND_IO : COMMAND_MEMORY;
		if (b->fixed)
			continue;
		base = take(b->io ? io : memory, b->size);
		if (!base) {
			dev_error(d, "no room for its BAR %u of %u bytes", i, b->size);
			return -ENOSPC;
		}
		set(d, CFG_BAR0 + 4 * i, 4, base);
	}
	set(d, CFG_COMMAND, 2, command);
	if (d->ops->pci->pin)
		set(d, CFG_INT_LINE, 1, pirq_line[board_pirq(d->slot, d->ops->pci->pin - 1)]);
	return 0;
}

static void route_pirqs(struct dev *bridge)
{
	for (unsigned i = 0; i < 4; i++)
		set(bridge, PIRQRC + i, 1, pirq_line[i]);
}

static void place_pm(struct dev *pm)
{
	set(pm, PMBA, 4, DIRECT_PM_BASE | 1);
	set(pm, PMREGMISC, 1, 1);
	set(pm, SMBBA, 4, SMB_BASE | 1);
	set(pm, SMBHSTCFG, 1, 0x09);	/* enabled, by IRQ 9 */
	set(pm, CFG_INT_LINE, 1, BOARD_SCI);
}

static void open_shadow_ram(struct dev *host)
{
	enum { ALL_RAM = 0x33 };

	for (unsigned reg = PAM0; reg <= PAM6; reg++)
		set(host, reg, 1, ALL_RAM);
}

static int assign(struct machine *m)
{
	struct space io = { DIRECT_PCI_IO, 0x10000 }, memory = { DIRECT_PCI_MEM, 0xfec00000 };
	struct dev *host = machine_pci(m, 0, 0), *bridge = machine_dev(m, "lpc"), *pm = machine_dev(m, "piix4pm");
	int err = 0;

	for (unsigned i = 0; i < m->ndevs && !err; i++)
		if (m->dev[i].ops->pci)
			err = assign_bars(&m->dev[i], &io, &memory);
	if (host)
		open_shadow_ram(host);
	if (bridge)
		route_pirqs(bridge);
	if (pm)
		place_pm(pm);
	return err;
}

/* ---- tables */

static int write_acpi(struct dev *d, const struct board *b)
{
	struct acpi *t = malloc(sizeof(*t));
	int err = t ? acpi_build(t, b) : -ENOMEM;

	if (!err && t->size > DIRECT_RSDP - DIRECT_ACPI)
		err = -ENOSPC;
	err = err ? err : acpi_place(t, DIRECT_RSDP, DIRECT_ACPI);
	if (!err && !(dma_write(d, DIRECT_ACPI, t->tables, t->size) && dma_write(d, DIRECT_RSDP, t->rsdp, sizeof(t->rsdp))))
		err = -EFAULT;
	if (err)
		dev_error(d, "no ACPI tables without firmware: %s", err == -EFAULT ? "less than 1 MiB of memory" : "no room");
	free(t);
	return err;
}

static int write_smbios(struct dev *d)
{
	struct smbios *t = malloc(sizeof(*t));
	int err = t ? tables_smbios(t, d) : -ENOMEM;

	if (!err) {
		smbios_place(t, DIRECT_SMBIOS_TABLES);
		if (!dma_write(d, DIRECT_SMBIOS_TABLES, t->tables, t->size) ||
		    !dma_write(d, DIRECT_SMBIOS, t->anchor, sizeof(t->anchor)))
			err = -EFAULT;
	}
	free(t);
	return err;
}

int firmware_direct(struct machine *m)
{
	struct dev *d = machine_dev(m, "fwcfg");
	struct board b;
	int err;

	if (!d) {
		snprintf(m->error, sizeof(m->error), "a machine without firmware needs the fwcfg device: do not remove it");
		return -ENODEV;
	}
	err = assign(m);
	board_read(&b, m);
	if (machine_dev(m, "piix4pm") && tables_wanted(d))
		err = err ? err : write_acpi(d, &b);
	return err ? err : write_smbios(d);
}
