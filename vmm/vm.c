/*
 * vmm/vm.c - the life of the virtual machine: made, started, paused, reset, ended.
 *
 * Owns the gate at which vCPUs park, the VM's clock, the events thread, and the
 * order in which the parts of a machine are made and reset.  Knows neither the
 * command line's spelling nor who starts the device model.
 *
 * Reset in place: vCPUs stop wherever they are, their requests are discarded,
 * the engine's own devices and memory map go to power-on, then the device
 * model resets: what it announces comes last and holds.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/direct.h"
#include "vmm/boot/boot.h"
#include "vmm/boot/firmware.h"
#include "vmm/bus.h"
#include "vmm/calls.h"
#include "vmm/config.h"
#include "vmm/dev/devs.h"
#include "vmm/engine.h"
#include "vmm/inout.h"
#include "vmm/irq.h"
#include "vmm/ledger.h"
#include "vmm/link.h"
#include "vmm/mem.h"
#include "vmm/timer.h"
#include "vmm/tsc.h"
#include "vmm/vm.h"

enum { PARK_MS = 2000, REST_MS = 20, TRY_MS = 2 };

/* ---- the clock */

static int64_t monotonic(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

uint64_t vm_now(const struct vm *vm)
{
	int64_t stands = atomic_load_explicit(&vm->clock_stands, memory_order_acquire);

	return stands >= 0 ? stands : monotonic() + atomic_load_explicit(&vm->clock_offset, memory_order_relaxed);
}

static uint64_t clock_of_timers(void *arg)
{
	return vm_now(arg);
}

static void clock_stop(struct vm *vm)
{
	if (vm->clock_stands < 0)
		atomic_store(&vm->clock_stands, (int64_t)vm_now(vm));
}

static void clock_go(struct vm *vm)
{
	int64_t stands = vm->clock_stands;

	if (stands < 0)
		return;
	atomic_store(&vm->clock_offset, stands - monotonic());
	atomic_store_explicit(&vm->clock_stands, -1, memory_order_release);
	pthread_mutex_lock(&vm->dev_lock);
	devs_resume(vm);
	pthread_mutex_unlock(&vm->dev_lock);
}

/* ---- the gate */

static void set_gate(struct vm *vm, enum vm_gate gate)
{
	atomic_store_explicit(&vm->gate, gate, memory_order_release);
	pthread_cond_broadcast(&vm->gate_moved);
}

static bool all_parked(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++)
		if (vm->vcpu[i].running && !vm->vcpu[i].parked)
			return false;
	return true;
}

static void kick_all(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vcpu_kick(&vm->vcpu[i]);
}

/* A request that waits for the main thread keeps the gate shut: the guest must not run past what it asked for. */
void vm_unpark(struct vm *vm)
{
	pthread_mutex_lock(&vm->request_lock);
	pthread_mutex_lock(&vm->gate_lock);
	set_gate(vm, vm->ended || vm->request || vm->resetting || vm->paused ? GATE_STOP : GATE_OPEN);
	pthread_mutex_unlock(&vm->gate_lock);
	pthread_mutex_unlock(&vm->request_lock);
}

/*
 * Kicks again each millisecond: a vCPU that finishes an access under
 * GATE_PAUSE has consumed the first kick before it reaches a boundary.
 */
static int park(struct vm *vm, enum vm_gate gate, unsigned ms)
{
	int64_t end = monotonic() + ms * 1000000ll;
	bool done;

	pthread_mutex_lock(&vm->gate_lock);
	set_gate(vm, gate);
	while (!(done = all_parked(vm)) && monotonic() < end) {
		struct timespec t;

		pthread_mutex_unlock(&vm->gate_lock);
		kick_all(vm);
		pthread_mutex_lock(&vm->gate_lock);
		if (all_parked(vm))
			continue;
		clock_gettime(CLOCK_REALTIME, &t);
		t.tv_nsec += 1000000;
		t.tv_sec += t.tv_nsec / 1000000000;
		t.tv_nsec %= 1000000000;
		pthread_cond_timedwait(&vm->gate_moved, &vm->gate_lock, &t);
	}
	pthread_mutex_unlock(&vm->gate_lock);
	if (done)
		return 0;
	vm_unpark(vm);
	return -ETIMEDOUT;
}

