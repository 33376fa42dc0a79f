/*
 * vmm/kvm/engine.c - the KVM engine behind vmm/engine.h: life, and its run loop.
 *
 * Owns what happens between two KVM_RUNs: an access that is under way is carried
 * on, then requests of other threads, NMI and INTR.  Linux,
 * Documentation/virt/kvm/api.rst; SDM vol. 3 section 6.8 (IF, shadows).
 *
 * poke() and run() meet like this: the one counts (kick, intr, nmi), then sets
 * immediate_exit, then sends a signal to whoever is in KVM_RUN; the other
 * announces itself in in_run, clears immediate_exit, then looks at the counts.
 */
#include "vmm/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/apic.h"
#include "vmm/config.h"
#include "vmm/inout.h"
#include "vmm/irq.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/probe.h"
#include "vmm/timer.h"
#include "vmm/vm.h"
#include "vmm/x86/msr.h"

#define GO_ON EXIT_COUNT
#define WATCH_NS 1000000000ull

/* Three pages for Intel processors' real mode, and one: where neither RAM nor a boot ROM can be. */
#define IDENTITY_MAP	0xfeffc000ull
#define TSS_PAGES	0xfeffd000ull

int kvm_ioctl(int fd, unsigned long request, unsigned long value)
{
	int ret = ioctl(fd, request, value);

	return ret < 0 ? -errno : ret;
}

static struct kvm_vm *kvm_of(const struct vm *vm)
{
	return vm->engine_vm;
}

/* ---- other threads */

static int kick_signal(void)
{
	return SIGRTMIN;
}

static void on_kick(int sig)
{
	(void)sig;
}

/* The signal is let in on the threads that enter the guest, where it ends KVM_RUN and nothing else. */
static pid_t this_thread(void)
{
	static __thread pid_t tid;
	sigset_t kick;

	if (tid)
		return tid;
	sigemptyset(&kick);
	sigaddset(&kick, kick_signal());
	pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
	return tid = (pid_t)syscall(SYS_gettid);
}

static void kvm_poke(struct vcpu *v)
{
	struct kvm_cpu *k = kvm_cpu_of(v);
	pid_t tid;

	atomic_store_explicit((_Atomic uint8_t *)&k->run->immediate_exit, 1, memory_order_seq_cst);
	tid = atomic_load_explicit(&k->in_run, memory_order_seq_cst);
	if (tid)
		syscall(SYS_tgkill, getpid(), tid, kick_signal());
}

static void kvm_inject_nmi(struct vcpu *v)
{
	vcpu_raise_nmi(v);
	vcpu_wake(v);
}

static void kvm_a20(struct vm *vm, bool on)
{
	atomic_store_explicit(&kvm_of(vm)->a20, on, memory_order_release);
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vcpu_kick(&vm->vcpu[i]);
}

/* The map's generation tells what; slots are made anew on the way into the guest. */
static void kvm_map_changed(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vcpu_kick(&vm->vcpu[i]);
}

/* The processor sees what is written to memory. */
static void kvm_code_changed(struct vm *vm, uint64_t gpa, uint64_t len)
{
	(void)vm, (void)gpa, (void)len;
}

