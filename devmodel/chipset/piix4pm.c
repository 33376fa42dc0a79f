/*
 * piix4pm.c - power management of the 82371AB: ACPI event and control
 * registers, soft-off, APM ports.
 *
 * Intel 82371AB data sheet (290562): 7.1 (configuration), 7.2.1-7.2.3 (PM1),
 * 7.2.5-7.2.6 (general purpose).  ACPI 1.0, 4.7.3.  The PM timer at offset 8 is
 * in the engine, which is told the base; both count the VM's clock.
 *
 * There is no system management mode.  APMC_EN reads as one, so that firmware
 * takes its handler for installed; the port's ACPI commands do what such a
 * handler does; and the status port reads as if the handler had run, so that
 * firmware that waits for it goes on.
 *
 * Beside the chip, as firmware for QEMU's machine expects it: GPE0 at AFE0h and
 * the PCI hot-plug registers at AE00h, in which nothing ever happens.
 */
#include <string.h>

#include "devmodel/bus/pci.h"
#include "ipc/link.h"

enum { REGION_PM, REGION_APM, REGION_GPE, REGION_HOTPLUG };

enum {
	PMBA = 0x40, PMREGMISC = 0x80, DEVACTB = 0x58,

	PM1_STS = 0x00, PM1_EN = 0x02, PM1_CNT = 0x04, PM_SIZE = 64,
	GPEN = 0x0e, PCNTRL = 0x10, GLBEN = 0x20, GLBCTL = 0x28, GPOREG = 0x34,

	TMROF = 1 << 0, GBL = 1 << 5, PWRBTN = 1 << 8, RTC = 1 << 10, WAK = 1 << 15,
	STS_ALL = TMROF | 1 << 4 | GBL | PWRBTN | RTC | WAK,
	EN_ALL = TMROF | GBL | PWRBTN | RTC,
	SCI_EN = 1 << 0, BM_RLD = 1 << 1, GBL_RLS = 1 << 2, SLP_TYP = 7 << 10, SLP_EN = 1 << 13,
	CNT_ALL = SCI_EN | BM_RLD | SLP_TYP,
	SLP_S5 = 0, SLP_S4 = 2,		/* as the firmware's _S5 and _S4 say */

	APM_ACPI_ON = 0xf1, APM_ACPI_OFF = 0xf0,

	SCI = 9,
	TIMER_OVERFLOW = 0,
	PM_HZ = 3579545,
};

struct piix4pm {
	uint64_t overflows;		/* of the PM timer's bit 23, when TMROF was cleared */
	uint16_t sts, en, cnt;		/* PM1; TMROF is not in `sts` */
	uint16_t gpe_sts, gpe_en;
	uint8_t apmc, apms;
	uint8_t plain[PM_SIZE];		/* registers that only keep what is written */
	uint8_t pad[4];
};

static struct piix4pm *writable(struct dev *d)
{
	return dev_write(d);
}

/* ---- the PM timer's overflow: bit 23 has changed */

static uint64_t overflows(const struct dev *d)
{
	return ((unsigned __int128)dev_now(d) * PM_HZ / 1000000000u) >> 23;
}

static uint64_t overflow_time(uint64_t n)
{
	return (((unsigned __int128)n << 23) * 1000000000u + PM_HZ - 1) / PM_HZ;
}

static uint16_t status(const struct dev *d)
{
	const struct piix4pm *s = dev_state(d);

	return s->sts | (overflows(d) != s->overflows ? TMROF : 0);
}

/* The SCI's level, and the timer that raises it at the next overflow. */
static void update_sci(struct dev *d)
{
	const struct piix4pm *s = dev_state(d);
	bool on = s->cnt & SCI_EN;
	uint16_t sts = status(d);

	dev_irq(d, SCI, on && ((sts & s->en) || (s->gpe_sts & s->gpe_en)));
	dev_timer(d, TIMER_OVERFLOW, on && s->en & TMROF && !(sts & TMROF) ? overflow_time(s->overflows + 1) : 0);
}

