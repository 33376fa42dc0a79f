/*
 * tests/insn/test_string_io.c - INS and OUTS in every form, against the model
 * of string_io.h: direction, size, mode, address size, DF, REP, who answers,
 * every place of a fault, every event between elements; and what the matrix
 * cannot say: requests, batches, device memory, permission, breakpoints.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "tests/insn/string_io.h"
#include "vmm/inout.h"
#include "vmm/link.h"
#include "vmm/stats.h"
#include "vmm/x86/control.h"
#include "vmm/x86/exception.h"
#include "vmm/x86/flags.h"

static struct sio *m;
static const uint16_t ports[] = { SIO_ENGINE, FAKE_FIFO, FAKE_PLAIN, SIO_NOBODY };
static const uint8_t sizes[] = { 1, 2, 4 };

#define EACH(i, n) for (unsigned i = 0; i < (n); i++)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static int open_machine(void **state)
{
	(void)state;
	m = sio_new();
	return 0;
}

static int close_machine(void **state)
{
	(void)state;
	sio_free(m);
	return 0;
}

static uint64_t stat(enum vcpu_stat i)
{
	return stat_get(inout_stats(&m->vcpu), i);
}

/* An offset from which element `edge` is the first beyond a page's edge; `odd` lets one lie across. */
static uint32_t near_edge(const struct sio_case *c, unsigned edge, bool odd)
{
	uint32_t page = 0x3000;

	if (c->down)
		return page + (edge - 1) * c->size - (odd ? 1 : 0);
	return page - edge * c->size + (odd ? 1 : 0);
}

/* Calls `body` for direction, size, mode, address size, DF and port. */
static unsigned each_form(void (*body)(struct sio_case *))
{
	unsigned n = 0;

	EACH(mode, SIO_MODES) EACH(input, 2) EACH(s, 3) EACH(a32, 2) EACH(down, 2) EACH(p, COUNT(ports)) {
		struct sio_case c = { .mode = mode, .input = input, .size = sizes[s], .a32 = a32, .down = down, .port = ports[p] };

		body(&c);
		n++;
	}
	return n;
}

/* ---- the matrix */

static void single(struct sio_case *c)
{
	c->off = 0x2000;
	assert_true(sio_check(m, c));
	c->off = near_edge(c, 1, c->size > 1);
	assert_true(sio_check(m, c));
}

static void test_single(void **state)
{
	(void)state;
	assert_int_equal(each_form(single), SIO_MODES * 2 * 3 * 2 * 2 * 4);
}

static void repeated(struct sio_case *c)
{
	static const uint32_t counts[] = { 0, 1, 2, 7 };

	c->rep = true;
	EACH(i, COUNT(counts)) {
		c->count = counts[i];
		c->off = 0x2008;
		assert_true(sio_check(m, c));
	}
	c->count = 9;
	c->off = near_edge(c, 4, false);
	assert_true(sio_check(m, c));
	c->off = near_edge(c, 4, true);
	assert_true(sio_check(m, c));
}

static void test_repeated(void **state)
{
	(void)state;
	each_form(repeated);
}

static void long_run(struct sio_case *c)
{
	if (c->mode != REAL && c->mode != USER32 && c->mode != COMPAT16 && c->mode != LONG)
		return;
	c->rep = true;
	c->count = 3000;
	c->off = c->down ? 0xc123 : 0x123;
	assert_true(sio_check(m, c));
}

static void test_many_elements_over_many_pages(void **state)
{
	(void)state;
	each_form(long_run);
}

/* A segment limit after which element k is the first outside. */
static void limit_fault(struct sio_case *c)
{
	c->rep = true;
	c->count = 8;
	if (c->down || c->port == SIO_NOBODY || sio_is_64bit(c))
		return;		/* going down, offset 0 is followed by a wrap */
	EACH(k, 6) {
		c->off = 0x2000;
		c->limit = c->off + k * c->size + c->size - 2;
		if (c->size == 1)
			c->limit = c->off + k - 1;
		assert_true(sio_check(m, c));
		assert_int_equal(m->model.done, k);
	}
}

static void test_segment_limit_at_each_element(void **state)
{
	(void)state;
	each_form(limit_fault);
}

static void page_fault(struct sio_case *c)
{
	if (c->mode < USER32)
		return;
	c->rep = true;
	c->count = 8;
	c->bad_page = SIO_BASE + (c->down ? 0x2000 : 0x3000);
	EACH(k, 6) EACH(odd, 2) EACH(ro, 2) {
		if (!k)
			c->off = c->down ? 0x2ff0 : 0x3010;
		else
			c->off = near_edge(c, k, odd && c->size > 1);
		c->read_only = ro;
		assert_true(sio_check(m, c));
	}
}

