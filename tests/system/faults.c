/*
 * tests/system/faults.c - a cleaved that dies at a labelled step (devmodel/txn.h).
 *
 * Linked with the daemon's own main and libdevmodel_faults.a.  $CLEAVE_FAULTS
 * lists labels; each process that succeeds another chooses one of them, and
 * kills itself at one of its occurrences, soon or late; with a label that ends
 * in "!" it aborts, by its own fault, at the first.  The machine's first process
 * does not: it must come to serve.
 *
 * While there is a file $CLEAVE_ABSENT a process that begins does nothing: an
 * outage as long as the test wants it.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "devmodel/txn.h"

enum { LABELS = 128 };

static char *label;
static unsigned left;		/* occurrences */
static bool own_fault;

/* The first step of a process that succeeds nobody is a transaction's begin. */
static bool succeeds(const char *first)
{
	static enum { UNKNOWN, FIRST, SUCCESSOR } which;

	if (which == UNKNOWN)
		which = strcmp(first, "begin.reserved") ? SUCCESSOR : FIRST;
	return which == SUCCESSOR;
}

static void at_step(const char *at)
{
	if (!succeeds(at) || strcmp(at, label) || --left)
		return;
	dprintf(STDERR_FILENO, "cleaved: dies at %s\n", label);
	if (own_fault)
		abort();
	syscall(SYS_tgkill, getpid(), gettid(), SIGKILL);	/* the one way that its sandbox leaves */
}

__attribute__((constructor)) static void stay_away(void)
{
	const char *file = getenv("CLEAVE_ABSENT");

	while (file && !access(file, F_OK))
		usleep(1000);
}

__attribute__((constructor)) static void choose(void)
{
	static const unsigned within[] = { 1, 8, 64, 512 };
	const char *list = getenv("CLEAVE_FAULTS");
	char *all[LABELS], *mark;
	struct timespec t;
	unsigned n = 0;

	if (!list)
		return;
	clock_gettime(CLOCK_MONOTONIC, &t);
	srandom(t.tv_nsec ^ getpid() << 16);
	for (char *l = strtok(strdup(list), " \n"); l && n < LABELS; l = strtok(NULL, " \n"))
		all[n++] = l;
	if (!n)
		return;
	label = all[random() % n];
	left = 1 + random() % within[random() % 4];
	mark = strchr(label, '!');
	if (mark) {
		*mark = 0;
		own_fault = true;
		left = 1;
	}
	txn_step = at_step;
}
