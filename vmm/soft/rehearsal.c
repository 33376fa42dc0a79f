/* See rehearsal.h. */
#include "vmm/soft/rehearsal.h"

#include <string.h>

static uint64_t offset_of(const uint8_t *host)
{
	return (uintptr_t)host & PAGE_OFFSET;
}

static struct rehearsed_page *find(const struct rehearsal *r, const uint8_t *host)
{
	const uint8_t *page = host - offset_of(host);

	for (unsigned i = 0; i < r->pages; i++)
		if (r->page[i].host == page)
			return (struct rehearsed_page *)&r->page[i];
	return NULL;
}

bool rehearsal_holds(const struct rehearsal *r, const uint8_t *host)
{
	return find(r, host);
}

uint8_t *rehearsal_read(struct rehearsal *r, uint8_t *host)
{
	struct rehearsed_page *p = find(r, host);

	return p ? p->copy + offset_of(host) : host;
}

uint8_t *rehearsal_write(struct rehearsal *r, uint8_t *host, unsigned len)
{
	unsigned first = offset_of(host) >> LINE_SHIFT, last = (offset_of(host) + len - 1) >> LINE_SHIFT;
	struct rehearsed_page *p = find(r, host);

	if (!p) {
		if (r->pages == REHEARSED_PAGES)
			return NULL;
		p = &r->page[r->pages++];
		p->host = host - offset_of(host);
		p->lines = 0;
		memcpy(p->before, p->host, PAGE_BYTES);
		memcpy(p->copy, p->before, PAGE_BYTES);
	}
	p->lines |= (~0ull << first) & (~0ull >> (63 - last));
	return p->copy + offset_of(host);
}

void rehearsal_again(struct rehearsal *r)
{
	for (unsigned i = 0; i < r->pages; i++)
		memcpy(r->page[i].copy, r->page[i].before, PAGE_BYTES);
}

const uint8_t *rehearsal_differs(const struct rehearsal *r, const struct rehearsed_page **in)
{
	for (unsigned i = 0; i < r->pages; i++) {
		const struct rehearsed_page *p = *in = &r->page[i];

		for (uint64_t left = p->lines; left; left &= left - 1) {
			unsigned at = __builtin_ctzll(left) << LINE_SHIFT;

			if (memcmp(p->host + at, p->copy + at, 1 << LINE_SHIFT))
				return p->host + at;
		}
	}
	return NULL;
}

void rehearsal_undo(const struct rehearsal *r)
{
	for (unsigned i = 0; i < r->pages; i++) {
		const struct rehearsed_page *p = &r->page[i];

		for (uint64_t left = p->lines; left; left &= left - 1) {
			unsigned at = __builtin_ctzll(left) << LINE_SHIFT;

			memcpy(p->host + at, p->before + at, 1 << LINE_SHIFT);
		}
	}
}
