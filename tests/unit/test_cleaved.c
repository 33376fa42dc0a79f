/*
 * The real cleaved, started as cleave starts it: configuration over the socket,
 * requests through the link's rings, its end when the engine ends, and what it
 * says to an engine that talks nonsense.
 *
 * CLEAVED names the program; default ./cleaved.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ipc/fdpass.h"
#include "ipc/link_engine.h"
#include "proto/config.pb-c.h"

enum { RAM = 16 << 20, ANSWER_MS = 10000, SOCKET = 3, VERSION = 2 };

struct daemon {
	pid_t pid;
	int sock, ram_fd, arena_fd;
	uint8_t *ram;
	struct link link;
	uint64_t seq[2], event_seq;
	bool spare;
	Cleave__DaemonReply *reply;
};

/* ---- the engine's part */

static void run_child(int sock)
{
	const char *path = getenv("CLEAVED");

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(sock, SOCKET) < 0)
		_exit(126);
	if (sock == SOCKET)
		fcntl(sock, F_SETFD, 0);
	execl(path ? path : "./cleaved", "cleaved", "--socket=3", (char *)NULL);
	_exit(127);
}

static void spawn(struct daemon *d)
{
	int sv[2];

	memset(d, 0, sizeof(*d));
	assert_int_equal(fdpass_pair(sv), 0);
	d->pid = fork();
	if (!d->pid)
		run_child(sv[1]);
	assert_true(d->pid > 0);
	close(sv[1]);
	d->sock = sv[0];
}

static int memory(const char *name, size_t bytes, int seals)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, bytes), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void make_memory(struct daemon *d)
{
	struct link_params p = { .nvcpus = 1, .code_pages = RAM / LINK_PAGE, .generation = 1 };
	char err[LINK_ERR];

	d->ram_fd = memory("ram", RAM, F_SEAL_SHRINK | F_SEAL_GROW);
	d->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, d->ram_fd, 0);
	assert_true(d->ram != MAP_FAILED);
	d->arena_fd = memory("arena", 0, 0);
	assert_int_equal(link_create(&d->link, &p, err), 0);
}

struct model {
	const char *name;
	int slot, function;	/* -1: not PCI */
	const char *key, *value;
	unsigned stream;	/* + 1 */
};

static void send_config(struct daemon *d, const struct model *model, unsigned n, uint32_t version)
{
	Cleave__DaemonConfig c = CLEAVE__DAEMON_CONFIG__INIT;
	Cleave__DeviceConfig dev[8], *devp[8];
	Cleave__DeviceKey key[8], *keyp[8];
	uint8_t frame[4096];

	c.version = version;
	c.vm = (char *)"test";
	c.ram_bytes = RAM;
	c.vcpus = 1;
	for (unsigned i = 0; i < n; i++) {
		cleave__device_config__init(&dev[i]);
		cleave__device_key__init(&key[i]);
		devp[i] = &dev[i];
		keyp[i] = &key[i];
		dev[i].model = (char *)model[i].name;
		dev[i].pci = model[i].slot >= 0;
		dev[i].slot = model[i].slot >= 0 ? model[i].slot : 0;
		dev[i].function = model[i].slot >= 0 ? model[i].function : 0;
		if (!model[i].key)
			continue;
		key[i].name = (char *)model[i].key;
		key[i].value = (char *)(model[i].value ? model[i].value : "");
		key[i].stream = model[i].stream;
		dev[i].n_key = 1;
		dev[i].key = &keyp[i];
	}
	c.n_device = n;
	c.device = devp;
	c.standby = d->spare;
	assert_int_equal(fdpass_send(d->sock, frame, cleave__daemon_config__pack(&c, frame), &d->ram_fd, 1), 0);
}

static void send_turn(struct daemon *d)
{
	Cleave__DaemonTurn t = CLEAVE__DAEMON_TURN__INIT;
	int fd[] = { d->link.fd[0], d->link.fd[1], d->link.fd[2], d->link.fd[3], d->arena_fd, d->link.fd[4] };
	uint8_t frame[256];

	t.fresh = 1;
	t.generation = 1;
	t.link_fd = 0, t.wake_fd = 1, t.event_fd = 2, t.relay_fd = 3, t.arena_fd = 4, t.kick_fd = 5;
	fdpass_send(d->sock, frame, cleave__daemon_turn__pack(&t, frame), fd, 6);	/* it may have gone */
}

static void read_reply(struct daemon *d)
{
	uint8_t frame[2048];
	unsigned nfds;
	ssize_t n = fdpass_recv(d->sock, frame, sizeof(frame), NULL, 0, &nfds, ANSWER_MS);

	assert_true(n > 0);
	if (d->reply)
		cleave__daemon_reply__free_unpacked(d->reply, NULL);
	d->reply = cleave__daemon_reply__unpack(NULL, n, frame);
	assert_non_null(d->reply);
}