int vm_stop_all(struct vm *vm)
{
	return park(vm, GATE_STOP, PARK_MS);
}

/*
 * First between two instructions.  A vCPU that does not come there waits for a
 * device model that is gone or hangs: then in the middle of its access.
 */
int vm_rest(struct vm *vm, int64_t *since)
{
	int64_t now = monotonic();
	bool stuck;

	if (!*since)
		*since = now;
	/* ... nor may one go on that stands where a request or a pause has stopped it. */
	stuck = atomic_load(&vm->gate) >= GATE_STOP || link_client_is_lost(vm->link) || now - *since > REST_MS * 1000000ll;
	if (!park(vm, stuck ? GATE_STOP : GATE_PAUSE, TRY_MS))
		return 0;
	return now - *since > PARK_MS * 1000000ll ? -ETIMEDOUT : -EAGAIN;
}

int vm_hold(struct vm *vm, enum vm_gate *was)
{
	*was = atomic_load(&vm->gate);
	return vm_stop_all(vm);
}

void vm_release(struct vm *vm, enum vm_gate was)
{
	bool debugger = was == GATE_PAUSE && !vm->paused;	/* it has stopped them, and its event is yet to come */

	vm_unpark(vm);
	if (debugger && atomic_load(&vm->gate) == GATE_OPEN)
		vm_debug_stop(vm);
}

/* ---- pause and resume */

void vm_stand(struct vm *vm)
{
	if (!vm->paused && !vm->ended) {
		vm->paused = true;
		clock_stop(vm);
		calls_ask(vm->calls, LINK_REQ_PAUSE, 0, 0, CALL_FOR_EVER, NULL, NULL);
	}
	vm_unpark(vm);
}

int vm_pause(struct vm *vm)
{
	int64_t since = 0;
	int ret;

	if (vm->paused || vm->ended)
		return 0;
	while ((ret = vm_rest(vm, &since)) == -EAGAIN)
		;
	if (!ret)
		vm_stand(vm);
	return ret;
}

/* The device model hears of it before any access that the guest makes from now on. */
void vm_resume(struct vm *vm)
{
	if (!vm->paused)
		return;
	clock_go(vm);
	calls_ask(vm->calls, LINK_REQ_RESUME, 0, (uint64_t)vm->clock_offset, CALL_FOR_EVER, NULL, NULL);
	vm->paused = false;
	vm_unpark(vm);
}

void vm_debug_stop(struct vm *vm)
{
	pthread_mutex_lock(&vm->gate_lock);
	if (vm->gate == GATE_OPEN)
		set_gate(vm, GATE_PAUSE);
	pthread_mutex_unlock(&vm->gate_lock);
	kick_all(vm);
	if (vm->debug_event)
		event_active(vm->debug_event, EV_TIMEOUT, 0);
}

/* ---- requests: reset and the ways to end */

/*
 * The write that resets or powers off is the last thing that the guest does:
 * the gate is shut here, before the write retires, not when the main thread
 * gets round to it.  What comes first holds (a guest that powers off and then
 * halts has powered off), but for an error.
 */
void vm_request(struct vm *vm, enum vm_request request, unsigned arg, const char *why)
{
	pthread_mutex_lock(&vm->request_lock);
	if (!vm->request || request == VM_REQUEST_ERROR) {
		vm->request = request;
		vm->request_arg = arg;
		snprintf(vm->request_why, sizeof(vm->request_why), "%s", why ? why : "");
	}
	pthread_mutex_lock(&vm->gate_lock);
	if (vm->gate < GATE_STOP)
		set_gate(vm, GATE_STOP);
	pthread_mutex_unlock(&vm->gate_lock);
	pthread_mutex_unlock(&vm->request_lock);
	kick_all(vm);
	event_active(vm->request_event, EV_TIMEOUT, 0);
}