/* ---- where the block is */

static uint16_t base_of(const struct dev *d)
{
	const uint8_t *config = pci_config(d);

	return (config[PMBA + 1] << 8 | config[PMBA]) & 0xffc0;
}

static bool is_on(const struct dev *d)
{
	return pci_config(d)[PMREGMISC] & 1 && base_of(d);
}

static void claim_block(struct dev *d)
{
	dev_region(d, &(struct dev_region){ .base = base_of(d), .len = is_on(d) ? PM_SIZE : 0, .id = REGION_PM });
}

static void update_base(struct dev *d)
{
	claim_block(d);
	dev_pmbase(d, base_of(d), is_on(d));
}

static void config_init(struct dev *d, uint8_t *config, uint8_t *wmask)
{
	(void)d;
	config[0x07] = 0x02;
	config[PMBA] = 1;
	memset(wmask + PMBA, 0xff, 2);
	wmask[PMBA] = 0xc0;
	memset(wmask + 0x44, 0xff, 0x7c - 0x44);	/* activity, device resources */
	config[DEVACTB + 3] = 0x02;			/* APMC_EN, which nobody can clear */
	wmask[DEVACTB + 3] = 0xfd;
	wmask[PMREGMISC] = 0x01;
	config[0x90] = 1;				/* SMBus: base and enable are kept, nothing answers */
	wmask[0x90] = 0xf0;
	wmask[0x91] = 0xff;
	wmask[0xd2] = 0x0f;
}

static bool touches(unsigned off, unsigned size, unsigned at, unsigned n)
{
	return off < at + n && at < off + size;
}

static void config_written(struct dev *d, unsigned off, unsigned size)
{
	if (touches(off, size, PMBA, 4) || touches(off, size, PMREGMISC, 1))
		update_base(d);
}

/* ---- sleeping */

static void sleep_now(struct dev *d, unsigned type)
{
	if (type == SLP_S5 || type == SLP_S4)
		dev_power(d, LINK_POWER_OFF, 0);
	else
		writable(d)->sts |= WAK;	/* suspending to RAM: awake at once */
}

static void write_control(struct dev *d, uint16_t v)
{
	writable(d)->cnt = v & CNT_ALL;
	if (v & SLP_EN)
		sleep_now(d, (v & SLP_TYP) >> 10);
	update_sci(d);
}

/* ---- the 16-bit registers, a byte at a time: so every width works, and none of them minds */

static uint16_t read16(const struct dev *d, unsigned reg)
{
	const struct piix4pm *s = dev_state(d);

	switch (reg) {
	case PM1_STS:
		return status(d);
	case PM1_EN:
		return s->en;
	case PM1_CNT:
		return s->cnt;
	default:
		return s->plain[reg] | s->plain[reg + 1] << 8;
	}
}

static void write8(struct dev *d, unsigned off, uint8_t byte)
{
	const struct piix4pm *s = dev_state(d);
	unsigned reg = off & ~1u, shift = 8 * (off & 1);
	uint16_t mask = 0xff << shift, v = byte << shift;

	switch (reg) {
	case PM1_STS:
		writable(d)->sts &= ~v;
		if (v & TMROF)
			writable(d)->overflows = overflows(d);
		update_sci(d);
		break;
	case PM1_EN:
		writable(d)->en = ((s->en & ~mask) | v) & EN_ALL;
		update_sci(d);
		break;
	case PM1_CNT:
		write_control(d, (s->cnt & ~mask) | v);
		break;
	case GPEN: case PCNTRL: case PCNTRL + 2: case GLBEN: case GLBCTL: case GLBCTL + 2: case GPOREG: case GPOREG + 2:
		writable(d)->plain[off] = byte;
		break;
	}
}

