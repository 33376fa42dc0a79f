/*
 * ctl/keys.h - scan codes of what is to be typed.
 */
#ifndef CLEAVE_CTL_KEYS_H
#define CLEAVE_CTL_KEYS_H

#include <stddef.h>
#include <stdint.h>

enum { KEY_LIST_MAX = 4096 };		/* as the engine takes in one request */

struct key_list {
	size_t n;
	uint64_t sequence[KEY_LIST_MAX];	/* a make or break code each, first byte lowest */
};

/* 0, or -EINVAL or -E2BIG with the cause in `err`. */
int keys_parse(struct key_list *, const char *text, char *err, size_t errlen);

#endif
