/*
 * ctl/life.c - pause, resume, reset, end.
 */
#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "ctl/ctl.h"
#include "proto/rundir.h"

enum { END_MS = 20000, LOOK_MS = 10 };

static int act(struct ctl *c, Cleave__Action action)
{
	Cleave__Act a = CLEAVE__ACT__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;

	a.action = action;
	a.cpu = c->cpu;
	q.what_case = CLEAVE__REQUEST__WHAT_ACT;
	q.act = &a;
	r = ctl_call(c, &q);
	if (!r)
		return -EIO;
	cleave__response__free_unpacked(r, NULL);
	return 0;
}

/* Returns when the name is free again, so that a script may start its successor. */
static int wait_end(struct ctl *c)
{
	const struct timespec look = { .tv_nsec = LOOK_MS * 1000000l };

	ctl_close(c);
	for (unsigned ms = 0; ms < END_MS; ms += LOOK_MS) {
		if (!rundir_owner(c->dir))
			return 0;
		nanosleep(&look, NULL);
	}
	return ctl_error(ETIMEDOUT, "%s: still there after %d s", c->vm, END_MS / 1000);
}

#define VERB(name, action) \
	static int name(struct ctl *c, const char *rest, const char *value) \
	{ \
		(void)rest, (void)value; \
		return act(c, CLEAVE__ACTION__ACTION_##action); \
	}
VERB(inject_nmi, INJECT_NMI)
VERB(pause_vm, PAUSE)
VERB(resume_vm, RESUME)
VERB(force_reset, FORCE_RESET)
VERB(power_button, POWER_BUTTON)

static int force_poweroff(struct ctl *c, const char *rest, const char *value)
{
	int ret = act(c, CLEAVE__ACTION__ACTION_FORCE_POWEROFF);

	(void)rest, (void)value;
	return ret ? ret : wait_end(c);
}

static int destroy(struct ctl *c, const char *rest, const char *value)
{
	int ret = act(c, CLEAVE__ACTION__ACTION_DESTROY);

	(void)rest, (void)value;
	return ret ? ret : wait_end(c);
}

const struct verb life_verbs[] = {
	{ "inject-nmi", TAKES_NOTHING, "a non-maskable interrupt to --cpu", inject_nmi },
	{ "pause", TAKES_NOTHING, "stops vCPUs and the machine's clock", pause_vm },
	{ "resume", TAKES_NOTHING, "goes on", resume_vm },
	{ "power-button", TAKES_NOTHING, "presses it: a guest with ACPI shuts down", power_button },
	{ "force-reset", TAKES_NOTHING, "resets the machine in place", force_reset },
	{ "force-poweroff", TAKES_NOTHING, "ends the machine as if it had powered off (status 0)", force_poweroff },
	{ "destroy", TAKES_NOTHING, "ends the machine (status 1)", destroy },
	{ 0 },
};
