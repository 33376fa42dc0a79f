/*
 * vmm/dev/devs.c - the list of the in-engine devices.
 */
#include <errno.h>

#include "vmm/dev/devs.h"
#include "vmm/dev/pic.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

int devs_new(struct vm *vm, char *err, size_t errlen)
{
	(void)err, (void)errlen;
	vm->pic = pic_new(irq_output, vm);
	return vm->pic ? 0 : -ENOMEM;
}

void devs_free(struct vm *vm)
{
	if (vm->pic)
		pic_free(vm->pic);
}

void devs_reset(struct vm *vm)
{
	pic_reset(vm->pic);
}
