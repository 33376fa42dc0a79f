/*
 * tests/unit/test_inout.c - requests, completions, the slot and the log, with a
 * real link and a scripted daemon on the other end of it (fakedaemon.h), honest
 * and hostile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/fakedaemon.h"
#include "vmm/bus.h"
#include "vmm/dev/devs.h"
#include "vmm/inout.h"
#include "vmm/irq.h"
#include "vmm/link.h"
#include "vmm/mem.h"
#include "vmm/stats.h"
#include "vmm/timer.h"

struct env {
	struct vm vm;
	struct vcpu vcpu[2];
	struct fake fake;
	uint64_t engine_reads, engine_writes, engine_last;
	int lost;
	char why[200];
};

/* ---- the rest of the VMM, as far as the link calls it */

static struct {
	unsigned irqs, maps, codes, a20s, nmis, powers;
	unsigned gsi, level, pmbase;
	int kernel_bells;
	void (*meanwhile)(struct env *);	/* runs while a line is set, with the link's events locked */
	struct env *env;
} told;

void vcpu_kick(struct vcpu *v)
{
	vcpu_raise_kick(v);
	wait_wake_private((const uint32_t *)(const void *)&v->kick);
}

void irq_set(struct vm *vm, unsigned gsi, bool level)
{
	(void)vm;
	told.irqs++;
	told.gsi = gsi;
	told.level = level;
	if (told.meanwhile)
		told.meanwhile(told.env);
}

void irq_msi(struct vm *v, uint64_t addr, uint32_t data)
{
	(void)v, (void)addr, (void)data;
}

int mem_set_map(struct mem *mem, unsigned slot, unsigned map, uint64_t base, uint64_t len, uint64_t offset)
{
	(void)mem, (void)slot, (void)map, (void)base, (void)len, (void)offset;
	return 0;
}

void vm_request(struct vm *vm, enum vm_request request, unsigned arg, const char *why)
{
	(void)vm, (void)request, (void)arg, (void)why;
	told.powers++;
}

static void map_changed(struct vm *vm)
{
	(void)vm;
	told.maps++;
}

static void code_changed(struct vm *vm, uint64_t gpa, uint64_t len)
{
	(void)vm, (void)gpa, (void)len;
	told.codes++;
}

void devs_a20_kbc(struct vm *vm, bool on)
{
	(void)vm, (void)on;
	told.a20s++;
}

void devs_pmbase(struct vm *vm, uint16_t base, bool on)
{
	(void)vm, (void)on;
	told.pmbase = base;
}

void devs_nmi(struct vm *vm)
{
	(void)vm;
	told.nmis++;
}

/* A kernel that takes doorbells in memory. */
static int doorbell(struct vm *vm, const struct engine_doorbell *d, bool on)
{
	(void)vm;
	if (!d->mmio)
		return -EINVAL;
	told.kernel_bells += on ? 1 : -1;
	return 0;
}

static const struct engine_ops engine = {
	.name = "none", .map_changed = map_changed, .code_changed = code_changed, .doorbell = doorbell,
};

/* ---- setting up */

static uint64_t engine_read(void *dev, uint64_t off, unsigned size)
{
	struct env *e = dev;

	(void)size;
	e->engine_reads++;
	return 0xaabbccdd00ull + off;
}

static void engine_write(void *dev, uint64_t off, unsigned size, uint64_t value)
{
	struct env *e = dev;

	(void)off, (void)size;
	e->engine_writes++;
	e->engine_last = value;
}

static void lost(void *arg, const char *why)
{
	struct env *e = arg;

	e->lost++;
	strncpy(e->why, why, sizeof(e->why) - 1);
}

static int setup(void **state)
{
	struct env *e = aligned_alloc(64, (sizeof(*e) + 63) & ~(size_t)63);
	struct bus_handler h = { .name = "x", .base = 0x40, .len = 8, .read = engine_read, .write = engine_write, .dev = e };
	struct link_hooks hooks = { .lost = lost, .arg = e };

	memset(e, 0, sizeof(*e));
	memset(&told, 0, sizeof(told));
	e->vm.bus = bus_new();
	e->vm.vcpu = e->vcpu;
	e->vm.nvcpus = 2;
	pthread_mutex_init(&e->vm.dev_lock, NULL);
	for (unsigned i = 0; i < 2; i++) {
		e->vcpu[i].vm = &e->vm;
		e->vcpu[i].id = i;
		e->vcpu[i].engine = &engine;
		assert_int_equal(inout_new(&e->vcpu[i]), 0);
	}
	assert_int_equal(bus_add_handler(e->vm.bus, &h), 0);
	h.name = "m", h.base = 0xfed00000, h.mmio = true;
	assert_int_equal(bus_add_handler(e->vm.bus, &h), 0);
	assert_int_equal(link_client_new(&e->vm.link, &e->vm, 256, &hooks), 0);
	fake_start(&e->fake, &e->vm);
	*state = e;
	return 0;
}

static int teardown(void **state)
{
	struct env *e = *state;

	fake_stop(&e->fake);
	link_client_free(e->vm.link);
	for (unsigned i = 0; i < 2; i++)
		inout_free(&e->vcpu[i]);
	bus_free(e->vm.bus);
	free(e);
	return 0;
}

static uint64_t stat(struct vcpu *v, enum vcpu_stat i)
{
	return stat_get(inout_stats(v), i);
}

/* An IN as an engine makes it: asks until it is done.  *waits counts the trips through the vCPU's loop. */
static uint64_t in(struct vcpu *v, uint16_t port, unsigned size, unsigned *waits)
{
	uint64_t value = 0;
	unsigned done = 0;

	while (inout_in(v, port, size, 1, INOUT_NO_MEM, &value, &done) == IO_WAIT) {
		assert_int_equal(inout_wait(v), INOUT_READY);
		if (waits)
			++*waits;
	}
	assert_int_equal(done, 1);
	inout_retire(v);
	return value;
}

static unsigned out(struct vcpu *v, uint16_t port, unsigned size, uint64_t value)
{
	unsigned done = 0, waits = 0;

	while (inout_out(v, port, size, 1, INOUT_NO_MEM, &value, &done) == IO_WAIT) {
		assert_int_equal(inout_wait(v), INOUT_READY);
		waits++;
	}
	assert_int_equal(done, 1);
	inout_retire(v);
	return waits;
}

