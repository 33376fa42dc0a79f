/*
 * vmm/kvm/debug.c - the debugger's breakpoints, watchpoints and steps by the
 * kernel: KVM_SET_GUEST_DEBUG.
 *
 * The processor's four debug registers, which the kernel keeps apart from the
 * guest's, are the watchpoints' first, for nothing else can do those; what is
 * left are breakpoints.  More breakpoints than that: every instruction is a
 * step, and its address looked up.  Memory is never patched.
 *
 * SDM vol. 3 section 17.2 (DR6, DR7).
 */
#include <errno.h>
#include <string.h>

#include "vmm/kvm/kvm.h"
#include "vmm/x86/control.h"
#include "vmm/x86/exception.h"

enum { REGISTERS = 4 };

/* ---- debug registers */

/* The longest aligned piece of a watched range; DR7's code for its length. */
static unsigned piece(uint64_t at, uint64_t len, unsigned *code)
{
	static const uint8_t codes[] = { [1] = 0, [2] = 1, [4] = 3, [8] = 2 };
	unsigned n = 8;

	while (n > len || at % n)
		n /= 2;
	*code = codes[n];
	return n;
}

static void arm(struct kvm_guest_debug *g, unsigned i, uint64_t at, unsigned kind, unsigned len)
{
	g->arch.debugreg[i] = at;
	g->arch.debugreg[7] |= 2ull << 2 * i | (uint64_t)(kind | len << 2) << (16 + 4 * i);
}

/* How many registers the watchpoints take; all of them and one more: too many. */
static unsigned arm_watches(const struct vcpu_debug *d, struct kvm_guest_debug *g)
{
	unsigned used = 0, code;

	for (unsigned i = 0; i < d->nwatches; i++) {
		const struct vcpu_watch *w = &d->watch[i];

		for (uint64_t at = w->at, end = w->at + w->len, n; at < end; at += n) {
			if (used == REGISTERS)
				return REGISTERS + 1;
			n = piece(at, end - at, &code);
			arm(g, used++, at, w->read ? X86_BP_ACCESS : X86_BP_WRITE, code);
		}
	}
	return used;
}

static struct kvm_guest_debug wanted(const struct vcpu_debug *d)
{
	struct kvm_guest_debug g = { .arch.debugreg[7] = X86_DR7_ONES };
	unsigned used = arm_watches(d, &g);
	bool fit = used + d->nbreaks <= REGISTERS;

	for (unsigned i = 0; fit && !d->pass && i < d->nbreaks; i++)
		arm(&g, used + i, d->at[i], X86_BP_EXEC, 0);
	if (d->step || d->pass || !fit)
		g.control |= KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_BLOCKIRQ;
	if (g.arch.debugreg[7] != X86_DR7_ONES)
		g.control |= KVM_GUESTDBG_USE_HW_BP;
	if (g.control)
		g.control |= KVM_GUESTDBG_ENABLE;
	return g;
}

int kvm_debug_changed(struct vcpu *v)
{
	struct kvm_guest_debug g = { 0 };

	return arm_watches(&v->debug, &g) > REGISTERS ? -ENOSPC : 0;
}

/* BLOCKIRQ is younger than the rest: without it an interrupt may come first. */
int kvm_debug_apply(struct kvm_cpu *k)
{
	struct kvm_guest_debug g = wanted(&k->vcpu->debug);
	int ret;

	if (!memcmp(&g, &k->debug, sizeof(g)))
		return 0;
	k->debug = g;
	ret = KVM_IOCTL(k->fd, KVM_SET_GUEST_DEBUG, &g);
	if (ret != -EINVAL || !(g.control & KVM_GUESTDBG_BLOCKIRQ))
		return ret;
	g.control &= ~KVM_GUESTDBG_BLOCKIRQ;
	return KVM_IOCTL(k->fd, KVM_SET_GUEST_DEBUG, &g);
}

/* ---- stops */

static bool stop(struct vcpu_debug *d, enum vcpu_stop why)
{
	d->why = why;
	return true;
}

static bool break_at(const struct vcpu_debug *d, uint64_t linear)
{
	for (unsigned i = 0; i < d->nbreaks; i++)
		if (d->at[i] == linear)
			return true;
	return false;
}

/* The watchpoint whose register was hit. */
static bool watch_hit(const struct kvm_cpu *k, uint64_t dr6, uint64_t *at)
{
	for (unsigned i = 0; i < REGISTERS; i++)
		if ((dr6 >> i & 1) && X86_DR7_RW(k->debug.arch.debugreg[7], i) != X86_BP_EXEC) {
			*at = k->debug.arch.debugreg[i];
			return true;
		}
	return false;
}

bool kvm_debug_stops(struct kvm_cpu *k)
{
	struct vcpu_debug *d = &k->vcpu->debug;
	uint64_t dr6 = k->run->debug.arch.dr6;
	bool stepped = dr6 & X86_DR6_BS;

	if (stepped)
		d->pass = false;
	if (watch_hit(k, dr6, &d->hit))
		return stop(d, STOP_WATCH);
	if (d->step && stepped)
		return stop(d, STOP_STEP);
	if (!break_at(d, k->run->debug.arch.pc))
		return false;
	d->pass = true;
	return stop(d, STOP_BREAK);
}
