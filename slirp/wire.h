/*
 * slirp/wire.h - the helper's side of the virtual cable: the SEQPACKET socket.
 *
 * In: checks every message, completes checksums, hands frames on.  Messages of
 * a device model that has been replaced are dropped once its successor has
 * spoken.  Out: nothing blocks; what the device does not take waits here, up to
 * a bound, and is lost beyond it.
 *
 * Must not know: libslirp.  proto/netframe.h has the messages.
 */
#ifndef CLEAVE_SLIRP_WIRE_H
#define CLEAVE_SLIRP_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct wire;

/* `input` gets each frame from the guest; it may call wire_send().  The socket stays the caller's. */
struct wire *wire_new(struct event_base *, int sock, void (*input)(void *arg, uint8_t *frame, size_t n), void *arg);
void wire_free(struct wire *);

/* A frame for the guest: sent at once, or with its followers by wire_flush(). */
void wire_send(struct wire *, const uint8_t *frame, size_t n);
void wire_flush(struct wire *);		/* at the end of every turn */
/* The device is behind: whoever makes frames should wait. */
bool wire_full(const struct wire *);
unsigned wire_accepts(const struct wire *);	/* enum net_accepts: what the device takes */

struct wire_count { uint64_t in, refused, stale, out, lost; };
const struct wire_count *wire_count(const struct wire *);

#endif