static void test_page_fault_at_each_element(void **state)
{
	(void)state;
	each_form(page_fault);
}

static void event(struct sio_case *c)
{
	static const uint32_t at[] = { 1, 2, 5, 6 };

	if (c->port == SIO_NOBODY && c->event != EV_TF)
		return;
	EACH(ev, SIO_EVENTS - 1) EACH(i, COUNT(at)) EACH(rep, 2) {
		c->event = EV_INTR + ev;
		c->event_at = at[i];
		c->rep = rep;
		c->count = 6;
		c->off = 0x2000;
		if (!rep && at[i] > 1)
			continue;
		if (c->event == EV_TF && i)
			continue;
		assert_true(sio_check(m, c));
		if (i != 1)
			continue;
		c->off = near_edge(c, 4, c->size > 1);		/* the batch ends for two reasons */
		assert_true(sio_check(m, c));
	}
}

static void test_event_after_each_element(void **state)
{
	(void)state;
	each_form(event);
}

static void event_and_fault(struct sio_case *c)
{
	if ((c->mode != USER32 && c->mode != COMPAT32 && !sio_is_64bit(c)) || c->port == SIO_NOBODY)
		return;
	c->rep = true;
	c->count = 8;
	c->bad_page = SIO_BASE + (c->down ? 0x2000 : 0x3000);
	c->off = near_edge(c, 4, false);
	EACH(ev, SIO_EVENTS - 1) {
		c->event = EV_INTR + ev;
		c->event_at = 2;
		assert_true(sio_check(m, c));
	}
}

static void test_event_then_fault(void **state)
{
	(void)state;
	each_form(event_and_fault);
}

static void short_completion(struct sio_case *c)
{
	if (c->port != FAKE_FIFO)
		return;
	c->rep = true;
	c->count = 17;
	EACH(most, 6) {
		c->most = most + 1;
		c->off = near_edge(c, 9, false);
		assert_true(sio_check(m, c));
		c->off = near_edge(c, 1, c->size > 1);		/* the first element lies across the edge */
		assert_true(sio_check(m, c));
	}
}

static void test_device_does_a_part(void **state)
{
	(void)state;
	each_form(short_completion);
}

/* ---- operands */

static void test_address_wraps(void **state)
{
	(void)state;
	EACH(mode, SIO_MODES) EACH(input, 2) EACH(p, COUNT(ports)) EACH(down, 2) {
		struct sio_case c = { .mode = mode, .input = input, .size = 1, .rep = true, .count = 6, .down = down, .port = ports[p],
				      .off = down ? 2 : 0xfffd };

		if (sio_is_64bit(&c))
			continue;	/* see below */
		assert_true(sio_check(m, &c));	/* FFFFh and then 0, the upper half of the register kept */
		assert_int_equal(m->model.done, 6);
	}
}

static void test_word_at_the_end_faults(void **state)
{
	(void)state;
	EACH(mode, COMPAT16 + 1) EACH(input, 2) EACH(s, 2) EACH(p, COUNT(ports)) {
		struct sio_case c = { .mode = mode, .input = input, .size = sizes[s + 1], .rep = true, .count = 4, .port = ports[p],
				      .off = 0xffff - 2 * sizes[s + 1] };

		if (mode == PROT32 || mode == USER32 || mode == BITMAP32)
			continue;	/* there the limit is 4 GiB */
		assert_true(sio_check(m, &c));
		assert_int_equal(m->got.vector, X86_GP);
		assert_int_equal(m->model.done, 2);
	}
}

static void test_override_moves_outs_alone(void **state)
{
	static const uint8_t segs[] = { X86_CS, X86_SS, X86_DS, X86_FS, X86_GS };

	(void)state;
	EACH(mode, SIO_MODES) EACH(s, COUNT(segs)) {
		struct sio_case c = { .mode = mode, .size = 2, .rep = true, .count = 5, .port = FAKE_FIFO, .off = 0x2000, .seg = segs[s] };

		if (!sio_is_64bit(&c) && (segs[s] == X86_CS || segs[s] == X86_SS))
			continue;	/* base 0: below */
		assert_true(sio_check(m, &c));
		c.input = true;		/* ES all the same */
		assert_true(sio_check(m, &c));
	}
}

static void test_stack_segment_has_its_own_fault(void **state)
{
	(void)state;
	EACH(p, 3) {
		struct sio_case c = { .mode = PROT16, .size = 2, .rep = true, .count = 5, .port = ports[p], .off = 0xc000, .seg = X86_SS,
				      .limit = 0xc005 };

		assert_true(sio_check(m, &c));
		assert_int_equal(m->got.vector, X86_SS_FAULT);
		assert_int_equal(m->got.error, 0);
		assert_int_equal(sio_writes(m, &c), 3);
	}
}

