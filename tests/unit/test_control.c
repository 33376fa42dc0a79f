/*
 * tests/unit/test_control.c - the control server: requests and answers without
 * a socket, and what goes wrong on one.
 *
 * The machine is a whole one, with the soft engine, whose threads are not
 * started and which has no device model.
 */
#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/control.pb-c.h"
#include "proto/frame.h"
#include "vmm/config.h"
#include "vmm/control.h"
#include "vmm/regs.h"
#include "vmm/vm.h"

static struct config *config;
static struct event_base *base;
static struct vm *vm;
static struct control_client client;
static char dir[] = "/tmp/test_control.XXXXXX";

static int setup(void **state)
{
	static const char list[] = "uart\tlpc\tserial\nuart com1\tchr\tport\n";
	char *argv[] = { (char *)"cleave", (char *)"-m", (char *)"1M", (char *)"test", NULL }, err[300];
	struct devlist *l;

	(void)state;
	evthread_use_pthreads();
	config = config_new();
	if (devlist_parse(&l, list, sizeof(list) - 1, err, sizeof(err)) || config_args(config, 4, argv) || config_resolve(config, l))
		return -1;
	devlist_free(l);
	base = event_base_new();
	if (!mkdtemp(dir))
		return -1;
	return vm_new(&vm, config, base, err, sizeof(err));
}

static int teardown(void **state)
{
	(void)state;
	control_client_fini(&client);
	vm_free(vm);
	event_base_free(base);
	config_free(config);
	return rmdir(dir);
}

static uint8_t *late_reply;
static size_t late_len;

static void come_late(struct control_client *c, uint8_t *reply, size_t n)
{
	(void)c;
	assert_null(late_reply);
	late_reply = reply;
	late_len = n;
}

static void new_client(void)
{
	control_client_fini(&client);
	memset(&client, 0, sizeof(client));
	client.later = come_late;
}

/* The answer to a packed message, at once or from the event loop; the caller frees it. */
static Cleave__Response *answer_bytes(const uint8_t *message, size_t n)
{
	Cleave__Response *r;
	uint8_t *reply;
	size_t len = control_answer(vm, &client, message, n, &reply);

	while (!len && !late_reply)
		event_base_loop(base, EVLOOP_ONCE);
	if (!len) {
		reply = late_reply;
		len = late_len;
		late_reply = NULL;
	}
	assert_true(len > 0);
	assert_int_equal(client.deferred, 0);
	r = cleave__response__unpack(NULL, len, reply);
	assert_non_null(r);
	free(reply);
	return r;
}

static Cleave__Response *answer(Cleave__Request *q)
{
	uint8_t buf[FRAME_LIMIT];

	q->id = 7;
	return answer_bytes(buf, cleave__request__pack(q, buf));
}

/* Expects this errno, and a text with it; 0: no error. */
static void done(Cleave__Response *r, int error)
{
	assert_int_equal(r->error, error);
	assert_int_equal(!error, !*r->text);
	cleave__response__free_unpacked(r, NULL);
}

static Cleave__Response *say_hello(uint32_t version, uint32_t oldest)
{
	Cleave__Hello hello = CLEAVE__HELLO__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;

	hello.version = version;
	hello.oldest = oldest;
	q.what_case = CLEAVE__REQUEST__WHAT_HELLO;
	q.hello = &hello;
	return answer(&q);
}

static void greet(void)
{
	new_client();
	done(say_hello(CONTROL_VERSION, CONTROL_OLDEST), 0);
	assert_true(client.greeted);
}

static void test_hello(void **state)
{
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__GetState get = CLEAVE__GET_STATE__INIT;
	Cleave__Response *r;

	(void)state;
	q.what_case = CLEAVE__REQUEST__WHAT_GET_STATE;
	q.get_state = &get;
	new_client();
	done(answer(&q), EPROTO);
	assert_true(client.close);

	new_client();
	done(say_hello(CONTROL_VERSION + 9, CONTROL_VERSION + 1), EPROTONOSUPPORT);
	assert_true(client.close);
	assert_false(client.greeted);

	new_client();
	r = say_hello(CONTROL_VERSION + 9, CONTROL_OLDEST);	/* a newer tool that still speaks ours */
	assert_int_equal(r->id, 7);
	assert_int_equal(r->what_case, CLEAVE__RESPONSE__WHAT_HELLO);
	assert_int_equal(r->hello->version, CONTROL_VERSION);
	assert_string_equal(r->hello->vm, "test");
	assert_int_equal(r->hello->pid, getpid());
	assert_int_equal(r->hello->cpus, 1);
	done(r, 0);

	new_client();
	done(answer_bytes((const uint8_t *)"\xff\xff\xff", 3), EBADMSG);
	assert_true(client.close);
}

