/*
 * tests/insn/string_io_13286.c - the regression test for illumos 13286.
 *
 * There, INS went through the code of IN, which left the value in RAX instead
 * of handing it on: memory got a stale value, and RAX was clobbered.
 *
 * Four elements "QEMU" by REP INSB, from a port in the engine and from
 * fw_cfg's data port in the daemon, batched and one by one, in every mode:
 * memory holds QEMU, RAX keeps its canary, the device saw four reads.
 *
 * Built a second time with the old behaviour put back (CLEAVE_INJECT_13286),
 * the program succeeds only if every one of these cases fails, and fails for
 * this reason: wrong bytes in memory and a clobbered RAX, nothing else.
 */
#include <stdio.h>
#include <string.h>

#include "tests/insn/string_io.h"
#include "vmm/bus.h"
#include "vmm/inout.h"

#ifdef CLEAVE_INJECT_13286
enum { INJECTED = 1 };
#else
enum { INJECTED = 0 };
#endif

enum { ENGINE_FWCFG = 0x1d0, OFF = 0x2000 };

static unsigned engine_reads;

static uint64_t read_qemu(void *dev, uint64_t off, unsigned size)
{
	(void)dev, (void)off, (void)size;
	return (uint8_t)"QEMU"[engine_reads++ % 4];
}

static void ignore(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	(void)dev, (void)off, (void)size, (void)value;
}

/* One case; true if the program may go on. */
static bool one(struct sio *m, unsigned mode, uint16_t port, unsigned most)
{
	struct sio_case c = { .mode = mode, .a32 = true, .input = true, .size = 1, .rep = true, .count = 4, .port = port, .off = OFF,
			      .most = most };
	uint8_t want[16];
	bool memory, rax, reads, rest;

	sio_prepare(m, &c);
	engine_reads = 0;
	memcpy(want, m->pristine + SIO_BASE + OFF - 6, 16);
	sio_run(m);
	rest = m->got.vector == -1 && !(m->got.gpr[1]) && m->got.gpr[7] == (uint32_t)m->start.gpr[7] + 4 &&
	       !memcmp(m->got.window + OFF - 6, want, 6) && !memcmp(m->got.window + OFF + 4, want + 10, 6);
	memory = !memcmp(m->got.window + OFF, "QEMU", 4);
	rax = m->got.gpr[0] == m->start.gpr[0];
	reads = (port == ENGINE_FWCFG ? engine_reads : fake_get(&m->fake.reads)) == 4;
	if (reads && rest && memory == !INJECTED && rax == !INJECTED)
		return true;
	fprintf(stderr, "mode %u, port %#x, %u at once%s: memory %.4s, RAX %#llx, %u reads, the rest %s\n", mode, port, most,
		INJECTED ? ", old behaviour injected" : "", (const char *)m->got.window + OFF, (unsigned long long)m->got.gpr[0],
		(unsigned)(port == ENGINE_FWCFG ? engine_reads : fake_get(&m->fake.reads)), rest ? "right" : "wrong");
	return false;
}

int main(void)
{
	struct bus_handler h = { .name = "fwcfg", .base = ENGINE_FWCFG, .len = 1, .read = read_qemu, .write = ignore };
	struct sio *m = sio_new();
	bool ok = !bus_add_handler(m->vm.bus, &h);

	for (unsigned mode = REAL; mode < SIO_MODES; mode++) {
		ok &= one(m, mode, ENGINE_FWCFG, 0);
		for (unsigned most = 0; most <= 2; most++)
			ok &= one(m, mode, FAKE_FWCFG, most);
	}
	sio_free(m);
	return !ok;
}
