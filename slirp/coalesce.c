/*
 * slirp/coalesce.c - joins TCP segments (coalesce.h).
 */
#include "slirp/coalesce.h"

#include <arpa/inet.h>
#include <string.h>

/* Offsets in a frame with an IPv4 header without options. */
enum {
	AT_TYPE = 12,
	AT_IP = NET_HEADER,
	AT_LENGTH = AT_IP + 2,
	AT_ID = AT_IP + 4,
	AT_FRAGMENT = AT_IP + 6,
	AT_PROTOCOL = AT_IP + 9,
	AT_IP_SUM = AT_IP + 10,
	AT_SOURCE = AT_IP + 12,
	AT_TCP = AT_IP + 20,
	AT_SEQUENCE = AT_TCP + 4,
	AT_ACK = AT_TCP + 8,
	AT_DATA = AT_TCP + 12,
	AT_FLAGS = AT_TCP + 13,
	AT_WINDOW = AT_TCP + 14,
	AT_SUM = AT_TCP + 16,
	AT_OPTIONS = AT_TCP + 20,
	TCP_PSH = 0x08, TCP_ACK = 0x10, PROTOCOL_TCP = 6,
};

static uint16_t get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static void put16(uint8_t *p, uint16_t v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

/* Bytes of headers of a plain TCP segment with data and without padding; 0 for any other frame. */
static size_t headers(const uint8_t *f, size_t n)
{
	size_t head;

	if (n < AT_OPTIONS || get16(f + AT_TYPE) != 0x0800 || f[AT_IP] != 0x45 || f[AT_PROTOCOL] != PROTOCOL_TCP)
		return 0;
	if (get16(f + AT_FRAGMENT) & 0x3fff || get16(f + AT_LENGTH) != n - AT_IP)
		return 0;
	if ((f[AT_FLAGS] & ~TCP_PSH) != TCP_ACK)
		return 0;
	head = AT_TCP + (f[AT_DATA] >> 4) * 4;
	return head < AT_OPTIONS || head >= n ? 0 : head;
}

/* Headers that may differ: lengths, sums, the packet's number, the sequence number, PSH. */
static bool same_stream(const uint8_t *a, const uint8_t *b, size_t head)
{
	return !memcmp(a, b, AT_LENGTH) && !memcmp(a + AT_FRAGMENT, b + AT_FRAGMENT, AT_IP_SUM - AT_FRAGMENT) &&
	       !memcmp(a + AT_SOURCE, b + AT_SOURCE, AT_SEQUENCE - AT_SOURCE) &&
	       !memcmp(a + AT_ACK, b + AT_ACK, AT_FLAGS - AT_ACK) && !memcmp(a + AT_WINDOW, b + AT_WINDOW, AT_SUM - AT_WINDOW) &&
	       !memcmp(a + AT_SUM + 2, b + AT_SUM + 2, head - AT_SUM - 2);
}

bool coalesce_join(struct coalesce *c, const uint8_t *frame, size_t n, size_t most)
{
	size_t head = headers(frame, n), data = n - head;

	if (!c->head || c->ended || head != c->head || data > c->segment || c->n + data > most || c->n + data > sizeof(c->frame))
		return false;
	if (get32(frame + AT_SEQUENCE) != c->next || !same_stream(c->frame, frame, head))
		return false;
	memcpy(c->frame + c->n, frame + head, data);
	c->n += data;
	c->next += data;
	c->segments++;
	c->frame[AT_FLAGS] |= frame[AT_FLAGS];
	c->ended = data < c->segment || frame[AT_FLAGS] & TCP_PSH;
	return true;
}

void coalesce_hold(struct coalesce *c, const uint8_t *frame, size_t n)
{
	memcpy(c->frame, frame, n);
	c->n = n;
	c->segments = 1;
	c->head = headers(frame, n);
	if (!c->head)
		return;
	c->segment = n - c->head;
	c->next = get32(frame + AT_SEQUENCE) + c->segment;
	c->ended = frame[AT_FLAGS] & TCP_PSH;
}

void coalesce_finish(struct coalesce *c, struct net_vnet *v)
{
	uint8_t pseudo[4] = { 0, PROTOCOL_TCP };
	uint8_t *f = c->frame;
	uint16_t sum;

	/* What a stack in this machine has made needs no check of its sums. */
	*v = (struct net_vnet){ .flags = NET_DATA_VALID };
	if (c->segments < 2)
		return;
	put16(f + AT_LENGTH, c->n - AT_IP);
	put16(f + AT_IP_SUM, 0);
	sum = ~net_fold(net_sum(0, f + AT_IP, 20));
	memcpy(f + AT_IP_SUM, &sum, 2);
	put16(pseudo + 2, c->n - AT_TCP);
	sum = net_fold(net_sum(net_sum(0, f + AT_SOURCE, 8), pseudo, 4));
	memcpy(f + AT_SUM, &sum, 2);
	*v = (struct net_vnet){ .flags = NET_NEEDS_CSUM, .gso_type = NET_GSO_TCP4, .hdr_len = c->head, .gso_size = c->segment,
				.csum_start = AT_TCP, .csum_offset = AT_SUM - AT_TCP };
}
