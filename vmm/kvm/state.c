/*
 * vmm/kvm/state.c - registers of a vCPU: struct x86_state to the kernel's and back.
 *
 * Power-up state is the kernel's own: what a vCPU has before its first
 * instruction is read once and put back at each reset, so that nothing that the
 * kernel keeps (a clock page of the guest's, MTRRs) outlives one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/apic.h"
#include "vmm/kvm/kvm.h"
#include "vmm/mem.h"
#include "vmm/vm.h"
#include "vmm/x86/control.h"
#include "vmm/x86/flags.h"
#include "vmm/x86/msr.h"
#include "vmm/x86/paging.h"
#include "vmm/x86/segment.h"

struct kvm_power_on {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debug;
	struct kvm_vcpu_events events;
	struct kvm_lapic_state lapic;
	struct kvm_mp_state mp;
	struct kvm_msrs *msrs;		/* one by one: a kernel stops at the first that it refuses */
	struct kvm_xsave xsave;		/* the last: it may grow */
};

/* ---- model-specific registers */

union one_msr {
	struct kvm_msrs list;
	uint8_t room[sizeof(struct kvm_msrs) + sizeof(struct kvm_msr_entry)];
};

static bool get_msr(const struct kvm_cpu *k, uint32_t index, uint64_t *value)
{
	union one_msr m = { .list.nmsrs = 1 };

	m.list.entries[0] = (struct kvm_msr_entry){ .index = index };
	if (KVM_IOCTL(k->fd, KVM_GET_MSRS, &m) != 1)
		return false;
	*value = m.list.entries[0].data;
	return true;
}

static bool set_msr(const struct kvm_cpu *k, uint32_t index, uint64_t value)
{
	union one_msr m = { .list.nmsrs = 1 };

	m.list.entries[0] = (struct kvm_msr_entry){ .index = index, .data = value };
	return KVM_IOCTL(k->fd, KVM_SET_MSRS, &m) == 1;
}

struct msr_row {
	uint32_t index;
	size_t offset;
};

#define AT(field) offsetof(struct x86_state, field)

static const struct msr_row msr_table[] = {
	{ X86_MSR_STAR, AT(star) }, { X86_MSR_LSTAR, AT(lstar) }, { X86_MSR_CSTAR, AT(cstar) }, { X86_MSR_SFMASK, AT(sfmask) },
	{ X86_MSR_KERNEL_GS_BASE, AT(kernel_gs_base) }, { X86_MSR_TSC_AUX, AT(tsc_aux) }, { X86_MSR_PAT, AT(pat) },
	{ X86_MSR_MTRR_DEF_TYPE, AT(mtrr_def_type) }, { X86_MSR_SYSENTER_CS, AT(sysenter_cs) },
	{ X86_MSR_SYSENTER_ESP, AT(sysenter_esp) }, { X86_MSR_SYSENTER_EIP, AT(sysenter_eip) }, { X86_MSR_TSC, AT(tsc) },
};

enum { MSRS = sizeof(msr_table) / sizeof(msr_table[0]) };

static uint64_t *msr_of(struct x86_state *s, const struct msr_row *row)
{
	return (uint64_t *)((char *)s + row->offset);
}

static void get_msrs(struct kvm_cpu *k, struct x86_state *s)
{
	for (unsigned i = 0; i < MSRS; i++)
		get_msr(k, msr_table[i].index, msr_of(s, &msr_table[i]));
	k->tsc_read = s->tsc;
}

/* Those that differ: what a kernel does not have cannot be set to what it reads, and the TSC is not turned back by a look. */
static bool set_msrs(struct kvm_cpu *k, const struct x86_state *to)
{
	struct x86_state want = *to;

	for (unsigned i = 0; i < MSRS; i++) {
		uint64_t value = *msr_of(&want, &msr_table[i]), now = 0;

		get_msr(k, msr_table[i].index, &now);
		if (value == now || (msr_table[i].index == X86_MSR_TSC && value == k->tsc_read))
			continue;
		if (!set_msr(k, msr_table[i].index, value))
			return false;
	}
	return true;
}

/* ---- segments and tables */

static struct x86_segment segment_of(const struct kvm_segment *g)
{
	return (struct x86_segment){
		.base = g->base, .limit = g->limit, .selector = g->selector,
		.attr = g->type | g->s << 4 | g->dpl << 5 | g->present << 7 | g->avl << 12 | g->l << 13 | g->db << 14 |
			(uint32_t)g->g << 15 | (uint32_t)g->unusable << 16,
	};
}

