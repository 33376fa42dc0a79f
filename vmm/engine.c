/*
 * vmm/engine.c - which engine a machine gets.
 *
 * `auto` takes KVM where it makes this machine and a trial guest in it runs as
 * it should (vmm/kvm/probe.c), and the soft engine everywhere else: it needs
 * nothing.  Why it was not KVM is kept for whoever asks.
 */
#include "vmm/engine.h"

#include <stdio.h>

#include "vmm/config.h"
#include "vmm/kvm/probe.h"
#include "vmm/vm.h"

static int take(struct vm *vm, const struct engine_ops *engine, char *err, size_t errlen)
{
	int ret = engine->vm_new(vm, err, errlen);

	if (!ret)
		vm->engine = engine;
	return ret;
}

static int take_best(struct vm *vm, char *err, size_t errlen)
{
	char *why = vm->engine_why;

	if (kvm_probe(&kvm_linux, KVM_PROBE_SPEED, why, sizeof(vm->engine_why)) || take(vm, &kvm_engine, why, sizeof(vm->engine_why)))
		return take(vm, &soft_engine, err, errlen);
	return 0;
}

int engine_choose(struct vm *vm, char *err, size_t errlen)
{
	switch (vm->config->engine) {
	case ENGINE_SOFT:
		return take(vm, &soft_engine, err, errlen);
	case ENGINE_KVM:
		return take(vm, &kvm_engine, err, errlen);
	default:
		return take_best(vm, err, errlen);
	}
}
