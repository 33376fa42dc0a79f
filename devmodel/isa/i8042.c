/*
 * devmodel/isa/i8042.c - the keyboard controller of a PC/AT with a PS/2 keyboard
 * and a PS/2 mouse.
 *
 * IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary
 * Device Controller" and "Keyboard"; the command set of Intel's 8242.
 *
 *      keyboard ── keys, replies ──┐ translation (set 2 to 1)
 *      mouse ───── replies ────────┼──► output buffer ──► port 60h, IRQ 1 or 12
 *      controller ─ replies ───────┘
 *
 * The output buffer is refilled as soon as it has been read.  Nothing takes
 * time: the input buffer is never full.  Reading the status port has no effect,
 * so it is a shadow register.
 *
 * Keys come from outside as set-2 sequences (LINK_INJECT_KEY).  A sequence goes
 * into the keyboard's buffer whole or not at all.  Scancode sets 1 and 2 are
 * there; set 3 is refused with RESEND, as many keyboards do.
 */
#include <errno.h>
#include <string.h>

#include "devmodel/device.h"
#include "ipc/link.h"

enum { REGION_DATA, REGION_STATUS };
enum { IRQ_KBD = 1, IRQ_AUX = 12 };

/* Status port. */
enum { ST_OBF = 0x01, ST_SYS = 0x04, ST_COMMAND = 0x08, ST_UNLOCKED = 0x10, ST_AUX = 0x20 };
/* Command byte. */
enum { CB_KBD_INT = 0x01, CB_AUX_INT = 0x02, CB_SYS = 0x04, CB_KBD_OFF = 0x10, CB_AUX_OFF = 0x20, CB_XLAT = 0x40,
       CB_MASK = 0x77 };
/* Output port. */
enum { OUT_NO_RESET = 0x01, OUT_A20 = 0x02, OUT_OBF = 0x10, OUT_AUX_OBF = 0x20, OUT_LINES = 0xc0 };

/* What both devices say. */
enum { PS2_ACK = 0xfa, PS2_RESEND = 0xfe, PS2_BAT_OK = 0xaa };

/* Where the byte in the output buffer came from. */
enum source { FROM_CTL, FROM_KBD, FROM_AUX, SOURCES };

enum { CTL_RAM = 32, KEYS = 128, REPLIES = 16 };

/* A byte queue of power-of-two size; `size` lives in the type. */
struct keys { uint8_t head, count, byte[KEYS]; };
struct replies { uint8_t head, count, byte[REPLIES]; };

struct i8042 {
	/* controller */
	uint8_t ram[CTL_RAM];		/* ram[0] is the command byte */
	uint8_t outport;
	uint8_t pending;		/* command that waits for its data byte, 0 for none */
	uint8_t last_was_command;
	uint8_t obf, obuf, source;	/* output buffer */
	uint8_t irq_kbd, irq_aux;	/* levels as told */
	uint8_t shadow;			/* status as told */
	struct replies ctl;
	/* keyboard */
	struct replies kbd;
	struct keys keys;
	uint8_t kbd_pending, kbd_scanning, kbd_set, kbd_leds, kbd_rate, kbd_last;
	uint8_t break_seen;		/* translation: F0h came, the key follows */
	/* mouse */
	struct replies aux;
	uint8_t aux_pending, aux_enabled, aux_remote, aux_wrap, aux_scale2, aux_resolution, aux_rate, aux_id, aux_last;
	uint8_t aux_knock;		/* how much of the wheel mouse's knock has been heard */
};

static const struct i8042 *get(const struct dev *dev)
{
	return dev_state(dev);
}

/* Set 2 to set 1, as the controller translates: make codes below 80h; F7 and SysRq lie above. */
static const uint8_t set2_to_set1[0x85] = {
	0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
	0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
	0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
	0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
	0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
	0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
	0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
	0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
	0x80, 0x81, 0x82, 0x41, 0x54,
};

/* ---- queues */

static void reply(struct replies *q, uint8_t byte)
{
	if (q->count < REPLIES)
		q->byte[(q->head + q->count++) % REPLIES] = byte;
}

static uint8_t reply_take(struct replies *q)
{
	uint8_t byte = q->byte[q->head];

	q->head = (q->head + 1) % REPLIES;
	q->count--;
	return byte;
}

static uint8_t key_take(struct keys *q)
{
	uint8_t byte = q->byte[q->head];

	q->head = (q->head + 1) % KEYS;
	q->count--;
	return byte;
}

