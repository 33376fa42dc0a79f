/*
 * devmodel/virtio/console.c - consoles and byte channels (virtio 1.2, 5.3).
 *
 *	port    queues (to the driver, from the driver)
 *	0       0, 1          the console: hvc0
 *	        2, 3          control messages
 *	n > 0   2n + 2, 2n + 3
 *
 * A port is a character stream; what is at its other end is the engine's.  Port
 * 0 is the key `console`; ports 1 to 15 are the keys `port1` to `port15`, found
 * by the guest under the name that `portN.name` gives, and consoles too with
 * `portN.console=on`.  A driver without MULTIPORT has port 0 alone.
 *
 * Flow control: input waits in the stream until the driver has opened the port
 * and has given buffers; a chain that the stream has no room for is kept, with
 * the bytes of it that have gone, and goes on when there is room.
 *
 * Control messages to the driver are not queued: each port remembers what it has
 * said, and what is yet to be said follows from that and from the port's state.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devmodel/virtio/virtio.h"

enum { PORTS = 16, QUEUES = 2 * PORTS + 2, QUEUE_SIZE = 64 };
enum { CONTROL_TO = 2, CONTROL_FROM = 3 };
enum { NAME_MAX_LEN = 63, CHUNK = 2048 };

#define F_MULTIPORT	(1ull << 1)
#define F_EMERG_WRITE	(1ull << 2)

/* Control messages (5.3.6.2). */
enum { DEVICE_READY, PORT_ADD, PORT_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };

struct message {
	uint32_t id;
	uint16_t event, value;
};

struct config {
	uint16_t cols, rows;	/* of F_SIZE, which is not offered: the engine has the terminal */
	uint32_t max_nr_ports;
	uint32_t emerg_wr;
};

_Static_assert(sizeof(struct message) == 8 && sizeof(struct config) == 12, "virtio 5.3.4, 5.3.6.2");

/* What has been said to the driver of a port. */
enum { SAID_ADD = 1, SAID_CONSOLE = 2, SAID_NAME = 4, SAID_ONLINE = 8, SAID_ALL = 15 };

struct port {
	uint8_t ready;		/* the driver has taken the port on */
	uint8_t open;		/* somebody in the guest has it open */
	uint8_t said;
	uint8_t held;		/* chain `head` is ours, `sent` bytes of it have gone */
	uint16_t head;
	uint16_t reserved;
	uint64_t sent;
};

struct console {
	uint8_t ready;		/* the driver has asked for the ports */
	uint8_t reserved[7];
	struct port port[PORTS];
};

/* What the configuration says: made again by each process. */
struct wiring {
	unsigned ports;
	struct {
		bool present, console;
		int stream;
		const char *name;	/* or NULL */
	} port[PORTS];
};

static const struct wiring *wiring(const struct dev *d)
{
	return dev_private(d);
}

static const struct console *con_of(const struct dev *d)
{
	return virtio_state(d);
}

static const struct port *port_of(const struct dev *d, unsigned n)
{
	return &con_of(d)->port[n];
}

static struct port *port_write(struct dev *d, unsigned n)
{
	return &((struct console *)virtio_write(d))->port[n];
}

static unsigned queue_to(unsigned port)
{
	return port ? 2 * port + 2 : 0;
}

/* The port of a data queue. */
static unsigned port_of_queue(unsigned queue)
{
	return queue < 2 ? 0 : (queue - 2) / 2;
}

static bool is_open(const struct dev *d, unsigned n)
{
	return virtio_has(d, F_MULTIPORT) ? port_of(d, n)->open : n == 0;
}

/* ---- data */

/* Bytes that wait in the stream go into the driver's buffers. */
static void to_driver(struct dev *d, unsigned n)
{
	int stream = wiring(d)->port[n].stream;
	unsigned queue = queue_to(n);
	uint8_t bytes[CHUNK];
	struct virtq_chain c;
	size_t got;

	while (is_open(d, n) && (got = chr_peek(d, stream, bytes, sizeof(bytes))) && virtq_take(d, queue, &c)) {
		got = virtq_write(d, &c, 0, bytes, got < c.write_len ? got : c.write_len);
		chr_take(d, stream, got);
		virtq_give(d, queue, c.head, got);
	}
}

/* As much of a chain as the stream takes; true when all has gone. */
static bool send_chain(struct dev *d, unsigned n, const struct virtq_chain *c, uint64_t *sent)
{
	int stream = wiring(d)->port[n].stream;
	uint8_t bytes[CHUNK];
	size_t got, put;

	if (stream < 0)
		return true;		/* nothing is connected */
	while ((got = virtq_read(d, c, *sent, bytes, sizeof(bytes)))) {
		put = chr_put(d, stream, bytes, got);
		*sent += put;
		if (put < got)
			return false;
	}
	return true;
}

/* The chain that was kept, or the next one, from where it is to be sent on. */
static bool next_chain(struct dev *d, unsigned n, struct virtq_chain *c, uint64_t *sent)
{
	const struct port *p = port_of(d, n);
	unsigned queue = queue_to(n) + 1;

	*sent = p->held ? p->sent : 0;
	if (!p->held)
		return virtq_take(d, queue, c);
	if (virtq_read_chain(d, queue, p->head, c))
		return true;
	virtio_broken(d, "queue %u: a chain that is being sent was changed", queue);
	return false;
}