static void set_es(uint32_t base, uint32_t limit, uint32_t attr)
{
	m->start.seg[X86_ES].base = base;
	m->start.seg[X86_ES].limit = limit;
	m->start.seg[X86_ES].attr = attr;
	assert_int_equal(soft_engine.set_state(&m->vcpu, &m->start), 0);
}

static void test_segment_types(void **state)
{
	const uint32_t data = X86_ATTR_P | X86_ATTR_S;
	struct sio_case c = { .mode = PROT16, .input = true, .size = 2, .rep = true, .count = 5, .off = 0x2000 };

	(void)state;
	EACH(p, COUNT(ports)) {
		c.port = ports[p];
		sio_prepare(m, &c);
		set_es(SIO_BASE, 0xffff, data | 1);		/* read-only */
		sio_run(m);
		assert_int_equal(m->got.vector, X86_GP);
		assert_int_equal(sio_reads(m, &c), 0);

		sio_prepare(m, &c);
		set_es(0, 0, X86_ATTR_UNUSABLE);		/* null */
		sio_run(m);
		assert_int_equal(m->got.vector, X86_GP);
		assert_int_equal(sio_reads(m, &c), 0);

		sio_prepare(m, &c);
		set_es(SIO_BASE, 0x2003, data | 7);		/* expand-down: 2004h up to FFFFh */
		sio_run(m);
		assert_int_equal(m->got.vector, X86_GP);
		assert_int_equal(sio_reads(m, &c), 0);

		sio_prepare(m, &c);
		set_es(SIO_BASE, 0x1fff, data | 7);
		sio_run(m);
		sio_model(m, &c, UINT32_MAX, &m->model);
		assert_int_equal(m->got.vector, -1);
		assert_memory_equal(m->got.window, m->model.window, SIO_WINDOW);
	}
}

/* ---- 64-bit addresses */

/* From `lin` on, 8 elements; `ends` are made before the fault. */
static void run64(struct sio_case *c, uint64_t lin, int vector, unsigned ends)
{
	c->off = sio_off(lin);
	c->rep = true;
	c->count = 8;
	EACH(cut, 2) {
		c->most = cut;		/* batches as they come, and one by one */
		assert_true(sio_check(m, c));
		assert_int_equal(m->got.vector, vector);
		assert_int_equal(m->model.done, ends);
	}
}

/* Where the lower half ends and where the upper one begins; an element that lies across is outside. */
static void not_canonical(struct sio_case *c)
{
	uint64_t edge = c->down ? SIO_HIGH : SIO_LOW_END;

	if (!sio_is_64bit(c) || c->a32)
		return;
	EACH(k, 6) EACH(odd, 2) {
		uint64_t far = (uint64_t)k * c->size;

		if (odd && c->size == 1)
			continue;
		run64(c, c->down ? edge + far - c->size + odd : edge - far - odd, X86_GP, k);
		assert_int_equal(m->got.error, 0);
	}
	run64(c, c->down ? edge + 7 * c->size : edge - 8 * c->size, -1, 8);
}

static void test_canonical_fault_at_each_element(void **state)
{
	(void)state;
	each_form(not_canonical);
}

/* Addresses of 64 bits go round at 2^64, those of 32 bits at 4 GiB, and then the registers' upper halves are 0. */
static void go_round(struct sio_case *c)
{
	uint64_t top = c->a32 ? 1ull << 32 : 0, back = 3 * c->size;
	unsigned reg = c->input ? X86_RDI : X86_RSI;

	if (!sio_is_64bit(c))
		return;
	run64(c, c->down ? back : top - back, -1, 8);
	assert_int_equal(m->got.gpr[reg], c->down ? top - 5 * c->size : 5 * c->size);
	assert_int_equal(m->got.gpr[X86_RCX], 0);
	if (c->a32 && c->size > 1 && !c->down) {	/* an element does not: its bytes are above */
		run64(c, top - back - 1, X86_PF, 3);
		assert_int_equal(m->got.cr2, top);
	}
}

static void test_64bit_address_wraps(void **state)
{
	(void)state;
	each_form(go_round);
}

