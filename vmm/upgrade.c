/*
 * vmm/upgrade.c - another executable for the device model (upgrade.h).
 *
 *	IDLE --begin--> STARTING --stands by--> STANDING_BY --take--> TAKEN
 *	  ^                |                        |                   |
 *	  +----------------+-- ended, late, none ---+--- served, refused +
 *
 * Must not know: generations, links, the arena.
 */
#include "vmm/upgrade.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/daemon.h"
#include "vmm/introduce.h"
#include "vmm/vm.h"

enum { STANDBY_MS = 10000 };	/* to come up, and to be taken */

struct upgrade {
	enum { IDLE, STARTING, STANDING_BY, TAKEN } phase;
	const struct vm *vm;
	const struct back_ends *back;
	struct daemon next;		/* the new one: STARTING, STANDING_BY */
	int program;			/* its executable; -1: none */
	struct event *late;
	char own_path[512];		/* of the executable that successors are started from */
	char former_path[512];		/* of the one before */
	char path[512];			/* of the new one's */
	void (*stands_by)(void *arg);
	void *stands_by_arg;
	upgrade_done *done;
	void *done_arg;
	char last[1500];
};

/* ---- its end */

static void say(const struct upgrade *u)
{
	fprintf(stderr, "cleave: %s: %s\n", u->vm->name, u->last);
}

static void finish(struct upgrade *u, const struct upgrade_result *r)
{
	upgrade_done *done = u->done;

	say(u);
	event_del(u->late);
	u->phase = IDLE;
	u->done = NULL;
	if (done)
		done(u->done_arg, r);
}

/* The new one is no good: whoever serves goes on. */
void upgrade_refused(struct upgrade *u, int error, const char *why)
{
	struct upgrade_result r = { .error = error };

	daemon_discard(&u->next);
	if (u->program >= 0)
		close(u->program);
	u->program = -1;
	snprintf(r.path, sizeof(r.path), "%s", u->path);
	snprintf(r.text, sizeof(r.text), "%.500s; the machine goes on with %.300s", why, u->own_path);
	snprintf(u->last, sizeof(u->last), "no upgrade of the device model to %s: %.900s", u->path, r.text);
	finish(u, &r);
}

int upgrade_served(struct upgrade *u, unsigned generation, uint64_t stall_us)
{
	struct upgrade_result r = { .generation = generation, .stall_us = stall_us };
	int program = u->program;

	u->program = -1;
	memcpy(r.path, u->path, sizeof(r.path));
	memcpy(u->former_path, u->own_path, sizeof(u->own_path));
	memcpy(u->own_path, u->path, sizeof(u->own_path));
	snprintf(u->last, sizeof(u->last), "device model upgraded to %s, generation %u, stall %llu us", u->path, generation,
		 (unsigned long long)stall_us);
	finish(u, &r);
	return program;
}

void upgrade_revoke(struct upgrade *u)
{
	snprintf(u->last, sizeof(u->last), "upgrade of the device model to %s revoked, as it failed soon: back to %s", u->own_path, u->former_path);
	memcpy(u->own_path, u->former_path, sizeof(u->own_path));
	say(u);
}

/* ---- on its way */

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct upgrade *u = arg;

	(void)fd, (void)what;
	if (u->phase == STARTING)
		upgrade_refused(u, -ETIMEDOUT, "it does not say within 10 s that it stands by: is it a cleaved?");
	else if (u->phase == STANDING_BY)
		upgrade_refused(u, -EAGAIN, "nobody came to hand over within 10 s: cleavectl --get-devmodel says why");
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct upgrade *u = arg;
	char how[80], why[200];
	int status = child_reap(&u->next.child, 0, false, how, sizeof(how));

	(void)fd, (void)what;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		snprintf(why, sizeof(why), "it cannot be executed: is it a program for this system?");
	else
		snprintf(why, sizeof(why), "it %s before it stood by: is it a cleaved?", how);
	upgrade_refused(u, -ECANCELED, why);
}

