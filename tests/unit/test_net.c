/*
 * virtio-net on its harness: the driver's side is virtiotest.h, the network's side
 * the other end of a socket pair, as a helper has it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "devmodel/backend/net.h"
#include "devmodel/virtio/virtio.h"
#include "ipc/fdpass.h"
#include "tests/unit/virtiotest.h"

enum { RX, TX, CONTROL, SLOT = 4, HEADER = 12, BUFFERS = 0x200000, SIZE = 2048 };

#define CSUM		(1ull << 0)
#define GUEST_CSUM	(1ull << 1)
#define GUEST_OFFLOADS	(1ull << 2)
#define MTU		(1ull << 3)
#define GUEST_TSO4	(1ull << 7)
#define HOST_TSO4	(1ull << 11)
#define MRG_RXBUF	(1ull << 15)
#define STATUS		(1ull << 16)
#define CONTROLS	(0xbull << 17 | 1ull << 23)

static const uint8_t card_mac[6] = { 0x52, 0x54, 0, 1, 2, 3 }, other_mac[6] = { 0x52, 0x54, 0, 9, 9, 9 },
		     all[6] = { 255, 255, 255, 255, 255, 255 }, group[6] = { 1, 0, 0x5e, 0, 0, 5 };

struct setup {
	struct harness *h;
	struct vdrv v;
	int cable;			/* the network's end */
	struct net_message head;	/* of the last message taken from it */
	uint8_t frame[NET_FRAME_MAX];
	size_t n;
};

/* From reset to DRIVER_OK with those of the features that there are. */
static void start(struct vdrv *v, struct harness *h, unsigned slot, uint64_t features)
{
	*v = (struct vdrv){ .h = h, .slot = slot };
	vd_map(v);
	vd_start(v, features & vd_offered(v), 3);
}

static void begin(struct setup *s, uint64_t features)
{
	start(&s->v, s->h, SLOT, features);
}

static uint64_t config(struct vdrv *v, unsigned off, unsigned size)
{
	return h_read(v->h, v->config + off, size);
}

static void make(struct setup *s, uint64_t features)
{
	struct conf_key key[] = { { .name = "backend", .value = "slirp", .stream = -1 }, KEY("mac", "52:54:00:01:02:03"), KEY("mtu", "9000") };
	struct conf_dev dev[] = { { .model = "hostbridge", .pci = true },
				  { .model = "virtio-net", .pci = true, .slot = SLOT, .nkeys = 3, .key = key } };
	int sv[2];

	memset(s, 0, sizeof(*s));
	assert_int_equal(fdpass_pair(sv), 0);
	key[0].fd = sv[0];
	s->cable = sv[1];
	s->h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2 });
	begin(s, features);
}

static void unmake(struct setup *s)
{
	close(s->cable);
	harness_free(s->h);
}

static struct net *net_of(struct setup *s)
{
	return harness_dev(s->h, "virtio-net")->net;
}

