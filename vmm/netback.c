/*
 * vmm/netback.c - opens networks for the device model and keeps helpers alive (netback.h).
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "ipc/fdpass.h"
#include "proto/names.h"
#include "proto/slirpconf.h"
#include "vmm/child.h"
#include "vmm/netback.h"
#include "vmm/sandbox.h"
#include "vmm/tap.h"

enum { SPEC_MAX = 8192, ARGS_MAX = 4 + SLIRP_FORWARDS + 16, READY_MS = 15000, END_MS = 2000, QUICK_S = 1, WORD_MAX = 600 };

enum kind { KIND_NULL, KIND_TAP, KIND_SLIRP, KINDS };

static const char *const kind_names[KINDS] = {
	[KIND_NULL] = "null",
	[KIND_TAP] = "tap",
	[KIND_SLIRP] = "slirp",
};

static const char *const no_options[] = { NULL }, *const tap_options[] = { "ifname", NULL };

static const char *const *const kind_options[KINDS] = {
	[KIND_NULL] = no_options,
	[KIND_TAP] = tap_options,
	[KIND_SLIRP] = slirp_conf_names,
};

struct netback {
	enum kind kind;
	char title[120];	/* "vm: virtio-net@4:0" */
	int fd;			/* the device model's */
	int peer;	/* slirp: the helper's end of the pair */

	/* the helper */
	struct event_base *base;
	int program;
	char *args;
	char *argv[ARGS_MAX];
	struct child child;
	struct sandbox sandbox;
	int sock;		/* what it says */
	time_t started;
	struct event *ended, *said, *again;
};

/* ---- specifications */

/* "slirp,net=..." into words, in place of the commas; number of words, the first is the kind. */
static unsigned split(char *text, char **word, unsigned max)
{
	unsigned n = 0;
	char *save = NULL;

	for (char *w = strtok_r(text, ",", &save); w && n < max; w = strtok_r(NULL, ",", &save))
		word[n++] = w;
	return n;
}

/* tap0 is an interface of that name. */
static bool names_interface(const char *word)
{
	return !strncmp(word, "tap", 3) && word[3];
}

static enum kind find_kind(const char *spec)
{
	size_t n = strcspn(spec, ",");
	enum kind k = KIND_NULL;

	if (names_interface(spec) && n > 3)
		return KIND_TAP;
	while (k < KINDS && (strlen(kind_names[k]) != n || strncmp(spec, kind_names[k], n)))
		k++;
	return k;
}

const char *const *netback_options(const char *spec)
{
	enum kind k = find_kind(spec);

	return k < KINDS ? kind_options[k] : no_options;
}

static int unknown(const char *word, const char *const *known, unsigned n, char *err, size_t errlen)
{
	struct names_hint h;
	char hint[500];

	names_begin(&h, word);
	for (unsigned i = 0; i < n && known[i]; i++)
		names_offer(&h, known[i]);
	snprintf(err, errlen, "unknown network %.40s%s", word, names_hint(&h, hint, sizeof(hint)));
	return -EINVAL;
}

static int read_tap(char **word, unsigned n, char name[TAP_NAME], char *err, size_t errlen)
{
	const char *ifname = names_interface(word[0]) ? word[0] : "";

	for (unsigned i = 1; i < n; i++) {
		if (strncmp(word[i], "ifname=", 7) || *ifname) {
			snprintf(err, errlen, *ifname ? "the interface is named twice" : "tap,%.40s: want tap,ifname=NAME", word[i]);
			return -EINVAL;
		}
		ifname = word[i] + 7;
	}
	if (strlen(ifname) >= TAP_NAME || strpbrk(ifname, "/ :%")) {
		snprintf(err, errlen, "%.40s is no name of an interface: at most %d characters, without / : %% and spaces", ifname, TAP_NAME - 1);
		return -EINVAL;
	}
	memset(name, 0, TAP_NAME);
	memcpy(name, ifname, strlen(ifname));
	return 0;
}

static int read_slirp(char **word, unsigned n, char *err, size_t errlen)
{
	struct slirp_conf *c = malloc(sizeof(*c));
	int ret = c ? 0 : -ENOMEM;

	if (c)
		slirp_conf_init(c);
	for (unsigned i = 1; i < n && !ret; i++) {
		char *value = strchr(word[i], '=');

		if (value)
			*value = 0;
		ret = slirp_conf_option(c, word[i], value ? value + 1 : "on", err, errlen);
		if (ret == -ENOENT)
			unknown(word[i], slirp_conf_names, ~0u, err, errlen);
		if (value)
			*value = '=';
	}
	if (!ret)
		ret = slirp_conf_finish(c, err, errlen);
	free(c);
	return ret;
}

