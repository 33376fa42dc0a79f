/*
 * proto/netframe.h - what travels between a virtual network card and its back end.
 *
 * One message holds one Ethernet frame, behind the header that virtio gives
 * frames (Virtual I/O Device 1.2, 5.1.6), so that checksums and segmentation
 * can be left to whoever needs them least:
 *
 *	tap		net_vnet  frame
 *	helper		net_message { generation, accepts, net_vnet }  frame
 *
 * A helper's message comes over a SEQPACKET pair.  Its generation is that of
 * the device model that sends it; `accepts` says what the sender's frames from
 * the other side may leave undone, and holds from this message on.  A message
 * without a frame says only that.
 *
 * Frames may be lost.  What either side says is hostile to the other.
 */
#ifndef CLEAVE_PROTO_NETFRAME_H
#define CLEAVE_PROTO_NETFRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	NET_HEADER = 14,			/* destination, source, type */
	NET_MAC = 6,
	NET_FRAME_MAX = NET_HEADER + 4 + 65535,	/* one VLAN tag, the largest IP packet */
};

enum net_vnet_flags { NET_NEEDS_CSUM = 1, NET_DATA_VALID = 2 };
enum net_gso { NET_GSO_NONE = 0, NET_GSO_TCP4 = 1, NET_GSO_UDP = 3, NET_GSO_TCP6 = 4, NET_GSO_ECN = 0x80 };

struct net_vnet {		/* little-endian, as is every host that this runs on */
	uint8_t flags;		/* enum net_vnet_flags */
	uint8_t gso_type;	/* enum net_gso */
	uint16_t hdr_len;	/* a hint */
	uint16_t gso_size;	/* payload of a segment */
	uint16_t csum_start;	/* NEEDS_CSUM: sum from here to the end ... */
	uint16_t csum_offset;	/* ... goes there, from csum_start */
	uint16_t num_buffers;	/* for the guest */
};

/* What a receiver of frames takes. */
enum net_accepts {
	NET_ACCEPT_CSUM = 1 << 0,	/* NEEDS_CSUM and DATA_VALID */
	NET_ACCEPT_TSO4 = 1 << 1,
	NET_ACCEPT_TSO6 = 1 << 2,
	NET_ACCEPT_ECN = 1 << 3,	/* with either TSO */
	NET_ACCEPT_ALL = 15,
};

struct net_message {
	uint32_t generation;
	uint16_t accepts;	/* enum net_accepts */
	uint16_t reserved;
	struct net_vnet vnet;
};

_Static_assert(sizeof(struct net_vnet) == 12, "wire format");
_Static_assert(sizeof(struct net_message) == 20, "wire format");

/*
 * Does this header fit a frame of n bytes, and ask for no more than `accepts`?
 * Afterwards csum_start and csum_offset lie inside the frame.
 */
bool net_vnet_ok(const struct net_vnet *, size_t n, unsigned accepts);

/* Writes the checksum that NEEDS_CSUM leaves open; the header has been found good. */
void net_checksum(const struct net_vnet *, uint8_t *frame, size_t n);

/* Internet checksum (RFC 1071): adds n bytes to a sum; folds it to the 16 bits as they stand in memory. */
uint64_t net_sum(uint64_t sum, const void *bytes, size_t n);
uint16_t net_fold(uint64_t sum);

#endif