/* What the loop does when the descriptor is ready, as often as the device wants it. */
static void run_net(struct setup *s)
{
	struct dev *d = harness_dev(s->h, "virtio-net");
	char byte;

	while (net_wants(d->net) & NET_READ && recv(net_fd(d->net), &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) {
		h_network(s->h, "virtio-net");
	}
}

/* ---- frames */

static void frame(uint8_t *f, const uint8_t *to, size_t n, unsigned seed)
{
	for (size_t i = 0; i < n; i++)
		f[i] = i * 5 + seed + i / 256;
	memcpy(f, to, 6);
}

static void from_network(struct setup *s, const struct net_vnet *v, const uint8_t *f, size_t n)
{
	struct net_message m = { .generation = 1 };
	struct iovec iov[2] = { { &m, sizeof(m) }, { (void *)(uintptr_t)f, n } };

	if (v)
		m.vnet = *v;
	assert_int_equal(writev(s->cable, iov, 2), sizeof(m) + n);
	run_net(s);
}

/* The next frame that the card has sent; messages without one are passed over. */
static bool to_network(struct setup *s)
{
	struct iovec iov[2] = { { &s->head, sizeof(s->head) }, { s->frame, sizeof(s->frame) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	while ((n = recvmsg(s->cable, &msg, MSG_DONTWAIT)) >= 0) {
		assert_true(n >= (ssize_t)sizeof(s->head));
		s->n = n - sizeof(s->head);
		if (s->n)
			return true;
	}
	return false;
}

static void add_buffers(struct setup *s, unsigned n, uint32_t size)
{
	for (unsigned i = 0; i < n; i++)
		vd_add(&s->v, RX, (struct vbuf[]){ { BUFFERS + i * SIZE, size, true } }, 1);
	vd_kick(&s->v, RX);
}

/* Sends a frame as two buffers, header and data. */
static void transmit(struct setup *s, const struct net_vnet *v, const uint8_t *f, size_t n)
{
	uint8_t *ram = h_ram(s->h);

	memcpy(ram + BUFFERS, v, sizeof(*v));
	memcpy(ram + BUFFERS + 64, f, n);
	vd_add(&s->v, TX, (struct vbuf[]){ { BUFFERS, HEADER, false }, { BUFFERS + 64, n, false } }, 2);
	vd_kick(&s->v, TX);
}

/* ---- tests */

static void test_config(void **state)
{
	struct setup s;
	uint64_t mac;

	(void)state;
	make(&s, ~0ull);
	mac = config(&s.v, 0, 4) | config(&s.v, 4, 2) << 32;
	assert_memory_equal(&mac, card_mac, 6);
	assert_int_equal(config(&s.v, 6, 2), 1);
	assert_int_equal(config(&s.v, 8, 2), 1);
	assert_int_equal(config(&s.v, 10, 2), 9000);
	assert_true(s.v.features & MTU);
	assert_int_equal(h_pci_read(s.h, SLOT, 0, 0, 4), 0x10411af4);
	assert_int_equal(h_pci_read(s.h, SLOT, 0, 8, 4) >> 8, 0x020000);
	unmake(&s);
}

/* Without `mac`: the same every time, one for each place, a unicast address of nobody's company. */
static void test_own_address(void **state)
{
	struct conf_dev dev[] = { { .model = "hostbridge", .pci = true }, { .model = "virtio-net", .pci = true, .slot = 4 },
				  { .model = "virtio-net", .pci = true, .slot = 5 } };
	uint64_t mac[3];
	struct vdrv v;

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct harness *h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 3 });

		start(&v, h, i == 2 ? 5 : 4, ~0ull);
		mac[i] = config(&v, 0, 4) | config(&v, 4, 2) << 32;
		assert_int_equal(mac[i] & 3, 2);
		harness_free(h);
	}
	assert_true(mac[0] == mac[1]);
	assert_true(mac[0] != mac[2]);
}

static void test_refuses(void **state)
{
	static const struct { const char *key, *value, *says; } bad[] = {
		{ "mac", "52:54:00:01:02", "want six bytes" },
		{ "mac", "53:54:00:01:02:03", "the first is even" },
		{ "mac", "00:00:00:00:00:00", "want six bytes" },
		{ "mac", "52:54:00:01:02:03:04", "want six bytes" },
		{ "mtu", "67", "want 68 to 65535" },
		{ "mtu", "70000", "want 68 to 65535" },
		{ "mtu", "1500x", "want 68 to 65535" },
		{ "backend", "slirp", "no network" },
		{ "backend", "carrier-pigeon", "no network" },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct conf_key key[] = { KEY(bad[i].key, bad[i].value) };
		struct conf_dev dev[] = { { .model = "hostbridge", .pci = true },
					  { .model = "virtio-net", .pci = true, .slot = SLOT, .nkeys = 1, .key = key } };
		struct harness *h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2, .may_fail = true });

		if (!strstr(harness_error(h), bad[i].says))
			fail_msg("%s=%s: says \"%s\"", bad[i].key, bad[i].value, harness_error(h));
		harness_free(h);
	}
}