/* ---- output buffer */

static uint8_t status_of(const struct i8042 *s)
{
	return (s->obf ? ST_OBF | (s->source == FROM_AUX ? ST_AUX : 0) : 0) | (s->ram[0] & CB_SYS) |
	       (s->last_was_command ? ST_COMMAND : 0) | ST_UNLOCKED;
}

static void set_buffer(struct i8042 *s, enum source source, uint8_t byte)
{
	s->obf = 1;
	s->obuf = byte;
	s->source = source;
}

/* One set-2 byte through the translation; F0h is swallowed and marks the next. */
static bool translate(struct i8042 *s, uint8_t *byte)
{
	if (*byte == 0xf0) {
		s->break_seen = 0x80;
		return false;
	}
	if (*byte < sizeof(set2_to_set1))
		*byte = set2_to_set1[*byte];
	*byte |= s->break_seen;
	s->break_seen = 0;
	return true;
}

/* The keyboard's next byte: replies go before keys.  The keyboard itself may be in set 1. */
static bool kbd_next(struct i8042 *s, uint8_t *byte)
{
	while (s->kbd.count || s->keys.count) {
		bool key = !s->kbd.count;

		*byte = key ? key_take(&s->keys) : reply_take(&s->kbd);
		s->kbd_last = *byte;
		if (((s->ram[0] & CB_XLAT) || (key && s->kbd_set == 1)) && !translate(s, byte))
			continue;
		return true;
	}
	return false;
}

static void refill(struct i8042 *s)
{
	uint8_t byte;

	if (s->obf)
		return;
	if (s->ctl.count) {
		set_buffer(s, FROM_CTL, reply_take(&s->ctl));
	} else if (!(s->ram[0] & CB_KBD_OFF) && kbd_next(s, &byte)) {
		set_buffer(s, FROM_KBD, byte);
	} else if (!(s->ram[0] & CB_AUX_OFF) && s->aux.count) {
		s->aux_last = reply_take(&s->aux);
		set_buffer(s, FROM_AUX, s->aux_last);
	}
}

/* Interrupt lines and the status word, as they follow from the state. */
static void tell(struct dev *dev)
{
	const struct i8042 *s = get(dev);
	bool aux = s->source == FROM_AUX;
	uint8_t irq_kbd = s->obf && !aux && (s->ram[0] & CB_KBD_INT);
	uint8_t irq_aux = s->obf && aux && (s->ram[0] & CB_AUX_INT);
	uint8_t status = status_of(s);

	if (irq_kbd != s->irq_kbd) {
		((struct i8042 *)dev_write(dev))->irq_kbd = irq_kbd;
		dev_irq(dev, IRQ_KBD, irq_kbd);
	}
	if (irq_aux != s->irq_aux) {
		((struct i8042 *)dev_write(dev))->irq_aux = irq_aux;
		dev_irq(dev, IRQ_AUX, irq_aux);
	}
	if (status != s->shadow) {
		((struct i8042 *)dev_write(dev))->shadow = status;
		dev_shadow(dev, REGION_STATUS, 0, status, true);
	}
}

static void update(struct dev *dev)
{
	refill(dev_write(dev));
	tell(dev);
}

/* ---- keyboard */

static void kbd_defaults(struct i8042 *s)
{
	s->kbd_set = 2;
	s->kbd_rate = 0x2b;	/* 10.9 characters a second after 500 ms */
	s->kbd_pending = 0;
	s->keys.count = 0;
	s->break_seen = 0;
}

static void kbd_reset(struct i8042 *s)
{
	kbd_defaults(s);
	s->kbd_leds = 0;
	s->kbd_scanning = 1;
	s->kbd.count = 0;
}

static void kbd_parameter(struct i8042 *s, uint8_t command, uint8_t value)
{
	uint8_t answer = PS2_ACK;

	switch (command) {
	case 0xed:
		s->kbd_leds = value & 7;
		break;
	case 0xf0:
		if (value == 1 || value == 2)
			s->kbd_set = value;
		else if (value)
			answer = PS2_RESEND;
		break;
	case 0xf3:
		s->kbd_rate = value & 0x7f;
		break;
	}	/* FBh-FDh: key types of set 3 */
	reply(&s->kbd, answer);
	if (command == 0xf0 && value == 0)
		reply(&s->kbd, s->kbd_set);
}