static struct kvm_segment to_segment(const struct x86_segment *s)
{
	return (struct kvm_segment){
		.base = s->base, .limit = s->limit, .selector = s->selector,
		.type = s->attr & X86_ATTR_TYPE, .s = s->attr >> 4 & 1, .dpl = s->attr >> 5 & 3, .present = s->attr >> 7 & 1,
		.avl = s->attr >> 12 & 1, .l = s->attr >> 13 & 1, .db = s->attr >> 14 & 1, .g = s->attr >> 15 & 1,
		.unusable = s->attr & X86_ATTR_UNUSABLE || !(s->attr & X86_ATTR_P),
	};
}

static const size_t segment_at[X86_SEGS] = {
	[X86_ES] = offsetof(struct kvm_sregs, es), [X86_CS] = offsetof(struct kvm_sregs, cs),
	[X86_SS] = offsetof(struct kvm_sregs, ss), [X86_DS] = offsetof(struct kvm_sregs, ds),
	[X86_FS] = offsetof(struct kvm_sregs, fs), [X86_GS] = offsetof(struct kvm_sregs, gs),
	[X86_LDTR] = offsetof(struct kvm_sregs, ldt), [X86_TR] = offsetof(struct kvm_sregs, tr),
};

static struct kvm_segment *segment_in(struct kvm_sregs *s, unsigned seg)
{
	return (struct kvm_segment *)((char *)s + segment_at[seg]);
}

static uint8_t cpl_of(const struct x86_state *s)
{
	if (!(s->cr0 & X86_CR0_PE))
		return 0;
	return s->rflags & X86_RFLAGS_VM ? 3 : s->seg[X86_SS].attr >> 5 & 3;
}

static void get_sregs(const struct kvm_cpu *k, struct x86_state *s)
{
	struct kvm_sregs r = { 0 };

	KVM_IOCTL(k->fd, KVM_GET_SREGS, &r);
	for (unsigned i = 0; i < X86_SEGS; i++)
		s->seg[i] = segment_of(segment_in(&r, i));
	s->gdtr = (struct x86_table){ .base = r.gdt.base, .limit = r.gdt.limit };
	s->idtr = (struct x86_table){ .base = r.idt.base, .limit = r.idt.limit };
	s->cr0 = r.cr0;
	s->cr2 = r.cr2;
	s->cr3 = r.cr3;
	s->cr4 = r.cr4;
	s->cr8 = k->kvm->chip ? r.cr8 : apic_cr8(k->vcpu);
	s->efer = r.efer;
}

/* A KVM that emulates drops silently what it does not know. */
static int took_mode(const struct kvm_cpu *k, const struct kvm_sregs *want)
{
	struct kvm_sregs now;
	int ret = KVM_IOCTL(k->fd, KVM_GET_SREGS, &now);

	if (ret)
		return ret;
	return (now.cr0 | X86_CR0_ET) == (want->cr0 | X86_CR0_ET) && now.cr4 == want->cr4 && now.efer == want->efer ? 0 : -EINVAL;
}

/* What the state does not name stays: the APIC's base, an interrupt on its way. */
static int set_sregs(const struct kvm_cpu *k, const struct x86_state *s)
{
	struct kvm_sregs r;
	int ret = KVM_IOCTL(k->fd, KVM_GET_SREGS, &r);

	if (ret)
		return ret;
	for (unsigned i = 0; i < X86_SEGS; i++)
		*segment_in(&r, i) = to_segment(&s->seg[i]);
	r.gdt = (struct kvm_dtable){ .base = s->gdtr.base, .limit = (uint16_t)s->gdtr.limit };
	r.idt = (struct kvm_dtable){ .base = s->idtr.base, .limit = (uint16_t)s->idtr.limit };
	r.cr0 = s->cr0;
	r.cr2 = s->cr2;
	r.cr3 = s->cr3;
	r.cr4 = s->cr4;
	r.cr8 = s->cr8;
	r.efer = s->efer;
	ret = KVM_IOCTL(k->fd, KVM_SET_SREGS, &r);
	if (!ret)
		ret = took_mode(k, &r);
	if (!ret && !k->kvm->chip)
		apic_set_cr8(k->vcpu, s->cr8);
	return ret;
}

/* ---- general registers: the kernel's order is its own */

#define GPRS(X) X(RAX, rax) X(RBX, rbx) X(RCX, rcx) X(RDX, rdx) X(RSI, rsi) X(RDI, rdi) X(RSP, rsp) X(RBP, rbp) \
	X(R8, r8) X(R9, r9) X(R10, r10) X(R11, r11) X(R12, r12) X(R13, r13) X(R14, r14) X(R15, r15)

