/*
 * devmodel/isa/uart.c - the four serial ports of a PC: 16550A UARTs COM1-COM4.
 *
 * National Semiconductor PC16550D data sheet; the PC's wiring: COM1 and COM3
 * share IRQ 4, COM2 and COM4 share IRQ 3.  On a PC OUT2 also gates the
 * interrupt; here it does not, because systems grown up on other virtual
 * machines (xv6 is one) leave it clear and still expect their interrupts.
 *
 * There is no line and so no line speed: a byte written goes into the port's
 * output stream at once.  A stream without room is flow control: bytes wait in
 * the transmit FIFO and THRE stays clear until the stream takes them.  Input is
 * drawn from the stream only as the receive FIFO has room, so that it never
 * overruns; overrun and break arise in loopback alone.  Word length, parity and
 * stop bits are kept and otherwise ignored: programs that print without setting
 * the port up are many.
 *
 * Writes are not posted: the THRE interrupt that a write clears must be low
 * before the write retires.
 */
#include <errno.h>
#include <string.h>

#include "devmodel/device.h"

enum { PORTS = 4, FIFO = 16 };

/* Registers by offset; with DLAB the first two are the divisor. */
enum { RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR, REGS };

enum { IER_RDA = 0x01, IER_THRE = 0x02, IER_LINE = 0x04, IER_MODEM = 0x08, IER_MASK = 0x0f };
enum { IIR_MODEM = 0x00, IIR_NONE = 0x01, IIR_THRE = 0x02, IIR_RDA = 0x04, IIR_LINE = 0x06, IIR_TIMEOUT = 0x0c,
       IIR_FIFOS = 0xc0 };
