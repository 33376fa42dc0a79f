/*
 * vmm/soft/debug.c - debug registers and what they watch.
 *
 * Owns DR0-DR7.  Execution breakpoints are looked for by the run loop, which
 * steps while any is armed; pages with data breakpoints miss the TLB's hit
 * path; I/O instructions ask after each access.
 *
 * SDM vol. 3 ch. 17.2 (registers), 17.3 (debug exceptions); vol. 2 MOV DR.
 */
#include "vmm/soft/mmu.h"
#include "vmm/soft/ops.h"
#include "vmm/soft/seg.h"
#include "vmm/soft/system.h"
#include "vmm/x86/control.h"

static bool armed(const struct cpu *cpu, unsigned n)
{
	return cpu->dr[7] >> 2 * n & 3;	/* L or G */
}

static unsigned kind(const struct cpu *cpu, unsigned n)
{
	return X86_DR7_RW(cpu->dr[7], n);
}

static unsigned length(const struct cpu *cpu, unsigned n)
{
	static const uint8_t bytes[] = { 1, 2, 8, 4 };

	return bytes[X86_DR7_LEN(cpu->dr[7], n)];
}

static uint64_t start(const struct cpu *cpu, unsigned n)
{
	return cpu->dr[n] & ~(uint64_t)(length(cpu, n) - 1);
}

static bool overlaps(const struct cpu *cpu, unsigned n, uint64_t at, uint64_t len)
{
	return at < start(cpu, n) + length(cpu, n) && start(cpu, n) < at + len;
}

static bool hits(const struct cpu *cpu, unsigned n, bool write)
{
	return armed(cpu, n) && (kind(cpu, n) == X86_BP_ACCESS || (write && kind(cpu, n) == X86_BP_WRITE));
}

/* ---- the debugger's, which the guest does not see */

static bool watch_hits(const struct vcpu_watch *w, uint64_t at, uint64_t len, bool write)
{
	return (write ? w->write : w->read) && at - w->at + len - 1 < w->len + len - 1;
}

bool debug_break_near(const struct cpu *cpu, uint64_t first, uint64_t len)
{
	const struct vcpu_debug *d = &cpu->vcpu->debug;

	for (unsigned i = 0; i < d->nbreaks; i++)
		if (((d->at[i] - first) & PAGE_OFFSET) < len)
			return true;
	return false;
}

bool debug_break_here(const struct cpu *cpu)
{
	const struct vcpu_debug *d = &cpu->vcpu->debug;

	for (unsigned i = 0; i < d->nbreaks; i++)
		if (d->at[i] == cpu_code_linear(cpu, cpu->rip))
			return true;
	return false;
}

static void watch_data(struct cpu *cpu, uint64_t lin, unsigned len, bool write)
{
	struct vcpu_debug *d = &cpu->vcpu->debug;

	for (unsigned i = 0; i < d->nwatches; i++)
		if (watch_hits(&d->watch[i], lin, len, write)) {
			d->watched = true;
			d->hit = d->watch[i].at;
		}
}

/* ---- the guest's */

bool debug_watches(const struct cpu *cpu, uint64_t page, bool write)
{
	for (unsigned i = 0; i < cpu->vcpu->debug.nwatches; i++)
		if (watch_hits(&cpu->vcpu->debug.watch[i], page, PAGE_BYTES, write))
			return true;
	if (!(cpu->dr[7] & X86_DR7_ENABLED))
		return false;
	for (unsigned n = 0; n < 4; n++)
		if (hits(cpu, n, write) && overlaps(cpu, n, page, PAGE_BYTES))
			return true;
	return false;
}

void debug_data(struct cpu *cpu, uint64_t lin, unsigned len, bool write)
{
	watch_data(cpu, lin, len, write);
	for (unsigned n = 0; n < 4; n++)
		if (hits(cpu, n, write) && overlaps(cpu, n, lin, len))
			cpu->pending_db |= 1u << n;
}

void debug_io(struct cpu *cpu, uint16_t port, unsigned size)
{
	if (!(cpu->dr[7] & X86_DR7_ENABLED) || !(cpu->cr4 & X86_CR4_DE))
		return;
	for (unsigned n = 0; n < 4; n++)
		if (armed(cpu, n) && kind(cpu, n) == X86_BP_IO && overlaps(cpu, n, port, size))
			cpu->pending_db |= 1u << n;
}

bool debug_armed_data_io(const struct cpu *cpu)
{
	if (cpu->vcpu->debug.nwatches)
		return true;
	for (unsigned n = 0; n < 4; n++)
		if (armed(cpu, n) && kind(cpu, n) != X86_BP_EXEC)
			return true;
	return false;
}

uint64_t debug_execution(const struct cpu *cpu)
{
	uint64_t lin = cpu->seg[X86_CS].base + cpu->rip, bits = 0;

	if (!cpu_code64(cpu))
		lin = (uint32_t)lin;
	for (unsigned n = 0; n < 4; n++)
		if (armed(cpu, n) && kind(cpu, n) == X86_BP_EXEC && length(cpu, n) == 1 && cpu->dr[n] == lin)
			bits |= 1u << n;
	return bits;
}

void debug_enter(struct cpu *cpu, uint64_t bits)
{
	cpu->dr[6] = (cpu->dr[6] & ~(uint64_t)X86_DR6_B) | bits | X86_DR6_ONES;
	cpu->dr[7] &= ~(uint64_t)X86_DR7_GD;
}

/* ---- MOV to and from debug registers */

/* The register meant, 4 and 5 being 6 and 7 unless CR4.DE says that they are nothing. */
static unsigned debug_register(struct cpu *cpu, unsigned n)
{
	if (n >= 8 || ((n == 4 || n == 5) && (cpu->cr4 & X86_CR4_DE)))
		cpu_fault(cpu, X86_UD, 0);
	need_cpl0(cpu);
	if (cpu->dr[7] & X86_DR7_GD) {
		cpu->pending_db = X86_DR6_BD;	/* handed over with the fault */
		cpu_fault(cpu, X86_DB, 0);
	}
	return n == 4 || n == 5 ? n + 2 : n;
}

void op_mov_from_dr(struct cpu *cpu, const struct insn *in)
{
	unsigned n = debug_register(cpu, in->reg);

	gpr_write(cpu, in->rm, cpu_code64(cpu) ? 8 : 4, cpu->dr[n]);
}

void op_mov_to_dr(struct cpu *cpu, const struct insn *in)
{
	unsigned n = debug_register(cpu, in->reg);
	uint64_t val = gpr_read(cpu, in->rm, cpu_code64(cpu) ? 8 : 4);

	if (n >= 6 && val >> 32)
		cpu_fault(cpu, X86_GP, 0);
	switch (n) {
	case 6:
		cpu->dr[6] = (val & (X86_DR6_B | X86_DR6_BD | X86_DR6_BS | X86_DR6_BT)) | X86_DR6_ONES;
		return;
	case 7:
		cpu->dr[7] = (val & 0xffff27ff) | X86_DR7_ONES;
		break;
	default:
		cpu->dr[n] = val;
	}
	mmu_flush(cpu, true);	/* which pages are watched has changed */
	cpu->recheck = true;
}