static void from_driver(struct dev *d, unsigned n)
{
	struct virtq_chain c;
	uint64_t sent;

	while (virtio_running(d) && next_chain(d, n, &c, &sent)) {
		bool all = send_chain(d, n, &c, &sent);

		if (!all || port_of(d, n)->held) {
			struct port *p = port_write(d, n);

			p->held = !all;
			p->head = c.head;
			p->sent = sent;
		}
		chr_want_room(d, wiring(d)->port[n].stream, !all);
		if (!all)
			return;
		virtq_give(d, queue_to(n) + 1, c.head, 0);
	}
}

/* ---- control */

static bool online(const struct dev *d, unsigned n)
{
	return chr_online(d, wiring(d)->port[n].stream);
}

/* What is to be said of a port next: one SAID_* bit that will change, or 0. */
static unsigned unsaid(const struct dev *d, unsigned n)
{
	const struct port *p = port_of(d, n);

	if (!wiring(d)->port[n].present || !con_of(d)->ready)
		return 0;
	if (!(p->said & SAID_ADD))
		return SAID_ADD;
	if (!p->ready)
		return 0;
	if (wiring(d)->port[n].console && !(p->said & SAID_CONSOLE))
		return SAID_CONSOLE;
	if (wiring(d)->port[n].name && !(p->said & SAID_NAME))
		return SAID_NAME;
	return online(d, n) != !!(p->said & SAID_ONLINE) ? SAID_ONLINE : 0;
}

static void say(struct dev *d, unsigned n, unsigned what, const struct virtq_chain *c)
{
	static const uint8_t event[] = {
		[SAID_ADD] = PORT_ADD, [SAID_CONSOLE] = CONSOLE_PORT, [SAID_NAME] = PORT_NAME, [SAID_ONLINE] = PORT_OPEN,
	};
	struct message m = { .id = n, .event = event[what], .value = 1 };
	size_t len;

	if (what == SAID_ONLINE)
		m.value = !(port_of(d, n)->said & SAID_ONLINE);
	len = virtq_write(d, c, 0, &m, sizeof(m));
	if (what == SAID_NAME)
		len += virtq_write(d, c, len, wiring(d)->port[n].name, strlen(wiring(d)->port[n].name));
	port_write(d, n)->said ^= what;
	virtq_give(d, c->queue, c->head, len);
}

static void say_all(struct dev *d)
{
	struct virtq_chain c;

	for (unsigned n = 0; n < wiring(d)->ports; n++) {
		unsigned what;

		while ((what = unsaid(d, n))) {
			if (!virtq_take(d, CONTROL_TO, &c))
				return;
			say(d, n, what, &c);
		}
	}
}

static void hear_port(struct dev *d, unsigned n, const struct message *m)
{
	switch (m->event) {
	case PORT_READY:
		if (!m->value)
			dev_log(d, "the guest cannot use port %u", n);
		port_write(d, n)->ready = m->value == 1;
		break;
	case PORT_OPEN:
		port_write(d, n)->open = m->value == 1;
		to_driver(d, n);
		break;
	}
}

/* Messages with an unknown port or event are no concern of ours. */
static void hear(struct dev *d)
{
	struct virtq_chain c;
	struct message m;

	while (virtq_take(d, CONTROL_FROM, &c)) {
		size_t n = virtq_read(d, &c, 0, &m, sizeof(m));

		virtq_give(d, CONTROL_FROM, c.head, 0);
		if (n < sizeof(m))
			continue;
		if (m.event == DEVICE_READY)
			((struct console *)virtio_write(d))->ready = m.value == 1;
		else if (m.id < wiring(d)->ports && wiring(d)->port[m.id].present)
			hear_port(d, m.id, &m);
	}
	say_all(d);
}

static void con_kicked(struct dev *d, unsigned queue)
{
	if (queue == CONTROL_TO)
		say_all(d);
	else if (queue == CONTROL_FROM)
		hear(d);
	else if (queue % 2)
		from_driver(d, port_of_queue(queue));
	else
		to_driver(d, port_of_queue(queue));
}

static void con_input(struct dev *d, unsigned stream)
{
	for (unsigned n = 0; n < wiring(d)->ports; n++)
		if (wiring(d)->port[n].present && wiring(d)->port[n].stream == (int)stream) {
			to_driver(d, n);
			if (port_of(d, n)->held)
				from_driver(d, n);
		}
	say_all(d);
}

/* ---- configuration */

static void con_config_read(const struct dev *d, uint8_t *config)
{
	struct config c = { .max_nr_ports = wiring(d)->ports };

	memcpy(config, &c, sizeof(c));
}

/* A character for the console from a kernel in need, before any queue is there. */
static void con_config_write(struct dev *d, unsigned off, unsigned size, uint64_t value)
{
	uint8_t byte = value;

	(void)size;
	if (off == offsetof(struct config, emerg_wr))
		chr_put(d, wiring(d)->port[0].stream, &byte, 1);
}