void vm_end(struct vm *vm, int status)
{
	if (vm->ended)
		return;
	vm->ended = true;
	vm->status = status;
	if (vm_stop_all(vm))
		fprintf(stderr, "cleave: %s: a vCPU does not stop\n", vm->name);
	event_base_loopbreak(vm->base);
}

/* The kernel, where firmware would begin; the boot processor's state is as after a reset. */
static int load_kernel(struct vm *vm, char *err, size_t errlen)
{
	struct vcpu *v = &vm->vcpu[0];
	struct x86_state state;
	int ret;

	v->engine->get_state(v, &state);
	ret = boot_load(vm->boot, vm->mem, &state, err, errlen);
	if (ret)
		return ret;
	ret = v->engine->set_state(v, &state);
	if (ret)
		snprintf(err, errlen, "the engine %s cannot hold the state in which this kernel starts: %s", v->engine->name,
			 state.efer ? "64-bit mode" : strerror(-ret));
	return ret;
}

static int reset_engine_side(struct vm *vm, char *err, size_t errlen)
{
	pthread_mutex_lock(&vm->dev_lock);
	devs_reset(vm);
	mem_reset(vm->mem);
	if (vm->boot)
		irq_set_elcr(vm, DIRECT_ELCR);
	pthread_mutex_unlock(&vm->dev_lock);
	vm->vcpu[0].engine->a20(vm, true);
	vm->vcpu[0].engine->map_changed(vm);
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vm->vcpu[i].engine->reset(&vm->vcpu[i]);
	return vm->boot ? load_kernel(vm, err, errlen) : 0;
}

/* However many device models that took. */
static void on_reset_done(void *arg, int err)
{
	struct vm *vm = arg;

	(void)err;
	vm->resetting = false;
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vcpu_release(&vm->vcpu[i]);
	vm->resets++;
	vm_unpark(vm);
}

/* The gate stays shut until the device model has done its part. */
static void reset(struct vm *vm)
{
	char why[sizeof(vm->request_why)] = "";
	int ret;

	if (vm->resetting)
		return;
	ret = vm_stop_all(vm);
	if (ret) {
		fprintf(stderr, "cleave: %s: cannot reset: a vCPU does not stop\n", vm->name);
		return;
	}
	for (unsigned i = 0; i < vm->nvcpus; i++)
		inout_discard(&vm->vcpu[i]);
	ret = reset_engine_side(vm, why, sizeof(why));
	vm->resetting = !ret;
	if (!ret)
		ret = calls_ask(vm->calls, LINK_REQ_RESET, 0, 0, CALL_FOR_EVER, on_reset_done, vm);
	if (ret)
		vm_request(vm, VM_REQUEST_ERROR, 0, *why ? why : "cannot reset: out of memory");
}

static void say(const struct vm *vm, const char *what, const char *why)
{
	fprintf(stderr, "cleave: %s: %s%s%s\n", vm->name, what, *why && *what ? ": " : "", why);
}

static void on_request(evutil_socket_t fd, short what, void *arg)
{
	struct vm *vm = arg;
	enum vm_request request;
	unsigned value;
	char why[sizeof(vm->request_why)];

	(void)fd, (void)what;
	pthread_mutex_lock(&vm->request_lock);
	request = vm->request;
	value = vm->request_arg;
	memcpy(why, vm->request_why, sizeof(why));
	vm->request = VM_REQUEST_NONE;
	pthread_mutex_unlock(&vm->request_lock);
	if (vm->ended)
		return;
	switch (request) {
	case VM_REQUEST_NONE:
		break;
	case VM_REQUEST_RESET:
		reset(vm);
		break;
	case VM_REQUEST_POWEROFF:
		vm_end(vm, STATUS_POWEROFF);
		break;
	case VM_REQUEST_EXIT:
		vm_end(vm, value & 0xff);
		break;
	case VM_REQUEST_PANIC:
		say(vm, "the guest says that it has crashed", why);
		vm_end(vm, STATUS_ERROR);
		break;
	case VM_REQUEST_HALT:
		say(vm, "", why);
		vm_end(vm, STATUS_HALT);
		break;
	case VM_REQUEST_TRIPLE_FAULT:
		say(vm, "", why);
		vm_end(vm, STATUS_TRIPLE_FAULT);
		break;
	case VM_REQUEST_ERROR:
		say(vm, "", why);
		vm_end(vm, STATUS_ERROR);
		break;
	}
}

