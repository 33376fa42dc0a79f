/*
 * tests/fuzz/fuzz_conf.c - the daemon's configuration and its turn, with descriptors.
 *
 * The first byte says which of them this is, and how many descriptors came.
 * Every descriptor that came ends up with one owner or closed: their number is
 * the same afterwards.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devmodel/conf.h"
#include "proto/config.pb-c.h"

enum { TURN = 0x80 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

/* Plans the machine as main() would, and gives up what the configuration owns. */
static void use_machine(struct conf *c)
{
	struct arena_plan plan[ARENA_MAX_DEVS];
	char err[256];

	if (!machine_plan(&c->machine, plan, err, sizeof(err)))
		arena_size(plan, c->machine.ndevs);
	close(c->ram_fd);
	if (c->flash_fd >= 0)
		close(c->flash_fd);
	for (unsigned i = 0; i < c->machine.ndevs; i++)
		for (unsigned k = 0; k < c->machine.dev[i].nkeys; k++)
			if (c->machine.dev[i].key[k].fd >= 0)
				close(c->machine.dev[i].key[k].fd);
	conf_free(c);
}

static void use_turn(struct conf *c)
{
	for (unsigned i = 0; i < LINK_FDS; i++)
		close(c->link_fd[i]);
	close(c->arena_fd);
	if (c->tried_fd >= 0)
		close(c->tried_fd);
	if (c->state_fd >= 0)
		close(c->state_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned head = size ? data[0] : 0, nfds = (head & ~TURN) % 12;
	bool turn = head & TURN;
	int fd[12], first = open("/dev/null", O_RDONLY | O_CLOEXEC), last, ret;
	struct conf c = { 0 };
	char err[256] = "";

	for (unsigned i = 0; i < nfds; i++)
		fd[i] = dup(first);
	if (size)
		data++, size--;
	ret = (turn ? conf_turn : conf_parse)(&c, data, size, fd, nfds, err, sizeof(err));
	if (!ret)
		(turn ? use_turn : use_machine)(&c);
	else if (!err[0])
		abort();
	last = dup(first);	/* the lowest free number: all others are closed */
	if (last != first + 1)
		abort();
	close(last);
	close(first);
	return 0;
}

static size_t seed_turn(uint8_t *buf, size_t cap)
{
	Cleave__DaemonTurn t = CLEAVE__DAEMON_TURN__INIT;
	uint64_t asked[] = { 1, 300 };

	t.generation = 2;
	t.link_fd = 0, t.wake_fd = 1, t.event_fd = 2, t.relay_fd = 3, t.arena_fd = 4, t.kick_fd = 5, t.tried_fd = 7, t.state_fd = 8;
	t.asked = asked;
	t.n_asked = 2;
	if (cleave__daemon_turn__get_packed_size(&t) + 1 > cap)
		return 0;
	buf[0] = TURN | 7;
	return cleave__daemon_turn__pack(&t, buf + 1) + 1;
}

/* A good configuration to start from. */
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	Cleave__DaemonConfig c = CLEAVE__DAEMON_CONFIG__INIT;
	Cleave__DeviceConfig bridge = CLEAVE__DEVICE_CONFIG__INIT, fwcfg = CLEAVE__DEVICE_CONFIG__INIT, *dev[] = { &bridge, &fwcfg };
	Cleave__DeviceKey key = CLEAVE__DEVICE_KEY__INIT, *keys[] = { &key };

	if (n == 3)
		return seed_turn(buf, cap);
	if (n > 3)
		return 0;
	c.version = CONF_VERSION;
	c.vm = (char *)"vm";
	c.ram_bytes = 64 << 20;
	c.vcpus = 1;
	c.ram_fd = 4;
	if (n == 2)
		c.flash_fd = 6, c.flash_base = 0xffc00000, c.flash_bytes = 4096;
	bridge.model = (char *)"hostbridge";
	bridge.pci = 1;
	fwcfg.model = (char *)"fwcfg";
	fwcfg.n_key = 1;
	fwcfg.key = keys;
	key.name = (char *)(n ? "file0" : "dma");
	key.value = (char *)"off";
	key.fd = n == 1 ? 7 : 0;
	c.n_device = 2;
	c.device = dev;
	if (cleave__daemon_config__get_packed_size(&c) + 1 > cap)
		return 0;
	buf[0] = 7;
	return cleave__daemon_config__pack(&c, buf + 1) + 1;
}
