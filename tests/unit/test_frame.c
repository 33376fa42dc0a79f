/*
 * tests/unit/test_frame.c - frames on a byte stream, versions, run-time directories.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/frame.h"
#include "proto/rundir.h"

static void test_header(void **state)
{
	uint8_t h[FRAME_HEADER];

	(void)state;
	frame_header(h, 0x1234);
	assert_memory_equal(h, "\x34\x12\0\0", 4);
	assert_int_equal(frame_length(h), 0x1234);
	frame_header(h, FRAME_LIMIT);
	assert_int_equal(frame_length(h), FRAME_LIMIT);
	frame_header(h, FRAME_LIMIT + 1);
	assert_int_equal(frame_length(h), -EMSGSIZE);
	assert_int_equal(frame_length((const uint8_t *)"\0\0\0\0"), -EMSGSIZE);
	assert_int_equal(frame_length((const uint8_t *)"\xff\xff\xff\xff"), -EMSGSIZE);
}

static void test_versions(void **state)
{
	(void)state;
	assert_int_equal(frame_version(CONTROL_VERSION, CONTROL_OLDEST), CONTROL_VERSION);
	assert_int_equal(frame_version(CONTROL_VERSION + 5, CONTROL_OLDEST), CONTROL_VERSION);
	assert_int_equal(frame_version(CONTROL_VERSION + 5, CONTROL_VERSION + 1), -EPROTONOSUPPORT);
	assert_int_equal(frame_version(0, 0), -EPROTONOSUPPORT);
	assert_int_equal(frame_version(1, 2), -EPROTONOSUPPORT);
}

static void test_stream(void **state)
{
	uint8_t buf[64];
	int sv[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(frame_write(sv[0], "hello", 5), 0);
	assert_int_equal(frame_write(sv[0], "x", 1), 0);
	assert_int_equal(frame_read(sv[1], buf, sizeof(buf), 1000), 5);
	assert_memory_equal(buf, "hello", 5);
	assert_int_equal(frame_read(sv[1], buf, sizeof(buf), 1000), 1);
	assert_int_equal(frame_read(sv[1], buf, sizeof(buf), 1), -ETIMEDOUT);
	assert_int_equal(frame_write(sv[0], "", 0), -EMSGSIZE);
	/* longer than the caller takes */
	assert_int_equal(frame_write(sv[0], "0123456789", 10), 0);
	assert_int_equal(frame_read(sv[1], buf, 9, 1000), -EMSGSIZE);
	close(sv[0]);
	close(sv[1]);

	/* the end between frames, within a header, within a message */
	for (unsigned n = 0; n < 7; n++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
		assert_int_equal(write(sv[0], "\3\0\0\0abc", n), n);
		close(sv[0]);
		assert_int_equal(frame_read(sv[1], buf, sizeof(buf), 1000), n ? -EPIPE : 0);
		close(sv[1]);
	}
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	close(sv[1]);
	assert_int_equal(frame_write(sv[0], "x", 1), -EPIPE);
	close(sv[0]);
}

/* ---- run-time directories, under a directory of our own */

static char top[] = "/tmp/test_frame.XXXXXX";

static int make_top(void **state)
{
	(void)state;
	if (!mkdtemp(top))
		return -1;
	return setenv("CLEAVE_RUNTIME_DIR", top, 1);
}

