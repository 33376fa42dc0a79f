/*
 * tests/fuzz/fuzz_wire.c - the slirp helper's side of the cable.
 *
 * Input: records of a kind and a length.  Some go to the helper as messages of
 * a hostile device; others are frames that its network sends, plain TCP
 * segments among them.  Besides not crashing: what the helper hands on has a
 * length of a frame; every message that it sends has a header that fits, and
 * taking joined segments apart gives the bytes of the frames that were sent.
 */
#include <event2/event.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/fdpass.h"
#include "proto/netframe.h"
#include "slirp/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

enum { FRAMES = 64, SEGMENT = 100, HEAD = 54 };

static struct {
	size_t n;
	uint8_t bytes[600];
} sent[FRAMES];
static unsigned nsent, nseen;
static uint8_t message[sizeof(struct net_message) + NET_FRAME_MAX + 8];

static void must(bool cond)
{
	if (!cond)
		abort();
}

/* hostile message (accepting all), then eight segments in a row, one short */
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	size_t at = 0;

	if (n || cap < 100)
		return 0;
	buf[at++] = 0;
	buf[at++] = sizeof(struct net_message);
	memset(buf + at, 0, sizeof(struct net_message));
	buf[at] = 1;
	buf[at + 4] = NET_ACCEPT_ALL;
	at += sizeof(struct net_message);
	for (unsigned i = 0; i < 8; i++) {
		buf[at++] = 3;
		buf[at++] = i == 5 ? 1 : i == 2 ? 16 : 0;
	}
	return at;
}

static void on_input(void *arg, uint8_t *frame, size_t n)
{
	(void)arg;
	must(n >= NET_HEADER && n <= NET_FRAME_MAX);
	frame[0] ^= frame[n - 1];	/* all of it is there */
}

static void remember(const uint8_t *frame, size_t n)
{
	must(nsent < FRAMES);
	sent[nsent].n = n;
	memcpy(sent[nsent++].bytes, frame, n);
}

static unsigned get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = v >> 8;
	p[1] = v;
}

/* One frame as the guest would see it after segmentation; the sums are the guest's to make. */
static void expect(const uint8_t *head, const uint8_t *data, size_t n)
{
	must(nseen < nsent && sent[nseen].n == HEAD + n);
	must(!memcmp(sent[nseen].bytes, head, 16) && !memcmp(sent[nseen].bytes + 26, head + 26, 16));
	must(!memcmp(sent[nseen].bytes + HEAD, data, n));
	nseen++;
}

static void look(uint8_t *frame, size_t n, const struct net_vnet *v)
{
	unsigned sequence = get16(frame + 40);

	if (!v->gso_type) {
		must(nseen < nsent && sent[nseen].n == n && !memcmp(sent[nseen].bytes, frame, n));
		nseen++;
		return;
	}
	must(v->hdr_len == HEAD && get16(frame + 16) == n - NET_HEADER);
	must(net_fold(net_sum(0, frame + 14, 20)) == 0xffff);
	for (size_t at = HEAD; at < n; at += v->gso_size) {
		size_t data = n - at < v->gso_size ? n - at : v->gso_size;

		put16(frame + 16, HEAD - NET_HEADER + data);
		put16(frame + 40, sequence + at - HEAD);
		expect(frame, frame + at, data);
	}
}

static void drain(int fd, unsigned accepts)
{
	struct net_message m;
	ssize_t n;

	while ((n = recv(fd, message, sizeof(message), MSG_DONTWAIT)) > 0) {
		must((size_t)n >= sizeof(m) + NET_HEADER);
		memcpy(&m, message, sizeof(m));
		must(net_vnet_ok(&m.vnet, n - sizeof(m), accepts));
		look(message + sizeof(m), n - sizeof(m), &m.vnet);
	}
}

/* A TCP segment at a place in the stream, which goes on or has a gap. */
static size_t segment(uint8_t *f, unsigned *place, unsigned odd)
{
	size_t data = odd & 1 ? SEGMENT / 2 : SEGMENT;
	unsigned at = *place + (odd & 16 ? SEGMENT : 0);

	*place = at + data;
	memset(f, 0, HEAD);
	put16(f + 12, 0x0800);
	f[14] = 0x45;
	put16(f + 16, HEAD - NET_HEADER + data);
	f[23] = 6;
	f[33] = odd & 2;		/* another destination */
	put16(f + 38, at >> 16);
	put16(f + 40, at);
	f[46] = 0x50;
	f[47] = 0x10 | (odd & 4 ? 8 : 0) | (odd & 8 ? 1 : 0);
	f[49] = odd >> 5;		/* another window */
	memset(f + HEAD, at / 7, data);
	return HEAD + data;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct event_base *base = event_base_new();
	unsigned accepts = 0, place = 0;
	uint8_t frame[600];
	struct wire *w;
	int sv[2];

	must(base && !fdpass_pair(sv));
	w = wire_new(base, sv[1], on_input, NULL);
	nsent = nseen = 0;
	while (size >= 2 && nsent < FRAMES) {
		unsigned kind = data[0] % 5, len = data[1];
		size_t n = len < size - 2 ? len : size - 2;

		switch (kind) {
		case 0:	/* as it stands */
		case 1:	/* ... with a good frame behind it */
			memset(message, 0x5a, sizeof(message));
			memcpy(message, data + 2, n);
			/* nothing is held that was made for other wishes */
			wire_flush(w);
			drain(sv[0], accepts);
			must(send(sv[0], message, kind ? sizeof(struct net_message) + 1000 : n ? n : 1, MSG_DONTWAIT) > 0);
			event_base_loop(base, EVLOOP_NONBLOCK);
			accepts = wire_accepts(w);
			data += n;
			size -= n;
			break;
		case 2:	/* any frame */
			n = n < NET_HEADER ? NET_HEADER : n;
			memset(frame, 0, sizeof(frame));
			memcpy(frame, data + 2, len < size - 2 ? len : size - 2);
			remember(frame, n);
			wire_send(w, frame, n);
			n = len < size - 2 ? len : size - 2;
			data += n;
			size -= n;
			break;
		case 3:
			n = segment(frame, &place, len);
			remember(frame, n);
			wire_send(w, frame, n);
			break;
		case 4:
			wire_flush(w);
			break;
		}
		data += 2;
		size -= 2;
	}
	wire_flush(w);
	drain(sv[0], accepts);
	must(nseen == nsent);
	wire_free(w);
	event_base_free(base);
	close(sv[0]);
	close(sv[1]);
	return 0;
}
