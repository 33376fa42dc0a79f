/*
 * bench/guest/net.c - throughput and round trips of TCP, in a Linux guest.
 *
 *	net ADDRESS PORT	reads commands from standard input, after "ready":
 *	    receive|send BYTES	one connection, one way
 *	    ping COUNT		a byte there and a byte back
 *
 * Each prints "begin NAME", "end NAME BYTES COUNT" and "ready".  The server is
 * told what to do in a line of its own: bench/networks.py.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct sockaddr_in server = { .sin_family = AF_INET };
static uint8_t buffer[256 << 10];

static void fail(const char *what)
{
	printf("wrong: %s\n", what);
	fflush(stdout);
	exit(1);
}

static int connect_for(const char *command, uint64_t n)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	char line[64];
	int len = snprintf(line, sizeof(line), "%s %llu\n", command, (unsigned long long)n);

	if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof(server)))
		fail("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (write(fd, line, len) != len || read(fd, line, 1) != 1)
		fail("request");
	return fd;
}

static void receive(int fd, uint64_t n)
{
	while (n) {
		ssize_t got = read(fd, buffer, n < sizeof(buffer) ? n : sizeof(buffer));

		if (got <= 0)
			fail("read");
		n -= got;
	}
}

static void transmit(int fd, uint64_t n)
{
	while (n) {
		ssize_t put = write(fd, buffer, n < sizeof(buffer) ? n : sizeof(buffer));

		if (put <= 0)
			fail("write");
		n -= put;
	}
	receive(fd, 1);		/* it has arrived */
}

static void ping(int fd, uint64_t n)
{
	for (; n; n--) {
		if (write(fd, buffer, 1) != 1)
			fail("write");
		receive(fd, 1);
	}
}

static const struct { const char *name; void (*run)(int fd, uint64_t n); } commands[] = {
	{ "receive", receive }, { "send", transmit }, { "ping", ping },
};

static void command(const char *name, uint64_t n)
{
	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		int fd;

		if (strcmp(commands[i].name, name))
			continue;
		fd = connect_for(name, n);
		printf("begin %s\n", name);
		fflush(stdout);
		commands[i].run(fd, n);
		printf("end %s %llu %llu\n", name, (unsigned long long)n, (unsigned long long)n);
		fflush(stdout);
		close(fd);
		return;
	}
	fail("no such command");
}

int main(int argc, char **argv)
{
	char line[80], name[16];
	unsigned long long n;

	if (argc != 3 || inet_pton(AF_INET, argv[1], &server.sin_addr) != 1)
		return 2;
	server.sin_port = htons(atoi(argv[2]));
	for (;;) {
		printf("ready\n");
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			return 0;
		if (sscanf(line, "%15s %llu", name, &n) == 2)
			command(name, n);
	}
}
