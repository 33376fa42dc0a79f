/*
 * vmm/dev/apics.c - the bus between local APICs: who a message is for.
 *
 * SDM vol. 3 section 11.6.2 (destinations), 11.11 (message signalled
 * interrupts).  Lowest priority goes to the least busy processor, in turn among
 * equals.
 */
#include <stdlib.h>

#include "vmm/dev/lapic.h"

#define MSI_BASE	0xfee00000ull
#define MSI_SPAN	0x00100000ull
#define MSI_LOGICAL	(1u << 2)
#define MSI_ASSERT	(1u << 14)
#define MSI_LEVEL	(1u << 15)

enum { NOBODY = UINT32_MAX };

struct apics {
	struct apic_wires wires;
	unsigned cpus;
	unsigned turn;			/* who took the last lowest-priority message */
	struct lapic *cpu[];
};

struct lapic *apics_cpu(struct apics *a, unsigned cpu)
{
	return a->cpu[cpu];
}

static bool send_lowest(struct apics *a, const struct apic_message *m, unsigned but)
{
	unsigned best = NOBODY;

	for (unsigned i = 1; i <= a->cpus; i++) {
		unsigned n = (a->turn + i) % a->cpus;

		if (n == but || !lapic_enabled(a->cpu[n]) || !lapic_addressed(a->cpu[n], m->dest, m->logical))
			continue;
		if (best == NOBODY || lapic_priority(a->cpu[n]) < lapic_priority(a->cpu[best]))
			best = n;
	}
	if (best == NOBODY)
		return false;
	a->turn = best;
	return lapic_takes(a->cpu[best], m->delivery, m->vector, m->level);
}

bool apics_send_but(struct apics *a, const struct apic_message *m, unsigned but)
{
	bool taken = false;

	if (m->delivery == APIC_LOWEST)
		return send_lowest(a, m, but);
	for (unsigned n = 0; n < a->cpus; n++)
		if (n != but && lapic_addressed(a->cpu[n], m->dest, m->logical))
			taken |= lapic_takes(a->cpu[n], m->delivery, m->vector, m->level);
	return taken;
}

bool apics_send(struct apics *a, const struct apic_message *m)
{
	return apics_send_but(a, m, NOBODY);
}

bool apics_msi(struct apics *a, uint64_t addr, uint32_t data)
{
	struct apic_message m = {
		.dest = apic_dest8(addr >> 12 & 0xff, addr & MSI_LOGICAL), .logical = addr & MSI_LOGICAL,
		.level = data & MSI_LEVEL, .delivery = data >> 8 & 7, .vector = data & 0xff,
	};

	if (addr - MSI_BASE >= MSI_SPAN || (m.level && !(data & MSI_ASSERT)))
		return false;
	return apics_send(a, &m);
}

bool apics_requested(const struct apics *a, const struct apic_message *m)
{
	for (unsigned n = 0; n < a->cpus; n++)
		if (lapic_addressed(a->cpu[n], m->dest, m->logical) && !lapic_requested(a->cpu[n], m->vector))
			return false;
	return true;
}

void apics_lint(struct apics *a, unsigned pin, bool level)
{
	for (unsigned n = 0; n < a->cpus; n++)
		lapic_lint(a->cpu[n], pin, level);
}

void apics_reset(struct apics *a)
{
	a->turn = 0;
	for (unsigned n = 0; n < a->cpus; n++)
		lapic_reset(a->cpu[n]);
}

struct apics *apics_new(struct timers *timers, unsigned cpus, uint64_t (*tsc_hz)(void), const struct apic_wires *wires)
{
	struct apics *a = calloc(1, sizeof(*a) + cpus * sizeof(a->cpu[0]));

	if (!a)
		return NULL;
	a->wires = *wires;
	for (a->cpus = 0; a->cpus < cpus; a->cpus++) {
		a->cpu[a->cpus] = lapic_new(a, a->cpus, timers, tsc_hz, &a->wires);
		if (!a->cpu[a->cpus]) {
			apics_free(a);
			return NULL;
		}
	}
	return a;
}

void apics_free(struct apics *a)
{
	if (!a)
		return;
	for (unsigned n = 0; n < a->cpus; n++)
		lapic_free(a->cpu[n]);
	free(a);
}
