/*
 * vmm/irq.c - from a line to the controllers, and from their INTR to a vCPU.
 *
 * Knows which controller a GSI reaches: 0-15 the 8259As; 16-23 have no
 * controller until there is an I/O APIC.
 */
#include "vmm/dev/pic.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

void irq_set_locked(struct vm *vm, unsigned gsi, bool level)
{
	if (gsi < PIC_LINES)
		pic_set_line(vm->pic, gsi, level);
}

void irq_set(struct vm *vm, unsigned gsi, bool level)
{
	pthread_mutex_lock(&vm->dev_lock);
	irq_set_locked(vm, gsi, level);
	pthread_mutex_unlock(&vm->dev_lock);
}

bool irq_pending(const struct vcpu *cpu)
{
	return atomic_load_explicit(&cpu->intr, memory_order_relaxed);
}

uint8_t irq_acknowledge(struct vcpu *cpu)
{
	struct vm *vm = cpu->vm;
	uint8_t vector;

	pthread_mutex_lock(&vm->dev_lock);
	vector = pic_acknowledge(vm->pic);
	pthread_mutex_unlock(&vm->dev_lock);
	return vector;
}

/* INTR of the 8259As is wired to the boot processor. */
void irq_output(void *arg, bool level)
{
	struct vm *vm = arg;
	struct vcpu *boot = vm->vcpu;

	/* Pairs with the full fence between "halted" and the last look at intr on the way into HLT (vcpu.c). */
	atomic_store_explicit(&boot->intr, level, memory_order_seq_cst);
	if (level)
		vcpu_wake(boot);
}
