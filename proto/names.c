/*
 * proto/names.c - near matches among names.  Knows nothing of what they name.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "proto/names.h"

enum { WORD = 40 };

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* Optimal string alignment over three rows. */
unsigned names_distance(const char *a, const char *b)
{
	unsigned row[3][WORD + 1];
	size_t n = strlen(a), m = strlen(b);

	if (n > WORD || m > WORD)
		return WORD;
	for (unsigned j = 0; j <= m; j++)
		row[0][j] = j;
	for (unsigned i = 1; i <= n; i++) {
		unsigned *cur = row[i % 3], *prev = row[(i + 2) % 3], *prev2 = row[(i + 1) % 3];

		cur[0] = i;
		for (unsigned j = 1; j <= m; j++) {
			int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);

			cur[j] = least(least(prev[j], cur[j - 1]) + 1, prev[j - 1] + (x != y));
			if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) && y == tolower((unsigned char)a[i - 2]))
				cur[j] = least(cur[j], prev2[j - 2] + 1);
		}
	}
	return row[n % 3][m];
}

void names_begin(struct names_hint *h, const char *wanted)
{
	memset(h, 0, sizeof(*h));
	h->wanted = wanted;
	h->nearest = WORD;
}

static void append(char *list, size_t size, unsigned *count, const char *name)
{
	size_t used = strlen(list);

	if (used + strlen(name) + 8 > size) {
		if (used && list[used - 1] != '.' && used + 5 < size)
			strcpy(list + used, " ...");
		return;
	}
	snprintf(list + used, size - used, "%s%s", *count ? ", " : "", name);
	++*count;
}

/* Of the near ones only the nearest are told. */
void names_offer(struct names_hint *h, const char *name)
{
	size_t len = strlen(h->wanted);
	unsigned limit = len < 3 ? 1 : len < 6 ? 2 : 3, d = names_distance(h->wanted, name);

	append(h->all, sizeof(h->all), &h->nall, name);
	if (len >= 3 && !strncasecmp(h->wanted, name, len))
		d = 1;		/* the beginning of it */
	if (d > limit || (h->nnear && d > h->nearest))
		return;
	if (d < h->nearest) {
		h->nnear = 0;
		h->near[0] = 0;
	}
	h->nearest = d;
	append(h->near, sizeof(h->near), &h->nnear, name);
}

const char *names_hint(const struct names_hint *h, char *to, size_t n)
{
	if (h->nnear)
		snprintf(to, n, " (did you mean %s?)", h->near);
	else if (h->nall)
		snprintf(to, n, " (there is %s)", h->all);
	else
		snprintf(to, n, " (there is none)");
	return to;
}