static void kbd_command(struct i8042 *s, uint8_t command)
{
	switch (command) {
	case 0xee:				/* echo */
		reply(&s->kbd, 0xee);
		return;
	case 0xfe:				/* resend */
		reply(&s->kbd, s->kbd_last);
		return;
	case 0xed: case 0xf0: case 0xf3:	/* LEDs, scancode set, typematic rate */
	case 0xfb: case 0xfc: case 0xfd:
		s->kbd_pending = command;
		break;
	case 0xf2:				/* identify */
		reply(&s->kbd, PS2_ACK);
		reply(&s->kbd, 0xab);
		reply(&s->kbd, 0x83);
		return;
	case 0xf4:				/* enable */
		s->keys.count = 0;
		s->kbd_scanning = 1;
		break;
	case 0xf5:				/* defaults, and disable */
		kbd_defaults(s);
		s->kbd_scanning = 0;
		break;
	case 0xf6:				/* defaults */
		kbd_defaults(s);
		break;
	case 0xf7: case 0xf8: case 0xf9: case 0xfa:
		break;
	case 0xff:				/* reset */
		kbd_reset(s);
		reply(&s->kbd, PS2_ACK);
		reply(&s->kbd, PS2_BAT_OK);
		return;
	default:
		reply(&s->kbd, PS2_RESEND);
		return;
	}
	reply(&s->kbd, PS2_ACK);
}

static void kbd_write(struct i8042 *s, uint8_t value)
{
	uint8_t command = s->kbd_pending;

	s->ram[0] &= ~CB_KBD_OFF;	/* talking to the keyboard enables its clock */
	s->kbd_pending = 0;
	if (command && value < 0x80)
		kbd_parameter(s, command, value);
	else
		kbd_command(s, value);	/* a command in place of a parameter ends the first one */
}

/* ---- mouse */

static void aux_defaults(struct i8042 *s)
{
	s->aux_enabled = s->aux_remote = s->aux_wrap = s->aux_scale2 = s->aux_pending = 0;
	s->aux_resolution = 2;
	s->aux_rate = 100;
}

/* The rates 200, 100, 80 in a row turn the mouse into one with a wheel. */
static void aux_hear_knock(struct i8042 *s, uint8_t rate)
{
	static const uint8_t knock[] = { 200, 100, 80 };

	if (rate != knock[s->aux_knock]) {
		s->aux_knock = rate == knock[0];
		return;
	}
	if (++s->aux_knock == sizeof(knock)) {
		s->aux_id = 3;
		s->aux_knock = 0;
	}
}

static void aux_packet(struct i8042 *s)
{
	reply(&s->aux, 0x08);		/* no button, no movement */
	reply(&s->aux, 0);
	reply(&s->aux, 0);
	if (s->aux_id == 3)
		reply(&s->aux, 0);
}

static void aux_status(struct i8042 *s)
{
	reply(&s->aux, s->aux_remote << 6 | s->aux_enabled << 5 | s->aux_scale2 << 4);
	reply(&s->aux, s->aux_resolution);
	reply(&s->aux, s->aux_rate);
}

static void aux_command(struct i8042 *s, uint8_t command)
{
	if (command == 0xfe) {			/* resend */
		reply(&s->aux, s->aux_last);
		return;
	}
	reply(&s->aux, PS2_ACK);
	switch (command) {
	case 0xe6: s->aux_scale2 = 0; break;
	case 0xe7: s->aux_scale2 = 1; break;
	case 0xe8: case 0xf3: s->aux_pending = command; break;	/* resolution, sample rate */
	case 0xe9: aux_status(s); break;
	case 0xea: s->aux_remote = 0; break;	/* stream mode */
	case 0xeb: aux_packet(s); break;
	case 0xee: s->aux_wrap = 1; break;
	case 0xec: break;			/* end of wrap mode */
	case 0xf0: s->aux_remote = 1; break;
	case 0xf2: reply(&s->aux, s->aux_id); break;
	case 0xf4: s->aux_enabled = 1; break;
	case 0xf5: s->aux_enabled = 0; break;
	case 0xf6: aux_defaults(s); break;
	case 0xff:
		aux_defaults(s);
		s->aux_id = 0;
		reply(&s->aux, PS2_BAT_OK);
		reply(&s->aux, s->aux_id);
		break;
	default:
		s->aux.count--;			/* in place of the ACK */
		reply(&s->aux, PS2_RESEND);
	}
}

