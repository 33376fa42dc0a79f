/*
 * piix3.c - the PCI-to-ISA bridge of the 82371SB: routes PIRQ A-D to ISA lines,
 * and resets the machine.  The board takes the PIRQs to the I/O APIC as well.
 *
 * Intel 82371FB/82371SB data sheet (290550): 2.2 (configuration registers,
 * 2.2.4 PIRQRC), 2.5.3 RC.  The bridge's interrupt controllers, timer and port
 * 61h are in the engine; so are the ELCR ports.
 */
#include <string.h>

#include "devmodel/bus/pci.h"
#include "ipc/link.h"

enum { REGION_RESET };		/* CF9h, reached through the host bridge */

enum {
	PIRQRC = 0x60,		/* to 63h */
	PIRQRC_OFF = 0x80,

	RC_HARD = 0x02, RC_RESET = 0x04,

	ROUTABLE = 0xdef8,	/* ISA lines that a PIRQ can drive: not 0-2, 8, 13 */
	GSI_PIRQ = 16,		/* PIRQ A-D at the I/O APIC, whatever the routing registers say */
};

struct piix3 {
	uint8_t reset_control;
	uint8_t pad[7];
};

/* The lines as the asserted PIRQs and the routing registers give them. */
static void route(struct dev *d)
{
	const uint8_t *config = pci_config(d);
	unsigned pirq = pci_pirq_levels(dev_machine(d)), lines = 0;

	for (unsigned i = 0; i < 4; i++)
		if (pirq & 1u << i && !(config[PIRQRC + i] & PIRQRC_OFF))
			lines |= 1u << (config[PIRQRC + i] & 15);
	for (unsigned gsi = 0; gsi < 16; gsi++)
		if (ROUTABLE & 1u << gsi)
			dev_irq(d, gsi, lines >> gsi & 1);
	for (unsigned i = 0; i < 4; i++)
		dev_irq(d, GSI_PIRQ + i, pirq >> i & 1);
}

static void config_init(struct dev *d, uint8_t *config, uint8_t *wmask)
{
	static const struct { uint8_t off, value, writable; } reg[] = {
		{ 0x04, 0x07, 0x00 }, { 0x05, 0x00, 0x01 },	/* command: hard-wired but for SERR# */
		{ 0x07, 0x02, 0x00 },				/* status: DEVSEL# medium */
		{ 0x3c, 0x00, 0x00 },
		{ 0x4c, 0x4d, 0xff },				/* IORT */
		{ 0x4e, 0x03, 0xff }, { 0x4f, 0x00, 0x01 },	/* XBCS */
		{ 0x60, 0x80, 0x8f }, { 0x61, 0x80, 0x8f }, { 0x62, 0x80, 0x8f }, { 0x63, 0x80, 0x8f },
		{ 0x69, 0x02, 0xfe },				/* TOM */
		{ 0x70, 0x80, 0xcf },				/* MBIRQ */
		{ 0x76, 0x0c, 0x8f }, { 0x77, 0x0c, 0x8f },	/* MBDMA */
		{ 0x78, 0x02, 0xfe }, { 0x79, 0x00, 0xff },	/* PCSC */
		{ 0xa0, 0x08, 0x1f },				/* SMICNTL */
		{ 0xa2, 0x00, 0xff }, { 0xa3, 0x00, 0x00 },	/* SMIEN */
		{ 0xa8, 0x0f, 0xff },				/* FTMR */
	};

	(void)d;
	for (unsigned i = 0; i < sizeof(reg) / sizeof(reg[0]); i++) {
		config[reg[i].off] = reg[i].value;
		wmask[reg[i].off] = reg[i].writable;
	}
}

static void config_written(struct dev *d, unsigned off, unsigned size)
{
	if (off < PIRQRC + 4 && off + size > PIRQRC)
		route(d);
}

static uint64_t piix3_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	const struct piix3 *s = dev_state(d);

	(void)off, (void)size;
	return region == REGION_RESET ? s->reset_control : ~0ull;
}

static void piix3_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	const struct piix3 *s = dev_state(d);
	bool rising = value & RC_RESET && !(s->reset_control & RC_RESET);

	(void)off, (void)size;
	if (region != REGION_RESET)
		return;
	((struct piix3 *)dev_write(d))->reset_control = value & (RC_HARD | RC_RESET);
	if (rising)
		dev_power(d, LINK_POWER_RESET, 0);
}

static void piix3_reset(struct dev *d)
{
	((struct piix3 *)dev_write(d))->reset_control = 0;
	route(d);
}

static int piix3_init(struct dev *d, bool fresh)
{
	(void)fresh;
	pci_set_router(d, route);
	pci_set_cf9(d, REGION_RESET);
	return 0;
}

static const struct pci_ops piix3_pci = {
	.vendor = 0x8086, .device = 0x7000, .subvendor = 0x1af4, .subdevice = 0x1100,
	.class_rev = 0x060100 << 8, .header = 0x80,
	.config_init = config_init, .config_written = config_written,
};

const struct dev_ops piix3_ops = {
	.name = "lpc",
	.summary = "82371SB ISA bridge: interrupt routing, reset control",
	.implied = "1:0",
	.state_size = sizeof(struct piix3), .state_version = 1,
	.init = piix3_init, .reset = piix3_reset,
	.read = piix3_read, .write = piix3_write,
	.pci = &piix3_pci,
};