static void test_transmit(void **state)
{
	struct net_vnet v = { 0 };
	struct setup s;
	uint8_t f[1000];
	uint32_t id, len;

	(void)state;
	make(&s, MRG_RXBUF);
	frame(f, all, sizeof(f), 1);
	transmit(&s, &v, f, sizeof(f));
	assert_true(to_network(&s));
	assert_int_equal(s.n, sizeof(f));
	assert_memory_equal(s.frame, f, sizeof(f));
	assert_int_equal(s.head.accepts, 0);
	assert_true(vd_used(&s.v, TX, &id, &len));
	assert_int_equal(id, 0);
	assert_int_equal(len, 0);
	/* header and frame in one buffer; the frame in many, the header across two */
	memcpy(h_ram(s.h) + BUFFERS + HEADER, f, sizeof(f));
	memset(h_ram(s.h) + BUFFERS, 0, HEADER);
	vd_add(&s.v, TX, (struct vbuf[]){ { BUFFERS, HEADER + 100, false } }, 1);
	vd_add(&s.v, TX, (struct vbuf[]){ { BUFFERS, 5, false }, { BUFFERS + 5, 17, false }, { BUFFERS + 22, 990, false } }, 3);
	vd_kick(&s.v, TX);
	assert_true(to_network(&s));
	assert_int_equal(s.n, 100);
	assert_memory_equal(s.frame, f, 100);
	assert_true(to_network(&s));
	assert_int_equal(s.n, 1000);
	assert_memory_equal(s.frame, f, 1000);
	assert_false(to_network(&s));
	unmake(&s);
}

/* What is no frame is given back and goes nowhere. */
static void test_transmit_nonsense(void **state)
{
	static const struct net_vnet bad[] = {
		{ .flags = NET_NEEDS_CSUM, .csum_start = 90, .csum_offset = 10 },
		{ .flags = NET_NEEDS_CSUM, .csum_start = 0xffff, .csum_offset = 0xffff },
		{ .gso_type = NET_GSO_TCP4, .gso_size = 100 },
		{ .flags = NET_NEEDS_CSUM, .gso_type = NET_GSO_TCP4, .csum_start = 34, .csum_offset = 16 },
		{ .flags = NET_NEEDS_CSUM, .gso_type = NET_GSO_UDP, .gso_size = 100, .csum_start = 34, .csum_offset = 6 },
		{ .flags = NET_NEEDS_CSUM, .gso_type = 7, .gso_size = 100, .csum_start = 34, .csum_offset = 16 },
	};
	struct setup s;
	uint8_t f[100];

	(void)state;
	make(&s, ~0ull);
	frame(f, all, sizeof(f), 1);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		transmit(&s, &bad[i], f, sizeof(f));
		assert_false(to_network(&s));
		assert_true(vd_used(&s.v, TX, NULL, NULL));
	}
	/* too short for a header, for a frame; too long; with a buffer to write to */
	vd_add(&s.v, TX, (struct vbuf[]){ { BUFFERS, 11, false } }, 1);
	vd_add(&s.v, TX, (struct vbuf[]){ { BUFFERS, 12, false } }, 1);
	vd_add(&s.v, TX, (struct vbuf[]){ { BUFFERS, HEADER + 13, false } }, 1);
	vd_add(&s.v, TX, (struct vbuf[]){ { BUFFERS, HEADER + NET_FRAME_MAX + 1, false } }, 1);
	vd_add(&s.v, TX, (struct vbuf[]){ { BUFFERS, 100, false }, { BUFFERS, 100, true } }, 2);
	memset(h_ram(s.h) + BUFFERS, 0, HEADER);
	vd_kick(&s.v, TX);
	assert_false(to_network(&s));
	for (unsigned i = 0; i < 5; i++)
		assert_true(vd_used(&s.v, TX, NULL, NULL));
	assert_int_equal(vd_get(&s.v, VC_STATUS, 1) & VIRTIO_NEEDS_RESET, 0);
	unmake(&s);
}

/* What was not negotiated may not be asked for. */
static void test_transmit_offloads(void **state)
{
	const struct net_vnet csum = { .flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16 };
	const struct net_vnet tso = { .flags = NET_NEEDS_CSUM, .gso_type = NET_GSO_TCP4, .gso_size = 500, .hdr_len = 54, .csum_start = 34, .csum_offset = 16 };
	static uint8_t f[40000];
	struct setup s;

	(void)state;
	frame(f, all, sizeof(f), 1);
	make(&s, HOST_TSO4);		/* without CSUM it counts for nothing */
	transmit(&s, &csum, f, 1000);
	transmit(&s, &tso, f, 1000);
	assert_false(to_network(&s));
	begin(&s, CSUM);
	transmit(&s, &tso, f, 1000);
	assert_false(to_network(&s));
	transmit(&s, &csum, f, 1000);
	assert_true(to_network(&s));
	assert_memory_equal(&s.head.vnet, &csum, sizeof(csum));
	begin(&s, CSUM | HOST_TSO4);
	transmit(&s, &tso, f, sizeof(f));
	assert_true(to_network(&s));
	assert_memory_equal(&s.head.vnet, &tso, sizeof(tso));
	assert_memory_equal(s.frame, f, sizeof(f));
	unmake(&s);
}

