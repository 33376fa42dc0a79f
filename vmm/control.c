/*
 * vmm/control.c - serves the control tool.
 *
 * Owns the socket and its clients; one handler a request.  Knows registers by
 * name only (regs.h), and the life cycle by vm.h.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "ipc/link.h"
#include "proto/frame.h"
#include "proto/rundir.h"
#include "vmm/calls.h"
#include "vmm/control.h"
#include "vmm/control_parts.h"
#include "vmm/inout.h"
#include "vmm/regs.h"
#include "vmm/report.h"
#include "vmm/sandbox.h"
#include "vmm/supervise.h"
#include "vmm/vm.h"

enum { CLIENTS_MAX = 32, BACKLOG_MAX = 1 << 20, KEYS_MAX = 4096, COUNTERS_MAX = 256 };
enum { KEY_GAP_MS = 8, AGAIN_MS = 2, INJECT_MS = 1000, SETTLE_MS = 2000 };

struct control {
	struct vm *vm;
	struct evconnlistener *listener;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct control_client *clients;
	unsigned nclients;
};

int control_refuse(struct answer *a, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->text, sizeof(a->text), fmt, ap);
	va_end(ap);
	a->r.error = error < 0 ? -error : error;
	a->r.text = a->text;
	return error;
}

size_t control_pack(const Cleave__Response *r, uint8_t **to)
{
	size_t n = cleave__response__get_packed_size(r);

	*to = malloc(n ? n : 1);
	return *to ? cleave__response__pack(r, *to) : 0;
}

static struct vcpu *find_cpu(struct vm *vm, uint32_t cpu, struct answer *a)
{
	if (cpu < vm->nvcpus)
		return &vm->vcpu[cpu];
	control_refuse(a, ENOENT, "there is no vCPU %u: this machine has %u, from 0", cpu, vm->nvcpus);
	return NULL;
}

/* ---- answers that come later */

static void finish(struct control_client *c, struct answer *a)
{
	uint8_t *reply;
	size_t n;

	a->r.id = c->deferred;
	c->deferred = 0;
	n = control_pack(&a->r, &reply);
	c->later(c, reply, n);
}

static size_t answer_later(struct control_client *c, const struct answer *a)
{
	c->deferred = a->r.id;
	return 0;
}

static void on_timer(evutil_socket_t fd, short what, void *arg);

static int in_a_while(struct control_client *c, unsigned ms)
{
	if (!c->timer)
		c->timer = evtimer_new(c->vm->base, on_timer, c);
	return c->timer ? evtimer_add(c->timer, &(struct timeval){ .tv_usec = ms * 1000 }) : -ENOMEM;
}

/* The whole message, from its start: nothing has been done for it. */
static int keep_message(struct control_client *c, const uint8_t *message, size_t n)
{
	if (!c->message) {
		c->message = malloc(n ? n : 1);
		if (!c->message)
			return -ENOMEM;
		memcpy(c->message, message, n);
		c->message_len = n;
	}
	return in_a_while(c, AGAIN_MS);
}

static void drop_message(struct control_client *c)
{
	free(c->message);
	c->message = NULL;
	c->resting = 0;
}

/* Without a device that takes it: `unclaimed`. */
static void refuse_call(struct answer *a, int err, const char *unclaimed)
{
	if (err == -ENXIO)
		control_refuse(a, err, "%s", unclaimed);
	else if (err == -ETIMEDOUT)
		control_refuse(a, err, "the device model has not answered within %d s: cleavectl --get-devmodel says how it is", INJECT_MS / 1000);
	else if (err)
		control_refuse(a, err, "there is no device model at the moment, and nothing has been done: cleavectl --get-devmodel says why");
}

static void on_called(void *arg, int err)
{
	struct answer a = { .r = CLEAVE__RESPONSE__INIT };
	struct control_client *c = arg;

	refuse_call(&a, err, c->unclaimed);
	finish(c, &a);
}

static size_t inject(struct control_client *c, unsigned what, uint64_t value, struct answer *a, uint8_t **reply)
{
	if (!calls_ask(c->vm->calls, LINK_REQ_INJECT, what, value, INJECT_MS, on_called, c))
		return answer_later(c, a);
	control_refuse(a, ENOMEM, "out of memory");
	return control_pack(&a->r, reply);
}

/* ---- registers */

