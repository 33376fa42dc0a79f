/*
 * Disk images over real files: inline and by workers, refused images, locks,
 * O_DIRECT at a finer grain than the device's, operations in flight together.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devmodel/backend/blk.h"

enum { SECTORS = 512, SIZE = SECTORS * 512 };

static char path[64];

/* A file in the build directory: a real file system, where /tmp may be memory. */
static int make_image(size_t size)
{
	uint8_t sector[512];
	int fd;

	snprintf(path, sizeof(path), "test_blk.%d.img", (int)getpid());
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	for (size_t i = 0; i < size / 512; i++) {
		memset(sector, i & 0xff, sizeof(sector));
		memcpy(sector, &i, sizeof(i));
		assert_int_equal(write(fd, sector, sizeof(sector)), sizeof(sector));
	}
	assert_int_equal(ftruncate(fd, size), 0);
	assert_int_equal(fsync(fd), 0);
	return fd;
}

static struct blk *image(int fd)
{
	const char *why = "";
	struct blk *b = blk_new(fd, &why);

	if (!b)
		fail_msg("%s", why);
	return b;
}

static int teardown(void **state)
{
	(void)state;
	blk_shutdown();
	unlink(path);
	return 0;
}

static struct blk_io *wait_one(void)
{
	struct pollfd p = { .fd = blk_eventfd(), .events = POLLIN };
	struct blk_io *io;

	while (!(io = blk_reap()))
		assert_int_equal(poll(&p, 1, 10000), 1);
	return io;
}

/* To its end; true when it ended at once. */
static bool run(struct blk_io *io)
{
	if (blk_start(io))
		return true;
	assert_ptr_equal(wait_one(), io);
	assert_null(blk_reap());
	return false;
}

static void check_sectors(const uint8_t *buf, uint64_t first, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint64_t number;

		memcpy(&number, buf + i * 512, sizeof(number));
		assert_int_equal(number, first + i);
		assert_int_equal(buf[i * 512 + 511], (first + i) & 0xff);
	}
}

static void reads_and_writes(void **state)
{
	uint8_t buf[8 * 512], back[8 * 512];
	struct blk_io io = { .buf = buf, .n = sizeof(buf) };

	(void)state;
	io.blk = image(make_image(SIZE));
	assert_int_equal(blk_size(io.blk), SIZE);
	assert_false(blk_readonly(io.blk));
	io.off = 5 * 512;
	run(&io);
	assert_int_equal(io.error, 0);
	check_sectors(buf, 5, 8);
	memset(buf, 0x5a, sizeof(buf));
	io.op = BLK_WRITE;
	run(&io);
	assert_int_equal(io.error, 0);
	io.op = BLK_FLUSH;
	assert_false(run(&io));		/* never on the loop's thread */
	assert_int_equal(io.error, 0);
	io.op = BLK_READ;
	io.buf = back;
	run(&io);
	assert_memory_equal(buf, back, sizeof(buf));
	/* the neighbours are whole */
	io.off = 4 * 512;
	io.n = 512;
	run(&io);
	check_sectors(back, 4, 1);
	io.off = 13 * 512;
	run(&io);
	check_sectors(back, 13, 1);
}

/* What the page cache does not have is read by a worker; the result is the same. */
static void cold_read(void **state)
{
	uint8_t *buf = malloc(SIZE);
	struct blk_io io = { .buf = buf, .n = SIZE };
	int fd = make_image(SIZE);

	(void)state;
	io.blk = image(fd);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	run(&io);
	assert_int_equal(io.error, 0);
	check_sectors(buf, 0, SECTORS);
	free(buf);
}

static void out_of_range(void **state)
{
	uint8_t buf[1024];
	struct blk_io io = { .buf = buf, .n = sizeof(buf) };

	(void)state;
	io.blk = image(make_image(SIZE));
	io.off = SIZE - 512;
	assert_true(blk_start(&io));
	assert_int_equal(io.error, -EINVAL);
	io.off = UINT64_MAX - 511;
	assert_true(blk_start(&io));
	assert_int_equal(io.error, -EINVAL);
	io.off = SIZE - 1024;
	run(&io);
	assert_int_equal(io.error, 0);
}

static void read_only(void **state)
{
	uint8_t buf[512];
	struct blk_io io = { .buf = buf, .n = sizeof(buf), .op = BLK_WRITE };
	int fd = make_image(SIZE), ro = open(path, O_RDONLY);

	(void)state;
	close(fd);
	io.blk = image(ro);
	assert_true(blk_readonly(io.blk));
	assert_true(blk_start(&io));
	assert_int_equal(io.error, -EROFS);
	io.op = BLK_FLUSH;
	run(&io);
	assert_int_equal(io.error, 0);
}