int netback_check(const char *spec, char *err, size_t errlen)
{
	enum kind kind = find_kind(spec);
	char name[TAP_NAME], *word[ARGS_MAX + 1], *text;
	unsigned n;
	int ret = 0;

	if (kind == KINDS)
		return unknown(spec, kind_names, KINDS, err, errlen);
	text = strdup(spec);
	if (!text)
		return -ENOMEM;
	n = split(text, word, ARGS_MAX + 1);
	if (strlen(spec) >= SPEC_MAX || n > ARGS_MAX - 3) {
		snprintf(err, errlen, "too many options");
		ret = -E2BIG;
	} else if (kind == KIND_TAP) {
		ret = read_tap(word, n, name, err, errlen);
	} else if (kind == KIND_SLIRP) {
		ret = read_slirp(word, n, err, errlen);
	}
	free(text);
	return ret;
}

/* ---- helpers */

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static int find_helper(char *err, size_t errlen)
{
	int fd = child_find("cleave-slirp", NULL, 0);

	if (fd >= 0)
		return fd;
#ifdef HAVE_SLIRP
	snprintf(err, errlen, "cannot find the program of slirp networks: %s/cleave-slirp: %s (make install)", CLEAVE_LIBEXECDIR, strerror(-fd));
#else
	snprintf(err, errlen, "this cleave was built without slirp networks: install the Debian package libslirp-dev, then configure and make again");
#endif
	return fd;
}

static int start(struct netback *b)
{
	int sv[2], ret = fdpass_pair(sv);

	if (ret)
		return ret;
	ret = child_spawn(&b->child, LAUNCHER_OUTSIDE, b->program, b->argv, (int[]){ b->peer, sv[1] }, 2);
	close(sv[1]);
	b->sock = sv[0];
	b->started = now();
	return ret;
}

/* Its sentence: 0 for "ready" and how its sandbox stands, -EAGAIN for none in this time, else `err` is what it says. */
static int listen_to(struct netback *b, int ms, char *err, size_t errlen)
{
	static const char ready[] = "ready ";
	char word[WORD_MAX];
	unsigned nfds = 0;
	int none[1];
	ssize_t n = fdpass_recv(b->sock, word, sizeof(word) - 1, none, 0, &nfds, ms);

	if (n == -EAGAIN) {
		snprintf(err, errlen, "the network's process is not ready after %d s", ms / 1000);
		return n;
	}
	if (n <= 0) {
		snprintf(err, errlen, "the network's process says nothing");
		return -EPIPE;
	}
	word[n] = 0;
	if (!strncmp(word, ready, strlen(ready))) {
		sandbox_scan(&b->sandbox, word + strlen(ready));
		return vmm_sandbox_judge("cleave-slirp", &b->sandbox, err, errlen) ? -ECANCELED : 0;
	}
	for (char *p = word; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
	snprintf(err, errlen, "%s", word);
	return -ECANCELED;
}

static void drop(struct netback *b)
{
	if (b->ended)
		event_free(b->ended);
	if (b->said)
		event_free(b->said);
	b->ended = b->said = NULL;
	if (b->sock >= 0)
		close(b->sock);
	b->sock = -1;
}

static int watch(struct netback *b);

/* Another, at once; one that did not last is given a moment first. */
static void restart(struct netback *b)
{
	const struct timeval moment = { .tv_sec = QUICK_S };
	int ret;

	if (now() - b->started <= QUICK_S) {
		event_add(b->again, &moment);
		return;
	}
	ret = start(b);
	if (!ret)
		ret = watch(b);
	if (!ret)
		return;
	fprintf(stderr, "cleave: %s: the network cannot be started again: %s\n", b->title, strerror(-ret));
	drop(b);
	child_reap(&b->child, 0, true, (char[80]){ 0 }, 80);
	event_add(b->again, &moment);
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct netback *b = arg;

	(void)fd, (void)what;
	b->started = 0;
	restart(b);
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct netback *b = arg;
	pid_t pid = b->child.pid;
	char how[80];

	(void)fd, (void)what;
	drop(b);
	child_reap(&b->child, 0, true, how, sizeof(how));
	fprintf(stderr, "cleave: %s: the network (process %d) %s: its connections are lost, another is started\n", b->title, pid, how);
	restart(b);
}

/* The first "ready" was waited for; this is a successor's, or why there is none. */
static void on_said(evutil_socket_t fd, short what, void *arg)
{
	struct netback *b = arg;
	char err[WORD_MAX];

	(void)fd, (void)what;
	event_del(b->said);
	if (listen_to(b, 0, err, sizeof(err)) == -ECANCELED)
		fprintf(stderr, "cleave: %s: %s\n", b->title, err);
}

static int watch(struct netback *b)
{
	b->ended = event_new(b->base, b->child.pidfd, EV_READ, on_ended, b);
	b->said = event_new(b->base, b->sock, EV_READ, on_said, b);
	return b->ended && b->said && !event_add(b->ended, NULL) && !event_add(b->said, NULL) ? 0 : -ENOMEM;
}

/* ---- the kinds */

static int nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? -errno : 0;
}

