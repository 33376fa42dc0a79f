/*
 * ctl/client.c - the connection to one machine's control socket.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl/ctl.h"
#include "proto/frame.h"
#include "proto/rundir.h"

enum { ANSWER_MS = 60000 };

static struct ctl_hello greeting;

int ctl_error(int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	fprintf(stderr, "cleavectl: ");
	vfprintf(stderr, fmt, ap);
	fprintf(stderr, "\n");
	va_end(ap);
	return error < 0 ? error : -error;
}

bool ctl_number(const char *text, uint64_t max, uint64_t *value)
{
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 0);
	return !errno && !*end && *value <= max;
}

bool ctl_slot(const char **text, uint32_t *slot, uint32_t *function)
{
	int used = 0;

	*function = 0;
	if (sscanf(*text, "%2u%n", slot, &used) != 1)
		return false;
	*text += used;
	if (**text == ':') {
		if (sscanf(*text, ":%1u%n", function, &used) != 1)
			return false;
		*text += used;
	}
	return !**text || **text == ',';
}

const struct ctl_hello *ctl_hello(void)
{
	return &greeting;
}

void ctl_close(struct ctl *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
}

/* One frame each way, without judging the answer. */
static Cleave__Response *exchange(struct ctl *c, Cleave__Request *q)
{
	uint8_t *frame = malloc(FRAME_LIMIT);
	Cleave__Response *r = NULL;
	ssize_t n = -ENOMEM;
	size_t size;

	q->id = ++c->id;
	size = cleave__request__get_packed_size(q);
	if (frame && size <= FRAME_LIMIT)
		n = frame_write(c->fd, frame, cleave__request__pack(q, frame));
	else if (frame)
		n = -EMSGSIZE;
	if (!n)
		n = frame_read(c->fd, frame, FRAME_LIMIT, ANSWER_MS);
	if (n > 0)
		r = cleave__response__unpack(NULL, n, frame);
	free(frame);
	if (r && (r->id == q->id || !r->id))
		return r;
	if (r)
		cleave__response__free_unpacked(r, NULL);
	if (n == 0)
		ctl_error(EPIPE, "%s: the machine closed the connection (it ends, or serves another user)", c->vm);
	else
		ctl_error(EPROTO, "%s: no answer that makes sense: %s", c->vm, n < 0 ? strerror(-n) : "not a control message");
	ctl_close(c);
	return NULL;
}

Cleave__Response *ctl_call(struct ctl *c, Cleave__Request *q)
{
	Cleave__Response *r;

	if (c->fd < 0 && ctl_connect(c))
		return NULL;
	r = exchange(c, q);
	if (!r || !r->error)
		return r;
	ctl_error(r->error, "%s: %s", c->vm, r->text && *r->text ? r->text : strerror(r->error));
	cleave__response__free_unpacked(r, NULL);
	return NULL;
}

static void keep_greeting(const Cleave__Hello *h)
{
	greeting = (struct ctl_hello){ .pid = h->pid, .daemon_pid = h->daemon_pid, .cpus = h->cpus };
	snprintf(greeting.engine, sizeof(greeting.engine), "%s", h->engine);
	snprintf(greeting.engine_why, sizeof(greeting.engine_why), "%s", h->engine_why);
}

static int say_hello(struct ctl *c)
{
	Cleave__Hello hello = CLEAVE__HELLO__INIT;
	Cleave__Request q = CLEAVE__REQUEST__INIT;
	Cleave__Response *r;
	int ret = 0;

	hello.version = CONTROL_VERSION;
	hello.oldest = CONTROL_OLDEST;
	hello.program = (char *)"cleavectl " CLEAVE_VERSION;
	q.what_case = CLEAVE__REQUEST__WHAT_HELLO;
	q.hello = &hello;
	r = ctl_call(c, &q);
	if (!r)
		return -EPROTO;
	if (r->what_case != CLEAVE__RESPONSE__WHAT_HELLO || frame_version(r->hello->version, r->hello->version) < 0)
		ret = ctl_error(EPROTO, "%s: that is no machine's control socket", c->vm);
	else
		keep_greeting(r->hello);
	cleave__response__free_unpacked(r, NULL);
	return ret;
}

int ctl_connect(struct ctl *c)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	char err[400];
	int ret;

	if (!c->vm)
		return ctl_error(EINVAL, "which machine? --vm=NAME (cleavectl alone lists them)");
	if (rundir_path(c->vm, c->dir, sizeof(c->dir), err, sizeof(err)) ||
	    rundir_file(c->dir, "control", un.sun_path, sizeof(un.sun_path), err, sizeof(err)))
		return ctl_error(EINVAL, "%s", err);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return ctl_error(errno, "cannot make a socket: %s", strerror(errno));
	if (connect(c->fd, (struct sockaddr *)&un, sizeof(un)) < 0) {
		ret = -errno;
		ctl_close(c);
		if (ret == -ENOENT || ret == -ECONNREFUSED)
			return ctl_error(ret, "no machine named %s runs (cleavectl alone lists those that do)", c->vm);
		return ctl_error(ret, "cannot reach %s: %s", un.sun_path, strerror(-ret));
	}
	ret = say_hello(c);
	if (ret)
		ctl_close(c);
	return ret;
}
