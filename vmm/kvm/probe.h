/*
 * vmm/kvm/probe.h - does KVM work here, and if not, why.
 */
#ifndef CLEAVE_VMM_KVM_PROBE_H
#define CLEAVE_VMM_KVM_PROBE_H

#include <stddef.h>
#include <stdint.h>

/* The kernel, so that a test can stand in its place.  Results are -errno. */
struct kvm_kernel {
	int (*open)(void *arg);					/* /dev/kvm */
	int (*ioctl)(void *arg, int fd, unsigned long request, unsigned long value);
	void *(*map)(void *arg, int fd, size_t bytes);		/* fd -1: memory; NULL: cannot */
	void (*unmap)(void *arg, void *at, size_t bytes);
	void (*close)(void *arg, int fd);
	uint64_t (*now)(void *arg);				/* ns */
	void *arg;
};

extern const struct kvm_kernel kvm_linux;

enum kvm_probe { KVM_PROBE_API, KVM_PROBE_SPEED };

/*
 * API: the device can be opened and has what the engine needs.  SPEED: and a
 * trial guest in 64-bit mode runs, at a processor's speed.  0, or -errno with
 * the cause and the cure in `why`.
 */
int kvm_probe(const struct kvm_kernel *, enum kvm_probe, char *why, size_t len);

#endif
