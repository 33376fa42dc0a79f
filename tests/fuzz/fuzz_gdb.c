/*
 * tests/fuzz/fuzz_gdb.c - a debugger's bytes.  Whatever comes, the machine is
 * only touched while it stands, and ranges are within the packet's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/gdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

enum { VCPUS = 2 };

static struct vcpu_debug debug[VCPUS];
static struct x86_state state[VCPUS];
static uint8_t memory[65536];
static bool stands;

static void check(bool ok)
{
	if (!ok)
		abort();
}

static int stop(void *arg)
{
	(void)arg;
	stands = true;
	return 0;
}

static void resume(void *arg)
{
	(void)arg;
	check(stands);
	stands = false;
}

static void get(void *arg, unsigned n, struct x86_state *s)
{
	(void)arg;
	check(stands && n < VCPUS);
	*s = state[n];
}

static int set(void *arg, unsigned n, const struct x86_state *s)
{
	(void)arg;
	check(stands && n < VCPUS);
	state[n] = *s;
	return 0;
}

static bool inside(uint64_t at, size_t n)
{
	check(stands && n <= GDB_PACKET);
	return at <= sizeof(memory) && n <= sizeof(memory) - at;
}

static int get_memory(void *arg, unsigned n, uint64_t at, void *data, size_t len)
{
	(void)arg, (void)n;
	if (!inside(at, len))
		return -EFAULT;
	memcpy(data, memory + at, len);
	return 0;
}

static int set_memory(void *arg, unsigned n, uint64_t at, const void *data, size_t len)
{
	(void)arg, (void)n;
	if (!inside(at, len))
		return -EFAULT;
	memcpy(memory + at, data, len);
	return 0;
}

static struct vcpu_debug *get_debug(void *arg, unsigned n)
{
	(void)arg;
	check(n < VCPUS);
	return &debug[n];
}

static int changed(void *arg)
{
	(void)arg;
	check(stands);
	for (unsigned i = 0; i < VCPUS; i++)
		check(debug[i].nbreaks <= DEBUG_BREAKS && debug[i].nwatches <= DEBUG_WATCHES);
	return 0;
}

static void nothing(void *arg)
{
	(void)arg;
}

static void sent(void *arg, const void *data, size_t n)
{
	(void)arg, (void)data;
	check(n <= GDB_PACKET);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct gdb_target t = {
		.nvcpus = VCPUS, .stop = stop, .resume = resume, .get = get, .set = set, .read = get_memory,
		.write = set_memory, .debug = get_debug, .debug_changed = changed, .kill = nothing, .send = sent,
	};
	struct gdb_session *s;
	bool more = true;

	memset(state, 0, sizeof(state));
	state[0].efer = size & 1 ? 1 << 10 : 0;
	s = gdb_session_new(&t);
	check(s);
	/* Packets that need no checksum: a line each. */
	gdb_session_input(s, (const uint8_t *)"$QStartNoAckMode#b0", 19);
	while (size && more) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t n = end ? (size_t)(end - data) : size;

		gdb_session_input(s, (const uint8_t *)"$", 1);
		more = gdb_session_input(s, data, n) && gdb_session_input(s, (const uint8_t *)"#00", 3);
		if (!stands && n & 1)
			gdb_session_stopped(s, n % VCPUS + (stop(NULL), 0u));
		else if (!stands)
			more = more && gdb_session_input(s, (const uint8_t *)"\3", 1);
		n += !!end;
		data += n;
		size -= n;
	}
	gdb_session_free(s);
	check(!stands && !debug[0].nbreaks && !debug[1].nwatches);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	static const char *const seeds[] = {
		"qSupported:x\nqXfer:features:read:target.xml:0,ffb\ng\np10\nP0=0102030405060708\nHg2\nm100,40\nM100,2:0102\nX100,2:ab",
		"Z0,1000,1\nZ1,1001,1\nZ2,2000,4\nZ4,2000,8\nvCont;s:1;c\nz0,1000,1\nz2,2000,4\nvCont?\nqfThreadInfo\nqsThreadInfo\ns\nc1234\nD",
	};

	if (n >= sizeof(seeds) / sizeof(seeds[0]) || strlen(seeds[n]) > cap)
		return 0;
	memcpy(buf, seeds[n], strlen(seeds[n]));
	return strlen(seeds[n]);
}