/* Nothing is mapped behind the first page of the upper half: CR2 has 64 bits; RCX, too, counts all of them. */
static void page_fault_above(struct sio_case *c)
{
	unsigned reg = c->input ? X86_RDI : X86_RSI;

	if (!sio_is_64bit(c) || c->a32 || c->down)
		return;
	EACH(k, 4) EACH(odd, 2) {
		uint64_t lin = SIO_HIGH + 0x1000 - k * c->size - (odd && c->size > 1);

		run64(c, lin, X86_PF, k);
		assert_int_equal(m->got.cr2, SIO_HIGH + 0x1000);
		c->count = 3ull << 32;
		assert_true(sio_check(m, c));
		assert_int_equal(m->got.gpr[X86_RCX], (3ull << 32) - k);
		assert_int_equal(m->got.gpr[reg], lin + k * c->size);
	}
}

static void test_64bit_page_fault(void **state)
{
	(void)state;
	each_form(page_fault_above);
}

/* REX.W makes no element of 8 bytes. */
static void with_rex(struct sio_case *c)
{
	c->rex_w = c->rep = true;
	c->count = 3;
	c->off = 0x2000;
	if (sio_is_64bit(c) && c->size != 2)		/* it outdoes 66h */
		assert_true(sio_check(m, c));
}

static void test_rex_w_means_nothing(void **state)
{
	(void)state;
	each_form(with_rex);
}

/* #AC where CR0.AM and EFLAGS.AC ask for it, before the port is touched; an aligned run is not disturbed. */
static void test_alignment(void **state)
{
	(void)state;
	EACH(mode, SIO_MODES) EACH(p, COUNT(ports)) EACH(input, 2) EACH(s, 3) EACH(odd, 2) {
		struct sio_case c = { .mode = mode, .a32 = true, .input = input, .size = sizes[s], .rep = true, .count = 3, .port = ports[p],
				      .off = 0x2000 + odd };
		bool refused = odd && c.size > 1 && mode != LONG;

		if (mode < USER32 || mode == V86)
			continue;
		sio_prepare(m, &c);
		m->start.cr0 |= X86_CR0_AM;
		m->start.rflags |= X86_RFLAGS_AC;
		assert_int_equal(soft_engine.set_state(&m->vcpu, &m->start), 0);
		sio_run(m);
		assert_int_equal(m->got.vector, refused ? X86_AC : -1);
		assert_int_equal((uint32_t)m->got.gpr[X86_RCX], refused ? 3 : 0);
		if (c.port != SIO_NOBODY)
			assert_int_equal(input ? sio_reads(m, &c) : sio_writes(m, &c), refused ? 0 : 3);
	}
}

/* ---- registers */

static void run_bytes(const struct sio_case *c, const void *code, unsigned len)
{
	sio_prepare(m, c);
	memcpy(m->ram + SIO_CODE, code, len);
	m->ram[SIO_CODE + len] = 0xf4;
	m->code_len = len;
	sio_run(m);
}

/* IN: AL and AX keep the rest of RAX, EAX clears its upper half; prefixes REP and REPNE mean nothing; LOCK is #UD. */
static void test_in_and_out(void **state)
{
	static const enum sio_mode modes[] = { PROT32, COMPAT32, LONG, USER64 };

	(void)state;
	EACH(k, COUNT(modes)) EACH(p, 3) {
		struct sio_case c = { .mode = modes[k], .a32 = true, .size = 1 };
		static const struct {
			uint8_t code[4];
			unsigned len, size;
		} in[] = { { { 0xec }, 1, 1 }, { { 0x66, 0xed }, 2, 2 }, { { 0xed }, 1, 4 }, { { 0xf3, 0xec }, 2, 1 }, { { 0xf2, 0xed }, 2, 4 } };
		uint8_t lock[] = { 0xf0, 0xec }, outs[] = { 0x66, 0xef };

		c.port = ports[p];
		EACH(i, COUNT(in)) {
			uint64_t want, mask = in[i].size == 4 ? ~0ull : (1ull << 8 * in[i].size) - 1;

			run_bytes(&c, in[i].code, in[i].len);
			want = m->start.gpr[X86_RAX] & ~mask;
			for (unsigned b = 0; b < in[i].size; b++)
				want |= (uint64_t)fake_byte(b) << 8 * b;
			assert_int_equal(m->got.vector, -1);
			assert_int_equal(m->got.rip, SIO_CODE + in[i].len);
			assert_int_equal(m->got.gpr[X86_RAX], want);
			assert_int_equal(m->got.gpr[X86_RCX], 0xc1c1c1c1);
			assert_int_equal(sio_reads(m, &c), 1);
		}
		run_bytes(&c, lock, 2);
		assert_int_equal(m->got.vector, X86_UD);
		assert_int_equal(sio_reads(m, &c), 0);
		run_bytes(&c, outs, 2);
		assert_int_equal(sio_writes(m, &c), 1);
		assert_memory_equal(c.port == SIO_ENGINE ? m->log : m->fake.log, "\xbe\xba", 2);
		assert_int_equal(m->got.gpr[X86_RAX], m->start.gpr[X86_RAX]);
	}
}

