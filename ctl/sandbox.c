/*
 * ctl/sandbox.c - what a machine's processes have given up.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "ctl/ctl.h"

static void print(const Cleave__Sandbox *s)
{
	printf("sandbox             %s\n", s->mode);
	for (size_t p = 0; p < s->n_process; p++) {
		const Cleave__SandboxProcess *at = s->process[p];

		printf("\n%-20s%" PRIu32 "\n", at->program, at->pid);
		for (size_t m = 0; m < at->n_measure; m++)
			printf("  %-18s%s\n", at->measure[m]->name, at->measure[m]->state);
	}
}

static int get_sandbox(struct ctl *c, const char *rest, const char *value)
{
	Cleave__GetSandbox get = CLEAVE__GET_SANDBOX__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;

	(void)rest, (void)value;
	q.what_case = CLEAVE__REQUEST__WHAT_GET_SANDBOX;
	q.get_sandbox = &get;
	r = ctl_call(c, &q);
	if (!r)
		return -EIO;
	if (r->what_case == CLEAVE__RESPONSE__WHAT_SANDBOX)
		print(r->sandbox);
	cleave__response__free_unpacked(r, NULL);
	return 0;
}

const struct verb sandbox_verbs[] = {
	{ "get-sandbox", TAKES_NOTHING, "what each process of the machine has given up, and what it could not", get_sandbox },
	{ 0 },
};
