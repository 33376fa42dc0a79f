/*
 * dsdt.c - what the machine is made of, for the guest's ACPI interpreter.
 *
 *	\_S5, \_S4		plain names, first of all: GRUB and others find
 *				them without an interpreter
 *	\_PIC			the guest says whether it uses the I/O APIC
 *	\_SB.C000 ...		processors
 *	\_SB.PCI0		host bridge: windows, interrupt wiring
 *	\_SB.PCI0.ISA		bridge; below it the board's fixed devices
 *	\_SB.LNKA-LNKD, LNKS	PIRQ A-D through the bridge's routing registers
 *				to ISA lines; the power management's interrupt
 *	\_SB.GSIA-GSID		the same at the I/O APIC
 *
 * ACPI 6.4: 6.1 (identification), 6.2 (_CRS, _PRS, _SRS, _DIS, _PRT), 7.4.2
 * (sleep states), 5.8.1 (_PIC).  82371SB: 2.2.4 (PIRQRC).
 */
#include "devmodel/firmware/dsdt.h"

#include <stdio.h>

#include "devmodel/firmware/aml.h"

enum {
	PIRQRC = 0x60,		/* of function 1:0, to 63h */
	PIRQRC_OFF = 0x80,
	LINK_STA_OFF = 0x09, LINK_STA_ON = 0x0b,
	PCI_SLOTS = 32, PCI_PINS = 4,
	PM_SLOT = 1,		/* its INTA# is the SCI, not a PIRQ */
	PM_PORTS = 64,
	FIRST_ABOVE_PCI = 0xfec00000,	/* I/O APIC */
	HPET_BASE = 0xfed00000, HPET_LEN = 0x400,
};

/* ---- small things */

static void name_int(struct aml *a, const char *name, uint64_t v)
{
	aml_name(a, name);
	aml_int(a, v);
}

static void name_id(struct aml *a, const char *name, const char *id)
{
	aml_name(a, name);
	aml_eisaid(a, id);
}

/* A device that is there, with its resources to be written next; end_device() after them. */
static void begin_device(struct aml *a, const char *name, const char *id)
{
	aml_device(a, name);
	name_id(a, "_HID", id);
	aml_name(a, "_CRS");
	aml_resources(a);
}

static void end_device(struct aml *a)
{
	aml_end(a);
	aml_end(a);
}

static void add_sleep_state(struct aml *a, const char *name, unsigned type)
{
	aml_name(a, name);
	aml_package(a, 4);
	aml_int(a, type);	/* SLP_TYP of PM1a, of PM1b */
	aml_int(a, type);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_end(a);
}

static void add_pic(struct aml *a)
{
	name_int(a, "PICF", 0);
	aml_method(a, "\\_PIC", 1, false);
	aml_op(a, AML_STORE);
	aml_op(a, AML_ARG0);
	aml_ref(a, "PICF");
	aml_end(a);
}

static void add_processors(struct aml *a, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char name[8];

		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		aml_device(a, name);
		aml_name(a, "_HID");
		aml_string(a, "ACPI0007");
		name_int(a, "_UID", i);
		aml_end(a);
	}
}

/* ---- interrupt links */

static const uint8_t isa_lines[] = { 5, 10, 11 };	/* a PIRQ may be routed to these */
static const uint8_t sci[] = { BOARD_SCI };

static void name_lines(struct aml *a, const char *name, const uint8_t *line, unsigned n)
{
	aml_name(a, name);
	aml_resources(a);
	aml_res_gsi(a, line, n);
	aml_end(a);
}

static void begin_link(struct aml *a, const char *name, unsigned uid, const uint8_t *line, unsigned n)
{
	aml_device(a, name);
	name_id(a, "_HID", "PNP0C0F");
	name_int(a, "_UID", uid);
	name_lines(a, "_PRS", line, n);
}

/* A link that cannot be moved. */
static void add_fixed_link(struct aml *a, const char *name, unsigned uid, uint8_t line)
{
	begin_link(a, name, uid, &line, 1);
	name_lines(a, "_CRS", &line, 1);
	name_int(a, "_STA", LINK_STA_ON);
	aml_method(a, "_SRS", 1, false);
	aml_end(a);
	aml_method(a, "_DIS", 0, false);
	aml_end(a);
	aml_end(a);
}

/* Is this PIRQ's routing register off?  Leaves the If open. */
static void if_off(struct aml *a, const char *reg)
{
	aml_if(a);
	aml_op(a, AML_AND);
	aml_ref(a, reg);
	aml_int(a, PIRQRC_OFF);
	aml_op(a, AML_ZERO);	/* the result goes nowhere else */
}

static void return_int(struct aml *a, unsigned v)
{
	aml_op(a, AML_RETURN);
	aml_int(a, v);
}

