/*
 * vmm/exit.c - what each exit of an engine means to the VM: one handler each.
 *
 * Called on the vCPU's thread, between two calls of engine->run().
 */
#include <stdio.h>

#include "vmm/config.h"
#include "vmm/inout.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

/* The gate is looked at before the next run. */
static void exit_kicked(struct vcpu *v)
{
	(void)v;
}

/* Without a device model the vCPU sleeps, its request kept: whoever ends the outage, or the VM, kicks. */
static void exit_pending(struct vcpu *v)
{
	if (inout_wait(v) == INOUT_LOST)
		vcpu_doze(v);
}

static void exit_hlt(struct vcpu *v)
{
	vcpu_halt(v, false);
}

static void exit_mwait(struct vcpu *v)
{
	vcpu_nap(v);
}

/* -o halt= and -o triple_fault= */
static void end_as_configured(struct vcpu *v, unsigned end, enum vm_request request, const char *what)
{
	char why[80];

	if (end == END_WAIT) {
		vcpu_halt(v, true);
		return;
	}
	vcpu_stop(v);
	snprintf(why, sizeof(why), "vCPU %u: %s", v->id, what);
	vm_request(v->vm, end == END_RESET ? VM_REQUEST_RESET : request, 0, why);
}

static void exit_hlt_forever(struct vcpu *v)
{
	end_as_configured(v, v->vm->config->halt, VM_REQUEST_HALT, "halted with interrupts off");
}

static void exit_triple_fault(struct vcpu *v)
{
	end_as_configured(v, v->vm->config->triple_fault, VM_REQUEST_TRIPLE_FAULT, "triple fault");
}

static void exit_error(struct vcpu *v)
{
	vcpu_stop(v);
	vm_request(v->vm, VM_REQUEST_ERROR, 0, v->error);
}

static void exit_debug(struct vcpu *v)
{
	vm_debug_stop(v->vm);
}

const char *const exit_names[EXIT_COUNT] = {
	[EXIT_KICKED] = "kicked",
	[EXIT_PENDING] = "pending",
	[EXIT_HLT] = "hlt",
	[EXIT_HLT_FOREVER] = "hlt_forever",
	[EXIT_MWAIT] = "mwait",
	[EXIT_TRIPLE_FAULT] = "triple_fault",
	[EXIT_ERROR] = "error",
	[EXIT_DEBUG] = "debug",
};

static void (*const exit_table[EXIT_COUNT])(struct vcpu *) = {
	[EXIT_KICKED] = exit_kicked,
	[EXIT_PENDING] = exit_pending,
	[EXIT_HLT] = exit_hlt,
	[EXIT_HLT_FOREVER] = exit_hlt_forever,
	[EXIT_MWAIT] = exit_mwait,
	[EXIT_TRIPLE_FAULT] = exit_triple_fault,
	[EXIT_ERROR] = exit_error,
	[EXIT_DEBUG] = exit_debug,
};

void exit_handle(struct vcpu *v, enum vcpu_exit exit)
{
	exit_table[exit](v);
}