/* ---- the events thread */

static void on_link_event(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	link_client_on_event(arg);
}

/* In the thread itself: a break asked for before the loop begins would be forgotten, an active event is not. */
static void on_events_stop(evutil_socket_t fd, short what, void *arg)
{
	struct vm *vm = arg;

	(void)fd, (void)what;
	event_base_loopbreak(vm->events_base);
}

static void *events_main(void *arg)
{
	struct vm *vm = arg;

	pthread_setname_np(pthread_self(), "events");
	event_base_loop(vm->events_base, EVLOOP_NO_EXIT_ON_EMPTY);
	return NULL;
}

int vm_watch_link(struct vm *vm, bool on)
{
	int fd[LINK_FDS];

	if (vm->link_event)
		event_free(vm->link_event);	/* waits for a callback that runs */
	vm->link_event = NULL;
	if (!on)
		return 0;
	link_client_fds(vm->link, fd);
	vm->link_event = event_new(vm->events_base, fd[LINK_FD_EVENT], EV_READ | EV_ET | EV_PERSIST, on_link_event, vm->link);
	if (!vm->link_event || event_add(vm->link_event, NULL) < 0)
		return -ENOMEM;
	event_active(vm->link_event, EV_READ, 0);	/* before its first sleep: what came meanwhile */
	return 0;
}

static int start_events(struct vm *vm)
{
	sigset_t all, old;
	int ret;

	vm->events_stop = event_new(vm->events_base, -1, 0, on_events_stop, vm);
	if (!vm->events_stop || vm_watch_link(vm, true))
		return -ENOMEM;
	sigfillset(&all);
	sigdelset(&all, SIGSYS);	/* says what the sandbox stopped */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&vm->events_thread, NULL, events_main, vm);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	vm->events_running = !ret;
	return -ret;
}

/* ---- made and unmade */

void vm_taken_over(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vcpu_kick(&vm->vcpu[i]);
	calls_taken_over(vm->calls);
}

static int new_vcpus(struct vm *vm, char *err, size_t errlen)
{
	vm->nvcpus = vm->config->cpus;
	/* aligned_alloc: struct vcpu keeps apart what different threads write */
	vm->vcpu = aligned_alloc(_Alignof(struct vcpu), vm->nvcpus * sizeof(*vm->vcpu));
	if (!vm->vcpu)
		return -ENOMEM;
	memset(vm->vcpu, 0, vm->nvcpus * sizeof(*vm->vcpu));
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		struct vcpu *v = &vm->vcpu[i];
		int ret;

		v->vm = vm;
		v->id = i;
		ret = inout_new(v);
		if (ret)
			return ret;
		ret = vm->engine->vcpu_new(v);
		if (ret) {
			snprintf(err, errlen, "cannot make vCPU %u: %s", i, *v->error ? v->error : strerror(-ret));
			return ret;
		}
		v->engine = vm->engine;
	}
	return 0;
}

static int new_parts(struct vm *vm, char *err, size_t errlen)
{
	int ret;

	vm->request_event = event_new(vm->base, -1, 0, on_request, vm);
	vm->events_base = event_base_new();
	if (!vm->request_event || !vm->events_base)
		return -ENOMEM;
	ret = mem_new(&vm->mem, vm->config->memory, err, errlen);
	if (!ret && vm->config->bootrom)
		ret = firmware_load(vm->mem, vm->config, err, errlen);
	if (!ret && vm->config->kernel)
		ret = boot_new(&vm->boot, vm->config->kernel, vm->config->initrd, vm->config->append, err, errlen);
	if (ret)
		return ret;
	vm->bus = bus_new();
	vm->ledger = ledger_new();
	vm->timers = timers_new(vm->events_base, &vm->dev_lock, clock_of_timers, vm);
	if (!vm->bus || !vm->timers || !vm->ledger)
		return -ENOMEM;
	tsc_start();
	ret = engine_choose(vm, err, errlen);
	if (!ret)
		ret = new_vcpus(vm, err, errlen);
	if (!ret)
		ret = link_client_new(&vm->link, vm, mem_ram_end(vm->mem) / LINK_PAGE, NULL);
	if (!ret)
		ret = calls_new(&vm->calls, vm);
	if (!ret)
		ret = devs_new(vm, err, errlen);
	return ret ? ret : reset_engine_side(vm, err, errlen);
}

