/*
 * vmm/supervise.c - starts, watches, replaces and ends the device model's process.
 *
 *	SERVING --died, hung, broke the protocol--> WAITING --back-off--> STARTING
 *	   ^                                           ^----died, refused----|
 *	   +------------- ready: vCPUs parked, link exchanged --------------+
 *
 * Owns the process, its socket and the arena's memory.  A successor works on a
 * copy of the arena, and does nothing in the machine before it is accepted: one
 * that dies sooner has changed nothing.  What it is told is introduce.c's.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ipc/barrier.h"
#include "ipc/fdpass.h"
#include "ipc/wait.h"
#include "proto/words.h"
#include "vmm/child.h"
#include "vmm/config.h"
#include "vmm/daemon.h"
#include "vmm/introduce.h"
#include "vmm/ledger.h"
#include "vmm/link.h"
#include "vmm/netback.h"
#include "vmm/outage.h"
#include "vmm/relay.h"
#include "vmm/spare.h"
#include "vmm/supervise.h"
#include "vmm/upgrade.h"
#include "vmm/vm.h"

enum {
	END_MS = 10000, HEALTHY_MS = 10000, IN_VAIN = 3,
	HOLD_MS = 1000,		/* to come to rest for an upgrade */
	TURN_MS = 1000,		/* for the new one to take over, while the guest waits */
};

/* Before the n-th successor in a row whose predecessor failed by its own doing. */
static const unsigned backoff_ms[] = { 0, 0, 0, 50, 200, 1000, 2000, 5000 };

struct supervise {
	struct vm *vm;
	int daemon_fd;		/* the executable */
	int former_fd;		/* the one before an upgrade, which has yet to prove itself; -1: none */
	enum supervise_state state;
	struct daemon daemon;	/* on its way in, or at work */
	struct daemon leaving;	/* held, killed, and still to be reaped */
	struct spare *spare;	/* NULL: none is wanted */
	bool was_spare;		/* the daemon was one, and may still have to say that it stood by */
	int arena_fd;		/* of the daemon that serves, or has died */
	int next_fd;		/* the copy that its successor works on; -1: none */
	int tried_fd;		/* the copy over which the last one died by its own doing, before it came to serve; -1: none */
	struct back_ends back;
	struct outage *outage;
	struct upgrade *upgrade;
	struct event *later, *condemned;

	bool at_fault;		/* the last one that served ended by its own doing */
	unsigned failures;	/* of its own, in a row */
	uint64_t since;		/* when it began to serve, or was lost; ms */
	struct supervise_info info;
	uint64_t lost;		/* when the last one ceased to serve; ns */

	bool converted;		/* the arena of the last upgrade is not laid out as the one before */
	bool late_held;		/* it was asked to hold, and may still say that it does */
	uint32_t handing_over;	/* it was asked to hold: it is not overdue.  Read by any thread */
	pthread_mutex_t lock;
	char why[LINK_ERR];	/* what an honest one would not do; under lock */
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

/* ---- finding */

/* Symbolic links stay as they are: one that is changed later is what an upgrade without a path follows. */
static void keep_path(char *to, size_t n, const char *path)
{
	char dir[512];

	if (*path == '/' || !getcwd(dir, sizeof(dir)))
		snprintf(to, n, "%s", path);
	else
		snprintf(to, n, "%s/%s", dir, path);
}

int supervise_find(const char *path, char *found, size_t foundlen, char *err, size_t errlen)
{
	const char *env = getenv("CLEAVED");
	int fd;

	if (!path && env && *env)
		path = env;
	if (path)
		keep_path(found, foundlen, path);
	fd = path ? child_open(path) : child_find("cleaved", found, foundlen);
	if (fd < 0 && path)
		snprintf(err, errlen, "cannot use %s as the device model: %s", path, strerror(-fd));
	else if (fd < 0)
		snprintf(err, errlen, "cannot find the device model: %s/cleaved: %s (make install, or set CLEAVED)",
			 CLEAVE_LIBEXECDIR, strerror(-fd));
	return fd;
}

int supervise_grow(struct supervise *s, unsigned slot, unsigned func, uint64_t bytes, char *err, size_t errlen)
{
	int fd = back_ends_image(&s->back, s->vm->config, slot, func), ret;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		snprintf(err, errlen, "slot %u:%u has no disk image", slot, func);
		return -ENXIO;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(err, errlen, "slot %u:%u: only files can be made larger: give no size after growing a device", slot, func);
		return -EINVAL;
	}
	if ((uint64_t)st.st_size > bytes) {
		snprintf(err, errlen, "slot %u:%u: the image has %lld bytes, and would lose some: to shrink it, use truncate(1) and give no size",
			 slot, func, (long long)st.st_size);
		return -EINVAL;
	}
	ret = ftruncate(fd, bytes) ? -errno : 0;
	if (ret)
		snprintf(err, errlen, "slot %u:%u: the image does not grow: %s", slot, func, strerror(-ret));
	return ret;
}

