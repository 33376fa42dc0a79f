/*
 * main.c - cleaved, the device model of one virtual machine.
 *
 * The life of the process in one sequence: enter the sandbox, receive the
 * configuration and the descriptors, map RAM; stand by, if it is a spare, until
 * its turn comes; map link and arena, make the devices, say READY, serve until
 * the engine is gone.
 *
 * It is started by cleave, which gives it one end of a SEQPACKET pair; it has
 * no path and no socket of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "devmodel/conf.h"
#include "devmodel/loop.h"
#include "devmodel/portable.h"
#include "devmodel/sandbox.h"
#include "devmodel/txn.h"
#include "ipc/fdpass.h"

enum { CONFIG_MS = 15000 };

struct daemon {
	int sock;
	struct conf conf;
	struct arena_plan plan[ARENA_MAX_DEVS];
	struct link link;
	struct machine machine;
	struct loop *loop;
	size_t arena_bytes;
	struct sandbox sandbox;
	char error[512];
};

static int fail(struct daemon *d, int err, const char *what)
{
	snprintf(d->error, sizeof(d->error), "%s: %s", what, strerror(-err));
	return err;
}

/* ---- the sequence */

typedef int conf_reader(struct conf *, const void *frame, size_t n, const int *fd, unsigned nfds, char *err, size_t errlen);

static int receive(struct daemon *d, conf_reader *read, int timeout_ms)
{
	static uint8_t frame[CONF_FRAME_MAX];
	int fd[FDPASS_MAX];
	unsigned nfds = 0;
	ssize_t n = fdpass_recv(d->sock, frame, sizeof(frame), fd, FDPASS_MAX, &nfds, timeout_ms);

	if (n == 0)
		return -EPIPE;
	if (n < 0)
		return fail(d, n, "no configuration arrived");
	return read(&d->conf, frame, n, fd, nfds, d->error, sizeof(d->error));
}

/* Memory that can shrink under us is a way to kill us. */
static int check_memory(int fd, uint64_t bytes, int seals)
{
	struct stat st;
	int have = fcntl(fd, F_GET_SEALS);

	if (fstat(fd, &st))
		return -errno;
	if (have < 0 || (have & seals) != seals)
		return -EPERM;
	return (uint64_t)st.st_size < bytes ? -EINVAL : 0;
}

static int map_ram(struct daemon *d)
{
	uint64_t bytes = d->conf.machine.ram_bytes;
	int err = check_memory(d->conf.ram_fd, bytes, F_SEAL_SHRINK);

	if (!bytes || bytes % LINK_PAGE)
		err = -EINVAL;
	if (err)
		return fail(d, err, "guest memory cannot be used");
	d->machine.ram = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, d->conf.ram_fd, 0);
	if (d->machine.ram == MAP_FAILED)
		return fail(d, -errno, "guest memory cannot be mapped");
	close(d->conf.ram_fd);
	return 0;
}

static int map_flash(struct daemon *d)
{
	uint64_t bytes = d->conf.machine.flash_bytes;
	int err;

	if (d->conf.flash_fd < 0)
		return 0;
	err = check_memory(d->conf.flash_fd, bytes, F_SEAL_SHRINK);
	if (!bytes || bytes % LINK_PAGE)
		err = -EINVAL;
	if (err)
		return fail(d, err, "the flash memory cannot be used");
	d->machine.flash = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, d->conf.flash_fd, 0);
	if (d->machine.flash == MAP_FAILED)
		return fail(d, -errno, "the flash memory cannot be mapped");
	close(d->conf.flash_fd);
	return 0;
}

static int map_link(struct daemon *d)
{
	const struct conf_machine *c = &d->conf.machine;
	char why[LINK_ERR] = "";
	int err = link_open(&d->link, d->conf.link_fd, LINK_F_BATCH | LINK_F_POSTED | LINK_F_SHADOW | LINK_F_DOORBELL, why);

	if (err) {
		snprintf(d->error, sizeof(d->error), "the link cannot be used: %s", why);
		return err;
	}
	if (d->link.nvcpus != c->vcpus || d->link.code_pages != machine_ram_end(c->ram_bytes) / LINK_PAGE)
		return fail(d, -EINVAL, "the link is not for this machine");
	d->machine.link = &d->link;
	devmodel_sandbox_last_words(&d->link.header->forbidden);
	return 0;
}

