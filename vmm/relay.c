/*
 * vmm/relay.c - pumps bytes between the host's descriptors and the byte rings.
 *
 * Owns the terminal's mode, ptys, listening sockets and their clients.  Knows
 * no device.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "ipc/link_engine.h"
#include "vmm/relay.h"

enum { CHUNK = 4096, ROUNDS = 64, PTY_POLL_MS = 250 };

enum kind { KIND_NONE, KIND_STDIO, KIND_PTY, KIND_UNIX, KIND_TCP, KIND_FILE, KINDS };

static const struct {
	const char *word;	/* up to the '=' of those with a value */
	bool value;
} kinds[KINDS] = {
	[KIND_NONE] = { "none", false },
	[KIND_STDIO] = { "stdio", false },
	[KIND_PTY] = { "pty", false },
	[KIND_UNIX] = { "unix", true },
	[KIND_TCP] = { "tcp", true },
	[KIND_FILE] = { "file", true },
};

struct port {
	struct relay *relay;
	unsigned stream;
	enum kind kind;
	char name[40];
	char path[256];			/* socket or pty link, to be removed */
	char pty[64];
	int in, out, listener;		/* -1: none.  in == out for ptys and clients */
	struct event *readable, *writable, *accepts, *again;
	bool always;			/* `in` is a regular file: no readiness, never blocks */
	bool hungup;			/* pty that nobody has open */
	bool ended;			/* end of file on `in` */
	bool blocked;			/* `out` takes nothing; `writable` is armed */
	bool wants_room;		/* there is input, the ring was full */
	bool escaped;			/* the byte before was the escape key */
	int restore_flags;		/* of `out`, -1: leave them */
	int8_t told;			/* what the device model has heard of online(), -1: nothing */
	struct relay_count count;
};

struct relay {
	struct event_base *base;
	struct relay_ops ops;
	struct link *link;
	struct event *wakeup;		/* the device model's eventfd */
	struct event *more;		/* more to do, others first */
	char dir[200];
	int escape;
	struct port *port[LINK_STREAMS];
};

/* ---- the terminal: its mode must come back whatever ends the process */

static struct termios terminal_saved;
static volatile sig_atomic_t terminal_raw;
static const int fatal_signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
enum { FATALS = sizeof(fatal_signals) / sizeof(fatal_signals[0]) };
static struct sigaction fatal_old[FATALS];

static void terminal_restore(void)
{
	if (!terminal_raw)
		return;
	terminal_raw = 0;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal_saved);
}

void relay_emergency(int why)
{
	(void)why;
	if (terminal_raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal_saved);
}

/* Only async-signal-safe calls.  The signal comes again, to whoever handled it before. */
static void terminal_fatal(int sig)
{
	for (unsigned i = 0; i < FATALS; i++)
		if (fatal_signals[i] == sig)
			sigaction(sig, &fatal_old[i], NULL);
	relay_emergency(sig);
	raise(sig);
}

static void terminal_make_raw(void)
{
	struct sigaction sa = { .sa_handler = terminal_fatal };
	struct termios t;

	if (terminal_raw || tcgetattr(STDIN_FILENO, &terminal_saved) < 0)
		return;
	t = terminal_saved;
	cfmakeraw(&t);
	t.c_oflag |= OPOST | ONLCR;	/* this program's messages stay legible */
	for (unsigned i = 0; i < FATALS; i++)
		sigaction(fatal_signals[i], &sa, &fatal_old[i]);
	atexit(terminal_restore);
	terminal_raw = 1;
	tcsetattr(STDIN_FILENO, TCSADRAIN, &t);
}

/* ---- specifications */

static enum kind parse(const char *spec, const char **value)
{
	for (unsigned k = 0; k < KINDS; k++) {
		size_t n = strlen(kinds[k].word);

		if (strncmp(spec, kinds[k].word, n))
			continue;
		*value = spec + n + 1;
		if (!kinds[k].value && !spec[n])
			return k;
		if (kinds[k].value && spec[n] == '=' && spec[n + 1])
			return k;
	}
	return KINDS;
}

int relay_check(const char *spec, char *err, size_t errlen)
{
	struct sockaddr_un un;
	const char *value;

	switch (parse(spec, &value)) {
	case KINDS:
		snprintf(err, errlen, "want stdio, pty, unix=PATH, tcp=[ADDR:]PORT, file=PATH or none");
		return -EINVAL;
	case KIND_UNIX:
		if (strlen(value) < sizeof(un.sun_path))
			return 0;
		snprintf(err, errlen, "a socket's path has at most %zu bytes", sizeof(un.sun_path) - 1);
		return -ENAMETOOLONG;
	default:
		return 0;
	}
}