/* A back end that takes nothing holds the queue, then loses what waits; one that takes again gets the rest in order. */
static void test_stall(void **state)
{
	struct net_vnet v = { 0 };
	unsigned sent = 0, lost, got = 0;
	struct setup s;
	uint8_t f[1400];

	(void)state;
	make(&s, 0);
	do {
		frame(f, all, sizeof(f), sent);
		transmit(&s, &v, f, sizeof(f));
		sent++;
		assert_true(sent < 100000);
	} while (vd_used(&s.v, TX, NULL, NULL));
	assert_int_equal(net_wants(net_of(&s)), NET_READ | NET_WRITE);
	/* room again: it goes on where it stood */
	while (to_network(&s)) {
		frame(f, all, sizeof(f), got++);
		assert_memory_equal(s.frame, f, sizeof(f));
	}
	assert_int_equal(got, sent - 1);
	h_network(s.h, "virtio-net");
	assert_true(to_network(&s));
	frame(f, all, sizeof(f), got);
	assert_memory_equal(s.frame, f, sizeof(f));
	assert_true(vd_used(&s.v, TX, NULL, NULL));
	assert_int_equal(net_wants(net_of(&s)), NET_READ);
	/* none for long: the queue is emptied */
	do
		transmit(&s, &v, f, sizeof(f));
	while (vd_used(&s.v, TX, NULL, NULL));
	transmit(&s, &v, f, sizeof(f));
	h_advance(s.h, 49000000);
	assert_false(vd_used(&s.v, TX, NULL, NULL));
	h_advance(s.h, 2000000);
	for (lost = 0; vd_used(&s.v, TX, NULL, NULL); lost++)
		;
	assert_int_equal(lost, 2);
	assert_int_equal(net_wants(net_of(&s)), NET_READ);
	unmake(&s);
}

static void check_received(struct setup *s, uint64_t at, const uint8_t *f, size_t n, unsigned buffers)
{
	struct net_vnet v;
	uint32_t len;

	assert_true(vd_used(&s->v, RX, NULL, &len));
	assert_int_equal(len, HEADER + n);
	memcpy(&v, h_ram(s->h) + at, HEADER);
	assert_int_equal(v.num_buffers, buffers);
	assert_int_equal(v.gso_type, 0);
	assert_memory_equal(h_ram(s->h) + at + HEADER, f, n);
}

static void test_receive(void **state)
{
	struct setup s;
	uint8_t f[1000];

	(void)state;
	make(&s, 0);
	frame(f, all, sizeof(f), 3);
	/* no buffers: one frame is taken and kept, the others stay where they are */
	from_network(&s, NULL, f, 1000);
	from_network(&s, NULL, f, 500);
	assert_int_equal(net_wants(net_of(&s)), 0);
	assert_false(vd_used(&s.v, RX, NULL, NULL));
	add_buffers(&s, 1, SIZE);
	check_received(&s, BUFFERS, f, 1000, 1);
	add_buffers(&s, 4, SIZE);
	run_net(&s);
	check_received(&s, BUFFERS, f, 500, 1);
	assert_int_equal(net_wants(net_of(&s)), NET_READ);
	from_network(&s, NULL, f, 60);
	check_received(&s, BUFFERS + SIZE, f, 60, 1);
	assert_false(vd_used(&s.v, RX, NULL, NULL));
	unmake(&s);
}

/* A frame too large for its buffer is lost, and the buffer is not. */
static void test_receive_too_large(void **state)
{
	struct setup s;
	uint8_t f[1000];

	(void)state;
	make(&s, 0);
	frame(f, all, sizeof(f), 3);
	add_buffers(&s, 2, 500);
	from_network(&s, NULL, f, 1000);
	assert_false(vd_used(&s.v, RX, NULL, NULL));
	from_network(&s, NULL, f, 488);
	check_received(&s, BUFFERS, f, 488, 1);
	assert_false(vd_used(&s.v, RX, NULL, NULL));
	unmake(&s);
}