/* ---- the process */

/* A descriptor, or -1, in place of what was there. */
static void put(int *place, int fd)
{
	if (*place >= 0)
		close(*place);
	*place = fd;
}

static void set_state(struct supervise *s, enum supervise_state state)
{
	s->state = state;
	s->since = now_ms();
}

/* What is wrong with it, for the log; the first reason holds. */
static void note(struct supervise *s, const char *why)
{
	pthread_mutex_lock(&s->lock);
	if (!*s->why)
		snprintf(s->why, sizeof(s->why), "%s", why);
	pthread_mutex_unlock(&s->lock);
}

static void kill_it(struct supervise *s, const char *why)
{
	note(s, why);
	daemon_kill(&s->daemon);	/* goes on when it has ended */
}

/* ---- starting */

/* 0, or as daemon_reply(); 1: not yet. */
static int ready(struct supervise *s, int ms, char *err, size_t errlen)
{
	int ret = daemon_reply(&s->daemon, ms, err, errlen);

	if (ret != 1)
		return ret;
	if (s->was_spare) {
		s->was_spare = false;
		return 1;
	}
	snprintf(err, errlen, "the device model's answer makes no sense: it stands by, and was told that it is its turn");
	return -EPROTO;
}

static void on_ended(evutil_socket_t fd, short what, void *arg);
static void on_spoke(evutil_socket_t fd, short what, void *arg);

static int watch(struct supervise *s)
{
	return daemon_watch(&s->daemon, s->vm->base, on_ended, on_spoke, s);
}

static int say_word(struct daemon *d, uint8_t word)
{
	return fdpass_send(d->sock, &word, 1, NULL, 0);
}

/*
 * It is ready: its link and its arena, together, take the place of the last
 * one's, and it may go.  One that has died meanwhile has been the last one: what
 * the guest has seen of it stands in its arena.
 */
static int accept_it(struct supervise *s, char *err, size_t errlen)
{
	char link_err[LINK_ERR] = "";
	int ret;

	pthread_mutex_lock(&s->lock);
	s->why[0] = 0;
	pthread_mutex_unlock(&s->lock);
	ret = link_client_accept(s->vm->link, link_err);
	if (ret) {
		snprintf(err, errlen, "the device model cannot be used: %s", link_err);
		return ret;
	}
	if (s->next_fd >= 0) {
		put(&s->arena_fd, s->next_fd);
		s->next_fd = -1;
	}
	put(&s->tried_fd, -1);
	s->info.in_vain = 0;
	set_state(s, SUPERVISE_SERVING);
	s->info.generation++;
	say_word(&s->daemon, WORD_GO);	/* if it does not arrive, on_ended() follows */
	if (s->spare)
		spare_keep(s->spare, s->daemon_fd);
	return 0;
}

/* `beside`: the last one holds, and may go on. */
static int open_link(struct supervise *s, bool beside, char *err, size_t errlen)
{
	const struct config *c = s->vm->config;
	uint32_t streams = c->nstreams < 32 ? (1u << c->nstreams) - 1 : ~0u;
	char link_err[LINK_ERR] = "";
	int ret = beside ? link_client_open_beside(s->vm->link, streams, link_err) : link_client_open(s->vm->link, streams, link_err);

	if (ret)
		snprintf(err, errlen, "%s", link_err);
	else if (c->spin == SPIN_OFF)
		link_client_link(s->vm->link)->may_spin = false;
	return ret;
}

