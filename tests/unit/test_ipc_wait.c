/*
 * tests/unit/test_ipc_wait.c - who may sleep, who must wake whom, and what the
 * spin budget learns.  Both sides live in this process; nothing is timed but
 * by limits so long that only a lost wake-up meets them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>
#include <cmocka.h>

#include "ipc/link_daemon.h"
#include "ipc/link_engine.h"

#define LONG_NS 20000000000ll

static struct link e, d;

static int setup(void **state)
{
	const struct link_params p = { .nvcpus = 1, .code_pages = 16 };
	char err[LINK_ERR];
	int fd[LINK_FDS];

	(void)state;
	if (link_create(&e, &p, err))
		return -1;
	for (int i = 0; i < LINK_FDS; i++)
		fd[i] = dup(e.fd[i]);
	return link_open(&d, fd, LINK_F_ALL, err) || link_accept(&e, err);
}

static int teardown(void **state)
{
	(void)state;
	link_close(&d);
	link_close(&e);
	return 0;
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static const struct link_req req = { .seq = 1, .kind = LINK_REQ_PIO_IN, .size = 1, .count = 1 };
static const struct link_comp comp = { .seq = 1, .kind = LINK_REQ_PIO_IN, .size = 1, .count = 1, .done = 1 };
static const struct link_event event = { .seq = 1, .kind = LINK_EV_NMI };

static void test_no_bell_while_awake(void **state)
{
	(void)state;
	assert_int_equal(link_post_req(&e, 0, &req), 0);
	assert_false(readable(d.fd[LINK_FD_WAKE]));
	assert_true(link_daemon_work(&d));
}

static void test_request_wakes_daemon(void **state)
{
	struct link_req got;
	int err;

	(void)state;
	assert_true(link_daemon_prepare_sleep(&d, &err));
	assert_int_equal(err, 0);
	assert_int_equal(link_post_req(&e, 0, &req), 0);
	assert_true(readable(d.fd[LINK_FD_WAKE]));
	assert_int_equal(e.header->daemon_sleeps, 0);	/* one sleep, one wake-up */
	link_daemon_finish_sleep(&d);
	assert_false(readable(d.fd[LINK_FD_WAKE]));
	assert_int_equal(link_take_req(&d, 0, &got), 1);
}

/* Work that came before the announcement: no sleep. */
static void test_prepare_sees_work(void **state)
{
	struct link_req got;
	int err;

	(void)state;
	link_post_req(&e, 1, &req);	/* the control channel */
	assert_true(link_daemon_work(&d));
	assert_false(link_daemon_prepare_sleep(&d, &err));
	assert_int_equal(err, 0);
	assert_int_equal(d.header->daemon_sleeps, 0);
	link_take_req(&d, 1, &got);
	assert_true(link_daemon_prepare_sleep(&d, &err));
	link_daemon_finish_sleep(&d);
	link_doorbell_ring(&e, 5);
	assert_int_equal(link_doorbell_count(&d, 5), 1);
	assert_false(link_daemon_prepare_sleep(&d, &err));
	assert_true(link_daemon_prepare_sleep(&d, &err));	/* the bell was noted */
	link_daemon_finish_sleep(&d);

	assert_false(link_kernel_bells(&d));
	link_doorbell_by_kernel(&e, 5, true);
	assert_true(link_kernel_bells(&d));
	assert_true(link_doorbell_is_kernels(&d, 5));
	assert_false(link_doorbell_is_kernels(&d, 4));
	link_doorbell_by_kernel(&e, 6, true);
	link_doorbell_by_kernel(&e, 5, false);
	assert_true(link_kernel_bells(&d));
	assert_false(link_doorbell_is_kernels(&d, 5));
	link_doorbell_by_kernel(&e, 6, false);
	assert_false(link_kernel_bells(&d));
}

static void test_hostile_indices_found_before_sleep(void **state)
{
	int err;

	(void)state;
	e.chan[0].shared->req.prod = 1000;
	assert_false(link_daemon_prepare_sleep(&d, &err));
	assert_int_equal(err, -EPROTO);
	d.events.shared->prod = 5;
	assert_false(link_events_prepare_sleep(&e, &err));
	assert_int_equal(err, -EPROTO);
	d.chan[0].shared->comp.prod = 77;
	assert_int_equal(link_wait_comp(&e, 0, NULL, 0, LONG_NS), WAIT_BROKEN);
	d.output[3].shared->prod = 0x80000000;
	assert_false(link_relay_prepare_sleep(&e, 1u << 3, 0, &err));
	assert_int_equal(err, -EPROTO);
}