/* With mergeable buffers a frame takes as many as it needs, when that many are there. */
static void test_merge(void **state)
{
	static uint8_t f[60000];
	struct net_vnet v;
	struct setup s;
	size_t at = 0;
	uint32_t len;

	(void)state;
	make(&s, MRG_RXBUF);
	frame(f, all, sizeof(f), 3);
	add_buffers(&s, 3, 1000);
	from_network(&s, NULL, f, 5000);
	assert_false(vd_used(&s.v, RX, NULL, NULL));
	for (unsigned i = 3; i < 6; i++)
		vd_add(&s.v, RX, (struct vbuf[]){ { BUFFERS + i * SIZE, 1000, true } }, 1);
	vd_kick(&s.v, RX);
	memcpy(&v, h_ram(s.h) + BUFFERS, HEADER);
	assert_int_equal(v.num_buffers, 6);
	for (unsigned i = 0; i < 6; i++) {
		size_t skip = i ? 0 : HEADER;

		assert_true(vd_used(&s.v, RX, NULL, &len));
		assert_int_equal(len, i < 5 ? 1000 : 12);
		assert_memory_equal(h_ram(s.h) + BUFFERS + i * SIZE + skip, f + at, len - skip);
		at += len - skip;
	}
	assert_int_equal(at, 5000);
	/* more than a frame may use: lost, and the buffers serve the next */
	add_buffers(&s, 80, 500);
	from_network(&s, NULL, f, 60000);
	assert_false(vd_used(&s.v, RX, NULL, NULL));
	from_network(&s, NULL, f, 100);
	check_received(&s, BUFFERS, f, 100, 1);
	unmake(&s);
}

/* Many frames at once do not fit one transaction; all arrive. */
static void test_many(void **state)
{
	struct setup s;
	uint8_t f[100];

	(void)state;
	make(&s, MRG_RXBUF);
	for (unsigned i = 0; i < 150; i++) {
		struct net_message m = { .generation = 1 };
		struct iovec iov[2] = { { &m, sizeof(m) }, { f, sizeof(f) } };

		frame(f, all, sizeof(f), i);
		assert_int_equal(writev(s.cable, iov, 2), sizeof(m) + sizeof(f));
	}
	add_buffers(&s, 250, SIZE);
	run_net(&s);
	for (unsigned i = 0; i < 150; i++) {
		frame(f, all, sizeof(f), i);
		check_received(&s, BUFFERS + i * SIZE, f, sizeof(f), 1);
	}
	unmake(&s);
}

/* Frames of three buffers, then one that takes all that a frame may: more than one transaction gives back. */
static void test_many_buffers(void **state)
{
	enum { SMALL = 22, SEGMENT = 100, LARGE = 64 * SEGMENT - HEADER };
	static uint8_t f[LARGE];
	unsigned buffers = 3 * SMALL + 64;
	struct setup s;
	uint32_t len;

	(void)state;
	make(&s, MRG_RXBUF);
	frame(f, all, sizeof(f), 7);
	for (unsigned i = 0; i <= SMALL; i++) {
		struct net_message m = { .generation = 1 };
		struct iovec iov[2] = { { &m, sizeof(m) }, { f, i < SMALL ? 3 * SEGMENT - HEADER : LARGE } };

		assert_true(writev(s.cable, iov, 2) > 0);
	}
	add_buffers(&s, buffers, SEGMENT);
	run_net(&s);
	for (unsigned i = 0; i < buffers; i++) {
		assert_true(vd_used(&s.v, RX, NULL, &len));
		assert_int_equal(len, SEGMENT);
	}
	assert_int_equal(vd_get(&s.v, VC_STATUS, 1) & VIRTIO_NEEDS_RESET, 0);
	assert_memory_equal(h_ram(s.h) + BUFFERS + (buffers - 1) * SIZE, f + LARGE - SEGMENT, SEGMENT);
	unmake(&s);
}