/* Every vCPU at rest; else it has been refused, or is to be tried again. */
static int hold(struct control_client *c, struct answer *a)
{
	int ret = vm_rest(c->vm, &c->resting);

	a->again = ret == -EAGAIN;
	if (!a->again)
		c->resting = 0;
	if (ret && !a->again)
		control_refuse(a, ret, "a vCPU does not come to rest");
	return ret;
}

static const char *condition(const struct vm *vm, const struct vcpu *v, const struct x86_state *s)
{
	if (vm->paused)
		return "paused";
	if (v->stopped)
		return "stopped";
	if (inout_active(v))
		return "waits for the device model";
	return s->halted ? "halted" : "running";
}

static void fill_registers(const struct x86_state *s, Cleave__State *to, Cleave__Register *reg, Cleave__Register **regp)
{
	for (const struct reg_row *r = reg_table; r->name; r++, reg++) {
		cleave__register__init(reg);
		reg->name = (char *)r->name;
		reg->value = reg_get(s, r);
		regp[to->n_register_++] = reg;
	}
	to->register_ = regp;
}

static void fill_descriptors(const struct x86_state *s, Cleave__State *to, Cleave__Descriptor *desc, Cleave__Descriptor **descp)
{
	for (const struct desc_row *d = desc_table; d->name; d++, desc++) {
		const void *at = (const char *)s + d->offset;

		cleave__descriptor__init(desc);
		desc->name = (char *)d->name;
		if (d->table) {
			desc->address = ((const struct x86_table *)at)->base;
			desc->limit = ((const struct x86_table *)at)->limit;
		} else {
			desc->address = ((const struct x86_segment *)at)->base;
			desc->limit = ((const struct x86_segment *)at)->limit;
			desc->access = ((const struct x86_segment *)at)->attr;
		}
		descp[to->n_descriptor++] = desc;
	}
	to->descriptor = descp;
}

static size_t get_state(struct vm *vm, struct control_client *c, const Cleave__GetState *q, struct answer *a, uint8_t **reply)
{
	Cleave__State state = CLEAVE__STATE__INIT;
	Cleave__Register reg[64], *regp[64];
	Cleave__Descriptor desc[16], *descp[16];
	struct vcpu *v = find_cpu(vm, q->cpu, a);
	struct x86_state s;

	if (!v || hold(c, a))
		return control_pack(&a->r, reply);
	v->engine->get_state(v, &s);
	state.cpu = q->cpu;
	state.condition = (char *)condition(vm, v, &s);
	vm_unpark(vm);
	fill_registers(&s, &state, reg, regp);
	fill_descriptors(&s, &state, desc, descp);
	a->r.what_case = CLEAVE__RESPONSE__WHAT_STATE;
	a->r.state = &state;
	return control_pack(&a->r, reply);
}

static int change_register(struct x86_state *s, const Cleave__Register *q, struct answer *a)
{
	const struct reg_row *r = reg_find(q->name);
	char hint[500];

	if (!r)
		return control_refuse(a, ENOENT, "no register %.40s%.300s", q->name, reg_hint(q->name, hint, sizeof(hint)));
	if (reg_set(s, r, q->value))
		return control_refuse(a, ERANGE, "%s has %u bits", r->name, r->width * 8);
	return 0;
}

static int change_descriptor(struct x86_state *s, const Cleave__DescriptorChange *q, struct answer *a)
{
	const struct desc_row *d = desc_find(q->name);
	struct x86_segment *seg;
	struct x86_table *table;
	char hint[500];

	if (!d)
		return control_refuse(a, ENOENT, "no descriptor %.40s%.300s", q->name, desc_hint(q->name, hint, sizeof(hint)));
	if (d->table && q->set_access)
		return control_refuse(a, EINVAL, "%s has no access rights", d->name);
	seg = (struct x86_segment *)((char *)s + d->offset);
	table = (struct x86_table *)((char *)s + d->offset);
	if (q->set_address)
		*(d->table ? &table->base : &seg->base) = q->address;
	if (q->set_limit)
		*(d->table ? &table->limit : &seg->limit) = q->limit;
	if (q->set_access)
		seg->attr = q->access;
	return 0;
}