static void add_link_status(struct aml *a, const char *reg)
{
	aml_method(a, "_STA", 0, false);
	if_off(a, reg);
	return_int(a, LINK_STA_OFF);
	aml_end(a);
	return_int(a, LINK_STA_ON);
	aml_end(a);

	aml_method(a, "_DIS", 0, false);
	aml_op(a, AML_OR);
	aml_ref(a, reg);
	aml_int(a, PIRQRC_OFF);
	aml_ref(a, reg);
	aml_end(a);
}

/* Resources with one interrupt have its number at byte 5. */
static void add_link_setting(struct aml *a, const char *reg)
{
	static const uint8_t none = 0;
	enum { LINE_AT = 5 };

	name_lines(a, "BUF", &none, 1);
	aml_method(a, "_CRS", 0, true);
	aml_dword_field(a, 0, "BUF", LINE_AT, "LINE");
	aml_if(a);
	aml_op(a, AML_LLESS);
	aml_ref(a, reg);
	aml_int(a, PIRQRC_OFF);
	aml_op(a, AML_STORE);
	aml_ref(a, reg);
	aml_ref(a, "LINE");
	aml_end(a);
	aml_op(a, AML_RETURN);
	aml_ref(a, "BUF");
	aml_end(a);

	aml_method(a, "_SRS", 1, true);
	aml_dword_field(a, AML_ARG0, NULL, LINE_AT, "LINE");
	aml_op(a, AML_STORE);
	aml_ref(a, "LINE");
	aml_ref(a, reg);
	aml_end(a);
}

static void add_links(struct aml *a, const struct board *b)
{
	for (unsigned i = 0; i < 4; i++) {
		char name[] = "LNKA", reg[] = "\\_SB.PCI0.ISA.PRQA";

		name[3] += i;
		reg[sizeof(reg) - 2] += i;
		begin_link(a, name, i, isa_lines, sizeof(isa_lines));
		add_link_status(a, reg);
		add_link_setting(a, reg);
		aml_end(a);
	}
	add_fixed_link(a, "LNKS", 4, sci[0]);
	for (unsigned i = 0; i < 4 && b->apic; i++) {
		char name[] = "GSIA";

		name[3] += i;
		add_fixed_link(a, name, 5 + i, BOARD_GSI_PIRQ + i);
	}
}

/* One row for each slot and pin: (slot << 16 | FFFFh, pin, link, 0). */
static void add_wiring(struct aml *a, const char *name, const char *link)
{
	char to[5];

	aml_name(a, name);
	aml_package(a, PCI_SLOTS * PCI_PINS);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
		for (unsigned pin = 0; pin < PCI_PINS; pin++) {
			snprintf(to, sizeof(to), "%.3s%c", link, 'A' + board_pirq(slot, pin));
			aml_package(a, 4);
			aml_int(a, slot << 16 | 0xffff);
			aml_int(a, pin);
			aml_ref(a, slot == PM_SLOT && pin == 0 ? "LNKS" : to);
			aml_int(a, 0);
			aml_end(a);
		}
	aml_end(a);
}

static void add_routing(struct aml *a, const struct board *b)
{
	add_wiring(a, "PRTP", "LNK");
	if (b->apic)
		add_wiring(a, "PRTA", "GSI");
	aml_method(a, "_PRT", 0, false);
	if (b->apic) {
		aml_if(a);
		aml_ref(a, "PICF");
		aml_op(a, AML_RETURN);
		aml_ref(a, "PRTA");
		aml_end(a);
	}
	aml_op(a, AML_RETURN);
	aml_ref(a, "PRTP");
	aml_end(a);
}

/* ---- the board's fixed devices */

static void add_clocks(struct aml *a)
{
	begin_device(a, "RTC", "PNP0B00");
	aml_res_io(a, 0x70, 2);
	aml_res_irq(a, 8);
	end_device(a);

	begin_device(a, "TIMR", "PNP0100");
	aml_res_io(a, 0x40, 4);
	aml_res_irq(a, 0);
	end_device(a);

	begin_device(a, "SPKR", "PNP0800");
	aml_res_io(a, 0x61, 1);
	end_device(a);
}

static void add_pics(struct aml *a)
{
	begin_device(a, "PIC", "PNP0000");
	aml_res_io(a, 0x20, 2);
	aml_res_io(a, 0xa0, 2);
	aml_res_io(a, 0x4d0, 2);
	aml_res_irq(a, 2);
	end_device(a);

	begin_device(a, "FPU", "PNP0C04");
	aml_res_io(a, 0xf0, 1);
	aml_res_irq(a, 13);
	end_device(a);
}

static void add_i8042(struct aml *a)
{
	begin_device(a, "KBD", "PNP0303");
	aml_res_io(a, 0x60, 1);
	aml_res_io(a, 0x64, 1);
	aml_res_irq(a, 1);
	end_device(a);

	begin_device(a, "MOU", "PNP0F13");
	aml_res_irq(a, 12);
	end_device(a);
}

