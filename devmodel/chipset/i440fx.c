/*
 * i440fx.c - the host bridge of the 82441FX (PMC): configuration ports, and
 * which parts of C0000h-FFFFFh are RAM.
 *
 * Intel 82441FX data sheet (290549): 3.1 CONFADD/CONFDATA, 3.2.18 PAM, 3.2.19
 * SMRAM.  Subsystem 1AF4:1100 tells firmware that fw_cfg and the rest of QEMU's
 * conventions are there.
 *
 * There is no system management mode here: SMRAM keeps what is written to it,
 * but A0000h-BFFFFh never becomes memory.
 */
#include <string.h>

#include "devmodel/bus/pci.h"
#include "ipc/link.h"

enum { REGION_ADDRESS, REGION_DATA };

enum {
	PMCCFG = 0x50, PAM0 = 0x59, PAM6 = 0x5f, SMRAM = 0x72,

	SMRAM_BASE = 0x02,	/* C_BASE_SEG: A0000h, hard-wired */
	SMRAM_LOCK = 0x10, SMRAM_OPEN = 0x40,

	PAM_READ = 1, PAM_WRITE = 2,
	PAM_AREAS = 13,		/* twelve of 16 KiB from C0000h, and F0000h-FFFFFh */
	PAM_UNTOLD = 0xff,
};

struct i440fx {
	uint32_t address;		/* CONFIG_ADDRESS */
	uint8_t pam[PAM_AREAS];		/* what the engine was last told */
	uint8_t smram;			/* as last accepted: locked, the register stands still */
	uint8_t pad[2];
};

static const struct { uint32_t base, len; uint8_t reg, shift; } area[PAM_AREAS] = {
	{ 0xc0000, 0x4000, 0x5a, 0 }, { 0xc4000, 0x4000, 0x5a, 4 },
	{ 0xc8000, 0x4000, 0x5b, 0 }, { 0xcc000, 0x4000, 0x5b, 4 },
	{ 0xd0000, 0x4000, 0x5c, 0 }, { 0xd4000, 0x4000, 0x5c, 4 },
	{ 0xd8000, 0x4000, 0x5d, 0 }, { 0xdc000, 0x4000, 0x5d, 4 },
	{ 0xe0000, 0x4000, 0x5e, 0 }, { 0xe4000, 0x4000, 0x5e, 4 },
	{ 0xe8000, 0x4000, 0x5f, 0 }, { 0xec000, 0x4000, 0x5f, 4 },
	{ 0xf0000, 0x10000, 0x59, 4 },
};

static void update_pam(struct dev *d)
{
	static const uint8_t map[] = {
		[0] = LINK_MAP_ROM_IMAGE,
		[PAM_READ] = LINK_MAP_ROM,
		[PAM_WRITE] = LINK_MAP_READ_ROM_WRITE_RAM,
		[PAM_READ | PAM_WRITE] = LINK_MAP_RAM,
	};
	const uint8_t *config = pci_config(d);

	for (unsigned i = 0; i < PAM_AREAS; i++) {
		const struct i440fx *s = dev_state(d);
		uint8_t attr = config[area[i].reg] >> area[i].shift & (PAM_READ | PAM_WRITE);

		if (s->pam[i] == attr)
			continue;
		((struct i440fx *)dev_write(d))->pam[i] = attr;
		dev_map(d, MAP_SLOT_PAM + i, map[attr], area[i].base, area[i].len, area[i].base);
	}
}

static void update_smram(struct dev *d)
{
	const struct i440fx *s = dev_state(d);
	uint8_t v = pci_config(d)[SMRAM];

	if (s->smram & SMRAM_LOCK)
		v = s->smram;
	else if (v & SMRAM_LOCK)
		v &= ~SMRAM_OPEN;
	pci_config_set8(d, SMRAM, v);
	((struct i440fx *)dev_write(d))->smram = v;
}

static void config_init(struct dev *d, uint8_t *config, uint8_t *wmask)
{
	(void)d;
	config[0x04] = 0x06;		/* memory and bus master: hard-wired */
	config[0x07] = 0x02;		/* DEVSEL# medium */
	wmask[0x04] = 0x40;
	config[SMRAM] = SMRAM_BASE;
	wmask[SMRAM] = 0x78;
	memset(wmask + PAM0, 0x77, PAM6 - PAM0 + 1);
	wmask[PAM0] = 0x70;
	wmask[PMCCFG] = wmask[PMCCFG + 1] = 0xff;
	wmask[0x0c] = 0;
	wmask[0x3c] = 0;
}

static void config_written(struct dev *d, unsigned off, unsigned size)
{
	if (off <= PAM6 && off + size > PAM0)
		update_pam(d);
	if (off <= SMRAM && off + size > SMRAM)
		update_smram(d);
}

static uint64_t i440fx_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	const struct i440fx *s = dev_state(d);

	if (region == REGION_DATA)
		return size <= 4 ? pci_config_read(dev_machine(d), s->address, off, size) : ~0ull;
	if (size == 4)
		return s->address;
	return off == 1 && size == 1 ? pci_cf9_read(dev_machine(d)) : ~0ull;
}

static void i440fx_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	const struct i440fx *s = dev_state(d);

	if (region == REGION_DATA && size <= 4)
		pci_config_write(dev_machine(d), s->address, off, size, value);
	else if (region == REGION_ADDRESS && size == 4)
		((struct i440fx *)dev_write(d))->address = value & 0x80fffffc;
	else if (region == REGION_ADDRESS && off == 1 && size == 1)
		pci_cf9_write(dev_machine(d), value);
}

static void i440fx_reset(struct dev *d)
{
	struct i440fx *s = dev_write(d);

	s->address = 0;
	s->smram = SMRAM_BASE;
	update_pam(d);
}

static int i440fx_init(struct dev *d, bool fresh)
{
	dev_region(d, &(struct dev_region){ .base = 0xcf8, .len = 4, .id = REGION_ADDRESS });
	dev_region(d, &(struct dev_region){ .base = 0xcfc, .len = 4, .id = REGION_DATA });
	if (fresh) {
		struct i440fx *s = dev_write(d);

		memset(s->pam, PAM_UNTOLD, sizeof(s->pam));
		update_pam(d);
	}
	return 0;
}

static int i440fx_check(const struct dev *d, const void *state)
{
	const struct i440fx *s = state;

	(void)d;
	for (unsigned i = 0; i < PAM_AREAS; i++)
		if (s->pam[i] > (PAM_READ | PAM_WRITE))
			return -1;
	return s->address & ~0x80fffffcu ? -1 : 0;
}

static const struct pci_ops i440fx_pci = {
	.vendor = 0x8086, .device = 0x1237, .subvendor = 0x1af4, .subdevice = 0x1100,
	.class_rev = 0x060000 << 8 | 0x02,
	.config_init = config_init, .config_written = config_written,
};

const struct dev_ops i440fx_ops = {
	.name = "hostbridge",
	.summary = "82441FX host bridge: PCI configuration, shadow RAM",
	.implied = "0:0",
	.state_size = sizeof(struct i440fx), .state_version = 1,
	.init = i440fx_init, .reset = i440fx_reset, .check = i440fx_check,
	.read = i440fx_read, .write = i440fx_write,
	.pci = &i440fx_pci,
};
