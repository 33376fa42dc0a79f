/*
 * vmm/gdbserve.c - the debugger's socket, and the machine as gdb.c wants it.
 *
 * One client at a time; a second is turned away.  Main thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmm/gdb.h"
#include "vmm/inout.h"
#include "vmm/mem.h"
#include "vmm/vm.h"

struct gdb {
	struct vm *vm;
	struct evconnlistener *listener;
	struct bufferevent *client;
	struct gdb_session *session;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
};

/* ---- the machine */

static int target_stop(void *arg)
{
	struct gdb *g = arg;

	return g->vm->ended ? -EPIPE : vm_pause(g->vm);
}

static void target_resume(void *arg)
{
	struct gdb *g = arg;

	vm_resume(g->vm);
}

static struct vcpu *vcpu_of(void *arg, unsigned n)
{
	return &((struct gdb *)arg)->vm->vcpu[n];
}

static void target_get(void *arg, unsigned n, struct x86_state *s)
{
	vcpu_of(arg, n)->engine->get_state(vcpu_of(arg, n), s);
}

static int target_set(void *arg, unsigned n, const struct x86_state *s)
{
	if (inout_active(vcpu_of(arg, n)))
		return -EBUSY;		/* it waits for the device model, in the middle of an instruction */
	return vcpu_of(arg, n)->engine->set_state(vcpu_of(arg, n), s);
}

/* Bytes at `lin` up to its page's end. */
static size_t piece(uint64_t lin, size_t n)
{
	size_t room = MEM_PAGE - (lin & (MEM_PAGE - 1));

	return n < room ? n : room;
}

static int target_read(void *arg, unsigned n, uint64_t lin, void *data, size_t len)
{
	struct vcpu *v = vcpu_of(arg, n);
	uint8_t *to = data;
	uint64_t gpa;

	for (size_t k; len; len -= k, lin += k, to += k) {
		k = piece(lin, len);
		if (v->engine->translate(v, lin, &gpa) || !mem_copy_from(v->vm->mem, gpa, to, k))
			return -EFAULT;
	}
	return 0;
}

static int target_write(void *arg, unsigned n, uint64_t lin, const void *data, size_t len)
{
	struct vcpu *v = vcpu_of(arg, n);
	const uint8_t *from = data;
	uint64_t gpa;

	for (size_t k; len; len -= k, lin += k, from += k) {
		k = piece(lin, len);
		if (v->engine->translate(v, lin, &gpa) || !mem_copy_to(v->vm->mem, gpa, from, k))
			return -EFAULT;
		v->engine->code_changed(v->vm, gpa, k);
	}
	return 0;
}

static struct vcpu_debug *target_debug(void *arg, unsigned n)
{
	return &vcpu_of(arg, n)->debug;
}

static int target_debug_changed(void *arg)
{
	struct gdb *g = arg;
	int ret = 0;

	for (unsigned i = 0; i < g->vm->nvcpus; i++) {
		int err = g->vm->vcpu[i].engine->debug_changed(&g->vm->vcpu[i]);

		ret = ret ? ret : err;
	}
	return ret;
}

static void target_kill(void *arg)
{
	struct gdb *g = arg;

	vm_request(g->vm, VM_REQUEST_POWEROFF, 0, NULL);
}