int vm_new(struct vm **out, const struct config *config, struct event_base *base, char *err, size_t errlen)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int ret;

	*out = NULL;
	*err = 0;
	if (!vm)
		return -ENOMEM;
	vm->config = config;
	vm->base = base;
	snprintf(vm->name, sizeof(vm->name), "%s", config->name);
	pthread_mutex_init(&vm->state_lock, NULL);
	pthread_mutex_init(&vm->dev_lock, NULL);
	pthread_mutex_init(&vm->gate_lock, NULL);
	pthread_mutex_init(&vm->request_lock, NULL);
	pthread_cond_init(&vm->gate_moved, NULL);
	vm->gate = GATE_STOP;
	vm->clock_offset = -monotonic();
	vm->clock_stands = -1;
	ret = new_parts(vm, err, errlen);
	if (ret) {
		if (!*err)
			snprintf(err, errlen, "cannot make the machine: %s", strerror(-ret));
		vm_free(vm);
		return ret;
	}
	*out = vm;
	return 0;
}

int vm_start(struct vm *vm, char *err, size_t errlen)
{
	int ret = start_events(vm);

	for (unsigned i = 0; i < vm->nvcpus && !ret; i++)
		ret = vcpu_start(&vm->vcpu[i]);
	if (ret) {
		snprintf(err, errlen, "cannot start the machine's threads: %s", strerror(-ret));
		return ret;
	}
	vm_unpark(vm);
	return 0;
}

void vm_stop(struct vm *vm)
{
	vm->ended = true;
	pthread_mutex_lock(&vm->gate_lock);
	set_gate(vm, GATE_END);
	pthread_mutex_unlock(&vm->gate_lock);
	kick_all(vm);
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vcpu_join(&vm->vcpu[i]);
	if (vm->events_running) {
		event_active(vm->events_stop, EV_TIMEOUT, 0);
		pthread_join(vm->events_thread, NULL);
		vm->events_running = false;
	}
}

void vm_free(struct vm *vm)
{
	if (!vm)
		return;
	if (vm->link_event)
		event_free(vm->link_event);
	if (vm->events_stop)
		event_free(vm->events_stop);
	devs_free(vm);
	for (unsigned i = 0; vm->vcpu && i < vm->nvcpus; i++) {
		if (vm->vcpu[i].engine)
			vm->vcpu[i].engine->vcpu_free(&vm->vcpu[i]);
		inout_free(&vm->vcpu[i]);
	}
	if (vm->engine && vm->engine->vm_free)
		vm->engine->vm_free(vm);
	calls_free(vm->calls);
	link_client_free(vm->link);
	ledger_free(vm->ledger);
	if (vm->timers)
		timers_free(vm->timers);
	if (vm->bus)
		bus_free(vm->bus);
	if (vm->mem)
		mem_free(vm->mem);
	boot_free(vm->boot);
	free(vm->vcpu);
	if (vm->request_event)
		event_free(vm->request_event);
	if (vm->events_base)
		event_base_free(vm->events_base);
	pthread_mutex_destroy(&vm->state_lock);
	pthread_mutex_destroy(&vm->dev_lock);
	pthread_mutex_destroy(&vm->gate_lock);
	pthread_mutex_destroy(&vm->request_lock);
	pthread_cond_destroy(&vm->gate_moved);
	free(vm);
}
