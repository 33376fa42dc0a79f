/*
 * tests/fuzz/fuzz_net.c - virtio-net between a hostile guest and a hostile
 * network: chains of any shape in its three queues, messages of any content
 * from the helper, and registers.
 *
 * Besides not crashing: whatever the card sends has a header that fits its
 * frame and asks for no more than was negotiated; buffers that only the driver
 * writes stay as they are.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "devmodel/virtio/virtio.h"
#include "ipc/fdpass.h"
#include "proto/netframe.h"
#include "tests/fuzz/program.h"
#include "tests/unit/virtiotest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

enum { RX, TX, CONTROL, SLOT = 4, RAM = 2 << 20, READABLE = 0x120000, WRITABLE = 0x130000, STEPS = 60 };

static void must(bool cond)
{
	if (!cond)
		abort();
}

/* negotiate, buffers, a frame each way, a command */
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const uint8_t seed[][24] = {
		{ 0xff, 0, 1, 200, 0, 1, 255, 3, 0, 100, 1, 1, 12, 100, 4, 1, 200, 3, 50 },
		{ 0x80, 2, 2, 2, 9, 1, 1, 0, 1, 0, 0, 3, 255, 5, 20 },
		{ 0x0f, 1, 2, 12, 255, 1, 2, 12, 40, 0, 1, 60, 3, 1, 3, 90, 4, 4, 5, 255 },
	};

	if (n >= sizeof(seed) / sizeof(seed[0]) || cap < sizeof(seed[0]))
		return 0;
	memcpy(buf, seed[n], sizeof(seed[0]));
	return sizeof(seed[0]);
}

/* Features in groups, so that each means something. */
static uint64_t features(uint8_t bits)
{
	static const uint64_t group[8] = {
		1ull << 0, 1ull << 11 | 1ull << 12 | 1ull << 13, 1ull << 1, 1ull << 7 | 1ull << 8 | 1ull << 9, 1ull << 15,
		1ull << 17 | 1ull << 18 | 1ull << 20 | 1ull << 23, 1ull << 2, 1ull << 28 | 1ull << 29,
	};
	uint64_t f = 0;

	for (unsigned i = 0; i < 8; i++)
		f |= bits & 1 << i ? group[i] : 0;
	return f;
}

static unsigned may_ask(const struct vdrv *v)
{
	if (!(v->features & 1))
		return 0;
	return NET_ACCEPT_CSUM | (v->features >> 11 & 1 ? NET_ACCEPT_TSO4 : 0) | (v->features >> 12 & 1 ? NET_ACCEPT_TSO6 : 0) |
	       (v->features >> 13 & 1 ? NET_ACCEPT_ECN : 0);
}

static void start(struct vdrv *v, struct harness *h, uint64_t wanted)
{
	*v = (struct vdrv){ .h = h, .slot = SLOT };
	vd_map(v);
	vd_start(v, wanted & vd_offered(v), 3);
}

/* A chain whose lengths and, sometimes, places are the input's. */
static void add_chain(struct vdrv *v, unsigned queue, struct input *in)
{
	struct vbuf b[8];
	unsigned n = 1 + u8(in) % 6;

	for (unsigned i = 0; i < n; i++) {
		uint8_t how = u8(in);

		b[i].write = queue == RX ? how != 255 : how & 64;
		b[i].len = how & 128 ? (how & 63) << 11 : how & 63;
		b[i].gpa = (b[i].write ? WRITABLE : READABLE) + (u8(in) << 8);
		if (how == 254)
			b[i].gpa = (uint64_t)u8(in) << 24;
		if (how == 253)
			b[i].len = ~0u << u8(in) % 32;
	}
	vd_add(v, queue, b, n);
}

static void look(int cable, unsigned may)
{
	static uint8_t message[sizeof(struct net_message) + NET_FRAME_MAX + 1];
	struct net_message m;
	ssize_t n;

	while ((n = recv(cable, message, sizeof(message), MSG_DONTWAIT)) > 0) {
		must((size_t)n >= sizeof(m));
		memcpy(&m, message, sizeof(m));
		must(m.generation == 1 && !(m.accepts & ~NET_ACCEPT_ALL));
		must(n == sizeof(m) || net_vnet_ok(&m.vnet, n - sizeof(m), may));
	}
}

static void from_network(struct vdrv *v, int cable, struct input *in)
{
	static uint8_t message[sizeof(struct net_message) + NET_FRAME_MAX + 64];
	size_t n = u8(in), given = in->n < 20 ? in->n : 20;

	n = n & 128 ? (n & 127) * 530 : n;
	memset(message, 0xff, 40);
	memcpy(message, in->p, given);
	in->p += given;
	in->n -= given;
	if (send(cable, message, n < sizeof(message) ? n : sizeof(message), MSG_DONTWAIT) < 0)
		return;
	h_network(v->h, "virtio-net");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_key key[] = { { .name = "backend", .value = "slirp", .stream = -1 } };
	struct conf_dev dev[] = { { .model = "hostbridge", .pci = true },
				  { .model = "virtio-net", .pci = true, .slot = SLOT, .nkeys = 1, .key = key } };
	static uint8_t before[0x10000];
	struct input in = { data, size };
	struct vdrv v;
	struct harness *h;
	int sv[2];

	must(!fdpass_pair(sv));
	key[0].fd = sv[0];
	h = harness_new(&(struct harness_conf){ .dev = dev, .ndevs = 2, .ram = RAM });
	harness_machine(h)->quiet = true;
	start(&v, h, features(u8(&in)));
	for (unsigned i = 0; i < sizeof(before); i++)
		before[i] = i % 13 ? 0 : i % 7;
	memcpy(h_ram(h) + READABLE, before, sizeof(before));
	for (unsigned i = 0; i < STEPS && in.n; i++) {
		unsigned queue = u8(&in) % 6;

		switch (queue) {
		case RX: case TX: case CONTROL: {
			/* header, command or whatever, where the readable buffers are */
			size_t n = in.n < 16 ? in.n : 16;

			memcpy(h_ram(h) + READABLE, in.p, n);
			memcpy(before, in.p, n);
			add_chain(&v, queue, &in);
			vd_kick(&v, queue);
			break;
		}
		case 3:
			from_network(&v, sv[1], &in);
			break;
		case 4:
			h_advance(h, 10000000);
			break;
		case 5:
			if (u8(&in) < 32)
				start(&v, h, features(u8(&in)));
			else
				h_write(h, v.bar + (u8(&in) << 4 & 0x3ff8) % 64, 1u << u8(&in) % 4, u8(&in));
			break;
		}
		look(sv[1], may_ask(&v));
	}
	must(!memcmp(h_ram(h) + READABLE, before, sizeof(before)));
	harness_free(h);
	close(sv[1]);
	return 0;
}
