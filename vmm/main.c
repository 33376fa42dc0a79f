/*
 * vmm/main.c - cleave: the engine process, from its arguments to its exit status.
 *
 * The one place that ends the process.  Order of a machine's life: name taken,
 * memory and vCPUs made, streams opened, device model started, control socket
 * opened, threads started; and back.
 */
#include <errno.h>
#include <event2/event.h>
#include <event2/thread.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/rundir.h"
#include "vmm/boot/firmware.h"
#include "vmm/config.h"
#include "vmm/control.h"
#include "vmm/devlist.h"
#include "vmm/gdb.h"
#include "vmm/link.h"
#include "vmm/relay.h"
#include "vmm/report.h"
#include "vmm/sandbox.h"
#include "vmm/stats.h"
#include "vmm/supervise.h"
#include "vmm/vm.h"

enum { FLUSH_MS = 1000 };

static const int end_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
enum { END_SIGNALS = sizeof(end_signals) / sizeof(end_signals[0]) };

struct program {
	struct config *config;
	struct devlist *devlist;
	int daemon_fd;
	char daemon_path[512];
	struct rundir rundir;
	struct event_base *base;
	struct event *signal[END_SIGNALS];
	struct vm *vm;
	struct gdb *gdb;
	FILE *summary;			/* NULL: none is wanted */
	char err[600];
};

static void usage(FILE *f)
{
	fprintf(f, "usage: cleave [-hu] [-c N] [-m SIZE] [-U UUID] [-k FILE] [-o KEY=VALUE] ... [-f NAME,string=TEXT] ...\n"
		   "              [--kernel PATH [--initrd PATH] [--append TEXT]]\n"
		   "              [-s SLOT[:FUNC],DEVICE[,KEY=VALUE...]] ... [-l DEVICE[,VALUE...]] ... NAME\n"
		   "  -B TYPE,... SMBIOS strings: -B 1,manufacturer=TEXT,product=TEXT,serial=TEXT,...\n"
		   "  -c N        virtual processors\n"
		   "  -f NAME,... an item in fw_cfg's directory: -f NAME,string=TEXT or -f NAME,file=PATH\n"
		   "  -G [w]PORT  serve gdb on [ADDR:]PORT or a socket /PATH; w: wait for it before the start\n"
		   "  -h          this help\n"
		   "  -k FILE     key=value lines\n"
		   "  -l DEVICE   bootrom,PATH[,VARS]; com1-com4,stdio|pty|unix=PATH|tcp=[ADDR:]PORT|file=PATH; -l help lists all\n"
		   "  -m SIZE     memory, megabytes unless K, M, G or T follows [256M]\n"
		   "  -o KEY=VAL  any other setting; -o help lists them\n"
		   "  -s SLOT     a PCI device; -s help lists them, -s DEVICE,help its keys\n"
		   "  -u          the real-time clock shows UTC\n"
		   "  -w          unknown model-specific registers are ignored\n"
		   "  -U UUID     the machine's UUID\n"
		   "  --kernel    start this kernel without firmware: Linux bzImage, ELF with a PVH entry, multiboot 1\n"
		   "  --initrd    its initramfs, or FILE[ ARGUMENTS],... for multiboot modules\n"
		   "  --append    its command line\n"
		   "exit status: 0 powered off, 1 error, 2 halted with interrupts off, 3 triple fault\n");
}

static int complain(const char *text)
{
	fprintf(stderr, "cleave: %s\n", text);
	return STATUS_ERROR;
}

/* ---- while it runs */

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
	struct program *p = arg;

	(void)what;
	fprintf(stderr, "cleave: %s: ended by signal %d (%s)\n", p->vm->name, (int)sig, strsignal(sig));
	vm_end(p->vm, STATUS_POWEROFF);
}

