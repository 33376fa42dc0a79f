/*
 * tests/unit/test_relay.c - character streams between the host's descriptors
 * and byte rings, whose other end this test holds.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "ipc/link_daemon.h"
#include "ipc/link_engine.h"
#include "vmm/relay.h"

enum { STREAM = 1, TURNS = 2000 };

static struct event_base *base;
static struct link engine, device;
static struct relay *relay;
static uint32_t sent, received;		/* positions of the device */
static char dir[] = "/tmp/test_relay.XXXXXX";
static unsigned resets, quits, pauses, brokens;

static void on_escape(void *arg, enum relay_escape what)
{
	(void)arg;
	resets += what == RELAY_RESET;
	quits += what == RELAY_QUIT;
	pauses += what == RELAY_PAUSE;
}

static void on_broken(void *arg)
{
	(void)arg;
	brokens++;
}

static int setup(void **state)
{
	const struct relay_ops ops = { .escape = on_escape, .broken = on_broken };
	const struct link_params params = { .nvcpus = 1, .code_pages = 16, .generation = 1 };
	char err[LINK_ERR];
	int fd[LINK_FDS];

	(void)state;
	resets = quits = pauses = brokens = 0;
	sent = received = 0;
	base = event_base_new();
	if (link_create(&engine, &params, err))
		return -1;
	for (unsigned i = 0; i < LINK_FDS; i++)
		fd[i] = dup(engine.fd[i]);
	if (link_open(&device, fd, LINK_F_ALL, err) || link_accept(&engine, err))
		return -1;
	return relay_new(&relay, base, &ops, 0x1d, dir);
}

static int teardown(void **state)
{
	(void)state;
	relay_free(relay);
	link_close(&device);
	link_close(&engine);
	event_base_free(base);
	return 0;
}

static void open_stream(const char *spec)
{
	char err[200] = "";

	if (relay_open(relay, STREAM, "com1", spec, err, sizeof(err)))
		fail_msg("%s: %s", spec, err);
	assert_int_equal(relay_attach(relay, &engine), 0);
}

/* The device: as much as there is room for. */
static size_t put(const void *bytes, size_t n)
{
	ssize_t room = link_output_want_room(&device, STREAM, sent);

	assert_true(room >= 0);
	if (n > (size_t)room)
		n = room;
	link_output_stage(&device, STREAM, sent, bytes, n);
	sent += n;
	link_output_publish(&device, STREAM, sent);
	return n;
}

static size_t get(void *bytes, size_t n)
{
	ssize_t got = link_input_peek(&device, STREAM, received, bytes, n);

	assert_true(got >= 0);
	received += got;
	link_input_give_back(&device, STREAM, received);
	return got;
}

static void turn(void)
{
	event_base_loop(base, EVLOOP_NONBLOCK);
}

/* Does the device know of somebody at the other end? */
static bool online(void)
{
	return link_stream_is_online(&device, STREAM);
}

/* The device receives exactly these bytes next. */
static void expect_input(const char *want, size_t n)
{
	char got[256];
	size_t have = 0;

	for (unsigned i = 0; i < TURNS && have < n; i++) {
		turn();
		have += get(got + have, n - have);
		if (have < n)
			usleep(1000);
	}
	assert_int_equal(have, n);
	assert_memory_equal(got, want, n);
	turn();
	assert_int_equal(get(got, sizeof(got)), 0);
}

/* A byte that tells its place in a long stream. */
static uint8_t pattern(size_t i)
{
	return i * 7 + i / 251;
}

static struct relay_count counts(void)
{
	struct relay_count c;
	const char *name;

	assert_true(relay_stats(relay, STREAM, &name, &c));
	assert_string_equal(name, "com1");
	return c;
}

static void test_specifications(void **state)
{
	static const char *const good[] = { "stdio", "pty", "unix=a", "tcp=1", "tcp=[::1]:1", "file=/a=b", "none" };
	static const char *const bad[] = { "", "stdi", "stdio2", "stdio=1", "unix", "unix=", "file=", "tcp", "foo=1", "=x" };
	char err[200], path[200] = "unix=";

	(void)state;
	for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(relay_check(good[i], err, sizeof(err)), 0);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (relay_check(bad[i], err, sizeof(err)) != -EINVAL)
			fail_msg("%s", bad[i]);
	memset(path + 5, 'a', 150);
	assert_int_equal(relay_check(path, err, sizeof(err)), -ENAMETOOLONG);
}

