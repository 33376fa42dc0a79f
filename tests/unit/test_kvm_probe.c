/*
 * tests/unit/test_kvm_probe.c - what is said of a KVM that does not do, by a
 * kernel that fails where it is told to.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/kvm/probe.h"

enum { DEV = 100, VM, VCPU, STEPS = 3 };

static struct {
	int open;			/* 0: it opens */
	int version;
	unsigned lacks;			/* a capability */
	unsigned long fails;		/* a request */
	int with;
	unsigned stops;			/* KVM_RUN after so many steps: */
	unsigned reason;
	unsigned interrupts;		/* KVM_RUN returns early so often */
	uint64_t ns[STEPS + 1];		/* of each step */

	unsigned steps, fds, maps;
	uint64_t now;
	struct kvm_run *run;
} f;

static int fake_open(void *arg)
{
	(void)arg;
	f.fds += !f.open;
	return f.open ? f.open : DEV;
}

static int run_guest(void)
{
	if (f.interrupts) {
		f.interrupts--;
		return -EINTR;
	}
	f.now += f.ns[f.steps];
	f.run->exit_reason = f.steps == f.stops ? f.reason : KVM_EXIT_IO;
	f.run->io.port = 0x80;
	f.steps++;
	return 0;
}

static int fake_ioctl(void *arg, int fd, unsigned long request, unsigned long value)
{
	(void)arg, (void)fd;
	if (request == f.fails)
		return f.with;
	switch (request) {
	case KVM_GET_API_VERSION:
		return f.version;
	case KVM_CHECK_EXTENSION:
		return value != f.lacks;
	case KVM_CREATE_VM:
		f.fds++;
		return VM;
	case KVM_CREATE_VCPU:
		f.fds++;
		return VCPU;
	case KVM_GET_VCPU_MMAP_SIZE:
		return 4096;
	case KVM_RUN:
		return run_guest();
	default:
		return 0;
	}
}

static void *fake_map(void *arg, int fd, size_t bytes)
{
	void *p = calloc(1, bytes);

	(void)arg;
	f.maps++;
	if (fd >= 0)
		f.run = p;
	return p;
}

static void fake_unmap(void *arg, void *at, size_t bytes)
{
	(void)arg, (void)bytes;
	f.maps--;
	free(at);
}

static void fake_close(void *arg, int fd)
{
	(void)arg, (void)fd;
	f.fds--;
}

static uint64_t fake_now(void *arg)
{
	(void)arg;
	return f.now;
}

static const struct kvm_kernel fake = {
	.open = fake_open, .ioctl = fake_ioctl, .map = fake_map, .unmap = fake_unmap, .close = fake_close, .now = fake_now,
};

static int set_up(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	f.version = KVM_API_VERSION;
	f.stops = UINT32_MAX;
	f.lacks = UINT32_MAX;
	return 0;
}

/* It fails with this error, says all these words, and leaves nothing open. */
static void refused(enum kvm_probe how, int error, const char *a, const char *b)
{
	char why[200] = "";

	assert_int_equal(kvm_probe(&fake, how, why, sizeof(why)), error);
	if (!strstr(why, a) || !strstr(why, b))
		fail_msg("it says: %s", why);
	assert_int_equal(f.fds, 0);
	assert_int_equal(f.maps, 0);
}

static void accepted(enum kvm_probe how)
{
	char why[200] = "";

	assert_int_equal(kvm_probe(&fake, how, why, sizeof(why)), 0);
	assert_string_equal(why, "");
	assert_int_equal(f.fds, 0);
	assert_int_equal(f.maps, 0);
}

static void all_is_well(void **state)
{
	(void)state;
	accepted(KVM_PROBE_API);
	assert_int_equal(f.steps, 0);
	f.interrupts = 2;
	accepted(KVM_PROBE_SPEED);
	assert_int_equal(f.steps, STEPS);
}

static void the_device_does_not_open(void **state)
{
	(void)state;
	f.open = -ENOENT;
	refused(KVM_PROBE_API, -ENOENT, "no /dev/kvm", "kvm_intel or kvm_amd");
	f.open = -ENODEV;
	refused(KVM_PROBE_SPEED, -ENODEV, "no /dev/kvm", "firmware");
	f.open = -EACCES;
	refused(KVM_PROBE_API, -EACCES, "may not be opened", "group kvm");
	f.open = -EBUSY;
	refused(KVM_PROBE_API, -EBUSY, "/dev/kvm", "another hypervisor");
	f.open = -EIO;
	refused(KVM_PROBE_API, -EIO, "/dev/kvm", strerror(EIO));
}

static void the_interface_is_another(void **state)
{
	(void)state;
	f.version = 11;
	refused(KVM_PROBE_API, -EPROTO, "version 11", "not 12");
	f.version = -ENOTTY;
	refused(KVM_PROBE_API, -ENODEV, "not the kernel's", "/dev/kvm");
}

static void a_capability_is_missing(void **state)
{
	(void)state;
	f.lacks = KVM_CAP_IMMEDIATE_EXIT;
	refused(KVM_PROBE_API, -ENOTSUP, "KVM_CAP_IMMEDIATE_EXIT", "Linux");
	f.lacks = KVM_CAP_READONLY_MEM;
	refused(KVM_PROBE_SPEED, -ENOTSUP, "KVM_CAP_READONLY_MEM", "lacks");
}

static void no_trial_can_be_made(void **state)
{
	static const unsigned long requests[] = {
		KVM_CREATE_VM, KVM_SET_USER_MEMORY_REGION, KVM_CREATE_VCPU, KVM_GET_VCPU_MMAP_SIZE, KVM_GET_SUPPORTED_CPUID,
		KVM_SET_CPUID2, KVM_GET_SREGS, KVM_SET_SREGS, KVM_SET_REGS,
	};

	(void)state;
	f.with = -EPERM;
	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		f.fails = requests[i];
		refused(KVM_PROBE_SPEED, -EPERM, "no trial guest", strerror(EPERM));
	}
}

static void the_trial_goes_astray(void **state)
{
	char step[40];

	(void)state;
	f.reason = KVM_EXIT_SHUTDOWN;
	for (unsigned i = 0; i < STEPS; i++) {
		f.steps = 0;
		f.stops = i;
		snprintf(step, sizeof(step), "after step %u of 3 (exit reason 8)", i);
		refused(KVM_PROBE_SPEED, -ENOTSUP, "does not run a 64-bit kernel", step);
	}
	f.fails = KVM_RUN;
	f.with = -EINVAL;
	refused(KVM_PROBE_SPEED, -ENOTSUP, "does not run a 64-bit kernel", "step 0");
}

static void the_trial_is_slow(void **state)
{
	(void)state;
	f.ns[0] = f.ns[2] = 5000000;		/* it may start and end slowly */
	f.ns[1] = 400000;
	accepted(KVM_PROBE_SPEED);
	f.steps = 0;
	f.ns[1] = 3000000;
	refused(KVM_PROBE_SPEED, -ENOTSUP, "emulates instructions", "3000 us");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(all_is_well, set_up),
		cmocka_unit_test_setup(the_device_does_not_open, set_up),
		cmocka_unit_test_setup(the_interface_is_another, set_up),
		cmocka_unit_test_setup(a_capability_is_missing, set_up),
		cmocka_unit_test_setup(no_trial_can_be_made, set_up),
		cmocka_unit_test_setup(the_trial_goes_astray, set_up),
		cmocka_unit_test_setup(the_trial_is_slow, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
