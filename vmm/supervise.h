/*
 * vmm/supervise.h - the device-model process: found, started, watched, ended.
 *
 * One daemon is one generation:
 *
 *	cleave                                   cleaved
 *	link, arena, socket pair
 *	by a launcher -------------------------> argv: cleaved --socket=3 --cell=4
 *	DaemonConfig + descriptors ------------> maps
 *	  (RAM, images, networks)
 *	DaemonTurn + descriptors --------------> makes its devices
 *	  (link, arena)
 *	<---------------------------- DaemonReply ready, or the error for the user
 *	     ... the link carries the rest; the socket only says who is alive ...
 *	close ---------------------------------> end of file: finishes its I/O, exits
 *
 * daemon.h is the process.  A daemon that dies, hangs or breaks the
 * protocol is succeeded by another, which takes over the arena
 * (devmodel/recover.h).  Nothing of the guest is lost: vCPUs that wait for an
 * answer wait a little longer, or as each device's outage policy (outage.h) says.
 * With `-o devmodel.spare=on` the next one stands by already (spare.h); one of
 * another executable takes the place of one that lives (upgrade.h).
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_SUPERVISE_H
#define CLEAVE_VMM_SUPERVISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "vmm/spare.h"
#include "vmm/upgrade.h"

struct sandbox;
struct vm;
struct supervise;

enum supervise_state { SUPERVISE_NONE, SUPERVISE_SERVING, SUPERVISE_WAITING, SUPERVISE_STARTING };

struct supervise_info {
	enum supervise_state state;
	pid_t pid;			/* 0: none */
	unsigned generation, restarts;
	unsigned in_vain;		/* successors in a row that died while they took over, by their own doing */
	uint64_t age_ms;		/* in this state */
	char why[240];			/* the last restart; "": there was none */
	struct spare_info spare;
	unsigned upgrades;
	const char *upgrade;		/* how the last one went; "": there was none */
};

/*
 * The daemon's executable: `path`, else $CLEAVED, else beside this program, else
 * where it is installed.  fd or -errno; `found` is where.
 */
int supervise_find(const char *path, char *found, size_t foundlen, char *err, size_t errlen);

/* `daemon_fd` becomes its own, and was found at `path`. */
int supervise_new(struct supervise **, struct vm *, int daemon_fd, const char *path);
void supervise_free(struct supervise *);	/* ends the daemon first */

/* Opens the images, starts a daemon and waits until it is ready.  -errno, `err` is for the user. */
int supervise_start(struct supervise *, char *err, size_t errlen);
/* Lets the daemon finish its I/O, kills it if that takes longer than a few seconds. */
void supervise_stop(struct supervise *);
/* Lets the image file of this PCI function grow to `bytes`; -errno and `err` for the user. */
int supervise_grow(struct supervise *, unsigned slot, unsigned func, uint64_t bytes, char *err, size_t errlen);
/* Another executable, and who asked for it has gone: as upgrade_begin(), upgrade_forget(). */
void supervise_upgrade(struct supervise *, const char *path, upgrade_done *, void *arg);
void supervise_forget(struct supervise *, const void *arg);
pid_t supervise_pid(const struct supervise *);	/* 0: none */
/* Calls for the device model's process and for each network's (vmm/sandbox.h). */
void supervise_sandboxes(const struct supervise *, void (*each)(void *arg, const char *program, pid_t, const struct sandbox *), void *arg);
void supervise_info(const struct supervise *, struct supervise_info *);

#endif
