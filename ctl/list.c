/*
 * ctl/list.c - which machines run.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/ctl.h"
#include "proto/rundir.h"

static void show(void *arg, const char *name, pid_t pid)
{
	unsigned *n = arg;

	if (!(*n)++)
		printf("%-24s %s\n", "NAME", "PID");
	printf("%-24s %d\n", name, pid);
}

static int list(struct ctl *c, const char *rest, const char *value)
{
	char err[400];
	unsigned n = 0;

	(void)c, (void)rest, (void)value;
	if (rundir_each(show, &n, err, sizeof(err)) < 0)
		return ctl_error(EIO, "%s", err);
	return 0;
}

static int info(struct ctl *c, const char *rest, const char *value)
{
	(void)rest, (void)value;
	if (c->fd < 0 && ctl_connect(c))
		return -EIO;
	printf("vm\t%s\npid\t%u\ncleaved\t%u\ncpus\t%u\n", c->vm, ctl_hello()->pid, ctl_hello()->daemon_pid, ctl_hello()->cpus);
	printf("engine\t%s\n", ctl_hello()->engine);
	if (*ctl_hello()->engine_why)
		printf("no kvm\t%s\n", ctl_hello()->engine_why);
	return 0;
}

const struct verb list_verbs[] = {
	{ "list", TAKES_NOTHING, "the machines that run; the same as no argument at all", list },
	{ "get-info", TAKES_NOTHING, "processes, number of vCPUs, engine", info },
	{ 0 },
};