static void aux_write(struct i8042 *s, uint8_t value)
{
	uint8_t command = s->aux_pending;

	s->ram[0] &= ~CB_AUX_OFF;
	s->aux_pending = 0;
	if (s->aux_wrap && value != 0xec && value != 0xff) {
		reply(&s->aux, value);
		return;
	}
	s->aux_wrap = 0;
	if (command == 0xe8 && value <= 3) {
		s->aux_resolution = value;
		reply(&s->aux, PS2_ACK);
	} else if (command == 0xf3 && value <= 200) {
		s->aux_rate = value;
		aux_hear_knock(s, value);
		reply(&s->aux, PS2_ACK);
	} else {
		aux_command(s, value);
	}
}

/* ---- controller */

static void outport_write(struct dev *dev, uint8_t value)
{
	struct i8042 *s = dev_write(dev);
	bool a20_moves = (value ^ s->outport) & OUT_A20;

	s->outport = (value & (OUT_NO_RESET | OUT_A20)) | (s->outport & ~(OUT_NO_RESET | OUT_A20));
	if (a20_moves)
		dev_a20(dev, value & OUT_A20);
	if (!(value & OUT_NO_RESET)) {
		s->outport |= OUT_NO_RESET;	/* the line is pulsed: the machine comes back without it */
		dev_power(dev, LINK_POWER_RESET, 0);
	}
}

static uint8_t outport_read(const struct i8042 *s)
{
	return (s->outport & (OUT_NO_RESET | OUT_A20)) | OUT_LINES | (s->irq_kbd ? OUT_OBF : 0) |
	       (s->irq_aux ? OUT_AUX_OBF : 0);
}

static void ctl_command(struct dev *dev, uint8_t command)
{
	struct i8042 *s = dev_write(dev);

	s->pending = 0;
	switch (command) {
	case 0x20 ... 0x3f:			/* read RAM; 20h is the command byte */
		reply(&s->ctl, s->ram[command & 0x1f]);
		break;
	case 0x60 ... 0x7f:			/* write RAM */
	case 0xd1: case 0xd2: case 0xd3: case 0xd4:
		s->pending = command;
		break;
	case 0xa4:				/* is there a password? */
		reply(&s->ctl, 0xf1);
		break;
	case 0xa7: s->ram[0] |= CB_AUX_OFF; break;
	case 0xa8: s->ram[0] &= ~CB_AUX_OFF; break;
	case 0xa9:				/* auxiliary interface test */
	case 0xab:				/* keyboard interface test */
		reply(&s->ctl, 0x00);
		break;
	case 0xaa:				/* self-test */
		s->ram[0] = (s->ram[0] | CB_SYS | CB_KBD_OFF | CB_AUX_OFF) & ~(CB_KBD_INT | CB_AUX_INT);
		s->ctl.count = 0;
		s->obf = 0;
		reply(&s->ctl, 0x55);
		break;
	case 0xad: s->ram[0] |= CB_KBD_OFF; break;
	case 0xae: s->ram[0] &= ~CB_KBD_OFF; break;
	case 0xc0:				/* input port: not inhibited, colour display */
		reply(&s->ctl, 0xa0);
		break;
	case 0xd0:
		reply(&s->ctl, outport_read(s));
		break;
	case 0xdd:
		outport_write(dev, s->outport & ~OUT_A20);
		break;
	case 0xdf:
		outport_write(dev, s->outport | OUT_A20);
		break;
	case 0xe0:				/* test inputs */
		reply(&s->ctl, 0x00);
		break;
	case 0xf0 ... 0xff:			/* pulse the output lines whose bit is clear */
		if (!(command & OUT_NO_RESET))
			dev_power(dev, LINK_POWER_RESET, 0);
		break;
	}
}

static void ctl_data(struct dev *dev, uint8_t command, uint8_t value)
{
	struct i8042 *s = dev_write(dev);

	switch (command) {
	case 0x60:
		s->ram[0] = value & CB_MASK;
		break;
	case 0x61 ... 0x7f:
		s->ram[command & 0x1f] = value;
		break;
	case 0xd1:
		outport_write(dev, value);
		break;
	case 0xd2:				/* as if the keyboard had sent it, untranslated */
		set_buffer(s, FROM_KBD, value);
		break;
	case 0xd3:
		set_buffer(s, FROM_AUX, value);
		break;
	case 0xd4:
		aux_write(s, value);
		break;
	}
}