/* Bytes that the daemon's devices were given. */
static uint32_t logged(struct env *e)
{
	fake_get(&e->fake.writes);
	return e->fake.nlog;
}

/* ---- where answers come from */

static void test_handler_in_the_engine(void **state)
{
	struct env *e = *state;

	assert_int_equal(in(e->vcpu, 0x41, 1, NULL), 0x01);
	assert_int_equal(in(e->vcpu, 0x41, 4, NULL), 0xbbccdd01);
	assert_int_equal(out(e->vcpu, 0x42, 2, 0x1234), 0);
	assert_int_equal(e->engine_last, 0x1234);
	assert_int_equal(e->engine_reads, 2);
	assert_int_equal(e->engine_writes, 1);
	assert_int_equal(stat(e->vcpu, STAT_IO_ENGINE), 3);
	assert_int_equal(fake_get(&e->fake.requests), 0);
}

static void test_nobody(void **state)
{
	struct env *e = *state;
	uint64_t v;

	assert_int_equal(in(e->vcpu, 0x9000, 1, NULL), 0xff);
	assert_int_equal(in(e->vcpu, 0x9000, 4, NULL), 0xffffffff);
	assert_int_equal(out(e->vcpu, 0x9000, 4, 1), 0);
	assert_int_equal(inout_mmio_read(e->vcpu, 0xd0000000, 8, &v), IO_OK);
	assert_true(v == UINT64_MAX);
	inout_retire(e->vcpu);
	assert_int_equal(stat(e->vcpu, STAT_IO_UNCLAIMED), 4);
	assert_int_equal(fake_get(&e->fake.requests), 0);
}