static void test_in_immediate_and_unclaimed(void **state)
{
	struct sio_case c = { .mode = PROT32, .a32 = true, .size = 1, .port = SIO_NOBODY };
	static const uint8_t imm8[] = { 0xe4, 0xfe }, imm32[] = { 0xe5, 0xfc };

	(void)state;
	run_bytes(&c, imm8, 2);
	assert_int_equal(m->got.gpr[X86_RAX], 0xcafebaff);
	run_bytes(&c, imm32, 2);
	assert_int_equal(m->got.gpr[X86_RAX], 0xffffffff);
	assert_int_equal(fake_get(&m->fake.requests), 0);
}

/* ---- requests */

static void test_sector_travels_as_one_request(void **state)
{
	struct sio_case c = { .mode = REAL, .input = true, .size = 2, .rep = true, .count = 256, .port = FAKE_FIFO, .off = 0x1e00 };
	uint64_t requests = stat(STAT_STR_REQUESTS), elements = stat(STAT_STR_ELEMENTS);

	(void)state;
	assert_true(sio_check(m, &c));
	assert_int_equal(fake_get(&m->fake.requests), 1);
	assert_int_equal(stat(STAT_STR_REQUESTS) - requests, 1);
	assert_int_equal(stat(STAT_STR_ELEMENTS) - elements, 256);
	c.down = true;
	c.off = 0x1ffe;
	assert_true(sio_check(m, &c));
	assert_int_equal(fake_get(&m->fake.requests), 1);
	c.input = false;
	assert_true(sio_check(m, &c));
	assert_int_equal(fake_get(&m->fake.requests), 1);
	c.port = FAKE_PLAIN;
	assert_true(sio_check(m, &c));
	assert_int_equal(fake_get(&m->fake.requests), 256);
}

static void test_where_batches_end(void **state)
{
	struct sio_case c = { .mode = PROT32, .a32 = true, .input = true, .size = 4, .rep = true, .port = FAKE_FIFO };

	(void)state;
	c.count = 1024, c.off = 0x2000;
	assert_true(sio_check(m, &c));
	assert_int_equal(fake_get(&m->fake.requests), 1);	/* a page */
	c.off = 0x2004;
	assert_true(sio_check(m, &c));
	assert_int_equal(fake_get(&m->fake.requests), 2);	/* 1023, 1 */
	c.off = 0x2002;
	assert_true(sio_check(m, &c));
	assert_int_equal(fake_get(&m->fake.requests), 2);	/* 1023, the one that crosses */
	c.count = 2048;
	assert_true(sio_check(m, &c));
	assert_int_equal(fake_get(&m->fake.requests), 4);	/* 1023, crossing, 1023, crossing */
	c.count = 100, c.most = 10, c.off = 0x2000;
	assert_true(sio_check(m, &c));
	assert_int_equal(fake_get(&m->fake.requests), 10);	/* after a short one the rest still goes by batches */
	c.most = 0;
	c.event = EV_TF;
	c.count = 10;
	assert_true(sio_check(m, &c));
	assert_int_equal(fake_get(&m->fake.requests), 10);	/* one by one */
}

static void test_reset_while_pending(void **state)
{
	struct sio_case c = { .mode = REAL, .input = true, .size = 1, .rep = true, .count = 4, .port = FAKE_FIFO, .off = 0x2000 };
	uint64_t discarded = stat(STAT_DISCARDED), stale = link_client_stat(m->vm.link, LINK_STAT_STALE);
	struct x86_state s;

	(void)state;
	sio_prepare(m, &c);
	store_release(&m->fake.hold, 1);
	while (soft_engine.run(&m->vcpu) == EXIT_KICKED)
		m->vcpu.kick_seen = atomic_load(&m->vcpu.kick);
	assert_true(inout_active(&m->vcpu));
	soft_engine.get_state(&m->vcpu, &s);		/* a waiting vCPU stands before its instruction */
	assert_int_equal(s.rip, SIO_CODE);
	assert_int_equal(s.gpr[X86_RCX] & 0xffff, 4);
	inout_discard(&m->vcpu);
	soft_engine.reset(&m->vcpu);
	store_release(&m->fake.hold, 0);
	assert_int_equal(fake_control(&m->vm, LINK_REQ_RESET, 0, 0, 5000000000), 0);
	assert_int_equal(stat(STAT_DISCARDED) - discarded, 1);
	assert_memory_equal(m->ram + SIO_BASE, m->pristine + SIO_BASE, SIO_WINDOW);
	assert_true(sio_check(m, &c));
	assert_int_equal(link_client_stat(m->vm.link, LINK_STAT_STALE) - stale, 1);
}