/* What a guest has not taken is done for it, or lost. */
static void test_receive_offloads(void **state)
{
	const struct net_vnet csum = { .flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16 };
	const struct net_vnet tso = { .flags = NET_NEEDS_CSUM, .gso_type = NET_GSO_TCP4, .gso_size = 500, .hdr_len = 54, .csum_start = 34, .csum_offset = 16 };
	uint8_t f[1000], done[1000];
	struct net_vnet got;
	struct setup s;

	(void)state;
	frame(f, all, sizeof(f), 3);
	make(&s, 0);
	add_buffers(&s, 4, SIZE);
	memcpy(done, f, sizeof(f));
	net_checksum(&csum, done, sizeof(done));
	from_network(&s, &tso, f, sizeof(f));
	assert_false(vd_used(&s.v, RX, NULL, NULL));
	from_network(&s, &csum, f, sizeof(f));
	memcpy(&got, h_ram(s.h) + BUFFERS, HEADER);
	assert_int_equal(got.flags, 0);
	check_received(&s, BUFFERS, done, sizeof(done), 1);

	begin(&s, GUEST_CSUM | GUEST_TSO4 | GUEST_OFFLOADS | CONTROLS);
	transmit(&s, &(struct net_vnet){ 0 }, f, 100);
	assert_true(to_network(&s));
	assert_int_equal(s.head.accepts, NET_ACCEPT_CSUM | NET_ACCEPT_TSO4);
	add_buffers(&s, 4, SIZE);
	from_network(&s, &tso, f, sizeof(f));
	memcpy(&got, h_ram(s.h) + BUFFERS, HEADER);
	assert_int_equal(got.flags, NET_NEEDS_CSUM);
	assert_int_equal(got.gso_type, NET_GSO_TCP4);
	assert_int_equal(got.gso_size, 500);
	assert_memory_equal(h_ram(s.h) + BUFFERS + HEADER, f, sizeof(f));
	unmake(&s);
}

/* ---- the control queue */

static unsigned command(struct setup *s, const void *bytes, size_t n)
{
	uint64_t at = BUFFERS + 0x100000;
	uint32_t len;

	memcpy(h_ram(s->h) + at, bytes, n);
	h_ram(s->h)[at + 4096] = 0xee;
	/* in two parts, the second of which may be empty */
	vd_add(&s->v, CONTROL, (struct vbuf[]){ { at, 2, false }, { at + 2, n - 2, false }, { at + 4096, 1, true } }, 3);
	vd_kick(&s->v, CONTROL);
	assert_true(vd_used(&s->v, CONTROL, NULL, &len));
	assert_int_equal(len, 1);
	return h_ram(s->h)[at + 4096];
}

static bool hears(struct setup *s, const uint8_t *mac)
{
	uint8_t f[60];

	frame(f, mac, sizeof(f), 0);
	from_network(s, NULL, f, sizeof(f));
	return vd_used(&s->v, RX, NULL, NULL);
}

#define COMMAND(...)	command(&s, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

