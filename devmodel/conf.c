/*
 * conf.c - configuration messages in, replies and device list out (conf.h).
 */
#include "devmodel/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/fdpass.h"
#include "proto/config.pb-c.h"

/* Which descriptors of the message have been given a meaning. */
struct fds {
	const int *fd;
	unsigned n;
	uint64_t used;
};

_Static_assert(FDPASS_MAX <= 64, "one bit a descriptor");

/* Each has one meaning: two owners would close it twice. */
static int claim(struct fds *f, uint32_t index)
{
	if (index >= f->n || f->used & 1ull << index)
		return -1;
	f->used |= 1ull << index;
	return f->fd[index];
}

static bool convert_key(struct fds *f, const Cleave__DeviceKey *from, struct conf_key *to)
{
	*to = (struct conf_key){ .name = from->name, .value = from->value, .fd = -1, .stream = -1 };
	if (from->stream) {
		if (from->stream > LINK_STREAMS)
			return false;
		to->stream = from->stream - 1;
	}
	if (from->fd) {
		to->fd = claim(f, from->fd - 1);
		return to->fd >= 0;
	}
	return true;
}

static bool convert_dev(struct fds *f, const Cleave__DeviceConfig *from, struct conf_dev *to, struct conf_key *key)
{
	if (from->bus > 255 || from->slot > 255 || from->function > 255)
		return false;
	*to = (struct conf_dev){ .model = from->model, .pci = from->pci, .bus = from->bus, .slot = from->slot,
				 .function = from->function, .nkeys = from->n_key, .key = key };
	for (size_t i = 0; i < from->n_key; i++)
		if (!convert_key(f, from->key[i], &key[i]))
			return false;
	return true;
}

static bool convert_devs(struct conf *c, struct fds *f, const Cleave__DaemonConfig *m)
{
	size_t nkeys = 0, k = 0;

	for (size_t i = 0; i < m->n_device; i++)
		nkeys += m->device[i]->n_key;
	c->dev = calloc(m->n_device + 1, sizeof(*c->dev));
	c->key = calloc(nkeys + 1, sizeof(*c->key));
	if (!c->dev || !c->key)
		return false;
	for (size_t i = 0; i < m->n_device; i++) {
		if (!convert_dev(f, m->device[i], &c->dev[i], &c->key[k]))
			return false;
		k += m->device[i]->n_key;
	}
	return true;
}

static bool convert(struct conf *c, struct fds *f)
{
	const Cleave__DaemonConfig *m = c->msg;

	c->ram_fd = claim(f, m->ram_fd);
	c->flash_fd = m->flash_fd ? claim(f, m->flash_fd - 1) : -1;
	if (c->ram_fd < 0 || (m->flash_fd && c->flash_fd < 0) || !convert_devs(c, f, m))
		return false;
	c->standby = m->standby;
	c->machine = (struct conf_machine){
		.vm = m->vm, .ram_bytes = m->ram_bytes, .vcpus = m->vcpus, .ndevs = m->n_device, .dev = c->dev,
		.apic = m->apic, .hpet = m->hpet, .direct = m->direct };
	if (c->flash_fd >= 0) {
		c->machine.flash_base = m->flash_base;
		c->machine.flash_bytes = m->flash_bytes;
	}
	if (m->uuid.len == sizeof(c->machine.uuid)) {
		memcpy(c->machine.uuid, m->uuid.data, m->uuid.len);
		c->machine.has_uuid = true;
	}
	return m->uuid.len == 0 || c->machine.has_uuid;
}

static bool convert_turn(struct conf *c, struct fds *f, const Cleave__DaemonTurn *t)
{
	struct conf_machine *m = &c->machine;
	int link[LINK_FDS];

	link[LINK_FD_MEMORY] = claim(f, t->link_fd);
	link[LINK_FD_WAKE] = claim(f, t->wake_fd);
	link[LINK_FD_EVENT] = claim(f, t->event_fd);
	link[LINK_FD_RELAY] = claim(f, t->relay_fd);
	link[LINK_FD_KICK] = claim(f, t->kick_fd);
	c->arena_fd = claim(f, t->arena_fd);
	c->tried_fd = t->tried_fd ? claim(f, t->tried_fd - 1) : -1;
	c->state_fd = t->state_fd ? claim(f, t->state_fd - 1) : -1;
	for (unsigned i = 0; i < LINK_FDS; i++)
		if (link[i] < 0)
			return false;
	if (c->arena_fd < 0 || (t->tried_fd && c->tried_fd < 0) || (t->state_fd && c->state_fd < 0) || t->n_asked > ARENA_RINGS)
		return false;
	memcpy(c->link_fd, link, sizeof(link));
	m->fresh = t->fresh;
	m->at_fault = t->at_fault;
	m->generation = t->generation;
	m->paused = t->paused;
	m->clock_offset = t->clock_offset;
	m->events = t->events;
	for (size_t i = 0; i < t->n_asked; i++)
		m->asked[i] = t->asked[i];
	return true;
}

