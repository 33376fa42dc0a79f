/*
 * vmm/kvm/probe.c - see probe.h.
 *
 * Capabilities say what a kernel has, not what works: a KVM inside a virtual
 * machine, or one that emulates, may have all of them and still run no 64-bit
 * kernel, or each instruction in microseconds.  So SPEED lets a guest try.
 */
#include "vmm/kvm/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

/* ---- the kernel itself */

static int linux_open(void *arg)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	(void)arg;
	return fd < 0 ? -errno : fd;
}

static int linux_ioctl(void *arg, int fd, unsigned long request, unsigned long value)
{
	int ret = ioctl(fd, request, value);

	(void)arg;
	return ret < 0 ? -errno : ret;
}

static void *linux_map(void *arg, int fd, size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

	(void)arg;
	return p == MAP_FAILED ? NULL : p;
}

static void linux_unmap(void *arg, void *at, size_t bytes)
{
	(void)arg;
	munmap(at, bytes);
}

static void linux_close(void *arg, int fd)
{
	(void)arg;
	close(fd);
}

static uint64_t linux_now(void *arg)
{
	struct timespec t;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

const struct kvm_kernel kvm_linux = {
	.open = linux_open, .ioctl = linux_ioctl, .map = linux_map, .unmap = linux_unmap, .close = linux_close, .now = linux_now,
};

/* ---- what the kernel has */

#define CAP(name)	{ KVM_CAP_##name, #name }

static const struct {
	unsigned cap;
	const char *name;
} needed[] = {
	CAP(USER_MEMORY), CAP(READONLY_MEM), CAP(IMMEDIATE_EXIT), CAP(SET_TSS_ADDR), CAP(SET_IDENTITY_MAP_ADDR), CAP(EXT_CPUID),
	CAP(VCPU_EVENTS), CAP(XSAVE), CAP(XCRS), CAP(DEBUGREGS), CAP(MP_STATE), CAP(NR_MEMSLOTS), CAP(X86_USER_SPACE_MSR),
};

static int refuse(char *why, size_t len, int error, const char *text)
{
	snprintf(why, len, "%s", text);
	return error;
}

static int no_device(char *why, size_t len, int error)
{
	switch (error) {
	case -ENOENT: case -ENODEV: case -ENXIO:
		return refuse(why, len, error, "there is no /dev/kvm: load the module kvm_intel or kvm_amd, and have virtualization on in the firmware");
	case -EACCES: case -EPERM:
		return refuse(why, len, error, "/dev/kvm may not be opened: add the user to the group kvm (and log in again)");
	case -EBUSY:
		return refuse(why, len, error, "/dev/kvm is in use by another hypervisor");
	}
	snprintf(why, len, "/dev/kvm cannot be opened: %s", strerror(-error));
	return error;
}

static int check_api(const struct kvm_kernel *s, int dev, char *why, size_t len)
{
	int version = s->ioctl(s->arg, dev, KVM_GET_API_VERSION, 0);

	if (version == -ENOTTY)
		return refuse(why, len, -ENODEV, "/dev/kvm is not the kernel's KVM device");
	if (version != KVM_API_VERSION) {
		snprintf(why, len, "/dev/kvm speaks version %d of its interface, not %d", version, KVM_API_VERSION);
		return -EPROTO;
	}
	for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		if (s->ioctl(s->arg, dev, KVM_CHECK_EXTENSION, needed[i].cap) > 0)
			continue;
		snprintf(why, len, "this kernel's KVM lacks KVM_CAP_%s: Linux 5.10 has it", needed[i].name);
		return -ENOTSUP;
	}
	return 0;
}

/* ---- the trial: a guest that does what a 64-bit kernel does first */

/*
 * Guest memory, at physical 0, and seen as kernels see it too, from -2 GiB on.
 * The guest writes to port 80h when it is in 64-bit mode, when it has counted,
 * and when it has loaded its tables, been in user mode and back by SYSCALL,
 * taken an exception and a page fault.
 */
enum {
	TRIAL_BYTES = 0x10000, TRIAL_PML4 = 0x1000, TRIAL_PDPT = 0x2000, TRIAL_PD = 0x3000, TRIAL_GDT = 0x4000, TRIAL_TSS = 0x4100,
	TRIAL_IDT = 0x5000, TRIAL_CODE = 0x8000, TRIAL_STACK = 0xa000, TRIAL_PORT = 0x80, TRIAL_STEPS = 3, TRIAL_COUNTED = 1,
	TRIAL_COUNT = 1000, TRIAL_SLOW_NS = 500000,
};

#define CODE64	0x00209b0000000000ull
#define DATA	0x00cf930000000000ull
#define USER	0x0000600000000000ull	/* DPL 3 */

/* Selectors, as SYSCALL and SYSRET want them one after another. */
enum { SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_USER = 0x18, SEL_USER_DATA = 0x20, SEL_USER_CODE = 0x28, SEL_TSS = 0x30 };

extern const uint8_t kvm_trial[], kvm_trial_trap[], kvm_trial_fault[], kvm_trial_end[];