/* An interrupt and an NMI that come while a request is pending wait for the instruction's end. */
static void test_no_event_between_posting_and_retirement(void **state)
{
	struct sio_case c = { .mode = USER32, .a32 = true, .input = true, .size = 4, .port = FAKE_PLAIN, .off = 0x2000, .event = EV_INTR,
			      .event_at = 1 };

	(void)state;
	sio_prepare(m, &c);
	while (soft_engine.run(&m->vcpu) == EXIT_KICKED)
		m->vcpu.kick_seen = atomic_load(&m->vcpu.kick);
	vcpu_raise_nmi(&m->vcpu);
	vcpu_raise_intr(&m->vcpu, true);
	assert_int_equal(soft_engine.run(&m->vcpu), EXIT_PENDING);	/* entered again, it still waits */
	sio_run(m);
	assert_int_equal(m->got.vector, X86_NMI);
	assert_int_equal(m->got.rip, SIO_CODE + m->code_len);		/* the element is there first */
	assert_int_equal(sio_reads(m, &c), 1);
	for (unsigned b = 0; b < 4; b++)
		assert_int_equal(m->got.window[0x2000 + b], fake_byte(b));
}

/* Page and permission go away while the request is in flight: the store that was probed is made all the same, and no datum is lost. */
static void test_translation_is_held(void **state)
{
	static const enum sio_mode modes[] = { BITMAP32, COMPAT32, LONG };

	(void)state;
	EACH(i, COUNT(modes)) EACH(k, 2) {
		struct sio_case c = { .mode = modes[i], .a32 = true, .input = true, .size = 4, .rep = k, .count = 1, .port = FAKE_FIFO,
				      .off = 0x2000 };
		unsigned page = (SIO_BASE + 0x2000) >> 12;

		sio_prepare(m, &c);
		store_release(&m->fake.hold, 1);
		while (soft_engine.run(&m->vcpu) == EXIT_KICKED)
			m->vcpu.kick_seen = atomic_load(&m->vcpu.kick);
		memset(m->ram + (i ? SIO_PT64 + 8 * page : SIO_PT + 4 * page), 0, i ? 8 : 4);
		memset(m->ram + m->start.seg[X86_TR].base + 104, 0xff, 8192);
		/* a change of the map somewhere else, so that no translation is cached any more */
		assert_int_equal(mem_set_map(m->vm.mem, 31, LINK_MAP_ROM, 0xd0000, k ? 0 : 4096, 0xd0000), 0);
		soft_engine.map_changed(&m->vm);
		store_release(&m->fake.hold, 0);
		sio_run(m);
		assert_int_equal(m->got.vector, -1);
		assert_int_equal(sio_reads(m, &c), 1);
		for (unsigned b = 0; b < 4; b++)
			assert_int_equal(m->got.window[0x2000 + b], fake_byte(b));
	}
}

/* ---- device memory as the operand */

static void test_device_memory_operand(void **state)
{
	static const enum sio_mode modes[] = { PROT32, LONG, USER64 };

	(void)state;
	EACH(k, COUNT(modes)) EACH(p, 4) EACH(input, 2) EACH(s, 3) {
		struct sio_case c = { .mode = modes[k], .a32 = true, .input = input, .size = sizes[s], .rep = true, .count = 3, .port = ports[p] };
		uint64_t reads, writes;
		unsigned reg = input ? X86_RDI : X86_RSI;

		sio_prepare(m, &c);
		m->start.seg[X86_ES].base = m->start.seg[X86_DS].base = 0;
		m->start.gpr[reg] = FAKE_MMIO + 0x100;
		assert_int_equal(soft_engine.set_state(&m->vcpu, &m->start), 0);
		sio_run(m);
		reads = m->reads + m->fake.reads + m->fake.plain_reads;
		writes = m->writes + m->fake.writes;
		assert_int_equal(m->got.vector, -1);
		assert_int_equal(m->got.gpr[X86_RCX], 0);
		assert_int_equal(m->got.gpr[reg], FAKE_MMIO + 0x100 + 3 * c.size);
		assert_int_equal(m->got.gpr[X86_RAX], m->start.gpr[X86_RAX]);
		assert_int_equal(reads, c.port == SIO_NOBODY && input ? 0 : 3);		/* each datum is read once */
		assert_int_equal(writes, c.port == SIO_NOBODY && !input ? 0 : 3);
		if (c.port != SIO_NOBODY)
			for (unsigned i = 0; i < 3 * c.size; i++)
				assert_int_equal((input || c.port != SIO_ENGINE ? m->fake.log : m->log)[i], fake_byte(i));
	}
}

