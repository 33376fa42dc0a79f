/*
 * bench/inout_bench.c - one access, by each road that it may take.
 *
 *	inout_bench [rounds] [samples]
 *
 * A whole machine without a running guest: the engine's bus, devices and link,
 * and the real cleaved with its real devices.  This thread plays vCPU 0 and
 * asks as an engine's instruction does.  Measured in turns, round by round:
 *
 *	engine		IN from the 8259A's mask register: a device in the engine
 *	shadow		IN from the keyboard controller's status: a shadow register
 *	unclaimed	IN from a port that nobody has
 *	posted		OUT to the debug console: retires without waiting
 *	daemon_hot	IN from PCI's address register: from the vCPU's posting to the
 *			value in its slot, both sides spinning
 *	daemon_write	OUT to it, which changes the device's state
 *	daemon_insn	daemon_hot's access whole: look-up, post, and the second run of the
 *			instruction that takes the value
 *	daemon_batch	512 bytes of REP INSB from fw_cfg as one request, slot included
 *	daemon_asleep	as daemon_hot, after the daemon went to sleep
 *
 *	bare_hot, bare_write, bare_batch	as daemon_*, of a second machine, whose device
 *			model has no transactions (bench/txn_none.c)
 *
 * And where there is KVM, by a guest in a loop of IN, an access of many:
 *
 *	kvm_loop	the loop without IN
 *	kvm_unclaimed, kvm_shadow, kvm_daemon	the same ports
 *
 * On a KVM that emulates these say how slow it is, and nothing else.
 */
#include <event2/event.h>
#include <event2/thread.h>
#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/measure.h"
#include "vmm/config.h"
#include "vmm/devlist.h"
#include "vmm/inout.h"
#include "vmm/link.h"
#include "vmm/mem.h"
#include "vmm/stats.h"
#include "vmm/supervise.h"
#include "vmm/vm.h"

enum { PORT_ENGINE = 0x21, PORT_SHADOW = 0x64, PORT_NOBODY = 0x9999, PORT_POSTED = 0x402, PORT_DAEMON = 0xcf8, PORT_FWCFG = 0x511 };
enum { WARM_UP = 200, SLEEPERS = 20, IDLE_US = 3000, BATCH = 512, KVM_SAMPLES = 20 };

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "inout_bench: %s%s%s\n", what, *why ? ": " : "", why);
	exit(1);
}

/* ---- the machine */

/* The device model `name`, from beside this program's directory. */
static const char *near(const char *name)
{
	static char path[PATH_MAX + 32];
	char exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (n < 0)
		fail("/proc/self/exe", "cannot be read");
	exe[n] = 0;
	snprintf(path, sizeof(path), "%s/../%s", dirname(exe), name);
	return path;
}

/* NULL, and why, where this engine does not run. */
static struct vm *machine(const char *engine, const char *daemon, char why[600])
{
	char name[] = "inout_bench", m[] = "-m1M", l[] = "-ldebugcon,file=/dev/null";
	char *args[] = { name, m, l, name, NULL };	/* config_args() cuts them up */
	struct config *config = config_new();
	struct devlist *list;
	char path[512], err[600] = "";
	struct vm *vm;
	int fd;

	if (!config || config_args(config, 4, args))
		fail("configuration", config ? config->error : "no memory");
	fd = supervise_find(near(daemon), path, sizeof(path), err, sizeof(err));
	if (fd < 0 || devlist_ask(&list, fd, err, sizeof(err)))
		fail("cleaved", err);
	/* no thread of ours would find a halt in the kernel */
	if (config_set(config, "engine", engine) || config_set(config, "kvm.irqchip", "engine") || config_resolve(config, list))
		fail("configuration", config->error);
	if (vm_new(&vm, config, event_base_new(), why, 600))
		return NULL;
	if (supervise_new(&vm->supervise, vm, fd, path) || supervise_start(vm->supervise, err, sizeof(err)))
		fail("cleaved", err);
	return vm;
}

/* Daemons on the second CPU that this process may use, where there is one, as in ring_pingpong. */
static void pin(struct vm *const *vm, unsigned n)
{
	cpu_set_t all, one;
	int cpus = 0;

	if (sched_getaffinity(0, sizeof(all), &all) || CPU_COUNT(&all) < 2)
		return;
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &all) && cpus++ == 1) {
			CPU_ZERO(&one);
			CPU_SET(i, &one);
			while (n--)
				sched_setaffinity(supervise_pid(vm[n]->supervise), sizeof(one), &one);
			break;
		}
	measure_pin(0);
}

/* ---- accesses, as op_io.c makes them */