/* The file has shrunk under us: what is lost is not zeros. */
static void shrunk(void **state)
{
	uint8_t buf[1024];
	struct blk_io io = { .buf = buf, .n = sizeof(buf), .off = 9 * 512 };
	int fd = make_image(SIZE);

	(void)state;
	io.blk = image(fd);
	assert_int_equal(ftruncate(fd, 10 * 512), 0);
	run(&io);
	assert_int_equal(io.error, -EIO);
	io.n = 512;
	run(&io);
	assert_int_equal(io.error, 0);
	check_sectors(buf, 9, 1);
}

static void refused(void **state)
{
	const char *why = NULL;
	int fd = make_image(SIZE + 100), p[2];

	(void)state;
	assert_null(blk_new(fd, &why));
	assert_non_null(strstr(why, "multiple of 512"));
	close(fd);
	assert_int_equal(pipe(p), 0);
	assert_null(blk_new(p[0], &why));
	assert_non_null(strstr(why, "neither a file nor a block device"));
	close(p[0]);
	close(p[1]);
	assert_null(blk_new(-1, &why));
	assert_non_null(why);
}

static void locked(void **state)
{
	const char *why = NULL;
	int fd = make_image(SIZE), other = open(path, O_RDWR), ro = open(path, O_RDONLY), again = dup(fd);

	(void)state;
	image(fd);
	assert_null(blk_new(other, &why));
	assert_non_null(strstr(why, "in use"));
	assert_null(blk_new(ro, &why));
	image(again);		/* the same open file: a successor's */
	close(other);
	close(ro);
}

static void readers_share(void **state)
{
	int fd = make_image(SIZE);

	(void)state;
	close(fd);
	image(open(path, O_RDONLY));
	image(open(path, O_RDONLY));
}

/* Single sectors of an O_DIRECT image, and memory that is not aligned. */
static void direct(void **state)
{
	uint8_t *buf = malloc(4 * 512 + 1);
	struct blk_io io = { .buf = buf + 1, .n = 3 * 512, .off = 7 * 512 };
	int fd = make_image(SIZE), d;

	(void)state;
	close(fd);
	d = open(path, O_RDWR | O_DIRECT);
	if (d < 0) {
		free(buf);
		skip();		/* a file system without O_DIRECT */
	}
	io.blk = image(d);
	assert_false(run(&io));
	assert_int_equal(io.error, 0);
	check_sectors(buf + 1, 7, 3);
	memset(buf + 1, 0x77, 512);
	io.op = BLK_WRITE;
	io.n = 512;
	io.off = 9 * 512;
	assert_false(run(&io));
	assert_int_equal(io.error, 0);
	io.op = BLK_READ;
	io.off = 8 * 512;
	io.n = 3 * 512;
	run(&io);
	check_sectors(buf + 1, 8, 1);
	for (unsigned i = 0; i < 512; i++)
		assert_int_equal(buf[1 + 512 + i], 0x77);
	check_sectors(buf + 1 + 1024, 10, 1);
	free(buf);
}

/* In pieces of any length, with and without O_DIRECT, as the file system allows. */
static void scattered(void **state)
{
	static uint8_t buf[6 * 4096] __attribute__((aligned(4096)));
	static const size_t len[] = { 1, 511, 3000, 72, 0, 512 };
	struct iovec iov[6];
	size_t at = 0;
	struct blk_io io = { .off = 6 * 512, .n = 4096, .iov = iov, .niov = 6 };
	uint8_t flat[4096];
	int fd = make_image(SIZE);

	(void)state;
	for (unsigned i = 0; i < 6; i++)
		iov[i] = (struct iovec){ .iov_base = buf + 4096 * i + 3, .iov_len = len[i] };
	for (unsigned way = 0; way < 2; way++) {
		if (way) {
			blk_shutdown();
			fd = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
			if (fd < 0)
				return;
		}
		io.blk = image(fd);
		memset(buf, 0xcc, sizeof(buf));
		io.op = BLK_READ;
		run(&io);
		assert_int_equal(io.error, 0);
		at = 0;
		for (unsigned i = 0; i < 6; at += len[i++]) {
			memcpy(flat + at, iov[i].iov_base, len[i]);
			assert_int_equal(buf[4096 * i + 2], 0xcc);
			assert_int_equal(buf[4096 * i + 3 + len[i]], 0xcc);
		}
		check_sectors(flat, 6, 8);
		io.op = BLK_WRITE;
		io.sync = way;
		run(&io);
		assert_int_equal(io.error, 0);
	}
	io = (struct blk_io){ .blk = io.blk, .buf = flat, .n = 512, .off = 14 * 512 };
	run(&io);
	check_sectors(flat, 14, 1);
}