static size_t set_state(struct vm *vm, struct control_client *c, const Cleave__SetState *q, struct answer *a, uint8_t **reply)
{
	struct vcpu *v = find_cpu(vm, q->cpu, a);
	struct x86_state s;
	int ret = 0;

	if (!v || hold(c, a))
		return control_pack(&a->r, reply);
	if (inout_active(v)) {
		vm_unpark(vm);
		control_refuse(a, EBUSY, "vCPU %u waits for the device model in the middle of an instruction: "
			       "its registers can be looked at, and set when it has gone on", v->id);
		return control_pack(&a->r, reply);
	}
	v->engine->get_state(v, &s);
	for (size_t i = 0; i < q->n_register_ && !ret; i++)
		ret = change_register(&s, q->register_[i], a);
	for (size_t i = 0; i < q->n_descriptor && !ret; i++)
		ret = change_descriptor(&s, q->descriptor[i], a);
	if (!ret) {
		ret = v->engine->set_state(v, &s);
		if (ret)
			control_refuse(a, ret, "no processor can be in that state: nothing is changed");
	}
	vm_unpark(vm);
	return control_pack(&a->r, reply);
}

/* ---- counters */

struct counters {
	Cleave__Register reg[COUNTERS_MAX], *regp[COUNTERS_MAX];
	char name[COUNTERS_MAX][48];
	size_t n;
};

static void add_counter(void *arg, const char *name, uint64_t value)
{
	struct counters *c = arg;

	if (c->n == COUNTERS_MAX)
		return;
	snprintf(c->name[c->n], sizeof(c->name[0]), "%s", name);
	cleave__register__init(&c->reg[c->n]);
	c->reg[c->n].name = c->name[c->n];
	c->reg[c->n].value = value;
	c->regp[c->n] = &c->reg[c->n];
	c->n++;
}

static size_t get_stats(struct vm *vm, struct control_client *c, const Cleave__GetStats *q, struct answer *a, uint8_t **reply)
{
	Cleave__Stats stats = CLEAVE__STATS__INIT;
	struct counters *all;
	size_t n;

	/* vCPUs count instructions when they leave the engine: make them. */
	if ((q->one_cpu && !find_cpu(vm, q->cpu, a)) || hold(c, a))
		return control_pack(&a->r, reply);
	vm_unpark(vm);
	all = calloc(1, sizeof(*all));
	if (!all) {
		control_refuse(a, ENOMEM, "out of memory");
		return control_pack(&a->r, reply);
	}
	report_each(vm, q->one_cpu ? (int)q->cpu : -1, add_counter, all);
	stats.counter = all->regp;
	stats.n_counter = all->n;
	a->r.what_case = CLEAVE__RESPONSE__WHAT_STATS;
	a->r.stats = &stats;
	n = control_pack(&a->r, reply);
	free(all);
	return n;
}

/* ---- sandboxes */

enum { PROCESSES_MAX = 64 };

struct sandboxes {
	Cleave__SandboxProcess process[PROCESSES_MAX], *processp[PROCESSES_MAX];
	struct sandbox_row {
		Cleave__SandboxMeasure measure[SANDBOX_MEASURES], *measurep[SANDBOX_MEASURES];
		char state[SANDBOX_MEASURES][160];
	} row[PROCESSES_MAX];
	size_t n;
};

static void add_process(void *arg, const char *program, pid_t pid, const struct sandbox *s)
{
	struct sandboxes *all = arg;
	Cleave__SandboxProcess *p = &all->process[all->n];
	struct sandbox_row *row = &all->row[all->n];

	if (all->n == PROCESSES_MAX)
		return;
	cleave__sandbox_process__init(p);
	p->program = (char *)program;
	p->pid = pid;
	p->measure = row->measurep;
	for (enum sandbox_measure m = 0; m < SANDBOX_MEASURES; m++) {
		Cleave__SandboxMeasure *to = &row->measure[m];

		if (s->state[m] == SANDBOX_NONE)
			continue;
		cleave__sandbox_measure__init(to);
		to->name = (char *)sandbox_name(m);
		to->applied = s->state[m] > 0;
		to->state = (char *)sandbox_words(s->state[m], row->state[m], sizeof(row->state[m]));
		p->measure[p->n_measure++] = to;
	}
	all->processp[all->n++] = p;
}

static size_t get_sandbox(struct vm *vm, struct answer *a, uint8_t **reply)
{
	struct sandboxes *all = calloc(1, sizeof(*all));
	Cleave__Sandbox s = CLEAVE__SANDBOX__INIT;
	size_t n;

	if (!all) {
		control_refuse(a, ENOMEM, "out of memory");
		return control_pack(&a->r, reply);
	}
	s.mode = (char *)sandbox_modes[vmm_sandbox_mode()];
	vmm_sandbox_each(vm, add_process, all);
	s.process = all->processp;
	s.n_process = all->n;
	a->r.what_case = CLEAVE__RESPONSE__WHAT_SANDBOX;
	a->r.sandbox = &s;
	n = control_pack(&a->r, reply);
	free(all);
	return n;
}