static void get_regs(const struct kvm_cpu *k, struct x86_state *s)
{
	struct kvm_regs r = { 0 };

	KVM_IOCTL(k->fd, KVM_GET_REGS, &r);
#define X(id, field) s->gpr[X86_##id] = r.field;
	GPRS(X)
#undef X
	s->rip = r.rip;
	s->rflags = r.rflags;
}

static int set_regs(const struct kvm_cpu *k, const struct x86_state *s)
{
	struct kvm_regs r = { .rip = s->rip, .rflags = s->rflags | X86_RFLAGS_FIXED };

#define X(id, field) r.field = s->gpr[X86_##id];
	GPRS(X)
#undef X
	return KVM_IOCTL(k->fd, KVM_SET_REGS, &r);
}

/* ---- x87, SSE and beyond: the standard form of XSAVE, of which the first 512 bytes are FXSAVE's */

/* In region[]. */
#define XSTATE_BV	(X86_XSAVE_HEADER / 4)
#define XSTATE_AVX	(X86_XSAVE_AVX / 4)

static void get_fpu(const struct kvm_cpu *k, struct x86_state *s)
{
	struct kvm_xsave x = { 0 };
	struct kvm_xcrs c = { 0 };

	KVM_IOCTL(k->fd, KVM_GET_XSAVE, &x);
	memcpy(&s->fpu, x.region, sizeof(s->fpu));
	if (x.region[XSTATE_BV] & X86_XSTATE_AVX)
		memcpy(s->ymm_high, &x.region[XSTATE_AVX], sizeof(s->ymm_high));
	KVM_IOCTL(k->fd, KVM_GET_XCRS, &c);
	for (unsigned i = 0; i < c.nr_xcrs && i < KVM_MAX_XCRS; i++)
		if (!c.xcrs[i].xcr)
			s->xcr0 = c.xcrs[i].value;
}

static int set_fpu(const struct kvm_cpu *k, const struct x86_state *s)
{
	static const uint8_t none[sizeof(s->ymm_high)];
	struct kvm_xcrs c = { .nr_xcrs = 1, .xcrs[0].value = s->xcr0 };
	struct kvm_xsave x;
	int ret = KVM_IOCTL(k->fd, KVM_GET_XSAVE, &x);

	if (ret)
		return ret;
	memcpy(x.region, &s->fpu, sizeof(s->fpu));
	x.region[XSTATE_BV] |= X86_XSTATE_X87 | X86_XSTATE_SSE;
	/* Whether or not XCR0 lets the guest use them; zero is how they begin. */
	x.region[XSTATE_BV] &= ~X86_XSTATE_AVX;
	if (memcmp(s->ymm_high, none, sizeof(none))) {
		memcpy(&x.region[XSTATE_AVX], s->ymm_high, sizeof(s->ymm_high));
		x.region[XSTATE_BV] |= X86_XSTATE_AVX;
	}
	ret = KVM_IOCTL(k->fd, KVM_SET_XSAVE, &x);
	if (!ret && s->xcr0)
		ret = KVM_IOCTL(k->fd, KVM_SET_XCRS, &c);
	return ret;
}

/* ---- debug registers, events, HLT */

static void get_debug(const struct kvm_cpu *k, struct x86_state *s)
{
	struct kvm_debugregs d = { 0 };

	KVM_IOCTL(k->fd, KVM_GET_DEBUGREGS, &d);
	for (unsigned i = 0; i < 4; i++)
		s->dr[i] = d.db[i];
	s->dr[6] = d.dr6;
	s->dr[7] = d.dr7;
}

static int set_debug(const struct kvm_cpu *k, const struct x86_state *s)
{
	struct kvm_debugregs d = { .dr6 = (uint32_t)s->dr[6], .dr7 = (uint32_t)s->dr[7] };

	for (unsigned i = 0; i < 4; i++)
		d.db[i] = s->dr[i];
	return KVM_IOCTL(k->fd, KVM_SET_DEBUGREGS, &d);
}

bool kvm_is_halted(const struct kvm_cpu *k)
{
	struct kvm_mp_state mp = { 0 };

	if (!k->kvm->chip)
		return k->halted;
	KVM_IOCTL(k->fd, KVM_GET_MP_STATE, &mp);
	return mp.mp_state == KVM_MP_STATE_HALTED;
}

static int set_halted(struct kvm_cpu *k, bool halted)
{
	struct kvm_mp_state mp = { .mp_state = halted ? KVM_MP_STATE_HALTED : KVM_MP_STATE_RUNNABLE };

	if (k->kvm->chip)
		return KVM_IOCTL(k->fd, KVM_SET_MP_STATE, &mp);
	k->halted = halted;
	return 0;
}