/* To a process that knows what it is to do: from the spare, or from nothing. */
static int launch(struct supervise *s, int arena_fd, bool fresh, char *err, size_t errlen)
{
	const struct turn turn = { .vm = s->vm, .arena_fd = arena_fd, .fresh = fresh, .at_fault = s->at_fault, .tried_fd = s->tried_fd, .state_fd = -1 };
	int ret = open_link(s, false, err, errlen);

	if (ret)
		return ret;
	s->was_spare = false;
	if (!upgrade_take(s->upgrade, &s->daemon) && !(s->was_spare = s->spare && spare_take(s->spare, &s->daemon))) {
		ret = daemon_spawn(&s->daemon, s->daemon_fd);
		if (!ret)
			ret = introduce_machine(s->daemon.sock, s->vm, &s->back, false);
	}
	if (!ret)
		ret = introduce_turn(s->daemon.sock, &turn);
	if (ret == -EPIPE || ret == -ECONNRESET)
		daemon_ended_early(&s->daemon, err, errlen);
	else if (ret)
		snprintf(err, errlen, "cannot tell the device model its configuration: %s", strerror(-ret));
	return ret;
}

/* Nobody takes the arena away under its reader. */
static void seal(int fd)
{
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
}

static int new_arena(void)
{
	int fd = memfd_create("cleave-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return fd < 0 ? -errno : fd;
}

int supervise_start(struct supervise *s, char *err, size_t errlen)
{
	int ret;

	*err = 0;
	ret = back_ends_open(&s->back, s->vm, err, errlen);
	if (!ret) {
		s->arena_fd = new_arena();
		ret = s->arena_fd < 0 ? s->arena_fd : 0;
	}
	if (!ret)
		ret = launch(s, s->arena_fd, true, err, errlen);
	if (!ret)
		ret = ready(s, DAEMON_READY_MS, err, errlen);
	if (!ret)
		ret = accept_it(s, err, errlen);
	if (!ret) {
		seal(s->arena_fd);
		ret = watch(s);
	}
	if (!ret)
		return 0;
	if (!*err)
		snprintf(err, errlen, "cannot start the device model: %s", strerror(-ret));
	daemon_discard(&s->daemon);
	return ret;
}

/* ---- succession */

static void say(const struct supervise *s, const char *what)
{
	fprintf(stderr, "cleave: %s: %s\n", s->vm->name, what);
}

/*
 * It has died by its own doing while it took over: what it was at stands in its
 * copy, which the next one gets to see.  For as long as the same happens again
 * and again there is no device model, and the user is told.
 */
static void died_in_vain(struct supervise *s, const char *why)
{
	char line[LINK_ERR + 240];

	put(&s->tried_fd, s->next_fd);
	s->next_fd = -1;
	s->info.in_vain++;
	if (s->info.in_vain != IN_VAIN && s->info.in_vain % (10 * IN_VAIN))
		return;
	snprintf(line, sizeof(line), "%u device models in a row have died while they took over, the last: %s; "
		 "the machine waits, and more are tried", s->info.in_vain, why);
	say(s, line);
}

/*
 * After the end of a daemon, of one that did not come to serve too: the next,
 * soon, unless the user wants none.  `why` NULL: as before.
 */
static void go_on(struct supervise *s, const char *why, bool at_fault)
{
	unsigned most = sizeof(backoff_ms) / sizeof(backoff_ms[0]) - 1, ms;
	char title[80], line[LINK_ERR + 240];
	struct timeval tv;

	if (s->vm->ended)
		return;
	if (at_fault && s->state == SUPERVISE_STARTING)
		died_in_vain(s, why);
	s->failures = at_fault ? s->failures + 1 : 0;
	if (why)
		snprintf(s->info.why, sizeof(s->info.why), "%s", why);
	if (outage_stops(s->vm, title, sizeof(title))) {
		set_state(s, SUPERVISE_NONE);
		snprintf(line, sizeof(line), "%s, and %s has outage=stop", s->info.why, title);
		vm_request(s->vm, VM_REQUEST_ERROR, 0, line);
		return;
	}
	ms = backoff_ms[s->failures < most ? s->failures : most];
	tv = (struct timeval){ .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };
	s->state = SUPERVISE_WAITING;
	event_add(s->later, &tv);
}

/* The present one, on its way in or at work, is no good.  One of another executable tells nothing of ours. */
static void give_up(struct supervise *s, int error, const char *why)
{
	daemon_discard(&s->daemon);
	if (upgrade_is_taken(s->upgrade)) {
		upgrade_refused(s->upgrade, error, why);
		go_on(s, NULL, false);
	} else {
		say(s, why);
		go_on(s, why, !s->daemon.outside);
	}
}

/* What has never been written to is not copied: it has no memory, and is to get none. */
static int copy_written(int from, int to)
{
	static uint8_t part[65536];
	off_t at = 0, end = 0;

	while ((at = lseek(from, end, SEEK_DATA)) >= 0 && (end = lseek(from, at, SEEK_HOLE)) >= 0)
		while (at < end) {
			size_t most = end - at < (off_t)sizeof(part) ? (size_t)(end - at) : sizeof(part);
			ssize_t n = pread(from, part, most, at);

			if (n <= 0 || pwrite(to, part, n, at) != n)
				return -EIO;
			at += n;
		}
	return errno == ENXIO ? 0 : -errno;	/* no more data */
}

static int copy_arena(struct supervise *s)
{
	int fd = new_arena(), ret;
	struct stat st;

	if (fd < 0)
		return fd;
	ret = fstat(s->arena_fd, &st) || ftruncate(fd, st.st_size) ? -errno : copy_written(s->arena_fd, fd);
	if (ret) {
		close(fd);
		return ret;
	}
	seal(fd);
	put(&s->next_fd, fd);
	return 0;
}

static void start_successor(struct supervise *s)
{
	char err[600] = "";
	int ret = copy_arena(s);

	s->state = SUPERVISE_STARTING;
	if (!ret)
		ret = launch(s, s->next_fd, false, err, sizeof(err));
	if (!ret)
		ret = relay_attach(s->vm->relay, link_client_link(s->vm->link));
	if (!ret)
		ret = watch(s);
	if (!ret) {
		event_add(s->later, &(struct timeval){ .tv_sec = DAEMON_READY_MS / 1000 });
		return;
	}
	if (!*err)
		snprintf(err, sizeof(err), "cannot start a device model: %s", strerror(-ret));
	give_up(s, ret, err);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	struct supervise *s = arg;

	(void)fd, (void)what;
	if (s->state == SUPERVISE_WAITING && !s->vm->ended)
		start_successor(s);
	else if (s->state == SUPERVISE_STARTING)
		kill_it(s, "the device model does not come to serve");
}

static int take_over(struct supervise *s, char *err, size_t errlen)
{
	struct vm *vm = s->vm;
	enum vm_gate was;
	int ret = vm_hold(vm, &was);

	if (ret) {
		snprintf(err, errlen, "a vCPU does not stop for the new device model");
		return ret;
	}
	vm_watch_link(vm, false);
	ret = accept_it(s, err, errlen);
	if (!ret)
		ret = vm_watch_link(vm, true);
	if (!ret)
		ret = relay_attach(vm->relay, link_client_link(vm->link));
	vm_release(vm, was);
	return ret;
}

/* The one that serves is of the new executable: so will be its successors. */
static void adopt_program(struct supervise *s)
{
	int program = upgrade_served(s->upgrade, s->info.generation, (wait_now() - s->lost) / 1000);

	if (s->spare)
		spare_keep(s->spare, program);
	put(&s->former_fd, s->daemon_fd);
	if (s->converted)		/* it could not take over what is there now */
		put(&s->former_fd, -1);
	s->daemon_fd = program;
	s->failures = 0;
	s->info.upgrades++;
}

/* One that fails as soon as it serves is no upgrade. */
static void doubt_program(struct supervise *s, bool at_fault)
{
	if (s->former_fd < 0)
		return;
	if (now_ms() - s->since > HEALTHY_MS) {
		put(&s->former_fd, -1);
	} else if (at_fault) {
		if (s->spare)
			spare_end(s->spare);
		close(s->daemon_fd);
		s->daemon_fd = s->former_fd;
		s->former_fd = -1;
		upgrade_revoke(s->upgrade);
	}
}

static void hand_over(struct supervise *s);

static void on_ready(struct supervise *s)
{
	uint64_t lost = s->since;
	char err[600] = "", line[700];
	int ret = ready(s, 0, err, sizeof(err));

	if (ret == 1)
		return;
	event_del(s->later);
	if ((ret == -ECANCELED || ret == -ESTALE) && !upgrade_is_taken(s->upgrade)) {	/* it would refuse the next time too */
		daemon_drop(&s->daemon);
		s->state = SUPERVISE_NONE;
		vm_request(s->vm, VM_REQUEST_ERROR, 0, err);
		return;
	}
	if (!ret)
		ret = take_over(s, err, sizeof(err));
	if (ret) {
		give_up(s, ret, *err ? err : strerror(-ret));
		return;
	}
	s->info.restarts++;
	ledger_restart(s->vm->ledger, s->info.why, now_ms() - lost);
	outage_end(s->outage);
	snprintf(line, sizeof(line), "%s; process %d took over after %llu ms", s->info.why, s->daemon.child.pid,
		 (unsigned long long)(now_ms() - lost));
	say(s, line);
	vm_taken_over(s->vm);
	if (upgrade_is_taken(s->upgrade))
		adopt_program(s);
	else
		hand_over(s);
}

/* ---- upgrade */

/*
 * The guest begins to wait.  -EPIPE: it has gone; -ETIMEDOUT: it will hold when
 * it gets round to it, and go on then.
 */
static int hold(struct supervise *s, bool *busy)
{
	unsigned nfds = 0;
	uint8_t word = 0;
	int none[1];
	ssize_t n = say_word(&s->daemon, WORD_HOLD);

	if (!n)
		n = fdpass_recv(s->daemon.sock, &word, 1, none, 0, &nfds, HOLD_MS);
	s->lost = wait_now();
	*busy = word == WORD_HELD_BUSY;
	if (n == 1 && (word == WORD_HELD || *busy))
		return 0;
	s->late_held = n == -EAGAIN;
	return n == -EAGAIN ? -ETIMEDOUT : -EPIPE;
}

static int try_turn(struct supervise *s, struct daemon *to, int state_fd, char *err, size_t errlen)
{
	const struct turn turn = { .vm = s->vm, .arena_fd = s->next_fd, .tried_fd = -1, .state_fd = state_fd };
	int ret = introduce_turn(to->sock, &turn);

	if (!ret)
		ret = daemon_reply(to, TURN_MS, err, errlen);
	if (ret > 0)
		snprintf(err, errlen, "its answer makes no sense: it still stands by");
	return ret > 0 ? -EPROTO : ret;
}

/* The present one's state, in its portable form.  A memfd, or -errno. */
static int pack_state(struct supervise *s)
{
	const uint8_t word = WORD_PACK;
	uint8_t answer = 0;
	unsigned nfds = 0;
	int fd = memfd_create("cleave-state", MFD_CLOEXEC), none[1];

	if (fd < 0)
		return -errno;
	if (!fdpass_send(s->daemon.sock, &word, 1, &fd, 1) &&
	    fdpass_recv(s->daemon.sock, &answer, 1, none, 0, &nfds, TURN_MS) == 1 && answer == WORD_PACKED)
		return fd;
	close(fd);
	return -EIO;
}

/* The new one lays the same state out otherwise. */
static int convert_arena(struct supervise *s, struct daemon *to, char *err, size_t errlen)
{
	int state_fd = pack_state(s), ret;

	if (state_fd < 0) {
		snprintf(err, errlen, "the present device model does not tell its state in another form: %s", strerror(-state_fd));
		return state_fd;
	}
	put(&s->next_fd, new_arena());
	ret = s->next_fd < 0 ? s->next_fd : try_turn(s, to, state_fd, err, errlen);
	close(state_fd);
	if (!ret)
		seal(s->next_fd);
	return ret;
}

static int give_turn(struct supervise *s, struct daemon *to, char *err, size_t errlen)
{
	int ret = open_link(s, true, err, errlen);

	if (!ret)
		ret = copy_arena(s);
	if (ret)
		return ret;
	ret = try_turn(s, to, -1, err, errlen);
	s->converted = ret == -ESTALE;
	return s->converted ? convert_arena(s, to, err, errlen) : ret;
}

static void on_left(evutil_socket_t fd, short what, void *arg)
{
	struct supervise *s = arg;

	(void)fd, (void)what;
	daemon_discard(&s->leaving);
}

static void on_leaves(evutil_socket_t fd, short what, void *arg)
{
	struct supervise *s = arg;

	(void)fd, (void)what;
	event_del(s->leaving.spoke);
}

/* It has nothing to do any more, unless it is busy: its memory is taken apart while the next one serves. */
static void dismiss(struct supervise *s, bool busy)
{
	daemon_discard(&s->leaving);
	daemon_kill(&s->daemon);
	daemon_unwatch(&s->daemon);
	s->leaving = s->daemon;
	if (busy || daemon_watch(&s->leaving, s->vm->base, on_left, on_leaves, s))
		daemon_discard(&s->leaving);
}

/* It is ready, and the last one is still there. */
static int replace(struct supervise *s, const struct daemon *by, bool busy, char *err, size_t errlen)
{
	int ret;

	dismiss(s, busy);
	s->daemon = *by;
	s->at_fault = false;
	ret = take_over(s, err, errlen);
	return ret ? ret : watch(s);
}

static void stay(struct supervise *s, struct daemon *next, int error, const char *why)
{
	daemon_discard(next);
	link_client_drop_next(s->vm->link);
	put(&s->next_fd, -1);
	say_word(&s->daemon, WORD_GO);
	upgrade_refused(s->upgrade, error, *why ? why : strerror(-error));
}

/* From the one that serves to the one that stands by, if there is one: upgrade.h has the picture. */
static void hand_over(struct supervise *s)
{
	struct daemon next;
	char err[600] = "";
	bool busy;
	int ret;

	if (!upgrade_take(s->upgrade, &next))
		return;
	store_release(&s->handing_over, 1);
	ret = hold(s, &busy);
	if (ret == -EPIPE) {		/* on_ended() */
		upgrade_put_back(s->upgrade, &next);
	} else if (ret) {
		stay(s, &next, ret, "the present device model does not come to rest: try again");
	} else if ((ret = give_turn(s, &next, err, sizeof(err)))) {
		stay(s, &next, ret, err);
	} else if ((ret = replace(s, &next, busy, err, sizeof(err)))) {
		give_up(s, ret, *err ? err : strerror(-ret));
	} else {
		adopt_program(s);
		vm_taken_over(s->vm);
	}
	store_release(&s->handing_over, 0);
}

/* Where nobody serves it is the next successor, and another one on its way is sent home. */
static void on_stands_by(void *arg)
{
	struct supervise *s = arg;

	if (s->state == SUPERVISE_SERVING) {
		hand_over(s);
	} else if (s->state != SUPERVISE_NONE) {
		event_del(s->later);
		daemon_discard(&s->daemon);
		start_successor(s);
	}
}

void supervise_upgrade(struct supervise *s, const char *path, upgrade_done *done, void *arg)
{
	upgrade_begin(s->upgrade, path, done, arg);
}

void supervise_forget(struct supervise *s, const void *arg)
{
	upgrade_forget(s->upgrade, arg);
}

/* ---- what happens to it */

/* A system call that its sandbox stopped: which, it has said in the link. */
static void name_forbidden(const struct supervise *s, char *how, size_t n)
{
	uint32_t call = __atomic_load_n(&link_client_link(s->vm->link)->header->forbidden, __ATOMIC_RELAXED);
	char name[40];

	if (call)
		snprintf(how, n, "tried system call %s, which its sandbox forbids", sandbox_call_name(call - 1, name, sizeof(name)));
}

/* Killed from outside is nobody's fault. */
static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct supervise *s = arg;
	bool served = s->state == SUPERVISE_SERVING;
	char how[80], why[LINK_ERR + 80];
	pid_t pid = s->daemon.child.pid;
	int status;

	(void)fd, (void)what;
	status = child_reap(&s->daemon.child, 0, false, how, sizeof(how));
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
		name_forbidden(s, how, sizeof(how));
	daemon_drop(&s->daemon);
	event_del(s->later);
	if (served && now_ms() - s->since > HEALTHY_MS)
		s->failures = 0;
	if (served)
		doubt_program(s, daemon_at_fault(&s->daemon, status));
	pthread_mutex_lock(&s->lock);
	if (*s->why)
		snprintf(why, sizeof(why), "%s", s->why);
	else
		snprintf(why, sizeof(why), "the device model (process %d) %s", pid, how);
	pthread_mutex_unlock(&s->lock);
	if (served) {
		set_state(s, SUPERVISE_WAITING);
		outage_begin(s->outage);
		s->lost = wait_now();
		s->at_fault = daemon_at_fault(&s->daemon, status);
	}
	link_client_lost(s->vm->link, why);	/* which notes it, too */
	pthread_mutex_lock(&s->lock);
	s->why[0] = 0;
	pthread_mutex_unlock(&s->lock);
	if (upgrade_is_taken(s->upgrade)) {	/* it was of another executable: tells nothing of ours */
		upgrade_refused(s->upgrade, -ECANCELED, why);
		go_on(s, NULL, false);
	} else {
		go_on(s, why, daemon_at_fault(&s->daemon, status));
	}
}