/* ---- actions */

static void inject_nmi(struct vm *vm, uint32_t cpu, struct answer *a)
{
	struct vcpu *v = find_cpu(vm, cpu, a);

	if (v)
		v->engine->inject_nmi(v);
}

/* Without a process none can be at work. */
static void on_settled(void *arg, int err)
{
	struct answer a = { .r = CLEAVE__RESPONSE__INIT };
	struct control_client *c = arg;

	if (err == -ETIMEDOUT)
		control_refuse(&a, err, "processors and clock stand, but the device model does not answer, and may still be at work on images: "
			       "cleavectl --get-devmodel says how it is");
	finish(c, &a);
}

static size_t pause_vm(struct vm *vm, struct control_client *c, struct answer *a, uint8_t **reply)
{
	if (hold(c, a))
		return control_pack(&a->r, reply);
	vm_stand(vm);
	if (!calls_ask(vm->calls, LINK_REQ_NONE, 0, 0, SETTLE_MS, on_settled, c))
		return answer_later(c, a);
	control_refuse(a, ENOMEM, "out of memory");
	return control_pack(&a->r, reply);
}

static size_t act(struct vm *vm, struct control_client *c, const Cleave__Act *q, struct answer *a, uint8_t **reply)
{
	switch (q->action) {
	case CLEAVE__ACTION__ACTION_INJECT_NMI:
		inject_nmi(vm, q->cpu, a);
		break;
	case CLEAVE__ACTION__ACTION_PAUSE:
		return pause_vm(vm, c, a, reply);
	case CLEAVE__ACTION__ACTION_RESUME:
		vm_resume(vm);
		break;
	case CLEAVE__ACTION__ACTION_FORCE_RESET:
		vm_request(vm, VM_REQUEST_RESET, 0, "control");
		break;
	case CLEAVE__ACTION__ACTION_FORCE_POWEROFF:
		vm_request(vm, VM_REQUEST_POWEROFF, 0, "control");
		break;
	case CLEAVE__ACTION__ACTION_DESTROY:
		vm_request(vm, VM_REQUEST_ERROR, 0, "destroyed by cleavectl");
		break;
	case CLEAVE__ACTION__ACTION_POWER_BUTTON:
		snprintf(c->unclaimed, sizeof(c->unclaimed), "the machine has no power button");
		return inject(c, LINK_INJECT_POWER_BUTTON, 0, a, reply);
	default:
		control_refuse(a, ENOSYS, "this cleave does not know action %d", q->action);
		break;
	}
	return control_pack(&a->r, reply);
}

static bool slot_ok(uint32_t slot, uint32_t function, struct answer *a)
{
	if (slot <= 31 && function <= 7)
		return true;
	control_refuse(a, EINVAL, "slot %u:%u: there are slots 0-31 with functions 0-7", slot, function);
	return false;
}

static size_t resize_disk(struct vm *vm, struct control_client *c, const Cleave__ResizeDisk *q, struct answer *a, uint8_t **reply)
{
	char err[256];
	int ret = 0;

	if (!slot_ok(q->slot, q->function, a))
		return control_pack(&a->r, reply);
	if (q->bytes && vm->supervise)
		ret = supervise_grow(vm->supervise, q->slot, q->function, q->bytes, err, sizeof(err));
	if (ret) {
		control_refuse(a, ret, "%s", err);
		return control_pack(&a->r, reply);
	}
	snprintf(c->unclaimed, sizeof(c->unclaimed), "slot %u:%u has no virtio disk, or its image's size is no number of whole sectors",
		 q->slot, q->function);
	return inject(c, LINK_INJECT_RESIZE, q->slot << 3 | q->function, a, reply);
}

static size_t set_link(struct control_client *c, const Cleave__SetLink *q, struct answer *a, uint8_t **reply)
{
	if (!slot_ok(q->slot, q->function, a))
		return control_pack(&a->r, reply);
	snprintf(c->unclaimed, sizeof(c->unclaimed), "slot %u:%u has no network card", q->slot, q->function);
	return inject(c, LINK_INJECT_LINK, (q->up ? 0x100 : 0) | q->slot << 3 | q->function, a, reply);
}

