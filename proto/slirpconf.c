/*
 * proto/slirpconf.c - reads the options of a `slirp` network (slirpconf.h).
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/slirpconf.h"

/* Host numbers in the guest's network. */
enum { NUMBER_HOST = 2, NUMBER_DNS = 3, NUMBER_GUEST = 15 };

struct say {
	char *err;
	size_t len;
};

static int refuse(const struct say *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int refuse(const struct say *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(s->err, s->len, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

void slirp_conf_init(struct slirp_conf *c)
{
	*c = (struct slirp_conf){ .ipv6 = true, .mtu = 1500 };
	inet_pton(AF_INET, "10.0.2.0", &c->net);
	inet_pton(AF_INET, "255.255.255.0", &c->mask);
	inet_pton(AF_INET6, "fec0::", &c->prefix6);
}

static bool read_switch(const char *text, bool *to)
{
	static const char *const yes[] = { "on", "yes", "true", "1" }, *const no[] = { "off", "no", "false", "0" };

	for (unsigned i = 0; i < 4; i++) {
		if (strcasecmp(text, yes[i]) && strcasecmp(text, no[i]))
			continue;
		*to = !strcasecmp(text, yes[i]);
		return true;
	}
	return false;
}

static bool read_number(const char *text, unsigned max, unsigned *to)
{
	unsigned v = 0;

	if (!*text || strlen(text) > 5)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		v = v * 10 + (*text - '0');
	}
	*to = v;
	return v <= max;
}

/* A name in DNS (RFC 1123): what DHCP tells the guest. */
static bool is_name(const char *text, size_t max)
{
	return *text && *text != '-' && *text != '.' && strlen(text) < max &&
	       !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.")];
}

/* ---- one option each */

static int read_net(struct slirp_conf *c, const char *value, const struct say *say)
{
	char text[INET_ADDRSTRLEN];
	const char *slash = strchr(value, '/');
	unsigned bits;

	if (!slash || slash - value >= (int)sizeof(text))
		return refuse(say, "net=%.40s: want ADDRESS/BITS, as in 10.0.2.0/24", value);
	snprintf(text, sizeof(text), "%.*s", (int)(slash - value), value);
	if (inet_pton(AF_INET, text, &c->net) != 1 || !read_number(slash + 1, 32, &bits))
		return refuse(say, "net=%.40s: want ADDRESS/BITS, as in 10.0.2.0/24", value);
	if (bits < 8 || bits > 27)
		return refuse(say, "net=%.40s: the network has 8 to 27 bits, so that host numbers 2, 3 and 15 fit", value);
	c->mask.s_addr = htonl(~0u << (32 - bits));
	if (c->net.s_addr & ~c->mask.s_addr)
		return refuse(say, "net=%.40s: the address has bits beyond the first %u", value, bits);
	return 0;
}

static int read_ipv6(struct slirp_conf *c, const char *value, const struct say *say)
{
	char text[INET6_ADDRSTRLEN];
	const char *slash = strchr(value, '/');
	static const uint8_t zero[8];

	if (read_switch(value, &c->ipv6))
		return 0;
	c->ipv6 = true;
	if (!slash || strcmp(slash, "/64") || slash - value >= (int)sizeof(text))
		return refuse(say, "ipv6=%.60s: want on, off or PREFIX/64, as in fec0::/64", value);
	snprintf(text, sizeof(text), "%.*s", (int)(slash - value), value);
	if (inet_pton(AF_INET6, text, &c->prefix6) != 1 || memcmp(c->prefix6.s6_addr + 8, zero, 8))
		return refuse(say, "ipv6=%.60s: want on, off or PREFIX/64, as in fec0::/64", value);
	return 0;
}

static int read_dns(struct slirp_conf *c, const char *value, const struct say *say)
{
	return inet_pton(AF_INET, value, &c->dns) == 1 ? 0 : refuse(say, "dns=%.40s: want an IPv4 address in the guest's network", value);
}

static int read_hostname(struct slirp_conf *c, const char *value, const struct say *say)
{
	if (!is_name(value, sizeof(c->hostname)))
		return refuse(say, "hostname=%.70s: want letters, digits, '-' and '.', at most %zu", value, sizeof(c->hostname) - 1);
	strcpy(c->hostname, value);
	return 0;
}

static int read_domain(struct slirp_conf *c, const char *value, const struct say *say)
{
	if (!is_name(value, sizeof(c->domain)))
		return refuse(say, "domain=%.70s: want letters, digits, '-' and '.', at most %zu", value, sizeof(c->domain) - 1);
	strcpy(c->domain, value);
	return 0;
}

static int read_restrict(struct slirp_conf *c, const char *value, const struct say *say)
{
	return read_switch(value, &c->restricted) ? 0 : refuse(say, "restrict=%.20s: want on or off", value);
}

static int read_loopback(struct slirp_conf *c, const char *value, const struct say *say)
{
	bool on;

	if (!read_switch(value, &on))
		return refuse(say, "loopback=%.20s: want on or off", value);
	c->no_loopback = !on;
	return 0;
}

static int read_mtu(struct slirp_conf *c, const char *value, const struct say *say)
{
	if (read_number(value, SLIRP_MTU_MAX, &c->mtu) && c->mtu >= SLIRP_MTU_MIN)
		return 0;
	return refuse(say, "mtu=%.20s: want %d to %d bytes", value, SLIRP_MTU_MIN, SLIRP_MTU_MAX);
}

/* [ADDR]:PORT, an IPv6 address in brackets.  `port` stands behind the last colon. */
static bool read_end(const char *text, size_t n, union slirp_address *to)
{
	char buf[INET6_ADDRSTRLEN + 16], *colon, *end;
	unsigned port;

	if (n >= sizeof(buf))
		return false;
	memcpy(buf, text, n);
	buf[n] = 0;
	colon = strrchr(buf, ':');
	if (!colon || !read_number(colon + 1, 65535, &port) || !port)
		return false;
	*colon = 0;
	memset(to, 0, sizeof(*to));
	if (*buf != '[') {
		to->in = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
		return !*buf || inet_pton(AF_INET, buf, &to->in.sin_addr) == 1;
	}
	end = colon - 1;
	if (end <= buf || *end != ']')
		return false;
	*end = 0;
	to->in6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_port = htons(port) };
	return end == buf + 1 || inet_pton(AF_INET6, buf + 1, &to->in6.sin6_addr) == 1;
}

static int read_hostfwd(struct slirp_conf *c, const char *value, const struct say *say)
{
	struct slirp_forward *f = &c->forward[c->nforwards];
	const char *dash = strchr(value, '-');

	if (c->nforwards == SLIRP_FORWARDS)
		return refuse(say, "hostfwd: more than %d of them", SLIRP_FORWARDS);
	*f = (struct slirp_forward){ .udp = !strncmp(value, "udp:", 4) };
	if (strlen(value) >= sizeof(f->text) || (!f->udp && strncmp(value, "tcp:", 4)) || !dash ||
	    !read_end(value + 4, dash - value - 4, &f->host) || !read_end(dash + 1, strlen(dash + 1), &f->guest))
		return refuse(say, "hostfwd=%.60s: want tcp|udp:[HOSTADDR]:PORT-[GUESTADDR]:PORT, as in tcp:127.0.0.1:2222-:22", value);
	if (f->host.sa.sa_family != f->guest.sa.sa_family)
		return refuse(say, "hostfwd=%.60s: both ends are IPv4 or both are IPv6", value);
	if (f->guest.sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&f->guest.in6.sin6_addr))
		return refuse(say, "hostfwd=%.60s: the guest chooses its IPv6 address: name it", value);
	for (unsigned i = 0; i < c->nforwards; i++)
		if (c->forward[i].udp == f->udp && !memcmp(&c->forward[i].host, &f->host, sizeof(f->host)))
			return refuse(say, "hostfwd=%.60s: the host's port is forwarded already", value);
	strcpy(f->text, value);
	c->nforwards++;
	return 0;
}