static void test_events_wake_their_thread(void **state)
{
	struct link_event got;
	int err;

	(void)state;
	assert_true(link_events_prepare_sleep(&e, &err));
	link_flush(&d, 0);
	assert_false(readable(e.fd[LINK_FD_EVENT]));	/* nothing posted */
	e.chan[0].shared->comp.cons_sleeps = LINK_SLEEPS;
	link_post_comp(&d, 0, &comp);
	link_flush(&d, 0);
	assert_int_equal(e.chan[0].shared->comp.cons_sleeps, LINK_SLEEPS);	/* its own to clear: it may not sleep yet */
	e.chan[0].shared->comp.cons_sleeps = 0;
	assert_false(readable(e.fd[LINK_FD_EVENT]));	/* for the vCPU, not for it */
	assert_int_equal(link_post_event(&d, &event), 0);
	link_flush(&d, LINK_NO_CHANNEL);
	assert_true(readable(e.fd[LINK_FD_EVENT]));
	link_events_finish_sleep(&e);
	assert_false(link_events_prepare_sleep(&e, &err));
	assert_int_equal(link_take_event(&e, &got), 1);
	assert_int_equal(got.kind, LINK_EV_NMI);
	link_release_events(&e);
	assert_true(link_events_prepare_sleep(&e, &err));
}

/* Events that a completion names are left to the vCPU that waits for it; not when it has left. */
static void test_events_of_a_completion(void **state)
{
	uint32_t here = 1;
	uint64_t v;
	int err;

	(void)state;
	assert_true(link_events_prepare_sleep(&e, &err));
	link_post_event(&d, &event);
	link_post_comp(&d, 0, &comp);
	link_flush(&d, 0);
	assert_false(readable(e.fd[LINK_FD_EVENT]));
	link_post_event(&d, &event);
	link_flush(&d, 0);				/* a posted write's: no completion names it */
	assert_true(readable(e.fd[LINK_FD_EVENT]));
	assert_int_equal(read(e.fd[LINK_FD_EVENT], &v, sizeof(v)), sizeof(v));

	assert_int_equal(link_take_comp(&e, 0, &(struct link_comp){ 0 }), 1);
	assert_int_equal(link_wait_comp(&e, 0, &here, 0, LONG_NS), WAIT_KICKED);
	assert_true(readable(e.fd[LINK_FD_EVENT]));	/* events of a completion that came meanwhile */
	assert_int_equal(read(e.fd[LINK_FD_EVENT], &v, sizeof(v)), sizeof(v));
	e.events.shared->cons_sleeps = 1;
	link_post_event(&d, &event);
	link_post_comp(&d, 0, &comp);
	link_flush(&d, 0);
	assert_true(readable(e.fd[LINK_FD_EVENT]));
	assert_int_equal(read(e.fd[LINK_FD_EVENT], &v, sizeof(v)), sizeof(v));

	assert_int_equal(link_wait_comp(&e, 0, &here, 0, LONG_NS), WAIT_READY);
	e.events.shared->cons_sleeps = 1;
	link_post_event(&d, &event);
	link_post_comp(&d, 0, &comp);
	link_flush(&d, 0);
	assert_false(readable(e.fd[LINK_FD_EVENT]));
}

static void test_event_room(void **state)
{
	struct link_event got;
	int err;

	(void)state;
	for (unsigned i = 0; i < LINK_EVENT_SLOTS - 2; i++)
		assert_int_equal(link_post_event(&d, &event), 0);
	assert_int_equal(link_event_room(&d, 2), 2);
	e.events.shared->cons_sleeps = 1;
	assert_int_equal(link_event_room(&d, 3), 2);
	assert_true(readable(e.fd[LINK_FD_EVENT]));	/* somebody must drain */
	link_event_want_room(&d, 3);
	assert_true(link_daemon_prepare_sleep(&d, &err));
	link_take_event(&e, &got);
	link_release_events(&e);
	assert_true(readable(d.fd[LINK_FD_WAKE]));
	link_daemon_finish_sleep(&d);
	assert_int_equal(link_event_room(&d, 3), 3);
	assert_false(link_daemon_prepare_sleep(&d, &err));	/* room is work while it is wanted */
	link_event_want_room(&d, 0);
	assert_int_equal(d.events.shared->prod_sleeps, 0);
}

