/*
 * vmm/kvm/exits.c - ports and device memory: the kernel's exits on the pending path.
 *
 * The kernel hands over a string instruction as up to a page of elements; they
 * become requests of as many elements as the port's device takes at once.  Data
 * go between the device and the page that the kernel shares, and nowhere else:
 * the kernel puts them where the instruction wants them when it is entered next.
 *
 * To vmm/inout.h each request is an instruction of its own: how far the exit has
 * come is in k->done, so nothing is asked for twice.
 */
#include <string.h>

#include "vmm/inout.h"
#include "vmm/kvm/kvm.h"
#include "vmm/mem.h"
#include "vmm/vm.h"

/* The memory operand of a string instruction, which only the kernel knows. */
#define SOME_MEM	0

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* ---- ports */

static bool serve_port(struct kvm_cpu *k)
{
	struct vcpu *v = k->vcpu;
	const struct kvm_run *run = k->run;
	bool in = run->io.direction == KVM_EXIT_IO_IN;
	unsigned size = run->io.size, count = run->io.count, n;
	uint64_t linear = count > 1 ? SOME_MEM : INOUT_NO_MEM;

	for (; k->done < count; k->done += n) {
		uint8_t *data = (uint8_t *)k->run + run->io.data_offset + (size_t)k->done * size;
		enum io_result r;

		if (!inout_active(v))
			k->asked = least(count - k->done, inout_batch_limit(v, run->io.port, size, in));
		r = in ? inout_in(v, run->io.port, size, k->asked, linear, data, &n)
		       : inout_out(v, run->io.port, size, k->asked, linear, data, &n);
		if (r != IO_OK)
			return false;
		inout_retire(v);
	}
	return true;
}

/* ---- device memory */

/* The largest power of two: the kernel cuts at pages, and so in odd sizes. */
static unsigned piece(unsigned left)
{
	return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

static bool access_memory(struct kvm_cpu *k, uint64_t gpa, unsigned size, uint8_t *data, bool write)
{
	struct mem_page p = mem_lookup(k->kvm->vm->mem, gpa);
	uint64_t value = 0;

	if (write ? p.write != NULL : p.read != NULL) {
		if (write)
			memcpy(p.write + gpa % MEM_PAGE, data, size);
		else
			memcpy(data, p.read + gpa % MEM_PAGE, size);
		return true;
	}
	if (write && p.rom)
		return true;
	if (write) {
		memcpy(&value, data, size);
		return inout_mmio_write(k->vcpu, gpa, size, value) == IO_OK;
	}
	if (inout_mmio_read(k->vcpu, gpa, size, &value) != IO_OK)
		return false;
	memcpy(data, &value, size);
	return true;
}

static bool serve_memory(struct kvm_cpu *k)
{
	struct kvm_run *run = k->run;
	uint64_t gpa = run->mmio.phys_addr;
	unsigned n;

	if (!k->kvm->slots_a20 && gpa >> 20 == 1)
		gpa -= KVM_A20;
	for (; k->done < run->mmio.len; k->done += n) {
		n = piece(run->mmio.len - k->done);
		if (!access_memory(k, gpa + k->done, n, run->mmio.data + k->done, run->mmio.is_write))
			return false;
		inout_retire(k->vcpu);
	}
	return true;
}

/* ---- registers that the kernel does not know: only without x86.strictmsr */

static bool serve_msr(struct kvm_cpu *k)
{
	k->run->msr.error = 0;
	if (k->run->exit_reason == KVM_EXIT_X86_RDMSR)
		k->run->msr.data = 0;
	return true;
}

bool kvm_serve(struct kvm_cpu *k)
{
	switch (k->run->exit_reason) {
	case KVM_EXIT_IO:
		k->open = !serve_port(k);
		break;
	case KVM_EXIT_MMIO:
		k->open = !serve_memory(k);
		break;
	default:
		k->open = !serve_msr(k);
		break;
	}
	return !k->open;
}