static uint64_t pm_read(const struct dev *d, unsigned off, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)(uint8_t)(read16(d, (off + i) & ~1u) >> 8 * ((off + i) & 1)) << 8 * i;
	return v;
}

static void pm_write(struct dev *d, unsigned off, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		write8(d, off + i, value >> 8 * i);
}

static void write_apm(struct dev *d, unsigned off, uint8_t v)
{
	if (off) {
		writable(d)->apms = v;
		return;
	}
	writable(d)->apmc = v;
	writable(d)->apms = 0;
	if (v == APM_ACPI_ON)
		writable(d)->cnt |= SCI_EN;
	else if (v == APM_ACPI_OFF)
		writable(d)->cnt &= ~SCI_EN;
	update_sci(d);
}

static uint64_t piix4pm_read(struct dev *d, unsigned region, uint64_t off, unsigned size)
{
	const struct piix4pm *s = dev_state(d);

	switch (region) {
	case REGION_PM:
		return pm_read(d, off, size);
	case REGION_APM:
		return off ? s->apms : size > 1 ? s->apms << 8 | s->apmc : s->apmc;
	case REGION_GPE:
		return ((uint64_t)s->gpe_en << 16 | s->gpe_sts) >> 8 * off;
	default:
		return 0;	/* no slot was changed, none can be ejected */
	}
}

static void write_gpe(struct dev *d, unsigned off, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++, value >>= 8) {
		unsigned shift = 8 * ((off + i) & 1);

		if (off + i < 2)
			writable(d)->gpe_sts &= ~((value & 0xff) << shift);
		else
			writable(d)->gpe_en = (writable(d)->gpe_en & ~(0xff << shift)) | (value & 0xff) << shift;
	}
	update_sci(d);
}

static void piix4pm_write(struct dev *d, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	switch (region) {
	case REGION_PM:
		pm_write(d, off, size, value);
		break;
	case REGION_APM:
		if (size > 1)
			write_apm(d, 1, value >> 8);
		write_apm(d, off, value);
		break;
	case REGION_GPE:
		write_gpe(d, off, size, value);
		break;
	}
}

static void piix4pm_timer(struct dev *d, unsigned timer)
{
	(void)timer;
	update_sci(d);
}

static void piix4pm_inject(struct dev *d, unsigned kind, uint64_t value)
{
	(void)value;
	if (kind != LINK_INJECT_POWER_BUTTON)
		return;
	writable(d)->sts |= PWRBTN;
	update_sci(d);
}

static void piix4pm_reset(struct dev *d)
{
	memset(dev_write(d), 0, sizeof(struct piix4pm));
	writable(d)->overflows = overflows(d);
	update_base(d);
	update_sci(d);
}

static int piix4pm_init(struct dev *d, bool fresh)
{
	dev_region(d, &(struct dev_region){ .base = 0xb2, .len = 2, .id = REGION_APM });
	dev_region(d, &(struct dev_region){ .base = 0xafe0, .len = 4, .id = REGION_GPE });
	dev_region(d, &(struct dev_region){ .base = 0xae00, .len = 0x14, .id = REGION_HOTPLUG });
	if (fresh)
		piix4pm_reset(d);
	else
		claim_block(d);
	return 0;
}

static const struct pci_ops piix4pm_pci = {
	.vendor = 0x8086, .device = 0x7113, .subvendor = 0x1af4, .subdevice = 0x1100,
	.class_rev = 0x068000 << 8 | 0x03, .pin = 1,
	.config_init = config_init, .config_written = config_written,
};

const struct dev_ops piix4pm_ops = {
	.name = "piix4pm",
	.summary = "82371AB power management: ACPI, soft-off",
	.implied = "1:3",
	.state_size = sizeof(struct piix4pm), .state_version = 1,
	.init = piix4pm_init, .reset = piix4pm_reset,
	.read = piix4pm_read, .write = piix4pm_write,
	.timer = piix4pm_timer, .inject = piix4pm_inject,
	.pci = &piix4pm_pci,
};