static void test_filter(void **state)
{
	struct setup s;

	(void)state;
	make(&s, CONTROLS);
	add_buffers(&s, 100, 200);
	assert_true(hears(&s, card_mac) && hears(&s, all) && hears(&s, group));
	assert_false(hears(&s, other_mac));
	assert_int_equal(COMMAND(0, 0, 1), 0);		/* promiscuous */
	assert_true(hears(&s, other_mac));
	assert_int_equal(COMMAND(0, 0, 0), 0);
	assert_int_equal(COMMAND(0, 1, 0), 0);		/* not all groups */
	assert_false(hears(&s, group));
	assert_true(hears(&s, all));
	assert_int_equal(COMMAND(1, 0, 1, 0, 0, 0, 0x52, 0x54, 0, 9, 9, 9, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 5), 0);
	assert_true(hears(&s, other_mac) && hears(&s, group));
	assert_int_equal(COMMAND(1, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0);
	assert_false(hears(&s, other_mac) || hears(&s, group));
	assert_int_equal(COMMAND(0, 5, 1), 0);		/* no broadcasts */
	assert_false(hears(&s, all));
	assert_int_equal(COMMAND(0, 5, 0), 0);
	assert_int_equal(COMMAND(1, 1, 0x52, 0x54, 0, 9, 9, 9), 0);	/* another address */
	assert_true(hears(&s, other_mac));
	assert_false(hears(&s, card_mac));
	assert_int_equal(config(&s.v, 5, 1), 9);
	begin(&s, CONTROLS);	/* a reset brings back its own */
	add_buffers(&s, 100, 200);
	assert_true(hears(&s, card_mac) && hears(&s, group));
	assert_false(hears(&s, other_mac));
	unmake(&s);
}

/* Seventeen addresses are more than are kept: all of their kind are let through. */
static void test_large_table(void **state)
{
	uint8_t c[2 + 4 + 17 * 6 + 4] = { 1, 0, 17 };
	struct setup s;

	(void)state;
	make(&s, CONTROLS);
	add_buffers(&s, 100, 200);
	assert_int_equal(command(&s, c, sizeof(c)), 0);
	assert_true(hears(&s, other_mac));
	unmake(&s);
}

static void test_control_nonsense(void **state)
{
	struct setup s;

	(void)state;
	make(&s, CONTROLS);
	assert_int_equal(COMMAND(0, 0, 2), 1);
	assert_int_equal(COMMAND(0, 0), 1);
	assert_int_equal(COMMAND(0, 6, 1), 1);
	assert_int_equal(COMMAND(0, 255, 1), 1);
	assert_int_equal(COMMAND(1, 0, 1, 0, 0, 0, 1, 2, 3), 1);
	assert_int_equal(COMMAND(1, 0, 255, 255, 255, 255, 0, 0, 0, 0), 1);
	assert_int_equal(COMMAND(1, 1, 1, 2, 3, 4, 5, 6), 1);
	assert_int_equal(COMMAND(1, 1, 2, 2, 3, 4, 5), 1);
	assert_int_equal(COMMAND(5, 0, 1, 0, 0, 0, 0, 0, 0, 0), 1);	/* not negotiated */
	assert_int_equal(COMMAND(4, 0, 1, 0), 1);
	begin(&s, CONTROLS | GUEST_OFFLOADS | GUEST_CSUM);
	assert_int_equal(COMMAND(5, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0);
	assert_int_equal(COMMAND(5, 0, 2, 0, 0, 0, 0, 0, 0, 0), 0);
	assert_int_equal(COMMAND(5, 0, 0x82, 0, 0, 0, 0, 0, 0, 0), 1);
	assert_int_equal(COMMAND(5, 0, 1, 0, 0, 0, 0, 0, 0, 0), 1);
	unmake(&s);
}

/* Without its cable the card sends and hears nothing; the driver is told, and a reset puts no cable in. */
static void test_link(void **state)
{
	struct setup s;
	uint8_t f[100];

	(void)state;
	make(&s, STATUS);
	frame(f, all, sizeof(f), 1);
	add_buffers(&s, 4, SIZE);
	h_inject(s.h, LINK_INJECT_LINK, SLOT << 3);
	assert_int_equal(config(&s.v, 6, 2), 0);
	assert_int_equal(h_read(s.h, s.v.isr, 1) & 2, 2);
	transmit(&s, &(struct net_vnet){ 0 }, f, sizeof(f));
	assert_true(vd_used(&s.v, TX, NULL, NULL));
	assert_false(to_network(&s));
	from_network(&s, NULL, f, sizeof(f));
	assert_false(vd_used(&s.v, RX, NULL, NULL));
	begin(&s, STATUS);
	assert_int_equal(config(&s.v, 6, 2), 0);
	add_buffers(&s, 4, SIZE);
	h_inject(s.h, LINK_INJECT_LINK, SLOT << 3 | 0x100);
	assert_int_equal(config(&s.v, 6, 2), 1);
	from_network(&s, NULL, f, sizeof(f));
	check_received(&s, BUFFERS, f, sizeof(f), 1);
	unmake(&s);
}

/* Before DRIVER_OK frames are nobody's. */
static void test_reset(void **state)
{
	struct setup s;
	uint8_t f[100];

	(void)state;
	make(&s, 0);
	frame(f, all, sizeof(f), 1);
	from_network(&s, NULL, f, sizeof(f));	/* held */
	vd_status(&s.v, 0);
	from_network(&s, NULL, f, 50);
	assert_int_equal(net_wants(net_of(&s)), NET_READ);
	begin(&s, 0);
	add_buffers(&s, 4, SIZE);
	run_net(&s);
	assert_false(vd_used(&s.v, RX, NULL, NULL));
	from_network(&s, NULL, f, 70);
	check_received(&s, BUFFERS, f, 70, 1);
	unmake(&s);
}

/* A card that a successor found out of service is made when the machine is reset. */
static void test_quarantine(void **state)
{
	struct conf_dev dev[] = { { .model = "hostbridge", .pci = true }, { .model = "virtio-net", .pci = true, .slot = SLOT } };
	struct setup s = { .h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2 }), .cable = -1 };
	uint8_t f[100];

	(void)state;
	frame(f, all, sizeof(f), 1);
	begin(&s, 0);
	harness_dev(s.h, "virtio-net")->a->out = 1;
	h_succeed(s.h, false);
	transmit(&s, &(struct net_vnet){ 0 }, f, sizeof(f));
	assert_false(vd_used(&s.v, TX, NULL, NULL));
	h_reset(s.h);
	begin(&s, 0);
	transmit(&s, &(struct net_vnet){ 0 }, f, sizeof(f));
	assert_true(vd_used(&s.v, TX, NULL, NULL));
	harness_free(s.h);
}

