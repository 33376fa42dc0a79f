/*
 * devmodel/virtio/net.c - virtio-net (virtio 1.2, 5.1): a network card with one
 * pair of queues and a control queue.
 *
 *	guest ── transmit queue ──► frame, from guest memory ──► back end
 *	guest ◄── receive queue ──── frame, by way of our memory ◄── back end
 *
 * Checksums and segmentation travel with the frame, in the header that back
 * ends understand too: nothing here looks into a frame beyond its addresses.
 * Towards a guest that has not taken an offload, what still comes with it
 * (frames under way while it changed its mind) gets its checksum here, or is
 * lost.
 *
 * A frame for which the guest has no buffers stays here, alone: the back end is
 * left alone until there are some.  One that the back end does not take waits
 * in its queue, for so long that the back end must be in trouble, then all that
 * wait are lost.  After a crash of this process a frame held here is lost, and
 * frames sent in the transaction that was undone are sent again.
 *
 * Must not know: what the back end is, rings, registers.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devmodel/backend/net.h"
#include "devmodel/virtio/virtio.h"

enum { RX, TX, CONTROL, QUEUES };

/* 5.1.3 */
#define F_CSUM			(1ull << 0)
#define F_GUEST_CSUM		(1ull << 1)
#define F_GUEST_OFFLOADS	(1ull << 2)
#define F_MTU			(1ull << 3)
#define F_MAC			(1ull << 5)
#define F_GUEST_TSO4		(1ull << 7)
#define F_GUEST_TSO6		(1ull << 8)
#define F_GUEST_ECN		(1ull << 9)
#define F_HOST_TSO4		(1ull << 11)
#define F_HOST_TSO6		(1ull << 12)
#define F_HOST_ECN		(1ull << 13)
#define F_MRG_RXBUF		(1ull << 15)
#define F_STATUS		(1ull << 16)
#define F_CTRL_VQ		(1ull << 17)
#define F_CTRL_RX		(1ull << 18)
#define F_CTRL_RX_EXTRA		(1ull << 20)
#define F_CTRL_MAC_ADDR		(1ull << 23)

#define GUEST_OFFLOADS	(F_GUEST_CSUM | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN)

/* 5.1.6.5 */
enum { CLASS_RX = 0, CLASS_MAC = 1, CLASS_OFFLOADS = 5 };
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST, RX_MODES };
enum { MAC_TABLE_SET, MAC_ADDR_SET };
enum { OFFLOADS_SET = 0 };
enum { CONTROL_OK, CONTROL_ERROR };

enum {
	FILTERS = 16,			/* addresses kept; with more the class is let through */
	MERGE = 64,			/* buffers that one frame may fill */
	RX_BATCH = 64,			/* frames in one transaction */
	STALL_NS = 50000000,		/* a back end that takes nothing for so long loses what waits */
	STALL_TIMER = 0,
	MTU_MIN = 68, MTU_MAX = 65535,
	DISCARDS = 256,			/* frames for nobody, at a time */
};

/* struct virtio_net_config up to mtu (5.1.4). */
struct config {
	uint8_t mac[NET_MAC];
	uint16_t status, max_pairs, mtu;
};

_Static_assert(sizeof(struct config) == 12, "virtio 5.1.4");

struct filter {
	uint8_t n;			/* FILTERS + 1: too many to keep */
	uint8_t mac[FILTERS][NET_MAC];
};

struct netdev {
	uint64_t offloads;		/* GUEST_OFFLOADS in force */
	uint8_t mac[NET_MAC];
	uint8_t down;			/* the cable is out */
	uint8_t rx;			/* 1 << RX_PROMISC ... */
	struct filter uni, multi;
};

/* Of this process. */
struct card {
	struct net *net;
	uint8_t mac[NET_MAC];		/* as configured */
	uint16_t mtu;			/* 0: none was */
	bool stalled;			/* the back end takes nothing at the moment */
	size_t held;			/* bytes of the frame that waits for buffers, or 0 */
	struct net_vnet vnet;
	uint8_t frame[NET_FRAME_MAX];
	struct virtq_chain chain, first;
};

static struct card *card_of(const struct dev *d)
{
	return dev_private(d);
}

static const struct netdev *state_of(const struct dev *d)
{
	return virtio_state(d);
}

static bool plugged(const struct dev *d)
{
	return virtio_running(d) && !state_of(d)->down;
}

/* What the back end is asked to call for. */
static void want(struct dev *d)
{
	struct card *c = card_of(d);

	net_want(c->net, (c->held ? 0 : NET_READ) | (c->stalled ? NET_WRITE : 0));
}

