/*
 * vmm/sandbox.h - the sandboxes of a machine's processes, as the engine sees them.
 *
 * One machine a process: what was asked for is the process's.  How a measure
 * is taken is ipc/sandbox.h's.
 *
 * Thread: main.
 */
#ifndef CLEAVE_VMM_SANDBOX_H
#define CLEAVE_VMM_SANDBOX_H

#include <sys/types.h>

#include "ipc/sandbox.h"

struct config;
struct vm;

/* Before a process is started, and a thread: starts the launchers.  -errno. */
int vmm_sandbox_choose(const struct config *, char *err, size_t errlen);
enum sandbox_mode vmm_sandbox_mode(void);

/* The engine's own, when all is open and before the guest runs: what it is to start, a launcher starts.  As vmm_sandbox_judge(). */
int vmm_sandbox_enter(char *err, size_t errlen);

/* 0, or where all of it is wanted and not all of it there -EPERM, and `err` says what not. */
int vmm_sandbox_judge(const char *program, const struct sandbox *, char *err, size_t errlen);

/* Calls for each process of the machine. */
typedef void sandbox_each_fn(void *arg, const char *program, pid_t pid, const struct sandbox *);
void vmm_sandbox_each(struct vm *, sandbox_each_fn *, void *arg);
/* Tells the log what could not be applied. */
void vmm_sandbox_log(struct vm *);

#endif
