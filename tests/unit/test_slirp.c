/*
 * The real cleave-slirp, started as cleave starts it, with the guest's part
 * played here in frames made by hand: ARP, DHCP, a TCP connection to a server
 * on this machine's loopback in both directions, a forwarded port, frames of a
 * device model that has been replaced, nonsense, and the end of the engine.
 *
 * CLEAVE_SLIRP names the program; default ./cleave-slirp.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/fdpass.h"
#include "proto/netframe.h"

enum { MS = 10000, MTU = 1500, ETH_ARP = 0x0806, ETH_IP = 0x0800, UDP = 17, TCP = 6,
       FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };

static const uint8_t guest_mac[6] = { 0x52, 0x54, 0, 1, 2, 3 };
static const uint8_t guest_ip[4] = { 10, 0, 2, 15 }, host_ip[4] = { 10, 0, 2, 2 };

struct slirp {
	pid_t pid;
	int cable, engine;
	uint32_t generation;
	uint16_t accepts;
	uint8_t host_mac[6];
	struct net_message head;	/* of the last frame */
	uint8_t frame[NET_FRAME_MAX];
	size_t n;
};

static const char *program(void)
{
	const char *path = getenv("CLEAVE_SLIRP");

	return path ? path : "./cleave-slirp";
}

static void run_child(const int *fd, char **argv)
{
	int high[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (int i = 0; i < 2; i++)
		high[i] = fcntl(fd[i], F_DUPFD_CLOEXEC, 10);
	for (int i = 0; i < 2; i++)
		dup2(high[i], 3 + i);
	execv(program(), argv);
	_exit(127);
}

/* What it says: "ready", or why not. */
static void spawn(struct slirp *s, char *said, size_t n, const char *o1, const char *o2)
{
	char *argv[] = { (char *)"cleave-slirp", (char *)o1, (char *)o2, NULL };
	int cable[2], engine[2], none[1];
	unsigned nfds;
	ssize_t got;

	memset(s, 0, sizeof(*s));
	s->generation = 1;
	assert_int_equal(fdpass_pair(cable), 0);
	assert_int_equal(fdpass_pair(engine), 0);
	s->pid = fork();
	if (!s->pid)
		run_child((int[]){ cable[1], engine[1] }, argv);
	assert_true(s->pid > 0);
	close(cable[1]);
	close(engine[1]);
	s->cable = cable[0];
	s->engine = engine[0];
	got = fdpass_recv(s->engine, said, n - 1, none, 0, &nfds, MS);
	assert_true(got > 0);
	said[got] = 0;
}

static void start(struct slirp *s, const char *o1, const char *o2)
{
	char said[600];

	spawn(s, said, sizeof(said), o1, o2);
	assert_int_equal(strncmp(said, "ready ", 6), 0);
}

/* The end of the engine's socket is its end; it ends well. */
static void stop(struct slirp *s)
{
	int status;

	close(s->engine);
	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	assert_int_equal(status, 0);
	close(s->cable);
}

/* ---- frames */

static void put16(uint8_t *p, unsigned v)
{
	p[0] = v >> 8;
	p[1] = v;
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

static unsigned get16(const uint8_t *p)
{
	return p[0] << 8 | p[1];
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void send_message(struct slirp *s, const struct net_vnet *v, const uint8_t *frame, size_t n)
{
	struct net_message m = { .generation = s->generation, .accepts = s->accepts };
	struct iovec iov[2] = { { &m, sizeof(m) }, { (void *)(uintptr_t)frame, n } };

	if (v)
		m.vnet = *v;
	assert_true(writev(s->cable, iov, 2) == (ssize_t)(sizeof(m) + n));
}

static bool receive_for(struct slirp *s, int ms)
{
	struct pollfd p = { .fd = s->cable, .events = POLLIN };
	struct iovec iov[2] = { { &s->head, sizeof(s->head) }, { s->frame, sizeof(s->frame) } };
	ssize_t n;

	if (poll(&p, 1, ms) < 1)
		return false;
	n = readv(s->cable, iov, 2);
	assert_true(n >= (ssize_t)(sizeof(s->head) + NET_HEADER));
	s->n = n - sizeof(s->head);
	assert_true(net_vnet_ok(&s->head.vnet, s->n, s->accepts));
	return true;
}

static void receive(struct slirp *s)
{
	assert_true(receive_for(s, MS));
}

static void ethernet(uint8_t *f, const uint8_t *to, unsigned type)
{
	memcpy(f, to, 6);
	memcpy(f + 6, guest_mac, 6);
	put16(f + 12, type);
}

static void arp_ask(struct slirp *s, const uint8_t *who)
{
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 };
	uint8_t f[42] = { 0 };

	ethernet(f, all, ETH_ARP);
	put16(f + 14, 1);
	put16(f + 16, ETH_IP);
	f[18] = 6;
	f[19] = 4;
	put16(f + 20, 1);
	memcpy(f + 22, guest_mac, 6);
	memcpy(f + 28, guest_ip, 4);
	memcpy(f + 38, who, 4);
	send_message(s, NULL, f, sizeof(f));
}

static void arp(struct slirp *s)
{
	arp_ask(s, host_ip);
	do
		receive(s);
	while (get16(s->frame + 12) != ETH_ARP || get16(s->frame + 20) != 2);
	assert_memory_equal(s->frame + 28, host_ip, 4);
	assert_memory_equal(s->frame + 32, guest_mac, 6);
	memcpy(s->host_mac, s->frame + 22, 6);
}

/* IP header with its checksum; returns where the payload goes. */
static uint8_t *ip(uint8_t *f, const uint8_t *from, const uint8_t *to, unsigned protocol, size_t payload)
{
	uint8_t *h = f + NET_HEADER;
	uint16_t sum;

	memset(h, 0, 20);
	h[0] = 0x45;
	put16(h + 2, 20 + payload);
	h[8] = 64;
	h[9] = protocol;
	memcpy(h + 12, from, 4);
	memcpy(h + 16, to, 4);
	sum = ~net_fold(net_sum(0, h, 20));
	memcpy(h + 10, &sum, 2);
	return h + 20;
}

static uint16_t pseudo(const uint8_t *h, unsigned protocol, size_t n)
{
	uint8_t p[4] = { 0, protocol, n >> 8, n };

	return net_fold(net_sum(net_sum(0, h + 12, 8), p, 4));
}

/* ---- TCP, as much as a test needs: no loss, no reordering */

struct tcp {
	struct slirp *s;
	unsigned port, peer;
	uint32_t seq, ack;
};

static void tcp_send(struct tcp *t, unsigned flags, const void *data, size_t n, unsigned gso_size)
{
	static uint8_t f[NET_FRAME_MAX];
	uint8_t *h = f + NET_HEADER, *p;
	struct net_vnet v = { 0 };
	uint16_t sum;

	ethernet(f, t->s->host_mac, ETH_IP);
	p = ip(f, guest_ip, host_ip, TCP, 20 + n);
	memset(p, 0, 20);
	put16(p, t->port);
	put16(p + 2, t->peer);
	put32(p + 4, t->seq);
	put32(p + 8, flags & ACK ? t->ack : 0);
	p[12] = 0x50;
	p[13] = flags;
	put16(p + 14, 65535);
	if (n)
		memcpy(p + 20, data, n);
	sum = pseudo(h, TCP, 20 + n);
	memcpy(p + 16, &sum, 2);
	if (gso_size) {
		v = (struct net_vnet){ .flags = NET_NEEDS_CSUM, .gso_type = NET_GSO_TCP4, .hdr_len = 54, .gso_size = gso_size,
				       .csum_start = 34, .csum_offset = 16 };
	} else {
		sum = ~net_fold(net_sum(0, p, 20 + n));
		memcpy(p + 16, &sum, 2);
	}
	send_message(t->s, &v, f, NET_HEADER + 40 + n);
	t->seq += n + !!(flags & (SYN | FIN));
}

/* The next segment of this connection; true checksums are checked. */
static const uint8_t *tcp_receive(struct tcp *t, size_t *n)
{
	for (;;) {
		const uint8_t *h = t->s->frame + NET_HEADER, *p = h + 20;
		struct slirp *s = t->s;

		receive(s);
		if (get16(s->frame + 12) != ETH_IP || h[9] != TCP || get16(p) != t->peer || get16(p + 2) != t->port)
			continue;
		assert_int_equal(get16(h + 2), s->n - NET_HEADER);
		assert_int_equal(net_fold(net_sum(0, h, 20)), 0xffff);
		net_checksum(&s->head.vnet, s->frame, s->n);
		*n = s->n - NET_HEADER - 20;
		assert_int_equal(net_fold(net_sum(pseudo(h, TCP, *n), p, *n)), 0xffff);
		*n -= (p[12] >> 4) * 4;
		return p;
	}
}

static void tcp_connect(struct tcp *t, struct slirp *s, unsigned port, unsigned peer)
{
	const uint8_t *p;
	size_t n;

	*t = (struct tcp){ .s = s, .port = port, .peer = peer, .seq = 1000 };
	tcp_send(t, SYN, NULL, 0, 0);
	p = tcp_receive(t, &n);
	assert_int_equal(p[13], SYN | ACK);
	assert_int_equal(get32(p + 8), t->seq);
	t->ack = get32(p + 4) + 1;
	tcp_send(t, ACK, NULL, 0, 0);
}

/* Takes and acknowledges n bytes; largest segment seen. */
static size_t tcp_read(struct tcp *t, uint8_t *to, size_t want)
{
	size_t n, largest = 0;

	for (size_t at = 0; at < want;) {
		const uint8_t *p = tcp_receive(t, &n);

		if (!n || get32(p + 4) != t->ack)
			continue;
		assert_true(at + n <= want);
		memcpy(to + at, p + (p[12] >> 4) * 4, n);
		at += n;
		t->ack += n;
		largest = n > largest ? n : largest;
		tcp_send(t, ACK, NULL, 0, 0);
	}
	return largest;
}

/* A server on loopback; returns its port. */
static int serve(unsigned *port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(in);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

static int take(int server)
{
	struct pollfd p = { .fd = server, .events = POLLIN };
	int fd;

	assert_int_equal(poll(&p, 1, MS), 1);
	fd = accept(server, NULL, NULL);
	assert_true(fd >= 0);
	return fd;
}

static void fill(uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		p[i] = i * 7 + i / 251;
}

static void read_all(int fd, uint8_t *to, size_t want)
{
	for (size_t at = 0; at < want;) {
		struct pollfd p = { .fd = fd, .events = POLLIN };
		ssize_t n;

		assert_int_equal(poll(&p, 1, MS), 1);
		n = read(fd, to + at, want - at);
		assert_true(n > 0);
		at += n;
	}
}

/* ---- tests */

static void test_arp(void **state)
{
	struct slirp s;

	(void)state;
	start(&s, NULL, NULL);
	arp(&s);
	assert_int_equal(s.head.generation, 1);
	stop(&s);
}

/* DHCPDISCOVER: the offer has address, mask, router, name server and host name. */
static const uint8_t *dhcp_option(const uint8_t *p, const uint8_t *end, unsigned want)
{
	while (p + 2 <= end && *p != 255) {
		if (*p == want)
			return p + 2;
		p += *p ? 2 + p[1] : 1;
	}
	fail_msg("no DHCP option %u", want);
	return NULL;
}

static void test_dhcp(void **state)
{
	static const uint8_t all[6] = { 255, 255, 255, 255, 255, 255 }, none[4], everyone[4] = { 255, 255, 255, 255 };
	static const uint8_t magic[] = { 0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255 };
	uint8_t f[NET_HEADER + 28 + 300] = { 0 }, *u, *b;
	const uint8_t *r, *end;
	struct slirp s;

	(void)state;
	start(&s, "net=192.168.77.0/24", "hostname=guest");
	ethernet(f, all, ETH_IP);
	u = ip(f, none, everyone, UDP, 8 + 300);
	put16(u, 68);
	put16(u + 2, 67);
	put16(u + 4, 8 + 300);
	b = u + 8;
	b[0] = b[1] = 1;
	b[2] = 6;
	put32(b + 4, 0x12345678);
	memcpy(b + 28, guest_mac, 6);
	memcpy(b + 236, magic, sizeof(magic));
	send_message(&s, NULL, f, sizeof(f));
	do
		receive(&s);
	while (get16(s.frame + 12) != ETH_IP || s.frame[NET_HEADER + 9] != UDP || get16(s.frame + NET_HEADER + 22) != 68);
	r = s.frame + NET_HEADER + 28;
	end = s.frame + s.n;
	assert_int_equal(get32(r + 4), 0x12345678);
	assert_int_equal(get32(r + 16), 0xc0a84d0f);
	assert_int_equal(*dhcp_option(r + 240, end, 53), 2);
	assert_int_equal(get32(dhcp_option(r + 240, end, 1)), 0xffffff00);
	assert_int_equal(get32(dhcp_option(r + 240, end, 3)), 0xc0a84d02);
	assert_int_equal(get32(dhcp_option(r + 240, end, 6)), 0xc0a84d03);
	assert_memory_equal(dhcp_option(r + 240, end, 12), "guest", 5);
	stop(&s);
}

/* To a server on loopback and back; first as any card does it, then with all offloads. */
static void both_ways(unsigned accepts)
{
	enum { N = 200000, LARGE = 60000 };
	static uint8_t data[N], back[N];
	struct slirp s;
	struct tcp t;
	unsigned port;
	int server = serve(&port), fd;
	size_t step = accepts ? LARGE : 1400, largest;

	fill(data, N);
	memset(back, 0, N);
	start(&s, NULL, NULL);
	s.accepts = accepts;
	arp(&s);
	tcp_connect(&t, &s, 5000, port);
	fd = take(server);
	for (size_t at = 0; at < LARGE; at += step) {
		size_t n = LARGE - at < step ? LARGE - at : step;

		tcp_send(&t, ACK | PSH, data + at, n, n > 1460 ? 1460 : 0);
	}
	read_all(fd, back, LARGE);
	assert_memory_equal(data, back, LARGE);
	assert_int_equal(write(fd, data, N), N);
	largest = tcp_read(&t, back, N);
	assert_memory_equal(data, back, N);
	if (accepts)
		assert_true(largest > MTU);
	else
		assert_true(largest <= MTU);
	close(fd);
	close(server);
	stop(&s);
}

static void test_tcp(void **state)
{
	(void)state;
	both_ways(0);
}

static void test_offloads(void **state)
{
	(void)state;
	both_ways(NET_ACCEPT_ALL);
}

/* restrict=on: no connection is made. */
static void test_restrict(void **state)
{
	struct slirp s;
	struct tcp t = { .s = &s, .port = 5000, .seq = 1000 };
	struct pollfd p;
	int server = serve(&t.peer);

	(void)state;
	start(&s, "restrict=on", NULL);
	arp(&s);
	tcp_send(&t, SYN, NULL, 0, 0);
	arp(&s);	/* by now it has dealt with what came before */
	p = (struct pollfd){ .fd = server, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 100), 0);
	close(server);
	stop(&s);
}

/* A connection to the host's port reaches the guest's as a SYN from the host's address. */
static void test_hostfwd(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	char option[80], said[600];
	struct slirp s, second;
	unsigned port;
	int fd = serve(&port), status;

	(void)state;
	close(fd);	/* now free, most likely */
	snprintf(option, sizeof(option), "hostfwd=tcp:127.0.0.1:%u-:22", port);
	start(&s, option, NULL);
	arp(&s);
	in.sin_port = htons(port);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_true(!connect(fd, (struct sockaddr *)&in, sizeof(in)) || errno == EINPROGRESS);
	do
		receive(&s);
	while (get16(s.frame + 12) != ETH_IP || s.frame[NET_HEADER + 9] != TCP);
	assert_memory_equal(s.frame + NET_HEADER + 16, guest_ip, 4);
	assert_int_equal(get16(s.frame + NET_HEADER + 22), 22);
	assert_int_equal(s.frame[NET_HEADER + 33], SYN);
	/* the port is taken now */
	spawn(&second, said, sizeof(said), option, NULL);
	assert_non_null(strstr(said, "another program has the port"));
	assert_int_equal(waitpid(second.pid, &status, 0), second.pid);
	assert_int_equal(WEXITSTATUS(status), 1);
	close(second.cable);
	close(second.engine);
	close(fd);
	stop(&s);
}

static void test_generations(void **state)
{
	static const uint8_t dns_ip[4] = { 10, 0, 2, 3 };
	struct slirp s;

	(void)state;
	start(&s, NULL, NULL);
	s.generation = 7;
	arp(&s);
	assert_int_equal(s.head.generation, 7);
	/* A predecessor's frame is not answered, the next one is. */
	s.generation = 6;
	arp_ask(&s, dns_ip);
	s.generation = 8;
	arp(&s);
	assert_int_equal(s.head.generation, 8);
	stop(&s);
}

static void test_nonsense(void **state)
{
	static uint8_t junk[sizeof(struct net_message) + NET_FRAME_MAX + 100];
	struct slirp s;

	(void)state;
	start(&s, NULL, NULL);
	for (size_t n = 1; n < 200; n++) {
		memset(junk, n * 37, n);
		((struct net_message *)junk)->generation = 1;
		assert_true(write(s.cable, junk, n) == (ssize_t)n);
	}
	memset(junk, 0, sizeof(junk));
	((struct net_message *)junk)->generation = 1;
	assert_true(write(s.cable, junk, sizeof(junk)) == sizeof(junk));
	assert_true(write(s.cable, junk, sizeof(struct net_message) + NET_FRAME_MAX) > 0);
	while (receive_for(&s, 0))
		;
	arp(&s);
	stop(&s);
}

static void test_refuses(void **state)
{
	static const struct { const char *option, *says; } bad[] = {
		{ "net=10.0.2.0", "want ADDRESS/BITS" },
		{ "tftp=/etc", "no option" },
		{ "hello", "no option" },
	};
	char said[600];
	struct slirp s;
	int status;

	(void)state;
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		spawn(&s, said, sizeof(said), bad[i].option, NULL);
		if (!strstr(said, bad[i].says))
			fail_msg("%s: says %s", bad[i].option, said);
		assert_int_equal(waitpid(s.pid, &status, 0), s.pid);
		assert_int_equal(WEXITSTATUS(status), 1);
		close(s.cable);
		close(s.engine);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arp),
		cmocka_unit_test(test_dhcp),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_offloads),
		cmocka_unit_test(test_restrict),
		cmocka_unit_test(test_hostfwd),
		cmocka_unit_test(test_generations),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_refuses),
	};

	if (access(program(), X_OK)) {
		printf("SKIP: no cleave-slirp: install the Debian package libslirp-dev and configure again\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
