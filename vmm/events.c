/*
 * vmm/events.c - what the device model tells the machine, applied.
 *
 * Owns nothing.  Knows the machine's parts by their headers; must not know
 * rings or sequence numbers (link.c), nor wait for anything but dev_lock.
 *
 * A function here answers NULL, or why no honest daemon would send the event.
 */
#include "vmm/events.h"

#include "vmm/bus.h"
#include "vmm/dev/devs.h"
#include "vmm/irq.h"
#include "vmm/ledger.h"
#include "vmm/link.h"
#include "vmm/mem.h"
#include "vmm/vm.h"

typedef const char *apply_fn(struct vm *, const struct link_event *);

static const struct engine_ops *engine(const struct vm *vm)
{
	return vm->vcpu[0].engine;
}

static const char *apply_irq(struct vm *vm, const struct link_event *e)
{
	if (e->a >= IRQ_LINES)
		return "no such interrupt line";
	irq_set(vm, e->a, e->b);
	return NULL;
}

/* The guest chose address and data: one that no local APIC takes is its own affair. */
static const char *apply_msi(struct vm *vm, const struct link_event *e)
{
	irq_msi(vm, e->addr, (uint32_t)e->value);
	return NULL;
}

static const char *apply_region(struct vm *vm, const struct link_event *e)
{
	struct bus_region g = {
		.base = e->addr, .len = e->value, .flags = e->a, .shadow = e->c, .id = (uint16_t)e->b, .dev = (uint16_t)e->d,
	};
	int err;

	if (e->b >= BUS_REGIONS || e->d >= LINK_CLIENT_DEVICES)
		return "region or device number out of range";
	pthread_mutex_lock(&vm->dev_lock);
	err = bus_set_region(vm->bus, &g);
	pthread_mutex_unlock(&vm->dev_lock);
	return err ? "a region that cannot be" : NULL;
}

static const char *apply_memmap(struct vm *vm, const struct link_event *e)
{
	uint64_t offset = e->c | (uint64_t)e->d << 32;
	int err;

	pthread_mutex_lock(&vm->dev_lock);
	err = mem_set_map(vm->mem, e->b, e->a, e->addr, e->value, offset);
	pthread_mutex_unlock(&vm->dev_lock);
	if (err)
		return "a memory map that cannot be";
	engine(vm)->map_changed(vm);
	return NULL;
}

static const char *apply_code(struct vm *vm, const struct link_event *e)
{
	engine(vm)->code_changed(vm, e->addr, e->value);
	return NULL;
}

static const char *apply_a20(struct vm *vm, const struct link_event *e)
{
	devs_a20_kbc(vm, e->a);
	return NULL;
}

static const char *apply_power(struct vm *vm, const struct link_event *e)
{
	static const struct {
		enum vm_request request;
		const char *why;
	} table[] = {
		[LINK_POWER_OFF] = { VM_REQUEST_POWEROFF, "the guest powered off" },
		[LINK_POWER_RESET] = { VM_REQUEST_RESET, "the guest asked for a reset" },
		[LINK_POWER_EXIT] = { VM_REQUEST_EXIT, "the guest wrote to the debug exit port" },
		[LINK_POWER_PANIC] = { VM_REQUEST_PANIC, "the guest reports a panic" },
	};

	if (e->a >= sizeof(table) / sizeof(table[0]) || !table[e->a].why)
		return "no such power event";
	vm_request(vm, table[e->a].request, e->b, table[e->a].why);
	return NULL;
}

static const char *apply_nmi(struct vm *vm, const struct link_event *e)
{
	(void)e;
	devs_nmi(vm);
	return NULL;
}

static const char *apply_pmbase(struct vm *vm, const struct link_event *e)
{
	if (e->addr > UINT16_MAX)
		return "a power management base beyond the ports";
	devs_pmbase(vm, (uint16_t)e->addr, e->value);
	return NULL;
}

static const char *apply_service(struct vm *vm, const struct link_event *e)
{
	if (vm->ledger)
		ledger_service(vm->ledger, e->a, e->b);
	return NULL;
}

const char *event_apply(struct vm *vm, const struct link_event *e)
{
	static apply_fn *const table[LINK_EV_KINDS] = {
		[LINK_EV_IRQ] = apply_irq,
		[LINK_EV_MSI] = apply_msi,
		[LINK_EV_REGION] = apply_region,
		[LINK_EV_MEMMAP] = apply_memmap,
		[LINK_EV_PMBASE] = apply_pmbase,
		[LINK_EV_A20] = apply_a20,
		[LINK_EV_CODE] = apply_code,
		[LINK_EV_POWER] = apply_power,
		[LINK_EV_NMI] = apply_nmi,
		[LINK_EV_SERVICE] = apply_service,
	};

	if (e->kind >= LINK_EV_KINDS || !table[e->kind])
		return "no such event";
	return table[e->kind](vm, e);
}
