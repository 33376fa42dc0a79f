/*
 * vmm/introduce.c - what a new device model is told and given: the machine's
 * configuration, the shared memories, the descriptors behind its devices' keys.
 *
 * Owns the back ends: images and networks, opened once and passed to every
 * generation.  Knows no device: what the configuration says is passed on.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/fdpass.h"
#include "proto/config.pb-c.h"
#include "vmm/config.h"
#include "vmm/image.h"
#include "vmm/introduce.h"
#include "vmm/irq.h"
#include "vmm/link.h"
#include "vmm/mem.h"
#include "vmm/netback.h"
#include "vmm/vm.h"

struct message {
	Cleave__DaemonConfig config;
	Cleave__DeviceConfig *dev, **devp;
	Cleave__DeviceKey *key, **keyp;
	struct fds {
		int fd[FDPASS_MAX];
		unsigned n;
	} fds;
};

/* Index of the descriptor in the message, or -1. */
static int pass(struct fds *f, int fd)
{
	if (f->n == FDPASS_MAX)
		return -1;
	f->fd[f->n] = fd;
	return f->n++;
}

static unsigned count_keys(const struct config *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->ndevices; i++)
		n += c->device[i].nkeys;
	return n;
}

static int fill_device(struct message *m, const struct config_device *d, Cleave__DeviceConfig *to, unsigned *keys, const struct back_end *back)
{
	cleave__device_config__init(to);
	to->model = d->type->name;
	to->pci = d->type->pci;
	to->bus = d->bus;
	to->slot = d->slot;
	to->function = d->func;
	to->key = &m->keyp[*keys];
	to->n_key = d->nkeys;
	for (unsigned k = 0; k < d->nkeys; k++, ++*keys) {
		Cleave__DeviceKey *key = &m->key[*keys];
		const struct back_end *b = &back[*keys];

		cleave__device_key__init(key);
		m->keyp[*keys] = key;
		key->name = d->key[k].name;
		key->value = b->net ? (char *)netback_kind(b->net) : b->fd >= 0 ? (char *)"" : d->key[k].value;	/* a path stays here */
		key->stream = d->key[k].stream + 1;
		if (b->fd < 0)
			continue;
		key->fd = pass(&m->fds, b->fd) + 1;
		if (!key->fd)
			return -E2BIG;
	}
	return 0;
}

static void fill_head(struct message *m, const struct vm *vm, bool standby)
{
	const struct config *c = vm->config;

	cleave__daemon_config__init(&m->config);
	m->config.version = INTRODUCE_VERSION;
	m->config.vm = (char *)vm->name;
	m->config.ram_bytes = mem_ram_bytes(vm->mem);
	m->config.ram_fd = pass(&m->fds, mem_ram_fd(vm->mem));
	m->config.vcpus = vm->nvcpus;
	m->config.uuid.data = (uint8_t *)c->uuid;
	m->config.uuid.len = sizeof(c->uuid);
	m->config.direct = c->kernel != NULL;
	m->config.apic = irq_has_apics(vm);
	m->config.hpet = vm->hpet != NULL;
	m->config.standby = standby;
	if (mem_flash_fd(vm->mem) < 0)
		return;
	m->config.flash_fd = pass(&m->fds, mem_flash_fd(vm->mem)) + 1;
	m->config.flash_base = mem_flash_base(vm->mem);
	m->config.flash_bytes = mem_flash_bytes(vm->mem);
}

int introduce_machine(int sock, const struct vm *vm, const struct back_ends *back, bool standby)
{
	const struct config *c = vm->config;
	unsigned nkeys = count_keys(c), keys = 0;
	struct message *m = calloc(1, sizeof(*m));
	uint8_t *frame = malloc(INTRODUCE_FRAME);
	int ret = -ENOMEM;

	if (!m || !frame)
		goto out;
	m->dev = calloc(c->ndevices + 1, sizeof(*m->dev));
	m->devp = calloc(c->ndevices + 1, sizeof(*m->devp));
	m->key = calloc(nkeys + 1, sizeof(*m->key));
	m->keyp = calloc(nkeys + 1, sizeof(*m->keyp));
	if (!m->dev || !m->devp || !m->key || !m->keyp)
		goto out;
	fill_head(m, vm, standby);
	ret = 0;
	for (unsigned i = 0; i < c->ndevices && !ret; i++) {
		m->devp[i] = &m->dev[i];
		ret = fill_device(m, &c->device[i], &m->dev[i], &keys, back->end);
	}
	m->config.device = m->devp;
	m->config.n_device = c->ndevices;
	if (!ret && cleave__daemon_config__get_packed_size(&m->config) > INTRODUCE_FRAME)
		ret = -EMSGSIZE;
	if (!ret)
		ret = fdpass_send(sock, frame, cleave__daemon_config__pack(&m->config, frame), m->fds.fd, m->fds.n);
out:
	if (m) {
		free(m->dev);
		free(m->devp);
		free(m->key);
		free(m->keyp);
	}
	free(m);
	free(frame);
	return ret;
}