/* Position-independent; the jump goes to where kernels are. */
__asm__(
	".pushsection .rodata\n"
	"kvm_trial:\n"
	"	outb	%al, $0x80\n"
	"	movl	$1000, %ecx\n"		/* TRIAL_COUNT */
	"1:	decl	%ecx\n"
	"	jnz	1b\n"
	"	outb	%al, $0x80\n"
	"	leaq	1f(%rip), %rax\n"
	"	movq	$0xffffffff80000000, %rbx\n"
	"	orq	%rbx, %rax\n"
	"	orq	%rbx, %rsp\n"
	"	jmp	*%rax\n"
	"1:	lgdt	kvm_trial_gdtr(%rip)\n"
	"	lidt	kvm_trial_idtr(%rip)\n"
	"	movl	$0x30, %eax\n"
	"	ltr	%ax\n"
	"	movq	%cr3, %rax\n"
	"	movq	%rax, %cr3\n"
	"	movl	$0xc0000080, %ecx\n"	/* EFER.SCE */
	"	rdmsr\n"
	"	orl	$1, %eax\n"
	"	wrmsr\n"
	"	movl	$0xc0000081, %ecx\n"	/* STAR */
	"	xorl	%eax, %eax\n"
	"	movl	$0x001b0008, %edx\n"
	"	wrmsr\n"
	"	leaq	2f(%rip), %rax\n"
	"	movq	%rax, %rdx\n"
	"	shrq	$32, %rdx\n"
	"	movl	$0xc0000082, %ecx\n"	/* LSTAR */
	"	wrmsr\n"
	"	leaq	1f(%rip), %rcx\n"
	"	movl	$2, %r11d\n"
	"	sysretq\n"
	"1:	syscall\n"
	"2:	int3\n"
	"	movq	0x400000, %rax\n"	/* not there: the handler goes past it */
	"	outb	%al, $0x80\n"
	"3:	hlt\n"
	"	jmp	3b\n"
	"kvm_trial_fault:\n"
	"	addq	$8, %rsp\n"
	"	addq	$8, (%rsp)\n"
	"kvm_trial_trap:\n"
	"	iretq\n"
	"kvm_trial_gdtr:	.word	0x3f\n	.quad	0xffffffff80004000\n"
	"kvm_trial_idtr:	.word	0xff\n	.quad	0xffffffff80005000\n"
	"kvm_trial_end:\n"
	".popsection\n");

struct trial {
	const struct kvm_kernel *s;
	int dev, vm, vcpu;
	uint8_t *memory;
	struct kvm_run *run;
	size_t run_bytes;
};

static void put64(struct trial *t, unsigned at, uint64_t value)
{
	memcpy(t->memory + at, &value, sizeof(value));
}

static uint64_t high(uint64_t at)
{
	return at - (2ull << 30);
}

static void put_gate(struct trial *t, unsigned vector, const uint8_t *handler)
{
	uint64_t at = high(TRIAL_CODE + (uint64_t)(handler - kvm_trial));

	put64(t, TRIAL_IDT + 16 * vector, (at & 0xffff) | SEL_CODE << 16 | 0x8eull << 40 | (at >> 16 & 0xffff) << 48);
	put64(t, TRIAL_IDT + 16 * vector + 8, at >> 32);
}

static void fill(struct trial *t)
{
	enum { TABLE = 7, LARGE = 0x87 };	/* present, writable, for users */
	uint64_t tss = high(TRIAL_TSS);

	put64(t, TRIAL_PML4, TRIAL_PDPT | TABLE);
	put64(t, TRIAL_PML4 + 511 * 8, TRIAL_PDPT | TABLE);
	put64(t, TRIAL_PDPT, TRIAL_PD | TABLE);
	put64(t, TRIAL_PDPT + 510 * 8, TRIAL_PD | TABLE);
	put64(t, TRIAL_PD, LARGE);
	put64(t, TRIAL_GDT + SEL_CODE, CODE64);
	put64(t, TRIAL_GDT + SEL_DATA, DATA);
	put64(t, TRIAL_GDT + SEL_USER_DATA, DATA | USER);
	put64(t, TRIAL_GDT + SEL_USER_CODE, CODE64 | USER);
	put64(t, TRIAL_GDT + SEL_TSS, 0x67 | (tss & 0xffffff) << 16 | 0x89ull << 40 | (tss >> 24 & 0xff) << 56);
	put64(t, TRIAL_GDT + SEL_TSS + 8, tss >> 32);
	put64(t, TRIAL_TSS + 4, high(TRIAL_STACK));
	put_gate(t, 3, kvm_trial_trap);
	put_gate(t, 14, kvm_trial_fault);
	memcpy(t->memory + TRIAL_CODE, kvm_trial, (size_t)(kvm_trial_end - kvm_trial));
}

static int call(const struct trial *t, int fd, unsigned long request, void *arg)
{
	return t->s->ioctl(t->s->arg, fd, request, (unsigned long)(uintptr_t)arg);
}

