/*
 * vmm/daemon.c - one device-model process (daemon.h).
 *
 * Must not know: machines, links, generations.
 */
#include "vmm/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/fdpass.h"
#include "proto/config.pb-c.h"
#include "vmm/introduce.h"
#include "vmm/sandbox.h"

/* ---- started and ended */

int daemon_spawn(struct daemon *d, int program)
{
	int mounts = launcher_mounts();
	char *argv[] = { (char *)"cleaved", (char *)"--socket=3", NULL, NULL };
	int sv[2], ret = fdpass_pair(sv);

	if (ret)
		return ret;
	if (vmm_sandbox_mode() == SANDBOX_OFF)
		argv[2] = (char *)"--no-sandbox";
	else if (mounts >= 0)
		argv[2] = (char *)"--cell=4";
	ret = child_spawn(&d->child, LAUNCHER_CELL, program, argv, (int[]){ sv[1], mounts }, mounts < 0 ? 1 : 2);
	close(sv[1]);
	d->sock = sv[0];
	d->killed = d->outside = false;
	return ret;
}

int daemon_watch(struct daemon *d, struct event_base *base, event_callback_fn ended, event_callback_fn spoke, void *arg)
{
	d->ended = event_new(base, d->child.pidfd, EV_READ, ended, arg);
	d->spoke = event_new(base, d->sock, EV_READ | EV_PERSIST, spoke, arg);
	return d->ended && d->spoke && !event_add(d->ended, NULL) && !event_add(d->spoke, NULL) ? 0 : -ENOMEM;
}

void daemon_unwatch(struct daemon *d)
{
	if (d->ended)
		event_free(d->ended);
	if (d->spoke)
		event_free(d->spoke);
	d->ended = d->spoke = NULL;
}

void daemon_drop(struct daemon *d)
{
	daemon_unwatch(d);
	if (d->sock >= 0)
		close(d->sock);
	d->sock = -1;
}

void daemon_kill(struct daemon *d)
{
	if (d->child.pid <= 0)
		return;
	d->killed = true;
	kill(d->child.pid, SIGKILL);
}

void daemon_discard(struct daemon *d)
{
	char how[80];

	daemon_kill(d);		/* before the end of the socket tells it to finish its work */
	daemon_drop(d);
	child_reap(&d->child, 0, true, how, sizeof(how));
}

bool daemon_at_fault(const struct daemon *d, int status)
{
	return d->killed || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL;
}

void daemon_ended_early(struct daemon *d, char *err, size_t errlen)
{
	char how[80];
	int status = child_reap(&d->child, 2000, false, how, sizeof(how));

	if (status < 0)
		child_reap(&d->child, 0, true, how, sizeof(how));
	else
		d->outside = !daemon_at_fault(d, status);
	snprintf(err, errlen, "the device model did not start: it %s", how);
}

/* ---- heard */

/* Its sentence, for a terminal. */
static void printable(char *to, size_t n, const char *text)
{
	size_t i = 0;

	for (; text && *text && i + 1 < n; text++)
		to[i++] = (unsigned char)*text < ' ' || (unsigned char)*text == 0x7f ? ' ' : *text;
	to[i] = 0;
}

/* Missing measures are none, those that only it knows are left out; its namespaces are not its own doing. */
static void read_sandbox(struct sandbox *s, const Cleave__DaemonReply *r)
{
	*s = (struct sandbox){ { 0 } };
	for (size_t m = 0; m < r->n_sandbox && m < SANDBOX_MEASURES; m++)
		s->state[m] = r->sandbox[m];
	for (enum sandbox_measure m = SANDBOX_USERS; m < SANDBOX_FILES; m++)
		s->state[m] = SANDBOX_SANITIZED && vmm_sandbox_mode() != SANDBOX_OFF ? SANDBOX_SANITIZER : launcher_cell()->state[m];
}

int daemon_judge(const uint8_t *frame, size_t n, struct sandbox *sandbox, char *err, size_t errlen)
{
	Cleave__DaemonReply *r = cleave__daemon_reply__unpack(NULL, n, frame);
	int ret = 0;

	if (!r) {
		snprintf(err, errlen, "the device model's answer makes no sense");
		return -EPROTO;
	}
	if (!r->ready && !r->standing_by) {
		printable(err, errlen, r->error);
		if (!*err)
			snprintf(err, errlen, "the device model refuses, and does not say why");
		ret = r->wants_state ? -ESTALE : -ECANCELED;
	} else if (r->version != INTRODUCE_VERSION) {
		snprintf(err, errlen, "the device model speaks version %u of the configuration, this program %d: "
			 "are both of one build?", r->version, INTRODUCE_VERSION);
		ret = -EPROTO;
	} else {
		ret = !r->ready;
	}
	read_sandbox(sandbox, r);
	cleave__daemon_reply__free_unpacked(r, NULL);
	return ret;
}

int daemon_reply(struct daemon *d, int ms, char *err, size_t errlen)
{
	uint8_t *frame = malloc(INTRODUCE_FRAME);
	unsigned nfds = 0;
	ssize_t n;
	int none[1], ret;

	if (!frame)
		return -ENOMEM;
	n = fdpass_recv(d->sock, frame, INTRODUCE_FRAME, none, 0, &nfds, ms);
	if (n > 0) {
		ret = daemon_judge(frame, n, &d->sandbox, err, errlen);
		if (ret >= 0 && vmm_sandbox_judge("cleaved", &d->sandbox, err, errlen))
			ret = -ECANCELED;
	} else if (n == 0 || n == -ECONNRESET || n == -EPIPE) {
		daemon_ended_early(d, err, errlen);
		ret = -EPIPE;
	} else if (n == -EAGAIN) {
		snprintf(err, errlen, "the device model is not ready after %d s", ms / 1000);
		ret = -ETIMEDOUT;
	} else {
		snprintf(err, errlen, "the device model's answer makes no sense: %s", strerror(-n));
		ret = -EPROTO;
	}
	free(frame);
	return ret;
}