/* ---- offloads */

static unsigned accepts(uint64_t csum, uint64_t tso4, uint64_t tso6, uint64_t ecn)
{
	if (!csum)
		return 0;
	return NET_ACCEPT_CSUM | (tso4 ? NET_ACCEPT_TSO4 : 0) | (tso6 ? NET_ACCEPT_TSO6 : 0) | (ecn ? NET_ACCEPT_ECN : 0);
}

/* What the guest takes, and what it may ask of us. */
static unsigned guest_accepts(const struct dev *d)
{
	uint64_t f = virtio_running(d) ? state_of(d)->offloads : 0;

	return accepts(f & F_GUEST_CSUM, f & F_GUEST_TSO4, f & F_GUEST_TSO6, f & F_GUEST_ECN);
}

static unsigned host_accepts(const struct dev *d)
{
	return accepts(virtio_has(d, F_CSUM), virtio_has(d, F_HOST_TSO4), virtio_has(d, F_HOST_TSO6), virtio_has(d, F_HOST_ECN));
}

/* ---- which frames are the guest's */

static bool listed(const struct filter *f, const uint8_t *mac)
{
	if (f->n > FILTERS)
		return true;
	for (unsigned i = 0; i < f->n; i++)
		if (!memcmp(f->mac[i], mac, NET_MAC))
			return true;
	return false;
}

static bool wanted(const struct netdev *s, const uint8_t *mac)
{
	static const uint8_t broadcast[NET_MAC] = { 255, 255, 255, 255, 255, 255 };
	bool ours = !memcmp(mac, s->mac, NET_MAC);

	if (s->rx & 1 << RX_PROMISC)
		return true;
	if (!memcmp(mac, broadcast, NET_MAC))
		return !(s->rx & 1 << RX_NOBCAST);
	if (mac[0] & 1)
		return !(s->rx & 1 << RX_NOMULTI) && (s->rx & 1 << RX_ALLMULTI || listed(&s->multi, mac));
	return !(s->rx & 1 << RX_NOUNI) && (s->rx & 1 << RX_ALLUNI || ours || listed(&s->uni, mac));
}

/* ---- towards the guest */

/* The held frame becomes one that the guest takes; false: that cannot be. */
static bool acceptable(struct dev *d, struct card *c)
{
	unsigned may = guest_accepts(d);

	if (!net_vnet_ok(&c->vnet, c->held, NET_ACCEPT_ALL) || !wanted(state_of(d), c->frame))
		return false;
	if (net_vnet_ok(&c->vnet, c->held, may))
		return true;
	if (c->vnet.gso_type)
		return false;
	net_checksum(&c->vnet, c->frame, c->held);
	c->vnet = (struct net_vnet){ 0 };
	return true;
}

/*
 * Buffers for the held frame and its header, filled as they are taken; how
 * many.  The first is kept for the header, which says how many.  -EAGAIN: the
 * guest has too few; -EMSGSIZE: they are too small.
 */
static int fill(struct dev *d, struct card *c, uint16_t *head, uint32_t *written)
{
	size_t done = 0, total = sizeof(c->vnet) + c->held;
	unsigned n = 0, most = virtio_has(d, F_MRG_RXBUF) ? MERGE : 1;
	int err = -EMSGSIZE;

	while (done < total && n < most) {
		struct virtq_chain *chain = n ? &c->chain : &c->first;
		size_t skip = n ? 0 : sizeof(c->vnet), at = n ? done - sizeof(c->vnet) : 0;

		if (!virtq_take(d, RX, chain)) {
			err = -EAGAIN;
			break;
		}
		head[n] = chain->head;
		if (chain->write_len < skip)
			written[n++] = 0;	/* not even room for the header: no frame fits */
		else
			written[n++] = skip + virtq_write(d, chain, skip, c->frame + at, c->held - at);
		done += written[n - 1];
		if (!written[n - 1])
			break;
	}
	if (done == total)
		return n;
	virtq_untake(d, RX, n);
	return err;
}

enum delivery { DELIVERED, NO_BUFFERS, FULL };

static enum delivery deliver(struct dev *d, struct card *c)
{
	uint32_t written[MERGE];
	uint16_t head[MERGE];
	int n;

	if (virtq_room(d) < MERGE)
		return FULL;
	n = fill(d, c, head, written);
	if (n == -EAGAIN)
		return NO_BUFFERS;
	if (n < 0)
		return DELIVERED;	/* as far as this card is concerned: lost */
	c->vnet.num_buffers = n;
	virtq_write(d, &c->first, 0, &c->vnet, sizeof(c->vnet));
	for (int i = 0; i < n; i++)
		virtq_give(d, RX, head[i], written[i]);
	return DELIVERED;
}