/* ---- keys: typed one by one, as the keyboard's buffer is small */

static void typed(struct control_client *c, int err)
{
	struct answer a = { .r = CLEAVE__RESPONSE__INIT };

	free(c->key);
	c->key = NULL;
	refuse_call(&a, err, "the machine has no keyboard");
	finish(c, &a);
}

/* One key, and the timer for the next. */
static void on_key(void *arg, int err)
{
	struct control_client *c = arg;

	if (!err && c->next_key < c->nkeys) {
		err = in_a_while(c, KEY_GAP_MS);
		if (!err)
			return;
	}
	typed(c, err);
}

static void type_next(struct control_client *c)
{
	uint64_t sequence = c->key[c->next_key++];

	if (calls_ask(c->vm->calls, LINK_REQ_INJECT, LINK_INJECT_KEY, sequence, INJECT_MS, on_key, c))
		typed(c, -ENOMEM);
}

static size_t send_keys(struct control_client *c, const Cleave__SendKeys *q, struct answer *a, uint8_t **reply)
{
	size_t later;

	if (!q->n_sequence)
		return control_pack(&a->r, reply);
	if (q->n_sequence > KEYS_MAX) {
		control_refuse(a, E2BIG, "at most %d key movements at once", KEYS_MAX);
		return control_pack(&a->r, reply);
	}
	c->key = malloc(q->n_sequence * sizeof(*c->key));
	if (!c->key) {
		control_refuse(a, ENOMEM, "out of memory");
		return control_pack(&a->r, reply);
	}
	memcpy(c->key, q->sequence, q->n_sequence * sizeof(*c->key));
	c->nkeys = q->n_sequence;
	c->next_key = 0;
	later = answer_later(c, a);
	type_next(c);
	return later;
}

/* ---- another executable for the device model: answered when it serves */

static void on_upgraded(void *arg, const struct upgrade_result *result)
{
	struct answer a = { .r = CLEAVE__RESPONSE__INIT };
	Cleave__Upgraded u = CLEAVE__UPGRADED__INIT;
	struct control_client *c = arg;

	if (result->error) {
		a.r.error = -result->error;
		a.r.text = (char *)result->text;
	} else {
		u.path = (char *)result->path;
		u.generation = result->generation;
		u.pid = supervise_pid(c->vm->supervise);
		u.stall_us = result->stall_us;
		a.r.what_case = CLEAVE__RESPONSE__WHAT_UPGRADED;
		a.r.upgraded = &u;
	}
	finish(c, &a);
}

/* Perhaps answered before it returns. */
static size_t upgrade_devmodel(struct vm *vm, struct control_client *c, const Cleave__UpgradeDevmodel *q, struct answer *a, uint8_t **reply)
{
	size_t later;

	if (!vm->supervise) {
		control_refuse(a, ENXIO, "the machine has no device model");
		return control_pack(&a->r, reply);
	}
	later = answer_later(c, a);
	supervise_upgrade(vm->supervise, q->path, on_upgraded, c);
	return later;
}

/* ---- one message */

static size_t hello(struct vm *vm, struct control_client *c, const Cleave__Hello *q, struct answer *a, uint8_t **reply)
{
	Cleave__Hello h = CLEAVE__HELLO__INIT;
	int version = frame_version(q->version, q->oldest);

	if (version < 0) {
		c->close = 1;
		control_refuse(a, EPROTONOSUPPORT, "this cleave speaks control versions %d to %d, the tool %u to %u: use tools of one build",
		       CONTROL_OLDEST, CONTROL_VERSION, q->oldest, q->version);
		return control_pack(&a->r, reply);
	}
	c->greeted = 1;
	h.version = version;
	h.oldest = CONTROL_OLDEST;
	h.program = (char *)"cleave " CLEAVE_VERSION;
	h.vm = vm->name;
	h.pid = getpid();
	h.daemon_pid = vm->supervise ? supervise_pid(vm->supervise) : 0;
	h.cpus = vm->nvcpus;
	h.engine = (char *)(vm->engine ? vm->engine->name : "");
	h.engine_why = vm->engine_why;
	a->r.what_case = CLEAVE__RESPONSE__WHAT_HELLO;
	a->r.hello = &h;
	return control_pack(&a->r, reply);
}

