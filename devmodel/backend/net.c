/*
 * devmodel/backend/net.c - frames through a descriptor (net.h).
 * Documentation/networking/tuntap.rst; proto/netframe.h.
 */
#include "devmodel/backend/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct net_kind {
	const char *name;
	bool fd;			/* it has one */
	void (*accept)(struct net *);
	int (*send)(struct net *, const struct net_vnet *, struct iovec *iov, unsigned n);
	size_t (*receive)(struct net *, struct net_vnet *, uint8_t *frame);
};

struct net {
	const struct net_kind *kind;
	int fd;
	uint32_t generation;
	unsigned accepts, wants;
	bool live;			/* net_go() */
};

/* ---- a tap interface */

static void tap_accept(struct net *b)
{
	unsigned long offload = 0;

	if (b->accepts & NET_ACCEPT_CSUM) {
		offload = TUN_F_CSUM;
		if (b->accepts & NET_ACCEPT_TSO4)
			offload |= TUN_F_TSO4;
		if (b->accepts & NET_ACCEPT_TSO6)
			offload |= TUN_F_TSO6;
		if (offload & (TUN_F_TSO4 | TUN_F_TSO6) && b->accepts & NET_ACCEPT_ECN)
			offload |= TUN_F_TSO_ECN;
	}
	/* Refused, frames come as any card gets them: the device checks each. */
	if (ioctl(b->fd, TUNSETOFFLOAD, offload))
		ioctl(b->fd, TUNSETOFFLOAD, 0);
}

static int tap_send(struct net *b, const struct net_vnet *v, struct iovec *iov, unsigned n)
{
	iov[0] = (struct iovec){ .iov_base = (void *)v, .iov_len = sizeof(*v) };
	return writev(b->fd, iov, n + 1) < 0 ? -errno : 0;
}

static size_t tap_receive(struct net *b, struct net_vnet *v, uint8_t *frame)
{
	struct iovec iov[2] = { { v, sizeof(*v) }, { frame, NET_FRAME_MAX } };
	ssize_t n = readv(b->fd, iov, 2);

	return n > (ssize_t)sizeof(*v) ? n - sizeof(*v) : 0;
}

/* ---- a helper */

static int helper_message(struct net *b, const struct net_vnet *v, struct iovec *iov, unsigned n)
{
	struct net_message m = { .generation = b->generation, .accepts = b->accepts, .vnet = *v };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n + 1 };

	iov[0] = (struct iovec){ .iov_base = &m, .iov_len = sizeof(m) };
	if (sendmsg(b->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return errno == ENOBUFS ? -EAGAIN : -errno;
}

/* Every message says it; this one, lost or not, is for a guest that sends nothing. */
static void helper_accept(struct net *b)
{
	struct iovec iov[1];

	helper_message(b, &(struct net_vnet){ 0 }, iov, 0);
}

static size_t helper_receive(struct net *b, struct net_vnet *v, uint8_t *frame)
{
	struct net_message m;
	struct iovec iov[2] = { { &m, sizeof(m) }, { frame, NET_FRAME_MAX } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n = recvmsg(b->fd, &msg, MSG_DONTWAIT);

	if (n <= (ssize_t)sizeof(m) || msg.msg_flags & MSG_TRUNC)
		return 0;
	*v = m.vnet;
	return n - sizeof(m);
}

/* ---- nothing */

static void null_accept(struct net *b)
{
	(void)b;
}

static int null_send(struct net *b, const struct net_vnet *v, struct iovec *iov, unsigned n)
{
	(void)b, (void)v, (void)iov, (void)n;
	return 0;
}

static size_t null_receive(struct net *b, struct net_vnet *v, uint8_t *frame)
{
	(void)b, (void)v, (void)frame;
	return 0;
}

static const struct net_kind kinds[] = {
	{ "null", false, null_accept, null_send, null_receive },
	{ "tap", true, tap_accept, tap_send, tap_receive },
	{ "slirp", true, helper_accept, helper_message, helper_receive },
};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* ---- for the device */

void net_accept(struct net *b, unsigned accepts)
{
	b->accepts = accepts;
	if (b->live)
		b->kind->accept(b);
}

void net_go(struct net *b)
{
	b->live = true;
	b->kind->accept(b);
}

int net_send(struct net *b, const struct net_vnet *v, struct iovec *iov, unsigned n)
{
	return b->kind->send(b, v, iov, n);
}

size_t net_receive(struct net *b, struct net_vnet *v, uint8_t *frame)
{
	return b->kind->receive(b, v, frame);
}

void net_want(struct net *b, unsigned wants)
{
	b->wants = wants;
}

unsigned net_wants(const struct net *b)
{
	return b->wants;
}

int net_fd(const struct net *b)
{
	return b->fd;
}

struct net *net_new(const char *kind, int fd, uint32_t generation, const char **error)
{
	int flags = fd < 0 ? 0 : fcntl(fd, F_GETFL);
	struct net *b = calloc(1, sizeof(*b));

	*error = "out of memory";
	if (!b)
		return NULL;
	for (unsigned i = 0; i < KINDS; i++)
		if (!strcmp(kinds[i].name, kind) && kinds[i].fd == (fd >= 0))
			b->kind = &kinds[i];
	if (!b->kind || flags < 0 || (fd >= 0 && !(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK))) {
		*error = "what the engine has opened for it is no network";
		free(b);
		return NULL;
	}
	b->fd = fd;
	b->generation = generation;
	return b;
}

void net_free(struct net *b)
{
	if (b && b->fd >= 0)
		close(b->fd);
	free(b);
}
