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

enum { INTRODUCE_VERSION = 1, INTRODUCE_FRAME = 65536 };	/* of proto/config.proto; bytes of a message */

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

struct introduction {
	struct vm *vm;			/* its link is open (vmm/link.h) */
	const struct back_ends *back;
	int arena_fd;
	bool fresh;			/* an empty arena, else a dead predecessor's */
	bool at_fault;			/* that died by its own doing */
};

/* Sends it all.  0 or -errno; -EPIPE and -ECONNRESET: the process has gone. */
int introduce(int sock, const struct introduction *);

#endif
