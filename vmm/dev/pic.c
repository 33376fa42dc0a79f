/*
 * vmm/dev/pic.c - two 8259As, master and slave, and the edge/level registers.
 *
 * Owns the controllers' registers; knows no vCPU (INTR is a closure) and no
 * device.  Intel 8259A datasheet (order 231468), 8086 mode; ELCR: Intel 82371SB
 * (PIIX3) datasheet, 2.5.10: LTIM in ICW1 does nothing, the ELCR decides.
 *
 * As the datasheet has it, and some emulators do not: a request in edge mode
 * that falls before it is acknowledged is gone, and the INTA cycle that then
 * comes finds level 7 without an in-service bit; in special fully nested mode
 * the slave may interrupt itself, while the levels below it stay shut out.
 */
#include <stdlib.h>

#include "vmm/dev/pic.h"

enum { MASTER, SLAVE, CHIPS };
enum { CASCADE = 2, NO_LEVEL = -1 };

#define ICW1		0x10
#define ICW1_IC4	0x01
#define ICW1_SNGL	0x02
#define ICW4_AEOI	0x02
#define ICW4_SFNM	0x10
#define OCW3		0x08
#define OCW3_RIS	0x01
#define OCW3_RR		0x02
#define OCW3_POLL	0x04
#define OCW3_SMM	0x20
#define OCW3_ESMM	0x40

/* OCW2, bits 7-5: R, SL, EOI. */
enum ocw2 {
	OCW2_ROTATE_AEOI_CLEAR, OCW2_EOI, OCW2_NOP, OCW2_SPECIFIC_EOI,
	OCW2_ROTATE_AEOI_SET, OCW2_ROTATE_EOI, OCW2_SET_PRIORITY, OCW2_ROTATE_SPECIFIC_EOI
};

/* What the next write to the odd port is. */
enum expect { EXPECT_OCW1, EXPECT_ICW2, EXPECT_ICW3, EXPECT_ICW4 };

struct chip {
	uint8_t line;		/* input levels */
	uint8_t latch;		/* edges seen and not yet acknowledged */
	uint8_t elcr;		/* 1: level triggered */
	uint8_t isr, imr;
	uint8_t vector;		/* ICW2 */
	uint8_t icw1, icw4;
	uint8_t lowest;		/* the level of lowest priority; the next one has the highest */
	enum expect expect;
	bool rotate_aeoi, special_mask, read_isr, poll;
};

struct pic {
	struct chip chip[CHIPS];
	bool out;
	void (*intr)(void *, bool);
	void *intr_arg;
	void (*changed)(void *);
	void *changed_arg;
};

static const uint8_t elcr_writable[CHIPS] = {
	[MASTER] = 0xf8,	/* timer, keyboard and cascade are edges */
	[SLAVE] = 0xde,		/* so are the clock and the coprocessor */
};

static uint8_t requests(const struct chip *c)
{
	return (c->latch & ~c->elcr) | (c->line & c->elcr);
}

/* The level of highest priority in `bits`, or NO_LEVEL. */
static int highest(const struct chip *c, uint8_t bits)
{
	for (unsigned i = 1; i <= 8; i++)
		if (bits & 1u << ((c->lowest + i) & 7))
			return (c->lowest + i) & 7;
	return NO_LEVEL;
}

/* 0 for the highest priority, 7 for the lowest. */
static unsigned rank(const struct chip *c, unsigned level)
{
	return (level - c->lowest - 1) & 7;
}

/* The level that makes the chip assert INT now, or NO_LEVEL. */
static int deliverable(const struct pic *p, unsigned which)
{
	const struct chip *c = &p->chip[which];
	int req = highest(c, requests(c) & ~c->imr);
	int busy = highest(c, c->special_mask ? c->isr & ~c->imr : c->isr);

	if (req == NO_LEVEL || c->expect != EXPECT_OCW1)
		return NO_LEVEL;
	if (busy == NO_LEVEL || rank(c, req) < rank(c, busy))
		return req;
	if (req == busy && which == MASTER && req == CASCADE && c->icw4 & ICW4_SFNM)
		return req;
	return NO_LEVEL;
}

