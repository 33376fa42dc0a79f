/*
 * slirp/coalesce.h - consecutive segments of one TCP connection become one frame.
 *
 * Every frame costs the guest an interrupt's worth of work, so segments that
 * follow each other go to it as one, with the header that lets it treat them so
 * (virtio's TSO towards the guest).  IPv4 only, at most one connection at a
 * time, and the order of frames stays.
 *
 * Knows Ethernet, IPv4 and TCP headers; neither libslirp nor sockets.
 * RFC 791, RFC 9293.
 */
#ifndef CLEAVE_SLIRP_COALESCE_H
#define CLEAVE_SLIRP_COALESCE_H

#include "proto/netframe.h"

struct coalesce {
	size_t n;		/* bytes in `frame`; 0: nothing is held */
	size_t head;		/* ... of them headers; 0: a frame to which nothing can be joined */
	size_t segment;		/* payload of the first */
	unsigned segments;
	uint32_t next;		/* sequence number that would follow */
	bool ended;		/* nothing more may follow */
	uint8_t frame[NET_FRAME_MAX];
};

/* Joins a frame to what is held; false when it does not follow.  `most`: bytes of the whole. */
bool coalesce_join(struct coalesce *, const uint8_t *frame, size_t n, size_t most);
/* Holds a frame, where nothing is held. */
void coalesce_hold(struct coalesce *, const uint8_t *frame, size_t n);
/* Writes the headers of what is held, and its virtio header; the caller sends and then forgets it (n = 0). */
void coalesce_finish(struct coalesce *, struct net_vnet *);

#endif