/* ---- opening and closing */

static void service(struct relay *);

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct port *p = arg;

	(void)fd, (void)what;
	p->wants_room = true;
	service(p->relay);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct port *p = arg;

	(void)fd, (void)what;
	p->blocked = false;
	service(p->relay);
}

static void drop_event(struct event **e)
{
	if (*e)
		event_free(*e);
	*e = NULL;
}

static void close_fds(struct port *p)
{
	drop_event(&p->readable);
	drop_event(&p->writable);
	if (p->restore_flags >= 0)
		fcntl(p->out, F_SETFL, p->restore_flags);
	p->restore_flags = -1;
	if (p->in > STDERR_FILENO && p->in != p->out)
		close(p->in);
	if (p->out > STDERR_FILENO)
		close(p->out);
	p->in = p->out = -1;
	p->blocked = p->wants_room = p->escaped = p->always = false;
}

/* epoll refuses regular files and /dev/null: those never block. */
static bool always_ready(int fd)
{
	struct epoll_event e = { .events = EPOLLIN };
	int poll = epoll_create1(EPOLL_CLOEXEC);
	bool refused = poll >= 0 && epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) < 0 && errno == EPERM;

	if (poll >= 0)
		close(poll);
	return refused;
}

/* Takes the descriptors, which are O_NONBLOCK where that means anything. */
static int set_fds(struct port *p, int in, int out)
{
	struct relay *r = p->relay;

	p->in = in;
	p->out = out;
	p->ended = false;
	if (out >= 0)
		p->writable = event_new(r->base, out, EV_WRITE, on_writable, p);
	if (in < 0)
		return out >= 0 && !p->writable ? -ENOMEM : 0;
	p->readable = event_new(r->base, in, EV_READ, on_readable, p);
	if (!p->readable || (out >= 0 && !p->writable))
		return -ENOMEM;
	p->always = always_ready(in);
	p->wants_room = p->always;
	return p->always || !event_add(p->readable, NULL) ? 0 : -ENOMEM;
}

/*
 * Standard output as a description of our own, so that O_NONBLOCK does not hit
 * the shell that shares it.  Where it cannot be opened again, set and restore.
 */
static int own_stdout(struct port *p)
{
	struct stat st;
	int fd, flags;

	if (fstat(STDOUT_FILENO, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode))
		return STDOUT_FILENO;
	fd = S_ISSOCK(st.st_mode) ? -1 : open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	flags = fcntl(STDOUT_FILENO, F_GETFL);
	if (flags >= 0 && !(flags & O_NONBLOCK)) {
		fcntl(STDOUT_FILENO, F_SETFL, flags | O_NONBLOCK);
		p->restore_flags = flags;
	}
	return STDOUT_FILENO;
}

static int open_stdio(struct port *p)
{
	int out = own_stdout(p);

	if (out < 0)
		return out;
	if (isatty(STDIN_FILENO))
		terminal_make_raw();
	return set_fds(p, fcntl(STDIN_FILENO, F_GETFD) < 0 ? -1 : STDIN_FILENO, out);
}

static int open_file(struct port *p, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0666);

	return fd < 0 ? -errno : set_fds(p, -1, fd);
}

static void pty_poll(evutil_socket_t fd, short what, void *arg)
{
	struct port *p = arg;
	struct pollfd pfd = { .fd = p->in, .events = POLLIN };

	(void)fd, (void)what;
	if (poll(&pfd, 1, 0) < 0 || (pfd.revents & POLLHUP))
		return;
	p->hungup = false;
	evtimer_del(p->again);
	event_add(p->readable, NULL);
	service(p->relay);
}

/* Nobody has the other side open.  Its opening is no event: look now and then. */
static void pty_hangup(struct port *p)
{
	struct timeval tv = { .tv_usec = PTY_POLL_MS * 1000 };

	p->hungup = true;
	p->blocked = p->wants_room = false;
	event_del(p->readable);
	event_del(p->writable);
	event_add(p->again, &tv);
}