/* Frames that come while nobody listens are gone. */
static void discard(struct card *c)
{
	c->held = 0;
	for (unsigned i = 0; i < DISCARDS && net_receive(c->net, &c->vnet, c->frame); i++)
		;
}

static void receive(struct dev *d)
{
	struct card *c = card_of(d);

	for (unsigned i = 0; i < RX_BATCH; i++) {
		enum delivery how;

		if (!c->held)
			c->held = net_receive(c->net, &c->vnet, c->frame);
		if (!c->held)
			return;
		how = acceptable(d, c) ? deliver(d, c) : DELIVERED;
		if (how == FULL)
			dev_ring(d, RX);
		if (how != DELIVERED)
			return;
		c->held = 0;
	}
}

/* ---- from the guest */

/* 0: sent, or lost.  -EAGAIN: not now. */
static int send_chain(struct dev *d, const struct virtq_chain *chain)
{
	struct iovec iov[1 + VIRTQ_SEGS];
	uint64_t n, bytes;
	struct net_vnet v;
	unsigned pieces;
	int err;

	if (chain->nwrite || virtq_read(d, chain, 0, &v, sizeof(v)) < sizeof(v))
		return 0;
	n = chain->read_len - sizeof(v);
	v.flags &= NET_NEEDS_CSUM;	/* the others are not a driver's (5.1.6.2.1) */
	v.num_buffers = 0;
	if (!net_vnet_ok(&v, n, host_accepts(d)))
		return 0;
	pieces = virtq_iov(d, chain, false, sizeof(v), n, iov + 1, VIRTQ_SEGS, &bytes);
	if (bytes != n)
		return 0;
	err = net_send(card_of(d)->net, &v, iov, pieces);
	return err == -EAGAIN ? err : 0;
}

static void transmit(struct dev *d)
{
	struct card *c = card_of(d);

	while (virtq_take(d, TX, &c->chain)) {
		bool send = plugged(d);

		if (send && send_chain(d, &c->chain) == -EAGAIN) {
			virtq_untake(d, TX, 1);
			if (!c->stalled)
				dev_timer(d, STALL_TIMER, dev_now(d) + STALL_NS);
			c->stalled = true;
			return;
		}
		virtq_give(d, TX, c->chain.head, 0);
	}
	c->stalled = false;
}

/* The back end has taken nothing all this time: frames are lost rather than the queue stopped. */
static void netdev_timer(struct dev *d, unsigned timer)
{
	struct card *c = card_of(d);

	if (timer != STALL_TIMER || !c->stalled)
		return;
	transmit(d);
	while (c->stalled && virtq_take(d, TX, &c->chain))
		virtq_give(d, TX, c->chain.head, 0);
	c->stalled = false;
	want(d);
}

/* ---- the control queue */

static uint8_t set_mode(struct dev *d, const struct virtq_chain *chain, unsigned mode)
{
	struct netdev *s;
	uint8_t on;

	if (mode >= RX_MODES || virtq_read(d, chain, 2, &on, 1) != 1 || on > 1)
		return CONTROL_ERROR;
	s = virtio_write(d);
	s->rx = (s->rx & ~(1u << mode)) | on << mode;
	return CONTROL_OK;
}

/* One table at *at: a count and so many addresses.  False: the chain ends before it. */
static bool read_table(struct dev *d, const struct virtq_chain *chain, uint64_t *at, struct filter *f)
{
	uint32_t n;

	if (virtq_read(d, chain, *at, &n, sizeof(n)) != sizeof(n))
		return false;
	*at += sizeof(n);
	if ((uint64_t)n * NET_MAC > chain->read_len - *at)
		return false;
	f->n = n > FILTERS ? FILTERS + 1 : n;
	if (n <= FILTERS)
		virtq_read(d, chain, *at, f->mac, n * NET_MAC);
	*at += (uint64_t)n * NET_MAC;
	return true;
}

static uint8_t set_tables(struct dev *d, const struct virtq_chain *chain)
{
	struct filter uni = { 0 }, multi = { 0 };
	struct netdev *s;
	uint64_t at = 2;

	if (!read_table(d, chain, &at, &uni) || !read_table(d, chain, &at, &multi))
		return CONTROL_ERROR;
	s = virtio_write(d);
	s->uni = uni;
	s->multi = multi;
	return CONTROL_OK;
}

