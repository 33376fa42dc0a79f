/*
 * proto/frame.c - lengths before messages.  Knows nothing of the messages.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proto/frame.h"

void frame_header(uint8_t header[FRAME_HEADER], size_t length)
{
	for (unsigned i = 0; i < FRAME_HEADER; i++)
		header[i] = (uint8_t)(length >> (8 * i));
}

ssize_t frame_length(const uint8_t header[FRAME_HEADER])
{
	uint32_t n = 0;

	for (unsigned i = 0; i < FRAME_HEADER; i++)
		n |= (uint32_t)header[i] << (8 * i);
	return n && n <= FRAME_LIMIT ? (ssize_t)n : -EMSGSIZE;
}

int frame_version(uint32_t newest, uint32_t oldest)
{
	uint32_t both = newest < CONTROL_VERSION ? newest : CONTROL_VERSION;

	if (newest < oldest || both < oldest || both < CONTROL_OLDEST)
		return -EPROTONOSUPPORT;
	return both;
}

static int write_all(int fd, const uint8_t *p, size_t n)
{
	while (n) {
		ssize_t done = send(fd, p, n, MSG_NOSIGNAL);

		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0) {
			p += done;
			n -= done;
		}
	}
	return 0;
}

int frame_write(int fd, const void *message, size_t n)
{
	uint8_t header[FRAME_HEADER];
	int ret;

	if (!n || n > FRAME_LIMIT)
		return -EMSGSIZE;
	frame_header(header, n);
	ret = write_all(fd, header, sizeof(header));
	return ret ? ret : write_all(fd, message, n);
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ll + t.tv_nsec / 1000000;
}

/* Bytes read: n, or fewer at the end of the stream; -errno. */
static ssize_t read_all(int fd, uint8_t *p, size_t n, int64_t end)
{
	size_t got = 0;

	while (got < n) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		int64_t left = end - now_ms();
		ssize_t done;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&pfd, 1, left > 60000 ? 60000 : (int)left) < 1)
			continue;
		done = read(fd, p + got, n - got);
		if (done == 0)
			return got;
		if (done < 0 && errno != EINTR)
			return -errno;
		if (done > 0)
			got += done;
	}
	return got;
}

ssize_t frame_read(int fd, void *message, size_t cap, int timeout_ms)
{
	int64_t end = now_ms() + timeout_ms;
	uint8_t header[FRAME_HEADER];
	ssize_t n = read_all(fd, header, sizeof(header), end), got;

	if (n <= 0)
		return n;
	if (n < FRAME_HEADER)
		return -EPIPE;
	n = frame_length(header);
	if (n < 0)
		return n;
	if ((size_t)n > cap)
		return -EMSGSIZE;
	got = read_all(fd, message, n, end);
	return got < 0 || got == n ? got : -EPIPE;
}