enum option { NET, IPV6, DNS, HOSTNAME, DOMAIN, RESTRICT, LOOPBACK, HOSTFWD, MTU, OPTIONS };

static int (*const readers[OPTIONS])(struct slirp_conf *, const char *, const struct say *) = {
	[NET] = read_net, [IPV6] = read_ipv6, [DNS] = read_dns, [HOSTNAME] = read_hostname, [DOMAIN] = read_domain,
	[RESTRICT] = read_restrict, [LOOPBACK] = read_loopback, [HOSTFWD] = read_hostfwd, [MTU] = read_mtu,
};

const char *const slirp_conf_names[OPTIONS + 1] = {
	[NET] = "net", [IPV6] = "ipv6", [DNS] = "dns", [HOSTNAME] = "hostname", [DOMAIN] = "domain",
	[RESTRICT] = "restrict", [LOOPBACK] = "loopback", [HOSTFWD] = "hostfwd", [MTU] = "mtu",
};

int slirp_conf_option(struct slirp_conf *c, const char *name, const char *value, char *err, size_t errlen)
{
	for (unsigned i = 0; i < OPTIONS; i++)
		if (!strcmp(slirp_conf_names[i], name))
			return readers[i](c, value, &(struct say){ err, errlen });
	return -ENOENT;
}

/* ---- all of them together */

static struct in_addr numbered(const struct slirp_conf *c, uint32_t n)
{
	return (struct in_addr){ c->net.s_addr | htonl(n) };
}

/* An address for somebody in the network: neither the network's own nor its broadcast, nor the host. */
static bool inside(const struct slirp_conf *c, struct in_addr a)
{
	uint32_t number = ntohl(a.s_addr & ~c->mask.s_addr);

	return (a.s_addr & c->mask.s_addr) == c->net.s_addr && number && number != ntohl(~c->mask.s_addr) &&
	       a.s_addr != c->host.s_addr;
}

int slirp_conf_finish(struct slirp_conf *c, char *err, size_t errlen)
{
	const struct say say = { err, errlen };

	c->host = numbered(c, NUMBER_HOST);
	c->guest = numbered(c, NUMBER_GUEST);
	if (!c->dns.s_addr)
		c->dns = numbered(c, NUMBER_DNS);
	c->host6 = c->dns6 = c->prefix6;
	c->host6.s6_addr[15] = NUMBER_HOST;
	c->dns6.s6_addr[15] = NUMBER_DNS;
	if (!inside(c, c->dns))
		return refuse(&say, "dns: the address lies outside the guest's network, or is the host's");
	for (unsigned i = 0; i < c->nforwards; i++) {
		const struct slirp_forward *f = &c->forward[i];

		if (f->guest.sa.sa_family == AF_INET6 && !c->ipv6)
			return refuse(&say, "hostfwd=%s: IPv6 is off", f->text);
		if (f->guest.sa.sa_family == AF_INET && f->guest.in.sin_addr.s_addr && !inside(c, f->guest.in.sin_addr))
			return refuse(&say, "hostfwd=%s: the guest's address lies outside its network", f->text);
	}
	return 0;
}
