/*
 * vmm/netback.h - where virtual network cards end on the host.
 *
 *	null			nothing: what is sent is gone, nothing comes
 *	tap[,ifname=NAME]	an interface of the host, an existing one or one made for this machine
 *	slirp[,OPTION...]	a network in a helper process, without privilege (proto/slirpconf.h)
 *
 * The device model gets a descriptor.  What is behind it belongs to this
 * process: a tap interface, or a socket pair of which both ends are kept, so
 * that neither a new device model nor a new helper is noticed by the other
 * side but for frames lost.  A helper that dies is started again.
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_NETBACK_H
#define CLEAVE_VMM_NETBACK_H

#include <stdbool.h>
#include <stddef.h>

struct event_base;
struct netback;

/* Is this a specification?  0, or -EINVAL and what is wrong in `err`. */
int netback_check(const char *spec, char *err, size_t errlen);
/* Names of the options that this kind of network has, NULL-ended. */
const char *const *netback_options(const char *spec);

/* What the card is called in messages, and its MTU (0: none was asked for). */
struct netback_card {
	const char *vm, *device;
	unsigned mtu;
};

/* -errno with cause and cure in `err`. */
int netback_open(struct netback **, struct event_base *, const struct netback_card *, const char *spec, char *err, size_t errlen);
void netback_free(struct netback *);

/* For the device model: "null", "tap" or "slirp", and the descriptor, non-blocking, or -1. */
const char *netback_kind(const struct netback *);
/* Whether such a network (netback_check()) is a process of its own. */
bool netback_has_helper(const char *spec);
/* The helper's, or NULL where the network has none. */
const struct sandbox *netback_sandbox(const struct netback *);
pid_t netback_pid(const struct netback *);
int netback_fd(const struct netback *);

#endif