static void long_operations(void **state)
{
	enum { LONG = 3 << 20 };
	uint8_t *buf = malloc(LONG);
	struct blk_io io = { .buf = buf, .n = LONG };

	(void)state;
	io.blk = image(make_image(LONG));
	assert_false(run(&io));		/* a worker's, whether or not it is cached */
	assert_int_equal(io.error, 0);
	check_sectors(buf, 0, LONG / 512);
	free(buf);
}

static void holes_and_zeros(void **state)
{
	static const enum blk_op op[] = { BLK_ZERO, BLK_ZERO_UNMAP, BLK_DISCARD };
	uint8_t buf[4 * 512];
	int fd = make_image(SIZE);
	struct blk *b = image(fd);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct blk_io io = { .blk = b, .op = op[i], .off = (10 + 10 * i) * 512, .n = 2 * 512, .sync = i == 1 };

		assert_false(run(&io));
		assert_int_equal(io.error, 0);
		io = (struct blk_io){ .blk = b, .buf = buf, .off = (9 + 10 * i) * 512, .n = sizeof(buf) };
		run(&io);
		check_sectors(buf, 9 + 10 * i, 1);
		check_sectors(buf + 3 * 512, 12 + 10 * i, 1);
		for (unsigned k = 512; k < 3 * 512 && op[i] != BLK_DISCARD; k++)
			assert_int_equal(buf[k], 0);
	}
	assert_int_equal(lseek(fd, 0, SEEK_END), SIZE);
	assert_true(blk_start(&(struct blk_io){ .blk = b, .op = BLK_ZERO, .off = SIZE, .n = 512 }));
}

static void another_size(void **state)
{
	uint8_t buf[512];
	struct blk_io io = { .buf = buf, .n = 512, .off = SIZE };
	int fd = make_image(SIZE);

	(void)state;
	io.blk = image(fd);
	run(&io);
	assert_int_equal(io.error, -EINVAL);
	assert_int_equal(ftruncate(fd, 2 * SIZE), 0);
	assert_null(blk_resized(io.blk));
	assert_int_equal(blk_size(io.blk), 2 * SIZE);
	run(&io);
	assert_int_equal(io.error, 0);
	assert_int_equal(ftruncate(fd, SIZE + 100), 0);
	assert_non_null(strstr(blk_resized(io.blk), "512"));
	assert_int_equal(blk_size(io.blk), 2 * SIZE);
}

static void many_at_once(void **state)
{
	enum { N = 64 };
	static uint8_t buf[N][4 * 512];
	struct blk_io io[N];
	unsigned waiting = 0;
	struct blk *b;

	(void)state;
	b = image(make_image(SIZE));
	for (unsigned i = 0; i < N; i++) {
		io[i] = (struct blk_io){ .blk = b, .buf = buf[i], .n = sizeof(buf[i]), .off = i * 4 * 512,
					 .op = i % 4 == 3 ? BLK_FLUSH : BLK_READ, .error = 1 };
		waiting += !blk_start(&io[i]);
	}
	assert_true(waiting >= N / 4);
	while (waiting--)
		assert_non_null(wait_one());
	assert_null(blk_reap());
	/* nothing is left to wake the loop */
	assert_int_equal(poll(&(struct pollfd){ .fd = blk_eventfd(), .events = POLLIN }, 1, 0), 0);
	for (unsigned i = 0; i < N; i++) {
		assert_int_equal(io[i].error, 0);
		if (io[i].op == BLK_READ)
			check_sectors(buf[i], i * 4, 4);
	}
}

/* Stopping ends what is queued first; the results can still be reaped, and images opened again. */
static void stop_with_work(void **state)
{
	struct blk_io io[8];
	unsigned reaped = 0;
	struct blk *b;

	(void)state;
	b = image(make_image(SIZE));
	for (unsigned i = 0; i < 8; i++) {
		io[i] = (struct blk_io){ .blk = b, .op = BLK_FLUSH, .error = 1 };
		assert_false(blk_start(&io[i]));
	}
	blk_shutdown();
	while (blk_reap())
		reaped++;
	assert_int_equal(reaped, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(io[i].error, 0);
	reads_and_writes(state);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, NULL, teardown)
	const struct CMUnitTest tests[] = {
		T(reads_and_writes), T(cold_read), T(out_of_range), T(read_only), T(shrunk), T(refused), T(locked),
		T(readers_share), T(direct), T(scattered), T(long_operations), T(holes_and_zeros), T(another_size), T(many_at_once), T(stop_with_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
