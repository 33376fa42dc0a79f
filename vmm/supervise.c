/*
 * vmm/supervise.c - starts, watches and ends the device model's process.
 *
 * Owns the process, its socket, the arena's memory and the descriptors of the
 * images and networks, all of which a successor will need again.  Knows no device: what the
 * configuration says is passed on.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc/fdpass.h"
#include "proto/config.pb-c.h"
#include "vmm/child.h"
#include "vmm/config.h"
#include "vmm/image.h"
#include "vmm/irq.h"
#include "vmm/link.h"
#include "vmm/mem.h"
#include "vmm/netback.h"
#include "vmm/supervise.h"
#include "vmm/vm.h"

enum { CONFIG_VERSION_NUMBER = 1, FRAME_MAX = 65536, READY_MS = 15000, END_MS = 10000 };

/* What is behind a key: an image, a network, or (fd -1) nothing. */
struct back_end {
	int fd;
	struct netback *net;
};

struct supervise {
	struct vm *vm;
	int daemon_fd;		/* the executable */
	int sock;		/* -1: no daemon */
	struct child child;
	int arena_fd;
	struct back_end *back;	/* by device and key, in order */
	unsigned nbacks;
	struct event *ended, *spoke;
	bool stopping;
};

/* ---- finding */

int supervise_find(const char *path, char *err, size_t errlen)
{
	const char *env = getenv("CLEAVED");
	int fd;

	if (!path && env && *env)
		path = env;
	fd = path ? child_open(path) : child_find("cleaved");
	if (fd < 0 && path)
		snprintf(err, errlen, "cannot use %s as the device model: %s", path, strerror(-fd));
	else if (fd < 0)
		snprintf(err, errlen, "cannot find the device model: %s/cleaved: %s (make install, or set CLEAVED)",
			 CLEAVE_LIBEXECDIR, strerror(-fd));
	return fd;
}

/* ---- its configuration */

struct message {
	Cleave__DaemonConfig config;
	Cleave__DeviceConfig *dev, **devp;
	Cleave__DeviceKey *key, **keyp;
	int fd[FDPASS_MAX];
	unsigned nfds;
};

/* Index of the descriptor in the message, or -1. */
static int pass(struct message *m, int fd)
{
	if (m->nfds == FDPASS_MAX)
		return -1;
	m->fd[m->nfds] = fd;
	return m->nfds++;
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
		key->fd = pass(m, b->fd) + 1;
		if (!key->fd)
			return -E2BIG;
	}
	return 0;
}

static void fill_head(struct supervise *s, struct message *m)
{
	const struct config *c = s->vm->config;
	int link[LINK_FDS];

	cleave__daemon_config__init(&m->config);
	m->config.version = CONFIG_VERSION_NUMBER;
	m->config.vm = s->vm->name;
	m->config.ram_bytes = mem_ram_bytes(s->vm->mem);
	m->config.vcpus = s->vm->nvcpus;
	m->config.uuid.data = (uint8_t *)c->uuid;
	m->config.uuid.len = sizeof(c->uuid);
	m->config.fresh = true;
	m->config.generation = link_client_link(s->vm->link)->generation;
	m->config.paused = s->vm->paused;
	m->config.clock_offset = s->vm->clock_offset;
	m->config.direct = c->kernel != NULL;
	m->config.apic = irq_has_apics(s->vm);
	m->config.hpet = s->vm->hpet != NULL;
	link_client_fds(s->vm->link, link);
	m->config.link_fd = pass(m, link[LINK_FD_MEMORY]);
	m->config.wake_fd = pass(m, link[LINK_FD_WAKE]);
	m->config.event_fd = pass(m, link[LINK_FD_EVENT]);
	m->config.relay_fd = pass(m, link[LINK_FD_RELAY]);
	m->config.ram_fd = pass(m, mem_ram_fd(s->vm->mem));
	m->config.arena_fd = pass(m, s->arena_fd);
	if (mem_flash_fd(s->vm->mem) < 0)
		return;
	m->config.flash_fd = pass(m, mem_flash_fd(s->vm->mem)) + 1;
	m->config.flash_base = mem_flash_base(s->vm->mem);
	m->config.flash_bytes = mem_flash_bytes(s->vm->mem);
}