static void get_events(const struct kvm_cpu *k, struct x86_state *s)
{
	struct kvm_vcpu_events e = { 0 };

	KVM_IOCTL(k->fd, KVM_GET_VCPU_EVENTS, &e);
	s->sti_shadow = e.interrupt.shadow;
	s->nmi_blocked = e.nmi.masked;
	s->halted = kvm_is_halted(k);
}

/* An interrupt that the controllers have handed over stays; an exception that was being delivered does not. */
static int set_events(struct kvm_cpu *k, const struct x86_state *s)
{
	struct kvm_vcpu_events e;
	int ret = KVM_IOCTL(k->fd, KVM_GET_VCPU_EVENTS, &e);

	if (ret)
		return ret;
	e.exception.injected = 0;
	e.interrupt.shadow = s->sti_shadow ? KVM_X86_SHADOW_INT_STI : 0;
	e.nmi.masked = s->nmi_blocked;
	e.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	ret = KVM_IOCTL(k->fd, KVM_SET_VCPU_EVENTS, &e);
	return ret ? ret : set_halted(k, s->halted);
}

/* ---- all of it */

void kvm_get_state(struct vcpu *v, struct x86_state *s)
{
	struct kvm_cpu *k = kvm_cpu_of(v);

	*s = (struct x86_state){ 0 };
	get_regs(k, s);
	get_sregs(k, s);
	get_fpu(k, s);
	get_debug(k, s);
	get_events(k, s);
	get_msrs(k, s);
	s->cpl = cpl_of(s);
}

/* Long mode first: the kernel looks at MSRs by the mode that it is in. */
static int put(struct kvm_cpu *k, const struct x86_state *s)
{
	int ret = set_sregs(k, s);

	if (!ret)
		ret = set_regs(k, s);
	if (!ret)
		ret = set_fpu(k, s);
	if (!ret)
		ret = set_debug(k, s);
	if (!ret && !set_msrs(k, s))
		ret = -EINVAL;
	return ret ? ret : set_events(k, s);
}

/* Above NXE: SVME, LMSLE, FFXSR, TCE and AUTOIBRS of AMD's.  The kernel takes any that userspace sets. */
enum { EFER_BITS = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE | 0x20f000 };

int kvm_set_state(struct vcpu *v, const struct x86_state *s)
{
	struct kvm_cpu *k = kvm_cpu_of(v);
	/* The kernel knows this processor's own limits. */
	const struct x86_limits limits = { .cr4 = UINT64_MAX, .efer = EFER_BITS, .xcr0 = UINT64_MAX, .phys_bits = 52 };
	struct x86_state old;
	int ret;

	if (!x86_state_possible(s, &limits))
		return -EINVAL;
	kvm_get_state(v, &old);
	ret = put(k, s);
	if (ret)
		put(k, &old);
	k->ready = false;
	return ret ? -EINVAL : 0;
}

static uint64_t read_entry(void *vm, uint64_t gpa, unsigned size)
{
	uint64_t value = 0;

	return mem_copy_from(((struct vm *)vm)->mem, gpa, &value, size) ? value : UINT64_MAX;
}

static bool leave_entry(void *vm, uint64_t gpa, unsigned size, uint64_t old, uint64_t val)
{
	(void)vm, (void)gpa, (void)size, (void)old, (void)val;
	return true;		/* a debugger's look marks nothing */
}

static enum x86_paging_format format_of(const struct kvm_sregs *r)
{
	if (!(r->cr0 & X86_CR0_PG))
		return X86_PAGING_NONE;
	if (r->efer & X86_EFER_LMA)
		return r->cr4 & X86_CR4_LA57 ? X86_PAGING_5L : X86_PAGING_4L;
	return r->cr4 & X86_CR4_PAE ? X86_PAGING_PAE : X86_PAGING_32;
}

/* By our own walk: KVM_TRANSLATE knows the tables only once the guest has run. */
int kvm_translate(struct vcpu *v, uint64_t linear, uint64_t *gpa)
{
	struct kvm_sregs r;
	struct x86_paging p = { .phys_bits = 52, .nxe = true, .read = read_entry, .update = leave_entry, .ctx = v->vm };
	struct x86_page page;
	uint32_t error;

	if (KVM_IOCTL(kvm_cpu_of(v)->fd, KVM_GET_SREGS, &r))
		return -EFAULT;
	p.format = format_of(&r);
	p.cr3 = r.cr3;
	p.pse = r.cr4 & X86_CR4_PSE;
	if (!(r.efer & X86_EFER_LMA))
		linear = (uint32_t)linear;
	if (!x86_walk(&p, linear, X86_ACCESS_LOOK, &page, &error))
		return -EFAULT;
	*gpa = page.gpa;
	return 0;
}