static void on_escape(void *arg, enum relay_escape what)
{
	struct program *p = arg;

	switch (what) {
	case RELAY_QUIT:
		vm_end(p->vm, STATUS_POWEROFF);
		break;
	case RELAY_RESET:
		vm_request(p->vm, VM_REQUEST_RESET, 0, "escape key");
		break;
	case RELAY_PAUSE:
		if (p->vm->paused)
			vm_resume(p->vm);
		else if (!vm_pause(p->vm))
			fprintf(stderr, "\ncleave: paused\n");
		break;
	}
}

static void on_broken(void *arg)
{
	struct program *p = arg;

	link_client_lost(p->vm->link, "the device model broke the protocol: impossible positions in a character stream");
}

/* ---- up */

static int open_streams(struct program *p)
{
	const struct relay_ops ops = { .escape = on_escape, .broken = on_broken, .arg = p };
	const struct config *c = p->config;
	int ret = relay_new(&p->vm->relay, p->base, &ops, c->escape, p->rundir.path);

	for (unsigned i = 0; i < c->nstreams && !ret; i++)
		ret = relay_open(p->vm->relay, i, c->stream[i].key->name, c->stream[i].key->value, p->err, sizeof(p->err));
	return ret;
}

static int watch_signals(struct program *p)
{
	for (unsigned i = 0; i < END_SIGNALS; i++) {
		p->signal[i] = evsignal_new(p->base, end_signals[i], on_signal, p);
		if (!p->signal[i] || event_add(p->signal[i], NULL) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Opened now: later no file is opened for writing. */
static void open_summary(struct program *p)
{
	const char *path = p->config->stats_file;

	p->summary = path ? fopen(path, "ae") : NULL;
	if (path && !p->summary)
		fprintf(stderr, "cleave: %s: cannot write %s: %s\n", p->config->name, path, strerror(errno));
}

static int bring_up(struct program *p)
{
	int ret;

	p->base = event_base_new();
	if (!p->base)
		return -ENOMEM;
	ret = vm_new(&p->vm, p->config, p->base, p->err, sizeof(p->err));
	if (!ret)
		ret = watch_signals(p);
	if (!ret)
		ret = open_streams(p);
	if (!ret)
		ret = supervise_new(&p->vm->supervise, p->vm, p->daemon_fd, p->daemon_path);
	if (ret)
		return ret;
	p->daemon_fd = -1;
	ret = supervise_start(p->vm->supervise, p->err, sizeof(p->err));
	if (!ret)
		ret = relay_attach(p->vm->relay, link_client_link(p->vm->link));
	if (!ret)
		ret = control_new(&p->vm->control, p->vm, p->rundir.path, p->err, sizeof(p->err));
	if (!ret && p->config->gdb)
		ret = gdb_serve(&p->gdb, p->vm, p->config->gdb, p->err, sizeof(p->err));
	if (!ret)
		open_summary(p);
	if (!ret)
		ret = vmm_sandbox_enter(p->err, sizeof(p->err));
	if (!ret) {
		vmm_sandbox_log(p->vm);
		ret = vm_start(p->vm, p->err, sizeof(p->err));
	}
	return ret;
}

/* ---- and down */

static void bring_down(struct program *p)
{
	struct vm *vm = p->vm;

	if (vm) {
		vm_stop(vm);
		if (vm->relay)
			relay_flush(vm->relay, FLUSH_MS);
		gdb_free(p->gdb, p->vm->status);
		if (vm->control)
			control_free(vm->control);
		if (vm->supervise)
			supervise_stop(vm->supervise);
		if (vm->relay) {
			relay_flush(vm->relay, FLUSH_MS);	/* what the daemon sent while it ended */
			relay_attach(vm->relay, NULL);
		}
	}
}

static void release(struct program *p)
{
	for (unsigned i = 0; i < END_SIGNALS; i++)
		if (p->signal[i])
			event_free(p->signal[i]);
	if (p->vm) {
		supervise_free(p->vm->supervise);
		relay_free(p->vm->relay);
		vm_free(p->vm);
	}
	if (p->base)
		event_base_free(p->base);
	if (p->summary)
		fclose(p->summary);
	rundir_release(&p->rundir);
}

static void summarize(struct program *p)
{
	struct vm *vm = p->vm;

	if (p->summary) {
		if (ftruncate(fileno(p->summary), 0))
			errno = 0;	/* what cannot be made shorter holds nothing */
		report_summary(vm, p->summary);
	}
	if (vm->config->stats)
		report_summary(vm, stderr);
}

static int run(struct program *p)
{
	int ret, status;

	if (!p->config->bootrom && !p->config->kernel)
		return complain("nothing to start: --kernel PATH, or firmware with -l bootrom,PATH (Debian's package seabios has /usr/share/seabios/bios-256k.bin)");
	ret = rundir_take(&p->rundir, p->config->name, p->err, sizeof(p->err));
	if (!ret)
		ret = vmm_sandbox_choose(p->config, p->err, sizeof(p->err));
	if (!ret)
		ret = bring_up(p);
	/* Not one long loop: the machine may have ended before it begins. */
	while (!ret && !p->vm->ended)
		if (event_base_loop(p->base, EVLOOP_ONCE) != 0)
			ret = -EIO;
	bring_down(p);
	status = ret ? STATUS_ERROR : p->vm->status;
	if (!ret)
		summarize(p);
	release(p);
	if (ret)
		complain(*p->err ? p->err : strerror(-ret));
	return status;
}

/* ---- arguments */

/* What needs no daemon.  Returns the exit status, or -1 to go on. */
static int print_help(struct program *p)
{
	switch (p->config->action) {
	case CONFIG_USAGE:
		usage(stdout);
		return 0;
	case CONFIG_VERSION:
		puts("cleave " CLEAVE_VERSION);
		return 0;
	case CONFIG_OPTIONS:
		config_print_options();
		return 0;
	default:
		return -1;
	}
}

/*
 * Firmware without a file for its variables begins with an empty store, which is
 * only read.  Erased flash would not do: OVMF 2022.11 takes an exception on it.
 */
static int default_vars(struct config *c)
{
	const char *rom = config_get(c, "bootrom");
	char path[4096];

	if (!rom || config_get(c, "lpc.flash.vars") || !firmware_template(rom, path, sizeof(path)))
		return 0;
	return config_set(c, "lpc.flash.vars", path) || config_set(c, "lpc.flash.ro", NULL);
}

static int act(struct program *p)
{
	struct config *c = p->config;

	switch (c->action) {
	case CONFIG_LIST:
		config_print_devices(p->devlist, c->subject_pci);
		return 0;
	case CONFIG_KEYS:
		return config_print_keys(c, p->devlist) ? complain(c->error) : 0;
	default:
		break;
	}
	if (default_vars(c) || config_resolve(c, p->devlist))
		return complain(c->error);
	if (c->dump) {
		config_print(c);
		return 0;
	}
	return run(p);
}

static int start(struct program *p, int argc, char **argv)
{
	int ret;

	p->config = config_new();
	if (!p->config)
		return complain("out of memory");
	if (config_args(p->config, argc, argv))
		return complain(p->config->error);
	ret = print_help(p);
	if (ret >= 0)
		return ret;
	p->daemon_fd = supervise_find(config_get(p->config, "devmodel.path"), p->daemon_path, sizeof(p->daemon_path), p->err, sizeof(p->err));
	if (p->daemon_fd < 0)
		return complain(p->err);
	if (devlist_ask(&p->devlist, p->daemon_fd, p->err, sizeof(p->err)))
		return complain(p->err);
	return act(p);
}

/* Descriptors 0, 1 and 2 exist from here on: no socket ends up there. */
static void own_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct program p = { .daemon_fd = -1, .rundir = { .lock = -1 } };
	int status;

	own_standard_descriptors();
	signal(SIGPIPE, SIG_IGN);
	stats_clock_start();
	evthread_use_pthreads();
	status = start(&p, argc, argv);
	devlist_free(p.devlist);
	config_free(p.config);
	if (p.daemon_fd >= 0)
		close(p.daemon_fd);
	return status;
}