static int send_config(struct supervise *s)
{
	const struct config *c = s->vm->config;
	unsigned nkeys = count_keys(c), keys = 0;
	struct message *m = calloc(1, sizeof(*m));
	uint8_t *frame = malloc(FRAME_MAX);
	int ret = -ENOMEM;

	if (!m || !frame)
		goto out;
	m->dev = calloc(c->ndevices + 1, sizeof(*m->dev));
	m->devp = calloc(c->ndevices + 1, sizeof(*m->devp));
	m->key = calloc(nkeys + 1, sizeof(*m->key));
	m->keyp = calloc(nkeys + 1, sizeof(*m->keyp));
	if (!m->dev || !m->devp || !m->key || !m->keyp)
		goto out;
	fill_head(s, m);
	ret = 0;
	for (unsigned i = 0; i < c->ndevices && !ret; i++) {
		m->devp[i] = &m->dev[i];
		ret = fill_device(m, &c->device[i], &m->dev[i], &keys, s->back);
	}
	m->config.device = m->devp;
	m->config.n_device = c->ndevices;
	if (!ret && cleave__daemon_config__get_packed_size(&m->config) > FRAME_MAX)
		ret = -EMSGSIZE;
	if (!ret)
		ret = fdpass_send(s->sock, frame, cleave__daemon_config__pack(&m->config, frame), m->fd, m->nfds);
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

static int open_net(struct supervise *s, const struct config_device *d, const struct config_key *key, struct back_end *b, char *err, size_t errlen)
{
	char title[80];
	struct netback_card card = { .vm = s->vm->name, .device = title };
	int ret;

	snprintf(title, sizeof(title), "%s@%u:%u", d->type->name, d->slot, d->func);
	for (unsigned k = 0; k < d->nkeys; k++)
		if (!strcmp(d->key[k].name, "mtu"))
			card.mtu = strtoul(d->key[k].value, NULL, 10);
	ret = netback_open(&b->net, s->vm->base, &card, key->value, err, errlen);
	if (!ret)
		b->fd = netback_fd(b->net);
	return ret;
}

static int open_back_end(struct supervise *s, const struct config_device *d, const struct config_key *key, struct back_end *b, char *err, size_t errlen)
{
	if (key->type == KEY_NET)
		return open_net(s, d, key, b, err, errlen);
	if ((key->type != KEY_PATH && key->type != KEY_ROM) || !*key->value)
		return 0;
	b->fd = image_open(key, err, errlen);
	return b->fd < 0 ? b->fd : 0;
}

static int open_back_ends(struct supervise *s, char *err, size_t errlen)
{
	const struct config *c = s->vm->config;
	unsigned n = 0;
	int ret = 0;

	if (s->back)
		return 0;
	s->nbacks = count_keys(c);
	s->back = malloc((s->nbacks + 1) * sizeof(*s->back));
	if (!s->back)
		return -ENOMEM;
	for (unsigned i = 0; i < s->nbacks; i++)
		s->back[i] = (struct back_end){ .fd = -1 };
	for (unsigned i = 0; i < c->ndevices && !ret; i++)
		for (unsigned k = 0; k < c->device[i].nkeys && !ret; k++, n++)
			ret = open_back_end(s, &c->device[i], &c->device[i].key[k], &s->back[n], err, errlen);
	return ret;
}

static void close_back_ends(struct supervise *s)
{
	for (unsigned i = 0; i < s->nbacks; i++) {
		if (s->back[i].net)
			netback_free(s->back[i].net);
		else if (s->back[i].fd >= 0)
			close(s->back[i].fd);
	}
	free(s->back);
}

/* The descriptor behind the first image of this PCI function, or -1. */
static int image_of(const struct supervise *s, unsigned slot, unsigned func)
{
	const struct config *c = s->vm->config;
	unsigned n = 0;

	for (unsigned i = 0; i < c->ndevices; i++)
		for (unsigned k = 0; k < c->device[i].nkeys; k++, n++) {
			const struct config_device *d = &c->device[i];

			if (s->back && n < s->nbacks && d->type->pci && !d->bus && d->slot == slot && d->func == func &&
			    d->key[k].type == KEY_PATH && s->back[n].fd >= 0)
				return s->back[n].fd;
		}
	return -1;
}

int supervise_grow(struct supervise *s, unsigned slot, unsigned func, uint64_t bytes, char *err, size_t errlen)
{
	int fd = image_of(s, slot, func), ret;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		snprintf(err, errlen, "slot %u:%u has no disk image", slot, func);
		return -ENXIO;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(err, errlen, "slot %u:%u: only files can be made larger: give no size after growing a device", slot, func);
		return -EINVAL;
	}
	if ((uint64_t)st.st_size > bytes) {
		snprintf(err, errlen, "slot %u:%u: the image has %lld bytes, and would lose some: to shrink it, use truncate(1) and give no size",
			 slot, func, (long long)st.st_size);
		return -EINVAL;
	}
	ret = ftruncate(fd, bytes) ? -errno : 0;
	if (ret)
		snprintf(err, errlen, "slot %u:%u: the image does not grow: %s", slot, func, strerror(-ret));
	return ret;
}