static void wait_for_slot(struct vcpu *v)
{
	enum inout_wait w;

	while ((w = inout_wait(v)) == INOUT_KICKED)
		v->kick_seen = atomic_load(&v->kick);
	if (w == INOUT_LOST)
		fail("the device model is gone", "");
}

static uint64_t in(struct vcpu *v, uint16_t port, unsigned size)
{
	uint64_t value = 0;
	unsigned done;

	while (inout_in(v, port, size, 1, INOUT_NO_MEM, &value, &done) == IO_WAIT)
		wait_for_slot(v);
	inout_retire(v);
	return value;
}

static void out(struct vcpu *v, uint16_t port, unsigned size, uint64_t value)
{
	unsigned done;

	while (inout_out(v, port, size, 1, INOUT_NO_MEM, &value, &done) == IO_WAIT)
		wait_for_slot(v);
	inout_retire(v);
}

static void in_batch(struct vcpu *v)
{
	uint8_t data[BATCH];
	unsigned done;

	while (inout_in(v, PORT_FWCFG, 1, BATCH, 0x1000, data, &done) == IO_WAIT)
		wait_for_slot(v);
	inout_retire(v);
}

static enum io_result access_daemon(struct vcpu *v, bool write)
{
	uint64_t value = 0x80000000;
	unsigned done;

	if (write)
		return inout_out(v, PORT_DAEMON, 4, 1, INOUT_NO_MEM, &value, &done);
	return inout_in(v, PORT_DAEMON, 4, 1, INOUT_NO_MEM, &value, &done);
}

/* From posting to the answer in the slot, as the engine's own statistics take it. */
static uint64_t to_slot(struct vcpu *v, bool write)
{
	if (access_daemon(v, write) != IO_WAIT)
		fail("a port of the device model did not wait", "");
	wait_for_slot(v);
	if (access_daemon(v, write) != IO_OK)
		fail("a finished request was not found", "");
	inout_retire(v);
	return inout_stats(v)->last;
}

static uint64_t timed_in(struct vcpu *v, uint16_t port, unsigned size)
{
	uint64_t t = ticks();

	in(v, port, size);
	return ticks() - t;
}

static uint64_t engine(struct vcpu *v) { return timed_in(v, PORT_ENGINE, 1); }
static uint64_t shadow(struct vcpu *v) { return timed_in(v, PORT_SHADOW, 1); }
static uint64_t unclaimed(struct vcpu *v) { return timed_in(v, PORT_NOBODY, 1); }
static uint64_t hot(struct vcpu *v) { return to_slot(v, false); }
static uint64_t hot_write(struct vcpu *v) { return to_slot(v, true); }
static uint64_t instruction(struct vcpu *v) { return timed_in(v, PORT_DAEMON, 4); }

static uint64_t posted(struct vcpu *v)
{
	uint64_t t = ticks();

	out(v, PORT_POSTED, 1, '.');
	return ticks() - t;
}

static uint64_t batch(struct vcpu *v)
{
	uint64_t t = ticks();

	in_batch(v);
	return ticks() - t;
}

static uint64_t asleep(struct vcpu *v)
{
	usleep(IDLE_US);
	return to_slot(v, false);
}

/* ---- a guest on KVM */

enum { GUEST = 0x8000, GUEST_ACCESSES = 100 };

static const struct {
	const char *name;
	uint16_t port;
	uint8_t in[2];			/* the instruction: nops, IN AL or IN EAX */
} guests[] = {
	{ "kvm_loop", 0, { 0x90, 0x90 } },
	{ "kvm_unclaimed", PORT_NOBODY, { 0x90, 0xec } },
	{ "kvm_shadow", PORT_SHADOW, { 0x90, 0xec } },
	{ "kvm_daemon", PORT_DAEMON, { 0x66, 0xed } },
};
enum { GUESTS = sizeof(guests) / sizeof(guests[0]) };

/* mov $port, %dx; mov $GUEST_ACCESSES, %cx; 1: in; dec %cx; jnz 1b; cli; hlt */
static void load_guest(struct vcpu *v, unsigned i)
{
	const uint8_t code[] = {
		0xba, guests[i].port & 0xff, guests[i].port >> 8, 0xb9, GUEST_ACCESSES, 0,
		guests[i].in[0], guests[i].in[1], 0x49, 0x75, 0xfb, 0xfa, 0xf4,
	};
	struct x86_state s;

	v->engine->reset(v);
	v->engine->get_state(v, &s);
	s.seg[X86_CS].selector = 0;
	s.seg[X86_CS].base = 0;
	s.rip = GUEST;
	if (!mem_copy_to(v->vm->mem, GUEST, code, sizeof(code)) || v->engine->set_state(v, &s))
		fail(guests[i].name, "the guest cannot be started");
}

