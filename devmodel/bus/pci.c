/*
 * pci.c - configuration space, base address registers, INTx.
 *
 * PCI Local Bus 3.0: 3.2.2.3 (configuration mechanism #1), 6.1 (header),
 * 6.2.2 (command), 6.2.3 (status: interrupt, capabilities), 6.2.5.1 (sizing and decoding).  One bus, number 0.
 *
 * A function's 256 bytes live in its arena record and are saved for undo; the
 * write masks follow from its pci_ops and are made again by every process.
 *
 * Must not know: chipset registers, ports of the configuration mechanism.
 */
#include "devmodel/bus/pci.h"

#include <string.h>

#include "devmodel/machine.h"
#include "devmodel/txn.h"

enum {
	CFG_VENDOR = 0x00, CFG_DEVICE = 0x02, CFG_COMMAND = 0x04, CFG_STATUS = 0x06, CFG_REVISION = 0x08,
	CFG_CACHE_LINE = 0x0c, CFG_LATENCY = 0x0d, CFG_HEADER = 0x0e, CFG_BAR0 = 0x10,
	CFG_SUBVENDOR = 0x2c, CFG_SUBDEVICE = 0x2e, CFG_CAPABILITIES = 0x34, CFG_INT_LINE = 0x3c, CFG_INT_PIN = 0x3d,

	COMMAND_IO = 1 << 0, COMMAND_MEMORY = 1 << 1, COMMAND_MASTER = 1 << 2,
	COMMAND_PARITY = 1 << 6, COMMAND_SERR = 1 << 8, COMMAND_INTX_OFF = 1 << 10,
	COMMAND_WRITABLE = COMMAND_IO | COMMAND_MEMORY | COMMAND_MASTER | COMMAND_PARITY | COMMAND_SERR,
	STATUS_INTX = 1 << 3, STATUS_CAPABILITIES = 1 << 4,

	BAR_IO = 1, BAR_MEM64 = 4, BAR_PREFETCH = 8,
};

/* No guest here has more physical address bits than these. */
#define PCI_ADDRESS_MAX ((1ull << 46) - 1)

static void put16(uint8_t *p, uint16_t v)
{
	memcpy(p, &v, 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, 4);
}

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static uint8_t *space(struct dev *d)
{
	txn_save(d->m, d->a->pci, sizeof(d->a->pci), &d->saved.pci);
	return d->a->pci;
}

static uint32_t bar_type(const struct pci_bar *b)
{
	return (b->io ? BAR_IO : 0) | (b->mem64 ? BAR_MEM64 : 0) | (b->prefetch ? BAR_PREFETCH : 0);
}

/* Power-on values and write masks. */
static void fill(struct dev *d, uint8_t *config, uint8_t *wmask)
{
	const struct pci_ops *p = d->ops->pci;

	memset(config, 0, 256);
	memset(wmask, 0, 256);
	put16(config + CFG_VENDOR, p->vendor);
	put16(config + CFG_DEVICE, p->device);
	put32(config + CFG_REVISION, p->class_rev);
	config[CFG_HEADER] = p->header;
	put16(config + CFG_SUBVENDOR, p->subvendor);
	put16(config + CFG_SUBDEVICE, p->subdevice);
	config[CFG_INT_PIN] = p->pin;
	put16(wmask + CFG_COMMAND, COMMAND_WRITABLE | (p->pin ? COMMAND_INTX_OFF : 0));
	wmask[CFG_CACHE_LINE] = wmask[CFG_LATENCY] = 0xff;
	wmask[CFG_INT_LINE] = 0xff;
	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *b = &p->bar[i];

		if (!b->size || b->fixed)
			continue;
		put32(config + CFG_BAR0 + 4 * i, bar_type(b));
		put32(wmask + CFG_BAR0 + 4 * i, ~(b->size - 1));
		if (b->mem64)
			put32(wmask + CFG_BAR0 + 4 * i + 4, ~0u);
	}
	if (p->config_init)
		p->config_init(d, config, wmask);
}

/* Where the function decodes this BAR; 0 for nowhere. */
static uint64_t bar_address(const struct dev *d, unsigned i)
{
	const struct pci_bar *b = &d->ops->pci->bar[i];
	uint16_t command = get16(d->a->pci + CFG_COMMAND);
	uint64_t base;

	if (b->fixed)
		return b->fixed;
	if (!(command & (b->io ? COMMAND_IO : COMMAND_MEMORY)))
		return 0;
	base = get32(d->a->pci + CFG_BAR0 + 4 * i) & ~(b->size - 1);
	if (b->mem64)
		base |= (uint64_t)get32(d->a->pci + CFG_BAR0 + 4 * i + 4) << 32;
	/* The value that sizing leaves behind is no address, whatever the command register says. */
	if (base + b->size - 1 > (b->io ? 0xffffull : b->mem64 ? PCI_ADDRESS_MAX : 0xfffffffeull))
		return 0;
	return base;
}

uint64_t pci_bar(const struct dev *d, unsigned bar)
{
	return bar < PCI_BARS && d->ops->pci->bar[bar].size ? bar_address(d, bar) : 0;
}

