/*
 * ipc/stream.h - byte rings: free-running 32-bit positions in a power-of-two
 * buffer that lives in shared memory.
 *
 * Owns one side's view (struct stream).  The reader's view is its position and
 * the writer's index, which it checks; the writer's likewise.  What the bytes
 * mean, and whom to wake, is not known here (link_engine.h, link_daemon.h).
 *
 * A position is absolute, so that a device can commit it with its state and a
 * successor can publish it again: stream_stage() + stream_publish() and
 * stream_copy() + stream_give_back() take one; stream_put(), stream_peek() and
 * stream_take() use the private position.
 *
 * Hostile peer: an index that makes more bytes than the buffer holds is -EPROTO.
 * Thread: one writer, one reader.
 */
#ifndef CLEAVE_IPC_STREAM_H
#define CLEAVE_IPC_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ipc/link.h"

struct stream {
	struct link_ring *shared;
	uint8_t *bytes;
	uint32_t size;		/* power of two */
	uint32_t pos;		/* next byte to write or to read */
};

void stream_init(struct stream *, struct link_ring *, uint8_t *bytes, uint32_t size, uint32_t start);

/* Writer: bytes that may be staged at `pos`, or -EPROTO. */
ssize_t stream_room_at(const struct stream *, uint32_t pos);
/* Writer: copies n bytes (within the room) to `pos`; the reader does not see them yet. */
void stream_stage(struct stream *, uint32_t pos, const void *from, size_t n);
/* Writer: everything before `pos` is the reader's.  Idempotent. */
void stream_publish(struct stream *, uint32_t pos);

/* Reader: bytes that wait from `pos` on, or -EPROTO. */
ssize_t stream_used_at(const struct stream *, uint32_t pos);
/* Reader: copies up to n bytes from `pos` on, takes nothing.  Bytes copied, or -EPROTO. */
ssize_t stream_copy(const struct stream *, uint32_t pos, void *to, size_t n);
/* Reader: everything before `pos` is free again.  Idempotent. */
void stream_give_back(struct stream *, uint32_t pos);

/* The same at the private position. */
ssize_t stream_room(const struct stream *);
ssize_t stream_put(struct stream *, const void *from, size_t n);	/* bytes taken, or -EPROTO */
ssize_t stream_used(const struct stream *);
ssize_t stream_peek(const struct stream *, void *to, size_t n);
void stream_take(struct stream *, size_t n);				/* n <= what stream_peek() gave */

#endif
