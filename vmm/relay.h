/*
 * vmm/relay.h - where the character streams of devices end on the host.
 *
 *	device <-- byte ring --- relay <-- stdin, pty, socket
 *	device --- byte ring --> relay --> stdout, pty, socket, file
 *
 * Terminals, ptys and connections belong to this process and so outlive the
 * device model.  Nothing blocks: what the host does not take stays in the byte
 * ring, which is how a guest that sends faster is held back; where nobody
 * listens (no client, nobody has the pty open) output is dropped, as on a line
 * with nothing at its end, and the device is told so (link_stream_online()).
 * Input is read only while the ring has room.
 *
 * Specifications: stdio | pty | unix=PATH | tcp=[ADDR:]PORT | file=PATH | none
 *
 * Thread: main, all of it.
 */
#ifndef CLEAVE_VMM_RELAY_H
#define CLEAVE_VMM_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct link;
struct relay;

/* What the user typed after the escape key of the stdio terminal. */
enum relay_escape { RELAY_QUIT, RELAY_RESET, RELAY_PAUSE };

struct relay_ops {
	void (*escape)(void *arg, enum relay_escape);
	void (*broken)(void *arg);	/* the device model's indices are nonsense */
	void *arg;
};

/* Is this a specification?  0 or -EINVAL, and what there is in `err`. */
int relay_check(const char *spec, char *err, size_t errlen);

/* `escape`: the byte, or negative for none; it works on a terminal only.  `dir`: where pty links are made, or NULL. */
int relay_new(struct relay **, struct event_base *, const struct relay_ops *, int escape, const char *dir);
/* Restores the terminal, in a process that is about to die of it: async-signal-safe. */
void relay_emergency(int);
/* Restores the terminal, removes sockets and links. */
void relay_free(struct relay *);

/* -errno with the cause in `err`.  `name` ("com1") is for messages. */
int relay_open(struct relay *, unsigned stream, const char *name, const char *spec, char *err, size_t errlen);
/* The name of stream's pty, or NULL. */
const char *relay_pty(const struct relay *, unsigned stream);

/* The device model's link came, or (NULL) went: then input waits on the host's side. */
int relay_attach(struct relay *, struct link *);
/* Writes out what waits in the rings, for at most so long; then the guest's last words are out. */
void relay_flush(struct relay *, unsigned ms);

struct relay_count { uint64_t in, out, dropped; };
bool relay_stats(const struct relay *, unsigned stream, const char **name, struct relay_count *);

#endif
