/*
 * ipc/stream.c - byte rings (stream.h).
 *
 * Pairs: stream_publish() release with stream_used_at() acquire hands bytes
 * over; stream_give_back() release with stream_room_at() acquire frees them.
 */
#include <errno.h>
#include <string.h>

#include "ipc/barrier.h"
#include "ipc/stream.h"

void stream_init(struct stream *s, struct link_ring *shared, uint8_t *bytes, uint32_t size, uint32_t start)
{
	*s = (struct stream){ .shared = shared, .bytes = bytes, .size = size, .pos = start };
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

ssize_t stream_room_at(const struct stream *s, uint32_t pos)
{
	uint32_t used = pos - load_acquire(&s->shared->cons);

	return used > s->size ? -EPROTO : (ssize_t)(s->size - used);
}

void stream_stage(struct stream *s, uint32_t pos, const void *from, size_t n)
{
	size_t at = pos & (s->size - 1);
	size_t first = least(n, s->size - at);

	memcpy(s->bytes + at, from, first);
	memcpy(s->bytes, (const uint8_t *)from + first, n - first);
}

void stream_publish(struct stream *s, uint32_t pos)
{
	s->pos = pos;
	store_release(&s->shared->prod, pos);
}

ssize_t stream_used_at(const struct stream *s, uint32_t pos)
{
	uint32_t used = load_acquire(&s->shared->prod) - pos;

	return used > s->size ? -EPROTO : (ssize_t)used;
}

ssize_t stream_copy(const struct stream *s, uint32_t pos, void *to, size_t n)
{
	ssize_t used = stream_used_at(s, pos);
	size_t at = pos & (s->size - 1), first;

	if (used < 0)
		return used;
	n = least(n, (size_t)used);
	first = least(n, s->size - at);
	copy_once(to, s->bytes + at, first);
	copy_once((uint8_t *)to + first, s->bytes, n - first);
	return (ssize_t)n;
}

void stream_give_back(struct stream *s, uint32_t pos)
{
	s->pos = pos;
	store_release(&s->shared->cons, pos);
}

ssize_t stream_room(const struct stream *s)
{
	return stream_room_at(s, s->pos);
}

ssize_t stream_put(struct stream *s, const void *from, size_t n)
{
	ssize_t room = stream_room(s);

	if (room <= 0)
		return room;
	n = least(n, (size_t)room);
	stream_stage(s, s->pos, from, n);
	stream_publish(s, s->pos + (uint32_t)n);
	return (ssize_t)n;
}

ssize_t stream_used(const struct stream *s)
{
	return stream_used_at(s, s->pos);
}

ssize_t stream_peek(const struct stream *s, void *to, size_t n)
{
	return stream_copy(s, s->pos, to, n);
}

void stream_take(struct stream *s, size_t n)
{
	stream_give_back(s, s->pos + (uint32_t)n);
}