enum { FCR_ENABLE = 0x01, FCR_CLEAR_RX = 0x02, FCR_CLEAR_TX = 0x04, FCR_KEPT = 0xc9 };
enum { LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { MCR_DTR = 0x01, MCR_RTS = 0x02, MCR_OUT1 = 0x04, MCR_OUT2 = 0x08, MCR_LOOP = 0x10, MCR_MASK = 0x1f };
enum { LSR_DR = 0x01, LSR_OE = 0x02, LSR_BI = 0x10, LSR_THRE = 0x20, LSR_TEMT = 0x40, LSR_FIFO_ERR = 0x80 };
enum { MSR_DCTS = 0x01, MSR_DDSR = 0x02, MSR_TERI = 0x04, MSR_DDCD = 0x08, MSR_CTS = 0x10, MSR_DSR = 0x20,
       MSR_RI = 0x40, MSR_DCD = 0x80, MSR_DELTA = 0x0f };

/*
 * What a later version might do to this state, for tests (tests/system/upgrade.sh):
 * 2 has moved and widened a field, and counts the bytes sent; 3 cannot do without
 * that count once it has it; 4 cannot begin without it.
 */
#ifndef UART_LAYOUT
#define UART_LAYOUT 1
#endif

struct uart_port {
#if UART_LAYOUT > 1
	uint32_t sent, rx_count;
#endif
	int8_t stream;		/* set at each start; -1: nothing connected */
	uint8_t present;
	uint8_t ier, fcr, lcr, mcr, msr, scr, dll, dlm;
	uint8_t errors;		/* LSR_OE and LSR_BI, until LSR is read */
	uint8_t thre_due;	/* THRE interrupt pending */
	uint8_t timeout;	/* character timeout pending */
#if UART_LAYOUT == 1
	uint8_t rx_count;
#endif
	uint8_t rx_head, tx_count;
	uint8_t shadow;		/* LSR as the engine last heard it */
	uint16_t rx_breaks;	/* bit n: rx[n] is a break */
	uint8_t rx[FIFO], tx[FIFO];
};

struct uart {
	struct uart_port port[PORTS];
	uint8_t irq[2];		/* level of IRQ 4 and IRQ 3 */
};

static const struct {
	const char *key;
	uint16_t base;
	uint8_t irq, line;	/* GSI, index into uart.irq */
} wiring[PORTS] = {
	{ .key = "com1", .base = 0x3f8, .irq = 4, .line = 0 },
	{ .key = "com2", .base = 0x2f8, .irq = 3, .line = 1 },
	{ .key = "com3", .base = 0x3e8, .irq = 4, .line = 0 },
	{ .key = "com4", .base = 0x2e8, .irq = 3, .line = 1 },
};

static const struct uart_port *port_of(const struct dev *dev, unsigned n)
{
	return &((const struct uart *)dev_state(dev))->port[n];
}

static struct uart_port *port_write(struct dev *dev, unsigned n)
{
	return &((struct uart *)dev_write(dev))->port[n];
}

static unsigned depth(const struct uart_port *p)
{
	return p->fcr & FCR_ENABLE ? FIFO : 1;
}

static unsigned trigger(const struct uart_port *p)
{
	static const uint8_t level[] = { 1, 4, 8, 14 };

	return p->fcr & FCR_ENABLE ? level[p->fcr >> 6] : 1;
}

static uint8_t lsr_of(const struct uart_port *p)
{
	uint8_t lsr = p->errors;

	if (p->rx_count)
		lsr |= LSR_DR;
	if (!p->tx_count)
		lsr |= LSR_THRE | LSR_TEMT;
	if (p->rx_breaks && (p->fcr & FCR_ENABLE))
		lsr |= LSR_FIFO_ERR;
	return lsr;
}

/* The interrupt of the highest priority. */
static uint8_t iir_of(const struct uart_port *p)
{
	if ((p->ier & IER_LINE) && p->errors)
		return IIR_LINE;
	if ((p->ier & IER_RDA) && p->rx_count >= trigger(p))
		return IIR_RDA;
	if ((p->ier & IER_RDA) && p->timeout)
		return IIR_TIMEOUT;
	if ((p->ier & IER_THRE) && p->thre_due)
		return IIR_THRE;
	if ((p->ier & IER_MODEM) && (p->msr & MSR_DELTA))
		return IIR_MODEM;
	return IIR_NONE;
}

static bool wants_irq(const struct uart_port *p)
{
	return p->present && iir_of(p) != IIR_NONE;
}

/* Tells the world what follows from the state: interrupt line and LSR. */
static void port_update(struct dev *dev, unsigned n)
{
	const struct uart *u = dev_state(dev);
	const struct uart_port *p = &u->port[n];
	unsigned line = wiring[n].line;
	bool level = wants_irq(&u->port[line]) || wants_irq(&u->port[line + 2]);
	uint8_t lsr = lsr_of(p);

	if (level != u->irq[line]) {
		((struct uart *)dev_write(dev))->irq[line] = level;
		dev_irq(dev, wiring[n].irq, level);
	}
	if (lsr != p->shadow) {
		port_write(dev, n)->shadow = lsr;
		dev_shadow(dev, n, LSR, lsr, !(lsr & ~(LSR_DR | LSR_THRE | LSR_TEMT)));
	}
}

/* Four characters' time at the port's speed, ten bits each: the 16550's receive timeout. */
static uint64_t timeout_ns(const struct uart_port *p)
{
	uint64_t divisor = p->dll | p->dlm << 8;

	return (divisor ? divisor : 1) * 4 * 10 * 1000000000ull / 115200;
}

/* After the receive FIFO has changed: the timeout runs while some, but too few, characters wait. */
static void rx_rearm(struct dev *dev, unsigned n)
{
	const struct uart_port *p = port_of(dev, n);
	bool waits = (p->fcr & FCR_ENABLE) && p->rx_count;

	if (p->timeout)
		port_write(dev, n)->timeout = 0;
	dev_timer(dev, n, waits ? dev_now(dev) + timeout_ns(p) : 0);
}

static void rx_push(struct uart_port *p, uint8_t byte, bool brk)
{
	unsigned slot;

	if (p->rx_count >= depth(p)) {
		p->errors |= LSR_OE;
		if (p->fcr & FCR_ENABLE)
			return;		/* the shift register is lost, the FIFO is not */
		p->rx_count = 0;	/* without FIFO the holding register is overwritten */
		p->rx_breaks = 0;
	}
	slot = (p->rx_head + p->rx_count) % FIFO;
	p->rx[slot] = byte;
	if (brk) {
		p->rx_breaks |= 1u << slot;
		if (!p->rx_count)
			p->errors |= LSR_BI;
	}
	p->rx_count++;
}

/* Draws from the stream as much as the FIFO takes. */
static void rx_fill(struct dev *dev, unsigned n)
{
	const struct uart_port *p = port_of(dev, n);
	uint8_t bytes[FIFO];
	size_t got;

	if (p->stream < 0 || (p->mcr & MCR_LOOP) || p->rx_count >= depth(p))
		return;
	got = chr_peek(dev, p->stream, bytes, depth(p) - p->rx_count);
	if (!got)
		return;
	for (size_t i = 0; i < got; i++)
		rx_push(port_write(dev, n), bytes[i], false);
	chr_take(dev, p->stream, got);
	rx_rearm(dev, n);
}

static uint8_t rx_pop(struct dev *dev, unsigned n)
{
	struct uart_port *p;
	uint8_t byte;

	if (!port_of(dev, n)->rx_count)
		return 0;
	p = port_write(dev, n);
	byte = p->rx[p->rx_head];
	p->rx_breaks &= ~(1u << p->rx_head);
	p->rx_head = (p->rx_head + 1) % FIFO;
	p->rx_count--;
	if (p->rx_count && (p->rx_breaks >> p->rx_head & 1))
		p->errors |= LSR_BI;
	rx_fill(dev, n);
	rx_rearm(dev, n);
	return byte;
}

static void rx_clear(struct dev *dev, unsigned n)
{
	struct uart_port *p = port_write(dev, n);

	p->rx_head = p->rx_count = 0;
	p->rx_breaks = 0;
	rx_rearm(dev, n);
}

/* Moves waiting bytes into the stream; the last one out makes the transmitter empty. */
static void tx_drain(struct dev *dev, unsigned n)
{
	const struct uart_port *p = port_of(dev, n);
	struct uart_port *w;
	size_t sent;

	if (!p->tx_count)
		return;
	sent = p->stream < 0 ? p->tx_count : chr_put(dev, p->stream, p->tx, p->tx_count);
	if (sent) {
		w = port_write(dev, n);
#if UART_LAYOUT > 1
		w->sent += sent;
#endif
		w->tx_count -= sent;
		memmove(w->tx, w->tx + sent, w->tx_count);
		if (!w->tx_count)
			w->thre_due = 1;
	}
	chr_want_room(dev, p->stream, p->tx_count);
}

static void tx_write(struct dev *dev, unsigned n, uint8_t byte)
{
	struct uart_port *p = port_write(dev, n);

	p->thre_due = 0;
	port_update(dev, n);	/* the line falls, to rise again for this byte: an edge for the 8259 */
	if (p->mcr & MCR_LOOP) {
		rx_push(p, byte, false);
		rx_rearm(dev, n);
		p->thre_due = 1;
	} else if (p->tx_count < depth(p)) {
		p->tx[p->tx_count++] = byte;
		tx_drain(dev, n);
	}
}

/* Modem inputs: a cable whose far end is always ready, or in loopback the port's own outputs. */
static void modem_update(struct uart_port *p)
{
	uint8_t lines = MSR_CTS | MSR_DSR | MSR_DCD, was = p->msr;

	if (p->mcr & MCR_LOOP)
		lines = (p->mcr & MCR_RTS ? MSR_CTS : 0) | (p->mcr & MCR_DTR ? MSR_DSR : 0) |
			(p->mcr & MCR_OUT1 ? MSR_RI : 0) | (p->mcr & MCR_OUT2 ? MSR_DCD : 0);
	p->msr = lines | (was & MSR_DELTA);
	p->msr |= ((was ^ lines) & (MSR_CTS | MSR_DSR | MSR_DCD)) >> 4;
	if (was & ~lines & MSR_RI)
		p->msr |= MSR_TERI;
}

static void fcr_write(struct dev *dev, unsigned n, uint8_t value)
{
	struct uart_port *p = port_write(dev, n);

	if ((value ^ p->fcr) & FCR_ENABLE)
		value |= FCR_CLEAR_RX | FCR_CLEAR_TX;
	p->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
	if (value & FCR_CLEAR_RX)
		rx_clear(dev, n);
	if ((value & FCR_CLEAR_TX) && p->tx_count) {
		p->tx_count = 0;
		p->thre_due = 1;
	}
	rx_fill(dev, n);
}

static void ier_write(struct dev *dev, unsigned n, uint8_t value)
{
	struct uart_port *p = port_write(dev, n);

	if (~p->ier & value & IER_THRE && !p->tx_count)
		p->thre_due = 1;	/* enabling it on an empty transmitter interrupts at once */
	p->ier = value & IER_MASK;
}

static void lcr_write(struct dev *dev, unsigned n, uint8_t value)
{
	struct uart_port *p = port_write(dev, n);

	if ((~p->lcr & value & LCR_BREAK) && (p->mcr & MCR_LOOP))
		rx_push(p, 0, true);
	p->lcr = value;
}

static void reg_write(struct dev *dev, unsigned n, unsigned reg, uint8_t value)
{
	struct uart_port *p = port_write(dev, n);

	switch (reg) {
	case RBR_THR:
		if (p->lcr & LCR_DLAB)
			p->dll = value;
		else
			tx_write(dev, n, value);
		break;
	case IER:
		if (p->lcr & LCR_DLAB)
			p->dlm = value;
		else
			ier_write(dev, n, value);
		break;
	case IIR_FCR:
		fcr_write(dev, n, value);
		break;
	case LCR:
		lcr_write(dev, n, value);
		break;
	case MCR:
		p->mcr = value & MCR_MASK;
		modem_update(p);
		rx_fill(dev, n);
		break;
	case SCR:
		p->scr = value;
		break;
	}	/* LSR is for factory tests, MSR is read-only here */
	port_update(dev, n);
}

static uint8_t iir_read(struct dev *dev, unsigned n)
{
	const struct uart_port *p = port_of(dev, n);
	uint8_t iir = iir_of(p);

	if (iir == IIR_THRE)
		port_write(dev, n)->thre_due = 0;
	return iir | (p->fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t lsr_read(struct dev *dev, unsigned n)
{
	uint8_t lsr = lsr_of(port_of(dev, n));

	if (port_of(dev, n)->errors)
		port_write(dev, n)->errors = 0;
	return lsr;
}

static uint8_t msr_read(struct dev *dev, unsigned n)
{
	uint8_t msr = port_of(dev, n)->msr;

	if (msr & MSR_DELTA)
		port_write(dev, n)->msr &= ~MSR_DELTA;
	return msr;
}

static uint8_t reg_read(struct dev *dev, unsigned n, unsigned reg)
{
	const struct uart_port *p = port_of(dev, n);
	uint8_t value = 0xff;

	switch (reg) {
	case RBR_THR:
		value = p->lcr & LCR_DLAB ? p->dll : rx_pop(dev, n);
		break;
	case IER:
		value = p->lcr & LCR_DLAB ? p->dlm : p->ier;
		break;
	case IIR_FCR:
		value = iir_read(dev, n);
		break;
	case LCR:
		return p->lcr;
	case MCR:
		return p->mcr;
	case LSR:
		value = lsr_read(dev, n);
		break;
	case MSR:
		value = msr_read(dev, n);
		break;
	case SCR:
		return p->scr;
	}
	port_update(dev, n);
	return value;
}

/* An 8-bit device: a wider access is one byte access after the other. */
static uint64_t uart_read(struct dev *dev, unsigned region, uint64_t off, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)reg_read(dev, region, off + i) << 8 * i;
	return value;
}

static void uart_write(struct dev *dev, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	for (unsigned i = 0; i < size; i++)
		reg_write(dev, region, off + i, value >> 8 * i);
}

static void uart_timer(struct dev *dev, unsigned timer)
{
	if (timer >= PORTS || !port_of(dev, timer)->rx_count)
		return;
	port_write(dev, timer)->timeout = 1;
	port_update(dev, timer);
}

static void uart_input(struct dev *dev, unsigned stream)
{
	for (unsigned n = 0; n < PORTS; n++) {
		if (!port_of(dev, n)->present || port_of(dev, n)->stream != (int)stream)
			continue;
		rx_fill(dev, n);
		tx_drain(dev, n);
		port_update(dev, n);
	}
}

static void port_reset(struct dev *dev, unsigned n)
{
	struct uart_port *p = port_write(dev, n);

	*p = (struct uart_port){
		.present = p->present,
		.stream = p->stream,
		.dll = 12,	/* 9600 baud */
		.msr = MSR_CTS | MSR_DSR | MSR_DCD,
		.shadow = 0xff,	/* no LSR value, so the true one is told */
	};
	if (!p->present)
		return;
	dev_timer(dev, n, 0);
	rx_fill(dev, n);
	port_update(dev, n);
}

static void uart_reset(struct dev *dev)
{
	for (unsigned n = 0; n < PORTS; n++)
		port_reset(dev, n);
}

static int uart_init(struct dev *dev, bool fresh)
{
	for (unsigned n = 0; n < PORTS; n++) {
		struct uart_port *p = port_write(dev, n);

		p->present = dev_conf(dev, wiring[n].key) != NULL;
		p->stream = p->present ? dev_stream(dev, wiring[n].key) : -1;
		if (!p->present)
			continue;
		dev_region(dev, &(struct dev_region){ .base = wiring[n].base, .len = REGS, .id = n, .shadow = true });
		if (!fresh) {
			p->shadow = 0xff;
			tx_drain(dev, n);
			port_update(dev, n);
		}
	}
	if (fresh)
		uart_reset(dev);
	return 0;
}

static int port_check(const struct uart_port *p)
{
	bool bad = p->present > 1 || p->rx_head >= FIFO || p->rx_count > FIFO || p->tx_count > FIFO ||
		   p->rx_count > depth(p) || p->ier & ~IER_MASK || p->mcr & ~MCR_MASK || p->fcr & ~FCR_KEPT ||
		   p->errors & ~(LSR_OE | LSR_BI) || p->thre_due > 1 || p->timeout > 1;

	return bad ? -EINVAL : 0;
}

static int uart_check(const struct dev *dev, const void *state)
{
	const struct uart *u = state;
	int error = u->irq[0] > 1 || u->irq[1] > 1 ? -EINVAL : 0;

	(void)dev;
	for (unsigned n = 0; n < PORTS && !error; n++)
		error = port_check(&u->port[n]);
	return error;
}

static const struct dev_key uart_keys[] = {
	{ "com1", "serial port at 3F8h, IRQ 4: stdio, a pty, socket or file (default: no port)", DEV_KEY_CHR },
	{ "com2", "serial port at 2F8h, IRQ 3", DEV_KEY_CHR },
	{ "com3", "serial port at 3E8h, IRQ 4", DEV_KEY_CHR },
	{ "com4", "serial port at 2E8h, IRQ 3", DEV_KEY_CHR },
	{ 0 }
};

#define PORT_FIELD(member, ...) DEV_FIELD_EACH(struct uart, port, PORTS, struct uart_port, member, __VA_ARGS__)

static const struct dev_field uart_fields[] = {
#if UART_LAYOUT > 1
	PORT_FIELD(sent, .flags = UART_LAYOUT == 2 ? DEV_FIELD_NEW | DEV_FIELD_SPARE : UART_LAYOUT == 3 ? DEV_FIELD_NEW : 0),
#endif
	PORT_FIELD(stream),
	PORT_FIELD(present),
	PORT_FIELD(ier),
	PORT_FIELD(fcr),
	PORT_FIELD(lcr),
	PORT_FIELD(mcr),
	PORT_FIELD(msr),
	PORT_FIELD(scr),
	PORT_FIELD(dll),
	PORT_FIELD(dlm),
	PORT_FIELD(errors),
	PORT_FIELD(thre_due),
	PORT_FIELD(timeout),
	PORT_FIELD(rx_head),
	PORT_FIELD(rx_count),
	PORT_FIELD(tx_count),
	PORT_FIELD(shadow),
	PORT_FIELD(rx_breaks),
	PORT_FIELD(rx),
	PORT_FIELD(tx),
	DEV_FIELD(struct uart, irq),
	{ 0 }
};

const struct dev_ops uart_ops = {
	.name = "uart",
	.summary = "16550A serial ports",
	.keys = uart_keys,
	.state_size = sizeof(struct uart),
	.state_version = UART_LAYOUT,
	.fields = uart_fields,
	.init = uart_init,
	.reset = uart_reset,
	.check = uart_check,
	.read = uart_read,
	.write = uart_write,
	.timer = uart_timer,
	.input = uart_input,
};