/* ---- the process */

static int spawn(struct supervise *s)
{
	static char *const argv[] = { (char *)"cleaved", (char *)"--socket=3", NULL };
	int sv[2], ret = fdpass_pair(sv);

	if (ret)
		return ret;
	ret = child_spawn(&s->child, s->daemon_fd, argv, &sv[1], 1);
	close(sv[1]);
	s->sock = sv[0];
	return ret;
}

static void drop(struct supervise *s)
{
	if (s->ended)
		event_free(s->ended);
	if (s->spoke)
		event_free(s->spoke);
	s->ended = s->spoke = NULL;
	if (s->sock >= 0)
		close(s->sock);
	s->sock = -1;
}

static void on_ended(evutil_socket_t fd, short what, void *arg)
{
	struct supervise *s = arg;
	char how[80], why[160];
	pid_t pid = s->child.pid;

	(void)fd, (void)what;
	child_reap(&s->child, 0, false, how, sizeof(how));
	drop(s);
	snprintf(why, sizeof(why), "the device model (process %d) %s", pid, how);
	link_client_lost(s->vm->link, why);
}

/* It has nothing more to say: end of file comes shortly before its end, anything else is nonsense. */
static void on_spoke(evutil_socket_t fd, short what, void *arg)
{
	struct supervise *s = arg;
	char byte;
	int got[1];
	unsigned ngot;

	(void)fd, (void)what;
	event_del(s->spoke);
	if (fdpass_recv(s->sock, &byte, 1, got, 0, &ngot, 0) == 0)
		return;
	kill(s->child.pid, SIGKILL);	/* reported when it has ended */
	link_client_lost(s->vm->link, "the device model broke the protocol: it spoke on its socket after it was ready");
}

static int watch(struct supervise *s)
{
	s->ended = event_new(s->vm->base, s->child.pidfd, EV_READ, on_ended, s);
	s->spoke = event_new(s->vm->base, s->sock, EV_READ, on_spoke, s);
	return s->ended && s->spoke && !event_add(s->ended, NULL) && !event_add(s->spoke, NULL) ? 0 : -ENOMEM;
}

/* ---- starting */

/* The daemon's sentence, for a terminal. */
static void printable(char *to, size_t n, const char *text)
{
	size_t i = 0;

	for (; text && *text && i + 1 < n; text++)
		to[i++] = (unsigned char)*text < ' ' || (unsigned char)*text == 0x7f ? ' ' : *text;
	to[i] = 0;
}

int supervise_judge(const uint8_t *frame, size_t n, char *err, size_t errlen)
{
	Cleave__DaemonReply *r = cleave__daemon_reply__unpack(NULL, n, frame);
	int ret = 0;

	if (!r) {
		snprintf(err, errlen, "the device model's answer makes no sense");
		return -EPROTO;
	}
	if (!r->ready) {
		printable(err, errlen, r->error);
		if (!*err)
			snprintf(err, errlen, "the device model refuses, and does not say why");
		ret = -ECANCELED;
	} else if (r->version != CONFIG_VERSION_NUMBER) {
		snprintf(err, errlen, "the device model speaks version %u of the configuration, this program %d: "
			 "are both of one build?", r->version, CONFIG_VERSION_NUMBER);
		ret = -EPROTO;
	}
	cleave__daemon_reply__free_unpacked(r, NULL);
	return ret;
}