static const char *answer(struct daemon *d)
{
	static char error[512];

	read_reply(d);
	snprintf(error, sizeof(error), "%s", d->reply->error);
	if (!d->reply->ready)
		return error;
	assert_int_equal(fdpass_send(d->sock, "", 1, NULL, 0), 0);	/* go */
	return NULL;
}

/* Its exit status, or minus the signal; kills it when it does not end. */
static int wait_end(struct daemon *d)
{
	int status;

	for (int ms = 0; ms < ANSWER_MS; ms += 5) {
		if (waitpid(d->pid, &status, WNOHANG) == d->pid) {
			d->pid = 0;
			return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
		}
		usleep(5000);
	}
	return -1000;
}

static void end(struct daemon *d)
{
	if (d->pid > 0) {
		kill(d->pid, SIGKILL);
		waitpid(d->pid, NULL, 0);
	}
	if (d->reply)
		cleave__daemon_reply__free_unpacked(d->reply, NULL);
	close(d->sock);
	close(d->ram_fd);
	close(d->arena_fd);
	munmap(d->ram, RAM);
	link_close(&d->link);
}

static void start(struct daemon *d, const struct model *model, unsigned n)
{
	char err[LINK_ERR] = "";
	const char *why;

	spawn(d);
	make_memory(d);
	send_config(d, model, n, VERSION);
	send_turn(d);
	why = answer(d);
	if (why)
		fail_msg("cleaved: %s", why);
	assert_int_equal(link_accept(&d->link, err), 0);
}

static struct link_comp request(struct daemon *d, unsigned channel, struct link_req *r)
{
	struct link_comp c;

	r->seq = ++d->seq[channel];
	r->vcpu = channel;
	r->region = LINK_NO_REGION;
	r->count = r->count ? r->count : 1;
	assert_int_equal(link_post_req(&d->link, channel, r), 0);
	assert_int_equal(link_wait_comp(&d->link, channel, NULL, 0, ANSWER_MS * 1000000ll), WAIT_READY);
	assert_int_equal(link_take_comp(&d->link, channel, &c), 1);
	assert_int_equal(c.seq, r->seq);
	return c;
}

static uint64_t in(struct daemon *d, uint16_t port, unsigned size)
{
	return request(d, 0, &(struct link_req){ .kind = LINK_REQ_PIO_IN, .addr = port, .size = size }).value;
}

static void out(struct daemon *d, uint16_t port, unsigned size, uint64_t value)
{
	request(d, 0, &(struct link_req){ .kind = LINK_REQ_PIO_OUT, .addr = port, .size = size, .value = value });
}

static const struct model pc[] = {
	{ .name = "hostbridge", .slot = 0 },
	{ .name = "lpc", .slot = 1 },
	{ .name = "piix4pm", .slot = 1, .function = 3 },
	{ .name = "fwcfg", .slot = -1 },
	{ .name = "debugcon", .slot = -1, .key = "chr", .stream = 1 },
};
enum { PC = sizeof(pc) / sizeof(pc[0]) };

/* ---- tests */

static void firmware_configuration(void **state)
{
	struct daemon d;
	struct link_comp c;
	char sig[4];

	(void)state;
	start(&d, pc, PC);
	out(&d, 0x510, 2, 0);
	c = request(&d, 0, &(struct link_req){ .kind = LINK_REQ_PIO_IN, .addr = 0x511, .size = 1, .count = 4, .flags = LINK_REQ_BATCH, .data = 1 });
	assert_int_equal(c.status, LINK_OK);
	assert_int_equal(c.done, 4);
	link_data_get(&d.link, 0, 1, sig, 4);
	assert_memory_equal(sig, "QEMU", 4);
	assert_int_equal(in(&d, 0x511, 1), 0);
	/* by DMA: select the ID and read it */
	memcpy(d.ram + 0x1000, (uint8_t[]){ 0, 1, 0, 0x0a, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0x20, 0 }, 16);
	out(&d, 0x518, 4, __builtin_bswap32(0x1000));
	assert_memory_equal(d.ram + 0x2000, ((uint8_t[]){ 3, 0, 0, 0 }), 4);
	assert_memory_equal(d.ram + 0x1000, ((uint8_t[]){ 0, 0, 0, 0 }), 4);
	/* nobody */
	c = request(&d, 0, &(struct link_req){ .kind = LINK_REQ_PIO_IN, .addr = 0x1234, .size = 2 });
	assert_int_equal(c.status, LINK_UNCLAIMED);
	assert_int_equal(c.value, 0xffff);
	end(&d);
}