static void test_states_of_a_request(void **state)
{
	struct env *e = *state;
	struct vcpu *v = e->vcpu;
	uint64_t value = 0;
	unsigned done = 0;

	assert_int_equal(inout_state(v), IO_NONE);
	assert_false(inout_active(v));
	assert_int_equal(inout_in(v, FAKE_PLAIN, 2, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	assert_int_equal(inout_state(v), IO_PENDING);
	assert_true(inout_active(v));
	/* entered again too early: still the same request */
	assert_int_equal(inout_in(v, FAKE_PLAIN, 2, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	assert_int_equal(inout_wait(v), INOUT_READY);
	assert_int_equal(inout_state(v), IO_DONE);
	assert_true(inout_active(v));
	assert_int_equal(value, 0);		/* the value is in the slot and nowhere else */
	assert_int_equal(inout_in(v, FAKE_PLAIN, 2, 1, INOUT_NO_MEM, &value, &done), IO_OK);
	assert_int_equal(inout_state(v), IO_NONE);
	assert_true(inout_active(v));		/* until it retires */
	assert_int_equal(value, fake_byte(0) | fake_byte(1) << 8);
	inout_retire(v);
	assert_false(inout_active(v));
	assert_int_equal(fake_get(&e->fake.requests), 1);
	assert_int_equal(fake_get(&e->fake.plain_reads), 1);
	assert_int_equal(stat(v, STAT_IO_DAEMON), 1);
}

static void test_shadow_reads_without_a_request(void **state)
{
	struct env *e = *state;
	unsigned waits = 0;

	/* no valid word yet: the daemon answers */
	assert_int_equal(in(e->vcpu, FAKE_SHADOW, 1, &waits), fake_byte(0));
	assert_int_equal(waits, 1);
	link_shadow_write(&e->fake.link, 3, 0x1250, true);
	waits = 0;
	assert_int_equal(in(e->vcpu, FAKE_SHADOW, 1, &waits), 0x50);
	assert_int_equal(waits, 0);
	assert_int_equal(stat(e->vcpu, STAT_IO_SHADOW), 1);
	assert_int_equal(fake_get(&e->fake.requests), 1);
	link_shadow_write(&e->fake.link, 3, 0x50, false);
	in(e->vcpu, FAKE_SHADOW, 1, &waits);
	assert_int_equal(waits, 1);
}

static void test_no_shadow_read_past_a_posted_write(void **state)
{
	struct env *e = *state;
	unsigned waits = 0;
	uint64_t value;
	unsigned done;

	link_shadow_write(&e->fake.link, 3, 0x11, true);
	store_release(&e->fake.hold, 1);
	assert_int_equal(out(&e->vcpu[1], FAKE_POSTED, 1, 0x77), 0);	/* another vCPU's write, not yet served */
	assert_int_equal(stat(&e->vcpu[1], STAT_IO_POSTED), 1);
	assert_int_equal(inout_in(e->vcpu, FAKE_SHADOW, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	store_release(&e->fake.hold, 0);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	in(e->vcpu, FAKE_SHADOW, 1, &waits);
	out(&e->vcpu[1], FAKE_PLAIN, 1, 0);	/* what is waited for comes after what was posted */
	waits = 0;
	assert_int_equal(in(e->vcpu, FAKE_SHADOW, 1, &waits), 0x77);	/* committed: the word is the write's */
	assert_int_equal(waits, 0);
}

static void test_posted_writes_keep_their_order(void **state)
{
	struct env *e = *state;

	for (unsigned i = 0; i < 500; i++)
		out(e->vcpu, FAKE_POSTED, 1, i);
	in(e->vcpu, FAKE_PLAIN, 1, NULL);	/* nothing passes them */
	assert_int_equal(logged(e), 500);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(e->fake.log[i], (uint8_t)i);
	assert_true(stat(e->vcpu, STAT_IO_POSTED) > 0);
	assert_int_equal(stat(e->vcpu, STAT_IO_POSTED) + stat(e->vcpu, STAT_IO_DAEMON), 501);
}

static void *let_go(void *arg)
{
	struct env *e = arg;

	usleep(20000);
	store_release(&e->fake.hold, 0);
	return NULL;
}

static void test_full_ring_waits(void **state)
{
	struct env *e = *state;
	unsigned waits = 0;
	pthread_t thread;

	store_release(&e->fake.hold, 1);
	for (unsigned i = 0; i < LINK_REQ_SLOTS; i++)
		assert_int_equal(out(e->vcpu, FAKE_POSTED, 1, i), 0);
	pthread_create(&thread, NULL, let_go, e);
	waits = out(e->vcpu, FAKE_POSTED, 1, 0xee);
	assert_int_equal(waits, 1);
	pthread_join(thread, NULL);
	assert_true(stat(e->vcpu, STAT_FULL) >= 1);
	assert_int_equal(logged(e), LINK_REQ_SLOTS + 1);
	assert_int_equal(e->fake.log[LINK_REQ_SLOTS], 0xee);
}

static void *kick_soon(void *arg)
{
	usleep(20000);
	vcpu_kick(arg);
	return NULL;
}

/* ---- batches */

static unsigned in_batch(struct vcpu *v, unsigned size, unsigned count, uint64_t linear, void *data)
{
	unsigned done = 0;

	while (inout_in(v, FAKE_FIFO, size, count, linear, data, &done) == IO_WAIT)
		assert_int_equal(inout_wait(v), INOUT_READY);
	inout_retire(v);
	return done;
}

static void test_batch_limit(void **state)
{
	struct env *e = *state;

	assert_int_equal(inout_batch_limit(e->vcpu, FAKE_FIFO, 1, true), 4096);
	assert_int_equal(inout_batch_limit(e->vcpu, FAKE_FIFO, 2, true), 2048);
	assert_int_equal(inout_batch_limit(e->vcpu, FAKE_FIFO, 4, false), 1024);
	assert_int_equal(inout_batch_limit(e->vcpu, FAKE_PLAIN, 1, true), 1);
	assert_int_equal(inout_batch_limit(e->vcpu, 0x40, 1, true), 1);
	assert_int_equal(inout_batch_limit(e->vcpu, 0x9000, 1, true), 1);
}

static void test_sector_is_one_request(void **state)
{
	struct env *e = *state;
	uint8_t data[512];

	assert_int_equal(in_batch(e->vcpu, 2, 256, 0x7c00, data), 256);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(data[i], fake_byte(i));
	assert_int_equal(fake_get(&e->fake.requests), 1);
	assert_int_equal(fake_get(&e->fake.reads), 256);
	assert_int_equal(stat(e->vcpu, STAT_STR_REQUESTS), 1);
	assert_int_equal(stat(e->vcpu, STAT_STR_ELEMENTS), 256);
	assert_int_equal(stat(e->vcpu, STAT_IO_BATCH), 1);
	assert_int_equal(stat(e->vcpu, STAT_STR_SHORT), 0);
}

static void test_short_completion(void **state)
{
	struct env *e = *state;
	uint8_t data[64];

	store_release(&e->fake.most, 3);
	memset(data, 0xcc, sizeof(data));
	assert_int_equal(in_batch(e->vcpu, 2, 16, 0x7c00, data), 3);
	for (unsigned i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], i < 6 ? fake_byte(i) : 0xcc);
	assert_int_equal(stat(e->vcpu, STAT_STR_SHORT), 1);
	assert_int_equal(fake_get(&e->fake.reads), 3);
}

static void test_batch_out(void **state)
{
	struct env *e = *state;
	uint8_t data[4096];
	unsigned done = 0;

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + (i >> 8));
	while (inout_out(e->vcpu, FAKE_FIFO, 4, 1024, 0, data, &done) == IO_WAIT)
		assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	inout_retire(e->vcpu);
	assert_int_equal(done, 1024);
	assert_int_equal(logged(e), sizeof(data));
	assert_memory_equal(e->fake.log, data, sizeof(data));
	assert_int_equal(fake_get(&e->fake.requests), 1);
}

/* A batch must not overwrite the page that a discarded one, not yet served, is still in. */
static void test_discarded_batch_keeps_its_page(void **state)
{
	struct env *e = *state;
	uint8_t first[64], second[64];
	unsigned done;

	memset(first, 0x11, sizeof(first));
	memset(second, 0x22, sizeof(second));
	store_release(&e->fake.hold, 1);
	assert_int_equal(inout_out(e->vcpu, FAKE_FIFO, 1, 64, 0x1000, first, &done), IO_WAIT);
	inout_discard(e->vcpu);
	assert_int_equal(inout_out(e->vcpu, FAKE_FIFO, 1, 64, 0x1000, second, &done), IO_WAIT);
	store_release(&e->fake.hold, 0);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(inout_out(e->vcpu, FAKE_FIFO, 1, 64, 0x1000, second, &done), IO_OK);
	inout_retire(e->vcpu);
	assert_int_equal(logged(e), 128);
	assert_memory_equal(e->fake.log, first, 64);
	assert_memory_equal(e->fake.log + 64, second, 64);
	assert_int_equal(stat(e->vcpu, STAT_DISCARDED), 1);
	assert_int_equal(link_client_stat(e->vm.link, LINK_STAT_STALE), 1);
}

/* With both pages taken a batch waits for one, and a kick still ends the wait. */
static void test_third_batch_waits_for_a_page(void **state)
{
	struct env *e = *state;
	uint8_t data[64] = { 0 };
	unsigned done;
	pthread_t thread;

	store_release(&e->fake.hold, 1);
	for (unsigned i = 0; i < LINK_DATA_PAGES; i++) {
		assert_int_equal(inout_out(e->vcpu, FAKE_FIFO, 1, 64, 0x1000, data, &done), IO_WAIT);
		inout_discard(e->vcpu);
	}
	assert_int_equal(inout_out(e->vcpu, FAKE_FIFO, 1, 64, 0x1000, data, &done), IO_WAIT);
	assert_int_equal(stat(e->vcpu, STAT_FULL), 1);
	pthread_create(&thread, NULL, kick_soon, e->vcpu);
	assert_int_equal(inout_wait(e->vcpu), INOUT_KICKED);
	pthread_join(thread, NULL);
	e->vcpu->kick_seen = atomic_load(&e->vcpu->kick);
	store_release(&e->fake.hold, 0);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(inout_out(e->vcpu, FAKE_FIFO, 1, 64, 0x1000, data, &done), IO_OK);
	inout_retire(e->vcpu);
	assert_int_equal(logged(e), 64 * (LINK_DATA_PAGES + 1));
}

/* ---- the log */

/* As a MOVS from device to device that crosses a page: three reads and a write, run until none waits. */
static bool four_accesses(struct vcpu *v, uint64_t value[3])
{
	for (unsigned i = 0; i < 3; i++)
		if (inout_mmio_read(v, FAKE_MMIO + 8 * i, 8, &value[i]) == IO_WAIT)
			return false;
	return inout_mmio_write(v, FAKE_MMIO + 64, 4, value[2]) == IO_OK;
}

static void test_no_access_is_made_twice(void **state)
{
	struct env *e = *state;
	uint64_t value[3];
	unsigned runs = 1;

	for (; !four_accesses(e->vcpu, value); runs++)
		assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	inout_retire(e->vcpu);
	assert_int_equal(runs, 5);
	assert_int_equal(fake_get(&e->fake.reads), 3);
	assert_int_equal(fake_get(&e->fake.writes), 1);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned j = 0; j < 8; j++)
			assert_int_equal((uint8_t)(value[i] >> 8 * j), fake_byte(8 * i + j));
	assert_memory_equal(e->fake.log, &value[2], 4);
}

static void test_engine_access_before_a_wait_is_made_once(void **state)
{
	struct env *e = *state;
	uint64_t a = 0, b = 0;

	for (unsigned run = 0; run < 2; run++) {
		assert_int_equal(inout_mmio_read(e->vcpu, 0xfed00004, 4, &a), IO_OK);
		assert_int_equal(inout_mmio_read(e->vcpu, FAKE_MMIO, 4, &b), run ? IO_OK : IO_WAIT);
		if (!run)
			assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	}
	inout_retire(e->vcpu);
	assert_int_equal(e->engine_reads, 1);
	assert_int_equal(a, 0xbbccdd04);
	assert_int_equal(fake_get(&e->fake.reads), 1);
}

static void test_changed_instruction_asks_anew(void **state)
{
	struct env *e = *state;
	uint64_t value;
	unsigned done;

	store_release(&e->fake.hold, 1);
	assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	/* the code at rip is something else now */
	value = 0;
	assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 2, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	store_release(&e->fake.hold, 0);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 2, 1, INOUT_NO_MEM, &value, &done), IO_OK);
	assert_int_equal(value, fake_byte(2) | fake_byte(3) << 8);	/* the second read, not the first one's byte */
	inout_retire(e->vcpu);
	assert_int_equal(stat(e->vcpu, STAT_DISCARDED), 1);
	assert_int_equal(link_client_stat(e->vm.link, LINK_STAT_STALE), 1);
}

static void test_log_is_bounded(void **state)
{
	struct env *e = *state;
	uint64_t v;

	for (unsigned i = 0; i < INOUT_LOG; i++)
		assert_int_equal(inout_mmio_read(e->vcpu, 0xfed00000, 1, &v), IO_OK);
	assert_int_equal(v, 0);
	assert_int_equal(inout_mmio_read(e->vcpu, 0xfed00000, 2, &v), IO_OK);
	assert_int_equal(v, 0xffff);
	assert_int_equal(e->engine_reads, INOUT_LOG);
	assert_int_equal(stat(e->vcpu, STAT_LOG_FULL), 1);
	inout_retire(e->vcpu);
	assert_int_equal(inout_mmio_read(e->vcpu, 0xfed00001, 1, &v), IO_OK);
	assert_int_equal(v, 1);
}

/* ---- discarding, kicking */

static void test_reset_while_pending(void **state)
{
	struct env *e = *state;
	uint64_t value = 0;
	unsigned done;

	store_release(&e->fake.hold, 1);
	assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	inout_discard(e->vcpu);
	assert_int_equal(inout_state(e->vcpu), IO_NONE);
	assert_false(inout_active(e->vcpu));
	store_release(&e->fake.hold, 0);
	assert_int_equal(fake_control(&e->vm, LINK_REQ_RESET, 0, 0, 5000000000), 0);
	assert_int_equal(fake_get(&e->fake.resets), 1);
	/* the late answer is nobody's */
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), fake_byte(1));
	assert_int_equal(link_client_stat(e->vm.link, LINK_STAT_STALE), 1);
	assert_int_equal(stat(e->vcpu, STAT_DISCARDED), 1);
	assert_int_equal(e->lost, 0);
}