static void data_write(struct dev *dev, uint8_t value)
{
	struct i8042 *s = dev_write(dev);
	uint8_t command = s->pending;

	s->last_was_command = 0;
	s->pending = 0;
	if (command)
		ctl_data(dev, command, value);
	else
		kbd_write(s, value);
}

/* The last byte stays in the buffer: an empty port 60h reads it again. */
static uint8_t data_read(struct dev *dev)
{
	uint8_t byte = get(dev)->obuf;

	if (get(dev)->obf) {
		((struct i8042 *)dev_write(dev))->obf = 0;
		tell(dev);		/* the line falls before the next byte raises it */
		update(dev);
	}
	return byte;
}

static uint64_t i8042_read(struct dev *dev, unsigned region, uint64_t off, unsigned size)
{
	(void)off;
	(void)size;
	return region == REGION_STATUS ? status_of(get(dev)) : data_read(dev);
}

static void i8042_write(struct dev *dev, unsigned region, uint64_t off, unsigned size, uint64_t value)
{
	(void)off;
	(void)size;
	if (region == REGION_STATUS) {
		((struct i8042 *)dev_write(dev))->last_was_command = 1;
		ctl_command(dev, value);
	} else {
		data_write(dev, value);
	}
	update(dev);
}

/* A set-2 sequence of up to eight bytes.  What finds no room, or a keyboard told to be still, is lost whole. */
static void i8042_inject(struct dev *dev, unsigned kind, uint64_t value)
{
	const struct i8042 *s = get(dev);
	struct keys *q;
	unsigned n = 0;

	if (kind != LINK_INJECT_KEY || !s->kbd_scanning)
		return;
	while (n < 8 && (value >> 8 * n & 0xff))
		n++;
	if (s->keys.count + n > KEYS)
		return;
	q = &((struct i8042 *)dev_write(dev))->keys;
	for (unsigned i = 0; i < n; i++)
		q->byte[(q->head + q->count++) % KEYS] = value >> 8 * i;
	update(dev);
}

/* ---- life */

static void i8042_reset(struct dev *dev)
{
	struct i8042 *s = dev_write(dev);

	*s = (struct i8042){
		.ram[0] = CB_XLAT | CB_AUX_OFF | CB_KBD_INT,
		.outport = OUT_NO_RESET | OUT_A20,
		.irq_kbd = s->irq_kbd,
		.irq_aux = s->irq_aux,
		.shadow = 0xff,
	};
	kbd_reset(s);
	aux_defaults(s);
	dev_a20(dev, true);
	tell(dev);
}

static int i8042_init(struct dev *dev, bool fresh)
{
	dev_region(dev, &(struct dev_region){ .base = 0x60, .len = 1, .id = REGION_DATA });
	dev_region(dev, &(struct dev_region){ .base = 0x64, .len = 1, .id = REGION_STATUS, .shadow = true });
	if (fresh) {
		i8042_reset(dev);
	} else {
		((struct i8042 *)dev_write(dev))->shadow = 0xff;
		tell(dev);
	}
	return 0;
}

static int replies_check(const struct replies *q)
{
	return q->head >= REPLIES || q->count > REPLIES ? -EINVAL : 0;
}

static int i8042_check(const struct dev *dev, const void *state)
{
	const struct i8042 *s = state;
	bool bad = replies_check(&s->ctl) || replies_check(&s->kbd) || replies_check(&s->aux) ||
		   s->keys.head >= KEYS || s->keys.count > KEYS || s->obf > 1 || s->source >= SOURCES ||
		   s->ram[0] & ~CB_MASK || s->aux_knock > 2 || s->kbd_set < 1 || s->kbd_set > 2 ||
		   (s->break_seen & 0x7f) || s->irq_kbd > 1 || s->irq_aux > 1 || s->last_was_command > 1;

	(void)dev;
	return bad ? -EINVAL : 0;
}

const struct dev_ops i8042_ops = {
	.name = "i8042",
	.summary = "keyboard controller with PS/2 keyboard and mouse",
	.implied = "",
	.state_size = sizeof(struct i8042),
	.state_version = 1,
	.init = i8042_init,
	.reset = i8042_reset,
	.check = i8042_check,
	.read = i8042_read,
	.write = i8042_write,
	.inject = i8042_inject,
};
