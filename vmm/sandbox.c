/*
 * vmm/sandbox.c - what is known of the sandboxes of a machine's processes (sandbox.h).
 */
#include "vmm/sandbox.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/launcher.h"
#include "vmm/netback.h"
#include "vmm/supervise.h"
#include "vmm/vm.h"

static enum sandbox_mode mode;

static bool has_helpers(const struct config *c)
{
	for (unsigned i = 0; i < c->ndevices; i++)
		for (unsigned k = 0; k < c->device[i].nkeys; k++)
			if (c->device[i].key[k].type == KEY_NET && netback_has_helper(c->device[i].key[k].value))
				return true;
	return false;
}

int vmm_sandbox_choose(const struct config *c)
{
	int ret = 0;

	mode = c->sandbox;
	if (mode == SANDBOX_OFF || SANDBOX_SANITIZED)
		return 0;
	if (has_helpers(c))
		ret = launcher_start(LAUNCHER_OUTSIDE);
	return ret ? ret : launcher_start(LAUNCHER_CELL);
}

enum sandbox_mode vmm_sandbox_mode(void)
{
	return mode;
}

int vmm_sandbox_judge(const char *program, const struct sandbox *s, char *err, size_t errlen)
{
	char missing[400];

	if (mode != SANDBOX_STRICT || sandbox_complete(s, missing, sizeof(missing)))
		return 0;
	snprintf(err, errlen, "the sandbox of %s is not complete: %s; -o sandbox=on starts without", program, missing);
	return -EPERM;
}

void vmm_sandbox_each(struct vm *vm, sandbox_each_fn *each, void *arg)
{
	if (vm->supervise)
		supervise_sandboxes(vm->supervise, each, arg);
}

static void log_one(void *arg, const char *program, pid_t pid, const struct sandbox *s)
{
	const struct vm *vm = arg;
	char missing[400];

	(void)pid;
	if (!sandbox_complete(s, missing, sizeof(missing)))
		fprintf(stderr, "cleave: %s: the sandbox of %s is not complete: %s\n", vm->name, program, missing);
}

void vmm_sandbox_log(struct vm *vm)
{
	if (mode != SANDBOX_OFF)
		vmm_sandbox_each(vm, log_one, vm);
}
