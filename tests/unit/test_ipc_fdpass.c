/* tests/unit/test_ipc_fdpass.c - frames with descriptors: whole or not at all, and nothing leaks. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "ipc/fdpass.h"

static int sv[2];

static unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int setup(void **state)
{
	(void)state;
	return fdpass_pair(sv);
}

static int teardown(void **state)
{
	(void)state;
	close(sv[0]);
	close(sv[1]);
	return 0;
}

static void same_file(int a, int b)
{
	struct stat x, y;

	assert_int_equal(fstat(a, &x), 0);
	assert_int_equal(fstat(b, &y), 0);
	assert_true(x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

static void test_pass(void **state)
{
	int p[2], got[4];
	char buf[16];
	unsigned n;

	(void)state;
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(fdpass_send(sv[0], "hello", 5, p, 2), 0);
	assert_int_equal(fdpass_recv(sv[1], buf, sizeof(buf), got, 4, &n, 1000), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(n, 2);
	for (int i = 0; i < 2; i++) {
		same_file(p[i], got[i]);
		assert_int_equal(fcntl(got[i], F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
		close(got[i]);
		close(p[i]);
	}
	assert_int_equal(fdpass_send(sv[0], "x", 1, NULL, 0), 0);
	assert_int_equal(fdpass_recv(sv[1], buf, 1, got, 0, &n, -1), 1);	/* just fits */
	assert_int_equal(n, 0);
}

static void test_most(void **state)
{
	int many[FDPASS_MAX + 1], got[FDPASS_MAX];
	unsigned n, before = open_fds();
	char c;

	(void)state;
	for (int i = 0; i <= FDPASS_MAX; i++)
		many[i] = sv[0];
	assert_int_equal(fdpass_send(sv[0], "x", 1, many, FDPASS_MAX + 1), -EINVAL);
	assert_int_equal(fdpass_send(sv[0], "x", 1, many, FDPASS_MAX), 0);
	assert_int_equal(fdpass_recv(sv[1], &c, 1, got, FDPASS_MAX, &n, 1000), 1);
	assert_int_equal(n, FDPASS_MAX);
	while (n)
		close(got[--n]);
	assert_int_equal(open_fds(), before);
}

/* Sends as a hostile peer would, without fdpass_send()'s limits. */
static void raw_send(const void *buf, size_t len, unsigned nfds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int) * 250)];
	} control = { .bytes = { 0 } };
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			    .msg_controllen = CMSG_SPACE(sizeof(int) * nfds) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
	for (unsigned i = 0; i < nfds; i++)
		memcpy(CMSG_DATA(c) + i * sizeof(int), &sv[0], sizeof(int));
	assert_int_equal(sendmsg(sv[0], &m, 0), len);
}

static void test_too_many(void **state)
{
	static const unsigned counts[] = { 3, FDPASS_MAX, FDPASS_MAX + 1, 250 };
	unsigned n = 9, before = open_fds();
	int got[2];
	char c;

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		raw_send("x", 1, counts[i]);
		assert_int_equal(fdpass_recv(sv[1], &c, 1, got, 2, &n, 1000), -E2BIG);
		assert_int_equal(n, 0);
		assert_int_equal(open_fds(), before);
	}
}

static void test_too_long(void **state)
{
	unsigned n, before = open_fds();
	char buf[4];
	int got[2];

	(void)state;
	raw_send("12345", 5, 1);
	assert_int_equal(fdpass_recv(sv[1], buf, sizeof(buf), got, 2, &n, 1000), -EMSGSIZE);
	assert_int_equal(n, 0);
	assert_int_equal(open_fds(), before);
	raw_send("1234", 4, 1);		/* the next one is whole again */
	assert_int_equal(fdpass_recv(sv[1], buf, sizeof(buf), got, 2, &n, 1000), 4);
	assert_int_equal(n, 1);
	close(got[0]);
}

static void test_ends(void **state)
{
	unsigned n;
	char c;
	int fd;

	(void)state;
	assert_int_equal(fdpass_recv(sv[1], &c, 1, &fd, 1, &n, 0), -EAGAIN);
	assert_int_equal(fdpass_send(sv[0], "", 0, NULL, 0), -EINVAL);
	shutdown(sv[0], SHUT_RDWR);
	assert_int_equal(fdpass_recv(sv[1], &c, 1, &fd, 1, &n, 1000), 0);
	assert_int_equal(fdpass_send(sv[1], "x", 1, NULL, 0), -EPIPE);
	assert_int_equal(fdpass_recv(-1, &c, 1, &fd, 1, &n, -1), -EBADF);
}

/* The peer's last words are heard though it has left without reading ours. */
static void test_last_words(void **state)
{
	char buf[16];
	unsigned n;

	(void)state;
	assert_int_equal(fdpass_send(sv[0], "to you", 6, NULL, 0), 0);
	assert_int_equal(fdpass_send(sv[1], "sorry", 5, NULL, 0), 0);
	close(sv[1]);
	assert_int_equal(fdpass_recv(sv[0], buf, sizeof(buf), NULL, 0, &n, 0), 5);
	assert_memory_equal(buf, "sorry", 5);
	assert_int_equal(fdpass_recv(sv[0], buf, sizeof(buf), NULL, 0, &n, 0), 0);
	sv[1] = dup(sv[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_pass, setup, teardown),
		cmocka_unit_test_setup_teardown(test_most, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(test_last_words, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