static void add_coms(struct aml *a, const struct board *b)
{
	static const struct { uint16_t base; uint8_t irq; } com[BOARD_COMS] = {
		{ 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 },
	};

	for (unsigned i = 0; i < BOARD_COMS; i++) {
		char name[] = "COM1";

		if (!b->com[i])
			continue;
		name[3] += i;
		aml_device(a, name);
		name_id(a, "_HID", "PNP0501");
		name_int(a, "_UID", i + 1);
		aml_name(a, "_CRS");
		aml_resources(a);
		aml_res_io(a, com[i].base, 8);
		aml_res_irq(a, com[i].irq);
		end_device(a);
	}
}

/* Ports that belong to nobody else: power management, APM, GPE, hot-plug, POST. */
static void add_board_ports(struct aml *a, const struct board *b)
{
	begin_device(a, "BRD", "PNP0C02");
	aml_res_io(a, b->pm_base, PM_PORTS);
	aml_res_io(a, 0x80, 1);
	aml_res_io(a, 0x92, 1);
	aml_res_io(a, 0xb2, 2);
	aml_res_io(a, 0xae00, 0x14);
	aml_res_io(a, 0xafe0, 4);
	end_device(a);
}

/* Paravirtual devices: known by a string, hidden from the user. */
static void add_para(struct aml *a, const char *name, const char *id, uint16_t port, uint8_t len)
{
	enum { STA_HIDDEN = 0x0b };

	aml_device(a, name);
	aml_name(a, "_HID");
	aml_string(a, id);
	name_int(a, "_STA", STA_HIDDEN);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_io(a, port, len);
	end_device(a);
}

static void add_isa(struct aml *a, const struct board *b)
{
	aml_device(a, "ISA");
	name_int(a, "_ADR", 1 << 16);
	aml_region(a, "PIRQ", AML_PCI_CONFIG, PIRQRC, 4);
	aml_field(a, "PIRQ");
	for (unsigned i = 0; i < 4; i++) {
		char reg[] = "PRQA";

		reg[3] += i;
		aml_unit(a, reg, 8);
	}
	aml_end(a);
	add_clocks(a);
	add_pics(a);
	if (b->i8042)
		add_i8042(a);
	add_coms(a, b);
	add_board_ports(a, b);
	if (b->pvpanic)
		add_para(a, "PEVT", "QEMU0001", b->pvpanic_port, 1);
	aml_end(a);
}

/* ---- the PCI root */

/*
 * Above RAM is room for 64-bit BARs; where in it they lie is firmware's choice.
 * 1 TiB is what the software engine addresses; a guest whose processor has less
 * cuts the window.
 */
static void add_windows(struct aml *a, const struct board *b)
{
	enum { CONFIG_PORTS = 0xcf8 };
	const uint64_t gib = 1ull << 30, high = (4 * gib + b->ram_high + gib - 1) & ~(gib - 1);

	aml_name(a, "_CRS");
	aml_resources(a);
	aml_res_buses(a, 0, 0xff);
	aml_res_io(a, CONFIG_PORTS, 8);
	aml_res_ports(a, 0, CONFIG_PORTS - 1);
	aml_res_ports(a, CONFIG_PORTS + 8, 0xffff);
	aml_res_window(a, 0xa0000, 0xbffff, true);
	aml_res_window(a, b->ram_low, FIRST_ABOVE_PCI - 1, false);
	aml_res_window64(a, high, 1024 * gib - 1);
	aml_end(a);
}

static void add_root(struct aml *a, const struct board *b)
{
	aml_device(a, "PCI0");
	name_id(a, "_HID", "PNP0A03");
	name_int(a, "_UID", 0);
	name_int(a, "_BBN", 0);
	add_windows(a, b);
	add_routing(a, b);
	add_isa(a, b);
	aml_end(a);
}

static void add_hpet(struct aml *a)
{
	begin_device(a, "HPET", "PNP0103");
	aml_res_memory(a, HPET_BASE, HPET_LEN, false);
	end_device(a);
}

size_t dsdt_write(const struct board *b, void *to, size_t max)
{
	struct aml a;

	aml_begin(&a, to, max);
	add_sleep_state(&a, "\\_S5", 0);
	add_sleep_state(&a, "\\_S4", 2);
	add_pic(&a);
	aml_scope(&a, "\\_SB");
	add_processors(&a, b->vcpus);
	add_links(&a, b);
	add_root(&a, b);
	if (b->hpet)
		add_hpet(&a);
	if (b->fwcfg)
		add_para(&a, "FWCF", "QEMU0002", 0x510, b->fwcfg_dma ? 12 : 2);
	aml_end(&a);
	return a.failed || a.depth ? 0 : a.n;
}