static void test_file(void **state)
{
	char path[80], spec[100], got[32] = "";
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/log", dir);
	snprintf(spec, sizeof(spec), "file=%s", path);
	open_stream(spec);
	assert_int_equal(put("hello ", 6), 6);
	turn();
	assert_int_equal(put("world", 5), 5);
	relay_flush(relay, 100);
	fd = open(path, O_RDONLY);
	assert_int_equal(read(fd, got, sizeof(got)), 11);
	assert_string_equal(got, "hello world");
	assert_int_equal(counts().out, 11);
	close(fd);
	unlink(path);
}

static int client(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	for (unsigned i = 0; i < 5; i++)
		turn();
	return fd;
}

static void test_socket(void **state)
{
	char path[80], spec[100], got[16];
	int a, b;

	(void)state;
	snprintf(path, sizeof(path), "%s/sock", dir);
	snprintf(spec, sizeof(spec), "unix=%s", path);
	open_stream(spec);
	/* nobody listens: dropped, and the device is not held back */
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(put(spec, sizeof(spec)), sizeof(spec));
		turn();
	}
	assert_int_equal(counts().dropped, 10 * sizeof(spec));
	a = client(path);
	assert_int_equal(put("abc", 3), 3);
	turn();
	assert_int_equal(read(a, got, sizeof(got)), 3);
	assert_memory_equal(got, "abc", 3);
	assert_int_equal(write(a, "xyz", 3), 3);
	expect_input("xyz", 3);
	/* one at a time */
	b = client(path);
	assert_int_equal(read(b, got, sizeof(got)), 0);
	close(b);
	assert_true(online());
	/* it goes, the next comes */
	close(a);
	turn();
	turn();
	assert_false(online());
	a = client(path);
	assert_int_equal(write(a, "again", 5), 5);
	expect_input("again", 5);
	assert_true(online());
	close(a);
	assert_int_equal(access(path, F_OK), 0);
	relay_free(relay);
	relay = NULL;
	assert_int_equal(access(path, F_OK), -1);
}

/* More than rings and socket buffers hold, both ways at once, against a slow reader at each end: all of it, in order. */
static void test_flow(void **state)
{
	enum { TOTAL = 700000 };
	size_t out = 0, seen = 0, in = 0, taken = 0;
	uint8_t buf[5000];
	char path[80], spec[100];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "%s/flow", dir);
	snprintf(spec, sizeof(spec), "unix=%s", path);
	open_stream(spec);
	fd = client(path);
	for (unsigned round = 0; round < 200000 && (seen < TOTAL || taken < TOTAL); round++) {
		size_t n = TOTAL - out < 3001 ? TOTAL - out : 3001;
		ssize_t done;

		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(out + i);
		out += put(buf, n);
		n = TOTAL - in < 4999 ? TOTAL - in : 4999;
		for (size_t i = 0; i < n; i++)
			buf[i] = pattern(in + i);
		done = n ? write(fd, buf, n) : 0;
		in += done > 0 ? done : 0;
		turn();
		if (round % 3 == 0) {
			done = read(fd, buf, 1999);
			for (ssize_t i = 0; i < done; i++)
				assert_int_equal(buf[i], pattern(seen + i));
			seen += done > 0 ? done : 0;
			n = get(buf, 2999);
			for (size_t i = 0; i < n; i++)
				assert_int_equal(buf[i], pattern(taken + i));
			taken += n;
		}
	}
	assert_int_equal(seen, TOTAL);
	assert_int_equal(taken, TOTAL);
	assert_int_equal(counts().dropped, 0);
	close(fd);
}

static void test_pty(void **state)
{
	char link_path[80], got[16];
	struct termios t;
	struct stat st;
	int fd;

	(void)state;
	open_stream("pty");
	assert_non_null(relay_pty(relay, STREAM));
	assert_null(relay_pty(relay, STREAM + 1));
	snprintf(link_path, sizeof(link_path), "%s/com1", dir);
	assert_int_equal(stat(link_path, &st), 0);
	assert_true(S_ISCHR(st.st_mode));
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(put("lost", 4), 4);	/* nobody has it open */
		turn();
		assert_int_equal(counts().dropped, 4 * (round + 1));
		assert_false(online());
		fd = open(link_path, O_RDWR | O_NOCTTY | O_NONBLOCK);
		assert_true(fd >= 0);
		assert_int_equal(tcgetattr(fd, &t), 0);
		assert_int_equal(t.c_lflag & (ICANON | ECHO), 0);
		assert_int_equal(write(fd, "in", 2), 2);
		expect_input("in", 2);
		assert_int_equal(put("out", 3), 3);
		turn();
		assert_int_equal(read(fd, got, sizeof(got)), 3);
		assert_memory_equal(got, "out", 3);
		assert_true(online());
		close(fd);
		for (unsigned i = 0; i < 5; i++)
			turn();
	}
}

