/*
 * vmm/vcpu.c - one vCPU's thread: the gate, the run loop, sleep in HLT.
 *
 * The only caller of engine->run().  Knows neither what an exit means (exit.c)
 * nor when the VM pauses or resets (vm.c): those open and shut the gate.
 */
#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/inout.h"
#include "vmm/link.h"
#include "vmm/vcpu.h"
#include "vmm/vm.h"

static void futex_wait(_Atomic uint32_t *word, uint32_t value, const struct timespec *timeout)
{
	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void poke(struct vcpu *v)
{
	if (v->engine && v->engine->poke)
		v->engine->poke(v);
}

void vcpu_kick(struct vcpu *v)
{
	vcpu_raise_kick(v);
	futex_wake(&v->kick);
	poke(v);
}

/*
 * The caller has set intr or nmi.  The fence pairs with the one in
 * vcpu_halt(): either this sees `halted`, or the vCPU sees the interrupt.
 */
void vcpu_wake(struct vcpu *v)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(&v->halted, memory_order_relaxed))
		vcpu_kick(v);
	else
		poke(v);
}

static bool sleeps_on(const struct vcpu *v, bool deaf)
{
	return (deaf || !atomic_load_explicit(&v->intr, memory_order_relaxed)) &&
	       !atomic_load_explicit(&v->nmi, memory_order_relaxed) &&
	       atomic_load_explicit(&v->kick, memory_order_relaxed) == v->kick_seen;
}

static void set_halted(struct vcpu *v, bool halted)
{
	atomic_store_explicit(&v->halted, halted, memory_order_relaxed);
	if (v->vm->link)
		link_client_halted(v->vm->link, v->id, halted);
}

void vcpu_halt(struct vcpu *v, bool deaf)
{
	set_halted(v, true);
	atomic_thread_fence(memory_order_seq_cst);	/* pairs with vcpu_wake() */
	while (sleeps_on(v, deaf))
		futex_wait(&v->kick, v->kick_seen, NULL);
	set_halted(v, false);
}

void vcpu_nap(struct vcpu *v)
{
	static const struct timespec most = { .tv_nsec = 10000000 };

	set_halted(v, true);
	atomic_thread_fence(memory_order_seq_cst);	/* pairs with vcpu_wake() */
	if (sleeps_on(v, false))
		futex_wait(&v->kick, v->kick_seen, &most);
	set_halted(v, false);
}

void vcpu_doze(struct vcpu *v)
{
	while (atomic_load_explicit(&v->kick, memory_order_acquire) == v->kick_seen)
		futex_wait(&v->kick, v->kick_seen, NULL);
}

void vcpu_stop(struct vcpu *v)
{
	pthread_mutex_lock(&v->vm->gate_lock);
	v->stopped = true;
	pthread_mutex_unlock(&v->vm->gate_lock);
}

void vcpu_release(struct vcpu *v)
{
	pthread_mutex_lock(&v->vm->gate_lock);
	v->stopped = false;
	pthread_mutex_unlock(&v->vm->gate_lock);
}

/* An access that is under way goes on through a pause: an instruction boundary without one is what a pause waits for. */
static bool may_run(const struct vcpu *v, uint32_t gate)
{
	return !v->stopped && (gate == GATE_OPEN || (gate == GATE_PAUSE && inout_active(v)));
}

/* Returns false when the thread is to end. */
static bool at_gate(struct vcpu *v)
{
	struct vm *vm = v->vm;
	uint32_t gate;

	pthread_mutex_lock(&vm->gate_lock);
	while ((gate = atomic_load_explicit(&vm->gate, memory_order_relaxed)) != GATE_END && !may_run(v, gate)) {
		if (!v->parked) {
			v->parked = true;
			pthread_cond_broadcast(&vm->gate_moved);
		}
		pthread_cond_wait(&vm->gate_moved, &vm->gate_lock);
	}
	v->parked = false;
	pthread_mutex_unlock(&vm->gate_lock);
	return gate != GATE_END;
}

/* This thread is the only writer. */
static void count_exit(struct vcpu *v, enum vcpu_exit exit)
{
	uint64_t n = atomic_load_explicit(&v->exits[exit], memory_order_relaxed);

	atomic_store_explicit(&v->exits[exit], n + 1, memory_order_relaxed);
	atomic_store_explicit(&v->instructions, v->engine->instructions(v), memory_order_relaxed);
}

static bool gate_open(const struct vcpu *v)
{
	return atomic_load_explicit(&v->vm->gate, memory_order_acquire) == GATE_OPEN;
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", v->id & 0xff);
	pthread_setname_np(pthread_self(), name);
	for (;;) {
		enum vcpu_exit exit;
		uint32_t kick;

		/* Read before the gate is: whoever shuts it kicks afterwards. */
		kick = atomic_load_explicit(&v->kick, memory_order_acquire);
		if ((!gate_open(v) || v->stopped) && !at_gate(v))
			return NULL;
		/* Let through a shut gate to finish an access: leave at the boundary that follows. */
		v->kick_seen = gate_open(v) ? kick : kick - 1;
		exit = v->engine->run(v);
		v->kick_seen = kick;
		count_exit(v, exit);
		exit_handle(v, exit);
	}
}

int vcpu_start(struct vcpu *v)
{
	sigset_t all, old;
	int ret;

	/* Signals are the main thread's; a fault of our own still kills. */
	sigfillset(&all);
	sigdelset(&all, SIGSYS);	/* says what the sandbox stopped */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&v->thread, NULL, vcpu_main, v);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	v->running = !ret;
	return -ret;
}

void vcpu_join(struct vcpu *v)
{
	if (v->running)
		pthread_join(v->thread, NULL);
	v->running = false;
}
