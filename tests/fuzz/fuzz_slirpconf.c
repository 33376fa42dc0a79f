/*
 * tests/fuzz/fuzz_slirpconf.c - options of a slirp network: a line each,
 * NAME=VALUE.  What is accepted must be usable: ports, lengths, addresses
 * inside the network.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/slirpconf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const char *const seed[] = {
		"net=10.0.2.0/24\nhostfwd=tcp:127.0.0.1:2222-:22\nhostfwd=udp::53-10.0.2.20:53\n",
		"net=192.168.0.0/16\ndns=192.168.0.1\nhostname=guest\ndomain=example.org\nmtu=9000\n",
		"ipv6=fd00:1::/64\nhostfwd=tcp:[::1]:80-[fd00:1::15]:80\nrestrict=on\nloopback=off\n",
		"ipv6=off\nhostfwd=tcp:[::]:8080-[fec0::5]:80\n",
	};
	size_t len;

	if (n >= sizeof(seed) / sizeof(seed[0]))
		return 0;
	len = strlen(seed[n]);
	memcpy(buf, seed[n], len < cap ? len : cap);
	return len;
}

static void must(bool cond)
{
	if (!cond)
		abort();
}

static void usable(const struct slirp_conf *c)
{
	uint32_t mask = ntohl(c->mask.s_addr);

	must(mask && !(~mask & (~mask + 1)) && !(c->net.s_addr & ~c->mask.s_addr));
	must((c->host.s_addr & c->mask.s_addr) == c->net.s_addr && (c->guest.s_addr & c->mask.s_addr) == c->net.s_addr);
	must((c->dns.s_addr & c->mask.s_addr) == c->net.s_addr && c->dns.s_addr != c->host.s_addr);
	must(c->mtu >= SLIRP_MTU_MIN && c->mtu <= SLIRP_MTU_MAX && c->nforwards <= SLIRP_FORWARDS);
	must(memchr(c->hostname, 0, sizeof(c->hostname)) && memchr(c->domain, 0, sizeof(c->domain)));
	for (unsigned i = 0; i < c->nforwards; i++) {
		const struct slirp_forward *f = &c->forward[i];

		must(f->host.sa.sa_family == f->guest.sa.sa_family && f->host.in.sin_port && f->guest.in.sin_port);
		must(memchr(f->text, 0, sizeof(f->text)) != NULL);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), *save = NULL, err[64];
	struct slirp_conf *c = malloc(sizeof(*c));

	memcpy(text, data, size);
	text[size] = 0;
	slirp_conf_init(c);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *value = strchr(line, '=');

		if (!value)
			continue;
		*value++ = 0;
		/* What was refused ends the program that asked, so it need not leave anything usable. */
		if (slirp_conf_option(c, line, value, err, sizeof(err)))
			goto out;
	}
	if (!slirp_conf_finish(c, err, sizeof(err)))
		usable(c);
out:
	free(c);
	free(text);
	return 0;
}
