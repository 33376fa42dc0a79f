/*
 * proto/slirpconf.h - the options of a `slirp` network, as text and checked.
 *
 * The engine checks them when it reads its command line, and gives them as
 * they stand to the helper, which checks them again.
 *
 *	net=ADDR/BITS			the guest's IPv4 network [10.0.2.0/24]: host .2, DNS .3, guest from .15
 *	ipv6=on|off|PREFIX::/64		[on: fec0::/64]
 *	dns=ADDR			the virtual name server's address in it
 *	hostname=NAME  domain=NAME	what DHCP says
 *	restrict=on|off			the guest reaches nothing but answers to forwarded connections
 *	loopback=on|off			host address .2 is the host's own loopback
 *	mtu=BYTES			[1500]
 *	hostfwd=tcp|udp:[HOSTADDR]:PORT-[GUESTADDR]:PORT
 *					may stand more than once; IPv6 addresses in brackets
 */
#ifndef CLEAVE_PROTO_SLIRPCONF_H
#define CLEAVE_PROTO_SLIRPCONF_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

enum { SLIRP_FORWARDS = 64, SLIRP_MTU_MIN = 576, SLIRP_MTU_MAX = 65520 };

struct slirp_forward {
	bool udp;
	union slirp_address {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} host, guest;		/* guest: INADDR_ANY is the first that DHCP gives */
	char text[128];		/* as it was given, for messages */
};

struct slirp_conf {
	struct in_addr net, mask, host, dns, guest;
	bool ipv6;
	struct in6_addr prefix6, host6, dns6;
	bool restricted, no_loopback;
	char hostname[64], domain[256];
	unsigned mtu;
	unsigned nforwards;
	struct slirp_forward forward[SLIRP_FORWARDS];
};

void slirp_conf_init(struct slirp_conf *);
/* -ENOENT: no such option.  -EINVAL, or another, with cause and cure in `err`. */
int slirp_conf_option(struct slirp_conf *, const char *name, const char *value, char *err, size_t errlen);
/* When all have been given: what depends on each other. */
int slirp_conf_finish(struct slirp_conf *, char *err, size_t errlen);
/* Names of the options, NULL-ended. */
extern const char *const slirp_conf_names[];

#endif