/* A field of a version to come is skipped, an unknown request is refused by name. */
static void test_unknown(void **state)
{
	uint8_t buf[64];
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__GetState get = CLEAVE__GET_STATE__INIT;
	Cleave__Response *r;
	size_t n;

	(void)state;
	greet();
	q.id = 3;
	q.what_case = CLEAVE__REQUEST__WHAT_GET_STATE;
	q.get_state = &get;
	n = cleave__request__pack(&q, buf);
	memcpy(buf + n, "\xc2\x3e\x03xyz", 6);		/* field 1000, three bytes */
	r = answer_bytes(buf, n + 6);
	assert_int_equal(r->what_case, CLEAVE__RESPONSE__WHAT_STATE);
	done(r, 0);
	done(answer_bytes((const uint8_t *)"\x08\x01\xc2\x3e\x03xyz", 8), ENOSYS);
	done(answer_bytes((const uint8_t *)"", 0), EINVAL);	/* id 0 */
	assert_false(client.close);
}

static uint64_t get(const char *name)
{
	Cleave__GetState get = CLEAVE__GET_STATE__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;
	uint64_t value = 0xbad;

	q.what_case = CLEAVE__REQUEST__WHAT_GET_STATE;
	q.get_state = &get;
	r = answer(&q);
	assert_int_equal(r->what_case, CLEAVE__RESPONSE__WHAT_STATE);
	for (size_t i = 0; i < r->state->n_register_; i++)
		if (!strcmp(r->state->register_[i]->name, name))
			value = r->state->register_[i]->value;
	done(r, 0);
	return value;
}

static void get_desc(const char *name, uint64_t *address, uint32_t *limit, uint32_t *access)
{
	Cleave__GetState get = CLEAVE__GET_STATE__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;

	q.what_case = CLEAVE__REQUEST__WHAT_GET_STATE;
	q.get_state = &get;
	r = answer(&q);
	for (size_t i = 0; i < r->state->n_descriptor; i++) {
		const Cleave__Descriptor *d = r->state->descriptor[i];

		if (strcmp(d->name, name))
			continue;
		*address = d->address;
		*limit = d->limit;
		*access = d->access;
	}
	done(r, 0);
}

static Cleave__Response *set(const char *a, uint64_t av, const char *b, uint64_t bv)
{
	Cleave__SetState set = CLEAVE__SET_STATE__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Register reg[2] = { CLEAVE__REGISTER__INIT, CLEAVE__REGISTER__INIT }, *regp[2] = { &reg[0], &reg[1] };

	reg[0].name = (char *)a;
	reg[0].value = av;
	reg[1].name = (char *)b;
	reg[1].value = bv;
	set.register_ = regp;
	set.n_register_ = b ? 2 : 1;
	q.what_case = CLEAVE__REQUEST__WHAT_SET_STATE;
	q.set_state = &set;
	return answer(&q);
}

static void test_registers(void **state)
{
	(void)state;
	greet();
	assert_int_equal(get("rip"), 0xfff0);		/* SDM vol. 3 table 9-1 */
	assert_int_equal(get("cs"), 0xf000);
	assert_int_equal(get("cr0"), 0x60000010);
	assert_int_equal(get("dr6"), 0xffff0ff0);
	done(set("rax", 0x1234, "dr3", 0x5678), 0);
	assert_int_equal(get("rax"), 0x1234);
	assert_int_equal(get("dr3"), 0x5678);
	/* all or nothing */
	done(set("rax", 1, "rux", 2), ENOENT);
	done(set("rux", 2, "rax", 1), ENOENT);
	done(set("rax", 1, "cs", 0x10000), ERANGE);
	done(set("rax", 1, "cr0", 0x80000000), EINVAL);	/* paging without protection */
	assert_int_equal(get("rax"), 0x1234);
	assert_int_equal(get("cr0"), 0x60000010);
}

/* Every register of the table can be read by name, no two have one place, and a narrow one keeps its neighbours. */
static void test_register_table(void **state)
{
	(void)state;
	for (const struct reg_row *r = reg_table; r->name; r++) {
		struct x86_state s;

		assert_ptr_equal(reg_find(r->name), r);
		for (const struct reg_row *o = reg_table; o < r; o++)
			assert_true(o->offset + o->width <= r->offset || r->offset + r->width <= o->offset);
		memset(&s, 0x5a, sizeof(s));
		assert_int_equal(reg_set(&s, r, 0), 0);
		assert_int_equal(reg_get(&s, r), 0);
		for (size_t i = 0; i < sizeof(s); i++)
			if (i < r->offset || i >= (size_t)r->offset + r->width)
				assert_int_equal(((uint8_t *)&s)[i], 0x5a);
	}
	assert_null(reg_find(""));
	assert_null(desc_find("rax"));
}