/* Once it serves it has nothing more to say: end of file comes shortly before its end, anything else is nonsense. */
static void on_spoke(evutil_socket_t fd, short what, void *arg)
{
	struct supervise *s = arg;
	char byte;
	int got[1];
	unsigned ngot;
	ssize_t n;

	(void)fd, (void)what;
	if (s->state == SUPERVISE_STARTING) {
		on_ready(s);
		return;
	}
	n = fdpass_recv(s->daemon.sock, &byte, 1, got, 0, &ngot, 0);
	if (n == 1 && (byte == WORD_HELD || byte == WORD_HELD_BUSY) && s->late_held) {	/* and has been told to go on already */
		s->late_held = false;
		return;
	}
	event_del(s->daemon.spoke);
	if (n == 0)
		return;
	link_client_lost(s->vm->link, "the device model broke the protocol: it spoke on its socket after it was ready");
}

/* It is of no use any more, alive or not. */
static void on_condemned(evutil_socket_t fd, short what, void *arg)
{
	struct supervise *s = arg;

	(void)fd, (void)what;
	if (s->state != SUPERVISE_SERVING || !link_client_is_lost(s->vm->link))	/* of a predecessor, handed over meanwhile */
		return;
	outage_begin(s->outage);
	kill_it(s, "");
}