static void after_sleeping(void **state)
{
	struct daemon d;

	(void)state;
	start(&d, pc, PC);
	out(&d, 0xcf8, 4, 0x80000000);
	/* It spins at most a fraction of a millisecond, then sleeps; requests wake it every time. */
	for (int i = 0; i < 20; i++) {
		for (int ms = 0; ms < 2000 && !load_acquire(&d.link.header->daemon_sleeps); ms++)
			usleep(1000);
		assert_int_equal(load_acquire(&d.link.header->daemon_sleeps), 1);
		assert_int_equal(in(&d, 0xcfc, 4), 0x12378086);
	}
	end(&d);
}

static void posted_before_the_rest(void **state)
{
	struct link_req r = { .kind = LINK_REQ_PIO_OUT, .addr = 0x402, .size = 1, .count = 1, .flags = LINK_REQ_POSTED, .region = LINK_NO_REGION };
	struct daemon d;
	char log[32];

	(void)state;
	start(&d, pc, PC);
	for (unsigned i = 0; i < 26; i++) {
		r.seq = ++d.seq[0];
		r.value = 'a' + i;
		assert_int_equal(link_post_req(&d.link, 0, &r), 0);
	}
	/* what is not posted, in any ring, comes after all of them */
	request(&d, 1, &(struct link_req){ .kind = LINK_REQ_INJECT, .addr = LINK_INJECT_POWER_BUTTON });
	assert_true(link_committed(&d.link, 0) >= 26);
	assert_int_equal(link_output_peek(&d.link, 0, log, sizeof(log)), 26);
	assert_memory_equal(log, "abcdefghijklmnopqrstuvwxyz", 26);
	end(&d);
}

static void timer_wakes_the_sleeper(void **state)
{
	struct link_event ev;
	struct daemon d;
	bool irq = false;

	(void)state;
	start(&d, pc, PC);
	/* PM timer overflow enabled, SCI on: it comes within 2.4 s although nobody asks for anything */
	out(&d, 0xcf8, 4, 0x80000b40);
	out(&d, 0xcfc, 4, 0x601);
	out(&d, 0xcf8, 4, 0x80000b80);
	out(&d, 0xcfc, 1, 1);
	out(&d, 0x602, 2, 1);
	out(&d, 0x604, 2, 1);
	for (int ms = 0; ms < 5000 && !irq; ms++) {
		while (link_take_event(&d.link, &ev) > 0)
			irq |= ev.kind == LINK_EV_IRQ && ev.a == 9 && ev.b;
		link_release_events(&d.link);
		usleep(1000);
	}
	assert_true(irq);
	assert_true(in(&d, 0x600, 2) & 1);
	end(&d);
}

static void input_reaches_the_sleeper(void **state)
{
	static const struct model com = { .name = "uart", .slot = -1, .key = "com1", .stream = 3 };
	struct link_event ev;
	struct daemon d;
	bool irq = false;

	(void)state;
	start(&d, &com, 1);
	out(&d, 0x3f9, 1, 1);		/* interrupt on received data */
	out(&d, 0x3fc, 1, 8);
	for (int ms = 0; ms < 2000 && !load_acquire(&d.link.header->daemon_sleeps); ms++)
		usleep(1000);
	assert_int_equal(link_input_put(&d.link, 2, "x", 1), 1);
	for (int ms = 0; ms < 5000 && !irq; ms++) {
		while (link_take_event(&d.link, &ev) > 0)
			irq |= ev.kind == LINK_EV_IRQ && ev.a == 4 && ev.b;
		link_release_events(&d.link);
		usleep(1000);
	}
	assert_true(irq);
	assert_int_equal(in(&d, 0x3f8, 1), 'x');
	end(&d);
}

static void ends_with_the_engine(void **state)
{
	struct daemon d;

	(void)state;
	start(&d, pc, PC);
	close(d.sock);
	d.sock = -1;
	assert_int_equal(wait_end(&d), 0);
	end(&d);
	/* also before it was told anything */
	spawn(&d);
	make_memory(&d);
	close(d.sock);
	d.sock = -1;
	assert_int_equal(wait_end(&d), 1);
	end(&d);
}