/* ---- permission */

static void bitmap_refuse(unsigned port)
{
	m->ram[m->start.seg[X86_TR].base + 104 + port / 8] |= (uint8_t)(1u << port % 8);
}

static void test_bitmap(void **state)
{
	static const enum sio_mode modes[] = { BITMAP32, V86, COMPAT32 };

	(void)state;
	EACH(k, COUNT(modes)) EACH(input, 2) EACH(s, 3) EACH(p, COUNT(ports)) EACH(bit, 6) EACH(count, 2) {
		struct sio_case c = { .mode = modes[k], .input = input, .size = sizes[s], .rep = true, .count = count * 3,
				      .port = ports[p], .off = 0x2000 };
		bool refused = bit >= 1 && bit - 1 < c.size;

		sio_prepare(m, &c);
		bitmap_refuse(c.port + bit - 1);
		sio_run(m);
		/* REP with count 0 is checked too */
		assert_int_equal(m->got.vector, refused ? X86_GP : -1);
		assert_int_equal(m->got.rip, SIO_CODE + (refused ? 0 : m->code_len));
		if (refused)
			assert_int_equal(sio_reads(m, &c) + sio_writes(m, &c), 0);
	}
}

static void test_bitmap_outside_the_tss(void **state)
{
	(void)state;
	EACH(k, 2) EACH(short_by, 3) EACH(input, 2) {
		struct sio_case c = { .mode = k ? COMPAT32 : BITMAP32, .input = input, .size = 1, .rep = true, .count = 2, .port = SIO_ENGINE, .off = 0x2000 };

		sio_prepare(m, &c);
		/* two bytes are read: with the limit on the first the access is refused */
		m->start.seg[X86_TR].limit = 104 + SIO_ENGINE / 8 + 1 - short_by;
		assert_int_equal(soft_engine.set_state(&m->vcpu, &m->start), 0);
		sio_run(m);
		assert_int_equal(m->got.vector, short_by ? X86_GP : -1);
		assert_int_equal(sio_reads(m, &c) + sio_writes(m, &c), short_by ? 0 : 2);
	}
}

static void test_iopl_decides_first(void **state)
{
	struct sio_case c = { .mode = USER32, .input = true, .size = 1, .rep = true, .count = 2, .port = SIO_ENGINE, .off = 0x2000 };

	(void)state;
	sio_prepare(m, &c);
	bitmap_refuse(SIO_ENGINE);
	sio_run(m);
	assert_int_equal(m->got.vector, -1);
	assert_int_equal(m->reads, 2);
}

/* ---- breakpoints */

enum { BP_WRITE = 1, BP_IO = 2, BP_ACCESS = 3 };

static uint32_t dr7(unsigned what, unsigned len)
{
	return 1u | what << 16 | (len - 1) << 18;
}

static void test_io_breakpoint_after_each_element(void **state)
{
	(void)state;
	EACH(mode, SIO_MODES) EACH(p, 3) EACH(input, 2) EACH(rep, 2) {
		struct sio_case c = { .mode = mode, .input = input, .size = 2, .rep = rep, .count = 3, .port = ports[p], .off = 0x2000,
				      .cr4 = X86_CR4_DE, .dr0 = ports[p] + 1u, .dr7 = dr7(BP_IO, 1) };
		struct sio_state want;
		struct x86_state s;

		if (mode == V86 || mode == REAL)
			c.cr4 = X86_CR4_DE;
		sio_prepare(m, &c);
		for (unsigned k = 1; k <= (rep ? 3 : 1); k++) {
			sio_run(m);
			sio_model(m, &c, k, &want);
			assert_int_equal(m->got.vector, X86_DB);
			soft_engine.get_state(&m->vcpu, &s);
			assert_int_equal(s.dr[6] & X86_DR6_B, 1);
			assert_int_equal(m->got.rip, k < 3 && rep ? SIO_CODE : SIO_CODE + m->code_len);
			assert_int_equal(m->got.gpr[X86_RCX], want.gpr[X86_RCX]);
			assert_int_equal(input ? sio_reads(m, &c) : sio_writes(m, &c), k);
			assert_memory_equal(m->got.window, want.window, SIO_WINDOW);
			sio_resume(m);
		}
	}
}

static void test_io_breakpoint_elsewhere_or_disabled(void **state)
{
	struct sio_case c = { .mode = PROT32, .a32 = true, .input = true, .size = 2, .rep = true, .count = 3, .port = SIO_ENGINE, .off = 0x2000,
			      .cr4 = X86_CR4_DE, .dr0 = SIO_ENGINE + 2, .dr7 = dr7(BP_IO, 1) };

	(void)state;
	assert_true(sio_check(m, &c));		/* the next port */
	c.dr0 = SIO_ENGINE;
	c.cr4 = 0;				/* without CR4.DE the encoding means nothing */
	assert_true(sio_check(m, &c));
}