static int enter_long_mode(struct trial *t)
{
	struct kvm_regs regs = { .rip = TRIAL_CODE, .rsp = TRIAL_STACK, .rflags = 2 };
	struct kvm_segment code = { .selector = SEL_CODE, .limit = ~0u, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
	struct kvm_segment data = { .selector = SEL_DATA, .limit = ~0u, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1 };
	struct kvm_sregs sregs;
	int ret = call(t, t->vcpu, KVM_GET_SREGS, &sregs);

	if (ret)
		return ret;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr3 = TRIAL_PML4;
	sregs.cr4 = 0x20;		/* PAE */
	sregs.cr0 = 0x80050033;		/* PG, AM, WP, NE, ET, MP, PE: as Linux */
	sregs.efer = 0x500;		/* LMA, LME */
	ret = call(t, t->vcpu, KVM_SET_SREGS, &sregs);
	return ret ? ret : call(t, t->vcpu, KVM_SET_REGS, &regs);
}

static int give_cpuid(struct trial *t)
{
	enum { ENTRIES = 256 };
	union {
		struct kvm_cpuid2 list;
		uint8_t room[sizeof(struct kvm_cpuid2) + ENTRIES * sizeof(struct kvm_cpuid_entry2)];
	} c = { .list.nent = ENTRIES };
	int ret = call(t, t->dev, KVM_GET_SUPPORTED_CPUID, &c);

	return ret < 0 ? ret : call(t, t->vcpu, KVM_SET_CPUID2, &c);
}

static int make_trial(struct trial *t)
{
	struct kvm_userspace_memory_region r = { .memory_size = TRIAL_BYTES };
	int ret;

	t->memory = t->s->map(t->s->arg, -1, TRIAL_BYTES);
	t->vm = call(t, t->dev, KVM_CREATE_VM, NULL);
	if (!t->memory || t->vm < 0)
		return t->vm < 0 ? t->vm : -ENOMEM;
	fill(t);
	r.userspace_addr = (uintptr_t)t->memory;
	ret = call(t, t->vm, KVM_SET_USER_MEMORY_REGION, &r);
	t->vcpu = ret ? ret : call(t, t->vm, KVM_CREATE_VCPU, NULL);
	ret = t->vcpu < 0 ? t->vcpu : call(t, t->dev, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (ret < 0)
		return ret;
	t->run_bytes = (size_t)ret;
	t->run = t->s->map(t->s->arg, t->vcpu, t->run_bytes);
	if (!t->run)
		return -ENOMEM;
	ret = give_cpuid(t);
	return ret ? ret : enter_long_mode(t);
}

static void drop_trial(struct trial *t)
{
	if (t->run)
		t->s->unmap(t->s->arg, t->run, t->run_bytes);
	if (t->vcpu >= 0)
		t->s->close(t->s->arg, t->vcpu);
	if (t->vm >= 0)
		t->s->close(t->s->arg, t->vm);
	if (t->memory)
		t->s->unmap(t->s->arg, t->memory, TRIAL_BYTES);
}

/* To the guest's next step. */
static bool step(struct trial *t)
{
	int ret;

	do
		ret = call(t, t->vcpu, KVM_RUN, NULL);
	while (ret == -EINTR || ret == -EAGAIN);
	return !ret && t->run->exit_reason == KVM_EXIT_IO && t->run->io.port == TRIAL_PORT;
}

static int run_trial(struct trial *t, char *why, size_t len)
{
	uint64_t before = 0, took;

	for (unsigned i = 0; i < TRIAL_STEPS; i++) {
		if (!step(t)) {
			snprintf(why, len, "this host's KVM does not run a 64-bit kernel: a trial guest stops after step %u of %u (exit reason %u)",
				 i, TRIAL_STEPS, t->run->exit_reason);
			return -ENOTSUP;
		}
		took = t->s->now(t->s->arg) - before;
		if (i == TRIAL_COUNTED && took > TRIAL_SLOW_NS) {
			snprintf(why, len, "this host's KVM emulates instructions: %u rounds of a loop took %u us", TRIAL_COUNT,
				 (unsigned)(took / 1000));
			return -ENOTSUP;
		}
		before = t->s->now(t->s->arg);
	}
	return 0;
}

static int trial(const struct kvm_kernel *s, int dev, char *why, size_t len)
{
	struct trial t = { .s = s, .dev = dev, .vm = -1, .vcpu = -1 };
	int ret = make_trial(&t);

	if (ret)
		snprintf(why, len, "this host's KVM makes no trial guest: %s", strerror(-ret));
	else
		ret = run_trial(&t, why, len);
	drop_trial(&t);
	return ret;
}

int kvm_probe(const struct kvm_kernel *s, enum kvm_probe how, char *why, size_t len)
{
	int dev = s->open(s->arg), ret;

	if (dev < 0)
		return no_device(why, len, dev);
	ret = check_api(s, dev, why, len);
	if (!ret && how == KVM_PROBE_SPEED)
		ret = trial(s, dev, why, len);
	s->close(s->arg, dev);
	return ret;
}