static void test_many_discards(void **state)
{
	struct env *e = *state;
	uint64_t value = 0;
	unsigned done;

	for (unsigned i = 0; i < 3 * LINK_REQ_SLOTS; i++) {
		assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
		inout_discard(e->vcpu);
		assert_int_equal(fake_control(&e->vm, LINK_REQ_RESET, 0, 0, 5000000000), 0);
	}
	in(e->vcpu, FAKE_PLAIN, 1, NULL);
	assert_int_equal(e->lost, 0);
	assert_int_equal(fake_get(&e->fake.plain_reads), 3 * LINK_REQ_SLOTS + 1);
}

/* Requests that nobody waits for, and no reset between them: their answers must not fill the completion ring. */
static void test_many_discards_without_a_reset(void **state)
{
	struct env *e = *state;
	uint64_t value = 0, served = 0;
	unsigned done;

	for (unsigned i = 0; i < 4 * LINK_COMP_SLOTS; i++) {
		assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
		inout_discard(e->vcpu);
		while (fake_get(&e->fake.plain_reads) == served)
			;
		served = fake_get(&e->fake.plain_reads);
	}
	in(e->vcpu, FAKE_PLAIN, 1, NULL);
	assert_int_equal(e->lost, 0);
}

static void test_kick_ends_the_wait(void **state)
{
	struct env *e = *state;
	uint64_t value = 0;
	unsigned done;
	pthread_t thread;

	store_release(&e->fake.hold, 1);
	assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	pthread_create(&thread, NULL, kick_soon, e->vcpu);
	assert_int_equal(inout_wait(e->vcpu), INOUT_KICKED);
	pthread_join(thread, NULL);
	assert_int_equal(inout_state(e->vcpu), IO_PENDING);
	e->vcpu->kick_seen = atomic_load(&e->vcpu->kick);
	store_release(&e->fake.hold, 0);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), fake_byte(0));
	assert_int_equal(fake_get(&e->fake.plain_reads), 1);
}

/* ---- events */

static bool raise_line(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	(void)r;
	fake_event(f, (struct link_event){ .kind = LINK_EV_IRQ, .a = 14, .b = 1 });
	fake_event(f, (struct link_event){ .kind = LINK_EV_MEMMAP, .a = LINK_MAP_RAM, .addr = 0xc0000, .value = 0x4000 });
	c->event_seq = f->events;
	return true;
}

