/*
 * test_calls.c - what is asked of the device model and not waited for: answers,
 * patience, and device models that die meanwhile.
 *
 * The machine is a whole one, whose threads are not started, with a device model
 * of a few lines (fakedaemon.h).
 */
#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/fakedaemon.h"
#include "vmm/calls.h"
#include "vmm/config.h"
#include "vmm/link.h"

enum { PATIENCE_MS = 30, KINDS_MAX = 16 };

static struct config *config;
static struct vm *vm;
static struct fake fake;
static uint32_t lost, gone;

/* what the device model was asked, in order */
static uint32_t nkinds;
static unsigned kinds[KINDS_MAX];

/* an answer */
struct heard {
	unsigned times;
	int err;
};

static bool note_kind(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	(void)f, (void)c;
	if (nkinds < KINDS_MAX)
		kinds[nkinds] = r->kind;
	store_release(&nkinds, nkinds + 1);
	return true;
}

static void on_lost(void *arg, const char *why)
{
	(void)arg, (void)why;
	lost++;
}

static bool is_gone(void *arg)
{
	(void)arg;
	return gone;
}

static void start(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.twist = note_kind;
	fake_start(&fake, vm);
	calls_taken_over(vm->calls);
}

static void die(void)
{
	fake_kill(&fake);
	link_client_lost(vm->link, "killed");
	link_close(&fake.link);
}

static int setup(void **state)
{
	static const char list[] = "uart\tlpc\tserial\nuart com1\tchr\tport\n";
	char *argv[] = { (char *)"cleave", (char *)"-m", (char *)"1M", (char *)"test", NULL }, err[300];
	const struct link_hooks hooks = { .lost = on_lost, .gone = is_gone };
	struct devlist *l;

	(void)state;
	evthread_use_pthreads();
	config = config_new();
	if (devlist_parse(&l, list, sizeof(list) - 1, err, sizeof(err)) || config_args(config, 4, argv) || config_resolve(config, l))
		return -1;
	devlist_free(l);
	if (vm_new(&vm, config, event_base_new(), err, sizeof(err)))
		return -1;
	link_client_set_hooks(vm->link, &hooks);
	nkinds = lost = gone = 0;
	start();
	return 0;
}

static int teardown(void **state)
{
	struct event_base *base = vm->base;

	(void)state;
	if (!link_client_is_lost(vm->link))
		fake_stop(&fake);
	vm_free(vm);
	event_base_free(base);
	config_free(config);
	return 0;
}

static void on_done(void *arg, int err)
{
	struct heard *h = arg;

	h->times++;
	h->err = err;
}

static void ask(unsigned kind, uint64_t value, unsigned patience, struct heard *h)
{
	*h = (struct heard){ 0 };
	assert_int_equal(calls_ask(vm->calls, kind, LINK_INJECT_KEY, value, patience, on_done, h), 0);
	assert_int_equal(h->times, 0);		/* never before it returns */
}

static int answer(struct heard *h)
{
	while (!h->times)
		event_base_loop(vm->base, EVLOOP_ONCE);
	assert_int_equal(h->times, 1);
	return h->err;
}

/* Some turns of the loop, which bring nothing. */
static void nothing(const struct heard *h)
{
	for (unsigned i = 0; i < 20; i++)
		event_base_loop(vm->base, EVLOOP_ONCE);
	assert_int_equal(h->times, 0);
}

static void in_order(void **state)
{
	struct heard a, b, after;

	(void)state;
	ask(LINK_REQ_PAUSE, 0, CALL_FOR_EVER, &a);
	ask(LINK_REQ_INJECT, 1, PATIENCE_MS * 100, &b);
	ask(LINK_REQ_NONE, 0, CALL_FOR_EVER, &after);
	assert_int_equal(answer(&after), 0);
	assert_int_equal(answer(&a), 0);
	assert_int_equal(answer(&b), 0);
	assert_int_equal(load_acquire(&nkinds), 2);
	assert_int_equal(kinds[0], LINK_REQ_PAUSE);
	assert_int_equal(kinds[1], LINK_REQ_INJECT);
}

/* A late answer is not the next one's. */
static bool refuse_first(struct fake *f, const struct link_req *r, struct link_comp *c)
{
	(void)f;
	if (r->value == 1)
		c->status = LINK_UNCLAIMED;
	return true;
}