static void test_data_breakpoint_on_the_operand(void **state)
{
	(void)state;
	EACH(p, 3) EACH(input, 2) {
		struct sio_case c = { .mode = PROT32, .a32 = true, .input = input, .size = 2, .rep = true, .count = 4, .port = ports[p],
				      .off = 0x2000, .dr0 = SIO_BASE + 0x2004, .dr7 = dr7(input ? BP_WRITE : BP_ACCESS, 2) };
		struct x86_state s;

		sio_prepare(m, &c);
		sio_run(m);
		assert_int_equal(m->got.vector, X86_DB);
		soft_engine.get_state(&m->vcpu, &s);
		assert_int_equal(s.dr[6] & X86_DR6_B, 1);
		assert_int_equal(m->got.gpr[X86_RCX], 1);	/* after the third element */
		assert_int_equal(input ? sio_reads(m, &c) : sio_writes(m, &c), 3);
	}
}

/* ---- code */

/* INS over the code that follows: what is executed next is what the device gave. */
static void test_ins_over_code(void **state)
{
	(void)state;
	EACH(p, 3) {
		struct sio_case c = { .mode = REAL, .input = true, .size = 1, .rep = true, .count = 4, .port = ports[p] };
		/* first a pass over the target, so that it is decoded: nop nop nop nop hlt; then rep insb; jmp to it */
		static const uint8_t code[] = { 0xe8, 0x1d, 0x00, 0xf3, 0x6c, 0xeb, 0x19 };

		sio_prepare(m, &c);
		memcpy(m->ram + SIO_CODE, code, sizeof(code));
		memcpy(m->ram + SIO_CODE + 0x20, "\x90\x90\x90\x90\xc3", 5);
		m->start.seg[X86_ES].base = 0;
		m->start.gpr[X86_RDI] = SIO_CODE + 0x21;
		assert_int_equal(soft_engine.set_state(&m->vcpu, &m->start), 0);
		store_release(&m->fake.hold, 0);
		m->code_len = 0x100;
		/* the device's bytes are no code to rely on: only that the old code is not run again */
		for (unsigned i = 0; i < 4; i++)
			m->pristine[SIO_CODE + 0x21 + i] = fake_byte(i);
		while (soft_engine.run(&m->vcpu) == EXIT_PENDING)
			assert_int_equal(inout_wait(&m->vcpu), INOUT_READY);
		assert_memory_equal(m->ram + SIO_CODE + 0x21, m->pristine + SIO_CODE + 0x21, 4);
		memset(m->pristine + SIO_CODE, 0, 0x100);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single), cmocka_unit_test(test_repeated), cmocka_unit_test(test_many_elements_over_many_pages),
		cmocka_unit_test(test_segment_limit_at_each_element), cmocka_unit_test(test_page_fault_at_each_element),
		cmocka_unit_test(test_event_after_each_element), cmocka_unit_test(test_event_then_fault),
		cmocka_unit_test(test_device_does_a_part),
		cmocka_unit_test(test_canonical_fault_at_each_element), cmocka_unit_test(test_64bit_address_wraps),
		cmocka_unit_test(test_64bit_page_fault), cmocka_unit_test(test_rex_w_means_nothing),
		cmocka_unit_test(test_address_wraps), cmocka_unit_test(test_word_at_the_end_faults),
		cmocka_unit_test(test_override_moves_outs_alone), cmocka_unit_test(test_stack_segment_has_its_own_fault),
		cmocka_unit_test(test_segment_types), cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_in_and_out), cmocka_unit_test(test_in_immediate_and_unclaimed),
		cmocka_unit_test(test_sector_travels_as_one_request), cmocka_unit_test(test_where_batches_end),
		cmocka_unit_test(test_reset_while_pending), cmocka_unit_test(test_no_event_between_posting_and_retirement),
		cmocka_unit_test(test_translation_is_held), cmocka_unit_test(test_device_memory_operand),
		cmocka_unit_test(test_bitmap), cmocka_unit_test(test_bitmap_outside_the_tss), cmocka_unit_test(test_iopl_decides_first),
		cmocka_unit_test(test_io_breakpoint_after_each_element), cmocka_unit_test(test_io_breakpoint_elsewhere_or_disabled),
		cmocka_unit_test(test_data_breakpoint_on_the_operand), cmocka_unit_test(test_ins_over_code),
	};

	return cmocka_run_group_tests(tests, open_machine, close_machine);
}
