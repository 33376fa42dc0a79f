/*
 * ipc/fdpass.c - frames with descriptors (fdpass.h).
 * unix(7) SCM_RIGHTS, recvmsg(2) MSG_CMSG_CLOEXEC.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ipc/fdpass.h"

/* Room for one descriptor list of the largest size, aligned as cmsg(3) wants. */
union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(sizeof(int) * FDPASS_MAX)];
};

int fdpass_pair(int sv[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) ? -errno : 0;
}

int fdpass_send(int sock, const void *buf, size_t n, const int *fds, unsigned nfds)
{
	union control control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buf, .iov_len = n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	if (!n || nfds > FDPASS_MAX)
		return -EINVAL;	/* an empty frame reads as end of file */
	if (nfds) {
		struct cmsghdr *c;

		memset(&control, 0, sizeof(control));
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * nfds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
	}
	do
		sent = sendmsg(sock, &m, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : 0;
}

/* Takes what fits, closes the rest; returns how many came. */
static unsigned take_fds(struct msghdr *m, int *fds, unsigned maxfds)
{
	unsigned came = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		const unsigned char *list = CMSG_DATA(c);
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++, came++) {
			int fd;

			memcpy(&fd, list + i * sizeof(int), sizeof(fd));
			if (came < maxfds)
				fds[came] = fd;
			else
				close(fd);
		}
	}
	return came;
}

static int wait_frame(int sock, int timeout_ms)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };
	int n;

	do
		n = poll(&p, 1, timeout_ms);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n ? 0 : -EAGAIN;
}

ssize_t fdpass_recv(int sock, void *buf, size_t cap, int *fds, unsigned maxfds, unsigned *nfds, int timeout_ms)
{
	union control control;
	struct iovec iov = { .iov_base = buf, .iov_len = cap };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	unsigned came;
	ssize_t n;

	*nfds = 0;
	if (timeout_ms >= 0 && (n = wait_frame(sock, timeout_ms)))
		return n;
	/* A peer that has closed with frames unread resets the connection: said once, before what it sent is read. */
	for (bool reset = false; (n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC)) < 0;) {
		if (errno == ECONNRESET && !reset)
			reset = true;
		else if (errno != EINTR)
			return errno == ECONNRESET ? 0 : -errno;
	}
	came = take_fds(&m, fds, maxfds);
	if (came <= maxfds && !(m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		*nfds = came;
		return n;
	}
	for (unsigned i = 0; i < came && i < maxfds; i++)
		close(fds[i]);
	return m.msg_flags & MSG_TRUNC ? -EMSGSIZE : -E2BIG;
}
