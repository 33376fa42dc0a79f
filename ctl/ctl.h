/*
 * ctl/ctl.h - what the files of cleavectl share: a verb, and the connection.
 *
 * A file holds one family of verbs: their names, what they take, one line of
 * help, and the function that does them.  main.c lists the families.
 */
#ifndef CLEAVE_CTL_CTL_H
#define CLEAVE_CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/control.pb-c.h"

struct ctl {
	const char *vm;
	uint32_t cpu;
	bool cpu_given;
	/* for --set-desc-X */
	bool base_given, limit_given, access_given;
	uint64_t base;
	uint32_t limit, access;

	int fd;			/* -1: not connected */
	uint32_t id;
	char dir[256];
};

struct verb {
	const char *name;	/* after the two dashes; ending in '-' it is followed by a register */
	enum { TAKES_NOTHING, TAKES_VALUE, MAY_TAKE_VALUE } takes;
	const char *help;
	/* `rest`: what followed the name; `value`: after the '=', NULL where there is none.  0, or -errno after ctl_error(). */
	int (*run)(struct ctl *, const char *rest, const char *value);
};

/* NULL-name-ended. */
extern const struct verb list_verbs[], register_verbs[], stats_verbs[], life_verbs[], key_verbs[], disk_verbs[], network_verbs[], devmodel_verbs[], sandbox_verbs[];

/* Says it on stderr; returns `error`, negative. */
int ctl_error(int error, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* SLOT[:FUNCTION], up to a comma or the end, which *text then points to. */
bool ctl_slot(const char **text, uint32_t *slot, uint32_t *function);
bool ctl_number(const char *text, uint64_t max, uint64_t *value);	/* decimal, 0x..., 0... */

/*
 * One request, one answer; connects and says hello where that has not been
 * done.  NULL after ctl_error(); an answer that is an error is one too.
 * The caller frees it with cleave__response__free_unpacked().
 */
Cleave__Response *ctl_call(struct ctl *, Cleave__Request *);
int ctl_connect(struct ctl *);
/* What the engine said to our hello. */
struct ctl_hello { uint32_t pid, daemon_pid, cpus; char engine[16], engine_why[200]; };
const struct ctl_hello *ctl_hello(void);
void ctl_close(struct ctl *);

#endif