static void set_input(struct chip *c, unsigned level, bool high)
{
	uint8_t bit = 1u << level;

	if (!high) {
		c->line &= ~bit;
		c->latch &= ~bit;
	} else if (!(c->line & bit)) {
		c->line |= bit;
		c->latch |= bit;
	}
}

/* Brings the outputs in line with the state: slave first, it is an input of the master. */
static void update(struct pic *p)
{
	bool out;

	set_input(&p->chip[MASTER], CASCADE, deliverable(p, SLAVE) != NO_LEVEL);
	out = deliverable(p, MASTER) != NO_LEVEL;
	if (out != p->out) {
		p->out = out;
		p->intr(p->intr_arg, out);
	}
}

/* ---- acknowledge */

static void end_of_interrupt(struct chip *c, int level, bool rotate)
{
	if (level == NO_LEVEL)
		return;
	c->isr &= ~(1u << level);
	if (rotate)
		c->lowest = level;
}

/* One chip's part of an INTA cycle or a poll; NO_LEVEL: nothing asked. */
static int accept(struct pic *p, unsigned which)
{
	struct chip *c = &p->chip[which];
	int level = deliverable(p, which);

	if (level == NO_LEVEL)
		return NO_LEVEL;
	c->latch &= ~(1u << level);
	c->isr |= 1u << level;
	if (c->icw4 & ICW4_AEOI)
		end_of_interrupt(c, level, c->rotate_aeoi);
	if (which == SLAVE)	/* INT falls after each INTA: what else waits makes a new edge */
		set_input(&p->chip[MASTER], CASCADE, false);
	return level;
}

uint8_t pic_acknowledge(struct pic *p)
{
	const struct chip *c = &p->chip[MASTER];
	int level = accept(p, MASTER);

	if (level == CASCADE && !(c->icw1 & ICW1_SNGL)) {
		c = &p->chip[SLAVE];
		level = accept(p, SLAVE);
	}
	update(p);
	return c->vector | (level == NO_LEVEL ? 7 : level);
}

bool pic_output(const struct pic *p)
{
	return p->out;
}

/* ---- registers */

static void write_icw1(struct chip *c, uint8_t value)
{
	c->icw1 = value;
	c->icw4 = 0;
	c->latch = 0;		/* a line that is high must fall and rise again */
	c->imr = c->isr = 0;
	c->lowest = 7;
	c->special_mask = c->rotate_aeoi = c->read_isr = c->poll = false;
	c->expect = EXPECT_ICW2;
}

static void write_ocw2(struct chip *c, uint8_t value)
{
	unsigned level = value & 7;
	/* A masked level in special mask mode is out of the order: only a specific EOI ends it. */
	int busy = highest(c, c->special_mask ? c->isr & ~c->imr : c->isr);

	switch ((enum ocw2)(value >> 5)) {
	case OCW2_EOI:
	case OCW2_ROTATE_EOI:
		end_of_interrupt(c, busy, value >> 5 == OCW2_ROTATE_EOI);
		break;
	case OCW2_SPECIFIC_EOI:
	case OCW2_ROTATE_SPECIFIC_EOI:
		end_of_interrupt(c, level, value >> 5 == OCW2_ROTATE_SPECIFIC_EOI);
		break;
	case OCW2_SET_PRIORITY:
		c->lowest = level;
		break;
	case OCW2_ROTATE_AEOI_SET:
	case OCW2_ROTATE_AEOI_CLEAR:
		c->rotate_aeoi = value >> 5 == OCW2_ROTATE_AEOI_SET;
		break;
	case OCW2_NOP:
		break;
	}
}

static void write_ocw3(struct chip *c, uint8_t value)
{
	if (value & OCW3_ESMM)
		c->special_mask = value & OCW3_SMM;
	c->poll = value & OCW3_POLL;
	if (value & OCW3_RR)
		c->read_isr = value & OCW3_RIS;
}

