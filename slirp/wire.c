/*
 * slirp/wire.c - messages to and from the network device (wire.h).
 */
#include "slirp/wire.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "proto/netframe.h"
#include "slirp/coalesce.h"

enum {
	BATCH = 64,			/* messages taken in one turn */
	BACKLOG = 8 << 20,		/* bytes that wait for a device that is behind */
	SNDBUF = 1 << 20,		/* asked for; the system gives what it allows */
};

struct held {
	STAILQ_ENTRY(held) next;
	size_t n;
	uint8_t bytes[];
};

struct wire {
	int sock;
	struct event *readable, *writable;
	void (*input)(void *, uint8_t *, size_t);
	void *arg;
	uint32_t generation;
	unsigned accepts;
	struct coalesce join;
	STAILQ_HEAD(, held) backlog;
	size_t waiting;			/* bytes in it */
	struct wire_count count;
	uint8_t buf[sizeof(struct net_message) + NET_FRAME_MAX];
};

/* ---- from the device */

/* A successor's number is higher, by a little: numbers wrap. */
static bool stale(struct wire *w, uint32_t generation)
{
	if ((int32_t)(generation - w->generation) < 0)
		return true;
	w->generation = generation;
	return false;
}

static void take(struct wire *w, size_t n)
{
	uint8_t *frame = w->buf + sizeof(struct net_message);
	struct net_message m;

	if (n < sizeof(m)) {
		w->count.refused++;
		return;
	}
	memcpy(&m, w->buf, sizeof(m));
	n -= sizeof(m);
	if (stale(w, m.generation)) {
		w->count.stale++;
		return;
	}
	w->accepts = m.accepts & NET_ACCEPT_ALL;
	if (!n)
		return;
	if (!net_vnet_ok(&m.vnet, n, NET_ACCEPT_ALL)) {
		w->count.refused++;
		return;
	}
	w->count.in++;
	net_checksum(&m.vnet, frame, n);
	w->input(w->arg, frame, n);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct wire *w = arg;

	(void)what;
	for (unsigned i = 0; i < BATCH; i++) {
		struct iovec iov = { .iov_base = w->buf, .iov_len = sizeof(w->buf) };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT);

		if (n <= 0)
			return;
		if (msg.msg_flags & MSG_TRUNC)
			w->count.refused++;
		else
			take(w, n);
	}
}

/* ---- to the device */

static void hold(struct wire *w, const struct iovec *iov, unsigned n)
{
	size_t bytes = 0;
	struct held *h;

	for (unsigned i = 0; i < n; i++)
		bytes += iov[i].iov_len;
	h = w->waiting + bytes <= BACKLOG ? malloc(sizeof(*h) + bytes) : NULL;
	if (!h) {
		w->count.lost++;
		return;
	}
	h->n = 0;
	for (unsigned i = 0; i < n; h->n += iov[i++].iov_len)
		memcpy(h->bytes + h->n, iov[i].iov_base, iov[i].iov_len);
	w->waiting += bytes;
	STAILQ_INSERT_TAIL(&w->backlog, h, next);
	event_add(w->writable, NULL);
}

/* False: there is no room now. */
static bool put(struct wire *w, struct iovec *iov, unsigned n)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };

	if (sendmsg(w->sock, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		w->count.out++;
	else if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
		return false;
	else
		w->count.lost++;
	return true;
}

static void post(struct wire *w, const struct net_vnet *v, uint8_t *frame, size_t n)
{
	struct net_message m = { .generation = w->generation, .vnet = *v };
	struct iovec iov[2] = { { &m, sizeof(m) }, { frame, n } };

	if (w->waiting || !put(w, iov, 2))
		hold(w, iov, 2);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct wire *w = arg;
	struct held *h;

	(void)fd, (void)what;
	while ((h = STAILQ_FIRST(&w->backlog))) {
		struct iovec iov = { .iov_base = h->bytes, .iov_len = h->n };

		if (!put(w, &iov, 1))
			return;
		STAILQ_REMOVE_HEAD(&w->backlog, next);
		w->waiting -= h->n;
		free(h);
	}
	event_del(w->writable);
}

/* What may be left undone in frames for the guest. */
static size_t most(const struct wire *w)
{
	unsigned need = NET_ACCEPT_CSUM | NET_ACCEPT_TSO4;

	return (w->accepts & need) == need ? NET_HEADER + 65535 : 0;
}

void wire_flush(struct wire *w)
{
	struct net_vnet v;

	if (!w->join.n)
		return;
	coalesce_finish(&w->join, &v);
	if (!(w->accepts & NET_ACCEPT_CSUM))
		v.flags &= ~NET_DATA_VALID;
	post(w, &v, w->join.frame, w->join.n);
	w->join.n = 0;
}

void wire_send(struct wire *w, const uint8_t *frame, size_t n)
{
	if (n < NET_HEADER || n > NET_FRAME_MAX) {
		w->count.lost++;
		return;
	}
	if (w->join.n && coalesce_join(&w->join, frame, n, most(w)))
		return;
	wire_flush(w);
	coalesce_hold(&w->join, frame, n);
}

bool wire_full(const struct wire *w)
{
	return w->waiting > 0;
}

unsigned wire_accepts(const struct wire *w)
{
	return w->accepts;
}

const struct wire_count *wire_count(const struct wire *w)
{
	return &w->count;
}

/* ---- life */

struct wire *wire_new(struct event_base *base, int sock, void (*input)(void *, uint8_t *, size_t), void *arg)
{
	struct wire *w = calloc(1, sizeof(*w));
	int bytes = SNDBUF;

	if (!w)
		return NULL;
	w->sock = sock;
	w->input = input;
	w->arg = arg;
	STAILQ_INIT(&w->backlog);
	setsockopt(sock, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	w->readable = event_new(base, sock, EV_READ | EV_PERSIST, on_readable, w);
	w->writable = event_new(base, sock, EV_WRITE | EV_PERSIST, on_writable, w);
	if (!w->readable || !w->writable || event_add(w->readable, NULL)) {
		wire_free(w);
		return NULL;
	}
	return w;
}

void wire_free(struct wire *w)
{
	struct held *h;

	while ((h = STAILQ_FIRST(&w->backlog))) {
		STAILQ_REMOVE_HEAD(&w->backlog, next);
		free(h);
	}
	if (w->readable)
		event_free(w->readable);
	if (w->writable)
		event_free(w->writable);
	free(w);
}
