/*
 * tests/insn/string_io_kvm.c - string I/O on KVM: illumos 13286, and the model.
 *
 * The same machine, cases and model as for the soft engine, less what the
 * kernel decides: faults (doc/kvm.md) and events between elements.  A mode in
 * which this KVM cannot run the instruction at all is left out, and said so;
 * one that emulates knows real mode at least.  77 where there is no KVM.
 *
 *	string_io_kvm [MODES]	only the first so many: QEMU's emulated SVM ends
 *				at user mode over a 32-bit TSS
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/insn/string_io.h"

enum { OFF = 0x2000, FAILURES = 5 };

static const char *const mode_names[SIO_MODES] = {
	[REAL] = "real", [PROT16] = "protected, 16 bits", [PROT32] = "protected, 32 bits", [USER32] = "CPL 3 by IOPL",
	[BITMAP32] = "CPL 3 by the bitmap", [V86] = "virtual-8086",
	[COMPAT16] = "compatibility, 16 bits", [COMPAT32] = "compatibility, 32 bits", [LONG] = "64-bit", [USER64] = "64-bit, CPL 3",
};

/* Four elements "QEMU" from the daemon: memory has them, RAX keeps its canary, the device saw four reads. */
static bool qemu(struct sio *m, unsigned mode, unsigned most)
{
	struct sio_case c = { .mode = mode, .a32 = true, .input = true, .size = 1, .rep = true, .count = 4, .port = FAKE_FWCFG,
			      .off = OFF, .most = most };

	sio_prepare(m, &c);
	sio_run(m);
	if (!memcmp(m->got.window + OFF, "QEMU", 4) && m->got.gpr[X86_RAX] == m->start.gpr[X86_RAX] && fake_get(&m->fake.reads) == 4)
		return true;
	printf("FAIL: 13286, %s, %u at once: memory %.4s, RAX %#llx, %u reads\n", mode_names[mode], most, (char *)m->got.window + OFF,
	       (unsigned long long)m->got.gpr[X86_RAX], (unsigned)fake_get(&m->fake.reads));
	return false;
}

static bool runs(struct sio *m, unsigned mode)
{
	struct sio_case c = { .mode = mode, .a32 = true, .size = 1, .port = SIO_ENGINE, .off = OFF };
	enum vcpu_exit e;

	if (!sio_prepare(m, &c)) {
		printf("left out: %s: this KVM does not take the state\n", mode_names[mode]);
		return false;
	}
	e = sio_run(m);
	if ((e == EXIT_HLT_FOREVER || e == EXIT_HLT) && m->got.vector == -1)
		return true;
	printf("left out: %s: %s\n", mode_names[mode], e == EXIT_ERROR ? m->vcpu.error : "this KVM goes astray");
	return false;
}

/* Programs' I/O is for 13286 alone: a KVM that runs them itself shows other flags in the frame that the fault pushes. */
static bool has_sweep(unsigned mode)
{
	return mode != USER32 && mode != BITMAP32 && mode != V86 && mode != USER64;
}

/* A quarter of the cases in each mode. */
static unsigned sweep(struct sio *m, unsigned mode, unsigned *failed)
{
	static const uint16_t ports[] = { SIO_ENGINE, FAKE_FIFO, FAKE_PLAIN, SIO_NOBODY };
	static const uint32_t counts[] = { 0, 1, 5, 300, 1500 }, offs[] = { OFF, 0x2ffd };
	unsigned n = 0;

	for (unsigned i = 0; i < 2 * 2 * 2 * 3 * 4 * 5 * 2 && *failed < FAILURES; i++) {
		unsigned x = i;
		struct sio_case c = { .mode = mode, .a32 = true };

		c.input = x % 2, x /= 2;
		c.down = x % 2, x /= 2;
		c.rep = x % 2, x /= 2;
		c.size = (uint8_t)(1 << x % 3), x /= 3;
		c.port = ports[x % 4], x /= 4;
		c.count = counts[x % 5], x /= 5;
		c.off = offs[x];
		c.most = i % 7 ? 0 : 3;
		if ((i + i / 7) % 4 != mode % 4)
			continue;
		if (c.down)
			c.off += 0x2000;
		if ((!c.rep && c.count != 1) || (c.port == FAKE_PLAIN && c.count > 5))
			continue;
		n++;
		*failed += !sio_check(m, &c);
	}
	return n;
}

/* In a machine of its own: a KVM that emulates is not itself after a state that it does not take. */
static unsigned run_mode(unsigned mode, unsigned *failed)
{
	struct sio *m = sio_new_on(&kvm_engine);
	unsigned cases = 0;

	if (runs(m, mode)) {
		for (unsigned most = 0; most <= 2; most++)
			*failed += !qemu(m, mode, most);
		if (has_sweep(mode))
			cases = sweep(m, mode, failed);
	} else {
		*failed += mode == REAL;
	}
	sio_free(m);
	return cases;
}

int main(int argc, char **argv)
{
	unsigned modes = argc > 1 ? (unsigned)atoi(argv[1]) : SIO_MODES, failed = 0, cases = 0;

	setlinebuf(stdout);
	for (unsigned mode = REAL; mode < modes && mode < SIO_MODES; mode++)
		cases += run_mode(mode, &failed);
	printf("%u cases, %u failed\n", cases, failed);
	return failed != 0;
}
