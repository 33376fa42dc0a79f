/*
 * slirp/main.c - cleave-slirp, a network for one virtual network card.
 *
 * The life of the process in one sequence: give up privileges, read the
 * options, make the network, say READY, serve until the engine is gone.
 *
 * cleave starts it with two SEQPACKET sockets: the cable to the device
 * (proto/netframe.h), and one on which it says a single sentence, "ready" or
 * why not, and whose end tells it that cleave has gone.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "proto/slirpconf.h"
#include "slirp/sandbox.h"
#include "slirp/stack.h"
#include "slirp/wire.h"

enum { CABLE = 3, ENGINE = 4 };		/* descriptors: vmm/netback.c gives them */

struct helper {
	struct slirp_conf conf;
	struct event_base *base;
	struct event *gone;
	struct wire *wire;
	struct stack *stack;
	bool engine_gone;
	char err[512];
};

static void on_input(void *arg, uint8_t *frame, size_t n)
{
	struct helper *h = arg;

	stack_input(h->stack, frame, n);
}

static void on_output(void *arg, const uint8_t *frame, size_t n)
{
	struct helper *h = arg;

	wire_send(h->wire, frame, n);
}

static void on_gone(evutil_socket_t fd, short what, void *arg)
{
	struct helper *h = arg;

	(void)fd, (void)what;
	h->engine_gone = true;
}

static int read_options(struct helper *h, char **option)
{
	slirp_conf_init(&h->conf);
	for (; *option; option++) {
		char *value = strchr(*option, '=');
		int ret;

		if (value)
			*value++ = 0;
		ret = slirp_conf_option(&h->conf, *option, value ? value : "on", h->err, sizeof(h->err));
		if (ret == -ENOENT)
			snprintf(h->err, sizeof(h->err), "%.80s: no option of this program", *option);
		if (ret)
			return ret;
	}
	return slirp_conf_finish(&h->conf, h->err, sizeof(h->err));
}

static int make(struct helper *h)
{
	const struct stack_ops ops = { .output = on_output, .arg = h };

	snprintf(h->err, sizeof(h->err), "out of memory");
	h->base = event_base_new();
	h->wire = h->base ? wire_new(h->base, CABLE, on_input, h) : NULL;
	h->gone = h->wire ? event_new(h->base, ENGINE, EV_READ | EV_PERSIST, on_gone, h) : NULL;
	if (!h->gone || event_add(h->gone, NULL))
		return -ENOMEM;
	return stack_new(&h->stack, h->base, &h->conf, &ops, h->err, sizeof(h->err));
}

static int start(struct helper *h, char **option)
{
	int ret = slirp_sandbox_enter(CABLE);

	if (ret)
		snprintf(h->err, sizeof(h->err), "privileges cannot be given up: %s", strerror(-ret));
	if (!ret)
		ret = read_options(h, option);
	if (!ret)
		ret = make(h);
	return ret;
}

static void say(const char *sentence)
{
	if (send(ENGINE, sentence, strlen(sentence), MSG_NOSIGNAL) < 0)
		fprintf(stderr, "cleave-slirp: %s\n", sentence);
}

/* "ready", and how each measure stands. */
static void say_ready(const struct sandbox *s)
{
	char sentence[200] = "ready ";

	sandbox_print(s, sentence + strlen(sentence), sizeof(sentence) - strlen(sentence));
	say(sentence);
}

static int serve(struct helper *h)
{
	while (!h->engine_gone) {
		stack_prepare(h->stack, wire_full(h->wire));
		if (event_base_loop(h->base, EVLOOP_ONCE) < 0)
			return -EIO;
		stack_turn(h->stack);
		wire_flush(h->wire);
	}
	return 0;
}

static bool is_socket(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISSOCK(st.st_mode);
}

int main(int argc, char **argv)
{
	static struct helper h;
	struct sandbox measures = { { 0 } };
	bool sandbox = argc < 2 || strcmp(argv[1], "--no-sandbox");

	if (argc == 2 && !strcmp(argv[1], "--version")) {
		printf("cleave-slirp %s\n", PACKAGE_VERSION);
		return 0;
	}
	if ((argc > 1 && argv[1][0] == '-' && sandbox) || !is_socket(CABLE) || !is_socket(ENGINE)) {
		fprintf(stderr, "usage: cleave-slirp [--no-sandbox] [OPTION=VALUE...]\n"
				"cleave-slirp is the network of `-s SLOT,virtio-net,slirp`. cleave starts it; see cleave(8).\n");
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	if (start(&h, argv + 1 + !sandbox)) {
		say(h.err);
		return 1;
	}
	if (sandbox)
		slirp_sandbox_settle(&measures);
	say_ready(&measures);
	return serve(&h) ? 1 : 0;
}