static void port_key(char key[static 24], unsigned n)
{
	snprintf(key, 24, n ? "port%u" : "console", n);
}

/* The highest port that there is, and one. */
static unsigned count_ports(const struct dev *d)
{
	unsigned ports = 1;	/* the driver counts from one */
	char key[24];

	for (unsigned n = 1; n < PORTS; n++) {
		port_key(key, n);
		if (dev_conf(d, key))
			ports = n + 1;
	}
	return ports;
}

/* A predecessor's state is checked before init() has made the wiring. */
static unsigned con_nqueues(const struct dev *d)
{
	return 2 * (wiring(d) ? wiring(d)->ports : count_ports(d)) + 2;
}

static void con_reset(struct dev *d)
{
	for (unsigned n = 0; n < PORTS; n++)
		chr_want_room(d, wiring(d)->port[n].stream, false);
	memset(virtio_write(d), 0, sizeof(struct console));
}

static int port_wire(struct dev *d, struct wiring *w, unsigned n)
{
	char key[24], option[32];
	const char *value;

	port_key(key, n);
	w->port[n].stream = -1;
	w->port[n].present = dev_conf(d, key) != NULL;
	if (!w->port[n].present)
		return 0;
	w->port[n].stream = dev_stream(d, key);
	snprintf(option, sizeof(option), "%s.console", key);
	value = dev_conf(d, option);
	if (value && strcmp(value, "on") && strcmp(value, "off")) {
		dev_error(d, "%s is on or off, not %s", option, value);
		return -EINVAL;
	}
	w->port[n].console = !n || (value && !strcmp(value, "on"));
	snprintf(option, sizeof(option), "%s.name", key);
	w->port[n].name = dev_conf(d, option);
	if (w->port[n].name && strlen(w->port[n].name) > NAME_MAX_LEN) {
		dev_error(d, "%s has more than %d characters", option, NAME_MAX_LEN);
		return -EINVAL;
	}
	return 0;
}

static int con_init(struct dev *d, bool fresh)
{
	struct wiring *w = calloc(1, sizeof(*w));
	int err = w ? 0 : -ENOMEM;

	dev_set_private(d, w);
	if (w)
		w->ports = count_ports(d);
	for (unsigned n = 0; n < PORTS && !err; n++)
		err = port_wire(d, w, n);
	if (err || fresh)
		return err;
	for (unsigned n = 0; n < w->ports; n++)
		if (port_of(d, n)->held)
			chr_want_room(d, w->port[n].stream, true);
	return 0;
}

static void con_fini(struct dev *d)
{
	free(dev_private(d));
}

static int con_check(const struct dev *d, const void *own)
{
	const struct console *c = own;
	bool bad = c->ready > 1;

	(void)d;
	for (unsigned n = 0; n < PORTS; n++) {
		const struct port *p = &c->port[n];

		bad |= p->ready > 1 || p->open > 1 || p->said & ~SAID_ALL || p->held > 1 || p->head >= QUEUE_SIZE;
	}
	return bad ? -EINVAL : 0;
}

static const struct virtio_ops con_virtio = {
	.id = 3,
	.queues = QUEUES,
	.queue_size = QUEUE_SIZE,
	.config_size = sizeof(struct config),
	.features = F_MULTIPORT | F_EMERG_WRITE,
	.init = con_init,
	.fini = con_fini,
	.check = con_check,
	.nqueues = con_nqueues,
	.reset = con_reset,
	.config_read = con_config_read,
	.config_write = con_config_write,
	.kicked = con_kicked,
	.input = con_input,
};

static const struct pci_ops con_pci = VIRTIO_PCI(3, 0x078000);

#define PORT_KEYS(n)										\
	{ "port" #n, "byte channel " #n ": stdio, a pty, socket or file (default: no port)", DEV_KEY_CHR },	\
	{ "port" #n ".name", "its name in the guest, /dev/virtio-ports/NAME", DEV_KEY_TEXT },	\
	{ "port" #n ".console", "on: it is a console, hvc1 and so on", DEV_KEY_TEXT }

static const struct dev_key con_keys[] = {
	{ "console", "the console, hvc0: stdio, a pty, socket or file", DEV_KEY_CHR },
	{ "console.name", "its name in the guest", DEV_KEY_TEXT },
	PORT_KEYS(1), PORT_KEYS(2), PORT_KEYS(3), PORT_KEYS(4), PORT_KEYS(5),
	PORT_KEYS(6), PORT_KEYS(7), PORT_KEYS(8), PORT_KEYS(9), PORT_KEYS(10),
	PORT_KEYS(11), PORT_KEYS(12), PORT_KEYS(13), PORT_KEYS(14), PORT_KEYS(15),
	{ 0 }
};

const struct dev_ops virtio_console_ops = {
	.name = "virtio-console",
	.summary = "virtio console and byte channels",
	.keys = con_keys,
	.state_version = 1,
	VIRTIO_DEVICE(&con_virtio, &con_pci, QUEUES, sizeof(struct console)),
};
