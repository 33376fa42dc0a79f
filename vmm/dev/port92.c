/*
 * vmm/dev/port92.c - system control port A of the PS/2.
 *
 * Intel 82371SB (PIIX3) datasheet, 2.5.10 (reset control); IBM PS/2 technical
 * reference: bit 0, from 0 to 1, resets the processor; bit 1 opens A20.
 */
#include <stdlib.h>

#include "vmm/dev/port92.h"

#define FAST_RESET	0x01
#define A20_ON		0x02

struct port92 {
	struct port92_wires wires;
	uint8_t reg;
	bool kbc;
	bool line;
};

static void update(struct port92 *p)
{
	bool line = p->kbc || p->reg & A20_ON;

	if (line != p->line) {
		p->line = line;
		p->wires.a20(p->wires.arg, line);
	}
}

uint8_t port92_read(const struct port92 *p)
{
	return p->reg;
}

void port92_write(struct port92 *p, uint8_t value)
{
	bool reset = value & ~p->reg & FAST_RESET;

	p->reg = value & (FAST_RESET | A20_ON);
	update(p);
	if (reset)
		p->wires.reset(p->wires.arg);
}

void port92_kbc_a20(struct port92 *p, bool on)
{
	p->kbc = on;
	update(p);
}

void port92_reset(struct port92 *p)
{
	p->reg = 0;
	p->kbc = true;
	update(p);
}

struct port92 *port92_new(const struct port92_wires *wires)
{
	struct port92 *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->wires = *wires;
	p->kbc = p->line = true;
	return p;
}

void port92_free(struct port92 *p)
{
	free(p);
}