static void test_descriptors(void **state)
{
	Cleave__SetState set = CLEAVE__SET_STATE__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__DescriptorChange d = CLEAVE__DESCRIPTOR_CHANGE__INIT, *dp = &d;
	uint64_t address;
	uint32_t limit, access;

	(void)state;
	greet();
	get_desc("cs", &address, &limit, &access);
	assert_int_equal(address, 0xffff0000);
	assert_int_equal(limit, 0xffff);
	set.descriptor = &dp;
	set.n_descriptor = 1;
	q.what_case = CLEAVE__REQUEST__WHAT_SET_STATE;
	q.set_state = &set;
	d.name = (char *)"fs";
	d.set_address = 1;
	d.address = 0x4000;
	done(answer(&q), 0);
	get_desc("fs", &address, &limit, &access);
	assert_int_equal(address, 0x4000);
	assert_int_equal(limit, 0xffff);		/* what was not named stays */
	d.name = (char *)"idtr";
	d.set_limit = 1;
	d.limit = 0x7ff;
	done(answer(&q), 0);
	get_desc("idtr", &address, &limit, &access);
	assert_int_equal(limit, 0x7ff);
	d.set_access = 1;
	done(answer(&q), EINVAL);			/* a table has none */
	d.name = (char *)"rax";
	done(answer(&q), ENOENT);
}

static void test_cpu_number(void **state)
{
	Cleave__GetState gs = CLEAVE__GET_STATE__INIT;
	Cleave__SetState ss = CLEAVE__SET_STATE__INIT;
	Cleave__GetStats st = CLEAVE__GET_STATS__INIT;
	Cleave__Act act = CLEAVE__ACT__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;

	(void)state;
	greet();
	gs.cpu = ss.cpu = st.cpu = act.cpu = 1;
	q.what_case = CLEAVE__REQUEST__WHAT_GET_STATE;
	q.get_state = &gs;
	done(answer(&q), ENOENT);
	q.what_case = CLEAVE__REQUEST__WHAT_SET_STATE;
	q.set_state = &ss;
	done(answer(&q), ENOENT);
	st.one_cpu = 1;
	q.what_case = CLEAVE__REQUEST__WHAT_GET_STATS;
	q.get_stats = &st;
	done(answer(&q), ENOENT);
	act.action = CLEAVE__ACTION__ACTION_INJECT_NMI;
	q.what_case = CLEAVE__REQUEST__WHAT_ACT;
	q.act = &act;
	done(answer(&q), ENOENT);
	assert_int_equal(vm->vcpu[0].nmi, 0);
}

static void do_act(int action, int error)
{
	Cleave__Act act = CLEAVE__ACT__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;

	act.action = action;
	q.what_case = CLEAVE__REQUEST__WHAT_ACT;
	q.act = &act;
	done(answer(&q), error);
}

static void take_request(enum vm_request want)
{
	assert_int_equal(vm->request, want);
	assert_int_equal(vm->gate, GATE_STOP);		/* no instruction runs before it is acted upon */
	vm->request = VM_REQUEST_NONE;
	vm_unpark(vm);
}

static void test_actions(void **state)
{
	uint64_t before;

	(void)state;
	greet();
	do_act(CLEAVE__ACTION__ACTION_INJECT_NMI, 0);
	assert_int_equal(vm->vcpu[0].nmi, 1);
	do_act(CLEAVE__ACTION__ACTION_PAUSE, 0);
	assert_true(vm->paused);
	assert_int_equal(vm->gate, GATE_STOP);
	before = vm_now(vm);
	usleep(2000);
	assert_int_equal(vm_now(vm), before);
	do_act(CLEAVE__ACTION__ACTION_RESUME, 0);
	assert_false(vm->paused);
	assert_int_equal(vm->gate, GATE_OPEN);
	assert_in_range(vm_now(vm) - before, 0, 1900000);	/* the pause is not in it */
	do_act(CLEAVE__ACTION__ACTION_FORCE_RESET, 0);
	do_act(CLEAVE__ACTION__ACTION_FORCE_POWEROFF, 0);
	assert_int_equal(get("cs"), 0xf000);		/* looked at meanwhile: the gate stays shut */
	take_request(VM_REQUEST_RESET);			/* the first holds */
	do_act(CLEAVE__ACTION__ACTION_FORCE_POWEROFF, 0);
	do_act(CLEAVE__ACTION__ACTION_DESTROY, 0);
	take_request(VM_REQUEST_ERROR);			/* but for an error */
	do_act(CLEAVE__ACTION__ACTION_POWER_BUTTON, EPIPE);	/* no device model */
	do_act(99, ENOSYS);
}

