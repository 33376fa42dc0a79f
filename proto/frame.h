/*
 * proto/frame.h - messages on a byte stream: four bytes of length, low byte
 * first, then that many bytes.
 *
 *	+----+----+----+----+----------- ... -----------+
 *	|      length       |  a protobuf message       |
 *	+----+----+----+----+----------- ... -----------+
 *
 * A length of zero or beyond FRAME_LIMIT is an error, which ends the
 * connection: no length leads to an allocation that the peer chose.
 */
#ifndef CLEAVE_PROTO_FRAME_H
#define CLEAVE_PROTO_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { FRAME_HEADER = 4, FRAME_LIMIT = 65536 };
enum { CONTROL_VERSION = 1, CONTROL_OLDEST = 1 };

void frame_header(uint8_t header[FRAME_HEADER], size_t length);
/* The length that a header announces, or -EMSGSIZE. */
ssize_t frame_length(const uint8_t header[FRAME_HEADER]);
/* The version that two ranges share, the newest, or -EPROTONOSUPPORT. */
int frame_version(uint32_t newest, uint32_t oldest);

/* Blocking, for the tool.  -errno; reading: bytes, 0 at the end between frames, -EPIPE within one, -ETIMEDOUT. */
int frame_write(int fd, const void *message, size_t n);
ssize_t frame_read(int fd, void *message, size_t cap, int timeout_ms);

#endif
