/*
 * devmodel/backend/net.h - the host's end of a virtual network card: a
 * descriptor, and nothing of devices or the arena.
 *
 *	null	swallows what is sent
 *	tap	an interface of the host, frames behind virtio's header
 *	slirp	a helper process at the other end of a SEQPACKET pair
 *
 * Nothing blocks: sending says -EAGAIN, receiving that there is nothing.  The
 * loop watches the descriptor for what net_want() asked for, and runs the
 * device's net_ready() as a transaction when it is there.  Frames that a dead
 * process had taken are lost, those that it had sent may be sent again: this is
 * Ethernet.
 *
 * Thread: the loop's.
 */
#ifndef CLEAVE_DEVMODEL_BACKEND_NET_H
#define CLEAVE_DEVMODEL_BACKEND_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "proto/netframe.h"

struct net;

/*
 * `kind` is the engine's word, the descriptor becomes the back end's (-1 for
 * none); `generation` is this process's.  NULL and *error, a sentence.
 */
struct net *net_new(const char *kind, int fd, uint32_t generation, const char **error);
void net_free(struct net *);
int net_fd(const struct net *);			/* -1: nothing to watch */

/* This process is the one that serves: until then the network hears nothing of it. */
void net_go(struct net *);

/* What frames towards the guest may leave undone from now on: enum net_accepts. */
void net_accept(struct net *, unsigned accepts);

/*
 * A frame from the guest, its header found good.  `iov[0]` is for the header,
 * the frame is in the n pieces behind it.  0, -EAGAIN, or another error when it
 * is lost.
 */
int net_send(struct net *, const struct net_vnet *, struct iovec *iov, unsigned n);

/* A frame for the guest, its header unchecked: bytes, 0 for none.  `frame` has room for NET_FRAME_MAX. */
size_t net_receive(struct net *, struct net_vnet *, uint8_t *frame);

/* What net_ready() is to be called for: frames that wait, room for another. */
enum net_wants { NET_READ = 1, NET_WRITE = 2 };
void net_want(struct net *, unsigned wants);
unsigned net_wants(const struct net *);

#endif
