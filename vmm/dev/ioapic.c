/*
 * vmm/dev/ioapic.c - the I/O APIC.
 *
 * Intel 82093AA datasheet (290566), with the EOI register of version 20h as
 * later chipsets have it.  Knows local APICs by messages only.
 *
 * A pin's level means "asserted": the polarity bit says how the wire spells
 * that, and whoever drives the pin has read the wire.  An edge on a masked pin
 * is lost, as the datasheet says; the 8259A beside it latches its own.
 */
#include "vmm/dev/ioapic.h"

#include <stdlib.h>

#define VERSION		(0x20u | (IOAPIC_PINS - 1) << 16)

enum { OFF_SELECT = 0x00, OFF_WINDOW = 0x10, OFF_EOI = 0x40 };
enum { REG_ID, REG_VERSION, REG_ARBITRATION, REG_ENTRY = 0x10 };

#define ENTRY_DELIVERY(e) ((e) >> 8 & 7)
#define ENTRY_LOGICAL	(1u << 11)
#define ENTRY_STATUS	(1u << 12)	/* delivery takes no time: always 0 */
#define ENTRY_REMOTE_IRR (1u << 14)
#define ENTRY_LEVEL	(1u << 15)
#define ENTRY_MASKED	(1u << 16)
#define ENTRY_LOW_WRITABLE (0x1ffffu & ~(ENTRY_STATUS | ENTRY_REMOTE_IRR))

struct ioapic {
	struct ioapic_wires wires;
	uint8_t select, id;
	bool pin[IOAPIC_PINS];
	struct entry {
		uint32_t low, high;	/* as the guest reads them */
	} entry[IOAPIC_PINS];
};

static struct apic_message message(const struct entry *e)
{
	bool logical = e->low & ENTRY_LOGICAL;

	return (struct apic_message){
		.dest = apic_dest8(e->high >> 24, logical), .logical = logical, .level = e->low & ENTRY_LEVEL,
		.delivery = ENTRY_DELIVERY(e->low), .vector = e->low & 0xff,
	};
}

/* Only fixed and lowest-priority interrupts are ended by an EOI; the rest are edges whatever bit 15 says. */
static bool by_level(const struct entry *e)
{
	return e->low & ENTRY_LEVEL && ENTRY_DELIVERY(e->low) <= APIC_LOWEST;
}

static bool waits(const struct ioapic *io, unsigned pin)
{
	const struct entry *e = &io->entry[pin];

	return io->pin[pin] && by_level(e) && !(e->low & (ENTRY_MASKED | ENTRY_REMOTE_IRR));
}

static void send(struct ioapic *io, unsigned pin)
{
	struct entry *e = &io->entry[pin];
	struct apic_message m = message(e);

	if (!by_level(e))
		m.level = false;
	else	/* before it is sent: an EOI cannot come first, but a closure might look */
		e->low |= ENTRY_REMOTE_IRR;
	if (!io->wires.send(io->wires.arg, &m) && by_level(e))
		e->low &= ~ENTRY_REMOTE_IRR;
}

void ioapic_set_pin(struct ioapic *io, unsigned pin, bool asserted)
{
	bool rises;

	if (pin >= IOAPIC_PINS)
		return;
	rises = asserted && !io->pin[pin];
	io->pin[pin] = asserted;
	if (waits(io, pin) || (rises && !by_level(&io->entry[pin]) && !ioapic_masked(io, pin)))
		send(io, pin);
}

void ioapic_eoi(struct ioapic *io, uint8_t vector)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		struct entry *e = &io->entry[pin];

		if (!(e->low & ENTRY_REMOTE_IRR) || (e->low & 0xff) != vector)
			continue;
		e->low &= ~ENTRY_REMOTE_IRR;
		if (waits(io, pin))
			send(io, pin);
	}
}

bool ioapic_masked(const struct ioapic *io, unsigned pin)
{
	return io->entry[pin].low & ENTRY_MASKED;
}

bool ioapic_pending(const struct ioapic *io, unsigned pin)
{
	const struct entry *e = &io->entry[pin];
	struct apic_message m = message(e);

	if (by_level(e))
		return e->low & ENTRY_REMOTE_IRR;
	return m.delivery <= APIC_LOWEST && io->wires.requested(io->wires.arg, &m);
}

/* ---- registers */

static uint32_t read_window(const struct ioapic *io)
{
	unsigned n = io->select - REG_ENTRY;

	switch (io->select) {
	case REG_ID:
	case REG_ARBITRATION:
		return (uint32_t)io->id << 24;
	case REG_VERSION:
		return VERSION;
	}
	if (io->select < REG_ENTRY || n / 2 >= IOAPIC_PINS)
		return 0;
	return n & 1 ? io->entry[n / 2].high : io->entry[n / 2].low;
}

static void write_entry(struct ioapic *io, unsigned n, uint32_t value)
{
	unsigned pin = n / 2;
	struct entry *e = &io->entry[pin];

	if (n & 1)
		e->high = value & 0xff000000;
	else
		e->low = (value & ENTRY_LOW_WRITABLE) | (e->low & ENTRY_REMOTE_IRR);
	if (!by_level(e))
		e->low &= ~ENTRY_REMOTE_IRR;
	if (waits(io, pin))
		send(io, pin);
	io->wires.changed(io->wires.arg);
}

static void write_window(struct ioapic *io, uint32_t value)
{
	unsigned n = io->select - REG_ENTRY;

	if (io->select == REG_ID)
		io->id = value >> 24 & 15;
	else if (io->select >= REG_ENTRY && n / 2 < IOAPIC_PINS)
		write_entry(io, n, value);
}

uint64_t ioapic_read(struct ioapic *io, uint64_t off, unsigned size)
{
	uint64_t value = 0;

	if ((off & ~3ull) == OFF_SELECT)
		value = io->select;
	else if ((off & ~3ull) == OFF_WINDOW)
		value = read_window(io);
	value >>= (off & 3) * 8;
	return size < 8 ? value & ((1ull << size * 8) - 1) : value;
}

/* The window is 32 bits wide and takes nothing narrower. */
void ioapic_write(struct ioapic *io, uint64_t off, unsigned size, uint64_t value)
{
	if (off == OFF_SELECT)
		io->select = (uint8_t)value;
	else if (off == OFF_WINDOW && size >= 4)
		write_window(io, (uint32_t)value);
	else if (off == OFF_EOI)
		ioapic_eoi(io, (uint8_t)value);
}

/* ---- life */

void ioapic_reset(struct ioapic *io)
{
	io->select = io->id = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		io->entry[pin] = (struct entry){ .low = ENTRY_MASKED };
}

struct ioapic *ioapic_new(const struct ioapic_wires *wires)
{
	struct ioapic *io = calloc(1, sizeof(*io));

	if (!io)
		return NULL;
	io->wires = *wires;
	ioapic_reset(io);
	return io;
}

void ioapic_free(struct ioapic *io)
{
	free(io);
}

bool ioapic_check(const struct ioapic *io)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		if (io->entry[pin].low & ENTRY_REMOTE_IRR && !by_level(&io->entry[pin]))
			return false;
	return true;
}