static int kvm_doorbell(struct vm *vm, const struct engine_doorbell *d, bool on)
{
	struct kvm_ioeventfd io = {
		.addr = d->addr, .len = d->size, .datamatch = d->data, .fd = d->fd,
		.flags = (d->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) | (d->mmio ? 0 : KVM_IOEVENTFD_FLAG_PIO) |
			 (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return KVM_IOCTL(kvm_of(vm)->fd, KVM_IOEVENTFD, &io);
}

/* ---- between two entries */

static bool kicked(const struct vcpu *v)
{
	return atomic_load_explicit(&v->kick, memory_order_seq_cst) != v->kick_seen;
}

/* The debugger's step is the program's next instruction: interrupts wait. */
static bool stepping(const struct vcpu *v)
{
	return v->debug.step || v->debug.pass;
}

static enum vcpu_exit fail(struct vcpu *v, const char *what, int error)
{
	snprintf(v->error, sizeof(v->error), "vCPU %u: %s: %s; try -o engine=soft", v->id, what, strerror(error < 0 ? -error : error));
	return EXIT_ERROR;
}

/* Without the kernel's controllers: an interrupt goes in when the guest can take it, or the kernel says when. */
static int offer_interrupt(struct kvm_cpu *k)
{
	struct kvm_interrupt irq;

	k->run->request_interrupt_window = 0;
	if (!irq_pending(k->vcpu) || stepping(k->vcpu))
		return 0;
	if (!k->ready || !k->run->ready_for_interrupt_injection || !k->run->if_flag) {
		k->run->request_interrupt_window = 1;
		return 0;
	}
	k->halted = false;
	irq.irq = irq_acknowledge(k->vcpu);
	return KVM_IOCTL(k->fd, KVM_INTERRUPT, &irq);
}

static int take_events(struct kvm_cpu *k)
{
	struct vcpu *v = k->vcpu;

	if (atomic_load_explicit(&v->nmi, memory_order_relaxed)) {
		int ret;

		atomic_store(&v->nmi, 0);
		k->halted = false;
		ret = kvm_ioctl(k->fd, KVM_NMI, 0);
		if (ret)
			return ret;
	}
	return k->kvm->chip ? 0 : offer_interrupt(k);
}

/*
 * With the kernel's controllers a halted processor sleeps in KVM_RUN, and with
 * interrupts off for ever: nobody would hear of it.
 */
static void on_watch(void *arg, uint64_t deadline)
{
	struct kvm_cpu *k = arg;

	atomic_store(&k->look, true);
	kvm_poke(k->vcpu);
	timer_set(k->watch, deadline + WATCH_NS);
}

static bool sleeps_for_ever(struct kvm_cpu *k)
{
	if (!atomic_load_explicit(&k->look, memory_order_relaxed))
		return false;
	atomic_store(&k->look, false);
	return !k->run->if_flag && kvm_is_halted(k);
}

static int new_watch(struct kvm_cpu *k)
{
	struct vm *vm = k->vcpu->vm;

	k->watch = timer_new(vm->timers, on_watch, k);
	if (!k->watch)
		return -ENOMEM;
	pthread_mutex_lock(&vm->dev_lock);
	timer_set(k->watch, timers_now(vm->timers) + WATCH_NS);
	pthread_mutex_unlock(&vm->dev_lock);
	return 0;
}

/* The kernel has nothing of an instruction left to do. */
static enum vcpu_exit boundary(struct kvm_cpu *k)
{
	struct vcpu *v = k->vcpu;
	int ret;

	if (kicked(v))
		return EXIT_KICKED;
	ret = take_events(k);
	if (ret)
		return fail(v, "KVM takes no interrupt", ret);
	if (k->halted)
		return k->run->if_flag ? EXIT_HLT : EXIT_HLT_FOREVER;
	return sleeps_for_ever(k) ? EXIT_HLT_FOREVER : GO_ON;
}

/* ---- in and out */

/* What the guest's processor and our local APIC share. */
static void lend_apic(struct kvm_cpu *k)
{
	if (!k->kvm->chip)
		k->run->cr8 = apic_cr8(k->vcpu);
}

static void return_apic(struct kvm_cpu *k)
{
	uint64_t base;

	if (k->kvm->chip || !k->vcpu->lapic)
		return;
	if (k->run->cr8 != apic_cr8(k->vcpu))
		apic_set_cr8(k->vcpu, (uint8_t)k->run->cr8);
	if (apic_msr_read(k->vcpu, X86_MSR_APIC_BASE, &base) && base != k->run->apic_base)
		apic_msr_write(k->vcpu, X86_MSR_APIC_BASE, k->run->apic_base, 0);
}

/* Something has come that boundary() has not seen. */
static bool must_look(const struct kvm_cpu *k)
{
	const struct vcpu *v = k->vcpu;

	return kicked(v) || atomic_load_explicit(&v->nmi, memory_order_seq_cst) ||
		(!k->kvm->chip && irq_pending(v) && !k->run->request_interrupt_window && !stepping(v));
}

/* 0: there is an exit reason; -EINTR: out again, on a boundary. */
static int enter(struct kvm_cpu *k)
{
	int ret;

	lend_apic(k);
	atomic_store_explicit(&k->in_run, this_thread(), memory_order_seq_cst);
	atomic_store_explicit((_Atomic uint8_t *)&k->run->immediate_exit, 0, memory_order_seq_cst);
	if (must_look(k))
		k->run->immediate_exit = 1;
	ret = kvm_ioctl(k->fd, KVM_RUN, 0);
	atomic_store_explicit(&k->in_run, 0, memory_order_release);
	k->ready = true;
	return_apic(k);
	return ret;
}

static enum vcpu_exit internal_error(struct kvm_cpu *k)
{
	const struct kvm_run *run = k->run;
	struct vcpu *v = k->vcpu;
	struct kvm_regs r = { 0 };
	char bytes[3 * 15 + 1] = "";
	unsigned n = 0;

	KVM_IOCTL(k->fd, KVM_GET_REGS, &r);
	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION &&
	    (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
		n = run->emulation_failure.insn_size < 15 ? run->emulation_failure.insn_size : 15;
	for (unsigned i = 0; i < n; i++)
		snprintf(bytes + 3 * i, 4, " %02x", run->emulation_failure.insn_bytes[i]);
	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
		snprintf(v->error, sizeof(v->error), "vCPU %u: KVM cannot emulate the instruction at rip %llx%s%s; try -o engine=soft",
			 v->id, (unsigned long long)r.rip, n ? ":" : "", bytes);
	else
		snprintf(v->error, sizeof(v->error), "vCPU %u: KVM gave up at rip %llx: internal error %u; try -o engine=soft", v->id,
			 (unsigned long long)r.rip, run->internal.suberror);
	return EXIT_ERROR;
}

static enum vcpu_exit left(struct kvm_cpu *k)
{
	struct kvm_run *run = k->run;
	struct vcpu *v = k->vcpu;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
	case KVM_EXIT_MMIO:
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		k->open = k->unfinished = true;
		k->done = 0;
		return GO_ON;
	case KVM_EXIT_HLT:
		k->halted = true;
		if (!v->debug.step)
			return GO_ON;
		v->debug.why = STOP_STEP;
		return EXIT_DEBUG;
	case KVM_EXIT_DEBUG:
		return kvm_debug_stops(k) ? EXIT_DEBUG : GO_ON;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_SET_TPR:
		return GO_ON;
	case KVM_EXIT_SHUTDOWN:
		return EXIT_TRIPLE_FAULT;
	case KVM_EXIT_INTERNAL_ERROR:
		return internal_error(k);
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(v->error, sizeof(v->error), "vCPU %u: the processor refuses the guest's state: reason %llx; try -o engine=soft", v->id,
			 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
		return EXIT_ERROR;
	default:
		snprintf(v->error, sizeof(v->error), "vCPU %u: KVM returns for a reason that is not known here: %u; try -o engine=soft", v->id,
			 run->exit_reason);
		return EXIT_ERROR;
	}
}

static enum vcpu_exit kvm_run(struct vcpu *v)
{
	struct kvm_cpu *k = kvm_cpu_of(v);
	enum vcpu_exit e = GO_ON;
	int ret;

	while (e == GO_ON) {
		if (k->open && !kvm_serve(k))
			return EXIT_PENDING;
		if (!k->unfinished)
			e = boundary(k);
		if (e != GO_ON)
			break;
		if (kvm_slots_follow(k->kvm, v))
			return EXIT_ERROR;
		ret = kvm_debug_apply(k);
		if (ret)
			return fail(v, "KVM takes no breakpoints", ret);
		ret = enter(k);
		k->unfinished = false;
		if (ret != -EINTR && ret != -EAGAIN)
			e = ret < 0 ? fail(v, "KVM does not run it", ret) : left(k);
	}
	return e;
}

/* ---- one vCPU's life */

static uint64_t kvm_instructions(const struct vcpu *v)
{
	(void)v;
	return 0;
}

static void kvm_vcpu_free(struct vcpu *v)
{
	struct kvm_cpu *k = kvm_cpu_of(v);

	if (!k)
		return;
	if (k->watch)
		timer_free(k->watch);
	if (k->run)
		munmap(k->run, k->run_bytes);
	if (k->fd >= 0)
		close(k->fd);
	kvm_power_on_free(k);
	free(k);
	v->engine_state = NULL;
}

static int make_vcpu(struct kvm_cpu *k)
{
	int bytes = kvm_ioctl(k->kvm->dev, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run;

	k->fd = kvm_ioctl(k->kvm->fd, KVM_CREATE_VCPU, k->vcpu->id);
	if (k->fd < 0 || bytes < 0)
		return k->fd < 0 ? k->fd : bytes;
	run = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
	if (run == MAP_FAILED)
		return -errno;
	k->run = run;
	k->run_bytes = (size_t)bytes;
	return kvm_cpuid_set(k);
}

static int kvm_vcpu_new(struct vcpu *v)
{
	struct kvm_cpu *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return -ENOMEM;
	*k = (struct kvm_cpu){ .vcpu = v, .kvm = kvm_of(v->vm), .fd = -1 };
	v->engine_state = k;
	ret = make_vcpu(k);
	if (!ret)
		ret = kvm_power_on_new(k);
	if (!ret && k->kvm->chip)
		ret = new_watch(k);
	if (ret) {
		kvm_vcpu_free(v);
		return ret;
	}
	return 0;
}

/* ---- the machine's life */

static void kvm_vm_free(struct vm *vm)
{
	struct kvm_vm *kvm = kvm_of(vm);

	if (!kvm)
		return;
	if (kvm->fd >= 0)
		close(kvm->fd);
	if (kvm->dev >= 0)
		close(kvm->dev);
	free(kvm->cpuid);
	free(kvm->msrs);
	free(kvm);
	vm->engine_vm = NULL;
	vm->irqchip = NULL;
}

static int ask_msrs(struct kvm_vm *kvm)
{
	struct kvm_msr_list none = { 0 };
	int ret = KVM_IOCTL(kvm->dev, KVM_GET_MSR_INDEX_LIST, &none);

	if (ret && ret != -E2BIG)
		return ret;
	kvm->msrs = calloc(1, sizeof(none) + none.nmsrs * sizeof(none.indices[0]));
	if (!kvm->msrs)
		return -ENOMEM;
	kvm->msrs->nmsrs = none.nmsrs;
	return KVM_IOCTL(kvm->dev, KVM_GET_MSR_INDEX_LIST, kvm->msrs);
}

/* Unknown MSRs are ours where they are not to be faults. */
static int ask_for_msr_exits(struct kvm_vm *kvm)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR, .args[0] = KVM_MSR_EXIT_REASON_UNKNOWN };

	return kvm->vm->config->strict_msr ? 0 : KVM_IOCTL(kvm->fd, KVM_ENABLE_CAP, &cap);
}

static int make_vm(struct kvm_vm *kvm, char *err, size_t errlen)
{
	uint64_t identity = IDENTITY_MAP;
	int ret;

	kvm->dev = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	kvm->fd = kvm->dev < 0 ? -errno : kvm_ioctl(kvm->dev, KVM_CREATE_VM, 0);
	ret = kvm->fd < 0 ? kvm->fd : 0;
	if (!ret)
		ret = KVM_IOCTL(kvm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	if (!ret)
		ret = kvm_ioctl(kvm->fd, KVM_SET_TSS_ADDR, TSS_PAGES);
	if (!ret)
		ret = ask_for_msr_exits(kvm);
	if (!ret)
		ret = ask_msrs(kvm);
	if (ret)
		snprintf(err, errlen, "KVM makes no machine: %s; try -o engine=soft", strerror(-ret));
	return ret;
}

static int kvm_vm_new(struct vm *vm, char *err, size_t errlen)
{
	const struct sigaction sa = { .sa_handler = on_kick };
	struct kvm_vm *kvm;
	int ret = kvm_probe(&kvm_linux, KVM_PROBE_API, err, errlen);

	if (ret)
		return ret;
	if (vm->config->cpus > 1) {
		snprintf(err, errlen, "engine=kvm runs one vCPU so far: leave out -c, or take engine=soft");
		return -ENOTSUP;
	}
	kvm = calloc(1, sizeof(*kvm));
	if (!kvm)
		return -ENOMEM;
	sigaction(kick_signal(), &sa, NULL);
	*kvm = (struct kvm_vm){ .vm = vm, .dev = -1, .fd = -1, .a20 = true };
	vm->engine_vm = kvm;
	ret = make_vm(kvm, err, errlen);
	if (!ret && vm->config->apic && vm->config->irqchip == IRQCHIP_KERNEL)
		ret = kvm_chip_new(kvm, err, errlen);
	if (!ret)
		ret = kvm_cpuid_new(kvm, err, errlen);
	if (ret)
		kvm_vm_free(vm);
	return ret;
}

const struct engine_ops kvm_engine = {
	.name = "kvm",
	.vm_new = kvm_vm_new,
	.vm_free = kvm_vm_free,
	.vcpu_new = kvm_vcpu_new,
	.vcpu_free = kvm_vcpu_free,
	.reset = kvm_reset,
	.run = kvm_run,
	.get_state = kvm_get_state,
	.set_state = kvm_set_state,
	.translate = kvm_translate,
	.debug_changed = kvm_debug_changed,
	.inject_nmi = kvm_inject_nmi,
	.poke = kvm_poke,
	.code_changed = kvm_code_changed,
	.map_changed = kvm_map_changed,
	.a20 = kvm_a20,
	.doorbell = kvm_doorbell,
	.instructions = kvm_instructions,
};