static void target_send(void *arg, const void *data, size_t n)
{
	struct gdb *g = arg;
	ssize_t done = 0;

	if (!g->client)
		return;
	/* At once, if it can be: the last answer before the connection is closed. */
	if (!evbuffer_get_length(bufferevent_get_output(g->client)))
		done = send(bufferevent_getfd(g->client), data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (done < 0)
		done = 0;
	if ((size_t)done < n)
		bufferevent_write(g->client, (const char *)data + done, n - done);
}

static void on_stop(evutil_socket_t fd, short what, void *arg)
{
	struct gdb *g = arg;

	(void)fd, (void)what;
	for (unsigned i = 0; g->session && !g->vm->ended && i < g->vm->nvcpus; i++) {
		if (vm_pause(g->vm))
			break;
		if (g->vm->vcpu[i].debug.why != STOP_NONE) {
			gdb_session_stopped(g->session, i);
			return;
		}
	}
	if (!g->session)
		vm_unpark(g->vm);
}

/* ---- the client */

static void drop(struct gdb *g)
{
	struct gdb_session *s = g->session;

	g->session = NULL;
	gdb_session_free(s);
	if (g->client)
		bufferevent_free(g->client);
	g->client = NULL;
}

static void on_read(struct bufferevent *client, void *arg)
{
	struct gdb *g = arg;
	uint8_t data[4096];
	size_t n;

	while ((n = bufferevent_read(client, data, sizeof(data))) > 0)
		if (!gdb_session_input(g->session, data, n)) {
			drop(g);
			return;
		}
}

static void on_event(struct bufferevent *client, short what, void *arg)
{
	(void)client;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		drop(arg);
}

static const struct gdb_target target = {
	.stop = target_stop, .resume = target_resume, .get = target_get, .set = target_set,
	.read = target_read, .write = target_write, .debug = target_debug, .debug_changed = target_debug_changed,
	.kill = target_kill, .send = target_send,
};

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len, void *arg)
{
	struct gdb *g = arg;
	struct gdb_target t = target;

	(void)l, (void)sa, (void)len;
	t.arg = g;
	t.nvcpus = g->vm->nvcpus;
	if (!g->session)
		g->session = gdb_session_new(&t);
	else
		t.arg = NULL;
	if (!g->session || !t.arg) {
		close(fd);
		return;
	}
	g->client = bufferevent_socket_new(g->vm->base, fd, BEV_OPT_CLOSE_ON_FREE);
	if (!g->client) {
		close(fd);
		drop(g);
		return;
	}
	bufferevent_setcb(g->client, on_read, NULL, on_event, g);
	bufferevent_enable(g->client, EV_READ | EV_WRITE);
}

/* ---- the listener */

static int parse_tcp(const char *where, struct sockaddr_in *to)
{
	const char *colon = strrchr(where, ':');
	char addr[INET_ADDRSTRLEN] = "127.0.0.1", *end;
	unsigned long port;

	if (colon && (size_t)(colon - where) >= sizeof(addr))
		return -EINVAL;
	if (colon && colon != where)
		snprintf(addr, sizeof(addr), "%.*s", (int)(colon - where), where);
	where = colon ? colon + 1 : where;
	port = strtoul(where, &end, 10);
	*to = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port) };
	return *where >= '0' && *where <= '9' && !*end && port && port < 65536 && inet_pton(AF_INET, addr, &to->sin_addr) == 1 ? 0 : -EINVAL;
}

static int listen_at(struct gdb *g, const char *where, char *err, size_t errlen)
{
	union { struct sockaddr sa; struct sockaddr_in in; struct sockaddr_un un; } at = { 0 };
	socklen_t len = sizeof(at.in);
	struct stat st;

	if (*where == '/') {
		if (strlen(where) >= sizeof(at.un.sun_path))
			return -ENAMETOOLONG;
		at.un.sun_family = AF_UNIX;
		strcpy(at.un.sun_path, where);
		len = sizeof(at.un);
		if (!lstat(where, &st) && S_ISSOCK(st.st_mode))
			unlink(where);
		strcpy(g->path, where);
	} else if (parse_tcp(where, &at.in)) {
		snprintf(err, errlen, "-G %.60s: want [w][ADDRESS:]PORT or [w]/PATH", where);
		return -EINVAL;
	}
	g->listener = evconnlistener_new_bind(g->vm->base, on_accept, g, LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC | LEV_OPT_REUSEABLE,
					      1, &at.sa, len);
	if (g->listener)
		return 0;
	*g->path = 0;
	snprintf(err, errlen, "-G %.60s: cannot listen: %s", where, strerror(errno));
	return -errno;
}

int gdb_serve(struct gdb **out, struct vm *vm, const char *where, char *err, size_t errlen)
{
	bool wait = *where == 'w';
	struct gdb *g = calloc(1, sizeof(*g));
	int ret;

	*out = g;
	if (!g)
		return -ENOMEM;
	g->vm = vm;
	ret = listen_at(g, where + wait, err, errlen);
	if (ret)
		return ret;
	vm->debug_event = event_new(vm->base, -1, 0, on_stop, g);
	if (!vm->debug_event)
		return -ENOMEM;
	return wait ? vm_pause(vm) : 0;
}

void gdb_free(struct gdb *g, int status)
{
	if (!g)
		return;
	if (g->session)
		gdb_session_exited(g->session, status);
	drop(g);
	if (g->listener)
		evconnlistener_free(g->listener);
	if (g->vm->debug_event)
		event_free(g->vm->debug_event);
	g->vm->debug_event = NULL;
	if (*g->path)
		unlink(g->path);
	free(g);
}
