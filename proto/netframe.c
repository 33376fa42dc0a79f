/*
 * proto/netframe.c - checks and checksums of frames with virtio's header.
 * Virtual I/O Device 1.2, 5.1.6.2 and 5.1.6.4; RFC 1071.
 */
#include <string.h>

#include "proto/netframe.h"

/* Sums of two bytes each, in the host's order: carries come round again in net_fold(). */
uint64_t net_sum(uint64_t sum, const void *bytes, size_t n)
{
	const uint8_t *p = bytes;
	uint32_t v = 0;

	for (; n >= 4; n -= 4, p += 4) {
		memcpy(&v, p, 4);
		sum += v;
	}
	v = 0;
	memcpy(&v, p, n);
	return sum + v;
}

uint16_t net_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static bool gso_ok(const struct net_vnet *v, unsigned accepts)
{
	unsigned type = v->gso_type & ~NET_GSO_ECN;

	if (v->gso_type == NET_GSO_NONE)
		return true;
	if (v->gso_type & NET_GSO_ECN && !(accepts & NET_ACCEPT_ECN))
		return false;
	if (type == NET_GSO_TCP4 ? !(accepts & NET_ACCEPT_TSO4) : type != NET_GSO_TCP6 || !(accepts & NET_ACCEPT_TSO6))
		return false;
	return v->gso_size && v->flags & NET_NEEDS_CSUM;
}

bool net_vnet_ok(const struct net_vnet *v, size_t n, unsigned accepts)
{
	if (n < NET_HEADER || n > NET_FRAME_MAX)
		return false;
	if (v->flags & ~(NET_NEEDS_CSUM | NET_DATA_VALID) || (v->flags && !(accepts & NET_ACCEPT_CSUM)))
		return false;
	if (v->flags & NET_NEEDS_CSUM && (size_t)v->csum_start + v->csum_offset + 2 > n)
		return false;
	return gso_ok(v, accepts);
}

/* The field holds the pseudo-header's sum already. */
void net_checksum(const struct net_vnet *v, uint8_t *frame, size_t n)
{
	uint16_t sum;

	if (!(v->flags & NET_NEEDS_CSUM))
		return;
	sum = ~net_fold(net_sum(0, frame + v->csum_start, n - v->csum_start));
	/* UDP's zero means that there is none; for TCP the two are one number. */
	if (!sum)
		sum = 0xffff;
	memcpy(frame + v->csum_start + v->csum_offset, &sum, sizeof(sum));
}