static int open_pty(struct port *p)
{
	int fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), slave;
	struct termios t;
	int ret;

	if (fd < 0)
		return -errno;
	if (grantpt(fd) < 0 || unlockpt(fd) < 0 || ptsname_r(fd, p->pty, sizeof(p->pty)) ||
	    (slave = open(p->pty, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
		ret = -errno;
		close(fd);
		return ret;
	}
	if (!tcgetattr(slave, &t)) {
		cfmakeraw(&t);
		tcsetattr(slave, TCSANOW, &t);
	}
	ret = set_fds(p, fd, fd);
	close(slave);
	p->again = event_new(p->relay->base, -1, EV_PERSIST, pty_poll, p);
	if (ret || !p->again)
		return ret ? ret : -ENOMEM;
	if (*p->relay->dir && snprintf(p->path, sizeof(p->path), "%s/%s", p->relay->dir, p->name) < (int)sizeof(p->path)) {
		unlink(p->path);
		if (symlink(p->pty, p->path) < 0)
			p->path[0] = 0;
	}
	fprintf(stderr, "cleave: %s is %s\n", p->name, p->pty);
	pty_hangup(p);
	return 0;
}

static void on_client(evutil_socket_t fd, short what, void *arg)
{
	struct port *p = arg;
	int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	(void)what;
	if (client < 0)
		return;
	if (p->out >= 0) {		/* one at a time: a serial line has one end */
		close(client);
		return;
	}
	if (set_fds(p, client, client))
		close_fds(p);
	service(p->relay);
}

/* A socket file that a killed process left behind is no reason to fail. */
static void remove_stale(const struct sockaddr_un *un)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (fd >= 0 && !lstat(un->sun_path, &st) && S_ISSOCK(st.st_mode) &&
	    connect(fd, (const struct sockaddr *)un, sizeof(*un)) < 0 && errno == ECONNREFUSED)
		unlink(un->sun_path);
	if (fd >= 0)
		close(fd);
}

static int listen_on(struct port *p, int fd)
{
	if (listen(fd, 1) < 0)
		return -errno;
	p->accepts = event_new(p->relay->base, fd, EV_READ | EV_PERSIST, on_client, p);
	return p->accepts && !event_add(p->accepts, NULL) ? 0 : -ENOMEM;
}

static int open_unix(struct port *p, const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	p->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->listener < 0)
		return -errno;
	remove_stale(&un);
	if (bind(p->listener, (struct sockaddr *)&un, sizeof(un)) < 0)
		return -errno;
	snprintf(p->path, sizeof(p->path), "%s", path);
	return listen_on(p, p->listener);
}

static int open_tcp(struct port *p, const char *where)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV };
	const char *colon = strrchr(where, ':');
	char host[200] = "127.0.0.1";
	struct addrinfo *ai;
	int one = 1, ret;

	if (colon)
		snprintf(host, sizeof(host), "%.*s", (int)(colon - where), where);
	if (host[0] == '[' && host[strlen(host) - 1] == ']') {
		host[strlen(host) - 1] = 0;
		memmove(host, host + 1, strlen(host));
	}
	if (getaddrinfo(*host ? host : NULL, colon ? colon + 1 : where, &hints, &ai))
		return -EADDRNOTAVAIL;
	p->listener = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	ret = p->listener < 0 ? -errno : 0;
	if (!ret) {
		setsockopt(p->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		ret = bind(p->listener, ai->ai_addr, ai->ai_addrlen) < 0 ? -errno : listen_on(p, p->listener);
	}
	freeaddrinfo(ai);
	return ret;
}

static void port_free(struct port *p)
{
	if (!p)
		return;
	if (p->kind == KIND_STDIO)
		terminal_restore();
	close_fds(p);
	drop_event(&p->accepts);
	drop_event(&p->again);
	if (p->listener >= 0)
		close(p->listener);
	if (*p->path)
		unlink(p->path);
	free(p);
}

int relay_open(struct relay *r, unsigned stream, const char *name, const char *spec, char *err, size_t errlen)
{
	const char *value = "";
	struct port *p;
	int ret;

	if (stream >= LINK_STREAMS || r->port[stream])
		return -EINVAL;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	*p = (struct port){ .relay = r, .stream = stream, .in = -1, .out = -1, .listener = -1, .restore_flags = -1 };
	p->kind = parse(spec, &value);
	snprintf(p->name, sizeof(p->name), "%s", name);
	switch (p->kind) {
	case KIND_NONE: ret = 0; break;
	case KIND_STDIO: ret = open_stdio(p); break;
	case KIND_PTY: ret = open_pty(p); break;
	case KIND_UNIX: ret = open_unix(p, value); break;
	case KIND_TCP: ret = open_tcp(p, value); break;
	case KIND_FILE: ret = open_file(p, value); break;
	default: ret = -EINVAL; break;
	}
	if (ret) {
		snprintf(err, errlen, "%s: cannot open %s: %s%s", name, spec, strerror(-ret),
			 ret == -EADDRINUSE ? " (another process listens there, or the file must be removed)" : "");
		port_free(p);
		return ret;
	}
	r->port[stream] = p;
	return 0;
}

