/*
 * vmm/kvm/slots.c - the guest-physical map as the kernel's memory slots.
 *
 * A run of pages (vmm/mem.h) becomes a slot: memory where both sides are the
 * same, read-only where a write goes elsewhere or nowhere.  Where nothing is
 * read there is no slot, and every access is an exit (exits.c knows the map as
 * well).  A slot cannot be changed, only removed and made anew; that is done on
 * the thread that runs the only vCPU, so the guest sees no hole.
 *
 * The kernel knows no A20 gate.  While it is shut, the second megabyte shows the
 * first: all that real mode can tell, and what firmware and boot loaders test.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmm/kvm/kvm.h"
#include "vmm/mem.h"
#include "vmm/vm.h"

enum { MIB = 1 << 20 };

static int set_slot(struct kvm_vm *kvm, unsigned n, const struct kvm_slot *s)
{
	struct kvm_userspace_memory_region r = {
		.slot = n, .guest_phys_addr = s->gpa, .memory_size = s->len, .userspace_addr = (uintptr_t)s->host,
		.flags = s->readonly ? KVM_MEM_READONLY : 0,
	};

	return KVM_IOCTL(kvm->fd, KVM_SET_USER_MEMORY_REGION, &r);
}

static bool same_slot(const struct kvm_slot *a, const struct kvm_slot *b)
{
	return a->gpa == b->gpa && a->len == b->len && a->host == b->host && a->readonly == b->readonly;
}

/* What a run of pages is to the kernel; false: nothing. */
static bool slot_of(const struct mem_page *p, uint64_t gpa, uint64_t len, struct kvm_slot *s)
{
	*s = (struct kvm_slot){ .gpa = gpa, .len = len, .host = p->read, .readonly = p->write != p->read };
	return p->read;
}

/* The slots of [from, end), which shows what lies `shift` lower; -ENOSPC. */
static int add_runs(const struct mem *mem, uint64_t from, uint64_t end, uint64_t shift, struct kvm_slot *to, unsigned *n)
{
	for (uint64_t len; from < end; from += len) {
		struct mem_page p;

		len = mem_run(mem, from - shift, end - shift, &p);
		if (*n == KVM_SLOTS)
			return -ENOSPC;
		*n += slot_of(&p, from, len, &to[*n]);
	}
	return 0;
}

static int wanted(const struct kvm_vm *kvm, struct kvm_slot *to, unsigned *n)
{
	const struct mem *mem = kvm->vm->mem;
	uint64_t end = mem_ram_end(mem);
	int ret;

	*n = 0;
	if (end < 4ull << 30)
		end = 4ull << 30;		/* the boot ROM */
	if (kvm->slots_a20)
		return add_runs(mem, 0, end, 0, to, n);
	ret = add_runs(mem, 0, MIB, 0, to, n);
	if (!ret)
		ret = add_runs(mem, MIB, 2 * MIB, MIB, to, n);
	return ret ? ret : add_runs(mem, 2 * MIB, end, 0, to, n);
}

static bool keeps(const struct kvm_slot *s, const struct kvm_slot *want, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (same_slot(s, &want[i]))
			return true;
	return false;
}

static int drop_old(struct kvm_vm *kvm, const struct kvm_slot *want, unsigned n)
{
	int ret = 0;

	for (unsigned i = 0; i < KVM_SLOTS && !ret; i++) {
		struct kvm_slot *s = &kvm->slot[i];

		if (!s->len || keeps(s, want, n))
			continue;
		s->len = 0;
		ret = set_slot(kvm, i, s);
	}
	return ret;
}

static int add_new(struct kvm_vm *kvm, const struct kvm_slot *want, unsigned n)
{
	unsigned free = 0;
	int ret = 0;

	for (unsigned i = 0; i < n && !ret; i++) {
		if (keeps(&want[i], kvm->slot, KVM_SLOTS))
			continue;
		while (kvm->slot[free].len)
			free++;
		ret = set_slot(kvm, free, &want[i]);
		if (!ret)
			kvm->slot[free] = want[i];
	}
	return ret;
}

int kvm_slots_follow(struct kvm_vm *kvm, struct vcpu *v)
{
	uint32_t gen = mem_map_gen(kvm->vm->mem);
	bool a20 = atomic_load_explicit(&kvm->a20, memory_order_acquire);
	struct kvm_slot want[KVM_SLOTS];
	unsigned n;
	int ret;

	if (kvm->slots_valid && gen == kvm->map_gen && a20 == kvm->slots_a20)
		return 0;
	kvm->slots_a20 = a20;
	ret = wanted(kvm, want, &n);
	if (!ret)
		ret = drop_old(kvm, want, n);
	if (!ret)
		ret = add_new(kvm, want, n);
	kvm->map_gen = gen;
	kvm->slots_valid = !ret;
	if (ret)
		snprintf(v->error, sizeof(v->error), "vCPU %u: KVM does not take the memory map: %s; try -o engine=soft", v->id,
			 strerror(-ret));
	return ret;
}
