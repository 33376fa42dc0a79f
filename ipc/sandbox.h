/*
 * ipc/sandbox.h - what a process gives up before it listens to somebody it does not trust.
 *
 * How it is given up: the measures, one function for all of them, and a report
 * of which were possible.  What may be kept is each program's own table
 * (devmodel/sandbox.c, slirp/sandbox.c, vmm/sandbox.c); doc/sandbox.md has the
 * reasons.  Namespaces are made by whoever starts the process (vmm/cell.h).
 *
 * Thread: a process's first, before it has another, where nothing else is said.
 */
#ifndef CLEAVE_IPC_SANDBOX_H
#define CLEAVE_IPC_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

enum sandbox_mode { SANDBOX_ON, SANDBOX_STRICT, SANDBOX_OFF, SANDBOX_MODES };
extern const char *const sandbox_modes[SANDBOX_MODES];

/* The numbers go from one process to another: new ones at the end. */
enum sandbox_measure {
	SANDBOX_USERS,		/* a user namespace of its own */
	SANDBOX_PROCESSES,	/* a PID namespace: nobody to signal or to trace */
	SANDBOX_NETWORK,	/* a network namespace: no interface that is up */
	SANDBOX_IPC,		/* an IPC namespace: no System V object, no message queue */
	SANDBOX_FILES,		/* the root is an empty directory, nothing else is mounted */
	SANDBOX_PRIVILEGES,	/* no capability, and none to be had by execve */
	SANDBOX_DUMPS,		/* no core file; no debugger, and nobody reads /proc/PID */
	SANDBOX_LIMITS,		/* resource limits */
	SANDBOX_LANDLOCK,	/* no file, no TCP port, no signal or socket to anybody outside */
	SANDBOX_CALLS,		/* system calls are filtered */
	SANDBOX_MEASURES
};

/* How a measure stands.  Above: it is in force; below: -errno, or why not. */
enum {
	SANDBOX_NONE = 0,		/* not among this process's measures */
	SANDBOX_APPLIED = 1,
	SANDBOX_NOT_BUILT = -10000,	/* compiled without libseccomp */
	SANDBOX_SANITIZER = -10001,	/* a sanitizer's run-time needs what it takes away */
	SANDBOX_SWITCHED_OFF = -10002,
};

struct sandbox {
	int32_t state[SANDBOX_MEASURES];
};

/* A sanitizer opens files, traces and makes threads: such a build keeps what it needs for that. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

/*
 * A system call that is allowed under a condition (`error` 0), or that fails
 * with `error` instead of ending the process: what libraries try and can do
 * without.  Several of one call are alternatives.
 */
struct sandbox_rule {
	int call;
	int error;
	unsigned tests;			/* so many of these, all of which must hold */
	struct {
		unsigned arg;
		uint64_t mask, value;	/* (arg & mask) == value; SANDBOX_SELF: the process's id */
	} test[2];
};
#define SANDBOX_SELF ~0ull

struct sandbox_limit {
	int resource;
	rlim_t most;
};

struct sandbox_policy {
	const char *program;			/* as it names itself */
	unsigned measures;			/* bits of enum sandbox_measure that sandbox_apply() is to take; others are left */
	uint64_t capabilities;			/* kept, by number */
	const struct sandbox_limit *limit;
	unsigned nlimits;
	const int *call;			/* allowed; whatever has no line here or below ends the process */
	unsigned ncalls;
	const struct sandbox_rule *rule;
	unsigned nrules;
	const char *const *readable;		/* Landlock: below these directories files may be read; NULL: below none */
	bool network;				/* Landlock: TCP is as before */
	void (*stopped)(int call);		/* last words of the thread that made it: a signal handler; NULL */
};
#define SANDBOX_BIT(m) (1u << (m))

/* Closes every descriptor above 2 but first..last. */
void sandbox_close_others(int first, int last);

/*
 * Takes the measures, in an order in which none is in the way of the next:
 * files, privileges, dumps, limits, Landlock, system calls.  `cell` is a mount
 * namespace with an empty root, or -1: then the root is changed to a directory
 * that has been removed, which takes root's rights.  Closes `cell`.
 */
void sandbox_apply(const struct sandbox_policy *, int cell, struct sandbox *);

/* The capabilities that this process and those that it starts can have at most, where it may say so.  Each takes a microsecond. */
void sandbox_bound(uint64_t keep);

/* A limit that can be set only once everything is there, as of threads.  0 or -errno. */
int sandbox_limit(const struct sandbox_limit *, unsigned n);

/* The report as text, for those who send text: "0 1 -13 ...". */
int sandbox_print(const struct sandbox *, char *buf, size_t n);
void sandbox_scan(struct sandbox *, const char *text);

const char *sandbox_name(enum sandbox_measure);		/* "network namespace" */
/* "applied", or "not applied: " and why. */
const char *sandbox_words(int32_t state, char *buf, size_t n);
/* Whether every measure that this process has is in force; otherwise `buf` says which are not and why. */
bool sandbox_complete(const struct sandbox *, char *buf, size_t n);
/* "openat", or its number. */
const char *sandbox_call_name(int call, char *buf, size_t n);

#endif