/* Before anything else is looked at: the answer when it is no message that can be served. */
static bool well_formed(struct control_client *c, const Cleave__Request *q, struct answer *a)
{
	if (!q) {
		c->close = 1;
		control_refuse(a, EBADMSG, "not a control message");
	} else if (!q->id) {	/* an answer without an id and without an error would be empty: no frame */
		control_refuse(a, EINVAL, "a request's id is not 0");
	} else if (!c->greeted && q->what_case != CLEAVE__REQUEST__WHAT_HELLO) {
		c->close = 1;
		control_refuse(a, EPROTO, "hello comes first");
	}
	return !a->r.error;
}

static size_t serve(struct vm *vm, struct control_client *c, const Cleave__Request *q, struct answer *a, uint8_t **reply)
{
	switch (q->what_case) {
	case CLEAVE__REQUEST__WHAT_HELLO:
		return hello(vm, c, q->hello, a, reply);
	case CLEAVE__REQUEST__WHAT_GET_STATE:
		return get_state(vm, c, q->get_state, a, reply);
	case CLEAVE__REQUEST__WHAT_SET_STATE:
		return set_state(vm, c, q->set_state, a, reply);
	case CLEAVE__REQUEST__WHAT_GET_STATS:
		return get_stats(vm, c, q->get_stats, a, reply);
	case CLEAVE__REQUEST__WHAT_GET_DEVMODEL:
		return control_devmodel(vm, a, reply);
	case CLEAVE__REQUEST__WHAT_GET_SANDBOX:
		return get_sandbox(vm, a, reply);
	case CLEAVE__REQUEST__WHAT_UPGRADE_DEVMODEL:
		return upgrade_devmodel(vm, c, q->upgrade_devmodel, a, reply);
	case CLEAVE__REQUEST__WHAT_ACT:
		return act(vm, c, q->act, a, reply);
	case CLEAVE__REQUEST__WHAT_SEND_KEYS:
		return send_keys(c, q->send_keys, a, reply);
	case CLEAVE__REQUEST__WHAT_RESIZE_DISK:
		return resize_disk(vm, c, q->resize_disk, a, reply);
	case CLEAVE__REQUEST__WHAT_SET_LINK:
		return set_link(c, q->set_link, a, reply);
	default:
		control_refuse(a, ENOSYS, "this cleave does not know that request");
		return control_pack(&a->r, reply);
	}
}

size_t control_answer(struct vm *vm, struct control_client *c, const uint8_t *message, size_t n, uint8_t **reply)
{
	Cleave__Request *q = cleave__request__unpack(NULL, n, message);
	struct answer a = { .r = CLEAVE__RESPONSE__INIT };
	size_t len;

	*reply = NULL;
	c->vm = vm;
	a.r.id = q ? q->id : 0;
	if (well_formed(c, q, &a))
		len = serve(vm, c, q, &a, reply);
	else
		len = control_pack(&a.r, reply);
	if (a.again) {
		free(*reply);
		*reply = NULL;
		len = answer_later(c, &a);
		if (keep_message(c, message, n)) {
			control_refuse(&a, ENOMEM, "out of memory");
			len = control_pack(&a.r, reply);
		}
	}
	if (len)
		c->deferred = 0;
	if (!a.again)
		drop_message(c);
	cleave__request__free_unpacked(q, NULL);
	return len;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct control_client *c = arg;
	uint8_t *reply;
	size_t n;

	(void)fd, (void)what;
	if (!c->message) {
		type_next(c);
		return;
	}
	n = control_answer(c->vm, c, c->message, c->message_len, &reply);
	if (n)
		c->later(c, reply, n);
}

void control_client_fini(struct control_client *c)
{
	if (!c->vm)
		return;
	calls_forget(c->vm->calls, c);
	if (c->vm->supervise)
		supervise_forget(c->vm->supervise, c);
	if (c->timer)
		event_free(c->timer);
	drop_message(c);
	free(c->key);
}

/* ---- clients */

static void client_free(struct control_client *c)
{
	struct control_client **p = &c->control->clients;

	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	c->control->nclients--;
	control_client_fini(c);
	bufferevent_free(c->bev);
	free(c);
}

static void reply_to(struct control_client *c, uint8_t *reply, size_t n)
{
	uint8_t header[FRAME_HEADER];

	if (n > FRAME_LIMIT || !reply) {
		c->close = 1;
	} else {
		frame_header(header, n);
		bufferevent_write(c->bev, header, sizeof(header));
		bufferevent_write(c->bev, reply, n);
	}
	free(reply);
}