int introduce_turn(int sock, const struct turn *t)
{
	struct link_client *client = t->vm->link;
	uint64_t asked[LINK_MAX_VCPUS + 1];
	uint8_t frame[16 * (LINK_MAX_VCPUS + 1) + 256];
	Cleave__DaemonTurn m = CLEAVE__DAEMON_TURN__INIT;
	struct fds fds = { .n = 0 };
	int link[LINK_FDS];

	m.fresh = t->fresh;
	m.at_fault = t->at_fault;
	m.generation = link_client_link(client)->generation;
	m.paused = t->vm->paused;
	m.clock_offset = t->vm->clock_offset;
	m.events = link_client_events(client);
	m.asked = asked;
	m.n_asked = t->vm->nvcpus + 1;
	for (unsigned n = 0; n <= t->vm->nvcpus; n++)
		asked[n] = link_client_asked(client, n);
	link_client_fds(client, link);
	m.link_fd = pass(&fds, link[LINK_FD_MEMORY]);
	m.wake_fd = pass(&fds, link[LINK_FD_WAKE]);
	m.event_fd = pass(&fds, link[LINK_FD_EVENT]);
	m.relay_fd = pass(&fds, link[LINK_FD_RELAY]);
	m.kick_fd = pass(&fds, link[LINK_FD_KICK]);
	m.arena_fd = pass(&fds, t->arena_fd);
	m.tried_fd = t->tried_fd < 0 ? 0 : pass(&fds, t->tried_fd) + 1;
	m.state_fd = t->state_fd < 0 ? 0 : pass(&fds, t->state_fd) + 1;
	return fdpass_send(sock, frame, cleave__daemon_turn__pack(&m, frame), fds.fd, fds.n);
}

static int open_net(struct vm *vm, const struct config_device *d, const struct config_key *key, struct back_end *b, char *err, size_t errlen)
{
	char title[80];
	struct netback_card card = { .vm = vm->name, .device = title };
	int ret;

	config_device_name(d, title, sizeof(title));
	for (unsigned k = 0; k < d->nkeys; k++)
		if (!strcmp(d->key[k].name, "mtu"))
			card.mtu = strtoul(d->key[k].value, NULL, 10);
	ret = netback_open(&b->net, vm->base, &card, key->value, err, errlen);
	if (!ret)
		b->fd = netback_fd(b->net);
	return ret;
}

static int open_back_end(struct vm *vm, const struct config_device *d, const struct config_key *key, struct back_end *b, char *err, size_t errlen)
{
	if (key->type == KEY_NET)
		return open_net(vm, d, key, b, err, errlen);
	if ((key->type != KEY_PATH && key->type != KEY_ROM) || !*key->value)
		return 0;
	b->fd = image_open(key, err, errlen);
	return b->fd < 0 ? b->fd : 0;
}

int back_ends_open(struct back_ends *b, struct vm *vm, char *err, size_t errlen)
{
	const struct config *c = vm->config;
	unsigned n = 0;
	int ret = 0;

	if (b->end)
		return 0;
	b->n = count_keys(c);
	b->end = malloc((b->n + 1) * sizeof(*b->end));
	if (!b->end)
		return -ENOMEM;
	for (unsigned i = 0; i < b->n; i++)
		b->end[i] = (struct back_end){ .fd = -1 };
	for (unsigned i = 0; i < c->ndevices && !ret; i++)
		for (unsigned k = 0; k < c->device[i].nkeys && !ret; k++, n++)
			ret = open_back_end(vm, &c->device[i], &c->device[i].key[k], &b->end[n], err, errlen);
	return ret;
}

void back_ends_close(struct back_ends *b)
{
	for (unsigned i = 0; i < b->n; i++) {
		if (b->end[i].net)
			netback_free(b->end[i].net);
		else if (b->end[i].fd >= 0)
			close(b->end[i].fd);
	}
	free(b->end);
	*b = (struct back_ends){ 0 };
}

int back_ends_image(const struct back_ends *b, const struct config *c, unsigned slot, unsigned func)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->ndevices; i++)
		for (unsigned k = 0; k < c->device[i].nkeys; k++, n++) {
			const struct config_device *d = &c->device[i];

			if (n < b->n && d->type->pci && !d->bus && d->slot == slot && d->func == func &&
			    d->key[k].type == KEY_PATH && b->end[n].fd >= 0)
				return b->end[n].fd;
		}
	return -1;
}
