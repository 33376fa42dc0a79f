/*
 * vmm/irq.c - from a line to the controllers, and from their INTR to a vCPU.
 *
 * Knows which controllers a GSI reaches (irq.h), and that without local APICs
 * the 8259As are wired to the boot processor.
 */
#include "vmm/dev/ioapic.h"
#include "vmm/dev/lapic.h"
#include "vmm/dev/pic.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

enum { ISA_CASCADE = 2 };

static bool has_pic(unsigned gsi)
{
	return gsi < PIC_LINES && gsi != ISA_CASCADE;
}

static bool has_pin(const struct vm *vm, unsigned gsi)
{
	return vm->ioapic && gsi < IOAPIC_PINS && gsi != ISA_CASCADE;
}

static unsigned pin(unsigned gsi)
{
	return gsi ? gsi : IOAPIC_PIN_IRQ0;
}

void irq_set_locked(struct vm *vm, unsigned gsi, bool level)
{
	if (vm->irqchip) {
		vm->irqchip->set(vm, gsi, level);
		return;
	}
	if (has_pic(gsi))
		pic_set_line(vm->pic, gsi, level);
	if (has_pin(vm, gsi))
		ioapic_set_pin(vm->ioapic, pin(gsi), level);
}

void irq_set(struct vm *vm, unsigned gsi, bool level)
{
	pthread_mutex_lock(&vm->dev_lock);
	irq_set_locked(vm, gsi, level);
	pthread_mutex_unlock(&vm->dev_lock);
}

void irq_set_elcr(struct vm *vm, uint16_t levels)
{
	if (vm->irqchip) {
		vm->irqchip->elcr(vm, levels);
		return;
	}
	pic_write(vm->pic, 0x4d0, levels & 0xff);
	pic_write(vm->pic, 0x4d1, levels >> 8);
}

bool irq_has_apics(const struct vm *vm)
{
	return vm->irqchip || vm->ioapic;
}

bool irq_line_masked(const struct vm *vm, unsigned gsi)
{
	if (vm->irqchip)
		return false;
	return (!has_pic(gsi) || pic_masked(vm->pic, gsi)) && (!has_pin(vm, gsi) || ioapic_masked(vm->ioapic, pin(gsi)));
}

/* Masked, an 8259A latches an edge for later and an I/O APIC drops it. */
bool irq_line_pending(const struct vm *vm, unsigned gsi)
{
	bool by_pic, by_pin;

	if (vm->irqchip)
		return vm->irqchip->pending(vm, gsi);
	by_pic = has_pic(gsi) && !pic_masked(vm->pic, gsi);
	by_pin = has_pin(vm, gsi) && !ioapic_masked(vm->ioapic, pin(gsi));
	if (!by_pic && !by_pin)
		return !has_pic(gsi) || pic_pending(vm->pic, gsi);
	return (!by_pic || pic_pending(vm->pic, gsi)) && (!by_pin || ioapic_pending(vm->ioapic, pin(gsi)));
}

void irq_msi_locked(struct vm *vm, uint64_t addr, uint32_t data)
{
	if (vm->irqchip)
		vm->irqchip->msi(vm, addr, data);
	else if (vm->apics)
		(void)apics_msi(vm->apics, addr, data);
}

void irq_msi(struct vm *vm, uint64_t addr, uint32_t data)
{
	pthread_mutex_lock(&vm->dev_lock);
	irq_msi_locked(vm, addr, data);
	pthread_mutex_unlock(&vm->dev_lock);
}

bool irq_pending(const struct vcpu *cpu)
{
	return atomic_load_explicit(&cpu->intr, memory_order_relaxed);
}

/* The 8259As' INT falls with each INTA cycle; what else waits in them is another edge for the I/O APIC. */
static uint8_t acknowledge_pic(struct vm *vm)
{
	uint8_t vector = pic_acknowledge(vm->pic);

	if (vm->ioapic) {
		ioapic_set_pin(vm->ioapic, IOAPIC_PIN_EXTINT, false);
		ioapic_set_pin(vm->ioapic, IOAPIC_PIN_EXTINT, pic_output(vm->pic));
	}
	return vector;
}

uint8_t irq_acknowledge(struct vcpu *cpu)
{
	struct vm *vm = cpu->vm;
	int vector;

	pthread_mutex_lock(&vm->dev_lock);
	vector = cpu->lapic ? lapic_acknowledge(cpu->lapic) : LAPIC_EXTINT;
	if (vector == LAPIC_EXTINT)
		vector = acknowledge_pic(vm);
	pthread_mutex_unlock(&vm->dev_lock);
	return vector;
}

void irq_cpu_output(void *arg, unsigned cpu, bool level)
{
	struct vm *vm = arg;
	struct vcpu *v = &vm->vcpu[cpu];

	/* Pairs with the full fence between "halted" and the last look at intr on the way into HLT (vcpu.c). */
	vcpu_raise_intr(v, level);
	if (level)
		vcpu_wake(v);
}

void irq_output(void *arg, bool level)
{
	struct vm *vm = arg;

	if (!vm->apics) {
		irq_cpu_output(vm, 0, level);
		return;
	}
	apics_lint(vm->apics, 0, level);
	if (vm->ioapic)
		ioapic_set_pin(vm->ioapic, IOAPIC_PIN_EXTINT, level);
}