static void test_events_come_before_the_completion(void **state)
{
	struct env *e = *state;

	store_release(&e->fake.twist, raise_line);
	in(e->vcpu, FAKE_PLAIN, 1, NULL);
	assert_int_equal(told.irqs, 1);
	assert_int_equal(told.gsi, 14);
	assert_int_equal(told.level, 1);
	assert_int_equal(told.maps, 1);
	assert_int_equal(link_client_stat(e->vm.link, LINK_STAT_IRQS), 1);
}

static bool same_event_again(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	struct link_event e = { .kind = LINK_EV_IRQ, .a = 3, .b = 1, .seq = f->events };

	(void)r, (void)c;
	if (link_post_event(&f->link, &e))
		abort();
	return true;
}

static void test_event_seen_before_is_dropped(void **state)
{
	struct env *e = *state;

	store_release(&e->fake.twist, same_event_again);
	in(e->vcpu, FAKE_PLAIN, 1, NULL);
	assert_int_equal(link_client_drain(e->vm.link), 0);
	assert_int_equal(told.irqs, 0);
	assert_int_equal(link_client_stat(e->vm.link, LINK_STAT_EVENTS_STALE), 1);
}

static bool every_event(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	(void)r;
	fake_event(f, (struct link_event){ .kind = LINK_EV_NMI });
	fake_event(f, (struct link_event){ .kind = LINK_EV_A20, .a = 1 });
	fake_event(f, (struct link_event){ .kind = LINK_EV_PMBASE, .addr = 0xb000, .value = 1 });
	fake_event(f, (struct link_event){ .kind = LINK_EV_CODE, .addr = 0x1000, .value = 512 });
	fake_event(f, (struct link_event){ .kind = LINK_EV_POWER, .a = LINK_POWER_RESET });
	fake_event(f, (struct link_event){ .kind = LINK_EV_REGION, .a = 0, .b = 9, .c = LINK_NO_SHADOW, .addr = 0x5000, .value = 4 });
	c->event_seq = f->events;
	return true;
}

static void test_events_reach_their_parts(void **state)
{
	struct env *e = *state;

	store_release(&e->fake.twist, every_event);
	in(e->vcpu, FAKE_PLAIN, 1, NULL);
	assert_int_equal(told.nmis, 1);
	assert_int_equal(told.codes, 1);
	assert_int_equal(told.a20s, 1);
	assert_int_equal(told.pmbase, 0xb000);
	assert_int_equal(told.powers, 1);
	assert_int_equal(bus_find_port(e->vm.bus, 0x5000, 4).region.id, 9);
}

static bool enable_doorbell(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	(void)r;
	fake_event(f, (struct link_event){ .kind = LINK_EV_DOORBELL, .a = LINK_DB_ENABLE | LINK_DB_MATCH, .b = 5, .c = 2,
					   .addr = FAKE_PLAIN + 2, .value = 0x0001 });
	fake_event(f, (struct link_event){ .kind = LINK_EV_DOORBELL, .a = LINK_DB_ENABLE | LINK_DB_MMIO, .b = 6, .c = 4,
					   .addr = FAKE_MMIO + 16 });
	c->event_seq = f->events;
	return true;
}

static void test_doorbells(void **state)
{
	struct env *e = *state;

	store_release(&e->fake.twist, enable_doorbell);
	in(e->vcpu, FAKE_PLAIN, 1, NULL);
	store_release(&e->fake.twist, (fake_twist *)NULL);
	assert_int_equal(out(e->vcpu, FAKE_PLAIN + 2, 2, 1), 0);	/* rings */
	assert_int_equal(out(e->vcpu, FAKE_PLAIN + 2, 2, 2), 1);	/* other datum */
	assert_int_equal(out(e->vcpu, FAKE_PLAIN + 2, 1, 1), 1);	/* other size */
	assert_int_equal(inout_mmio_write(e->vcpu, FAKE_MMIO + 16, 4, 99), IO_OK);
	inout_retire(e->vcpu);
	assert_int_equal(link_doorbell_count(&e->fake.link, 5), 1);
	assert_int_equal(link_doorbell_count(&e->fake.link, 6), 2);	/* and once when it was given away */
	assert_true(link_doorbell_is_kernels(&e->fake.link, 6));	/* what it answers does not come here */
	assert_false(link_doorbell_is_kernels(&e->fake.link, 5));
	assert_int_equal(told.kernel_bells, 1);
	assert_int_equal(stat(e->vcpu, STAT_IO_DOORBELL), 2);
	assert_int_equal(fake_get(&e->fake.writes), 2);
}

/* ---- hostile answers: each condemns the daemon, and the VM keeps its request */

static bool twist_seq(struct fake *f, const struct link_req *r, struct link_comp *c) { (void)f, (void)r; c->seq++; return true; }
static bool twist_addr(struct fake *f, const struct link_req *r, struct link_comp *c) { (void)f, (void)r; c->addr++; return true; }
static bool twist_kind(struct fake *f, const struct link_req *r, struct link_comp *c) { (void)f, (void)r; c->kind++; return true; }
static bool twist_size(struct fake *f, const struct link_req *r, struct link_comp *c) { (void)f, (void)r; c->size = 2; return true; }
static bool twist_count(struct fake *f, const struct link_req *r, struct link_comp *c) { (void)f, (void)r; c->count = 2; return true; }
static bool twist_none(struct fake *f, const struct link_req *r, struct link_comp *c) { (void)f, (void)r; c->done = 0; return true; }
static bool twist_more(struct fake *f, const struct link_req *r, struct link_comp *c) { (void)f, (void)r; c->done = 2; return true; }
static bool twist_page(struct fake *f, const struct link_req *r, struct link_comp *c) { (void)f, (void)r; c->data = 1; return true; }
static bool twist_status(struct fake *f, const struct link_req *r, struct link_comp *c) { (void)f, (void)r; c->status = 77; return true; }
static bool twist_value(struct fake *f, const struct link_req *r, struct link_comp *c) { (void)f, (void)r; c->value = 0x100; return true; }
static bool twist_event(struct fake *f, const struct link_req *r, struct link_comp *c) { (void)f, (void)r; c->event_seq += 5; return true; }
static bool twist_gap(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	(void)r;
	f->events += 3;
	fake_event(f, (struct link_event){ .kind = LINK_EV_IRQ, .a = 3, .b = 1 });
	c->event_seq = f->events;
	return true;
}