/* And on to what has come meanwhile: from the loop, for this may be called in the middle of on_bytes(). */
static void reply_later(struct control_client *c, uint8_t *reply, size_t n)
{
	reply_to(c, reply, n);
	bufferevent_enable(c->bev, EV_READ);
	bufferevent_trigger(c->bev, EV_READ, BEV_TRIG_IGNORE_WATERMARKS | BEV_TRIG_DEFER_CALLBACKS);
}

/* After the last answer is out. */
static void on_written(struct bufferevent *bev, void *arg)
{
	struct control_client *c = arg;

	if (c->close && !evbuffer_get_length(bufferevent_get_output(bev)))
		client_free(c);
}

static void on_bytes(struct bufferevent *bev, void *arg)
{
	struct control_client *c = arg;
	struct evbuffer *in = bufferevent_get_input(bev);
	uint8_t header[FRAME_HEADER], *reply;

	while (!c->close && !c->deferred && evbuffer_copyout(in, header, sizeof(header)) == sizeof(header)) {
		ssize_t n = frame_length(header);
		size_t len;

		if (n < 0 || evbuffer_get_length(bufferevent_get_output(bev)) > BACKLOG_MAX) {
			client_free(c);
			return;
		}
		if (evbuffer_get_length(in) < FRAME_HEADER + (size_t)n)
			return;
		evbuffer_drain(in, FRAME_HEADER);
		len = control_answer(c->control->vm, c, evbuffer_pullup(in, n), n, &reply);
		evbuffer_drain(in, n);
		if (len)
			reply_to(c, reply, len);
	}
	if (c->deferred)
		bufferevent_disable(bev, EV_READ);
	if (c->close) {
		bufferevent_disable(bev, EV_READ);
		on_written(bev, c);
	}
}

static void on_client_end(struct bufferevent *bev, short what, void *arg)
{
	(void)bev, (void)what;
	client_free(arg);
}

static bool may_control(int fd)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) < 0)
		return false;
	return peer.uid == geteuid() || peer.uid == 0;
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct control *ctl = arg;
	struct control_client *c;

	(void)l, (void)sa, (void)len;
	if (!may_control(fd) || ctl->nclients >= CLIENTS_MAX || !(c = calloc(1, sizeof(*c)))) {
		close(fd);
		return;
	}
	c->control = ctl;
	c->later = reply_later;
	c->bev = bufferevent_socket_new(ctl->vm->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!c->bev) {
		close(fd);
		free(c);
		return;
	}
	c->next = ctl->clients;
	ctl->clients = c;
	ctl->nclients++;
	bufferevent_setcb(c->bev, on_bytes, on_written, on_client_end, c);
	/* Never more in memory than one frame. */
	bufferevent_setwatermark(c->bev, EV_READ, 0, FRAME_HEADER + FRAME_LIMIT);
	bufferevent_enable(c->bev, EV_READ | EV_WRITE);
}

/* ---- life */

int control_new(struct control **out, struct vm *vm, const char *dir, char *err, size_t errlen)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct control *c = calloc(1, sizeof(*c));
	mode_t mask;
	int ret;

	*out = NULL;
	if (!c)
		return -ENOMEM;
	c->vm = vm;
	ret = rundir_file(dir, "control", un.sun_path, sizeof(un.sun_path), err, errlen);
	if (ret) {
		free(c);
		return ret;
	}
	memcpy(c->path, un.sun_path, sizeof(c->path));
	unlink(c->path);
	mask = umask(0177);
	c->listener = evconnlistener_new_bind(vm->base, on_accept, c, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 8,
					      (struct sockaddr *)&un, sizeof(un));
	ret = c->listener ? 0 : -errno;
	umask(mask);
	if (ret) {
		snprintf(err, errlen, "cannot open the control socket %s: %s", c->path, strerror(-ret));
		free(c);
		return ret;
	}
	*out = c;
	return 0;
}

void control_free(struct control *c)
{
	while (c->clients) {
		struct evbuffer *out = bufferevent_get_output(c->clients->bev);

		evbuffer_unfreeze(out, 1);	/* the bufferevent keeps it for itself otherwise */
		evbuffer_write(out, bufferevent_getfd(c->clients->bev));
		client_free(c->clients);
	}
	evconnlistener_free(c->listener);
	unlink(c->path);
	free(c);
}
