/*
 * tests/system/evil_daemon.c - a device model that does what $EVIL says, or, where
 * that says nothing, the name that it has been given.
 *
 * Stands in for cleaved: answers --list-devices, takes its configuration, and
 * misbehaves at the point named.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/fdpass.h"
#include "ipc/link_daemon.h"
#include "proto/config.pb-c.h"

static const char *evil;
static struct link evil_link;
static int sock;

static int is(const char *what)
{
	return !strcmp(evil, what);
}

/* By the signal itself, also where a sanitizer would catch it. */
static void die(void)
{
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
}

static int list(void)
{
	if (is("list-junk"))
		fputs("no \001 list\t\t\n", stdout);
	else if (is("list-crash"))
		die();
	else
		do
			fputs("uart\tlpc\tserial port\nuart com1\tchr\tthe port\n", stdout);
		while (is("list-endless"));
	return 0;
}

static void reply(const Cleave__DaemonReply *r)
{
	uint8_t buf[4096];

	fdpass_send(sock, buf, cleave__daemon_reply__pack(r, buf), NULL, 0);
}

static void before_ready(Cleave__DaemonReply *r)
{
	static char long_frame[100000];

	if (is("exit"))
		_exit(3);
	if (is("abort"))
		abort();
	if (is("close")) {
		close(sock);
		_exit(0);
	}
	if (is("junk"))
		fdpass_send(sock, "\377\377junk\377", 7, NULL, 0);
	if (is("long"))
		fdpass_send(sock, long_frame, sizeof(long_frame), NULL, 0);
	if (is("fds"))
		fdpass_send(sock, "\0", 1, (int[]){ 0, 1, 2 }, 3);
	if (is("refuse") || is("mute")) {
		r->ready = 0;
		r->error = is("mute") ? NULL : (char *)"\033[2Jno more sectors\n";
	}
	if (is("version"))
		r->version = 99;
	if (is("features"))
		evil_link.header->answer = 0xdeadbeef;
}

static void after_ready(void)
{
	static struct link_event e = { .seq = 1, .kind = 77 };

	usleep(200000);
	if (is("chatty"))
		fdpass_send(sock, "hello again", 11, NULL, 0);
	if (is("die"))
		die();
	if (is("leave"))
		_exit(0);
	if (is("event"))
		link_post_event(&evil_link, &e);
	if (is("ring"))
		store_release(&evil_link.events.shared->prod, 0x40000000);
	if (is("stream"))
		for (unsigned i = 0; i < LINK_STREAMS; i++)
			store_release(&evil_link.output[i].shared->prod, 0x40000000);
	for (unsigned i = LINK_FD_EVENT; i <= LINK_FD_RELAY; i++)
		if (write(evil_link.fd[i], &(uint64_t){ 1 }, 8) != 8)
			_exit(4);
}

/* It was to stand by; "turn-" and what comes later wait for their turn. */
static void be_spare(void)
{
	Cleave__DaemonReply r = CLEAVE__DAEMON_REPLY__INIT;

	r.version = 2;
	r.standing_by = 1;
	if (is("spare-die"))
		die();
	while (is("spare-hang"))
		pause();
	if (is("spare-refuse")) {
		r.standing_by = 0;
		r.error = (char *)"no more sectors";
	}
	reply(&r);
	if (is("spare-chatty"))
		reply(&r);
	if (is("spare-close"))
		close(sock);
	while (!strncmp(evil, "spare", 5))
		pause();
}

static void turn(void)
{
	Cleave__DaemonReply r = CLEAVE__DAEMON_REPLY__INIT;

	if (is("turn-die"))
		die();
	if (is("turn-junk"))
		fdpass_send(sock, "\377\377junk\377", 7, NULL, 0);
	if (is("turn-again")) {
		r.version = 2;
		r.standing_by = 1;
		reply(&r);
	}
	while (!strncmp(evil, "turn", 4))
		pause();
}

static const char *own_name(void)
{
	static char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);

	path[n > 0 ? n : 0] = 0;
	return strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
}

int main(int argc, char **argv)
{
	Cleave__DaemonReply r = CLEAVE__DAEMON_REPLY__INIT;
	static uint8_t frame[65536];
	Cleave__DaemonConfig *machine;
	Cleave__DaemonTurn *c;
	char err[LINK_ERR];
	int fd[FDPASS_MAX];
	unsigned nfds;
	ssize_t n;

	evil = getenv("EVIL") ? getenv("EVIL") : own_name();
	if (argc < 2)
		return 2;
	if (!strcmp(argv[1], "--list-devices"))
		return list();
	sock = 3;
	n = fdpass_recv(sock, frame, sizeof(frame), fd, FDPASS_MAX, &nfds, 5000);
	machine = n > 0 ? cleave__daemon_config__unpack(NULL, n, frame) : NULL;
	if (machine && machine->standby)
		be_spare();
	n = fdpass_recv(sock, frame, sizeof(frame), fd, FDPASS_MAX, &nfds, 5000);
	c = n > 0 ? cleave__daemon_turn__unpack(NULL, n, frame) : NULL;
	if (!c || c->link_fd >= nfds || c->wake_fd >= nfds || c->event_fd >= nfds || c->relay_fd >= nfds || c->kick_fd >= nfds)
		return 2;
	if (link_open(&evil_link, (int[]){ fd[c->link_fd], fd[c->wake_fd], fd[c->event_fd], fd[c->relay_fd], fd[c->kick_fd] }, LINK_F_ALL, err))
		return 2;
	if (c->fresh && (c->arena_fd >= nfds || ftruncate(fd[c->arena_fd], LINK_PAGE)))
		return 2;
	if (is("heir") && !c->fresh)
		die();
	turn();
	r.version = 2;
	r.ready = 1;
	before_ready(&r);
	reply(&r);
	after_ready();
	while (read(sock, frame, 1) > 0)
		;
	_exit(0);	/* no leak report: it is not the one on trial */
}