static uint8_t set_address(struct dev *d, const struct virtq_chain *chain)
{
	uint8_t mac[NET_MAC];

	if (virtq_read(d, chain, 2, mac, sizeof(mac)) != sizeof(mac) || mac[0] & 1)
		return CONTROL_ERROR;
	memcpy(((struct netdev *)virtio_write(d))->mac, mac, sizeof(mac));
	return CONTROL_OK;
}

static uint8_t set_offloads(struct dev *d, const struct virtq_chain *chain)
{
	uint64_t on;

	if (virtq_read(d, chain, 2, &on, sizeof(on)) != sizeof(on) || on & ~GUEST_OFFLOADS || !virtio_has(d, on))
		return CONTROL_ERROR;
	((struct netdev *)virtio_write(d))->offloads = on;
	net_accept(card_of(d)->net, guest_accepts(d));
	return CONTROL_OK;
}

static uint8_t command(struct dev *d, const struct virtq_chain *chain)
{
	uint8_t what[2];

	if (virtq_read(d, chain, 0, what, sizeof(what)) != sizeof(what))
		return CONTROL_ERROR;
	if (what[0] == CLASS_RX && virtio_has(d, what[1] < RX_ALLUNI ? F_CTRL_RX : F_CTRL_RX_EXTRA))
		return set_mode(d, chain, what[1]);
	if (what[0] == CLASS_MAC && what[1] == MAC_TABLE_SET && virtio_has(d, F_CTRL_RX))
		return set_tables(d, chain);
	if (what[0] == CLASS_MAC && what[1] == MAC_ADDR_SET && virtio_has(d, F_CTRL_MAC_ADDR))
		return set_address(d, chain);
	if (what[0] == CLASS_OFFLOADS && what[1] == OFFLOADS_SET && virtio_has(d, F_GUEST_OFFLOADS))
		return set_offloads(d, chain);
	return CONTROL_ERROR;
}

static void control(struct dev *d)
{
	struct card *c = card_of(d);

	while (virtq_take(d, CONTROL, &c->chain)) {
		uint8_t ack = command(d, &c->chain);

		virtq_give(d, CONTROL, c->chain.head, virtq_write(d, &c->chain, 0, &ack, 1));
	}
}

/* ---- the device */

static void netdev_kicked(struct dev *d, unsigned queue)
{
	if (queue == RX)
		receive(d);
	else if (queue == TX)
		transmit(d);
	else
		control(d);
	want(d);
}

static void netdev_ready(struct dev *d)
{
	struct card *c = card_of(d);

	if (!plugged(d))
		discard(c);
	else
		receive(d);
	if (c->stalled)
		transmit(d);
	want(d);
}

static void netdev_set_link(struct dev *d, bool up)
{
	if (state_of(d)->down == !up)
		return;
	((struct netdev *)virtio_write(d))->down = !up;
	virtio_config_changed(d);
}

static uint64_t netdev_offer(const struct dev *d)
{
	return dev_conf(d, "mtu") ? F_MTU : 0;	/* asked before init() too */
}

static void netdev_started(struct dev *d)
{
	struct netdev *s = virtio_write(d);

	for (uint64_t bit = 1; bit <= GUEST_OFFLOADS; bit <<= 1)
		if (GUEST_OFFLOADS & bit && virtio_has(d, bit))
			s->offloads |= bit;
	net_accept(card_of(d)->net, guest_accepts(d));
}

static void power_on(struct dev *d)
{
	const struct card *c = card_of(d);
	struct netdev *s = virtio_write(d);
	uint8_t down = s->down;		/* the cable is not the guest's */

	*s = (struct netdev){ .down = down };
	memcpy(s->mac, c->mac, sizeof(s->mac));
	/* Without a control queue a driver hears what is meant for it or for all. */
	s->rx = 1 << RX_ALLMULTI;
}

static void netdev_reset(struct dev *d)
{
	struct card *c = card_of(d);

	power_on(d);
	dev_timer(d, STALL_TIMER, 0);
	c->held = 0;
	c->stalled = false;
	net_accept(c->net, 0);
	want(d);
}

static void netdev_config(const struct dev *d, uint8_t *to)
{
	const struct netdev *s = state_of(d);
	struct config c = { .status = !s->down, .max_pairs = 1, .mtu = card_of(d)->mtu };

	memcpy(c.mac, s->mac, sizeof(c.mac));
	memcpy(to, &c, sizeof(c));
}