/* Was it laid out by a program with the same layout?  Its size is part of that. */
static int match_arena(struct daemon *d, const struct arena_plan *plan)
{
	const struct conf_machine *c = &d->conf.machine;
	int fd = d->conf.arena_fd, err;
	struct stat st;
	void *arena;

	if (fstat(fd, &st))
		return fail(d, -errno, "the arena cannot be used");
	arena = st.st_size ? mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
	if (arena == MAP_FAILED)
		return fail(d, st.st_size ? -errno : -EINVAL, "the arena cannot be mapped");
	err = arena_match(arena, st.st_size, plan, c->ndevs, c->vcpus + 1, d->error, sizeof(d->error));
	munmap(arena, st.st_size);
	return err;
}

/* From the portable form, which whoever wrote it can still write to: what is looked at is a copy. */
static int make_arena(struct daemon *d, void *arena, const struct arena_plan *plan)
{
	const struct conf_machine *c = &d->conf.machine;
	int fd = d->conf.state_fd, err = -EINVAL;
	uint8_t *bytes = NULL;
	struct stat st;

	if (!fstat(fd, &st) && st.st_size > 0 && st.st_size <= PORTABLE_MAX)
		bytes = malloc(st.st_size);
	if (!bytes || pread(fd, bytes, st.st_size, 0) != st.st_size)
		fail(d, err, "the devices' state cannot be read");
	else
		err = portable_unpack(arena, d->arena_bytes, plan, c->ndevs, c->vcpus + 1, bytes, st.st_size, d->error, sizeof(d->error));
	free(bytes);
	close(fd);
	return err;
}