/*
 * Frames may be lost or sent twice where the device model dies, but for nothing
 * else: buffers come back once each and in order, what arrives is whole and in
 * order, and every frame of the guest's gets out.
 */
static void test_losses(void **state)
{
	enum { FRAMES = 300, BYTES = 700 };
	unsigned sent = 0, next = 0, got = 0, last = 0;
	struct net_vnet v = { 0 };
	uint8_t f[BYTES], back[BYTES];
	struct setup s;
	uint32_t id, len;

	(void)state;
	make(&s, MRG_RXBUF);
	for (; sent < FRAMES; sent++) {
		frame(f, all, BYTES, sent);
		memcpy(f + 6, &sent, sizeof(sent));
		transmit(&s, &v, f, BYTES);
		assert_true(vd_used(&s.v, TX, &id, &len));
		assert_int_equal(id, 2 * sent % s.v.q[TX].size);
		while (to_network(&s)) {
			memcpy(&last, s.frame + 6, sizeof(last));
			assert_true(last == next || last + 1 == next);
			frame(back, all, BYTES, last);
			assert_memory_equal(s.frame + 10, back + 10, BYTES - 10);
			next = last + 1;
		}
	}
	assert_int_equal(next, FRAMES);
	for (sent = 1; sent <= FRAMES; sent++) {
		if (sent % 100 == 1)
			add_buffers(&s, 100, SIZE);
		frame(f, all, BYTES, sent);
		memcpy(f + 6, &sent, sizeof(sent));
		from_network(&s, NULL, f, BYTES);
		while (vd_used(&s.v, RX, &id, &len)) {
			uint8_t *at = h_ram(s.h) + BUFFERS + got++ % 100 * SIZE + HEADER;
			unsigned before = last;

			assert_int_equal(len, HEADER + BYTES);
			memcpy(&last, at + 6, sizeof(last));
			assert_true(got == 1 || last > before);
			assert_true(last <= sent);
			frame(back, all, BYTES, last);
			assert_memory_equal(at + 10, back + 10, BYTES - 10);
		}
	}
	assert_true(got > FRAMES / 4);
	if (!getenv("HARNESS_DEATHS"))
		assert_int_equal(got, FRAMES);
	unmake(&s);
}

int main(void)
{
	/* Where no frame counts for much. */
	static const struct CMUnitTest mortal[] = {
		cmocka_unit_test(test_config), cmocka_unit_test(test_refuses), cmocka_unit_test(test_transmit_nonsense),
		cmocka_unit_test(test_control_nonsense), cmocka_unit_test(test_losses),
	};
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config), cmocka_unit_test(test_own_address), cmocka_unit_test(test_refuses),
		cmocka_unit_test(test_transmit), cmocka_unit_test(test_transmit_nonsense), cmocka_unit_test(test_transmit_offloads),
		cmocka_unit_test(test_stall), cmocka_unit_test(test_receive), cmocka_unit_test(test_receive_too_large),
		cmocka_unit_test(test_merge), cmocka_unit_test(test_many), cmocka_unit_test(test_many_buffers), cmocka_unit_test(test_receive_offloads),
		cmocka_unit_test(test_filter), cmocka_unit_test(test_large_table), cmocka_unit_test(test_control_nonsense),
		cmocka_unit_test(test_link), cmocka_unit_test(test_quarantine), cmocka_unit_test(test_reset), cmocka_unit_test(test_losses),
	};

	if (getenv("HARNESS_DEATHS"))
		return cmocka_run_group_tests(mortal, NULL, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