static int netdev_check(const struct dev *d, const void *own)
{
	const struct netdev *s = own;

	(void)d;
	if (s->uni.n > FILTERS + 1 || s->multi.n > FILTERS + 1 || s->offloads & ~GUEST_OFFLOADS || s->down > 1)
		return -EINVAL;
	return 0;
}

/* ---- configuration */

static bool read_mac(const char *text, uint8_t mac[NET_MAC])
{
	static const uint8_t none[NET_MAC];
	unsigned b[NET_MAC];
	int n = 0;

	if (strspn(text, "0123456789abcdefABCDEF:") != strlen(text) ||
	    sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", b, b + 1, b + 2, b + 3, b + 4, b + 5, &n) != NET_MAC || text[n])
		return false;
	for (unsigned i = 0; i < NET_MAC; i++)
		mac[i] = b[i];
	return !(mac[0] & 1) && memcmp(mac, none, NET_MAC);
}

/*
 * The same card of the same machine always has the same address: a hash (FNV-1a,
 * 64 bits) of the machine's UUID and the card's place, locally administered.
 */
static void make_mac(const struct dev *d, uint8_t mac[NET_MAC])
{
	const uint8_t *uuid = dev_uuid(d);
	uint64_t h = 0xcbf29ce484222325ull;

	for (unsigned i = 0; i < 16; i++)
		h = (h ^ uuid[i]) * 0x100000001b3ull;
	for (const char *p = dev_name(d); *p; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3ull;
	h ^= h >> 32;
	for (unsigned i = 0; i < NET_MAC; i++, h >>= 8)
		mac[i] = h;
	mac[0] = (mac[0] & ~1) | 2;
}

static int read_keys(struct dev *d, struct card *c)
{
	const char *mac = dev_conf(d, "mac"), *mtu = dev_conf(d, "mtu");
	char *end;
	long n;

	make_mac(d, c->mac);
	if (mac && !read_mac(mac, c->mac)) {
		dev_error(d, "mac=%.40s: want six bytes of a card's own address, as in 52:54:00:12:34:56 (the first is even)", mac);
		return -EINVAL;
	}
	if (!mtu)
		return 0;
	n = strtol(mtu, &end, 10);
	if (end == mtu || *end || n < MTU_MIN || n > MTU_MAX) {
		dev_error(d, "mtu=%.20s: want %d to %d bytes", mtu, MTU_MIN, MTU_MAX);
		return -EINVAL;
	}
	c->mtu = n;
	return 0;
}

static int netdev_init(struct dev *d, bool fresh)
{
	struct card *c = calloc(1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	dev_set_private(d, c);
	err = read_keys(d, c);
	if (err)
		return err;
	c->net = net_open(d, "backend");
	if (!c->net)
		return -EINVAL;
	if (fresh)
		power_on(d);
	net_accept(c->net, guest_accepts(d));
	want(d);
	return 0;
}

static void netdev_fini(struct dev *d)
{
	free(card_of(d));
}

static const struct dev_key keys[] = {
	{ "backend", "where it ends on the host [null]", DEV_KEY_NET },
	{ "mac", "address [made from the machine's UUID and the slot]", DEV_KEY_TEXT },
	{ "mtu", "largest packet that the guest is told to send", DEV_KEY_TEXT },
	{ 0 }
};

static const struct virtio_ops netdev_virtio = {
	.id = 1, .queues = QUEUES, .queue_size = VIRTQ_MAX, .config_size = sizeof(struct config),
	.features = F_CSUM | F_GUEST_CSUM | F_GUEST_OFFLOADS | F_MAC | F_GUEST_TSO4 | F_GUEST_TSO6 | F_GUEST_ECN |
		    F_HOST_TSO4 | F_HOST_TSO6 | F_HOST_ECN | F_MRG_RXBUF | F_STATUS | F_CTRL_VQ | F_CTRL_RX | F_CTRL_RX_EXTRA |
		    F_CTRL_MAC_ADDR,
	.init = netdev_init, .fini = netdev_fini, .check = netdev_check, .offer = netdev_offer, .started = netdev_started,
	.reset = netdev_reset, .config_read = netdev_config, .kicked = netdev_kicked, .timer = netdev_timer,
};

static const struct pci_ops netdev_pci = VIRTIO_PCI(1, 0x020000);

const struct dev_ops virtio_net_ops = {
	.name = "virtio-net", .summary = "network card", .keys = keys, .state_version = 1, .net_ready = netdev_ready, .set_link = netdev_set_link,
	VIRTIO_DEVICE(&netdev_virtio, &netdev_pci, QUEUES, sizeof(struct netdev)),
};