/* ---- what the link asks: link.h says on which thread */

static void on_lost(void *arg, const char *why)
{
	struct supervise *s = arg;

	note(s, why);
	event_active(s->condemned, EV_TIMEOUT, 0);
}

static bool is_gone(void *arg)
{
	const struct supervise *s = arg;
	struct pollfd p = { .fd = s->daemon.child.pidfd, .events = POLLIN };

	return s->daemon.child.pid <= 0 || poll(&p, 1, 0) > 0;
}

/* One that a debugger holds may take its time. */
static bool is_overdue(void *arg)
{
	const struct supervise *s = arg;
	char path[40], line[80];
	int tracer = 0;
	FILE *f;

	if (load_acquire(&s->handing_over))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/status", s->daemon.child.pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "TracerPid: %d", &tracer) != 1)
		;
	if (f)
		fclose(f);
	return !tracer;
}

/* ---- life */

void supervise_stop(struct supervise *s)
{
	char how[80];

	event_del(s->later);
	if (s->spare)
		spare_end(s->spare);
	if (s->daemon.child.pid <= 0)
		return;
	if (s->daemon.ended)
		event_del(s->daemon.ended);
	if (s->daemon.spoke)
		event_del(s->daemon.spoke);
	close(s->daemon.sock);
	s->daemon.sock = -1;
	kill(s->daemon.child.pid, SIGCONT);	/* one that was stopped has I/O to finish too */
	child_reap(&s->daemon.child, END_MS, true, how, sizeof(how));
	daemon_drop(&s->daemon);
}

