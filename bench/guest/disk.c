/*
 * bench/guest/disk.c - throughput and operations a second of a disk, in a Linux
 * guest.
 *
 *	disk DEVICE		reads commands from standard input, after "ready":
 *	    cat|save BYTES 1 TOTAL		through the page cache, which begins empty and ends on the disk
 *	    read|write BYTES DEPTH TOTAL	past it (O_DIRECT), one after the other
 *	    randread|randwrite BYTES DEPTH COUNT	past it, anywhere
 *
 * Each prints "begin NAME", "end NAME BYTES OPERATIONS" and "ready".  DEPTH
 * operations are in flight together, by Linux's asynchronous I/O.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MAX_DEPTH = 64 };

static int fd, cached;
static uint64_t disk_bytes, seed = 88172645463325252u;
static uint8_t *buffer;

static void fail(const char *what)
{
	printf("wrong: %s\n", what);
	fflush(stdout);
	exit(1);
}

static uint64_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

struct work {
	int opcode, random;
	uint64_t bytes, depth, count;
};

static void submit(aio_context_t ctx, struct iocb *cb, const struct work *w, unsigned slot, uint64_t n)
{
	uint64_t blocks = disk_bytes / w->bytes, block = (w->random ? any() : n) % blocks;

	*cb = (struct iocb){
		.aio_lio_opcode = w->opcode, .aio_fildes = fd, .aio_data = slot, .aio_nbytes = w->bytes,
		.aio_buf = (uintptr_t)(buffer + slot * w->bytes), .aio_offset = block * w->bytes,
	};
	if (syscall(SYS_io_submit, ctx, 1, &cb) != 1)
		fail("io_submit");
}

static void run(const struct work *w)
{
	struct iocb cb[MAX_DEPTH];
	struct io_event ev[MAX_DEPTH];
	aio_context_t ctx = 0;
	uint64_t begun = 0, ended = 0;

	if (syscall(SYS_io_setup, MAX_DEPTH, &ctx))
		fail("io_setup");
	for (; begun < w->depth && begun < w->count; begun++)
		submit(ctx, &cb[begun], w, begun, begun);
	while (ended < w->count) {
		long n = syscall(SYS_io_getevents, ctx, 1, MAX_DEPTH, ev, NULL);

		if (n < 1)
			fail("io_getevents");
		for (long i = 0; i < n; i++, ended++) {
			if (ev[i].res != (int64_t)w->bytes)
				fail("a short transfer");
			if (begun < w->count)
				submit(ctx, &cb[ev[i].data], w, ev[i].data, begun++);
		}
	}
	syscall(SYS_io_destroy, ctx);
}

/* As a program without care for disks does it. */
static void run_cached(const struct work *w)
{
	uint64_t done = 0;

	if (lseek(cached, 0, SEEK_SET) || posix_fadvise(cached, 0, 0, POSIX_FADV_DONTNEED))
		fail("cache");
	while (done < w->count * w->bytes) {
		ssize_t n = w->opcode == IOCB_CMD_PREAD ? read(cached, buffer, w->bytes) : write(cached, buffer, w->bytes);

		if (n < 1)
			fail("transfer");
		done += n;
	}
	if (w->opcode == IOCB_CMD_PWRITE && fsync(cached))
		fail("fsync");
}

int main(int argc, char **argv)
{
	char line[128], name[32];

	fd = argc > 1 ? open(argv[1], O_RDWR | O_DIRECT) : -1;
	cached = argc > 1 ? open(argv[1], O_RDWR) : -1;
	if (fd < 0 || cached < 0 || ioctl(fd, BLKGETSIZE64, &disk_bytes))
		fail("no disk");
	buffer = aligned_alloc(4096, 64 << 20);
	memset(buffer, 0x5a, 64 << 20);
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		struct work w = { 0 };

		if (sscanf(line, "%31s %lu %lu %lu", name, &w.bytes, &w.depth, &w.count) != 4 || w.depth > MAX_DEPTH ||
		    w.bytes * w.depth > 64 << 20 || w.bytes % 4096)
			fail("command");
		w.random = !strncmp(name, "rand", 4);
		w.opcode = strstr(name, "read") || !strcmp(name, "cat") ? IOCB_CMD_PREAD : IOCB_CMD_PWRITE;
		if (!w.random)
			w.count /= w.bytes;
		printf("begin %s\n", name);
		if (!strcmp(name, "cat") || !strcmp(name, "save"))
			run_cached(&w);
		else
			run(&w);
		printf("end %s %lu %lu\nready\n", name, w.count * w.bytes, w.count);
	}
	return 0;
}
