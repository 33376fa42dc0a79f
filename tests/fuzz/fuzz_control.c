/*
 * tests/fuzz/fuzz_control.c - any bytes as a control message to a machine, and
 * as an answer to the tool.
 *
 * Input: one message after another, two bytes of length before each; the first
 * byte of all says whether the client has said hello.
 */
#include <event2/event.h>
#include <event2/thread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/control.pb-c.h"
#include "proto/frame.h"
#include "vmm/config.h"
#include "vmm/control.h"
#include "vmm/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

static struct vm *machine(void)
{
	static const char list[] = "uart\tlpc\tserial\nuart com1\tchr\tport\n";
	char *argv[] = { (char *)"cleave", (char *)"-m", (char *)"1M", (char *)"fuzz", NULL }, err[300];
	static struct config *config;
	static struct devlist *l;	/* for as long as the process: the configuration points into it */
	struct vm *vm;

	evthread_use_pthreads();
	config = config_new();
	if (devlist_parse(&l, list, sizeof(list) - 1, err, sizeof(err)) || config_args(config, 4, argv) ||
	    config_resolve(config, l) || vm_new(&vm, config, event_base_new(), err, sizeof(err)))
		abort();
	return vm;
}

/* What the tool does with an answer. */
static void read_answer(const uint8_t *message, size_t n)
{
	Cleave__Response *r = cleave__response__unpack(NULL, n, message);

	if (r)
		cleave__response__free_unpacked(r, NULL);
}

static size_t late;

static void come_late(struct control_client *c, uint8_t *reply, size_t n)
{
	(void)c;
	late = n;
	if (n > FRAME_LIMIT || late == 0)
		abort();
	read_answer(reply, n);
	free(reply);
}

/* The machine is to stay as it is: no request is acted upon. */
static void wait_for_answer(struct vm *vm)
{
	while (!late) {
		vm->request = VM_REQUEST_NONE;
		event_base_loop(vm->base, EVLOOP_ONCE);
	}
	late = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct control_client c = { .later = come_late };
	static struct vm *vm;

	if (!vm)
		vm = machine();
	if (!size)
		return 0;
	c.greeted = data[0] & 1;
	data++, size--;
	while (size >= 2 && !c.close) {
		size_t n = data[0] | data[1] << 8, len;
		uint8_t *reply;

		data += 2, size -= 2;
		if (n > size)
			n = size;
		len = control_answer(vm, &c, data, n, &reply);
		/* Each message gets an answer, now or later, that the tool can read and that fits a frame. */
		if (len > FRAME_LIMIT)
			abort();
		if (len) {
			read_answer(reply, len);
			free(reply);
		} else {
			wait_for_answer(vm);
		}
		read_answer(data, n);
		data += n, size -= n;
	}
	control_client_fini(&c);
	vm->request = VM_REQUEST_NONE;
	vm_resume(vm);
	return 0;
}

static size_t put(uint8_t *buf, const Cleave__Request *q)
{
	size_t n = cleave__request__pack(q, buf + 3);

	buf[0] = 1;
	buf[1] = n;
	buf[2] = n >> 8;
	return n + 3;
}

size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Hello hello = CLEAVE__HELLO__INIT;
	Cleave__GetState get = CLEAVE__GET_STATE__INIT;
	Cleave__SetState set = CLEAVE__SET_STATE__INIT;
	Cleave__GetStats stats = CLEAVE__GET_STATS__INIT;
	Cleave__GetDevmodel devmodel = CLEAVE__GET_DEVMODEL__INIT;
	Cleave__GetSandbox sandbox = CLEAVE__GET_SANDBOX__INIT;
	Cleave__UpgradeDevmodel upgrade = CLEAVE__UPGRADE_DEVMODEL__INIT;
	Cleave__ResizeDisk resize = CLEAVE__RESIZE_DISK__INIT;
	Cleave__SetLink link = CLEAVE__SET_LINK__INIT;
	Cleave__Act act = CLEAVE__ACT__INIT;
	Cleave__SendKeys keys = CLEAVE__SEND_KEYS__INIT;
	Cleave__Register reg = CLEAVE__REGISTER__INIT, *regp = &reg;
	Cleave__DescriptorChange desc = CLEAVE__DESCRIPTOR_CHANGE__INIT, *descp = &desc;
	uint64_t key[] = { 0x1c, 0x1cf0 };

	if (cap < 200)
		return 0;
	q.id = n + 1;
	switch (n) {
	case 0:
		hello.version = hello.oldest = 1;
		q.what_case = CLEAVE__REQUEST__WHAT_HELLO;
		q.hello = &hello;
		break;
	case 1:
		q.what_case = CLEAVE__REQUEST__WHAT_GET_STATE;
		q.get_state = &get;
		break;
	case 2:
		reg.name = (char *)"cr0";
		reg.value = 0x60000011;
		desc.name = (char *)"cs";
		desc.set_limit = desc.set_access = 1;
		desc.limit = 0xffffffff;
		desc.access = 0xc09b;
		set.register_ = &regp;
		set.descriptor = &descp;
		set.n_register_ = set.n_descriptor = 1;
		q.what_case = CLEAVE__REQUEST__WHAT_SET_STATE;
		q.set_state = &set;
		break;
	case 3:
		q.what_case = CLEAVE__REQUEST__WHAT_GET_STATS;
		q.get_stats = &stats;
		break;
	case 4:
		keys.sequence = key;
		keys.n_sequence = 2;
		q.what_case = CLEAVE__REQUEST__WHAT_SEND_KEYS;
		q.send_keys = &keys;
		break;
	case 5:
		q.what_case = CLEAVE__REQUEST__WHAT_GET_DEVMODEL;
		q.get_devmodel = &devmodel;
		break;
	case 6:
		q.what_case = CLEAVE__REQUEST__WHAT_GET_SANDBOX;
		q.get_sandbox = &sandbox;
		break;
	case 7:
		upgrade.path = (char *)"/usr/libexec/cleaved";
		q.what_case = CLEAVE__REQUEST__WHAT_UPGRADE_DEVMODEL;
		q.upgrade_devmodel = &upgrade;
		break;
	case 8:
		resize.slot = 3;
		resize.bytes = 1 << 20;
		q.what_case = CLEAVE__REQUEST__WHAT_RESIZE_DISK;
		q.resize_disk = &resize;
		break;
	case 9:
		link.slot = 4;
		link.up = 1;
		q.what_case = CLEAVE__REQUEST__WHAT_SET_LINK;
		q.set_link = &link;
		break;
	default:
		if (n > 10 + CLEAVE__ACTION__ACTION_POWER_BUTTON)
			return 0;
		act.action = n - 10;
		q.what_case = CLEAVE__REQUEST__WHAT_ACT;
		q.act = &act;
		break;
	}
	return put(buf, &q);
}