static bool event_of(struct fake *f, struct link_comp *c, struct link_event e)
{
	fake_event(f, e);
	c->event_seq = f->events;
	return true;
}

static bool twist_no_event(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	(void)r;
	return event_of(f, c, (struct link_event){ .kind = 200 });
}

static bool twist_region_id(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	(void)r;
	return event_of(f, c, (struct link_event){ .kind = LINK_EV_REGION, .b = 5000, .c = LINK_NO_SHADOW, .addr = 1, .value = 1 });
}

static bool twist_device_id(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	(void)r;
	return event_of(f, c, (struct link_event){ .kind = LINK_EV_REGION, .d = 1u << 20, .c = LINK_NO_SHADOW, .addr = 1, .value = 1 });
}

static bool twist_indices(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	(void)c;
	store_release(&f->link.chan[r->vcpu].shared->comp.prod, 77777);
	f->link.answered = 1;		/* or its sleep would not end */
	return false;
}

static void one_hostile(fake_twist *twist)
{
	void *state;
	struct env *e;
	uint64_t value = 0;
	unsigned done;

	setup(&state);
	e = state;
	store_release(&e->fake.twist, twist);
	assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	assert_int_equal(inout_wait(e->vcpu), INOUT_LOST);
	assert_int_equal(inout_wait(e->vcpu), INOUT_LOST);
	assert_int_equal(e->lost, 1);
	assert_non_null(strstr(e->why, "broke the protocol"));
	assert_int_equal(inout_state(e->vcpu), IO_PENDING);
	assert_int_equal(fake_control(&e->vm, LINK_REQ_RESET, 0, 0, 1000), -EPIPE);
	assert_int_equal(told.irqs, 0);

	/* a successor finishes it */
	fake_stop(&e->fake);
	memset(&e->fake, 0, sizeof(e->fake));
	fake_start(&e->fake, &e->vm);
	e->vcpu->kick_seen = atomic_load(&e->vcpu->kick);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), fake_byte(0));
	assert_int_equal(e->lost, 1);
	teardown(&state);
}

static void test_hostile_completions(void **state)
{
	(void)state;
	one_hostile(twist_seq);
	one_hostile(twist_addr);
	one_hostile(twist_kind);
	one_hostile(twist_size);
	one_hostile(twist_count);
	one_hostile(twist_none);
	one_hostile(twist_more);
	one_hostile(twist_page);
	one_hostile(twist_status);
	one_hostile(twist_value);
	one_hostile(twist_event);
}

static void test_hostile_events(void **state)
{
	(void)state;
	one_hostile(twist_gap);
	one_hostile(twist_no_event);
	one_hostile(twist_region_id);
	one_hostile(twist_device_id);
}

/* Without a completion that names it, the events thread is who finds it. */
static void test_hostile_event_alone(void **state)
{
	struct env *e = *state;

	fake_event(&e->fake, (struct link_event){ .kind = LINK_EV_IRQ, .a = 200, .b = 1 });
	assert_int_equal(link_client_drain(e->vm.link), -EPIPE);
	assert_int_equal(e->lost, 1);
	assert_int_equal(told.irqs, 0);
}

/* Each event that is applied brings the next, past what the ring can hold, as no honest daemon's can. */
static void feed(struct env *e)
{
	struct link *l = &e->fake.link;

	l->events.shared->cons = l->events.pos;		/* as if all had been taken */
	if (told.irqs < 10 * LINK_EVENT_SLOTS)
		fake_event(&e->fake, (struct link_event){ .kind = LINK_EV_IRQ, .a = 3, .b = told.irqs & 1 });
}

static void test_flood_of_events(void **state)
{
	struct env *e = *state;

	told.irqs = 0;
	told.env = e;
	told.meanwhile = feed;
	fake_event(&e->fake, (struct link_event){ .kind = LINK_EV_IRQ, .a = 3, .b = 1 });
	assert_int_equal(link_client_drain(e->vm.link), 0);
	told.meanwhile = NULL;
	assert_int_equal(told.irqs, LINK_EVENT_SLOTS);
}

static void test_hostile_indices(void **state)
{
	(void)state;
	one_hostile(twist_indices);
}

/* Committing what was never asked is noticed when the count matters: the copies run out. */
static void test_hostile_commit(void **state)
{
	struct env *e = *state;

	store_release(&e->fake.lie, 1000);
	for (unsigned i = 0; i < 3 * LINK_REQ_SLOTS && !e->lost; i++) {
		uint64_t value = i;
		unsigned done;

		if (inout_out(e->vcpu, FAKE_POSTED, 1, 1, INOUT_NO_MEM, &value, &done) == IO_WAIT)
			inout_wait(e->vcpu);
		else
			inout_retire(e->vcpu);
	}
	assert_int_equal(e->lost, 1);
	assert_non_null(strstr(e->why, "commit"));
}

/* Random bytes as completions: never accepted unless they echo the request, never a crash. */
static bool twist_noise(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	struct link_comp noise;

	(void)r;
	for (unsigned i = 0; i < sizeof(noise); i++)
		((uint8_t *)&noise)[i] = (uint8_t)random();
	noise.seq = c->seq - (random() & 1);	/* stale or not */
	if (link_post_comp(&f->link, r->vcpu, &noise))
		abort();
	return true;
}

static void test_noise(void **state)
{
	struct env *e;
	uint64_t value;
	unsigned done;

	(void)state;
	srandom(4711);
	for (unsigned i = 0; i < 50; i++) {
		enum inout_wait w;
		void *s;

		setup(&s);
		e = s;
		store_release(&e->fake.twist, twist_noise);
		assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
		w = inout_wait(e->vcpu);
		if (w == INOUT_READY)	/* the noise was stale */
			assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), fake_byte(0));
		else
			assert_int_equal(w, INOUT_LOST);
		teardown(&s);
	}
}

/* ---- generations */