/* ---- pumping */

static void escape_help(void)
{
	fprintf(stderr, "\ncleave: after the escape key: q ends the machine, r resets it, p pauses or resumes it,\n"
		"the escape key again sends it, ? shows this\n");
}

static void escape_command(struct relay *r, unsigned char c)
{
	switch (c) {
	case 'q': case '.': r->ops.escape(r->ops.arg, RELAY_QUIT); break;
	case 'r': r->ops.escape(r->ops.arg, RELAY_RESET); break;
	case 'p': r->ops.escape(r->ops.arg, RELAY_PAUSE); break;
	default: escape_help(); break;
	}
}

/* Takes the escape sequences out; returns what is left for the guest. */
static size_t filter_escape(struct port *p, unsigned char *buf, size_t n)
{
	struct relay *r = p->relay;
	size_t kept = 0;

	if (p->kind != KIND_STDIO || r->escape < 0 || !terminal_raw)
		return n;
	for (size_t i = 0; i < n; i++) {
		bool escape = buf[i] == r->escape;

		if (p->escaped && !escape)
			escape_command(r, buf[i]);
		else if (p->escaped || !escape)
			buf[kept++] = buf[i];
		p->escaped = escape && !p->escaped;
	}
	return kept;
}

/* End of file, or the other side went away. */
static void port_gone(struct port *p)
{
	if (p->kind == KIND_PTY)
		pty_hangup(p);
	else if (p->listener >= 0)
		close_fds(p);
	else
		p->ended = true;
	p->wants_room = false;
}

/* Both return true when they moved something, and -1 in *err when the rings are broken. */
static bool pump_in(struct port *p, int *err)
{
	struct relay *r = p->relay;
	unsigned char buf[CHUNK];
	ssize_t room, n;

	if (!p->wants_room || p->in < 0 || p->ended || p->hungup)
		return false;
	room = link_input_room(r->link, p->stream);
	if (room < 0)
		*err = room;
	if (room <= 0)
		return false;
	n = read(p->in, buf, room < CHUNK ? room : CHUNK);
	if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
		p->wants_room = false;
		event_add(p->readable, NULL);
		return false;
	}
	if (n <= 0) {
		port_gone(p);
		return true;
	}
	if (!p->always) {		/* a terminal's read may block: ask before the next */
		p->wants_room = false;
		event_add(p->readable, NULL);
	}
	n = filter_escape(p, buf, n);
	p->count.in += n;
	if (n > 0 && r->link) {
		n = link_input_put(r->link, p->stream, buf, n);
		if (n < 0)
			*err = n;
	}
	return true;
}

/* Is somebody there who sees what the guest sends? */
static bool online(const struct port *p)
{
	return p->out >= 0 && !p->hungup;
}

static ssize_t write_out(struct port *p, const void *buf, size_t n)
{
	ssize_t done;

	if (!online(p)) {
		p->count.dropped += n;
		return n;
	}
	if (p->listener >= 0)
		done = send(p->out, buf, n, MSG_NOSIGNAL);
	else
		done = write(p->out, buf, n);
	if (done >= 0) {
		p->count.out += done;
		return done;
	}
	if (errno == EINTR)
		return 0;
	if (errno == EAGAIN) {
		p->blocked = true;
		event_add(p->writable, NULL);
		return 0;
	}
	if (p->listener >= 0 || p->kind == KIND_PTY)
		port_gone(p);
	p->count.dropped += n;		/* a full disk, a closed pipe: the guest goes on */
	return n;
}

static bool pump_out(struct port *p, int *err)
{
	unsigned char buf[CHUNK];
	ssize_t n;

	if (p->blocked)
		return false;
	n = link_output_peek(p->relay->link, p->stream, buf, sizeof(buf));
	if (n < 0)
		*err = n;
	if (n <= 0)
		return false;
	n = write_out(p, buf, n);
	if (n > 0)
		link_output_take(p->relay->link, p->stream, n);
	return n > 0;
}