/* A spare has no link and no arena until its turn comes, and ends with the engine. */
static void stands_by(void **state)
{
	struct daemon d;
	char err[LINK_ERR];

	(void)state;
	for (int turn = 0; turn < 2; turn++) {
		spawn(&d);
		make_memory(&d);
		d.spare = true;
		send_config(&d, pc, PC, VERSION);
		read_reply(&d);
		assert_true(d.reply->standing_by && !d.reply->ready);
		assert_string_equal(d.reply->error, "");
		if (turn) {
			send_turn(&d);
			assert_null(answer(&d));
			assert_false(d.reply->standing_by);
			assert_int_equal(link_accept(&d.link, err), 0);
			assert_int_equal(in(&d, 0x511, 1), 'Q');
		} else {
			close(d.sock);
			d.sock = -1;
			assert_int_equal(wait_end(&d), 1);
		}
		end(&d);
	}
}

static void refuses(const struct model *model, unsigned n, uint32_t version, const char *word)
{
	struct daemon d;
	const char *why;

	spawn(&d);
	make_memory(&d);
	send_config(&d, model, n, version);
	send_turn(&d);
	why = answer(&d);
	assert_non_null(why);
	if (!strstr(why, word))
		fail_msg("\"%s\" does not say \"%s\"", why, word);
	assert_int_equal(wait_end(&d), 1);
	end(&d);
}

/* A turn that names a descriptor twice. */
static void refuses_turn(void)
{
	Cleave__DaemonTurn t = CLEAVE__DAEMON_TURN__INIT;
	uint8_t frame[256];
	struct daemon d;
	const char *why;

	spawn(&d);
	make_memory(&d);
	send_config(&d, pc, PC, VERSION);
	t.wake_fd = 1;
	assert_int_equal(fdpass_send(d.sock, frame, cleave__daemon_turn__pack(&t, frame), (int[]){ d.arena_fd, d.ram_fd }, 2), 0);
	why = answer(&d);
	assert_non_null(why);
	assert_non_null(strstr(why, "its turn"));
	assert_int_equal(wait_end(&d), 1);
	end(&d);
}

static void bad_configurations(void **state)
{
	(void)state;
	refuses(&(struct model){ .name = "floppy", .slot = -1 }, 1, VERSION, "floppy: no such device");
	refuses(&(struct model){ .name = "fwcfg", .slot = -1, .key = "colour", .value = "red" }, 1, VERSION, "no key \"colour\"");
	refuses(&(struct model){ .name = "fwcfg", .slot = -1, .key = "dma", .value = "maybe" }, 1, VERSION, "on or off");
	refuses(&(struct model){ .name = "fwcfg", .slot = 3 }, 1, VERSION, "no PCI slot");
	refuses(&(struct model){ .name = "hostbridge", .slot = -1 }, 1, VERSION, "needs a slot");
	refuses(&(struct model){ .name = "hostbridge", .slot = 40 }, 1, VERSION, "slots 0-31");
	refuses((struct model[]){ { .name = "hostbridge" }, { .name = "lpc" } }, 2, VERSION, "both in slot 0:0");
	refuses(pc, PC, 99, "different versions");
	refuses_turn();
}

static void engine_talks_nonsense(void **state)
{
	struct link_req r = { .kind = LINK_REQ_PIO_IN, .addr = 0x511, .size = 3, .count = 1, .seq = 1 };
	struct daemon d;

	(void)state;
	start(&d, pc, PC);
	assert_int_equal(link_post_req(&d.link, 0, &r), 0);
	assert_int_equal(wait_end(&d), 1);
	end(&d);
}

static void idle_costs_nothing(void **state)
{
	struct daemon d;
	char path[64], stat[1024];
	unsigned long ut[2], st[2];

	(void)state;
	start(&d, pc, PC);
	in(&d, 0x511, 1);
	snprintf(path, sizeof(path), "/proc/%d/stat", d.pid);
	for (int i = 0; i < 2; i++) {
		FILE *f;

		for (int ms = 0; ms < 2000 && !load_acquire(&d.link.header->daemon_sleeps); ms++)
			usleep(1000);
		f = fopen(path, "r");
		assert_non_null(f);
		assert_true(fread(stat, 1, sizeof(stat), f) > 0);
		fclose(f);
		assert_int_equal(sscanf(strrchr(stat, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &ut[i], &st[i]), 2);
		usleep(i ? 0 : 500000);
	}
	/* ticks of 10 ms: a loop that polls takes most of the fifty */
	assert_true(ut[1] + st[1] - ut[0] - st[0] < 10);
	end(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(firmware_configuration),
		cmocka_unit_test(after_sleeping),
		cmocka_unit_test(posted_before_the_rest),
		cmocka_unit_test(timer_wakes_the_sleeper),
		cmocka_unit_test(input_reaches_the_sleeper),
		cmocka_unit_test(ends_with_the_engine),
		cmocka_unit_test(stands_by),
		cmocka_unit_test(bad_configurations),
		cmocka_unit_test(engine_talks_nonsense),
		cmocka_unit_test(idle_costs_nothing),
	};

	alarm(120);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