static void test_successor_gets_what_was_unacknowledged(void **state)
{
	struct env *e = *state;
	uint8_t data[32];
	unsigned done = 0;

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(0x40 + i);
	out(e->vcpu, FAKE_POSTED, 1, 0x01);
	in(e->vcpu, FAKE_PLAIN, 1, NULL);		/* the first write is committed */
	store_release(&e->fake.hold, 1);
	out(e->vcpu, FAKE_POSTED, 1, 0x02);
	out(e->vcpu, FAKE_POSTED, 1, 0x03);
	assert_int_equal(inout_out(e->vcpu, FAKE_FIFO, 2, 16, 0x1000, data, &done), IO_WAIT);
	fake_kill(&e->fake);
	link_client_lost(e->vm.link, "killed");
	link_client_lost(e->vm.link, "killed");
	assert_int_equal(e->lost, 1);
	assert_int_equal(inout_wait(e->vcpu), INOUT_LOST);
	link_close(&e->fake.link);

	memset(&e->fake, 0, sizeof(e->fake));
	fake_start(&e->fake, &e->vm);
	e->vcpu->kick_seen = atomic_load(&e->vcpu->kick);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(inout_out(e->vcpu, FAKE_FIFO, 2, 16, 0x1000, data, &done), IO_OK);
	assert_int_equal(done, 16);
	inout_retire(e->vcpu);
	assert_int_equal(logged(e), 2 + sizeof(data));
	assert_int_equal(e->fake.log[0], 0x02);
	assert_int_equal(e->fake.log[1], 0x03);
	assert_memory_equal(e->fake.log + 2, data, sizeof(data));
	assert_int_equal(link_client_stat(e->vm.link, LINK_STAT_GENERATIONS), 2);
}

static void test_request_made_during_the_outage(void **state)
{
	struct env *e = *state;
	uint64_t value;
	unsigned done;

	fake_stop(&e->fake);
	link_client_lost(e->vm.link, "gone");
	assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	assert_int_equal(inout_wait(e->vcpu), INOUT_LOST);
	memset(&e->fake, 0, sizeof(e->fake));
	fake_start(&e->fake, &e->vm);
	e->vcpu->kick_seen = atomic_load(&e->vcpu->kick);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), fake_byte(0));
}

/* ---- a device that is not waited for */

static const bool plain_alone[LINK_CLIENT_DEVICES] = { [2] = true };
static const bool plain_and_fifo[LINK_CLIENT_DEVICES] = { [1] = true, [2] = true };

static void lose(struct env *e)
{
	fake_kill(&e->fake);
	link_client_lost(e->vm.link, "killed");
}

static void succeed_held(struct env *e, bool hold)
{
	link_close(&e->fake.link);
	memset(&e->fake, 0, sizeof(e->fake));
	e->fake.hold = hold;
	fake_start(&e->fake, &e->vm);
	e->vcpu->kick_seen = atomic_load(&e->vcpu->kick);
}

static void succeed(struct env *e)
{
	succeed_held(e, false);
}

/* All ones, now and later, until the successor is there, which sees nothing of it. */
static void test_outage_without_a_device(void **state)
{
	struct env *e = *state;
	uint64_t value = 0;
	unsigned done;

	lose(e);
	assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	assert_int_equal(inout_wait(e->vcpu), INOUT_LOST);	/* the grace */
	link_client_forsake(e->vm.link, plain_alone);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), 0xff);
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 4, NULL), 0xffffffff);
	out(e->vcpu, FAKE_PLAIN, 2, 0x1234);
	assert_int_equal(stat(e->vcpu, STAT_IO_ONES), 2);
	assert_int_equal(stat(e->vcpu, STAT_IO_DROPPED), 1);
	/* another device is waited for */
	assert_int_equal(inout_in(e->vcpu, FAKE_FIFO, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	assert_int_equal(inout_wait(e->vcpu), INOUT_LOST);
	succeed(e);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(in(e->vcpu, FAKE_FIFO, 1, NULL), fake_byte(0));
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), fake_byte(0));
	assert_int_equal(logged(e), 0);
	assert_int_equal(fake_get(&e->fake.requests), 2);
}

/* Asked before the daemon died: the successor is not asked, and misses no sequence number. */
static void test_withdrawn_request_is_not_asked_again(void **state)
{
	struct env *e = *state;
	uint8_t data[32] = { 0 };
	uint64_t value = 0;
	unsigned done = 0;

	store_release(&e->fake.hold, 1);
	out(e->vcpu, FAKE_POSTED, 1, 0x01);		/* has retired: that one is */
	assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	lose(e);
	link_client_forsake(e->vm.link, plain_and_fifo);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), 0xff);
	/* by two who die in a row, of whom the first does nothing */
	succeed_held(e, true);
	assert_int_equal(inout_out(e->vcpu, FAKE_FIFO, 2, 16, 0x1000, data, &done), IO_WAIT);
	lose(e);
	link_client_forsake(e->vm.link, plain_and_fifo);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(inout_out(e->vcpu, FAKE_FIFO, 2, 16, 0x1000, data, &done), IO_OK);
	assert_int_equal(done, 16);
	inout_retire(e->vcpu);
	succeed(e);
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), fake_byte(0));
	assert_int_equal(logged(e), 1);
	assert_int_equal(e->fake.log[0], 0x01);
	assert_int_equal(fake_get(&e->fake.reads), 0);
	assert_int_equal(e->lost, 2);
}

/* The last word of a daemon that died counts, and is not given twice. */
static void test_dead_daemons_answer_is_taken(void **state)
{
	struct env *e = *state;
	uint64_t value = 0;
	unsigned done;

	store_release(&e->fake.raise_at, 1);		/* its events come first, and count too */
	assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	while (!fake_get(&e->fake.plain_reads))
		;
	told.irqs = 0;
	lose(e);
	link_client_forsake(e->vm.link, plain_alone);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), fake_byte(0));
	assert_int_equal(stat(e->vcpu, STAT_IO_ONES), 0);
	assert_int_equal(told.irqs, 1);
	succeed(e);
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), fake_byte(0));
	assert_int_equal(fake_get(&e->fake.plain_reads), 1);
}

/* A successor that finishes what its predecessor had committed answers what nobody asks any more. */
static bool twist_late(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	struct link_comp late = { .seq = 1, .addr = FAKE_PLAIN, .value = 0x5a, .count = 1, .done = 1, .kind = LINK_REQ_PIO_IN, .size = 1,
				  .event_seq = f->events };

	(void)r, (void)c;
	if (link_post_comp(&f->link, 0, &late))
		abort();
	return true;
}