/* What would make this thread act: bit n for stream n. */
static void wishes(const struct relay *r, uint32_t *output, uint32_t *room)
{
	*output = *room = 0;
	for (unsigned i = 0; i < LINK_STREAMS; i++) {
		const struct port *p = r->port[i];

		if (p && !p->blocked)
			*output |= 1u << i;
		if (p && p->wants_room && p->in >= 0 && !p->ended && !p->hungup)
			*room |= 1u << i;
	}
}

static bool pump_all(struct relay *r, int *err)
{
	bool moved = false;

	for (unsigned i = 0; i < LINK_STREAMS && !*err && r->link; i++) {
		if (!r->port[i])
			continue;
		moved |= pump_out(r->port[i], err);
		if (!*err && r->link)	/* an escape command may have ended it */
			moved |= pump_in(r->port[i], err);
	}
	return moved;
}

static void tell_online(struct relay *r)
{
	for (unsigned i = 0; i < LINK_STREAMS; i++) {
		struct port *p = r->port[i];

		if (!p || p->told == online(p))
			continue;
		p->told = online(p);
		link_stream_online(r->link, i, p->told);
	}
}

static void service(struct relay *r)
{
	uint32_t output, room;
	int err = 0;

	for (unsigned round = 0; r->link; round++) {
		link_relay_finish_sleep(r->link);
		while (pump_all(r, &err) && !err && r->link && round++ < ROUNDS)
			;
		if (!r->link)
			return;
		tell_online(r);
		wishes(r, &output, &room);
		if (!err && link_relay_prepare_sleep(r->link, output, room, &err))
			return;
		if (err) {
			r->link = NULL;
			r->ops.broken(r->ops.arg);
			return;
		}
		if (round >= ROUNDS) {	/* let the control socket and signals have their turn */
			event_active(r->more, EV_TIMEOUT, 0);
			return;
		}
	}
}

static void on_wakeup(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	service(arg);
}

int relay_attach(struct relay *r, struct link *link)
{
	drop_event(&r->wakeup);
	r->link = link;
	if (!link)
		return 0;
	for (unsigned i = 0; i < LINK_STREAMS; i++)
		if (r->port[i])
			r->port[i]->told = -1;
	/* Edge-triggered and never read: the device model could make a read block. */
	r->wakeup = event_new(r->base, link->fd[LINK_FD_RELAY], EV_READ | EV_ET | EV_PERSIST, on_wakeup, r);
	if (!r->wakeup || event_add(r->wakeup, NULL) < 0)
		return -ENOMEM;
	service(r);
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

void relay_flush(struct relay *r, unsigned ms)
{
	uint64_t end = now_ms() + ms;

	for (;;) {
		struct pollfd pfd[LINK_STREAMS];
		unsigned n = 0;
		int err = 0;

		for (unsigned i = 0; i < LINK_STREAMS && r->link && !err; i++) {
			struct port *p = r->port[i];

			if (!p)
				continue;
			p->blocked = false;
			while (pump_out(p, &err) && !err)
				;
			if (p->blocked && !err)
				pfd[n++] = (struct pollfd){ .fd = p->out, .events = POLLOUT };
		}
		if (!n || err || now_ms() >= end)
			return;
		poll(pfd, n, end - now_ms());
	}
}

/* ---- life */

int relay_new(struct relay **out, struct event_base *base, const struct relay_ops *ops, int escape, const char *dir)
{
	struct relay *r = calloc(1, sizeof(*r));

	*out = NULL;
	if (!r)
		return -ENOMEM;
	*r = (struct relay){ .base = base, .ops = *ops, .escape = escape };
	snprintf(r->dir, sizeof(r->dir), "%s", dir ? dir : "");
	r->more = event_new(base, -1, 0, on_wakeup, r);
	if (!r->more) {
		free(r);
		return -ENOMEM;
	}
	*out = r;
	return 0;
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	for (unsigned i = 0; i < LINK_STREAMS; i++)
		port_free(r->port[i]);
	drop_event(&r->wakeup);
	drop_event(&r->more);
	free(r);
}

const char *relay_pty(const struct relay *r, unsigned stream)
{
	const struct port *p = stream < LINK_STREAMS ? r->port[stream] : NULL;

	return p && *p->pty ? p->pty : NULL;
}

bool relay_stats(const struct relay *r, unsigned stream, const char **name, struct relay_count *count)
{
	const struct port *p = stream < LINK_STREAMS ? r->port[stream] : NULL;

	if (!p)
		return false;
	*name = p->name;
	*count = p->count;
	return true;
}