int supervise_new(struct supervise **out, struct vm *vm, int daemon_fd, const char *path)
{
	struct supervise *s = calloc(1, sizeof(*s));
	const struct link_hooks hooks = {
		.arg = s, .lost = on_lost, .gone = is_gone,
		.overdue = vm->config->deadline ? is_overdue : NULL, .deadline_ns = vm->config->deadline * 1000000000ll,
	};
	int ret;

	*out = s;
	if (!s)
		return -ENOMEM;
	*s = (struct supervise){
		.vm = vm, .daemon_fd = daemon_fd, .former_fd = -1, .daemon = DAEMON_NONE, .leaving = DAEMON_NONE,
		.arena_fd = -1, .next_fd = -1, .tried_fd = -1,
	};
	pthread_mutex_init(&s->lock, NULL);
	link_client_set_hooks(vm->link, &hooks);
	s->later = event_new(vm->base, -1, 0, on_later, s);
	s->condemned = event_new(vm->base, -1, 0, on_condemned, s);
	if (!s->later || !s->condemned)
		return -ENOMEM;
	ret = outage_new(&s->outage, vm);
	if (!ret)
		ret = upgrade_new(&s->upgrade, vm, &s->back, path, on_stands_by, s);
	return ret || !vm->config->spare || vm->config->outage == OUTAGE_STOP ? ret : spare_new(&s->spare, vm, &s->back);
}