static int set_args(struct netback *b, const char *spec, unsigned mtu)
{
	static const char *const first[] = { "cleave-slirp", "--no-sandbox" };
	unsigned head = vmm_sandbox_mode() == SANDBOX_OFF ? 2 : 1, n;
	size_t size = strlen(spec) + 20;

	b->args = malloc(size);
	if (!b->args)
		return -ENOMEM;
	if (mtu)
		snprintf(b->args, size, "%s,mtu=%u", spec, mtu);
	else
		snprintf(b->args, size, "%s", spec);
	/* the kind's place is the last of the first */
	n = split(b->args, b->argv + head - 1, ARGS_MAX - head);
	memcpy(b->argv, first, head * sizeof(*first));
	b->argv[head - 1 + n] = NULL;
	return 0;
}

static int open_slirp(struct netback *b, const char *spec, unsigned mtu, char *err, size_t errlen)
{
	char how[80];
	int sv[2], ret;

	b->program = find_helper(err, errlen);
	if (b->program < 0)
		return b->program;
	ret = fdpass_pair(sv);
	if (ret)
		return ret;
	b->fd = sv[0];
	b->peer = sv[1];
	b->again = evtimer_new(b->base, on_again, b);
	ret = b->again ? nonblocking(b->fd) : -ENOMEM;
	if (!ret)
		ret = set_args(b, spec, mtu);
	if (!ret)
		ret = start(b);
	if (ret)
		return ret;
	ret = listen_to(b, READY_MS, err, errlen);
	if (ret == -EPIPE) {
		child_reap(&b->child, 2000, true, how, sizeof(how));
		snprintf(err, errlen, "the network's process did not start: it %s", how);
	}
	return ret ? ret : watch(b);
}

static int open_tap(struct netback *b, char *spec, char *err, size_t errlen)
{
	char name[TAP_NAME], *word[ARGS_MAX];
	int ret = read_tap(word, split(spec, word, ARGS_MAX), name, err, errlen);

	if (ret)
		return ret;
	b->fd = tap_open(name, err, errlen);
	return b->fd < 0 ? b->fd : 0;
}

int netback_open(struct netback **out, struct event_base *base, const struct netback_card *card, const char *spec, char *err, size_t errlen)
{
	struct netback *b = calloc(1, sizeof(*b));
	char why[WORD_MAX] = "", *text;
	int ret = 0;

	*out = b;
	if (!b)
		return -ENOMEM;
	*b = (struct netback){ .kind = find_kind(spec), .fd = -1, .peer = -1, .program = -1, .sock = -1,
			       .child.pidfd = -1, .base = base };
	snprintf(b->title, sizeof(b->title), "%s: %s", card->vm, card->device);
	text = strdup(spec);
	if (!text)
		ret = -ENOMEM;
	else if (b->kind == KIND_TAP)
		ret = open_tap(b, text, why, sizeof(why));
	else if (b->kind == KIND_SLIRP)
		ret = open_slirp(b, text, card->mtu, why, sizeof(why));
	free(text);
	if (ret) {
		snprintf(err, errlen, "%s: %s", card->device, *why ? why : strerror(-ret));
		netback_free(b);
		*out = NULL;
	}
	return ret;
}

void netback_free(struct netback *b)
{
	char how[80];

	if (!b)
		return;
	drop(b);
	child_reap(&b->child, END_MS, true, how, sizeof(how));
	if (b->again)
		event_free(b->again);
	for (unsigned i = 0; i < 3; i++) {
		int fd = ((int[]){ b->fd, b->peer, b->program })[i];

		if (fd >= 0)
			close(fd);
	}
	free(b->args);
	free(b);
}

const char *netback_kind(const struct netback *b)
{
	return kind_names[b->kind];
}

int netback_fd(const struct netback *b)
{
	return b->fd;
}

const struct sandbox *netback_sandbox(const struct netback *b)
{
	return b->kind == KIND_SLIRP && b->child.pid > 0 ? &b->sandbox : NULL;
}

pid_t netback_pid(const struct netback *b)
{
	return b->child.pid;
}

bool netback_has_helper(const char *spec)
{
	return find_kind(spec) == KIND_SLIRP;
}