/* A terminal as standard input, a pipe as standard output. */
static void test_stdio(void **state)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY), slave, out[2], old_in = dup(0), old_out = dup(1), old_err = dup(2);
	struct termios before, during, after;
	char got[16], name[64];

	(void)state;
	assert_int_equal(grantpt(master) | unlockpt(master) | ptsname_r(master, name, sizeof(name)), 0);
	slave = open(name, O_RDWR | O_NOCTTY);
	assert_int_equal(tcgetattr(slave, &before), 0);
	assert_int_equal(pipe(out), 0);
	fflush(stdout);
	dup2(slave, 0);
	dup2(out[1], 1);
	dup2(slave, 2);
	open_stream("stdio");
	dup2(old_out, 1);		/* the relay has its own description of it */
	assert_int_equal(tcgetattr(slave, &during), 0);
	assert_int_equal(during.c_lflag & (ICANON | ECHO | ISIG), 0);
	assert_int_equal(put("prompt", 6), 6);
	turn();
	assert_int_equal(read(out[0], got, sizeof(got)), 6);

	assert_int_equal(write(master, "ab\x1d\x1d" "c\x1dr" "d\x1d", 9), 9);
	expect_input("ab\x1d" "cd", 5);
	assert_int_equal(resets, 1);
	assert_int_equal(write(master, "q\x1dp\x1d?\003e", 7), 7);	/* the escape key may end one read and its command begin the next */
	expect_input("\003e", 2);
	assert_int_equal(quits, 1);
	assert_int_equal(pauses, 1);

	relay_free(relay);
	relay = NULL;
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_int_equal(after.c_iflag, before.c_iflag);
	assert_int_equal(after.c_oflag, before.c_oflag);
	dup2(old_in, 0);
	dup2(old_err, 2);
	close(old_in);
	close(old_out);
	close(old_err);
	close(out[0]);
	close(out[1]);
	close(slave);
	close(master);
}

/* Not a terminal: every byte is the guest's, the escape key too; its end is no error. */
static void test_pipe_in(void **state)
{
	int in[2], old_in = dup(0);

	(void)state;
	assert_int_equal(pipe(in), 0);
	dup2(in[0], 0);
	open_stream("stdio");
	assert_int_equal(write(in[1], "a\x1dq\0", 4), 4);
	close(in[1]);
	expect_input("a\x1dq\0", 4);
	assert_int_equal(quits, 0);
	dup2(old_in, 0);
	close(old_in);
	close(in[0]);
}

static void test_broken(void **state)
{
	(void)state;
	open_stream("none");
	store_release(&engine.output[STREAM].shared->prod, 0x7fffffff);
	relay_flush(relay, 10);		/* harmless */
	link_output_publish(&device, STREAM, 0x7fffffff);
	turn();
	assert_int_equal(brokens, 1);
	turn();
	assert_int_equal(brokens, 1);
}

static int bound(const char *path, int type)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	return fd;
}

static void test_refusals(void **state)
{
	char err[300] = "", path[80], spec[100];
	int fd;

	(void)state;
	assert_int_equal(relay_open(relay, 0, "com1", "file=/nonexistent/x", err, sizeof(err)), -ENOENT);
	assert_non_null(strstr(err, "/nonexistent/x"));
	assert_int_equal(relay_open(relay, LINK_STREAMS, "com1", "none", err, sizeof(err)), -EINVAL);
	/* a file in the socket's place stays; a dead socket is replaced */
	snprintf(path, sizeof(path), "%s/there", dir);
	snprintf(spec, sizeof(spec), "unix=%s", path);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(relay_open(relay, 0, "com1", spec, err, sizeof(err)), -EADDRINUSE);
	assert_int_equal(access(path, F_OK), 0);
	unlink(path);
	fd = bound(path, SOCK_DGRAM);		/* alive, though not to be talked to in streams */
	assert_int_equal(relay_open(relay, 0, "com1", spec, err, sizeof(err)), -EADDRINUSE);
	assert_int_equal(access(path, F_OK), 0);
	close(fd);
	unlink(path);
	close(bound(path, SOCK_STREAM));
	assert_int_equal(relay_open(relay, 0, "com1", spec, err, sizeof(err)), 0);
	assert_int_equal(relay_open(relay, 0, "com1", "none", err, sizeof(err)), -EINVAL);	/* taken */
	/* a live one is not */
	assert_int_equal(relay_open(relay, 2, "com2", spec, err, sizeof(err)), -EADDRINUSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_specifications, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stdio, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipe_in, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
	};
	int ret;

	if (!mkdtemp(dir))
		return 1;
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	rmdir(dir);
	return ret;
}
