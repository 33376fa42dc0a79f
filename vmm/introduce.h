/*
 * vmm/introduce.h - what a new device model is told and given.
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_INTRODUCE_H
#define CLEAVE_VMM_INTRODUCE_H

#include <stdbool.h>
#include <stddef.h>

struct config;
struct netback;
struct vm;

enum { INTRODUCE_VERSION = 2, INTRODUCE_FRAME = 65536 };	/* of proto/config.proto; bytes of a message */

/* What is behind the devices' keys, by device and key, in order. */
struct back_ends {
	struct back_end {
		int fd;			/* an image or a network; -1: nothing */
		struct netback *net;
	} *end;
	unsigned n;
};

/* Opens them, unless they are open.  -errno, `err` is for the user. */
int back_ends_open(struct back_ends *, struct vm *, char *err, size_t errlen);
void back_ends_close(struct back_ends *);
/* The descriptor behind the first image of this PCI function, or -1. */
int back_ends_image(const struct back_ends *, const struct config *, unsigned slot, unsigned func);

/*
 * To each process once: the machine, which does not change while it lives; a
 * spare says so when it has got that far.  0 or -errno; -EPIPE and -ECONNRESET:
 * the process has gone.
 */
int introduce_machine(int sock, const struct vm *, const struct back_ends *, bool standby);

/* Then its turn: it makes the devices and says that it is ready.  vm's link is open (vmm/link.h). */
struct turn {
	const struct vm *vm;
	int arena_fd;
	bool fresh;			/* an empty arena, else a dead predecessor's */
	bool at_fault;			/* that died by its own doing */
	int tried_fd;			/* the copy over which a successor did so too, while it took over; -1: none */
	int state_fd;			/* the devices' state in its portable form, for an arena that is empty; -1: none */
};

int introduce_turn(int sock, const struct turn *);

#endif