/* A fresh arena arrives empty: only this process knows how large it must be. */
static int map_arena(struct daemon *d, void **arena)
{
	int fd = d->conf.arena_fd, err;

	if ((d->conf.machine.fresh || d->conf.state_fd >= 0) && ftruncate(fd, d->arena_bytes))
		return fail(d, -errno, "no memory for the devices' state");
	err = check_memory(fd, d->arena_bytes, 0);
	if (err)
		return fail(d, err, "the arena cannot be used");
	*arena = mmap(NULL, d->arena_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (*arena == MAP_FAILED)
		return fail(d, -errno, "the arena cannot be mapped");
	close(fd);
	return 0;
}

/* It tells what to be careful of: one that cannot be read tells nothing. */
static void map_tried(struct daemon *d)
{
	const void *tried = MAP_FAILED;

	if (d->conf.tried_fd < 0)
		return;
	if (!check_memory(d->conf.tried_fd, d->arena_bytes, F_SEAL_SHRINK))
		tried = mmap(NULL, d->arena_bytes, PROT_READ, MAP_SHARED, d->conf.tried_fd, 0);
	d->machine.tried = tried == MAP_FAILED ? NULL : tried;
	close(d->conf.tried_fd);
}

/* All that can be done before there is a link and an arena. */
static int prepare(struct daemon *d)
{
	int err = receive(d, conf_parse, CONFIG_MS);

	if (!err)
		err = machine_plan(&d->conf.machine, d->plan, d->error, sizeof(d->error));
	if (err)
		return err;
	d->arena_bytes = arena_size(d->plan, d->conf.machine.ndevs);
	err = map_ram(d);
	if (!err)
		err = map_flash(d);
	return err;
}

static void drop_turn(struct conf *c)
{
	for (unsigned i = 0; i < LINK_FDS; i++)
		close(c->link_fd[i]);
	close(c->arena_fd);
	if (c->tried_fd >= 0)
		close(c->tried_fd);
}

/* A turn with an arena of ours.  One with another's is handed back, and comes again with the state in its portable form. */
static int await_turn(struct daemon *d)
{
	int err = receive(d, conf_turn, d->conf.standby ? -1 : CONFIG_MS);

	if (err || d->conf.machine.fresh || d->conf.state_fd >= 0 || !match_arena(d, d->plan))
		return err;
	drop_turn(&d->conf);
	if (conf_reply_wants_state(d->sock, d->error, &d->sandbox))
		return -EPIPE;
	d->error[0] = 0;
	err = receive(d, conf_turn, -1);
	return !err && d->conf.state_fd < 0 ? fail(d, -EINVAL, "no state came with the second turn") : err;
}

static int take_turn(struct daemon *d)
{
	void *arena;
	int err;

	if (d->conf.standby && conf_reply_standing_by(d->sock, &d->sandbox))
		return -EPIPE;
	err = await_turn(d);
	if (!err)
		err = map_link(d);
	if (!err)
		err = map_arena(d, &arena);
	if (!err && d->conf.state_fd >= 0)
		err = make_arena(d, arena, d->plan);
	if (err)
		return err;
	map_tried(d);
	d->loop = loop_new(&d->machine, d->sock);
	if (!d->loop)
		return fail(d, -ENOMEM, "no event loop");
	err = machine_init(&d->machine, &d->conf.machine, arena, d->arena_bytes);
	if (err)
		snprintf(d->error, sizeof(d->error), "%.*s", (int)sizeof(d->error) - 1, d->machine.error);
	return err;
}

/*
 * Nothing happens in the machine before the engine has accepted this process:
 * one that dies sooner has left the last one's arena as it was.
 */
static bool may_go(int sock)
{
	unsigned nfds = 0;
	char go;
	int none[1];

	TXN_STEP("ready.said");
	return fdpass_recv(sock, &go, 1, none, 0, &nfds, -1) == 1;
}

static int serve(int sock, int cell, bool sandbox)
{
	static struct daemon d;
	int err = devmodel_sandbox_enter(sock, cell, sandbox, &d.sandbox);

	d.sock = sock;
	if (err)
		fail(&d, err, "privileges cannot be given up");
	if (!err)
		err = prepare(&d);
	if (!err)
		err = take_turn(&d);
	if (err) {
		if (d.error[0] && conf_reply(sock, d.error, 0, 0, &d.sandbox))
			fprintf(stderr, "cleaved: %s\n", d.error);
		return 1;
	}
	devmodel_sandbox_settle();
	if (conf_reply(sock, NULL, d.link.features, d.arena_bytes, &d.sandbox) || !may_go(sock))
		return 0;	/* the engine has gone meanwhile, or wants another */
	machine_go(&d.machine);
	err = loop_run(d.loop);
	if (err)
		fprintf(stderr, "cleaved: %s\n", d.machine.error);
	blk_shutdown();
	machine_fini(&d.machine);
	loop_free(d.loop);
	return err ? 1 : 0;
}

/* ---- command line */

static void usage(FILE *to)
{
	fprintf(to, "usage: cleaved --list-devices\n"
		    "       cleaved --socket=FD [--cell=FD] [--no-sandbox]\n"
		    "cleaved is the device model of a virtual machine. cleave starts it; see cleaved(8).\n");
}

/* An open descriptor of this type, or -1. */
static int descriptor(const char *text, mode_t type)
{
	char *end;
	long fd = strtol(text, &end, 10);
	struct stat st;

	if (end == text || *end || fd < 0 || fd > 65535 || fstat(fd, &st) || (st.st_mode & S_IFMT) != type)
		return -1;
	return fd;
}

int main(int argc, char **argv)
{
	enum { OPT_LIST = 256, OPT_SOCKET, OPT_CELL, OPT_NO_SANDBOX, OPT_VERSION };
	static const struct option options[] = {
		{ "list-devices", no_argument, NULL, OPT_LIST },
		{ "socket", required_argument, NULL, OPT_SOCKET },
		{ "cell", required_argument, NULL, OPT_CELL },
		{ "no-sandbox", no_argument, NULL, OPT_NO_SANDBOX },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ "help", no_argument, NULL, 'h' },
		{ 0 }
	};
	int opt, sock = -1, cell = -1;
	bool sandbox = true;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1)
		switch (opt) {
		case OPT_LIST:
			conf_list_devices();
			return fflush(stdout) || ferror(stdout) ? 1 : 0;
		case OPT_VERSION:
			printf("cleaved %s\n", PACKAGE_VERSION);
			return 0;
		case 'h':
			usage(stdout);
			return 0;
		case OPT_SOCKET:
			sock = descriptor(optarg, S_IFSOCK);
			if (sock < 0) {
				fprintf(stderr, "cleaved: --socket=%s: not a socket; cleave starts this program\n", optarg);
				return 1;
			}
			break;
		case OPT_CELL:
			cell = descriptor(optarg, S_IFREG);
			if (cell < 0) {
				fprintf(stderr, "cleaved: --cell=%s: not a namespace; cleave starts this program\n", optarg);
				return 1;
			}
			break;
		case OPT_NO_SANDBOX:
			sandbox = false;
			break;
		default:
			usage(stderr);
			return 1;
		}
	if (sock < 0 || optind < argc) {
		usage(stderr);
		return 1;
	}
	signal(SIGPIPE, SIG_IGN);
	return serve(sock, cell, sandbox);
}