static uint64_t run_guest(struct vcpu *v, unsigned i)
{
	enum vcpu_exit e;
	uint64_t t;

	load_guest(v, i);
	t = ticks();
	while ((e = v->engine->run(v)) == EXIT_PENDING || e == EXIT_KICKED) {
		v->kick_seen = atomic_load(&v->kick);
		if (e == EXIT_PENDING)
			wait_for_slot(v);
	}
	if (e != EXIT_HLT_FOREVER)
		fail(guests[i].name, "the guest did not end");
	return (ticks() - t) / GUEST_ACCESSES;
}

static void on_kvm(unsigned rounds, unsigned samples)
{
	struct measure m[GUESTS];
	char why[600] = "";
	struct vm *vm = machine("kvm", "cleaved", why);

	if (!vm) {
		fprintf(stderr, "inout_bench: no KVM: %s\n", why);
		return;
	}
	pin(&vm, 1);
	for (unsigned i = 0; i < GUESTS; i++)
		measure_begin(&m[i], guests[i].name, rounds, samples);
	for (unsigned r = 0; r < rounds; r++)
		for (unsigned i = 0; i < GUESTS; i++)
			for (unsigned n = 0; n < samples; n++)
				measure_add(&m[i], run_guest(&vm->vcpu[0], i));
	for (unsigned i = 0; i < GUESTS; i++)
		measure_end(&m[i], stdout);
	supervise_stop(vm->supervise);
}

/* ---- */

static const struct {
	const char *name;
	uint64_t (*access)(struct vcpu *);
	enum vcpu_stat way;		/* which counter must have moved */
	bool slow, bare;
} table[] = {
	{ "engine", engine, STAT_IO_ENGINE, false, false },
	{ "shadow", shadow, STAT_IO_SHADOW, false, false },
	{ "unclaimed", unclaimed, STAT_IO_UNCLAIMED, false, false },
	{ "posted", posted, STAT_IO_POSTED, false, false },
	{ "daemon_hot", hot, STAT_IO_DAEMON, false, false },
	{ "bare_hot", hot, STAT_IO_DAEMON, false, true },
	{ "daemon_write", hot_write, STAT_IO_DAEMON, false, false },
	{ "bare_write", hot_write, STAT_IO_DAEMON, false, true },
	{ "daemon_insn", instruction, STAT_IO_DAEMON, false, false },
	{ "daemon_batch", batch, STAT_IO_BATCH, false, false },
	{ "bare_batch", batch, STAT_IO_BATCH, false, true },
	{ "daemon_asleep", asleep, STAT_IO_DAEMON, true, false },
};
enum { WAYS = sizeof(table) / sizeof(table[0]) };

static void round_of(struct vcpu *v, unsigned i, struct measure *m, unsigned samples)
{
	unsigned warm = table[i].slow ? 2 : WARM_UP;
	uint64_t before = stat_get(inout_stats(v), table[i].way);

	for (unsigned n = 0; n < samples + warm; n++) {
		uint64_t t = table[i].access(v);

		if (n >= warm)
			measure_add(m, t);
	}
	if (stat_get(inout_stats(v), table[i].way) - before < samples / 2)
		fail(table[i].name, "its accesses went another way");
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 9, samples = argc > 2 ? (unsigned)atoi(argv[2]) : 10000;
	struct measure m[WAYS];
	char why[600] = "";
	struct vm *vm, *bare;

	if (!rounds || !samples)
		fail("rounds and samples are numbers from 1 on", "");
	evthread_use_pthreads();
	vm = machine("soft", "cleaved", why);
	bare = vm ? machine("soft", "bench/cleaved_bare", why) : NULL;
	if (!bare)
		fail("machine", why);
	pin((struct vm *[]){ vm, bare }, 2);
	for (unsigned i = 0; i < WAYS; i++)
		measure_begin(&m[i], table[i].name, rounds, table[i].slow ? SLEEPERS : samples);
	for (unsigned r = 0; r < rounds; r++)
		for (unsigned i = 0; i < WAYS; i++) {
			struct vm *at_work = table[i].bare ? bare : vm;

			/* They share a CPU, and the other may spin yet. */
			kill(supervise_pid((at_work == vm ? bare : vm)->supervise), SIGSTOP);
			kill(supervise_pid(at_work->supervise), SIGCONT);
			round_of(&at_work->vcpu[0], i, &m[i], table[i].slow ? SLEEPERS : samples);
		}
	kill(supervise_pid(vm->supervise), SIGCONT);
	kill(supervise_pid(bare->supervise), SIGCONT);
	for (unsigned i = 0; i < WAYS; i++)
		measure_end(&m[i], stdout);
	supervise_stop(vm->supervise);
	supervise_stop(bare->supervise);
	on_kvm(rounds, samples < KVM_SAMPLES ? samples : KVM_SAMPLES);
	return 0;
}
