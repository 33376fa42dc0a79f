/*
 * proto/names.h - "did you mean": names that are near to one that nobody knows.
 *
 * Used wherever a user's word is looked up in a list: devices, keys, registers.
 */
#ifndef CLEAVE_PROTO_NAMES_H
#define CLEAVE_PROTO_NAMES_H

#include <stddef.h>

/* Edit distance (insertions, deletions, substitutions, swaps of neighbours), case ignored; long words count as far. */
unsigned names_distance(const char *, const char *);

/*
 * Collects the list that an error message ends with.  Offer every known name,
 * then names_hint() writes " (did you mean A or B?)" if some are near, else
 * " (there is A, B, C ...)", into `to`, which always ends up as a string.
 */
struct names_hint {
	const char *wanted;
	char near[160], all[400];
	unsigned nnear, nall, nearest;
};
void names_begin(struct names_hint *, const char *wanted);
void names_offer(struct names_hint *, const char *name);
const char *names_hint(const struct names_hint *, char *to, size_t n);

#endif