static void test_stats(void **state)
{
	Cleave__GetStats st = CLEAVE__GET_STATS__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;
	unsigned found = 0;

	(void)state;
	greet();
	q.what_case = CLEAVE__REQUEST__WHAT_GET_STATS;
	q.get_stats = &st;
	r = answer(&q);
	assert_int_equal(r->what_case, CLEAVE__RESPONSE__WHAT_STATS);
	for (size_t i = 0; i < r->stats->n_counter; i++) {
		const char *name = r->stats->counter[i]->name;

		found += !strcmp(name, "instructions") + !strcmp(name, "string.elements") + !strcmp(name, "exit.hlt") +
			 !strcmp(name, "roundtrip.p99.ns") + !strcmp(name, "resets");
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(name, r->stats->counter[k]->name);
	}
	assert_int_equal(found, 5);
	done(r, 0);
}

static void test_send_keys(void **state)
{
	Cleave__SendKeys send = CLEAVE__SEND_KEYS__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	uint64_t *many = calloc(4097, sizeof(*many));

	(void)state;
	greet();
	q.what_case = CLEAVE__REQUEST__WHAT_SEND_KEYS;
	q.send_keys = &send;
	done(answer(&q), 0);				/* none */
	send.sequence = many;
	send.n_sequence = 1;
	done(answer(&q), EPIPE);			/* no device model */
	send.n_sequence = 4097;
	done(answer(&q), E2BIG);
	free(many);
}

/* ---- on a socket */

static int connect_to(void)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s/control", dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	return fd;
}

static void turn(void)
{
	for (int i = 0; i < 10; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		usleep(200);
	}
}

static size_t pack_hello(uint8_t *to)
{
	Cleave__Hello hello = CLEAVE__HELLO__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	size_t n;

	hello.version = hello.oldest = CONTROL_VERSION;
	q.id = 1;
	q.what_case = CLEAVE__REQUEST__WHAT_HELLO;
	q.hello = &hello;
	n = cleave__request__pack(&q, to + FRAME_HEADER);
	frame_header(to, n);
	return n + FRAME_HEADER;
}

/* A well-formed answer without an error arrives. */
static void expect_answer(int fd)
{
	uint8_t buf[FRAME_LIMIT];
	Cleave__Response *r;
	ssize_t n;

	turn();
	n = frame_read(fd, buf, sizeof(buf), 1000);
	assert_true(n > 0);
	r = cleave__response__unpack(NULL, n, buf);
	assert_non_null(r);
	done(r, 0);
}

static void expect_closed(int fd)
{
	char byte;

	turn();
	assert_int_equal(recv(fd, &byte, 1, MSG_DONTWAIT), 0);
	close(fd);
}

static void test_socket(void **state)
{
	struct control *c;
	uint8_t buf[256];
	char err[200];
	size_t n;
	int fd, other;

	(void)state;
	assert_int_equal(control_new(&c, vm, dir, err, sizeof(err)), 0);

	/* two messages in one piece, then one byte by byte */
	n = pack_hello(buf);
	n += pack_hello(buf + n);
	fd = connect_to();
	assert_int_equal(write(fd, buf, n), n);
	expect_answer(fd);
	expect_answer(fd);
	n = pack_hello(buf);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(write(fd, buf + i, 1), 1);
		turn();
	}
	expect_answer(fd);

	/* a second client meanwhile; lengths that are none */
	other = connect_to();
	assert_int_equal(write(other, "\0\0\0\0", 4), 4);
	expect_closed(other);
	other = connect_to();
	assert_int_equal(write(other, "\1\0\1\0", 4), 4);	/* FRAME_LIMIT + 1 */
	expect_closed(other);
	/* no message: told why, then closed */
	other = connect_to();
	assert_int_equal(write(other, "\4\0\0\0\377\377\377\377", 8), 8);
	turn();
	assert_true(frame_read(other, buf, sizeof(buf), 1000) > 0);
	expect_closed(other);
	/* half a frame, and gone */
	other = connect_to();
	assert_int_equal(write(other, buf, 3), 3);
	turn();
	close(other);
	turn();
	/* the first is still served */
	n = pack_hello(buf);
	assert_int_equal(write(fd, buf, n), n);
	expect_answer(fd);
	close(fd);
	turn();
	control_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_registers),
		cmocka_unit_test(test_register_table),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_cpu_number),
		cmocka_unit_test(test_actions),
		cmocka_unit_test(test_stats),
		cmocka_unit_test(test_send_keys),
		cmocka_unit_test(test_socket),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
