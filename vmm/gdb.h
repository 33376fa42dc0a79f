/*
 * vmm/gdb.h - the debugger: GDB's remote serial protocol.
 *
 * gdb.c speaks the protocol and knows of the machine only what struct
 * gdb_target offers; gdbregs.c knows the registers' layout; gdbserve.c is the
 * socket and the VM.  All of it runs in the main thread.
 */
#ifndef CLEAVE_VMM_GDB_H
#define CLEAVE_VMM_GDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/vcpu.h"

struct vm;
struct gdb;

/* ---- the protocol */

enum { GDB_PACKET = 16384 };		/* bytes in a packet at most */

/* The machine: stopped whenever anything but resume() and stop() is called.  0 or -errno. */
struct gdb_target {
	unsigned nvcpus;
	int (*stop)(void *);				/* idempotent */
	void (*resume)(void *);				/* as the vCPUs' struct vcpu_debug says */
	void (*get)(void *, unsigned vcpu, struct x86_state *);
	int (*set)(void *, unsigned vcpu, const struct x86_state *);
	int (*read)(void *, unsigned vcpu, uint64_t lin, void *, size_t);
	int (*write)(void *, unsigned vcpu, uint64_t lin, const void *, size_t);
	struct vcpu_debug *(*debug)(void *, unsigned vcpu);
	int (*debug_changed)(void *);			/* breakpoints or watchpoints did; -ENOSPC: more than the engine has room for */
	void (*kill)(void *);
	void (*send)(void *, const void *, size_t);
	void *arg;
};

struct gdb_session;
struct gdb_session *gdb_session_new(const struct gdb_target *);	/* stops the machine */
/* Takes breakpoints away and lets the machine run. */
void gdb_session_free(struct gdb_session *);
/* Bytes from the client.  False: it has detached, or is to be dropped. */
bool gdb_session_input(struct gdb_session *, const uint8_t *, size_t);
/* A vCPU has stopped: the machine stands. */
void gdb_session_stopped(struct gdb_session *, unsigned vcpu);
void gdb_session_exited(struct gdb_session *, int status);

/* ---- registers */

struct gdb_regs;
extern const struct gdb_regs gdb_regs_64, gdb_regs_32;
const char *gdb_regs_xml(const struct gdb_regs *);
unsigned gdb_regs_count(const struct gdb_regs *);
unsigned gdb_reg_size(const struct gdb_regs *, unsigned n);
void gdb_reg_read(const struct gdb_regs *, unsigned n, const struct x86_state *, uint8_t *to);
int gdb_reg_write(const struct gdb_regs *, unsigned n, struct x86_state *, const uint8_t *from);

/* ---- the server: -G [w][ADDR:]PORT or [w]/PATH.  Before vm_start(). */
int gdb_serve(struct gdb **, struct vm *, const char *where, char *err, size_t errlen);
void gdb_free(struct gdb *, int status);

#endif
