/*
 * vmm/spare.c - keeps one device-model process standing by (spare.h).
 *
 * Must not know: links, arenas, generations, who serves.
 */
#include "vmm/spare.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "vmm/daemon.h"
#include "vmm/introduce.h"
#include "vmm/vm.h"

/*
 * Before the first after a succession, when the guest has to catch up; and
 * before the one after the n-th in a row that ended while it waited.
 */
static const unsigned pause_ms[] = { 5, 100, 1000, 5000, 30000 };

enum { ENDING_MS = 1000 };

struct spare {
	struct vm *vm;
	const struct back_ends *back;
	int program;
	struct daemon daemon;
	struct event *later;	/* it is due, or overdue */
	unsigned failures;	/* in a row */
	struct spare_info info;
};

static void after(struct spare *s, enum spare_state state, unsigned ms)
{
	s->info.state = state;
	event_add(s->later, &(struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 });
}

static void try_again(struct spare *s)
{
	unsigned most = sizeof(pause_ms) / sizeof(pause_ms[0]) - 1;

	after(s, SPARE_DUE, pause_ms[s->failures < most ? s->failures : most]);
}

/* Nobody's failure but its own. */
static void lost(struct spare *s, const char *why)
{
	snprintf(s->info.why, sizeof(s->info.why), "%s", why);
	fprintf(stderr, "cleave: %s: a spare device model is lost: %s\n", s->vm->name, s->info.why);
	daemon_discard(&s->daemon);
	s->info.lost++;
	s->failures++;
	try_again(s);
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct spare *s = arg;
	char how[80], why[120];
	pid_t pid = s->daemon.child.pid;

	(void)fd, (void)what;
	child_reap(&s->daemon.child, 0, false, how, sizeof(how));
	snprintf(why, sizeof(why), "process %d %s", pid, how);
	lost(s, why);
}

/* That it stands by; what it says afterwards is nonsense, but for the end of file that comes shortly before its own. */
static void on_spoke(evutil_socket_t fd, short what, void *arg)
{
	struct spare *s = arg;
	char err[240] = "", byte;
	int ret;

	(void)what;
	if (!recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT)) {
		event_del(s->daemon.spoke);
		after(s, SPARE_ENDING, ENDING_MS);
		return;
	}
	ret = daemon_reply(&s->daemon, 0, err, sizeof(err));
	if (ret == 1 && s->info.state == SPARE_STARTING) {
		event_del(s->later);
		s->info.state = SPARE_READY;
		return;
	}
	lost(s, ret < 0 && *err ? err : "it speaks before its turn has come");
}

static void start(struct spare *s)
{
	int ret = daemon_spawn(&s->daemon, s->program);

	if (!ret)
		ret = introduce_machine(s->daemon.sock, s->vm, s->back, true);
	if (!ret)
		ret = daemon_watch(&s->daemon, s->vm->base, on_ended, on_spoke, s);
	if (ret)
		lost(s, strerror(-ret));
	else
		after(s, SPARE_STARTING, DAEMON_READY_MS);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	struct spare *s = arg;

	(void)fd, (void)what;
	if (s->info.state == SPARE_DUE)
		start(s);
	else
		lost(s, s->info.state == SPARE_ENDING ? "it has closed its socket" : "it does not come to stand by");
}

/* ---- the calls */

void spare_keep(struct spare *s, int program)
{
	if (s->program != program)
		spare_end(s);
	s->program = program;
	if (s->info.state == SPARE_NONE)
		try_again(s);
}

bool spare_take(struct spare *s, struct daemon *to)
{
	if (s->info.state < SPARE_STARTING)
		return false;
	daemon_unwatch(&s->daemon);
	*to = s->daemon;
	s->daemon = DAEMON_NONE;
	event_del(s->later);
	s->info.state = SPARE_NONE;
	s->info.taken++;
	s->failures = 0;
	return true;
}

void spare_end(struct spare *s)
{
	event_del(s->later);
	daemon_discard(&s->daemon);
	s->info.state = SPARE_NONE;
}

int spare_new(struct spare **out, struct vm *vm, const struct back_ends *back)
{
	struct spare *s = *out = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	*s = (struct spare){ .vm = vm, .back = back, .program = -1, .daemon = DAEMON_NONE };
	s->later = event_new(vm->base, -1, 0, on_later, s);
	return s->later ? 0 : -ENOMEM;
}

void spare_free(struct spare *s)
{
	if (!s)
		return;
	if (s->later) {
		spare_end(s);
		event_free(s->later);
	}
	free(s);
}

pid_t spare_sandbox(const struct spare *s, const struct sandbox **sandbox)
{
	*sandbox = &s->daemon.sandbox;
	return s->info.state == SPARE_READY ? s->daemon.child.pid : 0;
}

void spare_info(const struct spare *s, struct spare_info *info)
{
	*info = s->info;
	info->pid = s->daemon.child.pid;
}