static void write_odd(struct chip *c, uint8_t value)
{
	switch (c->expect) {
	case EXPECT_OCW1:
		c->imr = value;
		return;
	case EXPECT_ICW2:
		c->vector = value & 0xf8;
		c->expect = !(c->icw1 & ICW1_SNGL) ? EXPECT_ICW3 : c->icw1 & ICW1_IC4 ? EXPECT_ICW4 : EXPECT_OCW1;
		return;
	case EXPECT_ICW3:	/* the cascade is wired */
		c->expect = c->icw1 & ICW1_IC4 ? EXPECT_ICW4 : EXPECT_OCW1;
		return;
	case EXPECT_ICW4:
		c->icw4 = value;
		c->expect = EXPECT_OCW1;
		return;
	}
}

static unsigned chip_of(uint16_t port)
{
	return port == 0xa0 || port == 0xa1 || port == 0x4d1 ? SLAVE : MASTER;
}

void pic_write(struct pic *p, uint16_t port, uint8_t value)
{
	unsigned which = chip_of(port);
	struct chip *c = &p->chip[which];
	/* only OCW2 and OCW3 leave what pic_pending() and pic_masked() say */
	bool lines = port >= 0x4d0 || port & 1 || value & ICW1;

	if (port >= 0x4d0)
		c->elcr = value & elcr_writable[which];
	else if (port & 1)
		write_odd(c, value);
	else if (value & ICW1)
		write_icw1(c, value);
	else if (value & OCW3)
		write_ocw3(c, value);
	else
		write_ocw2(c, value);
	update(p);
	if (lines && p->changed)
		p->changed(p->changed_arg);
}

uint8_t pic_read(struct pic *p, uint16_t port)
{
	unsigned which = chip_of(port);
	struct chip *c = &p->chip[which];
	int level;

	if (port >= 0x4d0)
		return c->elcr;
	if (c->poll) {
		c->poll = false;
		level = accept(p, which);
		update(p);
		return level == NO_LEVEL ? 0 : 0x80 | level;
	}
	if (port & 1)
		return c->imr;
	return c->read_isr ? c->isr : requests(c);
}

void pic_set_line(struct pic *p, unsigned line, bool level)
{
	if (line >= PIC_LINES || line == CASCADE)
		return;
	set_input(&p->chip[line / 8], line % 8, level);
	update(p);
}

bool pic_pending(const struct pic *p, unsigned line)
{
	return requests(&p->chip[line / 8 % CHIPS]) & 1u << line % 8;
}

bool pic_masked(const struct pic *p, unsigned line)
{
	if (p->chip[line / 8 % CHIPS].imr & 1u << line % 8)
		return true;
	return line >= 8 && p->chip[MASTER].imr & 1u << CASCADE;
}

void pic_watch(struct pic *p, void (*changed)(void *), void *arg)
{
	p->changed = changed;
	p->changed_arg = arg;
}

static void line_to_pic(void *arg, unsigned line, bool level)
{
	pic_set_line(arg, line, level);
}

static bool line_is_pending(void *arg, unsigned line)
{
	return pic_pending(arg, line);
}

static bool line_is_masked(void *arg, unsigned line)
{
	return pic_masked(arg, line);
}

struct irq_line pic_line(struct pic *p, unsigned line)
{
	static const struct line_ops ops = { .set = line_to_pic, .pending = line_is_pending, .masked = line_is_masked };

	return (struct irq_line){ .ops = &ops, .arg = p, .number = line };
}

/* ---- life */

void pic_reset(struct pic *p)
{
	for (unsigned i = 0; i < CHIPS; i++)
		p->chip[i] = (struct chip){ .line = p->chip[i].line, .lowest = 7 };
	update(p);
}

struct pic *pic_new(void (*intr)(void *, bool), void *arg)
{
	struct pic *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->intr = intr;
	p->intr_arg = arg;
	pic_reset(p);
	return p;
}

void pic_free(struct pic *p)
{
	free(p);
}