static void test_late_answer_is_dropped(void **state)
{
	struct env *e = *state;
	uint64_t value = 0;
	unsigned done;

	store_release(&e->fake.hold, 1);
	assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	lose(e);
	link_client_forsake(e->vm.link, plain_alone);
	assert_int_equal(inout_wait(e->vcpu), INOUT_READY);
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), 0xff);
	link_close(&e->fake.link);
	memset(&e->fake, 0, sizeof(e->fake));
	e->fake.twist = twist_late;
	fake_start(&e->fake, &e->vm);
	e->vcpu->kick_seen = atomic_load(&e->vcpu->kick);
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), fake_byte(0));
	assert_int_equal(link_client_stat(e->vm.link, LINK_STAT_STALE), 1);
	assert_int_equal(e->lost, 1);
}

/* A vCPU that takes its answer from the ring, and waits for another thread that applies the answer's event. */
static struct {
	pthread_t thread;
	_Atomic pid_t tid;
	enum inout_wait result;
} taker;

static void *take_answer(void *arg)
{
	taker.tid = gettid();
	taker.result = inout_wait(arg);
	return NULL;
}

static bool sleeps(pid_t tid)
{
	char path[64], state = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*d (%*[^)]) %c", &state), 1);
	fclose(f);
	return state == 'S';
}

static void lose_it_meanwhile(struct env *e)
{
	unsigned still = 0;

	told.meanwhile = NULL;
	assert_int_equal(pthread_create(&taker.thread, NULL, take_answer, e->vcpu), 0);
	while (still < 5) {
		usleep(1000);
		still = taker.tid && sleeps(taker.tid) ? still + 1 : 0;
	}
	link_client_lost(e->vm.link, "killed");
}

/* The daemon has answered and died.  Nobody answers again what is acknowledged: the answer counts. */
static void test_answer_in_hand_when_it_dies(void **state)
{
	struct env *e = *state;
	uint64_t value;
	unsigned done;

	store_release(&e->fake.raise_at, 1);
	assert_int_equal(inout_in(e->vcpu, FAKE_PLAIN, 1, 1, INOUT_NO_MEM, &value, &done), IO_WAIT);
	while (!fake_get(&e->fake.requests))
		;
	fake_kill(&e->fake);
	told.env = e;
	told.meanwhile = lose_it_meanwhile;
	taker.tid = 0;
	link_client_drain(e->vm.link);
	pthread_join(taker.thread, NULL);
	assert_int_equal(taker.result, INOUT_READY);
	assert_int_equal(told.irqs, 1);
	assert_int_equal(in(e->vcpu, FAKE_PLAIN, 1, NULL), fake_byte(0));
	link_close(&e->fake.link);
	memset(&e->fake, 0, sizeof(e->fake));
	fake_start(&e->fake, &e->vm);
	assert_int_equal(e->fake.requests, 0);
}

static void test_control_times_out(void **state)
{
	struct env *e = *state;

	store_release(&e->fake.hold, 1);
	assert_int_equal(fake_control(&e->vm, LINK_REQ_PAUSE, 0, 0, 5000000), -ETIMEDOUT);
	store_release(&e->fake.hold, 0);
	assert_int_equal(fake_control(&e->vm, LINK_REQ_RESUME, 0, 0, 5000000000), 0);
	assert_int_equal(e->lost, 0);
}

/* ---- statistics */

static void test_histogram(void **state)
{
	static struct histogram h;
	unsigned last = 0;

	(void)state;
	for (uint64_t t = 1; t < 1ull << 40; t += t / 16 + 1) {
		unsigned i = hist_index(t);

		assert_true(i >= last && i < HIST_BUCKETS);
		last = i;
	}
	assert_true(hist_index(UINT64_MAX) < HIST_BUCKETS);
	assert_int_equal(hist_percentile(&h, 500), 0);
	for (unsigned i = 0; i < 980; i++)
		hist_add(&h, 1000);
	for (unsigned i = 0; i < 20; i++)
		hist_add(&h, 64000);
	assert_in_range(hist_percentile(&h, 500), 900, 1100);
	assert_in_range(hist_percentile(&h, 990), 56000, 72000);
	assert_int_equal(h.n, 1000);
}

static void test_round_trips_are_counted(void **state)
{
	struct env *e = *state;
	struct vcpu_stats sum = { 0 };

	for (unsigned i = 0; i < 10; i++)
		in(&e->vcpu[i & 1], FAKE_PLAIN, 1, NULL);
	stats_sum(&sum, inout_stats(&e->vcpu[0]));
	stats_sum(&sum, inout_stats(&e->vcpu[1]));
	assert_int_equal(sum.single.n, 10);
	assert_int_equal(sum.n[STAT_IO_DAEMON], 10);
	assert_true(stats_ns(hist_percentile(&sum.single, 500)) > 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	static const struct CMUnitTest tests[] = {
		T(test_handler_in_the_engine), T(test_nobody), T(test_states_of_a_request),
		T(test_shadow_reads_without_a_request), T(test_no_shadow_read_past_a_posted_write),
		T(test_posted_writes_keep_their_order), T(test_full_ring_waits),
		T(test_batch_limit), T(test_sector_is_one_request), T(test_short_completion), T(test_batch_out),
		T(test_discarded_batch_keeps_its_page), T(test_third_batch_waits_for_a_page),
		T(test_no_access_is_made_twice), T(test_engine_access_before_a_wait_is_made_once),
		T(test_changed_instruction_asks_anew), T(test_log_is_bounded),
		T(test_reset_while_pending), T(test_many_discards), T(test_many_discards_without_a_reset), T(test_kick_ends_the_wait),
		T(test_events_come_before_the_completion), T(test_event_seen_before_is_dropped),
		T(test_events_reach_their_parts), T(test_doorbells),
		cmocka_unit_test(test_hostile_completions), cmocka_unit_test(test_hostile_events),
		T(test_hostile_event_alone), T(test_flood_of_events), cmocka_unit_test(test_hostile_indices), T(test_hostile_commit), cmocka_unit_test(test_noise),
		T(test_successor_gets_what_was_unacknowledged), T(test_request_made_during_the_outage), T(test_answer_in_hand_when_it_dies),
		T(test_outage_without_a_device), T(test_withdrawn_request_is_not_asked_again),
		T(test_dead_daemons_answer_is_taken), T(test_late_answer_is_dropped),
		T(test_control_times_out),
		cmocka_unit_test(test_histogram), T(test_round_trips_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