static int wait_ready(struct supervise *s, char *err, size_t errlen)
{
	uint8_t *frame = malloc(FRAME_MAX);
	unsigned nfds = 0;
	ssize_t n;
	int none[1], ret;
	char how[80];

	if (!frame)
		return -ENOMEM;
	n = fdpass_recv(s->sock, frame, FRAME_MAX, none, 0, &nfds, READY_MS);
	if (n > 0) {
		ret = supervise_judge(frame, n, err, errlen);
	} else if (n == 0 || n == -ECONNRESET || n == -EPIPE) {
		child_reap(&s->child, 2000, true, how, sizeof(how));
		snprintf(err, errlen, "the device model did not start: it %s", how);
		ret = -EPIPE;
	} else if (n == -EAGAIN) {
		snprintf(err, errlen, "the device model is not ready after %d s", READY_MS / 1000);
		ret = -ETIMEDOUT;
	} else {
		snprintf(err, errlen, "the device model's answer makes no sense: %s", strerror(-n));
		ret = -EPROTO;
	}
	free(frame);
	return ret;
}

/* From a process to a running generation. */
static int introduce(struct supervise *s, char *err, size_t errlen)
{
	char link_err[LINK_ERR] = "", how[80];
	int ret = send_config(s);

	if (ret == -EPIPE || ret == -ECONNRESET) {
		child_reap(&s->child, 2000, true, how, sizeof(how));
		snprintf(err, errlen, "the device model did not start: it %s", how);
		return ret;
	}
	if (ret) {
		snprintf(err, errlen, "cannot tell the device model its configuration: %s", strerror(-ret));
		return ret;
	}
	ret = wait_ready(s, err, errlen);
	if (ret)
		return ret;
	ret = link_client_accept(s->vm->link, link_err);
	if (ret) {
		snprintf(err, errlen, "the device model cannot be used: %s", *link_err ? link_err : strerror(-ret));
		return ret;
	}
	/* Nobody takes the arena away under its reader. */
	fcntl(s->arena_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	return watch(s);
}

int supervise_start(struct supervise *s, char *err, size_t errlen)
{
	char link_err[LINK_ERR] = "", how[80];
	int ret;

	*err = 0;
	ret = open_back_ends(s, err, errlen);
	if (!ret && s->arena_fd < 0) {
		s->arena_fd = memfd_create("cleave-arena", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		ret = s->arena_fd < 0 ? -errno : 0;
	}
	if (!ret) {
		ret = link_client_open(s->vm->link, link_err);
		if (ret)
			snprintf(err, errlen, "%s", link_err);
		else if (s->vm->config->spin == SPIN_OFF)
			link_client_link(s->vm->link)->may_spin = false;
	}
	if (!ret)
		ret = spawn(s);
	if (!ret)
		ret = introduce(s, err, errlen);
	if (!ret)
		return 0;
	if (!*err)
		snprintf(err, errlen, "cannot start the device model: %s", strerror(-ret));
	drop(s);
	child_reap(&s->child, 0, true, how, sizeof(how));
	return ret;
}

void supervise_stop(struct supervise *s)
{
	char how[80];

	if (s->child.pid <= 0)
		return;
	if (s->ended)
		event_del(s->ended);
	if (s->spoke)
		event_del(s->spoke);
	close(s->sock);
	s->sock = -1;
	child_reap(&s->child, END_MS, true, how, sizeof(how));
	drop(s);
}

int supervise_new(struct supervise **out, struct vm *vm, int daemon_fd)
{
	struct supervise *s = calloc(1, sizeof(*s));

	*out = s;
	if (!s)
		return -ENOMEM;
	*s = (struct supervise){ .vm = vm, .daemon_fd = daemon_fd, .sock = -1, .child.pidfd = -1, .arena_fd = -1 };
	return 0;
}

void supervise_free(struct supervise *s)
{
	if (!s)
		return;
	supervise_stop(s);
	drop(s);
	close_back_ends(s);
	if (s->arena_fd >= 0)
		close(s->arena_fd);
	close(s->daemon_fd);
	free(s);
}

pid_t supervise_pid(const struct supervise *s)
{
	return s->child.pid;
}