static void patience(void **state)
{
	struct heard a, b;

	(void)state;
	store_release(&fake.twist, refuse_first);
	ask(LINK_REQ_INJECT, 1, CALL_FOR_EVER, &a);
	assert_int_equal(answer(&a), -ENXIO);
	store_release(&fake.hold, 1);
	ask(LINK_REQ_INJECT, 1, PATIENCE_MS, &a);
	assert_int_equal(answer(&a), -ETIMEDOUT);
	store_release(&fake.hold, 0);
	ask(LINK_REQ_INJECT, 2, CALL_FOR_EVER, &b);
	assert_int_equal(answer(&b), 0);
	assert_int_equal(a.times, 1);
	assert_int_equal(lost, 0);
}

/* What is asked for ever is done once, by whoever comes to it. */
static void outlives_device_models(void **state)
{
	struct heard a, b, c;

	(void)state;
	store_release(&fake.hold, 1);
	ask(LINK_REQ_RESET, 0, CALL_FOR_EVER, &a);	/* is in the ring */
	nothing(&a);
	die();
	ask(LINK_REQ_INJECT, 7, CALL_FOR_EVER, &b);	/* has never been */
	nothing(&b);
	start();
	assert_int_equal(answer(&a), 0);
	assert_int_equal(answer(&b), 0);
	assert_int_equal(fake_get(&fake.resets), 1);
	/* and so is what comes after */
	die();
	start();
	ask(LINK_REQ_RESET, 0, CALL_FOR_EVER, &c);
	assert_int_equal(answer(&c), 0);
	assert_int_equal(fake_get(&fake.resets), 1);
}

/* Whoever has lost patience is told that nothing has been done, and nothing is. */
static void nobody_comes(void **state)
{
	struct heard a, b, c;

	(void)state;
	store_release(&fake.hold, 1);
	ask(LINK_REQ_INJECT, 1, PATIENCE_MS, &a);
	event_base_loop(vm->base, EVLOOP_ONCE);
	die();
	ask(LINK_REQ_INJECT, 2, PATIENCE_MS, &b);
	assert_int_equal(answer(&a), -EPIPE);
	assert_int_equal(answer(&b), -EPIPE);
	start();
	ask(LINK_REQ_INJECT, 3, CALL_FOR_EVER, &c);
	assert_int_equal(answer(&c), 0);
	assert_int_equal(load_acquire(&nkinds), 1);
}

/* After the last word of one that died there is none of its successor's. */
static void last_word(void **state)
{
	struct heard a;

	(void)state;
	ask(LINK_REQ_RESET, 0, CALL_FOR_EVER, &a);
	event_base_loop(vm->base, EVLOOP_ONCE);
	while (!fake_get(&fake.resets))
		;
	die();
	start();
	assert_int_equal(answer(&a), 0);
	assert_int_equal(fake_get(&fake.resets), 0);
}

/* With no process at work nothing is under way. */
static void settled(void **state)
{
	struct heard a, b;

	(void)state;
	store_release(&fake.hold, 1);
	ask(LINK_REQ_PAUSE, 0, CALL_FOR_EVER, &a);
	ask(LINK_REQ_NONE, 0, CALL_FOR_EVER, &b);
	nothing(&b);
	die();
	nothing(&b);		/* lost, and not yet gone */
	gone = 1;
	assert_int_equal(answer(&b), -EPIPE);
	assert_int_equal(a.times, 0);
}

static void the_last_pause_counts(void **state)
{
	struct heard a;

	(void)state;
	die();
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(calls_ask(vm->calls, i & 1 ? LINK_REQ_RESUME : LINK_REQ_PAUSE, 0, i, CALL_FOR_EVER, NULL, NULL), 0);
	start();
	ask(LINK_REQ_NONE, 0, CALL_FOR_EVER, &a);
	assert_int_equal(answer(&a), 0);
	assert_int_equal(load_acquire(&nkinds), 1);
	assert_int_equal(kinds[0], LINK_REQ_RESUME);
}

static void forgotten(void **state)
{
	struct heard a, b;

	(void)state;
	ask(LINK_REQ_INJECT, 1, CALL_FOR_EVER, &a);
	calls_forget(vm->calls, &a);
	ask(LINK_REQ_NONE, 0, CALL_FOR_EVER, &b);
	assert_int_equal(answer(&b), 0);
	assert_int_equal(a.times, 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(in_order), T(patience), T(outlives_device_models), T(nobody_comes), T(last_word), T(settled),
		T(the_last_pause_counts), T(forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
