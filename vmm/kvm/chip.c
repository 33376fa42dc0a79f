/*
 * vmm/kvm/chip.c - the kernel's interrupt controllers.
 *
 * The 8259As, the I/O APIC and the local APIC are the kernel's, and so are HLT
 * and INTR; clocks stay ours (vmm/dev) and drive lines.  GSIs are routed as
 * vmm/irq.h says.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/dev/ioapic.h"
#include "vmm/dev/pic.h"
#include "vmm/irq.h"
#include "vmm/kvm/kvm.h"
#include "vmm/vm.h"

enum { CASCADE = 2, CHIP_LINES = 8 };

static struct kvm_vm *kvm_of(const struct vm *vm)
{
	return vm->engine_vm;
}

static void chip_set(struct vm *vm, unsigned gsi, bool level)
{
	struct kvm_irq_level l = { .irq = gsi, .level = level };

	KVM_IOCTL(kvm_of(vm)->fd, KVM_IRQ_LINE, &l);
}

static void chip_msi(struct vm *vm, uint64_t addr, uint32_t data)
{
	struct kvm_msi m = { .address_lo = (uint32_t)addr, .address_hi = (uint32_t)(addr >> 32), .data = data };

	KVM_IOCTL(kvm_of(vm)->fd, KVM_SIGNAL_MSI, &m);
}

/* Of the 8259As, which know; an I/O APIC's edge is gone once it is sent. */
static bool chip_pending(const struct vm *vm, unsigned gsi)
{
	struct kvm_irqchip c = { .chip_id = gsi < CHIP_LINES ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE };

	if (gsi >= PIC_LINES || KVM_IOCTL(kvm_of(vm)->fd, KVM_GET_IRQCHIP, &c))
		return false;
	return c.chip.pic.irr & ~c.chip.pic.imr & 1u << gsi % CHIP_LINES;
}

static void chip_elcr(struct vm *vm, uint16_t levels)
{
	static const unsigned ids[] = { KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE };

	for (unsigned i = 0; i < 2; i++) {
		struct kvm_irqchip c = { .chip_id = ids[i] };

		if (KVM_IOCTL(kvm_of(vm)->fd, KVM_GET_IRQCHIP, &c))
			continue;
		c.chip.pic.elcr = (uint8_t)(levels >> 8 * i) & c.chip.pic.elcr_mask;
		KVM_IOCTL(kvm_of(vm)->fd, KVM_SET_IRQCHIP, &c);
	}
}

/* As after KVM_CREATE_IRQCHIP: the lines' levels are not part of it. */
static void chip_reset(struct vm *vm)
{
	struct kvm_vm *kvm = kvm_of(vm);

	for (unsigned i = 0; i < KVM_NR_IRQCHIPS; i++) {
		struct kvm_irqchip c = { .chip_id = i };

		if (!KVM_IOCTL(kvm->fd, KVM_GET_IRQCHIP, &c)) {
			struct kvm_irqchip fresh = kvm->chips[i];

			if (i == KVM_IRQCHIP_IOAPIC) {
				fresh.chip.ioapic.irr = c.chip.ioapic.irr;
			} else {
				fresh.chip.pic.last_irr = c.chip.pic.last_irr;
			}
			KVM_IOCTL(kvm->fd, KVM_SET_IRQCHIP, &fresh);
		}
	}
}

static const struct irqchip_ops chip_ops = {
	.set = chip_set, .pending = chip_pending, .msi = chip_msi, .elcr = chip_elcr, .reset = chip_reset,
};

/* ---- made */

enum { ROUTES = PIC_LINES + IRQ_LINES };

union routing {
	struct kvm_irq_routing list;
	uint8_t room[sizeof(struct kvm_irq_routing) + ROUTES * sizeof(struct kvm_irq_routing_entry)];
};

static void route(union routing *r, unsigned gsi, unsigned chip, unsigned pin)
{
	r->list.entries[r->list.nr++] = (struct kvm_irq_routing_entry){
		.gsi = gsi, .type = KVM_IRQ_ROUTING_IRQCHIP, .u.irqchip = { .irqchip = chip, .pin = pin },
	};
}

static int route_lines(struct kvm_vm *kvm)
{
	union routing r = { .list.nr = 0 };

	for (unsigned gsi = 0; gsi < IRQ_LINES; gsi++) {
		if (gsi == CASCADE)
			continue;
		if (gsi < PIC_LINES)
			route(&r, gsi, gsi < CHIP_LINES ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, gsi % CHIP_LINES);
		route(&r, gsi, KVM_IRQCHIP_IOAPIC, gsi ? gsi : IOAPIC_PIN_IRQ0);
	}
	return KVM_IOCTL(kvm->fd, KVM_SET_GSI_ROUTING, &r);
}

static bool has(const struct kvm_vm *kvm, unsigned cap)
{
	return kvm_ioctl(kvm->fd, KVM_CHECK_EXTENSION, cap) > 0;
}

int kvm_chip_new(struct kvm_vm *kvm, char *err, size_t errlen)
{
	int ret;

	if (!has(kvm, KVM_CAP_IRQCHIP) || !has(kvm, KVM_CAP_IRQ_ROUTING) || !has(kvm, KVM_CAP_SIGNAL_MSI))
		return 0;		/* ours, then */
	ret = kvm_ioctl(kvm->fd, KVM_CREATE_IRQCHIP, 0);
	if (!ret)
		ret = route_lines(kvm);
	for (unsigned i = 0; i < KVM_NR_IRQCHIPS && !ret; i++) {
		kvm->chips[i].chip_id = i;
		ret = KVM_IOCTL(kvm->fd, KVM_GET_IRQCHIP, &kvm->chips[i]);
	}
	if (ret) {
		snprintf(err, errlen, "KVM makes no interrupt controllers: %s; try -o kvm.irqchip=engine", strerror(-ret));
		return ret;
	}
	kvm->chip = true;
	kvm->vm->irqchip = &chip_ops;
	return 0;
}
