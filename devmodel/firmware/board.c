/*
 * board.c - reads the machine for its tables (board.h).
 */
#include "devmodel/firmware/board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devmodel/bus/pci.h"
#include "devmodel/machine.h"
#include "proto/direct.h"

enum { PMBA = 0x40, PMREGMISC = 0x80, CLASS_DISPLAY = 3 };	/* of the 82371AB */

uint16_t board_pm_base(struct machine *m)
{
	struct dev *d = machine_dev(m, "piix4pm");
	const uint8_t *config = d ? pci_config(d) : NULL;
	uint16_t base = config ? (config[PMBA + 1] << 8 | config[PMBA]) & 0xffc0 : 0;

	return config && config[PMREGMISC] & 1 && base ? base : DIRECT_PM_BASE;
}

static bool has_display(const struct machine *m)
{
	for (unsigned i = 0; i < m->ndevs; i++) {
		const struct pci_ops *p = m->dev[i].ops->pci;

		if (p && p->class_rev >> 24 == CLASS_DISPLAY)
			return true;
	}
	return false;
}

void board_read(struct board *b, struct machine *m)
{
	const struct dev *uart = machine_dev(m, "uart"), *fwcfg = machine_dev(m, "fwcfg"), *panic = machine_dev(m, "pvpanic");
	const char *dma = fwcfg ? dev_conf(fwcfg, "dma") : NULL, *port = panic ? dev_conf(panic, "ioport") : NULL;

	*b = (struct board){
		.ram_low = m->ram_low, .ram_high = m->ram_high, .vcpus = m->conf.vcpus,
		.apic = m->conf.apic, .hpet = m->conf.hpet,
		.i8042 = machine_dev(m, "i8042"), .fwcfg = fwcfg, .fwcfg_dma = !dma || strcmp(dma, "off"),
		.pvpanic = panic, .pvpanic_port = port ? strtoul(port, NULL, 0) : 0x505,
		.display = has_display(m), .pm_base = board_pm_base(m) };
	memcpy(b->uuid, m->conf.uuid, sizeof(b->uuid));
	for (unsigned i = 0; i < BOARD_COMS && uart; i++) {
		char key[8];

		snprintf(key, sizeof(key), "com%u", i + 1);
		b->com[i] = dev_conf(uart, key);
	}
}

unsigned board_pirq(unsigned slot, unsigned pin)
{
	return (slot + pin + 3) & 3;
}