static int remove_top(void **state)
{
	char command[80];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

struct seen { unsigned n; char name[64]; pid_t pid; };

static void see(void *arg, const char *name, pid_t pid)
{
	struct seen *s = arg;

	s->n++;
	snprintf(s->name, sizeof(s->name), "%s", name);
	s->pid = pid;
}

static void test_take(void **state)
{
	char err[300] = "", path[300];
	struct rundir a, b;
	struct seen seen = { 0 };
	struct stat st;

	(void)state;
	assert_int_equal(rundir_take(&a, "vm1", err, sizeof(err)), 0);
	assert_int_equal(stat(a.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(rundir_path("vm1", path, sizeof(path), err, sizeof(err)), 0);
	assert_string_equal(path, a.path);
	assert_int_equal(rundir_owner(path), getpid());
	/* the same name: refused, and the message names the holder */
	assert_int_equal(rundir_take(&b, "vm1", err, sizeof(err)), -EBUSY);
	snprintf(path, sizeof(path), "process %d", getpid());
	assert_non_null(strstr(err, path));
	rundir_release(&b);			/* of nothing: harmless */
	assert_int_equal(rundir_owner(a.path), getpid());
	assert_int_equal(rundir_each(see, &seen, err, sizeof(err)), 1);
	assert_string_equal(seen.name, "vm1");
	assert_int_equal(seen.pid, getpid());
	/* another name is free */
	assert_int_equal(rundir_take(&b, "vm2", err, sizeof(err)), 0);
	assert_int_equal(rundir_each(see, &seen, err, sizeof(err)), 2);
	rundir_release(&b);
	rundir_release(&a);
	assert_int_equal(stat(a.path, &st), -1);
	assert_int_equal(rundir_each(see, &seen, err, sizeof(err)), 0);
}

static void make_socket(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(un.sun_path, sizeof(un.sun_path), "%.100s", path);
	if (bind(fd, (struct sockaddr *)&un, sizeof(un)) < 0)
		_exit(2);
}

/* A process killed with the lock leaves its files; the next one takes the directory over. */
static void test_stale(void **state)
{
	char err[300], path[300];
	struct seen seen = { 0 };
	struct rundir r;
	struct stat st;
	int status;
	pid_t pid = fork();

	(void)state;
	if (!pid) {
		if (rundir_take(&r, "dead", err, sizeof(err)))
			_exit(1);
		snprintf(path, sizeof(path), "%s/control", r.path);
		make_socket(path);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	snprintf(path, sizeof(path), "%s/dead/control", top);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(rundir_each(see, &seen, err, sizeof(err)), 0);
	assert_int_equal(rundir_take(&r, "dead", err, sizeof(err)), 0);
	assert_int_equal(stat(path, &st), -1);
	rundir_release(&r);
}

static void test_refusals(void **state)
{
	char err[300], path[300];
	struct rundir r;

	(void)state;
	assert_int_equal(rundir_path("a/b", path, sizeof(path), err, sizeof(err)), -EINVAL);
	assert_int_equal(rundir_path("..", path, sizeof(path), err, sizeof(err)), -EINVAL);
	assert_int_equal(rundir_path("", path, sizeof(path), err, sizeof(err)), -EINVAL);
	assert_int_equal(rundir_path("x", path, 5, err, sizeof(err)), -ENAMETOOLONG);
	assert_int_equal(rundir_file(top, "control", path, 10, err, sizeof(err)), -ENAMETOOLONG);
	assert_int_equal(rundir_file(top, "control", path, sizeof(path), err, sizeof(err)), 0);
	/* a link in the directory's place is nobody's to follow, not even to an empty directory of ours */
	snprintf(path, sizeof(path), "%s/target", top);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/link", top);
	assert_int_equal(symlink("target", path), 0);
	assert_int_equal(rundir_take(&r, "link", err, sizeof(err)), -EPERM);
	/* another user's */
	if (!geteuid()) {
		snprintf(path, sizeof(path), "%s/other", top);
		assert_int_equal(mkdir(path, 0700), 0);
		assert_int_equal(chown(path, 1, 1), 0);
		assert_int_equal(rundir_take(&r, "other", err, sizeof(err)), -EPERM);
	}
	/* open to others */
	snprintf(path, sizeof(path), "%s/open", top);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, 0770), 0);
	assert_int_equal(rundir_take(&r, "open", err, sizeof(err)), -EPERM);
}

/* A user's own directory that happens to have the name: refused, every file in it stays. */
static void test_foreign(void **state)
{
	static const char *const files[] = { "letter.txt", "control", "com1" };
	char err[300], path[300];
	struct rundir r;
	struct stat st;

	(void)state;
	snprintf(path, sizeof(path), "%s/documents", top);
	assert_int_equal(mkdir(path, 0700), 0);
	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/documents/%s", top, files[i]);
		close(open(path, O_CREAT | O_WRONLY, 0600));
		assert_int_equal(rundir_take(&r, "documents", err, sizeof(err)), -EPERM);
		assert_non_null(strstr(err, "no machine's"));
		assert_int_equal(stat(path, &st), 0);
		unlink(path);
	}
	assert_int_equal(symlink("/dev/null", path), 0);	/* a link, but to no pty */
	assert_int_equal(rundir_take(&r, "documents", err, sizeof(err)), -EPERM);
	unlink(path);
	assert_int_equal(symlink("/dev/pts/9999", path), 0);
	assert_int_equal(rundir_take(&r, "documents", err, sizeof(err)), 0);
	/* what came in meanwhile stays, and the directory with it */
	snprintf(path, sizeof(path), "%s/documents/letter.txt", top);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	rundir_release(&r);
	assert_int_equal(stat(path, &st), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_stream),
		cmocka_unit_test(test_take),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_foreign),
	};

	return cmocka_run_group_tests(tests, make_top, remove_top);
}