/* All of them are closed, or (`good`) those that nothing was said of. */
static void close_fds(const struct fds *f, bool good)
{
	for (unsigned i = 0; i < f->n; i++)
		if (!good || !(f->used & 1ull << i))
			close(f->fd[i]);
}

int conf_parse(struct conf *c, const void *frame, size_t n, const int *fd, unsigned nfds, char *err, size_t errlen)
{
	struct fds f = { .fd = fd, .n = nfds };
	const char *why = NULL;

	*c = (struct conf){ 0 };
	c->msg = cleave__daemon_config__unpack(NULL, n, frame);
	if (!c->msg)
		why = "it is no configuration message";
	else if (((Cleave__DaemonConfig *)c->msg)->version != CONF_VERSION)
		why = "cleave and cleaved are of different versions: install both from one build";
	else if (!convert(c, &f))
		why = "it names descriptors or streams that were not sent";
	close_fds(&f, !why);
	if (!why)
		return 0;
	snprintf(err, errlen, "the configuration cannot be used: %s", why);
	conf_free(c);
	return -EINVAL;
}

int conf_turn(struct conf *c, const void *frame, size_t n, const int *fd, unsigned nfds, char *err, size_t errlen)
{
	Cleave__DaemonTurn *t = cleave__daemon_turn__unpack(NULL, n, frame);
	struct fds f = { .fd = fd, .n = nfds };
	bool good = t && convert_turn(c, &f, t);

	close_fds(&f, good);
	if (!good)
		snprintf(err, errlen, "its turn makes no sense to the device model: %s",
			 t ? "it names descriptors or rings that there are not" : "it is no message");
	if (t)
		cleave__daemon_turn__free_unpacked(t, NULL);
	return good ? 0 : -EINVAL;
}

void conf_free(struct conf *c)
{
	if (c->msg)
		cleave__daemon_config__free_unpacked(c->msg, NULL);
	free(c->dev);
	free(c->key);
	*c = (struct conf){ 0 };
}

static int reply(int sock, Cleave__DaemonReply *r, const struct sandbox *sandbox)
{
	uint8_t frame[1024];

	r->version = CONF_VERSION;
	r->sandbox = (int32_t *)sandbox->state;
	r->n_sandbox = SANDBOX_MEASURES;
	if (cleave__daemon_reply__get_packed_size(r) > sizeof(frame))
		r->error = (char *)"the device model failed, and its reason is too long to send";
	return fdpass_send(sock, frame, cleave__daemon_reply__pack(r, frame), NULL, 0);
}

int conf_reply(int sock, const char *error, uint32_t features, uint64_t arena_bytes, const struct sandbox *sandbox)
{
	Cleave__DaemonReply r = CLEAVE__DAEMON_REPLY__INIT;

	r.ready = !error;
	r.error = (char *)(error ? error : "");
	r.features = features;
	r.arena_bytes = arena_bytes;
	return reply(sock, &r, sandbox);
}

int conf_reply_wants_state(int sock, const char *error, const struct sandbox *sandbox)
{
	Cleave__DaemonReply r = CLEAVE__DAEMON_REPLY__INIT;

	r.error = (char *)error;
	r.wants_state = true;
	return reply(sock, &r, sandbox);
}

int conf_reply_standing_by(int sock, const struct sandbox *sandbox)
{
	Cleave__DaemonReply r = CLEAVE__DAEMON_REPLY__INIT;

	r.standing_by = true;
	return reply(sock, &r, sandbox);
}

void conf_list_devices(void)
{
	static const char *const type[DEV_KEY_TYPES] = {
		[DEV_KEY_TEXT] = "text", [DEV_KEY_PATH] = "path", [DEV_KEY_ROM] = "rom", [DEV_KEY_CHR] = "chr", [DEV_KEY_NET] = "net",
	};

	for (unsigned i = 0; devices[i]; i++) {
		const struct dev_ops *d = devices[i];

		printf("%s\t%s%s%s%s\t%s\n", d->name, d->pci ? "pci" : "lpc", d->implied ? ",implied" : "",
		       d->implied && *d->implied ? "=" : "", d->implied ? d->implied : "", d->summary);
		for (const struct dev_key *k = d->keys; k && k->name; k++)
			printf("%s %s\t%s\t%s\n", d->name, k->name, type[k->type], k->help);
	}
}