/* It has closed its socket: on_ended() will say how it ended. */
static bool has_left(const struct daemon *d)
{
	char byte;

	return recv(d->sock, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0 || errno == ECONNRESET;
}

static void on_spoke(evutil_socket_t fd, short what, void *arg)
{
	struct upgrade *u = arg;
	char err[600] = "";
	int ret = -EPROTO;

	(void)fd, (void)what;
	if (has_left(&u->next)) {
		event_del(u->next.spoke);
		return;
	}
	if (u->phase == STARTING)
		ret = daemon_reply(&u->next, 0, err, sizeof(err));
	if (ret != 1) {
		upgrade_refused(u, ret ? ret : -EPROTO, *err ? err : "it speaks out of turn: is it a cleaved?");
		return;
	}
	u->phase = STANDING_BY;
	event_add(u->late, &(struct timeval){ .tv_sec = STANDBY_MS / 1000 });
	u->stands_by(u->stands_by_arg);
}

static int start(struct upgrade *u)
{
	int ret;

	u->program = child_open(u->path);
	if (u->program < 0)
		return u->program;
	ret = daemon_spawn(&u->next, u->program);
	if (!ret)
		ret = introduce_machine(u->next.sock, u->vm, u->back, true);
	if (ret == -EPIPE || ret == -ECONNRESET)
		ret = 0;	/* on_ended() */
	return ret ? ret : daemon_watch(&u->next, u->vm->base, on_ended, on_spoke, u);
}

bool upgrade_take(struct upgrade *u, struct daemon *to)
{
	if (u->phase != STANDING_BY)
		return false;
	event_del(u->late);
	daemon_unwatch(&u->next);
	*to = u->next;
	u->next = DAEMON_NONE;
	u->phase = TAKEN;
	return true;
}

void upgrade_put_back(struct upgrade *u, const struct daemon *from)
{
	u->next = *from;
	if (daemon_watch(&u->next, u->vm->base, on_ended, on_spoke, u)) {
		upgrade_refused(u, -ENOMEM, "out of memory");
		return;
	}
	u->phase = STANDING_BY;
	event_add(u->late, &(struct timeval){ .tv_sec = STANDBY_MS / 1000 });
}

bool upgrade_is_taken(const struct upgrade *u)
{
	return u->phase == TAKEN;
}

/* ---- asked for */

void upgrade_begin(struct upgrade *u, const char *path, upgrade_done *done, void *arg)
{
	struct upgrade_result busy = { .error = -EBUSY };
	char why[200];
	int ret;

	if (u->phase != IDLE) {
		snprintf(busy.text, sizeof(busy.text), "an upgrade to %s is under way: wait for its end", u->path);
		done(arg, &busy);
		return;
	}
	snprintf(u->path, sizeof(u->path), "%s", path && *path ? path : u->own_path);
	u->done = done;
	u->done_arg = arg;
	u->phase = STARTING;
	event_add(u->late, &(struct timeval){ .tv_sec = STANDBY_MS / 1000 });
	ret = start(u);
	if (!ret)
		return;
	snprintf(why, sizeof(why), "it cannot be started: %s", strerror(-ret));
	upgrade_refused(u, ret, why);
}

void upgrade_forget(struct upgrade *u, const void *arg)
{
	if (u->done_arg == arg)
		u->done = NULL;
}

const char *upgrade_last(const struct upgrade *u)
{
	return u->last;
}

int upgrade_new(struct upgrade **out, const struct vm *vm, const struct back_ends *back, const char *path, void (*stands_by)(void *arg), void *arg)
{
	struct upgrade *u = calloc(1, sizeof(*u));

	*out = u;
	if (!u)
		return -ENOMEM;
	*u = (struct upgrade){ .vm = vm, .back = back, .next = DAEMON_NONE, .program = -1, .stands_by = stands_by, .stands_by_arg = arg };
	snprintf(u->own_path, sizeof(u->own_path), "%s", path);
	u->late = event_new(vm->base, -1, 0, on_late, u);
	return u->late ? 0 : -ENOMEM;
}

void upgrade_free(struct upgrade *u)
{
	if (!u)
		return;
	daemon_discard(&u->next);
	if (u->program >= 0)
		close(u->program);
	if (u->late)
		event_free(u->late);
	free(u);
}