static void test_streams_wake(void **state)
{
	char got[4];
	int err;

	(void)state;
	assert_true(link_relay_prepare_sleep(&e, 1u << 2, 0, &err));
	link_output_stage(&d, 2, 0, "hi", 2);
	assert_false(readable(e.fd[LINK_FD_RELAY]));
	link_output_publish(&d, 2, 2);
	assert_true(readable(e.fd[LINK_FD_RELAY]));
	assert_false(link_relay_prepare_sleep(&e, 1u << 2, 0, &err));
	assert_int_equal(link_output_peek(&e, 2, got, sizeof(got)), 2);
	assert_true(link_output_want_room(&d, 2, 2) > 0);
	assert_true(link_daemon_prepare_sleep(&d, &err));
	link_output_take(&e, 2, 2);
	assert_true(readable(d.fd[LINK_FD_WAKE]));
	assert_true(link_daemon_work(&d));		/* the bell */
	link_daemon_finish_sleep(&d);

	assert_true(link_daemon_prepare_sleep(&d, &err));
	assert_int_equal(link_input_put(&e, 0, "abc", 3), 3);
	assert_true(readable(d.fd[LINK_FD_WAKE]));
	assert_true(link_daemon_work(&d));
	assert_int_equal(link_input_peek(&d, 0, 0, got, 4), 3);
	assert_memory_equal(got, "abc", 3);
}

static void test_input_room_wakes_relay(void **state)
{
	static char much[LINK_STREAM_BYTES + 1];
	uint64_t v;
	int err;

	(void)state;
	assert_int_equal(link_input_put(&e, 7, much, sizeof(much)), LINK_STREAM_BYTES);
	assert_int_equal(link_input_put(&e, 7, much, 1), 0);
	assert_true(link_relay_prepare_sleep(&e, 0, 1u << 7, &err));
	link_input_give_back(&d, 7, 10);
	assert_true(readable(e.fd[LINK_FD_RELAY]));
	assert_int_equal(read(e.fd[LINK_FD_RELAY], &v, sizeof(v)), sizeof(v));
	assert_false(link_relay_prepare_sleep(&e, 0, 1u << 7, &err));
	link_input_give_back(&d, 7, 20);
	assert_false(readable(e.fd[LINK_FD_RELAY]));	/* the relay was awake */
}

static void test_words(void **state)
{
	uint32_t v;

	(void)state;
	assert_false(link_shadow_read(&e, 3, &v));
	link_shadow_write(&d, 3, 0x50, true);
	assert_true(link_shadow_read(&e, 3, &v));
	assert_int_equal(v, 0x50);
	link_shadow_write(&d, 3, 0, false);
	assert_false(link_shadow_read(&e, 3, &v));
	link_code_mark(&e, 15);
	assert_true(link_code_test(&d, 15));
	assert_false(link_code_test(&d, 14));
	e.code[16] = 1;
	assert_false(link_code_test(&d, 16));		/* beyond RAM */
	assert_false(link_code_test(&d, UINT64_MAX));
	link_code_clear(&e, 15);
	assert_false(link_code_test(&d, 15));
	link_commit(&d, 0, 17);
	assert_int_equal(link_committed(&e, 0), 17);
}

/* ---- sleeping on two words ---- */

static uint32_t kick;

/* Acts only once the waiter has announced its sleep: whatever it is in the middle of, it must wake. */
static void await(const uint32_t *flag)
{
	while (!(load_acquire(flag) & LINK_SLEEPS))
		usleep(100);
}

static void *kick_it(void *arg)
{
	await(arg);
	fetch_add(&kick, 1);
	wait_wake_private(&kick);
	return NULL;
}

static void *complete_it(void *arg)
{
	await(arg);
	link_post_comp(&d, 0, &comp);
	link_flush(&d, 0);
	return NULL;
}

static void *make_room(void *arg)
{
	struct link_req got;

	await(arg);
	while (link_take_req(&d, 0, &got))
		link_release_req(&d, 0);
	return NULL;
}