static void decode(struct dev *d)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *b = &d->ops->pci->bar[i];
		uint64_t base;

		if (!b->size)
			continue;
		base = bar_address(d, i);
		dev_region(d, &(struct dev_region){
			.base = base, .len = base ? b->size : 0, .id = b->region,
			.mmio = !b->io, .batch = b->batch, .posted = b->posted });
	}
}

void pci_attach(struct dev *d, bool fresh)
{
	uint8_t config[256];

	fill(d, config, d->pci_wmask);
	if (fresh)
		memcpy(space(d), config, sizeof(config));
	decode(d);
}

void pci_reset_function(struct dev *d)
{
	uint8_t config[256];

	fill(d, config, d->pci_wmask);
	memcpy(space(d), config, sizeof(config));
	decode(d);
	pci_intx(d, false);
}

const uint8_t *pci_config(const struct dev *d)
{
	return d->a->pci;
}

void pci_config_set8(struct dev *d, unsigned off, uint8_t value)
{
	space(d)[off & 0xff] = value;
}

bool pci_bus_master(const struct dev *d)
{
	return d->a->pci[CFG_COMMAND] & COMMAND_MASTER;
}

void pci_capability(uint8_t *config, unsigned at, uint8_t id)
{
	config[CFG_STATUS] |= STATUS_CAPABILITIES;
	config[at] = id;
	config[at + 1] = config[CFG_CAPABILITIES];
	config[CFG_CAPABILITIES] = at;
}

/* ---- configuration mechanism #1 */

static struct dev *addressed(struct machine *m, uint32_t addr)
{
	if (!(addr & 1u << 31))
		return NULL;
	return machine_pci(m, addr >> 16 & 0xff, addr >> 8 & 0xff);
}

uint32_t pci_config_read(struct machine *m, uint32_t addr, unsigned off, unsigned size)
{
	struct dev *d = addressed(m, addr);
	uint32_t v = 0xffffffff;

	if (off + size > 4)
		return v;
	if (d) {
		v = 0;
		if (d->ops->pci->config_reading)
			d->ops->pci->config_reading(d, (addr & 0xfc) + off, size);
		memcpy(&v, d->a->pci + (addr & 0xfc) + off, size);
	}
	return v;
}

/* The router sees the pin's level: what the function asserts, unless it is disabled. */
static bool pin_level(const struct dev *d)
{
	return d->a->lines.intx && !(get16(d->a->pci + CFG_COMMAND) & COMMAND_INTX_OFF);
}

static void tell_pin(struct dev *d)
{
	if (d->ops->pci->pin && d->m->pci_router)
		d->m->pirq_changed(d->m->pci_router);
}

static bool overlaps(unsigned off, unsigned size, unsigned at, unsigned n)
{
	return off < at + n && at < off + size;
}

void pci_config_write(struct machine *m, uint32_t addr, unsigned off, unsigned size, uint32_t value)
{
	struct dev *d = addressed(m, addr);
	unsigned at = (addr & 0xfc) + off;
	uint8_t *config;

	if (!d || off + size > 4)
		return;
	config = space(d);
	for (unsigned i = 0; i < size; i++, value >>= 8) {
		uint8_t w = d->pci_wmask[at + i];

		config[at + i] = (config[at + i] & ~w) | (value & w);
	}
	if (overlaps(at, size, CFG_COMMAND, 2) || overlaps(at, size, CFG_BAR0, 4 * PCI_BARS))
		decode(d);
	if (overlaps(at, size, CFG_COMMAND, 2))
		tell_pin(d);
	if (d->ops->pci->config_written)
		d->ops->pci->config_written(d, at, size);
}

/* ---- interrupts */

/* The board's wiring: INTA# of slot 1 is PIRQA, and so on around. */
static unsigned pirq_of(const struct dev *d)
{
	return ((d->a->devfn >> 3) + d->ops->pci->pin + 2) & 3;
}

unsigned pci_pirq_levels(struct machine *m)
{
	unsigned levels = 0;

	for (unsigned i = 0; i < m->ndevs; i++)
		if (m->dev[i].ops->pci && pin_level(&m->dev[i]))
			levels |= 1u << pirq_of(&m->dev[i]);
	return levels;
}

void pci_set_router(struct dev *d, void (*changed)(struct dev *))
{
	d->m->pci_router = d;
	d->m->pirq_changed = changed;
}

void pci_intx(struct dev *d, bool level)
{
	struct machine *m = d->m;

	if (!d->ops->pci || !d->ops->pci->pin || !d->a->lines.intx == !level)
		return;
	txn_save(m, &d->a->lines, sizeof(d->a->lines), &d->saved.lines);
	d->a->lines.intx = level;
	pci_config_set8(d, CFG_STATUS, (d->a->pci[CFG_STATUS] & ~STATUS_INTX) | (level ? STATUS_INTX : 0));
	tell_pin(d);
}

/* ---- what lies beside CONFIG_ADDRESS */

void pci_set_cf9(struct dev *d, unsigned region)
{
	d->m->pci_cf9 = d;
	d->m->pci_cf9_region = region;
}

uint8_t pci_cf9_read(struct machine *m)
{
	return m->pci_cf9 ? machine_read(m->pci_cf9, m->pci_cf9_region, 0, 1) : 0xff;
}

void pci_cf9_write(struct machine *m, uint8_t value)
{
	if (m->pci_cf9)
		machine_write(m->pci_cf9, m->pci_cf9_region, 0, 1, value);
}
