/*
 * tests/fuzz/fuzz_conf.c - the daemon's configuration message, with descriptors.
 *
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap);

/* Plans the machine as main() would, and gives up what the configuration owns. */
static void use(struct conf *c)
{
	struct arena_plan plan[ARENA_MAX_DEVS];
	char err[256];

	if (!machine_plan(&c->machine, plan, err, sizeof(err)))
		arena_size(plan, c->machine.ndevs);
	for (unsigned i = 0; i < LINK_FDS; i++)
		close(c->link_fd[i]);
	close(c->ram_fd);
	close(c->arena_fd);
	if (c->flash_fd >= 0)
		close(c->flash_fd);
	for (unsigned i = 0; i < c->machine.ndevs; i++)
		for (unsigned k = 0; k < c->machine.dev[i].nkeys; k++)
			if (c->machine.dev[i].key[k].fd >= 0)
				close(c->machine.dev[i].key[k].fd);
	conf_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned nfds = size ? data[0] % 12 : 0;
	int fd[12], first = open("/dev/null", O_RDONLY | O_CLOEXEC), last;
	struct conf c;
	char err[256] = "";

	for (unsigned i = 0; i < nfds; i++)
		fd[i] = dup(first);
	if (size)
		data++, size--;
	if (!conf_parse(&c, data, size, fd, nfds, err, sizeof(err)))
		use(&c);
	else if (!err[0])
		abort();
	last = dup(first);	/* the lowest free number: all others are closed */
	if (last != first + 1)
		abort();
	close(last);
	close(first);
	return 0;
}

/* A good configuration to start from. */
size_t fuzz_seed(unsigned n, uint8_t *buf, size_t cap)
{
	Cleave__DaemonConfig c = CLEAVE__DAEMON_CONFIG__INIT;
	Cleave__DeviceConfig bridge = CLEAVE__DEVICE_CONFIG__INIT, fwcfg = CLEAVE__DEVICE_CONFIG__INIT, *dev[] = { &bridge, &fwcfg };
	Cleave__DeviceKey key = CLEAVE__DEVICE_KEY__INIT, *keys[] = { &key };

	if (n > 2)
		return 0;
	c.version = 1;
	c.vm = (char *)"vm";
	c.ram_bytes = 64 << 20;
	c.vcpus = 1;
	c.fresh = 1;
	c.link_fd = 0, c.wake_fd = 1, c.event_fd = 2, c.relay_fd = 3, c.ram_fd = 4, c.arena_fd = 5, c.kick_fd = 7;
	if (n == 2)
		c.flash_fd = 7, c.flash_base = 0xffc00000, c.flash_bytes = 4096;
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