void supervise_free(struct supervise *s)
{
	if (!s)
		return;
	supervise_stop(s);
	spare_free(s->spare);
	upgrade_free(s->upgrade);
	daemon_discard(&s->leaving);
	daemon_drop(&s->daemon);
	back_ends_close(&s->back);
	outage_free(s->outage);
	put(&s->arena_fd, -1);
	put(&s->next_fd, -1);
	put(&s->tried_fd, -1);
	if (s->later)
		event_free(s->later);
	if (s->condemned)
		event_free(s->condemned);
	pthread_mutex_destroy(&s->lock);
	close(s->daemon_fd);
	put(&s->former_fd, -1);
	free(s);
}

pid_t supervise_pid(const struct supervise *s)
{
	return s->daemon.child.pid;
}

void supervise_info(const struct supervise *s, struct supervise_info *info)
{
	*info = s->info;
	info->state = s->state;
	info->upgrade = upgrade_last(s->upgrade);
	info->pid = s->daemon.child.pid;
	info->age_ms = now_ms() - s->since;
	if (s->spare)
		spare_info(s->spare, &info->spare);
}

void supervise_sandboxes(const struct supervise *s, void (*each)(void *arg, const char *program, pid_t, const struct sandbox *), void *arg)
{
	const struct sandbox *spare;

	if (s->daemon.child.pid > 0)
		each(arg, "cleaved", s->daemon.child.pid, &s->daemon.sandbox);
	if (s->spare && spare_sandbox(s->spare, &spare) > 0)
		each(arg, "cleaved (spare)", spare_sandbox(s->spare, &spare), spare);
	for (unsigned i = 0; i < s->back.n; i++)
		if (s->back.end[i].net && netback_sandbox(s->back.end[i].net))
			each(arg, "cleave-slirp", netback_pid(s->back.end[i].net), netback_sandbox(s->back.end[i].net));
}