static void test_wait_comp(void **state)
{
	struct link_vcpu *v = e.chan[0].shared;
	struct link_comp got;
	pthread_t t;

	(void)state;
	kick = 4;
	assert_int_equal(link_wait_comp(&e, 0, &kick, 4, 0), WAIT_TIMEOUT);
	assert_int_equal(link_wait_comp(&e, 0, &kick, 4, 1000000), WAIT_TIMEOUT);
	assert_int_equal(link_wait_comp(&e, 0, NULL, 0, 1000000), WAIT_TIMEOUT);
	assert_int_equal(link_wait_comp(&e, 0, &kick, 3, LONG_NS), WAIT_KICKED);
	assert_int_equal(v->comp.cons_sleeps, LINK_AWAY);

	pthread_create(&t, NULL, kick_it, &v->comp.cons_sleeps);
	assert_int_equal(link_wait_comp(&e, 0, &kick, 4, LONG_NS), WAIT_KICKED);
	pthread_join(t, NULL);

	pthread_create(&t, NULL, complete_it, &v->comp.cons_sleeps);
	assert_int_equal(link_wait_comp(&e, 0, &kick, 5, LONG_NS), WAIT_READY);
	pthread_join(t, NULL);
	assert_int_equal(link_take_comp(&e, 0, &got), 1);
	assert_int_equal(got.seq, 1);
	assert_int_equal(link_wait_comp(&e, 0, &kick, 5, 0), WAIT_TIMEOUT);
}

static void test_wait_room(void **state)
{
	struct link_vcpu *v = e.chan[0].shared;
	pthread_t t;

	(void)state;
	assert_int_equal(link_wait_room(&e, 0, NULL, 0, 0), WAIT_READY);
	for (unsigned i = 0; i < LINK_REQ_SLOTS; i++)
		assert_int_equal(link_post_req(&e, 0, &req), 0);
	assert_int_equal(link_post_req(&e, 0, &req), -EAGAIN);
	assert_int_equal(link_wait_room(&e, 0, NULL, 0, 1000000), WAIT_TIMEOUT);
	kick = 0;
	assert_int_equal(link_wait_room(&e, 0, &kick, 1, LONG_NS), WAIT_KICKED);
	pthread_create(&t, NULL, make_room, &v->req.prod_sleeps);
	assert_int_equal(link_wait_room(&e, 0, &kick, 0, LONG_NS), WAIT_READY);
	pthread_join(t, NULL);
	assert_int_equal(link_post_req(&e, 0, &req), 0);
	v->req.cons = 1000;
	while (!link_post_req(&e, 0, &req))
		;
	assert_int_equal(link_wait_room(&e, 0, NULL, 0, LONG_NS), WAIT_BROKEN);
}

/* ---- the budget ---- */

static void repeat(struct learn *b, uint64_t ns, unsigned n)
{
	while (n--)
		learn_note(b, ns);
}

static void test_learn(void **state)
{
	struct learn b;

	(void)state;
	learn_init(&b);
	assert_true(b.budget_ns > 0 && b.budget_ns <= WAIT_SPIN_MAX_NS);
	repeat(&b, 300, 64);			/* hot: spin, long enough to get over one slow answer */
	assert_true(b.budget_ns >= WAIT_SLEEP_NS && b.budget_ns < WAIT_SPIN_MAX_NS);
	repeat(&b, 10000000, 640);		/* a disk: do not spin */
	assert_int_equal(b.budget_ns, 0);
	repeat(&b, 20000, 640);			/* worth waiting for: cheaper than a sleep */
	assert_true(b.budget_ns >= 20000 && b.budget_ns <= 65536);
	for (unsigned i = 0; i < 640; i++)	/* mostly hot, now and then a disk */
		learn_note(&b, i % 8 ? 300 : 10000000);
	assert_true(b.budget_ns >= WAIT_SLEEP_NS && b.budget_ns < WAIT_SPIN_MAX_NS);
	repeat(&b, UINT64_MAX, 640);
	assert_int_equal(b.budget_ns, 0);
	repeat(&b, 0, 640);
	assert_true(b.budget_ns > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define IN_A_LINK(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
		IN_A_LINK(test_no_bell_while_awake),
		IN_A_LINK(test_request_wakes_daemon),
		IN_A_LINK(test_prepare_sees_work),
		IN_A_LINK(test_hostile_indices_found_before_sleep),
		IN_A_LINK(test_events_wake_their_thread),
		IN_A_LINK(test_events_of_a_completion),
		IN_A_LINK(test_event_room),
		IN_A_LINK(test_streams_wake),
		IN_A_LINK(test_input_room_wakes_relay),
		IN_A_LINK(test_words),
		IN_A_LINK(test_wait_comp),
		IN_A_LINK(test_wait_room),
		cmocka_unit_test(test_learn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
