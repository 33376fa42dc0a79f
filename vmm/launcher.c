/*
 * vmm/launcher.c - starts processes for the engine (launcher.h).
 *
 * clone(2) CLONE_PARENT.
 */
#include "vmm/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ipc/fdpass.h"
#include "vmm/cell.h"
#include "vmm/child.h"

enum { ARGS_BYTES = 16384, ARGS_MAX = 512, ANSWER_MS = 10000 };

/* What a launcher says of itself; the cell's mounts come with it. */
struct greeting {
	int32_t cell[SANDBOX_MEASURES];
	int32_t has_mounts;
};

static struct {
	int sock;		/* 0: there is none */
	struct sandbox cell;
	int mounts;
} launcher[LAUNCHER_PLACES];

/* ---- in the launcher */

/* "a\0b\0" into words.  False: they make no sense. */
static bool split(char *text, size_t n, char **word)
{
	unsigned words = 0;

	if (!n || text[n - 1])
		return false;
	for (char *w = text; w < text + n; w += strlen(w) + 1) {
		if (words == ARGS_MAX - 1)
			return false;
		word[words++] = w;
	}
	word[words] = NULL;
	return true;
}

/* The new process is a child of this one's parent. */
static pid_t beget(char *const *argv, const int *fd, unsigned nfds, pid_t parent)
{
	pid_t pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, NULL, NULL, 0);

	if (!pid)
		child_become(fd[0], argv, fd + 1, nfds - 1, parent);
	return pid < 0 ? -errno : pid;
}

static int32_t serve_one(char *text, size_t n, const int *fd, unsigned nfds, pid_t parent)
{
	char *argv[ARGS_MAX];
	int32_t ret = -EINVAL;

	if (nfds >= 1 && nfds <= 1 + CHILD_FDS && split(text, n, argv))
		ret = beget(argv, fd, nfds, parent);
	for (unsigned i = 0; i < nfds; i++)
		close(fd[i]);
	return ret;
}

static void serve(int sock, pid_t parent)
{
	static char text[ARGS_BYTES];
	int fd[FDPASS_MAX];

	for (;;) {
		unsigned nfds = 0;
		ssize_t n = fdpass_recv(sock, text, sizeof(text), fd, FDPASS_MAX, &nfds, -1);
		int32_t ret;

		if (n == 0 || n == -ECONNRESET)
			_exit(0);
		if (n < 0)
			continue;
		ret = serve_one(text, n, fd, nfds, parent);
		if (fdpass_send(sock, &ret, sizeof(ret), NULL, 0))
			_exit(0);
	}
}

/*
 * In a PID namespace a parent outside is nobody: child_become() sees 0.  No new
 * privileges: what is started has them neither.
 */
static void launch(enum launcher_place place, int sock, pid_t engine)
{
	struct cell cell = { .mount_fd = -1 };
	struct greeting g = { .has_mounts = 0 };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	pid_t parent = engine;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != engine)
		_exit(0);
	setsid();
	/* Whoever waits for the end of the engine's output does not wait for this process. */
	dup2(null, 0);
	dup2(null, 1);
	sandbox_close_others(sock, sock);
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "cleave-launch");
	if (place == LAUNCHER_CELL) {
		cell_make(&cell);
		prctl(PR_SET_PDEATHSIG, SIGKILL);	/* other credentials, and it is forgotten */
		memcpy(g.cell, cell.state.state, sizeof(g.cell));
		g.has_mounts = cell.mount_fd >= 0;
		if (cell.state.state[SANDBOX_PROCESSES] > 0)
			parent = 0;
		/* What a daemon needs to enter the mounts and to drop these: the rest is not left to each. */
		sandbox_bound(1ull << CAP_SYS_ADMIN | 1ull << CAP_SYS_CHROOT | 1ull << CAP_SETPCAP);
	}
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (fdpass_send(sock, &g, sizeof(g), &cell.mount_fd, g.has_mounts))
		_exit(1);
	if (cell.mount_fd >= 0)
		close(cell.mount_fd);
	serve(sock, parent);
}

/* ---- in the engine */

static int greet(enum launcher_place place, int sock)
{
	struct greeting g;
	unsigned nfds = 0;
	int mounts = -1;
	ssize_t n = fdpass_recv(sock, &g, sizeof(g), &mounts, 1, &nfds, ANSWER_MS);

	if (n != sizeof(g) || nfds != (unsigned)g.has_mounts) {
		if (nfds)
			close(mounts);
		return n < 0 ? n : -EPIPE;
	}
	launcher[place].sock = sock;
	launcher[place].mounts = nfds ? mounts : -1;
	memcpy(launcher[place].cell.state, g.cell, sizeof(g.cell));
	return 0;
}

int launcher_start(enum launcher_place place)
{
	pid_t engine = getpid(), pid;
	int sv[2], ret = fdpass_pair(sv);

	if (ret)
		return ret;
	pid = fork();
	if (!pid) {
		close(sv[0]);
		launch(place, sv[1], engine);
	}
	ret = pid < 0 ? -errno : 0;
	close(sv[1]);
	if (!ret)
		ret = greet(place, sv[0]);
	if (ret)
		close(sv[0]);
	return ret;
}

bool launcher_there(enum launcher_place place)
{
	return launcher[place].sock > 0;
}

pid_t launcher_spawn(enum launcher_place place, int program, char *const argv[], const int *fd, unsigned nfds)
{
	char text[ARGS_BYTES];
	int sock = launcher[place].sock, all[1 + CHILD_FDS] = { program }, none[1], ret;
	size_t n = 0;
	unsigned got = 0;
	int32_t answer;
	ssize_t len;

	if (nfds > CHILD_FDS)
		return -EINVAL;
	for (; *argv; argv++) {
		size_t word = strlen(*argv) + 1;

		if (n + word > sizeof(text))
			return -E2BIG;
		memcpy(text + n, *argv, word);
		n += word;
	}
	memcpy(all + 1, fd, nfds * sizeof(*fd));
	ret = fdpass_send(sock, text, n, all, 1 + nfds);
	if (ret)
		return ret;
	len = fdpass_recv(sock, &answer, sizeof(answer), none, 0, &got, ANSWER_MS);
	return len == sizeof(answer) ? answer : len < 0 ? len : -EPIPE;
}

const struct sandbox *launcher_cell(void)
{
	return &launcher[LAUNCHER_CELL].cell;
}

int launcher_mounts(void)
{
	return launcher_there(LAUNCHER_CELL) ? launcher[LAUNCHER_CELL].mounts : -1;
}