/* ---- power-up */

static int read_msrs(struct kvm_cpu *k)
{
	const struct kvm_msr_list *list = k->kvm->msrs;
	struct kvm_power_on *p = k->power_on;
	struct kvm_msrs *m = calloc(1, sizeof(*m) + list->nmsrs * sizeof(m->entries[0]));

	p->msrs = m;
	if (!m)
		return -ENOMEM;
	for (unsigned i = 0; i < list->nmsrs; i++) {
		uint64_t value;

		if (get_msr(k, list->indices[i], &value))
			m->entries[m->nmsrs++] = (struct kvm_msr_entry){ .index = list->indices[i], .data = value };
	}
	return 0;
}

#define PASS(request, field)	KVM_IOCTL(k->fd, request, &k->power_on->field)

int kvm_power_on_new(struct kvm_cpu *k)
{
	int ret;

	k->power_on = calloc(1, sizeof(*k->power_on));
	if (!k->power_on)
		return -ENOMEM;
	ret = PASS(KVM_GET_REGS, regs);
	ret = ret ? ret : PASS(KVM_GET_SREGS, sregs);
	ret = ret ? ret : PASS(KVM_GET_XSAVE, xsave);
	ret = ret ? ret : PASS(KVM_GET_XCRS, xcrs);
	ret = ret ? ret : PASS(KVM_GET_DEBUGREGS, debug);
	ret = ret ? ret : PASS(KVM_GET_VCPU_EVENTS, events);
	if (k->kvm->chip) {
		ret = ret ? ret : PASS(KVM_GET_LAPIC, lapic);
		ret = ret ? ret : PASS(KVM_GET_MP_STATE, mp);
	}
	if (!ret)
		ret = read_msrs(k);
	if (ret)
		snprintf(k->vcpu->error, sizeof(k->vcpu->error), "KVM does not tell its state: %s", strerror(-ret));
	return ret;
}

void kvm_power_on_free(struct kvm_cpu *k)
{
	if (k->power_on)
		free(k->power_on->msrs);
	free(k->power_on);
	k->power_on = NULL;
}

static void write_msrs(struct kvm_cpu *k)
{
	const struct kvm_msrs *m = k->power_on->msrs;

	for (unsigned i = 0; i < m->nmsrs; i++) {
		uint64_t now;

		if (m->entries[i].index != X86_MSR_TSC && get_msr(k, m->entries[i].index, &now) && now == m->entries[i].data)
			continue;
		set_msr(k, m->entries[i].index, m->entries[i].data);
	}
	set_msr(k, X86_MSR_TSC, 0);
}

/* What the kernel has not finished goes with the instruction: for a read, all ones. */
static void abandon(struct kvm_cpu *k)
{
	struct kvm_run *run = k->run;

	while (k->unfinished) {
		if (run->exit_reason == KVM_EXIT_IO && run->io.direction == KVM_EXIT_IO_IN)
			memset((uint8_t *)run + run->io.data_offset + (size_t)k->done * run->io.size, 0xff,
			       (size_t)(run->io.count - k->done) * run->io.size);
		else if (run->exit_reason == KVM_EXIT_MMIO && !run->mmio.is_write)
			memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
		run->immediate_exit = 1;
		k->unfinished = kvm_ioctl(k->fd, KVM_RUN, 0) != -EINTR && (run->exit_reason == KVM_EXIT_IO || run->exit_reason == KVM_EXIT_MMIO);
		k->done = 0;
	}
	k->open = false;
	k->done = 0;
}

void kvm_reset(struct vcpu *v)
{
	struct kvm_cpu *k = kvm_cpu_of(v);

	abandon(k);
	PASS(KVM_SET_SREGS, sregs);
	PASS(KVM_SET_REGS, regs);
	PASS(KVM_SET_XSAVE, xsave);
	PASS(KVM_SET_XCRS, xcrs);
	PASS(KVM_SET_DEBUGREGS, debug);
	write_msrs(k);
	if (k->kvm->chip) {
		PASS(KVM_SET_LAPIC, lapic);
		PASS(KVM_SET_MP_STATE, mp);
	}
	PASS(KVM_SET_VCPU_EVENTS, events);
	atomic_store(&v->nmi, 0);
	k->halted = k->ready = false;
}
